// pool: see pool.h.
//
// A task's parts are cut into units, and each thread's stretch of units is one 64-bit word (first, last).
// Claiming is a compare-and-swap on such a word: the owner takes from the front, a helper from the back. The
// description of the task is read only after a successful claim. That is safe without any further lock: while
// a claimed unit is unfinished, pool_run has not returned, so the description cannot change; and a word with
// units left exists only inside a running task.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // sched_getaffinity, syscall
#endif

#include "pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() ((void)0)
#endif

enum {
    MAX_THREADS = 1024,
    MAX_UNITS = 1 << 20,
    SPINS_IDLE = 3000,   // of a worker between tasks before it sleeps, about 50-100 us
    SPINS_FINISH = 3000, // of the caller for the last units before it sleeps
};

typedef struct Lane {                       // one per thread, each on its own cache lines
    _Alignas(128) _Atomic uint64_t stretch; // first << 32 | last, in units
    Pool *pool;
    pthread_t thread;
    int number;
} Lane;

struct Pool {
    Lane *lane; // [threads]
    int threads;
    int started; // threads running, the caller included; written by the caller before publishing
    bool start_failed;
    PoolTask task;
    void *context;
    int64_t parts, unit;                       // unit: parts per unit
    _Alignas(128) _Atomic uint32_t generation; // counts tasks; workers sleep on it
    _Atomic int sleepers;
    _Atomic int stop;
    _Alignas(128) _Atomic uint32_t left; // unfinished units; the caller sleeps on it
    _Atomic int caller_sleeps;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count) {
    syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

// Takes units from `lane`: a quarter of what is left, from the front for the owner and from the back for a
// helper.
static bool claim(Lane *lane, bool owner, uint32_t *first, uint32_t *last) {
    uint64_t seen = atomic_load_explicit(&lane->stretch, memory_order_relaxed);
    for (;;) {
        uint32_t from = (uint32_t)(seen >> 32), to = (uint32_t)seen;
        if (from >= to) return false;
        uint32_t take = (to - from + 3) / 4;
        *first = owner ? from : to - take;
        *last = *first + take;
        uint64_t rest = owner ? (uint64_t)*last << 32 | to : (uint64_t)from << 32 | *first;
        if (atomic_compare_exchange_weak_explicit(&lane->stretch, &seen, rest, memory_order_acq_rel,
                                                  memory_order_relaxed))
            return true;
    }
}

static void run_units(Pool *pool, int thread, uint32_t first, uint32_t last) {
    int64_t from = first * pool->unit, to = last * pool->unit;
    if (to > pool->parts) to = pool->parts;
    pool->task(pool->context, thread, from, to);
    uint32_t done = last - first;
    if (atomic_fetch_sub(&pool->left, done) == done && atomic_load(&pool->caller_sleeps)) futex_wake(&pool->left, 1);
}

// Works until no lane has units left.
static void work(Pool *pool, int thread) {
    uint32_t first, last;
    while (claim(&pool->lane[thread], true, &first, &last)) run_units(pool, thread, first, last);
    for (int k = 1; k < pool->threads; k++) {
        Lane *other = &pool->lane[(thread + k) % pool->threads];
        while (claim(other, false, &first, &last)) run_units(pool, thread, first, last);
    }
}

static void *worker(void *argument) {
    Lane *lane = argument;
    Pool *pool = lane->pool;
    uint32_t seen = 0; // the first task may already be out: 0 makes us look at once
    for (;;) {
        int spins = 0;
        while (atomic_load_explicit(&pool->generation, memory_order_acquire) == seen) {
            if (spins++ < SPINS_IDLE) {
                RELAX();
                continue;
            }
            atomic_fetch_add(&pool->sleepers, 1);
            if (atomic_load(&pool->generation) == seen) futex_wait(&pool->generation, seen);
            atomic_fetch_sub(&pool->sleepers, 1);
        }
        seen = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (atomic_load_explicit(&pool->stop, memory_order_acquire)) return NULL;
        work(pool, lane->number);
    }
}

// Starts the workers. Signals stay with the threads that existed before, so that handlers run there.
static void start(Pool *pool) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started < pool->threads) {
        Lane *lane = &pool->lane[pool->started];
        if (pthread_create(&lane->thread, NULL, worker, lane) != 0) {
            pool->start_failed = true;
            break;
        }
        pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

Status pool_new(int threads, Pool **out_pool) {
    *out_pool = NULL;
    if (threads < 1 || threads > MAX_THREADS)
        return status_make(STATUS_INVALID, "%d threads asked for; 1 to %d are possible", threads, MAX_THREADS);
    Pool *pool = aligned_alloc(128, (sizeof *pool + 127) / 128 * 128);
    Lane *lane = aligned_alloc(128, (size_t)threads * sizeof *lane);
    if (!pool || !lane) {
        free(pool);
        free(lane);
        return status_make(STATUS_NO_MEMORY, "no memory for %d threads", threads);
    }
    memset(pool, 0, sizeof *pool);
    memset(lane, 0, (size_t)threads * sizeof *lane);
    for (int t = 0; t < threads; t++) {
        lane[t].pool = pool;
        lane[t].number = t;
    }
    pool->lane = lane;
    pool->threads = threads;
    pool->started = 1;
    *out_pool = pool;
    return STATUS_OK;
}

void pool_free(Pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, 1);
    atomic_fetch_add(&pool->generation, 1);
    futex_wake(&pool->generation, MAX_THREADS);
    for (int t = 1; t < pool->started; t++) pthread_join(pool->lane[t].thread, NULL);
    free(pool->lane);
    free(pool);
}

int pool_threads(const Pool *pool) {
    return pool->threads;
}

void pool_run(Pool *pool, PoolTask task, void *context, int64_t parts) {
    if (parts <= 0) return;
    if (parts == 1 || pool->threads == 1) {
        task(context, 0, 0, parts);
        return;
    }
    if (pool->started < pool->threads && !pool->start_failed) start(pool);
    pool->task = task;
    pool->context = context;
    pool->parts = parts;
    pool->unit = (parts + MAX_UNITS - 1) / MAX_UNITS;
    uint64_t units = (uint64_t)((parts + pool->unit - 1) / pool->unit);
    atomic_store_explicit(&pool->left, (uint32_t)units, memory_order_relaxed);
    for (int t = 0; t < pool->threads; t++) {
        uint64_t first = units * (uint64_t)t / (uint64_t)pool->threads;
        uint64_t last = units * (uint64_t)(t + 1) / (uint64_t)pool->threads;
        atomic_store_explicit(&pool->lane[t].stretch, first << 32 | last, memory_order_release);
    }
    atomic_fetch_add(&pool->generation, 1);
    int useful = units - 1 < MAX_THREADS ? (int)units - 1 : MAX_THREADS; // more threads would find nothing to do
    if (atomic_load(&pool->sleepers)) futex_wake(&pool->generation, useful);
    work(pool, 0);
    for (int spins = 0;; spins++) {
        uint32_t left = atomic_load_explicit(&pool->left, memory_order_acquire);
        if (left == 0) break;
        if (spins < SPINS_FINISH) {
            RELAX();
            continue;
        }
        atomic_store(&pool->caller_sleeps, 1);
        left = atomic_load(&pool->left);
        if (left) futex_wait(&pool->left, left);
        atomic_store(&pool->caller_sleeps, 0);
    }
}

// CPUs that the control group's quota allows (cgroup v2: "max 100000" or "200000 100000"), or a large number.
static int quota_threads(void) {
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!file) return MAX_THREADS;
    char text[64] = "";
    char *got = fgets(text, sizeof text, file);
    fclose(file);
    char *end = text;
    long long quota = got ? strtoll(text, &end, 10) : 0;
    if (end == text || quota <= 0) return MAX_THREADS;
    long long period = strtoll(end, NULL, 10);
    if (period <= 0) return MAX_THREADS;
    long long count = (quota + period - 1) / period;
    return count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : (int)count;
}

int usable_threads(void) {
    cpu_set_t *set = CPU_ALLOC(MAX_THREADS);
    int count = 0;
    if (set) {
        size_t bytes = CPU_ALLOC_SIZE(MAX_THREADS);
        CPU_ZERO_S(bytes, set);
        if (sched_getaffinity(0, bytes, set) == 0) count = CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
    }
    if (count < 1) count = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = quota_threads();
    if (count > quota) count = quota;
    return count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : count;
}
