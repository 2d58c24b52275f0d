// gpu: a CUDA device that runs a plan: found, judged, opened; its memory and the functions of the executable's code.
//
// A device is usable when the driver works, the executable carries code for it (image.h), and cuBLASLt is there if the
// plan needs it. What is not usable has a reason in words, which `info` prints and an explicit --device reports.
//
// Threads: a Gpu is used by the thread that opened it. Sizes are bytes.
#pragma once

#include "../core/arena.h"
#include "../program/plan.h"
#include "cublaslt.h"
#include "cuda_driver.h"
#include "image.h"

// The CUDA plan's code as the executable carries it.
typedef struct GpuCode {
    const unsigned char *image;
    size_t image_size;
} GpuCode;

typedef struct GpuInfo {
    int number;                      // N of cuda:N
    char name[96];                   // "NVIDIA H100 80GB HBM3"
    int capability, multiprocessors; // 90: 9.0
    int64_t memory;
    char why[400]; // "" when usable
} GpuInfo;

typedef struct GpuList {
    GpuInfo *gpu;
    int count;
    int driver;    // 12040: for CUDA 12.4; 0: there is none
    char why[400]; // no device at all: the reason
} GpuList;

// Every device and what keeps it from running this plan. `plan` (the CUDA plan) may be NULL: then only the devices are
// listed. An error only when memory is out.
MUST_USE Status gpu_list(const StmPlan *plan, const GpuCode *code, Arena *arena, GpuList *out_list);

typedef struct Gpu {
    CudaDriver driver;
    GpuInfo info;
    CuDevice device;
    CuContext context;
    CuStream compute, transfer;
    CudaImage image;
    CudaImageChoice choice;
    CuModule *module;     // [image.shards], loaded when first needed
    CuFunction *function; // [kernels]
    CublasLt lt;
    bool has_lt;
    CuAddress workspace;     // of cuBLASLt, made by gpu_load when the plan has products
    int64_t used, most_used; // device memory
    const StmPlan *plan;
} Gpu;

// Opens device `number` (-1: the first usable one) for `plan`. An error gives the exact reason. Small tables come from
// `arena`. gpu_close ends it in every case.
MUST_USE Status gpu_open(const StmPlan *plan, const GpuCode *code, int number, Arena *arena, Gpu **out_gpu);
void gpu_close(Gpu *gpu); // NULL is allowed

// The function of a kernel of the plan, loaded when first needed.
MUST_USE Status gpu_function(Gpu *gpu, int kernel, CuFunction *out_function);

// Device memory. When there is not enough, the error says what it was for ("the arena of train at 256 spots"), how much
// was needed, what is free, and what to do.
MUST_USE Status gpu_memory(Gpu *gpu, int64_t bytes, const char *purpose, CuAddress *out_address);
void gpu_memory_free(Gpu *gpu, CuAddress *address, int64_t bytes); // sets it to 0
// Host memory that the device copies from and to at full speed.
MUST_USE Status gpu_pinned(Gpu *gpu, int64_t bytes, const char *purpose, void **out_block);
void gpu_pinned_free(Gpu *gpu, void **block); // sets it to NULL

// What the device's memory can do: bytes read and written a second (in units of 10^9) by a copy of `bytes` within it,
// the median of several. Kernels that move data are judged by it.
MUST_USE Status gpu_copy_rate(Gpu *gpu, int64_t bytes, double *out_gb_per_s);
