// vocabulary_inside: what the two files behind vocabulary.h share.
#pragma once

#include <stddef.h>

typedef struct RankedGene {
    double score;
    size_t position;
} RankedGene;

// Descending score, ties by position.
void sort_ranked(RankedGene *gene, size_t count);
