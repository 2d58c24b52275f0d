// Expressions on whole tensors: names, elementwise arithmetic, pipes, and equations without free indices.
// requires scopes; leaves a Value, and equations in the current job for what must be computed.
#include "elaborate/internal.h"

#include <string.h>

Tensor *to_tensor(El *el, const Value *v, Span at) {
    if (v->kind == V_TENSOR) return v->tensor;
    return emit_map(el, NULL, NULL, to_real(el, to_expr(el, v)), at);
}

static bool is_operand(El *el, const Node *n, const Value *v) {
    if (v->kind == V_TENSOR || v->kind == V_NUMBER || v->kind == V_EXTENT || v->kind == V_EXPR) return true;
    report_error(el->d, n->span, "not-a-number", "a tensor or a number is needed here, found %s", value_kind_name(v));
    if (v->kind == V_CALLABLE) report_help(el->d, "apply it first: x |> f(…), or f(…)(x) for a module");
    return false;
}

// The common shape of operands: all that are not scalars must agree exactly.
static bool common_shape(El *el, const Node *at, const Node *const *node, const Value *v, int n, const Tensor **shape) {
    const Node *first = NULL;
    *shape = NULL;
    for (int i = 0; i < n; i++) {
        if (v[i].kind != V_TENSOR || v[i].tensor->rank == 0) continue;
        const Tensor *t = v[i].tensor;
        if (!*shape) {
            *shape = t;
            first = node[i];
            continue;
        }
        bool same = t->rank == (*shape)->rank;
        for (int k = 0; same && k < t->rank; k++)
            same = extents_agree(el, t->dim[k], t->axis[k], (*shape)->dim[k], (*shape)->axis[k]);
        if (same) continue;
        report_error(el->d, node[i]->span, "shape-mismatch", "shape %s does not agree with shape %s", shape_text(el, t),
                     shape_text(el, *shape));
        report_note(el->d, first->span, "this has shape %s", shape_text(el, *shape));
        report_help(el->d, "say which axes meet by indices, for example y[i, j] = a[i, j] - b[i]");
        (void)at;
        return false;
    }
    return true;
}

static Value element(El *el, const Value *v) {
    if (v->kind != V_TENSOR) return *v;
    return (Value){.kind = V_EXPR, .expr = read_all(el, v->tensor, v->span), .span = v->span, .axis = -1};
}

static bool elementwise(El *el, Scope *s, const Node *n, const Value *v, int count, Value *out) {
    const Node *node[3];
    for (int i = 0; i < count; i++) {
        node[i] = n->kid[i];
        if (!is_operand(el, n->kid[i], &v[i])) return false;
    }
    const Tensor *shape;
    if (!common_shape(el, n, node, v, count, &shape)) return false;
    Value e[3], r;
    for (int i = 0; i < count; i++) e[i] = element(el, &v[i]);
    bool ok = n->kind == N_BINARY  ? combine(el, s, n, n->name, &e[0], &e[1], &r)
              : n->kind == N_UNARY ? unary(el, n->name, &e[0], &r)
                                   : select_values(el, n, &e[1], &e[0], &e[2], &r);
    if (!ok) return false;
    if (r.kind == V_NUMBER && !shape) {
        *out = r;
        return true;
    }
    Tensor *t = emit_map(el, NULL, shape, to_expr(el, &r), n->span);
    if (t) *out = value_tensor(t, n->span);
    return t != NULL;
}

// An equation without free indices: sum[i] x[i], or x[0].
static bool without_free(El *el, Scope *s, const Node *n, Value *out) {
    Node dims = {.kind = N_DIMS, .span = n->span}, *kid[1] = {&dims};
    Node pattern = {.kind = N_PATTERN, .span = n->span, .name = NULL, .kid = kid, .kids = 1};
    Tensor *t;
    if (n->kind == N_INDEXED) {
        Value *v = scope_find(s, n->name);
        if (v && v->kind == V_NUMBER) {
            *out = *v;
            return true;
        }
    }
    if (!assign_indexed(el, s, &pattern, n, NULL, &t)) return false;
    *out = value_tensor(t, n->span);
    return true;
}

bool evaluate(El *el, Scope *s, const Node *n, Value *out) {
    Value v[3];
    if (!within_stack(el, n->span)) return false;
    switch (n->kind) {
    case N_NUMBER: *out = value_number(n->number, n->integer); break;
    case N_BOOL: *out = value_bool(n->number != 0); break;
    case N_STRING: *out = (Value){.kind = V_TEXT, .text = n->text, .axis = -1}; break;
    case N_NAME: {
        Value *found = scope_find(s, n->name);
        if (!found && is_builtin(n->name)) {
            Callable *c = NEW(el->arena, Callable);
            c->builtin = n->name;
            *out = (Value){.kind = V_CALLABLE, .callable = c, .axis = -1};
            break;
        }
        if (!found) {
            report_error(el->d, n->span, "unknown-name", "`%s` is not defined", n->name);
            suggest_name(el, s, n->name);
            return false;
        }
        *out = *found;
        break;
    }
    case N_LIST:
    case N_TUPLE:
        *out = (Value){.kind = n->kind == N_LIST ? V_LIST : V_TUPLE, .items = n->kids, .axis = -1};
        out->item = NEW_ARRAY(el->arena, Value, n->kids ? n->kids : 1);
        for (int i = 0; i < n->kids; i++)
            if (!evaluate(el, s, n->kid[i], &out->item[i])) return false;
        break;
    case N_UNARY:
        if (!evaluate(el, s, n->kid[0], &v[0])) return false;
        if (!elementwise(el, s, n, v, 1, out)) return false;
        break;
    case N_BINARY:
        if (!evaluate(el, s, n->kid[0], &v[0]) || !evaluate(el, s, n->kid[1], &v[1])) return false;
        if (constant_binary(el, s, n, &v[0], &v[1], out)) break;
        if (diagnostics_count(el->d) && v[0].kind == V_NUMBER && v[1].kind == V_NUMBER) return false;
        if (!elementwise(el, s, n, v, 2, out)) return false;
        break;
    case N_WHERE:
        for (int i = 0; i < 3; i++)
            if (!evaluate(el, s, n->kid[i], &v[i])) return false;
        if (!elementwise(el, s, n, v, 3, out)) return false;
        break;
    case N_IF_EXPR: {
        bool yes;
        if (!evaluate_condition(el, s, n->kid[0], &yes)) return false;
        return evaluate(el, s, n->kid[yes ? 1 : 2], out);
    }
    case N_INDEXED:
    case N_REDUCE:
        if (!without_free(el, s, n, out)) return false;
        break;
    case N_CALL:
    case N_LABELLED:
        if (!call(el, s, n, NULL, 0, out)) return false;
        break;
    case N_PIPE: {
        Value left;
        if (!evaluate(el, s, n->kid[0], &left)) return false;
        left.span = n->kid[0]->span;
        if (left.kind == V_TUPLE) {
            for (int i = 0; i < left.items; i++) left.item[i].span = n->kid[0]->span;
            if (!call(el, s, n->kid[1], left.item, left.items, out)) return false;
        } else if (!call(el, s, n->kid[1], &left, 1, out)) {
            return false;
        }
        break;
    }
    default: report_error(el->d, n->span, "not-a-value", "%s cannot stand here", node_words(n)); return false;
    }
    out->span = n->span;
    return true;
}
