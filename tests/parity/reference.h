// Reads the recorded references (safetensors files of this folder) and compares tensors with their summaries.
// Depends on nothing of the project, so that a fault in the runtime's own reader cannot hide a wrong result.
#ifndef STMC_TESTS_PARITY_REFERENCE_H
#define STMC_TESTS_PARITY_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

#define REFERENCE_RANK_MAX 8
#define REFERENCE_SUMMARY  24 // n, sum, l2 norm, largest magnitude, first 8 elements, 12 samples

typedef struct Reference Reference; // one open file; owns all memory that its tensors point into

typedef struct {
    const char *name; // owned by the Reference
    char dtype[8];    // "F64", "F32", "I64", "U8", ...
    int rank;
    int64_t shape[REFERENCE_RANK_MAX];
    int64_t count;    // elements
    const void *data; // little-endian, aligned to the element, owned by the Reference
} ReferenceTensor;

// Opens and indexes a file. NULL on failure, with the reason (file, what was found, what was expected) in
// `why`.
Reference *reference_open(const char *path, char *why, size_t why_size);
void reference_close(Reference *reference);

// Number of tensors, and the tensor at a position (0 .. count-1, in file order).
size_t reference_count(const Reference *reference);
const ReferenceTensor *reference_at(const Reference *reference, size_t position);

// NULL when there is no such tensor.
const ReferenceTensor *reference_find(const Reference *reference, const char *name);

// The data of an f64 (i64) tensor with exactly `count` elements, or of any number when count < 0. NULL when
// the tensor is absent, of another type, or of another size.
const double *reference_f64(const Reference *reference, const char *name, int64_t count);
const int64_t *reference_i64(const Reference *reference, const char *name, int64_t count);

// Fills a summary row from n >= 1 elements. Sums are taken in f64.
void reference_summary_f32(const float *values, int64_t n, double row[REFERENCE_SUMMARY]);
void reference_summary_f64(const double *values, int64_t n, double row[REFERENCE_SUMMARY]);

// Distance of a summary from the expected one:
//   *norm     |l2 - expected l2| / expected l2
//   *element  largest |difference| of the 20 recorded elements, over the expected root mean square
// Both are infinite when the element counts differ or a value is not finite.
void reference_distance(const double expected[REFERENCE_SUMMARY], const double found[REFERENCE_SUMMARY], double *norm,
                        double *element);

#endif
