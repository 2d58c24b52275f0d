// The guard: results come back in place; crashes, endless loops, sleeps, floods of memory and lies come back as
// messages.
#include <signal.h>
#include <time.h>

#include "../../runtime/data/annotated_share.h"
#include "../../runtime/data/guard.h"
#include "made.h"
#include "sanitized.h"

typedef struct Answer {
    size_t count;
    double *values;
    char *text;
} Answer;

static Status answer(void *context, GuardBlock *block) {
    size_t n = *(size_t *)context;
    Answer *a = GUARD_NEW(block, Answer, 1);
    *a = (Answer){n, GUARD_NEW(block, double, n), guard_text(block, "hello", 5)};
    if (!a->values) return guard_exhausted(block, "file", n, sizeof(double));
    for (size_t i = 0; i < n; i++) a->values[i] = (double)i;
    block->result = a;
    *(size_t *)context = 0; // the caller's memory is out of reach
    return STATUS_OK;
}

static Status refuse(void *context, GuardBlock *block) {
    (void)context, (void)block;
    return status_make(STATUS_MISMATCH, "file: row 3 of X: a reason");
}

static Status misbehave(void *context, GuardBlock *block) {
    volatile size_t sink = 0;
    switch (*(int *)context) {
    case 0: raise(SIGSEGV); break;
    case 1: raise(SIGABRT); break;
    case 2:
        for (;;) sink++;
    case 3:
        for (;;) sleep(1);
    case 4: _exit(3);
    case 5: raise(SIGINT); break;
    case 6: block->result = (void *)(uintptr_t)4096; break; // outside the block
    default: raise(SIGKILL);
    }
    return STATUS_OK;
}

static Status flood(void *context, GuardBlock *block) {
    (void)context, (void)block;
    for (;;) {
        char *p = malloc(16 << 20);
        if (!p) return status_make(STATUS_NO_MEMORY, "file: no memory");
        memset(p, 1, 16 << 20);
    }
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void test_results(void) {
    for (int in_process = 0; in_process < 2; in_process++) {
        size_t n = 100000, given = n;
        GuardBlock block;
        GuardLimits limits = {.in_process = in_process};
        if (!CHECK_OK(guard_run("file", limits, answer, &given, &block))) continue;
        const Answer *a = block.result;
        CHECK(given == (in_process ? 0 : n));
        CHECK(guard_holds(&block, a, 1, sizeof *a) && guard_holds(&block, a->values, n, sizeof *a->values));
        CHECK(guard_holds_text(&block, a->text));
        CHECK(!guard_holds(&block, a->values, SIZE_MAX / 8, sizeof *a->values) && !guard_holds(&block, &n, 1, 1));
        CHECK(a->count == n && a->values[n - 1] == (double)(n - 1) && strcmp(a->text, "hello") == 0);
        guard_block_free(&block);
    }
    size_t many = 1 << 20;
    GuardBlock block;
    CHECK_FAILS(guard_run("file", (GuardLimits){.results_bytes = 1 << 20}, answer, &many, &block), STATUS_NO_MEMORY,
                "file: 8.4 MB are needed");
    CHECK(block.base == NULL);
    CHECK_FAILS(guard_run("file", (GuardLimits){0}, refuse, NULL, &block), STATUS_MISMATCH,
                "file: row 3 of X: a reason");
}

static void test_misbehaviour(void) {
    static const struct {
        StatusCode code;
        const char *message;
    } expected[] = {{STATUS_MALFORMED, "file: the library that reads it crashed (signal 11)"},
                    {STATUS_MALFORMED, "crashed (signal 6)"},
                    {STATUS_MALFORMED, "was stopped after 0.3 s of computing"},
                    {STATUS_MALFORMED, "was stopped after 1 s"},
                    {STATUS_MALFORMED, "ended early (exit status 3)"},
                    {STATUS_CANCELLED, "was interrupted"},
                    {STATUS_MALFORMED, "went astray"},
                    {STATUS_NO_MEMORY, "was killed"}};
    for (int i = 0; i < 8; i++) {
        GuardBlock block;
        GuardLimits limits = {.cpu_seconds = 0.3, .wall_seconds = i == 3 ? 1 : 30};
        double begin = seconds_now();
        CHECK_FAILS(guard_run("file", limits, misbehave, &i, &block), expected[i].code, expected[i].message);
        CHECK(seconds_now() - begin < 25);
    }
    GuardBlock block;
    if (SANITIZED) CHECK_SKIP("the memory limit: the sanitizer's allocator ends the process itself");
    else
        CHECK_FAILS(guard_run("file", (GuardLimits){.memory_bytes = 256 << 20}, flood, NULL, &block), STATUS_NO_MEMORY,
                    "no memory");
}

// ---- An Annotated on its way --------------------------------------------------------------------

static Status send(void *context, GuardBlock *block) {
    int lie = *(int *)context;
    Annotated a = {0};
    int32_t row[] = {0, 1, 1}, column[] = {2, 0, 1};
    float value[] = {5, 6, 7};
    char *names[] = {"a", "b", "c"}, *categories[] = {"x", "y"};
    int32_t codes[] = {1, -1};
    arena_init(&a.arena);
    TRY(matrix_from_entries(2, 3, row, column, value, 3, &a.x));
    a.has_x = true;
    a.x.column_name = names;
    a.x.row_name = names;
    a.obs.rows = 2;
    Column c = {.name = "kind", .kind = COLUMN_CATEGORY, .code = codes, .category = categories, .categories = 2};
    TRY(frame_add(&a.obs, &a.arena, &c));
    TRY(annotated_note(&a, "note %d", 1));
    TRY(annotated_note(&a, "note %d", 1));
    a.source = "made";
    TRY(annotated_share("file", &a, block));
    Annotated *shared = block->result;
    if (lie == 1) shared->x.column[1] = 3;
    if (lie == 2) shared->x.start[1] = 9;
    if (lie == 3) shared->source = names[0];
    if (lie == 4) shared->obs.column[0].code[0] = 2;
    if (lie == 5) shared->x.row_name[1] = (char *)8;
    if (lie == 6) shared->x.rows = (size_t)1 << 39;
    if (lie == 7) shared->obs.column[0].kind = COLUMN_TEXT;
    matrix_free(&a.x);
    arena_free(&a.arena);
    return STATUS_OK;
}

static void test_annotated(void) {
    for (int lie = 0; lie < 8; lie++) {
        GuardBlock block;
        Annotated a;
        if (!CHECK_OK(guard_run("file", (GuardLimits){0}, send, &lie, &block))) continue;
        if (lie > 0) {
            CHECK_FAILS(annotated_receive("file", &block, &a), STATUS_MALFORMED, "went astray");
            continue;
        }
        if (!CHECK_OK(annotated_receive("file", &block, &a))) continue;
        CHECK(a.x.rows == 2 && a.x.columns == 3 && a.x.value[2] == 7 && a.n_notes == 1);
        CHECK_TEXT(a.note[0], "note 1");
        CHECK_TEXT(a.x.column_name[2], "c");
        CHECK_TEXT(a.obs.column[0].category[1], "y");
        size_t first[] = {1};
        CHECK_OK(frame_pick(&a.obs, &a.arena, first, 1)); // new memory beside the block
        CHECK(a.obs.column[0].code[0] == -1);
        annotated_free(&a);
    }
}

int main(void) {
    made_begin();
    test_results();
    test_misbehaviour();
    test_annotated();
    made_end();
    return check_report("guard");
}
