// See nest.h.
#include "forms/nest.h"

#include <stdlib.h>
#include <string.h>

enum { DYNAMIC_BOUND = 64, STEP_BOUND = 65536 };

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
static int table_slot(const Nest *nest, const Expr *e) {
    uint64_t h = (uint64_t)(uintptr_t)e;
    h = (h >> 4) * 0x9E3779B97F4A7C15u;
    int mask = nest->table_size - 1, i = (int)(h >> 40) & mask;
    while (nest->table[i].key && nest->table[i].key != e) i = (i + 1) & mask;
    return i;
}

int nest_expr(const Nest *nest, const Expr *e) {
    int i = table_slot(nest, e);
    EXPECT(nest->table[i].key == e);
    return nest->table[i].id;
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

static uint64_t var_bit(const Nest *nest, int var) {
    return nest->var[var].gone ? 0 : (uint64_t)1 << var;
}

// Grows the table for all nodes below e; information is filled once merging is done.
static void collect(Nest *nest, const Expr *e) {
    if (nest->table[table_slot(nest, e)].key) return;
    for (int i = 0; i < e->arity; i++) collect(nest, e->arg[i]);
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather) collect(nest, e->position[i].gather);
    int slot = table_slot(nest, e);
    nest->table[slot].key = e;
    nest->table[slot].id = nest->exprs;
    nest->expr[nest->exprs++].expr = e; // children come before parents
}

static int count_nodes(const Expr *e, int limit) {
    int n = 1;
    if (limit <= 0) return 1;
    for (int i = 0; i < e->arity; i++) n += count_nodes(e->arg[i], limit - n);
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather) n += count_nodes(e->position[i].gather, limit - n);
    return n;
}

static uint64_t random_uses(const Nest *nest, const Kernel *k) {
    uint64_t uses = 0;
    for (int s = 0; s < k->stage.count; s++)
        for (int i = 0; i < k->stage.at[s].free; i++) uses |= var_bit(nest, k->stage.at[s].var[i]);
    for (int v = 0; v < k->outer; v++) uses |= var_bit(nest, v);
    return uses;
}

static void fill_info(Nest *nest) {
    const Kernel *k = nest->kernel;
    for (int id = 0; id < nest->exprs; id++) {
        ExprInfo *info = &nest->expr[id];
        const Expr *e = info->expr;
        info->uses = 0;
        info->gathers = false;
        info->cost = (int)op_cost(e->op);
        for (int i = 0; i < e->arity; i++) info->uses |= nest->expr[nest_expr(nest, e->arg[i])].uses;
        if (e->op == OP_INDEX) info->uses |= var_bit(nest, e->var);
        if (e->op == OP_RANDOM) info->uses |= random_uses(nest, k);
        if (e->op != OP_READ) continue;
        for (int i = 0; i < e->rank; i++) {
            const Position *x = &e->position[i];
            if (x->gather) {
                info->uses |= nest->expr[nest_expr(nest, x->gather)].uses;
                info->gathers = true;
                info->cost += 4;
                continue;
            }
            for (int t = 0; t < x->terms; t++) info->uses |= var_bit(nest, x->term[t].var);
            if (x->divide > 1 || x->modulo > 0) info->cost += 3;
        }
        if (e->tensor < 0 || k->buffer.at[e->tensor].is_written) info->uses |= USES_LATE;
        if (e->tensor < 0) // a local varies with whatever its stage's outer lane is
            for (int v = 0; v < k->outer; v++) info->uses |= var_bit(nest, v);
    }
}

// ---- accesses
bool position_range(const Nest *nest, const Position *x, int64_t *low, int64_t *high) {
    const Kernel *k = nest->kernel;
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

bool position_checked(const Nest *nest, const Position *x, Extent dim) {
    int64_t low, high;
    if (x->gather) return true;
    if (dim.axis < 0 && position_range(nest, x, &low, &high)) return low < 0 || high >= dim.count;
    if (x->terms == 1 && x->term[0].coef == 1 && x->offset == 0 && x->divide <= 1 && x->modulo == 0 &&
        extent_same(nest->kernel->var[x->term[0].var].extent, dim))
        return false;
    return x->guarded;
}

bool position_uses(const Nest *nest, const Position *x, int var) {
    (void)nest;
    if (x->gather) return false;
    for (int t = 0; t < x->terms; t++)
        if (x->term[t].var == var) return true;
    return false;
}

static bool expr_uses_index(const Nest *nest, const Expr *e, int var) { // before merging: by walking
    if (e->op == OP_INDEX && e->var == var) return true;
    for (int i = 0; i < e->arity; i++)
        if (expr_uses_index(nest, e->arg[i], var)) return true;
    for (int i = 0; e->op == OP_READ && i < e->rank; i++) {
        const Position *x = &e->position[i];
        if (x->gather ? expr_uses_index(nest, x->gather, var) : position_uses(nest, x, var)) return true;
    }
    return false;
}

int access_stride(const Nest *nest, int tensor, int rank, const Position *position, int var, Mono *stride) {
    const Mono *dims = tensor >= 0 ? nest->stride[tensor] : nest->local_stride[~tensor];
    bool found = false;
    for (int d = 0; d < rank; d++) {
        const Position *x = &position[d];
        if (x->gather) {
            if (expr_uses_index(nest, x->gather, var)) return 2;
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

bool random_stride(const Nest *nest, const Stage *stage, int var, Mono *stride) {
    const Kernel *k = nest->kernel;
    int v;
    if (stage->dest >= 0) {
        bool plain = true;
        for (int d = 0; d < stage->rank; d++) plain = plain && position_is_var(&stage->target[d], &v);
        if (plain) {
            for (int d = 0; d < stage->rank; d++)
                if (position_is_var(&stage->target[d], &v) && v == var) {
                    *stride = logical_stride(k->buffer.at[stage->dest].dim, stage->rank, d);
                    return true;
                }
            return false;
        }
    }
    // A local, or a destination that is not addressed by plain variables: outer variables, then the stage's free ones.
    Extent dim[NEST_VARS];
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
    Nest *nest;
    int outer, inner; // candidates
} Merge;

static bool access_merges(const Merge *g, int tensor, int rank, const Position *position, const Extent *dim) {
    Mono so = {0}, si = {0}, both;
    int o = access_stride(g->nest, tensor, rank, position, g->outer, &so);
    int i = access_stride(g->nest, tensor, rank, position, g->inner, &si);
    if (!o && !i) return true;
    if (o != 1 || i != 1) return false;
    for (int d = 0; d < rank; d++)
        if ((position_uses(g->nest, &position[d], g->outer) || position_uses(g->nest, &position[d], g->inner)) &&
            (position_checked(g->nest, &position[d], dim[d]) || position[d].exact))
            return false;
    return mono_multiply(si, g->nest->var[g->inner].extent, &both) && mono_same(so, both);
}

static bool expr_merges(const Merge *g, const Stage *stage, const Expr *e) {
    const Kernel *k = g->nest->kernel;
    if (e->op == OP_INDEX) return e->var != g->outer && e->var != g->inner;
    if (e->op == OP_RANDOM) {
        Mono so, si, both;
        bool o = random_stride(g->nest, stage, g->outer, &so), i = random_stride(g->nest, stage, g->inner, &si);
        if (!o && !i) return true;
        return o && i && mono_multiply(si, g->nest->var[g->inner].extent, &both) && mono_same(so, both);
    }
    if (e->op != OP_READ) return true;
    const Extent *dim = e->tensor >= 0 ? k->buffer.at[e->tensor].dim : k->local.at[~e->tensor].dim;
    return access_merges(g, e->tensor, e->rank, e->position, dim);
}

int nest_group(const Kernel *k, const Stage *stage, int var) { // 0 absent, 1 outer, 2 free, 3 reduced
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
        if (!mono_multiply(m, mono_extent(g->nest->kernel->var[stage->var[i]].extent), &m)) return false;
    }
    return mono_multiply(si, g->nest->var[g->inner].extent, &both) && mono_same(so, both);
}

static bool stage_exprs_merge(const Merge *g, const Stage *stage, const Expr *e, uint64_t *seen) {
    int id = nest_expr(g->nest, e);
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
    Nest *nest = g->nest;
    const Kernel *k = nest->kernel;
    Mono both;
    if (g->outer == nest->chunked || g->inner == nest->chunked) return false;
    if (g->outer == nest->chunk || g->inner == nest->chunk) return false;
    if (!mono_multiply(nest->var[g->outer].extent, nest->var[g->inner].extent, &both)) return false;
    if (both.axes > 1 && g->outer < k->outer) return false; // the number of parts knows one axis
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        int group = nest_group(k, stage, g->outer);
        if (group != nest_group(k, stage, g->inner)) return false;
        if (!access_merges(g, stage->dest, stage->rank, stage->target,
                           stage->dest >= 0 ? k->buffer.at[stage->dest].dim : k->local.at[~stage->dest].dim))
            return false;
        if (group == 3 && (stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN) &&
            !number_merges(g, stage))
            return false;
        memset(seen, 0, sizeof *seen * (size_t)(nest->exprs / 64 + 1));
        if (!stage_exprs_merge(g, stage, stage->value, seen)) return false;
        for (int d = 0; d < stage->rank; d++)
            if (stage->target[d].gather && !stage_exprs_merge(g, stage, stage->target[d].gather, seen)) return false;
    }
    return true;
}

static void merge_all(Arena *arena, Nest *nest) {
    uint64_t *seen = NEW_ARRAY(arena, uint64_t, nest->exprs / 64 + 1);
    bool again = true;
    while (again) {
        again = false;
        for (int a = 0; a < nest->vars; a++)
            for (int b = 0; b < nest->vars && !nest->var[a].gone; b++) {
                Merge g = {nest, a, b};
                if (a == b || nest->var[b].gone || !may_merge(&g, seen)) continue;
                mono_multiply(nest->var[a].extent, nest->var[b].extent, &nest->var[b].extent);
                nest->var[b].bound *= nest->var[a].bound;
                nest->var[a].gone = true;
                again = true;
            }
    }
}

static const char *strides(Arena *arena, Nest *nest) {
    const Kernel *k = nest->kernel;
    nest->stride = arena_alloc(arena, sizeof *nest->stride * (size_t)(k->buffer.count + 1));
    nest->local_stride = arena_alloc(arena, sizeof *nest->local_stride * (size_t)(k->local.count + 1));
    for (int i = 0; i < k->buffer.count; i++) {
        const KernelBuffer *b = &k->buffer.at[i];
        Mono m = mono_of(1);
        for (int j = b->rank - 1; j >= 0; j--) {
            nest->stride[i][b->order[j]] = m;
            if (!mono_multiply(m, mono_extent(b->dim[b->order[j]]), &m))
                return arena_format(arena, "kernel %s: buffer %d has more than %d dynamic dimensions", nest->name, i,
                                    MONO_AXES);
        }
    }
    for (int i = 0; i < k->local.count; i++)
        for (int d = 0; d < k->local.at[i].rank; d++)
            nest->local_stride[i][d] = logical_stride(k->local.at[i].dim, k->local.at[i].rank, d);
    return NULL;
}

static void number_arguments(Arena *arena, Nest *nest) {
    const Kernel *k = nest->kernel;
    nest->arg_of = NEW_ARRAY(arena, int, k->buffer.count + 1);
    for (int i = 0; i < k->buffer.count; i++) nest->arg_of[i] = -1;
    for (int id = 0; id < nest->exprs; id++) {
        const Expr *e = nest->expr[id].expr;
        if (e->op == OP_READ && e->tensor >= 0) nest->arg_of[e->tensor] = 0;
        if (e->op != OP_RANDOM) continue;
        if (k->scalar_seed >= 0) nest->arg_of[k->scalar_seed] = 0;
        if (k->scalar_step >= 0) nest->arg_of[k->scalar_step] = 0;
    }
    for (int s = 0; s < k->stage.count; s++)
        if (k->stage.at[s].dest >= 0) nest->arg_of[k->stage.at[s].dest] = 0;
    int n = 0;
    for (int i = 0; i < k->buffer.count; i++)
        if (nest->arg_of[i] == 0) nest->arg_of[i] = n++;
    nest->args = n;
}

// Two iterations that differ in `var` never write the same element of an accumulated tensor.
bool nest_collision_free(const Kernel *k, int var) {
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        bool found = false;
        int v;
        if (!stage->accumulate) continue;
        if (var >= k->outer && nest_group(k, stage, var) == 0) continue;
        for (int d = 0; d < stage->rank; d++) found = found || (position_is_var(&stage->target[d], &v) && v == var);
        if (!found) return false;
    }
    return true;
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

static double access_key(const Nest *nest, int tensor, int rank, const Position *position, int var) {
    Mono m = {0};
    int kind = access_stride(nest, tensor, rank, position, var, &m);
    if (kind == 0) return 0;
    if (kind == 2) return 0.5;
    double v = (double)mono_bound(nest->program, m);
    return v < 0 ? -v : v;
}

// Stride in the destination when it occurs there, else in the read that is largest.
static double order_key(const Nest *nest, const Stage *stage, int var) {
    double key = stage->dest >= 0 ? access_key(nest, stage->dest, stage->rank, stage->target, var) : 0;
    if (key > 0) return key;
    double best = -1;
    for (int id = 0; id < nest->exprs; id++) {
        const Expr *e = nest->expr[id].expr;
        if (e->op != OP_READ || e->tensor < 0) continue;
        double k = access_key(nest, e->tensor, e->rank, e->position, var), size = 1;
        for (int d = 0; d < e->rank; d++)
            size *= (double)mono_bound(nest->program, mono_extent(nest->kernel->buffer.at[e->tensor].dim[d]));
        if (k > 0 && size > best) best = size, key = k;
    }
    return key;
}

int nest_sort(const Nest *nest, const Stage *stage, const int *from, int count, int skip, bool keep, int *to) {
    Sort sort[NEST_VARS];
    int n = 0;
    for (int i = 0; i < count; i++) {
        if (nest->var[from[i]].gone || from[i] == skip) continue;
        sort[n].var = from[i];
        sort[n].key = keep ? -i : order_key(nest, stage, from[i]);
        n++;
    }
    qsort(sort, (size_t)n, sizeof *sort, by_key);
    for (int i = 0; i < n; i++) to[i] = sort[i].var;
    return n;
}

// ---- products
bool product_factors(Arena *arena, Expr *e, double *scale, Factors *out) {
    if (e->type != T_REAL) return false;
    switch (e->op) {
    case OP_CONST: *scale *= e->number; return true;
    case OP_NEG: *scale = -*scale; return product_factors(arena, e->arg[0], scale, out);
    case OP_MUL: return product_factors(arena, e->arg[0], scale, out) && product_factors(arena, e->arg[1], scale, out);
    case OP_DIV:
        if (e->arg[1]->op == OP_CONST && e->arg[1]->number != 0) {
            *scale /= e->arg[1]->number;
            return product_factors(arena, e->arg[0], scale, out);
        }
        break;
    default: break;
    }
    vec_push(arena, out, e);
    return true;
}

const char *nest_init(Arena *arena, const Program *p, const Kernel *k, const char *name, Nest *nest) {
    nest->program = p;
    nest->kernel = k;
    nest->name = name;
    nest->vars = k->vars;
    if (k->stage.count > 64) return arena_format(arena, "kernel %s has more than 64 stages", name);
    const char *error = strides(arena, nest);
    if (error) return error;
    int nodes = 0;
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        nodes += count_nodes(stage->value, 1 << 20);
        nest->scatters = nest->scatters || stage->accumulate;
        for (int d = 0; d < stage->rank; d++)
            if (stage->target[d].gather) {
                nodes += count_nodes(stage->target[d].gather, 1 << 20);
                nest->gathers = true;
            }
    }
    nest->table_size = 16;
    while (nest->table_size < 2 * nodes) nest->table_size *= 2;
    nest->table = arena_alloc(arena, sizeof *nest->table * (size_t)nest->table_size);
    nest->expr = NEW_ARRAY(arena, ExprInfo, nodes);
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        collect(nest, stage->value);
        for (int d = 0; d < stage->rank; d++)
            if (stage->target[d].gather) collect(nest, stage->target[d].gather);
    }
    for (int v = 0; v < k->vars; v++) {
        nest->var[v].extent = mono_extent(k->var[v].extent);
        nest->var[v].bound = mono_bound(p, nest->var[v].extent);
        nest->var[v].gone = extent_is_one(k->var[v].extent);
    }
    number_arguments(arena, nest);
    if (!nest->unmerged) merge_all(arena, nest);
    fill_info(nest);
    for (int id = 0; id < nest->exprs; id++) nest->gathers = nest->gathers || nest->expr[id].gathers;
    return NULL;
}
