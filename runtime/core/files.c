// files: see files.h.
#if !defined(_GNU_SOURCE) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700 // realpath, fsync, strdup
#endif

#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITE_BUFFER = 64 << 10 };

Status file_read(const char *path, size_t limit, char **out_data, size_t *out_size) {
    *out_data = NULL;
    *out_size = 0;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe without a writer must not be waited for
    if (descriptor < 0) return status_errno(errno, "cannot open %s", path);
    Status status = STATUS_OK;
    char *data = NULL;
    size_t size = 0, capacity = 0;
    struct stat info;
    if (fstat(descriptor, &info) != 0) {
        status = status_errno(errno, "cannot inspect %s", path);
        goto done;
    }
    if (S_ISDIR(info.st_mode)) {
        status = status_make(STATUS_INVALID, "%s is a directory; a file is needed", path);
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        status = status_make(STATUS_INVALID, "%s is a pipe or a device; a file is needed", path);
        goto done;
    }
    capacity = (info.st_size > 0 ? (size_t)info.st_size : 4096) + 1;
    for (;;) {
        if (size > limit || capacity > limit + 4096 + 1) {
            status = status_make(STATUS_INVALID, "%s is larger than the %zu bytes allowed here", path, limit);
            goto done;
        }
        char *grown = realloc(data, capacity);
        if (!grown) {
            status = status_make(STATUS_NO_MEMORY, "no memory for the %zu bytes of %s", capacity, path);
            goto done;
        }
        data = grown;
        while (size + 1 < capacity) {
            ssize_t got = read(descriptor, data + size, capacity - 1 - size);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) {
                status = status_errno(errno, "cannot read %s", path);
                goto done;
            }
            if (got == 0) goto done;
            size += (size_t)got;
        }
        // Full: either exactly the size that fstat promised, or a file that grows; one more round decides.
        capacity = capacity + capacity / 2 + 1;
    }
done:
    close(descriptor);
    if (status != STATUS_OK) {
        free(data);
        return status;
    }
    data[size] = '\0';
    *out_data = data;
    *out_size = size;
    return STATUS_OK;
}

Status file_size(const char *path, uint64_t *out_size) {
    struct stat info;
    if (stat(path, &info) != 0) return status_errno(errno, "cannot open %s", path);
    if (!S_ISREG(info.st_mode)) return status_make(STATUS_INVALID, "%s is not a regular file", path);
    *out_size = (uint64_t)info.st_size;
    return STATUS_OK;
}

Status file_head(const char *path, unsigned char *bytes, size_t room, size_t *out_got, uint64_t *out_size) {
    TRY(file_size(path, out_size));
    FILE *file = fopen(path, "rb");
    if (!file) return status_errno(errno, "cannot open %s", path);
    errno = 0;
    *out_got = fread(bytes, 1, room, file);
    int error = ferror(file) ? (errno ? errno : EIO) : 0;
    fclose(file);
    return error ? status_errno(error, "cannot read %s", path) : STATUS_OK;
}

bool file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool is_directory(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *path_join(Arena *arena, const char *directory, const char *name) {
    size_t n = strlen(directory);
    if (n == 0) return arena_copy(arena, name, strlen(name));
    return arena_printf(arena, "%s%s%s", directory, directory[n - 1] == '/' ? "" : "/", name);
}

const char *path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

Status make_directories(const char *path) {
    char *copy = strdup(path);
    if (!copy) return status_make(STATUS_NO_MEMORY, "no memory to create the directory %s", path);
    Status status = STATUS_OK;
    for (char *p = copy;; p++) {
        if (*p != '/' && *p != '\0') continue;
        char end = *p;
        *p = '\0';
        if (*copy && mkdir(copy, 0777) != 0 && errno != EEXIST) {
            status = status_errno(errno, "cannot create the directory %s", copy);
            break;
        }
        *p = end;
        if (end == '\0') break;
    }
    free(copy);
    if (status == STATUS_OK && !is_directory(path))
        status = status_make(STATUS_INVALID, "%s exists and is not a directory", path);
    return status;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

Status directory_list(const char *path, Arena *arena, char ***out_names, size_t *out_count) {
    *out_names = NULL;
    *out_count = 0;
    DIR *directory = opendir(path);
    if (!directory) return status_errno(errno, "cannot list the directory %s", path);
    Status status = STATUS_OK;
    char **names = NULL;
    size_t count = 0, capacity = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (!entry) {
            if (errno) status = status_errno(errno, "cannot list the directory %s", path);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (count == capacity) {
            size_t larger = capacity ? capacity * 2 : 32;
            char **grown = NULL;
            TRY_OR(status, done, ARENA_NEW(arena, grown, larger));
            if (count) memcpy(grown, names, count * sizeof *names);
            names = grown;
            capacity = larger;
        }
        TRY_OR(status, done, ARENA_COPY(arena, names[count], entry->d_name, strlen(entry->d_name)));
        count++;
    }
done:
    closedir(directory);
    if (status != STATUS_OK) return status;
    if (count) qsort(names, count, sizeof *names, compare_names);
    *out_names = names;
    *out_count = count;
    return STATUS_OK;
}

// Releases memory and the descriptor; removes the temporary file when `remove_temporary`.
static void atomic_release(AtomicFile *file, bool remove_temporary) {
    if (file->descriptor >= 0) close(file->descriptor);
    if (remove_temporary && file->temporary) unlink(file->temporary);
    free(file->path);
    free(file->temporary);
    free(file->buffer);
    *file = (AtomicFile){.descriptor = -1};
}

// Fills path and temporary; creates the temporary file, so that its name is ours alone.
static Status atomic_begin(AtomicFile *file, const char *path, bool allow_straight) {
    *file = (AtomicFile){.descriptor = -1};
    struct stat info;
    bool there = stat(path, &info) == 0;
    if (there && S_ISDIR(info.st_mode))
        return status_make(STATUS_INVALID, "cannot write %s: it is a directory; give a file name", path);
    bool straight = there && !S_ISREG(info.st_mode);
    if (straight && !allow_straight)
        return status_make(STATUS_INVALID, "cannot write %s: it is a device or a pipe; this format needs a file", path);
    file->path = there && !straight ? realpath(path, NULL) : strdup(path);
    if (!file->path) return status_errno(errno, "cannot write %s", path);
    if (straight) {
        file->descriptor = open(path, O_WRONLY | O_CLOEXEC);
        if (file->descriptor >= 0) return STATUS_OK;
        Status status = status_errno(errno, "cannot write %s", path);
        atomic_release(file, false);
        return status;
    }
    size_t room = strlen(file->path) + 48;
    file->temporary = malloc(room);
    Status status = STATUS_OK;
    if (!file->temporary) {
        status = status_make(STATUS_NO_MEMORY, "no memory to write %s", path);
    } else {
        const char *base = path_base(file->path);
        for (unsigned attempt = 0; attempt < 1000; attempt++) {
            snprintf(file->temporary, room, "%.*s.%s.tmp-%ld-%u", (int)(base - file->path), file->path, base,
                     (long)getpid(), attempt);
            // 0666: the user's umask decides, as it does for every other file.
            file->descriptor = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
            if (file->descriptor >= 0 || errno != EEXIST) break;
        }
        if (file->descriptor >= 0) return STATUS_OK;
        int error = errno, length = (int)(base - file->path);
        if (error == ENOENT) // the directory, not the file, is what lacks: an output problem, not a missing input
            status = status_make(
                STATUS_IO, "cannot write %s: there is no directory %.*s (No such file or directory); make it first",
                path, length ? length : 1, length ? file->path : ".");
        else status = status_errno(error, "cannot write %s: creating a file beside it failed", path);
    }
    atomic_release(file, false);
    return status;
}

Status atomic_open(AtomicFile *file, const char *path) {
    TRY(atomic_begin(file, path, true));
    file->buffer = malloc(WRITE_BUFFER);
    if (file->buffer) return STATUS_OK;
    atomic_release(file, true);
    return status_make(STATUS_NO_MEMORY, "no memory to write %s", path);
}

Status atomic_reserve(AtomicFile *file, const char *path) {
    TRY(atomic_begin(file, path, false));
    close(file->descriptor);
    file->descriptor = -1;
    return STATUS_OK;
}

static Status write_all(AtomicFile *file, const unsigned char *data, size_t size) {
    while (size > 0) {
        ssize_t put = write(file->descriptor, data, size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return status_errno(errno, "cannot write %s", file->path);
        if (put == 0) return status_make(STATUS_IO, "cannot write %s: the system accepts no more bytes", file->path);
        data += put;
        size -= (size_t)put;
    }
    return STATUS_OK;
}

static Status atomic_flush(AtomicFile *file) {
    size_t fill = file->fill;
    file->fill = 0;
    return fill ? write_all(file, file->buffer, fill) : STATUS_OK;
}

Status atomic_write(AtomicFile *file, const void *data, size_t size) {
    if (!file->buffer) return status_make(STATUS_INTERNAL, "atomic_write on a file that is not open");
    if (file->fill + size <= WRITE_BUFFER) {
        if (size) memcpy(file->buffer + file->fill, data, size);
        file->fill += size;
        return STATUS_OK;
    }
    TRY(atomic_flush(file));
    if (size >= WRITE_BUFFER) return write_all(file, data, size);
    memcpy(file->buffer, data, size);
    file->fill = size;
    return STATUS_OK;
}

// Makes the new directory entry survive a power failure.
static Status sync_directory_of(const char *path) {
    const char *base = path_base(path);
    char *directory = base == path ? strdup(".") : strndup(path, (size_t)(base - path));
    if (!directory) return status_make(STATUS_NO_MEMORY, "no memory to finish writing %s", path);
    int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Status status = STATUS_OK;
    if (descriptor < 0) {
        status = status_errno(errno, "cannot sync the directory of %s", path);
    } else {
        // Some network file systems cannot sync directories and say EINVAL; the rename itself has happened.
        if (fsync(descriptor) != 0 && errno != EINVAL && errno != EROFS)
            status = status_errno(errno, "cannot sync the directory of %s", path);
        close(descriptor);
    }
    free(directory);
    return status;
}

Status atomic_commit(AtomicFile *file) {
    if (!file->path) return status_make(STATUS_INTERNAL, "atomic_commit on a file that is not open");
    Status status = file->buffer ? atomic_flush(file) : STATUS_OK;
    if (status == STATUS_OK && file->descriptor < 0) { // reserved for a library: open it again to sync it
        file->descriptor = open(file->temporary, O_RDWR | O_CLOEXEC);
        if (file->descriptor < 0) status = status_errno(errno, "cannot finish writing %s", file->path);
    }
    if (status == STATUS_OK && file->temporary && fsync(file->descriptor) != 0)
        status = status_errno(errno, "cannot write %s: syncing to disk failed", file->path);
    if (file->descriptor >= 0) {
        int closed = close(file->descriptor);
        file->descriptor = -1;
        if (closed != 0 && status == STATUS_OK) status = status_errno(errno, "cannot write %s", file->path);
    }
    if (status == STATUS_OK && file->temporary) {
        if (rename(file->temporary, file->path) != 0) {
            status = status_errno(errno, "cannot write %s: renaming the finished file failed", file->path);
        } else {
            free(file->temporary);
            file->temporary = NULL;
            status = sync_directory_of(file->path);
        }
    }
    atomic_release(file, status != STATUS_OK);
    return status;
}

void atomic_abort(AtomicFile *file) {
    if (file->path) atomic_release(file, true);
}

Status file_write_atomic(const char *path, const void *data, size_t size) {
    AtomicFile file;
    TRY(atomic_open(&file, path));
    Status status = atomic_write(&file, data, size);
    if (status == STATUS_OK) return atomic_commit(&file);
    atomic_abort(&file);
    return status;
}
