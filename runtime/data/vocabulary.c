// vocabulary: see vocabulary.h. Reading, writing, looking up, adding up.
#include "vocabulary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/json.h"
#include "lines.h"
#include "vocabulary_inside.h"

enum { LIST_LIMIT = 64 << 20 }; // bytes of a gene list

void vocabulary_free(Vocabulary *v) {
    arena_free(&v->arena);
    *v = (Vocabulary){0};
}

Status vocabulary_from(const char *const *names, size_t count, Vocabulary *out) {
    NameIndex seen;
    *out = (Vocabulary){0};
    Status status = name_index_init(&seen, &out->arena, count);
    if (status == STATUS_OK) status = ARENA_NEW(&out->arena, out->gene, count + 1);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        if (name_index_find(&seen, names[i]) >= 0) {
            out->repeated++;
            continue;
        }
        status = ARENA_COPY(&out->arena, out->gene[out->count], names[i], strlen(names[i]));
        if (status == STATUS_OK) name_index_add(&seen, out->gene[out->count++], 0);
    }
    if (status != STATUS_OK) vocabulary_free(out);
    return status;
}

static Status names_of_json(const char *path, const char *text, size_t size, Arena *arena, const char ***out,
                            size_t *out_count) {
    JsonValue *value;
    TRY(json_parse(path, text, size, arena, &value));
    if (value->type != JSON_ARRAY)
        return status_make(STATUS_MALFORMED, "%s: a gene list is a JSON array of names, not %s", path,
                           json_type_name(value->type));
    TRY(ARENA_NEW(arena, *out, value->length + 1));
    for (size_t i = 0; i < value->length; i++) {
        if (value->items[i].type != JSON_STRING || value->items[i].length == 0)
            return status_make(STATUS_MALFORMED, "%s: element %zu of the gene list is %s, not a name", path, i,
                               value->items[i].type == JSON_STRING ? "empty" : json_type_name(value->items[i].type));
        (*out)[i] = value->items[i].string;
    }
    *out_count = value->length;
    return STATUS_OK;
}

static Status names_of_text(const char *path, Arena *arena, const char ***out, size_t *out_count) {
    LineReader *lines;
    TRY(lines_open(path, &lines));
    size_t room = 0;
    Status status = STATUS_OK;
    *out_count = 0;
    for (;;) {
        char *line = NULL, *copy;
        size_t length = 0;
        status = lines_next(lines, &line, &length);
        if (status != STATUS_OK || !line) break;
        if (length == 0) continue;
        if (length > 1000 || memchr(line, '\t', length)) {
            status = status_make(STATUS_MALFORMED, "%s:%zu: a gene list has one name a line; this line has %s", path,
                                 lines_number(lines), length > 1000 ? "more than 1000 bytes" : "tabs");
            break;
        }
        if (*out_count == room) {
            const char **grown;
            room = room ? 2 * room : 256;
            status = ARENA_NEW(arena, grown, room);
            if (status != STATUS_OK) break;
            if (*out_count) memcpy(grown, *out, *out_count * sizeof *grown);
            *out = grown;
        }
        status = ARENA_COPY(arena, copy, line, length);
        if (status != STATUS_OK) break;
        (*out)[(*out_count)++] = copy;
    }
    lines_close(lines);
    return status;
}

Status vocabulary_read(const char *path, size_t most, Vocabulary *out) {
    char *text = NULL;
    size_t size = 0, count = 0, first = 0;
    const char **names = NULL;
    Arena arena;
    *out = (Vocabulary){0};
    TRY(file_read(path, LIST_LIMIT, &text, &size));
    arena_init(&arena);
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) first = 3;
    while (first < size && strchr(" \t\r\n", text[first])) first++;
    bool json = first < size && (text[first] == '[' || text[first] == '{');
    Status status = json ? names_of_json(path, text + first, size - first, &arena, &names, &count)
                         : names_of_text(path, &arena, &names, &count);
    if (status == STATUS_OK && count == 0)
        status =
            status_make(STATUS_MALFORMED, "%s: the gene list is empty; give a JSON array or one name a line", path);
    if (status == STATUS_OK) status = vocabulary_from(names, most && most < count ? most : count, out);
    arena_free(&arena);
    free(text);
    return status;
}

Status vocabulary_write(const Vocabulary *v, const char *path) {
    Text text = {0};
    JsonWriter json = json_writer(4);
    bool plain = string_ends_with(path, ".txt");
    json_begin_array(&json);
    for (size_t i = 0; i < v->count; i++) {
        json_string(&json, v->gene[i]);
        text_printf(&text, "%s\n", v->gene[i]);
    }
    json_end_array(&json);
    text_add(&json.text, "\n");
    const Text *written = plain ? &text : &json.text;
    Status status = text_status(written);
    if (status == STATUS_OK) status = file_write_atomic(path, text_string(written), written->length);
    text_free(&text);
    json_writer_free(&json);
    return status;
}

Status vocabulary_columns(const Vocabulary *v, const Matrix *m, int64_t *column, size_t *out_missing) {
    Arena arena;
    NameIndex index;
    if (!m->column_name && m->columns)
        return status_make(STATUS_INVALID,
                           "a matrix of %zu columns without gene names cannot be matched to a gene list", m->columns);
    arena_init(&arena);
    Status status = name_index_init(&index, &arena, v->count);
    for (size_t i = 0; i < v->count && status == STATUS_OK; i++) {
        name_index_add(&index, v->gene[i], (int64_t)i);
        column[i] = -1;
    }
    for (size_t c = 0; c < m->columns && status == STATUS_OK; c++) {
        int64_t at = m->column_name[c] ? name_index_find(&index, m->column_name[c]) : -1;
        if (at >= 0) column[at] = (int64_t)c;
    }
    arena_free(&arena);
    *out_missing = 0;
    for (size_t i = 0; i < v->count && status == STATUS_OK; i++) *out_missing += column[i] < 0;
    return status;
}

Status vocabulary_align(const Vocabulary *v, const Matrix *m, Matrix *out, size_t *out_missing) {
    *out = (Matrix){0};
    int64_t *column = malloc((v->count + 1) * sizeof *column);
    size_t *pick = malloc((v->count + 1) * sizeof *pick), found = 0;
    int32_t *place = malloc((v->count + 1) * sizeof *place);
    Status status =
        column && pick && place ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for %zu genes", v->count);
    if (status == STATUS_OK) status = vocabulary_columns(v, m, column, out_missing);
    for (size_t i = 0; i < v->count && status == STATUS_OK; i++)
        if (column[i] >= 0) {
            pick[found] = (size_t)column[i];
            place[found++] = (int32_t)i;
        }
    if (status == STATUS_OK) status = matrix_select(m, NULL, 0, pick, found, out);
    if (status == STATUS_OK) { // ascending stays ascending: place ascends
        int64_t nnz = matrix_nnz(out);
        for (int64_t e = 0; e < nnz; e++) out->column[e] = place[out->column[e]];
        out->columns = v->count;
        out->column_id = NULL; // ids of genes that are not there would be missing
        status = ARENA_NEW(&out->arena, out->column_name, v->count + 1);
        for (size_t i = 0; i < v->count && status == STATUS_OK; i++)
            status = ARENA_COPY(&out->arena, out->column_name[i], v->gene[i], strlen(v->gene[i]));
        if (status != STATUS_OK) matrix_free(out);
    }
    free(column);
    free(pick);
    free(place);
    return status;
}

// ---- Order --------------------------------------------------------------------------------------

static int by_score(const void *a, const void *b) {
    const RankedGene *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

void sort_ranked(RankedGene *gene, size_t count) {
    if (count) qsort(gene, count, sizeof *gene, by_score);
}

Status top_columns(const Matrix *m, TopBy by, size_t count, size_t *order, size_t *out_count) {
    *out_count = 0;
    TRY(matrix_check_values(m, false, "ranking genes"));
    RankedGene *gene = malloc((m->columns + 1) * sizeof *gene);
    double *value = calloc(2 * m->columns + 1, sizeof *value);
    Status status =
        gene && value ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory to rank %zu genes", m->columns);
    if (status == STATUS_OK && by == TOP_TOTAL) matrix_column_sums(m, value);
    if (status == STATUS_OK && by == TOP_SPOTS) {
        int64_t nnz = matrix_nnz(m);
        for (int64_t e = 0; e < nnz; e++) value[m->column[e]] += m->value[e] > 0;
    }
    if (status == STATUS_OK && (by == TOP_MEAN || by == TOP_DEVIATION)) {
        double *mean = by == TOP_MEAN ? value : value + m->columns;
        status = column_moments(m, 1, mean, by == TOP_MEAN ? value + m->columns : value); // variance orders as sd
    }
    for (size_t c = 0; c < m->columns && status == STATUS_OK; c++)
        gene[c] = (RankedGene){isnan(value[c]) ? -INFINITY : value[c], c};
    if (status == STATUS_OK) sort_ranked(gene, m->columns);
    for (size_t i = 0; i < m->columns && i < count && status == STATUS_OK; i++)
        order[(*out_count)++] = gene[i].position;
    free(gene);
    free(value);
    return status;
}
