/* What the files of the contraction emitter share; not for other parts of the compiler. */
#ifndef STMC_TARGET_CPU_CONTRACT_INTERNAL_H
#define STMC_TARGET_CPU_CONTRACT_INTERNAL_H

#include "contract.h"

int64_t contract_coefficient(const ContractDim *dim, int index);
bool contract_vectors_apart(const ContractPlan *plan); /* the output is not contiguous along lanes */
bool contract_uses(const ContractOperand *x, int index);

/* Rows of the second tile size when a dynamic extent leaves fewer than `tile` rows (the third size is 1). */
static inline int64_t contract_dynamic_tail(int64_t tile) {
    return tile > 6 ? 4 : tile > 3 ? 2 : 1;
}

/* contract_plan.c */
void contract_drop_guards(ContractSpec *spec, ContractOperand *x); /* removes guards that extents prove unnecessary */
void contract_plan_lane(const ContractSpec *spec, const CpuFeatures *cpu, int lane, bool scaling, ContractPlan *plan);

/* A function under construction: its emit point, the values of the indices there, handy types. */
typedef struct Frame {
    EmitPoint at;
    const ContractPlan *plan;
    LLVMTypeRef i64, ptr, vector;
    LLVMValueRef start[CONTRACT_MAX_INDICES]; /* first value of the current block of each index */
    LLVMValueRef count[CONTRACT_MAX_INDICES]; /* number of values in the current block */
} Frame;

typedef struct Loop {
    LLVMBasicBlockRef head, body, done;
    LLVMValueRef index, step;
} Loop;

typedef struct Branch {
    LLVMBasicBlockRef otherwise, done;
} Branch;

LLVMValueRef frame_int(const Frame *f, int64_t value);
LLVMValueRef frame_add(Frame *f, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef frame_sub(Frame *f, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef frame_mul(Frame *f, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef frame_scale(Frame *f, LLVMValueRef a, int64_t b);
LLVMValueRef frame_min(Frame *f, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef frame_max(Frame *f, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef frame_div(Frame *f, LLVMValueRef a, int64_t b);
LLVMValueRef frame_ceil_div(Frame *f, LLVMValueRef a, int64_t b);
LLVMValueRef frame_extent(Frame *f, int slot);
LLVMValueRef frame_index_extent(Frame *f, int index);
LLVMValueRef frame_size(Frame *f, ContractSize size);
LLVMValueRef frame_buffer(Frame *f, int buffer);
LLVMValueRef frame_element_at(Frame *f, LLVMTypeRef type, LLVMValueRef base, LLVMValueRef offset);
LLVMValueRef frame_element(Frame *f, LLVMValueRef base, LLVMValueRef offset);
LLVMValueRef frame_load(Frame *f, LLVMTypeRef type, LLVMValueRef address);
void frame_store(Frame *f, LLVMValueRef value, LLVMValueRef address);
Loop frame_loop(Frame *f, LLVMValueRef low, LLVMValueRef high, int64_t step);
void frame_end(Frame *f, Loop *loop);
Branch frame_if(Frame *f, LLVMValueRef condition);
void frame_else(Frame *f, Branch *branch);
void frame_endif(Frame *f, Branch *branch);
LLVMTypeRef frame_vector(const Frame *f, int lanes);

/* A private function of n arguments; the frame is positioned at its entry. */
LLVMValueRef frame_function(Frame *f, const Frame *from, const char *suffix, LLVMTypeRef *arguments, unsigned n,
                            bool internal);
LLVMValueRef frame_call(Frame *f, LLVMValueRef function, LLVMValueRef *arguments, unsigned n);

/* The block's starts and counts travel to helper functions in an array of 2 * indices i64. */
void frame_box_store(Frame *f, LLVMValueRef box);
void frame_box_load(Frame *f, LLVMValueRef box);

/* Value of an operand at coordinates (already inside the guards). */
LLVMValueRef contract_load(Frame *f, const ContractOperand *x, LLVMValueRef coordinate[], int lane_dim, int lanes);

/* Emitters of helper functions (contract_pack.c): void pack(buffers, extents, destination, box [, panel lane]). */
LLVMValueRef contract_emit_pack_p(const Frame *from);
LLVMValueRef contract_emit_pack_q(const Frame *from, int nv);

/* contract_tile.c: void tile(p, q, sums, counts of dynamic K loops..) and void finish(buffers, extents, sums, box). */
typedef struct KLoop {
    int64_t count; /* constant count, or -1: argument number `argument` */
    int index;     /* the index whose count is dynamic */
    int64_t p_step, q_step;
} KLoop;

int contract_k_loops(const ContractPlan *plan, int nv, KLoop loops[CONTRACT_MAX_INDICES]);
bool contract_constant_count(const ContractPlan *plan, int index);
LLVMValueRef contract_emit_tile(const Frame *from, int64_t rows0, int64_t rows1, int nv);
LLVMValueRef contract_emit_finish(const Frame *from, int nv);

#endif
