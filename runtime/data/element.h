// element: the number types of weight and array files, their names, sizes and conversions. Half (F16) and brain
// (BF16) floats are 16 bits wide and are read into f32 or f64.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef enum ElementType {
    ELEMENT_BOOL,
    ELEMENT_U8,
    ELEMENT_I8,
    ELEMENT_I16,
    ELEMENT_U16,
    ELEMENT_F16,
    ELEMENT_BF16,
    ELEMENT_I32,
    ELEMENT_U32,
    ELEMENT_F32,
    ELEMENT_F64,
    ELEMENT_I64,
    ELEMENT_U64,
    ELEMENT_TYPES
} ElementType;

enum { ELEMENT_MAX_RANK = 16 };

const char *element_name(ElementType type);                  // as safetensors writes it: "F32"
size_t element_size(ElementType type);                       // bytes
bool element_named(const char *name, ElementType *out_type); // false: no such name
bool element_is_real(ElementType type);                      // F16 BF16 F32 F64

// May values of `from` be read as `to`? The same type; anything as F32 or F64 (rounded to nearest); whole numbers
// and bools as I32 or I64 (each value must fit).
bool element_convertible(ElementType from, ElementType to);

// `count` values at `from` (any alignment) into `to` (aligned for its type), for a convertible pair. False: a whole
// number did not fit; *out_bad is then its position.
bool element_convert(ElementType type, const void *from, ElementType to_type, void *to, int64_t count,
                     int64_t *out_bad);
