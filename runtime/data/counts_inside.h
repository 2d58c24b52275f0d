// counts_inside: what the readers of counts share. Internal to runtime/data.
#pragma once

#include "counts.h"
#include "h5_sparse.h"

// Which columns of the file become which of the result.
typedef struct Picked {
    bool all;            // every column, in order
    size_t *file_column; // [count]
    size_t count;
    ColumnChoice choice;
    size_t missing;
} Picked;

// Makes the names unique (unless told not to; annotated->duplicate_names counts), then picks the columns asked for
// among those allowed (NULL: all). All memory from annotated->arena.
MUST_USE Status pick_columns(const char *path, const CountsOptions *options, char **names, char *const *ids,
                             const uint8_t *allowed, size_t columns, Annotated *annotated, Picked *out_picked);
// Sets names, ids and the var frame of the result. `var` holds the columns of the file; it is changed.
MUST_USE Status place_columns(const Picked *picked, char **names, char **ids, Frame *var, Annotated *annotated);

// Readers that run inside guard_run; `annotated` is theirs to fill (zeroed, arena ready), matrices stand in
// reader->block.
MUST_USE Status tenx_h5_read(const MatrixReader *reader, const CountsOptions *options, Annotated *annotated);
MUST_USE Status h5ad_read(const MatrixReader *reader, const CountsOptions *options, Annotated *annotated);
MUST_USE Status compound_read(const MatrixReader *reader, const CountsOptions *options, Annotated *annotated);
// Frames of h5ad files (h5ad_frame.c): groups and the compound tables of 2018. *out_index [rows] are the names.
MUST_USE Status h5ad_frame_read(const MatrixReader *reader, hid_t parent, const char *name, bool columns_too,
                                Arena *arena, Frame *out_frame, char ***out_index, Annotated *notes);

// Text readers, in the process.
MUST_USE Status mex_read(const char *directory, const CountsOptions *options, Annotated *annotated);
MUST_USE Status text_counts_read(const char *path, const CountsOptions *options, Annotated *annotated);

Column column_of_texts(const char *name, char **texts);
