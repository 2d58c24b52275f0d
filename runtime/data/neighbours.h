// neighbours: which spots lie near which, exactly, by a k-d tree over points of 1 to 8 coordinates.
//
// Order and ties: neighbours ascend by (squared distance, position in the table), both computed in f64 the same way on
// every machine, so results are defined even on a lattice, where whole shells tie (discotme.md §4.2; the original
// leaves those to its library). Balls are closed: squared distance <= radius^2. The target is not its own neighbour
// unless asked for; other points at the same place are.
//
// NaN or infinite coordinates are STATUS_INVALID with the point. No points: empty lists.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct NeighbourOptions {
    size_t nearest;    // at most this many; 0: no limit (then `radius` must be > 0)
    double radius;     // only within it; 0: no limit. With both: the nearest of those within
    bool include_self; // the point itself counts and, at distance 0, comes first unless an earlier one lies there too
} NeighbourOptions;

typedef struct NeighbourLists { // compressed rows, as in a Matrix
    size_t points;
    int64_t *start;   // [points + 1]
    int32_t *index;   // [start[points]]
    double *distance; // [start[points]] Euclidean
} NeighbourLists;

void neighbours_free(NeighbourLists *lists); // a zeroed one is fine

// points[count][dimensions] (pixels, grid steps: any unit), row-major. All pairs within a radius can be many: more than
// 2^31 are refused.
MUST_USE Status neighbours_find(const double *points, size_t count, size_t dimensions, const NeighbourOptions *options,
                                NeighbourLists *out_lists);

// Mean distance to the nearest other point, the spot pitch (hevisum.md §3.6); NaN below 2 points.
MUST_USE Status neighbour_pitch(const double *points, size_t count, size_t dimensions, double *out_pitch);

// ---- Contexts (discotme.md §4.2) ------------------------------------------------------------------
// For every spot a list of `local` then `global` other spots. Local: the nearest within `radius`; when there are fewer,
// all of them and then uniform draws from them, with replacement; when there is none, distinct uniform draws from all
// others. Global: draws without replacement from the spots that are neither the target nor in its local list, filled up
// with replacement; when none is left, distinct draws from all others.
//
// Draws are Philox with (seed, stream = spot), so a spot's context does not depend on the others. A slide of fewer than
// local + 1 (global + 1) spots gives shorter lists, as the original; the lengths are given per spot.
typedef struct ContextOptions {
    size_t local, global;
    double radius; // of the closed ball, > 0
    uint32_t seed;
} ContextOptions;

// context[count][local + global] (unused entries -1); local_length, global_length [count]
MUST_USE Status contexts_build(const double *points, size_t count, size_t dimensions, const ContextOptions *options,
                               int32_t *context, int32_t *local_length, int32_t *global_length);
