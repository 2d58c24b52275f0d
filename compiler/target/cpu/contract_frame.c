/* Small building blocks for emitting LLVM IR: integer arithmetic that folds constants, loops, branches, addresses,
   private functions.  Requires a positioned builder in the frame; leaves it at the end of what was emitted. */
#include "contract_internal.h"

#include <stdio.h>
#include <string.h>

LLVMValueRef frame_int(const Frame *f, int64_t value) {
    return LLVMConstInt(f->i64, (unsigned long long)value, true);
}

static bool is_int(LLVMValueRef v, int64_t *value) {
    LLVMValueRef c = LLVMIsAConstantInt(v);
    if (!c) return false;
    *value = LLVMConstIntGetSExtValue(c);
    return true;
}

LLVMValueRef frame_add(Frame *f, LLVMValueRef a, LLVMValueRef b) {
    int64_t x, y;
    if (is_int(a, &x) && x == 0) return b;
    if (is_int(b, &y) && y == 0) return a;
    return LLVMBuildNSWAdd(f->at.builder, a, b, "");
}

LLVMValueRef frame_sub(Frame *f, LLVMValueRef a, LLVMValueRef b) {
    int64_t y;
    if (is_int(b, &y) && y == 0) return a;
    return LLVMBuildNSWSub(f->at.builder, a, b, "");
}

LLVMValueRef frame_mul(Frame *f, LLVMValueRef a, LLVMValueRef b) {
    int64_t x, y;
    if (is_int(a, &x) && x == 1) return b;
    if (is_int(b, &y) && y == 1) return a;
    return LLVMBuildNSWMul(f->at.builder, a, b, "");
}

LLVMValueRef frame_scale(Frame *f, LLVMValueRef a, int64_t b) {
    if (b == 0) return frame_int(f, 0);
    return frame_mul(f, a, frame_int(f, b));
}

LLVMValueRef frame_min(Frame *f, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(f->at.builder, LLVMBuildICmp(f->at.builder, LLVMIntSLT, a, b, ""), a, b, "");
}

LLVMValueRef frame_max(Frame *f, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(f->at.builder, LLVMBuildICmp(f->at.builder, LLVMIntSGT, a, b, ""), a, b, "");
}

LLVMValueRef frame_div(Frame *f, LLVMValueRef a, int64_t b) {
    if (b == 1) return a;
    return LLVMBuildSDiv(f->at.builder, a, frame_int(f, b), "");
}

LLVMValueRef frame_ceil_div(Frame *f, LLVMValueRef a, int64_t b) {
    if (b == 1) return a;
    return frame_div(f, frame_add(f, a, frame_int(f, b - 1)), b);
}

LLVMValueRef frame_element_at(Frame *f, LLVMTypeRef type, LLVMValueRef base, LLVMValueRef offset) {
    return LLVMBuildInBoundsGEP2(f->at.builder, type, base, &offset, 1, "");
}

/* The arrays of buffers and extents do not change while a kernel runs, which LLVM cannot know by itself. */
static LLVMValueRef invariant(Frame *f, LLVMValueRef load) {
    unsigned kind = LLVMGetMDKindIDInContext(f->at.context, "invariant.load", 14);
    LLVMMetadataRef none = LLVMMDNodeInContext2(f->at.context, NULL, 0);
    LLVMSetMetadata(load, kind, LLVMMetadataAsValue(f->at.context, none));
    return load;
}

LLVMValueRef frame_extent(Frame *f, int slot) {
    return invariant(f, frame_load(f, f->i64, frame_element_at(f, f->i64, f->at.extents, frame_int(f, slot))));
}

LLVMValueRef frame_index_extent(Frame *f, int index) {
    const ContractIndex *x = &f->plan->spec.index[index];
    if (x->extent >= 0) return frame_int(f, x->extent);
    return frame_scale(f, frame_max(f, frame_extent(f, x->slot), frame_int(f, 0)), x->factor);
}

LLVMValueRef frame_size(Frame *f, ContractSize size) {
    LLVMValueRef v = frame_int(f, size.constant);
    for (int i = 0; i < size.factors; i++) v = frame_mul(f, v, frame_extent(f, size.slot[i]));
    return v;
}

LLVMValueRef frame_buffer(Frame *f, int buffer) {
    return invariant(f, frame_load(f, f->ptr, frame_element_at(f, f->ptr, f->at.buffers, frame_int(f, buffer))));
}

LLVMValueRef frame_element(Frame *f, LLVMValueRef base, LLVMValueRef offset) {
    int64_t x;
    if (is_int(offset, &x) && x == 0) return base;
    return frame_element_at(f, f->at.element, base, offset);
}

static unsigned element_bytes(const Frame *f) {
    return f->plan->spec.type == CONTRACT_F32 ? 4 : 8;
}

LLVMValueRef frame_load(Frame *f, LLVMTypeRef type, LLVMValueRef address) {
    LLVMValueRef v = LLVMBuildLoad2(f->at.builder, type, address, "");
    if (LLVMGetTypeKind(type) == LLVMVectorTypeKind) LLVMSetAlignment(v, element_bytes(f));
    return v;
}

void frame_store(Frame *f, LLVMValueRef value, LLVMValueRef address) {
    LLVMValueRef v = LLVMBuildStore(f->at.builder, value, address);
    if (LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind) LLVMSetAlignment(v, element_bytes(f));
}

static LLVMBasicBlockRef block(Frame *f) {
    return LLVMAppendBasicBlockInContext(f->at.context, f->at.function, "");
}

Loop frame_loop(Frame *f, LLVMValueRef low, LLVMValueRef high, int64_t step) {
    Loop loop = {block(f), block(f), block(f), NULL, frame_int(f, step)};
    LLVMBasicBlockRef before = LLVMGetInsertBlock(f->at.builder);
    LLVMBuildBr(f->at.builder, loop.head);
    LLVMPositionBuilderAtEnd(f->at.builder, loop.head);
    loop.index = LLVMBuildPhi(f->at.builder, f->i64, "");
    LLVMAddIncoming(loop.index, &low, &before, 1);
    LLVMBuildCondBr(f->at.builder, LLVMBuildICmp(f->at.builder, LLVMIntSLT, loop.index, high, ""), loop.body,
                    loop.done);
    LLVMPositionBuilderAtEnd(f->at.builder, loop.body);
    return loop;
}

void frame_end(Frame *f, Loop *loop) {
    LLVMValueRef next = LLVMBuildNSWAdd(f->at.builder, loop->index, loop->step, "");
    LLVMBasicBlockRef from = LLVMGetInsertBlock(f->at.builder);
    LLVMBuildBr(f->at.builder, loop->head);
    LLVMAddIncoming(loop->index, &next, &from, 1);
    LLVMPositionBuilderAtEnd(f->at.builder, loop->done);
}

Branch frame_if(Frame *f, LLVMValueRef condition) {
    LLVMBasicBlockRef then = block(f);
    Branch branch = {block(f), block(f)};
    LLVMBuildCondBr(f->at.builder, condition, then, branch.otherwise);
    LLVMPositionBuilderAtEnd(f->at.builder, then);
    return branch;
}

void frame_else(Frame *f, Branch *branch) {
    LLVMBuildBr(f->at.builder, branch->done);
    LLVMPositionBuilderAtEnd(f->at.builder, branch->otherwise);
}

void frame_endif(Frame *f, Branch *branch) {
    LLVMBuildBr(f->at.builder, branch->done);
    LLVMPositionBuilderAtEnd(f->at.builder, branch->done);
}

LLVMTypeRef frame_vector(const Frame *f, int lanes) {
    return lanes == 1 ? f->at.element : LLVMVectorType(f->at.element, (unsigned)lanes);
}

static void attribute(LLVMContextRef context, LLVMValueRef function, const char *key, const char *value) {
    LLVMAttributeRef a = LLVMCreateStringAttribute(context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex, a);
}

static void flag(LLVMContextRef context, LLVMValueRef function, LLVMAttributeIndex place, const char *name) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(function, place, LLVMCreateEnumAttribute(context, kind, 0));
}

LLVMValueRef frame_function(Frame *f, const Frame *from, const char *suffix, LLVMTypeRef *arguments, unsigned n,
                            bool internal) {
    *f = *from;
    char name[256];
    snprintf(name, sizeof name, "%s%s", f->plan->spec.name, suffix);
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(f->at.context), arguments, n, false);
    LLVMValueRef function = LLVMAddFunction(f->at.module, name, type);
    if (internal) {
        LLVMSetLinkage(function, LLVMInternalLinkage);
        flag(f->at.context, function, LLVMAttributeFunctionIndex, "noinline");
    }
    attribute(f->at.context, function, "target-cpu", f->plan->cpu.cpu);
    if (f->plan->cpu.features[0]) attribute(f->at.context, function, "target-features", f->plan->cpu.features);
    if (f->plan->cpu.vector_bytes == 64) {
        attribute(f->at.context, function, "prefer-vector-width", "512");
        attribute(f->at.context, function, "min-legal-vector-width", "512");
    }
    flag(f->at.context, function, LLVMAttributeFunctionIndex, "nounwind");
    f->at.function = function;
    LLVMPositionBuilderAtEnd(f->at.builder, LLVMAppendBasicBlockInContext(f->at.context, function, "entry"));
    return function;
}

LLVMValueRef frame_call(Frame *f, LLVMValueRef function, LLVMValueRef *arguments, unsigned n) {
    return LLVMBuildCall2(f->at.builder, LLVMGlobalGetValueType(function), function, arguments, n, "");
}

bool contract_constant_count(const ContractPlan *plan, int index) {
    const ContractIndex *x = &plan->spec.index[index];
    const ContractCut *cut = &plan->cut[index];
    if (x->extent < 0) return !cut->blocked && cut->split && cut->local == 1;
    if (!cut->split && !cut->blocked) return true;
    int64_t groups = plan->group_index == index ? plan->groups : 1;
    return cut->local > 0 && x->extent % (cut->local * groups) == 0;
}

void frame_box_store(Frame *f, LLVMValueRef box) {
    int n = f->plan->spec.indices;
    for (int i = 0; i < n; i++) {
        frame_store(f, f->start[i], frame_element_at(f, f->i64, box, frame_int(f, i)));
        if (!contract_constant_count(f->plan, i))
            frame_store(f, f->count[i], frame_element_at(f, f->i64, box, frame_int(f, n + i)));
    }
}

void frame_box_load(Frame *f, LLVMValueRef box) {
    int n = f->plan->spec.indices;
    for (int i = 0; i < n; i++) {
        const ContractCut *cut = &f->plan->cut[i];
        f->start[i] = cut->split || cut->blocked || i == f->plan->lane
                          ? frame_load(f, f->i64, frame_element_at(f, f->i64, box, frame_int(f, i)))
                          : frame_int(f, 0);
        if (contract_constant_count(f->plan, i)) f->count[i] = frame_int(f, cut->local);
        else f->count[i] = frame_load(f, f->i64, frame_element_at(f, f->i64, box, frame_int(f, n + i)));
    }
}
