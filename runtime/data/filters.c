// filters: see filters.h. Float filters go down the columns first (scipy's order of axes): a row of output needs only
// the rows of input around it. The byte Gaussian goes along rows first and keeps a ring of filtered rows, as its
// fixed-point roundings come in that order.
#include "filters.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static Status check_filter(const void *in, const void *out, size_t width, size_t height, int channels, int radius,
                           int most) {
    if (channels < 1 || channels > 4)
        return status_make(STATUS_INVALID, "a filter over %d channels; it takes 1 to 4", channels);
    if (radius < 0 || radius > most)
        return status_make(STATUS_INVALID, "a filter of radius %d; it can be 0 to %d", radius, most);
    if (width && height > (size_t)PTRDIFF_MAX / 32 / width)
        return status_make(STATUS_INVALID, "a plane of %zu x %zu does not fit in memory", width, height);
    if (in == out && width && height)
        return status_make(STATUS_INVALID, "a plane cannot be blurred in place; give another plane");
    return STATUS_OK;
}

static Status no_memory(size_t width) {
    return status_make(STATUS_NO_MEMORY, "no memory for filtering rows of %zu values", width);
}

void gaussian_weights(double sigma, int radius, double *weights) {
    double sum = 0;
    for (int d = 0; d <= radius; d++) {
        weights[d] = exp(-0.5 / (sigma * sigma) * d * d);
        sum += d ? 2 * weights[d] : weights[d];
    }
    for (int d = 0; d <= radius; d++) weights[d] /= sum;
}

// ---- floats

// The row of `in` for position y, or a row of zeros.
static const float *row_at(const float *in, ptrdiff_t y, size_t height, size_t row, Border border, const float *zeros) {
    ptrdiff_t from = border_position(y, (ptrdiff_t)height, border);
    return from == BORDER_OUTSIDE ? zeros : in + (size_t)from * row;
}

// Fills padded[(x + radius) * channels + c] for x in -radius .. width + radius - 1 from the middle part.
static void pad_row(double *padded, size_t width, int channels, int radius, Border border) {
    double *middle = padded + (size_t)radius * (size_t)channels;
    for (int side = 0; side < 2; side++)
        for (ptrdiff_t i = 1; i <= radius; i++) {
            ptrdiff_t x = side ? (ptrdiff_t)width - 1 + i : -i, from = border_position(x, (ptrdiff_t)width, border);
            for (int c = 0; c < channels; c++)
                middle[x * channels + c] = from == BORDER_OUTSIDE ? 0 : middle[from * channels + c];
        }
}

Status gaussian_floats_radius(const float *in, size_t width, size_t height, int channels, double sigma, int radius,
                              Border border, float *out) {
    TRY(check_filter(in, out, width, height, channels, radius, FILTER_RADIUS));
    if (!(sigma > 0)) return status_make(STATUS_INVALID, "a Gaussian of sigma %g; it must be above 0", sigma);
    if (!width || !height) return STATUS_OK;
    size_t row = width * (size_t)channels, side = (size_t)radius * (size_t)channels;
    double *weights = malloc(((size_t)radius + 1) * sizeof *weights),
           *padded = malloc((row + 2 * side) * sizeof *padded);
    float *zeros = calloc(row, sizeof *zeros);
    Status status = weights && padded && zeros ? STATUS_OK : no_memory(row);
    if (status == STATUS_OK) {
        gaussian_weights(sigma, radius, weights);
        double *middle = padded + side;
        for (size_t y = 0; y < height; y++) {
            const float *here = in + y * row;
            for (size_t i = 0; i < row; i++) middle[i] = here[i] * weights[0];
            for (int d = radius; d >= 1; d--) { // the far ones first, as scipy
                const float *up = row_at(in, (ptrdiff_t)y - d, height, row, border, zeros);
                const float *down = row_at(in, (ptrdiff_t)y + d, height, row, border, zeros);
                for (size_t i = 0; i < row; i++) middle[i] += ((double)up[i] + (double)down[i]) * weights[d];
            }
            for (size_t i = 0; i < row; i++) middle[i] = (float)middle[i];
            pad_row(padded, width, channels, radius, border);
            float *to = out + y * row;
            for (size_t i = 0; i < row; i++) {
                double sum = middle[i] * weights[0];
                const double *left = middle + i, *right = middle + i;
                for (int d = radius; d >= 1; d--) {
                    ptrdiff_t offset = (ptrdiff_t)d * channels;
                    sum += (left[-offset] + right[offset]) * weights[d];
                }
                to[i] = (float)sum;
            }
        }
    }
    free(weights);
    free(padded);
    free(zeros);
    return status;
}

Status gaussian_floats(const float *in, size_t width, size_t height, int channels, double sigma, Border border,
                       float *out) {
    if (!(sigma >= 0) || sigma > FILTER_RADIUS / 4)
        return status_make(STATUS_INVALID, "a Gaussian of sigma %g; it can be 0 to %d", sigma, FILTER_RADIUS / 4);
    if (sigma > 0)
        return gaussian_floats_radius(in, width, height, channels, sigma, (int)(4 * sigma + 0.5), border, out);
    TRY(check_filter(in, out, width, height, channels, 0, FILTER_RADIUS));
    memcpy(out, in, width * height * (size_t)channels * sizeof *out);
    return STATUS_OK;
}

Status box_floats(const float *in, size_t width, size_t height, int channels, int radius, Border border, float *out) {
    TRY(check_filter(in, out, width, height, channels, radius, FILTER_RADIUS));
    if (!width || !height) return STATUS_OK;
    size_t row = width * (size_t)channels, side = (size_t)radius * (size_t)channels;
    double *columns = calloc(row, sizeof *columns), *padded = malloc((row + 2 * side) * sizeof *padded);
    float *zeros = calloc(row, sizeof *zeros);
    Status status = columns && padded && zeros ? STATUS_OK : no_memory(row);
    if (status == STATUS_OK) {
        double size = 2.0 * radius + 1;
        for (ptrdiff_t y = -radius; y < (ptrdiff_t)radius; y++) {
            const float *from = row_at(in, y, height, row, border, zeros);
            for (size_t i = 0; i < row; i++) columns[i] += (double)from[i];
        }
        double *middle = padded + side;
        for (size_t y = 0; y < height; y++) {
            const float *enter = row_at(in, (ptrdiff_t)y + radius, height, row, border, zeros);
            const float *leave = row_at(in, (ptrdiff_t)y - radius, height, row, border, zeros);
            for (size_t i = 0; i < row; i++) {
                columns[i] += (double)enter[i];
                middle[i] = (float)(columns[i] / size);
                columns[i] -= (double)leave[i];
            }
            pad_row(padded, width, channels, radius, border);
            for (int c = 0; c < channels; c++) {
                double sum = 0;
                const double *from = padded + c;
                for (int x = 0; x < 2 * radius; x++) sum += from[x * channels];
                for (size_t x = 0; x < width; x++) {
                    sum += from[(x + 2 * (size_t)radius) * (size_t)channels];
                    out[y * row + x * (size_t)channels + (size_t)c] = (float)(sum / size);
                    sum -= from[x * (size_t)channels];
                }
            }
        }
    }
    free(columns);
    free(padded);
    free(zeros);
    return status;
}

// ---- bytes

// 8-bit weights whose sum is 256: each side is rounded with the error carried on, the middle takes the rest.
static void byte_weights(double sigma, int radius, uint32_t *weights) {
    double exact[FILTER_BYTE_RADIUS + 1], error = 0;
    int size = 2 * radius + 1;
    if (!(sigma > 0)) {
        // The published small kernels are binomial and exact in 8 bits.
        static const uint8_t small[4][4] = {{255, 0, 0, 0}, {128, 64, 0, 0}, {96, 64, 16, 0}, {72, 56, 28, 8}};
        if (radius <= 3) {
            for (int d = 0; d <= radius; d++) weights[d] = small[radius][d];
            if (!radius) weights[0] = 256;
            return;
        }
        sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8;
    }
    gaussian_weights(sigma, radius, exact);
    uint32_t sum = 0;
    for (int d = radius; d >= 1; d--) {
        double v = exact[d] * 256 + error, rounded = rint(v);
        error = v - rounded;
        weights[d] = (uint32_t)rounded;
        sum += 2 * weights[d];
    }
    weights[0] = 256 - sum;
}

Status gaussian_bytes(const uint8_t *in, size_t width, size_t height, int channels, int radius, double sigma,
                      Border border, uint8_t *out) {
    TRY(check_filter(in, out, width, height, channels, radius, FILTER_BYTE_RADIUS));
    if (sigma != sigma) return status_make(STATUS_INVALID, "a Gaussian whose sigma is not a number");
    if (!width || !height) return STATUS_OK;
    size_t row = width * (size_t)channels, size = 2 * (size_t)radius + 1;
    uint32_t weights[FILTER_BYTE_RADIUS + 1];
    byte_weights(sigma, radius, weights);
    // Rows of the picture filtered along x, in 8.8 fixed point: row y lies in slot y % size.
    uint16_t *ring = malloc(size * row * sizeof *ring);
    uint32_t *sums = malloc(row * sizeof *sums);
    uint8_t *padded = malloc(row + 2 * (size_t)radius * (size_t)channels);
    Status status = ring && sums && padded ? STATUS_OK : no_memory(row);
    size_t filtered = 0; // rows done
    for (size_t y = 0; y < height && status == STATUS_OK; y++) {
        for (; filtered < height && filtered <= y + (size_t)radius; filtered++) {
            uint8_t *middle = padded + (size_t)radius * (size_t)channels;
            memcpy(middle, in + filtered * row, row);
            for (int edge = 0; edge < 2; edge++)
                for (ptrdiff_t i = 1; i <= radius; i++) {
                    ptrdiff_t x = edge ? (ptrdiff_t)width - 1 + i : -i;
                    ptrdiff_t from = border_position(x, (ptrdiff_t)width, border);
                    for (int c = 0; c < channels; c++)
                        middle[x * channels + c] = from == BORDER_OUTSIDE ? 0 : middle[from * channels + c];
                }
            uint16_t *to = ring + filtered % size * row;
            for (size_t i = 0; i < row; i++) {
                uint32_t sum = middle[i] * weights[0];
                for (ptrdiff_t d = 1; d <= radius; d++)
                    sum += ((uint32_t)middle[(ptrdiff_t)i - d * channels] + middle[(ptrdiff_t)i + d * channels]) *
                           weights[d];
                to[i] = (uint16_t)sum; // at most 255 * 256
            }
        }
        memset(sums, 0, row * sizeof *sums);
        for (int d = -radius; d <= radius; d++) {
            ptrdiff_t from = border_position((ptrdiff_t)y + d, (ptrdiff_t)height, border);
            if (from == BORDER_OUTSIDE) continue;
            const uint16_t *line = ring + (size_t)from % size * row;
            uint32_t weight = weights[abs(d)];
            for (size_t i = 0; i < row; i++) sums[i] += line[i] * weight;
        }
        for (size_t i = 0; i < row; i++) out[y * row + i] = (uint8_t)((sums[i] + (1u << 15)) >> 16);
    }
    free(ring);
    free(sums);
    free(padded);
    return status;
}

// Adds (or takes away) one row of the picture to the column sums.
static void add_row(uint32_t *columns, const uint8_t *in, ptrdiff_t y, size_t height, size_t row, Border border,
                    bool take) {
    ptrdiff_t from = border_position(y, (ptrdiff_t)height, border);
    if (from == BORDER_OUTSIDE) return;
    const uint8_t *line = in + (size_t)from * row;
    if (take) {
        for (size_t i = 0; i < row; i++) columns[i] -= line[i];
    } else {
        for (size_t i = 0; i < row; i++) columns[i] += line[i];
    }
}

Status box_bytes(const uint8_t *in, size_t width, size_t height, int channels, int radius, Border border,
                 uint8_t *out) {
    TRY(check_filter(in, out, width, height, channels, radius, FILTER_BYTE_RADIUS));
    if (!width || !height) return STATUS_OK;
    size_t row = width * (size_t)channels;
    uint32_t *columns = calloc(row, sizeof *columns), area = (2 * (uint32_t)radius + 1) * (2 * (uint32_t)radius + 1);
    if (!columns) return no_memory(row);
    for (ptrdiff_t y = -radius; y < (ptrdiff_t)radius; y++) add_row(columns, in, y, height, row, border, false);
    for (size_t y = 0; y < height; y++) {
        add_row(columns, in, (ptrdiff_t)y + radius, height, row, border, false);
        for (int c = 0; c < channels; c++) {
            uint32_t sum = 0;
            for (ptrdiff_t x = -radius; x < (ptrdiff_t)radius; x++) {
                ptrdiff_t from = border_position(x, (ptrdiff_t)width, border);
                if (from != BORDER_OUTSIDE) sum += columns[from * channels + c];
            }
            for (ptrdiff_t x = 0; x < (ptrdiff_t)width; x++) {
                ptrdiff_t enter = border_position(x + radius, (ptrdiff_t)width, border);
                ptrdiff_t leave = border_position(x - radius, (ptrdiff_t)width, border);
                if (enter != BORDER_OUTSIDE) sum += columns[enter * channels + c];
                out[y * row + (size_t)(x * channels + c)] = (uint8_t)((sum + area / 2) / area); // odd area: no ties
                if (leave != BORDER_OUTSIDE) sum -= columns[leave * channels + c];
            }
        }
        add_row(columns, in, (ptrdiff_t)y - radius, height, row, border, true);
    }
    free(columns);
    return STATUS_OK;
}
