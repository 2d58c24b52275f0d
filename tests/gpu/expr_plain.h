// Kernels as the plainest CUDA C: one thread runs all iterations through scopes of compiler/target/cuda/expr.h, with
// the lanes of a vector along any variable. What expr_test compiles for the host, for sm_80, and compares.
#ifndef STMC_TESTS_EXPR_PLAIN_H
#define STMC_TESTS_EXPR_PLAIN_H

#include "target/cuda/expr.h"

enum { PLAIN_EXTENTS = 4 }; // e0 .. e3 are parameters: axes, then step extents

// A kernel function NAME(buffers, e0 .. e3, outside) and, for the host, `call_NAME(void **buffer, const int *extent,
// unsigned *outside)`. The vector goes along `vector` (a kernel variable, or -1) if plain_vectors says that it can.
// NULL, or why the kernel cannot be analysed.
const char *plain_function(Text *out, const Program *p, const Kernel *k, const char *name, int vector, int width);

// Can this variable be the vector: not merged away, a whole number of widths, no thread arrays around it?
bool plain_vectors(Arena *arena, const Program *p, const Kernel *k, int var, int width);

#endif
