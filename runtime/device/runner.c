// runner: see runner.h. Memory, inputs and the order of runs are here; what one run enqueues is in layout.c.
#include "runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"

enum { INPUT_ALIGN = 256 };

static int64_t round_up(int64_t value, int64_t to) {
    return (value + to - 1) / to * to;
}

static size_t extents_size(const Runner *r) {
    return (size_t)r->plan->axes * sizeof *r->extent;
}

// ---- Life ------------------------------------------------------------------------------------------------------

static Status make_slot(Runner *r, Slot *slot, Arena *arena) {
    TRY(ARENA_NEW(arena, slot->extent, (size_t)r->plan->axes + 2));
    TRY(ARENA_NEW(arena, slot->data, (size_t)r->plan->tensors + 1));
    TRY(ARENA_NEW(arena, slot->at, (size_t)r->plan->tensors + 1));
    TRY_CUDA(r->driver, event_new, &slot->uploaded, CU_EVENT_UNTIMED);
    TRY_CUDA(r->driver, event_new, &slot->consumed, CU_EVENT_UNTIMED);
    return STATUS_OK;
}

static Status list_inputs(Runner *r, Arena *arena) {
    const StmPlan *plan = r->plan;
    TRY(ARENA_NEW(arena, r->input, (size_t)plan->jobs + 1));
    TRY(ARENA_NEW(arena, r->inputs, (size_t)plan->jobs + 1));
    for (int j = 0; j < plan->jobs; j++) {
        const StmJob *job = &plan->job[j];
        int count = 0;
        TRY(ARENA_NEW(arena, r->input[j], (size_t)job->buffers + 1));
        for (int b = 0; b < job->buffers; b++) {
            if (!buffer_is_input(r, &job->buffer[b])) continue;
            int known = 0;
            while (known < count && r->input[j][known] != job->buffer[b].tensor) known++;
            r->input[j][known] = job->buffer[b].tensor;
            if (known == count) count++;
        }
        r->inputs[j] = count;
    }
    return STATUS_OK;
}

static Status make_tables(Runner *r, Arena *arena) {
    const StmPlan *plan = r->plan;
    TRY(list_inputs(r, arena));
    int groups = 0, outputs = 0, args = 0, extents = 0;
    for (int j = 0; j < plan->jobs; j++) {
        const StmJob *job = &plan->job[j];
        if (job->groups > groups) groups = job->groups;
        if (job->outputs > outputs) outputs = job->outputs;
        if (job->steps > r->most_steps) r->most_steps = job->steps;
        for (int s = 0; s < job->steps; s++)
            if (job->step[s].args / step_calls(&job->step[s]) > args)
                args = job->step[s].args / step_calls(&job->step[s]);
    }
    for (int k = 0; k < plan->kernels; k++)
        if (plan->kernel[k].launch && plan->kernel[k].launch->extents > extents)
            extents = plan->kernel[k].launch->extents;
    TRY(ARENA_NEW(arena, r->extent, (size_t)plan->axes + 2));
    TRY(ARENA_NEW(arena, r->base, (size_t)groups + 1));
    TRY(ARENA_NEW(arena, r->output_at, (size_t)outputs + 1));
    TRY(ARENA_NEW(arena, r->address, (size_t)args + 1));
    TRY(ARENA_NEW(arena, r->number, (size_t)extents + 1));
    return ARENA_NEW(arena, r->parameter, (size_t)args + (size_t)extents + 3);
}

static Status fill_runner(Runner *r, Arena *arena) {
    TRY(make_tables(r, arena));
    TRY(gpu_memory(r->gpu, r->persistent_bytes, "parameters and state", &r->persistent));
    int64_t words = (int64_t)sizeof(unsigned) * (r->most_steps + 1);
    TRY(gpu_memory(r->gpu, words, "the report of positions", &r->outside));
    TRY(gpu_pinned(r->gpu, words, "the report of positions", (void **)&r->outside_host));
    memset(r->outside_host, 0, (size_t)words);
    TRY(gpu_pinned(r->gpu, r->scalar_bytes * IN_FLIGHT, "scalars", (void **)&r->scalars));
    TRY_CUDA(r->driver, fill, r->persistent, 0, (size_t)r->persistent_bytes, r->gpu->compute);
    TRY_CUDA(r->driver, fill, r->outside, 0, (size_t)words, r->gpu->compute);
    for (int i = 0; i < IN_FLIGHT; i++) {
        TRY_CUDA(r->driver, event_new, &r->done[i], CU_EVENT_UNTIMED);
        TRY(make_slot(r, &r->slot[i], arena));
    }
    TRY_CUDA(r->driver, stream_wait, r->gpu->compute);
    return STATUS_OK;
}

Status runner_new(Gpu *gpu, const int64_t *place, int64_t persistent_bytes, int64_t scalar_bytes, Arena *arena,
                  Runner **out_runner) {
    *out_runner = NULL;
    Runner *r = NULL;
    TRY(ARENA_NEW(arena, r, 1));
    *r = (Runner){.gpu = gpu,
                  .driver = &gpu->driver,
                  .plan = gpu->plan,
                  .place = place,
                  .persistent_bytes = persistent_bytes > 0 ? persistent_bytes : 64,
                  .scalar_bytes = scalar_bytes};
    Status status = fill_runner(r, arena);
    if (status != STATUS_OK) runner_free(r);
    else *out_runner = r;
    return status;
}

// Clean-up: what fails in here has been reported by an earlier call.
void runner_free(Runner *r) {
    if (!r) return;
    const CudaDriver *driver = r->driver;
    driver->stream_wait(r->gpu->transfer);
    driver->stream_wait(r->gpu->compute);
    layouts_drop(r, -1);
    for (int i = 0; i < IN_FLIGHT; i++) {
        Slot *slot = &r->slot[i];
        gpu_memory_free(r->gpu, &slot->device, slot->bytes);
        gpu_pinned_free(r->gpu, (void **)&slot->pinned);
        if (slot->uploaded) driver->event_free(slot->uploaded);
        if (slot->consumed) driver->event_free(slot->consumed);
        if (r->done[i]) driver->event_free(r->done[i]);
    }
    for (int i = 0; r->step_event && i <= r->most_steps; i++)
        if (r->step_event[i]) driver->event_free(r->step_event[i]);
    gpu_pinned_free(r->gpu, (void **)&r->scalars);
    gpu_pinned_free(r->gpu, (void **)&r->outside_host);
    gpu_pinned_free(r->gpu, (void **)&r->output);
    gpu_memory_free(r->gpu, &r->outside, (int64_t)sizeof(unsigned) * (r->most_steps + 1));
    gpu_memory_free(r->gpu, &r->arena, r->arena_bytes);
    gpu_memory_free(r->gpu, &r->persistent, r->persistent_bytes);
    *r = (Runner){0};
}

// ---- Preparing -------------------------------------------------------------------------------------------------

// "256 spots" of the dynamic axes.
static void size_text(const StmPlan *plan, const int64_t *extent, char text[128]) {
    int n = 0;
    text[0] = '\0';
    for (int a = 0; a < plan->axes && n < 100; a++)
        if (plan->axis[a].dynamic)
            n += snprintf(text + n, 128 - (size_t)n, "%s%lld %.40ss", n ? ", " : "", (long long)extent[a],
                          plan->axis[a].name);
}

// Kernels count elements in 32 bits.
static Status check_counts(const StmPlan *plan, const StmJob *job, const int64_t *extent) {
    for (int b = 0; b < job->buffers; b++) {
        const StmBuffer *buffer = &job->buffer[b];
        const StmTensor *tensor = buffer->tensor >= 0 ? &plan->tensor[buffer->tensor] : NULL;
        int64_t elements = 1;
        bool over = false;
        for (int d = 0; tensor && d < tensor->rank; d++)
            over = over || __builtin_mul_overflow(elements, extent_of(tensor->dim[d], extent), &elements);
        if (!tensor) elements = buffer_bytes(plan, job, buffer, extent) / (int64_t)type_size(plan->real);
        if (!over && elements <= INT32_MAX) continue;
        char size[128];
        size_text(plan, extent, size);
        if (over) elements = INT64_MAX;
        return status_make(STATUS_UNSUPPORTED,
                           "%s at %s: %s has %lld elements, and a GPU's kernels count at most %lld; use a smaller "
                           "--batch, or --device cpu",
                           job->name, *size ? size : "this size", tensor ? tensor->name : "a workspace",
                           (long long)elements, (long long)INT32_MAX);
    }
    return STATUS_OK;
}

static Status grow_arena(Runner *r, const StmJob *job, const int64_t *extent, int64_t need) {
    if (need <= r->arena_bytes) return STATUS_OK;
    char purpose[256], size[128];
    TRY(runner_wait(r));
    layouts_drop(r, -1);
    gpu_memory_free(r->gpu, &r->arena, r->arena_bytes);
    r->arena_bytes = 0;
    size_text(r->plan, extent, size);
    snprintf(purpose, sizeof purpose, "the temporaries of %.60s at %s", job->name, *size ? size : "its size");
    TRY(gpu_memory(r->gpu, need, purpose, &r->arena));
    r->arena_bytes = need;
    return STATUS_OK;
}

static Status lay_out_outputs(Runner *r, const StmJob *job, const int64_t *extent) {
    int64_t at = 0;
    for (int o = 0; o < job->outputs; o++) {
        r->output_at[o] = at;
        if (!buffer_is_input(r, &job->buffer[job->output[o].buffer]))
            at += round_up(job_output_bytes(r->plan, job, o, extent), 64);
    }
    if (at <= r->output_bytes) return STATUS_OK;
    TRY(runner_wait(r));
    layouts_drop(r, -1);
    gpu_pinned_free(r->gpu, (void **)&r->output);
    r->output_bytes = 0;
    TRY(gpu_pinned(r->gpu, at, "outputs", (void **)&r->output));
    r->output_bytes = at;
    return STATUS_OK;
}

Status runner_prepare(Runner *r, const StmJob *job, const int64_t *extent) {
    if (r->job == job && memcmp(r->extent, extent, extents_size(r)) == 0) return STATUS_OK;
    int64_t need = 0;
    // The report of positions belongs to one job at a time.
    if (r->job && r->job != job) TRY(runner_wait(r));
    r->job = NULL;
    TRY(check_counts(r->plan, job, extent));
    TRY(job_layout(job, extent, r->base, &need));
    TRY(grow_arena(r, job, extent, need));
    TRY(lay_out_outputs(r, job, extent));
    if (r->plan->axes) memcpy(r->extent, extent, extents_size(r));
    r->job = job;
    return STATUS_OK;
}

// ---- Inputs ----------------------------------------------------------------------------------------------------

static int64_t input_bytes(const Runner *r, const StmJob *job, const int64_t *extent) {
    const int *input;
    int inputs = job_inputs(r, job, &input);
    int64_t bytes = 0;
    for (int i = 0; i < inputs; i++) {
        const StmTensor *tensor = &r->plan->tensor[input[i]];
        bytes += round_up(tensor_elements(tensor, extent) * (int64_t)type_size(tensor->type), INPUT_ALIGN);
    }
    return bytes;
}

// Places the job's inputs in the slot; its memory grows when needed.
static Status lay_out_slot(Runner *r, Slot *slot, const StmJob *job, const int64_t *extent) {
    const int *input;
    int inputs = job_inputs(r, job, &input);
    int64_t at = 0, need = input_bytes(r, job, extent);
    for (int i = 0; i < inputs; i++) {
        const StmTensor *tensor = &r->plan->tensor[input[i]];
        slot->at[input[i]] = at;
        at += round_up(tensor_elements(tensor, extent) * (int64_t)type_size(tensor->type), INPUT_ALIGN);
    }
    if (need <= slot->bytes) return STATUS_OK;
    char purpose[256], size[128];
    TRY(runner_wait(r));
    TRY_CUDA(r->driver, stream_wait, r->gpu->transfer);
    layouts_drop(r, (int)(slot - r->slot));
    gpu_memory_free(r->gpu, &slot->device, slot->bytes);
    gpu_pinned_free(r->gpu, (void **)&slot->pinned);
    slot->bytes = 0;
    slot->was_uploaded = slot->was_consumed = false;
    size_text(r->plan, extent, size);
    snprintf(purpose, sizeof purpose, "the inputs of %.60s at %s", job->name, *size ? size : "its size");
    TRY(gpu_memory(r->gpu, need, purpose, &slot->device));
    Status status = gpu_pinned(r->gpu, need, purpose, (void **)&slot->pinned);
    if (status == STATUS_OK) slot->bytes = need;
    else gpu_memory_free(r->gpu, &slot->device, need);
    return status;
}

static Status upload(Runner *r, Slot *slot, const StmJob *job, const int64_t *extent, const void *const *data) {
    int64_t bytes = input_bytes(r, job, extent);
    slot->job = NULL;
    TRY(lay_out_slot(r, slot, job, extent));
    if (slot->was_uploaded) TRY_CUDA(r->driver, event_wait, slot->uploaded); // its pinned copy is free again
    const int *input;
    int inputs = job_inputs(r, job, &input);
    for (int i = 0; i < inputs; i++) {
        int t = input[i];
        const StmTensor *tensor = &r->plan->tensor[t];
        slot->data[t] = data[t];
        memcpy(slot->pinned + slot->at[t], data[t], (size_t)tensor_elements(tensor, extent) * type_size(tensor->type));
    }
    CuStream stream = r->gpu->transfer;
    if (slot->was_consumed) TRY_CUDA(r->driver, stream_after, stream, slot->consumed, 0);
    if (bytes) TRY_CUDA(r->driver, copy_in, slot->device, slot->pinned, (size_t)bytes, stream);
    TRY_CUDA(r->driver, event_record, slot->uploaded, stream);
    slot->was_uploaded = true;
    slot->job = job;
    if (r->plan->axes) memcpy(slot->extent, extent, extents_size(r));
    return STATUS_OK;
}

static bool slot_holds(const Runner *r, const Slot *slot, const void *const *data) {
    if (slot->job != r->job || memcmp(slot->extent, r->extent, extents_size(r)) != 0) return false;
    const int *input;
    int inputs = job_inputs(r, r->job, &input);
    for (int i = 0; i < inputs; i++)
        if (slot->data[input[i]] != data[input[i]]) return false;
    return true;
}

static bool has_inputs(const Runner *r, const StmJob *job) {
    return r->inputs[job - r->plan->job] > 0;
}

Status runner_stage(Runner *r, const StmJob *job, const int64_t *extent, const void *const *data) {
    r->staged = false;
    if (!has_inputs(r, job)) return STATUS_OK;
    if (job != r->job || memcmp(r->extent, extent, extents_size(r)) != 0) TRY(check_counts(r->plan, job, extent));
    TRY(upload(r, &r->slot[1 - r->current], job, extent, data));
    r->staged = true;
    return STATUS_OK;
}

void runner_unstage(Runner *r) {
    r->staged = false;
}

// The slot with the inputs of this run becomes the current one.
static Status take_inputs(Runner *r, const void *const *data, bool fresh) {
    Slot *other = &r->slot[1 - r->current];
    bool staged = r->staged;
    r->staged = false;
    if (staged && slot_holds(r, other, data)) {
        r->current = 1 - r->current;
        return STATUS_OK;
    }
    if (!fresh && slot_holds(r, &r->slot[r->current], data)) return STATUS_OK;
    // A whole split (metrics) has one place only: nothing runs then, so the slot of the last run is free as well.
    int64_t need = input_bytes(r, r->job, r->extent);
    bool stay = !r->running && other->bytes < need && r->slot[r->current].bytes >= need;
    if (!stay) r->current = 1 - r->current;
    return upload(r, &r->slot[r->current], r->job, r->extent, data);
}

// ---- Running ---------------------------------------------------------------------------------------------------

Status runner_run(Runner *r, const void *const *data, bool fresh, const void *scalars) {
    int turn = (int)(r->runs % IN_FLIGHT);
    CuStream stream = r->gpu->compute;
    bool inputs = has_inputs(r, r->job);
    if (inputs) TRY(take_inputs(r, data, fresh));
    if (r->pending[turn]) TRY_IN(CUDA(r->driver, event_wait, r->done[turn]), "%s", r->job->name);
    r->pending[turn] = false;
    Slot *slot = &r->slot[r->current];
    struct Layout *layout = NULL;
    TRY(layout_find(r, &layout));
    if (r->scalar_bytes) {
        char *own = r->scalars + turn * r->scalar_bytes;
        memcpy(own, scalars, (size_t)r->scalar_bytes);
        TRY_CUDA(r->driver, copy_in, r->persistent, own, (size_t)r->scalar_bytes, stream);
    }
    if (inputs) TRY_CUDA(r->driver, stream_after, stream, slot->uploaded, 0);
    r->running = true;
    TRY_IN(layout_run(r, layout), "%s", r->job->name);
    if (inputs) {
        TRY_CUDA(r->driver, event_record, slot->consumed, stream);
        slot->was_consumed = true;
    }
    TRY_CUDA(r->driver, event_record, r->done[turn], stream);
    r->pending[turn] = true;
    r->runs++;
    return r->step_event ? runner_wait(r) : STATUS_OK;
}

static Status read_times(Runner *r) {
    for (int s = 0; s < r->job->steps; s++)
        TRY_CUDA(r->driver, event_ms, &r->step_ms[s], r->step_event[s], r->step_event[s + 1]);
    return STATUS_OK;
}

Status runner_wait(Runner *r) {
    if (!r->running) return STATUS_OK;
    r->running = false;
    TRY_IN(CUDA(r->driver, stream_wait, r->gpu->compute), "%s", r->job ? r->job->name : "a job");
    for (int i = 0; i < IN_FLIGHT; i++) r->pending[i] = false;
    if (!r->job) return STATUS_OK;
    if (r->step_event) TRY(read_times(r));
    for (int s = 0; s < r->job->steps; s++) {
        if (!r->outside_host[s]) continue;
        size_t bytes = sizeof(unsigned) * (size_t)r->most_steps;
        memset(r->outside_host, 0, bytes);
        TRY_CUDA(r->driver, fill, r->outside, 0, bytes, r->gpu->compute);
        return step_outside(r->plan, r->job, &r->job->step[s]);
    }
    return STATUS_OK;
}

const void *runner_output(const Runner *r, int index) {
    const StmBuffer *buffer = &r->job->buffer[r->job->output[index].buffer];
    const Slot *slot = &r->slot[r->current];
    return buffer_is_input(r, buffer) ? slot->pinned + slot->at[buffer->tensor] : r->output + r->output_at[index];
}

Status runner_pull(Runner *r, void *block) {
    TRY(runner_wait(r));
    int64_t bytes = r->persistent_bytes - r->scalar_bytes;
    if (bytes <= 0) return STATUS_OK;
    TRY_CUDA(r->driver, copy_out, (char *)block + r->scalar_bytes, r->persistent + (CuAddress)r->scalar_bytes,
             (size_t)bytes, r->gpu->compute);
    TRY_CUDA(r->driver, stream_wait, r->gpu->compute);
    return STATUS_OK;
}

Status runner_push(Runner *r, const void *block) {
    TRY(runner_wait(r));
    int64_t bytes = r->persistent_bytes - r->scalar_bytes;
    if (bytes <= 0) return STATUS_OK;
    TRY_CUDA(r->driver, copy_in, r->persistent + (CuAddress)r->scalar_bytes, (const char *)block + r->scalar_bytes,
             (size_t)bytes, r->gpu->compute);
    TRY_CUDA(r->driver, stream_wait, r->gpu->compute);
    return STATUS_OK;
}

Status runner_profile(Runner *r, Arena *arena) {
    TRY(ARENA_NEW(arena, r->step_ms, (size_t)r->most_steps + 1));
    TRY(ARENA_NEW(arena, r->step_event, (size_t)r->most_steps + 1));
    for (int i = 0; i <= r->most_steps; i++) TRY_CUDA(r->driver, event_new, &r->step_event[i], CU_EVENT_TIMED);
    return STATUS_OK;
}

const float *runner_step_ms(const Runner *r) {
    return r->step_ms;
}

Status gpu_plan_bytes(const StmPlan *plan, const StmJob *job, const int64_t *extent, Arena *arena, int64_t *out_bytes) {
    int64_t *base = NULL, bytes = 0;
    TRY(ARENA_NEW(arena, base, (size_t)job->groups + 1));
    TRY(job_layout(job, extent, base, &bytes));
    for (int t = 0; t < plan->tensors; t++) {
        const StmTensor *tensor = &plan->tensor[t];
        int64_t own = tensor_elements(tensor, extent) * (int64_t)type_size(tensor->type);
        if (tensor->kind == STM_INPUT) bytes += job_uses(job, t) ? 2 * round_up(own, INPUT_ALIGN) : 0;
        else if (tensor->kind != STM_TEMP) bytes += round_up(own, 64);
    }
    for (int k = 0; k < plan->kernels; k++)
        if (plan->kernel[k].matmul) {
            bytes += CUBLASLT_WORKSPACE;
            break;
        }
    *out_bytes = bytes;
    return STATUS_OK;
}
