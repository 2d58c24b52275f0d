// machine: a plan with memory and threads; it runs jobs.
//
// Memory: one block for parameters, state and scalars, made at start; one arena shared by the jobs, as large
// as the largest job prepared so far (nothing in it outlives a run, except that outputs may be read until the
// next run). machine_run allocates nothing. Inputs belong to the caller and are bound by pointer.
// Threads: a Machine is used by one thread; its pool does the parallel part.
#pragma once

#include "../core/pool.h"
#include "../core/strings.h"
#include "plan.h"

typedef enum Isa { ISA_V2, ISA_V3, ISA_V4 } Isa; // x86-64-v2, -v3, -v4

typedef struct StepTime {
    int64_t calls, ns;
    double flops;
} StepTime;

typedef struct JobState {
    void **argument;     // arguments of all steps, one after another
    int64_t *first;      // [steps] where a step's arguments start
    bool *light;         // [steps] too little work to share: run by the calling thread alone
    int64_t *group_base; // [groups] offset in the arena
    StepTime *time;      // [steps] when profiling
} JobState;

typedef struct Machine {
    const StmPlan *plan;
    Pool *pool;
    Isa isa;
    StmKernel *kernel; // [kernels] of the chosen instruction set
    int64_t *extent;   // [axes + 2] of the job prepared last, then the running step's own
    int64_t *bound;    // [axes + 2] declared counts, the same way
    void **block;      // [tensors] address of inputs, scalars, parameters, state; NULL: temporary or not bound
    JobState *state;   // [jobs]
    char *persistent;  // parameters, state, scalars
    int64_t persistent_bytes;
    char *arena_base;
    int64_t arena_bytes; // as allocated
    char *scratch;       // [threads][scratch_stride]
    int64_t scratch_stride;
    const StmJob *prepared;
    bool dirty;   // pointers or extents changed since the arguments were laid out
    bool resized; // extents changed since the steps were weighed
    bool profile;
} Machine;

// The instruction set of this CPU, or the one that the environment variable STM_ISA names (v2, v3, v4), for
// tests. Asking for one that the CPU lacks is an error.
MUST_USE Status choose_isa(Isa *out_isa);
const char *isa_name(Isa isa); // "x86-64-v3 (AVX2)"

// `kernels` has plan->kernels entries in the plan's order; names are compared. Small tables come from
// `arena`.
MUST_USE Status machine_new(const StmPlan *plan, const StmKernelEntry *kernels, Isa isa, Pool *pool, Arena *arena,
                            Machine **out_machine);
void machine_free(Machine *machine); // NULL is allowed

// Makes `job` ready for these extents (of all axes; constant axes must have their declared value): grows the
// arena if needed. Call it before the first run and whenever an extent changes; cheap when nothing changes.
MUST_USE Status machine_prepare(Machine *machine, const StmJob *job, const int64_t *extent);

// Binds an input tensor to `data`: row-major, 64-byte aligned, large enough for the extents of the next runs.
void machine_bind(Machine *machine, int tensor, const void *data);

// Sets a scalar by its tensor (-1: nothing happens), converted to its type.
void machine_set_scalar(Machine *machine, int tensor, double value);

// Runs the job prepared last. Every input that it uses must be bound: an unbound one is an error that names
// it.
MUST_USE Status machine_run(Machine *machine);

// Output `index` of the job prepared last, at its extents, valid until the next run.
const void *machine_output(const Machine *machine, int index);
const StmTensor *machine_output_tensor(const Machine *machine, const StmJob *job, int index);
// Element i of data of a type, as double.
double element_value(StmType type, const void *data, int64_t i);

// Floating-point operations of one run of the job prepared last, by the plan's count.
double machine_job_flops(Machine *machine);

// Per-kernel times of all runs since machine_profile_start: kernel, origin, calls, ms, share, GFLOP/s,
// largest first.
MUST_USE Status machine_profile_start(Machine *machine, Arena *arena);
MUST_USE Status machine_profile_table(const Machine *machine, Text *text);

// A block of zeroed memory, 64-byte aligned, on huge pages where the system has them.
MUST_USE Status big_block_new(int64_t bytes, char **out_block);
void big_block_free(char *block, int64_t bytes);
