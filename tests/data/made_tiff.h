// made_tiff: classic little-endian TIFF files made entry by entry, as wrong as a test wants them.
#pragma once

#include "made.h"

typedef struct MadeTiff {
    uint8_t *data;
    size_t size, room;
    size_t link; // where the offset of the next directory goes
} MadeTiff;

static inline size_t made_tiff_put(MadeTiff *tiff, const void *data, size_t size) {
    if (tiff->size + size > tiff->room) {
        tiff->room = (tiff->size + size) * 2;
        tiff->data = realloc(tiff->data, tiff->room);
        if (!tiff->data) exit(3);
    }
    size_t at = tiff->size;
    memcpy(tiff->data + at, data, size);
    tiff->size += size;
    return at;
}

static inline void made_tiff_set(MadeTiff *tiff, size_t at, uint32_t value) {
    memcpy(tiff->data + at, &value, 4);
}

static inline MadeTiff made_tiff_begin(void) {
    MadeTiff tiff = {.link = 4};
    made_tiff_put(&tiff, "II*\0\0\0\0\0", 8);
    return tiff;
}

typedef struct MadeEntry {
    uint16_t tag, type; // 3 short, 4 long
    uint32_t count;
    uint32_t value; // or offset
} MadeEntry;

// One directory, linked from the last; tags in increasing order. Returns its offset.
static inline size_t made_tiff_directory(MadeTiff *tiff, const MadeEntry *entries, uint16_t n) {
    if (tiff->size % 2) made_tiff_put(tiff, "", 1);
    size_t at = tiff->size;
    made_tiff_set(tiff, tiff->link, (uint32_t)at);
    made_tiff_put(tiff, &n, 2);
    for (uint16_t i = 0; i < n; i++) made_tiff_put(tiff, &entries[i], 12);
    tiff->link = made_tiff_put(tiff, "\0\0\0\0", 4);
    return at;
}

static inline void made_tiff_end(MadeTiff *tiff, const char *path) {
    made_file(path, tiff->data, tiff->size);
    free(tiff->data);
    *tiff = (MadeTiff){0};
}
