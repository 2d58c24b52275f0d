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

// The names seen so far, by hash: 0 free, else position + 1 below and some more bits of the hash above.
typedef struct Seen {
    uint64_t *slot;
    size_t mask;
    char **names;
} Seen;

static uint64_t hash_text(const char *text) {
    size_t length = strlen(text);
    uint64_t hash = length, word;
    for (; length >= 8; length -= 8, text += 8) {
        memcpy(&word, text, 8);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    word = 0;
    for (size_t i = 0; i < length; i++) word |= (uint64_t)(unsigned char)text[i] << 8 * i;
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

// The position of `name`, or -1; then *out_at is where it belongs.
static int64_t seen_find(const Seen *s, const char *name, size_t *out_at, uint64_t *out_hash) {
    *out_hash = hash_text(name);
    for (*out_at = (size_t)*out_hash & s->mask; s->slot[*out_at]; *out_at = (*out_at + 1) & s->mask) {
        uint64_t slot = s->slot[*out_at];
        if ((slot ^ *out_hash) >> 32 == 0 && strcmp(s->names[(uint32_t)slot - 1], name) == 0)
            return (int64_t)(uint32_t)slot - 1;
    }
    return -1;
}

static void seen_add(Seen *s, size_t at, uint64_t hash, size_t position) {
    s->slot[at] = hash >> 32 << 32 | (position + 1);
}

// A repeated name is in the table once, so there is room for a new name in its stead.
Status matrix_unique_names(char **names, size_t count, Arena *arena, size_t *out_changed) {
    size_t capacity = 16, at = 0;
    uint64_t hash = 0;
    *out_changed = 0;
    if (count > UINT32_MAX / 4) return status_make(STATUS_UNSUPPORTED, "%zu names are more than are read", count);
    while (capacity < count + count / 2) capacity *= 2;
    Seen seen = {calloc(capacity, sizeof *seen.slot), capacity - 1, names};
    uint32_t *again = malloc((count + 1) * sizeof *again), *first = malloc((count + 1) * sizeof *first), *next = NULL;
    size_t repeats = 0;
    Status status = STATUS_OK;
    if (!seen.slot || !again || !first) status = arena_exhausted(count, 24);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        int64_t before = seen_find(&seen, names[i], &at, &hash);
        if (before < 0) {
            seen_add(&seen, at, hash, i);
        } else {
            again[repeats] = (uint32_t)i;
            first[repeats++] = (uint32_t)before;
        }
    }
    if (repeats && !(next = calloc(count, sizeof *next))) status = arena_exhausted(count, sizeof *next);
    for (size_t k = 0; status == STATUS_OK && k < repeats; k++) {
        size_t i = again[k];
        char *fresh = NULL;
        do {
            fresh = arena_printf(arena, "%s-%u", names[i], ++next[first[k]]);
        } while (fresh && seen_find(&seen, fresh, &at, &hash) >= 0);
        if (!fresh) {
            status = arena_exhausted(strlen(names[i]) + 24, 1);
            break;
        }
        names[i] = fresh;
        seen_add(&seen, at, hash, i);
        ++*out_changed;
    }
    free(seen.slot);
    free(again);
    free(first);
    free(next);
    return status;
}

void matrix_sum_rows(const Matrix *m, size_t from, size_t to, double *sums) {
    for (size_t r = from; r < to; r++) {
        double sum[4] = {0}; // four at a time: additions wait for one another
        int64_t e = m->start[r], end = m->start[r + 1];
        for (; e + 4 <= end; e += 4)
            for (int k = 0; k < 4; k++) sum[k] += (double)m->value[e + k];
        for (; e < end; e++) sum[0] += (double)m->value[e];
        sums[r] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
}

void matrix_row_sums(const Matrix *m, double *sums) {
    matrix_sum_rows(m, 0, m->rows, sums);
}

size_t matrix_stretch(const Matrix *m, int parts, int64_t part) {
    return m->columns / (size_t)parts * (size_t)part + m->columns % (size_t)parts * (size_t)part / (size_t)parts;
}

int64_t matrix_entry(const Matrix *m, size_t row, size_t column) {
    int64_t low = m->start[row], high = m->start[row + 1];
    if (column == 0) return low;
    if (column >= m->columns) return high;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if ((size_t)m->column[middle] < column) low = middle + 1;
        else high = middle;
    }
    return low;
}

void matrix_column_sums(const Matrix *m, double *sums) {
    int64_t nnz = matrix_nnz(m);
    memset(sums, 0, m->columns * sizeof *sums);
    for (int64_t e = 0; e < nnz; e++) sums[m->column[e]] += (double)m->value[e];
}
