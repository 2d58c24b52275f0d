// Asynchronous copies into shared memory, ldmatrix and tensor-core products (sm_80 and later), and what they do on the
// host. A warp's 32 lanes call the collective ones together: g = lane / 4, t = lane % 4 below.
#ifndef STM_MMA_CUH
#define STM_MMA_CUH

#include "prelude.cuh"

// ---- cp.async: BYTES (4, 8, 16) from global to shared, or zeros when not `inside` (then `from` is not read). Both
// sides are aligned to BYTES. Copies belong to the thread's open group; commit closes it; wait<N> returns when all but
// the newest N groups of this thread have arrived (other threads see them after a barrier).
template <int BYTES> STM_DEVICE void stm_copy_async(void *to, const void *from, bool inside) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async moves 4, 8 or 16 bytes");
#ifdef STM_HOST
    SHIM_ASYNC_COPY(to, from, BYTES, inside ? BYTES : 0);
#else
    unsigned address = (unsigned)__cvta_generic_to_shared(to);
    int source = inside ? BYTES : 0;
    if constexpr (BYTES == 16)
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(source)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(address), "l"(from), "r"(source), "n"(BYTES)
                     : "memory");
#endif
}
STM_DEVICE void stm_copy_commit() {
#ifdef STM_HOST
    SHIM_ASYNC_COMMIT();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int PENDING> STM_DEVICE void stm_copy_wait() {
#ifdef STM_HOST
    SHIM_ASYNC_WAIT(PENDING);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

// ---- ldmatrix: four 8x8 matrices of 16-bit elements; lane 8 * j + r gives the address of row r of matrix j (16 bytes,
// aligned). out[j] holds elements (g, 2t) and (g, 2t + 1) of matrix j; transposed: (2t, g) and (2t + 1, g).
template <bool TRANSPOSED> STM_DEVICE void stm_load_matrix4(unsigned out[4], const void *row) {
#ifdef STM_HOST
    const unsigned char *all[32];
    SHIM_WARP_EXCHANGE(&row, sizeof row, all);
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (int j = 0; j < 4; j++) {
        unsigned short low, high;
        if (TRANSPOSED) {
            low = *reinterpret_cast<const unsigned short *>(all[8 * j + 2 * t] + 2 * g);
            high = *reinterpret_cast<const unsigned short *>(all[8 * j + 2 * t + 1] + 2 * g);
        } else {
            low = *reinterpret_cast<const unsigned short *>(all[8 * j + g] + 4 * t);
            high = *reinterpret_cast<const unsigned short *>(all[8 * j + g] + 4 * t + 2);
        }
        out[j] = low | (unsigned)high << 16;
    }
#else
    unsigned address = (unsigned)__cvta_generic_to_shared(row);
    if constexpr (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                     : "r"(address)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                     : "r"(address)
                     : "memory");
#endif
}

// ---- mma: c += a * b with f32 accumulation. c[0..3] are (g, 2t) (g, 2t + 1) (g + 8, 2t) (g + 8, 2t + 1) of 16 x 8.
//
// tf32, k = 8: a[0..3] are (m, k) = (g, t) (g + 8, t) (g, t + 4) (g + 8, t + 4); b[0..1] are (k, n) = (t, g) (t + 4,
// g). Operands went through stm_tf32, which rounds; the hardware itself drops the low 13 bits.
STM_DEVICE unsigned stm_tf32(float x) {
#ifdef STM_HOST
    return __float_as_uint(shim_round_tf32(x));
#else
    unsigned y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
#endif
}
STM_DEVICE void stm_mma_tf32(float c[4], const unsigned a[4], const unsigned b[2]) {
#ifdef STM_HOST
    struct Lane {
        unsigned a[4], b[2];
    } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, all[32];
    SHIM_WARP_EXCHANGE(&mine, sizeof mine, all);
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 8; k++) {
            unsigned x = all[4 * g + k % 4].a[i / 2 + k / 4 * 2], y = all[4 * (2 * t + i % 2) + k % 4].b[k / 4];
            c[i] += __uint_as_float(x & ~0x1fffu) * __uint_as_float(y & ~0x1fffu);
        }
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// bf16, k = 16, two elements a register, the lower k in the lower half: a[0..3] hold k = 2t, 2t + 1 of rows g and g +
// 8, then k = 2t + 8, 2t + 9 of the same; b[0..1] hold k = 2t, 2t + 1 and k = 2t + 8, 2t + 9 of column g.
STM_DEVICE void stm_mma_bf16(float c[4], const unsigned a[4], const unsigned b[2]) {
#ifdef STM_HOST
    struct Lane {
        unsigned a[4], b[2];
    } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, all[32];
    SHIM_WARP_EXCHANGE(&mine, sizeof mine, all);
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 16; k++) {
            unsigned x = all[4 * g + k % 8 / 2].a[i / 2 + k / 8 * 2], y = all[4 * (2 * t + i % 2) + k % 8 / 2].b[k / 8];
            c[i] += (k % 2 ? stm_bf16_high(x) : stm_bf16_low(x)) * (k % 2 ? stm_bf16_high(y) : stm_bf16_low(y));
        }
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

#endif
