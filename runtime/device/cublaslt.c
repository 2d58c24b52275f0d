// cublaslt: see cublaslt.h. A row-major matrix is the transpose of a column-major one, so what is asked of cuBLASLt is
// D' = op(B)' op(A)': its first operand is the plan's B, its rows are the plan's n, its columns the plan's m.
#include "cublaslt.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../program/plan.h"

// One algorithm, chosen for these sizes, types and alignments.
typedef struct LtKey {
    int64_t m, n, k, batch, lda, ldb, ldd, stride_a, stride_b, stride_d;
    uint32_t align_a, align_b, align_d, align_bias, align_aux;
    int32_t compute, in, out, epilogue, transpose;
} LtKey;

struct LtChoice {
    LtKey key;
    LtAlgo algo;
    struct LtChoice *next;
};

static const char *result_name(LtResult result) {
    switch (result) {
    case 1: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case 3: return "CUBLAS_STATUS_ALLOC_FAILED";
    case 7: return "CUBLAS_STATUS_INVALID_VALUE";
    case 8: return "CUBLAS_STATUS_ARCH_MISMATCH";
    case 11: return "CUBLAS_STATUS_MAPPING_ERROR";
    case 13: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case 14: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case 15: return "CUBLAS_STATUS_NOT_SUPPORTED";
    case 16: return "CUBLAS_STATUS_LICENSE_ERROR";
    default: return "unknown status";
    }
}

static Status check(LtResult result, const char *call) {
    if (result == 0) return STATUS_OK;
    return status_make(result == 3 ? STATUS_NO_MEMORY : STATUS_IO, "cuBLASLt: %s: %s (%d)", call, result_name(result),
                       result);
}

static Status find_functions(CublasLt *lt, const char *file) {
    void *found = NULL;
#define X(member, symbol, parameters)                                                                                  \
    found = dlsym(lt->library, #symbol);                                                                               \
    if (!found)                                                                                                        \
        return status_make(STATUS_UNSUPPORTED, "%s has no %s; install cuBLAS of CUDA 12 or 13", file, #symbol);        \
    memcpy(&lt->member, &found, sizeof found);
    CUBLASLT_FUNCTIONS(X)
#undef X
    return STATUS_OK;
}

Status cublaslt_open(CublasLt *lt, int driver, Arena *arena) {
    static const char *const files[] = {
        "libcublasLt.so.13", "/usr/local/cuda/lib64/libcublasLt.so.13", "/usr/local/cuda-13/lib64/libcublasLt.so.13",
        "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so.12", "/usr/local/cuda-12/lib64/libcublasLt.so.12"};
    enum { FILES = sizeof files / sizeof *files };
    *lt = (CublasLt){.arena = arena};
    const char *wish = getenv("STM_CUBLASLT"), *file = wish;
    if (wish && *wish) {
        lt->library = dlopen(wish, RTLD_NOW | RTLD_LOCAL);
        if (!lt->library) {
            const char *why = dlerror();
            return status_make(STATUS_NOT_FOUND, "STM_CUBLASLT=%s: %s", wish, why ? why : "");
        }
    }
    for (int i = 0; i < FILES && !lt->library; i++) {
        file = files[driver >= 13000 ? i : (i + FILES / 2) % FILES]; // cuBLAS 13 needs a driver for CUDA 13
        lt->library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    }
    if (!lt->library)
        return status_make(STATUS_IO,
                           "cuBLASLt, which this program multiplies matrices with, was not found (libcublasLt.so.13 or "
                           ".12); install the package libcublas of CUDA 12 or 13, add its directory to "
                           "LD_LIBRARY_PATH, or name the file with STM_CUBLASLT");
    return find_functions(lt, file);
}

void cublaslt_close(CublasLt *lt) {
    if (lt->handle) lt->destroy(lt->handle);
    *lt = (CublasLt){0};
}

// ---- Descriptions ----------------------------------------------------------------------------------------------

static int32_t data_type(StmType type) {
    return type == STM_F64 ? LT_R_64F : type == STM_BF16 ? LT_R_16BF : LT_R_32F;
}

static int32_t compute_type(const StmMatmul *m) {
    switch (m->compute) {
    case STM_COMPUTE_F64: return LT_COMPUTE_64F;
    case STM_COMPUTE_TF32: return m->in == STM_F32 ? LT_COMPUTE_32F_FAST_TF32 : LT_COMPUTE_32F;
    case STM_COMPUTE_BF16: return m->in == STM_F32 ? LT_COMPUTE_32F_FAST_16BF : LT_COMPUTE_32F;
    case STM_COMPUTE_F32: break;
    }
    return LT_COMPUTE_32F;
}

// The plan's A is cuBLASLt's B, and the other way round.
static int32_t epilogue_bits(StmEpilogue epilogue) {
    switch (epilogue) {
    case STM_EPILOGUE_NONE: return LT_EPILOGUE_DEFAULT;
    case STM_EPILOGUE_BIAS: return LT_EPILOGUE_BIAS;
    case STM_EPILOGUE_RELU: return LT_EPILOGUE_RELU;
    case STM_EPILOGUE_RELU_BIAS: return LT_EPILOGUE_RELU | LT_EPILOGUE_BIAS;
    case STM_EPILOGUE_GELU: return LT_EPILOGUE_GELU;
    case STM_EPILOGUE_GELU_BIAS: return LT_EPILOGUE_GELU | LT_EPILOGUE_BIAS;
    case STM_EPILOGUE_GELU_AUX: return LT_EPILOGUE_GELU | LT_EPILOGUE_AUX;
    case STM_EPILOGUE_GELU_AUX_BIAS: return LT_EPILOGUE_GELU | LT_EPILOGUE_AUX | LT_EPILOGUE_BIAS;
    case STM_EPILOGUE_BGRAD_A: return LT_EPILOGUE_BGRADB;
    case STM_EPILOGUE_BGRAD_B: return LT_EPILOGUE_BGRADA;
    }
    return LT_EPILOGUE_DEFAULT;
}

static uint32_t alignment(CuAddress address) { // what divides it, at most 256
    uint32_t bytes = 256;
    while (address % bytes) bytes /= 2;
    return bytes;
}

static Status set_i32(CublasLt *lt, LtDesc desc, int attribute, int32_t value) {
    return check(lt->desc_set(desc, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}

static Status set_i64(CublasLt *lt, LtDesc desc, int attribute, int64_t value) {
    return check(lt->desc_set(desc, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}

static Status set_address(CublasLt *lt, LtDesc desc, int attribute, CuAddress value) {
    const void *pointer = (const void *)(uintptr_t)value;
    return check(lt->desc_set(desc, attribute, &pointer, sizeof pointer), "cublasLtMatmulDescSetAttribute");
}

static Status make_layout(CublasLt *lt, LtLayout *layout, int32_t type, int64_t rows, int64_t columns, int64_t leading,
                          int64_t batch, int64_t stride) {
    TRY(check(lt->layout_new(layout, type, (uint64_t)rows, (uint64_t)columns, leading), "cublasLtMatrixLayoutCreate"));
    if (batch == 1) return STATUS_OK;
    int32_t count = (int32_t)batch;
    TRY(check(lt->layout_set(*layout, LT_LAYOUT_BATCH_COUNT, &count, sizeof count),
              "cublasLtMatrixLayoutSetAttribute"));
    return check(lt->layout_set(*layout, LT_LAYOUT_BATCH_STRIDE, &stride, sizeof stride),
                 "cublasLtMatrixLayoutSetAttribute");
}

static LtKey make_key(const StmMatmul *m, const LtProduct *p, CuAddress bias, CuAddress aux, const int64_t *extent) {
    LtKey key;
    memset(&key, 0, sizeof key); // compared as bytes
    key.m = extent_of(m->m, extent), key.n = extent_of(m->n, extent), key.k = extent_of(m->k, extent);
    key.batch = extent_of(m->batch, extent);
    key.lda = extent_of(m->lda, extent), key.ldb = extent_of(m->ldb, extent), key.ldd = extent_of(m->ldd, extent);
    key.stride_a = extent_of(m->stride_a, extent), key.stride_b = extent_of(m->stride_b, extent);
    key.stride_d = extent_of(m->stride_d, extent);
    key.align_a = alignment(p->b_data), key.align_b = alignment(p->a_data), key.align_d = alignment(p->d_data);
    key.align_bias = alignment(bias), key.align_aux = alignment(aux);
    key.compute = (int32_t)m->compute, key.in = (int32_t)m->in, key.out = (int32_t)m->out;
    key.epilogue = (int32_t)m->epilogue, key.transpose = m->transpose_a | m->transpose_b << 1;
    return key;
}

static Status describe(CublasLt *lt, const StmMatmul *m, StmType real, const LtKey *key, CuAddress bias, CuAddress aux,
                       LtProduct *p) {
    int32_t scale = m->compute == STM_COMPUTE_F64 ? LT_R_64F : LT_R_32F, bits = epilogue_bits(m->epilogue);
    TRY(check(lt->desc_new(&p->desc, compute_type(m), scale), "cublasLtMatmulDescCreate"));
    TRY(set_i32(lt, p->desc, LT_DESC_TRANSA, m->transpose_b));
    TRY(set_i32(lt, p->desc, LT_DESC_TRANSB, m->transpose_a));
    TRY(set_i32(lt, p->desc, LT_DESC_EPILOGUE, bits));
    if (bits & (LT_EPILOGUE_BIAS | LT_EPILOGUE_BGRADA | LT_EPILOGUE_BGRADB)) {
        TRY(set_address(lt, p->desc, LT_DESC_BIAS_POINTER, bias));
        if (real != m->out) TRY(set_i32(lt, p->desc, LT_DESC_BIAS_TYPE, data_type(real)));
    }
    if (bits & LT_EPILOGUE_AUX) {
        TRY(set_address(lt, p->desc, LT_DESC_AUX_POINTER, aux));
        TRY(set_i64(lt, p->desc, LT_DESC_AUX_LEADING, key->ldd));
        if (key->batch > 1) TRY(set_i64(lt, p->desc, LT_DESC_AUX_BATCH_STRIDE, key->stride_d));
    }
    // Column-major: B is stored n x k (or k x n transposed), A k x m (or m x k transposed), D n x m.
    TRY(make_layout(lt, &p->a, data_type(m->in), m->transpose_b ? key->k : key->n, m->transpose_b ? key->n : key->k,
                    key->ldb, key->batch, key->stride_b));
    TRY(make_layout(lt, &p->b, data_type(m->in), m->transpose_a ? key->m : key->k, m->transpose_a ? key->k : key->m,
                    key->lda, key->batch, key->stride_a));
    return make_layout(lt, &p->d, data_type(m->out), key->n, key->m, key->ldd, key->batch, key->stride_d);
}

// ---- Algorithms ------------------------------------------------------------------------------------------------

static Status prefer(CublasLt *lt, LtPreference preference, int attribute, const void *value, size_t size) {
    return check(lt->preference_set(preference, attribute, value, size), "cublasLtMatmulPreferenceSetAttribute");
}

static Status ask(CublasLt *lt, const LtProduct *p, const LtKey *key, LtPreference preference, LtHeuristic *best,
                  LtResult *result, int *found) {
    uint64_t workspace = CUBLASLT_WORKSPACE;
    uint32_t reduction = 2;
    TRY(prefer(lt, preference, LT_PREFERENCE_WORKSPACE, &workspace, sizeof workspace));
    TRY(prefer(lt, preference, LT_PREFERENCE_REDUCTION, &reduction, sizeof reduction));
    TRY(prefer(lt, preference, LT_PREFERENCE_ALIGN_A, &key->align_b, sizeof key->align_b));
    TRY(prefer(lt, preference, LT_PREFERENCE_ALIGN_B, &key->align_a, sizeof key->align_a));
    TRY(prefer(lt, preference, LT_PREFERENCE_ALIGN_C, &key->align_d, sizeof key->align_d));
    TRY(prefer(lt, preference, LT_PREFERENCE_ALIGN_D, &key->align_d, sizeof key->align_d));
    *result = lt->heuristic(lt->handle, p->desc, p->a, p->b, p->d, p->d, preference, 1, best, found);
    return STATUS_OK;
}

static Status choose(CublasLt *lt, const StmMatmul *m, const LtKey *key, LtProduct *p) {
    for (struct LtChoice *c = lt->choice; c; c = c->next)
        if (memcmp(&c->key, key, sizeof *key) == 0) {
            p->algo = c->algo;
            return STATUS_OK;
        }
    LtPreference preference = NULL;
    LtHeuristic best = {0};
    LtResult result = 0;
    int found = 0;
    TRY(check(lt->preference_new(&preference), "cublasLtMatmulPreferenceCreate"));
    Status status = ask(lt, p, key, preference, &best, &result, &found);
    lt->preference_free(preference);
    TRY(status);
    if (result != 0 || found < 1 || best.state != 0)
        return status_make(
            STATUS_UNSUPPORTED,
            "cuBLASLt has no algorithm for a product of %lld x %lld x %lld, batch %lld, %s to %s, epilogue %d, leading "
            "dimensions %lld %lld %lld, alignments %u %u %u: %s; compile with another --precision, and report it",
            (long long)key->m, (long long)key->n, (long long)key->k, (long long)key->batch, type_name(m->in),
            type_name(m->out), (int)m->epilogue, (long long)key->lda, (long long)key->ldb, (long long)key->ldd,
            key->align_a, key->align_b, key->align_d, result ? result_name(result) : "nothing was found");
    struct LtChoice *choice = NULL;
    TRY(ARENA_NEW(lt->arena, choice, 1));
    *choice = (struct LtChoice){.algo = best.algo, .next = lt->choice};
    memcpy(&choice->key, key, sizeof *key); // with its padding
    lt->choice = choice;
    p->algo = best.algo;
    return STATUS_OK;
}

Status cublaslt_prepare(CublasLt *lt, const StmMatmul *m, StmType real, const CuAddress *address, const int64_t *extent,
                        LtProduct *p) {
    *p = (LtProduct){.f64 = m->compute == STM_COMPUTE_F64};
    int64_t in = (int64_t)type_size(m->in), out = (int64_t)type_size(m->out);
    p->a_data = address[m->b] + (CuAddress)(m->offset_b * in);
    p->b_data = address[m->a] + (CuAddress)(m->offset_a * in);
    p->d_data = address[m->d] + (CuAddress)(m->offset_d * out);
    CuAddress bias = m->bias >= 0 ? address[m->bias] : 0, aux = m->aux >= 0 ? address[m->aux] : 0;
    LtKey key = make_key(m, p, bias, aux, extent);
    p->empty = key.m == 0 || key.n == 0 || key.batch == 0;
    if (p->empty) return STATUS_OK;
    if (key.k == 0 || key.batch > INT32_MAX)
        return status_make(STATUS_UNSUPPORTED, "a product of %lld x %lld x %lld, batch %lld, is not possible",
                           (long long)key.m, (long long)key.n, (long long)key.k, (long long)key.batch);
    if (!lt->handle) TRY(check(lt->create(&lt->handle), "cublasLtCreate"));
    TRY(describe(lt, m, real, &key, bias, aux, p));
    return choose(lt, m, &key, p);
}

void cublaslt_product_free(CublasLt *lt, LtProduct *p) {
    if (p->a) lt->layout_free(p->a);
    if (p->b) lt->layout_free(p->b);
    if (p->d) lt->layout_free(p->d);
    if (p->desc) lt->desc_free(p->desc);
    *p = (LtProduct){0};
}

static void *pointer(CuAddress address) {
    return (void *)(uintptr_t)address;
}

Status cublaslt_enqueue(CublasLt *lt, const LtProduct *p, CuAddress workspace, CuStream stream) {
    static const float one = 1, zero = 0;
    static const double one_f64 = 1, zero_f64 = 0;
    if (p->empty) return STATUS_OK;
    const void *alpha = p->f64 ? (const void *)&one_f64 : &one, *beta = p->f64 ? (const void *)&zero_f64 : &zero;
    return check(lt->matmul(lt->handle, p->desc, alpha, pointer(p->a_data), p->a, pointer(p->b_data), p->b, beta,
                            pointer(p->d_data), p->d, pointer(p->d_data), p->d, &p->algo, pointer(workspace),
                            CUBLASLT_WORKSPACE, stream),
                 "cublasLtMatmul");
}

int64_t cublaslt_bytes(const StmMatmul *m, StmType real, const int64_t *extent) {
    int64_t rows = extent_of(m->m, extent), columns = extent_of(m->n, extent), depth = extent_of(m->k, extent);
    int64_t batch = extent_of(m->batch, extent), in = (int64_t)type_size(m->in), out = (int64_t)type_size(m->out);
    int64_t a = extent_of(m->stride_a, extent) ? batch : 1, b = extent_of(m->stride_b, extent) ? batch : 1;
    int64_t bytes = rows * depth * a * in + depth * columns * b * in + rows * columns * batch * out;
    if (m->aux >= 0) bytes += rows * columns * batch * out;
    if (m->bias >= 0) bytes += (m->epilogue == STM_EPILOGUE_BGRAD_A ? rows : columns) * (int64_t)type_size(real);
    return bytes;
}
