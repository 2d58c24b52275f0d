// cuBLASLt as far as the runtime calls it (runtime/device/cublaslt.h): plain loops in the precision that is asked for.
// Numbers of attributes and types are those of cublasLt.h, the same in CUDA 12 and 13. Column-major, as cuBLASLt.
#include "cuda_host.h"
#include "driver.h"
#include "shim.h"

#include <map>
#include <mutex>
#include <vector>

enum { OK = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15, EXECUTION_FAILED = 13 };
enum { R_32F = 0, R_64F = 1, R_16BF = 14 };
enum { COMPUTE_32F = 68, COMPUTE_64F = 70, FAST_16BF = 75, FAST_TF32 = 77 };
enum { EPILOGUE_DEFAULT = 1, RELU = 2, BIAS = 4, GELU = 32, AUX = 128, BGRADA = 256, BGRADB = 512 };

struct LtMatmulDesc {
    int compute, scale;
    int32_t transa = 0, transb = 0, epilogue = EPILOGUE_DEFAULT, bias_type = -1;
    void *bias = nullptr, *aux = nullptr;
    int64_t bias_stride = 0, aux_leading = 0, aux_stride = 0;
};
struct LtMatrixLayout {
    int type;
    int64_t rows, columns, leading;
    int32_t batch = 1;
    int64_t stride = 0;
};
struct LtPreference {
    uint64_t workspace = 0;
};
struct LtHeuristic {
    uint64_t algo[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

static int64_t size_of(int type) {
    return type == R_64F ? 8 : type == R_16BF ? 2 : 4;
}
static double load(const void *at, int type, int64_t i) {
    if (type == R_64F) return ((const double *)at)[i];
    if (type == R_16BF) return shim_bf16_to_float(((const unsigned short *)at)[i]);
    return ((const float *)at)[i];
}
static void store(void *at, int type, int64_t i, double value) {
    if (type == R_64F) ((double *)at)[i] = value;
    else if (type == R_16BF) ((unsigned short *)at)[i] = shim_float_to_bf16((float)value);
    else ((float *)at)[i] = (float)value;
}
// An operand as the tensor cores see it.
static double rounded(double x, int compute) {
    if (compute == FAST_TF32) return shim_round_tf32((float)x);
    if (compute == FAST_16BF) return shim_bf16_to_float(shim_float_to_bf16((float)x));
    return x;
}

// What the library cannot do, or NULL.
static const char *unsupported(const LtMatmulDesc &d, const LtMatrixLayout &a, const LtMatrixLayout &b,
                               const LtMatrixLayout &c) {
    int64_t m = d.transa ? a.columns : a.rows, k = d.transa ? a.rows : a.columns;
    int64_t n = d.transb ? b.rows : b.columns, kb = d.transb ? b.columns : b.rows;
    if (m != c.rows || n != c.columns || k != kb) return "shapes do not agree";
    if (m < 1 || n < 1 || k < 1) return "an extent is zero";
    if (a.leading < a.rows || b.leading < b.rows || c.leading < c.rows) return "a leading dimension is too small";
    if (a.batch != c.batch || b.batch != c.batch) return "batch counts differ";
    if (a.type != b.type) return "types of A and B differ";
    bool f64 = a.type == R_64F;
    if (f64 != (d.compute == COMPUTE_64F) || f64 != (c.type == R_64F) || f64 != (d.scale == R_64F))
        return "f64 and other types are mixed";
    if (f64 && d.epilogue != EPILOGUE_DEFAULT) return "epilogues of f64";
    if (a.type == R_16BF && d.compute != COMPUTE_32F) return "fast compute types are for f32 operands";
    if (a.type == R_32F && c.type != R_32F) return "f32 operands with another result";
    if ((d.epilogue & (BIAS | BGRADA | BGRADB)) && !d.bias) return "an epilogue without the bias pointer";
    if (d.epilogue & AUX) {
        if (!d.aux || d.aux_leading < c.rows) return "an epilogue without the auxiliary matrix";
        if (d.aux_leading % 8) return "a leading dimension of the auxiliary matrix that 8 does not divide";
    }
    return nullptr;
}

struct Product {
    LtMatmulDesc desc;
    LtMatrixLayout a, b, c, d;
    double alpha, beta;
    const void *A, *B, *C;
    void *D;
};

static std::string inside(const char *what, const void *at, const LtMatrixLayout &l, int64_t rows, int64_t columns) {
    int64_t last = (l.batch - 1) * l.stride + (columns - 1) * l.leading + rows;
    const char *said = shim_inside(at, (size_t)(last * size_of(l.type)));
    if (!said && (uintptr_t)at % (uintptr_t)size_of(l.type)) said = "its address is misaligned";
    return said ? std::string("cublasLtMatmul, ") + what + ": " + said : "";
}

static double activate(double x, int epilogue) {
    if (epilogue & RELU) return x > 0 ? x : 0;
    if (epilogue & GELU) return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    return x;
}

static void compute(const Product &p, int64_t batch) {
    const LtMatmulDesc &e = p.desc;
    int64_t m = p.d.rows, n = p.d.columns, k = e.transa ? p.a.rows : p.a.columns;
    int bias_type = e.bias_type >= 0 ? e.bias_type : p.d.type;
    char *bias = (char *)e.bias + batch * e.bias_stride * size_of(bias_type);
    std::vector<double> a((size_t)(m * k)), b((size_t)(k * n));
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < k; l++)
            a[(size_t)(i * k + l)] =
                load(p.A, p.a.type, batch * p.a.stride + (e.transa ? l + i * p.a.leading : i + l * p.a.leading));
    for (int64_t j = 0; j < n; j++)
        for (int64_t l = 0; l < k; l++)
            b[(size_t)(j * k + l)] =
                load(p.B, p.b.type, batch * p.b.stride + (e.transb ? j + l * p.b.leading : l + j * p.b.leading));
    if (e.epilogue & (BGRADA | BGRADB))
        for (int64_t i = 0; i < (e.epilogue & BGRADA ? m : n); i++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++) sum += (e.epilogue & BGRADA ? a : b)[(size_t)(i * k + l)];
            store(bias, bias_type, i, sum);
        }
    for (double &x : a) x = rounded(x, e.compute);
    for (double &x : b) x = rounded(x, e.compute);
    bool f64 = e.compute == COMPUTE_64F;
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++) {
            const double *x = &a[(size_t)(i * k)], *y = &b[(size_t)(j * k)];
            double sum = 0;
            float narrow = 0;
            if (f64)
                for (int64_t l = 0; l < k; l++) sum += x[l] * y[l];
            else
                for (int64_t l = 0; l < k; l++) narrow += (float)x[l] * (float)y[l];
            double value = p.alpha * (f64 ? sum : (double)narrow);
            if (p.beta != 0) value += p.beta * load(p.C, p.c.type, batch * p.c.stride + i + j * p.c.leading);
            if (e.epilogue & BIAS) value += load(bias, bias_type, i);
            if (!f64) value = (float)value;
            if (e.epilogue & AUX) store(e.aux, p.d.type, batch * e.aux_stride + i + j * e.aux_leading, value);
            store(p.D, p.d.type, batch * p.d.stride + i + j * p.d.leading, activate(value, e.epilogue));
        }
}

static void wrote(const void *at, int type, int64_t rows, int64_t columns, int64_t leading, int64_t batch,
                  int64_t stride) {
    for (int64_t b = 0; b < batch; b++)
        for (int64_t j = 0; j < columns; j++)
            shim_wrote((const char *)at + (b * stride + j * leading) * size_of(type), (size_t)(rows * size_of(type)));
}

static std::string run(const Product &p) {
    const LtMatmulDesc &e = p.desc;
    std::string said = inside("A", p.A, p.a, p.a.rows, p.a.columns);
    if (said.empty()) said = inside("B", p.B, p.b, p.b.rows, p.b.columns);
    if (said.empty()) said = inside("D", p.D, p.d, p.d.rows, p.d.columns);
    LtMatrixLayout aux = p.d;
    aux.leading = e.aux_leading;
    aux.stride = e.aux_stride;
    if (said.empty() && (e.epilogue & AUX)) said = inside("the auxiliary matrix", e.aux, aux, p.d.rows, p.d.columns);
    int bias_type = e.bias_type >= 0 ? e.bias_type : p.d.type;
    int64_t length = e.epilogue & BGRADB ? p.d.columns : p.d.rows;
    LtMatrixLayout bias = p.d;
    bias.type = bias_type, bias.leading = length, bias.stride = e.bias_stride;
    if (said.empty() && (e.epilogue & (BIAS | BGRADA | BGRADB))) said = inside("the bias", e.bias, bias, length, 1);
    if (!said.empty()) return said;
    for (int64_t batch = 0; batch < p.d.batch; batch++) compute(p, batch);
    wrote(p.D, p.d.type, p.d.rows, p.d.columns, p.d.leading, p.d.batch, p.d.stride);
    if (e.epilogue & AUX) wrote(e.aux, p.d.type, p.d.rows, p.d.columns, e.aux_leading, p.d.batch, e.aux_stride);
    if (e.epilogue & (BGRADA | BGRADB)) wrote(e.bias, bias_type, length, 1, length, p.d.batch, e.bias_stride);
    return "";
}

template <class T> static int take(T *to, const void *value, size_t size) {
    if (size != sizeof(T)) return INVALID_VALUE;
    memcpy(to, value, size);
    return OK;
}

extern "C" {
int cublasLtCreate(void **handle) {
    *handle = malloc(1);
    return OK;
}
int cublasLtDestroy(void *handle) {
    free(handle);
    return OK;
}
int cublasLtMatmulDescCreate(LtMatmulDesc **desc, int compute_type, int scale_type) {
    *desc = new LtMatmulDesc{};
    (*desc)->compute = compute_type;
    (*desc)->scale = scale_type;
    return OK;
}
int cublasLtMatmulDescDestroy(LtMatmulDesc *desc) {
    delete desc;
    return OK;
}
int cublasLtMatmulDescSetAttribute(LtMatmulDesc *desc, int attribute, const void *value, size_t size) {
    switch (attribute) {
    case 3: return take(&desc->transa, value, size);
    case 4: return take(&desc->transb, value, size);
    case 7: return take(&desc->epilogue, value, size);
    case 8: return take(&desc->bias, value, size);
    case 10: return take(&desc->bias_stride, value, size);
    case 11: return take(&desc->aux, value, size);
    case 12: return take(&desc->aux_leading, value, size);
    case 13: return take(&desc->aux_stride, value, size);
    case 26: return take(&desc->bias_type, value, size);
    default: return INVALID_VALUE;
    }
}
int cublasLtMatrixLayoutCreate(LtMatrixLayout **layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    *layout = new LtMatrixLayout{};
    (*layout)->type = type;
    (*layout)->rows = (int64_t)rows;
    (*layout)->columns = (int64_t)columns;
    (*layout)->leading = leading;
    return OK;
}
int cublasLtMatrixLayoutDestroy(LtMatrixLayout *layout) {
    delete layout;
    return OK;
}
int cublasLtMatrixLayoutSetAttribute(LtMatrixLayout *layout, int attribute, const void *value, size_t size) {
    switch (attribute) {
    case 5: return take(&layout->batch, value, size);
    case 6: return take(&layout->stride, value, size);
    default: return INVALID_VALUE;
    }
}
int cublasLtMatmulPreferenceCreate(LtPreference **preference) {
    *preference = new LtPreference;
    return OK;
}
int cublasLtMatmulPreferenceDestroy(LtPreference *preference) {
    delete preference;
    return OK;
}
int cublasLtMatmulPreferenceSetAttribute(LtPreference *preference, int attribute, const void *value, size_t size) {
    uint32_t word;
    switch (attribute) {
    case 1: return take(&preference->workspace, value, size);
    case 3:
    case 5:
    case 6:
    case 7:
    case 8: return take(&word, value, size);
    default: return INVALID_VALUE;
    }
}
int cublasLtMatmulAlgoGetHeuristic(void *, LtMatmulDesc *desc, LtMatrixLayout *a, LtMatrixLayout *b, LtMatrixLayout *c,
                                   LtMatrixLayout *d, LtPreference *, int wanted, LtHeuristic *results, int *found) {
    *found = 0;
    if (wanted < 1) return INVALID_VALUE;
    const char *why = unsupported(*desc, *a, *b, *d);
    if (!why && (c->rows != d->rows || c->columns != d->columns)) why = "C and D differ";
    if (why) {
        fprintf(stderr, "shim: cublasLtMatmulAlgoGetHeuristic: not supported: %s\n", why);
        return NOT_SUPPORTED;
    }
    memset(results, 0, sizeof *results);
    results->algo[0] = 0x53746d43;
    *found = 1;
    return OK;
}
int cublasLtMatmul(void *, LtMatmulDesc *desc, const void *alpha, const void *a, LtMatrixLayout *a_layout,
                   const void *b, LtMatrixLayout *b_layout, const void *beta, const void *c, LtMatrixLayout *c_layout,
                   void *d, LtMatrixLayout *d_layout, const uint64_t *algo, void *workspace, size_t workspace_bytes,
                   CUstream_st *stream) {
    if (algo && algo[0] != 0x53746d43) return INVALID_VALUE;
    if (unsupported(*desc, *a_layout, *b_layout, *d_layout)) return NOT_SUPPORTED;
    if (workspace_bytes && shim_inside(workspace, workspace_bytes)) return INVALID_VALUE;
    Product p = {*desc, *a_layout, *b_layout, *c_layout, *d_layout, 0, 0, a, b, c, d};
    p.alpha = desc->scale == R_64F ? *(const double *)alpha : *(const float *)alpha;
    p.beta = desc->scale == R_64F ? *(const double *)beta : *(const float *)beta;
    return stream_enqueue(stream, [=] { return run(p); }) ? EXECUTION_FAILED : OK;
}
}
