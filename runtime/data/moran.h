// moran: spatial autocorrelation on a graph.
//
// Moran's I of a vector x with z = x - mean: (N / sum w) * sum_ij w_ij z_i z_j / sum z^2 (spatialtranscriptformer.md
// §2.6; a constant vector, sum z^2 < 1e-12, gives 0, as there). Bivariate R of SpatialDM: cuca.md §7.3.
// NaN in a vector gives NaN; a graph without weight gives 0 (STF) respectively NaN (bivariate).
#pragma once

#include "graph.h"
#include "matrix.h"

double moran_i(const Graph *graph, const double *values);
// Per column of a matrix whose rows are the graph's points: out[columns]. Columns are unpacked one at a time.
MUST_USE Status moran_columns(const Graph *graph, const Matrix *matrix, double *out);

typedef struct MoranPair {
    size_t a, b;    // columns; a is the lagged one
    double r, z, p; // p: upper tail
} MoranPair;

// All pairs a < b of the columns of values[points][columns], each z-scored by its population deviation.
// out[columns * (columns - 1) / 2], ordered by (a, b). Constant columns give NaN.
MUST_USE Status moran_pairs(const Graph *graph, const double *values, size_t columns, MoranPair *out);
