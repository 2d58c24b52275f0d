// How a kernel's loops run on a GPU: what schedule.c decides, and between the files that write it as CUDA C.
//
// One scheme. An outer iteration belongs to a group of `members` threads (a power of two); a block holds `groups` of
// them. Two orders of threads: by rows, where the threads of a group are neighbours (they walk memory along inner
// variables), and by columns, where thread g of `groups` neighbours has the same member number in outer iteration g
// (neighbours walk memory along the fastest outer variable, and the slices of a reduction lie across warps). With one
// member a thread runs its outer iteration alone. Nothing depends on more than extents, so results are reproducible.
#ifndef STMC_TARGET_CUDA_LOOPS_H
#define STMC_TARGET_CUDA_LOOPS_H

#include "target/cuda/expr.h"

enum { LOOPS_THREADS = 256, LOOPS_SHARED = 34 * 1024, LOOPS_GRID = 2112 };

typedef enum StageMode {
    STAGE_ONCE,   // no loops: every member computes the value, one stores it
    STAGE_SPREAD, // free variables over the members, the others in the thread
    STAGE_REDUCE, // free variables one after another, reduced ones over the members
} StageMode;

typedef struct LoopStage {
    StageMode mode;
    int free[NEST_VARS], frees;   // outermost first, merged ones left out
    int order[NEST_VARS], orders; // SPREAD, scatters: free variables that keep their order, in the thread
    int red[NEST_VARS], reds;
    int vector, width; // along the last of `free` (SPREAD) or `red` (REDUCE); or -1 and 1
    bool rest;         // the loop ends with single elements
    int leader;        // stage at which its loop runs: itself, or an earlier one that reduces over the same elements
    int cost;          // operations of an evaluation
    bool barrier;      // before it
} LoopStage;

typedef struct LoopPlan {
    Nest nest;
    int outer[NEST_VARS], outers;   // parallel ones, the slowest first
    int serial[NEST_VARS], serials; // outer ones whose iterations write to the same places: in order
    int members, groups;
    bool columns;
    int vector, width; // along the fastest outer variable, or -1 and 1
    bool rest;         // the extent of the only outer variable may not be a multiple of `width`
    bool strided;      // more than one run-time extent: a fixed grid walks the blocks
    int chunks;        // of outer variable 0, which numbers pieces of the reductions; or 0
    int tail;          // stages from here on are computed by member 0 alone
    Mono total;        // outer iterations
    LoopStage *stage;
    int pitch[64];  // elements of an array local per group, in shared memory
    bool *used;     // locals that some stage reads or writes
    bool scratch;   // reductions over members meet in shared memory
    int64_t shared; // bytes of arrays
} LoopPlan;

// `chunks`, nest.chunk and nest.chunked are inputs. Locals must have static dimensions.
const char *loops_plan(Arena *arena, const Program *p, const Kernel *k, const char *name, LoopPlan *plan);
// Outer iterations of a block, and bytes of its scratch.
int64_t loops_per_block(const LoopPlan *plan);
bool stage_reads(const Kernel *k, const Stage *stage, int tensor);

// A function being written.
typedef struct Emit {
    Arena *arena;
    const LoopPlan *plan;
    Text body;
    CudaScope s;
    const char *member, *active; // C expressions; active NULL: always
    bool reduces, scatters;      // headers it needs
} Emit;

// ---- group.c
void emit_stages(Emit *e); // of one outer iteration, whose variables are in scope
void emit_barrier(Emit *e);

// ---- scatter.c
// Is it a kernel of one accumulating stage with one gathered position, *dimension of the destination? A warp then does
// each of its rows.
bool scatter_by_rows(const Nest *nest, int *dimension);
void emit_scatter(Emit *e, int dimension);

#endif
