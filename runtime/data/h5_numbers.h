// h5_numbers: long one-dimensional datasets of numbers, read in stretches and fast: raw chunks are taken from HDF5 and
// decoded on the pool's threads with libdeflate, which is two to three times as fast as HDF5's own way. Whatever this
// does not know (other filters, odd number types, other layouts) goes through H5Dread: slower, same values. Internal to
// runtime/data.
#pragma once

#include "../core/pool.h"
#include "h5_foreign.h"

typedef enum NumberType {
    NUMBER_I8,
    NUMBER_U8,
    NUMBER_I16,
    NUMBER_U16,
    NUMBER_I32,
    NUMBER_U32,
    NUMBER_I64,
    NUMBER_U64,
    NUMBER_F32,
    NUMBER_F64
} NumberType;

typedef struct H5Numbers {
    const ForeignFile *f;
    char name[FOREIGN_NAME]; // for messages
    hid_t dataset, memory_type;
    uint64_t count;
    NumberType type; // of what numbers_read gives, little endian as this machine
    size_t size;     // bytes of one number
    // The fast ways.
    bool contiguous;
    uint64_t offset; // of the values in the file
    bool chunked;
    uint64_t chunk; // numbers in a chunk
    int filters;
    int filter[4];
    struct NumberWork *work; // buffers and decompressors
} H5Numbers;

// Refuses, with file and object: missing datasets, other shapes, types that are not numbers (enumerations such as
// h5py's booleans count as their integers).
MUST_USE Status numbers_open(const ForeignFile *f, hid_t parent, const char *name, H5Numbers *out);
void numbers_close(H5Numbers *numbers); // a zeroed one is fine
// Numbers first .. first + count - 1 into out[count], in `type`. pool may be NULL.
MUST_USE Status numbers_read(H5Numbers *numbers, Pool *pool, uint64_t first, uint64_t count, void *out);

void numbers_to_f32(NumberType type, const void *in, size_t count, float *out);
void numbers_to_f64(NumberType type, const void *in, size_t count, double *out);
// Floating-point numbers are cut; numbers beyond the range become INT64_MIN.
void numbers_to_i64(NumberType type, const void *in, size_t count, int64_t *out);

// A whole small dataset in new memory (free()).
MUST_USE Status numbers_load_f64(const ForeignFile *f, hid_t parent, const char *name, double **out, size_t *out_count);
MUST_USE Status numbers_load_i64(const ForeignFile *f, hid_t parent, const char *name, int64_t **out,
                                 size_t *out_count);
bool numbers_are_real(NumberType type);
