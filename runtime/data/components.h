// components: the connected parts of a mask: labels, sizes, and the removal of small parts and small holes.
//
// Masks are u8 [height][width], as in masks.h. Work is done on runs (stretches of set pixels in a row), found in one
// pass: memory is 16 bytes a run, which is small for tissue and at most 8 bytes a pixel for a chessboard. Pictures of
// 2^31 pixels and more are refused, as are more runs than fit the memory. Empty masks have no components.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef enum Connectivity { CONNECT_4 = 4, CONNECT_8 = 8 } Connectivity;

typedef struct Component {
    uint64_t area;             // pixels
    uint32_t x0, y0, x1, y1;   // box, x1 and y1 exclusive
    double centre_x, centre_y; // mean position of the pixels
} Component;

typedef struct Components {
    size_t count;
    Component *of; // [count], in the order of their first pixel, row by row: label 1 is of[0]
} Components;

// The labels may be NULL; else i32 [height][width], 0 is background, numbered as scikit-image's label and scipy's
// ndimage.label do.
MUST_USE Status components_find(const uint8_t *mask, size_t width, size_t height, Connectivity connectivity,
                                int32_t *labels, Components *out_components);
void components_free(Components *components); // a zeroed one is fine

// Clears components of fewer than `least` pixels (scikit-image remove_small_objects(min_size = least)), in place.
MUST_USE Status mask_remove_small(uint8_t *mask, size_t width, size_t height, uint64_t least,
                                  Connectivity connectivity);
// Sets background components of fewer than `least` pixels, whether or not they touch the edge (remove_small_holes
// (area_threshold = least)). `connectivity` is that of the background.
MUST_USE Status mask_fill_small(uint8_t *mask, size_t width, size_t height, uint64_t least, Connectivity connectivity);
// Sets the background that is not connected to the edge (scipy binary_fill_holes is CONNECT_4).
MUST_USE Status mask_fill_holes(uint8_t *mask, size_t width, size_t height, Connectivity connectivity);
// Keeps the largest component (of equals the first) and clears the others.
MUST_USE Status mask_keep_largest(uint8_t *mask, size_t width, size_t height, Connectivity connectivity);
