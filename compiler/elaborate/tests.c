// Test blocks. A test becomes job "test:TITLE" whose outputs the runner compares; `check gradients of y` becomes job
// "gradient:TITLE" that the runner compares with central differences; a test with `error "…"` is elaborated on the
// spot.
#include "elaborate/internal.h"

#include <stdlib.h>
#include <string.h>

static bool has_check_gradients(const Node *block) {
    for (int i = 0; i < block->kids; i++)
        if (block->kid[i]->kind == N_CHECK_GRADIENTS) return true;
    return false;
}

// A test that checks gradients and nothing else needs no job for values.
static bool has_check_values(const Node *block) {
    for (int i = 0; i < block->kids; i++) {
        NodeKind kind = block->kid[i]->kind;
        if (kind == N_CHECK_CLOSE || kind == N_CHECK_TRUE || kind == N_CHECK_STRUCTURE) return true;
    }
    return false;
}

static bool reads_tensors(El *el, Scope *s, const Node *n) {
    if (n->kind == N_INDEXED || n->kind == N_CALL || n->kind == N_NAME) {
        Value *v = n->name ? scope_find(s, n->name) : NULL;
        if (v && v->kind == V_TENSOR) return true;
    }
    for (int i = 0; i < n->kids; i++)
        if (n->kid[i] && reads_tensors(el, s, n->kid[i])) return true;
    return false;
}

// In a gradient test, `x[i < 3] = formula` is an input to be perturbed: it becomes a parameter with that first value.
static bool as_parameter(El *el, Scope *s, const Node *n, bool *done) {
    *done = false;
    const Node *dims = n->kids == 2 ? KID(n->kid[0], 0) : NULL;
    if (!dims || reads_tensors(el, s, n->kid[1])) return true;
    for (int i = 0; i < dims->kids; i++)
        if (dims->kid[i]->kind != N_BOUND || !KID(dims->kid[i], 0)) return true;
    Job *job = el->job;
    Tensor *t;
    el->job = el->init;
    bool ok = assign_indexed(el, s, n->kid[0], n->kid[1], NULL, &t);
    el->job = job;
    if (!ok) return false;
    if (t->type != T_REAL) return true; // positions and masks stay what they are
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i].axis >= 0) return true;
    const char *path = intern_z(el->names, arena_format(el->arena, "%s.%s", s->path, n->kid[0]->name));
    Tensor *p = program_tensor(el->program, TENSOR_PARAM, path, T_REAL, t->rank, t->dim);
    memcpy(p->axis, t->axis, sizeof p->axis);
    p->init = t->id;
    vec_push(el->arena, &el->init->update, ((Update){p->id, t->id}));
    vec_push(el->arena, &el->param, ((ParamRecord){p, s->instance, el->generation, el->job, n->span}));
    scope_bind(el, s, n->kid[0]->name, value_tensor(p, n->kid[0]->span));
    *done = true;
    return true;
}

// loss = sum over all elements of y * cos(0.5 + 0.7 i + 1.3 j + …): no element of y's gradient is left unseen.
static bool gradient_loss(El *el, Scope *s, const Node *check) {
    Value *v = scope_find(s, check->kid[0]->name);
    if (!v || v->kind != V_TENSOR) {
        report_error(el->d, check->kid[0]->span, "unknown-name", "`%s` is not a tensor of this test",
                     check->kid[0]->name);
        return false;
    }
    Job *j = el->job;
    Tensor *y = v->tensor;
    Expr *angle = expr_const(j, 0.5, T_REAL);
    for (int i = 0; i < y->rank; i++)
        angle = expr_op(
            j, OP_ADD, angle,
            expr_op(j, OP_MUL, expr_const(j, 0.7 + 0.6 * i, T_REAL), expr_cast(j, T_REAL, expr_index(j, i)), NULL),
            NULL);
    Tensor *loss = new_temp(el, "loss", T_REAL, 0, NULL, NULL, check->span);
    Expr *value =
        expr_op(j, OP_MUL, to_real(el, read_all(el, y, check->span)), expr_op(j, OP_COS, angle, NULL, NULL), NULL);
    Equation *q = new_equation(el, EQ_COMPUTE, loss, check->span);
    q->vars = y->rank;
    q->reduce = y->rank ? REDUCE_SUM : REDUCE_NONE;
    for (int i = 0; i < y->rank; i++) q->var[i] = (Variable){arena_format(el->arena, "i%d", i), y->dim[i]};
    q->value = value;
    Value out = value_tensor(loss, check->span);
    if (!value_output(el, "fd.loss", &out, check->span) || !request_gradients(el, loss, NULL, 0)) return false;
    if (j->gradient.count == 0) {
        report_error(el->d, check->span, "no-parameters", "`%s` depends on nothing that could be varied", y->name);
        report_help(el->d, "inputs of a gradient test are written x[i < 3] = formula");
        return false;
    }
    for (int i = 0; i < j->gradient.count; i++) {
        Tensor *g = el->program->tensor.at[j->gradient.at[i].source];
        const char *name = el->program->tensor.at[j->gradient.at[i].target]->name;
        vec_push(el->arena, &j->output,
                 ((JobOutput){intern_z(el->names, arena_format(el->arena, "fd.grad.%s", name)), g->id}));
    }
    Value tolerance = value_number(1e-5, false);
    if (KID(check, 1) && !evaluate(el, s, check->kid[1], &tolerance)) return false;
    return value_output(el, "fd.tolerance", &tolerance, check->span);
}

static bool check_close(El *el, Scope *s, const Node *n, int number) {
    Value v[3];
    static const char *const part[3] = {"left", "right", "tolerance"};
    for (int i = 0; i < 3; i++)
        if (!evaluate(el, s, n->kid[i], &v[i])) return false;
    const Tensor *a = v[0].kind == V_TENSOR ? v[0].tensor : NULL, *b = v[1].kind == V_TENSOR ? v[1].tensor : NULL;
    if (a && b && a->rank && b->rank) {
        bool same = a->rank == b->rank;
        for (int k = 0; same && k < a->rank; k++) same = extent_same(a->dim[k], b->dim[k]);
        if (!same) {
            report_error(el->d, n->span, "shape-mismatch", "the two sides have shapes %s and %s", shape_text(el, a),
                         shape_text(el, b));
            return false;
        }
    }
    for (int i = 0; i < 3; i++)
        if (!value_output(el, arena_format(el->arena, "check.%d.%s", number, part[i]), &v[i], n->kid[i]->span))
            return false;
    return true;
}

static bool run_test(El *el, const Node *n, bool gradients, int serial) {
    Scope *s = scope_new(el, el->root);
    s->callee = n;
    s->path = arena_format(el->arena, "test%d%s", serial, gradients ? "g" : "");
    s->instance = mix((uint64_t)serial, gradients);
    el->generation++;
    set_training(el, true);
    const Node *block = n->kid[0];
    int number = 0;
    for (int i = 0; i < block->kids; i++) {
        const Node *x = block->kid[i];
        bool done = false;
        if (x->kind == N_ASSIGN && !x->text && x->kids == 2 && !KID(x->kid[0], 0) &&
            !strcmp(x->kid[0]->name, "training")) {
            bool on;
            if (!evaluate_condition(el, s, x->kid[1], &on)) return false;
            set_training(el, on);
            continue;
        }
        if (gradients && x->kind == N_ASSIGN && !as_parameter(el, s, x, &done)) return false;
        if (done) continue;
        switch (x->kind) {
        case N_CHECK_CLOSE:
            if (!gradients && !check_close(el, s, x, number++)) return false;
            break;
        case N_CHECK_TRUE: {
            if (gradients) break;
            Node one = {.kind = N_NUMBER, .number = 1, .integer = true, .span = x->span};
            Node zero = {.kind = N_NUMBER, .span = x->span}, *kid[3] = {x->kid[0], &one, &zero};
            Node close = {.kind = N_CHECK_CLOSE, .span = x->span, .kid = kid, .kids = 3};
            if (!check_close(el, s, &close, number++)) return false;
            break;
        }
        case N_CHECK_GRADIENTS:
            if (!gradients) break;
            return gradient_loss(el, s, x); // one per test: the first
        case N_CHECK_STRUCTURE: {
            int64_t limit;
            if (gradients) break;
            if (!evaluate_integer(el, s, x->kid[1], "the number", &limit)) return false;
            vec_push(el->arena, &el->program->structure,
                     ((StructureCheck){el->job, x->text, x->kid[0]->name, limit, x->span}));
            break;
        }
        default:
            if (!run_statement(el, s, x)) return false;
        }
    }
    return true;
}

static bool error_test(El *el, const Node *n, int serial) {
    Diagnostics *outer = el->d;
    const char *wanted = n->kid[1]->text;
    Mark before = mark(el);
    el->d = diagnostics_new(el->arena, el->sources);
    el->job = program_job(el->program, "error");
    el->job->loss = -1;
    bool passed = run_test(el, n, false, serial);
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) DIE("no memory");
    diagnostics_print(el->d, memory, false);
    fclose(memory);
    el->d = outer;
    return_to(el, before);
    bool found = !passed && strstr(text, wanted);
    if (!found) {
        report_error(el->d, n->span, "test-error", "test \"%s\" expects the error \"%s\"", n->text, wanted);
        report_help(el->d, "%s%s", passed ? "but there was none" : "but it was:\n", passed ? "" : text);
    }
    free(text);
    return found;
}

bool elaborate_tests(El *el, const Node *file) {
    bool ok = true;
    int serial = 0;
    for (int i = 0; i < file->kids; i++) {
        const Node *n = file->kid[i];
        if (n->kind != N_TEST) continue;
        serial++;
        for (int k = 0; k < i; k++)
            if (file->kid[k]->kind == N_TEST && !strcmp(file->kid[k]->text, n->text)) {
                report_error(el->d, n->name_span, "duplicate-name", "two tests are called \"%s\"", n->text);
                report_note(el->d, file->kid[k]->name_span, "the first is here");
                return false;
            }
        if (n->kid[1]) {
            ok = error_test(el, n, serial) && ok;
            continue;
        }
        bool gradients = has_check_gradients(n->kid[0]);
        if (!gradients || has_check_values(n->kid[0])) {
            el->job = program_job(el->program, intern_z(el->names, arena_format(el->arena, "test:%s", n->text)));
            el->job->loss = -1;
            ok = run_test(el, n, false, serial) && ok;
        }
        if (!gradients) continue;
        el->job = program_job(el->program, intern_z(el->names, arena_format(el->arena, "gradient:%s", n->text)));
        el->job->loss = -1;
        ok = run_test(el, n, true, serial) && ok;
    }
    return ok;
}
