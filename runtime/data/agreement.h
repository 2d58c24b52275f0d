// agreement: how well two clusterings of the same spots agree (scikit-learn's adjusted_rand_score,
// normalized_mutual_info_score with the arithmetic mean, mutual_info_score).
//
// Labels are any integers; only which spots share one matters. No spots, or one cluster on both sides: 1 for the
// two scores, 0 for the information, as scikit-learn has it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct Agreement {
    double adjusted_rand;                 // <= 1, 0 expected by chance
    double mutual_information;            // nats
    double normalised_mutual_information; // 0 .. 1
    size_t clusters_a, clusters_b;
} Agreement;

MUST_USE Status agreement_of(const int64_t *a, const int64_t *b, size_t count, Agreement *out_agreement);
