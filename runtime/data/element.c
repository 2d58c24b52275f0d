// element: see element.h.
#include "element.h"

#include <string.h>

typedef struct TypeInfo {
    const char *name;
    size_t size;
} TypeInfo;

static const TypeInfo type_info[] = {
    // in the order of ElementType
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"I16", 2}, {"U16", 2}, {"F16", 2}, {"BF16", 2},
    {"I32", 4},  {"U32", 4}, {"F32", 4}, {"F64", 8}, {"I64", 8}, {"U64", 8},
};
_Static_assert(sizeof type_info / sizeof *type_info == ELEMENT_TYPES, "one line a type");

const char *element_name(ElementType type) {
    return type_info[type].name;
}

size_t element_size(ElementType type) {
    return type_info[type].size;
}

bool element_named(const char *name, ElementType *out_type) {
    for (int i = 0; i < ELEMENT_TYPES; i++) {
        if (strcmp(type_info[i].name, name) != 0) continue;
        *out_type = (ElementType)i;
        return true;
    }
    return false;
}

bool element_is_real(ElementType type) {
    return type == ELEMENT_F16 || type == ELEMENT_BF16 || type == ELEMENT_F32 || type == ELEMENT_F64;
}

bool element_convertible(ElementType from, ElementType to) {
    if (from == to || to == ELEMENT_F32 || to == ELEMENT_F64) return true;
    return !element_is_real(from) && (to == ELEMENT_I32 || to == ELEMENT_I64);
}

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static float half_value(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 31) return from_bits(sign | 0x7F800000u | fraction << 13);
    if (exponent) return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f;
    return sign ? -small : small;
}

static double real_value(ElementType type, const unsigned char *at) {
    uint16_t half;
    float single;
    double value;
    switch (type) {
    case ELEMENT_F16: memcpy(&half, at, 2); return (double)half_value(half);
    case ELEMENT_BF16: memcpy(&half, at, 2); return (double)from_bits((uint32_t)half << 16);
    case ELEMENT_F32: memcpy(&single, at, 4); return (double)single;
    default: memcpy(&value, at, 8); return value;
    }
}

// A whole number; U64 values from 2^63 up come back negative with *out_large set.
static int64_t whole_value(ElementType type, const unsigned char *at, bool *out_large) {
    int16_t i16;
    uint16_t u16;
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    *out_large = false;
    switch (type) {
    case ELEMENT_BOOL: return *at != 0;
    case ELEMENT_U8: return *at;
    case ELEMENT_I8: return *at < 128 ? *at : *at - 256;
    case ELEMENT_I16: memcpy(&i16, at, 2); return i16;
    case ELEMENT_U16: memcpy(&u16, at, 2); return u16;
    case ELEMENT_I32: memcpy(&i32, at, 4); return i32;
    case ELEMENT_U32: memcpy(&u32, at, 4); return u32;
    default: memcpy(&i64, at, 8); break;
    }
    *out_large = type == ELEMENT_U64 && i64 < 0;
    return i64;
}

static void to_reals(ElementType type, const unsigned char *from, size_t size, ElementType to_type, void *to,
                     int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const unsigned char *at = from + (size_t)i * size;
        if (element_is_real(type)) {
            double value = real_value(type, at);
            if (to_type == ELEMENT_F64) ((double *)to)[i] = value;
            else ((float *)to)[i] = (float)value;
            continue;
        }
        bool large;
        int64_t value = whole_value(type, at, &large);
        // from the integer itself, so that it is rounded once
        if (to_type == ELEMENT_F64) ((double *)to)[i] = large ? (double)(uint64_t)value : (double)value;
        else ((float *)to)[i] = large ? (float)(uint64_t)value : (float)value;
    }
}

bool element_convert(ElementType type, const void *from, ElementType to_type, void *to, int64_t count,
                     int64_t *out_bad) {
    size_t size = type_info[type].size;
    if (count <= 0) return true;
    if (type == to_type) {
        memcpy(to, from, (size_t)count * size);
        return true;
    }
    if (to_type == ELEMENT_F32 || to_type == ELEMENT_F64) {
        to_reals(type, from, size, to_type, to, count);
        return true;
    }
    for (int64_t i = 0; i < count; i++) {
        bool large;
        int64_t value = whole_value(type, (const unsigned char *)from + (size_t)i * size, &large);
        if (large || (to_type == ELEMENT_I32 && (value < INT32_MIN || value > INT32_MAX))) {
            *out_bad = i;
            return false;
        }
        if (to_type == ELEMENT_I32) ((int32_t *)to)[i] = (int32_t)value;
        else ((int64_t *)to)[i] = value;
    }
    return true;
}
