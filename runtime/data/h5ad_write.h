// h5ad_write: an Annotated as an AnnData file that current anndata, scanpy and squidpy open: the one writer of .h5ad.
//
// Written: X (CSR or dense f32), layers, obs and var with columns of every kind, obsm, uns["spatial"] with pictures and
// scale factors, uns texts. The encodings are those of anndata 0.8 and later (dataframe 0.2.0, csr_matrix 0.1.0).
//
//     name        obs_names are x.row_name (numbers "0", "1", ... where there are none), var_names x.column_name;
//                 x.column_id becomes var["gene_ids"] unless var has such a column
//     text        with missing values (NULL) becomes a categorical, as anndata itself writes it
//     categories  codes are i8, i16 or i32, whatever holds them
//     CSR         indices and indptr are i32 while the entries can be counted in i32, else i64 (both: scipy wants one)
//
// The file is written under a temporary name, synced and renamed. Equal content gives equal bytes.
#pragma once

#include "annotated.h"

// Dense values that stand outside of the Annotated, [rows][columns]: they save a detour through a sparse matrix.
typedef struct H5adDense {
    const char *name; // of a layer; NULL: X, in place of the Annotated's
    const float *value;
} H5adDense;

typedef enum H5adForm {
    H5AD_AS_READ, // dense if x_was_dense (layers: if X was), else CSR
    H5AD_CSR,
    H5AD_DENSE,
} H5adForm;

typedef struct H5adOptions {
    H5adForm form;
    const H5adDense *dense; // [n_dense]
    size_t n_dense;
    int deflate;         // 0 .. 9, of X, layers and embeddings; 0: none, dense blocks contiguous
    const char *program; // uns["program"]; NULL: none
} H5adOptions;

// `options` may be NULL. Refused (STATUS_INVALID, STATUS_UNSUPPORTED): names with '/' where they name objects of the
// file (columns, layers, embeddings, libraries), columns of the wrong length, more columns in a frame than an attribute
// can list.
MUST_USE Status h5ad_write(const char *path, const Annotated *annotated, const H5adOptions *options);
