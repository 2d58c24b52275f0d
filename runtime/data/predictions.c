// predictions: see predictions.h. The h5ad part follows anndata's on-disk format description: every group and
// dataset carries encoding-type and encoding-version.
#include "predictions.h"

#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "h5.h"

static Status check_predictions(const Predictions *p) {
    const StoreInfo *info = store_info(p->store);
    if (p->n_rows == 0 || p->n_columns == 0) return status_make(STATUS_INVALID, "no predictions to write");
    for (size_t i = 0; i < p->n_rows; i++)
        if (p->spots[i].section >= info->n_sections || p->spots[i].row >= info->sections[p->spots[i].section].n_spots)
            return status_make(STATUS_INVALID, "prediction %zu is for a spot that the store does not have", i);
    return STATUS_OK;
}

Status predictions_write(const char *path, const Predictions *predictions) {
    if (string_ends_with(path, ".csv")) return predictions_write_csv(path, predictions);
    if (string_ends_with(path, ".h5ad")) return predictions_write_h5ad(path, predictions);
    return status_make(STATUS_INVALID, "%s: predictions are written as .csv or .h5ad; choose one of these endings",
                       path);
}

// ---- CSV ----------------------------------------------------------------------------------------

static void add_csv_field(Text *line, const char *field) {
    if (!strpbrk(field, ",\"\r\n")) {
        text_add(line, field);
        return;
    }
    text_add(line, "\"");
    for (const char *p = field; *p; p++) {
        if (*p == '"') text_add(line, "\"");
        text_append(line, p, 1);
    }
    text_add(line, "\"");
}

static Status write_csv_lines(AtomicFile *file, const Predictions *p, Text *line) {
    const StoreInfo *info = store_info(p->store);
    text_add(line, "spot,section");
    for (size_t c = 0; c < p->n_columns; c++) {
        text_add(line, ",");
        add_csv_field(line, p->columns[c]);
    }
    for (size_t i = 0; i <= p->n_rows; i++) {
        text_add(line, "\n");
        TRY(text_status(line));
        TRY(atomic_write(file, text_string(line), line->length));
        if (i == p->n_rows) break;
        const StoreSection *section = &info->sections[p->spots[i].section];
        text_clear(line);
        add_csv_field(line, section->ids[p->spots[i].row]);
        text_add(line, ",");
        add_csv_field(line, section->name);
        for (size_t c = 0; c < p->n_columns; c++) {
            char number[NUMBER_TEXT];
            text_add(line, ",");
            text_append(line, number, number_f32(p->values[i * p->n_columns + c], number));
        }
    }
    return STATUS_OK;
}

Status predictions_write_csv(const char *path, const Predictions *predictions) {
    AtomicFile file;
    Text line = {0};
    TRY(check_predictions(predictions));
    TRY(atomic_open(&file, path));
    Status status = write_csv_lines(&file, predictions, &line);
    text_free(&line);
    if (status == STATUS_OK) return atomic_commit(&file);
    atomic_abort(&file);
    return status;
}

// ---- h5ad ---------------------------------------------------------------------------------------

typedef struct H5ad {
    const char *path; // the target, for messages
    hid_t file;
    const Predictions *p;
    const StoreInfo *info;
    Arena arena;
} H5ad;

static Status put_encoding(const H5ad *out, hid_t object, const char *type, const char *version) {
    TRY(h5_put_text(out->path, object, "encoding-type", type));
    return h5_put_text(out->path, object, "encoding-version", version);
}

static Status begin_group(const H5ad *out, hid_t parent, const char *name, const char *type, const char *version,
                          hid_t *out_group) {
    TRY(h5_group_create(out->path, parent, name, out_group));
    Status status = put_encoding(out, *out_group, type, version);
    if (status != STATUS_OK) h5_close(*out_group);
    return status;
}

static Status add_empty_dict(const H5ad *out, const char *name) {
    hid_t group = -1;
    TRY(begin_group(out, out->file, name, "dict", "0.1.0", &group));
    h5_close(group);
    return STATUS_OK;
}

// Marks a dataset that has just been written.
static Status mark(const H5ad *out, hid_t parent, const char *name, const char *type) {
    hid_t dataset = H5Dopen2(parent, name, H5P_DEFAULT);
    if (dataset < 0) return h5_error(out->path, "opening", name);
    Status status = put_encoding(out, dataset, type, "0.2.0");
    h5_close(dataset);
    return status;
}

static Status add_array(const H5ad *out, hid_t parent, const char *name, hid_t file_type, hid_t memory_type, int rank,
                        const hsize_t *dims, const void *data, H5Layout layout) {
    TRY(h5_write(out->path, parent, name, file_type, memory_type, rank, dims, data, layout));
    return mark(out, parent, name, "array");
}

static Status add_texts(const H5ad *out, hid_t parent, const char *name, char *const *values, size_t count) {
    TRY(h5_write_texts(out->path, parent, name, values, count));
    return mark(out, parent, name, "string-array");
}

static Status add_scalar(const H5ad *out, hid_t parent, const char *name, double value) {
    TRY(h5_write(out->path, parent, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 0, NULL, &value, (H5Layout){0}));
    return mark(out, parent, name, "numeric-scalar");
}

// anndata wants numpy's bool for `ordered`: an enum over i8.
static Status put_false(const H5ad *out, hid_t object, const char *name) {
    hid_t type = H5Tenum_create(H5T_STD_I8LE), space = H5Screate(H5S_SCALAR), attribute = -1;
    int8_t no = 0, yes = 1;
    bool ok =
        type >= 0 && space >= 0 && H5Tenum_insert(type, "FALSE", &no) >= 0 && H5Tenum_insert(type, "TRUE", &yes) >= 0;
    if (ok) attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    ok = ok && attribute >= 0 && H5Awrite(attribute, type, &no) >= 0;
    Status status = ok ? STATUS_OK : h5_error(out->path, "writing attribute", name);
    h5_close(attribute);
    h5_close(space);
    h5_close(type);
    return status;
}

// The sections that occur, and per section its category number (-1: absent).
static Status find_categories(H5ad *out, int32_t **out_category, char ***out_names, size_t *out_count) {
    int32_t *category = NULL;
    char **names = NULL;
    size_t count = 0;
    TRY(ARENA_NEW(&out->arena, category, out->info->n_sections));
    TRY(ARENA_NEW(&out->arena, names, out->info->n_sections));
    for (size_t s = 0; s < out->info->n_sections; s++) category[s] = -1;
    for (size_t i = 0; i < out->p->n_rows; i++) category[out->p->spots[i].section] = 0;
    for (size_t s = 0; s < out->info->n_sections; s++) {
        if (category[s] < 0) continue;
        category[s] = (int32_t)count;
        names[count++] = (char *)out->info->sections[s].name;
    }
    *out_category = category;
    *out_names = names;
    *out_count = count;
    return STATUS_OK;
}

static Status add_section_column(H5ad *out, hid_t obs, const int32_t *category, char *const *names, size_t n_names) {
    hid_t group = -1;
    int32_t *codes = NULL;
    hsize_t n[1] = {out->p->n_rows};
    TRY(ARENA_NEW(&out->arena, codes, out->p->n_rows));
    for (size_t i = 0; i < out->p->n_rows; i++) codes[i] = category[out->p->spots[i].section];
    TRY(begin_group(out, obs, "section", "categorical", "0.2.0", &group));
    Status status = put_false(out, group, "ordered");
    if (status == STATUS_OK) status = add_texts(out, group, "categories", names, n_names);
    hid_t code_type = n_names <= 127 ? H5T_STD_I8LE : H5T_STD_I32LE; // pandas' own choice for few categories
    if (status == STATUS_OK)
        status = add_array(out, group, "codes", code_type, H5T_NATIVE_INT32, 1, n, codes, (H5Layout){0});
    h5_close(group);
    return status;
}

static Status fill_obs(H5ad *out, hid_t obs, const int32_t *category, char *const *names, size_t n_names) {
    static char *const columns[] = {"spot", "section", "array_col", "array_row", "pixel_x", "pixel_y"};
    size_t n = out->p->n_rows;
    hsize_t dims[1] = {n};
    char **index = NULL, **ids = NULL;
    int32_t *array[2] = {NULL, NULL};
    double *pixel[2] = {NULL, NULL};
    TRY(ARENA_NEW(&out->arena, index, n));
    TRY(ARENA_NEW(&out->arena, ids, n));
    for (int axis = 0; axis < 2; axis++) {
        TRY(ARENA_NEW(&out->arena, array[axis], n));
        TRY(ARENA_NEW(&out->arena, pixel[axis], n));
    }
    for (size_t i = 0; i < n; i++) {
        SpotRef spot = out->p->spots[i];
        const StoreSection *section = &out->info->sections[spot.section];
        ids[i] = section->ids[spot.row];
        index[i] = n_names == 1 ? ids[i] : arena_printf(&out->arena, "%s_%s", section->name, ids[i]);
        if (!index[i]) return arena_exhausted(n, sizeof *index);
        for (int axis = 0; axis < 2; axis++) {
            array[axis][i] = section->array[2 * spot.row + (size_t)axis];
            pixel[axis][i] = section->pixel[2 * spot.row + (size_t)axis];
        }
    }
    TRY(h5_put_text(out->path, obs, "_index", "_index"));
    TRY(h5_put_texts(out->path, obs, "column-order", columns, 6));
    TRY(add_texts(out, obs, "_index", index, n));
    TRY(add_texts(out, obs, "spot", ids, n));
    TRY(add_section_column(out, obs, category, names, n_names));
    for (int axis = 0; axis < 2; axis++) {
        TRY(add_array(out, obs, columns[2 + axis], H5T_STD_I32LE, H5T_NATIVE_INT32, 1, dims, array[axis],
                      (H5Layout){0}));
        TRY(add_array(out, obs, columns[4 + axis], H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 1, dims, pixel[axis],
                      (H5Layout){0}));
    }
    return STATUS_OK;
}

static Status add_obs(H5ad *out, const int32_t *category, char *const *names, size_t n_names) {
    hid_t obs = -1;
    TRY(begin_group(out, out->file, "obs", "dataframe", "0.2.0", &obs));
    Status status = fill_obs(out, obs, category, names, n_names);
    h5_close(obs);
    return status;
}

static Status add_var(H5ad *out) {
    hid_t var = -1;
    TRY(begin_group(out, out->file, "var", "dataframe", "0.2.0", &var));
    Status status = h5_put_text(out->path, var, "_index", "_index");
    if (status == STATUS_OK) status = h5_put_texts(out->path, var, "column-order", NULL, 0);
    if (status == STATUS_OK) status = add_texts(out, var, "_index", (char *const *)out->p->columns, out->p->n_columns);
    h5_close(var);
    return status;
}

static Status add_obsm(H5ad *out) {
    hid_t obsm = -1;
    double *pixel = NULL;
    hsize_t dims[2] = {out->p->n_rows, 2};
    TRY(ARENA_NEW(&out->arena, pixel, out->p->n_rows * 2));
    for (size_t i = 0; i < out->p->n_rows; i++)
        memcpy(pixel + 2 * i, out->info->sections[out->p->spots[i].section].pixel + 2 * out->p->spots[i].row,
               2 * sizeof *pixel);
    TRY(begin_group(out, out->file, "obsm", "dict", "0.1.0", &obsm));
    Status status = add_array(out, obsm, "spatial", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, dims, pixel, (H5Layout){0});
    h5_close(obsm);
    return status;
}

static Status add_layers(H5ad *out) {
    hid_t layers = -1;
    hsize_t dims[2] = {out->p->n_rows, out->p->n_columns};
    TRY(begin_group(out, out->file, "layers", "dict", "0.1.0", &layers));
    Status status = STATUS_OK;
    if (out->p->truth)
        status =
            add_array(out, layers, "truth", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, dims, out->p->truth, (H5Layout){0});
    h5_close(layers);
    return status;
}

// uns/spatial/SECTION: images/hires and scalefactors.
static Status fill_spatial(H5ad *out, hid_t group, size_t s) {
    const StoreSection *section = &out->info->sections[s];
    hid_t images = -1, factors = -1;
    Picture picture = {0};
    TRY(store_read_thumbnail(out->p->store, s, &picture));
    hsize_t dims[3] = {picture.height, picture.width, 3};
    hsize_t chunk[3] = {picture.height < 64 ? picture.height : 64, picture.width, 3};
    H5Layout packed = {.chunk = chunk, .deflate = 4};
    Status status = begin_group(out, group, "images", "dict", "0.1.0", &images);
    if (status == STATUS_OK)
        status = add_array(out, images, "hires", H5T_STD_U8LE, H5T_NATIVE_UINT8, 3, dims, picture.rgb, packed);
    picture_free(&picture);
    h5_close(images);
    if (status == STATUS_OK) status = begin_group(out, group, "scalefactors", "dict", "0.1.0", &factors);
    if (status == STATUS_OK) status = add_scalar(out, factors, "tissue_hires_scalef", section->thumbnail_scale_x);
    // A spot of these arrays is half as wide as the array step (100 µm of 200 µm).
    double diameter = 0.25 * (section->pitch_x + section->pitch_y);
    if (status == STATUS_OK) status = add_scalar(out, factors, "spot_diameter_fullres", diameter);
    h5_close(factors);
    return status;
}

static Status add_spatial(H5ad *out, hid_t uns, const int32_t *category) {
    hid_t spatial = -1;
    TRY(begin_group(out, uns, "spatial", "dict", "0.1.0", &spatial));
    Status status = STATUS_OK;
    for (size_t s = 0; s < out->info->n_sections && status == STATUS_OK; s++) {
        if (category[s] < 0) continue;
        hid_t group = -1;
        status = begin_group(out, spatial, out->info->sections[s].name, "dict", "0.1.0", &group);
        if (status == STATUS_OK) status = fill_spatial(out, group, s);
        h5_close(group);
    }
    h5_close(spatial);
    return status;
}

static Status add_text_scalar(const H5ad *out, hid_t parent, const char *name, const char *value) {
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type < 0 || H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0) {
        h5_close(type);
        return h5_error(out->path, "writing", name);
    }
    Status status = h5_write(out->path, parent, name, type, type, 0, NULL, &value, (H5Layout){0});
    h5_close(type);
    return status == STATUS_OK ? mark(out, parent, name, "string") : status;
}

static Status add_uns(H5ad *out, const int32_t *category) {
    hid_t uns = -1;
    TRY(begin_group(out, out->file, "uns", "dict", "0.1.0", &uns));
    Status status = add_spatial(out, uns, category);
    if (status == STATUS_OK && out->p->program) status = add_text_scalar(out, uns, "program", out->p->program);
    h5_close(uns);
    return status;
}

static Status write_h5ad(H5ad *out) {
    const Predictions *p = out->p;
    int32_t *category = NULL;
    char **names = NULL;
    size_t n_names = 0;
    hsize_t dims[2] = {p->n_rows, p->n_columns};
    TRY(find_categories(out, &category, &names, &n_names));
    TRY(put_encoding(out, out->file, "anndata", "0.1.0"));
    TRY(add_array(out, out->file, "X", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, dims, p->values, (H5Layout){0}));
    TRY(add_obs(out, category, names, n_names));
    TRY(add_var(out));
    TRY(add_obsm(out));
    TRY(add_layers(out));
    TRY(add_uns(out, category));
    TRY(add_empty_dict(out, "obsp"));
    TRY(add_empty_dict(out, "varm"));
    return add_empty_dict(out, "varp");
}

Status predictions_write_h5ad(const char *path, const Predictions *predictions) {
    AtomicFile file;
    TRY(check_predictions(predictions));
    TRY(atomic_reserve(&file, path));
    H5ad out = {.path = path, .file = -1, .p = predictions, .info = store_info(predictions->store)};
    arena_init(&out.arena);
    H5Output output;
    Status status = h5_output_create(path, file.temporary, false, &output);
    if (status == STATUS_OK) {
        out.file = output.file;
        status = write_h5ad(&out);
        Status closed = h5_output_close(&output);
        if (closed != STATUS_OK) { // the true reason of whatever failed before
            status_drop(status);
            status = closed;
        }
    }
    arena_free(&out.arena);
    if (status == STATUS_OK) return atomic_commit(&file);
    atomic_abort(&file);
    return status;
}
