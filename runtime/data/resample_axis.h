// resample_axis: one axis of a scaling: windows of input pixels, their fixed-point weights, and the two inner loops.
// Internal to runtime/data; the arithmetic is Pillow's (resample.h).
//
// A weight w (22 bits of fraction) is kept as w = high * 2048 + low with 16-bit halves, so that the inner loops are
// 16-bit multiplications whose 32-bit sums equal Pillow's exactly.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "resample.h"

typedef struct Axis {
    size_t in, out;
    size_t widest;       // most taps of a window; the rows of a ring that holds one
    size_t padded;       // entries reserved for a window: a multiple of 4, zero behind the taps
    size_t from, to;     // the input pixels that any window touches: from .. to-1
    bool identity;       // out == in, every window is its own pixel
    size_t *first;       // [out]
    size_t *taps;        // [out]
    int16_t *high, *low; // [out][padded]
} Axis;

// in pixels of which [from, to) are scaled to `out`. Pillow keeps the box in single precision.
MUST_USE Status axis_create(size_t in, float from, float to, size_t out, ResampleFilter filter, Axis *axis);
void axis_free(Axis *axis);

// Across: one row of `in` RGB pixels to one of `out`. `wide` is scratch of (in + widest + 8) * 4 bytes, all of them
// once set to 0.
void axis_scale_row(const Axis *axis, const uint8_t *in, uint8_t *wide, uint8_t *out);

// Down: output row i from the `taps` rows of its window, each `bytes` long.
void axis_blend_rows(const Axis *axis, size_t i, const uint8_t *const *rows, size_t bytes, uint8_t *out);
