// arena: see arena.h. Blocks grow from 16 KiB to 1 MiB; a request larger than a quarter of the next block
// gets a block of its own behind the current one, so that the current one stays in use.
#include "arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ArenaBlock {
    ArenaBlock *next;
    size_t capacity;
    size_t fill;
    _Alignas(16) unsigned char bytes[];
};

enum { ALIGNMENT = 16, SMALLEST_BLOCK = 16 << 10, LARGEST_BLOCK = 1 << 20 };

void arena_init(Arena *arena) {
    *arena = (Arena){0};
}

void arena_free(Arena *arena) {
    ArenaBlock *block = arena->blocks;
    while (block) {
        ArenaBlock *next = block->next;
        free(block);
        block = next;
    }
    *arena = (Arena){0};
}

static ArenaBlock *block_new(Arena *arena, size_t capacity) {
    ArenaBlock *block = calloc(1, sizeof *block + capacity); // calloc: the bytes must be zero
    if (!block) return NULL;
    block->capacity = capacity;
    arena->reserved += sizeof *block + capacity;
    return block;
}

void *arena_alloc(Arena *arena, size_t count, size_t size) {
    if (size && count > (SIZE_MAX / 2) / size) return NULL;
    size_t bytes = count * size;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes == 0) bytes = ALIGNMENT;
    ArenaBlock *block = arena->blocks;
    if (!block || block->capacity - block->fill < bytes) {
        size_t wanted = block ? block->capacity * 2 : SMALLEST_BLOCK;
        if (wanted > LARGEST_BLOCK) wanted = LARGEST_BLOCK;
        if (wanted < SMALLEST_BLOCK) wanted = SMALLEST_BLOCK;
        bool own_block = bytes > wanted / 4;
        block = block_new(arena, own_block ? bytes : wanted);
        if (!block) return NULL;
        if (own_block && arena->blocks) {
            block->next = arena->blocks->next;
            arena->blocks->next = block;
        } else {
            block->next = arena->blocks;
            arena->blocks = block;
        }
    }
    void *piece = block->bytes + block->fill;
    block->fill += bytes;
    arena->used += bytes;
    return piece;
}

char *arena_copy(Arena *arena, const char *text, size_t length) {
    if (length == SIZE_MAX) return NULL;
    char *copy = arena_alloc(arena, length + 1, 1);
    if (copy && length) memcpy(copy, text, length);
    return copy;
}

char *arena_vprintf(Arena *arena, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = length < 0 ? NULL : arena_alloc(arena, (size_t)length + 1, 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *arena_printf(Arena *arena, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = arena_vprintf(arena, format, arguments);
    va_end(arguments);
    return text;
}

Status arena_list_add(Arena *arena, char ***list, size_t *count, char *text) {
    char **more = NULL;
    if (!text) return arena_exhausted(1, 1);
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*list)[i], text) == 0) return STATUS_OK;
    TRY(ARENA_NEW(arena, more, *count + 1));
    if (*count) memcpy(more, *list, *count * sizeof *more);
    more[(*count)++] = text;
    *list = more;
    return STATUS_OK;
}

Status arena_exhausted(size_t count, size_t size) {
    return status_make(STATUS_NO_MEMORY, "no memory for %zu elements of %zu bytes", count, size);
}
