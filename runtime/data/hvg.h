// hvg: highly variable genes as scanpy chooses them (pp.highly_variable_genes), flavours seurat and seurat_v3.
// Rules: discotme.md §3.2 and §3.3, stem.md §3.3.
//
// Results are per column of the matrix given; chosen genes are in column order for `seurat` (as scanpy subsets) and
// flagged with their rank for `seurat_v3`. The matrix is not changed. An empty matrix gives no genes. NaN, infinite or
// (seurat_v3) negative values are STATUS_INVALID.
#pragma once

#include "matrix.h"

typedef enum HvgFlavour {
    HVG_SEURAT,    // input: log1p of normalised counts
    HVG_SEURAT_V3, // input: raw counts
} HvgFlavour;

typedef struct HvgOptions {
    HvgFlavour flavour;
    size_t genes;     // how many are wanted; more than there are: all
    size_t bins;      // seurat: 0 means 20
    double span;      // seurat_v3: 0 means 0.3
    bool nan_is_zero; // seurat, scanpy before 1.10.3 (stem.md §3.3): a gene without a score counts as score 0
} HvgOptions;

typedef struct HvgResult {
    size_t columns;
    uint8_t *chosen;  // [columns]
    double *mean;     // [columns] seurat: ln(1 + mean of the unlogged values); seurat_v3: mean
    double *variance; // [columns] seurat: dispersion ln(variance / mean), NaN without one; seurat_v3: variance, ddof 1
    double *score;    // [columns] normalised dispersion (NaN: none) or normalised variance
    int32_t *rank;    // [columns] seurat_v3: 0 the most variable, -1 not chosen; seurat: -1
    size_t *gene;     // [count] chosen columns, ascending (seurat) or by rank (seurat_v3)
    size_t count;     // ties at the threshold keep more than asked for (seurat), genes without a score fewer
} HvgResult;

MUST_USE Status hvg_select(const Matrix *matrix, const HvgOptions *options, HvgResult *out_result);
void hvg_free(HvgResult *result); // a zeroed one is fine
