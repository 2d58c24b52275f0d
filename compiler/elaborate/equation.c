// Index expressions -> equations: reads with their positions, arithmetic with its types, reductions, draws.
// requires the ranges of all indices (infer.c); leaves equations in the current job.
// Reads are in position.c.
//
// While a statement is built, Expr variables are numbers of Indices.at; emit() renumbers them for each equation.
#include "elaborate/internal.h"

#include <math.h>
#include <string.h>

Expr *to_expr(El *el, const Value *v) {
    switch (v->kind) {
    case V_NUMBER: return expr_const(el->job, v->number, v->boolean ? T_BOOL : T_REAL);
    case V_EXTENT:
        return v->extent.axis < 0 ? expr_const(el->job, (double)v->extent.count, T_REAL)
                                  : expr_extent(el->job, v->extent);
    case V_EXPR: return v->expr;
    case V_TENSOR: EXPECT(v->tensor->rank == 0); return read_at(el, v->tensor, NULL, v->span);
    default: DIE("no expression from %s", value_kind_name(v));
    }
}

static bool is_int(ElementType t) {
    return t == T_I32 || t == T_I64 || t == T_U8;
}

Expr *to_real(El *el, Expr *e) {
    return e->type == T_REAL ? e : expr_cast(el->job, T_REAL, e);
}

static Value value_expr(Expr *e, Span span) {
    return (Value){.kind = V_EXPR, .expr = e, .span = span, .axis = -1};
}

bool is_scalar(El *el, const Node *n, const Value *v) {
    if (v->kind == V_NUMBER || v->kind == V_EXPR || v->kind == V_EXTENT) return true;
    if (v->kind == V_TENSOR && v->tensor->rank == 0) return true;
    if (v->kind == V_TENSOR) {
        report_error(el->d, n->span, "needs-indices", "a tensor of shape %s stands here without indices",
                     shape_text(el, v->tensor));
        const char *name = n->kind == N_NAME ? n->name : "x";
        report_help(el->d, "give each of its axes a position: %s[%s]", name, v->tensor->rank == 1 ? "i" : "i, j, …");
    } else {
        report_error(el->d, n->span, "not-a-number", "a number is needed here, found %s", value_kind_name(v));
    }
    return false;
}

// Integers stay integers next to integer literals; anything next to a real, or to a number beyond 32 bits, becomes
// real. NULL when `v` is real.
Expr *as_int(El *el, const Value *v) {
    bool literal = v->kind == V_NUMBER && v->integer && !v->boolean, size = v->kind == V_EXTENT && v->extent.axis < 0;
    double number = literal ? v->number : size ? (double)v->extent.count : 0;
    if (fabs(number) > INT32_MAX) return NULL;
    if (literal || size) return expr_const(el->job, number, T_I32);
    Expr *e = to_expr(el, v);
    if (!is_int(e->type)) return NULL;
    return e->type == T_I32 ? e : expr_cast(el->job, T_I32, e);
}

static Expr *as_bool(El *el, const Value *v) {
    if (v->kind == V_NUMBER) return expr_const(el->job, v->number != 0, T_BOOL);
    Expr *e = to_expr(el, v);
    if (e->type == T_BOOL) return e;
    Expr *zero = expr_const(el->job, 0, is_int(e->type) ? T_I32 : T_REAL);
    if (is_int(e->type) && e->type != T_I32) e = expr_cast(el->job, T_I32, e);
    return expr_op(el->job, OP_NE, e, zero, NULL);
}

bool combine(El *el, Scope *s, const Node *n, const char *op, const Value *a, const Value *b, Value *out) {
    (void)s;
    static const struct {
        const char *text;
        ScalarOp real, integer;
    } table[] = {
        {"+", OP_ADD, OP_IADD}, {"-", OP_SUB, OP_ISUB}, {"*", OP_MUL, OP_IMUL}, {"<", OP_LT, OP_LT},
        {"<=", OP_LE, OP_LE},   {"==", OP_EQ, OP_EQ},   {"!=", OP_NE, OP_NE},
    };
    Job *j = el->job;
    if (!strcmp(op, ">")) return combine(el, s, n, "<", b, a, out);
    if (!strcmp(op, ">=")) return combine(el, s, n, "<=", b, a, out);
    Expr *x, *y, *r = NULL;
    if (!strcmp(op, "and") || !strcmp(op, "or")) {
        r = expr_op(j, op[0] == 'a' ? OP_AND : OP_OR, as_bool(el, a), as_bool(el, b), NULL);
        *out = value_expr(r, n->span);
        return true;
    }
    x = as_int(el, a), y = as_int(el, b);
    bool both_int = x && y && !(a->kind == V_NUMBER && b->kind == V_NUMBER);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(op, table[i].text)) {
            if (both_int) r = expr_op(j, table[i].integer, x, y, NULL);
            else r = expr_op(j, table[i].real, to_real(el, to_expr(el, a)), to_real(el, to_expr(el, b)), NULL);
        }
    if (!r && !strcmp(op, "/")) r = expr_op(j, OP_DIV, to_real(el, to_expr(el, a)), to_real(el, to_expr(el, b)), NULL);
    if (!r && !strcmp(op, "^")) r = expr_op(j, OP_POW, to_real(el, to_expr(el, a)), to_real(el, to_expr(el, b)), NULL);
    if (!r && (!strcmp(op, "//") || !strcmp(op, "%"))) {
        bool quotient = op[0] == '/';
        if (b->kind == V_NUMBER && b->number == 0) {
            report_error(el->d, n->span, "division-by-zero", "`%s` by zero", op);
            return false;
        }
        if (both_int) {
            r = expr_op(j, quotient ? OP_IDIV : OP_IMOD, x, y, NULL);
        } else {
            Expr *p = to_real(el, to_expr(el, a)), *q = to_real(el, to_expr(el, b));
            r = expr_op(j, OP_FLOOR, expr_op(j, OP_DIV, p, q, NULL), NULL, NULL);
            if (!quotient) r = expr_op(j, OP_SUB, p, expr_op(j, OP_MUL, r, q, NULL), NULL);
        }
    }
    if (!r) DIE("operator %s", op);
    *out = value_expr(r, n->span);
    return true;
}

bool unary(El *el, const char *op, const Value *a, Value *out) {
    if (a->kind == V_NUMBER) {
        *out = op[0] == '-' ? value_number(-a->number, a->integer) : value_bool(a->number == 0);
        return true;
    }
    if (a->kind == V_EXTENT && a->extent.axis < 0 && op[0] == '-') {
        *out = value_number(-(double)a->extent.count, true);
        return true;
    }
    Expr *r;
    if (op[0] == '-') {
        Expr *x = as_int(el, a);
        r = x ? expr_op(el->job, OP_ISUB, expr_const(el->job, 0, T_I32), x, NULL)
              : expr_op(el->job, OP_NEG, to_real(el, to_expr(el, a)), NULL, NULL);
    } else {
        r = expr_op(el->job, OP_NOT, as_bool(el, a), NULL, NULL);
    }
    *out = value_expr(r, a->span);
    return true;
}

bool select_values(El *el, const Node *n, const Value *c, const Value *a, const Value *b, Value *out) {
    if (c->kind == V_NUMBER) {
        *out = c->number != 0 ? *a : *b;
        return true;
    }
    Expr *x = as_int(el, a), *y = as_int(el, b);
    if (!x || !y || (a->kind == V_NUMBER && b->kind == V_NUMBER))
        x = to_real(el, to_expr(el, a)), y = to_real(el, to_expr(el, b));
    *out = value_expr(expr_op(el->job, OP_SELECT, as_bool(el, c), x, y), n->span);
    return true;
}

// ---- tensors and equations

Equation *new_equation(El *el, EquationKind kind, const Tensor *out, Span at) {
    Equation *q = job_equation(el->job, kind, out, at);
    q->where = el->where;
    if (kind != EQ_VIEW && el->job != el->init) q->precision = el->precision; // first values are made by the host
    return q;
}

Tensor *new_temp(El *el, const char *name, ElementType type, int rank, const Extent *dim, const int *axis, Span at) {
    Tensor *t = program_tensor(el->program, TENSOR_TEMP, name ? name : arena_format(el->arena, "_%d", el->temps++),
                               type, rank, dim);
    for (int i = 0; i < rank; i++) t->axis[i] = axis ? axis[i] : -1;
    t->span = at;
    return t;
}

int entries_in_order(const Indices *ix, uint64_t set, int *list) {
    int n = 0;
    for (int i = 0; i < ix->lefts; i++)
        if (set >> ix->left[i] & 1) list[n++] = ix->left[i], set &= ~(1ull << ix->left[i]);
    for (int e = 0; e < ix->count; e++)
        if (set >> e & 1) list[n++] = e;
    return n;
}

Tensor *emit(El *el, const char *name, const int *free, int frees, const int *reduced, int reduceds, Reduce op,
             Expr *value, Span at) {
    if (frees > MAX_RANK || frees + reduceds > MAX_VARS) {
        report_error(el->d, at, "rank-limit",
                     "an equation with %d free and %d reduced indices; at most %d axes and %d "
                     "indices are possible",
                     frees, reduceds, MAX_RANK, MAX_VARS);
        return NULL;
    }
    Extent dim[MAX_VARS];
    int axis[MAX_RANK], map[MAX_ENTRIES];
    for (int i = 0; i < reduceds; i++) dim[frees + i] = el->indices->at[reduced[i]].extent;
    for (int i = 0; i < frees; i++) dim[i] = el->indices->at[free[i]].extent;
    if (!within_elements(el, frees + reduceds, dim, at) || !within_dynamic(el, frees, dim, at) ||
        !within_expression(el, value, at))
        return NULL;
    for (int i = 0; i < MAX_ENTRIES; i++) map[i] = -1;
    for (int i = 0; i < frees; i++) {
        axis[i] = el->indices->at[free[i]].axis;
        map[free[i]] = i;
    }
    for (int i = 0; i < reduceds; i++) map[reduced[i]] = frees + i;
    ElementType type = op == REDUCE_ARGMAX || op == REDUCE_ARGMIN ? T_I32 : value->type;
    Tensor *t = new_temp(el, name, type, frees, dim, axis, at);
    Equation *q = new_equation(el, EQ_COMPUTE, t, at);
    q->free = frees;
    q->vars = frees + reduceds;
    for (int i = 0; i < q->vars; i++) {
        IndexEntry *x = &el->indices->at[i < frees ? free[i] : reduced[i - frees]];
        q->var[i] = (Variable){x->name, x->extent};
    }
    q->reduce = op;
    q->value = expr_rename(el->job, value, map);
    return t;
}

Expr *read_at(El *el, Tensor *t, const int *entry, Span at) {
    Position p[MAX_RANK];
    for (int i = 0; i < t->rank; i++) p[i] = position_var(entry[i]);
    return expr_read(el->job, t, p, at);
}

Expr *read_all(El *el, Tensor *t, Span at) {
    int entry[MAX_RANK];
    for (int i = 0; i < t->rank; i++) entry[i] = i;
    return read_at(el, t, entry, at);
}

Tensor *emit_map(El *el, const char *name, const Tensor *shape, Expr *value, Span at) {
    int rank = shape ? shape->rank : 0;
    if (!within_elements(el, rank, shape ? shape->dim : NULL, at) || !within_expression(el, value, at)) return NULL;
    Tensor *t = new_temp(el, name, value->type, rank, shape ? shape->dim : NULL, shape ? shape->axis : NULL, at);
    Equation *q = new_equation(el, EQ_COMPUTE, t, at);
    q->free = q->vars = rank;
    for (int i = 0; i < rank; i++) q->var[i] = (Variable){arena_format(el->arena, "i%d", i), shape->dim[i]};
    q->value = value;
    return t;
}

Tensor *emit_view(El *el, const char *name, Tensor *from, int rank, const Extent *dim, const int *axis, Span at) {
    Tensor *t = new_temp(el, name, from->type, rank, dim, axis, at);
    Equation *q = new_equation(el, EQ_VIEW, t, at);
    q->free = q->vars = rank;
    for (int i = 0; i < rank; i++) q->var[i] = (Variable){arena_format(el->arena, "i%d", i), dim[i]};
    Tensor whole = *from; // a read without positions names the source
    whole.rank = 0;
    q->value = expr_read(el->job, &whole, NULL, at);
    return t;
}

// ---- reductions

typedef struct Reducer {
    const char *name;
    Reduce op;
} Reducer;
static const Reducer reducers[] = {{"sum", REDUCE_SUM},       {"mean", REDUCE_SUM},  {"max", REDUCE_MAX},
                                   {"min", REDUCE_MIN},       {"prod", REDUCE_PROD}, {"argmax", REDUCE_ARGMAX},
                                   {"argmin", REDUCE_ARGMIN}, {"any", REDUCE_MAX},   {"all", REDUCE_MIN}};

static Expr *count_of(El *el, const int *reduced, int n) {
    double constant = 1;
    Expr *dynamic = NULL;
    for (int i = 0; i < n; i++) {
        Extent e = el->indices->at[reduced[i]].extent;
        constant *= (double)e.count;
        if (e.axis >= 0) {
            Expr *x = to_real(el, expr_extent(el->job, (Extent){1, e.axis}));
            dynamic = dynamic ? expr_op(el->job, OP_MUL, dynamic, x, NULL) : x;
        }
    }
    Expr *c = expr_const(el->job, constant, T_REAL);
    if (!dynamic) return c;
    return constant == 1 ? dynamic : expr_op(el->job, OP_MUL, dynamic, c, NULL);
}

// `name` and `free` are given when the reduction is the whole right side of an equation; otherwise the free indices are
// those that the body uses. `post` receives an expression over the result that is still to be applied (mean, any), or
// NULL.
static bool build_reduce(El *el, Scope *s, const Node *n, const char *name, const int *free_in, int frees_in,
                         Tensor **result, Expr **post, Expr **read) {
    Indices *ix = el->indices;
    const Node *binders = n->kid[0];
    Reduce op = REDUCE_NONE;
    for (size_t i = 0; i < sizeof reducers / sizeof *reducers; i++)
        if (!strcmp(reducers[i].name, n->name)) op = reducers[i].op;
    if (op == REDUCE_NONE) DIE("reduction %s", n->name);
    bool mean = !strcmp(n->name, "mean"), logic = !strcmp(n->name, "any") || !strcmp(n->name, "all");
    open_binders(el, s, ix, n, binders);
    int reduced[MAX_ENTRIES], reduceds = 0;
    uint64_t reduced_set = 0;
    int declared = binders->kids - (binders->guarded ? 1 : 0);
    for (int i = 0; i < declared; i++) {
        if (binders->kid[i]->kind == N_ELLIPSIS) {
            for (int k = 0; k < ix->pack_count; k++) reduced[reduceds++] = ix->pack[k];
        } else {
            for (int e = 0; e < ix->count; e++)
                if (ix->at[e].binder == n && ix->at[e].name == binders->kid[i]->name) reduced[reduceds++] = e;
        }
    }
    for (int i = 0; i < reduceds; i++) reduced_set |= 1ull << reduced[i];
    for (int i = 0; i < ix->lefts; i++)
        if (reduced_set >> ix->left[i] & 1) {
            report_error(el->d, binders->span, "index-twice", "`..` stands on the left side and cannot be reduced");
            report_help(el->d, "name the axes that are reduced: y[..] = %s[k] x[.., k]", n->name);
            close_binders(ix, n);
            return false;
        }
    Value guard = {0}, body;
    bool ok =
        (!binders->guarded || build(el, s, binders->kid[binders->kids - 1], &guard)) && build(el, s, n->kid[1], &body);
    close_binders(ix, n);
    if (!ok || !is_scalar(el, n->kid[1], &body)) return false;
    Job *j = el->job;
    Expr *value = to_expr(el, &body);
    value = logic ? to_real(el, as_bool(el, &body)) : to_real(el, value);
    Expr *kept = NULL;
    if (binders->guarded) {
        kept = as_bool(el, &guard);
        double neutral = op == REDUCE_MAX || op == REDUCE_ARGMAX   ? -INFINITY
                         : op == REDUCE_MIN || op == REDUCE_ARGMIN ? INFINITY
                         : op == REDUCE_PROD                       ? 1
                                                                   : 0;
        if (logic) neutral = op == REDUCE_MAX ? 0 : 1;
        value = expr_op(j, OP_SELECT, kept, value, expr_const(j, neutral, T_REAL));
    }
    int free[MAX_ENTRIES], frees = 0;
    if (free_in) {
        frees = frees_in;
        memcpy(free, free_in, sizeof(int) * (size_t)frees);
    } else {
        frees = entries_in_order(ix, expr_facts(el, value)->used & ~reduced_set, free);
    }
    bool needs_post = mean || logic;
    Tensor *t = emit(el, needs_post ? NULL : name, free, frees, reduced, reduceds, op, value, n->span);
    if (!t) return false;
    *result = t;
    *post = NULL;
    Expr *r = read_at(el, t, free, n->span);
    if (read) *read = r;
    if (!needs_post) return true;
    if (logic) {
        *post = expr_op(j, OP_NE, r, expr_const(j, 0, T_REAL), NULL);
    } else if (kept) {
        Expr *one = expr_op(j, OP_SELECT, kept, expr_const(j, 1, T_REAL), expr_const(j, 0, T_REAL));
        Tensor *count = emit(el, NULL, free, frees, reduced, reduceds, REDUCE_SUM, one, n->span);
        if (!count) return false;
        Expr *c = read_at(el, count, free, n->span), *zero = expr_const(j, 0, T_REAL);
        Expr *safe = expr_op(j, OP_MAX, c, expr_const(j, 1, T_REAL), NULL);
        *post = expr_op(j, OP_SELECT, expr_op(j, OP_LT, zero, c, NULL), expr_op(j, OP_DIV, r, safe, NULL), zero);
    } else {
        *post = expr_op(j, OP_DIV, r, count_of(el, reduced, reduceds), NULL);
    }
    return true;
}

// ---- draws

bool build_random(El *el, Scope *s, const Node *call, Value *out) {
    if (!el->indices) {
        report_error(el->d, call->span, "random-shape", "a draw needs a shape: use it in an equation with indices");
        report_help(el->d, "y[..] = x[..] * bernoulli(0.9)");
        return false;
    }
    Scope *owner = s;
    while (owner->parent && !owner->callee) owner = owner->parent;
    uint64_t h = mix(mix_text(0xcbf29ce484222325ull, owner->path), owner->place);
    h = mix(h, (uint64_t)owner->random++);
    Indices *ix = el->indices;
    int free[MAX_ENTRIES];
    uint64_t active = 0;
    for (int e = 0; e < ix->count; e++)
        if (ix->at[e].active) active |= 1ull << e;
    int frees = entries_in_order(ix, active, free);
    if (el->program->scalar_seed < 0) {
        el->program->scalar_seed = scalar_input(el, "seed", T_I32)->id;
        el->program->scalar_step = scalar_input(el, "step", T_I32)->id;
    }
    Tensor *t =
        emit(el, NULL, free, frees, NULL, 0, REDUCE_NONE, expr_random(el->job, (uint32_t)(h ^ h >> 32)), call->span);
    if (!t) return false;
    *out = value_expr(read_at(el, t, free, call->span), call->span);
    return true;
}

// ---- scalar expressions

static bool build_name(El *el, Scope *s, const Node *n, Value *out) {
    if (el->indices && !el->hide_indices) {
        int e = index_find(el->indices, n->name);
        if (e >= 0) {
            *out = value_expr(expr_index(el->job, e), n->span);
            return true;
        }
    }
    Value *v = scope_find(s, n->name);
    if (!v) {
        report_error(el->d, n->span, "unknown-name", "`%s` is not defined", n->name);
        suggest_name(el, s, n->name);
        return false;
    }
    *out = *v;
    out->span = n->span;
    if (v->kind == V_TENSOR && v->tensor->rank == 0) *out = value_expr(read_at(el, v->tensor, NULL, n->span), n->span);
    if (v->kind == V_EXTENT && v->extent.axis < 0) *out = value_number((double)v->extent.count, true);
    else if (v->kind == V_EXTENT) *out = value_expr(expr_extent(el->job, v->extent), n->span);
    return true;
}

static bool build_call(El *el, Scope *s, const Node *n, const Value *lead, Value *out) {
    const Node *name = n->kind == N_CALL ? n->kid[0] : n;
    if (n->kind == N_CALL && KID(n, 1)) return call_along(el, s, n, out);
    if (name->kind != N_NAME) {
        report_error(el->d, n->span, "module-in-equation", "a module cannot be applied inside an equation");
        report_help(el->d, "apply it on a line of its own and use the result with indices");
        return false;
    }
    Value *v = scope_find(s, name->name);
    Callable *c = v && v->kind == V_CALLABLE ? v->callable : NULL;
    bool scalar = c && c->def && c->def->kind == N_FUNCTION && !KID(c->def, 1);
    if (!c && !is_builtin(name->name)) {
        report_error(el->d, name->span, "unknown-function", "there is no function `%s`", name->name);
        suggest_name(el, s, name->name);
        return false;
    }
    if (c && !scalar) {
        report_error(el->d, n->span, "module-in-equation",
                     "`%s` works on whole tensors and cannot be used on an element", name->name);
        report_help(el->d, "apply it on a line of its own, or along an index with `%s[j](…)`", name->name);
        return false;
    }
    Value arg[16];
    int args = 0;
    if (lead) arg[args++] = *lead;
    if (!strcmp(name->name, "extent") && !c) return call_builtin(el, s, "extent", n, NULL, 0, out);
    for (int i = 2; n->kind == N_CALL && i < n->kids; i++) {
        if (n->kid[i]->kind == N_NAMED) continue;
        if (args == 16) {
            report_error(el->d, n->span, "too-many-arguments", "more than 16 arguments");
            return false;
        }
        if (!build(el, s, n->kid[i], &arg[args])) return false;
        if (arg[args].kind != V_TEXT && !is_scalar(el, n->kid[i], &arg[args])) return false;
        arg[args].span = n->kid[i]->span;
        args++;
    }
    if (scalar) return apply_scalar(el, c, s, n, arg, args, out);
    return call_builtin(el, s, name->name, n, arg, args, out);
}

bool build(El *el, Scope *s, const Node *n, Value *out) {
    Value a, b, c;
    if (!within_stack(el, n->span)) return false;
    switch (n->kind) {
    case N_NUMBER: *out = value_number(n->number, n->integer); return true;
    case N_BOOL: *out = value_bool(n->number != 0); return true;
    case N_STRING: *out = (Value){.kind = V_TEXT, .text = n->text, .span = n->span, .axis = -1}; return true;
    case N_NAME: return build_name(el, s, n, out);
    case N_INDEXED:
        if (!el->indices) {
            if (!el->hide_indices) DIE("a read outside of any equation");
            return inside_scalar_function(el, n->span);
        }
        return build_read(el, s, n, out);
    case N_UNARY:
        if (!build(el, s, n->kid[0], &a) || !is_scalar(el, n->kid[0], &a)) return false;
        return unary(el, n->name, &a, out);
    case N_BINARY:
        if (!build(el, s, n->kid[0], &a) || !build(el, s, n->kid[1], &b)) return false;
        if (constant_binary(el, s, n, &a, &b, out)) return true;
        if (!is_scalar(el, n->kid[0], &a) || !is_scalar(el, n->kid[1], &b)) return false;
        return combine(el, s, n, n->name, &a, &b, out);
    case N_WHERE:
        if (!build(el, s, n->kid[0], &a) || !build(el, s, n->kid[1], &b) || !build(el, s, n->kid[2], &c)) return false;
        if (!is_scalar(el, n->kid[0], &a) || !is_scalar(el, n->kid[1], &b) || !is_scalar(el, n->kid[2], &c))
            return false;
        return select_values(el, n, &b, &a, &c, out);
    case N_IF_EXPR: {
        bool yes;
        if (!evaluate_condition(el, s, n->kid[0], &yes)) return false;
        return build(el, s, n->kid[yes ? 1 : 2], out);
    }
    case N_REDUCE: {
        if (el->hide_indices) return inside_scalar_function(el, n->span);
        if (!el->indices) return evaluate(el, s, n, out);
        Tensor *t;
        Expr *post, *read;
        if (!build_reduce(el, s, n, NULL, NULL, 0, &t, &post, &read)) return false;
        if (!post) post = read;
        *out = value_expr(post, n->span);
        return true;
    }
    case N_CALL: return build_call(el, s, n, NULL, out);
    case N_PIPE:
        if (!build(el, s, n->kid[0], &a) || !is_scalar(el, n->kid[0], &a)) return false;
        a.span = n->kid[0]->span;
        return build_call(el, s, n->kid[1], &a, out);
    default:
        report_error(el->d, n->span, "not-in-equation", "%s cannot stand inside an equation", node_words(n));
        return false;
    }
}

// ---- statements: name[i, j] = value

static const Node *output_pattern(const Scope *s, const char *name) {
    if (!s->outputs) return NULL;
    for (int i = 0; i < s->outputs->kids; i++)
        if (s->outputs->kid[i]->name == name) return s->outputs->kid[i];
    return NULL;
}

static bool left_side(El *el, Scope *s, Indices *ix, const Node *dims) {
    for (int i = 0; i < dims->kids; i++) {
        const Node *d = dims->kid[i];
        const Node *one[1] = {d};
        const Node *const *member = d->kind == N_GROUP ? (const Node *const *)d->kid : one;
        int members = d->kind == N_GROUP ? d->kids : 1;
        if (d->kind == N_ELLIPSIS) continue;
        for (int k = 0; k < members; k++) {
            const Node *m = member[k];
            if (m->kind != N_NAME && m->kind != N_BOUND) {
                report_error(el->d, m->span, "left-side", "the left side of an equation takes index names, not %s",
                             node_words(m));
                report_help(el->d, "select with `where`: y[i] = value where i == 0 else other");
                return false;
            }
            if (index_find(ix, m->name) >= 0) {
                report_error(el->d, m->span, "index-twice", "index `%s` stands twice on the left side", m->name);
                report_help(el->d,
                            "the diagonal is y[i] = x[i, i]; into a diagonal: y[i, j] = x[i] where i == j else 0");
                return false;
            }
            int e = index_add(el, ix, m->name, NULL, m->span);
            if (e < 0) return false;
            if (m->kind == N_BOUND && KID(m, 0)) {
                if (!resolve_extent(el, s, m->kid[0], &ix->at[e].extent, &ix->at[e].axis)) return false;
                ix->at[e].known = ix->at[e].fixed = true;
            }
        }
    }
    return true;
}

bool assign_indexed(El *el, Scope *s, const Node *pattern, const Node *value, const Value *target, Tensor **out) {
    Indices ix = {.pack_count = -1}, *outer = el->indices;
    const Node *dims = pattern->kid[0];
    el->indices = &ix;
    bool ok = false;
    if (!left_side(el, s, &ix, dims)) goto done;
    const Node *declared = target ? NULL : output_pattern(s, pattern->name);
    if (target) {
        const Tensor *t = target->tensor;
        if (!infer_dims(el, s, &ix, dims, t->rank, t->dim, t->axis, pattern->name, target->span)) goto done;
    }
    if (declared && KID(declared, 0)) {
        int rank, axis[MAX_RANK];
        Extent dim[MAX_RANK];
        if (!resolve_dims(el, s, declared->kid[0], &rank, dim, axis)) goto done;
        if (!infer_dims(el, s, &ix, dims, rank, dim, axis, pattern->name, declared->span)) goto done;
    }
    do {
        ix.changed = false;
        if (!infer(el, s, &ix, value)) goto done;
    } while (ix.changed);
    bool has_pack = false;
    for (int i = 0; i < dims->kids; i++) has_pack |= dims->kid[i]->kind == N_ELLIPSIS;
    if (has_pack && ix.pack_count < 0) {
        report_error(el->d, pattern->span, "unknown-range",
                     "nothing on the right side says which axes `..` stands for");
        goto done;
    }
    if (ix.pack_count < 0) ix.pack_count = 0;
    if (!infer_complete(el, s, &ix, pattern)) goto done;
    int free[MAX_ENTRIES], frees = 0;
    bool groups = false;
    int packs = 0;
    for (int i = 0; i < dims->kids; i++) packs += dims->kid[i]->kind == N_ELLIPSIS;
    if (packs > 1) {
        report_error(el->d, dims->span, "two-packs", "`..` can stand only once between brackets");
        goto done;
    }
    if (dims->kids - packs + ix.pack_count > MAX_RANK) {
        report_error(el->d, dims->span, "rank-limit", "a tensor can have at most %d dimensions", MAX_RANK);
        goto done;
    }
    Extent merged[MAX_RANK];
    int merged_axis[MAX_RANK], merged_rank = 0;
    for (int i = 0; i < dims->kids; i++) {
        const Node *d = dims->kid[i];
        int begin = frees;
        if (d->kind == N_ELLIPSIS) {
            for (int k = 0; k < ix.pack_count; k++) free[frees++] = ix.pack[k];
        } else if (d->kind == N_GROUP) {
            groups = true;
            for (int k = 0; k < d->kids; k++) free[frees++] = index_find(&ix, d->kid[k]->name);
        } else {
            free[frees++] = index_find(&ix, d->name);
        }
        if (d->kind == N_GROUP) {
            Extent e = extent_of(1);
            for (int k = begin; k < frees; k++)
                if (!extent_times(el, e, ix.at[free[k]].extent, d->span, &e)) goto done;
            merged[merged_rank] = e, merged_axis[merged_rank++] = -1;
        } else {
            for (int k = begin; k < frees && merged_rank < MAX_RANK; k++)
                merged[merged_rank] = ix.at[free[k]].extent, merged_axis[merged_rank++] = ix.at[free[k]].axis;
        }
    }
    memcpy(ix.left, free, sizeof(int) * (size_t)frees);
    ix.lefts = frees;
    Tensor *t = NULL;
    Expr *post = NULL;
    const char *name = groups ? NULL : pattern->name;
    if (value->kind == N_REDUCE) {
        if (!build_reduce(el, s, value, name, free, frees, &t, &post, NULL)) goto done;
    } else {
        Value v;
        if (!build(el, s, value, &v) || !is_scalar(el, value, &v)) goto done;
        post = to_expr(el, &v);
    }
    if (post) t = emit(el, name, free, frees, NULL, 0, REDUCE_NONE, post, pattern->span);
    if (!t) goto done;
    if (groups) t = emit_view(el, pattern->name, t, merged_rank, merged, merged_axis, pattern->span);
    *out = t;
    ok = true;
done:
    el->indices = outer;
    return ok;
}
