// graph: see graph.h.
#include "graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Edge {
    int32_t from, to;
    double weight;
} Edge;

void graph_free(Graph *graph) {
    free(graph->start);
    free(graph->index);
    free(graph->weight);
    *graph = (Graph){0};
}

int64_t graph_edges(const Graph *graph) {
    return graph->start ? graph->start[graph->points] : 0;
}

static int by_ends(const void *a, const void *b) {
    const Edge *x = a, *y = b;
    if (x->from != y->from) return x->from < y->from ? -1 : 1;
    if (x->to != y->to) return x->to < y->to ? -1 : 1;
    return (x->weight < y->weight) - (x->weight > y->weight); // the larger first
}

// Sorts the edges; of equal ends the first, the heaviest, stays.
static Status graph_from_edges(size_t points, Edge *edge, size_t edges, Graph *out) {
    if (edges) qsort(edge, edges, sizeof *edge, by_ends);
    *out = (Graph){.points = points};
    out->start = calloc(points + 1, sizeof *out->start);
    out->index = malloc((edges + 1) * sizeof *out->index);
    out->weight = malloc((edges + 1) * sizeof *out->weight);
    if (!out->start || !out->index || !out->weight) {
        graph_free(out);
        return status_make(STATUS_NO_MEMORY, "no memory for a graph of %zu edges", edges);
    }
    int64_t kept = 0;
    for (size_t e = 0; e < edges; e++) {
        if (e > 0 && edge[e].from == edge[e - 1].from && edge[e].to == edge[e - 1].to) continue;
        out->index[kept] = edge[e].to;
        out->weight[kept++] = edge[e].weight;
        out->start[edge[e].from + 1]++;
    }
    for (size_t i = 0; i < points; i++) out->start[i + 1] += out->start[i];
    return STATUS_OK;
}

static double edge_weight(const GraphOptions *options, double distance, int64_t degree) {
    switch (options->weight) {
    case EDGE_ONE: return 1;
    case EDGE_MEAN: return 1 / (double)degree;
    case EDGE_GAUSSIAN: {
        double w = exp(-distance * distance / (2 * options->length * options->length));
        return w < options->cutoff ? 0 : w;
    }
    case EDGE_INVERSE: return distance > 0 ? 1 / distance : 0;
    }
    return 0;
}

static void scale_weights(Graph *graph, const GraphOptions *options) {
    double total = 0;
    int64_t edges = graph_edges(graph);
    for (int64_t e = 0; e < edges; e++) total += graph->weight[e];
    for (int64_t e = 0; e < edges && options->unit_total && total > 0; e++)
        graph->weight[e] *= (double)graph->points / total;
    for (size_t i = 0; i < graph->points && options->unit_rows; i++) {
        double row = 0;
        for (int64_t e = graph->start[i]; e < graph->start[i + 1]; e++) row += graph->weight[e];
        for (int64_t e = graph->start[i]; e < graph->start[i + 1] && row > 0; e++) graph->weight[e] /= row;
    }
}

Status graph_from_neighbours(const NeighbourLists *lists, const GraphOptions *options, Graph *out) {
    *out = (Graph){0};
    if (options->weight == EDGE_GAUSSIAN && !(options->length > 0))
        return status_make(STATUS_INVALID, "a Gaussian graph needs a length > 0, not %g", options->length);
    size_t pairs = lists->start ? (size_t)lists->start[lists->points] : 0;
    size_t room = (options->symmetric ? 2 : 1) * pairs + lists->points + 1, edges = 0;
    Edge *edge = malloc(room * sizeof *edge);
    if (!edge) return status_make(STATUS_NO_MEMORY, "no memory for a graph of %zu edges", room);
    for (size_t i = 0; i < lists->points; i++) {
        int64_t degree = lists->start[i + 1] - lists->start[i];
        if (options->self_loops) edge[edges++] = (Edge){(int32_t)i, (int32_t)i, 1};
        for (int64_t e = lists->start[i]; e < lists->start[i + 1]; e++) {
            int32_t j = lists->index[e];
            double w = edge_weight(options, lists->distance[e], degree);
            if (w == 0 || (options->self_loops && (size_t)j == i)) continue;
            edge[edges++] = (Edge){(int32_t)i, j, w};
            if (options->symmetric && (size_t)j != i) edge[edges++] = (Edge){j, (int32_t)i, w};
        }
    }
    Status status = graph_from_edges(lists->points, edge, edges, out);
    if (status == STATUS_OK) scale_weights(out, options);
    free(edge);
    return status;
}

// ---- Lattices -----------------------------------------------------------------------------------

typedef struct Cell {
    int64_t row, column;
    int32_t index;
} Cell;

static int by_cell(const void *a, const void *b) {
    const Cell *x = a, *y = b;
    if (x->row != y->row) return x->row < y->row ? -1 : 1;
    if (x->column != y->column) return x->column < y->column ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static size_t first_at(const Cell *cell, size_t count, int64_t row, int64_t column) {
    size_t lo = 0, hi = count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cell[mid].row < row || (cell[mid].row == row && cell[mid].column < column)) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static bool linked(Lattice lattice, int64_t drow, int64_t dcolumn) {
    drow = drow < 0 ? -drow : drow;
    dcolumn = dcolumn < 0 ? -dcolumn : dcolumn;
    if (lattice == LATTICE_HEX) return drow < 2 && dcolumn < 3;
    return drow <= 1 && dcolumn <= 1 && (lattice == LATTICE_SQUARE_8 || drow + dcolumn <= 1);
}

Status graph_from_lattice(const int64_t *row, const int64_t *column, size_t count, Lattice lattice, bool self_loops,
                          Graph *out) {
    *out = (Graph){0};
    if (count > INT32_MAX / 32) return status_make(STATUS_UNSUPPORTED, "a lattice of %zu spots is too large", count);
    // 15 cells lie within reach; more spots than one in a cell are an error of the table
    Cell *cell = malloc((count + 1) * sizeof *cell);
    Edge *edge = malloc((count * 16 + 1) * sizeof *edge);
    Status status = cell && edge ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for %zu spots", count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        if (llabs(row[i]) > INT32_MAX || llabs(column[i]) > INT32_MAX)
            status = status_make(STATUS_INVALID, "spot %zu stands at array row %lld, column %lld", i, (long long)row[i],
                                 (long long)column[i]);
        cell[i] = (Cell){row[i], column[i], (int32_t)i};
    }
    if (status == STATUS_OK && count) qsort(cell, count, sizeof *cell, by_cell);
    for (size_t i = 1; i < count && status == STATUS_OK; i++)
        if (cell[i].row == cell[i - 1].row && cell[i].column == cell[i - 1].column)
            status = status_make(
                STATUS_INVALID, "spots %d and %d both stand at array row %lld, column %lld; give one section at a time",
                cell[i - 1].index, cell[i].index, (long long)cell[i].row, (long long)cell[i].column);
    size_t edges = 0;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        for (int64_t r = cell[i].row - 1; r <= cell[i].row + 1; r++)
            for (size_t k = first_at(cell, count, r, cell[i].column - 2);
                 k < count && cell[k].row == r && cell[k].column <= cell[i].column + 2; k++)
                if (linked(lattice, r - cell[i].row, cell[k].column - cell[i].column) && (k != i || self_loops))
                    edge[edges++] = (Edge){cell[i].index, cell[k].index, 1};
    if (status == STATUS_OK) status = graph_from_edges(count, edge, edges, out);
    free(cell);
    free(edge);
    return status;
}

void graph_lag(const Graph *graph, const double *values, double *out) {
    for (size_t i = 0; i < graph->points; i++) {
        out[i] = 0;
        for (int64_t e = graph->start[i]; e < graph->start[i + 1]; e++)
            out[i] += graph->weight[e] * values[graph->index[e]];
    }
}

// ---- Coordinates --------------------------------------------------------------------------------

static Status check_finite(const double *points, size_t count, size_t dimensions) {
    for (size_t i = 0; i < count * dimensions; i++)
        if (!isfinite(points[i]))
            return status_make(STATUS_INVALID, "point %zu has coordinate %g, which cannot be scaled", i / dimensions,
                               points[i]);
    return STATUS_OK;
}

Status coordinates_scale(double *points, size_t count, size_t dimensions, double low, double high, double flat) {
    TRY(check_finite(points, count, dimensions));
    for (size_t d = 0; d < dimensions && count > 0; d++) {
        double least = points[d], most = points[d];
        for (size_t i = 1; i < count; i++) {
            least = fmin(least, points[i * dimensions + d]);
            most = fmax(most, points[i * dimensions + d]);
        }
        for (size_t i = 0; i < count; i++) {
            double *p = &points[i * dimensions + d];
            *p = most > least ? low + (high - low) * ((*p - least) / (most - least)) : flat;
        }
    }
    return STATUS_OK;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

Status coordinates_to_grid(double *points, size_t count, size_t dimensions, double *out_step) {
    *out_step = 1;
    TRY(check_finite(points, count, dimensions));
    double *value = malloc((count + 1) * sizeof *value), step = INFINITY;
    if (!value) return status_make(STATUS_NO_MEMORY, "no memory for %zu coordinates", count);
    for (size_t d = 0; d < dimensions && count > 0; d++) {
        for (size_t i = 0; i < count; i++) value[i] = points[i * dimensions + d];
        qsort(value, count, sizeof *value, ascending);
        for (size_t i = 1; i < count; i++)
            if (value[i] - value[i - 1] > 0.5) step = fmin(step, value[i] - value[i - 1]);
    }
    free(value);
    if (!isfinite(step) || step < 2) return STATUS_OK;
    for (size_t i = 0; i < count * dimensions; i++) points[i] = nearbyint(points[i] / step); // half to even
    *out_step = step;
    return STATUS_OK;
}
