// matrix: cells or spots by genes, held sparse by rows; what all readers of counts fill.
//
// Rows are observations (spots, cells), columns are variables (genes). Values are f32: counts up to 2^24 are exact.
// Within a row columns ascend and none occurs twice; zeros are not stored. Everything lives in one block per array, so
// that a matrix of 20,000 x 36,000 with 10 % filled takes 8 bytes an entry and no more.
//
// A Matrix owns its arrays (malloc) and its names (arena). A zeroed Matrix is empty and may be freed.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/status.h"

typedef struct MatrixPlan MatrixPlan;

typedef struct Matrix {
    size_t rows, columns;
    int64_t *start;      // [rows + 1] entries of row r are start[r] .. start[r + 1]
    int32_t *column;     // [nnz] ascending within a row
    float *value;        // [nnz]
    char **row_name;     // [rows] barcode or spot id; NULL: unnamed
    char **column_name;  // [columns] gene symbol (unique or not: see matrix_unique_names)
    char **column_id;    // [columns] Ensembl id or NULL
    Arena arena;         // of the names
    MatrixPlan *pending; // on its way from a guarded child only (h5_sparse.h); NULL
} Matrix;

void matrix_free(Matrix *matrix);
int64_t matrix_nnz(const Matrix *matrix);

// Room for `nnz` entries; names NULL, start all 0.
MUST_USE Status matrix_create(size_t rows, size_t columns, int64_t nnz, Matrix *out_matrix);

// Rows and columns by position, in the order given (a column may be taken once only); NULL: all. Nothing
// is made dense.
MUST_USE Status matrix_select(const Matrix *matrix, const size_t *rows, size_t n_rows, const size_t *columns,
                              size_t n_columns, Matrix *out_matrix);
// By columns: entries of column c are start[c] .. start[c + 1], `column` holds rows.
MUST_USE Status matrix_transpose(const Matrix *matrix, Matrix *out_matrix);
// Rows of `below` under those of `matrix`; columns are joined by name (inner or outer join).
MUST_USE Status matrix_append(const Matrix *matrix, const Matrix *below, bool outer, Matrix *out_matrix);
// From entries in any order (coordinate form); entries of one place are added.
MUST_USE Status matrix_from_entries(size_t rows, size_t columns, const int32_t *row, const int32_t *column,
                                    const float *value, int64_t entries, Matrix *out_matrix);
// One row as dense values[columns].
void matrix_row(const Matrix *matrix, size_t row, float *values);
// AnnData's rule: later occurrences become NAME-1, NAME-2, ...; *out_changed counts them.
MUST_USE Status matrix_unique_names(char **names, size_t count, Arena *arena, size_t *out_changed);
// sum over rows (columns), f64
void matrix_row_sums(const Matrix *matrix, double *sums);
void matrix_sum_rows(const Matrix *matrix, size_t from, size_t to, double *sums); // rows from .. to - 1 of sums[rows]
void matrix_column_sums(const Matrix *matrix, double *sums);
// Work by `parts` stretches of columns gives every column to one thread, in the order of the rows: the first column of
// stretch `part`, and where columns from `column` on begin in a row.
size_t matrix_stretch(const Matrix *matrix, int parts, int64_t part);
int64_t matrix_entry(const Matrix *matrix, size_t row, size_t column);
