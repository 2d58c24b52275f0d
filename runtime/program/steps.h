// steps: what the steps of a job are at given extents: parts of a kernel, bytes of a buffer, places in the arena.
// Shared by what runs a plan on the CPU (machine.h) and on a GPU (device/runner.h).
//
// `extent` is always the value of every axis, with room for two more behind them for a step's own extents.
#pragma once

#include "plan.h"

// Where each group of the job starts in its arena (base[groups]) and the arena's size. Error: more than 64 TB.
MUST_USE Status job_layout(const StmJob *job, const int64_t *extent, int64_t *base, int64_t *out_bytes);
// Offset of a buffer of the arena (group >= 0).
int64_t buffer_offset(const StmJob *job, const StmBuffer *buffer, const int64_t *extent, const int64_t *base);
int64_t buffer_bytes(const StmPlan *plan, const StmJob *job, const StmBuffer *buffer, const int64_t *extent);

int step_calls(const StmStep *step); // >= 1
// Puts the extents of one call behind the axes and gives its number of parts.
int64_t step_parts(const StmPlan *plan, const StmStep *step, int call, int64_t *extent);
// Operations of a step with all its calls, from what the plan says of its kernel at the bounds (bound[axes + 2]).
double step_flops(const StmPlan *plan, const StmJob *job, const StmStep *step, int64_t *extent, int64_t *bound);
// The error of a step that met a gathered position (x[index[e]]) outside its tensor.
MUST_USE Status step_outside(const StmPlan *plan, const StmJob *job, const StmStep *step);
// Bytes of all its buffers: what it moves when each is read or written once.
int64_t step_bytes(const StmPlan *plan, const StmJob *job, const StmStep *step, const int64_t *extent);
