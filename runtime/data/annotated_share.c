// annotated_share: see annotated_share.h. One walk over the structure does both: in the child `pass` copies a piece
// into the block, in the parent it checks that the piece lies there.
#include "annotated_share.h"

#include <string.h>

typedef struct Walk {
    const char *path;
    GuardBlock *block;
    bool copy;
} Walk;

static Status astray(const Walk *w) {
    return status_make(STATUS_MALFORMED, "%s: reading it went astray; the file is damaged, copy or download it again",
                       w->path);
}

// One array; NULL stays NULL.
static Status pass(const Walk *w, void *pointer_to_pointer, size_t count, size_t size) {
    void *pointer = NULL;
    memcpy(&pointer, pointer_to_pointer, sizeof pointer);
    if (!pointer) return STATUS_OK;
    if (!w->copy) return guard_holds(w->block, pointer, count, size) ? STATUS_OK : astray(w);
    if (guard_holds(w->block, pointer, 0, 0)) return STATUS_OK;
    void *copy = guard_take(w->block, count, size);
    if (!copy) return guard_exhausted(w->block, w->path, count, size);
    if (count > 0 && size > 0) memcpy(copy, pointer, count * size);
    memcpy(pointer_to_pointer, &copy, sizeof copy);
    return STATUS_OK;
}

static Status pass_text(const Walk *w, char **text) {
    if (!*text) return STATUS_OK;
    if (!w->copy) return guard_holds_text(w->block, *text) ? STATUS_OK : astray(w);
    return pass(w, text, strlen(*text) + 1, 1);
}

// Many short texts: one piece for all that are not there yet. What begins in the block ends in it (guard.h).
static Status pass_texts(const Walk *w, char ***texts, size_t count) {
    if (!*texts) return STATUS_OK;
    TRY(pass(w, texts, count, sizeof **texts));
    size_t bytes = 0;
    uintptr_t low, high;
    guard_range(w->block, &low, &high);
    char **text = *texts;
    for (size_t i = 0; i < count; i++) {
        if (!text[i] || ((uintptr_t)text[i] >= low && (uintptr_t)text[i] < high)) continue;
        if (!w->copy) return astray(w);
        bytes += strlen(text[i]) + 1;
    }
    char *all = bytes ? guard_take(w->block, bytes, 1) : NULL;
    if (bytes && !all) return guard_exhausted(w->block, w->path, bytes, 1);
    for (size_t i = 0; bytes && i < count; i++) {
        if (!text[i] || ((uintptr_t)text[i] >= low && (uintptr_t)text[i] < high)) continue;
        size_t length = strlen(text[i]) + 1;
        text[i] = memcpy(all, text[i], length);
        all += length;
    }
    return STATUS_OK;
}

// Signs are gathered instead of compared, in blocks of a fixed length, so that compilers use vector instructions.
static bool all_below(const int32_t *column, size_t count, size_t columns) {
    enum { BLOCK = 64 };
    const uint32_t top = (uint32_t)columns - 1;
    uint32_t outside = 0;
    size_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK)
        for (size_t j = 0; j < BLOCK; j++) outside |= (uint32_t)column[i + j] | (top - (uint32_t)column[i + j]);
    for (; i < count; i++) outside |= (uint32_t)column[i] | (top - (uint32_t)column[i]);
    return columns > 0 && outside >> 31 == 0;
}

static Status pass_matrix(const Walk *w, Matrix *m) {
    size_t nnz = w->copy ? (size_t)matrix_nnz(m) : 0;
    if (m->columns > INT32_MAX || m->rows > ((size_t)1 << 40)) return astray(w);
    TRY(pass(w, &m->start, m->rows + 1, sizeof *m->start));
    if (!w->copy && m->start) {
        nnz = (size_t)m->start[m->rows];
        if (m->start[0] != 0 || !m->column || !m->value) return astray(w);
        for (size_t r = 0; r < m->rows; r++)
            if (m->start[r + 1] < m->start[r]) return astray(w);
    }
    TRY(pass(w, &m->column, nnz, sizeof *m->column));
    TRY(pass(w, &m->value, nnz, sizeof *m->value));
    if (!w->copy && nnz > 0 && !all_below(m->column, nnz, m->columns)) return astray(w);
    TRY(pass_texts(w, &m->row_name, m->rows));
    TRY(pass_texts(w, &m->column_name, m->columns));
    TRY(pass_texts(w, &m->column_id, m->columns));
    if (m->pending && !guard_holds(w->block, m->pending, 1, 1)) return astray(w);
    m->arena = (Arena){0};
    return STATUS_OK;
}

static Status pass_frame(const Walk *w, Frame *frame) {
    TRY(pass(w, &frame->column, frame->columns, sizeof *frame->column));
    TRY(pass_text(w, &frame->index_name));
    for (size_t i = 0; i < frame->columns; i++) {
        Column *c = &frame->column[i];
        TRY(pass_text(w, &c->name));
        TRY(pass(w, &c->real, frame->rows, sizeof *c->real));
        TRY(pass(w, &c->integer, frame->rows, sizeof *c->integer));
        TRY(pass(w, &c->flag, frame->rows, sizeof *c->flag));
        TRY(pass_texts(w, &c->text, c->text ? frame->rows : 0));
        TRY(pass(w, &c->code, frame->rows, sizeof *c->code));
        TRY(pass_texts(w, &c->category, c->categories));
        for (size_t r = 0; c->code && r < frame->rows; r++)
            if (c->code[r] < -1 || c->code[r] >= (int64_t)c->categories) return astray(w);
        bool there = c->kind == COLUMN_REAL      ? c->real != NULL
                     : c->kind == COLUMN_INTEGER ? c->integer != NULL
                     : c->kind == COLUMN_BOOL    ? c->flag != NULL
                     : c->kind == COLUMN_TEXT    ? c->text != NULL
                                                 : c->code != NULL;
        if (!there || !c->name) return astray(w);
    }
    return STATUS_OK;
}

static Status pass_picture(const Walk *w, Picture *picture) {
    if (!picture->rgb) {
        *picture = (Picture){0};
        return STATUS_OK;
    }
    if (picture->width > IMAGE_LONGEST_SIDE || picture->height > IMAGE_LONGEST_SIDE) return astray(w);
    return pass(w, &picture->rgb, picture->width * picture->height, 3);
}

static Status pass_annotated(const Walk *w, Annotated *a) {
    TRY(pass_matrix(w, &a->x));
    TRY(pass_frame(w, &a->obs));
    TRY(pass_frame(w, &a->var));
    TRY(pass(w, &a->layer, a->n_layers, sizeof *a->layer));
    for (size_t i = 0; i < a->n_layers; i++) {
        TRY(pass_text(w, &a->layer[i].name));
        TRY(pass_matrix(w, &a->layer[i].matrix));
    }
    TRY(pass(w, &a->embedding, a->n_embeddings, sizeof *a->embedding));
    for (size_t i = 0; i < a->n_embeddings; i++) {
        Embedding *e = &a->embedding[i];
        TRY(pass_text(w, &e->name));
        if (e->width && a->x.rows > SIZE_MAX / 16 / e->width) return astray(w);
        TRY(pass(w, &e->value, a->x.rows * e->width, sizeof *e->value));
        TRY(pass_texts(w, &e->column, e->width));
    }
    TRY(pass(w, &a->library, a->n_libraries, sizeof *a->library));
    for (size_t i = 0; i < a->n_libraries; i++) {
        TRY(pass_text(w, &a->library[i].name));
        TRY(pass_picture(w, &a->library[i].lowres));
        TRY(pass_picture(w, &a->library[i].hires));
    }
    TRY(pass_text(w, &a->source));
    TRY(pass_texts(w, &a->note, a->n_notes));
    a->arena = (Arena){0};
    a->block = NULL;
    return STATUS_OK;
}

Status annotated_share(const char *path, const Annotated *annotated, GuardBlock *block) {
    Annotated *shared = GUARD_NEW(block, Annotated, 1);
    if (!shared) return guard_exhausted(block, path, 1, sizeof *shared);
    *shared = *annotated;
    Walk walk = {path, block, true};
    TRY(pass_annotated(&walk, shared));
    block->result = shared;
    return STATUS_OK;
}

Status annotated_receive(const char *path, GuardBlock *block, Annotated *out) {
    *out = (Annotated){0};
    Walk walk = {path, block, false};
    Status status = STATUS_OK;
    Annotated *shared = block->result;
    if (!shared || !guard_holds(block, shared, 1, sizeof *shared)) status = astray(&walk);
    else status = pass_annotated(&walk, shared);
    if (status != STATUS_OK) {
        guard_block_free(block);
        return status;
    }
    *out = *shared;
    arena_init(&out->arena);
    arena_init(&out->x.arena);
    out->block = block->base;
    out->block_bytes = block->mapped;
    *block = (GuardBlock){0};
    return STATUS_OK;
}
