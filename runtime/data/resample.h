// resample: antialiased scaling of RGB pictures, equal to Pillow's Image.resize bit for bit.
//
// The arithmetic is Pillow's for 8-bit pictures: per output pixel a window of input pixels with centre
// (i + 0.5) * in / out and half-width `support * max(in / out, 1)`, weights normalised and rounded to 22-bit
// fixed point, first across, then down, each pass rounded to 8 bits. Across comes first, row by row, so a
// file is scaled while it is decoded and never held whole.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"
#include "image.h"

typedef enum ResampleFilter {
    RESAMPLE_BOX,      // area mean; Pillow's BOX
    RESAMPLE_BILINEAR, // triangle; Pillow's BILINEAR
} ResampleFilter;

// Called now and then with the fraction done, 0 .. 1; returning false stops the work with STATUS_CANCELLED.
typedef bool ResampleProgress(void *context, double fraction);

// Scales the whole of `image` to out_width x out_height. `progress` may be NULL.
MUST_USE Status resample_image(ImageFile *image, size_t out_width, size_t out_height, ResampleFilter filter,
                               ResampleProgress *progress, void *context, Picture *out_picture);

// The same for a picture in memory.
MUST_USE Status resample_picture(const Picture *picture, size_t out_width, size_t out_height, ResampleFilter filter,
                                 Picture *out_picture);
