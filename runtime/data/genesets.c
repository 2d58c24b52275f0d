// genesets: see genesets.h.
#include "genesets.h"

#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"
#include "lines.h"

enum { SETS_LIMIT = 1 << 20 };

void genesets_free(GeneSets *sets) {
    free(sets->set);
    arena_free(&sets->arena);
    *sets = (GeneSets){0};
}

static char *next_field(char **at) {
    char *field = *at, *tab = field ? strchr(field, '\t') : NULL;
    if (tab) *tab = '\0';
    *at = tab ? tab + 1 : NULL;
    return field;
}

static Status copy_set(Arena *arena, char *name, char *description, char *genes, GeneSet *out) {
    size_t most = 1;
    NameIndex seen;
    for (const char *c = genes; *c; c++) most += *c == '\t';
    TRY(ARENA_COPY(arena, out->name, name, strlen(name)));
    TRY(ARENA_COPY(arena, out->description, description, strlen(description)));
    TRY(ARENA_NEW(arena, out->gene, most));
    TRY(name_index_init(&seen, arena, most));
    out->genes = 0;
    for (char *gene; (gene = next_field(&genes));) {
        if (!*gene || name_index_find(&seen, gene) >= 0) continue;
        TRY(ARENA_COPY(arena, out->gene[out->genes], gene, strlen(gene)));
        name_index_add(&seen, out->gene[out->genes++], 0);
    }
    return STATUS_OK;
}

static Status add_line(GeneSets *sets, const char *path, size_t number, char *line, size_t length) {
    char *at = line, *name = next_field(&at), *description = next_field(&at);
    if (length == 0) return STATUS_OK;
    if (!at) {
        sets->short_lines++;
        return STATUS_OK;
    }
    if (geneset_find(sets, name)) {
        sets->repeated_names++;
        return STATUS_OK;
    }
    if (sets->count == SETS_LIMIT)
        return status_make(STATUS_UNSUPPORTED, "%s:%zu: more than %d gene sets", path, number, SETS_LIMIT);
    if ((sets->count & (sets->count - 1)) == 0) { // full at every power of two
        size_t room = sets->count ? 2 * sets->count : 1;
        GeneSet *grown = realloc(sets->set, room * sizeof *grown);
        if (!grown) return status_make(STATUS_NO_MEMORY, "no memory for %zu gene sets", room);
        sets->set = grown;
    }
    TRY(copy_set(&sets->arena, name, description, at, &sets->set[sets->count]));
    sets->count++;
    return STATUS_OK;
}

Status genesets_read(GeneSets *sets, const char *path) {
    LineReader *lines;
    TRY(lines_open(path, &lines));
    GeneSets before = *sets;
    Status status = STATUS_OK;
    for (;;) {
        char *line = NULL;
        size_t length = 0;
        status = lines_next(lines, &line, &length);
        if (status != STATUS_OK || !line) break;
        status = add_line(sets, path, lines_number(lines), line, length);
        if (status != STATUS_OK) break;
    }
    if (status == STATUS_OK && sets->count == before.count && sets->repeated_names == before.repeated_names)
        status = status_make(STATUS_MALFORMED,
                             "%s: no gene set found in %zu lines; a GMT line is NAME, a tab, a description, and a tab "
                             "before every gene",
                             path, lines_number(lines));
    lines_close(lines);
    if (status != STATUS_OK) { // the memory stays with the arena
        sets->count = before.count;
        sets->short_lines = before.short_lines;
        sets->repeated_names = before.repeated_names;
    }
    return status;
}

const GeneSet *geneset_find(const GeneSets *sets, const char *name) {
    for (size_t i = 0; i < sets->count; i++)
        if (strcmp(sets->set[i].name, name) == 0) return &sets->set[i];
    return NULL;
}

Status genesets_choose(GeneSets *sets, const char *const *names, size_t count, size_t *out_missing) {
    size_t kept = 0, missing = 0;
    for (size_t n = 0; n < count; n++) missing += geneset_find(sets, names[n]) == NULL;
    if (out_missing) *out_missing = missing;
    if (missing == count) {
        const char **known = malloc((sets->count + 1) * sizeof *known), *close = NULL;
        for (size_t i = 0; known && i < sets->count; i++) known[i] = sets->set[i].name;
        if (known && count) close = closest_name(names[0], known, sets->count);
        free(known);
        return status_make(STATUS_NOT_FOUND, "none of the %zu gene sets asked for is among %zu (\"%s\"%s%s)", count,
                           sets->count, count ? names[0] : "", close ? "; did you mean " : "", close ? close : "");
    }
    for (size_t i = 0; i < sets->count; i++)
        for (size_t n = 0; n < count; n++)
            if (strcmp(sets->set[i].name, names[n]) == 0) {
                GeneSet moved = sets->set[i];
                sets->set[kept++] = moved;
                break;
            }
    // growing doubles at powers of two: the block must hold the next one from any count
    sets->count = kept;
    size_t room = 1;
    while (room < kept) room *= 2;
    GeneSet *shrunk = realloc(sets->set, room * sizeof *shrunk);
    if (shrunk) sets->set = shrunk;
    return STATUS_OK;
}

Status genesets_membership(const GeneSets *sets, const char *const *vocabulary, size_t genes, uint8_t *out,
                           size_t *matched) {
    Arena arena;
    NameIndex index;
    arena_init(&arena);
    Status status = STATUS_OK;
    memset(out, 0, sets->count * genes);
    for (size_t s = 0; s < sets->count && status == STATUS_OK; s++) {
        const GeneSet *set = &sets->set[s];
        arena_free(&arena);
        status = name_index_init(&index, &arena, set->genes);
        for (size_t g = 0; g < set->genes && status == STATUS_OK; g++) name_index_add(&index, set->gene[g], 0);
        size_t found = 0;
        for (size_t g = 0; g < genes && status == STATUS_OK; g++)
            if (vocabulary[g] && name_index_find(&index, vocabulary[g]) >= 0) {
                out[s * genes + g] = 1;
                found++;
            }
        if (matched) matched[s] = found;
    }
    arena_free(&arena);
    return status;
}

void genesets_scores(const uint8_t *membership, size_t count, const double *values, size_t rows, size_t genes,
                     double *scores) {
    for (size_t s = 0; s < count; s++) {
        const uint8_t *member = membership + s * genes;
        size_t members = 0;
        for (size_t g = 0; g < genes; g++) members += member[g];
        for (size_t r = 0; r < rows; r++) {
            double sum = 0;
            for (size_t g = 0; g < genes; g++)
                if (member[g]) sum += values[r * genes + g];
            scores[r * count + s] = sum / (double)(members ? members : 1);
        }
    }
}
