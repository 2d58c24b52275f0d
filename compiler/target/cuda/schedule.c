// Decides how the loops of a kernel run on a GPU: which variable neighbouring threads walk, how many threads share an
// outer iteration, what is a vector, where barriers are needed. requires a verified kernel without dynamic locals;
// leaves a LoopPlan.
#include "target/cuda/loops.h"

#include <stdlib.h>
#include <string.h>

enum { ENOUGH_BLOCKS = 132, ENOUGH_THREADS = 132 * 1024, PRIVATE_ELEMENTS = 64, VECTOR_TEXT = 640 };

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int power_of_two(int64_t n) { // not below n, at most 1024
    int p = 1;
    while (p < n && p < 1024) p *= 2;
    return p;
}

// ---- what neighbouring threads cost
// Transactions of a warp per element, relative to one for each thread.
static double access_cost(const LoopPlan *plan, int tensor, int rank, const Position *position, int lane) {
    Mono m = {0};
    if (tensor < 0) return 0.02;
    int kind = lane < 0 ? 0 : access_stride(&plan->nest, tensor, rank, position, lane, &m);
    if (kind == 0) return 0.03;
    if (kind == 2) return 0.6;
    int64_t by = m.axes ? 8 : m.k < 0 ? -m.k : m.k;
    return by < 8 ? 0.125 * (double)by : 1;
}

typedef struct Walk {
    const LoopPlan *plan;
    uint64_t *seen;
    double cost; // of accesses, for `lane`
    int lane, vector, width;
    int operations, nodes, wide, narrow; // accesses that are wide along `vector`, and others that vary with it
} Walk;

static void count_access(Walk *w, int tensor, int rank, const Position *position, int weight) {
    w->cost += weight * access_cost(w->plan, tensor, rank, position, w->lane);
    if (w->vector < 0) return;
    Mono m;
    if (access_wide(&w->plan->nest, tensor, rank, position, w->vector, w->width)) w->wide += weight;
    else if (access_stride(&w->plan->nest, tensor, rank, position, w->vector, &m)) w->narrow += weight;
}

static void walk(Walk *w, const Expr *e) {
    int id = nest_expr(&w->plan->nest, e);
    if (w->seen[id / 64] >> (id % 64) & 1) return;
    w->seen[id / 64] |= (uint64_t)1 << (id % 64);
    w->operations += w->plan->nest.expr[id].cost;
    w->nodes++;
    for (int i = 0; i < e->arity; i++) walk(w, e->arg[i]);
    if (e->op != OP_READ) return;
    for (int i = 0; i < e->rank; i++)
        if (e->position[i].gather) walk(w, e->position[i].gather);
    if (e->tensor >= 0 || e->rank > 0) count_access(w, e->tensor, e->rank, e->position, 1);
}

static Walk walk_start(Arena *arena, const LoopPlan *plan) {
    return (Walk){
        .plan = plan, .seen = NEW_ARRAY(arena, uint64_t, plan->nest.exprs / 64 + 1), .lane = -1, .vector = -1};
}

static void walk_stage(Walk *w, const Stage *stage) {
    for (int d = 0; d < stage->rank; d++)
        if (stage->target[d].gather) walk(w, stage->target[d].gather);
    walk(w, stage->value);
    if (stage->dest >= 0 || stage->rank > 0) count_access(w, stage->dest, stage->rank, stage->target, 2);
}

static double volume(const LoopPlan *plan, const int *var, int count) {
    double v = 1;
    for (int i = 0; i < count; i++)
        if (!plan->nest.var[var[i]].gone) v *= (double)plan->nest.var[var[i]].bound;
    return v;
}

static double reduced_volume(const LoopPlan *plan, const Stage *stage) {
    double v = volume(plan, stage->var + stage->free, stage->vars - stage->free);
    if (plan->chunks && v > 1) v = v / plan->chunks > 1 ? v / plan->chunks : 1;
    return v;
}

static double stage_volume(const LoopPlan *plan, const Stage *stage) {
    return volume(plan, stage->var, stage->free) * reduced_volume(plan, stage);
}

static double stage_lane_cost(Arena *arena, const LoopPlan *plan, const Stage *stage, int lane) {
    Walk w = walk_start(arena, plan);
    w.lane = lane;
    walk_stage(&w, stage);
    return (w.cost + 0.01) * stage_volume(plan, stage);
}

// Neighbouring threads walk the innermost variable of a stage, of its free or of its reduced ones.
static double row_cost(Arena *arena, const LoopPlan *plan) {
    double cost = 0;
    for (int s = 0; s < plan->nest.kernel->stage.count; s++) {
        const Stage *stage = &plan->nest.kernel->stage.at[s];
        const LoopStage *l = &plan->stage[s];
        double best = stage_lane_cost(arena, plan, stage, l->frees ? l->free[l->frees - 1] : -1);
        double other = l->reds ? stage_lane_cost(arena, plan, stage, l->red[l->reds - 1]) : best;
        cost += l->frees && best < other ? best : other;
    }
    return cost;
}

// The outer variable that neighbouring threads should walk.
static int best_column(Arena *arena, const LoopPlan *plan, double *cost) {
    int best = -1;
    for (int i = 0; i < plan->outers; i++) {
        double c = 0;
        int v = plan->outer[i];
        if (v == plan->nest.chunk) continue;
        for (int s = 0; s < plan->nest.kernel->stage.count; s++)
            c += stage_lane_cost(arena, plan, &plan->nest.kernel->stage.at[s], v);
        if (plan->nest.var[v].bound < 8) c *= 1 + 0.1 * (double)(8 - plan->nest.var[v].bound);
        if (best < 0 || c < *cost * 0.999 || (c <= *cost * 1.001 && i > 0)) best = v, *cost = c;
    }
    return best;
}

// ---- vectors
static bool divides(Mono m, int width) {
    return m.k % width == 0;
}

static int most_lanes(const Program *p) {
    return p->real64 ? 2 : 4;
}

static int vector_width(Arena *arena, const LoopPlan *plan, const int *stage, int stages, int var, bool may_rest) {
    for (int width = most_lanes(plan->nest.program); width > 1; width /= 2) {
        Walk w = walk_start(arena, plan);
        w.vector = var;
        w.width = width;
        for (int i = 0; i < stages; i++) walk_stage(&w, &plan->nest.kernel->stage.at[stage[i]]);
        if (!may_rest && !divides(plan->nest.var[var].extent, width)) continue;
        if (plan->nest.var[var].bound < width || w.nodes * width > VECTOR_TEXT) continue;
        if (w.wide > 0 && w.narrow <= 2 * w.wide) return width;
    }
    return 1;
}

// ---- stages
static bool has_loops(const LoopStage *l) {
    return l->frees || l->orders || l->reds;
}

static bool expr_reads(const Expr *e, int tensor, int depth) {
    if (e->op == OP_READ && e->tensor == tensor) return true;
    if (depth > 400) return true;
    for (int i = 0; i < e->arity; i++)
        if (expr_reads(e->arg[i], tensor, depth + 1)) return true;
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather && expr_reads(e->position[i].gather, tensor, depth + 1)) return true;
    return false;
}

bool stage_reads(const Kernel *k, const Stage *stage, int tensor) {
    (void)k;
    for (int d = 0; d < stage->rank; d++)
        if (stage->target[d].gather && expr_reads(stage->target[d].gather, tensor, 0)) return true;
    return expr_reads(stage->value, tensor, 0);
}

static bool is_arg(const Stage *stage) {
    return stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN;
}

// Reductions over the same elements that do not wait for each other share one loop, that of the first.
static void choose_leaders(LoopPlan *plan) {
    const Kernel *k = plan->nest.kernel;
    for (int s = 0; s < k->stage.count; s++) {
        LoopStage *l = &plan->stage[s];
        l->leader = s;
        if (l->frees || l->orders || !l->reds) continue;
        for (int first = 0; first < s && l->leader == s; first++) {
            const LoopStage *f = &plan->stage[first];
            bool same = f->leader == first && f->reds == l->reds && !f->frees && !f->orders;
            for (int i = 0; same && i < l->reds; i++)
                same = mono_same(plan->nest.var[f->red[i]].extent, plan->nest.var[l->red[i]].extent);
            // Nothing that is written from there on, up to here, is read here.
            for (int between = first; same && between < s; between++)
                same = !stage_reads(k, &k->stage.at[s], k->stage.at[between].dest);
            if (same) l->leader = first;
        }
    }
}

static void stage_loops(Arena *arena, LoopPlan *plan) {
    const Kernel *k = plan->nest.kernel;
    bool keep = false;
    for (int s = 0; s < k->stage.count; s++) keep = keep || is_arg(&k->stage.at[s]);
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        LoopStage *l = &plan->stage[s];
        int all[NEST_VARS];
        l->vector = -1;
        l->width = 1;
        int n = nest_sort(&plan->nest, stage, stage->var, stage->free, -1, stage->accumulate, all);
        for (int i = 0; i < n; i++) {
            bool in_order = stage->accumulate && !nest_collision_free(k, all[i]);
            if (in_order) l->order[l->orders++] = all[i];
            else l->free[l->frees++] = all[i];
        }
        // The number that argmax yields is counted in the order of the variables.
        l->reds = nest_sort(&plan->nest, stage, stage->var + stage->free, stage->vars - stage->free, -1, keep, l->red);
        Walk w = walk_start(arena, plan);
        walk_stage(&w, stage);
        l->cost = w.operations + w.nodes;
    }
    choose_leaders(plan);
}

static void stage_modes(LoopPlan *plan) {
    for (int s = 0; s < plan->nest.kernel->stage.count; s++) {
        LoopStage *l = &plan->stage[s];
        double frees = volume(plan, l->free, l->frees);
        l->mode = STAGE_ONCE;
        if (!has_loops(l)) continue;
        l->mode = STAGE_SPREAD;
        if (l->orders || !l->reds) continue;
        if (plan->members == 1 && !plan->chunks) continue;
        double reds = reduced_volume(plan, &plan->nest.kernel->stage.at[s]);
        if (l->frees == 0 || (frees * 2 < plan->members && reds >= 8)) l->mode = STAGE_REDUCE;
    }
}

// Vectors along inner variables: rows only, and locals of one value per outer iteration.
static void stage_vectors(Arena *arena, LoopPlan *plan) {
    const Kernel *k = plan->nest.kernel;
    if (plan->columns || plan->width > 1 || plan->members == 1) return;
    for (int s = 0; s < k->stage.count; s++) {
        LoopStage *l = &plan->stage[s];
        int list[64], n = 0;
        if (l->leader != s || l->mode == STAGE_ONCE) continue;
        const int *vars = l->mode == STAGE_SPREAD ? l->free : l->red;
        int count = l->mode == STAGE_SPREAD ? l->frees : l->reds;
        if (count == 0 || (l->mode == STAGE_SPREAD && (l->reds || l->orders))) continue;
        for (int i = s; i < k->stage.count; i++)
            if (plan->stage[i].leader == s) list[n++] = i;
        int v = vars[count - 1];
        // A loop over one variable may end with single elements: from there on its accesses stay where they are.
        bool may_rest = count == 1 && plan->nest.var[v].bound >= 256 && l->cost < 60;
        int width = vector_width(arena, plan, list, n, v, may_rest);
        if (plan->nest.var[v].bound / width < plan->members / 2) width = 1;
        if (width == 1) continue;
        l->vector = v;
        l->width = width;
        l->rest = !divides(plan->nest.var[v].extent, width);
    }
}

// ---- threads
static double outer_volume(const LoopPlan *plan) {
    return volume(plan, plan->outer, plan->outers);
}

static int64_t array_bytes(const LoopPlan *plan) { // of the array locals of a group
    const Kernel *k = plan->nest.kernel;
    int64_t bytes = 0;
    for (int i = 0; i < k->local.count; i++) {
        const KernelLocal *l = &k->local.at[i];
        int64_t n = 1;
        if (!plan->used[i] || l->rank == 0) continue;
        for (int d = 0; d < l->rank; d++) n *= l->dim[d].count;
        bytes += (n + 1) * element_size(plan->nest.program, l->type);
    }
    return bytes;
}

static void lay_out_arrays(LoopPlan *plan) {
    const Kernel *k = plan->nest.kernel;
    plan->shared = 0;
    for (int i = 0; i < k->local.count; i++) {
        const KernelLocal *l = &k->local.at[i];
        int64_t n = 1;
        if (!plan->used[i] || l->rank == 0) continue;
        for (int d = 0; d < l->rank; d++) n *= l->dim[d].count;
        // Columns: neighbouring threads are in other groups, and an odd distance keeps them off each other's banks.
        if (plan->columns) n |= 1;
        else n = (n + 3) / 4 * 4;
        plan->pitch[i] = (int)n;
        plan->shared += n * plan->groups * element_size(plan->nest.program, l->type);
    }
}

static void outer_order(LoopPlan *plan, int fastest) {
    int sorted[NEST_VARS], n = 0;
    if (fastest == plan->nest.chunk) fastest = -1;
    if (plan->nest.chunk >= 0) sorted[n++] = plan->nest.chunk;
    for (int i = 0; i < plan->outers; i++)
        if (plan->outer[i] != fastest && plan->outer[i] != plan->nest.chunk) sorted[n++] = plan->outer[i];
    if (fastest >= 0) sorted[n++] = fastest;
    EXPECT(n == plan->outers);
    memcpy(plan->outer, sorted, sizeof sorted[0] * (size_t)n);
}

static void rows(LoopPlan *plan, double work) {
    double outer = outer_volume(plan);
    int lanes = most_lanes(plan->nest.program);
    double need = work / lanes < 32 ? work : work / lanes;
    int members = power_of_two((int64_t)least((int64_t)need, 1024));
    if (members > 32) {
        members = 32;
        while (members < 1024 && need / members > 8 && outer * members < ENOUGH_THREADS) members *= 2;
        while (members < 256 && need / members > 64) members *= 2;
    }
    plan->members = members;
    plan->groups = members >= LOOPS_THREADS ? 1 : LOOPS_THREADS / members;
    int64_t bytes = array_bytes(plan) + 16;
    while (plan->groups > 1 && plan->groups * members > 32 &&
           (outer / plan->groups < ENOUGH_BLOCKS || bytes * plan->groups > LOOPS_SHARED))
        plan->groups /= 2;
    if (bytes * plan->groups > LOOPS_SHARED) plan->members = 32, plan->groups = 1;
}

static void column_threads(LoopPlan *plan, double work) {
    double outer = outer_volume(plan) / plan->width;
    if (plan->nest.chunk >= 0) outer /= plan->chunks;
    int groups = power_of_two((int64_t)least((int64_t)outer, 32));
    int64_t bytes = array_bytes(plan) + 16;
    while (groups > 4 && bytes * groups > LOOPS_SHARED) groups /= 2;
    int members = LOOPS_THREADS / groups;
    int want = power_of_two((int64_t)(work / 4));
    double blocks = outer_volume(plan) / plan->width / groups;
    if (blocks < ENOUGH_BLOCKS && work >= 128) members *= 4; // few columns: more slices
    while (members > 1 && members > want && members * groups > 32) members /= 2;
    while (members * groups > 1024) members /= 2;
    plan->members = members;
    plan->groups = groups;
}

static bool private_arrays(const LoopPlan *plan) { // do the arrays fit a thread?
    return array_bytes(plan) <= PRIVATE_ELEMENTS * 4;
}

// Few sizes, so that functions of small and large layers are alike.
static int threads_of_block(double threads) {
    return threads <= 32 ? 32 : threads < ENOUGH_BLOCKS * 128 ? 64 : LOOPS_THREADS;
}

static void one_thread(Arena *arena, LoopPlan *plan, int fastest) {
    const Kernel *k = plan->nest.kernel;
    int all[64];
    outer_order(plan, fastest);
    plan->members = 1;
    plan->columns = true;
    double outer = outer_volume(plan);
    plan->groups = threads_of_block(outer);
    if (fastest < 0 || array_bytes(plan) > 0 || k->local.count > 64) return;
    for (int s = 0; s < k->stage.count; s++) all[s] = s;
    bool alone = plan->outers == 1;
    bool may_rest = alone && !plan->nest.scatters;
    for (int s = 0; s < k->stage.count; s++) may_rest = may_rest && !has_loops(&plan->stage[s]);
    int width = vector_width(arena, plan, all, k->stage.count, fastest, may_rest);
    if (outer < 16384) width = 1;
    if (width == 1) return;
    plan->vector = fastest;
    plan->width = width;
    plan->rest = !divides(plan->nest.var[fastest].extent, width);
    plan->groups = threads_of_block(outer / width);
}

static void columns(Arena *arena, LoopPlan *plan, int fastest, double work) {
    const Kernel *k = plan->nest.kernel;
    int list[64], n = 0;
    outer_order(plan, fastest);
    plan->columns = true;
    for (int s = 0; s < k->stage.count; s++)
        if (has_loops(&plan->stage[s])) list[n++] = s;
    bool heavy = false; // what is computed once is not worth being written several times
    for (int s = 0, cost = 0; s < k->stage.count; s++) {
        if (!has_loops(&plan->stage[s])) cost += plan->stage[s].cost;
        heavy = heavy || cost > 40;
    }
    if (array_bytes(plan) == 0 && k->local.count <= 64 && !heavy && !plan->nest.scatters) {
        int width = vector_width(arena, plan, list, n, fastest, false);
        // Pieces of a long reduction are many; otherwise the blocks must be.
        bool enough = plan->chunks || outer_volume(plan) / width / 32 >= ENOUGH_BLOCKS;
        if (width > 1 && work >= 32 && enough) plan->vector = fastest, plan->width = width;
    }
    column_threads(plan, work);
}

static void choose_threads(Arena *arena, LoopPlan *plan) {
    const Kernel *k = plan->nest.kernel;
    double work = 0, by_columns = 0, by_rows = row_cost(arena, plan);
    bool loops = false, scatter = plan->nest.scatters;
    for (int s = 0; s < k->stage.count; s++) {
        double v = stage_volume(plan, &k->stage.at[s]);
        if (v > work) work = v;
        loops = loops || has_loops(&plan->stage[s]);
    }
    int fastest = best_column(arena, plan, &by_columns);
    double outer = outer_volume(plan);
    if (!loops) {
        one_thread(arena, plan, fastest);
        return;
    }
    // In a scatter the variables that are done in order are no work for members.
    if (scatter) {
        work = 1;
        for (int s = 0; s < k->stage.count; s++) {
            double v = volume(plan, plan->stage[s].free, plan->stage[s].frees);
            if (!k->stage.at[s].accumulate) v = stage_volume(plan, &k->stage.at[s]);
            if (v > work) work = v;
        }
    }
    bool alone = private_arrays(plan) && !plan->chunks;
    bool column = fastest >= 0 && by_columns <= by_rows * 1.05;
    if (column && alone &&
        (work <= 16 || (outer >= 16384 && work <= 128) || (outer >= ENOUGH_THREADS && work <= 512))) {
        one_thread(arena, plan, fastest);
    } else if (column && (array_bytes(plan) + 16) * 8 <= LOOPS_SHARED) {
        columns(arena, plan, fastest, work);
    } else if (alone && work <= 4 && fastest >= 0) {
        one_thread(arena, plan, fastest);
    } else {
        outer_order(plan, plan->outers ? plan->outer[plan->outers - 1] : -1);
        rows(plan, work);
    }
}

// ---- barriers
// Is what `reader` reads at this place what the same thread wrote in `writer`?
static bool same_thread(const LoopPlan *plan, int writer, int reader, int rank, const Position *position) {
    const Kernel *k = plan->nest.kernel;
    const Stage *from = &k->stage.at[writer];
    const LoopStage *a = &plan->stage[writer], *b = &plan->stage[reader];
    if (plan->members == 1) return true;
    if (a->mode == STAGE_ONCE && b->mode == STAGE_ONCE) return writer >= plan->tail && reader >= plan->tail;
    if (a->mode != STAGE_SPREAD || a->orders || b->mode == STAGE_ONCE || b->orders) return false;
    if (b->mode == STAGE_REDUCE && b->frees) return false;
    const LoopStage *loop = &plan->stage[b->leader];
    const int *vars = b->mode == STAGE_SPREAD ? b->free : b->red;
    int count = b->mode == STAGE_SPREAD ? b->frees : b->reds;
    if (a->frees != count || a->width != loop->width || a->rest != loop->rest) return false;
    for (int d = 0; d < rank; d++)
        if (position[d].gather || position[d].divide > 1 || position[d].modulo || from->target[d].gather ||
            from->target[d].divide > 1 || from->target[d].modulo || position[d].offset != from->target[d].offset)
            return false;
    for (int i = 0; i < count; i++) {
        Mono x = {0}, y = {0};
        if (!mono_same(plan->nest.var[a->free[i]].extent, plan->nest.var[vars[i]].extent)) return false;
        int kx = access_stride(&plan->nest, from->dest, from->rank, from->target, a->free[i], &x);
        int ky = access_stride(&plan->nest, from->dest, rank, position, vars[i], &y);
        if (kx != 1 || ky != 1 || !mono_same(x, y)) return false;
    }
    for (int v = 0; v < plan->nest.vars; v++) { // nothing else moves the place, but outer variables alike
        bool listed = plan->nest.var[v].gone;
        for (int i = 0; i < count; i++) listed = listed || v == vars[i];
        Mono x = {0}, y = {0};
        if (listed) continue;
        int ky = access_stride(&plan->nest, from->dest, rank, position, v, &y);
        if (v >= k->outer ? ky != 0
                          : ky != access_stride(&plan->nest, from->dest, from->rank, from->target, v, &x) ||
                                (ky && !mono_same(x, y)))
            return false;
    }
    return true;
}

typedef struct Touch { // search for an access of `tensor` by a stage that another thread may have made
    const LoopPlan *plan;
    int tensor, writer, reader;
} Touch;

static bool foreign_read(const Touch *t, const Expr *e, int depth) {
    if (e->op == OP_READ && e->tensor == t->tensor &&
        (depth > 400 || !same_thread(t->plan, t->writer, t->reader, e->rank, e->position)))
        return true;
    if (depth > 400) return false;
    for (int i = 0; i < e->arity; i++)
        if (foreign_read(t, e->arg[i], depth + 1)) return true;
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather && foreign_read(t, e->position[i].gather, depth + 1)) return true;
    return false;
}

static bool stage_foreign(const LoopPlan *plan, int tensor, int writer, int reader) {
    const Stage *stage = &plan->nest.kernel->stage.at[reader];
    Touch t = {plan, tensor, writer, reader};
    for (int d = 0; d < stage->rank; d++)
        if (stage->target[d].gather && foreign_read(&t, stage->target[d].gather, 0)) return true;
    return foreign_read(&t, stage->value, 0);
}

static void choose_barriers(LoopPlan *plan) {
    const Kernel *k = plan->nest.kernel;
    if (plan->members == 1) return;
    for (int s = 0, since = 0; s < k->stage.count; s++) {
        bool barrier = false;
        const Stage *stage = &k->stage.at[s];
        for (int before = since; before < s && !barrier; before++) {
            const Stage *b = &k->stage.at[before];
            bool in_memory = b->dest >= 0 || b->rank > 0;
            // written before, read here; a leader reads for the stages that follow it
            for (int r = s; in_memory && r < k->stage.count && !barrier; r++)
                if (plan->stage[r].leader == s && stage_reads(k, &k->stage.at[r], b->dest))
                    barrier = stage_foreign(plan, b->dest, before, r);
            // read or written before by others, written here
            in_memory = stage->dest >= 0 || stage->rank > 0;
            if (!in_memory || barrier) continue;
            if (stage_reads(k, b, stage->dest)) barrier = stage_foreign(plan, stage->dest, s, before);
            if (b->dest == stage->dest && b->dest >= 0)
                barrier = barrier || !same_thread(plan, before, s, stage->rank, stage->target);
        }
        plan->stage[s].barrier = barrier;
        if (barrier) since = s;
    }
    for (int s = plan->tail + 1; s < k->stage.count; s++) { // one thread runs the tail: what it waits for comes before
        if (plan->stage[s].barrier) plan->stage[plan->tail].barrier = true;
        plan->stage[s].barrier = false;
    }
}

int64_t loops_per_block(const LoopPlan *plan) {
    return (int64_t)plan->groups * plan->width;
}

const char *loops_plan(Arena *arena, const Program *p, const Kernel *k, const char *name, LoopPlan *plan) {
    const char *error = nest_init(arena, p, k, name, &plan->nest);
    if (error) return error;
    if (k->local.count > 64) return arena_format(arena, "kernel %s has more than 64 locals", name);
    plan->stage = NEW_ARRAY(arena, LoopStage, k->stage.count + 1);
    plan->used = NEW_ARRAY(arena, bool, k->local.count + 1);
    plan->vector = -1;
    plan->width = 1;
    plan->total = mono_of(1);
    for (int i = 0; i < k->local.count; i++)
        for (int s = 0; s < k->stage.count; s++)
            plan->used[i] = plan->used[i] || k->stage.at[s].dest == ~i || stage_reads(k, &k->stage.at[s], ~i);
    int all[NEST_VARS];
    for (int v = 0; v < k->outer; v++) all[v] = v;
    plan->outers =
        nest_sort(&plan->nest, &k->stage.at[k->stage.count - 1], all, k->outer, -1, plan->nest.scatters, plan->outer);
    if (plan->nest.scatters) {
        int n = 0;
        for (int i = 0; i < plan->outers; i++) {
            int v = plan->outer[i];
            if (nest_collision_free(k, v)) plan->outer[n++] = v;
            else plan->serial[plan->serials++] = v;
        }
        plan->outers = n;
    }
    for (int i = 0; i < plan->outers; i++)
        if (!mono_multiply(plan->total, plan->nest.var[plan->outer[i]].extent, &plan->total))
            return arena_format(arena, "kernel %s: outer loops over more than %d dynamic axes", name, MONO_AXES);
    plan->strided = plan->total.axes > 1;
    stage_loops(arena, plan);
    choose_threads(arena, plan);
    stage_modes(plan);
    plan->tail = k->stage.count;
    while (plan->tail > 0 &&
           (plan->stage[plan->tail - 1].mode == STAGE_ONCE || plan->stage[plan->tail - 1].leader < plan->tail - 1))
        plan->tail--;
    stage_vectors(arena, plan);
    choose_barriers(plan);
    lay_out_arrays(plan);
    for (int s = 0; s < k->stage.count; s++)
        plan->scratch = plan->scratch || (plan->stage[s].mode == STAGE_REDUCE && plan->members * plan->groups > 32 &&
                                          (plan->columns || plan->members > 32));
    return NULL;
}
