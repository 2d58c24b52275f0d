// The passes between elaboration and the targets, in the order in which main.c calls them. Each says what it requires
// and what it leaves. Everything lives on the program's arena; nothing is freed.
#ifndef STMC_PASS_H
#define STMC_PASS_H

#include "base/base.h"
#include "forms/equations.h"
#include "forms/kernels.h"
#include "forms/plan.h"

// ---- differentiate.c: requires verified equations; leaves every gradient request of the job replaced by equations
// right behind the loss, forward equations untouched. False: an error was reported and the job is unchanged.
bool differentiate(Program *p, Job *job, Diagnostics *d);

// ---- simplify.c: requires verified equations without gradient requests; leaves equations of equal values (to the bit,
// see the rules at its top), none of them unused. Idempotent.
void simplify(Program *p, Job *job);

// ---- hoist.c: requires verified equations; leaves equations of the same values in which costly parts that depend on
// few variables are equations of their own. layout_job calls it first.
void hoist_job(Program *p, Job *job);

// ---- layout.c: requires verified equations; leaves Tensor.order of temporaries set, copies where a view needs
// row-major storage, and every update's source defined by a COMPUTE or SCATTER equation of the job that no other update
// shares.
void layout_job(Program *p, Job *job);

// ---- fuse.c: requires layout_job on every job; leaves kernels, equal ones shared, and the calls of every job in
// order. Equations and their expressions are not changed.
typedef struct FusePolicy {
    bool one_to_one;           // one equation, one kernel: for tests and for finding faults
    int recompute_cost;        // a map with several readers is recomputed in each when it costs at most this
    int pack_cost;             // a map may be computed while a contraction packs its operand when it costs at most this
    int64_t row_elements;      // longest row that a row kernel keeps
    int64_t small_elements;    // tensors up to this size are read for free
    int most_buffers;          // arguments of one kernel
    int64_t contraction_flops; // smaller sums of products stay plain loops
    int64_t random_elements;   // random numbers of smaller tensors are made by a kernel of their own
} FusePolicy;
extern const FusePolicy fuse_default;
KernelProgram *fuse_program(Program *p, const FusePolicy *policy);

// ---- schedule.c: requires kernels of fuse_program; leaves lane, split, chunks and flops filled.
void schedule_kernels(KernelProgram *k);

// ---- narrow.c: requires scheduled kernels, before pass/batch.c; leaves a copy in which large temporaries are stored
// as bf16 (docs/numerics.md): its kernels, calls and table of tensors are its own, `k` and its program stay as they
// are. The jobs' equations are shared and say T_REAL, so the copy's program is for targets and the plan, not for
// passes.
KernelProgram *narrow_program(const KernelProgram *k);

// ---- bias_gradient.c: requires scheduled kernels, before pass/batch.c; leaves a copy in which contractions also sum one
// of their operands (kernel_bias_gradient) where the job needs that sum and `fits` says that the target can do it so.
// Kernels, calls and table of tensors are its own, `k` and its program stay as they are.
typedef bool BiasGradientFits(void *context, const Kernel *k);
KernelProgram *bias_gradients(const KernelProgram *k, BiasGradientFits *fits, void *context);

// ---- batch.c: requires scheduled kernels; leaves a copy in which independent small calls of one kernel are one call
// with several runs. table[id] says which kernels are called that way (always then). The original is unchanged.
KernelProgram *batch_calls(const KernelProgram *k, bool *table);

// ---- plan.c: requires scheduled kernels and their code (code[i] for kernel i); leaves the plan: steps, buffers, arena
// offsets. Returns NULL, or what cannot be planned (a tensor with more than two dynamic dimensions).
const char *plan_program(const KernelProgram *k, const KernelCode *code, const char *version, StmPlan **out);

#endif
