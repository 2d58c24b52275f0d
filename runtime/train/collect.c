// collect: see collect.h.
#include "collect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

Status job_feeds(Session *session, Rows *rows, const StmJob *job, RowFeed **out_feeds, int *out_count) {
    const StmPlan *plan = session->plan;
    RowFeed *feeds = NULL;
    int count = 0;
    TRY(ARENA_NEW(&session->arena, feeds, (size_t)plan->tensors + 1));
    for (int t = 0; t < plan->tensors; t++) {
        if (plan->tensor[t].kind != STM_INPUT || !job_uses(job, t)) continue;
        if (!plan->tensor[t].dataset)
            return status_make(STATUS_INTERNAL, "%s reads the input %s, which names no dataset (this is a bug in stmc)",
                               job->name, plan->tensor[t].name);
        TRY(rows_bind(rows, session, t, session->machine->bound, &feeds[count]));
        count++;
    }
    *out_feeds = feeds;
    *out_count = count;
    return STATUS_OK;
}

static Status find_outputs(Collect *c) {
    const Session *s = c->session;
    Arena *arena = &c->session->arena;
    TRY(ARENA_NEW(arena, c->gathered, (size_t)c->job->outputs + 1));
    TRY(ARENA_NEW(arena, c->mean, (size_t)c->job->outputs + 1));
    for (int o = 0; o < c->job->outputs; o++) {
        const StmTensor *tensor = machine_output_tensor(s->machine, c->job, o);
        const char *name = c->job->output[o].name;
        if (tensor->rank == 0) {
            c->mean[c->means++] = (Mean){.name = name, .output = o, .value = NAN};
            continue;
        }
        if (s->batch_axis < 0 || tensor->dim[0].axis != s->batch_axis)
            return status_make(STATUS_UNSUPPORTED,
                               "output %s of %s does not have the axis %s in front, so the results of several "
                               "batches cannot be joined",
                               name, c->job->name, session_row_name(s));
        for (int d = 1; d < tensor->rank; d++)
            if (tensor->dim[d].axis == s->batch_axis)
                return status_make(STATUS_UNSUPPORTED,
                                   "output %s of %s has the axis %s twice, so the results of several batches "
                                   "cannot be joined",
                                   name, c->job->name, session_row_name(s));
        session_extents(s, 1, c->extent);
        Gathered *g = &c->gathered[c->gathereds++];
        *g =
            (Gathered){.name = name, .tensor = tensor, .output = o, .row_elements = tensor_elements(tensor, c->extent)};
        int64_t bytes = 0;
        if (__builtin_mul_overflow(g->row_elements * (int64_t)type_size(tensor->type), c->capacity, &bytes))
            return status_make(STATUS_NO_MEMORY, "output %s is too large for memory", name);
        TRY_IN(big_block_new(bytes, &g->data), "output %s", name);
    }
    return STATUS_OK;
}

Status collect_new(Session *session, Rows *rows, const StmJob *job, int64_t batch, int64_t capacity,
                   Collect **out_collect) {
    *out_collect = NULL;
    Collect *c = NULL;
    TRY(ARENA_NEW(&session->arena, c, 1));
    if (batch > capacity) batch = capacity;
    if (batch < 1) batch = 1;
    *c = (Collect){.session = session, .job = job, .rows = rows, .batch = batch, .capacity = capacity};
    Status status;
    TRY_OR(status, failed, ARENA_NEW(&session->arena, c->extent, (size_t)session->plan->axes + 1));
    TRY_OR(status, failed, job_feeds(session, rows, job, &c->feed, &c->feeds));
    TRY_OR(status, failed, find_outputs(c));
    TRY_OR(status, failed, loader_new(rows, c->feed, c->feeds, batch, &c->loader));
    *out_collect = c;
    return STATUS_OK;
failed:
    collect_free(c);
    return status;
}

void collect_free(Collect *c) {
    if (!c) return;
    loader_free(c->loader);
    c->loader = NULL;
    for (int i = 0; i < c->gathereds; i++) {
        Gathered *g = &c->gathered[i];
        big_block_free(g->data, g->row_elements * (int64_t)type_size(g->tensor->type) * c->capacity);
        g->data = NULL;
    }
}

static Status start_batch(Collect *c, const Batch *batch) {
    Machine *m = c->session->machine;
    for (int f = 0; f < c->feeds; f++) machine_bind(m, c->feed[f].tensor, batch->data[f]);
    session_extents(c->session, batch->rows, c->extent);
    TRY(machine_prepare(m, c->job, c->extent));
    return machine_run(m);
}

static Status stage_batch(Collect *c, const Batch *batch) {
    if (batch->rows == 0) return STATUS_OK;
    Machine *m = c->session->machine;
    for (int f = 0; f < c->feeds; f++) machine_stage_input(m, c->feed[f].tensor, batch->data[f]);
    session_extents(c->session, batch->rows, c->extent);
    return machine_stage(m, c->job, c->extent);
}

static Status gather_batch(Collect *c, const Batch *batch, int64_t done) {
    Machine *m = c->session->machine;
    TRY(machine_wait(m));
    for (int i = 0; i < c->gathereds; i++) {
        Gathered *g = &c->gathered[i];
        int64_t row_bytes = g->row_elements * (int64_t)type_size(g->tensor->type);
        memcpy(g->data + done * row_bytes, machine_output(m, g->output), (size_t)(batch->rows * row_bytes));
    }
    for (int i = 0; i < c->means; i++) {
        const StmTensor *tensor = machine_output_tensor(m, c->job, c->mean[i].output);
        c->mean[i].value += (double)batch->rows * element_value(tensor->type, machine_output(m, c->mean[i].output), 0);
    }
    return STATUS_OK;
}

// On a GPU the next batch is read and sent while this one is computed. On the CPU the run is over when machine_run
// returns; *next stays empty, for an output that is an input itself must be gathered before its buffer is filled again.
static Status run_batch(Collect *c, const Batch *batch, int64_t done, Batch *next) {
    Status status = STATUS_OK;
    TRY(start_batch(c, batch));
    if (c->session->gpu) status = loader_next(c->loader, next);
    if (status == STATUS_OK) status = stage_batch(c, next);
    return status_join(gather_batch(c, batch, done), status);
}

Status collect_run(Collect *c, const int64_t *number, int64_t count, const RunHooks *hooks) {
    if (count > c->capacity)
        return status_make(STATUS_INTERNAL, "%lld rows for a capacity of %lld", (long long)count,
                           (long long)c->capacity);
    for (int i = 0; i < c->means; i++) c->mean[i].value = 0;
    c->count = count;
    machine_unstage(c->session->machine);
    Batch next = {0};
    Status status = loader_start(c->loader, number, count, 0);
    int64_t done = 0;
    while (status == STATUS_OK && done < count) {
        if (next.rows == 0) status = loader_next(c->loader, &next);
        Batch batch = next;
        next = (Batch){0};
        if (status == STATUS_OK) status = run_batch(c, &batch, done, &next);
        if (status != STATUS_OK) break;
        done += batch.rows;
        if (hooks && hooks->progress) hooks->progress(hooks->context, done, count);
        if (hooks && hooks->stop && *hooks->stop) status = status_make(STATUS_CANCELLED, "stopped by a signal");
    }
    loader_stop(c->loader);
    for (int i = 0; i < c->means; i++) c->mean[i].value = count ? c->mean[i].value / (double)count : NAN;
    return status;
}

const Gathered *collect_gathered(const Collect *c, const char *name) {
    for (int i = 0; i < c->gathereds; i++)
        if (strcmp(c->gathered[i].name, name) == 0) return &c->gathered[i];
    return NULL;
}

const Mean *collect_mean(const Collect *c, const char *name) {
    for (int i = 0; i < c->means; i++)
        if (strcmp(c->mean[i].name, name) == 0) return &c->mean[i];
    return NULL;
}
