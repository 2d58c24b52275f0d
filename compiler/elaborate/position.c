// Positions: what stands between the brackets of a read: affine in indices, with `//` and `%` by a constant, or
// gathered. requires the ranges of all indices (infer.c); leaves a read.
#include "elaborate/internal.h"

#include <math.h>
#include <string.h>

static bool add_term(Position *p, int var, int64_t coef) {
    int i = 0;
    while (i < p->terms && p->term[i].var < var) i++;
    if (i < p->terms && p->term[i].var == var) {
        p->term[i].coef += coef;
        if (p->term[i].coef == 0) {
            memmove(p->term + i, p->term + i + 1, sizeof(Term) * (size_t)(p->terms - i - 1));
            p->terms--;
        }
        return true;
    }
    if (p->terms == 4) return false;
    memmove(p->term + i + 1, p->term + i, sizeof(Term) * (size_t)(p->terms - i));
    p->term[i] = (Term){var, coef};
    p->terms++;
    return true;
}

// Numbers in positions stay below this, so that a position never overflows.
static const int64_t MOST = 1000000000000000;

static bool too_far(const Position *p) {
    double reach = (double)(p->offset < 0 ? -p->offset : p->offset);
    for (int i = 0; i < p->terms; i++) reach += (double)(p->term[i].coef < 0 ? -p->term[i].coef : p->term[i].coef);
    return reach > (double)MOST;
}

static bool product(int64_t *a, int64_t b) {
    return !__builtin_mul_overflow(*a, b, a);
}

// Affine positions; false without an error when `n` is not affine, or its numbers are out of bounds.
static bool affine(El *el, Scope *s, const Node *n, Position *p) {
    *p = position_const(0);
    if (n->kind == N_NAME || n->kind == N_BOUND) {
        int e = index_find(el->indices, n->name);
        if (e >= 0 && !el->hide_indices) {
            *p = position_var(e);
            return true;
        }
    }
    if (n->kind == N_NAME || n->kind == N_NUMBER) {
        Value *v = n->kind == N_NAME ? scope_find_kind(s, n->name, true) : NULL;
        Value literal = value_number(n->number, n->integer);
        if (n->kind == N_NUMBER) v = &literal;
        if (v && v->kind == V_NUMBER && v->integer && fabs(v->number) > (double)MOST) return false;
        if (v && v->kind == V_NUMBER && v->integer) return *p = position_const((int64_t)v->number), true;
        if (v && v->kind == V_EXTENT && v->extent.axis < 0) return *p = position_const(v->extent.count), true;
        return false;
    }
    if (n->kind == N_UNARY && n->name[0] == '-') {
        if (!affine(el, s, n->kid[0], p) || p->divide != 1 || p->modulo) return false;
        for (int i = 0; i < p->terms; i++) p->term[i].coef = -p->term[i].coef;
        p->offset = -p->offset;
        return true;
    }
    if (n->kind == N_BINARY) {
        Position a, b;
        const char *op = n->name;
        if (!affine(el, s, n->kid[0], &a) || !affine(el, s, n->kid[1], &b)) return false;
        if (!strcmp(op, "//") || !strcmp(op, "%")) {
            if (b.terms || b.offset <= 0 || b.divide != 1 || b.modulo || a.modulo) return false;
            if (op[0] == '%') {
                *p = a;
                p->modulo = b.offset;
                return true;
            }
            if (a.divide != 1) return false;
            *p = a;
            p->divide = b.offset;
            return true;
        }
        if (a.divide != 1 || b.divide != 1 || a.modulo || b.modulo) return false;
        if (!strcmp(op, "+") || !strcmp(op, "-")) {
            int64_t sign = op[0] == '+' ? 1 : -1;
            *p = a;
            p->offset += sign * b.offset;
            for (int i = 0; i < b.terms; i++)
                if (!add_term(p, b.term[i].var, sign * b.term[i].coef)) return false;
            return !too_far(p);
        }
        if (!strcmp(op, "*") && (!a.terms || !b.terms)) {
            int64_t factor = a.terms ? b.offset : a.offset;
            *p = a.terms ? a : b;
            if (factor == 0) return *p = position_const(0), true;
            for (int i = 0; i < p->terms; i++)
                if (!product(&p->term[i].coef, factor)) return false;
            return product(&p->offset, factor) && !too_far(p);
        }
        return false;
    }
    return false;
}

static bool build_position(El *el, Scope *s, const Node *n, Position *p) {
    if (affine(el, s, n, p)) return true;
    Value v;
    if (!build(el, s, n, &v)) return false;
    if (v.kind == V_NUMBER && v.integer) {
        *p = position_const((int64_t)v.number);
        return true;
    }
    if (v.kind == V_EXPR || v.kind == V_EXTENT) {
        Expr *e = as_int(el, &v);
        if (!e && v.kind == V_EXTENT) e = to_expr(el, &v);
        if (e) {
            *p = position_const(0);
            p->gather = e;
            return true;
        }
    }
    report_error(el->d, n->span, "position-type",
                 "a position must be an integer: an index, a number, or an element of an "
                 "integer tensor");
    if (v.kind == V_EXPR) report_help(el->d, "the value here is real; `i32` inputs and `int(x)` are integers");
    return false;
}

bool build_read(El *el, Scope *s, const Node *n, Value *out) {
    Value *v = scope_find(s, n->name);
    if (!v) {
        report_error(el->d, n->span, "unknown-name", "`%s` is not defined", n->name);
        suggest_name(el, s, n->name);
        return false;
    }
    if (v->kind == V_NUMBER) {
        *out = *v;
        return true;
    }
    if (v->kind != V_TENSOR) {
        report_error(el->d, n->span, "not-a-tensor", "`%s` is %s and cannot be read at positions", n->name,
                     value_kind_name(v));
        return false;
    }
    if (el->hide_indices) return inside_scalar_function(el, n->span);
    Tensor *t = v->tensor;
    const Node *dims = n->kid[0];
    bool groups = false;
    for (int i = 0; i < dims->kids; i++) groups |= dims->kid[i]->kind == N_GROUP;
    Position p[MAX_RANK];
    Extent dim[MAX_RANK];
    int axis[MAX_RANK], rank = 0, at = 0, explicit = 0;
    for (int i = 0; i < dims->kids; i++) explicit += dims->kid[i]->kind != N_ELLIPSIS;
    for (int i = 0; i < dims->kids; i++) {
        const Node *d = dims->kid[i];
        int take = d->kind == N_ELLIPSIS ? t->rank - explicit : d->kind == N_GROUP ? d->kids : 1;
        if (rank + take > MAX_RANK) {
            report_error(el->d, n->span, "rank-limit", "a tensor can have at most %d dimensions", MAX_RANK);
            return false;
        }
        if (d->kind == N_ELLIPSIS) {
            for (int k = 0; k < take; k++) {
                p[rank] = position_var(el->indices->pack[k]);
                dim[rank] = t->dim[at], axis[rank++] = t->axis[at++];
            }
        } else if (d->kind == N_GROUP) {
            for (int k = 0; k < take; k++) {
                int e = index_find(el->indices, d->kid[k]->name);
                p[rank] = position_var(e);
                dim[rank] = el->indices->at[e].extent, axis[rank++] = -1;
            }
            at++;
        } else {
            if (!build_position(el, s, d, &p[rank])) return false;
            dim[rank] = t->dim[at], axis[rank++] = t->axis[at++];
        }
    }
    if (groups) t = emit_view(el, NULL, t, rank, dim, axis, n->span);
    *out = (Value){.kind = V_EXPR, .expr = expr_read(el->job, t, p, n->span), .span = n->span, .axis = -1};
    return true;
}
