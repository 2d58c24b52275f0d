// One LLVM module for one instruction set: set-up, types, values, loops. cpu.c drives it.
#include "target/cpu/module.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <pthread.h>
#include <string.h>

const char *const cpu_level_suffix[CPU_LEVELS] = {"v2", "v3", "v4"};
static const char *const level_cpu[CPU_LEVELS] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
static const int level_bytes[CPU_LEVELS] = {16, 32, 64};

static void initialise_once(void) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    // Loop strength reduction takes a quarter of the time of code generation and changes nothing measurable in loops
    // that are hoisted and vectorised by hand (map, rows, pool and convolution kernels, whole training steps). The C
    // API has no other switch.
    const char *const options[] = {"stmc", "-disable-lsr"};
    LLVMParseCommandLineOptions(2, options, NULL);
}

const char *module_open(CpuModule *m, CpuLevel level, bool real64, Arena *arena) {
    static pthread_once_t once = PTHREAD_ONCE_INIT; // LLVM's own registry of targets is global; it must be filled once
    pthread_once(&once, initialise_once);
    memset(m, 0, sizeof *m);
    m->level = level;
    m->real64 = real64;
    m->fma = level >= CPU_V3;
    m->lanes = level_bytes[level] / (real64 ? 8 : 4);
    const char *triple = "x86_64-unknown-linux-gnu";
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(triple, &target, &message)) {
        const char *error = arena_format(arena, "LLVM has no target for %s: %s", triple, message);
        LLVMDisposeMessage(message);
        return error;
    }
    m->machine = LLVMCreateTargetMachine(target, triple, level_cpu[level], "", LLVMCodeGenLevelDefault, LLVMRelocPIC,
                                         LLVMCodeModelDefault);
    if (!m->machine) return arena_format(arena, "LLVM cannot make code for %s", level_cpu[level]);
    m->context = LLVMContextCreate();
    m->module = LLVMModuleCreateWithNameInContext("stm", m->context);
    m->builder = LLVMCreateBuilderInContext(m->context);
    LLVMSetTarget(m->module, triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(m->machine);
    LLVMSetModuleDataLayout(m->module, layout);
    LLVMDisposeTargetData(layout);
    m->f32 = LLVMFloatTypeInContext(m->context);
    m->f64 = LLVMDoubleTypeInContext(m->context);
    m->real = real64 ? m->f64 : m->f32;
    m->i1 = LLVMInt1TypeInContext(m->context);
    m->i8 = LLVMInt8TypeInContext(m->context);
    m->i16 = LLVMInt16TypeInContext(m->context);
    m->i32 = LLVMInt32TypeInContext(m->context);
    m->i64 = LLVMInt64TypeInContext(m->context);
    m->ptr = LLVMPointerTypeInContext(m->context, 0);
    m->nothing = LLVMVoidTypeInContext(m->context);
    LLVMTypeRef block = LLVMArrayType2(m->i8, 1024);
    m->zeros = LLVMAddGlobal(m->module, block, "stm.zeros");
    LLVMSetInitializer(m->zeros, LLVMConstNull(block));
    LLVMSetGlobalConstant(m->zeros, 1);
    LLVMSetLinkage(m->zeros, LLVMInternalLinkage);
    LLVMSetAlignment(m->zeros, 64);
    return NULL;
}

void module_close(CpuModule *m) {
    if (m->builder) LLVMDisposeBuilder(m->builder);
    if (m->module) LLVMDisposeModule(m->module);
    if (m->context) LLVMContextDispose(m->context);
    if (m->machine) LLVMDisposeTargetMachine(m->machine);
    memset(m, 0, sizeof *m);
}

static void text_attribute(CpuModule *m, LLVMValueRef function, const char *key, const char *value) {
    LLVMAttributeRef a =
        LLVMCreateStringAttribute(m->context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, a);
}

static void flag_attribute(CpuModule *m, LLVMValueRef function, unsigned index, const char *name) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(function, index, LLVMCreateEnumAttribute(m->context, kind, 0));
}

void module_attributes(CpuModule *m, LLVMValueRef function) {
    static const char *const width[CPU_LEVELS] = {"128", "256", "512"};
    text_attribute(m, function, "target-cpu", level_cpu[m->level]);
    text_attribute(m, function, "prefer-vector-width", width[m->level]);
    text_attribute(m, function, "min-legal-vector-width", width[m->level]);
    flag_attribute(m, function, LLVMAttributeFunctionIndex, "nounwind");
}

LLVMValueRef module_function(CpuModule *m, const char *name) {
    char symbol[512];
    snprintf(symbol, sizeof symbol, "stm_%s_%s", name, cpu_level_suffix[m->level]);
    LLVMTypeRef parameter[5] = {m->ptr, m->ptr, m->ptr, m->i64, m->i64};
    LLVMValueRef function = LLVMAddFunction(m->module, symbol, LLVMFunctionType(m->nothing, parameter, 5, 0));
    module_attributes(m, function);
    for (unsigned i = 1; i <= 3; i++) {
        flag_attribute(m, function, i, "nocapture");
        if (i < 3) flag_attribute(m, function, i, "readonly");
        if (i < 3) flag_attribute(m, function, i, "noalias");
    }
    LLVMPositionBuilderAtEnd(m->builder, LLVMAppendBasicBlockInContext(m->context, function, "entry"));
    return function;
}

LLVMBasicBlockRef module_block(CpuModule *m, const char *name) {
    LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(m->builder));
    return LLVMAppendBasicBlockInContext(m->context, function, name);
}

LLVMValueRef module_alloca(CpuModule *m, LLVMTypeRef type) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(m->builder);
    LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(LLVMGetBasicBlockParent(here));
    LLVMValueRef first = LLVMGetFirstInstruction(entry);
    if (first) LLVMPositionBuilderBefore(m->builder, first);
    else LLVMPositionBuilderAtEnd(m->builder, entry);
    LLVMValueRef slot = LLVMBuildAlloca(m->builder, type, "");
    LLVMPositionBuilderAtEnd(m->builder, here);
    return slot;
}

LLVMTypeRef module_type(const CpuModule *m, ElementType type) {
    switch (type) {
    case T_REAL: return m->real;
    case T_I32: return m->i32;
    case T_I64: return m->i64;
    case T_U8: return m->i8;
    case T_BOOL: return m->i1;
    case T_BF16: // refused by cpu_lower
    case T_COUNT: break;
    }
    DIE("element type %d", (int)type);
}

LLVMTypeRef module_memory_type(const CpuModule *m, ElementType type) {
    return type == T_BOOL ? m->i8 : module_type(m, type);
}

int64_t element_bytes(bool real64, ElementType type) {
    switch (type) {
    case T_REAL: return real64 ? 8 : 4;
    case T_I32: return 4;
    case T_I64: return 8;
    case T_U8:
    case T_BOOL: return 1;
    case T_BF16:
    case T_COUNT: break;
    }
    DIE("element type %d", (int)type);
}

LLVMTypeRef vector_of(LLVMTypeRef element, int lanes) {
    return lanes == 1 ? element : LLVMVectorType(element, (unsigned)lanes);
}

int lanes_of(LLVMTypeRef type) {
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(type) : 1;
}

LLVMTypeRef element_of(LLVMTypeRef type) {
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

LLVMTypeRef shape_like(LLVMTypeRef element, LLVMTypeRef like) {
    return vector_of(element, lanes_of(like));
}

LLVMValueRef const_i64(const CpuModule *m, int64_t v) {
    return LLVMConstInt(m->i64, (unsigned long long)v, 1);
}
LLVMValueRef const_i32(const CpuModule *m, int32_t v) {
    return LLVMConstInt(m->i32, (unsigned long long)(int64_t)v, 1);
}

static LLVMValueRef const_splat(LLVMValueRef scalar, int lanes) {
    LLVMValueRef element[64];
    if (lanes == 1) return scalar;
    EXPECT(lanes <= 64);
    for (int i = 0; i < lanes; i++) element[i] = scalar;
    return LLVMConstVector(element, (unsigned)lanes);
}

LLVMValueRef const_real(LLVMTypeRef type, double v) {
    return const_splat(LLVMConstReal(element_of(type), v), lanes_of(type));
}

LLVMValueRef const_int(LLVMTypeRef type, int64_t v) {
    return const_splat(LLVMConstInt(element_of(type), (unsigned long long)v, 1), lanes_of(type));
}

LLVMValueRef splat(const CpuModule *m, LLVMValueRef scalar, int lanes) {
    if (lanes == 1 || lanes_of(LLVMTypeOf(scalar)) > 1) return scalar;
    if (LLVMIsConstant(scalar) && (LLVMIsAConstantInt(scalar) || LLVMIsAConstantFP(scalar)))
        return const_splat(scalar, lanes);
    LLVMTypeRef type = vector_of(LLVMTypeOf(scalar), lanes);
    LLVMValueRef one = LLVMBuildInsertElement(m->builder, LLVMGetPoison(type), scalar, const_i32(m, 0), "");
    return LLVMBuildShuffleVector(m->builder, one, LLVMGetPoison(type), LLVMConstNull(vector_of(m->i32, lanes)), "");
}

LLVMValueRef iota(const CpuModule *m, LLVMTypeRef element, int lanes, int64_t step) {
    LLVMValueRef at[64];
    (void)m;
    EXPECT(lanes <= 64);
    for (int i = 0; i < lanes; i++) at[i] = LLVMConstInt(element, (unsigned long long)(i * step), 1);
    return lanes == 1 ? at[0] : LLVMConstVector(at, (unsigned)lanes);
}

LLVMValueRef extract(const CpuModule *m, LLVMValueRef vector, int lane) {
    if (lanes_of(LLVMTypeOf(vector)) == 1) return vector;
    return LLVMBuildExtractElement(m->builder, vector, const_i32(m, lane), "");
}

LLVMValueRef intrinsic(const CpuModule *m, const char *name, LLVMTypeRef *types, int type_count, LLVMValueRef *args,
                       int count) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id) DIE("no intrinsic %s", name);
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(m->module, id, types, (size_t)type_count);
    return LLVMBuildCall2(m->builder, LLVMGlobalGetValueType(function), function, args, (unsigned)count, "");
}

LLVMValueRef intrinsic1(const CpuModule *m, const char *name, LLVMValueRef a) {
    LLVMTypeRef type = LLVMTypeOf(a);
    return intrinsic(m, name, &type, 1, &a, 1);
}

LLVMValueRef fma_or_mad(const CpuModule *m, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    if (!m->fma) return LLVMBuildFAdd(m->builder, LLVMBuildFMul(m->builder, a, b, ""), c, "");
    LLVMTypeRef type = LLVMTypeOf(a);
    return intrinsic(m, "llvm.fma", &type, 1, (LLVMValueRef[]){a, b, c}, 3);
}

LLVMValueRef contractible(LLVMValueRef v) {
    if (LLVMCanValueUseFastMathFlags(v)) LLVMSetFastMathFlags(v, LLVMFastMathAllowContract);
    return v;
}

LoopBlocks loop_begin(CpuModule *m, LLVMValueRef from, LLVMValueRef to, int64_t step) {
    LLVMBasicBlockRef before = LLVMGetInsertBlock(m->builder);
    LoopBlocks loop = {.to = to, .step = const_i64(m, step)};
    loop.body = module_block(m, "loop");
    loop.exit = module_block(m, "done");
    LLVMValueRef some = LLVMBuildICmp(m->builder, LLVMIntSLT, from, to, "");
    LLVMBuildCondBr(m->builder, some, loop.body, loop.exit);
    LLVMPositionBuilderAtEnd(m->builder, loop.body);
    loop.index = LLVMBuildPhi(m->builder, m->i64, "");
    LLVMAddIncoming(loop.index, &from, &before, 1);
    return loop;
}

void loop_end(CpuModule *m, LoopBlocks *loop) {
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(m->builder);
    LLVMValueRef next = LLVMBuildNSWAdd(m->builder, loop->index, loop->step, "");
    LLVMAddIncoming(loop->index, &next, &latch, 1);
    LLVMValueRef more = LLVMBuildICmp(m->builder, LLVMIntSLT, next, loop->to, "");
    LLVMBuildCondBr(m->builder, more, loop->body, loop->exit);
    LLVMMoveBasicBlockAfter(loop->exit, latch);
    LLVMPositionBuilderAtEnd(m->builder, loop->exit);
}
