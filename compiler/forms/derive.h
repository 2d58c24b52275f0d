// Kernels made from a kernel before its loops are planned: the same meaning in a form that loops can run well.
#ifndef STMC_DERIVE_H
#define STMC_DERIVE_H

#include "forms/kernels.h"

// Free variables that all stages share become outer ones, so that they can be cut into parts and their locals become
// registers. Returns k itself where that would change its meaning.
const Kernel *derive_outer(Arena *arena, const Kernel *k);
// Locals with dynamic dimensions become buffers (appended) with the outer variables as leading dimensions, and the
// largest others too until those that are left have at most `elements` elements together.
const Kernel *derive_buffers(Arena *arena, const Kernel *k, int64_t elements);
// `stages` (bits) reduce and read nothing that the kernel writes: *partial computes them for each of `chunks` pieces,
// numbered by its outer variable 0, into appended buffers, *rest combines the pieces in order and runs all stages.
// Which elements are in a piece is the emitter's choice.
void derive_split(Arena *arena, const Kernel *k, uint64_t stages, int chunks, Kernel **partial, Kernel **rest);
// Cuts k before stage `at`: *head runs the stages before it, *rest the others, in phases of their own. Locals that cross
// become buffers (appended to both). False: one of them would have too many dimensions.
bool derive_cut(Arena *arena, const Kernel *k, int at, Kernel **head, Kernel **rest);

#endif
