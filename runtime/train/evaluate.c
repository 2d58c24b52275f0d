// evaluate: see evaluate.h.
#include "evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = "collected.";

// The evaluate output that a metrics input asks for; NULL: the input is not a collected one.
static const Gathered *source_of(const Evaluator *e, const StmTensor *input) {
    if (strncmp(input->name, prefix, sizeof prefix - 1) != 0) return NULL;
    return collect_gathered(e->collect, input->name + sizeof prefix - 1);
}

static Status check_inputs(const Evaluator *e) {
    const StmPlan *plan = e->session->plan;
    for (int t = 0; t < plan->tensors; t++) {
        const StmTensor *input = &plan->tensor[t];
        if (input->kind != STM_INPUT || !job_uses(e->metrics, t)) continue;
        const Gathered *source = source_of(e, input);
        if (!source || source->tensor->type != input->type)
            return status_make(STATUS_INTERNAL,
                               "metrics read %s, which evaluate does not give as %s (this is a bug in stmc)",
                               input->name, type_name(input->type));
        int64_t *extent = e->collect->extent;
        session_extents(e->session, 1, extent);
        if (tensor_elements(input, extent) != source->row_elements)
            return status_make(STATUS_INTERNAL,
                               "metrics read %s with %lld values a row, evaluate gives %lld (this is a bug in stmc)",
                               input->name, (long long)tensor_elements(input, extent), (long long)source->row_elements);
    }
    return STATUS_OK;
}

static Status find_metrics(Evaluator *e) {
    Session *s = e->session;
    e->metrics = plan_job(s->plan, "metrics");
    if (!e->metrics) return STATUS_OK;
    TRY(ARENA_NEW(&s->arena, e->metric, (size_t)e->metrics->outputs + 1));
    for (int o = 0; o < e->metrics->outputs; o++) {
        const StmTensor *tensor = machine_output_tensor(s->machine, e->metrics, o);
        Metric *metric = &e->metric[e->count++];
        *metric = (Metric){.name = e->metrics->output[o].name, .output = o, .column = tensor->rank > 0, .axis = -1};
        if (tensor->rank > 1 ||
            (tensor->rank == 1 && tensor->dim[0].axis >= 0 && s->plan->axis[tensor->dim[0].axis].dynamic))
            return status_make(STATUS_UNSUPPORTED, "metric %s is neither one value nor one value per column",
                               metric->name);
        if (tensor->rank) metric->axis = tensor->axis[0];
        metric->count = tensor_elements(tensor, s->machine->bound);
        TRY(ARENA_NEW(&s->arena, metric->value, (size_t)metric->count));
    }
    return check_inputs(e);
}

Status evaluator_new(Session *session, Rows *rows, int64_t batch, int64_t capacity, Evaluator **out_evaluator) {
    *out_evaluator = NULL;
    const StmJob *job = plan_job(session->plan, "evaluate");
    if (!job)
        return status_make(STATUS_UNSUPPORTED, "%s has no evaluate block, so there is nothing to evaluate",
                           session->plan->name);
    Evaluator *e = NULL;
    TRY(ARENA_NEW(&session->arena, e, 1));
    *e = (Evaluator){.session = session, .loss = NAN};
    TRY(collect_new(session, rows, job, batch, capacity, &e->collect));
    Status status = find_metrics(e);
    if (status != STATUS_OK) evaluator_free(e);
    else *out_evaluator = e;
    return status;
}

void evaluator_free(Evaluator *e) {
    if (!e) return;
    collect_free(e->collect);
    e->collect = NULL;
}

// Runs metrics on the collected rows; `other`, when not NULL, stands in for the output named
// plan.train.compare.
static Status run_metrics(Evaluator *e, const void *other) {
    Session *s = e->session;
    const StmPlan *plan = s->plan;
    if (!e->metrics) return STATUS_OK;
    for (int t = 0; t < plan->tensors; t++) {
        if (plan->tensor[t].kind != STM_INPUT || !job_uses(e->metrics, t)) continue;
        const Gathered *source = source_of(e, &plan->tensor[t]);
        bool replaced = other && strcmp(source->name, plan->train.compare) == 0;
        machine_bind(s->machine, t, replaced ? other : source->data);
    }
    session_extents(s, e->collect->count, e->collect->extent);
    TRY(machine_prepare(s->machine, e->metrics, e->collect->extent));
    TRY(machine_run(s->machine));
    TRY(machine_wait(s->machine));
    for (int i = 0; i < e->count; i++) {
        Metric *metric = &e->metric[i];
        StmType type = machine_output_tensor(s->machine, e->metrics, metric->output)->type;
        const void *data = machine_output(s->machine, metric->output);
        for (int64_t k = 0; k < metric->count; k++) metric->value[k] = element_value(type, data, k);
    }
    return STATUS_OK;
}

Status evaluate_rows(Evaluator *e, const int64_t *number, int64_t count, const RunHooks *hooks) {
    if (count == 0) return status_make(STATUS_INVALID, "there are no rows to evaluate");
    TRY(collect_run(e->collect, number, count, hooks));
    const Mean *loss = collect_mean(e->collect, "loss");
    e->loss = loss ? loss->value : NAN;
    return run_metrics(e, NULL);
}

// The means while rows arrive in blocks of `columns` values.
static void add_rows(Baseline *b, StmType type, const void *data, int64_t rows) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < b->columns; k++) b->column[k] += element_value(type, data, r * b->columns + k);
}

enum { ROWS_AT_ONCE = 256 };

// Sums an input's dataset over the rows, without running the model.
static Status sum_dataset(Evaluator *e, const RowFeed *feed, StmType type, const int64_t *number, int64_t count,
                          Baseline *b) {
    void *block = malloc((size_t)(feed->row_bytes * ROWS_AT_ONCE));
    if (!block) return status_make(STATUS_NO_MEMORY, "no memory for the baselines");
    Status status = STATUS_OK;
    for (int64_t i = 0; i < count && status == STATUS_OK; i += ROWS_AT_ONCE) {
        int64_t n = count - i < ROWS_AT_ONCE ? count - i : ROWS_AT_ONCE;
        status = rows_read(e->collect->rows, feed, number + i, n, block);
        if (status == STATUS_OK) add_rows(b, type, block, n);
    }
    free(block);
    return status;
}

Status baseline_measure(Evaluator *e, const int64_t *number, int64_t count, Baseline *out) {
    Session *s = e->session;
    const StmTrain *train = &s->plan->train;
    const Gathered *with = collect_gathered(e->collect, train->with),
                   *compared = collect_gathered(e->collect, train->compare);
    if (!with || !compared || with->row_elements != compared->row_elements)
        return status_make(
            STATUS_INTERNAL,
            "compare %s with %s: evaluate does not give both with the same shape (this is a bug in stmc)",
            train->compare, train->with);
    *out = (Baseline){.columns = with->row_elements};
    TRY(ARENA_NEW(&s->arena, out->column, (size_t)out->columns + 1));
    const RowFeed *direct = NULL;
    for (int f = 0; f < e->collect->feeds; f++)
        if (&s->plan->tensor[e->collect->feed[f].tensor] == with->tensor) direct = &e->collect->feed[f];
    if (direct) {
        TRY(sum_dataset(e, direct, with->tensor->type, number, count, out));
    } else {
        for (int64_t i = 0; i < count; i += e->collect->capacity) {
            int64_t n = count - i < e->collect->capacity ? count - i : e->collect->capacity;
            TRY(collect_run(e->collect, number + i, n, NULL));
            add_rows(out, with->tensor->type, with->data, n);
        }
    }
    for (int64_t k = 0; k < out->columns; k++) {
        out->column[k] /= (double)count;
        out->constant += out->column[k] / (double)out->columns;
    }
    return STATUS_OK;
}

static void put_value(StmType type, void *data, int64_t i, double value) {
    if (type == STM_F64) ((double *)data)[i] = value;
    else if (type == STM_F32) ((float *)data)[i] = (float)value;
    else if (type == STM_I32) ((int32_t *)data)[i] = (int32_t)value;
    else if (type == STM_I64) ((int64_t *)data)[i] = (int64_t)value;
    else ((uint8_t *)data)[i] = (uint8_t)value;
}

Status baseline_evaluate(Evaluator *e, const Baseline *baseline, bool per_column) {
    const Gathered *compared = collect_gathered(e->collect, e->session->plan->train.compare);
    StmType type = compared->tensor->type;
    int64_t bytes = e->collect->count * baseline->columns * (int64_t)type_size(type);
    char *block = NULL;
    TRY_IN(big_block_new(bytes, &block), "baselines");
    for (int64_t r = 0; r < e->collect->count; r++)
        for (int64_t k = 0; k < baseline->columns; k++)
            put_value(type, block, r * baseline->columns + k, per_column ? baseline->column[k] : baseline->constant);
    Status status = run_metrics(e, block);
    big_block_free(block, bytes);
    e->loss = NAN;
    return status;
}

bool evaluator_value(const Evaluator *e, const char *name, double *out_value) {
    for (int i = 0; i < e->count; i++) {
        if (strcmp(e->metric[i].name, name) != 0 || e->metric[i].column) continue;
        *out_value = e->metric[i].value[0];
        return true;
    }
    if (strcmp(name, "loss") != 0 || !collect_mean(e->collect, "loss")) return false;
    *out_value = e->loss;
    return true;
}
