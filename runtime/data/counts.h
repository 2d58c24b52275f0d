// counts: any file or directory with counts, read into an Annotated whatever its format. What is read:
//
//     10x HDF5               versions 2 (a group per genome) and 3, filtered, raw and probe-level
//     10x directory          matrix.mtx, barcodes.tsv, features.tsv or genes.tsv, each plain or .gz
//     Space Ranger outs      a directory with one of the above and spatial/: positions and scale factors are joined
//     AnnData .h5ad          every encoding since 2018
//     legacy ST              DIR/counts, DIR/spots, DIR/images (legacy_st.h), or one SECTION.tsv(.gz) of counts
//     HEST-1k                a tree with st/ID.h5ad (hest.h), one sample at a time
//     Elucidata              an HDF5 file with spots/Train/SLIDE compound tables (compound.h), one slide at a time
//
// The format is told by content, not by name. HDF5 files are read in a guarded child process (guard.h): a damaged one
// costs an error message. Rows of compressed matrices are only located there and decoded in this process, without HDF5.
// Nothing is made dense; columns that are not asked for are dropped while reading.
//
// Repeated gene names become NAME-1, NAME-2 in file order (AnnData's rule), counted in duplicate_names. Spots and
// positions that do not join are counted in joined and not_joined and described in the notes.
#pragma once

#include "annotated.h"
#include "guard.h"

typedef enum CountsFormat {
    COUNTS_UNKNOWN,
    COUNTS_10X_V2,
    COUNTS_10X_V3,
    COUNTS_MEX,
    COUNTS_OUTS,
    COUNTS_H5AD,
    COUNTS_LEGACY_ST,
    COUNTS_TEXT,
    COUNTS_HEST,
    COUNTS_ELUCIDATA,
} CountsFormat;

typedef struct CountsOptions {
    char *const *genes; // [n_genes] keep these columns, in this order, by name or (where there are any) id; NULL: all
    size_t n_genes;     // with `genes`, 0: none; X, layers and raw of h5ad files are then not read at all
    const char *genome; // 10x: of a file with several; NULL: there must be one
    const char *feature_type; // 10x: NULL: "Gene Expression"; "*": all
    const char *section;      // legacy ST section, HEST-1k id, Elucidata slide; NULL: there must be one
    const char *layer;        // h5ad: X is to be this layer, or "raw"; NULL: X itself
    bool repeated_names;      // leave repeated gene names as they are
    bool only_x;              // no layers, embeddings, libraries; obs and var without columns
    bool pictures;            // outs: load the hires and lowres pictures too
    int threads;              // 0: all that the process may use
    GuardLimits limits;       // for the child
} CountsOptions;

const char *counts_format_name(CountsFormat format);
// What `path` is, without reading it; COUNTS_UNKNOWN is an error that says what was found and what is read.
MUST_USE Status counts_detect(const char *path, CountsFormat *out_format);
MUST_USE Status counts_read(const char *path, const CountsOptions *options, Annotated *out_annotated);
// Which matrix of a Space Ranger directory is read: filtered before raw, HDF5 before text (then *out_directory); exact
// names before those with a prefix, as GEO gives them. STATUS_NOT_FOUND: none.
MUST_USE Status counts_find_matrix(const char *directory, Arena *arena, char **out_path, bool *out_directory);
