// The parity tests' way to run a compiled program. See harness.h.
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void give_up(const char *what, const char *name) {
    printf("FAILED %s %s\n", what, name);
    exit(1);
}

void must(Status status) {
    if (status != STATUS_OK) give_up("the runtime says:", status_message(status));
}

static void *block(int64_t bytes) {
    void *data = aligned_alloc(64, ((size_t)bytes + 64) / 64 * 64);
    if (!data) give_up("out of", "memory");
    return data;
}

void harness_start(Harness *h, int threads) {
    Isa isa;
    memset(h, 0, sizeof *h);
    arena_init(&h->arena);
    must(plan_read(stm_plan_text, (size_t)stm_plan_size, &h->arena, &h->plan));
    if (h->plan->axes > HARNESS_AXES) give_up("more axes than the harness knows in", h->plan->name);
    axis_counts(h->plan, h->extent);
    must(pool_new(threads, &h->pool));
    must(choose_isa(&isa));
    must(machine_new(h->plan, stm_kernels, isa, h->pool, &h->arena, &h->machine));
    h->bound = calloc((size_t)h->plan->tensors + 1, sizeof *h->bound);
    if (!h->bound) give_up("out of", "memory");
}

void harness_stop(Harness *h) {
    for (int t = 0; t < h->plan->tensors; t++) free(h->bound[t]);
    free(h->bound);
    machine_free(h->machine);
    pool_free(h->pool);
    arena_free(&h->arena);
}

int harness_find(const Harness *h, StmTensorKind kind, const char *name) {
    return plan_tensor(h->plan, kind, name);
}

int harness_need(const Harness *h, StmTensorKind kind, const char *name) {
    int tensor = plan_tensor(h->plan, kind, name);
    if (tensor < 0) give_up("the program has no tensor", name);
    return tensor;
}

int64_t harness_elements(const Harness *h, int tensor) {
    return tensor_elements(&h->plan->tensor[tensor], h->extent);
}

void harness_write(Harness *h, int tensor, const double *values) {
    const StmTensor *t = &h->plan->tensor[tensor];
    int64_t n = harness_elements(h, tensor);
    void *data = h->machine->block[tensor];
    if (t->kind == STM_INPUT) {
        free(h->bound[tensor]);
        data = h->bound[tensor] = block(n * (int64_t)type_size(t->type));
        machine_bind(h->machine, tensor, data);
    }
    for (int64_t i = 0; i < n; i++) {
        switch (t->type) {
        case STM_F32: ((float *)data)[i] = (float)values[i]; break;
        case STM_F64: ((double *)data)[i] = values[i]; break;
        case STM_I32: ((int32_t *)data)[i] = (int32_t)values[i]; break;
        case STM_I64: ((int64_t *)data)[i] = (int64_t)values[i]; break;
        case STM_U8:
        case STM_BOOL: ((uint8_t *)data)[i] = (uint8_t)values[i]; break;
        case STM_BF16: break; // of temporaries alone
        }
    }
}

static double *as_doubles(StmType type, const void *data, int64_t n) {
    double *values = block(n * (int64_t)sizeof *values);
    for (int64_t i = 0; i < n; i++) values[i] = element_value(type, data, i);
    return values;
}

double *harness_read(const Harness *h, int tensor) {
    return as_doubles(h->plan->tensor[tensor].type, h->machine->block[tensor], harness_elements(h, tensor));
}

void harness_scalar(Harness *h, const char *name, double value) {
    machine_set_scalar(h->machine, plan_tensor(h->plan, STM_SCALAR, name), value);
}

void harness_run(Harness *h, const char *name) {
    const StmJob *job = plan_job(h->plan, name);
    if (!job) give_up("the program has no job", name);
    must(machine_prepare(h->machine, job, h->extent));
    must(machine_run(h->machine));
}

double *harness_output(const Harness *h, const char *name, int64_t *count) {
    const StmJob *job = h->machine->prepared;
    int output = job_output(job, name);
    if (output < 0) give_up("the job has no output", name);
    const StmTensor *tensor = machine_output_tensor(h->machine, job, output);
    *count = tensor_elements(tensor, h->extent);
    return as_doubles(tensor->type, machine_output(h->machine, output), *count);
}

void tally_check(Tally *tally, const char *what, double found, double limit) {
    bool good = found <= limit; // false for NaN
    tally->passed += good;
    tally->failed += !good;
    if (!good || tally->verbose)
        printf("%s %s%s: %.2g (limit %.2g)\n", good ? "ok    " : "FAILED", tally->prefix, what, found, limit);
}
