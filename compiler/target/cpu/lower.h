// The plan of one loop phase: which loops run, in which order, what goes across lanes, how parts are cut. The same for
// every instruction set; loops.c emits from it and decides nothing but unrolling.
#ifndef STMC_TARGET_CPU_LOWER_H
#define STMC_TARGET_CPU_LOWER_H

#include "target/cpu/cpu.h"

enum { LOOP_VARS = 2 * MAX_VARS + 2, MONO_AXES = 6, WIDEST = 16 };

typedef struct Mono { // k * product of run-time axes, sorted
    int64_t k;
    int axes;
    int axis[MONO_AXES];
} Mono;
Mono mono_of(int64_t k);
Mono mono_extent(Extent e);
bool mono_multiply(Mono a, Mono b, Mono *product); // false: too many axes
bool mono_same(Mono a, Mono b);
int64_t mono_bound(const Program *p, Mono m); // at the bounds of the axes

// Bit of ExprInfo.uses: depends on what an earlier stage of the same outer iteration wrote.
#define USES_LATE ((uint64_t)1 << 63)

typedef struct ExprInfo {
    const Expr *expr;
    uint64_t uses; // variables that its value depends on (merged and single-valued ones left out)
    int cost;      // scalar operations of the node alone
    bool gathers;
} ExprInfo;

typedef struct LoopVar {
    Mono extent; // after merging
    int64_t bound;
    bool gone; // merged into another, or of extent 1: its value is 0
} LoopVar;

typedef struct LoopStage {
    int frees, free[MAX_VARS + 1];
    int reds, red[MAX_VARS + 1];
    int lane;     // among free or red, then the last there; or -1
    int64_t cost; // operations of one evaluation of the value
} LoopStage;

typedef struct LoopPlan {
    const Program *program;
    const Kernel *kernel; // of this phase; workspaces are appended buffers
    const char *name;
    int vars;
    LoopVar var[LOOP_VARS];
    Mono (*stride)[MAX_RANK];       // of buffers, per dimension
    Mono (*local_stride)[MAX_RANK]; // of locals, in elements of one lane
    int64_t *local_offset;          // in scratch; -1 for rank 0
    int outers, outer[LOOP_VARS];   // loops without the lane, outermost first
    int lane;                       // outer variable across lanes, or -1
    int cuts;                       // outer[0..cuts) are flattened and cut into parts
    bool cut_lane;                  // the lane variable is cut instead
    Extent parts;
    int64_t divide;
    int64_t scratch;
    LoopStage *stage;
    bool unmerged;              // input: keep all variables apart
    int chunked, chunk, chunks; // variable cut into `chunks` pieces numbered by variable `chunk`; or -1
    int *arg_of;                // argument number of each buffer, -1: not used
    bool gathers, scatters;
    ExprInfo *expr; // by id
    int exprs;
    struct {
        const Expr *key;
        int id;
    } * table;
    int table_size;
} LoopPlan;

int plan_expr(const LoopPlan *plan, const Expr *e); // id
const char *plan_loops(Arena *arena, const Program *p, const Kernel *k, const char *name, const CpuOptions *options,
                       LoopPlan *out); // `chunked`, `chunk`, `chunks` of *out are inputs
// What a position can be, from static extents; false when it depends on a dynamic one.
bool position_range(const LoopPlan *plan, const Position *x, int64_t *low, int64_t *high);
bool position_checked(const LoopPlan *plan, const Position *x, Extent dim); // must be compared with its dimension
bool position_uses(const LoopPlan *plan, const Position *x, int var);       // not through a gather

// Element stride of `var` in an access: 0 it does not occur, 1 *stride, 2 no constant stride.
int access_stride(const LoopPlan *plan, int tensor, int rank, const Position *position, int var, Mono *stride);
// Row-major number that RANDOM is keyed by, as strides over variables: false when the stage has none.
bool random_stride(const LoopPlan *plan, const Stage *stage, int var, Mono *stride);

#endif
