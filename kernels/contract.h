// The words of kernels/contract.cuh: everything in which two contractions that share an instance differ. Plain C: NVRTC
// code reads it, the compiler fills it and passes it by value (spec/cuda.md, Words).
//
//   D[b,m,n] = epilogue( sum_k A[b,m,k] * B[b,k,n] )
//
// Each of the groups b, m, n, k is a flat number made of up to four indices, the last one innermost:
//
//   flat = ((index[0] * extent[1] + index[1]) * extent[2] + index[2]) * extent[3] + index[3]
//
// Indices are filled from the right: a group of two uses index[2] and index[3]; the others are 0 and their strides and
// coefficients must be 0. Only the outermost index of a group may have an extent known at run time, FACTOR * e; it is
// never divided by. Flat numbers, element numbers and coordinates are 32-bit (below 2^31).
//
// All strides are in elements. An operand's element is
//
//   base + sum_g stride[g] . index[g]                    g over batch, its own group (m of A, n of B) and k
//
// or, when a guarded coordinate is outside [0, size) or, with step > 1, not divisible by it, 0. A guarded coordinate is
//
//   c = offset + sum_g coefficient[g] . index[g]         inside when 0 <= c < size * step and c % step == 0
//
// With step > 1 ("exact" operands: an instance of their own) the element number also has (c / step) * stride. Otherwise
// the coordinate only decides, and its contribution to the element number is in the operand's own strides and base:
// for x[b, i + u - 1, c], base = -stride_i, the strides of i and u are both stride_i.
//
// Size: CONTRACT_WORDS words of 64 bits. Everything is 4 bytes wide except the bases.
#ifndef STM_CONTRACT_H
#define STM_CONTRACT_H

#ifdef __CUDACC__
#define CONTRACT_INLINE __host__ __device__ static inline
#else
#define CONTRACT_INLINE static inline
#endif

enum { CONTRACT_INDICES = 4, CONTRACT_GUARDS = 3, CONTRACT_EXTENTS = 4 }; // of a group, an operand, a function

// n / divisor == (umulhi(2 * n, multiply)) >> shift for 0 <= n < 2^31, 1 <= divisor < 2^31.
typedef struct ContractDivide {
    unsigned multiply;
    int shift;
    int divisor;
} ContractDivide;

// The flat numbers of one group. inner[i] divides by the extent of index i, i = 1, 2, 3; for the outermost index in use
// and those left of it the divisor is CONTRACT_NO_LIMIT, so they are 0 (contract_group fills all this).
typedef struct ContractGroup {
    int extent;  // number of flat values, without what is dynamic: product of the constant extents and FACTOR
    int dynamic; // -1, or which of the function's extents multiplies it (0: e0, 1: e1, ...)
    ContractDivide inner[3];
    int unused;
} ContractGroup;
#define CONTRACT_NO_LIMIT 0x7fffffff

typedef struct ContractGuard {
    int size;             // of the dimension; 0x3fffffff when the coordinate cannot be outside
    int step;             // >= 1; > 1 only in exact instances
    int offset;           // |c| must stay below 2^29
    int stride;           // exact instances: elements per unit of c / step. Otherwise 0.
    int batch[4], own[4]; // coefficients of the indices; own: m for A, n for B
    int k[4];
} ContractGuard;

typedef struct ContractOperand {
    long long base;             // element added to the pointer; may be negative
    int batch[4], own[4], k[4]; // strides; a function may set those that depend on run-time extents in its copy
    ContractGuard guard[3]; // the instance checks guard[0 .. GUARDS); fill those that it checks but the operand lacks
                            //   with contract_no_guard
    ContractDivide step[3]; // contract_divide(guard[i].step); exact instances
    int unused;
} ContractOperand;

typedef struct ContractResult { // of the default epilogues; generated ones may use it as they like
    long long base;
    int batch[4], m[4], n[4]; // strides
} ContractResult;

typedef struct ContractWords {
    ContractGroup batch, m, n, k;
    ContractOperand a, b;
    ContractResult d;
    int slices; // split-K, >= 1: slice s sums the k in [s * z, (s + 1) * z), z = k cut into `slices` and rounded up to
                //   the instance's TK; the epilogue's batch number is then s * (number of batches) + b
    int unused;
} ContractWords;
enum { CONTRACT_WORDS = sizeof(ContractWords) / 8 };

// ---- for whoever fills the words
CONTRACT_INLINE ContractDivide contract_divide(int divisor) {
    ContractDivide d;
    int shift = 0;
    while (shift < 31 && (1LL << shift) < divisor) shift++;
    // ceil(2^(31 + shift) / divisor) < 2^32, and its error times n < 2^31 stays below one unit of the quotient
    d.multiply = (unsigned)(((1ULL << (31 + shift)) + (unsigned)divisor - 1) / (unsigned)divisor);
    d.shift = shift;
    d.divisor = divisor;
    return d;
}

// A group of `count` (0 to 4) indices with these extents, outermost first. dynamic >= 0: the first one's extent is
// extent[0] (its factor) times the function's extent of that number.
CONTRACT_INLINE ContractGroup contract_group(int count, const int *extent, int dynamic) {
    ContractGroup g;
    int i;
    g.extent = 1;
    g.dynamic = dynamic;
    g.unused = 0;
    for (i = 0; i < count; i++) g.extent *= extent[i];
    for (i = 1; i < 4; i++) {
        int from = i - (4 - count); // index i is the group's extent[from]
        g.inner[i - 1] = contract_divide(from >= 1 ? extent[from] : CONTRACT_NO_LIMIT);
    }
    return g;
}

CONTRACT_INLINE ContractGuard contract_no_guard(void) {
    ContractGuard g = {0x3fffffff, 1, 0, 0, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}};
    return g;
}

// Dynamic shared memory of an instance in bytes: what the launch asks for. a_bytes, b_bytes: size of an operand's
// element in memory; value_bytes: 4, or 8 for f64. The function checks itself against this (static_assert).
#ifdef __cplusplus
#define CONTRACT_CONSTANT constexpr
#else
#define CONTRACT_CONSTANT
#endif
CONTRACT_INLINE CONTRACT_CONSTANT int contract_shared_bytes(int tm, int tn, int tk, int stages, int a_bytes,
                                                            int b_bytes, int value_bytes) {
    // stages of both operands, in the same place the tile of results; then the tables of rows, of columns and two of k
    // for each operand
    return (stages * tk * (tm * a_bytes + tn * b_bytes) > tm * (tn + 8) * value_bytes
                ? stages * tk * (tm * a_bytes + tn * b_bytes)
                : tm * (tn + 8) * value_bytes) +
           16 * (tm + tn + 4 * tk);
}

#endif
