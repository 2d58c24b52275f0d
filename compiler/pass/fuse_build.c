// Fusion, kernels: a group of equations becomes one Kernel and the call that binds its arguments.
//
// Outer variables come in the storage order of the largest result, so that neighbouring iterations touch neighbouring
// memory; inner variables of the members are shared when their extents agree. A result that later members read goes
// through a local when it has no inner variables (a register) and through its buffer otherwise. Stores come after all
// computing in kernels without inner variables, which is what makes updates in place safe. A kernel whose arguments are
// all walked in storage order becomes one loop over a flat range whose length is a step extent, so that one kernel
// serves tensors of every shape.
#include "pass/fuse_internal.h"

#include <string.h>

typedef struct Build {
    Graph *g;
    Kernel *k;
    const JobCalls *calls;
    VEC(int) tensor;           // of each buffer
    int *in_place;             // source -> target, or -1
    int *local_of, *buffer_of; // tensor -> number, or -1 (local_of) while not computed here
    const Node *node;          // whose expression is being translated
    int var[MAX_VARS];         // its variables as kernel variables
    ExprMap done, known;       // translations and structures of its nodes
} Build;

bool fuse_stored(const Graph *g, int node) {
    const Node *n = &g->node[node];
    if (n->kept) return true;
    for (int i = 0; i < g->reader[n->out].count; i++)
        if (g->node[g->reader[n->out].at[i]].group != n->group) return true;
    return g->reader[n->out].count == 0;
}

bool fuse_group_is_pointwise(const Graph *g, int group) {
    const Group *gr = &g->group.at[group];
    if (gr->contraction) return false;
    for (int m = 0; m < gr->member.count; m++) {
        const Node *n = &g->node[gr->member.at[m]];
        if (n->kind != NODE_MAP && n->kind != NODE_REDUCE) return false;
        for (int v = 0; v < n->eq->free; v++)
            if (n->outer_of[v] < 0) return false;
    }
    return true;
}

static int buffer_for(Build *b, int tensor, bool write) {
    if (b->in_place[tensor] >= 0) tensor = b->in_place[tensor];
    if (b->buffer_of[tensor] < 0) {
        const Tensor *t = b->g->program->tensor.at[tensor];
        KernelBuffer buffer = {.type = t->type, .rank = t->rank};
        memcpy(buffer.dim, t->dim, sizeof buffer.dim);
        memcpy(buffer.order, t->order, sizeof buffer.order);
        b->buffer_of[tensor] = b->k->buffer.count;
        vec_push(b->g->arena, &b->k->buffer, buffer);
        vec_push(b->g->arena, &b->tensor, tensor);
    }
    KernelBuffer *buffer = &b->k->buffer.at[b->buffer_of[tensor]];
    if (write) buffer->is_written = true;
    else buffer->is_read = true;
    return b->buffer_of[tensor];
}

static int new_local(Build *b, ElementType type, int rank, const Extent *dim) {
    KernelLocal local = {.type = type, .rank = rank};
    for (int i = 0; i < rank; i++) local.dim[i] = dim[i];
    vec_push(b->g->arena, &b->k->local, local);
    return b->k->local.count - 1;
}

static Expr *leaf(Build *b, const Expr *like) {
    return arena_copy(b->g->arena, like, sizeof *like);
}

static Expr *translate(Build *b, const Expr *e);

static Position translate_position(Build *b, const Position *p) {
    Position out = *p;
    if (p->gather != NULL) {
        out = (Position){.divide = 1, .guarded = true, .gather = translate(b, p->gather)};
        return out;
    }
    for (int i = 0; i < p->terms; i++) out.term[i].var = b->var[p->term[i].var];
    for (int i = 1; i < out.terms; i++) // sorted by kernel variable
        for (int j = i; j > 0 && out.term[j - 1].var > out.term[j].var; j--) {
            Term t = out.term[j];
            out.term[j] = out.term[j - 1];
            out.term[j - 1] = t;
        }
    return out;
}

static Expr *translate_read(Build *b, const Expr *e) {
    Expr *made = leaf(b, e);
    made->position = NEW_ARRAY(b->g->arena, Position, MAX_RANK);
    made->rank = 0;
    int local = b->local_of[e->tensor];
    const Extent *dim = b->g->program->tensor.at[e->tensor]->dim;
    const Node *writer = local < 0 ? NULL : &b->g->node[b->g->producer[e->tensor]];
    for (int d = 0; d < e->rank; d++) {
        if (writer != NULL && writer->outer_of[d] >= 0) continue; // the same outer iteration
        Position p = translate_position(b, &e->position[d]);
        if (p.gather == NULL) p.guarded = position_may_leave(b->k->var, &p, dim[d]);
        made->position[made->rank++] = p;
    }
    made->tensor = local >= 0 ? ~local : buffer_for(b, e->tensor, false);
    return made;
}

// Arguments of commutative primitives are ordered by structure, so that layers of equal shape give equal kernels
// whatever the numbers of their tensors.
static bool commutes(ScalarOp op) {
    switch (op) {
    case OP_ADD:
    case OP_MUL:
    case OP_IADD:
    case OP_IMUL:
    case OP_AND:
    case OP_OR:
    case OP_EQ:
    case OP_NE: return true;
    default: return false;
    }
}

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ (h >> 29);
}

static uint64_t structure(Build *b, const Expr *e);

static uint64_t read_structure(Build *b, const Expr *e, uint64_t h) {
    const Tensor *t = b->g->program->tensor.at[e->tensor];
    h = mix(h, b->local_of[e->tensor] >= 0);
    bool own = e->rank == b->k->outer; // the element itself looks the same in tensors of every shape
    for (int d = 0, var; own && d < e->rank; d++) own = position_is_var(&e->position[d], &var) && b->var[var] < e->rank;
    if (own) return mix(h, (uint64_t)(e->rank > 0));
    h = mix(h, (uint64_t)t->rank);
    for (int d = 0; d < e->rank; d++) {
        const Position *p = &e->position[d];
        h = mix(mix(mix(h, (uint64_t)t->dim[d].count), (uint64_t)t->dim[d].axis), (uint64_t)t->order[d]);
        if (p->gather != NULL) {
            h = mix(h, structure(b, p->gather));
            continue;
        }
        uint64_t terms = 0; // of any order
        for (int i = 0; i < p->terms; i++)
            terms += mix((uint64_t)b->var[p->term[i].var] + 1, (uint64_t)p->term[i].coef);
        h = mix(mix(mix(mix(h, terms), (uint64_t)p->offset), (uint64_t)p->divide), (uint64_t)p->modulo * 2 + p->exact);
    }
    return h;
}

static uint64_t structure(Build *b, const Expr *e) {
    uint64_t known = (uint64_t)(uintptr_t)fuse_map_get(&b->known, e);
    if (known != 0) return known;
    uint64_t h = mix(mix(11, (uint64_t)e->op), (uint64_t)e->type), bits;
    memcpy(&bits, &e->number, sizeof bits);
    if (e->op == OP_CONST) h = mix(h, bits);
    if (e->op == OP_INDEX) h = mix(h, (uint64_t)b->var[e->var]);
    if (e->op == OP_EXTENT) h = mix(mix(h, (uint64_t)e->extent.count), (uint64_t)e->extent.axis);
    if (e->op == OP_READ) h = read_structure(b, e, h);
    uint64_t arg[3] = {0, 0, 0};
    for (int i = 0; i < e->arity; i++) arg[i] = structure(b, e->arg[i]);
    if (commutes(e->op) && arg[0] > arg[1]) {
        uint64_t t = arg[0];
        arg[0] = arg[1];
        arg[1] = t;
    }
    for (int i = 0; i < e->arity; i++) h = mix(h, arg[i]);
    h |= 1; // 0 stands for unknown
    fuse_map_put(&b->known, e, (void *)(uintptr_t)h);
    return h;
}

static Expr *translate(Build *b, const Expr *e) {
    Expr *made = fuse_map_get(&b->done, e);
    if (made != NULL) return made;
    if (e->op == OP_READ) {
        made = translate_read(b, e);
    } else {
        made = leaf(b, e);
        if (e->op == OP_INDEX) made->var = b->var[e->var];
        bool swap = commutes(e->op) && structure(b, e->arg[0]) > structure(b, e->arg[1]);
        for (int i = 0; i < e->arity; i++) made->arg[i] = translate(b, e->arg[swap ? 1 - i : i]);
    }
    fuse_map_put(&b->done, e, made);
    return made;
}

static void start_node(Build *b, const Node *n, const int *outer_number) {
    b->node = n;
    b->done = b->known = (ExprMap){.arena = b->g->arena};
    uint32_t used = 0;
    for (int v = 0; v < n->eq->vars; v++) {
        if (n->outer_of[v] >= 0) {
            b->var[v] = outer_number[n->outer_of[v]];
            continue;
        }
        int at = b->k->outer;
        while (at < b->k->vars && ((used >> at & 1) || !extent_same(b->k->var[at].extent, n->eq->var[v].extent))) at++;
        if (at == b->k->vars) {
            EXPECT(b->k->vars < 2 * MAX_VARS);
            b->k->var[b->k->vars] = n->eq->var[v];
            if (b->k->var[at].name == NULL) b->k->var[at].name = arena_format(b->g->arena, "v%d", at);
            b->k->vars++;
        }
        used |= 1u << at;
        b->var[v] = at;
    }
}

static Stage *new_stage(Build *b) {
    vec_push(b->g->arena, &b->k->stage, ((Stage){0}));
    Stage *s = &vec_last(&b->k->stage);
    s->target = NEW_ARRAY(b->g->arena, Position, MAX_RANK);
    return s;
}

// The variables and the target of a stage for the current node. `local`: positions of the inner variables only.
static void stage_target(Build *b, Stage *s, bool local) {
    const Node *n = b->node;
    s->rank = 0;
    for (int v = 0; v < n->eq->free; v++) {
        bool inner = n->outer_of[v] < 0;
        if (inner) s->var[s->vars++] = b->var[v];
        if (inner || !local) {
            s->target[s->rank] = position_var(b->var[v]);
            s->target[s->rank++].guarded = false;
        }
    }
    s->free = s->vars;
}

static Expr *read_local(Build *b, int local, const Stage *like) {
    Expr *e = NEW(b->g->arena, Expr);
    e->op = OP_READ;
    e->type = b->k->local.at[local].type;
    e->tensor = ~local;
    e->span = NO_SPAN;
    e->rank = b->k->local.at[local].rank;
    e->position = NEW_ARRAY(b->g->arena, Position, MAX_RANK);
    for (int i = 0; i < e->rank; i++) {
        e->position[i] = position_var(like->var[i]);
        e->position[i].guarded = false;
    }
    return e;
}

static int local_like(Build *b, ElementType type) {
    const Node *n = b->node;
    Extent dim[MAX_RANK];
    int rank = 0;
    for (int v = 0; v < n->eq->free; v++)
        if (n->outer_of[v] < 0) dim[rank++] = n->eq->var[v].extent;
    return new_local(b, type, rank, dim);
}

static void store_local(Build *b, int tensor, int local) {
    Stage *s = new_stage(b);
    stage_target(b, s, false);
    s->value = read_local(b, local, s);
    s->dest = buffer_for(b, tensor, true);
}

static void build_scatter(Build *b) {
    const Node *n = b->node;
    Stage *s = new_stage(b);
    for (int v = 0; v < n->eq->vars; v++)
        if (n->outer_of[v] < 0) s->var[s->vars++] = b->var[v];
    s->free = s->vars;
    s->value = translate(b, n->value);
    const Tensor *t = b->g->program->tensor.at[n->out];
    s->rank = t->rank;
    for (int d = 0; d < t->rank; d++) {
        s->target[d] = translate_position(b, &n->eq->target[d]);
        if (s->target[d].gather == NULL) s->target[d].guarded = position_may_leave(b->k->var, &s->target[d], t->dim[d]);
    }
    s->accumulate = true;
    s->dest = buffer_for(b, n->out, true);
}

// Computes one member. Returns the local that holds it, or -1 when it went straight to its buffer.
static int build_member(Build *b, int number, bool read_later) {
    const Node *n = b->node;
    ElementType type = b->g->program->tensor.at[n->out]->type;
    bool contraction_group = b->g->group.at[n->group].contraction;
    int inner = 0;
    for (int v = 0; v < n->eq->free; v++) inner += n->outer_of[v] < 0;
    bool through_local =
        n->kind == NODE_CONTRACT || (read_later && (inner == 0 || contraction_group)) || !fuse_stored(b->g, number);
    Stage *s = new_stage(b);
    stage_target(b, s, through_local);
    for (int v = n->eq->free; v < n->eq->vars; v++) s->var[s->vars++] = b->var[v];
    s->reduce = n->kind == NODE_MAP ? REDUCE_NONE : n->eq->reduce;
    Expr *value;
    if (n->kind == NODE_CONTRACT) {
        value = NEW(b->g->arena, Expr);
        *value = (Expr){.op = OP_MUL, .type = T_REAL, .arity = 2, .span = n->value->span};
        value->arg[0] = translate(b, n->product[0]);
        value->arg[1] = translate(b, n->product[1]);
    } else {
        value = translate(b, n->value);
    }
    int stage = b->k->stage.count - 1; // translate makes no stages
    b->k->stage.at[stage].value = value;
    if (!through_local) {
        b->k->stage.at[stage].dest = buffer_for(b, n->out, true);
        return -1;
    }
    int local = local_like(b, type);
    b->k->stage.at[stage].dest = ~local;
    if (n->kind == NODE_CONTRACT && n->scale != 1) {
        Stage *scaled = new_stage(b);
        stage_target(b, scaled, true);
        Expr *factor = NEW(b->g->arena, Expr), *product = NEW(b->g->arena, Expr);
        *factor = (Expr){.op = OP_CONST, .type = T_REAL, .number = n->scale, .span = NO_SPAN};
        *product = (Expr){
            .op = OP_MUL, .type = T_REAL, .arity = 2, .arg = {read_local(b, local, scaled), factor}, .span = NO_SPAN};
        scaled->value = product;
        local = local_like(b, type);
        vec_last(&b->k->stage).dest = ~local;
    }
    return local;
}

static bool read_by_later_member(const Graph *g, const Group *gr, int at) {
    int tensor = g->node[gr->member.at[at]].out;
    for (int i = 0; i < g->reader[tensor].count; i++)
        for (int m = at + 1; m < gr->member.count; m++)
            if (gr->member.at[m] == g->reader[tensor].at[i]) return true;
    return false;
}

// outer_number[group's outer variable] = kernel variable; the storage order of the largest stored result decides.
static void order_outer(Build *b, const Group *gr, int *outer_number) {
    const Graph *g = b->g;
    for (int i = 0; i < gr->outer; i++) outer_number[i] = i;
    const Node *largest = NULL;
    for (int m = 0; m < gr->member.count; m++) {
        const Node *n = &g->node[gr->member.at[m]];
        if (n->random) return; // the number of a random element is its row-major number: the order stays
        if (n->kind != NODE_SCATTER && (largest == NULL || n->elements > largest->elements)) largest = n;
    }
    if (largest == NULL) return;
    const Tensor *t = g->program->tensor.at[largest->out];
    int next = 0;
    for (int i = 0; i < t->rank; i++)
        if (largest->outer_of[t->order[i]] >= 0) outer_number[largest->outer_of[t->order[i]]] = next++;
    EXPECT(next == gr->outer);
}

static const char *group_label(const Graph *g, const Group *gr) {
    const Node *root = &g->node[gr->member.at[0]];
    if (gr->contraction || root->kind == NODE_SCATTER) return root->label;
    bool rows = false, reduces = false, pools = false, exps = false, norms = false, random = false;
    for (int m = 0; m < gr->member.count; m++) {
        const Node *n = &g->node[gr->member.at[m]];
        bool inner = false;
        for (int v = 0; v < n->eq->free; v++) inner |= n->outer_of[v] < 0;
        rows |= inner;
        reduces |= n->kind == NODE_REDUCE;
        pools |= n->kind == NODE_REDUCE && strcmp(n->label, "pool") == 0;
        exps |= n->kind == NODE_REDUCE && n->eq->reduce == REDUCE_MAX;
        norms |= fuse_contains(g->arena, n->value, OP_RSQRT) || fuse_contains(g->arena, n->value, OP_SQRT);
        random |= n->random;
    }
    if (pools && !rows) return "pool";
    if (rows && reduces) return exps ? "softmax" : norms ? "norm" : "rows";
    if (reduces) return "reduce";
    return random ? "random" : "map";
}

// ---- flat kernels

static bool flat_reads(const Build *b, const Expr *e, const int *order, ExprMap *seen) {
    if (fuse_map_get(seen, e) != NULL) return true;
    fuse_map_put(seen, e, seen);
    if (e->op == OP_INDEX) return false;
    for (int i = 0; i < e->arity; i++)
        if (!flat_reads(b, e->arg[i], order, seen)) return false;
    if (e->op != OP_READ || e->tensor < 0 || e->rank == 0) return true;
    const KernelBuffer *buffer = &b->k->buffer.at[e->tensor];
    if (e->rank != b->k->vars) return false;
    for (int i = 0; i < e->rank; i++) {
        int var, d = buffer->order[i];
        if (!position_is_var(&e->position[d], &var) || var != order[i] || e->position[d].guarded) return false;
        if (!extent_same(buffer->dim[d], b->k->var[var].extent)) return false;
    }
    return true;
}

static void flatten_positions(Expr *e, ExprMap *seen) {
    if (fuse_map_get(seen, e) != NULL) return;
    fuse_map_put(seen, e, seen);
    for (int i = 0; i < e->arity; i++) flatten_positions(e->arg[i], seen);
    if (e->op != OP_READ || e->tensor < 0 || e->rank == 0) return;
    e->rank = 1;
    e->position[0] = position_var(0);
    e->position[0].guarded = false;
}

// One loop over all elements when every argument is walked in its storage order. The length becomes a step extent.
static void make_flat(Build *b, KernelCall *call) {
    Kernel *k = b->k;
    if (k->vars == 0 || k->vars != k->outer) return;
    Extent total = extent_of(1);
    int order[MAX_VARS];
    for (int v = 0; v < k->vars; v++) {
        order[v] = v; // outer variables already stand in storage order
        if (k->var[v].extent.axis >= 0) {
            if (total.axis >= 0) return;
            total.axis = k->var[v].extent.axis;
        }
        total.count *= k->var[v].extent.count;
    }
    ExprMap seen = {.arena = b->g->arena};
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        if (stage->vars > 0 || stage->accumulate || !flat_reads(b, stage->value, order, &seen)) return;
        if (stage->dest < 0) continue;
        const KernelBuffer *buffer = &k->buffer.at[stage->dest];
        if (stage->rank != k->vars) return;
        for (int i = 0; i < stage->rank; i++)
            if (stage->target[buffer->order[i]].term[0].var != i) return;
    }
    seen = (ExprMap){.arena = b->g->arena};
    for (int s = 0; s < k->stage.count; s++) {
        Stage *stage = &k->stage.at[s];
        flatten_positions(stage->value, &seen);
        if (stage->dest < 0) continue;
        stage->rank = 1;
        stage->target[0] = position_var(0);
        stage->target[0].guarded = false;
    }
    Extent step = {1, b->g->program->axis.count};
    k->vars = k->outer = 1;
    k->var[0] = (Variable){"i", step};
    for (int i = 0; i < k->buffer.count; i++) {
        KernelBuffer *buffer = &k->buffer.at[i];
        if (buffer->rank == 0) continue;
        memset(buffer->dim, 0, sizeof buffer->dim);
        memset(buffer->order, 0, sizeof buffer->order);
        buffer->rank = 1;
        buffer->dim[0] = step;
    }
    call->extents = 1;
    call->extent[0] = total;
}

// The place of a random number becomes a step extent while there is room: initialising many parameters of one kind, or
// dropping out many layers, takes one kernel.
static void free_places(Build *b, Expr *e, KernelCall *call, ExprMap *seen) {
    if (fuse_map_get(seen, e) != NULL) return;
    fuse_map_put(seen, e, seen);
    for (int i = 0; i < e->arity; i++) free_places(b, e->arg[i], call, seen);
    for (int i = 0; i < (e->op == OP_READ ? e->rank : 0); i++)
        if (e->position[i].gather != NULL) free_places(b, e->position[i].gather, call, seen);
    if (e->op != OP_RANDOM || e->place == 0) return;
    int first = b->k->var[0].extent.axis == b->g->program->axis.count, slot = first ? 1 : 0; // 0 may be the flat length
    while (slot < call->extents && call->extent[slot].count != e->place) slot++;
    if (slot == (int)(sizeof call->extent / sizeof call->extent[0])) return;
    call->extent[slot] = extent_of(e->place);
    if (slot >= call->extents) call->extents = slot + 1;
    e->extent = (Extent){1, b->g->program->axis.count + slot};
    e->place = 0;
}

KernelCall fuse_build(Graph *g, int group, const JobCalls *calls) {
    const Group *gr = &g->group.at[group];
    Arena *arena = g->arena;
    int tensors = g->program->tensor.count;
    Build b = {.g = g, .k = NEW(arena, Kernel), .calls = calls};
    if (g->in_place == NULL) {
        g->in_place = NEW_ARRAY(arena, int, tensors);
        g->local_of = NEW_ARRAY(arena, int, tensors);
        g->buffer_of = NEW_ARRAY(arena, int, tensors);
        for (int i = 0; i < tensors; i++) g->in_place[i] = g->local_of[i] = g->buffer_of[i] = -1;
        for (int i = 0; i < calls->in_place.count; i++)
            g->in_place[calls->in_place.at[i].source] = calls->in_place.at[i].target;
    }
    b.in_place = g->in_place;
    b.local_of = g->local_of;
    b.buffer_of = g->buffer_of;

    Kernel *k = b.k;
    const Node *root = &g->node[gr->member.at[0]];
    k->kind = gr->contraction ? KERNEL_CONTRACTION : KERNEL_LOOPS;
    k->precision = gr->contraction ? root->eq->precision : PRECISION_MODEL;
    k->name = group_label(g, gr);
    k->origin = root->eq->where;
    k->scalar_seed = k->scalar_step = k->lane = k->split = -1;
    k->chunks = 1;
    int outer_number[MAX_VARS];
    order_outer(&b, gr, outer_number);
    k->outer = k->vars = gr->outer;
    for (int i = 0; i < gr->outer; i++)
        k->var[outer_number[i]] = (Variable){arena_format(arena, "v%d", outer_number[i]), gr->extent[i]};
    for (int m = gr->member.count - 1; m >= 0; m--) { // names of the first member win
        const Node *n = &g->node[gr->member.at[m]];
        for (int v = 0; v < n->eq->vars; v++)
            if (n->outer_of[v] >= 0 && n->eq->var[v].name != NULL)
                k->var[outer_number[n->outer_of[v]]].name = n->eq->var[v].name;
    }

    bool random = false, pointwise = fuse_group_is_pointwise(g, group) || gr->contraction;
    VEC(int) late = {0}; // members stored at the end
    for (int m = 0; m < gr->member.count; m++) {
        int number = gr->member.at[m];
        const Node *n = &g->node[number];
        random |= n->random;
        start_node(&b, n, outer_number);
        if (n->kind == NODE_SCATTER) {
            build_scatter(&b);
            continue;
        }
        b.local_of[n->out] =
            build_member(&b, number, read_by_later_member(g, gr, m) || (pointwise && m + 1 < gr->member.count));
        if (n->kind == NODE_CONTRACT)
            for (int v = 0; v < n->eq->vars; v++) k->role[b.var[v]] = n->role[v];
        if (b.local_of[n->out] < 0 || !fuse_stored(g, number)) continue;
        if (pointwise) vec_push(arena, &late, number);
        else store_local(&b, n->out, b.local_of[n->out]);
    }
    for (int i = 0; i < late.count; i++) {
        const Node *n = &g->node[late.at[i]];
        start_node(&b, n, outer_number);
        store_local(&b, n->out, b.local_of[n->out]);
    }
    if (random) {
        if (g->program->scalar_seed >= 0) k->scalar_seed = buffer_for(&b, g->program->scalar_seed, false);
        if (g->program->scalar_step >= 0) k->scalar_step = buffer_for(&b, g->program->scalar_step, false);
    }
    KernelCall call = {.kernel = k, .origin = k->origin};
    if (k->kind == KERNEL_LOOPS) make_flat(&b, &call);
    ExprMap seen = {.arena = arena};
    for (int s = 0; random && s < k->stage.count; s++) free_places(&b, k->stage.at[s].value, &call, &seen);
    call.tensor = NEW_ARRAY(arena, int, b.tensor.count);
    for (int i = 0; i < b.tensor.count; i++) call.tensor[i] = b.tensor.at[i];
    for (int i = 0; i < b.tensor.count; i++) g->buffer_of[b.tensor.at[i]] = -1; // clean for the next group
    for (int m = 0; m < gr->member.count; m++) {
        const Node *n = &g->node[gr->member.at[m]];
        g->local_of[n->out] = -1;
        call.flops += n->iterations * (n->kind == NODE_CONTRACT ? 2 : 1 + expr_cost(arena, n->value));
    }
    return call;
}
