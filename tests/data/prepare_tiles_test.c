// Tiles of prepare: both geometries, every source of pixels (slide, JPEG, small copies), compared with tiles cut and
// scaled one by one from the picture in memory.
#include <math.h>
#include <tiffio.h>

#include "../../runtime/data/jpeg_write.h"
#include "made_prepare.h"
#include "made_tiff.h"

enum { SIDE = 32, WIDTH = 260, HEIGHT = 160 };

// Six spots 50 pixels apart, at fractions of pixels; the first near the corner.
static const char *const spots =
    "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n"
    "2\t2\t2.0\t2.0\t10.5\t12.5\t1\n3\t2\t3.0\t2.0\t60.5\t12.25\t1\n4\t2\t4.0\t2.0\t110.75\t12.5\t1\n"
    "2\t3\t2.0\t3.0\t11.5\t62.5\t1\n3\t3\t3.0\t3.0\t60.49\t62.51\t1\n4\t3\t4.0\t3.0\t111\t63\t1\n";
static const double place[6][2] = {{10.5, 12.5}, {60.5, 12.25},  {110.75, 12.5},
                                   {11.5, 62.5}, {60.49, 62.51}, {111, 63}};
static const char *const id[6] = {"2x2", "3x2", "4x2", "2x3", "3x3", "4x3"};

// In tiles of 64 x 64, or in strips of 16 rows.
static void write_tiff(const char *path, size_t width, size_t height, const uint8_t *rgb, bool strips) {
    TIFF *tiff = TIFFOpen(path, "w");
    uint8_t tile[64 * 64 * 3], *row = malloc(width * 3);
    if (!tiff || !row) exit(3);
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, (uint32_t)width);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, (uint32_t)height);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_LZW);
    if (strips) TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 16);
    else TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 64), TIFFSetField(tiff, TIFFTAG_TILELENGTH, 64);
    for (size_t y = 0; y < height && strips; y++) {
        memcpy(row, rgb + y * width * 3, width * 3); // libtiff writes into it
        if (TIFFWriteScanline(tiff, row, (uint32_t)y, 0) < 0) exit(3);
    }
    for (size_t y = 0; y < height && !strips; y += 64)
        for (size_t x = 0; x < width; x += 64) {
            memset(tile, 0, sizeof tile);
            for (size_t r = 0; r < 64 && y + r < height; r++)
                memcpy(tile + r * 64 * 3, rgb + ((y + r) * width + x) * 3, (width - x < 64 ? width - x : 64) * 3);
            if (TIFFWriteTile(tiff, tile, (uint32_t)x, (uint32_t)y, 0, 0) < 0) exit(3);
        }
    TIFFClose(tiff);
    free(row);
}

// A legacy directory of section B1 alone; its picture as tiled TIFF or as JPEG.
static const char *make_section(const char *name, bool tiff) {
    const char *directory = made_legacy(name);
    unlink(made_below(directory, "counts/B2.tsv.gz"));
    made_text(made_below(directory, "spots/B1_selection.tsv"), spots);
    if (tiff) {
        uint8_t *rgb = made_pixels(WIDTH, HEIGHT);
        unlink(made_below(directory, "images/B1.jpg"));
        write_tiff(made_below(directory, "images/B1.tif"), WIDTH, HEIGHT, rgb, false);
        free(rgb);
    }
    return directory;
}

static PrepareOptions squares(void) {
    PrepareOptions options = prepare_defaults();
    options.tiles = (PrepareTiles){.size = SIDE, .radius = 20, .filter = RESAMPLE_BILINEAR, .edge = SLIDE_EDGE_FILL};
    options.thumbnail_side = 40;
    return options;
}

// The tile of a square with corner (left, top) and side 2 r, made the plain way.
static void expected_tile(const Picture *picture, const PrepareTiles *t, double left, double top, double r,
                          uint8_t *tile) {
    size_t side = (size_t)(2 * r);
    SlideBorder border = {t->edge, {t->fill[0], t->fill[1], t->fill[2]}};
    Picture cut = {side, side, malloc(side * side * 3)}, scaled = {0};
    CHECK_OK(picture_region(picture, (int64_t)left, (int64_t)top, side, side, border, cut.rgb));
    if (side == t->size) memcpy(tile, cut.rgb, side * side * 3);
    else if (CHECK_OK(resample_picture(&cut, t->size, t->size, t->filter, &scaled)))
        memcpy(tile, scaled.rgb, t->size * t->size * 3);
    picture_free(&scaled);
    picture_free(&cut);
}

// Progress goes forward, and ends at the end.
static double reached;
static bool forward;

static bool watch(void *context, const char *what, double fraction) {
    (void)context;
    if (fraction < reached - 1e-9 || fraction > 1 + 1e-9) {
        printf("    progress: %s: %g after %g\n", what, fraction, reached);
        forward = false;
    }
    reached = fraction;
    return true;
}

static void test_progress(const char *directory) {
    for (int way = 0; way < 3; way++) {
        PrepareOptions options = way ? prepare_defaults() : squares();
        options.no_tiles = way == 2;
        options.progress = watch;
        reached = 0;
        forward = true;
        CHECK_OK(made_prepare(directory, made_path("progress.h5"), &options));
        CHECK(forward && (reached > 0.999 || way == 2));
    }
}

// All six tiles of a store against the picture; `scale`: of its pixels.
static void compare(const char *path, const Picture *picture, const PrepareTiles *t, double r) {
    Store *store = made_open(path);
    const StoreSection *s = &store_info(store)->sections[0];
    size_t bytes = t->size * t->size * 3, edges = 0;
    uint8_t *want = malloc(bytes), *seen = malloc(bytes);
    for (uint32_t i = 0; i < 6; i++) {
        CHECK(strcmp(s->ids[i], id[i]) == 0);
        double x = place[i][0], y = place[i][1];
        double left = t->truncate ? floor(x) - r : nearbyint(x - r),
               top = t->truncate ? floor(y) - r : nearbyint(y - r);
        edges += left < 0 || top < 0 || left + 2 * r > WIDTH || top + 2 * r > HEIGHT;
        expected_tile(picture, t, left, top, r, want);
        CHECK_OK(store_read_tiles(store, &(SpotRef){0, i}, 1, seen));
        if (!CHECK(memcmp(want, seen, bytes) == 0)) printf("    spot %s of %s\n", id[i], path);
    }
    CHECK(made_last.n_edge_tiles == edges);
    CHECK_NEAR(s->scale_x, (double)t->size / (2 * r), 1e-12);
    CHECK(store_info(store)->tile_pitch == 0 && s->image_width == WIDTH && s->image_height == HEIGHT);
    free(want);
    free(seen);
    store_close(store);
}

static void test_squares(const char *directory, bool tiff) {
    const char *path = made_path("squares.h5");
    Picture picture = {WIDTH, HEIGHT, NULL};
    if (tiff) picture.rgb = made_pixels(WIDTH, HEIGHT);
    else CHECK_OK(image_load(made_below(directory, "images/B1.jpg"), 1 << 20, &picture));
    static const ResampleFilter filters[] = {RESAMPLE_BOX, RESAMPLE_BILINEAR, RESAMPLE_BICUBIC, RESAMPLE_LANCZOS};
    for (int f = 0; f < 4; f++) {
        PrepareOptions options = squares();
        options.tiles.filter = filters[f];
        options.tiles.truncate = f == 1;
        if (f == 2) options.tiles.edge = SLIDE_EDGE_REPLICATE;
        if (f == 3) memset(options.tiles.fill, 255, 3);
        options.tiles.radius = f == 0 ? 16 : 20; // 16: as large as the tile, not scaled
        if (f == 1) CHECK_OK(pool_new(2, &options.pool));
        if (!CHECK_OK(made_prepare(directory, path, &options))) continue;
        compare(path, &picture, &options.tiles, options.tiles.radius);
        pool_free(options.pool);
    }
    // By spots (legacy ST's are 100 of 200 um) and micrometres; `least` wins over both when it is more.
    Store *store = made_open(path);
    double pitch = store_info(store)->sections[0].pitch_x, diameter = store_info(store)->sections[0].spot_diameter,
           microns = store_info(store)->sections[0].microns_per_pixel;
    store_close(store);
    CHECK(fabs(pitch - 50) < 0.2 && fabs(diameter - pitch / 2) < 0.3 && fabs(microns - 4) < 0.1);
    PrepareOptions options = squares();
    options.tiles.radius = 0;
    options.tiles.spots = 1.5;
    if (CHECK_OK(made_prepare(directory, path, &options)))
        compare(path, &picture, &options.tiles, floor(1.5 * diameter / 2));
    options.tiles.least = 21;
    if (CHECK_OK(made_prepare(directory, path, &options))) compare(path, &picture, &options.tiles, 21);
    options.tiles.least = options.tiles.spots = 0;
    options.tiles.microns = 77;
    if (CHECK_OK(made_prepare(directory, path, &options)))
        compare(path, &picture, &options.tiles, nearbyint(77 / microns / 2));
    CHECK(strstr(made_notes, "squares of 20 x 20 pixels are enlarged to tiles of 32 x 32") != NULL);
    picture_free(&picture);
}

// Tiles that do not fit into one window.
static void test_windows(const char *directory) {
    PrepareOptions options = squares();
    Picture picture = {WIDTH, HEIGHT, made_pixels(WIDTH, HEIGHT)};
    options.tiles.size = 4096; // 48 MiB each
    options.tiles.filter = RESAMPLE_BOX;
    options.tiles.radius = 8;
    if (CHECK_OK(made_prepare(directory, made_path("large.h5"), &options)))
        compare(made_path("large.h5"), &picture, &options.tiles, 8);
    unlink(made_path("large.h5"));
    picture_free(&picture);
}

// By pitch from a slide, however it is kept and by whatever number of threads: the same as from the picture itself.
static void test_pitch(const char *directory, bool strips, int threads) {
    PrepareOptions options = prepare_defaults();
    uint8_t *rgb = made_pixels(WIDTH, HEIGHT);
    write_tiff(made_below(directory, "images/B1.tif"), WIDTH, HEIGHT, rgb, strips);
    free(rgb);
    if (threads > 1) CHECK_OK(pool_new(threads, &options.pool));
    options.tiles.size = 30;
    options.tiles.pitch = 10;
    Picture picture = {WIDTH, HEIGHT, made_pixels(WIDTH, HEIGHT)}, scaled = {0};
    if (!CHECK_OK(made_prepare(directory, made_path("pitch.h5"), &options))) return;
    pool_free(options.pool);
    Store *store = made_open(made_path("pitch.h5"));
    const StoreSection *s = &store_info(store)->sections[0];
    CHECK(store_info(store)->tile_pitch == 10);
    CHECK_OK(resample_picture(&picture, (size_t)round(s->scale_x * WIDTH), (size_t)round(s->scale_y * HEIGHT),
                              RESAMPLE_BILINEAR, &scaled));
    for (uint32_t i = 0; i < 6; i++) {
        uint8_t want[30 * 30 * 3], seen[30 * 30 * 3];
        cut_tile(&scaled, (long long)floor(place[i][0] * s->scale_x + 0.5),
                 (long long)floor(place[i][1] * s->scale_y + 0.5), 30, want);
        CHECK_OK(store_read_tiles(store, &(SpotRef){0, i}, 1, seen));
        CHECK(memcmp(want, seen, sizeof want) == 0);
    }
    store_close(store);
    picture_free(&picture);
    picture_free(&scaled);
}

static void test_jpeg_tiles(const char *directory) {
    PrepareOptions options = squares();
    uint8_t plain[SIDE * SIDE * 3], packed[SIDE * SIDE * 3];
    CHECK_OK(made_prepare(directory, made_path("plain.h5"), &options));
    options.tiles.jpeg = 95;
    CHECK_OK(made_prepare(directory, made_path("packed.h5"), &options));
    Store *one = made_open(made_path("plain.h5")), *two = made_open(made_path("packed.h5"));
    CHECK(store_info(two)->jpeg == 95 && store_info(one)->jpeg == 0);
    double worst = 0;
    for (uint32_t i = 0; i < 6; i++) {
        double sum = 0;
        CHECK_OK(store_read_tiles(one, &(SpotRef){0, i}, 1, plain));
        CHECK_OK(store_read_tiles(two, &(SpotRef){0, i}, 1, packed));
        for (size_t k = 0; k < sizeof plain; k++) sum += abs(plain[k] - packed[k]);
        worst = fmax(worst, sum / (double)sizeof plain);
    }
    CHECK(worst > 0 && worst < 40); // the test picture is as hard for JPEG as pictures get
    store_close(one);
    store_close(two);
}

static void test_no_tiles(const char *directory) {
    PrepareOptions options = squares();
    options.no_tiles = true;
    CHECK_OK(made_prepare(directory, made_path("none.h5"), &options));
    Store *store = made_open(made_path("none.h5"));
    Picture thumbnail = {0};
    CHECK(store_info(store)->tile_size == 0 && store_info(store)->sections[0].scale_x == 0);
    CHECK_OK(store_read_thumbnail(store, 0, &thumbnail));
    CHECK(thumbnail.width == 40 && thumbnail.height == 25);
    picture_free(&thumbnail);
    store_close(store);
}

static void test_refusals(const char *directory) {
    const char *path = made_path("refused.h5");
#define REFUSED(change, code, part)                                                                                    \
    do {                                                                                                               \
        PrepareOptions options = squares();                                                                            \
        change;                                                                                                        \
        CHECK_FAILS(made_prepare(directory, path, &options), code, part);                                              \
        CHECK(!file_exists(path));                                                                                     \
    } while (0)
    REFUSED(options.tiles.radius = 0, STATUS_INVALID, "give one of the four");
    REFUSED(options.tiles.spots = 1, STATUS_INVALID, "more than one of");
    REFUSED(options.tiles.radius = -4, STATUS_INVALID, "radius of -4");
    REFUSED(options.tiles.radius = NAN, STATUS_INVALID, "a positive number is needed");
    REFUSED(options.tiles.radius = 9000, STATUS_INVALID, "18000 x 18000 pixels");
    REFUSED(options.tiles.size = 5000, STATUS_INVALID, "tile size of 5000");
    REFUSED((options.tiles.jpeg = 80, options.tiles.deflate = 2), STATUS_INVALID, "not both");
    REFUSED(options.tiles.jpeg = 101, STATUS_INVALID, "JPEG quality 101");
    REFUSED(options.tiles.least = INFINITY, STATUS_INVALID, "least radius");
    REFUSED(options.tiles.edge = SLIDE_EDGE_REFUSE, STATUS_INVALID, "replicated or filled");
    REFUSED((options.tiles.radius = 0, options.tiles.pitch = 10), STATUS_UNSUPPORTED, "filled edges go with radius");
    REFUSED((options.tiles.radius = 0, options.tiles.pitch = 10, options.tiles.edge = SLIDE_EDGE_REPLICATE,
             options.tiles.least = 3),
            STATUS_INVALID, "not by pitch");
    REFUSED((options.tiles.radius = 0, options.tiles.pitch = 8000, options.tiles.edge = SLIDE_EDGE_REPLICATE),
            STATUS_INVALID, "by radius, spots or microns instead of by pitch");
    REFUSED(options.thumbnail_side = 0, STATUS_INVALID, "thumbnail side of 0");
    made_text(made_below(directory, "spots/B1_selection.tsv"),
              "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n2\t2\t2\t2\t50\t50\t1\n3\t2\t3\t2\t150\t50\t1\n"
              "4\t2\t4\t2\t250\t50\t1\n2\t3\t2\t3\t50\t150\t1\n3\t3\t3\t3\t150\t150\t1\n4\t3\t4\t3\t265\t150\t1\n");
    REFUSED(options.tiles.radius = 20, STATUS_MALFORMED,
            "section B1: spot 4x3 at pixel 265.0, 150.0 lies outside the picture of 260 x 160 (1 of 6 spots do)");
    PrepareOptions options = squares(); // nobody cuts it, so it is worth a note only
    options.no_tiles = true;
    CHECK_OK(made_prepare(directory, path, &options));
    CHECK(strstr(made_notes, "section B1: 1 of 6 spots lie outside the picture") != NULL);
    unlink(path);
    made_text(made_below(directory, "spots/B1_selection.tsv"), spots);
}

// A slide or picture that ends early: the error names it, and nothing is left behind, whichever way it is cut.
static void test_damaged(const char *directory, const char *picture) {
    char whole[700], path[700], seen[700];
    snprintf(path, sizeof path, "%s", made_below(directory, picture));
    snprintf(whole, sizeof whole, "%s", made_path("whole picture"));
    size_t size = made_damaged(path, whole, SIZE_MAX, -1, 0);
    snprintf(seen, sizeof seen, "%s", picture);
    for (int way = 0; way < 2; way++) {
        PrepareOptions options = way ? prepare_defaults() : squares();
        CHECK_OK(pool_new(2, &options.pool));
        for (size_t part = 1; part < 8; part++) {
            made_damaged(whole, path, size * part / 8, -1, 0);
            CHECK_FAILS(made_prepare(directory, made_path("damaged.h5"), &options), STATUS_MALFORMED, seen);
            CHECK(!file_exists(made_path("damaged.h5")));
        }
        pool_free(options.pool);
    }
    made_damaged(whole, path, SIZE_MAX, -1, 0);
}

// A picture that the source itself holds, at half the resolution of the positions; no array.
static void test_picture_in_memory(void) {
    const char *source = made_path("small.h5ad"), *path = made_path("memory.h5");
    PrepareOptions options = squares();
    Picture picture = {130, 80, made_pixels(130, 80)}, scaled = {0};
    options.tiles.radius = 15; // 7.5, rounded half to even: 8
    made_h5ad(source, NULL, 0);
    if (CHECK_OK(made_prepare(source, path, &options))) {
        Store *store = made_open(path);
        const StoreSection *s = &store_info(store)->sections[0];
        CHECK(s->image_width == 260 && s->image_height == 160 && s->picture_scale == 0.5 && s->spot_diameter == 20);
        CHECK_NEAR(s->scale_x, SIDE / 16.0 * 0.5, 1e-12);
        CHECK_NEAR(s->thumbnail_scale_x, 40.0 / 260, 1e-12);
        for (uint32_t i = 0; i < 6; i++) {
            uint8_t want[SIDE * SIDE * 3], seen[SIDE * SIDE * 3];
            double x = made_h5ad_places[2 * i] * 0.5, y = made_h5ad_places[2 * i + 1] * 0.5;
            expected_tile(&picture, &options.tiles, nearbyint(x - 8), nearbyint(y - 8), 8, want);
            CHECK_OK(store_read_tiles(store, &(SpotRef){0, i}, 1, seen));
            CHECK(memcmp(want, seen, sizeof want) == 0);
        }
        store_close(store);
    }
    options = prepare_defaults(); // by pitch: the mean distance to the nearest spot
    options.tiles.size = 12;
    options.tiles.pitch = 20;
    if (CHECK_OK(made_prepare(source, path, &options))) {
        Store *store = made_open(path);
        const StoreSection *s = &store_info(store)->sections[0];
        double pitch = 0;
        CHECK_OK(neighbour_pitch(made_h5ad_places, 6, 2, &pitch));
        CHECK_NEAR(s->pitch_x, pitch, 1e-9);
        size_t width = (size_t)floor(130 * 20 / (pitch / 2) + 0.5), height = (size_t)floor(80 * 20 / (pitch / 2) + 0.5);
        CHECK_OK(resample_picture(&picture, width, height, RESAMPLE_BILINEAR, &scaled));
        for (uint32_t i = 0; i < 6; i++) {
            uint8_t want[12 * 12 * 3], seen[12 * 12 * 3];
            double x = made_h5ad_places[2 * i] * 0.5, y = made_h5ad_places[2 * i + 1] * 0.5;
            cut_tile(&scaled, (long long)floor(x * (double)width / 130 + 0.5),
                     (long long)floor(y * (double)height / 80 + 0.5), 12, want);
            CHECK_OK(store_read_tiles(store, &(SpotRef){0, i}, 1, seen));
            CHECK(memcmp(want, seen, sizeof want) == 0);
        }
        store_close(store);
        picture_free(&scaled);
    }
    picture_free(&picture);
    options = squares();
    options.tiles.radius = 0;
    options.tiles.microns = 50;
    CHECK_FAILS(made_prepare(source, made_path("no.h5"), &options), STATUS_NOT_FOUND,
                "section small: tiles of 50 micrometres need the size of a pixel");
    PrepareGraph hex = {.name = "hex", .by_lattice = true, .lattice = LATTICE_HEX};
    options.tiles.microns = 0;
    options.tiles.spots = 1;
    options.graphs = &hex;
    options.n_graphs = 1;
    CHECK_FAILS(made_prepare(source, made_path("no.h5"), &options), STATUS_NOT_FOUND,
                "section small: neighbours 'hex': lattice neighbours need places on an array");
}

// A HEST tree: counts and positions in st/, the slide in wsis/, a table that knows patient and pixel size.
static void test_hest(void) {
    char tree[600], path[700];
    uint8_t *rgb = made_pixels(WIDTH, HEIGHT);
    snprintf(tree, sizeof tree, "%s", made_path("hest"));
    snprintf(path, sizeof path, "%s", made_path("hest.h5"));
    mkdir(tree, 0777);
    mkdir(made_below(tree, "st"), 0777);
    mkdir(made_below(tree, "wsis"), 0777);
    made_h5ad(made_below(tree, "st/T1.h5ad"), NULL, 0);
    write_tiff(made_below(tree, "wsis/T1.tif"), WIDTH, HEIGHT, rgb, false);
    made_text(made_below(tree, "HEST_v1_1_0.csv"), "id,organ,patient,pixel_size_um_estimated\nT1,Lung,P7,0.5\n");
    PrepareOptions options = squares();
    Picture picture = {WIDTH, HEIGHT, rgb};
    options.tiles.radius = 0;
    options.tiles.microns = 16; // 32 pixels
    if (CHECK_OK(made_prepare(tree, path, &options))) {
        Store *store = made_open(path);
        const StoreSection *s = &store_info(store)->sections[0];
        CHECK(s->picture_scale == 1 && s->microns_per_pixel == 0.5 && s->group && strcmp(s->group, "P7") == 0);
        for (uint32_t i = 0; i < 6; i++) {
            uint8_t want[SIDE * SIDE * 3], seen[SIDE * SIDE * 3];
            expected_tile(&picture, &options.tiles, nearbyint(made_h5ad_places[2 * i] - 16),
                          nearbyint(made_h5ad_places[2 * i + 1] - 16), 16, want);
            CHECK_OK(store_read_tiles(store, &(SpotRef){0, i}, 1, seen));
            CHECK(memcmp(want, seen, sizeof want) == 0);
        }
        store_close(store);
    }
    unlink(made_below(tree, "wsis/T1.tif"));
    if (CHECK_OK(made_prepare(tree, path, &options))) { // what the counts file holds itself is the next best
        Store *store = made_open(path);
        CHECK(store_info(store)->sections[0].picture_scale == 0.5);
        CHECK(strstr(made_notes, "tiles are cut from a picture of 130 x 80 pixels, 0.5 of full resolution") != NULL);
        store_close(store);
    }
    picture_free(&picture);
}

// ---- A slide too large to be held ---------------------------------------------------------------------------------

// 60,000 x 60,000 pixels in tiles of 256, all of which are one of three tiles in the file, and a copy 16 times smaller.
static void make_huge(const char *path) {
    enum { BIG = 60000, SMALL = 3750, T = 256, ACROSS = (BIG + T - 1) / T, FEW = (SMALL + T - 1) / T };
    MadeTiff tiff = made_tiff_begin();
    uint8_t *pixels = malloc(T * T * 3);
    uint32_t at[3], bits[1], *offsets = malloc(ACROSS * ACROSS * 4), *sizes = malloc(ACROSS * ACROSS * 4);
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < T * T * 3; i++) pixels[i] = (uint8_t)(60 + 70 * k + (i / 3 % T + i / 3 / T) % 7);
        at[k] = (uint32_t)made_tiff_put(&tiff, pixels, T * T * 3);
    }
    uint16_t eight[3] = {8, 8, 8};
    bits[0] = (uint32_t)made_tiff_put(&tiff, eight, 6);
    for (int level = 0; level < 2; level++) {
        uint32_t side = level ? SMALL : BIG, n = level ? FEW : ACROSS;
        for (uint32_t i = 0; i < n * n; i++) {
            offsets[i] = at[(i % n + i / n) % 3];
            sizes[i] = T * T * 3;
        }
        uint32_t where = (uint32_t)made_tiff_put(&tiff, offsets, n * n * 4),
                 how = (uint32_t)made_tiff_put(&tiff, sizes, n * n * 4);
        MadeEntry entries[] = {{254, 4, 1, level ? 1 : 0},
                               {256, 4, 1, side},
                               {257, 4, 1, side},
                               {258, 3, 3, bits[0]},
                               {259, 3, 1, 1},
                               {262, 3, 1, 2},
                               {277, 3, 1, 3},
                               {284, 3, 1, 1},
                               {322, 4, 1, T},
                               {323, 4, 1, T},
                               {324, 4, n * n, where},
                               {325, 4, n * n, how}};
        made_tiff_directory(&tiff, entries, sizeof entries / sizeof *entries);
    }
    made_tiff_end(&tiff, path);
    free(pixels);
    free(offsets);
    free(sizes);
}

static void test_huge(const char *directory) {
    unlink(made_below(directory, "images/B1.tif"));
    make_huge(made_below(directory, "images/B1.tif"));
    char text[1024] = "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n";
    static const int corner[6][2] = {{2, 2}, {3, 2}, {4, 2}, {2, 3}, {3, 3}, {4, 3}};
    for (int i = 0; i < 6; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d\t%d\t%d\t%d\t%d\t%d\t1\n", corner[i][0],
                 corner[i][1], corner[i][0], corner[i][1], corner[i][0] * 12000, corner[i][1] * 12000);
    made_text(made_below(directory, "spots/B1_selection.tsv"), text);
    // Squares: only the tiles around spots are decoded; the thumbnail is the small copy's.
    PrepareOptions options = squares();
    options.tiles.radius = 112;
    if (CHECK_OK(made_prepare(directory, made_path("huge.h5"), &options))) {
        Slide *slide = NULL;
        Store *store = made_open(made_path("huge.h5"));
        uint8_t *cut = malloc(224 * 224 * 3), want[SIDE * SIDE * 3], seen[SIDE * SIDE * 3];
        CHECK_OK(slide_open(made_below(directory, "images/B1.tif"), NULL, &slide));
        CHECK(slide_info(slide).n_levels == 2);
        for (uint32_t i = 0; i < 6; i++) {
            Picture picture = {224, 224, cut}, scaled = {0};
            CHECK_OK(slide_read(slide, 0, corner[i][0] * 12000 - 112, corner[i][1] * 12000 - 112, 224, 224, SLIDE_BLACK,
                                cut));
            CHECK_OK(resample_picture(&picture, SIDE, SIDE, RESAMPLE_BILINEAR, &scaled));
            memcpy(want, scaled.rgb, sizeof want);
            picture_free(&scaled);
            CHECK_OK(store_read_tiles(store, &(SpotRef){0, i}, 1, seen));
            CHECK(memcmp(want, seen, sizeof want) == 0);
        }
        slide_close(slide);
        store_close(store);
        free(cut);
    }
    // By pitch: f = 26 / 12000, from the small copy.
    options = prepare_defaults();
    if (CHECK_OK(made_prepare(directory, made_path("huge.h5"), &options)))
        CHECK(strstr(made_notes, "was scaled from its copy that is 16 times smaller") != NULL);
    options.tiles.pitch = 8000;
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_INVALID, "by radius, spots or microns");
}

// ---- Real samples -------------------------------------------------------------------------------------------------

// Space Ranger's small copy of the picture: everything at its scale.
static void test_visium(const char *data) {
    const char *directory = made_below(data, "visium/crc16"), *path = made_path("crc16.h5");
    if (!is_directory(directory)) {
        CHECK_SKIP("tiles of visium/crc16: give the data directory as argument");
        return;
    }
    PrepareOptions options = squares();
    options.tiles.radius = 0;
    options.tiles.spots = 2;
    Picture picture = {0};
    CHECK_OK(image_load(made_below(directory, "spatial/tissue_lowres_image.png"), 1 << 24, &picture));
    if (!CHECK_OK(made_prepare(directory, path, &options))) return;
    Store *store = made_open(path);
    const StoreSection *s = &store_info(store)->sections[0];
    double r = nearbyint(floor(s->spot_diameter) * s->picture_scale);
    CHECK(s->n_spots == 3106 && s->picture_scale < 0.1 && r == 4);
    CHECK_NEAR((double)s->image_width, (double)picture.width / s->picture_scale, 1);
    CHECK_NEAR(s->scale_x, SIDE / (2 * r) * s->picture_scale, 1e-12);
    for (uint32_t i = 0; i < s->n_spots; i += 31) {
        uint8_t want[SIDE * SIDE * 3], seen[SIDE * SIDE * 3];
        double x = s->pixel[2 * i] * s->picture_scale, y = s->pixel[2 * i + 1] * s->picture_scale;
        expected_tile(&picture, &options.tiles, nearbyint(x - r), nearbyint(y - r), r, want);
        CHECK_OK(store_read_tiles(store, &(SpotRef){0, i}, 1, seen));
        CHECK(memcmp(want, seen, sizeof want) == 0);
    }
    CHECK(strstr(made_notes, "tiles are cut from a picture of 561 x 600 pixels") != NULL);
    store_close(store);
    picture_free(&picture);
    options = prepare_defaults(); // neighbouring spots 26 pixels apart, though the array is hexagonal
    options.tiles.size = 20;
    CHECK_OK(made_prepare(directory, path, &options));
    store = made_open(path);
    s = &store_info(store)->sections[0];
    CHECK_NEAR(s->pitch_x * s->scale_x, 26, 0.1);
    CHECK(s->pitch_x == s->pitch_y);
    store_close(store);
    CHECK_FAILS(made_prepare(made_below(data, "visium/prostate_tiny"), made_path("no.h5"), &options), STATUS_MALFORMED,
                "lies outside the picture of");
}

int main(int argc, char **argv) {
    const char *data = argc > 1 ? argv[1] : "";
    made_begin();
    char jpeg[1024], tiff[1024];
    snprintf(jpeg, sizeof jpeg, "%s", make_section("jpeg", false));
    test_squares(jpeg, false);
    snprintf(tiff, sizeof tiff, "%s", make_section("tiff", true));
    test_squares(tiff, true);
    test_windows(tiff);
    test_pitch(tiff, true, 2);
    test_pitch(tiff, false, 1);
    test_pitch(tiff, false, 3);
    test_jpeg_tiles(tiff);
    test_no_tiles(tiff);
    test_refusals(tiff);
    test_progress(tiff);
    test_damaged(tiff, "images/B1.tif");
    test_damaged(jpeg, "images/B1.jpg");
    test_picture_in_memory();
    test_hest();
    test_huge(tiff);
    test_visium(data);
    made_end();
    return check_report("prepare_tiles");
}
