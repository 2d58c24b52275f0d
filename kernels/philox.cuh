// Philox4x32-10 (Salmon et al., SC 2011): the first word of the counter {index low, index high, place, step} under the
// key {seed, 0x53544D43}, as on every target; its upper 24 bits are the number.
#ifndef STM_PHILOX_CUH
#define STM_PHILOX_CUH

STM_DEVICE unsigned long long stm_multiply_wide(unsigned a, unsigned b) {
#ifdef STM_HOST
    return (unsigned long long)a * b;
#else
    unsigned long long y; // written as a product of 64-bit numbers it is three multiplications
    asm("mul.wide.u32 %0, %1, %2;" : "=l"(y) : "r"(a), "r"(b));
    return y;
#endif
}

STM_DEVICE unsigned stm_philox(unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned k0, unsigned k1) {
    for (int round = 0; round < 10; round++) {
        unsigned long long a = stm_multiply_wide(c0, 0xD2511F53u), b = stm_multiply_wide(c2, 0xCD9E8D57u);
        c0 = (unsigned)(b >> 32) ^ c1 ^ k0;
        c2 = (unsigned)(a >> 32) ^ c3 ^ k1;
        c1 = (unsigned)b;
        c3 = (unsigned)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c0;
}

// Uniform in [0, 1). `index`: row-major number of the element.
template <class Real> STM_DEVICE Real stm_random(long long index, unsigned place, unsigned seed, unsigned step) {
    unsigned long long n = (unsigned long long)index;
    unsigned word = stm_philox((unsigned)n, (unsigned)(n >> 32), place, step, seed, 0x53544D43u);
    return (Real)(int)(word >> 8) * (Real)5.9604644775390625e-8; // 2^-24
}

#endif
