// What a compiled function takes of the machine: from ptxas' words in the log, or, where the log has none, from the
// notes of the cubin itself.
#ifndef STMC_TARGET_CUDA_CUBIN_H
#define STMC_TARGET_CUDA_CUBIN_H

#include "base/base.h"

typedef struct CubinResources {
    int registers;         // of a thread
    int64_t static_shared; // bytes of a block
    int64_t spills;        // bytes a thread stores to and loads from memory for want of registers
} CubinResources;

// Of the function `name`; false when the log does not tell.
bool cubin_from_log(const char *log, const char *name, CubinResources *out);

// The same from the ELF file. It does not tell spills from other local memory: the frame of the stack counts as them.
// False: not such a file, damaged, or without this function.
bool cubin_from_elf(const void *bytes, size_t size, const char *name, CubinResources *out);

#endif
