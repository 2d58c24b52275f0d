// progress: what a person sees while rows go by. On a terminal one line is redrawn (rate, time left, latest
// numbers); elsewhere a plain line appears every half minute, so that a log stays readable.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Progress {
    FILE *out;
    bool terminal, drawn;
    const char *unit;   // what a row is called: "spot"
    char label[48];     // "epoch 3/100"
    int64_t first, all; // rows done at the start, rows in all
    double start, last; // seconds
} Progress;

// Draws to `out` (usually stderr).
Progress progress_new(FILE *out, const char *unit);
// A new stretch of work. `label` is copied.
void progress_begin(Progress *progress, const char *label, int64_t done, int64_t all);
// `note` is added at the end of the line ("loss 61.2"); may be "". Draws at most ten times a second.
void progress_update(Progress *progress, int64_t done, const char *note);
// Removes the line of a terminal, so that ordinary text may follow.
void progress_end(Progress *progress);

// "42.1 s", "12 min 03 s", "3 h 05 min" into `text`; returns `text`.
enum { DURATION_TEXT = 32 };
const char *duration_text(double seconds, char text[DURATION_TEXT]);

// "123.4 MB" into `text`; returns `text`.
enum { BYTES_TEXT = 32 };
const char *bytes_text(double bytes, char text[BYTES_TEXT]);
