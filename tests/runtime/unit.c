// unit: the runtime's rooms one by one: threads, random numbers, plans, machine, safetensors, journals,
// events. Prints "N passed, N failed" and exits 1 if anything failed. Needs an empty directory: unit DIR.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // setenv, usleep
#endif

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../runtime/core/files.h"
#include "../../runtime/core/random.h"
#include "../../runtime/program/machine.h"
#include "../../runtime/report/events.h"
#include "../../runtime/data/safetensors.h"
#include "linear.c" // a plan and kernels to work on

static int passed, failed;

static void expect(bool good, const char *what) {
    if (good) passed++;
    else printf("FAILED %s\n", what), failed++;
}

// Takes the Status and says whether it is an error with `part` in its message.
static bool refuses(Status status, const char *part) {
    bool good = status != STATUS_OK && strstr(status_message(status), part);
    if (!good) printf("  got: %s\n", status ? status_message(status) : "success");
    status_drop(status);
    return good;
}

static bool works(Status status) {
    if (status != STATUS_OK) printf("  got: %s\n", status_message(status));
    bool good = status == STATUS_OK;
    status_drop(status);
    return good;
}

// ---- pool ------------------------------------------------------------------------------------------------------

enum { MOST_PARTS = 5000 };

typedef struct Tally {
    atomic_int runs[MOST_PARTS];
    atomic_int wrong_thread;
    int threads;
} Tally;

static void count_parts(void *context, int thread, int64_t first, int64_t last) {
    Tally *tally = context;
    if (thread < 0 || thread >= tally->threads) atomic_fetch_add(&tally->wrong_thread, 1);
    for (int64_t i = first; i < last; i++) atomic_fetch_add(&tally->runs[i], 1);
}

static void test_pool(void) {
    static Tally tally;
    int counts[] = {1, 2, 3, 7};
    for (int c = 0; c < 4; c++) {
        Pool *pool = NULL;
        bool once = works(pool_new(counts[c], &pool));
        RandomStream random = random_stream(3, (uint32_t)c);
        for (int task = 0; task < 3000 && once; task++) {
            int64_t parts = (int64_t)random_below(&random, task % 10 ? 40 : MOST_PARTS);
            memset(&tally, 0, sizeof tally);
            tally.threads = counts[c];
            pool_run(pool, count_parts, &tally, parts);
            for (int64_t i = 0; i < MOST_PARTS; i++) once = once && tally.runs[i] == (i < parts);
            once = once && !tally.wrong_thread;
            if (task % 500 == 0) usleep(2000); // long enough for the threads to fall asleep
        }
        expect(once, "pool: every part runs exactly once");
        pool_free(pool);
    }
    Pool *pool = NULL;
    expect(refuses(pool_new(0, &pool), "threads"), "pool: no threads");
    expect(usable_threads() >= 1, "pool: usable threads");
}

// ---- random ----------------------------------------------------------------------------------------------------

static void test_random(void) {
    // Known answers of the reference implementation.
    PhiloxBlock zero = philox((PhiloxBlock){{0, 0, 0, 0}}, 0, 0);
    PhiloxBlock ones = philox((PhiloxBlock){{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u);
    PhiloxBlock pi = philox((PhiloxBlock){{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0);
    expect(zero.word[0] == 0x6627e8d5 && zero.word[3] == 0x9b00dbd8, "philox of zeros");
    expect(ones.word[0] == 0x408f276d && ones.word[3] == 0x6d5451fd, "philox of ones");
    expect(pi.word[0] == 0xd16cfe09 && pi.word[3] == 0x24126ea1, "philox of pi");
    enum { N = 1000 };
    int64_t a[N], b[N], seen[N] = {0};
    for (int i = 0; i < N; i++) a[i] = b[i] = i;
    random_shuffle(a, N, 5, 0);
    random_shuffle(b, N, 5, 1);
    int same = 0, fixed = 0;
    for (int i = 0; i < N; i++) {
        seen[a[i]]++;
        same += a[i] == b[i];
        fixed += a[i] == i;
    }
    bool permutation = true;
    for (int i = 0; i < N; i++) permutation = permutation && seen[i] == 1;
    expect(permutation && same < 20 && fixed < 20, "shuffle permutes, epochs differ");
    RandomStream random = random_stream(1, 2);
    int least = 0;
    for (int i = 0; i < 30000; i++) least += random_below(&random, 3) == 0;
    expect(least > 9700 && least < 10300, "random_below is even");
}

// ---- plan and machine ------------------------------------------------------------------------------------------

static void test_plan(void) {
    Arena arena;
    StmPlan *plan = NULL;
    arena_init(&arena);
    expect(works(plan_read(stm_plan_text, (size_t)stm_plan_size, &arena, &plan)) && plan->jobs == 6 &&
               plan->tensors == 21 && plan->setting[0].ranged && plan->setting[2].is_text &&
               plan->train.patience == 6 && plan->job[1].step[4].extents == 1,
           "plan: reads");
    arena_free(&arena);
    // Cut off anywhere and with any byte changed it is refused or read, never worse.
    char *copy = malloc((size_t)stm_plan_size);
    RandomStream random = random_stream(9, 9);
    int refused = 0;
    for (size_t i = 0; i < 4000; i++) {
        memcpy(copy, stm_plan_text, (size_t)stm_plan_size);
        size_t size = (size_t)stm_plan_size;
        if (i < stm_plan_size / 2) size = i * 2;
        else
            copy[random_below(&random, size)] =
                (char)(i % 3 ? '0' + random_below(&random, 10) : random_below(&random, 256));
        Status status = plan_read(copy, size, &arena, &plan);
        refused += status != STATUS_OK;
        status_drop(status);
        arena_free(&arena);
    }
    free(copy);
    expect(refused > 1000, "plan: damage is refused");
    static const char *const bad[][2] = {
        {"", "program record"},
        {"stmplan 2\n", "form 1"},
        {"stmplan 1\nprogram p f16 v \"\"\n", "a type"},
        {"stmplan 1\nprogram p f32 v \"x\n", "closing quote"},
        {"stmplan 1\nprogram p f32 v -\naxis 1 a constant 3 -\n", "in order"},
        {"stmplan 1\nprogram p f32 v -\ntensor 0 temp f32 \"t\" - 0 [3*what] [-]\n", "extent"},
        {"stmplan 1\nprogram p f32 v -\njob j\n  group 0 1 64\n  buffer 0 - 0 64 64 0 0\nend\n", "inside its group"},
        {"stmplan 1\nprogram p f32 v -\njob j\n  run 0 1/1 [] -\nend\n", "kernel"},
        {"stmplan 1\nprogram p f32 v -\njob j\n", "end of the job"},
        {"stmplan 1\nprogram p f32 v - more\n", "end of the line"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        expect(refuses(plan_read(bad[i][0], strlen(bad[i][0]), &arena, &plan), bad[i][1]), bad[i][1]);
        arena_free(&arena);
    }
}

static void test_machine(void) {
    Arena arena;
    StmPlan *plan = NULL;
    Machine *m = NULL;
    Pool *pool = NULL;
    Isa isa;
    arena_init(&arena);
    bool ready = works(plan_read(stm_plan_text, (size_t)stm_plan_size, &arena, &plan)) && works(pool_new(2, &pool)) &&
                 works(choose_isa(&isa)) && works(machine_new(plan, stm_kernels, isa, pool, &arena, &m));
    expect(ready, "machine: starts");
    if (!ready) return;
    const StmJob *predict = plan_job(plan, "predict");
    int64_t extent[5] = {100, 6, 3};
    expect(works(machine_prepare(m, predict, extent)), "machine: prepares");
    expect(refuses(machine_run(m), "not bound"), "machine: an input that is not bound");
    static _Alignas(64) float x[100000 * IN];
    for (int i = 0; i < 100000 * IN; i++) x[i] = (float)(i % 7);
    machine_bind(m, 0, x);
    float *weight = m->block[6], *bias = m->block[7];
    for (int i = 0; i < IN * OUT; i++) weight[i] = (float)i;
    bias[1] = 1;
    bool right = true, aligned = true;
    int64_t sizes[] = {1, 3, 100, 100000, 7, 1};
    for (int k = 0; k < 6 && right; k++) {
        extent[0] = sizes[k];
        right = works(machine_prepare(m, predict, extent)) && works(machine_run(m));
        const float *y = machine_output(m, 0);
        aligned = aligned && (uintptr_t)y % 64 == 0;
        for (int64_t r = 0; r < sizes[k] && right; r++) {
            float sum = 1;
            for (int i = 0; i < IN; i++) sum += x[r * IN + i] * (float)(IN + i);
            right = y[r * OUT + 1] == sum;
        }
    }
    expect(right, "machine: any extent");
    expect(aligned, "machine: 64-byte alignment");
    extent[0] = (int64_t)1 << 44;
    expect(refuses(machine_prepare(m, predict, extent), "smaller batch"), "machine: more memory than there is");
    machine_free(m);
    pool_free(pool);
    arena_free(&arena);
}

static void test_isa(void) {
    Isa isa;
    setenv("STM_ISA", "v2", 1);
    expect(works(choose_isa(&isa)) && isa == ISA_V2, "STM_ISA=v2");
    setenv("STM_ISA", "avx", 1);
    expect(refuses(choose_isa(&isa), "v2, v3 and v4"), "STM_ISA=avx");
    unsetenv("STM_ISA");
}

// ---- safetensors -----------------------------------------------------------------------------------------------

static Status write_text(const char *path, const char *header, size_t data) {
    char block[1024] = {0};
    size_t n = strlen(header);
    block[0] = (char)(n & 255);
    block[1] = (char)(n >> 8);
    memcpy(block + 8, header, n);
    return file_write_atomic(path, block, 8 + n + data);
}

static Status open_only(const char *path) {
    SafeFile file;
    TRY(safetensors_open(path, &file));
    safetensors_close(&file);
    return STATUS_OK;
}

static void test_safetensors(const char *path) {
    float a[6] = {1, 2, 3, 4, 5, NAN}, b[6];
    int64_t n = 77, back = 0;
    uint8_t bytes[3] = {1, 2, 3};
    SafeEntry entries[] = {{"odd", ELEMENT_U8, 1, {3}, bytes},
                           {"w \"x\"", ELEMENT_F32, 2, {2, 3}, a},
                           {"n", ELEMENT_I64, 0, {0}, &n},
                           {"none", ELEMENT_F32, 1, {0}, a}};
    SafePair pairs[] = {{"epoch", "3"}, {"text", "a\nb\xc3\xa9"}};
    SafeFile file = {0};
    bool good = works(safetensors_write(path, entries, 4, pairs, 2)) && works(safetensors_open(path, &file));
    expect(good, "safetensors: write and open");
    if (!good) return;
    const SafeTensor *w = safetensors_find(&file, "w \"x\""), *c = safetensors_find(&file, "n");
    expect(w && w->rank == 2 && w->shape[1] == 3 && works(safetensors_read(&file, w, ELEMENT_F32, b)) &&
               memcmp(a, b, sizeof a) == 0,
           "safetensors: the same bits");
    expect(c && works(safetensors_read(&file, c, ELEMENT_I64, &back)) && back == 77, "safetensors: i64");
    expect(file.data_start % 64 == 0 && w && w->begin % 4 == 0 && c->begin % 8 == 0, "safetensors: alignment");
    expect(strcmp(safetensors_metadata(&file, "text"), "a\nb\xc3\xa9") == 0 && !safetensors_find(&file, "m"),
           "safetensors: metadata");
    expect(refuses(safetensors_read(&file, w, ELEMENT_I64, &back), "cannot be read as"), "safetensors: wrong type");
    safetensors_close(&file);

    char *data = NULL;
    size_t size = 0;
    bool all = works(file_read(path, 1 << 20, &data, &size));
    for (size_t cut = 0; cut < size && all; cut++) {
        Status status = file_write_atomic(path, data, cut);
        if (status == STATUS_OK) status = open_only(path);
        all = status != STATUS_OK;
        status_drop(status);
    }
    expect(all, "safetensors: every truncation is refused");
    RandomStream random = random_stream(4, 4);
    for (int i = 0; i < 500; i++) { // must not crash; a change of a name or of a value is legal
        char *copy = malloc(size);
        memcpy(copy, data, size);
        copy[random_below(&random, 8 + 200)] = (char)random_below(&random, 256);
        status_drop(file_write_atomic(path, copy, size));
        status_drop(open_only(path));
        free(copy);
    }
    free(data);

    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } bad[] = {
        {"[]", 0, "start with"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "span"},
        {"{\"a\":{\"dtype\":\"F99\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,8]}}", 8, "shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,8]}}", 8, "too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "rising"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 16, "describes 8 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"
         "\"data_offsets\":[4,12]}}",
         12, "overlaps"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
         "\"data_offsets\":[8,16]}}",
         16, "a"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "strings"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, "unknown member"},
        {"{\"a\":1}", 0, "not an object"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        status_drop(write_text(path, bad[i].header, bad[i].data));
        expect(refuses(open_only(path), bad[i].message), bad[i].header);
    }

    // f16 1.5, -2, smallest subnormal, infinity; bf16 1.5
    unsigned char halves[] = {0, 0x3E, 0, 0xC0, 1, 0, 0, 0x7C, 0xC0, 0x3F};
    const char *header =
        "{\"h\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"BF16\",\"shape\":[1],"
        "\"data_offsets\":[8,10]}} ";
    char block[512] = {(char)strlen(header)};
    memcpy(block + 8, header, strlen(header));
    memcpy(block + 8 + strlen(header), halves, 10);
    status_drop(file_write_atomic(path, block, 8 + strlen(header) + 10));
    float h[4], bf;
    good = works(safetensors_open(path, &file)) && works(safetensors_read(&file, &file.tensor[0], ELEMENT_F32, h)) &&
           works(safetensors_read(&file, &file.tensor[1], ELEMENT_F32, &bf));
    expect(good && h[0] == 1.5f && h[1] == -2.0f && h[2] == 0x1p-24f && isinf(h[3]) && bf == 1.5f,
           "safetensors: f16 and bf16");
    if (good) safetensors_close(&file);
    expect(refuses(safetensors_write("/dev/full", entries, 4, pairs, 2), "No space left"), "safetensors: a full disk");
    expect(refuses(open_only("/nonexistent/file"), "cannot open"), "safetensors: a missing file");
}

// ---- journal and events ----------------------------------------------------------------------------------------

static void test_journal(const char *path) {
    Journal journal = {0};
    char *data = NULL;
    size_t size = 0;
    expect(works(journal_open(&journal, path, 0)) && works(journal_append(&journal, "one\ntwo\n", 8)) &&
               works(journal_sync(&journal)) && journal.length == 8,
           "journal: appends");
    journal_close(&journal);
    bool good = works(journal_open(&journal, path, 4)) && works(journal_append(&journal, "three\n", 6));
    journal_close(&journal);
    good = good && works(file_read(path, 100, &data, &size)) && size == 10 && memcmp(data, "one\nthree\n", 10) == 0;
    free(data);
    expect(good, "journal: cut back and continued");
    expect(refuses(journal_open(&journal, path, 11), "was changed since"), "journal: shorter than recorded");
    expect(works(journal_open(&journal, "/dev/full", 0)), "journal: /dev/full opens");
    expect(refuses(journal_append(&journal, "x", 1), "No space left"), "journal: a full disk");
    journal_close(&journal);
    expect(crc32c("123456789", 9) == 0xE3069283u, "crc32c");
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: unit DIR\n"), 2;
    char path[4096];
    snprintf(path, sizeof path, "%s/unit.bin", argv[1]);
    test_pool();
    test_random();
    test_plan();
    test_isa();
    test_machine();
    test_safetensors(path);
    unlink(path);
    test_journal(path);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
