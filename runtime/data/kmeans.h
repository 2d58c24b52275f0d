// kmeans: k-means as scikit-learn's KMeans(algorithm="lloyd") runs it (discotme.md §8): greedy k-means++ with
// 2 + floor(ln k) candidates, Lloyd iterations until no label changes or the centres move by no more than tolerance x
// the mean variance of the columns (squared, summed), the best inertia of several restarts. An empty cluster takes the
// point farthest from its centre.
//
// Draws are Philox with (seed, stream = restart). Sums are made over blocks of 256 rows, in block order, so the result
// is the same bit for bit on every thread count; ties of distance go to the lower cluster number.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/pool.h"

typedef struct KmeansOptions {
    size_t clusters;
    size_t restarts;   // 0: 10; ignored with `start`
    size_t iterations; // 0: 300
    double tolerance;  // 0: 1e-4; < 0: until no label changes
    uint32_t seed;
    const double *start; // [clusters][width] first centres instead of k-means++; NULL: none
    Pool *pool;          // NULL: this thread alone
} KmeansOptions;

typedef struct Kmeans {
    size_t clusters, width, rows;
    double *centre;    // [clusters][width]
    int32_t *label;    // [rows]
    double inertia;    // sum of squared distances to the own centre
    size_t iterations; // of the best restart
    bool converged;
} Kmeans;

void kmeans_free(Kmeans *result); // a zeroed one is fine
// values[rows][width]. Fewer rows than clusters, no clusters, NaN or infinite values: STATUS_INVALID.
MUST_USE Status kmeans_fit(const double *values, size_t rows, size_t width, const KmeansOptions *options,
                           Kmeans *out_result);
// The nearest centre of every row.
void kmeans_assign(const Kmeans *fitted, const double *values, size_t rows, int32_t *label);
