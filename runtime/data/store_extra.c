// store_extra: what a section may bring besides spots, tiles and counts: neighbours, features and splits. Their names,
// like those of tables, are the same in every section.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "store_inside.h"

enum { FEATURE_BLOCK = 256 }; // rows read at a time when a store is checked

// ---- Writing ------------------------------------------------------------------------------------

static Status copy_name(Arena *arena, const char *name, const char *what, char **out) {
    if (!name || !*name || strchr(name, '/') || name[0] == '.')
        return status_make(STATUS_INVALID, "'%s' cannot be the name of %s", name ? name : "", what);
    return ARENA_COPY(arena, *out, name, strlen(name));
}

Status extra_define(StoreWriter *w, const StoreSectionExtra *extra) {
    Arena *arena = &w->arena;
    char *name = NULL;
    w->n_graphs = extra->n_graphs;
    w->n_features = extra->n_features;
    w->n_splits = extra->n_splits;
    TRY(ARENA_NEW(arena, w->graphs, w->n_graphs));
    TRY(ARENA_NEW(arena, w->features, w->n_features));
    TRY(ARENA_NEW(arena, w->splits, w->n_splits));
    for (size_t i = 0; i < w->n_graphs; i++)
        TRY(copy_name(arena, extra->graphs[i].name, "neighbour lists", &w->graphs[i]));
    for (size_t i = 0; i < w->n_features; i++) {
        TRY(copy_name(arena, extra->features[i].name, "features", &name));
        if (extra->features[i].width == 0)
            return status_make(STATUS_INVALID, "the features '%s' have no columns", name);
        w->features[i] = (StoreWidth){name, extra->features[i].width};
    }
    for (size_t i = 0; i < w->n_splits; i++) {
        const StoreSplit *split = &extra->splits[i];
        char **parts = NULL;
        TRY(copy_name(arena, split->name, "a split", &name));
        TRY(ARENA_NEW(arena, parts, split->n_parts));
        for (size_t p = 0; p < split->n_parts; p++)
            TRY(ARENA_COPY(arena, parts[p], split->parts[p], strlen(split->parts[p])));
        w->splits[i] = (StoreParts){name, split->n_parts, parts};
    }
    return STATUS_OK;
}

static Status not_the_same(const StoreWriter *w, const char *what, size_t i) {
    return status_make(STATUS_MISMATCH,
                       "%s number %zu differs from section %s in name or shape; all sections of a store "
                       "bring the same",
                       what, i + 1, w->section_names[0]);
}

static Status write_graph(const char *path, hid_t group, const StoreGraph *g, size_t n) {
    int64_t entries = g->start[n];
    hid_t graph = -1;
    if (g->start[0] != 0) return status_make(STATUS_INVALID, "neighbours '%s': start[0] is not 0", g->name);
    for (size_t i = 0; i < n; i++)
        if (g->start[i + 1] < g->start[i])
            return status_make(STATUS_INVALID, "neighbours '%s': start does not ascend at spot %zu", g->name, i);
    for (int64_t e = 0; e < entries; e++)
        if (g->neighbour[e] < 0 || (size_t)g->neighbour[e] >= n || (g->weight && !isfinite(g->weight[e])))
            return status_make(STATUS_INVALID,
                               "neighbours '%s': entry %lld is no spot of the section or has no finite "
                               "weight",
                               g->name, (long long)e);
    hsize_t starts[1] = {n + 1}, dims[1] = {(hsize_t)entries}, start_chunk[1] = {n + 1};
    hsize_t chunk[1] = {entries < 8192 ? (hsize_t)(entries ? entries : 1) : 8192};
    H5Layout packed = {.chunk = chunk, .deflate = 1, .checksum = true};
    H5Layout whole = {.chunk = start_chunk, .checksum = true};
    TRY(h5_group_create(path, group, g->name, &graph));
    Status status = h5_write(path, graph, "indptr", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, starts, g->start, whole);
    if (status == STATUS_OK)
        status = h5_write(path, graph, "indices", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, dims, g->neighbour, packed);
    if (status == STATUS_OK && g->weight)
        status = h5_write(path, graph, "weight", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 1, dims, g->weight, packed);
    h5_close(graph);
    return status;
}

static Status write_features(const char *path, hid_t group, const StoreFeatures *f, size_t n) {
    hsize_t dims[2] = {n, f->width}, chunk[2] = {1, f->width};
    for (size_t i = 0; i < n * f->width; i++)
        if (!isfinite(f->values[i]))
            return status_make(STATUS_INVALID, "features '%s': spot %zu, column %zu is not a finite number", f->name,
                               i / f->width, i % f->width);
    while (chunk[0] < n && chunk[0] * f->width < 4096) chunk[0] *= 2; // about 16 KiB: rows are read one by one
    if (chunk[0] > n) chunk[0] = n;
    return h5_write(path, group, f->name, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, dims, f->values,
                    (H5Layout){.chunk = chunk, .checksum = true});
}

static Status write_split(const char *path, hid_t group, const StoreSplit *s, size_t n) {
    hsize_t dims[1] = {n};
    for (size_t i = 0; i < n; i++)
        if (s->part[i] < -1 || s->part[i] >= (int64_t)s->n_parts)
            return status_make(STATUS_INVALID, "split '%s': spot %zu is in part %d of %zu", s->name, i, s->part[i],
                               s->n_parts);
    return h5_write(path, group, s->name, H5T_STD_I32LE, H5T_NATIVE_INT32, 1, dims, s->part,
                    (H5Layout){.chunk = dims, .checksum = true});
}

static bool same_parts(const StoreParts *a, const StoreSplit *b) {
    bool same = strcmp(a->name, b->name) == 0 && a->n_parts == b->n_parts;
    for (size_t p = 0; same && p < a->n_parts; p++) same = strcmp(a->parts[p], b->parts[p]) == 0;
    return same;
}

Status extra_write(StoreWriter *w, hid_t group, const Section *section, const StoreSectionExtra *extra) {
    const char *path = w->name;
    hid_t child = -1;
    size_t n = section->n_spots;
    if (extra->n_graphs != w->n_graphs || extra->n_features != w->n_features || extra->n_splits != w->n_splits)
        return status_make(
            STATUS_MISMATCH,
            "it brings %zu neighbour lists, %zu features and %zu splits, section %s has %zu, %zu and %zu",
            extra->n_graphs, extra->n_features, extra->n_splits, w->section_names[0], w->n_graphs, w->n_features,
            w->n_splits);
    Status status = h5_group_create(path, group, "neighbours", &child);
    for (size_t i = 0; i < w->n_graphs && status == STATUS_OK; i++)
        status = strcmp(extra->graphs[i].name, w->graphs[i]) == 0 ? write_graph(path, child, &extra->graphs[i], n)
                                                                  : not_the_same(w, "the neighbour list", i);
    h5_close(child);
    child = -1;
    if (status == STATUS_OK) status = h5_group_create(path, group, "features", &child);
    for (size_t i = 0; i < w->n_features && status == STATUS_OK; i++) {
        const StoreFeatures *f = &extra->features[i];
        bool same = strcmp(f->name, w->features[i].name) == 0 && f->width == w->features[i].width;
        status = same ? write_features(path, child, f, n) : not_the_same(w, "the feature table", i);
    }
    h5_close(child);
    child = -1;
    if (status == STATUS_OK) status = h5_group_create(path, group, "splits", &child);
    for (size_t i = 0; i < w->n_splits && status == STATUS_OK; i++)
        status = same_parts(&w->splits[i], &extra->splits[i]) ? write_split(path, child, &extra->splits[i], n)
                                                              : not_the_same(w, "the split", i);
    h5_close(child);
    return status;
}

Status extra_finish(StoreWriter *w) {
    hid_t file = w->output.file, group = -1;
    char **names = NULL;
    TRY(ARENA_NEW(&w->arena, names, w->n_features + w->n_splits));
    TRY(h5_put_fixed_texts(w->name, file, "neighbours", w->graphs, w->n_graphs));
    for (size_t i = 0; i < w->n_features; i++) names[i] = (char *)w->features[i].name;
    TRY(h5_put_fixed_texts(w->name, file, "features", names, w->n_features));
    for (size_t i = 0; i < w->n_splits; i++) names[i] = (char *)w->splits[i].name;
    TRY(h5_put_fixed_texts(w->name, file, "splits", names, w->n_splits));
    TRY(h5_group_create(w->name, file, "parts", &group));
    Status status = STATUS_OK;
    for (size_t i = 0; i < w->n_splits && status == STATUS_OK; i++)
        status = h5_write_fixed_texts(w->name, group, w->splits[i].name, w->splits[i].parts, w->splits[i].n_parts);
    h5_close(group);
    return status;
}

// ---- Opening ------------------------------------------------------------------------------------

static Status open_splits(Store *store, char *const *names) {
    hid_t group = -1;
    StoreParts *splits = NULL;
    TRY(ARENA_NEW(&store->arena, splits, store->info.n_splits));
    TRY(h5_group_open(store->info.path, store->h5, "parts", &group));
    Status status = STATUS_OK;
    for (size_t i = 0; i < store->info.n_splits && status == STATUS_OK; i++) {
        char **parts = NULL;
        splits[i].name = names[i];
        status = h5_read_texts(store->info.path, group, names[i], &store->arena, &parts, &splits[i].n_parts);
        splits[i].parts = parts;
    }
    h5_close(group);
    store->info.splits = splits;
    return status;
}

// The datasets of all features in a section; widths are those of the first.
static Status open_features(Store *store, SectionHandles *h, size_t n_spots, StoreWidth *features) {
    size_t count = store->info.n_features;
    hid_t group = -1;
    TRY(ARENA_NEW(&store->arena, h->features, count));
    for (size_t i = 0; i < count; i++) h->features[i] = -1;
    if (count == 0) return STATUS_OK;
    TRY(h5_group_open(h->where, h->group, "features", &group));
    Status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        hsize_t dims[2] = {n_spots, features[i].width ? features[i].width : (hsize_t)-1};
        status = h5_dataset_open(h->where, group, features[i].name, H5T_FLOAT, 4, 2, dims, &h->features[i]);
        if (status == STATUS_OK && dims[1] == 0)
            status = status_make(STATUS_MALFORMED, "%s: the features '%s' have no columns", h->where, features[i].name);
        features[i].width = (size_t)dims[1];
    }
    h5_close(group);
    return status;
}

Status extra_open(Store *store) {
    StoreInfo *info = &store->info;
    Arena *arena = &store->arena;
    char **graphs = NULL, **features = NULL, **splits = NULL, **provenance = NULL;
    StoreWidth *widths = NULL;
    size_t n_texts = 0;
    info->provenance = "{}";
    if (info->version < 2) return STATUS_OK;
    TRY(h5_get_fixed_texts(info->path, store->h5, "neighbours", arena, &graphs, &info->n_graphs));
    TRY(h5_get_fixed_texts(info->path, store->h5, "features", arena, &features, &info->n_features));
    TRY(h5_get_fixed_texts(info->path, store->h5, "splits", arena, &splits, &info->n_splits));
    TRY(store_names_differ(info->path, "neighbours", graphs, info->n_graphs));
    TRY(store_names_differ(info->path, "features", features, info->n_features));
    TRY(store_names_differ(info->path, "splits", splits, info->n_splits));
    TRY(h5_read_texts(info->path, store->h5, "provenance", arena, &provenance, &n_texts));
    if (n_texts != 1)
        return status_make(STATUS_MALFORMED, "%s: 'provenance' holds %zu texts instead of one", info->path, n_texts);
    info->provenance = provenance[0];
    info->graphs = graphs;
    TRY(ARENA_NEW(arena, widths, info->n_features));
    for (size_t i = 0; i < info->n_features; i++) widths[i].name = features[i];
    for (size_t s = 0; s < info->n_sections; s++)
        TRY(open_features(store, &store->handles[s], store->sections[s].n_spots, widths));
    info->features = widths;
    return open_splits(store, splits);
}

void extra_close(Store *store) {
    for (size_t s = 0; store->handles && s < store->info.n_sections; s++)
        for (size_t i = 0; store->handles[s].features && i < store->info.n_features; i++)
            h5_close(store->handles[s].features[i]);
}

// ---- Reading ------------------------------------------------------------------------------------

static Status check_section(const Store *store, size_t section) {
    if (section < store->info.n_sections) return STATUS_OK;
    return status_make(STATUS_INVALID, "%s: section number %zu of %zu", store->info.path, section,
                       store->info.n_sections);
}

// A whole one-dimensional dataset of `count` elements ((hsize_t)-1: any) of `size` bytes, at most `limit`.
static Status read_list(const char *where, hid_t group, const char *name, H5T_class_t type_class, hid_t type,
                        size_t size, hsize_t count, hsize_t limit, Arena *arena, void **out, size_t *out_count) {
    hsize_t dims[1] = {count};
    hid_t dataset = -1;
    TRY(h5_dataset_open(where, group, name, type_class, size, 1, dims, &dataset));
    Status status = STATUS_OK;
    if (dims[0] > limit)
        status = status_make(STATUS_MALFORMED, "%s: '%s' has %llu entries; at most %llu are possible", where, name,
                             (unsigned long long)dims[0], (unsigned long long)limit);
    if (status == STATUS_OK && !(*out = arena_alloc(arena, (size_t)dims[0], size)))
        status = arena_exhausted((size_t)dims[0], size);
    if (status == STATUS_OK) status = h5_read_rows(where, name, dataset, type, 0, dims[0], *out);
    h5_close(dataset);
    *out_count = (size_t)dims[0];
    return status;
}

static Status read_graph(const SectionHandles *h, hid_t group, size_t n, Arena *arena, StoreGraph *out) {
    void *start = NULL, *neighbour = NULL, *weight = NULL;
    size_t count = 0, weights = 0;
    TRY(read_list(h->where, group, "indptr", H5T_INTEGER, H5T_NATIVE_INT64, 8, n + 1, n + 1, arena, &start, &count));
    TRY(read_list(h->where, group, "indices", H5T_INTEGER, H5T_NATIVE_INT32, 4, (hsize_t)-1, (hsize_t)n * n, arena,
                  &neighbour, &count));
    if (H5Lexists(group, "weight", H5P_DEFAULT) > 0)
        TRY(read_list(h->where, group, "weight", H5T_FLOAT, H5T_NATIVE_FLOAT, 4, count, count, arena, &weight,
                      &weights));
    const int64_t *s = start;
    const int32_t *i = neighbour;
    const float *w = weight;
    bool sound = s[0] == 0 && s[n] == (int64_t)count;
    for (size_t r = 0; r < n && sound; r++) sound = s[r] <= s[r + 1];
    for (size_t e = 0; e < count && sound; e++) sound = i[e] >= 0 && (size_t)i[e] < n && (!w || isfinite(w[e]));
    if (!sound)
        return status_make(STATUS_MALFORMED,
                           "%s: the neighbours '%s' do not ascend to their %zu entries, or name spots "
                           "or weights that cannot be",
                           h->where, out->name, count);
    out->start = s;
    out->neighbour = i;
    out->weight = w;
    return STATUS_OK;
}

Status store_read_graph(Store *store, size_t section, const char *name, Arena *arena, StoreGraph *out) {
    hid_t graphs = -1, graph = -1;
    *out = (StoreGraph){0};
    TRY(check_section(store, section));
    for (size_t i = 0; i < store->info.n_graphs; i++)
        if (strcmp(store->info.graphs[i], name) == 0) out->name = store->info.graphs[i];
    if (!out->name) return status_make(STATUS_NOT_FOUND, "%s: there are no neighbours '%s'", store->info.path, name);
    const SectionHandles *h = &store->handles[section];
    Status status = h5_group_open(h->where, h->group, "neighbours", &graphs);
    if (status == STATUS_OK) status = h5_group_open(h->where, graphs, name, &graph);
    if (status == STATUS_OK) status = read_graph(h, graph, store->sections[section].n_spots, arena, out);
    h5_close(graph);
    h5_close(graphs);
    return status;
}

Status store_read_features(Store *store, size_t features, const SpotRef *spots, size_t count, float *values) {
    if (features >= store->info.n_features)
        return status_make(STATUS_INVALID, "%s: features number %zu of %zu", store->info.path, features,
                           store->info.n_features);
    const StoreWidth *f = &store->info.features[features];
    for (size_t i = 0, run = 1; i < count; i += run) {
        TRY(check_section(store, spots[i].section));
        size_t n = store->sections[spots[i].section].n_spots;
        for (run = 1;
             i + run < count && spots[i + run].section == spots[i].section && spots[i + run].row == spots[i].row + run;)
            run++; // neighbouring rows in one call
        SectionHandles *h = &store->handles[spots[i].section];
        if (spots[i].row + run > n)
            return status_make(STATUS_INVALID, "%s: row %zu of %zu", h->where, spots[i].row + run - 1, n);
        float *to = values + i * f->width;
        TRY(h5_read_rows(h->where, f->name, h->features[features], H5T_NATIVE_FLOAT, spots[i].row, run, to));
        for (size_t k = 0; k < run * f->width; k++)
            if (!isfinite(to[k]))
                return status_make(STATUS_MALFORMED, "%s: features '%s': spot %zu, column %zu is not a finite number",
                                   h->where, f->name, spots[i].row + k / f->width, k % f->width);
    }
    return STATUS_OK;
}

Status store_read_split(Store *store, size_t section, size_t split, int32_t *part) {
    TRY(check_section(store, section));
    if (split >= store->info.n_splits)
        return status_make(STATUS_INVALID, "%s: split number %zu of %zu", store->info.path, split,
                           store->info.n_splits);
    SectionHandles *h = &store->handles[section];
    const StoreParts *s = &store->info.splits[split];
    size_t n = store->sections[section].n_spots;
    hsize_t dims[1] = {n};
    hid_t group = -1, dataset = -1;
    TRY(h5_group_open(h->where, h->group, "splits", &group));
    Status status = h5_dataset_open(h->where, group, s->name, H5T_INTEGER, 4, 1, dims, &dataset);
    if (status == STATUS_OK) status = h5_read_rows(h->where, s->name, dataset, H5T_NATIVE_INT32, 0, n, part);
    h5_close(dataset);
    h5_close(group);
    for (size_t i = 0; i < n && status == STATUS_OK; i++)
        if (part[i] < -1 || part[i] >= (int64_t)s->n_parts)
            status = status_make(STATUS_MALFORMED, "%s: split '%s': spot %s is in part %d of %zu", h->where, s->name,
                                 store->sections[section].ids[i], part[i], s->n_parts);
    return status;
}

Status extra_check(Store *store, size_t section) {
    size_t n = store->sections[section].n_spots;
    Arena arena;
    StoreGraph graph;
    SpotRef spots[FEATURE_BLOCK];
    arena_init(&arena);
    Status status = STATUS_OK;
    for (size_t i = 0; i < store->info.n_graphs && status == STATUS_OK; i++)
        status = store_read_graph(store, section, store->info.graphs[i], &arena, &graph);
    int32_t *part = arena_alloc(&arena, n, sizeof *part);
    if (!part && status == STATUS_OK) status = arena_exhausted(n, sizeof *part);
    for (size_t i = 0; i < store->info.n_splits && status == STATUS_OK; i++)
        status = store_read_split(store, section, i, part);
    for (size_t i = 0; i < store->info.n_features && status == STATUS_OK; i++) {
        size_t width = store->info.features[i].width;
        float *values = arena_alloc(&arena, FEATURE_BLOCK * width, sizeof *values);
        if (!values) status = arena_exhausted(FEATURE_BLOCK * width, sizeof *values);
        for (size_t first = 0; first < n && status == STATUS_OK; first += FEATURE_BLOCK) {
            size_t count = n - first < FEATURE_BLOCK ? n - first : FEATURE_BLOCK;
            for (size_t k = 0; k < count; k++) spots[k] = (SpotRef){(uint32_t)section, (uint32_t)(first + k)};
            status = store_read_features(store, i, spots, count, values);
        }
    }
    arena_free(&arena);
    return status;
}
