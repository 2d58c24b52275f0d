// Decides how a kernel's loops run: merges variables that every access walks through together, orders loops by storage,
// chooses the lane variable by a small cost model, cuts outer loops into parts.
// requires a verified kernel; leaves a LoopPlan that is independent of the instruction set.
#include "target/cpu/lower.h"

#include "target/cpu/module.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_GRAIN = 100000 };

// ---- lanes
static double access_lane_cost(const LoopPlan *plan, int tensor, int rank, const Position *position, int lane) {
    if (lane < 0) return 0.5;
    Mono m = {0};
    int kind = access_stride(&plan->nest, tensor, rank, position, lane, &m);
    if (kind == 0) return 0.05;
    if (kind == 1 && m.axes == 0 && m.k == 1) return 1.0 / 16;
    return kind == 1 ? 0.5 : 0.7;
}

static double expr_lane_cost(const LoopPlan *plan, const Expr *e, int lane, uint64_t *seen) {
    int id = nest_expr(&plan->nest, e);
    if (seen[id / 64] >> (id % 64) & 1) return 0;
    seen[id / 64] |= (uint64_t)1 << (id % 64);
    bool varies = lane >= 0 && (plan->nest.expr[id].uses >> lane & 1);
    double cost = plan->nest.expr[id].cost * (lane < 0 ? 0.5 : varies ? 1.0 / 16 : 0.02);
    for (int i = 0; i < e->arity; i++) cost += expr_lane_cost(plan, e->arg[i], lane, seen);
    if (e->op != OP_READ) return cost;
    cost += access_lane_cost(plan, e->tensor, e->rank, e->position, lane);
    for (int i = 0; i < e->rank; i++)
        if (e->position[i].gather) cost += expr_lane_cost(plan, e->position[i].gather, lane, seen);
    return cost;
}

static int64_t expr_cost(const LoopPlan *plan, const Expr *e, uint64_t *seen) { // operations of one evaluation
    int id = nest_expr(&plan->nest, e);
    if (seen[id / 64] >> (id % 64) & 1) return 0;
    seen[id / 64] |= (uint64_t)1 << (id % 64);
    int64_t cost = plan->nest.expr[id].cost;
    for (int i = 0; i < e->arity; i++) cost += expr_cost(plan, e->arg[i], seen);
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather) cost += expr_cost(plan, e->position[i].gather, seen);
    return cost;
}

static double stage_volume(const LoopPlan *plan, const Stage *stage) {
    double v = 1;
    for (int i = 0; i < stage->vars; i++)
        if (!plan->nest.var[stage->var[i]].gone) v *= (double)plan->nest.var[stage->var[i]].bound;
    return v;
}

static double use_of_lanes(const LoopPlan *plan, int lane) {
    if (lane < 0) return 1;
    int64_t n = plan->nest.var[lane].bound > 0 ? plan->nest.var[lane].bound : 1;
    return (double)n / (double)((n + WIDEST - 1) / WIDEST * WIDEST);
}

// Operations of all iterations of a stage within one outer iteration, with `lane` across lanes.
static double stage_lane_cost(const LoopPlan *plan, const Stage *stage, int lane, uint64_t *seen) {
    double volume = stage_volume(plan, stage), results = volume;
    bool reduced = false;
    memset(seen, 0, sizeof *seen * (size_t)(plan->nest.exprs / 64 + 1));
    double each = expr_lane_cost(plan, stage->value, lane, seen);
    for (int i = stage->free; i < stage->vars; i++) {
        if (!plan->nest.var[stage->var[i]].gone) results /= (double)plan->nest.var[stage->var[i]].bound;
        reduced = reduced || stage->var[i] == lane;
    }
    double store = stage->dest >= 0 ? access_lane_cost(plan, stage->dest, stage->rank, stage->target, lane) : 0.05;
    if (stage->accumulate) store *= 2;
    double cost = volume * each / use_of_lanes(plan, lane);
    if (reduced) return cost + results * 3;
    return cost + results * store / use_of_lanes(plan, lane);
}

static bool lane_allowed(const LoopPlan *plan, int var) {
    if (plan->nest.var[var].gone || var == plan->nest.chunk) return false;
    // A merged variable stands for all that went into it; each of them must be free of collisions.
    if (!plan->nest.scatters) return true;
    return nest_collision_free(plan->nest.kernel, var);
}

// Would this stage, with lanes across `lane`, write several lanes to one place?
static bool writes_along(const LoopPlan *plan, const Stage *stage, int lane) {
    Mono m;
    if (stage->dest < 0 && lane < plan->nest.kernel->outer) return true; // locals are kept per lane
    return access_stride(&plan->nest, stage->dest, stage->rank, stage->target, lane, &m) != 0;
}

static int best_stage_lane(const LoopPlan *plan, const Stage *stage, uint64_t *seen, double *cost) {
    int best = -1;
    *cost = stage_lane_cost(plan, stage, -1, seen);
    bool arg = stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN;
    int last = -1;
    for (int i = 0; i < stage->vars; i++)
        if (!plan->nest.var[stage->var[i]].gone && i >= stage->free) last = stage->var[i];
    for (int i = 0; i < stage->vars; i++) {
        int v = stage->var[i];
        if (!lane_allowed(plan, v) || (i < stage->free && !writes_along(plan, stage, v))) continue;
        if (arg && i >= stage->free && v != last) continue; // first extreme: the innermost loop must be the lanes
        double c = stage_lane_cost(plan, stage, v, seen);
        if (v == plan->nest.kernel->lane) c *= 0.7;
        if (c < *cost) *cost = c, best = v;
    }
    return best;
}

static void choose_lanes(Arena *arena, LoopPlan *plan) {
    const Kernel *k = plan->nest.kernel;
    uint64_t *seen = NEW_ARRAY(arena, uint64_t, plan->nest.exprs / 64 + 1);
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
    const Kernel *k = plan->nest.kernel;
    double work = 1; // per innermost outer iteration
    for (int s = 0; s < k->stage.count; s++)
        work += stage_volume(plan, &k->stage.at[s]) * (double)(plan->stage[s].cost + 1);
    double total = 1;
    for (int i = 0; i < plan->outers; i++) total *= (double)plan->nest.var[plan->outer[i]].bound;
    if (plan->lane >= 0) total *= (double)plan->nest.var[plan->lane].bound;
    Mono product = mono_of(1), next;
    int64_t bound = 1;
    plan->cuts = 0;
    plan->cut_lane = false;
    plan->parts = extent_of(1);
    plan->divide = 1;
    while (plan->cuts < plan->outers) {
        int v = plan->outer[plan->cuts];
        if (plan->nest.scatters && !nest_collision_free(k, v)) break;
        if (!mono_multiply(product, plan->nest.var[v].extent, &next) || next.axes > 1) break;
        product = next;
        bound *= plan->nest.var[v].bound;
        plan->cuts++;
    }
    if (plan->lane >= 0 && (!plan->nest.scatters || nest_collision_free(k, plan->lane))) {
        Mono n = plan->nest.var[plan->lane].extent;
        int64_t blocks = plan->nest.var[plan->lane].bound / 64;
        if (n.axes <= 1 && (plan->cuts == 0 || (bound < 16 && blocks > bound))) {
            plan->cut_lane = true;
            plan->cuts = 0;
            product = n;
            bound = plan->nest.var[plan->lane].bound;
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
    const Kernel *k = plan->nest.kernel;
    plan->local_offset = NEW_ARRAY(arena, int64_t, k->local.count + 1);
    int64_t at = CPU_SCRATCH_HEADER;
    bool any = plan->nest.gathers;
    for (int i = 0; i < k->local.count; i++) {
        const KernelLocal *l = &k->local.at[i];
        plan->local_offset[i] = -1;
        if (l->rank == 0) continue;
        int64_t n = element_bytes(plan->nest.program->real64, l->type) * (plan->lane >= 0 ? WIDEST : 1);
        for (int d = 0; d < l->rank; d++) {
            if (l->dim[d].axis >= 0)
                return arena_format(arena, "kernel %s: local %d has a dynamic dimension", plan->nest.name, i);
            n *= l->dim[d].count;
        }
        plan->local_offset[i] = at;
        at += (n + 63) / 64 * 64;
        any = true;
    }
    plan->scratch = any ? at : 0;
    return NULL;
}

const char *plan_loops(Arena *arena, const Program *p, const Kernel *k, const char *name, const CpuOptions *options,
                       LoopPlan *plan) {
    plan->lane = -1;
    const char *error = nest_init(arena, p, k, name, &plan->nest);
    if (error) return error;
    plan->stage = NEW_ARRAY(arena, LoopStage, k->stage.count + 1);
    choose_lanes(arena, plan);
    int all[LOOP_VARS];
    for (int v = 0; v < k->outer; v++) all[v] = v;
    // Scatters keep their order: it is the order of the additions.
    plan->outers = nest_sort(&plan->nest, &k->stage.at[k->stage.count - 1], all, k->outer, plan->lane,
                             plan->nest.scatters, plan->outer);
    if (plan->nest.scatters) { // the variables that parts can be cut from go outermost
        int sorted[LOOP_VARS], n = 0;
        for (int pass = 0; pass < 2; pass++)
            for (int i = 0; i < plan->outers; i++)
                if (nest_collision_free(k, plan->outer[i]) == (pass == 0)) sorted[n++] = plan->outer[i];
        memcpy(plan->outer, sorted, sizeof sorted[0] * (size_t)n);
    }
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        LoopStage *ls = &plan->stage[s];
        bool arg = stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN;
        ls->frees = nest_sort(&plan->nest, stage, stage->var, stage->free, ls->lane, stage->accumulate, ls->free);
        ls->reds =
            nest_sort(&plan->nest, stage, stage->var + stage->free, stage->vars - stage->free, ls->lane, arg, ls->red);
        if (ls->lane >= 0) {
            if (nest_group(k, stage, ls->lane) == 2) ls->free[ls->frees++] = ls->lane;
            else ls->red[ls->reds++] = ls->lane;
        }
        uint64_t *seen = NEW_ARRAY(arena, uint64_t, plan->nest.exprs / 64 + 1);
        ls->cost = 1 + expr_cost(plan, stage->value, seen);
    }
    error = scratch_layout(arena, plan);
    if (error) return error;
    cut(plan, options && options->grain > 0 ? (double)options->grain : DEFAULT_GRAIN);
    return NULL;
}
