// Kernels made from a kernel before its loops are planned: the same meaning in a form that loops can run well.
#ifndef STMC_DERIVE_H
#define STMC_DERIVE_H

#include "forms/kernels.h"

// Free variables that all stages share become outer ones, so that they can be cut into parts and their locals become
// registers. Returns k itself where that would change its meaning.
const Kernel *derive_outer(Arena *arena, const Kernel *k);
// Locals with dynamic dimensions become buffers (appended) with the outer variables as leading dimensions.
const Kernel *derive_buffers(Arena *arena, const Kernel *k);
// The first `stages` stages reduce over `var` among others: *partial computes them for each of `chunks` pieces of var
// into appended buffers, *rest combines the pieces in order and runs the remaining stages.
void derive_split(Arena *arena, const Kernel *k, int stages, int var, int chunks, Kernel **partial, Kernel **rest);

#endif
