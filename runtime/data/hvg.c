// hvg: see hvg.h.
#include "hvg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loess.h"
#include "normalise.h"
#include "remember.h"
#include "spread.h"

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

typedef struct Unlogging {
    const Matrix *m;
    int parts;
    double *mean, *variance;
    _Atomic bool bad; // a value or what it is the logarithm of is not finite
} Unlogging;

// A part is a stretch of columns, so every column is summed by one thread, in the order of the rows. The variance is
// scanpy's, (E[v^2] - E[v]^2) n / (n - 1) in f64 (discotme.md §3.2); what is no more than its rounding is 0.
static void unlogged_stretch(Unlogging *k, int64_t part) {
    const Matrix *m = k->m;
    size_t low = matrix_stretch(m, k->parts, part), high = matrix_stretch(m, k->parts, part + 1);
    double *sum = k->mean, *squares = k->variance, n = (double)m->rows;
    Remember remember;
    remember_begin(&remember, expm1);
    for (size_t r = 0; r < m->rows; r++)
        for (int64_t e = matrix_entry(m, r, low), end = matrix_entry(m, r, high); e < end; e++) {
            double v = remember_apply(&remember, m->value[e]);
            sum[m->column[e]] += v;
            squares[m->column[e]] += v * v;
        }
    if (!remember_finite(&remember)) k->bad = true;
    for (size_t c = low; c < high; c++) {
        double mean = sum[c] / n, rest = squares[c] - n * mean * mean;
        k->mean[c] = mean;
        k->variance[c] = n > 1 ? (rest > 4e-16 * n * squares[c] ? rest / (n - 1) : 0) : NAN;
    }
}

static void unlogged_parts(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    for (int64_t part = first; part < last; part++) unlogged_stretch(context, part);
}

// Which value is not finite, or becomes so.
static Status unlogging_error(const Matrix *m) {
    TRY(matrix_check_values(m, false, "HVG seurat"));
    Matrix unlogged = *m;
    unlogged.value = spread_scratch(((size_t)matrix_nnz(m) + 1) * sizeof *unlogged.value);
    if (!unlogged.value) return status_make(STATUS_NO_MEMORY, "no memory for the unlogged values");
    matrix_map(m, expm1, unlogged.value);
    Status status = matrix_check_values(&unlogged, false, "undoing the logarithm (is this log1p data?)");
    free(unlogged.value);
    return status;
}

// Mean and variance (ddof 1) of expm1(x) per column, which `mean` and `variance` come zeroed for.
static Status unlogged_moments(const Matrix *m, double *mean, double *variance) {
    Unlogging k = {m, spread_threads(2 * matrix_nnz(m)), mean, variance, false};
    spread(unlogged_parts, &k, k.parts, 4 * matrix_nnz(m));
    return k.bad ? unlogging_error(m) : STATUS_OK;
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
        double guess = (mean[c] - low) / step; // the first edge >= mean is near
        size_t at = guess >= 1 ? (guess < (double)bins ? (size_t)guess : bins) : 1;
        while (at > 1 && edge[at - 1] >= mean[c]) at--;
        while (at < bins && edge[at] < mean[c]) at++;
        bin[c] = at - 1;
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

// Whether a stands before b among the chosen: the greater score, then the earlier column.
typedef struct Scored {
    double score;
    size_t column;
} Scored;

static bool before(Scored a, Scored b) {
    return a.score != b.score ? a.score > b.score : a.column < b.column;
}

// Brings the first `wanted` of order[count] to the front, in any order; no two are equal.
static void choose_first(Scored *order, size_t count, size_t wanted) {
    size_t low = 0, high = count - 1;
    while (wanted > 0 && wanted < count && low < high) {
        Scored pivot = order[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (before(order[i], pivot)) i++;
            while (before(pivot, order[j])) j--;
            if (i >= j) break;
            Scored swap = order[i];
            order[i++] = order[j];
            order[j--] = swap;
        }
        if (wanted <= j + 1) high = j;
        else low = j + 1;
    }
}

static Status choose_seurat(HvgResult *r, const HvgOptions *options) {
    Scored *order = malloc((r->columns + 1) * sizeof *order);
    if (!order) return status_make(STATUS_NO_MEMORY, "no memory to sort %zu scores", r->columns);
    size_t valid = 0, wanted = options->genes < r->columns ? options->genes : r->columns;
    for (size_t c = 0; c < r->columns; c++)
        if (!isnan(r->score[c])) order[valid++] = (Scored){r->score[c], c};
    if (wanted > valid) wanted = valid;
    choose_first(order, valid, wanted);
    if (wanted > 0) {
        double threshold = order[0].score;
        for (size_t i = 1; i < wanted; i++) threshold = fmin(threshold, order[i].score);
        for (size_t c = 0; c < r->columns; c++) {
            double score = isnan(r->score[c]) ? (options->nan_is_zero ? 0 : -INFINITY) : r->score[c];
            r->chosen[c] = score >= threshold;
            if (r->chosen[c]) r->gene[r->count++] = c;
        }
    }
    free(order);
    return STATUS_OK;
}

static void logarithms(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    HvgResult *r = context;
    for (size_t c = (size_t)first; c < (size_t)last; c++) {
        double mean = r->mean[c] == 0 ? 1e-12 : r->mean[c], dispersion = r->variance[c] / mean;
        r->variance[c] = dispersion == 0 ? NAN : log(dispersion);
        r->mean[c] = log1p(mean);
    }
}

static Status seurat(const Matrix *m, const HvgOptions *options, HvgResult *r) {
    TRY(unlogged_moments(m, r->mean, r->variance));
    spread(logarithms, r, (int64_t)m->columns, 30 * (int64_t)m->columns);
    for (size_t c = 0; c < m->columns; c++)
        if (!isfinite(r->mean[c]))
            return status_make(STATUS_INVALID, "HVG seurat: column %zu has mean %g after undoing the logarithm", c,
                               expm1(r->mean[c]));
    TRY(score_in_bins(r, options->bins ? options->bins : 20));
    return choose_seurat(r, options);
}

// ---- seurat_v3 ----------------------------------------------------------------------------------

typedef struct Regression {
    const HvgResult *r;
    size_t *column; // [count] with a variance above 0
    double *x, *y, *fitted, *spread_of;
} Regression;

static void take_logarithms(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Regression *g = context;
    for (int64_t i = first; i < last; i++) {
        g->x[i] = log10(g->r->mean[g->column[i]]);
        g->y[i] = log10(g->r->variance[g->column[i]]);
    }
}

static void undo_logarithms(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Regression *g = context;
    for (int64_t i = first; i < last; i++) g->spread_of[g->column[i]] = sqrt(pow(10, g->fitted[i]));
}

// Expected standard deviation of every gene from the regression of log variance on log mean.
static Status expected_spread(const HvgResult *r, double span, double *spread_of) {
    double *x = malloc((3 * r->columns + 1) * sizeof *x);
    size_t *column = malloc((r->columns + 1) * sizeof *column), n = 0;
    Regression g = {r, column, x, x + r->columns, x + 2 * r->columns, spread_of};
    Status status = STATUS_OK;
    if (!x || !column) status = status_make(STATUS_NO_MEMORY, "no memory for a regression over %zu genes", r->columns);
    for (size_t c = 0; status == STATUS_OK && c < r->columns; c++) {
        spread_of[c] = 1;
        if (r->variance[c] > 0) column[n++] = c;
    }
    if (status == STATUS_OK) {
        spread(take_logarithms, &g, (int64_t)n, 40 * (int64_t)n);
        status = loess_fit(g.x, g.y, n, &(LoessOptions){span, 2}, g.fitted);
    }
    if (status == STATUS_OK) spread(undo_logarithms, &g, (int64_t)n, 40 * (int64_t)n);
    free(x);
    free(column);
    return status;
}

static int by_score(const void *a, const void *b) {
    const Scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->column > y->column) - (x->column < y->column);
}

static Status choose_by_rank(HvgResult *r, size_t wanted) {
    Scored *order = malloc((r->columns + 1) * sizeof *order);
    if (!order) return status_make(STATUS_NO_MEMORY, "no memory to rank %zu genes", r->columns);
    for (size_t c = 0; c < r->columns; c++) order[c] = (Scored){r->score[c], c};
    if (wanted > r->columns) wanted = r->columns;
    choose_first(order, r->columns, wanted);
    qsort(order, wanted, sizeof *order, by_score);
    for (size_t i = 0; i < wanted; i++) {
        r->gene[r->count++] = order[i].column;
        r->chosen[order[i].column] = 1;
        r->rank[order[i].column] = (int32_t)i;
    }
    free(order);
    return STATUS_OK;
}

typedef struct Clipping {
    const Matrix *m;
    int parts;
    const double *top; // [columns] values above it count as this
    double *sum, *squares;
} Clipping;

static void clip_parts(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    const Clipping *k = context;
    const Matrix *m = k->m;
    for (int64_t part = first; part < last; part++) {
        size_t low = matrix_stretch(m, k->parts, part), high = matrix_stretch(m, k->parts, part + 1);
        for (size_t r = 0; r < m->rows; r++)
            for (int64_t e = matrix_entry(m, r, low), end = matrix_entry(m, r, high); e < end; e++) {
                int32_t c = m->column[e];
                double v = m->value[e];
                if (v > k->top[c]) v = k->top[c];
                k->sum[c] += v;
                k->squares[c] += v * v;
            }
    }
}

static Status seurat_v3(const Matrix *m, const HvgOptions *options, HvgResult *r) {
    TRY(matrix_check_values(m, true, "HVG seurat_v3"));
    if (m->rows < 2)
        return status_make(STATUS_INVALID, "HVG seurat_v3 needs at least 2 spots for a variance; there are %zu",
                           m->rows);
    TRY(column_moments(m, 1, r->mean, r->variance));
    int parts = spread_threads(2 * matrix_nnz(m));
    double *spread_of = calloc(4 * m->columns + 1, sizeof *spread_of), n = (double)m->rows, root = sqrt(n);
    double *sum = spread_of + m->columns, *squares = sum + m->columns, *top = squares + m->columns;
    Status status = STATUS_OK;
    if (!spread_of) status = status_make(STATUS_NO_MEMORY, "no memory for %zu genes", m->columns);
    if (status == STATUS_OK) status = expected_spread(r, options->span > 0 ? options->span : 0.3, spread_of);
    if (status == STATUS_OK) {
        for (size_t c = 0; c < m->columns; c++) top[c] = spread_of[c] * root + r->mean[c];
        spread(clip_parts, &(Clipping){m, parts, top, sum, squares}, parts, 2 * matrix_nnz(m));
        for (size_t c = 0; c < m->columns; c++)
            r->score[c] = 1 / ((n - 1) * spread_of[c] * spread_of[c]) *
                          (n * r->mean[c] * r->mean[c] + squares[c] - 2 * sum[c] * r->mean[c]);
        status = choose_by_rank(r, options->genes);
    }
    free(spread_of);
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
