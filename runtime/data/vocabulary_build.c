// vocabulary_build: gene lists made from samples: totals over samples with Moran's I, and Stem's high-mean,
// high-variance genes. See vocabulary.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hvg.h"
#include "vocabulary.h"
#include "vocabulary_inside.h"

void builder_free(VocabularyBuilder *b) {
    free(b->gene);
    free(b->total);
    free(b->moran);
    free(b->with_moran);
    free(b->in_samples);
    arena_free(&b->arena);
    *b = (VocabularyBuilder){0};
}

static bool grow(void **array, size_t room, size_t size) {
    void *grown = realloc(*array, room * size);
    if (grown) *array = grown;
    return grown != NULL;
}

// Room for `more` genes; the index is made anew, since its size is fixed.
static Status reserve(VocabularyBuilder *b, size_t more) {
    if (b->genes + more <= b->room) return STATUS_OK;
    size_t room = 2 * (b->genes + more);
    bool ok = grow((void **)&b->gene, room, sizeof *b->gene) && grow((void **)&b->total, room, sizeof *b->total) &&
              grow((void **)&b->moran, room, sizeof *b->moran) &&
              grow((void **)&b->with_moran, room, sizeof *b->with_moran) &&
              grow((void **)&b->in_samples, room, sizeof *b->in_samples);
    if (!ok) return status_make(STATUS_NO_MEMORY, "no memory for a vocabulary of %zu genes", room);
    TRY(name_index_init(&b->index, &b->arena, room));
    for (size_t i = 0; i < b->genes; i++) name_index_add(&b->index, b->gene[i], (int64_t)i);
    b->room = room;
    return STATUS_OK;
}

static Status place_gene(VocabularyBuilder *b, const char *name, size_t *out_at) {
    int64_t at = name_index_find(&b->index, name);
    if (at < 0) {
        at = (int64_t)b->genes;
        TRY(ARENA_COPY(&b->arena, b->gene[at], name, strlen(name)));
        name_index_add(&b->index, b->gene[at], at);
        b->total[at] = b->moran[at] = 0;
        b->with_moran[at] = b->in_samples[at] = 0;
        b->genes++;
    }
    *out_at = (size_t)at;
    return STATUS_OK;
}

Status builder_add(VocabularyBuilder *b, const Matrix *m, const double *moran) {
    if (!m->column_name && m->columns)
        return status_make(STATUS_INVALID, "a sample of %zu columns without gene names adds nothing to a vocabulary",
                           m->columns);
    TRY(matrix_check_values(m, true, "a vocabulary"));
    TRY(reserve(b, m->columns));
    double *sums = calloc(m->columns + 1, sizeof *sums);
    if (!sums) return status_make(STATUS_NO_MEMORY, "no memory for %zu sums", m->columns);
    matrix_column_sums(m, sums);
    Status status = STATUS_OK;
    size_t *last_seen = b->in_samples; // counts samples; a gene met twice within one is counted once
    size_t before = b->samples++;
    for (size_t c = 0; c < m->columns && status == STATUS_OK; c++) {
        size_t at = 0;
        if (!m->column_name[c] || !*m->column_name[c]) continue;
        status = place_gene(b, m->column_name[c], &at);
        if (status != STATUS_OK) break;
        b->total[at] += sums[c];
        if (last_seen[at] <= before) last_seen[at]++;
        if (moran && !isnan(moran[c])) {
            b->moran[at] += moran[c];
            b->with_moran[at]++;
        }
    }
    free(sums);
    return status;
}

// rank[position] = place of the gene in descending order of score
static void rank_of(RankedGene *gene, size_t count, double *rank) {
    sort_ranked(gene, count);
    for (size_t i = 0; i < count; i++) rank[gene[i].position] = (double)i;
}

// Genes of the builder, best first.
static Status order_genes(const VocabularyBuilder *b, double spatial_weight, RankedGene *gene) {
    for (size_t i = 0; i < b->genes; i++) gene[i] = (RankedGene){b->total[i], i};
    if (!(spatial_weight > 0)) {
        sort_ranked(gene, b->genes);
        return STATUS_OK;
    }
    double *rank = malloc((2 * b->genes + 1) * sizeof *rank);
    if (!rank) return status_make(STATUS_NO_MEMORY, "no memory to rank %zu genes", b->genes);
    double *spatial = rank + b->genes;
    rank_of(gene, b->genes, rank);
    for (size_t i = 0; i < b->genes; i++)
        gene[i] = (RankedGene){b->with_moran[i] ? b->moran[i] / (double)b->with_moran[i] : 0, i};
    rank_of(gene, b->genes, spatial);
    for (size_t i = 0; i < b->genes; i++)
        gene[i] = (RankedGene){-((1 - spatial_weight) * rank[i] + spatial_weight * spatial[i]), i};
    sort_ranked(gene, b->genes);
    free(rank);
    return STATUS_OK;
}

Status builder_choose(const VocabularyBuilder *b, size_t count, double spatial_weight, const char *const *first,
                      size_t n_first, Vocabulary *out) {
    *out = (Vocabulary){0};
    if (!(spatial_weight >= 0 && spatial_weight <= 1))
        return status_make(STATUS_INVALID, "the weight of Moran's I is %g; use 0 to 1", spatial_weight);
    if (b->genes == 0) return status_make(STATUS_INVALID, "a vocabulary needs at least one sample with genes");
    RankedGene *gene = malloc((b->genes + 1) * sizeof *gene);
    const char **names = malloc((b->genes + n_first + 1) * sizeof *names);
    Status status = gene && names ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for %zu genes", b->genes);
    if (status == STATUS_OK) status = order_genes(b, spatial_weight, gene);
    size_t listed = 0;
    for (size_t i = 0; i < n_first && status == STATUS_OK; i++)
        if (name_index_find(&b->index, first[i]) >= 0) names[listed++] = first[i];
    for (size_t i = 0; i < b->genes && status == STATUS_OK; i++) names[listed++] = b->gene[gene[i].position];
    if (status == STATUS_OK) status = vocabulary_from(names, listed, out);
    if (status == STATUS_OK) {
        if (out->count > count) out->count = count;
        out->repeated = 0; // the pathway genes stand among the others as well
    }
    free(gene);
    free(names);
    return status;
}

// ---- Stem's list --------------------------------------------------------------------------------

// Highly variable genes of one slide after its own filters, as flags over the shared genes (columns of `counts`).
static Status hvg_of_slide(const Matrix *counts, size_t wanted, uint8_t *flag) {
    size_t *rows = NULL, *genes = NULL, n_rows = 0, n_genes = 0;
    Matrix filled = {0}, kept = {0};
    HvgResult found = {0};
    Status status = filter_spots(counts, &(SpotFilter){.min_genes = 1}, &rows, &n_rows);
    if (status == STATUS_OK) status = matrix_select(counts, rows, n_rows, NULL, 0, &filled);
    if (status == STATUS_OK) status = filter_genes(&filled, &(GeneFilter){.min_spots = 1}, &genes, &n_genes);
    if (status == STATUS_OK) status = matrix_select(&filled, NULL, 0, genes, n_genes, &kept);
    if (status == STATUS_OK) status = normalise_total(&kept, &(NormaliseOptions){0}, NULL);
    if (status == STATUS_OK) status = matrix_log1p(&kept);
    HvgOptions options = {.flavour = HVG_SEURAT, .genes = wanted, .nan_is_zero = true};
    if (status == STATUS_OK) status = hvg_select(&kept, &options, &found);
    for (size_t i = 0; i < found.count && status == STATUS_OK; i++) flag[genes[found.gene[i]]] = 1;
    hvg_free(&found);
    matrix_free(&kept);
    matrix_free(&filled);
    free(rows);
    free(genes);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Names that every slide has, sorted.
static Status shared_genes(const Matrix *const *slides, size_t count, Vocabulary *out) {
    int64_t *column = NULL;
    size_t missing, kept = 0;
    for (size_t s = 0; s < count; s++)
        if (!slides[s]->column_name)
            return status_make(STATUS_INVALID, "slide %zu has no gene names to choose from", s);
    TRY(vocabulary_from((const char *const *)slides[0]->column_name, slides[0]->columns, out));
    column = malloc((out->count + 1) * sizeof *column);
    Status status = column ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for %zu genes", out->count);
    for (size_t s = 1; s < count && status == STATUS_OK; s++) {
        status = vocabulary_columns(out, slides[s], column, &missing);
        kept = 0;
        for (size_t i = 0; i < out->count && status == STATUS_OK; i++)
            if (column[i] >= 0) out->gene[kept++] = out->gene[i];
        if (status == STATUS_OK) out->count = kept;
    }
    if (status == STATUS_OK && out->count) qsort(out->gene, out->count, sizeof *out->gene, by_name);
    free(column);
    return status;
}

// Sums and sums of squared differences over all spots of all slides: mean and sample variance per gene.
static void pooled_moments(const Matrix *aligned, size_t count, size_t genes, double *mean, double *variance) {
    double n = 0;
    for (size_t s = 0; s < count; s++) n += (double)aligned[s].rows;
    for (size_t s = 0; s < count; s++)
        for (int64_t e = 0; e < matrix_nnz(&aligned[s]); e++) mean[aligned[s].column[e]] += aligned[s].value[e];
    for (size_t g = 0; g < genes; g++) {
        mean[g] /= n;
        variance[g] = n * mean[g] * mean[g];
    }
    for (size_t s = 0; s < count; s++)
        for (int64_t e = 0; e < matrix_nnz(&aligned[s]); e++) {
            double m = mean[aligned[s].column[e]], d = aligned[s].value[e] - m;
            variance[aligned[s].column[e]] += d * d - m * m;
        }
}

static Status choose_both(const Vocabulary *shared, const uint8_t *flag, const double *mean, const double *variance,
                          size_t genes, MitoRule drop, Vocabulary *out) {
    RankedGene *by_mean = malloc((shared->count + 1) * sizeof *by_mean), *by_spread = NULL;
    uint8_t *votes = calloc(shared->count + 1, 1);
    const char **names = malloc((shared->count + 1) * sizeof *names);
    by_spread = malloc((shared->count + 1) * sizeof *by_spread);
    Status status = STATUS_OK;
    if (!by_mean || !by_spread || !votes || !names) {
        status = status_make(STATUS_NO_MEMORY, "no memory for %zu genes", shared->count);
    } else {
        size_t n = 0, chosen = 0;
        for (size_t g = 0; g < shared->count; g++) {
            if (!flag[g] || gene_is_mitochondrial(shared->gene[g], drop)) continue;
            by_mean[n] = (RankedGene){mean[g], g};
            by_spread[n++] = (RankedGene){variance[g], g};
        }
        sort_ranked(by_mean, n);
        sort_ranked(by_spread, n);
        for (size_t i = 0; i < n && i < genes; i++) {
            votes[by_mean[i].position]++;
            votes[by_spread[i].position]++;
        }
        for (size_t g = 0; g < shared->count; g++)
            if (votes[g] == 2) names[chosen++] = shared->gene[g];
        status = vocabulary_from(names, chosen, out);
    }
    free(by_mean);
    free(by_spread);
    free(votes);
    free(names);
    return status;
}

Status vocabulary_high_mean_variance(const Matrix *const *slides, size_t count, size_t genes, size_t hvg, MitoRule drop,
                                     Vocabulary *out) {
    *out = (Vocabulary){0};
    if (count == 0 || genes == 0)
        return status_make(STATUS_INVALID, "choosing %zu genes from %zu slides; both must be > 0", genes, count);
    Vocabulary shared = {0};
    Matrix *aligned = calloc(count, sizeof *aligned);
    uint8_t *flag = NULL;
    double *mean = NULL;
    size_t missing;
    Status status = aligned ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for %zu slides", count);
    if (status == STATUS_OK) status = shared_genes(slides, count, &shared);
    if (status == STATUS_OK) {
        flag = calloc(shared.count + 1, 1);
        mean = calloc(2 * shared.count + 1, sizeof *mean);
        if (!flag || !mean) status = status_make(STATUS_NO_MEMORY, "no memory for %zu genes", shared.count);
    }
    for (size_t s = 0; s < count && status == STATUS_OK; s++) {
        status = vocabulary_align(&shared, slides[s], &aligned[s], &missing);
        if (status == STATUS_OK) status = hvg_of_slide(&aligned[s], hvg ? hvg : 2000, flag);
        if (status != STATUS_OK) status = status_context(status, "slide %zu", s);
    }
    if (status == STATUS_OK) {
        pooled_moments(aligned, count, shared.count, mean, mean + shared.count);
        status = choose_both(&shared, flag, mean, mean + shared.count, genes, drop, out);
    }
    for (size_t s = 0; aligned && s < count; s++) matrix_free(&aligned[s]);
    free(aligned);
    free(flag);
    free(mean);
    vocabulary_free(&shared);
    return status;
}
