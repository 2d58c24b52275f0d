// Elementary functions as IR, on scalars or vectors. f32: own polynomials, error bounds in docs/numerics.md, tested by
// tests/passes/math_ulp.c. f64 (finite-difference testing only): libm, lane by lane.
#ifndef STMC_TARGET_CPU_MATH_H
#define STMC_TARGET_CPU_MATH_H

#include "target/cpu/module.h"

// POW RSQRT EXP EXPM1 LOG LOG1P SIN COS TANH SIGMOID ERF LGAMMA DIGAMMA ATAN2; b is NULL for one argument.
LLVMValueRef math_emit(CpuModule *m, ScalarOp op, LLVMValueRef a, LLVMValueRef b);

#endif
