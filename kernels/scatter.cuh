// Help for scatters by rows (compiler/target/cuda/scatter.c).
#ifndef STM_SCATTER_CUH
#define STM_SCATTER_CUH

// Number of the lowest bit; bits is not 0.
STM_DEVICE int stm_lowest(unsigned bits) {
#ifdef STM_HOST
    return __builtin_ctz(bits);
#else
    return __ffs((int)bits) - 1;
#endif
}

#endif
