// commands: one function per subcommand. Each takes a session whose plan is read and whose settings are set,
// and does its work; what it prints is documented in its file.
#pragma once

#include <signal.h>

#include "../train/rows.h"
#include "options.h"

typedef struct CommandInput {
    Session *session;
    const Options *options;
    const ProgramCode *code;
    const char *plan_text;
    size_t plan_size;
    const volatile sig_atomic_t *stop; // set by SIGINT and SIGTERM
} CommandInput;

MUST_USE Status command_prepare(const CommandInput *input);
MUST_USE Status command_train(const CommandInput *input);
MUST_USE Status command_predict(const CommandInput *input); // and embed
MUST_USE Status command_evaluate(const CommandInput *input);
MUST_USE Status command_info(const CommandInput *input);
MUST_USE Status command_bench(const CommandInput *input);
// *out_failed: tests that failed.
MUST_USE Status command_test(const CommandInput *input, int *out_failed);

// Threads and memory, with --threads and --profile applied; and the table of --profile at the end.
MUST_USE Status command_start(const CommandInput *input);
MUST_USE Status command_profile(const CommandInput *input);
// The rows that --section and --split NAME:PART choose, ascending; the caller frees *out_numbers.
MUST_USE Status command_rows(const CommandInput *input, Rows *rows, int64_t **out_numbers, int64_t *out_count);
// Loads --weights; what there is to know about them goes to standard error.
MUST_USE Status command_weights(const CommandInput *input);
// Rows per step: --batch, or the bound of the batch axis.
int64_t command_batch(const CommandInput *input);
