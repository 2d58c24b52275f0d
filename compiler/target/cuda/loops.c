// Any kernel as CUDA functions: long reductions with few results are split over blocks, and each phase becomes a
// function whose blocks find their outer iterations and run the stages (group.c) or scatter by rows (scatter.c).
#include "target/cuda/loops.h"

#include "forms/derive.h"
#include "target/cuda/internal.h"

#include <string.h>

enum {
    LOCAL_ELEMENTS = LOOPS_SHARED / 8 - 64, // of array locals of a group; larger ones lie in a workspace
    SPLIT_BLOCKS = 528,                     // 4 for each multiprocessor
    SPLIT_ENOUGH = 132,
    SPLIT_COLUMN = 64, // least reduced elements of a piece
    SPLIT_ROW = 2048,
    CUT_ELEMENTS = 1 << 16, // of maps that get a phase of their own
};

// ---- splitting
static bool reads_written(const Kernel *k, const Expr *e, int depth) {
    if (e->op == OP_READ && (e->tensor < 0 || k->buffer.at[e->tensor].is_written)) return true;
    if (e->op == OP_RANDOM || depth > 400) return true;
    for (int i = 0; i < e->arity; i++)
        if (reads_written(k, e->arg[i], depth + 1)) return true;
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather && reads_written(k, e->position[i].gather, depth + 1)) return true;
    return false;
}

static double reduced_bound(const LoopPlan *plan, const Stage *stage) {
    double n = 1;
    for (int i = stage->free; i < stage->vars; i++)
        if (!plan->nest.var[stage->var[i]].gone) n *= (double)plan->nest.var[stage->var[i]].bound;
    return n;
}

static bool splittable(const LoopPlan *plan, const Stage *stage) {
    const Kernel *k = plan->nest.kernel;
    if (stage->accumulate || stage->reduce < REDUCE_SUM || stage->reduce > REDUCE_PROD) return false;
    return k->outer + stage->free + 1 <= MAX_RANK && !reads_written(k, stage->value, 0);
}

static double free_bound(const LoopPlan *plan, const Stage *stage) {
    double n = 1;
    for (int i = 0; i < stage->free; i++)
        if (!plan->nest.var[stage->var[i]].gone) n *= (double)plan->nest.var[stage->var[i]].bound;
    return n;
}

static bool same_free(const Stage *a, const Stage *b) { // free variables become outer ones of the pieces
    if (a->free != b->free) return false;
    for (int i = 0; i < a->free; i++)
        if (a->var[i] != b->var[i]) return false;
    return true;
}

// Which stages to split, and into how many pieces; 0: none. Depends on extents alone.
static uint64_t choose_split(const LoopPlan *plan, int *chunks) {
    const Kernel *k = plan->nest.kernel;
    const Stage *longest = NULL;
    double most = 0;
    uint64_t stages = 0;
    if (plan->nest.scatters || k->vars + 1 > 2 * MAX_VARS || k->stage.count > 64) return 0;
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        double n = reduced_bound(plan, stage);
        if (splittable(plan, stage) && n > most) most = n, longest = stage;
    }
    if (!longest) return 0;
    double outer = (double)mono_bound(plan->nest.program, plan->total),
           piece = plan->columns ? SPLIT_COLUMN : SPLIT_ROW;
    double blocks = outer / (double)loops_per_block(plan);
    if (longest->free > 0) blocks = outer * free_bound(plan, longest) / LOOPS_THREADS, piece = SPLIT_COLUMN;
    if (blocks < 1) blocks = 1;
    // A block does the results of an outer iteration that it holds together, however many there are.
    double held = longest->free > 0 ? outer / (double)loops_per_block(plan) : blocks;
    if (held >= SPLIT_ENOUGH || blocks >= SPLIT_BLOCKS || most < 4 * piece) return 0;
    double pieces = SPLIT_BLOCKS / blocks;
    if (pieces > most / piece) pieces = most / piece;
    *chunks = (int)pieces;
    if (*chunks < 2) return 0;
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        if (splittable(plan, stage) && same_free(stage, longest) && reduced_bound(plan, stage) * 4 >= most)
            stages |= (uint64_t)1 << s;
    }
    return stages;
}

// Few outer iterations with maps over many elements at their end: the maps become a phase of their own, whose elements
// all threads share. The first stage of that phase, or 0.
static int choose_cut(const LoopPlan *plan) {
    const Kernel *k = plan->nest.kernel;
    double outer = (double)mono_bound(plan->nest.program, plan->total);
    int at = k->stage.count;
    if (plan->nest.scatters || outer / (double)loops_per_block(plan) >= SPLIT_ENOUGH) return 0;
    while (at > 0) {
        const Stage *stage = &k->stage.at[at - 1];
        bool map = stage->reduce == REDUCE_NONE && stage->dest >= 0 && stage->free > 0;
        if (!map || outer * free_bound(plan, stage) < CUT_ELEMENTS ||
            !same_free(stage, &k->stage.at[k->stage.count - 1]))
            break;
        at--;
    }
    return at < k->stage.count ? at : 0;
}

static bool workspaces_fit(const Kernel *k, int from) { // a group of the plan grows with two axes at most
    for (int i = from; i < k->buffer.count; i++) {
        int axes = 0;
        for (int d = 0; d < k->buffer.at[i].rank; d++) axes += k->buffer.at[i].dim[d].axis >= 0;
        if (axes > 2) return false;
    }
    return k->buffer.count - from <= CODE_MAX_WORKSPACES;
}

// ---- the frame of a function
static void declare_locals(Emit *e) {
    const LoopPlan *plan = e->plan;
    const Kernel *k = plan->nest.kernel;
    const Program *p = plan->nest.program;
    for (int i = 0; i < k->local.count; i++) {
        const KernelLocal *l = &k->local.at[i];
        if (!plan->used[i]) continue;
        if (l->rank == 0) {
            Text names = {.arena = e->arena};
            if (e->s.width == 1) text_add(&names, "%s", e->s.local[i]);
            for (int lane = 0; e->s.width > 1 && lane < e->s.width; lane++)
                text_add(&names, "%s%s_%d", lane ? ", " : "", e->s.local[i], lane);
            scope_line(&e->s, "%s %s;", cuda_value_type(p, l->type), names.at);
            e->s.local_vector[i] = e->s.width > 1;
        } else if (plan->members == 1) {
            int64_t n = 1;
            for (int d = 0; d < l->rank; d++) n *= l->dim[d].count;
            scope_line(&e->s, "%s %s[%lld];", cuda_type(p, l->type), e->s.local[i], (long long)(n ? n : 1));
        } else {
            scope_line(&e->s, "STM_SHARED(%s, %s, %d);", cuda_type(p, l->type), e->s.local[i],
                       plan->pitch[i] * plan->groups + (plan->pitch[i] == 0));
            if (plan->groups > 1) e->s.local_index[i] = arena_format(e->arena, "group * %d", plan->pitch[i]);
        }
    }
}

static int64_t scratch_bytes(const LoopPlan *plan) {
    const Kernel *k = plan->nest.kernel;
    int64_t values = (int64_t)(plan->members * plan->groups / 32) * plan->width * (plan->columns ? plan->groups : 1);
    int64_t most = 4;
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        if (plan->stage[s].mode != STAGE_REDUCE) continue;
        int64_t bytes = element_size(plan->nest.program, stage->value->type == T_BF16 ? T_REAL : stage->value->type);
        if (bytes < 4) bytes = 4;
        if (stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN) bytes += 4;
        if (bytes > most) most = bytes;
    }
    return values * most;
}

// Values of the parallel variables from the number `it` of the iteration (of the vector of iterations).
static void decode_outer(Emit *e, const char *it) {
    const LoopPlan *plan = e->plan;
    const char *left = it;
    for (int i = plan->outers - 1; i >= 0; i--) {
        int v = plan->outer[i], width = v == e->s.vector ? e->s.width : 1;
        const char *name = arena_format(e->arena, "i%d", v), *number = left;
        if (i > 0) {
            Mono n = plan->nest.var[v].extent;
            n.k /= width;
            const char *extent = scope_mono(&e->s, n, false), *next = scope_name(&e->s, "o");
            const char *cast = left == it ? "(unsigned)" : "";
            scope_line(&e->s, "const unsigned %s = %s%s / %s;", next, cast, left, extent);
            number = arena_format(e->arena, "(%s%s - %s * %s)", cast, left, next, extent);
            left = next;
        }
        if (width > 1) scope_line(&e->s, "const int %s = (int)%s * %d;", name, number, width);
        else scope_line(&e->s, "const int %s = (int)%s;", name, number);
        e->s.var[v] = name;
    }
}

static void run_iteration(Emit *e) {
    const LoopPlan *plan = e->plan;
    declare_locals(e);
    for (int i = 0; i < plan->serials; i++) {
        const char *name = arena_format(e->arena, "i%d", plan->serial[i]);
        e->s.var[plan->serial[i]] = name;
        scope_open(&e->s, "for (int %s = 0; %s < %s; %s++)", name, name,
                   scope_mono(&e->s, plan->nest.var[plan->serial[i]].extent, false), name);
    }
    emit_stages(e);
    bool arrays = plan->shared > 0 && plan->members > 1;
    for (int i = 0; i < plan->serials; i++) {
        if (i == 0 && arrays) emit_barrier(e);
        scope_close(&e->s);
    }
    if (plan->strided && arrays) emit_barrier(e);
}

// Single variable, elementwise: whole vectors, and at the end single elements.
static void emit_flat(Emit *e) {
    const LoopPlan *plan = e->plan;
    int v = plan->outer[0], width = plan->width;
    scope_line(&e->s, "const int total = %s;", scope_mono(&e->s, plan->total, false));
    scope_line(&e->s, "const int first = (block * %d + (int)threadIdx.x) * %d;", plan->groups, width);
    scope_open(&e->s, "if (first + %d <= total)", width);
    e->s.var[v] = "first";
    e->s.vector = v;
    e->s.width = width;
    run_iteration(e);
    scope_close(&e->s);
    e->s.vector = -1;
    e->s.width = 1;
    memset(e->s.local_vector, 0, sizeof e->s.local_vector);
    scope_open(&e->s, "else");
    scope_open(&e->s, "for (int i = first; i < total; i++)");
    e->s.var[v] = "i";
    LoopPlan single = *plan;
    single.vector = -1;
    single.width = 1;
    e->plan = &single;
    run_iteration(e);
    e->plan = plan;
    scope_close(&e->s);
    scope_close(&e->s);
}

static void emit_blocks(Emit *e) {
    const LoopPlan *plan = e->plan;
    Mono total = plan->total;
    int groups = plan->groups;
    bool check = !(total.axes == 0 && total.k / plan->width % groups == 0); // do some blocks have groups without work?
    if (plan->rest) {
        emit_flat(e);
        return;
    }
    total.k /= plan->width;
    e->s.vector = plan->vector;
    e->s.width = plan->width;
    if (plan->members > 1) {
        const char *group = plan->columns ? "threadIdx.x % " : "threadIdx.x / ";
        if (plan->scratch)
            scope_line(&e->s, "STM_SHARED(unsigned char, scratch, %lld);", (long long)scratch_bytes(plan));
        int by = plan->columns ? groups : plan->members;
        if (groups == 1) scope_line(&e->s, "const int member = (int)threadIdx.x;");
        else if (plan->columns)
            scope_line(&e->s, "const int member = (int)threadIdx.x / %d, group = (int)%s%d;", by, group, by);
        else scope_line(&e->s, "const int member = (int)threadIdx.x %% %d, group = (int)%s%d;", by, group, by);
        e->member = "member";
    }
    const char *own = plan->members == 1 ? "(int)threadIdx.x" : groups > 1 ? "group" : "0";
    scope_line(&e->s, "const int total = %s;", scope_mono(&e->s, total, false));
    if (plan->strided) {
        scope_open(&e->s, "for (long long start = (long long)block * %d; start < total; start += %d)", groups,
                   LOOPS_GRID * groups);
        scope_line(&e->s, "const int next = (int)start + %s;", own);
    } else {
        if (plan->members > 1)
            scope_line(&e->s, groups > 1 ? "if (block * %d >= total) return;" : "if (block >= total) return;", groups);
        if (groups > 1) scope_line(&e->s, "const int next = block * %d + %s;", groups, own);
        else if (plan->outers > 0) scope_line(&e->s, "const int next = block;");
    }
    if (plan->members == 1) {
        if (plan->strided) scope_open(&e->s, "if (next < total)");
        else scope_line(&e->s, "if (next >= total) return;");
        decode_outer(e, "next");
    } else if (groups > 1 && check) { // a group without an iteration repeats the last one and stores nothing
        scope_line(&e->s, "const bool active = next < total;");
        scope_line(&e->s, "const int it = active ? next : total - 1;");
        e->active = "active";
        decode_outer(e, "it");
    } else {
        decode_outer(e, "next");
    }
    run_iteration(e);
    if (plan->strided && plan->members == 1) scope_close(&e->s);
    if (plan->strided) scope_close(&e->s);
}

// ---- functions
typedef struct Function {
    CudaUnit *unit;
    Emit e;
    KernelCode *code;
    const int *arg; // per buffer of the phase's kernel: argument in the plan
    int threads;
    bool table;
} Function;

static const char *buffer_type(const Kernel *k, const Program *p, Arena *arena, int i) {
    const KernelBuffer *b = &k->buffer.at[i];
    if (b->is_written) return arena_format(arena, "%s *", cuda_type(p, b->type));
    return arena_format(arena, "const %s *", cuda_type(p, b->type));
}

static const char *finish(Function *f, const char *name, StmExtent parts, int64_t divide) {
    const LoopPlan *plan = f->e.plan;
    const Kernel *k = plan->nest.kernel;
    const Program *p = f->unit->program;
    Arena *arena = f->unit->arena;
    Text parameters = {.arena = arena}, values = {.arena = arena}, text = {.arena = arena};
    int at = f->code->phases++, args = 0, word = 1, extents = 0;
    int *extent = NEW_ARRAY(arena, int, p->axis.count + CUDA_STEP_EXTENTS + 1);
    for (int i = 0; i < k->buffer.count; i++) {
        if (plan->nest.arg_of[i] < 0) continue;
        if (args == MAX_VARS * 4)
            return arena_format(arena, "kernel %s has more than %d arguments", name, MAX_VARS * 4);
        f->code->phase[at].arg[args++] = f->arg[i];
        const char *type = buffer_type(k, p, arena, i);
        text_add(&parameters, "%s%sb%d, ", type, k->buffer.at[i].is_written ? "" : "__restrict__ ", i);
        text_add(&values, "(%s)row[%d], ", type, word++);
    }
    for (int axis = 0; axis < p->axis.count + CUDA_STEP_EXTENTS; axis++) {
        if (!f->e.s.extent_used[axis]) continue;
        extent[extents++] = axis;
        text_add(&parameters, "int e%d, ", axis);
        text_add(&values, "(int)(long long)row[%d], ", word++);
    }
    if (f->e.reduces) text_add(&text, "#include \"reduce.cuh\"\n");
    if (f->table) text_add(&text, "#include \"table.cuh\"\n");
    if (f->e.scatters) text_add(&text, "#include \"scatter.cuh\"\n");
    if (f->table) {
        text_add(&text, "STM_DEVICE void @_body(%sint block, unsigned *outside) {\n",
                 parameters.at ? parameters.at : "");
        text_add_bytes(&text, f->e.body.at, f->e.body.length);
        text_add(&text, "}\nextern \"C\" __global__ void __launch_bounds__(%d, 1)\n", f->threads);
        text_add(&text, "@(const unsigned long long *table, int calls, unsigned *outside) {\n");
        text_add(&text, "    const unsigned long long *row = stm_table_row<%d>(table, calls);\n", word);
        text_add(&text, "    @_body(%s(int)(blockIdx.x - (unsigned)row[0]), outside);\n}\n",
                 values.at ? values.at : "");
    } else {
        text_add(&text, "extern \"C\" __global__ void __launch_bounds__(%d, 1)\n@(%sunsigned *outside) {\n", f->threads,
                 parameters.at ? parameters.at : "");
        text_add(&text, "    const int block = (int)blockIdx.x;\n");
        text_add_bytes(&text, f->e.body.at, f->e.body.length);
        text_add(&text, "}\n");
    }
    StmLaunch *launch = NEW(arena, StmLaunch);
    launch->function = cuda_function(f->unit, name, text.at)->name;
    launch->threads = f->threads;
    launch->extents = extents;
    launch->extent = extent;
    launch->table = f->table;
    f->code->phase[at].name = name;
    f->code->phase[at].args = args;
    f->code->phase[at].parts = (Extent){parts.count, parts.axis};
    f->code->phase[at].divide = divide;
    f->code->phase[at].times = 1;
    f->code->phase[at].launch = launch;
    return NULL;
}

static const char *add_phase(Function *f, const Kernel *k, const char *name, int chunks) {
    Arena *arena = f->unit->arena;
    LoopPlan *plan = NEW(arena, LoopPlan);
    int dimension;
    plan->nest.chunked = -1;
    plan->nest.chunk = chunks ? 0 : -1;
    plan->chunks = chunks;
    const char *error = loops_plan(arena, f->unit->program, k, name, plan);
    if (error) return error;
    f->e = (Emit){.arena = arena, .plan = plan, .body = {.arena = arena}};
    scope_init(&f->e.s, &plan->nest, &f->e.body);
    f->e.s.indent = 1;
    f->e.s.out = &f->e.body;
    if (scatter_by_rows(&plan->nest, &dimension)) {
        const KernelBuffer *b = &k->buffer.at[k->stage.at[0].dest];
        f->threads = LOOPS_THREADS;
        emit_scatter(&f->e, dimension);
        return finish(f, name, (StmExtent){b->dim[dimension].count, b->dim[dimension].axis}, LOOPS_THREADS / 32);
    }
    f->threads = plan->members * plan->groups;
    emit_blocks(&f->e);
    StmExtent parts = {plan->total.k, plan->total.axes ? plan->total.axis[0] : -1};
    if (plan->strided) return finish(f, name, (StmExtent){LOOPS_GRID, -1}, 1);
    return finish(f, name, parts, loops_per_block(plan));
}

// Local arrays that remain must be static.
static const char *check_locals(Arena *arena, const Kernel *k) {
    for (int i = 0; i < k->local.count; i++)
        for (int d = 0; d < k->local.at[i].rank; d++)
            if (k->local.at[i].dim[d].axis >= 0)
                return arena_format(arena,
                                    "kernel %s: local %d has a dynamic dimension and with the outer variables "
                                    "more than %d dimensions",
                                    k->name, i, MAX_RANK);
    return NULL;
}

static const char *add_workspaces(Function *f, const Kernel *k, int from, int *arg) {
    const char *error = NULL;
    for (int i = from; i < k->buffer.count && !error; i++)
        error = cuda_workspace(f->unit, f->code, &k->buffer.at[i], &arg[i]);
    return error ? arena_format(f->unit->arena, "kernel %s: %s", k->name, error) : NULL;
}

typedef struct Phases {
    const Kernel *kernel[CODE_MAX_PHASES];
    int chunks[CODE_MAX_PHASES], count;
} Phases;

static void push_phase(Phases *p, const Kernel *k, int chunks) {
    p->kernel[p->count] = k;
    p->chunks[p->count++] = chunks;
}

static const char *plan_whole(CudaUnit *unit, const Kernel *k, LoopPlan *plan) {
    *plan = (LoopPlan){.nest = {.chunked = -1, .chunk = -1}};
    return loops_plan(unit->arena, unit->program, k, k->name, plan);
}

// Adds what computes k: itself, or pieces of its long reductions and the rest.
static const char *push_reductions(Function *f, const Kernel *original, const Kernel *k, int *arg, Phases *to) {
    Arena *arena = f->unit->arena;
    LoopPlan plan;
    Kernel *partial = NULL, *rest = NULL;
    int chunks = 0;
    const char *error = plan_whole(f->unit, k, &plan);
    if (error) return error;
    uint64_t stages = choose_split(&plan, &chunks);
    if (stages) derive_split(arena, k, stages, chunks, &partial, &rest);
    const Kernel *pieces = partial ? derive_outer(arena, partial) : NULL;
    bool outer = pieces != NULL;
    for (int s = 0; outer && s < pieces->stage.count; s++) outer = pieces->stage.at[s].free == 0;
    if (!outer || !workspaces_fit(pieces, original->buffer.count)) {
        push_phase(to, k, 0);
        return NULL;
    }
    error = add_workspaces(f, pieces, k->buffer.count, arg);
    push_phase(to, pieces, chunks);
    push_phase(to, rest, 0);
    return error;
}

const char *cuda_lower_loops(CudaUnit *unit, const Kernel *k, bool table, KernelCode *out) {
    Arena *arena = unit->arena;
    *out = (KernelCode){0};
    const Kernel *d = derive_buffers(arena, derive_outer(arena, k), LOCAL_ELEMENTS);
    const char *error = check_locals(arena, d);
    if (error) return error;
    int *arg = NEW_ARRAY(arena, int, d->buffer.count + d->local.count + CODE_MAX_WORKSPACES + 1);
    for (int i = 0; i < k->buffer.count; i++) arg[i] = i;
    Function f = {.unit = unit, .code = out, .arg = arg, .table = table};
    Phases phases = {0};
    LoopPlan whole;
    error = plan_whole(unit, d, &whole);
    if (!error) error = add_workspaces(&f, d, k->buffer.count, arg);
    if (error) return error;
    Kernel *head = NULL, *maps = NULL;
    int cut = choose_cut(&whole);
    if (cut > 0 && derive_cut(arena, d, cut, &head, &maps) && workspaces_fit(head, k->buffer.count)) {
        const Kernel *flat = derive_outer(arena, maps);
        if (flat != maps) {
            error = add_workspaces(&f, head, d->buffer.count, arg);
            if (!error) error = push_reductions(&f, k, head, arg, &phases);
            push_phase(&phases, flat, 0);
        }
    }
    if (!error && phases.count == 0) error = push_reductions(&f, k, d, arg, &phases);
    for (int i = 0; i < phases.count && !error; i++) {
        const char *name = phases.count == 1 ? k->name : arena_format(arena, "%s_p%d", k->name, i);
        error = add_phase(&f, phases.kernel[i], name, phases.chunks[i]);
    }
    if (!error) out->phase[0].flops = k->flops;
    return error;
}
