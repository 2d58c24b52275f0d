// loader: batches of input rows, read ahead by a thread of its own while the machine works on the batch
// before.
//
// Two sets of buffers: one is being used, one is being filled. Row order and batch boundaries are the
// caller's; the loader adds no randomness, so that a run can be repeated and resumed. A single batch is read
// without a thread.
#pragma once

#include "rows.h"

typedef struct Loader Loader;

typedef struct Batch {
    int64_t rows;      // rows in this batch
    int64_t index;     // 0, 1, … within the sequence
    void *const *data; // [feeds] 64-byte aligned, valid until the next loader_next or loader_stop
} Batch;

// `feeds` is copied. `batch`: most rows in a batch.
MUST_USE Status loader_new(Rows *rows, const RowFeed *feeds, int count, int64_t batch, Loader **out_loader);
void loader_free(Loader *loader); // NULL is allowed

// Begins with batch `first` of the sequence number[0 .. count), cut every `batch` rows; `number` must stay
// until loader_stop. Batches that are not full are given too.
MUST_USE Status loader_start(Loader *loader, const int64_t *number, int64_t count, int64_t first);
// The next batch; rows == 0 after the last.
MUST_USE Status loader_next(Loader *loader, Batch *out_batch);
// Ends the sequence, also before its end.
void loader_stop(Loader *loader);
