// The plan as the runtime sees it, and the only door between generated code and the runtime. Form 4 of 4.
//
// A compiled executable holds: stm_plan_text (the plan in its textual form, spec/program.md, which stmc --emit plan
// prints and runtime/program/plan_read.c reads at start), and stm_kernels, one entry per kernel with code for three
// instruction sets. The structures below are what the text says; the compiler fills the same ones and prints them
// (forms/plan.c).
//
// Memory: inputs, scalars, parameters and state are owned by the runtime, one block each, row-major in the order of
// their dimensions. Everything else lives in one arena per job, cut into groups: a group's offsets and size are bytes
// per unit of its extent monomial (1, spot, spot*spot, ...), so that one plan serves every extent: address =
// base(group) + offset * monomial(extents). All offsets and sizes are multiples of 64. Nothing is allocated inside a
// step.
#ifndef STM_PROGRAM_H
#define STM_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Runs parts [first, last) of a kernel. `buffer` are the step's arguments in order; `extent[a]` is the run-time value
// of axis a (all axes of the program, constant ones too, then the step's own extents); `scratch` is this thread's, of
// the kernel's scratch size, 64-byte aligned; its first 64 bytes are a header: a kernel sets int64 word 0 to non-zero
// when a gathered position was outside its tensor, and the run ends with an error. Parts are independent: any
// distribution over threads gives the same bits.
typedef void (*StmKernel)(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last);

typedef struct StmKernelEntry {
    const char *name;
    StmKernel v2, v3, v4; // x86-64-v2, -v3 (AVX2, FMA), -v4 (AVX-512)
} StmKernelEntry;

typedef enum StmType { STM_F32, STM_F64, STM_I32, STM_I64, STM_U8, STM_BOOL } StmType;

typedef struct StmExtent { // count, times the value of `axis` when axis >= 0
    int64_t count;
    int axis;
} StmExtent;

enum { STM_MAX_RANK = 8 };

typedef struct StmAxis {
    const char *name, *doc;
    bool dynamic, from_data;
    int64_t count; // constant axis: its extent; dynamic: the bound that the printed peak assumes
} StmAxis;

typedef enum StmTensorKind { STM_INPUT, STM_SCALAR, STM_PARAM, STM_STATE, STM_TEMP } StmTensorKind;

typedef struct StmTensor {
    const char *name;
    StmTensorKind kind;
    StmType type;
    int rank;
    StmExtent dim[STM_MAX_RANK];
    int axis[STM_MAX_RANK]; // declared axis per dimension or -1 (its labels name the columns of outputs)
    const char *dataset;    // INPUT: dataset of the store, or NULL
    bool weight;            // STATE that belongs to the model (running statistics), saved with the weights
} StmTensor;

// Scalars that the runtime feeds, recognised by tensor name (kind STM_SCALAR): "seed" and "step" (i32; step counts from
// 1), "epoch" (real, from 0), "epochs", "steps" (per epoch), "monitor_value" (last validated value), and one per
// setting.
typedef struct StmSetting {
    const char *name, *doc;
    bool is_text, is_integer, ranged;
    double value, low, high;
    const char *text;
    int scalar; // tensor, or -1 (text settings; settings that only `prepare` reads)
} StmSetting;

typedef struct StmPair {
    const char *name, *value;
} StmPair; // options as compiled; prepare block entries

typedef struct StmGroup { // of a job's arena: bytes per unit of extent(axis[0]) * extent(axis[1])
    int axis[2];          // -1: factor 1
    int64_t bytes;
} StmGroup;

typedef struct StmBuffer {
    int tensor; // program tensor: INPUT, SCALAR, PARAM, STATE (then the runtime's own block) or TEMP or -1 (workspace)
    int group;  // arena group, or -1 for the runtime's own blocks
    int64_t offset, bytes; // within the group, per unit
    int first, last;       // first and last step that touch it, for the printed plan and its tests
} StmBuffer;

typedef enum StmStepKind { STM_RUN, STM_ZERO, STM_COPY } StmStepKind;

typedef struct StmStep {
    StmStepKind kind;
    int kernel;      // RUN
    int args;        // RUN: arguments; ZERO: 1; COPY: 2, to then from
    const int *arg;  // buffer numbers of the job
    StmExtent parts; // RUN: ceil(parts / divide)
    int64_t divide;
    const char *origin;  // module path, for profiles
    int extents;         // RUN: step extents, appended to the axes in the kernel's `extent`: axis number axes + i, here
    StmExtent extent[2]; //   and in `parts`, is extent[i] (one kernel serves tensors of many sizes)
} StmStep;

typedef struct StmJobOutput {
    const char *name;
    int buffer;
    int tensor; // its shape and axes; the buffer's own tensor unless the output is a view of it
} StmJobOutput;

typedef struct StmJob {
    const char *name; // "init" "train" "evaluate" "metrics" "predict" "embed" "test:TITLE"
    int groups, buffers, steps, outputs;
    StmGroup *group;
    StmBuffer *buffer;
    StmStep *step;
    StmJobOutput *output;
} StmJob;
// What the runtime expects of jobs:
//   init      writes every PARAM and STATE (needs "seed")
//   train     one optimiser step on a batch; output "loss" (rank 0)
//   evaluate  one batch without updates; outputs "loss" (rank 0, mean over the batch) and the collected tensors
//   metrics   on collected tensors of a whole split: its INPUT tensors are named "collected.NAME" for evaluate's output
//   NAME;
//             outputs: one rank-0 value per metric, or rank-1 (a value per column)
//   predict, embed   outputs of a batch
//   test:*    outputs "check.N.left", "check.N.right", "check.N.tolerance" compared by the test runner

typedef struct StmTrain {
    int64_t epochs, batch;
    bool shuffle, keep_last, maximise;
    const char *monitor, *split;
    int64_t patience;
    const char *compare, *with; // NULL: no baselines
} StmTrain;

typedef struct StmKernelInfo {
    const char *name;
    int64_t scratch; // bytes per thread
    int64_t flops;   // at the bound extents, for profiles
} StmKernelInfo;

typedef struct StmPlan {
    const char *name, *doc, *version; // version of stmc
    StmType real;                     // STM_F32 or STM_F64
    int axes, tensors, settings, options, prepares, kernels, jobs;
    StmAxis *axis;
    StmTensor *tensor;
    StmSetting *setting;
    StmPair *option, *prepare;
    StmKernelInfo *kernel; // in the order of stm_kernels
    StmJob *job;
    StmTrain train;
} StmPlan;

extern const char stm_plan_text[];
extern const uint64_t stm_plan_size;
extern const StmKernelEntry stm_kernels[];

#endif
