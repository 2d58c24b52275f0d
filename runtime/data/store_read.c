// store_read: the reading half of store.h. Names, positions and shapes are read and checked when the store is
// opened; counts are read row by row; tables are kept after their first use. Tiles: store_tiles.c.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store_inside.h"

static const hsize_t any_size = (hsize_t)-1;

void store_close(Store *store) {
    if (!store) return;
    extra_close(store);
    for (size_t i = 0; store->handles && i < store->info.n_sections; i++) {
        SectionHandles *h = &store->handles[i];
        h5_close(h->tiles);
        h5_close(h->indices);
        h5_close(h->data);
        h5_close(h->group);
    }
    h5_close(store->h5);
    arena_free(&store->arena);
    free(store);
}

const StoreInfo *store_info(const Store *store) {
    return &store->info;
}

// ---- Opening ------------------------------------------------------------------------------------

static Status read_encoding(Store *store) {
    StoreInfo *info = &store->info;
    StoreParameters kept = {0};
    char *encoding = NULL;
    info->deflate = -1;
    info->encoding = "chunks";
    if (info->version < 3) return STATUS_OK;
    TRY(h5_get_fixed_text(info->path, store->h5, "tile_encoding", &store->arena, &encoding));
    if (!tiles_parse_encoding(encoding, &kept))
        return status_make(STATUS_MALFORMED,
                           "%s: the tile encoding is '%s'; 'plain', 'deflate LEVEL' and 'jpeg QUALITY SAMPLING' are "
                           "known",
                           info->path, encoding);
    info->encoding = encoding;
    info->jpeg = kept.jpeg;
    info->deflate = kept.deflate;
    info->sampling = kept.sampling;
    return STATUS_OK;
}

static Status read_root(Store *store) {
    Arena *arena = &store->arena;
    const char *path = store->info.path;
    char *format = NULL, *program = NULL, *filter = NULL, *edge = NULL, **sections = NULL, **tables = NULL,
         **genes = NULL;
    int64_t version = 0, tile_size = 0, least = 1;
    htri_t is_store = H5Aexists(store->h5, "format");
    if (is_store <= 0)
        return status_make(STATUS_MISMATCH, "%s: an HDF5 file, but not a store; make one with 'prepare'", path);
    TRY(h5_get_fixed_text(path, store->h5, "format", arena, &format));
    if (strcmp(format, "stmc-store") != 0)
        return status_make(STATUS_MISMATCH, "%s: the format is '%s', not 'stmc-store'; make a store with 'prepare'",
                           path, format);
    TRY(h5_get_i64(path, store->h5, "format_version", &version));
    if (version < STORE_OLDEST_VERSION || version > STORE_FORMAT_VERSION)
        return status_make(STATUS_UNSUPPORTED,
                           "%s: store format version %lld; this program reads versions %d to %d; run 'prepare' again",
                           path, (long long)version, STORE_OLDEST_VERSION, STORE_FORMAT_VERSION);
    store->info.version = (int)version;
    TRY(h5_get_fixed_text(path, store->h5, "program", arena, &program));
    TRY(h5_get_fixed_text(path, store->h5, "tile_filter", arena, &filter));
    TRY(h5_get_fixed_text(path, store->h5, "tile_edge", arena, &edge));
    TRY(h5_get_i64(path, store->h5, "tile_size", &tile_size));
    TRY(h5_get_f64(path, store->h5, "tile_pitch", &store->info.tile_pitch));
    TRY(read_encoding(store));
    if (version >= 3) least = 0;
    if (tile_size < least || tile_size > STORE_MOST_TILE)
        return status_make(STATUS_MALFORMED, "%s: the tile size %lld is outside %lld .. %d", path, (long long)tile_size,
                           (long long)least, STORE_MOST_TILE);
    TRY(h5_get_fixed_texts(path, store->h5, "sections", arena, &sections, &store->info.n_sections));
    TRY(h5_get_fixed_texts(path, store->h5, "tables", arena, &tables, &store->info.n_tables));
    TRY(h5_read_texts(path, store->h5, "genes", arena, &genes, &store->info.n_genes));
    if (store->info.n_sections == 0) return status_make(STATUS_MALFORMED, "%s: the store has no sections", path);
    TRY(store_names_differ(path, "sections", sections, store->info.n_sections));
    TRY(store_names_differ(path, "tables", tables, store->info.n_tables));
    store->info.program = program;
    store->info.filter = filter;
    store->info.edge = edge;
    store->info.tile_size = (size_t)tile_size;
    store->info.genes = genes;
    SectionHandles *handles = NULL;
    TRY(ARENA_NEW(arena, store->sections, store->info.n_sections));
    TRY(ARENA_NEW(arena, store->tables, store->info.n_tables));
    TRY(ARENA_NEW(arena, handles, store->info.n_sections));
    store->info.sections = store->sections;
    store->info.tables = store->tables;
    for (size_t i = 0; i < store->info.n_sections; i++) {
        store->sections[i].name = sections[i];
        handles[i] = (SectionHandles){.group = -1, .tiles = -1, .indices = -1, .data = -1};
    }
    store->handles = handles;
    for (size_t t = 0; t < store->info.n_tables; t++) store->tables[t].name = tables[t];
    return STATUS_OK;
}

Status store_names_differ(const char *path, const char *what, char *const *names, size_t count) {
    NameIndex index;
    Arena scratch;
    arena_init(&scratch);
    Status status = name_index_init(&index, &scratch, count);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        if (name_index_add(&index, names[i], (int64_t)i) >= 0)
            status = status_make(STATUS_MALFORMED, "%s: '%s' names '%s' twice", path, what, names[i]);
    arena_free(&scratch);
    return status;
}

static Status read_columns(Store *store) {
    hid_t group = -1;
    Status status = h5_group_open(store->info.path, store->h5, "columns", &group);
    for (size_t t = 0; t < store->info.n_tables && status == STATUS_OK; t++) {
        StoreTable *table = &store->tables[t];
        char **columns = NULL;
        status = h5_read_texts(store->info.path, group, table->name, &store->arena, &columns, &table->n_columns);
        table->columns = columns;
    }
    h5_close(group);
    return status;
}

// A whole small dataset of [rows][2] or [rows] into the arena.
static Status read_whole(Store *store, const char *path, hid_t group, const char *name, H5T_class_t type_class,
                         size_t size, hid_t memory_type, size_t rows, size_t columns, void **out_data) {
    hsize_t dims[2] = {rows, columns};
    hid_t dataset = -1;
    TRY(h5_dataset_open(path, group, name, type_class, size, columns > 1 ? 2 : 1, dims, &dataset));
    void *data = arena_alloc(&store->arena, rows * columns, size);
    Status status =
        data ? h5_read_rows(path, name, dataset, memory_type, 0, rows, data) : arena_exhausted(rows * columns, size);
    h5_close(dataset);
    *out_data = data;
    return status;
}

static Status get_size(const char *path, hid_t group, const char *name, int64_t least, size_t *out_value) {
    int64_t value = 0;
    TRY(h5_get_i64(path, group, name, &value));
    if (value < least)
        return status_make(STATUS_MALFORMED, "%s: the attribute '%s' is %lld", path, name, (long long)value);
    *out_value = (size_t)value;
    return STATUS_OK;
}

// A positive number; 0 as well where that stands for unknown.
static Status get_scale(const char *path, hid_t group, const char *name, bool unknown, double *out_value) {
    TRY(h5_get_f64(path, group, name, out_value));
    if (isfinite(*out_value) && (*out_value > 0 || (unknown && *out_value == 0))) return STATUS_OK;
    return status_make(STATUS_MALFORMED, "%s: the attribute '%s' is %g; a positive number%s is needed", path, name,
                       *out_value, unknown ? " or 0" : "");
}

// Attributes that need not be there.
static Status get_optional(Store *store, const char *path, hid_t group, StoreSection *section) {
    static const char *const names[] = {"spot_diameter", "microns_per_pixel", "picture_scale"};
    double *to[] = {&section->spot_diameter, &section->microns_per_pixel, &section->picture_scale};
    char *text = NULL;
    section->picture_scale = 1;
    for (int i = 0; i < 3; i++)
        if (H5Aexists(group, names[i]) > 0) TRY(get_scale(path, group, names[i], false, to[i]));
    if (H5Aexists(group, "group") <= 0) return STATUS_OK;
    TRY(h5_get_fixed_text(path, group, "group", &store->arena, &text));
    section->group = text;
    return STATUS_OK;
}

// Sizes and scales of the picture and the array.
static Status read_geometry(Store *store, const char *path, hid_t group, StoreSection *section) {
    bool some = store->info.version >= 3, tiles = store->info.tile_size > 0;
    TRY(get_size(path, group, "image_width", !tiles ? 0 : 1, &section->image_width));
    TRY(get_size(path, group, "image_height", !tiles ? 0 : 1, &section->image_height));
    TRY(get_scale(path, group, "scale_x", !tiles, &section->scale_x));
    TRY(get_scale(path, group, "scale_y", !tiles, &section->scale_y));
    TRY(get_scale(path, group, "pitch_x", some, &section->pitch_x));
    TRY(get_scale(path, group, "pitch_y", some, &section->pitch_y));
    TRY(get_scale(path, group, "thumbnail_scale_x", some, &section->thumbnail_scale_x));
    TRY(get_scale(path, group, "thumbnail_scale_y", some, &section->thumbnail_scale_y));
    return get_optional(store, path, group, section);
}

static Status open_counts(Store *store, const char *path, StoreSection *section, SectionHandles *h) {
    hid_t counts = -1;
    void *indptr = NULL;
    hsize_t nnz[1] = {any_size};
    size_t n = section->n_spots;
    TRY(h5_group_open(path, h->group, "counts", &counts));
    Status status = read_whole(store, path, counts, "indptr", H5T_INTEGER, 8, H5T_NATIVE_INT64, n + 1, 1, &indptr);
    if (status == STATUS_OK) status = h5_dataset_open(path, counts, "indices", H5T_INTEGER, 4, 1, nnz, &h->indices);
    if (status == STATUS_OK) status = h5_dataset_open(path, counts, "data", H5T_INTEGER, 4, 1, nnz, &h->data);
    h5_close(counts);
    TRY(status);
    h->indptr = indptr;
    section->nnz = (size_t)nnz[0];
    bool ascending = h->indptr[0] == 0 && (hsize_t)h->indptr[n] == nnz[0];
    for (size_t i = 0; i < n; i++) ascending = ascending && h->indptr[i] <= h->indptr[i + 1];
    if (!ascending)
        return status_make(STATUS_MALFORMED, "%s: 'counts/indptr' does not ascend from 0 to the %llu entries there are",
                           path, (unsigned long long)nnz[0]);
    return STATUS_OK;
}

static Status read_single_text(const char *path, hid_t group, const char *name, Arena *arena, const char **out_text) {
    char **texts = NULL;
    size_t count = 0;
    TRY(h5_read_texts(path, group, name, arena, &texts, &count));
    if (count != 1) return status_make(STATUS_MALFORMED, "%s: '%s' holds %zu texts instead of one", path, name, count);
    *out_text = texts[0];
    return STATUS_OK;
}

static Status open_section(Store *store, hid_t sections, StoreSection *section, SectionHandles *h) {
    Arena *arena = &store->arena;
    // Objects in messages read "PATH: section C5: …", because names inside a section repeat.
    char *path = arena_printf(arena, "%s: section %s", store->info.path, section->name);
    if (!path) return arena_exhausted(1, 1);
    char **ids = NULL;
    void *array = NULL, *exact = NULL, *pixel = NULL;
    size_t n = 0;
    h->where = path;
    TRY(h5_group_open(store->info.path, sections, section->name, &h->group));
    TRY(h5_read_texts(path, h->group, "id", arena, &ids, &n));
    if (n == 0) return status_make(STATUS_MALFORMED, "%s: there are no spots", path);
    if (n > UINT32_MAX) return status_make(STATUS_UNSUPPORTED, "%s: too many spots", path);
    section->n_spots = n;
    section->ids = ids;
    TRY(read_whole(store, path, h->group, "array", H5T_INTEGER, 4, H5T_NATIVE_INT32, n, 2, &array));
    TRY(read_whole(store, path, h->group, "array_exact", H5T_FLOAT, 8, H5T_NATIVE_DOUBLE, n, 2, &exact));
    TRY(read_whole(store, path, h->group, "pixel", H5T_FLOAT, 8, H5T_NATIVE_DOUBLE, n, 2, &pixel));
    section->array = array;
    section->array_exact = exact;
    section->pixel = pixel;
    TRY(read_geometry(store, path, h->group, section));
    TRY(read_single_text(path, h->group, "inputs", arena, &section->inputs));
    TRY(read_single_text(path, h->group, "left_out", arena, &section->left_out));
    TRY(tiles_open(store, path, section, h));
    TRY(open_counts(store, path, section, h));
    TRY(ARENA_NEW(arena, h->tables, store->info.n_tables));
    return STATUS_OK;
}

static Status open_all(Store *store) {
    hid_t sections = -1;
    TRY(h5_file_open(store->info.path, &store->h5));
    TRY(tiles_open_file(store));
    TRY(read_root(store));
    TRY(read_columns(store));
    TRY(h5_group_open(store->info.path, store->h5, "sections", &sections));
    Status status = STATUS_OK;
    for (size_t i = 0; i < store->info.n_sections && status == STATUS_OK; i++) {
        status = open_section(store, sections, &store->sections[i], &store->handles[i]);
        store->info.n_spots += store->sections[i].n_spots;
    }
    h5_close(sections);
    return status == STATUS_OK ? extra_open(store) : status;
}

Status store_open(const char *path, Store **out_store) {
    *out_store = NULL;
    Store *store = calloc(1, sizeof *store);
    if (!store) return arena_exhausted(1, sizeof *store);
    store->h5 = -1;
    store->info.path = arena_copy(&store->arena, path, strlen(path));
    Status status = store->info.path ? open_all(store) : arena_exhausted(1, 1);
    if (status != STATUS_OK) {
        store_close(store);
        return status;
    }
    *out_store = store;
    return STATUS_OK;
}

// ---- Finding and comparing ----------------------------------------------------------------------

static Status no_such(const Store *store, const char *what, const char *name, const char *const *names, size_t count) {
    Text list = {0};
    for (size_t i = 0; i < count && i < 20; i++) text_printf(&list, "%s%s", i ? ", " : "", names[i]);
    if (count > 20) text_printf(&list, " and %zu more", count - 20);
    const char *close = closest_name(name, names, count);
    Status status = status_make(STATUS_NOT_FOUND, "%s has no %s '%s'%s%s%s; it has %s", store->info.path, what, name,
                                close ? " (did you mean '" : "", close ? close : "", close ? "'?)" : "",
                                count ? text_string(&list) : "none");
    text_free(&list);
    return status;
}

Status store_find_section(const Store *store, const char *name, size_t *out_section) {
    for (size_t i = 0; i < store->info.n_sections; i++) {
        if (strcmp(store->sections[i].name, name) == 0) {
            *out_section = i;
            return STATUS_OK;
        }
    }
    const char **names = calloc(store->info.n_sections + 1, sizeof *names);
    if (!names) return arena_exhausted(store->info.n_sections, sizeof *names);
    for (size_t i = 0; i < store->info.n_sections; i++) names[i] = store->sections[i].name;
    Status status = no_such(store, "section", name, names, store->info.n_sections);
    free(names);
    return status;
}

Status store_find_table(const Store *store, const char *name, size_t *out_table) {
    for (size_t i = 0; i < store->info.n_tables; i++) {
        if (strcmp(store->tables[i].name, name) == 0) {
            *out_table = i;
            return STATUS_OK;
        }
    }
    const char **names = calloc(store->info.n_tables + 1, sizeof *names);
    if (!names) return arena_exhausted(store->info.n_tables, sizeof *names);
    for (size_t i = 0; i < store->info.n_tables; i++) names[i] = store->tables[i].name;
    Status status = no_such(store, "table", name, names, store->info.n_tables);
    free(names);
    return status;
}

Status store_require_table(const Store *store, const char *name, size_t n_columns, const char *const *columns,
                           size_t *out_table) {
    size_t at = 0;
    Status found = store_find_table(store, name, &at);
    if (found != STATUS_OK) {
        Status status = status_make(STATUS_MISMATCH, "%s; the model needs it: prepare the store again for this model",
                                    status_message(found));
        status_drop(found);
        return status;
    }
    const StoreTable *table = &store->tables[at];
    if (table->n_columns != n_columns)
        return status_make(STATUS_MISMATCH, "%s: table '%s' has %zu columns, the model has %zu", store->info.path, name,
                           table->n_columns, n_columns);
    for (size_t c = 0; columns && c < n_columns; c++)
        if (strcmp(columns[c], table->columns[c]) != 0)
            return status_make(STATUS_MISMATCH, "%s: column %zu of table '%s' is '%s', the model has '%s' there",
                               store->info.path, c + 1, name, table->columns[c], columns[c]);
    *out_table = at;
    return STATUS_OK;
}

// ---- Rows ---------------------------------------------------------------------------------------

Status store_check_spot(const Store *store, SpotRef spot) {
    if (spot.section >= store->info.n_sections)
        return status_make(STATUS_INVALID, "%s: section number %u of %zu", store->info.path, spot.section,
                           store->info.n_sections);
    if (spot.row >= store->sections[spot.section].n_spots)
        return status_make(STATUS_INVALID, "%s: section %s: row %u of %zu", store->info.path,
                           store->sections[spot.section].name, spot.row, store->sections[spot.section].n_spots);
    return STATUS_OK;
}

static Status load_table(Store *store, size_t table, size_t section) {
    SectionHandles *h = &store->handles[section];
    const StoreTable *t = &store->tables[table];
    size_t n = store->sections[section].n_spots;
    hid_t group = -1, dataset = -1;
    hsize_t dims[2] = {n, t->n_columns};
    float *values = NULL;
    TRY(h5_group_open(h->where, h->group, "tables", &group));
    Status status = h5_dataset_open(h->where, group, t->name, H5T_FLOAT, 4, 2, dims, &dataset);
    if (status == STATUS_OK) status = ARENA_NEW(&store->arena, values, n * t->n_columns);
    if (status == STATUS_OK) status = h5_read_rows(h->where, t->name, dataset, H5T_NATIVE_FLOAT, 0, n, values);
    h5_close(dataset);
    h5_close(group);
    TRY(status);
    for (size_t i = 0; i < n * t->n_columns; i++)
        if (!isfinite(values[i]))
            return status_make(STATUS_MALFORMED, "%s: table '%s': spot %s, column '%s' is not a finite number",
                               h->where, t->name, store->sections[section].ids[i / t->n_columns],
                               t->columns[i % t->n_columns]);
    h->tables[table] = values;
    return STATUS_OK;
}

Status store_read_table(Store *store, size_t table, const SpotRef *spots, size_t count, float *values) {
    if (table >= store->info.n_tables)
        return status_make(STATUS_INVALID, "%s: table number %zu of %zu", store->info.path, table,
                           store->info.n_tables);
    size_t k = store->tables[table].n_columns;
    for (size_t i = 0; i < count; i++) {
        TRY(store_check_spot(store, spots[i]));
        SectionHandles *h = &store->handles[spots[i].section];
        if (!h->tables[table]) TRY(load_table(store, table, spots[i].section));
        memcpy(values + i * k, h->tables[table] + spots[i].row * k, k * sizeof *values);
    }
    return STATUS_OK;
}

// The entries of one spot into buffers of at least that many elements; checks gene positions.
static Status read_entries(Store *store, SpotRef spot, int32_t *indices, uint32_t *data, size_t *out_count) {
    SectionHandles *h = &store->handles[spot.section];
    int64_t first = h->indptr[spot.row], n = h->indptr[spot.row + 1] - first;
    TRY(h5_read_rows(h->where, "counts/indices", h->indices, H5T_NATIVE_INT32, (hsize_t)first, (hsize_t)n, indices));
    TRY(h5_read_rows(h->where, "counts/data", h->data, H5T_NATIVE_UINT32, (hsize_t)first, (hsize_t)n, data));
    for (int64_t k = 0; k < n; k++)
        if (indices[k] < 0 || (size_t)indices[k] >= store->info.n_genes || (k > 0 && indices[k] <= indices[k - 1]))
            return status_make(STATUS_MALFORMED, "%s: 'counts/indices' of spot %s are not ascending gene positions",
                               h->where, store->sections[spot.section].ids[spot.row]);
    *out_count = (size_t)n;
    return STATUS_OK;
}

// indptr was checked to ascend to nnz, but a single row may still claim more genes than there are.
static Status check_row_length(const Store *store, SpotRef spot) {
    const SectionHandles *h = &store->handles[spot.section];
    int64_t n = h->indptr[spot.row + 1] - h->indptr[spot.row];
    if ((size_t)n <= store->info.n_genes) return STATUS_OK;
    return status_make(STATUS_MALFORMED, "%s: spot %s has %lld counts for %zu genes", h->where,
                       store->sections[spot.section].ids[spot.row], (long long)n, store->info.n_genes);
}

Status store_read_counts(Store *store, const SpotRef *spots, size_t count, const int32_t *genes, size_t n_genes,
                         float *values) {
    size_t total = store->info.n_genes;
    if (!genes && n_genes != total)
        return status_make(STATUS_INVALID, "%s: %zu gene columns asked for, the store has %zu", store->info.path,
                           n_genes, total);
    int32_t *indices = malloc((total + 1) * sizeof *indices);
    uint32_t *data = malloc((total + 1) * sizeof *data);
    float *dense = malloc((total + 1) * sizeof *dense);
    Status status = indices && data && dense ? STATUS_OK : arena_exhausted(total, 12);
    for (size_t g = 0; genes && g < n_genes && status == STATUS_OK; g++)
        if (genes[g] < 0 || (size_t)genes[g] >= total)
            status = status_make(STATUS_INVALID, "%s: gene number %d of %zu", store->info.path, genes[g], total);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        size_t n = 0;
        status = store_check_spot(store, spots[i]);
        if (status == STATUS_OK) status = check_row_length(store, spots[i]);
        if (status == STATUS_OK) status = read_entries(store, spots[i], indices, data, &n);
        if (status != STATUS_OK) break;
        float *row = genes ? dense : values + i * n_genes;
        memset(row, 0, total * sizeof *row);
        for (size_t k = 0; k < n; k++) row[indices[k]] = (float)data[k];
        for (size_t g = 0; genes && g < n_genes; g++) values[i * n_genes + g] = dense[genes[g]];
    }
    free(indices);
    free(data);
    free(dense);
    return status;
}

Status store_read_measured(Store *store, size_t section, uint8_t *measured) {
    TRY(store_check_spot(store, (SpotRef){(uint32_t)section, 0}));
    SectionHandles *h = &store->handles[section];
    hsize_t dims[1] = {any_size};
    hid_t dataset = -1;
    TRY(h5_dataset_open(h->where, h->group, "counts/measured", H5T_INTEGER, 4, 1, dims, &dataset));
    int32_t *numbers = dims[0] <= store->info.n_genes ? malloc((dims[0] + 1) * sizeof *numbers) : NULL;
    Status status = STATUS_OK;
    if (!numbers)
        status =
            status_make(STATUS_MALFORMED, "%s: 'counts/measured' has %llu entries for %zu genes (or memory is out)",
                        h->where, (unsigned long long)dims[0], store->info.n_genes);
    else status = h5_read_rows(h->where, "counts/measured", dataset, H5T_NATIVE_INT32, 0, dims[0], numbers);
    memset(measured, 0, store->info.n_genes);
    for (hsize_t k = 0; k < dims[0] && status == STATUS_OK; k++) {
        if (numbers[k] < 0 || (size_t)numbers[k] >= store->info.n_genes)
            status =
                status_make(STATUS_MALFORMED, "%s: 'counts/measured' holds gene position %d", h->where, numbers[k]);
        else measured[numbers[k]] = 1;
    }
    free(numbers);
    h5_close(dataset);
    return status;
}

Status store_read_thumbnail(Store *store, size_t section, Picture *out_picture) {
    *out_picture = (Picture){0};
    TRY(store_check_spot(store, (SpotRef){(uint32_t)section, 0}));
    SectionHandles *h = &store->handles[section];
    hsize_t dims[3] = {any_size, any_size, 3};
    hid_t dataset = -1;
    if (store->sections[section].thumbnail_scale_x == 0)
        return status_make(STATUS_NOT_FOUND, "%s: it has no thumbnail", h->where);
    TRY(h5_dataset_open(h->where, h->group, "thumbnail", H5T_INTEGER, 1, 3, dims, &dataset));
    Status status = status_context(picture_create((size_t)dims[1], (size_t)dims[0], (size_t)1 << 28, out_picture),
                                   "%s: thumbnail", h->where);
    if (status == STATUS_OK)
        status = h5_read_rows(h->where, "thumbnail", dataset, H5T_NATIVE_UINT8, 0, dims[0], out_picture->rgb);
    h5_close(dataset);
    if (status != STATUS_OK) picture_free(out_picture);
    return status;
}

// ---- All of it ----------------------------------------------------------------------------------

enum { CHECK_ROWS = 16 }; // tiles read at a time

static Status check_tiles(Store *store, uint32_t section) {
    size_t bytes = store->info.tile_size * store->info.tile_size * 3, n = store->sections[section].n_spots;
    SpotRef spots[CHECK_ROWS];
    if (bytes == 0) return STATUS_OK;
    uint8_t *tiles = malloc(bytes * CHECK_ROWS);
    Status status = tiles ? STATUS_OK : arena_exhausted(bytes, CHECK_ROWS);
    for (size_t first = 0; first < n && status == STATUS_OK; first += CHECK_ROWS) {
        size_t count = n - first < CHECK_ROWS ? n - first : CHECK_ROWS;
        for (size_t i = 0; i < count; i++) spots[i] = (SpotRef){section, (uint32_t)(first + i)};
        status = store_read_tiles(store, spots, count, tiles);
    }
    free(tiles);
    return status;
}

static Status check_counts(Store *store, uint32_t s) {
    const StoreSection *section = &store->sections[s];
    uint8_t *measured = malloc(store->info.n_genes + 1);
    int32_t *indices = malloc((store->info.n_genes + 1) * sizeof *indices);
    uint32_t *data = malloc((store->info.n_genes + 1) * sizeof *data);
    Status status = measured && indices && data ? STATUS_OK : arena_exhausted(store->info.n_genes, 9);
    TRY_OR(status, done, status);
    TRY_OR(status, done, store_read_measured(store, s, measured));
    for (uint32_t row = 0; row < section->n_spots; row++) {
        SpotRef spot = {s, row};
        size_t n = 0;
        TRY_OR(status, done, check_row_length(store, spot));
        TRY_OR(status, done, read_entries(store, spot, indices, data, &n));
        for (size_t k = 0; k < n; k++) {
            if (measured[indices[k]] && data[k]) continue;
            status = status_make(STATUS_MALFORMED, "%s: section %s: spot %s has %s for gene %s", store->info.path,
                                 section->name, section->ids[row], data[k] ? "counts" : "a stored zero",
                                 store->info.genes[indices[k]]);
            goto done;
        }
    }
done:
    free(measured);
    free(indices);
    free(data);
    return status;
}

Status store_check(Store *store) {
    TRY(store_names_differ(store->info.path, "genes", store->info.genes, store->info.n_genes));
    for (size_t t = 0; t < store->info.n_tables; t++)
        TRY(store_names_differ(store->info.path, store->tables[t].name, store->tables[t].columns,
                               store->tables[t].n_columns));
    for (uint32_t s = 0; s < store->info.n_sections; s++) {
        Picture thumbnail = {0};
        if (store->sections[s].thumbnail_scale_x > 0) TRY(store_read_thumbnail(store, s, &thumbnail));
        picture_free(&thumbnail);
        TRY(store_names_differ(store->handles[s].where, "id", store->sections[s].ids, store->sections[s].n_spots));
        for (size_t t = 0; t < store->info.n_tables; t++)
            if (!store->handles[s].tables[t]) TRY(load_table(store, t, s));
        TRY(extra_check(store, s));
        TRY(check_tiles(store, s));
        TRY(check_counts(store, s));
    }
    return STATUS_OK;
}
