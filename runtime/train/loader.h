// loader: batches of input rows, read ahead by threads of its own while the machine works on the batches before.
//
// Three sets of buffers: one is being used, two are being filled or wait. Feeds that several threads may read at once
// (rows_shared: tiles, which take by far the most time) are cut into pieces that all threads take from; the others are
// read by one thread at a time. Row order and batch boundaries are the caller's; the loader adds no randomness, and
// batches are the same for any number of threads, so that a run can be repeated and resumed. A single batch is read
// without a thread.
#pragma once

#include "rows.h"

typedef struct Loader Loader;

typedef struct Batch {
    int64_t rows;      // rows in this batch
    int64_t index;     // 0, 1, … within the sequence
    void *const *data; // [feeds] 64-byte aligned, valid until the next loader_next or loader_stop
} Batch;

enum { LOADER_MOST_THREADS = 64 };

// `feeds` is copied. `batch`: most rows in a batch.
MUST_USE Status loader_new(Rows *rows, const RowFeed *feeds, int count, int64_t batch, Loader **out_loader);
void loader_free(Loader *loader); // NULL is allowed

// Threads that read, 1 .. LOADER_MOST_THREADS; before the first loader_start. If this is not called: as many as the
// process may use, at most 8. They are not the machine's: with a GPU its cores are free for them, and without one the
// system shares the cores out (SCHED_BATCH: a reader that wakes does not interrupt the step), so that what reading
// costs is its own work and no more.
void loader_threads(Loader *loader, int threads);

// Begins with batch `first` of the sequence number[0 .. count), cut every `batch` rows; `number` must stay
// until loader_stop. Batches that are not full are given too.
MUST_USE Status loader_start(Loader *loader, const int64_t *number, int64_t count, int64_t first);
// The next batch; rows == 0 after the last. Nothing follows a failure.
MUST_USE Status loader_next(Loader *loader, Batch *out_batch);
// Ends the sequence, also before its end.
void loader_stop(Loader *loader);
