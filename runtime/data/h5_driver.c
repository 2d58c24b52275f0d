// h5_driver: see h5_driver.h.
#include "h5_driver.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "h5.h"
#include "h5_posix.h"

typedef struct DriverFile {
    H5Posix posix; // first
    bool noting;   // reads of raw data are noted, not done
    bool noted;
    uint64_t offset, bytes;
} DriverFile;

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t most) {
    (void)access, (void)most;
    if (flags & (H5F_ACC_RDWR | H5F_ACC_CREAT | H5F_ACC_TRUNC)) return NULL;
    DriverFile *f = calloc(1, sizeof *f);
    if (f && h5_posix_open(name, O_RDONLY, &f->posix)) return &f->posix.common;
    free(f);
    return NULL;
}

static herr_t driver_close(H5FD_t *file) {
    DriverFile *f = (DriverFile *)file;
    close(f->posix.descriptor);
    free(f);
    return 0;
}

static herr_t driver_handle(H5FD_t *file, hid_t access, void **handle) {
    (void)access;
    *handle = file;
    return 0;
}

static herr_t driver_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size, void *buffer) {
    (void)transfer;
    DriverFile *f = (DriverFile *)file;
    if (f->noting && type == H5FD_MEM_DRAW) {
        f->noted = true;
        f->offset = address;
        f->bytes = size;
        return 0;
    }
    return h5_posix_read(&f->posix, address, size, buffer) ? -1 : 0;
}

static herr_t driver_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size,
                           const void *buffer) {
    (void)file, (void)type, (void)transfer, (void)address, (void)size, (void)buffer;
    return -1; // for reading only
}

static const H5FD_class_t driver_class = {
#ifdef H5FD_CLASS_VERSION // HDF5 1.14 and later
    .version = H5FD_CLASS_VERSION,
    .value = H5_POSIX_READ,
#endif
    .name = "stmc_read",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .open = driver_open,
    .close = driver_close,
    .cmp = h5_posix_compare,
    .query = h5_posix_query,
    .get_eoa = h5_posix_end_allocated,
    .set_eoa = h5_posix_set_end,
    .get_eof = h5_posix_end_of_file,
    .get_handle = driver_handle,
    .read = driver_read,
    .write = driver_write,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

Status h5_driver_open(const char *path, H5Driver *out, hid_t *out_file) {
    void *handle = NULL;
    *out = (H5Driver){H5FDregister(&driver_class), NULL};
    *out_file = -1;
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    Status status = STATUS_OK;
    if (out->id < 0 || access < 0 || H5Pset_driver(access, out->id, NULL) < 0)
        status = h5_error(path, "preparing to read", "the file");
    else status = h5_file_open_as(path, access, out_file);
    if (status == STATUS_OK && (H5Fget_vfd_handle(*out_file, H5P_DEFAULT, &handle) < 0 || !handle)) {
        status = h5_error(path, "preparing to read", "the file");
        h5_close(*out_file);
        *out_file = -1;
    }
    h5_close(access);
    out->file = handle;
    if (status != STATUS_OK) h5_driver_close(out);
    return status;
}

void h5_driver_close(H5Driver *driver) {
    if (driver->id > 0) H5FDunregister(driver->id);
    *driver = (H5Driver){-1, NULL};
}

int h5_driver_descriptor(const H5Driver *driver) {
    return driver->file ? driver->file->posix.descriptor : -1;
}

bool h5_driver_chunk(const H5Driver *driver, hid_t dataset, hsize_t first, H5Place *out) {
    DriverFile *f = driver->file;
    hsize_t offset[1] = {first};
    char nothing = 0; // HDF5 refuses to read to nowhere
    *out = (H5Place){0};
    if (!f) return false;
    f->noting = true;
    f->noted = false;
    bool found = H5Dread_chunk(dataset, H5P_DEFAULT, offset, &out->mask, &nothing) >= 0 && f->noted;
    f->noting = false;
    if (!found) {
        H5Eclear2(H5E_DEFAULT);
        return false;
    }
    out->offset = f->offset;
    out->bytes = f->bytes;
    return true;
}
