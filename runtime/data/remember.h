// remember: a function of many values of which few differ. A row of counts holds few different numbers, so the last
// result of each of 512 classes of bits is kept: the same numbers as without, several times faster. Internal to
// runtime/data; one for one thread.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { REMEMBERED = 512 };

typedef struct Remember {
    double (*f)(double);
    uint32_t bad; // its top bit: a value or a result was not finite
    struct {
        uint32_t bits;
        float result;
    } known[REMEMBERED];
} Remember;

static inline void remember_begin(Remember *r, double (*f)(double)) {
    r->f = f;
    r->bad = 0;
    for (size_t i = 0; i < REMEMBERED; i++) {
        r->known[i].bits = 0; // 0.0f
        r->known[i].result = (float)f(0);
    }
}

static inline float remember_apply(Remember *r, float value) {
    uint32_t bits, result;
    memcpy(&bits, &value, sizeof bits);
    uint32_t at = bits * 2654435761u >> 23;
    if (r->known[at].bits != bits) { // what is new is looked at; all results come from there
        r->known[at].bits = bits;
        r->known[at].result = (float)r->f(value);
        memcpy(&result, &r->known[at].result, sizeof result);
        r->bad |= (0x7F7FFFFFu - (bits & 0x7FFFFFFFu)) | (0x7F7FFFFFu - (result & 0x7FFFFFFFu));
    }
    return r->known[at].result;
}

static inline int remember_finite(const Remember *r) {
    return !(r->bad >> 31);
}
