// trainer: a whole training run: batches, steps, validation, early stopping, checkpoints, logs.
//
// The run's directory holds config.json, metrics.jsonl, events.out.tfevents.run, curves.png,
// last.safetensors, best.safetensors, state.safetensors and, on request, epoch-NNNN.safetensors. Killing the
// process at any moment and running the same command with --resume ends in the same bytes of weights and
// metrics as an undisturbed run, for any number of threads.
#pragma once

#include <signal.h>
#include <stdio.h>

#include "session.h"

typedef struct TrainOptions {
    const char *const *files; // stores
    int files_n;
    const char *out;             // the run's directory, created if needed
    const char *const *hold_out; // section names of the validation split
    int hold_out_n;
    const char *split; // of the store: its parts "train" and "validation" are used; NULL: whole sections
    uint32_t seed;
    int64_t epochs;            // -1: the spec's
    int64_t batch;             // 0: the spec's
    int64_t checkpoint_epochs; // keep epoch-NNNN.safetensors every so many epochs; 0: none
    double checkpoint_seconds; // save the state within an epoch when so much time has passed
    bool resume, overwrite;
    const char *weights;               // start from these instead of the spec's first values; NULL: none
    const char *fingerprint;           // of the plan
    FILE *log;                         // lines (stdout)
    FILE *screen;                      // progress bar (stderr)
    const volatile sig_atomic_t *stop; // not 0: checkpoint and return
} TrainOptions;

typedef struct TrainResult {
    bool interrupted;  // stopped by *stop; everything is saved
    bool was_complete; // nothing was left to do
} TrainResult;

MUST_USE Status train_run(Session *session, const TrainOptions *options, TrainResult *out_result);
