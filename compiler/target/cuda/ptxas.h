// ptxas, the second half of NVRTC as a program: PTX in, a cubin out. The front half takes most of NVRTC's time and
// gives the same PTX for every architecture, so further architectures are made from the PTX of the lowest one. The
// ptxas of the same CUDA release makes the very code that NVRTC would. (nvJitLink does not: it compiles for linking;
// where __launch_bounds__ leaves the number of blocks open, functions then take up to five times the registers.)
//
// Any thread may compile. Ownership: results live on the arena given. Errors: messages on the arena, NULL is success.
#ifndef STMC_TARGET_CUDA_PTXAS_H
#define STMC_TARGET_CUDA_PTXAS_H

#include "target/cuda/nvrtc.h"

typedef struct Ptxas {
    const char *path;    // NULL: there is none
    const char *missing; // then: why
    const char *version; // all that --version says
} Ptxas;

// Takes the program $STMC_PTXAS when that is set; `none` means none. Otherwise looks beside the NVRTC (bin/ of a
// toolkit, of an environment of conda or of NVIDIA's packages for Python) and in $CUDA_PATH and $CUDA_HOME, for one of
// NVRTC's release. That none is there is no error: NVRTC then compiles for every architecture.
const char *ptxas_find(Arena *arena, const Nvrtc *nvrtc, Ptxas *out);

typedef struct PtxasResult {
    const char *cubin;
    size_t size;
    const char *log; // registers and spills of each function
    double ms;       // of processor time
} PtxasResult;

// `folder` is for files while it runs; `name` is the module's, in messages, and tells it from others that compile now.
const char *ptxas_compile(const Ptxas *ptxas, Arena *arena, const char *folder, const char *name, const char *ptx,
                          int arch, PtxasResult *out);

#endif
