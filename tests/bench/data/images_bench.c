// images_bench: our side of images_bench.py. Reads "x y" lines (top left corners, level 0) from a file and prints the
// seconds that the work took and a sum over all bytes, which must equal the other side's.
//
//     images_bench regions SLIDE POINTS SIDE THREADS
//     images_bench crops SLIDE POINTS SIDE OUT_SIDE THREADS DIRECTORY
#include <pthread.h>
#include <stdatomic.h>
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

// The regions of one thread: those that no thread has begun, in runs of eight.
typedef struct Regions {
    const char *path;
    const CropSpot *spots;
    size_t count, side, cache_bytes;
    atomic_size_t *next;
    double pause; // seconds spent on the sum, which is no part of the work
    unsigned long long sum;
    Status status;
} Regions;

static void *read_regions(void *context) {
    Regions *work = context;
    size_t side = work->side, run = 8;
    SlideOptions options = {.cache_bytes = work->cache_bytes};
    Slide *slide = NULL;
    uint8_t *rgb = malloc(side * side * 3);
    if (!rgb) exit(1);
    work->status = slide_open(work->path, &options, &slide);
    for (size_t i = atomic_fetch_add(work->next, run); i < work->count; i = atomic_fetch_add(work->next, run)) {
        for (size_t k = i; k < i + run && k < work->count && work->status == STATUS_OK; k++) {
            work->status = slide_read(slide, 0, work->spots[k].x, work->spots[k].y, side, side, SLIDE_WHITE, rgb);
            double pause = clock_seconds();
            for (size_t b = 0; b < side * side * 3; b++) work->sum += rgb[b];
            work->pause += clock_seconds() - pause;
        }
    }
    slide_close(slide);
    free(rgb);
    return NULL;
}

// Each thread has its slide and its part of the cache. Several threads pause for their sums side by side, so the mean
// of their pauses is taken off.
static int regions(const char *path, const CropSpot *spots, size_t count, size_t side, size_t threads) {
    enum { MOST = 64 };
    Regions work[MOST];
    pthread_t ids[MOST];
    atomic_size_t next = 0;
    unsigned long long sum = 0;
    double pause = 0;
    if (threads < 1 || threads > MOST) return 2;
    double begin = clock_seconds();
    for (size_t t = 0; t < threads; t++)
        work[t] = (Regions){path, spots, count, side, ((size_t)128 << 20) / threads, &next, 0, 0, STATUS_OK};
    for (size_t t = 1; t < threads; t++)
        if (pthread_create(&ids[t], NULL, read_regions, &work[t]) != 0) return 1;
    read_regions(&work[0]);
    for (size_t t = 1; t < threads; t++) pthread_join(ids[t], NULL);
    double seconds = clock_seconds() - begin;
    for (size_t t = 0; t < threads; t++) {
        if (work[t].status != STATUS_OK) return fail(work[t].status);
        sum += work[t].sum;
        pause += work[t].pause / (double)threads;
    }
    printf("%.6f %llu\n", seconds - pause, sum);
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
    if (argc != 6 && argc != 8) {
        fprintf(stderr, "usage: images_bench regions|crops SLIDE POINTS SIDE [OUT_SIDE] THREADS [DIRECTORY]\n");
        return 2;
    }
    CropSpot *spots = read_points(argv[3], &count);
    size_t side = strtoul(argv[4], NULL, 10);
    int result = argc == 6 ? regions(argv[2], spots, count, side, strtoul(argv[5], NULL, 10))
                           : crops(argv[2], spots, count, side, strtoul(argv[5], NULL, 10), atoi(argv[6]), argv[7]);
    free(spots);
    return result;
}
