// One LLVM module for one instruction set, and the small vocabulary that the emitters (loops, math, random, contract)
// share. A CpuModule belongs to one thread.
#ifndef STMC_TARGET_CPU_MODULE_H
#define STMC_TARGET_CPU_MODULE_H

#include "target/cpu/cpu.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

typedef struct CpuModule {
    CpuLevel level;
    bool real64; // REAL is f64
    bool fma;    // v3, v4
    int lanes;   // f32 (or f64 when real64) lanes of a full vector: 4, 8, 16 (2, 4, 8)
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMTargetMachineRef machine;
    LLVMTypeRef real, f32, f64, i1, i8, i16, i32, i64, ptr, nothing;
    LLVMValueRef zeros; // constant of 1024 zero bytes, 64-byte aligned: where guarded reads look when outside
} CpuModule;

const char *module_open(CpuModule *m, CpuLevel level, bool real64, Arena *arena); // NULL or an error
void module_close(CpuModule *m);

// A function of StmKernel's type named stm_NAME_vN with its entry block; the builder stands in it.
// Parameters by LLVMGetParam: 0 buffer, 1 extent, 2 scratch, 3 first, 4 last.
LLVMValueRef module_function(CpuModule *m, const char *name);
// Sets the attributes (cpu, vector width, nounwind) that every function of the module must have to be inlined and
// legal.
void module_attributes(CpuModule *m, LLVMValueRef function);
LLVMBasicBlockRef module_block(CpuModule *m, const char *name); // appended to the builder's function
LLVMValueRef module_alloca(CpuModule *m, LLVMTypeRef type);     // in the entry block of the builder's function

LLVMTypeRef module_type(const CpuModule *m, ElementType type);        // of a value: bool is i1
LLVMTypeRef module_memory_type(const CpuModule *m, ElementType type); // in memory: bool is i8
int64_t element_bytes(bool real64, ElementType type);

// ---- values: v is a scalar or a vector; `like` gives scalar or vector shape
LLVMTypeRef vector_of(LLVMTypeRef element, int lanes);         // the element itself when lanes is 1
LLVMTypeRef shape_like(LLVMTypeRef element, LLVMTypeRef like); // element, or a vector of it as wide as `like`
int lanes_of(LLVMTypeRef type);                                // 1 for scalars
LLVMTypeRef element_of(LLVMTypeRef type);
LLVMValueRef const_i64(const CpuModule *m, int64_t v);
LLVMValueRef const_i32(const CpuModule *m, int32_t v);
LLVMValueRef const_real(LLVMTypeRef type, double v); // splat when vector
LLVMValueRef const_int(LLVMTypeRef type, int64_t v); // splat when vector
LLVMValueRef splat(const CpuModule *m, LLVMValueRef scalar, int lanes);
LLVMValueRef iota(const CpuModule *m, LLVMTypeRef element, int lanes, int64_t step); // 0, step, 2*step, ...
LLVMValueRef extract(const CpuModule *m, LLVMValueRef vector, int lane);
// Calls the intrinsic `name` overloaded on `types`.
LLVMValueRef intrinsic(const CpuModule *m, const char *name, LLVMTypeRef *types, int type_count, LLVMValueRef *args,
                       int count);
LLVMValueRef intrinsic1(const CpuModule *m, const char *name, LLVMValueRef a); // overloaded on the type of a
LLVMValueRef fma_or_mad(const CpuModule *m, LLVMValueRef a, LLVMValueRef b,
                        LLVMValueRef c);   // a*b+c, fused on v3 and v4
LLVMValueRef contractible(LLVMValueRef v); // allows the instruction to be fused into a multiply-add

// ---- loops: for (i = from; i < to; i += step) with i64 bounds
typedef struct LoopBlocks {
    LLVMValueRef index, to, step;
    LLVMBasicBlockRef body, exit;
} LoopBlocks;
LoopBlocks loop_begin(CpuModule *m, LLVMValueRef from, LLVMValueRef to, int64_t step);
void loop_end(CpuModule *m, LoopBlocks *loop); // the builder then stands after the loop

#endif
