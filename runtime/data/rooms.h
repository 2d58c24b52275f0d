// rooms: the steps by which HEVisum turns a slide and its spots into tiles, as functions on pixels and positions:
// patches for a stain reference, background mask, shift, invalid spots, tile size, subtiles. (Ranks and tiles are in
// prepare.h: ordinal_ranks, cut_tile.)
//
// Pictures are u8 [height][width][3] that stand for value / 255. Slides stored as f32 in [0, 1] come in as bytes cut
// (colour.h: bytes_from_unit_cut) for stains and tiles; where the original works on f32, the function takes a grey or
// mean plane in f32 (colour.h: gray_weighted_float) so that both kinds of slide can be used. Spots are [count][2]
// pixels x (column), y (row). Nothing here keeps memory beyond the call unless it says so.
#pragma once

#include <stdint.h>

#include "image.h"
#include "stain.h"

// ---- stain reference
// The generator of numpy.random.seed / randint: MT19937.
typedef struct Mt19937 {
    uint32_t state[624];
    int next;
} Mt19937;
void mt19937_seed(Mt19937 *generator, uint32_t seed);
uint32_t mt19937_word(Mt19937 *generator);
uint32_t mt19937_below(Mt19937 *generator, uint32_t bound); // numpy's randint(0, bound): masked rejection; bound >= 1

typedef struct PatchRule {
    uint32_t seed; // set anew for each slide: 46
    int patches;   // wanted: 5
    int side;      // 256
    int tries;     // 250
    double tissue; // least share of tissue: 0.6
    double limit;  // tissue is a mean over R, G, B below this: 0.8
} PatchRule;
PatchRule patch_rule_hevisum(void);

// Top left corners [rule.patches][2] (x, y) of patches with enough tissue, in the order drawn (each try draws the row,
// then the column); *out_count may stay below rule.patches when the tries are used up. `mean` is f32 [height][width].
// STATUS_INVALID: a slide not larger than a patch in both directions.
MUST_USE Status stain_patches(const float *mean, size_t width, size_t height, const PatchRule *rule, int64_t *corners,
                              int *out_count);
// Copies `side` x `side` pixels into the mosaic [..][mosaic_width][3] with its top left corner at (to_x, to_y); both
// rectangles must lie inside.
MUST_USE Status copy_patch(const Picture *slide, int64_t x, int64_t y, int side, Picture *mosaic, size_t to_x,
                           size_t to_y);

// ---- background
// tissue = gray <= threshold (gray: GRAY_REC709 f32), closed by a disk of radius 2 with a reflected border, background
// parts below 5000 pixels (8-connected) filled. A NaN threshold means the mean of gray.
MUST_USE Status background_mask(const float *gray, size_t width, size_t height, double threshold, uint8_t *mask);
// The published threshold of slide 1 .. 7; NaN (mean gray) for others.
double background_threshold_hevisum(int slide);

// ---- spots
// The published shift of slide 1 .. 6; (0, 0) for others.
void spot_shift_hevisum(int slide, int *out_dx, int *out_dy);
// valid[i] = 1 unless the window of 26 x 26 pixels about the spot (x - 13 .. x + 12) leaves the picture or holds no
// tissue. `gray` is GRAY_REC601 f32 of the original slide; it is stretched to 0 .. 255 and cut, blurred (7 x 7, sigma
// 1.4), and tissue is what is strictly darker than the mean. A slide of one grey value has no tissue. Memory: 2 bytes a
// pixel. *out_invalid may be NULL.
MUST_USE Status spot_validity(const float *gray, size_t width, size_t height, const int64_t *spots, size_t count,
                              uint8_t *valid, size_t *out_invalid);
// Mean distance of the spots to their nearest neighbour; NaN for fewer than 2 spots. Time count^2 at worst, about
// count * sqrt(count) for spots spread over a slide.
MUST_USE Status spot_pitch(const double *spots, size_t count, double *out_pitch);
// round(3 * the largest pitch), halves to even; 0 when no pitch is finite.
int tile_side(const double *pitches, size_t slides);
// Min-max to [-1, 1] of each axis over the slide, in f32; an axis of one value gives -1 (0 / 1 * 2 - 1).
void spot_positions_scaled(const double *spots, size_t count, float *positions);

// ---- tiles
// Part 3 row + column of a tile whose side is 3 * part: [part][part][3].
void cut_subtile(const uint8_t *tile, int part, int index, uint8_t *subtile);
