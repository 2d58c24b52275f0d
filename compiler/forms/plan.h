// The program between kernels and executable: kernels with the calls that each job makes of them, and the plan (the
// structures of runtime/program/program.h, filled by pass/plan.c and printed here as spec/program.md says).
//
// Ownership: everything lives on the program's arena.
#ifndef STMC_PLAN_H
#define STMC_PLAN_H

#include "../../runtime/program/program.h"
#include "forms/kernels.h"

// One run of a kernel: argument i of the kernel is the storage of program tensor tensor[i]. A batch (pass/batch.c) is
// several runs of one kernel that do not depend on each other, done by one step.
typedef struct KernelCall {
    Kernel *kernel;   // shared by all calls of equal structure
    int *tensor;      // one per Kernel.buffer; in a batch those of its runs one after another
    Extent extent[2]; // step extents: what Extent.axis == program axes + i stands for in this call
    int extents;
    const char *origin; // module path of its first equation
    int64_t flops;      // of this call at the bound extents
    int batch;          // number of runs; 0: no batch but one run
    Extent *more;       // batch: `extents` of each run one after another (extent[] is that of run 0)
} KernelCall;

typedef struct JobCalls {
    Job *job;
    VEC(KernelCall) call; // in execution order
    VEC(Update) in_place; // the kernel that computes `source` writes the block of `target` directly
    VEC(Update) copy;     // copied at the end of the step
    VEC(Update) alias;    // view: `target` is another shape of `source`'s storage
    VEC(int) zero;        // tensors that are zeroed before the first call that writes them (scatters)
} JobCalls;

typedef struct KernelProgram {
    Program *program;
    VEC(Kernel *) kernel; // kernel.at[i]->id == i
    VEC(JobCalls) job;    // in the order of program->job
} KernelProgram;

// The program's kernel of this structure: one that it has, or `made`, which becomes its next. `kind`: what its name
// begins with, the hash follows; NULL: it keeps its name.
const char *kernel_kind(Arena *arena, const Kernel *k); // the name without its hash
Kernel *program_kernel(KernelProgram *k, Kernel *made, const char *kind);

// What a target says about a kernel's code, in the words of the plan. Phases run one after the other; a workspace lives
// while they do.
enum { CODE_MAX_PHASES = 4, CODE_MAX_WORKSPACES = 8 };
typedef struct KernelCode {
    int phases;
    struct {
        const char *name;
        int args;
        int arg[MAX_VARS * 4]; // >= 0 kernel buffer, < 0 workspace ~arg
        Extent parts;          // number of parts: times * ceil(parts / divide)
        int64_t divide, times, scratch, flops;
        const StmLaunch *launch; // CUDA: one of the two
        const StmMatmul *matmul;
    } phase[CODE_MAX_PHASES];
    int workspaces;
    struct {
        int axis[2]; // bytes per unit of extent(axis[0]) * extent(axis[1]); -1: factor 1
        int64_t bytes;
    } workspace[CODE_MAX_WORKSPACES];
} KernelCode;

// By tensor: the tensor whose storage it has (a view its source's, an update in place its target's).
int *storage_roots(Arena *arena, const Program *p, const JobCalls *calls);
static inline int call_runs(const KernelCall *c) {
    return c->batch > 0 ? c->batch : 1;
}
static inline const Extent *call_extents(const KernelCall *c, int run) { // of one run
    return c->batch > 0 ? c->more + run * c->extents : c->extent;
}

int64_t extent_bound(const Program *p, Extent e);         // value at the plan's bounds; step extents count as 1
int64_t element_size(const Program *p, ElementType type); // bytes in memory
const char *element_type_text(const Program *p, ElementType type);
int64_t tensor_elements(const Program *p, const Tensor *t); // at the bounds

// `name` text of spec/program.md. Deterministic.
void plan_print(const StmPlan *plan, Text *out);
// Liveness in the style of "slices [first,last] = bytes @ offset": one line per arena slice, for tests and --emit plan
// -v.
void plan_print_slices(const StmPlan *plan, int job, Text *out);
// Bytes that the job's arena takes at the bound extents (or at `extent`, one value per axis).
int64_t plan_arena_bytes(const StmPlan *plan, int job, const int64_t *extent);
// Bytes of the runtime's own blocks: inputs, scalars, parameters, state.
int64_t plan_persistent_bytes(const StmPlan *plan, const int64_t *extent);

#endif
