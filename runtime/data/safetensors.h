// safetensors: weights by name (https://huggingface.co/docs/safetensors): 8 bytes little-endian header
// length, a JSON header, then the data, without holes.
//
// Reading is strict: header size, names, types, shapes and offsets are checked before any data is used;
// ranges must follow each other without overlap or hole up to the end of the file. Data is read straight into
// the caller's memory.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/json.h"
#include "../core/status.h"
#include "../core/strings.h"
#include "element.h"

typedef struct SafeTensor {
    const char *name;
    ElementType type;
    int rank;
    int64_t shape[ELEMENT_MAX_RANK];
    int64_t elements;
    uint64_t begin, end; // bytes, from the start of the data
} SafeTensor;

typedef struct SafeFile {
    const char *path;
    int descriptor;
    uint64_t data_start; // bytes from the start of the file
    SafeTensor *tensor;  // [count] in the order of the header
    size_t count;
    NameIndex index;
    const JsonValue *metadata; // object of strings, or NULL
    Arena arena;
} SafeFile;

MUST_USE Status safetensors_open(const char *path, SafeFile *out_file);
void safetensors_close(SafeFile *file); // harmless on a zeroed or closed one
const SafeTensor *safetensors_find(const SafeFile *file, const char *name);
const char *safetensors_metadata(const SafeFile *file, const char *key); // NULL: not there

// May data of `from` stand for parameters of type `to`? The same type, or a real (F16, BF16, F32, F64) as F32 or F64.
bool safetensors_convertible(ElementType from, ElementType to);
// All elements of `tensor` into `to` (tensor->elements of `type`), converted where element_convertible.
MUST_USE Status safetensors_read(const SafeFile *file, const SafeTensor *tensor, ElementType type, void *to);

typedef struct SafePair {
    const char *name, *value;
} SafePair;

typedef struct SafeEntry {
    const char *name;
    ElementType type;
    int rank;
    int64_t shape[ELEMENT_MAX_RANK];
    const void *data;
} SafeEntry;

// Writes a whole file atomically (temporary name, sync, rename). Entries with the widest elements come first,
// so that all data is aligned; otherwise the order given.
MUST_USE Status safetensors_write(const char *path, const SafeEntry *entries, size_t count, const SafePair *metadata,
                                  size_t pairs);
