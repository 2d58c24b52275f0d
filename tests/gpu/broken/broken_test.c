// The shim finds what it is there to find: each broken kernel of kernels.cu is reported with the words below, in every
// order of threads; each correct one passes and gives the right numbers.
// Usage: broken_test CHECKED.so PLAIN.so
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../shim/shim.h"

static int passed, failed;

static void check(bool good, const char *name, const char *what, const char *said) {
    if (good) {
        passed++;
        return;
    }
    failed++;
    printf("%s: %s; the shim says: %s\n", name, what, said ? said : "nothing");
}

static const ShimOptions orders[] = {{.order = SHIM_ASCENDING},
                                     {.order = SHIM_DESCENDING},
                                     {.order = SHIM_SHUFFLED, .seed = 1},
                                     {.order = SHIM_SHUFFLED, .seed = 2}};
enum { ORDERS = sizeof orders / sizeof *orders };

typedef struct Launch {
    float *x, *y;
    unsigned *outside;
    int n, results;
    char said[1500];
} Launch;

static bool launch(ShimModule *m, const char *name, unsigned grid, unsigned block, int n, int results,
                   const ShimOptions *o, Launch *l) {
    *l = (Launch){.n = n, .results = results};
    l->x = shim_alloc((size_t)n * 4, "x");
    l->y = shim_alloc((size_t)results * 4, "y");
    l->outside = shim_alloc(4, "outside");
    for (int i = 0; i < n; i++) l->x[i] = (float)(i % 17) - 8;
    for (int i = 0; i < results; i++) l->y[i] = 0;
    *l->outside = 0;
    shim_wrote(l->x, (size_t)n * 4);
    shim_wrote(l->y, (size_t)results * 4);
    shim_wrote(l->outside, 4);
    void *parameter[] = {&l->x, &l->y, &l->n, &l->outside};
    const char *said = shim_launch_name(m, name, grid, block, 0, parameter, o);
    snprintf(l->said, sizeof l->said, "%s", said ? said : "");
    return !said;
}

static void end(Launch *l) {
    shim_free(l->x);
    shim_free(l->y);
    shim_free(l->outside);
}

static void broken(ShimModule *m, const char *name, unsigned grid, unsigned block, int n, int results,
                   const char *const *words) {
    for (int o = 0; o < ORDERS; o++) {
        Launch l;
        bool silent = launch(m, name, grid, block, n, results, &orders[o], &l);
        check(!silent, name, "a report is expected", NULL);
        if (!silent) check(strstr(l.said, name) != NULL, name, "the kernel's name is expected", l.said);
        for (int w = 0; words[w] && !silent; w++) check(strstr(l.said, words[w]) != NULL, name, words[w], l.said);
        if (o == 0) printf("  %s\n", l.said);
        end(&l);
    }
}
#define BROKEN(name, grid, block, n, results, ...)                                                                     \
    broken(m, name, grid, block, n, results, (const char *const[]){__VA_ARGS__, NULL})

typedef float (*Expect)(const float *x, int i, int n);
static float same(const float *x, int i, int n) {
    (void)n;
    return x[i];
}
static float pair(const float *x, int i, int n) {
    return x[i] + ((i ^ 1) < n ? x[i ^ 1] : 0);
}
static float partner(const float *x, int i, int n) {
    return (i ^ 1) < n ? x[i ^ 1] : 0;
}
static float sum(const float *x, int from, int to) {
    float s = 0;
    for (int i = from; i < to; i++) s += x[i];
    return s;
}
static float sum256(const float *x, int i, int n) {
    return sum(x, i * 256, i * 256 + 256 < n ? i * 256 + 256 : n);
}
static float sum200(const float *x, int i, int n) {
    return sum(x, i * 200, i * 200 + 200 < n ? i * 200 + 200 : n);
}

static void right(ShimModule *m, const char *name, unsigned grid, unsigned block, int n, int results, Expect expect) {
    for (int o = 0; o < ORDERS; o++) {
        Launch l;
        bool silent = launch(m, name, grid, block, n, results, &orders[o], &l);
        check(silent, name, "no report is expected", l.said);
        for (int i = 0; i < results; i++)
            if (l.y[i] != expect(l.x, i, n)) {
                char text[100];
                snprintf(text, sizeof text, "element %d is %g, not %g", i, l.y[i], expect(l.x, i, n));
                check(false, name, text, NULL);
                break;
            }
        passed++;
        end(&l);
    }
}

static void right_ones(ShimModule *m) {
    right(m, "tree_right", 3, 256, 700, 3, sum256);
    right(m, "warp_tree_right", 1, 32, 29, 1, sum256);
    right(m, "tail_right", 3, 128, 301, 301, same);
    right(m, "barrier_right", 3, 128, 301, 301, same);
    right(m, "shuffle_right", 1, 64, 51, 51, pair);
    right(m, "blocks_right", 5, 128, 601, 4, sum200);
    right(m, "wait_right", 1, 128, 101, 101, partner);
    right(m, "wide_right", 1, 32, 100, 100, same);
    right(m, "report_right", 3, 128, 301, 301, same);
}

static void narrow(ShimModule *m) {
    enum { N = 301 };
    int n = N;
    float *x = shim_alloc(N * 4, "x");
    unsigned short *y = shim_alloc(N * 2, "y");
    unsigned char *z = shim_alloc(N, "z");
    for (int i = 0; i < N; i++) x[i] = (float)i - 100;
    shim_wrote(x, N * 4);
    void *parameter[] = {&x, &y, &z, &n};
    const char *said = shim_launch_name(m, "narrow_right", 3, 128, 0, parameter, NULL);
    check(!said, "narrow_right", "no report is expected", said);
    bool good = true;
    for (int i = 0; i < N; i++) good = good && z[i] == (x[i] > 0);
    check(good && y[101] == 0x3f80 && y[99] == 0xbf80, "narrow_right", "wrong numbers", NULL);
    shim_free(x);
    check(shim_free(x) != NULL, "shim_free", "freeing twice is expected to be an error", NULL);
    said = shim_launch_name(m, "narrow_right", 3, 128, 0, parameter, NULL);
    check(said && strstr(said, "freed"), "narrow_right", "use after free is expected to be reported", said);
    shim_free(y);
    shim_free(z);
}

int main(int argc, char **argv) {
    ShimModule *m = NULL, *plain = NULL;
    const char *error = argc < 3 ? "usage: broken_test CHECKED.so PLAIN.so" : shim_open(argv[1], &m);
    if (!error) error = shim_open(argv[2], &plain);
    if (error) {
        printf("%s\n", error);
        return 2;
    }
    BROKEN("tree_broken", 3, 256, 700, 3, "shared array 'part'", "no barrier orders", "kernels.cu:");
    BROKEN("warp_tree_broken", 1, 32, 29, 1, "shared array 'part'", "no barrier orders");
    BROKEN("tail_broken", 3, 128, 301, 301, "4 bytes at byte 1204 of buffer 'x' (parameter 0)", "outside",
           "block 2, thread 45", "kernels.cu:");
    BROKEN("guard_broken", 3, 128, 301, 301, "buffer 'x' (parameter 0)", "outside", "block 2");
    BROKEN("before_broken", 3, 128, 301, 301, "byte -4 of buffer 'x'", "outside", "block 0, thread 0");
    BROKEN("shared_tail_broken", 1, 64, 64, 64, "byte 256 of shared array 'row'", "outside", "thread 63");
    BROKEN("return_broken", 3, 128, 301, 301, "deadlock", "divergent barrier", "has returned", "block 2");
    BROKEN("branch_broken", 3, 128, 301, 301, "deadlock", "divergent barrier", "waits at __syncthreads");
    BROKEN("shuffle_broken", 1, 64, 51, 51, "divergent warp operation", "shuffle", "__syncthreads");
    BROKEN("blocks_broken", 5, 128, 601, 4, "buffer 'y' (parameter 1)", "write of 4 bytes");
    BROKEN("blocks_read_broken", 2, 128, 201, 201, "buffer 'y'");
    BROKEN("threads_broken", 1, 64, 51, 26, "buffer 'y'", "wrote it, and no barrier");
    BROKEN("wait_broken", 1, 128, 101, 101, "shared array 'row'", "cp.async to these bytes has not been waited for");
    BROKEN("wait_barrier_broken", 1, 128, 101, 101, "shared array 'row'");
    BROKEN("wide_broken", 1, 32, 100, 100, "misaligned access", "float4", "of buffer 'x'", "prelude.cuh:");
    BROKEN("wide_tail_broken", 1, 32, 101, 104, "buffer 'x'", "outside");
    BROKEN("unwritten_broken", 2, 128, 256, 256, "nobody wrote", "shared array 'row'", "block 1");
    BROKEN("overflow_broken", 1, 32, 10000, 32, "overflows");
    BROKEN("local_broken", 1, 32, 32, 32, "index 4 is outside of");
    BROKEN("null_broken", 1, 32, 32, 32, "neither device memory nor shared");
    right_ones(m);
    narrow(m);

    // Without instrumentation: results, stuck barriers and pages that do not exist are still seen.
    right_ones(plain);
    Launch l;
    check(!launch(plain, "return_broken", 3, 128, 301, 301, NULL, &l), "return_broken", "a report is expected", l.said);
    end(&l);
    check(!launch(plain, "null_broken", 1, 32, 32, 32, NULL, &l), "null_broken", "a report is expected", l.said);
    check(strstr(l.said, "no device memory is there") != NULL, "null_broken", "its address is expected", l.said);
    end(&l);
    check(!launch(plain, "guard_broken", 9, 128, 128, 128, NULL, &l), "guard_broken", "a report is expected", l.said);
    end(&l);
    check(shim_allocated() == 0, "memory", "all of it is expected to be free", NULL);
    shim_close(m);
    shim_close(plain);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
