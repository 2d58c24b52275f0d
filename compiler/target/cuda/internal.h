// Between the files of the CUDA target: who lowers what.
#ifndef STMC_TARGET_CUDA_INTERNAL_H
#define STMC_TARGET_CUDA_INTERNAL_H

#include "target/cuda/cuda.h"

// Any kernel (loops.c, group.c, scatter.c).
const char *cuda_lower_loops(CudaUnit *unit, const Kernel *k, bool table, KernelCode *out);

// A contraction as a matmul of cuBLASLt, or as an instance of kernels/contract.cuh (contraction.c, matmul.c).
// *why is set to the reason when neither fits; the kernel then runs as loops.
const char *cuda_lower_contraction(CudaUnit *unit, const Kernel *k, KernelCode *out, const char **why);

// Adds a workspace with the size of this buffer to the code; its argument number (~index) goes to *arg.
const char *cuda_workspace(CudaUnit *unit, KernelCode *code, const KernelBuffer *b, int *arg);

#endif
