// stain: see stain.h. A channel has 256 densities, so logarithms come from a table and the transform, a product of
// powers, from nine tables. Angles are compared by a ratio that orders as they do.
#include "stain.h"

#include <math.h>
#include <string.h>

#include "quantile.h"

static const double light = 240, stained_density = 0.15;

static void density_table(double table[256]) {
    for (int v = 0; v < 256; v++) table[v] = -log((v + 1) / light);
}

void symmetric_eigen3(const double matrix[3][3], double values[3], double vectors[3][3]) {
    double a[3][3], v[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, scale = 0;
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++) scale = fmax(scale, fabs(matrix[r][c]));
    for (int r = 0; r < 3; r++) // scaled, so that squares neither overflow nor vanish
        for (int c = 0; c < 3; c++) a[r][c] = scale > 0 ? 0.5 * (matrix[r][c] / scale + matrix[c][r] / scale) : 0;
    for (int sweep = 0; sweep < 64; sweep++) {
        if (a[0][1] == 0 && a[0][2] == 0 && a[1][2] == 0) break;
        for (int p = 0; p < 2; p++)
            for (int q = p + 1; q < 3; q++) {
                if (a[p][q] == 0) continue;
                if (fabs(a[p][q]) <= 1e-18 * sqrt(fabs(a[p][p] * a[q][q])) || fabs(a[p][q]) < 1e-300) {
                    a[p][q] = a[q][p] = 0;
                    continue;
                }
                double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
                double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + hypot(theta, 1)), c = 1 / sqrt(t * t + 1), s = t * c;
                int k = 3 - p - q;
                double app = a[p][p] - t * a[p][q], aqq = a[q][q] + t * a[p][q];
                double akp = c * a[k][p] - s * a[k][q], akq = s * a[k][p] + c * a[k][q];
                a[p][p] = app, a[q][q] = aqq, a[p][q] = a[q][p] = 0;
                a[k][p] = a[p][k] = akp, a[k][q] = a[q][k] = akq;
                for (int i = 0; i < 3; i++) {
                    double vp = v[i][p], vq = v[i][q];
                    v[i][p] = c * vp - s * vq;
                    v[i][q] = s * vp + c * vq;
                }
            }
    }
    int order[3] = {0, 1, 2};
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2 - i; k++)
            if (a[order[k]][order[k]] > a[order[k + 1]][order[k + 1]]) {
                int swap = order[k];
                order[k] = order[k + 1], order[k + 1] = swap;
            }
    for (int k = 0; k < 3; k++) {
        values[k] = a[order[k]][order[k]] * scale;
        for (int i = 0; i < 3; i++) vectors[i][k] = v[i][order[k]];
    }
}

// ---- fit

// Covariance of the stained pixels. Sums are taken about the first stained pixel, so one colour gives exact zeros.
static uint64_t covariance(const uint8_t *rgb, uint64_t pixels, const double *density, double cov[3][3]) {
    uint64_t n = 0;
    double origin[3] = {0}, sum[3] = {0}, products[6] = {0};
    for (uint64_t i = 0; i < pixels; i++, rgb += 3) {
        double d[3] = {density[rgb[0]], density[rgb[1]], density[rgb[2]]};
        if (d[0] < stained_density || d[1] < stained_density || d[2] < stained_density) continue;
        if (!n++) memcpy(origin, d, sizeof d);
        for (int c = 0; c < 3; c++) sum[c] += d[c] -= origin[c];
        products[0] += d[0] * d[0], products[1] += d[0] * d[1], products[2] += d[0] * d[2];
        products[3] += d[1] * d[1], products[4] += d[1] * d[2], products[5] += d[2] * d[2];
    }
    static const int place[3][3] = {{0, 1, 2}, {1, 3, 4}, {2, 4, 5}};
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            cov[r][c] = n > 1 ? (products[place[r][c]] - sum[r] * sum[c] / (double)n) / (double)(n - 1) : 0;
    return n;
}

// Orders as atan2(y, x) does: -2 .. 2 for -pi .. pi, straight between multiples of pi/2 on the unit diamond.
static double diamond(double y, double x) {
    double size = fabs(x) + fabs(y);
    if (size == 0) return 0;
    return y >= 0 ? 1 - x / size : x / size - 1;
}

static double angle_of_diamond(double p) {
    return p >= 0 ? atan2(1 - fabs(1 - p), 1 - p) : atan2(-(1 - fabs(p + 1)), p + 1);
}

enum { CHUNK = 4096 };

// What a percentile search runs over: two rows of weights for the densities.
typedef struct Projection {
    double weight[2][3];
    bool angle; // one value, the angle of the two projections, of stained pixels; else two searches over all pixels
} Projection;

static void add_projection(const uint8_t *rgb, uint64_t pixels, const double *density, const Projection *projection,
                           OrderSearch searches[2]) {
    float first[CHUNK], second[CHUNK];
    const double(*w)[3] = projection->weight;
    for (uint64_t begin = 0; begin < pixels; begin += CHUNK) {
        size_t n = pixels - begin < CHUNK ? (size_t)(pixels - begin) : CHUNK, kept = 0;
        for (size_t i = 0; i < n; i++, rgb += 3) {
            double d[3] = {density[rgb[0]], density[rgb[1]], density[rgb[2]]};
            double a = w[0][0] * d[0] + w[0][1] * d[1] + w[0][2] * d[2];
            double b = w[1][0] * d[0] + w[1][1] * d[1] + w[1][2] * d[2];
            if (!projection->angle) {
                first[kept] = (float)a, second[kept++] = (float)b;
            } else if (d[0] >= stained_density && d[1] >= stained_density && d[2] >= stained_density) {
                first[kept++] = (float)diamond(b, a);
            }
        }
        order_add(&searches[0], first, kept);
        if (!projection->angle) order_add(&searches[1], second, kept);
    }
}

// angle: percentiles 1 and 99 of the angle; else percentile 99 of either projection.
static Status percentiles(const uint8_t *rgb, uint64_t pixels, const double *density, const Projection *projection,
                          double out[2]) {
    OrderSearch searches[2] = {0};
    Status status = order_begin(&searches[0]);
    if (status == STATUS_OK) status = order_begin(&searches[1]);
    if (status == STATUS_OK) {
        add_projection(rgb, pixels, density, projection, searches);
        uint64_t n = searches[0].count, ranks[2] = {nearest_rank(projection->angle ? 1 : 99, n), nearest_rank(99, n)};
        status = order_set_ranks(&searches[0], ranks, 2);
        if (status == STATUS_OK && !projection->angle) status = order_set_ranks(&searches[1], ranks, 2);
    }
    if (status == STATUS_OK) {
        add_projection(rgb, pixels, density, projection, searches);
        out[0] = (double)order_value(&searches[0], 0);
        out[1] = (double)order_value(&searches[projection->angle ? 0 : 1], 1);
    }
    order_end(&searches[0]);
    order_end(&searches[1]);
    return status;
}

// Rows of the least-squares inverse of the two stain columns; false if they are one direction.
static bool pseudo_inverse(const double he[3][2], double out[2][3]) {
    double hh = 0, ee = 0, he_ = 0;
    for (int c = 0; c < 3; c++) hh += he[c][0] * he[c][0], ee += he[c][1] * he[c][1], he_ += he[c][0] * he[c][1];
    double det = hh * ee - he_ * he_;
    if (!(det > 1e-12 * hh * ee)) return false;
    for (int c = 0; c < 3; c++) {
        out[0][c] = (ee * he[c][0] - he_ * he[c][1]) / det;
        out[1][c] = (hh * he[c][1] - he_ * he[c][0]) / det;
    }
    return true;
}

Status stain_fit(const uint8_t *rgb, uint64_t pixels, StainProfile *out_profile) {
    double density[256], cov[3][3], values[3], vectors[3][3], ends[2];
    *out_profile = (StainProfile){0};
    density_table(density);
    uint64_t stained = covariance(rgb, pixels, density, cov);
    if (stained < 2)
        return status_make(STATUS_INVALID,
                           "%llu of %llu pixels are stained (every channel at most 205); Macenko's stains need at "
                           "least 2: is this an H&E picture on a white ground?",
                           (unsigned long long)stained, (unsigned long long)pixels);
    symmetric_eigen3(cov, values, vectors);
    if (!(values[2] > 0))
        return status_make(STATUS_INVALID, "all %llu stained pixels have one colour; two stains cannot be told apart",
                           (unsigned long long)stained);
    Projection projection = {.angle = true};
    for (int k = 0; k < 2; k++) {
        // Any sign gives the same stains; the main direction pointing to more density keeps angles off the cut.
        double total = vectors[0][k + 1] + vectors[1][k + 1] + vectors[2][k + 1], sign = total < 0 ? -1 : 1;
        for (int c = 0; c < 3; c++) projection.weight[k][c] = sign * vectors[c][k + 1];
    }
    TRY(percentiles(rgb, pixels, density, &projection, ends));
    double stains[2][3];
    for (int k = 0; k < 2; k++) {
        double phi = angle_of_diamond(ends[k]);
        for (int c = 0; c < 3; c++)
            stains[k][c] = projection.weight[0][c] * cos(phi) + projection.weight[1][c] * sin(phi);
    }
    int haematoxylin = stains[0][0] > stains[1][0] ? 0 : 1;
    StainProfile profile = {.stained = stained, .pixels = pixels};
    for (int c = 0; c < 3; c++) {
        profile.he[c][0] = stains[haematoxylin][c];
        profile.he[c][1] = stains[1 - haematoxylin][c];
    }
    projection.angle = false;
    if (!pseudo_inverse(profile.he, projection.weight))
        return status_make(STATUS_INVALID,
                           "the %llu stained pixels lie along one stain (1st and 99th percentile of the angle: %g and "
                           "%g); two stains cannot be told apart",
                           (unsigned long long)stained, angle_of_diamond(ends[0]), angle_of_diamond(ends[1]));
    TRY(percentiles(rgb, pixels, density, &projection, profile.max_c));
    if (!(profile.max_c[0] > 0 && profile.max_c[1] > 0))
        return status_make(STATUS_INVALID,
                           "99%% of %llu pixels have haematoxylin below %g and eosin below %g; both must be above 0 "
                           "to be scaled: crop the picture to the tissue",
                           (unsigned long long)pixels, profile.max_c[0], profile.max_c[1]);
    *out_profile = profile;
    return STATUS_OK;
}

StainProfile stain_published_reference(void) {
    return (StainProfile){.he = {{0.5626, 0.2159}, {0.7201, 0.8012}, {0.4062, 0.5581}}, .max_c = {1.9705, 1.0308}};
}

// ---- transform

void stain_concentrations(const uint8_t *rgb, uint64_t pixels, const StainProfile *own, float *concentrations) {
    double density[256], inverse[2][3] = {{0}};
    density_table(density);
    pseudo_inverse(own->he, inverse);
    for (uint64_t i = 0; i < pixels; i++, rgb += 3)
        for (int k = 0; k < 2; k++)
            concentrations[2 * i + (uint64_t)k] =
                (float)(inverse[k][0] * density[rgb[0]] + inverse[k][1] * density[rgb[1]] +
                        inverse[k][2] * density[rgb[2]]);
}

void stain_transform(const uint8_t *rgb, uint64_t pixels, const StainProfile *own, const StainProfile *reference,
                     uint8_t *out_rgb) {
    double density[256], inverse[2][3] = {{0}}, factor[3][3][256]; // [out][in][value]: exp of its share
    density_table(density);
    pseudo_inverse(own->he, inverse);
    for (int o = 0; o < 3; o++)
        for (int c = 0; c < 3; c++) {
            double weight = 0;
            for (int k = 0; k < 2; k++)
                weight += reference->he[o][k] * (reference->max_c[k] / own->max_c[k]) * inverse[k][c];
            for (int v = 0; v < 256; v++) factor[o][c][v] = exp(-weight * density[v]) * (c == 0 ? light : 1);
        }
    for (uint64_t i = 0; i < pixels; i++, rgb += 3, out_rgb += 3) {
        double value[3];
        for (int o = 0; o < 3; o++) value[o] = factor[o][0][rgb[0]] * factor[o][1][rgb[1]] * factor[o][2][rgb[2]];
        for (int o = 0; o < 3; o++) out_rgb[o] = value[o] < 255 ? (uint8_t)value[o] : 255;
    }
}
