// quantile: exact order statistics and percentiles without sorting or copying.
//
// Values are f32. A search takes two passes over the values, which need not lie in memory: they are handed over piece
// by piece, twice, in any order. Memory is 512 KiB plus 512 KiB a rank, however many values there are. -0 and 0 are
// one value; NaN sorts above infinity.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

enum { ORDER_RANKS = 4 };

//     order_begin, order_add of all values, order_set_ranks, order_add of all values again, order_value, order_end
typedef struct OrderSearch {
    uint64_t count;                  // values seen in the first pass
    uint64_t *upper;                 // [65536] by the upper half of the key
    uint64_t *lower[ORDER_RANKS];    // [65536] by the lower half, within one upper half; ranks may share
    uint32_t upper_key[ORDER_RANKS]; // which
    uint64_t rank_within[ORDER_RANKS];
    int n_ranks; // 0 in the first pass
} OrderSearch;

MUST_USE Status order_begin(OrderSearch *search);
void order_add(OrderSearch *search, const float *values, size_t count);
// Ends the first pass. ranks[i] in 0 .. count-1, at most ORDER_RANKS of them.
MUST_USE Status order_set_ranks(OrderSearch *search, const uint64_t *ranks, int n_ranks);
float order_value(const OrderSearch *search, int i); // after the second pass: the value of ranks[i]
void order_end(OrderSearch *search);                 // a zeroed one is fine

// round(percent / 100 * (count - 1)), halves to even: the rank of torchstain's "nearest" percentile (0-based).
uint64_t nearest_rank(double percent, uint64_t count);

// Percentiles 0 .. 100 of values in memory. No values, or a percent outside 0 .. 100: STATUS_INVALID.
// nearest: the element of nearest_rank. linear: numpy's default (between the two neighbours).
MUST_USE Status percentile_nearest(const float *values, size_t count, double percent, float *out);
MUST_USE Status percentile_linear(const float *values, size_t count, double percent, double *out);
// numpy's default for byte planes, from their histogram (masks.h: histogram_add).
MUST_USE Status percentile_bytes(const uint64_t histogram[256], double percent, double *out);
