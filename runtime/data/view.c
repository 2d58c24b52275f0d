// view: see view.h.
#include "view.h"

#include <string.h>

#include "../core/strings.h"

enum { REPEATED = 1 << 28 }; // elements that a view may have when it has more than its storage

const char *view_dtype(const char *name, size_t length, PickleView *view) {
    static const struct {
        char letter;
        int size;
        ElementType type;
    } types[] = {
        {'b', 1, ELEMENT_BOOL}, {'u', 1, ELEMENT_U8},  {'i', 1, ELEMENT_I8},  {'i', 2, ELEMENT_I16},
        {'u', 2, ELEMENT_U16},  {'f', 2, ELEMENT_F16}, {'i', 4, ELEMENT_I32}, {'u', 4, ELEMENT_U32},
        {'f', 4, ELEMENT_F32},  {'f', 8, ELEMENT_F64}, {'i', 8, ELEMENT_I64}, {'u', 8, ELEMENT_U64},
    };
    int64_t size = 0;
    if (!length) return "it has no name";
    bool sized = parse_i64(name + 1, length - 1, &size) && size >= 0;
    switch (name[0]) {
    case 'O': return "Python objects are not read; save numbers or text";
    case 'c': return "complex numbers are not read; save the real and the imaginary part";
    case 'V': return "records and raw bytes are not read; save each field apart";
    case 'M':
    case 'm': return "dates and durations are not read; save them as whole numbers";
    case 'U':
    case 'S':
    case 'a':
        if (!sized || size > 1 << 20) return "a text has a width that is no number up to 2^20";
        view->text_width = (int)size;
        view->text_bytes = name[0] != 'U';
        view->type = ELEMENT_U8;
        view->is_text = true;
        return NULL;
    default: break;
    }
    for (size_t i = 0; sized && i < sizeof types / sizeof *types; i++) {
        if (types[i].letter != name[0] || types[i].size != size) continue;
        view->type = types[i].type;
        return NULL;
    }
    return "it is none of b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 U S";
}

size_t view_item_size(const PickleView *view) {
    if (view->is_text) return (size_t)view->text_width * (view->text_bytes ? 1 : 4);
    return element_size(view->type);
}

void view_strides(PickleView *view, bool fortran) {
    int64_t at = 1;
    for (int i = 0; i < view->rank; i++) {
        int d = fortran ? i : view->rank - 1 - i;
        view->stride[d] = at;
        if (__builtin_mul_overflow(at, view->shape[d] ? view->shape[d] : 1, &at)) at = INT64_MAX;
    }
}

bool view_is_packed(const PickleView *view) {
    int64_t at = 1;
    for (int d = view->rank - 1; d >= 0; d--) {
        if (view->shape[d] != 1 && view->stride[d] != at) return false;
        at *= view->shape[d];
    }
    return true;
}

// Elements of the storage, in the view's type.
static uint64_t storage_elements(const PickleView *view) {
    const PickleStorage *storage = view->storage;
    if (view->is_text || storage->type == view->type) return storage->count;
    return storage->count * element_size(storage->type) / element_size(view->type);
}

const char *view_check(PickleView *view) {
    view->elements = 1;
    uint64_t last = 0, have = storage_elements(view);
    for (int d = 0; d < view->rank; d++)
        if (view->shape[d] == 0) view->elements = 0;
    for (int d = 0; d < view->rank && view->elements; d++) {
        uint64_t reach = 0;
        if (__builtin_mul_overflow(view->elements, view->shape[d], &view->elements) || view->elements > (int64_t)1
                                                                                                            << 48)
            return "a tensor's shape is too large";
        if (__builtin_mul_overflow((uint64_t)view->shape[d] - 1, (uint64_t)view->stride[d], &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return "a tensor reaches beyond its storage";
    }
    if (!view->elements) return NULL;
    if (view->offset >= have || last >= have - view->offset) return "a tensor reaches beyond its storage";
    if ((uint64_t)view->elements > have && view->elements > REPEATED)
        return "a tensor repeats its elements more than 2^28 times in all";
    return NULL;
}

// ---- reading -------------------------------------------------------------------------------------------------------

// Calls for every run of elements along the last dimension, in C order: walks like an odometer.
typedef struct Walk {
    const PickleView *view;
    int64_t at[ELEMENT_MAX_RANK];
    uint64_t element; // of the storage, where the run begins
} Walk;

static bool next_run(Walk *w) {
    const PickleView *v = w->view;
    for (int d = v->rank - 2; d >= 0; d--) {
        w->element += (uint64_t)v->stride[d];
        if (++w->at[d] < v->shape[d]) return true;
        w->element -= (uint64_t)v->shape[d] * (uint64_t)v->stride[d];
        w->at[d] = 0;
    }
    return false;
}

static Status does_not_fit(const char *name, int64_t at, ElementType type) {
    return status_make(STATUS_MISMATCH, "%s: element %lld does not fit %s", name, (long long)at, element_name(type));
}

Status view_read(const PickleView *view, const char *name, ElementType type, void *to) {
    if (view->is_text) return status_make(STATUS_MISMATCH, "%s holds texts and cannot be read as numbers", name);
    if (!element_convertible(view->type, type))
        return status_make(STATUS_MISMATCH, "%s is %s and cannot be read as %s", name, element_name(view->type),
                           element_name(type));
    if (!view->elements) return STATUS_OK;
    if (!view->storage->data) return status_make(STATUS_INTERNAL, "%s: its storage was not found", name);
    size_t size = element_size(view->type), to_size = element_size(type);
    const unsigned char *from = view->storage->data;
    int64_t bad = 0, done = 0;
    if (view_is_packed(view)) {
        if (element_convert(view->type, from + view->offset * size, type, to, view->elements, &bad)) return STATUS_OK;
        return does_not_fit(name, bad, type);
    }
    int64_t run = view->rank ? view->shape[view->rank - 1] : 1;
    uint64_t step = view->rank ? (uint64_t)view->stride[view->rank - 1] : 1;
    Walk walk = {.view = view, .element = view->offset};
    do {
        unsigned char *out = (unsigned char *)to + (size_t)done * to_size;
        if (step == 1) {
            if (!element_convert(view->type, from + walk.element * size, type, out, run, &bad))
                return does_not_fit(name, done + bad, type);
        } else {
            for (int64_t i = 0; i < run; i++)
                if (!element_convert(view->type, from + (walk.element + (uint64_t)i * step) * size, type,
                                     out + (size_t)i * to_size, 1, &bad))
                    return does_not_fit(name, done + i, type);
        }
        done += run;
    } while (next_run(&walk));
    return STATUS_OK;
}

// ---- texts
// -----------------------------------------------------------------------------------------------------------

size_t utf8_put(uint32_t code, char *to) {
    if (code < 0x80) return to[0] = (char)code, 1;
    if (code < 0x800) return to[0] = (char)(0xC0 | code >> 6), to[1] = (char)(0x80 | (code & 63)), 2;
    if (code < 0x10000) {
        to[0] = (char)(0xE0 | code >> 12), to[1] = (char)(0x80 | (code >> 6 & 63)), to[2] = (char)(0x80 | (code & 63));
        return 3;
    }
    to[0] = (char)(0xF0 | code >> 18), to[1] = (char)(0x80 | (code >> 12 & 63));
    to[2] = (char)(0x80 | (code >> 6 & 63)), to[3] = (char)(0x80 | (code & 63));
    return 4;
}

size_t view_text(const PickleView *view, const unsigned char *from, char *to) {
    size_t n = 0;
    if (view->text_bytes) {
        for (int i = 0; i < view->text_width && from[i]; i++) to[n++] = (char)from[i];
        to[n] = '\0';
        return n;
    }
    for (int i = 0; i < view->text_width; i++) {
        uint32_t code;
        memcpy(&code, from + 4 * (size_t)i, 4);
        if (!code) break;
        if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return SIZE_MAX;
        n += utf8_put(code, to + n);
    }
    to[n] = '\0';
    return n;
}

Status view_texts(const PickleView *view, const char *name, Arena *arena, char ***out_texts) {
    if (!view->is_text) return status_make(STATUS_MISMATCH, "%s holds numbers and cannot be read as text", name);
    size_t size = view_item_size(view);
    char **texts = NULL, *room = NULL;
    TRY(ARENA_NEW(arena, texts, (size_t)view->elements + 1));
    TRY(ARENA_NEW(arena, room, (size_t)view->text_width * 4 + 1));
    Walk walk = {.view = view, .element = view->offset};
    int64_t run = view->rank ? view->shape[view->rank - 1] : 1, done = 0;
    uint64_t step = view->rank ? (uint64_t)view->stride[view->rank - 1] : 1;
    if (view->elements) {
        do {
            for (int64_t i = 0; i < run; i++, done++) {
                size_t n = view_text(view, view->storage->data + (walk.element + (uint64_t)i * step) * size, room);
                if (n == SIZE_MAX)
                    return status_make(STATUS_MALFORMED, "%s: text %lld holds a number that is no character", name,
                                       (long long)done);
                TRY(ARENA_COPY(arena, texts[done], room, n));
            }
        } while (next_run(&walk));
    }
    *out_texts = texts;
    return STATUS_OK;
}
