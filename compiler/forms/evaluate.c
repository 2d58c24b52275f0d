// Reference evaluator of the equation form: one point at a time, in f64, no cleverness. Tests of passes and of the
// emitters compare with it, so where spec/equations.md leaves a choice, this file is the answer.
// The arm of a select that is not chosen is not evaluated; a gather outside its tensor is an error of the data.
#include "forms/equations.h"

#include <math.h>
#include <string.h>

struct Values {
    Arena *arena;
    const Program *p;
    int tensors;
    int64_t *axis;
    double **data;
    size_t *count;
};

typedef struct Point { // a node of the expression being evaluated
    const Expr *e;
    int arg[3];
    int gather[MAX_RANK]; // READ: node of each gathered position, or -1
    double value;
    uint64_t stamp;
} Point;

typedef struct Evaluator {
    const Program *p;
    const Job *job;
    const Equation *eq;
    Values *v;
    VEC(Point) node;
    int *slot; // open addressing from expression to node
    int room;
    int64_t extent[MAX_VARS], at[MAX_VARS];
    uint64_t stamp;
    uint64_t element; // number of the element over the free variables (SCATTER: over all), row-major
    uint32_t seed, step;
    const char *error;
} Evaluator;

static int64_t size_of(const Values *v, Extent e) {
    return e.axis < 0 ? e.count : e.count * v->axis[e.axis];
}

Values *values_new(Arena *arena, const Program *p, const int64_t *axis_value) {
    Values *v = NEW(arena, Values);
    v->arena = arena;
    v->p = p;
    v->tensors = p->tensor.count;
    v->axis = NEW_ARRAY(arena, int64_t, p->axis.count + 1);
    for (int i = 0; i < p->axis.count; i++)
        v->axis[i] = p->axis.at[i].dynamic && axis_value != NULL ? axis_value[i] : p->axis.at[i].count;
    v->data = NEW_ARRAY(arena, double *, v->tensors + 1);
    v->count = NEW_ARRAY(arena, size_t, v->tensors + 1);
    for (int i = 0; i < v->tensors; i++) {
        const Tensor *t = p->tensor.at[i];
        v->count[i] = 1;
        for (int k = 0; k < t->rank; k++) v->count[i] *= (size_t)size_of(v, t->dim[k]);
        v->data[i] = NEW_ARRAY(arena, double, v->count[i] + 1);
    }
    return v;
}

double *values_of(Values *v, int tensor, size_t *count) {
    EXPECT(tensor >= 0 && tensor < v->tensors);
    if (count != NULL) *count = v->count[tensor];
    return v->data[tensor];
}

// ---- primitives
static uint32_t philox_word0(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c0;
}

static double digamma(double x) {
    double shift = 0;
    if (x == 0) return copysign(INFINITY, -x);
    if (x < 0 && x == floor(x)) return NAN;
    if (x < 0) return digamma(1 - x) - 3.14159265358979323846 / tan(3.14159265358979323846 * x);
    for (; x < 10; x += 1) shift -= 1 / x;
    double y = 1 / (x * x);
    double tail =
        y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y * (1.0 / 132 - y * 691.0 / 32760)))));
    return shift + log(x) - 0.5 / x - tail;
}

static double log_gamma(double x) {
    int sign;
    extern double lgamma_r(double, int *); // POSIX: lgamma itself writes a global
    return lgamma_r(x, &sign);
}

// Integers wrap while they are integers: as doubles, products beyond 2^53 have lost the bits that remain.
static int64_t wrapped(ElementType t, int64_t x) {
    switch (t) {
    case T_I32: return (int32_t)(uint32_t)(uint64_t)x;
    case T_U8: return (uint8_t)(uint64_t)x;
    default: return x;
    }
}

static double cast(ElementType to, ElementType from, double x) {
    if (to == T_REAL) return x;
    if (to == T_BOOL) return x != 0;
    if (from != T_REAL) return (double)wrapped(to, (int64_t)x);
    double low = to == T_I32 ? -2147483648.0 : to == T_U8 ? 0.0 : -9223372036854775808.0;
    double high = to == T_I32 ? 2147483647.0 : to == T_U8 ? 255.0 : 9223372036854774784.0;
    if (isnan(x)) return 0;
    x = trunc(x);
    return x < low ? low : x > high ? high : x;
}

static double extreme(double a, double b, bool larger) {
    if (isnan(a) || isnan(b)) return NAN;
    return larger ? (a > b ? a : b) : (a < b ? a : b);
}

static int64_t integer_op(ScalarOp op, int64_t a, int64_t b) {
    switch (op) {
    case OP_IADD: return (int64_t)((uint64_t)a + (uint64_t)b);
    case OP_ISUB: return (int64_t)((uint64_t)a - (uint64_t)b);
    case OP_IMUL: return (int64_t)((uint64_t)a * (uint64_t)b);
    default: break;
    }
    if (b == 0) return 0;
    if (b == -1) return op == OP_IDIV ? (int64_t)(0 - (uint64_t)a) : 0;
    int64_t q = a / b, r = a % b;
    if (r != 0 && (r < 0) != (b < 0)) {
        q--;
        r += b;
    }
    return op == OP_IDIV ? q : r;
}

static double scalar_op(const Expr *e, double a, double b) {
    switch (e->op) {
    case OP_NEG: return -a;
    case OP_ADD: return a + b;
    case OP_SUB: return a - b;
    case OP_MUL: return a * b;
    case OP_DIV: return a / b;
    case OP_MIN: return extreme(a, b, false);
    case OP_MAX: return extreme(a, b, true);
    case OP_POW: return pow(a, b);
    case OP_ABS: return fabs(a);
    case OP_SIGN: return isnan(a) ? a : (a > 0) - (a < 0);
    case OP_FLOOR: return floor(a);
    case OP_ROUND: return nearbyint(a);
    case OP_SQRT: return sqrt(a);
    case OP_RSQRT: return 1 / sqrt(a);
    case OP_EXP: return exp(a);
    case OP_EXPM1: return expm1(a);
    case OP_LOG: return log(a);
    case OP_LOG1P: return log1p(a);
    case OP_SIN: return sin(a);
    case OP_COS: return cos(a);
    case OP_TANH: return tanh(a);
    case OP_SIGMOID: return a >= 0 ? 1 / (1 + exp(-a)) : exp(a) / (1 + exp(a));
    case OP_ERF: return erf(a);
    case OP_LGAMMA: return log_gamma(a);
    case OP_DIGAMMA: return digamma(a);
    case OP_ATAN2: return atan2(a, b);
    case OP_STOP: return a;
    case OP_IADD:
    case OP_ISUB:
    case OP_IMUL:
    case OP_IDIV:
    case OP_IMOD: return (double)wrapped(e->type, integer_op(e->op, (int64_t)a, (int64_t)b));
    case OP_LT: return a < b;
    case OP_LE: return a <= b;
    case OP_EQ: return a == b;
    case OP_NE: return a != b;
    case OP_AND: return a != 0 && b != 0;
    case OP_OR: return a != 0 || b != 0;
    case OP_NOT: return a == 0;
    case OP_CAST: return cast(e->type, e->arg[0]->type, a);
    case OP_CONST:
    case OP_INDEX:
    case OP_EXTENT:
    case OP_READ:
    case OP_RANDOM:
    case OP_SELECT:
    case OP_COUNT: break;
    }
    DIE("the evaluator has no primitive %d", (int)e->op);
}

double evaluate_op(const Expr *e, const double arg[3]) {
    return e->op == OP_SELECT ? arg[arg[0] != 0 ? 1 : 2] : scalar_op(e, arg[0], arg[1]);
}

// ---- one equation
static int node_of(Evaluator *ev, const Expr *e) {
    if (2 * (ev->node.count + 1) > ev->room) {
        ev->room = ev->room == 0 ? 64 : 2 * ev->room;
        ev->slot = NEW_ARRAY(ev->v->arena, int, ev->room);
        for (int i = 0; i < ev->node.count; i++) {
            uint64_t at = ((uint64_t)(uintptr_t)ev->node.at[i].e * 0x9E3779B97F4A7C15u) >> 33;
            while (ev->slot[at &= (uint64_t)ev->room - 1] != 0) at++;
            ev->slot[at] = i + 1;
        }
    }
    uint64_t at = ((uint64_t)(uintptr_t)e * 0x9E3779B97F4A7C15u) >> 33;
    for (; ev->slot[at &= (uint64_t)ev->room - 1] != 0; at++)
        if (ev->node.at[ev->slot[at] - 1].e == e) return ev->slot[at] - 1;
    Point n = {.e = e};
    int number = ev->node.count;
    ev->slot[at] = number + 1;
    vec_push(ev->v->arena, &ev->node, n);
    for (int i = 0; i < e->arity; i++) {
        int a = node_of(ev, e->arg[i]);
        ev->node.at[number].arg[i] = a;
    }
    for (int i = 0; e->op == OP_READ && i < e->rank; i++) {
        int g = e->position[i].gather != NULL ? node_of(ev, e->position[i].gather) : -1;
        ev->node.at[number].gather[i] = g;
    }
    return number;
}

static double eval(Evaluator *ev, int number);

// Row-major offset of an element, or -1 when a position is outside. `gather` holds the nodes of gathered positions.
static int64_t offset_of(Evaluator *ev, const Tensor *t, const Position *at, const int *gather) {
    int64_t offset = 0;
    for (int pass = 0; pass < 2; pass++) { // affine positions first: a read that they put outside gathers nothing
        int64_t stride = 1;
        for (int i = t->rank - 1; i >= 0; i--) {
            const Position *p = &at[i];
            int64_t size = size_of(ev->v, t->dim[i]), x;
            if (p->gather != NULL && pass == 1) {
                x = (int64_t)eval(ev, gather[i]);
                if (x < 0 || x >= size) {
                    if (ev->error == NULL)
                        ev->error = arena_format(
                            ev->v->arena, "tensor %d (%s) is read at %lld of dimension %d, which has %lld elements",
                            t->id, t->name != NULL ? t->name : "", (long long)x, i, (long long)size);
                    return -1;
                }
                offset += x * stride;
            } else if (p->gather == NULL && pass == 0) {
                x = p->offset;
                for (int k = 0; k < p->terms; k++) x += p->term[k].coef * ev->at[p->term[k].var];
                if (p->divide > 1) {
                    int64_t q = integer_op(OP_IDIV, x, p->divide);
                    if (p->exact && q * p->divide != x) return -1;
                    x = q;
                }
                if (p->modulo > 0) x = integer_op(OP_IMOD, x, p->modulo);
                if (x < 0 || x >= size) return -1;
                offset += x * stride;
            }
            stride *= size;
        }
    }
    return offset;
}

static double eval_fresh(Evaluator *ev, int number) {
    const Expr *e = ev->node.at[number].e;
    switch (e->op) {
    case OP_CONST: return e->number;
    case OP_INDEX: return (double)ev->at[e->var];
    case OP_EXTENT: return (double)size_of(ev->v, e->extent);
    case OP_READ: {
        int64_t offset = offset_of(ev, ev->p->tensor.at[e->tensor], e->position, ev->node.at[number].gather);
        return offset < 0 ? 0 : ev->v->data[e->tensor][offset];
    }
    case OP_RANDOM: {
        uint32_t w = philox_word0((uint32_t)ev->element, (uint32_t)(ev->element >> 32), e->place, ev->step, ev->seed,
                                  0x53544D43u);
        return (double)(w >> 8) * 0x1p-24;
    }
    case OP_SELECT: {
        bool chosen = eval(ev, ev->node.at[number].arg[0]) != 0;
        return eval(ev, ev->node.at[number].arg[chosen ? 1 : 2]);
    }
    default: break;
    }
    double a = eval(ev, ev->node.at[number].arg[0]);
    double b = e->arity > 1 ? eval(ev, ev->node.at[number].arg[1]) : 0;
    return scalar_op(e, a, b);
}

static double eval(Evaluator *ev, int number) {
    if (ev->node.at[number].stamp == ev->stamp) return ev->node.at[number].value;
    double x = eval_fresh(ev, number);
    ev->node.at[number].value = x;
    ev->node.at[number].stamp = ev->stamp;
    return x;
}

// The next point of the box of variables from..to, the last one fastest; false after the last point.
static bool advance(Evaluator *ev, int from, int to) {
    for (int i = to - 1; i >= from; i--) {
        if (++ev->at[i] < ev->extent[i]) return true;
        ev->at[i] = 0;
    }
    return false;
}

static bool box_empty(const Evaluator *ev, int from, int to) {
    for (int i = from; i < to; i++)
        if (ev->extent[i] <= 0) return true;
    return false;
}

static double first_value(Reduce reduce, ElementType t) {
    bool max = reduce == REDUCE_MAX;
    switch (reduce) {
    case REDUCE_PROD: return 1;
    case REDUCE_MAX:
    case REDUCE_MIN:
        switch (t) {
        case T_REAL: return max ? -INFINITY : INFINITY;
        case T_I32: return max ? -2147483648.0 : 2147483647.0;
        case T_I64: return max ? -9223372036854775808.0 : 9223372036854774784.0;
        case T_U8: return max ? 0 : 255;
        default: return !max;
        }
    default: return 0;
    }
}

static double accumulated(ElementType t, double all, double x, bool product) {
    if (t == T_REAL) return product ? all * x : all + x;
    return (double)wrapped(t, integer_op(product ? OP_IMUL : OP_IADD, (int64_t)all, (int64_t)x));
}

static double reduce_values(Evaluator *ev, int root) {
    const Equation *eq = ev->eq;
    ElementType t = eq->value->type;
    double all = first_value(eq->reduce, t), best = eq->reduce == REDUCE_ARGMAX ? -INFINITY : INFINITY;
    if (box_empty(ev, eq->free, eq->vars)) return all;
    int64_t number = 0;
    do {
        ev->stamp++;
        double x = eval(ev, root);
        switch (eq->reduce) {
        case REDUCE_SUM: all = accumulated(t, all, x, false); break;
        case REDUCE_PROD: all = accumulated(t, all, x, true); break;
        case REDUCE_MAX: all = extreme(all, x, true); break;
        case REDUCE_MIN: all = extreme(all, x, false); break;
        case REDUCE_ARGMAX:
        case REDUCE_ARGMIN:
            if (eq->reduce == REDUCE_ARGMAX ? x > best : x < best) {
                best = x;
                all = (double)number;
            }
            break;
        case REDUCE_NONE: break;
        }
        number++;
    } while (advance(ev, eq->free, eq->vars));
    return all;
}

static void evaluate_equation(Evaluator *ev) {
    const Equation *eq = ev->eq;
    double *out = ev->v->data[eq->out];
    if (eq->kind == EQ_VIEW) {
        memcpy(out, ev->v->data[eq->value->tensor], ev->v->count[eq->out] * sizeof *out);
        return;
    }
    ev->node.count = 0;
    ev->room = 0;
    int root = node_of(ev, eq->value), target[MAX_RANK] = {0};
    const Tensor *t = ev->p->tensor.at[eq->out];
    bool scatter = eq->kind == EQ_SCATTER;
    for (int i = 0; scatter && i < t->rank; i++)
        target[i] = eq->target[i].gather != NULL ? node_of(ev, eq->target[i].gather) : -1;
    for (int i = 0; i < eq->vars; i++) {
        ev->extent[i] = size_of(ev->v, eq->var[i].extent);
        ev->at[i] = 0;
    }
    if (scatter) memset(out, 0, ev->v->count[eq->out] * sizeof *out);
    int outer = scatter ? eq->vars : eq->free;
    ev->element = 0;
    if (box_empty(ev, 0, outer)) return;
    do {
        ev->stamp++;
        if (scatter) {
            int64_t offset = offset_of(ev, t, eq->target, target);
            if (offset >= 0) out[offset] = accumulated(t->type, out[offset], eval(ev, root), false);
        } else if (eq->reduce == REDUCE_NONE) {
            out[ev->element] = eval(ev, root);
        } else {
            out[ev->element] = reduce_values(ev, root);
        }
        ev->element++;
    } while (ev->error == NULL && advance(ev, 0, outer));
}

const char *job_evaluate(const Program *p, const Job *job, Values *v) {
    EXPECT(v->tensors == p->tensor.count); // values made before a pass added tensors do not fit
    Evaluator ev = {.p = p, .job = job, .v = v};
    if (p->scalar_seed >= 0) ev.seed = (uint32_t)(int64_t)v->data[p->scalar_seed][0];
    if (p->scalar_step >= 0) ev.step = (uint32_t)(int64_t)v->data[p->scalar_step][0];
    for (int i = 0; i < job->equation.count; i++) {
        ev.eq = job->equation.at[i];
        evaluate_equation(&ev);
        if (ev.error != NULL) return ev.error;
    }
    // Every update takes what its source held before the first of them.
    double **taken = NEW_ARRAY(v->arena, double *, job->update.count + 1);
    for (int i = 0; i < job->update.count; i++) {
        int s = job->update.at[i].source;
        taken[i] = arena_copy(v->arena, v->data[s], v->count[s] * sizeof(double) + 1);
    }
    for (int i = 0; i < job->update.count; i++) {
        int t = job->update.at[i].target;
        memcpy(v->data[t], taken[i], v->count[t] * sizeof(double));
    }
    return NULL;
}
