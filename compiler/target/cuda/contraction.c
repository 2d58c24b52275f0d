// Who does a contraction: cuBLASLt where it is a plain product with one of the library's epilogues, otherwise an
// instance of kernels/contract.cuh. See contraction.h.
#include "target/cuda/contraction.h"

const ContractionPolicy contraction_default = {.matmul = true, .pack_flops = 1 << 22, .tile = -1};

const char *contraction_lower(CudaUnit *unit, const Kernel *k, const ContractionPolicy *policy, KernelCode *out,
                              const char **why) {
    const char *library = NULL;
    *why = NULL;
    Contraction *c = contraction_analyse(unit, k, why);
    if (!c) return NULL;
    c->policy = policy;
    if (policy->matmul && contraction_matmul(c, out, &library)) return NULL;
    if (c->gradient >= 0) *why = "an instance does not sum an operand";
    else contraction_instance(c, out, why);
    return NULL;
}

bool cuda_takes_bias_gradient(void *unit, const Kernel *k) {
    const char *why = NULL;
    KernelCode code;
    Contraction *c = contraction_analyse(unit, k, &why);
    if (!c) return false;
    c->policy = &contraction_default;
    return contraction_matmul(c, &code, &why);
}

const char *cuda_lower_contraction(CudaUnit *unit, const Kernel *k, KernelCode *out, const char **why) {
    return contraction_lower(unit, k, &contraction_default, out, why);
}
