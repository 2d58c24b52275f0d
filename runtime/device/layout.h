// layout: what a run of a job enqueues at given extents with given inputs: its steps with their addresses, cuBLASLt's
// products, tables of calls, and from the second run on a graph of all that. Inside of runner.c.
#pragma once

#include "../program/steps.h"
#include "runner.h"

enum { IN_FLIGHT = 2, GRAPHS_OF_A_JOB = 4 };

typedef struct Slot { // the inputs of a run
    CuAddress device;
    char *pinned;
    int64_t bytes;     // of both
    const StmJob *job; // what it holds: inputs of this job, NULL: nothing
    int64_t *extent;   // at these extents
    const void **data; // [tensors] copied from here
    int64_t *at;       // [tensors] offset
    CuEvent uploaded, consumed;
    bool was_uploaded, was_consumed; // recorded
} Slot;

struct Runner {
    Gpu *gpu;
    const CudaDriver *driver;
    const StmPlan *plan;
    const int64_t *place; // [tensors] in the persistent block
    int64_t persistent_bytes, scalar_bytes;
    CuAddress persistent, arena;
    int64_t arena_bytes;
    CuAddress outside;      // a word per step of the job: a gathered position was outside
    unsigned *outside_host; // pinned
    char *scalars;          // pinned [IN_FLIGHT][scalar_bytes]
    char *output;           // pinned
    int64_t output_bytes;
    int **input;       // [jobs] tensors of the job's inputs
    int *inputs;       // [jobs]
    const StmJob *job; // prepared
    int64_t *extent;   // [axes + 2]
    int64_t *base;     // [groups] in the arena
    int64_t *output_at;
    Slot slot[IN_FLIGHT];
    int current; // slot of the last run
    bool staged; // the other slot holds inputs that runner_stage brought
    CuEvent done[IN_FLIGHT];
    bool pending[IN_FLIGHT];
    bool running; // something was enqueued since the last wait
    int64_t runs;
    struct Layout *layouts; // newest first
    int most_steps;
    CuAddress *address;  // scratch: arguments of a call
    int *number;         // scratch: extents of a call
    void **parameter;    // scratch: of a launch
    CuEvent *step_event; // [most_steps + 1] when profiling
    float *step_ms;
};

typedef struct Layout {
    const StmJob *job;
    int64_t *extent;
    int slot;     // -1: the job has no inputs
    int64_t used; // number of the last run
    int64_t runs;
    LtProduct *product; // one for each call of a product, in the order of steps
    int products;
    uint64_t *table; // rows of all tables, on the host while they travel
    int64_t table_words;
    CuAddress table_device;
    int64_t *table_at;     // [steps] word of a step's table
    int *table_calls;      // [steps] calls with anything to do
    int64_t *table_blocks; // [steps]
    CuGraphExec graph;
    struct Layout *next;
} Layout;

bool buffer_is_input(const Runner *runner, const StmBuffer *buffer);
int job_inputs(const Runner *runner, const StmJob *job, const int **out_tensors); // their number
int64_t job_output_bytes(const StmPlan *plan, const StmJob *job, int index, const int64_t *extent);

// The layout of the job prepared last with the current slot, made when there is none.
MUST_USE Status layout_find(Runner *runner, Layout **out_layout);
// Enqueues one run of it, outputs and the report of positions included.
MUST_USE Status layout_run(Runner *runner, Layout *layout);
// Forgets those that use a slot (-1: all). Nothing may be running.
void layouts_drop(Runner *runner, int slot);
