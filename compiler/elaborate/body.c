// Statements of functions, modules, nets and jobs.
// requires a scope; leaves names bound, equations emitted and updates requested.
#include "elaborate/internal.h"

#include <math.h>
#include <string.h>

bool bind_results(El *el, Scope *s, const Node *statement, const Value *v) {
    int targets = statement->kids - 1;
    if (targets == 1) {
        Value copy = *v;
        copy.span = statement->kid[0]->span;
        if (copy.kind == V_TENSOR && copy.tensor->kind == TENSOR_TEMP && copy.tensor->name[0] == '_')
            copy.tensor->name = statement->kid[0]->name;
        scope_bind(el, s, statement->kid[0]->name, copy);
        return true;
    }
    if (v->kind != V_TUPLE || v->items != targets) {
        report_error(el->d, statement->span, "result-count", "%d names for %d result%s", targets,
                     v->kind == V_TUPLE ? v->items : 1, v->kind == V_TUPLE && v->items != 1 ? "s" : "");
        return false;
    }
    for (int i = 0; i < targets; i++) {
        Value copy = v->item[i];
        copy.span = statement->kid[i]->span;
        scope_bind(el, s, statement->kid[i]->name, copy);
    }
    return true;
}

// Names may be assigned again, but not those that a declaration of the file fixes.
static bool may_assign(El *el, Scope *s, const Node *target) {
    const Value *v = scope_find(s, target->name);
    if (!v || !v->origin) return true;
    bool constant = v->kind == V_NUMBER && !v->boolean; // pi, infinity: a body may use the letter for its own
    if (!strcmp(v->origin, "language") && constant) return true;
    if (!strcmp(v->origin, "language")) {
        report_error(el->d, target->span, "assign-declared",
                     "`%s` has a meaning in the language and cannot be assigned", target->name);
    } else {
        report_error(el->d, target->span, "assign-declared", "`%s` is %s %s and cannot be assigned", target->name,
                     strcmp(v->origin, "setting") ? "an" : "a", v->origin);
        report_note(el->d, v->span, "`%s` is declared here", target->name);
    }
    report_help(el->d, "choose another name for this value");
    return false;
}

static bool assign(El *el, Scope *s, const Node *n) {
    const Node *value = n->kid[n->kids - 1];
    for (int i = 0; i + 1 < n->kids; i++)
        if (!may_assign(el, s, n->kid[i])) return false;
    if (n->kids == 2 && KID(n->kid[0], 0)) {
        Tensor *t;
        if (!assign_indexed(el, s, n->kid[0], value, NULL, &t)) return false;
        scope_bind(el, s, n->kid[0]->name, value_tensor(t, n->kid[0]->span));
        return true;
    }
    for (int i = 0; i + 1 < n->kids; i++)
        if (KID(n->kid[i], 0)) {
            report_error(el->d, n->kid[i]->span, "left-side", "one of several results cannot have indices");
            return false;
        }
    Value v;
    if (!evaluate(el, s, value, &v)) return false;
    if (n->text && v.kind != V_TENSOR && v.kind != V_TUPLE && v.kind != V_CALLABLE) return computes_nothing(el, n);
    return bind_results(el, s, n, &v);
}

static bool update(El *el, Scope *s, const Node *n) {
    const Node *target = n->kid[0];
    Value *v = scope_find(s, target->name);
    bool is_state = v && v->kind == V_TENSOR && v->tensor->kind == TENSOR_STATE;
    bool is_optimised =
        v && v->kind == V_TENSOR && v->tensor->kind == TENSOR_PARAM && s->updates && v->tensor == s->updates->tensor;
    if (!is_state && !is_optimised) {
        report_error(el->d, target->span, "not-state", "`%s` is not a state%s", target->name,
                     v && v->kind == V_TENSOR && v->tensor->kind == TENSOR_PARAM
                         ? "; parameters are changed by an optimizer"
                         : "");
        report_help(el->d, "declare it with `state %s[…] = value`", target->name);
        return false;
    }
    Tensor *to = v->tensor, *from;
    if (KID(target, 0)) {
        if (!assign_indexed(el, s, target, n->kid[1], v, &from)) return false;
    } else {
        Value value;
        if (!evaluate(el, s, n->kid[1], &value)) return false;
        if (value.kind != V_TENSOR && value.kind != V_NUMBER && value.kind != V_EXTENT) {
            report_error(el->d, n->kid[1]->span, "not-a-tensor", "a tensor is needed here, found %s",
                         value_kind_name(&value));
            return false;
        }
        from = to_tensor(el, &value, n->kid[1]->span);
        if (!from) return false;
    }
    bool same = from->rank == to->rank;
    for (int i = 0; same && i < to->rank; i++)
        same = extents_agree(el, from->dim[i], from->axis[i], to->dim[i], to->axis[i]);
    if (!same) {
        report_error(el->d, n->span, "shape-mismatch", "the new value has shape %s, `%s` has shape %s",
                     shape_text(el, from), target->name, shape_text(el, to));
        report_note(el->d, v->span, "`%s` is declared here", target->name);
        return false;
    }
    if (from->type != to->type) {
        Expr *e = expr_cast(el->job, to->type, read_all(el, from, n->span));
        from = emit_map(el, NULL, to, e, n->span);
    }
    for (int i = 0; i < el->job->update.count; i++)
        if (el->job->update.at[i].target == to->id) {
            el->job->update.at[i].source = from->id; // a later `<-` in the same step wins
            return true;
        }
    vec_push(el->arena, &el->job->update, ((Update){to->id, from->id}));
    return true;
}

static bool run_loop(El *el, Scope *s, const Node *n) {
    const Node *over = n->kid[0];
    Value list = {.kind = V_LIST};
    int64_t from = 0, to = 0;
    if (over->kind == N_RANGE) {
        if (!evaluate_integer(el, s, over->kid[0], "the start of a range", &from) ||
            !evaluate_integer(el, s, over->kid[1], "the end of a range", &to))
            return false;
        if (to - from > 10000) {
            report_error(el->d, over->span, "loop-limit", "this loop would unroll %lld times; at most 10000",
                         (long long)(to - from));
            return false;
        }
    } else {
        if (!evaluate(el, s, over, &list)) return false;
        if (list.kind != V_LIST) {
            report_error(el->d, over->span, "not-a-list", "`for` takes a range or a list, found %s",
                         value_kind_name(&list));
            return false;
        }
        to = list.items;
    }
    uint64_t iteration = el->iteration;
    bool ok = true;
    for (int64_t i = from; ok && i < to; i++) {
        el->iteration = mix(iteration, (uint64_t)i + 17);
        Value v = over->kind == N_RANGE ? value_number((double)i, true) : list.item[i];
        v.span = n->name_span;
        scope_bind(el, s, n->name, v);
        ok = within_steps(el, n->span) && run_block(el, s, n->kid[1]);
    }
    el->iteration = iteration;
    return ok;
}

static bool run_match(El *el, Scope *s, const Node *n) {
    Value subject;
    if (!evaluate(el, s, n->kid[0], &subject)) return false;
    for (int i = 1; i < n->kids; i++)
        for (int k = 1; k < i; k++) {
            const Node *a = n->kid[i]->kid[0], *b = n->kid[k]->kid[0];
            if (!a || !b || a->kind != b->kind) continue;
            if (a->kind == N_STRING ? strcmp(a->text, b->text) != 0 : a->kind != N_NUMBER || a->number != b->number)
                continue;
            report_error(el->d, a->span, "duplicate-arm",
                         "this arm is never reached: an arm before it has the same value");
            report_note(el->d, b->span, "the first is here");
            return false;
        }
    for (int i = 1; i < n->kids; i++) {
        const Node *arm = n->kid[i];
        if (!arm->kid[0]) return run_block(el, s, arm->kid[1]);
        Value v, same;
        if (!evaluate(el, s, arm->kid[0], &v)) return false;
        Node equal = {.kind = N_BINARY, .name = "==", .span = arm->kid[0]->span};
        if (!constant_binary(el, s, &equal, &subject, &v, &same)) {
            report_error(el->d, arm->kid[0]->span, "match-type", "%s cannot be compared with %s", value_kind_name(&v),
                         value_kind_name(&subject));
            return false;
        }
        if (same.number != 0) return run_block(el, s, arm->kid[1]);
    }
    if (subject.kind == V_TEXT) report_error(el->d, n->kid[0]->span, "no-match", "no arm for \"%s\"", subject.text);
    else report_error(el->d, n->kid[0]->span, "no-match", "no arm for %g", subject.number);
    Text t = {.arena = el->arena};
    for (int i = 1; i < n->kids; i++) {
        const Node *a = n->kid[i]->kid[0];
        if (a && a->kind == N_STRING) text_add(&t, "%s\"%s\"", t.length ? ", " : "", a->text);
        else if (a && a->kind == N_NUMBER) text_add(&t, "%s%g", t.length ? ", " : "", a->number);
    }
    if (t.length) report_help(el->d, "the arms are: %s", t.at);
    return false;
}

static const char *statement_name(const Node *n) {
    switch (n->kind) {
    case N_GROUP_OPTIMIZER: return "`optimizer = …`";
    case N_CHECK_CLOSE:
    case N_CHECK_TRUE:
    case N_CHECK_GRADIENTS:
    case N_CHECK_STRUCTURE: return "`check`";
    case N_FREEZE: return "`freeze`";
    case N_MONITOR: return "`monitor`";
    case N_METRIC: return "`metric`";
    case N_OUTPUT: return "`output`";
    case N_COMPARE: return "`compare`";
    default: return "this";
    }
}

static const char *statement_home(const Node *n) {
    switch (n->kind) {
    case N_GROUP_OPTIMIZER:
    case N_FREEZE:
    case N_MONITOR: return "it belongs to the `train` block";
    case N_METRIC:
    case N_COMPARE: return "it is a line of the `evaluate` block itself";
    case N_OUTPUT: return "it belongs to the blocks `predict` and `embed`";
    default: return "it is a line of a `test` block itself";
    }
}

// A statement's own precision holds for all that it computes, but for statements inside that name one themselves.
Precision enter_precision(El *el, const Node *statement) {
    bool may = statement->kind == N_ASSIGN || statement->kind == N_UPDATE || statement->kind == N_METRIC ||
               statement->kind == N_OUTPUT;
    Precision outer = el->precision;
    if (may && statement->text) el->precision = precision_of_word(statement->text);
    return outer;
}

bool computes_nothing(El *el, const Node *n) {
    report_error(el->d, n->span, "no-equation", "`at %s` says how equations are computed, and this computes none",
                 n->text);
    report_help(el->d, "leave `at %s` out, or give it to the statement that computes the tensor", n->text);
    return false;
}

static bool statement(El *el, Scope *s, const Node *n);

bool run_statement(El *el, Scope *s, const Node *n) {
    Precision outer = enter_precision(el, n);
    bool ok = statement(el, s, n);
    el->precision = outer;
    return ok;
}

static bool statement(El *el, Scope *s, const Node *n) {
    Value v;
    if (!within_stack(el, n->span) || !within_steps(el, n->span)) return false;
    if (el->job_statement && s->callee && s->callee->kind == N_JOB) {
        bool handled = false;
        int before = el->job->equation.count;
        if (!el->job_statement(el, s, n, el->job_state, &handled)) return false;
        // Lines of `train` are read again for the evaluation of the loss, which computes the loss alone.
        bool idle = handled && n->kind == N_ASSIGN && n->text && el->training && el->job->equation.count == before;
        if (handled) return !idle || computes_nothing(el, n);
    }
    switch (n->kind) {
    case N_PARAM:
    case N_STATE: return add_param(el, s, n);
    case N_ASSIGN: return assign(el, s, n);
    case N_UPDATE: return update(el, s, n);
    case N_FOR: return run_loop(el, s, n);
    case N_IF: {
        bool yes;
        if (!evaluate_condition(el, s, n->kid[0], &yes)) return false;
        if (yes) return run_block(el, s, n->kid[1]);
        if (!KID(n, 2)) return true;
        return n->kid[2]->kind == N_IF ? run_statement(el, s, n->kid[2]) : run_block(el, s, n->kid[2]);
    }
    case N_MATCH: return run_match(el, s, n);
    case N_EVALUATE_EXPR:
        if (!evaluate(el, s, n->kid[0], &v)) return false;
        if (v.kind != V_CALLABLE) return true;
        report_error(el->d, n->span, "unused-module", "this module is made and applied to nothing");
        report_help(el->d, "apply it, y = x |> f(…), or bind it to a name, f = label: module(…)");
        return false;
    default:
        report_error(el->d, n->span, "bad-statement", "%s cannot stand here", statement_name(n));
        report_help(el->d, "%s", statement_home(n));
        return false;
    }
}

bool run_block(El *el, Scope *s, const Node *block) {
    bool ok = true;
    for (int i = 0; i < block->kids; i++) {
        if (!run_statement(el, s, block->kid[i])) {
            ok = false;
            break; // what follows would only repeat the error
        }
    }
    return ok;
}
