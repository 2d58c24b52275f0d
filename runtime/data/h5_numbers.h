// h5_numbers: long one-dimensional datasets of numbers, read in stretches, by several threads, and converted on the
// way. Raw chunks are decoded with libdeflate (h5_raw.h), which is two to three times as fast as HDF5's own way;
// whatever that does not know (other filters, odd number types, other layouts) goes through H5Dread: slower, same
// values. Internal to runtime/data.
#pragma once

#include "h5_raw.h"

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
    H5Raw raw;       // not possible: H5Dread
} H5Numbers;

// What one thread works with. A zeroed one is ready.
typedef struct NumberLane {
    RawLane raw;
    uint64_t first, count;
    bool slow; // the numbers stand in `values`, read by HDF5
    unsigned char *values;
    size_t room;
} NumberLane;

// Refuses, with file and object: missing datasets, other shapes, types that are not numbers (enumerations such as
// h5py's booleans count as their integers).
MUST_USE Status numbers_open(const ForeignFile *f, hid_t parent, const char *name, H5Numbers *out);
void numbers_close(H5Numbers *numbers); // a zeroed one is fine

// Numbers first .. first + count - 1, in two steps. The first asks HDF5, so only one thread may be in it; the second is
// free of it.
MUST_USE Status numbers_take(const H5Numbers *numbers, NumberLane *lane, uint64_t first, uint64_t count);
MUST_USE Status numbers_give(const H5Numbers *numbers, NumberLane *lane, void *out); // in `type`
MUST_USE Status numbers_give_f32(const H5Numbers *numbers, NumberLane *lane, float *out);
// Numbers beyond 0 .. INT32_MAX become negative.
MUST_USE Status numbers_give_index(const H5Numbers *numbers, NumberLane *lane, int32_t *out);
void number_lane_free(NumberLane *lane);

void numbers_to_f32(NumberType type, const void *in, size_t count, float *out);
void numbers_to_f64(NumberType type, const void *in, size_t count, double *out);
// Floating-point numbers are cut; numbers beyond the range become INT64_MIN.
void numbers_to_i64(NumberType type, const void *in, size_t count, int64_t *out);

// A whole small dataset in new memory (free()).
MUST_USE Status numbers_load_f64(const ForeignFile *f, hid_t parent, const char *name, double **out, size_t *out_count);
MUST_USE Status numbers_load_i64(const ForeignFile *f, hid_t parent, const char *name, int64_t **out,
                                 size_t *out_count);
bool numbers_are_real(NumberType type);
size_t number_size(NumberType type); // bytes
