// prepare_tables: the store's tables: those of the source as they are, expression, and ranks of either; and which spots
// are kept.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "prepare_inside.h"

static const size_t TABLE_BYTES = (size_t)4 << 30; // largest table of a section

// ---- Ranks --------------------------------------------------------------------------------------

enum { FEW = 48 }; // columns up to which counting beats sorting

typedef struct Placed {
    float value;
    uint32_t column;
} Placed;

static int by_value(const void *a, const void *b) {
    const Placed *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return (x->column > y->column) - (x->column < y->column);
}

static void rank_by_counting(const float *v, size_t n, float *rank) {
    for (size_t a = 0; a < n; a++) {
        size_t below = 0;
        for (size_t b = 0; b < n; b++) below += v[b] < v[a] || (v[b] == v[a] && b < a);
        rank[a] = (float)(below + 1);
    }
}

void ordinal_ranks(const float *values, size_t n_rows, size_t n_columns, float *ranks) {
    Placed *placed = n_columns > FEW ? malloc(n_columns * sizeof *placed) : NULL;
    for (size_t i = 0; i < n_rows; i++, values += n_columns, ranks += n_columns) {
        if (!placed) {
            rank_by_counting(values, n_columns, ranks);
            continue;
        }
        for (size_t c = 0; c < n_columns; c++) placed[c] = (Placed){values[c], (uint32_t)c};
        qsort(placed, n_columns, sizeof *placed, by_value);
        for (size_t c = 0; c < n_columns; c++) ranks[placed[c].column] = (float)(c + 1);
    }
    free(placed);
}

// ---- The plan -----------------------------------------------------------------------------------

static Status plan_read(Preparation *work, const char *name, size_t *out_read) {
    for (*out_read = 0; *out_read < work->n_read; ++*out_read)
        if (strcmp(work->read[*out_read], name) == 0) return STATUS_OK;
    return ARENA_COPY(&work->arena, work->read[work->n_read++], name, strlen(name));
}

static bool same_expression(const PrepareExpression *a, const PrepareExpression *b) {
    bool list = (!a->list && !b->list) || (a->list && b->list && strcmp(a->list, b->list) == 0);
    return list && a->genes == b->genes && a->count == b->count && a->min_spots == b->min_spots && a->drop == b->drop &&
           a->total == b->total && a->epsilon == b->epsilon && a->log == b->log;
}

static Status check_expression(const PrepareTable *table) {
    const PrepareExpression *e = table->expression;
    const char *name = table->name;
    if (e->genes == GENES_LIST && !e->list)
        return status_make(STATUS_INVALID, "table '%s': a list of genes needs its file", name);
    if (e->genes != GENES_LIST && e->list)
        return status_make(STATUS_INVALID, "table '%s': the list %s is not used by this way to choose genes", name,
                           e->list);
    if (e->genes == GENES_ALL && e->count)
        return status_make(STATUS_INVALID, "table '%s': %zu of all genes; say how they are chosen", name, e->count);
    if (e->genes != GENES_LIST && e->genes != GENES_ALL && e->count == 0)
        return status_make(STATUS_INVALID, "table '%s': how many genes are wanted?", name);
    if (e->min_spots < 0 || isnan(e->total) || isinf(e->total) || !(e->epsilon >= 0) || !isfinite(e->epsilon))
        return status_make(STATUS_INVALID, "table '%s': min_spots %lld, total %g, epsilon %g", name,
                           (long long)e->min_spots, e->total, e->epsilon);
    return STATUS_OK;
}

static Status plan_choice(Preparation *work, const PrepareTable *table, Choice **out) {
    TRY(check_expression(table));
    for (size_t c = 0; c < work->n_choices; c++)
        if (same_expression(work->choice[c].expression, table->expression)) {
            *out = &work->choice[c];
            return STATUS_OK;
        }
    *out = &work->choice[work->n_choices++];
    **out = (Choice){.expression = table->expression, .name = table->name};
    return STATUS_OK;
}

static Status add_table(Preparation *work, PlannedTable table) {
    if (!table.name || !*table.name || strchr(table.name, '/') || table.name[0] == '.')
        return status_make(STATUS_INVALID, "'%s' cannot be the name of a table", table.name ? table.name : "");
    for (size_t t = 0; t < work->n_tables; t++) {
        const PlannedTable *other = &work->table[t];
        if (strcmp(other->name, table.name) != 0) continue;
        if (other->choice == table.choice && other->ranks == table.ranks && (table.choice || other->read == table.read))
            return STATUS_OK; // the same thing twice
        return status_make(STATUS_INVALID, "two different tables are to be named '%s'", table.name);
    }
    work->table[work->n_tables++] = table;
    return STATUS_OK;
}

Status tables_plan(Preparation *work) {
    const PrepareOptions *o = work->options;
    char **all = NULL;
    size_t n_all = 0;
    if (o->all_tables) TRY(source_tables(work->source, work->section, work->n_sections, &work->arena, &all, &n_all));
    TRY(ARENA_NEW(&work->arena, work->read, n_all + o->n_tables + 1));
    TRY(ARENA_NEW(&work->arena, work->table, 2 * n_all + o->n_tables + 1));
    TRY(ARENA_NEW(&work->arena, work->choice, o->n_tables + 1));
    for (size_t t = 0; t < n_all; t++) {
        PlannedTable table = {.name = all[t]};
        TRY(plan_read(work, all[t], &table.read));
        TRY(add_table(work, table));
        table.name = arena_printf(&work->arena, "%s_rank", all[t]);
        if (!table.name) return arena_exhausted(1, strlen(all[t]));
        table.ranks = true;
        TRY(add_table(work, table));
    }
    for (size_t t = 0; t < o->n_tables; t++) {
        const PrepareTable *from = &o->tables[t];
        PlannedTable table = {.name = from->name, .ranks = from->ranks};
        if (!from->source == !from->expression)
            return status_make(STATUS_INVALID, "table '%s' is to come from a table of the source or from expression",
                               from->name ? from->name : "");
        if (from->source) TRY(plan_read(work, from->source, &table.read));
        else TRY(plan_choice(work, from, &table.choice));
        TRY(add_table(work, table));
    }
    return STATUS_OK;
}

// ---- Values -------------------------------------------------------------------------------------

static Status expression_values(Preparation *work, const Choice *choice, const Section *section, Arena *arena,
                                float **out) {
    size_t columns = choice->genes.count, missing = 0;
    if (section->n_spots > TABLE_BYTES / sizeof(float) / columns)
        return status_make(STATUS_NO_MEMORY,
                           "%zu spots x %zu genes are more than the %zu MiB that a table of a section may have; choose "
                           "fewer genes",
                           section->n_spots, columns, TABLE_BYTES >> 20);
    Matrix counts = {0}, scaled = {0}, chosen = {0};
    TRY(counts_matrix(section, &counts));
    Status status = choice_scaled(choice, &counts, choice->target, &scaled);
    matrix_free(&counts);
    if (status == STATUS_OK) status = vocabulary_align(&choice->genes, &scaled, &chosen, &missing);
    matrix_free(&scaled);
    if (status == STATUS_OK && choice->expression->log == LOG_NATURAL) status = matrix_log1p(&chosen);
    if (status == STATUS_OK && choice->expression->log == LOG_TWO) status = matrix_log2p1(&chosen);
    if (status == STATUS_OK) status = ARENA_NEW(arena, *out, section->n_spots * columns);
    for (size_t r = 0; r < chosen.rows && status == STATUS_OK; r++) matrix_row(&chosen, r, *out + r * columns);
    matrix_free(&chosen);
    if (status == STATUS_OK && missing)
        text_printf(&work->report->notes,
                    "section %s: table %s: %zu of %zu genes are not there, or left out, and count as 0\n",
                    section->name, choice->name, missing, columns);
    return status;
}

static Status check_numbers(const SpotTable *table, const Section *section) {
    for (size_t k = 0; k < section->n_spots * table->n_columns; k++)
        if (!isfinite(table->values[k]))
            return status_make(STATUS_MALFORMED, "table '%s': spot %s, column '%s' is not a finite number", table->name,
                               section->ids[k / table->n_columns], table->columns[k % table->n_columns]);
    return STATUS_OK;
}

Status tables_fill(Preparation *work, Section *section) {
    Arena *arena = &section->arena;
    SpotTable *tables = NULL;
    float **values = NULL; // of choices
    TRY(ARENA_NEW(arena, tables, work->n_tables));
    TRY(ARENA_NEW(arena, values, work->n_choices));
    for (size_t t = 0; t < section->n_tables; t++) TRY(check_numbers(&section->tables[t], section));
    for (size_t t = 0; t < work->n_tables; t++) {
        const PlannedTable *plan = &work->table[t];
        SpotTable *to = &tables[t];
        if (plan->choice) {
            float **of = &values[plan->choice - work->choice];
            if (!*of) TRY(expression_values(work, plan->choice, section, arena, of));
            *to = (SpotTable){plan->name, plan->choice->genes.count, plan->choice->genes.gene, *of};
        } else {
            const SpotTable *from = NULL;
            for (size_t k = 0; k < section->n_tables; k++)
                if (strcmp(section->tables[k].name, work->read[plan->read]) == 0) from = &section->tables[k];
            if (!from)
                return status_make(STATUS_INTERNAL, "the table '%s' was asked for and not read",
                                   work->read[plan->read]);
            *to = *from;
            to->name = plan->name;
        }
        if (!plan->ranks) continue;
        const float *ranked = to->values;
        TRY(ARENA_NEW(arena, to->values, section->n_spots * to->n_columns));
        ordinal_ranks(ranked, section->n_spots, to->n_columns, to->values);
        TRY(prepare_going(work, "tables", 0.1));
    }
    section->tables = tables;
    section->n_tables = work->n_tables;
    return STATUS_OK;
}

// ---- Spots that are kept ------------------------------------------------------------------------

static void pick_rows(void *rows, size_t bytes, const size_t *pick, size_t count) {
    char *at = rows; // rows move towards the front only
    for (size_t i = 0; i < count && bytes; i++)
        if (pick[i] != i) memmove(at + i * bytes, at + pick[i] * bytes, bytes);
}

static void keep_rows(Section *s, const size_t *pick, size_t count) {
    pick_rows(s->ids, sizeof *s->ids, pick, count);
    pick_rows(s->array, 2 * sizeof *s->array, pick, count);
    pick_rows(s->array_exact, 2 * sizeof *s->array_exact, pick, count);
    pick_rows(s->pixel, 2 * sizeof *s->pixel, pick, count);
    for (size_t t = 0; t < s->n_tables; t++)
        pick_rows(s->tables[t].values, s->tables[t].n_columns * sizeof(float), pick, count);
    pick_rows((double *)s->spot_values, s->n_spot_values * sizeof(double), pick, count); // the section's own memory
    int64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t from = s->indptr[pick[i]], n = s->indptr[pick[i] + 1] - from;
        memmove(s->indices + at, s->indices + from, (size_t)n * sizeof *s->indices);
        memmove(s->counts + at, s->counts + from, (size_t)n * sizeof *s->counts);
        s->indptr[i] = at; // pick[i] >= i: later rows are still as they were
        at += n;
    }
    s->indptr[count] = at;
    s->n_spots = count;
}

static bool keeps_all(const SpotFilter *f) {
    return !(f->min_counts > 0) && !(f->max_counts > 0) && f->min_genes <= 0 && f->max_genes <= 0 &&
           f->mitochondrial == MITO_NONE;
}

Status section_filter(Preparation *work, Section *section, size_t **out_row, size_t *out_n_before) {
    size_t count = section->n_spots, *pick = NULL;
    *out_n_before = count;
    if (keeps_all(&work->options->keep)) {
        TRY(ARENA_NEW(&section->arena, *out_row, count));
        for (size_t i = 0; i < count; i++) (*out_row)[i] = i;
        return STATUS_OK;
    }
    Matrix counts = {0};
    TRY(counts_matrix(section, &counts));
    Status status = filter_spots(&counts, &work->options->keep, &pick, &count);
    matrix_free(&counts);
    if (status == STATUS_OK && count == 0)
        status = status_make(STATUS_INVALID, "none of %zu spots passes the filter; ask for less", section->n_spots);
    if (status == STATUS_OK) status = ARENA_NEW(&section->arena, *out_row, count);
    if (status == STATUS_OK) {
        memcpy(*out_row, pick, count * sizeof *pick);
        keep_rows(section, pick, count);
    }
    free(pick);
    return status;
}
