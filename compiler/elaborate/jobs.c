// Jobs: evaluate (and its metrics), predict, embed; train is in train.c, prepare in prepare.c.
// requires the file's declarations in scope; leaves the jobs of the program.
#include "elaborate/internal.h"

#include <string.h>

static const Node *find_job(const Node *file, const char *name) {
    for (int i = 0; i < file->kids; i++)
        if (file->kid[i]->kind == N_JOB && !strcmp(file->kid[i]->name, name)) return file->kid[i];
    return NULL;
}

bool value_output(El *el, const char *name, const Value *v, Span at) {
    if (v->kind != V_TENSOR && v->kind != V_NUMBER && v->kind != V_EXTENT) {
        report_error(el->d, at, "not-a-tensor", "`%s` must be a tensor, found %s", name, value_kind_name(v));
        if (v->kind == V_CALLABLE) report_help(el->d, "apply it first: x |> f(…), or f(…)(x) for a module");
        return false;
    }
    Tensor *t = to_tensor(el, v, at);
    if (t->type != T_REAL || t->kind != TENSOR_TEMP) {
        Tensor *copy = emit_map(el, name, t, to_real(el, read_all(el, t, at)), at);
        for (int i = 0; i < t->rank; i++) copy->axis[i] = t->axis[i];
        t = copy;
    }
    vec_push(el->arena, &el->job->output, ((JobOutput){intern_z(el->names, name), t->id}));
    return true;
}

// ---- evaluate and metrics

static void names_in(El *el, const Node *n, const char **list, int *count) {
    if ((n->kind == N_NAME || n->kind == N_INDEXED) && n->name) {
        bool seen = false;
        for (int i = 0; i < *count; i++) seen |= list[i] == n->name;
        if (!seen && *count < 256) list[(*count)++] = n->name;
    }
    for (int i = 0; i < n->kids; i++)
        if (n->kid[i]) names_in(el, n->kid[i], list, count);
}

// Makes `name` of the evaluate block an output of that job and an input of job "metrics".
static bool collect(El *el, Scope *from, Scope *to, Job *evaluate_job, Job *metrics, const char *name) {
    Value *v = scope_find(from, name);
    if (!v || v->kind != V_TENSOR) return true;
    Tensor *t = v->tensor;
    if (t->kind == TENSOR_SCALAR) return true;
    if (t->rank == 0 || t->dim[0].axis < 0) {
        report_error(el->d, v->span, "not-collected",
                     "`%s` of shape %s cannot be collected over a split: its first axis must "
                     "be dynamic",
                     name, shape_text(el, t));
        report_help(el->d, "a metric reads what has one row per spot; compute the rest in the metric itself");
        return false;
    }
    el->job = evaluate_job;
    if (!value_output(el, name, v, v->span)) return false;
    el->job = metrics;
    Tensor *in =
        program_tensor(el->program, TENSOR_INPUT, intern_z(el->names, arena_format(el->arena, "collected.%s", name)),
                       T_REAL, t->rank, t->dim);
    memcpy(in->axis, t->axis, sizeof in->axis);
    in->span = v->span;
    scope_bind(el, to, name, value_tensor(in, v->span));
    return true;
}

static bool evaluate_jobs(El *el, const Node *train, const Node *job) {
    Value loss;
    Job *evaluation = el->job = program_job(el->program, "evaluate"), *metrics = NULL;
    el->job->loss = -1;
    set_training(el, false);
    if (train && (!train_loss(el, train, &loss) || !value_output(el, "loss", &loss, loss.span))) return false;
    if (!job) return true;
    Scope *s = scope_new(el, el->root), *m = scope_new(el, el->root);
    s->callee = m->callee = job;
    const Node *block = job->kid[0];
    const char *wanted[256];
    int wants = 0;
    bool any = false;
    const Node *compare = NULL;
    for (int i = 0; i < block->kids; i++) {
        const Node *n = block->kid[i];
        if (n->kind == N_METRIC) {
            for (int k = 0; k < i; k++)
                if (block->kid[k]->kind == N_METRIC && block->kid[k]->name == n->name) {
                    report_error(el->d, n->name_span, "given-twice", "metric `%s` is given twice", n->name);
                    report_note(el->d, block->kid[k]->name_span, "the first is here");
                    return false;
                }
            any = true;
            names_in(el, n->kid[0], wanted, &wants);
        } else if (n->kind == N_COMPARE) {
            compare = n;
            names_in(el, n, wanted, &wants);
        } else if (!run_statement(el, s, n)) {
            return false;
        }
    }
    if (!any) return true;
    metrics = program_job(el->program, "metrics");
    metrics->loss = -1;
    for (int i = 0; i < wants; i++)
        if (!collect(el, s, m, evaluation, metrics, wanted[i])) return false;
    if (compare) {
        for (int i = 0; i < 2; i++) {
            Value *v = scope_find(m, compare->kid[i]->name);
            if (!v || v->kind != V_TENSOR || v->tensor->kind != TENSOR_INPUT) {
                report_error(el->d, compare->kid[i]->span, "unknown-name", "`%s` is not computed in this block",
                             compare->kid[i]->name);
                return false;
            }
        }
        el->program->train.compare = compare->kid[0]->name;
        el->program->train.with = compare->kid[1]->name;
    }
    el->job = metrics;
    for (int i = 0; i < block->kids; i++) {
        const Node *n = block->kid[i];
        Value v;
        if (n->kind != N_METRIC) continue;
        Precision outer = enter_precision(el, n);
        bool ok = evaluate(el, m, n->kid[0], &v);
        el->precision = outer;
        if (!ok) return false;
        if (v.kind == V_TENSOR && v.tensor->rank > 1) {
            report_error(el->d, n->kid[0]->span, "metric-shape",
                         "metric `%s` has shape %s; a metric is one number, or one per "
                         "column",
                         n->name, shape_text(el, v.tensor));
            return false;
        }
        if (!value_output(el, n->name, &v, n->span)) return false;
    }
    return true;
}

static bool output_statement(El *el, Scope *s, const Node *n, void *state, bool *handled) {
    (void)state;
    if (n->kind != N_OUTPUT) return true;
    *handled = true;
    for (int i = 0; i < el->job->output.count; i++)
        if (!strcmp(el->job->output.at[i].name, n->name)) {
            report_error(el->d, n->name_span, "given-twice", "output `%s` is given twice", n->name);
            return false;
        }
    Value v;
    if (!evaluate(el, s, n->kid[0], &v) || !value_output(el, n->name, &v, n->kid[0]->span)) return false;
    scope_bind(el, s, n->name, v);
    return true;
}

static bool output_job(El *el, const Node *job) {
    el->job = program_job(el->program, job->name);
    el->job->loss = -1;
    set_training(el, false);
    Scope *s = scope_new(el, el->root);
    s->callee = job;
    el->job_statement = output_statement;
    bool ok = run_block(el, s, job->kid[0]);
    el->job_statement = NULL;
    if (!ok) return false;
    if (el->job->output.count == 0) {
        report_error(el->d, job->name_span, "no-output", "`%s` has no output", job->name);
        report_help(el->d, "%s { output name = … }", job->name);
        return false;
    }
    return true;
}

bool elaborate_jobs(El *el, const Node *file) {
    static const char *const known[] = {"train", "evaluate", "predict", "embed", "prepare"};
    TrainPlan *plan = &el->program->train;
    plan->epochs = 1, plan->batch = 32, plan->shuffle = plan->keep_last = true;
    plan->monitor = "loss", plan->split = "validation";
    for (int i = 0; i < file->kids; i++) {
        const Node *n = file->kid[i];
        if (n->kind != N_JOB) continue;
        bool ok = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) ok |= !strcmp(known[k], n->name);
        if (!ok) {
            report_error(el->d, n->name_span, "unknown-job", "there is no job `%s`", n->name);
            report_help(el->d, "the jobs are train, evaluate, predict, embed and prepare");
            return false;
        }
        if (find_job(file, n->name) != n) {
            report_error(el->d, n->name_span, "duplicate-job", "job `%s` is declared twice", n->name);
            report_note(el->d, find_job(file, n->name)->name_span, "the first is here");
            return false;
        }
    }
    const Node *train = find_job(file, "train"), *evaluation = find_job(file, "evaluate");
    const Node *prediction = find_job(file, "predict"), *embedding = find_job(file, "embed");
    const Node *preparation = find_job(file, "prepare");
    if (train && !train_job(el, train, evaluation)) return false;
    if ((train || evaluation) && !evaluate_jobs(el, train, evaluation)) return false;
    if (prediction && !output_job(el, prediction)) return false;
    if (embedding && !output_job(el, embedding)) return false;
    return !preparation || prepare_job(el, preparation);
}
