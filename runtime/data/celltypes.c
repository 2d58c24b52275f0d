// celltypes: tables of cell types per spot; see vocabulary.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "vocabulary.h"

enum { SPOTS_LIMIT = 1 << 24 };

void celltypes_free(CellTypes *table) {
    free(table->spot);
    free(table->value);
    arena_free(&table->arena);
    *table = (CellTypes){0};
}

static Status read_header(CellTypes *out, const TableReader *table) {
    NameIndex seen;
    if (table->n_columns < 2)
        return table_error(table, "a table of cell types has a column of spots and one per type; this has %zu column",
                           table->n_columns);
    TRY(name_index_init(&seen, &out->arena, table->n_columns));
    TRY(ARENA_NEW(&out->arena, out->type, table->n_columns));
    for (size_t c = 1; c < table->n_columns; c++) {
        TRY(ARENA_COPY(&out->arena, out->type[out->types], table->columns[c], strlen(table->columns[c])));
        if (name_index_add(&seen, out->type[out->types++], 0) >= 0)
            return table_error(table, "the cell type \"%s\" occurs twice", table->columns[c]);
    }
    return STATUS_OK;
}

static Status add_row(CellTypes *out, const TableReader *table, size_t *room) {
    if (out->spots == *room) {
        size_t more = *room ? 2 * *room : 256;
        char **spot = realloc(out->spot, more * sizeof *spot);
        if (spot) out->spot = spot;
        double *value = realloc(out->value, more * out->types * sizeof *value);
        if (value) out->value = value;
        if (!spot || !value || more > SPOTS_LIMIT)
            return status_make(STATUS_NO_MEMORY, "no memory for cell types of %zu spots", more);
        *room = more;
    }
    TRY(ARENA_COPY(&out->arena, out->spot[out->spots], table->fields[0].text, table->fields[0].length));
    for (size_t c = 0; c < out->types; c++) TRY(table_f64(table, c + 1, &out->value[out->spots * out->types + c]));
    out->spots++;
    return STATUS_OK;
}

static Status check_spots(CellTypes *out, const char *path) {
    NameIndex seen;
    TRY(name_index_init(&seen, &out->arena, out->spots));
    for (size_t i = 0; i < out->spots; i++)
        if (name_index_add(&seen, out->spot[i], 0) >= 0)
            return status_make(STATUS_MALFORMED, "%s: the spot \"%s\" occurs twice", path, out->spot[i]);
    return STATUS_OK;
}

Status celltypes_read(const char *path, CellTypes *out) {
    TableReader table;
    *out = (CellTypes){0};
    bool comma = string_ends_with(path, ".csv") || string_ends_with(path, ".csv.gz"), row = false;
    TRY(table_open(&table, path, comma ? ',' : '\t'));
    size_t room = 0;
    Status status = read_header(out, &table);
    while (status == STATUS_OK) {
        status = table_next(&table, &row);
        if (status != STATUS_OK || !row) break;
        status = add_row(out, &table, &room);
    }
    table_close(&table);
    if (status == STATUS_OK) status = check_spots(out, path);
    if (status != STATUS_OK) celltypes_free(out);
    return status;
}

static Status type_columns(const CellTypes *table, const char *const *types, size_t count, size_t *column) {
    for (size_t t = 0; t < count; t++) {
        size_t c = 0;
        while (c < table->types && strcmp(table->type[c], types[t]) != 0) c++;
        if (c == table->types) {
            const char *close = closest_name(types[t], (const char *const *)table->type, table->types);
            return status_make(STATUS_NOT_FOUND, "the table of %zu cell types has no \"%s\"%s%s", table->types,
                               types[t], close ? "; did you mean " : "", close ? close : "");
        }
        column[t] = c;
    }
    return STATUS_OK;
}

Status celltypes_align(const CellTypes *table, const char *const *spots, size_t count, const char *const *types,
                       size_t n_types, double *values, size_t *out_missing) {
    Arena arena;
    NameIndex index;
    size_t *column = NULL;
    if (!types) n_types = table->types;
    *out_missing = 0;
    arena_init(&arena);
    Status status = name_index_init(&index, &arena, table->spots);
    if (status == STATUS_OK) status = ARENA_NEW(&arena, column, n_types + 1);
    for (size_t t = 0; t < n_types && status == STATUS_OK; t++) column[t] = t;
    if (status == STATUS_OK && types) status = type_columns(table, types, n_types, column);
    for (size_t i = 0; i < table->spots && status == STATUS_OK; i++) name_index_add(&index, table->spot[i], (int64_t)i);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        int64_t at = name_index_find(&index, spots[i]);
        *out_missing += at < 0;
        for (size_t t = 0; t < n_types; t++)
            values[i * n_types + t] = at < 0 ? NAN : table->value[(size_t)at * table->types + column[t]];
    }
    arena_free(&arena);
    return status;
}

size_t celltypes_to_proportions(double *values, size_t spots, size_t types) {
    size_t left = 0;
    for (size_t i = 0; i < spots; i++) {
        double sum = 0;
        for (size_t t = 0; t < types; t++) sum += values[i * types + t];
        if (!(sum > 0)) {
            left++;
            continue;
        }
        for (size_t t = 0; t < types; t++) values[i * types + t] /= sum;
    }
    return left;
}
