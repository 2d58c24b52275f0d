// rows: see rows.h. The only file of training that talks to stores.
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"
#include "../data/store.h"
#include "recipe.h"

typedef struct Dataset {
    RecipeKind kind; // TILES, COUNTS, TABLE or FEATURES
    size_t *number;  // [stores] position of the table or the features in each store
} Dataset;

enum { MAX_DATASETS = 64, READ_AT_ONCE = 256 };

struct Rows {
    Arena arena;
    Store **store; // [stores]
    int stores;
    RowSection *section; // [sections]
    uint32_t *store_of;  // [sections]
    uint32_t *number_of; // [sections] position within its store
    int sections;
    int64_t count;
    Dataset dataset[MAX_DATASETS];
    int datasets;
};

static Status list_sections(Rows *rows) {
    size_t sections = 0;
    for (int s = 0; s < rows->stores; s++) sections += store_info(rows->store[s])->n_sections;
    TRY(ARENA_NEW(&rows->arena, rows->section, sections + 1));
    TRY(ARENA_NEW(&rows->arena, rows->store_of, sections + 1));
    TRY(ARENA_NEW(&rows->arena, rows->number_of, sections + 1));
    for (int s = 0; s < rows->stores; s++) {
        const StoreInfo *info = store_info(rows->store[s]);
        for (size_t k = 0; k < info->n_sections; k++) {
            const char *name = info->sections[k].name;
            for (int i = 0; i < rows->sections; i++)
                if (strcmp(rows->section[i].name, name) == 0)
                    return status_make(STATUS_MISMATCH,
                                       "%s and %s both have a section %s; give one of them, or prepare them with "
                                       "different section names",
                                       rows->section[i].path, info->path, name);
            rows->section[rows->sections] =
                (RowSection){name, info->path, rows->count, (int64_t)info->sections[k].n_spots};
            rows->store_of[rows->sections] = (uint32_t)s;
            rows->number_of[rows->sections] = (uint32_t)k;
            rows->count += (int64_t)info->sections[k].n_spots;
            rows->sections++;
        }
    }
    return STATUS_OK;
}

Status rows_open(const char *const *paths, int count, Rows **out_rows) {
    *out_rows = NULL;
    Rows *rows = calloc(1, sizeof *rows);
    if (!rows) return status_make(STATUS_NO_MEMORY, "no memory to open stores");
    arena_init(&rows->arena);
    Status status = ARENA_NEW(&rows->arena, rows->store, (size_t)count + 1);
    for (; rows->stores < count && status == STATUS_OK; rows->stores++) {
        status = store_open(paths[rows->stores], &rows->store[rows->stores]);
        if (status != STATUS_OK) break;
    }
    if (status == STATUS_OK) status = list_sections(rows);
    if (status != STATUS_OK) rows_close(rows);
    else *out_rows = rows;
    return status;
}

void rows_close(Rows *rows) {
    if (!rows) return;
    for (int s = 0; s < rows->stores; s++) store_close(rows->store[s]);
    arena_free(&rows->arena);
    free(rows);
}

int64_t rows_count(const Rows *rows) {
    return rows->count;
}

int rows_sections(const Rows *rows) {
    return rows->sections;
}

const RowSection *rows_section(const Rows *rows, int index) {
    return &rows->section[index];
}

Status rows_find_section(const Rows *rows, const char *name, int *out_index) {
    for (int i = 0; i < rows->sections; i++) {
        if (strcmp(rows->section[i].name, name) == 0) {
            *out_index = i;
            return STATUS_OK;
        }
    }
    Text names = {0};
    for (int i = 0; i < rows->sections && i < 40; i++) text_printf(&names, "%s%s", i ? " " : "", rows->section[i].name);
    Status status = status_make(STATUS_NOT_FOUND, "there is no section %s; %s %s: %s%s", name, rows->section[0].path,
                                rows->stores > 1 ? "and the other files have" : "has", text_string(&names),
                                rows->sections > 40 ? " ..." : "");
    text_free(&names);
    return status;
}

Status rows_select(const Rows *rows, const bool *use, int64_t **out_numbers, int64_t *out_count) {
    int64_t count = 0, *numbers = malloc(((size_t)rows->count + 1) * sizeof *numbers);
    if (!numbers) return status_make(STATUS_NO_MEMORY, "no memory for %lld row numbers", (long long)rows->count);
    for (int i = 0; i < rows->sections; i++) {
        if (use && !use[i]) continue;
        for (int64_t r = 0; r < rows->section[i].count; r++) numbers[count++] = rows->section[i].first + r;
    }
    *out_numbers = numbers;
    *out_count = count;
    return STATUS_OK;
}

// ---- Splits ------------------------------------------------------------------------------------------------------

// "by_patient (train 120, validation 30), random (...)": what --split can name in a store.
static Status list_splits(Rows *rows, int store, Text *text) {
    const StoreInfo *info = store_info(rows->store[store]);
    for (size_t s = 0; s < info->n_splits; s++) {
        const StoreParts *split = &info->splits[s];
        text_printf(text, "%s%s (", s ? ", " : "", split->name);
        for (size_t p = 0; p < split->n_parts; p++) {
            int64_t count = 0;
            for (size_t k = 0; k < info->n_sections; k++) {
                int32_t *part = malloc((info->sections[k].n_spots + 1) * sizeof *part);
                if (!part) return status_make(STATUS_NO_MEMORY, "no memory for the split %s", split->name);
                Status status = store_read_split(rows->store[store], k, s, part);
                for (size_t i = 0; status == STATUS_OK && i < info->sections[k].n_spots; i++)
                    count += part[i] == (int32_t)p;
                free(part);
                TRY(status);
            }
            text_printf(text, "%s%s %lld", p ? ", " : "", split->parts[p], (long long)count);
        }
        text_add(text, ")");
    }
    return STATUS_OK;
}

Status rows_splits(Rows *rows, Text *out_text) {
    for (int s = 0; s < rows->stores && !out_text->length; s++) TRY(list_splits(rows, s, out_text));
    return STATUS_OK;
}

static Status no_split(Rows *rows, int store, const char *wrong, const char *name) {
    Text list = {0};
    Status status = list_splits(rows, store, &list);
    const char *path = store_info(rows->store[store])->path;
    if (status == STATUS_OK)
        status = list.length ? status_make(STATUS_NOT_FOUND, "%s has no %s %s; its splits are: %s", path, wrong, name,
                                           text_string(&list))
                             : status_make(STATUS_NOT_FOUND,
                                           "%s has no split %s: it has none at all; a line such as parts = split(by = "
                                           "\"section\", validation = 0.2) of the prepare block makes one",
                                           path, name);
    text_free(&list);
    return status;
}

static Status find_part(Rows *rows, int store, const char *split, const char *part, size_t *out_split,
                        int32_t *out_part) {
    const StoreInfo *info = store_info(rows->store[store]);
    char both[300];
    for (size_t s = 0; s < info->n_splits; s++) {
        if (strcmp(info->splits[s].name, split) != 0) continue;
        for (size_t p = 0; p < info->splits[s].n_parts; p++)
            if (strcmp(info->splits[s].parts[p], part) == 0) {
                *out_split = s;
                *out_part = (int32_t)p;
                return STATUS_OK;
            }
        snprintf(both, sizeof both, "%.100s:%.100s", split, part);
        return no_split(rows, store, "part", both);
    }
    return no_split(rows, store, "split", split);
}

Status rows_select_part(Rows *rows, const bool *use, const char *split, const char *part, int64_t **out_numbers,
                        int64_t *out_count) {
    int64_t count = 0, *numbers = malloc(((size_t)rows->count + 1) * sizeof *numbers);
    int32_t *parts = malloc(((size_t)rows->count + 1) * sizeof *parts);
    Status status = numbers && parts ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for the split %s", split);
    for (int i = 0; i < rows->sections && status == STATUS_OK; i++) {
        const RowSection *section = &rows->section[i];
        int store = (int)rows->store_of[i];
        size_t number = 0;
        int32_t wanted = 0;
        status = find_part(rows, store, split, part, &number, &wanted);
        if (status != STATUS_OK || (use && !use[i])) continue;
        status = store_read_split(rows->store[store], rows->number_of[i], number, parts);
        for (int64_t r = 0; status == STATUS_OK && r < section->count; r++)
            if (parts[r] == wanted) numbers[count++] = section->first + r;
    }
    free(parts);
    if (status != STATUS_OK) {
        free(numbers);
        numbers = NULL;
    }
    *out_numbers = numbers;
    *out_count = count;
    return status;
}

// ---- Inputs ------------------------------------------------------------------------------------------------------

// The dataset's element type and row shape in store `s`.
static void dataset_shape(const Rows *rows, const Dataset *dataset, int s, StmType *type, int *rank, int64_t shape[3]) {
    const StoreInfo *info = store_info(rows->store[s]);
    *type = dataset->kind == RECIPE_TILES ? STM_U8 : STM_F32;
    *rank = dataset->kind == RECIPE_TILES ? 3 : 1;
    shape[0] = shape[1] = (int64_t)info->tile_size;
    shape[2] = 3;
    if (dataset->kind == RECIPE_COUNTS) shape[0] = (int64_t)info->n_genes;
    if (dataset->kind == RECIPE_TABLE) shape[0] = (int64_t)info->tables[dataset->number[s]].n_columns;
    if (dataset->kind == RECIPE_FEATURES) shape[0] = (int64_t)info->features[dataset->number[s]].width;
}

static void write_shape(Text *text, const char *front, int rank, const int64_t *shape) {
    text_add(text, front);
    for (int d = 0; d < rank; d++) text_printf(text, ", %lld", (long long)shape[d]);
    text_add(text, "]");
}

static Status check_shape(const Rows *rows, const StmPlan *plan, const StmTensor *tensor, const Dataset *dataset, int s,
                          const int64_t *extent) {
    StmType type;
    int rank;
    int64_t found[3], wanted[STM_MAX_RANK];
    dataset_shape(rows, dataset, s, &type, &rank, found);
    bool same = type == tensor->type && rank == tensor->rank - 1;
    for (int d = 1; d < tensor->rank; d++) {
        wanted[d - 1] = extent_of(tensor->dim[d], extent);
        same = same && wanted[d - 1] == found[d - 1];
    }
    if (same) return STATUS_OK;
    const char *row = tensor->dim[0].axis >= 0 ? plan->axis[tensor->dim[0].axis].name : "row";
    Text have = {0}, want = {0}, hint = {0};
    text_printf(&have, "%s[%s", type_name(type), row);
    write_shape(&have, "", rank, found);
    text_printf(&want, "%s[%s", type_name(tensor->type), row);
    write_shape(&want, "", tensor->rank - 1, wanted);
    for (int d = 1; d < tensor->rank && rank == tensor->rank - 1 && !hint.length; d++)
        if (tensor->axis[d] >= 0 && wanted[d - 1] != found[d - 1])
            text_printf(&hint, ", or compile it with -D %s=%lld", plan->axis[tensor->axis[d]].name,
                        (long long)found[d - 1]);
    Status status = status_make(STATUS_MISMATCH,
                                "%s: dataset %s is %s, but %s reads it as %s; give a store that was prepared for this "
                                "program%s",
                                store_info(rows->store[s])->path, tensor->dataset, text_string(&have), plan->name,
                                text_string(&want), text_string(&hint));
    text_free(&have);
    text_free(&want);
    text_free(&hint);
    return status;
}

// Stores read together must name the columns of a dataset alike.
static Status check_columns(const Rows *rows, const Dataset *dataset, const char *name) {
    const StoreInfo *first = store_info(rows->store[0]);
    bool named = dataset->kind == RECIPE_TABLE || dataset->kind == RECIPE_COUNTS;
    for (int s = 1; s < rows->stores && named; s++) {
        const StoreInfo *info = store_info(rows->store[s]);
        bool table = dataset->kind == RECIPE_TABLE;
        char *const *a = table ? first->tables[dataset->number[0]].columns : first->genes;
        char *const *b = table ? info->tables[dataset->number[s]].columns : info->genes;
        size_t n = table ? first->tables[dataset->number[0]].n_columns : first->n_genes;
        for (size_t k = 0; k < n; k++)
            if (strcmp(a[k], b[k]) != 0)
                return status_make(STATUS_MISMATCH,
                                   "dataset %s: column %zu is %s in %s and %s in %s; prepare the sections together "
                                   "into one store",
                                   name, k + 1, a[k], first->path, b[k], info->path);
    }
    return STATUS_OK;
}

static void list_names(Text *text, const char *what, size_t count, const char *(*name)(const StoreInfo *, size_t),
                       const StoreInfo *info) {
    enum { LISTED = 20 };
    for (size_t i = 0; i < count && i < LISTED; i++)
        text_printf(text, "%s%s", i ? ", " : text->length ? "; " : "", i ? "" : what), text_add(text, name(info, i));
    if (count > LISTED) text_add(text, ", ...");
}

static const char *table_name(const StoreInfo *info, size_t i) {
    return info->tables[i].name;
}

static const char *features_name(const StoreInfo *info, size_t i) {
    return info->features[i].name;
}

static bool find_table(const StoreInfo *info, const char *name, size_t *out) {
    for (size_t i = 0; i < info->n_tables; i++)
        if (strcmp(info->tables[i].name, name) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static bool find_features(const StoreInfo *info, const char *name, size_t *out) {
    for (size_t i = 0; i < info->n_features; i++)
        if (strcmp(info->features[i].name, name) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static Status no_rows(const char *path, const char *name, const char *what) {
    return status_make(STATUS_UNSUPPORTED,
                       "%s: %s is %s, which cannot be an input: the runtime feeds rows of one dynamic axis, a tile, "
                       "counts, or a row of a table or of features for every spot",
                       path, name, what);
}

static Status no_dataset(const StoreInfo *info, const char *name) {
    for (size_t i = 0; i < info->n_graphs; i++)
        if (strcmp(info->graphs[i], name) == 0) return no_rows(info->path, name, "a graph over the spots of a section");
    for (size_t i = 0; i < info->n_splits; i++)
        if (strcmp(info->splits[i].name, name) == 0) return no_rows(info->path, name, "a split");
    Text list = {0};
    list_names(&list, "tables ", info->n_tables, table_name, info);
    list_names(&list, "features ", info->n_features, features_name, info);
    Status status =
        status_make(STATUS_NOT_FOUND,
                    "%s has no dataset %s; it has %scounts%s%s; prepare it with this program, whose "
                    "prepare block says what is needed",
                    info->path, name, info->tile_size ? "tiles, " : "", list.length ? "; " : "", text_string(&list));
    text_free(&list);
    return status;
}

// Where store `s` has what the recipe says; the kind of RECIPE_STORED becomes known.
static Status find_dataset(const Rows *rows, int s, const Recipe *recipe, RecipeKind *kind, size_t *number) {
    const StoreInfo *info = store_info(rows->store[s]);
    *kind = recipe->kind;
    *number = 0;
    switch (recipe->kind) {
    case RECIPE_TILES:
        if (info->tile_size > 0) return STATUS_OK;
        return status_make(STATUS_MISMATCH, "%s holds no tiles: it was prepared for a model that reads none",
                           info->path);
    case RECIPE_COUNTS:
        if (info->n_genes > 0) return STATUS_OK;
        return status_make(STATUS_MISMATCH, "%s holds no counts: it was prepared for a model that reads none",
                           info->path);
    case RECIPE_GRAPH: return no_rows(info->path, recipe->name, "a graph over the spots of a section");
    case RECIPE_SPLIT: return no_rows(info->path, recipe->name, "a split");
    case RECIPE_SPOTS: return no_rows(info->path, recipe->name, "a filter of spots");
    case RECIPE_TABLE:
    case RECIPE_FEATURES:
    case RECIPE_STORED: break;
    }
    if (recipe->kind != RECIPE_FEATURES && find_table(info, recipe->name, number)) {
        *kind = RECIPE_TABLE;
        return STATUS_OK;
    }
    if (recipe->kind != RECIPE_TABLE && find_features(info, recipe->name, number)) {
        *kind = RECIPE_FEATURES;
        return STATUS_OK;
    }
    return no_dataset(info, recipe->name);
}

Status rows_bind(Rows *rows, const Session *session, int tensor, const int64_t *extent, RowFeed *out_feed) {
    const StmPlan *plan = session->plan;
    const StmTensor *input = &plan->tensor[tensor];
    if (rows->datasets == MAX_DATASETS)
        return status_make(STATUS_UNSUPPORTED, "more than %d inputs from the store", MAX_DATASETS);
    Recipe recipe;
    TRY(recipe_dataset(session, input->dataset, &recipe));
    Dataset *dataset = &rows->dataset[rows->datasets];
    *dataset = (Dataset){.kind = recipe.kind};
    TRY(ARENA_NEW(&rows->arena, dataset->number, (size_t)rows->stores + 1));
    for (int s = 0; s < rows->stores; s++) {
        RecipeKind kind;
        TRY_IN(find_dataset(rows, s, &recipe, &kind, &dataset->number[s]), "input %s of %s", input->name, plan->name);
        if (s && kind != dataset->kind)
            return status_make(STATUS_MISMATCH,
                               "%s is a table in one of %s and %s and features in the other; prepare "
                               "the sections together into one store",
                               recipe.name, store_info(rows->store[0])->path, store_info(rows->store[s])->path);
        dataset->kind = kind;
        TRY(check_shape(rows, plan, input, dataset, s, extent));
    }
    TRY(check_columns(rows, dataset, input->dataset));
    int64_t elements = 1;
    for (int d = 1; d < input->rank; d++) elements *= extent_of(input->dim[d], extent);
    *out_feed = (RowFeed){
        .tensor = tensor, .dataset = rows->datasets++, .row_bytes = elements * (int64_t)type_size(input->type)};
    return STATUS_OK;
}

// The section of a row.
static int section_of(const Rows *rows, int64_t number) {
    int low = 0, high = rows->sections - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (rows->section[middle].first <= number) low = middle;
        else high = middle - 1;
    }
    return low;
}

Status rows_read(Rows *rows, const RowFeed *feed, const int64_t *number, int64_t count, void *to) {
    const Dataset *dataset = &rows->dataset[feed->dataset];
    SpotRef spots[READ_AT_ONCE];
    for (int64_t i = 0; i < count;) {
        // A stretch of rows from one store.
        uint32_t store = rows->store_of[section_of(rows, number[i])];
        int64_t n = 0;
        for (; n < READ_AT_ONCE && i + n < count; n++) {
            int section = section_of(rows, number[i + n]);
            if (rows->store_of[section] != store) break;
            spots[n] = (SpotRef){rows->number_of[section], (uint32_t)(number[i + n] - rows->section[section].first)};
        }
        char *at = (char *)to + i * feed->row_bytes;
        Store *source = rows->store[store];
        if (dataset->kind == RECIPE_TILES) TRY(store_read_tiles(source, spots, (size_t)n, (uint8_t *)at));
        else if (dataset->kind == RECIPE_COUNTS)
            TRY(store_read_counts(source, spots, (size_t)n, NULL, store_info(source)->n_genes, (float *)(void *)at));
        else if (dataset->kind == RECIPE_FEATURES)
            TRY(store_read_features(source, dataset->number[store], spots, (size_t)n, (float *)(void *)at));
        else TRY(store_read_table(source, dataset->number[store], spots, (size_t)n, (float *)(void *)at));
        i += n;
    }
    return STATUS_OK;
}

bool rows_shared(const Rows *rows, const RowFeed *feed) {
    bool shared = rows->dataset[feed->dataset].kind == RECIPE_TILES;
    for (int s = 0; s < rows->stores; s++) shared = shared && store_tiles_shared(rows->store[s]);
    return shared;
}

void rows_expect(const Rows *rows, const RowFeed *feed, const int64_t *number, int64_t count) {
    if (!rows_shared(rows, feed)) return;
    for (int64_t i = 0; i < count; i++) {
        int section = section_of(rows, number[i]);
        SpotRef spot = {rows->number_of[section], (uint32_t)(number[i] - rows->section[section].first)};
        store_expect_tiles(rows->store[rows->store_of[section]], &spot, 1);
    }
}

Status rows_axis_labels(Rows *rows, const Session *session, int axis, const char *const **out_labels,
                        int64_t *out_count) {
    const StmPlan *plan = session->plan;
    *out_labels = NULL;
    *out_count = 0;
    const StoreInfo *info = store_info(rows->store[0]);
    for (int t = 0; t < plan->tensors && axis >= 0; t++) {
        const StmTensor *tensor = &plan->tensor[t];
        if (tensor->kind != STM_INPUT || !tensor->dataset || tensor->rank != 2 || tensor->axis[1] != axis) continue;
        Recipe recipe;
        TRY(recipe_dataset(session, tensor->dataset, &recipe));
        RecipeKind kind;
        size_t number = 0;
        Status missing = find_dataset(rows, 0, &recipe, &kind, &number);
        if (missing != STATUS_OK) { // prediction does not need the training targets in the store
            status_drop(missing);
            continue;
        }
        if (kind != RECIPE_TABLE && kind != RECIPE_COUNTS) continue;
        char *const *labels = kind == RECIPE_COUNTS ? info->genes : info->tables[number].columns;
        size_t count = kind == RECIPE_COUNTS ? info->n_genes : info->tables[number].n_columns;
        if ((int64_t)count != plan->axis[axis].count) continue;
        *out_labels = (const char *const *)labels;
        *out_count = (int64_t)count;
        return STATUS_OK;
    }
    return STATUS_OK;
}

RowPlace rows_place(const Rows *rows, int64_t number) {
    int section = section_of(rows, number);
    const StoreSection *s = &store_info(rows->store[rows->store_of[section]])->sections[rows->number_of[section]];
    int64_t r = number - rows->section[section].first;
    return (RowPlace){.section = section,
                      .id = s->ids[r],
                      .pixel = {s->pixel[2 * r], s->pixel[2 * r + 1]},
                      .array = {s->array[2 * r], s->array[2 * r + 1]}};
}

void rows_store(const Rows *rows, int section, Store **out_store, size_t *out_number) {
    *out_store = rows->store[rows->store_of[section]];
    *out_number = rows->number_of[section];
}
