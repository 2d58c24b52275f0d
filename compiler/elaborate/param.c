// Parameters and state: their paths, shapes, first values, and sharing.
// requires the scope of a module (or an optimizer); leaves a tensor of the program and its equation in job "init".
#include "elaborate/internal.h"

#include <string.h>

Tensor *scalar_input(El *el, const char *name, ElementType type) {
    for (int i = 0; i < el->program->tensor.count; i++) {
        Tensor *t = el->program->tensor.at[i];
        if (t->kind == TENSOR_SCALAR && !strcmp(t->name, name)) return t;
    }
    return program_tensor(el->program, TENSOR_SCALAR, intern_z(el->names, name), type, 0, NULL);
}

static bool element_type(El *el, const Node *n, ElementType *type) {
    static const struct {
        const char *name;
        ElementType type;
    } table[] = {{"f32", T_REAL}, {"i32", T_I32}, {"i64", T_I64}, {"u8", T_U8}, {"bool", T_BOOL}};
    *type = T_REAL;
    if (!n->text) return true;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, n->text)) {
            *type = table[i].type;
            return true;
        }
    report_error(el->d, n->span, "unknown-type", "there is no element type `%s`", n->text);
    report_help(el->d, "the element types are f32, i32, i64, u8 and bool");
    return false;
}

// The first value: an equation of job "init" over the tensor's dimensions. Dimensions written `g < n` name an index.
static bool first_value(El *el, Scope *s, const Node *n, Tensor *t) {
    Indices ix = {.pack_count = -1}, *outer = el->indices;
    Job *job = el->job;
    const Node *dims = KID(n, 0);
    int free[MAX_RANK], frees = 0;
    bool ok = false;
    el->indices = &ix;
    el->job = el->init;
    for (int i = 0; i < t->rank; i++) {
        const Node *d = dims && i < dims->kids && dims->kids == t->rank ? dims->kid[i] : NULL;
        const char *name = d && d->kind == N_BOUND ? d->name : intern_z(el->names, arena_format(el->arena, "#%d", i));
        int e = index_add(el, &ix, name, NULL, n->span);
        if (e < 0) goto done;
        ix.at[e].extent = t->dim[i];
        ix.at[e].axis = t->axis[i];
        ix.at[e].known = ix.at[e].fixed = true;
        free[frees++] = e;
    }
    ix.pack_count = 0;
    Scope *inner = scope_new(el, s);
    inner->callee = n;
    inner->path = t->name;
    inner->place = 0; // first values depend on the parameter's path and on nothing else
    double out = t->rank > 0 ? (double)t->dim[0].count : 1, in = 1;
    for (int i = 1; i < t->rank; i++) in *= (double)t->dim[i].count;
    double receptive = 1;
    for (int i = 2; i < t->rank; i++) receptive *= (double)t->dim[i].count;
    scope_bind(el, inner, intern_z(el->names, "fan_in"), value_number(in, true));
    scope_bind(el, inner, intern_z(el->names, "fan_out"), value_number(out * receptive, true));
    Value v;
    const Node *value = KID(n, 1);
    Expr *e = expr_const(el->job, 0, T_REAL);
    if (value) {
        do {
            ix.changed = false;
            if (!infer(el, inner, &ix, value)) goto done;
        } while (ix.changed);
        if (!infer_complete(el, inner, &ix, n) || !build(el, inner, value, &v)) goto done;
        if (v.kind != V_NUMBER && v.kind != V_EXPR && v.kind != V_EXTENT) {
            report_error(el->d, value->span, "not-a-number", "the first value must be a number, found %s",
                         value_kind_name(&v));
            goto done;
        }
        e = to_expr(el, &v);
    }
    if (e->type != t->type) e = expr_cast(el->job, t->type, to_real(el, e));
    Tensor *first =
        emit(el, arena_format(el->arena, "init.%s", t->name), free, frees, NULL, 0, REDUCE_NONE, e, n->span);
    if (!first) goto done;
    t->init = first->id;
    vec_push(el->arena, &el->init->update, ((Update){t->id, first->id}));
    ok = true;
done:
    el->indices = outer;
    el->job = job;
    return ok;
}

static bool may_declare(El *el, const Scope *s, const Node *n) {
    NodeKind in = s->callee ? s->callee->kind : N_FILE;
    bool state = n->kind == N_STATE;
    if (in == N_MODULE || in == N_NET || in == N_TEST || (state && (in == N_OPTIMIZER || in == N_SCHEDULE)))
        return true;
    report_error(el->d, n->span, "misplaced-parameter", "a %s cannot declare a `%s`", node_kind_name[in],
                 node_kind_name[n->kind]);
    if (s->callee && s->callee->name) report_note(el->d, s->callee->name_span, "this is inside `%s`", s->callee->name);
    report_help(el->d, in == N_FUNCTION
                           ? "a function that has parameters is a module: module f(options) : x[..] -> y[..] { … }"
                           : "parameters belong to modules and nets; optimizers and schedules may have state");
    return false;
}

bool add_param(El *el, Scope *s, const Node *n) {
    bool exists = true;
    if (!may_declare(el, s, n)) return false;
    if (KID(n, 2) && !evaluate_condition(el, s, n->kid[2], &exists)) return false;
    if (!exists) {
        Value absent = value_number(0, false);
        absent.absent = true;
        absent.span = n->name_span;
        scope_bind(el, s, n->name, absent);
        return true;
    }
    ElementType type;
    int rank, axis[MAX_RANK];
    Extent dim[MAX_RANK];
    if (!element_type(el, n, &type) || !resolve_dims(el, s, KID(n, 0), &rank, dim, axis)) return false;
    for (int i = 0; i < rank; i++)
        if (dim[i].axis >= 0) {
            report_error(el->d, n->name_span, "dynamic-parameter",
                         "`%s` cannot have the dynamic axis %s: its size is not known "
                         "when compiling",
                         n->name, el->program->axis.at[dim[i].axis].name);
            return false;
        }
    const char *path = *s->path ? arena_format(el->arena, "%s.%s", s->path, n->name) : n->name;
    path = intern_z(el->names, path);
    for (int i = 0; i < el->param.count; i++) {
        ParamRecord *r = &el->param.at[i];
        if (r->tensor->name != path) continue;
        if (r->generation == el->generation && r->instance != s->instance && r->used_in == el->job) {
            report_error(el->d, s->applied, "duplicate-parameter", "`%s` has a parameter `%s`, which exists already",
                         s->callee->name, path);
            trace_from(el, s->applied);
            report_note(el->d, r->applied, "it is made here: two modules without labels share a path");
            report_help(el->d, "give the modules labels: x |> fc1: linear(8) |> fc2: linear(8)");
            return false;
        }
        bool same = r->tensor->rank == rank;
        for (int k = 0; same && k < rank; k++) same = extent_same(dim[k], r->tensor->dim[k]);
        if (!same) {
            report_error(el->d, n->name_span, "shape-mismatch", "parameter `%s` has shape %s in another use", path,
                         shape_text(el, r->tensor));
            return false;
        }
        r->generation = el->generation;
        r->instance = s->instance;
        r->used_in = el->job;
        r->applied = s->applied;
        scope_bind(el, s, n->name, value_tensor(r->tensor, n->name_span));
        return true;
    }
    Tensor *t = program_tensor(el->program, n->kind == N_PARAM ? TENSOR_PARAM : TENSOR_STATE, path, type, rank, dim);
    for (int i = 0; i < rank; i++) t->axis[i] = axis[i];
    t->span = n->name_span;
    t->weight = n->kind == N_STATE && !s->updates && strncmp(path, "schedule.", 9) != 0;
    vec_push(el->arena, &el->param, ((ParamRecord){t, s->instance, el->generation, el->job, s->applied}));
    if (!first_value(el, s, n, t)) return false;
    scope_bind(el, s, n->name, value_tensor(t, n->name_span));
    return true;
}
