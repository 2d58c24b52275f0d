// images_bench: our side of images_bench.py. Reads "x y" lines (top left corners, level 0) from a file and prints the
// seconds that the work took and a sum over all bytes, which must equal the other side's.
//
//     images_bench regions SLIDE POINTS SIDE
//     images_bench crops SLIDE POINTS SIDE OUT_SIDE THREADS DIRECTORY
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../runtime/core/clock.h"
#include "../../../runtime/data/crop.h"

static int fail(Status status) {
    fprintf(stderr, "images_bench: %s\n", status_message(status));
    status_drop(status);
    return 1;
}

static CropSpot *read_points(const char *path, size_t *out_count) {
    FILE *file = fopen(path, "r");
    CropSpot *spots = NULL;
    long long x, y;
    *out_count = 0;
    while (file && fscanf(file, "%lld %lld", &x, &y) == 2) {
        if ((*out_count & (*out_count - 1)) == 0) spots = realloc(spots, (*out_count * 2 + 1) * sizeof *spots);
        if (!spots) exit(1);
        spots[(*out_count)++] = (CropSpot){x, y};
    }
    if (file) fclose(file);
    return spots;
}

static int regions(const char *path, const CropSpot *spots, size_t count, size_t side) {
    uint8_t *rgb = malloc(side * side * 3);
    Slide *slide = NULL;
    unsigned long long sum = 0;
    double seconds = 0;
    if (!rgb) return 1;
    double begin = clock_seconds();
    Status status = slide_open(path, NULL, &slide);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = slide_read(slide, 0, spots[i].x, spots[i].y, side, side, SLIDE_WHITE, rgb);
        double pause = clock_seconds(); // the sum is no part of the work
        for (size_t k = 0; k < side * side * 3; k++) sum += rgb[k];
        begin += clock_seconds() - pause;
    }
    seconds = clock_seconds() - begin;
    slide_close(slide);
    free(rgb);
    if (status != STATUS_OK) return fail(status);
    printf("%.6f %llu\n", seconds, sum);
    return 0;
}

static int crops(const char *path, const CropSpot *spots, size_t count, size_t side, size_t out, int threads,
                 const char *directory) {
    char **paths = calloc(count, sizeof *paths);
    if (!paths) return 1;
    for (size_t i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%zu.jpg", directory, i);
        paths[i] = strdup(name);
    }
    double begin = clock_seconds();
    Pool *pool = NULL;
    CropRequest request = {.path = path,
                           .width = side,
                           .height = side,
                           .border = SLIDE_WHITE,
                           .out_width = out,
                           .out_height = out,
                           .filter = RESAMPLE_BILINEAR,
                           .paths = (const char *const *)paths};
    Status status = pool_new(threads, &pool);
    if (status == STATUS_OK) status = crop_spots(&request, spots, count, pool);
    pool_free(pool);
    double seconds = clock_seconds() - begin;
    for (size_t i = 0; i < count; i++) free(paths[i]);
    free(paths);
    if (status != STATUS_OK) return fail(status);
    printf("%.6f 0\n", seconds);
    return 0;
}

int main(int argc, char **argv) {
    size_t count = 0;
    if (argc != 5 && argc != 8) {
        fprintf(stderr, "usage: images_bench regions|crops SLIDE POINTS SIDE [OUT_SIDE THREADS DIRECTORY]\n");
        return 2;
    }
    CropSpot *spots = read_points(argv[3], &count);
    size_t side = strtoul(argv[4], NULL, 10);
    int result = argc == 5 ? regions(argv[2], spots, count, side)
                           : crops(argv[2], spots, count, side, strtoul(argv[5], NULL, 10), atoi(argv[6]), argv[7]);
    free(spots);
    return result;
}
