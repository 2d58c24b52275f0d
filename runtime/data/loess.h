// loess: local regression of one variable, as scikit-misc and netlib's dloess compute it with their defaults
// (Cleveland & Grosse 1991): family gaussian, surface "interpolate" with cell 0.2, tricube weights. This is what
// HVG seurat_v3 needs; the steps stand in discotme.md §3.3.
//
// The fit is exact at the vertices of a one-dimensional k-d tree and a cubic Hermite blend between them.
#pragma once

#include <stddef.h>

#include "../core/status.h"

typedef struct LoessOptions {
    double span; // share of the points in each local fit; seurat_v3: 0.3
    int degree;  // 1 or 2; seurat_v3: 2
} LoessOptions;

// fitted[count] at every x. count 0 is fine. STATUS_INVALID: NaN or infinite input, too few points for the span, or so
// many equal x that a whole neighbourhood has no width (netlib stops there as well).
MUST_USE Status loess_fit(const double *x, const double *y, size_t count, const LoessOptions *options, double *fitted);
