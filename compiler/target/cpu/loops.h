// Emission of planned loop phases. requires a LoopPlan; leaves one function in the module.
#ifndef STMC_TARGET_CPU_LOOPS_H
#define STMC_TARGET_CPU_LOOPS_H

#include "target/cpu/lower.h"
#include "target/cpu/module.h"

typedef struct Emit {
    CpuModule *m;
    const LoopPlan *plan;
    LLVMBasicBlockRef entry; // loads of arguments and run-time extents are collected here; NULL: where they are used
    LLVMValueRef buffers, extents, first, last;
    LLVMValueRef scratch;        // NULL: positions outside are not recorded
    LLVMValueRef *base;          // of buffers, loaded on first use
    LLVMValueRef *axis;          // run-time extents
    LLVMValueRef *local;         // values of rank-0 locals
    LLVMValueRef var[LOOP_VARS]; // i64; of the lane variable: its value in lane 0
    int lane, lanes;             // variable across lanes or -1, and how many
    LLVMValueRef mask;           // <lanes x i1> or NULL: all
    LLVMValueRef *value;         // by expression id, while valid
    int *undo;
    int undos;
    const Stage *stage; // the one being emitted
    LLVMValueRef seed, step;
} Emit;

// ---- loops.c
void loops_emit(CpuModule *m, Arena *arena, const LoopPlan *plan);
// ---- access.c
LLVMValueRef emit_mono(Emit *e, Mono x); // i64, in the entry block
LLVMValueRef emit_base(Emit *e, int buffer);
LLVMValueRef emit_read(Emit *e, const Expr *read);
void emit_write(Emit *e, const Stage *stage, LLVMValueRef value);
LLVMValueRef emit_random_index(Emit *e); // i64, a vector when it varies
// ---- scalar.c
LLVMValueRef emit_value(Emit *e, const Expr *x);         // a scalar when it does not vary across lanes
void emit_hoist(Emit *e, const Expr *x, uint64_t inner); // evaluates now what does not depend on `inner` variables
int emit_mark(Emit *e);
void emit_release(Emit *e, int mark);
void emit_match(Emit *e, LLVMValueRef *a, LLVMValueRef *b);                   // splats the scalar one of two
LLVMValueRef emit_max(Emit *e, LLVMValueRef a, LLVMValueRef b, bool minimum); // NaN spreads
LLVMValueRef emit_cast(Emit *e, LLVMValueRef v, ElementType from, ElementType to);

#endif
