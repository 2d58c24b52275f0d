// Slides: regions against recorded tifffile and OpenSlide pixels, levels and extras, borders, a slide of 60,000 x
// 60,000 pixels in little memory, crops on threads, damaged and hostile files. The samples are used when the data
// directory is given (first argument or STMC_DATA).
#include <math.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "../../runtime/core/pool.h"
#include "../../runtime/data/crop.h"
#include "../../runtime/data/slide.h"
#include "../../runtime/report/png.h"
#include "made_tiff.h"

enum { LIMIT = 1 << 28 };

static const char *const references = "tests/data/reference/images";

static uint64_t fnv(const uint8_t *data, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

// ---- Recorded regions -------------------------------------------------------------------------------------------

// The region of the page called `place`, whether it is a level or an extra.
static bool read_place(Slide *slide, const char *place, size_t width, size_t height, int64_t x, int64_t y, size_t w,
                       size_t h, uint8_t *rgb) {
    SlideInfo info = slide_info(slide);
    for (size_t i = 0; i < info.n_levels; i++) {
        SlideLevel level = slide_level(slide, i);
        if (strcmp(level.place, place) != 0) continue;
        CHECK(level.width == width && level.height == height);
        return CHECK_OK(slide_read(slide, i, x, y, w, h, SLIDE_STRICT, rgb));
    }
    for (size_t i = 0; i < info.n_extras; i++) {
        Picture picture;
        SlideExtra extra = slide_extra(slide, i);
        if (strcmp(extra.place, place) != 0) continue;
        if (!CHECK_OK(slide_read_extra(slide, i, LIMIT, &picture))) return false;
        CHECK(picture.width == width && picture.height == height);
        bool ok = CHECK_OK(picture_region(&picture, x, y, w, h, SLIDE_STRICT, rgb));
        picture_free(&picture);
        return ok;
    }
    printf("    no %s\n", place);
    return CHECK(false);
}

static void check_table(const char *table, const char *folder, size_t least) {
    FILE *file = fopen(table, "r");
    if (!CHECK(file != NULL)) return;
    char line[512], name[128], place[64], last[128] = "";
    Slide *slide = NULL;
    size_t lines = 0;
    uint8_t *rgb = malloc(1 << 22);
    while (fgets(line, sizeof line, file)) {
        size_t width, height, x, y, w, h;
        unsigned long long hash;
        if (!CHECK(sscanf(line, "%127[^;];%63[^;];%zu;%zu;%zu;%zu;%zu;%zu;%llx", name, place, &width, &height, &x, &y,
                          &w, &h, &hash) == 9))
            break;
        if (strcmp(name, last) != 0) {
            slide_close(slide);
            slide = NULL;
            if (!CHECK_OK(slide_open(made_below(folder, name), NULL, &slide))) break;
            strcpy(last, name);
        }
        if (!read_place(slide, place, width, height, (int64_t)x, (int64_t)y, w, h, rgb)) continue;
        if (!CHECK(fnv(rgb, w * h * 3) == hash)) printf("    %s", line);
        lines++;
    }
    CHECK(lines >= least);
    slide_close(slide);
    fclose(file);
    free(rgb);
}

// ---- Levels, extras and what the file says of itself ----------------------------------------------------------------

static void test_aperio(void) {
    Slide *slide = NULL;
    if (!CHECK_OK(slide_open(made_below(references, "levels.svs"), NULL, &slide))) return;
    SlideInfo info = slide_info(slide);
    CHECK(info.format == SLIDE_APERIO && info.width == 150 && info.height == 130 && info.n_levels == 3);
    CHECK(info.mpp_x == 0.2525 && info.mpp_y == 0.2525 && info.magnification == 40);
    CHECK(strncmp(info.description, "Aperio Image Library v12", 24) == 0);
    CHECK(slide_level(slide, 1).width == 75 && slide_level(slide, 2).height == 32 && slide_level(slide, 0).tiled);
    CHECK(slide_level(slide, 1).downsample == 2 && slide_level(slide, 0).tile_width == 48);
    static const SlideExtraKind kinds[] = {SLIDE_THUMBNAIL, SLIDE_LABEL, SLIDE_MACRO};
    CHECK(info.n_extras == 3);
    for (size_t i = 0; i < 3 && i < info.n_extras; i++) CHECK(slide_extra(slide, i).kind == kinds[i]);
    CHECK(slide_best_level(slide, 1) == 0 && slide_best_level(slide, 1.9) == 0 && slide_best_level(slide, 2) == 1 &&
          slide_best_level(slide, 100) == 2 && slide_best_level(slide, 0.5) == 0);
    Picture picture;
    uint8_t pixel[3];
    CHECK_FAILS(slide_read_extra(slide, 1, 100, &picture), STATUS_NO_MEMORY, "page 4: a picture of 30 x 40");
    CHECK_FAILS(slide_read_extra(slide, 3, LIMIT, &picture), STATUS_INVALID, "no further picture 3; the slide has 3");
    CHECK_FAILS(slide_read(slide, 3, 0, 0, 1, 1, SLIDE_WHITE, pixel), STATUS_INVALID, "no level 3; the slide has 3");
    slide_close(slide);

    CHECK_OK(slide_open(made_below(references, "pyramid.ome.tif"), NULL, &slide));
    info = slide_info(slide);
    CHECK(info.format == SLIDE_OME && info.n_levels == 3 && info.n_extras == 0);
    CHECK(info.mpp_x == 0.25 && info.mpp_y == 0.25 && isnan(info.magnification));
    slide_close(slide);
}

static void test_samples(const char *data) {
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/tiff", data);
    if (!is_directory(folder)) {
        CHECK_SKIP("slide samples: no directory %s", folder);
        return;
    }
    check_table("tests/data/reference/images/samples.csv", folder, 120);
    Slide *slide = NULL;
    if (!CHECK_OK(slide_open(made_below(folder, "cmu1_small_region.svs"), NULL, &slide))) return;
    SlideInfo info = slide_info(slide);
    CHECK(info.format == SLIDE_APERIO && info.n_levels == 1 && info.n_extras == 3 && info.mpp_x == 0.499 &&
          info.magnification == 20);
    CHECK(slide_extra(slide, 0).kind == SLIDE_THUMBNAIL && slide_extra(slide, 1).kind == SLIDE_LABEL &&
          slide_extra(slide, 2).kind == SLIDE_MACRO);
    slide_close(slide);
    static const struct {
        const char *file;
        size_t levels;
    } pyramids[] = {{"made_c2_tiled_jpeg_pages.tif", 4},
                    {"made_c2_bigtiff_tiled_jpeg_subifd.tif", 4},
                    {"made_c2_tiled_deflate_subifd.tif", 4}};
    for (size_t i = 0; i < 3; i++) {
        if (!CHECK_OK(slide_open(made_below(folder, pyramids[i].file), NULL, &slide))) continue;
        info = slide_info(slide);
        CHECK(info.format == SLIDE_TIFF && info.n_levels == pyramids[i].levels && info.n_extras == 0);
        CHECK(fabs(info.mpp_x - 0.69) < 0.001);
        slide_close(slide);
    }
    static const struct {
        const char *file, *png;
        int64_t x, y;
    } pictures[] = {{"cmu1_small_region.svs", "cmu1_reference_x960_y1200_400x300.png", 960, 1200},
                    {"made_c2_strip_none.tif", "made_c2_reference_300x200.png", 0, 0},
                    {"made_c2_strip_none_bigendian.tif", "made_c2_reference_300x200.png", 0, 0},
                    {"made_c2_planar_lzw.tif", "made_c2_reference_300x200.png", 0, 0},
                    {"made_c2_strip_lzw_pred2.tif", "made_c2_reference_500x421.png", 0, 0},
                    {"made_c2_strip_deflate_nopred.tif", "made_c2_reference_500x421.png", 0, 0},
                    {"made_c2_tiled_deflate_subifd.tif", "made_c2_reference_700x600.png", 0, 0}};
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        Picture png;
        if (!CHECK_OK(image_load(made_below(folder, pictures[i].png), LIMIT, &png))) continue;
        uint8_t *rgb = malloc(png.width * png.height * 3);
        CHECK_OK(slide_open(made_below(folder, pictures[i].file), NULL, &slide));
        CHECK_OK(slide_read(slide, 0, pictures[i].x, pictures[i].y, png.width, png.height, SLIDE_STRICT, rgb));
        if (!CHECK(memcmp(rgb, png.rgb, png.width * png.height * 3) == 0)) printf("    %s\n", pictures[i].file);
        slide_close(slide);
        picture_free(&png);
        free(rgb);
    }
}

// ---- Borders ----------------------------------------------------------------------------------------------------

static int64_t clamp(int64_t at, int64_t size) {
    return at < 0 ? 0 : at >= size ? size - 1 : at;
}

static void check_border(Slide *slide, const Picture *whole, int64_t x, int64_t y, size_t w, size_t h, SlideEdge edge) {
    SlideBorder border = {edge, {9, 200, 77}};
    uint8_t *rgb = malloc(w * h * 3 + 1);
    size_t wrong = 0;
    int64_t width = (int64_t)whole->width, height = (int64_t)whole->height;
    CHECK_OK(slide_read(slide, 0, x, y, w, h, border, rgb));
    for (size_t r = 0; r < h; r++) {
        for (size_t c = 0; c < w; c++) {
            int64_t at_x = x + (int64_t)c, at_y = y + (int64_t)r;
            bool inside = at_x >= 0 && at_y >= 0 && at_x < width && at_y < height;
            const uint8_t *expected = whole->rgb + (clamp(at_y, height) * width + clamp(at_x, width)) * 3;
            if (edge == SLIDE_EDGE_FILL && !inside) expected = border.fill;
            wrong += memcmp(rgb + (r * w + c) * 3, expected, 3) != 0;
        }
    }
    if (!CHECK(wrong == 0)) printf("    x %d, y %d, %zu x %zu, edge %d\n", (int)x, (int)y, w, h, edge);
    free(rgb);
}

static void test_borders(void) {
    const char *jpeg = made_path("border.jpg"), *png = made_path("border.png");
    made_jpeg(jpeg, 75, 61);
    uint8_t *rgb = made_pixels(75, 61);
    CHECK_OK(png_write_rgb(png, 75, 61, rgb));
    free(rgb);
    const char *files[] = {made_below(references, "bigtiff_big.tif"), jpeg, png, png};
    for (size_t f = 0; f < 4; f++) {
        Slide *slide = NULL;
        Picture whole;
        SlideOptions options = {.whole_bytes = f == 3 ? 1 : 0}; // the last one row by row
        if (!CHECK_OK(image_load(files[f], LIMIT, &whole))) continue;
        CHECK_OK(slide_open(files[f], &options, &slide));
        CHECK(slide_info(slide).n_levels == 1 && slide_info(slide).n_extras == 0);
        static const int64_t at[] = {-200, -10, 0, 30, 70, 74, 75, 300};
        for (size_t i = 0; i < 8; i++) {
            for (size_t k = 0; k < 8; k++) {
                check_border(slide, &whole, at[i], at[k], 20, 17, SLIDE_EDGE_FILL);
                check_border(slide, &whole, at[i], at[k], 20, 17, SLIDE_EDGE_REPLICATE);
            }
        }
        check_border(slide, &whole, -5, -7, 90, 80, SLIDE_EDGE_REPLICATE);
        check_border(slide, &whole, -5, -7, 90, 80, SLIDE_EDGE_FILL);
        check_border(slide, &whole, 3, 3, 0, 5, SLIDE_EDGE_FILL);
        uint8_t pixel[12];
        CHECK_FAILS(slide_read(slide, 0, -1, 0, 2, 1, SLIDE_STRICT, pixel), STATUS_INVALID,
                    "level 0: the region x -1, y 0, 2 x 1 leaves the picture of 75 x 61");
        CHECK_FAILS(slide_read(slide, 0, 0, 60, 1, 2, SLIDE_STRICT, pixel), STATUS_INVALID, "leaves the picture");
        CHECK_FAILS(slide_read(slide, 0, INT64_MAX, 0, 2, 1, SLIDE_WHITE, pixel), STATUS_INVALID, "no part");
        CHECK_FAILS(slide_read(slide, 0, 0, 0, SIZE_MAX, 1, SLIDE_WHITE, pixel), STATUS_INVALID, "no part");
        slide_close(slide);
        picture_free(&whole);
    }
}

// ---- A large slide ----------------------------------------------------------------------------------------------

enum { SIDE = 60000, TILE = 256, ACROSS = (SIDE + TILE - 1) / TILE, KINDS = 7 };

static int kind_at(size_t x, size_t y) {
    return (int)((x / TILE * 3 + y / TILE * 5) % KINDS);
}

// 55,225 places for 7 different tiles of one colour; the last kind is left out of the file. The BigTIFF has its tiles
// behind a hole, at an offset that takes more than 32 bits.
static void make_large(const char *path, bool big) {
    const uint64_t far = (uint64_t)5 << 30;
    MadeTiff tiff = big ? made_tiff_begin_big() : made_tiff_begin(), tiles = {0};
    JpegWriter *writer = NULL;
    uint8_t *tile = malloc(TILE * TILE * 3);
    size_t n = ACROSS * ACROSS, wide = big ? 8 : 4;
    uint8_t *offsets = calloc(n, wide), *sizes = calloc(n, wide);
    uint64_t at[KINDS] = {0}, bytes[KINDS] = {0};
    CHECK_OK(jpeg_writer_create(90, JPEG_420, &writer));
    for (int k = 0; k < KINDS - 1; k++) {
        const uint8_t *data = NULL;
        size_t size = 0;
        memset(tile, 20 + 30 * k, TILE * TILE * 3);
        CHECK_OK(jpeg_writer_encode(writer, tile, TILE, TILE, TILE * 3, &data, &size));
        at[k] = made_tiff_put(&tiles, data, size);
        bytes[k] = size;
    }
    uint64_t base = big ? far : made_tiff_put(&tiff, tiles.data, tiles.size);
    for (size_t i = 0; i < n; i++) {
        int kind = kind_at(i % ACROSS * TILE, i / ACROSS * TILE);
        uint64_t offset = kind == KINDS - 1 ? 0 : base + at[kind];
        memcpy(offsets + i * wide, &offset, wide); // low bytes first
        memcpy(sizes + i * wide, &bytes[kind], wide);
    }
    uint32_t table = (uint32_t)made_tiff_put(&tiff, offsets, n * wide);
    uint32_t counts = (uint32_t)made_tiff_put(&tiff, sizes, n * wide);
    uint32_t bits = big ? 8 : (uint32_t)made_tiff_put(&tiff, "\10\0\10\0\10\0", 6);
    uint16_t type = big ? 16 : 4;
    MadeEntry entries[] = {{256, 4, 1, SIDE},
                           {257, 4, 1, SIDE},
                           {258, 3, 3, bits},
                           {259, 3, 1, 7},
                           {262, 3, 1, 6},
                           {277, 3, 1, 3},
                           {322, 4, 1, TILE},
                           {323, 4, 1, TILE},
                           {324, type, ACROSS * ACROSS, table},
                           {325, type, ACROSS * ACROSS, counts}};
    if (big) made_tiff_directory_big(&tiff, entries, sizeof entries / sizeof *entries);
    else made_tiff_directory(&tiff, entries, sizeof entries / sizeof *entries);
    made_tiff_end(&tiff, path);
    if (big) {
        FILE *file = fopen(path, "rb+");
        CHECK(file && fseeko(file, (off_t)far, SEEK_SET) == 0 && fwrite(tiles.data, 1, tiles.size, file) == tiles.size);
        if (file) fclose(file);
    }
    jpeg_writer_free(writer);
    free(tiles.data);
    free(offsets);
    free(sizes);
    free(tile);
}

static long peak_kilobytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

enum { PATCH = 224 };

// How many of a patch's pixels are not what kind_at says.
static size_t wrong_pixels(Slide *slide, int64_t x, int64_t y, uint8_t *rgb) {
    size_t wrong = 0;
    CHECK_OK(slide_read(slide, 0, x, y, PATCH, PATCH, SLIDE_BLACK, rgb));
    for (int64_t r = 0; r < PATCH; r += 13) {
        for (int64_t c = 0; c < PATCH; c += 11) {
            bool inside = x + c >= 0 && y + r >= 0 && x + c < SIDE && y + r < SIDE;
            int kind = inside ? kind_at((size_t)(x + c), (size_t)(y + r)) : KINDS - 1;
            int expected = kind == KINDS - 1 ? 0 : 20 + 30 * kind;
            wrong += abs(rgb[(r * PATCH + c) * 3] - expected) > 1;
        }
    }
    return wrong;
}

// First of all tests: the peak of the whole process is what is measured. Here and there first, where hardly a tile is
// kept, then three bands of tiles in order, which fill the cache.
static void test_large(bool big) {
    const char *path = made_path(big ? "large_big.tif" : "large.tif");
    make_large(path, big);
    Slide *slide = NULL;
    if (!CHECK_OK(slide_open(path, NULL, &slide))) return;
    CHECK(slide_info(slide).width == SIDE && isnan(slide_info(slide).mpp_x));
    uint64_t random = 12345;
    size_t wrong = 0;
    uint8_t *rgb = malloc(PATCH * PATCH * 3);
    for (int i = 0; i < 1500; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        int64_t x = (int64_t)((random >> 33) % (SIDE + 200)) - 100;
        random = random * 6364136223846793005u + 1442695040888963407u;
        int64_t y = (int64_t)((random >> 33) % (SIDE + 200)) - 100;
        wrong += wrong_pixels(slide, x, y, rgb);
    }
    for (int64_t y = 40000; y < 40000 + 4 * PATCH; y += PATCH)
        for (int64_t x = 0; x < SIDE; x += PATCH / 2) wrong += wrong_pixels(slide, x, y, rgb);
    CHECK(wrong == 0);
    slide_close(slide);
    free(rgb);
    long peak = peak_kilobytes();
    printf("    a slide of %d x %d%s: peak memory %ld MB\n", SIDE, SIDE, big ? " (BigTIFF of 5 GiB)" : "", peak / 1024);
#if !defined(__SANITIZE_ADDRESS__)
    CHECK(peak < 200 * 1024);
#endif
    remove(path);
}

// ---- Tiles decoded in part --------------------------------------------------------------------------------------

// With hardly any cache, reading here and there decodes parts of tiles; the pixels must be those of the whole.
static void check_scattered(const char *path) {
    Slide *slide = NULL, *whole = NULL;
    SlideOptions none = {.cache_bytes = 1};
    if (!CHECK_OK(slide_open(path, &none, &slide)) || !CHECK_OK(slide_open(path, NULL, &whole))) return;
    SlideInfo info = slide_info(slide);
    size_t width = info.width, height = info.height, wrong = 0;
    uint8_t *all = malloc(width * height * 3), *part = malloc(200 * 200 * 3);
    CHECK_OK(slide_read(whole, 0, 0, 0, width, height, SLIDE_STRICT, all));
    uint64_t random = 99;
    for (int i = 0; i < 1200; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t w = 1 + (random >> 20) % 199, h = 1 + (random >> 30) % 199;
        if (i % 2) w = 1 + w % 30, h = 1 + h % 30;
        if (w > width) w = width;
        if (h > height) h = height;
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t x = (random >> 20) % (width - w + 1), y = (random >> 40) % (height - h + 1);
        CHECK_OK(slide_read(slide, 0, (int64_t)x, (int64_t)y, w, h, SLIDE_STRICT, part));
        for (size_t r = 0; r < h; r++) wrong += memcmp(part + r * w * 3, all + ((y + r) * width + x) * 3, w * 3) != 0;
    }
    if (!CHECK(wrong == 0)) printf("    %s: %zu rows\n", path, wrong);
    slide_close(slide);
    slide_close(whole);
    free(all);
    free(part);
}

static void test_scattered(const char *data) {
    static const char *const made[] = {"jpeg_11.tif", "jpeg_21.tif", "jpeg_22.tif", "jpeg_gray.tif", "levels.svs"};
    static const char *const samples[] = {"cmu1_small_region.svs", "made_c2_tiled_jpeg_pages.tif",
                                          "made_c2_bigtiff_tiled_jpeg_subifd.tif"};
    for (size_t i = 0; i < 5; i++) check_scattered(made_below(references, made[i]));
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/tiff", data ? data : "");
    for (size_t i = 0; i < 3 && data && is_directory(folder); i++) check_scattered(made_below(folder, samples[i]));
}

// ---- Crops ------------------------------------------------------------------------------------------------------

static void test_crops(void) {
    enum { N = 61, W = 40, H = 36, OUT = 24 };
    char files[2][600]; // made_path's answers do not live that long here
    snprintf(files[0], sizeof files[0], "%s", made_below(references, "levels.svs"));
    snprintf(files[1], sizeof files[1], "%s", made_path("crops.jpg"));
    made_jpeg(files[1], 150, 130);
    CropSpot spots[N];
    for (int i = 0; i < N; i++) spots[i] = (CropSpot){i * 37 % 170 - 20, i * 53 % 150 - 20};
    Pool *pool = NULL;
    CHECK_OK(pool_new(3, &pool));
    for (int f = 0; f < 2; f++) {
        Slide *slide = NULL;
        Resampler *resampler = NULL;
        JpegWriter *writer = NULL;
        uint8_t *alone = malloc(N * OUT * OUT * 3), *pixels = malloc(N * OUT * OUT * 3), *crop = malloc(W * H * 3);
        CropBytes jpegs[N];
        char names[N][64];
        const char *paths[N];
        CHECK_OK(slide_open(files[f], NULL, &slide));
        CHECK_OK(resampler_create(W, H, NULL, OUT, OUT, RESAMPLE_BICUBIC, &resampler));
        CHECK_OK(jpeg_writer_create(80, JPEG_444, &writer));
        for (int i = 0; i < N; i++) {
            CHECK_OK(slide_read(slide, 0, spots[i].x, spots[i].y, W, H, SLIDE_WHITE, crop));
            resampler_run(resampler, crop, W * 3, alone + (size_t)i * OUT * OUT * 3);
            snprintf(names[i], sizeof names[i], "crop%d.jpg", i);
            paths[i] = strdup(made_path(names[i]));
        }
        CropRequest request = {.path = files[f],
                               .width = W,
                               .height = H,
                               .border = SLIDE_WHITE,
                               .out_width = OUT,
                               .out_height = OUT,
                               .filter = RESAMPLE_BICUBIC,
                               .quality = 80,
                               .sampling = JPEG_444,
                               .pixels = pixels,
                               .jpegs = jpegs,
                               .paths = paths};
        for (int threads = 1; threads <= 3; threads += 2) {
            memset(pixels, 1, N * OUT * OUT * 3);
            if (!CHECK_OK(crop_spots(&request, spots, N, threads > 1 ? pool : NULL))) continue;
            CHECK(memcmp(pixels, alone, N * OUT * OUT * 3) == 0);
            size_t wrong = 0;
            for (size_t i = 0; i < N; i++) {
                const uint8_t *data = NULL;
                char *file = NULL;
                size_t size = 0, file_bytes = 0;
                CHECK_OK(jpeg_writer_encode(writer, alone + i * OUT * OUT * 3, OUT, OUT, OUT * 3, &data, &size));
                CHECK_OK(file_read(paths[i], 1 << 20, &file, &file_bytes));
                wrong += jpegs[i].size != size || memcmp(jpegs[i].data, data, size) != 0;
                wrong += file_bytes != size || memcmp(file, data, size) != 0;
                free(file);
                free(jpegs[i].data);
            }
            CHECK(wrong == 0);
        }
        // Cut to the slide, not scaled: the part that is there.
        request = (CropRequest){.path = files[f], .width = W, .height = H, .clip = true, .jpegs = jpegs};
        CropSpot corner[2] = {{130, 120}, {-15, 3}};
        if (CHECK_OK(crop_spots(&request, corner, 2, pool))) {
            Picture part;
            made_file(made_path("part.jpg"), jpegs[0].data, jpegs[0].size);
            CHECK_OK(image_load(made_path("part.jpg"), LIMIT, &part));
            CHECK(part.width == 20 && part.height == 10);
            picture_free(&part);
            made_file(made_path("part.jpg"), jpegs[1].data, jpegs[1].size);
            CHECK_OK(image_load(made_path("part.jpg"), LIMIT, &part));
            CHECK(part.width == 25 && part.height == 36);
            picture_free(&part);
            free(jpegs[0].data);
            free(jpegs[1].data);
        }
        corner[1].x = -W;
        CHECK_FAILS(crop_spots(&request, corner, 2, pool), STATUS_INVALID, "spot 1: the rectangle x -40, y 3, 40 x 36");
        CHECK(jpegs[0].data == NULL && jpegs[1].data == NULL);
        request.width = 0;
        CHECK_FAILS(crop_spots(&request, corner, 2, NULL), STATUS_INVALID, "rectangles of 0 x 36");
        request.width = W;
        request.level = 9;
        CHECK_FAILS(crop_spots(&request, corner, 2, NULL), STATUS_INVALID, "no level 9");
        for (int i = 0; i < N; i++) free((char *)paths[i]);
        resampler_free(resampler);
        jpeg_writer_free(writer);
        slide_close(slide);
        free(alone);
        free(pixels);
        free(crop);
    }
    pool_free(pool);
}

// ---- Damage -----------------------------------------------------------------------------------------------------

// Everything that a program would do with the file; an error is fine, a crash is not.
static bool visit(const char *path) {
    Slide *slide = NULL;
    SlideOptions options = {.cache_bytes = 1 << 20};
    Status status = slide_open(path, &options, &slide);
    bool ok = status == STATUS_OK;
    if (!ok && !strstr(status_message(status), path)) printf("    without the path: %s\n", status_message(status));
    CHECK(ok || strstr(status_message(status), path));
    status_drop(status);
    if (!ok) return false;
    SlideInfo info = slide_info(slide);
    for (size_t i = 0; i < info.n_levels; i++) {
        SlideLevel level = slide_level(slide, i);
        size_t w = level.width < 700 ? level.width : 700, h = level.height < 700 ? level.height : 700;
        uint8_t *rgb = malloc(w * h * 3);
        const int64_t at[3][2] = {{0, 0},
                                  {(int64_t)(level.width - w), (int64_t)(level.height - h)},
                                  {(int64_t)(level.width - w) / 2, (int64_t)(level.height - h) / 2}};
        for (int k = 0; k < 3; k++) {
            status = slide_read(slide, i, at[k][0], at[k][1], w, h, SLIDE_WHITE, rgb);
            CHECK(status == STATUS_OK || strstr(status_message(status), path));
            ok = ok && status == STATUS_OK;
            status_drop(status);
        }
        free(rgb);
    }
    for (size_t i = 0; i < info.n_extras && i < 20; i++) {
        Picture picture;
        status = slide_read_extra(slide, i, 1 << 24, &picture);
        CHECK(status == STATUS_OK || strstr(status_message(status), path));
        ok = ok && status == STATUS_OK;
        status_drop(status);
        picture_free(&picture);
    }
    slide_close(slide);
    return ok;
}

static void damage(const char *path, int cuts, int flips) {
    const char *broken = made_path("broken.tif");
    char *data = NULL;
    size_t size = 0;
    if (!CHECK_OK(file_read(path, LIMIT, &data, &size))) return;
    for (int i = 0; i < cuts; i++) {
        made_file(broken, data, size * (size_t)i / (size_t)cuts);
        visit(broken);
    }
    // Half of the flips hit the first kilobyte or the last two, where directories are.
    uint64_t random = size;
    for (int i = 0; i < flips; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t at = (size_t)(random >> 20) % size, bit = (random >> 17) & 7;
        if (i % 4 == 1) at %= size < 1024 ? size : 1024;
        if (i % 4 == 3 && size > 2048) at = size - 1 - at % 2048;
        data[at] = (char)(data[at] ^ (1 << bit));
        made_file(broken, data, size);
        visit(broken);
        data[at] = (char)(data[at] ^ (1 << bit));
    }
    free(data);
}

static const char *const made_names[] = {
    "bigtiff_big.tif",  "gray.tif",        "gray16_planes.tif", "inverted.tif",        "jpeg_11.tif",
    "jpeg_21.tif",      "jpeg_22.tif",     "jpeg_gray.tif",     "jpeg_rgb_strips.tif", "levels.svs",
    "planes_tiled.tif", "pyramid.ome.tif", "rgb16.tif",         "rgb16_big.tif",       "rgba.tif",
    "zstd.tif",         "jpeg_planes.tif", "palette.tif",       "bilevel.tif",
};

static const char *const sample_names[] = {
    "cmu1_small_region.svs",
    "crc_patch_packbits.tif",
    "made_c2_bigtiff_tiled_jpeg_subifd.tif",
    "made_c2_planar_lzw.tif",
    "made_c2_strip_none.tif",
    "made_c2_strip_deflate_nopred.tif",
    "made_c2_strip_lzw_pred2.tif",
    "made_c2_tiled_jpeg_pages.tif",
    "made_c2_strip_none_bigendian.tif",
    "made_c2_tiled_deflate_subifd.tif",
};

// A header of one page with these sizes and one tile of 10 bytes.
static void make_header(const char *path, uint32_t width, uint32_t height, uint32_t tile_width, uint32_t tile_height,
                        uint16_t compression, uint32_t tiles) {
    MadeTiff tiff = made_tiff_begin();
    uint32_t bits = (uint32_t)made_tiff_put(&tiff, "\10\0\10\0\10\0", 6);
    MadeEntry entries[] = {{256, 4, 1, width}, {257, 4, 1, height}, {258, 3, 3, bits},       {259, 3, 1, compression},
                           {262, 3, 1, 2},     {277, 3, 1, 3},      {322, 4, 1, tile_width}, {323, 4, 1, tile_height},
                           {324, 4, tiles, 8}, {325, 4, tiles, 10}};
    made_tiff_directory(&tiff, entries, sizeof entries / sizeof *entries);
    made_tiff_end(&tiff, path);
}

static void check_refused(const char *path, StatusCode code, const char *part) {
    Slide *slide = NULL;
    uint8_t rgb[48];
    Status status = slide_open(path, NULL, &slide);
    if (status == STATUS_OK) status = slide_read(slide, 0, 0, 0, 4, 4, SLIDE_WHITE, rgb);
    CHECK_FAILS(status, code, part);
    slide_close(slide);
}

static void test_hostile(void) {
    const char *path = made_path("hostile.tif");
    make_header(path, 4000000000u, 4000000000u, 256, 256, 1, 1); // more tiles than libtiff counts
    check_refused(path, STATUS_MALFORMED, "hostile.tif: not a readable TIFF file (Integer overflow");
    make_header(path, 4000000000u, 4000000000u, 1 << 16, 1 << 16, 1, 1);
    check_refused(path, STATUS_UNSUPPORTED, "hostile.tif: the header of page 0 says 4000000000 x 4000000000 pixels");
    make_header(path, 1 << 20, 1 << 20, 16, 16, 1, 1);
    check_refused(path, STATUS_MALFORMED, "hostile.tif");
    make_header(path, 1 << 20, 1 << 20, 1, 1, 1, 1);
    check_refused(path, STATUS_MALFORMED, "hostile.tif");
    make_header(path, 1000, 1000, 1u << 31, 1u << 31, 1, 1);
    check_refused(path, STATUS_MALFORMED, "hostile.tif: not a readable TIFF file (Integer overflow");
    make_header(path, 1000, 1000, 1 << 16, 1 << 15, 1, 1);
    check_refused(path, STATUS_UNSUPPORTED, "page 0 has tiles of 65536 x 32768 pixels; more than 1073741824 bytes");
    make_header(path, 1000, 1000, 16384, 16384, 5, 1);
    check_refused(path, STATUS_MALFORMED, "page 0: the tile at x 0, y 0: has 10 bytes at offset 8, too few");
    make_header(path, 1000, 1000, 16384, 16384, 7, 1);
    check_refused(path, STATUS_MALFORMED, "too few");
    make_header(path, 4, 4, 16, 16, 7, 1);
    check_refused(path, STATUS_MALFORMED, "offset 8, 10 bytes: its 10 bytes are not a JPEG stream");
    make_header(path, 4, 4, 0, 16, 1, 1);
    check_refused(path, STATUS_MALFORMED, "hostile.tif");
    make_header(path, 0, 4, 16, 16, 1, 1);
    check_refused(path, STATUS_MALFORMED, "not a readable TIFF file (Cannot handle zero");
    make_header(path, 4, 4, 16, 16, 6, 1);
    check_refused(path, STATUS_UNSUPPORTED, "page 0: old-style JPEG (6) compression is not built into");
    make_header(path, 4, 4, 16, 16, 33003, 1);
    check_refused(path, STATUS_UNSUPPORTED, "JPEG 2000");
    make_header(path, 4, 4, 16, 16, 4711, 1);
    check_refused(path, STATUS_UNSUPPORTED, "number 4711 compression");

    // A chain of pages that comes back to the first; SubIFDs that are the page itself.
    for (int sub = 0; sub < 2; sub++) {
        MadeTiff tiff = made_tiff_begin();
        uint32_t bits = (uint32_t)made_tiff_put(&tiff, "\10\0\10\0\10\0", 6);
        uint32_t data = (uint32_t)made_tiff_put(&tiff, (uint8_t[48]){1}, 48);
        MadeEntry entries[] = {{256, 4, 1, 4},    {257, 4, 1, 4}, {258, 3, 3, bits}, {259, 3, 1, 1},  {262, 3, 1, 2},
                               {273, 4, 1, data}, {277, 3, 1, 3}, {278, 4, 1, 4},    {279, 4, 1, 48}, {330, 4, 1, 62}};
        uint16_t n = (uint16_t)(sizeof entries / sizeof *entries - (sub ? 0 : 1));
        size_t first = made_tiff_directory(&tiff, entries, n);
        CHECK(first == 62);
        if (!sub) {
            made_tiff_directory(&tiff, entries, n);
            made_tiff_set(&tiff, tiff.link, (uint32_t)first);
        }
        made_tiff_end(&tiff, path);
        Slide *slide = NULL;
        if (!sub) {
            CHECK_FAILS(slide_open(path, NULL, &slide), STATUS_MALFORMED, "hostile.tif: page 2, whose place page 1");
            continue;
        }
        // The page as its own sub-image: read once as such, nothing follows it round.
        CHECK_OK(slide_open(path, NULL, &slide));
        CHECK(slide && slide_info(slide).n_levels == 1 && slide_info(slide).n_extras == 1);
        slide_close(slide);
    }

    const char *pipe = made_path("pipe.tif");
    CHECK(mkfifo(pipe, 0600) == 0);
    check_refused(pipe, STATUS_INVALID, "pipe.tif is not a regular file");
    check_refused(made_path(""), STATUS_INVALID, "is not a regular file");
    check_refused(made_path("absent.tif"), STATUS_NOT_FOUND, "absent.tif");
    made_text(path, "");
    check_refused(path, STATUS_UNSUPPORTED, "hostile.tif: not a JPEG, PNG or TIFF file");
    ImageFile *image = NULL;
    CHECK_FAILS(image_open(pipe, &image), STATUS_INVALID, "not a regular file");
}

// A small JPEG of one component after another, in ten passes.
static void make_progressive(const char *path, size_t width, size_t height) {
    uint8_t *rgb = made_pixels(width, height);
    FILE *file = fopen(path, "wb");
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr errors;
    encoder.err = jpeg_std_error(&errors);
    jpeg_create_compress(&encoder);
    jpeg_stdio_dest(&encoder, file);
    encoder.image_width = (JDIMENSION)width;
    encoder.image_height = (JDIMENSION)height;
    encoder.input_components = 3;
    encoder.in_color_space = JCS_RGB;
    jpeg_set_defaults(&encoder);
    jpeg_simple_progression(&encoder);
    jpeg_start_compress(&encoder, TRUE);
    while (encoder.next_scanline < encoder.image_height) {
        JSAMPROW row = rgb + encoder.next_scanline * width * 3;
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    fclose(file);
    free(rgb);
}

// The two sides in the frame header of a JPEG, at the marker FF `kind`.
static void set_jpeg_sides(const char *path, unsigned char kind, unsigned height, unsigned width) {
    char *data = NULL;
    size_t size = 0, at = 2;
    if (!CHECK_OK(file_read(path, 1 << 20, &data, &size))) return;
    while (at + 9 < size && (unsigned char)data[at + 1] != kind)
        at += 2 + ((size_t)(unsigned char)data[at + 2] << 8 | (unsigned char)data[at + 3]);
    if (CHECK(at + 9 < size)) {
        unsigned char sides[4] = {(unsigned char)(height >> 8), (unsigned char)height, (unsigned char)(width >> 8),
                                  (unsigned char)width};
        memcpy(data + at + 5, sides, 4);
        made_file(path, data, size);
    }
    free(data);
}

static void test_pictures(void) {
    char jpeg[600], slow[600], png[600];
    snprintf(jpeg, sizeof jpeg, "%s", made_path("plain.jpg"));
    snprintf(slow, sizeof slow, "%s", made_path("progressive.jpg"));
    snprintf(png, sizeof png, "%s", made_path("plain.png"));
    made_jpeg(jpeg, 90, 70);
    make_progressive(slow, 90, 70);
    uint8_t *rgb = made_pixels(90, 70);
    CHECK_OK(png_write_rgb(png, 90, 70, rgb));
    free(rgb);
    CHECK(visit(jpeg) && visit(slow) && visit(png));
    damage(jpeg, 20, 200);
    damage(slow, 20, 200);
    damage(png, 20, 200);
    // Sides that the few bytes cannot fill; a progressive picture would want gigabytes before its first row.
    set_jpeg_sides(jpeg, 0xC0, 65000, 65000);
    check_refused(jpeg, STATUS_MALFORMED, "too few for the 65000 x 65000 pixels of the JPEG header");
    set_jpeg_sides(slow, 0xC2, 65000, 65000);
    check_refused(slow, STATUS_MALFORMED, "too few for the 65000 x 65000 pixels of the JPEG header");
    set_jpeg_sides(slow, 0xC2, 2600, 2600);
    check_refused(slow, STATUS_MALFORMED, "progressive.jpg");
}

static void test_damage(const char *data) {
    for (size_t i = 0; i < sizeof made_names / sizeof *made_names; i++)
        damage(made_below(references, made_names[i]), 20, 200);
    if (!data) return;
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/tiff", data);
    if (!is_directory(folder)) return;
    bool thorough = getenv("STMC_THOROUGH") != NULL;
    for (size_t i = 0; i < sizeof sample_names / sizeof *sample_names; i++)
        damage(made_below(folder, sample_names[i]), 20, thorough ? 200 : 20);
    // A cut is noticed where it removed something that is read.
    const char *broken = made_path("cut.svs");
    made_damaged(made_below(folder, "made_c2_strip_none.tif"), broken, 100000, -1, 0);
    CHECK(!visit(broken));
}

int main(int argc, char **argv) {
    const char *data = argc > 1 ? argv[1] : getenv("STMC_DATA");
    if (!is_directory(references)) {
        printf("slide: run from the project's root, %s is not here\n", references);
        return 1;
    }
    made_begin();
    test_large(true);
    test_large(false);
    check_table("tests/data/reference/images/made.csv", references, 150);
    test_aperio();
    test_borders();
    test_scattered(data);
    test_crops();
    if (data) test_samples(data);
    else CHECK_SKIP("slide samples: give the data directory as argument or in STMC_DATA");
    test_hostile();
    test_pictures();
    test_damage(data);
    made_end();
    return check_report("slide");
}
