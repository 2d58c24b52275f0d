// npy: NumPy's array files: NPY of versions 1 to 3, and writing NPZ (a zip of NPY files; weights.h reads them).
//
// Arrays of numbers, bools and texts (U and S), in C or Fortran order; they are always read in C order. Objects,
// records, dates, complex numbers and big-endian data are refused by name.
#pragma once

#include "mapped.h"
#include "view.h"

typedef struct NpyFile {
    const char *path;
    Mapped map;
    PickleView view;
    PickleStorage storage;
    Arena arena;
} NpyFile;

bool npy_recognised(const unsigned char *data, size_t size);

MUST_USE Status npy_open(const char *path, NpyFile *out_file);
void npy_close(NpyFile *file); // harmless on a zeroed or closed one
// All elements in C order (view.elements of `type`), converted where element_convertible.
MUST_USE Status npy_read(const NpyFile *file, ElementType type, void *to);
// All texts; memory from `arena`.
MUST_USE Status npy_texts(const NpyFile *file, Arena *arena, char ***out_texts);

// An array file in memory: fills view and storage, which point into data. `name` is for messages.
MUST_USE Status npy_parse(const char *name, const unsigned char *data, size_t size, PickleView *out_view,
                          PickleStorage *out_storage);

typedef struct NpyArray {
    const char *name; // NPZ: without ".npy"
    ElementType type; // any but BF16, which NumPy does not have
    int rank;
    int64_t shape[ELEMENT_MAX_RANK];
    const void *data;        // in C order
    const char *const *text; // instead of data: UTF-8 texts, written with dtype U
} NpyArray;

// Written atomically, version 1.0, in C order.
MUST_USE Status npy_write(const char *path, const NpyArray *array);
// Entries are stored; names must differ.
MUST_USE Status npz_write(const char *path, const NpyArray *arrays, size_t count);
