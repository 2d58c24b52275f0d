// profile: where the time of a machine's runs went, kernel by kernel, largest first.
//
// On a GPU times are measured by events, one step after the other without graphs; a step's bytes are those of its
// buffers, each counted once.
#pragma once

#include "machine.h"

typedef struct ProfileRow {    // a kernel, or zeroing or copying, with all steps that run it
    const char *name, *origin; // origin: of the first of its steps, or NULL
    int64_t steps, calls, ns;  // calls: runs of its steps
    double flops, bytes;
} ProfileRow;

// Rows in *out_rows, which the caller frees with free(); rows of nothing are left out.
MUST_USE Status profile_rows(const Machine *machine, ProfileRow **out_rows, size_t *out_count);

// The table that --profile prints: kernel, origin, calls, ms, share, GFLOP/s, on a GPU GB/s and MB a call as well.
MUST_USE Status profile_table(const Machine *machine, Text *text);
