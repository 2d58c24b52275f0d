// Jobs: train, evaluate (and its metrics), predict, embed, prepare.
// requires the file's declarations in scope; leaves the jobs of the program and its training plan.
#include "elaborate/internal.h"

#include <fnmatch.h>
#include <string.h>

enum { MAX_GROUPS = 64 };

typedef struct OptimizerGroup { const char *glob; Value callable; Span span; } OptimizerGroup;
typedef struct Training {
    Value loss, schedule;
    const Node *clip;
    OptimizerGroup group[MAX_GROUPS];
    int groups;
    const char *frozen[MAX_GROUPS];
    const Node *freeze[MAX_GROUPS];
    int frozens;
    const Node *monitor;
    bool loss_only;       // for the evaluation of the loss, the other lines are skipped
    const Node *given[8]; // where `loss`, `epochs` … stand
    int givens;
} Training;

static const Node *find_job(const Node *file, const char *name) {
    for (int i = 0; i < file->kids; i++)
        if (file->kid[i]->kind == N_JOB && !strcmp(file->kid[i]->name, name)) return file->kid[i];
    return NULL;
}

bool value_output(El *el, const char *name, const Value *v, Span at) {
    if (v->kind != V_TENSOR && v->kind != V_NUMBER && v->kind != V_EXTENT) {
        report_error(el->d, at, "not-a-tensor", "`%s` must be a tensor, found %s", name, value_kind_name(v));
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

static bool job_integer(El *el, Scope *s, const Node *n, const char *what, int64_t low, int64_t *out) {
    if (!evaluate_integer(el, s, n, what, out)) return false;
    if (*out >= low && *out <= 1000000000) return true;
    report_error(el->d, n->span, "out-of-range", "%s must be from %lld to 1000000000, found %lld", what, (long long)low,
                 (long long)*out);
    return false;
}

static const char *const train_names[] = {"loss", "schedule", "clip", "epochs", "batch", "shuffle", "keep_last"};
static const char train_help[] = "a train block knows loss, optimizer, schedule, clip, epochs, batch, shuffle, keep_last, freeze "
                                 "and monitor";

static bool given_once(El *el, Training *t, const Node *n) {
    for (int i = 0; i < t->givens; i++)
        if (t->given[i]->kid[0]->name == n->kid[0]->name) {
            report_error(el->d, n->kid[0]->span, "given-twice", "`%s` is given twice", n->kid[0]->name);
            report_note(el->d, t->given[i]->kid[0]->span, "the first is here");
            return false;
        }
    if (t->givens < (int)(sizeof t->given / sizeof *t->given)) t->given[t->givens++] = n;
    return true;
}

// A statement `name = value` whose name the train block gives a meaning.
static bool train_assignment(El *el, Scope *s, const Node *n, Training *t, bool *handled) {
    const char *name = n->kid[0]->name;
    const Node *value = n->kid[1];
    TrainPlan *plan = &el->program->train;
    bool known = false;
    for (size_t i = 0; i < sizeof train_names / sizeof *train_names; i++) known |= !strcmp(name, train_names[i]);
    if (!known) return true;
    *handled = true;
    if (!given_once(el, t, n)) return false;
    if (!strcmp(name, "loss")) return evaluate(el, s, value, &t->loss);
    if (!strcmp(name, "schedule")) return t->loss_only || evaluate(el, s, value, &t->schedule);
    if (!strcmp(name, "clip")) return t->clip = value, true;
    if (!strcmp(name, "epochs")) return job_integer(el, s, value, "`epochs`", 1, &plan->epochs);
    if (!strcmp(name, "batch")) return job_integer(el, s, value, "`batch`", 1, &plan->batch);
    return evaluate_condition(el, s, value, !strcmp(name, "shuffle") ? &plan->shuffle : &plan->keep_last);
}

static bool add_group(El *el, Scope *s, const Node *n, Training *t) {
    Value v;
    if (!evaluate(el, s, n->kid[0], &v)) return false;
    if (v.kind != V_CALLABLE || !v.callable->def || v.callable->def->kind != N_OPTIMIZER) {
        report_error(el->d, n->kid[0]->span, "not-optimizer", "an optimizer is needed here, found %s", value_kind_name(&v));
        report_help(el->d, "for example optimizer = adamw(lr = 1e-3)   # use optim");
        return false;
    }
    if (!v.callable->bound) {
        report_error(el->d, n->kid[0]->span, "not-optimizer", "optimizer `%s` is not given its options", v.callable->def->name);
        report_help(el->d, "write %s(…)", v.callable->def->name);
        return false;
    }
    for (int i = 0; i < t->groups; i++)
        if (t->group[i].glob == n->text) {
            report_error(el->d, n->span, "given-twice", n->text ? "two optimizers for \"%s\"" : "two optimizers for all parameters",
                         n->text);
            report_note(el->d, t->group[i].span, "the first is here");
            report_help(el->d, "groups name their parameters: optimizer \"encoder.*\" = …");
            return false;
        }
    if (t->groups == MAX_GROUPS) {
        report_error(el->d, n->span, "group-limit", "more than %d optimizer groups", MAX_GROUPS);
        report_help(el->d, "one pattern matches many parameters: optimizer \"encoder.*\" = …");
        return false;
    }
    t->group[t->groups++] = (OptimizerGroup){n->text, v, n->span};
    return true;
}

static bool train_statement(El *el, Scope *s, const Node *n, void *state, bool *handled) {
    Training *t = state;
    switch (n->kind) {
    case N_ASSIGN:
        return n->kids != 2 || KID(n->kid[0], 0) || train_assignment(el, s, n, t, handled);
    case N_GROUP_OPTIMIZER:
        *handled = true;
        return t->loss_only || add_group(el, s, n, t);
    case N_FREEZE:
        *handled = true;
        if (t->frozens == MAX_GROUPS) {
            report_error(el->d, n->span, "group-limit", "more than %d `freeze` lines", MAX_GROUPS);
            report_help(el->d, "one pattern matches many parameters: freeze \"encoder.*\"");
            return false;
        }
        t->freeze[t->frozens] = n;
        t->frozen[t->frozens++] = n->text;
        return true;
    case N_MONITOR:
        *handled = true;
        if (t->monitor && !t->loss_only) {
            report_error(el->d, n->span, "given-twice", "a train block monitors one metric");
            report_note(el->d, t->monitor->span, "the first is here");
            return false;
        }
        t->monitor = n;
        return true;
    default: return true;
    }
}

static bool mentions(const Node *n, const char *name) {
    if ((n->kind == N_NAME || n->kind == N_INDEXED) && n->name == name) return true;
    for (int i = 0; i < n->kids; i++)
        if (n->kid[i] && !(n->kind == N_ASSIGN && i + 1 < n->kids && !KID(n->kid[i], 0)) && mentions(n->kid[i], name)) return true;
    return false;
}

// `epoch = 3`, `optimiser = …`: a name that nothing reads is a slip.
static bool check_train_names(El *el, const Node *block, const Node *whole) {
    for (int i = 0; i < block->kids; i++) {
        const Node *n = block->kid[i];
        if (n->kind != N_ASSIGN) continue;
        for (int k = 0; k + 1 < n->kids; k++) {
            const char *name = n->kid[k]->name;
            bool known = mentions(whole, name);
            for (size_t j = 0; j < sizeof train_names / sizeof *train_names; j++) known |= !strcmp(name, train_names[j]);
            if (known) continue;
            report_error(el->d, n->kid[k]->span, "unused-name", "`%s` is used nowhere in this train block", name);
            report_help(el->d, "%s", train_help);
            return false;
        }
    }
    return true;
}

static bool run_train(El *el, Scope *s, const Node *job, Training *t) {
    if (!check_train_names(el, job->kid[0], job->kid[0])) return false;
    el->job_statement = train_statement;
    el->job_state = t;
    bool ok = run_block(el, s, job->kid[0]);
    el->job_statement = NULL;
    if (!ok) return false;
    if (t->loss.kind == V_NONE) {
        report_error(el->d, job->name_span, "no-loss", "the train block does not say what `loss` is");
        report_help(el->d, "loss = mse(predict(features), counts)");
        return false;
    }
    Tensor *loss = t->loss.kind == V_TENSOR || t->loss.kind == V_NUMBER ? to_tensor(el, &t->loss, job->span) : NULL;
    if (!loss || loss->rank != 0) {
        report_error(el->d, t->loss.span, "loss-shape", "`loss` must be a single number, found %s%s",
                     loss ? "a tensor of shape " : value_kind_name(&t->loss), loss ? shape_text(el, loss) : "");
        report_help(el->d, "take its mean: loss = mean(…)");
        return false;
    }
    t->loss = value_tensor(loss, t->loss.span);
    return true;
}

// Declares the gradient of every parameter that this job uses and that no glob freezes; differentiation fills them in.
bool request_gradients(El *el, Tensor *loss, const char *const *frozen, int frozens) {
    el->job->loss = loss->id;
    for (int i = 0; i < el->param.count; i++) {
        Tensor *p = el->param.at[i].tensor;
        if (p->kind != TENSOR_PARAM || p->type != T_REAL || el->param.at[i].used_in != el->job) continue;
        bool skip = false;
        for (int k = 0; k < frozens && !skip; k++) skip = fnmatch(frozen[k], p->name, 0) == 0;
        if (skip) continue;
        Tensor *g = new_temp(el, arena_format(el->arena, "grad.%s", p->name), T_REAL, p->rank, p->dim, p->axis, p->span);
        vec_push(el->arena, &el->job->gradient, ((Update){p->id, g->id}));
    }
    return true;
}

Tensor *gradient_of(El *el, const Tensor *param) {
    for (int i = 0; i < el->job->gradient.count; i++)
        if (el->job->gradient.at[i].target == param->id) return el->program->tensor.at[el->job->gradient.at[i].source];
    return NULL;
}

static Expr *square_sum(El *el, Tensor *g) {
    Tensor *r = new_temp(el, NULL, T_REAL, 0, NULL, NULL, g->span);
    Equation *q = job_equation(el->job, EQ_COMPUTE, r, g->span);
    q->vars = g->rank;
    q->reduce = g->rank ? REDUCE_SUM : REDUCE_NONE;
    for (int i = 0; i < g->rank; i++) q->var[i] = (Variable){arena_format(el->arena, "i%d", i), g->dim[i]};
    Expr *x = read_all(el, g, g->span);
    q->value = expr_op(el->job, OP_MUL, x, x, NULL);
    return read_at(el, r, NULL, g->span);
}

// clip = norm(1.0) scales all gradients together, clip = value(0.5) bounds each element.
static bool clip_gradients(El *el, Scope *s, const Node *clip, Tensor **clipped) {
    Job *j = el->job;
    Value limit;
    bool by_norm = clip->kind == N_CALL && clip->kid[0]->kind == N_NAME && !strcmp(clip->kid[0]->name, "norm");
    bool by_value = clip->kind == N_CALL && clip->kid[0]->kind == N_NAME && !strcmp(clip->kid[0]->name, "value");
    if ((!by_norm && !by_value) || clip->kids != 3) {
        report_error(el->d, clip->span, "bad-clip", "`clip` is norm(limit) or value(limit)");
        return false;
    }
    if (!evaluate(el, s, clip->kid[2], &limit)) return false;
    if (limit.kind != V_NUMBER && !(limit.kind == V_TENSOR && limit.tensor->rank == 0)) {
        report_error(el->d, clip->kid[2]->span, "not-a-number", "the limit must be a number or a setting");
        return false;
    }
    Expr *bound = to_real(el, to_expr(el, &limit)), *factor = NULL;
    if (by_norm) {
        Expr *total = NULL;
        for (int i = 0; i < j->gradient.count; i++) {
            Expr *q = square_sum(el, el->program->tensor.at[j->gradient.at[i].source]);
            total = total ? expr_op(j, OP_ADD, total, q, NULL) : q;
        }
        if (!total) return true;
        Expr *norm = expr_op(j, OP_ADD, expr_op(j, OP_SQRT, total, NULL, NULL), expr_const(j, 1e-6, T_REAL), NULL);
        factor = expr_op(j, OP_MIN, expr_const(j, 1, T_REAL), expr_op(j, OP_DIV, bound, norm, NULL), NULL);
        factor = read_at(el, emit_map(el, "clip", NULL, factor, clip->span), NULL, clip->span);
    }
    for (int i = 0; i < j->gradient.count; i++) {
        Tensor *g = el->program->tensor.at[j->gradient.at[i].source];
        Expr *x = read_all(el, g, clip->span);
        Expr *e = by_norm ? expr_op(j, OP_MUL, x, factor, NULL)
                          : expr_op(j, OP_MAX, expr_op(j, OP_MIN, x, bound, NULL), expr_op(j, OP_NEG, bound, NULL, NULL), NULL);
        clipped[i] = emit_map(el, NULL, g, e, clip->span);
    }
    return true;
}

// The value of the group's `lr`, times the schedule.
static Value scaled_rate(El *el, const Value *rate, const Value *schedule, Span at) {
    if (schedule->kind == V_NONE) return *rate;
    if (rate->kind == V_NUMBER && schedule->kind == V_NUMBER)
        return value_number(rate->number * schedule->number, false);
    Expr *a = to_real(el, to_expr(el, rate)), *b = to_real(el, to_expr(el, schedule));
    return value_tensor(emit_map(el, "lr", NULL, expr_op(el->job, OP_MUL, a, b, NULL), at), at);
}

static bool optimise(El *el, const OptimizerGroup *group, const Value *rate, int rate_at, Tensor *p, Tensor *g) {
    Callable *c = group->callable.callable;
    const Node *def = c->def, *patterns = def->kid[1], *params = KID(def, 0);
    if (!patterns || patterns->kids != 2) {
        report_error(el->d, def->span, "optimizer-inputs", "an optimizer takes a parameter and its gradient: `: p[..], g[..]`");
        return false;
    }
    Scope *body = scope_new(el, c->file->scope);
    body->callee = def;
    body->path = arena_format(el->arena, "optimizer.%s", p->name);
    body->instance = mix_text(3, p->name);
    for (int i = 0; params && i < params->kids; i++)
        scope_bind(el, body, params->kid[i]->name, i == rate_at ? *rate : c->option[i]);
    Value *vp = NEW(el->arena, Value), vg = value_tensor(g, group->span);
    *vp = value_tensor(p, group->span);
    if (!match_pattern(el, body, patterns->kid[0], p, group->span) ||
        !match_pattern(el, body, patterns->kid[1], g, group->span))
        return false;
    scope_bind(el, body, patterns->kid[0]->name, *vp);
    scope_bind(el, body, patterns->kid[1]->name, vg);
    body->updates = vp;
    return run_block(el, body, def->kid[3]);
}

// The first parameters of this job, as help for a pattern that matches none.
static void list_parameters(El *el) {
    enum { SHOWN = 5 };
    Text text = {.arena = el->arena};
    int n = 0;
    for (int i = 0; i < el->param.count; i++) {
        if (el->param.at[i].used_in != el->job || el->param.at[i].tensor->kind != TENSOR_PARAM) continue;
        if (n++ < SHOWN) text_add(&text, "%s%s", n > 1 ? ", " : "", el->param.at[i].tensor->name);
    }
    if (n) report_help(el->d, "the parameters are %s%s; `*` stands for any text, also dots", text.at, n > SHOWN ? " …" : "");
}

static bool run_optimizers(El *el, Scope *s, const Node *job, const Training *t) {
    Tensor **gradient = NEW_ARRAY(el->arena, Tensor *, el->job->gradient.count + 1);
    for (int i = 0; i < el->job->gradient.count; i++)
        gradient[i] = el->program->tensor.at[el->job->gradient.at[i].source];
    if (t->groups == 0) {
        report_error(el->d, job->name_span, "no-optimizer", "the train block names no optimizer");
        report_help(el->d, "optimizer = adamw(lr = 1e-3)   # use optim");
        return false;
    }
    if (t->clip && !clip_gradients(el, s, t->clip, gradient)) return false;
    Value rate[MAX_GROUPS];
    int rate_at[MAX_GROUPS];
    for (int k = 0; k < t->groups; k++) {
        const Node *params = KID(t->group[k].callable.callable->def, 0);
        rate_at[k] = -1;
        for (int i = 0; params && i < params->kids; i++)
            if (!strcmp(params->kid[i]->name, "lr")) rate_at[k] = i;
        if (rate_at[k] < 0) continue;
        const Value *v = &t->group[k].callable.callable->option[rate_at[k]];
        if (v->kind != V_NUMBER && !(v->kind == V_TENSOR && v->tensor->rank == 0)) {
            report_error(el->d, t->group[k].span, "not-a-number", "`lr` must be a number or a setting");
            return false;
        }
        rate[k] = scaled_rate(el, v, &t->schedule, t->group[k].span);
    }
    int unmatched[MAX_GROUPS] = {0};
    for (int i = 0; i < el->job->gradient.count; i++) {
        Tensor *p = el->program->tensor.at[el->job->gradient.at[i].target];
        int chosen = -1;
        for (int k = 0; k < t->groups && chosen < 0; k++) // a named group wins over the group for all
            if (t->group[k].glob && fnmatch(t->group[k].glob, p->name, 0) == 0) chosen = k;
        for (int k = 0; k < t->groups && chosen < 0; k++)
            if (!t->group[k].glob) chosen = k;
        if (chosen < 0) {
            report_error(el->d, job->name_span, "no-optimizer", "no optimizer group matches parameter `%s`", p->name);
            report_help(el->d, "add a group for all others, optimizer = …, or freeze \"%s\"", p->name);
            return false;
        }
        unmatched[chosen]++;
        if (!optimise(el, &t->group[chosen], &rate[chosen], rate_at[chosen], p, gradient[i])) return false;
    }
    for (int k = 0; k < t->groups; k++)
        if (!unmatched[k]) {
            report_error(el->d, t->group[k].span, "empty-group", "this optimizer group has no parameter%s%s%s",
                         t->group[k].glob ? ": nothing matches \"" : "", t->group[k].glob ? t->group[k].glob : "",
                         t->group[k].glob ? "\"" : "");
            list_parameters(el);
            return false;
        }
    if (rate_at[0] >= 0) return value_output(el, "lr", &rate[0], t->group[0].span);
    return true;
}

static bool monitor(El *el, Scope *s, const Node *n, const Node *evaluate_job) {
    TrainPlan *plan = &el->program->train;
    plan->monitor = "loss";
    plan->split = "validation";
    if (!n) return true;
    bool known = !strcmp(n->name, "loss");
    const Node *block = evaluate_job ? evaluate_job->kid[0] : NULL;
    for (int i = 0; block && i < block->kids; i++) known |= block->kid[i]->kind == N_METRIC && block->kid[i]->name == n->name;
    if (!known) {
        report_error(el->d, n->name_span, "unknown-metric", "the evaluate block has no metric `%s`", n->name);
        report_help(el->d, "declare it: evaluate { metric %s = … }, or monitor loss", n->name);
        return false;
    }
    if (strcmp(n->text, "validation") && strcmp(n->text, "train")) {
        report_error(el->d, n->span, "unknown-split", "a monitor watches `validation` or `train`, not `%s`", n->text);
        return false;
    }
    const char *keep = n->kid[0]->name;
    if (strcmp(keep, "max") && strcmp(keep, "min")) {
        report_error(el->d, n->kid[0]->span, "unknown-keep", "`keep max` or `keep min`, not `keep %s`", keep);
        return false;
    }
    plan->monitor = n->name;
    plan->split = n->text;
    plan->maximise = !strcmp(keep, "max");
    return !KID(n, 1) || job_integer(el, s, n->kid[1], "the patience", 1, &plan->patience);
}

static bool train_job(El *el, const Node *file, const Node *job) {
    Training t = {0};
    el->job = program_job(el->program, "train");
    el->job->loss = -1;
    set_training(el, true);
    Scope *s = scope_new(el, el->root);
    s->callee = job;
    if (!run_train(el, s, job, &t)) return false;
    if (!value_output(el, "loss", &t.loss, t.loss.span)) return false;
    if (!request_gradients(el, t.loss.tensor, t.frozen, t.frozens)) return false;
    for (int k = 0; k < t.frozens; k++) {
        bool any = false;
        for (int i = 0; i < el->param.count && !any; i++)
            any = el->param.at[i].used_in == el->job && fnmatch(t.frozen[k], el->param.at[i].tensor->name, 0) == 0;
        if (any) continue;
        report_error(el->d, t.freeze[k]->span, "empty-group", "no parameter matches \"%s\"", t.frozen[k]);
        list_parameters(el);
        return false;
    }
    if (el->job->gradient.count == 0) {
        report_error(el->d, t.loss.span, "no-parameters", "nothing to train: the loss depends on no parameter");
        return false;
    }
    return run_optimizers(el, s, job, &t) && monitor(el, s, t.monitor, find_job(file, "evaluate"));
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
        report_error(el->d, v->span, "not-collected", "`%s` of shape %s cannot be collected over a split: its first axis must "
                     "be dynamic", name, shape_text(el, t));
        return false;
    }
    el->job = evaluate_job;
    if (!value_output(el, name, v, v->span)) return false;
    el->job = metrics;
    Tensor *in = program_tensor(el->program, TENSOR_INPUT, intern_z(el->names, arena_format(el->arena, "collected.%s", name)),
                                T_REAL, t->rank, t->dim);
    memcpy(in->axis, t->axis, sizeof in->axis);
    in->span = v->span;
    scope_bind(el, to, name, value_tensor(in, v->span));
    return true;
}

static bool evaluate_jobs(El *el, const Node *train, const Node *job) {
    Training t = {.loss_only = true};
    Job *evaluation = el->job = program_job(el->program, "evaluate"), *metrics = NULL;
    el->job->loss = -1;
    set_training(el, false);
    if (train) {
        Scope *s = scope_new(el, el->root);
        s->callee = train;
        if (!run_train(el, s, train, &t) || !value_output(el, "loss", &t.loss, t.loss.span)) return false;
    }
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
        if (!evaluate(el, m, n->kid[0], &v)) return false;
        if (v.kind == V_TENSOR && v.tensor->rank > 1) {
            report_error(el->d, n->kid[0]->span, "metric-shape", "metric `%s` has shape %s; a metric is one number, or one per "
                         "column", n->name, shape_text(el, v.tensor));
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

// ---- prepare: a flat list of names and values. `tiles = tile(size = 78)` gives tiles "tile" and tiles.size "78";
// positional arguments are numbered; a setting is written $name, so that its run-time value is meant.

static bool prepare_value(El *el, Scope *s, const char *name, const Node *n) {
    Prepare entry = {.name = intern_z(el->names, name)};
    if (n->kind == N_CALL && n->kid[0]->kind == N_NAME && !KID(n, 1)) {
        entry.value = n->kid[0]->name;
        vec_push(el->arena, &el->program->prepare, entry);
        int position = 0;
        for (int i = 2; i < n->kids; i++) {
            const Node *a = n->kid[i];
            const char *inner = a->kind == N_NAMED ? arena_format(el->arena, "%s.%s", name, a->name)
                                                   : arena_format(el->arena, "%s.%d", name, position++);
            if (!prepare_value(el, s, inner, a->kind == N_NAMED ? a->kid[0] : a)) return false;
        }
        return true;
    }
    if (n->kind == N_NAME)
        for (int i = 0; i < el->program->setting.count; i++)
            if (el->program->setting.at[i].name == n->name) {
                entry.value = arena_format(el->arena, "$%s", n->name);
                vec_push(el->arena, &el->program->prepare, entry);
                return true;
            }
    if (n->kind == N_NAME && !scope_find(s, n->name)) { // a dataset prepared earlier, or a word of the data room
        entry.value = n->name;
        vec_push(el->arena, &el->program->prepare, entry);
        return true;
    }
    Value v;
    if (!evaluate(el, s, n, &v)) return false;
    if (v.kind == V_TEXT) entry.value = v.text;
    else if (v.kind == V_NUMBER) entry.value = arena_format(el->arena, "%.17g", v.number);
    else if (v.kind == V_EXTENT && v.extent.axis < 0) entry.value = arena_format(el->arena, "%lld", (long long)v.extent.count);
    else {
        report_error(el->d, n->span, "prepare-value", "a prepare block takes numbers, strings, settings and calls, found %s",
                     value_kind_name(&v));
        return false;
    }
    vec_push(el->arena, &el->program->prepare, entry);
    return true;
}

static bool prepare_job(El *el, const Node *job) {
    const Node *block = job->kid[0];
    for (int i = 0; i < block->kids; i++) {
        const Node *n = block->kid[i];
        if (n->kind != N_ASSIGN || n->kids != 2 || KID(n->kid[0], 0)) {
            report_error(el->d, n->span, "bad-statement", "a prepare block takes lines `name = value`");
            return false;
        }
        if (!prepare_value(el, el->root, n->kid[0]->name, n->kid[1])) return false;
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
    if (train && !train_job(el, file, train)) return false;
    if ((train || evaluation) && !evaluate_jobs(el, train, evaluation)) return false;
    if (prediction && !output_job(el, prediction)) return false;
    if (embedding && !output_job(el, embedding)) return false;
    return !preparation || prepare_job(el, preparation);
}
