// Scaling and JPEG encoding against recorded Pillow results: whole pictures and boxes, every filter, quality and
// subsampling (tests/data/reference/images/{resample,jpeg}.csv, made by reference_images.py).
#include "../../runtime/data/jpeg_write.h"
#include "../../runtime/data/resample.h"
#include "made.h"

static uint64_t fnv(const uint8_t *data, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

static void test_resample(void) {
    static const char *const names[] = {"box", "bilinear", "bicubic", "lanczos"};
    FILE *file = fopen("tests/data/reference/images/resample.csv", "r");
    if (!CHECK(file != NULL)) return;
    char line[512], name[32];
    size_t lines = 0, w, h, ow, oh;
    double x0, y0, x1, y1;
    unsigned long long hash;
    while (fgets(line, sizeof line, file)) {
        if (!CHECK(sscanf(line, "%31[^;];%zu;%zu;%zu;%zu;%lf;%lf;%lf;%lf;%llx", name, &w, &h, &ow, &oh, &x0, &y0, &x1,
                          &y1, &hash) == 10))
            break;
        ResampleFilter filter = RESAMPLE_BOX;
        while (filter < RESAMPLE_LANCZOS && strcmp(names[filter], name) != 0) filter++;
        if (!CHECK(w && h)) break;
        // Rows with a gap between them, and nothing readable behind the last pixel.
        size_t stride = w * 3 + 5;
        uint8_t *rgb = made_pixels(w, h), *apart = malloc(stride * (h - 1) + w * 3), *out = malloc(ow * oh * 3);
        for (size_t y = 0; y < h; y++) memcpy(apart + y * stride, rgb + y * w * 3, w * 3);
        Resampler *resampler = NULL;
        ResampleBox box = {(float)x0, (float)y0, (float)x1, (float)y1};
        if (CHECK_OK(resampler_create(w, h, &box, ow, oh, filter, &resampler))) {
            for (int twice = 0; twice < 2; twice++) {
                resampler_run(resampler, apart, stride, out);
                if (!CHECK(fnv(out, ow * oh * 3) == hash)) printf("    %s", line);
            }
        }
        bool whole = x0 == 0 && y0 == 0 && x1 == (double)w && y1 == (double)h;
        Picture in = {w, h, rgb}, scaled = {0};
        if (whole && CHECK_OK(resample_picture(&in, ow, oh, filter, &scaled)))
            CHECK(fnv(scaled.rgb, ow * oh * 3) == hash);
        picture_free(&scaled);
        resampler_free(resampler);
        free(rgb);
        free(apart);
        free(out);
        lines++;
    }
    fclose(file);
    CHECK(lines >= 200);
    Resampler *resampler = NULL;
    ResampleBox outside = {0, 0, 11, 5}, empty = {3, 3, 3, 4};
    CHECK_FAILS(resampler_create(10, 10, &outside, 5, 5, RESAMPLE_BOX, &resampler), STATUS_INVALID, "does not lie in");
    CHECK_FAILS(resampler_create(10, 10, &empty, 5, 5, RESAMPLE_BOX, &resampler), STATUS_INVALID, "does not lie in");
    CHECK_FAILS(resampler_create(10, 0, NULL, 5, 5, RESAMPLE_BOX, &resampler), STATUS_INVALID, "10 x 0 pixels to 5");
}

static void test_jpeg(void) {
    FILE *file = fopen("tests/data/reference/images/jpeg.csv", "r");
    if (!CHECK(file != NULL)) return;
    char line[256];
    size_t lines = 0, w, h, size;
    int quality, sampling;
    unsigned long long hash;
    while (fgets(line, sizeof line, file)) {
        if (!CHECK(sscanf(line, "%zu;%zu;%d;%d;%zu;%llx", &w, &h, &quality, &sampling, &size, &hash) == 6)) break;
        JpegWriter *writer = NULL;
        uint8_t *rgb = made_pixels(w, h);
        if (CHECK_OK(jpeg_writer_create(quality, (JpegSampling)sampling, &writer))) {
            for (int twice = 0; twice < 2; twice++) {
                const uint8_t *data = NULL;
                size_t got = 0;
                CHECK_OK(jpeg_writer_encode(writer, rgb, w, h, w * 3, &data, &got));
                if (!CHECK(got == size && fnv(data, got) == hash)) printf("    %s", line);
            }
        }
        jpeg_writer_free(writer);
        const char *path = made_path("a.jpg");
        char *data = NULL;
        size_t got = 0;
        CHECK_OK(jpeg_write_rgb(path, w, h, rgb, quality, (JpegSampling)sampling));
        CHECK_OK(file_read(path, 1 << 24, &data, &got));
        CHECK(got == size && fnv((const uint8_t *)data, got) == hash);
        free(data);
        free(rgb);
        lines++;
    }
    fclose(file);
    CHECK(lines == 90);
    JpegWriter *writer = NULL;
    const uint8_t *data = NULL;
    size_t size_out = 0;
    CHECK_FAILS(jpeg_writer_create(0, JPEG_420, &writer), STATUS_INVALID, "from 1 to 100");
    CHECK_FAILS(jpeg_writer_create(101, JPEG_420, &writer), STATUS_INVALID, "from 1 to 100");
    CHECK_FAILS(jpeg_writer_create(75, (JpegSampling)7, &writer), STATUS_INVALID, "subsampling 7");
    CHECK_OK(jpeg_writer_create(75, JPEG_420, &writer));
    CHECK_FAILS(jpeg_writer_encode(writer, NULL, 65501, 1, 0, &data, &size_out), STATUS_INVALID, "65501 x 1");
    CHECK_FAILS(jpeg_writer_encode(writer, NULL, 0, 1, 0, &data, &size_out), STATUS_INVALID, "0 x 1");
    jpeg_writer_free(writer);
    uint8_t pixel[3] = {1, 2, 3};
    CHECK_FAILS(jpeg_write_rgb("/dev/full", 1, 1, pixel, 75, JPEG_420), STATUS_IO, "/dev/full");
}

int main(void) {
    made_begin();
    test_resample();
    test_jpeg();
    made_end();
    return check_report("resample");
}
