// Pictures: JPEG, PNG and TIFF by region, damaged files, scaling against recorded Pillow results, drawing and
// maps. The real TIFF files are used when the data directory is given (first argument or STMC_DATA).
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <png.h>

#include "../../runtime/data/image.h"
#include "../../runtime/data/resample.h"
#include "../../runtime/report/canvas.h"
#include "../../runtime/report/map.h"
#include "../../runtime/report/png.h"
#include "made.h"

enum { LIMIT = 1 << 28 };

// Regions read in several orders must equal the whole picture.
static void check_regions(const char *path) {
    Picture whole;
    ImageFile *image = NULL;
    if (!CHECK_OK(image_load(path, LIMIT, &whole))) return;
    if (!CHECK_OK(image_open(path, &image))) return;
    size_t w = whole.width, h = whole.height, wrong = 0;
    struct {
        size_t x, y, w, h;
    } regions[] = {{0, 0, w, 1},         {w / 3, h / 2, w / 2, h / 4}, {0, 0, 1, 1},
                   {w - 1, h - 1, 1, 1}, {w / 4, 0, w / 2, h},         {0, h / 3, w, 0}};
    for (size_t i = 0; i < sizeof regions / sizeof *regions; i++) {
        size_t rw = regions[i].w, rh = regions[i].h;
        uint8_t *part = malloc(rw * rh * 3 + 1);
        CHECK_OK(image_read_region(image, regions[i].x, regions[i].y, rw, rh, part));
        for (size_t r = 0; r < rh; r++)
            wrong += memcmp(part + r * rw * 3, whole.rgb + ((regions[i].y + r) * w + regions[i].x) * 3, rw * 3) != 0;
        free(part);
    }
    CHECK(wrong == 0);
    uint8_t pixel[3];
    CHECK_FAILS(image_read_region(image, w, 0, 1, 1, pixel), STATUS_INVALID, "leaves the picture");
    CHECK_FAILS(image_read_region(image, 0, (size_t)-1, 1, 2, pixel), STATUS_INVALID, "leaves the picture");
    image_close(image);
    picture_free(&whole);
}

// Writes a PNG of any kind that libpng can.
static void make_png(const char *path, int color_type, int depth, int interlace, size_t w, size_t h) {
    FILE *file = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)w, (png_uint_32)h, depth, color_type, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_color palette[4] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {9, 8, 7}};
    if (color_type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 4);
    png_write_info(png, info);
    size_t row_bytes = png_get_rowbytes(png, info);
    uint8_t *data = malloc(row_bytes * h), **rows = malloc(h * sizeof *rows);
    for (size_t y = 0; y < h; y++) {
        rows[y] = data + y * row_bytes;
        for (size_t i = 0; i < row_bytes; i++)
            rows[y][i] = (uint8_t)(color_type == PNG_COLOR_TYPE_PALETTE ? (i + y) % 4 : i * 3 + y * 7);
    }
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(file);
    free(data);
    free(rows);
}

static void test_formats(void) {
    const char *jpeg = made_path("a.jpg"), *png = made_path("a.png");
    made_jpeg(jpeg, 131, 97);
    check_regions(jpeg);
    uint8_t *rgb = made_pixels(131, 97);
    CHECK_OK(png_write_rgb(png, 131, 97, rgb));
    check_regions(png);
    Picture picture;
    CHECK_OK(image_load(png, LIMIT, &picture));
    CHECK(picture.width == 131 && picture.height == 97 && memcmp(picture.rgb, rgb, 131 * 97 * 3) == 0);
    picture_free(&picture);
    CHECK_FAILS(image_load(png, 1000, &picture), STATUS_NO_MEMORY, "more than the 1000 bytes");
    free(rgb);
    static const int kinds[][2] = {{PNG_COLOR_TYPE_RGB, 8},     {PNG_COLOR_TYPE_RGB_ALPHA, 8},
                                   {PNG_COLOR_TYPE_GRAY, 8},    {PNG_COLOR_TYPE_RGB, 16},
                                   {PNG_COLOR_TYPE_PALETTE, 8}, {PNG_COLOR_TYPE_GRAY_ALPHA, 16}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const char *plain = made_path("plain.png"), *woven = made_path("woven.png");
        Picture a = {0}, b = {0};
        make_png(plain, kinds[k][0], kinds[k][1], PNG_INTERLACE_NONE, 45, 33);
        make_png(woven, kinds[k][0], kinds[k][1], PNG_INTERLACE_ADAM7, 45, 33);
        check_regions(plain);
        check_regions(woven);
        CHECK_OK(image_load(plain, LIMIT, &a));
        CHECK_OK(image_load(woven, LIMIT, &b));
        CHECK(a.rgb && b.rgb && memcmp(a.rgb, b.rgb, 45 * 33 * 3) == 0);
        picture_free(&a);
        picture_free(&b);
    }
    ImageFile *image = NULL;
    made_text(made_path("a.txt"), "hello, world");
    CHECK_FAILS(image_open(made_path("a.txt"), &image), STATUS_UNSUPPORTED,
                "not a JPEG, PNG or TIFF file (it starts with 68 65");
    CHECK_FAILS(image_open(made_path("none.jpg"), &image), STATUS_NOT_FOUND, "none.jpg: No such file");
    made_text(made_path("a.txt"), "");
    CHECK_FAILS(image_open(made_path("a.txt"), &image), STATUS_UNSUPPORTED, "not a JPEG");
}

// Cuts and flips must never crash, and cuts must be noticed.
static void test_damage(void) {
    const char *jpeg = made_path("whole.jpg"), *png = made_path("whole.png"), *broken = made_path("broken");
    uint8_t *rgb = made_pixels(150, 90);
    made_jpeg(jpeg, 150, 90);
    CHECK_OK(png_write_rgb(png, 150, 90, rgb));
    free(rgb);
    const char *files[2] = {jpeg, png};
    for (int f = 0; f < 2; f++) {
        size_t size = made_damaged(files[f], broken, (size_t)-1, -1, 0), noticed = 0, tried = 0;
        for (size_t keep = 8; keep + 1 < size; keep += 1 + size / 150) {
            Picture picture;
            made_damaged(files[f], broken, keep, -1, 0);
            Status status = image_load(broken, LIMIT, &picture);
            noticed += status != STATUS_OK;
            tried++;
            status_drop(status);
            picture_free(&picture);
        }
        CHECK(noticed == tried);
        made_damaged(files[f], broken, size - 2, -1, 0); // only the end marker is gone
        Picture picture;
        CHECK_FAILS(image_load(broken, LIMIT, &picture), STATUS_MALFORMED, "ends early");
        for (size_t at = 0; at < size; at += 1 + size / 200) {
            made_damaged(files[f], broken, (size_t)-1, (long)at, 0x55);
            status_drop(image_load(broken, LIMIT, &picture));
            picture_free(&picture);
        }
    }
    // A header that promises the moon is refused before memory is asked for.
    ImageFile *image = NULL;
    made_damaged(png, broken, (size_t)-1, 17, 0x7f); // width 150 becomes 150 + 127 * 65536
    CHECK_FAILS(image_open(broken, &image), STATUS_MALFORMED, "PNG");
    // A read after a failed one starts over instead of going on behind the damage.
    made_jpeg(jpeg, 150, 600);
    size_t size = made_damaged(jpeg, broken, (size_t)-1, -1, 0);
    made_damaged(jpeg, broken, size / 2, -1, 0);
    CHECK_OK(image_open(broken, &image));
    uint8_t row[450];
    CHECK_FAILS(image_read_region(image, 0, 599, 150, 1, row), STATUS_MALFORMED,
                "JPEG data is damaged or ends early near row");
    CHECK_OK(image_read_region(image, 0, 0, 150, 1, row));
    CHECK_FAILS(image_read_region(image, 0, 599, 150, 1, row), STATUS_MALFORMED, "broken");
    image_close(image);
}

static uint64_t fnv(const uint8_t *data, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

// Recorded with Pillow 13.0: Image.fromarray(made_pixels(37, 29)).resize((w, h), filter); FNV-1a of all
// bytes, and the pixel in the middle to look at when the hash differs.
static const struct {
    ResampleFilter filter;
    size_t w, h;
    uint64_t hash;
    uint8_t middle[3];
} pillow[] = {
    {RESAMPLE_BILINEAR, 11, 9, 0x3fc676e89686322du, {168, 137, 124}},
    {RESAMPLE_BILINEAR, 5, 29, 0xc0b74d19cde046c1u, {168, 131, 106}},
    {RESAMPLE_BILINEAR, 37, 4, 0x8e0a5c5027d59de0u, {179, 156, 129}},
    {RESAMPLE_BILINEAR, 50, 61, 0x25b912859012a4dcu, {171, 152, 157}},
    {RESAMPLE_BILINEAR, 1, 1, 0x1b22e51ad4e66cfbu, {134, 123, 127}},
    {RESAMPLE_BILINEAR, 37, 29, 0xb8e441fbdf20fc2bu, {168, 138, 190}},
    {RESAMPLE_BOX, 11, 9, 0xc6151680fb9052d5u, {168, 139, 133}},
    {RESAMPLE_BOX, 5, 29, 0xfea98a9fd33c7b7eu, {168, 142, 117}},
    {RESAMPLE_BOX, 37, 4, 0xaa03958af410cdf6u, {180, 158, 104}},
    {RESAMPLE_BOX, 50, 61, 0xaae923191314d553u, {168, 138, 190}},
    {RESAMPLE_BOX, 1, 1, 0xadc85b19759e6ecfu, {126, 121, 125}},
    {RESAMPLE_BOX, 37, 29, 0xb8e441fbdf20fc2bu, {168, 138, 190}},
};

static bool stop(void *context, double fraction) {
    *(double *)context = fraction;
    return false;
}

static void test_resample(void) {
    Picture in = {37, 29, made_pixels(37, 29)}, out, from_file;
    const char *path = made_path("in.png");
    CHECK_OK(png_write_rgb(path, 37, 29, in.rgb));
    for (size_t i = 0; i < sizeof pillow / sizeof *pillow; i++) {
        size_t w = pillow[i].w, h = pillow[i].h;
        ImageFile *image = NULL;
        if (!CHECK_OK(resample_picture(&in, w, h, pillow[i].filter, &out))) continue;
        const uint8_t *middle = out.rgb + (h / 2 * w + w / 2) * 3;
        CHECK(memcmp(middle, pillow[i].middle, 3) == 0);
        CHECK(fnv(out.rgb, w * h * 3) == pillow[i].hash);
        CHECK_OK(image_open(path, &image));
        CHECK_OK(resample_image(image, w, h, pillow[i].filter, NULL, NULL, &from_file));
        CHECK(from_file.rgb && memcmp(from_file.rgb, out.rgb, w * h * 3) == 0);
        image_close(image);
        picture_free(&out);
        picture_free(&from_file);
    }
    CHECK_FAILS(resample_picture(&in, 0, 5, RESAMPLE_BOX, &out), STATUS_INVALID, "0 x 5");
    ImageFile *image = NULL;
    double fraction = 0;
    CHECK_OK(image_open(path, &image));
    CHECK_FAILS(resample_image(image, 37, 29, RESAMPLE_BOX, stop, &fraction, &out), STATUS_CANCELLED, "stopped");
    CHECK(fraction > 0 && fraction < 1);
    image_close(image);
    picture_free(&in);
}

static void test_map(void) {
    Canvas canvas;
    Color white = {255, 255, 255}, black = {0, 0, 0};
    CHECK_OK(canvas_create(60, 40, white, &canvas));
    canvas_rectangle(&canvas, 10, 10, 5, 5, black, 1);
    CHECK(canvas.rgb[(10 * 60 + 10) * 3] == 0 && canvas.rgb[(9 * 60 + 10) * 3] == 255 &&
          canvas.rgb[(15 * 60 + 15) * 3] == 255);
    canvas_disc(&canvas, 1e9, NAN, 3, black, 1); // far outside and nonsense: nothing happens
    canvas_line(&canvas, -1000, -1000, 2000, 2000, 3, black, 1);
    CHECK(canvas.rgb[(30 * 60 + 30) * 3] == 0);
    canvas_text(&canvas, -5, 60, 30, 1, TEXT_LEFT, black, "g\xff\xC2 \xE2\x82\xAC \x01");
    canvas_free(&canvas);
    CHECK_FAILS(canvas_create(0, 1, white, &canvas), STATUS_INVALID, "cannot be drawn");
    CHECK(canvas_text_width(10, "abc") > canvas_text_width(10, "ab") && canvas_text_width(10, "") == 0);
    CHECK(nice_step(35, 5) == 5 && nice_step(1, 5) == 0.2 && nice_step(0, 5) == 1);

    const char *path = made_path("map.png");
    uint8_t *rgb = made_pixels(200, 150);
    double xy[6] = {100, 100, 400, 300, 700, 500};
    float truth[3] = {1, 2, NAN}, same[3] = {4, 4, 4};
    MapPanel panels[2] = {{"measured", truth}, {"predicted", same}};
    SpatialMap map = {.title = "T cells",
                      .subtitle = "a",
                      .image = rgb,
                      .image_width = 200,
                      .image_height = 150,
                      .image_scale_x = 0.25,
                      .image_scale_y = 0.25,
                      .n_spots = 3,
                      .xy = xy,
                      .spot_diameter = 60,
                      .unit_in_microns = 2,
                      .n_panels = 2,
                      .panels = panels,
                      .value_name = "rank",
                      .panel_side = 300};
    Picture picture;
    CHECK_OK(map_write_png(path, &map));
    CHECK_OK(image_load(path, LIMIT, &picture));
    CHECK(picture.width > 600 && picture.height > 200);
    picture_free(&picture);
    map.shared_scale = true;
    map.image = NULL;
    CHECK_OK(map_write_png(path, &map));
    CHECK_FAILS(map_write_png("/dev/full", &map), STATUS_IO, "No space left");
    map.n_panels = 0;
    CHECK_FAILS(map_write_png(path, &map), STATUS_INVALID, "1 to 8 panels");
    map.n_panels = 1;
    xy[2] = NAN;
    CHECK_FAILS(map_write_png(path, &map), STATUS_INVALID, "position of spot 1 is not finite");
    free(rgb);
}

// Region (x, y) of a TIFF against a reference PNG; `most` is the largest difference allowed.
static void check_reference(const char *data, const char *tiff, size_t x, size_t y, const char *png, int most) {
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/tiff", data);
    Picture reference;
    ImageFile *image = NULL;
    if (!CHECK_OK(image_load(made_below(folder, png), LIMIT, &reference))) return;
    if (CHECK_OK(image_open(made_below(folder, tiff), &image))) {
        size_t w = reference.width, h = reference.height;
        uint8_t *part = malloc(w * h * 3);
        int worst = 0;
        if (CHECK_OK(image_read_region(image, x, y, w, h, part)))
            for (size_t i = 0; i < w * h * 3; i++) {
                int difference = abs(part[i] - reference.rgb[i]);
                if (difference > worst) worst = difference;
            }
        if (!CHECK(worst <= most)) printf("    %s: largest difference %d\n", tiff, worst);
        free(part);
    }
    image_close(image);
    picture_free(&reference);
    check_regions(made_below(folder, tiff));
}

static void test_real_tiff(const char *data) {
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/tiff", data);
    if (!is_directory(folder)) {
        CHECK_SKIP("real TIFF files: no directory %s", folder);
        return;
    }
    check_reference(data, "cmu1_small_region.svs", 960, 1200, "cmu1_reference_x960_y1200_400x300.png", 1);
    check_reference(data, "made_c2_strip_none.tif", 0, 0, "made_c2_reference_300x200.png", 0);
    check_reference(data, "made_c2_strip_none_bigendian.tif", 0, 0, "made_c2_reference_300x200.png", 0);
    check_reference(data, "made_c2_strip_lzw_pred2.tif", 0, 0, "made_c2_reference_500x421.png", 0);
    check_reference(data, "made_c2_strip_deflate_nopred.tif", 0, 0, "made_c2_reference_500x421.png", 0);
    check_reference(data, "made_c2_planar_lzw.tif", 0, 0, "made_c2_reference_300x200.png", 0);
    check_reference(data, "made_c2_tiled_deflate_subifd.tif", 0, 0, "made_c2_reference_700x600.png", 0);
    char source[1100];
    snprintf(source, sizeof source, "%s/made_c2_tiled_deflate_subifd.tif", folder);
    const char *broken = made_path("broken.tif");
    size_t size = made_damaged(source, broken, (size_t)-1, -1, 0), crashes = 0;
    for (size_t k = 1; k < 40; k++) { // cut anywhere: an error or, if only unused parts are gone, the right picture
        Picture picture;
        made_damaged(source, broken, size * k / 40, -1, 0);
        Status status = image_load(broken, LIMIT, &picture);
        crashes += status == STATUS_OK && picture.width == 0;
        status_drop(status);
        picture_free(&picture);
    }
    for (size_t at = 0; at < 400; at += 3) {
        Picture picture;
        made_damaged(source, broken, (size_t)-1, (long)at, 0xff);
        status_drop(image_load(broken, LIMIT, &picture));
        picture_free(&picture);
    }
    CHECK(crashes == 0);
    snprintf(source, sizeof source, "%s/made_c2_strip_none.tif", folder);
    made_damaged(source, broken, 100000, -1, 0);
    Picture picture;
    CHECK_FAILS(image_load(broken, LIMIT, &picture), STATUS_MALFORMED, "broken.tif");
}

int main(int argc, char **argv) {
    const char *data = argc > 1 ? argv[1] : getenv("STMC_DATA");
    made_begin();
    test_formats();
    test_damage();
    test_resample();
    test_map();
    if (data) test_real_tiff(data);
    else CHECK_SKIP("real TIFF files: give the data directory as argument or in STMC_DATA");
    made_end();
    return check_report("image");
}
