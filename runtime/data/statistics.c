// statistics: see statistics.h. Two-pass sums in input order; sorting by (value, position), so that nothing depends on
// the sort used.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // lgamma_r and M_PI under -std=c17
#endif
#include "statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/random.h"

typedef struct Placed {
    double value;
    size_t position;
} Placed;

static int by_value(const void *a, const void *b) {
    const Placed *x = a, *y = b;
    if (isnan(x->value) || isnan(y->value)) {
        if (isnan(x->value) != isnan(y->value)) return isnan(x->value) ? 1 : -1;
    } else if (x->value != y->value) {
        return x->value < y->value ? -1 : 1;
    }
    return (x->position > y->position) - (x->position < y->position);
}

static Status sorted(const double *values, size_t count, size_t stride, Placed **out) {
    Placed *order = malloc((count + 1) * sizeof *order);
    if (!order) return status_make(STATUS_NO_MEMORY, "no memory to rank %zu values", count);
    for (size_t i = 0; i < count; i++) order[i] = (Placed){values[i * stride], i};
    qsort(order, count, sizeof *order, by_value);
    *out = order;
    return STATUS_OK;
}

// ---- Ranks --------------------------------------------------------------------------------------

static Status rank_strided(const double *values, size_t count, size_t stride, double *ranks) {
    Placed *order = NULL;
    TRY(sorted(values, count, stride, &order));
    bool nan = count > 0 && isnan(order[count - 1].value);
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && order[end].value == order[i].value;) end++;
        double rank = nan ? NAN : ((double)i + 1 + (double)end) / 2;
        for (size_t j = i; j < end; j++) ranks[order[j].position] = rank;
    }
    free(order);
    return STATUS_OK;
}

Status rank_average(const double *values, size_t count, double *ranks) {
    return rank_strided(values, count, 1, ranks);
}

Status rank_ordinal(const double *values, size_t count, int32_t *ranks) {
    Placed *order = NULL;
    if (count > INT32_MAX) return status_make(STATUS_UNSUPPORTED, "%zu values are too many for 32-bit ranks", count);
    TRY(sorted(values, count, 1, &order));
    for (size_t i = 0; i < count; i++) ranks[order[i].position] = (int32_t)i + 1;
    free(order);
    return STATUS_OK;
}

Status rank_rows(const double *values, size_t rows, size_t columns, int32_t *ranks) {
    for (size_t r = 0; r < rows; r++) TRY(rank_ordinal(values + r * columns, columns, ranks + r * columns));
    return STATUS_OK;
}

// ---- Correlations -------------------------------------------------------------------------------

static double correlation_p(double r, size_t count) {
    if (count < 3 || isnan(r)) return NAN;
    // |t| > t0 for n - 2 degrees of freedom is a beta tail: I_(1 - r^2)((n - 2) / 2, 1 / 2).
    return incomplete_beta(((double)count - 2) / 2, 0.5, (1 - r) * (1 + r));
}

static double pearson_strided(const double *x, const double *y, size_t count, size_t stride) {
    if (count < 2) return NAN;
    double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0, n = (double)count;
    bool flat_x = true, flat_y = true;
    for (size_t i = 0; i < count; i++) {
        mean_x += x[i * stride];
        mean_y += y[i * stride];
        flat_x = flat_x && x[i * stride] == x[0]; // a sum of equal numbers need not give back their mean
        flat_y = flat_y && y[i * stride] == y[0];
    }
    if (flat_x || flat_y) return NAN;
    mean_x /= n;
    mean_y /= n;
    for (size_t i = 0; i < count; i++) {
        double dx = x[i * stride] - mean_x, dy = y[i * stride] - mean_y;
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    double r = xy / sqrt(xx) / sqrt(yy);
    return r > 1 ? 1 : r < -1 ? -1 : r;
}

double pearson(const double *x, const double *y, size_t count, double *out_p) {
    double r = pearson_strided(x, y, count, 1);
    if (out_p) *out_p = correlation_p(r, count);
    return r;
}

static Status spearman_strided(const double *x, const double *y, size_t count, size_t stride, double *out_rho) {
    double *ranks = malloc((2 * count + 1) * sizeof *ranks);
    if (!ranks) return status_make(STATUS_NO_MEMORY, "no memory for %zu ranks", count);
    Status status = rank_strided(x, count, stride, ranks);
    if (status == STATUS_OK) status = rank_strided(y, count, stride, ranks + count);
    if (status == STATUS_OK) *out_rho = pearson_strided(ranks, ranks + count, count, 1);
    free(ranks);
    return status;
}

Status spearman(const double *x, const double *y, size_t count, double *out_rho, double *out_p) {
    TRY(spearman_strided(x, y, count, 1, out_rho));
    if (out_p) *out_p = correlation_p(*out_rho, count);
    return STATUS_OK;
}

Status pearson_columns(const double *x, const double *y, size_t rows, size_t columns, double *out) {
    for (size_t c = 0; c < columns; c++) out[c] = pearson_strided(x + c, y + c, rows, columns);
    return STATUS_OK;
}

Status spearman_columns(const double *x, const double *y, size_t rows, size_t columns, double *out) {
    for (size_t c = 0; c < columns; c++) TRY(spearman_strided(x + c, y + c, rows, columns, &out[c]));
    return STATUS_OK;
}

typedef struct Pair {
    double x, y;
} Pair;

static int by_pair(const void *a, const void *b) {
    const Pair *p = a, *q = b;
    if (p->x != q->x) return p->x < q->x ? -1 : 1;
    return (p->y > q->y) - (p->y < q->y);
}

// Sorts value[0 .. count) by merging; returns the inversions (pairs out of order, ties not counted).
static double inversions(double *value, double *work, size_t count) {
    if (count < 2) return 0;
    size_t half = count / 2, i = 0, j = half, k = 0;
    double total = inversions(value, work, half) + inversions(value + half, work, count - half);
    while (i < half && j < count) {
        if (value[i] <= value[j]) {
            work[k++] = value[i++];
        } else {
            total += (double)(half - i);
            work[k++] = value[j++];
        }
    }
    while (i < half) work[k++] = value[i++];
    while (j < count) work[k++] = value[j++];
    memcpy(value, work, count * sizeof *value);
    return total;
}

Status kendall(const double *x, const double *y, size_t count, double *out_tau) {
    *out_tau = NAN;
    for (size_t i = 0; i < count; i++)
        if (isnan(x[i]) || isnan(y[i])) return STATUS_OK;
    Pair *pair = malloc((count + 1) * sizeof *pair);
    double *value = malloc((2 * count + 1) * sizeof *value);
    if (!pair || !value) {
        free(pair);
        free(value);
        return status_make(STATUS_NO_MEMORY, "no memory to compare %zu pairs", count);
    }
    for (size_t i = 0; i < count; i++) pair[i] = (Pair){x[i], y[i]};
    qsort(pair, count, sizeof *pair, by_pair);
    double n = (double)count, all = n * (n - 1) / 2, tied_x = 0, tied_y = 0, tied_both = 0;
    for (size_t i = 0, run_x = 0, run_both = 0; i < count; i++) {
        bool same_x = i > 0 && pair[i].x == pair[i - 1].x, same = same_x && pair[i].y == pair[i - 1].y;
        run_x = same_x ? run_x + 1 : 0;
        run_both = same ? run_both + 1 : 0;
        tied_x += (double)run_x;
        tied_both += (double)run_both;
        value[i] = pair[i].y;
    }
    double discordant = inversions(value, value + count, count);
    for (size_t i = 1, run = 0; i < count; i++) { // value is sorted now
        run = value[i] == value[i - 1] ? run + 1 : 0;
        tied_y += (double)run;
    }
    double concordant = all - tied_x - tied_y + tied_both - discordant;
    if (tied_x < all && tied_y < all) {
        double tau = (concordant - discordant) / sqrt(all - tied_x) / sqrt(all - tied_y);
        *out_tau = tau > 1 ? 1 : tau < -1 ? -1 : tau;
    }
    free(pair);
    free(value);
    return STATUS_OK;
}

double mean_of_valid(const double *values, size_t count, size_t *out_used) {
    double sum = 0;
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i])) {
            sum += values[i];
            used++;
        }
    if (out_used) *out_used = used;
    return used ? sum / (double)used : NAN;
}

Status mean_of_largest(const double *values, size_t count, size_t k, double *out_mean) {
    Placed *order = NULL;
    TRY(sorted(values, count, 1, &order));
    size_t valid = count;
    while (valid > 0 && isnan(order[valid - 1].value)) valid--;
    if (k > valid) k = valid;
    double sum = 0;
    for (size_t i = 0; i < k; i++) sum += order[valid - 1 - i].value;
    *out_mean = k ? sum / (double)k : NAN;
    free(order);
    return STATUS_OK;
}

// ---- Errors -------------------------------------------------------------------------------------

double mean_absolute_error(const double *truth, const double *seen, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += fabs(truth[i] - seen[i]);
    return count ? sum / (double)count : NAN;
}

double mean_squared_error(const double *truth, const double *seen, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (truth[i] - seen[i]) * (truth[i] - seen[i]);
    return count ? sum / (double)count : NAN;
}

// Population variance; exactly 0 for equal values.
static double spread_of(const double *x, size_t count, double *out_mean) {
    double mean = 0, squares = 0;
    bool flat = true;
    for (size_t i = 0; i < count; i++) {
        mean += x[i];
        flat = flat && x[i] == x[0];
    }
    mean = flat && count ? x[0] : mean / (double)count;
    for (size_t i = 0; i < count; i++) squares += (x[i] - mean) * (x[i] - mean);
    *out_mean = mean;
    return squares / (double)count;
}

double r_squared(const double *truth, const double *seen, size_t count) {
    if (count < 2) return NAN;
    double mean, variance = spread_of(truth, count, &mean), error = mean_squared_error(truth, seen, count);
    if (variance == 0) return isnan(error) ? NAN : error == 0 ? 1 : 0;
    return 1 - error / variance;
}

double relative_variance_distance(const double *truth, const double *seen, size_t count) {
    if (count == 0) return NAN;
    double mean, a = spread_of(truth, count, &mean), b = spread_of(seen, count, &mean);
    return a > 0 ? (b - a) * (b - a) / (a * a) : NAN;
}

// ---- Divergences --------------------------------------------------------------------------------

double jensen_shannon(const double *x, const double *y, size_t count, double epsilon) {
    double sum_x = 0, sum_y = 0, total = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(x[i] + epsilon >= 0) || !(y[i] + epsilon >= 0)) return NAN;
        sum_x += x[i] + epsilon;
        sum_y += y[i] + epsilon;
    }
    if (!(sum_x > 0) || !(sum_y > 0)) return NAN;
    for (size_t i = 0; i < count; i++) {
        double p = (x[i] + epsilon) / sum_x, q = (y[i] + epsilon) / sum_y, m = (p + q) / 2;
        if (p > 0) total += p * log(p / m);
        if (q > 0) total += q * log(q / m);
    }
    return sqrt(fmax(total / 2, 0));
}

// Two standard normal numbers from two words (Box-Muller).
static double normal_number(RandomStream *stream) {
    double u = ((double)random_word(stream) + 0.5) * 0x1p-32, v = ((double)random_word(stream) + 0.5) * 0x1p-32;
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

// x / deviation + jitter; a constant vector keeps its scale.
static void scale_and_jitter(const double *x, size_t count, RandomStream *stream, double *out) {
    double mean, deviation = sqrt(spread_of(x, count, &mean)), size = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = deviation > 0 ? x[i] / deviation : x[i];
        size += fabs(out[i]);
    }
    double noise = 1e-10 * fmax(1, size / (double)count);
    for (size_t i = 0; i < count; i++) out[i] += noise * normal_number(stream);
}

// Chebyshev distance of point `at` of the x order to its k-th neighbour: walk outwards until x alone is farther.
static double kth_distance(const Placed *order, const double *y, size_t count, size_t at, int k, double *best) {
    int held = 0;
    size_t left = at, right = at + 1;
    double x = order[at].value, mine = y[order[at].position];
    for (;;) {
        double to_left = left > 0 ? x - order[left - 1].value : INFINITY;
        double to_right = right < count ? order[right].value - x : INFINITY;
        double dx = fmin(to_left, to_right);
        if (isinf(dx) || (held == k && dx >= best[k - 1])) return best[k - 1];
        size_t other = to_left <= to_right ? --left : right++;
        double d = fmax(dx, fabs(y[order[other].position] - mine));
        if (held == k && d >= best[k - 1]) continue;
        int place = held < k ? held++ : k - 1;
        while (place > 0 && best[place - 1] > d) {
            best[place] = best[place - 1];
            place--;
        }
        best[place] = d;
    }
}

// How many of the sorted values lie within `radius` (closed) of `value`, that one included.
static size_t within(const Placed *order, size_t count, double value, double radius) {
    size_t bound[2];
    for (int side = 0; side < 2; side++) {
        size_t lo = 0, hi = count;
        while (lo < hi) {
            size_t mid = (lo + hi) / 2;
            double d = order[mid].value - value;
            if (side == 0 ? d < -radius : d <= radius) lo = mid + 1;
            else hi = mid;
        }
        bound[side] = lo;
    }
    return bound[1] - bound[0];
}

Status mutual_information(const double *x, const double *y, size_t count, int k, uint32_t seed, double *out_nats) {
    *out_nats = NAN;
    if (k < 1 || k > 1000) return status_make(STATUS_INVALID, "mutual information by %d neighbours; use 1 to 1000", k);
    if (count <= (size_t)k) return STATUS_OK;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i]) || !isfinite(y[i])) return STATUS_OK;
    double *scaled = malloc((2 * count + (size_t)k) * sizeof *scaled), *best = scaled ? scaled + 2 * count : NULL;
    Placed *by_x = NULL, *by_y = NULL;
    Status status = scaled ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for %zu points", count);
    if (status == STATUS_OK) {
        RandomStream stream = random_stream(seed, 0);
        scale_and_jitter(x, count, &stream, scaled);
        scale_and_jitter(y, count, &stream, scaled + count);
        status = sorted(scaled, count, 1, &by_x);
    }
    if (status == STATUS_OK) status = sorted(scaled + count, count, 1, &by_y);
    double sum = 0;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        size_t point = by_x[i].position;
        double radius = nextafter(kth_distance(by_x, scaled + count, count, i, k, best), 0);
        // within() counts the point itself, so these are n_x + 1 and n_y + 1
        sum += digamma((double)within(by_x, count, scaled[point], radius)) +
               digamma((double)within(by_y, count, scaled[count + point], radius));
    }
    if (status == STATUS_OK) *out_nats = fmax(0, digamma((double)count) + digamma(k) - sum / (double)count);
    free(scaled);
    free(by_x);
    free(by_y);
    return status;
}

// ---- Functions ----------------------------------------------------------------------------------

double digamma(double x) {
    double shift = 0;
    if (!(x > 0)) return NAN;
    while (x < 12) shift -= 1 / x++;
    double y = 1 / (x * x); // the asymptotic series; the first term left out is below 1e-16 at 12
    double series =
        y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y * (1.0 / 132 - y * 691.0 / 32760)))));
    return shift + log(x) - 0.5 / x - series;
}

// Continued fraction of the incomplete beta function by Lentz's method; converges fast for x < (a + 1) / (a + b + 2).
static double beta_fraction(double a, double b, double x) {
    double c = 1, d = 1 - (a + b) * x / (a + 1), tiny = 1e-300;
    if (fabs(d) < tiny) d = tiny;
    d = 1 / d;
    double h = d;
    for (int i = 1; i <= 10000; i++) {
        double m = i, even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        for (int part = 0; part < 2; part++) {
            double term = part ? odd : even;
            d = 1 + term * d;
            c = 1 + term / c;
            if (fabs(d) < tiny) d = tiny;
            if (fabs(c) < tiny) c = tiny;
            d = 1 / d;
            h *= d * c;
        }
        if (fabs(d * c - 1) < 1e-15) break;
    }
    return h;
}

double incomplete_beta(double a, double b, double x) {
    if (!(a > 0) || !(b > 0) || !(x >= 0) || !(x <= 1)) return NAN;
    if (x == 0 || x == 1) return x;
    int sign; // lgamma_r: lgamma writes a global
    double front = exp(lgamma_r(a + b, &sign) - lgamma_r(a, &sign) - lgamma_r(b, &sign) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double normal_upper_tail(double z) {
    return 0.5 * erfc(z / M_SQRT2);
}
