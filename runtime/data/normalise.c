// normalise: see normalise.h. Every transform walks the entries once; sums are f64 in row order, so that results do
// not depend on anything but the input.
#include "normalise.h"

#include <ctype.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "remember.h"
#include "spread.h"

static Status no_memory(const char *what, size_t count) {
    return status_make(STATUS_NO_MEMORY, "no memory for %s of %zu rows or columns", what, count);
}

// Whether any of `count` values is NaN or infinite (or below 0), without branches: signs are gathered, in blocks of a
// fixed length, so that compilers use vector instructions. Looking for the place is left to the slow way.
enum { BLOCK = 64 };

static uint32_t block_is_bad(const float *value, uint32_t sign) {
    uint32_t bits[BLOCK], bad = 0;
    memcpy(bits, value, sizeof bits);
    for (size_t j = 0; j < BLOCK; j++) {
        uint32_t magnitude = bits[j] & 0x7FFFFFFFu;
        bad |= (0x7F7FFFFFu - magnitude) | (bits[j] & sign & (0u - magnitude));
    }
    return bad;
}

static bool any_bad(const float *value, size_t count, bool negative_too) {
    const uint32_t sign = negative_too ? 0x80000000u : 0;
    float rest[BLOCK] = {0};
    uint32_t bad = 0;
    size_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK) bad |= block_is_bad(value + i, sign);
    if (count > i) memcpy(rest, value + i, (count - i) * sizeof *rest);
    return (bad | block_is_bad(rest, sign)) >> 31;
}

// ---- Parts: rows with about as many entries, or stretches of entries ----------------------------

enum { PARTS = 64 };

static void entries_of(int64_t nnz, int64_t part, int64_t *from, int64_t *to) {
    *from = nnz / PARTS * part + (nnz % PARTS) * part / PARTS;
    *to = nnz / PARTS * (part + 1) + (nnz % PARTS) * (part + 1) / PARTS;
}

static size_t row_behind(const Matrix *m, int64_t entry) { // the first row that begins at it or later
    size_t low = 0, high = m->rows;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->start[middle] < entry) low = middle + 1;
        else high = middle;
    }
    return low;
}

static void rows_of(const Matrix *m, int64_t part, size_t *from, size_t *to) {
    int64_t first = 0, last = 0;
    entries_of(matrix_nnz(m), part, &first, &last);
    *from = part == 0 ? 0 : row_behind(m, first);
    *to = part == PARTS - 1 ? m->rows : row_behind(m, last);
}

typedef struct Checking {
    const Matrix *m;
    bool negative_too;
    _Atomic bool bad;
} Checking;

static void check_parts(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Checking *c = context;
    int64_t from = 0, to = 0, skip = 0;
    entries_of(matrix_nnz(c->m), first, &from, &skip);
    entries_of(matrix_nnz(c->m), last - 1, &skip, &to);
    if (any_bad(c->m->value + from, (size_t)(to - from), c->negative_too)) c->bad = true;
}

Status matrix_check_values(const Matrix *m, bool negative_too, const char *used_for) {
    Checking checking = {m, negative_too, false};
    if (matrix_nnz(m) > 0) spread(check_parts, &checking, PARTS, matrix_nnz(m) / 8);
    if (!checking.bad) return STATUS_OK;
    for (size_t r = 0; r < m->rows; r++)
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) {
            float v = m->value[e];
            if (isfinite(v) && !(negative_too && v < 0)) continue;
            size_t c = (size_t)m->column[e];
            const char *gene = m->column_name && m->column_name[c] ? m->column_name[c] : "unnamed";
            return status_make(STATUS_INVALID,
                               "row %zu, column %zu (%s) holds %g; %s needs %s: give raw counts or mend the file", r, c,
                               gene, (double)v, used_for, negative_too ? "numbers >= 0" : "finite numbers");
        }
    return STATUS_OK;
}

// ---- Filters ------------------------------------------------------------------------------------

static bool begins(const char *name, const char *prefix) {
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool contains_mt(const char *name) {
    for (const char *at = name; *at; at++)
        if (tolower((unsigned char)at[0]) == 'm' && tolower((unsigned char)at[1]) == 't' &&
            (at[2] == '-' || at[2] == ':' || at[2] == '_'))
            return true;
    return false;
}

bool gene_is_mitochondrial(const char *name, MitoRule rule) {
    if (!name) return false;
    bool ribosomal = begins(name, "RPS") || begins(name, "RPL");
    switch (rule) {
    case MITO_NONE: return false;
    case MITO_PREFIX:
        return toupper((unsigned char)name[0]) == 'M' && toupper((unsigned char)name[1]) == 'T' && name[2] == '-';
    case MITO_CONTAINS: return contains_mt(name);
    case MITO_RIBO_PREFIX: return begins(name, "MT-") || begins(name, "mt-") || ribosomal;
    case MITO_RIBO_COMPAT: return begins(name, "MT") || begins(name, "mt") || ribosomal;
    }
    return false;
}

static bool within(double value, double low, double high) {
    return value >= low && (high <= 0 || value <= high);
}

static Status rule_needs_names(const Matrix *m, MitoRule rule) {
    if (rule == MITO_NONE || m->column_name || m->columns == 0) return STATUS_OK;
    return status_make(STATUS_INVALID, "a mitochondrial rule needs gene names, and this matrix of %zu columns has none",
                       m->columns);
}

Status filter_spots(const Matrix *m, const SpotFilter *filter, size_t **out_pick, size_t *out_count) {
    *out_pick = NULL;
    *out_count = 0;
    TRY(rule_needs_names(m, filter->mitochondrial));
    TRY(matrix_check_values(m, false, "filtering spots"));
    size_t *pick = malloc((m->rows + 1) * sizeof *pick);
    uint8_t *mito = calloc(m->columns + 1, 1);
    if (!pick || !mito) {
        free(pick);
        free(mito);
        return no_memory("a filter", m->rows);
    }
    for (size_t c = 0; filter->mitochondrial != MITO_NONE && c < m->columns; c++)
        mito[c] = gene_is_mitochondrial(m->column_name[c], filter->mitochondrial);
    size_t kept = 0;
    for (size_t r = 0; r < m->rows; r++) {
        double sum = 0, mito_sum = 0;
        int64_t genes = 0;
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) {
            sum += m->value[e];
            genes += m->value[e] > 0;
            if (mito[m->column[e]]) mito_sum += m->value[e];
        }
        bool keep = within(sum, filter->min_counts, filter->max_counts) &&
                    within((double)genes, (double)filter->min_genes, (double)filter->max_genes);
        if (filter->mitochondrial != MITO_NONE) keep = keep && mito_sum / (sum + 1e-9) <= filter->max_mitochondrial;
        if (keep) pick[kept++] = r;
    }
    free(mito);
    *out_pick = pick;
    *out_count = kept;
    return STATUS_OK;
}

Status filter_genes(const Matrix *m, const GeneFilter *filter, size_t **out_pick, size_t *out_count) {
    *out_pick = NULL;
    *out_count = 0;
    TRY(rule_needs_names(m, filter->drop));
    TRY(matrix_check_values(m, false, "filtering genes"));
    size_t *pick = malloc((m->columns + 1) * sizeof *pick);
    double *sum = calloc(m->columns + 1, sizeof *sum);
    int64_t *spots = calloc(m->columns + 1, sizeof *spots);
    if (!pick || !sum || !spots) {
        free(pick);
        free(sum);
        free(spots);
        return no_memory("a filter", m->columns);
    }
    int64_t nnz = matrix_nnz(m);
    for (int64_t e = 0; e < nnz; e++) {
        sum[m->column[e]] += m->value[e];
        spots[m->column[e]] += m->value[e] > 0;
    }
    size_t kept = 0;
    for (size_t c = 0; c < m->columns; c++) {
        if (!within(sum[c], filter->min_counts, filter->max_counts)) continue;
        if (!within((double)spots[c], (double)filter->min_spots, (double)filter->max_spots)) continue;
        if (filter->drop != MITO_NONE && gene_is_mitochondrial(m->column_name[c], filter->drop)) continue;
        pick[kept++] = c;
    }
    free(sum);
    free(spots);
    *out_pick = pick;
    *out_count = kept;
    return STATUS_OK;
}

// ---- Values -------------------------------------------------------------------------------------

// The k-th smallest of values[count], which are put in another order.
static double kth_smallest(double *values, size_t count, size_t k) {
    size_t low = 0, high = count - 1;
    while (low < high) {
        double pivot = values[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (values[i] < pivot) i++;
            while (values[j] > pivot) j--;
            if (i >= j) break;
            double swap = values[i];
            values[i++] = values[j];
            values[j--] = swap;
        }
        if (k <= j) high = j;
        else low = j + 1;
    }
    return values[k];
}

// Genes above max_fraction of any row's sum.
static void mark_high(const Matrix *m, const double *sums, double max_fraction, uint8_t *high) {
    for (size_t r = 0; r < m->rows; r++)
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++)
            if (m->value[e] > max_fraction * sums[r]) high[m->column[e]] = 1;
}

// The median of the positive ones among sums[rows], NaN without any; `sorted` is scratch.
static double positive_median(const double *sums, size_t rows, double *sorted) {
    size_t n = 0;
    for (size_t r = 0; r < rows; r++)
        if (sums[r] > 0) sorted[n++] = sums[r];
    if (n == 0) return NAN;
    double upper = kth_smallest(sorted, n, n / 2), lower = upper;
    if (n % 2 == 0) lower = kth_smallest(sorted, n, n / 2 - 1);
    return (lower + upper) / 2;
}

typedef struct Summing {
    const Matrix *m;
    double *sums;
    _Atomic bool bad; // a value that is not finite or below 0
} Summing;

static void sum_parts(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Summing *s = context;
    for (int64_t part = first; part < last; part++) {
        size_t from = 0, to = 0;
        rows_of(s->m, part, &from, &to);
        if (from == to) continue;
        int64_t begin = s->m->start[from], end = s->m->start[to];
        if (any_bad(s->m->value + begin, (size_t)(end - begin), true)) s->bad = true;
        matrix_sum_rows(s->m, from, to, s->sums);
    }
}

typedef struct Dividing {
    Matrix *m;
    const double *sums;
    double target, epsilon;
} Dividing;

static void divide_parts(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    enum { ROUND = 16 }; // of a fixed length, for vector instructions
    const Dividing *d = context;
    for (int64_t part = first; part < last; part++) {
        size_t from = 0, to = 0;
        rows_of(d->m, part, &from, &to);
        for (size_t r = from; r < to; r++) {
            float *value = d->m->value + d->m->start[r];
            size_t n = (size_t)(d->m->start[r + 1] - d->m->start[r]), i = 0;
            if (d->epsilon > 0) {
                float factor = (float)(d->target / (d->sums[r] + d->epsilon));
                for (; i < n; i++) value[i] *= factor;
                continue;
            }
            float divisor = (float)d->sums[r] / (float)d->target;
            if (divisor == 0) divisor = 1;
            for (; i + ROUND <= n; i += ROUND)
                for (size_t j = 0; j < ROUND; j++) value[i + j] /= divisor;
            for (; i < n; i++) value[i] /= divisor;
        }
    }
}

Status normalise_total(Matrix *m, const NormaliseOptions *options, double *out_target) {
    if (!(options->target_sum >= 0) || !(options->epsilon >= 0) || !(options->max_fraction >= 0) ||
        options->max_fraction > 1)
        return status_make(STATUS_INVALID,
                           "normalise: target_sum %g, epsilon %g and max_fraction %g must be >= 0 (and the last <= 1)",
                           options->target_sum, options->epsilon, options->max_fraction);
    double *sums = calloc(2 * m->rows + 1, sizeof *sums);
    uint8_t *high = calloc(m->columns + 1, 1);
    if (!sums || !high) {
        free(sums);
        free(high);
        return no_memory("row sums", m->rows);
    }
    Summing summing = {m, sums, false};
    spread(sum_parts, &summing, PARTS, matrix_nnz(m));
    if (summing.bad) {
        free(sums);
        free(high);
        return matrix_check_values(m, true, "normalising to a total");
    }
    if (options->max_fraction > 0) {
        mark_high(m, sums, options->max_fraction, high);
        for (size_t r = 0; r < m->rows; r++) {
            sums[r] = 0;
            for (int64_t e = m->start[r]; e < m->start[r + 1]; e++)
                if (!high[m->column[e]]) sums[r] += m->value[e];
        }
    }
    double target = options->target_sum > 0 ? options->target_sum : positive_median(sums, m->rows, sums + m->rows);
    if (!isnan(target)) spread(divide_parts, &(Dividing){m, sums, target, options->epsilon}, PARTS, matrix_nnz(m) / 2);
    free(sums);
    free(high);
    if (out_target) *out_target = target;
    return STATUS_OK;
}

typedef struct Mapping {
    const Matrix *m;
    double (*f)(double);
    float *out;
    _Atomic bool bad; // a value or a result that is not finite
} Mapping;

static void map_parts(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Mapping *map = context;
    const float *value = map->m->value;
    Remember remember;
    remember_begin(&remember, map->f);
    int64_t from = 0, to = 0, skip = 0;
    entries_of(matrix_nnz(map->m), first, &from, &skip);
    entries_of(matrix_nnz(map->m), last - 1, &skip, &to);
    for (int64_t e = from; e < to; e++) map->out[e] = remember_apply(&remember, value[e]);
    if (!remember_finite(&remember)) map->bad = true;
}

bool matrix_map(const Matrix *m, double (*f)(double), float *out) {
    Mapping mapping = {m, f, out, false};
    if (matrix_nnz(m) > 0) spread(map_parts, &mapping, PARTS, 2 * matrix_nnz(m));
    return !mapping.bad;
}

static double log2_of_one_more(double x) {
    return log2(x + 1);
}

Status matrix_log1p(Matrix *m) {
    TRY(matrix_check_values(m, true, "log1p"));
    matrix_map(m, log1p, m->value);
    return STATUS_OK;
}

Status matrix_log2p1(Matrix *m) {
    TRY(matrix_check_values(m, true, "log2(x + 1)"));
    matrix_map(m, log2_of_one_more, m->value);
    return STATUS_OK;
}

void matrix_scale_rows(Matrix *m, const double *factor) {
    for (size_t r = 0; r < m->rows; r++)
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) m->value[e] *= (float)factor[r];
}

// ---- Moments ------------------------------------------------------------------------------------

typedef struct Moments {
    const Matrix *m;
    int parts;
    double *mean, *variance;
    uint32_t *entries; // [columns]
    int ddof;
} Moments;

// A part is a stretch of columns, so every column is summed by one thread, in the order of the rows.
static void moments_of_columns(const Moments *k, int64_t part) {
    const Matrix *m = k->m;
    const size_t low = matrix_stretch(m, k->parts, part), high = matrix_stretch(m, k->parts, part + 1);
    const size_t rows = m->rows;
    const int32_t *column = m->column;
    const float *value = m->value;
    double *mean = k->mean, *sum = k->variance;
    uint32_t *entries = k->entries;
    double n = (double)rows;
    for (size_t c = low; c < high; c++) mean[c] = 0, sum[c] = 0, entries[c] = 0;
    for (size_t r = 0; r < rows; r++)
        for (int64_t e = matrix_entry(m, r, low), end = matrix_entry(m, r, high); e < end; e++) {
            mean[column[e]] += value[e];
            entries[column[e]]++;
        }
    for (size_t c = low; c < high; c++) mean[c] = rows ? mean[c] / n : NAN;
    for (size_t r = 0; r < rows; r++)
        for (int64_t e = matrix_entry(m, r, low), end = matrix_entry(m, r, high); e < end; e++) {
            double d = value[e] - mean[column[e]];
            sum[column[e]] += d * d;
        }
    for (size_t c = low; c < high; c++) {
        double all = sum[c] + (n - entries[c]) * mean[c] * mean[c];
        sum[c] = n > k->ddof ? all / (n - k->ddof) : NAN;
    }
}

static void moments_parts(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    for (int64_t part = first; part < last; part++) moments_of_columns(context, part);
}

Status column_moments(const Matrix *m, int ddof, double *mean, double *variance) {
    Moments k = {m, spread_threads(2 * matrix_nnz(m)), mean, variance, NULL, ddof};
    k.entries = malloc((m->columns + 1) * sizeof *k.entries);
    if (!k.entries) return no_memory("column moments", m->columns);
    spread(moments_parts, &k, k.parts, 4 * matrix_nnz(m));
    free(k.entries);
    return STATUS_OK;
}

static double clipped(double z, const ScaleOptions *options) {
    if (options->max_value <= 0) return z;
    if (z > options->max_value) return options->max_value;
    return options->centre && z < -options->max_value ? -options->max_value : z;
}

Status matrix_zscore(const Matrix *m, const ScaleOptions *options, float *out, double *out_mean, double *out_sd) {
    TRY(matrix_check_values(m, false, "a z-score"));
    if (m->rows <= (size_t)options->ddof && m->rows * m->columns > 0)
        return status_make(STATUS_INVALID, "a z-score with ddof %d needs more than %zu rows", options->ddof, m->rows);
    double *mean = calloc(2 * m->columns + 1, sizeof *mean), *sd = mean ? mean + m->columns : NULL;
    if (!mean) return no_memory("column moments", m->columns);
    Status status = column_moments(m, options->ddof, mean, sd);
    for (size_t c = 0; c < m->columns && status == STATUS_OK; c++) {
        sd[c] = sqrt(sd[c]);
        if (!(sd[c] > 0)) sd[c] = 1;
        double shift = options->centre ? mean[c] : 0;
        float zero = (float)clipped(-shift / sd[c], options);
        for (size_t r = 0; r < m->rows; r++) out[r * m->columns + c] = zero;
    }
    for (size_t r = 0; r < m->rows && status == STATUS_OK; r++)
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) {
            size_t c = (size_t)m->column[e];
            double shift = options->centre ? mean[c] : 0;
            out[r * m->columns + c] = (float)clipped((m->value[e] - shift) / sd[c], options);
        }
    if (status == STATUS_OK && out_mean) memcpy(out_mean, mean, m->columns * sizeof *mean);
    if (status == STATUS_OK && out_sd) memcpy(out_sd, sd, m->columns * sizeof *sd);
    free(mean);
    return status;
}

Status dense_zscore(double *values, size_t rows, size_t columns, const ScaleOptions *options) {
    for (size_t i = 0; i < rows * columns; i++)
        if (!isfinite(values[i]))
            return status_make(STATUS_INVALID, "row %zu, column %zu holds %g; a z-score needs finite numbers",
                               i / columns, i % columns, values[i]);
    if (rows <= (size_t)options->ddof && rows * columns > 0)
        return status_make(STATUS_INVALID, "a z-score with ddof %d needs more than %zu rows", options->ddof, rows);
    for (size_t c = 0; c < columns; c++) {
        double mean = 0, squares = 0;
        for (size_t r = 0; r < rows; r++) mean += values[r * columns + c];
        mean /= (double)rows;
        for (size_t r = 0; r < rows; r++) {
            double d = values[r * columns + c] - mean;
            squares += d * d;
        }
        double sd = sqrt(squares / ((double)rows - options->ddof));
        if (!(sd > 0)) sd = 1;
        for (size_t r = 0; r < rows; r++) {
            double *v = &values[r * columns + c];
            *v = clipped((*v - (options->centre ? mean : 0)) / sd, options);
        }
    }
    return STATUS_OK;
}
