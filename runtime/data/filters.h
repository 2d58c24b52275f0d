// filters: box and Gaussian blur of byte and float planes.
//
// Planes are [height][width] or, with `channels` = 3, [height][width][3]; each channel is filtered by itself. `in` and
// `out` must differ. Empty planes are left alone. Beside the planes only some rows of memory are used: window rows + 1.
//
// Byte filters equal OpenCV 4 bit for bit (GaussianBlur, blur), for windows of odd size. Float filters equal scipy's
// gaussian_filter and uniform_filter on f32 planes to 1e-6 of the largest value: sums are f64, each of the two passes
// rounds to f32. BORDER_IGNORE counts the outside as 0 (OpenCV's BORDER_CONSTANT, scipy's "constant").
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"
#include "border.h"

enum { FILTER_RADIUS = 1 << 12, FILTER_BYTE_RADIUS = 127 };

// Weights for distances 0 .. radius, normalised over both sides: exp(-d^2 / (2 sigma^2)). sigma > 0.
void gaussian_weights(double sigma, int radius, double *weights);

// scipy's radius: floor(truncate * sigma + 0.5) with truncate 4. sigma = 0 copies; negative or NaN, or a radius above
// FILTER_RADIUS, is STATUS_INVALID.
MUST_USE Status gaussian_floats(const float *in, size_t width, size_t height, int channels, double sigma, Border border,
                                float *out);
// The same with a radius given.
MUST_USE Status gaussian_floats_radius(const float *in, size_t width, size_t height, int channels, double sigma,
                                       int radius, Border border, float *out);
// OpenCV's 8-bit GaussianBlur: window 2 radius + 1, 8-bit weights. sigma <= 0 means 0.3 ((size - 1) / 2 - 1) + 0.8.
MUST_USE Status gaussian_bytes(const uint8_t *in, size_t width, size_t height, int channels, int radius, double sigma,
                               Border border, uint8_t *out);

// Mean over (2 radius + 1)^2. Float sums slide along rows and columns, so time does not depend on the radius, and an
// infinity or NaN spoils its row and what lies below it.
MUST_USE Status box_floats(const float *in, size_t width, size_t height, int channels, int radius, Border border,
                           float *out);
MUST_USE Status box_bytes(const uint8_t *in, size_t width, size_t height, int channels, int radius, Border border,
                          uint8_t *out);
