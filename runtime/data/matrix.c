// matrix: see matrix.h. Everything walks the compressed rows once; transposing is a counting sort.
#include "matrix.h"

#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"

void matrix_free(Matrix *m) {
    free(m->start);
    free(m->column);
    free(m->value);
    arena_free(&m->arena);
    *m = (Matrix){0};
}

int64_t matrix_nnz(const Matrix *m) {
    return m->start ? m->start[m->rows] : 0;
}

Status matrix_create(size_t rows, size_t columns, int64_t nnz, Matrix *out) {
    *out = (Matrix){.rows = rows, .columns = columns};
    arena_init(&out->arena);
    if (columns > INT32_MAX || rows > ((size_t)1 << 40) || nnz < 0 || nnz > ((int64_t)1 << 40))
        return status_make(STATUS_NO_MEMORY,
                           "a matrix of %zu rows, %zu columns and %lld entries is larger than any section", rows,
                           columns, (long long)nnz);
    out->start = calloc(rows + 1, sizeof *out->start);
    out->column = malloc(((size_t)nnz + 1) * sizeof *out->column);
    out->value = malloc(((size_t)nnz + 1) * sizeof *out->value);
    if (out->start && out->column && out->value) return STATUS_OK;
    matrix_free(out);
    return status_make(STATUS_NO_MEMORY, "no memory for a matrix of %zu rows and %lld entries (%.1f MB)", rows,
                       (long long)nnz, ((double)nnz * 8 + (double)rows * 8) / 1e6);
}

static Status copy_names(Arena *arena, char *const *from, const size_t *pick, size_t count, char ***out) {
    *out = NULL;
    if (!from) return STATUS_OK;
    TRY(ARENA_NEW(arena, *out, count + 1));
    for (size_t i = 0; i < count; i++) {
        const char *name = from[pick ? pick[i] : i];
        if (name) TRY(ARENA_COPY(arena, (*out)[i], name, strlen(name)));
    }
    return STATUS_OK;
}

static Status name_all(const Matrix *m, const size_t *rows, const size_t *columns, Matrix *out) {
    TRY(copy_names(&out->arena, m->row_name, rows, out->rows, &out->row_name));
    TRY(copy_names(&out->arena, m->column_name, columns, out->columns, &out->column_name));
    return copy_names(&out->arena, m->column_id, columns, out->columns, &out->column_id);
}

typedef struct Entry {
    int32_t column;
    float value;
} Entry;

static int by_column(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    return (x->column > y->column) - (x->column < y->column);
}

// New numbers of the columns: -1 for those left out. *out_ascending: picked in ascending order.
static Status number_columns(const Matrix *m, const size_t *columns, size_t count, int32_t **out_number,
                             bool *out_ascending) {
    int32_t *number = malloc((m->columns + 1) * sizeof *number);
    if (!number) return status_make(STATUS_NO_MEMORY, "no memory to choose among %zu columns", m->columns);
    memset(number, 0xFF, (m->columns + 1) * sizeof *number);
    *out_ascending = true;
    for (size_t i = 0; i < count; i++) {
        if (columns[i] >= m->columns || number[columns[i]] >= 0) {
            Status status = status_make(STATUS_INVALID, "column %zu of %zu is chosen twice or does not exist",
                                        columns[i], m->columns);
            free(number);
            return status;
        }
        number[columns[i]] = (int32_t)i;
        *out_ascending = *out_ascending && (i == 0 || columns[i] > columns[i - 1]);
    }
    *out_number = number;
    return STATUS_OK;
}

static Status fill_selection(const Matrix *m, const size_t *rows, const int32_t *number, bool ascending, Matrix *out) {
    Entry *sort = ascending ? NULL : malloc((out->columns + 1) * sizeof *sort);
    if (!ascending && !sort) return status_make(STATUS_NO_MEMORY, "no memory to order %zu columns", out->columns);
    int64_t at = 0;
    for (size_t i = 0; i < out->rows; i++) {
        size_t r = rows ? rows[i] : i;
        int64_t first = at;
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) {
            int32_t c = number ? number[m->column[e]] : m->column[e];
            if (c < 0) continue;
            out->column[at] = c;
            out->value[at++] = m->value[e];
        }
        out->start[i + 1] = at;
        if (ascending) continue;
        for (int64_t e = first; e < at; e++) sort[e - first] = (Entry){out->column[e], out->value[e]};
        qsort(sort, (size_t)(at - first), sizeof *sort, by_column);
        for (int64_t e = first; e < at; e++) {
            out->column[e] = sort[e - first].column;
            out->value[e] = sort[e - first].value;
        }
    }
    free(sort);
    return STATUS_OK;
}

Status matrix_select(const Matrix *m, const size_t *rows, size_t n_rows, const size_t *columns, size_t n_columns,
                     Matrix *out) {
    *out = (Matrix){0};
    if (!rows) n_rows = m->rows;
    if (!columns) n_columns = m->columns;
    int32_t *number = NULL;
    bool ascending = true;
    for (size_t i = 0; rows && i < n_rows; i++)
        if (rows[i] >= m->rows) return status_make(STATUS_INVALID, "row %zu of %zu does not exist", rows[i], m->rows);
    if (columns) TRY(number_columns(m, columns, n_columns, &number, &ascending));
    int64_t nnz = 0;
    for (size_t i = 0; i < n_rows; i++) {
        size_t r = rows ? rows[i] : i;
        for (int64_t e = m->start[r]; number && e < m->start[r + 1]; e++) nnz += number[m->column[e]] >= 0;
        if (!number) nnz += m->start[r + 1] - m->start[r];
    }
    Status status = matrix_create(n_rows, n_columns, nnz, out);
    if (status == STATUS_OK) status = fill_selection(m, rows, number, ascending, out);
    if (status == STATUS_OK) status = name_all(m, rows, columns, out);
    free(number);
    if (status != STATUS_OK) matrix_free(out);
    return status;
}

Status matrix_transpose(const Matrix *m, Matrix *out) {
    if (m->rows > INT32_MAX) return status_make(STATUS_UNSUPPORTED, "a matrix with %zu rows cannot be turned", m->rows);
    TRY(matrix_create(m->columns, m->rows, matrix_nnz(m), out));
    int64_t nnz = matrix_nnz(m);
    for (int64_t e = 0; e < nnz; e++) out->start[m->column[e] + 1]++;
    for (size_t c = 0; c < m->columns; c++) out->start[c + 1] += out->start[c];
    for (size_t r = 0; r < m->rows; r++)
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) {
            int64_t at = out->start[m->column[e]]++; // now the end of what is filled
            out->column[at] = (int32_t)r;
            out->value[at] = m->value[e];
        }
    for (size_t c = m->columns; c > 0; c--) out->start[c] = out->start[c - 1];
    out->start[0] = 0;
    Status status = copy_names(&out->arena, m->column_name, NULL, m->columns, &out->row_name);
    if (status == STATUS_OK) status = copy_names(&out->arena, m->row_name, NULL, m->rows, &out->column_name);
    if (status != STATUS_OK) matrix_free(out);
    return status;
}

// ---- joining by name

typedef struct Join {
    size_t columns;
    int32_t *upper, *lower; // new number of each column of the two matrices, -1: left out
    const char **name, **id;
} Join;

static Status join_columns(const Matrix *a, const Matrix *b, bool outer, Arena *arena, Join *j) {
    NameIndex upper, lower;
    if (!a->column_name || !b->column_name)
        return status_make(STATUS_INVALID, "matrices without column names cannot be joined");
    TRY(name_index_init(&upper, arena, a->columns + 1));
    TRY(name_index_init(&lower, arena, b->columns + 1));
    TRY(ARENA_NEW(arena, j->upper, a->columns + 1));
    TRY(ARENA_NEW(arena, j->lower, b->columns + 1));
    TRY(ARENA_NEW(arena, j->name, a->columns + b->columns + 1));
    TRY(ARENA_NEW(arena, j->id, a->columns + b->columns + 1));
    for (size_t c = 0; c < a->columns; c++)
        if (name_index_add(&upper, a->column_name[c], (int64_t)c) >= 0)
            return status_make(STATUS_MALFORMED, "column %s occurs twice; make the names unique before joining",
                               a->column_name[c]);
    for (size_t c = 0; c < b->columns; c++)
        if (name_index_add(&lower, b->column_name[c], (int64_t)c) >= 0)
            return status_make(STATUS_MALFORMED, "column %s occurs twice; make the names unique before joining",
                               b->column_name[c]);
    for (size_t c = 0; c < a->columns; c++) {
        j->upper[c] = -1;
        if (!outer && name_index_find(&lower, a->column_name[c]) < 0) continue;
        j->name[j->columns] = a->column_name[c];
        j->id[j->columns] = a->column_id ? a->column_id[c] : NULL;
        j->upper[c] = (int32_t)j->columns++;
    }
    for (size_t c = 0; c < b->columns; c++) {
        int64_t other = name_index_find(&upper, b->column_name[c]);
        j->lower[c] = other >= 0 ? j->upper[other] : -1;
        if (other >= 0 || !outer) continue;
        j->name[j->columns] = b->column_name[c];
        j->id[j->columns] = b->column_id ? b->column_id[c] : NULL;
        j->lower[c] = (int32_t)j->columns++;
    }
    return STATUS_OK;
}

static int64_t append_rows(const Matrix *m, const int32_t *number, Matrix *out, size_t first, int64_t at, Entry *sort) {
    for (size_t r = 0; r < m->rows; r++) {
        int64_t n = 0;
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++)
            if (number[m->column[e]] >= 0) sort[n++] = (Entry){number[m->column[e]], m->value[e]};
        qsort(sort, (size_t)n, sizeof *sort, by_column);
        for (int64_t e = 0; e < n; e++, at++) {
            out->column[at] = sort[e].column;
            out->value[at] = sort[e].value;
        }
        out->start[first + r + 1] = at;
    }
    return at;
}

Status matrix_append(const Matrix *a, const Matrix *b, bool outer, Matrix *out) {
    Arena arena;
    Join j = {0};
    arena_init(&arena);
    *out = (Matrix){0};
    Status status = join_columns(a, b, outer, &arena, &j);
    if (status == STATUS_OK) status = matrix_create(a->rows + b->rows, j.columns, matrix_nnz(a) + matrix_nnz(b), out);
    Entry *sort = status == STATUS_OK ? malloc((j.columns + 1) * sizeof *sort) : NULL;
    if (status == STATUS_OK && !sort)
        status = status_make(STATUS_NO_MEMORY, "no memory to join %zu columns", j.columns);
    if (status == STATUS_OK) {
        int64_t at = append_rows(a, j.upper, out, 0, 0, sort);
        append_rows(b, j.lower, out, a->rows, at, sort);
        status = copy_names(&out->arena, (char *const *)j.name, NULL, j.columns, &out->column_name);
    }
    if (status == STATUS_OK && a->column_id && b->column_id)
        status = copy_names(&out->arena, (char *const *)j.id, NULL, j.columns, &out->column_id);
    if (status == STATUS_OK && a->row_name && b->row_name) {
        const char **names = NULL;
        status = ARENA_NEW(&arena, names, a->rows + b->rows + 1);
        for (size_t r = 0; status == STATUS_OK && r < a->rows + b->rows; r++)
            names[r] = r < a->rows ? a->row_name[r] : b->row_name[r - a->rows];
        if (status == STATUS_OK)
            status = copy_names(&out->arena, (char *const *)names, NULL, a->rows + b->rows, &out->row_name);
    }
    free(sort);
    arena_free(&arena);
    if (status != STATUS_OK) matrix_free(out);
    return status;
}

Status matrix_from_entries(size_t rows, size_t columns, const int32_t *row, const int32_t *column, const float *value,
                           int64_t entries, Matrix *out) {
    Matrix turned = {0};
    TRY(matrix_create(columns, rows, entries, &turned)); // by columns first: two counting sorts order everything
    for (int64_t e = 0; e < entries; e++) {
        if (row[e] < 0 || (size_t)row[e] >= rows || column[e] < 0 || (size_t)column[e] >= columns) {
            matrix_free(&turned);
            return status_make(STATUS_MALFORMED, "entry %lld is at row %d, column %d of a matrix of %zu x %zu",
                               (long long)e, row[e], column[e], rows, columns);
        }
        turned.start[column[e] + 1]++;
    }
    for (size_t c = 0; c < columns; c++) turned.start[c + 1] += turned.start[c];
    for (int64_t e = 0; e < entries; e++) {
        int64_t at = turned.start[column[e]]++;
        turned.column[at] = row[e];
        turned.value[at] = value[e];
    }
    for (size_t c = columns; c > 0; c--) turned.start[c] = turned.start[c - 1];
    turned.start[0] = 0;
    Status status = matrix_transpose(&turned, out);
    matrix_free(&turned);
    if (status != STATUS_OK) return status;
    int64_t at = 0, from = 0; // add what stands at one place, drop what is or becomes zero
    for (size_t r = 0; r < rows; r++) {
        int64_t end = out->start[r + 1];
        for (; from < end;) {
            float sum = out->value[from];
            int32_t c = out->column[from];
            for (from++; from < end && out->column[from] == c; from++) sum += out->value[from];
            if (sum == 0) continue;
            out->column[at] = c;
            out->value[at++] = sum;
        }
        out->start[r + 1] = at;
    }
    return STATUS_OK;
}

void matrix_row(const Matrix *m, size_t row, float *values) {
    memset(values, 0, m->columns * sizeof *values);
    for (int64_t e = m->start[row]; e < m->start[row + 1]; e++) values[m->column[e]] = m->value[e];
}

Status matrix_unique_names(char **names, size_t count, Arena *arena, size_t *out_changed) {
    NameIndex index;
    Arena scratch;
    size_t *next = NULL;
    arena_init(&scratch);
    *out_changed = 0;
    // At most one new name for each old one.
    Status status = name_index_init(&index, &scratch, 2 * count + 1);
    if (status == STATUS_OK) status = ARENA_NEW(&scratch, next, count + 1);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) name_index_add(&index, names[i], (int64_t)i);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        int64_t first = name_index_find(&index, names[i]);
        if (first == (int64_t)i || first < 0) continue;
        char *fresh = NULL;
        do {
            fresh = arena_printf(arena, "%s-%zu", names[i], ++next[first]);
        } while (fresh && name_index_find(&index, fresh) >= 0);
        if (!fresh) {
            status = arena_exhausted(strlen(names[i]) + 24, 1);
            break;
        }
        name_index_add(&index, fresh, (int64_t)i);
        names[i] = fresh;
        ++*out_changed;
    }
    arena_free(&scratch);
    return status;
}

void matrix_row_sums(const Matrix *m, double *sums) {
    for (size_t r = 0; r < m->rows; r++) {
        sums[r] = 0;
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) sums[r] += (double)m->value[e];
    }
}

void matrix_column_sums(const Matrix *m, double *sums) {
    int64_t nnz = matrix_nnz(m);
    memset(sums, 0, m->columns * sizeof *sums);
    for (int64_t e = 0; e < nnz; e++) sums[m->column[e]] += (double)m->value[e];
}
