// From object files to one executable: the system's linker joins them with the runtime and its libraries.
#ifndef STMC_PACK_H
#define STMC_PACK_H

#include "base/base.h"

typedef struct PackObject {
    const char *name; // for the temporary file
    const char *bytes;
    size_t size;
} PackObject;

typedef struct PackHome { // where this stmc finds what it needs beside itself
    const char *stdlib;   // directory of the standard library
    const char *kernels;  // directory of the headers that CUDA code includes
    const char *runtime;  // libstmrt.a
    const char *archives; // file that lists the static libraries, one path a line
} PackHome;

// Finds the home beside the running program (…/bin/stmc -> …/share/stmc, …/lib) or in $STMC_HOME.
// NULL on success, else what is missing.
const char *pack_home(Arena *arena, PackHome *out);

// Writes DIR/NAME.o for every object, for programs that bring a main of their own (tests, embedding).
// NULL on success, else what went wrong.
const char *pack_objects(Arena *arena, const PackObject *object, int objects, const char *dir);

// Writes `output` under a temporary name beside it and renames it: a failed link leaves nothing behind.
// NULL on success, else what went wrong (the environment's fault: disk, linker).
const char *pack_executable(Arena *arena, const PackHome *home, const PackObject *object, int objects,
                            const char *output);

#endif
