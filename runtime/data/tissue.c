// tissue: see tissue.h.
#include "tissue.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "colour.h"
#include "components.h"
#include "masks.h"

Status tissue_mask(const uint8_t *rgb, size_t width, size_t height, int close_radius, uint64_t least, uint8_t *mask,
                   int *out_threshold) {
    enum { CHUNK = 1024 };
    Footprint disk;
    TRY(footprint_disk(close_radius, &disk));
    if (out_threshold) *out_threshold = 0;
    size_t pixels = width * height;
    if (!pixels) return STATUS_OK;
    uint8_t *saturation = malloc(pixels);
    if (!saturation) return status_make(STATUS_NO_MEMORY, "no memory for a mask of %zu x %zu pixels", width, height);
    uint64_t histogram[256] = {0};
    uint8_t hsv[CHUNK * 3];
    for (size_t begin = 0; begin < pixels; begin += CHUNK) {
        size_t n = pixels - begin < CHUNK ? pixels - begin : CHUNK;
        hsv_opencv(rgb + 3 * begin, n, hsv);
        for (size_t i = 0; i < n; i++) saturation[begin + i] = hsv[3 * i + 1];
    }
    histogram_add(saturation, pixels, histogram);
    int threshold = otsu_threshold(histogram);
    if (out_threshold) *out_threshold = threshold;
    mask_from_bytes(saturation, pixels, MASK_ABOVE, threshold, saturation);
    Status status = mask_close(saturation, width, height, &disk, BORDER_IGNORE, mask);
    free(saturation);
    TRY(status);
    TRY(mask_remove_small(mask, width, height, least, CONNECT_8));
    return mask_fill_small(mask, width, height, least, CONNECT_4);
}

double tissue_fraction(const uint8_t *mask, size_t width, size_t height, int64_t x, int64_t y, size_t w, size_t h) {
    if (!w || !h || w > INT32_MAX || h > INT32_MAX || x > INT64_MAX / 2 || y > INT64_MAX / 2) return 0;
    int64_t x0 = x > 0 ? x : 0, y0 = y > 0 ? y : 0, x1 = x + (int64_t)w, y1 = y + (int64_t)h;
    if (x1 > (int64_t)width) x1 = (int64_t)width;
    if (y1 > (int64_t)height) y1 = (int64_t)height;
    uint64_t set = 0;
    for (int64_t row = y0; row < y1 && x0 < x1; row++)
        set += mask_count(mask + (size_t)row * width + (size_t)x0, (size_t)(x1 - x0));
    return (double)set / ((double)w * (double)h);
}

void tissue_fractions(const uint8_t *mask, size_t width, size_t height, const double *centres, size_t count,
                      size_t side, double *fractions) {
    for (size_t i = 0; i < count; i++) {
        double x = floor(centres[2 * i]), y = floor(centres[2 * i + 1]);
        fractions[i] = 0;
        if (!(fabs(x) < 1e9 && fabs(y) < 1e9)) continue; // off any picture, or not a number
        fractions[i] = tissue_fraction(mask, width, height, (int64_t)x - (int64_t)(side / 2),
                                       (int64_t)y - (int64_t)(side / 2), side, side);
    }
}
