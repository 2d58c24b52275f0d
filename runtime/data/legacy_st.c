// legacy_st: see legacy_st.h. Positions are read first, then counts are streamed row by row and joined by id.
#include "legacy_st.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "spot_tables.h"
#include "table.h"

static const char *const layout_hint =
    "expected DIR/counts/SECTION.tsv.gz, DIR/spots/SECTION_selection.tsv and DIR/images/SECTION.jpg";

// ---- What is there ------------------------------------------------------------------------------

Status legacy_st_sections(const char *directory, Arena *arena, char ***out_names, size_t *out_count) {
    char **files = NULL, **names = NULL;
    size_t n_files = 0, count = 0;
    *out_names = NULL;
    *out_count = 0;
    if (!is_directory(directory))
        return status_make(STATUS_NOT_FOUND, "%s is not a directory; %s", directory, layout_hint);
    char *counts = path_join(arena, directory, "counts");
    if (!counts) return arena_exhausted(1, 1);
    if (!is_directory(counts))
        return status_make(STATUS_NOT_FOUND, "%s has no directory 'counts'; %s", directory, layout_hint);
    TRY(directory_list(counts, arena, &files, &n_files));
    TRY(ARENA_NEW(arena, names, n_files));
    for (size_t i = 0; i < n_files; i++) {
        size_t ending = string_ends_with(files[i], ".tsv.gz") ? 7 : string_ends_with(files[i], ".tsv") ? 4 : 0;
        size_t length = strlen(files[i]);
        if (files[i][0] == '.' || ending == 0 || length == ending) continue;
        TRY(ARENA_COPY(arena, names[count], files[i], length - ending));
        if (count > 0 && strcmp(names[count - 1], names[count]) == 0)
            return status_make(STATUS_MALFORMED, "%s holds the counts of %s twice, as .tsv and as .tsv.gz; remove one",
                               counts, names[count]);
        count++;
    }
    if (count == 0)
        return status_make(STATUS_NOT_FOUND, "%s holds no SECTION.tsv or SECTION.tsv.gz; %s", counts, layout_hint);
    *out_names = names;
    *out_count = count;
    return STATUS_OK;
}

Status legacy_st_depths(const char *directory, char *const *sections, size_t n_sections, Arena *arena,
                        char ***out_depths, size_t *out_count) {
    char *folder = path_join(arena, directory, "proportions");
    if (!folder) return arena_exhausted(1, 1);
    return spot_tables_list(folder, sections, n_sections, arena, out_depths, out_count);
}

// ---- Positions ----------------------------------------------------------------------------------

typedef struct Positions {
    size_t count, capacity;
    char **ids;
    int32_t (*array)[2];
    double (*exact)[2];
    double (*pixel)[2];
    size_t *line;
    bool *selected;
    bool *used;
    NameIndex index;
} Positions;

// Doubles every column of `p`.
static Status grow_positions(Positions *p, Arena *arena) {
    Positions larger = *p;
    larger.capacity = p->capacity ? p->capacity * 2 : 512;
    TRY(ARENA_NEW(arena, larger.ids, larger.capacity));
    TRY(ARENA_NEW(arena, larger.array, larger.capacity));
    TRY(ARENA_NEW(arena, larger.exact, larger.capacity));
    TRY(ARENA_NEW(arena, larger.pixel, larger.capacity));
    TRY(ARENA_NEW(arena, larger.line, larger.capacity));
    TRY(ARENA_NEW(arena, larger.selected, larger.capacity));
    TRY(ARENA_NEW(arena, larger.used, larger.capacity));
    if (p->count) {
        memcpy(larger.ids, p->ids, p->count * sizeof *p->ids);
        memcpy(larger.array, p->array, p->count * sizeof *p->array);
        memcpy(larger.exact, p->exact, p->count * sizeof *p->exact);
        memcpy(larger.pixel, p->pixel, p->count * sizeof *p->pixel);
        memcpy(larger.line, p->line, p->count * sizeof *p->line);
        memcpy(larger.selected, p->selected, p->count * sizeof *p->selected);
    }
    *p = larger;
    return STATUS_OK;
}

static Status read_position_rows(TableReader *table, Positions *p, Arena *arena) {
    size_t x = 0, y = 0, new_x = 0, new_y = 0, pixel_x = 0, pixel_y = 0, selected = 0;
    TRY(table_column(table, "x", &x));
    TRY(table_column(table, "y", &y));
    TRY(table_column(table, "new_x", &new_x));
    TRY(table_column(table, "new_y", &new_y));
    TRY(table_column(table, "pixel_x", &pixel_x));
    TRY(table_column(table, "pixel_y", &pixel_y));
    TRY(table_column(table, "selected", &selected));
    for (;;) {
        bool row = false;
        TRY(table_next(table, &row));
        if (!row) break;
        if (p->count == p->capacity) TRY(grow_positions(p, arena));
        size_t i = p->count;
        int64_t ax = 0, ay = 0, under_tissue = 0;
        TRY(table_i64(table, x, &ax));
        TRY(table_i64(table, y, &ay));
        TRY(table_f64(table, new_x, &p->exact[i][0]));
        TRY(table_f64(table, new_y, &p->exact[i][1]));
        TRY(table_f64(table, pixel_x, &p->pixel[i][0]));
        TRY(table_f64(table, pixel_y, &p->pixel[i][1]));
        TRY(table_i64(table, selected, &under_tissue));
        if (ax < -100000 || ax > 100000 || ay < -100000 || ay > 100000)
            return table_error(table, "array position %lld, %lld is out of range", (long long)ax, (long long)ay);
        if (under_tissue != 0 && under_tissue != 1)
            return table_error(table, "column 'selected': %lld is neither 0 nor 1", (long long)under_tissue);
        p->ids[i] = arena_printf(arena, "%lldx%lld", (long long)ax, (long long)ay);
        if (!p->ids[i]) return arena_exhausted(1, 1);
        p->array[i][0] = (int32_t)ax;
        p->array[i][1] = (int32_t)ay;
        p->selected[i] = under_tissue == 1;
        p->line[i] = lines_number(table->lines);
        p->count++;
    }
    TRY(name_index_init(&p->index, arena, p->count));
    for (size_t i = 0; i < p->count; i++) {
        int64_t before = name_index_add(&p->index, p->ids[i], (int64_t)i);
        if (before >= 0)
            return status_make(STATUS_MALFORMED, "%s:%zu: spot %s occurs twice (first on line %zu)",
                               lines_path(table->lines), p->line[i], p->ids[i], p->line[before]);
    }
    if (p->count == 0) return status_make(STATUS_MALFORMED, "%s: no spots below the header", lines_path(table->lines));
    return STATUS_OK;
}

static Status read_positions(const char *path, Positions *p, Arena *arena) {
    TableReader table;
    TRY(table_open(&table, path, '\t'));
    Status status = read_position_rows(&table, p, arena);
    table_close(&table);
    return status;
}

// ---- Counts -------------------------------------------------------------------------------------

// Growing compressed rows; moved into the arena at the end.
typedef struct Entries {
    int32_t *genes;
    uint32_t *counts;
    size_t count, capacity;
} Entries;

static Status push_entry(Entries *entries, int32_t gene, uint32_t value) {
    if (entries->count == entries->capacity) {
        size_t capacity = entries->capacity ? entries->capacity * 2 : 1 << 16;
        int32_t *genes = realloc(entries->genes, capacity * sizeof *genes);
        if (genes) entries->genes = genes;
        uint32_t *counts = genes ? realloc(entries->counts, capacity * sizeof *counts) : NULL;
        if (!counts) return arena_exhausted(capacity, sizeof *counts);
        entries->counts = counts;
        entries->capacity = capacity;
    }
    entries->genes[entries->count] = gene;
    entries->counts[entries->count++] = value;
    return STATUS_OK;
}

// Almost all fields are short digit strings; this keeps the general parser for the rest.
static bool parse_count(Field field, uint32_t *out_value) {
    if (field.length == 0 || field.length > 9) return false;
    uint32_t value = 0;
    for (size_t i = 0; i < field.length; i++) {
        if (field.text[i] < '0' || field.text[i] > '9') return false;
        value = value * 10 + (uint32_t)(field.text[i] - '0');
    }
    *out_value = value;
    return true;
}

// Why a field is not a count; a whole number in another spelling ("12.0") is accepted.
static Status odd_count(const TableReader *table, size_t column, uint32_t *out_value) {
    Field field = table->fields[column];
    char q[QUOTED_TEXT];
    double value = 0;
    const char *gene = table->columns[column], *what = NULL;
    if (!parse_f64(field.text, field.length, &value)) what = "is not a number";
    else if (isnan(value)) what = "is not a count";
    else if (value < 0) what = "is negative";
    else if (value != floor(value)) what = "is not a whole number; raw counts are needed";
    else if (value > 4294967295.0) what = "is too large for a count";
    if (what) return table_error(table, "gene '%s': %s %s", gene, quoted(field.text, field.length, q), what);
    *out_value = (uint32_t)value;
    return STATUS_OK;
}

static Status read_count_header(const TableReader *table, Section *section) {
    size_t n = table->n_columns - 1;
    if (n == 0)
        return status_make(STATUS_MALFORMED, "%s:1: no genes in the header; is the file tab separated?",
                           lines_path(table->lines));
    if (n > INT32_MAX) return status_make(STATUS_UNSUPPORTED, "%s:1: too many genes", lines_path(table->lines));
    NameIndex seen = {0};
    TRY(ARENA_NEW(&section->arena, section->genes, n));
    TRY(name_index_init(&seen, &section->arena, n));
    for (size_t g = 0; g < n; g++) {
        const char *name = table->columns[g + 1];
        char q[QUOTED_TEXT];
        if (!*name)
            return status_make(STATUS_MALFORMED, "%s:1: gene column %zu has no name", lines_path(table->lines), g + 2);
        if (!valid_utf8(name, strlen(name)))
            return status_make(STATUS_MALFORMED, "%s:1: the name of gene column %zu is not UTF-8 text",
                               lines_path(table->lines), g + 2);
        TRY(ARENA_COPY(&section->arena, section->genes[g], name, strlen(name)));
        int64_t before = name_index_add(&seen, section->genes[g], (int64_t)g);
        if (before >= 0)
            return status_make(STATUS_MALFORMED, "%s:1: gene %s occurs twice (columns %lld and %zu)",
                               lines_path(table->lines), quoted(name, strlen(name), q), (long long)before + 2, g + 2);
    }
    section->n_genes = n;
    return STATUS_OK;
}

static Status read_count_rows(TableReader *table, Positions *p, const char *positions_path, Section *section,
                              Entries *entries) {
    Arena *arena = &section->arena;
    TRY(read_count_header(table, section));
    // Spots cannot outnumber positions, because ids are unique and every one needs a position.
    TRY(ARENA_NEW(arena, section->ids, p->count));
    TRY(ARENA_NEW(arena, section->array, p->count * 2));
    TRY(ARENA_NEW(arena, section->array_exact, p->count * 2));
    TRY(ARENA_NEW(arena, section->pixel, p->count * 2));
    TRY(ARENA_NEW(arena, section->indptr, p->count + 1));
    for (;;) {
        bool row = false;
        TRY(table_next(table, &row));
        if (!row) break;
        char q[QUOTED_TEXT];
        Field id = table->fields[0];
        int64_t at = name_index_find(&p->index, id.text);
        if (at < 0)
            return table_error(table, "spot %s has counts but no line in %s", quoted(id.text, id.length, q),
                               positions_path);
        if (p->used[at]) return table_error(table, "spot %s occurs twice", quoted(id.text, id.length, q));
        p->used[at] = true;
        size_t keep = entries->count;
        for (size_t g = 0; g < section->n_genes; g++) {
            Field field = table->fields[g + 1];
            uint32_t value = 0;
            if (field.length == 1 && field.text[0] == '0') continue;
            if (!parse_count(field, &value)) TRY(odd_count(table, g + 1, &value));
            if (value) TRY(push_entry(entries, (int32_t)g, value));
        }
        if (!p->selected[at]) {
            entries->count = keep;
            continue;
        }
        size_t i = section->n_spots++;
        section->ids[i] = p->ids[at];
        memcpy(section->array + 2 * i, p->array[at], sizeof p->array[at]);
        memcpy(section->array_exact + 2 * i, p->exact[at], sizeof p->exact[at]);
        memcpy(section->pixel + 2 * i, p->pixel[at], sizeof p->pixel[at]);
        section->indptr[i + 1] = (int64_t)entries->count;
    }
    if (section->n_spots == 0)
        return status_make(STATUS_MALFORMED, "%s: no spot under tissue has counts", lines_path(table->lines));
    TRY(ARENA_NEW(arena, section->indices, entries->count));
    TRY(ARENA_NEW(arena, section->counts, entries->count));
    if (entries->count) {
        memcpy(section->indices, entries->genes, entries->count * sizeof *entries->genes);
        memcpy(section->counts, entries->counts, entries->count * sizeof *entries->counts);
    }
    return STATUS_OK;
}

static Status read_counts(const char *path, Positions *p, const char *positions_path, Section *section) {
    TableReader table;
    Entries entries = {0};
    TRY(table_open(&table, path, '\t'));
    Status status = read_count_rows(&table, p, positions_path, section, &entries);
    free(entries.genes);
    free(entries.counts);
    table_close(&table);
    return status;
}

// ---- The section --------------------------------------------------------------------------------

// DIR/FOLDER/NAME + the first ending that exists.
static Status find_file(Arena *arena, const char *directory, const char *folder, const char *name,
                        const char *const *endings, size_t n_endings, const char *what, char **out_path) {
    for (size_t i = 0; i < n_endings; i++) {
        char *path = arena_printf(arena, "%s/%s/%s%s", directory, folder, name, endings[i]);
        if (!path) return arena_exhausted(1, 1);
        if (file_exists(path)) {
            *out_path = path;
            return STATUS_OK;
        }
    }
    return status_make(STATUS_NOT_FOUND, "no %s: %s/%s/%s%s does not exist; %s", what, directory, folder, name,
                       endings[0], layout_hint);
}

static Status count_what_was_left_out(const Positions *p, Section *section) {
    TRY(ARENA_NEW(&section->arena, section->without_counts, p->count));
    for (size_t i = 0; i < p->count; i++) {
        if (!p->selected[i]) section->n_not_selected++;
        else if (!p->used[i]) section->without_counts[section->n_without_counts++] = p->ids[i];
    }
    return STATUS_OK;
}

Status legacy_st_fill(const char *directory, const char *name, char *const *depths, size_t n_depths, Section *section) {
    static const char *const counts_endings[] = {".tsv.gz", ".tsv"};
    static const char *const position_endings[] = {"_selection.tsv"};
    static const char *const image_endings[] = {".jpg", ".jpeg", ".png", ".tif", ".tiff"};
    Arena *arena = &section->arena;
    Positions positions = {0};
    char *counts = NULL, *spots = NULL;
    TRY(ARENA_COPY(arena, section->name, name, strlen(name)));
    TRY(find_file(arena, directory, "counts", name, counts_endings, 2, "counts", &counts));
    TRY(find_file(arena, directory, "spots", name, position_endings, 1, "spot positions", &spots));
    Status picture = find_file(arena, directory, "images", name, image_endings, 5, "picture", &section->image_path);
    if (status_code(picture) == STATUS_NOT_FOUND) {
        section->no_picture = arena_copy(arena, status_message(picture), strlen(status_message(picture)));
        status_drop(picture);
        picture = section->no_picture ? STATUS_OK : arena_exhausted(1, 200);
    }
    TRY(picture);
    TRY(section_input(section, counts));
    TRY(section_input(section, spots));
    if (section->image_path) TRY(section_input(section, section->image_path));
    TRY(read_positions(spots, &positions, arena));
    TRY(read_counts(counts, &positions, spots, section));
    TRY(count_what_was_left_out(&positions, section));
    TRY(ARENA_NEW(arena, section->tables, n_depths));
    for (size_t d = 0; d < n_depths; d++) {
        char *folder = path_join(arena, directory, "proportions"), *path = NULL;
        if (!folder) return arena_exhausted(1, 1);
        TRY(spot_tables_find(folder, name, depths[d], arena, &path));
        if (!path)
            return status_make(STATUS_NOT_FOUND, "no proportions of depth '%s': %s/%s_%s.tsv does not exist", depths[d],
                               folder, name, depths[d]);
        TRY(section_input(section, path));
        TRY(spot_table_read(path, depths[d], section, &section->tables[section->n_tables]));
        section->n_tables++;
    }
    return STATUS_OK;
}

Status legacy_st_read(const char *directory, const char *name, char *const *depths, size_t n_depths,
                      Section *out_section) {
    *out_section = (Section){0};
    Status status = legacy_st_fill(directory, name, depths, n_depths, out_section);
    if (status == STATUS_OK && out_section->no_picture)
        status = status_make(STATUS_NOT_FOUND, "%s", out_section->no_picture);
    if (status != STATUS_OK) section_free(out_section);
    return status_context(status, "section %s", name);
}
