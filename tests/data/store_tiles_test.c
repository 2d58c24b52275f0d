// How tiles are kept: as pixels, deflated, as JPEG, not at all; older versions of the store; and damage to each.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <sys/resource.h>

#include <hdf5.h>
#include <libdeflate.h>

#include "../../runtime/core/random.h"
#include "../../runtime/data/slide_jpeg.h"
#include "made_store.h"

// HDF5 itself loses blocks of its free lists when it meets some kinds of damage.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:H5FL_\nleak:H5T_vlen_str_mem_write";
}

enum { SIDE = 30, SPOTS = 70, MOST_SIDE = 65 };

static const struct {
    const char *encoding;
    int deflate, jpeg;
    JpegSampling sampling;
} kinds[] = {{"plain", 0, 0, JPEG_420},           {"deflate 1", 1, 0, JPEG_420},      {"deflate 9", 9, 0, JPEG_420},
             {"jpeg 75 4:2:0", 0, 75, JPEG_420},  {"jpeg 90 4:4:4", 0, 90, JPEG_444}, {"jpeg 1 4:2:2", 0, 1, JPEG_422},
             {"jpeg 100 4:4:4", 0, 100, JPEG_444}};

enum { KINDS = sizeof kinds / sizeof *kinds };

static MadeStore made_kind(int kind, size_t side, uint32_t sections) {
    MadeStore made = {.parameters = made_parameters(side), .sections = sections, .spots = SPOTS};
    made.parameters.deflate = kinds[kind].deflate;
    made.parameters.jpeg = kinds[kind].jpeg;
    made.parameters.sampling = kinds[kind].sampling;
    return made;
}

static bool same_files(const char *a, const char *b) {
    char *x = NULL, *y = NULL;
    size_t n = 0, m = 0;
    CHECK_OK(file_read(a, (size_t)1 << 30, &x, &n));
    CHECK_OK(file_read(b, (size_t)1 << 30, &y, &m));
    bool same = n > 0 && n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

// What the store must give for a tile: its pixels, or those after an own pass through the JPEG encoder and decoder.
static void expected_tile(int kind, size_t side, uint32_t section, uint32_t row, uint8_t *out) {
    made_tile(section, row, side, out);
    if (!kinds[kind].jpeg) return;
    JpegWriter *writer = NULL;
    JpegTiles *reader = NULL;
    JpegTile tile = {.color = JPEG_TILE_YCBCR, .width = side, .height = side, .channels = 3};
    if (CHECK_OK(jpeg_writer_create(kinds[kind].jpeg, kinds[kind].sampling, &writer)) &&
        CHECK_OK(jpeg_writer_encode(writer, out, side, side, side * 3, &tile.data, &tile.size)) &&
        CHECK_OK(jpeg_tiles_create(&reader)))
        CHECK_OK(jpeg_tiles_decode(reader, &tile, out));
    jpeg_tiles_free(reader);
    jpeg_writer_free(writer);
}

static void check_tiles(Store *store, int kind, size_t side, uint32_t sections) {
    size_t bytes = side * side * 3, count = sections * SPOTS, same = 0;
    SpotRef *spots = malloc(count * sizeof *spots);
    int64_t *order = malloc(count * sizeof *order);
    uint8_t *tiles = malloc(count * bytes), *wanted = malloc(bytes);
    // All in a row, then shuffled.
    for (uint32_t seed = 0; seed < 2; seed++) {
        for (size_t i = 0; i < count; i++) order[i] = (int64_t)i;
        if (seed) random_shuffle(order, count, seed, 0);
        for (size_t i = 0; i < count; i++)
            spots[i] = (SpotRef){(uint32_t)(order[i] / SPOTS), (uint32_t)(order[i] % SPOTS)};
        CHECK_OK(store_read_tiles(store, spots, count, tiles));
        for (size_t i = 0; i < count; i++) {
            expected_tile(kind, side, spots[i].section, spots[i].row, wanted);
            same += memcmp(wanted, tiles + i * bytes, bytes) == 0;
        }
    }
    CHECK(same == 2 * count);
    store_expect_tiles(store, spots, count);
    free(spots);
    free(order);
    free(tiles);
    free(wanted);
}

static void test_kinds(Pool *pool) {
    static const size_t sides[] = {1, SIDE, MOST_SIDE};
    const char *path = made_path("kind.h5"), *again = made_path("again.h5");
    for (int kind = 0; kind < KINDS; kind++) {
        for (int s = 0; s < 3; s++) {
            if (s != 1 && kind != 0 && kind != 1 && kind != 3) continue; // every kind in one size, every size in three
            Store *store = NULL;
            MadeStore made = made_kind(kind, sides[s], 2);
            CHECK_OK(made_store(path, made));
            made.parameters.pool = pool;
            CHECK_OK(made_store(again, made));
            CHECK(same_files(path, again)); // whoever packs them
            if (!CHECK_OK(store_open(path, &store))) continue;
            const StoreInfo *info = store_info(store);
            CHECK(info->version == 3 && info->tile_size == sides[s] && info->jpeg == kinds[kind].jpeg &&
                  info->deflate == kinds[kind].deflate && info->sampling == kinds[kind].sampling);
            CHECK_TEXT(info->encoding, kinds[kind].encoding);
            CHECK(store_tiles_shared(store));
            CHECK_OK(store_check(store));
            check_tiles(store, kind, sides[s], 2);
            uint8_t *tile = malloc(MOST_SIDE * MOST_SIDE * 3);
            CHECK_FAILS(store_read_tiles(store, &(SpotRef){2, 0}, 1, tile), STATUS_INVALID, "section number 2 of 2");
            CHECK_FAILS(store_read_tiles(store, &(SpotRef){1, SPOTS}, 1, tile), STATUS_INVALID, "row 70 of 70");
            store_expect_tiles(store, &(SpotRef){7, 0}, 1); // says nothing, does nothing
            free(tile);
            store_close(store);
        }
    }
}

static void test_parameters(void) {
    static const struct {
        int deflate, jpeg, sampling;
        size_t side;
        const char *says;
    } wrong[] = {{10, 0, 0, 4, "deflate level of 10"},
                 {-1, 0, 0, 4, "deflate level of -1"},
                 {0, 101, 0, 4, "JPEG quality of 101 for tiles"},
                 {0, -1, 0, 4, "JPEG quality of -1"},
                 {1, 75, 0, 4, "not both"},
                 {0, 75, 3, 4, "JPEG subsampling 3"},
                 {0, 0, 0, 4097, "tile size of 4097"}};
    const char *path = made_path("wrong.h5");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        MadeStore made = {.parameters = made_parameters(wrong[i].side), .sections = 1, .spots = 1};
        made.parameters.deflate = wrong[i].deflate;
        made.parameters.jpeg = wrong[i].jpeg;
        made.parameters.sampling = (JpegSampling)wrong[i].sampling;
        CHECK_FAILS(made_store(path, made), STATUS_INVALID, wrong[i].says);
    }
    CHECK(!file_exists(path));
}

// The disk is full somewhere on the way: while tiles wait beside the store, or while it is written.
static void test_full_disk(void) {
    struct rlimit old, small;
    const char *path = made_path("full.h5");
    size_t files = made_files_in(made_root);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    for (int kind = 0; kind < 4; kind++) {
        for (rlim_t limit = 1000; limit < 30000; limit += 7000) {
            small = old;
            small.rlim_cur = limit;
            setrlimit(RLIMIT_FSIZE, &small);
            Status status = made_store(path, made_kind(kind, SIDE, 1));
            setrlimit(RLIMIT_FSIZE, &old);
            CHECK_FAILS(status, STATUS_IO, "File too large");
        }
    }
    CHECK(made_files_in(made_root) == files);
}

// ---- What a section may lack or bring -----------------------------------------------------------

static Status bare_store(const char *path, bool thumbnail, size_t side) {
    char *ids[2] = {"a", "b"}, group[] = "patient 1";
    int32_t array[4] = {0, 0, 1, 0};
    double places[4] = {5, 5, 10, 5};
    uint8_t grey[27] = {0};
    Picture picture = {3, 3, grey};
    StoreWriter *writer = NULL;
    StoreParameters parameters = made_parameters(side);
    Section section = {.name = "bare",
                       .n_spots = 2,
                       .ids = ids,
                       .array = array,
                       .array_exact = places,
                       .pixel = places,
                       .group = group,
                       .spot_diameter = 55.5,
                       .microns_per_pixel = 0.25,
                       .picture_scale = 0.1};
    StoreSectionExtra extra = {.inputs = "[]", .left_out = "{}", .thumbnail = thumbnail ? &picture : NULL};
    TRY(store_create(path, &parameters, &writer));
    Status status = store_add_section(writer, &section, &extra);
    if (status == STATUS_OK) return store_finish(writer);
    store_abandon(writer);
    return status;
}

static void test_bare(void) {
    const char *path = made_path("bare.h5");
    Store *store = NULL;
    Picture thumbnail;
    uint8_t tile[12];
    float counts[1];
    CHECK_FAILS(bare_store(path, true, 0), STATUS_INVALID, "section bare: a thumbnail of a picture of 0 x 0");
    CHECK_FAILS(bare_store(path, false, 2), STATUS_INVALID, "section bare: the store has tiles; the section brings no");
    CHECK_OK(bare_store(path, false, 0));
    if (!CHECK_OK(store_open(path, &store))) return;
    const StoreInfo *info = store_info(store);
    const StoreSection *s = &info->sections[0];
    CHECK(info->tile_size == 0 && info->n_genes == 0 && s->nnz == 0 && s->image_width == 0 && s->scale_x == 0 &&
          s->thumbnail_scale_x == 0 && s->pitch_x == 0);
    CHECK_TEXT(s->group, "patient 1");
    CHECK(s->spot_diameter == 55.5 && s->microns_per_pixel == 0.25 && s->picture_scale == 0.1);
    CHECK_FAILS(store_read_tiles(store, &(SpotRef){0, 0}, 1, tile), STATUS_MISMATCH, "bare.h5: the store has no tiles");
    CHECK_FAILS(store_require_tiles(store, 0), STATUS_MISMATCH, "no tiles; prepare it with tiles");
    CHECK_FAILS(store_require_tiles(store, 78), STATUS_MISMATCH, "no tiles; prepare it with tiles");
    CHECK_FAILS(store_read_thumbnail(store, 0, &thumbnail), STATUS_NOT_FOUND, "section bare: it has no thumbnail");
    store_expect_tiles(store, &(SpotRef){0, 0}, 1);
    CHECK_OK(store_read_counts(store, &(SpotRef){0, 1}, 1, NULL, 0, counts));
    CHECK_OK(store_check(store));
    store_close(store);
    // What nobody said is unknown.
    CHECK_OK(made_store(path, made_kind(0, SIDE, 1)));
    if (!CHECK_OK(store_open(path, &store))) return;
    s = &store_info(store)->sections[0];
    CHECK(!s->group && s->spot_diameter == 0 && s->microns_per_pixel == 0 && s->picture_scale == 1);
    store_close(store);
}

static void test_append(void) {
    const char *path = made_path("grown.h5");
    for (int kind = 0; kind < 4; kind++) {
        Store *store = NULL;
        StoreWriter *writer = NULL;
        MadeStore made = made_kind(kind, SIDE, 1);
        CHECK_OK(made_store(path, made));
        CHECK_FAILS(store_append(path, kinds[kind].deflate ? 0 : 3, &writer), STATUS_MISMATCH, kinds[kind].encoding);
        CHECK_FAILS(store_append(path, 10, &writer), STATUS_INVALID, "level of 10");
        if (CHECK_OK(store_append(path, -1, &writer))) {
            const StoreParameters *p = store_parameters(writer);
            CHECK(p->tile_size == SIDE && p->tile_pitch == 10 && p->jpeg == kinds[kind].jpeg &&
                  p->deflate == kinds[kind].deflate);
            CHECK_TEXT(p->filter, "bilinear");
            CHECK_TEXT(p->edge, "replicate");
            store_abandon(writer);
        }
        made.append = true;
        made.first = 1;
        made.sections = 2;
        CHECK_OK(made_store(path, made));
        if (!CHECK_OK(store_open(path, &store))) continue;
        CHECK(store_info(store)->n_sections == 3);
        CHECK_OK(store_check(store));
        check_tiles(store, kind, SIDE, 3);
        store_close(store);
    }
}

// ---- Editing a store with HDF5 ------------------------------------------------------------------

static hid_t edit_begin(const char *path) {
    return H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
}

static void edit_text(hid_t object, const char *name, const char *value) {
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, strlen(value));
    H5Tset_cset(type, H5T_CSET_UTF8);
    CHECK(H5Adelete(object, name) >= 0);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(H5Awrite(attribute, type, value) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}

static void edit_i64(hid_t object, const char *name, int64_t value) {
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    CHECK(H5Awrite(attribute, H5T_NATIVE_INT64, &value) >= 0);
    H5Aclose(attribute);
}

// Replaces a dataset; chunk NULL: contiguous; data NULL: never written.
static void edit_dataset(hid_t file, const char *name, hid_t type, int rank, const hsize_t *dims, const hsize_t *chunk,
                         const void *data) {
    hid_t space = H5Screate_simple(rank, dims, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
    if (chunk) CHECK(H5Pset_chunk(create, rank, chunk) >= 0 && H5Pset_fletcher32(create) >= 0);
    CHECK(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    CHECK(dataset >= 0);
    if (data) CHECK(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(dataset);
    H5Pclose(create);
    H5Sclose(space);
}

static uint8_t *all_pixels(uint32_t section) {
    uint8_t *pixels = malloc(SPOTS * SIDE * SIDE * 3);
    for (uint32_t i = 0; i < SPOTS; i++) made_tile(section, i, SIDE, pixels + i * SIDE * SIDE * 3);
    return pixels;
}

// Versions 1 and 2 kept tiles in chunks of HDF5 with Fletcher-32 checksums.
static void make_version_2(const char *path, size_t flip) {
    static const hsize_t dims[4] = {SPOTS, SIDE, SIDE, 3}, chunk[4] = {1, SIDE, SIDE, 3};
    CHECK_OK(made_store(path, made_kind(0, SIDE, 2)));
    hid_t file = edit_begin(path);
    for (uint32_t s = 0; s < 2; s++) {
        char name[64];
        uint8_t *pixels = all_pixels(s);
        snprintf(name, sizeof name, "sections/S%u/tiles", s);
        edit_dataset(file, name, H5T_STD_U8LE, 4, dims, chunk, pixels);
        strcat(name, "_check");
        CHECK(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
        free(pixels);
    }
    CHECK(H5Adelete(file, "tile_encoding") >= 0);
    edit_i64(file, "format_version", 2);
    H5Fclose(file);
    if (!flip) return;
    char *data = NULL;
    size_t size = 0;
    uint8_t tile[SIDE * SIDE * 3];
    made_tile(0, 3, SIDE, tile);
    CHECK_OK(file_read(path, (size_t)1 << 28, &data, &size));
    char *place = memmem(data, size, tile, sizeof tile);
    if (CHECK(place != NULL)) {
        place[flip] ^= 1;
        made_file(path, data, size);
    }
    free(data);
}

static void test_version_2(void) {
    const char *path = made_path("two.h5");
    Store *store = NULL;
    StoreWriter *writer = NULL;
    uint8_t tile[SIDE * SIDE * 3];
    make_version_2(path, 0);
    if (!CHECK_OK(store_open(path, &store))) return;
    CHECK_TEXT(store_info(store)->encoding, "chunks");
    CHECK(store_info(store)->version == 2 && !store_tiles_shared(store) && store_info(store)->deflate == -1);
    CHECK_OK(store_check(store));
    check_tiles(store, 0, SIDE, 2);
    store_close(store);
    CHECK_FAILS(store_append(path, 0, &writer), STATUS_UNSUPPORTED, "sections are added to stores of version 3");
    make_version_2(path, 1000);
    if (!CHECK_OK(store_open(path, &store))) return;
    CHECK_FAILS(store_read_tiles(store, &(SpotRef){0, 3}, 1, tile), STATUS_MALFORMED, "section S0: reading tiles");
    CHECK_FAILS(store_check(store), STATUS_MALFORMED, "section S0: reading tiles");
    store_close(store);
}

// ---- Damage -------------------------------------------------------------------------------------

// Every byte of the tiles of spot 3 flipped in turn (some of them): always noticed, and named.
static void test_flips(void) {
    const char *path = made_path("whole.h5"), *broken = made_path("broken.h5");
    for (int kind = 0; kind < KINDS; kind++) {
        Store *store = NULL;
        uint8_t tile[SIDE * SIDE * 3], *stream = tile;
        size_t size = sizeof tile, n = 0;
        char *data = NULL;
        CHECK_OK(made_store(path, made_kind(kind, SIDE, 2)));
        CHECK_OK(file_read(path, (size_t)1 << 28, &data, &n));
        made_tile(1, 3, SIDE, tile);
        JpegWriter *writer = NULL;
        struct libdeflate_compressor *deflate = libdeflate_alloc_compressor(kinds[kind].deflate);
        uint8_t *packed = malloc(2 * sizeof tile);
        const uint8_t *encoded = NULL;
        if (kinds[kind].jpeg) {
            CHECK_OK(jpeg_writer_create(kinds[kind].jpeg, kinds[kind].sampling, &writer));
            CHECK_OK(jpeg_writer_encode(writer, tile, SIDE, SIDE, SIDE * 3, &encoded, &size));
            memcpy(packed, encoded, size);
            stream = packed;
        } else if (kinds[kind].deflate) {
            size = libdeflate_zlib_compress(deflate, tile, sizeof tile, packed, 2 * sizeof tile);
            stream = packed;
        }
        char *place = memmem(data, n, stream, size);
        if (CHECK(size > 0 && place != NULL)) {
            for (size_t at = 0; at < size; at += 1 + size / 40) {
                uint8_t out[SIDE * SIDE * 3];
                made_damaged(path, broken, (size_t)-1, place - data + (long)at, at % 2 ? 0xFF : 1);
                if (!CHECK_OK(store_open(broken, &store))) continue;
                CHECK_FAILS(store_read_tiles(store, &(SpotRef){1, 3}, 1, out), STATUS_MALFORMED,
                            "section S1: the tile of spot 4x1 (row 3) does not agree with its checksum");
                CHECK_OK(store_read_tiles(store, &(SpotRef){1, 4}, 1, out));
                CHECK_FAILS(store_check(store), STATUS_MALFORMED, "S1: the tile of spot 4x1 (row 3)");
                store_close(store);
            }
        }
        jpeg_writer_free(writer);
        libdeflate_free_compressor(deflate);
        free(packed);
        free(data);
    }
}

// A byte anywhere: an error or not, never worse. Cut off anywhere: always an error.
static void test_anywhere(void) {
    const char *path = made_path("whole.h5"), *broken = made_path("broken.h5");
    for (int kind = 0; kind < 4; kind += 3) {
        CHECK_OK(made_store(path, made_kind(kind, 8, 1)));
        size_t size = made_damaged(path, broken, (size_t)-1, -1, 0), refused = 0, tried = 0;
        for (size_t at = 0; at < size; at += 1 + size / 1500) {
            Store *store = NULL;
            made_damaged(path, broken, (size_t)-1, (long)at, 0xFF);
            Status status = store_open(broken, &store);
            if (status == STATUS_OK) status = store_check(store);
            status_drop(status);
            store_close(store);
            store = NULL;
            if (at % 4) continue;
            made_damaged(path, broken, at, -1, 0);
            status = store_open(broken, &store);
            refused += status != STATUS_OK;
            tried++;
            status_drop(status);
            store_close(store);
        }
        CHECK(refused == tried && tried > 50);
    }
}

// The file shrinks while a reader has it open.
static void test_shrinks(void) {
    for (int kind = 0; kind < 4; kind += 3) {
        const char *path = made_path("shrinks.h5");
        uint8_t tile[SIDE * SIDE * 3];
        Store *store = NULL;
        CHECK_OK(made_store(path, made_kind(kind, SIDE, 1)));
        if (!CHECK_OK(store_open(path, &store))) return;
        CHECK(truncate(path, 3000) == 0);
        CHECK_FAILS(store_read_tiles(store, &(SpotRef){0, SPOTS - 1}, 1, tile), STATUS_MALFORMED,
                    "cut off while it was open");
        store_close(store);
    }
}

static void opened_fails(const char *path, const char *says) {
    Store *store = NULL;
    CHECK_FAILS(store_open(path, &store), STATUS_MALFORMED, says);
    store_close(store);
}

static void test_wrong_places(void) {
    const char *path = made_path("places.h5"), *start = "sections/S0/tiles_packed/start",
               *bytes = "sections/S0/tiles_packed/bytes";
    int64_t starts[SPOTS + 1], kept[SPOTS + 1];
    hsize_t n[1] = {SPOTS + 1}, total[1] = {0}, one[1] = {64}, tiles[4] = {SPOTS, SIDE, SIDE, 3};
    CHECK_OK(made_store(path, made_kind(6, SIDE, 1)));
    hid_t file = edit_begin(path), dataset = H5Dopen2(file, start, H5P_DEFAULT);
    CHECK(H5Dread(dataset, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, kept) >= 0);
    H5Dclose(dataset);
    H5Fclose(file);
    static const struct {
        int at;
        int64_t value;
        const char *says;
    } wrong[] = {{0, 1, "'tiles_packed/start' goes from 1 to"},
                 {SPOTS, 1 << 30, "goes from 0 to 1073741824"},
                 {SPOTS, -5, "goes from 0 to -5"},
                 {10, -1, "does not ascend at spot 10x1"},
                 {10, 0, "does not ascend at spot 10x1"},
                 {10, INT64_MIN, "does not ascend at spot 10x1"},
                 {10, INT64_MAX, "does not ascend at spot 10x1"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        memcpy(starts, kept, sizeof starts);
        starts[wrong[i].at] = wrong[i].value;
        file = edit_begin(path);
        edit_dataset(file, start, H5T_NATIVE_INT64, 1, n, n, starts);
        H5Fclose(file);
        opened_fails(path, wrong[i].says);
    }
    // One tile claims all the bytes, which is more than a tile can have.
    for (int i = 1; i < SPOTS; i++) starts[i] = kept[SPOTS] - SPOTS + i;
    starts[0] = 0, starts[SPOTS] = kept[SPOTS];
    file = edit_begin(path);
    edit_dataset(file, start, H5T_NATIVE_INT64, 1, n, n, starts);
    H5Fclose(file);
    opened_fails(path, "the tile of spot 1x1 claims");
    // The bytes in chunks; never written; shorter than said.
    for (int way = 0; way < 3; way++) {
        CHECK_OK(made_store(path, made_kind(6, SIDE, 1)));
        total[0] = (hsize_t)kept[SPOTS] - (way == 2);
        uint8_t *zeros = calloc(total[0], 1);
        file = edit_begin(path);
        edit_dataset(file, bytes, H5T_STD_U8LE, 1, total, way == 0 ? one : NULL, way == 1 ? NULL : zeros);
        H5Fclose(file);
        free(zeros);
        opened_fails(path, way == 0   ? "'tiles_packed/bytes' must be stored contiguously"
                           : way == 1 ? "'tiles_packed/bytes' was never written"
                                      : "'tiles_packed/start' goes from 0 to");
    }
    // Pixels in chunks; a terabyte of them that nobody wrote.
    CHECK_OK(made_store(path, made_kind(0, SIDE, 1)));
    uint8_t *pixels = all_pixels(0);
    file = edit_begin(path);
    edit_dataset(file, "sections/S0/tiles", H5T_STD_U8LE, 4, tiles, (hsize_t[]){1, SIDE, SIDE, 3}, pixels);
    H5Fclose(file);
    free(pixels);
    opened_fails(path, "'tiles' must be stored contiguously");
    file = edit_begin(path);
    tiles[1] = tiles[2] = 4096;
    edit_dataset(file, "sections/S0/tiles", H5T_STD_U8LE, 4, tiles, NULL, NULL);
    edit_i64(file, "tile_size", 4096);
    H5Fclose(file);
    opened_fails(path, "'tiles' was never written");
    // Missing parts, and an encoding that nobody knows.
    static const char *const parts[] = {"tiles", "tiles_check"};
    for (int i = 0; i < 2; i++) {
        char name[64];
        CHECK_OK(made_store(path, made_kind(0, SIDE, 1)));
        snprintf(name, sizeof name, "sections/S0/%s", parts[i]);
        file = edit_begin(path);
        CHECK(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
        H5Fclose(file);
        snprintf(name, sizeof name, "the dataset '%s' is missing", parts[i]);
        opened_fails(path, name);
    }
    static const char *const encodings[] = {"zip",        "jpeg 75",     "jpeg 0 4:2:0", "jpeg 75 4:1:1",
                                            "deflate 10", "deflate 1 x", "plain "};
    CHECK_OK(made_store(path, made_kind(0, SIDE, 1)));
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
        file = edit_begin(path);
        edit_text(file, "tile_encoding", encodings[i]);
        H5Fclose(file);
        opened_fails(path, "the tile encoding is '");
    }
    file = edit_begin(path);
    edit_text(file, "tile_encoding", "jpeg 75 4:2:0");
    H5Fclose(file);
    opened_fails(path, "the group 'tiles_packed' is missing");
}

// Streams with a right checksum that are no tile of the store.
static void test_wrong_streams(void) {
    const char *path = made_path("streams.h5");
    uint8_t pixels[64 * 64 * 3], tile[SIDE * SIDE * 3], *packed = malloc(sizeof pixels * 2);
    made_tile(0, 0, 64, pixels);
    for (int way = 0; way < 5; way++) {
        const uint8_t *data = NULL;
        size_t size = 0;
        bool jpeg = way < 3;
        JpegWriter *writer = NULL;
        struct libdeflate_compressor *deflate = libdeflate_alloc_compressor(6);
        CHECK_OK(jpeg_writer_create(75, JPEG_420, &writer));
        size_t side = way == 0 ? SIDE / 2 : SIDE;
        CHECK_OK(jpeg_writer_encode(writer, pixels, side, side, side * 3, &data, &size));
        if (way == 1) size /= 2;
        if (way == 2) data = pixels, size = 100;
        if (way == 3) data = packed, size = libdeflate_zlib_compress(deflate, pixels, SIDE * 3, packed, sizeof pixels);
        if (way == 4)
            data = packed, size = libdeflate_zlib_compress(deflate, pixels, SIDE * SIDE * 3 + 1, packed, sizeof pixels);
        MadeStore made = made_kind(jpeg ? 3 : 1, SIDE, 1);
        made.spots = 1;
        CHECK_OK(made_store(path, made));
        int64_t starts[2] = {0, (int64_t)size};
        uint32_t check = libdeflate_crc32(0, data, size);
        hsize_t two[1] = {2}, one[1] = {1}, total[1] = {size};
        hid_t file = edit_begin(path);
        edit_dataset(file, "sections/S0/tiles_packed/start", H5T_NATIVE_INT64, 1, two, two, starts);
        edit_dataset(file, "sections/S0/tiles_packed/check", H5T_NATIVE_UINT32, 1, one, one, &check);
        edit_dataset(file, "sections/S0/tiles_packed/bytes", H5T_STD_U8LE, 1, total, NULL, data);
        H5Fclose(file);
        Store *store = NULL;
        if (CHECK_OK(store_open(path, &store)))
            CHECK_FAILS(store_read_tiles(store, &(SpotRef){0, 0}, 1, tile), STATUS_MALFORMED,
                        "streams.h5: section S0: the tile of spot 1x1 (row 0): its");
        store_close(store);
        jpeg_writer_free(writer);
        libdeflate_free_compressor(deflate);
    }
    free(packed);
}

int main(void) {
    Pool *pool = NULL;
    made_begin();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    if (CHECK_OK(pool_new(3, &pool))) test_kinds(pool);
    pool_free(pool);
    test_parameters();
    test_full_disk();
    test_bare();
    test_append();
    test_version_2();
    test_flips();
    test_anywhere();
    test_shrinks();
    test_wrong_places();
    test_wrong_streams();
    made_end();
    return check_report("store_tiles");
}
