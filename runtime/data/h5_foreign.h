// h5_foreign: reading HDF5 files of unknown origin: what is there, of which kind, and small values. Internal to
// runtime/data and to be used inside guard_run.
//
// Refused by name: external links, external storage, virtual datasets (a file must not make us read another one).
// Sizes that the file states are compared with its length before anything of that size is allocated: no filter that is
// read here shrinks data by more than FOREIGN_RATIO.
#pragma once

#include <hdf5.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/pool.h"
#include "../core/status.h"
#include "guard.h"
#include "h5_driver.h"

enum { FOREIGN_RATIO = 1100, FOREIGN_NAME = 256 };

typedef enum ForeignKind { FOREIGN_NOTHING, FOREIGN_GROUP, FOREIGN_DATASET, FOREIGN_OTHER } ForeignKind;

typedef struct ForeignFile {
    const char *path; // not owned
    hid_t file;
    H5Driver driver;
    int descriptor;    // the same file, for pread; the driver's
    uint64_t bytes;    // of the file
    GuardBlock *block; // set by whoever wants texts to stand there; NULL: in the arena
    Pool *pool;        // set by whoever lends one; NULL: this thread alone
} ForeignFile;

MUST_USE Status foreign_open(const char *path, ForeignFile *out_file); // registers LZF
void foreign_close(ForeignFile *file);

// What `name` (may hold '/') below `parent` is.
MUST_USE Status foreign_kind(const ForeignFile *f, hid_t parent, const char *name, ForeignKind *out_kind);
// The group, or -1 if there is none of that name.
MUST_USE Status foreign_group(const ForeignFile *f, hid_t parent, const char *name, hid_t *out_group);
// Names of the links in a group, byte order.
MUST_USE Status foreign_names(const ForeignFile *f, hid_t group, const char *what, Arena *arena, char ***out_names,
                              size_t *out_count);
// The root's groups that hold a dataset `name`, byte order.
MUST_USE Status foreign_groups_with(const ForeignFile *f, const char *name, Arena *arena, char ***out_names,
                                    size_t *out_count);
// A dataset that must exist, with its shape; rank at most 4 (0: scalar). Elements of `bytes_each` (0: of its type) must
// be possible in a file of this length.
MUST_USE Status foreign_dataset(const ForeignFile *f, hid_t parent, const char *name, hid_t *out_dataset, int *out_rank,
                                hsize_t dims[4]);

bool foreign_has_attribute(hid_t object, const char *name);
// A text attribute; NULL if it is missing or not text.
MUST_USE Status foreign_text_attribute(const ForeignFile *f, hid_t object, const char *name, Arena *arena,
                                       char **out_text);
// Whole numbers; *out_found false if the attribute is missing or has another count.
MUST_USE Status foreign_integer_attribute(const ForeignFile *f, hid_t object, const char *name, int64_t *values,
                                          size_t count, bool *out_found);

// Texts of a one-dimensional (or scalar) dataset, fixed or variable length; other shapes (n, 1) count as n.
MUST_USE Status foreign_texts(const ForeignFile *f, hid_t parent, const char *name, Arena *arena, char ***out_texts,
                              size_t *out_count);
// A single number (scalar or of one element); *out_found false if it is not there.
MUST_USE Status foreign_number(const ForeignFile *f, hid_t parent, const char *name, double *out_value,
                               bool *out_found);
// Message with file and object.
MUST_USE Status foreign_error(const ForeignFile *f, hid_t object, const char *format, ...) PRINTF_LIKE(3, 4);
