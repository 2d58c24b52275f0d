// Kernels: fused loop nests over buffers. Form 3 of 4. spec/kernels.md describes the text; kernels.c prints, reads and
// verifies it. CPU (LLVM) and CUDA are emitted from this form and nothing else.
//
// A kernel is a list of stages under shared outer loops:
//   for outer variables (all independent of each other: these are what parallelism is cut from)
//     stage 0: for its inner free variables, reduce over its reduced variables, store to a local or a buffer
//     stage 1: ...
// Within one outer iteration the stages run in order, and a later stage may read a local or a buffer element written by
// an earlier stage of the same outer iteration.  A layernorm is outer rows, stages mean, variance, normalise; a matmul
// with bias and gelu is outer nothing, stage 0 the contraction to a local, stage 1 the map that reads the local and
// stores.
#ifndef STMC_KERNELS_H
#define STMC_KERNELS_H

#include "forms/equations.h"

typedef struct KernelBuffer { // an argument
    ElementType type;         // T_BF16: stored as bf16, rounded to nearest even; reads and stored values are T_REAL
    int rank;
    Extent dim[MAX_RANK]; // Extent.axis numbers the program's axes; from their number on it is a step extent: an
                          //   argument of the call that stands behind the axes in extent[] (spec/kernels.md)
    int order[MAX_RANK];  // storage order, outermost first
    bool is_read, is_written;
} KernelBuffer;

typedef struct KernelLocal { // a value kept within one outer iteration: rank 0 a register, otherwise thread scratch
    ElementType type;
    int rank;
    Extent dim[MAX_RANK];
} KernelLocal;

// In kernels, Expr.tensor of a READ is: >= 0 a buffer number; < 0 the local number ~tensor.
typedef struct Stage {
    int free, vars;    // var[0..free) are inner free variables, var[free..vars) reduced ones: numbers into
    int var[MAX_VARS]; //   Kernel.var (outer variables are not listed)
    Reduce reduce;
    Expr *value; // over Kernel.var numbers
    int dest;    // >= 0 buffer, < 0 local ~dest
    int rank;
    Position *target; // where the result goes in dest
    bool accumulate;  // SCATTER: dest[target] += value (dest is zeroed before the kernel runs)
} Stage;

typedef enum KernelKind {
    KERNEL_LOOPS,       // any
    KERNEL_CONTRACTION, // stage 0: sum of a product of two operands to a local; later stages: elementwise epilogue
                        //   over the same free variables, storing
} KernelKind;

typedef enum Role { ROLE_NONE, ROLE_BATCH, ROLE_M, ROLE_N, ROLE_K } Role;

typedef struct Kernel {
    int id;
    const char *name; // "map_3f2a", "conv_...": kind and structural hash; equal structure, equal name
    KernelKind kind;
    Precision precision; // of the products of a contraction; PRECISION_MODEL otherwise
    int vars;
    Variable var[2 * MAX_VARS];
    int outer; // var[0..outer)
    VEC(KernelBuffer) buffer;
    VEC(KernelLocal) local;
    VEC(Stage) stage;
    int scalar_seed, scalar_step; // buffers that RANDOM reads, or -1
    // ---- schedule, filled by pass/schedule.c
    int lane;  // variable that goes across vector lanes / threads of a warp, or -1
    int split; // reduced variable cut into `chunks` fixed pieces with partial results, or -1
    int chunks;
    Role role[2 * MAX_VARS]; // KERNEL_CONTRACTION
    const char *origin;      // module path of the first equation, for profiles
    int64_t flops;           // per call at the bound extents, step extents counting as 1; for `bench` and schedules
    uint64_t hash;           // of kernel_hash, when program_kernel took it
} Kernel;

void kernel_print(const Kernel *k, const Program *p, Text *out);
const char *kernel_verify(const Kernel *k, const Program *p);
// The stage of a contraction that sums one of its operands over the reduced variables (spec/kernels.md), or -1.
int kernel_bias_gradient(const Kernel *k);
Kernel *kernel_copy(Arena *arena, const Kernel *k); // with vectors of its own; expressions are shared
uint64_t kernel_hash(const Kernel *k); // structure only: names, spans and origin do not count

#endif
