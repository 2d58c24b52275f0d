// damage_read: every reader of foreign files behind one door, as a user reaches it: the file is opened, read whole, and
// what was read is summed up in a digest, so that two readings can be compared. For the tests of damage.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "../../runtime/core/status.h"

typedef enum DamageReader {
    DAMAGE_NOTHING, // not a file that is read
    DAMAGE_COUNTS,  // HDF5 and text tables of counts
    DAMAGE_MEX,     // one file of a 10x matrix directory; the directory is read
    DAMAGE_POSITIONS,
    DAMAGE_SCALES,
    DAMAGE_HEST,    // metadata table
    DAMAGE_PATCHES, // HDF5 of HEST-1k
    DAMAGE_CELLTYPES,
    DAMAGE_TABLE, // any other CSV
    DAMAGE_GENESETS,
    DAMAGE_PICTURE,
    DAMAGE_WEIGHTS,
    DAMAGE_STORE,
    DAMAGE_READERS
} DamageReader;

const char *damage_reader_name(DamageReader reader);
// By the file's name and place, as the READMEs of the samples have it.
DamageReader damage_reader_of(const char *path);
// Plain text of which a part can be a whole: a cut need not show.
bool damage_is_plain_text(DamageReader reader, const char *path);
// `directory` is where the file lies. Sound content that breaks the reader's promises ends the program.
MUST_USE Status damage_read(DamageReader reader, const char *path, const char *directory, uint64_t *out_digest);
