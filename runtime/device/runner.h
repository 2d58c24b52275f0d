// runner: the jobs of a plan on a GPU. What machine.h does on the CPU, this does on a device; machine.c is its caller.
//
// Memory on the device: one block for scalars, parameters and state (laid out by the caller); one arena, as large as
// the largest job prepared so far; two slots for inputs, so that the next batch travels while the present one is
// computed; tables of calls. On the host: pinned copies of the slots, of scalars and of outputs.
//
// A run is asynchronous: runner_run enqueues it, runner_wait ends it and reports its errors, then outputs may be read
// until the next run. At most two runs are in flight. A job that runs again with the same extents and slot is captured
// as a graph and replayed; four graphs a job are kept. Threads: one.
#pragma once

#include "gpu.h"

typedef struct Runner Runner;

// `place[tensor]` is the offset of a scalar, parameter or state in the persistent block (scalars first, scalar_bytes of
// them). Small tables come from `arena`. `place` must live as long as the runner.
MUST_USE Status runner_new(Gpu *gpu, const int64_t *place, int64_t persistent_bytes, int64_t scalar_bytes, Arena *arena,
                           Runner **out_runner);
void runner_free(Runner *runner); // NULL is allowed

// Makes the job ready for these extents (of all axes): memory, and the limits of 32-bit counting.
MUST_USE Status runner_prepare(Runner *runner, const StmJob *job, const int64_t *extent);

// Copies the inputs of the next run to the device while the present one goes on: data[tensor] for every input of `job`.
// The next runner_run takes them if it has the same job, extents and addresses in `data`.
MUST_USE Status runner_stage(Runner *runner, const StmJob *job, const int64_t *extent, const void *const *data);
void runner_unstage(Runner *runner); // forgets what was staged

// Starts the job prepared last with inputs data[tensor] and these scalars. `fresh`: the inputs' content may have
// changed since the last run although their addresses are the same.
MUST_USE Status runner_run(Runner *runner, const void *const *data, bool fresh, const void *scalars);
// Ends all runs. A gathered position that was outside its tensor is an error here.
MUST_USE Status runner_wait(Runner *runner);
// Output `index` of the job prepared last, on the host, after runner_wait.
const void *runner_output(const Runner *runner, int index);

// Copies parameters and state (not scalars) from and to a host block laid out like the persistent one. Ends all runs.
MUST_USE Status runner_pull(Runner *runner, void *block);
MUST_USE Status runner_push(Runner *runner, const void *block);

// From now on runs are neither captured nor asynchronous, and every step is timed; ms[step] of the last run.
MUST_USE Status runner_profile(Runner *runner, Arena *arena);
const float *runner_step_ms(const Runner *runner);

// Device bytes that a job needs at these extents: persistent, arena, its inputs twice, cuBLASLt's workspace.
MUST_USE Status gpu_plan_bytes(const StmPlan *plan, const StmJob *job, const int64_t *extent, Arena *arena,
                               int64_t *out_bytes);
