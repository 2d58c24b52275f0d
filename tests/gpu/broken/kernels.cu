// Kernels with one deliberate mistake each, and their correct twins. A function of broken_test.c names what the shim
// must say about the broken one; the twin must pass in every order of threads.
#include "prelude.cuh"

// ---- a tree over shared memory; the broken one lacks the barrier between levels
template <bool BROKEN> STM_DEVICE void tree(const float *x, float *y, int n) {
    STM_SHARED(float, part, 256);
    int i = (int)(blockIdx.x * 256 + threadIdx.x), t = (int)threadIdx.x;
    part[t] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (t < half) part[t] += part[t + half];
        if (!BROKEN) __syncthreads();
    }
    if (t == 0) y[blockIdx.x] = part[0];
}
extern "C" __global__ void __launch_bounds__(256) tree_broken(const float *x, float *y, int n) { tree<true>(x, y, n); }
extern "C" __global__ void __launch_bounds__(256) tree_right(const float *x, float *y, int n) { tree<false>(x, y, n); }

// ---- a tree within a warp without __syncwarp between its levels
template <bool BROKEN> STM_DEVICE void warp_tree(const float *x, float *y, int n) {
    STM_SHARED(float, part, 32);
    int t = (int)threadIdx.x;
    part[t] = t < n ? x[t] : 0.0f;
    __syncwarp();
    for (int half = 16; half > 0; half /= 2) {
        if (t < half) part[t] += part[t + half];
        if (!BROKEN) __syncwarp();
    }
    if (t == 0) y[0] = part[0];
}
extern "C" __global__ void warp_tree_broken(const float *x, float *y, int n) { warp_tree<true>(x, y, n); }
extern "C" __global__ void warp_tree_right(const float *x, float *y, int n) { warp_tree<false>(x, y, n); }

// ---- the last element: one too many; the guard of the tail forgotten
extern "C" __global__ void tail_broken(const float *x, float *y, int n) {
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    if (i <= n) y[i] = x[i];
}
extern "C" __global__ void guard_broken(const float *x, float *y, int n) {
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    (void)n;
    y[i] = x[i];
}
extern "C" __global__ void tail_right(const float *x, float *y, int n) {
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    if (i < n) y[i] = x[i];
}
extern "C" __global__ void before_broken(const float *x, float *y, int n) { // y[i] = x[i - 1]
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    if (i < n) y[i] = x[i - 1];
}

// ---- a shared array, one too far
extern "C" __global__ void shared_tail_broken(const float *x, float *y, int n) {
    STM_SHARED(float, row, 64);
    float *to = row;
    to[threadIdx.x + 1] = x[threadIdx.x];
    __syncthreads();
    if ((int)threadIdx.x < n) y[threadIdx.x] = to[threadIdx.x + 1];
}

// ---- a barrier that some threads do not reach: returned, in a branch, waiting elsewhere
extern "C" __global__ void return_broken(const float *x, float *y, int n) {
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    if (i >= n) return;
    STM_SHARED(float, row, 128);
    row[threadIdx.x] = x[i];
    __syncthreads();
    y[i] = row[threadIdx.x];
}
extern "C" __global__ void branch_broken(const float *x, float *y, int n) {
    STM_SHARED(float, row, 128);
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    if (i < n) {
        row[threadIdx.x] = x[i];
        __syncthreads();
    } else {
        row[threadIdx.x] = 0;
        __syncthreads();
    }
    if (i < n) y[i] = row[threadIdx.x];
}
extern "C" __global__ void barrier_right(const float *x, float *y, int n) {
    STM_SHARED(float, row, 128);
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    row[threadIdx.x] = i < n ? x[i] : 0;
    __syncthreads();
    if (i < n) y[i] = row[threadIdx.x];
}

// ---- a shuffle of all lanes that half of them do not reach
extern "C" __global__ void shuffle_broken(const float *x, float *y, int n) {
    float v = (int)threadIdx.x < n ? x[threadIdx.x] : 0;
    if (threadIdx.x < 16) v += __shfl_xor_sync(0xffffffffu, v, 1);
    __syncthreads();
    if ((int)threadIdx.x < n) y[threadIdx.x] = v;
}
extern "C" __global__ void shuffle_right(const float *x, float *y, int n) {
    float v = (int)threadIdx.x < n ? x[threadIdx.x] : 0;
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    if ((int)threadIdx.x < n) y[threadIdx.x] = v;
}

// ---- blocks that write one element
extern "C" __global__ void blocks_broken(const float *x, float *y, int n) {
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    if (i < n) y[i / 200] = x[i];
}
extern "C" __global__ void blocks_read_broken(const float *x, float *y, int n) { // reads its neighbour's result
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    if (i < n) y[i] = x[i];
    __syncthreads();
    if (i < n && i > 0) y[i] = y[i] + y[i - 1];
}
extern "C" __global__ void blocks_right(const float *x, float *y, int n) {
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    if (i < n) atomicAdd(&y[i / 200], x[i]);
}

// ---- threads of one block that write one element
extern "C" __global__ void threads_broken(const float *x, float *y, int n) {
    if ((int)threadIdx.x < n) y[threadIdx.x / 2] = x[threadIdx.x];
}

// ---- cp.async: without a wait; with a wait and without a barrier
template <int WAY> STM_DEVICE void async(const float *x, float *y, int n) {
    STM_SHARED(float, row, 128);
    int t = (int)threadIdx.x;
    if (t < 32) {
#ifdef STM_HOST
        int left = n - 4 * t;
        SHIM_ASYNC_COPY(row + 4 * t, left > 0 ? x + 4 * t : x, 16, left <= 0 ? 0 : left < 4 ? left * 4 : 16);
        SHIM_ASYNC_COMMIT();
        if (WAY != 0) SHIM_ASYNC_WAIT(0);
#endif
    }
    if (WAY != 1) __syncthreads();
    if (t < n) y[t] = row[t ^ 1];
}
extern "C" __global__ void wait_broken(const float *x, float *y, int n) { async<0>(x, y, n); }
extern "C" __global__ void wait_barrier_broken(const float *x, float *y, int n) { async<1>(x, y, n); }
extern "C" __global__ void wait_right(const float *x, float *y, int n) { async<2>(x, y, n); }

// ---- wide accesses
extern "C" __global__ void wide_broken(const float *x, float *y, int n) {
    int i = 4 * (int)threadIdx.x;
    float v[4];
    if (i + 5 <= n) {
        stm_load4(v, x + i + 1);
        stm_store4(y + i, v);
    }
}
extern "C" __global__ void wide_right(const float *x, float *y, int n) {
    int i = 4 * (int)threadIdx.x;
    float v[4];
    if (i + 4 <= n) {
        stm_load4(v, x + i);
        stm_store4(y + i, v);
    }
}
extern "C" __global__ void wide_tail_broken(const float *x, float *y, int n) {
    int i = 4 * (int)threadIdx.x;
    float v[4];
    if (i < n) {
        stm_load4(v, x + i);
        stm_store4(y + i, v);
    }
}

// ---- values that nobody wrote; shared memory of the block before
extern "C" __global__ void unwritten_broken(const float *x, float *y, int n) {
    STM_SHARED(float, row, 128);
    int t = (int)threadIdx.x;
    if (blockIdx.x == 0) row[t] = x[t < n ? t : 0];
    __syncthreads();
    int i = (int)blockIdx.x * 128 + t;
    if (i < n) y[i] = row[t];
}

// ---- numbers
extern "C" __global__ void overflow_broken(const float *x, float *y, int n) {
    int i = (int)threadIdx.x + n * 1000000;
    if (i < n) y[i] = x[i];
}
extern "C" __global__ void local_broken(const float *x, float *y, int n) {
    float v[4] = {0, 0, 0, 0};
    int i = (int)threadIdx.x % 5;
    if ((int)threadIdx.x < n) v[i] = x[threadIdx.x], y[threadIdx.x] = v[i];
}
extern "C" __global__ void null_broken(const float *x, float *y, int n) {
    const float *z = n > 1000000 ? x : nullptr;
    if ((int)threadIdx.x < n) y[threadIdx.x] = z[threadIdx.x];
}

// ---- all threads may set the report word to one value
extern "C" __global__ void report_right(const float *x, float *y, int n, unsigned *outside) {
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    if (i < n) y[i] = x[i];
    else *outside = 1;
}

// ---- bytes and halves next to each other belong to different threads
extern "C" __global__ void narrow_right(const float *x, stm_bf16 *y, unsigned char *z, int n) {
    int i = (int)(blockIdx.x * 128 + threadIdx.x);
    if (i >= n) return;
    y[i] = stm_to_bf16(x[i]);
    z[i] = (unsigned char)(x[i] > 0);
}
