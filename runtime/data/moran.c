// moran: see moran.h.
#include "moran.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "normalise.h"
#include "statistics.h"

static double total_weight(const Graph *graph) {
    double total = 0;
    int64_t edges = graph_edges(graph);
    for (int64_t e = 0; e < edges; e++) total += graph->weight[e];
    return total;
}

static double moran_with(const Graph *graph, double total, const double *values) {
    double n = (double)graph->points, mean = 0, squares = 0, cross = 0;
    for (size_t i = 0; i < graph->points; i++) mean += values[i];
    mean /= n;
    for (size_t i = 0; i < graph->points; i++) squares += (values[i] - mean) * (values[i] - mean);
    if (squares < 1e-12 || total == 0 || graph->points == 0) return 0;
    for (size_t i = 0; i < graph->points; i++) {
        double lag = 0;
        for (int64_t e = graph->start[i]; e < graph->start[i + 1]; e++)
            lag += graph->weight[e] * (values[graph->index[e]] - mean);
        cross += (values[i] - mean) * lag;
    }
    return n / total * cross / squares;
}

double moran_i(const Graph *graph, const double *values) {
    return moran_with(graph, total_weight(graph), values);
}

Status moran_columns(const Graph *graph, const Matrix *m, double *out) {
    if (m->rows != graph->points)
        return status_make(STATUS_MISMATCH, "Moran's I: the matrix has %zu rows and the graph %zu points", m->rows,
                           graph->points);
    Matrix turned;
    TRY(matrix_transpose(m, &turned));
    double *values = malloc((m->rows + 1) * sizeof *values), total = total_weight(graph);
    Status status = values ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for %zu values", m->rows);
    for (size_t c = 0; c < m->columns && status == STATUS_OK; c++) {
        memset(values, 0, m->rows * sizeof *values);
        for (int64_t e = turned.start[c]; e < turned.start[c + 1]; e++) values[turned.column[e]] = turned.value[e];
        out[c] = moran_with(graph, total, values);
    }
    free(values);
    matrix_free(&turned);
    return status;
}

// sum_ij w_ij w_ji, by looking every edge up in the other end's row (ascending).
static double reciprocal(const Graph *graph) {
    double sum = 0;
    for (size_t i = 0; i < graph->points; i++)
        for (int64_t e = graph->start[i]; e < graph->start[i + 1]; e++) {
            size_t j = (size_t)graph->index[e];
            int64_t lo = graph->start[j], hi = graph->start[j + 1];
            while (lo < hi) {
                int64_t mid = (lo + hi) / 2;
                if ((size_t)graph->index[mid] < i) lo = mid + 1;
                else hi = mid;
            }
            if (lo < graph->start[j + 1] && (size_t)graph->index[lo] == i) sum += graph->weight[e] * graph->weight[lo];
        }
    return sum;
}

static double pair_variance(const Graph *graph, double total, double *row_sum, double *column_sum) {
    double n = (double)graph->points, product = 0;
    memset(column_sum, 0, graph->points * sizeof *column_sum);
    for (size_t i = 0; i < graph->points; i++) {
        row_sum[i] = 0;
        for (int64_t e = graph->start[i]; e < graph->start[i + 1]; e++) {
            row_sum[i] += graph->weight[e];
            column_sum[graph->index[e]] += graph->weight[e];
        }
    }
    for (size_t i = 0; i < graph->points; i++) product += row_sum[i] * column_sum[i];
    return (n * n * reciprocal(graph) - 2 * n * product + total * total) / (n * n * (n - 1) * (n - 1));
}

// Every column as a row of z-scores; constant columns become NaN.
static void standardise(const double *values, size_t n, size_t columns, double *z) {
    for (size_t c = 0; c < columns; c++) {
        double mean = 0, squares = 0;
        bool flat = true;
        for (size_t i = 0; i < n; i++) {
            mean += values[i * columns + c];
            flat = flat && values[i * columns + c] == values[c];
        }
        mean /= (double)n;
        for (size_t i = 0; i < n; i++) {
            double d = values[i * columns + c] - mean;
            squares += d * d;
        }
        double deviation = flat ? NAN : sqrt(squares / (double)n);
        for (size_t i = 0; i < n; i++) z[c * n + i] = (values[i * columns + c] - mean) / deviation;
    }
}

Status moran_pairs(const Graph *graph, const double *values, size_t columns, MoranPair *out) {
    size_t n = graph->points, at = 0;
    if (columns < 2) return STATUS_OK;
    if (n < 2) return status_make(STATUS_INVALID, "pairs of Moran's R need at least 2 points; there are %zu", n);
    double *z = malloc((columns * n + 2 * n) * sizeof *z);
    if (!z) return status_make(STATUS_NO_MEMORY, "no memory for %zu columns of %zu points", columns, n);
    double *lag = z + columns * n, *scratch = lag + n, total = total_weight(graph);
    double deviation = sqrt(pair_variance(graph, total, lag, scratch));
    standardise(values, n, columns, z);
    for (size_t a = 0; a < columns; a++) {
        graph_lag(graph, z + a * n, lag);
        for (size_t b = a + 1; b < columns; b++) {
            double sum = 0;
            for (size_t i = 0; i < n; i++) sum += lag[i] * z[b * n + i];
            double r = total != 0 ? sum / total : NAN;
            out[at++] = (MoranPair){a, b, r, r / deviation, normal_upper_tail(r / deviation)};
        }
    }
    free(z);
    return STATUS_OK;
}
