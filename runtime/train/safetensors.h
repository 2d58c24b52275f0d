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
#include "../program/program.h"

typedef enum SafeType {
    SAFE_BOOL,
    SAFE_U8,
    SAFE_I8,
    SAFE_I16,
    SAFE_U16,
    SAFE_F16,
    SAFE_BF16,
    SAFE_I32,
    SAFE_U32,
    SAFE_F32,
    SAFE_F64,
    SAFE_I64,
    SAFE_U64,
} SafeType;

enum { SAFE_MAX_RANK = 16 };

typedef struct SafeTensor {
    const char *name;
    SafeType type;
    int rank;
    int64_t shape[SAFE_MAX_RANK];
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

// Can data of `from` be read as `to`? The same type, or between reals (f16, bf16, f32, f64).
bool safetensors_convertible(SafeType from, StmType to);
// All elements of `tensor` into `to` (tensor->elements of `type`), converted where convertible.
MUST_USE Status safetensors_read(const SafeFile *file, const SafeTensor *tensor, StmType type, void *to);
const char *safe_type_name(SafeType type); // "F32"
size_t safe_type_size(SafeType type);

typedef struct SafeEntry {
    const char *name;
    StmType type;
    int rank;
    int64_t shape[STM_MAX_RANK];
    const void *data;
} SafeEntry;

// Writes a whole file atomically (temporary name, sync, rename). Entries with the widest elements come first,
// so that all data is aligned; otherwise the order given.
MUST_USE Status safetensors_write(const char *path, const SafeEntry *entries, size_t count, const StmPair *metadata,
                                  size_t pairs);
