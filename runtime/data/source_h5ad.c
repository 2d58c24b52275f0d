// source_h5ad: AnnData files as a source: positions from obsm, the picture and scale from uns["spatial"], embeddings as
// tables. A file that holds several libraries is cut along the column of obs that names them. HEST-1k's files are read
// here as well (source_hest.c).
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "source_inside.h"

static char *const no_genes[1] = {NULL};

// Everything but the numbers of X.
static Status peek(const Source *source, const char *path, Annotated *out) {
    CountsOptions options = {.genes = no_genes, .layer = "X", .limits = source->options.limits};
    return counts_read(path, &options, out);
}

// ---- Sections -------------------------------------------------------------------------------------

// A text of a column; NULL: missing, or no texts.
static const char *text_of(const Column *c, size_t row) {
    if (c->kind == COLUMN_TEXT && c->text) return c->text[row];
    if (c->kind == COLUMN_CATEGORY && c->code && c->code[row] >= 0 && (size_t)c->code[row] < c->categories)
        return c->category[c->code[row]];
    return NULL;
}

static int64_t library_number(const Annotated *a, const char *name) {
    for (size_t i = 0; name && i < a->n_libraries; i++)
        if (strcmp(a->library[i].name, name) == 0) return (int64_t)i;
    return -1;
}

static bool names_libraries(const Annotated *a, const Column *c) {
    size_t named = 0;
    for (size_t r = 0; r < a->obs.rows; r++) {
        const char *text = text_of(c, r);
        if (!text) continue;
        if (library_number(a, text) < 0) return false;
        named++;
    }
    return named > 0;
}

// The column of obs whose values are names of libraries; "library_id" is asked first.
static const Column *library_column(const Annotated *a) {
    const Column *usual = frame_column(&a->obs, "library_id");
    if (usual && names_libraries(a, usual)) return usual;
    for (size_t c = 0; c < a->obs.columns; c++)
        if (names_libraries(a, &a->obs.column[c])) return &a->obs.column[c];
    return NULL;
}

typedef struct Sections {
    SourceItem *item;
    char **name;
    size_t count, capacity;
} Sections;

static Status add_section(Arena *arena, Sections *s, const SourceItem *item, char *name) {
    if (s->count == s->capacity) {
        SourceItem *items = NULL;
        char **names = NULL;
        s->capacity = s->capacity ? s->capacity * 2 : 16;
        TRY(ARENA_NEW(arena, items, s->capacity));
        TRY(ARENA_NEW(arena, names, s->capacity));
        if (s->count) {
            memcpy(items, s->item, s->count * sizeof *items);
            memcpy(names, s->name, s->count * sizeof *names);
        }
        s->item = items;
        s->name = names;
    }
    if (!name) return arena_exhausted(1, 64);
    s->item[s->count] = *item;
    s->name[s->count++] = name;
    return STATUS_OK;
}

// One section, or one per library. `alone`: the source is this file, so that libraries need no other name.
static Status add_file(Source *source, const char *path, bool alone, Sections *s) {
    Arena *arena = &source->arena;
    const char *base = path_base(path);
    size_t length = strlen(base) - (string_ends_with(base, ".h5ad") ? 5 : 0);
    char *stem = arena_copy(arena, base, length ? length : strlen(base));
    SourceItem item = {.path = arena_copy(arena, path, strlen(path))};
    Annotated a = {0};
    if (!stem || !item.path) return arena_exhausted(1, 64);
    Status status = peek(source, path, &a);
    if (status != STATUS_OK) { // of a directory the other files can be used; reading this one says what is wrong
        if (alone) return status_context(status, "section %s", stem);
        status_drop(status);
        return add_section(arena, s, &item, stem);
    }
    const Column *column = a.n_libraries > 1 ? library_column(&a) : NULL;
    uint8_t *used = NULL;
    if (column) {
        status = ARENA_COPY(arena, item.library_column, column->name, strlen(column->name));
        if (status == STATUS_OK) status = ARENA_NEW(arena, used, a.n_libraries);
        for (size_t r = 0; status == STATUS_OK && r < a.obs.rows; r++) {
            int64_t at = library_number(&a, text_of(column, r));
            if (at >= 0) used[at] = 1;
        }
        for (size_t i = 0; status == STATUS_OK && i < a.n_libraries; i++) {
            const char *library = a.library[i].name;
            if (!used[i]) continue;
            status = ARENA_COPY(arena, item.library, library, strlen(library));
            if (status == STATUS_OK)
                status =
                    add_section(arena, s, &item, alone ? item.library : arena_printf(arena, "%s_%s", stem, library));
        }
    } else {
        status = add_section(arena, s, &item, stem);
    }
    annotated_free(&a);
    return status;
}

static Status open_h5ad(Source *source) {
    Arena *arena = &source->arena;
    Sections sections = {0};
    if (is_directory(source->path)) {
        char **names = NULL;
        size_t count = 0;
        TRY(directory_list(source->path, arena, &names, &count));
        for (size_t i = 0; i < count; i++) {
            char *path = path_join(arena, source->path, names[i]);
            if (!path) return arena_exhausted(1, 64);
            if (names[i][0] != '.' && string_ends_with(names[i], ".h5ad") && file_exists(path))
                TRY(add_file(source, path, false, &sections));
        }
    } else {
        CountsFormat format = COUNTS_UNKNOWN;
        TRY(counts_detect(source->path, &format));
        if (format != COUNTS_H5AD)
            return status_make(STATUS_INVALID, "%s: an AnnData .h5ad file is expected; this is of another kind: %s",
                               source->path, counts_format_name(format));
        TRY(add_file(source, source->path, true, &sections));
    }
    if (sections.count == 0)
        return status_make(STATUS_NOT_FOUND, "%s: there is no file *.h5ad in this directory", source->path);
    source->section = sections.name;
    source->inside->item = sections.item;
    source->count = sections.count;
    return STATUS_OK;
}

Status source_h5ad_tables(const Source *source, const SourceItem *item, Arena *arena, char ***out_names,
                          size_t *out_count) {
    Annotated a = {0};
    TRY(peek(source, item->path, &a));
    char **names = NULL;
    size_t count = 0;
    Status status = ARENA_NEW(arena, names, a.n_embeddings + 1);
    for (size_t i = 0; i < a.n_embeddings && status == STATUS_OK; i++) {
        const Embedding *e = &a.embedding[i];
        if (strcmp(e->name, "spatial") == 0 || e->width == 0) continue;
        status = ARENA_COPY(arena, names[count], e->name, strlen(e->name));
        count++;
    }
    annotated_free(&a);
    *out_names = names;
    *out_count = count;
    return status;
}

// ---- Spots ----------------------------------------------------------------------------------------

// Numbers of a column of obs; false if it has none.
static bool number(const Column *c, size_t row, double *out) {
    if (!c || (!c->real && !c->integer && !c->flag)) return false;
    *out = c->real ? c->real[row] : c->integer ? (double)c->integer[row] : (double)c->flag[row];
    return true;
}

// Where spots are, in this order: obsm spatial, obsm X_spatial, two columns of obs.
typedef struct Places {
    const Embedding *embedding;
    const Column *x, *y;
} Places;

static Status find_places(const char *path, const Annotated *a, Places *p) {
    static const char *const names[] = {"spatial", "X_spatial"};
    *p = (Places){0};
    for (int i = 0; i < 2 && !p->embedding; i++) {
        const Embedding *e = annotated_embedding(a, names[i]);
        if (e && e->width >= 2) p->embedding = e;
    }
    p->x = frame_column(&a->obs, "pxl_col_in_fullres");
    p->y = frame_column(&a->obs, "pxl_row_in_fullres");
    double value = 0;
    bool columns = a->obs.rows == 0 || (number(p->x, 0, &value) && number(p->y, 0, &value));
    if (p->embedding || (p->x && p->y && columns)) return STATUS_OK;
    Text list = {0};
    for (size_t i = 0; i < a->n_embeddings && i < 10; i++)
        text_printf(&list, "%s%s", i ? ", " : "", a->embedding[i].name);
    Status status =
        status_make(STATUS_NOT_FOUND,
                    "%s: there are no positions: obsm has no 'spatial' with two columns (x, y in pixels; it "
                    "has: %s), and obs no pxl_col_in_fullres and pxl_row_in_fullres",
                    path, list.length ? text_string(&list) : "nothing");
    text_free(&list);
    return status;
}

static void place_of(const Places *p, size_t row, double place[2]) {
    if (p->embedding) {
        memcpy(place, p->embedding->value + row * p->embedding->width, 2 * sizeof *place);
        return;
    }
    place[0] = place[1] = NAN;
    (void)(number(p->x, row, &place[0]) && number(p->y, row, &place[1]));
}

// Rows of the section: of its library, in tissue, with a place.
static Status pick_rows(const SourceItem *item, const Annotated *a, const Places *places, Section *s, Arena *scratch,
                        size_t **out_pick, size_t *out_count) {
    const Column *tissue = frame_column(&a->obs, "in_tissue");
    const Column *library = item->library ? frame_column(&a->obs, item->library_column) : NULL;
    size_t *pick = NULL, count = 0;
    NameIndex index;
    TRY(ARENA_NEW(scratch, pick, a->obs.rows + 1));
    TRY(name_index_init(&index, scratch, a->obs.rows + 1));
    if (item->library && !library)
        return status_make(STATUS_MISMATCH, "%s: it has changed since it was opened: obs has no column '%s' any more",
                           item->path, item->library_column);
    for (size_t r = 0; r < a->obs.rows; r++) {
        double inside = 1, place[2];
        if (library) {
            const char *name = text_of(library, r);
            if (!name || strcmp(name, item->library) != 0) continue;
        }
        if (number(tissue, r, &inside) && inside != 1) {
            s->n_not_selected++;
            continue;
        }
        place_of(places, r, place);
        if (!isfinite(place[0]) || !isfinite(place[1])) {
            s->n_not_joined++;
            continue;
        }
        if (!a->x.row_name || !a->x.row_name[r])
            return status_make(STATUS_MALFORMED, "%s: row %zu of obs has no name", item->path, r + 1);
        int64_t before = name_index_add(&index, a->x.row_name[r], (int64_t)r);
        if (before >= 0)
            return status_make(STATUS_MALFORMED,
                               "%s: spot %s occurs twice in this section (rows %lld and %zu of obs); make the names "
                               "unique, or give the libraries in uns['spatial'] and a column library_id",
                               item->path, a->x.row_name[r], (long long)before + 1, r + 1);
        pick[count++] = r;
    }
    if (s->n_not_joined) TRY(section_note(s, "%zu spots have no finite position and were left out", s->n_not_joined));
    if (count == 0)
        return status_make(STATUS_MISMATCH, "%s: no spot is left of %zu: %zu not in tissue, %zu without a position",
                           item->path, a->obs.rows, s->n_not_selected, s->n_not_joined);
    *out_pick = pick;
    *out_count = count;
    return STATUS_OK;
}

static bool whole(const Column *c, size_t row, double *out) {
    return number(c, row, out) && *out == floor(*out) && fabs(*out) <= 1e6;
}

static Status take_spots(const Annotated *a, const Places *places, const size_t *pick, size_t count, Section *s) {
    const Column *axis[2] = {frame_column(&a->obs, "array_col"), frame_column(&a->obs, "array_row")};
    double value = 0;
    TRY(source_spots(s, count));
    s->no_array = !axis[0] || !axis[1];
    for (size_t i = 0; i < count; i++) {
        const char *id = a->x.row_name[pick[i]];
        TRY(ARENA_COPY(&s->arena, s->ids[i], id, strlen(id)));
        place_of(places, pick[i], s->pixel + 2 * i);
        for (int x = 0; x < 2 && !s->no_array; x++) s->no_array = !whole(axis[x], pick[i], &value);
    }
    if (s->no_array && axis[0] && axis[1])
        TRY(section_note(s, "array_row and array_col of obs are not whole numbers for every spot and are not used"));
    for (size_t i = 0; i < 2 * count && !s->no_array; i++) {
        (void)whole(axis[i % 2], pick[i / 2], &value);
        s->array[i] = (int32_t)value;
        s->array_exact[i] = value;
    }
    return STATUS_OK;
}

// ---- Counts ---------------------------------------------------------------------------------------

static bool holds_counts(const Matrix *m) {
    for (int64_t e = 0; e < matrix_nnz(m); e++)
        if (!(m->value[e] >= 0) || m->value[e] != floorf(m->value[e])) return false;
    return true;
}

// Adds to an error which matrices of the file hold whole numbers.
static Status with_layers(const Source *source, const char *path, Status error) {
    CountsOptions options = {.limits = source->options.limits};
    Annotated a = {0};
    Text list = {0};
    Status status = counts_read(path, &options, &a);
    if (status != STATUS_OK) { // the first error says enough
        status_drop(status);
        return error;
    }
    size_t n = 0;
    if (a.has_x && holds_counts(&a.x)) text_printf(&list, "%sX", n++ ? ", " : "");
    for (size_t i = 0; i < a.n_layers; i++)
        if (holds_counts(&a.layer[i].matrix)) text_printf(&list, "%s%s", n++ ? ", " : "", a.layer[i].name);
    annotated_free(&a);
    StatusCode code = status_code(error);
    if (n > 0)
        status = status_make(code, "%s; whole numbers stand in: %s (name it: layer = \"...\")", status_message(error),
                             text_string(&list));
    else
        status =
            status_make(code, "%s; no matrix of this file (X, raw, layers) holds whole numbers: raw counts are needed",
                        status_message(error));
    text_free(&list);
    status_drop(error);
    return status;
}

static Status take_counts(const Source *source, const SourceItem *item, const Annotated *a, const size_t *pick,
                          Section *s) {
    const char *layer = source->options.layer ? source->options.layer : "X";
    if (source->options.no_counts) return STATUS_OK;
    Status status = a->has_x
                        ? source_counts(item->path, layer, &a->x, pick, s)
                        : status_make(STATUS_MISMATCH, "%s: the file has no X, where counts are expected", item->path);
    return status_code(status) == STATUS_MISMATCH ? with_layers(source, item->path, status) : status;
}

// ---- Picture --------------------------------------------------------------------------------------

static Status copy_picture(const Picture *from, Picture *out) {
    TRY(picture_create(from->width, from->height, (size_t)1 << 33, out));
    memcpy(out->rgb, from->rgb, from->width * from->height * 3);
    return STATUS_OK;
}

static Status find_library(const SourceItem *item, const Annotated *a, const SpatialLibrary **out) {
    *out = NULL;
    if (item->library) {
        int64_t at = library_number(a, item->library);
        if (at >= 0) *out = &a->library[at];
        return STATUS_OK;
    }
    bool hest = item->picture || item->no_picture; // one sample, one slide
    if (a->n_libraries <= 1 || hest) {
        *out = a->n_libraries ? &a->library[0] : NULL;
        return STATUS_OK;
    }
    return status_make(STATUS_MISMATCH,
                       "%s: uns['spatial'] holds %zu libraries (%s, %s%s), but no column of obs says which spot is on "
                       "which of them; add a column library_id with their names",
                       item->path, a->n_libraries, a->library[0].name, a->library[1].name,
                       a->n_libraries > 2 ? ", ..." : "");
}

static Status take_picture(const Source *source, const SourceItem *item, const Annotated *a, Section *s) {
    const SpatialLibrary *l = NULL;
    const char *file = source->options.image ? source->options.image : item->picture;
    TRY(find_library(item, a, &l));
    s->picture_scale = 1;
    if (l && l->spot_diameter_fullres > 0) s->spot_diameter = l->spot_diameter_fullres;
    if (file) {
        TRY(ARENA_COPY(&s->arena, s->image_path, file, strlen(file)));
        return section_input(s, file);
    }
    const struct {
        const char *name;
        const Picture *picture;
        double scale;
    } small[] = {{"hires", l ? &l->hires : NULL, l ? l->tissue_hires_scalef : NAN},
                 {"lowres", l ? &l->lowres : NULL, l ? l->tissue_lowres_scalef : NAN}};
    for (int i = 0; i < 2 && l; i++) {
        if (!small[i].picture->rgb || small[i].picture->width == 0) continue;
        if (!(small[i].scale > 0)) {
            TRY(section_note(s, "the %s picture of uns['spatial'] is not used: there is no scale factor for it",
                             small[i].name));
            continue;
        }
        s->picture_scale = small[i].scale;
        TRY(section_note(s,
                         "the %s picture of uns['spatial'] (%zu x %zu) is used, %.4g pixels for one of full resolution",
                         small[i].name, small[i].picture->width, small[i].picture->height, small[i].scale));
        return copy_picture(small[i].picture, &s->picture);
    }
    s->no_picture = item->no_picture
                        ? arena_copy(&s->arena, item->no_picture, strlen(item->no_picture))
                        : arena_printf(&s->arena,
                                       "%s holds no picture with a scale factor in uns['spatial'] (hires or "
                                       "lowres), and none was given",
                                       item->path);
    return s->no_picture ? STATUS_OK : arena_exhausted(1, 200);
}

// ---- All ------------------------------------------------------------------------------------------

// The patient, where one column of obs names the same for all spots.
static Status find_group(const Annotated *a, const size_t *pick, Section *s) {
    static const char *const names[] = {"patient", "donor_id", "donor"};
    for (int n = 0; n < 3; n++) {
        const Column *c = frame_column(&a->obs, names[n]);
        const char *first = c ? text_of(c, pick[0]) : NULL;
        bool same = first && *first;
        for (size_t i = 1; i < s->n_spots && same; i++) {
            const char *text = text_of(c, pick[i]);
            same = text && strcmp(text, first) == 0;
        }
        if (!same) continue;
        TRY(ARENA_COPY(&s->arena, s->group, first, strlen(first)));
        return STATUS_OK;
    }
    return STATUS_OK;
}

static Status fill(const Source *source, const SourceItem *item, const Annotated *a, char *const *tables,
                   size_t n_tables, Arena *scratch, Section *s) {
    Places places;
    size_t *pick = NULL, count = 0;
    TRY(find_places(item->path, a, &places));
    TRY(pick_rows(item, a, &places, s, scratch, &pick, &count));
    TRY(take_spots(a, &places, pick, count, s));
    TRY(take_counts(source, item, a, pick, s));
    TRY(source_spot_values(&a->obs, pick, s));
    TRY(take_picture(source, item, a, s));
    TRY(ARENA_NEW(&s->arena, s->tables, n_tables + 1));
    for (size_t t = 0; t < n_tables; t++) {
        const Embedding *e = annotated_embedding(a, tables[t]);
        if (!e || e->width == 0) return source_no_table(source, item, tables[t]);
        TRY(source_embedding(item->path, e, pick, s, &s->tables[t]));
        s->n_tables++;
    }
    s->microns_per_pixel = item->microns;
    if (!(item->microns > 0)) TRY(source_visium_microns(s));
    if (item->group) TRY(ARENA_COPY(&s->arena, s->group, item->group, strlen(item->group)));
    else TRY(find_group(a, pick, s));
    return source_notes(a, s);
}

Status source_read_h5ad(const Source *source, const SourceItem *item, char *const *tables, size_t n_tables,
                        Section *s) {
    CountsOptions options = {.limits = source->options.limits,
                             .layer = source->options.layer ? source->options.layer : "X",
                             .genes = source->options.no_counts ? no_genes : NULL};
    Annotated a = {0};
    Arena scratch;
    TRY(section_input(s, item->path));
    Status status = counts_read(item->path, &options, &a);
    if (status_code(status) == STATUS_NOT_FOUND && file_exists(item->path))
        return with_layers(source, item->path, status); // there is no such layer
    TRY(status);
    arena_init(&scratch);
    status = fill(source, item, &a, tables, n_tables, &scratch, s);
    arena_free(&scratch);
    annotated_free(&a);
    return status;
}

const SourceMethods source_h5ad = {open_h5ad, source_read_h5ad, source_h5ad_tables};
