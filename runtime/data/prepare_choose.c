// prepare_choose: which genes an expression table has, and what spots are scaled to: decisions over the counts of all
// sections. Totals and numbers of spots are added up section by section; only where a choice needs variances (or a
// median over what min_spots leaves) the counts of all sections are held, 8 bytes an entry.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hvg.h"
#include "prepare_inside.h"

struct Gathering {
    Preparation *work;
    VocabularyBuilder totals; // genes in order of appearance with their counts
    VocabularyBuilder spots;  // the same genes; `total` is the number of spots that have the gene
    size_t n_spots;           // of all sections
    double **sum;             // [n_choices][n_spots] totals of spots for a median that needs no second look
    bool hold;
    Matrix *counts; // [n_sections] if `hold`
    char **names;   // one block for the held matrices' gene names per section: they live in `arena`
    Arena arena;
};

// What a choice asks of the first pass.
static bool needs_variance(PrepareGenes genes) {
    return genes == GENES_HVG_SEURAT || genes == GENES_HVG_SEURAT_V3 || genes == GENES_HIGH_MEAN_VARIANCE;
}

static bool fixed_by_store(const Preparation *work) {
    return work->old != NULL;
}

static bool needs_counts(const Preparation *work, const PrepareExpression *e) {
    if (fixed_by_store(work)) return false;
    return e->genes != GENES_LIST || e->total < 0 || e->min_spots > 0;
}

static bool needs_matrices(const PrepareExpression *e) {
    return needs_variance(e->genes) || (e->total < 0 && e->min_spots > 0);
}

bool choices_need_counts(const Preparation *work) {
    for (size_t c = 0; c < work->n_choices; c++)
        if (needs_counts(work, work->choice[c].expression)) return true;
    return false;
}

Status counts_matrix(const Section *section, Matrix *out) {
    *out = (Matrix){0};
    if (!section->indptr || !section->n_genes)
        return status_make(STATUS_NOT_FOUND, "section %s has no counts, which expression and filters need",
                           section->name);
    int64_t nnz = section->indptr[section->n_spots];
    TRY(matrix_create(section->n_spots, section->n_genes, nnz, out));
    memcpy(out->start, section->indptr, (section->n_spots + 1) * sizeof *out->start);
    memcpy(out->column, section->indices, (size_t)nnz * sizeof *out->column);
    for (int64_t e = 0; e < nnz; e++) out->value[e] = (float)section->counts[e];
    out->column_name = section->genes;
    return STATUS_OK;
}

// ---- Gathering ----------------------------------------------------------------------------------

Status gathering_create(Preparation *work, Gathering **out) {
    Gathering *g = calloc(1, sizeof *g);
    *out = g;
    if (!g) return arena_exhausted(1, sizeof *g);
    g->work = work;
    for (size_t c = 0; c < work->n_choices; c++) {
        const PrepareExpression *e = work->choice[c].expression;
        g->hold = g->hold || (needs_counts(work, e) && needs_matrices(e));
    }
    TRY(ARENA_NEW(&g->arena, g->sum, work->n_choices));
    return ARENA_NEW(&g->arena, g->counts, work->n_sections);
}

void gathering_free(Gathering *g) {
    if (!g) return;
    for (size_t s = 0; g->counts && s < g->work->n_sections; s++) matrix_free(&g->counts[s]);
    for (size_t c = 0; g->sum && c < g->work->n_choices; c++) free(g->sum[c]);
    builder_free(&g->totals);
    builder_free(&g->spots);
    arena_free(&g->arena);
    free(g);
}

static Status keep_names(Gathering *g, Matrix *counts) {
    char **names = NULL;
    TRY(ARENA_NEW(&g->arena, names, counts->columns));
    for (size_t c = 0; c < counts->columns; c++)
        TRY(ARENA_COPY(&g->arena, names[c], counts->column_name[c], strlen(counts->column_name[c])));
    counts->column_name = names;
    return STATUS_OK;
}

// Totals of the section's spots over the genes that a choice leaves in, which it knows already.
static Status add_sums(Gathering *g, const Matrix *counts) {
    for (size_t c = 0; c < g->work->n_choices; c++) {
        const Choice *choice = &g->work->choice[c];
        if (!(choice->expression->total < 0) || choice->expression->min_spots > 0) continue;
        double *more = realloc(g->sum[c], (g->n_spots + counts->rows) * sizeof *more);
        Matrix left = {0};
        if (!more) return arena_exhausted(g->n_spots + counts->rows, sizeof *more);
        g->sum[c] = more;
        TRY(choice_scaled(choice, counts, 0, &left));
        matrix_row_sums(&left, more + g->n_spots);
        matrix_free(&left);
    }
    return STATUS_OK;
}

Status gathering_add(Gathering *g, const Section *section, size_t number) {
    Matrix counts = {0};
    TRY(counts_matrix(section, &counts));
    Status status = add_sums(g, &counts);
    g->n_spots += section->n_spots;
    if (status == STATUS_OK) status = builder_add(&g->totals, &counts, NULL);
    if (status == STATUS_OK) {
        int64_t nnz = matrix_nnz(&counts);
        Matrix ones = counts;
        ones.value = malloc(((size_t)nnz + 1) * sizeof *ones.value);
        if (!ones.value) status = arena_exhausted((size_t)nnz, sizeof *ones.value);
        for (int64_t e = 0; e < nnz && status == STATUS_OK; e++) ones.value[e] = 1;
        if (status == STATUS_OK) status = builder_add(&g->spots, &ones, NULL);
        free(ones.value);
    }
    if (status == STATUS_OK && g->hold) status = keep_names(g, &counts);
    if (status == STATUS_OK && g->hold) g->counts[number] = counts;
    else matrix_free(&counts);
    return status;
}

// ---- Deciding -----------------------------------------------------------------------------------

// The columns that the choice leaves in, scaled to `target` if that is > 0.
Status choice_scaled(const Choice *choice, const Matrix *counts, double target, Matrix *out) {
    const PrepareExpression *e = choice->expression;
    size_t *pick = malloc((counts->columns + 1) * sizeof *pick), kept = 0;
    *out = (Matrix){0};
    if (!pick) return arena_exhausted(counts->columns, sizeof *pick);
    for (size_t c = 0; c < counts->columns; c++) {
        const char *name = counts->column_name[c];
        if (gene_is_mitochondrial(name, e->drop)) continue;
        if (choice->scarce.count && name_index_find(&choice->scarce_index, name) >= 0) continue;
        pick[kept++] = c;
    }
    Status status = matrix_select(counts, NULL, 0, pick, kept, out);
    free(pick);
    if (status == STATUS_OK && target > 0)
        status = normalise_total(out, &(NormaliseOptions){.target_sum = target, .epsilon = e->epsilon}, NULL);
    if (status != STATUS_OK) matrix_free(out);
    return status;
}

static Status find_scarce(const Gathering *g, Choice *choice) {
    const VocabularyBuilder *b = &g->spots;
    const char **names = calloc(b->genes + 1, sizeof *names);
    size_t count = 0;
    if (!names) return arena_exhausted(b->genes, sizeof *names);
    for (size_t i = 0; i < b->genes; i++)
        if (b->total[i] < (double)choice->expression->min_spots) names[count++] = b->gene[i];
    Status status = vocabulary_from(names, count, &choice->scarce);
    free(names);
    if (status == STATUS_OK) status = name_index_init(&choice->scarce_index, &choice->scarce.arena, count + 1);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        name_index_add(&choice->scarce_index, choice->scarce.gene[i], 0);
    return status;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Totals that could not be taken before it was known which genes are scarce.
static Status late_sums(const Gathering *g, const Choice *choice, double *sum) {
    for (size_t s = 0; s < g->work->n_sections; s++) {
        Matrix left = {0};
        TRY(choice_scaled(choice, &g->counts[s], 0, &left));
        matrix_row_sums(&left, sum);
        sum += left.rows;
        matrix_free(&left);
    }
    return STATUS_OK;
}

// The median of the spots' totals, those > 0, over all sections.
static Status find_median(Gathering *g, Choice *choice) {
    double **of = &g->sum[choice - g->work->choice], *sum = *of;
    size_t count = 0;
    if (!sum) {
        *of = sum = malloc((g->n_spots + 1) * sizeof *sum);
        if (!sum) return arena_exhausted(g->n_spots, sizeof *sum);
        TRY(late_sums(g, choice, sum));
    }
    for (size_t i = 0; i < g->n_spots; i++)
        if (sum[i] > 0) sum[count++] = sum[i];
    if (count == 0)
        return status_make(STATUS_INVALID, "table '%s': no spot has counts to take a median of", choice->name);
    qsort(sum, count, sizeof *sum, ascending);
    choice->target = count % 2 ? sum[count / 2] : 0.5 * (sum[count / 2 - 1] + sum[count / 2]);
    return STATUS_OK;
}

typedef struct Candidate {
    double total;
    size_t position;
} Candidate;

static int by_total(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    if (x->total != y->total) return x->total > y->total ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

// Genes that are left in, in order of appearance; `shared`: only those that all sections have.
static Status candidates(const Gathering *g, const Choice *choice, bool shared, Candidate **out, size_t *out_count) {
    const VocabularyBuilder *b = &g->totals;
    Candidate *list = malloc((b->genes + 1) * sizeof *list);
    size_t count = 0;
    if (!list) return arena_exhausted(b->genes, sizeof *list);
    for (size_t i = 0; i < b->genes; i++) {
        if (shared && b->in_samples[i] < g->work->n_sections) continue;
        if (choice->scarce.count && name_index_find(&choice->scarce_index, b->gene[i]) >= 0) continue;
        if (choice->expression->genes != GENES_HIGH_MEAN_VARIANCE &&
            gene_is_mitochondrial(b->gene[i], choice->expression->drop))
            continue;
        list[count++] = (Candidate){b->total[i], i};
    }
    *out = list;
    *out_count = count;
    return STATUS_OK;
}

static Status vocabulary_of(const Gathering *g, const Candidate *list, size_t count, Vocabulary *out) {
    const char **names = malloc((count + 1) * sizeof *names);
    if (!names) return arena_exhausted(count, sizeof *names);
    for (size_t i = 0; i < count; i++) names[i] = g->totals.gene[list[i].position];
    Status status = vocabulary_from(names, count, out);
    free(names);
    return status;
}

// One matrix under another, columns already the same.
static Status stack(Matrix *parts, size_t count, size_t columns, Matrix *out) {
    size_t rows = 0;
    int64_t nnz = 0;
    for (size_t s = 0; s < count; s++) {
        rows += parts[s].rows;
        nnz += matrix_nnz(&parts[s]);
    }
    TRY(matrix_create(rows, columns, nnz, out));
    size_t row = 0;
    int64_t at = 0;
    for (size_t s = 0; s < count; s++) {
        int64_t n = matrix_nnz(&parts[s]);
        for (size_t r = 0; r < parts[s].rows; r++) out->start[++row] = at + parts[s].start[r + 1];
        memcpy(out->column + at, parts[s].column, (size_t)n * sizeof *out->column);
        memcpy(out->value + at, parts[s].value, (size_t)n * sizeof *out->value);
        at += n;
        matrix_free(&parts[s]);
    }
    return STATUS_OK;
}

// The genes of `shared` over the spots of all sections: counts, or (seurat) logarithms of scaled counts.
static Status stacked(const Gathering *g, const Choice *choice, const Vocabulary *shared, Matrix *out) {
    size_t n = g->work->n_sections, missing;
    bool seurat = choice->expression->genes == GENES_HVG_SEURAT;
    double target = !seurat ? 0 : choice->target > 0 ? choice->target : 10000;
    Matrix *parts = calloc(n, sizeof *parts);
    if (!parts) return arena_exhausted(n, sizeof *parts);
    Status status = STATUS_OK;
    for (size_t s = 0; s < n && status == STATUS_OK; s++) {
        Matrix scaled = {0};
        status = choice_scaled(choice, &g->counts[s], target, &scaled);
        if (status == STATUS_OK && seurat) status = matrix_log1p(&scaled);
        if (status == STATUS_OK) status = vocabulary_align(shared, &scaled, &parts[s], &missing);
        matrix_free(&scaled);
        if (status == STATUS_OK) status = prepare_going(g->work, "choosing genes", 0.5 * (double)s / (double)n);
    }
    if (status == STATUS_OK) status = stack(parts, n, shared->count, out);
    for (size_t s = 0; s < n; s++) matrix_free(&parts[s]);
    free(parts);
    return status;
}

static Status choose_variable(const Gathering *g, Choice *choice, const Vocabulary *shared) {
    Matrix all = {0};
    HvgResult found = {0};
    HvgOptions options = {.flavour = choice->expression->genes == GENES_HVG_SEURAT ? HVG_SEURAT : HVG_SEURAT_V3,
                          .genes = choice->expression->count};
    TRY(stacked(g, choice, shared, &all));
    Status status = hvg_select(&all, &options, &found);
    matrix_free(&all);
    TRY(status);
    const char **names = malloc((found.count + 1) * sizeof *names);
    size_t count = 0;
    if (!names) status = arena_exhausted(found.count, sizeof *names);
    for (size_t c = 0; c < found.columns && status == STATUS_OK; c++)
        if (found.chosen[c]) names[count++] = shared->gene[c];
    if (status == STATUS_OK) status = vocabulary_from(names, count, &choice->genes);
    free(names);
    hvg_free(&found);
    return status;
}

static Status choose_high_mean_variance(const Gathering *g, Choice *choice) {
    size_t n = g->work->n_sections;
    Matrix *left = calloc(n, sizeof *left);
    const Matrix **slides = malloc(n * sizeof *slides);
    Status status = left && slides ? STATUS_OK : arena_exhausted(n, sizeof *left);
    Choice everything = {.expression = &(PrepareExpression){0}, // the rule drops genes itself, after choosing
                         .scarce = choice->scarce,
                         .scarce_index = choice->scarce_index};
    for (size_t s = 0; s < n && status == STATUS_OK; s++) {
        status = choice_scaled(&everything, &g->counts[s], 0, &left[s]);
        slides[s] = &left[s];
    }
    if (status == STATUS_OK)
        status = vocabulary_high_mean_variance(slides, n, choice->expression->count, 0, choice->expression->drop,
                                               &choice->genes);
    for (size_t s = 0; left && s < n; s++) matrix_free(&left[s]);
    free(left);
    free(slides);
    return status;
}

static Status choose(Gathering *g, Choice *choice) {
    const PrepareExpression *e = choice->expression;
    Candidate *list = NULL;
    size_t count = 0;
    if (e->min_spots > 0) TRY(find_scarce(g, choice));
    choice->target = e->total > 0 ? e->total : 0;
    if (e->total < 0) TRY(find_median(g, choice));
    if (e->genes == GENES_LIST) return vocabulary_read(e->list, e->count, &choice->genes);
    if (e->genes == GENES_HIGH_MEAN_VARIANCE) return choose_high_mean_variance(g, choice);
    TRY(candidates(g, choice, e->genes != GENES_TOP_TOTAL, &list, &count));
    Status status = STATUS_OK;
    if (count == 0)
        status = status_make(STATUS_INVALID,
                             "no gene is left to choose from: %zu genes in all, %zu sections, of which all must have a "
                             "gene; ask for fewer sections or less of min_spots and drop",
                             g->totals.genes, g->work->n_sections);
    if (status == STATUS_OK && (e->genes == GENES_TOP_MEAN || e->genes == GENES_TOP_TOTAL)) {
        qsort(list, count, sizeof *list, by_total);
        if (count > e->count) count = e->count;
    }
    if (status == STATUS_OK && e->genes != GENES_HVG_SEURAT && e->genes != GENES_HVG_SEURAT_V3) {
        status = vocabulary_of(g, list, count, &choice->genes);
    } else if (status == STATUS_OK) {
        Vocabulary shared = {0};
        status = vocabulary_of(g, list, count, &shared);
        if (status == STATUS_OK) status = choose_variable(g, choice, &shared);
        vocabulary_free(&shared);
    }
    free(list);
    return status;
}

// The columns and the target that the sections in the store have.
static Status choose_as_before(Preparation *work, Choice *choice) {
    const PrepareExpression *e = choice->expression;
    size_t table = 0;
    TRY(store_find_table(work->old, choice->name, &table));
    const StoreTable *t = &store_info(work->old)->tables[table];
    if (e->min_spots > 0 && e->total != 0)
        return status_make(
            STATUS_UNSUPPORTED,
            "which genes are too scarce (min_spots = %lld) to count in a spot's total was decided by the "
            "sections that the store was made of; prepare all sections together",
            (long long)e->min_spots);
    choice->target = e->total > 0 ? e->total : e->total < 0 ? old_target(work, choice->name) : 0;
    if (e->total != 0 && !(choice->target > 0))
        return status_make(STATUS_MISMATCH,
                           "the store does not say what its spots were scaled to; prepare all sections "
                           "together");
    return vocabulary_from((const char *const *)t->columns, t->n_columns, &choice->genes);
}

static Status decide(Preparation *work, Gathering *g, Choice *choice) {
    const PrepareExpression *e = choice->expression;
    Status status = STATUS_OK;
    if (fixed_by_store(work)) {
        status = choose_as_before(work, choice);
    } else if (g) {
        status = choose(g, choice);
    } else {
        choice->target = e->total > 0 ? e->total : 0;
        status = vocabulary_read(e->list, e->count, &choice->genes);
    }
    if (status == STATUS_OK && choice->genes.count == 0)
        status = status_make(STATUS_INVALID, "no gene was chosen; ask for more, or leave fewer out");
    TRY_IN(status, "table '%s'", choice->name);
    if (choice->genes.repeated)
        text_printf(&work->report->notes, "table %s: %zu names that the list repeats were dropped\n", choice->name,
                    choice->genes.repeated);
    if (e->count && choice->genes.count != e->count && !fixed_by_store(work))
        text_printf(&work->report->notes, "table %s: %zu genes were chosen where %zu are asked for\n", choice->name,
                    choice->genes.count, e->count);
    return STATUS_OK;
}

Status gathering_decide(Gathering *g) {
    for (size_t c = 0; c < g->work->n_choices; c++) TRY(decide(g->work, g, &g->work->choice[c]));
    return STATUS_OK;
}

Status choices_alone(Preparation *work) {
    for (size_t c = 0; c < work->n_choices; c++) TRY(decide(work, NULL, &work->choice[c]));
    return STATUS_OK;
}

void choices_free(Preparation *work) {
    for (size_t c = 0; work->choice && c < work->n_choices; c++) {
        vocabulary_free(&work->choice[c].genes);
        vocabulary_free(&work->choice[c].scarce);
    }
}
