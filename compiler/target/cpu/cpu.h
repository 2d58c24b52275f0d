// The CPU target: kernels in, object files out. Entry of compiler/target/cpu.
//
//   1. cpu_lower     one kernel -> CpuLowering: the phases it runs as, their parts and scratch, its workspaces.
//   Everything
//                    that the plan needs; nothing is emitted. The decisions are the same for every instruction set.
//   2. cpu_compile   lowered kernels -> object files for x86-64-v2, -v3 and -v4, on threads.
//   3. cpu_data_module   the finished plans, the table of kernels and the CUDA image -> one more object file.
//
// A phase is one function `void stm_NAME_v4(void *const *buffer, const int64_t *extent, void *scratch, int64_t first,
// int64_t last)` (StmKernel of runtime/program/program.h), one plan step and one entry of stm_kernels. Phases of a
// kernel run one after the other. Parts are cut by extents alone, never by the number of threads, so results do not
// depend on it. Results may differ in the last bits between instruction sets: v2 has no fused multiply-add, and the
// width of the lanes changes the order of sums.
//
// Scratch: one block per thread, 64-byte aligned, at least as large as the largest `scratch` of the phases. Its first
// CPU_SCRATCH_HEADER bytes belong to no kernel: int64 word 0 becomes non-zero when a gathered position (x[index[e]])
// was outside its tensor. Such a read is 0, such a write is dropped, nothing outside a buffer is touched. The runtime
// zeroes the header once, looks at it after a step, and reports. Phases that neither gather nor keep locals have
// scratch 0.
//
// Ownership: results live on the arena given. Errors: returned as messages on the arena (a kernel this target cannot
// express, an LLVM failure); NULL is success.
#ifndef STMC_TARGET_CPU_H
#define STMC_TARGET_CPU_H

#include "forms/kernels.h"

typedef enum CpuLevel { CPU_V2, CPU_V3, CPU_V4, CPU_LEVELS } CpuLevel;
extern const char *const cpu_level_suffix[CPU_LEVELS]; // "v2" "v3" "v4"

enum { CPU_MAX_PHASES = 4, CPU_MAX_WORKSPACES = 8, CPU_SCRATCH_HEADER = 64 };

typedef struct CpuOptions {
    bool skip[CPU_LEVELS]; // leave an instruction set out (its table entry is NULL)
    bool verify;           // run LLVM's verifier on every module
    int threads;           // compiling threads; 0: 2
    int64_t grain;         // work per part in scalar operations; 0: the default
    const char *emit_ir;   // a directory: write each module as LEVEL.SHARD.ll, before and after optimisation; or NULL
} CpuOptions;

// Bytes per unit of extent(axis[0]) * extent(axis[1]); -1 is factor 1. As StmGroup.
typedef struct CpuWorkspace {
    int axis[2];
    int64_t bytes;
} CpuWorkspace;

typedef struct CpuPhase {
    const char *name;      // kernel name, with _p0, _p1 when there are several phases; function: stm_NAME_v4
    int args;              // arguments of the function, in order:
    int arg[MAX_VARS * 4]; //   >= 0 kernel buffer, < 0 workspace ~arg
    Extent parts;          // number of parts: ceil(parts / divide)
    int64_t divide;
    int64_t scratch;  // bytes per thread, header included
    int64_t flops;    // at the bound extents
    const void *plan; // private to the target
} CpuPhase;

typedef struct CpuLowering {
    const Kernel *kernel;
    int phases, workspaces;
    CpuPhase phase[CPU_MAX_PHASES];
    CpuWorkspace workspace[CPU_MAX_WORKSPACES];
    const char *note; // why a contraction is run as plain loops; NULL otherwise
} CpuLowering;

// The lowering keeps pointers into the kernel and the program. Workspaces need no initial value.
const char *cpu_lower(Arena *arena, const Program *p, const Kernel *k, const CpuOptions *options, CpuLowering *out);

typedef struct CpuObject {
    const char *name; // for the file: "kernels_v4_0"
    const char *bytes;
    size_t size;
} CpuObject;

typedef struct CpuObjects {
    VEC(CpuObject) object;
    double emit_ms, optimise_ms, generate_ms; // summed over threads
} CpuObjects;

// Compiles all phases of all lowerings. Names must be distinct. Adds to `out`.
const char *cpu_compile(Arena *arena, const Program *p, const CpuLowering *const *lowering, int count,
                        const CpuOptions *options, CpuObjects *out);

// What an executable carries beside code. Sizes in bytes; the CUDA parts are empty without that target.
typedef struct CpuData {
    const char *const *kernel; // names, in the order of the plan's kernel numbers
    int kernels;
    const char *plan, *cuda_plan; // texts
    size_t plan_size, cuda_plan_size;
    const unsigned char *cuda_image;
    size_t cuda_image_size;
} CpuData;

// One object with stm_kernels, stm_plan_text, stm_cuda_plan_text, stm_cuda_image and their sizes
// (runtime/program/program.h). Texts end with NUL after their size. Entries of an instruction set that the options
// leave out are NULL.
const char *cpu_data_module(Arena *arena, const CpuData *data, const CpuOptions *options, CpuObjects *out);

#endif
