// spread: see spread.h.
#include "spread.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { MOST_THREADS = 16, WORTH = 1 << 18, LARGE_PAGE = 2 << 20 };

int spread_threads(int64_t entries) {
    int64_t threads = entries >= WORTH ? usable_threads() : 1;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (threads > entries / (WORTH / 2)) threads = entries / (WORTH / 2);
    return threads > 1 ? (int)threads : 1;
}

void spread(PoolTask task, void *context, int64_t parts, int64_t entries) {
    Pool *pool = NULL;
    int threads = parts > 1 ? spread_threads(entries) : 1;
    Status status = threads > 1 ? pool_new(threads, &pool) : STATUS_OK;
    status_drop(status); // without a pool it is slower, and the same
    if (pool) pool_run(pool, task, context, parts);
    else task(context, 0, 0, parts);
    pool_free(pool);
}

void *spread_scratch(size_t bytes) {
    if (bytes < LARGE_PAGE) return malloc(bytes ? bytes : 1);
    if (bytes > SIZE_MAX - LARGE_PAGE) return NULL;
    bytes = (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    void *scratch = aligned_alloc(LARGE_PAGE, bytes);
    if (scratch) (void)madvise(scratch, bytes, MADV_HUGEPAGE); // refused: small pages
    return scratch;
}
