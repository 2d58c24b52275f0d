// h5_sparse: the matrices of foreign HDF5 files (compressed rows, compressed columns, dense), read in stretches into a
// Matrix whose arrays stand in a GuardBlock. Columns can be chosen while reading: the others cost decoding, no memory.
// Internal to runtime/data; inside guard_run.
//
// Checked, with object and row: lengths that disagree, starts that fall, columns out of range, more entries in a row
// than there are columns. Rows need not be sorted; entries of one place are added; explicit zeros are not kept.
#pragma once

#include "../core/pool.h"
#include "guard.h"
#include "h5_foreign.h"
#include "matrix.h"

typedef struct ColumnChoice {
    int32_t *number; // [columns of the file] new position or -1; NULL: all columns, in order
    size_t columns;  // of the result
    bool ascending;  // the new positions ascend with the old
} ColumnChoice;

typedef struct MatrixReader {
    const ForeignFile *f;
    GuardBlock *block;
    Pool *pool;   // may be NULL
    Arena *arena; // scratch
    bool later;   // compressed rows are only located; matrix_finish decodes them in the caller's process
} MatrixReader;

typedef struct MatrixForm {
    bool dense;
    bool by_columns; // compressed columns
    size_t rows, columns;
    size_t repeats; // entries that shared their place with another
} MatrixForm;

// `parent`/`name` is a group with data, indices and indptr. form->rows and columns are what the matrix must be
// (rows of the result, whichever way it is stored).
MUST_USE Status sparse_read(const MatrixReader *reader, hid_t parent, const char *name, MatrixForm *form,
                            const ColumnChoice *choice, Matrix *out);
// A two-dimensional dataset of numbers.
MUST_USE Status dense_read(const MatrixReader *reader, hid_t parent, const char *name, MatrixForm *form,
                           const ColumnChoice *choice, Matrix *out);
// A dataset of `rows` rows and any width as f64, [rows][*out_width], in the block. One dimension is a width of 1.
MUST_USE Status dense_read_f64(const MatrixReader *reader, hid_t parent, const char *name, size_t rows,
                               double **out_values, size_t *out_width);

// Where the matrix of that name is and what its file says of it: kind, orientation, shape. The shape of a group without
// one is left 0 x 0. Not a matrix: an error naming what was found.
MUST_USE Status matrix_form(const MatrixReader *reader, hid_t parent, const char *name, MatrixForm *out_form,
                            char **out_words);
// sparse_read or dense_read.
MUST_USE Status matrix_read(const MatrixReader *reader, hid_t parent, const char *name, MatrixForm *form,
                            const ColumnChoice *choice, Matrix *out);
// A Matrix of no entries in the block.
MUST_USE Status matrix_nothing(const MatrixReader *reader, size_t rows, size_t columns, Matrix *out);

// Compressed rows that the child has only located (matrix->pending): decoded by `threads` threads of this process into
// memory of the matrix. HDF5 is not needed for that, and what is decoded by our own code and libdeflate needs no guard,
// while shared memory costs twice as much as this. The plan is checked; `block` is where it stands. At most `seconds`.
MUST_USE Status matrix_finish(const char *path, const GuardBlock *block, double seconds, int threads, Matrix *matrix,
                              size_t *out_repeats);

// ---- Shared by the readers

// Address space in the block for up to `most` entries, as far as the limit allows; the Matrix counts what it holds with
// matrix_settle when it is filled.
MUST_USE Status matrix_reserve(const MatrixReader *reader, size_t rows, size_t columns, uint64_t most, Matrix *out,
                               size_t *out_room);
void matrix_settle(const MatrixReader *reader, const Matrix *matrix);
// Rows in ascending columns, entries of one place added; everything moves up where that made room.
MUST_USE Status matrix_sort_rows(Matrix *matrix, size_t *out_repeats);
