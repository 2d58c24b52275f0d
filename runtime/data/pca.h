// pca: principal components of dense rows, as scikit-learn's PCA defines them: centred, not scaled, variance with
// divisor rows - 1.
//
// Signs: the entry of largest magnitude of every axis is positive (scikit-learn's svd_flip since 1.5; the first of
// equals). Two methods: the eigenvalues of the covariance or, with fewer rows than columns, of the inner products of
// the rows; and, where that matrix would be larger than 1,200, subspace iteration from a Philox start (Halko et al.
// 2011) run until the variances stand still to 1e-12. Both run on one thread and are a function of input and seed.
//
// Own eigenvalue code: Debian's static LAPACK would bring the Fortran run-time library for one routine.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef enum PcaMethod { PCA_AUTO, PCA_EXACT, PCA_RANDOMISED } PcaMethod;

typedef struct Pca {
    size_t width, components;
    double *mean;     // [width]
    double *axis;     // [components][width], orthonormal rows
    double *variance; // [components] descending
    double *share;    // [components] of the total variance; NaN when that is 0
    double total_variance;
} Pca;

void pca_free(Pca *pca); // a zeroed one is fine
// values[rows][width]. components <= min(rows, width); more, fewer than 2 rows, NaN or infinite values: STATUS_INVALID.
MUST_USE Status pca_fit(const double *values, size_t rows, size_t width, size_t components, PcaMethod method,
                        uint32_t seed, Pca *out_pca);
// scores[rows][components] = (values - mean) axis^T
void pca_transform(const Pca *pca, const double *values, size_t rows, double *scores);

// Eigenvalues (descending) and vectors (rows of `vector`) of the symmetric a[n][n], which is destroyed: Householder
// tridiagonalisation and implicit QL.
MUST_USE Status symmetric_eigen(double *a, size_t n, double *value, double *vector);
