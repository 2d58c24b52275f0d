// tissue: where a slide has tissue, and how much of it a patch has.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

// A tissue mask for H&E on a bright ground, where no brief names another: saturation (OpenCV's S) above Otsu's
// threshold, closed by a disk of `close_radius`, then parts and holes of fewer than `least` pixels removed
// (8-connected parts, 4-connected holes). rgb is [height][width][3], mask [height][width] of 0 and 1. Memory beside
// them: one byte a pixel and the runs of components.h. *out_threshold may be NULL. A picture of one saturation, an
// empty one included, has no tissue.
MUST_USE Status tissue_mask(const uint8_t *rgb, size_t width, size_t height, int close_radius, uint64_t least,
                            uint8_t *mask, int *out_threshold);

// Share of set pixels in the window of `w` x `h` pixels whose top left corner is (x, y); what lies outside the mask
// counts as no tissue. 0 for an empty window.
double tissue_fraction(const uint8_t *mask, size_t width, size_t height, int64_t x, int64_t y, size_t w, size_t h);

// For squares of `side` pixels about `count` centres [count][2] (x, y): corner = floor(centre) - side / 2. Centres that
// are not finite give 0.
void tissue_fractions(const uint8_t *mask, size_t width, size_t height, const double *centres, size_t count,
                      size_t side, double *fractions);
