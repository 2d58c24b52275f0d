// The pipeline: from a spec to whatever the command line asks for. build.c is the only place that knows the order of
// the passes; main.c fills the options.
#ifndef STMC_BUILD_H
#define STMC_BUILD_H

#include "elaborate/elaborate.h"
#include "target/cuda/cuda.h"

// Exit statuses; 70, a bug of stmc, is die()'s.
enum { BUILD_OK = 0, BUILD_WRONG_SPEC = 1, BUILD_WRONG_COMMAND = 2, BUILD_ENVIRONMENT = 3 };

typedef struct BuildOptions {
    const char *file, *output;   // output NULL: nothing is linked
    const char *emit, *emit_dir; // a stage, or NULL
    bool check, tests, time_passes, one_to_one;
    bool cpu, cuda;                  // targets
    bool real64;                     // --precision f64
    StmCompute compute;              // of contractions on the GPU
    int arch[CUDA_MAX_ARCHS], archs; // ascending
    bool no_cache;
    Define define[256];
    int defines;
} BuildOptions;

// Messages about the spec go to `d`, others to standard error. Returns an exit status.
int build_spec(Arena *arena, Sources *sources, Diagnostics *d, const BuildOptions *o);

int build_error(const char *what); // prints it as the environment's fault; BUILD_ENVIRONMENT
int build_print(const Text *text); // to standard output; a status

#endif
