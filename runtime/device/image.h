// image: the code of a CUDA plan as the executable carries it (stm_cuda_image): cubins of some architectures and PTX of
// the lowest one. compiler/target/cuda/image.h describes the bytes.
//
// A CudaImage borrows the bytes. Everything is checked before use: a damaged image is an error, never a crash.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"
#include "../core/strings.h"

typedef struct CudaImage {
    const unsigned char *bytes;
    size_t size;
    uint32_t modules, functions, shards;
    uint64_t module_at, function_at, names_at, names_size;
} CudaImage;

typedef struct CudaImageChoice {
    bool ptx;
    int arch; // 80, 90, ...
} CudaImageChoice;

MUST_USE Status cuda_image_open(const unsigned char *bytes, size_t size, CudaImage *out_image);

// The code for a GPU of this compute capability (90: 9.0): cubins of its own architecture, else of the highest one with
// the same major number and a lower minor one, else PTX. False when there is none; cuda_image_archs then says what
// there is.
bool cuda_image_choose(const CudaImage *image, int capability, CudaImageChoice *out_choice);
void cuda_image_archs(const CudaImage *image, Text *text); // "sm_80, sm_90, PTX of 8.0"

int cuda_image_shard(const CudaImage *image, const char *function); // the module that holds it, or -1

// The unpacked bytes of a module (PTX ends in NUL); the caller frees them with free().
MUST_USE Status cuda_image_module(const CudaImage *image, CudaImageChoice choice, int shard, unsigned char **out_bytes);
