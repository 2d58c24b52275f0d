// HEVisum compiled by stmc against PyTorch: outputs, loss, gradients, AdamW steps, running statistics
// (hevisum.safetensors, README.md). Linked with the objects of examples/hevisum/hevisum.stm, type = 35, drop
// = 0.
//
// usage: hevisum_test DIRECTORY step|all|frozen [-v]
//     step    evaluation and one training step
//     all     also ten steps at two rates, other batch sizes, numbers of threads
//     frozen  the gradients of evaluation mode, from a program whose batch norms never see that they are
//     trained
//
// In f64 the tile must arrive as the reference saw it, (float)byte / 255.0f: run.sh compiles a spec that
// takes real pixels. The gradient is read from AdamW's exp_avg after the first step, (1 - beta1) times the
// gradient.
#include "harness.h"
#include "pattern.h"
#include "reference.h"

#include <stdio.h>
#include <stdlib.h>

enum { ENTRIES = 288, BATCH = 8, OUTPUTS = 35, SIDE = 78, STEPS = 10 };
enum { PARAMETER, USELESS_BIAS, STATISTIC, COUNTER }; // kinds of state_dict entries, see hevisum_reference.py

typedef struct Test {
    Harness program;
    Tally tally;
    const Reference *reference;
    bool f64;
    char name[ENTRIES][96];
    int tensor[ENTRIES];
    const int64_t *kind, *shape; // [ENTRIES], [ENTRIES][5]
} Test;

// The limit for this precision: README.md's for f32.
static double limit(const Test *t, double f32) {
    return t->f64 ? 1e-10 : f32;
}

static void stop(const char *what, const char *name) {
    printf("FAILED %s %s\n", what, name);
    exit(1);
}

static const double *recorded(const Test *t, const char *name, int64_t count) {
    const double *data = reference_f64(t->reference, name, count);
    if (!data) stop("hevisum.safetensors lacks", name);
    return data;
}

static void find_entries(Test *t) {
    const ReferenceTensor *names = reference_find(t->reference, "names");
    t->kind = reference_i64(t->reference, "kind", ENTRIES);
    t->shape = reference_i64(t->reference, "shape", ENTRIES * 5);
    if (!names || !t->kind || !t->shape) stop("hevisum.safetensors lacks", "names, kind or shape");
    const char *at = names->data, *end = at + names->count;
    for (int row = 0; row < ENTRIES; row++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline || (size_t)(newline - at) >= sizeof t->name[row]) stop("hevisum.safetensors has bad", "names");
        memcpy(t->name[row], at, (size_t)(newline - at));
        at = newline + 1;
        t->tensor[row] = harness_need(&t->program, t->kind[row] <= USELESS_BIAS ? STM_PARAM : STM_STATE, t->name[row]);
        const StmTensor *tensor = &t->program.plan->tensor[t->tensor[row]];
        bool same = tensor->rank == (int)t->shape[row * 5];
        for (int d = 0; d < tensor->rank && same; d++)
            same = extent_of(tensor->dim[d], t->program.extent) == t->shape[row * 5 + 1 + d];
        if (!same) stop("another shape than PyTorch's:", t->name[row]);
    }
}

// Every parameter and state as at the start of the recording; the optimiser's state 0.
static void fill(Test *t) {
    Harness *p = &t->program;
    for (int i = 0; i < p->plan->tensors; i++) {
        const StmTensor *tensor = &p->plan->tensor[i];
        if (tensor->kind == STM_STATE)
            memset(p->machine->block[i], 0, (size_t)harness_elements(p, i) * type_size(tensor->type));
    }
    for (int row = 0; row < ENTRIES; row++) {
        double scale, offset;
        int64_t n = harness_elements(p, t->tensor[row]);
        uint64_t key = pattern_key(t->name[row]);
        if (pattern_rule(t->name[row], (int)t->shape[row * 5], t->shape + row * 5 + 1, &scale, &offset))
            stop("no pattern for", t->name[row]);
        double *values = malloc((size_t)n * sizeof *values);
        if (!values) stop("out of", "memory");
        for (int64_t i = 0; i < n; i++) values[i] = (double)pattern_value(key, (uint64_t)i, scale, offset);
        harness_write(p, t->tensor[row], values);
        free(values);
    }
}

// Samples 8 s .. 8 s + 7.
static void bind_batch(Test *t, int s) {
    Harness *p = &t->program;
    static double tile[BATCH * SIDE * SIDE * 3], truth[BATCH * OUTPUTS];
    int at = harness_need(p, STM_INPUT, "tile");
    bool bytes = p->plan->tensor[at].type == STM_U8;
    for (int64_t i = 0; i < BATCH * SIDE * SIDE * 3; i++) {
        unsigned byte = pattern_tile_byte((uint64_t)(s * BATCH + i / (SIDE * SIDE * 3)), (unsigned)(i % 3),
                                          (unsigned)(i / (SIDE * 3) % SIDE), (unsigned)(i / 3 % SIDE));
        tile[i] = bytes ? byte : (double)((float)byte / 255.0f);
    }
    for (int i = 0; i < BATCH * OUTPUTS; i++)
        truth[i] = pattern_rank((uint64_t)(s * BATCH + i / OUTPUTS), (unsigned)(i % OUTPUTS));
    harness_write(p, at, tile);
    harness_write(p, harness_need(p, STM_INPUT, "truth"), truth);
}

static void set_scalars(Test *t, double lr) {
    Harness *p = &t->program;
    harness_scalar(p, "epoch", 0); // the schedule's factor is 1 there
    harness_scalar(p, "epochs", 150);
    harness_scalar(p, "steps", STEPS);
    harness_scalar(p, "seed", 1);
    harness_scalar(p, "lr", lr);
    harness_scalar(p, "decay", 1e-3);
    harness_scalar(p, "fall", 30);
}

static double train(Test *t, int step) {
    harness_scalar(&t->program, "step", step);
    harness_run(&t->program, "train");
    int64_t count;
    double *loss = harness_output(&t->program, "loss", &count), value = *loss;
    free(loss);
    return value;
}

// Largest difference over the largest expected magnitude.
static double spread(const double *found, const double *expected, int64_t n) {
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(found[i] - expected[i]);
        if (!(d <= worst)) worst = d; // keeps NaN
        if (fabs(expected[i]) > largest) largest = fabs(expected[i]);
    }
    return worst / largest;
}

// Output `rank` of a job against the first `spots` rows of a recorded [8,35].
static void check_rank(Test *t, const char *job, int spots, const char *key, double most) {
    int64_t count;
    char what[128];
    const double *expected = recorded(t, key, BATCH * OUTPUTS);
    t->program.extent[plan_axis(t->program.plan, "spot")] = spots;
    harness_run(&t->program, job);
    double *rank = harness_output(&t->program, "rank", &count);
    snprintf(what, sizeof what, "%s (job %s, %d spots)", key, job, spots);
    tally_check(&t->tally, what, count == spots * OUTPUTS ? spread(rank, expected, count) : NAN, most);
    free(rank);
    t->program.extent[plan_axis(t->program.plan, "spot")] = BATCH;
}

typedef enum Table { GRADIENTS, FROZEN_GRADIENTS, FIRST_STATE, LATE_STATE } Table;

// In training the output does not depend on the bias of a convolution in front of a batch norm; gradients are
// of parameters.
static bool comparable(int kind, Table table) {
    if (table == FROZEN_GRADIENTS) return kind <= USELESS_BIAS;
    return table == GRADIENTS ? kind == PARAMETER : kind != USELESS_BIAS;
}

// All rows of a recorded [288,24]; the worst distance of each kind of entry is one check.
static void check_table(Test *t, const char *key, Table table, double most_norm, double most_element) {
    const double *expected = recorded(t, key, ENTRIES * REFERENCE_SUMMARY);
    bool gradients = table == GRADIENTS || table == FROZEN_GRADIENTS;
    double norm[4] = {0}, element[4] = {0};
    int worst[4] = {0};
    for (int row = 0; row < ENTRIES; row++) {
        int kind = (int)t->kind[row], tensor = t->tensor[row];
        if (!comparable(kind, table)) continue;
        char name[160];
        snprintf(name, sizeof name, "optimizer.%s.exp_avg", t->name[row]);
        if (gradients) tensor = harness_need(&t->program, STM_STATE, name);
        int64_t n = harness_elements(&t->program, tensor);
        double *values = harness_read(&t->program, tensor), mine[REFERENCE_SUMMARY], a, b;
        for (int64_t i = 0; i < n && gradients; i++) values[i] /= 1 - 0.9;
        reference_summary_f64(values, n, mine);
        free(values);
        reference_distance(expected + row * REFERENCE_SUMMARY, mine, &a, &b);
        if (!(a <= norm[kind])) norm[kind] = a;
        if (!(b <= element[kind])) element[kind] = b, worst[kind] = row;
    }
    static const char *const kinds[] = {"parameters", "biases before a norm", "running statistics", "counters"};
    for (int kind = 0; kind < 4; kind++) {
        if (!comparable(kind, table)) continue;
        // A late running mean trails the noise of a useless bias (README.md); a counter is exact.
        bool loose = kind == STATISTIC && table == LATE_STATE;
        double late = t->f64 ? 1e-6 : 1e-1;
        char what[256];
        snprintf(what, sizeof what, "%s, norms of %s", key, kinds[kind]);
        tally_check(&t->tally, what, norm[kind], kind == COUNTER ? 0 : loose ? late : most_norm);
        bool any = element[kind] > 0;
        snprintf(what, sizeof what, "%s, elements of %s%s%s", key, kinds[kind], any ? ", worst " : "",
                 any ? t->name[worst[kind]] : "");
        tally_check(&t->tally, what, element[kind], kind == COUNTER ? 0 : loose ? late : most_element);
    }
}

static void check_number(Test *t, const char *key, double found, double expected, double most) {
    tally_check(&t->tally, key, fabs(found - expected) / fabs(expected), most);
}

static void check_frozen(Test *t) {
    fill(t);
    bind_batch(t, 0);
    set_scalars(t, 1e-3);
    check_number(t, "f64/eval/loss", train(t, 1), *recorded(t, "f64/eval/loss", 1), limit(t, 1e-6));
    check_table(t, "f64/eval/grad", FROZEN_GRADIENTS, limit(t, 3e-4), limit(t, 4e-3));
}

static void check_step(Test *t, bool all) {
    fill(t);
    bind_batch(t, 0);
    set_scalars(t, 1e-3);
    check_rank(t, "predict", BATCH, "f64/eval/output", limit(t, 1e-5));
    check_rank(t, "evaluate", BATCH, "f64/eval/output", limit(t, 1e-5));
    int64_t count;
    double *loss = harness_output(&t->program, "loss", &count);
    check_number(t, "f64/eval/loss", *loss, *recorded(t, "f64/eval/loss", 1), limit(t, 1e-6));
    free(loss);
    for (int spots = 1; spots < BATCH && all; spots += 3)
        check_rank(t, "predict", spots, "f64/eval/output", limit(t, 1e-5));
    check_number(t, "f64/train/loss", train(t, 1), *recorded(t, "f64/train/loss", 1), limit(t, 1e-6));
    check_table(t, "f64/train/grad", GRADIENTS, limit(t, 1e-5), limit(t, 3e-4));
    check_table(t, "f64/step1/state", FIRST_STATE, limit(t, 3e-6), limit(t, 2e-6));
}

static void check_ten(Test *t, const char *run, double lr, const double most_loss[STEPS], double norm, double element,
                      double output) {
    char key[64], what[96];
    fill(t);
    set_scalars(t, lr);
    snprintf(key, sizeof key, "f64/%s/loss", run);
    const double *losses = recorded(t, key, STEPS);
    for (int s = 0; s < STEPS; s++) {
        bind_batch(t, s);
        snprintf(what, sizeof what, "%s of step %d", key, s);
        check_number(t, what, train(t, s + 1), losses[s], limit(t, most_loss[s]));
    }
    snprintf(key, sizeof key, "f64/%s/state", run);
    check_table(t, key, LATE_STATE, limit(t, norm), limit(t, element));
    bind_batch(t, 0);
    snprintf(key, sizeof key, "f64/%s/eval_output", run);
    check_rank(t, "predict", BATCH, key, t->f64 ? 1e-6 : output);
}

// FNV-1a over all parameters and states, after an evaluation and two training steps with that many threads.
static uint64_t fingerprint(Test *t, int threads) {
    Test other = *t;
    Harness *p = &other.program;
    uint64_t hash = 0xCBF29CE484222325u;
    harness_start(p, threads);
    p->extent[plan_axis(p->plan, "spot")] = BATCH;
    fill(&other);
    bind_batch(&other, 0);
    set_scalars(&other, 1e-3);
    int64_t count;
    harness_run(p, "predict");
    double *rank = harness_output(p, "rank", &count);
    for (size_t i = 0; i < (size_t)count * sizeof *rank; i++)
        hash = (hash ^ ((unsigned char *)rank)[i]) * 0x100000001B3u;
    free(rank);
    for (int s = 0; s < 2; s++) train(&other, s + 1);
    for (int i = 0; i < p->plan->tensors; i++) {
        const StmTensor *tensor = &p->plan->tensor[i];
        if (tensor->kind != STM_PARAM && tensor->kind != STM_STATE) continue;
        const unsigned char *data = p->machine->block[i];
        size_t bytes = (size_t)harness_elements(p, i) * type_size(tensor->type);
        for (size_t b = 0; b < bytes; b++) hash = (hash ^ data[b]) * 0x100000001B3u;
    }
    harness_stop(p);
    return hash;
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: hevisum_test DIRECTORY step|all|frozen [-v]\n"), 2;
    static Test test;
    char path[4096], why[512], prefix[64];
    snprintf(path, sizeof path, "%s/hevisum.safetensors", argv[1]);
    Reference *reference = reference_open(path, why, sizeof why);
    if (!reference) stop("cannot read the reference:", why);
    test.reference = reference;
    harness_start(&test.program, 2);
    test.f64 = test.program.plan->real == STM_F64;
    snprintf(prefix, sizeof prefix, "hevisum %s %s: ", type_name(test.program.plan->real),
             isa_name(test.program.machine->isa));
    test.tally.prefix = prefix;
    test.tally.verbose = argc > 3 && !strcmp(argv[3], "-v");
    test.program.extent[plan_axis(test.program.plan, "spot")] = BATCH;
    find_entries(&test);
    bool all = !strcmp(argv[2], "all");
    if (!strcmp(argv[2], "frozen")) check_frozen(&test);
    else check_step(&test, all);
    if (all) {
        static const double steps[STEPS] = {1e-5, 1e-5, 1e-5, 3e-4, 3e-4, 3e-4, 8e-3, 8e-3, 8e-3, 8e-3};
        static const double gentle[STEPS] = {2e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4, 2e-4};
        check_ten(&test, "gentle", 1e-4, gentle, 1e-4, 5e-3, 1e-2);
        check_ten(&test, "steps", 1e-3, steps, 5e-3, 1e-1, 1.5e-1);
        uint64_t one = fingerprint(&test, 1);
        tally_check(&test.tally, "one and two threads differ", fingerprint(&test, 2) != one, 0);
        tally_check(&test.tally, "one and three threads differ", fingerprint(&test, 3) != one, 0);
    }
    harness_stop(&test.program);
    reference_close(reference);
    printf("%d passed, %d failed\n", test.tally.passed, test.tally.failed);
    return test.tally.failed != 0;
}
