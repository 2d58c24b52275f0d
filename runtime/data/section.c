// section: see section.h.
#include "section.h"

#include <stdarg.h>
#include <string.h>

void section_free(Section *section) {
    picture_free(&section->picture);
    arena_free(&section->arena);
    *section = (Section){0};
}

Status section_note(Section *section, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = arena_vprintf(&section->arena, format, arguments);
    va_end(arguments);
    return arena_list_add(&section->arena, &section->note, &section->n_notes, text);
}

Status section_input(Section *section, const char *path) {
    return arena_list_add(&section->arena, &section->inputs, &section->n_inputs,
                          arena_copy(&section->arena, path, strlen(path)));
}
