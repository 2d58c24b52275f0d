// cuda_driver: the part of the CUDA driver that this runtime calls, found at run time in libcuda.so.1, so that an
// executable starts on machines without a GPU and building needs no CUDA. Declared here by hand; names are those that
// the library exports, which are stable.
//
// STM_CUDA_DRIVER names another file instead of libcuda.so.1 (the tests' host shim). The list below is everything that
// such a file must export.
//
// Threads: as the driver; this runtime uses a device from one thread. Errors: every call is checked by cuda_check,
// whose Status names the call, CUDA's error and what to do.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef int CuResult; // CUresult
typedef int CuDevice;
typedef unsigned long long CuAddress; // CUdeviceptr
typedef struct CUctx_st *CuContext;
typedef struct CUmod_st *CuModule;
typedef struct CUfunc_st *CuFunction;
typedef struct CUstream_st *CuStream;
typedef struct CUevent_st *CuEvent;
typedef struct CUgraph_st *CuGraph;
typedef struct CUgraphExec_st *CuGraphExec;

enum { // CUresult
    CU_SUCCESS = 0,
    CU_OUT_OF_MEMORY = 2,
    CU_NO_DEVICE = 100,
    CU_INVALID_DEVICE = 101,
    CU_INVALID_IMAGE = 200,
    CU_NO_BINARY_FOR_GPU = 209,
    CU_ECC_UNCORRECTABLE = 214,
    CU_INVALID_PTX = 218,
    CU_JIT_COMPILER_NOT_FOUND = 221,
    CU_UNSUPPORTED_PTX_VERSION = 222,
    CU_NOT_FOUND = 500,
    CU_ILLEGAL_ADDRESS = 700,
    CU_LAUNCH_OUT_OF_RESOURCES = 701,
    CU_SYSTEM_NOT_READY = 802,
    CU_SYSTEM_DRIVER_MISMATCH = 803,
};
enum { // CUdevice_attribute
    CU_MULTIPROCESSORS = 16,
    CU_COMPUTE_MODE = 20, // 2: prohibited
    CU_CAPABILITY_MAJOR = 75,
    CU_CAPABILITY_MINOR = 76,
    CU_SHARED_PER_BLOCK = 97, // with opt-in, bytes
};
enum {
    CU_FUNCTION_DYNAMIC_SHARED = 8, // CUfunction_attribute: most dynamic shared memory of a block
    CU_STREAM_NON_BLOCKING = 1,
    CU_EVENT_TIMED = 0,
    CU_EVENT_UNTIMED = 2,
    CU_CAPTURE_RELAXED = 2, // CUstreamCaptureMode
};

// X(member of CudaDriver, exported name, parameters)
#define CUDA_DRIVER_FUNCTIONS(X)                                                                                       \
    X(init, cuInit, (unsigned flags))                                                                                  \
    X(driver_version, cuDriverGetVersion, (int *version)) /* 13000: CUDA 13.0 */                                       \
    X(error_name, cuGetErrorName, (CuResult result, const char **text))                                                \
    X(error_string, cuGetErrorString, (CuResult result, const char **text))                                            \
    X(device_count, cuDeviceGetCount, (int *count))                                                                    \
    X(device_get, cuDeviceGet, (CuDevice * device, int number))                                                        \
    X(device_name, cuDeviceGetName, (char *name, int size, CuDevice device))                                           \
    X(device_memory, cuDeviceTotalMem_v2, (size_t * bytes, CuDevice device))                                           \
    X(device_attribute, cuDeviceGetAttribute, (int *value, int attribute, CuDevice device))                            \
    X(context_retain, cuDevicePrimaryCtxRetain, (CuContext * context, CuDevice device))                                \
    X(context_release, cuDevicePrimaryCtxRelease_v2, (CuDevice device))                                                \
    X(context_use, cuCtxSetCurrent, (CuContext context))                                                               \
    X(module_load, cuModuleLoadData, (CuModule * module, const void *image))                                           \
    X(module_unload, cuModuleUnload, (CuModule module))                                                                \
    X(module_function, cuModuleGetFunction, (CuFunction * function, CuModule module, const char *name))                \
    X(function_set, cuFuncSetAttribute, (CuFunction function, int attribute, int value))                               \
    X(memory_info, cuMemGetInfo_v2, (size_t * free_bytes, size_t * all_bytes))                                         \
    X(memory_new, cuMemAlloc_v2, (CuAddress * address, size_t bytes))                                                  \
    X(memory_free, cuMemFree_v2, (CuAddress address))                                                                  \
    X(pinned_new, cuMemHostAlloc, (void **block, size_t bytes, unsigned flags))                                        \
    X(pinned_free, cuMemFreeHost, (void *block))                                                                       \
    X(copy_in, cuMemcpyHtoDAsync_v2, (CuAddress to, const void *from, size_t bytes, CuStream stream))                  \
    X(copy_out, cuMemcpyDtoHAsync_v2, (void *to, CuAddress from, size_t bytes, CuStream stream))                       \
    X(copy, cuMemcpyDtoDAsync_v2, (CuAddress to, CuAddress from, size_t bytes, CuStream stream))                       \
    X(fill, cuMemsetD8Async, (CuAddress to, unsigned char value, size_t bytes, CuStream stream))                       \
    X(stream_new, cuStreamCreate, (CuStream * stream, unsigned flags))                                                 \
    X(stream_free, cuStreamDestroy_v2, (CuStream stream))                                                              \
    X(stream_wait, cuStreamSynchronize, (CuStream stream))                                                             \
    X(stream_after, cuStreamWaitEvent, (CuStream stream, CuEvent event, unsigned flags))                               \
    X(event_new, cuEventCreate, (CuEvent * event, unsigned flags))                                                     \
    X(event_free, cuEventDestroy_v2, (CuEvent event))                                                                  \
    X(event_record, cuEventRecord, (CuEvent event, CuStream stream))                                                   \
    X(event_wait, cuEventSynchronize, (CuEvent event))                                                                 \
    X(event_ms, cuEventElapsedTime, (float *ms, CuEvent start, CuEvent end))                                           \
    X(launch, cuLaunchKernel,                                                                                          \
      (CuFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,     \
       unsigned block_z, unsigned shared_bytes, CuStream stream, void **parameters, void **extra))                     \
    X(capture_begin, cuStreamBeginCapture_v2, (CuStream stream, int mode))                                             \
    X(capture_end, cuStreamEndCapture, (CuStream stream, CuGraph * graph))                                             \
    X(graph_make, cuGraphInstantiateWithFlags, (CuGraphExec * exec, CuGraph graph, unsigned long long flags))          \
    X(graph_launch, cuGraphLaunch, (CuGraphExec exec, CuStream stream))                                                \
    X(graph_exec_free, cuGraphExecDestroy, (CuGraphExec exec))                                                         \
    X(graph_free, cuGraphDestroy, (CuGraph graph))

typedef struct CudaDriver {
    void *library;
    int version; // 13000: CUDA 13.0
#define X(member, symbol, parameters) CuResult(*member) parameters;
    CUDA_DRIVER_FUNCTIONS(X)
#undef X
} CudaDriver;

// Loads the library and initialises it. Errors: no driver, too old a driver, a driver that does not start; each says
// what to do. cuda_driver_close ends it in every case; the library stays in the process.
MUST_USE Status cuda_driver_open(CudaDriver *out_driver);
void cuda_driver_close(CudaDriver *driver);

// The exported names, member by member, for messages.
typedef struct CudaNames {
#define X(member, symbol, parameters) const char *member;
    CUDA_DRIVER_FUNCTIONS(X)
#undef X
} CudaNames;
extern const CudaNames cuda_names;

// OK for 0. Otherwise a Status with `call`, CUDA's name and text of the error, and advice where there is any.
MUST_USE Status cuda_check(const CudaDriver *driver, CuResult result, const char *call);

// TRY_CUDA(driver, member, arguments...): one checked call. CUDA(driver, member, arguments...): its Status.
#define CUDA(driver, member, ...)     cuda_check((driver), (driver)->member(__VA_ARGS__), cuda_names.member)
#define TRY_CUDA(driver, member, ...) TRY(CUDA((driver), member, __VA_ARGS__))
