// What every function of the CUDA target stands on (spec/cuda.md, Host shim): the bf16 type and its conversions, shared
// memory, wide loads and stores. Compiles by NVRTC and, with -DSTM_HOST and tests/gpu/shim on the include path, as C++17
// for the host.
#ifndef STM_PRELUDE_CUH
#define STM_PRELUDE_CUH

#ifdef STM_HOST
#include "cuda_host.h"
#define STM_SHARED(type, name, count) SHIM_SHARED(type, name, count, 16)
#define STM_DYNAMIC_SHARED(name) SHIM_DYNAMIC_SHARED(name)
#else
#define STM_SHARED(type, name, count) __shared__ __align__(16) type name[count]
// `name` is an unsigned char *, aligned to 16 bytes; its size is the launch's.
#define STM_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif
#define STM_DEVICE static __device__ __forceinline__

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

// bf16: the upper half of an f32. A type of memory alone; values are f32 in registers.
struct stm_bf16 {
    unsigned short bits;
};
STM_DEVICE float stm_float(stm_bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }
// Two at once: low half and high half of a word, rounded to nearest even; NaN stays NaN.
STM_DEVICE unsigned stm_bf16_pair(float low, float high) {
#ifdef STM_HOST
    return (unsigned)shim_float_to_bf16(low) | (unsigned)shim_float_to_bf16(high) << 16;
#else
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#endif
}
STM_DEVICE stm_bf16 stm_to_bf16(float x) {
    stm_bf16 y;
    y.bits = (unsigned short)stm_bf16_pair(x, 0.0f);
    return y;
}
STM_DEVICE float stm_bf16_low(unsigned pair) { return __uint_as_float(pair << 16); }
STM_DEVICE float stm_bf16_high(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

// Wide access: `at` is aligned to the bytes that move (4 * sizeof(float) = 16, 4 bf16 = 8).
STM_DEVICE void stm_load4(float out[4], const float *at) {
    float4 x = *reinterpret_cast<const float4 *>(at);
    out[0] = x.x, out[1] = x.y, out[2] = x.z, out[3] = x.w;
}
STM_DEVICE void stm_load4(float out[4], const stm_bf16 *at) {
    uint2 x = *reinterpret_cast<const uint2 *>(at);
    out[0] = stm_bf16_low(x.x), out[1] = stm_bf16_high(x.x), out[2] = stm_bf16_low(x.y), out[3] = stm_bf16_high(x.y);
}
STM_DEVICE void stm_load4(double out[4], const double *at) {
    double2 x = reinterpret_cast<const double2 *>(at)[0], y = reinterpret_cast<const double2 *>(at)[1];
    out[0] = x.x, out[1] = x.y, out[2] = y.x, out[3] = y.y;
}
STM_DEVICE void stm_store4(float *at, const float x[4]) {
    *reinterpret_cast<float4 *>(at) = make_float4(x[0], x[1], x[2], x[3]);
}
STM_DEVICE void stm_store4(stm_bf16 *at, const float x[4]) {
    *reinterpret_cast<uint2 *>(at) = make_uint2(stm_bf16_pair(x[0], x[1]), stm_bf16_pair(x[2], x[3]));
}
STM_DEVICE void stm_store4(double *at, const double x[4]) {
    reinterpret_cast<double2 *>(at)[0] = make_double2(x[0], x[1]);
    reinterpret_cast<double2 *>(at)[1] = make_double2(x[2], x[3]);
}

// What expressions are written with (compiler/target/cuda/expr.h).
#include "access.cuh"
#include "philox.cuh"
#include "scalar.cuh"

#endif
