// resample_axis: see resample_axis.h.
#include "resample_axis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

enum { PRECISION = 32 - 8 - 2, LOW_BITS = 11 };

static const double pi = 3.14159265358979323846;

static double sinc(double x) {
    return x == 0.0 ? 1.0 : sin(x * pi) / (x * pi);
}

// Each written as in Pillow, operation by operation: the weights are rounded, so the order counts.
static double filter_value(ResampleFilter filter, double x) {
    const double a = -0.5;
    switch (filter) {
    case RESAMPLE_BOX: return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    case RESAMPLE_BILINEAR: x = fabs(x); return x < 1.0 ? 1.0 - x : 0.0;
    case RESAMPLE_BICUBIC:
        x = fabs(x);
        if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
        return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
    case RESAMPLE_LANCZOS: return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
    }
    return 0.0;
}

static double filter_support(ResampleFilter filter) {
    switch (filter) {
    case RESAMPLE_BOX: return 0.5;
    case RESAMPLE_BILINEAR: return 1.0;
    case RESAMPLE_BICUBIC: return 2.0;
    case RESAMPLE_LANCZOS: return 3.0;
    }
    return 0.0;
}

void axis_free(Axis *axis) {
    free(axis->first);
    free(axis->taps);
    free(axis->high);
    free(axis->low);
    *axis = (Axis){0};
}

static void set_weights(Axis *axis, size_t i, const double *exact, size_t taps, double sum) {
    int16_t *high = axis->high + i * axis->padded, *low = axis->low + i * axis->padded;
    for (size_t k = 0; k < taps; k++) {
        double weight = sum != 0.0 ? exact[k] / sum : exact[k];
        int32_t fixed = (int32_t)(weight < 0 ? -0.5 + weight * (1 << PRECISION) : 0.5 + weight * (1 << PRECISION));
        high[k] = (int16_t)(fixed >> LOW_BITS);
        low[k] = (int16_t)(fixed & ((1 << LOW_BITS) - 1));
    }
}

Status axis_create(size_t in, float from, float to, size_t out, ResampleFilter filter, Axis *axis) {
    double scale = (double)(to - from) / (double)out, stretch = scale < 1.0 ? 1.0 : scale;
    double support = filter_support(filter) * stretch, inverse = 1.0 / stretch;
    size_t widest = (size_t)ceil(support) * 2 + 1, padded = (widest + 3) / 4 * 4;
    *axis = (Axis){.in = in, .out = out, .widest = widest, .padded = padded, .from = in};
    axis->identity = in == out && from == 0.0f && to == (float)in;
    bool fits = padded <= SIZE_MAX / 8 / out;
    axis->first = calloc(out, sizeof *axis->first);
    axis->taps = calloc(out, sizeof *axis->taps);
    axis->high = fits ? calloc(out * padded, sizeof *axis->high) : NULL;
    axis->low = fits ? calloc(out * padded, sizeof *axis->low) : NULL;
    double *exact = calloc(widest, sizeof *exact);
    if (!axis->first || !axis->taps || !axis->high || !axis->low || !exact) {
        axis_free(axis);
        free(exact);
        return status_make(STATUS_NO_MEMORY, "no memory to scale %zu pixels to %zu", in, out);
    }
    for (size_t i = 0; i < out; i++) {
        double centre = (double)from + ((double)i + 0.5) * scale, sum = 0.0;
        // Truncation towards zero and the clamps are part of the definition.
        long long first = (long long)(centre - support + 0.5), end = (long long)(centre + support + 0.5);
        if (first < 0) first = 0;
        if (end > (long long)in) end = (long long)in;
        size_t taps = end > first ? (size_t)(end - first) : 0;
        for (size_t k = 0; k < taps; k++) {
            exact[k] = filter_value(filter, ((double)k + (double)first - centre + 0.5) * inverse);
            sum += exact[k];
        }
        axis->first[i] = (size_t)first;
        axis->taps[i] = taps;
        if (taps && axis->first[i] < axis->from) axis->from = axis->first[i];
        if (axis->first[i] + taps > axis->to) axis->to = axis->first[i] + taps;
        set_weights(axis, i, exact, taps, sum);
    }
    free(exact);
    return STATUS_OK;
}

#if defined(__SSE2__)

// Two neighbouring 16-bit weights in every 32-bit lane.
static __m128i pair_of(const int16_t *weights) {
    int32_t both;
    memcpy(&both, weights, sizeof both);
    return _mm_set1_epi32(both);
}

static __m128i finish(__m128i high, __m128i low) {
    __m128i sum = _mm_add_epi32(_mm_slli_epi32(high, LOW_BITS), low);
    return _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(1 << (PRECISION - 1))), PRECISION);
}

// Of four packed pixels in either half of the register, r0 r1 g0 g1 b0 b1 or the same of pixels 2 and 3.
__attribute__((target("avx2"))) static __m256i spread(__m256i packed, bool last_two) {
    const __m128i first = _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    const __m128i last = _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    return _mm256_shuffle_epi8(packed, _mm256_broadcastsi128_si256(last_two ? last : first));
}

// Weights 0 to 3 of two windows; then the first or last two of either in every lane of its half.
__attribute__((target("avx2"))) static __m256i weights_of(const int16_t *one, const int16_t *other) {
    int64_t a, b;
    memcpy(&a, one, sizeof a);
    memcpy(&b, other, sizeof b);
    return _mm256_castsi128_si256(_mm_set_epi64x(b, a));
}

__attribute__((target("avx2"))) static __m256i every(__m256i weights, int pair) {
    return _mm256_permutevar8x32_epi32(
        weights, _mm256_setr_epi32(pair, pair, pair, pair, 2 + pair, 2 + pair, 2 + pair, 2 + pair));
}

__attribute__((target("avx2"))) static __m256i finish_avx2(__m256i high, __m256i low) {
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, LOW_BITS), low);
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << (PRECISION - 1))), PRECISION);
}

// Windows i and j of a row, each in its half of the register, four pixels a step; their pixels in the first four bytes
// of either half. Reads up to 16 bytes behind the last tap of the longer window.
__attribute__((target("avx2"))) static inline __m256i two_windows(const Axis *axis, const uint8_t *row, size_t i,
                                                                  size_t j) {
    size_t taps = axis->taps[i] > axis->taps[j] ? axis->taps[i] : axis->taps[j];
    const int16_t *high_i = axis->high + i * axis->padded, *high_j = axis->high + j * axis->padded;
    const int16_t *low_i = axis->low + i * axis->padded, *low_j = axis->low + j * axis->padded;
    const uint8_t *from_i = row + axis->first[i] * 3, *from_j = row + axis->first[j] * 3;
    __m256i sum_high = _mm256_setzero_si256(), sum_low = sum_high;
    for (size_t k = 0; k < taps; k += 4) {
        __m256i packed = _mm256_loadu2_m128i((const __m128i *)(const void *)(from_j + 3 * k),
                                             (const __m128i *)(const void *)(from_i + 3 * k));
        __m256i high = weights_of(high_i + k, high_j + k), low = weights_of(low_i + k, low_j + k);
        __m256i a = spread(packed, false), b = spread(packed, true);
        sum_high = _mm256_add_epi32(sum_high, _mm256_madd_epi16(a, every(high, 0)));
        sum_low = _mm256_add_epi32(sum_low, _mm256_madd_epi16(a, every(low, 0)));
        sum_high = _mm256_add_epi32(sum_high, _mm256_madd_epi16(b, every(high, 1)));
        sum_low = _mm256_add_epi32(sum_low, _mm256_madd_epi16(b, every(low, 1)));
    }
    __m256i sum = finish_avx2(sum_high, sum_low);
    sum = _mm256_packs_epi32(sum, sum);
    return _mm256_packus_epi16(sum, sum);
}

// With AVX2 two windows at a time. The row is copied to where reading behind its end is allowed.
__attribute__((target("avx2"))) static void scale_row_avx2(const Axis *shared, const uint8_t *in, uint8_t *copy,
                                                           uint8_t *out) {
    const Axis axis = *shared; // bytes written to `out` might be any of its fields
    memcpy(copy + axis.from * 3, in + axis.from * 3, (axis.to - axis.from) * 3);
    memset(copy + axis.to * 3, 0, 16);
    size_t i = 0;
    for (; i + 2 < axis.out; i += 2) {
        __m256i pixels = two_windows(&axis, copy, i, i + 1);
        int32_t one = _mm_cvtsi128_si32(_mm256_castsi256_si128(pixels));
        int32_t other = _mm_cvtsi128_si32(_mm256_extracti128_si256(pixels, 1));
        memcpy(out + 3 * i, &one, 4); // the fourth byte is overwritten by the next pixel
        memcpy(out + 3 * i + 3, &other, 4);
    }
    for (; i < axis.out; i++) {
        int32_t one = _mm_cvtsi128_si32(_mm256_castsi256_si128(two_windows(&axis, copy, i, i)));
        memcpy(out + 3 * i, &one, 3);
    }
}

// The same with SSE2, from pixels widened to four bytes.
static void scale_row_sse2(const Axis *axis, const uint8_t *in, uint8_t *wide, uint8_t *out) {
    const __m128i zero = _mm_setzero_si128();
    for (size_t x = axis->from; x < axis->to; x++) {
        wide[4 * x] = in[3 * x];
        wide[4 * x + 1] = in[3 * x + 1];
        wide[4 * x + 2] = in[3 * x + 2];
        wide[4 * x + 3] = 0;
    }
    memset(wide + 4 * axis->to, 0, 16);
    for (size_t i = 0; i < axis->out; i++, out += 3) {
        const int16_t *high = axis->high + i * axis->padded, *low = axis->low + i * axis->padded;
        const uint8_t *from = wide + axis->first[i] * 4;
        __m128i sum_high = zero, sum_low = zero;
        for (size_t k = 0; k < axis->taps[i]; k += 4) {
            __m128i p = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(from + 4 * k)), 0xD8);
            p = _mm_unpacklo_epi8(p, _mm_srli_si128(p, 8)); // (0, 1) and (2, 3) interleaved
            __m128i a = _mm_unpacklo_epi8(p, zero), b = _mm_unpackhi_epi8(p, zero);
            sum_high = _mm_add_epi32(sum_high, _mm_madd_epi16(a, pair_of(high + k)));
            sum_low = _mm_add_epi32(sum_low, _mm_madd_epi16(a, pair_of(low + k)));
            sum_high = _mm_add_epi32(sum_high, _mm_madd_epi16(b, pair_of(high + k + 2)));
            sum_low = _mm_add_epi32(sum_low, _mm_madd_epi16(b, pair_of(low + k + 2)));
        }
        __m128i value = _mm_packs_epi32(finish(sum_high, sum_low), zero);
        int32_t pixel = _mm_cvtsi128_si32(_mm_packus_epi16(value, zero));
        memcpy(out, &pixel, 3);
    }
}

void axis_scale_row(const Axis *axis, const uint8_t *in, uint8_t *wide, uint8_t *out) {
    if (axis->identity) memcpy(out, in, axis->out * 3);
    else if (__builtin_cpu_supports("avx2")) scale_row_avx2(axis, in, wide, out);
    else scale_row_sse2(axis, in, wide, out);
}

// Thirty-two bytes at a time, two rows at a time.
__attribute__((target("avx2"))) static void blend_32(const int16_t *high, const int16_t *low, size_t taps,
                                                     const uint8_t *const *rows, size_t at, uint8_t *out) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i h0 = zero, h1 = zero, h2 = zero, h3 = zero, l0 = zero, l1 = zero, l2 = zero, l3 = zero;
    for (size_t k = 0; k < taps; k += 2) {
        int32_t both_high, both_low;
        memcpy(&both_high, high + k, sizeof both_high);
        memcpy(&both_low, low + k, sizeof both_low);
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(rows[k] + at));
        __m256i b = k + 1 < taps ? _mm256_loadu_si256((const __m256i *)(const void *)(rows[k + 1] + at)) : zero;
        __m256i near = _mm256_unpacklo_epi8(a, b), far = _mm256_unpackhi_epi8(a, b);
        __m256i p0 = _mm256_unpacklo_epi8(near, zero), p1 = _mm256_unpackhi_epi8(near, zero);
        __m256i p2 = _mm256_unpacklo_epi8(far, zero), p3 = _mm256_unpackhi_epi8(far, zero);
        __m256i wh = _mm256_set1_epi32(both_high), wl = _mm256_set1_epi32(both_low);
        h0 = _mm256_add_epi32(h0, _mm256_madd_epi16(p0, wh));
        h1 = _mm256_add_epi32(h1, _mm256_madd_epi16(p1, wh));
        h2 = _mm256_add_epi32(h2, _mm256_madd_epi16(p2, wh));
        h3 = _mm256_add_epi32(h3, _mm256_madd_epi16(p3, wh));
        l0 = _mm256_add_epi32(l0, _mm256_madd_epi16(p0, wl));
        l1 = _mm256_add_epi32(l1, _mm256_madd_epi16(p1, wl));
        l2 = _mm256_add_epi32(l2, _mm256_madd_epi16(p2, wl));
        l3 = _mm256_add_epi32(l3, _mm256_madd_epi16(p3, wl));
    }
    __m256i first = _mm256_packs_epi32(finish_avx2(h0, l0), finish_avx2(h1, l1));
    __m256i second = _mm256_packs_epi32(finish_avx2(h2, l2), finish_avx2(h3, l3));
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_packus_epi16(first, second));
}

__attribute__((target("avx2"))) static size_t blend_avx2(const int16_t *high, const int16_t *low, size_t taps,
                                                         const uint8_t *const *rows, size_t bytes, uint8_t *out) {
    size_t at = 0;
    for (; at + 32 <= bytes; at += 32) blend_32(high, low, taps, rows, at, out + at);
    return at;
}

// Sixteen bytes at a time, two rows at a time.
static void blend_16(const int16_t *high, const int16_t *low, size_t taps, const uint8_t *const *rows, size_t at,
                     uint8_t *out) {
    const __m128i zero = _mm_setzero_si128();
    __m128i h0 = zero, h1 = zero, h2 = zero, h3 = zero, l0 = zero, l1 = zero, l2 = zero, l3 = zero;
    for (size_t k = 0; k < taps; k += 2) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(rows[k] + at));
        __m128i b = k + 1 < taps ? _mm_loadu_si128((const __m128i *)(const void *)(rows[k + 1] + at)) : zero;
        __m128i near = _mm_unpacklo_epi8(a, b), far = _mm_unpackhi_epi8(a, b);
        __m128i p0 = _mm_unpacklo_epi8(near, zero), p1 = _mm_unpackhi_epi8(near, zero);
        __m128i p2 = _mm_unpacklo_epi8(far, zero), p3 = _mm_unpackhi_epi8(far, zero);
        __m128i wh = pair_of(high + k), wl = pair_of(low + k);
        h0 = _mm_add_epi32(h0, _mm_madd_epi16(p0, wh));
        h1 = _mm_add_epi32(h1, _mm_madd_epi16(p1, wh));
        h2 = _mm_add_epi32(h2, _mm_madd_epi16(p2, wh));
        h3 = _mm_add_epi32(h3, _mm_madd_epi16(p3, wh));
        l0 = _mm_add_epi32(l0, _mm_madd_epi16(p0, wl));
        l1 = _mm_add_epi32(l1, _mm_madd_epi16(p1, wl));
        l2 = _mm_add_epi32(l2, _mm_madd_epi16(p2, wl));
        l3 = _mm_add_epi32(l3, _mm_madd_epi16(p3, wl));
    }
    __m128i first = _mm_packs_epi32(finish(h0, l0), finish(h1, l1));
    __m128i second = _mm_packs_epi32(finish(h2, l2), finish(h3, l3));
    _mm_storeu_si128((__m128i *)(void *)out, _mm_packus_epi16(first, second));
}

#else

void axis_scale_row(const Axis *axis, const uint8_t *in, uint8_t *wide, uint8_t *out) {
    (void)wide;
    for (size_t i = 0; i < axis->out; i++, out += 3) {
        const int16_t *high = axis->high + i * axis->padded, *low = axis->low + i * axis->padded;
        const uint8_t *from = in + axis->first[i] * 3;
        for (size_t c = 0; c < 3; c++) {
            int32_t sum = 1 << (PRECISION - 1);
            for (size_t k = 0; k < axis->taps[i]; k++) sum += from[3 * k + c] * (high[k] * (1 << LOW_BITS) + low[k]);
            sum >>= PRECISION;
            out[c] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
        }
    }
}

#endif

static void blend_1(const int16_t *high, const int16_t *low, size_t taps, const uint8_t *const *rows, size_t at,
                    uint8_t *out) {
    int32_t sum = 1 << (PRECISION - 1);
    for (size_t k = 0; k < taps; k++) sum += rows[k][at] * (high[k] * (1 << LOW_BITS) + low[k]);
    sum >>= PRECISION;
    *out = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

void axis_blend_rows(const Axis *axis, size_t i, const uint8_t *const *rows, size_t bytes, uint8_t *out) {
    const int16_t *high = axis->high + i * axis->padded, *low = axis->low + i * axis->padded;
    size_t at = 0, taps = axis->taps[i];
    if (axis->identity) {
        memcpy(out, rows[i - axis->first[i]], bytes);
        return;
    }
#if defined(__SSE2__)
    if (__builtin_cpu_supports("avx2")) at = blend_avx2(high, low, taps, rows, bytes, out);
    for (; at + 16 <= bytes; at += 16) blend_16(high, low, taps, rows, at, out + at);
#endif
    for (; at < bytes; at++) blend_1(high, low, taps, rows, at, out + at);
}
