// store_write: the writing half of store.h.
//
// Genes are numbered in order of first appearance, so a section can be written before the next one is read;
// the list itself is written at the end. Tiles: store_pack.c.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_inside.h"

static void close_all(StoreWriter *writer) {
    h5_close(writer->columns);
    h5_close(writer->sections);
    writer->columns = writer->sections = -1;
}

static void writer_free(StoreWriter *writer) {
    if (writer->lock >= 0) close(writer->lock); // ends the lock
    arena_free(&writer->arena);
    free(writer);
}

void store_abandon(StoreWriter *writer) {
    if (!writer) return;
    close_all(writer);
    status_drop(h5_output_close(&writer->output)); // the file goes away, so nothing in it matters
    atomic_abort(&writer->file);
    writer_free(writer);
}

static Status begin_file(StoreWriter *writer, const char *path) {
    TRY(atomic_reserve(&writer->file, path));
    writer->name = writer->file.path;
    TRY(h5_output_create(writer->name, writer->file.temporary, true, &writer->output));
    hid_t file = writer->output.file;
    const StoreParameters *p = &writer->parameters;
    char encoding[ENCODING_TEXT];
    tiles_encoding(p, encoding);
    TRY(h5_put_fixed_text(writer->name, file, "format", "stmc-store"));
    TRY(h5_put_i64(writer->name, file, "format_version", STORE_FORMAT_VERSION));
    TRY(h5_put_fixed_text(writer->name, file, "program", p->program));
    TRY(h5_put_i64(writer->name, file, "tile_size", (int64_t)p->tile_size));
    TRY(h5_put_f64(writer->name, file, "tile_pitch", p->tile_pitch));
    TRY(h5_put_fixed_text(writer->name, file, "tile_filter", p->filter));
    TRY(h5_put_fixed_text(writer->name, file, "tile_edge", p->edge));
    TRY(h5_put_fixed_text(writer->name, file, "tile_encoding", encoding));
    char *provenance[1] = {(char *)p->provenance};
    TRY(h5_write_fixed_texts(writer->name, file, "provenance", provenance, 1));
    TRY(h5_group_create(writer->name, file, "columns", &writer->columns));
    return h5_group_create(writer->name, file, "sections", &writer->sections);
}

// The writer keeps its own texts.
Status store_keep_parameters(StoreWriter *writer, const StoreParameters *p) {
    const char *from[] = {p->program, p->filter, p->edge, p->provenance ? p->provenance : "{}"};
    char *to[4];
    for (int i = 0; i < 4; i++) TRY(ARENA_COPY(&writer->arena, to[i], from[i], strlen(from[i])));
    writer->parameters = *p;
    writer->parameters.program = to[0];
    writer->parameters.filter = to[1];
    writer->parameters.edge = to[2];
    writer->parameters.provenance = to[3];
    return STATUS_OK;
}

StoreParameters *store_parameters(StoreWriter *writer) {
    return &writer->parameters;
}

Status store_create(const char *path, const StoreParameters *parameters, StoreWriter **out_writer) {
    *out_writer = NULL;
    TRY(tiles_check_parameters(parameters));
    StoreWriter *writer = calloc(1, sizeof *writer);
    if (!writer) return arena_exhausted(1, sizeof *writer);
    writer->output.file = writer->sections = writer->columns = -1;
    writer->file.descriptor = writer->lock = -1;
    Status status = store_keep_parameters(writer, parameters);
    if (status == STATUS_OK) status = begin_file(writer, path);
    if (status != STATUS_OK) {
        store_abandon(writer);
        return status_context(status, "cannot create the store %s", path);
    }
    *out_writer = writer;
    return STATUS_OK;
}

// The store's number of a gene, new or known. Names are copied, because sections come and go.
Status store_gene_number(StoreWriter *writer, const char *name, int32_t *out_number) {
    if (writer->n_genes == writer->gene_capacity) {
        size_t capacity = writer->gene_capacity ? writer->gene_capacity * 2 : 32768;
        char **genes = NULL;
        TRY(ARENA_NEW(&writer->arena, genes, capacity));
        TRY(name_index_init(&writer->gene_index, &writer->arena, capacity));
        for (size_t g = 0; g < writer->n_genes; g++) {
            genes[g] = writer->genes[g];
            name_index_add(&writer->gene_index, genes[g], (int64_t)g);
        }
        writer->genes = genes;
        writer->gene_capacity = capacity;
    }
    int64_t found = name_index_find(&writer->gene_index, name);
    if (found < 0) {
        found = (int64_t)writer->n_genes;
        TRY(ARENA_COPY(&writer->arena, writer->genes[found], name, strlen(name)));
        name_index_add(&writer->gene_index, writer->genes[found], found);
        writer->n_genes++;
    }
    *out_number = (int32_t)found;
    return STATUS_OK;
}

typedef struct Entry {
    int32_t gene;
    uint32_t count;
} Entry;

static int by_gene(const void *a, const void *b) {
    int32_t x = ((const Entry *)a)->gene, y = ((const Entry *)b)->gene;
    return (x > y) - (x < y);
}

static int by_number(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static Status write_counts(StoreWriter *writer, hid_t group, const Section *section, Arena *scratch) {
    int32_t *numbers = NULL, *measured = NULL, *indices = NULL;
    uint32_t *data = NULL;
    Entry *row = NULL;
    const int64_t *indptr = section->indptr;
    if (!indptr) {
        int64_t *zeros = NULL;
        TRY(ARENA_NEW(scratch, zeros, section->n_spots + 1));
        indptr = zeros;
    }
    hsize_t nnz = (hsize_t)indptr[section->n_spots];
    TRY(ARENA_NEW(scratch, numbers, section->n_genes));
    TRY(ARENA_NEW(scratch, measured, section->n_genes));
    TRY(ARENA_NEW(scratch, indices, nnz));
    TRY(ARENA_NEW(scratch, data, nnz));
    TRY(ARENA_NEW(scratch, row, section->n_genes));
    for (size_t g = 0; g < section->n_genes; g++) {
        TRY(store_gene_number(writer, section->genes[g], &numbers[g]));
        measured[g] = numbers[g];
    }
    qsort(measured, section->n_genes, sizeof *measured, by_number);
    for (size_t i = 0; i < section->n_spots; i++) {
        int64_t from = indptr[i], n = indptr[i + 1] - from;
        for (int64_t k = 0; k < n; k++)
            row[k] = (Entry){numbers[section->indices[from + k]], section->counts[from + k]};
        qsort(row, (size_t)n, sizeof *row, by_gene);
        for (int64_t k = 0; k < n; k++) {
            indices[from + k] = row[k].gene;
            data[from + k] = row[k].count;
        }
    }
    hid_t counts = -1;
    const char *path = writer->name;
    hsize_t n_rows[1] = {section->n_spots + 1}, n_entries[1] = {nnz}, n_measured[1] = {section->n_genes};
    hsize_t chunk[1] = {nnz < 8192 ? (nnz ? nnz : 1) : 8192}; // about two spots: rows are read one by one
    H5Layout packed = {.chunk = chunk, .deflate = 1, .checksum = true}, plain = {0};
    TRY(h5_group_create(path, group, "counts", &counts));
    Status status = h5_write(path, counts, "indptr", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, n_rows, indptr, plain);
    if (status == STATUS_OK)
        status = h5_write(path, counts, "indices", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, n_entries, indices, packed);
    if (status == STATUS_OK)
        status = h5_write(path, counts, "data", H5T_STD_U32LE, H5T_NATIVE_UINT32, 1, n_entries, data, packed);
    if (status == STATUS_OK)
        status = h5_write(path, counts, "measured", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, n_measured, measured, plain);
    h5_close(counts);
    return status;
}

// The first section defines the tables; their columns are written once.
static Status define_tables(StoreWriter *writer, const Section *section) {
    Arena *arena = &writer->arena;
    writer->n_tables = section->n_tables;
    TRY(ARENA_NEW(arena, writer->tables, section->n_tables));
    for (size_t t = 0; t < section->n_tables; t++) {
        const SpotTable *from = &section->tables[t];
        char **columns = NULL, *name = NULL;
        TRY(ARENA_COPY(arena, name, from->name, strlen(from->name)));
        TRY(ARENA_NEW(arena, columns, from->n_columns));
        for (size_t c = 0; c < from->n_columns; c++)
            TRY(ARENA_COPY(arena, columns[c], from->columns[c], strlen(from->columns[c])));
        writer->tables[t] = (StoreTable){name, from->n_columns, columns};
        if (strchr(name, '/')) return status_make(STATUS_INVALID, "the table name '%s' contains '/'", name);
        TRY(h5_write_fixed_texts(writer->name, writer->columns, name, columns, from->n_columns));
    }
    return STATUS_OK;
}

// Where the store's column c stands in the section's table.
static Status match_columns(const StoreTable *table, const SpotTable *from, const char *section,
                            const char *first_section, Arena *scratch, size_t **out_order) {
    NameIndex index = {0};
    size_t *order = NULL;
    TRY(ARENA_NEW(scratch, order, table->n_columns));
    TRY(name_index_init(&index, scratch, from->n_columns));
    for (size_t c = 0; c < from->n_columns; c++) name_index_add(&index, from->columns[c], (int64_t)c);
    for (size_t c = 0; c < table->n_columns; c++) {
        int64_t at = name_index_find(&index, table->columns[c]);
        if (at < 0)
            return status_make(STATUS_MISMATCH,
                               "table '%s': section %s has no column '%s', which section %s has; all sections "
                               "of a store need the same columns",
                               table->name, section, table->columns[c], first_section);
        order[c] = (size_t)at;
    }
    if (from->n_columns != table->n_columns)
        return status_make(STATUS_MISMATCH,
                           "table '%s': section %s has %zu columns, section %s has %zu; all sections of a "
                           "store need the same columns",
                           table->name, section, from->n_columns, first_section, table->n_columns);
    *out_order = order;
    return STATUS_OK;
}

static Status write_tables(StoreWriter *writer, hid_t group, const Section *section, Arena *scratch) {
    hid_t tables = -1;
    TRY(h5_group_create(writer->name, group, "tables", &tables));
    Status status = STATUS_OK;
    for (size_t t = 0; t < writer->n_tables && status == STATUS_OK; t++) {
        const StoreTable *table = &writer->tables[t];
        const SpotTable *from = NULL;
        for (size_t k = 0; k < section->n_tables; k++)
            if (strcmp(section->tables[k].name, table->name) == 0) from = &section->tables[k];
        if (!from) {
            status = status_make(STATUS_MISMATCH, "section %s has no table '%s', which section %s has", section->name,
                                 table->name, writer->section_names[0]);
            break;
        }
        size_t *order = NULL, k = table->n_columns;
        float *values = NULL;
        TRY_OR(status, done, match_columns(table, from, section->name, writer->section_names[0], scratch, &order));
        TRY_OR(status, done, ARENA_NEW(scratch, values, section->n_spots * k));
        for (size_t i = 0; i < section->n_spots; i++)
            for (size_t c = 0; c < k; c++) values[i * k + c] = from->values[i * k + order[c]];
        hsize_t dims[2] = {section->n_spots, k};
        status = h5_write(writer->name, tables, table->name, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, dims, values,
                          (H5Layout){0});
    }
done:
    h5_close(tables);
    return status;
}

static Status write_optional(const char *path, hid_t group, const Section *section) {
    if (section->group) TRY(h5_put_fixed_text(path, group, "group", section->group));
    if (section->spot_diameter > 0) TRY(h5_put_f64(path, group, "spot_diameter", section->spot_diameter));
    if (section->microns_per_pixel > 0) TRY(h5_put_f64(path, group, "microns_per_pixel", section->microns_per_pixel));
    double scale = section->picture_scale;
    return scale > 0 && scale != 1 ? h5_put_f64(path, group, "picture_scale", scale) : STATUS_OK;
}

static Status write_thumbnail(const char *path, hid_t group, const StoreSectionExtra *extra) {
    const Picture *picture = extra->thumbnail;
    TRY(h5_put_f64(path, group, "thumbnail_scale_x",
                   picture ? (double)picture->width / (double)extra->image_width : 0));
    TRY(h5_put_f64(path, group, "thumbnail_scale_y",
                   picture ? (double)picture->height / (double)extra->image_height : 0));
    if (!picture) return STATUS_OK;
    hsize_t dims[3] = {picture->height, picture->width, 3};
    hsize_t rows = picture->height < 64 ? picture->height : 64, chunk[3] = {rows, picture->width, 3};
    H5Layout packed = {.chunk = chunk, .deflate = 4, .checksum = true};
    return h5_write(path, group, "thumbnail", H5T_STD_U8LE, H5T_NATIVE_UINT8, 3, dims, picture->rgb, packed);
}

static Status write_section(StoreWriter *writer, hid_t group, const Section *section, const StoreSectionExtra *extra,
                            Arena *scratch) {
    const char *path = writer->name;
    hsize_t pairs[2] = {section->n_spots, 2};
    TRY(h5_put_i64(path, group, "image_width", (int64_t)extra->image_width));
    TRY(h5_put_i64(path, group, "image_height", (int64_t)extra->image_height));
    TRY(h5_put_f64(path, group, "scale_x", extra->scale_x));
    TRY(h5_put_f64(path, group, "scale_y", extra->scale_y));
    TRY(h5_put_f64(path, group, "pitch_x", extra->pitch_x));
    TRY(h5_put_f64(path, group, "pitch_y", extra->pitch_y));
    TRY(write_optional(path, group, section));
    char *inputs[1] = {(char *)extra->inputs}, *left_out[1] = {(char *)extra->left_out};
    TRY(h5_write_fixed_texts(path, group, "inputs", inputs, 1));
    TRY(h5_write_fixed_texts(path, group, "left_out", left_out, 1));
    TRY(h5_write_fixed_texts(path, group, "id", section->ids, section->n_spots));
    TRY(h5_write(path, group, "array", H5T_STD_I32LE, H5T_NATIVE_INT32, 2, pairs, section->array, (H5Layout){0}));
    TRY(h5_write(path, group, "array_exact", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, pairs, section->array_exact,
                 (H5Layout){0}));
    TRY(h5_write(path, group, "pixel", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, pairs, section->pixel, (H5Layout){0}));
    TRY(tiles_write(writer, group, section, extra));
    TRY(write_counts(writer, group, section, scratch));
    TRY(write_tables(writer, group, section, scratch));
    TRY(extra_write(writer, group, section, extra));
    return write_thumbnail(path, group, extra);
}

// What a section needs depends on whether the store has tiles.
static Status check_extra(const StoreWriter *writer, const StoreSectionExtra *extra) {
    bool tiles = writer->parameters.tile_size > 0, picture = extra->image_width > 0 && extra->image_height > 0;
    bool scaled = extra->scale_x > 0 && extra->scale_y > 0;
    if (tiles && (!extra->tiles || !picture || !scaled))
        return status_make(STATUS_INVALID, "the store has tiles; the section brings no picture to cut them from");
    if (extra->thumbnail && !picture)
        return status_make(STATUS_INVALID, "a thumbnail of a picture of %zu x %zu pixels", extra->image_width,
                           extra->image_height);
    return STATUS_OK;
}

Status store_add_section(StoreWriter *writer, const Section *section, const StoreSectionExtra *extra) {
    Arena scratch;
    hid_t group = -1;
    if (section->n_spots == 0) return status_make(STATUS_INVALID, "section %s has no spots", section->name);
    if (!*section->name || strchr(section->name, '/') || section->name[0] == '.')
        return status_make(STATUS_INVALID, "'%s' cannot be the name of a section", section->name);
    for (size_t i = 0; i < writer->n_sections; i++)
        if (strcmp(writer->section_names[i], section->name) == 0)
            return status_make(STATUS_INVALID, "section %s occurs twice", section->name);
    TRY_IN(check_extra(writer, extra), "section %s", section->name);
    if (writer->n_sections == writer->section_capacity) {
        size_t capacity = writer->section_capacity ? writer->section_capacity * 2 : 16;
        char **names = NULL;
        TRY(ARENA_NEW(&writer->arena, names, capacity));
        for (size_t i = 0; i < writer->n_sections; i++) names[i] = writer->section_names[i];
        writer->section_names = names;
        writer->section_capacity = capacity;
    }
    TRY(ARENA_COPY(&writer->arena, writer->section_names[writer->n_sections], section->name, strlen(section->name)));
    if (writer->n_sections++ == 0) {
        TRY(define_tables(writer, section));
        TRY(extra_define(writer, extra));
    } else if (section->n_tables != writer->n_tables)
        return status_make(STATUS_MISMATCH, "section %s has %zu tables, section %s has %zu", section->name,
                           section->n_tables, writer->section_names[0], writer->n_tables);
    TRY(h5_group_create(writer->name, writer->sections, section->name, &group));
    arena_init(&scratch);
    Status status = write_section(writer, group, section, extra, &scratch);
    arena_free(&scratch);
    h5_close(group);
    if (status == STATUS_OK) status = h5_output_status(&writer->output);
    return status_context(status, "section %s", section->name);
}

static Status finish_file(StoreWriter *writer) {
    char **tables = NULL;
    if (writer->n_sections == 0) return status_make(STATUS_INVALID, "a store needs at least one section");
    TRY(ARENA_NEW(&writer->arena, tables, writer->n_tables));
    for (size_t t = 0; t < writer->n_tables; t++) tables[t] = (char *)writer->tables[t].name;
    TRY(h5_put_fixed_texts(writer->name, writer->output.file, "sections", writer->section_names, writer->n_sections));
    TRY(h5_put_fixed_texts(writer->name, writer->output.file, "tables", tables, writer->n_tables));
    TRY(extra_finish(writer));
    return h5_write_fixed_texts(writer->name, writer->output.file, "genes", writer->genes, writer->n_genes);
}

Status store_finish(StoreWriter *writer) {
    Status status = finish_file(writer);
    close_all(writer);
    Status closed = h5_output_close(&writer->output);
    if (closed != STATUS_OK) { // the true reason of whatever failed before
        status_drop(status);
        status = closed;
    }
    if (status == STATUS_OK) status = atomic_commit(&writer->file);
    else atomic_abort(&writer->file);
    writer_free(writer);
    return status;
}
