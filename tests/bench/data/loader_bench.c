// loader_bench: how fast the training loop gets its tiles, and how long it waits for them.
//
//     loader_bench [DATA [TILES [ROUNDS]]]
//
// DATA: a directory with her2st/images/C2.jpg, whose middle the tiles are cut from ("-" or not there: made texture).
// TILES of 224 x 224 pixels (5,000), read in random order in batches of 256 from stores that keep them as pixels,
// deflated and as JPEG; ROUNDS (5) of each, turn by turn. Prints, smallest / median / largest:
//   reading   tiles/s with nothing else to do, 1 and 2 threads, and processor time for a tile (all threads together;
//             the machine may be busy with other things, which this does not count); cold: after the system was asked
//             to forget the file (what lies below may still remember it); chunks: the same pixels in HDF5's chunks with
//             Fletcher-32 checksums read by HDF5, which is how stores of versions 1 and 2 keep them
//   training  steps of 256 tiles that take 128 ms (2,000 tiles/s) of two threads: "cpu" computes on both cores, where
//             reading costs its share of them, "device" waits as for a GPU. Given is the share of the time spent in
//             loader_next, and the tiles/s, both from the second batch on; the wait for the first batch comes once in a
//             pass over the data and stands behind
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <time.h>

#include "../../../runtime/core/clock.h"
#include "../../../runtime/core/pool.h"
#include "../../../runtime/core/random.h"
#include "../../../runtime/data/h5.h"
#include "../../../runtime/data/slide.h"
#include "../../../runtime/train/loader.h"
#include "../../data/made_store.h"

enum { SIDE = 224, BATCH = 256, PART = 4096, MOST_ROUNDS = 64, KINDS = 4, TASKS = 128, PARTS = 32 };

static const struct {
    const char *name;
    int deflate, jpeg;
} kinds[KINDS] = {{"plain", 0, 0}, {"deflate 1", 1, 0}, {"jpeg 75", 0, 75}, {"jpeg 90", 0, 90}};

static void stop_on(Status status) {
    if (status == STATUS_OK) return;
    fprintf(stderr, "loader_bench: %s\n", status_message(status));
    made_end();
    exit(1);
}

// ---- The stores ---------------------------------------------------------------------------------

static void cut(void *context, uint32_t section, size_t first, size_t count, uint8_t *tiles) {
    const Picture *part = context;
    for (size_t i = 0; i < count; i++) {
        RandomStream random = random_stream(section, (uint32_t)(first + i));
        uint8_t *to = tiles + i * SIDE * SIDE * 3;
        if (!part->rgb) {
            made_tile(section, (uint32_t)(first + i), SIDE, to);
            continue;
        }
        size_t x = random_below(&random, part->width - SIDE), y = random_below(&random, part->height - SIDE);
        for (size_t r = 0; r < SIDE; r++)
            memcpy(to + r * SIDE * 3, part->rgb + ((y + r) * part->width + x) * 3, SIDE * 3);
    }
}

// The middle of a real slide, if there is one.
static Picture slide_part(const char *data) {
    char path[4096];
    Picture part = {0};
    Slide *slide = NULL;
    snprintf(path, sizeof path, "%s/her2st/images/C2.jpg", data);
    if (strcmp(data, "-") == 0 || !file_exists(path)) return part;
    stop_on(slide_open(path, NULL, &slide));
    SlideInfo info = slide_info(slide);
    stop_on(picture_create(PART, PART, (size_t)1 << 30, &part));
    stop_on(slide_read(slide, 0, ((int64_t)info.width - PART) / 2, ((int64_t)info.height - PART) / 2, PART, PART,
                       SLIDE_WHITE, part.rgb));
    slide_close(slide);
    return part;
}

static void chunks_path(char path[600]) {
    snprintf(path, 600, "%s", made_path("chunks.h5"));
}

static void write_chunks(Picture *part, size_t tiles) {
    char path[600];
    H5Output output;
    hid_t dataset = -1;
    hsize_t dims[4] = {tiles, SIDE, SIDE, 3}, chunk[4] = {1, SIDE, SIDE, 3};
    uint8_t *tile = malloc(SIDE * SIDE * 3);
    if (!tile) exit(1);
    chunks_path(path);
    stop_on(h5_output_create(path, path, true, &output));
    stop_on(h5_dataset_create(path, output.file, "tiles", H5T_STD_U8LE, 4, dims,
                              (H5Layout){.chunk = chunk, .checksum = true}, &dataset));
    for (size_t i = 0; i < tiles; i++) {
        cut(part, 0, i, 1, tile);
        stop_on(h5_write_rows(path, "tiles", dataset, H5T_NATIVE_UINT8, i, 1, tile));
    }
    h5_close(dataset);
    stop_on(h5_output_close(&output));
    free(tile);
}

static void write_stores(Picture *part, size_t tiles, Pool *pool) {
    for (int k = 0; k < KINDS; k++) {
        char name[16];
        uint64_t bytes = 0;
        snprintf(name, sizeof name, "%d.h5", k);
        MadeStore made = {
            .parameters = made_parameters(SIDE), .sections = 1, .spots = tiles, .cut = cut, .context = part};
        made.parameters.deflate = kinds[k].deflate;
        made.parameters.jpeg = kinds[k].jpeg;
        made.parameters.pool = pool;
        double begin = clock_seconds();
        stop_on(made_store(made_path(name), made));
        double seconds = clock_seconds() - begin;
        stop_on(file_size(made_path(name), &bytes));
        printf("%-10s %7.1f KiB a tile, written at %.0f tiles/s\n", kinds[k].name, (double)bytes / 1024 / (double)tiles,
               (double)tiles / seconds);
    }
    write_chunks(part, tiles);
}

// ---- Reading ------------------------------------------------------------------------------------

static void forget(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    fsync(file);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
}

typedef struct Result {
    double rate[MOST_ROUNDS], wait[MOST_ROUNDS], first[MOST_ROUNDS], cost[MOST_ROUNDS];
    int rounds;
} Result;

static double processor_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// cost: microseconds of processor time for a tile
static void add(Result *result, double rate, double cost, double wait, double first) {
    result->cost[result->rounds] = cost;
    result->rate[result->rounds] = rate;
    result->first[result->rounds] = first;
    result->wait[result->rounds++] = wait;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void spread(double *values, int count, const char *format) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    printf(format, values[0], values[count / 2], values[count - 1]);
}

typedef enum Step { NOTHING, CPU, DEVICE } Step;

typedef struct Work {
    int64_t turns; // of the inner loop, in each part
    volatile float sink;
} Work;

static void compute(void *context, int thread, int64_t first, int64_t last) {
    Work *work = context;
    float x[64];
    (void)thread;
    for (int i = 0; i < 64; i++) x[i] = (float)i;
    for (int64_t t = 0; t < (last - first) * work->turns; t++)
        for (int i = 0; i < 64; i++) x[i] = x[i] * 0.999f + 0.5f;
    work->sink = x[0];
}

static void run_step(Pool *pool, Work *work) {
    for (int t = 0; t < TASKS; t++) pool_run(pool, compute, work, PARTS);
}

// As many turns as make a step last 128 ms: the fastest of several tries, so that other load does not count.
static void calibrate(Pool *pool, Work *work) {
    double best = 1e9;
    work->turns = 2000;
    for (int i = 0; i < 20; i++) {
        double begin = clock_seconds();
        run_step(pool, work);
        double took = clock_seconds() - begin;
        if (took < best) best = took;
    }
    work->turns = (int64_t)(2000 * 0.128 / best);
}

static void one_run(const char *path, int threads, Step step, Pool *pool, Work *work, uint32_t seed, Result *result) {
    Rows *rows = NULL;
    Loader *loader = NULL;
    MadeProgram program;
    RowFeed feed;
    Batch batch;
    int64_t *order = NULL, count = 0;
    double waited = 0;
    made_program(&program, SIDE);
    stop_on(rows_open(&path, 1, &rows));
    stop_on(made_feeds(&program, rows, 1, &feed));
    stop_on(rows_select(rows, NULL, &order, &count));
    random_shuffle(order, (size_t)count, seed, 1);
    stop_on(loader_new(rows, &feed, 1, BATCH, &loader));
    loader_threads(loader, threads);
    double begin = clock_seconds(), spent = processor_seconds(), first = 0;
    stop_on(loader_start(loader, order, count, 0));
    for (;;) {
        double before = clock_seconds();
        stop_on(loader_next(loader, &batch));
        if (batch.rows == 0) break;
        if (batch.index == 0) first = clock_seconds() - begin;
        else waited += clock_seconds() - before;
        struct timespec rest = {0, (long)(128e6 * (double)batch.rows / BATCH)};
        if (step == CPU) run_step(pool, work);
        if (step == DEVICE) clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
    }
    double seconds = clock_seconds() - begin, cost = 1e6 * (processor_seconds() - spent) / (double)count;
    if (step != NOTHING) seconds -= first;
    add(result, (double)count / seconds, cost, 100 * waited / seconds, first);
    loader_free(loader);
    free(order);
    rows_close(rows);
}

// One thread through HDF5.
static void chunks_run(size_t tiles, uint32_t seed, Result *result) {
    char path[600];
    hid_t file = -1, dataset = -1;
    hsize_t dims[4] = {tiles, SIDE, SIDE, 3};
    uint8_t *batch = malloc((size_t)BATCH * SIDE * SIDE * 3);
    int64_t *order = malloc(tiles * sizeof *order);
    if (!batch || !order) exit(1);
    for (size_t i = 0; i < tiles; i++) order[i] = (int64_t)i;
    random_shuffle(order, tiles, seed, 1);
    chunks_path(path);
    stop_on(h5_file_open(path, &file));
    stop_on(h5_dataset_open(path, file, "tiles", H5T_INTEGER, 1, 4, dims, &dataset));
    double begin = clock_seconds(), spent = processor_seconds();
    for (size_t i = 0; i < tiles; i++)
        stop_on(h5_read_rows(path, "tiles", dataset, H5T_NATIVE_UINT8, (hsize_t)order[i], 1,
                             batch + i % BATCH * SIDE * SIDE * 3));
    double seconds = clock_seconds() - begin, cost = 1e6 * (processor_seconds() - spent) / (double)tiles;
    add(result, (double)tiles / seconds, cost, 0, 0);
    h5_close(dataset);
    h5_close(file);
    free(order);
    free(batch);
}

static void reading(size_t tiles, int rounds) {
    static Result results[2][KINDS][2], chunks[2];
    char path[600];
    for (int r = 0; r < rounds; r++) {
        for (int warm = 0; warm < 2; warm++) {
            for (int k = 0; k < KINDS; k++) {
                for (int t = 0; t < 2; t++) {
                    char name[16];
                    snprintf(name, sizeof name, "%d.h5", k);
                    snprintf(path, sizeof path, "%s", made_path(name));
                    if (!warm) forget(path);
                    one_run(path, t + 1, NOTHING, NULL, NULL, (uint32_t)r + 1, &results[warm][k][t]);
                }
            }
            chunks_path(path);
            if (!warm) forget(path);
            chunks_run(tiles, (uint32_t)r + 1, &chunks[warm]);
        }
    }
    printf("\nreading, tiles/s (smallest / median / largest of %d)\n", rounds);
    for (int warm = 1; warm >= 0; warm--) {
        for (int k = 0; k < KINDS; k++) {
            printf("  %s  %-10s", warm ? "warm" : "cold", kinds[k].name);
            for (int t = 0; t < 2; t++) {
                printf("   %d thread%s", t + 1, t ? "s" : " ");
                spread(results[warm][k][t].rate, rounds, " %6.0f / %6.0f / %6.0f");
                spread(results[warm][k][t].cost, rounds, "  (%3.0f / %3.0f / %3.0f us)");
            }
            printf("\n");
        }
        printf("  %s  %-10s   1 thread ", warm ? "warm" : "cold", "chunks");
        spread(chunks[warm].rate, rounds, " %6.0f / %6.0f / %6.0f");
        spread(chunks[warm].cost, rounds, "  (%3.0f / %3.0f / %3.0f us)");
        printf("\n");
    }
}

static void training(Pool *pool, int rounds) {
    static Result results[2][KINDS];
    Result alone = {0};
    Work work = {0};
    calibrate(pool, &work);
    for (int r = 0; r < rounds; r++) {
        double begin = clock_seconds();
        for (int i = 0; i < 8; i++) run_step(pool, &work);
        add(&alone, 8 * BATCH / (clock_seconds() - begin), 0, 0, 0);
        for (int k = 0; k < KINDS; k++) {
            for (int s = 0; s < 2; s++) {
                char name[16];
                snprintf(name, sizeof name, "%d.h5", k);
                // Two threads: what loader.h takes on two cores.
                one_run(made_path(name), 2, s ? DEVICE : CPU, pool, &work, (uint32_t)r + 1, &results[s][k]);
            }
        }
    }
    printf("\ntraining with steps of 2,000 tiles/s (smallest / median / largest of %d)\n", rounds);
    printf("  cpu steps without reading: ");
    spread(alone.rate, rounds, "%.0f / %.0f / %.0f tiles/s\n");
    for (int s = 0; s < 2; s++) {
        for (int k = 0; k < KINDS; k++) {
            printf("  %-6s  %-10s  waits", s ? "device" : "cpu", kinds[k].name);
            spread(results[s][k].wait, rounds, " %5.1f / %5.1f / %5.1f %%   ");
            spread(results[s][k].rate, rounds, " %5.0f / %5.0f / %5.0f tiles/s   ");
            spread(results[s][k].first, rounds, " first after %.3f / %.3f / %.3f s\n");
        }
    }
}

int main(int argc, char **argv) {
    size_t tiles = argc > 2 ? (size_t)atoi(argv[2]) : 5000;
    int rounds = argc > 3 ? atoi(argv[3]) : 5;
    if (tiles < 1 || rounds < 1 || rounds > MOST_ROUNDS) return fprintf(stderr, "nothing to do\n"), 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    Pool *pool = NULL;
    made_begin();
    Picture part = slide_part(argc > 1 ? argv[1] : "-");
    printf("%zu tiles of %d x %d from %s\n", tiles, SIDE, SIDE, part.rgb ? "C2 of her2st" : "made texture");
    stop_on(pool_new(2, &pool));
    write_stores(&part, tiles, pool);
    reading(tiles, rounds);
    training(pool, rounds);
    pool_free(pool);
    picture_free(&part);
    made_end();
    return 0;
}
