// counts_pick: choosing the columns of a file of counts by name, for all readers (counts_inside.h).
#include <string.h>

#include "../core/strings.h"
#include "counts_inside.h"

Column column_of_texts(const char *name, char **texts) {
    return (Column){.name = (char *)name, .kind = COLUMN_TEXT, .text = texts};
}

// Where in the file each name that is asked for stands first.
static void find_names(const NameIndex *asked, char *const *names, size_t columns, int64_t *at) {
    for (size_t c = 0; names && c < columns; c++) {
        int64_t i = names[c] ? name_index_find(asked, names[c]) : -1;
        if (i >= 0 && at[i] < 0) at[i] = (int64_t)c;
    }
}

// By name first, then by id; what is asked for twice is an error.
static Status pick_by_name(const char *path, const CountsOptions *options, char *const *names, char *const *ids,
                           const uint8_t *allowed, size_t columns, Arena *arena, Picked *p) {
    NameIndex asked; // few; the names of the file are many
    int64_t *by_name = NULL, *by_id = NULL, *same = NULL;
    uint8_t *taken = NULL;
    size_t n = options->n_genes;
    TRY(name_index_init(&asked, arena, n + 1));
    TRY(ARENA_NEW(arena, by_name, n + 1));
    TRY(ARENA_NEW(arena, by_id, n + 1));
    TRY(ARENA_NEW(arena, same, n + 1));
    TRY(ARENA_NEW(arena, taken, columns + 1));
    for (size_t i = 0; i < n; i++) {
        int64_t before = name_index_add(&asked, options->genes[i], (int64_t)i);
        same[i] = before >= 0 ? before : (int64_t)i;
        by_name[i] = by_id[i] = -1;
    }
    find_names(&asked, names, columns, by_name);
    find_names(&asked, ids, columns, by_id);
    for (size_t i = 0; i < n; i++) {
        int64_t at = by_name[same[i]];
        if (at < 0) at = by_id[same[i]];
        if (at < 0 || (allowed && !allowed[at])) {
            p->missing++;
            continue;
        }
        if (taken[at]) return status_make(STATUS_INVALID, "%s: gene %s is asked for twice", path, options->genes[i]);
        taken[at] = 1;
        p->file_column[p->count++] = (size_t)at;
    }
    if (p->count == 0 && options->n_genes > 0)
        return status_make(STATUS_MISMATCH,
                           "%s: none of the %zu genes asked for is in it (the first: %s; it has %zu "
                           "genes, the first: %s)",
                           path, options->n_genes, options->genes[0], columns, columns ? names[0] : "none");
    return STATUS_OK;
}

Status pick_columns(const char *path, const CountsOptions *options, char **names, char *const *ids,
                    const uint8_t *allowed, size_t columns, Annotated *a, Picked *p) {
    Arena *arena = &a->arena;
    *p = (Picked){0};
    // Only what is kept competes for names: features of another type do not make genes into NAME-1.
    char **kept = NULL;
    size_t *where = NULL, n = 0;
    TRY(ARENA_NEW(arena, kept, columns + 1));
    TRY(ARENA_NEW(arena, where, columns + 1));
    for (size_t c = 0; c < columns; c++) {
        if (allowed && !allowed[c]) continue;
        where[n] = c;
        kept[n++] = names[c];
    }
    if (!options->repeated_names) {
        TRY(matrix_unique_names(kept, n, arena, &a->duplicate_names));
        for (size_t i = 0; i < n; i++) names[where[i]] = kept[i];
    } else {
        NameIndex seen;
        TRY(name_index_init(&seen, arena, n + 1));
        for (size_t i = 0; i < n; i++) a->duplicate_names += name_index_add(&seen, kept[i], (int64_t)i) >= 0;
    }
    p->all = !options->genes && n == columns;
    if (options->genes) {
        TRY(ARENA_NEW(arena, p->file_column, options->n_genes + 1));
        TRY(pick_by_name(path, options, names, ids, allowed, columns, arena, p));
        a->genes_missing = p->missing;
    } else {
        p->file_column = where;
        p->count = n;
    }
    p->choice.columns = p->count;
    p->choice.ascending = true;
    if (p->all) return STATUS_OK;
    TRY(ARENA_NEW(arena, p->choice.number, columns + 1));
    memset(p->choice.number, 0xFF, (columns + 1) * sizeof *p->choice.number);
    for (size_t i = 0; i < p->count; i++) {
        p->choice.number[p->file_column[i]] = (int32_t)i;
        if (i > 0 && p->file_column[i] < p->file_column[i - 1]) p->choice.ascending = false;
    }
    return STATUS_OK;
}

Status place_columns(const Picked *p, char **names, char **ids, Frame *var, Annotated *a) {
    Arena *arena = &a->arena;
    TRY(ARENA_NEW(arena, a->x.column_name, p->count + 1));
    if (ids) TRY(ARENA_NEW(arena, a->x.column_id, p->count + 1));
    for (size_t i = 0; i < p->count; i++) {
        a->x.column_name[i] = names[p->file_column[i]];
        if (ids) a->x.column_id[i] = ids[p->file_column[i]];
    }
    if (!p->all) TRY(frame_pick(var, arena, p->file_column, p->count));
    a->var = *var;
    a->var.rows = p->count;
    return STATUS_OK;
}
