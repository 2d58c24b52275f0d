// slide_blocks: see slide_blocks.h. A doubly linked list by use and chained buckets.
#include "slide_blocks.h"

#include <stdlib.h>

enum { OVERHEAD = sizeof(Block) + 16 };

static size_t bucket_of(size_t page, size_t index) {
    uint64_t key = ((uint64_t)page << 40 ^ index) * 0x9E3779B97F4A7C15u;
    return (size_t)(key >> 52); // 12 bits
}

void block_cache_init(BlockCache *cache, size_t budget) {
    *cache = (BlockCache){.budget = budget};
}

static void unlink_use(BlockCache *cache, Block *block) {
    if (block->older) block->older->newer = block->newer;
    else cache->oldest = block->newer;
    if (block->newer) block->newer->older = block->older;
    else cache->newest = block->older;
    block->older = block->newer = NULL;
}

static void link_newest(BlockCache *cache, Block *block) {
    block->older = cache->newest;
    block->newer = NULL;
    if (cache->newest) cache->newest->newer = block;
    else cache->oldest = block;
    cache->newest = block;
}

// Out of the lists and out of the sum; the memory stays with the caller.
static void take_out(BlockCache *cache, Block *block) {
    Block **at = &cache->buckets[bucket_of(block->page, block->index)];
    while (*at != block) at = &(*at)->next;
    *at = block->next;
    unlink_use(cache, block);
    cache->used -= block->bytes + OVERHEAD;
}

void block_cache_drop(BlockCache *cache, Block *block) {
    take_out(cache, block);
    free(block->rgb);
    free(block);
}

void block_cache_free(BlockCache *cache) {
    while (cache->oldest) block_cache_drop(cache, cache->oldest);
    free(cache->buckets);
    *cache = (BlockCache){0};
}

const Block *block_cache_find(BlockCache *cache, size_t page, size_t index) {
    if (!cache->buckets) return NULL;
    Block *block = cache->buckets[bucket_of(page, index)];
    while (block && (block->index != index || block->page != page)) block = block->next;
    if (block && block != cache->newest) {
        unlink_use(cache, block);
        link_newest(cache, block);
    }
    return block;
}

Status block_cache_add(BlockCache *cache, size_t page, size_t index, size_t bytes, Block **out_block) {
    Block *block = NULL;
    *out_block = NULL;
    if (!cache->buckets) cache->buckets = calloc(BLOCK_BUCKETS, sizeof *cache->buckets);
    if (!cache->buckets) return status_make(STATUS_NO_MEMORY, "no memory for the list of decoded tiles");
    while (cache->oldest && cache->used + bytes + OVERHEAD > cache->budget) {
        Block *oldest = cache->oldest;
        if (!block && oldest->rgb && oldest->bytes == bytes) {
            take_out(cache, oldest);
            block = oldest;
        } else {
            block_cache_drop(cache, oldest);
        }
    }
    if (!block) {
        block = calloc(1, sizeof *block);
        if (block && bytes) block->rgb = malloc(bytes);
        if (!block || (bytes && !block->rgb)) {
            free(block);
            return status_make(STATUS_NO_MEMORY, "no memory for a decoded tile or strip of %zu bytes", bytes);
        }
    }
    block->page = page;
    block->index = index;
    block->bytes = bytes;
    Block **bucket = &cache->buckets[bucket_of(page, index)];
    block->next = *bucket;
    *bucket = block;
    link_newest(cache, block);
    cache->used += bytes + OVERHEAD;
    *out_block = block;
    return STATUS_OK;
}
