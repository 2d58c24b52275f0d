// machine: a plan with memory and threads, or with a GPU; it runs jobs.
//
// Memory: one block for scalars, parameters and state, made at start; one arena shared by the jobs, as large
// as the largest job prepared so far (nothing in it outlives a run, except that outputs may be read until the
// next run). machine_run allocates nothing. Inputs belong to the caller and are bound by pointer.
// On a GPU (machine_new_on) that block is the host's mirror of the device's: machine_pull brings parameters and state
// up to date, machine_push sends them. The rest is the same, except that runs are asynchronous: machine_wait ends them,
// and machine_stage hands over the next inputs meanwhile. On the CPU these four do nothing. Threads: a Machine is used
// by one thread; its pool does the parallel part.
//
// Of the directories: program.h, plan.h and steps.h are below runtime/device, this file is above it.
#pragma once

#include "../core/pool.h"
#include "../core/strings.h"
#include "plan.h"

struct Gpu;
struct Runner;

typedef enum Isa { ISA_V2, ISA_V3, ISA_V4 } Isa; // x86-64-v2, -v3, -v4

typedef struct StepTime {
    int64_t calls, ns;
    double flops, bytes; // bytes: of the step's buffers, once a run
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
    struct Runner *runner; // NULL: on the CPU
    struct Gpu *gpu;
    int64_t *place;       // GPU: [tensors] offset of a block in `persistent`
    int64_t scalar_bytes; // at its start
    const void **next;    // GPU: [tensors] what machine_stage sends
    bool rebound;         // GPU: inputs were bound since the last run
    bool mirrored;        // GPU: parameters and state on the host are those of the device
} Machine;

// The instruction set of this CPU, or the one that the environment variable STM_ISA names (v2, v3, v4), for
// tests. Asking for one that the CPU lacks is an error.
MUST_USE Status choose_isa(Isa *out_isa);
const char *isa_name(Isa isa); // "x86-64-v3 (AVX2)"

// `kernels` has plan->kernels entries in the plan's order; names are compared. Entries without any code (an executable
// for CUDA alone) make a machine that answers questions but cannot run. Small tables come from `arena`.
MUST_USE Status machine_new(const StmPlan *plan, const StmKernelEntry *kernels, Isa isa, Pool *pool, Arena *arena,
                            Machine **out_machine);
// On an open device; gpu->plan is the plan. The device must live longer.
MUST_USE Status machine_new_on(struct Gpu *gpu, Arena *arena, Machine **out_machine);
void machine_free(Machine *machine); // NULL is allowed

// Does the executable hold host code for this plan?
bool kernels_have_code(const StmPlan *plan, const StmKernelEntry *kernels);

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
// Ends the run: outputs may be read, and what went wrong on a GPU is reported.
MUST_USE Status machine_wait(Machine *machine);

// The inputs of the next run, while the present one goes on: machine_stage_input for each of them, then machine_stage
// with the job and extents of that run. Afterwards it is bound, prepared and run as ever, with the same addresses.
void machine_stage_input(Machine *machine, int tensor, const void *data);
MUST_USE Status machine_stage(Machine *machine, const StmJob *job, const int64_t *extent);
// The next run is not the one that was staged.
void machine_unstage(Machine *machine);

// Before parameters and state are read from `block` or `persistent`, and after they were written there.
MUST_USE Status machine_pull(Machine *machine);
MUST_USE Status machine_push(Machine *machine);

// Output `index` of the job prepared last, at its extents, after machine_wait, valid until the next run.
const void *machine_output(const Machine *machine, int index);
const StmTensor *machine_output_tensor(const Machine *machine, const StmJob *job, int index);
// Element i of data of a type, as double.
double element_value(StmType type, const void *data, int64_t i);

// Floating-point operations of one run of the job prepared last, by the plan's count.
double machine_job_flops(Machine *machine);

// Per-kernel times of all runs since machine_profile_start; see profile.h.
MUST_USE Status machine_profile_start(Machine *machine, Arena *arena);

// A block of zeroed memory, 64-byte aligned, on huge pages where the system has them.
MUST_USE Status big_block_new(int64_t bytes, char **out_block);
void big_block_free(char *block, int64_t bytes);
