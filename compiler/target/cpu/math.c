// Elementary functions as IR. Single precision is computed by our own polynomials so that results do not depend on a
// libm; pow, lgamma, digamma, sin, cos and atan2 work in double inside and are private functions of the module, the
// others are emitted in place. docs/numerics.md states the bounds, tests/passes/math_ulp.c measures them.
#include "target/cpu/math.h"

#include <string.h>

typedef LLVMValueRef V;

static V num(V like, double x) {
    return const_real(LLVMTypeOf(like), x);
}
static V add(CpuModule *m, V a, V b) {
    return LLVMBuildFAdd(m->builder, a, b, "");
}
static V sub(CpuModule *m, V a, V b) {
    return LLVMBuildFSub(m->builder, a, b, "");
}
static V mul(CpuModule *m, V a, V b) {
    return LLVMBuildFMul(m->builder, a, b, "");
}
static V quotient(CpuModule *m, V a, V b) {
    return LLVMBuildFDiv(m->builder, a, b, "");
}
static V pick(CpuModule *m, V c, V a, V b) {
    return LLVMBuildSelect(m->builder, c, a, b, "");
}
static V less(CpuModule *m, V a, V b) {
    return LLVMBuildFCmp(m->builder, LLVMRealOLT, a, b, "");
}
static V same(CpuModule *m, V a, V b) {
    return LLVMBuildFCmp(m->builder, LLVMRealOEQ, a, b, "");
}
static V is_nan(CpuModule *m, V a) {
    return LLVMBuildFCmp(m->builder, LLVMRealUNO, a, a, "");
}
static V either(CpuModule *m, V a, V b) {
    return LLVMBuildOr(m->builder, a, b, "");
}
static V both(CpuModule *m, V a, V b) {
    return LLVMBuildAnd(m->builder, a, b, "");
}
static V magnitude(CpuModule *m, V a) {
    return intrinsic1(m, "llvm.fabs", a);
}
static V nearest(CpuModule *m, V a) {
    return intrinsic1(m, "llvm.rint", a);
}

static V with_sign(CpuModule *m, V a, V sign) {
    LLVMTypeRef type = LLVMTypeOf(a);
    return intrinsic(m, "llvm.copysign", &type, 1, (V[]){a, sign}, 2);
}

// Highest coefficient first.
static V polynomial(CpuModule *m, V x, const double *c, int count) {
    V p = num(x, c[0]);
    for (int i = 1; i < count; i++) p = fma_or_mad(m, p, x, num(x, c[i]));
    return p;
}
#define POLYNOMIAL(m, x, ...)                                                                                          \
    polynomial((m), (x), (const double[]){__VA_ARGS__}, (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)))

// a limited from above and below; NaN passes.
static V limit(CpuModule *m, V a, double low, double high) {
    a = pick(m, less(m, num(a, high), a), num(a, high), a);
    return pick(m, less(m, a, num(a, low)), num(a, low), a);
}

static LLVMTypeRef words(CpuModule *m, V a) { // integers as wide as the reals of a
    bool wide = element_of(LLVMTypeOf(a)) == m->f64;
    return shape_like(wide ? m->i64 : m->i32, LLVMTypeOf(a));
}

// An integral a as an integer. Callers limit a; NaN is frozen so that the result is a number.
static V integral(CpuModule *m, V a) {
    V n = LLVMBuildFPToSI(m->builder, a, shape_like(m->i32, LLVMTypeOf(a)), "");
    n = LLVMBuildFreeze(m->builder, n, "");
    return element_of(LLVMTypeOf(a)) == m->f64 ? LLVMBuildSExt(m->builder, n, words(m, a), "") : n;
}

static V power_of_two(CpuModule *m, V n, LLVMTypeRef real) { // 2^n for n in the range of normal numbers
    LLVMTypeRef type = LLVMTypeOf(n);
    bool wide = element_of(real) == m->f64;
    n = LLVMBuildAdd(m->builder, n, const_int(type, wide ? 1023 : 127), "");
    n = LLVMBuildShl(m->builder, n, const_int(type, wide ? 52 : 23), "");
    return LLVMBuildBitCast(m->builder, n, real, "");
}

// ---- exponentials, f32. x = n ln 2 + r, |r| <= ln 2 / 2
static V exp_reduce(CpuModule *m, V x, V *n) {
    *n = nearest(m, mul(m, x, num(x, 1.44269504088896341)));
    V r = fma_or_mad(m, *n, num(x, -0.693359375), x);
    return fma_or_mad(m, *n, num(x, 2.12194440e-4), r);
}

static V exp_tail(CpuModule *m, V r) { // (e^r - 1 - r) / r^2
    return POLYNOMIAL(m, r, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                      5.0000001201e-1);
}

static V exp_f32(CpuModule *m, V x) {
    LLVMTypeRef type = LLVMTypeOf(x);
    V n, c = limit(m, x, -105, 90), r = exp_reduce(m, c, &n);
    V y = fma_or_mad(m, exp_tail(m, r), mul(m, r, r), r);
    y = add(m, y, num(x, 1));
    V k = integral(m, n), low = LLVMBuildAShr(m->builder, k, const_int(words(m, x), 1), "");
    V high = LLVMBuildSub(m->builder, k, low, ""); // two factors: subnormal results round once, 2^128 overflows
    return mul(m, mul(m, y, power_of_two(m, low, type)), power_of_two(m, high, type));
}

static V expm1_f32(CpuModule *m, V x) {
    V n, c = limit(m, x, -20, 88.8), r = exp_reduce(m, c, &n);
    V p = fma_or_mad(m, exp_tail(m, r), mul(m, r, r), r); // e^r - 1
    V k = LLVMBuildSub(m->builder, integral(m, n), const_int(words(m, x), 1), "");
    V t = power_of_two(m, k, LLVMTypeOf(x)); // half of 2^n, which may be out of range
    V y = fma_or_mad(m, t, p, sub(m, t, num(x, 0.5)));
    y = add(m, y, y);
    V zero = same(m, n, num(x, 0));
    return pick(m, zero, with_sign(m, p, x), y);
}

static V sigmoid_f32(CpuModule *m, V x) {
    V one = num(x, 1), e = exp_f32(m, LLVMBuildFNeg(m->builder, magnitude(m, x), ""));
    V top = pick(m, less(m, x, num(x, 0)), e, one);
    return quotient(m, top, add(m, one, e));
}

static V tanh_f32(CpuModule *m, V x) {
    V a = magnitude(m, x), z = mul(m, x, x);
    V p = POLYNOMIAL(m, z, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1);
    V small = with_sign(m, fma_or_mad(m, mul(m, p, z), x, x), x);
    V e = exp_f32(m, add(m, a, a));
    V large = sub(m, num(x, 1), quotient(m, num(x, 2), add(m, e, num(x, 1))));
    return pick(m, less(m, a, num(x, 0.625)), small, with_sign(m, large, x));
}

static V erf_f32(CpuModule *m, V a) {
    V t = magnitude(m, a), s = mul(m, a, a);
    V r = fma_or_mad(m, num(a, -1.72853470e-5), t, num(a, 3.83197126e-4));
    V u = fma_or_mad(m, num(a, -3.88396438e-3), t, num(a, 2.42546219e-2));
    r = fma_or_mad(m, r, s, u);
    r = fma_or_mad(m, r, t, num(a, -1.06777877e-1));
    r = fma_or_mad(m, r, t, num(a, -6.34846687e-1));
    r = fma_or_mad(m, r, t, num(a, -1.28717512e-1));
    r = fma_or_mad(m, r, t, LLVMBuildFNeg(m->builder, t, ""));
    // Beyond 4 the result is 1; the polynomial is kept from running away, NaN passes.
    r = pick(m, less(m, num(a, 4), t), num(a, -100), r);
    V large = with_sign(m, sub(m, num(a, 1), exp_f32(m, r)), a);
    V p = POLYNOMIAL(m, s, -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1);
    V small = fma_or_mad(m, p, a, a);
    return pick(m, less(m, num(a, 0.927734375), t), large, small);
}

// ---- logarithms, f32. u = 2^e (1 + f), f in [sqrt(1/2) - 1, sqrt(2) - 1]; lost: what rounding took from u, or NULL
static V log_core(CpuModule *m, V u, V lost) {
    LLVMBuilderRef b = m->builder;
    LLVMTypeRef type = LLVMTypeOf(u), word = words(m, u);
    V tiny = less(m, u, num(u, 0x1p-126));
    V scaled = pick(m, tiny, mul(m, u, num(u, 0x1p23)), u);
    V bits = LLVMBuildBitCast(b, scaled, word, "");
    V shifted = LLVMBuildSub(b, bits, const_int(word, 0x3f3504f3), ""); // bits of sqrt(1/2)
    V k = LLVMBuildAShr(b, shifted, const_int(word, 23), "");
    V mantissa = LLVMBuildSub(b, bits, LLVMBuildShl(b, k, const_int(word, 23), ""), "");
    V f = sub(m, LLVMBuildBitCast(b, mantissa, type, ""), num(u, 1));
    if (lost) { // 2^-k is in range: u >= 2^-24, and above 2^100 nothing is lost that matters
        V small = LLVMBuildICmp(b, LLVMIntSLT, k, const_int(word, 100), "");
        V negative = LLVMBuildNeg(b, pick(m, small, k, LLVMConstNull(word)), "");
        f = fma_or_mad(m, pick(m, small, lost, num(u, 0)), power_of_two(m, negative, type), f);
    }
    k = LLVMBuildSub(b, k, pick(m, tiny, const_int(word, 23), LLVMConstNull(word)), "");
    V e = LLVMBuildSIToFP(b, k, type, "");
    V z = mul(m, f, f);
    V p = POLYNOMIAL(m, f, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                     -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1);
    V y = mul(m, mul(m, p, f), z);
    y = fma_or_mad(m, e, num(u, -2.12194440e-4), y);
    y = fma_or_mad(m, z, num(u, -0.5), y);
    return fma_or_mad(m, e, num(u, 0.693359375), add(m, f, y));
}

// Results where the argument u of the logarithm is zero, negative, infinite or NaN.
static V log_ends(CpuModule *m, V u, V y) {
    V inf = num(u, __builtin_inf()), zero = num(u, 0);
    y = pick(m, same(m, u, inf), inf, y);
    y = pick(m, same(m, u, zero), num(u, -__builtin_inf()), y);
    V bad = LLVMBuildFCmp(m->builder, LLVMRealULT, u, zero, "");
    return pick(m, bad, num(u, __builtin_nan("")), y);
}

static V log_f32(CpuModule *m, V x) {
    return log_ends(m, x, log_core(m, x, NULL));
}

static V log1p_f32(CpuModule *m, V x) {
    V u = add(m, x, num(x, 1));
    V high = sub(m, u, num(x, 1)), big = less(m, num(x, 1), x);
    V lost = pick(m, big, sub(m, num(x, 1), sub(m, u, x)), sub(m, x, high)); // exact either way
    V y = log_ends(m, u, log_core(m, u, lost));
    return pick(m, same(m, x, num(x, 0)), x, y); // keeps -0
}

// ---- double precision parts of the functions below
static V widen(CpuModule *m, V x) {
    if (element_of(LLVMTypeOf(x)) == m->f64) return x;
    return LLVMBuildFPExt(m->builder, x, shape_like(m->f64, LLVMTypeOf(x)), "");
}

static V narrow(CpuModule *m, V x, LLVMTypeRef to) {
    return LLVMTypeOf(x) == to ? x : LLVMBuildFPTrunc(m->builder, x, to, "");
}

static V log_f64(CpuModule *m, V x) { // full precision for positive normal numbers; ends as log_ends
    LLVMBuilderRef b = m->builder;
    LLVMTypeRef type = LLVMTypeOf(x), word = words(m, x);
    V bits = LLVMBuildBitCast(b, x, word, "");
    V shifted = LLVMBuildSub(b, bits, const_int(word, 0x3fe6a09e667f3bcd), "");
    V k = LLVMBuildAShr(b, shifted, const_int(word, 52), "");
    V f = LLVMBuildBitCast(b, LLVMBuildSub(b, bits, LLVMBuildShl(b, k, const_int(word, 52), ""), ""), type, "");
    // Small integers become doubles through 32 bits: AVX2 has no conversion from 64.
    V e = LLVMBuildSIToFP(b, LLVMBuildTrunc(b, k, shape_like(m->i32, word), ""), type, "");
    V s = quotient(m, sub(m, f, num(x, 1)), add(m, f, num(x, 1))), z = mul(m, s, s);
    V p = POLYNOMIAL(m, z, 2.0 / 23, 2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7,
                     2.0 / 5, 2.0 / 3);
    V y = mul(m, mul(m, s, z), p);
    y = add(m, y, fma_or_mad(m, e, num(x, 1.90821492927058770002e-10), add(m, s, s)));
    y = fma_or_mad(m, e, num(x, 6.93147180369123816490e-01), y);
    return log_ends(m, x, y);
}

static V exp_f64(CpuModule *m, V x) { // 2^-40 relative, for |x| <= 700
    V n = nearest(m, mul(m, x, num(x, 1.44269504088896341)));
    V r = fma_or_mad(m, n, num(x, -6.93147180369123816490e-01), x);
    r = fma_or_mad(m, n, num(x, -1.90821492927058770002e-10), r);
    V y = POLYNOMIAL(m, r, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120,
                     1.0 / 24, 1.0 / 6, 0.5, 1, 1);
    return mul(m, y, power_of_two(m, integral(m, n), LLVMTypeOf(x)));
}

static V sin_pi(CpuModule *m, V r) { // sin(pi r), |r| <= 1/2
    V z = mul(m, r, r);
    // Taylor coefficients (-1)^k pi^(2k+1) / (2k+1)!
    double c[11], t = 3.14159265358979323846;
    for (int k = 0; k < 11; k++) {
        c[10 - k] = t;
        t *= -9.86960440108935861883 / ((2.0 * k + 2) * (2.0 * k + 3));
    }
    return mul(m, polynomial(m, z, c, 11), r);
}

static V cos_pi(CpuModule *m, V r) {
    double c[12], t = 1;
    for (int k = 0; k < 12; k++) {
        c[11 - k] = t;
        t *= -9.86960440108935861883 / ((2.0 * k + 1) * (2.0 * k + 2));
    }
    return polynomial(m, mul(m, r, r), c, 12);
}

// ---- pow
static V pow_f32(CpuModule *m, V x, V y) {
    LLVMBuilderRef b = m->builder;
    V zero = num(x, 0), one = num(x, 1), inf = num(x, __builtin_inf());
    V a = magnitude(m, x);
    V t = mul(m, widen(m, y), log_f64(m, widen(m, a)));
    V r = narrow(m, exp_f64(m, limit(m, t, -200, 200)), LLVMTypeOf(x));
    V whole = same(m, nearest(m, y), y), half = mul(m, y, num(y, 0.5));
    V odd = both(m, whole, LLVMBuildNot(b, same(m, nearest(m, half), half), ""));
    V negative = LLVMBuildICmp(b, LLVMIntSLT, LLVMBuildBitCast(b, x, words(m, x), ""), LLVMConstNull(words(m, x)), "");
    r = pick(m, both(m, negative, odd), LLVMBuildFNeg(b, r, ""), r);
    V bad = both(m, less(m, x, zero), LLVMBuildNot(b, whole, ""));
    bad = both(m, bad, LLVMBuildNot(b, same(m, a, inf), ""));
    r = pick(m, bad, num(x, __builtin_nan("")), r);
    V unit = both(m, same(m, a, one), same(m, magnitude(m, y), inf));
    unit = either(m, unit, either(m, same(m, x, one), same(m, y, zero)));
    return pick(m, unit, one, r);
}

// ---- lgamma, digamma. z = x shifted up by 8 where x < 8, by recurrence; below 1/2 by reflection.
static V lgamma_positive(CpuModule *m, V x) { // x >= 1/2, f64
    V low = less(m, x, num(x, 8));
    V product = x;
    for (int i = 1; i < 8; i++) product = mul(m, product, add(m, x, num(x, i)));
    product = pick(m, low, product, num(x, 1));
    V z = pick(m, low, add(m, x, num(x, 8)), x), w = quotient(m, num(x, 1), z), w2 = mul(m, w, w);
    V tail = POLYNOMIAL(m, w2, -691.0 / 360360, 1.0 / 1188, -1.0 / 1680, 1.0 / 1260, -1.0 / 360, 1.0 / 12);
    V l = log_f64(m, z);
    V y = fma_or_mad(m, sub(m, z, num(x, 0.5)), sub(m, l, num(x, 1)), num(x, 0.41893853320467274178));
    // (z - 1/2) log z - z + log(2 pi)/2 = (z - 1/2)(log z - 1) - 1/2 + log(2 pi)/2
    y = add(m, y, mul(m, tail, w));
    return sub(m, y, log_f64(m, product));
}

static V lgamma_any(CpuModule *m, V x) {
    V d = widen(m, x), low = less(m, d, num(d, 0.5));
    V y = lgamma_positive(m, pick(m, low, sub(m, num(d, 1), d), d));
    V r = sub(m, d, nearest(m, d));
    V s = magnitude(m, sin_pi(m, r));
    V mirrored = sub(m, log_f64(m, quotient(m, num(d, 3.14159265358979323846), s)), y);
    y = pick(m, low, mirrored, y);
    V huge = either(m, same(m, magnitude(m, d), num(d, __builtin_inf())), both(m, low, same(m, r, num(d, 0))));
    huge = either(m, huge, less(m, d, num(d, -0x1p60))); // every such number is an integer
    return narrow(m, pick(m, huge, num(d, __builtin_inf()), y), LLVMTypeOf(x));
}

static V digamma_any(CpuModule *m, V x) {
    V d = widen(m, x), one = num(d, 1), mirror = less(m, d, num(d, 0));
    V a = pick(m, mirror, sub(m, one, d), d), low = less(m, a, num(d, 8)), sum = num(d, 0);
    for (int i = 0; i < 8; i++) sum = add(m, sum, quotient(m, one, add(m, a, num(d, i))));
    V z = pick(m, low, add(m, a, num(d, 8)), a), w = quotient(m, one, z), w2 = mul(m, w, w);
    V tail = POLYNOMIAL(m, w2, -1.0 / 12, 691.0 / 32760, -1.0 / 132, 1.0 / 240, -1.0 / 252, 1.0 / 120, -1.0 / 12, 0);
    V y = add(m, fma_or_mad(m, w, num(d, -0.5), log_f64(m, z)), tail);
    y = sub(m, y, pick(m, low, sum, num(d, 0)));
    V r = sub(m, d, nearest(m, d));
    V tangent = quotient(m, sin_pi(m, r), cos_pi(m, r));
    V mirrored = sub(m, y, quotient(m, num(d, 3.14159265358979323846), tangent));
    y = pick(m, mirror, mirrored, y);
    V whole = both(m, mirror, same(m, r, num(d, 0)));
    y = pick(m, whole, num(d, __builtin_nan("")), y);
    y = pick(m, same(m, d, num(d, 0)), with_sign(m, num(d, __builtin_inf()), LLVMBuildFNeg(m->builder, d, "")), y);
    y = pick(m, same(m, d, num(d, __builtin_inf())), d, y);
    return narrow(m, y, LLVMTypeOf(x));
}

// ---- atan2, in double
static V atan2_f32(CpuModule *m, V y32, V x32) {
    LLVMBuilderRef b = m->builder;
    V y = widen(m, y32), x = widen(m, x32), ay = magnitude(m, y), ax = magnitude(m, x);
    V steep = less(m, ax, ay), low = pick(m, steep, ax, ay), high = pick(m, steep, ay, ax);
    V eighth = less(m, mul(m, high, num(x, 0.41421356237309503)), low);
    V top = pick(m, eighth, sub(m, low, high), low), bottom = pick(m, eighth, add(m, low, high), high);
    V t = quotient(m, top, bottom);
    V infinite = same(m, low, num(x, __builtin_inf()));
    t = pick(m, either(m, same(m, high, num(x, 0)), infinite), num(x, 0), t);
    V z = mul(m, t, t);
    V p = POLYNOMIAL(m, z, 8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1);
    V a = fma_or_mad(m, mul(m, p, z), t, t);
    a = add(m, a, pick(m, eighth, num(x, 0.78539816339744830962), num(x, 0)));
    a = pick(m, infinite, num(x, 0.78539816339744830962), a);
    a = pick(m, steep, sub(m, num(x, 1.57079632679489661923), a), a);
    V negative = LLVMBuildICmp(b, LLVMIntSLT, LLVMBuildBitCast(b, x, words(m, x), ""), LLVMConstNull(words(m, x)), "");
    a = pick(m, negative, sub(m, num(x, 3.14159265358979323846), a), a);
    a = with_sign(m, a, y);
    return narrow(m, pick(m, either(m, is_nan(m, x), is_nan(m, y)), num(x, __builtin_nan("")), a), LLVMTypeOf(y32));
}

// ---- sin and cos. Quadrant and remainder by double arithmetic up to 2^19; above by multiplication with the bits of
// 2/pi.
static V private_function(CpuModule *m, const char *name, LLVMTypeRef type) {
    V f = LLVMAddFunction(m->module, name, type);
    LLVMSetLinkage(f, LLVMInternalLinkage);
    module_attributes(m, f);
    LLVMPositionBuilderAtEnd(m->builder, LLVMAppendBasicBlockInContext(m->context, f, "entry"));
    return f;
}

// {f64 remainder, i32 quadrant} of a finite |x| >= 2^19 : 24 bits of mantissa times the 96 bits of 2/pi that matter.
static V large_reduction(CpuModule *m) {
    static const uint32_t two_over_pi[24] = {0xa2,       0xa2f9,     0xa2f983,   0xa2f9836e, 0xf9836e4e, 0x836e4e44,
                                             0x6e4e4415, 0x4e441529, 0x441529fc, 0x1529fc27, 0x29fc2757, 0xfc2757d1,
                                             0x2757d1f5, 0x57d1f534, 0xd1f534dd, 0xf534ddc0, 0x34ddc0db, 0xddc0db62,
                                             0xc0db6295, 0xdb629599, 0x6295993c, 0x95993c43, 0x993c4390, 0x3c439041};
    V existing = LLVMGetNamedFunction(m->module, "stm.reduce");
    if (existing) return existing;
    LLVMBuilderRef b = m->builder;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(b);
    LLVMTypeRef result = LLVMStructTypeInContext(m->context, (LLVMTypeRef[]){m->f64, m->i32}, 2, 0);
    V f = private_function(m, "stm.reduce", LLVMFunctionType(result, &m->f32, 1, 0));
    V word[24];
    for (int i = 0; i < 24; i++) word[i] = const_i32(m, (int32_t)two_over_pi[i]);
    LLVMTypeRef table_type = LLVMArrayType2(m->i32, 24);
    V table = LLVMAddGlobal(m->module, table_type, "stm.two_over_pi");
    LLVMSetInitializer(table, LLVMConstArray2(m->i32, word, 24));
    LLVMSetGlobalConstant(table, 1);
    LLVMSetLinkage(table, LLVMInternalLinkage);
    V bits = LLVMBuildBitCast(b, magnitude(m, LLVMGetParam(f, 0)), m->i32, "");
    V row = LLVMBuildAnd(b, LLVMBuildLShr(b, bits, const_i32(m, 26), ""), const_i32(m, 15), "");
    V shift = LLVMBuildAnd(b, LLVMBuildLShr(b, bits, const_i32(m, 23), ""), const_i32(m, 7), "");
    V x = LLVMBuildOr(b, LLVMBuildAnd(b, bits, const_i32(m, 0xffffff), ""), const_i32(m, 0x800000), "");
    x = LLVMBuildZExt(b, LLVMBuildShl(b, x, shift, ""), m->i64, "");
    V part[3];
    for (int i = 0; i < 3; i++) {
        V at = LLVMBuildZExt(b, LLVMBuildAdd(b, row, const_i32(m, 4 * i), ""), m->i64, "");
        V p = LLVMBuildGEP2(b, m->i32, table, &at, 1, "");
        part[i] = LLVMBuildMul(b, x, LLVMBuildZExt(b, LLVMBuildLoad2(b, m->i32, p, ""), m->i64, ""), "");
    }
    V r = LLVMBuildOr(b, LLVMBuildLShr(b, part[2], const_i64(m, 32), ""),
                      LLVMBuildShl(b, part[0], const_i64(m, 32), ""), "");
    r = LLVMBuildAdd(b, r, part[1], "");
    V n = LLVMBuildLShr(b, LLVMBuildAdd(b, r, const_i64(m, (int64_t)1 << 61), ""), const_i64(m, 62), "");
    r = LLVMBuildSub(b, r, LLVMBuildShl(b, n, const_i64(m, 62), ""), "");
    V rest = mul(m, LLVMBuildSIToFP(b, r, m->f64, ""), LLVMConstReal(m->f64, 0x1.921FB54442D18p-62));
    n = LLVMBuildTrunc(b, n, m->i32, "");
    V negative = less(m, LLVMGetParam(f, 0), LLVMConstReal(m->f32, 0));
    rest = pick(m, negative, LLVMBuildFNeg(b, rest, ""), rest);
    n = pick(m, negative, LLVMBuildNeg(b, n, ""), n);
    V out = LLVMBuildInsertValue(b, LLVMGetUndef(result), rest, 0, "");
    LLVMBuildRet(b, LLVMBuildInsertValue(b, out, n, 1, ""));
    LLVMPositionBuilderAtEnd(b, here);
    return f;
}

static V trig_f32(CpuModule *m, V x, bool cosine) {
    LLVMBuilderRef b = m->builder;
    int lanes = lanes_of(LLVMTypeOf(x));
    V reduce = large_reduction(m);
    LLVMTypeRef wide = shape_like(m->f64, LLVMTypeOf(x)), word = shape_like(m->i32, LLVMTypeOf(x));
    V inf = num(x, __builtin_inf()), a = magnitude(m, x);
    V large = both(m, LLVMBuildNot(b, less(m, a, num(x, 0x1p19)), ""), less(m, a, inf));
    V d = widen(m, pick(m, less(m, a, num(x, 0x1p19)), x, num(x, 0)));
    V q = nearest(m, mul(m, d, num(d, 0.636619772367581343076)));
    V r = fma_or_mad(m, q, num(d, -1.57079632673412561417e+00), d);
    r = fma_or_mad(m, q, num(d, -6.07710050650619224932e-11), r);
    V n = LLVMBuildFPToSI(b, q, word, "");
    V any = lanes > 1 ? intrinsic1(m, "llvm.vector.reduce.or", large) : large;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b), slow = module_block(m, "large"),
                      after = module_block(m, "reduced");
    LLVMBuildCondBr(b, any, slow, after);
    LLVMPositionBuilderAtEnd(b, slow);
    V slow_r = r, slow_n = n;
    LLVMTypeRef type = LLVMGlobalGetValueType(reduce);
    for (int i = 0; i < lanes; i++) {
        V one = extract(m, x, i), c = LLVMBuildCall2(b, type, reduce, &one, 1, "");
        V cr = LLVMBuildExtractValue(b, c, 0, ""), cn = LLVMBuildExtractValue(b, c, 1, ""), is = extract(m, large, i);
        cr = pick(m, is, cr, extract(m, r, i));
        cn = pick(m, is, cn, extract(m, n, i));
        slow_r = lanes > 1 ? LLVMBuildInsertElement(b, slow_r, cr, const_i32(m, i), "") : cr;
        slow_n = lanes > 1 ? LLVMBuildInsertElement(b, slow_n, cn, const_i32(m, i), "") : cn;
    }
    LLVMBasicBlockRef slow_end = LLVMGetInsertBlock(b);
    LLVMBuildBr(b, after);
    LLVMPositionBuilderAtEnd(b, after);
    V pr = LLVMBuildPhi(b, wide, ""), pn = LLVMBuildPhi(b, word, "");
    LLVMAddIncoming(pr, (V[]){r, slow_r}, (LLVMBasicBlockRef[]){before, slow_end}, 2);
    LLVMAddIncoming(pn, (V[]){n, slow_n}, (LLVMBasicBlockRef[]){before, slow_end}, 2);
    V f = narrow(m, pr, LLVMTypeOf(x)), z = mul(m, f, f);
    V s = POLYNOMIAL(m, z, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1);
    s = fma_or_mad(m, mul(m, s, z), f, f);
    V c = POLYNOMIAL(m, z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2);
    c = fma_or_mad(m, mul(m, c, z), z, fma_or_mad(m, z, num(x, -0.5), num(x, 1)));
    if (cosine) pn = LLVMBuildAdd(b, pn, const_int(word, 1), "");
    V odd = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, pn, const_int(word, 1), ""), LLVMConstNull(word), "");
    V flip = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, pn, const_int(word, 2), ""), LLVMConstNull(word), "");
    V y = pick(m, odd, c, s);
    y = pick(m, flip, LLVMBuildFNeg(b, y, ""), y);
    if (!cosine) y = pick(m, same(m, x, num(x, 0)), x, y); // keeps -0
    return pick(m, less(m, a, inf), y, num(x, __builtin_nan("")));
}

// ---- dispatch
static V call_private(CpuModule *m, ScalarOp op, const char *name, V a, V b) {
    LLVMTypeRef type = LLVMTypeOf(a), parameter[2] = {type, type};
    char symbol[64];
    snprintf(symbol, sizeof symbol, "stm.%s.%d.%s", name, lanes_of(type), element_of(type) == m->f64 ? "f64" : "f32");
    V f = LLVMGetNamedFunction(m->module, symbol);
    if (!f) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(m->builder);
        f = private_function(m, symbol, LLVMFunctionType(type, parameter, b ? 2 : 1, 0));
        V x = LLVMGetParam(f, 0), y = b ? LLVMGetParam(f, 1) : NULL;
        V r = op == OP_POW       ? pow_f32(m, x, y)
              : op == OP_LGAMMA  ? lgamma_any(m, x)
              : op == OP_DIGAMMA ? digamma_any(m, x)
              : op == OP_ATAN2   ? atan2_f32(m, x, y)
                                 : trig_f32(m, x, op == OP_COS);
        LLVMBuildRet(m->builder, r);
        LLVMPositionBuilderAtEnd(m->builder, here);
    }
    return LLVMBuildCall2(m->builder, LLVMGlobalGetValueType(f), f, (V[]){a, b}, b ? 2 : 1, "");
}

static V call_libm(CpuModule *m, const char *name, V a, V b) {
    LLVMTypeRef parameter[2] = {m->f64, m->f64}, type = LLVMFunctionType(m->f64, parameter, b ? 2 : 1, 0);
    V f = LLVMGetNamedFunction(m->module, name);
    if (!f) f = LLVMAddFunction(m->module, name, type);
    int lanes = lanes_of(LLVMTypeOf(a));
    V out = LLVMGetPoison(LLVMTypeOf(a));
    for (int i = 0; i < lanes; i++) {
        V arg[2] = {extract(m, a, i), b ? extract(m, b, i) : NULL};
        V r = LLVMBuildCall2(m->builder, type, f, arg, b ? 2 : 1, "");
        out = lanes > 1 ? LLVMBuildInsertElement(m->builder, out, r, const_i32(m, i), "") : r;
    }
    return out;
}

static bool constant_is(V v, double x) {
    LLVMBool lost;
    if (lanes_of(LLVMTypeOf(v)) > 1) {
        if (!LLVMIsConstant(v)) return false;
        v = LLVMGetAggregateElement(v, 0); // constants here are splats
    }
    return v && LLVMIsAConstantFP(v) && LLVMConstRealGetDouble(v, &lost) == x;
}

V math_emit(CpuModule *m, ScalarOp op, V a, V b) {
    if (op == OP_RSQRT) return quotient(m, num(a, 1), intrinsic1(m, "llvm.sqrt", a));
    if (op == OP_POW && constant_is(b, 2)) return mul(m, a, a); // correctly rounded
    if (op == OP_POW && constant_is(b, 1)) return a;
    if (op == OP_POW && constant_is(b, -1)) return quotient(m, num(a, 1), a);
    if (element_of(LLVMTypeOf(a)) == m->f64) {
        if (op == OP_DIGAMMA) return call_private(m, op, op_text[op], a, NULL);
        if (op != OP_SIGMOID) return call_libm(m, op_text[op], a, b);
        V e = call_libm(m, "exp", LLVMBuildFNeg(m->builder, a, ""), NULL);
        return quotient(m, num(a, 1), add(m, num(a, 1), e));
    }
    switch (op) {
    case OP_EXP: return exp_f32(m, a);
    case OP_EXPM1: return expm1_f32(m, a);
    case OP_LOG: return log_f32(m, a);
    case OP_LOG1P: return log1p_f32(m, a);
    case OP_TANH: return tanh_f32(m, a);
    case OP_SIGMOID: return sigmoid_f32(m, a);
    case OP_ERF: return erf_f32(m, a);
    case OP_POW:
    case OP_LGAMMA:
    case OP_DIGAMMA:
    case OP_ATAN2:
    case OP_SIN:
    case OP_COS: return call_private(m, op, op_text[op], a, b);
    default: DIE("no elementary function for %s", op_text[op]);
    }
}
