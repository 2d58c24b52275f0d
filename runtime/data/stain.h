// stain: Macenko's stain normalisation of H&E pictures, as torchstain's torch form computes it.
//
// Optical density of a channel value v in 0 .. 255 is -ln((v + 1) / 240); pixels with all three densities >= 0.15 are
// stained. The two stain colours are the 1st and 99th percentile of the angle of the stained pixels in the plane of
// their two main directions; concentrations are least squares on them, and their 99th percentiles are matched to a
// reference. Percentiles are nearest-rank.
//
// Pictures are read from their u8 pixels five times for a fit and once for a transform; memory beside the picture is
// about 2 MiB whatever its size. Arithmetic is f64 (percentiles are searched among values rounded to f32), so results
// differ from torchstain's f32 by about 1e-5 in the matrices and by one level in rare pixels.
#pragma once

#include <stdint.h>

#include "image.h"

typedef struct StainProfile {
    double he[3][2]; // [R, G, B][haematoxylin, eosin]: densities of the pure stains, unit length
    double max_c[2]; // 99th percentile of the concentration of either, over all pixels
    uint64_t stained, pixels;
} StainProfile;

// Refused (STATUS_INVALID), with numbers: fewer than 2 stained pixels; all stained pixels of one colour, so that no
// two stains can be told apart; a stain with no positive concentration at the 99th percentile.
MUST_USE Status stain_fit(const uint8_t *rgb, uint64_t pixels, StainProfile *out_profile);

// The published reference of the method (torchstain's default), for use without a reference picture.
StainProfile stain_published_reference(void);

// Writes pixels with the stains of `reference` instead of `own`; in place is fine. Values are cut, not rounded.
void stain_transform(const uint8_t *rgb, uint64_t pixels, const StainProfile *own, const StainProfile *reference,
                     uint8_t *out_rgb);
// Concentrations [pixels][2] of the two stains.
void stain_concentrations(const uint8_t *rgb, uint64_t pixels, const StainProfile *own, float *concentrations);

// Eigenvalues in ascending order and unit eigenvectors (columns of `vectors`) of a symmetric matrix, by Jacobi
// rotations: accurate to rounding also for repeated and tiny eigenvalues. Only finite entries.
void symmetric_eigen3(const double matrix[3][3], double values[3], double vectors[3][3]);
