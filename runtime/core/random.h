// random: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3"), the counter-based
// generator that generated kernels use too. A number is a pure function of key and counter: no state to save,
// the same on every machine.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct PhiloxBlock {
    uint32_t word[4];
} PhiloxBlock;

// Ten rounds on `counter` with `key`.
PhiloxBlock philox(PhiloxBlock counter, uint32_t key0, uint32_t key1);

// A sequence of words: key (seed, stream), counter 0, 1, 2, …
typedef struct RandomStream {
    uint32_t seed, stream;
    uint64_t block; // next block
    int fill;       // words left of `words`
    PhiloxBlock words;
} RandomStream;

RandomStream random_stream(uint32_t seed, uint32_t stream);
uint32_t random_word(RandomStream *stream);
// Uniform in 0 .. bound-1, without bias; bound >= 1.
uint64_t random_below(RandomStream *stream, uint64_t bound);
// Uniform in [0, 1), 24 bits.
float random_unit(RandomStream *stream);

// Fisher-Yates over items[0 .. count), drawing from the end; a pure function of (seed, stream, count).
void random_shuffle(int64_t *items, size_t count, uint32_t seed, uint32_t stream);
