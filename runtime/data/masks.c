// masks: see masks.h. Dilation by a footprint is the union, over its rows, of rows widened to both sides; widening a
// row is one sweep whatever the width. Erosion is the dilation of the complement.
#include "masks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// One loop per relation, so that each becomes a vector comparison.
#define FILL_MASK(compare)                                                                                             \
    for (size_t i = 0; i < count; i++) mask[i] = (double)values[i] compare threshold

#define FILL_BY_RULE()                                                                                                 \
    switch (rule) {                                                                                                    \
    case MASK_BELOW: FILL_MASK(<); break;                                                                              \
    case MASK_AT_MOST: FILL_MASK(<=); break;                                                                           \
    case MASK_ABOVE: FILL_MASK(>); break;                                                                              \
    case MASK_AT_LEAST: FILL_MASK(>=); break;                                                                          \
    }

void mask_from_bytes(const uint8_t *values, size_t count, MaskRule rule, double threshold, uint8_t *mask) {
    FILL_BY_RULE()
}

void mask_from_floats(const float *values, size_t count, MaskRule rule, double threshold, uint8_t *mask) {
    FILL_BY_RULE()
}

void histogram_add(const uint8_t *values, size_t count, uint64_t histogram[256]) {
    for (size_t i = 0; i < count; i++) histogram[values[i]]++;
}

int otsu_threshold(const uint64_t histogram[256]) {
    uint64_t total = 0, weighted = 0, below = 0, weighted_below = 0;
    int best = 0;
    double best_spread = -1;
    for (int i = 0; i < 256; i++) {
        total += histogram[i];
        weighted += histogram[i] * (uint64_t)i;
    }
    for (int i = 0; i < 256; i++) {
        below += histogram[i];
        weighted_below += histogram[i] * (uint64_t)i;
        uint64_t above = total - below;
        if (!histogram[i]) continue; // the same split as the level before
        if (!above) {
            if (best_spread < 0) best = i; // a single level
            break;
        }
        double low = (double)weighted_below / (double)below;
        double high = (double)(weighted - weighted_below) / (double)above;
        double spread = (double)below * (double)above * (high - low) * (high - low);
        if (spread > best_spread) best_spread = spread, best = i;
    }
    return best;
}

size_t mask_count(const uint8_t *mask, size_t count) {
    size_t set = 0;
    for (size_t i = 0; i < count; i++) set += mask[i] != 0;
    return set;
}

void mask_invert(uint8_t *mask, size_t count) {
    for (size_t i = 0; i < count; i++) mask[i] = !mask[i];
}

void mask_apply(const uint8_t *mask, size_t count, uint8_t value, uint8_t *rgb) {
    for (size_t i = 0; i < count; i++)
        if (!mask[i]) rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = value;
}

// ---- footprints

static Status check_radius(int radius_x, int radius_y) {
    if (radius_x >= 0 && radius_x <= FOOTPRINT_RADIUS && radius_y >= 0 && radius_y <= FOOTPRINT_RADIUS)
        return STATUS_OK;
    return status_make(STATUS_INVALID, "a footprint of radius %d x %d; radii are 0 to %d", radius_x, radius_y,
                       FOOTPRINT_RADIUS);
}

Status footprint_disk(int radius, Footprint *out) {
    TRY(check_radius(radius, radius));
    *out = (Footprint){.radius = radius};
    for (int y = 0; y <= radius; y++)
        while ((out->half_width[y] + 1) * (out->half_width[y] + 1) + y * y <= radius * radius) out->half_width[y]++;
    return STATUS_OK;
}

Status footprint_box(int radius_x, int radius_y, Footprint *out) {
    TRY(check_radius(radius_x, radius_y));
    *out = (Footprint){.radius = radius_y};
    for (int y = 0; y <= radius_y; y++) out->half_width[y] = radius_x;
    return STATUS_OK;
}

Status footprint_diamond(int radius, Footprint *out) {
    TRY(check_radius(radius, radius));
    *out = (Footprint){.radius = radius};
    for (int y = 0; y <= radius; y++) out->half_width[y] = radius - y;
    return STATUS_OK;
}

Status footprint_ellipse(int radius_x, int radius_y, Footprint *out) {
    TRY(check_radius(radius_x, radius_y));
    *out = (Footprint){.radius = radius_y};
    double inverse = radius_y ? 1.0 / ((double)radius_y * radius_y) : 0;
    for (int y = 0; y <= radius_y; y++)
        out->half_width[y] = (int)lrint(radius_x * sqrt((radius_y * radius_y - y * y) * inverse));
    return STATUS_OK;
}

size_t footprint_pixels(const Footprint *footprint) {
    size_t pixels = 0;
    for (int y = -footprint->radius; y <= footprint->radius; y++)
        pixels += 2 * (size_t)footprint->half_width[abs(y)] + 1;
    return pixels;
}

// ---- morphology

// Sets out[x] where a pixel of `row` that reads as `seek` (0: pixels that are 0, else pixels that are not) lies within
// `reach`. The row goes on beyond its ends as `border` says.
static void widen_row(const uint8_t *row, ptrdiff_t width, int reach, bool seek, Border border, uint8_t *out) {
    ptrdiff_t last = -1 - reach; // where it was seen last
    for (ptrdiff_t x = -reach; x < width + reach; x++) {
        ptrdiff_t from = border_position(x, width, border);
        if (from != BORDER_OUTSIDE && (row[from] != 0) == seek) {
            // Everything from x - reach on that is not set yet.
            ptrdiff_t begin = x - reach > last + reach + 1 ? x - reach : last + reach + 1;
            ptrdiff_t end = x + reach < width - 1 ? x + reach : width - 1;
            for (ptrdiff_t i = begin > 0 ? begin : 0; i <= end; i++) out[i] = 1;
            last = x;
        }
    }
}

// out[y][x] = `found` where the footprint about (y, x) touches a pixel that reads as `seek`, else !found.
static void touch(const uint8_t *in, size_t width, size_t height, const Footprint *footprint, bool seek, Border border,
                  uint8_t *out) {
    if (!width || !height) return;
    memset(out, 0, width * height);
    for (size_t y = 0; y < height; y++)
        for (int dy = -footprint->radius; dy <= footprint->radius; dy++) {
            ptrdiff_t from = border_position((ptrdiff_t)y + dy, (ptrdiff_t)height, border);
            if (from == BORDER_OUTSIDE) continue;
            widen_row(in + (size_t)from * width, (ptrdiff_t)width, footprint->half_width[abs(dy)], seek, border,
                      out + y * width);
        }
    if (!seek) mask_invert(out, width * height);
}

static Status check_planes(const uint8_t *in, size_t width, size_t height, const Footprint *footprint,
                           const uint8_t *out) {
    TRY(check_radius(0, footprint->radius));
    if (width && height > (size_t)PTRDIFF_MAX / width)
        return status_make(STATUS_INVALID, "a mask of %zu x %zu pixels does not fit in memory", width, height);
    if (in == out && width && height)
        return status_make(STATUS_INVALID, "a mask cannot be dilated or eroded in place; give another plane");
    return STATUS_OK;
}

Status mask_dilate(const uint8_t *in, size_t width, size_t height, const Footprint *footprint, Border border,
                   uint8_t *out) {
    TRY(check_planes(in, width, height, footprint, out));
    touch(in, width, height, footprint, true, border, out);
    return STATUS_OK;
}

Status mask_erode(const uint8_t *in, size_t width, size_t height, const Footprint *footprint, Border border,
                  uint8_t *out) {
    TRY(check_planes(in, width, height, footprint, out));
    touch(in, width, height, footprint, false, border, out);
    return STATUS_OK;
}

static Status twice(const uint8_t *in, size_t width, size_t height, const Footprint *footprint, bool dilate_first,
                    Border border, uint8_t *out) {
    TRY(check_planes(in, width, height, footprint, out));
    uint8_t *between = malloc(width * height + 1);
    if (!between) return status_make(STATUS_NO_MEMORY, "no memory for a mask of %zu x %zu pixels", width, height);
    touch(in, width, height, footprint, dilate_first, border, between);
    touch(between, width, height, footprint, !dilate_first, border, out);
    free(between);
    return STATUS_OK;
}

Status mask_close(const uint8_t *in, size_t width, size_t height, const Footprint *footprint, Border border,
                  uint8_t *out) {
    return twice(in, width, height, footprint, true, border, out);
}

Status mask_open(const uint8_t *in, size_t width, size_t height, const Footprint *footprint, Border border,
                 uint8_t *out) {
    return twice(in, width, height, footprint, false, border, out);
}
