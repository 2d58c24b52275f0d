// h5ad_write: see h5ad_write.h. Follows anndata's on-disk format description: every group and dataset carries
// encoding-type and encoding-version.
#include "h5ad_write.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "h5.h"

enum {
    MOST_COLUMNS = 3500,    // an attribute holds 64 KiB, a name of column-order takes 16 bytes of it
    CHUNK_ENTRIES = 65536,  // of data and indices
    CHUNK_BYTES = 1 << 18,  // of a dense block, about
    BLOCK_BYTES = 16 << 20, // made dense at a time
};

typedef struct H5ad {
    const char *path; // the target, for messages
    hid_t file;
    const Annotated *a;
    const H5adOptions *o;
    size_t rows, columns;
    Arena arena;
} H5ad;

// ---- Elements -----------------------------------------------------------------------------------

static Status put_encoding(const H5ad *out, hid_t object, const char *type, const char *version) {
    TRY(h5_put_text(out->path, object, "encoding-type", type));
    return h5_put_text(out->path, object, "encoding-version", version);
}

// Names become links of the file, where '/' separates groups.
static Status check_name(const H5ad *out, const char *what, const char *name) {
    if (*name && !strchr(name, '/') && strcmp(name, ".") != 0) return STATUS_OK;
    return status_make(STATUS_UNSUPPORTED,
                       "%s: the %s '%s' cannot be written to h5ad, where names are not empty and "
                       "hold no '/'; rename it",
                       out->path, what, name);
}

static Status begin_group(const H5ad *out, hid_t parent, const char *name, const char *type, const char *version,
                          hid_t *out_group) {
    TRY(h5_group_create(out->path, parent, name, out_group));
    Status status = put_encoding(out, *out_group, type, version);
    if (status != STATUS_OK) h5_close(*out_group);
    return status;
}

static Status begin_dict(const H5ad *out, hid_t parent, const char *name, hid_t *out_group) {
    return begin_group(out, parent, name, "dict", "0.1.0", out_group);
}

static Status add_empty_dict(const H5ad *out, const char *name) {
    hid_t group = -1;
    TRY(begin_dict(out, out->file, name, &group));
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

static Status add_number(const H5ad *out, hid_t parent, const char *name, double value) {
    TRY(h5_write(out->path, parent, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 0, NULL, &value, (H5Layout){0}));
    return mark(out, parent, name, "numeric-scalar");
}

static Status add_text(const H5ad *out, hid_t parent, const char *name, const char *value) {
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type < 0 || H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0) {
        h5_close(type);
        return h5_error(out->path, "writing", name);
    }
    Status status = h5_write(out->path, parent, name, type, type, 0, NULL, &value, (H5Layout){0});
    h5_close(type);
    return status == STATUS_OK ? mark(out, parent, name, "string") : status;
}

// numpy's bool: an enum over i8. The caller closes it.
static Status bool_type(const H5ad *out, hid_t *out_type) {
    int8_t no = 0, yes = 1;
    *out_type = H5Tenum_create(H5T_STD_I8LE);
    if (*out_type >= 0 && H5Tenum_insert(*out_type, "FALSE", &no) >= 0 && H5Tenum_insert(*out_type, "TRUE", &yes) >= 0)
        return STATUS_OK;
    h5_close(*out_type);
    return h5_error(out->path, "making the type", "bool");
}

static Status put_bool(const H5ad *out, hid_t object, const char *name, bool value) {
    hid_t type = -1, space = -1, attribute = -1;
    int8_t byte = value;
    TRY(bool_type(out, &type));
    space = H5Screate(H5S_SCALAR);
    if (space >= 0) attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = attribute >= 0 && H5Awrite(attribute, type, &byte) >= 0;
    Status status = ok ? STATUS_OK : h5_error(out->path, "writing attribute", name);
    h5_close(attribute);
    h5_close(space);
    h5_close(type);
    return status;
}

// ---- X and layers -------------------------------------------------------------------------------

static H5Layout packed(const H5ad *out, const hsize_t *chunk) {
    int deflate = out->o->deflate;
    return deflate > 0 ? (H5Layout){.chunk = chunk, .deflate = deflate} : (H5Layout){0};
}

// Rows of a chunk of about CHUNK_BYTES.
static hsize_t chunk_rows(size_t rows, size_t row_bytes) {
    size_t n = CHUNK_BYTES / (row_bytes ? row_bytes : 1);
    return n < 1 ? 1 : n > rows ? (rows ? rows : 1) : n;
}

static Status add_dense_values(const H5ad *out, hid_t parent, const char *name, const float *values) {
    hsize_t dims[2] = {out->rows, out->columns}, chunk[2] = {chunk_rows(out->rows, 4 * out->columns), out->columns};
    return add_array(out, parent, name, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, dims, values, packed(out, chunk));
}

// A sparse matrix as a dense dataset, block by block.
static Status add_dense(const H5ad *out, hid_t parent, const char *name, const Matrix *m) {
    hsize_t dims[2] = {m->rows, m->columns}, chunk[2] = {chunk_rows(m->rows, 4 * m->columns), m->columns};
    size_t block = m->columns ? BLOCK_BYTES / (4 * m->columns) : 1;
    if (block < 1) block = 1;
    if (block > m->rows) block = m->rows;
    float *values = malloc((block * m->columns + 1) * sizeof *values);
    if (!values) return arena_exhausted(block * m->columns, sizeof *values);
    hid_t dataset = -1;
    Status status = h5_dataset_create(out->path, parent, name, H5T_IEEE_F32LE, 2, dims, packed(out, chunk), &dataset);
    for (size_t first = 0; first < m->rows && m->columns && status == STATUS_OK; first += block) {
        size_t count = m->rows - first < block ? m->rows - first : block;
        for (size_t r = 0; r < count; r++) matrix_row(m, first + r, values + r * m->columns);
        status = h5_write_rows(out->path, name, dataset, H5T_NATIVE_FLOAT, first, count, values);
    }
    h5_close(dataset);
    free(values);
    return status == STATUS_OK ? mark(out, parent, name, "array") : status;
}

static Status add_csr(const H5ad *out, hid_t parent, const char *name, const Matrix *m) {
    int64_t nnz = matrix_nnz(m), shape[2] = {(int64_t)m->rows, (int64_t)m->columns}, none[1] = {0};
    hsize_t entries[1] = {(hsize_t)nnz}, starts[1] = {m->rows + 1};
    hsize_t chunk[1] = {nnz < CHUNK_ENTRIES ? (hsize_t)(nnz ? nnz : 1) : CHUNK_ENTRIES};
    hid_t group = -1, index = nnz <= INT32_MAX ? H5T_STD_I32LE : H5T_STD_I64LE;
    TRY(begin_group(out, parent, name, "csr_matrix", "0.1.0", &group));
    Status status = h5_put_array_i64(out->path, group, "shape", shape, 2);
    if (status == STATUS_OK)
        status = h5_write(out->path, group, "data", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 1, entries, m->value,
                          packed(out, chunk));
    if (status == STATUS_OK)
        status =
            h5_write(out->path, group, "indices", index, H5T_NATIVE_INT32, 1, entries, m->column, packed(out, chunk));
    if (status == STATUS_OK)
        status = h5_write(out->path, group, "indptr", index, H5T_NATIVE_INT64, 1, starts, m->start ? m->start : none,
                          (H5Layout){0});
    h5_close(group);
    return status;
}

static bool wants_dense(const H5ad *out) {
    return out->o->form == H5AD_DENSE || (out->o->form == H5AD_AS_READ && out->a->x_was_dense);
}

static Status add_matrix(const H5ad *out, hid_t parent, const char *name, const char *what, const Matrix *m) {
    if (m->rows != out->rows || m->columns != out->columns)
        return status_make(STATUS_INVALID, "%s: the %s '%s' has %zu x %zu values, obs and var have %zu and %zu rows",
                           out->path, what, name, m->rows, m->columns, out->rows, out->columns);
    return wants_dense(out) ? add_dense(out, parent, name, m) : add_csr(out, parent, name, m);
}

static Status add_x(const H5ad *out) {
    for (size_t i = 0; i < out->o->n_dense; i++)
        if (!out->o->dense[i].name) return add_dense_values(out, out->file, "X", out->o->dense[i].value);
    return out->a->has_x ? add_matrix(out, out->file, "X", "matrix", &out->a->x) : STATUS_OK;
}

static Status add_layers(const H5ad *out) {
    hid_t layers = -1;
    TRY(begin_dict(out, out->file, "layers", &layers));
    Status status = STATUS_OK;
    for (size_t i = 0; i < out->a->n_layers && status == STATUS_OK; i++) {
        const Layer *layer = &out->a->layer[i];
        status = check_name(out, "layer", layer->name);
        if (status == STATUS_OK) status = add_matrix(out, layers, layer->name, "layer", &layer->matrix);
    }
    for (size_t i = 0; i < out->o->n_dense && status == STATUS_OK; i++) {
        const H5adDense *dense = &out->o->dense[i];
        if (!dense->name) continue;
        status = check_name(out, "layer", dense->name);
        if (status == STATUS_OK) status = add_dense_values(out, layers, dense->name, dense->value);
    }
    h5_close(layers);
    return status;
}

// ---- obs and var --------------------------------------------------------------------------------

static Status add_categorical(const H5ad *out, hid_t frame, const char *name, const int32_t *codes, size_t n,
                              char *const *categories, size_t n_categories, bool ordered) {
    hid_t group = -1;
    hsize_t dims[1] = {n};
    for (size_t i = 0; i < n; i++)
        if (codes[i] < -1 || codes[i] >= (int64_t)n_categories)
            return status_make(STATUS_INVALID, "%s: column '%s': row %zu has category %d of %zu", out->path, name, i,
                               codes[i], n_categories);
    TRY(begin_group(out, frame, name, "categorical", "0.2.0", &group));
    Status status = put_bool(out, group, "ordered", ordered);
    if (status == STATUS_OK) status = add_texts(out, group, "categories", categories, n_categories);
    // pandas' own choice of types
    hid_t type = n_categories <= INT8_MAX ? H5T_STD_I8LE : n_categories <= INT16_MAX ? H5T_STD_I16LE : H5T_STD_I32LE;
    if (status == STATUS_OK)
        status = add_array(out, group, "codes", type, H5T_NATIVE_INT32, 1, dims, codes, (H5Layout){0});
    h5_close(group);
    return status;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Text with holes: a categorical of the texts there are, in byte order.
static Status add_text_with_holes(H5ad *out, hid_t frame, const Column *c, size_t n) {
    char **sorted = NULL;
    int32_t *codes = NULL;
    size_t present = 0, distinct = 0;
    TRY(ARENA_NEW(&out->arena, sorted, n));
    TRY(ARENA_NEW(&out->arena, codes, n));
    for (size_t i = 0; i < n; i++)
        if (c->text[i]) sorted[present++] = c->text[i];
    if (present) qsort(sorted, present, sizeof *sorted, by_text);
    for (size_t i = 0; i < present; i++)
        if (distinct == 0 || strcmp(sorted[distinct - 1], sorted[i]) != 0) sorted[distinct++] = sorted[i];
    for (size_t i = 0; i < n; i++) {
        char **at = c->text[i] ? bsearch(&c->text[i], sorted, distinct, sizeof *sorted, by_text) : NULL;
        codes[i] = at ? (int32_t)(at - sorted) : -1;
    }
    return add_categorical(out, frame, c->name, codes, n, sorted, distinct, false);
}

static Status add_flags(const H5ad *out, hid_t frame, const Column *c, const hsize_t *dims) {
    hid_t type = -1;
    TRY(bool_type(out, &type));
    Status status = add_array(out, frame, c->name, type, type, 1, dims, c->flag, (H5Layout){0});
    h5_close(type);
    return status;
}

static Status add_column(H5ad *out, hid_t frame, const Column *c, size_t n) {
    hsize_t dims[1] = {n};
    TRY(check_name(out, "column", c->name));
    switch (c->kind) {
    case COLUMN_REAL:
        return add_array(out, frame, c->name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 1, dims, c->real, (H5Layout){0});
    case COLUMN_INTEGER:
        return add_array(out, frame, c->name, H5T_STD_I64LE, H5T_NATIVE_INT64, 1, dims, c->integer, (H5Layout){0});
    case COLUMN_BOOL: return add_flags(out, frame, c, dims);
    case COLUMN_TEXT:
        for (size_t i = 0; i < n; i++)
            if (!c->text[i]) return add_text_with_holes(out, frame, c, n);
        return add_texts(out, frame, c->name, c->text, n);
    case COLUMN_CATEGORY:
        return add_categorical(out, frame, c->name, c->code, n, c->category, c->categories, c->ordered);
    }
    return status_make(STATUS_INTERNAL, "%s: column '%s' is of no kind", out->path, c->name);
}

static Status number_names(H5ad *out, size_t count, char ***out_names) {
    TRY(ARENA_NEW(&out->arena, *out_names, count));
    for (size_t i = 0; i < count; i++)
        if (!((*out_names)[i] = arena_printf(&out->arena, "%zu", i))) return arena_exhausted(count, 8);
    return STATUS_OK;
}

static Status fill_frame(H5ad *out, hid_t group, const char *what, const Frame *frame, char *const *names, size_t n,
                         char *const *ids) {
    // the index is a dataset of its own, so its name must not be a column's
    const char *index = frame->index_name && *frame->index_name && !strchr(frame->index_name, '/') &&
                                !frame_column(frame, frame->index_name)
                            ? frame->index_name
                            : "_index";
    char **numbers = NULL, **order = NULL;
    size_t columns = 0;
    if (frame_column(frame, index))
        return status_make(STATUS_UNSUPPORTED, "%s: %s has a column '%s', the name of its index; rename it", out->path,
                           what, index);
    if (frame->columns >= MOST_COLUMNS)
        return status_make(STATUS_UNSUPPORTED, "%s: %s has %zu columns; h5ad lists at most %d", out->path, what,
                           frame->columns, MOST_COLUMNS);
    if (frame->columns && frame->rows != n)
        return status_make(STATUS_INVALID, "%s: %s has %zu rows for %zu names", out->path, what, frame->rows, n);
    ids = frame_column(frame, "gene_ids") ? NULL : ids;
    TRY(ARENA_NEW(&out->arena, order, frame->columns + 1));
    if (ids) order[columns++] = "gene_ids";
    for (size_t c = 0; c < frame->columns; c++) order[columns++] = frame->column[c].name;
    TRY(h5_put_text(out->path, group, "_index", index));
    TRY(h5_put_texts(out->path, group, "column-order", order, columns));
    if (!names) TRY(number_names(out, n, &numbers));
    TRY(add_texts(out, group, index, names ? names : numbers, n));
    if (ids) TRY(add_column(out, group, &(Column){.name = "gene_ids", .kind = COLUMN_TEXT, .text = (char **)ids}, n));
    for (size_t c = 0; c < frame->columns; c++) TRY(add_column(out, group, &frame->column[c], n));
    return STATUS_OK;
}

static Status add_frame(H5ad *out, const char *name, const Frame *frame, char *const *names, size_t n,
                        char *const *ids) {
    hid_t group = -1;
    TRY(begin_group(out, out->file, name, "dataframe", "0.2.0", &group));
    Status status = fill_frame(out, group, name, frame, names, n, ids);
    h5_close(group);
    return status;
}

// ---- obsm and uns -------------------------------------------------------------------------------

// A block whose columns have names: a table, as pandas would have it.
static Status add_named_block(H5ad *out, hid_t obsm, const Embedding *e) {
    Frame frame = {.rows = out->rows};
    hid_t group = -1;
    for (size_t c = 0; c < e->width; c++) {
        Column column = {.name = e->column[c], .kind = COLUMN_REAL};
        TRY(ARENA_NEW(&out->arena, column.real, out->rows));
        for (size_t r = 0; r < out->rows; r++) column.real[r] = e->value[r * e->width + c];
        TRY(frame_add(&frame, &out->arena, &column));
    }
    TRY(begin_group(out, obsm, e->name, "dataframe", "0.2.0", &group));
    Status status = fill_frame(out, group, e->name, &frame, out->a->x.row_name, out->rows, NULL);
    h5_close(group);
    return status;
}

static Status add_obsm(H5ad *out) {
    hid_t obsm = -1;
    TRY(begin_dict(out, out->file, "obsm", &obsm));
    Status status = STATUS_OK;
    for (size_t i = 0; i < out->a->n_embeddings && status == STATUS_OK; i++) {
        const Embedding *e = &out->a->embedding[i];
        hsize_t dims[2] = {out->rows, e->width}, chunk[2] = {chunk_rows(out->rows, 8 * e->width), e->width};
        status = check_name(out, "embedding", e->name);
        if (status == STATUS_OK && e->column) status = add_named_block(out, obsm, e);
        else if (status == STATUS_OK)
            status =
                add_array(out, obsm, e->name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, dims, e->value, packed(out, chunk));
    }
    h5_close(obsm);
    return status;
}

static Status add_picture(const H5ad *out, hid_t images, const char *name, const Picture *picture) {
    if (!picture->rgb) return STATUS_OK;
    hsize_t dims[3] = {picture->height, picture->width, 3};
    hsize_t chunk[3] = {picture->height < 64 ? picture->height : 64, picture->width, 3};
    return add_array(out, images, name, H5T_STD_U8LE, H5T_NATIVE_UINT8, 3, dims, picture->rgb,
                     (H5Layout){.chunk = chunk, .deflate = 4});
}

static Status fill_library(const H5ad *out, hid_t group, const SpatialLibrary *l) {
    const struct {
        const char *name;
        double value;
    } factors[] = {{"spot_diameter_fullres", l->spot_diameter_fullres},
                   {"tissue_hires_scalef", l->tissue_hires_scalef},
                   {"tissue_lowres_scalef", l->tissue_lowres_scalef},
                   {"fiducial_diameter_fullres", l->fiducial_diameter_fullres}};
    hid_t child = -1;
    TRY(begin_dict(out, group, "images", &child));
    Status status = add_picture(out, child, "hires", &l->hires);
    if (status == STATUS_OK) status = add_picture(out, child, "lowres", &l->lowres);
    h5_close(child);
    TRY(status);
    TRY(begin_dict(out, group, "scalefactors", &child));
    for (size_t i = 0; l->has_scale && i < sizeof factors / sizeof *factors && status == STATUS_OK; i++)
        if (!isnan(factors[i].value)) status = add_number(out, child, factors[i].name, factors[i].value);
    h5_close(child);
    return status;
}

static Status add_spatial(const H5ad *out, hid_t uns) {
    hid_t spatial = -1;
    if (out->a->n_libraries == 0) return STATUS_OK;
    TRY(begin_dict(out, uns, "spatial", &spatial));
    Status status = STATUS_OK;
    for (size_t i = 0; i < out->a->n_libraries && status == STATUS_OK; i++) {
        hid_t group = -1;
        const SpatialLibrary *library = &out->a->library[i];
        status = check_name(out, "library", library->name);
        if (status == STATUS_OK) status = begin_dict(out, spatial, library->name, &group);
        if (status == STATUS_OK) status = fill_library(out, group, library);
        h5_close(group);
    }
    h5_close(spatial);
    return status;
}

static Status add_uns(const H5ad *out) {
    hid_t uns = -1;
    TRY(begin_dict(out, out->file, "uns", &uns));
    Status status = add_spatial(out, uns);
    if (status == STATUS_OK && out->o->program) status = add_text(out, uns, "program", out->o->program);
    h5_close(uns);
    return status;
}

// ---- The file -----------------------------------------------------------------------------------

static Status write_all(H5ad *out) {
    const Annotated *a = out->a;
    TRY(put_encoding(out, out->file, "anndata", "0.1.0"));
    TRY(add_x(out));
    TRY(add_frame(out, "obs", &a->obs, a->x.row_name, out->rows, NULL));
    TRY(add_frame(out, "var", &a->var, a->x.column_name, out->columns, a->x.column_id));
    TRY(add_obsm(out));
    TRY(add_layers(out));
    TRY(add_uns(out));
    TRY(add_empty_dict(out, "obsp"));
    TRY(add_empty_dict(out, "varm"));
    return add_empty_dict(out, "varp");
}

Status h5ad_write(const char *path, const Annotated *annotated, const H5adOptions *options) {
    static const H5adOptions plain = {0};
    AtomicFile file;
    H5ad out = {.path = path, .file = -1, .a = annotated, .o = options ? options : &plain};
    // without X the frames alone may know how many rows there are
    out.rows = annotated->x.rows ? annotated->x.rows : annotated->obs.rows;
    out.columns = annotated->x.columns ? annotated->x.columns : annotated->var.rows;
    if (out.o->deflate < 0 || out.o->deflate > 9)
        return status_make(STATUS_INVALID, "a deflate level of %d is outside 0 .. 9", out.o->deflate);
    TRY(atomic_reserve(&file, path));
    arena_init(&out.arena);
    H5Output output;
    Status status = h5_output_create(path, file.temporary, false, &output);
    if (status == STATUS_OK) {
        out.file = output.file;
        status = write_all(&out);
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
