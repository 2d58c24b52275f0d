// Decides how a kernel's loops run: merges variables that every access walks through together, orders loops by storage,
// chooses the lane variable by a small cost model, cuts outer loops into parts.
// requires a verified kernel; leaves a LoopPlan that is independent of the instruction set.
#include "target/cpu/lower.h"

#include "target/cpu/module.h"

#include <stdlib.h>
#include <string.h>

enum { DYNAMIC_BOUND = 64, STEP_BOUND = 65536, DEFAULT_GRAIN = 100000 };

// ---- monomials
Mono mono_of(int64_t k) {
    return (Mono){.k = k};
}

Mono mono_extent(Extent e) {
    Mono m = {.k = e.count};
    if (e.axis >= 0) m.axes = 1, m.axis[0] = e.axis;
    return m;
}

bool mono_multiply(Mono a, Mono b, Mono *product) {
    Mono m = {.k = a.k * b.k};
    int i = 0, j = 0;
    if (a.axes + b.axes > MONO_AXES) return false;
    while (i < a.axes || j < b.axes)
        m.axis[m.axes++] = j == b.axes || (i < a.axes && a.axis[i] <= b.axis[j]) ? a.axis[i++] : b.axis[j++];
    *product = m;
    return true;
}

bool mono_same(Mono a, Mono b) {
    if (a.k != b.k || a.axes != b.axes) return false;
    for (int i = 0; i < a.axes; i++)
        if (a.axis[i] != b.axis[i]) return false;
    return true;
}

int64_t mono_bound(const Program *p, Mono m) {
    int64_t v = m.k;
    for (int i = 0; i < m.axes; i++) {
        int64_t n = m.axis[i] < p->axis.count ? p->axis.at[m.axis[i]].count : STEP_BOUND;
        v *= n > 0 ? n : DYNAMIC_BOUND;
    }
    return v;
}

// ---- expressions
static int table_slot(const LoopPlan *plan, const Expr *e) {
    uint64_t h = (uint64_t)(uintptr_t)e;
    h = (h >> 4) * 0x9E3779B97F4A7C15u;
    int mask = plan->table_size - 1, i = (int)(h >> 40) & mask;
    while (plan->table[i].key && plan->table[i].key != e) i = (i + 1) & mask;
    return i;
}

int plan_expr(const LoopPlan *plan, const Expr *e) {
    int i = table_slot(plan, e);
    EXPECT(plan->table[i].key == e);
    return plan->table[i].id;
}

static int64_t op_cost(ScalarOp op) {
    switch (op) {
    case OP_CONST:
    case OP_INDEX:
    case OP_EXTENT:
    case OP_STOP: return 0;
    case OP_DIV:
    case OP_SQRT: return 4;
    case OP_IDIV:
    case OP_IMOD: return 6;
    case OP_RSQRT: return 8;
    case OP_EXP:
    case OP_LOG:
    case OP_SIGMOID: return 16;
    case OP_EXPM1:
    case OP_LOG1P:
    case OP_TANH:
    case OP_ERF:
    case OP_SIN:
    case OP_COS: return 24;
    case OP_RANDOM:
    case OP_ATAN2: return 40;
    case OP_POW: return 60;
    case OP_LGAMMA:
    case OP_DIGAMMA: return 90;
    default: return 1;
    }
}

static uint64_t var_bit(const LoopPlan *plan, int var) {
    return plan->var[var].gone ? 0 : (uint64_t)1 << var;
}

// Grows the table for all nodes below e; information is filled once merging is done.
static void collect(LoopPlan *plan, const Expr *e) {
    if (plan->table[table_slot(plan, e)].key) return;
    for (int i = 0; i < e->arity; i++) collect(plan, e->arg[i]);
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather) collect(plan, e->position[i].gather);
    int slot = table_slot(plan, e);
    plan->table[slot].key = e;
    plan->table[slot].id = plan->exprs;
    plan->expr[plan->exprs++].expr = e; // children come before parents
}

static int count_nodes(const Expr *e, int limit) {
    int n = 1;
    if (limit <= 0) return 1;
    for (int i = 0; i < e->arity; i++) n += count_nodes(e->arg[i], limit - n);
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather) n += count_nodes(e->position[i].gather, limit - n);
    return n;
}

static uint64_t random_uses(const LoopPlan *plan, const Kernel *k) {
    uint64_t uses = 0;
    for (int s = 0; s < k->stage.count; s++)
        for (int i = 0; i < k->stage.at[s].free; i++) uses |= var_bit(plan, k->stage.at[s].var[i]);
    for (int v = 0; v < k->outer; v++) uses |= var_bit(plan, v);
    return uses;
}

static void fill_info(LoopPlan *plan) {
    const Kernel *k = plan->kernel;
    for (int id = 0; id < plan->exprs; id++) {
        ExprInfo *info = &plan->expr[id];
        const Expr *e = info->expr;
        info->uses = 0;
        info->gathers = false;
        info->cost = (int)op_cost(e->op);
        for (int i = 0; i < e->arity; i++) info->uses |= plan->expr[plan_expr(plan, e->arg[i])].uses;
        if (e->op == OP_INDEX) info->uses |= var_bit(plan, e->var);
        if (e->op == OP_RANDOM) info->uses |= random_uses(plan, k);
        if (e->op != OP_READ) continue;
        for (int i = 0; i < e->rank; i++) {
            const Position *x = &e->position[i];
            if (x->gather) {
                info->uses |= plan->expr[plan_expr(plan, x->gather)].uses;
                info->gathers = true;
                info->cost += 4;
                continue;
            }
            for (int t = 0; t < x->terms; t++) info->uses |= var_bit(plan, x->term[t].var);
            if (x->divide > 1 || x->modulo > 0) info->cost += 3;
        }
        if (e->tensor < 0 || k->buffer.at[e->tensor].is_written) info->uses |= USES_LATE;
        if (e->tensor < 0) // a local varies with whatever its stage's outer lane is
            for (int v = 0; v < k->outer; v++) info->uses |= var_bit(plan, v);
    }
}

// ---- accesses
bool position_range(const LoopPlan *plan, const Position *x, int64_t *low, int64_t *high) {
    const Kernel *k = plan->kernel;
    if (x->gather) return false;
    int64_t lo = x->offset, hi = x->offset;
    for (int t = 0; t < x->terms; t++) {
        Extent e = k->var[x->term[t].var].extent;
        if (e.axis >= 0) return false;
        int64_t span = x->term[t].coef * (e.count > 0 ? e.count - 1 : 0);
        if (span < 0) lo += span;
        else hi += span;
    }
    if (x->divide > 1) {
        lo = lo >= 0 ? lo / x->divide : -((-lo + x->divide - 1) / x->divide);
        hi = hi >= 0 ? hi / x->divide : -((-hi + x->divide - 1) / x->divide);
    }
    if (x->modulo > 0 && (lo < 0 || hi >= x->modulo)) lo = 0, hi = x->modulo - 1;
    *low = lo;
    *high = hi;
    return true;
}

bool position_checked(const LoopPlan *plan, const Position *x, Extent dim) {
    int64_t low, high;
    if (x->gather) return true;
    if (dim.axis < 0 && position_range(plan, x, &low, &high)) return low < 0 || high >= dim.count;
    if (x->terms == 1 && x->term[0].coef == 1 && x->offset == 0 && x->divide <= 1 && x->modulo == 0 &&
        extent_same(plan->kernel->var[x->term[0].var].extent, dim))
        return false;
    return x->guarded;
}

bool position_uses(const LoopPlan *plan, const Position *x, int var) {
    (void)plan;
    if (x->gather) return false;
    for (int t = 0; t < x->terms; t++)
        if (x->term[t].var == var) return true;
    return false;
}

static bool expr_uses_index(const LoopPlan *plan, const Expr *e, int var) { // before merging: by walking
    if (e->op == OP_INDEX && e->var == var) return true;
    for (int i = 0; i < e->arity; i++)
        if (expr_uses_index(plan, e->arg[i], var)) return true;
    for (int i = 0; e->op == OP_READ && i < e->rank; i++) {
        const Position *x = &e->position[i];
        if (x->gather ? expr_uses_index(plan, x->gather, var) : position_uses(plan, x, var)) return true;
    }
    return false;
}

int access_stride(const LoopPlan *plan, int tensor, int rank, const Position *position, int var, Mono *stride) {
    const Mono *dims = tensor >= 0 ? plan->stride[tensor] : plan->local_stride[~tensor];
    bool found = false;
    for (int d = 0; d < rank; d++) {
        const Position *x = &position[d];
        if (x->gather) {
            if (expr_uses_index(plan, x->gather, var)) return 2;
            continue;
        }
        for (int t = 0; t < x->terms; t++) {
            if (x->term[t].var != var) continue;
            if (x->divide > 1 || x->modulo > 0) return 2;
            Mono m = dims[d];
            m.k *= x->term[t].coef;
            if (!found) {
                *stride = m;
            } else {
                Mono sum = *stride;
                m.k += sum.k;
                sum.k = m.k;
                if (!mono_same(m, sum)) return 2;
                *stride = m;
            }
            found = true;
        }
    }
    if (found && stride->k == 0) return 2;
    return found;
}

// The row-major stride of dimension d of the destination, logical order.
static Mono logical_stride(const Extent *dim, int rank, int d) {
    Mono m = mono_of(1);
    for (int i = d + 1; i < rank; i++)
        if (!mono_multiply(m, mono_extent(dim[i]), &m)) DIE("more than %d dynamic dimensions", MONO_AXES);
    return m;
}

static bool plain_var(const Position *x, int *var) {
    if (x->gather || x->terms != 1 || x->term[0].coef != 1 || x->offset || x->divide > 1 || x->modulo) return false;
    *var = x->term[0].var;
    return true;
}

bool random_stride(const LoopPlan *plan, const Stage *stage, int var, Mono *stride) {
    const Kernel *k = plan->kernel;
    int v;
    if (stage->dest >= 0) {
        bool plain = true;
        for (int d = 0; d < stage->rank; d++) plain = plain && plain_var(&stage->target[d], &v);
        if (plain) {
            for (int d = 0; d < stage->rank; d++)
                if (plain_var(&stage->target[d], &v) && v == var) {
                    *stride = logical_stride(k->buffer.at[stage->dest].dim, stage->rank, d);
                    return true;
                }
            return false;
        }
    }
    // A local, or a destination that is not addressed by plain variables: outer variables, then the stage's free ones.
    Extent dim[LOOP_VARS];
    int n = 0, at = -1;
    for (int i = 0; i < k->outer; i++) {
        if (i == var) at = n;
        dim[n++] = k->var[i].extent;
    }
    for (int i = 0; i < stage->free; i++) {
        if (stage->var[i] == var) at = n;
        dim[n++] = k->var[stage->var[i]].extent;
    }
    if (at < 0) return false;
    *stride = logical_stride(dim, n, at);
    return true;
}

// ---- merging
typedef struct Merge {
    LoopPlan *plan;
    int outer, inner; // candidates
} Merge;

static bool access_merges(const Merge *g, int tensor, int rank, const Position *position, const Extent *dim) {
    Mono so = {0}, si = {0}, both;
    int o = access_stride(g->plan, tensor, rank, position, g->outer, &so);
    int i = access_stride(g->plan, tensor, rank, position, g->inner, &si);
    if (!o && !i) return true;
    if (o != 1 || i != 1) return false;
    for (int d = 0; d < rank; d++)
        if ((position_uses(g->plan, &position[d], g->outer) || position_uses(g->plan, &position[d], g->inner)) &&
            (position_checked(g->plan, &position[d], dim[d]) || position[d].exact))
            return false;
    return mono_multiply(si, g->plan->var[g->inner].extent, &both) && mono_same(so, both);
}

static bool expr_merges(const Merge *g, const Stage *stage, const Expr *e) {
    const Kernel *k = g->plan->kernel;
    if (e->op == OP_INDEX) return e->var != g->outer && e->var != g->inner;
    if (e->op == OP_RANDOM) {
        Mono so, si, both;
        bool o = random_stride(g->plan, stage, g->outer, &so), i = random_stride(g->plan, stage, g->inner, &si);
        if (!o && !i) return true;
        return o && i && mono_multiply(si, g->plan->var[g->inner].extent, &both) && mono_same(so, both);
    }
    if (e->op != OP_READ) return true;
    const Extent *dim = e->tensor >= 0 ? k->buffer.at[e->tensor].dim : k->local.at[~e->tensor].dim;
    return access_merges(g, e->tensor, e->rank, e->position, dim);
}

static int group_of(const Kernel *k, const Stage *stage, int var) { // 0 absent, 1 outer, 2 free, 3 reduced
    if (var < k->outer) return 1;
    for (int i = 0; i < stage->vars; i++)
        if (stage->var[i] == var) return i < stage->free ? 2 : 3;
    return 0;
}

static bool number_merges(const Merge *g, const Stage *stage) { // argmax: the row-major number of the reduced variables
    Mono so = {0}, si = {0}, m = mono_of(1), both;
    for (int i = stage->vars - 1; i >= stage->free; i--) {
        if (stage->var[i] == g->outer) so = m;
        if (stage->var[i] == g->inner) si = m;
        if (!mono_multiply(m, mono_extent(g->plan->kernel->var[stage->var[i]].extent), &m)) return false;
    }
    return mono_multiply(si, g->plan->var[g->inner].extent, &both) && mono_same(so, both);
}

static bool stage_exprs_merge(const Merge *g, const Stage *stage, const Expr *e, uint64_t *seen) {
    int id = plan_expr(g->plan, e);
    if (seen[id / 64] >> (id % 64) & 1) return true;
    seen[id / 64] |= (uint64_t)1 << (id % 64);
    if (!expr_merges(g, stage, e)) return false;
    for (int i = 0; i < e->arity; i++)
        if (!stage_exprs_merge(g, stage, e->arg[i], seen)) return false;
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather && !stage_exprs_merge(g, stage, e->position[i].gather, seen)) return false;
    return true;
}

static bool may_merge(const Merge *g, uint64_t *seen) {
    LoopPlan *plan = g->plan;
    const Kernel *k = plan->kernel;
    Mono both;
    if (g->outer == plan->chunked || g->inner == plan->chunked) return false;
    if (g->outer == plan->chunk || g->inner == plan->chunk) return false;
    if (!mono_multiply(plan->var[g->outer].extent, plan->var[g->inner].extent, &both)) return false;
    if (both.axes > 1 && g->outer < k->outer) return false; // the number of parts knows one axis
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        int group = group_of(k, stage, g->outer);
        if (group != group_of(k, stage, g->inner)) return false;
        if (!access_merges(g, stage->dest, stage->rank, stage->target,
                           stage->dest >= 0 ? k->buffer.at[stage->dest].dim : k->local.at[~stage->dest].dim))
            return false;
        if (group == 3 && (stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN) &&
            !number_merges(g, stage))
            return false;
        memset(seen, 0, sizeof *seen * (size_t)(plan->exprs / 64 + 1));
        if (!stage_exprs_merge(g, stage, stage->value, seen)) return false;
        for (int d = 0; d < stage->rank; d++)
            if (stage->target[d].gather && !stage_exprs_merge(g, stage, stage->target[d].gather, seen)) return false;
    }
    return true;
}

static void merge_all(Arena *arena, LoopPlan *plan) {
    uint64_t *seen = NEW_ARRAY(arena, uint64_t, plan->exprs / 64 + 1);
    bool again = true;
    while (again) {
        again = false;
        for (int a = 0; a < plan->vars; a++)
            for (int b = 0; b < plan->vars && !plan->var[a].gone; b++) {
                Merge g = {plan, a, b};
                if (a == b || plan->var[b].gone || !may_merge(&g, seen)) continue;
                mono_multiply(plan->var[a].extent, plan->var[b].extent, &plan->var[b].extent);
                plan->var[b].bound *= plan->var[a].bound;
                plan->var[a].gone = true;
                again = true;
            }
    }
}

// ---- order of loops
typedef struct Sort {
    int var;
    double key;
} Sort;

static int by_key(const void *a, const void *b) {
    const Sort *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->var - y->var;
}

static double access_key(const LoopPlan *plan, int tensor, int rank, const Position *position, int var) {
    Mono m = {0};
    int kind = access_stride(plan, tensor, rank, position, var, &m);
    if (kind == 0) return 0;
    if (kind == 2) return 0.5;
    double v = (double)mono_bound(plan->program, m);
    return v < 0 ? -v : v;
}

// Stride in the destination when it occurs there, else in the read that is largest.
static double order_key(const LoopPlan *plan, const Stage *stage, int var) {
    double key = stage->dest >= 0 ? access_key(plan, stage->dest, stage->rank, stage->target, var) : 0;
    if (key > 0) return key;
    double best = -1;
    for (int id = 0; id < plan->exprs; id++) {
        const Expr *e = plan->expr[id].expr;
        if (e->op != OP_READ || e->tensor < 0) continue;
        double k = access_key(plan, e->tensor, e->rank, e->position, var), size = 1;
        for (int d = 0; d < e->rank; d++)
            size *= (double)mono_bound(plan->program, mono_extent(plan->kernel->buffer.at[e->tensor].dim[d]));
        if (k > 0 && size > best) best = size, key = k;
    }
    return key;
}

static int sort_vars(const LoopPlan *plan, const Stage *stage, const int *from, int count, int skip, bool keep,
                     int *to) {
    Sort sort[LOOP_VARS];
    int n = 0;
    for (int i = 0; i < count; i++) {
        if (plan->var[from[i]].gone || from[i] == skip) continue;
        sort[n].var = from[i];
        sort[n].key = keep ? -i : order_key(plan, stage, from[i]);
        n++;
    }
    qsort(sort, (size_t)n, sizeof *sort, by_key);
    for (int i = 0; i < n; i++) to[i] = sort[i].var;
    return n;
}

// ---- lanes
static double access_lane_cost(const LoopPlan *plan, int tensor, int rank, const Position *position, int lane) {
    if (lane < 0) return 0.5;
    Mono m = {0};
    int kind = access_stride(plan, tensor, rank, position, lane, &m);
    if (kind == 0) return 0.05;
    if (kind == 1 && m.axes == 0 && m.k == 1) return 1.0 / 16;
    return kind == 1 ? 0.5 : 0.7;
}

static double expr_lane_cost(const LoopPlan *plan, const Expr *e, int lane, uint64_t *seen) {
    int id = plan_expr(plan, e);
    if (seen[id / 64] >> (id % 64) & 1) return 0;
    seen[id / 64] |= (uint64_t)1 << (id % 64);
    bool varies = lane >= 0 && (plan->expr[id].uses >> lane & 1);
    double cost = plan->expr[id].cost * (lane < 0 ? 0.5 : varies ? 1.0 / 16 : 0.02);
    for (int i = 0; i < e->arity; i++) cost += expr_lane_cost(plan, e->arg[i], lane, seen);
    if (e->op != OP_READ) return cost;
    cost += access_lane_cost(plan, e->tensor, e->rank, e->position, lane);
    for (int i = 0; i < e->rank; i++)
        if (e->position[i].gather) cost += expr_lane_cost(plan, e->position[i].gather, lane, seen);
    return cost;
}

static int64_t expr_cost(const LoopPlan *plan, const Expr *e, uint64_t *seen) { // operations of one evaluation
    int id = plan_expr(plan, e);
    if (seen[id / 64] >> (id % 64) & 1) return 0;
    seen[id / 64] |= (uint64_t)1 << (id % 64);
    int64_t cost = plan->expr[id].cost;
    for (int i = 0; i < e->arity; i++) cost += expr_cost(plan, e->arg[i], seen);
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather) cost += expr_cost(plan, e->position[i].gather, seen);
    return cost;
}

static double stage_volume(const LoopPlan *plan, const Stage *stage) {
    double v = 1;
    for (int i = 0; i < stage->vars; i++)
        if (!plan->var[stage->var[i]].gone) v *= (double)plan->var[stage->var[i]].bound;
    return v;
}

static double use_of_lanes(const LoopPlan *plan, int lane) {
    if (lane < 0) return 1;
    int64_t n = plan->var[lane].bound > 0 ? plan->var[lane].bound : 1;
    return (double)n / (double)((n + WIDEST - 1) / WIDEST * WIDEST);
}

// Operations of all iterations of a stage within one outer iteration, with `lane` across lanes.
static double stage_lane_cost(const LoopPlan *plan, const Stage *stage, int lane, uint64_t *seen) {
    double volume = stage_volume(plan, stage), results = volume;
    bool reduced = false;
    memset(seen, 0, sizeof *seen * (size_t)(plan->exprs / 64 + 1));
    double each = expr_lane_cost(plan, stage->value, lane, seen);
    for (int i = stage->free; i < stage->vars; i++) {
        if (!plan->var[stage->var[i]].gone) results /= (double)plan->var[stage->var[i]].bound;
        reduced = reduced || stage->var[i] == lane;
    }
    double store = stage->dest >= 0 ? access_lane_cost(plan, stage->dest, stage->rank, stage->target, lane) : 0.05;
    if (stage->accumulate) store *= 2;
    double cost = volume * each / use_of_lanes(plan, lane);
    if (reduced) return cost + results * 3;
    return cost + results * store / use_of_lanes(plan, lane);
}

// Two iterations that differ in `var` never write the same element of an accumulated tensor.
static bool collision_free(const Kernel *k, int var) {
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        bool found = false;
        int v;
        if (!stage->accumulate) continue;
        if (var >= k->outer && group_of(k, stage, var) == 0) continue;
        for (int d = 0; d < stage->rank; d++) found = found || (plain_var(&stage->target[d], &v) && v == var);
        if (!found) return false;
    }
    return true;
}

static bool lane_allowed(const LoopPlan *plan, int var) {
    if (plan->var[var].gone || var == plan->chunk) return false;
    // A merged variable stands for all that went into it; each of them must be free of collisions.
    if (!plan->scatters) return true;
    return collision_free(plan->kernel, var);
}

// Would this stage, with lanes across `lane`, write several lanes to one place?
static bool writes_along(const LoopPlan *plan, const Stage *stage, int lane) {
    Mono m;
    if (stage->dest < 0 && lane < plan->kernel->outer) return true; // locals are kept per lane
    return access_stride(plan, stage->dest, stage->rank, stage->target, lane, &m) != 0;
}

static int best_stage_lane(const LoopPlan *plan, const Stage *stage, uint64_t *seen, double *cost) {
    int best = -1;
    *cost = stage_lane_cost(plan, stage, -1, seen);
    bool arg = stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN;
    int last = -1;
    for (int i = 0; i < stage->vars; i++)
        if (!plan->var[stage->var[i]].gone && i >= stage->free) last = stage->var[i];
    for (int i = 0; i < stage->vars; i++) {
        int v = stage->var[i];
        if (!lane_allowed(plan, v) || (i < stage->free && !writes_along(plan, stage, v))) continue;
        if (arg && i >= stage->free && v != last) continue; // first extreme: the innermost loop must be the lanes
        double c = stage_lane_cost(plan, stage, v, seen);
        if (v == plan->kernel->lane) c *= 0.7;
        if (c < *cost) *cost = c, best = v;
    }
    return best;
}

static void choose_lanes(Arena *arena, LoopPlan *plan) {
    const Kernel *k = plan->kernel;
    uint64_t *seen = NEW_ARRAY(arena, uint64_t, plan->exprs / 64 + 1);
    double best = 0;
    int stage_lane[64];
    for (int s = 0; s < k->stage.count; s++) {
        double c;
        stage_lane[s] = best_stage_lane(plan, &k->stage.at[s], seen, &c);
        best += c;
    }
    plan->lane = -1;
    for (int v = 0; v < k->outer; v++) {
        bool fits = lane_allowed(plan, v);
        double cost = 0;
        for (int s = 0; s < k->stage.count && fits; s++) {
            fits = writes_along(plan, &k->stage.at[s], v);
            cost += stage_lane_cost(plan, &k->stage.at[s], v, seen);
        }
        if (v == k->lane) cost *= 0.7;
        if (fits && cost < best) best = cost, plan->lane = v;
    }
    for (int s = 0; s < k->stage.count; s++) plan->stage[s].lane = plan->lane >= 0 ? -1 : stage_lane[s];
}

// ---- parts
static void cut(LoopPlan *plan, double grain) {
    const Kernel *k = plan->kernel;
    double work = 1; // per innermost outer iteration
    for (int s = 0; s < k->stage.count; s++)
        work += stage_volume(plan, &k->stage.at[s]) * (double)(plan->stage[s].cost + 1);
    double total = 1;
    for (int i = 0; i < plan->outers; i++) total *= (double)plan->var[plan->outer[i]].bound;
    if (plan->lane >= 0) total *= (double)plan->var[plan->lane].bound;
    Mono product = mono_of(1), next;
    int64_t bound = 1;
    plan->cuts = 0;
    plan->cut_lane = false;
    plan->parts = extent_of(1);
    plan->divide = 1;
    while (plan->cuts < plan->outers) {
        int v = plan->outer[plan->cuts];
        if (plan->scatters && !collision_free(k, v)) break;
        if (!mono_multiply(product, plan->var[v].extent, &next) || next.axes > 1) break;
        product = next;
        bound *= plan->var[v].bound;
        plan->cuts++;
    }
    if (plan->lane >= 0 && (!plan->scatters || collision_free(k, plan->lane))) {
        Mono n = plan->var[plan->lane].extent;
        int64_t blocks = plan->var[plan->lane].bound / 64;
        if (n.axes <= 1 && (plan->cuts == 0 || (bound < 16 && blocks > bound))) {
            plan->cut_lane = true;
            plan->cuts = 0;
            product = n;
            bound = plan->var[plan->lane].bound;
        }
    }
    if (!plan->cut_lane && plan->cuts == 0) return;
    double each = work * total / (double)(bound > 0 ? bound : 1);
    plan->divide = each >= grain ? 1 : (int64_t)(grain / (each > 0 ? each : 1));
    if (plan->cut_lane) plan->divide = (plan->divide + 63) / 64 * 64; // whole vectors: a part never ends inside one
    if (plan->divide < 1) plan->divide = 1;
    plan->parts = (Extent){product.k, product.axes ? product.axis[0] : -1};
}

static const char *scratch_layout(Arena *arena, LoopPlan *plan) {
    const Kernel *k = plan->kernel;
    int64_t at = CPU_SCRATCH_HEADER;
    bool any = plan->gathers;
    for (int i = 0; i < k->local.count; i++) {
        const KernelLocal *l = &k->local.at[i];
        plan->local_offset[i] = -1;
        if (l->rank == 0) continue;
        int64_t n = element_bytes(plan->program->real64, l->type) * (plan->lane >= 0 ? WIDEST : 1);
        for (int d = 0; d < l->rank; d++) {
            if (l->dim[d].axis >= 0)
                return arena_format(arena, "kernel %s: local %d has a dynamic dimension", plan->name, i);
            n *= l->dim[d].count;
        }
        plan->local_offset[i] = at;
        at += (n + 63) / 64 * 64;
        any = true;
    }
    plan->scratch = any ? at : 0;
    return NULL;
}

static const char *strides(Arena *arena, LoopPlan *plan) {
    const Kernel *k = plan->kernel;
    plan->stride = arena_alloc(arena, sizeof *plan->stride * (size_t)(k->buffer.count + 1));
    plan->local_stride = arena_alloc(arena, sizeof *plan->local_stride * (size_t)(k->local.count + 1));
    plan->local_offset = NEW_ARRAY(arena, int64_t, k->local.count + 1);
    for (int i = 0; i < k->buffer.count; i++) {
        const KernelBuffer *b = &k->buffer.at[i];
        Mono m = mono_of(1);
        for (int j = b->rank - 1; j >= 0; j--) {
            plan->stride[i][b->order[j]] = m;
            if (!mono_multiply(m, mono_extent(b->dim[b->order[j]]), &m))
                return arena_format(arena, "kernel %s: buffer %d has more than %d dynamic dimensions", plan->name, i,
                                    MONO_AXES);
        }
    }
    for (int i = 0; i < k->local.count; i++)
        for (int d = 0; d < k->local.at[i].rank; d++)
            plan->local_stride[i][d] = logical_stride(k->local.at[i].dim, k->local.at[i].rank, d);
    return NULL;
}

static void number_arguments(Arena *arena, LoopPlan *plan) {
    const Kernel *k = plan->kernel;
    plan->arg_of = NEW_ARRAY(arena, int, k->buffer.count + 1);
    for (int i = 0; i < k->buffer.count; i++) plan->arg_of[i] = -1;
    for (int id = 0; id < plan->exprs; id++) {
        const Expr *e = plan->expr[id].expr;
        if (e->op == OP_READ && e->tensor >= 0) plan->arg_of[e->tensor] = 0;
        if (e->op != OP_RANDOM) continue;
        if (k->scalar_seed >= 0) plan->arg_of[k->scalar_seed] = 0;
        if (k->scalar_step >= 0) plan->arg_of[k->scalar_step] = 0;
    }
    for (int s = 0; s < k->stage.count; s++)
        if (k->stage.at[s].dest >= 0) plan->arg_of[k->stage.at[s].dest] = 0;
    int n = 0;
    for (int i = 0; i < k->buffer.count; i++)
        if (plan->arg_of[i] == 0) plan->arg_of[i] = n++;
}

const char *plan_loops(Arena *arena, const Program *p, const Kernel *k, const char *name, const CpuOptions *options,
                       LoopPlan *plan) {
    plan->program = p;
    plan->kernel = k;
    plan->name = name;
    plan->vars = k->vars;
    plan->lane = -1;
    if (k->stage.count > 64) return arena_format(arena, "kernel %s has more than 64 stages", name);
    const char *error = strides(arena, plan);
    if (error) return error;
    int nodes = 0;
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        nodes += count_nodes(stage->value, 1 << 20);
        plan->scatters = plan->scatters || stage->accumulate;
        for (int d = 0; d < stage->rank; d++)
            if (stage->target[d].gather) {
                nodes += count_nodes(stage->target[d].gather, 1 << 20);
                plan->gathers = true;
            }
    }
    plan->table_size = 16;
    while (plan->table_size < 2 * nodes) plan->table_size *= 2;
    plan->table = arena_alloc(arena, sizeof *plan->table * (size_t)plan->table_size);
    plan->expr = NEW_ARRAY(arena, ExprInfo, nodes);
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        collect(plan, stage->value);
        for (int d = 0; d < stage->rank; d++)
            if (stage->target[d].gather) collect(plan, stage->target[d].gather);
    }
    for (int v = 0; v < k->vars; v++) {
        plan->var[v].extent = mono_extent(k->var[v].extent);
        plan->var[v].bound = mono_bound(p, plan->var[v].extent);
        plan->var[v].gone = extent_is_one(k->var[v].extent);
    }
    number_arguments(arena, plan);
    if (!plan->unmerged) merge_all(arena, plan);
    fill_info(plan);
    plan->stage = NEW_ARRAY(arena, LoopStage, k->stage.count + 1);
    for (int id = 0; id < plan->exprs; id++) plan->gathers = plan->gathers || plan->expr[id].gathers;
    choose_lanes(arena, plan);
    int all[LOOP_VARS];
    for (int v = 0; v < k->outer; v++) all[v] = v;
    // Scatters keep their order: it is the order of the additions.
    plan->outers =
        sort_vars(plan, &k->stage.at[k->stage.count - 1], all, k->outer, plan->lane, plan->scatters, plan->outer);
    if (plan->scatters) { // the variables that parts can be cut from go outermost
        int sorted[LOOP_VARS], n = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int i = 0; i < plan->outers; i++)
                if (collision_free(k, plan->outer[i]) == (pass == 0)) sorted[n++] = plan->outer[i];
        memcpy(plan->outer, sorted, sizeof sorted[0] * (size_t)n);
    }
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        LoopStage *ls = &plan->stage[s];
        bool arg = stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN;
        ls->frees = sort_vars(plan, stage, stage->var, stage->free, ls->lane, stage->accumulate, ls->free);
        ls->reds = sort_vars(plan, stage, stage->var + stage->free, stage->vars - stage->free, ls->lane, arg, ls->red);
        if (ls->lane >= 0) {
            if (group_of(k, stage, ls->lane) == 2) ls->free[ls->frees++] = ls->lane;
            else ls->red[ls->reds++] = ls->lane;
        }
        uint64_t *seen = NEW_ARRAY(arena, uint64_t, plan->exprs / 64 + 1);
        ls->cost = 1 + expr_cost(plan, stage->value, seen);
    }
    error = scratch_layout(arena, plan);
    if (error) return error;
    cut(plan, options && options->grain > 0 ? (double)options->grain : DEFAULT_GRAIN);
    return NULL;
}
