// Philox4x32-10 as IR: uniform numbers that depend on seed, step, place and element alone.
#ifndef STMC_TARGET_CPU_RANDOM_H
#define STMC_TARGET_CPU_RANDOM_H

#include "target/cpu/module.h"

// u = (word0 >> 8) * 2^-24 of counter {index low, index high, place, step} under key {seed, 0x53544D43}.
// index: i64, scalar or vector; place, seed, step: i32 scalars. The result is real, shaped like index.
LLVMValueRef random_emit(CpuModule *m, LLVMValueRef index, LLVMValueRef place, LLVMValueRef seed, LLVMValueRef step);

#endif
