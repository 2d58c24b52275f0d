// quantile: see quantile.h. A float's bits, with the sign handled, order as an unsigned number; the first pass counts
// their upper halves, the second the lower halves of the one upper half in which the wanted rank lies.
#include "quantile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HALF = 1 << 16 };

static uint32_t key_of(float value) {
    uint32_t bits;
    value += 0.f; // -0 becomes 0
    if (value != value) return UINT32_MAX;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static float value_of(uint32_t key) {
    if (key == UINT32_MAX) return NAN;
    uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

Status order_begin(OrderSearch *search) {
    *search = (OrderSearch){.upper = calloc(HALF, sizeof(uint64_t))};
    if (!search->upper) return status_make(STATUS_NO_MEMORY, "no memory for the counts of a percentile");
    return STATUS_OK;
}

void order_end(OrderSearch *search) {
    free(search->upper);
    for (int i = 0; i < ORDER_RANKS; i++) free(search->lower[i]);
    *search = (OrderSearch){0};
}

void order_add(OrderSearch *search, const float *values, size_t count) {
    if (!search->n_ranks) {
        for (size_t i = 0; i < count; i++) search->upper[key_of(values[i]) >> 16]++;
        search->count += count;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t key = key_of(values[i]);
        for (int k = 0; k < search->n_ranks; k++)
            if (key >> 16 == search->upper_key[k]) search->lower[k][key & 0xffff]++;
    }
}

Status order_set_ranks(OrderSearch *search, const uint64_t *ranks, int n_ranks) {
    if (n_ranks < 1 || n_ranks > ORDER_RANKS)
        return status_make(STATUS_INVALID, "%d ranks in one search; 1 to %d are possible", n_ranks, ORDER_RANKS);
    for (int k = 0; k < n_ranks; k++) {
        if (ranks[k] >= search->count)
            return status_make(STATUS_INVALID, "rank %llu among %llu values", (unsigned long long)ranks[k],
                               (unsigned long long)search->count);
        uint64_t rank = ranks[k];
        uint32_t upper = 0;
        while (rank >= search->upper[upper]) rank -= search->upper[upper++];
        search->upper_key[k] = upper;
        search->rank_within[k] = rank;
        search->lower[k] = calloc(HALF, sizeof(uint64_t));
        if (!search->lower[k]) return status_make(STATUS_NO_MEMORY, "no memory for the counts of a percentile");
    }
    search->n_ranks = n_ranks;
    return STATUS_OK;
}

float order_value(const OrderSearch *search, int i) {
    uint64_t rank = search->rank_within[i];
    uint32_t lower = 0;
    while (lower < HALF - 1 && rank >= search->lower[i][lower]) rank -= search->lower[i][lower++];
    return value_of(search->upper_key[i] << 16 | lower);
}

uint64_t nearest_rank(double percent, uint64_t count) {
    return count ? (uint64_t)rint(0.01 * percent * (double)(count - 1)) : 0;
}

static Status check_percent(uint64_t count, double percent) {
    if (!count) return status_make(STATUS_INVALID, "a percentile of no values");
    if (!(percent >= 0 && percent <= 100))
        return status_make(STATUS_INVALID, "percentile %g; it must be 0 to 100", percent);
    return STATUS_OK;
}

static Status find_ranks(const float *values, size_t count, const uint64_t *ranks, int n, float *out) {
    OrderSearch search;
    TRY(order_begin(&search));
    order_add(&search, values, count);
    Status status = order_set_ranks(&search, ranks, n);
    if (status == STATUS_OK) {
        order_add(&search, values, count);
        for (int i = 0; i < n; i++) out[i] = order_value(&search, i);
    }
    order_end(&search);
    return status;
}

Status percentile_nearest(const float *values, size_t count, double percent, float *out) {
    TRY(check_percent(count, percent));
    uint64_t rank = nearest_rank(percent, count);
    return find_ranks(values, count, &rank, 1, out);
}

// numpy's interpolation, exact at both ends.
static double between(double low, double high, double part) {
    if (low == high) return low;
    double range = high - low;
    return part >= 0.5 ? high - range * (1 - part) : low + range * part;
}

Status percentile_linear(const float *values, size_t count, double percent, double *out) {
    TRY(check_percent(count, percent));
    double place = percent / 100 * (double)(count - 1);
    uint64_t ranks[3] = {(uint64_t)place, (uint64_t)place, count - 1};
    if (ranks[1] + 1 < count) ranks[1]++;
    float at[3];
    TRY(find_ranks(values, count, ranks, 3, at));
    *out = at[2] != at[2] ? (double)NAN : between((double)at[0], (double)at[1], place - (double)ranks[0]);
    return STATUS_OK;
}

Status percentile_bytes(const uint64_t histogram[256], double percent, double *out) {
    uint64_t count = 0;
    for (int i = 0; i < 256; i++) count += histogram[i];
    TRY(check_percent(count, percent));
    double place = percent / 100 * (double)(count - 1);
    uint64_t rank = (uint64_t)place, next = rank + 1 < count ? rank + 1 : rank, seen = 0;
    int low = -1, high = -1;
    for (int i = 0; i < 256 && high < 0; i++) {
        seen += histogram[i];
        if (low < 0 && rank < seen) low = i;
        if (next < seen) high = i;
    }
    *out = between(low, high, place - (double)rank);
    return STATUS_OK;
}
