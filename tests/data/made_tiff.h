// made_tiff: little-endian TIFF files, classic and of one page BigTIFF, made entry by entry, as wrong as a test wants
// them.
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

// A BigTIFF of one page: the same with 8 bytes for offsets and counts. Three shorts fit into an entry; all are `value`.
static inline MadeTiff made_tiff_begin_big(void) {
    MadeTiff tiff = {.link = 8};
    made_tiff_put(&tiff, "II+\0\10\0\0\0\0\0\0\0\0\0\0\0", 16);
    return tiff;
}

static inline void made_tiff_directory_big(MadeTiff *tiff, const MadeEntry *entries, uint64_t n) {
    while (tiff->size % 8) made_tiff_put(tiff, "", 1);
    made_tiff_set(tiff, tiff->link, (uint32_t)tiff->size);
    made_tiff_put(tiff, &n, 8);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t numbers[2] = {entries[i].count, entries[i].value};
        if (entries[i].type == 3 && entries[i].count == 3) numbers[1] = entries[i].value * (uint64_t)0x100010001;
        made_tiff_put(tiff, &entries[i], 4);
        made_tiff_put(tiff, numbers, 16);
    }
    made_tiff_put(tiff, "\0\0\0\0\0\0\0\0", 8);
}

static inline void made_tiff_end(MadeTiff *tiff, const char *path) {
    made_file(path, tiff->data, tiff->size);
    free(tiff->data);
    *tiff = (MadeTiff){0};
}
