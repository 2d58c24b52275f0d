// Histology: colours, thresholds, morphology, components, filters, percentiles, Macenko stains and the rooms of
// HEVisum against recorded results of scikit-image, OpenCV, Pillow, scipy, numpy and torchstain
// (reference_histology.py); empty, one-pixel and constant pictures; brute-force checks of the order search.
//
//     histology_test REFERENCE_DIRECTORY [DATA_DIRECTORY]
//
// With DATA_DIRECTORY (or STMC_DATA) stains of real regions are compared as well.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "../../runtime/data/colour.h"
#include "../../runtime/data/components.h"
#include "../../runtime/data/filters.h"
#include "../../runtime/data/image.h"
#include "../../runtime/data/masks.h"
#include "../../runtime/data/prepare.h"
#include "../../runtime/data/quantile.h"
#include "../../runtime/data/rooms.h"
#include "../../runtime/data/stain.h"
#include "../../runtime/data/tissue.h"
#include "made.h"

// ---- recorded references

static char *reference_text;

// The line `name count ...`; NULL (a failed check) if it was not recorded.
static char *find_reference(const char *name, size_t *out_count) {
    size_t length = strlen(name);
    for (char *line = reference_text; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (strncmp(line, name, length) == 0 && line[length] == ' ') {
            char *rest;
            *out_count = strtoull(line + length, &rest, 10);
            return rest;
        }
    printf("no reference `%s`\n", name);
    CHECK(false);
    return NULL;
}

// The recorded numbers of `name`, from malloc; *out_count of them.
static double *reference_numbers(const char *name, size_t *out_count) {
    char *text = find_reference(name, out_count);
    double *values = calloc(*out_count + 1, sizeof *values);
    for (size_t i = 0; text && i < *out_count; i++) values[i] = strtod(text, &text);
    return values;
}

static void check_numbers(const char *name, const double *seen, size_t count, double tolerance) {
    size_t expected_count = 0, worst = 0;
    double *expected = reference_numbers(name, &expected_count), error = 0;
    bool wrong = expected_count != count;
    for (size_t i = 0; i < count && i < expected_count; i++) {
        double e = fabs(seen[i] - expected[i]);
        if (!(e <= error)) error = e, worst = i;
    }
    wrong |= !(error <= tolerance);
    CHECK(!wrong);
    if (wrong)
        printf("    %s: %zu values of %zu; at %zu: %.12g, expected %.12g (tolerance %g)\n", name, count, expected_count,
               worst, worst < count ? seen[worst] : 0, worst < expected_count ? expected[worst] : 0, tolerance);
    else if (getenv("CHECK_VERBOSE")) printf("    %s: largest difference %g\n", name, error);
    free(expected);
}

static uint64_t fnv_step(uint64_t hash, uint32_t word) {
    return (hash ^ word) * 1099511628211u;
}

static void check_hash(const char *name, size_t count, uint64_t hash) {
    size_t expected_count = 0;
    char *text = find_reference(name, &expected_count);
    bool ok = text && count == expected_count && hash == strtoull(text, NULL, 10);
    CHECK(ok);
    if (!ok) printf("    %s: %zu values (recorded %zu) differ\n", name, count, expected_count);
}

static void check_bytes(const char *name, const uint8_t *bytes, size_t count) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < count; i++) hash = fnv_step(hash, bytes[i]);
    check_hash(name, count, hash);
}

// ---- pictures drawn as the script draws them

static void draw(uint8_t *rgb, size_t pixels, uint32_t seed) {
    for (size_t i = 0; i < pixels * 3; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        rgb[i] = (uint8_t)(seed >> 24);
    }
}

static uint8_t clip(int v) {
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static uint8_t *draw_stained(int width, int height, uint32_t seed) {
    uint8_t *rgb = malloc((size_t)(width * height) * 3), *p = rgb;
    draw(rgb, (size_t)(width * height), seed);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, p += 3) {
            int h = (x * 7 + p[0] / 4) % 90, e = (y * 5 + p[1] / 4) % 120;
            p[0] = clip(240 - (h * 3 + e) / 2);
            p[1] = clip(235 - (h * 3 + e * 4) / 4);
            p[2] = clip(245 - (h + e) / 2);
        }
    return rgb;
}

enum { W = 37, H = 23, N = W * H };
static uint8_t noise[N * 3], gray[N];

// ---- colours

enum { LEVELS = 65, CUBE = LEVELS * LEVELS * LEVELS };

static void test_colours(void) {
    uint8_t *cube = malloc(CUBE * 3), *out = malloc(CUBE * 3), *p = cube;
    for (int r = 0; r < LEVELS; r++)
        for (int g = 0; g < LEVELS; g++)
            for (int b = 0; b < LEVELS; b++) *p++ = clip(r * 4), *p++ = clip(g * 4), *p++ = clip(b * 4);
    gray_pillow(cube, CUBE, out);
    check_bytes("gray_pillow", out, CUBE);
    gray_opencv(cube, CUBE, out);
    check_bytes("gray_opencv", out, CUBE);
    hsv_pillow(cube, CUBE, out);
    check_bytes("hsv_pillow", out, CUBE * 3);
    rgb_from_hsv_pillow(cube, CUBE, out);
    check_bytes("rgb_from_hsv_pillow", out, CUBE * 3);
    hsv_opencv(cube, CUBE, out);
    check_bytes("hsv_opencv", out, CUBE * 3);
    for (size_t i = 0; i < CUBE; i++)
        if (cube[3 * i] > 179) cube[3 * i] = 179;
    rgb_from_hsv_opencv(cube, CUBE, out);
    check_bytes("rgb_from_hsv_opencv", out, CUBE * 3);
    if (getenv("DUMP_HSV")) made_file(getenv("DUMP_HSV"), out, CUBE * 3);
    free(cube);
    free(out);

    double some[2 * W * 3], got[2 * W * 3];
    for (size_t i = 0; i < 2 * W * 3; i++) some[i] = noise[i] / 255.0;
    for (int c = 0; c < 3; c++) some[c] = 0, some[3 + c] = 1, some[6 + c] = 0.5;
    check_numbers("some", some, 2 * W * 3, 1e-11);
    hsv_float(some, 2 * W, got);
    check_numbers("hsv_float", got, 2 * W * 3, 1e-11);
    rgb_from_hsv_float(some, 2 * W, got);
    check_numbers("rgb_from_hsv_float", got, 2 * W * 3, 1e-11);
    hed_float(some, 2 * W, got);
    check_numbers("hed_float", got, 2 * W * 3, 1e-11);
    lab_float(some, 2 * W, got);
    check_numbers("lab_float", got, 2 * W * 3, 1e-9);
    rgb_from_lab_float(got, 2 * W, got);
    for (size_t i = 0; i < 2 * W * 3; i++) got[i] -= some[i];
    double round_trip = 0;
    for (size_t i = 0; i < 2 * W * 3; i++) round_trip = fmax(round_trip, fabs(got[i]));
    CHECK(round_trip < 1e-3); // the published matrices and 7.787 are rounded
    double other[2 * W * 3];
    for (size_t i = 0; i < 2 * W * 3; i++) other[i] = some[i] / 8;
    rgb_from_hed_float(other, 2 * W, got);
    check_numbers("rgb_from_hed_float", got, 2 * W * 3, 1e-11);
    for (size_t i = 0; i < 2 * W * 3; i++) other[i] = i % 3 == 0 ? some[i] * 100 : some[i] * 60 - 30;
    rgb_from_lab_float(other, 2 * W, got);
    check_numbers("rgb_from_lab_float", got, 2 * W * 3, 1e-11);

    float unit[N * 3], plane[N];
    double wide[3 * W];
    unit_from_bytes(noise, N * 3, unit);
    gray_weighted_float(unit, N, GRAY_REC601, plane);
    for (int i = 0; i < 3 * W; i++) wide[i] = (double)plane[i];
    check_numbers("gray_601", wide, 3 * W, 2e-7);
    gray_weighted(noise, N, GRAY_REC709, plane);
    for (int i = 0; i < 3 * W; i++) wide[i] = (double)plane[i];
    check_numbers("gray_709", wide, 3 * W, 2e-7);

    uint8_t back[N * 3];
    bytes_from_unit_rounded(unit, N * 3, back);
    CHECK(memcmp(back, noise, N * 3) == 0);
    bytes_from_unit_cut((float[]){-1, NAN, 0.9999f, 2, 1}, 5, back);
    CHECK(back[0] == 0 && back[1] == 0 && back[2] == 254 && back[3] == 255 && back[4] == 255);
}

// ---- thresholds and percentiles

static void test_thresholds(void) {
    uint64_t histogram[256] = {0};
    histogram_add(gray, N, histogram);
    check_numbers("otsu_noise", (double[]){otsu_threshold(histogram)}, 1, 0);
    uint8_t two[N];
    for (int i = 0; i < N; i++) two[i] = gray[i] > 100 ? 200 : gray[i] > 50 ? 60 : 55;
    uint64_t peaks[256] = {0};
    histogram_add(two, N, peaks);
    check_numbers("otsu_two", (double[]){otsu_threshold(peaks)}, 1, 0);
    uint64_t none[256] = {0}, one[256] = {[77] = 5};
    CHECK(otsu_threshold(none) == 0 && otsu_threshold(one) == 77);

    static const double percents[7] = {0, 1, 25, 50, 73.3, 99, 100};
    float values[N];
    double got[7];
    for (int i = 0; i < N; i++) values[i] = (float)gray[i] / 7;
    for (int i = 0; i < 7; i++) CHECK_OK(percentile_linear(values, N, percents[i], &got[i]));
    check_numbers("percentiles_linear", got, 7, 4e-6);
    for (int i = 0; i < 7; i++) CHECK_OK(percentile_bytes(histogram, percents[i], &got[i]));
    check_numbers("percentiles_bytes", got, 7, 1e-9);

    float few[6] = {3, -INFINITY, -0.f, 1e-42f, -7, 0}, at;
    static const float sorted[6] = {-INFINITY, -7, 0, 0, 1e-42f, 3};
    for (int i = 0; i < 6; i++) {
        CHECK_OK(percentile_nearest(few, 6, i * 20, &at));
        CHECK(at == sorted[i]);
    }
    CHECK(nearest_rank(50, 2) == 0 && nearest_rank(50, 4) == 2); // halves to even
    double linear;
    CHECK_OK(percentile_linear((float[]){4}, 1, 30, &linear));
    CHECK(linear == 4);
    CHECK_OK(percentile_linear((float[]){4, NAN}, 2, 30, &linear));
    CHECK(linear != linear);
    CHECK_FAILS(percentile_nearest(few, 0, 5, &at), STATUS_INVALID, "no values");
    CHECK_FAILS(percentile_nearest(few, 6, 101, &at), STATUS_INVALID, "percentile 101");
    CHECK_FAILS(percentile_bytes(none, 5, &linear), STATUS_INVALID, "no values");
    CHECK_FAILS(percentile_nearest(few, 6, (double)NAN, &at), STATUS_INVALID, "nan");
}

// ---- morphology and components

typedef Status (*Morphology)(const uint8_t *, size_t, size_t, const Footprint *, Border, uint8_t *);
static const Morphology operations[4] = {mask_dilate, mask_erode, mask_close, mask_open};
static const char *const operation_names[4] = {"dilate", "erode", "close", "open"};

static void make_footprints(Footprint out[5]) {
    CHECK_OK(footprint_disk(2, &out[0]));
    CHECK_OK(footprint_disk(5, &out[1]));
    CHECK_OK(footprint_box(3, 1, &out[2]));
    CHECK_OK(footprint_diamond(1, &out[3]));
    CHECK_OK(footprint_ellipse(4, 3, &out[4]));
    CHECK(footprint_pixels(&out[0]) == 13 && footprint_pixels(&out[3]) == 5);
}

static void check_parts(const char *density, const uint8_t *mask) {
    for (int c = 4; c <= 8; c += 4) {
        char name[100];
        int32_t labels[N];
        Components components;
        CHECK_OK(components_find(mask, W, H, (Connectivity)c, labels, &components));
        uint64_t hash = 14695981039346656037u;
        for (int i = 0; i < N; i++) hash = fnv_step(hash, (uint32_t)labels[i]);
        snprintf(name, sizeof name, "label_%s_%d", density, c);
        check_hash(name, N, hash);
        double *parts = malloc((components.count * 7 + 1) * sizeof *parts), *p = parts;
        for (size_t i = 0; i < components.count; i++) {
            const Component *of = &components.of[i];
            *p++ = (double)of->area, *p++ = of->x0, *p++ = of->y0, *p++ = of->x1, *p++ = of->y1;
            *p++ = of->centre_x, *p++ = of->centre_y;
        }
        snprintf(name, sizeof name, "parts_%s_%d", density, c);
        check_numbers(name, parts, components.count * 7, 1e-9);
        free(parts);
        components_free(&components);
        uint8_t changed[N];
        memcpy(changed, mask, N);
        CHECK_OK(mask_remove_small(changed, W, H, 4, (Connectivity)c));
        snprintf(name, sizeof name, "remove_%s_%d", density, c);
        check_bytes(name, changed, N);
        memcpy(changed, mask, N);
        CHECK_OK(mask_fill_small(changed, W, H, 4, (Connectivity)c));
        snprintf(name, sizeof name, "fill_%s_%d", density, c);
        check_bytes(name, changed, N);
        memcpy(changed, mask, N);
        CHECK_OK(mask_fill_holes(changed, W, H, (Connectivity)c));
        snprintf(name, sizeof name, "holes_%s_%d", density, c);
        check_bytes(name, changed, N);
        memcpy(changed, mask, N);
        CHECK_OK(mask_keep_largest(changed, W, H, (Connectivity)c));
        CHECK_OK(components_find(changed, W, H, (Connectivity)c, NULL, &components));
        CHECK(components.count == 1);
        components_free(&components);
    }
}

static void test_masks(void) {
    static const char *const densities[3] = {"thin", "half", "thick"};
    static const char *const footprint_names[5] = {"disk2", "disk5", "box", "diamond", "ellipse"};
    static const int limits[3] = {20, 128, 235};
    Footprint footprints[5];
    make_footprints(footprints);
    for (int d = 0; d < 3; d++) {
        uint8_t mask[N], out[N];
        char name[100];
        mask_from_bytes(gray, N, MASK_BELOW, limits[d], mask);
        for (int f = 0; f < 5; f++)
            for (int o = 0; o < 4; o++)
                for (int b = 0; b < 2; b++) {
                    snprintf(name, sizeof name, "%s_%s_%s_%s", operation_names[o], densities[d], footprint_names[f],
                             b ? "reflect" : "ignore");
                    CHECK_OK(operations[o](mask, W, H, &footprints[f], b ? BORDER_REFLECT : BORDER_IGNORE, out));
                    check_bytes(name, out, N);
                }
        check_parts(densities[d], mask);
    }
}

static void test_mask_corners(void) {
    Footprint disk, large;
    CHECK_OK(footprint_disk(2, &disk));
    CHECK_OK(footprint_disk(FOOTPRINT_RADIUS, &large));
    CHECK_FAILS(footprint_disk(FOOTPRINT_RADIUS + 1, &disk), STATUS_INVALID, "radii are 0 to 128");
    CHECK_FAILS(footprint_box(-1, 2, &disk), STATUS_INVALID, "radius -1 x 2");
    static const Border all[4] = {BORDER_IGNORE, BORDER_REPLICATE, BORDER_REFLECT, BORDER_REFLECT_101};
    for (int b = 0; b < 4; b++)
        for (int o = 0; o < 4; o++)
            for (uint8_t v = 0; v < 2; v++) { // constant planes stay as they are, one pixel too
                uint8_t in[12], out[12];
                memset(in, v * 9, 12);
                CHECK_OK(operations[o](in, 1, 1, &large, all[b], out));
                CHECK(out[0] == v);
                CHECK_OK(operations[o](in, 4, 3, &large, all[b], out));
                CHECK(mask_count(out, 12) == 12u * v && out[0] == v && out[11] == v);
                CHECK_OK(operations[o](in, 0, 3, &disk, all[b], out));
                CHECK_OK(operations[o](NULL, 7, 0, &disk, all[b], NULL));
            }
    uint8_t pixel = 1;
    CHECK_FAILS(mask_dilate(&pixel, 1, 1, &disk, BORDER_IGNORE, &pixel), STATUS_INVALID, "in place");
    Components components;
    CHECK_OK(components_find(NULL, 0, 5, CONNECT_4, NULL, &components));
    CHECK(components.count == 0);
    components_free(&components);
    int32_t label = 5;
    CHECK_OK(components_find(&pixel, 1, 1, CONNECT_8, &label, &components));
    CHECK(components.count == 1 && label == 1 && components.of[0].area == 1 && components.of[0].centre_x == 0);
    components_free(&components);
    CHECK_FAILS(components_find(&pixel, 1 << 20, 1 << 12, CONNECT_8, NULL, &components), STATUS_UNSUPPORTED,
                "fewer than 2^31");
    CHECK_FAILS(components_find(&pixel, 1, 1, (Connectivity)6, NULL, &components), STATUS_INVALID, "4 or 8");
    CHECK_OK(mask_fill_holes(&pixel, 1, 1, CONNECT_4));
    CHECK_OK(mask_keep_largest(NULL, 0, 0, CONNECT_4));
    uint8_t rgb[6] = {1, 2, 3, 4, 5, 6};
    mask_apply((uint8_t[]){0, 1}, 2, 9, rgb);
    CHECK(rgb[0] == 9 && rgb[2] == 9 && rgb[3] == 4);
    uint8_t relation[3];
    mask_from_floats((float[]){1, NAN, 0.5f}, 3, MASK_AT_LEAST, 1, relation);
    CHECK(relation[0] == 1 && relation[1] == 0 && relation[2] == 0);
}

// ---- filters

static void check_floats(const char *name, const float *plane, double tolerance) {
    double seen[N];
    size_t n = 0;
    for (int y = 0; y < H; y += 5)
        for (int x = 0; x < W; x += 3) seen[n++] = (double)plane[y * W + x];
    check_numbers(name, seen, n, tolerance);
}

static void test_filters(void) {
    static const char *const names[4] = {"reflect", "reflect101", "replicate", "zero"};
    static const Border borders[4] = {BORDER_REFLECT, BORDER_REFLECT_101, BORDER_REPLICATE, BORDER_IGNORE};
    static const int radii[6] = {0, 1, 2, 3, 4, 9}, float_radii[3] = {0, 2, 30};
    static const double sigmas[4] = {0, 0.7, 1.4, 6}, float_sigmas[3] = {0.5, 1.4, 8};
    float unit[N], blurred[N];
    unit_from_bytes(gray, N, unit);
    for (int b = 0; b < 4; b++) {
        uint8_t out[N * 3];
        char name[100];
        for (int r = 0; r < 6; r++) {
            for (int s = 0; s < 4; s++) {
                if (!radii[r] && !s) continue;
                snprintf(name, sizeof name, "gaussian_bytes_%s_%d_%g", names[b], radii[r], sigmas[s]);
                CHECK_OK(gaussian_bytes(noise, W, H, 3, radii[r], sigmas[s], borders[b], out));
                check_bytes(name, out, N * 3);
            }
            snprintf(name, sizeof name, "box_bytes_%s_%d", names[b], radii[r]);
            CHECK_OK(box_bytes(noise, W, H, 3, radii[r], borders[b], out));
            check_bytes(name, out, N * 3);
        }
        for (int s = 0; s < 3; s++) {
            snprintf(name, sizeof name, "gaussian_floats_%s_%.1f", names[b], float_sigmas[s]);
            CHECK_OK(gaussian_floats(unit, W, H, 1, float_sigmas[s], borders[b], blurred));
            check_floats(name, blurred, 1e-6);
            snprintf(name, sizeof name, "box_floats_%s_%d", names[b], float_radii[s]);
            CHECK_OK(box_floats(unit, W, H, 1, float_radii[s], borders[b], blurred));
            check_floats(name, blurred, 1e-6);
        }
        // One pixel and constant planes: replicated and reflected borders keep the value.
        uint8_t flat[35], flat_out[35];
        float level[35], level_out[35];
        for (int i = 0; i < 35; i++) flat[i] = 201, level[i] = 0.3f;
        for (size_t w = 1; w <= 7; w += 6) {
            size_t h = w == 1 ? 1 : 5, wrong = 0;
            CHECK_OK(gaussian_bytes(flat, w, h, 1, 9, 3, borders[b], flat_out));
            CHECK_OK(gaussian_floats(level, w, h, 1, 5, borders[b], level_out));
            for (size_t i = 0; i < w * h; i++) wrong += flat_out[i] != 201 || fabsf(level_out[i] - 0.3f) > 1e-6f;
            CHECK(borders[b] == BORDER_IGNORE ? wrong == w * h : wrong == 0);
        }
        CHECK_OK(gaussian_bytes(NULL, 0, 9, 1, 3, 1, borders[b], flat_out));
        CHECK_OK(box_floats(NULL, 9, 0, 1, 3, borders[b], level_out));
    }
    double weights[4], both[7];
    gaussian_weights(1.4, 3, weights);
    for (int i = 0; i < 7; i++) both[i] = weights[abs(i - 3)];
    check_numbers("kernel_7_1.4", both, 7, 1e-11);
    static const double brief[4] = {0.28803, 0.22317, 0.10382, 0.02900}; // as the brief gives it
    for (int i = 0; i < 4; i++) CHECK_NEAR(weights[i], brief[i], 6e-6);
    CHECK_OK(gaussian_floats(unit, W, H, 1, 0, BORDER_REFLECT, blurred));
    CHECK(memcmp(unit, blurred, sizeof unit) == 0);
    CHECK_FAILS(gaussian_floats(unit, W, H, 1, -1, BORDER_REFLECT, blurred), STATUS_INVALID, "sigma -1");
    CHECK_FAILS(gaussian_floats(unit, W, H, 1, (double)NAN, BORDER_REFLECT, blurred), STATUS_INVALID, "nan");
    CHECK_FAILS(gaussian_floats(unit, W, H, 1, 1, BORDER_REFLECT, unit), STATUS_INVALID, "in place");
    CHECK_FAILS(box_floats(unit, W, H, 0, 1, BORDER_REFLECT, blurred), STATUS_INVALID, "0 channels");
    CHECK_FAILS(box_floats(unit, W, H, 1, -1, BORDER_REFLECT, blurred), STATUS_INVALID, "radius -1");
}

// ---- stains

static void test_eigen(void) {
    uint32_t seed = 5;
    double worst = 0, orthogonal = 0;
    for (int t = 0; t < 2000; t++) {
        double basis[3][3], m[3][3], values[3], v[3][3], size = 0;
        int rank = t % 4; // 0: nothing, 1, 2, 3; scales over the whole range of f64
        double scale = pow(10, t % 7 == 0 ? 140 : t % 7 == 1 ? -140 : 0);
        for (int i = 0; i < 9; i++) {
            uint8_t bytes[3];
            draw(bytes, 1, ++seed * 2654435761u | 1);
            basis[i / 3][i % 3] = (bytes[0] - 128) / 64.0 + (t % 5 == 0 ? 0 : bytes[1] * 1e-9);
        }
        for (int r = 0; r < 3; r++)
            for (int c = 0; c < 3; c++) {
                m[r][c] = t % 8 == 7 && r == c ? scale : 0; // repeated ones
                for (int k = 0; k < rank && t % 8 != 7; k++)
                    m[r][c] += scale * basis[k][r] * basis[k][c] * (k == 1 ? 1e-9 : 1);
                size = fmax(size, fabs(m[r][c]));
            }
        symmetric_eigen3(m, values, v);
        CHECK(values[0] <= values[1] && values[1] <= values[2]);
        for (int k = 0; k < 3; k++)
            for (int r = 0; r < 3; r++) {
                double residual = -values[k] * v[r][k], dot = 0;
                for (int c = 0; c < 3; c++) residual += m[r][c] * v[c][k], dot += v[c][k] * v[c][r];
                if (size > 0) worst = fmax(worst, fabs(residual) / size);
                orthogonal = fmax(orthogonal, fabs(dot - (k == r)));
            }
    }
    CHECK(worst < 1e-14 && orthogonal < 1e-14);
    if (getenv("CHECK_VERBOSE")) printf("    eigen: residual %g, orthogonality %g\n", worst, orthogonal);
}

static void check_fit(const char *name, const uint8_t *rgb, size_t pixels, StainProfile *profile) {
    char text[100];
    if (!CHECK_OK(stain_fit(rgb, pixels, profile))) return;
    snprintf(text, sizeof text, "he_%s", name);
    check_numbers(text, &profile->he[0][0], 6, 1e-3); // torchstain, whose f32 sums run over all pixels
    snprintf(text, sizeof text, "maxc_%s", name);
    check_numbers(text, profile->max_c, 2, 3e-3);
    snprintf(text, sizeof text, "he64_%s", name);
    check_numbers(text, &profile->he[0][0], 6, 5e-7); // the same formulas in f64
    snprintf(text, sizeof text, "maxc64_%s", name);
    check_numbers(text, profile->max_c, 2, 2e-6);
}

static void test_stains(void) {
    enum { SOURCE = 83 * 61, TARGET = 70 * 40 };
    uint8_t *source = draw_stained(83, 61, 3), *target = draw_stained(70, 40, 11);
    for (size_t i = 0; i < TARGET; i++)
        for (int c = 0; c < 3; c++) target[3 * i + (size_t)c] = clip(target[3 * i + (size_t)c] - (int[]){10, 25, 5}[c]);
    StainProfile own, reference;
    check_fit("source", source, SOURCE, &own);
    check_fit("target", target, TARGET, &reference);
    CHECK(own.pixels == SOURCE && own.stained > 0 && own.stained < SOURCE);

    size_t n = 0, off = 0, far = 0;
    double *expected = reference_numbers("normalised", &n);
    uint8_t *out = malloc(SOURCE * 3);
    stain_transform(source, SOURCE, &own, &reference, out);
    CHECK(n == SOURCE * 3);
    for (size_t i = 0; i < n && i < SOURCE * 3; i++) {
        off += out[i] != expected[i];
        far += fabs(out[i] - expected[i]) > 1;
    }
    CHECK(far == 0 && off * 200 < n); // cut at the border of a level in f32 or f64
    if (getenv("CHECK_VERBOSE")) printf("    normalised: %zu of %zu differ by one level\n", off, n);
    free(expected);
    stain_transform(source, SOURCE, &own, &reference, source); // in place
    CHECK(memcmp(source, out, SOURCE * 3) == 0);

    float *concentrations = malloc(TARGET * 2 * sizeof *concentrations), at;
    stain_concentrations(target, TARGET, &reference, concentrations);
    for (size_t i = 0; i < TARGET; i++) concentrations[i] = concentrations[2 * i];
    CHECK_OK(percentile_nearest(concentrations, TARGET, 99, &at));
    CHECK_NEAR((double)at, reference.max_c[0], 1e-6);
    free(concentrations);

    // Nothing stained, one colour, one pixel, none.
    memset(out, 250, SOURCE * 3);
    CHECK_FAILS(stain_fit(out, SOURCE, &own), STATUS_INVALID, "0 of 5063 pixels are stained");
    memset(out, 100, SOURCE * 3);
    CHECK_FAILS(stain_fit(out, SOURCE, &own), STATUS_INVALID, "one colour");
    CHECK_FAILS(stain_fit(out, 1, &own), STATUS_INVALID, "1 of 1 pixels");
    CHECK_FAILS(stain_fit(out, 0, &own), STATUS_INVALID, "0 of 0 pixels");
    for (size_t i = 0; i < SOURCE * 3; i++) out[i] = i < 30 ? 90 : 100; // two greys: one stain
    CHECK_FAILS(stain_fit(out, SOURCE, &own), STATUS_INVALID, "one stain");
    memset(out, 0, 3 * SOURCE); // black and deep red: no crash whatever comes
    for (size_t i = 0; i < SOURCE; i += 2) out[3 * i] = 200;
    status_drop(stain_fit(out, SOURCE, &own));
    reference = stain_published_reference();
    CHECK_NEAR(reference.max_c[0], 1.9705, 0);
    free(out);
    free(source);
    free(target);
}

static uint8_t *read_region(const char *path, size_t x, size_t y, size_t w, size_t h) {
    ImageFile *image = NULL;
    uint8_t *rgb = malloc(w * h * 3);
    if (CHECK_OK(image_open(path, &image))) CHECK_OK(image_read_region(image, x, y, w, h, rgb));
    image_close(image);
    return rgb;
}

static void test_real_stains(const char *data) {
    static const size_t corners[3][2] = {{4600, 4600}, {2600, 5200}, {5600, 3300}};
    StainProfile profiles[3] = {0}, own = {0};
    const char *c2 = made_below(data, "her2st/images/C2.jpg");
    for (int i = 0; i < 3; i++) {
        char name[20];
        snprintf(name, sizeof name, "c2_%d", i);
        uint8_t *rgb = read_region(c2, corners[i][0], corners[i][1], 512, 512);
        check_fit(name, rgb, 512 * 512, &profiles[i]);
        free(rgb);
    }
    enum { PIXELS = 400 * 300 };
    uint8_t *rgb = read_region(made_below(data, "tiff/cmu1_reference_x960_y1200_400x300.png"), 0, 0, 400, 300);
    check_fit("cmu1", rgb, PIXELS, &own);
    stain_transform(rgb, PIXELS, &own, &profiles[0], rgb);
    double mean[3] = {0}, every[15 * 20 * 3];
    size_t n = 0;
    for (size_t i = 0; i < PIXELS; i++)
        for (int c = 0; c < 3; c++) mean[c] += (double)rgb[3 * i + (size_t)c] / PIXELS;
    for (size_t y = 0; y < 300; y += 20)
        for (size_t x = 0; x < 400; x += 20)
            for (size_t c = 0; c < 3; c++) every[n++] = rgb[(y * 400 + x) * 3 + c];
    check_numbers("normalised_cmu1_every", every, n, 1);
    check_numbers("normalised_cmu1_mean", mean, 3, 0.02);
    free(rgb);
}

// ---- rooms

static void test_generator(void) {
    static const uint32_t bounds[10] = {1744, 1718, 5, 1, 256, 257, 3, 1000000, 2, 1744};
    Mt19937 generator;
    double drawn[10];
    mt19937_seed(&generator, 46);
    for (int i = 0; i < 10; i++) drawn[i] = mt19937_below(&generator, bounds[i]);
    check_numbers("randint", drawn, 10, 0);
}

static void test_background(const Picture *slide) {
    static const char *const names[4] = {"0.85", "0.90", "0.60", "mean"};
    static const double thresholds[4] = {0.85, 0.90, 0.60, (double)NAN};
    size_t pixels = slide->width * slide->height;
    float *plane = malloc(pixels * sizeof *plane);
    uint8_t *mask = malloc(pixels);
    gray_weighted(slide->rgb, pixels, GRAY_REC709, plane);
    for (int i = 0; i < 4; i++) {
        char name[100];
        CHECK_OK(background_mask(plane, slide->width, slide->height, thresholds[i], mask));
        snprintf(name, sizeof name, "background_%s", names[i]);
        check_bytes(name, mask, pixels);
        snprintf(name, sizeof name, "background_count_%s", names[i]);
        check_numbers(name, (double[]){(double)mask_count(mask, pixels)}, 1, 0);
    }
    CHECK_OK(background_mask(NULL, 0, 3, 0.5, NULL));
    uint8_t one;
    CHECK_OK(background_mask((float[]){0.2f}, 1, 1, (double)NAN, &one));
    CHECK(one == 1);
    CHECK(background_threshold_hevisum(1) == 0.90 && background_threshold_hevisum(7) == 0.85);
    CHECK(isnan(background_threshold_hevisum(8)));
    free(plane);
    free(mask);
}

static void test_reference_patches(const Picture *slide) {
    size_t pixels = slide->width * slide->height, n = 0;
    float *mean = malloc(pixels * sizeof *mean);
    gray_weighted(slide->rgb, pixels, GRAY_AVERAGE, mean);
    PatchRule rule = patch_rule_hevisum();
    CHECK(rule.seed == 46 && rule.side == 256 && rule.patches == 5 && rule.tries == 250 && rule.tissue == 0.6);
    rule.side = 48;
    int64_t corners[10];
    int count = 0;
    CHECK_OK(stain_patches(mean, slide->width, slide->height, &rule, corners, &count));
    double *expected = reference_numbers("patches", &n);
    CHECK(n == 2 * (size_t)count && count == 5);
    Picture mosaic;
    CHECK_OK(picture_create(48 * 5, 48, 1 << 20, &mosaic));
    for (int i = 0; i < count; i++) {
        CHECK(expected[2 * i] == (double)corners[2 * i] && expected[2 * i + 1] == (double)corners[2 * i + 1]);
        CHECK_OK(copy_patch(slide, corners[2 * i], corners[2 * i + 1], 48, &mosaic, 48 * (size_t)i, 0));
    }
    CHECK_FAILS(copy_patch(slide, -1, 0, 48, &mosaic, 0, 0), STATUS_INVALID, "leaves one of them");
    CHECK_FAILS(copy_patch(slide, 0, 0, 48, &mosaic, 200, 0), STATUS_INVALID, "leaves one of them");
    StainProfile profile;
    check_fit("mosaic", mosaic.rgb, mosaic.width * mosaic.height, &profile);
    rule.tissue = 1.1;
    CHECK_OK(stain_patches(mean, slide->width, slide->height, &rule, corners, &count));
    CHECK(count == 0);
    rule.side = 5000;
    CHECK_FAILS(stain_patches(mean, slide->width, slide->height, &rule, corners, &count), STATUS_INVALID,
                "must be larger");
    picture_free(&mosaic);
    free(expected);
    free(mean);
}

static void test_spots(const Picture *slide) {
    size_t pixels = slide->width * slide->height, count = 0, n = 0, invalid = 0, expected_invalid = 0;
    float *plane = malloc(pixels * sizeof *plane);
    gray_weighted(slide->rgb, pixels, GRAY_REC601, plane);
    int64_t spots[2000];
    uint8_t valid[1000];
    for (int64_t y = 5; y < (int64_t)slide->height + 20; y += 45)
        for (int64_t x = 3; x < (int64_t)slide->width + 20; x += 45) spots[2 * count] = x, spots[2 * count++ + 1] = y;
    CHECK_OK(spot_validity(plane, slide->width, slide->height, spots, count, valid, &invalid));
    double *expected = reference_numbers("valid", &n);
    CHECK(n == count);
    size_t wrong = 0;
    for (size_t i = 0; i < count && i < n; i++) {
        wrong += valid[i] != expected[i];
        expected_invalid += expected[i] == 0;
    }
    CHECK(wrong == 0 && invalid == expected_invalid && invalid > 0 && invalid < count);
    free(expected);
    for (size_t i = 0; i < pixels; i++) plane[i] = 0.5f;
    CHECK_OK(spot_validity(plane, slide->width, slide->height, spots, count, valid, &invalid));
    CHECK(invalid == count);
    CHECK_OK(spot_validity(NULL, 0, 0, spots, 1, valid, NULL));
    CHECK(!valid[0]);
    free(plane);

    int dx, dy;
    spot_shift_hevisum(1, &dx, &dy); // S_1 row 0 of the published tables
    CHECK(1554 + dx == 1499 && 1297 + dy == 1237);
    spot_shift_hevisum(7, &dx, &dy);
    CHECK(dx == 0 && dy == 0);

    double pitch, grid[200], brute = 0;
    for (size_t i = 0; i < 100; i++) {
        grid[2 * i] = (double)(i % 10) * 26 + (double)(noise[i] % 7);
        grid[2 * i + 1] = (double)(i / 10) * 26 + (double)(noise[i + 100] % 7);
    }
    for (size_t i = 0; i < 100; i++) {
        double best = INFINITY;
        for (size_t k = 0; k < 100; k++)
            if (k != i) best = fmin(best, hypot(grid[2 * i] - grid[2 * k], grid[2 * i + 1] - grid[2 * k + 1]));
        brute += best / 100;
    }
    CHECK_OK(spot_pitch(grid, 100, &pitch));
    CHECK_NEAR(pitch, brute, 1e-10);
    CHECK_OK(spot_pitch(grid, 1, &pitch));
    CHECK(isnan(pitch));
    CHECK_FAILS(spot_pitch((double[]){1, 2, (double)NAN, 3}, 2, &pitch), STATUS_INVALID, "spot 1 of 2");
    CHECK(tile_side((double[]){25.90, 25.91, 25.20, 25.02, 25.01, 25.24, 25.01}, 7) == 78);
    CHECK(tile_side((double[]){(double)NAN}, 1) == 0);
    float scaled[6];
    spot_positions_scaled((double[]){10, 5, 20, 5, 12, 5}, 3, scaled);
    CHECK(scaled[0] == -1 && scaled[2] == 1 && scaled[1] == -1);
    CHECK_NEAR((double)scaled[4], -0.6, 1e-7);

    float row[5] = {0.3f, 0.1f, 0.3f, 9, -1}, ranks[5];
    ordinal_ranks(row, 1, 5, ranks);
    CHECK(ranks[0] == 3 && ranks[1] == 2 && ranks[2] == 4 && ranks[3] == 5 && ranks[4] == 1);
}

static void test_tiles(const Picture *slide) {
    uint8_t *tile = malloc(78 * 78 * 3), *part = malloc(26 * 26 * 3);
    CHECK(!cut_tile(slide, 200, 300, 78, tile));
    check_bytes("tile_inside", tile, 78 * 78 * 3);
    cut_subtile(tile, 26, 5, part);
    check_bytes("subtile_5", part, 26 * 26 * 3);
    CHECK(cut_tile(slide, (long long)slide->width - 1, 0, 78, tile));
    check_bytes("tile_corner", tile, 78 * 78 * 3);
    free(tile);
    free(part);
}

static void test_tissue(const Picture *slide) {
    size_t pixels = slide->width * slide->height;
    uint8_t *mask = malloc(pixels);
    int threshold;
    CHECK_OK(tissue_mask(slide->rgb, slide->width, slide->height, 2, 200, mask, &threshold));
    double share = (double)mask_count(mask, pixels) / (double)pixels;
    CHECK(share > 0.15 && share < 0.19 && threshold > 20 && threshold < 80); // looked at once
    if (getenv("DUMP_MASK")) {
        uint8_t *shown = malloc(pixels * 3 + 100);
        int head = sprintf((char *)shown, "P6 %zu %zu 255\n", slide->width, slide->height);
        memcpy(shown + head, slide->rgb, pixels * 3);
        mask_apply(mask, pixels, 0, shown + head);
        made_file(getenv("DUMP_MASK"), shown, pixels * 3 + (size_t)head);
        free(shown);
    }
    double whole = tissue_fraction(mask, slide->width, slide->height, 0, 0, slide->width, slide->height);
    CHECK_NEAR(whole, share, 1e-12);
    free(mask);
    static const uint8_t small[12] = {1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1};
    CHECK(tissue_fraction(small, 4, 3, 0, 0, 2, 2) == 1 && tissue_fraction(small, 4, 3, -1, -1, 2, 2) == 0.25);
    CHECK(tissue_fraction(small, 4, 3, 3, 2, 10, 10) == 0.01 && tissue_fraction(small, 4, 3, 4, 0, 3, 3) == 0);
    CHECK(tissue_fraction(small, 4, 3, 0, 0, 0, 5) == 0 && tissue_fraction(NULL, 0, 0, 0, 0, 5, 5) == 0);
    CHECK(tissue_fraction(small, 4, 3, INT64_MIN, INT64_MAX, 5, 5) == 0);
    double shares[3];
    tissue_fractions(small, 4, 3, (double[]){1.7, 1.2, (double)NAN, 0, 1e300, 0}, 3, 2, shares);
    CHECK(shares[0] == 1 && shares[1] == 0 && shares[2] == 0);
    uint8_t one = 7;
    CHECK_OK(tissue_mask((uint8_t[]){200, 10, 10}, 1, 1, 2, 0, &one, NULL));
    CHECK(one == 0);
    CHECK_OK(tissue_mask(NULL, 0, 0, 2, 0, NULL, NULL));
}

int main(int argc, char **argv) {
    const char *reference = argc > 1 ? argv[1] : "tests/data/reference",
               *data = argc > 2 ? argv[2] : getenv("STMC_DATA");
    size_t size;
    Picture slide = {0};
    made_begin();
    draw(noise, N, 7);
    for (int i = 0; i < N; i++) gray[i] = noise[3 * i];
    if (CHECK_OK(file_read(made_below(reference, "histology.txt"), 1 << 24, &reference_text, &size)) &&
        CHECK_OK(image_load(made_below(reference, "histology_c2.png"), 1 << 24, &slide))) {
        test_colours();
        test_thresholds();
        test_masks();
        test_mask_corners();
        test_filters();
        test_eigen();
        test_stains();
        test_generator();
        test_background(&slide);
        test_reference_patches(&slide);
        test_spots(&slide);
        test_tiles(&slide);
        test_tissue(&slide);
        char probe[1024];
        snprintf(probe, sizeof probe, "%s/her2st/images/C2.jpg", data ? data : "");
        if (data && file_exists(probe)) test_real_stains(data);
        else printf("real stains not compared: no her2st sample (give its directory or STMC_DATA)\n");
    }
    picture_free(&slide);
    free(reference_text);
    made_end();
    return check_report("histology");
}
