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
#include "../device/runner.h"
#include "steps.h"

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

// Lays out scalars, then parameters and state in one block, 64 bytes apart.
static Status lay_out_persistent(Machine *m, Arena *arena) {
    const StmPlan *plan = m->plan;
    TRY(ARENA_NEW(arena, m->place, (size_t)plan->tensors + 1));
    int64_t at = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int t = 0; t < plan->tensors; t++) {
            const StmTensor *tensor = &plan->tensor[t];
            bool scalar = tensor->kind == STM_SCALAR, kept = tensor->kind == STM_PARAM || tensor->kind == STM_STATE;
            if (pass ? !kept : !scalar) continue;
            for (int d = 0; d < tensor->rank; d++) {
                int axis = tensor->dim[d].axis;
                if (axis >= 0 && plan->axis[axis].dynamic)
                    return status_make(STATUS_INTERNAL, "%s depends on the dynamic axis %s (this is a bug in stmc)",
                                       tensor->name, plan->axis[axis].name);
            }
            m->place[t] = at;
            at += round_up(tensor_elements(tensor, m->bound) * (int64_t)type_size(tensor->type), 64);
        }
        if (!pass) m->scalar_bytes = at;
    }
    m->persistent_bytes = at;
    TRY_IN(big_block_new(at, &m->persistent), "parameters and state");
    for (int t = 0; t < plan->tensors; t++) {
        StmTensorKind kind = plan->tensor[t].kind;
        if (kind == STM_PARAM || kind == STM_STATE || kind == STM_SCALAR) m->block[t] = m->persistent + m->place[t];
    }
    return STATUS_OK;
}

bool kernels_have_code(const StmPlan *plan, const StmKernelEntry *kernels) {
    for (int k = 0; k < plan->kernels; k++)
        if (kernels[k].v2 || kernels[k].v3 || kernels[k].v4) return true;
    return plan->kernels == 0;
}

// What both kinds of machine have.
static Status fill_common(Machine *m, Arena *arena) {
    const StmPlan *plan = m->plan;
    TRY(ARENA_NEW(arena, m->extent, (size_t)plan->axes + 2));
    TRY(ARENA_NEW(arena, m->bound, (size_t)plan->axes + 2));
    TRY(ARENA_NEW(arena, m->block, (size_t)plan->tensors + 1));
    TRY(ARENA_NEW(arena, m->state, (size_t)plan->jobs + 1));
    axis_counts(plan, m->bound);
    axis_counts(plan, m->extent);
    return lay_out_persistent(m, arena);
}

static Status fill_machine(Machine *m, const StmKernelEntry *kernels, Arena *arena) {
    const StmPlan *plan = m->plan;
    TRY(check_kernels(plan, kernels));
    TRY(ARENA_NEW(arena, m->kernel, (size_t)plan->kernels + 1));
    TRY(fill_common(m, arena));
    bool code = kernels_have_code(plan, kernels);
    for (int k = 0; k < plan->kernels; k++) {
        m->kernel[k] = m->isa == ISA_V4 ? kernels[k].v4 : m->isa == ISA_V3 ? kernels[k].v3 : kernels[k].v2;
        if (!m->kernel[k] && code)
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

Status machine_new_on(Gpu *gpu, Arena *arena, Machine **out_machine) {
    *out_machine = NULL;
    Machine *machine = NULL;
    TRY(ARENA_NEW(arena, machine, 1));
    *machine = (Machine){.plan = gpu->plan, .gpu = gpu};
    Status status = fill_common(machine, arena);
    if (status == STATUS_OK) status = ARENA_NEW(arena, machine->next, (size_t)gpu->plan->tensors + 1);
    if (status == STATUS_OK)
        status =
            runner_new(gpu, machine->place, machine->persistent_bytes, machine->scalar_bytes, arena, &machine->runner);
    if (status != STATUS_OK) machine_free(machine);
    else *out_machine = machine;
    return status;
}

void machine_free(Machine *m) {
    if (!m) return;
    runner_free(m->runner);
    m->runner = NULL;
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
    if (m->runner) {
        TRY(runner_prepare(m->runner, job, extent));
        m->prepared = job;
        return STATUS_OK;
    }
    int64_t need = 0;
    TRY(job_layout(job, extent, job_state(m, job)->group_base, &need));
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
    m->rebound = true;
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
    case STM_BF16: { // the upper half of an f32
        uint32_t bits = (uint32_t)((const uint16_t *)data)[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        return (double)value;
    }
    }
    return 0;
}

static void *buffer_address(const Machine *m, const StmJob *job, const StmBuffer *buffer) {
    if (buffer->group < 0) return m->block[buffer->tensor];
    return m->arena_base + buffer_offset(job, buffer, m->extent, job_state(m, job)->group_base);
}

static bool is_light(Machine *m, const StmJob *job, const StmStep *step) {
    return step_bytes(m->plan, job, step, m->extent) < LIGHT_BYTES && step->kind == STM_RUN &&
           step_flops(m->plan, job, step, m->extent, m->bound) < LIGHT_FLOPS;
}

static Status check_bound(const Machine *m, const StmJob *job) {
    for (int b = 0; b < job->buffers; b++) {
        int tensor = job->buffer[b].group < 0 ? job->buffer[b].tensor : -1;
        if (tensor >= 0 && !m->block[tensor])
            return status_make(STATUS_INTERNAL, "%s reads the input %s, which is not bound", job->name,
                               m->plan->tensor[tensor].name);
    }
    return STATUS_OK;
}

static Status lay_out_arguments(Machine *m) {
    const StmJob *job = m->prepared;
    void **argument = job_state(m, job)->argument;
    TRY(check_bound(m, job));
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
        int64_t parts = step_parts(m->plan, step, 0, m->extent);
        if (light) run_kernel(&call, 0, 0, parts);
        else pool_run(m->pool, run_kernel, &call, parts);
        return;
    }
    Move move = {.to = argument[0], .bytes = buffer_bytes(m->plan, job, &job->buffer[step->arg[0]], m->extent)};
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
    return step_outside(m->plan, job, step);
}

static Status no_host_code(const Machine *m) {
    return status_make(
        STATUS_UNSUPPORTED,
        "%s was compiled for CUDA alone and cannot compute on the CPU; use --device cuda on a machine with "
        "a GPU, or compile it with --target cpu,cuda",
        m->plan->name);
}

// What a run of a step adds to its times.
static void add_time(Machine *m, const StmJob *job, const StmStep *step, int64_t ns) {
    StepTime *time = &job_state(m, job)->time[step - job->step];
    time->ns += ns;
    time->calls++;
    time->bytes += (double)step_bytes(m->plan, job, step, m->extent);
    if (step->kind == STM_RUN) time->flops += step_flops(m->plan, job, step, m->extent, m->bound);
}

static Status run_on_device(Machine *m, const StmJob *job) {
    if (m->dirty) TRY(check_bound(m, job));
    m->dirty = m->mirrored = false;
    bool rebound = m->rebound;
    m->rebound = false;
    TRY(runner_run(m->runner, (const void *const *)m->block, rebound, m->persistent));
    const float *ms = runner_step_ms(m->runner);
    for (int s = 0; m->profile && s < job->steps; s++) add_time(m, job, &job->step[s], (int64_t)((double)ms[s] * 1e6));
    return STATUS_OK;
}

Status machine_run(Machine *m) {
    const StmJob *job = m->prepared;
    if (!job) return status_make(STATUS_INTERNAL, "machine_run without machine_prepare");
    if (m->runner) return run_on_device(m, job);
    if (m->plan->kernels && !m->kernel[0]) return no_host_code(m);
    if (m->dirty) TRY(lay_out_arguments(m));
    JobState *state = job_state(m, job);
    for (int s = 0; s < job->steps; s++) {
        const StmStep *step = &job->step[s];
        bool gathers = step->kind == STM_RUN && m->plan->kernel[step->kernel].scratch > 0;
        int64_t start = m->profile ? clock_ns() : 0;
        run_step(m, job, step, state->light[s], state->argument + state->first[s]);
        if (m->profile) add_time(m, job, step, clock_ns() - start);
        if (gathers) TRY(check_gathers(m, job, step));
    }
    return STATUS_OK;
}

Status machine_wait(Machine *m) {
    return m->runner ? runner_wait(m->runner) : STATUS_OK;
}

void machine_stage_input(Machine *m, int tensor, const void *data) {
    if (m->runner) m->next[tensor] = data;
}

Status machine_stage(Machine *m, const StmJob *job, const int64_t *extent) {
    return m->runner ? runner_stage(m->runner, job, extent, m->next) : STATUS_OK;
}

void machine_unstage(Machine *m) {
    if (m->runner) runner_unstage(m->runner);
}

Status machine_pull(Machine *m) {
    if (!m->runner || m->mirrored) return STATUS_OK;
    TRY_IN(runner_pull(m->runner, m->persistent), "parameters and state");
    m->mirrored = true;
    return STATUS_OK;
}

Status machine_push(Machine *m) {
    if (!m->runner) return STATUS_OK;
    TRY_IN(runner_push(m->runner, m->persistent), "parameters and state");
    m->mirrored = true;
    return STATUS_OK;
}

const void *machine_output(const Machine *m, int index) {
    const StmJob *job = m->prepared;
    if (m->runner) return runner_output(m->runner, index);
    return buffer_address(m, job, &job->buffer[job->output[index].buffer]);
}

const StmTensor *machine_output_tensor(const Machine *m, const StmJob *job, int index) {
    return &m->plan->tensor[job->output[index].tensor];
}

double machine_job_flops(Machine *m) {
    double sum = 0;
    for (int s = 0; m->prepared && s < m->prepared->steps; s++)
        if (m->prepared->step[s].kind == STM_RUN)
            sum += step_flops(m->plan, m->prepared, &m->prepared->step[s], m->extent, m->bound);
    return sum;
}

Status machine_profile_start(Machine *m, Arena *arena) {
    for (int j = 0; j < m->plan->jobs; j++) {
        TRY(ARENA_NEW(arena, m->state[j].time, (size_t)m->plan->job[j].steps + 1));
    }
    if (m->runner) TRY(runner_profile(m->runner, arena));
    m->profile = true;
    return STATUS_OK;
}
