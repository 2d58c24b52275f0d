// mex: matrix directories of Cell Ranger and Space Ranger: matrix.mtx (Matrix Market, features x barcodes),
// barcodes.tsv and features.tsv (id, name, type, ...) or genes.tsv (id, name), each plain or with .gz; and single text
// tables of counts (spots x genes).
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "counts_inside.h"
#include "lines.h"
#include "table.h"

typedef struct Lines { // the first fields of every line
    size_t count, capacity;
    char **field[3]; // NULL past the last
} Lines;

static Status grow(Lines *l, Arena *arena) {
    size_t capacity = l->capacity ? l->capacity * 2 : 1024;
    for (int i = 0; i < 3; i++) {
        char **more = NULL;
        TRY(ARENA_NEW(arena, more, capacity));
        if (l->count) memcpy(more, l->field[i], l->count * sizeof *more);
        l->field[i] = more;
    }
    l->capacity = capacity;
    return STATUS_OK;
}

static Status read_fields(LineReader *reader, int wanted, Arena *arena, Lines *l) {
    for (;;) {
        char *line = NULL;
        size_t length = 0;
        TRY(lines_next(reader, &line, &length));
        if (!line) return STATUS_OK;
        if (length == 0) continue;
        if (!valid_utf8(line, length))
            return status_make(STATUS_MALFORMED, "%s:%zu: not UTF-8 text", lines_path(reader), lines_number(reader));
        if (l->count == l->capacity) TRY(grow(l, arena));
        for (int i = 0; i < 3; i++) {
            char *tab = line ? strchr(line, '\t') : NULL;
            if (!line && i < wanted)
                return status_make(STATUS_MALFORMED, "%s:%zu: %d tab-separated fields are needed", lines_path(reader),
                                   lines_number(reader), wanted);
            size_t size = line ? (tab ? (size_t)(tab - line) : strlen(line)) : 0;
            l->field[i][l->count] = NULL;
            if (line) TRY(ARENA_COPY(arena, l->field[i][l->count], line, size));
            line = tab ? tab + 1 : NULL;
        }
        l->count++;
    }
}

static Status read_lines(const char *path, int wanted, Arena *arena, Lines *l) {
    LineReader *reader = NULL;
    TRY(lines_open(path, &reader));
    Status status = read_fields(reader, wanted, arena, l);
    lines_close(reader);
    return status;
}

// DIRECTORY/NAME or the same with .gz; NULL if neither is there.
static Status find(Arena *arena, const char *directory, const char *name, char **out_path) {
    for (int gz = 0; gz < 2; gz++) {
        char *path = arena_printf(arena, "%s/%s%s", directory, name, gz ? ".gz" : "");
        if (!path) return arena_exhausted(1, 1);
        if (file_exists(path)) {
            *out_path = path;
            return STATUS_OK;
        }
    }
    *out_path = NULL;
    return STATUS_OK;
}

// ---- Matrix Market ------------------------------------------------------------------------------

typedef struct Entries {
    int32_t *row, *column;
    float *value;
    int64_t count, capacity;
} Entries;

static void free_entries(Entries *e) {
    free(e->row);
    free(e->column);
    free(e->value);
}

// Grows as lines come: what the header claims is not trusted with memory.
static Status push(Entries *e, int32_t row, int32_t column, float value) {
    if (e->count == e->capacity) {
        int64_t capacity = e->capacity ? e->capacity * 2 : 1 << 16;
        void *r = realloc(e->row, (size_t)capacity * sizeof *e->row);
        if (r) e->row = r;
        void *c = realloc(e->column, (size_t)capacity * sizeof *e->column);
        if (c) e->column = c;
        void *v = realloc(e->value, (size_t)capacity * sizeof *e->value);
        if (v) e->value = v;
        if (!r || !c || !v) return arena_exhausted((size_t)capacity, 12);
        e->capacity = capacity;
    }
    e->row[e->count] = row;
    e->column[e->count] = column;
    e->value[e->count++] = value;
    return STATUS_OK;
}

// One whole number and the blank behind it; false if there is none.
static bool take_integer(char **cursor, int64_t *out) {
    char *p = *cursor;
    int64_t value = 0;
    int digits = 0;
    while (*p == ' ' || *p == '\t') p++;
    for (; *p >= '0' && *p <= '9' && digits < 18; p++, digits++) value = value * 10 + (*p - '0');
    if (digits == 0 || (*p && *p != ' ' && *p != '\t')) return false;
    *cursor = p;
    *out = value;
    return true;
}

static Status bad_line(const LineReader *reader, const char *line, const char *expected) {
    char q[QUOTED_TEXT];
    return status_make(STATUS_MALFORMED, "%s:%zu: %s where %s expected", lines_path(reader), lines_number(reader),
                       quoted(line, strlen(line), q), expected);
}

static Status read_entries(LineReader *reader, size_t features, size_t barcodes, const int32_t *choice, Entries *out) {
    char *line = NULL;
    size_t length = 0;
    int64_t rows = 0, columns = 0, entries = 0, seen = 0;
    TRY(lines_next(reader, &line, &length));
    if (!line || strncmp(line, "%%MatrixMarket matrix coordinate ", 33) != 0)
        return status_make(STATUS_MALFORMED,
                           "%s: not a Matrix Market file of coordinates: its first line must begin "
                           "with '%%%%MatrixMarket matrix coordinate'",
                           lines_path(reader));
    bool pattern = strstr(line, " pattern") != NULL;
    if (!strstr(line, " general"))
        return status_make(STATUS_UNSUPPORTED, "%s:1: only 'general' matrices are read", lines_path(reader));
    do TRY(lines_next(reader, &line, &length));
    while (line && (*line == '%' || length == 0));
    char *p = line;
    if (!line || !take_integer(&p, &rows) || !take_integer(&p, &columns) || !take_integer(&p, &entries))
        return bad_line(reader, line ? line : "", "rows, columns and entries are");
    if ((uint64_t)rows != features || (uint64_t)columns != barcodes)
        return status_make(STATUS_MISMATCH,
                           "%s:%zu: the matrix is %lld x %lld, but there are %zu features and %zu "
                           "barcodes; these files do not belong together",
                           lines_path(reader), lines_number(reader), (long long)rows, (long long)columns, features,
                           barcodes);
    for (;;) {
        int64_t row = 0, column = 0, whole = 0;
        double value = 1;
        TRY(lines_next(reader, &line, &length));
        if (!line) break;
        if (length == 0) continue;
        p = line;
        if (!take_integer(&p, &row) || !take_integer(&p, &column))
            return bad_line(reader, line, "row, column and value are");
        char *before = p;
        if (pattern)
            ;
        else if (take_integer(&p, &whole) && *p == '\0') value = (double)whole;
        else {
            p = before;
            while (*p == ' ' || *p == '\t') p++;
            if (!parse_f64(p, strlen(p), &value)) return bad_line(reader, line, "row, column and value are");
        }
        if (row < 1 || row > rows || column < 1 || column > columns)
            return status_make(STATUS_MALFORMED, "%s:%zu: entry %lld, %lld of a matrix of %lld x %lld",
                               lines_path(reader), lines_number(reader), (long long)row, (long long)column,
                               (long long)rows, (long long)columns);
        if (++seen > entries)
            return status_make(STATUS_MALFORMED, "%s:%zu: more entries than the %lld that the header promises",
                               lines_path(reader), lines_number(reader), (long long)entries);
        int32_t to = choice ? choice[row - 1] : (int32_t)(row - 1);
        if (to >= 0 && value != 0) TRY(push(out, (int32_t)(column - 1), to, (float)value));
    }
    if (seen != entries)
        return status_make(STATUS_MALFORMED,
                           "%s: %lld entries where the header promises %lld; the file is cut off or "
                           "damaged",
                           lines_path(reader), (long long)seen, (long long)entries);
    return STATUS_OK;
}

static Status read_mtx(const char *path, size_t features, size_t barcodes, const Picked *picked, Matrix *out) {
    LineReader *reader = NULL;
    Entries entries = {0};
    TRY(lines_open(path, &reader));
    Status status = read_entries(reader, features, barcodes, picked->choice.number, &entries);
    if (status == STATUS_OK)
        status = matrix_from_entries(barcodes, picked->count, entries.row, entries.column, entries.value, entries.count,
                                     out);
    free_entries(&entries);
    lines_close(reader);
    return status;
}

Status mex_read(const char *directory, const CountsOptions *o, Annotated *a) {
    Arena *arena = &a->arena;
    char *mtx = NULL, *barcodes = NULL, *features = NULL;
    Lines of = {0}, cells = {0};
    Picked picked;
    Frame var = {0};
    uint8_t *allowed = NULL;
    TRY(find(arena, directory, "matrix.mtx", &mtx));
    TRY(find(arena, directory, "barcodes.tsv", &barcodes));
    TRY(find(arena, directory, "features.tsv", &features));
    bool old = !features;
    if (old) TRY(find(arena, directory, "genes.tsv", &features));
    if (!mtx || !barcodes || !features)
        return status_make(STATUS_NOT_FOUND,
                           "%s: %s is missing; a matrix directory holds matrix.mtx, barcodes.tsv and "
                           "features.tsv (or genes.tsv), plain or .gz",
                           directory,
                           !mtx        ? "matrix.mtx"
                           : !barcodes ? "barcodes.tsv"
                                       : "features.tsv");
    TRY(read_lines(features, 2, arena, &of));
    TRY(read_lines(barcodes, 1, arena, &cells));
    if (of.count > INT32_MAX || cells.count > INT32_MAX)
        return status_make(STATUS_UNSUPPORTED, "%s: too many features or barcodes", directory);
    const char *wanted = o->feature_type ? o->feature_type : "Gene Expression";
    size_t left_out = 0;
    if (of.count && of.field[2][0] && strcmp(wanted, "*") != 0) {
        TRY(ARENA_NEW(arena, allowed, of.count));
        for (size_t i = 0; i < of.count; i++) {
            allowed[i] = of.field[2][i] && strcmp(of.field[2][i], wanted) == 0;
            left_out += !allowed[i];
        }
        if (left_out == of.count)
            return status_make(STATUS_NOT_FOUND, "%s: no feature of type '%s'; the first is of type '%s'", features,
                               wanted, of.field[2][0]);
    }
    var.rows = of.count;
    Column ids = column_of_texts("gene_ids", of.field[0]), types = column_of_texts("feature_types", of.field[2]);
    if (!o->only_x && of.count) TRY(frame_add(&var, arena, &ids));
    bool typed = of.count > 0;
    for (size_t i = 0; i < of.count; i++) typed = typed && of.field[2][i];
    if (!o->only_x && typed) TRY(frame_add(&var, arena, &types));
    TRY(pick_columns(directory, o, of.field[1], of.field[0], allowed, of.count, a, &picked));
    TRY(read_mtx(mtx, of.count, cells.count, &picked, &a->x));
    a->has_x = true;
    a->x.row_name = cells.field[0];
    a->obs.rows = cells.count;
    TRY(place_columns(&picked, of.field[1], of.field[0], &var, a));
    if (left_out)
        TRY(annotated_note(a, "%zu of %zu features are not of type '%s' and were left out", left_out, of.count,
                           wanted));
    a->source = arena_printf(arena, "10x matrix directory%s%s", old ? " with genes.tsv" : "",
                             string_ends_with(mtx, ".gz") ? ", gzip" : "");
    return a->source ? STATUS_OK : arena_exhausted(1, 64);
}

// ---- One table of counts ------------------------------------------------------------------------

static Status read_rows(TableReader *table, const CountsOptions *o, Annotated *a) {
    Arena *arena = &a->arena;
    size_t columns = table->n_columns - 1, rows = 0, capacity = 1024;
    char **names = NULL, **ids = NULL;
    Entries entries = {0};
    Picked picked;
    Frame var = {.rows = columns};
    if (columns == 0)
        return status_make(STATUS_MALFORMED, "%s:1: no genes in the header; is the file tab separated?",
                           lines_path(table->lines));
    TRY(ARENA_NEW(arena, names, columns));
    TRY(ARENA_NEW(arena, ids, capacity));
    for (size_t c = 0; c < columns; c++) {
        if (!valid_utf8(table->columns[c + 1], strlen(table->columns[c + 1])))
            return status_make(STATUS_MALFORMED, "%s:1: the name of column %zu is not UTF-8 text",
                               lines_path(table->lines), c + 2);
        TRY(ARENA_COPY(arena, names[c], table->columns[c + 1], strlen(table->columns[c + 1])));
    }
    TRY(pick_columns(lines_path(table->lines), o, names, NULL, NULL, columns, a, &picked));
    Status status = STATUS_OK;
    for (;;) {
        bool row = false;
        TRY_OR(status, done, table_next(table, &row));
        if (!row) break;
        if (rows == capacity) {
            char **more = NULL;
            TRY_OR(status, done, ARENA_NEW(arena, more, capacity * 2));
            memcpy(more, ids, rows * sizeof *more);
            ids = more;
            capacity *= 2;
        }
        if (!valid_utf8(table->fields[0].text, table->fields[0].length)) {
            status = table_error(table, "the spot's id is not UTF-8 text");
            goto done;
        }
        TRY_OR(status, done, ARENA_COPY(arena, ids[rows], table->fields[0].text, table->fields[0].length));
        for (size_t c = 0; c < columns; c++) {
            const Field *field = &table->fields[c + 1];
            double value = 0;
            int32_t to = picked.choice.number ? picked.choice.number[c] : (int32_t)c;
            if (field->length == 1 && field->text[0] == '0') continue;
            TRY_OR(status, done, table_f64(table, c + 1, &value));
            if (to >= 0 && value != 0) TRY_OR(status, done, push(&entries, (int32_t)rows, to, (float)value));
        }
        rows++;
    }
    TRY_OR(status, done,
           matrix_from_entries(rows, picked.count, entries.row, entries.column, entries.value, entries.count, &a->x));
    a->has_x = true;
    a->x.row_name = ids;
    a->obs.rows = rows;
    TRY_OR(status, done, place_columns(&picked, names, NULL, &var, a));
    a->source = "text table of counts";
done:
    free_entries(&entries);
    return status;
}

Status text_counts_read(const char *path, const CountsOptions *o, Annotated *a) {
    TableReader table;
    bool comma = string_ends_with(path, ".csv") || string_ends_with(path, ".csv.gz");
    TRY(table_open(&table, path, comma ? ',' : '\t'));
    Status status = read_rows(&table, o, a);
    table_close(&table);
    return status;
}
