// h5_driver: the way HDF5 reads foreign files: a file driver for reading only, that can also tell where the raw bytes
// of a chunk stand, so that they are read and decoded outside of HDF5, which is for one thread at a time. HDF5 1.10 has
// no call for this that does not walk over all chunks: here H5Dread_chunk is let run up to the read, which the driver
// notes instead of doing it. Internal to runtime/data.
#pragma once

#include <hdf5.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct H5Place { // bytes of the file
    uint64_t offset, bytes;
    uint32_t mask; // chunks: filters that were left out
} H5Place;

typedef struct H5Driver {
    hid_t id;
    struct DriverFile *file; // of the open file; HDF5's
} H5Driver;

// Opens for reading; errors as h5_file_open. The file is closed before the driver.
MUST_USE Status h5_driver_open(const char *path, H5Driver *out_driver, hid_t *out_file);
void h5_driver_close(H5Driver *driver);
// Where the chunk that begins at element `first` of a one-dimensional dataset stands; false if the file does not hold
// it.
bool h5_driver_chunk(const H5Driver *driver, hid_t dataset, hsize_t first, H5Place *out_place);
int h5_driver_descriptor(const H5Driver *driver); // the open file, for pread; -1: there is none
