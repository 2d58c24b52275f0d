// files: reading whole files, listing directories, and writing files so that a reader never sees half of one.
//
// All paths are C strings in the system's encoding. Every message names the file and the system's reason.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "status.h"

// The whole file in a new block that ends in an extra '\0'; the caller frees *out_data with free(). Files
// larger than `limit` bytes are refused before reading; so is what is no regular file, without waiting for it.
MUST_USE Status file_read(const char *path, size_t limit, char **out_data, size_t *out_size);

// Size in bytes of a regular file; anything else (directory, missing) is an error.
MUST_USE Status file_size(const char *path, uint64_t *out_size);
// The first bytes of a regular file, at most `room`, as its content is told by; pipes are refused, not waited for.
MUST_USE Status file_head(const char *path, unsigned char *bytes, size_t room, size_t *out_got, uint64_t *out_size);
bool file_exists(const char *path);
bool is_directory(const char *path);

// "directory/name" in `arena`; NULL when memory is out.
char *path_join(Arena *arena, const char *directory, const char *name);
const char *path_base(const char *path); // the part after the last '/'

MUST_USE Status make_directories(const char *path); // like mkdir -p

// Names (not paths) in a directory in byte order, without "." and "..". Memory from `arena`.
MUST_USE Status directory_list(const char *path, Arena *arena, char ***out_names, size_t *out_count);

// Atomic writing: data goes to a temporary file beside the target; atomic_commit syncs it, renames it over
// the target and syncs the directory. A directory that is not there is STATUS_IO: an output problem.
// Until then the old target is untouched; on any failure or atomic_abort
// the temporary file is removed. A symbolic link as target keeps being one: its destination is replaced. A
// target that exists and is a device or a pipe (/dev/stdout) cannot be replaced and is written straight.
//     AtomicFile file;
//     TRY(atomic_open(&file, path));
//     Status status = atomic_write(&file, data, size);
//     if (status == STATUS_OK) status = atomic_commit(&file); else atomic_abort(&file);
typedef struct AtomicFile {
    char *path;      // the target, links resolved
    char *temporary; // NULL when written straight
    int descriptor;
    unsigned char *buffer;
    size_t fill;
} AtomicFile;

MUST_USE Status atomic_open(AtomicFile *file, const char *path);
MUST_USE Status atomic_write(AtomicFile *file, const void *data, size_t size);
// Syncs, renames, frees. Ends the AtomicFile on success and on failure.
MUST_USE Status atomic_commit(AtomicFile *file);
void atomic_abort(AtomicFile *file); // harmless after a commit

// The same for libraries that insist on opening a name themselves (HDF5). Write to file->temporary, close it,
// then atomic_commit. Devices and pipes are refused.
MUST_USE Status atomic_reserve(AtomicFile *file, const char *path);

// All in one.
MUST_USE Status file_write_atomic(const char *path, const void *data, size_t size);
