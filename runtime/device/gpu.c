// gpu: see gpu.h.
#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool needs_lt(const StmPlan *plan) {
    for (int k = 0; k < plan->kernels; k++)
        if (plan->kernel[k].matmul) return true;
    return false;
}

static void keep_message(Status status, char *text, size_t size) {
    snprintf(text, size, "%s", status_message(status));
    status_drop(status);
}

static Status read_info(const CudaDriver *driver, int number, GpuInfo *info, CuDevice *device) {
    int major = 0, minor = 0, mode = 0;
    size_t memory = 0;
    *info = (GpuInfo){.number = number};
    TRY_CUDA(driver, device_get, device, number);
    TRY_CUDA(driver, device_name, info->name, (int)sizeof info->name - 1, *device);
    TRY_CUDA(driver, device_memory, &memory, *device);
    TRY_CUDA(driver, device_attribute, &major, CU_CAPABILITY_MAJOR, *device);
    TRY_CUDA(driver, device_attribute, &minor, CU_CAPABILITY_MINOR, *device);
    TRY_CUDA(driver, device_attribute, &info->multiprocessors, CU_MULTIPROCESSORS, *device);
    TRY_CUDA(driver, device_attribute, &mode, CU_COMPUTE_MODE, *device);
    info->memory = (int64_t)memory;
    info->capability = major * 10 + minor;
    if (mode == 2)
        return status_make(STATUS_UNSUPPORTED,
                           "cuda:%d is in prohibited mode; an administrator allows computing with nvidia-smi -c 0",
                           number);
    return STATUS_OK;
}

// Is there code for this device, and every block of it small enough?
static Status judge(const CudaDriver *driver, const StmPlan *plan, const CudaImage *image, const GpuInfo *info,
                    CuDevice device, CudaImageChoice *choice) {
    if (!cuda_image_choose(image, info->capability, choice)) {
        Text text = {0};
        cuda_image_archs(image, &text);
        Status status = status_make(STATUS_UNSUPPORTED,
                                    "cuda:%d (%s) has compute capability %d.%d and this executable holds code for %s; "
                                    "compile with --arch sm_%d",
                                    info->number, info->name, info->capability / 10, info->capability % 10,
                                    text_string(&text), info->capability);
        text_free(&text);
        return status;
    }
    int shared = 0;
    TRY_CUDA(driver, device_attribute, &shared, CU_SHARED_PER_BLOCK, device);
    for (int k = 0; k < plan->kernels; k++) {
        const StmLaunch *launch = plan->kernel[k].launch;
        if (launch && launch->shared + launch->static_shared > shared)
            return status_make(STATUS_UNSUPPORTED,
                               "cuda:%d (%s) has %d bytes of shared memory a block and kernel %s needs %lld; compile "
                               "with --arch sm_%d",
                               info->number, info->name, shared, plan->kernel[k].name,
                               (long long)(launch->shared + launch->static_shared), info->capability);
    }
    return STATUS_OK;
}

static Status count_devices(const CudaDriver *driver, int *count) {
    TRY_CUDA(driver, device_count, count);
    if (*count == 0) return cuda_check(driver, CU_NO_DEVICE, cuda_names.device_count);
    return STATUS_OK;
}

Status gpu_list(const StmPlan *plan, const GpuCode *code, Arena *arena, GpuList *list) {
    *list = (GpuList){0};
    CudaDriver driver;
    CublasLt lt = {0};
    CudaImage image = {0};
    Status status = cuda_driver_open(&driver), common = STATUS_OK;
    list->driver = driver.version;
    if (status == STATUS_OK) status = count_devices(&driver, &list->count);
    if (status != STATUS_OK) {
        list->count = 0;
        keep_message(status, list->why, sizeof list->why);
        cuda_driver_close(&driver);
        return STATUS_OK;
    }
    status = ARENA_NEW(arena, list->gpu, (size_t)list->count);
    if (status == STATUS_OK && plan) {
        common = cuda_image_open(code->image, code->image_size, &image);
        if (common == STATUS_OK && needs_lt(plan)) {
            common = cublaslt_open(&lt, driver.version, arena);
            cublaslt_close(&lt);
        }
    }
    for (int i = 0; i < list->count && status == STATUS_OK; i++) {
        GpuInfo *info = &list->gpu[i];
        CuDevice device;
        CudaImageChoice choice;
        Status own = read_info(&driver, i, info, &device);
        if (own == STATUS_OK && plan && common == STATUS_OK) own = judge(&driver, plan, &image, info, device, &choice);
        if (own != STATUS_OK) keep_message(own, info->why, sizeof info->why);
        else if (common != STATUS_OK) snprintf(info->why, sizeof info->why, "%s", status_message(common));
    }
    status_drop(common);
    cuda_driver_close(&driver);
    return status;
}

// ---- Opening ---------------------------------------------------------------------------------------------------

// Takes the first device that is usable; with none, every reason is told.
static Status find_device(Gpu *gpu, int count) {
    Text reasons = {0};
    for (int i = 0; i < count; i++) {
        Status status = read_info(&gpu->driver, i, &gpu->info, &gpu->device);
        if (status == STATUS_OK)
            status = judge(&gpu->driver, gpu->plan, &gpu->image, &gpu->info, gpu->device, &gpu->choice);
        if (status == STATUS_OK) {
            text_free(&reasons);
            return STATUS_OK;
        }
        text_printf(&reasons, "%s%s", reasons.length ? "; " : "", status_message(status));
        status_drop(status);
    }
    Status status = status_make(STATUS_UNSUPPORTED, "%s", text_string(&reasons));
    text_free(&reasons);
    return status;
}

static Status load_module(Gpu *gpu, int shard) {
    unsigned char *bytes = NULL;
    TRY(cuda_image_module(&gpu->image, gpu->choice, shard, &bytes));
    Status status = CUDA(&gpu->driver, module_load, &gpu->module[shard], bytes);
    free(bytes);
    return status_context(status, "the code for %s%d", gpu->choice.ptx ? "compute_" : "sm_", gpu->choice.arch);
}

static Status open_device(Gpu *gpu, const GpuCode *code, int number, Arena *arena) {
    int count = 0;
    TRY(cuda_driver_open(&gpu->driver));
    TRY(cuda_image_open(code->image, code->image_size, &gpu->image));
    TRY(count_devices(&gpu->driver, &count));
    if (number >= count)
        return status_make(STATUS_IO, "there is no cuda:%d; this machine has %d GPU%s, cuda:0%s", number, count,
                           count == 1 ? "" : "s", count == 1 ? "" : " and so on");
    if (number < 0) {
        TRY(find_device(gpu, count));
    } else {
        TRY(read_info(&gpu->driver, number, &gpu->info, &gpu->device));
        TRY(judge(&gpu->driver, gpu->plan, &gpu->image, &gpu->info, gpu->device, &gpu->choice));
    }
    if (needs_lt(gpu->plan)) {
        gpu->has_lt = true;
        TRY(cublaslt_open(&gpu->lt, gpu->driver.version, arena));
    }
    TRY_CUDA(&gpu->driver, context_retain, &gpu->context, gpu->device);
    TRY_CUDA(&gpu->driver, context_use, gpu->context);
    TRY_CUDA(&gpu->driver, stream_new, &gpu->compute, CU_STREAM_NON_BLOCKING);
    TRY_CUDA(&gpu->driver, stream_new, &gpu->transfer, CU_STREAM_NON_BLOCKING);
    TRY(ARENA_NEW(arena, gpu->module, (size_t)gpu->image.shards + 1));
    TRY(ARENA_NEW(arena, gpu->function, (size_t)gpu->plan->kernels + 1));
    // A driver that cannot read the code makes the device unusable here, not in the first step.
    if (gpu->image.functions > 0) TRY(load_module(gpu, 0));
    if (gpu->has_lt) TRY(gpu_memory(gpu, CUBLASLT_WORKSPACE, "the workspace of cuBLASLt", &gpu->workspace));
    return STATUS_OK;
}

Status gpu_open(const StmPlan *plan, const GpuCode *code, int number, Arena *arena, Gpu **out_gpu) {
    *out_gpu = NULL;
    Gpu *gpu = NULL;
    TRY(ARENA_NEW(arena, gpu, 1));
    gpu->plan = plan;
    Status status = open_device(gpu, code, number, arena);
    if (status != STATUS_OK) gpu_close(gpu);
    else *out_gpu = gpu;
    return status;
}

void gpu_close(Gpu *gpu) {
    if (!gpu) return;
    if (gpu->context) {
        // Clean-up: what fails here has been reported by an earlier call.
        gpu_memory_free(gpu, &gpu->workspace, CUBLASLT_WORKSPACE);
        for (uint32_t i = 0; gpu->module && i < gpu->image.shards; i++)
            if (gpu->module[i]) gpu->driver.module_unload(gpu->module[i]);
        if (gpu->transfer) gpu->driver.stream_free(gpu->transfer);
        if (gpu->compute) gpu->driver.stream_free(gpu->compute);
        cublaslt_close(&gpu->lt);
        gpu->driver.context_release(gpu->device);
    }
    cublaslt_close(&gpu->lt);
    cuda_driver_close(&gpu->driver);
    *gpu = (Gpu){0};
}

Status gpu_function(Gpu *gpu, int kernel, CuFunction *out) {
    if (!gpu->function[kernel]) {
        const StmLaunch *launch = gpu->plan->kernel[kernel].launch;
        int shard = cuda_image_shard(&gpu->image, launch->function);
        if (shard < 0)
            return status_make(STATUS_INTERNAL, "kernel %s: the image has no function %s (this is a bug in stmc)",
                               gpu->plan->kernel[kernel].name, launch->function);
        if (!gpu->module[shard]) TRY(load_module(gpu, shard));
        CuFunction function = NULL;
        TRY_IN(CUDA(&gpu->driver, module_function, &function, gpu->module[shard], launch->function), "kernel %s (%s)",
               gpu->plan->kernel[kernel].name, launch->function);
        if (launch->shared > 0)
            TRY_IN(CUDA(&gpu->driver, function_set, function, CU_FUNCTION_DYNAMIC_SHARED, (int)launch->shared),
                   "kernel %s: %lld bytes of shared memory", gpu->plan->kernel[kernel].name, (long long)launch->shared);
        gpu->function[kernel] = function;
    }
    *out = gpu->function[kernel];
    return STATUS_OK;
}

// ---- Memory ----------------------------------------------------------------------------------------------------

Status gpu_memory(Gpu *gpu, int64_t bytes, const char *purpose, CuAddress *out) {
    *out = 0;
    if (bytes < 1) bytes = 1;
    CuResult result = gpu->driver.memory_new(out, (size_t)bytes);
    if (result == CU_OUT_OF_MEMORY) {
        size_t left = 0, all = 0;
        *out = 0;
        TRY_CUDA(&gpu->driver, memory_info, &left, &all);
        return status_make(
            STATUS_NO_MEMORY,
            "cuda:%d (%s) has no room for %s: %.2f GB are needed, %.2f GB of %.2f GB are free, this "
            "process holds %.2f GB; use a smaller --batch, or stop other programs on the GPU (nvidia-smi "
            "lists them)",
            gpu->info.number, gpu->info.name, purpose, (double)bytes / 1e9, (double)left / 1e9, (double)all / 1e9,
            (double)gpu->used / 1e9);
    }
    TRY_IN(cuda_check(&gpu->driver, result, cuda_names.memory_new), "%s", purpose);
    gpu->used += bytes;
    if (gpu->used > gpu->most_used) gpu->most_used = gpu->used;
    return STATUS_OK;
}

void gpu_memory_free(Gpu *gpu, CuAddress *address, int64_t bytes) {
    if (!*address) return;
    gpu->driver.memory_free(*address);
    gpu->used -= bytes < 1 ? 1 : bytes;
    *address = 0;
}

Status gpu_pinned(Gpu *gpu, int64_t bytes, const char *purpose, void **out) {
    *out = NULL;
    CuResult result = gpu->driver.pinned_new(out, (size_t)(bytes < 1 ? 1 : bytes), 0);
    if (result == CU_OUT_OF_MEMORY)
        return status_make(STATUS_NO_MEMORY,
                           "the system has no %.2f GB of memory that can be locked, for %s; use a smaller --batch",
                           (double)bytes / 1e9, purpose);
    TRY_IN(cuda_check(&gpu->driver, result, cuda_names.pinned_new), "%s", purpose);
    return STATUS_OK;
}

void gpu_pinned_free(Gpu *gpu, void **block) {
    if (*block) gpu->driver.pinned_free(*block);
    *block = NULL;
}

// ---- What memory can do ----------------------------------------------------------------------------------------

enum { COPIES = 9 };

static int by_time(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static Status time_copies(Gpu *gpu, CuAddress to, CuAddress from, size_t bytes, CuEvent start, CuEvent end, float *ms) {
    TRY_CUDA(&gpu->driver, fill, from, 0, bytes, gpu->compute);
    TRY_CUDA(&gpu->driver, copy, to, from, bytes, gpu->compute);
    for (int i = 0; i < COPIES; i++) {
        TRY_CUDA(&gpu->driver, event_record, start, gpu->compute);
        TRY_CUDA(&gpu->driver, copy, to, from, bytes, gpu->compute);
        TRY_CUDA(&gpu->driver, event_record, end, gpu->compute);
        TRY_CUDA(&gpu->driver, event_wait, end);
        TRY_CUDA(&gpu->driver, event_ms, &ms[i], start, end);
    }
    return STATUS_OK;
}

Status gpu_copy_rate(Gpu *gpu, int64_t bytes, double *out) {
    CuAddress to = 0, from = 0;
    CuEvent start = NULL, end = NULL;
    float ms[COPIES];
    *out = 0;
    Status status = gpu_memory(gpu, bytes, "measuring copies", &from);
    if (status == STATUS_OK) status = gpu_memory(gpu, bytes, "measuring copies", &to);
    if (status == STATUS_OK) status = CUDA(&gpu->driver, event_new, &start, 0);
    if (status == STATUS_OK) status = CUDA(&gpu->driver, event_new, &end, 0);
    if (status == STATUS_OK) status = time_copies(gpu, to, from, (size_t)bytes, start, end, ms);
    if (status == STATUS_OK) {
        qsort(ms, COPIES, sizeof *ms, by_time);
        *out = ms[COPIES / 2] > 0 ? 2 * (double)bytes / (double)ms[COPIES / 2] / 1e6 : 0;
    }
    if (start) gpu->driver.event_free(start);
    if (end) gpu->driver.event_free(end);
    gpu_memory_free(gpu, &from, bytes);
    gpu_memory_free(gpu, &to, bytes);
    return status;
}
