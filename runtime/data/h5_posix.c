// h5_posix: see h5_posix.h.
#if !defined(_GNU_SOURCE) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700 // pread
#endif

#include "h5_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool h5_posix_open(const char *name, int mode, H5Posix *file) {
    struct stat status;
    file->descriptor = open(name, mode | O_CLOEXEC, 0666);
    if (file->descriptor < 0) return false;
    if (fstat(file->descriptor, &status) != 0) {
        close(file->descriptor);
        return false;
    }
    file->device = status.st_dev;
    file->inode = status.st_ino;
    file->end_of_file = (haddr_t)status.st_size;
    return true;
}

int h5_posix_read(const H5Posix *file, haddr_t address, size_t size, void *buffer) {
    int error = address > INT64_MAX || size > INT64_MAX - address ? EOVERFLOW : 0;
    char *to = buffer;
    while (size > 0 && !error) {
        ssize_t got = pread(file->descriptor, to, size, (off_t)address);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) error = errno;
        if (got <= 0) break;
        to += got;
        address += (haddr_t)got;
        size -= (size_t)got;
    }
    memset(to, 0, size);
    return error;
}

int h5_posix_compare(const H5FD_t *a, const H5FD_t *b) {
    const H5Posix *x = (const H5Posix *)a, *y = (const H5Posix *)b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return (x->inode > y->inode) - (x->inode < y->inode);
}

// Metadata is gathered into larger reads and writes, and small pieces of raw data too, as in HDF5's own driver.
herr_t h5_posix_query(const H5FD_t *file, unsigned long *flags) {
    (void)file;
    if (flags)
        *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
                 H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
    return 0;
}

haddr_t h5_posix_end_allocated(const H5FD_t *file, H5FD_mem_t type) {
    (void)type;
    return ((const H5Posix *)file)->end_allocated;
}

herr_t h5_posix_set_end(H5FD_t *file, H5FD_mem_t type, haddr_t address) {
    (void)type;
    ((H5Posix *)file)->end_allocated = address;
    return 0;
}

haddr_t h5_posix_end_of_file(const H5FD_t *file, H5FD_mem_t type) {
    (void)type;
    return ((const H5Posix *)file)->end_of_file;
}
