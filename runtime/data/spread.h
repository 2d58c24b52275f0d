// spread: work on the entries of a large matrix over the threads that the process may use. What a part does depends on
// its number alone, so results do not depend on the number of threads. Internal to runtime/data.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/pool.h"

// Runs parts 0 .. parts - 1 of the task and returns when all are done; `entries` of about a nanosecond each tell
// whether threads are worth their start (they live for this call). Always succeeds: the caller works alone if need be.
void spread(PoolTask task, void *context, int64_t parts, int64_t entries);

int spread_threads(int64_t entries); // how many it would use

// Large scratch memory, in large pages where the system has them: several times as fast to touch first. free().
void *spread_scratch(size_t bytes); // NULL: none
