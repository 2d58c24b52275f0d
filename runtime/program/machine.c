// machine: see machine.h. Running a job is one walk over its steps; each step is a kernel over a range of
// parts, spread over the pool, or a block that is zeroed or copied.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // MADV_HUGEPAGE, MAP_ANONYMOUS
#endif

#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../core/clock.h"
#include "../core/strings.h"

enum {
    HUGE_PAGE = 2 << 20,
    MOVE_PART = 256 << 10,
    LIGHT_BYTES = 16 << 10, // below both limits a step takes about a microsecond, no more than sharing it would
    LIGHT_FLOPS = 32 << 10,
};

static int64_t round_up(int64_t value, int64_t to) {
    return (value + to - 1) / to * to;
}

Status choose_isa(Isa *out_isa) {
    Isa best = ISA_V2;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2"))
        best = ISA_V3;
    if (best == ISA_V3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        best = ISA_V4;
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt"))
        return status_make(STATUS_UNSUPPORTED, "this CPU has no SSE4.2; x86-64-v2 (any CPU since 2009) is needed");
#endif
    *out_isa = best;
    const char *wish = getenv("STM_ISA");
    if (!wish || !*wish) return STATUS_OK;
    Isa wanted = strcmp(wish, "v2") == 0 ? ISA_V2 : strcmp(wish, "v3") == 0 ? ISA_V3 : ISA_V4;
    if (wanted == ISA_V4 && strcmp(wish, "v4") != 0)
        return status_make(STATUS_INVALID, "STM_ISA=%s: the values are v2, v3 and v4", wish);
    if (wanted > best)
        return status_make(STATUS_UNSUPPORTED, "STM_ISA=%s: this CPU only has %s; unset STM_ISA", wish, isa_name(best));
    *out_isa = wanted;
    return STATUS_OK;
}

const char *isa_name(Isa isa) {
    return isa == ISA_V4 ? "x86-64-v4 (AVX-512)" : isa == ISA_V3 ? "x86-64-v3 (AVX2)" : "x86-64-v2 (SSE4.2)";
}

// Blocks of a huge page or more are mapped with room to start on a huge-page border.
static int64_t mapped_bytes(int64_t bytes) {
    return bytes < HUGE_PAGE ? round_up(bytes < 64 ? 64 : bytes, 4096) : round_up(bytes, HUGE_PAGE) + HUGE_PAGE;
}

Status big_block_new(int64_t bytes, char **out_block) {
    int64_t mapped = mapped_bytes(bytes);
    char *map = mmap(NULL, (size_t)mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return status_make(STATUS_NO_MEMORY, "the system has no %.1f MB of memory left; use a smaller batch",
                           (double)mapped / 1e6);
    if (bytes >= HUGE_PAGE) {
        // Trim to the border: what is before and after is given back, so that freeing needs only start and
        // size.
        char *start = (char *)round_up((int64_t)(intptr_t)map, HUGE_PAGE);
        int64_t before = start - map, after = HUGE_PAGE - before;
        if (before) munmap(map, (size_t)before);
        if (after) munmap(start + mapped - HUGE_PAGE, (size_t)after);
        madvise(start, (size_t)(mapped - HUGE_PAGE), MADV_HUGEPAGE); // advice: a refusal changes nothing
        map = start;
    }
    *out_block = map;
    return STATUS_OK;
}

void big_block_free(char *block, int64_t bytes) {
    if (!block) return;
    int64_t mapped = mapped_bytes(bytes);
    munmap(block, (size_t)(bytes < HUGE_PAGE ? mapped : mapped - HUGE_PAGE));
}

static Status check_kernels(const StmPlan *plan, const StmKernelEntry *kernels) {
    for (int k = 0; k < plan->kernels; k++) {
        if (!kernels[k].name || strcmp(kernels[k].name, plan->kernel[k].name) != 0)
            return status_make(STATUS_INTERNAL,
                               "kernel %d is %s in the plan and %s in the code (this is a bug in stmc)", k,
                               plan->kernel[k].name, kernels[k].name ? kernels[k].name : "missing");
    }
    return STATUS_OK;
}

// Lays out parameters, state and scalars in one block, 64 bytes apart.
static Status lay_out_persistent(Machine *m) {
    const StmPlan *plan = m->plan;
    for (int pass = 0; pass < 2; pass++) {
        int64_t at = 0;
        for (int t = 0; t < plan->tensors; t++) {
            const StmTensor *tensor = &plan->tensor[t];
            if (tensor->kind != STM_PARAM && tensor->kind != STM_STATE && tensor->kind != STM_SCALAR) continue;
            for (int d = 0; d < tensor->rank; d++) {
                int axis = tensor->dim[d].axis;
                if (axis >= 0 && plan->axis[axis].dynamic)
                    return status_make(STATUS_INTERNAL, "%s depends on the dynamic axis %s (this is a bug in stmc)",
                                       tensor->name, plan->axis[axis].name);
            }
            if (pass) m->block[t] = m->persistent + at;
            at += round_up(tensor_elements(tensor, m->bound) * (int64_t)type_size(tensor->type), 64);
        }
        if (pass) break;
        m->persistent_bytes = at;
        TRY_IN(big_block_new(at, &m->persistent), "parameters and state");
    }
    return STATUS_OK;
}

static Status fill_machine(Machine *m, const StmKernelEntry *kernels, Arena *arena) {
    const StmPlan *plan = m->plan;
    TRY(check_kernels(plan, kernels));
    TRY(ARENA_NEW(arena, m->kernel, (size_t)plan->kernels + 1));
    TRY(ARENA_NEW(arena, m->extent, (size_t)plan->axes + 2));
    TRY(ARENA_NEW(arena, m->bound, (size_t)plan->axes + 2));
    TRY(ARENA_NEW(arena, m->block, (size_t)plan->tensors + 1));
    TRY(ARENA_NEW(arena, m->state, (size_t)plan->jobs + 1));
    axis_counts(plan, m->bound);
    axis_counts(plan, m->extent);
    for (int k = 0; k < plan->kernels; k++) {
        m->kernel[k] = m->isa == ISA_V4 ? kernels[k].v4 : m->isa == ISA_V3 ? kernels[k].v3 : kernels[k].v2;
        if (!m->kernel[k])
            return status_make(STATUS_INTERNAL, "kernel %s has no code for %s (this is a bug in stmc)", kernels[k].name,
                               isa_name(m->isa));
        if (plan->kernel[k].scratch > m->scratch_stride) m->scratch_stride = plan->kernel[k].scratch;
    }
    m->scratch_stride = round_up(m->scratch_stride, 128);
    for (int j = 0; j < plan->jobs; j++) {
        const StmJob *job = &plan->job[j];
        JobState *state = &m->state[j];
        size_t arguments = 1;
        TRY(ARENA_NEW(arena, state->first, (size_t)job->steps + 1));
        for (int s = 0; s < job->steps; s++) {
            state->first[s] = (int64_t)arguments - 1;
            arguments += (size_t)job->step[s].args;
        }
        TRY(ARENA_NEW(arena, state->argument, arguments));
        TRY(ARENA_NEW(arena, state->light, (size_t)job->steps + 1));
        TRY(ARENA_NEW(arena, state->group_base, (size_t)job->groups + 1));
    }
    TRY(lay_out_persistent(m));
    return big_block_new(m->scratch_stride * pool_threads(m->pool), &m->scratch);
}

Status machine_new(const StmPlan *plan, const StmKernelEntry *kernels, Isa isa, Pool *pool, Arena *arena,
                   Machine **out_machine) {
    *out_machine = NULL;
    Machine *machine = NULL;
    TRY(ARENA_NEW(arena, machine, 1));
    *machine = (Machine){.plan = plan, .pool = pool, .isa = isa};
    Status status = fill_machine(machine, kernels, arena);
    if (status != STATUS_OK) machine_free(machine);
    else *out_machine = machine;
    return status;
}

void machine_free(Machine *m) {
    if (!m) return;
    big_block_free(m->persistent, m->persistent_bytes);
    big_block_free(m->arena_base, m->arena_bytes);
    if (m->scratch) big_block_free(m->scratch, m->scratch_stride * pool_threads(m->pool));
    m->persistent = m->arena_base = m->scratch = NULL;
}

static JobState *job_state(const Machine *m, const StmJob *job) {
    return &m->state[job - m->plan->job];
}

Status machine_prepare(Machine *m, const StmJob *job, const int64_t *extent) {
    size_t axes = (size_t)m->plan->axes;
    if (m->prepared == job && memcmp(m->extent, extent, axes * sizeof *extent) == 0) return STATUS_OK;
    m->prepared = NULL;
    m->dirty = m->resized = true;
    if (axes) memcpy(m->extent, extent, axes * sizeof *extent);
    JobState *state = job_state(m, job);
    int64_t need = 0;
    for (int g = 0; g < job->groups; g++) {
        state->group_base[g] = need;
        int64_t bytes = job->group[g].bytes;
        for (int k = 0; k < 2; k++) {
            int axis = job->group[g].axis[k];
            if (axis >= 0 && __builtin_mul_overflow(bytes, extent[axis], &bytes)) bytes = INT64_MAX / 2;
        }
        if (bytes > ((int64_t)1 << 46) || need > ((int64_t)1 << 46))
            return status_make(STATUS_NO_MEMORY, "%s needs more than 64 TB at this size; use a smaller batch",
                               job->name);
        need += bytes;
    }
    if (need > m->arena_bytes) {
        big_block_free(m->arena_base, m->arena_bytes);
        m->arena_base = NULL;
        m->arena_bytes = 0;
        TRY_IN(big_block_new(need, &m->arena_base), "%s", job->name);
        m->arena_bytes = need;
    }
    m->prepared = job;
    return STATUS_OK;
}

void machine_bind(Machine *m, int tensor, const void *data) {
    // Kernels take all arguments as void *; they never write to inputs.
    if (m->block[tensor] != data) m->dirty = true;
    m->block[tensor] = (void *)(uintptr_t)data;
}

void machine_set_scalar(Machine *m, int tensor, double value) {
    if (tensor < 0) return;
    void *at = m->block[tensor];
    switch (m->plan->tensor[tensor].type) {
    case STM_F32: *(float *)at = (float)value; break;
    case STM_F64: *(double *)at = value; break;
    case STM_I32: *(int32_t *)at = (int32_t)(int64_t)value; break;
    case STM_I64: *(int64_t *)at = (int64_t)value; break;
    case STM_U8:
    case STM_BOOL: *(uint8_t *)at = (uint8_t)value; break;
    case STM_BF16: break; // of temporaries alone
    }
}

double element_value(StmType type, const void *data, int64_t i) {
    switch (type) {
    case STM_F32: return (double)((const float *)data)[i];
    case STM_F64: return ((const double *)data)[i];
    case STM_I32: return ((const int32_t *)data)[i];
    case STM_I64: return (double)((const int64_t *)data)[i];
    case STM_U8:
    case STM_BOOL: return ((const uint8_t *)data)[i];
    case STM_BF16: break; // of temporaries alone
    }
    return 0;
}

static void *buffer_address(const Machine *m, const StmJob *job, const StmBuffer *buffer) {
    if (buffer->group < 0) return m->block[buffer->tensor];
    const StmGroup *group = &job->group[buffer->group];
    int64_t unit = 1;
    for (int k = 0; k < 2; k++)
        if (group->axis[k] >= 0) unit *= m->extent[group->axis[k]];
    return m->arena_base + job_state(m, job)->group_base[buffer->group] + buffer->offset * unit;
}

static int64_t buffer_bytes(const Machine *m, const StmJob *job, const StmBuffer *buffer) {
    if (buffer->tensor >= 0) {
        const StmTensor *tensor = &m->plan->tensor[buffer->tensor];
        return tensor_elements(tensor, m->extent) * (int64_t)type_size(tensor->type);
    }
    int64_t bytes = buffer->bytes;
    for (int k = 0; k < 2; k++) {
        int axis = job->group[buffer->group].axis[k];
        if (axis >= 0) bytes *= m->extent[axis];
    }
    return bytes;
}

// Puts the step's own extents behind the axes and gives the number of parts.
static int64_t step_parts(const Machine *m, const StmStep *step, int64_t *extent) {
    for (int i = 0; i < step->extents; i++) extent[m->plan->axes + i] = extent_of(step->extent[i], extent);
    return (extent_of(step->parts, extent) + step->divide - 1) / step->divide;
}

// Operations of a step, from what the plan says of its kernel: at the bounds, with step extents of 1.
static double step_flops(const Machine *m, const StmStep *step) {
    double flops = (double)m->plan->kernel[step->kernel].flops;
    for (int i = 0; i < step->extents; i++) flops *= (double)extent_of(step->extent[i], m->extent);
    if (step->extents) return flops;
    int64_t parts = step_parts(m, step, m->extent), bound = step_parts(m, step, m->bound);
    return bound > 0 ? flops * (double)parts / (double)bound : 0;
}

static bool is_light(Machine *m, const StmJob *job, const StmStep *step) {
    int64_t bytes = 0;
    for (int a = 0; a < step->args; a++) bytes += buffer_bytes(m, job, &job->buffer[step->arg[a]]);
    return bytes < LIGHT_BYTES && step->kind == STM_RUN && step_flops(m, step) < LIGHT_FLOPS;
}

static Status lay_out_arguments(Machine *m) {
    const StmJob *job = m->prepared;
    void **argument = job_state(m, job)->argument;
    for (int b = 0; b < job->buffers; b++) {
        int tensor = job->buffer[b].group < 0 ? job->buffer[b].tensor : -1;
        if (tensor >= 0 && !m->block[tensor])
            return status_make(STATUS_INTERNAL, "%s reads the input %s, which is not bound", job->name,
                               m->plan->tensor[tensor].name);
    }
    for (int s = 0; s < job->steps; s++)
        for (int a = 0; a < job->step[s].args; a++)
            *argument++ = buffer_address(m, job, &job->buffer[job->step[s].arg[a]]);
    JobState *state = job_state(m, job);
    for (int s = 0; s < job->steps && m->resized; s++) state->light[s] = is_light(m, job, &job->step[s]);
    m->resized = false;
    m->dirty = false;
    return STATUS_OK;
}

typedef struct KernelCall {
    Machine *machine;
    StmKernel kernel;
    void *const *argument;
} KernelCall;

static void run_kernel(void *context, int thread, int64_t first, int64_t last) {
    KernelCall *call = context;
    Machine *m = call->machine;
    call->kernel(call->argument, m->extent, m->scratch + thread * m->scratch_stride, first, last);
}

typedef struct Move {
    char *to;
    const char *from; // NULL: zero
    int64_t bytes;
} Move;

static void run_move(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Move *move = context;
    int64_t from = first * MOVE_PART, to = last * MOVE_PART;
    if (to > move->bytes) to = move->bytes;
    if (move->from) memmove(move->to + from, move->from + from, (size_t)(to - from));
    else memset(move->to + from, 0, (size_t)(to - from));
}

static void run_step(Machine *m, const StmJob *job, const StmStep *step, bool light, void **argument) {
    if (step->kind == STM_RUN) {
        KernelCall call = {m, m->kernel[step->kernel], argument};
        int64_t parts = step_parts(m, step, m->extent);
        if (light) run_kernel(&call, 0, 0, parts);
        else pool_run(m->pool, run_kernel, &call, parts);
        return;
    }
    Move move = {.to = argument[0], .bytes = buffer_bytes(m, job, &job->buffer[step->arg[0]])};
    if (step->kind == STM_COPY) move.from = argument[1];
    pool_run(m->pool, run_move, &move, (move.bytes + MOVE_PART - 1) / MOVE_PART);
}

// The first word of a thread's scratch becomes non-zero when a kernel met a gathered position (x[index[e]]) outside its
// tensor. Such a read was 0 and such a write dropped; the numbers mean nothing, so the run ends here.
static Status check_gathers(Machine *m, const StmJob *job, const StmStep *step) {
    bool outside = false;
    for (int t = 0; t < pool_threads(m->pool); t++) {
        int64_t *word = (int64_t *)(void *)(m->scratch + t * m->scratch_stride);
        outside = outside || *word != 0;
        *word = 0;
    }
    if (!outside) return STATUS_OK;
    return status_make(
        STATUS_MISMATCH,
        "job %s, %s: a position taken from the data is outside its tensor; check the index inputs of the "
        "store against the axes of the spec (EXE info)",
        job->name, step->origin && *step->origin ? step->origin : m->plan->kernel[step->kernel].name);
}

Status machine_run(Machine *m) {
    const StmJob *job = m->prepared;
    if (!job) return status_make(STATUS_INTERNAL, "machine_run without machine_prepare");
    if (m->dirty) TRY(lay_out_arguments(m));
    JobState *state = job_state(m, job);
    for (int s = 0; s < job->steps; s++) {
        const StmStep *step = &job->step[s];
        bool gathers = step->kind == STM_RUN && m->plan->kernel[step->kernel].scratch > 0;
        if (!m->profile) {
            run_step(m, job, step, state->light[s], state->argument + state->first[s]);
            if (gathers) TRY(check_gathers(m, job, step));
            continue;
        }
        int64_t start = clock_ns();
        run_step(m, job, step, state->light[s], state->argument + state->first[s]);
        StepTime *time = &state->time[s];
        time->ns += clock_ns() - start;
        time->calls++;
        if (step->kind == STM_RUN) time->flops += step_flops(m, step);
        if (gathers) TRY(check_gathers(m, job, step));
    }
    return STATUS_OK;
}

const void *machine_output(const Machine *m, int index) {
    const StmJob *job = m->prepared;
    return buffer_address(m, job, &job->buffer[job->output[index].buffer]);
}

const StmTensor *machine_output_tensor(const Machine *m, const StmJob *job, int index) {
    return &m->plan->tensor[job->output[index].tensor];
}

double machine_job_flops(Machine *m) {
    double sum = 0;
    for (int s = 0; m->prepared && s < m->prepared->steps; s++)
        if (m->prepared->step[s].kind == STM_RUN) sum += step_flops(m, &m->prepared->step[s]);
    return sum;
}

Status machine_profile_start(Machine *m, Arena *arena) {
    for (int j = 0; j < m->plan->jobs; j++) {
        TRY(ARENA_NEW(arena, m->state[j].time, (size_t)m->plan->job[j].steps + 1));
    }
    m->profile = true;
    return STATUS_OK;
}

typedef struct Row { // of the profile: a kernel, or zeroing or copying, with all steps that run it
    const char *name, *origin;
    int64_t steps, calls, ns;
    double flops;
} Row;

static int by_time(const void *a, const void *b) {
    const Row *x = a, *y = b;
    return x->ns != y->ns ? (x->ns < y->ns ? 1 : -1) : 0;
}

Status machine_profile_table(const Machine *m, Text *text) {
    const StmPlan *plan = m->plan;
    size_t rows = (size_t)plan->kernels + 2;
    Row *row = calloc(rows, sizeof *row);
    if (!row) return status_make(STATUS_NO_MEMORY, "no memory for the profile");
    int64_t all = 0;
    for (int j = 0; j < plan->jobs; j++) {
        const StmJob *job = &plan->job[j];
        for (int s = 0; s < job->steps; s++) {
            const StmStep *step = &job->step[s];
            const StepTime *time = &m->state[j].time[s];
            if (!time->calls) continue;
            Row *r = &row[step->kind == STM_RUN ? step->kernel : plan->kernels + (step->kind == STM_COPY)];
            r->name = step->kind == STM_RUN    ? plan->kernel[step->kernel].name
                      : step->kind == STM_ZERO ? "(zero)"
                                               : "(copy)";
            if (!r->origin && step->origin) r->origin = step->origin;
            r->steps++;
            r->calls += time->calls;
            r->ns += time->ns;
            r->flops += time->flops;
            all += time->ns;
        }
    }
    qsort(row, rows, sizeof *row, by_time);
    text_printf(text, "%-34s %-30s %9s %10s %6s %9s\n", "kernel", "origin", "calls", "ms", "share", "GFLOP/s");
    for (size_t i = 0; i < rows && row[i].name; i++) {
        char origin[64];
        const char *place = row[i].origin ? row[i].origin : "-";
        if (row[i].steps > 1) snprintf(origin, sizeof origin, "%.22s (+%lld)", place, (long long)row[i].steps - 1);
        else snprintf(origin, sizeof origin, "%.30s", place);
        text_printf(text, "%-34.34s %-30s %9lld %10.2f %5.1f%% ", row[i].name, origin, (long long)row[i].calls,
                    (double)row[i].ns / 1e6, all ? 100.0 * (double)row[i].ns / (double)all : 0.0);
        if (row[i].flops > 0 && row[i].ns > 0) text_printf(text, "%9.2f\n", row[i].flops / (double)row[i].ns);
        else text_printf(text, "%9s\n", "-");
    }
    text_printf(text, "%-34s %-30s %9s %10.2f\n", "all", "", "", (double)all / 1e6);
    free(row);
    return text_status(text);
}
