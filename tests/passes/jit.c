// Objects into memory through LLVM's LLJIT. See jit.h.
#include "jit.h"

#include <llvm-c/Core.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>
#include <stdlib.h>
#include <string.h>

struct Jit {
    LLVMOrcLLJITRef lljit;
};

static bool failed(LLVMErrorRef e, char **error) {
    if (!e) return false;
    char *message = LLVMGetErrorMessage(e);
    *error = strdup(message);
    LLVMDisposeErrorMessage(message);
    return true;
}

Jit *jit_open(const CpuObjects *objects, char **error) {
    Jit *jit = calloc(1, sizeof *jit);
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    if (failed(LLVMOrcCreateLLJIT(&jit->lljit, NULL), error)) return NULL;
    LLVMOrcJITDylibRef main = LLVMOrcLLJITGetMainJITDylib(jit->lljit);
    LLVMOrcDefinitionGeneratorRef process;
    if (failed(LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&process, LLVMOrcLLJITGetGlobalPrefix(jit->lljit),
                                                                    NULL, NULL),
               error))
        return NULL;
    LLVMOrcJITDylibAddGenerator(main, process);
    for (int i = 0; i < objects->object.count; i++) {
        const CpuObject *o = &objects->object.at[i];
        LLVMMemoryBufferRef b = LLVMCreateMemoryBufferWithMemoryRangeCopy(o->bytes, o->size, o->name);
        if (failed(LLVMOrcLLJITAddObjectFile(jit->lljit, main, b), error)) return NULL;
    }
    return jit;
}

JitKernel jit_kernel(Jit *jit, const char *name, CpuLevel level) {
    char symbol[512];
    LLVMOrcExecutorAddress at = 0;
    snprintf(symbol, sizeof symbol, "stm_%s_%s", name, cpu_level_suffix[level]);
    LLVMErrorRef e = LLVMOrcLLJITLookup(jit->lljit, &at, symbol);
    if (e) {
        char *message = LLVMGetErrorMessage(e);
        printf("%s\n", message);
        LLVMDisposeErrorMessage(message);
        return NULL;
    }
    return (JitKernel)(uintptr_t)at;
}

void jit_close(Jit *jit) {
    LLVMErrorRef e = LLVMOrcDisposeLLJIT(jit->lljit);
    if (e) LLVMConsumeError(e);
    free(jit);
}

bool jit_level_runs(CpuLevel level) {
    __builtin_cpu_init();
    if (level == CPU_V2) return __builtin_cpu_supports("x86-64-v2");
    if (level == CPU_V3) return __builtin_cpu_supports("x86-64-v3");
    return __builtin_cpu_supports("x86-64-v4");
}
