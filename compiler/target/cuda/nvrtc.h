// NVRTC, NVIDIA's compiler of CUDA C as a library, found and opened when it is first needed: stmc starts, and the CPU
// target works, where it is not installed. Its few functions are declared here, so any stmc can use an NVRTC that was
// installed after stmc was built.
//
// Any thread may compile. Ownership: results live on the arena given. Errors: messages on the arena, NULL is success.
#ifndef STMC_TARGET_CUDA_NVRTC_H
#define STMC_TARGET_CUDA_NVRTC_H

#include "base/base.h"

typedef struct NvrtcProgram NvrtcProgram;

typedef struct Nvrtc {
    const char *path; // as it was opened
    int major, minor;
    int (*create)(NvrtcProgram **program, const char *text, const char *name, int headers, const char *const *header,
                  const char *const *header_name);
    int (*compile)(NvrtcProgram *program, int options, const char *const *option);
    int (*destroy)(NvrtcProgram **program);
    int (*cubin_size)(NvrtcProgram *program, size_t *size);
    int (*cubin)(NvrtcProgram *program, char *to);
    int (*ptx_size)(NvrtcProgram *program, size_t *size);
    int (*ptx)(NvrtcProgram *program, char *to);
    int (*log_size)(NvrtcProgram *program, size_t *size);
    int (*log)(NvrtcProgram *program, char *to);
    int (*arch_count)(int *count);
    int (*archs)(int *arch);
    const char *(*message)(int status);
} Nvrtc;

// Takes the file $STMC_NVRTC when that is set. Otherwise looks in $CUDA_PATH and $CUDA_HOME, where the system's loader
// looks (LD_LIBRARY_PATH), where CMake found it, in the usual folders of the CUDA toolkit and in Python environments
// that hold NVIDIA's package. The error says where.
const char *nvrtc_open(Arena *arena, Nvrtc *out);

// NULL, or why this NVRTC makes no code for the architecture (90 for sm_90).
const char *nvrtc_supports(const Nvrtc *nvrtc, Arena *arena, int arch);

typedef struct NvrtcHeaders {
    int count;
    const char **name, **text;
} NvrtcHeaders;

// Reads DIRECTORY/*.cuh and *.h, sorted by name.
const char *nvrtc_headers(Arena *arena, const char *directory, NvrtcHeaders *out);

typedef struct NvrtcResult {
    const char *cubin, *ptx; // ptx ends with NUL, which ptx_size counts
    size_t cubin_size, ptx_size;
    const char *log;
    bool refused; // the text is wrong: a bug of whoever wrote it
} NvrtcResult;

enum { NVRTC_OPTIONS = 3 };
extern const char *const nvrtc_options[NVRTC_OPTIONS]; // beside the architecture

const char *nvrtc_compile(const Nvrtc *nvrtc, Arena *arena, const char *name, const char *text,
                          const NvrtcHeaders *headers, int arch, NvrtcResult *out);

#endif
