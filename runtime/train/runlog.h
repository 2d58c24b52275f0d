// runlog: what a run tells: metrics.jsonl, TensorBoard events, and the lines a person reads.
#pragma once

#include <stdio.h>

#include "../report/journal.h"
#include "evaluate.h"

typedef struct RunLog {
    Journal metrics, events;
    FILE *out; // lines for a person
} RunLog;

// Opens metrics.jsonl and events.out.tfevents.run in `directory`, both cut to the lengths given.
MUST_USE Status runlog_open(RunLog *log, const char *directory, uint64_t metrics_bytes, uint64_t events_bytes,
                            FILE *out);
void runlog_close(RunLog *log);

typedef struct NamedValue {
    const char *name;
    double value;
} NamedValue;

// One line of metrics.jsonl and its events: {"step", "epoch", "split", "loss", values…, metrics…}. `loss` nan
// is left out; `evaluator` may be NULL. A metric per column is a JSON list; TensorBoard gets the mean of its
// finite values.
MUST_USE Status runlog_record(RunLog *log, int64_t step, int64_t epoch, const char *split, double loss,
                              const NamedValue *values, int count, const Evaluator *evaluator);

// "loss 61.2034  spearman 0.6123" of an evaluation into `text`. Metrics per column only if there are no
// others, by their mean.
void metrics_text(const Evaluator *evaluator, Text *text);
// Mean of the finite values; nan when there are none.
double metric_mean(const Metric *metric);
// A number for people: 4 significant decimals, "-" for nan.
enum { VALUE_TEXT = 32 };
const char *value_text(double value, char text[VALUE_TEXT]);
