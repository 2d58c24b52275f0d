// loess: see loess.h. Sort by x, cut into cells, fit at the vertices, blend.
#include "loess.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "spread.h"

typedef struct Point {
    double x, y;
    size_t position;
} Point;

typedef struct Vertex {
    double x, value, slope;
} Vertex;

typedef struct Fit {
    Point *point; // [count] ascending x
    size_t count;
    size_t near; // points in a local fit
    size_t leaf; // points a cell may hold
    double low, high;
    double *cut; // [count + 2] cut values in any order, then sorted with the ends
    size_t cuts;
} Fit;

// Sorts by x, equal ones by position, which is the order they come in: a byte at a time, from the lowest, over keys
// that order as the numbers do. other[count] is scratch.
static void sort_points(Point *point, size_t count, Point *other) {
    for (unsigned shift = 0; shift < 64; shift += 8) { // an even number of passes: the result is in `point`
        size_t place[257] = {0};
        for (int pass = 0; pass < 2; pass++)
            for (size_t i = 0; i < count; i++) {
                double x = point[i].x + 0.0; // -0 as 0
                uint64_t key;
                memcpy(&key, &x, sizeof key);
                key = key >> 63 ? ~key : key | (uint64_t)1 << 63;
                size_t digit = key >> shift & 255;
                if (pass == 0) place[digit + 1]++;
                else other[place[digit]++] = point[i];
                if (pass == 0 && i + 1 == count)
                    for (size_t k = 0; k < 256; k++) place[k + 1] += place[k];
            }
        Point *swap = point;
        point = other;
        other = swap;
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Cuts points l..u (inclusive) of the cell [low, high]. Depth is at most log2 of the points.
static void cut_cell(Fit *fit, size_t l, size_t u, double low, double high) {
    if (u + 1 - l <= fit->leaf || u <= l) return;
    size_t mid = (l + u) / 2, found = mid;
    for (size_t offset = 0, step = 0;; step++) { // +1, -1, +2, -2, ...
        size_t at = mid;
        if (step > 0) {
            offset = (step + 1) / 2;
            if (step % 2) at = mid + offset;
            else if (offset > mid) break;
            else at = mid - offset;
        }
        if (at >= u || at < l) break; // the range is exhausted: mid stays where it is
        if (fit->point[at].x != fit->point[at + 1].x) {
            found = at;
            break;
        }
    }
    double cut = fit->point[found].x;
    if (cut == low || cut == high) return;
    fit->cut[fit->cuts++] = cut;
    cut_cell(fit, l, found, low, cut);
    cut_cell(fit, found + 1, u, cut, high);
}

// Singular value decomposition of the small upper triangle r by one-sided Jacobi: r = u diag(s) v', u left in r.
static void small_svd(double r[3][3], int n, double s[3], double v[3][3]) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) v[i][j] = i == j;
    for (int sweep = 0; sweep < 60; sweep++) {
        bool turned = false;
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++) {
                double a = 0, b = 0, c = 0;
                for (int i = 0; i < n; i++) {
                    a += r[i][p] * r[i][p];
                    b += r[i][q] * r[i][q];
                    c += r[i][p] * r[i][q];
                }
                if (fabs(c) <= DBL_EPSILON * sqrt(a * b) || c == 0) continue;
                turned = true;
                double zeta = (b - a) / (2 * c), t = (zeta >= 0 ? 1 : -1) / (fabs(zeta) + sqrt(1 + zeta * zeta));
                double cosine = 1 / sqrt(1 + t * t), sine = cosine * t;
                for (int i = 0; i < n; i++) {
                    double x = r[i][p], y = r[i][q];
                    r[i][p] = cosine * x - sine * y;
                    r[i][q] = sine * x + cosine * y;
                    x = v[i][p], y = v[i][q];
                    v[i][p] = cosine * x - sine * y;
                    v[i][q] = sine * x + cosine * y;
                }
            }
        if (!turned) break;
    }
    for (int j = 0; j < n; j++) {
        double sum = 0;
        for (int i = 0; i < n; i++) sum += r[i][j] * r[i][j];
        s[j] = sqrt(sum);
        for (int i = 0; i < n && s[j] > 0; i++) r[i][j] /= s[j];
    }
}

// Least squares of b on a[rows][4] (columns 0..n-1 the predictors, column n the response), destroyed; Householder QR
// and a pseudo-inverse as in netlib. out[n].
static void solve(double *a, size_t rows, int n, double *out) {
    double norm[3], r[3][3] = {{0}}, qb[3] = {0}, s[3], v[3][3], largest = 0;
    for (int j = 0; j < n; j++) {
        double sum = 0;
        for (size_t i = 0; i < rows; i++) sum += a[i * 4 + j] * a[i * 4 + j];
        norm[j] = sum > 0 ? sqrt(sum) : 1;
        for (size_t i = 0; i < rows; i++) a[i * 4 + j] /= norm[j];
    }
    for (int j = 0; j < n && (size_t)j < rows; j++) {
        double sum = 0;
        for (size_t i = (size_t)j; i < rows; i++) sum += a[i * 4 + j] * a[i * 4 + j];
        double alpha = a[(size_t)j * 4 + j] > 0 ? -sqrt(sum) : sqrt(sum);
        if (alpha == 0) continue;
        a[(size_t)j * 4 + j] -= alpha;
        double length = sum - alpha * (a[(size_t)j * 4 + j] + alpha); // |v|^2 / 2
        for (int k = j + 1; k <= n; k++) {
            double dot = 0;
            for (size_t i = (size_t)j; i < rows; i++) dot += a[i * 4 + j] * a[i * 4 + k];
            dot /= length;
            for (size_t i = (size_t)j; i < rows; i++) a[i * 4 + k] -= dot * a[i * 4 + j];
        }
        r[j][j] = alpha;
        for (int k = j + 1; k < n; k++) r[j][k] = a[(size_t)j * 4 + k];
        qb[j] = a[(size_t)j * 4 + n];
    }
    small_svd(r, n, s, v);
    for (int j = 0; j < n; j++) largest = fmax(largest, s[j]);
    for (int j = 0; j < n; j++) out[j] = 0;
    for (int k = 0; k < n; k++) {
        if (!(s[k] > 100 * DBL_EPSILON * largest)) continue;
        double dot = 0;
        for (int i = 0; i < n; i++) dot += r[i][k] * qb[i];
        for (int j = 0; j < n; j++) out[j] += v[j][k] * dot / s[k];
    }
    for (int j = 0; j < n; j++) out[j] /= norm[j];
}

// Value and slope at `at` from the nearest points. work[near * 4].
static Status fit_vertex(const Fit *fit, int degree, double at, double *work, Vertex *out) {
    const Point *p = fit->point;
    size_t first = 0, last = fit->count; // the window [first, last) shrinks to `near` points
    size_t lo = 0, hi = fit->count;
    while (lo < hi) { // first point >= at
        size_t mid = (lo + hi) / 2;
        if (p[mid].x < at) lo = mid + 1;
        else hi = mid;
    }
    first = last = lo;
    while (last - first < fit->near) {
        if (first == 0) last++;
        else if (last == fit->count) first--;
        else if (at - p[first - 1].x <= p[last].x - at) first--;
        else last++;
    }
    double radius = fmax(fabs(p[first].x - at), fabs(p[last - 1].x - at));
    if (!(radius > 0))
        return status_make(STATUS_INVALID,
                           "local regression: %zu points share x = %g, all those of one neighbourhood; use a "
                           "larger span, or fewer genes with equal means",
                           fit->near, at);
    size_t used = 0;
    for (size_t i = first; i < last; i++) {
        double d = p[i].x - at, u = fabs(d) / radius;
        if (u >= 1) continue;
        double w = 1 - u * u * u;
        w = sqrt(w * w * w);
        double *row = work + used++ * 4;
        row[0] = w;
        row[1] = w * d;
        if (degree == 2) row[2] = w * d * d;
        row[degree + 1] = w * p[i].y;
    }
    double b[3] = {0};
    solve(work, used, degree + 1, b);
    *out = (Vertex){at, b[0], b[1]};
    return STATUS_OK;
}

static double blend(const Vertex *a, const Vertex *b, double x) {
    double width = b->x - a->x, h = (x - a->x) / width, g = 1 - h;
    return g * g * (1 + 2 * h) * a->value + h * h * (3 - 2 * h) * b->value +
           width * (h * g * g * a->slope + h * h * (h - 1) * b->slope);
}

typedef struct Vertices {
    const Fit *fit;
    int degree;
    Vertex *vertex; // [cuts]
    Status *status; // [cuts]
} Vertices;

static void fit_vertices(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Vertices *v = context;
    double *work = malloc(v->fit->near * 4 * sizeof *work);
    for (int64_t k = first; k < last; k++)
        v->status[k] = work ? fit_vertex(v->fit, v->degree, v->fit->cut[k], work, &v->vertex[k])
                            : status_make(STATUS_NO_MEMORY, "no memory for a regression of %zu points", v->fit->count);
    free(work);
}

static Status fit_cells(Fit *fit, int degree, double *fitted) {
    cut_cell(fit, 0, fit->count - 1, fit->low, fit->high);
    fit->cut[fit->cuts++] = fit->low;
    fit->cut[fit->cuts++] = fit->high;
    qsort(fit->cut, fit->cuts, sizeof *fit->cut, ascending);
    Vertex *vertex = malloc(fit->cuts * sizeof *vertex);
    Status status = STATUS_OK, *each = calloc(fit->cuts, sizeof *each);
    if (vertex && each)
        spread(fit_vertices, &(Vertices){fit, degree, vertex, each}, (int64_t)fit->cuts,
               (int64_t)(fit->cuts * fit->near) * 20);
    else status = status_make(STATUS_NO_MEMORY, "no memory for a regression of %zu points", fit->count);
    for (size_t k = 0; each && k < fit->cuts; k++) { // the first that failed counts
        if (status == STATUS_OK) status = each[k];
        else status_drop(each[k]);
    }
    for (size_t i = 0, cell = 0; i < fit->count && status == STATUS_OK; i++) {
        while (cell + 2 < fit->cuts && fit->point[i].x > vertex[cell + 1].x) cell++; // x <= cut goes left
        fitted[fit->point[i].position] = blend(&vertex[cell], &vertex[cell + 1], fit->point[i].x);
    }
    free(vertex);
    free(each);
    return status;
}

Status loess_fit(const double *x, const double *y, size_t count, const LoessOptions *options, double *fitted) {
    if (options->degree < 1 || options->degree > 2 || !(options->span > 0))
        return status_make(STATUS_INVALID, "local regression: degree %d and span %g; degree is 1 or 2 and span > 0",
                           options->degree, options->span);
    if (count == 0) return STATUS_OK;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i]) || !isfinite(y[i]))
            return status_make(STATUS_INVALID, "local regression: point %zu is (%g, %g)", i, x[i], y[i]);
    Fit fit = {.count = count};
    double near = floor((double)count * options->span + 1e-5);
    fit.near = near < (double)count ? (size_t)near : count;
    fit.leaf = (size_t)floor((double)count * options->span * 0.2);
    if (fit.near < (size_t)options->degree + 1)
        return status_make(STATUS_INVALID,
                           "local regression: a span of %g of %zu points leaves %zu for each fit of degree %d, which "
                           "needs %d; use more genes or a larger span",
                           options->span, count, fit.near, options->degree, options->degree + 1);
    fit.point = malloc(count * sizeof *fit.point);
    fit.cut = malloc((count + 2) * sizeof *fit.cut);
    Status status = STATUS_OK;
    Point *other = malloc(count * sizeof *other);
    if (!fit.point || !fit.cut || !other) {
        status = status_make(STATUS_NO_MEMORY, "no memory for a regression of %zu points", count);
    } else {
        for (size_t i = 0; i < count; i++) fit.point[i] = (Point){x[i], y[i], i};
        sort_points(fit.point, count, other);
        double low = fit.point[0].x, high = fit.point[count - 1].x;
        double margin = fmax(high - low, 1e-10 * fmax(fabs(low), fabs(high)) + 1e-30) * 0.005;
        fit.low = low - margin;
        fit.high = high + margin;
        status = fit_cells(&fit, options->degree, fitted);
    }
    free(other);
    free(fit.point);
    free(fit.cut);
    return status;
}
