// cuda_driver: see cuda_driver.h.
#include "cuda_driver.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

const CudaNames cuda_names = {
#define X(member, symbol, parameters) .member = #symbol,
    CUDA_DRIVER_FUNCTIONS(X)
#undef X
};

// "12.4" from 12040.
static int major_of(int version) {
    return version / 1000;
}
static int minor_of(int version) {
    return version % 1000 / 10;
}

static Status find_functions(CudaDriver *driver, const char *file) {
    void *found = NULL;
#define X(member, symbol, parameters)                                                                                  \
    found = dlsym(driver->library, #symbol);                                                                           \
    if (!found)                                                                                                        \
        return status_make(STATUS_IO,                                                                                  \
                           "the NVIDIA driver is too old: %s has no %s; install a driver for CUDA 12 or newer "        \
                           "(525 or newer)",                                                                           \
                           file, #symbol);                                                                             \
    memcpy(&driver->member, &found, sizeof found);
    CUDA_DRIVER_FUNCTIONS(X)
#undef X
    return STATUS_OK;
}

// What to do about an error, or NULL.
static const char *advice(CuResult result) {
    switch (result) {
    case CU_NO_DEVICE:
        return "no NVIDIA GPU is visible to this process; nvidia-smi lists them, CUDA_VISIBLE_DEVICES may hide them";
    case CU_SYSTEM_DRIVER_MISMATCH:
        return "libcuda.so.1 and the kernel module are of different versions; restart the machine after a driver "
               "update";
    case CU_SYSTEM_NOT_READY: return "the GPU fabric is not up; wait for nvidia-fabricmanager, or restart it";
    case CU_ECC_UNCORRECTABLE: return "the GPU's memory is damaged; reset or replace the GPU";
    case CU_NO_BINARY_FOR_GPU:
    case CU_INVALID_IMAGE:
        return "the driver cannot read the code in this executable; update the driver, or compile with the --arch of "
               "this GPU";
    case CU_INVALID_PTX:
    case CU_UNSUPPORTED_PTX_VERSION:
    case CU_JIT_COMPILER_NOT_FOUND:
        return "the driver cannot compile the PTX in this executable; update the driver, or compile with the --arch of "
               "this GPU";
    case CU_ILLEGAL_ADDRESS: return "a kernel read or wrote outside its buffers; this is a bug in stmc";
    case CU_LAUNCH_OUT_OF_RESOURCES: return "a kernel asks for more registers or shared memory than the GPU has";
    case CU_OUT_OF_MEMORY: return "use a smaller --batch, or stop other programs on the GPU (nvidia-smi lists them)";
    default: return NULL;
    }
}

static StatusCode code_of(CuResult result) {
    if (result == CU_OUT_OF_MEMORY) return STATUS_NO_MEMORY;
    if (result == CU_ILLEGAL_ADDRESS || result == CU_LAUNCH_OUT_OF_RESOURCES) return STATUS_INTERNAL;
    return STATUS_IO; // the environment's
}

Status cuda_check(const CudaDriver *driver, CuResult result, const char *call) {
    if (result == CU_SUCCESS) return STATUS_OK;
    const char *name = NULL, *text = NULL, *hint = advice(result);
    if (driver->error_name) driver->error_name(result, &name);
    if (driver->error_string) driver->error_string(result, &text);
    return status_make(code_of(result), "CUDA: %s: %s%s%s%s%s%s (error %d)", call, name ? name : "unknown error",
                       text ? " (" : "", text ? text : "", text ? ")" : "", hint ? "; " : "", hint ? hint : "", result);
}

Status cuda_driver_open(CudaDriver *driver) {
    *driver = (CudaDriver){0};
    const char *wish = getenv("STM_CUDA_DRIVER"), *file = wish && *wish ? wish : "libcuda.so.1";
    driver->library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!driver->library) {
        const char *why = dlerror();
        if (wish && *wish) return status_make(STATUS_NOT_FOUND, "STM_CUDA_DRIVER=%s: %s", wish, why ? why : "");
        return status_make(STATUS_IO,
                           "no NVIDIA driver was found (%s); install it, or in a container start it with GPU access",
                           why ? why : file);
    }
    TRY(find_functions(driver, file));
    TRY_CUDA(driver, init, 0);
    TRY_CUDA(driver, driver_version, &driver->version);
    if (driver->version < 12000)
        return status_make(STATUS_IO,
                           "the NVIDIA driver is for CUDA %d.%d; install one for CUDA 12 or newer (525 or newer)",
                           major_of(driver->version), minor_of(driver->version));
    return STATUS_OK;
}

// The library stays loaded: its threads and exit handlers do not survive being taken away.
void cuda_driver_close(CudaDriver *driver) {
    *driver = (CudaDriver){0};
}
