// The cache of compiled modules, by content: a file per key in one folder. Several stmc may use it at once: files are
// written under a temporary name and renamed. A file that is damaged, or another key's, counts as absent and is
// replaced. Nothing here fails: without a cache stmc is slower and otherwise the same.
#ifndef STMC_TARGET_CUDA_CACHE_H
#define STMC_TARGET_CUDA_CACHE_H

#include "base/base.h"
#include "target/cuda/hash.h"

enum { CACHE_PARTS = 3 };
typedef struct CachePart {
    const void *bytes;
    size_t size;
    uint64_t number; // whatever belongs to the bytes
} CachePart;

// Parts on the arena. False: not there.
bool cache_get(Arena *arena, const char *directory, Hash128 key, CachePart part[CACHE_PARTS]);

// Makes the folder when it is missing. False: could not be written.
bool cache_put(Arena *arena, const char *directory, Hash128 key, const CachePart part[CACHE_PARTS]);

// Removes the entries that were used longest ago until the others take at most `bytes`.
void cache_prune(Arena *arena, const char *directory, int64_t bytes);

#endif
