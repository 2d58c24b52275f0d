// section: see section.h. Notes and inputs grow by one at a time: there are few of them.
#include "section.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void section_free(Section *section) {
    picture_free(&section->picture);
    arena_free(&section->arena);
    *section = (Section){0};
}

static Status append(Arena *arena, char ***list, size_t *count, char *text) {
    char **more = NULL;
    TRY(ARENA_NEW(arena, more, *count + 1));
    if (*count) memcpy(more, *list, *count * sizeof *more);
    more[(*count)++] = text;
    *list = more;
    return STATUS_OK;
}

Status section_note(Section *section, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = length < 0 ? NULL : arena_alloc(&section->arena, (size_t)length + 1, 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(arguments);
    if (!text) return arena_exhausted(1, 200);
    return append(&section->arena, &section->note, &section->n_notes, text);
}

Status section_input(Section *section, const char *path) {
    char *copy = NULL;
    for (size_t i = 0; i < section->n_inputs; i++)
        if (strcmp(section->inputs[i], path) == 0) return STATUS_OK;
    TRY(ARENA_COPY(&section->arena, copy, path, strlen(path)));
    return append(&section->arena, &section->inputs, &section->n_inputs, copy);
}
