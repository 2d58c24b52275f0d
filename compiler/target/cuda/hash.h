// FNV-1a: names of functions (64 bits) and keys of the cache (128 bits). Not for adversaries.
#ifndef STMC_TARGET_CUDA_HASH_H
#define STMC_TARGET_CUDA_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_START 0xcbf29ce484222325ull

static inline uint64_t hash_bytes(uint64_t h, const void *bytes, size_t size) {
    const unsigned char *b = bytes;
    for (size_t i = 0; i < size; i++) h = (h ^ b[i]) * 0x100000001b3ull;
    return h;
}

static inline uint64_t hash_text(const char *text) {
    return hash_bytes(HASH_START, text, strlen(text));
}

typedef struct Hash128 {
    uint64_t high, low;
} Hash128;

#define HASH128_START ((Hash128){0x6c62272e07bb0142ull, 0x62b821756295c58dull})

static inline Hash128 hash128_bytes(Hash128 h, const void *bytes, size_t size) {
    const unsigned char *b = bytes;
    unsigned __int128 v = (unsigned __int128)h.high << 64 | h.low;
    const unsigned __int128 prime = (unsigned __int128)1 << 88 | 0x13b;
    for (size_t i = 0; i < size; i++) v = (v ^ b[i]) * prime;
    return (Hash128){(uint64_t)(v >> 64), (uint64_t)v};
}

// With its closing NUL, so that consecutive texts do not run into each other.
static inline Hash128 hash128_text(Hash128 h, const char *text) {
    return hash128_bytes(h, text, strlen(text) + 1);
}

#endif
