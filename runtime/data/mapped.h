// mapped: a whole regular file as read-only memory. Directories, FIFOs and devices are refused without waiting for
// them. Whoever shortens a file while it is mapped ends the reader (SIGBUS): files of weights are replaced by renaming,
// as every writer of this runtime does.
#pragma once

#include <stddef.h>

#include "../core/status.h"

typedef struct Mapped {
    const unsigned char *data; // NULL for an empty file
    size_t size;
} Mapped;

MUST_USE Status mapped_open(const char *path, Mapped *out_mapped);
void mapped_close(Mapped *mapped); // harmless on a zeroed or closed one
