// slide_blocks: the decoded tiles and strips of one open slide, least recently used dropped first. Internal to
// runtime/data; for one thread at a time.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct Block {
    uint8_t *rgb; // NULL: the file has left this block out (sparse TIFF)
    size_t page, index, bytes;
    struct Block *older, *newer, *next; // by use; in the bucket
} Block;

enum { BLOCK_BUCKETS = 4096 };

typedef struct BlockCache {
    size_t budget, used; // bytes of pixels and a little for each block
    Block *oldest, *newest;
    Block **buckets; // [BLOCK_BUCKETS], made with the first block
} BlockCache;

void block_cache_init(BlockCache *cache, size_t budget);
void block_cache_free(BlockCache *cache);

// NULL: not here. The block stays until the next block_cache_add.
const Block *block_cache_find(BlockCache *cache, size_t page, size_t index);

// Room for a block that is not here; older ones go until it fits the budget, which one block alone may exceed. Memory
// of a dropped block of the same size is used again. `bytes` may be 0 for a block that the file left out.
MUST_USE Status block_cache_add(BlockCache *cache, size_t page, size_t index, size_t bytes, Block **out_block);
void block_cache_drop(BlockCache *cache, Block *block); // one whose decoding failed
