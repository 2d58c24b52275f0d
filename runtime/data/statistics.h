// statistics: correlations, errors, divergences and mutual information of two vectors, as scipy and scikit-learn define
// them (and as the five systems report them: cuca.md §7.1, stem.md §8, hevisum.md §8, spatialtranscriptformer.md §6).
//
// All take f64 vectors of equal length. What has no value is NaN, never an error: fewer points than the definition
// needs, a constant vector under a correlation, and any NaN in the input (which is passed on, as scipy does).
// Only running out of memory is a Status. Correlations are clipped to [-1, 1] against rounding.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

// ---- Ranks ----------------------------------------------------------------------------------------
// Average ranks 1..count, ties share their mean (scipy.stats.rankdata); all NaN when any value is.
MUST_USE Status rank_average(const double *values, size_t count, double *ranks);
// Ordinal ranks 1..count, ties in order of position (hevisum.md §3.5). NaN ranks last.
MUST_USE Status rank_ordinal(const double *values, size_t count, int32_t *ranks);
// Ordinal ranks within every row of values[rows][columns].
MUST_USE Status rank_rows(const double *values, size_t rows, size_t columns, int32_t *ranks);

// ---- Correlations -----------------------------------------------------------------------------------
// p (may be NULL): two-sided, from the t distribution with count - 2 degrees of freedom; NaN for fewer than 3 points.
double pearson(const double *x, const double *y, size_t count, double *out_p);
MUST_USE Status spearman(const double *x, const double *y, size_t count, double *out_rho, double *out_p);
MUST_USE Status kendall(const double *x, const double *y, size_t count, double *out_tau); // tau-b, O(n log n)
// Per column of two blocks [rows][columns]: out[columns].
MUST_USE Status pearson_columns(const double *x, const double *y, size_t rows, size_t columns, double *out);
MUST_USE Status spearman_columns(const double *x, const double *y, size_t rows, size_t columns, double *out);
// Mean of the values that are not NaN (NaN when there are none); *out_used (may be NULL): how many.
double mean_of_valid(const double *values, size_t count, size_t *out_used);
// Mean of the k largest valid values (PCC-k of stem.md §8); fewer than k valid: of those.
MUST_USE Status mean_of_largest(const double *values, size_t count, size_t k, double *out_mean);

// ---- Errors -----------------------------------------------------------------------------------------
double mean_absolute_error(const double *truth, const double *seen, size_t count);
double mean_squared_error(const double *truth, const double *seen, size_t count);
// 1 - SSE / SST; a constant truth: 1 when every value is met, else 0 (scikit-learn). NaN below 2 points.
double r_squared(const double *truth, const double *seen, size_t count);
// (var seen - var truth)^2 / var truth^2, population variances (RVD of stem.md §8); NaN for a constant truth.
double relative_variance_distance(const double *truth, const double *seen, size_t count);

// ---- Divergences and information ------------------------------------------------------------------
// Jensen-Shannon distance in nats, d = sqrt(JSD): both vectors get `epsilon` added and are divided by their sums
// (cuca.md §7.1: 1e-8). NaN when an entry is negative or a sum is 0.
double jensen_shannon(const double *x, const double *y, size_t count, double epsilon);
// Kraskov's estimate in nats by k nearest neighbours (mutual_info_regression; cuca.md §7.1 with k = 3): both scaled by
// their population deviation and jittered by 1e-10 * max(1, mean |x|) times a normal number of (seed, Philox); not
// below 0. NaN for count <= k.
MUST_USE Status mutual_information(const double *x, const double *y, size_t count, int k, uint32_t seed,
                                   double *out_nats);

// ---- Functions behind them ------------------------------------------------------------------------
double digamma(double x);                             // x > 0
double incomplete_beta(double a, double b, double x); // regularised, a, b > 0, x in [0, 1]
double normal_upper_tail(double z);                   // P(Z > z)
