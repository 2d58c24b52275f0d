// Loads objects made by the CPU target into this process, for tests: code is tested in the form in which it ships.
#ifndef STMC_TESTS_JIT_H
#define STMC_TESTS_JIT_H

#include "target/cpu/cpu.h"

typedef struct Jit Jit;
typedef void (*JitKernel)(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last);

Jit *jit_open(const CpuObjects *objects, char **error);           // NULL and a message
JitKernel jit_kernel(Jit *jit, const char *name, CpuLevel level); // stm_NAME_vN or NULL
void jit_close(Jit *jit);
bool jit_level_runs(CpuLevel level); // on this machine

#endif
