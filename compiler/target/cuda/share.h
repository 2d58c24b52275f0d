// Functions that differ in numbers alone become one. Layers of a network repeat with other extents; their functions are
// the same text but for strides, counts and constants, and compiling text is what costs.
#ifndef STMC_TARGET_CUDA_SHARE_H
#define STMC_TARGET_CUDA_SHARE_H

#include "target/cuda/cuda.h"

// To be called once, when all kernels are lowered: rewrites the unit's functions and the launches of code[0..count).
// Launches that have words already stay as they are. `all` makes words of every number, for tests. The
// numbers become words of the launch (spec/cuda.md), equal ones one word; results keep their bits.
void cuda_share(CudaUnit *unit, KernelCode *code, int count, bool all);

#endif
