// annotated: a matrix with what is known about its rows and columns, as AnnData keeps it: the form between every
// reader of counts (10x, MEX, legacy ST, h5ad, HEST-1k) and everything that uses or writes them.
//
// Ownership: all of it belongs to the Annotated; annotated_free releases it. A zeroed one is empty.
#pragma once

#include "image.h"
#include "matrix.h"

typedef enum ColumnKind { COLUMN_REAL, COLUMN_INTEGER, COLUMN_BOOL, COLUMN_TEXT, COLUMN_CATEGORY } ColumnKind;

typedef struct Column {
    char *name;
    ColumnKind kind;
    double *real;     // REAL
    int64_t *integer; // INTEGER
    uint8_t *flag;    // BOOL
    char **text;      // TEXT
    int32_t *code;    // CATEGORY: number of the category, -1 missing
    char **category;  // [categories]
    size_t categories;
    bool ordered;
} Column;

typedef struct Frame { // a table beside the rows (obs) or the columns (var)
    size_t rows, columns;
    Column *column;
    char *index_name; // NULL: none
} Frame;
const Column *frame_column(const Frame *frame, const char *name); // NULL: none

typedef struct Layer { // X under another name: raw counts, normalised values
    char *name;
    Matrix matrix;
} Layer;

typedef struct Embedding { // obsm: a dense block per row ("spatial", "X_pca")
    char *name;
    size_t width;
    double *value; // [rows][width]
} Embedding;

typedef struct SpatialLibrary { // uns["spatial"][name]
    char *name;
    Picture lowres, hires; // rgb NULL: not there
    bool has_scale;
    double spot_diameter_fullres, tissue_hires_scalef, tissue_lowres_scalef, fiducial_diameter_fullres; // NaN: absent
} SpatialLibrary;

typedef struct Annotated {
    Matrix x;
    bool has_x;
    bool x_was_dense; // as stored; a writer keeps the form unless told otherwise
    Frame obs, var;
    size_t n_layers, n_embeddings, n_libraries;
    Layer *layer;
    Embedding *embedding;
    SpatialLibrary *library;
    Arena arena;                                // of frames, names and embeddings
    char *source;                               // what it was read from, in words ("10x HDF5 v3", "h5ad 0.8.0, CSR")
    size_t duplicate_names, joined, not_joined; // reported in numbers, never in silence
} Annotated;

void annotated_free(Annotated *annotated);
// By name ("spatial": pixel positions x, y), or NULL.
const Embedding *annotated_embedding(const Annotated *annotated, const char *name);
