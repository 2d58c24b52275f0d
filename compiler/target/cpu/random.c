// Philox4x32-10 (Salmon et al., SC 2011) as IR. The four words are computed lane by lane; the multiplications are 32 x
// 32
// -> 64 bits, which every level has as a vector instruction.
#include "target/cpu/random.h"

enum { ROUNDS = 10 };
static const uint32_t multiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
static const uint32_t weyl[2] = {0x9E3779B9u, 0xBB67AE85u};

static LLVMValueRef philox(CpuModule *m, LLVMValueRef index, LLVMValueRef place, LLVMValueRef seed, LLVMValueRef step) {
    LLVMBuilderRef b = m->builder;
    LLVMTypeRef wide = LLVMTypeOf(index), word = shape_like(m->i32, wide);
    int lanes = lanes_of(wide);
    LLVMValueRef c[4] = {
        LLVMBuildTrunc(b, index, word, ""),
        LLVMBuildTrunc(b, LLVMBuildLShr(b, index, const_int(wide, 32), ""), word, ""),
        splat(m, place, lanes),
        splat(m, step, lanes),
    };
    LLVMValueRef key[2] = {seed, const_i32(m, 0x53544D43)};
    for (int round = 0; round < ROUNDS; round++) {
        LLVMValueRef high[2], low[2];
        for (int i = 0; i < 2; i++) {
            LLVMValueRef product =
                LLVMBuildMul(b, LLVMBuildZExt(b, c[2 * i], wide, ""), const_int(wide, (int64_t)multiplier[i]), "");
            high[i] = LLVMBuildTrunc(b, LLVMBuildLShr(b, product, const_int(wide, 32), ""), word, "");
            low[i] = LLVMBuildTrunc(b, product, word, "");
        }
        LLVMValueRef next0 = LLVMBuildXor(b, LLVMBuildXor(b, high[1], c[1], ""), splat(m, key[0], lanes), "");
        LLVMValueRef next2 = LLVMBuildXor(b, LLVMBuildXor(b, high[0], c[3], ""), splat(m, key[1], lanes), "");
        c[0] = next0;
        c[1] = low[1];
        c[2] = next2;
        c[3] = low[0];
        for (int i = 0; i < 2; i++) key[i] = LLVMBuildAdd(b, key[i], const_i32(m, (int32_t)weyl[i]), "");
    }
    LLVMValueRef bits = LLVMBuildLShr(b, c[0], const_int(word, 8), "");
    LLVMTypeRef real = shape_like(m->real, wide);
    LLVMValueRef number = LLVMBuildSIToFP(b, bits, real, "");
    return LLVMBuildFMul(b, number, const_real(real, 0x1p-24), "");
}

// A private function of the module, one per vector width: ten rounds are too much code to repeat in every kernel.
LLVMValueRef random_emit(CpuModule *m, LLVMValueRef index, LLVMValueRef place, LLVMValueRef seed, LLVMValueRef step) {
    LLVMTypeRef wide = LLVMTypeOf(index), parameter[4] = {wide, m->i32, m->i32, m->i32};
    char symbol[64];
    snprintf(symbol, sizeof symbol, "stm.philox.%d", lanes_of(wide));
    LLVMValueRef f = LLVMGetNamedFunction(m->module, symbol);
    if (!f) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(m->builder);
        f = LLVMAddFunction(m->module, symbol, LLVMFunctionType(shape_like(m->real, wide), parameter, 4, 0));
        LLVMSetLinkage(f, LLVMInternalLinkage);
        module_attributes(m, f);
        LLVMPositionBuilderAtEnd(m->builder, LLVMAppendBasicBlockInContext(m->context, f, "entry"));
        LLVMBuildRet(m->builder,
                     philox(m, LLVMGetParam(f, 0), LLVMGetParam(f, 1), LLVMGetParam(f, 2), LLVMGetParam(f, 3)));
        LLVMPositionBuilderAtEnd(m->builder, here);
    }
    LLVMValueRef arg[4] = {index, place, seed, step};
    return LLVMBuildCall2(m->builder, LLVMGlobalGetValueType(f), f, arg, 4, "");
}
