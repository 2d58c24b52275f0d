// source_fill: what readers of counts found (annotated.h) as parts of a Section (source_inside.h).
#include <math.h>
#include <string.h>

#include "../core/strings.h"
#include "positions.h"
#include "source_inside.h"

Status source_spots(Section *s, size_t count) {
    Arena *arena = &s->arena;
    s->n_spots = count;
    s->no_array = true;
    TRY(ARENA_NEW(arena, s->ids, count + 1));
    TRY(ARENA_NEW(arena, s->array, 2 * count + 1));
    TRY(ARENA_NEW(arena, s->array_exact, 2 * count + 1));
    TRY(ARENA_NEW(arena, s->pixel, 2 * count + 1));
    TRY(ARENA_NEW(arena, s->genes, 1));
    TRY(ARENA_NEW(arena, s->indptr, count + 1));
    TRY(ARENA_NEW(arena, s->indices, 1));
    TRY(ARENA_NEW(arena, s->counts, 1));
    for (size_t i = 0; i < 2 * count; i++) {
        s->array[i] = -1;
        s->array_exact[i] = -1;
    }
    return STATUS_OK;
}

Status source_counts(const char *path, const char *what, const Matrix *m, const size_t *pick, Section *s) {
    Arena *arena = &s->arena;
    size_t entries = 0, inexact = 0;
    for (size_t i = 0; i < s->n_spots; i++) entries += (size_t)(m->start[pick[i] + 1] - m->start[pick[i]]);
    s->n_genes = m->columns;
    TRY(ARENA_NEW(arena, s->genes, m->columns + 1));
    TRY(ARENA_NEW(arena, s->indices, entries + 1));
    TRY(ARENA_NEW(arena, s->counts, entries + 1));
    for (size_t g = 0; g < m->columns; g++) {
        if (!m->column_name || !m->column_name[g])
            return status_make(STATUS_MALFORMED, "%s: %s: gene %zu has no name", path, what, g + 1);
        TRY(ARENA_COPY(arena, s->genes[g], m->column_name[g], strlen(m->column_name[g])));
    }
    size_t n = 0;
    for (size_t i = 0; i < s->n_spots; i++) {
        for (int64_t e = m->start[pick[i]]; e < m->start[pick[i] + 1]; e++) {
            float value = m->value[e];
            if (!(value >= 0) || value != floorf(value) || value > 4294967040.0f) // the largest f32 below 2^32
                return status_make(
                    STATUS_MISMATCH,
                    "%s: %s holds %g for gene %s of spot %s where a count is expected, a whole number >= 0", path, what,
                    (double)value, m->column_name[m->column[e]], s->ids[i]);
            if (value == 0) continue;
            inexact += value > 16777216.0f;
            s->indices[n] = m->column[e];
            s->counts[n++] = (uint32_t)value;
        }
        s->indptr[i + 1] = (int64_t)n;
    }
    if (inexact)
        TRY(section_note(s, "%zu counts above 16,777,216 are read in 32-bit floating point and may be rounded",
                         inexact));
    return STATUS_OK;
}

static double number_of(const Column *c, size_t row) {
    return c->real ? c->real[row] : c->integer ? (double)c->integer[row] : (double)c->flag[row];
}

static bool is_number(const Column *c) {
    return c->real || c->integer || c->flag;
}

Status source_spot_values(const Frame *obs, const size_t *pick, Section *s) {
    size_t n = 0, at = 0;
    double *values = NULL;
    for (size_t c = 0; c < obs->columns; c++) n += is_number(&obs->column[c]);
    if (n == 0) return STATUS_OK;
    TRY(ARENA_NEW(&s->arena, values, s->n_spots * n + 1));
    TRY(ARENA_NEW(&s->arena, s->spot_value_names, n));
    for (size_t c = 0; c < obs->columns; c++) {
        const Column *column = &obs->column[c];
        if (!is_number(column)) continue;
        TRY(ARENA_COPY(&s->arena, s->spot_value_names[at], column->name, strlen(column->name)));
        for (size_t i = 0; i < s->n_spots; i++) values[i * n + at] = number_of(column, pick[i]);
        at++;
    }
    s->spot_values = values;
    s->n_spot_values = n;
    return STATUS_OK;
}

Status source_notes(const Annotated *a, Section *s) {
    for (size_t i = 0; i < a->n_notes; i++) TRY(section_note(s, "%s", a->note[i]));
    if (a->duplicate_names)
        TRY(section_note(s, "%zu genes had the name of one before them and were named NAME-1, NAME-2, ...",
                         a->duplicate_names));
    return STATUS_OK;
}

Status source_embedding(const char *path, const Embedding *e, const size_t *pick, Section *s, SpotTable *out) {
    Arena *arena = &s->arena;
    *out = (SpotTable){.n_columns = e->width};
    char *name = NULL;
    TRY(ARENA_COPY(arena, name, e->name, strlen(e->name)));
    out->name = name;
    TRY(ARENA_NEW(arena, out->columns, e->width + 1));
    TRY(ARENA_NEW(arena, out->values, s->n_spots * e->width + 1));
    for (size_t c = 0; c < e->width; c++) {
        out->columns[c] = e->column ? arena_copy(arena, e->column[c], strlen(e->column[c]))
                                    : arena_printf(arena, "%s_%zu", e->name, c + 1);
        if (!out->columns[c]) return arena_exhausted(1, 64);
    }
    for (size_t i = 0; i < s->n_spots; i++)
        for (size_t c = 0; c < e->width; c++) {
            float value = (float)e->value[pick[i] * e->width + c];
            if (!isfinite(value))
                return status_make(STATUS_MALFORMED, "%s: table '%s', column %s: %g for spot %s is not a finite number",
                                   path, e->name, out->columns[c], e->value[pick[i] * e->width + c], s->ids[i]);
            out->values[i * e->width + c] = value;
        }
    return STATUS_OK;
}

// Rows of Visium alternate between even and odd columns; a column is 50 um wide and a row 50 sqrt(3) um high.
static bool is_visium(const Section *s, const PositionsCheck *c) {
    for (size_t i = 0; i < s->n_spots; i++)
        if ((s->array[2 * i] + s->array[2 * i + 1]) % 2 != 0) return false;
    double ratio = c->array_spacing_y / c->array_spacing_x;
    return c->worst_residual < 0.5 && ratio > 1.64 && ratio < 1.82; // NaN: false
}

Status source_visium_microns(Section *s) {
    PositionsCheck check;
    SpotPositions p = {.count = s->n_spots, .id = s->ids, .pixel = s->pixel};
    Arena scratch;
    if (s->no_array || s->n_spots < 4) return STATUS_OK;
    arena_init(&scratch);
    Status status = ARENA_NEW(&scratch, p.in_tissue, s->n_spots);
    if (status == STATUS_OK) status = ARENA_NEW(&scratch, p.array, 2 * s->n_spots);
    for (size_t i = 0; status == STATUS_OK && i < s->n_spots; i++) {
        p.in_tissue[i] = 1;
        p.array[2 * i] = s->array[2 * i + 1]; // the row first
        p.array[2 * i + 1] = s->array[2 * i];
    }
    if (status == STATUS_OK) status = positions_check(&p, NULL, 0, 0, 1, &scratch, &check);
    if (status == STATUS_OK && is_visium(s, &check)) s->microns_per_pixel = 50 / check.array_spacing_x;
    arena_free(&scratch);
    return status;
}
