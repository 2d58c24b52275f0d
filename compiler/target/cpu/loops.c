// Emits the loop nest of a planned phase: parts, outer loops, stages with their reductions.
//
// The lane loop has a main part of whole vectors and one masked vector at the end. Accumulators live in stack slots
// that the promotion pass turns into registers. What does not depend on the inner loops is evaluated before them. Sums
// over lanes and over independent accumulators are added in a fixed tree.
#include "target/cpu/loops.h"

#include <string.h>

enum { MOST_ACCUMULATORS = 4, UNROLL_WINDOW = 16, UNROLL_COST = 160, CHEAP = 10, MODERATE = 30, HEAVY = 60 };

typedef struct StageNest { // the loops of one stage
    Emit *e;
    const Stage *stage;
    const LoopStage *loops;
    int accumulators;
    LLVMValueRef slot[MOST_ACCUMULATORS], number_slot[MOST_ACCUMULATORS];
    int copy;           // accumulator of the body being emitted
    bool unrolled;      // reduced loops are unrolled completely
    bool lanes_reduced; // lanes go across the innermost reduced variable
} StageNest;

static uint64_t bit(int var) {
    return (uint64_t)1 << var;
}

static void run_stages(Emit *e);
static void free_loops(StageNest *n, int depth);
static void reduce_loops(StageNest *n, int depth);

static LLVMValueRef smaller(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(e->m->builder, LLVMBuildICmp(e->m->builder, LLVMIntSLT, a, b, ""), a, b, "");
}

static void bounds_of(Emit *e, int var, LLVMValueRef *from, LLVMValueRef *to) {
    const LoopPlan *plan = e->plan;
    LLVMBuilderRef b = e->m->builder;
    LLVMValueRef n = emit_mono(e, plan->nest.var[var].extent);
    *from = const_i64(e->m, 0);
    *to = n;
    if (var != plan->nest.chunked) return;
    LLVMValueRef count = const_i64(e->m, plan->chunks);
    LLVMValueRef up = LLVMBuildAdd(b, n, const_i64(e->m, plan->chunks - 1), "");
    LLVMValueRef size = LLVMBuildUDiv(b, up, count, "");
    if (plan->nest.var[var].bound >= 1024) // whole vectors
        size = LLVMBuildAnd(b, LLVMBuildAdd(b, size, const_i64(e->m, 63), ""), const_i64(e->m, ~(int64_t)63), "");
    *from = smaller(e, LLVMBuildMul(b, size, e->var[plan->nest.chunk], ""), n);
    *to = smaller(e, LLVMBuildAdd(b, *from, size, ""), n);
}

// ---- lane loops
typedef void (*Body)(void *user, int copy);

// Runs `body` for vectors of `var` over [from, to): `unroll` copies of whole vectors, then masked ones.
static void lane_loop(Emit *e, int var, LLVMValueRef from, LLVMValueRef to, int unroll, bool masked_only, Body body,
                      void *user) {
    CpuModule *m = e->m;
    LLVMBuilderRef b = m->builder;
    int lanes = m->lanes, whole = lanes * unroll;
    int64_t length = -1;
    if (LLVMIsAConstantInt(from) && LLVMIsAConstantInt(to))
        length = LLVMConstIntGetSExtValue(to) - LLVMConstIntGetSExtValue(from);
    while (length >= 0 && unroll > 1 && (length < whole || length % whole)) whole = lanes * --unroll;
    e->lane = var;
    e->lanes = lanes;
    LLVMValueRef done = from;
    if (length >= 0 && length % whole == 0) masked_only = false;
    if (!masked_only && (length < 0 || length >= whole)) {
        LLVMValueRef count = LLVMBuildSub(b, to, from, "");
        count = LLVMBuildAnd(b, count, const_i64(m, ~(int64_t)(lanes - 1)), "");
        if (unroll & (unroll - 1)) {
            LLVMValueRef rest = LLVMBuildSRem(b, count, const_i64(m, whole), "");
            count = LLVMBuildSub(b, count, rest, "");
        } else {
            count = LLVMBuildAnd(b, count, const_i64(m, ~(int64_t)(whole - 1)), "");
        }
        done = LLVMBuildAdd(b, from, count, "");
        LoopBlocks loop = loop_begin(m, from, done, whole);
        for (int c = 0; c < unroll; c++) {
            int mark = emit_mark(e);
            e->var[var] = c ? LLVMBuildNSWAdd(b, loop.index, const_i64(m, c * lanes), "") : loop.index;
            e->mask = NULL;
            body(user, c);
            emit_release(e, mark);
        }
        loop_end(m, &loop);
    }
    if (length < 0 || length % whole) {
        // `to` may lie before `from` in an empty part; the loop then does not run
        LoopBlocks loop = loop_begin(m, done, to, lanes);
        int mark = emit_mark(e);
        e->var[var] = loop.index;
        LLVMValueRef rest = smaller(e, LLVMBuildSub(b, to, loop.index, ""), const_i64(m, lanes));
        rest = splat(m, LLVMBuildTrunc(b, rest, m->i32, ""), lanes);
        e->mask = LLVMBuildICmp(b, LLVMIntULT, iota(m, m->i32, lanes, 1), rest, "");
        body(user, 0);
        emit_release(e, mark);
        loop_end(m, &loop);
    }
    e->lane = -1;
    e->lanes = 1;
    e->mask = NULL;
    e->var[var] = NULL;
}

// ---- reductions
static double first_value(Reduce r) {
    return r == REDUCE_PROD ? 1 : r == REDUCE_MAX || r == REDUCE_ARGMAX ? -1 : r == REDUCE_MIN || r == REDUCE_ARGMIN;
}

static LLVMValueRef identity(Emit *e, Reduce r, ElementType type, LLVMTypeRef shape) {
    double sign = first_value(r);
    if (r == REDUCE_SUM) return LLVMConstNull(shape);
    if (r == REDUCE_PROD) return type == T_REAL ? const_real(shape, 1) : const_int(shape, 1);
    if (type == T_REAL) return const_real(shape, sign * __builtin_inf());
    unsigned bits = LLVMGetIntTypeWidth(element_of(shape));
    (void)e;
    if (type == T_U8 || type == T_BOOL) return const_int(shape, sign > 0 ? -1 : 0);
    int64_t most = bits == 64 ? INT64_MAX : ((int64_t)1 << (bits - 1)) - 1;
    return const_int(shape, sign > 0 ? most : -most - 1);
}

static LLVMValueRef combine(Emit *e, Reduce r, ElementType type, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef builder = e->m->builder;
    if (type == T_REAL) {
        if (r == REDUCE_SUM) return contractible(LLVMBuildFAdd(builder, a, b, ""));
        if (r == REDUCE_PROD) return contractible(LLVMBuildFMul(builder, a, b, ""));
        return emit_max(e, b, a, r == REDUCE_MIN);
    }
    if (type == T_BOOL) {
        if (r == REDUCE_SUM || r == REDUCE_MAX) return LLVMBuildOr(builder, a, b, "");
        return LLVMBuildAnd(builder, a, b, "");
    }
    if (r == REDUCE_SUM) return LLVMBuildAdd(builder, a, b, "");
    if (r == REDUCE_PROD) return LLVMBuildMul(builder, a, b, "");
    LLVMIntPredicate p = type == T_U8 ? LLVMIntUGT : LLVMIntSGT;
    LLVMValueRef c = LLVMBuildICmp(builder, p, a, b, "");
    return r == REDUCE_MAX ? LLVMBuildSelect(builder, c, a, b, "") : LLVMBuildSelect(builder, c, b, a, "");
}

// Does a candidate beat the best so far? NaN beats every number; with `ties`, equal values fall to the smaller number.
static LLVMValueRef beats(Emit *e, Reduce r, ElementType type, LLVMValueRef x, LLVMValueRef best, LLVMValueRef nx,
                          LLVMValueRef nbest) {
    LLVMBuilderRef b = e->m->builder;
    LLVMValueRef better, same;
    if (type == T_REAL) {
        better = LLVMBuildFCmp(b, r == REDUCE_ARGMIN ? LLVMRealOLT : LLVMRealOGT, x, best, "");
        LLVMValueRef nan_x = LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");
        LLVMValueRef number_best = LLVMBuildFCmp(b, LLVMRealORD, best, best, "");
        better = LLVMBuildOr(b, better, LLVMBuildAnd(b, nan_x, number_best, ""), "");
        same = LLVMBuildOr(b, LLVMBuildFCmp(b, LLVMRealOEQ, x, best, ""),
                           LLVMBuildAnd(b, nan_x, LLVMBuildNot(b, number_best, ""), ""), "");
    } else {
        bool is_unsigned = type == T_U8 || type == T_BOOL;
        LLVMIntPredicate p =
            r == REDUCE_ARGMIN ? (is_unsigned ? LLVMIntULT : LLVMIntSLT) : (is_unsigned ? LLVMIntUGT : LLVMIntSGT);
        better = LLVMBuildICmp(b, p, x, best, "");
        same = LLVMBuildICmp(b, LLVMIntEQ, x, best, "");
    }
    if (!nx) return better;
    LLVMValueRef first = LLVMBuildICmp(b, LLVMIntSLT, nx, nbest, "");
    return LLVMBuildOr(b, better, LLVMBuildAnd(b, same, first, ""), "");
}

static LLVMValueRef half(Emit *e, LLVMValueRef v, int lanes, bool upper) {
    LLVMValueRef pick[64];
    if (lanes == 2) return extract(e->m, v, upper);
    for (int i = 0; i < lanes / 2; i++) pick[i] = const_i32(e->m, upper ? i + lanes / 2 : i);
    return LLVMBuildShuffleVector(e->m->builder, v, LLVMGetPoison(LLVMTypeOf(v)),
                                  LLVMConstVector(pick, (unsigned)(lanes / 2)), "");
}

static bool is_arg(Reduce r) {
    return r == REDUCE_ARGMAX || r == REDUCE_ARGMIN;
}

static LLVMValueRef across_lanes(Emit *e, Reduce r, ElementType type, LLVMValueRef v, LLVMValueRef *number) {
    LLVMBuilderRef b = e->m->builder;
    for (int lanes = lanes_of(LLVMTypeOf(v)); lanes > 1; lanes /= 2) {
        LLVMValueRef low = half(e, v, lanes, false), high = half(e, v, lanes, true);
        if (!is_arg(r)) {
            v = combine(e, r, type, low, high);
            continue;
        }
        LLVMValueRef nlow = half(e, *number, lanes, false), nhigh = half(e, *number, lanes, true);
        LLVMValueRef c = beats(e, r, type, high, low, nhigh, nlow);
        v = LLVMBuildSelect(b, c, high, low, "");
        *number = LLVMBuildSelect(b, c, nhigh, nlow, "");
    }
    return v;
}

// Row-major number of the current position of the reduced variables, i32.
static LLVMValueRef reduced_number(StageNest *n) {
    Emit *e = n->e;
    LLVMBuilderRef b = e->m->builder;
    const Stage *stage = n->stage;
    LLVMValueRef number = const_i64(e->m, 0), along = NULL;
    Mono m = mono_of(1);
    for (int i = stage->vars - 1; i >= stage->free; i--) {
        int v = stage->var[i];
        LLVMValueRef by = emit_mono(e, m);
        number = LLVMBuildAdd(b, number, LLVMBuildMul(b, e->var[v], by, ""), "");
        if (v == e->lane && e->lanes > 1) along = by;
        if (!mono_multiply(m, mono_extent(e->plan->nest.kernel->var[v].extent), &m)) DIE("too many dynamic axes");
    }
    number = LLVMBuildTrunc(b, number, e->m->i32, "");
    if (!along) return number;
    along = splat(e->m, LLVMBuildTrunc(b, along, e->m->i32, ""), e->lanes);
    along = LLVMBuildMul(b, along, iota(e->m, e->m->i32, e->lanes, 1), "");
    return LLVMBuildAdd(b, splat(e->m, number, e->lanes), along, "");
}

static void accumulate(StageNest *n, int copy) {
    Emit *e = n->e;
    LLVMBuilderRef b = e->m->builder;
    Reduce r = n->stage->reduce;
    ElementType type = n->stage->value->type;
    LLVMValueRef slot = n->slot[copy % n->accumulators];
    LLVMTypeRef shape = LLVMGetAllocatedType(slot);
    LLVMValueRef x = splat(e->m, emit_value(e, n->stage->value), lanes_of(shape));
    LLVMValueRef old = LLVMBuildLoad2(b, shape, slot, ""), next;
    LLVMValueRef mask = n->lanes_reduced ? e->mask : NULL;
    if (is_arg(r)) {
        LLVMValueRef number_slot = n->number_slot[copy % n->accumulators];
        LLVMTypeRef numbers = LLVMGetAllocatedType(number_slot);
        LLVMValueRef best = LLVMBuildLoad2(b, numbers, number_slot, "");
        LLVMValueRef c = beats(e, r, type, x, old, NULL, NULL);
        if (mask) c = LLVMBuildAnd(b, c, mask, "");
        LLVMValueRef number = splat(e->m, reduced_number(n), lanes_of(shape));
        LLVMBuildStore(b, LLVMBuildSelect(b, c, number, best, ""), number_slot);
        next = LLVMBuildSelect(b, c, x, old, "");
    } else {
        next = combine(e, r, type, old, x);
        if (mask) next = LLVMBuildSelect(b, mask, next, old, "");
    }
    LLVMBuildStore(b, next, slot);
}

// The reduced variables that a window loop runs through, when their number is small and known.
static int64_t window(const StageNest *n) {
    int64_t count = 1;
    for (int i = 0; i < n->loops->reds; i++) {
        const NestVar *v = &n->e->plan->nest.var[n->loops->red[i]];
        if (v->extent.axes || n->loops->red[i] == n->e->plan->nest.chunked) return -1;
        count *= v->extent.k;
        if (count > UNROLL_WINDOW) return -1;
    }
    return count;
}

typedef struct ReduceBody {
    StageNest *nest;
    int depth;
} ReduceBody;

static void reduce_body(void *user, int copy) {
    ReduceBody *r = user;
    r->nest->copy = copy;
    reduce_loops(r->nest, r->depth + 1);
}

static void plain_reduce_loop(StageNest *n, int depth, LLVMValueRef from, LLVMValueRef to) {
    Emit *e = n->e;
    CpuModule *m = e->m;
    int var = n->loops->red[depth], unroll = depth == n->loops->reds - 1 ? n->accumulators : 1;
    LLVMValueRef done = from;
    int64_t length = -1;
    if (LLVMIsAConstantInt(from) && LLVMIsAConstantInt(to))
        length = LLVMConstIntGetSExtValue(to) - LLVMConstIntGetSExtValue(from);
    if (n->unrolled) {
        for (int64_t i = 0; i < length; i++) {
            int mark = emit_mark(e);
            e->var[var] = const_i64(m, i);
            reduce_loops(n, depth + 1);
            emit_release(e, mark);
        }
        e->var[var] = NULL;
        return;
    }
    if (unroll > 1) {
        LLVMValueRef count = LLVMBuildSub(m->builder, to, from, "");
        count = LLVMBuildAnd(m->builder, count, const_i64(m, ~(int64_t)(unroll - 1)), "");
        done = LLVMBuildAdd(m->builder, from, count, "");
        LoopBlocks loop = loop_begin(m, from, done, unroll);
        for (int c = 0; c < unroll; c++) {
            int mark = emit_mark(e);
            e->var[var] = c ? LLVMBuildNSWAdd(m->builder, loop.index, const_i64(m, c), "") : loop.index;
            n->copy = c;
            reduce_loops(n, depth + 1);
            emit_release(e, mark);
        }
        loop_end(m, &loop);
    }
    if (unroll == 1 || length < 0 || length % unroll) {
        LoopBlocks loop = loop_begin(m, done, to, 1);
        int mark = emit_mark(e);
        e->var[var] = loop.index;
        n->copy = 0;
        reduce_loops(n, depth + 1);
        emit_release(e, mark);
        loop_end(m, &loop);
    }
    e->var[var] = NULL;
}

static uint64_t inner_bits(const int *var, int count) {
    uint64_t bits = 0;
    for (int i = 0; i < count; i++) bits |= bit(var[i]);
    return bits;
}

static void reduce_loops(StageNest *n, int depth) {
    Emit *e = n->e;
    if (depth == n->loops->reds) {
        accumulate(n, n->unrolled ? n->copy++ : n->copy);
        return;
    }
    int var = n->loops->red[depth];
    emit_hoist(e, n->stage->value, inner_bits(n->loops->red + depth, n->loops->reds - depth));
    LLVMValueRef from, to;
    bounds_of(e, var, &from, &to);
    if (var == n->loops->lane) {
        ReduceBody body = {n, depth};
        lane_loop(e, var, from, to, n->accumulators, false, reduce_body, &body);
    } else {
        plain_reduce_loop(n, depth, from, to);
    }
}

static int count_accumulators(const StageNest *n) {
    const LoopPlan *plan = n->e->plan;
    int64_t cost = n->loops->cost;
    if (is_arg(n->stage->reduce) || n->loops->reds == 0) return 1;
    int last = n->loops->red[n->loops->reds - 1];
    int64_t bound = plan->nest.var[last].bound;
    if (last == plan->nest.chunked) bound /= plan->chunks;
    if (n->unrolled) return n->loops->cost <= CHEAP ? 2 : 1;
    // Short loops stay small: every accumulator is another copy of the body. v2 is for old machines: compact code
    // there.
    if (last == n->loops->lane) bound /= WIDEST / 2;
    if (bound <= (last == n->loops->lane ? 8 : 64) || cost > MODERATE) return 1;
    return cost <= CHEAP && n->e->m->level > CPU_V2 ? 4 : 2;
}

static void stage_result(StageNest *n) {
    Emit *e = n->e;
    CpuModule *m = e->m;
    const Stage *stage = n->stage;
    if (stage->reduce == REDUCE_NONE) {
        emit_write(e, stage, emit_value(e, stage->value));
        return;
    }
    int64_t count = window(n);
    n->lanes_reduced = n->loops->reds && n->loops->lane >= 0 && n->loops->red[n->loops->reds - 1] == n->loops->lane;
    n->unrolled = !n->lanes_reduced && count >= 0 && count * n->loops->cost <= UNROLL_COST;
    n->accumulators = count_accumulators(n);
    int lanes = n->lanes_reduced ? m->lanes : e->lanes;
    LLVMTypeRef shape = vector_of(module_type(m, stage->value->type), lanes), numbers = vector_of(m->i32, lanes);
    for (int i = 0; i < n->accumulators; i++) {
        n->slot[i] = module_alloca(m, shape);
        LLVMBuildStore(m->builder, identity(e, stage->reduce, stage->value->type, shape), n->slot[i]);
        if (!is_arg(stage->reduce)) continue;
        n->number_slot[i] = module_alloca(m, numbers);
        LLVMBuildStore(m->builder, LLVMConstNull(numbers), n->number_slot[i]);
    }
    n->copy = 0;
    // Lanes over a reduced variable start here; an outer lane goes on through the reduction.
    int mark = emit_mark(e);
    reduce_loops(n, 0);
    emit_release(e, mark);
    LLVMValueRef v[MOST_ACCUMULATORS], number = NULL;
    for (int i = 0; i < n->accumulators; i++) v[i] = LLVMBuildLoad2(m->builder, shape, n->slot[i], "");
    for (int width = n->accumulators; width > 1; width /= 2)
        for (int i = 0; i < width / 2; i++)
            v[i] = combine(e, stage->reduce, stage->value->type, v[i], v[i + width / 2]);
    if (is_arg(stage->reduce)) number = LLVMBuildLoad2(m->builder, numbers, n->number_slot[0], "");
    if (n->lanes_reduced) v[0] = across_lanes(e, stage->reduce, stage->value->type, v[0], &number);
    emit_write(e, stage, number ? number : v[0]);
}

// ---- free loops
static void free_body(void *user, int copy) {
    ReduceBody *r = user;
    (void)copy;
    free_loops(r->nest, r->depth + 1);
}

static int map_unroll(const Emit *e, int lane, int64_t cost) {
    return cost <= CHEAP && e->plan->nest.var[lane].bound >= 64 && e->m->level > CPU_V2 ? 2 : 1;
}

// Where the body costs much more than masking on AVX-512, one masked loop is half the code of a whole and a masked one.
// (Measured on Zen 5: exp and erf maps lose a factor of two to masks, lgamma nothing.)
static bool masks_suffice(const Emit *e, int64_t cost) {
    return e->m->level == CPU_V4 && cost > HEAVY;
}

static void free_loops(StageNest *n, int depth) {
    Emit *e = n->e;
    if (depth == n->loops->frees) {
        stage_result(n);
        return;
    }
    int var = n->loops->free[depth];
    uint64_t inner =
        inner_bits(n->loops->free + depth, n->loops->frees - depth) | inner_bits(n->loops->red, n->loops->reds);
    emit_hoist(e, n->stage->value, inner);
    LLVMValueRef from, to;
    bounds_of(e, var, &from, &to);
    if (var == n->loops->lane) {
        ReduceBody body = {n, depth};
        int unroll = n->loops->reds ? 1 : map_unroll(e, var, n->loops->cost);
        bool masked = !n->loops->reds && masks_suffice(e, n->loops->cost);
        lane_loop(e, var, from, to, unroll, masked, free_body, &body);
        return;
    }
    LoopBlocks loop = loop_begin(e->m, from, to, 1);
    int mark = emit_mark(e);
    e->var[var] = loop.index;
    free_loops(n, depth + 1);
    emit_release(e, mark);
    loop_end(e->m, &loop);
    e->var[var] = NULL;
}

static void run_stages(Emit *e) {
    const Kernel *k = e->plan->nest.kernel;
    for (int s = 0; s < k->stage.count; s++) {
        StageNest n = {.e = e, .stage = &k->stage.at[s], .loops = &e->plan->stage[s]};
        e->stage = n.stage;
        bool straight = n.loops->frees == 0 && n.loops->reds == 0;
        // What straight stages evaluate serves the later ones too, until something is written that they may read.
        int mark = emit_mark(e);
        free_loops(&n, 0);
        if (!straight) emit_release(e, mark);
    }
}

// ---- outer loops and parts
static void hoist_all(Emit *e, int from) { // what no outer loop from `from` on changes
    const LoopPlan *plan = e->plan;
    const Kernel *k = plan->nest.kernel;
    uint64_t inner = USES_LATE | inner_bits(plan->outer + from, plan->outers - from);
    if (plan->lane >= 0) inner |= bit(plan->lane);
    for (int s = 0; s < k->stage.count; s++) {
        uint64_t own =
            inner_bits(plan->stage[s].free, plan->stage[s].frees) | inner_bits(plan->stage[s].red, plan->stage[s].reds);
        e->stage = &k->stage.at[s];
        emit_hoist(e, k->stage.at[s].value, inner | own);
    }
}

static void lane_body(void *user, int copy) {
    (void)copy;
    run_stages(user);
}

static void outer_loops(Emit *e, int depth, LLVMValueRef lane_from, LLVMValueRef lane_to) {
    const LoopPlan *plan = e->plan;
    CpuModule *m = e->m;
    LLVMValueRef from, to;
    if (depth < plan->outers) {
        int var = plan->outer[depth];
        bounds_of(e, var, &from, &to);
        LoopBlocks loop = loop_begin(m, from, to, 1);
        int mark = emit_mark(e);
        e->var[var] = loop.index;
        hoist_all(e, depth + 1);
        outer_loops(e, depth + 1, lane_from, lane_to);
        emit_release(e, mark);
        loop_end(m, &loop);
        e->var[var] = NULL;
        return;
    }
    if (plan->lane < 0) {
        run_stages(e);
        return;
    }
    int64_t cost = 0;
    bool loops = false;
    for (int s = 0; s < plan->nest.kernel->stage.count; s++) {
        cost += plan->stage[s].cost;
        loops = loops || plan->stage[s].frees || plan->stage[s].reds;
    }
    if (lane_from) from = lane_from, to = lane_to;
    else bounds_of(e, plan->lane, &from, &to);
    lane_loop(e, plan->lane, from, to, loops ? 1 : map_unroll(e, plan->lane, cost), !loops && masks_suffice(e, cost),
              lane_body, e);
}

static void flattened(Emit *e) { // the loop over [first * divide, last * divide) of the cut variables
    const LoopPlan *plan = e->plan;
    CpuModule *m = e->m;
    LLVMBuilderRef b = m->builder;
    LLVMValueRef total = emit_mono(e, mono_extent(plan->parts)), divide = const_i64(m, plan->divide);
    LLVMValueRef from = smaller(e, LLVMBuildNSWMul(b, e->first, divide, ""), total);
    LLVMValueRef to = smaller(e, LLVMBuildNSWMul(b, e->last, divide, ""), total);
    if (plan->cut_lane) {
        outer_loops(e, 0, from, to);
        return;
    }
    LoopBlocks loop = loop_begin(m, from, to, 1);
    int mark = emit_mark(e);
    LLVMValueRef rest = loop.index;
    for (int i = plan->cuts - 1; i >= 0; i--) {
        int var = plan->outer[i];
        LLVMValueRef n = emit_mono(e, plan->nest.var[var].extent);
        e->var[var] = i ? LLVMBuildURem(b, rest, n, "") : rest;
        if (i) rest = LLVMBuildUDiv(b, rest, n, "");
    }
    hoist_all(e, plan->cuts);
    outer_loops(e, plan->cuts, NULL, NULL);
    emit_release(e, mark);
    loop_end(m, &loop);
    for (int i = 0; i < plan->cuts; i++) e->var[plan->outer[i]] = NULL;
}

static LLVMValueRef scalar_i32(Emit *e, int buffer) {
    if (buffer < 0 || e->plan->nest.arg_of[buffer] < 0) return const_i32(e->m, 0); // nothing random in this phase
    LLVMValueRef p = emit_base(e, buffer);
    return LLVMBuildLoad2(e->m->builder, e->m->i32, p, "");
}

void loops_emit(CpuModule *m, Arena *arena, const LoopPlan *plan) {
    LLVMValueRef function = module_function(m, plan->nest.name);
    const Kernel *k = plan->nest.kernel;
    Emit e = {.m = m, .plan = plan, .lane = -1, .lanes = 1};
    e.entry = LLVMGetInsertBlock(m->builder);
    e.buffers = LLVMGetParam(function, 0);
    e.extents = LLVMGetParam(function, 1);
    e.scratch = LLVMGetParam(function, 2);
    e.first = LLVMGetParam(function, 3);
    e.last = LLVMGetParam(function, 4);
    e.base = NEW_ARRAY(arena, LLVMValueRef, k->buffer.count + 1);
    e.axis = NEW_ARRAY(arena, LLVMValueRef, plan->nest.program->axis.count + 8);
    e.local = NEW_ARRAY(arena, LLVMValueRef, k->local.count + 1);
    e.value = NEW_ARRAY(arena, LLVMValueRef, plan->nest.exprs + 1);
    e.undo = NEW_ARRAY(arena, int, plan->nest.exprs + 1);
    for (int v = 0; v < plan->nest.vars; v++)
        if (plan->nest.var[v].gone) e.var[v] = const_i64(m, 0);
    e.seed = scalar_i32(&e, k->scalar_seed);
    e.step = scalar_i32(&e, k->scalar_step);
    LLVMBasicBlockRef start = module_block(m, "start");
    LLVMPositionBuilderAtEnd(m->builder, start);
    bool cut = plan->cuts > 0 || plan->cut_lane;
    LLVMBasicBlockRef end = NULL;
    if (!cut) { // one part: calls with an empty range must do nothing
        LLVMBasicBlockRef go = module_block(m, "part");
        end = module_block(m, "end");
        LLVMBuildCondBr(m->builder, LLVMBuildICmp(m->builder, LLVMIntSLT, e.first, e.last, ""), go, end);
        LLVMPositionBuilderAtEnd(m->builder, go);
    }
    hoist_all(&e, 0);
    if (cut) flattened(&e);
    else outer_loops(&e, 0, NULL, NULL);
    if (end) {
        LLVMBuildBr(m->builder, end);
        LLVMPositionBuilderAtEnd(m->builder, end);
    }
    LLVMBuildRetVoid(m->builder);
    LLVMPositionBuilderAtEnd(m->builder, e.entry);
    LLVMBuildBr(m->builder, start);
}
