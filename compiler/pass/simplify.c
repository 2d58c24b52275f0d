// Simplification of equations.
// requires: verified equations; leaves: equations of equal values, each reaching an output, an update, the loss or the
// first value of a parameter. Idempotent. One walk in order rewrites, forwards and merges; one walk back drops what is
// unused.
//
// Rules on expressions. None changes a value beyond the sign of a zero, except the powers (a product is at least as
// exact):
//   constants       folded, in f32 steps unless the program is f64; an extent without a run-time axis is a constant
//   real            x+0 x-0 x*1 x/1 -> x;  0-x, x*-1, x/-1 -> -x;  x+x -> 2*x;  -(-x) -> x;  -(a-b) -> b-a
//                   x+(-y) -> x-y;  x-(-y) -> x+y;  (-x)*(-y) -> x*y;  x/c -> x*(1/c) when c is a power of two
//                   x*0 -> 0 only when x cannot be infinite or NaN
//   powers          x^0 -> 1, x^1 -> x, x^2 x^3 x^4 -> products, x^-1 -> 1/x
//   min, max        of equal arguments; of two constants around one argument
//   select          known condition; equal arms; not c -> arms exchanged; an arm that asks the same condition again
//                   select(c, a, b) + select(c, d, e) -> select(c, a+d, b+e), the same for - and *
//                   select(c, a, 0) * k -> select(c, a*k, 0) for a finite constant k; -select(c, a, 0) -> select(c, -a,
//                   0)
//   logic           constants, equal arguments, not not, not of = and != (and of < <= between integers)
//   integers        x+0 x-0 x*1 x*0 x//1 x%1 x-x;  (x+c)+d -> x+(c+d);  comparisons of equal arguments
//   ranges          comparisons, // and % of index arithmetic whose outcome is the same for all values of the variables
//   casts           to the same type; stop_gradient once no gradient is asked for
//   order           arguments of commutative primitives: reads, others, constants
// Rules on equations:
//   reduced variables of extent 1 go; positions of several terms drop variables of extent 1
//   copies, views of the same shape and views of views are forwarded; equal equations are merged into the first
//   constants, and small equations of rank 0, are written into the places that read them
//   unused equations go
#include "pass/pass.h"
#include "pass/rewrite.h"

#include <math.h>
#include <string.h>

typedef struct Simplifier {
    Program *p;
    Job *job;
    Arena *arena;
    const Equation *eq;       // being rewritten
    uint32_t zero_vars;       // its variables of extent 1
    uint32_t gone;            // its reduced variables of extent 1
    ExprMap done;             // within one equation: rewritten expressions
    ExprMap structure;        // hashes that do not depend on addresses
    int *same_as;             // by tensor: the tensor whose values it has (itself unless forwarded)
    Expr **inlined;           // by tensor: the expression to write in its place, or NULL
    const Equation **definer; // by tensor: its equation in this job, or NULL
} Simplifier;

static const char result_rule[OP_COUNT] = {
#define X(name, text, arity, result, differentiable) #result[0],
    SCALAR_OPS(X)
#undef X
};

static Expr *rewrite(Simplifier *s, Expr *e);

static Expr *make(Simplifier *s, ScalarOp op, Expr *a, Expr *b) {
    return expr_op(s->job, op, a, b, NULL);
}
static Expr *constant(Simplifier *s, double x, ElementType t) {
    return expr_const(s->job, x, t);
}

static bool is_integer(ElementType t) {
    return t == T_I32 || t == T_I64 || t == T_U8;
}

// ---- order of arguments
static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ (h >> 29);
}

static uint64_t structure_of(Simplifier *s, const Expr *e) {
    uint64_t known = (uint64_t)(uintptr_t)expr_map_get(&s->structure, e);
    if (known != 0) return known;
    uint64_t h = mix(mix(7, (uint64_t)e->op), (uint64_t)e->type), bits;
    memcpy(&bits, &e->number, sizeof bits);
    if (e->op == OP_CONST) h = mix(h, bits);
    if (e->op == OP_INDEX) h = mix(h, (uint64_t)e->var);
    if (e->op == OP_EXTENT) h = mix(mix(h, (uint64_t)e->extent.count), (uint64_t)e->extent.axis);
    if (e->op == OP_RANDOM) h = mix(h, e->place);
    if (e->op == OP_READ) {
        h = mix(h, (uint64_t)e->tensor);
        for (int i = 0; i < e->rank; i++) {
            const Position *p = &e->position[i];
            if (p->gather != NULL) {
                h = mix(h, structure_of(s, p->gather));
                continue;
            }
            h = mix(mix(mix(mix(h, (uint64_t)p->offset), (uint64_t)p->divide), (uint64_t)p->modulo), p->exact);
            for (int k = 0; k < p->terms; k++) h = mix(mix(h, (uint64_t)p->term[k].var), (uint64_t)p->term[k].coef);
        }
    }
    for (int i = 0; i < e->arity; i++) h = mix(h, structure_of(s, e->arg[i]));
    h |= 1;
    expr_map_put(&s->structure, e, (void *)(uintptr_t)h);
    return h;
}

static int order_class(const Expr *e) {
    return e->op == OP_READ ? 0 : e->op == OP_CONST ? 2 : 1;
}

static bool out_of_order(Simplifier *s, const Expr *a, const Expr *b) {
    if (order_class(a) != order_class(b)) return order_class(a) > order_class(b);
    if (a->op == OP_READ && a->tensor != b->tensor) return a->tensor > b->tensor;
    return structure_of(s, a) > structure_of(s, b);
}

static bool commutes(ScalarOp op) {
    switch (op) {
    case OP_ADD:
    case OP_MUL:
    case OP_MIN:
    case OP_MAX:
    case OP_IADD:
    case OP_IMUL:
    case OP_EQ:
    case OP_NE:
    case OP_AND:
    case OP_OR: return true;
    default: return false;
    }
}

// ---- rules: each returns NULL when it has nothing to say
static double round_to(const Simplifier *s, ElementType t, double x) {
    return t == T_REAL && !s->p->real64 ? (double)(float)x : x;
}

static Expr *fold_constants(Simplifier *s, const Expr *e) {
    double arg[3] = {0, 0, 0};
    if (e->arity == 0 || e->op == OP_SELECT) return NULL;
    for (int i = 0; i < e->arity; i++) {
        if (e->arg[i]->op != OP_CONST) return NULL;
        arg[i] = round_to(s, e->arg[i]->type, e->arg[i]->number);
    }
    return constant(s, round_to(s, e->type, evaluate_op(e, arg)), e->type);
}

// Never infinite, never NaN.
static bool is_tame(const Expr *e) {
    switch (e->op) {
    case OP_CONST: return isfinite(e->number);
    case OP_RANDOM: return true;
    case OP_CAST: return e->arg[0]->type != T_REAL;
    case OP_NEG: return is_tame(e->arg[0]);
    case OP_SELECT: return is_tame(e->arg[1]) && is_tame(e->arg[2]);
    default: return false;
    }
}

static bool exact_reciprocal(double c) {
    int power;
    return c != 0 && isfinite(c) && fabs(frexp(c, &power)) == 0.5 && power > -120 && power < 120;
}

// Arithmetic moves into the arms where that leaves fewer selects or a zero arm zero.
static Expr *arms_rule(Simplifier *s, Expr *e) {
    Expr *a = e->arg[0], *b = e->arg[1];
    if (e->op != OP_ADD && e->op != OP_SUB && e->op != OP_MUL && e->op != OP_NEG) return NULL;
    if (e->op == OP_MUL && a->op == OP_CONST) {
        a = e->arg[1];
        b = e->arg[0];
    }
    if (a->op != OP_SELECT) return NULL;
    bool zero_arm = is_const(a->arg[1], 0) || is_const(a->arg[2], 0);
    Expr *first, *second;
    if (e->op == OP_NEG) {
        if (!zero_arm) return NULL;
        first = is_const(a->arg[1], 0) ? a->arg[1] : expr_op(s->job, OP_NEG, a->arg[1], NULL, NULL);
        second = is_const(a->arg[2], 0) ? a->arg[2] : expr_op(s->job, OP_NEG, a->arg[2], NULL, NULL);
    } else if (b->op == OP_SELECT && b->arg[0] == a->arg[0]) {
        first = make(s, e->op, a->arg[1], b->arg[1]);
        second = make(s, e->op, a->arg[2], b->arg[2]);
    } else if (e->op == OP_MUL && b->op == OP_CONST && isfinite(b->number) && zero_arm) {
        first = is_const(a->arg[1], 0) ? a->arg[1] : make(s, OP_MUL, a->arg[1], b);
        second = is_const(a->arg[2], 0) ? a->arg[2] : make(s, OP_MUL, a->arg[2], b);
    } else {
        return NULL;
    }
    return expr_op(s->job, OP_SELECT, a->arg[0], first, second);
}

static Expr *real_rule(Simplifier *s, Expr *e) {
    Expr *a = e->arg[0], *b = e->arg[1], *arms = arms_rule(s, e);
    if (arms != NULL) return arms;
    switch (e->op) {
    case OP_NEG:
        if (a->op == OP_NEG) return a->arg[0];
        if (a->op == OP_SUB) return make(s, OP_SUB, a->arg[1], a->arg[0]);
        return NULL;
    case OP_ADD:
        if (is_const(b, 0)) return a;
        if (is_const(a, 0)) return b;
        if (a == b) return make(s, OP_MUL, a, constant(s, 2, T_REAL));
        if (b->op == OP_NEG) return make(s, OP_SUB, a, b->arg[0]);
        if (a->op == OP_NEG) return make(s, OP_SUB, b, a->arg[0]);
        return NULL;
    case OP_SUB:
        if (is_const(b, 0)) return a;
        if (is_const(a, 0)) return expr_op(s->job, OP_NEG, b, NULL, NULL);
        if (b->op == OP_NEG) return make(s, OP_ADD, a, b->arg[0]);
        return NULL;
    case OP_MUL:
        if (is_const(b, 1)) return a;
        if (is_const(a, 1)) return b;
        if (is_const(b, -1)) return expr_op(s->job, OP_NEG, a, NULL, NULL);
        if (is_const(a, -1)) return expr_op(s->job, OP_NEG, b, NULL, NULL);
        if ((is_const(b, 0) && is_tame(a)) || (is_const(a, 0) && is_tame(b))) return constant(s, 0, T_REAL);
        if (a->op == OP_NEG && b->op == OP_NEG) return make(s, OP_MUL, a->arg[0], b->arg[0]);
        if (a->op == OP_NEG && b->op == OP_CONST) return make(s, OP_MUL, a->arg[0], constant(s, -b->number, T_REAL));
        return NULL;
    case OP_DIV:
        if (is_const(b, 1)) return a;
        if (is_const(b, -1)) return expr_op(s->job, OP_NEG, a, NULL, NULL);
        if (b->op == OP_CONST && exact_reciprocal(b->number))
            return make(s, OP_MUL, a, constant(s, 1 / b->number, T_REAL));
        return NULL;
    case OP_POW: {
        if (b->op != OP_CONST) return NULL;
        Expr *square = make(s, OP_MUL, a, a);
        if (b->number == 0) return constant(s, 1, T_REAL);
        if (b->number == 1) return a;
        if (b->number == 2) return square;
        if (b->number == 3) return make(s, OP_MUL, square, a);
        if (b->number == 4) return make(s, OP_MUL, square, square);
        if (b->number == -1) return make(s, OP_DIV, constant(s, 1, T_REAL), a);
        return NULL;
    }
    case OP_MIN:
    case OP_MAX:
        if (a == b) return a;
        if (a->op == e->op && a->arg[1]->op == OP_CONST && b->op == OP_CONST)
            return make(s, e->op, a->arg[0], make(s, e->op, a->arg[1], b));
        return NULL;
    case OP_ABS: return a->op == OP_ABS ? a : a->op == OP_NEG ? expr_op(s->job, OP_ABS, a->arg[0], NULL, NULL) : NULL;
    case OP_STOP: return s->job->gradient.count == 0 ? a : NULL;
    default: return NULL;
    }
}

static Expr *integer_rule(Simplifier *s, Expr *e) {
    Expr *a = e->arg[0], *b = e->arg[1];
    ElementType t = e->type;
    switch (e->op) {
    case OP_IADD:
        if (is_const(b, 0)) return a;
        if (is_const(a, 0)) return b;
        if (a->op == OP_IADD && a->arg[1]->op == OP_CONST && b->op == OP_CONST)
            return make(s, OP_IADD, a->arg[0], make(s, OP_IADD, a->arg[1], b));
        return NULL;
    case OP_ISUB:
        if (is_const(b, 0)) return a;
        if (a == b) return constant(s, 0, t);
        if (b->op == OP_CONST && t == T_I32 && b->number != -2147483648.0)
            return make(s, OP_IADD, a, constant(s, -b->number, t));
        return NULL;
    case OP_IMUL:
        if (is_const(b, 1)) return a;
        if (is_const(a, 1)) return b;
        return is_const(a, 0) || is_const(b, 0) ? constant(s, 0, t) : NULL;
    case OP_IDIV: return is_const(b, 1) ? a : NULL;
    case OP_IMOD: return is_const(b, 1) ? constant(s, 0, t) : NULL;
    case OP_EQ:
    case OP_LE: return a == b && is_integer(a->type) ? constant(s, 1, T_BOOL) : NULL;
    case OP_NE:
    case OP_LT: return a == b && is_integer(a->type) ? constant(s, 0, T_BOOL) : NULL;
    default: return NULL;
    }
}

// Bounds of integer arithmetic on indices over all values of the equation's variables; false: not known, or beyond i32.
static bool int_range(const Simplifier *s, const Expr *e, int64_t *low, int64_t *high) {
    int64_t a, b, c, d;
    if (e->type != T_I32) return false;
    switch (e->op) {
    case OP_CONST: *low = *high = (int64_t)e->number; break;
    case OP_INDEX: {
        Extent x = s->eq->var[e->var].extent;
        if (x.axis >= 0 || x.count < 1) return false;
        *low = 0;
        *high = x.count - 1;
        break;
    }
    case OP_IADD:
    case OP_ISUB:
        if (!int_range(s, e->arg[0], &a, &b) || !int_range(s, e->arg[1], &c, &d)) return false;
        *low = e->op == OP_IADD ? a + c : a - d;
        *high = e->op == OP_IADD ? b + d : b - c;
        break;
    case OP_IMUL: {
        if (!int_range(s, e->arg[0], &a, &b) || !int_range(s, e->arg[1], &c, &d)) return false;
        int64_t corner[4] = {a * c, a * d, b * c, b * d};
        *low = *high = corner[0];
        for (int i = 1; i < 4; i++) {
            if (corner[i] < *low) *low = corner[i];
            if (corner[i] > *high) *high = corner[i];
        }
        break;
    }
    case OP_IDIV:
    case OP_IMOD: {
        const Expr *by = e->arg[1];
        if (by->op != OP_CONST || by->number < 1 || !int_range(s, e->arg[0], &a, &b)) return false;
        int64_t n = (int64_t)by->number, first = a / n - (a % n < 0), last = b / n - (b % n < 0);
        bool one = first == last; // all in one period
        *low = e->op == OP_IDIV ? first : one ? a - first * n : 0;
        *high = e->op == OP_IDIV ? last : one ? b - first * n : n - 1;
        break;
    }
    default: return false;
    }
    return *low >= INT32_MIN && *high <= INT32_MAX;
}

static Expr *range_rule(Simplifier *s, Expr *e) {
    int64_t a, b, c, d;
    if (result_rule[e->op] != 'I' && result_rule[e->op] != 'B') return NULL;
    if (!int_range(s, e->arg[0], &a, &b) || !int_range(s, e->arg[1], &c, &d)) return NULL;
    bool yes = false, no = false;
    switch (e->op) {
    case OP_LT: yes = b < c, no = a >= d; break;
    case OP_LE: yes = b <= c, no = a > d; break;
    case OP_EQ: yes = a == b && c == d && a == c, no = b < c || a > d; break;
    case OP_NE: yes = b < c || a > d, no = a == b && c == d && a == c; break;
    case OP_IDIV:
        if (c == d && c > 0 && a >= 0 && b < c) return constant(s, 0, T_I32);
        break;
    case OP_IMOD:
        if (c == d && c > 0 && a >= 0 && b < c) return e->arg[0];
        break;
    default: break;
    }
    return yes || no ? constant(s, yes, T_BOOL) : NULL;
}

static Expr *logic_rule(Simplifier *s, Expr *e) {
    Expr *a = e->arg[0], *b = e->arg[1], *c = e->arg[2];
    switch (e->op) {
    case OP_AND:
        if (is_const(a, 0) || is_const(b, 0)) return constant(s, 0, T_BOOL);
        return a == b || b->op == OP_CONST ? a : a->op == OP_CONST ? b : NULL;
    case OP_OR:
        if (a->op == OP_CONST) return is_const(a, 0) ? b : constant(s, 1, T_BOOL);
        if (b->op == OP_CONST) return is_const(b, 0) ? a : constant(s, 1, T_BOOL);
        return a == b ? a : NULL;
    case OP_NOT:
        if (a->op == OP_NOT) return a->arg[0];
        if (a->op == OP_EQ) return make(s, OP_NE, a->arg[0], a->arg[1]);
        if (a->op == OP_NE) return make(s, OP_EQ, a->arg[0], a->arg[1]);
        // Between reals `not a < b` holds for NaN and `b <= a` does not.
        if (a->op == OP_LT && is_integer(a->arg[0]->type)) return make(s, OP_LE, a->arg[1], a->arg[0]);
        if (a->op == OP_LE && is_integer(a->arg[0]->type)) return make(s, OP_LT, a->arg[1], a->arg[0]);
        return NULL;
    case OP_SELECT:
        if (a->op == OP_CONST) return a->number != 0 ? b : c;
        if (b == c) return b;
        if (a->op == OP_NOT) return expr_op(s->job, OP_SELECT, a->arg[0], c, b);
        if (b->op == OP_SELECT && b->arg[0] == a) return expr_op(s->job, OP_SELECT, a, b->arg[1], c);
        if (c->op == OP_SELECT && c->arg[0] == a) return expr_op(s->job, OP_SELECT, a, b, c->arg[2]);
        return NULL;
    case OP_CAST: return a->type == e->type ? a : NULL;
    default: return NULL;
    }
}

static Expr *one_rule(Simplifier *s, Expr *e) {
    Expr *made = fold_constants(s, e);
    if (made == NULL && e->op == OP_EXTENT && e->extent.axis < 0) made = constant(s, (double)e->extent.count, T_I32);
    if (made == NULL && result_rule[e->op] == 'R') made = real_rule(s, e);
    if (made == NULL && (result_rule[e->op] == 'I' || result_rule[e->op] == 'B')) made = integer_rule(s, e);
    if (made == NULL) made = range_rule(s, e);
    if (made == NULL) made = logic_rule(s, e);
    if (made == NULL && commutes(e->op) && out_of_order(s, e->arg[0], e->arg[1]))
        made = make(s, e->op, e->arg[1], e->arg[0]);
    return made;
}

// ---- expressions
static void rewrite_position(Simplifier *s, Position *p) {
    if (p->gather != NULL) {
        p->gather = rewrite(s, p->gather);
        return;
    }
    int kept = 0, terms = p->terms;
    for (int k = 0; k < terms; k++) {
        uint32_t var = 1u << p->term[k].var;
        // A lone variable stays, for a plain position says more than a zero.
        if ((s->gone & var) || ((s->zero_vars & var) && terms > 1)) continue;
        p->term[kept++] = p->term[k];
    }
    p->terms = kept;
}

// A constant may be written for a read that is never outside, or is zero there anyway.
static bool never_outside(const Simplifier *s, const Expr *e, double value) {
    const Tensor *t = s->p->tensor.at[e->tensor];
    for (int i = 0; i < e->rank; i++) {
        const Position *p = &e->position[i];
        int var;
        if (p->gather != NULL) return false;
        if (value == 0) continue;
        bool constant_inside = p->terms == 0 && p->divide == 1 && p->modulo == 0 && t->dim[i].axis < 0 &&
                               p->offset >= 0 && p->offset < t->dim[i].count;
        if (constant_inside) continue;
        if (!position_is_var(p, &var) || !extent_same(s->eq->var[var].extent, t->dim[i])) return false;
    }
    return true;
}

// Not inline: its positions would be on the stack once per level of an expression.
__attribute__((noinline)) static Expr *rewrite_read(Simplifier *s, Expr *e) {
    Position at[MAX_RANK];
    for (int i = 0; i < e->rank; i++) {
        at[i] = e->position[i];
        rewrite_position(s, &at[i]);
    }
    Expr *in = s->inlined[e->tensor];
    if (in != NULL && never_outside(s, e, in->op == OP_CONST ? in->number : 1)) return in;
    return expr_read(s->job, s->p->tensor.at[s->same_as[e->tensor]], at, e->span);
}

static Expr *rewrite(Simplifier *s, Expr *e) {
    Expr *known = expr_map_get(&s->done, e);
    if (known != NULL) return known;
    Expr *made = e;
    if (e->op == OP_READ) {
        made = rewrite_read(s, e);
    } else if (e->op == OP_INDEX) {
        if (s->zero_vars & 1u << e->var) made = constant(s, 0, T_I32);
    } else {
        Expr *arg[3] = {NULL, NULL, NULL};
        for (int i = 0; i < e->arity; i++) arg[i] = rewrite(s, e->arg[i]);
        if (e->op == OP_CAST) made = expr_cast(s->job, e->type, arg[0]);
        else if (e->arity > 0) made = expr_op(s->job, e->op, arg[0], arg[1], arg[2]);
        Expr *better = one_rule(s, made);
        if (better != NULL) made = rewrite(s, better);
    }
    expr_map_put(&s->done, e, made);
    if (made != e) expr_map_put(&s->done, made, made);
    return made;
}

// ---- equations
static bool same_shape(const Tensor *a, const Tensor *b) {
    if (a->rank != b->rank || a->type != b->type) return false;
    for (int i = 0; i < a->rank; i++)
        if (!extent_same(a->dim[i], b->dim[i])) return false;
    return true;
}

static void drop_reduced_ones(Simplifier *s, Equation *eq) {
    int map[MAX_VARS], vars = 0;
    for (int v = 0; v < eq->vars; v++) {
        map[v] = -1;
        if (s->gone & 1u << v) continue;
        eq->var[vars] = eq->var[v];
        map[v] = vars++;
    }
    eq->vars = vars;
    eq->value = expr_rename(s->job, eq->value, map);
    if (eq->vars > eq->free) return;
    if (eq->reduce == REDUCE_ARGMAX || eq->reduce == REDUCE_ARGMIN) eq->value = constant(s, 0, T_I32);
    eq->reduce = REDUCE_NONE;
}

static void rewrite_equation(Simplifier *s, Equation *eq) {
    s->eq = eq;
    s->done = (ExprMap){.arena = s->arena};
    s->zero_vars = s->gone = 0;
    for (int v = 0; v < eq->vars; v++) {
        if (!extent_is_one(eq->var[v].extent)) continue;
        s->zero_vars |= 1u << v;
        if (eq->kind == EQ_COMPUTE && v >= eq->free) s->gone |= 1u << v;
    }
    eq->value = rewrite(s, eq->value);
    if (eq->kind == EQ_SCATTER) {
        for (int i = 0; i < s->p->tensor.at[eq->out]->rank; i++) rewrite_position(s, &eq->target[i]);
    }
    if (s->gone != 0) {
        drop_reduced_ones(s, eq);
        rewrite_equation(s, eq);
    }
}

static void rewrite_view(Simplifier *s, Equation *eq) {
    int from = s->same_as[eq->value->tensor];
    const Equation *before = s->definer[from];
    if (before != NULL && before->kind == EQ_VIEW) from = before->value->tensor;
    Position zero[MAX_RANK];
    for (int i = 0; i < MAX_RANK; i++) zero[i] = position_const(0);
    eq->value = expr_read(s->job, s->p->tensor.at[from], zero, NO_SPAN);
    if (same_shape(s->p->tensor.at[from], s->p->tensor.at[eq->out])) s->same_as[eq->out] = from;
}

static bool equal_equations(const Simplifier *s, const Equation *a, const Equation *b) {
    if (a->kind != b->kind || a->kind == EQ_SCATTER || a->value != b->value || a->reduce != b->reduce ||
        a->precision != b->precision || a->free != b->free || a->vars != b->vars ||
        !same_shape(s->p->tensor.at[a->out], s->p->tensor.at[b->out]))
        return false;
    for (int v = 0; v < a->vars; v++)
        if (!extent_same(a->var[v].extent, b->var[v].extent)) return false;
    return true;
}

static void become_copy(Simplifier *s, Equation *eq, const Tensor *of) {
    const Tensor *out = s->p->tensor.at[eq->out];
    eq->kind = EQ_COMPUTE;
    eq->reduce = REDUCE_NONE;
    eq->free = eq->vars = out->rank;
    for (int i = 0; i < out->rank; i++) eq->var[i].extent = out->dim[i];
    eq->value = read_whole(s->job, of);
}

// A few cheap steps on numbers: cheaper to repeat than to read.
static int small_cost(const Expr *e) {
    switch (e->op) {
    case OP_CONST: return 0;
    case OP_READ: return e->rank == 0 ? 0 : 99;
    case OP_NEG:
    case OP_ADD:
    case OP_SUB:
    case OP_MUL:
    case OP_MIN:
    case OP_MAX:
    case OP_CAST: {
        int cost = 1;
        for (int i = 0; i < e->arity; i++) cost += small_cost(e->arg[i]);
        return cost;
    }
    default: return 99;
    }
}

static void note_definition(Simplifier *s, Equation *eq) {
    const Tensor *out = s->p->tensor.at[eq->out];
    s->definer[eq->out] = eq;
    if (eq->kind != EQ_COMPUTE || eq->reduce != REDUCE_NONE) return;
    const Expr *e = eq->value;
    if (e->op == OP_READ && positions_whole(e->position, e->rank) && same_shape(s->p->tensor.at[e->tensor], out)) {
        s->same_as[eq->out] = e->tensor;
    } else if (e->op == OP_CONST || (out->rank == 0 && small_cost(e) <= 2)) {
        s->inlined[eq->out] = eq->value;
    }
}

typedef struct Uses {
    bool *used;
} Uses;

static void use_reads(void *context, Expr *e) {
    Uses *u = context;
    if (e->op == OP_READ) u->used[e->tensor] = true;
}

static void drop_unused(Simplifier *s) {
    Job *job = s->job;
    Uses u = {NEW_ARRAY(s->arena, bool, s->p->tensor.count + 1)};
    if (job->loss >= 0) u.used[job->loss] = true;
    for (int i = 0; i < job->output.count; i++) u.used[job->output.at[i].tensor] = true;
    for (int i = 0; i < job->update.count; i++) u.used[job->update.at[i].source] = true;
    for (int i = 0; i < job->gradient.count; i++) u.used[job->gradient.at[i].target] = true;
    for (int i = 0; i < s->p->tensor.count; i++)
        if (s->p->tensor.at[i]->init >= 0) u.used[s->p->tensor.at[i]->init] = true;
    bool *keep = NEW_ARRAY(s->arena, bool, job->equation.count + 1);
    for (int i = job->equation.count - 1; i >= 0; i--) {
        const Equation *eq = job->equation.at[i];
        keep[i] = u.used[eq->out];
        if (!keep[i]) continue;
        expr_walk(s->arena, eq->value, use_reads, &u);
        for (int k = 0; eq->kind == EQ_SCATTER && k < s->p->tensor.at[eq->out]->rank; k++)
            if (eq->target[k].gather != NULL) expr_walk(s->arena, eq->target[k].gather, use_reads, &u);
    }
    int kept = 0;
    for (int i = 0; i < job->equation.count; i++)
        if (keep[i]) job->equation.at[kept++] = job->equation.at[i];
    job->equation.count = kept;
}

void simplify(Program *p, Job *job) {
    int n = p->tensor.count;
    Simplifier *s = NEW(job->arena, Simplifier);
    *s = (Simplifier){.p = p, .job = job, .arena = job->arena, .structure = {.arena = job->arena}};
    s->same_as = NEW_ARRAY(job->arena, int, n + 1);
    s->inlined = NEW_ARRAY(job->arena, Expr *, n + 1);
    s->definer = NEW_ARRAY(job->arena, const Equation *, n + 1);
    for (int i = 0; i < n; i++) s->same_as[i] = i;
    ExprMap by_value = {.arena = job->arena}; // the last equation with this value, plus one; `before` chains them
    int *before = NEW_ARRAY(job->arena, int, job->equation.count + 1);
    for (int i = 0; i < job->equation.count; i++) {
        Equation *eq = job->equation.at[i];
        if (eq->kind == EQ_VIEW) rewrite_view(s, eq);
        else rewrite_equation(s, eq);
        int last = (int)(uintptr_t)expr_map_get(&by_value, eq->value), same = last;
        while (same > 0 && !equal_equations(s, job->equation.at[same - 1], eq)) same = before[same];
        bool worth =
            eq->kind == EQ_VIEW || eq->reduce != REDUCE_NONE || eq->value->arity > 0 || eq->value->op == OP_READ;
        if (same > 0 && worth && s->same_as[eq->out] == eq->out) {
            const Tensor *first = p->tensor.at[s->same_as[job->equation.at[same - 1]->out]];
            become_copy(s, eq, first);
        } else {
            before[i + 1] = last;
            expr_map_put(&by_value, eq->value, (void *)(uintptr_t)(i + 1));
        }
        note_definition(s, eq);
    }
    drop_unused(s);
}
