// Functions that the language itself knows: the primitives of ops.h under their source names, draws, conversions,
// sizes, concatenation, whole-tensor reductions, and compile-time checks.
// requires arguments already evaluated; leaves a Value.
#include "elaborate/internal.h"

#include <math.h>
#include <string.h>

// Source name, primitive, number of arguments.
static const struct {
    const char *name;
    ScalarOp op;
    int arity;
} primitives[] = {
    {"exp", OP_EXP, 1},         {"expm1", OP_EXPM1, 1},
    {"log", OP_LOG, 1},         {"log1p", OP_LOG1P, 1},
    {"sqrt", OP_SQRT, 1},       {"rsqrt", OP_RSQRT, 1},
    {"abs", OP_ABS, 1},         {"sign", OP_SIGN, 1},
    {"floor", OP_FLOOR, 1},     {"round", OP_ROUND, 1},
    {"sin", OP_SIN, 1},         {"cos", OP_COS, 1},
    {"tanh", OP_TANH, 1},       {"sigmoid", OP_SIGMOID, 1},
    {"erf", OP_ERF, 1},         {"lgamma", OP_LGAMMA, 1},
    {"min", OP_MIN, 2},         {"max", OP_MAX, 2},
    {"pow", OP_POW, 2},         {"atan2", OP_ATAN2, 2},
    {"digamma", OP_DIGAMMA, 1}, {"stop_gradient", OP_STOP, 1},
};
static const char *const names[] = {
    "exp",     "expm1",         "log",     "log1p",   "sqrt",      "rsqrt",    "abs",   "sign",   "floor",  "round",
    "sin",     "cos",           "tanh",    "sigmoid", "erf",       "lgamma",   "min",   "max",    "pow",    "atan2",
    "digamma", "stop_gradient", "uniform", "normal",  "bernoulli", "int",      "float", "extent", "concat", "sum",
    "mean",    "prod",          "require", "error",   "len",       "index_of", NULL};

const char *const *builtin_names(void) {
    return names;
}

bool is_builtin(const char *name) {
    for (const char *const *n = names; *n; n++)
        if (!strcmp(*n, name)) return true;
    return false;
}

// True for functions that work element by element, so that they map over whole tensors.
bool builtin_scalar_op(const char *name, ScalarOp *op) {
    for (size_t i = 0; i < sizeof primitives / sizeof *primitives; i++)
        if (!strcmp(primitives[i].name, name)) {
            *op = primitives[i].op;
            return true;
        }
    if (!strcmp(name, "int") || !strcmp(name, "float")) {
        *op = OP_CAST;
        return true;
    }
    return false;
}

static bool fold(ScalarOp op, double x, double y, double *r) {
    switch (op) {
    case OP_EXP: *r = exp(x); return true;
    case OP_EXPM1: *r = expm1(x); return true;
    case OP_LOG: *r = log(x); return true;
    case OP_LOG1P: *r = log1p(x); return true;
    case OP_SQRT: *r = sqrt(x); return true;
    case OP_RSQRT: *r = 1 / sqrt(x); return true;
    case OP_ABS: *r = fabs(x); return true;
    case OP_SIGN: *r = (x > 0) - (x < 0); return true;
    case OP_FLOOR: *r = floor(x); return true;
    case OP_ROUND: *r = nearbyint(x); return true;
    case OP_SIN: *r = sin(x); return true;
    case OP_COS: *r = cos(x); return true;
    case OP_TANH: *r = tanh(x); return true;
    case OP_SIGMOID: *r = 1 / (1 + exp(-x)); return true;
    case OP_ERF: *r = erf(x); return true;
    case OP_MIN: *r = x < y ? x : y; return true;
    case OP_MAX: *r = x > y ? x : y; return true;
    case OP_POW: *r = pow(x, y); return true;
    case OP_ATAN2: *r = atan2(x, y); return true;
    case OP_STOP: *r = x; return true;
    default: return false;
    }
}

static bool wrong_count(El *el, const Node *n, const char *name, const char *wanted, int found) {
    report_error(el->d, n->span, "input-count", "`%s` takes %s, found %d argument%s", name, wanted, found,
                 found == 1 ? "" : "s");
    return false;
}

static Value expr_value(Expr *e, Span at) {
    return (Value){.kind = V_EXPR, .expr = e, .span = at, .axis = -1};
}

static const Value *named(El *el, Scope *s, const Node *n, const char *name, Value *room) {
    for (int i = 2; n->kind == N_CALL && i < n->kids; i++)
        if (n->kid[i]->kind == N_NAMED && !strcmp(n->kid[i]->name, name))
            return (el->indices ? build(el, s, n->kid[i]->kid[0], room) : evaluate(el, s, n->kid[i]->kid[0], room))
                       ? room
                       : NULL;
    return NULL;
}

// concat(a, b, …, dim = -1): one equation that chooses the part by position.
static bool concat(El *el, Scope *s, const Node *n, const Value *arg, int args, Value *out) {
    if (args < 1) return wrong_count(el, n, "concat", "one or more tensors", args);
    Value room;
    const Value *d = named(el, s, n, "dim", &room);
    for (int i = 0; i < args; i++)
        if (arg[i].kind != V_TENSOR || arg[i].tensor->rank == 0) {
            report_error(el->d, arg[i].span, "not-a-tensor", "`concat` joins tensors, found %s",
                         value_kind_name(&arg[i]));
            return false;
        }
    Tensor *first = arg[0].tensor;
    int rank = first->rank;
    double place = d ? d->kind == V_NUMBER ? d->number : (double)NAN : -1;
    if (place < 0) place += rank;
    if (!(place >= 0 && place < rank && place == floor(place))) {
        report_error(el->d, n->span, "bad-dimension", "`dim` must be an integer from %d to %d known when compiling",
                     -rank, rank - 1);
        report_help(el->d, "the tensors have shape %s; the last dimension is -1", shape_text(el, first));
        return false;
    }
    int dim = (int)place;
    int64_t total = 0;
    for (int i = 0; i < args; i++) {
        Tensor *t = arg[i].tensor;
        bool same = t->rank == rank;
        for (int k = 0; same && k < rank; k++)
            if (k != dim) same = extents_agree(el, t->dim[k], t->axis[k], first->dim[k], first->axis[k]);
        if (!same || t->dim[dim].axis >= 0) {
            report_error(el->d, arg[i].span, "shape-mismatch", "cannot join shape %s to shape %s along dimension %d",
                         shape_text(el, t), shape_text(el, first), dim);
            report_note(el->d, arg[0].span, "this has shape %s", shape_text(el, first));
            return false;
        }
        total += t->dim[dim].count;
    }
    Tensor shape = *first;
    shape.dim[dim] = extent_of(total);
    shape.axis[dim] = -1;
    Expr *e = NULL;
    int64_t begin = total;
    ElementType type = first->type;
    for (int i = args - 1; i >= 0; i--) {
        Tensor *t = arg[i].tensor;
        begin -= t->dim[dim].count;
        Position p[MAX_RANK];
        for (int k = 0; k < rank; k++) p[k] = position_var(k);
        p[dim].offset = -begin;
        Expr *read = expr_read(el->job, t, p, arg[i].span);
        if (type != T_REAL || t->type != T_REAL) read = to_real(el, read);
        if (!e) {
            e = read;
            continue;
        }
        Expr *limit = expr_const(el->job, (double)(begin + t->dim[dim].count), T_I32);
        Expr *here = expr_op(el->job, OP_LT, expr_index(el->job, dim), limit, NULL);
        e = expr_op(el->job, OP_SELECT, here, read, e);
    }
    Tensor *joined = emit_map(el, NULL, &shape, e, n->span);
    if (joined) *out = value_tensor(joined, n->span);
    return joined != NULL;
}

static bool reduce_all(El *el, const Node *n, const char *name, const Value *v, Value *out) {
    if (v->kind == V_NUMBER) {
        *out = *v;
        return true;
    }
    if (v->kind != V_TENSOR) {
        report_error(el->d, n->span, "not-a-tensor", "`%s(…)` takes a whole tensor, found %s", name,
                     value_kind_name(v));
        report_help(el->d,
                    "inside an equation write %s[i] x[i]; in a function `f(x) = …` the x is a single element, so write "
                    "the function with brackets: f(x[..]) -> y { … }",
                    name);
        return false;
    }
    Tensor *t = v->tensor;
    Tensor *r = new_temp(el, NULL, T_REAL, 0, NULL, NULL, n->span);
    Equation *q = new_equation(el, EQ_COMPUTE, r, n->span);
    q->vars = t->rank;
    q->reduce = !strcmp(name, "prod")  ? REDUCE_PROD
                : !strcmp(name, "max") ? REDUCE_MAX
                : !strcmp(name, "min") ? REDUCE_MIN
                                       : REDUCE_SUM;
    double count = 1;
    Expr *dynamic = NULL;
    for (int i = 0; i < t->rank; i++) {
        q->var[i] = (Variable){arena_format(el->arena, "i%d", i), t->dim[i]};
        count *= (double)t->dim[i].count;
        if (t->dim[i].axis >= 0) {
            Expr *x = to_real(el, expr_extent(el->job, (Extent){1, t->dim[i].axis}));
            dynamic = dynamic ? expr_op(el->job, OP_MUL, dynamic, x, NULL) : x;
        }
    }
    q->value = to_real(el, read_all(el, t, v->span));
    if (!strcmp(name, "mean")) {
        Expr *c = expr_const(el->job, count, T_REAL);
        if (dynamic) c = expr_op(el->job, OP_MUL, dynamic, c, NULL);
        Expr *m = expr_op(el->job, OP_DIV, read_at(el, r, NULL, n->span), c, NULL);
        r = emit_map(el, NULL, NULL, m, n->span);
    }
    *out = value_tensor(r, n->span);
    return true;
}

// Every argument a number of the equation being built.
static bool scalars(El *el, const char *name, const Value *arg, int args) {
    for (int i = 0; i < args; i++) {
        const Value *v = &arg[i];
        if (v->kind == V_NUMBER || v->kind == V_EXPR || v->kind == V_EXTENT) continue;
        if (v->kind == V_TENSOR && v->tensor->rank == 0) continue;
        report_error(el->d, v->span, "not-a-number", "`%s` takes numbers, found %s%s", name, value_kind_name(v),
                     v->kind == V_TENSOR ? arena_format(el->arena, " of shape %s", shape_text(el, v->tensor)) : "");
        return false;
    }
    return true;
}

static bool draw(El *el, Scope *s, const char *name, const Node *n, const Value *arg, int args, Value *out) {
    Value u, v;
    Job *j = el->job;
    if (!scalars(el, name, arg, args)) return false;
    if (!build_random(el, s, n, &u)) return false;
    if (!strcmp(name, "bernoulli")) {
        if (args != 1) return wrong_count(el, n, name, "one probability", args);
        Expr *below = expr_op(j, OP_LT, u.expr, to_real(el, to_expr(el, &arg[0])), NULL);
        *out = expr_value(expr_op(j, OP_SELECT, below, expr_const(j, 1, T_REAL), expr_const(j, 0, T_REAL)), n->span);
        return true;
    }
    if (args != 0 && args != 2)
        return wrong_count(el, n, name, name[0] == 'u' ? "no arguments or (low, high)" : "no arguments or (mean, sd)",
                           args);
    Expr *x = u.expr;
    if (name[0] == 'n') { // Box and Muller: sqrt(-2 log(1 - u)) cos(2 pi v)
        if (!build_random(el, s, n, &v)) return false;
        Expr *log1 = expr_op(j, OP_LOG1P, expr_op(j, OP_NEG, u.expr, NULL, NULL), NULL, NULL);
        Expr *r = expr_op(j, OP_SQRT, expr_op(j, OP_MUL, expr_const(j, -2, T_REAL), log1, NULL), NULL, NULL);
        Expr *turn = expr_op(j, OP_MUL, expr_const(j, 6.283185307179586, T_REAL), v.expr, NULL);
        x = expr_op(j, OP_MUL, r, expr_op(j, OP_COS, turn, NULL, NULL), NULL);
    }
    if (args == 2) {
        Expr *a = to_real(el, to_expr(el, &arg[0])), *b = to_real(el, to_expr(el, &arg[1]));
        Expr *scale = name[0] == 'u' ? expr_op(j, OP_SUB, b, a, NULL) : b;
        x = expr_op(j, OP_ADD, a, expr_op(j, OP_MUL, x, scale, NULL), NULL);
    }
    *out = expr_value(x, n->span);
    return true;
}

// The size of an index of the equation, of an index of a pattern, or of an axis.
static bool extent_builtin(El *el, Scope *s, const Node *n, Value *out) {
    const Node *a = KID(n, 2);
    if (!a || n->kids != 3) return wrong_count(el, n, "extent", "one index or axis", n->kids - 2);
    Extent e;
    int axis, entry = a->kind == N_NAME && el->indices ? index_find(el->indices, a->name) : -1;
    if (entry >= 0) e = el->indices->at[entry].extent;
    else if (!resolve_extent(el, s, a, &e, &axis)) return false;
    if (e.axis < 0) *out = value_number((double)e.count, true);
    else if (el->indices) *out = expr_value(expr_extent(el->job, e), n->span);
    else *out = value_extent(e, -1);
    return true;
}

bool call_builtin(El *el, Scope *s, const char *name, const Node *n, const Value *arg, int args, Value *out) {
    ScalarOp op;
    for (int i = 2; n->kind == N_CALL && i < n->kids; i++) {
        const Node *a = n->kid[i];
        if (a->kind != N_NAMED || (!strcmp(name, "concat") && !strcmp(a->name, "dim"))) continue;
        report_error(el->d, a->span, "unknown-option", "`%s` has no option `%s`", name, a->name);
        if (!strcmp(name, "concat")) report_help(el->d, "its option is `dim`, the dimension along which to join");
        return false;
    }
    if (!strcmp(name, "extent")) return extent_builtin(el, s, n, out);
    if (!strcmp(name, "concat")) return concat(el, s, n, arg, args, out);
    if (!strcmp(name, "uniform") || !strcmp(name, "normal") || !strcmp(name, "bernoulli"))
        return draw(el, s, name, n, arg, args, out);
    if (!strcmp(name, "len")) {
        if (args != 1 || arg[0].kind != V_LIST) return wrong_count(el, n, name, "one list", args);
        *out = value_number(arg[0].items, true);
        return true;
    }
    if (!strcmp(name, "index_of")) { // index_of(list, i): element of a compile-time list
        if (args != 2 || arg[0].kind != V_LIST || arg[1].kind != V_NUMBER)
            return wrong_count(el, n, name, "a list and a position", args);
        double i = arg[1].number;
        if (!(i >= 0 && i < arg[0].items && i == floor(i))) {
            report_error(el->d, n->span, "bad-position", "position %g of a list of %d: positions are 0 to %d", i,
                         arg[0].items, arg[0].items - 1);
            return false;
        }
        *out = arg[0].item[(int)i];
        return true;
    }
    if (!strcmp(name, "require") || !strcmp(name, "error")) {
        bool is_error = name[0] == 'e';
        const Value *text = is_error ? &arg[0] : &arg[1];
        if (args != (is_error ? 1 : 2) || text->kind != V_TEXT || (!is_error && arg[0].kind != V_NUMBER))
            return wrong_count(el, n, name, is_error ? "a message" : "a condition known when compiling and a message",
                               args);
        *out = value_bool(true);
        if (!is_error && arg[0].number != 0) return true;
        report_error(el->d, n->span, "require", "%s", text->text);
        return false;
    }
    bool full = !strcmp(name, "sum") || !strcmp(name, "mean") || !strcmp(name, "prod") ||
                ((!strcmp(name, "max") || !strcmp(name, "min")) && args == 1);
    if (full) {
        if (args != 1) return wrong_count(el, n, name, "one tensor", args);
        return reduce_all(el, n, name, &arg[0], out);
    }
    if (!builtin_scalar_op(name, &op)) DIE("builtin %s", name);
    if (!scalars(el, name, arg, args)) return false;
    if (op == OP_CAST) {
        bool to_int = name[0] == 'i';
        if (args != 1) return wrong_count(el, n, name, "one number", args);
        if (arg[0].kind == V_NUMBER) {
            double x = to_int ? trunc(arg[0].number) : arg[0].number;
            *out = value_number(x, to_int && fabs(x) <= 9007199254740992.0);
            return true;
        }
        *out = expr_value(expr_cast(el->job, to_int ? T_I32 : T_REAL, to_expr(el, &arg[0])), n->span);
        return true;
    }
    int arity = 0;
    for (size_t i = 0; i < sizeof primitives / sizeof *primitives; i++)
        if (primitives[i].op == op) arity = primitives[i].arity;
    if (args != arity) return wrong_count(el, n, name, arity == 1 ? "one number" : "two numbers", args);
    double r, x[2] = {0, 0};
    bool constant = true;
    for (int i = 0; i < args; i++) {
        if (arg[i].kind == V_NUMBER) x[i] = arg[i].number;
        else if (arg[i].kind == V_EXTENT && arg[i].extent.axis < 0) x[i] = (double)arg[i].extent.count;
        else constant = false;
    }
    if (constant && fold(op, x[0], x[1], &r)) {
        bool whole =
            (op == OP_MIN || op == OP_MAX || op == OP_ABS || op == OP_FLOOR || op == OP_ROUND) && r == floor(r);
        *out = value_number(r, whole);
        return true;
    }
    Expr *e[2] = {NULL, NULL};
    for (int i = 0; i < args; i++) e[i] = to_real(el, to_expr(el, &arg[i]));
    *out = expr_value(expr_op(el->job, op, e[0], e[1], NULL), n->span);
    return true;
}
