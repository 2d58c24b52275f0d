// CUDA C on the host: what a kernel's text needs when g++ compiles it with -DSTM_HOST (kernels/prelude.cuh includes
// this file). Every CUDA thread is a fiber of the executor (executor.cpp); barriers, warp operations and shared memory
// are calls into it. Built with -fsanitize=thread and without libtsan, every access of the kernel is checked
// (access.cpp).
//
// Rules that differ from a real device on purpose:
//   - shared memory holds NaN patterns when a block starts; it is no more aligned than was asked for
//   - a cp.async copy happens when it is waited for, never before
//   - all lanes named in a mask must arrive at the same warp operation, except those that have returned
#ifndef STM_SHIM_CUDA_HOST_H
#define STM_SHIM_CUDA_HOST_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>
#include <utility>

// ---- the executor
struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
extern "C" {
extern uint3 threadIdx, blockIdx; // of the fiber that runs
extern dim3 blockDim, gridDim;

void shim_barrier(const char *file, int line);
int shim_barrier_count(int predicate, const char *file, int line); // threads with a true predicate
void shim_warp_sync(unsigned mask, const char *file, int line);
enum { SHIM_SHUFFLE, SHIM_SHUFFLE_XOR, SHIM_SHUFFLE_DOWN, SHIM_SHUFFLE_UP };
uint64_t shim_shuffle(int kind, unsigned mask, uint64_t value, int lane, int width, const char *file, int line);
unsigned shim_ballot(unsigned mask, int predicate, const char *file, int line);
unsigned shim_active(void); // lanes of the warp that have not returned
// Gives `bytes` (<= 256) of every lane in mask to every lane in mask: all[lane * bytes ..]. For mma and ldmatrix.
void shim_warp_exchange(unsigned mask, const void *mine, int bytes, void *all, const char *file, int line);

struct ShimShared { // one STM_SHARED declaration
    const char *name;
    unsigned block; // the block in which `at` is valid
    void *at;
};
void *shim_shared(ShimShared *site, int64_t element, int64_t count, int64_t align);
unsigned char *shim_dynamic_shared(void);

// cp.async: bytes 4, 8 or 16; the first `source` of them come from `from`, the others are zero.
void shim_async_copy(void *to, const void *from, int bytes, int source, const char *file, int line);
void shim_async_commit(void);
void shim_async_wait(int pending); // until at most `pending` of this thread's groups are under way

void shim_stop(const char *message); // ends the launch with an error: __trap
// Checks an access that the compiler's instrumentation does not see as one (atomic operations).
void shim_atomic(const void *at, int bytes);
}

#define __syncthreads()            shim_barrier(__FILE__, __LINE__)
#define __syncthreads_count(p)     shim_barrier_count((p) != 0, __FILE__, __LINE__)
#define __syncthreads_or(p)        (shim_barrier_count((p) != 0, __FILE__, __LINE__) != 0)
#define __syncthreads_and(p)       (shim_barrier_count((p) == 0, __FILE__, __LINE__) == 0)
#define SHIM_PICK(a, b, NAME, ...) NAME
#define __syncwarp(...)            shim_warp_sync(shim_mask(__VA_ARGS__), __FILE__, __LINE__)
static inline unsigned shim_mask(unsigned mask = 0xffffffffu) {
    return mask;
}
#define __ballot_sync(mask, p) shim_ballot(mask, (p) != 0, __FILE__, __LINE__)
#define __any_sync(mask, p)    (shim_ballot(mask, (p) != 0, __FILE__, __LINE__) != 0)
#define __all_sync(mask, p)    (shim_ballot(mask, (p) == 0, __FILE__, __LINE__) == 0)
#define __activemask()         shim_active()

// ---- words of the language
#define __global__
#define __device__
#define __host__
#define __constant__    static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__    __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#ifndef warpSize
#define warpSize 32
#endif

// A static shared array: an array in type too, so that its bounds are known.
#define SHIM_SHARED(type, name, count, align)                                                                          \
    static ShimShared name##_site = {#name, 0, nullptr};                                                               \
    type(&name)[count] = *reinterpret_cast<type(*)[count]>(shim_shared(&name##_site, sizeof(type), (count), (align)))
#define SHIM_DYNAMIC_SHARED(name) unsigned char *const name = shim_dynamic_shared()

// ---- vectors
#define SHIM_VECTOR(T, name, a2, a4)                                                                                   \
    struct name##1 {                                                                                                   \
        T x;                                                                                                           \
    };                                                                                                                 \
    struct alignas(a2) name##2 {                                                                                       \
        T x, y;                                                                                                        \
    };                                                                                                                 \
    struct alignas(a4) name##4 {                                                                                       \
        T x, y, z, w;                                                                                                  \
    };                                                                                                                 \
    static inline name##2 make_##name##2(T x, T y) {                                                                   \
        return name##2 {x, y};                                                                                         \
    }                                                                                                                  \
    static inline name##4 make_##name##4(T x, T y, T z, T w) {                                                         \
        return name##4 {x, y, z, w};                                                                                   \
    }
SHIM_VECTOR(char, char, 2, 4)
SHIM_VECTOR(unsigned char, uchar, 2, 4)
SHIM_VECTOR(short, short, 4, 8)
SHIM_VECTOR(unsigned short, ushort, 4, 8)
SHIM_VECTOR(int, int, 8, 16)
SHIM_VECTOR(unsigned, uint, 8, 16)
SHIM_VECTOR(long long, longlong, 16, 16)
SHIM_VECTOR(unsigned long long, ulonglong, 16, 16)
SHIM_VECTOR(float, float, 8, 16)
SHIM_VECTOR(double, double, 16, 16)

// ---- bits
template <class To, class From> static inline To shim_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "sizes differ");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
static inline int __float_as_int(float x) {
    return shim_bits<int>(x);
}
static inline unsigned __float_as_uint(float x) {
    return shim_bits<unsigned>(x);
}
static inline float __int_as_float(int x) {
    return shim_bits<float>(x);
}
static inline float __uint_as_float(unsigned x) {
    return shim_bits<float>(x);
}
static inline long long __double_as_longlong(double x) {
    return shim_bits<long long>(x);
}
static inline double __longlong_as_double(long long x) {
    return shim_bits<double>(x);
}
static inline int __double2hiint(double x) {
    return (int)(__double_as_longlong(x) >> 32);
}
static inline int __double2loint(double x) {
    return (int)__double_as_longlong(x);
}
static inline double __hiloint2double(int high, int low) {
    return __longlong_as_double((long long)(((uint64_t)(unsigned)high << 32) | (unsigned)low));
}
static inline int __popc(unsigned x) {
    return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x) {
    return __builtin_popcountll(x);
}
static inline int __clz(int x) {
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline int __clzll(long long x) {
    return x ? __builtin_clzll((unsigned long long)x) : 64;
}
static inline int __ffs(int x) {
    return __builtin_ffs(x);
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)(((uint64_t)a * b) >> 32);
}
static inline int __mulhi(int a, int b) {
    return (int)(((int64_t)a * b) >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; i++) y |= ((x >> i) & 1u) << (31 - i);
    return y;
}
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    uint64_t both = ((uint64_t)b << 32) | a;
    unsigned out = 0;
    for (int i = 0; i < 4; i++) {
        unsigned pick = (selector >> (4 * i)) & 15, byte = (unsigned)(both >> (8 * (pick & 7))) & 255;
        out |= (pick & 8 ? (byte & 128 ? 255u : 0u) : byte) << (8 * i);
    }
    return out;
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned n) {
    return (unsigned)(((((uint64_t)high << 32) | low) << (n & 31)) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) {
    return (unsigned)((((uint64_t)high << 32) | low) >> (n & 31));
}

// ---- numbers; conversions saturate and NaN becomes 0, as on the device
template <class To, class From> static inline To shim_to_integer(From x) {
    const double low =
        sizeof(To) == 8 ? (std::is_signed<To>::value ? -0x1p63 : 0) : (std::is_signed<To>::value ? -0x1p31 : 0);
    const double high =
        sizeof(To) == 8 ? (std::is_signed<To>::value ? 0x1p63 : 0x1p64) : (std::is_signed<To>::value ? 0x1p31 : 0x1p32);
    if (x != x) return 0;
    if ((double)x < low) return (To)low;
    if ((double)x >= high) return std::is_signed<To>::value ? (To)(~(To)0 ^ ((To)1 << (sizeof(To) * 8 - 1))) : ~(To)0;
    return (To)x;
}
#define SHIM_CONVERT(name, From, To)                                                                                   \
    static inline To __##name##_rz(From x) {                                                                           \
        return shim_to_integer<To>(trunc(x));                                                                          \
    }                                                                                                                  \
    static inline To __##name##_rn(From x) {                                                                           \
        return shim_to_integer<To>(nearbyint(x));                                                                      \
    }                                                                                                                  \
    static inline To __##name##_rd(From x) {                                                                           \
        return shim_to_integer<To>(floor(x));                                                                          \
    }                                                                                                                  \
    static inline To __##name##_ru(From x) {                                                                           \
        return shim_to_integer<To>(ceil(x));                                                                           \
    }
SHIM_CONVERT(float2int, float, int)
SHIM_CONVERT(float2uint, float, unsigned)
SHIM_CONVERT(float2ll, float, long long)
SHIM_CONVERT(float2ull, float, unsigned long long)
SHIM_CONVERT(double2int, double, int)
SHIM_CONVERT(double2uint, double, unsigned)
SHIM_CONVERT(double2ll, double, long long)
SHIM_CONVERT(double2ull, double, unsigned long long)
static inline float __int2float_rn(int x) {
    return (float)x;
}
static inline float __uint2float_rn(unsigned x) {
    return (float)x;
}
static inline float __ll2float_rn(long long x) {
    return (float)x;
}
static inline float __ull2float_rn(unsigned long long x) {
    return (float)x;
}
static inline double __int2double_rn(int x) {
    return x;
}
static inline double __uint2double_rn(unsigned x) {
    return x;
}
static inline double __ll2double_rn(long long x) {
    return (double)x;
}
static inline double __ull2double_rn(unsigned long long x) {
    return (double)x;
}
static inline float __double2float_rn(double x) {
    return (float)x;
}

static inline float rsqrtf(float x) {
    return 1.0f / sqrtf(x);
}
static inline double rsqrt(double x) {
    return 1.0 / sqrt(x);
}
static inline float rsqrt(float x) {
    return 1.0f / sqrtf(x);
}
static inline float __frsqrt_rn(float x) {
    return (float)(1.0 / sqrt((double)x));
}
static inline float __fsqrt_rn(float x) {
    return sqrtf(x);
}
static inline float __fdividef(float a, float b) {
    return a / b;
}
static inline float __fdiv_rn(float a, float b) {
    return a / b;
}
static inline float __frcp_rn(float a) {
    return 1.0f / a;
}
static inline float __fadd_rn(float a, float b) {
    return a + b;
}
static inline float __fsub_rn(float a, float b) {
    return a - b;
}
static inline float __fmul_rn(float a, float b) {
    return a * b;
}
static inline float __fmaf_rn(float a, float b, float c) {
    return fmaf(a, b, c);
}
static inline double __dadd_rn(double a, double b) {
    return a + b;
}
static inline double __dsub_rn(double a, double b) {
    return a - b;
}
static inline double __dmul_rn(double a, double b) {
    return a * b;
}
static inline double __ddiv_rn(double a, double b) {
    return a / b;
}
static inline double __fma_rn(double a, double b, double c) {
    return fma(a, b, c);
}
// (the C library owns these names as functions)
#define __expf   expf
#define __exp10f exp10f
#define __logf   logf
#define __log2f  log2f
#define __sinf   sinf
#define __cosf   cosf
#define __tanf   tanf
#define __powf   powf
#define __tanhf  tanhf
static inline float __saturatef(float x) {
    return x > 0 ? (x < 1 ? x : 1) : 0;
}
static inline float sinpif(float x) {
    return (float)sin(3.14159265358979323846 * fmod((double)x, 2));
}
static inline float cospif(float x) {
    return (float)cos(3.14159265358979323846 * fmod((double)x, 2));
}
static inline double sinpi(double x) {
    return sin(3.14159265358979323846 * fmod(x, 2));
}
static inline double cospi(double x) {
    return cos(3.14159265358979323846 * fmod(x, 2));
}
static inline float normcdff(float x) {
    return (float)(0.5 * erfc(-(double)x * 0.70710678118654752440));
}
static inline double normcdf(double x) {
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

#define SHIM_ORDER(T)                                                                                                  \
    static inline T min(T a, T b) {                                                                                    \
        return b < a ? b : a;                                                                                          \
    }                                                                                                                  \
    static inline T max(T a, T b) {                                                                                    \
        return a < b ? b : a;                                                                                          \
    }
SHIM_ORDER(int)
SHIM_ORDER(unsigned)
SHIM_ORDER(long)
SHIM_ORDER(unsigned long)
SHIM_ORDER(long long)
SHIM_ORDER(unsigned long long)
static inline float min(float a, float b) {
    return fminf(a, b);
}
static inline float max(float a, float b) {
    return fmaxf(a, b);
}
static inline double min(double a, double b) {
    return fmin(a, b);
}
static inline double max(double a, double b) {
    return fmax(a, b);
}

// ---- bf16: the upper half of an f32, rounded to even
static inline float shim_bf16_to_float(unsigned short x) {
    return __uint_as_float((unsigned)x << 16);
}
static inline unsigned short shim_float_to_bf16(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff; // as cvt.rn.bf16.f32
    return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}
// f32 rounded to tf32's 10 bits of mantissa, ties away from zero (cvt.rna.tf32.f32)
static inline float shim_round_tf32(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7f800000u) == 0x7f800000u) return x;
    return __uint_as_float((bits + 0x1000u) & ~0x1fffu);
}

// ---- memory
template <class T> static inline T __ldg(const T *at) {
    return *at;
}
template <class T> static inline T __ldcg(const T *at) {
    return *at;
}
template <class T> static inline T __ldcs(const T *at) {
    return *at;
}
template <class T> static inline void __stcg(T *at, T value) {
    *at = value;
}
template <class T> static inline void __stcs(T *at, T value) {
    *at = value;
}
static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline void __threadfence_system() {}
static inline void __trap() {
    shim_stop("__trap was called");
}
#define __builtin_assume(condition) ((void)0)
#define __nanosleep(ns)             ((void)0)

// Fibers are not interrupted, so plain code is atomic; the access is checked as an atomic one.
#define SHIM_ATOMIC __attribute__((no_sanitize("thread"), noinline))
#define SHIM_ATOMIC_OP(name, expression)                                                                               \
    template <class T> SHIM_ATOMIC static T name(T *at, typename std::common_type<T>::type value) {                    \
        shim_atomic(at, sizeof(T));                                                                                    \
        T old = *at;                                                                                                   \
        *at = (expression);                                                                                            \
        return old;                                                                                                    \
    }
SHIM_ATOMIC_OP(atomicAdd, (T)(old + value))
SHIM_ATOMIC_OP(atomicSub, (T)(old - value))
SHIM_ATOMIC_OP(atomicExch, value)
SHIM_ATOMIC_OP(atomicMin, value < old ? value : old)
SHIM_ATOMIC_OP(atomicMax, old < value ? value : old)
SHIM_ATOMIC_OP(atomicAnd, (T)(old &value))
SHIM_ATOMIC_OP(atomicOr, (T)(old | value))
SHIM_ATOMIC_OP(atomicXor, (T)(old ^ value))
SHIM_ATOMIC_OP(atomicInc, old >= value ? 0 : (T)(old + 1))
template <class T> SHIM_ATOMIC static T atomicCAS(T *at, T expected, T value) {
    shim_atomic(at, sizeof(T));
    T old = *at;
    if (old == expected) *at = value;
    return old;
}

// ---- values between lanes; any type of at most 8 bytes
template <class T>
static inline T shim_shuffle_value(int kind, unsigned mask, T value, int lane, int width, const char *file, int line) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    bits = shim_shuffle(kind, mask, bits, lane, width, file, line);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
static inline int shim_width(int width = 32) {
    return width;
}
#define __shfl_sync(mask, value, lane, ...)                                                                            \
    shim_shuffle_value(SHIM_SHUFFLE, mask, value, lane, shim_width(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, lane, ...)                                                                        \
    shim_shuffle_value(SHIM_SHUFFLE_XOR, mask, value, lane, shim_width(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, lane, ...)                                                                       \
    shim_shuffle_value(SHIM_SHUFFLE_DOWN, mask, value, lane, shim_width(__VA_ARGS__), __FILE__, __LINE__)
#define __shfl_up_sync(mask, value, lane, ...)                                                                         \
    shim_shuffle_value(SHIM_SHUFFLE_UP, mask, value, lane, shim_width(__VA_ARGS__), __FILE__, __LINE__)

// ---- cp.async and exchange, for kernels/mma.cuh
#define SHIM_ASYNC_COPY(to, from, bytes, source) shim_async_copy(to, from, bytes, source, __FILE__, __LINE__)
#define SHIM_ASYNC_COMMIT()                      shim_async_commit()
#define SHIM_ASYNC_WAIT(pending)                 shim_async_wait(pending)
#define SHIM_WARP_EXCHANGE(mine, bytes, all)     shim_warp_exchange(0xffffffffu, mine, bytes, all, __FILE__, __LINE__)

// ---- STM_SHIM_KERNEL(name), behind the function: how the executor starts it (build_shim.sh writes these)
struct ShimParameter {
    int size;
    bool pointer;
    bool report; // unsigned *: the word that any thread may set, to one and the same value
};
struct ShimKernel {
    const char *name;
    void (*start)(void *const *parameters);
    int parameters;
    const ShimParameter *parameter;
    bool checked; // accesses are instrumented
};
#if defined __SANITIZE_THREAD__
#define SHIM_CHECKED true
#else
#define SHIM_CHECKED false
#endif
template <class T> constexpr ShimParameter shim_parameter() {
    return {(int)sizeof(T), std::is_pointer<T>::value, std::is_same<T, unsigned *>::value};
}
template <class F> struct ShimStart;
template <class... P> struct ShimStart<void(P...)> {
    static constexpr int count = (int)sizeof...(P);
    static constexpr ShimParameter parameter[sizeof...(P) + 1] = {shim_parameter<P>()..., {0, false, false}};
    template <size_t... I>
    __attribute__((no_sanitize("thread"), noinline)) static void start(void (*f)(P...), void *const *parameters,
                                                                       std::index_sequence<I...>) {
        (void)parameters;
        f(*static_cast<typename std::remove_cv<P>::type *>(parameters[I])...);
    }
    typedef std::make_index_sequence<sizeof...(P)> Numbers;
};
#define STM_SHIM_KERNEL(kernel)                                                                                        \
    __attribute__((no_sanitize("thread"))) static void shim_start_##kernel(void *const *parameters) {                  \
        ShimStart<decltype(kernel)>::start(kernel, parameters, ShimStart<decltype(kernel)>::Numbers());                \
    }                                                                                                                  \
    extern "C" __attribute__((visibility("default")))                                                                  \
    const ShimKernel shim_kernel_##kernel = {#kernel, shim_start_##kernel, ShimStart<decltype(kernel)>::count,         \
                                             ShimStart<decltype(kernel)>::parameter, SHIM_CHECKED};

#endif
