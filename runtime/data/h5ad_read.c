// h5ad_read: AnnData files. X, obs and var first, then whatever of layers, raw, obsm and uns/spatial there is; parts of
// other kinds are named in the notes. obsp, varm, varp and the rest of uns are not read.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"
#include "counts_inside.h"
#include "h5.h"
#include "h5_numbers.h"

typedef struct Reading {
    const MatrixReader *r;
    const CountsOptions *o;
    Annotated *a;
    Picked picked; // of var
    size_t rows, file_columns;
} Reading;

static Status shape_mismatch(const Reading *h, const char *name, const MatrixForm *form, size_t columns) {
    return status_make(STATUS_MALFORMED, "%s: '%s' is %zu x %zu where obs has %zu rows and var %zu", h->r->f->path,
                       name, form->rows, form->columns, h->rows, columns);
}

// A matrix beside obs and `columns` variables.
static Status read_matrix(const Reading *h, const char *name, size_t columns, const ColumnChoice *choice, Matrix *out,
                          bool *out_dense, char **out_words) {
    MatrixForm form;
    TRY(matrix_form(h->r, h->r->f->file, name, &form, out_words));
    if (!form.dense && form.rows == 0 && form.columns == 0) form.rows = h->rows, form.columns = columns; // none stated
    if (form.rows != h->rows || form.columns != columns) return shape_mismatch(h, name, &form, columns);
    TRY(matrix_read(h->r, h->r->f->file, name, &form, choice, out));
    *out_dense = form.dense;
    if (form.repeats)
        return annotated_note(h->a, "%s: %zu entries shared their place with another and were added to it", name,
                              form.repeats);
    return STATUS_OK;
}

static Status add_layer(Annotated *a, const char *name, const Matrix *matrix) {
    Layer *more = NULL;
    TRY(ARENA_NEW(&a->arena, more, a->n_layers + 1));
    if (a->n_layers) memcpy(more, a->layer, a->n_layers * sizeof *more);
    more[a->n_layers].matrix = *matrix;
    TRY(ARENA_COPY(&a->arena, more[a->n_layers].name, name, strlen(name)));
    a->layer = more;
    a->n_layers++;
    return STATUS_OK;
}

static Status add_embedding(Annotated *a, const char *name, double *values, size_t width, char **columns) {
    Embedding *more = NULL;
    TRY(ARENA_NEW(&a->arena, more, a->n_embeddings + 1));
    if (a->n_embeddings) memcpy(more, a->embedding, a->n_embeddings * sizeof *more);
    more[a->n_embeddings] = (Embedding){.width = width, .value = values, .column = columns};
    TRY(ARENA_COPY(&a->arena, more[a->n_embeddings].name, name, strlen(name)));
    a->embedding = more;
    a->n_embeddings++;
    return STATUS_OK;
}

// ---- layers and raw -----------------------------------------------------------------------------

static Status read_layers(const Reading *h) {
    hid_t group = -1;
    char **names = NULL, *words = NULL;
    size_t count = 0;
    TRY(foreign_group(h->r->f, h->r->f->file, "layers", &group));
    if (group < 0) return STATUS_OK;
    Status status = foreign_names(h->r->f, group, "layers", &h->a->arena, &names, &count);
    h5_close(group);
    TRY(status);
    for (size_t i = 0; i < count; i++) {
        Matrix layer = {0};
        bool dense = false;
        char path[FOREIGN_NAME];
        if (snprintf(path, sizeof path, "layers/%s", names[i]) >= (int)sizeof path) continue;
        TRY(read_matrix(h, path, h->file_columns, &h->picked.choice, &layer, &dense, &words));
        TRY(add_layer(h->a, names[i], &layer));
    }
    return STATUS_OK;
}

// Where raw stands: raw/X since 0.7, raw.X before.
static Status find_raw(const MatrixReader *r, const char **out_x, const char **out_var) {
    ForeignKind kind;
    *out_x = *out_var = NULL;
    TRY(foreign_kind(r->f, r->f->file, "raw/X", &kind));
    if (kind != FOREIGN_NOTHING) *out_x = "raw/X", *out_var = "raw/var";
    else TRY(foreign_kind(r->f, r->f->file, "raw.X", &kind));
    if (!*out_x && kind != FOREIGN_NOTHING) *out_x = "raw.X", *out_var = "raw.var";
    return STATUS_OK;
}

// raw has variables of its own; its matrix carries their names.
static Status read_raw(const Reading *h) {
    const char *x = NULL, *var = NULL;
    TRY(find_raw(h->r, &x, &var));
    if (!x) return STATUS_OK;
    Annotated *a = h->a;
    Frame frame;
    char **names = NULL, *words = NULL;
    bool dense = false;
    Picked picked;
    Matrix matrix = {0};
    TRY(h5ad_frame_read(h->r, h->r->f->file, var, false, &a->arena, &frame, &names, a));
    size_t var_rows = frame.rows;
    // What picking and placing set is X's; it is put back after they have been used for raw.
    Matrix of_x = a->x;
    Frame of_var = a->var;
    size_t duplicates = a->duplicate_names, missing = a->genes_missing;
    Status status = pick_columns(h->r->f->path, h->o, names, NULL, NULL, var_rows, a, &picked);
    if (status == STATUS_OK) status = place_columns(&picked, names, NULL, &frame, a);
    char **placed = a->x.column_name;
    a->x = of_x;
    a->var = of_var;
    a->duplicate_names = duplicates;
    a->genes_missing = missing;
    if (status_code(status) == STATUS_MISMATCH) {
        status_drop(status);
        return annotated_note(a, "raw holds none of the genes asked for and was left out");
    }
    TRY(status);
    TRY(read_matrix(h, x, var_rows, &picked.choice, &matrix, &dense, &words));
    matrix.column_name = placed;
    return add_layer(a, "raw", &matrix);
}

// ---- obsm ---------------------------------------------------------------------------------------

// The compound table of 2018: every field an array.
static Status read_old_obsm(const Reading *h, hid_t table) {
    hid_t type = H5Dget_type(table);
    int fields = H5Tget_class(type) == H5T_COMPOUND ? H5Tget_nmembers(type) : 0;
    Status status = STATUS_OK;
    for (int i = 0; i < fields && status == STATUS_OK; i++) {
        char *name = H5Tget_member_name(type, (unsigned)i);
        hid_t field = H5Tget_member_type(type, (unsigned)i);
        hsize_t width = 1;
        bool array = H5Tget_class(field) == H5T_ARRAY;
        hid_t base = array ? H5Tget_super(field) : H5Tcopy(field);
        H5T_class_t found = H5Tget_class(base);
        bool readable = name && valid_utf8(name, strlen(name)) && (found == H5T_FLOAT || found == H5T_INTEGER) &&
                        (!array || (H5Tget_array_ndims(field) == 1 && H5Tget_array_dims2(field, &width) == 1)) &&
                        width > 0 && width <= 1 << 20;
        double *values = readable ? guard_take(h->r->block, h->rows * width + 1, sizeof *values) : NULL;
        if (!readable) status = annotated_note(h->a, "obsm '%s' is of a kind that is not read", name ? name : "?");
        else if (!values) status = guard_exhausted(h->r->block, h->r->f->path, h->rows * width, sizeof *values);
        else {
            hid_t item = array ? H5Tarray_create2(H5T_NATIVE_DOUBLE, 1, &width) : H5Tcopy(H5T_NATIVE_DOUBLE);
            hid_t memory = H5Tcreate(H5T_COMPOUND, (size_t)width * sizeof(double));
            if (H5Tinsert(memory, name, 0, item) < 0 ||
                (h->rows && H5Dread(table, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0))
                status = h5_error(h->r->f->path, "reading obsm field", name);
            else status = add_embedding(h->a, name, values, (size_t)width, NULL);
            h5_close(memory);
            h5_close(item);
        }
        h5_close(base);
        h5_close(field);
        H5free_memory(name);
    }
    h5_close(type);
    return status;
}

// A table: its columns of numbers side by side, with their names (cell-type abundances are kept so).
static Status read_obsm_table(const Reading *h, hid_t obsm, const char *name) {
    Frame frame;
    Annotated *a = h->a;
    char **index = NULL, **columns = NULL;
    size_t width = 0;
    TRY(h5ad_frame_read(h->r, obsm, name, true, &a->arena, &frame, &index, a));
    if (frame.rows != h->rows)
        return status_make(STATUS_MALFORMED, "%s: obsm '%s' has %zu rows where obs has %zu", h->r->f->path, name,
                           frame.rows, h->rows);
    TRY(ARENA_NEW(&a->arena, columns, frame.columns + 1));
    double *values = guard_take(h->r->block, h->rows * frame.columns + 1, sizeof *values);
    if (!values) return guard_exhausted(h->r->block, h->r->f->path, h->rows * frame.columns, sizeof *values);
    for (size_t c = 0; c < frame.columns; c++)
        if (frame.column[c].real || frame.column[c].integer || frame.column[c].flag)
            columns[width++] = frame.column[c].name;
    for (size_t c = 0, at = 0; c < frame.columns; c++) {
        const Column *from = &frame.column[c];
        if (!from->real && !from->integer && !from->flag) continue;
        for (size_t r = 0; r < h->rows; r++)
            values[r * width + at] = from->real      ? from->real[r]
                                     : from->integer ? (double)from->integer[r]
                                                     : (double)from->flag[r];
        at++;
    }
    if (width < frame.columns)
        TRY(annotated_note(a, "obsm '%s': %zu of %zu columns are not numbers and were left out", name,
                           frame.columns - width, frame.columns));
    return add_embedding(a, name, values, width, columns);
}

static Status read_obsm_group(const Reading *h, hid_t group) {
    char **names = NULL;
    size_t count = 0;
    TRY(foreign_names(h->r->f, group, "obsm", &h->a->arena, &names, &count));
    for (size_t i = 0; i < count; i++) {
        ForeignKind kind;
        double *values = NULL;
        size_t width = 0;
        TRY(foreign_kind(h->r->f, group, names[i], &kind));
        if (kind == FOREIGN_DATASET) {
            TRY(dense_read_f64(h->r, group, names[i], h->rows, &values, &width));
            TRY(add_embedding(h->a, names[i], values, width, NULL));
            continue;
        }
        hid_t item = -1;
        ForeignKind sparse = FOREIGN_NOTHING;
        TRY(foreign_group(h->r->f, group, names[i], &item));
        if (item < 0) continue;
        Status status = foreign_kind(h->r->f, item, "indptr", &sparse);
        h5_close(item);
        TRY(status);
        if (sparse == FOREIGN_NOTHING) TRY(read_obsm_table(h, group, names[i]));
        else TRY(annotated_note(h->a, "obsm '%s' is a sparse matrix, which is not read", names[i]));
    }
    return STATUS_OK;
}

static Status read_obsm(const Reading *h) {
    ForeignKind kind;
    TRY(foreign_kind(h->r->f, h->r->f->file, "obsm", &kind));
    if (kind == FOREIGN_GROUP) {
        hid_t group = -1;
        TRY(foreign_group(h->r->f, h->r->f->file, "obsm", &group));
        Status status = read_obsm_group(h, group);
        h5_close(group);
        return status;
    }
    if (kind != FOREIGN_DATASET) return STATUS_OK;
    hid_t table = -1;
    int rank = 0;
    hsize_t dims[4];
    TRY(foreign_dataset(h->r->f, h->r->f->file, "obsm", &table, &rank, dims));
    Status status = rank == 1 && dims[0] == h->rows ? read_old_obsm(h, table) : STATUS_OK;
    h5_close(table);
    return status;
}

// ---- uns/spatial --------------------------------------------------------------------------------

static uint8_t byte_of(double value, double scale) {
    double v = value * scale;
    return v <= 0 || isnan(v) ? 0 : v >= 255 ? 255 : (uint8_t)(v + 0.5);
}

// Pictures are H x W x 3 or 4, bytes or floating point in 0 .. 1 (or, seen in the wild, 0 .. 255).
static Status read_picture(const Reading *h, hid_t images, const char *name, Picture *out) {
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4];
    TRY(foreign_dataset(h->r->f, images, name, &dataset, &rank, dims));
    hid_t type = H5Dget_type(dataset);
    H5T_class_t found = H5Tget_class(type);
    bool bytes = found == H5T_INTEGER && H5Tget_size(type) == 1;
    Status status = STATUS_OK;
    float *real = NULL;
    uint8_t *raw = NULL;
    size_t channels = rank == 3 ? (size_t)dims[2] : 1;
    if (rank < 2 || dims[0] == 0 || dims[1] == 0) goto done; // pictures of length 0 stand for none
    if (rank > 3 || (channels != 1 && channels != 3 && channels != 4) || dims[0] > IMAGE_LONGEST_SIDE ||
        dims[1] > IMAGE_LONGEST_SIDE || (found != H5T_INTEGER && found != H5T_FLOAT)) {
        status = annotated_note(h->a, "uns/spatial picture '%s' is not height x width x 3 and was left out", name);
        goto done;
    }
    size_t pixels = (size_t)dims[0] * (size_t)dims[1];
    out->rgb = guard_take(h->r->block, pixels, 3);
    if (!out->rgb) {
        status = guard_exhausted(h->r->block, h->r->f->path, pixels, 3);
        goto done;
    }
    if (bytes) raw = malloc(pixels * channels);
    else real = malloc(pixels * channels * sizeof *real);
    if (!raw && !real) status = arena_exhausted(pixels, channels);
    else if (H5Dread(dataset, bytes ? H5T_NATIVE_UINT8 : H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                     bytes ? (void *)raw : (void *)real) < 0)
        status = h5_error(h->r->f->path, "reading picture", name);
    double most = 0;
    for (size_t i = 0; status == STATUS_OK && real && i < pixels * channels; i++)
        if ((double)real[i] > most) most = (double)real[i];
    double scale = found == H5T_FLOAT && most <= 1.0 ? 255 : 1;
    for (size_t i = 0; status == STATUS_OK && i < pixels; i++)
        for (size_t c = 0; c < 3; c++) {
            size_t at = i * channels + (channels == 1 ? 0 : c);
            out->rgb[i * 3 + c] = raw ? raw[at] : byte_of((double)real[at], scale);
        }
    out->height = (size_t)dims[0];
    out->width = (size_t)dims[1];
done:
    free(raw);
    free(real);
    h5_close(type);
    h5_close(dataset);
    if (status != STATUS_OK) *out = (Picture){0};
    return status;
}

static Status read_images(const Reading *h, hid_t library, SpatialLibrary *out) {
    hid_t images = -1;
    char **names = NULL;
    size_t count = 0;
    TRY(foreign_group(h->r->f, library, "images", &images));
    if (images < 0) return STATUS_OK;
    Status status = foreign_names(h->r->f, images, "images", &h->a->arena, &names, &count);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        ForeignKind kind;
        TRY_OR(status, done, foreign_kind(h->r->f, images, names[i], &kind));
        bool low = strcmp(names[i], "lowres") == 0;
        bool high = strcmp(names[i], "hires") == 0 || strcmp(names[i], "downscaled_fullres") == 0;
        if (kind != FOREIGN_DATASET) continue;
        if (low && !out->lowres.rgb) status = read_picture(h, images, names[i], &out->lowres);
        else if (high && !out->hires.rgb) status = read_picture(h, images, names[i], &out->hires);
        else status = annotated_note(h->a, "uns/spatial picture '%s' was left out", names[i]);
    }
done:
    h5_close(images);
    return status;
}

static Status read_scales(const Reading *h, hid_t library, SpatialLibrary *out) {
    hid_t group = -1;
    bool found = false, fullres = false;
    double downscaled = NAN;
    TRY(foreign_group(h->r->f, library, "scalefactors", &group));
    if (group < 0) return STATUS_OK;
    struct {
        const char *name;
        double *value;
    } wanted[] = {{"spot_diameter_fullres", &out->spot_diameter_fullres},
                  {"tissue_hires_scalef", &out->tissue_hires_scalef},
                  {"tissue_lowres_scalef", &out->tissue_lowres_scalef},
                  {"fiducial_diameter_fullres", &out->fiducial_diameter_fullres},
                  {"tissue_downscaled_fullres_scalef", &downscaled}};
    Status status = STATUS_OK;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && status == STATUS_OK; i++) {
        status = foreign_number(h->r->f, group, wanted[i].name, wanted[i].value, &found);
        out->has_scale = out->has_scale || found;
        fullres = found;
    }
    if (fullres && isnan(out->tissue_hires_scalef)) out->tissue_hires_scalef = downscaled; // HEST-1k's name for it
    h5_close(group);
    return status;
}

static Status read_libraries(const Reading *h) {
    hid_t spatial = -1;
    char **names = NULL;
    size_t count = 0;
    Annotated *a = h->a;
    TRY(foreign_group(h->r->f, h->r->f->file, "uns/spatial", &spatial));
    if (spatial < 0) return STATUS_OK;
    Status status = foreign_names(h->r->f, spatial, "uns/spatial", &a->arena, &names, &count);
    if (status == STATUS_OK) status = ARENA_NEW(&a->arena, a->library, count + 1);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        hid_t library = -1;
        status = foreign_group(h->r->f, spatial, names[i], &library);
        if (status != STATUS_OK || library < 0) continue;
        SpatialLibrary *l = &a->library[a->n_libraries++];
        *l = (SpatialLibrary){.name = names[i],
                              .spot_diameter_fullres = NAN,
                              .tissue_hires_scalef = NAN,
                              .tissue_lowres_scalef = NAN,
                              .fiducial_diameter_fullres = NAN};
        status = read_images(h, library, l);
        if (status == STATUS_OK) status = read_scales(h, library, l);
        h5_close(library);
    }
    h5_close(spatial);
    return status;
}

// ---- All ----------------------------------------------------------------------------------------

// Which matrix is to be X: X itself, a layer, or raw.
static Status choose_x(const MatrixReader *r, const CountsOptions *o, Arena *arena, const char **out_x,
                       const char **out_var) {
    ForeignKind kind;
    *out_x = "X";
    *out_var = "var";
    if (!o->layer || strcmp(o->layer, "X") == 0) return STATUS_OK;
    if (strcmp(o->layer, "raw") == 0) TRY(find_raw(r, out_x, out_var));
    else *out_x = arena_printf(arena, "layers/%s", o->layer);
    kind = FOREIGN_NOTHING;
    if (*out_x) TRY(foreign_kind(r->f, r->f->file, *out_x, &kind));
    if (kind == FOREIGN_NOTHING)
        return status_make(STATUS_NOT_FOUND, "%s: there is no layer '%s'", r->f->path, o->layer);
    return STATUS_OK;
}

Status h5ad_read(const MatrixReader *r, const CountsOptions *o, Annotated *a) {
    Reading h = {.r = r, .o = o, .a = a};
    Frame var;
    ForeignKind kind;
    char **names = NULL, *words = "no X";
    const char *x = NULL, *var_name = NULL;
    TRY(choose_x(r, o, &a->arena, &x, &var_name));
    TRY(h5ad_frame_read(r, r->f->file, "obs", !o->only_x, &a->arena, &a->obs, &a->x.row_name, a));
    char **rows = a->x.row_name;
    TRY(h5ad_frame_read(r, r->f->file, var_name, !o->only_x, &a->arena, &var, &names, a));
    h.rows = a->obs.rows;
    h.file_columns = var.rows;
    if (h.rows > INT32_MAX || h.file_columns > INT32_MAX)
        return status_make(STATUS_UNSUPPORTED, "%s: %zu rows of %zu columns are more than are read", r->f->path, h.rows,
                           h.file_columns);
    const Column *gene_ids = frame_column(&var, "gene_ids");
    char **ids = gene_ids && gene_ids->kind == COLUMN_TEXT ? gene_ids->text : NULL;
    TRY(pick_columns(r->f->path, o, names, ids, NULL, h.file_columns, a, &h.picked));
    TRY(foreign_kind(r->f, r->f->file, x, &kind));
    a->has_x = kind != FOREIGN_NOTHING;
    bool no_columns = o->genes && o->n_genes == 0;
    if (a->has_x && !no_columns)
        TRY(read_matrix(&h, x, h.file_columns, &h.picked.choice, &a->x, &a->x_was_dense, &words));
    else TRY(matrix_nothing(r, h.rows, h.picked.count, &a->x));
    a->x.row_name = rows;
    TRY(place_columns(&h.picked, names, ids, &var, a));
    if (!o->only_x) {
        if (!o->layer && !no_columns) TRY(read_layers(&h));
        if (!o->layer && !no_columns) TRY(read_raw(&h));
        TRY(read_obsm(&h));
        TRY(read_libraries(&h));
    }
    char *type = NULL, *version = NULL;
    TRY(foreign_text_attribute(r->f, r->f->file, "encoding-type", &a->arena, &type));
    TRY(foreign_text_attribute(r->f, r->f->file, "encoding-version", &a->arena, &version));
    bool old = false;
    TRY(foreign_kind(r->f, r->f->file, "obs", &kind));
    old = kind == FOREIGN_DATASET;
    a->source = arena_printf(&a->arena, "h5ad %s, %s",
                             version ? version
                             : old   ? "of compound tables (before 0.7)"
                                     : "0.7",
                             words);
    return a->source ? STATUS_OK : arena_exhausted(1, 64);
}
