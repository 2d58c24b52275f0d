// From KERNEL_CONTRACTION to contract.h and back: operands with the coordinates that packing and guarding work on,
// callbacks that run prologues and epilogues, one number of parts for all instruction sets. requires a kernel whose
// results are outer variables (derive_outer); leaves functions with StmKernel's signature.
#include "target/cpu/contraction.h"

#include <string.h>

typedef struct Making {
    Arena *arena;
    const Program *p;
    Kernel *k;
    Contraction *c;
    const char *why;
    bool m_side[LOOP_VARS], n_side[LOOP_VARS];
    Factors factor;
    ContractSpec spec;
} Making;

static bool refuse(Making *g, const char *why) {
    if (!g->why) g->why = why;
    return false;
}

// ---- factors
static bool factors(Making *g, Expr *product) {
    if (product_factors(g->arena, product, &g->c->scale, &g->factor)) return true;
    return refuse(g, "a factor is not real");
}

static void uses(const Expr *e, bool *used, int depth) {
    if (e->op == OP_INDEX) used[e->var] = true;
    if (depth > 60) return;
    for (int i = 0; i < e->arity; i++) uses(e->arg[i], used, depth + 1);
    for (int d = 0; e->op == OP_READ && d < e->rank; d++) {
        const Position *x = &e->position[d];
        if (x->gather) uses(x->gather, used, depth + 1);
        for (int t = 0; !x->gather && t < x->terms; t++) used[x->term[t].var] = true;
    }
}

static bool has_op(const Expr *e, ScalarOp op) {
    if (e->op == op) return true;
    for (int i = 0; i < e->arity; i++)
        if (has_op(e->arg[i], op)) return true;
    return false;
}

static bool split_factors(Making *g, Expr *side[2]) {
    for (int i = 0; i < g->factor.count; i++) {
        bool used[LOOP_VARS] = {false}, m = false, n = false;
        Expr *f = g->factor.at[i];
        uses(f, used, 0);
        for (int v = 0; v < g->k->vars; v++) m = m || (used[v] && g->m_side[v]), n = n || (used[v] && g->n_side[v]);
        if (m && n) return refuse(g, "a factor varies with M and with N indices");
        int to = n ? 1 : m ? 0 : side[0] && !side[1] ? 1 : 0;
        if (!side[to]) {
            side[to] = f;
            continue;
        }
        Expr *product = NEW(g->arena, Expr);
        *product = (Expr){.op = OP_MUL, .type = T_REAL, .arity = 2, .arg = {side[to], f}};
        side[to] = product;
    }
    return side[0] && side[1] ? true : refuse(g, "there is only one operand");
}

// ---- coordinates
static bool plain_position(const Position *x) {
    return !x->gather && x->terms == 1 && x->term[0].coef == 1 && !x->offset && x->divide <= 1 && !x->modulo;
}

static bool same_window(const Position *a, const Position *b) {
    if (a->gather || b->gather || a->terms != b->terms || a->offset != b->offset || a->divide != b->divide ||
        a->modulo || b->modulo)
        return false;
    for (int t = 0; t < a->terms; t++)
        if (a->term[t].var != b->term[t].var || a->term[t].coef != b->term[t].coef) return false;
    return true;
}

static const Expr *main_read(const Expr *e, const Expr *best, int depth) { // the read with most dimensions
    if (e->op == OP_READ && e->tensor >= 0 && (!best || e->rank > best->rank)) best = e;
    for (int i = 0; i < e->arity && depth < 60; i++) best = main_read(e->arg[i], best, depth + 1);
    return best;
}

static bool size_of(Mono m, ContractSize *size) {
    *size = (ContractSize){.constant = m.k, .factors = m.axes};
    if (m.axes > CONTRACT_MAX_FACTORS) return false;
    for (int i = 0; i < m.axes; i++) size->slot[i] = m.axis[i];
    return true;
}

typedef struct Windows {
    const Expr *main;
    int var[MAX_RANK]; // fresh variable of each window of the main read, or -1
    bool failed;
} Windows;

// A copy of e in which the windows of the main read are variables of their own.
static Expr *with_windows(Making *g, Windows *w, const Expr *e) {
    Expr *copy = NEW(g->arena, Expr);
    *copy = *e;
    for (int i = 0; i < e->arity; i++) copy->arg[i] = with_windows(g, w, e->arg[i]);
    if (e->op != OP_READ) return copy;
    copy->position = NEW_ARRAY(g->arena, Position, e->rank + 1);
    for (int d = 0; d < e->rank; d++) {
        const Position *x = &e->position[d];
        copy->position[d] = *x;
        if (x->gather) {
            copy->position[d].gather = with_windows(g, w, x->gather);
            continue;
        }
        if (x->terms == 0 || plain_position(x)) continue;
        int fresh = -1;
        for (int i = 0; i < w->main->rank; i++)
            if (w->var[i] >= 0 && same_window(&w->main->position[i], x)) fresh = w->var[i];
        if (fresh < 0) w->failed = true;
        copy->position[d] = position_var(fresh < 0 ? 0 : fresh);
        copy->position[d].guarded = false;
    }
    return copy;
}

static bool add_dim(Making *g, ContractOperand *x, ContractionOperand *o, int var) {
    if (x->dims == CONTRACT_MAX_DIMS) return refuse(g, "an operand has too many dimensions");
    o->var[x->dims] = var;
    x->dim[x->dims++] = (ContractDim){.divisor = 1, .stride = contract_constant(1), .size = contract_constant(1)};
    return true;
}

static bool unary_chain(const Expr *e, const Expr *main) { // a function with f(0) = 0 of the main read alone
    while (e != main) {
        if (e->op != OP_CAST && e->op != OP_STOP && e->op != OP_NEG) return false;
        e = e->arg[0];
    }
    return true;
}

// Dimensions are the positions of the main read.
static bool window_operand(Making *g, const Nest *strides, const Expr *value, ContractOperand *x,
                           ContractionOperand *o) {
    const Expr *main = main_read(value, NULL, 0);
    if (!main) return false;
    const KernelBuffer *buffer = &g->k->buffer.at[main->tensor];
    Windows w = {.main = main};
    bool guarded = false, covered[LOOP_VARS] = {false}, used[LOOP_VARS] = {false}, windowed[LOOP_VARS] = {false};
    int vars = g->k->vars;
    for (int d = 0; d < main->rank; d++) {
        const Position *q = &main->position[d];
        w.var[d] = -1;
        if (q->gather || q->modulo > 0 || (q->divide > 1 && !q->exact)) return false;
        if (q->terms == 0) {
            if (position_checked(strides, q, buffer->dim[d])) return false;
            continue;
        }
        bool checked = position_checked(strides, q, buffer->dim[d]) || q->exact;
        guarded = guarded || checked;
        int var = q->term[0].var;
        if (plain_position(q)) {
            covered[var] = true;
        } else {
            if (g->k->vars == 2 * MAX_VARS) return false;
            for (int t = 0; t < q->terms; t++) windowed[q->term[t].var] = true;
            var = w.var[d] = g->k->vars++;
            g->k->var[var] = (Variable){"window", buffer->dim[d]};
        }
        if (!add_dim(g, x, o, var)) return false;
        ContractDim *dim = &x->dim[x->dims - 1];
        if (q->terms > CONTRACT_MAX_TERMS) return false;
        for (int t = 0; t < q->terms; t++) dim->term[dim->terms++] = (ContractTerm){q->term[t].var, q->term[t].coef};
        dim->offset = q->offset;
        dim->divisor = q->divide;
        dim->guarded = checked;
        if (!size_of(mono_extent(buffer->dim[d]), &dim->size) ||
            !size_of(strides->stride[main->tensor][d], &dim->stride))
            return false;
    }
    if (guarded && !unary_chain(value, main)) return false;
    Expr *copy = with_windows(g, &w, value);
    if (w.failed) return false;
    uses(copy, used, 0);
    for (int v = 0; v < vars; v++)
        if (used[v] && !covered[v]) {
            if (windowed[v]) return false;
            if (!add_dim(g, x, o, v)) return false;
            ContractDim *dim = &x->dim[x->dims - 1];
            dim->term[dim->terms++] = (ContractTerm){v, 1};
        }
    o->value = copy;
    if (value != main || buffer->type != T_REAL) return true;
    Mono base = mono_of(0);
    for (int d = 0; d < main->rank; d++) {
        Mono m = strides->stride[main->tensor][d];
        if (main->position[d].terms || !main->position[d].offset) continue;
        m.k *= main->position[d].offset;
        if (base.k && (base.axes || m.axes)) return true; // with a callback
        m.k += base.k;
        base = m;
    }
    if (!size_of(base, &x->base)) return true;
    x->load = NULL;
    x->user = NULL;
    x->buffer = main->tensor;
    return true;
}

static LLVMValueRef load_operand(void *user, EmitPoint *at, const LLVMValueRef *coordinate, int lane_dim, int lanes);
static void store_results(void *user, EmitPoint *at, LLVMValueRef sums, const LLVMValueRef *index, int lane_index,
                          int lanes, LLVMValueRef mask);

static bool make_operand(Making *g, const Nest *strides, const Expr *value, ContractOperand *x, ContractionOperand *o) {
    int vars = g->k->vars;
    *x = (ContractOperand){.load = load_operand, .user = o};
    if (window_operand(g, strides, value, x, o)) return true;
    if (g->why) return false;
    g->k->vars = vars;
    *x = (ContractOperand){.load = load_operand, .user = o};
    bool used[LOOP_VARS] = {false};
    uses(value, used, 0);
    o->value = value;
    Mono m;
    const Expr *main = main_read(value, NULL, 0);
    for (int v = 0; v < vars; v++) {
        if (!used[v] || extent_is_one(g->k->var[v].extent)) continue;
        if (!add_dim(g, x, o, v)) return false;
        ContractDim *dim = &x->dim[x->dims - 1];
        dim->term[dim->terms++] = (ContractTerm){v, 1};
        if (!size_of(mono_extent(g->k->var[v].extent), &dim->size)) return refuse(g, "an extent is too complex");
        if (main && access_stride(strides, main->tensor, main->rank, main->position, v, &m) == 1)
            size_of(m, &dim->stride);
    }
    return true;
}

// Terms name kernel variables while operands are made; afterwards spec indices. Variables of extent 1 vanish.
static void number_terms(ContractOperand *x, const int *index_of) {
    for (int d = 0; d < x->dims; d++) {
        ContractDim *dim = &x->dim[d];
        int n = 0;
        for (int t = 0; t < dim->terms; t++) {
            if (index_of[dim->term[t].index] < 0) continue;
            dim->term[n++] = (ContractTerm){index_of[dim->term[t].index], dim->term[t].coefficient};
        }
        dim->terms = n;
    }
}

// ---- planning
static bool check_shape(Making *g) {
    const Kernel *k = g->k;
    const Stage *sum = &k->stage.at[0];
    if (sum->reduce != REDUCE_SUM || sum->free || sum->accumulate) return refuse(g, "the first stage is no plain sum");
    if (sum->dest < 0 && sum->rank) return refuse(g, "the sums go to a local with dimensions");
    for (int s = 1; s < k->stage.count; s++) {
        if (k->stage.at[s].vars || k->stage.at[s].accumulate) return refuse(g, "a later stage has variables");
        if (k->stage.at[s].dest < 0 && k->stage.at[s].rank)
            return refuse(g, "a later stage writes a local with dimensions");
    }
    return true;
}

static bool add_indices(Making *g, int *index_of) {
    static const ContractRole role_of[] = {
        [ROLE_BATCH] = CONTRACT_BATCH, [ROLE_M] = CONTRACT_M, [ROLE_N] = CONTRACT_N, [ROLE_K] = CONTRACT_K};
    const Kernel *k = g->k;
    const Stage *sum = &k->stage.at[0];
    for (int v = 0; v < LOOP_VARS; v++) index_of[v] = -1;
    for (int i = 0; i < k->outer + sum->vars; i++) {
        int v = i < k->outer ? i : sum->var[i - k->outer];
        Role role = i < k->outer ? k->role[v] : ROLE_K;
        Extent e = k->var[v].extent;
        if (extent_is_one(e)) continue;
        if (role == ROLE_NONE) return refuse(g, "an index has no role");
        if (g->spec.indices == CONTRACT_MAX_INDICES) return refuse(g, "there are too many indices");
        index_of[v] = g->spec.indices;
        g->c->index_var[g->spec.indices] = v;
        ContractIndex *index = &g->spec.index[g->spec.indices++];
        *index = (ContractIndex){
            .role = role_of[role], .extent = e.axis < 0 ? e.count : -1, .slot = e.axis, .factor = e.count};
        if (e.axis >= 0) index->typical = mono_bound(g->p, mono_extent(e));
        g->m_side[v] = role == ROLE_M;
        g->n_side[v] = role == ROLE_N;
    }
    return true;
}

static void output_strides(Making *g, const Nest *strides) {
    const Stage *out = NULL;
    for (int s = 0; s < g->k->stage.count; s++)
        if (g->k->stage.at[s].dest >= 0) out = &g->k->stage.at[s];
    for (int i = 0; i < g->spec.indices; i++) {
        Mono m;
        g->spec.out_stride[i] = contract_constant(1 << 20);
        if (out && access_stride(strides, out->dest, out->rank, out->target, g->c->index_var[i], &m) == 1)
            size_of(m, &g->spec.out_stride[i]);
    }
}

Contraction *contraction_plan(Arena *arena, const Program *p, const Kernel *k, const CpuOptions *options,
                              const char **why) {
    Making g = {.arena = arena, .p = p, .c = NEW(arena, Contraction)};
    Nest *strides = NEW(arena, Nest);
    Expr *side[2] = {NULL, NULL};
    int index_of[LOOP_VARS];
    g.k = arena_copy(arena, k, sizeof *k);
    g.k->stage.at = arena_copy(arena, k->stage.at, sizeof(Stage) * (size_t)k->stage.count);
    g.c->kernel = g.k;
    g.c->scale = 1;
    strides->chunked = strides->chunk = -1;
    strides->unmerged = true;
    *why = NULL;
    if (!check_shape(&g) || !factors(&g, g.k->stage.at[0].value)) goto refused;
    if (has_op(g.k->stage.at[0].value, OP_RANDOM) && !refuse(&g, "random numbers in an operand")) goto refused;
    if ((*why = nest_init(arena, p, g.k, k->name, strides))) return NULL;
    if (!add_indices(&g, index_of) || !split_factors(&g, side)) goto refused;
    for (int i = 0; i < 2; i++)
        if (!make_operand(&g, strides, side[i], i ? &g.spec.q : &g.spec.p, &g.c->operand[i])) goto refused;
    number_terms(&g.spec.p, index_of);
    number_terms(&g.spec.q, index_of);
    output_strides(&g, strides);
    // The expressions that are emitted: the operands as rewritten, and the epilogue.
    Expr *product = NEW(arena, Expr);
    *product = (Expr){.op = OP_MUL,
                      .type = T_REAL,
                      .arity = 2,
                      .arg = {(Expr *)g.c->operand[0].value, (Expr *)g.c->operand[1].value}};
    g.k->stage.at[0].value = product;
    LoopPlan *loops = &g.c->loops;
    loops->nest.chunked = loops->nest.chunk = -1;
    loops->nest.unmerged = true;
    if ((*why = plan_loops(arena, p, g.k, k->name, options, loops))) return NULL;
    int args = 0;
    for (int i = 0; i < g.k->buffer.count; i++) args += loops->nest.arg_of[i] >= 0;
    g.spec.name = k->name;
    g.spec.type = p->real64 ? CONTRACT_F64 : CONTRACT_F32;
    for (int w = 0; w < CONTRACT_WORKSPACES; w++) g.spec.workspace_buffer[w] = args + w;
    g.spec.store = store_results;
    if (!g.spec.p.load) g.spec.p.buffer = loops->nest.arg_of[g.spec.p.buffer];
    if (!g.spec.q.load) g.spec.q.buffer = loops->nest.arg_of[g.spec.q.buffer];
    CpuFeatures features[CPU_LEVELS];
    char error[CONTRACT_ERROR_LENGTH] = "";
    for (int level = 0; level < CPU_LEVELS; level++) features[level] = contract_cpu_level(level + 2);
    if (!contract_plan(&g.spec, features, CPU_LEVELS, g.c->plan, error)) {
        refuse(&g, arena_format(arena, "%s", error));
        goto refused;
    }
    return g.c;
refused:
    *why = g.why;
    return NULL;
}

// ---- callbacks
typedef struct Emitting { // one per module and operand
    CpuModule *m;
    Arena *arena;
    const Contraction *c;
    const ContractionOperand *operand;
} Emitting;

static Emit emit_here(Emitting *g, CpuModule *m, EmitPoint *at) {
    const Contraction *c = g->c;
    const Kernel *k = c->kernel;
    *m = *g->m;
    m->builder = at->builder;
    Emit e = {.m = m, .plan = &c->loops, .lane = -1, .lanes = 1, .buffers = at->buffers, .extents = at->extents};
    e.base = NEW_ARRAY(g->arena, LLVMValueRef, k->buffer.count + 1);
    e.axis = NEW_ARRAY(g->arena, LLVMValueRef, g->c->loops.nest.program->axis.count + 8);
    e.local = NEW_ARRAY(g->arena, LLVMValueRef, k->local.count + 1);
    e.value = NEW_ARRAY(g->arena, LLVMValueRef, c->loops.nest.exprs + 1);
    e.undo = NEW_ARRAY(g->arena, int, c->loops.nest.exprs + 1);
    for (int v = 0; v < k->vars; v++)
        if (extent_is_one(k->var[v].extent)) e.var[v] = const_i64(m, 0);
    return e;
}

static LLVMValueRef load_operand(void *user, EmitPoint *at, const LLVMValueRef *coordinate, int lane_dim, int lanes) {
    Emitting *g = user;
    CpuModule m;
    Emit e = emit_here(g, &m, at);
    const ContractPlan *plan = &g->c->plan[m.level];
    const ContractOperand *x = plan->spec.p.user == g->operand ? &plan->spec.p : &plan->spec.q;
    for (int d = 0; d < x->dims; d++) e.var[g->operand->var[d]] = coordinate[d];
    if (lanes > 1) {
        e.lane = g->operand->var[lane_dim];
        e.lanes = lanes;
    }
    e.stage = &g->c->kernel->stage.at[0];
    return splat(&m, emit_value(&e, g->operand->value), lanes);
}

static LLVMValueRef scalar_argument(Emit *e, int buffer) {
    if (buffer < 0 || e->plan->nest.arg_of[buffer] < 0) return const_i32(e->m, 0);
    return LLVMBuildLoad2(e->m->builder, e->m->i32, emit_base(e, buffer), "");
}

static void store_results(void *user, EmitPoint *at, LLVMValueRef sums, const LLVMValueRef *index, int lane_index,
                          int lanes, LLVMValueRef mask) {
    Emitting *g = user;
    CpuModule m;
    Emit e = emit_here(g, &m, at);
    const Kernel *k = g->c->kernel;
    const ContractPlan *plan = &g->c->plan[m.level];
    for (int i = 0; i < plan->spec.indices; i++) // the planner may add an index of extent 1 at the end
        if (index[i] && plan->spec.index[i].extent != 1) e.var[g->c->index_var[i]] = index[i];
    if (lane_index < 0 || plan->virtual_lane) {
        sums = extract(&m, sums, 0);
    } else if (lanes > 1) {
        e.lane = g->c->index_var[lane_index];
        e.lanes = lanes;
        e.mask = mask;
    }
    e.seed = scalar_argument(&e, k->scalar_seed);
    e.step = scalar_argument(&e, k->scalar_step);
    if (g->c->scale != 1) sums = LLVMBuildFMul(m.builder, sums, const_real(LLVMTypeOf(sums), g->c->scale), "");
    for (int s = 0; s < k->stage.count; s++) {
        e.stage = &k->stage.at[s];
        emit_write(&e, e.stage, s == 0 ? sums : emit_value(&e, e.stage->value));
    }
}

// ---- emission
const char *contraction_emit(CpuModule *m, Arena *arena, const Contraction *c, const char *const *name) {
    ContractPlan *plan = arena_copy(arena, &c->plan[m->level], sizeof *plan);
    Emitting context[3];
    for (int i = 0; i < 3; i++) context[i] = (Emitting){m, arena, c, i < 2 ? &c->operand[i] : NULL};
    ContractOperand *operand[2] = {&plan->spec.p, &plan->spec.q};
    for (int i = 0; i < 2; i++)
        for (int o = 0; o < 2; o++)
            if (operand[i]->load && operand[i]->user == &c->operand[o]) {
                operand[i]->user = &context[o];
                break;
            }
    plan->spec.store_user = &context[2];
    plan->scratch_p += CPU_SCRATCH_HEADER; // the header belongs to no kernel
    plan->scratch_q += CPU_SCRATCH_HEADER;
    plan->scratch_sums += CPU_SCRATCH_HEADER;
    plan->spec.name = arena_format(arena, "%s.%s", c->loops.nest.name, cpu_level_suffix[m->level]);
    LLVMValueRef function[CONTRACT_MAX_PHASES];
    char error[CONTRACT_ERROR_LENGTH] = "";
    if (!contract_emit(plan, m->module, function, error)) return arena_format(arena, "%s", error);
    for (int i = 0; i < plan->phases; i++) {
        const char *symbol = arena_format(arena, "stm_%s_%s", name[i], cpu_level_suffix[m->level]);
        LLVMSetValueName2(function[i], symbol, strlen(symbol));
    }
    return NULL;
}
