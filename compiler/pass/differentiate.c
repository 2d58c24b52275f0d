// Reverse-mode differentiation, equations to equations.
// requires: verified equations; leaves: every gradient request of the job replaced by equations that define its tensor,
// placed right after the loss; forward equations untouched.
//
// For each equation on a path from a requested tensor to the loss, in reverse: the adjoint of its tensor is seeded
// through the reduction (sum: broadcast; max, min: the first extreme, by an argmax equation; prod: the product of the
// others), pushed through the expression by the rules of derivatives.c, and the adjoint of each read is inverted by
// invert.c into an equation over the tensor that was read. Summands of one adjoint are added in a fixed order.
#include "pass/gradient.h"
#include "pass/pass.h"

typedef struct Adjoint {
    int tensor;     // that holds it, or -1
    Expr *constant; // when every element is this constant or number of rank 0
} Adjoint;

typedef struct Leaf { // a read of the equation being differentiated and its adjoint so far
    Expr *read, *adjoint;
} Leaf;

typedef struct Pass {
    Gradient g;
    bool *depends;     // by tensor: varies with a requested tensor, differentiably
    Adjoint *adjoint;  // by tensor
    int *request;      // by tensor: gradient tensor to define, or -1
    int *first_reader; // by tensor: the first equation on the path that reads it, or -1
    ExprMap active;    // memo: expression varies with a requested tensor
} Pass;

Tensor *gradient_temp(Gradient *g, const char *base, const char *suffix, ElementType type, int rank,
                      const Extent *dim) {
    char *name = arena_format(g->arena, "%s.%s", base != NULL && *base != 0 ? base : "value", suffix);
    return program_tensor(g->p, TENSOR_TEMP, g->p->names != NULL ? intern_z(g->p->names, name) : name, type, rank, dim);
}

static const bool has_rule[OP_COUNT] = {
#define X(name, text, arity, result, differentiable) differentiable,
    SCALAR_OPS(X)
#undef X
};

// ---- what varies
static bool is_active(Pass *pass, const Expr *e) {
    if (e->type != T_REAL || !has_rule[e->op]) return false;
    if (e->op == OP_READ) return e->tensor < pass->g.tensors && pass->depends[e->tensor];
    uintptr_t known = (uintptr_t)expr_map_get(&pass->active, e);
    if (known != 0) return known == 2;
    bool active = false;
    for (int i = 0; i < e->arity; i++) active = is_active(pass, e->arg[i]) || active;
    expr_map_put(&pass->active, e, (void *)(uintptr_t)(active ? 2 : 1));
    return active;
}

static bool passes_gradient(Reduce r) {
    return r != REDUCE_ARGMAX && r != REDUCE_ARGMIN;
}

// ---- through an expression
typedef struct Sweep {
    Pass *pass;
    Expr *root, *root_value; // value of the root that need not be computed again, or NULL
    VEC(Leaf) leaf;
} Sweep;

// Inside an arm that is not chosen these can yield infinities that a zero adjoint does not cancel.
static bool can_overflow(ScalarOp op) {
    switch (op) {
    case OP_DIV:
    case OP_POW:
    case OP_SQRT:
    case OP_RSQRT:
    case OP_EXP:
    case OP_EXPM1:
    case OP_LOG:
    case OP_LOG1P:
    case OP_LGAMMA:
    case OP_ATAN2: return true;
    default: return false;
    }
}

typedef struct Danger {
    Pass *pass;
    bool found;
} Danger;

static void look_for_danger(void *context, Expr *e) {
    Danger *d = context;
    if (can_overflow(e->op) && is_active(d->pass, e)) d->found = true;
}

static bool arm_is_dangerous(Pass *pass, Expr *arm) {
    Danger d = {pass, false};
    expr_walk(pass->g.arena, arm, look_for_danger, &d);
    return d.found;
}

static void add_leaf(Sweep *s, Expr *read, Expr *adjoint) {
    if (adjoint == NULL) return;
    for (int i = 0; i < s->leaf.count; i++) {
        if (s->leaf.at[i].read != read) continue;
        s->leaf.at[i].adjoint = add(s->pass->g.job, s->leaf.at[i].adjoint, adjoint);
        return;
    }
    Leaf l = {read, adjoint};
    vec_push(s->pass->g.arena, &s->leaf, l);
}

typedef struct Order {
    Expr **at;
    int count, room;
} Order;

// Active nodes below `e`, arguments first. The arms of a select that could overflow are swept on their own.
static void order_nodes(Pass *pass, ExprMap *seen, Expr *e, Order *order) {
    if (!is_active(pass, e) || expr_map_get(seen, e) != NULL) return;
    expr_map_put(seen, e, e);
    for (int i = 0; i < e->arity; i++)
        if (!(e->op == OP_SELECT && arm_is_dangerous(pass, e->arg[i]))) order_nodes(pass, seen, e->arg[i], order);
    vec_push(pass->g.arena, order, e);
}

static void sweep(Sweep *s, Expr *root, Expr *seed);

// The adjoints of an arm's reads, each zero unless the arm is chosen.
static void sweep_arm(Sweep *s, Expr *arm, Expr *chosen, Expr *g) {
    Sweep inner = {.pass = s->pass};
    sweep(&inner, arm, g);
    for (int i = 0; i < inner.leaf.count; i++)
        add_leaf(s, inner.leaf.at[i].read, where(s->pass->g.job, chosen, inner.leaf.at[i].adjoint));
}

static void sweep(Sweep *s, Expr *root, Expr *seed) {
    Pass *pass = s->pass;
    Job *job = pass->g.job;
    Order order = {0};
    ExprMap seen = {.arena = pass->g.arena}, adjoint = {.arena = pass->g.arena};
    order_nodes(pass, &seen, root, &order);
    expr_map_put(&adjoint, root, seed);
    for (int n = order.count - 1; n >= 0; n--) {
        Expr *e = order.at[n], *g = expr_map_get(&adjoint, e);
        if (g == NULL) continue;
        if (e->op == OP_READ) {
            add_leaf(s, e, g);
            continue;
        }
        bool want[3] = {false, false, false};
        Expr *out[3] = {NULL, NULL, NULL};
        for (int i = 0; i < e->arity; i++) {
            want[i] = is_active(pass, e->arg[i]);
            if (!want[i] || e->op != OP_SELECT || !arm_is_dangerous(pass, e->arg[i])) continue;
            Expr *chosen = i == 1 ? e->arg[0] : expr_op(job, OP_NOT, e->arg[0], NULL, NULL);
            sweep_arm(s, e->arg[i], chosen, g);
            want[i] = false;
        }
        Expr *y = e == s->root && s->root_value != NULL ? s->root_value : e;
        if (!derivative(job, e, y, g, want, out))
            DIE("primitive %d is marked differentiable and has no rule", (int)e->op);
        for (int i = 0; i < e->arity; i++)
            if (want[i] && out[i] != NULL)
                expr_map_put(&adjoint, e->arg[i], add(job, expr_map_get(&adjoint, e->arg[i]), out[i]));
    }
}

// ---- through an equation
static Expr *read_adjoint(Pass *pass, int tensor, const Position *at) {
    Adjoint a = pass->adjoint[tensor];
    return a.constant != NULL ? a.constant : expr_read(pass->g.job, pass->g.p->tensor.at[a.tensor], at, NO_SPAN);
}

static Equation *emit(Pass *pass, const Equation *like, const Tensor *out) {
    Equation *made = equation_alone(pass->g.job, EQ_COMPUTE, out, like);
    vec_push(pass->g.arena, &pass->g.made, made);
    return made;
}

// An equation over the free variables of `eq` that reduces `value` over its reduced ones; read at the free variables.
static Expr *emit_reduction(Pass *pass, const Equation *eq, const char *suffix, Reduce reduce, ElementType type,
                            Expr *value) {
    const Tensor *y = pass->g.p->tensor.at[eq->out];
    const Tensor *t = gradient_temp(&pass->g, y->name, suffix, type, y->rank, y->dim);
    Equation *made = emit(pass, eq, t);
    made->vars = eq->vars;
    for (int i = 0; i < eq->vars; i++) made->var[i] = eq->var[i];
    made->reduce = reduce;
    made->value = value;
    return read_whole(pass->g.job, t);
}

// Row-major number of the point among the reduced variables.
static Expr *reduced_number(Job *job, const Equation *eq) {
    Expr *n = NULL;
    for (int i = eq->free; i < eq->vars; i++) {
        Expr *x = expr_index(job, i);
        if (n != NULL)
            x = expr_op(job, OP_IADD, expr_op(job, OP_IMUL, n, int_extent(job, eq->var[i].extent), NULL), x, NULL);
        n = x;
    }
    return n == NULL ? int_const(job, 0) : n;
}

// d prod / d v(r) is the product of the others: also where some are zero, so not y / v alone.
static Expr *product_of_others(Pass *pass, const Equation *eq, Expr *value) {
    Job *job = pass->g.job;
    Expr *zero = expr_op(job, OP_EQ, value, real(job, 0), NULL), *one = real(job, 1);
    Expr *zeros = emit_reduction(pass, eq, "zeros", REDUCE_SUM, T_REAL, where(job, zero, one));
    Expr *rest =
        emit_reduction(pass, eq, "nonzero_product", REDUCE_PROD, T_REAL, expr_op(job, OP_SELECT, zero, one, value));
    Expr *at_zero = where(job, expr_op(job, OP_EQ, zeros, one, NULL), rest);
    Expr *elsewhere =
        where(job, expr_op(job, OP_EQ, zeros, real(job, 0), NULL), expr_op(job, OP_DIV, rest, value, NULL));
    return expr_op(job, OP_SELECT, zero, at_zero, elsewhere);
}

// A random number is keyed by the element of the equation it stands in. The adjoint equations run over other variables,
// so they read it from a tensor.
typedef struct Drawn {
    Pass *pass;
    const Equation *eq;
    VEC(Expr *) random;
} Drawn;

static void collect_random(void *context, Expr *e) {
    Drawn *d = context;
    if (e->op == OP_RANDOM) vec_push(d->pass->g.arena, &d->random, e);
}

static Expr *replace_expr(Job *job, ExprMap *done, Expr *e) {
    Expr *known = expr_map_get(done, e);
    if (known != NULL) return known;
    Expr *made = e;
    if (e->op == OP_READ) {
        Position at[MAX_RANK];
        for (int i = 0; i < e->rank; i++) {
            at[i] = e->position[i];
            if (at[i].gather != NULL) at[i].gather = replace_expr(job, done, at[i].gather);
        }
        Tensor like = {.id = e->tensor, .type = e->type, .rank = e->rank};
        made = expr_read(job, &like, at, e->span);
    } else if (e->arity > 0) {
        Expr *arg[3] = {NULL, NULL, NULL};
        for (int i = 0; i < e->arity; i++) arg[i] = replace_expr(job, done, e->arg[i]);
        made = e->op == OP_CAST ? expr_cast(job, e->type, arg[0]) : expr_op(job, e->op, arg[0], arg[1], arg[2]);
    }
    expr_map_put(done, e, made);
    return made;
}

static bool read_identically(const Pass *pass, const Equation *eq, const Expr *read) {
    const Tensor *t = pass->g.p->tensor.at[read->tensor];
    if (eq->kind != EQ_COMPUTE || eq->reduce != REDUCE_NONE || eq->free != t->rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (!extent_same(t->dim[i], eq->var[i].extent)) return false;
    return positions_whole(read->position, t->rank);
}

static Expr *without_random(Pass *pass, const Equation *eq, Expr *adjoint) {
    Drawn d = {.pass = pass, .eq = eq};
    expr_walk(pass->g.arena, adjoint, collect_random, &d);
    if (d.random.count == 0) return adjoint;
    int rank = eq->kind == EQ_SCATTER ? eq->vars : eq->free;
    if (rank > MAX_RANK) return NULL;
    Extent dim[MAX_RANK];
    for (int i = 0; i < rank; i++) dim[i] = eq->var[i].extent;
    ExprMap done = {.arena = pass->g.arena};
    for (int i = 0; i < d.random.count; i++) {
        const Tensor *t = gradient_temp(&pass->g, pass->g.p->tensor.at[eq->out]->name, "drawn", T_REAL, rank, dim);
        emit(pass, eq, t)->value = d.random.at[i];
        expr_map_put(&done, d.random.at[i], read_whole(pass->g.job, t));
    }
    return replace_expr(pass->g.job, &done, adjoint);
}

static void push_view(Pass *pass, const Equation *eq) {
    const Tensor *from = pass->g.p->tensor.at[eq->value->tensor];
    Adjoint a = pass->adjoint[eq->out];
    Contribution c = {.value = a.constant};
    if (a.constant == NULL) {
        Position zero[MAX_RANK];
        for (int i = 0; i < MAX_RANK; i++) zero[i] = position_const(0);
        c.equation = equation_alone(pass->g.job, EQ_VIEW, from, eq);
        c.equation->value = expr_read(pass->g.job, pass->g.p->tensor.at[a.tensor], zero, NO_SPAN);
        vec_push(pass->g.arena, &pass->g.made, c.equation);
    }
    vec_push(pass->g.arena, &pass->g.of[from->id], c);
}

// False: an equation draws random numbers over more variables than a tensor can have dimensions.
static bool push_equation(Pass *pass, const Equation *eq) {
    Job *job = pass->g.job;
    if (eq->kind == EQ_VIEW) {
        push_view(pass, eq);
        return true;
    }
    Position at[MAX_RANK];
    for (int i = 0; i < eq->free && i < MAX_RANK; i++) at[i] = position_var(i);
    Expr *value = eq->value;
    Expr *seed = read_adjoint(pass, eq->out, eq->kind == EQ_SCATTER ? eq->target : at);
    if (eq->kind == EQ_SCATTER && pass->adjoint[eq->out].constant != NULL) {
        // Elements that fall outside were dropped: read ones, which are zero there too.
        const Tensor *y = pass->g.p->tensor.at[eq->out];
        const Tensor *ones = gradient_temp(&pass->g, y->name, "grad", T_REAL, y->rank, y->dim);
        emit(pass, eq, ones)->value = pass->adjoint[eq->out].constant;
        seed = expr_read(job, ones, eq->target, NO_SPAN);
    }
    switch (eq->reduce) {
    case REDUCE_MAX:
    case REDUCE_MIN: {
        Reduce arg = eq->reduce == REDUCE_MAX ? REDUCE_ARGMAX : REDUCE_ARGMIN;
        Expr *first = emit_reduction(pass, eq, "first", arg, T_I32, value);
        seed = where(job, expr_op(job, OP_EQ, reduced_number(job, eq), first, NULL), seed);
        break;
    }
    case REDUCE_PROD: seed = mul(job, seed, product_of_others(pass, eq, value)); break;
    default: break;
    }
    Sweep s = {.pass = pass, .root = value};
    if (eq->kind == EQ_COMPUTE && eq->reduce == REDUCE_NONE && value->arity > 0)
        s.root_value = read_whole(job, pass->g.p->tensor.at[eq->out]);
    sweep(&s, value, seed);
    for (int i = 0; i < s.leaf.count; i++) {
        Expr *read = s.leaf.at[i].read, *adjoint = s.leaf.at[i].adjoint;
        if (read_identically(pass, eq, read)) {
            Contribution c = {.value = adjoint};
            vec_push(pass->g.arena, &pass->g.of[read->tensor], c);
            continue;
        }
        adjoint = without_random(pass, eq, adjoint);
        if (adjoint == NULL) return false;
        gradient_contribute(&pass->g, eq, read, adjoint);
    }
    return true;
}

// ---- accumulation
static Tensor *adjoint_tensor(Pass *pass, int t) {
    if (pass->request[t] >= 0) return pass->g.p->tensor.at[pass->request[t]];
    const Tensor *of = pass->g.p->tensor.at[t];
    Tensor *made = gradient_temp(&pass->g, of->name, "grad", T_REAL, of->rank, of->dim);
    for (int i = 0; i < of->rank; i++) made->axis[i] = of->axis[i];
    return made;
}

// All summands of the adjoint of t are known: gives it a tensor, or a constant when nothing asks for a tensor.
static void settle(Pass *pass, int t, const Equation *like) {
    Contributions *c = &pass->g.of[t];
    Adjoint *a = &pass->adjoint[t];
    const Tensor *of = pass->g.p->tensor.at[t];
    bool wanted = pass->request[t] >= 0;
    if (c->count == 0 && !wanted) return;
    if (c->count == 1 && c->at[0].equation != NULL) {
        a->tensor = adjoint_tensor(pass, t)->id;
        c->at[0].equation->out = a->tensor;
        return;
    }
    Expr *sum = NULL;
    for (int i = 0; i < c->count; i++) {
        Expr *value = c->at[i].value;
        if (c->at[i].equation != NULL) {
            const Tensor *part = gradient_temp(&pass->g, of->name, "part", T_REAL, of->rank, of->dim);
            c->at[i].equation->out = part->id;
            value = read_whole(pass->g.job, part);
        }
        sum = add(pass->g.job, sum, value);
    }
    if (sum == NULL) sum = real(pass->g.job, 0);
    if (!wanted && (sum->op == OP_CONST || (sum->op == OP_READ && sum->rank == 0 && of->rank > 0))) {
        a->constant = sum;
        return;
    }
    if (!wanted && sum->op == OP_READ && positions_whole(sum->position, sum->rank) && sum->rank == of->rank) {
        const Tensor *same = pass->g.p->tensor.at[sum->tensor];
        bool alike = true;
        for (int i = 0; i < of->rank; i++) alike = alike && extent_same(same->dim[i], of->dim[i]);
        if (alike) {
            a->tensor = sum->tensor;
            return;
        }
    }
    Tensor *out = adjoint_tensor(pass, t);
    emit(pass, like, out)->value = sum;
    a->tensor = out->id;
}

// Which tensors vary with a request, and which equations lie between them and the loss.
static bool *mark_path(Pass *pass, int last) {
    Job *job = pass->g.job;
    for (int i = 0; i < job->gradient.count; i++) pass->depends[job->gradient.at[i].target] = true;
    for (int k = 0; k <= last; k++) {
        const Equation *eq = job->equation.at[k];
        bool varies = eq->kind == EQ_VIEW ? pass->depends[eq->value->tensor]
                                          : passes_gradient(eq->reduce) && is_active(pass, eq->value);
        if (varies && pass->g.p->tensor.at[eq->out]->type == T_REAL) pass->depends[eq->out] = true;
    }
    bool *reaches = NEW_ARRAY(pass->g.arena, bool, pass->g.tensors + 1);
    bool *on_path = NEW_ARRAY(pass->g.arena, bool, last + 2);
    reaches[job->loss] = pass->depends[job->loss];
    for (int k = last; k >= 0; k--) {
        Equation *eq = job->equation.at[k];
        if (!reaches[eq->out] || !pass->depends[eq->out]) continue;
        on_path[k] = true;
        if (eq->kind == EQ_VIEW) {
            reaches[eq->value->tensor] = true;
            pass->first_reader[eq->value->tensor] = k;
            continue;
        }
        Order order = {0};
        ExprMap seen = {.arena = pass->g.arena};
        Order stack = {0};
        vec_push(pass->g.arena, &stack, eq->value);
        while (stack.count > 0) { // every active read, those in arms of selects too
            Expr *e = stack.at[--stack.count];
            if (!is_active(pass, e) || expr_map_get(&seen, e) != NULL) continue;
            expr_map_put(&seen, e, e);
            if (e->op == OP_READ) vec_push(pass->g.arena, &order, e);
            for (int i = 0; i < e->arity; i++) vec_push(pass->g.arena, &stack, e->arg[i]);
        }
        for (int i = 0; i < order.count; i++) {
            reaches[order.at[i]->tensor] = true;
            pass->first_reader[order.at[i]->tensor] = k;
        }
    }
    return on_path;
}

static bool emit_path(Pass *pass, int last, Diagnostics *d) {
    Job *job = pass->g.job;
    Program *p = pass->g.p;
    bool *on_path = mark_path(pass, last);
    int *definer = NEW_ARRAY(pass->g.arena, int, pass->g.tensors + 1);
    for (int t = 0; t < pass->g.tensors; t++) definer[t] = -1;
    for (int k = 0; k <= last; k++) definer[job->equation.at[k]->out] = k;
    Contribution one = {.value = real(job, 1)};
    vec_push(pass->g.arena, &pass->g.of[job->loss], one);
    const Equation *end = job->equation.at[last];
    // A requested tensor that the loss does not vary with has gradient zero; the loss itself, one.
    if (!on_path[last]) settle(pass, job->loss, end);
    for (int k = last; k >= 0; k--) {
        if (!on_path[k]) continue;
        const Equation *eq = job->equation.at[k];
        settle(pass, eq->out, eq);
        bool zero = pass->adjoint[eq->out].tensor < 0 && pass->adjoint[eq->out].constant == NULL; // products with 0
        if (!zero && !push_equation(pass, eq)) {
            report_error(d, eq->span, "random-rank",
                         "an equation that draws random numbers over %d indices cannot be differentiated; at most %d",
                         eq->vars, MAX_RANK);
            report_help(d, "draw the numbers in an equation of their own");
            return false;
        }
        for (int t = 0; t < pass->g.tensors; t++) { // leaves whose last summand this was
            bool computed = definer[t] >= 0 && on_path[definer[t]];
            if (pass->first_reader[t] == k && !computed && pass->request[t] >= 0) settle(pass, t, eq);
        }
    }
    for (int i = 0; i < job->gradient.count; i++) {
        Update r = job->gradient.at[i];
        if (pass->request[r.target] != r.source) { // asked for twice
            emit(pass, end, p->tensor.at[r.source])->value = read_whole(job, p->tensor.at[pass->request[r.target]]);
        } else if (pass->adjoint[r.target].tensor < 0 && pass->adjoint[r.target].constant == NULL) {
            settle(pass, r.target, end);
        }
    }
    return true;
}

bool differentiate(Program *p, Job *job, Diagnostics *d) {
    if (job->gradient.count == 0) return true;
    int last = -1;
    for (int k = 0; k < job->equation.count; k++)
        if (job->equation.at[k]->out == job->loss) last = k;
    if (job->loss < 0 || last < 0) {
        report_error(d, NO_SPAN, "no-loss", "job %s asks for gradients and computes no loss", job->name);
        return false;
    }
    Pass *pass = NEW(job->arena, Pass);
    int n = p->tensor.count;
    pass->g = (Gradient){.p = p, .job = job, .arena = job->arena, .vars = {.arena = job->arena}, .tensors = n};
    pass->active.arena = job->arena;
    pass->g.of = NEW_ARRAY(job->arena, Contributions, n + 1);
    pass->depends = NEW_ARRAY(job->arena, bool, n + 1);
    pass->adjoint = NEW_ARRAY(job->arena, Adjoint, n + 1);
    pass->request = NEW_ARRAY(job->arena, int, n + 1);
    pass->first_reader = NEW_ARRAY(job->arena, int, n + 1);
    for (int t = 0; t < n; t++) pass->adjoint[t].tensor = pass->request[t] = pass->first_reader[t] = -1;
    for (int i = 0; i < job->gradient.count; i++) {
        Update r = job->gradient.at[i];
        if (pass->request[r.target] < 0) pass->request[r.target] = r.source;
    }
    if (!emit_path(pass, last, d)) return false;
    // The new equations go right behind the loss: the optimizer's, which read the gradients, stand after it.
    int made = pass->g.made.count, old = job->equation.count;
    for (int i = 0; i < made; i++) vec_push(job->arena, &job->equation, NULL);
    for (int k = old - 1; k > last; k--) job->equation.at[k + made] = job->equation.at[k];
    for (int i = 0; i < made; i++) job->equation.at[last + 1 + i] = pass->g.made.at[i];
    job->gradient.count = 0;
    return true;
}
