// setup: everything that a training run decides before its first step: data, splits, monitor, memory,
// identity.
#pragma once

#include "../report/progress.h"
#include "checkpoint.h"
#include "evaluate.h"
#include "runlog.h"
#include "trainer.h"

typedef struct Run {
    Session *session;
    const TrainOptions *options;
    const StmJob *job; // "train"
    Rows *rows;
    bool *held_out;                           // [sections] by --hold-out
    int64_t *trained, *validated;             // [sections] rows of each that train, that validate
    int64_t *train_rows, *valid_rows, *order; // row numbers; order: train_rows of this epoch, shuffled
    int64_t train_n, valid_n;
    int64_t split_validates;      // rows of the part "validation" of --split; valid_n may be the training rows instead
    int64_t batch, steps, epochs; // rows per step, steps per epoch, epochs
    RowFeed *feed;
    int feeds;
    Loader *loader;
    Evaluator *evaluator;    // NULL: no validation
    const char *split;       // name of the evaluated split in logs
    const char *monitor;     // name of the monitored value
    bool monitor_validation; // from the evaluator; else the training loss
    bool maximise;
    int loss_output;
    int values_n; // other rank-0 outputs of train, such as lr: state.value holds the newest
    int value_output[RUN_VALUES];
    const char *value_name[RUN_VALUES];
    int step_scalar, epoch_scalar, monitor_scalar;
    int64_t *extent; // [axes] scratch
    RunIdentity identity;
    const char *weights_notes; // lines to print; NULL: none
    char weights_hash[65];     // SHA-256 of the file of --weights; "" without one
    StmPair *labels;           // "setting.NAME", "axis.NAME": metadata of weights
    size_t labels_n;
    RunState state;
    RunLog log;
    Progress progress;
    const char *state_path, *last_path, *best_path, *curves_path;
    char *best_copy;                                 // the best weights so far, until they are on disk
    RunState best_state;                             // when they were taken
    bool best_waits;                                 // best_copy is newer than best_path
    int64_t saved_epoch, saved_step;                 // of the newest checkpoint
    double saved_at, save_cost, drawn_at, draw_cost; // seconds
    int64_t rows_done;                               // in this epoch and process, for the rate
    int lock;                                        // descriptor of the locked directory
} Run;

// Fills everything up to values_n and the identity; nothing on disk changes.
MUST_USE Status setup_run(Run *run);
void setup_free(Run *run);
// Prints what will happen and writes config.json.
MUST_USE Status setup_describe(Run *run);
