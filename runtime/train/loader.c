// loader: see loader.h. Reader and consumer share a small ring of slots under one mutex; reading itself
// happens outside it.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "loader.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../program/machine.h"

enum { SLOTS = 2 };

typedef struct Slot {
    void **data; // [feeds] parts of `block`
    char *block;
    int64_t rows;
    Status status; // of reading this batch
} Slot;

struct Loader {
    Rows *rows;
    RowFeed *feed;
    int feeds;
    int64_t batch, slot_bytes;
    Slot slot[SLOTS];

    // The sequence. Changed only while the thread is idle.
    const int64_t *number;
    int64_t count, batches, first;
    bool inline_reading; // a single batch: no thread

    // Shared with the thread, under `mutex`.
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    bool has_thread, running, reading, quit;
    int64_t filled, taken; // batches read; batches handed out (the last one is in use)
};

static Status fill_slot(Loader *loader, int64_t index, Slot *slot) {
    int64_t from = index * loader->batch;
    slot->rows = loader->count - from < loader->batch ? loader->count - from : loader->batch;
    for (int f = 0; f < loader->feeds; f++) {
        TRY(rows_read(loader->rows, &loader->feed[f], loader->number + from, slot->rows, slot->data[f]));
    }
    return STATUS_OK;
}

static void *read_ahead(void *argument) {
    Loader *loader = argument;
    pthread_mutex_lock(&loader->mutex);
    for (;;) {
        // A slot is free when its batch is neither waiting nor in use.
        while (!loader->quit &&
               !(loader->running && loader->filled < loader->batches && loader->filled - loader->taken < SLOTS - 1))
            pthread_cond_wait(&loader->changed, &loader->mutex);
        if (loader->quit) break;
        int64_t index = loader->filled;
        Slot *slot = &loader->slot[index % SLOTS];
        loader->reading = true;
        pthread_mutex_unlock(&loader->mutex);
        Status status = fill_slot(loader, index, slot);
        pthread_mutex_lock(&loader->mutex);
        slot->status = status;
        loader->reading = false;
        loader->filled++;
        if (status != STATUS_OK) loader->batches = loader->filled; // nothing follows a failure
        pthread_cond_broadcast(&loader->changed);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

Status loader_new(Rows *rows, const RowFeed *feeds, int count, int64_t batch, Loader **out_loader) {
    *out_loader = NULL;
    Loader *loader = calloc(1, sizeof *loader);
    if (!loader) return status_make(STATUS_NO_MEMORY, "no memory for reading batches");
    pthread_mutex_init(&loader->mutex, NULL);
    pthread_cond_init(&loader->changed, NULL);
    loader->rows = rows;
    loader->batch = batch;
    loader->feeds = count;
    loader->feed = calloc((size_t)count + 1, sizeof *loader->feed);
    Status status = STATUS_OK;
    if (!loader->feed) status = status_make(STATUS_NO_MEMORY, "no memory for reading batches");
    for (int f = 0; f < count && status == STATUS_OK; f++) {
        loader->feed[f] = feeds[f];
        loader->slot_bytes += (feeds[f].row_bytes * batch + 63) / 64 * 64;
    }
    for (int s = 0; s < SLOTS && status == STATUS_OK; s++) {
        Slot *slot = &loader->slot[s];
        slot->data = calloc((size_t)count + 1, sizeof *slot->data);
        if (!slot->data) status = status_make(STATUS_NO_MEMORY, "no memory for reading batches");
        if (status == STATUS_OK)
            status = status_context(big_block_new(loader->slot_bytes, &slot->block), "input batches");
        int64_t at = 0;
        for (int f = 0; f < count && status == STATUS_OK; f++) {
            slot->data[f] = slot->block + at;
            at += (feeds[f].row_bytes * batch + 63) / 64 * 64;
        }
    }
    if (status != STATUS_OK) loader_free(loader);
    else *out_loader = loader;
    return status;
}

void loader_free(Loader *loader) {
    if (!loader) return;
    loader_stop(loader);
    if (loader->has_thread) {
        pthread_mutex_lock(&loader->mutex);
        loader->quit = true;
        pthread_cond_broadcast(&loader->changed);
        pthread_mutex_unlock(&loader->mutex);
        pthread_join(loader->thread, NULL);
    }
    for (int s = 0; s < SLOTS; s++) {
        big_block_free(loader->slot[s].block, loader->slot_bytes);
        free(loader->slot[s].data);
    }
    pthread_cond_destroy(&loader->changed);
    pthread_mutex_destroy(&loader->mutex);
    free(loader->feed);
    free(loader);
}

// Signals stay with the threads that existed before, so that handlers run there.
static Status start_thread(Loader *loader) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&loader->thread, NULL, read_ahead, loader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) return status_errno(failed, "cannot start the thread that reads batches");
    loader->has_thread = true;
    return STATUS_OK;
}

Status loader_start(Loader *loader, const int64_t *number, int64_t count, int64_t first) {
    loader_stop(loader);
    pthread_mutex_lock(&loader->mutex);
    loader->number = number;
    loader->count = count;
    loader->batches = (count + loader->batch - 1) / loader->batch;
    loader->first = loader->filled = loader->taken = first;
    loader->inline_reading = loader->batches - first <= 1;
    loader->running = !loader->inline_reading;
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->mutex);
    return loader->inline_reading || loader->has_thread ? STATUS_OK : start_thread(loader);
}

Status loader_next(Loader *loader, Batch *out_batch) {
    *out_batch = (Batch){0};
    Slot *slot = NULL;
    if (loader->inline_reading) {
        if (loader->taken >= loader->batches) return STATUS_OK;
        slot = &loader->slot[loader->taken % SLOTS];
        TRY(fill_slot(loader, loader->taken, slot));
        loader->filled = ++loader->taken;
    } else {
        Status status = STATUS_OK;
        pthread_mutex_lock(&loader->mutex);
        while (loader->filled == loader->taken && loader->taken < loader->batches)
            pthread_cond_wait(&loader->changed, &loader->mutex);
        if (loader->filled > loader->taken) {
            slot = &loader->slot[loader->taken % SLOTS];
            status = slot->status;
            slot->status = STATUS_OK;
            loader->taken++;
            pthread_cond_broadcast(&loader->changed);
        }
        pthread_mutex_unlock(&loader->mutex);
        if (status != STATUS_OK || !slot) return status;
    }
    *out_batch = (Batch){.rows = slot->rows, .index = loader->taken - 1, .data = slot->data};
    return STATUS_OK;
}

void loader_stop(Loader *loader) {
    pthread_mutex_lock(&loader->mutex);
    loader->running = false;
    while (loader->reading) pthread_cond_wait(&loader->changed, &loader->mutex); // at most one batch
    for (int s = 0; s < SLOTS; s++) {
        status_drop(loader->slot[s].status);
        loader->slot[s].status = STATUS_OK;
    }
    loader->batches = loader->filled = loader->taken = 0;
    pthread_mutex_unlock(&loader->mutex);
}
