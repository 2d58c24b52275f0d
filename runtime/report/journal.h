// journal: a file that only grows, a whole record at a time: metrics.jsonl and the TensorBoard events. Its
// length is part of a checkpoint; resuming cuts the file back to it, so that a run that was killed and one
// that was not leave the same file.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct Journal {
    char *path;
    int descriptor; // -1: closed
    uint64_t length;
} Journal;

// Opens or creates `path` and cuts it to `length` bytes. A file shorter than that is an error.
MUST_USE Status journal_open(Journal *journal, const char *path, uint64_t length);
MUST_USE Status journal_append(Journal *journal, const void *data, size_t size);
MUST_USE Status journal_sync(Journal *journal); // to disk; call it before `length` is written into a checkpoint
void journal_close(Journal *journal);           // harmless on a closed or zeroed one
