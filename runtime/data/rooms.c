// rooms: see rooms.h.
#include "rooms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "components.h"
#include "filters.h"
#include "masks.h"
#include "tissue.h"

// ---- stain reference

void mt19937_seed(Mt19937 *generator, uint32_t seed) {
    for (uint32_t i = 0; i < 624; i++) {
        generator->state[i] = seed;
        seed = 1812433253u * (seed ^ (seed >> 30)) + i + 1;
    }
    generator->next = 624;
}

uint32_t mt19937_word(Mt19937 *generator) {
    uint32_t *state = generator->state;
    if (generator->next >= 624) {
        for (int i = 0; i < 624; i++) {
            uint32_t y = (state[i] & 0x80000000u) | (state[(i + 1) % 624] & 0x7fffffffu);
            state[i] = state[(i + 397) % 624] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        generator->next = 0;
    }
    uint32_t y = state[generator->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

uint32_t mt19937_below(Mt19937 *generator, uint32_t bound) {
    uint32_t last = bound - 1, mask = last, value;
    if (last == 0) return 0; // draws nothing, as numpy
    for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    do value = mt19937_word(generator) & mask;
    while (value > last);
    return value;
}

PatchRule patch_rule_hevisum(void) {
    return (PatchRule){.seed = 46, .patches = 5, .side = 256, .tries = 250, .tissue = 0.6, .limit = 0.8};
}

Status stain_patches(const float *mean, size_t width, size_t height, const PatchRule *rule, int64_t *corners,
                     int *out_count) {
    *out_count = 0;
    if (rule->side < 1 || rule->patches < 0 || rule->tries < 0)
        return status_make(STATUS_INVALID, "%d patches of side %d in %d tries; sides start at 1, the others at 0",
                           rule->patches, rule->side, rule->tries);
    size_t side = (size_t)rule->side;
    if (width <= side || height <= side || width > INT32_MAX || height > INT32_MAX)
        return status_make(STATUS_INVALID,
                           "patches of %d pixels from a slide of %zu x %zu; it must be larger in both "
                           "directions",
                           rule->side, width, height);
    Mt19937 generator;
    mt19937_seed(&generator, rule->seed);
    for (int t = 0; t < rule->tries && *out_count < rule->patches; t++) {
        size_t y = mt19937_below(&generator, (uint32_t)(height - side));
        size_t x = mt19937_below(&generator, (uint32_t)(width - side)), tissue = 0;
        for (size_t row = y; row < y + side; row++)
            for (size_t column = x; column < x + side; column++)
                tissue += (double)mean[row * width + column] < rule->limit;
        if ((double)tissue / ((double)side * (double)side) < rule->tissue) continue;
        corners[2 * *out_count] = (int64_t)x;
        corners[2 * *out_count + 1] = (int64_t)y;
        ++*out_count;
    }
    return STATUS_OK;
}

static bool inside(const Picture *picture, int64_t x, int64_t y, int side) {
    return side >= 0 && x >= 0 && y >= 0 && x <= (int64_t)picture->width - side && y <= (int64_t)picture->height - side;
}

Status copy_patch(const Picture *slide, int64_t x, int64_t y, int side, Picture *mosaic, size_t to_x, size_t to_y) {
    if (!inside(slide, x, y, side) || to_x > INT32_MAX || to_y > INT32_MAX ||
        !inside(mosaic, (int64_t)to_x, (int64_t)to_y, side))
        return status_make(
            STATUS_INVALID,
            "a patch of %d pixels from (%lld, %lld) of a slide of %zu x %zu to (%zu, %zu) of a mosaic of "
            "%zu x %zu leaves one of them",
            side, (long long)x, (long long)y, slide->width, slide->height, to_x, to_y, mosaic->width, mosaic->height);
    for (size_t row = 0; row < (size_t)side; row++)
        memcpy(mosaic->rgb + ((to_y + row) * mosaic->width + to_x) * 3,
               slide->rgb + (((size_t)y + row) * slide->width + (size_t)x) * 3, (size_t)side * 3);
    return STATUS_OK;
}

// ---- background

Status background_mask(const float *gray, size_t width, size_t height, double threshold, uint8_t *mask) {
    size_t pixels = width * height;
    if (!pixels) return STATUS_OK;
    if (threshold != threshold) {
        threshold = 0;
        for (size_t i = 0; i < pixels; i++) threshold += (double)gray[i];
        threshold /= (double)pixels;
    }
    Footprint disk;
    TRY(footprint_disk(2, &disk));
    uint8_t *dark = malloc(pixels);
    if (!dark) return status_make(STATUS_NO_MEMORY, "no memory for a mask of %zu x %zu pixels", width, height);
    mask_from_floats(gray, pixels, MASK_AT_MOST, (double)(float)threshold, dark); // numpy compares in f32
    Status status = mask_close(dark, width, height, &disk, BORDER_REFLECT, mask);
    free(dark);
    return status != STATUS_OK ? status : mask_fill_small(mask, width, height, 5000, CONNECT_8);
}

double background_threshold_hevisum(int slide) {
    static const double published[7] = {0.90, 0.91, 0.90, 0.90, 0.91, 0.86, 0.85};
    return slide >= 1 && slide <= 7 ? published[slide - 1] : (double)NAN;
}

// ---- spots

void spot_shift_hevisum(int slide, int *out_dx, int *out_dy) {
    static const int published[6][2] = {{-55, -60}, {-90, -60}, {-25, -25}, {-15, -15}, {-15, -15}, {-30, -30}};
    *out_dx = slide >= 1 && slide <= 6 ? published[slide - 1][0] : 0;
    *out_dy = slide >= 1 && slide <= 6 ? published[slide - 1][1] : 0;
}

enum { SPOT_HALF = 13 };

Status spot_validity(const float *gray, size_t width, size_t height, const int64_t *spots, size_t count, uint8_t *valid,
                     size_t *out_invalid) {
    size_t pixels = width * height, invalid = 0;
    uint8_t *stretched = malloc(pixels + 1), *blurred = malloc(pixels + 1);
    Status status = STATUS_OK;
    if (!stretched || !blurred)
        status = status_make(STATUS_NO_MEMORY, "no memory for a plane of %zu x %zu pixels", width, height);
    if (status == STATUS_OK) {
        float low = INFINITY, high = -INFINITY;
        for (size_t i = 0; i < pixels; i++) {
            low = fminf(low, gray[i]);
            high = fmaxf(high, gray[i]);
        }
        float range = high - low;
        for (size_t i = 0; i < pixels; i++) {
            float v = (gray[i] - low) / range * 255.f;
            stretched[i] = v > 0 ? (uint8_t)fminf(v, 255.f) : 0; // one grey value: 0 / 0, no tissue
        }
        status = gaussian_bytes(stretched, width, height, 1, 3, 1.4, BORDER_REFLECT_101, blurred);
    }
    if (status == STATUS_OK) {
        uint64_t sum = 0;
        for (size_t i = 0; i < pixels; i++) sum += blurred[i];
        mask_from_bytes(blurred, pixels, MASK_BELOW, pixels ? (double)sum / (double)pixels : 0, stretched);
        for (size_t i = 0; i < count; i++) {
            int64_t x = spots[2 * i], y = spots[2 * i + 1];
            valid[i] = x >= SPOT_HALF && y >= SPOT_HALF && x <= (int64_t)width - SPOT_HALF &&
                       y <= (int64_t)height - SPOT_HALF &&
                       tissue_fraction(stretched, width, height, x - SPOT_HALF, y - SPOT_HALF, 2 * SPOT_HALF,
                                       2 * SPOT_HALF) > 0;
            invalid += !valid[i];
        }
        if (out_invalid) *out_invalid = invalid;
    }
    free(stretched);
    free(blurred);
    return status;
}

typedef struct Place {
    double x, y;
} Place;

static int compare_places(const void *a, const void *b) {
    const Place *p = a, *q = b;
    return p->x < q->x ? -1 : p->x > q->x ? 1 : 0;
}

Status spot_pitch(const double *spots, size_t count, double *out_pitch) {
    *out_pitch = (double)NAN;
    if (count < 2) return STATUS_OK;
    Place *places = count > SIZE_MAX / sizeof *places ? NULL : malloc(count * sizeof *places);
    if (!places) return status_make(STATUS_NO_MEMORY, "no memory for the places of %zu spots", count);
    for (size_t i = 0; i < count; i++) {
        places[i] = (Place){spots[2 * i], spots[2 * i + 1]};
        if (!isfinite(places[i].x) || !isfinite(places[i].y)) {
            free(places);
            return status_make(STATUS_INVALID, "spot %zu of %zu is at (%g, %g); positions must be finite", i, count,
                               spots[2 * i], spots[2 * i + 1]);
        }
    }
    qsort(places, count, sizeof *places, compare_places);
    double sum = 0;
    for (size_t i = 0; i < count; i++) { // outwards along x until no nearer one is possible
        double best = INFINITY;
        for (int side = -1; side <= 1; side += 2)
            for (size_t k = i + (size_t)side; k < count; k += (size_t)side) {
                double dx = places[k].x - places[i].x, dy = places[k].y - places[i].y;
                if (dx * dx >= best) break;
                best = fmin(best, dx * dx + dy * dy);
            }
        sum += sqrt(best);
    }
    free(places);
    *out_pitch = sum / (double)count;
    return STATUS_OK;
}

int tile_side(const double *pitches, size_t slides) {
    double largest = 0;
    for (size_t i = 0; i < slides; i++)
        if (isfinite(pitches[i])) largest = fmax(largest, pitches[i]);
    return (int)rint(fmin(3 * largest, 1 << 30));
}

void spot_positions_scaled(const double *spots, size_t count, float *positions) {
    for (int axis = 0; axis < 2; axis++) {
        double low = INFINITY, high = -INFINITY;
        for (size_t i = 0; i < count; i++) {
            low = fmin(low, spots[2 * i + (size_t)axis]);
            high = fmax(high, spots[2 * i + (size_t)axis]);
        }
        double range = high > low ? high - low : 1;
        for (size_t i = 0; i < count; i++)
            positions[2 * i + (size_t)axis] = (float)((spots[2 * i + (size_t)axis] - low) / range * 2 - 1);
    }
}

// ---- tiles

void cut_subtile(const uint8_t *tile, int part, int index, uint8_t *subtile) {
    size_t side = 3 * (size_t)part, top = (size_t)(index / 3 * part), left = (size_t)(index % 3 * part);
    for (size_t row = 0; row < (size_t)part; row++)
        memcpy(subtile + row * (size_t)part * 3, tile + ((top + row) * side + left) * 3, (size_t)part * 3);
}
