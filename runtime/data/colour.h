// colour: grey values and colour spaces of 8-bit and float pixels, each with the rounding of the library it is named
// after.
//
// Pixels lie in a row: `rgb` is [count][3], a grey plane [count]; a picture is width * height of them. Input and output
// may be the same memory where both have the same size, otherwise they do not overlap. `count` may be 0. No memory is
// allocated.
//
// Bit-equal to the named library: everything from u8 to u8. The float spaces follow scikit-image in double precision;
// values agree to 1e-11 of the range of the channel.
#pragma once

#include <stddef.h>
#include <stdint.h>

// ---- grey
// Pillow's convert("L"): (19595 R + 38470 G + 7471 B + 2^15) >> 16.
void gray_pillow(const uint8_t *rgb, size_t count, uint8_t *gray);
// OpenCV 4's cvtColor(RGB2GRAY): (9798 R + 19235 G + 3735 B + 2^14) >> 15.
void gray_opencv(const uint8_t *rgb, size_t count, uint8_t *gray);
// Weighted sums in f32. `rgb` holds values times `scale` (1/255 for u8 pictures that stand for [0, 1]).
typedef struct GrayWeights {
    float r, g, b;
} GrayWeights;
#define GRAY_REC601  ((GrayWeights){0.299f, 0.587f, 0.114f})    // OpenCV, Pillow
#define GRAY_REC709  ((GrayWeights){0.2125f, 0.7154f, 0.0721f}) // scikit-image rgb2gray
#define GRAY_AVERAGE ((GrayWeights){1 / 3.f, 1 / 3.f, 1 / 3.f})
void gray_weighted(const uint8_t *rgb, size_t count, GrayWeights weights, float *gray); // of rgb / 255
void gray_weighted_float(const float *rgb, size_t count, GrayWeights weights, float *gray);

// ---- bytes and floats
void unit_from_bytes(const uint8_t *bytes, size_t count, float *values); // v / 255
// Times 255 and cut (not rounded); below 0 and NaN give 0, above 1 gives 255.
void bytes_from_unit_cut(const float *values, size_t count, uint8_t *bytes);
// Times 255 and rounded, halves to even; clipped the same way.
void bytes_from_unit_rounded(const float *values, size_t count, uint8_t *bytes);

// ---- HSV
// Pillow's convert("HSV"): H, S, V in 0 .. 255.
void hsv_pillow(const uint8_t *rgb, size_t count, uint8_t *hsv);
void rgb_from_hsv_pillow(const uint8_t *hsv, size_t count, uint8_t *rgb);
// OpenCV's RGB2HSV on u8: H in 0 .. 179 (two degrees a step), S and V in 0 .. 255. Back: H of 180 and more wraps,
// and values are cut, as OpenCV's vector code does on x86-64 (it rounds the last few pixels of a row that do not fill a
// vector, up to 31 of them; here every pixel is treated alike).
void hsv_opencv(const uint8_t *rgb, size_t count, uint8_t *hsv);
void rgb_from_hsv_opencv(const uint8_t *hsv, size_t count, uint8_t *rgb);
// scikit-image's rgb2hsv and hsv2rgb: all in [0, 1], H wraps at 1.
void hsv_float(const double *rgb, size_t count, double *hsv);
void rgb_from_hsv_float(const double *hsv, size_t count, double *rgb);

// ---- haematoxylin, eosin, DAB
// scikit-image's rgb2hed and hed2rgb (Ruifrok and Johnston's matrix): rgb in [0, 1]; stains are >= 0, and going back
// clips to [0, 1].
void hed_float(const double *rgb, size_t count, double *hed);
void rgb_from_hed_float(const double *hed, size_t count, double *rgb);

// ---- CIE Lab
// scikit-image's rgb2lab and lab2rgb: sRGB in [0, 1], D65, 2 degree observer; L in 0 .. 100. Going back clips to
// [0, 1]; a negative Z is taken as 0.
void lab_float(const double *rgb, size_t count, double *lab);
void rgb_from_lab_float(const double *lab, size_t count, double *rgb);
