// The CUDA target: kernels in, functions of CUDA C, an image of cubins and PTX out. Entry of compiler/target/cuda;
// spec/cuda.md describes functions, launches and the image.
//
//   1. cuda_lower    one kernel -> KernelCode: launches and library calls with their parts and workspaces. The text of
//                    each function goes into the unit; equal texts are one function.
//   2. cuda_sources  the unit's functions as a few CUDA C files (what --emit cuda writes).
//   3. cuda_compile  NVRTC, on threads, through the cache -> image; registers, shared memory and spills of each
//                    function.
//
// Nothing here needs a GPU, and 1 and 2 need no CUDA either.
//
// Ownership: everything lives on the unit's arena. Errors: messages on the arena, NULL is success.
#ifndef STMC_TARGET_CUDA_H
#define STMC_TARGET_CUDA_H

#include "forms/plan.h"

typedef struct CudaFunction {
    const char *name; // stm_ and the hash of its text
    const char *text; // with its name
    const char *what; // name of the first kernel that uses it, for comments and profiles
    int registers;    // filled by cuda_compile
    int64_t static_shared, spills;
} CudaFunction;

typedef struct CudaUnit {
    Arena *arena;
    const Program *program;
    StmCompute compute; // how contractions form products where an equation says nothing
    VEC(CudaFunction) function;
    struct CudaTable *table; // by text
} CudaUnit;

CudaUnit *cuda_unit(Arena *arena, const Program *p, StmCompute compute);

// `table`: the kernel is called in batches (spec/cuda.md); every launch of it takes a table.
const char *cuda_lower(CudaUnit *unit, const Kernel *k, bool table, KernelCode *out);

// Is this contraction, which also sums an operand (kernel_bias_gradient), one matmul? A BiasGradientFits of a unit with
// the program's extents; makes no function.
bool cuda_takes_bias_gradient(void *unit, const Kernel *k);

// The function of this text, in which every `@` stands for the function's name. New or shared. The text may begin with
// lines `#include "x.cuh"` for headers of kernels/ beside prelude.cuh, which every module has. The result is good until
// the next function is made; its name and text as long as the unit.
const CudaFunction *cuda_function(CudaUnit *unit, const char *what, const char *text);
const CudaFunction *cuda_find(const CudaUnit *unit, const char *name); // or NULL

// After cuda_compile: replaces every launch by one that tells registers, shared memory and spills of its function.
void cuda_fill_launches(CudaUnit *unit, KernelCode *code, int count);

bool cuda_has_function(const CudaUnit *unit, const char *text); // is it there already?

typedef struct CudaSource {
    const char *name; // "module0.cu"
    const char *text;
    int first, count; // functions
    int cost;         // to compile, in small functions
} CudaSource;
typedef struct CudaSources {
    VEC(CudaSource) source;
} CudaSources;
void cuda_sources(CudaUnit *unit, CudaSources *out);

enum { CUDA_MAX_ARCHS = 8 };
typedef struct CudaOptions {
    const char *kernels;             // directory of the headers (share/stmc/kernels)
    const char *cache;               // directory, made when missing; NULL: no cache
    int threads;                     // 0: as many as cores
    int arch[CUDA_MAX_ARCHS], archs; // 80, 90, ...; ascending
} CudaOptions;
typedef struct CudaImage {
    const unsigned char *bytes;
    size_t size;
    const char **ptx; // [modules] of the lowest architecture, in the order of cuda_sources
    int modules;
    double nvrtc_ms;      // and ptxas, summed over threads
    int compiled, cached; // modules times architectures
    bool refused;         // NVRTC refused a function's text: the error is about a bug of stmc
    const char *ptxas;    // what made the cubins of all architectures but the lowest; NULL: NVRTC made all,
    const char *no_ptxas; // because of this, when there are several
} CudaImage;
// Architectures that stmc knows (80, 86, ...), ascending, closed by 0.
extern const int cuda_archs[];
const char *cuda_available(Arena *arena, const CudaOptions *o); // NULL, or what is missing and how to get it
const char *cuda_compile(CudaUnit *unit, const CudaOptions *o, CudaImage *out);
// The folder of the cache: $STMC_CACHE, $XDG_CACHE_HOME/stmc or ~/.cache/stmc; NULL when none is set.
const char *cuda_cache_directory(Arena *arena);

#endif
