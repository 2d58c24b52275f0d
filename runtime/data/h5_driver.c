// h5_driver: see h5_driver.h.
#include "h5_driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "h5.h"

typedef struct DriverFile {
    H5FD_t common; // HDF5's part, first
    int descriptor;
    dev_t device;
    ino_t inode;
    haddr_t end_allocated, end_of_file;
    bool noting; // reads of raw data are noted, not done
    bool noted;
    uint64_t offset, bytes;
} DriverFile;

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t most) {
    (void)access, (void)most;
    if (flags & (H5F_ACC_RDWR | H5F_ACC_CREAT | H5F_ACC_TRUNC)) return NULL;
    struct stat info;
    int descriptor = open(name, O_RDONLY | O_CLOEXEC);
    DriverFile *f = descriptor < 0 || fstat(descriptor, &info) != 0 ? NULL : calloc(1, sizeof *f);
    if (!f) {
        if (descriptor >= 0) close(descriptor);
        return NULL;
    }
    f->descriptor = descriptor;
    f->device = info.st_dev;
    f->inode = info.st_ino;
    f->end_of_file = (haddr_t)info.st_size;
    return &f->common;
}

static herr_t driver_close(H5FD_t *file) {
    DriverFile *f = (DriverFile *)file;
    close(f->descriptor);
    free(f);
    return 0;
}

static int driver_compare(const H5FD_t *a, const H5FD_t *b) {
    const DriverFile *x = (const DriverFile *)a, *y = (const DriverFile *)b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    return (x->inode > y->inode) - (x->inode < y->inode);
}

// Metadata is gathered into larger reads and small pieces of raw data too, as in HDF5's own driver.
static herr_t driver_query(const H5FD_t *file, unsigned long *flags) {
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t driver_end_allocated(const H5FD_t *file, H5FD_mem_t type) {
    (void)type;
    return ((const DriverFile *)file)->end_allocated;
}

static herr_t driver_set_end(H5FD_t *file, H5FD_mem_t type, haddr_t address) {
    (void)type;
    ((DriverFile *)file)->end_allocated = address;
    return 0;
}

static haddr_t driver_end_of_file(const H5FD_t *file, H5FD_mem_t type) {
    (void)type;
    return ((const DriverFile *)file)->end_of_file;
}

static herr_t driver_handle(H5FD_t *file, hid_t access, void **handle) {
    (void)access;
    *handle = file;
    return 0;
}

static herr_t driver_read(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size, void *buffer) {
    (void)transfer;
    DriverFile *f = (DriverFile *)file;
    if (address > INT64_MAX || size > INT64_MAX - address) return -1;
    if (f->noting && type == H5FD_MEM_DRAW) {
        f->noted = true;
        f->offset = address;
        f->bytes = size;
        return 0;
    }
    for (char *to = buffer; size > 0;) {
        ssize_t got = pread(f->descriptor, to, size, (off_t)address);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) { // behind the file's end, as HDF5's own driver has it
            memset(to, 0, size);
            break;
        }
        to += got;
        address += (haddr_t)got;
        size -= (size_t)got;
    }
    return 0;
}

static herr_t driver_write(H5FD_t *file, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size,
                           const void *buffer) {
    (void)file, (void)type, (void)transfer, (void)address, (void)size, (void)buffer;
    return -1; // for reading only
}

static const H5FD_class_t driver_class = {
    .name = "stmc-read",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .open = driver_open,
    .close = driver_close,
    .cmp = driver_compare,
    .query = driver_query,
    .get_eoa = driver_end_allocated,
    .set_eoa = driver_set_end,
    .get_eof = driver_end_of_file,
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
    return driver->file ? driver->file->descriptor : -1;
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
