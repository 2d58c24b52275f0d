// Batches of calls (spec/cuda.md): which row of the table a block works for.
#ifndef STM_TABLE_CUH
#define STM_TABLE_CUH

// Rows of WORDS words, the first of which is the number of the call's first block; ascending, the first is 0.
template <int WORDS> STM_DEVICE const unsigned long long *stm_table_row(const unsigned long long *table, int calls) {
    int low = 0, high = calls; // the row is in [low, high)
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (table[(long long)middle * WORDS] <= blockIdx.x) low = middle;
        else high = middle;
    }
    return table + (long long)low * WORDS;
}

#endif
