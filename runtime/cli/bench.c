// bench: step times on synthetic inputs. Text or --json; with --interactive a dialogue: a line `train K` or
// `infer K` on stdin runs K steps and answers with one line of JSON holding each step's milliseconds, so that
// a script can alternate with a peer.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // getline
#endif

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/clock.h"
#include "../core/json.h"
#include "../core/random.h"
#include "../program/profile.h"
#include "../report/progress.h"
#include "commands.h"

enum { MOST_STEPS = 1000000, FEWEST = 5, WARM_UP = 2, COPY_BYTES = 128 << 20 };

typedef struct Bench {
    const CommandInput *input;
    Session *session;
    int64_t batch;
    char **block; // [tensors] synthetic inputs, made when first needed
    int64_t *extent;
    int64_t trained; // steps
    double *ms;      // [room]
    int64_t room;
} Bench;

static const StmJob *bench_job(const Bench *b, bool train) {
    return plan_job(b->session->plan, train ? "train" : "predict");
}

static int64_t input_bytes(const Bench *b, int tensor) {
    const StmTensor *t = &b->session->plan->tensor[tensor];
    return tensor_elements(t, b->extent) * (int64_t)type_size(t->type);
}

// Reals in [0, 1), bytes in 0 .. 255, booleans; integers are 0, the one value that is inside whatever they
// index.
static void fill(const StmTensor *tensor, char *data, int64_t count, uint32_t stream) {
    RandomStream random = random_stream(1, stream);
    for (int64_t i = 0; i < count; i++) {
        switch (tensor->type) {
        case STM_F32: ((float *)(void *)data)[i] = random_unit(&random); break;
        case STM_F64: ((double *)(void *)data)[i] = (double)random_unit(&random); break;
        case STM_U8: ((uint8_t *)data)[i] = (uint8_t)random_word(&random); break;
        case STM_BOOL: ((uint8_t *)data)[i] = random_word(&random) & 1; break;
        case STM_I32:
        case STM_I64:
        case STM_BF16: return; // bf16: of temporaries alone
        }
    }
}

static Status make_inputs(Bench *b, const StmJob *job) {
    const StmPlan *plan = b->session->plan;
    for (int t = 0; t < plan->tensors; t++) {
        if (plan->tensor[t].kind != STM_INPUT || !job_uses(job, t)) continue;
        if (!b->block[t]) {
            TRY_IN(big_block_new(input_bytes(b, t), &b->block[t]), "synthetic %s", plan->tensor[t].name);
            fill(&plan->tensor[t], b->block[t], tensor_elements(&plan->tensor[t], b->extent), (uint32_t)t);
        }
        machine_bind(b->session->machine, t, b->block[t]);
    }
    return STATUS_OK;
}

// Runs `steps` steps; the time of each goes to b->ms.
static Status run_steps(Bench *b, bool train, int64_t steps) {
    Machine *m = b->session->machine;
    const StmJob *job = bench_job(b, train);
    if (!job)
        return status_make(STATUS_INVALID, "%s has no %s block", b->session->plan->name, train ? "train" : "predict");
    if (steps > b->room) {
        double *larger = realloc(b->ms, (size_t)steps * sizeof *larger);
        if (!larger) return status_make(STATUS_NO_MEMORY, "no memory for %lld times", (long long)steps);
        b->ms = larger;
        b->room = steps;
    }
    TRY(make_inputs(b, job));
    TRY(machine_prepare(m, job, b->extent));
    int scalar = plan_tensor(b->session->plan, STM_SCALAR, "step");
    for (int64_t i = 0; i < steps; i++) {
        if (train) machine_set_scalar(m, scalar, (double)++b->trained);
        int64_t start = clock_ns();
        TRY(machine_run(m));
        TRY(machine_wait(m));
        b->ms[i] = (double)(clock_ns() - start) / 1e6;
        if (*b->input->stop) return status_make(STATUS_CANCELLED, "stopped by a signal");
    }
    return STATUS_OK;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct Timing {
    int64_t steps;
    double least, median, most; // ms
    double flops;               // of a step
    int64_t bytes;              // of the arena
} Timing;

// Steps for about a second, or as many as asked for.
static Status time_job(Bench *b, bool train, Timing *out) {
    int64_t steps = b->input->options->steps;
    TRY(run_steps(b, train, WARM_UP));
    if (steps < 0) {
        double ms = b->ms[WARM_UP - 1] > 1e-3 ? b->ms[WARM_UP - 1] : 1e-3;
        steps = (int64_t)(1000 / ms);
        steps = steps < FEWEST ? FEWEST : steps > 2000 ? 2000 : steps;
    }
    TRY(run_steps(b, train, steps));
    qsort(b->ms, (size_t)steps, sizeof *b->ms, by_value);
    const StmJob *job = bench_job(b, train);
    *out = (Timing){.steps = steps,
                    .least = b->ms[0],
                    .median = b->ms[steps / 2],
                    .most = b->ms[steps - 1],
                    .flops = machine_job_flops(b->session->machine),
                    .bytes = job_arena_bytes(job, b->extent)};
    return STATUS_OK;
}

static void json_timing(JsonWriter *w, const char *name, const Timing *t, int64_t batch) {
    json_key(w, name);
    json_begin_object(w);
    json_key(w, "steps"), json_integer(w, t->steps);
    json_key(w, "min_ms"), json_number(w, t->least);
    json_key(w, "median_ms"), json_number(w, t->median);
    json_key(w, "max_ms"), json_number(w, t->most);
    json_key(w, "rows_per_second"), json_number(w, (double)batch / t->median * 1e3);
    json_key(w, "flops"), json_number(w, t->flops);
    json_key(w, "gflops"), json_number(w, t->flops / t->median / 1e6);
    json_key(w, "bytes"), json_integer(w, t->bytes);
    json_end_object(w);
}

static Status json_profile(JsonWriter *w, const Machine *m) {
    ProfileRow *row = NULL;
    size_t rows = 0;
    TRY(profile_rows(m, &row, &rows));
    json_key(w, "profile");
    json_begin_array(w);
    for (size_t i = 0; i < rows; i++) {
        double ns = row[i].ns > 0 ? (double)row[i].ns : 1;
        json_begin_object(w);
        json_key(w, "kernel"), json_string(w, row[i].name);
        json_key(w, "origin"), json_string(w, row[i].origin ? row[i].origin : "");
        json_key(w, "steps"), json_integer(w, row[i].steps);
        json_key(w, "calls"), json_integer(w, row[i].calls);
        json_key(w, "ms"), json_number(w, (double)row[i].ns / 1e6);
        json_key(w, "bytes_a_call"), json_number(w, row[i].bytes / (double)row[i].calls);
        json_key(w, "gb_per_s"), json_number(w, row[i].bytes / ns);
        json_key(w, "gflops"), json_number(w, row[i].flops / ns);
        json_end_object(w);
    }
    json_end_array(w);
    free(row);
    return STATUS_OK;
}

static Status report(Bench *b) {
    char device[DEVICE_TEXT], bytes[BYTES_TEXT];
    const Session *s = b->session;
    Timing timing[2];
    bool there[2] = {bench_job(b, true) != NULL, bench_job(b, false) != NULL};
    static const char *const names[2] = {"train", "predict"};
    if (!there[0] && !there[1])
        return status_make(STATUS_INVALID, "%s has neither a train nor a predict block", s->plan->name);
    for (int k = 0; k < 2; k++)
        if (there[k]) TRY(time_job(b, k == 0, &timing[k]));
    double copy_rate = 0; // what the profile's rates are measured against
    if (s->gpu && b->input->options->profile) TRY(gpu_copy_rate(s->gpu, COPY_BYTES, &copy_rate));
    if (b->input->options->json) {
        JsonWriter w = json_writer(2);
        json_begin_object(&w);
        json_key(&w, "program"), json_string(&w, s->plan->name);
        json_key(&w, "device"), json_string(&w, session_device(s, device));
        json_key(&w, s->gpu ? "device_name" : "instruction_set"), json_string(&w, session_device_name(s));
        if (s->gpu) json_key(&w, "device_bytes"), json_integer(&w, s->gpu->most_used);
        if (copy_rate > 0) json_key(&w, "copy_gb_per_s"), json_number(&w, copy_rate);
        json_key(&w, "threads"), json_integer(&w, pool_threads(s->pool));
        json_key(&w, "batch"), json_integer(&w, b->batch);
        for (int k = 0; k < 2; k++)
            if (there[k]) json_timing(&w, names[k], &timing[k], b->batch);
        Status status = b->input->options->profile ? json_profile(&w, s->machine) : STATUS_OK;
        json_end_object(&w);
        if (status == STATUS_OK) status = text_status(&w.text);
        if (status == STATUS_OK) puts(text_string(&w.text));
        json_writer_free(&w);
        return status;
    }
    if (s->gpu)
        printf("%s, %s, %s of its memory", session_device(s, device), session_device_name(s),
               bytes_text((double)s->gpu->most_used, bytes));
    else
        printf("%s, %d thread%s", session_device_name(s), pool_threads(s->pool), pool_threads(s->pool) == 1 ? "" : "s");
    printf(", %lld %ss a step\n\n", (long long)b->batch, session_row_name(s));
    printf("%-10s %8s %11s %11s %11s %12s %10s %12s\n", "", "steps", "min ms", "median ms", "max ms", "rows/s",
           "GFLOP/s", "memory");
    for (int k = 0; k < 2; k++) {
        const Timing *t = &timing[k];
        if (there[k])
            printf("%-10s %8lld %11.3f %11.3f %11.3f %12.0f %10.2f %12s\n", names[k], (long long)t->steps, t->least,
                   t->median, t->most, (double)b->batch / t->median * 1e3, t->flops / t->median / 1e6,
                   bytes_text((double)t->bytes, bytes));
    }
    if (copy_rate > 0) printf("\ncopies within the GPU's memory run at %.0f GB/s\n", copy_rate);
    return STATUS_OK;
}

static void answer(JsonWriter *w) {
    puts(text_string(&w->text));
    fflush(stdout);
    json_writer_free(w);
}

static void answer_error(const char *message) {
    JsonWriter w = json_writer(0);
    json_begin_object(&w);
    json_key(&w, "error"), json_string(&w, message);
    json_end_object(&w);
    answer(&w);
}

// One line of the dialogue. Mistakes are answered, not fatal.
static void answer_line(Bench *b, char *line) {
    char *count = strchr(line, ' ');
    int64_t steps = 0;
    if (count) *count++ = '\0';
    bool train = strcmp(line, "train") == 0;
    if ((!train && strcmp(line, "infer") != 0) || !count || !parse_i64(count, strlen(count), &steps) || steps < 1 ||
        steps > MOST_STEPS) {
        answer_error("lines are: train K, infer K (K from 1 to 1000000)");
        return;
    }
    Status status = run_steps(b, train, steps);
    if (status != STATUS_OK) {
        answer_error(status_message(status));
        status_drop(status);
        return;
    }
    JsonWriter w = json_writer(0);
    json_begin_object(&w);
    json_key(&w, "op"), json_string(&w, line);
    json_key(&w, "batch"), json_integer(&w, b->batch);
    json_key(&w, "ms");
    json_begin_array(&w);
    for (int64_t i = 0; i < steps; i++) json_number(&w, b->ms[i]);
    json_end_array(&w);
    json_end_object(&w);
    answer(&w);
}

static Status dialogue(Bench *b) {
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    while (!*b->input->stop && (n = getline(&line, &room, stdin)) > 0) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r' || line[n - 1] == ' ')) line[--n] = '\0';
        if (n) answer_line(b, line);
        if (ferror(stdout)) break;
    }
    free(line);
    return STATUS_OK;
}

Status command_bench(const CommandInput *input) {
    Session *s = input->session;
    Bench b = {.input = input, .session = s};
    TRY(command_start(input));
    b.batch = input->options->batch > 0                                ? input->options->batch
              : s->plan->train.batch > 0 && plan_job(s->plan, "train") ? s->plan->train.batch
                                                                       : command_batch(input);
    TRY(ARENA_NEW(&s->arena, b.block, (size_t)s->plan->tensors + 1));
    TRY(ARENA_NEW(&s->arena, b.extent, (size_t)s->plan->axes + 1));
    session_extents(s, b.batch, b.extent);
    TRY(session_init(s, 0));
    session_scalar(s, "epochs", (double)s->plan->train.epochs);
    session_scalar(s, "steps", 100);
    Status status = input->options->interactive ? dialogue(&b) : report(&b);
    for (int t = 0; t < s->plan->tensors; t++)
        if (b.block[t]) big_block_free(b.block[t], input_bytes(&b, t));
    free(b.ms);
    return status;
}
