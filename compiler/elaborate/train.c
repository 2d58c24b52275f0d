// The train block: the loss, its gradients, clipping, the schedule, the optimizer of every parameter, what is
// monitored. requires the file's declarations in scope; leaves job "train" and the training plan.
#include "elaborate/internal.h"

#include <fnmatch.h>
#include <string.h>

typedef struct OptimizerGroup {
    const char *glob;
    Value callable;
    Span span;
} OptimizerGroup;
typedef struct Training {
    Value loss, schedule;
    const Node *clip;
    VEC(OptimizerGroup) group;
    VEC(const Node *) freeze;
    const Node *monitor;
    bool loss_only;       // for the evaluation of the loss, the other lines are skipped
    const Node *given[8]; // where `loss`, `epochs` … stand
    int givens;
} Training;

static bool job_integer(El *el, Scope *s, const Node *n, const char *what, int64_t low, int64_t *out) {
    if (!evaluate_integer(el, s, n, what, out)) return false;
    if (*out >= low && *out <= 1000000000) return true;
    report_error(el->d, n->span, "out-of-range", "%s must be from %lld to 1000000000, found %lld", what, (long long)low,
                 (long long)*out);
    return false;
}

static const char *const train_names[] = {"loss", "schedule", "clip", "epochs", "batch", "shuffle", "keep_last"};
static const char train_help[] =
    "a train block knows loss, optimizer, schedule, clip, epochs, batch, shuffle, keep_last, freeze "
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

static bool read_schedule(El *el, Scope *s, const Node *n, Training *t) {
    if (!evaluate(el, s, n, &t->schedule)) return false;
    const Value *v = &t->schedule;
    if (v->kind == V_NUMBER || (v->kind == V_TENSOR && v->tensor->rank == 0)) return true;
    report_error(el->d, n->span, "not-a-number", "`schedule` must be a single number, found %s%s", value_kind_name(v),
                 v->kind == V_TENSOR ? arena_format(el->arena, " of shape %s", shape_text(el, v->tensor)) : "");
    report_help(el->d, "for example schedule = cosine(warmup = 5)   # use schedule");
    return false;
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
    if (!strcmp(name, "schedule")) return t->loss_only || read_schedule(el, s, value, t);
    if (!strcmp(name, "clip")) return t->clip = value, true;
    if (!strcmp(name, "epochs")) return job_integer(el, s, value, "`epochs`", 1, &plan->epochs);
    if (!strcmp(name, "batch")) return job_integer(el, s, value, "`batch`", 1, &plan->batch);
    return evaluate_condition(el, s, value, !strcmp(name, "shuffle") ? &plan->shuffle : &plan->keep_last);
}

static bool add_group(El *el, Scope *s, const Node *n, Training *t) {
    Value v;
    if (!evaluate(el, s, n->kid[0], &v)) return false;
    if (v.kind != V_CALLABLE || !v.callable->def || v.callable->def->kind != N_OPTIMIZER) {
        report_error(el->d, n->kid[0]->span, "not-optimizer", "an optimizer is needed here, found %s",
                     value_kind_name(&v));
        report_help(el->d, "for example optimizer = adamw(lr = 1e-3)   # use optim");
        return false;
    }
    if (!v.callable->bound) {
        report_error(el->d, n->kid[0]->span, "not-optimizer", "optimizer `%s` is not given its options",
                     v.callable->def->name);
        report_help(el->d, "write %s(…)", v.callable->def->name);
        return false;
    }
    for (int i = 0; i < t->group.count; i++)
        if (t->group.at[i].glob == n->text) {
            report_error(el->d, n->span, "given-twice",
                         n->text ? "two optimizers for \"%s\"" : "two optimizers for all parameters", n->text);
            report_note(el->d, t->group.at[i].span, "the first is here");
            report_help(el->d, "groups name their parameters: optimizer \"encoder.*\" = …");
            return false;
        }
    vec_push(el->arena, &t->group, ((OptimizerGroup){n->text, v, n->span}));
    return true;
}

static bool train_statement(El *el, Scope *s, const Node *n, void *state, bool *handled) {
    Training *t = state;
    switch (n->kind) {
    case N_ASSIGN: return n->kids != 2 || KID(n->kid[0], 0) || train_assignment(el, s, n, t, handled);
    case N_GROUP_OPTIMIZER: *handled = true; return t->loss_only || add_group(el, s, n, t);
    case N_FREEZE:
        *handled = true;
        vec_push(el->arena, &t->freeze, n);
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
        if (n->kid[i] && !(n->kind == N_ASSIGN && i + 1 < n->kids && !KID(n->kid[i], 0)) && mentions(n->kid[i], name))
            return true;
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
            for (size_t j = 0; j < sizeof train_names / sizeof *train_names; j++)
                known |= !strcmp(name, train_names[j]);
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
bool request_gradients(El *el, Tensor *loss, const Node *const *freeze, int freezes) {
    el->job->loss = loss->id;
    for (int i = 0; i < el->param.count; i++) {
        Tensor *p = el->param.at[i].tensor;
        if (p->kind != TENSOR_PARAM || p->type != T_REAL || el->param.at[i].used_in != el->job) continue;
        bool skip = false;
        for (int k = 0; k < freezes && !skip; k++) skip = fnmatch(freeze[k]->text, p->name, 0) == 0;
        if (skip) continue;
        Tensor *g =
            new_temp(el, arena_format(el->arena, "grad.%s", p->name), T_REAL, p->rank, p->dim, p->axis, p->span);
        vec_push(el->arena, &el->job->gradient, ((Update){p->id, g->id}));
    }
    return true;
}

static Expr *square_sum(El *el, Tensor *g) {
    Tensor *r = new_temp(el, NULL, T_REAL, 0, NULL, NULL, g->span);
    Equation *q = new_equation(el, EQ_COMPUTE, r, g->span);
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
        report_error(el->d, clip->span, "bad-clip", "`clip` is norm(limit) or value(limit), found %s",
                     node_words(clip));
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
                          : expr_op(j, OP_MAX, expr_op(j, OP_MIN, x, bound, NULL),
                                    expr_op(j, OP_NEG, bound, NULL, NULL), NULL);
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
        report_error(el->d, def->name_span, "optimizer-inputs",
                     "optimizer `%s` takes %d tensor%s, not a parameter and its gradient", def->name,
                     patterns ? patterns->kids : 0, patterns && patterns->kids == 1 ? "" : "s");
        report_help(el->d, "optimizer %s(lr) : p[..], g[..] { … }", def->name);
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
    body->applied = group->span;
    bool ok = run_block(el, body, def->kid[3]);
    if (!ok) note_application(el, c, group->span);
    return ok;
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
    if (n)
        report_help(el->d, "the parameters are %s%s; `*` stands for any text, also dots", text.at,
                    n > SHOWN ? " …" : "");
}

static bool run_optimizers(El *el, Scope *s, const Node *job, const Training *t) {
    Tensor **gradient = NEW_ARRAY(el->arena, Tensor *, el->job->gradient.count + 1);
    for (int i = 0; i < el->job->gradient.count; i++)
        gradient[i] = el->program->tensor.at[el->job->gradient.at[i].source];
    if (t->group.count == 0) {
        report_error(el->d, job->name_span, "no-optimizer", "the train block names no optimizer");
        report_help(el->d, "optimizer = adamw(lr = 1e-3)   # use optim");
        return false;
    }
    if (t->clip && !clip_gradients(el, s, t->clip, gradient)) return false;
    Value *rate = NEW_ARRAY(el->arena, Value, t->group.count);
    int *rate_at = NEW_ARRAY(el->arena, int, t->group.count), *members = NEW_ARRAY(el->arena, int, t->group.count);
    for (int k = 0; k < t->group.count; k++) {
        const Node *params = KID(t->group.at[k].callable.callable->def, 0);
        rate_at[k] = -1;
        for (int i = 0; params && i < params->kids; i++)
            if (!strcmp(params->kid[i]->name, "lr")) rate_at[k] = i;
        if (rate_at[k] < 0) continue;
        const Value *v = &t->group.at[k].callable.callable->option[rate_at[k]];
        if (v->kind != V_NUMBER && !(v->kind == V_TENSOR && v->tensor->rank == 0)) {
            report_error(el->d, t->group.at[k].span, "not-a-number", "`lr` must be a number or a setting");
            return false;
        }
        rate[k] = scaled_rate(el, v, &t->schedule, t->group.at[k].span);
    }
    for (int i = 0; i < el->job->gradient.count; i++) {
        Tensor *p = el->program->tensor.at[el->job->gradient.at[i].target];
        int chosen = -1;
        for (int k = 0; k < t->group.count && chosen < 0; k++) // a named group wins over the group for all
            if (t->group.at[k].glob && fnmatch(t->group.at[k].glob, p->name, 0) == 0) chosen = k;
        for (int k = 0; k < t->group.count && chosen < 0; k++)
            if (!t->group.at[k].glob) chosen = k;
        if (chosen < 0) {
            report_error(el->d, job->name_span, "no-optimizer", "no optimizer group matches parameter `%s`", p->name);
            report_help(el->d, "add a group for all others, optimizer = …, or freeze \"%s\"", p->name);
            return false;
        }
        members[chosen]++;
        if (!optimise(el, &t->group.at[chosen], &rate[chosen], rate_at[chosen], p, gradient[i])) return false;
    }
    for (int k = 0; k < t->group.count; k++)
        if (!members[k]) {
            report_error(el->d, t->group.at[k].span, "empty-group", "this optimizer group has no parameter%s%s%s",
                         t->group.at[k].glob ? ": nothing matches \"" : "",
                         t->group.at[k].glob ? t->group.at[k].glob : "", t->group.at[k].glob ? "\"" : "");
            list_parameters(el);
            return false;
        }
    if (rate_at[0] >= 0) return value_output(el, "lr", &rate[0], t->group.at[0].span);
    return true;
}

static bool monitor(El *el, Scope *s, const Node *n, const Node *evaluate_job) {
    TrainPlan *plan = &el->program->train;
    plan->monitor = "loss";
    plan->split = "validation";
    if (!n) return true;
    bool known = !strcmp(n->name, "loss");
    const Node *block = evaluate_job ? evaluate_job->kid[0] : NULL;
    for (int i = 0; block && i < block->kids; i++)
        known |= block->kid[i]->kind == N_METRIC && block->kid[i]->name == n->name;
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

bool train_job(El *el, const Node *job, const Node *evaluate_job) {
    Training t = {0};
    el->job = program_job(el->program, "train");
    el->job->loss = -1;
    set_training(el, true);
    Scope *s = scope_new(el, el->root);
    s->callee = job;
    if (!run_train(el, s, job, &t)) return false;
    if (!value_output(el, "loss", &t.loss, t.loss.span)) return false;
    if (!request_gradients(el, t.loss.tensor, t.freeze.at, t.freeze.count)) return false;
    for (int k = 0; k < t.freeze.count; k++) {
        bool any = false;
        for (int i = 0; i < el->param.count && !any; i++)
            any = el->param.at[i].used_in == el->job &&
                  fnmatch(t.freeze.at[k]->text, el->param.at[i].tensor->name, 0) == 0;
        if (any) continue;
        report_error(el->d, t.freeze.at[k]->span, "empty-group", "no parameter matches \"%s\"", t.freeze.at[k]->text);
        list_parameters(el);
        return false;
    }
    if (el->job->gradient.count == 0) {
        report_error(el->d, t.loss.span, "no-parameters", "nothing to train: the loss depends on no parameter%s",
                     t.freeze.count ? " that is not frozen" : "");
        return false;
    }
    return run_optimizers(el, s, job, &t) && monitor(el, s, t.monitor, evaluate_job);
}

// The loss alone, in the job being elaborated.
bool train_loss(El *el, const Node *job, Value *loss) {
    Training t = {.loss_only = true};
    Scope *s = scope_new(el, el->root);
    s->callee = job;
    if (!run_train(el, s, job, &t)) return false;
    *loss = t.loss;
    return true;
}
