// stmdata_work: the commands that make something: region, hvg, convert; and check.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../data/counts.h"
#include "../data/h5ad_write.h"
#include "../data/hvg.h"
#include "../data/normalise.h"
#include "../data/npy.h"
#include "../data/slide.h"
#include "../data/store.h"
#include "../report/png.h"
#include "stmdata.h"

enum { MOST_REGION = 1 << 30 }; // bytes of pixels

Status whole_number(const char *what, const char *text, int64_t low, int64_t high, int64_t *out) {
    if (parse_i64(text, strlen(text), out) && *out >= low && *out <= high) return STATUS_OK;
    char shown[QUOTED_TEXT];
    return status_make(STATUS_INVALID, "%s: %s is not a whole number from %lld to %lld", what,
                       quoted(text, strlen(text), shown), (long long)low, (long long)high);
}

static Status ending_error(const char *path, const char *endings) {
    return status_make(STATUS_INVALID, "--out %s: the name must end in %s", path, endings);
}

// ---- region -------------------------------------------------------------------------------------

static Status region_numbers(const Arguments *a, int64_t numbers[4], int64_t *out_level) {
    static const char *const names[] = {"X", "Y", "W", "H"};
    for (int i = 0; i < 4; i++)
        TRY(whole_number(names[i], a->words[1 + i], i < 2 ? -IMAGE_LONGEST_SIDE : 1, IMAGE_LONGEST_SIDE, &numbers[i]));
    *out_level = 0;
    if (a->level) TRY(whole_number("--level", a->level, 0, 1000, out_level));
    if (numbers[2] > 65535 || numbers[3] > 65535)
        return status_make(STATUS_INVALID, "a PNG has sides of at most 65535 pixels; ask for a smaller region");
    return string_ends_with(a->out, ".png") ? STATUS_OK : ending_error(a->out, ".png");
}

Status check_region(const Arguments *a) {
    int64_t numbers[4], level;
    return region_numbers(a, numbers, &level);
}

Status command_region(const Arguments *a) {
    int64_t n[4], level = 0;
    Slide *slide = NULL;
    Picture picture = {0};
    TRY(region_numbers(a, n, &level));
    TRY(slide_open(a->words[0], NULL, &slide));
    size_t levels = slide_info(slide).n_levels;
    Status status = STATUS_OK;
    if ((size_t)level >= levels)
        status = status_make(STATUS_NOT_FOUND, "%s: there is no level %lld; it has %zu, counted from 0", a->words[0],
                             (long long)level, levels);
    if (status == STATUS_OK) status = picture_create((size_t)n[2], (size_t)n[3], MOST_REGION, &picture);
    if (status == STATUS_OK)
        status = slide_read(slide, (size_t)level, n[0], n[1], (size_t)n[2], (size_t)n[3], SLIDE_STRICT, picture.rgb);
    if (status == STATUS_OK) status = png_write_rgb(a->out, picture.width, picture.height, picture.rgb);
    if (status == STATUS_OK)
        printf("%s: %lld x %lld pixels from (%lld, %lld) of level %lld\n", a->out, (long long)n[2], (long long)n[3],
               (long long)n[0], (long long)n[1], (long long)level);
    picture_free(&picture);
    slide_close(slide);
    return status;
}

// ---- hvg ----------------------------------------------------------------------------------------

static void csv_text(Text *text, const char *field) {
    if (!strpbrk(field, ",\"\r\n")) {
        text_add(text, field);
        return;
    }
    text_add(text, "\"");
    for (const char *p = field; *p; p++) text_append(text, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
    text_add(text, "\"");
}

static void csv_number(Text *text, double value) {
    char number[NUMBER_TEXT];
    text_add(text, ",");
    if (!isnan(value)) text_append(text, number, number_f64(value, number));
}

static Status write_genes(const char *path, const Matrix *m, const HvgResult *r, bool v3) {
    Text text = {0};
    text_add(&text,
             v3 ? "gene,rank,mean,variance,variance_normalised\n" : "gene,mean,dispersion,dispersion_normalised\n");
    for (size_t k = 0; k < r->count; k++) {
        size_t g = r->gene[k];
        csv_text(&text, m->column_name && m->column_name[g] ? m->column_name[g] : "");
        if (v3) text_printf(&text, ",%zu", k + 1);
        csv_number(&text, r->mean[g]);
        csv_number(&text, r->variance[g]);
        csv_number(&text, r->score[g]);
        text_add(&text, "\n");
    }
    Status status = text_status(&text);
    if (status == STATUS_OK) status = file_write_atomic(path, text_string(&text), text.length);
    text_free(&text);
    return status;
}

Status hvg_options(const Arguments *a, HvgOptions *out) {
    int64_t n = 0;
    *out = (HvgOptions){.flavour = HVG_SEURAT};
    if (a->flavor && strcmp(a->flavor, "seurat_v3") == 0) out->flavour = HVG_SEURAT_V3;
    else if (a->flavor && strcmp(a->flavor, "seurat") != 0)
        return status_make(STATUS_INVALID, "--flavor %s: seurat or seurat_v3", a->flavor);
    TRY(whole_number("--n", a->n, 1, INT32_MAX, &n));
    out->genes = (size_t)n;
    return STATUS_OK;
}

// seurat works on logarithms: counts are normalised to 10,000 per spot first, as the five systems do; values with
// fractions are taken as they are.
static Status prepare_values(Matrix *m, bool *out_normalised) {
    int64_t nnz = matrix_nnz(m);
    *out_normalised = nnz > 0;
    for (int64_t e = 0; e < nnz && *out_normalised; e++) *out_normalised = m->value[e] == floorf(m->value[e]);
    if (!*out_normalised) return STATUS_OK;
    NormaliseOptions options = {.target_sum = 1e4};
    TRY(normalise_total(m, &options, NULL));
    return matrix_log1p(m);
}

Status check_hvg(const Arguments *a) {
    HvgOptions options;
    TRY(hvg_options(a, &options));
    return string_ends_with(a->out, ".csv") ? STATUS_OK : ending_error(a->out, ".csv");
}

Status command_hvg(const Arguments *a) {
    HvgOptions options;
    HvgResult result = {0};
    Annotated counts;
    bool normalised = false;
    TRY(hvg_options(a, &options));
    CountsOptions reading = {.genome = a->genome, .section = a->section, .layer = a->layer, .only_x = true};
    TRY(counts_read(a->words[0], &reading, &counts));
    bool v3 = options.flavour == HVG_SEURAT_V3;
    Status status = STATUS_OK;
    if (!counts.has_x)
        status = status_make(STATUS_MISMATCH, "%s: it has no X; --layer NAME takes a layer", a->words[0]);
    if (status == STATUS_OK && !v3) status = prepare_values(&counts.x, &normalised);
    if (status == STATUS_OK) status = hvg_select(&counts.x, &options, &result);
    if (status != STATUS_OK) status = status_context(status, "%s", a->words[0]);
    else status = write_genes(a->out, &counts.x, &result, v3);
    if (status == STATUS_OK)
        printf("%s: %zu of %zu genes over %zu spots, %s%s\n", a->out, result.count, counts.x.columns, counts.x.rows,
               v3 ? "seurat_v3 on the values as they are" : "seurat",
               v3           ? ""
               : normalised ? " on ln(1 + counts per 10,000)"
                            : " on the values as they are");
    hvg_free(&result);
    annotated_free(&counts);
    return status;
}

// ---- convert ------------------------------------------------------------------------------------

static Status write_rows(AtomicFile *file, const Matrix *m, Text *line, float *values) {
    text_add(line, "spot");
    for (size_t c = 0; c < m->columns; c++) {
        text_add(line, ",");
        csv_text(line, m->column_name && m->column_name[c] ? m->column_name[c] : "");
    }
    for (size_t r = 0; r <= m->rows; r++) {
        text_add(line, "\n");
        TRY(text_status(line));
        TRY(atomic_write(file, text_string(line), line->length));
        if (r == m->rows) break;
        text_clear(line);
        if (m->row_name && m->row_name[r]) csv_text(line, m->row_name[r]);
        else text_printf(line, "%zu", r);
        matrix_row(m, r, values);
        for (size_t c = 0; c < m->columns; c++) {
            char number[NUMBER_TEXT];
            text_add(line, ",");
            text_append(line, number, number_f32(values[c], number));
        }
    }
    return STATUS_OK;
}

static Status write_csv(const char *path, const Matrix *m) {
    AtomicFile file;
    Text line = {0};
    float *values = malloc((m->columns + 1) * sizeof *values);
    if (!values) return arena_exhausted(m->columns, sizeof *values);
    Status status = atomic_open(&file, path);
    if (status == STATUS_OK) {
        status = write_rows(&file, m, &line, values);
        if (status == STATUS_OK) status = atomic_commit(&file);
        else atomic_abort(&file);
    }
    text_free(&line);
    free(values);
    return status;
}

// As scipy.sparse.save_npz lays out compressed rows, with the names beside.
static Status write_npz(const char *path, const Matrix *m) {
    static const char *const format[] = {"csr"};
    const int64_t shape[] = {(int64_t)m->rows, (int64_t)m->columns}, nnz = matrix_nnz(m);
    NpyArray arrays[] = {
        {.name = "format", .rank = 0, .text = format},
        {.name = "shape", .type = ELEMENT_I64, .rank = 1, .shape = {2}, .data = shape},
        {.name = "data", .type = ELEMENT_F32, .rank = 1, .shape = {nnz}, .data = m->value},
        {.name = "indices", .type = ELEMENT_I32, .rank = 1, .shape = {nnz}, .data = m->column},
        {.name = "indptr", .type = ELEMENT_I64, .rank = 1, .shape = {shape[0] + 1}, .data = m->start},
        {.name = "spots", .rank = 1, .shape = {shape[0]}, .text = (const char *const *)m->row_name},
        {.name = "genes", .rank = 1, .shape = {shape[1]}, .text = (const char *const *)m->column_name},
    };
    bool named = m->row_name && m->column_name;
    return npz_write(path, arrays, sizeof arrays / sizeof *arrays - (named ? 0 : 2));
}

Status check_convert(const Arguments *a) {
    static const char *const endings[] = {".h5ad", ".csv", ".npz"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (string_ends_with(a->out, endings[i])) return STATUS_OK;
    return ending_error(a->out, ".h5ad, .csv or .npz");
}

Status command_convert(const Arguments *a) {
    Annotated counts;
    bool h5ad = string_ends_with(a->out, ".h5ad");
    CountsOptions reading = {
        .genome = a->genome, .section = a->section, .layer = a->layer, .pictures = h5ad, .only_x = !h5ad};
    TRY(counts_read(a->words[0], &reading, &counts));
    H5adOptions options = {.form = a->dense ? H5AD_DENSE : H5AD_AS_READ, .deflate = 4};
    Status status = STATUS_OK;
    if (h5ad) status = h5ad_write(a->out, &counts, &options);
    else if (!counts.has_x) status = status_make(STATUS_MISMATCH, "%s: it has no X to write", a->words[0]);
    else if (string_ends_with(a->out, ".npz")) status = write_npz(a->out, &counts.x);
    else status = write_csv(a->out, &counts.x);
    if (status == STATUS_OK)
        printf("%s: %zu spots, %zu genes, %lld entries\n", a->out, counts.x.rows, counts.x.columns,
               (long long)matrix_nnz(&counts.x));
    for (size_t i = 0; i < counts.n_notes && status == STATUS_OK; i++) printf("  %s\n", counts.note[i]);
    annotated_free(&counts);
    return status;
}

// ---- check --------------------------------------------------------------------------------------

Status command_check(const Arguments *a) {
    Store *store = NULL;
    FileLook look;
    Hdf5Content content;
    const char *path = a->words[0];
    TRY(look_at(path, &look));
    if (look != LOOK_HDF5)
        return status_make(STATUS_MALFORMED, "%s: not a store: it is no HDF5 file, or its header is damaged", path);
    TRY(hdf5_look(path, &content));
    TRY(store_open(path, &store));
    Status status = store_check(store);
    const StoreInfo *info = store_info(store);
    if (status == STATUS_OK) {
        printf("%s: sound: %zu section%s, %zu spots, %zu genes, %zu tables, ", path, info->n_sections,
               info->n_sections == 1 ? "" : "s", info->n_spots, info->n_genes, info->n_tables);
        if (info->tile_size) printf("tiles of %zu x %zu\n", info->tile_size, info->tile_size);
        else printf("no tiles\n");
    }
    store_close(store);
    return status;
}
