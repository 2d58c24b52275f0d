// evaluate: loss and metrics of a set of rows, and of the baselines that a model must beat.
#pragma once

#include "collect.h"

// One metric: a value (count 1, column false), or one per column of an axis.
typedef struct Metric {
    const char *name;
    int output; // of the metrics job
    bool column;
    int axis; // of the columns, or -1
    int64_t count;
    double *value; // [count]
} Metric;

typedef struct Evaluator {
    Session *session;
    Collect *collect;      // of the job "evaluate"
    const StmJob *metrics; // NULL: loss only
    Metric *metric;        // [count] values of the last evaluation
    int count;
    double loss; // of the last evaluation; nan for baselines
} Evaluator;

// `capacity`: most rows of an evaluation. A program without the job "evaluate" is an error.
MUST_USE Status evaluator_new(Session *session, Rows *rows, int64_t batch, int64_t capacity, Evaluator **out_evaluator);
void evaluator_free(Evaluator *evaluator); // NULL is allowed

// Fills loss and metric values.
MUST_USE Status evaluate_rows(Evaluator *evaluator, const int64_t *number, int64_t count, const RunHooks *hooks);

// Baselines: what plan.train.compare would score if it were constant. A Baseline holds the mean of
// plan.train.with over training rows: per column, and over everything.
typedef struct Baseline {
    double *column; // [columns]
    int64_t columns;
    double constant;
} Baseline;

// Means over the rows given (one pass; from the store when plan.train.with is an input, else by running
// "evaluate").
MUST_USE Status baseline_measure(Evaluator *evaluator, const int64_t *number, int64_t count, Baseline *out_baseline);
// Metrics of predicting the column means (per_column) or the one constant, against the rows of the last
// evaluate_rows. Overwrites the metric values; loss becomes nan.
MUST_USE Status baseline_evaluate(Evaluator *evaluator, const Baseline *baseline, bool per_column);

// The value of a metric by name ("loss" too); false when there is no such metric or it has several values.
bool evaluator_value(const Evaluator *evaluator, const char *name, double *out_value);
