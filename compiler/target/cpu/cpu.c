// Entry of the CPU target: lowering of kernels to phases, compilation of phases to objects on threads.
#include "target/cpu/cpu.h"

#include "target/cpu/contraction.h"
#include "forms/derive.h"
#include "target/cpu/loops.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { SPLIT_CHUNKS = 64, SPLIT_FACTOR = 3, ENOUGH_PARTS = 8, SHARD = 24, MOST_SHARDS = 16 };

// Our code is vectorised and hoisted already; these passes turn slots into registers and clean up addresses.
static const char pipeline[] = "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,early-cse)";

// ---- lowering
// What CpuPhase.plan points to.
typedef struct PhasePlan {
    LoopPlan loops; // without a contraction
    const Contraction *contraction;
    const char *name[CONTRACT_MAX_PHASES]; // of all phases of the contraction
    int number;                            // of this phase; phase 0 emits all
} PhasePlan;

static const char *add_phase(Arena *arena, const Program *p, const CpuOptions *options, const Kernel *original,
                             const Kernel *k, const char *name, int chunked, int chunks, CpuLowering *out) {
    PhasePlan *holder = NEW(arena, PhasePlan);
    LoopPlan *plan = &holder->loops;
    plan->nest.chunked = chunked;
    plan->nest.chunk = chunked >= 0 ? 0 : -1;
    plan->chunks = chunks;
    const char *error = plan_loops(arena, p, k, name, options, plan);
    if (error) return error;
    CpuPhase *phase = &out->phase[out->phases++];
    *phase = (CpuPhase){
        .name = name, .parts = plan->parts, .divide = plan->divide, .scratch = plan->scratch, .plan = holder};
    for (int i = 0; i < k->buffer.count; i++) {
        if (plan->nest.arg_of[i] < 0) continue;
        if (phase->args == MAX_VARS * 4) return arena_format(arena, "kernel %s has too many arguments", name);
        phase->arg[phase->args++] = i < original->buffer.count ? i : ~(i - original->buffer.count);
    }
    return NULL;
}

// A workspace grows with two dynamic axes at most, as a group of the plan does.
static bool workspaces_fit(const Kernel *k, int from, int have) {
    for (int i = from; i < k->buffer.count; i++) {
        int axes = 0;
        for (int d = 0; d < k->buffer.at[i].rank; d++) axes += k->buffer.at[i].dim[d].axis >= 0;
        if (axes > 2 || ++have > CPU_MAX_WORKSPACES) return false;
    }
    return true;
}

static const char *add_workspaces(Arena *arena, const Program *p, const Kernel *k, int from, CpuLowering *out) {
    for (int i = from; i < k->buffer.count; i++) {
        const KernelBuffer *b = &k->buffer.at[i];
        Mono m = mono_of(element_bytes(p->real64, b->type));
        for (int d = 0; d < b->rank; d++)
            if (!mono_multiply(m, mono_extent(b->dim[d]), &m)) m.axes = MONO_AXES;
        if (m.axes > 2 || out->workspaces == CPU_MAX_WORKSPACES)
            return arena_format(arena, "kernel %s needs a workspace that grows with more than two dynamic axes",
                                k->name);
        CpuWorkspace *w = &out->workspace[out->workspaces++];
        w->axis[0] = m.axes > 0 ? m.axis[0] : -1;
        w->axis[1] = m.axes > 1 ? m.axis[1] : -1;
        w->bytes = (m.k + 63) / 64 * 64;
    }
    return NULL;
}

static bool reads_written(const Kernel *k, const Expr *e, int depth) {
    if (e->op == OP_READ && (e->tensor < 0 || k->buffer.at[e->tensor].is_written)) return true;
    if (depth > 200) return true;
    for (int i = 0; i < e->arity; i++)
        if (reads_written(k, e->arg[i], depth + 1)) return true;
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather && reads_written(k, e->position[i].gather, depth + 1)) return true;
    return false;
}

static bool uses_random(const Expr *e, int depth) {
    if (e->op == OP_RANDOM || depth > 200) return true;
    for (int i = 0; i < e->arity; i++)
        if (uses_random(e->arg[i], depth + 1)) return true;
    return false;
}

static bool splittable(const Kernel *k, const Stage *stage, int var) {
    bool reduced = false;
    int dims = 1 + stage->free + k->outer;
    if (stage->accumulate || stage->reduce < REDUCE_SUM || stage->reduce > REDUCE_PROD) return false;
    for (int i = stage->free; i < stage->vars; i++) reduced = reduced || stage->var[i] == var;
    return reduced && dims <= MAX_RANK && !reads_written(k, stage->value, 0) && !uses_random(stage->value, 0);
}

typedef struct Split {
    int var, stages, chunks;
} Split;

// A long reduction with few results: which variable to cut, and into how many pieces. Depends on extents alone.
static Split choose_split(const Program *p, const Kernel *k, const CpuOptions *options, const LoopPlan *whole) {
    Split split = {-1, 0, 0};
    const Stage *first = &k->stage.at[0];
    double grain = options && options->grain > 0 ? (double)options->grain : 100000;
    double work = (double)whole->stage[0].cost + 1, results = 1;
    int64_t parts = (mono_bound(p, mono_extent(whole->parts)) + whole->divide - 1) / whole->divide;
    for (int v = 0; v < k->outer; v++) results *= (double)mono_bound(p, mono_extent(k->var[v].extent));
    for (int i = 0; i < first->free; i++) results *= (double)mono_bound(p, mono_extent(k->var[first->var[i]].extent));
    work *= results;
    for (int i = first->free; i < first->vars; i++)
        work *= (double)mono_bound(p, mono_extent(k->var[first->var[i]].extent));
    if (whole->nest.scatters || k->vars + 1 > 2 * MAX_VARS) return split;
    if (k->split >= 0) {
        split.var = k->split;
        split.chunks = k->chunks > 1 ? k->chunks : 16;
    } else {
        if (parts >= ENOUGH_PARTS || work < SPLIT_FACTOR * grain) return split;
        int64_t best = 0;
        for (int i = first->free; i < first->vars; i++) {
            int v = first->var[i];
            int64_t n = mono_bound(p, mono_extent(k->var[v].extent));
            if (v == whole->stage[0].lane) n = n >= 2048 ? n / 64 : 0; // whole vectors must remain
            if (n >= 4 && n > best) best = n, split.var = v;
        }
        int64_t chunks = (int64_t)(work / grain);
        if (chunks > best) chunks = best;
        if (chunks > SPLIT_CHUNKS) chunks = SPLIT_CHUNKS;
        split.chunks = (int)chunks;
    }
    if (split.var < 0 || split.chunks < 2) return (Split){-1, 0, 0};
    while (split.stages < k->stage.count && splittable(k, &k->stage.at[split.stages], split.var)) split.stages++;
    // Results of the pieces must be few against the work, or combining them costs more than it brings.
    if (split.stages == 0 || results * split.chunks * 4 > work) return (Split){-1, 0, 0};
    return split;
}

static void add_contraction(Arena *arena, const Kernel *k, const Contraction *c, CpuLowering *out) {
    const char *name[CONTRACT_MAX_PHASES];
    const ContractPlan *all = &c->plan[0];
    for (int i = 0; i < all->phases; i++)
        name[i] = all->phases == 1 ? k->name : arena_format(arena, "%s_p%d", k->name, i);
    int workspace[CONTRACT_WORKSPACES];
    for (int w = 0; w < CONTRACT_WORKSPACES; w++) {
        workspace[w] = -1;
        if (all->workspace[w].bytes == 0) continue;
        workspace[w] = out->workspaces;
        out->workspace[out->workspaces++] =
            (CpuWorkspace){{all->workspace[w].slot[0], all->workspace[w].slot[1]}, all->workspace[w].bytes};
    }
    for (int i = 0; i < all->phases; i++) {
        PhasePlan *plan = NEW(arena, PhasePlan);
        CpuPhase *phase = &out->phase[out->phases++];
        ContractParts parts = all->phase[i].parts;
        plan->contraction = c;
        plan->number = i;
        memcpy(plan->name, name, sizeof name);
        *phase = (CpuPhase){.name = name[i],
                            .parts = {parts.count, parts.slot},
                            .divide = parts.divide,
                            .flops = all->phase[i].kind == CONTRACT_PHASE_MAIN ? k->flops : 0,
                            .scratch = CPU_SCRATCH_HEADER + all->scratch_bytes,
                            .plan = plan};
        for (int b = 0; b < k->buffer.count; b++)
            if (c->loops.nest.arg_of[b] >= 0) phase->arg[phase->args++] = b;
        // The functions know workspaces by position: one that is not used still takes its place.
        for (int w = 0; w < CONTRACT_WORKSPACES; w++)
            if (out->workspaces > 0) phase->arg[phase->args++] = workspace[w] >= 0 ? ~workspace[w] : ~0;
    }
}

const char *cpu_lower(Arena *arena, const Program *p, const Kernel *k, const CpuOptions *options, CpuLowering *out) {
    *out = (CpuLowering){.kernel = k};
    for (int i = 0; i < k->buffer.count; i++)
        if (k->buffer.at[i].type == T_BF16)
            return arena_format(arena, "kernel %s: buffer %d is bf16, which host code does not store", k->name, i);
    const Kernel *d = derive_outer(arena, k);
    if (k->kind == KERNEL_CONTRACTION) {
        const char *why;
        const Contraction *c = contraction_plan(arena, p, d, options, &why);
        if (c) {
            add_contraction(arena, k, c, out);
            return NULL;
        }
        out->note = why;
    }
    d = derive_buffers(arena, d, INT64_MAX);
    LoopPlan whole = {.nest = {.chunked = -1, .chunk = -1}};
    const char *error = plan_loops(arena, p, d, k->name, options, &whole);
    if (error) return error;
    Split split = choose_split(p, d, options, &whole);
    error = add_workspaces(arena, p, d, k->buffer.count, out);
    if (error) return error;
    Kernel *partial = NULL, *rest = NULL;
    if (split.var >= 0) derive_split(arena, d, UINT64_MAX >> (64 - split.stages), split.chunks, &partial, &rest);
    if (!partial || !workspaces_fit(partial, d->buffer.count, out->workspaces)) {
        error = add_phase(arena, p, options, k, d, k->name, -1, 0, out);
    } else {
        error = add_workspaces(arena, p, partial, d->buffer.count, out);
        if (!error)
            error = add_phase(arena, p, options, k, partial, arena_format(arena, "%s_p0", k->name), split.var + 1,
                              split.chunks, out);
        if (!error) error = add_phase(arena, p, options, k, rest, arena_format(arena, "%s_p1", k->name), -1, 0, out);
    }
    if (!error) out->phase[0].flops = k->flops;
    return error;
}

// ---- compiling
typedef struct CompileJob {
    CpuLevel level;
    int shard, shards;
    Arena *arena;
    const char *error;
    CpuObject object;
    double ms[3];
} CompileJob;

typedef struct Compile {
    const Program *program;
    const CpuPhase **phase;
    int phases;
    const CpuOptions *options;
    CompileJob *job;
    int jobs;
    int next; // taken with an atomic addition
} Compile;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static const char *dump(const CpuOptions *options, CpuModule *m, const CompileJob *job, const char *when) {
    char path[4096];
    char *message = NULL;
    if (!options || !options->emit_ir) return NULL;
    snprintf(path, sizeof path, "%s/kernels_%s_%d.%s.ll", options->emit_ir, cpu_level_suffix[job->level], job->shard,
             when);
    if (!LLVMPrintModuleToFile(m->module, path, &message)) return NULL;
    const char *error = arena_format(job->arena, "cannot write %s: %s", path, message);
    LLVMDisposeMessage(message);
    return error;
}

static const char *verify_module(CpuModule *m, Arena *arena) {
    char *message = NULL;
    const char *error = NULL;
    if (LLVMVerifyModule(m->module, LLVMReturnStatusAction, &message))
        error = arena_format(arena, "LLVM refuses the emitted code (a bug in stmc): %s", message);
    LLVMDisposeMessage(message);
    return error;
}

static const char *to_object(CpuModule *m, CompileJob *job, const char *name) {
    LLVMMemoryBufferRef buffer = NULL;
    char *message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(m->machine, m->module, LLVMObjectFile, &message, &buffer)) {
        const char *error = arena_format(job->arena, "LLVM cannot make an object file: %s", message);
        LLVMDisposeMessage(message);
        return error;
    }
    size_t size = LLVMGetBufferSize(buffer);
    job->object = (CpuObject){name, arena_copy(job->arena, LLVMGetBufferStart(buffer), size), size};
    LLVMDisposeMemoryBuffer(buffer);
    return NULL;
}

static const char *optimise(CpuModule *m, Arena *arena) {
    LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
    LLVMErrorRef failed = LLVMRunPasses(m->module, pipeline, m->machine, o);
    LLVMDisposePassBuilderOptions(o);
    if (!failed) return NULL;
    char *message = LLVMGetErrorMessage(failed);
    const char *error = arena_format(arena, "LLVM's passes failed: %s", message);
    LLVMDisposeErrorMessage(message);
    return error;
}

static const char *compile_job(const Compile *c, CompileJob *job) {
    CpuModule m;
    bool verify = c->options && c->options->verify;
    double start = now_ms();
    const char *error = module_open(&m, job->level, c->program->real64, job->arena);
    if (error) return error;
    for (int i = job->shard; i < c->phases && !error; i += job->shards) {
        const PhasePlan *plan = c->phase[i]->plan;
        if (!plan->contraction) loops_emit(&m, job->arena, &plan->loops);
        else if (plan->number == 0) error = contraction_emit(&m, job->arena, plan->contraction, plan->name);
    }
    if (!error) error = dump(c->options, &m, job, "in");
    if (!error && verify) error = verify_module(&m, job->arena);
    job->ms[0] = now_ms() - start;
    start = now_ms();
    if (!error) error = optimise(&m, job->arena);
    if (!error) error = dump(c->options, &m, job, "out");
    job->ms[1] = now_ms() - start;
    start = now_ms();
    if (!error)
        error = to_object(&m, job, arena_format(job->arena, "kernels_%s_%d", cpu_level_suffix[job->level], job->shard));
    job->ms[2] = now_ms() - start;
    module_close(&m);
    return error;
}

static void *compile_thread(void *user) {
    Compile *c = user;
    for (;;) {
        int i = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED);
        if (i >= c->jobs) return NULL;
        c->job[i].error = compile_job(c, &c->job[i]);
    }
}

const char *cpu_compile(Arena *arena, const Program *p, const CpuLowering *const *lowering, int count,
                        const CpuOptions *options, CpuObjects *out) {
    Compile c = {.program = p, .options = options};
    for (int i = 0; i < count; i++) c.phases += lowering[i]->phases;
    c.phase = NEW_ARRAY(arena, const CpuPhase *, c.phases + 1);
    c.phases = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < lowering[i]->phases; j++) c.phase[c.phases++] = &lowering[i]->phase[j];
    int shards = (c.phases + SHARD - 1) / SHARD;
    if (shards < 1) shards = 1;
    if (shards > MOST_SHARDS) shards = MOST_SHARDS;
    c.job = NEW_ARRAY(arena, CompileJob, shards * CPU_LEVELS);
    for (int level = CPU_LEVELS - 1; level >= 0; level--)
        for (int s = 0; s < shards; s++) {
            if (options && options->skip[level]) continue;
            c.job[c.jobs++] =
                (CompileJob){.level = (CpuLevel)level, .shard = s, .shards = shards, .arena = arena_new()};
        }
    int threads = options && options->threads > 0 ? options->threads : 2;
    pthread_t thread[16];
    int started = 0;
    while (started < threads - 1 && started < 16 && started < c.jobs - 1)
        if (pthread_create(&thread[started], NULL, compile_thread, &c)) break; // this thread does the rest
        else started++;
    compile_thread(&c);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
    const char *error = NULL;
    for (int i = 0; i < c.jobs; i++) {
        CompileJob *job = &c.job[i];
        if (job->error && !error) error = arena_format(arena, "%s", job->error);
        if (!job->error) {
            CpuObject o = {arena_format(arena, "%s", job->object.name),
                           arena_copy(arena, job->object.bytes, job->object.size), job->object.size};
            vec_push(arena, &out->object, o);
        }
        out->emit_ms += job->ms[0];
        out->optimise_ms += job->ms[1];
        out->generate_ms += job->ms[2];
        arena_free(job->arena);
    }
    return error;
}

// ---- the data module
static LLVMValueRef text_constant(CpuModule *m, const char *text, size_t size, const char *name, bool internal) {
    LLVMValueRef bytes = LLVMConstStringInContext2(m->context, text, size, 0);
    LLVMValueRef global = LLVMAddGlobal(m->module, LLVMTypeOf(bytes), name);
    LLVMSetInitializer(global, bytes);
    LLVMSetGlobalConstant(global, 1);
    if (internal) LLVMSetLinkage(global, LLVMPrivateLinkage);
    return global;
}

// NAME and its size in another constant.
static void sized_constant(CpuModule *m, const void *bytes, size_t size, const char *name, const char *size_name) {
    LLVMValueRef global = text_constant(m, bytes ? bytes : "", bytes ? size : 0, name, false);
    LLVMSetAlignment(global, 16);
    LLVMValueRef number = LLVMAddGlobal(m->module, m->i64, size_name);
    LLVMSetInitializer(number, const_i64(m, bytes ? (int64_t)size : 0));
    LLVMSetGlobalConstant(number, 1);
}

const char *cpu_data_module(Arena *arena, const CpuData *data, const CpuOptions *options, CpuObjects *out) {
    CpuModule m;
    CompileJob job = {.arena = arena};
    const char *error = module_open(&m, CPU_V2, false, arena);
    if (error) return error;
    LLVMTypeRef member[4] = {m.ptr, m.ptr, m.ptr, m.ptr};
    LLVMTypeRef entry = LLVMStructTypeInContext(m.context, member, 4, 0);
    LLVMTypeRef parameter[5] = {m.ptr, m.ptr, m.ptr, m.i64, m.i64};
    LLVMTypeRef function = LLVMFunctionType(m.nothing, parameter, 5, 0);
    LLVMValueRef *entries = NEW_ARRAY(arena, LLVMValueRef, data->kernels + 1);
    for (int i = 0; i < data->kernels; i++) {
        LLVMValueRef value[4];
        const char *name = data->kernel[i];
        value[0] = text_constant(&m, name, strlen(name), "name", true);
        for (int level = 0; level < CPU_LEVELS; level++) {
            const char *symbol = arena_format(arena, "stm_%s_%s", name, cpu_level_suffix[level]);
            bool skip = options && options->skip[level];
            LLVMValueRef existing = skip ? LLVMConstNull(m.ptr) : LLVMGetNamedFunction(m.module, symbol);
            value[1 + level] = existing ? existing : LLVMAddFunction(m.module, symbol, function);
        }
        entries[i] = LLVMConstStructInContext(m.context, value, 4, 0);
    }
    LLVMValueRef table = LLVMAddGlobal(m.module, LLVMArrayType2(entry, (uint64_t)data->kernels), "stm_kernels");
    LLVMSetInitializer(table, LLVMConstArray2(entry, entries, (uint64_t)data->kernels));
    LLVMSetGlobalConstant(table, 1);
    sized_constant(&m, data->plan, data->plan_size, "stm_plan_text", "stm_plan_size");
    sized_constant(&m, data->cuda_plan, data->cuda_plan_size, "stm_cuda_plan_text", "stm_cuda_plan_size");
    sized_constant(&m, data->cuda_image, data->cuda_image_size, "stm_cuda_image", "stm_cuda_image_size");
    error = to_object(&m, &job, "program");
    if (!error) vec_push(arena, &out->object, job.object);
    module_close(&m);
    return error;
}
