// pca: see pca.h.
#include "pca.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/random.h"

enum { EXACT_LIMIT = 1200 };

void pca_free(Pca *pca) {
    free(pca->mean);
    free(pca->axis);
    free(pca->variance);
    free(pca->share);
    *pca = (Pca){0};
}

// ---- Symmetric eigenvalues ------------------------------------------------------------------------

// a becomes the product of the reflections (columns), diagonal d and subdiagonal e (e[0] = 0). EISPACK's tred2.
static void tridiagonal(double *a, size_t n, double *d, double *e) {
    for (size_t i = n - 1; i > 0; i--) {
        size_t l = i; // columns 0 .. i-1
        double h = 0, scale = 0;
        for (size_t k = 0; k < l && l > 1; k++) scale += fabs(a[i * n + k]);
        if (scale == 0) {
            e[i] = a[i * n + l - 1];
            d[i] = 0;
            continue;
        }
        for (size_t k = 0; k < l; k++) {
            a[i * n + k] /= scale;
            h += a[i * n + k] * a[i * n + k];
        }
        double f = a[i * n + l - 1], g = f >= 0 ? -sqrt(h) : sqrt(h);
        e[i] = scale * g;
        h -= f * g;
        a[i * n + l - 1] = f - g;
        f = 0;
        for (size_t j = 0; j < l; j++) {
            a[j * n + i] = a[i * n + j] / h;
            g = 0;
            for (size_t k = 0; k <= j; k++) g += a[j * n + k] * a[i * n + k];
            for (size_t k = j + 1; k < l; k++) g += a[k * n + j] * a[i * n + k];
            e[j] = g / h;
            f += e[j] * a[i * n + j];
        }
        double hh = f / (h + h);
        for (size_t j = 0; j < l; j++) {
            f = a[i * n + j];
            e[j] = g = e[j] - hh * f;
            for (size_t k = 0; k <= j; k++) a[j * n + k] -= f * e[k] + g * a[i * n + k];
        }
        d[i] = h;
    }
    d[0] = e[0] = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i && d[i] != 0; j++) {
            double g = 0;
            for (size_t k = 0; k < i; k++) g += a[i * n + k] * a[k * n + j];
            for (size_t k = 0; k < i; k++) a[k * n + j] -= g * a[k * n + i];
        }
        d[i] = a[i * n + i];
        a[i * n + i] = 1;
        for (size_t j = 0; j < i; j++) a[j * n + i] = a[i * n + j] = 0;
    }
}

// Implicit QL on (d, e); rows of z are turned along. EISPACK's tql2 with vectors as rows.
static Status implicit_ql(double *d, double *e, size_t n, double *z) {
    for (size_t i = 1; i < n; i++) e[i - 1] = e[i];
    e[n - 1] = 0;
    double norm = 0;
    for (size_t i = 0; i < n; i++) norm = fmax(norm, fabs(d[i]) + fabs(e[i]));
    for (size_t l = 0; l < n; l++) {
        for (int turns = 0;; turns++) {
            size_t m = l;
            while (m + 1 < n && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1])) &&
                   fabs(e[m]) > DBL_EPSILON * DBL_EPSILON * norm)
                m++;
            if (m == l) break;
            if (turns == 100) return status_make(STATUS_INTERNAL, "eigenvalue %zu of %zu does not settle", l, n);
            double g = (d[l + 1] - d[l]) / (2 * e[l]), r = hypot(g, 1), s = 1, c = 1, p = 0;
            g = d[m] - d[l] + e[l] / (g + copysign(r, g));
            size_t i = m;
            for (; i > l; i--) {
                double f = s * e[i - 1], b = c * e[i - 1];
                e[i] = r = hypot(f, g);
                if (r == 0) {
                    d[i] -= p;
                    e[m] = 0;
                    break;
                }
                s = f / r;
                c = g / r;
                g = d[i] - p;
                r = (d[i - 1] - g) * s + 2 * c * b;
                p = s * r;
                d[i] = g + p;
                g = c * r - b;
                double *upper = z + i * n, *lower = z + (i - 1) * n;
                for (size_t k = 0; k < n; k++) {
                    double high = upper[k], low = lower[k];
                    upper[k] = s * low + c * high;
                    lower[k] = c * low - s * high;
                }
            }
            if (r == 0 && i > l) continue;
            d[l] -= p;
            e[l] = g;
            e[m] = 0;
        }
    }
    return STATUS_OK;
}

Status symmetric_eigen(double *a, size_t n, double *value, double *vector) {
    if (n == 0) return STATUS_OK;
    double *e = malloc(n * sizeof *e), *d = malloc(n * sizeof *d);
    size_t *order = malloc(n * sizeof *order);
    Status status = e && d && order ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for %zu eigenvalues", n);
    if (status == STATUS_OK) {
        tridiagonal(a, n, d, e);
        for (size_t i = 0; i < n; i++) // vectors as rows
            for (size_t j = i + 1; j < n; j++) {
                double swap = a[i * n + j];
                a[i * n + j] = a[j * n + i];
                a[j * n + i] = swap;
            }
        status = implicit_ql(d, e, n, a);
    }
    if (status == STATUS_OK) {
        for (size_t i = 0; i < n; i++) { // insertion: n is at most some thousand, and nearly sorted
            size_t at = i;
            for (; at > 0 && d[order[at - 1]] < d[i]; at--) order[at] = order[at - 1];
            order[at] = i;
        }
        for (size_t i = 0; i < n; i++) {
            value[i] = d[order[i]];
            memcpy(vector + i * n, a + order[i] * n, n * sizeof *vector);
        }
    }
    free(e);
    free(d);
    free(order);
    return status;
}

// ---- Components ---------------------------------------------------------------------------------

static void fix_signs(Pca *pca) {
    for (size_t k = 0; k < pca->components; k++) {
        double *axis = pca->axis + k * pca->width;
        size_t largest = 0;
        for (size_t j = 1; j < pca->width; j++)
            if (fabs(axis[j]) > fabs(axis[largest])) largest = j;
        if (axis[largest] < 0)
            for (size_t j = 0; j < pca->width; j++) axis[j] = -axis[j];
    }
}

// Rows of x[count][width] made orthonormal by Gram-Schmidt, twice; a row that vanishes is replaced by the first unit
// vector that does not.
static void orthonormalise(double *x, size_t count, size_t width) {
    for (size_t k = 0; k < count; k++) {
        double *row = x + k * width;
        for (size_t unit = 0, again = 0;;) {
            double before = 0, after = 0;
            for (size_t j = 0; j < width; j++) before += row[j] * row[j];
            for (size_t i = 0; i < k; i++) {
                double dot = 0;
                for (size_t j = 0; j < width; j++) dot += x[i * width + j] * row[j];
                for (size_t j = 0; j < width; j++) row[j] -= dot * x[i * width + j];
            }
            for (size_t j = 0; j < width; j++) after += row[j] * row[j];
            if (after > 1e-20 * before && after > 0) {
                double length = sqrt(after);
                for (size_t j = 0; j < width; j++) row[j] /= length;
                if (again++ == 1) break;
                continue;
            }
            memset(row, 0, width * sizeof *row);
            if (unit == width) break;
            row[unit++] = 1;
            again = 0;
        }
    }
}

// The covariance, or the inner products of the rows: whichever is smaller.
static Status fit_exact(const double *x, size_t rows, Pca *pca) {
    size_t width = pca->width, n = width <= rows ? width : rows;
    double *a = calloc(n * n, sizeof *a), *vector = malloc(n * n * sizeof *vector), *value = malloc(n * sizeof *value);
    Status status = a && vector && value
                        ? STATUS_OK
                        : status_make(STATUS_NO_MEMORY, "no memory for a covariance of %zu columns", n);
    if (status == STATUS_OK) {
        if (n == width) {
            for (size_t r = 0; r < rows; r++)
                for (size_t i = 0; i < n; i++) {
                    double v = x[r * width + i];
                    for (size_t j = 0; j <= i; j++) a[i * n + j] += v * x[r * width + j];
                }
        } else {
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j <= i; j++)
                    for (size_t k = 0; k < width; k++) a[i * n + j] += x[i * width + k] * x[j * width + k];
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++) a[j * n + i] = a[i * n + j];
        status = symmetric_eigen(a, n, value, vector);
    }
    for (size_t k = 0; k < pca->components && status == STATUS_OK; k++) {
        double *axis = pca->axis + k * width;
        pca->variance[k] = fmax(value[k], 0) / (double)(rows - 1);
        if (n == width) {
            memcpy(axis, vector + k * n, width * sizeof *axis);
            continue;
        }
        memset(axis, 0, width * sizeof *axis);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < width; j++) axis[j] += vector[k * n + r] * x[r * width + j];
    }
    if (status == STATUS_OK && n != width) orthonormalise(pca->axis, pca->components, width);
    free(a);
    free(vector);
    free(value);
    return status;
}

// next = block X^T X, row by row
static void apply(const double *x, size_t rows, size_t width, const double *block, size_t count, double *next) {
    memset(next, 0, count * width * sizeof *next);
    for (size_t r = 0; r < rows; r++) {
        const double *row = x + r * width;
        for (size_t k = 0; k < count; k++) {
            double dot = 0;
            for (size_t j = 0; j < width; j++) dot += row[j] * block[k * width + j];
            for (size_t j = 0; j < width; j++) next[k * width + j] += dot * row[j];
        }
    }
}

// Rayleigh-Ritz: block (orthonormal) and next = block X^T X are turned to the best directions within; value descending.
static Status turn_to_best(double *block, const double *next, size_t count, size_t width, double *small, double *value,
                           double *turned) {
    double *vector = small + count * count;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            double dot = 0;
            for (size_t k = 0; k < width; k++) dot += block[i * width + k] * next[j * width + k];
            small[i * count + j] = dot;
        }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            small[i * count + j] = small[j * count + i] = (small[i * count + j] + small[j * count + i]) / 2;
    TRY(symmetric_eigen(small, count, value, vector));
    memset(turned, 0, count * width * sizeof *turned);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            for (size_t k = 0; k < width; k++) turned[i * width + k] += vector[i * count + j] * block[j * width + k];
    memcpy(block, turned, count * width * sizeof *block);
    return STATUS_OK;
}

static Status fit_randomised(const double *x, size_t rows, uint32_t seed, Pca *pca) {
    size_t width = pca->width, least = rows < width ? rows : width;
    size_t count = 2 * pca->components + 10 < least ? 2 * pca->components + 10 : least;
    double *block = malloc(3 * count * width * sizeof *block), *small = malloc((2 * count + 2) * count * sizeof *small);
    if (!block || !small) {
        free(block);
        free(small);
        return status_make(STATUS_NO_MEMORY, "no memory for %zu directions of %zu columns", count, width);
    }
    double *next = block + count * width, *turned = next + count * width, *value = small + 2 * count * count;
    double *before = value + count;
    RandomStream stream = random_stream(seed, 0);
    for (size_t i = 0; i < count * width; i++) block[i] = (double)random_unit(&stream) - 0.5;
    memset(before, 0, count * sizeof *before);
    orthonormalise(block, count, width);
    Status status = STATUS_OK;
    for (int turn = 0; turn < 500 && status == STATUS_OK; turn++) {
        apply(x, rows, width, block, count, next);
        status = turn_to_best(block, next, count, width, small, value, turned);
        double change = 0;
        for (size_t k = 0; k < pca->components; k++) change = fmax(change, fabs(value[k] - before[k]));
        memcpy(before, value, count * sizeof *before);
        if (turn >= 4 && change <= 1e-13 * value[0]) break;
        apply(x, rows, width, block, count, next);
        memcpy(block, next, count * width * sizeof *block);
        orthonormalise(block, count, width);
    }
    if (status == STATUS_OK) {
        memcpy(pca->axis, block, pca->components * width * sizeof *block);
        for (size_t k = 0; k < pca->components; k++) pca->variance[k] = fmax(value[k], 0) / (double)(rows - 1);
    }
    free(block);
    free(small);
    return status;
}

Status pca_fit(const double *values, size_t rows, size_t width, size_t components, PcaMethod method, uint32_t seed,
               Pca *out) {
    *out = (Pca){.width = width, .components = components};
    size_t least = rows < width ? rows : width;
    if (rows < 2 || components < 1 || components > least)
        return status_make(STATUS_INVALID,
                           "%zu components of %zu rows and %zu columns; use 2 rows or more and up to %zu", components,
                           rows, width, least);
    for (size_t i = 0; i < rows * width; i++)
        if (!isfinite(values[i]))
            return status_make(STATUS_INVALID, "row %zu, column %zu holds %g; PCA needs finite numbers", i / width,
                               i % width, values[i]);
    double *x = malloc(rows * width * sizeof *x);
    out->mean = calloc(width, sizeof *out->mean);
    out->axis = malloc(components * width * sizeof *out->axis);
    out->variance = malloc(components * sizeof *out->variance);
    out->share = malloc(components * sizeof *out->share);
    Status status = STATUS_OK;
    if (!x || !out->mean || !out->axis || !out->variance || !out->share) {
        status = status_make(STATUS_NO_MEMORY, "no memory for %zu rows of %zu columns", rows, width);
    } else {
        for (size_t i = 0; i < rows * width; i++) out->mean[i % width] += values[i];
        for (size_t j = 0; j < width; j++) out->mean[j] /= (double)rows;
        for (size_t i = 0; i < rows * width; i++) {
            x[i] = values[i] - out->mean[i % width];
            out->total_variance += x[i] * x[i] / (double)(rows - 1);
        }
        bool exact = method == PCA_EXACT || (method == PCA_AUTO && least <= EXACT_LIMIT);
        status = exact ? fit_exact(x, rows, out) : fit_randomised(x, rows, seed, out);
    }
    free(x);
    if (status != STATUS_OK) {
        pca_free(out);
        return status;
    }
    fix_signs(out);
    for (size_t k = 0; k < components; k++)
        out->share[k] = out->total_variance > 0 ? out->variance[k] / out->total_variance : NAN;
    return STATUS_OK;
}

void pca_transform(const Pca *pca, const double *values, size_t rows, double *scores) {
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < pca->components; k++) {
            double sum = 0;
            for (size_t j = 0; j < pca->width; j++)
                sum += (values[r * pca->width + j] - pca->mean[j]) * pca->axis[k * pca->width + j];
            scores[r * pca->components + k] = sum;
        }
}
