// npy_write: an array as the bytes of an NPY file, handed to whoever writes them.
#pragma once

#include "../core/strings.h"
#include "npy.h"

typedef struct NpyBytes {
    Text header;      // magic, version, length and dict, padded so that the data starts at a multiple of 64
    const void *data; // the array's own, or `texts`
    void *texts;      // UTF-32
    size_t size;      // of the data
} NpyBytes;

// `array` must outlive the bytes; end them with npy_bytes_free, on failure too.
MUST_USE Status npy_bytes(const char *path, const NpyArray *array, NpyBytes *out_bytes);
void npy_bytes_free(NpyBytes *bytes);
