// collect: a job run over many rows, batch by batch, with its outputs put together: what predict, embed and
// evaluate do.
//
// An output with the batch axis in front is gathered, row by row in the order asked for; an output of rank 0
// is averaged over batches, weighted by their rows. All memory is taken by collect_new; a run allocates
// nothing.
#pragma once

#include <signal.h>

#include "loader.h"
#include "session.h"

typedef struct Gathered {
    const char *name;
    const StmTensor *tensor;
    int output; // of the job
    int64_t row_elements;
    char *data; // [capacity][row_elements] of tensor->type
} Gathered;

typedef struct Mean {
    const char *name;
    int output;
    double value; // of the last run; nan over no rows
} Mean;

typedef struct Collect {
    Session *session;
    const StmJob *job;
    Rows *rows;
    Loader *loader;
    RowFeed *feed; // [feeds] the job's inputs
    int feeds;
    int64_t batch, capacity;
    Gathered *gathered; // [gathereds]
    int gathereds;
    Mean *mean; // [means]
    int means;
    int64_t *extent; // [axes] scratch
    int64_t count;   // rows of the last run
} Collect;

// What a run tells while it goes, and how it is stopped. Both members may be NULL.
typedef struct RunHooks {
    void (*progress)(void *context, int64_t done_rows, int64_t all_rows);
    void *context;
    const volatile sig_atomic_t *stop; // not 0: stop with STATUS_CANCELLED
} RunHooks;

// `batch`: rows per step; `capacity`: most rows of a run.
MUST_USE Status collect_new(Session *session, Rows *rows, const StmJob *job, int64_t batch, int64_t capacity,
                            Collect **out_collect);
void collect_free(Collect *collect); // NULL is allowed
MUST_USE Status collect_run(Collect *collect, const int64_t *number, int64_t count, const RunHooks *hooks);

const Gathered *collect_gathered(const Collect *collect, const char *name); // NULL: none
const Mean *collect_mean(const Collect *collect, const char *name);         // NULL: none

// Feeds of a job's inputs that come from the store, checked against it; memory from the session's arena.
MUST_USE Status job_feeds(Session *session, Rows *rows, const StmJob *job, RowFeed **out_feeds, int *out_count);
