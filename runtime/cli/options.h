// options: the command line, checked against what this executable can do. Flags are one table; the spec's
// settings are flags too.
#pragma once

#include "../train/session.h"

typedef enum Command {
    COMMAND_NONE,
    COMMAND_PREPARE,
    COMMAND_TRAIN,
    COMMAND_PREDICT,
    COMMAND_EVALUATE,
    COMMAND_EMBED,
    COMMAND_INFO,
    COMMAND_BENCH,
    COMMAND_TEST,
    COMMANDS,
} Command;

typedef struct Options {
    Command command;
    bool help, version;
    const char **files; // arguments that are not flags
    int files_n;
    const char **hold_out; // comma-separated lists taken apart
    int hold_out_n;
    const char **section;
    int section_n;
    const char **depth;
    int depth_n;
    const char *from, *out, *weights, *map, *device, *image, *split;
    int64_t seed, epochs, batch, steps, threads; // -1: not given (threads: 0)
    int64_t checkpoint_epochs;
    double checkpoint_seconds;
    bool resume, overwrite, append, json, plan, profile, interactive;
} Options;

// Reads argv into *out and into session->setting. Errors are for exit status 2 and name the nearest valid
// word.
MUST_USE Status options_read(Session *session, int argc, char **argv, Options *out);

const char *command_name(Command command);
const char *command_doc(Command command);
// Does this program have the command? (predict needs a predict block …) `why` gets the reason if not; may be
// NULL.
bool command_exists(const StmPlan *plan, Command command, const char **why);

// The text of EXE --help and EXE COMMAND --help.
void help_write(const Session *session, const char *executable, Command command, Text *text);
