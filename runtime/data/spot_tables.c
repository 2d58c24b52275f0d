// spot_tables: see spot_tables.h.
#include "spot_tables.h"

#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "table.h"

static const char *const endings[] = {".tsv", ".csv"};

Status spot_tables_find(const char *folder, const char *section, const char *name, Arena *arena, char **out_path) {
    *out_path = NULL;
    for (int e = 0; e < 2; e++) {
        char *path = arena_printf(arena, "%s/%s_%s%s", folder, section, name, endings[e]);
        if (!path) return arena_exhausted(1, 1);
        if (!file_exists(path)) continue;
        *out_path = path;
        return STATUS_OK;
    }
    return STATUS_OK;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

Status spot_tables_list(const char *folder, char *const *sections, size_t n_sections, Arena *arena, char ***out_names,
                        size_t *out_count) {
    char **files = NULL, **names = NULL;
    size_t n_files = 0, count = 0;
    *out_names = NULL;
    *out_count = 0;
    if (!is_directory(folder) || n_sections == 0) return STATUS_OK;
    TRY(directory_list(folder, arena, &files, &n_files));
    TRY(ARENA_NEW(arena, names, n_files + 1));
    size_t prefix = strlen(sections[0]);
    for (size_t i = 0; i < n_files; i++) {
        size_t length = strlen(files[i]);
        if (strncmp(files[i], sections[0], prefix) != 0 || files[i][prefix] != '_' || length <= prefix + 5) continue;
        if (strcmp(files[i] + length - 4, endings[0]) != 0 && strcmp(files[i] + length - 4, endings[1]) != 0) continue;
        char *name = NULL, *path = NULL;
        TRY(ARENA_COPY(arena, name, files[i] + prefix + 1, length - prefix - 5));
        bool everywhere = true;
        for (size_t s = 1; s < n_sections && everywhere; s++) {
            TRY(spot_tables_find(folder, sections[s], name, arena, &path));
            everywhere = path != NULL;
        }
        if (everywhere) names[count++] = name;
    }
    if (count) qsort(names, count, sizeof *names, by_bytes); // "a.tsv" stands before "a b.tsv" among files, not names
    for (size_t i = 0; i < count; i++)
        if (*out_count == 0 || strcmp(names[*out_count - 1], names[i]) != 0) names[(*out_count)++] = names[i];
    *out_names = names;
    return STATUS_OK;
}

static Status read_header(const TableReader *table, Section *section, SpotTable *out) {
    size_t k = table->n_columns - 1;
    if (k == 0)
        return status_make(STATUS_MALFORMED, "%s:1: no columns in the header besides the spot ids; is the file %s?",
                           lines_path(table->lines), table->separator == ',' ? "comma separated" : "tab separated");
    NameIndex names = {0};
    out->n_columns = k;
    TRY(ARENA_NEW(&section->arena, out->columns, k));
    TRY(name_index_init(&names, &section->arena, k));
    for (size_t c = 0; c < k; c++) {
        const char *name = table->columns[c + 1];
        if (!*name || !valid_utf8(name, strlen(name)))
            return status_make(STATUS_MALFORMED, "%s:1: the name of column %zu is empty or not UTF-8 text",
                               lines_path(table->lines), c + 2);
        TRY(ARENA_COPY(&section->arena, out->columns[c], name, strlen(name)));
        if (name_index_add(&names, out->columns[c], (int64_t)c) >= 0)
            return status_make(STATUS_MALFORMED, "%s:1: column '%s' occurs twice", lines_path(table->lines), name);
    }
    return STATUS_OK;
}

static Status read_rows(TableReader *table, Section *section, SpotTable *out) {
    Arena *arena = &section->arena;
    NameIndex spots = {0};
    bool *seen = NULL;
    TRY(read_header(table, section, out));
    size_t k = out->n_columns, without = 0, first_without = 0;
    TRY(ARENA_NEW(arena, out->values, section->n_spots * k));
    TRY(ARENA_NEW(arena, seen, section->n_spots));
    TRY(name_index_init(&spots, arena, section->n_spots));
    for (size_t i = 0; i < section->n_spots; i++) name_index_add(&spots, section->ids[i], (int64_t)i);
    for (;;) {
        bool row = false;
        TRY(table_next(table, &row));
        if (!row) break;
        char q[QUOTED_TEXT];
        Field id = table->fields[0];
        int64_t i = name_index_find(&spots, id.text);
        if (i < 0) section->n_extra_rows++;
        else if (seen[i]) return table_error(table, "spot %s occurs twice", quoted(id.text, id.length, q));
        else seen[i] = true;
        for (size_t c = 0; c < k; c++) {
            double value = 0;
            TRY(table_f64(table, c + 1, &value));
            if (value < 0)
                return table_error(table, "column '%s': the proportion %g is negative", table->columns[c + 1], value);
            if (i >= 0) out->values[(size_t)i * k + c] = (float)value;
        }
    }
    for (size_t i = section->n_spots; i-- > 0;)
        if (!seen[i]) without++, first_without = i;
    if (without)
        return status_make(STATUS_MALFORMED,
                           "%s: no line for spot %s, which the section has (%zu of its %zu spots have none)",
                           lines_path(table->lines), section->ids[first_without], without, section->n_spots);
    return STATUS_OK;
}

Status spot_table_read(const char *path, const char *name, Section *section, SpotTable *out) {
    TableReader table;
    *out = (SpotTable){.name = arena_copy(&section->arena, name, strlen(name))};
    if (!out->name) return arena_exhausted(1, 1);
    TRY(table_open(&table, path, string_ends_with(path, ".csv") ? ',' : '\t'));
    Status status = read_rows(&table, section, out);
    table_close(&table);
    return status;
}
