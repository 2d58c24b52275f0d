// journal: see journal.h.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // ftruncate, O_CLOEXEC, strdup
#endif

#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Status journal_open(Journal *journal, const char *path, uint64_t length) {
    *journal = (Journal){.descriptor = -1, .length = length};
    journal->path = strdup(path);
    if (!journal->path) return status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    struct stat info;
    Status status = STATUS_OK;
    journal->descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (journal->descriptor < 0) {
        status = status_errno(errno, "cannot write %s", path);
    } else if (fstat(journal->descriptor, &info) != 0) {
        status = status_errno(errno, "cannot inspect %s", path);
    } else if (S_ISREG(info.st_mode)) {
        if ((uint64_t)info.st_size < length)
            status =
                status_make(STATUS_MISMATCH,
                            "%s has %lld bytes, the checkpoint was made with %llu; it was changed since. Put the old "
                            "file back, or start again with another --out",
                            path, (long long)info.st_size, (unsigned long long)length);
        else if ((uint64_t)info.st_size > length && ftruncate(journal->descriptor, (off_t)length) != 0)
            status = status_errno(errno, "cannot cut %s to %llu bytes", path, (unsigned long long)length);
        else if (lseek(journal->descriptor, (off_t)length, SEEK_SET) < 0)
            status = status_errno(errno, "cannot write %s", path);
    }
    if (status != STATUS_OK) journal_close(journal);
    return status;
}

Status journal_append(Journal *journal, const void *data, size_t size) {
    const char *p = data;
    while (size) {
        ssize_t put = write(journal->descriptor, p, size);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return status_errno(errno, "cannot write %s", journal->path);
        p += put;
        size -= (size_t)put;
        journal->length += (uint64_t)put;
    }
    return STATUS_OK;
}

Status journal_sync(Journal *journal) {
    // EINVAL: a device or pipe, which has nothing to sync.
    if (fdatasync(journal->descriptor) == 0 || errno == EINVAL || errno == EROFS) return STATUS_OK;
    return status_errno(errno, "cannot write %s: syncing to disk failed", journal->path);
}

void journal_close(Journal *journal) {
    if (journal->path && journal->descriptor >= 0) close(journal->descriptor);
    free(journal->path);
    *journal = (Journal){.descriptor = -1};
}
