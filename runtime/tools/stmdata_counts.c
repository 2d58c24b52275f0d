// stmdata_counts: what inspect says about counts, of one file or of a directory with several sections.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../data/compound.h"
#include "../data/counts.h"
#include "../data/hest.h"
#include "../data/legacy_st.h"
#include "../data/positions.h"
#include "stmdata.h"

// ---- One matrix ---------------------------------------------------------------------------------

typedef struct Totals {
    int64_t nnz;
    double sum, least, most;
    bool whole;
} Totals;

static Totals totals_of(const Matrix *m) {
    Totals t = {.whole = true, .least = INFINITY, .most = -INFINITY};
    int64_t stored = matrix_nnz(m);
    for (int64_t e = 0; e < stored; e++) {
        double v = m->value[e];
        t.nnz += v != 0;
        t.sum += v;
        if (v < t.least) t.least = v;
        if (v > t.most) t.most = v;
        t.whole = t.whole && v == floor(v);
    }
    if ((double)stored < (double)m->rows * (double)m->columns) { // the zeros
        if (t.least > 0) t.least = 0;
        if (t.most < 0) t.most = 0;
    }
    return t;
}

static const char *kind_name(ColumnKind kind) {
    switch (kind) {
    case COLUMN_REAL: return "real";
    case COLUMN_INTEGER: return "integer";
    case COLUMN_BOOL: return "bool";
    case COLUMN_TEXT: return "text";
    case COLUMN_CATEGORY: return "category";
    }
    return "unknown";
}

static void frame_facts(Sheet *sheet, const char *key, const char *label, const Frame *frame) {
    if (sheet->json) {
        sheet_table(sheet, key, label, NULL);
        for (size_t c = 0; c < frame->columns; c++) {
            const Column *column = &frame->column[c];
            sheet_row(sheet);
            sheet_cell_text(sheet, "name", column->name);
            sheet_cell_text(sheet, "kind", kind_name(column->kind));
            if (column->kind == COLUMN_CATEGORY) sheet_cell_count(sheet, "categories", (int64_t)column->categories);
            sheet_row_end(sheet);
        }
        sheet_table_end(sheet);
        return;
    }
    char **names = calloc(frame->columns + 1, sizeof *names);
    for (size_t c = 0; names && c < frame->columns; c++) {
        char words[200];
        const Column *column = &frame->column[c];
        if (column->kind == COLUMN_CATEGORY)
            snprintf(words, sizeof words, "%.120s (%zu categories)", column->name, column->categories);
        else snprintf(words, sizeof words, "%.120s (%s)", column->name, kind_name(column->kind));
        names[c] = strdup(words);
    }
    for (size_t c = 0; names && c < frame->columns; c++)
        if (!names[c]) names[c] = strdup("?");
    if (names) sheet_names(sheet, NULL, label, names, frame->columns);
    for (size_t c = 0; names && c < frame->columns; c++) free(names[c]);
    free(names);
}

static void embedding_facts(Sheet *sheet, const Annotated *a) {
    static const char *const headers[] = {"name", "columns", NULL};
    if (a->n_embeddings == 0 && !sheet->json) return;
    sheet_table(sheet, "obsm", "obsm", headers);
    for (size_t i = 0; i < a->n_embeddings; i++) {
        sheet_row(sheet);
        sheet_cell_text(sheet, "name", a->embedding[i].name);
        sheet_cell_count(sheet, "columns", (int64_t)a->embedding[i].width);
        sheet_row_end(sheet);
    }
    sheet_table_end(sheet);
}

static void layer_facts(Sheet *sheet, const Annotated *a) {
    static const char *const headers[] = {"name", "entries", "sum", NULL};
    if (a->n_layers == 0 && !sheet->json) return;
    sheet_table(sheet, "layers", "layers", headers);
    for (size_t i = 0; i < a->n_layers; i++) {
        Totals t = totals_of(&a->layer[i].matrix);
        sheet_row(sheet);
        sheet_cell_text(sheet, "name", a->layer[i].name);
        sheet_cell_count(sheet, "nnz", t.nnz);
        sheet_cell_number(sheet, "sum", t.sum);
        sheet_row_end(sheet);
    }
    sheet_table_end(sheet);
}

static void library_facts(Sheet *sheet, const Annotated *a) {
    static const char *const headers[] = {"library", "spot diameter", "hires", "hires scale",
                                          "lowres",  "lowres scale",  NULL};
    if (a->n_libraries == 0 && !sheet->json) return;
    sheet_table(sheet, "libraries", "pictures", headers);
    for (size_t i = 0; i < a->n_libraries; i++) {
        const SpatialLibrary *l = &a->library[i];
        int64_t hires[2] = {(int64_t)l->hires.width, (int64_t)l->hires.height};
        int64_t lowres[2] = {(int64_t)l->lowres.width, (int64_t)l->lowres.height};
        sheet_row(sheet);
        sheet_cell_text(sheet, "name", l->name);
        sheet_cell_number(sheet, "spot_diameter_fullres", l->has_scale ? l->spot_diameter_fullres : NAN);
        if (l->hires.rgb) sheet_cell_shape(sheet, "hires", hires, 2);
        else sheet_cell_text(sheet, NULL, "none");
        sheet_cell_number(sheet, "tissue_hires_scalef", l->has_scale ? l->tissue_hires_scalef : NAN);
        if (l->lowres.rgb) sheet_cell_shape(sheet, "lowres", lowres, 2);
        else sheet_cell_text(sheet, NULL, "none");
        sheet_cell_number(sheet, "tissue_lowres_scalef", l->has_scale ? l->tissue_lowres_scalef : NAN);
        sheet_row_end(sheet);
    }
    sheet_table_end(sheet);
}

static void matrix_facts(Sheet *sheet, const Annotated *a) {
    const Matrix *m = &a->x;
    Totals t = totals_of(m);
    char number[32];
    double cells = (double)m->rows * (double)m->columns;
    sheet_count(sheet, "obs", "observations", (int64_t)m->rows);
    sheet_count(sheet, "var", "genes", (int64_t)m->columns);
    if (!a->has_x) {
        sheet_line(sheet, "X", "none");
        sheet_text(sheet, "x", NULL, "none");
        return;
    }
    sheet_text(sheet, "x", NULL, a->x_was_dense ? "dense" : "sparse");
    sheet_count(sheet, "nnz", NULL, t.nnz);
    sheet_line(sheet, "entries", "%s not zero (%.3g %%)%s", sheet_grouped(t.nnz, number),
               cells > 0 ? 100 * (double)t.nnz / cells : 0.0, a->x_was_dense ? ", stored dense" : "");
    sheet_number(sheet, "sum", "sum", t.sum, "");
    if (t.least <= t.most) {
        sheet_line(sheet, "values", "%.6g to %.6g, %s", t.least, t.most, t.whole ? "whole numbers" : "with fractions");
        sheet_number(sheet, "min", NULL, t.least, "");
        sheet_number(sheet, "max", NULL, t.most, "");
    }
    if (sheet->json) {
        json_key(&sheet->writer, "whole_numbers");
        json_bool(&sheet->writer, t.whole);
    }
}

static void describe(Sheet *sheet, const char *path, const Annotated *a) {
    const char *source = a->source ? a->source : "counts";
    CountsFormat format = COUNTS_UNKNOWN;
    char words[256];
    if (is_directory(path)) status_drop(counts_detect(path, &format)); // a directory that could be read has a format
    snprintf(words, sizeof words, "%s, %s", counts_format_name(format), source);
    sheet_title(sheet, path, "counts", format == COUNTS_OUTS ? words : source);
    matrix_facts(sheet, a);
    frame_facts(sheet, "obs_columns", "obs", &a->obs);
    frame_facts(sheet, "var_columns", "var", &a->var);
    layer_facts(sheet, a);
    embedding_facts(sheet, a);
    library_facts(sheet, a);
    sheet_count(sheet, "duplicate_names", a->duplicate_names ? "renamed genes" : NULL, (int64_t)a->duplicate_names);
    if (a->joined || a->not_joined || sheet->json) {
        sheet_count(sheet, "joined", "joined", (int64_t)a->joined);
        sheet_count(sheet, "not_joined", a->not_joined ? "not joined" : NULL, (int64_t)a->not_joined);
    }
    sheet_notes(sheet, "notes", "notes", a->note, a->n_notes);
}

static CountsOptions options_of(const Arguments *arguments) {
    return (CountsOptions){.genome = arguments->genome,
                           .section = arguments->section,
                           .layer = arguments->layer,
                           .feature_type = "*",
                           .pictures = true};
}

// ---- Several in one -----------------------------------------------------------------------------

typedef struct Part {
    const char *name;
    size_t obs, var;
    Totals totals;
} Part;

// One table for all parts; `obs`, `nnz` and `sum` of the whole are sums over them.
static void describe_parts(Sheet *sheet, const char *what, const char *key, const Part *parts, size_t count) {
    const char *const headers[] = {what, "spots", "genes", "entries", "sum", NULL};
    Part all = {0};
    for (size_t i = 0; i < count; i++) {
        all.obs += parts[i].obs;
        all.totals.nnz += parts[i].totals.nnz;
        all.totals.sum += parts[i].totals.sum;
    }
    sheet_count(sheet, "obs", "observations", (int64_t)all.obs);
    sheet_count(sheet, "nnz", "entries", all.totals.nnz);
    sheet_number(sheet, "sum", "sum", all.totals.sum, "");
    sheet_table(sheet, key, key, headers);
    for (size_t i = 0; i < count; i++) {
        sheet_row(sheet);
        sheet_cell_text(sheet, "name", parts[i].name);
        sheet_cell_count(sheet, "obs", (int64_t)parts[i].obs);
        sheet_cell_count(sheet, "var", (int64_t)parts[i].var);
        sheet_cell_count(sheet, "nnz", parts[i].totals.nnz);
        sheet_cell_number(sheet, "sum", parts[i].totals.sum);
        sheet_row_end(sheet);
    }
    sheet_table_end(sheet);
}

static Status read_part(const char *path, const CountsOptions *options, const char *name, Part *part) {
    Annotated a;
    CountsOptions only = *options;
    only.only_x = true;
    TRY(counts_read(path, &only, &a));
    *part = (Part){name, a.x.rows, a.x.columns, totals_of(&a.x)};
    annotated_free(&a);
    return STATUS_OK;
}

static Status inspect_genomes(const Arguments *arguments, const char *path, const Hdf5Content *content, Sheet *sheet) {
    Part parts[MOST_GENOMES];
    for (size_t i = 0; i < content->n_genomes; i++) {
        CountsOptions options = options_of(arguments);
        options.genome = content->genome[i];
        TRY(read_part(path, &options, content->genome[i], &parts[i]));
    }
    sheet_title(sheet, path, "counts", "10x HDF5 v2, several genomes");
    describe_parts(sheet, "genome", "genomes", parts, content->n_genomes);
    sheet_line(sheet, "", "--genome NAME shows one of them.");
    return STATUS_OK;
}

static Status inspect_slides(const char *path, Sheet *sheet) {
    static const char *const headers[] = {"slide", "group", "spots", "values", "image", NULL};
    CompoundSlide *slides = NULL;
    size_t count = 0;
    TRY(compound_slides(path, (GuardLimits){0}, &slides, &count));
    sheet_title(sheet, path, "slides", "Elucidata HDF5");
    sheet_table(sheet, "slides", "slides", headers);
    for (size_t i = 0; i < count; i++) {
        int64_t size[2] = {(int64_t)slides[i].width, (int64_t)slides[i].height};
        sheet_row(sheet);
        sheet_cell_text(sheet, "name", slides[i].name);
        sheet_cell_text(sheet, "group", slides[i].group);
        sheet_cell_count(sheet, "spots", (int64_t)slides[i].spots);
        sheet_cell_count(sheet, "values", (int64_t)slides[i].values);
        sheet_cell_shape(sheet, "image", size, 2);
        sheet_row_end(sheet);
    }
    sheet_table_end(sheet);
    sheet_line(sheet, "", "--section SLIDE shows the values of one.");
    free(slides);
    return STATUS_OK;
}

static Status inspect_legacy(const char *path, Sheet *sheet) {
    Arena arena;
    char **names = NULL, **depths = NULL;
    size_t count = 0, n_depths = 0;
    Part *parts = NULL;
    arena_init(&arena);
    Status status = legacy_st_sections(path, &arena, &names, &count);
    if (status == STATUS_OK) status = legacy_st_depths(path, names, count, &arena, &depths, &n_depths);
    if (status == STATUS_OK) status = ARENA_NEW(&arena, parts, count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        CountsOptions options = {.section = names[i]};
        status = read_part(path, &options, names[i], &parts[i]);
    }
    if (status == STATUS_OK) {
        sheet_title(sheet, path, "counts", counts_format_name(COUNTS_LEGACY_ST));
        describe_parts(sheet, "section", "sections", parts, count);
        sheet_names(sheet, "proportions", "proportions", depths, n_depths);
        sheet_line(sheet, "", "--section NAME shows one of them.");
    }
    arena_free(&arena);
    return status;
}

static Status inspect_hest(const char *path, Sheet *sheet) {
    static const char *const headers[] = {"id", "organ", "technology", "spots", "µm/pixel", "files", NULL};
    HestTree tree;
    TRY(hest_open(path, &tree));
    sheet_title(sheet, path, "samples", counts_format_name(COUNTS_HEST));
    sheet_text(sheet, "table", "table", tree.table ? tree.table : "none: samples are those with files");
    sheet_count(sheet, "samples", "samples", (int64_t)tree.count);
    sheet_table(sheet, "sample", "samples", headers);
    for (size_t i = 0; i < tree.count; i++) {
        const HestSample *s = &tree.sample[i];
        char files[64];
        snprintf(files, sizeof files, "%s%s%s", s->has_counts ? "counts " : "", s->has_patches ? "patches " : "",
                 s->has_slide ? "slide" : "");
        sheet_row(sheet);
        sheet_cell_text(sheet, "id", s->id);
        sheet_cell_text(sheet, "organ", s->organ);
        sheet_cell_text(sheet, "technology", s->st_technology);
        sheet_cell_number(sheet, "spots", s->spots < 0 ? NAN : (double)s->spots);
        sheet_cell_number(sheet, "pixel_size_um", s->pixel_size_um);
        sheet_cell_text(sheet, "files", files);
        sheet_row_end(sheet);
    }
    sheet_table_end(sheet);
    hest_free(&tree);
    return STATUS_OK;
}

// ---- Space Ranger -------------------------------------------------------------------------------

// How the positions fit the full-resolution picture, as far as can be told from the low-resolution one.
static Status space_facts(const char *path, Sheet *sheet) {
    Arena arena;
    char *file = NULL;
    SpotPositions positions = {0};
    ScaleFactors factors;
    PositionsCheck check;
    size_t width = 0, height = 0;
    arena_init(&arena);
    Status status = positions_find(path, &arena, &file);
    char *scales = path_join(&arena, path, "spatial/scalefactors_json.json");
    char *lowres = path_join(&arena, path, "spatial/tissue_lowres_image.png");
    if (status == STATUS_OK && (!scales || !lowres)) status = arena_exhausted(1, 1);
    if (status != STATUS_OK || !file || !file_exists(scales)) goto done;
    TRY_OR(status, done, positions_read(file, &positions));
    TRY_OR(status, done, scale_factors_read(scales, &factors));
    ImageFile *image = NULL;
    if (file_exists(lowres) && !isnan(factors.tissue_lowres_scalef)) {
        TRY_OR(status, done, image_open(lowres, &image));
        width = image_info(image).width;
        height = image_info(image).height;
        image_close(image);
    }
    double scale = isnan(factors.tissue_lowres_scalef) ? 1 : factors.tissue_lowres_scalef;
    TRY_OR(status, done, positions_check(&positions, &factors, width, height, scale, &arena, &check));
    char all[32], inside[32];
    sheet_line(sheet, "positions", "%s, %s in tissue (%s)", sheet_grouped((int64_t)positions.count, all),
               sheet_grouped((int64_t)positions.n_in_tissue, inside), positions.source);
    sheet_count(sheet, "positions", NULL, (int64_t)positions.count);
    sheet_count(sheet, "in_tissue", NULL, (int64_t)positions.n_in_tissue);
    sheet_number(sheet, "spacing", "spot spacing", check.spacing, "pixels of the full picture");
    sheet_count(sheet, "outside", check.outside ? "outside" : NULL, (int64_t)check.outside);
    sheet_notes(sheet, "warnings", "warnings", check.warning, check.n_warnings);
done:
    positions_free(&positions);
    arena_free(&arena);
    return status;
}

// ---- Doors --------------------------------------------------------------------------------------

Status inspect_counts(const Arguments *arguments, const char *path, Sheet *sheet) {
    CountsOptions options = options_of(arguments);
    Annotated a;
    Status status = counts_read(path, &options, &a);
    if (status != STATUS_OK && status_code(status) == STATUS_INVALID && !is_directory(path)) {
        // a file of several parts: which of them?
        CountsFormat format = COUNTS_UNKNOWN;
        Hdf5Content content = {0};
        Status found = counts_detect(path, &format);
        if (found == STATUS_OK && format == COUNTS_10X_V2 && !arguments->genome) found = hdf5_look(path, &content);
        bool slides = found == STATUS_OK && format == COUNTS_ELUCIDATA && !arguments->section;
        status_drop(found);
        if (content.n_genomes > 1 || slides) {
            status_drop(status);
            return slides ? inspect_slides(path, sheet) : inspect_genomes(arguments, path, &content, sheet);
        }
    }
    TRY(status);
    describe(sheet, path, &a);
    annotated_free(&a);
    return STATUS_OK;
}

Status inspect_directory(const Arguments *arguments, const char *path, Sheet *sheet) {
    CountsFormat format;
    TRY(counts_detect(path, &format));
    if (format == COUNTS_LEGACY_ST && !arguments->section) return inspect_legacy(path, sheet);
    if (format == COUNTS_HEST && !arguments->section) return inspect_hest(path, sheet);
    TRY(inspect_counts(arguments, path, sheet));
    return format == COUNTS_OUTS ? space_facts(path, sheet) : STATUS_OK;
}
