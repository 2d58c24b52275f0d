// graph: weighted directed graphs over the spots of a section, and the coordinates they are drawn from.
//
// A graph is compressed rows: the edges of spot i go to index[start[i] ..] with the weights beside them, in ascending
// order of index. It owns its arrays (malloc); a zeroed one is empty.
#pragma once

#include "neighbours.h"

typedef struct Graph {
    size_t points;
    int64_t *start; // [points + 1]
    int32_t *index; // [edges] ascending within a point
    double *weight; // [edges]
} Graph;

void graph_free(Graph *graph);
int64_t graph_edges(const Graph *graph);

typedef enum EdgeWeight {
    EDGE_ONE,      // 1
    EDGE_MEAN,     // 1 / number of neighbours (spatialtranscriptformer.md §2.6)
    EDGE_GAUSSIAN, // exp(-d^2 / (2 length^2)), below `cutoff` none (cuca.md §7.3: length 500 px, cutoff 0.2)
    EDGE_INVERSE,  // 1 / d; coinciding points have no edge
} EdgeWeight;

typedef struct GraphOptions {
    EdgeWeight weight;
    double length, cutoff; // GAUSSIAN
    bool self_loops;       // weight 1 from every point to itself, whatever the lists hold
    bool symmetric;        // an edge either way becomes one both ways with the larger weight
    bool unit_total;       // finally scaled so that all weights add up to the number of points (SpatialDM)
    bool unit_rows;        // finally every row with weights adds up to 1
} GraphOptions;

MUST_USE Status graph_from_neighbours(const NeighbourLists *lists, const GraphOptions *options, Graph *out_graph);

// Lattice neighbours by array coordinates. HEX: |dcolumn| < 3 and |drow| < 2, up to 6 (cuca.md §2.3, where columns of a
// row step by 2); SQUARE_4 and SQUARE_8 by one step. Weight 1; `self_loops` adds i = j.
typedef enum Lattice { LATTICE_HEX, LATTICE_SQUARE_4, LATTICE_SQUARE_8 } Lattice;
MUST_USE Status graph_from_lattice(const int64_t *row, const int64_t *column, size_t count, Lattice lattice,
                                   bool self_loops, Graph *out_graph);

// Sum over edges of weight * value of the neighbour: out[points].
void graph_lag(const Graph *graph, const double *values, double *out);

// ---- Coordinates ----------------------------------------------------------------------------------
// Every axis of points[count][dimensions] on its own to [low, high], in place: discotme.md §4.1 ([0, 10]) and
// hevisum.md §3.7 ([-1, 1]). An axis without range becomes `flat` (discotme: 0). NaN or infinite: STATUS_INVALID.
MUST_USE Status coordinates_scale(double *points, size_t count, size_t dimensions, double low, double high,
                                  double flat);
// Grid steps (spatialtranscriptformer.md §2.9): the smallest difference > 0.5 of two neighbouring distinct values of
// any axis is the step; a step >= 2 divides all coordinates, rounded half to even. *out_step: the step used, 1 when
// nothing was changed.
MUST_USE Status coordinates_to_grid(double *points, size_t count, size_t dimensions, double *out_step);
