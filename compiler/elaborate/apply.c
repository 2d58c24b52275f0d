// Applying functions, modules and nets.
// requires definitions in scope; leaves their bodies expanded in the current job and the results as a Value.
#include "elaborate/internal.h"

#include <string.h>

enum { MAX_DEPTH = 200, MAX_ARGUMENTS = 32 };

static const char *join(El *el, const char *a, const char *b) {
    if (!*a) return b;
    if (!*b) return a;
    return arena_format(el->arena, "%s.%s", a, b);
}

// ---- labels

static bool label_text(El *el, Scope *s, const Node *path, const char **out) {
    Text t = {.arena = el->arena};
    for (int i = 0; i < path->kids; i++) {
        const Node *p = path->kid[i];
        if (i) text_add(&t, ".");
        if (p->kind == N_NAME && p->text) { // a word; `{i}` has no text
            text_add(&t, "%s", p->text);
        } else if (p->kind == N_NUMBER) {
            text_add(&t, "%lld", (long long)p->number);
        } else {
            Value v;
            if (!evaluate(el, s, p, &v)) return false;
            if (v.kind == V_TEXT) text_add(&t, "%s", v.text);
            else if (v.kind == V_NUMBER && v.integer) text_add(&t, "%lld", (long long)v.number);
            else {
                report_error(el->d, p->span, "bad-label", "part of a label must be an integer or a string, found %s",
                             value_kind_name(&v));
                return false;
            }
        }
    }
    *out = intern_z(el->names, t.at ? t.at : "");
    return true;
}

static bool use_label(El *el, Scope *s, const char *label, Span at) {
    Scope *body = s; // labels belong to the body, not to the loop around
    while (body->parent && !body->callee) body = body->parent;
    for (int i = 0; i < body->label.count; i++)
        if (body->label.at[i].name == label) {
            report_error(el->d, at, "duplicate-label", "label `%s` is used twice in `%s`", label,
                         body->callee && body->callee->name ? body->callee->name : "this block");
            report_note(el->d, body->label.at[i].span, "the first is here");
            report_help(el->d,
                        "to share weights bind the module to a name and apply it twice: p = %s: linear(n)  "
                        "a = p(x)  b = p(y)",
                        label);
            return false;
        }
    vec_push(el->arena, &body->label, ((Label){label, at}));
    return true;
}

// ---- arguments

static int find_parameter(const Node *params, const char *name) {
    for (int i = 0; params && i < params->kids; i++)
        if (params->kid[i]->name == name) return i;
    return -1;
}

static void report_unknown_option(El *el, const Node *def, const Node *named) {
    report_error(el->d, named->span, "unknown-option", "`%s` has no option `%s`", def->name, named->name);
    Text t = {.arena = el->arena};
    const Node *params = KID(def, 0);
    for (int i = 0; params && i < params->kids; i++) text_add(&t, "%s%s", i ? ", " : "", params->kid[i]->name);
    if (t.at) report_help(el->d, "its options are: %s", t.at);
}

// Gives every PARAMS kid of `def` a value: positional `lead`, then the call's arguments from kid `first` on, then
// defaults, evaluated in `into` so that they may use earlier options. `list` receives them in order.
bool bind_options(El *el, Scope *s, const Node *def, const Node *callnode, int first, Scope *into, Value *list,
                  const Value *lead, int leads) {
    const Node *params = KID(def, 0);
    int n = params ? params->kids : 0;
    bool given[MAX_ARGUMENTS] = {false};
    if (n > MAX_ARGUMENTS) {
        report_error(el->d, params->span, "too-many-arguments", "more than %d options", MAX_ARGUMENTS);
        return false;
    }
    int at = 0;
    for (int i = 0; i < leads; i++, at++) {
        if (at >= n) goto too_many;
        list[at] = lead[i], given[at] = true;
    }
    for (int i = first; callnode->kind == N_CALL && i < callnode->kids; i++) {
        const Node *a = callnode->kid[i];
        if (a->kind == N_NAMED) continue;
        if (at >= n) goto too_many;
        if (!evaluate(el, s, a, &list[at])) return false;
        given[at++] = true;
    }
    for (int i = first; callnode->kind == N_CALL && i < callnode->kids; i++) {
        const Node *a = callnode->kid[i];
        if (a->kind != N_NAMED) continue;
        int k = find_parameter(params, a->name);
        if (k < 0) {
            report_unknown_option(el, def, a);
            return false;
        }
        if (given[k]) {
            report_error(el->d, a->span, "option-twice", "option `%s` is given twice", a->name);
            return false;
        }
        if (!evaluate(el, s, a->kid[0], &list[k])) return false;
        given[k] = true;
    }
    for (int k = 0; k < n; k++) {
        const Node *p = params->kid[k];
        if (!given[k]) {
            if (!KID(p, 0)) {
                report_error(el->d, callnode->span, "missing-option", "`%s` needs `%s`", def->name, p->name);
                report_note(el->d, p->span, "declared here");
                return false;
            }
            if (!evaluate(el, into, p->kid[0], &list[k])) return false;
        }
        scope_bind(el, into, p->name, list[k]);
    }
    return true;
too_many:
    report_error(el->d, callnode->span, "too-many-arguments", "`%s` takes %d argument%s", def->name, n,
                 n == 1 ? "" : "s");
    report_note(el->d, def->name_span, "declared here");
    return false;
}

static bool enter(El *el, const Callable *c, Span at) {
    if (el->depth >= MAX_DEPTH) {
        report_error(el->d, at, "too-deep", "functions and modules are nested more than %d deep here", MAX_DEPTH);
        report_note(el->d, c->def->name_span, "`%s` is declared here", c->def->name);
        report_help(el->d, "a function or module cannot contain itself without an end");
        return false;
    }
    if (!within_steps(el, at)) return false;
    el->depth++;
    return true;
}

// After an error inside a body: where the body was applied, for the innermost few applications. A net is applied by the
// file itself, which tells nothing.
void note_application(El *el, const Callable *c, Span at) {
    enum { MOST = 3 };
    if (el->traced != diagnostics_count(el->d)) trace_from(el, NO_SPAN);
    bool again = el->trace.file == at.file && el->trace.begin == at.begin && el->trace.end == at.end;
    if (again || c->def->kind == N_NET || el->traces >= MOST) return;
    report_note(el->d, at, "in `%s`, applied here", c->def->name);
    el->trace = at;
    el->traces++;
}

void trace_from(El *el, Span at) {
    el->traced = diagnostics_count(el->d);
    el->traces = 0;
    el->trace = at;
}

// `from` and `at`: the scope and the span of the call. Draws are keyed by the order of calls, not by where they stand
// in the text: laying a file out anew changes no number.
static Scope *body_scope(El *el, const Callable *c, Scope *from, Span at) {
    Scope *s = scope_new(el, c->file->scope);
    s->place = mix(mix(from->place, (uint64_t)++from->calls), el->iteration);
    s->callee = c->def;
    s->applied = at;
    s->outputs = KID(c->def, 2);
    s->path = c->path ? c->path : "";
    s->instance = c->instance;
    return s;
}

// ---- results: declared outputs found in the scope of the body

static bool collect_results(El *el, Scope *s, const Node *def, Span at, Value *out) {
    const Node *outputs = def->kid[2];
    Value *item = NEW_ARRAY(el->arena, Value, outputs->kids);
    for (int i = 0; i < outputs->kids; i++) {
        const Node *p = outputs->kid[i];
        Value *v = NULL;
        for (int k = 0; k < s->binding.count; k++)
            if (s->binding.at[k].name == p->name) v = &s->binding.at[k].value;
        if (!v || (v->kind != V_TENSOR && v->kind != V_NUMBER && v->kind != V_EXTENT)) {
            report_error(el->d, p->span, "no-result", "`%s` does not compute its result `%s`", def->name, p->name);
            return false;
        }
        Tensor *t = to_tensor(el, v, at);
        if (!t) return false;
        if (KID(p, 0)) {
            int rank, axis[MAX_RANK];
            Extent dim[MAX_RANK];
            if (!resolve_dims(el, s, p->kid[0], &rank, dim, axis)) return false;
            bool same = rank == t->rank;
            for (int k = 0; same && k < rank; k++) same = extents_agree(el, dim[k], axis[k], t->dim[k], t->axis[k]);
            if (!same) {
                Tensor want = {.rank = rank};
                memcpy(want.dim, dim, sizeof dim);
                memcpy(want.axis, axis, sizeof axis);
                report_error(el->d, v->span, "shape-mismatch", "result `%s` of `%s` has shape %s, declared is %s",
                             p->name, def->name, shape_text(el, t), shape_text(el, &want));
                report_note(el->d, p->span, "declared here");
                return false;
            }
            for (int k = 0; k < rank; k++)
                if (t->kind == TENSOR_TEMP && t->axis[k] < 0) t->axis[k] = axis[k];
        }
        item[i] = value_tensor(t, at);
    }
    if (outputs->kids == 1) *out = item[0];
    else *out = (Value){.kind = V_TUPLE, .item = item, .items = outputs->kids, .span = at, .axis = -1};
    return true;
}

// ---- scalar functions: f(x) = expression

bool apply_scalar(El *el, Callable *c, Scope *s, const Node *callnode, const Value *arg, int args, Value *out) {
    if (!enter(el, c, callnode ? callnode->span : c->def->span)) return false;
    Scope *body = body_scope(el, c, s, callnode ? callnode->span : c->def->span);
    body->outputs = NULL;
    Value list[MAX_ARGUMENTS];
    const Node *params = KID(c->def, 0);
    bool ok = false, hidden = el->hide_indices;
    int n = params ? params->kids : 0;
    if (args > n) {
        report_error(el->d, callnode ? callnode->span : c->def->span, "too-many-arguments", "`%s` takes %d argument%s",
                     c->def->name, n, n == 1 ? "" : "s");
        goto done;
    }
    for (int k = 0; k < n; k++) {
        const Node *p = params->kid[k];
        bool given = k < args;
        if (given) list[k] = arg[k];
        for (int i = 2; callnode && callnode->kind == N_CALL && i < callnode->kids; i++) {
            const Node *a = callnode->kid[i];
            if (a->kind != N_NAMED || a->name != p->name) continue;
            if (!(el->indices ? build(el, s, a->kid[0], &list[k]) : evaluate(el, s, a->kid[0], &list[k]))) goto done;
            given = true;
        }
        if (!given && !KID(p, 0)) {
            report_error(el->d, callnode ? callnode->span : c->def->span, "missing-option", "`%s` needs `%s`",
                         c->def->name, p->name);
            goto done;
        }
        if (!given && !evaluate(el, body, p->kid[0], &list[k])) goto done;
        scope_bind(el, body, p->name, list[k]);
    }
    for (int i = 2; callnode && callnode->kind == N_CALL && i < callnode->kids; i++)
        if (callnode->kid[i]->kind == N_NAMED && find_parameter(params, callnode->kid[i]->name) < 0) {
            report_unknown_option(el, c->def, callnode->kid[i]);
            goto done;
        }
    el->hide_indices = true;
    ok = build(el, body, c->def->kid[3], out);
    if (!ok) note_application(el, c, callnode ? callnode->span : c->def->span);
done:
    el->hide_indices = hidden;
    el->depth--;
    return ok;
}

// On whole tensors: one equation over their common shape.
static bool map_scalar(El *el, Scope *s, Callable *c, const char *builtin, const Node *n, Value *arg, int args,
                       Value *out) {
    const Tensor *shape = NULL;
    Span first = {0};
    for (int i = 0; i < args; i++) {
        if (arg[i].kind == V_TEXT) continue;
        if (arg[i].kind == V_TENSOR && arg[i].tensor->rank > 0) {
            const Tensor *t = arg[i].tensor;
            if (!shape) {
                shape = t, first = arg[i].span;
            } else {
                bool same = t->rank == shape->rank;
                for (int k = 0; same && k < t->rank; k++)
                    same = extents_agree(el, t->dim[k], t->axis[k], shape->dim[k], shape->axis[k]);
                if (!same) {
                    report_error(el->d, arg[i].span, "shape-mismatch", "shape %s does not agree with shape %s",
                                 shape_text(el, t), shape_text(el, shape));
                    report_note(el->d, first, "this has shape %s", shape_text(el, shape));
                    return false;
                }
            }
        } else if (arg[i].kind != V_NUMBER && arg[i].kind != V_EXTENT && arg[i].kind != V_TENSOR &&
                   arg[i].kind != V_EXPR) {
            report_error(el->d, arg[i].span, "not-a-number", "a tensor or a number is needed here, found %s",
                         value_kind_name(&arg[i]));
            return false;
        }
    }
    Value e[MAX_ARGUMENTS], r;
    for (int i = 0; i < args; i++) {
        e[i] = arg[i];
        if (arg[i].kind == V_TENSOR)
            e[i] = (Value){
                .kind = V_EXPR, .expr = read_all(el, arg[i].tensor, arg[i].span), .span = arg[i].span, .axis = -1};
    }
    Indices *indices = el->indices;
    el->indices = NULL;
    bool ok = c ? apply_scalar(el, c, s, n, e, args, &r) : call_builtin(el, s, builtin, n, e, args, &r);
    el->indices = indices;
    if (!ok) return false;
    if (r.kind == V_NUMBER && !shape) {
        *out = r;
        return true;
    }
    if (r.kind == V_TENSOR) {
        *out = r;
        return true;
    }
    if (!is_scalar(el, n, &r)) return false;
    Tensor *t = emit_map(el, NULL, shape, to_expr(el, &r), n->span);
    if (t) *out = value_tensor(t, n->span);
    return t != NULL;
}

// ---- tensor functions, modules, nets

// What a net is applied to under the name of a file's input has that input's shape (a dynamic axis may have any
// extent); other names take any tensor, such as a noisy version of an input.
static bool net_input(El *el, const Node *net, const Node *pattern, const Value *v) {
    const Value *declared = scope_find(el->root, pattern->name);
    if (!declared || declared->kind != V_TENSOR || declared->tensor->kind != TENSOR_INPUT) return true;
    if (v->kind != V_TENSOR) return true;
    const Tensor *want = declared->tensor, *have = v->tensor;
    bool same = have->rank == want->rank;
    for (int k = 0; same && k < want->rank; k++) {
        bool named = have->axis[k] >= 0 && want->axis[k] >= 0;
        same =
            named ? have->axis[k] == want->axis[k] : want->dim[k].axis >= 0 || extent_same(have->dim[k], want->dim[k]);
    }
    if (same) return true;
    report_error(el->d, v->span, "shape-mismatch", "net `%s` takes `%s` of shape %s, this has shape %s", net->name,
                 pattern->name, shape_text(el, want), shape_text(el, have));
    report_note(el->d, declared->span, "`%s` is declared here", pattern->name);
    return false;
}

bool apply(El *el, Scope *s, Callable *c, const Value *input, int inputs, Span at, Value *out) {
    const Node *def = c->def, *patterns = KID(def, 1);
    if (!enter(el, c, at)) return false;
    Scope *body = body_scope(el, c, s, at);
    const char *where = el->where;
    Precision precision = el->precision;
    if (*body->path) el->where = body->path;
    if (c->precision != PRECISION_MODEL) el->precision = c->precision;
    bool ok = false;
    const Node *params = def->kind == N_NET ? NULL : KID(def, 0);
    for (int i = 0; params && i < params->kids; i++) scope_bind(el, body, params->kid[i]->name, c->option[i]);
    int wanted = patterns ? patterns->kids : 0;
    if (inputs != wanted) {
        report_error(el->d, at, "input-count", "`%s` is applied to %d input%s, it takes %d", def->name, inputs,
                     inputs == 1 ? "" : "s", wanted);
        report_note(el->d, def->name_span, "declared here");
        goto done;
    }
    for (int i = 0; i < inputs; i++) {
        const Node *p = patterns->kid[i];
        Value v = input[i];
        if (def->kind == N_NET && !net_input(el, def, p, &v)) goto done;
        if (!KID(p, 0)) { // without brackets: any value
            scope_bind(el, body, p->name, v);
            continue;
        }
        if (v.kind != V_TENSOR && v.kind != V_NUMBER && v.kind != V_EXTENT) {
            report_error(el->d, v.span, "not-a-tensor", "`%s` takes a tensor for `%s`, found %s", def->name, p->name,
                         value_kind_name(&v));
            goto done;
        }
        Tensor *t = to_tensor(el, &v, v.span);
        if (!t || !match_pattern(el, body, p, t, v.span)) goto done;
        Value bound = value_tensor(t, v.span);
        scope_bind(el, body, p->name, bound);
    }
    ok = run_block(el, body, def->kid[3]) && collect_results(el, body, def, at, out);
    if (!ok) note_application(el, c, at);
done:
    el->where = where;
    el->precision = precision;
    el->depth--;
    return ok;
}

static bool spread(El *el, const Value *v, Value *list, int *n, Span at) {
    int count = v->kind == V_TUPLE ? v->items : 1;
    for (int i = 0; i < count; i++) {
        if (*n == MAX_ARGUMENTS) {
            report_error(el->d, at, "too-many-arguments", "more than %d arguments", MAX_ARGUMENTS);
            return false;
        }
        list[(*n)++] = v->kind == V_TUPLE ? v->item[i] : *v;
    }
    return true;
}

static bool positional(El *el, Scope *s, const Node *n, Value *list, int *count) {
    for (int i = 2; n->kind == N_CALL && i < n->kids; i++) {
        Value v;
        if (n->kid[i]->kind == N_NAMED) continue;
        if (!evaluate(el, s, n->kid[i], &v)) return false;
        v.span = n->kid[i]->span;
        if (v.kind == V_TUPLE) {
            if (!spread(el, &v, list, count, v.span)) return false;
        } else {
            if (*count == MAX_ARGUMENTS) {
                report_error(el->d, n->span, "too-many-arguments", "more than %d arguments", MAX_ARGUMENTS);
                return false;
            }
            list[(*count)++] = v;
        }
    }
    return true;
}

static bool refuse_named(El *el, const Node *n, const char *name) {
    for (int i = 2; n->kind == N_CALL && i < n->kids; i++)
        if (n->kid[i]->kind == N_NAMED) {
            report_error(el->d, n->kid[i]->span, "unknown-option", "`%s` has no option `%s`", name, n->kid[i]->name);
            return false;
        }
    return true;
}

// A function of tensors: patterns take the first positional arguments, options the rest.
static bool call_function(El *el, Scope *s, Callable *c, const Node *n, Value *list, int count, Value *out) {
    const Node *def = c->def, *patterns = def->kid[1], *params = KID(def, 0);
    if (count < patterns->kids) {
        report_error(el->d, n->span, "input-count", "`%s` takes %d input%s, %d given", def->name, patterns->kids,
                     patterns->kids == 1 ? "" : "s", count);
        report_note(el->d, def->name_span, "declared here");
        return false;
    }
    Callable *bound = NEW(el->arena, Callable);
    *bound = *c;
    bound->path = s->path;
    bound->instance = mix(s->instance, mix((uint64_t)(uintptr_t)n, el->iteration));
    bound->option = NEW_ARRAY(el->arena, Value, params && params->kids ? params->kids : 1);
    Scope *options = scope_new(el, c->file->scope);
    // positional arguments were evaluated already: hand the rest over as leading values, then the named ones
    Node rest = *n;
    Node **kid = NEW_ARRAY(el->arena, Node *, n->kids + 2);
    rest.kid = kid, rest.kids = 2;
    kid[0] = KID(n, 0), kid[1] = KID(n, 1);
    for (int i = 2; n->kind == N_CALL && i < n->kids; i++)
        if (n->kid[i]->kind == N_NAMED) kid[rest.kids++] = n->kid[i];
    if (!bind_options(el, s, def, &rest, 2, options, bound->option, list + patterns->kids, count - patterns->kids))
        return false;
    return apply(el, s, bound, list, patterns->kids, n->span, out);
}

static bool bind_module(El *el, Scope *s, Callable *c, const Node *n, const char *label, Span label_span, Value *out) {
    Callable *bound = NEW(el->arena, Callable);
    *bound = *c;
    bound->bound = true;
    if (label && !use_label(el, s, label, label_span)) return false;
    bound->path = label ? join(el, s->path, label) : s->path;
    bound->precision = el->precision;
    bound->instance = mix(mix(s->instance, (uint64_t)(uintptr_t)n), el->iteration);
    const Node *params = KID(c->def, 0);
    bound->option = NEW_ARRAY(el->arena, Value, params && params->kids ? params->kids : 1);
    Scope *options = scope_new(el, c->file->scope);
    // sizes of the caller that defaults may need are reachable through the call's own scope only
    if (!bind_options(el, s, c->def, n, 2, options, bound->option, NULL, 0)) return false;
    *out = (Value){.kind = V_CALLABLE, .callable = bound, .span = n->span, .axis = -1};
    return true;
}

bool call(El *el, Scope *s, const Node *n, const Value *piped, int pipeds, Value *out) {
    const char *label = NULL;
    Span label_span = n->span;
    if (!within_stack(el, n->span)) return false;
    if (n->kind == N_LABELLED) {
        if (!label_text(el, s, n->kid[0], &label)) return false;
        label_span = n->kid[0]->span;
        n = n->kid[1];
    }
    if (n->kind == N_PIPE || (n->kind != N_CALL && n->kind != N_NAME)) {
        report_error(el->d, n->span, "not-callable", "a function or module is needed after `|>`, found %s",
                     node_words(n));
        return false;
    }
    if (n->kind == N_CALL && KID(n, 1)) {
        report_error(el->d, n->span, "unbound-index", "a function along an index needs an equation around it");
        report_help(el->d, "p[i, j] = %s[j](x[i, j])", n->kid[0]->kind == N_NAME ? n->kid[0]->name : "f");
        return false;
    }
    const Node *callee = n->kind == N_CALL ? n->kid[0] : n;
    Value f;
    if (callee->kind == N_NAME) {
        if (!evaluate(el, s, callee, &f)) return false;
    } else if (!call(el, s, callee, NULL, 0, &f)) { // linear(3)(x), fc: linear(3)(x)
        return false;
    }
    if (f.kind != V_CALLABLE) {
        report_error(el->d, callee->span, "not-callable", "this is %s and cannot be applied", value_kind_name(&f));
        if (f.kind == V_TENSOR) report_help(el->d, "an element is x[i]; a product needs its `*`");
        return false;
    }
    Callable *c = f.callable;
    Value list[MAX_ARGUMENTS];
    int count = 0;
    for (int i = 0; i < pipeds; i++)
        if (!spread(el, &piped[i], list, &count, n->span)) return false;
    if (label && !(c->def && c->def->kind == N_MODULE)) {
        const char *name = c->builtin ? c->builtin : c->def->name;
        report_error(el->d, label_span, "bad-label", "`%s` is no module and takes no label", name);
        report_help(el->d, "labels make the paths of a module's parameters; leave `%s:` out", label);
        return false;
    }
    if (c->builtin) {
        ScalarOp op;
        if (!positional(el, s, n, list, &count)) return false;
        bool of_one = count == 1 && (!strcmp(c->builtin, "max") || !strcmp(c->builtin, "min")); // of a whole tensor
        if (builtin_scalar_op(c->builtin, &op) && !of_one)
            return map_scalar(el, s, NULL, c->builtin, n, list, count, out);
        return call_builtin(el, s, c->builtin, n, list, count, out);
    }
    switch (c->def->kind) {
    case N_MODULE:
        if (!c->bound) {
            Value m;
            if (!bind_module(el, s, c, n, label, label_span, &m)) return false;
            if (pipeds == 0) {
                *out = m;
                return true;
            }
            return apply(el, s, m.callable, list, count, n->span, out);
        }
        if (label) {
            report_error(el->d, label_span, "bad-label", "this module is made already, and its path with it");
            report_note(el->d, f.span, "it is made here");
            report_help(el->d, "label the module where it gets its options: p = %s: %s(…), then p(x)", label,
                        c->def->name);
            return false;
        }
        if (!positional(el, s, n, list, &count) || !refuse_named(el, n, c->def->name)) return false;
        return apply(el, s, c, list, count, n->span, out);
    case N_NET: {
        if (!positional(el, s, n, list, &count) || !refuse_named(el, n, c->def->name)) return false;
        Callable *net = NEW(el->arena, Callable);
        *net = *c;
        net->path = "";
        net->instance = mix_text(1, c->def->name);
        el->generation++;
        c->applied = true;
        return apply(el, s, net, list, count, n->span, out);
    }
    case N_FUNCTION:
        if (!positional(el, s, n, list, &count)) return false;
        if (!KID(c->def, 1)) return map_scalar(el, s, c, NULL, n, list, count, out);
        return call_function(el, s, c, n, list, count, out);
    case N_SCHEDULE: { // a scalar in the step
        Scope *body = scope_new(el, c->file->scope);
        Value options[MAX_ARGUMENTS];
        body->callee = c->def;
        body->path = join(el, "schedule", c->def->name);
        body->instance = mix(s->instance, (uint64_t)(uintptr_t)n);
        if (!bind_options(el, s, c->def, n, 2, body, options, NULL, 0)) return false;
        const Node *b = c->def->kid[3];
        if (b->kind != N_BLOCK) return evaluate(el, body, b, out);
        if (!run_block(el, body, b)) return false;
        Value *r = scope_find(body, intern_z(el->names, "factor"));
        if (!r) {
            report_error(el->d, b->span, "no-result", "schedule `%s` does not compute `factor`", c->def->name);
            return false;
        }
        *out = *r;
        return true;
    }
    case N_OPTIMIZER: {
        Callable *bound = NEW(el->arena, Callable);
        const Node *params = KID(c->def, 0);
        *bound = *c;
        bound->bound = true;
        bound->option = NEW_ARRAY(el->arena, Value, params && params->kids ? params->kids : 1);
        Scope *options = scope_new(el, c->file->scope);
        if (!bind_options(el, s, c->def, n, 2, options, bound->option, NULL, 0)) return false;
        *out = (Value){.kind = V_CALLABLE, .callable = bound, .span = n->span, .axis = -1};
        return true;
    }
    default: DIE("callable %d", c->def->kind);
    }
}

bool inside_scalar_function(El *el, Span at) {
    report_error(el->d, at, "element-function",
                 "a function `f(x) = …` sees one element: it has no indices to read or reduce");
    report_help(el->d, "a function of tensors has brackets: function f(x[.., k]) -> y[..] { y[..] = sum[k] x[.., k] }");
    return false;
}

// f[j](e, …): the arguments become tensors over the free indices that they use, j last; the function is applied to
// them, and its result is read at the same indices.
bool call_along(El *el, Scope *s, const Node *n, Value *out) {
    Indices *ix = el->indices;
    Value f;
    if (!ix) {
        report_error(el->d, n->span, "unbound-index", "a function along an index needs an equation around it");
        return false;
    }
    if (n->kid[0]->kind != N_NAME || !evaluate(el, s, n->kid[0], &f)) return false;
    if (f.kind != V_CALLABLE || !f.callable->def || f.callable->def->kind != N_FUNCTION || !KID(f.callable->def, 1)) {
        report_error(el->d, n->kid[0]->span, "not-callable", "`%s` is not a function of tensors", n->kid[0]->name);
        return false;
    }
    const Node *binders = n->kid[1];
    if (!open_binders(el, s, ix, n, binders)) return false;
    int along[MAX_RANK], alongs = 0;
    for (int i = 0; i < binders->kids && alongs < MAX_RANK; i++) {
        int e = index_find(ix, binders->kid[i]->name);
        if (e >= 0) along[alongs++] = e;
    }
    Expr *value[MAX_ARGUMENTS];
    int count = 0;
    uint64_t used = 0, along_set = 0;
    for (int i = 0; i < alongs; i++) along_set |= 1ull << along[i];
    bool ok = true;
    for (int i = 2; ok && i < n->kids; i++) {
        if (n->kid[i]->kind == N_NAMED) continue;
        Value v;
        if (count == MAX_ARGUMENTS) {
            report_error(el->d, n->span, "too-many-arguments", "more than %d arguments", MAX_ARGUMENTS);
            ok = false;
            break;
        }
        ok = build(el, s, n->kid[i], &v);
        if (ok && (v.kind == V_NUMBER || v.kind == V_EXPR)) {
            value[count] = to_expr(el, &v);
            used |= expr_facts(el, value[count++])->used;
        } else if (ok) {
            report_error(el->d, n->kid[i]->span, "not-a-number", "an expression with indices is needed here");
            ok = false;
        }
    }
    close_binders(ix, n);
    if (!ok) return false;
    int free[MAX_ENTRIES], frees = entries_in_order(ix, used & ~along_set, free), leading = frees;
    for (int i = 0; i < alongs; i++) free[frees++] = along[i];
    Value list[MAX_ARGUMENTS];
    for (int i = 0; i < count; i++) {
        Tensor *t = emit(el, NULL, free, frees, NULL, 0, REDUCE_NONE, value[i], n->span);
        if (!t) return false;
        list[i] = value_tensor(t, n->span);
    }
    if (el->hide_indices) return inside_scalar_function(el, n->span);
    Value r;
    el->indices = NULL; // the function's body has indices of its own
    ok = call_function(el, s, f.callable, n, list, count, &r);
    el->indices = ix;
    if (!ok) return false;
    if (r.kind != V_TENSOR || (r.tensor->rank != frees && r.tensor->rank != leading)) {
        report_error(el->d, n->span, "rank-mismatch", "the result of `%s` does not fit back into this equation",
                     n->kid[0]->name);
        return false;
    }
    *out = (Value){.kind = V_EXPR, .expr = read_at(el, r.tensor, free, n->span), .span = n->span, .axis = -1};
    return true;
}
