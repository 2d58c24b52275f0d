// One implicit GEMM for contractions, convolutions (forward and both gradients, channels innermost) and batched small
// products:
//
//   D[b,m,n] = epilogue( sum_k A[b,m,k] * B[b,k,n] )
//
// What differs between layers is data (ContractWords, contract.h); what changes the code is a template parameter:
//
//   ContractTile<MATH, TM, TN, TK, WARPS_M, WARPS_N, STAGES>     threads of a block = 32 * WARPS_M * WARPS_N
//     MATH      CONTRACT_F32 (FFMA), CONTRACT_F64, CONTRACT_TF32 (operands rounded, ties away), CONTRACT_BF16
//     TM TN TK  the block's tile and the length of a k step: powers of two. On tensor cores a warp's part
//               TM/WARPS_M x TN/WARPS_N is a multiple of 16 x 16 and TK of 8 (tf32) or 16; otherwise of 32 x 16 and 4
//     STAGES    k steps in shared memory, >= 2; STAGES - 1 are under way while one is computed
//   Operands, each in one of two forms:
//   ContractCopy<T, MAJOR, VECTOR, GUARDS, KINDICES, EXACT = false>{pointer}
//     T         float, double (with CONTRACT_F64 only) or stm_bf16 (with CONTRACT_F32 and CONTRACT_BF16)
//     MAJOR     neighbours in memory are CONTRACT_K_MAJOR: neighbours in k; CONTRACT_MN_MAJOR: in m (of A), n (of B)
//     VECTOR    elements moved by one copy: VECTOR * sizeof(T) is 16, 8, 4 (cp.async) or 2 bytes (through registers).
//               VECTOR > 1: the last index of the contiguous group has stride 1, an extent divisible by VECTOR and
//               coefficient 0 in every checked guard; the pointer plus base is aligned to the copy, and so are all
//               other strides. VECTOR == 1: any strides at all, each element checked by itself (MAJOR is then only the
//               order in which threads walk)
//     GUARDS    0 .. 3: how many of the operand's guards are checked
//     KINDICES  1 .. 4: indices of the group k (from the right); 1 needs no divisions
//     EXACT     guards with step > 1 (gradient of a strided window by its input)
//   ContractElement<T, MAJOR, F>{f}
//     f(b, m or n, k) -> T, a functor: gathers, casts, prologues. Called only inside; threads walk along MAJOR.
//     T is the type in shared memory.
//   Epilogue: a functor that gets sums of type V (double with CONTRACT_F64, else float)
//     static const int width;                                   4 or 1; 4 needs that n is divisible by 4
//     void store4(int b, int m, int n, const V v[4]) const;     n .. n + 3, n divisible by 4
//     void store(int b, int m, int n, V v) const;               width 1
//     void column(int b, int n);                                optional: called before the rows of a tile, which the
//                                                               thread stores at this b and n; for what they share
//     Each element of D comes exactly once; threads walk along n. Elements outside are never seen.
//     ContractStore<T, WIDTH>, ContractBias<T, WIDTH> and ContractPartial<V, WIDTH> below are ready-made.
//
//   extern "C" __global__ void __launch_bounds__(128, 2) F(const float *__restrict__ b0, const float *__restrict__ b1,
//                                                          float *b2, ContractWords w, int e0, unsigned *outside) {
//       contract<ContractTile<CONTRACT_TF32, 128, 128, 16, 2, 2, 4>>(
//           w, contract_sizes(w, e0), ContractCopy<float, CONTRACT_K_MAJOR, 4, 2, 3>{b0},
//           ContractCopy<float, CONTRACT_MN_MAJOR, 4, 0, 1>{b1}, ContractStore<float, 4>{w, b2});
//   }
//
// Dynamic shared memory: contract_shared_bytes(...) of contract.h. The grid: any number of blocks; blocks take tiles in
// turn, so ceil(m / TM) * ceil(n / TN) * b * slices is the most that is useful, and fewer (a few per SM) are right too.
// m, n, b of 0 do nothing; k of 0 stores epilogue(0).
//
// A strided window's gradient by its input: EXACT multiplies step^2 times as often, mostly zeros. Splitting the
// positions by remainder spends none: p = step * q + r with r an index of the batch, taps u = step * u' + r (a guard of
// B that mixes batch and k), and an epilogue that leaves out p outside.
//
// Split-K: words.slices > 1 and ContractPartial; a second kernel adds the slices in order and does the epilogue. Use it
// when the tiles are fewer than the SMs and k is long: slices = min(k / (8 * TK), 2 * SMs / tiles), at most 64.
//
// Which instance (tiles = b * ceil(m/TM) * ceil(n/TN); SMs: 108 of an A100, 132 of an H100). `launch` is what belongs
// into __launch_bounds__: threads, and the blocks that an SM shall hold; without the second the compiler squeezes
// registers for an occupancy that nobody asked for and spills. tests/gpu/contract prints registers of all of these.
//   math  n       tile, warps, stages   launch   shared  when
//   TF32  > 64    128x128x16  2x2  4    128, 2    73 K   tiles >= SMs and k >= 128
//   TF32  33..64  128x64x16   2x2  4    128, 3    52 K   also n > 64 with fewer tiles
//   TF32  <= 32   128x32x32   4x1  3    128, 2    65 K   first layers
//   TF32  any     64x64x32    2x2  3    128, 3    52 K   fewer than SMs tiles of 128x64, or m <= 64
//   TF32  any     64x32x32    2x1  3     64, 5    40 K   small products in batches
//   BF16  > 64    128x128x32  2x2  4    128, 2    74 K   bf16 operands; f32 operands are rounded on their way to the
//   BF16  33..64  128x64x32   2x2  4    128, 3    54 K     tensor cores and take twice the shared memory
//   BF16  <= 32   128x32x32   4x1  4    128, 3    44 K
//   BF16  any     64x64x32    2x2  4    128, 4    36 K
//   BF16  any     64x32x32    2x1  4     64, 5    27 K
//   F32   > 32    128x64x16   2x2  3    128, 2    40 K   tiles >= 2 * SMs
//   F32   any     64x64x16    2x2  3    128, 3    27 K   fewer tiles, or m <= 64
//   F32   <= 32   128x32x16   4x1  3    128, 3    34 K
//   F32   any     64x32x16    2x1  3     64, 6    21 K   small products in batches
//   F64   any     64x32x16    2x1  2     64, 1    27 K   tests
// A warp's part of 64x64 or 64x32 reads the least shared memory for a product; prefer the four warps of 2x2 to eight.
// Put the longer of the two free groups on m, and the one whose innermost index is contiguous in D on n. With VECTOR 1
// take the MAJOR along which neighbours lie closest in memory: m for images stored channel by channel.
// An instance costs about 0.15 s of NVRTC for one architecture, more with VECTOR 1 and functors, which unroll one
// element a time (prefer TK = 16 for them). Options that trade optimisation for compile time (-Ofast-compile=mid) leave
// the product loops rolled and their sums in memory: never use them here.
#ifndef STM_CONTRACT_CUH
#define STM_CONTRACT_CUH

#include "prelude.cuh"
#include "mma.cuh"
#include "contract.h"

enum { CONTRACT_F32, CONTRACT_TF32, CONTRACT_BF16, CONTRACT_F64 };
enum { CONTRACT_K_MAJOR, CONTRACT_MN_MAJOR };

template <int MATH_, int TM_, int TN_, int TK_, int WARPS_M_, int WARPS_N_, int STAGES_> struct ContractTile {
    static constexpr int MATH = MATH_, TM = TM_, TN = TN_, TK = TK_, WARPS_M = WARPS_M_, WARPS_N = WARPS_N_,
                         STAGES = STAGES_, THREADS = 32 * WARPS_M * WARPS_N, WM = TM / WARPS_M, WN = TN / WARPS_N;
    static constexpr bool TENSOR = MATH == CONTRACT_TF32 || MATH == CONTRACT_BF16;
    // sums of one thread
    static constexpr int SUMS = WM * WN / 32;
    static_assert(STAGES >= 2, "one stage is filled while another is read");
    static_assert(TENSOR ? WM % 16 == 0 && WN % 16 == 0 : WM % 32 == 0 && WN % 16 == 0, "a warp's part");
    static_assert(TK % (MATH == CONTRACT_BF16 ? 16 : TENSOR ? 8 : 4) == 0, "a k step");
};
template <int MATH> struct ContractSum { typedef float Value; };
template <> struct ContractSum<CONTRACT_F64> { typedef double Value; };

template <class T_, int MAJOR_, int VECTOR_, int GUARDS_, int KINDICES_, bool EXACT_ = false> struct ContractCopy {
    typedef T_ T;
    static constexpr int MAJOR = MAJOR_, VECTOR = VECTOR_, GUARDS = GUARDS_, KINDICES = KINDICES_,
                         BYTES = VECTOR * (int)sizeof(T); // of one copy
    static constexpr bool EXACT = EXACT_, FUNCTOR = false, TABLE = KINDICES > 1,
                          REGISTERS = BYTES < 4; // goes through registers
    const T *__restrict__ at;
};
template <class T_, int MAJOR_, class F> struct ContractElement {
    typedef T_ T;
    static constexpr int MAJOR = MAJOR_, VECTOR = 1, GUARDS = 0, KINDICES = 1;
    static constexpr bool EXACT = false, FUNCTOR = true, TABLE = false, REGISTERS = true;
    F f;
};

// ---- numbers of indices
struct ContractSizes {
    int batch, m, n, k;
};
STM_DEVICE int contract_extent(const ContractGroup &g, int e0, int e1, int e2, int e3) {
    return g.extent * (g.dynamic == 0 ? e0 : g.dynamic == 1 ? e1 : g.dynamic == 2 ? e2 : g.dynamic == 3 ? e3 : 1);
}
STM_DEVICE ContractSizes contract_sizes(const ContractWords &w, int e0 = 1, int e1 = 1, int e2 = 1, int e3 = 1) {
    ContractSizes s;
    s.batch = contract_extent(w.batch, e0, e1, e2, e3);
    s.m = contract_extent(w.m, e0, e1, e2, e3);
    s.n = contract_extent(w.n, e0, e1, e2, e3);
    s.k = contract_extent(w.k, e0, e1, e2, e3);
    return s;
}
STM_DEVICE int contract_quotient(const ContractDivide &d, int n) {
    return (int)(__umulhi(2u * (unsigned)n, d.multiply) >> d.shift);
}
// index[0..3] of a flat number, of which only the last COUNT are used. (Written out: the compiler keeps arrays in
// registers when their indices are constants from the start.)
template <int COUNT = 4> STM_DEVICE void contract_indices(const ContractGroup &g, int flat, int index[4]) {
    index[0] = index[1] = index[2] = 0;
    if constexpr (COUNT >= 2) {
        int q = contract_quotient(g.inner[2], flat);
        index[3] = flat - q * g.inner[2].divisor;
        if constexpr (COUNT >= 3) {
            flat = q, q = contract_quotient(g.inner[1], flat);
            index[2] = flat - q * g.inner[1].divisor;
            if constexpr (COUNT >= 4) {
                flat = q, q = contract_quotient(g.inner[0], flat);
                index[1] = flat - q * g.inner[0].divisor;
                index[0] = q;
            } else {
                index[1] = q;
            }
        } else {
            index[2] = q;
        }
    } else {
        index[3] = flat;
    }
}
template <int COUNT = 4> STM_DEVICE int contract_dot(const int stride[4], const int index[4]) {
    int sum = stride[3] * index[3];
    if constexpr (COUNT >= 2) sum += stride[2] * index[2];
    if constexpr (COUNT >= 3) sum += stride[1] * index[1];
    if constexpr (COUNT >= 4) sum += stride[0] * index[0];
    return sum;
}
// The element of D by the words' strides and base, less what m adds; and that.
STM_DEVICE long long contract_result(const ContractWords &w, int b, int n) {
    int ib[4], in[4];
    contract_indices(w.batch, b, ib);
    contract_indices(w.n, n, in);
    return w.d.base + (contract_dot(w.d.batch, ib) + contract_dot(w.d.n, in));
}
STM_DEVICE int contract_result_row(const ContractWords &w, int m) {
    int im[4];
    contract_indices(w.m, m, im);
    return contract_dot(w.d.m, im);
}

// ---- epilogues. WIDTH 4: the last index of n has stride 1, an extent and all other strides divisible by 4, and the
// pointer plus base is aligned to 4 elements; a bias too.
STM_DEVICE void contract_put(float *at, float v) {
    *at = v;
}
STM_DEVICE void contract_put(double *at, double v) {
    *at = v;
}
STM_DEVICE void contract_put(stm_bf16 *at, float v) {
    *at = stm_to_bf16(v);
}

template <class T, int WIDTH> struct ContractStore {
    static constexpr int width = WIDTH;
    const ContractWords &w;
    T *d;
    T *at = nullptr; // of the column
    __device__ __forceinline__ void column(int b, int n) { at = d + contract_result(w, b, n); }
    template <class V> __device__ __forceinline__ void store4(int, int m, int, const V v[4]) const {
        stm_store4(at + contract_result_row(w, m), v);
    }
    template <class V> __device__ __forceinline__ void store(int, int m, int, V v) const {
        contract_put(at + contract_result_row(w, m), v);
    }
};
// + bias[n]
template <class T, int WIDTH, class BiasType = float> struct ContractBias {
    static constexpr int width = WIDTH;
    const ContractWords &w;
    T *d;
    const BiasType *bias;
    T *at = nullptr;
    BiasType add[WIDTH] = {};
    __device__ __forceinline__ void column(int b, int n) {
        at = d + contract_result(w, b, n);
        if constexpr (WIDTH == 4) stm_load4(add, bias + n);
        else add[0] = bias[n];
    }
    template <class V> __device__ __forceinline__ void store4(int, int m, int, const V v[4]) const {
        const V sum[4] = {v[0] + add[0], v[1] + add[1], v[2] + add[2], v[3] + add[3]};
        stm_store4(at + contract_result_row(w, m), sum);
    }
    template <class V> __device__ __forceinline__ void store(int, int m, int, V v) const {
        contract_put(at + contract_result_row(w, m), v + (V)add[0]);
    }
};
// Sums of slices to a workspace [slice][b][m][n]
template <class V, int WIDTH> struct ContractPartial {
    static constexpr int width = WIDTH;
    ContractSizes sizes;
    V *at;
    __device__ __forceinline__ void store4(int b, int m, int n, const V v[4]) const {
        stm_store4(at + ((long long)b * sizes.m + m) * sizes.n + n, v);
    }
    __device__ __forceinline__ void store(int b, int m, int n, V v) const {
        at[((long long)b * sizes.m + m) * sizes.n + n] = v;
    }
};

// epilogue.column(b, n), if there is one
template <class E> STM_DEVICE auto contract_column(E &e, int b, int n, int) -> decltype(e.column(b, n)) {
    e.column(b, n);
}
template <class E> STM_DEVICE void contract_column(E &, int, int, long) {}

// ---- places: what a row (m or n, with the batch) or a k adds to the element number and to the guarded coordinates.
// A row or k outside has a first coordinate that no sum brings back inside.
struct ContractPlace {
    int element, c0, c1, c2;
};
STM_DEVICE void contract_write(int4 *at, ContractPlace p) {
    *at = make_int4(p.element, p.c0, p.c1, p.c2);
}
STM_DEVICE ContractPlace contract_read(const int4 *at) {
    const int4 x = *at;
    return ContractPlace{x.x, x.y, x.z, x.w};
}
enum { CONTRACT_OUTSIDE = -(1 << 30) };

template <class O>
STM_DEVICE ContractPlace contract_row_place(const ContractOperand &o, const ContractGroup &group, const int batch[4],
                                            int row, int rows) {
    int own[4], c[3] = {0, 0, 0};
    contract_indices(group, row, own);
#pragma unroll
    for (int g = 0; g < O::GUARDS; g++)
        c[g] = o.guard[g].offset + contract_dot(o.guard[g].own, own) + contract_dot(o.guard[g].batch, batch);
    return ContractPlace{contract_dot(o.own, own) + contract_dot(o.batch, batch), row < rows ? c[0] : CONTRACT_OUTSIDE,
                         c[1], c[2]};
}
template <class O>
STM_DEVICE ContractPlace contract_k_place(const ContractOperand &o, const ContractGroup &group, int k, int end) {
    int index[4], c[3] = {0, 0, 0};
    contract_indices<O::KINDICES>(group, k, index);
#pragma unroll
    for (int g = 0; g < O::GUARDS; g++) c[g] = contract_dot<O::KINDICES>(o.guard[g].k, index);
    return ContractPlace{contract_dot<O::KINDICES>(o.k, index), k < end ? c[0] : CONTRACT_OUTSIDE, c[1], c[2]};
}
// Is the element of a row and a k inside, and which is it?
template <class O>
STM_DEVICE bool contract_meet(const ContractOperand &o, const ContractPlace &row, const ContractPlace &k,
                              int *element) {
    const int c[3] = {row.c0 + k.c0, row.c1 + k.c1, row.c2 + k.c2};
    bool inside = O::GUARDS ? true : (row.c0 | k.c0) >= 0;
    *element = row.element + k.element;
#pragma unroll
    for (int g = 0; g < O::GUARDS; g++) {
        if (O::EXACT) {
            const bool near = (unsigned)c[g] < (unsigned)(o.guard[g].size * o.guard[g].step);
            const int at = near ? c[g] : 0, q = contract_quotient(o.step[g], at);
            inside = inside && near && q * o.guard[g].step == at;
            *element += q * o.guard[g].stride;
        } else {
            inside = inside && (unsigned)c[g] < (unsigned)o.guard[g].size;
        }
    }
    return inside;
}

// ---- shared memory of an operand: lines of COLUMNS contiguous elements (k of a row when K_MAJOR, rows of a k when
// MN_MAJOR), in chunks of 16 bytes. The chunk number is xor-ed with a pattern of the line, so that no two lanes that
// read together meet in a bank: EIGHT lines at one chunk (ldmatrix, quarter warps of 16-byte loads), or four lines
// (four pairs of lines) at two neighbouring chunks (the fragments of f32 operands).
template <class Tile, class O, int ROWS> struct ContractPanel {
    typedef typename O::T T;
    static constexpr bool K_MAJOR = O::MAJOR == CONTRACT_K_MAJOR;
    static constexpr int LINES = K_MAJOR ? ROWS : Tile::TK, COLUMNS = K_MAJOR ? Tile::TK : ROWS,
                         PITCH = COLUMNS * (int)sizeof(T), CHUNKS = PITCH / 16, BYTES = LINES * PITCH;
    static constexpr bool EIGHT = Tile::TENSOR ? sizeof(T) == 2 : true, PLAIN = !Tile::TENSOR && !K_MAJOR;
    static constexpr int PER_LINE = COLUMNS / O::VECTOR, ITEMS = LINES * PER_LINE,
                         PASSES = (ITEMS + Tile::THREADS - 1) / Tile::THREADS;
    static_assert(Tile::THREADS % PER_LINE == 0, "a thread stays in its column");
    static_assert(PITCH % 16 == 0, "lines are whole chunks");

    static __device__ __forceinline__ int pattern(int line) {
        if (PLAIN) return 0;
        if (EIGHT) return CHUNKS >= 8 ? line & 7 : CHUNKS == 4 ? (line >> 1) & 3 : CHUNKS == 2 ? (line >> 2) & 1 : 0;
        if (!K_MAJOR) return CHUNKS >= 8 ? (line & 6) : 0;
        return CHUNKS >= 8 ? (line & 3) << 1 : CHUNKS == 4 ? line & 2 : 0;
    }
    // byte of an element; `column` and what is read from there stay within a chunk
    static __device__ __forceinline__ int byte(int line, int column) {
        const int at = column * (int)sizeof(T);
        return line * PITCH + (at ^ (pattern(line) << 4));
    }
    // The same of row + r at k + j, where row and k are multiples of 8 and r, j below 8: patterns repeat after 8 lines,
    // and exchange chunks within 128 bytes. What depends on the lane is one sum with what is constant.
    static __device__ __forceinline__ int place(int row, int r, int k, int j) {
        constexpr int SPAN = 128 / (int)sizeof(T);
        if (K_MAJOR) return row * PITCH + byte(r, k + j);
        return k * PITCH + row / SPAN * 128 + byte(j, row % SPAN + r);
    }
    // A warp's part begins at `first`, a multiple of PART: bytes to add to the panel, and what is left of `first`.
    template <int PART> static __device__ __forceinline__ int skip(int *first) {
        if (!K_MAJOR && PART * (int)sizeof(T) % 128) return 0;
        const int bytes = *first * (K_MAJOR ? PITCH : (int)sizeof(T));
        *first = 0;
        return bytes;
    }
};

// Fills one stage of an operand: `rows` and `ks` are the tables, k0 the first k, `end` behind the last. Copies are
// issued at once; what goes through registers is fetched into `kept`, and written by contract_keep.
template <class Tile, class O, int ROWS>
STM_DEVICE void contract_fill(const O &operand, const ContractOperand &o, const ContractGroup &group, const int4 *rows,
                              const int4 *ks, int batch, int row0, int row_end, int k0, int end, unsigned char *stage,
                              typename O::T kept[ContractPanel<Tile, O, ROWS>::PASSES]) {
    typedef ContractPanel<Tile, O, ROWS> Panel;
    const int column = (int)threadIdx.x % Panel::PER_LINE * O::VECTOR, line0 = (int)threadIdx.x / Panel::PER_LINE;
    ContractPlace fixed = {0, 0, 0, 0}; // of the column
    if constexpr (!O::FUNCTOR) {
        if (!Panel::K_MAJOR) fixed = contract_read(rows + column);
        else if (O::TABLE) fixed = contract_read(ks + column);
        else fixed = contract_k_place<O>(o, group, k0 + column, end);
    }
    constexpr int STRIDE = Tile::THREADS / Panel::PER_LINE, GROUP = Panel::PASSES < 4 ? Panel::PASSES : 4;
#pragma unroll
    for (int first = 0; first < Panel::PASSES; first += GROUP) {
        ContractPlace place[GROUP]; // of lines; read before the group's copies are issued, which they may not overtake
        if constexpr (!O::FUNCTOR) {
#pragma unroll
            for (int i = 0; i < GROUP; i++) {
                const int line = line0 + (first + i) * STRIDE;
                if (Panel::ITEMS % Tile::THREADS && line >= Panel::LINES) break;
                if (Panel::K_MAJOR) place[i] = contract_read(rows + line);
                else if (O::TABLE) place[i] = contract_read(ks + line);
                else place[i] = contract_k_place<O>(o, group, k0 + line, end);
            }
        }
#pragma unroll
        for (int i = 0; i < GROUP; i++) {
            const int line = line0 + (first + i) * STRIDE;
            if (Panel::ITEMS % Tile::THREADS && line >= Panel::LINES) break;
            if constexpr (O::FUNCTOR) {
                const int row = row0 + (Panel::K_MAJOR ? line : column), k = k0 + (Panel::K_MAJOR ? column : line);
                kept[first + i] = typename O::T{};
                if (row < row_end && k < end) kept[first + i] = operand.f(batch, row, k);
            } else {
                int element;
                const bool inside =
                    contract_meet<O>(o, Panel::K_MAJOR ? place[i] : fixed, Panel::K_MAJOR ? fixed : place[i], &element);
                const typename O::T *from = operand.at + (inside ? o.base + element : 0);
                if constexpr (O::REGISTERS) {
                    kept[first + i] = typename O::T{};
                    if (inside) kept[first + i] = *from;
                } else {
                    stm_copy_async<O::BYTES>(stage + Panel::byte(line, column), from, inside);
                }
            }
        }
    }
}
template <class Tile, class O, int ROWS>
STM_DEVICE void contract_keep(unsigned char *stage, const typename O::T kept[ContractPanel<Tile, O, ROWS>::PASSES]) {
    typedef ContractPanel<Tile, O, ROWS> Panel;
    const int column = (int)threadIdx.x % Panel::PER_LINE * O::VECTOR, line0 = (int)threadIdx.x / Panel::PER_LINE;
#pragma unroll
    for (int pass = 0; pass < Panel::PASSES; pass++) {
        const int line = line0 + pass * (Tile::THREADS / Panel::PER_LINE);
        if (Panel::ITEMS % Tile::THREADS && line >= Panel::LINES) break;
        *reinterpret_cast<typename O::T *>(stage + Panel::byte(line, column)) = kept[pass];
    }
}

// ---- fragments of tensor-core products. `row` is the first of a block of 16 rows (a multiple of 8), `step` counts k
// steps of the instruction in the stage. Fragments of f32 operands take k = 2t and 2t + 1 of every 8 as the
// instruction's t and t + 4 (tf32: one 8-byte load; the order of k within a sum is free as long as A and B agree).
template <class Panel> STM_DEVICE float2 contract_pair(const unsigned char *panel, int row, int g, int k, int t) {
    float2 x;
    if (Panel::K_MAJOR) {
        x = *reinterpret_cast<const float2 *>(panel + Panel::place(row, g, k, 2 * t));
    } else {
        x.x = *reinterpret_cast<const float *>(panel + Panel::place(row, g, k, 2 * t));
        x.y = *reinterpret_cast<const float *>(panel + Panel::place(row, g, k, 2 * t + 1));
    }
    return x;
}
// out[0], out[1]: rows g and g + 8 of the lower k; out[2], out[3] the same of the upper k
template <class Tile, class Panel>
STM_DEVICE void contract_fragment(unsigned out[4], const unsigned char *panel, int row, int step) {
    const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    if constexpr (Tile::MATH == CONTRACT_TF32) {
        static_assert(sizeof(typename Panel::T) == 4, "tf32 products are of f32 operands");
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float2 x = contract_pair<Panel>(panel, row + 8 * i, g, 8 * step, t);
            out[i] = stm_tf32(x.x);
            out[2 + i] = stm_tf32(x.y);
        }
    } else if constexpr (sizeof(typename Panel::T) == 4) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float2 x = contract_pair<Panel>(panel, row + 8 * (i % 2), g, 16 * step + 8 * (i / 2), t);
            out[i] = stm_bf16_pair(x.x, x.y);
        }
    } else {
        const int j = lane / 8, r = row + 8 * (j % 2), k = 16 * step + 8 * (j / 2);
        if constexpr (Panel::K_MAJOR)
            stm_load_matrix4<false>(out, panel + row * Panel::PITCH + Panel::byte(8 * (j % 2) + lane % 8, k));
        else stm_load_matrix4<true>(out, panel + Panel::byte(k + lane % 8, r));
    }
}

template <class Tile, class PA, class PB>
STM_DEVICE void contract_products(float sum[Tile::SUMS], const unsigned char *a, const unsigned char *b) {
    constexpr int STEPS = Tile::TK / (Tile::MATH == CONTRACT_TF32 ? 8 : 16), FM = Tile::WM / 16, FN = Tile::WN / 16;
    const int warp = (int)threadIdx.x / 32;
    int m0 = warp / Tile::WARPS_N * Tile::WM, n0 = warp % Tile::WARPS_N * Tile::WN;
    unsigned fa[2][FM][4], fb[2][FN][4];
    a += PA::template skip<Tile::WM>(&m0);
    b += PB::template skip<Tile::WN>(&n0);
#pragma unroll
    for (int i = 0; i < FM; i++) contract_fragment<Tile, PA>(fa[0][i], a, m0 + 16 * i, 0);
#pragma unroll
    for (int j = 0; j < FN; j++) contract_fragment<Tile, PB>(fb[0][j], b, n0 + 16 * j, 0);
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        const int now = step % 2, next = 1 - now;
        if (step + 1 < STEPS) {
#pragma unroll
            for (int i = 0; i < FM; i++) contract_fragment<Tile, PA>(fa[next][i], a, m0 + 16 * i, step + 1);
#pragma unroll
            for (int j = 0; j < FN; j++) contract_fragment<Tile, PB>(fb[next][j], b, n0 + 16 * j, step + 1);
        }
#pragma unroll
        for (int i = 0; i < FM; i++)
#pragma unroll
            for (int j = 0; j < 2 * FN; j++) {
                const unsigned pair[2] = {fb[now][j / 2][j % 2], fb[now][j / 2][2 + j % 2]}; // columns 8 * j ..
                float *c = sum + 4 * (i * 2 * FN + j);
                if constexpr (Tile::MATH == CONTRACT_TF32) stm_mma_tf32(c, fa[now][i], pair);
                else stm_mma_bf16(c, fa[now][i], pair);
            }
    }
}

// ---- products on plain cores: a warp is 8 x 4 lanes; a lane's rows lie 8 (columns 4) apart, or in groups of four
// neighbours when they are contiguous in shared memory.
template <bool K_MAJOR, int LANES> STM_DEVICE int contract_lane_row(int lane, int i) {
    return K_MAJOR ? lane + LANES * i : i / 4 * (4 * LANES) + 4 * lane + i % 4;
}
template <class Panel, class V, int COUNT, int LANES>
STM_DEVICE void contract_quads(V out[COUNT][4], const unsigned char *panel, int row0, int lane, int k) {
    typedef typename Panel::T T;
    if constexpr (Panel::K_MAJOR) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int row = row0 + contract_lane_row<true, LANES>(lane, i);
            if constexpr (sizeof(T) == 8) { // two chunks
                const double2 x = *reinterpret_cast<const double2 *>(panel + Panel::byte(row, k)),
                              y = *reinterpret_cast<const double2 *>(panel + Panel::byte(row, k + 2));
                out[i][0] = x.x, out[i][1] = x.y, out[i][2] = y.x, out[i][3] = y.y;
            } else {
                stm_load4(out[i], reinterpret_cast<const T *>(panel + Panel::byte(row, k)));
            }
        }
    } else {
#pragma unroll
        for (int i = 0; i < COUNT; i += 4)
#pragma unroll
            for (int kk = 0; kk < 4; kk++) {
                V x[4];
                stm_load4(x, reinterpret_cast<const T *>(
                                 panel + Panel::byte(k + kk, row0 + contract_lane_row<false, LANES>(lane, i))));
#pragma unroll
                for (int c = 0; c < 4; c++) out[i + c][kk] = x[c];
            }
    }
}
template <class Tile, class PA, class PB, class V>
STM_DEVICE void contract_plain_products(V sum[Tile::SUMS], const unsigned char *a, const unsigned char *b) {
    constexpr int EM = Tile::WM / 8, EN = Tile::WN / 4;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int m0 = warp / Tile::WARPS_N * Tile::WM, n0 = warp % Tile::WARPS_N * Tile::WN;
#pragma unroll 2
    for (int k = 0; k < Tile::TK; k += 4) {
        V fa[EM][4], fb[EN][4];
        contract_quads<PA, V, EM, 8>(fa, a, m0, lane % 8, k);
        contract_quads<PB, V, EN, 4>(fb, b, n0, lane / 8, k);
#pragma unroll
        for (int kk = 0; kk < 4; kk++)
#pragma unroll
            for (int i = 0; i < EM; i++)
#pragma unroll
                for (int j = 0; j < EN; j++) sum[i * EN + j] += fa[i][kk] * fb[j][kk];
    }
}

// ---- sums to shared memory as rows of n
template <class Tile, class PA, class PB, class V> STM_DEVICE void contract_spread(V *tile, const V sum[Tile::SUMS]) {
    constexpr int PITCH = Tile::TN + 8;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int m0 = warp / Tile::WARPS_N * Tile::WM, n0 = warp % Tile::WARPS_N * Tile::WN;
    if constexpr (Tile::TENSOR) {
        constexpr int FM = Tile::WM / 16, FN = Tile::WN / 8;
        V *at = tile + (m0 + lane / 4) * PITCH + n0 + 2 * (lane % 4); // what follows are constants to this
#pragma unroll
        for (int i = 0; i < FM; i++)
#pragma unroll
            for (int j = 0; j < FN; j++)
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const V *c = sum + 4 * (i * FN + j) + 2 * h;
                    *reinterpret_cast<float2 *>(at + (16 * i + 8 * h) * PITCH + 8 * j) = make_float2(c[0], c[1]);
                }
    } else {
        constexpr int EM = Tile::WM / 8, EN = Tile::WN / 4;
#pragma unroll
        for (int i = 0; i < EM; i++)
#pragma unroll
            for (int j = 0; j < EN; j++) {
                const int m = m0 + contract_lane_row<PA::K_MAJOR, 8>(lane % 8, i);
                tile[m * PITCH + n0 + contract_lane_row<PB::K_MAJOR, 4>(lane / 8, j)] = sum[i * EN + j];
            }
    }
}

template <class Tile, class A, class B, class Epilogue>
STM_DEVICE void contract(const ContractWords &w, ContractSizes size, A a, B b, Epilogue epilogue) {
    typedef typename ContractSum<Tile::MATH>::Value Value;
    typedef ContractPanel<Tile, A, Tile::TM> PA;
    typedef ContractPanel<Tile, B, Tile::TN> PB;
    constexpr int STAGE = PA::BYTES + PB::BYTES, TILE = Tile::TM * (Tile::TN + 8) * (int)sizeof(Value),
                  TABLES = Tile::STAGES * STAGE > TILE ? Tile::STAGES * STAGE : TILE, AHEAD = Tile::STAGES - 1;
    static_assert(contract_shared_bytes(Tile::TM, Tile::TN, Tile::TK, Tile::STAGES, sizeof(typename A::T),
                                        sizeof(typename B::T),
                                        sizeof(Value)) == TABLES + 16 * (Tile::TM + Tile::TN + 4 * Tile::TK),
                  "contract_shared_bytes says what is used");
    STM_DYNAMIC_SHARED(shared);
    int4 *rows_a = reinterpret_cast<int4 *>(shared + TABLES), *rows_b = rows_a + Tile::TM, *ks_a = rows_b + Tile::TN,
         *ks_b = ks_a + 2 * Tile::TK;
    const int thread = (int)threadIdx.x;

    const int tiles_m = (size.m + Tile::TM - 1) / Tile::TM, tiles_n = (size.n + Tile::TN - 1) / Tile::TN;
    const int tiles = tiles_m * tiles_n, all = tiles * size.batch * w.slices;
    const int slice_k = ((size.k + Tile::TK - 1) / Tile::TK + w.slices - 1) / w.slices * Tile::TK;
    for (int tile = (int)blockIdx.x; tile < all; tile += (int)gridDim.x) {
        // Tiles go down 8 tiles of m, then to the next n: neighbours in time share operands in L2.
        const int outer = tile / tiles, inner = tile % tiles;
        const int group = inner / (8 * tiles_n), in_group = inner % (8 * tiles_n);
        const int high = min(8, tiles_m - 8 * group);
        const int m0 = (8 * group + in_group % high) * Tile::TM, n0 = in_group / high * Tile::TN;
        const int slice = outer / size.batch, batch = outer % size.batch;
        const int first = min(slice * slice_k, size.k), end = min(first + slice_k, size.k);
        const int steps = (end - first + Tile::TK - 1) / Tile::TK;

        int index[4];
        contract_indices(w.batch, batch, index);
        if constexpr (!A::FUNCTOR) {
#pragma unroll 1
            for (int i = thread; i < Tile::TM; i += Tile::THREADS)
                contract_write(rows_a + i, contract_row_place<A>(w.a, w.m, index, m0 + i, size.m));
        }
        if constexpr (!B::FUNCTOR) {
#pragma unroll 1
            for (int i = thread; i < Tile::TN; i += Tile::THREADS)
                contract_write(rows_b + i, contract_row_place<B>(w.b, w.n, index, n0 + i, size.n));
        }

        typename A::T kept_a[PA::PASSES];
        typename B::T kept_b[PB::PASSES];
        auto tables = [&](int step) { // the places of this step's k, one step before they are used
            const int k0 = first + step * Tile::TK, at = step % 2 * Tile::TK;
            if constexpr (A::TABLE)
                if (thread < Tile::TK)
                    contract_write(ks_a + at + thread, contract_k_place<A>(w.a, w.k, k0 + thread, end));
            if constexpr (B::TABLE) { // another warp than A's where there is one
                const int i = Tile::THREADS - 1 - thread;
                if (i < Tile::TK) contract_write(ks_b + at + i, contract_k_place<B>(w.b, w.k, k0 + i, end));
            }
        };
        auto fill = [&](int step) {
            unsigned char *stage = shared + step % Tile::STAGES * STAGE;
            const int k0 = first + step * Tile::TK, at = step % 2 * Tile::TK;
            contract_fill<Tile, A, Tile::TM>(a, w.a, w.k, rows_a, ks_a + at, batch, m0, size.m, k0, end, stage, kept_a);
            contract_fill<Tile, B, Tile::TN>(b, w.b, w.k, rows_b, ks_b + at, batch, n0, size.n, k0, end,
                                             stage + PA::BYTES, kept_b);
        };
        auto keep = [&](int step) {
            unsigned char *stage = shared + step % Tile::STAGES * STAGE;
            if constexpr (A::REGISTERS) contract_keep<Tile, A, Tile::TM>(stage, kept_a);
            if constexpr (B::REGISTERS) contract_keep<Tile, B, Tile::TN>(stage + PA::BYTES, kept_b);
        };

        Value sum[Tile::SUMS];
#pragma unroll
        for (int i = 0; i < Tile::SUMS; i++) sum[i] = 0;
            // One loop starts the pipeline and runs it: in round r the tables of step r + 1 are made, step r is filled
            // and step r - AHEAD computed.
#pragma unroll 1
        for (int round = -1; round < steps + AHEAD; round++) {
            if (round >= AHEAD) stm_copy_wait<AHEAD - 1>();
            __syncthreads();
            const bool filling = round >= 0 && round < steps;
            if (filling) fill(round);
            stm_copy_commit();
            if (round + 1 < steps) tables(round + 1);
            if (round >= AHEAD) {
                const unsigned char *stage = shared + (round - AHEAD) % Tile::STAGES * STAGE;
                if constexpr (Tile::TENSOR) contract_products<Tile, PA, PB>(sum, stage, stage + PA::BYTES);
                else contract_plain_products<Tile, PA, PB, Value>(sum, stage, stage + PA::BYTES);
            }
            if (filling) keep(round);
        }
        stm_copy_wait<0>();
        __syncthreads();

        Value *results = reinterpret_cast<Value *>(shared);
        contract_spread<Tile, PA, PB, Value>(results, sum);
        __syncthreads();
        const int at_batch = slice * size.batch + batch;
        constexpr int WIDTH = Epilogue::width, PER_ROW = Tile::TN / WIDTH;
        static_assert(WIDTH == 4 || WIDTH == 1, "an epilogue takes 4 elements or 1");
        static_assert(Tile::THREADS % PER_ROW == 0, "a thread stays in its column");
        const int column = thread % PER_ROW * WIDTH, n = n0 + column;
        if (n < size.n) {
            contract_column(epilogue, at_batch, n, 0);
#pragma unroll 4
            for (int i = 0; i < Tile::TM * PER_ROW / Tile::THREADS; i++) {
                const int row = thread / PER_ROW + i * (Tile::THREADS / PER_ROW), m = m0 + row;
                const Value *from = results + row * (Tile::TN + 8) + column;
                if (m < size.m) {
                    if constexpr (WIDTH == 4) {
                        Value v[4];
                        stm_load4(v, from);
                        epilogue.store4(at_batch, m, n, v);
                    } else {
                        epilogue.store(at_batch, m, n, *from);
                    }
                }
            }
        }
        __syncthreads();
    }
}

#endif
