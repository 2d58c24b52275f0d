// The host shim: device memory of exact size, modules of kernels built by build_shim.sh, and launches that run every
// CUDA thread as a fiber. One launch at a time, on the calling thread. libstmshim.so exports this interface, the names
// that kernels call (cuda_host.h), the CUDA driver API (driver.cpp) and cuBLASLt (cublaslt.cpp).
//
// Errors: NULL, or a message that is valid until the next call.
#ifndef STM_SHIM_H
#define STM_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ShimKernel ShimKernel;
typedef struct ShimModule ShimModule;

typedef enum ShimOrder { SHIM_ASCENDING, SHIM_DESCENDING, SHIM_SHUFFLED } ShimOrder;
typedef struct ShimOptions {
    ShimOrder order; // of threads between barriers, and of blocks
    uint64_t seed;
    bool allow_uninitialised; // reads of bytes that nobody wrote are no error
} ShimOptions;

// Device memory, filled with 0xff (NaN in every type), counted as never written. NULL: out of memory. `name` is for
// messages and may be NULL. Aligned to 256 bytes and no more than that.
void *shim_alloc(size_t bytes, const char *name);
const char *shim_free(void *at);
void shim_wrote(const void *at, size_t bytes);   // the host wrote here: the bytes count as written
void shim_relaxed(const void *at, bool relaxed); // an allocation in which conflicting writes are no error
// Is [at, at + bytes) inside one live allocation? NULL or what is wrong.
const char *shim_inside(const void *at, size_t bytes);
size_t shim_allocated(void); // bytes

const char *shim_open(const char *path, ShimModule **out);
void shim_close(ShimModule *module);
const ShimKernel *shim_find(ShimModule *module, const char *name); // or NULL
bool shim_checks(const ShimKernel *kernel);                        // built with instrumented accesses
int shim_parameters(const ShimKernel *kernel);
int shim_parameter_size(const ShimKernel *kernel, int parameter);

// parameter[i] points to the value of parameter i, as for cuLaunchKernel.
const char *shim_launch(const ShimKernel *kernel, unsigned grid, unsigned block, size_t shared, void *const *parameter,
                        const ShimOptions *options);

// A kernel by its entry, as cuda_host.h's STM_SHIM_KERNEL makes it available under `name` in `module`.
const char *shim_launch_name(ShimModule *module, const char *name, unsigned grid, unsigned block, size_t shared,
                             void *const *parameter, const ShimOptions *options);

#ifdef __cplusplus
}
#endif
#endif
