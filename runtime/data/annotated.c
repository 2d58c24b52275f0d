// annotated: see annotated.h.
#include "annotated.h"

#include <string.h>

const Column *frame_column(const Frame *frame, const char *name) {
    for (size_t c = 0; c < frame->columns; c++)
        if (strcmp(frame->column[c].name, name) == 0) return &frame->column[c];
    return NULL;
}

const Embedding *annotated_embedding(const Annotated *a, const char *name) {
    for (size_t i = 0; i < a->n_embeddings; i++)
        if (strcmp(a->embedding[i].name, name) == 0) return &a->embedding[i];
    return NULL;
}

void annotated_free(Annotated *a) {
    matrix_free(&a->x);
    for (size_t i = 0; i < a->n_layers; i++) matrix_free(&a->layer[i].matrix);
    for (size_t i = 0; i < a->n_libraries; i++) {
        picture_free(&a->library[i].lowres);
        picture_free(&a->library[i].hires);
    }
    arena_free(&a->arena);
    *a = (Annotated){0};
}
