// Reductions over the threads of a group (compiler/target/cuda/loops.h): trees whose shape depends on the numbers of
// threads alone. Every member gets the result.
#ifndef STM_REDUCE_CUH
#define STM_REDUCE_CUH

struct StmSum {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return a + b; }
};
struct StmProduct {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return a * b; }
};
struct StmMax { // NaN spreads
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return stm_max(a, b); }
};
struct StmMin {
    template <class T> static __device__ __forceinline__ T of(T a, T b) { return stm_min(a, b); }
};
struct StmOr {
    static __device__ __forceinline__ int of(int a, int b) { return a | b; }
};
struct StmAnd {
    static __device__ __forceinline__ int of(int a, int b) { return a & b; }
};
// The first extreme: value and number. NaN beats every number, equal values fall to the smaller number.
struct StmMore {
    template <class T> static __device__ __forceinline__ bool beats(T x, int nx, T best, int nbest) {
        return stm_more(x, best) || (stm_ties(x, best) && nx < nbest);
    }
};
struct StmLess {
    template <class T> static __device__ __forceinline__ bool beats(T x, int nx, T best, int nbest) {
        return stm_less(x, best) || (stm_ties(x, best) && nx < nbest);
    }
};

// How MEMBERS threads in each of GROUPS groups lie in warps. By rows, thread = group * MEMBERS + member; by columns,
// thread = member * GROUPS + group (at most 32 groups).
template <int MEMBERS, int GROUPS, bool COLUMNS> struct StmGroup {
    static constexpr int distance = COLUMNS ? GROUPS : 1; // of neighbouring members in a warp
    static constexpr int in_warp = MEMBERS < 32 / distance ? MEMBERS : 32 / distance;
    static constexpr int slices = MEMBERS / in_warp;   // warps that share a group
    static constexpr int width = COLUMNS ? GROUPS : 1; // groups of a warp that others share
};

// The first N of L values at once. `scratch`: (threads / 32) * N * width values when several warps share a group, else
// not used.
template <class Op, int MEMBERS, int GROUPS, bool COLUMNS, int N, class T, int L>
STM_DEVICE void stm_reduce(T (&a)[L], void *scratch) {
    typedef StmGroup<MEMBERS, GROUPS, COLUMNS> G;
#pragma unroll
    for (int by = G::distance * G::in_warp / 2; by >= G::distance; by /= 2)
        for (int i = 0; i < N; i++) a[i] = Op::of(a[i], __shfl_xor_sync(0xffffffffu, a[i], by));
    if (G::slices == 1) return;
    T *all = (T *)scratch;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    __syncthreads();
    if (lane < G::width)
        for (int i = 0; i < N; i++) all[(warp * N + i) * G::width + lane] = a[i];
    __syncthreads();
    const int first = COLUMNS ? 0 : warp / G::slices * G::slices, column = COLUMNS ? (int)threadIdx.x % GROUPS : 0;
    for (int i = 0; i < N; i++) {
        T x = all[(first * N + i) * G::width + column];
        for (int s = 1; s < G::slices; s++) x = Op::of(x, all[((first + s) * N + i) * G::width + column]);
        a[i] = x;
    }
}

template <class Op, int MEMBERS, int GROUPS, bool COLUMNS, int N, class T, int L>
STM_DEVICE void stm_reduce_first(T (&a)[L], int (&n)[L], void *scratch) {
    typedef StmGroup<MEMBERS, GROUPS, COLUMNS> G;
#pragma unroll
    for (int by = G::distance * G::in_warp / 2; by >= G::distance; by /= 2)
        for (int i = 0; i < N; i++) {
            T x = __shfl_xor_sync(0xffffffffu, a[i], by);
            int nx = __shfl_xor_sync(0xffffffffu, n[i], by);
            if (Op::beats(x, nx, a[i], n[i])) a[i] = x, n[i] = nx;
        }
    if (G::slices == 1) return;
    T *all = (T *)scratch;
    int *numbers = (int *)(all + (int)blockDim.x / 32 * N * G::width);
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    __syncthreads();
    if (lane < G::width)
        for (int i = 0; i < N; i++) {
            all[(warp * N + i) * G::width + lane] = a[i];
            numbers[(warp * N + i) * G::width + lane] = n[i];
        }
    __syncthreads();
    const int first = COLUMNS ? 0 : warp / G::slices * G::slices, column = COLUMNS ? (int)threadIdx.x % GROUPS : 0;
    for (int i = 0; i < N; i++) {
        T best = all[(first * N + i) * G::width + column];
        int number = numbers[(first * N + i) * G::width + column];
        for (int s = 1; s < G::slices; s++) {
            int at = ((first + s) * N + i) * G::width + column;
            if (Op::beats(all[at], numbers[at], best, number)) best = all[at], number = numbers[at];
        }
        a[i] = best;
        n[i] = number;
    }
}

#endif
