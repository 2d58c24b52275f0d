// A functor for ContractElement that reads what a ContractCopy would: address and guards of the words, one element.
#include "contract.cuh"

template <class Copy> struct TestGather {
    const ContractWords &w;
    const ContractOperand &o;
    const ContractGroup &group;
    ContractSizes size;
    const typename Copy::T *at;
    __device__ __forceinline__ typename Copy::T operator()(int b, int row, int k) const {
        int batch[4], element;
        contract_indices(w.batch, b, batch);
        const bool inside = contract_meet<Copy>(o, contract_row_place<Copy>(o, group, batch, row, row + 1),
                                                contract_k_place<Copy>(o, w.k, k, size.k), &element);
        return inside ? at[o.base + element] : typename Copy::T{};
    }
};
