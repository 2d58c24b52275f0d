// resample: antialiased scaling of RGB pictures, equal to Pillow's Image.resize bit for bit.
//
// The arithmetic is Pillow's for 8-bit pictures: per output pixel a window of input pixels with centre
// (i + 0.5) * in / out and half-width `support * max(in / out, 1)`, weights normalised and rounded to 22-bit
// fixed point, first across, then down, each pass rounded to 8 bits. Across comes first, row by row, so a
// file is scaled while it is decoded and never held whole. (Pillow does the same up to version 12; Pillow 13 goes down
// first where that is less work, which can differ by the rounding between the passes, though not for squares scaled to
// squares.)
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"
#include "image.h"

typedef enum ResampleFilter {
    RESAMPLE_BOX,      // area mean; Pillow's BOX
    RESAMPLE_BILINEAR, // triangle; Pillow's BILINEAR
    RESAMPLE_BICUBIC,  // Keys' cubic with a = -0.5; Pillow's BICUBIC
    RESAMPLE_LANCZOS,  // windowed sinc of radius 3; Pillow's LANCZOS
} ResampleFilter;

// Called now and then with the fraction done, 0 .. 1; returning false stops the work with STATUS_CANCELLED.
typedef bool ResampleProgress(void *context, double fraction);

// Scales the whole of `image` to out_width x out_height. `progress` may be NULL.
MUST_USE Status resample_image(ImageFile *image, size_t out_width, size_t out_height, ResampleFilter filter,
                               ResampleProgress *progress, void *context, Picture *out_picture);

// The same for a picture that is asked for from the top, rows once each, in strips: rgb[count][width][3] for rows first
// .. first + count - 1.
typedef Status ResampleRows(void *context, size_t first, size_t count, uint8_t *rgb);
MUST_USE Status resample_rows(ResampleRows *rows, void *rows_context, size_t width, size_t height, size_t out_width,
                              size_t out_height, ResampleFilter filter, ResampleProgress *progress, void *context,
                              Picture *out_picture);

// The same for a picture in memory.
MUST_USE Status resample_picture(const Picture *picture, size_t out_width, size_t out_height, ResampleFilter filter,
                                 Picture *out_picture);

// One scaling, done many times: 224 x 224 crops of a slide, say. For one thread at a time.
typedef struct Resampler Resampler;

// The part of the picture that is scaled, in pixels, fractions allowed; Image.resize's `box`, which Pillow rounds to
// single precision too. Windows at the part's border still see the pixels beyond it.
typedef struct ResampleBox {
    float x0, y0, x1, y1;
} ResampleBox;

// From pictures of width x height, `box` of them (NULL: all), to out_width x out_height.
MUST_USE Status resampler_create(size_t width, size_t height, const ResampleBox *box, size_t out_width,
                                 size_t out_height, ResampleFilter filter, Resampler **out_resampler);
void resampler_free(Resampler *resampler); // NULL is fine

// rgb: rows of `stride` bytes; out[out_height][out_width][3]. Cannot fail.
void resampler_run(Resampler *resampler, const uint8_t *rgb, size_t stride, uint8_t *out);
