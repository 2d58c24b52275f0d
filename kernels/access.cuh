// Wide loads and stores of expressions: N neighbours as one transfer, or as several of 16 bytes. The address is a
// multiple of N elements, or of 16 bytes where that is less.
#ifndef STM_ACCESS_CUH
#define STM_ACCESS_CUH

template <class T, int N> struct __align__(sizeof(T) * N < 16 ? sizeof(T) * N : 16) stm_vec {
    T v[N];
};
template <int N, class T> STM_DEVICE stm_vec<T, N> stm_load(const T *at) {
    return *reinterpret_cast<const stm_vec<T, N> *>(at);
}
template <int N, class T> STM_DEVICE stm_vec<T, N> stm_load_if(bool inside, const T *at) { // zeros otherwise
    stm_vec<T, N> x = {};
    if (inside) x = *reinterpret_cast<const stm_vec<T, N> *>(at);
    return x;
}

template <class T, class V> STM_DEVICE void stm_store(T *at, V a, V b) {
    stm_vec<T, 2> x;
    x.v[0] = (T)a, x.v[1] = (T)b;
    *reinterpret_cast<stm_vec<T, 2> *>(at) = x;
}
template <class T, class V> STM_DEVICE void stm_store(T *at, V a, V b, V c, V d) {
    stm_vec<T, 4> x;
    x.v[0] = (T)a, x.v[1] = (T)b, x.v[2] = (T)c, x.v[3] = (T)d;
    *reinterpret_cast<stm_vec<T, 4> *>(at) = x;
}
template <class T, class V> STM_DEVICE void stm_store(T *at, V a, V b, V c, V d, V e, V f, V g, V h) {
    stm_vec<T, 8> x;
    x.v[0] = (T)a, x.v[1] = (T)b, x.v[2] = (T)c, x.v[3] = (T)d;
    x.v[4] = (T)e, x.v[5] = (T)f, x.v[6] = (T)g, x.v[7] = (T)h;
    *reinterpret_cast<stm_vec<T, 8> *>(at) = x;
}
STM_DEVICE void stm_store(stm_bf16 *at, float a, float b) { *reinterpret_cast<unsigned *>(at) = stm_bf16_pair(a, b); }
STM_DEVICE void stm_store(stm_bf16 *at, float a, float b, float c, float d) {
    *reinterpret_cast<uint2 *>(at) = make_uint2(stm_bf16_pair(a, b), stm_bf16_pair(c, d));
}
STM_DEVICE void stm_store(stm_bf16 *at, float a, float b, float c, float d, float e, float f, float g, float h) {
    *reinterpret_cast<uint4 *>(at) =
        make_uint4(stm_bf16_pair(a, b), stm_bf16_pair(c, d), stm_bf16_pair(e, f), stm_bf16_pair(g, h));
}

#endif
