// The deterministic pattern that stands for random numbers in the parity references: weights and inputs that
// C and Python (pattern.py, which states the formula) both make, equal to the last bit, with nothing shipped.
// All functions are pure. Linear indices are row-major. Link with -lm (sqrt).
#ifndef STMC_TESTS_PARITY_PATTERN_H
#define STMC_TESTS_PARITY_PATTERN_H

#include <math.h>
#include <stdint.h>
#include <string.h>

// FNV-1a of `name`: the stream of the tensor with that name.
static inline uint64_t pattern_key(const char *name) {
    uint64_t h = 0xCBF29CE484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001B3u;
    return h;
}

// The raw 64 bits of element `index` (splitmix64 finaliser).
static inline uint64_t pattern_bits(uint64_t key, uint64_t index) {
    uint64_t z = key + (index + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

// In [-1, 1), 24 bits, exact in f32.
static inline double pattern_unit(uint64_t key, uint64_t index) {
    return (double)(pattern_bits(key, index) >> 40) * 0x1p-23 - 1.0;
}

// Scale and offset of a state_dict entry from its name, rank and extents: value = (float)(offset +
// scale*unit). Scale and offset 0 for rank 0 (num_batches_tracked). Returns 0, or -1 when the name has no
// known ending.
static inline int pattern_rule(const char *name, int rank, const int64_t *shape, double *scale, double *offset) {
    const char *dot = strrchr(name, '.');
    const char *last = dot ? dot + 1 : name;
    *scale = 0;
    *offset = 0;
    if (rank == 0) return 0;
    if (rank >= 2) {
        int64_t fan_in = 1;
        for (int d = 1; d < rank; d++) fan_in *= shape[d];
        *scale = sqrt(6.0 / (double)fan_in);
        return 0;
    }
    if (!strcmp(last, "weight")) {
        *scale = 0.25;
        *offset = 1.0;
    } else if (!strcmp(last, "bias") || !strcmp(last, "running_mean")) {
        *scale = 0.1;
    } else if (!strcmp(last, "running_var")) {
        *scale = 0.5;
        *offset = 1.0;
    } else {
        return -1;
    }
    return 0;
}

// Element `index` of a tensor with that key, scale and offset. The two roundings must stay separate, so the
// product and the sum are kept from being contracted into one fused multiply-add.
static inline float pattern_value(uint64_t key, uint64_t index, double scale, double offset) {
    volatile double product = scale * pattern_unit(key, index);
    return (float)(offset + product);
}

// HEVisum reference input: byte (0..253) of sample `sample`, channel c, row i, column j of the 78 x 78 tile;
// the network sees (float)byte / 255.0f. A level per sample and channel, a level per 13-pixel block, pixel
// noise.
static inline unsigned pattern_tile_byte(uint64_t sample, unsigned c, unsigned i, unsigned j) {
    static const char name[] = "hevisum.tile";
    uint64_t key = pattern_key(name), plane = sample * 3 + c;
    uint64_t level = pattern_bits(key ^ 1, plane) >> 58;
    uint64_t block = pattern_bits(key ^ 2, (plane * 6 + i / 13) * 6 + j / 13) >> 57;
    uint64_t noise = pattern_bits(key ^ 3, (plane * 78 + i) * 78 + j) >> 58;
    return (unsigned)(level + block + noise);
}

// HEVisum reference label: row `sample` of ranks, a permutation of 1..35 over k = 0..34.
static inline unsigned pattern_rank(uint64_t sample, unsigned k) {
    static const unsigned step[8] = {2, 3, 4, 6, 8, 9, 11, 12}; // all coprime with 35
    return (unsigned)((k * step[sample % 8] + 5 * sample) % 35) + 1;
}

#endif
