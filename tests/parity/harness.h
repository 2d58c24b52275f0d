// What the parity tests share: a compiled program (stm_plan_text, stm_kernels) on a Machine, its tensors as
// doubles, and the tally. Everything that cannot go on (no memory, a tensor that the program must have is
// missing) prints why and exits 1.
#pragma once

#include "../../runtime/core/arena.h"
#include "../../runtime/program/machine.h"

enum { HARNESS_AXES = 16 };

typedef struct Harness {
    Arena arena;
    StmPlan *plan;
    Pool *pool;
    Machine *machine;
    int64_t extent[HARNESS_AXES]; // of every axis; starts as the plan's counts
    void **bound;                 // [tensors] input blocks that harness_write made
} Harness;

typedef struct Tally {
    int passed, failed;
    bool verbose;       // prints the checks that pass, too
    const char *prefix; // of every printed line
} Tally;

// Takes a Status that must be success.
void must(Status status);

// Starts the linked program with that many threads, on the instruction set of the CPU or of STM_ISA.
void harness_start(Harness *h, int threads);
void harness_stop(Harness *h);

// The tensor of that kind and name; -1 when there is none.
int harness_find(const Harness *h, StmTensorKind kind, const char *name);
// The same where it must exist.
int harness_need(const Harness *h, StmTensorKind kind, const char *name);
int64_t harness_elements(const Harness *h, int tensor);

// Writes an input, parameter or state from `values` (converted to its type), reads any of them back as
// doubles. Inputs get a block of their own, bound for all following runs. The result of harness_read is the
// caller's to free.
void harness_write(Harness *h, int tensor, const double *values);
double *harness_read(const Harness *h, int tensor);

// A scalar by name; one that the program does not use is left alone.
void harness_scalar(Harness *h, const char *name, double value);

// Prepares and runs a job; output `name` of the job run last as doubles (caller frees), its number of
// elements in `count`.
void harness_run(Harness *h, const char *job);
double *harness_output(const Harness *h, const char *name, int64_t *count);

// Counts one check: found <= limit (not a number fails). Prints it when it fails.
void tally_check(Tally *tally, const char *what, double found, double limit);
