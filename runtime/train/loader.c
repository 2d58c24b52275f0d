// loader: see loader.h. Readers and consumer share a small ring of slots under one mutex; reading itself happens
// outside it.
//
// A batch is a list of jobs: first its pieces (a stretch of rows of one shared feed), then one job that reads all other
// feeds. Readers take jobs of the oldest batch that has some left; the last kind only while no other reader is at one.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "loader.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../core/pool.h"
#include "../program/machine.h"

enum { SLOTS = 3, THREADS_UNASKED = 8, PIECE_BYTES = 1 << 20, LEAST_PIECE = 4 };

typedef struct Slot {
    void **data; // [feeds] parts of `block`
    char *block;
    int64_t rows, index;
    // Under the mutex.
    int64_t next, pieces; // pieces handed out; how many there are
    bool serial;          // the job of the other feeds is still to be handed out
    int64_t open;         // jobs not done
    Status status;        // the first failure in the order of jobs
    int64_t failed;       // its job
} Slot;

typedef struct Job {
    Slot *slot;
    int64_t number; // piece; slot->pieces: the other feeds
} Job;

struct Loader {
    Rows *rows;
    RowFeed *feed;
    bool *shared; // [feeds]
    int feeds;
    bool has_serial;
    int64_t batch, slot_bytes;
    Slot slot[SLOTS];

    // The sequence. Changed only while the threads are idle.
    const int64_t *number;
    int64_t count, first;
    bool inline_reading; // a single batch: no thread

    // Shared with the threads, under `mutex`.
    pthread_mutex_t mutex;
    pthread_cond_t work, done; // there may be jobs; a batch is complete, or all readers rest
    pthread_t thread[LOADER_MOST_THREADS];
    int threads, started; // wanted; running
    bool running, serial_busy, quit;
    int busy;                       // threads at a job
    int64_t batches, opened, taken; // in the sequence; given a slot; handed out (the last one is in use)
};

static int64_t piece_rows(const RowFeed *feed) {
    int64_t rows = feed->row_bytes > 0 ? PIECE_BYTES / feed->row_bytes : PIECE_BYTES;
    return rows < LEAST_PIECE ? LEAST_PIECE : rows;
}

static int64_t pieces_of(const RowFeed *feed, int64_t rows) {
    return (rows + piece_rows(feed) - 1) / piece_rows(feed);
}

static Status read_feed(const Loader *loader, const Slot *slot, int f, int64_t first, int64_t rows) {
    const RowFeed *feed = &loader->feed[f];
    return rows_read(loader->rows, feed, loader->number + slot->index * loader->batch + first, rows,
                     (char *)slot->data[f] + first * feed->row_bytes);
}

// While this batch is read, the disk may look for the next one.
static void expect_next(const Loader *loader, const Slot *slot, int f) {
    int64_t first = (slot->index + 1) * loader->batch, left = loader->count - first;
    if (left > 0)
        rows_expect(loader->rows, &loader->feed[f], loader->number + first,
                    left < loader->batch ? left : loader->batch);
}

static Status run_job(const Loader *loader, const Job *job) {
    const Slot *slot = job->slot;
    int64_t piece = job->number;
    for (int f = 0; f < loader->feeds; f++) {
        if (piece < slot->pieces ? !loader->shared[f] : loader->shared[f]) continue;
        if (piece == slot->pieces) {
            TRY(read_feed(loader, slot, f, 0, slot->rows));
            continue;
        }
        int64_t here = pieces_of(&loader->feed[f], slot->rows);
        if (piece == 0) expect_next(loader, slot, f);
        if (piece < here) {
            int64_t rows = piece_rows(&loader->feed[f]), first = piece * rows;
            return read_feed(loader, slot, f, first, slot->rows - first < rows ? slot->rows - first : rows);
        }
        piece -= here;
        // What is left counts pieces of the feeds behind this one; it cannot reach the number of the last job.
    }
    return STATUS_OK;
}

static void slot_begin(Loader *loader, Slot *slot, int64_t index) {
    int64_t from = index * loader->batch;
    slot->index = index;
    slot->rows = loader->count - from < loader->batch ? loader->count - from : loader->batch;
    slot->next = slot->pieces = 0;
    for (int f = 0; f < loader->feeds; f++)
        if (loader->shared[f]) slot->pieces += pieces_of(&loader->feed[f], slot->rows);
    slot->serial = loader->has_serial;
    slot->open = slot->pieces + slot->serial;
}

// A job of the oldest batch that has one. Called under the mutex.
static bool claim(Loader *loader, Job *job) {
    if (!loader->running) return false;
    for (int64_t b = loader->taken;; b++) {
        if (b == loader->opened) {
            // A slot is free when its batch is neither waiting nor in use.
            if (b >= loader->batches || b - loader->taken >= SLOTS - 1) return false;
            slot_begin(loader, &loader->slot[b % SLOTS], b);
            loader->opened++;
        }
        Slot *slot = &loader->slot[b % SLOTS];
        if (b >= loader->batches || slot->status != STATUS_OK) return false; // nothing follows a failure
        *job = (Job){slot, slot->next};
        if (slot->serial && !loader->serial_busy) {
            slot->serial = false;
            loader->serial_busy = true;
            job->number = slot->pieces;
            return true;
        }
        if (slot->next < slot->pieces) {
            slot->next++;
            return true;
        }
    }
}

// Called under the mutex.
static void finish(Loader *loader, const Job *job, Status status) {
    Slot *slot = job->slot;
    bool serial = job->number == slot->pieces;
    if (serial) loader->serial_busy = false;
    slot->open--;
    if (status != STATUS_OK) {
        // Jobs that nobody has begun are left; of those begun the first one's failure counts.
        if (slot->status == STATUS_OK) {
            slot->open -= slot->pieces - slot->next + slot->serial;
            slot->next = slot->pieces;
            slot->serial = false;
            loader->batches = slot->index + 1;
        }
        if (slot->status == STATUS_OK || job->number < slot->failed) {
            status_drop(slot->status);
            slot->status = status;
            slot->failed = job->number;
        } else status_drop(status);
    }
    if (slot->open == 0) pthread_cond_broadcast(&loader->done);
    if (slot->open == 0 || serial) pthread_cond_broadcast(&loader->work);
}

static void *read_ahead(void *argument) {
    Loader *loader = argument;
    Job job;
    struct sched_param plain = {0};
    // Woken readers wait for their share instead of pushing aside the step's threads, which others may be waiting for.
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &plain); // no matter if the system refuses
    pthread_mutex_lock(&loader->mutex);
    for (;;) {
        while (!loader->quit && !claim(loader, &job)) pthread_cond_wait(&loader->work, &loader->mutex);
        if (loader->quit) break;
        loader->busy++;
        pthread_mutex_unlock(&loader->mutex);
        Status status = run_job(loader, &job);
        pthread_mutex_lock(&loader->mutex);
        finish(loader, &job, status);
        if (--loader->busy == 0) pthread_cond_broadcast(&loader->done);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

static Status no_memory(void) {
    return status_make(STATUS_NO_MEMORY, "no memory for reading batches");
}

static Status slot_new(const Loader *loader, Slot *slot) {
    slot->data = calloc((size_t)loader->feeds + 1, sizeof *slot->data);
    if (!slot->data) return no_memory();
    TRY_IN(big_block_new(loader->slot_bytes, &slot->block), "input batches");
    int64_t at = 0;
    for (int f = 0; f < loader->feeds; f++) {
        slot->data[f] = slot->block + at;
        at += (loader->feed[f].row_bytes * loader->batch + 63) / 64 * 64;
    }
    return STATUS_OK;
}

static Status set_up(Loader *loader, const RowFeed *feeds) {
    loader->feed = calloc((size_t)loader->feeds + 1, sizeof *loader->feed);
    loader->shared = calloc((size_t)loader->feeds + 1, sizeof *loader->shared);
    if (!loader->feed || !loader->shared) return no_memory();
    bool some_shared = false;
    for (int f = 0; f < loader->feeds; f++) {
        loader->feed[f] = feeds[f];
        loader->shared[f] = rows_shared(loader->rows, &feeds[f]);
        some_shared = some_shared || loader->shared[f];
        loader->has_serial = loader->has_serial || !loader->shared[f];
        loader->slot_bytes += (feeds[f].row_bytes * loader->batch + 63) / 64 * 64;
    }
    int usable = usable_threads();
    loader->threads = !some_shared ? 1 : usable < THREADS_UNASKED ? usable : THREADS_UNASKED;
    for (int s = 0; s < SLOTS; s++) TRY(slot_new(loader, &loader->slot[s]));
    return STATUS_OK;
}

Status loader_new(Rows *rows, const RowFeed *feeds, int count, int64_t batch, Loader **out_loader) {
    *out_loader = NULL;
    Loader *loader = calloc(1, sizeof *loader);
    if (!loader) return no_memory();
    pthread_mutex_init(&loader->mutex, NULL);
    pthread_cond_init(&loader->work, NULL);
    pthread_cond_init(&loader->done, NULL);
    loader->rows = rows;
    loader->batch = batch;
    loader->feeds = count;
    Status status = set_up(loader, feeds);
    if (status != STATUS_OK) loader_free(loader);
    else *out_loader = loader;
    return status;
}

void loader_threads(Loader *loader, int threads) {
    loader->threads = threads < 1 ? 1 : threads > LOADER_MOST_THREADS ? LOADER_MOST_THREADS : threads;
}

void loader_free(Loader *loader) {
    if (!loader) return;
    loader_stop(loader);
    pthread_mutex_lock(&loader->mutex);
    loader->quit = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
    for (int t = 0; t < loader->started; t++) pthread_join(loader->thread[t], NULL);
    for (int s = 0; s < SLOTS; s++) {
        big_block_free(loader->slot[s].block, loader->slot_bytes);
        free(loader->slot[s].data);
    }
    pthread_cond_destroy(&loader->work);
    pthread_cond_destroy(&loader->done);
    pthread_mutex_destroy(&loader->mutex);
    free(loader->feed);
    free(loader->shared);
    free(loader);
}

// Signals stay with the threads that existed before, so that handlers run there. Fewer threads than wanted are enough.
static Status start_threads(Loader *loader) {
    sigset_t all, before;
    int failed = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (loader->started < loader->threads && !failed) {
        failed = pthread_create(&loader->thread[loader->started], NULL, read_ahead, loader);
        loader->started += !failed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return loader->started > 0 ? STATUS_OK : status_errno(failed, "cannot start the threads that read batches");
}

Status loader_start(Loader *loader, const int64_t *number, int64_t count, int64_t first) {
    loader_stop(loader);
    pthread_mutex_lock(&loader->mutex);
    loader->number = number;
    loader->count = count;
    loader->batches = (count + loader->batch - 1) / loader->batch;
    loader->first = loader->opened = loader->taken = first;
    loader->inline_reading = loader->batches - first <= 1;
    loader->running = !loader->inline_reading;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
    return loader->inline_reading || loader->started ? STATUS_OK : start_threads(loader);
}

// The only batch, in the caller's thread.
static Status next_inline(Loader *loader, Slot *slot) {
    slot_begin(loader, slot, loader->taken);
    for (int f = 0; f < loader->feeds; f++) TRY(read_feed(loader, slot, f, 0, slot->rows));
    loader->opened = ++loader->taken;
    return STATUS_OK;
}

static Status next_waited(Loader *loader, Slot *slot) {
    pthread_mutex_lock(&loader->mutex);
    while (loader->opened == loader->taken || slot->open > 0) pthread_cond_wait(&loader->done, &loader->mutex);
    Status status = slot->status;
    slot->status = STATUS_OK;
    loader->taken++;
    if (status != STATUS_OK) loader->running = false;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
    return status;
}

Status loader_next(Loader *loader, Batch *out_batch) {
    *out_batch = (Batch){0};
    pthread_mutex_lock(&loader->mutex);
    bool over = loader->taken >= loader->batches;
    pthread_mutex_unlock(&loader->mutex);
    if (over) return STATUS_OK;
    Slot *slot = &loader->slot[loader->taken % SLOTS];
    TRY(loader->inline_reading ? next_inline(loader, slot) : next_waited(loader, slot));
    *out_batch = (Batch){.rows = slot->rows, .index = slot->index, .data = slot->data};
    return STATUS_OK;
}

void loader_stop(Loader *loader) {
    pthread_mutex_lock(&loader->mutex);
    loader->running = false;
    while (loader->busy > 0) pthread_cond_wait(&loader->done, &loader->mutex); // at most one job each
    for (int s = 0; s < SLOTS; s++) {
        status_drop(loader->slot[s].status);
        loader->slot[s].status = STATUS_OK;
    }
    loader->batches = loader->opened = loader->taken = 0;
    pthread_mutex_unlock(&loader->mutex);
}
