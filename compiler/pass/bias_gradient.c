// Bias gradients: in a training step the gradient of a linear layer's weights is a contraction over rows, and the
// gradient of its bias is the sum over rows of one of its operands. cuBLASLt forms that sum while it reads the operand,
// so that the tensor is read once and the reduction's launches go.
//
// Requires scheduled kernels in which no call is a batch. Leaves a copy of the kernel program: such a contraction has
// one more buffer and one more stage (kernel_bias_gradient); the kernel that reduced is gone where it only stored the
// sum, otherwise it is a map that reads it, placed behind the contraction. Whether a contraction can do it is the
// target's answer.
#include "pass/fuse_internal.h"

#include <string.h>

typedef struct Bias {
    const KernelProgram *from;
    KernelProgram *to;
    Program *program; // of the copy
    Arena *arena;
    BiasGradientFits *fits;
    void *context;
} Bias;

typedef struct Pair {
    int product, reduce; // calls
    const Expr *read;    // operand of the product: dimension by dimension what the other kernel sums
    int var;             // of the product: numbers the results
} Pair;

// ---- a kernel that sums one tensor over all its variables but outer 0 and goes on element by element

// Are the positions distinct variables that run over whole dimensions?
static bool reads_whole(const Kernel *k, const Expr *e) {
    if (e->op != OP_READ || e->tensor < 0 || k->buffer.at[e->tensor].type != T_REAL) return false;
    uint64_t seen = 0;
    for (int d = 0, var; d < e->rank; d++) {
        if (!position_is_var(&e->position[d], &var) || e->position[d].guarded || (seen >> var & 1)) return false;
        if (!extent_same(k->var[var].extent, k->buffer.at[e->tensor].dim[d])) return false;
        seen |= (uint64_t)1 << var;
    }
    return true;
}

static bool own_element(const Expr *e) {
    int var;
    return e->rank == 0 || (e->rank == 1 && position_is_var(&e->position[0], &var) && var == 0);
}

static bool stores_own_element(const Kernel *k, const Stage *s) {
    int var;
    return s->dest >= 0 && k->buffer.at[s->dest].type == T_REAL && s->rank == 1 &&
           position_is_var(&s->target[0], &var) && var == 0;
}

// What the kernel sums first, when all it does then is a map over the sums; or NULL.
static const Expr *summed(Arena *arena, const KernelCall *call) {
    const Kernel *k = call->kernel;
    if (k->kind != KERNEL_LOOPS || k->outer != 1 || call->extents != 0 || k->scalar_seed >= 0) return NULL;
    const Stage *first = &k->stage.at[0];
    const Expr *e = first->value;
    if (first->reduce != REDUCE_SUM || first->free != 0 || first->accumulate || k->var[0].extent.axis >= 0) return NULL;
    if (!reads_whole(k, e) || k->buffer.at[e->tensor].is_written || e->rank != first->vars + 1) return NULL;
    if (first->dest >= 0)
        return k->stage.count == 1 && stores_own_element(k, first) && !k->buffer.at[first->dest].is_read ? e : NULL;
    for (int s = 1; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        if (stage->vars != 0 || stage->reduce != REDUCE_NONE || stage->accumulate) return NULL;
        if (stage->dest < 0 ? stage->rank != 0 : !stores_own_element(k, stage)) return NULL;
        ExprList reads = {0};
        expr_reads(arena, stage->value, &reads);
        for (int r = 0; r < reads.count; r++)
            if (reads.at[r]->tensor == e->tensor || !own_element(reads.at[r])) return NULL;
        if (fuse_contains(arena, stage->value, OP_INDEX) || fuse_contains(arena, stage->value, OP_RANDOM)) return NULL;
    }
    return k->stage.count > 1 ? e : NULL;
}

// The buffer that takes the sums and nothing else, or -1.
static int only_stores(const Kernel *k) {
    const Stage *first = &k->stage.at[0], *last = &k->stage.at[k->stage.count - 1];
    if (first->dest >= 0) return first->dest;
    bool copies = k->stage.count == 2 && last->dest >= 0 && last->value->op == OP_READ &&
                  last->value->tensor == first->dest && !k->buffer.at[last->dest].is_read;
    return copies ? last->dest : -1;
}

// ---- pairs

static bool is_reduced(const Stage *s, int var) {
    for (int i = s->free; i < s->vars; i++)
        if (s->var[i] == var) return true;
    return false;
}

// Does the sum run over the product's own reduced variables of this operand?
static bool same_sum(const KernelCall *product, const Expr *operand, const KernelCall *reduce, const Expr *sum,
                     int *result) {
    const Kernel *x = product->kernel, *r = reduce->kernel;
    const Stage *stage = &x->stage.at[0];
    if (!reads_whole(x, operand) || operand->rank != sum->rank || operand->rank != stage->vars - stage->free + 1)
        return false;
    if (product->tensor[operand->tensor] != reduce->tensor[sum->tensor]) return false;
    for (int d = 0, mine, theirs; d < operand->rank; d++) {
        if (!position_is_var(&operand->position[d], &mine) || !position_is_var(&sum->position[d], &theirs))
            return false;
        if (is_reduced(stage, mine) != is_reduced(&r->stage.at[0], theirs)) return false;
        if (!is_reduced(stage, mine)) *result = mine;
    }
    return true;
}

static bool touches(const int *root, const KernelCall *call, int tensor, bool write_only) {
    for (int b = 0; b < call->kernel->buffer.count; b++)
        if (root[call->tensor[b]] == root[tensor] && (!write_only || call->kernel->buffer.at[b].is_written))
            return true;
    return false;
}

// May the reduction run right behind the product, its result be written by the product?
static bool may_join(const JobCalls *calls, const int *root, const Pair *pair, const Expr *sum) {
    const KernelCall *r = &calls->call.at[pair->reduce];
    int first = pair->reduce < pair->product ? pair->reduce + 1 : pair->product;
    int last = pair->reduce < pair->product ? pair->product : pair->reduce - 1;
    int stored = only_stores(r->kernel);
    for (int c = first; c <= last; c++) {
        const KernelCall *between = &calls->call.at[c];
        if (touches(root, between, r->tensor[sum->tensor], true)) return false;
        for (int b = 0; b < r->kernel->buffer.count; b++) {
            if (pair->reduce > pair->product && b != stored) continue; // the map stays where it is
            if (touches(root, between, r->tensor[b], !r->kernel->buffer.at[b].is_written)) return false;
        }
    }
    return true;
}

// ---- the new kernels

static KernelBuffer vector_of(Extent e, bool written) {
    KernelBuffer b = {.type = T_REAL, .rank = 1, .is_read = !written, .is_written = written};
    b.dim[0] = e;
    return b;
}

static Position *own_position(Arena *arena, int var) {
    Position *p = NEW_ARRAY(arena, Position, MAX_RANK);
    p[0] = position_var(var);
    p[0].guarded = false;
    return p;
}

// The product that sums its operand as well, into a buffer of its own: the last one.
static Kernel *product_kernel(Arena *arena, const Kernel *old, const Pair *pair) {
    Kernel *k = kernel_copy(arena, old);
    const Stage *first = &old->stage.at[0];
    Stage s = {.free = 1, .vars = 1, .reduce = REDUCE_SUM, .value = (Expr *)pair->read, .dest = k->buffer.count};
    s.var[0] = pair->var;
    for (int i = first->free; i < first->vars; i++) s.var[s.vars++] = first->var[i];
    s.rank = 1;
    s.target = own_position(arena, pair->var);
    vec_push(arena, &k->buffer, vector_of(k->var[pair->var].extent, true));
    vec_push(arena, &k->stage, s);
    return k;
}

typedef struct Rewrite {
    Arena *arena;
    int buffer, local; // reads of the local become reads of the buffer
    ExprMap done;
} Rewrite;

static Expr *rewrite(Rewrite *r, const Expr *e) {
    Expr *made = fuse_map_get(&r->done, e);
    if (made != NULL) return made;
    made = arena_copy(r->arena, e, sizeof *e);
    for (int i = 0; i < e->arity; i++) made->arg[i] = rewrite(r, e->arg[i]);
    if (e->op == OP_READ && e->tensor < 0 && ~e->tensor >= r->local) {
        if (~e->tensor > r->local) {
            made->tensor = e->tensor + 1; // the local is gone
        } else {
            made->tensor = r->buffer;
            made->rank = 1;
            made->position = own_position(r->arena, 0);
        }
    }
    fuse_map_put(&r->done, e, made);
    return made;
}

// The rest of a reduction: a map over the sums, which stand in the buffer where the summed tensor stood. One loop over
// a step extent, as pass/fuse_build.c makes of maps: layers of every width share it.
static Kernel *map_kernel(const Bias *g, const KernelCall *reduce, int buffer, KernelCall *call) {
    Arena *arena = g->arena;
    Kernel *k = kernel_copy(arena, reduce->kernel);
    Extent length = k->var[0].extent, step = {1, g->program->axis.count};
    int64_t elements = extent_bound(g->program, length);
    Rewrite r = {.arena = arena, .buffer = buffer, .local = ~k->stage.at[0].dest, .done = {.arena = arena}};
    k->buffer.at[buffer] = vector_of(length, false);
    k->stage.count = k->local.count = 0;
    for (int i = 0; i < reduce->kernel->local.count; i++)
        if (i != r.local) vec_push(arena, &k->local, reduce->kernel->local.at[i]);
    *call = *reduce;
    call->flops = 0;
    for (int i = 1; i < reduce->kernel->stage.count; i++) {
        Stage s = reduce->kernel->stage.at[i];
        s.value = rewrite(&r, s.value);
        if (s.dest < 0 && ~s.dest > r.local) s.dest++;
        call->flops += (1 + expr_cost(arena, s.value)) * elements;
        vec_push(arena, &k->stage, s);
    }
    for (int b = 0; b < k->buffer.count; b++)
        if (k->buffer.at[b].rank == 1) k->buffer.at[b].dim[0] = step;
    k->name = "map";
    k->vars = k->outer = 1;
    k->var[0] = (Variable){"i", step};
    k->lane = 0;
    k->split = -1;
    k->chunks = 1;
    k->flops = elements > 0 ? call->flops / elements : 0;
    call->kernel = k;
    call->extents = 1;
    call->extent[0] = length;
    return k;
}

static int new_tensor(Bias *g, Extent length) {
    Tensor *t = NEW(g->arena, Tensor);
    *t = (Tensor){.id = g->program->tensor.count,
                  .name = "bias_gradient",
                  .kind = TENSOR_TEMP,
                  .type = T_REAL,
                  .rank = 1,
                  .init = -1};
    t->dim[0] = length;
    for (int d = 0; d < MAX_RANK; d++) t->axis[d] = -1, t->order[d] = d;
    vec_push(g->arena, &g->program->tensor, t);
    return t->id;
}

// ---- a job

static void join(Bias *g, JobCalls *calls, const Pair *pair, Kernel *made, const Expr *sum) {
    KernelCall product = calls->call.at[pair->product], reduce = calls->call.at[pair->reduce], map;
    int buffers = product.kernel->buffer.count, stored = only_stores(reduce.kernel);
    int tensor = stored >= 0 ? reduce.tensor[stored] : new_tensor(g, made->var[pair->var].extent);
    int *args = NEW_ARRAY(g->arena, int, buffers + 1);
    memcpy(args, product.tensor, sizeof(int) * (size_t)buffers);
    args[buffers] = tensor;
    product.tensor = args;
    product.kernel = made;
    if (stored < 0) {
        map_kernel(g, &reduce, sum->tensor, &map);
        map.tensor = arena_copy(g->arena, reduce.tensor, sizeof(int) * (size_t)reduce.kernel->buffer.count);
        map.tensor[sum->tensor] = tensor;
    }
    KernelCall *old = calls->call.at;
    int count = calls->call.count;
    memset(&calls->call, 0, sizeof calls->call);
    for (int c = 0; c < count; c++) {
        if (c == pair->reduce) {
            if (stored < 0 && pair->reduce > pair->product) vec_push(g->arena, &calls->call, map);
            continue;
        }
        vec_push(g->arena, &calls->call, c == pair->product ? product : old[c]);
        if (c == pair->product && stored < 0 && pair->reduce < pair->product) vec_push(g->arena, &calls->call, map);
    }
}

// Does the call's first stage read what the product reads? Settles nearly all pairs.
static bool reads_operand(const KernelCall *product, const KernelCall *call) {
    const Expr *e = call->kernel->stage.at[0].value, *both = product->kernel->stage.at[0].value;
    if (call->kernel->kind != KERNEL_LOOPS || e->op != OP_READ || e->tensor < 0) return false;
    for (int o = 0; o < 2; o++) {
        const Expr *operand = both->arg[o];
        if (operand->op == OP_READ && operand->tensor >= 0 &&
            product->tensor[operand->tensor] == call->tensor[e->tensor])
            return true;
    }
    return false;
}

// Joins one reduction to the product, if there is one.
static bool join_one(Bias *g, JobCalls *calls, int product, const int *root) {
    const KernelCall *x = &calls->call.at[product];
    const Kernel *k = x->kernel;
    if (k->kind != KERNEL_CONTRACTION || k->outer != 0 || k->stage.at[0].value->op != OP_MUL) return false;
    if (kernel_bias_gradient(k) >= 0) return false;
    for (int c = 0; c < calls->call.count; c++) {
        const KernelCall *r = &calls->call.at[c];
        const Expr *sum = reads_operand(x, r) ? summed(g->arena, r) : NULL;
        for (int o = 0; o < 2 && sum != NULL; o++) {
            Pair pair = {.product = product, .reduce = c, .read = k->stage.at[0].value->arg[o], .var = -1};
            if (!same_sum(x, pair.read, r, sum, &pair.var) || pair.var < 0) continue;
            if (k->role[pair.var] != ROLE_M && k->role[pair.var] != ROLE_N) continue;
            if (!may_join(calls, root, &pair, sum)) continue;
            Kernel *made = product_kernel(g->arena, k, &pair);
            if (!g->fits(g->context, made)) continue;
            join(g, calls, &pair, made, sum);
            return true;
        }
    }
    return false;
}

// The copy's kernel of this structure; one that the original lacks gets a name of its own.
static Kernel *kernel_for(Bias *g, const Kernel *old) {
    bool made = true;
    for (int i = 0; i < g->from->kernel.count && made; i++) made = g->from->kernel.at[i] != old;
    return program_kernel(g->to, arena_copy(g->arena, old, sizeof *old), made ? kernel_kind(g->arena, old) : NULL);
}

KernelProgram *bias_gradients(const KernelProgram *from, BiasGradientFits *fits, void *context) {
    const Program *p = from->program;
    Arena *arena = p->arena;
    Bias g = {.from = from, .to = NEW(arena, KernelProgram), .arena = arena, .fits = fits, .context = context};
    g.to->program = g.program = arena_copy(arena, p, sizeof *p);
    memset(&g.program->tensor, 0, sizeof g.program->tensor);
    for (int t = 0; t < p->tensor.count; t++) vec_push(arena, &g.program->tensor, p->tensor.at[t]);
    for (int j = 0; j < from->job.count; j++) {
        JobCalls calls = from->job.at[j];
        memset(&calls.call, 0, sizeof calls.call);
        for (int c = 0; c < from->job.at[j].call.count; c++) {
            EXPECT(from->job.at[j].call.at[c].batch == 0);
            vec_push(arena, &calls.call, from->job.at[j].call.at[c]);
        }
        vec_push(arena, &g.to->job, calls);
    }
    for (int j = 0; j < g.to->job.count; j++) {
        JobCalls *calls = &g.to->job.at[j];
        const int *root = storage_roots(arena, g.program, calls);
        for (int c = 0; c < calls->call.count; c++) {
            if (!join_one(&g, calls, c, root)) continue;
            root = storage_roots(arena, g.program, calls); // there may be a tensor more
            c = c > 1 ? c - 2 : -1;                        // and a call less in front
        }
        for (int c = 0; c < calls->call.count; c++) calls->call.at[c].kernel = kernel_for(&g, calls->call.at[c].kernel);
    }
    return g.to;
}
