// checkpoint: a run on disk. Two kinds of file, both safetensors, both written atomically:
//     weights   parameters and running statistics by spec path: last, best and periodic ones; what predict reads
//     state     everything that the next step depends on: all parameters and state, and the counters below
// state.safetensors alone decides where a resumed run continues. Weights are written before the state of the
// same moment: a run killed between the two repeats the same steps and writes the same weights again.
#pragma once

#include "session.h"

#define RUN_STATE_FORMAT "stm-state-1" // "format" in the metadata of a state
enum { RUN_VALUES = 4 };

typedef struct RunState {
    int64_t epoch;    // finished epochs; the one in progress, from 0
    int64_t position; // batches done in the epoch in progress
    int64_t step;     // steps done in all
    uint32_t seed;
    double loss_sum; // over the rows done in the epoch in progress
    int64_t loss_rows;
    double value[RUN_VALUES]; // other rank-0 outputs of the newest step, such as lr
    double monitor;           // last validated value
    double best;              // best monitored value so far; nan: none
    int64_t best_epoch;       // 0: none
    int64_t stale;            // epochs since
    bool finished, stopped_early;
    uint64_t metrics_bytes, events_bytes; // lengths of the journals at this moment
} RunState;

// Pairs that identify a run: settings, batch, data, hold-out; compared as text when resuming.
typedef struct RunIdentity {
    StmPair *pair;
    size_t count;
} RunIdentity;

// `labels`: pairs "axis.NAME" with a JSON list of names and "setting.NAME" with a number; may be empty.
// `copy`: weights of another moment as weights_copy took them, NULL: those in the machine; `state` gives
// epoch and step of that moment.
MUST_USE Status checkpoint_weights(Session *session, const char *path, const RunState *state, const StmPair *labels,
                                   size_t labels_n, const char *copy);
// Copies all weights into a block of machine->persistent_bytes, laid out as the machine's own.
MUST_USE Status weights_copy(Session *session, char *copy);
MUST_USE Status checkpoint_state(Session *session, const char *path, const RunState *state,
                                 const RunIdentity *identity);
// Restores tensors and counters. Refuses a state of another program, or of the same program with another
// identity; the message lists what differs.
MUST_USE Status checkpoint_resume(Session *session, const char *path, const RunIdentity *identity, RunState *out_state);

// A fingerprint of the plan's text, 16 hex digits and '\0'.
void plan_fingerprint(const char *text, size_t size, char out[17]);
