// h5_matrix: what the readers of matrices share (h5_sparse.h), dense matrices, and telling one kind from another.
#include <stdlib.h>
#include <string.h>

#include "h5.h"
#include "h5_sparse.h"

// ---- Sorting what was not sorted ----------------------------------------------------------------

typedef struct Entry {
    int32_t column;
    float value;
    size_t order; // equal columns are added in file order
} Entry;

static int by_column(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    if (x->column != y->column) return x->column < y->column ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

Status matrix_sort_rows(Matrix *m, size_t *out_repeats) {
    size_t longest = 0;
    *out_repeats = 0;
    for (size_t r = 0; r < m->rows; r++)
        if ((size_t)(m->start[r + 1] - m->start[r]) > longest) longest = (size_t)(m->start[r + 1] - m->start[r]);
    Entry *row = malloc((longest + 1) * sizeof *row);
    if (!row) return arena_exhausted(longest, sizeof *row);
    int64_t at = 0, from = 0;
    for (size_t r = 0; r < m->rows; r++) {
        size_t n = (size_t)(m->start[r + 1] - from);
        bool sorted = true;
        for (size_t i = 0; i < n; i++) {
            row[i] = (Entry){m->column[from + (int64_t)i], m->value[from + (int64_t)i], i};
            sorted = sorted && (i == 0 || row[i].column > row[i - 1].column);
        }
        if (!sorted) qsort(row, n, sizeof *row, by_column);
        from = m->start[r + 1];
        for (size_t i = 0; i < n;) {
            float sum = row[i].value;
            int32_t column = row[i].column;
            for (i++; i < n && row[i].column == column; i++, ++*out_repeats) sum += row[i].value;
            if (sum == 0) continue;
            m->column[at] = column;
            m->value[at++] = sum;
        }
        m->start[r + 1] = at;
    }
    free(row);
    return STATUS_OK;
}

// ---- Matrices in the block ----------------------------------------------------------------------

Status matrix_reserve(const MatrixReader *r, size_t rows, size_t columns, uint64_t most, Matrix *out,
                      size_t *out_room) {
    *out = (Matrix){.rows = rows, .columns = columns};
    if (columns > INT32_MAX || rows > INT32_MAX)
        return status_make(STATUS_UNSUPPORTED, "%s: a matrix of %zu x %zu is larger than any section", r->f->path, rows,
                           columns);
    uint64_t allowed = guard_left(r->block) / 8;
    size_t room = (size_t)(most < allowed ? most : allowed);
    out->start = GUARD_NEW(r->block, int64_t, rows + 1);
    out->column = guard_reserve(r->block, room + 1, sizeof *out->column);
    out->value = guard_reserve(r->block, room + 1, sizeof *out->value);
    if (!out->start || !out->column || !out->value) return guard_exhausted(r->block, r->f->path, room, 8);
    *out_room = room;
    return STATUS_OK;
}

void matrix_settle(const MatrixReader *r, const Matrix *m) {
    guard_count(r->block, (size_t)matrix_nnz(m) * 8);
}

Status matrix_nothing(const MatrixReader *r, size_t rows, size_t columns, Matrix *out) {
    size_t room = 0;
    return matrix_reserve(r, rows, columns, 0, out, &room);
}

// ---- Dense --------------------------------------------------------------------------------------

static Status read_dense_rows(const MatrixReader *r, hid_t dataset, const char *name, const MatrixForm *form,
                              const ColumnChoice *choice, size_t step, float *values, size_t room, Matrix *out) {
    int64_t at = 0;
    for (size_t first = 0; first < form->rows; first += step) {
        size_t count = form->rows - first < step ? form->rows - first : step;
        TRY(h5_read_rows(r->f->path, name, dataset, H5T_NATIVE_FLOAT, first, count, values));
        for (size_t i = 0; i < count; i++) {
            const float *row = values + i * form->columns;
            if ((size_t)at + out->columns > room) { // near the limit: count before writing
                size_t kept = 0;
                for (size_t c = 0; c < form->columns; c++) kept += row[c] != 0 && (!choice || choice->number[c] >= 0);
                if ((size_t)at + kept > room) return guard_exhausted(r->block, r->f->path, (size_t)at + kept, 8);
            }
            for (size_t c = 0; c < form->columns; c++) {
                if (row[c] == 0 || (choice && choice->number[c] < 0)) continue;
                out->column[at] = choice ? choice->number[c] : (int32_t)c;
                out->value[at++] = row[c];
            }
            out->start[first + i + 1] = at;
        }
    }
    return STATUS_OK;
}

Status dense_read(const MatrixReader *r, hid_t parent, const char *name, MatrixForm *form, const ColumnChoice *choice,
                  Matrix *out) {
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4], chunk[4] = {1, 1};
    *out = (Matrix){0};
    TRY(foreign_dataset(r->f, parent, name, &dataset, &rank, dims));
    if (choice && !choice->number) choice = NULL;
    hid_t type = H5Dget_type(dataset), create = H5Dget_create_plist(dataset);
    H5T_class_t type_class = H5Tget_class(type);
    Status status = STATUS_OK;
    float *values = NULL;
    size_t room = 0, step = 1;
    if (rank != 2 || dims[0] != form->rows || dims[1] != form->columns) {
        status = foreign_error(r->f, dataset, "its shape is %llu x %llu where %zu x %zu is expected",
                               (unsigned long long)dims[0], (unsigned long long)(rank > 1 ? dims[1] : 1), form->rows,
                               form->columns);
        goto done;
    }
    if (type_class != H5T_FLOAT && type_class != H5T_INTEGER && type_class != H5T_ENUM) {
        status = foreign_error(r->f, dataset, "numbers are expected here");
        goto done;
    }
    // Rows of whole chunks, about 16 MB at a time.
    if (H5Pget_layout(create) == H5D_CHUNKED && H5Pget_chunk(create, 2, chunk) == 2 && chunk[0] <= dims[0] && chunk[0])
        step = (size_t)chunk[0];
    while (form->columns && step * 2 * form->columns * sizeof *values <= (size_t)16 << 20 && step < form->rows)
        step *= 2;
    if (form->columns > ((size_t)1 << 30) / step) step = 1;
    values = malloc((step * form->columns + 1) * sizeof *values);
    if (!values) {
        status = arena_exhausted(step * form->columns, sizeof *values);
        goto done;
    }
    size_t columns = choice ? choice->columns : form->columns;
    TRY_OR(status, done, matrix_reserve(r, form->rows, columns, (uint64_t)form->rows * columns, out, &room));
    if (form->rows > 0 && form->columns > 0)
        TRY_OR(status, done, read_dense_rows(r, dataset, name, form, choice, step, values, room, out));
    if (choice && !choice->ascending) status = matrix_sort_rows(out, &form->repeats);
    if (status == STATUS_OK) matrix_settle(r, out);
done:
    free(values);
    h5_close(create);
    h5_close(type);
    h5_close(dataset);
    return status;
}

Status dense_read_f64(const MatrixReader *r, hid_t parent, const char *name, size_t rows, double **out_values,
                      size_t *out_width) {
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4];
    *out_values = NULL;
    *out_width = 0;
    TRY(foreign_dataset(r->f, parent, name, &dataset, &rank, dims));
    hid_t type = H5Dget_type(dataset);
    H5T_class_t type_class = H5Tget_class(type);
    size_t width = rank == 2 ? (size_t)dims[1] : 1;
    Status status = STATUS_OK;
    if (rank < 1 || rank > 2 || dims[0] != rows)
        status = foreign_error(r->f, dataset, "%zu rows of numbers are expected, not %llu (%d dimensions)", rows,
                               (unsigned long long)dims[0], rank);
    else if (type_class != H5T_FLOAT && type_class != H5T_INTEGER && type_class != H5T_ENUM)
        status = foreign_error(r->f, dataset, "numbers are expected here");
    double *values = status == STATUS_OK ? guard_take(r->block, rows, width * sizeof *values) : NULL;
    if (status == STATUS_OK && !values) status = guard_exhausted(r->block, r->f->path, rows * width, sizeof *values);
    if (status == STATUS_OK && rows * width > 0 &&
        H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        status = h5_error(r->f->path, "reading", name);
    h5_close(type);
    h5_close(dataset);
    if (status != STATUS_OK) return status;
    *out_values = values;
    *out_width = width;
    return STATUS_OK;
}

// ---- Either -------------------------------------------------------------------------------------

static Status group_form(const MatrixReader *r, hid_t group, MatrixForm *form, char **out_words) {
    char *encoding = NULL, *old = NULL;
    int64_t shape[2] = {0, 0};
    bool found = false;
    TRY(foreign_text_attribute(r->f, group, "encoding-type", r->arena, &encoding));
    TRY(foreign_text_attribute(r->f, group, "h5sparse_format", r->arena, &old));
    if (!encoding && old) encoding = old;
    if (encoding && (strcmp(encoding, "csc_matrix") == 0 || strcmp(encoding, "csc") == 0)) form->by_columns = true;
    else if (encoding && strcmp(encoding, "csr_matrix") != 0 && strcmp(encoding, "csr") != 0)
        return status_context(status_make(STATUS_UNSUPPORTED,
                                          "its encoding is '%s'; dense, csr_matrix and csc_matrix "
                                          "are read",
                                          encoding),
                              "%s", r->f->path);
    TRY(foreign_integer_attribute(r->f, group, "shape", shape, 2, &found));
    if (!found) TRY(foreign_integer_attribute(r->f, group, "h5sparse_shape", shape, 2, &found));
    if (found && (shape[0] < 0 || shape[1] < 0 || shape[0] > INT32_MAX || shape[1] > INT32_MAX))
        return foreign_error(r->f, group, "its shape is %lld x %lld", (long long)shape[0], (long long)shape[1]);
    form->rows = (size_t)shape[0];
    form->columns = (size_t)shape[1];
    *out_words = arena_printf(r->arena, "%s%s", form->by_columns ? "CSC" : "CSR",
                              old && !foreign_has_attribute(group, "encoding-type") ? " (h5sparse)" : "");
    return *out_words ? STATUS_OK : arena_exhausted(1, 16);
}

Status matrix_form(const MatrixReader *r, hid_t parent, const char *name, MatrixForm *out, char **out_words) {
    ForeignKind kind;
    *out = (MatrixForm){0};
    *out_words = "";
    TRY(foreign_kind(r->f, parent, name, &kind));
    if (kind == FOREIGN_GROUP) {
        hid_t group = -1;
        TRY(foreign_group(r->f, parent, name, &group));
        Status status = group_form(r, group, out, out_words);
        h5_close(group);
        return status;
    }
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4];
    TRY(foreign_dataset(r->f, parent, name, &dataset, &rank, dims));
    Status status = STATUS_OK;
    if (rank != 2) status = foreign_error(r->f, dataset, "a matrix is expected, not %d dimensions", rank);
    else if (dims[0] > INT32_MAX || dims[1] > INT32_MAX)
        status = foreign_error(r->f, dataset, "its shape is %llu x %llu", (unsigned long long)dims[0],
                               (unsigned long long)dims[1]);
    h5_close(dataset);
    out->dense = true;
    out->rows = (size_t)dims[0];
    out->columns = (size_t)dims[1];
    *out_words = "dense";
    return status;
}

Status matrix_read(const MatrixReader *r, hid_t parent, const char *name, MatrixForm *form, const ColumnChoice *choice,
                   Matrix *out) {
    return form->dense ? dense_read(r, parent, name, form, choice, out)
                       : sparse_read(r, parent, name, form, choice, out);
}
