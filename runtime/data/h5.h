// h5: HDF5 calls that return a Status naming file and object. Internal to runtime/data.
//
// HDF5 prints its error stack by default; every function here silences it for the calling thread and puts the
// deepest entry of the stack into the message instead. Ids are closed with h5_close. HDF5 has one lock for
// the whole library; all functions may be called from several threads if HDF5 was built thread-safe, and from
// one otherwise.
//
// Groups and datasets are opened for stores, which we write ourselves: links to other places (soft, external) and
// values kept in other files are refused. h5_foreign.h is for everybody else's files.
#pragma once

#include <hdf5.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/status.h"

void h5_quiet(void); // no printing in this thread from now on

// The failure of an HDF5 call on `object` of `path` ("PATH: doing OBJECT failed: reason").
MUST_USE Status h5_error(const char *path, const char *doing, const char *object);

MUST_USE Status h5_file_open(const char *path,
                             hid_t *out_file); // read only; tells missing, not HDF5, cut off
MUST_USE Status h5_file_open_as(const char *path, hid_t access, hid_t *out_file); // with a file access list
void h5_close(hid_t id);                                                          // any kind; ids <= 0 are ignored

// A file being written. A full disk shows in h5_output_status and h5_output_close, not in single writes
// (h5_output.c says why), so long writers ask now and then. Must not move in memory while open.
typedef struct H5Output {
    const char *path; // the target, for messages; not owned
    hid_t file;
    int write_error; // errno of the first write that failed; 0: none
} H5Output;

// `checksums`: the HDF5 1.10 format, whose metadata carry checksums, so that a reader notices damage before
// it follows it. Otherwise the oldest format that holds the data, which every HDF5 reads.
MUST_USE Status h5_output_create(const char *path, const char *temporary, bool checksums, H5Output *out);
// A file written with `checksums` that is there already, to be added to.
MUST_USE Status h5_output_open(const char *path, const char *temporary, H5Output *out);
MUST_USE Status h5_output_status(const H5Output *output);
MUST_USE Status h5_output_close(H5Output *output); // flushes; all other ids of the file must be closed before

MUST_USE Status h5_group_create(const char *path, hid_t parent, const char *name, hid_t *out_group);
MUST_USE Status h5_group_open(const char *path, hid_t parent, const char *name, hid_t *out_group);

// Attributes of an open object.
MUST_USE Status h5_put_text(const char *path, hid_t object, const char *name, const char *value);
MUST_USE Status h5_put_i64(const char *path, hid_t object, const char *name, int64_t value);
MUST_USE Status h5_put_f64(const char *path, hid_t object, const char *name, double value);
MUST_USE Status h5_put_texts(const char *path, hid_t object, const char *name, char *const *values, size_t count);
MUST_USE Status h5_put_array_i64(const char *path, hid_t object, const char *name, const int64_t *values, size_t count);
// Text in fields of fixed width instead of HDF5's global heap: stores use it, because the heap has no
// checksums and HDF5 follows a damaged one out of bounds. The readers of fixed text refuse attributes of variable
// length.
MUST_USE Status h5_put_fixed_text(const char *path, hid_t object, const char *name, const char *value);
MUST_USE Status h5_put_fixed_texts(const char *path, hid_t object, const char *name, char *const *values, size_t count);
MUST_USE Status h5_write_fixed_texts(const char *path, hid_t parent, const char *name, char *const *values,
                                     size_t count);
MUST_USE Status h5_get_text(const char *path, hid_t object, const char *name, Arena *arena, char **out_value);
MUST_USE Status h5_get_fixed_text(const char *path, hid_t object, const char *name, Arena *arena, char **out_value);
MUST_USE Status h5_get_fixed_texts(const char *path, hid_t object, const char *name, Arena *arena, char ***out_values,
                                   size_t *out_count);
MUST_USE Status h5_get_i64(const char *path, hid_t object, const char *name, int64_t *out_value);
MUST_USE Status h5_get_f64(const char *path, hid_t object, const char *name, double *out_value);
MUST_USE Status h5_get_texts(const char *path, hid_t object, const char *name, Arena *arena, char ***out_values,
                             size_t *out_count);

// Datasets. `rank` at most 4. With `chunk` the dataset is chunked; deflate 0 .. 9 (0: none); checksum adds
// Fletcher-32.
typedef struct H5Layout {
    const hsize_t *chunk; // [rank] or NULL for contiguous
    int deflate;
    bool checksum;
} H5Layout;

MUST_USE Status h5_dataset_create(const char *path, hid_t parent, const char *name, hid_t file_type, int rank,
                                  const hsize_t *dims, H5Layout layout, hid_t *out_dataset);
// Creates, writes all, closes.
MUST_USE Status h5_write(const char *path, hid_t parent, const char *name, hid_t file_type, hid_t memory_type, int rank,
                         const hsize_t *dims, const void *data, H5Layout layout);
MUST_USE Status h5_write_texts(const char *path, hid_t parent, const char *name, char *const *values, size_t count);

// Opens a dataset of `rank` dimensions whose class (H5T_INTEGER, H5T_FLOAT, H5T_STRING) and byte size (0:
// any) are as given. Dimensions that are not (hsize_t)-1 in `dims` must agree; all are filled in.
MUST_USE Status h5_dataset_open(const char *path, hid_t parent, const char *name, H5T_class_t type_class,
                                size_t type_size, int rank, hsize_t *dims, hid_t *out_dataset);
// Rows first .. first+count-1 along the first dimension; 1 <= rank <= 4.
MUST_USE Status h5_read_rows(const char *path, const char *name, hid_t dataset, hid_t memory_type, hsize_t first,
                             hsize_t count, void *out_data);
MUST_USE Status h5_write_rows(const char *path, const char *name, hid_t dataset, hid_t memory_type, hsize_t first,
                              hsize_t count, const void *data);
// Of fixed width only: see h5_put_fixed_text.
MUST_USE Status h5_read_texts(const char *path, hid_t parent, const char *name, Arena *arena, char ***out_values,
                              size_t *out_count);
