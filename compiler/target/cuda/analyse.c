// From KERNEL_CONTRACTION to operands and groups of variables. requires a verified kernel; leaves a Contraction in
// which the contiguous dimension of the result is on the N side and each group's innermost variable is the one that its
// operand walks with stride 1.
#include "target/cuda/contraction.h"

#include "forms/derive.h"

#include <stdlib.h>
#include <string.h>

typedef struct Analysis {
    Contraction *c;
    Arena *arena;
    Factors factor;
    const char *why;
} Analysis;

static bool refuse(Analysis *g, const char *why) {
    if (!g->why) g->why = why;
    return false;
}

static bool check_stages(Analysis *g) {
    const Kernel *k = g->c->kernel;
    const Stage *sum = &k->stage.at[0];
    if (sum->reduce != REDUCE_SUM || sum->free || sum->accumulate || sum->dest >= 0 || sum->rank)
        return refuse(g, "the first stage is no sum into a local");
    g->c->out = -1;
    int64_t best = 0;
    for (int s = 1; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        if (stage->vars || stage->accumulate) return refuse(g, "a later stage has variables of its own or adds");
        if (stage->dest < 0 && stage->rank) return refuse(g, "a later stage writes a local with dimensions");
        for (int d = 0; d < stage->rank; d++)
            if (stage->target[d].gather) return refuse(g, "a result is stored at gathered positions");
        if (stage->dest < 0) continue;
        Mono m = mono_of(1);
        for (int d = 0; d < stage->rank; d++)
            if (!mono_multiply(m, mono_extent(k->buffer.at[stage->dest].dim[d]), &m)) break;
        int64_t size = mono_bound(g->c->unit->program, m);
        if (g->c->out < 0 || size > best) best = size, g->c->out = s;
    }
    return g->c->out >= 0 ? true : refuse(g, "nothing is stored");
}

// ---- factors
static bool factors(Analysis *g) {
    if (product_factors(g->arena, g->c->kernel->stage.at[0].value, &g->c->scale, &g->factor)) return true;
    return refuse(g, "a factor is not real");
}

static bool has_random(const Expr *e) {
    if (e->op == OP_RANDOM) return true;
    for (int i = 0; i < e->arity; i++)
        if (has_random(e->arg[i])) return true;
    return false;
}

static void variables(const Expr *e, uint64_t *used) {
    if (e->op == OP_INDEX) *used |= (uint64_t)1 << e->var;
    for (int i = 0; i < e->arity; i++) variables(e->arg[i], used);
    for (int d = 0; e->op == OP_READ && d < e->rank; d++) {
        const Position *x = &e->position[d];
        if (x->gather) variables(x->gather, used);
        for (int t = 0; !x->gather && t < x->terms; t++) *used |= (uint64_t)1 << x->term[t].var;
    }
}

// A factor of K or of batch variables alone goes where no operand is yet, else to the side that is a product already.
static bool split_factors(Analysis *g) {
    Contraction *c = g->c;
    Operand *side = c->operand;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < g->factor.count; i++) {
            uint64_t used = 0;
            bool m = false, n = false;
            variables(g->factor.at[i], &used);
            for (int v = 0; v < c->kernel->vars; v++) {
                if (!(used >> v & 1) || extent_is_one(c->kernel->var[v].extent)) continue;
                m = m || c->kernel->role[v] == ROLE_M;
                n = n || c->kernel->role[v] == ROLE_N;
            }
            if (m && n) return refuse(g, "a factor varies with M and with N indices");
            if ((m || n) != (pass == 0)) continue;
            int to = n ? 1 : m ? 0 : !side[0].factors ? 0 : !side[1].factors ? 1 : side[1].factors > side[0].factors;
            if (side[to].factors == OPERAND_FACTORS) return refuse(g, "an operand has too many factors");
            side[to].factor[side[to].factors++] = g->factor.at[i];
        }
    return side[0].factors && side[1].factors ? true : refuse(g, "there is only one operand");
}

// ---- operands
static bool add_mono(Mono *to, Mono m) { // when the axes are the same
    Mono have = *to;
    have.k = m.k;
    if (to->k && !mono_same(have, m)) return false;
    m.k += to->k;
    *to = m;
    return true;
}

static bool add_base(Access *at, Mono m) {
    if (m.k == 0) return true;
    for (int i = 0; i < at->bases; i++)
        if (add_mono(&at->base[i], m)) return true;
    if (at->bases == ACCESS_BASES) return false;
    at->base[at->bases++] = m;
    return true;
}

const char *contraction_access(const Contraction *c, int tensor, int rank, const Position *position, Access *out) {
    const KernelBuffer *b = &c->kernel->buffer.at[tensor];
    *out = (Access){.unit = -1};
    for (int d = 0; d < rank; d++) {
        const Position *x = &position[d];
        Mono stride = c->nest.stride[tensor][d];
        if (x->gather) return "a position is gathered";
        if (x->modulo > 0 || (x->divide > 1 && !x->exact)) return "a position is divided";
        bool exact = x->divide > 1;
        if (exact || position_checked(&c->nest, x, b->dim[d])) {
            if (out->guards == CONTRACT_GUARDS) return "there are too many windows";
            AccessGuard *g = &out->guard[out->guards++];
            *g = (AccessGuard){.offset = x->offset, .step = exact ? x->divide : 1, .size = b->dim[d]};
            for (int t = 0; t < x->terms; t++)
                if (!c->nest.var[x->term[t].var].gone) g->term[g->terms++] = x->term[t];
            if (exact) g->stride = stride;
            out->exact = out->exact || exact;
        }
        if (exact) continue;
        Mono m = stride;
        m.k *= x->offset;
        if (!add_base(out, m)) return "a first element depends on too many extents";
        for (int t = 0; t < x->terms; t++) {
            m = stride;
            m.k *= x->term[t].coef;
            if (!c->nest.var[x->term[t].var].gone && !add_mono(&out->stride[x->term[t].var], m))
                return "a variable has strides of different axes";
        }
    }
    for (int v = 0; v < c->kernel->vars; v++)
        if (out->stride[v].axes == 0 && out->stride[v].k == 1) out->unit = v;
    return NULL;
}

static const char *read_operand(const Contraction *c, Operand *o) {
    const Expr *e = o->factor[0];
    if (o->factors > 1) return "an operand is a product";
    if (e->op != OP_READ || e->tensor < 0) return "an operand is computed from what is read";
    o->arg = e->tensor;
    o->type = c->kernel->buffer.at[e->tensor].type;
    if (o->type != T_REAL && o->type != T_BF16) return "an operand is converted";
    return contraction_access(c, e->tensor, e->rank, e->position, &o->at);
}

static bool reads_results(const Kernel *k, const Expr *e) {
    if (e->op == OP_READ && (e->tensor < 0 || k->buffer.at[e->tensor].is_written)) return true;
    for (int i = 0; i < e->arity; i++)
        if (reads_results(k, e->arg[i])) return true;
    for (int d = 0; e->op == OP_READ && d < e->rank; d++)
        if (e->position[d].gather && reads_results(k, e->position[d].gather)) return true;
    return false;
}

static bool make_operand(Analysis *g, Operand *o) {
    const Contraction *c = g->c;
    uint64_t used = 0;
    o->at.unit = -1;
    for (int i = 0; i < o->factors; i++) {
        variables(o->factor[i], &used);
        if (has_random(o->factor[i])) return refuse(g, "an operand is random");
        if (reads_results(c->kernel, o->factor[i])) return refuse(g, "an operand is written by the same kernel");
    }
    for (int v = 0; v < c->kernel->vars; v++)
        if (!c->nest.var[v].gone && (used >> v & 1)) o->uses |= (uint64_t)1 << v;
    o->why = read_operand(c, o);
    return true;
}

// ---- groups
typedef struct Key {
    int var;
    double key;
} Key;

static int by_key(const void *a, const void *b) {
    const Key *x = a, *y = b;
    if (x->key != y->key) return x->key > y->key ? -1 : 1;
    return x->var - y->var;
}

static double size_of(const Contraction *c, Mono m) {
    int64_t v = mono_bound(c->nest.program, m);
    return v < 0 ? -(double)v : (double)v;
}

// Outermost first by stride; the variable that the operand walks with stride 1 goes innermost.
static void order_group(Contraction *c, Group group) {
    Key key[NEST_VARS];
    const Operand *a = &c->operand[0], *b = &c->operand[1];
    if (size_of(c, c->extent[GROUP_N]) > size_of(c, c->extent[GROUP_M])) a = &c->operand[1], b = &c->operand[0];
    const Operand *own = group == GROUP_M ? &c->operand[0] : group == GROUP_N ? &c->operand[1] : NULL;
    int unit = own ? own->at.unit : a->at.unit;
    if (!own && (unit < 0 || c->group[unit] != GROUP_K)) unit = b->at.unit;
    int n = c->vars[group];
    for (int i = 0; i < n; i++) {
        int v = c->var[group][i];
        if (c->nest.var[v].extent.axes) { // only the outermost index of a group may be dynamic
            key[i] = (Key){v, 1e30};
            continue;
        }
        double k = group == GROUP_K ? size_of(c, a->at.stride[v]) : size_of(c, c->out_at.stride[v]);
        if (group == GROUP_K && k == 0) k = size_of(c, b->at.stride[v]);
        key[i] = (Key){v, v == unit ? -1 : k};
    }
    qsort(key, (size_t)n, sizeof *key, by_key);
    for (int i = 0; i < n; i++) c->var[group][i] = key[i].var;
}

static bool make_groups(Analysis *g) {
    static const Group group_of[] = {
        [ROLE_BATCH] = GROUP_B, [ROLE_M] = GROUP_M, [ROLE_N] = GROUP_N, [ROLE_K] = GROUP_K};
    Contraction *c = g->c;
    const Kernel *k = c->kernel;
    const Stage *sum = &k->stage.at[0], *out = &k->stage.at[c->out];
    for (int i = 0; i < GROUPS; i++) c->extent[i] = mono_of(1);
    for (int i = 0; i < k->outer + sum->vars; i++) {
        int v = i < k->outer ? i : sum->var[i - k->outer];
        if (c->nest.var[v].gone) continue;
        Role role = i < k->outer ? k->role[v] : ROLE_K;
        if (role == ROLE_NONE) return refuse(g, "an index has no role");
        Group group = c->group[v] = group_of[role];
        c->var[group][c->vars[group]++] = v;
        if (!mono_multiply(c->extent[group], c->nest.var[v].extent, &c->extent[group]))
            return refuse(g, "the product of the extents has too many dynamic axes");
    }
    c->out_why = contraction_access(c, out->dest, out->rank, out->target, &c->out_at);
    bool swap = c->out_at.unit >= 0 && c->group[c->out_at.unit] == GROUP_M;
    if (swap) {
        Operand o = c->operand[0];
        c->operand[0] = c->operand[1];
        c->operand[1] = o;
        c->gradient_of = 1 - c->gradient_of;
        int n = c->vars[GROUP_M], var[NEST_VARS];
        memcpy(var, c->var[GROUP_M], sizeof var);
        memcpy(c->var[GROUP_M], c->var[GROUP_N], sizeof var);
        memcpy(c->var[GROUP_N], var, sizeof var);
        c->vars[GROUP_M] = c->vars[GROUP_N];
        c->vars[GROUP_N] = n;
        Mono m = c->extent[GROUP_M];
        c->extent[GROUP_M] = c->extent[GROUP_N];
        c->extent[GROUP_N] = m;
        for (int i = GROUP_M; i <= GROUP_N; i++)
            for (int j = 0; j < c->vars[i]; j++) c->group[c->var[i][j]] = (Group)i;
    }
    for (int i = 0; i < GROUPS; i++) {
        c->bound[i] = mono_bound(c->nest.program, c->extent[i]);
        order_group(c, (Group)i);
    }
    return true;
}

int64_t contraction_flops(const Contraction *c) {
    return 2 * c->bound[GROUP_B] * c->bound[GROUP_M] * c->bound[GROUP_N] * c->bound[GROUP_K];
}

// The sum of an operand is no stage over the results: only a library does it beside the product.
static const Kernel *take_gradient(Contraction *c, const Kernel *k) {
    int at = kernel_bias_gradient(k);
    c->gradient = -1;
    if (at < 0) return k;
    Kernel *rest = arena_copy(c->unit->arena, k, sizeof *k);
    c->gradient = k->stage.at[at].dest;
    c->gradient_of = k->role[k->stage.at[at].var[0]] == ROLE_N;
    memset(&rest->stage, 0, sizeof rest->stage);
    for (int s = 0; s < k->stage.count; s++)
        if (s != at) vec_push(c->unit->arena, &rest->stage, k->stage.at[s]);
    return rest;
}

Contraction *contraction_analyse(CudaUnit *unit, const Kernel *k, const char **why) {
    Contraction *c = NEW(unit->arena, Contraction);
    Analysis g = {.c = c, .arena = unit->arena};
    c->unit = unit;
    c->original = k->buffer.count;
    c->kernel = derive_outer(unit->arena, take_gradient(c, k));
    c->scale = 1;
    static const StmCompute compute_of[PRECISIONS] = {
        [PRECISION_F32] = STM_COMPUTE_F32, [PRECISION_TF32] = STM_COMPUTE_TF32, [PRECISION_BF16] = STM_COMPUTE_BF16};
    c->compute = unit->program->real64             ? STM_COMPUTE_F64
                 : k->precision == PRECISION_MODEL ? unit->compute
                                                   : compute_of[k->precision];
    c->nest.chunked = c->nest.chunk = -1;
    *why = NULL;
    if (check_stages(&g) && factors(&g) && split_factors(&g)) {
        const char *error = nest_init(unit->arena, unit->program, c->kernel, k->name, &c->nest);
        if (error) refuse(&g, error);
        else if (make_operand(&g, &c->operand[0]) && make_operand(&g, &c->operand[1])) make_groups(&g);
    }
    *why = g.why;
    return g.why ? NULL : c;
}
