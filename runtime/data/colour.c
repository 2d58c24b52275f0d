// colour: see colour.h. The integer forms repeat the tables and shifts of the libraries they are named after; the
// float forms are written in the order of operations of scikit-image.
#include "colour.h"

#include <math.h>

void gray_pillow(const uint8_t *rgb, size_t count, uint8_t *gray) {
    for (size_t i = 0; i < count; i++, rgb += 3)
        gray[i] = (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

void gray_opencv(const uint8_t *rgb, size_t count, uint8_t *gray) {
    for (size_t i = 0; i < count; i++, rgb += 3)
        gray[i] = (uint8_t)((rgb[0] * 9798u + rgb[1] * 19235u + rgb[2] * 3735u + (1u << 14)) >> 15);
}

void gray_weighted(const uint8_t *rgb, size_t count, GrayWeights weights, float *gray) {
    for (size_t i = 0; i < count; i++, rgb += 3)
        gray[i] = weights.r * ((float)rgb[0] / 255.f) + weights.g * ((float)rgb[1] / 255.f) +
                  weights.b * ((float)rgb[2] / 255.f);
}

void gray_weighted_float(const float *rgb, size_t count, GrayWeights weights, float *gray) {
    for (size_t i = 0; i < count; i++, rgb += 3) gray[i] = weights.r * rgb[0] + weights.g * rgb[1] + weights.b * rgb[2];
}

void unit_from_bytes(const uint8_t *bytes, size_t count, float *values) {
    for (size_t i = 0; i < count; i++) values[i] = (float)bytes[i] / 255.f;
}

void bytes_from_unit_cut(const float *values, size_t count, uint8_t *bytes) {
    for (size_t i = 0; i < count; i++) {
        float v = values[i] * 255.f;
        bytes[i] = (uint8_t)(v > 0 ? (v < 255.f ? v : 255.f) : 0.f); // NaN is not > 0
    }
}

void bytes_from_unit_rounded(const float *values, size_t count, uint8_t *bytes) {
    for (size_t i = 0; i < count; i++) {
        float v = rintf(values[i] * 255.f);
        bytes[i] = (uint8_t)(v > 0 ? (v < 255.f ? v : 255.f) : 0.f);
    }
}

// ---- HSV

static int least(int a, int b, int c) {
    int m = a < b ? a : b;
    return m < c ? m : c;
}

static int greatest(int a, int b, int c) {
    int m = a > b ? a : b;
    return m > c ? m : c;
}

// The six arrangements of value (0) and p, q, t (1, 2, 3) by sixth of the hue circle.
static const uint8_t sector_order[6][3] = {{0, 3, 1}, {2, 0, 1}, {1, 0, 3}, {1, 2, 0}, {3, 1, 0}, {0, 1, 2}};

void hsv_pillow(const uint8_t *rgb, size_t count, uint8_t *hsv) {
    for (size_t i = 0; i < count; i++, rgb += 3, hsv += 3) {
        int r = rgb[0], g = rgb[1], b = rgb[2], high = greatest(r, g, b), low = least(r, g, b);
        hsv[2] = (uint8_t)high;
        if (low == high) {
            hsv[0] = hsv[1] = 0;
            continue;
        }
        // Pillow mixes float variables with double constants; the casts keep its roundings.
        float range = (float)(high - low), s = range / (float)high;
        float rc = (float)(high - r) / range, gc = (float)(high - g) / range, bc = (float)(high - b) / range, h;
        if (r == high) h = bc - gc;
        else if (g == high) h = (float)(2.0 + (double)rc - (double)bc);
        else h = (float)(4.0 + (double)gc - (double)rc);
        h = (float)fmod((double)h / 6.0 + 1.0, 1.0);
        hsv[0] = (uint8_t)((double)h * 255.0);
        hsv[1] = (uint8_t)((double)s * 255.0);
    }
}

void rgb_from_hsv_pillow(const uint8_t *hsv, size_t count, uint8_t *rgb) {
    for (size_t i = 0; i < count; i++, rgb += 3, hsv += 3) {
        int h = hsv[0], s = hsv[1], v = hsv[2];
        int sector = (int)floor((double)(float)h * 6.0 / 255.0);
        float f = (float)((double)(float)h * 6.0 / 255.0 - (double)(float)sector), fs = (float)((double)s / 255.0);
        double value = v, saturation = (double)fs, part = (double)f;
        uint8_t tab[4];
        tab[0] = (uint8_t)v;
        tab[1] = (uint8_t)round(value * (1.0 - saturation));
        tab[2] = (uint8_t)round(value * (1.0 - saturation * part));
        tab[3] = (uint8_t)round(value * (1.0 - saturation * (1.0 - part)));
        for (int c = 0; c < 3; c++) rgb[c] = s == 0 ? (uint8_t)v : tab[sector_order[sector % 6][c]];
    }
}

void hsv_opencv(const uint8_t *rgb, size_t count, uint8_t *hsv) {
    int by_value[256], by_range[256];
    by_value[0] = by_range[0] = 0;
    for (int i = 1; i < 256; i++) {
        by_value[i] = (int)lrint((255 << 12) / (1.0 * i));
        by_range[i] = (int)lrint((180 << 12) / (6.0 * i));
    }
    for (size_t i = 0; i < count; i++, rgb += 3, hsv += 3) {
        int r = rgb[0], g = rgb[1], b = rgb[2], v = greatest(r, g, b), range = v - least(r, g, b), h;
        if (v == r) h = g - b;
        else if (v == g) h = b - r + 2 * range;
        else h = r - g + 4 * range;
        h = h * by_range[range] + (1 << 11);
        h = h >= 0 ? h >> 12 : -((-h + 4095) >> 12); // floor
        if (h < 0) h += 180;
        hsv[0] = (uint8_t)h;
        hsv[1] = (uint8_t)((range * by_value[v] + (1 << 11)) >> 12);
        hsv[2] = (uint8_t)v;
    }
}

void rgb_from_hsv_opencv(const uint8_t *hsv, size_t count, uint8_t *rgb) {
    for (size_t i = 0; i < count; i++, rgb += 3, hsv += 3) {
        float s = (float)hsv[1] * (1.f / 255.f), v = (float)hsv[2] * (1.f / 255.f);
        float h = (float)hsv[0] * (6.f / 180.f);
        int sector = (int)h;
        float part = h - (float)sector, tab[4];
        tab[0] = v;
        tab[1] = v * (1.f - s);
        // OpenCV's vector code fuses these: one rounding after the product and the difference.
        tab[2] = v * (float)(1.0 - (double)s * (double)part);
        tab[3] = v * (float)(1.0 - (double)s * (double)(1.f - part));
        for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(tab[sector_order[sector % 6][c]] * 255.f);
    }
}

void hsv_float(const double *rgb, size_t count, double *hsv) {
    for (size_t i = 0; i < count; i++, rgb += 3, hsv += 3) {
        double r = rgb[0], g = rgb[1], b = rgb[2], v = fmax(r, fmax(g, b)), range = v - fmin(r, fmin(g, b)), h;
        if (b == v) h = 4.0 + (r - g) / range; // the last channel that reaches the maximum decides
        else if (g == v) h = 2.0 + (b - r) / range;
        else h = (g - b) / range;
        h /= 6.0;
        hsv[0] = range == 0 ? 0 : h - floor(h);
        hsv[1] = range == 0 ? 0 : range / v;
        hsv[2] = v;
    }
}

void rgb_from_hsv_float(const double *hsv, size_t count, double *rgb) {
    for (size_t i = 0; i < count; i++, rgb += 3, hsv += 3) {
        double h = hsv[0] - floor(hsv[0]), s = hsv[1], v = hsv[2];
        int sector = h == h ? (int)(h * 6) : 0;
        double part = h * 6 - sector;
        double tab[4] = {v, v * (1 - s), v * (1 - part * s), v * (1 - (1 - part) * s)};
        for (int c = 0; c < 3; c++) rgb[c] = tab[sector_order[sector % 6][c]];
    }
}

// ---- stains and Lab

static void times3(const double matrix[3][3], const double x[3], double y[3]) { // y = x * matrix
    for (int c = 0; c < 3; c++) y[c] = x[0] * matrix[0][c] + x[1] * matrix[1][c] + x[2] * matrix[2][c];
}

static const double rgb_from_stains[3][3] = {{0.65, 0.70, 0.29}, {0.07, 0.99, 0.11}, {0.27, 0.57, 0.78}};

// By cofactors: the constant matrices here are well conditioned.
static void inverse3(const double m[3][3], double out[3][3]) {
    double det = 0;
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++) {
            int r1 = (r + 1) % 3, r2 = (r + 2) % 3, c1 = (c + 1) % 3, c2 = (c + 2) % 3;
            out[c][r] = m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1];
        }
    for (int c = 0; c < 3; c++) det += m[0][c] * out[c][0];
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++) out[r][c] /= det;
}

void hed_float(const double *rgb, size_t count, double *hed) {
    double stains_from_rgb[3][3], floor_log = log(1e-6);
    inverse3(rgb_from_stains, stains_from_rgb);
    for (size_t i = 0; i < count; i++, rgb += 3, hed += 3) {
        double density[3], stains[3];
        for (int c = 0; c < 3; c++) density[c] = log(fmax(rgb[c], 1e-6)) / floor_log;
        times3(stains_from_rgb, density, stains);
        for (int c = 0; c < 3; c++) hed[c] = fmax(stains[c], 0);
    }
}

void rgb_from_hed_float(const double *hed, size_t count, double *rgb) {
    double floor_log = log(1e-6);
    for (size_t i = 0; i < count; i++, rgb += 3, hed += 3) {
        double scaled[3], density[3];
        for (int c = 0; c < 3; c++) scaled[c] = hed[c] * floor_log;
        times3(rgb_from_stains, scaled, density);
        for (int c = 0; c < 3; c++) rgb[c] = fmin(fmax(exp(density[c]), 0), 1);
    }
}

// Transposed, for times3.
static const double xyz_from_rgb[3][3] = {
    {0.412453, 0.212671, 0.019334}, {0.357580, 0.715160, 0.119193}, {0.180423, 0.072169, 0.950227}};
static const double white_d65[3] = {0.95047, 1.0, 1.08883};

void lab_float(const double *rgb, size_t count, double *lab) {
    for (size_t i = 0; i < count; i++, rgb += 3, lab += 3) {
        double linear[3], xyz[3];
        for (int c = 0; c < 3; c++) linear[c] = rgb[c] > 0.04045 ? pow((rgb[c] + 0.055) / 1.055, 2.4) : rgb[c] / 12.92;
        times3(xyz_from_rgb, linear, xyz);
        for (int c = 0; c < 3; c++) {
            double v = xyz[c] / white_d65[c];
            xyz[c] = v > 0.008856 ? cbrt(v) : 7.787 * v + 16.0 / 116.0;
        }
        lab[0] = 116.0 * xyz[1] - 16.0;
        lab[1] = 500.0 * (xyz[0] - xyz[1]);
        lab[2] = 200.0 * (xyz[1] - xyz[2]);
    }
}

void rgb_from_lab_float(const double *lab, size_t count, double *rgb) {
    double rgb_from_xyz[3][3];
    inverse3(xyz_from_rgb, rgb_from_xyz);
    for (size_t i = 0; i < count; i++, rgb += 3, lab += 3) {
        double y = (lab[0] + 16.0) / 116.0, xyz[3] = {lab[1] / 500.0 + y, y, fmax(y - lab[2] / 200.0, 0)}, linear[3];
        for (int c = 0; c < 3; c++) {
            double v = xyz[c];
            xyz[c] = (v > 0.2068966 ? v * v * v : (v - 16.0 / 116.0) / 7.787) * white_d65[c];
        }
        times3(rgb_from_xyz, xyz, linear);
        for (int c = 0; c < 3; c++) {
            double v = linear[c] > 0.0031308 ? 1.055 * pow(linear[c], 1 / 2.4) - 0.055 : linear[c] * 12.92;
            rgb[c] = fmin(fmax(v, 0), 1);
        }
    }
}
