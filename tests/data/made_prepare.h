// made_prepare: preparing a store from a directory and looking into it, for the tests of prepare.
#pragma once

#include "../../runtime/data/h5ad_write.h"
#include "../../runtime/data/prepare.h"
#include "../../runtime/data/store.h"
#include "made.h"

static char made_notes[16384]; // of the last made_prepare that went well
static PrepareReport made_last;

static inline Status made_prepare(const char *source_path, const char *path, const PrepareOptions *options) {
    Source source;
    PrepareReport report = {0};
    Status status = source_open(source_path, SOURCE_AUTO, &(SourceOptions){0}, &source);
    if (status != STATUS_OK) return status;
    status = prepare_store(&source, path, options, &report);
    source_close(&source);
    if (status != STATUS_OK) return status;
    snprintf(made_notes, sizeof made_notes, "%s", text_string(&report.notes));
    made_last = report;
    prepare_report_free(&report);
    return STATUS_OK;
}

// No tiles, no tables.
static inline PrepareOptions made_bare(void) {
    PrepareOptions options = prepare_defaults();
    options.no_tiles = true;
    options.all_tables = false;
    return options;
}

static inline PrepareOptions made_expression(const PrepareExpression *expression, PrepareTable *table) {
    PrepareOptions options = made_bare();
    *table = (PrepareTable){.name = "genes", .expression = expression};
    options.tables = table;
    options.n_tables = 1;
    return options;
}

// Opens a store that must be sound; exits where it cannot be opened.
static inline Store *made_open(const char *path) {
    Store *store = NULL;
    if (!CHECK_OK(store_open(path, &store))) exit(1);
    CHECK_OK(store_check(store));
    return store;
}

// values[n_spots][columns] of a table in a section; the caller frees them.
static inline float *made_table(Store *store, size_t section, const char *name, size_t *columns) {
    size_t table = 0, n = store_info(store)->sections[section].n_spots;
    *columns = 0;
    if (!CHECK_OK(store_find_table(store, name, &table))) exit(1);
    *columns = store_info(store)->tables[table].n_columns;
    SpotRef *spots = malloc(n * sizeof *spots);
    float *values = malloc(n * *columns * sizeof *values);
    for (size_t i = 0; i < n; i++) spots[i] = (SpotRef){(uint32_t)section, (uint32_t)i};
    if (!CHECK_OK(store_read_table(store, table, spots, n, values))) exit(1);
    free(spots);
    return values;
}

static inline char *const *made_columns(Store *store, const char *name) {
    size_t table = 0;
    if (!CHECK_OK(store_find_table(store, name, &table))) exit(1);
    return store_info(store)->tables[table].columns;
}

// An AnnData file of six spots without an array, three genes, and a picture of 130 x 80 pixels at half the resolution;
// `donor` may be NULL.
static const double made_h5ad_places[12] = {20, 25, 70.5, 25, 120, 25.5, 21, 75, 71, 76, 121.5, 77};

static inline void made_h5ad(const char *path, const char *donor, int more) {
    static char *ids[] = {"c0", "c1", "c2", "c3", "c4", "c5"}, *genes[] = {"G1", "MT-G2", "G3"};
    static int32_t zeros[6];
    static double places[12];
    char *donors[1] = {(char *)donor};
    Annotated a = {.has_x = true, .n_embeddings = 1, .n_libraries = 1};
    Column column = {.name = "donor_id", .kind = COLUMN_CATEGORY, .code = zeros, .category = donors, .categories = 1};
    Embedding spatial = {"spatial", 2, places, NULL};
    SpatialLibrary library = {.name = "tissue",
                              .hires = {130, 80, made_pixels(130, 80)},
                              .has_scale = true,
                              .spot_diameter_fullres = 20,
                              .tissue_hires_scalef = 0.5,
                              .tissue_lowres_scalef = 0.1};
    memcpy(places, made_h5ad_places, sizeof places);
    arena_init(&a.arena);
    CHECK_OK(matrix_create(6, 3, 18, &a.x));
    for (int i = 0; i < 18; i++) {
        a.x.start[i / 3 + 1] = i + 1;
        a.x.column[i] = i % 3;
        a.x.value[i] = (float)(1 + more + i * i % 7);
    }
    a.x.row_name = ids;
    a.x.column_name = genes;
    a.obs.rows = 6;
    a.var.rows = 3;
    if (donor) CHECK_OK(frame_add(&a.obs, &a.arena, &column));
    a.embedding = &spatial;
    a.library = &library;
    CHECK_OK(h5ad_write(path, &a, NULL));
    picture_free(&library.hires);
    matrix_free(&a.x);
    arena_free(&a.arena);
}
