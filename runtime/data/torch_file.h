// torch_file: files that torch.save wrote, and plain pickles: the zip archive of today, and the older stream of
// pickles followed by raw storages. The pickle is read by the closed interpreter of pickle.h; nothing is executed.
//
// Storages are bound when they are first needed: stored entries of an archive and storages of a stream are used in
// the mapped file, deflated entries are unpacked once. The tar files of PyTorch before 0.1.10, TorchScript programs
// and big-endian files are refused by name.
#pragma once

#include "pickle.h"
#include "zip_read.h"

typedef struct TorchFile {
    const char *path;
    const char *kind; // "torch archive", "torch stream", "pickle"
    Pickle pickle;    // pickle.root is what was saved
    ZipFile zip;      // archives only
    const char *stem; // folder inside the archive, with its '/'
    void *unpacked;   // the deflated data.pkl
    void **owned;     // [pickle.storages] unpacked storages
    Arena arena;
} TorchFile;

bool tar_recognised(const unsigned char *data, size_t size);
// May data be a pickle? (Only its first bytes are looked at.)
bool pickle_recognised(const unsigned char *data, size_t size);

// path and data[0 .. size) must outlive the TorchFile. `zip` is the archive if the file is one (it becomes the
// TorchFile's own, on failure too), else NULL.
MUST_USE Status torch_open(const char *path, const unsigned char *data, size_t size, ZipFile *zip, TorchFile *out_file);
void torch_close(TorchFile *file); // harmless on a zeroed or closed one

// Makes view->storage->data valid.
MUST_USE Status torch_bind(TorchFile *file, const PickleView *view);
