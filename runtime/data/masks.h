// masks: planes of 0 and 1 made by thresholds, and their morphology.
//
// A mask is u8 [height][width] in plain memory of the caller; on input every value but 0 counts as 1, on output there
// are only 0 and 1. Planes may be empty (width or height 0: nothing is done). Results equal scikit-image and OpenCV
// where named, bit for bit.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"
#include "border.h"

// ---- thresholds
typedef enum MaskRule { MASK_BELOW, MASK_AT_MOST, MASK_ABOVE, MASK_AT_LEAST } MaskRule;
// 1 where the value stands in this relation to `threshold`; NaN gives 0. `values` and `mask` are [count].
void mask_from_bytes(const uint8_t *values, size_t count, MaskRule rule, double threshold, uint8_t *mask);
void mask_from_floats(const float *values, size_t count, MaskRule rule, double threshold, uint8_t *mask);

// Otsu's threshold of a histogram: the level that separates best; pixels above it are one class, at or below it the
// other. Equal to OpenCV's THRESH_OTSU and scikit-image's threshold_otsu(u8) in exact arithmetic; where several levels
// separate equally well (empty levels between two peaks), the lowest is taken, as both do. A picture of one level
// gives that level (as scikit-image; OpenCV gives 0); an empty one gives 0.
int otsu_threshold(const uint64_t histogram[256]);
void histogram_add(const uint8_t *values, size_t count, uint64_t histogram[256]); // adds to what is there

// ---- counting and combining
size_t mask_count(const uint8_t *mask, size_t count);
void mask_invert(uint8_t *mask, size_t count);
// Sets the pixels outside the mask to `value` in all three channels; `rgb` is [count][3].
void mask_apply(const uint8_t *mask, size_t count, uint8_t value, uint8_t *rgb);

// ---- morphology
// A footprint with left-right and up-down symmetry and no holes in its rows: row dy (0 is the middle) reaches
// half_width[|dy|] pixels to both sides.
enum { FOOTPRINT_RADIUS = 128 };
typedef struct Footprint {
    int radius; // rows above and below the middle, 0 .. FOOTPRINT_RADIUS
    int half_width[FOOTPRINT_RADIUS + 1];
} Footprint;

// Refused (STATUS_INVALID): radii outside 0 .. FOOTPRINT_RADIUS.
MUST_USE Status footprint_disk(int radius, Footprint *out);                    // scikit-image disk: x^2 + y^2 <= r^2
MUST_USE Status footprint_box(int radius_x, int radius_y, Footprint *out);     // (2 rx + 1) x (2 ry + 1)
MUST_USE Status footprint_diamond(int radius, Footprint *out);                 // |x| + |y| <= r; r = 1 is the cross
MUST_USE Status footprint_ellipse(int radius_x, int radius_y, Footprint *out); // OpenCV MORPH_ELLIPSE, odd sizes
size_t footprint_pixels(const Footprint *footprint);

// `in` and `out` must differ; time is pixels * rows of the footprint; no memory beside them (closing and
// opening: one plane more). BORDER_IGNORE is the default of OpenCV and of scikit-image's binary_ functions since 0.23;
// BORDER_REFLECT that of scikit-image's closing and opening.
MUST_USE Status mask_dilate(const uint8_t *in, size_t width, size_t height, const Footprint *footprint, Border border,
                            uint8_t *out);
MUST_USE Status mask_erode(const uint8_t *in, size_t width, size_t height, const Footprint *footprint, Border border,
                           uint8_t *out);
MUST_USE Status mask_close(const uint8_t *in, size_t width, size_t height, const Footprint *footprint, Border border,
                           uint8_t *out); // dilate, then erode
MUST_USE Status mask_open(const uint8_t *in, size_t width, size_t height, const Footprint *footprint, Border border,
                          uint8_t *out); // erode, then dilate
