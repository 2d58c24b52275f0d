// Adjoints of reads in pull form. A read x[p(v)] inside an equation over variables v has the adjoint
//   xbar[J] = sum over all v with p(v) = J of adjoint(v),
// and this file solves p(v) = J for as many variables as it can: the others stay as summed variables. A window becomes
// the mirrored window, a tiling s*i + u becomes i = J // s, u = J % s, equal or constant positions become conditions.
// What cannot be solved (gathers, quotients of several variables) becomes a SCATTER equation.
#include "pass/invert.h"

typedef VEC(Expr *) Exprs;

// ---- substitution of the solution
static bool form_position(const Inversion *s, const Form *f, Position *out) {
    *out = (Position){.offset = f->sum.offset, .divide = f->divide, .modulo = f->modulo, .exact = f->exact};
    for (int i = 0; i < IDS; i++) {
        if (f->sum.coef[i] == 0) continue;
        if (out->terms == 4) return false;
        EXPECT(s->number[i] >= 0);
        out->term[out->terms++] = (Term){s->number[i], f->sum.coef[i]};
    }
    return true;
}

static bool same_sum(const Position *a, const Position *b) {
    if (a->terms != b->terms) return false;
    for (int k = 0; k < a->terms; k++)
        if (a->term[k].var != b->term[k].var || a->term[k].coef != b->term[k].coef) return false;
    return true;
}

// The value of position q of the old equation in terms of the new one.
static bool substitute_form(const Inversion *s, const Position *q, Form *out) {
    // Where the tensor itself was read at p = J, the same sum elsewhere is J too.
    for (int d = 0; d < s->x->rank; d++) {
        const Position *p = &s->read->position[d];
        if (p->gather != NULL || q->terms == 0 || !same_sum(p, q)) continue;
        bool equal = p->offset == q->offset && p->divide == q->divide && p->modulo == q->modulo && p->exact == q->exact;
        if (!equal && (p->divide > 1 || p->modulo > 0)) continue;
        Form f = form_of(DIM + d);
        if (!equal) {
            f.sum.offset = q->offset - p->offset;
            f.divide = q->divide;
            f.modulo = q->modulo;
            f.exact = q->exact;
        }
        *out = f;
        return true;
    }
    int var;
    if (position_is_var(q, &var)) {
        *out = s->form[var];
        return true;
    }
    // One variable with a quotient for a form can be joined: (A//s) + rest = (A + s*rest)//s.
    Form f = {.divide = q->divide, .modulo = q->modulo, .exact = q->exact};
    const Term *quotient = NULL;
    for (int k = 0; k < q->terms; k++) {
        const Form *v = &s->form[q->term[k].var];
        if (form_is_affine(v)) continue;
        if (quotient != NULL || v->modulo > 0 || q->divide > 1 || q->modulo > 0) return false;
        if (!v->exact && q->term[k].coef != 1) return false;
        quotient = &q->term[k];
        f.divide = v->divide;
        f.exact = v->exact;
    }
    int64_t scale = quotient != NULL ? f.divide : 1;
    f.sum.offset = q->offset * scale;
    for (int k = 0; k < q->terms; k++)
        affine_add(&f.sum, &s->form[q->term[k].var].sum, q->term[k].coef * (&q->term[k] == quotient ? 1 : scale));
    *out = f;
    return true;
}

static bool substitute_position(const Inversion *s, const Position *q, Position *out) {
    Form f;
    return substitute_form(s, q, &f) && form_position(s, &f, out);
}

// Integer arithmetic on indices that could stand in a position.
static bool affine_of(const Expr *e, int64_t times, Position *p) {
    switch (e->op) {
    case OP_CONST: p->offset += times * (int64_t)e->number; return true;
    case OP_INDEX:
        for (int k = 0; k < p->terms; k++) {
            if (p->term[k].var != e->var) continue;
            p->term[k].coef += times;
            return true;
        }
        if (p->terms == 4) return false;
        p->term[p->terms++] = (Term){e->var, times};
        for (int k = p->terms - 1; k > 0 && p->term[k - 1].var > p->term[k].var; k--) {
            Term t = p->term[k];
            p->term[k] = p->term[k - 1];
            p->term[k - 1] = t;
        }
        return true;
    case OP_IADD: return affine_of(e->arg[0], times, p) && affine_of(e->arg[1], times, p);
    case OP_ISUB: return affine_of(e->arg[0], times, p) && affine_of(e->arg[1], -times, p);
    case OP_IMUL:
        if (e->arg[0]->op == OP_CONST) return affine_of(e->arg[1], times * (int64_t)e->arg[0]->number, p);
        if (e->arg[1]->op == OP_CONST) return affine_of(e->arg[0], times * (int64_t)e->arg[1]->number, p);
        return false;
    default: return false;
    }
}

static Expr *affine_expr(const Inversion *s, const Affine *a) {
    Expr *sum = NULL;
    for (int i = 0; i < IDS; i++) {
        if (a->coef[i] == 0) continue;
        Expr *x = expr_index(s->job, s->number[i]);
        if (a->coef[i] != 1) x = expr_op(s->job, OP_IMUL, int_const(s->job, a->coef[i]), x, NULL);
        sum = sum == NULL ? x : expr_op(s->job, OP_IADD, sum, x, NULL);
    }
    if (sum == NULL) return int_const(s->job, a->offset);
    return a->offset == 0 ? sum : expr_op(s->job, OP_IADD, sum, int_const(s->job, a->offset), NULL);
}

static Expr *form_expr(const Inversion *s, const Form *f) {
    Expr *x = affine_expr(s, &f->sum);
    if (f->divide > 1) x = expr_op(s->job, OP_IDIV, x, int_const(s->job, f->divide), NULL);
    if (f->modulo > 0) x = expr_op(s->job, OP_IMOD, x, int_const(s->job, f->modulo), NULL);
    return x;
}

// `e` over the variables of the new equation, or NULL when a position cannot be written.
static Expr *substitute(Inversion *s, Expr *e) {
    if (e->op == OP_INDEX) return form_expr(s, &s->form[e->var]);
    if (e->arity == 0 && e->op != OP_READ) return e;
    Expr *known = expr_map_get(&s->substituted, e);
    if (known != NULL) return known;
    Expr *made, *arg[3] = {NULL, NULL, NULL};
    Position sum = {.divide = 1};
    Form f;
    if (e->type == T_I32 && e->op != OP_READ && affine_of(e, 1, &sum) && substitute_form(s, &sum, &f)) {
        made = form_expr(s, &f);
    } else if (e->op == OP_READ) {
        Position at[MAX_RANK];
        for (int i = 0; i < e->rank; i++) {
            const Position *q = &e->position[i];
            if (q->gather != NULL) {
                at[i] = (Position){.divide = 1, .gather = substitute(s, q->gather)};
                if (at[i].gather == NULL) return NULL;
            } else if (!substitute_position(s, q, &at[i])) {
                return NULL;
            }
        }
        made = expr_read(s->job, s->g->p->tensor.at[e->tensor], at, e->span);
    } else {
        for (int i = 0; i < e->arity; i++)
            if ((arg[i] = substitute(s, e->arg[i])) == NULL) return NULL;
        made = e->op == OP_CAST ? expr_cast(s->job, e->type, arg[0]) : expr_op(s->job, e->op, arg[0], arg[1], arg[2]);
    }
    expr_map_put(&s->substituted, e, made);
    return made;
}

// Variables of the new equation that `e`, over the old ones, will use.
static uint32_t new_vars(Inversion *s, Expr *e) {
    Expr *made = substitute(s, e);
    if (made != NULL) return expr_vars(&s->g->vars, made);
    uint32_t old = expr_vars(&s->g->vars, e), vars = 0;
    for (int v = 0; v < s->eq->vars; v++)
        for (int i = 0; (old & 1u << v) && i < IDS; i++)
            if (s->form[v].sum.coef[i] != 0) vars |= 1u << s->number[i];
    return vars;
}

// ---- products
typedef struct Product {
    double coef;
    Exprs factor, mask; // masks are conditions: where one is false the product is zero
} Product;

static void flatten(Inversion *s, Expr *e, Product *p) {
    Arena *a = s->g->arena;
    if (e->op == OP_CONST) {
        p->coef *= e->number;
    } else if (e->op == OP_NEG) {
        p->coef = -p->coef;
        flatten(s, e->arg[0], p);
    } else if (e->op == OP_MUL) {
        flatten(s, e->arg[0], p);
        flatten(s, e->arg[1], p);
    } else if (e->op == OP_DIV && e->arg[1]->op != OP_CONST) {
        flatten(s, e->arg[0], p);
        vec_push(a, &p->factor, expr_op(s->job, OP_DIV, real(s->job, 1), e->arg[1], NULL));
    } else if (e->op == OP_SELECT && is_const(e->arg[2], 0)) {
        vec_push(a, &p->mask, e->arg[0]);
        flatten(s, e->arg[1], p);
    } else {
        vec_push(a, &p->factor, e);
    }
}

static bool heavy_op(ScalarOp op) {
    switch (op) {
    case OP_DIV:
    case OP_POW:
    case OP_SQRT:
    case OP_RSQRT:
    case OP_EXP:
    case OP_EXPM1:
    case OP_LOG:
    case OP_LOG1P:
    case OP_SIN:
    case OP_COS:
    case OP_TANH:
    case OP_SIGMOID:
    case OP_ERF:
    case OP_LGAMMA:
    case OP_DIGAMMA:
    case OP_ATAN2:
    case OP_RANDOM: return true;
    default: return false;
    }
}

static void find_heavy(void *context, Expr *e) {
    if (heavy_op(e->op)) *(bool *)context = true;
}

static bool is_heavy(const Inversion *s, Expr *e) {
    bool heavy = false;
    expr_walk(s->g->arena, e, find_heavy, &heavy);
    return heavy;
}

static double bound_of(const Inversion *s, Extent e) {
    return (double)e.count * (e.axis >= 0 ? (double)s->g->p->axis.at[e.axis].count : 1.0);
}

static double tensor_bound(const Inversion *s, const Tensor *t) {
    double n = 1;
    for (int i = 0; i < t->rank; i++) n *= bound_of(s, t->dim[i]);
    return n;
}

typedef struct Largest {
    const Inversion *s;
    double elements;
} Largest;

static void find_largest(void *context, Expr *e) {
    Largest *l = context;
    if (e->op != OP_READ) return;
    double n = tensor_bound(l->s, l->s->g->p->tensor.at[e->tensor]);
    if (n > l->elements) l->elements = n;
}

// A temporary that holds `e` over the variables it uses, read at these; NULL when it would be of too high a rank or,
// unless `forced`, much larger than what it is made of.
static Expr *materialise(Inversion *s, Expr *e, bool forced) {
    uint32_t vars = expr_vars(&s->g->vars, e);
    int rank = __builtin_popcount(vars), map[MAX_VARS], n = 0;
    if (rank > MAX_RANK) return NULL;
    Extent dim[MAX_RANK];
    Position at[MAX_RANK];
    double size = 1;
    for (int v = 0; v < s->eq->vars; v++) {
        map[v] = -1;
        if (!(vars & 1u << v)) continue;
        dim[n] = s->eq->var[v].extent;
        at[n] = position_var(v);
        size *= bound_of(s, dim[n]);
        map[v] = n++;
    }
    const Tensor *y = s->g->p->tensor.at[s->eq->out];
    Largest l = {s, tensor_bound(s, y)};
    expr_walk(s->g->arena, e, find_largest, &l);
    if (!forced && size > 4 * l.elements) return NULL;
    const Tensor *t = gradient_temp(s->g, y->name, "slope", e->type, rank, dim);
    Equation *made = equation_alone(s->job, EQ_COMPUTE, t, s->eq);
    made->value = expr_rename(s->job, e, map);
    for (int v = 0; v < s->eq->vars; v++)
        if (map[v] >= 0) made->var[map[v]].name = s->eq->var[v].name;
    vec_push(s->g->arena, &s->g->made, made);
    return expr_read(s->job, t, at, NO_SPAN);
}

static Expr *product_of(Job *job, const Exprs *factor) {
    Expr *all = NULL;
    for (int i = 0; i < factor->count; i++) all = all == NULL ? factor->at[i] : mul(job, all, factor->at[i]);
    return all == NULL ? real(job, 1) : all;
}

static Expr *conditions_of(Job *job, const Exprs *mask) {
    Expr *all = NULL;
    for (int i = 0; i < mask->count; i++) all = all_of(job, all, mask->at[i]);
    return all;
}

// Takes the elements over a subset of `vars` out of `from`.
static Exprs take_below(Inversion *s, Exprs *from, uint32_t vars) {
    Exprs taken = {0};
    int left = 0;
    for (int i = 0; i < from->count; i++) {
        if (expr_vars(&s->g->vars, from->at[i]) & ~vars) from->at[left++] = from->at[i];
        else vec_push(s->g->arena, &taken, from->at[i]);
    }
    from->count = left;
    return taken;
}

static void put_back(Inversion *s, Exprs *into, const Exprs *from) {
    for (int i = 0; i < from->count; i++) vec_push(s->g->arena, into, from->at[i]);
}

// Under a sum, expressions other than reads are computed once, in equations of their own, so that what is summed is a
// product of reads (a contraction) or a cheap map. `whole` is the product as it was, when nothing was taken out of it.
static void prepare_summand(Inversion *s, Product *p, Expr *whole) {
    Exprs groups = {0}; // one expression per group: a factor whose variables no other factor's include
    for (int i = 0; i < p->factor.count; i++) {
        uint32_t mine = expr_vars(&s->g->vars, p->factor.at[i]);
        bool covered = false;
        for (int k = 0; k < p->factor.count && !covered; k++) {
            uint32_t other = expr_vars(&s->g->vars, p->factor.at[k]);
            covered = k != i && (mine & ~other) == 0 && (mine != other || k < i);
        }
        if (!covered) vec_push(s->g->arena, &groups, p->factor.at[i]);
    }
    if (groups.count == 1) {
        uint32_t vars = 0;
        for (int i = 0; i < p->factor.count; i++)
            if (is_heavy(s, p->factor.at[i])) vars |= expr_vars(&s->g->vars, p->factor.at[i]);
        if (vars == 0) return;
        bool all = (expr_vars(&s->g->vars, groups.at[0]) & ~vars) == 0;
        Exprs factor = take_below(s, &p->factor, vars), mask = take_below(s, &p->mask, vars);
        Expr *e = where(s->job, conditions_of(s->job, &mask), product_of(s->job, &factor));
        if (all && whole != NULL && p->mask.count == 0 && p->factor.count == 0) e = whole;
        Expr *read = materialise(s, e, false);
        if (read != NULL) {
            vec_push(s->g->arena, &p->factor, read);
        } else {
            put_back(s, &p->factor, &factor);
            put_back(s, &p->mask, &mask);
        }
        return;
    }
    Exprs ready = {0};
    for (int i = 0; i < groups.count; i++) {
        uint32_t vars = expr_vars(&s->g->vars, groups.at[i]);
        Exprs factor = take_below(s, &p->factor, vars), mask = take_below(s, &p->mask, vars);
        if (factor.count == 0) continue;
        bool read_alone = factor.count == 1 && factor.at[0]->op == OP_READ && mask.count == 0;
        Expr *e = where(s->job, conditions_of(s->job, &mask), product_of(s->job, &factor));
        Expr *read = read_alone ? factor.at[0] : materialise(s, e, false);
        if (read != NULL) {
            vec_push(s->g->arena, &ready, read);
        } else {
            put_back(s, &ready, &factor);
            put_back(s, &p->mask, &mask);
        }
    }
    put_back(s, &p->factor, &ready);
}

// ---- conditions
static bool always_in_range(const Inversion *s, int var) {
    const Form *f = &s->form[var];
    Extent e = s->extent[var];
    if (f->exact) return false;
    int64_t low, high;
    if (affine_range(s, &f->sum, &low, &high)) {
        low = floor_quotient(low, f->divide);
        high = floor_quotient(high, f->divide);
        if (f->modulo > 0 && (low < 0 || high >= f->modulo)) {
            low = 0;
            high = f->modulo - 1;
        }
        return low >= 0 && high < e.count; // a run-time extent is at least its count
    }
    if (f->modulo > 0) return f->modulo <= e.count;
    int only = -1;
    for (int i = 0; i < IDS; i++) {
        if (f->sum.coef[i] == 0) continue;
        if (only >= 0 || f->sum.coef[i] != 1) return false;
        only = i;
    }
    Extent have = s->extent[only];
    return f->sum.offset == 0 && have.axis == e.axis && have.count <= e.count * f->divide;
}

// A read at the variable itself is zero wherever the variable is out of range, and so is the product.
static bool covered_by_read(const Inversion *s, const Exprs *factor, int var) {
    bool covered = false;
    for (int i = 0; i < factor->count; i++) {
        const Expr *e = factor->at[i];
        if (e->op != OP_READ) {
            if (is_heavy(s, factor->at[i])) return false; // zero times infinity
            continue;
        }
        const Tensor *t = s->g->p->tensor.at[e->tensor];
        int v;
        for (int d = 0; d < e->rank; d++)
            if (position_is_var(&e->position[d], &v) && v == var && extent_same(t->dim[d], s->extent[var]))
                covered = true;
        for (int d = 0; d < e->rank; d++)
            if (e->position[d].gather != NULL) return false; // would gather with the wrong index
    }
    return covered;
}

// Conditions, over the new variables, under which the solution is one.
static Exprs solution_conditions(Inversion *s, const Exprs *factor, uint32_t used) {
    Exprs all = {0};
    Job *job = s->job;
    Arena *a = s->g->arena;
    for (int i = 0; i < s->condition.count; i++) {
        const Condition *c = &s->condition.at[i];
        Affine sum = c->sum;
        Expr *limit = int_const(job, c->kind == IS_BELOW ? c->limit : -sum.offset);
        sum.offset = c->kind == IS_BELOW ? sum.offset : 0;
        vec_push(a, &all, expr_op(job, c->kind == IS_BELOW ? OP_LT : OP_EQ, affine_expr(s, &sum), limit, NULL));
    }
    for (int v = 0; v < s->eq->vars; v++) {
        if (!(used & 1u << v) || (s->summed & 1u << v) || always_in_range(s, v) || covered_by_read(s, factor, v))
            continue;
        const Form *f = &s->form[v];
        Expr *x = form_expr(s, f), *zero = int_const(job, 0);
        int64_t low, high;
        bool bounded = affine_range(s, &f->sum, &low, &high);
        if (f->modulo == 0 && (!bounded || low < 0)) vec_push(a, &all, expr_op(job, OP_LE, zero, x, NULL));
        bool below = (bounded && f->modulo == 0 && floor_quotient(high, f->divide) < s->extent[v].count) ||
                     (f->modulo > 0 && f->modulo <= s->extent[v].count);
        if (!below) vec_push(a, &all, expr_op(job, OP_LT, x, int_extent(job, s->extent[v]), NULL));
        if (f->exact) {
            Expr *rest = expr_op(job, OP_IMOD, affine_expr(s, &f->sum), int_const(job, f->divide), NULL);
            vec_push(a, &all, expr_op(job, OP_EQ, rest, zero, NULL));
        }
    }
    return all;
}

// ---- the result
static void contribute(Inversion *s, Expr *value, Equation *equation) {
    Contribution c = {value, equation};
    vec_push(s->g->arena, s->into, c);
}

static Equation *sum_equation(Inversion *s, Expr *value) {
    Equation *made = equation_alone(s->job, EQ_COMPUTE, s->x, s->eq);
    made->reduce = REDUCE_SUM;
    made->vars = s->vars;
    for (int i = 0; i < IDS; i++)
        if (s->number[i] >= s->x->rank)
            made->var[s->number[i]] = (Variable){i < MAX_VARS ? s->eq->var[i].name : NULL, s->extent[i]};
    made->value = value;
    vec_push(s->g->arena, &s->g->made, made);
    return made;
}

static void scatter(Inversion *s, Expr *adjoint, uint32_t used) {
    Equation *made = equation_alone(s->job, EQ_SCATTER, s->x, s->eq);
    int map[MAX_VARS];
    for (int v = 0; v < s->eq->vars; v++) {
        map[v] = -1;
        if (!(used & 1u << v)) continue;
        map[v] = made->vars;
        made->var[made->vars++] = s->eq->var[v];
    }
    made->value = expr_rename(s->job, adjoint, map);
    const Expr *target = expr_rename(s->job, s->read, map); // its positions, in canonical order
    for (int d = 0; d < s->x->rank; d++) made->target[d] = target->position[d];
    vec_push(s->g->arena, &s->g->made, made);
    contribute(s, NULL, made);
}

// Factors and masks in new variables; those that cannot be written are put into temporaries. False: too many
// dimensions.
static bool substitute_all(Inversion *s, Exprs *list) {
    for (int i = 0; i < list->count; i++) {
        if (substitute(s, list->at[i]) != NULL) continue;
        Expr *read = materialise(s, list->at[i], true);
        if (read == NULL || substitute(s, read) == NULL) return false;
        list->at[i] = read;
    }
    return true;
}

static Exprs substituted(Inversion *s, const Exprs *list) {
    Exprs made = {0};
    for (int i = 0; i < list->count; i++) {
        Expr *e = substitute(s, list->at[i]);
        EXPECT(e != NULL);
        vec_push(s->g->arena, &made, e);
    }
    return made;
}

static Exprs take_without(Inversion *s, Exprs *from, uint32_t summed, bool is_new) {
    Exprs taken = {0};
    int left = 0;
    for (int i = 0; i < from->count; i++) {
        uint32_t vars = is_new ? expr_vars(&s->g->vars, from->at[i]) : new_vars(s, from->at[i]);
        if (vars & summed) from->at[left++] = from->at[i];
        else vec_push(s->g->arena, &taken, from->at[i]);
    }
    from->count = left;
    return taken;
}

static bool pull(Inversion *s, Expr *adjoint, uint32_t used) {
    Job *job = s->job;
    Product p = {.coef = 1};
    flatten(s, adjoint, &p);
    if (p.coef == 0) return true;
    // Variables in neither the positions nor the adjoint: so many equal summands.
    Expr *repeat = NULL;
    for (int v = 0; v < s->eq->vars; v++) {
        if (used & 1u << v) continue;
        Extent e = s->eq->var[v].extent;
        Expr *n = e.axis < 0 ? real(job, (double)e.count) : expr_cast(job, T_REAL, expr_extent(job, e));
        repeat = repeat == NULL ? n : mul(job, repeat, n);
    }
    uint32_t summed = ((1u << s->vars) - 1) & ~((1u << s->x->rank) - 1);
    if (summed == 0) {
        Expr *whole = substitute(s, adjoint);
        if (!substitute_all(s, &p.factor) || !substitute_all(s, &p.mask)) return false;
        Exprs conditions = solution_conditions(s, &p.factor, used);
        if (whole == NULL) {
            Exprs factor = substituted(s, &p.factor), mask = substituted(s, &p.mask);
            whole = where(job, conditions_of(job, &mask), mul(job, product_of(job, &factor), real(job, p.coef)));
        }
        if (repeat != NULL) whole = mul(job, whole, repeat);
        contribute(s, where(job, conditions_of(job, &conditions), whole), NULL);
        return true;
    }
    bool untouched = p.coef == 1;
    Exprs outer = take_without(s, &p.factor, summed, false), outer_mask = take_without(s, &p.mask, summed, false);
    untouched = untouched && outer.count == 0 && outer_mask.count == 0;
    prepare_summand(s, &p, untouched ? adjoint : NULL);
    if (!substitute_all(s, &p.factor) || !substitute_all(s, &p.mask) || !substitute_all(s, &outer) ||
        !substitute_all(s, &outer_mask))
        return false;
    // What is hoisted is multiplied from outside: it cannot stand in for a condition under the sum.
    Exprs conditions = solution_conditions(s, &p.factor, used);
    Exprs outer_conditions = take_without(s, &conditions, summed, true);
    Exprs factor = substituted(s, &p.factor), mask = substituted(s, &p.mask);
    put_back(s, &mask, &conditions);
    Expr *summand = where(job, conditions_of(job, &mask), product_of(job, &factor));
    Exprs outside = substituted(s, &outer), outside_mask = substituted(s, &outer_mask);
    put_back(s, &outside_mask, &outer_conditions);
    if (p.coef != 1) repeat = repeat == NULL ? real(job, p.coef) : mul(job, real(job, p.coef), repeat);
    if (repeat != NULL) vec_push(s->g->arena, &outside, repeat);
    if (outside_mask.count == 0 && outside.count == 0) {
        contribute(s, NULL, sum_equation(s, summand));
        return true;
    }
    if (outside_mask.count == 0 && outside.count == 1 && outside.at[0]->op == OP_CONST && factor.count <= 1) {
        contribute(s, NULL, sum_equation(s, mul(job, summand, outside.at[0])));
        return true;
    }
    Tensor *t = gradient_temp(s->g, s->x->name, "part", T_REAL, s->x->rank, s->x->dim);
    sum_equation(s, summand)->out = t->id;
    Expr *value = mul(job, read_whole(job, t), product_of(job, &outside));
    contribute(s, where(job, conditions_of(job, &outside_mask), value), NULL);
    return true;
}

static Inversion *inversion(Gradient *g, const Equation *eq, const Expr *read, Contributions *into) {
    Inversion *s = NEW(g->arena, Inversion);
    *s = (Inversion){.g = g, .job = g->job, .eq = eq, .read = read, .x = g->p->tensor.at[read->tensor], .into = into};
    s->substituted.arena = g->arena;
    for (int i = 0; i < IDS; i++) s->extent[i] = extent_of(1);
    for (int v = 0; v < eq->vars; v++) s->extent[v] = eq->var[v].extent;
    for (int d = 0; d < s->x->rank; d++) s->extent[DIM + d] = s->x->dim[d];
    return s;
}

// Every element of the tensor is read at most once for given summed variables, but not in plain order: a split or
// merged dimension, a part of one, a stride.
static bool is_rearranged(const Inversion *s, uint32_t read_vars) {
    if (s->extras > 0 || __builtin_popcount(read_vars) > MAX_RANK) return false;
    bool plain_order = true;
    uint32_t seen = 0;
    for (int d = 0; d < s->x->rank; d++) {
        int v;
        if (!position_is_var(&s->read->position[d], &v) || (seen & 1u << v)) plain_order = false;
        else seen |= 1u << v;
    }
    if (plain_order) return false;
    for (int v = 0; v < s->eq->vars; v++) {
        if (!(read_vars & 1u << v)) continue;
        for (int i = 0; i < IDS; i++)
            if (s->form[v].sum.coef[i] != 0 && (i < DIM || i >= EXTRA)) return false;
    }
    return true;
}

// First the sum over the variables that were read, which is a plain contraction, then its elements put into place.
static bool pull_rearranged(Inversion *s, Expr *adjoint, uint32_t used, uint32_t read_vars) {
    Extent dim[MAX_RANK];
    Position at[MAX_RANK];
    int rank = 0, map[MAX_VARS];
    uint32_t left = read_vars;
    for (int d = 0; d < s->x->rank; d++) { // dimensions in the order of those they are put into, long strides first
        for (;;) {
            const Position *p = &s->read->position[d];
            int best = -1;
            for (int k = 0; k < p->terms; k++)
                if ((left & 1u << p->term[k].var) && (best < 0 || p->term[k].coef > p->term[best].coef)) best = k;
            if (best < 0) break;
            int v = p->term[best].var;
            left &= ~(1u << v);
            map[rank] = v;
            dim[rank] = s->eq->var[v].extent;
            at[rank++] = position_var(v);
        }
    }
    const Tensor *t = gradient_temp(s->g, s->x->name, "part", T_REAL, rank, dim);
    Expr *read = expr_read(s->job, t, at, NO_SPAN);
    Expr *moved = substitute(s, read);
    if (moved == NULL) return false;
    Contributions parts = {0};
    Inversion *inner = inversion(s->g, s->eq, read, &parts);
    if (!invert_solve(inner, used) || !pull(inner, adjoint, used)) return false;
    if (parts.count == 0) return true;
    EXPECT(parts.count == 1);
    Product p = {.coef = 1};
    if (parts.at[0].value != NULL) flatten(s, parts.at[0].value, &p);
    if (p.factor.count == 1 && p.factor.at[0]->op == OP_READ && p.mask.count == 0) {
        // A multiple of an equation that stands already: put its elements into place.
        read = expr_rename(s->job, p.factor.at[0], map);
        moved = substitute(s, read);
        if (moved == NULL) return false;
        moved = mul(s->job, moved, real(s->job, p.coef));
    } else if (parts.at[0].equation != NULL) {
        parts.at[0].equation->out = t->id;
    } else {
        Equation *made = equation_alone(s->job, EQ_COMPUTE, t, s->eq);
        made->value = parts.at[0].value;
        vec_push(s->g->arena, &s->g->made, made);
    }
    Exprs factor = {0};
    vec_push(s->g->arena, &factor, read);
    Exprs conditions = solution_conditions(s, &factor, read_vars);
    contribute(s, where(s->job, conditions_of(s->job, &conditions), moved), NULL);
    return true;
}

void gradient_contribute(Gradient *g, const Equation *eq, const Expr *read, Expr *adjoint) {
    Inversion *s = inversion(g, eq, read, &g->of[read->tensor]);
    uint32_t read_vars = expr_vars(&g->vars, read), used = expr_vars(&g->vars, adjoint) | read_vars;
    if (invert_solve(s, used)) {
        bool sums = s->vars > s->x->rank;
        if (sums && is_rearranged(s, read_vars) ? pull_rearranged(s, adjoint, used, read_vars) : pull(s, adjoint, used))
            return;
    }
    // Also the unused variables are iterated: each of their points is a summand.
    scatter(s, adjoint, (1u << eq->vars) - 1);
}
