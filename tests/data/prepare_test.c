// What prepare makes beside tiles and tables: filters, neighbours, features, splits, provenance; adding to a store,
// stopping, and being killed. Tiles are prepare_tiles_test's, expression and ranks prepare_genes_test's.
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "../../runtime/core/json.h"
#include "../../runtime/data/npy.h"
#include "../../runtime/data/safetensors.h"
#include "../../runtime/data/splits.h"
#include "made_prepare.h"

// ---- Filters -------------------------------------------------------------------------------------------------------

static void test_filter(const char *directory) {
    PrepareOptions options = made_bare();
    options.all_tables = true;
    options.keep = (SpotFilter){.min_counts = 5}; // B1: 6 2 10 3 9 70002, B2: 5 6 3 1 12 5
    if (!CHECK_OK(made_prepare(directory, made_path("kept.h5"), &options))) return;
    CHECK(made_last.n_filtered == 4 && made_last.n_spots == 8);
    CHECK(strstr(made_notes, "section B1: 2 of 6 spots left out by the filter") != NULL);
    Store *store = made_open(made_path("kept.h5"));
    const StoreSection *b1 = &store_info(store)->sections[0], *b2 = &store_info(store)->sections[1];
    CHECK(b1->n_spots == 4 && strcmp(b1->ids[0], "2x2") == 0 && strcmp(b1->ids[1], "4x2") == 0 &&
          strcmp(b1->ids[2], "3x3") == 0 && strcmp(b1->ids[3], "4x3") == 0);
    CHECK(b1->pixel[2] == 150 && b1->pixel[3] == 50 && b1->array[4] == 3 && b1->array[5] == 3);
    CHECK(strcmp(b2->ids[2], "3x2") == 0 && strstr(b2->left_out, "\"filtered\": 2") != NULL);
    size_t k = 0;
    float *major = made_table(store, 0, "major", &k), *rank = made_table(store, 0, "major_rank", &k);
    CHECK(major[3] == 0.1f && major[4] == 0.8f && rank[4] == 3);
    free(major);
    free(rank);
    float counts[4];
    CHECK_OK(store_read_counts(store, &(SpotRef){0, 1}, 1, NULL, 4, counts)); // 4x2 of B1: ACTB 7, ERBB2 3
    CHECK(counts[0] == 7 && counts[1] == 3 && counts[2] == 0);
    store_close(store);
    options.keep.min_counts = 1e9;
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_INVALID, "none of 6 spots passes");
}

// A source whose counts are not read: everything but expression and filters.
static void test_no_counts(const char *directory) {
    Source source;
    PrepareReport report;
    PrepareExpression e = {.genes = GENES_ALL};
    PrepareTable table = {.name = "genes", .expression = &e};
    PrepareOptions options = made_bare();
    options.all_tables = true;
    if (!CHECK_OK(source_open(directory, SOURCE_AUTO, &(SourceOptions){.no_counts = true}, &source))) return;
    if (CHECK_OK(prepare_store(&source, made_path("countless.h5"), &options, &report))) {
        Store *store = made_open(made_path("countless.h5"));
        CHECK(report.n_spots == 12 && store_info(store)->n_genes == 0 && store_info(store)->n_tables == 2);
        store_close(store);
    }
    prepare_report_free(&report);
    options.tables = &table;
    options.n_tables = 1;
    CHECK_FAILS(prepare_store(&source, made_path("no.h5"), &options, &report), STATUS_NOT_FOUND,
                "section B1 has no counts");
    options.n_tables = 0;
    options.keep.min_genes = 1;
    CHECK_FAILS(prepare_store(&source, made_path("no.h5"), &options, &report), STATUS_NOT_FOUND,
                "section B1 has no counts");
    source_close(&source);
}

// ---- Neighbours ---------------------------------------------------------------------------------------------------

static void test_graphs(const char *directory) {
    PrepareGraph graphs[] = {
        {.name = "k2", .near = {.nearest = 2}},
        {.name = "r50", .near = {.radius = 50}},
        {.name = "p", .radius_pitch = 1.5, .weights = {.weight = EDGE_MEAN}},
        {.name = "square", .by_lattice = true, .lattice = LATTICE_SQUARE_4},
        {.name = "far", .by_lattice = true, .lattice = LATTICE_SQUARE_8, .weights = {.weight = EDGE_INVERSE}}};
    PrepareOptions options = made_bare();
    options.graphs = graphs;
    options.n_graphs = 5;
    if (!CHECK_OK(made_prepare(directory, made_path("graphs.h5"), &options))) return;
    Store *store = made_open(made_path("graphs.h5"));
    Arena arena;
    StoreGraph g;
    arena_init(&arena);
    // B1's spots: 0 1 2 above 3 4 5, 50 pixels apart.
    CHECK_OK(store_read_graph(store, 0, "k2", &arena, &g));
    static const int32_t k2[12] = {1, 3, 0, 2, 1, 5, 0, 4, 1, 3, 2, 4};
    CHECK(!g.weight && g.start[6] == 12 && memcmp(g.neighbour, k2, sizeof k2) == 0);
    static const int32_t four[14] = {1, 3, 0, 2, 4, 1, 5, 0, 4, 1, 3, 5, 2, 4};
    CHECK_OK(store_read_graph(store, 0, "r50", &arena, &g));
    CHECK(!g.weight && g.start[6] == 14 && memcmp(g.neighbour, four, sizeof four) == 0);
    CHECK_OK(store_read_graph(store, 0, "square", &arena, &g));
    CHECK(!g.weight && g.start[6] == 14 && memcmp(g.neighbour, four, sizeof four) == 0);
    CHECK_OK(store_read_graph(store, 0, "p", &arena, &g));
    CHECK(g.start[6] == 22 && g.start[1] == 3 && g.start[2] == 8);
    if (g.weight) CHECK(g.weight[0] == 1 / 3.f && g.weight[3] == 1 / 5.f);
    CHECK_OK(store_read_graph(store, 0, "far", &arena, &g));
    CHECK(g.start[6] == 22 && g.neighbour[0] == 1 && g.neighbour[1] == 3 && g.neighbour[2] == 4);
    if (CHECK(g.weight != NULL)) {
        CHECK_NEAR(g.weight[0], 1.0 / 50, 1e-8);
        CHECK_NEAR(g.weight[2], 1.0 / hypot(50, 50), 1e-8);
    }
    arena_free(&arena);
    store_close(store);
    graphs[0].near = (NeighbourOptions){0};
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_INVALID, "neighbours 'k2'");
}

// ---- Features -----------------------------------------------------------------------------------------------------

static void test_features(const char *directory) {
    static float rows[6][3], turned[7][3];
    static const char *const barcodes[7] = {"4x3", "3x3", "9x9", "2x3", "4x2", "3x2", "2x2"};
    for (int i = 0; i < 18; i++) rows[i / 3][i % 3] = (float)i;
    for (int i = 0; i < 21; i++) turned[i / 3][i % 3] = (float)(100 + i);
    char folder[700], by_name_path[800];
    snprintf(folder, sizeof folder, "%s/features", directory);
    snprintf(by_name_path, sizeof by_name_path, "%s/{section}.npz", folder);
    mkdir(folder, 0777);
    SafeEntry by_row = {.name = "features", .type = ELEMENT_F32, .rank = 2, .shape = {6, 3}, .data = rows};
    CHECK_OK(safetensors_write(made_below(folder, "B1.safetensors"), &by_row, 1, NULL, 0));
    CHECK_OK(safetensors_write(made_below(folder, "B2.safetensors"), &by_row, 1, NULL, 0));
    NpyArray by_name[2] = {{.name = "uni", .type = ELEMENT_F32, .rank = 2, .shape = {7, 3}, .data = turned},
                           {.name = "barcodes", .rank = 1, .shape = {7}, .text = barcodes}};
    CHECK_OK(npz_write(made_below(folder, "B1.npz"), by_name, 2));
    CHECK_OK(npz_write(made_below(folder, "B2.npz"), by_name, 2));
    PrepareFeatures features[2] = {{"rows", "features/{section}.safetensors", NULL}, {"named", by_name_path, "uni"}};
    PrepareOptions options = made_bare();
    options.features = features;
    options.n_features = 2;
    options.keep = (SpotFilter){.min_counts = 5};
    if (!CHECK_OK(made_prepare(directory, made_path("features.h5"), &options))) return;
    Store *store = made_open(made_path("features.h5"));
    float got[3];
    CHECK_OK(store_read_features(store, 0, &(SpotRef){0, 1}, 1, got)); // 4x2, row 2 of the source
    CHECK(got[0] == 6 && got[2] == 8);
    CHECK_OK(store_read_features(store, 1, &(SpotRef){0, 1}, 1, got)); // 4x2, row 4 of the file
    CHECK(got[0] == 112 && got[2] == 114);
    CHECK_OK(store_read_features(store, 1, &(SpotRef){1, 0}, 1, got)); // B2 begins with 4x3
    CHECK(got[0] == 100);
    CHECK(strstr(store_info(store)->sections[1].inputs, "features/B2.npz") != NULL);
    store_close(store);
    features[1].key = "conch";
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_NOT_FOUND, "no tensor 'conch'; it has");
    features[1].key = NULL; // the only one of two dimensions
    CHECK_OK(made_prepare(directory, made_path("features.h5"), &options));
    features[0].pattern = "features/nothing.pt";
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_NOT_FOUND, "features/nothing.pt");
    features[0].pattern = "features/{section}.safetensors";
    by_row.shape[0] = 5;
    CHECK_OK(safetensors_write(made_below(folder, "B2.safetensors"), &by_row, 1, NULL, 0));
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_MISMATCH,
                "section B2: features 'rows': ");
    by_row.shape[0] = 6;
    rows[1][1] = NAN;
    CHECK_OK(safetensors_write(made_below(folder, "B2.safetensors"), &by_row, 1, NULL, 0));
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_MALFORMED,
                "row 1 (spot 3x3), column 1 is not a finite number");
    rows[1][1] = 4;
    CHECK_OK(safetensors_write(made_below(folder, "B2.safetensors"), &by_row, 1, NULL, 0));
    by_name[0].shape[0] = by_name[1].shape[0] = 5;
    CHECK_OK(npz_write(made_below(folder, "B1.npz"), by_name, 2));
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_MISMATCH,
                "has no features of 1 of the 4 spots, the first of them 2x2");
    CHECK(!file_exists(made_path("no.h5")));
}

// ---- Splits -------------------------------------------------------------------------------------------------------

static void test_splits(const char *directory) {
    made_text(made_path("train.txt"), "B2\nZ9\n");
    made_text(made_path("test.txt"), "B1");
    char train[600], test[600];
    snprintf(train, sizeof train, "%s", made_path("train.txt"));
    snprintf(test, sizeof test, "%s", made_path("test.txt"));
    PrepareSplit splits[] = {{.name = "spots", .validation = 0.2, .test = 0.2, .seed = 7},
                             {.name = "halves", .by = BY_SECTION, .validation = 0.5, .seed = 1},
                             {.name = "patients", .by = BY_GROUP, .test = 0.5, .seed = 1},
                             {.name = "lists", .by = BY_SECTION, .list_train = train, .list_test = test}};
    PrepareOptions options = made_bare();
    options.splits = splits;
    options.n_splits = 4;
    if (!CHECK_OK(made_prepare(directory, made_path("splits.h5"), &options))) return;
    CHECK(strstr(made_notes, "split lists: 1 names of its lists are no sections here") != NULL);
    CHECK(strstr(made_notes, "split lists: of 2 sections 1 train, 0 validate, 1 test") != NULL);
    Store *store = made_open(made_path("splits.h5"));
    int32_t part[2][6];
    uint8_t side[6];
    CHECK(store_info(store)->splits[0].n_parts == 3 &&
          strcmp(store_info(store)->splits[0].parts[1], "validation") == 0);
    CHECK_OK(split_random(6, &(SplitOptions){0.2, 0.2, 7}, side));
    for (size_t s = 0; s < 2; s++) {
        CHECK_OK(store_read_split(store, s, 0, part[s]));
        for (int i = 0; i < 6; i++) CHECK(part[s][i] == side[i]);
    }
    for (size_t k = 1; k < 3; k++) {
        int32_t out[2];
        for (size_t s = 0; s < 2; s++) {
            CHECK_OK(store_read_split(store, s, k, part[s]));
            for (int i = 1; i < 6; i++) CHECK(part[s][i] == part[s][0]); // nothing of a section on two sides
            out[s] = part[s][0];
        }
        int32_t held = k == 1 ? SIDE_VALIDATION : SIDE_TEST;
        CHECK((out[0] == held && out[1] == SIDE_TRAIN) || (out[1] == held && out[0] == SIDE_TRAIN));
    }
    CHECK_OK(store_read_split(store, 0, 3, part[0]));
    CHECK_OK(store_read_split(store, 1, 3, part[1]));
    CHECK(part[0][3] == SIDE_TEST && part[1][3] == SIDE_TRAIN);
    store_close(store);
    made_text(test, "B3\n");
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_NOT_FOUND, "\"B1\" is in no list");
    splits[3].by = BY_SPOT;
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_INVALID, "lists name sections");
    splits[3] = (PrepareSplit){.name = "much", .validation = 0.6, .test = 0.5};
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_INVALID, "split 'much': shares of 0.6");
}

// Sections of one donor are never on two sides.
static void test_groups(void) {
    const char *donors[8] = {"D1", "D2", "D1", "D3", "D3", "D2", "D1", NULL};
    char folder[600];
    snprintf(folder, sizeof folder, "%s", made_path("donors"));
    mkdir(folder, 0777);
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d.h5ad", i);
        made_h5ad(made_below(folder, name), donors[i], i);
    }
    PrepareSplit split = {.name = "patients", .by = BY_GROUP, .validation = 0.25, .test = 0.25};
    PrepareExpression e = {.genes = GENES_ALL, .drop = MITO_PREFIX, .total = 100};
    PrepareTable table;
    PrepareOptions options = made_expression(&e, &table);
    options.splits = &split;
    options.n_splits = 1;
    for (split.seed = 0; split.seed < 5; split.seed++) {
        if (!CHECK_OK(made_prepare(folder, made_path("donors.h5"), &options))) return;
        Store *store = made_open(made_path("donors.h5"));
        int32_t part[8][6], sides = 0;
        CHECK(store_info(store)->n_sections == 8);
        for (size_t s = 0; s < 8; s++) {
            CHECK_OK(store_read_split(store, s, 0, part[s]));
            sides |= 1 << part[s][0];
            for (size_t o = 0; o < s; o++)
                if (donors[s] && donors[o] && strcmp(donors[s], donors[o]) == 0) CHECK(part[s][0] == part[o][0]);
        }
        CHECK(sides == 7); // four groups: two are held out, one on each side
        size_t k = 0;
        float *values = made_table(store, 3, "genes", &k); // G1 and G3, 100 together
        CHECK(k == 2);
        for (int i = 0; i < 6; i++) CHECK_NEAR(values[2 * i] + values[2 * i + 1], 100, 1e-3);
        free(values);
        store_close(store);
    }
}

// ---- Provenance, adding -------------------------------------------------------------------------------------------

static void test_append(const char *directory) {
    PrepareExpression e = {.genes = GENES_TOP_TOTAL, .count = 3, .total = -1, .log = LOG_NATURAL};
    PrepareTable table;
    PrepareOptions options = made_expression(&e, &table);
    PrepareSplit split = {.name = "spots", .test = 0.3};
    PrepareGraph graph = {.name = "near", .near = {.nearest = 3}};
    const char *names[2] = {"B1", "B2"}, *path = made_path("grown.h5");
    options.no_tiles = false;
    options.tiles.size = 30;
    options.tiles.pitch = 10;
    options.splits = &split;
    options.n_splits = 1;
    options.graphs = &graph;
    options.n_graphs = 1;
    options.sections = names;
    options.n_sections = 1;
    CHECK_OK(made_prepare(directory, path, &options));
    options.append = true;
    CHECK_FAILS(made_prepare(directory, path, &options), STATUS_INVALID, "has a section B1 already");
    options.sections = NULL;
    CHECK_FAILS(made_prepare(directory, path, &options), STATUS_INVALID, "has a section B1 already");
    options.sections = names + 1;
    // Other parameters are named.
    options.tiles.pitch = 11;
    CHECK_FAILS(made_prepare(directory, path, &options), STATUS_MISMATCH, "tiles: pitch: 10, here 11");
    options.tiles.pitch = 10;
    graph.near.nearest = 4;
    CHECK_FAILS(made_prepare(directory, path, &options), STATUS_MISMATCH, "neighbours: k: 3, here 4");
    graph.near.nearest = 3;
    e.count = 2;
    CHECK_FAILS(made_prepare(directory, path, &options), STATUS_MISMATCH, "tables: n: 3, here 2");
    e.count = 3;
    e.min_spots = 2;
    CHECK_FAILS(made_prepare(directory, path, &options), STATUS_UNSUPPORTED, "prepare all sections together");
    e.min_spots = 0;
    split.by = BY_SECTION;
    CHECK_FAILS(made_prepare(directory, path, &options), STATUS_INVALID, "needs all sections at once");
    split.by = BY_SPOT;
    CHECK_OK(made_prepare(directory, path, &options));
    Store *store = made_open(path);
    const StoreInfo *info = store_info(store);
    CHECK(info->n_sections == 2 && info->tables[0].n_columns == 3 && strcmp(info->tables[0].columns[2], "ERBB2") == 0);
    // B2 has the genes and the target of B1: the median of 6 2 10 3 9 70002 is 7.5; 4x3 has 1 ACTB of 5.
    size_t k = 0;
    float *values = made_table(store, 1, "genes", &k);
    CHECK(strcmp(info->tables[0].columns[1], "ACTB") == 0);
    CHECK_NEAR(values[1], log1p(7.5 / 5), 1e-6);
    CHECK(strstr(info->provenance, "\"target\": 7.5") != NULL);
    free(values);
    // Tiles are those of a store made at once.
    options.append = false;
    options.sections = NULL;
    CHECK_OK(made_prepare(directory, made_path("whole.h5"), &options));
    Store *whole = made_open(made_path("whole.h5"));
    uint8_t one[30 * 30 * 3], two[30 * 30 * 3];
    for (uint32_t i = 0; i < 12; i++) {
        CHECK_OK(store_read_tiles(store, &(SpotRef){i / 6, i % 6}, 1, one));
        CHECK_OK(store_read_tiles(whole, &(SpotRef){i / 6, i % 6}, 1, two));
        CHECK(memcmp(one, two, sizeof one) == 0);
    }
    store_close(store);
    store_close(whole);
    options.append = true;
    CHECK_FAILS(made_prepare(directory, made_path("none.h5"), &options), STATUS_NOT_FOUND, "none.h5");
}

static void test_provenance(const char *directory) {
    const char *list = made_path("list.txt");
    made_text(list, "ACTB\nCD3D\n");
    PrepareExpression e = {.genes = GENES_LIST, .list = list};
    PrepareTable table;
    PrepareOptions options = made_expression(&e, &table);
    options.program = "test 1";
    CHECK_OK(made_prepare(directory, made_path("from.h5"), &options));
    Store *store = made_open(made_path("from.h5"));
    const StoreInfo *info = store_info(store);
    Arena arena;
    JsonValue *root = NULL, *inputs = NULL;
    arena_init(&arena);
    CHECK_OK(json_parse("provenance", info->provenance, strlen(info->provenance), &arena, &root));
    const JsonValue *expression = json_get(&json_get(root, "tables")->items[0], "expression");
    CHECK_TEXT(json_get(root, "program")->string, "test 1");
    CHECK_TEXT(json_get(root, "layout")->string, "legacy_st");
    CHECK_TEXT(json_get(json_get(expression, "list"), "sha256")->string,
               "2cf40ce502130df7ac6a98d5fb1f099d8a956c9cb3994bd51d727d4e546d50e4");
    CHECK(json_get(json_get(expression, "list"), "size")->integer == 10);
    CHECK_OK(json_parse("inputs", info->sections[0].inputs, strlen(info->sections[0].inputs), &arena, &inputs));
    CHECK(inputs->length == 3); // counts, positions, picture
    for (size_t i = 0; i < inputs->length; i++) {
        const char *path = json_get(&inputs->items[i], "path")->string;
        CHECK(*path != '/' && file_exists(made_below(directory, path)));
        CHECK(strlen(json_get(&inputs->items[i], "sha256")->string) == 64);
    }
    arena_free(&arena);
    store_close(store);
}

// ---- Stopping, being killed ---------------------------------------------------------------------------------------

typedef struct Watch {
    double last, stop; // stops at this fraction
    size_t calls;
    bool orderly;
} Watch;

static bool watch(void *context, const char *what, double fraction) {
    Watch *w = context;
    if (fraction < w->last - 1e-9 || fraction > 1 + 1e-9 || !*what) w->orderly = false;
    w->last = fraction;
    w->calls++;
    return fraction < w->stop;
}

// Everything at once.
static PrepareOptions everything(PrepareExpression *e, PrepareTable *table, PrepareGraph *graph, PrepareSplit *splits) {
    *e = (PrepareExpression){.genes = GENES_TOP_TOTAL, .count = 3, .total = -1, .log = LOG_NATURAL};
    PrepareOptions options = made_expression(e, table);
    *graph = (PrepareGraph){.name = "near", .near = {.nearest = 3}, .weights = {.weight = EDGE_MEAN}};
    splits[0] = (PrepareSplit){.name = "spots", .test = 0.3};
    splits[1] = (PrepareSplit){.name = "patients", .by = BY_GROUP, .test = 0.3};
    options.no_tiles = false;
    options.all_tables = true;
    options.tiles = (PrepareTiles){.size = 64, .radius = 20, .filter = RESAMPLE_BICUBIC, .edge = SLIDE_EDGE_FILL};
    options.graphs = graph;
    options.n_graphs = 1;
    options.splits = splits;
    options.n_splits = 2;
    return options;
}

static void test_stopping(const char *directory) {
    PrepareExpression e;
    PrepareTable table;
    PrepareGraph graph;
    PrepareSplit splits[2];
    PrepareOptions options = everything(&e, &table, &graph, splits);
    const char *path = made_path("stopped.h5");
    size_t before = made_files_in(made_root);
    Watch seen = {.stop = 2, .orderly = true};
    options.progress = watch;
    options.context = &seen;
    CHECK_OK(made_prepare(directory, path, &options));
    CHECK(seen.orderly && seen.calls > 15 && seen.last > 0.999);
    unlink(path);
    for (double stop = 0; stop < 1; stop += 0.07) {
        Watch w = {.stop = stop, .orderly = true};
        options.context = &w;
        CHECK_FAILS(made_prepare(directory, path, &options), STATUS_CANCELLED, "prepare: ");
        CHECK(w.orderly && made_files_in(made_root) == before);
    }
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// kill -9 at 30 moments spread over the whole of a prepare: the store is absent or sound.
static void test_killed(const char *directory) {
    PrepareExpression e;
    PrepareTable table;
    PrepareGraph graph;
    PrepareSplit splits[2];
    PrepareOptions options = everything(&e, &table, &graph, splits);
    char folder[600], path[700];
    snprintf(folder, sizeof folder, "%s", made_path("killed"));
    snprintf(path, sizeof path, "%s/store.h5", folder);
    mkdir(folder, 0777);
    double begun = seconds();
    CHECK_OK(made_prepare(directory, path, &options));
    double lasts = seconds() - begun;
    int absent = 0, sound = 0;
    for (int round = 0; round < 30; round++) {
        unlink(path);
        pid_t child = fork();
        if (child == 0) {
            Source source;
            PrepareReport report;
            Status status = source_open(directory, SOURCE_AUTO, &(SourceOptions){0}, &source);
            if (status == STATUS_OK) status = prepare_store(&source, path, &options, &report);
            _exit(status == STATUS_OK ? 0 : 1);
        }
        struct timespec wait = {0, (long)(fmin(0.9, lasts * round / 12) * 1e9)};
        nanosleep(&wait, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        if (file_exists(path)) {
            Store *store = NULL;
            CHECK_OK(store_open(path, &store));
            if (store) CHECK_OK(store_check(store));
            store_close(store);
            sound++;
        } else {
            absent++;
        }
        // What is left beside it has a name of its own and is in nobody's way.
        Arena arena;
        char **names = NULL;
        size_t count = 0;
        arena_init(&arena);
        CHECK_OK(directory_list(folder, &arena, &names, &count));
        for (size_t i = 0; i < count; i++) {
            if (strcmp(names[i], "store.h5") == 0) continue;
            CHECK(strncmp(names[i], ".store.h5.tmp-", 14) == 0);
            unlink(made_below(folder, names[i]));
        }
        arena_free(&arena);
    }
    printf("prepare of %.0f ms killed 30 times: %d times no store, %d times a whole one\n", 1000 * lasts, absent,
           sound);
    CHECK(absent > 0 && absent + sound == 30);
}

int main(void) {
    made_begin();
    char directory[600];
    snprintf(directory, sizeof directory, "%s", made_legacy("legacy"));
    test_filter(directory);
    test_no_counts(directory);
    test_graphs(directory);
    test_features(directory);
    test_splits(directory);
    test_groups();
    test_append(directory);
    test_provenance(directory);
    test_stopping(directory);
    test_killed(directory);
    made_end();
    return check_report("prepare");
}
