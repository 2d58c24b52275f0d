// normalise: see normalise.h. Every transform walks the entries once; sums are f64 in row order, so that results do
// not depend on anything but the input.
#include "normalise.h"

#include <ctype.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static Status no_memory(const char *what, size_t count) {
    return status_make(STATUS_NO_MEMORY, "no memory for %s of %zu rows or columns", what, count);
}

// Whether anything is wrong, without branches: looking for the place is left to the slow way.
static bool any_bad(const Matrix *m, bool negative_too) {
    int64_t nnz = matrix_nnz(m);
    float low = negative_too ? 0 : -FLT_MAX;
    unsigned bad = 0;
    for (int64_t e = 0; e < nnz; e++) bad |= !(m->value[e] >= low) | !(m->value[e] <= FLT_MAX);
    return bad;
}

Status matrix_check_values(const Matrix *m, bool negative_too, const char *used_for) {
    if (!any_bad(m, negative_too)) return STATUS_OK;
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

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
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
    qsort(sorted, n, sizeof *sorted, ascending);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

Status normalise_total(Matrix *m, const NormaliseOptions *options, double *out_target) {
    if (!(options->target_sum >= 0) || !(options->epsilon >= 0) || !(options->max_fraction >= 0) ||
        options->max_fraction > 1)
        return status_make(STATUS_INVALID,
                           "normalise: target_sum %g, epsilon %g and max_fraction %g must be >= 0 (and the last <= 1)",
                           options->target_sum, options->epsilon, options->max_fraction);
    TRY(matrix_check_values(m, true, "normalising to a total"));
    double *sums = calloc(2 * m->rows + 1, sizeof *sums);
    uint8_t *high = calloc(m->columns + 1, 1);
    if (!sums || !high) {
        free(sums);
        free(high);
        return no_memory("row sums", m->rows);
    }
    matrix_row_sums(m, sums);
    if (options->max_fraction > 0) {
        mark_high(m, sums, options->max_fraction, high);
        for (size_t r = 0; r < m->rows; r++) {
            sums[r] = 0;
            for (int64_t e = m->start[r]; e < m->start[r + 1]; e++)
                if (!high[m->column[e]]) sums[r] += m->value[e];
        }
    }
    double target = options->target_sum > 0 ? options->target_sum : positive_median(sums, m->rows, sums + m->rows);
    for (size_t r = 0; r < m->rows && !isnan(target); r++) {
        if (options->epsilon > 0) {
            float factor = (float)(target / (sums[r] + options->epsilon));
            for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) m->value[e] *= factor;
        } else {
            float divisor = (float)sums[r] / (float)target;
            if (divisor == 0) divisor = 1;
            for (int64_t e = m->start[r]; e < m->start[r + 1]; e++) m->value[e] /= divisor;
        }
    }
    free(sums);
    free(high);
    if (out_target) *out_target = target;
    return STATUS_OK;
}

// f of every entry. A row of counts holds few different values, so the last result of each of 512 classes of bits is
// kept: the same numbers as without, several times faster.
void matrix_map(Matrix *m, double (*f)(double), float *out) {
    struct {
        uint32_t bits;
        float result;
    } known[512];
    int64_t nnz = matrix_nnz(m);
    for (size_t i = 0; i < 512; i++) {
        known[i].bits = 0; // 0.0f
        known[i].result = (float)f(0);
    }
    for (int64_t e = 0; e < nnz; e++) {
        uint32_t bits;
        memcpy(&bits, &m->value[e], sizeof bits);
        uint32_t at = bits * 2654435761u >> 23;
        if (known[at].bits != bits) {
            known[at].bits = bits;
            known[at].result = (float)f(m->value[e]);
        }
        out[e] = known[at].result;
    }
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

Status column_moments(const Matrix *m, int ddof, double *mean, double *variance) {
    struct {
        double sum; // of values, then of squared differences
        double mean;
        int64_t entries;
    } *column = calloc(m->columns + 1, sizeof *column);
    if (!column) return no_memory("column moments", m->columns);
    double n = (double)m->rows;
    int64_t nnz = matrix_nnz(m);
    for (int64_t e = 0; e < nnz; e++) {
        column[m->column[e]].sum += m->value[e];
        column[m->column[e]].entries++;
    }
    for (size_t c = 0; c < m->columns; c++) {
        column[c].mean = m->rows ? column[c].sum / n : NAN;
        column[c].sum = 0;
    }
    for (int64_t e = 0; e < nnz; e++) {
        double d = m->value[e] - column[m->column[e]].mean;
        column[m->column[e]].sum += d * d;
    }
    for (size_t c = 0; c < m->columns; c++) {
        double all = column[c].sum + (n - (double)column[c].entries) * column[c].mean * column[c].mean;
        mean[c] = column[c].mean;
        variance[c] = n > ddof ? all / (n - ddof) : NAN;
    }
    free(column);
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
