// The scalar primitives of compiler/forms/ops.h that are not operators of C, for float and double. What they compute is
// docs/numerics.md's. No fast-math instruction is used. float: pow, atan2, lgamma and digamma work in double inside; the
// others are CUDA's functions, 1 to 2 ulp.
#ifndef STM_SCALAR_CUH
#define STM_SCALAR_CUH

#define STM_INF __int_as_float(0x7f800000)
#define STM_NAN __int_as_float(0x7fffffff)
#define STM_INF_F64 __longlong_as_double(0x7ff0000000000000LL)
#define STM_NAN_F64 __longlong_as_double(0x7fffffffffffffffLL)

// ---- extremes: NaN spreads
STM_DEVICE float stm_max(float a, float b) {
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ >= 800
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
#else
    return a > b || a != a ? a : b;
#endif
}
STM_DEVICE float stm_min(float a, float b) {
#if defined __CUDA_ARCH__ && __CUDA_ARCH__ >= 800
    float y;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
#else
    return a < b || a != a ? a : b;
#endif
}
STM_DEVICE double stm_max(double a, double b) { return a > b || a != a ? a : b; }
STM_DEVICE double stm_min(double a, double b) { return a < b || a != a ? a : b; }
STM_DEVICE int stm_max(int a, int b) { return a > b ? a : b; }
STM_DEVICE int stm_min(int a, int b) { return a < b ? a : b; }
STM_DEVICE long long stm_max(long long a, long long b) { return a > b ? a : b; }
STM_DEVICE long long stm_min(long long a, long long b) { return a < b ? a : b; }

// For argmax and argmin: does x beat best, are they equal? NaN beats every number.
template <class T> STM_DEVICE bool stm_more(T x, T best) { return x > best || (x != x && best == best); }
template <class T> STM_DEVICE bool stm_less(T x, T best) { return x < best || (x != x && best == best); }
template <class T> STM_DEVICE bool stm_ties(T x, T best) { return x == best || (x != x && best != best); }

// ---- simple ones
STM_DEVICE float stm_abs(float x) { return fabsf(x); }
STM_DEVICE double stm_abs(double x) { return fabs(x); }
STM_DEVICE float stm_floor(float x) { return floorf(x); }
STM_DEVICE double stm_floor(double x) { return floor(x); }
STM_DEVICE float stm_round(float x) { return rintf(x); } // half to even
STM_DEVICE double stm_round(double x) { return rint(x); }
STM_DEVICE float stm_sqrt(float x) { return sqrtf(x); }
STM_DEVICE double stm_sqrt(double x) { return sqrt(x); }
STM_DEVICE float stm_rsqrt(float x) { return rsqrtf(x); }
STM_DEVICE double stm_rsqrt(double x) { return 1.0 / sqrt(x); }
template <class T> STM_DEVICE T stm_sign(T x) { return x > (T)0 ? (T)1 : x < (T)0 ? (T)-1 : x; } // zero and NaN stay

// ---- elementary functions
STM_DEVICE float stm_exp(float x) { return expf(x); }
STM_DEVICE double stm_exp(double x) { return exp(x); }
STM_DEVICE float stm_expm1(float x) { return expm1f(x); }
STM_DEVICE double stm_expm1(double x) { return expm1(x); }
STM_DEVICE float stm_log(float x) { return logf(x); }
STM_DEVICE double stm_log(double x) { return log(x); }
STM_DEVICE float stm_log1p(float x) { return log1pf(x); }
STM_DEVICE double stm_log1p(double x) { return log1p(x); }
STM_DEVICE float stm_sin(float x) { return sinf(x); }
STM_DEVICE double stm_sin(double x) { return sin(x); }
STM_DEVICE float stm_cos(float x) { return cosf(x); }
STM_DEVICE double stm_cos(double x) { return cos(x); }
STM_DEVICE float stm_tanh(float x) { return tanhf(x); }
STM_DEVICE double stm_tanh(double x) { return tanh(x); }
STM_DEVICE float stm_erf(float x) { return erff(x); }
STM_DEVICE double stm_erf(double x) { return erf(x); }
STM_DEVICE float stm_pow(float x, float y) { return (float)pow((double)x, (double)y); }
STM_DEVICE double stm_pow(double x, double y) { return pow(x, y); }
STM_DEVICE float stm_atan2(float y, float x) { return (float)atan2((double)y, (double)x); }
STM_DEVICE double stm_atan2(double y, double x) { return atan2(y, x); }

// By exp(-abs(x)): no overflow, and subnormal results are right.
STM_DEVICE float stm_sigmoid(float x) {
    float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}
STM_DEVICE double stm_sigmoid(double x) {
    double e = exp(-fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

// ---- lgamma, digamma: shifted up by 8 where the argument is below 8, then the asymptotic series; reflection below
static inline __device__ __noinline__ double stm_lgamma_upper(double x) { // x >= 1/2
    double product = 1.0, z = x;
    if (x < 8.0) {
        product = x;
        for (int i = 1; i < 8; i++) product *= x + i;
        z = x + 8.0;
    }
    double w = 1.0 / z, w2 = w * w, tail = -691.0 / 360360.0;
    tail = tail * w2 + 1.0 / 1188.0;
    tail = tail * w2 - 1.0 / 1680.0;
    tail = tail * w2 + 1.0 / 1260.0;
    tail = tail * w2 - 1.0 / 360.0;
    tail = tail * w2 + 1.0 / 12.0;
    // (z - 1/2) log z - z + log(2 pi)/2 = (z - 1/2)(log z - 1) - 1/2 + log(2 pi)/2
    double y = (z - 0.5) * (log(z) - 1.0) + 0.41893853320467274178;
    return y + tail * w - log(product);
}

STM_DEVICE float stm_lgamma(float x) {
    double d = x, r = d - rint(d);
    bool low = d < 0.5;
    double y = stm_lgamma_upper(low ? 1.0 - d : d);
    if (low) y = log(3.14159265358979323846 / fabs(sinpi(r))) - y;
    // Poles; below -2^60 every number is an integer.
    if (fabsf(x) == STM_INF || (low && r == 0.0) || d < -1152921504606846976.0) return STM_INF;
    return (float)y;
}
STM_DEVICE double stm_lgamma(double x) { return lgamma(x); }

static inline __device__ __noinline__ double stm_digamma(double x) {
    bool mirror = x < 0.0;
    double a = mirror ? 1.0 - x : x, sum = 0.0, z = a;
    if (a < 8.0) {
        for (int i = 0; i < 8; i++) sum += 1.0 / (a + i);
        z = a + 8.0;
    }
    double w = 1.0 / z, w2 = w * w, tail = -1.0 / 12.0;
    tail = tail * w2 + 691.0 / 32760.0;
    tail = tail * w2 - 1.0 / 132.0;
    tail = tail * w2 + 1.0 / 240.0;
    tail = tail * w2 - 1.0 / 252.0;
    tail = tail * w2 + 1.0 / 120.0;
    tail = tail * w2 - 1.0 / 12.0;
    double y = log(z) - 0.5 * w + tail * w2 - sum;
    double r = x - rint(x);
    if (mirror) y = r == 0.0 ? STM_NAN_F64 : y - 3.14159265358979323846 * (cospi(r) / sinpi(r));
    if (x == 0.0) y = __double_as_longlong(x) < 0 ? STM_INF_F64 : -STM_INF_F64;
    return x == STM_INF_F64 ? x : y;
}
STM_DEVICE float stm_digamma(float x) { return (float)stm_digamma((double)x); }

// ---- integers: floor division and the remainder with the sign of the divisor; by zero both are 0
template <class T> STM_DEVICE T stm_floor_div(T x, T by) { // by >= 1
    T q = x / by;
    return q - (T)(x % by < 0);
}
template <class T> STM_DEVICE T stm_floor_mod(T x, T by) { // by >= 1
    T r = x % by;
    return r < 0 ? r + by : r;
}
STM_DEVICE int stm_negative(int x) { return (int)(0u - (unsigned)x); } // wraps
STM_DEVICE long long stm_negative(long long x) { return (long long)(0ull - (unsigned long long)x); }
template <class T> STM_DEVICE T stm_idiv(T x, T by) {
    if (by == 0) return 0;
    if (by == -1) return stm_negative(x);
    T r = x % by;
    return x / by - (T)(r != 0 && (r ^ by) < 0);
}
template <class T> STM_DEVICE T stm_imod(T x, T by) {
    if (by == 0 || by == -1) return 0;
    T r = x % by;
    return r != 0 && (r ^ by) < 0 ? r + by : r;
}

// ---- reals to integers: towards zero, clamped to the range, NaN is 0
STM_DEVICE int stm_to_i32(float x) { return __float2int_rz(x); }
STM_DEVICE int stm_to_i32(double x) { return x != x ? 0 : __double2int_rz(x); } // the instruction makes NaN -2^31
STM_DEVICE long long stm_to_i64(float x) { return x != x ? 0 : __float2ll_rz(x); }
STM_DEVICE long long stm_to_i64(double x) { return x != x ? 0 : __double2ll_rz(x); }
template <class T> STM_DEVICE int stm_to_u8(T x) {
    int i = stm_to_i32(x);
    return i < 0 ? 0 : i > 255 ? 255 : i;
}

#endif
