// hvg: see hvg.h.
#include "hvg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loess.h"
#include "normalise.h"

void hvg_free(HvgResult *r) {
    free(r->chosen);
    free(r->mean);
    free(r->variance);
    free(r->score);
    free(r->rank);
    free(r->gene);
    *r = (HvgResult){0};
}

static Status result_create(size_t columns, HvgResult *r) {
    *r = (HvgResult){.columns = columns};
    r->chosen = calloc(columns + 1, sizeof *r->chosen);
    r->mean = calloc(columns + 1, sizeof *r->mean);
    r->variance = calloc(columns + 1, sizeof *r->variance);
    r->score = calloc(columns + 1, sizeof *r->score);
    r->rank = calloc(columns + 1, sizeof *r->rank);
    r->gene = calloc(columns + 1, sizeof *r->gene);
    if (!r->chosen || !r->mean || !r->variance || !r->score || !r->rank || !r->gene)
        return status_make(STATUS_NO_MEMORY, "no memory to choose among %zu genes", columns);
    for (size_t c = 0; c < columns; c++) r->rank[c] = -1;
    return STATUS_OK;
}

// ---- seurat -------------------------------------------------------------------------------------

// Mean and variance (ddof 1) of expm1(x) per column, two passes.
static Status unlogged_moments(const Matrix *m, double *mean, double *variance) {
    int64_t nnz = matrix_nnz(m);
    float *value = malloc(((size_t)nnz + 1) * sizeof *value);
    if (!value) return status_make(STATUS_NO_MEMORY, "no memory for %lld unlogged values", (long long)nnz);
    Matrix unlogged = *m;
    matrix_map(&unlogged, expm1, value);
    unlogged.value = value;
    Status status = matrix_check_values(&unlogged, false, "undoing the logarithm (is this log1p data?)");
    if (status == STATUS_OK) status = column_moments(&unlogged, 1, mean, variance);
    free(value);
    return status;
}

// Bin of every gene: `bins` equal widths over the means, open left and closed right (pandas.cut).
static Status bin_means(const double *mean, size_t columns, size_t bins, size_t *bin) {
    double *edge = malloc((bins + 1) * sizeof *edge);
    if (!edge) return status_make(STATUS_NO_MEMORY, "no memory for %zu bins", bins);
    double low = mean[0], high = mean[0];
    for (size_t c = 1; c < columns; c++) {
        low = fmin(low, mean[c]);
        high = fmax(high, mean[c]);
    }
    bool flat = low == high;
    if (flat) {
        double margin = low != 0 ? 0.001 * fabs(low) : 0.001;
        low -= margin;
        high += margin;
    }
    double step = (high - low) / (double)bins;
    for (size_t b = 0; b <= bins; b++) edge[b] = b == bins ? high : (double)b * step + low;
    if (!flat) edge[0] -= 0.001 * (high - low);
    for (size_t c = 0; c < columns; c++) {
        size_t lo = 1, hi = bins; // the first edge >= mean
        while (lo < hi) {
            size_t mid = (lo + hi) / 2;
            if (edge[mid] < mean[c]) lo = mid + 1;
            else hi = mid;
        }
        bin[c] = lo - 1;
    }
    free(edge);
    return STATUS_OK;
}

// score = (dispersion - its bin's mean) / its bin's standard deviation
static Status score_in_bins(HvgResult *r, size_t bins) {
    size_t *bin = calloc(r->columns, sizeof *bin), *count = calloc(bins, sizeof *count);
    double *average = calloc(bins, sizeof *average), *spread = calloc(bins, sizeof *spread);
    Status status = STATUS_OK;
    if (!bin || !count || !average || !spread) status = status_make(STATUS_NO_MEMORY, "no memory for %zu bins", bins);
    if (status == STATUS_OK) status = bin_means(r->mean, r->columns, bins, bin);
    if (status == STATUS_OK) {
        for (size_t c = 0; c < r->columns; c++)
            if (!isnan(r->variance[c])) {
                average[bin[c]] += r->variance[c];
                count[bin[c]]++;
            }
        for (size_t b = 0; b < bins; b++) average[b] = count[b] ? average[b] / (double)count[b] : NAN;
        for (size_t c = 0; c < r->columns; c++) {
            double d = r->variance[c] - average[bin[c]];
            if (!isnan(d)) spread[bin[c]] += d * d;
        }
        for (size_t b = 0; b < bins; b++) {
            if (count[b] > 1) {
                spread[b] = sqrt(spread[b] / (double)(count[b] - 1));
            } else { // a gene alone in its bin scores 1
                spread[b] = average[b];
                average[b] = 0;
            }
        }
        for (size_t c = 0; c < r->columns; c++) r->score[c] = (r->variance[c] - average[bin[c]]) / spread[bin[c]];
    }
    free(bin);
    free(count);
    free(average);
    free(spread);
    return status;
}

static int descending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

static Status choose_seurat(HvgResult *r, const HvgOptions *options) {
    double *sorted = malloc((r->columns + 1) * sizeof *sorted);
    if (!sorted) return status_make(STATUS_NO_MEMORY, "no memory to sort %zu scores", r->columns);
    size_t valid = 0, wanted = options->genes < r->columns ? options->genes : r->columns;
    for (size_t c = 0; c < r->columns; c++)
        if (!isnan(r->score[c])) sorted[valid++] = r->score[c];
    qsort(sorted, valid, sizeof *sorted, descending);
    if (wanted > valid) wanted = valid;
    if (wanted > 0) {
        double threshold = sorted[wanted - 1];
        for (size_t c = 0; c < r->columns; c++) {
            double score = isnan(r->score[c]) ? (options->nan_is_zero ? 0 : -INFINITY) : r->score[c];
            r->chosen[c] = score >= threshold;
            if (r->chosen[c]) r->gene[r->count++] = c;
        }
    }
    free(sorted);
    return STATUS_OK;
}

static Status seurat(const Matrix *m, const HvgOptions *options, HvgResult *r) {
    TRY(matrix_check_values(m, false, "HVG seurat"));
    TRY(unlogged_moments(m, r->mean, r->variance));
    for (size_t c = 0; c < m->columns; c++) {
        double mean = r->mean[c] == 0 ? 1e-12 : r->mean[c], dispersion = r->variance[c] / mean;
        r->variance[c] = dispersion == 0 ? NAN : log(dispersion);
        r->mean[c] = log1p(mean);
        if (!isfinite(r->mean[c]))
            return status_make(STATUS_INVALID, "HVG seurat: column %zu has mean %g after undoing the logarithm", c,
                               mean);
    }
    TRY(score_in_bins(r, options->bins ? options->bins : 20));
    return choose_seurat(r, options);
}

// ---- seurat_v3 ----------------------------------------------------------------------------------

// Expected standard deviation of every gene from the regression of log variance on log mean.
static Status expected_spread(const HvgResult *r, double span, double *spread) {
    double *x = malloc((3 * r->columns + 1) * sizeof *x);
    if (!x) return status_make(STATUS_NO_MEMORY, "no memory for a regression over %zu genes", r->columns);
    double *y = x + r->columns, *fitted = y + r->columns;
    size_t n = 0;
    for (size_t c = 0; c < r->columns; c++)
        if (r->variance[c] > 0) {
            x[n] = log10(r->mean[c]);
            y[n++] = log10(r->variance[c]);
        }
    Status status = loess_fit(x, y, n, &(LoessOptions){span, 2}, fitted);
    n = 0;
    for (size_t c = 0; c < r->columns && status == STATUS_OK; c++)
        spread[c] = r->variance[c] > 0 ? sqrt(pow(10, fitted[n++])) : 1;
    free(x);
    return status;
}

typedef struct Scored {
    double score;
    size_t column;
} Scored;

static int by_score(const void *a, const void *b) {
    const Scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->column > y->column) - (x->column < y->column);
}

static Status choose_by_rank(HvgResult *r, size_t wanted) {
    Scored *order = malloc((r->columns + 1) * sizeof *order);
    if (!order) return status_make(STATUS_NO_MEMORY, "no memory to rank %zu genes", r->columns);
    for (size_t c = 0; c < r->columns; c++) order[c] = (Scored){r->score[c], c};
    qsort(order, r->columns, sizeof *order, by_score);
    for (size_t i = 0; i < r->columns && i < wanted; i++) {
        r->gene[r->count++] = order[i].column;
        r->chosen[order[i].column] = 1;
        r->rank[order[i].column] = (int32_t)i;
    }
    free(order);
    return STATUS_OK;
}

static Status seurat_v3(const Matrix *m, const HvgOptions *options, HvgResult *r) {
    TRY(matrix_check_values(m, true, "HVG seurat_v3"));
    if (m->rows < 2)
        return status_make(STATUS_INVALID, "HVG seurat_v3 needs at least 2 spots for a variance; there are %zu",
                           m->rows);
    TRY(column_moments(m, 1, r->mean, r->variance));
    double *spread = calloc(3 * m->columns + 1, sizeof *spread);
    if (!spread) return status_make(STATUS_NO_MEMORY, "no memory for %zu genes", m->columns);
    double *sum = spread + m->columns, *squares = sum + m->columns, n = (double)m->rows, root = sqrt(n);
    Status status = expected_spread(r, options->span > 0 ? options->span : 0.3, spread);
    int64_t nnz = matrix_nnz(m);
    for (int64_t e = 0; e < nnz && status == STATUS_OK; e++) {
        int32_t c = m->column[e];
        double v = fmin(m->value[e], spread[c] * root + r->mean[c]);
        sum[c] += v;
        squares[c] += v * v;
    }
    for (size_t c = 0; c < m->columns && status == STATUS_OK; c++)
        r->score[c] = 1 / ((n - 1) * spread[c] * spread[c]) *
                      (n * r->mean[c] * r->mean[c] + squares[c] - 2 * sum[c] * r->mean[c]);
    if (status == STATUS_OK) status = choose_by_rank(r, options->genes);
    free(spread);
    return status;
}

Status hvg_select(const Matrix *m, const HvgOptions *options, HvgResult *out) {
    TRY(result_create(m->columns, out));
    Status status = STATUS_OK;
    if (m->rows > 0 && m->columns > 0 && options->genes > 0)
        status = options->flavour == HVG_SEURAT ? seurat(m, options, out) : seurat_v3(m, options, out);
    if (status != STATUS_OK) hvg_free(out);
    return status;
}
