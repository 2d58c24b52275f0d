// The shim's cuBLASLt against plain sums: transposes, leading dimensions, batches, every epilogue, types and their
// rounding, and what the real library refuses. Column-major, numbers of cublasLt.h.
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../shim/shim.h"

typedef void *Handle;
int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(Handle *, int);
int cuCtxSetCurrent(Handle);
int cuStreamSynchronize(Handle);
int cublasLtCreate(Handle *);
int cublasLtDestroy(Handle);
int cublasLtMatmulDescCreate(Handle *, int, int);
int cublasLtMatmulDescDestroy(Handle);
int cublasLtMatmulDescSetAttribute(Handle, int, const void *, size_t);
int cublasLtMatrixLayoutCreate(Handle *, int, uint64_t, uint64_t, int64_t);
int cublasLtMatrixLayoutDestroy(Handle);
int cublasLtMatrixLayoutSetAttribute(Handle, int, const void *, size_t);
int cublasLtMatmulPreferenceCreate(Handle *);
int cublasLtMatmulPreferenceDestroy(Handle);
int cublasLtMatmulPreferenceSetAttribute(Handle, int, const void *, size_t);
int cublasLtMatmulAlgoGetHeuristic(Handle, Handle, Handle, Handle, Handle, Handle, Handle, int, void *, int *);
int cublasLtMatmul(Handle, Handle, const void *, const void *, Handle, const void *, Handle, const void *, const void *,
                   Handle, void *, Handle, const void *, void *, size_t, Handle);

enum { F32 = 0, F64 = 1, BF16 = 14, C32 = 68, C64 = 70, C16BF = 75, CTF32 = 77 };
enum { RELU = 2, BIAS = 4, GELU = 32, AUX = 128, BGRADA = 256, BGRADB = 512 };

static int passed, failed;
static void check_at(int line, bool good, const char *what) {
    passed += good;
    failed += !good;
    if (!good) printf("cublaslt_test.c:%d: %s\n", line, what);
}
#define CHECK(condition) check_at(__LINE__, condition, #condition)

static size_t size_of(int type) {
    return type == F64 ? 8 : type == BF16 ? 2 : 4;
}
static float bf16(float x) { // rounded; the inputs here are no ties
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &bits, 4);
    return x;
}
static void put(void *at, int type, size_t i, double value) {
    float f = (float)value;
    uint32_t bits;
    if (type == F64) {
        ((double *)at)[i] = value;
    } else if (type == BF16) {
        f = bf16(f);
        memcpy(&bits, &f, 4);
        ((uint16_t *)at)[i] = (uint16_t)(bits >> 16);
    } else {
        ((float *)at)[i] = f;
    }
}
static double get(const void *at, int type, size_t i) {
    if (type == F64) return ((const double *)at)[i];
    if (type == F32) return ((const float *)at)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)at)[i] << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

typedef struct Shape {
    int compute, in, out, epilogue, ta, tb, m, n, k, batch, pad;
} Shape;

static Handle layout(int type, int rows, int columns, int leading, int batch, int64_t stride) {
    Handle l;
    int32_t count = batch;
    cublasLtMatrixLayoutCreate(&l, type, (uint64_t)rows, (uint64_t)columns, leading);
    CHECK(cublasLtMatrixLayoutSetAttribute(l, 5, &count, 4) == 0);
    CHECK(cublasLtMatrixLayoutSetAttribute(l, 6, &stride, 8) == 0);
    return l;
}

static double element(const void *at, int type, int64_t base, int transposed, int leading, int row, int column) {
    return get(at, type, (size_t)(base + (transposed ? column + row * leading : row + column * leading)));
}

// 0: done, otherwise what the heuristic said
static int product(Handle lt, Shape s) {
    int ar = s.ta ? s.k : s.m, ac = s.ta ? s.m : s.k, br = s.tb ? s.n : s.k, bc = s.tb ? s.k : s.n;
    int lda = ar + s.pad, ldb = br + s.pad, ldd = (s.epilogue & AUX) ? (s.m + 7) / 8 * 8 : s.m + s.pad, found = 0;
    int64_t sa = (int64_t)lda * ac, sb = (int64_t)ldb * bc, sd = (int64_t)ldd * s.n;
    size_t na = (size_t)(sa * s.batch), nb = (size_t)(sb * s.batch), nd = (size_t)(sd * s.batch);
    int length = s.epilogue & BGRADB ? s.n : s.m, real = s.out == F64 ? F64 : F32;
    void *a = shim_alloc(na * size_of(s.in), "a"), *b = shim_alloc(nb * size_of(s.in), "b");
    void *d = shim_alloc(nd * size_of(s.out), "d"), *aux = shim_alloc(nd * size_of(s.out), "aux");
    void *bias = shim_alloc((size_t)length * size_of(real), "bias");
    for (size_t i = 0; i < na; i++) put(a, s.in, i, (double)((int)(i * 37 % 101) - 50) / 37);
    for (size_t i = 0; i < nb; i++) put(b, s.in, i, (double)((int)(i * 53 % 97) - 48) / 41);
    for (int i = 0; i < length; i++) put(bias, real, (size_t)i, (double)(i % 5) - 2.25);
    Handle desc, preference, la = layout(s.in, ar, ac, lda, s.batch, sa), lb = layout(s.in, br, bc, ldb, s.batch, sb);
    Handle ld = layout(s.out, s.m, s.n, ldd, s.batch, sd);
    cublasLtMatmulDescCreate(&desc, s.compute, real);
    int32_t ta = s.ta, tb = s.tb, epilogue = s.epilogue ? s.epilogue : 1, type = real;
    int64_t aux_leading = ldd;
    CHECK(!cublasLtMatmulDescSetAttribute(desc, 3, &ta, 4) && !cublasLtMatmulDescSetAttribute(desc, 4, &tb, 4));
    CHECK(!cublasLtMatmulDescSetAttribute(desc, 7, &epilogue, 4) &&
          !cublasLtMatmulDescSetAttribute(desc, 26, &type, 4));
    CHECK(!cublasLtMatmulDescSetAttribute(desc, 8, &bias, 8) && !cublasLtMatmulDescSetAttribute(desc, 11, &aux, 8));
    CHECK(!cublasLtMatmulDescSetAttribute(desc, 12, &aux_leading, 8) &&
          !cublasLtMatmulDescSetAttribute(desc, 13, &sd, 8));
    CHECK(cublasLtMatmulDescSetAttribute(desc, 3, &sd, 8) != 0); // wrong size
    struct {
        uint64_t algo[8];
        size_t workspace;
        int state, more[5];
    } algo;
    cublasLtMatmulPreferenceCreate(&preference);
    int said = cublasLtMatmulAlgoGetHeuristic(lt, desc, la, lb, ld, ld, preference, 1, &algo, &found);
    float one = 1, zero = 0;
    double one64 = 1, zero64 = 0;
    const void *alpha = real == F64 ? (void *)&one64 : &one, *beta = real == F64 ? (void *)&zero64 : &zero;
    if (!said) {
        CHECK(found == 1);
        CHECK(!cublasLtMatmul(lt, desc, alpha, a, la, b, lb, beta, d, ld, d, ld, &algo, NULL, 0, NULL));
        CHECK(cuStreamSynchronize(NULL) == 0);
    }
    double worst = 0, limit = s.out == BF16 ? 0.02 : s.compute == C64 ? 1e-13 : s.compute == C32 ? 2e-5 : 2e-2;
    for (int z = 0; z < s.batch && !said; z++)
        for (int j = 0; j < s.n; j++)
            for (int i = 0; i < s.m; i++) {
                double sum = 0;
                for (int l = 0; l < s.k; l++)
                    sum += element(a, s.in, z * sa, s.ta, lda, i, l) * element(b, s.in, z * sb, s.tb, ldb, l, j);
                if (s.epilogue & BIAS) sum += get(bias, real, (size_t)i);
                size_t at = (size_t)(z * sd + j * ldd + i);
                if (s.epilogue & AUX) worst = fmax(worst, fabs(get(aux, s.out, at) - sum) / (1 + fabs(sum)));
                if (s.epilogue & RELU) sum = sum > 0 ? sum : 0;
                if (s.epilogue & GELU)
                    sum = 0.5 * sum * (1 + tanh(0.7978845608028654 * (sum + 0.044715 * sum * sum * sum)));
                worst = fmax(worst, fabs(get(d, s.out, at) - sum) / (1 + fabs(sum)));
            }
    for (int i = 0; i < length && (s.epilogue & (BGRADA | BGRADB)); i++) {
        double sum = 0;
        for (int l = 0; l < s.k; l++)
            sum += s.epilogue & BGRADA ? element(a, s.in, 0, s.ta, lda, i, l) : element(b, s.in, 0, s.tb, ldb, l, i);
        worst = fmax(worst, fabs(get(bias, real, (size_t)i) - sum) / (1 + fabs(sum)));
    }
    if (!said && worst > limit) printf("epilogue %d: error %g\n", s.epilogue, worst);
    CHECK(worst <= limit);
    if (!said && (s.compute == CTF32 || s.compute == C16BF)) CHECK(worst > 1e-7); // operands are rounded
    cublasLtMatmulPreferenceDestroy(preference);
    cublasLtMatmulDescDestroy(desc);
    cublasLtMatrixLayoutDestroy(la);
    cublasLtMatrixLayoutDestroy(lb);
    cublasLtMatrixLayoutDestroy(ld);
    shim_free(a), shim_free(b), shim_free(d), shim_free(aux), shim_free(bias);
    return said;
}

int main(void) {
    Handle context, lt;
    CHECK(cuInit(0) == 0 && cuDevicePrimaryCtxRetain(&context, 0) == 0 && cuCtxSetCurrent(context) == 0);
    CHECK(cublasLtCreate(&lt) == 0);
    static const int epilogues[] = {0, BIAS, RELU, RELU | BIAS, GELU, GELU | BIAS, GELU | AUX, GELU | AUX | BIAS};
    for (int t = 0; t < 4; t++)
        for (int e = 0; e < 8; e++) {
            CHECK(product(lt, (Shape){C32, F32, F32, epilogues[e], t & 1, t >> 1, 13, 7, 19, 1, 3}) == 0);
            CHECK(product(lt, (Shape){C32, BF16, BF16, epilogues[e], t & 1, t >> 1, 16, 5, 11, 3, 0}) == 0);
        }
    for (int t = 0; t < 4; t++) {
        CHECK(product(lt, (Shape){C64, F64, F64, 0, t & 1, t >> 1, 13, 7, 19, 2, 3}) == 0);
        CHECK(product(lt, (Shape){CTF32, F32, F32, 0, t & 1, t >> 1, 13, 7, 19, 2, 1}) == 0);
        CHECK(product(lt, (Shape){C16BF, F32, F32, 0, t & 1, t >> 1, 13, 7, 19, 2, 1}) == 0);
        CHECK(product(lt, (Shape){C32, BF16, F32, 0, t & 1, t >> 1, 13, 7, 19, 2, 1}) == 0);
        CHECK(product(lt, (Shape){C32, F32, F32, BGRADA, t & 1, t >> 1, 13, 7, 19, 1, 0}) == 0);
        CHECK(product(lt, (Shape){C32, F32, F32, BGRADB, t & 1, t >> 1, 13, 7, 19, 1, 0}) == 0);
    }
    CHECK(product(lt, (Shape){C64, F64, F64, BIAS, 0, 0, 4, 4, 4, 1, 0}) == 15);
    CHECK(product(lt, (Shape){C32, F64, F64, 0, 0, 0, 4, 4, 4, 1, 0}) == 15);
    CHECK(product(lt, (Shape){CTF32, BF16, F32, 0, 0, 0, 4, 4, 4, 1, 0}) == 15);
    CHECK(cublasLtDestroy(lt) == 0);
    CHECK(shim_allocated() == 0);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
