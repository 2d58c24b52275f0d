// h5_output: the file driver under which HDF5 files are written here.
//
// Note "Why a driver": when a write fails (disk full), HDF5 1.10 keeps the unwritten data in its caches,
// every later close fails as well, and the library's clean-up at exit then walks over half-closed objects and
// crashes. So HDF5 never learns of a failed write: this driver notes the first errno, pretends success, and
// drops everything after it. The writer asks with h5_output_status and throws the file away. Apart from that
// it is a plain POSIX file; what it writes is an ordinary HDF5 file without driver block.
#if !defined(_GNU_SOURCE) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700 // pwrite, ftruncate
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "h5.h"
#include "h5_posix.h"

typedef struct OutputFile {
    H5Posix posix;    // first
    int *write_error; // the H5Output's
} OutputFile;

static H5FD_t *output_open(const char *name, unsigned flags, hid_t access_list, haddr_t maxaddr) {
    (void)maxaddr;
    int *const *info = H5Pget_driver_info(access_list);
    OutputFile *file = info ? calloc(1, sizeof *file) : NULL;
    if (!file) return NULL;
    int mode = flags & H5F_ACC_RDWR ? O_RDWR : O_RDONLY;
    if (flags & H5F_ACC_TRUNC) mode |= O_TRUNC;
    if (flags & H5F_ACC_CREAT) mode |= O_CREAT;
    file->write_error = *info;
    if (h5_posix_open(name, mode, &file->posix)) return &file->posix.common;
    free(file);
    return NULL;
}

static void note_error(OutputFile *file, int error) {
    if (*file->write_error == 0) *file->write_error = error ? error : EIO;
}

static herr_t output_close(H5FD_t *base) {
    OutputFile *file = (OutputFile *)base;
    if (close(file->posix.descriptor) != 0) note_error(file, errno);
    free(file);
    return 0;
}

static herr_t output_read(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size, void *buffer) {
    (void)type, (void)transfer;
    OutputFile *file = (OutputFile *)base;
    int error = h5_posix_read(&file->posix, address, size, buffer);
    if (error) note_error(file, error);
    return 0;
}

static herr_t output_write(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t address, size_t size,
                           const void *buffer) {
    (void)type, (void)transfer;
    OutputFile *file = (OutputFile *)base;
    const char *from = buffer;
    haddr_t end = address + size;
    while (size > 0 && *file->write_error == 0) {
        ssize_t put = pwrite(file->posix.descriptor, from, size, (off_t)address);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            note_error(file, put < 0 ? errno : ENOSPC);
            break;
        }
        from += put;
        address += (haddr_t)put;
        size -= (size_t)put;
    }
    if (end > file->posix.end_of_file) file->posix.end_of_file = end;
    return 0;
}

static herr_t output_truncate(H5FD_t *base, hid_t transfer, hbool_t closing) {
    (void)transfer, (void)closing;
    OutputFile *file = (OutputFile *)base;
    haddr_t end = file->posix.end_allocated;
    if (end == file->posix.end_of_file) return 0;
    if (*file->write_error == 0 && ftruncate(file->posix.descriptor, (off_t)end) != 0) note_error(file, errno);
    file->posix.end_of_file = end;
    return 0;
}

static const H5FD_class_t output_class = {
#ifdef H5FD_CLASS_VERSION // HDF5 1.14 and later
    .version = H5FD_CLASS_VERSION,
    .value = H5_POSIX_OUTPUT,
#endif
    .name = "stmc_output",
    .maxaddr = (haddr_t)1 << 62,
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(int *),
    .open = output_open,
    .close = output_close,
    .cmp = h5_posix_compare,
    .query = h5_posix_query,
    .get_eoa = h5_posix_end_allocated,
    .set_eoa = h5_posix_set_end,
    .get_eof = h5_posix_end_of_file,
    .read = output_read,
    .write = output_write,
    .truncate = output_truncate,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

static Status begin(const char *path, const char *temporary, bool checksums, bool existing, H5Output *out) {
    h5_quiet();
    *out = (H5Output){.path = path, .file = -1};
    int *error = &out->write_error;
    hid_t create = H5Pcreate(H5P_FILE_CREATE), access_list = H5Pcreate(H5P_FILE_ACCESS),
          driver = H5FDregister(&output_class);
    bool ok = create >= 0 && access_list >= 0 && driver >= 0 &&
              H5Pset_obj_track_times(create, 0) >= 0 && // equal input, equal bytes
              H5Pset_driver(access_list, driver, &error) >= 0;
    if (ok && checksums) ok = H5Pset_libver_bounds(access_list, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0;
    if (ok && existing) out->file = H5Fopen(temporary, H5F_ACC_RDWR, access_list);
    else if (ok) out->file = H5Fcreate(temporary, H5F_ACC_TRUNC, create, access_list);
    Status status = out->file < 0 ? h5_error(path, existing ? "opening" : "creating", "the file") : STATUS_OK;
    h5_close(driver); // the open file keeps its own hold on it
    h5_close(access_list);
    h5_close(create);
    return status;
}

Status h5_output_create(const char *path, const char *temporary, bool checksums, H5Output *out) {
    return begin(path, temporary, checksums, false, out);
}

Status h5_output_open(const char *path, const char *temporary, H5Output *out) {
    return begin(path, temporary, true, true, out);
}

Status h5_output_status(const H5Output *output) {
    return output->write_error ? status_errno(output->write_error, "cannot write %s", output->path) : STATUS_OK;
}

Status h5_output_close(H5Output *output) {
    h5_quiet();
    Status status = STATUS_OK;
    if (output->file >= 0) {
        if (H5Fflush(output->file, H5F_SCOPE_LOCAL) < 0) status = h5_error(output->path, "writing", "the file");
        if (H5Fclose(output->file) < 0) status = status_join(status, h5_error(output->path, "closing", "the file"));
    }
    output->file = -1;
    Status failed = h5_output_status(output);
    if (failed == STATUS_OK) return status;
    status_drop(status); // whatever HDF5 says after a failed write is a consequence of it
    return failed;
}
