// stmdata_map: the command map: a gene, or a column of obs, over the tissue it was measured in.
//
// A column of categories, texts or truth values is drawn in the colours of categories, and so are whole numbers of few
// different values (clusters); everything else by a continuous palette.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../data/counts.h"
#include "../report/map.h"
#include "stmdata.h"
#include "stmdata_ground.h"

enum { FEW = 12, MOST_TEXTS = 500 }; // different whole numbers that are taken for categories; different texts

// What the spots show: values or categories.
typedef struct Shown {
    Arena arena;
    const char *what, *unit;
    float *value;      // [n], or
    int32_t *category; // [n] with
    char **names;      // [n_categories]
    size_t n_categories;
} Shown;

Status check_map(const Arguments *a) {
    Palette palette;
    if (!a->gene == !a->column)
        return status_make(STATUS_INVALID, "give either --gene NAME or --column NAME: what the spots are to show");
    if (a->palette) TRY(palette_find(a->palette, &palette));
    if (a->column && a->layer) return status_make(STATUS_INVALID, "--layer goes with --gene, not with --column");
    if (string_ends_with(a->out, ".png")) return STATUS_OK;
    return status_make(STATUS_INVALID, "--out %s: the name must end in .png", a->out);
}

// ---- What is shown ------------------------------------------------------------------------------

// The reader says that the gene is not there; which one may have been meant?
static Status suggest_gene(const Arguments *a, const CountsOptions *wanted) {
    CountsOptions options = *wanted;
    Annotated all;
    options.genes = NULL;
    options.n_genes = 0;
    options.only_x = true;
    TRY(counts_read(a->words[0], &options, &all));
    const char *close = closest_name(a->gene, (const char *const *)all.x.column_name, all.x.columns);
    Status status =
        close ? status_make(STATUS_NOT_FOUND, "%s: there is no gene %s; did you mean %s?", a->words[0], a->gene, close)
              : status_make(STATUS_NOT_FOUND, "%s: there is no gene %s among its %zu genes", a->words[0], a->gene,
                            all.x.columns);
    annotated_free(&all);
    return status;
}

static Status read_counts(const Arguments *a, Annotated *out) {
    char *gene[1] = {(char *)a->gene};
    CountsOptions options = {
        .genome = a->genome, .section = a->section, .layer = a->layer, .feature_type = "*", .pictures = true};
    if (a->gene) {
        options.genes = gene;
        options.n_genes = 1;
    }
    Status status = counts_read(a->words[0], &options, out);
    if (status == STATUS_OK && a->gene && !out->has_x) {
        annotated_free(out);
        return status_make(STATUS_MISMATCH, "%s: it has no X; --layer NAME takes a layer", a->words[0]);
    }
    bool absent = status != STATUS_OK && a->gene && status_code(status) == STATUS_MISMATCH &&
                  strstr(status_message(status), "genes asked for");
    if (!absent) return status;
    status_drop(status);
    return suggest_gene(a, &options);
}

static Status take_gene(const Annotated *a, const size_t *rows, size_t n, Shown *s) {
    const Matrix *m = &a->x;
    bool whole = true;
    TRY(ARENA_NEW(&s->arena, s->value, n + 1));
    for (size_t i = 0; i < n; i++) {
        size_t row = rows ? rows[i] : i;
        s->value[i] = m->start[row] < m->start[row + 1] ? m->value[m->start[row]] : 0; // X has this column only
        whole = whole && s->value[i] >= 0 && s->value[i] == floorf(s->value[i]);
    }
    s->unit = whole ? "counts" : "value";
    return STATUS_OK;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_number(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static Status take_texts(const char *path, const Column *c, const size_t *rows, size_t n, Shown *s) {
    size_t kept = 0;
    NameIndex index;
    TRY(ARENA_NEW(&s->arena, s->names, n + 1));
    for (size_t i = 0; i < n; i++) s->names[i] = c->text[rows ? rows[i] : i];
    qsort(s->names, n, sizeof *s->names, by_text);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(s->names[kept - 1], s->names[i]) != 0) s->names[kept++] = s->names[i];
    if (kept > MOST_TEXTS)
        return status_make(STATUS_MISMATCH,
                           "%s: column %s holds %zu different texts; a map shows at most %d categories", path, c->name,
                           kept, MOST_TEXTS);
    s->n_categories = kept;
    TRY(name_index_init(&index, &s->arena, kept));
    for (size_t k = 0; k < kept; k++) name_index_add(&index, s->names[k], (int64_t)k);
    for (size_t i = 0; i < n; i++) s->category[i] = (int32_t)name_index_find(&index, c->text[rows ? rows[i] : i]);
    return STATUS_OK;
}

// Whole numbers of at most FEW different values become categories; *out_few tells.
static Status take_few(const Column *c, const size_t *rows, size_t n, Shown *s, bool *out_few) {
    int64_t different[FEW];
    size_t kept = 0;
    for (size_t i = 0; i < n && kept <= FEW; i++) {
        int64_t value = c->integer[rows ? rows[i] : i];
        size_t k = 0;
        while (k < kept && different[k] != value) k++;
        if (k < kept) continue;
        if (kept == FEW) return STATUS_OK;
        different[kept++] = value;
    }
    qsort(different, kept, sizeof *different, by_number);
    TRY(ARENA_NEW(&s->arena, s->names, kept + 1));
    for (size_t k = 0; k < kept; k++)
        if (!(s->names[k] = arena_printf(&s->arena, "%lld", (long long)different[k]))) return arena_exhausted(1, 24);
    s->n_categories = kept;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < kept; k++)
            if (different[k] == c->integer[rows ? rows[i] : i]) s->category[i] = (int32_t)k;
    *out_few = true;
    return STATUS_OK;
}

static Status no_column(const char *path, const Frame *obs, const char *name) {
    Text list = {0};
    const char **names = calloc(obs->columns + 1, sizeof *names);
    if (!names) return status_make(STATUS_NO_MEMORY, "no memory for %zu names", obs->columns);
    for (size_t c = 0; c < obs->columns; c++) {
        names[c] = obs->column[c].name;
        if (c < 20) text_printf(&list, "%s%s", c ? ", " : "", names[c]);
    }
    const char *close = closest_name(name, names, obs->columns);
    Status status = close
                        ? status_make(STATUS_NOT_FOUND, "%s: obs has no column %s; did you mean %s?", path, name, close)
                        : status_make(STATUS_NOT_FOUND, "%s: obs has no column %s; it has %s%s", path, name,
                                      obs->columns ? text_string(&list) : "none", obs->columns > 20 ? ", …" : "");
    text_free(&list);
    free(names);
    return status;
}

static Status take_column(const Arguments *a, const Annotated *counts, const size_t *rows, size_t n, Shown *s) {
    const Column *c = frame_column(&counts->obs, a->column);
    bool few = false, numbers = a->palette || a->log;
    if (!c) return no_column(a->words[0], &counts->obs, a->column);
    TRY(ARENA_NEW(&s->arena, s->category, n + 1));
    if (c->kind == COLUMN_CATEGORY) {
        s->names = c->category;
        s->n_categories = c->categories;
        for (size_t i = 0; i < n; i++) s->category[i] = c->code[rows ? rows[i] : i];
    } else if (c->kind == COLUMN_BOOL) {
        static char *const truth[] = {"false", "true"};
        s->names = (char **)truth;
        s->n_categories = 2;
        for (size_t i = 0; i < n; i++) s->category[i] = c->flag[rows ? rows[i] : i] != 0;
    } else if (c->kind == COLUMN_TEXT) {
        TRY(take_texts(a->words[0], c, rows, n, s));
    } else if (c->kind == COLUMN_INTEGER && !numbers) {
        TRY(take_few(c, rows, n, s, &few));
    }
    if (c->kind != COLUMN_REAL && (c->kind != COLUMN_INTEGER || few)) {
        if (numbers)
            return status_make(STATUS_INVALID, "%s: column %s holds categories; --palette and --log are for numbers",
                               a->words[0], a->column);
        return STATUS_OK;
    }
    s->category = NULL;
    TRY(ARENA_NEW(&s->arena, s->value, n + 1));
    for (size_t i = 0; i < n; i++) {
        size_t row = rows ? rows[i] : i;
        s->value[i] = (float)(c->kind == COLUMN_REAL ? c->real[row] : (double)c->integer[row]);
    }
    s->unit = "value";
    return STATUS_OK;
}

static Status take_logarithm(const Arguments *a, size_t n, Shown *s) {
    for (size_t i = 0; i < n; i++) {
        if (s->value[i] < 0)
            return status_make(STATUS_MISMATCH, "%s: %s has values below 0, such as %g; --log is for counts",
                               a->words[0], s->what, (double)s->value[i]);
        s->value[i] = log1pf(s->value[i]);
    }
    s->unit = strcmp(s->unit, "counts") == 0 ? "ln(1 + counts)" : "ln(1 + value)";
    return STATUS_OK;
}

// ---- Several libraries in one table -------------------------------------------------------------

// The library of --section and its rows, by the column of obs that names libraries. *out_rows NULL: all rows.
static Status pick_library(const Arguments *a, const Annotated *counts, Arena *arena, size_t *out_library,
                           size_t **out_rows, size_t *out_count) {
    *out_library = 0;
    *out_rows = NULL;
    if (counts->n_libraries < 2) return STATUS_OK;
    size_t library = counts->n_libraries;
    Text names = {0};
    for (size_t l = 0; l < counts->n_libraries; l++) {
        text_printf(&names, "%s%s", l ? ", " : "", counts->library[l].name);
        if (a->section && strcmp(counts->library[l].name, a->section) == 0) library = l;
    }
    Status status = library < counts->n_libraries
                        ? STATUS_OK
                        : status_make(a->section ? STATUS_NOT_FOUND : STATUS_INVALID,
                                      "%s: it holds several sections; name one with --section: %s", a->words[0],
                                      text_string(&names));
    text_free(&names);
    TRY(status);
    for (size_t c = 0; c < counts->obs.columns; c++) {
        const Column *column = &counts->obs.column[c];
        int32_t code = -1;
        if (column->kind != COLUMN_CATEGORY) continue;
        for (size_t k = 0; k < column->categories; k++)
            if (strcmp(column->category[k], counts->library[library].name) == 0) code = (int32_t)k;
        if (code < 0) continue;
        TRY(ARENA_NEW(arena, *out_rows, counts->x.rows + 1));
        for (size_t r = 0; r < counts->x.rows; r++)
            if (column->code[r] == code) (*out_rows)[(*out_count)++] = r;
        *out_library = library;
        return STATUS_OK;
    }
    return status_make(STATUS_MISMATCH, "%s: no column of obs says which spots belong to section %s", a->words[0],
                       counts->library[library].name);
}

// ---- The command --------------------------------------------------------------------------------

static Status draw(const Arguments *a, const Ground *g, const Shown *s) {
    char spots[32], subtitle[300], text[400] = "";
    const char *plural = g->n_spots == 1 ? "" : "s";
    MapPanel panel = {NULL, s->value};
    snprintf(subtitle, sizeof subtitle, "%.120s%s%.100s, %s spot%s", path_base(a->words[0]), a->section ? ", " : "",
             a->section ? a->section : "", sheet_grouped((int64_t)g->n_spots, spots), plural);
    for (size_t k = 0; k < g->n_notes; k++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", k ? "; " : "", g->note[k]);
    SpatialMap map = {
        .title = s->what,
        .subtitle = subtitle,
        .note = *text ? text : NULL,
        .image = g->picture.rgb,
        .image_width = g->picture.width,
        .image_height = g->picture.height,
        .image_scale_x = g->scale_x,
        .image_scale_y = g->scale_y,
        .n_spots = g->n_spots,
        .xy = g->xy,
        .spot_diameter = g->spot_diameter,
        .square = g->square,
        .unit_in_microns = g->unit_in_microns,
        .n_panels = 1,
        .panels = &panel,
        .value_name = s->category ? NULL : s->unit,
        .category = s->category,
        .category_names = (const char *const *)s->names,
        .n_categories = s->n_categories,
        .panel_side = 800,
    };
    if (a->palette) TRY(palette_find(a->palette, &map.palette));
    TRY(map_write_png(a->out, &map));
    printf("%s: %s over %s spot%s, %s", a->out, s->what, spots, plural, g->source);
    if (g->unit_in_microns > 0) printf(", a pixel is %.4g µm\n", g->unit_in_microns);
    else printf(", the size of a pixel is not known\n");
    for (size_t k = 0; k < g->n_notes; k++) printf("  %s\n", g->note[k]);
    return STATUS_OK;
}

static Status show(const Arguments *a, const Annotated *counts, const size_t *rows, size_t n, size_t library,
                   Shown *s) {
    Ground ground;
    s->what = a->gene ? a->gene : a->column;
    TRY(a->gene ? take_gene(counts, rows, n, s) : take_column(a, counts, rows, n, s));
    if (a->log && s->value) TRY(take_logarithm(a, n, s));
    TRY(ground_find(a->words[0], a->section, counts, library, rows, n, a->image, &ground));
    Status status = draw(a, &ground, s);
    ground_free(&ground);
    return status;
}

Status command_map(const Arguments *a) {
    Annotated counts;
    Shown shown = {0};
    size_t library = 0, *rows = NULL, n = 0;
    TRY(read_counts(a, &counts));
    arena_init(&shown.arena);
    Status status = pick_library(a, &counts, &shown.arena, &library, &rows, &n);
    if (status == STATUS_OK) status = show(a, &counts, rows, rows ? n : counts.x.rows, library, &shown);
    arena_free(&shown.arena);
    annotated_free(&counts);
    return status;
}
