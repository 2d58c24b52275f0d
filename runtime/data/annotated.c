// annotated: see annotated.h.
#include "annotated.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

const Column *frame_column(const Frame *frame, const char *name) {
    for (size_t c = 0; c < frame->columns; c++)
        if (strcmp(frame->column[c].name, name) == 0) return &frame->column[c];
    return NULL;
}

Status frame_add(Frame *frame, Arena *arena, const Column *column) {
    if (frame->columns % 8 == 0) { // room for eight more
        Column *more = NULL;
        TRY(ARENA_NEW(arena, more, frame->columns + 8));
        if (frame->columns) memcpy(more, frame->column, frame->columns * sizeof *more);
        frame->column = more;
    }
    frame->column[frame->columns++] = *column;
    return STATUS_OK;
}

static Status pick_array(Arena *arena, void *pointer_to_array, const size_t *pick, size_t count, size_t size) {
    char *old = NULL, *fresh = NULL;
    memcpy(&old, pointer_to_array, sizeof old);
    if (!old) return STATUS_OK;
    fresh = arena_alloc(arena, count + 1, size);
    if (!fresh) return arena_exhausted(count, size);
    for (size_t i = 0; i < count; i++) memcpy(fresh + i * size, old + pick[i] * size, size);
    memcpy(pointer_to_array, &fresh, sizeof fresh);
    return STATUS_OK;
}

Status frame_pick(Frame *frame, Arena *arena, const size_t *pick, size_t count) {
    for (size_t i = 0; i < frame->columns; i++) {
        Column *c = &frame->column[i];
        TRY(pick_array(arena, &c->real, pick, count, sizeof *c->real));
        TRY(pick_array(arena, &c->integer, pick, count, sizeof *c->integer));
        TRY(pick_array(arena, &c->flag, pick, count, sizeof *c->flag));
        TRY(pick_array(arena, &c->text, pick, count, sizeof *c->text));
        TRY(pick_array(arena, &c->code, pick, count, sizeof *c->code));
    }
    frame->rows = count;
    return STATUS_OK;
}

const Embedding *annotated_embedding(const Annotated *a, const char *name) {
    for (size_t i = 0; i < a->n_embeddings; i++)
        if (strcmp(a->embedding[i].name, name) == 0) return &a->embedding[i];
    return NULL;
}

static bool in_block(const Annotated *a, const void *pointer) {
    return a->block && (const char *)pointer >= (const char *)a->block &&
           (const char *)pointer < (const char *)a->block + a->block_bytes;
}

static void free_matrix(const Annotated *a, Matrix *m) {
    if (in_block(a, m->start)) m->start = NULL;
    if (in_block(a, m->column)) m->column = NULL;
    if (in_block(a, m->value)) m->value = NULL;
    matrix_free(m);
}

static void free_picture(const Annotated *a, Picture *picture) {
    if (in_block(a, picture->rgb)) *picture = (Picture){0};
    picture_free(picture);
}

void annotated_free(Annotated *a) {
    free_matrix(a, &a->x);
    for (size_t i = 0; i < a->n_layers; i++) free_matrix(a, &a->layer[i].matrix);
    for (size_t i = 0; i < a->n_libraries; i++) {
        free_picture(a, &a->library[i].lowres);
        free_picture(a, &a->library[i].hires);
    }
    arena_free(&a->arena);
    if (a->block) munmap(a->block, a->block_bytes);
    *a = (Annotated){0};
}

Status annotated_take_x(Annotated *a, Matrix *out) {
    TRY(matrix_select(&a->x, NULL, 0, NULL, 0, out)); // names stand in other arenas, arrays perhaps in the block
    free_matrix(a, &a->x);
    a->x = (Matrix){0};
    return STATUS_OK;
}

Status annotated_note(Annotated *a, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = arena_vprintf(&a->arena, format, arguments);
    va_end(arguments);
    return arena_list_add(&a->arena, &a->note, &a->n_notes, text);
}
