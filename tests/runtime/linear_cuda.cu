// The functions of linear_cuda.c's plan (spec/cuda.md), for the host shim. A value of y that is 1e30 counts as a
// gathered position outside its tensor, so that the report of such positions can be tested.
#include "prelude.cuh"
#include "table.cuh"

enum { IN = 6, OUT = 3 };
struct Words2 {
    long long w[2];
};

extern "C" __global__ void f_init(const int *seed, float *weight, float *bias, Words2 words, unsigned *outside) {
    unsigned i = threadIdx.x, mixed = (unsigned)*seed * (unsigned)words.w[0] + i * (unsigned)words.w[1];
    if (i < IN * OUT) weight[i] = (float)(mixed >> 8 & 0xFFFF) / 65536.0f - 0.5f;
    if (i < OUT) bias[i] = 0;
}

extern "C" __global__ void f_loss(const float *a, const float *b, float *loss, int spots, unsigned *outside) {
    STM_DYNAMIC_SHARED(room);
    double *part = (double *)room;
    double sum = 0;
    for (int i = threadIdx.x; i < spots * OUT; i += blockDim.x) {
        if (b[i] > 9e29f) *outside = 1;
        sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    }
    part[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (unsigned t = 1; t < blockDim.x; t++) sum += part[t];
    *loss = (float)(sum / (double)(spots * OUT));
}

extern "C" __global__ void f_gradient(const float *x, const float *y, const float *p, float *weight, float *bias,
                                      int spots, unsigned *outside) {
    int o = blockIdx.x;
    if (threadIdx.x > 0) return;
    bias[o] = 0;
    for (int r = 0; r < spots; r++) {
        float d = 2 * (p[r * OUT + o] - y[r * OUT + o]) / (float)(spots * OUT);
        bias[o] += d;
        for (int i = 0; i < IN; i++) weight[o * IN + i] += d * x[r * IN + i];
    }
}

extern "C" __global__ void f_update(const unsigned long long *table, int calls, unsigned *outside) {
    const unsigned long long *row = stm_table_row<7>(table, calls);
    float *p = (float *)row[1], *v = (float *)row[3];
    const float *g = (const float *)row[2];
    float lr = *(const float *)row[4], decay = *(const float *)row[5];
    int i = (int)(blockIdx.x - (unsigned)row[0]) * 4 + (int)threadIdx.x;
    if (i >= (int)row[6]) return;
    v[i] = decay * v[i] + g[i];
    p[i] -= lr * v[i];
}

extern "C" __global__ void f_mse_columns(const float *a, const float *b, float *out, int spots, unsigned *outside) {
    double sum = 0;
    if (threadIdx.x > 0) return;
    for (int r = 0; r < spots; r++) {
        double d = (double)(a[r * OUT + blockIdx.x] - b[r * OUT + blockIdx.x]);
        sum += d * d;
    }
    out[blockIdx.x] = (float)(sum / (double)spots);
}

extern "C" __global__ void f_mean3(const float *a, float *out, unsigned *outside) {
    if (threadIdx.x == 0) *out = (a[0] + a[1] + a[2]) / 3;
}

extern "C" __global__ void f_count(long long *count, unsigned *outside) {
    if (threadIdx.x == 0) ++*count;
}

extern "C" __global__ void f_one(float *out, unsigned *outside) {
    if (threadIdx.x == 0) *out = 1;
}
