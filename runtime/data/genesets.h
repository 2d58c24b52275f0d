// genesets: collections of gene sets in GMT (MSigDB, spatialtranscriptformer.md §2.8) and their membership in a
// vocabulary.
//
// A GMT line is NAME <tab> DESCRIPTION <tab> GENE <tab> GENE …; plain or gzip. Lines with fewer than three fields are
// passed over and counted; empty genes (trailing tabs) and repeats within a set are dropped. Files are merged in the
// order read; of sets with one name the first stays.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/status.h"

typedef struct GeneSet {
    char *name, *description;
    char **gene; // [genes] in file order, distinct
    size_t genes;
} GeneSet;

typedef struct GeneSets {
    GeneSet *set; // [count]
    size_t count;
    size_t short_lines, repeated_names; // passed over
    Arena arena;
} GeneSets;

void genesets_free(GeneSets *sets); // a zeroed one is fine
// Reads one file more into `sets` (start with a zeroed one). Without a single set in the file: STATUS_MALFORMED.
// After an error `sets` holds what it held before.
MUST_USE Status genesets_read(GeneSets *sets, const char *path);
// Leaves only the sets named, in file order; with none found STATUS_NOT_FOUND, with the closest name.
// *out_missing (may be NULL): names that are not there.
MUST_USE Status genesets_choose(GeneSets *sets, const char *const *names, size_t count, size_t *out_missing);
const GeneSet *geneset_find(const GeneSets *sets, const char *name); // NULL: none

// Membership M[count][genes] in {0, 1}, row-major u8: row order is set order, sets that match nothing are rows of 0.
// vocabulary[genes]: names compared exactly; a name that occurs twice is matched at every place.
// matched[count] (may be NULL): genes found per set.
MUST_USE Status genesets_membership(const GeneSets *sets, const char *const *vocabulary, size_t genes, uint8_t *out,
                                    size_t *matched);
// Score of every set: scores[rows][count] = (values[rows][genes] M^T) / max(genes of the set in M, 1)
// (spatialtranscriptformer.md §5).
void genesets_scores(const uint8_t *membership, size_t count, const double *values, size_t rows, size_t genes,
                     double *scores);
