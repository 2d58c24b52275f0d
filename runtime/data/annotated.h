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
// Adds a column (its arrays are not copied) to a frame whose memory is `arena`.
MUST_USE Status frame_add(Frame *frame, Arena *arena, const Column *column);
// The rows `pick` of every column, in place, in new memory of `arena`.
MUST_USE Status frame_pick(Frame *frame, Arena *arena, const size_t *pick, size_t count);

typedef struct Layer { // X under another name: raw counts, normalised values
    char *name;
    Matrix matrix;
} Layer;

typedef struct Embedding { // obsm: a dense block per row ("spatial", "X_pca")
    char *name;
    size_t width;
    double *value; // [rows][width]
    char **column; // [width] names, where it was a table; NULL otherwise
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
    size_t genes_missing;                       // of those asked for by name: not in the file
    size_t n_notes;
    char **note; // [n_notes] sentences on what was left out, mended or looks odd

    // Read by a guarded child (guard.h): `block` is shared memory that holds matrices, names, pictures and everything
    // else that points into it, and is released with the Annotated. Values may be changed in place; arrays that stand
    // in it must not be handed to free(). annotated_take_x gives a Matrix that stands on its own.
    void *block;
    size_t block_bytes;
} Annotated;

void annotated_free(Annotated *annotated);
// X on its own: *out_matrix owns its arrays and names (copies), annotated->x is empty afterwards.
MUST_USE Status annotated_take_x(Annotated *annotated, Matrix *out_matrix);
// Adds a note; what is said twice is kept once.
MUST_USE Status annotated_note(Annotated *annotated, const char *format, ...) PRINTF_LIKE(2, 3);
// By name ("spatial": pixel positions x, y), or NULL.
const Embedding *annotated_embedding(const Annotated *annotated, const char *name);
