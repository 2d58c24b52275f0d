// session: an executable's plan, its machine and the values of its settings; what every command starts from.
#pragma once

#include "../core/arena.h"
#include "../data/element.h"
#include "../device/gpu.h"
#include "../program/machine.h"

// All code of an executable, as program.h declares it.
typedef struct ProgramCode {
    const StmKernelEntry *kernels;
    const char *cuda_plan; // size 0: compiled without the CUDA target
    size_t cuda_plan_size;
    GpuCode cuda;
} ProgramCode;

typedef struct Session {
    Arena arena;
    StmPlan *plan;
    Pool *pool;
    Machine *machine;
    Gpu *gpu;                  // NULL: on the CPU
    double *setting;           // [settings] values in force
    const char **setting_text; // [settings] of text settings
    bool *setting_given;       // [settings] by the command line; the others follow the weights that are loaded
    bool has_cuda;             // the executable holds CUDA code; set by main, read by options
    int batch_axis;            // the dynamic axis that counts rows of the store, or -1
} Session;

// Reads the plan only: enough for --help and for checking a command line. session_close ends it in every
// case.
MUST_USE Status session_open(Session *session, const char *plan_text, size_t plan_size);
// Threads and memory for parameters, on the CPU. threads: 0 means all that the process may use.
MUST_USE Status session_start(Session *session, const StmKernelEntry *kernels, int threads);
// The same where `device` says: "cpu", "cuda" (the first usable GPU), "cuda:N", "auto" or NULL (a GPU if one can be
// used, else the CPU). On a GPU session->plan becomes the CUDA plan, which has the same axes, tensors, settings and
// jobs. `note`: why auto came to the CPU although there is CUDA code; empty otherwise.
MUST_USE Status session_start_on(Session *session, const ProgramCode *code, const char *device, int threads,
                                 Text *note);
// Where it computes: "cpu", "cuda:0"; and its name: "x86-64-v4 (AVX-512)", "NVIDIA H100 80GB HBM3".
enum { DEVICE_TEXT = 24 };
const char *session_device(const Session *session, char text[DEVICE_TEXT]);
const char *session_device_name(const Session *session);
void session_close(Session *session);

// Runs init: every parameter and state gets its first value.
MUST_USE Status session_init(Session *session, uint32_t seed);
// The scalar named `name`, if the plan has it.
void session_scalar(Session *session, const char *name, double value);
// Writes all settings into their scalars.
void session_settings(Session *session);
// Extents for `rows` rows: the batch axis is `rows`, every other axis has its declared count.
void session_extents(const Session *session, int64_t rows, int64_t *extent);
// What `rows` rows are called: the batch axis's name, "row" without one.
const char *session_row_name(const Session *session);

// Number of elements of all parameters (STM_PARAM).
int64_t session_parameters(const Session *session);

// Weights: parameters and state that belongs to the model. weights_load.h reads them.
bool is_weight(const StmTensor *tensor);
ElementType element_of(StmType type); // as files of weights name it
