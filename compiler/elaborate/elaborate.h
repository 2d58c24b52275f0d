// Elaboration: tree -> equations. Expands modules, fixes options, unrolls compile-time control flow, infers and checks
// the range of every index, and yields the tensors and jobs of one Program.
#ifndef STMC_ELABORATE_H
#define STMC_ELABORATE_H

#include "forms/equations.h"
#include "forms/tree.h"

typedef struct Define { // -D name=value
    const char *name, *value;
    bool used;
} Define;

typedef struct ElaborateOptions {
    const char *stdlib; // directory of the standard library
    bool real64;        // --precision f64
    bool tests;         // elaborate test blocks instead of the jobs
    Define *define;
    int defines;
    // Parses a file that is already in `sources`; given by the driver so that this pass does not include another.
    Node *(*parse)(Arena *, Names *, Sources *, Diagnostics *, int file);
} ElaborateOptions;

// Returns the program, or NULL after reporting errors to `d`.
Program *elaborate(Arena *arena, Names *names, Sources *sources, Diagnostics *d, Node *file,
                   const ElaborateOptions *options);

#endif
