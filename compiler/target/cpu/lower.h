// The plan of one loop phase: which loops run, in which order, what goes across lanes, how parts are cut. The same for
// every instruction set; loops.c emits from it and decides nothing but unrolling.
#ifndef STMC_TARGET_CPU_LOWER_H
#define STMC_TARGET_CPU_LOWER_H

#include "forms/nest.h"
#include "target/cpu/cpu.h"

enum { LOOP_VARS = NEST_VARS, WIDEST = 16 };

typedef struct LoopStage {
    int frees, free[MAX_VARS + 1];
    int reds, red[MAX_VARS + 1];
    int lane;     // among free or red, then the last there; or -1
    int64_t cost; // operations of one evaluation of the value
} LoopStage;

typedef struct LoopPlan {
    Nest nest;                    // of this phase
    int64_t *local_offset;        // in scratch; -1 for rank 0
    int outers, outer[LOOP_VARS]; // loops without the lane, outermost first
    int lane;                     // outer variable across lanes, or -1
    int cuts;                     // outer[0..cuts) are flattened and cut into parts
    bool cut_lane;                // the lane variable is cut instead
    Extent parts;
    int64_t divide;
    int64_t scratch;
    LoopStage *stage;
    int chunks; // of the variable nest.chunked
} LoopPlan;

const char *plan_loops(Arena *arena, const Program *p, const Kernel *k, const char *name, const CpuOptions *options,
                       LoopPlan *out); // `unmerged`, `chunked` and `chunk` of its nest and `chunks` are inputs

#endif
