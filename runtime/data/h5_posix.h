// h5_posix: what the file drivers here share: an open file as HDF5's drivers see one. h5_output.c writes with it,
// h5_driver.c reads foreign files. Internal to runtime/data.
#pragma once

#include <hdf5.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct H5Posix {
    H5FD_t common; // HDF5's part, first
    int descriptor;
    dev_t device;
    ino_t inode;
    haddr_t end_allocated, end_of_file;
} H5Posix;

// HDF5 takes a driver of its own as `value`; these are of the range for drivers that are not registered.
enum { H5_POSIX_OUTPUT = 500, H5_POSIX_READ = 501 };

// `mode`: of open(2). False: it could not be opened, nothing is left open.
bool h5_posix_open(const char *name, int mode, H5Posix *out_file);
// Behind the end of the file everything reads as 0. Gives 0 or errno; the buffer is filled either way.
int h5_posix_read(const H5Posix *file, haddr_t address, size_t size, void *buffer);

// Members of a driver's class; every file must begin with an H5Posix.
int h5_posix_compare(const H5FD_t *a, const H5FD_t *b);
herr_t h5_posix_query(const H5FD_t *file, unsigned long *flags);
haddr_t h5_posix_end_allocated(const H5FD_t *file, H5FD_mem_t type);
herr_t h5_posix_set_end(H5FD_t *file, H5FD_mem_t type, haddr_t address);
haddr_t h5_posix_end_of_file(const H5FD_t *file, H5FD_mem_t type);
