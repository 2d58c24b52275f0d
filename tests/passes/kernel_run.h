// The reference runner of kernels and plans, slow and plain, in f64: what the tests of fusion and planning compare with
// job_evaluate. Programs must have real64 set, so that reals take eight bytes and nothing is rounded.
//
// plan_run keeps every arena in memory of the planned size at the planned offsets and fills it with a pattern first, so
// that overlapping lives, unwritten results and reads outside of the plan show as wrong numbers or as an error.
#ifndef STMC_TESTS_KERNEL_RUN_H
#define STMC_TESTS_KERNEL_RUN_H

#include "pass/pass.h"

// Runs all outer iterations of a kernel, backwards when `backwards`. NULL or what is wrong with the kernel: a read
// outside of a dimension that is not marked guarded, a local that is read before it is written.
const char *kernel_run(Arena *arena, const Program *p, const Kernel *k, void *const *buffer, const int64_t *extent,
                       bool backwards);

// Values of the runtime's own tensors come from and go to `values` (one double per element, row-major); outputs are
// written there too. `code` must be plain_code's.
const char *plan_run(Arena *arena, const KernelProgram *k, const StmPlan *plan, int job, Values *values,
                     const int64_t *axis_value, bool backwards);

// Code of kernels that run as one part in two phases: the first one only fills a workspace, the second one computes.
KernelCode *plain_code(Arena *arena, const KernelProgram *k);

#endif
