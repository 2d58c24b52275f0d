// pool: a fixed set of threads that run the parts of one task at a time with little delay (a step may take 10
// us).
//
// The caller takes part itself. Every thread starts on its own stretch of the parts, so that consecutive
// tasks over the same rows stay in one core's cache, and helps the others when it is done; which thread ran a
// part can never be seen in the results. Threads start when first needed, spin for some microseconds after a
// task and then sleep.
//
// One task at a time: pool_run may be called by one thread only, not from inside a task.
#pragma once

#include <stdint.h>

#include "status.h"

typedef struct Pool Pool;

// Runs parts [first, last) of a task on thread `thread` (0 is the caller of pool_run).
typedef void (*PoolTask)(void *context, int thread, int64_t first, int64_t last);

// `threads` >= 1, the caller included.
MUST_USE Status pool_new(int threads, Pool **out_pool);
void pool_free(Pool *pool); // NULL is allowed
int pool_threads(const Pool *pool);

// Runs parts 0 .. parts-1 and returns when all are done. When threads cannot be started (limits of the
// system), the caller does the work alone: slower, same result.
void pool_run(Pool *pool, PoolTask task, void *context, int64_t parts);

// Threads that the process may use: its CPU affinity, capped by the cgroup's quota. At least 1.
int usable_threads(void);
