// counts_reference: an Annotated against what reference_counts.py recorded (reference/counts.json).
#pragma once

#include <math.h>

#include "../../runtime/core/json.h"
#include "../../runtime/data/counts.h"
#include "made.h"

#define REFERENCE "tests/data/reference/"

static Arena reference_arena;

static inline const JsonValue *reference_load(const char *name) {
    char *text = NULL;
    size_t size = 0;
    JsonValue *root = NULL;
    if (!CHECK_OK(file_read(made_below(REFERENCE, name), 1 << 24, &text, &size))) exit(1);
    if (!CHECK_OK(json_parse(name, text, size, &reference_arena, &root))) exit(1);
    free(text);
    return root;
}

static inline double reference_number(const JsonValue *object, const char *key) {
    const JsonValue *value = json_get(object, key);
    return value && value->type == JSON_NUMBER ? value->number : NAN;
}

// FNV-1a of the texts, each followed by a line feed, as 16 hexadecimal digits in one of four rotating buffers.
static inline const char *reference_hash(char *const *texts, size_t count) {
    static char buffers[4][20];
    static int next;
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < count; i++) {
        for (const char *p = texts[i]; *p; p++) h = (h ^ (unsigned char)*p) * 0x100000001B3u;
        h = (h ^ '\n') * 0x100000001B3u;
    }
    snprintf(buffers[next % 4], sizeof buffers[0], "%016llx", (unsigned long long)h);
    return buffers[next++ % 4];
}

static inline void reference_text(const char *file, const char *what, const char *seen, const JsonValue *expected) {
    if (!CHECK(expected && expected->type == JSON_STRING && strcmp(seen, expected->string) == 0))
        printf("    %s, %s: seen %s, expected %s\n", file, what, seen, expected ? expected->string : "(nothing)");
}

static inline void reference_near(const char *file, const char *what, double seen, double expected, double size) {
    if (!CHECK(fabs(seen - expected) <= 1e-9 * (fabs(size) + 1)))
        printf("    %s, %s: seen %.17g, expected %.17g\n", file, what, seen, expected);
}

static inline void reference_matrix(const char *file, const char *what, const Matrix *m, const JsonValue *expected) {
    double sum = 0, weighted = 0;
    bool ascending = true;
    for (size_t r = 0; r < m->rows; r++)
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) {
            double v = (double)m->value[e];
            sum += v;
            weighted += v * (double)(1 + r % 97) * (double)(1 + m->column[e] % 89);
            ascending = ascending && (e == m->start[r] || m->column[e] > m->column[e - 1]) && v != 0;
        }
    double size = reference_number(expected, "absolute");
    bool shape = (double)m->rows == reference_number(expected, "rows") &&
                 (double)m->columns == reference_number(expected, "columns") &&
                 (double)matrix_nnz(m) == reference_number(expected, "nnz");
    if (!CHECK(shape))
        printf("    %s, %s: %zu x %zu, %lld entries\n", file, what, m->rows, m->columns, (long long)matrix_nnz(m));
    CHECK(ascending);
    reference_near(file, what, sum, reference_number(expected, "sum"), size);
    reference_near(file, what, weighted, reference_number(expected, "weighted"), size);
}

static inline void reference_column(const char *file, const Column *c, size_t rows, const JsonValue *expected) {
    static const char *const kinds[] = {"real", "integer", "bool", "text", "category"};
    reference_text(file, c->name, kinds[c->kind], json_get(expected, "kind"));
    double sum = 0, missing = 0;
    for (size_t i = 0; i < rows; i++) {
        if (c->kind == COLUMN_REAL && isnan(c->real[i])) missing++;
        else if (c->kind == COLUMN_REAL) sum += c->real[i];
        else if (c->kind == COLUMN_INTEGER) sum += (double)c->integer[i];
        else if (c->kind == COLUMN_BOOL) sum += c->flag[i];
        else if (c->kind == COLUMN_CATEGORY) sum += c->code[i];
    }
    if (c->kind == COLUMN_TEXT)
        reference_text(file, c->name, reference_hash(c->text, rows), json_get(expected, "hash"));
    else if (c->kind == COLUMN_CATEGORY) {
        reference_text(file, c->name, reference_hash(c->category, c->categories), json_get(expected, "categories"));
        reference_near(file, c->name, sum, reference_number(expected, "codes"), 0);
        const JsonValue *ordered = json_get(expected, "ordered");
        CHECK(ordered && ordered->boolean == c->ordered);
    } else reference_near(file, c->name, sum, reference_number(expected, "sum"), sum);
    if (c->kind == COLUMN_REAL) CHECK(missing == reference_number(expected, "missing"));
}

static inline void reference_frame(const char *file, const Frame *frame, const JsonValue *expected, bool exactly) {
    if (exactly) CHECK(frame->columns == expected->length);
    for (size_t i = 0; i < expected->length; i++) {
        const Column *c = frame_column(frame, expected->keys[i]);
        if (!CHECK(c != NULL)) printf("    %s: no column '%s'\n", file, expected->keys[i]);
        if (c) reference_column(file, c, frame->rows, &expected->items[i]);
    }
}

static inline void reference_picture(const char *file, const Picture *p, const JsonValue *expected) {
    if (!CHECK((expected && expected->type == JSON_OBJECT) == (p->rgb != NULL)) || !p->rgb) return;
    double sum = 0;
    for (size_t i = 0; i < p->width * p->height * 3; i++) sum += p->rgb[i];
    CHECK((double)p->width == reference_number(expected, "width"));
    CHECK((double)p->height == reference_number(expected, "height"));
    reference_near(file, "picture", sum, reference_number(expected, "sum"), 0);
    const JsonValue *first = json_get(expected, "first");
    for (size_t c = 0; c < 3; c++) CHECK(p->rgb[c] == first->items[c].integer);
}

// Everything that was recorded of one file. Columns of obs may be more than those recorded (joined positions).
static inline void reference_annotated(const char *file, const Annotated *a, const JsonValue *r) {
    CHECK((double)a->x.rows == reference_number(r, "n_obs"));
    CHECK((double)a->x.columns == reference_number(r, "n_vars"));
    CHECK((double)a->duplicate_names == reference_number(r, "duplicate_names"));
    reference_text(file, "row names", reference_hash(a->x.row_name, a->x.rows), json_get(r, "row_names"));
    reference_text(file, "column names", reference_hash(a->x.column_name, a->x.columns), json_get(r, "column_names"));
    const JsonValue *x = json_get(r, "x");
    CHECK(a->has_x == (x->type == JSON_OBJECT));
    if (a->has_x) reference_matrix(file, "X", &a->x, x);
    reference_frame(file, &a->obs, json_get(r, "obs"), false);
    reference_frame(file, &a->var, json_get(r, "var"), true);
    const JsonValue *layers = json_get(r, "layers"), *obsm = json_get(r, "obsm"), *spatial = json_get(r, "spatial");
    CHECK(a->n_layers == layers->length);
    for (size_t i = 0; i < a->n_layers; i++) {
        const JsonValue *expected = json_get(layers, a->layer[i].name);
        if (CHECK(expected != NULL)) reference_matrix(file, a->layer[i].name, &a->layer[i].matrix, expected);
    }
    CHECK(a->n_embeddings == obsm->length);
    for (size_t i = 0; i < obsm->length; i++) {
        const Embedding *e = annotated_embedding(a, obsm->keys[i]);
        double sum = 0, weighted = 0;
        if (!CHECK(e != NULL)) continue;
        for (size_t k = 0; k < a->x.rows * e->width; k++)
            sum += e->value[k], weighted += e->value[k] * (double)(1 + k % 101);
        CHECK((double)e->width == reference_number(&obsm->items[i], "width"));
        reference_near(file, e->name, sum, reference_number(&obsm->items[i], "sum"), 1e3);
        reference_near(file, e->name, weighted, reference_number(&obsm->items[i], "weighted"), weighted + 1e5);
    }
    CHECK(a->n_libraries == spatial->length);
    for (size_t i = 0; i < a->n_libraries && i < spatial->length; i++) {
        const JsonValue *expected = json_get(spatial, a->library[i].name);
        if (!CHECK(expected != NULL)) continue;
        reference_picture(file, &a->library[i].hires, json_get(expected, "hires"));
        reference_picture(file, &a->library[i].lowres, json_get(expected, "lowres"));
        reference_near(file, "spot diameter", a->library[i].spot_diameter_fullres,
                       reference_number(expected, "spot_diameter_fullres"), 0);
    }
}
