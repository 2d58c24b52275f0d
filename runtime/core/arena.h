// arena: memory that is given out piece by piece and taken back all at once.
//
// An Arena is a plain struct in the caller's storage; `arena_init` makes it empty, `arena_free` returns all
// blocks. Pieces are 16-byte aligned and zeroed. Nothing is freed one by one. Not for use by two threads at a
// time.
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "status.h"

typedef struct ArenaBlock ArenaBlock;

typedef struct Arena {
    ArenaBlock *blocks; // newest first
    size_t used;        // bytes handed out
    size_t reserved;    // bytes taken from the system
} Arena;

void arena_init(Arena *arena);
void arena_free(Arena *arena); // leaves it empty and usable again

// `count * size` zeroed bytes; NULL when memory is out or the product overflows. A request of 0 bytes gives a
// valid unique pointer.
void *arena_alloc(Arena *arena, size_t count, size_t size);

// Copies of text; NULL when memory is out. The copy ends in '\0' whatever `length` is.
char *arena_copy(Arena *arena, const char *text, size_t length);
char *arena_printf(Arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
char *arena_vprintf(Arena *arena, const char *format, va_list arguments);
// list[*count] grows by `text`, which is kept as it is, unless an equal one stands there. For lists of few.
MUST_USE Status arena_list_add(Arena *arena, char ***list, size_t *count, char *text);

// The Status for a failed request.
MUST_USE Status arena_exhausted(size_t count, size_t size);

// A Status expression: pointer = room for `count` zeroed elements of its type.
//     TRY(ARENA_NEW(arena, section->ids, n));
#define ARENA_NEW(arena, pointer, count)                                                                               \
    (((pointer) = arena_alloc((arena), (count), sizeof *(pointer))) ? STATUS_OK                                        \
                                                                    : arena_exhausted((count), sizeof *(pointer)))

// The same for a copy of text of known length.
#define ARENA_COPY(arena, pointer, text, length)                                                                       \
    (((pointer) = arena_copy((arena), (text), (length))) ? STATUS_OK : arena_exhausted((length), 1))
