// Layout: storage order of temporaries, and what later passes want from updates and views.
//
// Requires verified equations; hoists first (hoist.c). Leaves Tensor.order of temporaries set (inputs, parameters,
// state and scalars stay row-major), a row-major copy in front of every view whose source is stored otherwise, and for
// every update a source that a COMPUTE or SCATTER equation of the job defines for that update alone. The meaning of the
// equations does not change.
#include "pass/fuse_internal.h"

#include <string.h>

static int definition(const Job *job, int tensor) {
    for (int i = 0; i < job->equation.count; i++)
        if (job->equation.at[i]->out == tensor) return i;
    return -1;
}

// A new temporary equal to `source`, defined right after its definition (or first, when it is no temporary).
static const Tensor *copy_of(Program *p, Job *job, int source, const char *suffix) {
    const Tensor *from = p->tensor.at[source];
    Tensor *copy =
        program_tensor(p, TENSOR_TEMP, arena_format(p->arena, "%s.%s", from->name ? from->name : "t", suffix),
                       from->type, from->rank, from->dim);
    memcpy(copy->axis, from->axis, sizeof copy->axis);
    copy->span = from->span;
    int at = definition(job, source) + 1;
    Equation *eq = job_equation(job, EQ_COMPUTE, copy, from->span);
    eq->where = at > 0 ? job->equation.at[at - 1]->where : NULL;
    Position position[MAX_RANK];
    for (int i = 0; i < from->rank; i++) position[i] = position_var(i);
    eq->value = expr_read(job, from, position, from->span);
    for (int i = job->equation.count - 1; i > at; i--) job->equation.at[i] = job->equation.at[i - 1];
    job->equation.at[at] = eq;
    return copy;
}

static void own_sources(Program *p, Job *job) {
    if (strcmp(job->name, "init") == 0)
        for (int t = 0; t < p->tensor.count; t++) {
            const Tensor *tensor = p->tensor.at[t];
            bool known = (tensor->kind != TENSOR_PARAM && tensor->kind != TENSOR_STATE) || tensor->init < 0;
            for (int i = 0; i < job->update.count; i++) known |= job->update.at[i].target == t;
            if (!known) vec_push(job->arena, &job->update, ((Update){t, tensor->init}));
        }
    for (int i = 0; i < job->update.count; i++) {
        int at = definition(job, job->update.at[i].source);
        bool own = at >= 0 && job->equation.at[at]->kind != EQ_VIEW;
        for (int j = 0; j < i; j++) own &= job->update.at[j].source != job->update.at[i].source;
        if (!own) job->update.at[i].source = copy_of(p, job, job->update.at[i].source, "new")->id;
    }
}

// ---- views

static int view_root(const Job *job, int tensor) {
    for (int at = definition(job, tensor); at >= 0 && job->equation.at[at]->kind == EQ_VIEW;
         at = definition(job, tensor))
        tensor = job->equation.at[at]->value->tensor;
    return tensor;
}

static bool is_output(const Job *job, int tensor) {
    for (int i = 0; i < job->output.count; i++)
        if (job->output.at[i].tensor == tensor) return true;
    return false;
}

static bool is_updated(const Job *job, int tensor) {
    for (int i = 0; i < job->update.count; i++)
        if (job->update.at[i].target == tensor) return true;
    return false;
}

static void read_copy(Program *p, Job *job, Equation *view) {
    const Tensor *copy = copy_of(p, job, view->value->tensor, "rows");
    Position zero[MAX_RANK];
    for (int i = 0; i < MAX_RANK; i++) zero[i] = position_const(0);
    view->value = expr_read(job, copy, zero, view->span);
}

// A view needs a row-major source, and an output that shows a parameter under another shape shows its old value.
static void copy_for_views(Program *p, Job *job) {
    for (int i = 0; i < job->equation.count; i++) {
        Equation *eq = job->equation.at[i];
        if (eq->kind != EQ_VIEW) continue;
        const Tensor *source = p->tensor.at[eq->value->tensor];
        bool row_major = true;
        for (int d = 0; d < source->rank; d++) row_major &= source->order[d] == d;
        if (row_major && !(is_output(job, eq->out) && is_updated(job, view_root(job, eq->out)))) continue;
        read_copy(p, job, eq);
        i++; // the copy stands in front
    }
}

// ---- storage order
//
// A convolution (forward, or either gradient) is a sum over a product of two reads, one of them at window positions. Of
// the other read and the result, one looks like weights: it has no dynamic dimension, or is the smaller. The variables
// that stand alone in the weights and in one activation, not in the other (as a batch does), are the activation's
// channels: they go innermost. Tensors of one rank that are tied dimension by dimension (maps, pooling) take one order
// together, the one with most elements behind it.

typedef struct Layout {
    Program *p;
    Job *job;
    int *parent; // union-find over tensors
    bool *fixed; // stays row-major
    struct Wish {
        int tensor, order[MAX_RANK];
        int64_t weight;
    } * wish;
    int wishes;
} Layout;

static int find(Layout *l, int t) {
    while (l->parent[t] != t) t = l->parent[t] = l->parent[l->parent[t]];
    return t;
}

static void tie(Layout *l, int a, int b) {
    a = find(l, a);
    b = find(l, b);
    if (a < b) l->parent[b] = a;
    else l->parent[a] = b;
}

typedef struct Access { // a tensor with its positions in one equation
    const Tensor *tensor;
    const Position *position;
    bool window;
} Access;

static bool plain_at(const Access *a, int var) {
    for (int d = 0; d < a->tensor->rank; d++) {
        int v;
        if (position_is_var(&a->position[d], &v) && v == var) return true;
    }
    return false;
}

static void wish_for(Layout *l, const Access *a, const Access *weights, const Access *third) {
    const Tensor *t = a->tensor;
    if (t->kind != TENSOR_TEMP || t->rank < 3) return;
    struct Wish *w = &l->wish[l->wishes];
    int channels[MAX_RANK], count = 0, n = 0;
    for (int d = 0; d < t->rank; d++) {
        int var;
        if (position_is_var(&a->position[d], &var) && plain_at(weights, var) && !plain_at(third, var))
            channels[count++] = d;
        else w->order[n++] = d;
    }
    if (count == 0 || n == 0) return;
    for (int i = 0; i < count; i++) w->order[n++] = channels[i];
    w->tensor = t->id;
    w->weight = tensor_elements(l->p, t);
    l->wishes++;
}

static bool dynamic(const Tensor *t) {
    for (int d = 0; d < t->rank; d++)
        if (t->dim[d].axis >= 0) return true;
    return false;
}

// Reads of the product below e, at most `room`; -1 when it is no product of reads (casts and constant factors aside).
static int product_reads(const Expr *e, const Expr **read, int count, int room) {
    if (count < 0) return count;
    if (e->op == OP_CONST) return count;
    if (e->op == OP_READ) {
        if (count == room) return -1;
        read[count] = e;
        return count + 1;
    }
    if (e->op != OP_MUL && e->op != OP_NEG && e->op != OP_CAST && e->op != OP_DIV) return -1;
    for (int i = 0; i < e->arity; i++) count = product_reads(e->arg[i], read, count, room);
    return count;
}

static void wishes_of(Layout *l, const Equation *eq) {
    const Expr *read[2];
    if (eq->reduce != REDUCE_SUM || product_reads(eq->value, read, 0, 2) != 2) return;
    Position out[MAX_RANK];
    for (int d = 0; d < eq->free; d++) out[d] = position_var(d);
    Access access[3] = {{l->p->tensor.at[read[0]->tensor], read[0]->position, false},
                        {l->p->tensor.at[read[1]->tensor], read[1]->position, false},
                        {l->p->tensor.at[eq->out], out, false}};
    int window = -1;
    for (int i = 0; i < 2; i++)
        for (int d = 0; d < access[i].tensor->rank; d++)
            if (access[i].position[d].gather == NULL && access[i].position[d].terms > 1) {
                if (window >= 0 && window != i) return;
                window = i;
            }
    if (window < 0) return;
    int other = 1 - window, weights = other;
    bool dynamic_other = dynamic(access[other].tensor), dynamic_out = dynamic(access[2].tensor);
    if (dynamic_other && !dynamic_out) weights = 2;
    else if (dynamic_other == dynamic_out &&
             tensor_elements(l->p, access[2].tensor) < tensor_elements(l->p, access[other].tensor))
        weights = 2;
    for (int i = 0; i < 3; i++)
        if (i != weights) wish_for(l, &access[i], &access[weights], &access[3 - i - weights]);
}

// Ties the result to what it reads dimension by dimension: position d holds variable d and no other free variable.
static void tie_reads(Layout *l, const Equation *eq, const Expr *e) {
    for (int i = 0; i < e->arity; i++) tie_reads(l, eq, e->arg[i]);
    if (e->op != OP_READ || e->rank != eq->free || e->rank < 3) return;
    for (int d = 0; d < e->rank; d++) {
        const Position *p = &e->position[d];
        bool own = false;
        if (p->gather != NULL) return;
        for (int i = 0; i < p->terms; i++) {
            if (p->term[i].var >= eq->free) continue;
            if (p->term[i].var != d) return;
            own = true;
        }
        if (!own) return;
    }
    if (!l->fixed[e->tensor] && !l->fixed[eq->out]) tie(l, e->tensor, eq->out);
}

// A sum whose only reader permutes its dimensions is stored the way the reader wants it: the permutation costs nothing.
static void wishes_of_permutations(Layout *l) {
    int tensors = l->p->tensor.count;
    int *readers = NEW_ARRAY(l->p->arena, int, tensors);
    bool *sum = NEW_ARRAY(l->p->arena, bool, tensors);
    for (int i = 0; i < l->job->equation.count; i++) {
        const Equation *eq = l->job->equation.at[i];
        ExprList reads = {0};
        expr_reads(l->p->arena, eq->value, &reads);
        for (int r = 0; r < reads.count; r++) readers[reads.at[r]->tensor]++;
        sum[eq->out] = eq->kind == EQ_COMPUTE && eq->reduce == REDUCE_SUM;
    }
    for (int i = 0; i < l->job->equation.count; i++) {
        const Equation *eq = l->job->equation.at[i];
        const Expr *e = eq->value;
        if (eq->kind != EQ_COMPUTE || eq->reduce != REDUCE_NONE || e->op != OP_READ || e->rank != eq->free) continue;
        if (e->rank < 3 || readers[e->tensor] != 1 || !sum[e->tensor] || l->fixed[e->tensor]) continue;
        struct Wish w = {.tensor = e->tensor, .weight = tensor_elements(l->p, l->p->tensor.at[e->tensor])};
        int found = 0;
        for (int d = 0; d < e->rank; d++) {
            int var;
            if (!position_is_var(&e->position[d], &var)) break;
            w.order[var] = d;
            found++;
        }
        uint32_t seen = 0;
        for (int v = 0; v < e->rank; v++) seen |= 1u << w.order[v];
        if (found == e->rank && seen == (1u << e->rank) - 1) l->wish[l->wishes++] = w;
    }
}

static void choose_orders(Program *p, Job *job) {
    int tensors = p->tensor.count;
    Layout l = {.p = p, .job = job};
    l.parent = NEW_ARRAY(p->arena, int, tensors);
    l.fixed = NEW_ARRAY(p->arena, bool, tensors);
    l.wish = arena_alloc(p->arena, sizeof *l.wish * (size_t)(3 * job->equation.count + 1));
    for (int t = 0; t < tensors; t++) {
        l.parent[t] = t;
        l.fixed[t] = p->tensor.at[t]->kind != TENSOR_TEMP;
    }
    for (int i = 0; i < job->output.count; i++) l.fixed[job->output.at[i].tensor] = true;
    for (int i = 0; i < job->update.count; i++) l.fixed[job->update.at[i].source] = true;
    for (int i = 0; i < job->equation.count; i++) {
        const Equation *eq = job->equation.at[i];
        if (eq->kind != EQ_COMPUTE) l.fixed[eq->out] = true;
    }
    for (int i = 0; i < job->equation.count; i++) {
        const Equation *eq = job->equation.at[i];
        if (eq->kind != EQ_COMPUTE) continue;
        wishes_of(&l, eq);
        bool product = false; // a contraction mixes dimensions: only its wish counts
        for (int w = 0; w < l.wishes; w++) product |= l.wish[w].tensor == eq->out && eq->reduce == REDUCE_SUM;
        if (!product) tie_reads(&l, eq, eq->value);
    }
    wishes_of_permutations(&l);
    // Each set of tied tensors takes the order with the largest weight; the first among equals.
    for (int root = 0; root < tensors; root++) {
        if (find(&l, root) != root) continue;
        int best = -1;
        int64_t best_weight = 0;
        for (int w = 0; w < l.wishes; w++) {
            if (find(&l, l.wish[w].tensor) != root) continue;
            int64_t weight = 0;
            for (int v = 0; v < l.wishes; v++)
                if (find(&l, l.wish[v].tensor) == root &&
                    memcmp(l.wish[v].order, l.wish[w].order, sizeof l.wish[w].order) == 0)
                    weight += l.wish[v].weight;
            if (weight <= best_weight) continue;
            best = w;
            best_weight = weight;
        }
        if (best < 0) continue;
        for (int t = 0; t < tensors; t++)
            if (!l.fixed[t] && find(&l, t) == root && p->tensor.at[t]->rank == p->tensor.at[l.wish[best].tensor]->rank)
                memcpy(p->tensor.at[t]->order, l.wish[best].order, sizeof(int) * (size_t)p->tensor.at[t]->rank);
    }
}

void layout_job(Program *p, Job *job) {
    hoist_job(p, job);
    own_sources(p, job);
    choose_orders(p, job);
    copy_for_views(p, job);
}
