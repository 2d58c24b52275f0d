// normalise: what happens to counts before a model sees them: quality filters, mitochondrial rules, library-size
// normalisation, logarithms and z-scores, on the sparse Matrix (rows spots, columns genes).
//
// The rules are scanpy's (pp.filter_cells, pp.filter_genes, pp.normalize_total, pp.log1p, pp.scale; versions 1.10 and
// 1.11 agree) unless a name says otherwise; briefs: discotme.md §3.1, stem.md §3.3-3.4, spatialtranscriptformer.md
// (STF) §2.7, cuca.md §2.3. Values are rounded to f32 where scanpy rounds a float32 matrix.
//
// Empty input: a matrix of 0 rows or columns gives empty picks and is left alone by every transform. NaN and
// infinite values, and negative ones where a logarithm or a total would be meaningless, are STATUS_INVALID with the row
// and column; nothing is changed then.
#pragma once

#include "matrix.h"

// The first entry that is not finite (or, with `negative_too`, below 0) as an error.
MUST_USE Status matrix_check_values(const Matrix *matrix, bool negative_too, const char *used_for);

// ---- Filters --------------------------------------------------------------------------------------
typedef enum MitoRule {
    MITO_NONE,        // no gene is mitochondrial
    MITO_PREFIX,      // upper-cased name begins with "MT-" (discotme.md §3.1)
    MITO_CONTAINS,    // lower-cased name contains mt-, mt: or mt_ (STF §2.7; its grcm38_mt- and hs_mt- are contained)
    MITO_RIBO_PREFIX, // begins with MT-, mt-, RPS or RPL: the mended form of the next (stem.md §11)
    MITO_RIBO_COMPAT, // begins with MT, mt, RPS or RPL: also takes MTOR, MTA1 (stem.md §3.3)
} MitoRule;

bool gene_is_mitochondrial(const char *name, MitoRule rule); // NULL: false

// What is kept. A limit of 0 asks for nothing; maxima are inclusive.
typedef struct SpotFilter {
    double min_counts, max_counts; // row sums
    int64_t min_genes, max_genes;  // entries > 0
    MitoRule mitochondrial;        // with it: mitochondrial sum / (row sum + 1e-9) <= max_mitochondrial
    double max_mitochondrial;      // used when `mitochondrial` is not MITO_NONE
} SpotFilter;

typedef struct GeneFilter {
    double min_counts, max_counts; // column sums
    int64_t min_spots, max_spots;  // entries > 0
    MitoRule drop;                 // genes the rule names are dropped
} GeneFilter;

// Numbers of the rows (columns) kept, ascending, for matrix_select. *out_pick: malloc, the caller frees it (never NULL
// on success, even when nothing is kept).
MUST_USE Status filter_spots(const Matrix *matrix, const SpotFilter *filter, size_t **out_pick, size_t *out_count);
MUST_USE Status filter_genes(const Matrix *matrix, const GeneFilter *filter, size_t **out_pick, size_t *out_count);

// ---- Values, in place -----------------------------------------------------------------------------
typedef struct NormaliseOptions {
    double target_sum;   // counts per spot afterwards; 0: the median of the row sums that are > 0
    double epsilon;      // 0: scanpy's rule, x / (sum / target), a sum of 0 divides by 1.
                         // > 0: STF's, x * (target / (sum + epsilon)), with 1e-9
    double max_fraction; // > 0: genes that make up more than this part of any spot are left out of the sums
                         // (exclude_highly_expressed; scanpy's default there is 0.05). 0: all genes count
} NormaliseOptions;

// *out_target (may be NULL): the target used; NaN when the median was asked for and no row has counts.
MUST_USE Status normalise_total(Matrix *matrix, const NormaliseOptions *options, double *out_target);
MUST_USE Status matrix_log1p(Matrix *matrix);  // ln(1 + x), x >= 0
MUST_USE Status matrix_log2p1(Matrix *matrix); // log2(x + 1), x >= 0 (stem.md §3.4)
// out[nnz] = f of every entry, as f32; may be the entries themselves. f must give f(0) and be a pure function.
// False if a value or a result is not finite (all are there nevertheless).
bool matrix_map(const Matrix *matrix, double (*f)(double), float *out);
void matrix_scale_rows(Matrix *matrix, const double *factor); // [rows], as f32

// ---- Moments and z-scores -------------------------------------------------------------------------
// Per column over all rows, zeros included: mean and variance with divisor rows - ddof (NaN when that is <= 0), two
// passes in f64.
MUST_USE Status column_moments(const Matrix *matrix, int ddof, double *out_mean, double *out_variance);

typedef struct ScaleOptions {
    bool centre;      // subtract the mean; the result is dense either way
    double max_value; // > 0: clip to +-max_value (without centring: to at most max_value); 0: no clipping
    int ddof;         // 1: scanpy's; 0: population, as in cuca.md §7.3
} ScaleOptions;

// z-score per gene: (x - mean) / sd, sd 0 counted as 1. out[rows * columns] row-major f32; mean and sd [columns] may be
// NULL.
MUST_USE Status matrix_zscore(const Matrix *matrix, const ScaleOptions *options, float *out, double *out_mean,
                              double *out_sd);
// The same on a dense block [rows][columns], in place.
MUST_USE Status dense_zscore(double *values, size_t rows, size_t columns, const ScaleOptions *options);
