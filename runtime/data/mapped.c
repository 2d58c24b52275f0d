// mapped: see mapped.h.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE // O_CLOEXEC
#endif
#include "mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static Status map_descriptor(const char *path, int descriptor, Mapped *out) {
    struct stat info;
    if (fstat(descriptor, &info) != 0) return status_errno(errno, "cannot inspect %s", path);
    if (S_ISDIR(info.st_mode)) return status_make(STATUS_INVALID, "%s is a directory; name a file", path);
    if (!S_ISREG(info.st_mode)) return status_make(STATUS_INVALID, "%s is not a regular file", path);
    if (info.st_size == 0) return STATUS_OK;
    if ((uint64_t)info.st_size > SIZE_MAX / 2)
        return status_make(STATUS_NO_MEMORY, "%s is too large for this machine's addresses", path);
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) return status_errno(errno, "cannot map %s", path);
    *out = (Mapped){.data = data, .size = (size_t)info.st_size};
    return STATUS_OK;
}

Status mapped_open(const char *path, Mapped *out_mapped) {
    *out_mapped = (Mapped){0};
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // O_NONBLOCK: a FIFO must not make us wait
    if (descriptor < 0) return status_errno(errno, "cannot open %s", path);
    Status status = map_descriptor(path, descriptor, out_mapped);
    close(descriptor);
    return status;
}

void mapped_close(Mapped *mapped) {
    if (mapped->data) munmap((void *)(uintptr_t)mapped->data, mapped->size);
    *mapped = (Mapped){0};
}
