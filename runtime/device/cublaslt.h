// cublaslt: matrix products by cuBLASLt, found at run time in libcublasLt.so.13 or .12 (the declarations used here are
// the same in both). STM_CUBLASLT names another file instead.
//
// Matrices are row-major, as the plan says them (StmMatmul): cuBLASLt is column-major, so D' = op(B)' op(A)' is
// computed. Deterministic: split-K only with partial sums in the workspace that are added in order.
//
// Errors name the product, its shape and types and cuBLASLt's status.
#pragma once

#include "../core/arena.h"
#include "../program/program.h"
#include "cuda_driver.h"

typedef int LtResult; // cublasStatus_t
typedef struct cublasLtContext *LtHandle;
typedef struct LtMatmulDesc *LtDesc;
typedef struct LtMatrixLayout *LtLayout;
typedef struct LtPreference *LtPreference;
typedef struct LtAlgo { // cublasLtMatmulAlgo_t
    uint64_t data[8];
} LtAlgo;
typedef struct LtHeuristic { // cublasLtMatmulHeuristicResult_t
    LtAlgo algo;
    size_t workspace;
    LtResult state;
    float waves;
    int reserved[4];
} LtHeuristic;

// X(member of CublasLt, exported name, parameters)
#define CUBLASLT_FUNCTIONS(X)                                                                                          \
    X(create, cublasLtCreate, (LtHandle * handle))                                                                     \
    X(destroy, cublasLtDestroy, (LtHandle handle))                                                                     \
    X(desc_new, cublasLtMatmulDescCreate, (LtDesc * desc, int compute_type, int scale_type))                           \
    X(desc_free, cublasLtMatmulDescDestroy, (LtDesc desc))                                                             \
    X(desc_set, cublasLtMatmulDescSetAttribute, (LtDesc desc, int attribute, const void *value, size_t size))          \
    X(layout_new, cublasLtMatrixLayoutCreate,                                                                          \
      (LtLayout * layout, int type, uint64_t rows, uint64_t columns, int64_t leading))                                 \
    X(layout_free, cublasLtMatrixLayoutDestroy, (LtLayout layout))                                                     \
    X(layout_set, cublasLtMatrixLayoutSetAttribute, (LtLayout layout, int attribute, const void *value, size_t size))  \
    X(preference_new, cublasLtMatmulPreferenceCreate, (LtPreference * preference))                                     \
    X(preference_free, cublasLtMatmulPreferenceDestroy, (LtPreference preference))                                     \
    X(preference_set, cublasLtMatmulPreferenceSetAttribute,                                                            \
      (LtPreference preference, int attribute, const void *value, size_t size))                                        \
    X(heuristic, cublasLtMatmulAlgoGetHeuristic,                                                                       \
      (LtHandle handle, LtDesc desc, LtLayout a, LtLayout b, LtLayout c, LtLayout d, LtPreference preference,          \
       int wanted, LtHeuristic *results, int *found))                                                                  \
    X(matmul, cublasLtMatmul,                                                                                          \
      (LtHandle handle, LtDesc desc, const void *alpha, const void *a, LtLayout a_layout, const void *b,               \
       LtLayout b_layout, const void *beta, const void *c, LtLayout c_layout, void *d, LtLayout d_layout,              \
       const LtAlgo *algo, void *workspace, size_t workspace_bytes, CuStream stream))

enum { // what is passed to the functions above, by their numbers in cublasLt.h; the same in 12 and 13
    LT_COMPUTE_32F = 68,
    LT_COMPUTE_64F = 70,
    LT_COMPUTE_32F_FAST_16BF = 75,
    LT_COMPUTE_32F_FAST_TF32 = 77,
    LT_R_32F = 0, // cudaDataType
    LT_R_64F = 1,
    LT_R_16BF = 14,
    LT_DESC_TRANSA = 3, // i32: 0 none, 1 transposed
    LT_DESC_TRANSB = 4,
    LT_DESC_EPILOGUE = 7, // i32, sum of the LT_EPILOGUE bits
    LT_DESC_BIAS_POINTER = 8,
    LT_DESC_BIAS_BATCH_STRIDE = 10, // i64
    LT_DESC_AUX_POINTER = 11,
    LT_DESC_AUX_LEADING = 12,      // i64
    LT_DESC_AUX_BATCH_STRIDE = 13, // i64
    LT_DESC_BIAS_TYPE = 26,        // i32
    LT_LAYOUT_BATCH_COUNT = 5,     // i32
    LT_LAYOUT_BATCH_STRIDE = 6,    // i64, elements
    LT_PREFERENCE_WORKSPACE = 1,   // u64
    LT_PREFERENCE_REDUCTION = 3,   // u32, mask of allowed split-K reductions; 2: in a workspace, in compute type
    LT_PREFERENCE_ALIGN_A = 5,     // u32, bytes
    LT_PREFERENCE_ALIGN_B = 6,
    LT_PREFERENCE_ALIGN_C = 7,
    LT_PREFERENCE_ALIGN_D = 8,
    LT_EPILOGUE_DEFAULT = 1,
    LT_EPILOGUE_RELU = 2,
    LT_EPILOGUE_BIAS = 4,
    LT_EPILOGUE_GELU = 32,
    LT_EPILOGUE_AUX = 128,
    LT_EPILOGUE_BGRADA = 256,
    LT_EPILOGUE_BGRADB = 512,
};
enum { CUBLASLT_WORKSPACE = 32 << 20 }; // bytes of device memory, one for all products (they follow one another)

typedef struct CublasLt {
    void *library;
    LtHandle handle;
    Arena *arena;            // of the cache
    struct LtChoice *choice; // algorithms chosen so far
#define X(member, symbol, parameters) LtResult(*member) parameters;
    CUBLASLT_FUNCTIONS(X)
#undef X
} CublasLt;

// Loads the library, the version that suits the driver (12040: CUDA 12.4) first; the handle is made by the first
// product, in the current context. An error says what is missing and how to get it. cublaslt_close ends it in every
// case; the library stays in the process.
MUST_USE Status cublaslt_open(CublasLt *out_lt, int driver, Arena *arena);
void cublaslt_close(CublasLt *lt);

// One product, ready to be enqueued any number of times: descriptors for fixed extents and addresses.
typedef struct LtProduct {
    LtDesc desc;
    LtLayout a, b, d; // as cuBLASLt sees them: its A is the plan's B
    CuAddress a_data, b_data, d_data;
    LtAlgo algo;
    bool f64;
    bool empty; // nothing to compute
} LtProduct;

// `address[i]` is the step's argument i; `extent` the axes' values followed by the step's own; `real` the plan's. The
// product must be freed also after an error.
MUST_USE Status cublaslt_prepare(CublasLt *lt, const StmMatmul *matmul, StmType real, const CuAddress *address,
                                 const int64_t *extent, LtProduct *out_product);
void cublaslt_product_free(CublasLt *lt, LtProduct *product);
MUST_USE Status cublaslt_enqueue(CublasLt *lt, const LtProduct *product, CuAddress workspace, CuStream stream);

// Bytes that a product reads and writes, for profiles.
int64_t cublaslt_bytes(const StmMatmul *matmul, StmType real, const int64_t *extent);
