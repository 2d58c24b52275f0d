// Preparing a store, reading it back, damage to it, and the two output formats.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <sys/resource.h>

#include "../../runtime/data/predictions.h"
#include "../../runtime/data/prepare.h"
#include "../../runtime/data/store.h"
#include "made.h"

// HDF5 itself loses blocks of its free lists and texts that it has half converted when it meets some kinds of
// damage; everything else must be returned.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:H5FL_\nleak:H5T_vlen_str_mem_write";
}

static PrepareOptions small_options(void) {
    PrepareOptions options = prepare_defaults();
    options.tiles.size = 30;
    options.tiles.pitch = 10;
    options.thumbnail_side = 40;
    return options;
}

static Status prepare_from(const char *directory, const char *path, const PrepareOptions *options,
                           PrepareReport *report) {
    Source source;
    *report = (PrepareReport){0};
    TRY(source_open(directory, SOURCE_LEGACY_ST, &(SourceOptions){0}, &source));
    Status status = prepare_store(&source, path, options, report);
    source_close(&source);
    return status;
}

static Status prepare(const char *directory, const char *path, PrepareOptions options) {
    PrepareReport report;
    Status status = prepare_from(directory, path, &options, &report);
    prepare_report_free(&report);
    return status;
}

static void test_ranks(void) {
    float values[10] = {0.5f, 0.1f, 0.5f, 0.0f, 0.1f, 3, 3, 3, 3, 3}, ranks[10];
    static const float expected[10] = {4, 2, 5, 1, 3, 1, 2, 3, 4, 5};
    ordinal_ranks(values, 2, 5, ranks);
    CHECK(memcmp(ranks, expected, sizeof ranks) == 0);
}

static void test_tiles(void) {
    Picture picture = {20, 10, made_pixels(20, 10)};
    uint8_t tile[6 * 6 * 3];
    CHECK(!cut_tile(&picture, 10, 5, 6, tile)); // rows 2 .. 7, columns 7 .. 12
    CHECK(memcmp(tile, picture.rgb + (2 * 20 + 7) * 3, 18) == 0 &&
          memcmp(tile + 5 * 18, picture.rgb + (7 * 20 + 7) * 3, 18) == 0);
    CHECK(!cut_tile(&picture, 3, 3, 6, tile));
    CHECK(!cut_tile(&picture, 17, 7, 6, tile));
    CHECK(cut_tile(&picture, 18, 7, 6, tile));
    CHECK(cut_tile(&picture, 0, 0, 6, tile)); // a quarter of it is inside
    CHECK(memcmp(tile, picture.rgb, 3) == 0 && memcmp(tile + 2 * 18 + 6, picture.rgb, 3) == 0);
    CHECK(memcmp(tile + (5 * 6 + 5) * 3, picture.rgb + (2 * 20 + 2) * 3, 3) == 0);
    CHECK(cut_tile(&picture, 1000000, -1000000, 6, tile)); // far outside: the nearest corner everywhere
    CHECK(memcmp(tile, picture.rgb + 19 * 3, 3) == 0 && memcmp(tile + 35 * 3, picture.rgb + 19 * 3, 3) == 0);
    picture_free(&picture);
}

static void test_reading(const char *path) {
    Store *store = NULL;
    if (!CHECK_OK(store_open(path, &store))) return;
    CHECK_OK(store_check(store));
    const StoreInfo *info = store_info(store);
    CHECK(info->n_sections == 2 && info->n_spots == 12 && info->n_genes == 4 && info->n_tables == 2 &&
          info->tile_size == 30);
    CHECK_TEXT(info->tables[0].name, "major");
    CHECK_TEXT(info->tables[1].name, "major_rank");
    CHECK_TEXT(info->tables[0].columns[2], "NK cells ");
    CHECK_TEXT(info->genes[3], "MS4A1");
    const StoreSection *b2 = &info->sections[1];
    CHECK_TEXT(b2->name, "B2");
    CHECK_TEXT(b2->ids[0], "4x3");
    CHECK_NEAR(b2->pitch_x, 50, 1e-9);
    CHECK_NEAR(b2->scale_x, 0.2, 1e-12);
    CHECK(strstr(b2->inputs, "\"counts/B2.tsv.gz\"") && strstr(b2->left_out, "\"6x3\""));
    // Counts joined by name: B2's columns are CD3D MS4A1 ACTB, the store's ACTB ERBB2 CD3D MS4A1.
    SpotRef spots[3] = {{1, 0}, {0, 5}, {1, 4}};
    float counts[12], picked[6], table[9];
    CHECK_OK(store_read_counts(store, spots, 3, NULL, 4, counts));
    static const float expected[12] = {1, 0, 0, 4, 2, 0, 70000, 0, 6, 0, 6, 0};
    CHECK(memcmp(counts, expected, sizeof counts) == 0);
    int32_t genes[2] = {3, 0}, wrong[1] = {4};
    CHECK_OK(store_read_counts(store, spots, 3, genes, 2, picked));
    CHECK(picked[0] == 4 && picked[1] == 1 && picked[2] == 0 && picked[3] == 2 && picked[5] == 6);
    CHECK_FAILS(store_read_counts(store, spots, 3, wrong, 1, picked), STATUS_INVALID, "gene number 4 of 4");
    uint8_t measured[4];
    CHECK_OK(store_read_measured(store, 1, measured));
    CHECK(measured[0] == 1 && measured[1] == 0 && measured[2] == 1 && measured[3] == 1);
    // Tables joined by column name: Tumour, Stroma, NK.
    CHECK_OK(store_read_table(store, 0, spots, 3, table));
    static const float shares[9] = {0.2f, 0.7f, 0.1f, 0.3f, 0.3f, 0.4f, 0.3f, 0.3f, 0.4f};
    CHECK(memcmp(table, shares, sizeof table) == 0);
    CHECK_OK(store_read_table(store, 1, spots, 3, table));
    static const float ranks[9] = {2, 3, 1, 1, 2, 3, 1, 2, 3};
    CHECK(memcmp(table, ranks, sizeof table) == 0);
    // Runs of rows and single rows give the same tiles.
    size_t bytes = 30 * 30 * 3;
    uint8_t *run = malloc(6 * bytes), *one = malloc(bytes);
    SpotRef all[6];
    for (uint32_t i = 0; i < 6; i++) all[i] = (SpotRef){0, i};
    CHECK_OK(store_read_tiles(store, all, 6, run));
    size_t same = 0;
    for (size_t i = 6; i-- > 0;) {
        CHECK_OK(store_read_tiles(store, &all[i], 1, one));
        same += memcmp(one, run + i * bytes, bytes) == 0;
    }
    CHECK(same == 6 && memcmp(run, run + bytes, bytes) != 0);
    free(run);
    free(one);
    uint8_t pixel[2700];
    CHECK_FAILS(store_read_tiles(store, &(SpotRef){2, 0}, 1, pixel), STATUS_INVALID, "section number 2 of 2");
    CHECK_FAILS(store_read_tiles(store, &(SpotRef){1, 6}, 1, pixel), STATUS_INVALID, "section B2: row 6 of 6");
    CHECK_FAILS(store_read_table(store, 2, spots, 1, table), STATUS_INVALID, "table number 2 of 2");
    Picture thumbnail;
    CHECK_OK(store_read_thumbnail(store, 0, &thumbnail));
    CHECK(thumbnail.width == 40 && thumbnail.height == 25);
    CHECK_NEAR(b2->thumbnail_scale_x, 40.0 / 260, 1e-12);
    picture_free(&thumbnail);
    // Does it fit a model?
    size_t at = 9;
    const char *columns[3] = {"Tumour", "Stroma, dense", "NK cells "},
               *others[3] = {"Tumour", "NK cells ", "Stroma, dense"};
    CHECK_OK(store_require_tiles(store, 30));
    CHECK_FAILS(store_require_tiles(store, 78), STATUS_MISMATCH, "tiles are 30 x 30 pixels, the model takes 78 x 78");
    CHECK_OK(store_require_table(store, "major_rank", 3, columns, &at));
    CHECK(at == 1);
    CHECK_FAILS(store_require_table(store, "major_rank", 4, NULL, &at), STATUS_MISMATCH,
                "has 3 columns, the model has 4");
    CHECK_FAILS(store_require_table(store, "major_rank", 3, others, &at), STATUS_MISMATCH,
                "column 2 of table 'major_rank' is 'Stroma, dense', the model has 'NK cells ' there");
    CHECK_FAILS(store_require_table(store, "minor", 3, NULL, &at), STATUS_MISMATCH, "has no table 'minor'");
    CHECK_FAILS(store_find_section(store, "b2", &at), STATUS_NOT_FOUND,
                "no section 'b2' (did you mean 'B2'?); it has B1, B2");
    CHECK_OK(store_find_section(store, "B2", &at));
    CHECK(at == 1);
    store_close(store);
}

static bool cancel(void *context, const char *what, double fraction) {
    (void)what;
    return fraction < *(double *)context;
}

static void test_prepare(const char *directory, const char *path) {
    PrepareOptions options = small_options();
    PrepareReport report;
    CHECK_OK(prepare_from(directory, path, &options, &report));
    CHECK(report.n_sections == 2 && report.n_spots == 12 && report.n_left_out == 2);
    CHECK(report.n_edge_tiles == 12); // tiles of 3 steps, spots one or two steps from the edge
    CHECK(strstr(text_string(&report.notes), "section B2: 1 selected spot without counts left out: 6x3\n"));
    CHECK(strstr(text_string(&report.notes), "1 positions not under tissue left out"));
    CHECK(strstr(text_string(&report.notes), "1 rows of proportions"));
    prepare_report_free(&report);
    test_reading(path);
    // Equal input, equal bytes; compressed tiles read the same.
    char *first = NULL, *second = NULL;
    size_t n_first = 0, n_second = 0;
    CHECK_OK(prepare(directory, made_path("again.h5"), options));
    CHECK_OK(file_read(path, (size_t)1 << 28, &first, &n_first));
    CHECK_OK(file_read(made_path("again.h5"), (size_t)1 << 28, &second, &n_second));
    CHECK(n_first == n_second && memcmp(first, second, n_first) == 0);
    free(second);
    options.tiles.deflate = 6;
    CHECK_OK(prepare(directory, made_path("again.h5"), options));
    test_reading(made_path("again.h5"));
    options.tiles.deflate = 0;
    // What fails leaves the old store as it was and nothing beside it.
    size_t n_files = made_files_in(made_root);
    for (double limit = 0.05; limit < 1; limit += 0.3) {
        options.progress = cancel;
        options.context = &limit;
        CHECK_FAILS(prepare(directory, path, options), STATUS_CANCELLED, "prepare: ");
    }
    options = small_options();
    const char *wanted[] = {"B3"};
    options.sections = wanted;
    options.n_sections = 1;
    CHECK_FAILS(prepare(directory, path, options), STATUS_NOT_FOUND, "no section 'B3'");
    wanted[0] = "B2";
    CHECK_OK(prepare(directory, made_path("again.h5"), options));
    Store *store = NULL;
    CHECK_OK(store_open(made_path("again.h5"), &store));
    CHECK(store && store_info(store)->n_sections == 1);
    store_close(store);
    PrepareTable minor = {.name = "minor", .source = "minor"};
    options.tables = &minor;
    options.n_tables = 1;
    CHECK_FAILS(prepare(directory, path, options), STATUS_NOT_FOUND, "there is no table 'minor'");
    options = small_options();
    options.tiles.pitch = 0;
    CHECK_FAILS(prepare(directory, path, options), STATUS_INVALID, "pitch of 0");
    options.tiles.pitch = 1e9;
    CHECK_FAILS(prepare(directory, path, options), STATUS_INVALID, "not possible");
    options.tiles.pitch = 10;
    options.tiles.size = 0;
    CHECK_FAILS(prepare(directory, path, options), STATUS_INVALID, "tile size of 0");
    CHECK_FAILS(prepare(directory, made_path("no/where.h5"), small_options()), STATUS_IO, "no/where.h5");
    CHECK_FAILS(prepare(directory, "/dev/full", small_options()), STATUS_INVALID, "device or a pipe");
    // The disk is full in the middle.
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    for (rlim_t limit = 2000; limit < n_first; limit += n_first / 6) {
        small.rlim_cur = limit;
        setrlimit(RLIMIT_FSIZE, &small);
        Status status = prepare(directory, path, small_options());
        setrlimit(RLIMIT_FSIZE, &old);
        CHECK_FAILS(status, STATUS_IO, "File too large");
    }
    CHECK(made_files_in(made_root) == n_files);
    CHECK_OK(file_read(path, (size_t)1 << 28, &second, &n_second));
    CHECK(n_first == n_second && memcmp(first, second, n_first) == 0);
    free(first);
    free(second);
    // Geometry that makes no sense.
    const char *spots = made_below(directory, "spots/B1_selection.tsv");
    made_text(spots, "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_"
                     "y\tselected\n2\t2\t2\t2\t50\t50\t1\n3\t2\t3\t2\t50\t100\t1\n4\t2\t4\t2\t50\t150\t1\n"
                     "2\t3\t2\t3\t100\t50\t1\n3\t3\t3\t3\t100\t100\t1\n4\t3\t4\t3\t100\t150\t1\n");
    CHECK_FAILS(prepare(directory, path, small_options()), STATUS_MALFORMED, "are x and y exchanged");
    made_text(spots, "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_"
                     "y\tselected\n2\t2\t2\t2\t50\t50\t1\n3\t2\t3\t2\t100\t50\t1\n4\t2\t4\t2\t150\t50\t1\n"
                     "2\t3\t2\t3\t50\t100\t1\n3\t3\t3\t3\t100\t100\t1\n4\t3\t4\t3\t150\t500\t1\n");
    CHECK_FAILS(prepare(directory, path, small_options()), STATUS_MALFORMED, "pixel_y does not grow evenly");
    made_text(spots, "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_"
                     "y\tselected\n2\t2\t2\t2\t150\t50\t1\n3\t2\t3\t2\t200\t50\t1\n4\t2\t4\t2\t250\t50\t1\n"
                     "2\t3\t2\t3\t150\t100\t1\n3\t3\t3\t3\t200\t100\t1\n4\t3\t4\t3\t270\t100\t1\n");
    CHECK_FAILS(prepare(directory, path, small_options()), STATUS_MALFORMED,
                "spot 4x3 at pixel 270.0, 100.0 lies outside the picture");
    made_text(spots, made_spots);
    // A section whose table has other columns; a cut picture.
    const char *major = made_below(directory, "proportions/B2_major.tsv");
    made_text(major, "\tTumour\tFat\tNK cells "
                     "\n4x3\t1\t0\t0\n3x3\t1\t0\t0\n2x3\t1\t0\t0\n4x2\t1\t0\t0\n3x2\t1\t0\t0\n2x2\t1\t0\t0\n");
    CHECK_FAILS(prepare(directory, path, small_options()), STATUS_MISMATCH,
                "section B2 has no column 'Stroma, dense', which section B1 has");
    made_text(major, made_major[1]);
    const char *picture = made_below(directory, "images/B2.jpg");
    char copy[2100];
    snprintf(copy, sizeof copy, "%s.whole", picture);
    rename(picture, copy);
    size_t size = made_damaged(copy, picture, 4000, -1, 0);
    CHECK(size > 4000);
    CHECK_FAILS(prepare(directory, path, small_options()), STATUS_MALFORMED,
                "images/B2.jpg: the JPEG data is damaged or ends early");
    rename(copy, picture);
    test_reading(path); // still the first one
}

static void test_damage(const char *path) {
    const char *broken = made_path("broken.h5");
    Store *store = NULL;
    CHECK_FAILS(store_open(made_path("none.h5"), &store), STATUS_NOT_FOUND, "none.h5: No such file");
    CHECK_FAILS(store_open(made_root, &store), STATUS_INVALID, "is a directory");
    made_text(broken, "not a store at all");
    CHECK_FAILS(store_open(broken, &store), STATUS_MALFORMED, "broken.h5: not an HDF5 file");
    made_text(broken, "");
    CHECK_FAILS(store_open(broken, &store), STATUS_MALFORMED, "not an HDF5 file");
    size_t size = made_damaged(path, broken, (size_t)-1, -1, 0), refused = 0, tried = 0;
    for (size_t keep = 1; keep < size; keep += 1 + size / 60) {
        made_damaged(path, broken, keep, -1, 0);
        Status status = store_open(broken, &store);
        refused += status != STATUS_OK;
        tried++;
        status_drop(status);
        if (status == STATUS_OK) store_close(store);
    }
    CHECK(refused == tried);
    made_damaged(path, broken, size - 1, -1, 0);
    CHECK_FAILS(store_open(broken, &store), STATUS_MALFORMED, "cut off");
    // A flipped byte: never a crash; in the tiles always noticed.
    for (size_t at = 0; at < size; at += 1 + size / 400) {
        made_damaged(path, broken, (size_t)-1, (long)at, 0xFF);
        Status status = store_open(broken, &store);
        if (status == STATUS_OK) {
            status = store_check(store);
            store_close(store);
        }
        status_drop(status);
    }
    CHECK_OK(store_open(path, &store));
    uint8_t tile[2700];
    SpotRef spot = {0, 3}; // B1 comes first in the file; B2 has the same picture
    CHECK_OK(store_read_tiles(store, &spot, 1, tile));
    store_close(store);
    char *data = NULL;
    CHECK_OK(file_read(path, (size_t)1 << 28, &data, &size));
    char *place = memmem(data, size, tile, sizeof tile);
    if (CHECK(place != NULL)) {
        made_damaged(path, broken, (size_t)-1, place - data + 1000, 1);
        CHECK_OK(store_open(broken, &store));
        CHECK_FAILS(store_read_tiles(store, &spot, 1, tile), STATUS_MALFORMED,
                    "section B1: the tile of spot 2x3 (row 3) does not agree with its checksum");
        CHECK_FAILS(store_check(store), STATUS_MALFORMED, "section B1: the tile of spot 2x3 (row 3)");
        store_close(store);
    }
    free(data);
}

static void test_outputs(const char *path) {
    Store *store = NULL;
    if (!CHECK_OK(store_open(path, &store))) return;
    SpotRef spots[2] = {{1, 0}, {0, 2}};
    const char *columns[3] = {"Tumour", "Stroma, dense", "say \"hi\""};
    float values[6] = {0.1f, -2, NAN, 1e-9f, 3.5f, 16777216};
    Predictions p = {.store = store,
                     .spots = spots,
                     .n_rows = 2,
                     .n_columns = 3,
                     .columns = columns,
                     .values = values,
                     .truth = values,
                     .program = "test"};
    const char *csv = made_path("p.csv"), *h5ad = made_path("p.h5ad");
    CHECK_OK(predictions_write(csv, &p));
    char *text = NULL;
    size_t size = 0;
    CHECK_OK(file_read(csv, 10000, &text, &size));
    CHECK_TEXT(text, "spot,section,Tumour,\"Stroma, dense\",\"say "
                     "\"\"hi\"\"\"\n4x3,B2,0.1,-2,nan\n4x2,B1,1e-09,3.5,16777216\n");
    free(text);
    CHECK_OK(predictions_write(h5ad, &p));
    CHECK_FAILS(predictions_write("/dev/full", &p), STATUS_INVALID, "choose one of these endings");
    CHECK_FAILS(predictions_write_csv("/dev/full", &p), STATUS_IO, "No space left on device");
    CHECK_FAILS(predictions_write_h5ad(made_path("no/p.h5ad"), &p), STATUS_IO, "p.h5ad");
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    size_t n_files = made_files_in(made_root);
    for (rlim_t limit = 100; limit < 9000; limit += 2500) {
        small = old;
        small.rlim_cur = limit;
        setrlimit(RLIMIT_FSIZE, &small);
        Status status = predictions_write_h5ad(h5ad, &p);
        setrlimit(RLIMIT_FSIZE, &old);
        CHECK_FAILS(status, STATUS_IO, "File too large");
    }
    CHECK(made_files_in(made_root) == n_files);
    CHECK_FAILS(store_open(h5ad, &store), STATUS_MISMATCH, "an HDF5 file, but not a store");
    p.n_rows = 0;
    CHECK_FAILS(predictions_write_csv(csv, &p), STATUS_INVALID, "no predictions");
    store_close(p.store);
}

int main(void) {
    made_begin();
    test_ranks();
    test_tiles();
    char directory[1024], path[1024];
    snprintf(directory, sizeof directory, "%s", made_legacy("legacy"));
    snprintf(path, sizeof path, "%s", made_path("store.h5"));
    test_prepare(directory, path);
    test_damage(path);
    test_outputs(path);
    made_end();
    return check_report("store");
}
