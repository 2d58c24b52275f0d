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
// base(group) + offset * monomial(extents). Offsets and sizes are multiples of 64; in groups of two axes it is the
// monomial that is rounded up to one (an f32 [spot, spot] takes 4 bytes an element, not 64). Nothing is allocated
// inside a step.
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

// bf16 is a type of memory alone: temporaries of CUDA plans. Kernels read it as f32.
typedef enum StmType { STM_F32, STM_F64, STM_I32, STM_I64, STM_U8, STM_BOOL, STM_BF16 } StmType;

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
    int axis[2];          // -1: factor 1. With two axes the product is rounded up to 64, so that bytes need not be
    int64_t bytes;
} StmGroup;

// The units themselves, of the values of the two axes (1 where there is none).
static inline int64_t stm_group_units(const StmGroup *g, int64_t first, int64_t second) {
    return g->axis[0] >= 0 && g->axis[1] >= 0 ? (first * second + 63) / 64 * 64 : first * second;
}

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
    StmExtent parts; // RUN: times * ceil(parts / divide)
    int64_t divide, times;
    const char *origin;      // module path, for profiles
    int extents;             // RUN: step extents, appended to the axes in the kernel's `extent`: axis number axes + i,
    const StmExtent *extent; //   here and in `parts`, is extent[i] (one kernel serves tensors of many sizes); <= 2
    int calls;               // RUN, CUDA plans: calls of the kernel done by this step; arg and extent hold theirs one
                             //   after another (args / calls and `extents` each), parts are those of each call
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

// How a function of stm_cuda_image is started (spec/cuda.md). Parameters in order: the step's buffers, the words by
// value, the extents as 32-bit numbers, the address of the word that reports gathers outside.
typedef struct StmLaunch {
    const char *function;
    int threads;    // of a block
    int64_t shared; // dynamic shared memory of a block, bytes
    int words;
    const int64_t *word;
    int extents;
    const int *extent;             // axis numbers, or axes + i for step extents
    bool table;                    // parameters are a table of calls, their number, and the report word
    int registers;                 // of a thread
    int64_t static_shared, spills; // bytes: of a block; of a thread
} StmLaunch;

// D = epilogue(op(A) op(B)), row-major, `batch` times; done by cuBLASLt. op(A) is m x k, op(B) k x n, D m x n.
// A transposed operand is stored k x m or n x k. Strides in elements between batches (0: the same matrix).
typedef enum StmCompute { STM_COMPUTE_F32, STM_COMPUTE_TF32, STM_COMPUTE_BF16, STM_COMPUTE_F64 } StmCompute;
typedef enum StmEpilogue { // BIAS: a row of n, added first; AUX: what the activation was given is stored as well
    STM_EPILOGUE_NONE,
    STM_EPILOGUE_BIAS,
    STM_EPILOGUE_RELU,
    STM_EPILOGUE_RELU_BIAS,
    STM_EPILOGUE_GELU, // the tanh form
    STM_EPILOGUE_GELU_BIAS,
    STM_EPILOGUE_GELU_AUX,
    STM_EPILOGUE_GELU_AUX_BIAS,
    STM_EPILOGUE_BGRAD_A, // `bias` is written: the sum over k of op(A), m numbers
    STM_EPILOGUE_BGRAD_B, // the sum over k of op(B), n numbers
} StmEpilogue;
typedef struct StmMatmul {
    StmCompute compute;
    StmType in, out; // of A and B; of D and AUX (bias is the plan's real)
    int a, b, d;     // argument numbers of the step
    int bias, aux;   // the same, or -1
    StmEpilogue epilogue;
    bool transpose_a, transpose_b;
    StmExtent m, n, k, batch;
    StmExtent lda, ldb, ldd;
    StmExtent stride_a, stride_b, stride_d;
    int64_t offset_a, offset_b, offset_d; // elements from the start of the buffer
} StmMatmul;

typedef struct StmKernelInfo {
    const char *name;
    int64_t scratch;         // bytes per thread
    int64_t flops;           // at the bound extents, for profiles
    const StmLaunch *launch; // CUDA plans: one of the two; host plans: neither
    const StmMatmul *matmul;
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
extern const StmKernelEntry stm_kernels[]; // entries without any code when the executable is for CUDA alone

// The CUDA plan and its code; sizes are 0 in an executable without the CUDA target (spec/cuda.md).
extern const char stm_cuda_plan_text[];
extern const uint64_t stm_cuda_plan_size;
extern const unsigned char stm_cuda_image[];
extern const uint64_t stm_cuda_image_size;

#endif
