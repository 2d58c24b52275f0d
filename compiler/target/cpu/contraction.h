// Kernels of kind KERNEL_CONTRACTION in the terms of contract.h: which factors make which operand, how coordinates come
// from variables, and the callbacks that evaluate operands and the epilogue with the emitters of loop kernels.
#ifndef STMC_TARGET_CPU_CONTRACTION_H
#define STMC_TARGET_CPU_CONTRACTION_H

#include "target/cpu/contract.h"
#include "target/cpu/loops.h"

typedef struct ContractionOperand {
    const Expr *value;          // over kernel variables
    int var[CONTRACT_MAX_DIMS]; // variable that holds coordinate d while the value is evaluated
} ContractionOperand;

typedef struct Contraction {
    const Kernel *kernel; // rewritten: windows of operands are variables of their own
    LoopPlan loops;       // for strides, arguments and expressions; its loops are not used
    ContractionOperand operand[2];
    double scale;
    int index_var[CONTRACT_MAX_INDICES];
    ContractPlan plan[CPU_LEVELS]; // phases, parts, scratch and workspaces are the same in all
} Contraction;

// NULL when this kernel is better (or only) run as loops; *why then says what stood against it.
Contraction *contraction_plan(Arena *arena, const Program *p, const Kernel *k, const CpuOptions *options,
                              const char **why);
// Emits all phases under their names; NULL or an error.
const char *contraction_emit(CpuModule *m, Arena *arena, const Contraction *c, const char *const *name);

#endif
