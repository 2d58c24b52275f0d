// random: see random.h.
#include "random.h"

PhiloxBlock philox(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
    uint32_t *c = counter.word;
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(b >> 32) ^ c[1] ^ key0, n2 = (uint32_t)(a >> 32) ^ c[3] ^ key1;
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
        c[0] = n0;
        c[2] = n2;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

RandomStream random_stream(uint32_t seed, uint32_t stream) {
    return (RandomStream){.seed = seed, .stream = stream};
}

uint32_t random_word(RandomStream *stream) {
    if (stream->fill == 0) {
        PhiloxBlock counter = {{(uint32_t)stream->block, (uint32_t)(stream->block >> 32), 0, 0}};
        stream->words = philox(counter, stream->seed, stream->stream);
        stream->block++;
        stream->fill = 4;
    }
    return stream->words.word[4 - stream->fill--];
}

uint64_t random_below(RandomStream *stream, uint64_t bound) {
    if (bound <= 1) return 0;
    // Words above the largest multiple of `bound` are drawn again, so every value is equally likely.
    uint64_t limit = UINT64_MAX - (UINT64_MAX % bound + 1) % bound;
    for (;;) {
        uint64_t high = random_word(stream), value = high << 32 | random_word(stream);
        if (value <= limit) return value % bound;
    }
}

float random_unit(RandomStream *stream) {
    return (float)(random_word(stream) >> 8) * 0x1p-24f;
}

void random_shuffle(int64_t *items, size_t count, uint32_t seed, uint32_t stream) {
    RandomStream source = random_stream(seed, stream);
    for (size_t i = count; i > 1; i--) {
        size_t j = (size_t)random_below(&source, i);
        int64_t moved = items[i - 1];
        items[i - 1] = items[j];
        items[j] = moved;
    }
}
