// The stages of one outer iteration as CUDA C, computed by the members of a group.
#include "target/cuda/loops.h"

#include <string.h>

enum { UNROLL_COUNT = 16, UNROLL_COST = 320 };

typedef struct StageEmit {
    Emit *e;
    int number;
    const Stage *stage;
    const LoopStage *loops;
} StageEmit;

static const Kernel *kernel_of(const Emit *e) {
    return e->plan->nest.kernel;
}

static bool is_arg(const Stage *stage) {
    return stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN;
}

static uint64_t bits(const int *var, int count) {
    uint64_t b = 0;
    for (int i = 0; i < count; i++) b |= (uint64_t)1 << var[i];
    return b;
}

static uint64_t loop_bits(const LoopStage *l) {
    return bits(l->free, l->frees) | bits(l->order, l->orders) | bits(l->red, l->reds);
}

void emit_barrier(Emit *e) {
    const LoopPlan *plan = e->plan;
    bool one_warp = plan->members * plan->groups <= 32 || (!plan->columns && plan->members <= 32);
    scope_line(&e->s, one_warp ? "__syncwarp();" : "__syncthreads();");
}

// ---- loops
static const char *var_name(Emit *e, int var) {
    const char *name = arena_format(e->arena, "i%d", var);
    e->s.var[var] = name;
    return name;
}

static const char *extent_text(Emit *e, int var) {
    return scope_mono(&e->s, e->plan->nest.var[var].extent, false);
}

// for (...) for (...) over all values, in the thread. Returns the number of blocks opened.
static int plain_loops(Emit *e, const int *var, int count, int cost) {
    int64_t product = 1;
    for (int i = 0; i < count; i++) {
        Mono n = e->plan->nest.var[var[i]].extent;
        product *= n.axes ? 1 << 20 : n.k;
    }
    bool unroll = product <= UNROLL_COUNT && product * cost <= UNROLL_COST;
    for (int i = 0; i < count; i++) {
        const char *name = var_name(e, var[i]);
        if (unroll) scope_line(&e->s, "#pragma unroll");
        scope_open(&e->s, "for (int %s = 0; %s < %s; %s++)", name, name, extent_text(e, var[i]), name);
    }
    return count;
}

static void close_loops(Emit *e, const int *var, int count) {
    for (int i = 0; i < count; i++) {
        scope_close(&e->s);
        e->s.var[var[i]] = NULL;
    }
}

// Is the number of elements of these variables the size of a tensor that some access walks? (It then has 32 bits.)
static bool counts_a_tensor(const Emit *e, const int *var, int count) {
    const Nest *nest = &e->plan->nest;
    int dynamic = 0;
    for (int i = 0; i < count; i++) dynamic += nest->var[var[i]].extent.axes;
    if (dynamic <= 1) return true;
    for (int id = 0; id < nest->exprs; id++) {
        const Expr *x = nest->expr[id].expr;
        bool all = x->op == OP_READ && x->tensor >= 0;
        for (int i = 0; i < count && all; i++) {
            Mono m;
            all = access_stride(nest, x->tensor, x->rank, x->position, var[i], &m) == 1;
            for (int d = 0; d < x->rank && all; d++)
                all = !position_uses(nest, &x->position[d], var[i]) || !x->position[d].guarded;
        }
        if (all) return true;
    }
    return false;
}

// The loop over the elements of `var` together, cut among the members.
typedef struct Flat {
    const int *var;
    int count;
    bool wide, chunked; // 64-bit numbers; only a piece
    const char *q, *from, *to;
} Flat;

static Flat flat_begin(Emit *e, const int *var, int count, bool chunked) {
    Flat f = {.var = var, .count = count, .chunked = chunked};
    Mono product = mono_of(1);
    const LoopPlan *plan = e->plan;
    f.wide = !counts_a_tensor(e, var, count);
    const char *type = f.wide ? "long long" : "int";
    bool fits = true;
    for (int i = 0; i < count; i++) fits = fits && mono_multiply(product, plan->nest.var[var[i]].extent, &product);
    if (!fits) DIE("kernel %s: a loop over more than %d dynamic axes", plan->nest.name, MONO_AXES);
    const char *n = scope_mono(&e->s, product, f.wide);
    f.q = scope_name(&e->s, "q");
    f.from = "0";
    f.to = n;
    if (chunked) { // pieces are whole vectors
        const char *size = scope_name(&e->s, "size"), *total = scope_name(&e->s, "n");
        f.from = scope_name(&e->s, "from");
        f.to = scope_name(&e->s, "to");
        const char *chunk = e->s.var[plan->nest.chunk];
        scope_line(&e->s, "const %s %s = %s;", type, total, n);
        scope_line(&e->s, "const %s %s = ((%s - 1) / %d + 8) / 8 * 8;", type, size, total, plan->chunks);
        scope_line(&e->s, "const %s %s = %s / %s < %s ? %s : %s * %s;", type, f.from, total, size, chunk, total, size,
                   chunk);
        scope_line(&e->s, "const %s %s = %s - %s < %s ? %s : %s + %s;", type, f.to, total, f.from, size, total, f.from,
                   size);
    }
    return f;
}

// `rest`: the single elements behind the last whole vector.
static void flat_open(Emit *e, const Flat *f, int width, bool may_rest, bool rest, bool guard) {
    const LoopPlan *plan = e->plan;
    const char *type = f->wide ? "long long" : "int";
    int step = plan->members * width;
    Text start = {.arena = e->arena}, end = {.arena = e->arena};
    if (rest) {
        int lanes = width;
        step = plan->members;
        if (strcmp(f->from, "0")) text_add(&start, "%s + (%s - %s) / %d * %d", f->from, f->to, f->from, lanes, lanes);
        else text_add(&start, "%s / %d * %d", f->to, lanes, lanes);
        if (plan->members > 1) text_add(&start, " + %s", e->member);
    } else {
        bool zero = !strcmp(f->from, "0");
        if (!zero || plan->members == 1) text_add(&start, "%s", f->from);
        if (plan->members > 1) text_add(&start, zero ? "%s" : " + %s", e->member);
        if (plan->members > 1 && width > 1) text_add(&start, " * %d", width);
    }
    text_add(&end, "%s", f->to);
    if (!rest && may_rest && width > 1) text_add(&end, " - %d", width - 1);
    if (guard && e->active)
        scope_open(&e->s, "for (%s %s = %s; %s && %s < %s; %s += %d)", type, f->q, start.at, e->active, f->q, end.at,
                   f->q, step);
    else scope_open(&e->s, "for (%s %s = %s; %s < %s; %s += %d)", type, f->q, start.at, f->q, end.at, f->q, step);
    const char *left = f->q;
    for (int i = f->count - 1; i >= 0; i--) {
        int v = f->var[i];
        if (f->count == 1 && !f->wide) {
            e->s.var[v] = f->q;
            return;
        }
        const char *name = var_name(e, v), *n = extent_text(e, v);
        const char *cast = f->wide ? "" : "(unsigned)";
        if (i == 0) {
            scope_line(&e->s, "const int %s = (int)%s;", name, left);
        } else {
            const char *next = scope_name(&e->s, "q");
            scope_line(&e->s, "const %s %s = %s%s / %s;", f->wide ? "long long" : "unsigned", next,
                       left == f->q ? cast : "", left, n);
            scope_line(&e->s, "const int %s = (int)(%s%s - %s * %s);", name, left == f->q ? cast : "", left, next, n);
            left = next;
        }
    }
}

static void flat_close(Emit *e, const Flat *f) {
    scope_close(&e->s);
    for (int i = 0; i < f->count; i++) e->s.var[f->var[i]] = NULL;
}

// ---- reductions
static const char *value_type(const Emit *e, const Stage *stage) {
    return cuda_value_type(e->plan->nest.program, stage->value->type);
}

// Row-major number of the current element of the reduced variables.
static const char *reduced_number(Emit *e, const LoopStage *l) {
    const char *number = "0";
    for (int i = 0; i < l->reds; i++) {
        const char *v = e->s.var[l->red[i]];
        number = i == 0 ? v : arena_format(e->arena, "(%s * %s + %s)", number, extent_text(e, l->red[i]), v);
    }
    return number;
}

// Accumulators: a<s>[lanes], and for argmax n<s>[lanes].
static void declare_accumulators(Emit *e, int s, int lanes) {
    const Stage *stage = &kernel_of(e)->stage.at[s];
    const char *first = cuda_reduce_identity(e->plan->nest.program, stage->reduce, stage->value->type);
    Text t = {.arena = e->arena};
    for (int i = 0; i < lanes; i++) text_add(&t, "%s%s", i ? ", " : "", first);
    scope_line(&e->s, "%s a%d[%d] = {%s};", value_type(e, stage), s, lanes, t.at);
    if (is_arg(stage)) scope_line(&e->s, "int n%d[%d] = {0};", s, lanes);
}

static void accumulate(Emit *e, int s, int lanes, const char *number, bool along) {
    const Stage *stage = &kernel_of(e)->stage.at[s];
    CudaValue v = scope_value(&e->s, stage, stage->value);
    for (int i = 0; i < lanes; i++) {
        const char *x = v.lane[v.lanes == 1 ? 0 : i], *a = arena_format(e->arena, "a%d[%d]", s, i);
        if (!is_arg(stage)) {
            scope_line(&e->s, "%s = %s;", a, cuda_reduce_combine(&e->s, stage->reduce, stage->value->type, a, x));
            continue;
        }
        const char *n = arena_format(e->arena, "n%d[%d]", s, i);
        const char *beats = cuda_reduce_beats(&e->s, stage->reduce, stage->value->type, x, NULL, a, n);
        if (along && i) scope_line(&e->s, "if (%s) %s = %s, %s = %s + %d;", beats, a, x, n, number, i);
        else scope_line(&e->s, "if (%s) %s = %s, %s = %s;", beats, a, x, n, number);
    }
}

static const char *reduce_name(const Stage *stage) {
    bool logic = stage->value->type == T_BOOL;
    switch (stage->reduce) {
    case REDUCE_SUM: return logic ? "StmOr" : "StmSum";
    case REDUCE_PROD: return logic ? "StmAnd" : "StmProduct";
    case REDUCE_MAX: return "StmMax";
    case REDUCE_MIN: return "StmMin";
    case REDUCE_ARGMAX: return "StmMore";
    default: return "StmLess";
    }
}

// The lanes of a vector along a reduced variable become one.
static void join_lanes(Emit *e, int s, int lanes) {
    const Stage *stage = &kernel_of(e)->stage.at[s];
    for (int half = lanes / 2; half >= 1; half /= 2)
        for (int i = 0; i < half; i++) {
            const char *a = arena_format(e->arena, "a%d[%d]", s, i),
                       *b = arena_format(e->arena, "a%d[%d]", s, i + half);
            if (!is_arg(stage)) {
                scope_line(&e->s, "%s = %s;", a, cuda_reduce_combine(&e->s, stage->reduce, stage->value->type, a, b));
                continue;
            }
            const char *n = arena_format(e->arena, "n%d[%d]", s, i),
                       *m = arena_format(e->arena, "n%d[%d]", s, i + half);
            scope_line(&e->s, "if (%s) %s = %s, %s = %s;",
                       cuda_reduce_beats(&e->s, stage->reduce, stage->value->type, b, m, a, n), a, b, n, m);
        }
}

static void across_members(Emit *e, int s, int lanes) {
    const LoopPlan *plan = e->plan;
    const Stage *stage = &kernel_of(e)->stage.at[s];
    if (plan->members == 1) return;
    e->reduces = true;
    scope_line(&e->s, "stm_reduce%s<%s, %d, %d, %s, %d>(a%d, %s%s);", is_arg(stage) ? "_first" : "", reduce_name(stage),
               plan->members, plan->groups, plan->columns ? "true" : "false", lanes, s,
               is_arg(stage) ? arena_format(e->arena, "n%d, ", s) : "", plan->scratch ? "scratch" : "nullptr");
}

static CudaValue result_of(Emit *e, int s, int lanes) {
    const Stage *stage = &kernel_of(e)->stage.at[s];
    CudaValue v = {.lanes = lanes};
    for (int i = 0; i < lanes; i++) v.lane[i] = arena_format(e->arena, "%s%d[%d]", is_arg(stage) ? "n" : "a", s, i);
    return v;
}

// ---- stores
static bool in_memory(const Stage *stage) {
    return stage->dest >= 0 || stage->rank > 0;
}

// By one member of an iteration that exists.
static void store_once(Emit *e, const Stage *stage, CudaValue value) {
    const char *condition = e->active;
    bool shared = e->plan->members > 1;
    if (stage->dest < 0) condition = NULL;
    if (!in_memory(stage) || (!shared && !condition)) {
        scope_store(&e->s, stage, value);
        return;
    }
    if (shared && condition) scope_open(&e->s, "if (%s && %s == 0)", condition, e->member);
    else if (shared) scope_open(&e->s, "if (%s == 0)", e->member);
    else scope_open(&e->s, "if (%s)", condition);
    scope_store(&e->s, stage, value);
    scope_close(&e->s);
}

// ---- one stage
// Loops of the thread itself: variables in order, then a reduction; then the store.
static void thread_stage(StageEmit *n) {
    Emit *e = n->e;
    const LoopStage *l = n->loops;
    int lanes = e->s.width;
    plain_loops(e, l->order, l->orders, l->cost);
    if (n->stage->reduce == REDUCE_NONE) {
        scope_store(&e->s, n->stage, scope_value(&e->s, n->stage, n->stage->value));
    } else {
        declare_accumulators(e, n->number, lanes);
        scope_hoist(&e->s, n->stage, n->stage->value, bits(l->red, l->reds));
        plain_loops(e, l->red, l->reds, l->cost * lanes);
        accumulate(e, n->number, lanes, reduced_number(e, l), false);
        close_loops(e, l->red, l->reds);
        scope_store(&e->s, n->stage, result_of(e, n->number, lanes));
    }
    close_loops(e, l->order, l->orders);
}

static void spread_stage(StageEmit *n) {
    Emit *e = n->e;
    const LoopStage *l = n->loops;
    bool guard = n->stage->dest >= 0;
    scope_hoist(&e->s, n->stage, n->stage->value, loop_bits(l));
    if (l->frees == 0) { // a scatter all of whose variables keep their order
        if (e->plan->members > 1 || (guard && e->active))
            scope_open(&e->s, "if (%s%s%s)", e->plan->members > 1 ? arena_format(e->arena, "%s == 0", e->member) : "",
                       e->plan->members > 1 && guard && e->active ? " && " : "", guard && e->active ? e->active : "");
        else scope_open(&e->s, "%s", "");
        thread_stage(n);
        scope_close(&e->s);
        return;
    }
    Flat f = flat_begin(e, l->free, l->frees, false);
    for (int rest = 0; rest <= (l->rest ? 1 : 0); rest++) {
        int vector = e->s.vector, width = e->s.width;
        flat_open(e, &f, l->width, l->rest, rest, guard);
        if (l->width > 1 && !rest) e->s.vector = l->vector, e->s.width = l->width;
        thread_stage(n);
        e->s.vector = vector, e->s.width = width;
        flat_close(e, &f);
    }
}

// The loop of a leader and of the stages that follow it.
static void reduce_loop(StageEmit *n) {
    Emit *e = n->e;
    const LoopPlan *plan = e->plan;
    const Kernel *k = kernel_of(e);
    const LoopStage *l = n->loops;
    int lanes = l->width > 1 ? l->width : e->plan->width;
    for (int s = n->number; s < k->stage.count; s++)
        if (plan->stage[s].leader == n->number) {
            declare_accumulators(e, s, lanes);
            scope_hoist(&e->s, &k->stage.at[s], k->stage.at[s].value, loop_bits(&plan->stage[s]));
        }
    Flat f = flat_begin(e, l->red, l->reds, plan->chunks > 0);
    for (int rest = 0; rest <= (l->rest ? 1 : 0); rest++) {
        int vector = e->s.vector, width = e->s.width;
        flat_open(e, &f, l->width, l->rest, rest, true);
        for (int s = n->number; s < k->stage.count; s++) {
            const LoopStage *other = &plan->stage[s];
            if (other->leader != n->number) continue;
            for (int i = 0; i < l->reds; i++) e->s.var[other->red[i]] = e->s.var[l->red[i]];
            bool along = l->width > 1 && !rest;
            if (along) e->s.vector = other->red[l->reds - 1], e->s.width = l->width;
            accumulate(e, s, along ? l->width : plan->width, f.q, along);
            e->s.vector = vector, e->s.width = width;
        }
        flat_close(e, &f);
        for (int s = n->number; s < k->stage.count; s++)
            if (plan->stage[s].leader == n->number)
                for (int i = 0; i < l->reds; i++) e->s.var[plan->stage[s].red[i]] = NULL;
    }
    for (int s = n->number; s < k->stage.count; s++) {
        if (plan->stage[s].leader != n->number) continue;
        if (l->width > 1) join_lanes(e, s, l->width);
        across_members(e, s, l->width > 1 ? 1 : lanes);
    }
}

static void reduce_stage(StageEmit *n) {
    Emit *e = n->e;
    const LoopStage *l = n->loops;
    int lanes = e->plan->width;
    if (l->leader == n->number) {
        scope_hoist(&e->s, n->stage, n->stage->value, loop_bits(l));
        plain_loops(e, l->free, l->frees, 1 << 20);
        reduce_loop(n);
    }
    store_once(e, n->stage, result_of(e, n->number, lanes));
    if (l->leader == n->number) close_loops(e, l->free, l->frees);
}

// Several reductions over the same elements in one thread.
static void thread_reductions(StageEmit *n) {
    Emit *e = n->e;
    const LoopPlan *plan = e->plan;
    const Kernel *k = kernel_of(e);
    const LoopStage *l = n->loops;
    int lanes = e->s.width;
    for (int s = n->number; s < k->stage.count; s++)
        if (plan->stage[s].leader == n->number) {
            declare_accumulators(e, s, lanes);
            scope_hoist(&e->s, &k->stage.at[s], k->stage.at[s].value, loop_bits(&plan->stage[s]));
        }
    plain_loops(e, l->red, l->reds, l->cost * lanes);
    for (int s = n->number; s < k->stage.count; s++) {
        const LoopStage *other = &plan->stage[s];
        if (other->leader != n->number) continue;
        for (int i = 0; i < l->reds; i++) e->s.var[other->red[i]] = e->s.var[l->red[i]];
        accumulate(e, s, lanes, reduced_number(e, other), false);
    }
    close_loops(e, l->red, l->reds);
}

// What was evaluated before is stale when a stage writes what an earlier or this one has read.
static void forget_written(Emit *e, int s) {
    const Kernel *k = kernel_of(e);
    int dest = k->stage.at[s].dest;
    for (int i = 0; i <= s; i++)
        if (stage_reads(k, &k->stage.at[i], dest)) {
            scope_forget(&e->s);
            return;
        }
}

static void emit_stage(Emit *e, int s) {
    const LoopPlan *plan = e->plan;
    const Kernel *k = kernel_of(e);
    StageEmit n = {e, s, &k->stage.at[s], &plan->stage[s]};
    if (n.loops->mode == STAGE_ONCE) {
        if (n.stage->reduce == REDUCE_NONE) {
            store_once(e, n.stage, scope_value(&e->s, n.stage, n.stage->value));
        } else { // over a single element
            CudaValue v = scope_value(&e->s, n.stage, n.stage->value);
            if (is_arg(n.stage)) v = (CudaValue){1, {"0"}};
            store_once(e, n.stage, v);
        }
    } else if (n.loops->mode == STAGE_REDUCE) {
        reduce_stage(&n);
    } else if (plan->members == 1 && n.loops->frees == 0 && n.loops->orders == 0) {
        if (n.loops->leader == s) thread_reductions(&n);
        store_once(e, n.stage, result_of(e, s, e->s.width));
    } else {
        spread_stage(&n);
    }
    forget_written(e, s);
}

void emit_stages(Emit *e) {
    const LoopPlan *plan = e->plan;
    const Kernel *k = kernel_of(e);
    for (int s = 0; s < k->stage.count; s++) {
        if (plan->stage[s].barrier) emit_barrier(e);
        if (s == plan->tail && plan->members > 1) {
            const char *active = e->active, *member = e->member;
            // One member: conditions of single stores are not needed below.
            if (active) scope_open(&e->s, "if (%s && %s == 0)", active, member);
            else scope_open(&e->s, "if (%s == 0)", member);
            LoopPlan alone = *plan;
            alone.members = 1;
            e->plan = &alone;
            e->active = NULL;
            for (; s < k->stage.count; s++) emit_stage(e, s);
            e->plan = plan;
            e->active = active;
            scope_close(&e->s);
            return;
        }
        emit_stage(e, s);
    }
}
