// Source files in memory, and where in them a byte is.
#include "base/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int sources_add(Sources *sources, const char *path, const char *text, size_t size) {
    if (size > INT32_MAX - 1) {
        errno = EFBIG;
        return -1;
    }
    Arena *arena = sources->arena;
    char *copy = arena_alloc(arena, size + 1);
    if (size) memcpy(copy, text, size);
    VEC(int32_t) line = {0};
    vec_push(arena, &line, 0);
    for (size_t i = 0; i < size; i++)
        if (copy[i] == '\n') vec_push(arena, &line, (int32_t)i + 1);
    Source source = {
        .path = arena_copy(arena, path, strlen(path) + 1),
        .text = copy,
        .size = (int32_t)size,
        .line_begin = line.at,
        .lines = line.count,
    };
    vec_push(arena, &sources->file, source);
    return sources->file.count - 1;
}

int sources_read(Sources *sources, const char *path) {
    FILE *from = fopen(path, "rb");
    if (!from) return -1;
    char *bytes = NULL;
    size_t size = 0, room = 0;
    int error = 0;
    for (;;) {
        if (size == room) {
            size_t more = room ? room * 2 : 1 << 14;
            char *grown = more <= INT32_MAX ? realloc(bytes, more) : NULL;
            if (!grown) {
                error = more <= INT32_MAX ? ENOMEM : EFBIG;
                break;
            }
            bytes = grown;
            room = more;
        }
        errno = 0;
        size_t got = fread(bytes + size, 1, room - size, from);
        size += got;
        if (got == 0) {
            if (ferror(from)) error = errno ? errno : EIO;
            break;
        }
    }
    fclose(from);
    int file = -1;
    if (!error) file = sources_add(sources, path, bytes, size);
    free(bytes);
    if (error) errno = error;
    return file;
}

void sources_place(const Sources *sources, Span at, int *line, int *column) {
    *line = *column = 1;
    if (at.file < 0 || at.file >= sources->file.count) return;
    const Source *source = &sources->file.at[at.file];
    int32_t byte = at.begin < 0 ? 0 : at.begin > source->size ? source->size : at.begin;
    int low = 0, high = source->lines; // line_begin[low] <= byte < line_begin[high]
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (source->line_begin[middle] <= byte) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *line = low + 1;
    for (int32_t i = source->line_begin[low]; i < byte;) {
        uint32_t c;
        int length = utf8_decode(source->text + i, (size_t)(source->size - i), &c);
        i += length ? length : 1;
        if (i <= byte) ++*column;
    }
}
