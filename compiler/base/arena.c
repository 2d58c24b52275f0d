// Arenas and growable vectors. An arena is a chain of blocks that only grow; everything on it is dropped at
// once. Memory is zeroed because blocks come from calloc and are never reused. Running out of memory ends
// stmc: no pass could go on without the node that it asked for.
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

typedef struct Block Block;
struct Block {
    Block *before;
    size_t room, used;
    _Alignas(max_align_t) unsigned char bytes[];
};

struct Arena {
    Block *block;
    size_t used; // bytes handed out, for --time-passes
};

enum { FIRST_BLOCK = 1 << 14, LARGEST_BLOCK = 1 << 20 };

static Block *block_new(Block *before, size_t room) {
    if (room > SIZE_MAX - sizeof(Block)) DIE("a request for %zu bytes", room);
    Block *block = calloc(1, sizeof(Block) + room);
    if (!block) DIE("out of memory: %zu bytes were refused", room);
    block->before = before;
    block->room = room;
    return block;
}

Arena *arena_new(void) {
    Arena *arena = calloc(1, sizeof *arena);
    if (!arena) DIE("out of memory");
    arena->block = block_new(NULL, FIRST_BLOCK);
    return arena;
}

void arena_free(Arena *arena) {
    if (!arena) return;
    for (Block *block = arena->block; block;) {
        Block *before = block->before;
        free(block);
        block = before;
    }
    free(arena);
}

void *arena_alloc(Arena *arena, size_t bytes) {
    const size_t align = _Alignof(max_align_t);
    if (bytes > SIZE_MAX / 2) DIE("a request for %zu bytes", bytes);
    bytes = (bytes + align - 1) / align * align;
    if (bytes == 0) bytes = align;
    Block *block = arena->block;
    if (block->room - block->used < bytes) {
        if (bytes > LARGEST_BLOCK / 4) {
            // A large request gets a block of its own behind the current one, whose rest stays in use.
            Block *own = block_new(block->before, bytes);
            own->used = bytes;
            block->before = own;
            arena->used += bytes;
            return own->bytes;
        }
        size_t room = block->room * 2 < LARGEST_BLOCK ? block->room * 2 : LARGEST_BLOCK;
        if (room < bytes) room = LARGEST_BLOCK;
        block = arena->block = block_new(block, room);
    }
    void *at = block->bytes + block->used;
    block->used += bytes;
    arena->used += bytes;
    return at;
}

void *arena_copy(Arena *arena, const void *from, size_t bytes) {
    void *to = arena_alloc(arena, bytes);
    if (bytes) memcpy(to, from, bytes);
    return to;
}

char *arena_vformat(Arena *arena, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) DIE("bad format: %s", format);
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    return text;
}

char *arena_format(Arena *arena, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = arena_vformat(arena, format, arguments);
    va_end(arguments);
    return text;
}

size_t arena_used(const Arena *arena) {
    return arena->used;
}

void *vec_grow(Arena *arena, void *at, int count, int *room, size_t element) {
    if (*room > INT32_MAX / 2) DIE("a vector of more than %d elements", *room);
    int new_room = *room ? *room * 2 : 8;
    void *to = arena_alloc(arena, element * (size_t)new_room);
    if (count) memcpy(to, at, element * (size_t)count);
    *room = new_room;
    return to;
}
