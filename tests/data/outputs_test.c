// What the data room writes: AnnData files read back by the room's own reader, DiSCoTME's directory, and what a store
// holds beside spots (neighbours, features, splits, provenance). check_outputs.py asks anndata and scanpy as well.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <hdf5.h>

#include "../../runtime/data/counts.h"
#include "../../runtime/data/export_discotme.h"
#include "../../runtime/data/h5ad_write.h"
#include "../../runtime/data/image.h"
#include "../../runtime/data/npy.h"
#include "../../runtime/data/store.h"
#include "made.h"

enum { SPOTS = 5, GENES = 4 };

static size_t files_in(const char *path) {
    DIR *directory = opendir(path);
    size_t count = 0;
    while (directory && readdir(directory)) count++;
    if (directory) closedir(directory);
    return count < 2 ? 0 : count - 2;
}

// ---- AnnData ------------------------------------------------------------------------------------

static char *spot_names[SPOTS] = {"a", "b", "c,d", "e\"f", "\xC3\xA4"}, *gene_names[GENES] = {"G1", "G/2", "G3", "G4"};
static char *gene_ids[GENES] = {"E1", "E2", "E3", "E4"};
static double reals[SPOTS] = {0.5, -1, NAN, 1e300, 0}, space[SPOTS][2] = {{1, 2}, {3, 4}, {5, 6.5}, {7, 8}, {60, 40}};
static int64_t integers[SPOTS] = {1, -2, INT64_MAX, INT64_MIN, 0};
static uint8_t flags[SPOTS] = {1, 0, 0, 1, 1};
static char *texts[SPOTS] = {"x", "", "y", "x", "z"}, *holes[SPOTS] = {"p", NULL, "q", "p", NULL};
static int32_t codes[SPOTS] = {1, 0, -1, 1, 2};
static char *categories[3] = {"low", "mid", "high"};

static void fill(Annotated *a) {
    const int32_t row[] = {0, 0, 1, 3, 4, 4}, column[] = {0, 3, 1, 2, 0, 1};
    const float value[] = {1, 2.5f, -3, 16777216, 0.1f, 7};
    Column columns[] = {{.name = "real", .kind = COLUMN_REAL, .real = reals},
                        {.name = "integer", .kind = COLUMN_INTEGER, .integer = integers},
                        {.name = "flag", .kind = COLUMN_BOOL, .flag = flags},
                        {.name = "text", .kind = COLUMN_TEXT, .text = texts},
                        {.name = "holes", .kind = COLUMN_TEXT, .text = holes},
                        {.name = "level",
                         .kind = COLUMN_CATEGORY,
                         .code = codes,
                         .category = categories,
                         .categories = 3,
                         .ordered = true}};
    *a = (Annotated){.has_x = true};
    arena_init(&a->arena);
    CHECK_OK(matrix_from_entries(SPOTS, GENES, row, column, value, 6, &a->x));
    a->x.row_name = spot_names;
    a->x.column_name = gene_names;
    a->x.column_id = gene_ids;
    a->obs.rows = SPOTS;
    a->var.rows = GENES;
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++) CHECK_OK(frame_add(&a->obs, &a->arena, &columns[c]));
    CHECK_OK(ARENA_NEW(&a->arena, a->embedding, 1));
    a->embedding[0] = (Embedding){.name = "spatial", .width = 2, .value = &space[0][0]};
    a->n_embeddings = 1;
    CHECK_OK(ARENA_NEW(&a->arena, a->layer, 1));
    a->layer[0].name = "twice";
    CHECK_OK(matrix_select(&a->x, NULL, 0, NULL, 0, &a->layer[0].matrix));
    for (int e = 0; e < 6; e++) a->layer[0].matrix.value[e] *= 2;
    a->n_layers = 1;
    CHECK_OK(ARENA_NEW(&a->arena, a->library, 1));
    a->library[0] = (SpatialLibrary){.name = "slide",
                                     .has_scale = true,
                                     .spot_diameter_fullres = 9,
                                     .tissue_hires_scalef = 0.5,
                                     .tissue_lowres_scalef = NAN,
                                     .fiducial_diameter_fullres = NAN};
    CHECK_OK(picture_create(3, 2, 1000, &a->library[0].hires));
    for (int i = 0; i < 18; i++) a->library[0].hires.rgb[i] = (uint8_t)(10 * i);
    a->n_libraries = 1;
}

static void same_matrix(const Matrix *a, const Matrix *b) {
    float x[GENES], y[GENES];
    if (!CHECK(a->rows == b->rows && a->columns == b->columns)) return;
    for (size_t r = 0; r < a->rows; r++) {
        matrix_row(a, r, x);
        matrix_row(b, r, y);
        CHECK(memcmp(x, y, sizeof x) == 0);
    }
}

static void same_annotated(const Annotated *a, const Annotated *b) {
    same_matrix(&a->x, &b->x);
    for (int i = 0; i < SPOTS; i++) CHECK_TEXT(b->x.row_name[i], spot_names[i]);
    for (int i = 0; i < GENES; i++) CHECK_TEXT(b->x.column_name[i], gene_names[i]);
    const Column *real = frame_column(&b->obs, "real"), *integer = frame_column(&b->obs, "integer");
    const Column *flag = frame_column(&b->obs, "flag"), *text = frame_column(&b->obs, "text");
    const Column *hole = frame_column(&b->obs, "holes"), *level = frame_column(&b->obs, "level");
    const Column *ids = frame_column(&b->var, "gene_ids");
    if (!CHECK(real && integer && flag && text && hole && level && ids)) return;
    CHECK(level->kind == COLUMN_CATEGORY && level->ordered && level->categories == 3);
    CHECK(hole->kind == COLUMN_CATEGORY && hole->categories == 2);
    for (int i = 0; i < SPOTS; i++) {
        CHECK(real->real[i] == reals[i] || (isnan(reals[i]) && isnan(real->real[i])));
        CHECK(integer->integer[i] == integers[i]);
        CHECK(flag->flag[i] == flags[i]);
        CHECK_TEXT(text->text[i], texts[i]);
        CHECK(level->code[i] == codes[i]);
        if (holes[i]) CHECK_TEXT(hole->category[hole->code[i]], holes[i]);
        else CHECK(hole->code[i] == -1);
    }
    const Embedding *place = annotated_embedding(b, "spatial");
    CHECK(place && place->width == 2 && memcmp(place->value, space, sizeof space) == 0);
    if (CHECK(b->n_layers == 1)) same_matrix(&a->layer[0].matrix, &b->layer[0].matrix);
    if (!CHECK(b->n_libraries == 1)) return;
    CHECK(b->library[0].spot_diameter_fullres == 9 && isnan(b->library[0].tissue_lowres_scalef));
    CHECK(b->library[0].hires.width == 3 && b->library[0].hires.height == 2 && !b->library[0].lowres.rgb &&
          memcmp(b->library[0].hires.rgb, a->library[0].hires.rgb, 18) == 0);
}

static void test_h5ad(void) {
    Annotated a, b;
    fill(&a);
    const char *path = made_path("a.h5ad"), *again = made_path("b.h5ad");
    for (int dense = 0; dense < 2; dense++)
        for (int deflate = 0; deflate < 9; deflate += 4) {
            H5adOptions options = {.form = dense ? H5AD_DENSE : H5AD_CSR, .deflate = deflate, .program = "test"};
            CHECK_OK(h5ad_write(path, &a, &options));
            if (!CHECK(counts_read(path, NULL, &b) == STATUS_OK)) continue;
            CHECK(b.x_was_dense == dense);
            same_annotated(&a, &b);
            annotated_free(&b);
        }
    CHECK_OK(h5ad_write(path, &a, NULL));
    CHECK_OK(h5ad_write(again, &a, NULL));
    char *x = NULL, *y = NULL;
    size_t m = 0, n = 0;
    CHECK_OK(file_read(path, 1 << 24, &x, &m));
    CHECK_OK(file_read(again, 1 << 24, &y, &n));
    CHECK(m == n && memcmp(x, y, m) == 0);
    free(x);
    free(y);
    size_t before = files_in(made_root);
    a.obs.column[0].name = "a/b";
    CHECK_FAILS(h5ad_write(again, &a, NULL), STATUS_UNSUPPORTED, "the column 'a/b'");
    a.obs.column[0].name = "real";
    codes[1] = 3;
    CHECK_FAILS(h5ad_write(again, &a, NULL), STATUS_INVALID, "row 1 has category 3 of 3");
    codes[1] = 0;
    a.obs.rows = 4;
    CHECK_FAILS(h5ad_write(again, &a, NULL), STATUS_INVALID, "obs has 4 rows for 5 names");
    a.obs.rows = SPOTS;
    a.layer[0].matrix.columns = 3;
    CHECK_FAILS(h5ad_write(again, &a, NULL), STATUS_INVALID, "the layer 'twice' has 5 x 3");
    a.layer[0].matrix.columns = GENES;
    CHECK_FAILS(h5ad_write(made_path("no/a.h5ad"), &a, NULL), STATUS_IO, "no");
    CHECK(files_in(made_root) == before); // nothing half-written
    a.has_x = false;
    CHECK_OK(h5ad_write(again, &a, NULL));
    CHECK_OK(counts_read(again, NULL, &b));
    CHECK(!b.has_x && b.x.rows == SPOTS && b.x.columns == GENES);
    annotated_free(&b);
    annotated_free(&a);
}

// ---- DiSCoTME -----------------------------------------------------------------------------------

static void test_export(void) {
    Annotated a;
    NpyFile vector;
    DiscotmeReport report;
    ImageFile *image = NULL;
    float row[GENES], want[GENES];
    fill(&a);
    const char *picture = made_path("tissue.jpg");
    char out[1024];
    snprintf(out, sizeof out, "%s", made_path("export"));
    made_jpeg(picture, 64, 48);
    DiscotmeExport job = {.picture = picture, .spots = &a, .radius = 8};
    const size_t order[2] = {4, 0};
    spot_names[4] = "last";
    CHECK_FAILS(export_discotme(out, &(DiscotmeExport){picture, &a, 0, NULL, 0}, NULL, &report), STATUS_INVALID,
                "radius");
    CHECK_OK(export_discotme(out, &job, NULL, &report));
    CHECK(report.spots == SPOTS && report.genes == GENES && report.cut == SPOTS); // the last at 60, 40 reaches over 64
    CHECK(files_in(made_below(out, "image")) == SPOTS && files_in(made_below(out, "genes")) == SPOTS);
    CHECK_OK(npy_open(made_below(out, "genes/last.npy"), &vector));
    CHECK(vector.view.elements == GENES && npy_read(&vector, ELEMENT_F32, row) == STATUS_OK);
    matrix_row(&a.x, 4, want);
    CHECK(memcmp(row, want, sizeof row) == 0);
    npy_close(&vector);
    CHECK_OK(image_open(made_below(out, "image/last.jpg"), &image));
    CHECK(image_info(image).width == 12 && image_info(image).height == 16);
    image_close(image);
    CHECK_FAILS(export_discotme(out, &job, NULL, &report), STATUS_IO, "is there already");
    snprintf(out, sizeof out, "%s/", made_path("ordered"));
    job.order = order;
    job.count = 2;
    CHECK_OK(export_discotme(out, &job, NULL, &report));
    char *table = NULL;
    size_t size = 0;
    CHECK_OK(file_read(made_below(out, "metadata.csv"), 4096, &table, &size));
    CHECK_TEXT(table, "spot_id,image_path,gene_vector_path\nlast,image/last.jpg,genes/last.npy\n"
                      "a,image/a.jpg,genes/a.npy\n");
    free(table);
    size_t before = files_in(made_root);
    space[4][0] = 1000;
    CHECK_FAILS(export_discotme(made_path("far"), &job, NULL, &report), STATUS_MISMATCH, "spot last lies outside");
    space[4][0] = 60;
    spot_names[4] = "a";
    CHECK_FAILS(export_discotme(made_path("far"), &job, NULL, &report), STATUS_INVALID, "two spots are called a");
    spot_names[4] = "a/b";
    CHECK_FAILS(export_discotme(made_path("far"), &job, NULL, &report), STATUS_INVALID, "'a/b' cannot be");
    spot_names[4] = "\xC3\xA4";
    CHECK(files_in(made_root) == before);
    annotated_free(&a);
}

// ---- Stores -------------------------------------------------------------------------------------

static Status grey_tiles(void *context, size_t first, size_t count, uint8_t *tiles) {
    (void)context;
    memset(tiles, (int)first, count * 4 * 4 * 3);
    return STATUS_OK;
}

static int64_t starts[4] = {0, 1, 3, 4};
static int32_t neighbours[4] = {1, 0, 2, 1}, part[3] = {0, 1, -1};
static float weights[4] = {1, 1, 0.5f, 0.25f}, features[3][2] = {{1, 2}, {3, 4}, {5, 6}};
static char *parts[2] = {"train", "test"};

// change 4: section C is added to a store that is there
static Status write_store(const char *path, int change) {
    static char *ids[3] = {"1x1", "2x1", "3x1"}, *genes[2] = {"G", "new"};
    static int32_t array[6] = {1, 1, 2, 1, 3, 1}, none[1];
    static double places[6] = {5, 5, 10, 5, 15, 5};
    static int64_t indptr[4];
    static uint8_t rgb[27];
    static uint32_t counts[1];
    StoreWriter *writer = NULL;
    StoreParameters parameters = {.program = "test",
                                  .tile_size = 4,
                                  .tile_pitch = 2,
                                  .filter = "bilinear",
                                  .edge = "replicate",
                                  .provenance = "{\"seed\":1}"};
    Picture thumbnail = {3, 3, rgb};
    StoreGraph graph = {"knn", starts, neighbours, weights};
    StoreFeatures table = {"encoder", 2, &features[0][0]};
    StoreSplit split = {"fold", 2, parts, part};
    TRY(change == 4 ? store_append(path, 0, &writer) : store_create(path, &parameters, &writer));
    Status status = STATUS_OK;
    for (int s = change == 4 ? 2 : 0; s < (change == 4 ? 3 : 2) && status == STATUS_OK; s++) {
        Section section = {.name = s == 2 ? "C"
                                   : s    ? "B"
                                          : "A",
                           .n_spots = 3,
                           .ids = ids,
                           .array = array,
                           .array_exact = places,
                           .pixel = places,
                           .n_genes = s == 2 ? 2 : 1,
                           .genes = genes,
                           .indptr = indptr,
                           .indices = none,
                           .counts = counts};
        if (s && change == 1) table.width = 1;
        if (s && change == 2) graph.name = "other";
        StoreSectionExtra extra = {20,     20, 1,      1, 5,      5, &thumbnail, "[]", "{}",
                                   &graph, 1,  &table, 1, &split, 1, grey_tiles, NULL};
        if (s && change == 3) extra.n_splits = 0;
        status = store_add_section(writer, &section, &extra);
    }
    if (status == STATUS_OK) return store_finish(writer);
    store_abandon(writer);
    return status;
}

static void test_store(void) {
    const char *path = made_path("extra.h5"), *bad = made_path("bad.h5");
    Store *store = NULL;
    Arena arena;
    StoreGraph graph;
    float values[4];
    int32_t found[3];
    const SpotRef spots[2] = {{1, 2}, {0, 0}};
    CHECK_OK(write_store(path, 0));
    if (!CHECK(store_open(path, &store) == STATUS_OK)) return;
    const StoreInfo *info = store_info(store);
    CHECK(info->version == 3 && info->n_graphs == 1 && info->n_features == 1 && info->n_splits == 1);
    CHECK_TEXT(info->provenance, "{\"seed\":1}");
    CHECK(strcmp(info->features[0].name, "encoder") == 0 && info->features[0].width == 2);
    CHECK(info->splits[0].n_parts == 2 && strcmp(info->splits[0].parts[1], "test") == 0);
    arena_init(&arena);
    CHECK_OK(store_read_graph(store, 1, "knn", &arena, &graph));
    CHECK(memcmp(graph.start, starts, sizeof starts) == 0 &&
          memcmp(graph.neighbour, neighbours, sizeof neighbours) == 0 &&
          memcmp(graph.weight, weights, sizeof weights) == 0);
    CHECK_FAILS(store_read_graph(store, 0, "hex", &arena, &graph), STATUS_NOT_FOUND, "no neighbours 'hex'");
    CHECK_FAILS(store_read_graph(store, 2, "knn", &arena, &graph), STATUS_INVALID, "section number 2");
    CHECK_OK(store_read_features(store, 0, spots, 2, values));
    CHECK(values[0] == 5 && values[1] == 6 && values[2] == 1 && values[3] == 2);
    CHECK_FAILS(store_read_features(store, 0, &(SpotRef){0, 3}, 1, values), STATUS_INVALID, "row 3 of 3");
    CHECK_OK(store_read_split(store, 0, 0, found));
    CHECK(memcmp(found, part, sizeof part) == 0);
    CHECK_OK(store_check(store));
    arena_free(&arena);
    store_close(store);
    CHECK_FAILS(write_store(bad, 1), STATUS_MISMATCH, "the feature table number 1 differs from section A");
    CHECK_FAILS(write_store(bad, 2), STATUS_MISMATCH, "the neighbour list number 1 differs");
    CHECK_FAILS(write_store(bad, 3), STATUS_MISMATCH, "0 splits, section A has 1, 1 and 1");
    neighbours[3] = 3;
    CHECK_FAILS(write_store(bad, 0), STATUS_INVALID, "entry 3 is no spot");
    neighbours[3] = 1;
    part[0] = 2;
    CHECK_FAILS(write_store(bad, 0), STATUS_INVALID, "in part 2 of 2");
    part[0] = 0;
    features[1][1] = INFINITY;
    CHECK_FAILS(write_store(bad, 0), STATUS_INVALID, "spot 1, column 1 is not a finite");
    features[1][1] = 4;
    CHECK(!file_exists(bad));
}

static void test_append(void) {
    const char *path = made_path("grown.h5");
    Store *store = NULL, *before = NULL;
    StoreWriter *writer = NULL, *second = NULL;
    uint8_t tile[48];
    CHECK_OK(write_store(path, 0));
    CHECK_OK(store_open(path, &before));
    CHECK_OK(store_append(path, 0, &writer));
    CHECK_FAILS(store_append(path, 0, &second), STATUS_IO, "another process is adding");
    store_abandon(writer);
    size_t files = files_in(made_root);
    CHECK_OK(write_store(path, 4));
    CHECK(files_in(made_root) == files);
    CHECK_OK(store_check(before)); // whoever has it open keeps the old one
    CHECK(store_info(before)->n_sections == 2);
    store_close(before);
    if (!CHECK(store_open(path, &store) == STATUS_OK)) return;
    const StoreInfo *info = store_info(store);
    CHECK(info->n_sections == 3 && info->n_genes == 2 && info->n_spots == 9 && info->n_splits == 1);
    CHECK_TEXT(info->sections[2].name, "C");
    CHECK_TEXT(info->genes[1], "new");
    CHECK_OK(store_check(store));
    CHECK_OK(store_read_tiles(store, &(SpotRef){2, 1}, 1, tile));
    store_close(store);
    CHECK_FAILS(write_store(path, 4), STATUS_INVALID, "section C occurs twice");
    CHECK_OK(store_open(path, &store));
    CHECK(store_info(store)->n_sections == 3);
    store_close(store);
    CHECK_FAILS(store_append(made_path("nowhere.h5"), 0, &writer), STATUS_NOT_FOUND, "nowhere.h5");
}

// A store of version 1 is one without what version 2 added.
static void test_version_1(void) {
    static const char *const gone[] = {"neighbours", "features", "splits", "format_version"};
    const char *path = made_path("old.h5");
    Store *store = NULL;
    CHECK_OK(write_store(path, 0));
    for (int64_t version = 1; version <= 4; version += 3) {
        hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
        for (int i = version == 1 ? 0 : 3; i < 4; i++) CHECK(H5Adelete(file, gone[i]) >= 0);
        hid_t attribute = H5Acreate2(file, gone[3], H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
        CHECK(H5Awrite(attribute, H5T_NATIVE_INT64, &version) >= 0);
        H5Aclose(attribute);
        H5Sclose(space);
        H5Fclose(file);
        if (version == 4) break;
        if (!CHECK(store_open(path, &store) == STATUS_OK)) return;
        CHECK(store_info(store)->version == 1 && store_info(store)->n_features == 0);
        CHECK_TEXT(store_info(store)->provenance, "{}");
        CHECK_OK(store_check(store));
        store_close(store);
    }
    CHECK_FAILS(store_open(path, &store), STATUS_UNSUPPORTED, "version 4; this program reads versions 1 to 3");
}

int main(void) {
    made_begin();
    test_h5ad();
    test_export();
    test_store();
    test_append();
    test_version_1();
    made_end();
    return check_report("outputs");
}
