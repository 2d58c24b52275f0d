// Adjoints of reads in pull form. A read x[p(v)] inside an equation over variables v has the adjoint
//   xbar[J] = sum over all v with p(v) = J of adjoint(v),
// and this file solves p(v) = J for as many variables as it can: the others stay as summed variables. A window becomes
// the mirrored window, a tiling s*i + u becomes i = J // s, u = J % s, equal or constant positions become conditions.
// What cannot be solved (gathers, quotients of several variables) becomes a SCATTER equation.
#include "pass/gradient.h"

#include <string.h>

// Numbers of the unknowns and knowns of p(v) = J: variables of the equation, dimensions J, and variables that inversion
// adds (remainders of floor divisions).
enum { DIM = MAX_VARS, EXTRA = DIM + MAX_RANK, IDS = EXTRA + 16 };

typedef struct Affine {
    int64_t coef[IDS], offset;
} Affine;

typedef struct Form { // (sum // divide) % modulo, like a Position
    Affine sum;
    int64_t divide, modulo;
    bool exact;
} Form;

typedef struct Condition {
    enum { IS_ZERO, IS_BELOW } kind;
    Affine sum;
    int64_t limit;
} Condition;

typedef VEC(Expr *) Exprs;

typedef struct Inversion {
    Gradient *g;
    Job *job;
    const Equation *eq;
    const Expr *read;
    const Tensor *x;
    Contributions *into;
    Extent extent[IDS];
    uint32_t unknown;         // variables of the equation without a form yet
    Form form[MAX_VARS];      // of the variables of the equation over DIM, EXTRA and summed variables
    uint32_t summed;          // variables of the equation that stay
    int extras;
    bool done[MAX_RANK];      // dimensions whose position is used up
    VEC(Condition) condition;
    int number[IDS], vars;    // in the new equation; -1: not there
    ExprMap substituted;
} Inversion;

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }

static Form plain(int id) {
    Form f = {.divide = 1};
    f.sum.coef[id] = 1;
    return f;
}

static bool is_affine(const Form *f) { return f->divide == 1 && f->modulo == 0; }

static void affine_add(Affine *into, const Affine *a, int64_t times) {
    for (int i = 0; i < IDS; i++) into->coef[i] += times * a->coef[i];
    into->offset += times * a->offset;
}

static bool affine_is_zero(const Affine *a) {
    for (int i = 0; i < IDS; i++)
        if (a->coef[i] != 0) return false;
    return a->offset == 0;
}

// False when a variable of run-time extent occurs.
static bool affine_range(const Inversion *s, const Affine *a, int64_t *low, int64_t *high) {
    *low = *high = a->offset;
    for (int i = 0; i < IDS; i++) {
        if (a->coef[i] == 0) continue;
        if (s->extent[i].axis >= 0) return false;
        int64_t reach = a->coef[i] * (s->extent[i].count - 1);
        if (reach < 0) *low += reach;
        else *high += reach;
    }
    return true;
}

static int new_extra(Inversion *s, Extent extent) {
    if (s->extras == IDS - EXTRA) return -1;
    int id = EXTRA + s->extras++;
    s->extent[id] = extent;
    return id;
}

static void add_condition(Inversion *s, int kind, const Affine *sum, int64_t limit) {
    Condition c = {.kind = kind, .sum = *sum, .limit = limit};
    vec_push(s->g->arena, &s->condition, c);
}

// The dimension may be longer than the values that its position takes.
static void condition_below(Inversion *s, int id, int64_t limit) {
    if (s->extent[id].axis < 0 && s->extent[id].count <= limit) return;
    Form f = plain(id);
    add_condition(s, IS_BELOW, &f.sum, limit);
}

static void solved(Inversion *s, int var, const Form *f) {
    s->form[var] = *f;
    s->unknown &= ~(1u << var);
}

static void keep(Inversion *s, int var) {
    s->form[var] = plain(var);
    s->unknown &= ~(1u << var);
    s->summed |= 1u << var;
}

// ---- digits: i // 9, (i // 3) % 3, i % 3 are the digits of one variable; put them together again.
static bool is_digit(const Position *p) {
    return p->gather == NULL && p->terms == 1 && p->term[0].coef == 1 && p->offset == 0 && !p->exact &&
           (p->divide > 1 || p->modulo > 0);
}

static bool only_in_digits(const Inversion *s, int var) {
    bool any = false;
    for (int d = 0; d < s->x->rank; d++) {
        const Position *p = &s->read->position[d];
        for (int k = 0; k < p->terms; k++) {
            if (p->term[k].var != var) continue;
            if (!is_digit(p)) return false;
            any = true;
        }
    }
    return any;
}

static bool solve_digits(Inversion *s, int var) {
    int dims[MAX_RANK], n = 0;
    for (int d = 0; d < s->x->rank; d++) {
        const Position *p = &s->read->position[d];
        if (p->gather != NULL || p->terms != 1 || p->term[0].var != var) continue;
        int at = n++;
        for (; at > 0 && s->read->position[dims[at - 1]].divide > p->divide; at--) dims[at] = dims[at - 1];
        dims[at] = d;
    }
    Form f = {.divide = 1};
    int64_t unit = 1; // everything below is covered
    bool top = false;
    for (int k = 0; k < n; k++) {
        const Position *p = &s->read->position[dims[k]];
        if (top || p->divide < unit || p->divide % unit != 0) return false;
        if (p->divide > unit) {
            int r = new_extra(s, extent_of(p->divide / unit));
            if (r < 0) return false;
            f.sum.coef[r] = unit;
        }
        f.sum.coef[DIM + dims[k]] = p->divide;
        top = p->modulo == 0;
        if (!top) condition_below(s, DIM + dims[k], p->modulo);
        unit = top ? unit : p->divide * p->modulo;
        s->done[dims[k]] = true;
    }
    if (!top) {
        Extent e = s->extent[var];
        if (e.axis >= 0 && e.count % unit != 0) return false;
        e.count = (e.count + unit - 1) / unit;
        if (!extent_is_one(e)) {
            int q = new_extra(s, e);
            if (q < 0) return false;
            f.sum.coef[q] = unit;
        }
    }
    solved(s, var, &f);
    return true;
}

// ---- affine positions
static uint32_t unknown_in(const Inversion *s, const Position *p) {
    uint32_t vars = 0;
    for (int k = 0; k < p->terms; k++) vars |= 1u << p->term[k].var;
    return vars & s->unknown;
}

// What the sum inside the position of dimension d must be, as an affine form of J and perhaps new variables.
static bool right_side(Inversion *s, int d, Affine *t) {
    const Position *p = &s->read->position[d];
    memset(t, 0, sizeof *t);
    t->coef[DIM + d] = p->divide;
    if (p->divide > 1 && !p->exact) {
        int r = new_extra(s, extent_of(p->divide));
        if (r < 0) return false;
        t->coef[r] = 1;
    }
    if (p->modulo > 0) {
        Affine a = {.offset = p->offset};
        for (int k = 0; k < p->terms; k++) a.coef[p->term[k].var] = p->term[k].coef;
        int64_t low, high, period = p->divide * p->modulo;
        if (!affine_range(s, &a, &low, &high)) return false;
        low = floor_div(low, period);
        high = floor_div(high, period);
        t->offset += low * period;
        if (high > low) {
            int q = new_extra(s, extent_of(high - low + 1));
            if (q < 0) return false;
            t->coef[q] = period;
        }
        condition_below(s, DIM + d, p->modulo);
    }
    return true;
}

static bool larger_extent(Extent a, Extent b) {
    if ((a.axis >= 0) != (b.axis >= 0)) return a.axis >= 0;
    return a.count > b.count;
}

// sum of coef*var = t, every coef positive and each variable's digits below the next one's unit: divisions solve all.
static bool solve_tiling(Inversion *s, const Term *term, int n, const Affine *t) {
    Term sorted[4];
    for (int i = 0; i < n; i++) {
        if (term[i].coef <= 0) return false;
        int at = i;
        for (; at > 0 && sorted[at - 1].coef < term[i].coef; at--) sorted[at] = sorted[at - 1];
        sorted[at] = term[i];
    }
    for (int i = 1; i < n; i++) {
        Extent e = s->extent[sorted[i].var];
        if (e.axis >= 0 || sorted[i - 1].coef % sorted[i].coef != 0) return false;
        if (e.count > sorted[i - 1].coef / sorted[i].coef) return false;
    }
    for (int i = 0; i < n; i++) {
        Form f = {.sum = *t, .divide = sorted[i].coef};
        f.exact = i == n - 1 && f.divide > 1;
        f.modulo = i > 0 ? sorted[i - 1].coef / sorted[i].coef : 0;
        solved(s, sorted[i].var, &f);
    }
    return true;
}

static bool solve_dimension(Inversion *s, int d) {
    const Position *p = &s->read->position[d];
    Affine t;
    if (!right_side(s, d, &t)) return false;
    t.offset -= p->offset;
    Term open[4];
    int n = 0;
    for (int k = 0; k < p->terms; k++) {
        int v = p->term[k].var;
        if (s->unknown & 1u << v) open[n++] = p->term[k];
        else if (is_affine(&s->form[v])) affine_add(&t, &s->form[v].sum, -p->term[k].coef);
        else return false;
    }
    s->done[d] = true;
    if (n == 0) {
        if (!affine_is_zero(&t)) add_condition(s, IS_ZERO, &t, 0);
        return true;
    }
    if (n > 1 && solve_tiling(s, open, n, &t)) return true;
    // Solve for the longest, sum over the others: a window stays a window.
    int best = 0;
    for (int k = 1; k < n; k++)
        if (larger_extent(s->extent[open[k].var], s->extent[open[best].var])) best = k;
    for (int k = 0; k < n; k++) {
        if (k == best) continue;
        keep(s, open[k].var);
        t.coef[open[k].var] -= open[k].coef;
    }
    int64_t a = open[best].coef;
    Form f = {.divide = a < 0 ? -a : a};
    affine_add(&f.sum, &t, a < 0 ? -1 : 1);
    f.exact = f.divide > 1;
    solved(s, open[best].var, &f);
    return true;
}

// False: use a scatter.
static bool solve(Inversion *s, uint32_t used) {
    for (int d = 0; d < s->x->rank; d++)
        if (s->read->position[d].gather != NULL) return false;
    s->unknown = used;
    for (int v = 0; v < s->eq->vars; v++)
        if ((used & 1u << v) && only_in_digits(s, v) && !solve_digits(s, v)) return false;
    for (int left = s->x->rank; left > 0; left--) {
        int next = -1, fewest = 99;
        for (int d = 0; d < s->x->rank; d++) {
            int n = __builtin_popcount(unknown_in(s, &s->read->position[d]));
            if (!s->done[d] && n < fewest) {
                next = d;
                fewest = n;
            }
        }
        if (next >= 0 && !solve_dimension(s, next)) return false;
    }
    for (int v = 0; v < s->eq->vars; v++)
        if (s->unknown & 1u << v) keep(s, v);
    for (int i = 0; i < IDS; i++) s->number[i] = -1;
    for (int d = 0; d < s->x->rank; d++) s->number[DIM + d] = d;
    s->vars = s->x->rank;
    for (int i = 0; i < IDS; i++)
        if ((i < MAX_VARS && (s->summed & 1u << i)) || (i >= EXTRA && i < EXTRA + s->extras)) s->number[i] = s->vars++;
    return s->vars <= MAX_VARS;
}

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
        Form f = plain(DIM + d);
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
        if (is_affine(v)) continue;
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
    Equation *made = equation_alone(s->job, EQ_COMPUTE, t, s->eq->span, s->eq->where);
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
        low = floor_div(low, f->divide);
        high = floor_div(high, f->divide);
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
            if (position_is_var(&e->position[d], &v) && v == var && extent_same(t->dim[d], s->extent[var])) covered = true;
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
        if (!(used & 1u << v) || (s->summed & 1u << v) || always_in_range(s, v) || covered_by_read(s, factor, v)) continue;
        const Form *f = &s->form[v];
        Expr *x = form_expr(s, f), *zero = int_const(job, 0);
        int64_t low, high;
        bool bounded = affine_range(s, &f->sum, &low, &high);
        if (f->modulo == 0 && (!bounded || low < 0)) vec_push(a, &all, expr_op(job, OP_LE, zero, x, NULL));
        bool below = (bounded && f->modulo == 0 && floor_div(high, f->divide) < s->extent[v].count) ||
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
    Equation *made = equation_alone(s->job, EQ_COMPUTE, s->x, s->eq->span, s->eq->where);
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
    Equation *made = equation_alone(s->job, EQ_SCATTER, s->x, s->eq->span, s->eq->where);
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

// Factors and masks in new variables; those that cannot be written are put into temporaries. False: too many dimensions.
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

// Every element of the tensor is read at most once for given summed variables, but not in plain order: a split or merged
// dimension, a part of one, a stride.
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
    int rank = 0;
    for (int v = 0; v < s->eq->vars; v++) {
        if (!(read_vars & 1u << v)) continue;
        dim[rank] = s->eq->var[v].extent;
        at[rank++] = position_var(v);
    }
    const Tensor *t = gradient_temp(s->g, s->x->name, "part", T_REAL, rank, dim);
    Expr *read = expr_read(s->job, t, at, NO_SPAN);
    Expr *moved = substitute(s, read);
    if (moved == NULL) return false;
    Contributions parts = {0};
    Inversion *inner = inversion(s->g, s->eq, read, &parts);
    if (!solve(inner, used) || !pull(inner, adjoint, used)) return false;
    if (parts.count == 0) return true;
    EXPECT(parts.count == 1);
    if (parts.at[0].equation != NULL) {
        parts.at[0].equation->out = t->id;
    } else {
        Equation *made = equation_alone(s->job, EQ_COMPUTE, t, s->eq->span, s->eq->where);
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
    if (solve(s, used)) {
        bool sums = s->vars > s->x->rank;
        if (sums && is_rearranged(s, read_vars) ? pull_rearranged(s, adjoint, used, read_vars) : pull(s, adjoint, used)) return;
    }
    // Also the unused variables are iterated: each of their points is a summand.
    scatter(s, adjoint, (1u << eq->vars) - 1);
}
