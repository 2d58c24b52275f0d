// pickle_tensors: tensors as views of storages, and NumPy's dtypes, arrays and scalars. Every view is checked against
// the elements of its storage before it exists; big-endian data, objects, records, dates and complex numbers are
// refused by name.
#include "pickle_inside.h"

#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"
#include "view.h"

static Status malformed(const Machine *m, const char *what) {
    return machine_bad(m, STATUS_MALFORMED, "%s; the file is damaged", what);
}

// ---- storages ------------------------------------------------------------------------------------------------------

static uint32_t hash_text(const char *text, size_t length) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    return hash ^ hash >> 15;
}

// Twice as many places; the table has twice as many again and is a power of two.
static Status grow_storages(Machine *m) {
    Pickle *p = m->pickle;
    size_t room = p->storage_room ? p->storage_room * 2 : 64, slots = room * 2;
    PickleStorage **list = realloc(p->storage, room * sizeof *list);
    if (list) p->storage = list;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!list || !slot) {
        free(slot);
        return machine_bad(m, STATUS_NO_MEMORY, "no memory for %zu storages", room);
    }
    for (size_t i = 0; i < p->storages; i++) {
        size_t at = hash_text(list[i]->key, strlen(list[i]->key)) & (slots - 1);
        while (slot[at]) at = (at + 1) & (slots - 1);
        slot[at] = (uint32_t)i + 1;
    }
    free(p->storage_slot);
    p->storage_slot = slot;
    p->storage_room = room;
    return STATUS_OK;
}

PickleStorage *pickle_storage(const Pickle *p, const char *key, size_t length) {
    if (!p->storages) return NULL;
    size_t mask = p->storage_room * 2 - 1;
    for (size_t at = hash_text(key, length) & mask; p->storage_slot[at]; at = (at + 1) & mask) {
        PickleStorage *found = p->storage[p->storage_slot[at] - 1];
        if (strlen(found->key) == length && memcmp(found->key, key, length) == 0) return found;
    }
    return NULL;
}

Status storage_add(Machine *m, const char *key, ElementType type, uint64_t count, PickleStorage **out) {
    Pickle *p = m->pickle;
    if (p->storages >= 1 << 24) return machine_bad(m, STATUS_NO_MEMORY, "it has more than 2^24 storages");
    if (p->storages == p->storage_room) TRY(grow_storages(m));
    size_t mask = p->storage_room * 2 - 1, at = hash_text(key, strlen(key)) & mask;
    for (; p->storage_slot[at]; at = (at + 1) & mask) {
        PickleStorage *found = p->storage[p->storage_slot[at] - 1];
        if (strcmp(found->key, key) != 0) continue;
        if (found->type != type || found->count != count)
            return malformed(m, "its storage was named before with another type or size");
        *out = found;
        return STATUS_OK;
    }
    void *block = NULL;
    TRY(machine_memory(m, 1, sizeof **out, &block));
    *out = block;
    **out = (PickleStorage){.key = key, .type = type, .count = count, .at = m->opcode_at};
    (*out)->number = p->storages;
    p->storage[p->storages++] = *out;
    p->storage_slot[at] = (uint32_t)p->storages;
    return STATUS_OK;
}

// ---- torch -------------------------------------------------------------------------------------------------------

// A tuple of whole numbers from 0 up.
static bool read_extents(const PickleValue *value, int64_t out[ELEMENT_MAX_RANK]) {
    if ((value->type != PICKLE_TUPLE && value->type != PICKLE_LIST) || value->count > ELEMENT_MAX_RANK) return false;
    for (size_t d = 0; d < value->count; d++) {
        if (value->items[d]->type != PICKLE_INT || value->items[d]->integer < 0) return false;
        out[d] = value->items[d]->integer;
    }
    return true;
}

static Status new_view(Machine *m, PickleView **out) {
    void *block = NULL;
    TRY(machine_memory(m, 1, sizeof **out, &block));
    *out = block;
    return STATUS_OK;
}

static Status check_view(const Machine *m, PickleView *view) {
    const char *wrong = view_check(view);
    return wrong ? malformed(m, wrong) : STATUS_OK;
}

// A complex tensor's conjugate and negative bits.
static bool has_bits(const PickleValue *metadata) {
    const PickleValue *conjugate = pickle_get(metadata, "conj"), *negative = pickle_get(metadata, "neg");
    return (conjugate && conjugate->type == PICKLE_BOOL && conjugate->boolean) ||
           (negative && negative->type == PICKLE_BOOL && negative->boolean);
}

Status tensor_of(Machine *m, PickleValue *arguments, int version, PickleValue **out) {
    PickleValue **a = arguments->items;
    size_t least = version == 1 ? 4 : version == 2 ? 6 : 7;
    if (arguments->count < least || arguments->count > least + (version > 1) || a[0]->type != PICKLE_STORAGE ||
        a[1]->type != PICKLE_INT || a[1]->integer < 0 || a[2]->count != a[3]->count)
        return malformed(m, "a tensor is rebuilt from other values than its storage, offset, shape and strides");
    if (arguments->count > least && has_bits(a[least]))
        return machine_bad(m, STATUS_UNSUPPORTED,
                           "a tensor is a lazily negated or conjugated view; save a clone() of it");
    PickleView *view = NULL;
    TRY(new_view(m, &view));
    view->storage = a[0]->storage;
    view->type = view->storage->type;
    view->offset = (uint64_t)a[1]->integer;
    bool bytes = a[0]->boolean;
    if (version == 3) {
        bool untyped = false;
        if (!rules_element(a[6], &view->type, &untyped) || untyped) return malformed(m, "a tensor has no dtype");
        if (!bytes && view->type != view->storage->type)
            return malformed(m, "a tensor has another dtype than its storage");
    } else if (bytes) {
        return malformed(m, "a tensor of an untyped storage has no dtype");
    }
    if (!read_extents(a[2], view->shape) || !read_extents(a[3], view->stride))
        return malformed(m, "a tensor's shape or strides are not up to 16 whole numbers from 0 up");
    view->rank = (int)a[2]->count;
    TRY(check_view(m, view));
    TRY(machine_value(m, PICKLE_TENSOR, out));
    (*out)->view = view;
    return STATUS_OK;
}

// ---- NumPy: dtypes -------------------------------------------------------------------------------------------------

// numpy.dtype('f4', align, copy): a letter and a size.
Status array_dtype(Machine *m, PickleValue *arguments, PickleValue **out) {
    if (!arguments->count || arguments->items[0]->type != PICKLE_TEXT) return malformed(m, "a NumPy dtype has no name");
    PickleValue *name = arguments->items[0];
    char shown[QUOTED_TEXT];
    PickleView *view = NULL;
    TRY(new_view(m, &view));
    const char *wrong = view_dtype(name->text, name->length, view);
    if (wrong)
        return machine_bad(m, STATUS_UNSUPPORTED, "NumPy dtype %s: %s", quoted(name->text, name->length, shown), wrong);
    TRY(machine_value(m, PICKLE_DTYPE, out));
    (*out)->view = view;
    return STATUS_OK;
}

// (version, byte order, subarray, names, fields, size, alignment, flags)
Status array_set_order(Machine *m, PickleValue *dtype, PickleValue *state) {
    if (state->type != PICKLE_TUPLE || state->count < 5 || state->items[1]->type != PICKLE_TEXT)
        return malformed(m, "the state of a NumPy dtype is no tuple of its byte order and fields");
    for (int i = 2; i < 5; i++)
        if (state->items[i]->type != PICKLE_NONE)
            return machine_bad(m, STATUS_UNSUPPORTED,
                               "a NumPy dtype has fields or is an array itself; save each field apart");
    if (pickle_is_text(state->items[1], ">") &&
        (dtype->view->is_text ? !dtype->view->text_bytes : element_size(dtype->view->type) > 1))
        return machine_bad(m, STATUS_UNSUPPORTED,
                           "a NumPy array is big-endian; save it with .astype('<...') on the machine that wrote it");
    if (!pickle_is_text(state->items[1], "<") && !pickle_is_text(state->items[1], "|") &&
        !pickle_is_text(state->items[1], "=") && !pickle_is_text(state->items[1], ">"))
        return malformed(m, "a NumPy dtype has a byte order that is none of < | = >");
    return STATUS_OK;
}

// ---- NumPy: arrays
// ---------------------------------------------------------------------------------------------------

static bool is_bytes(const PickleValue *value) {
    return value->type == PICKLE_BYTES || (value->type == PICKLE_TEXT && value->python2);
}

static Status fill(Machine *m, PickleValue *array, PickleValue *shape, PickleValue *dtype, bool fortran,
                   PickleValue *data) {
    if (data->type == PICKLE_LIST)
        return machine_bad(m, STATUS_UNSUPPORTED, "a NumPy array holds Python objects; save numbers or text");
    if (dtype->type != PICKLE_DTYPE || !is_bytes(data)) return malformed(m, "a NumPy array has no dtype or no bytes");
    PickleView *view = NULL;
    void *storage = NULL;
    TRY(new_view(m, &view));
    TRY(machine_memory(m, 1, sizeof *view->storage, &storage));
    *view = *dtype->view;
    view->storage = storage;
    if (!read_extents(shape, view->shape)) return malformed(m, "a NumPy array's shape is not up to 16 whole numbers");
    view->rank = (int)shape->count;
    size_t size = view_item_size(view);
    view->storage->key = "";
    view->storage->type = view->type;
    view->storage->count = size ? data->length / size : 0;
    view->storage->data = (const unsigned char *)data->text;
    view->storage->at = m->opcode_at;
    view_strides(view, fortran);
    TRY(check_view(m, view));
    if ((uint64_t)view->elements * size != data->length)
        return malformed(m, "a NumPy array's bytes are not what its dtype and shape need");
    array->view = view;
    return STATUS_OK;
}

// BUILD: (1, shape, dtype, is it in Fortran's order, bytes)
Status array_fill(Machine *m, PickleValue *array, PickleValue *state) {
    if (state->type != PICKLE_TUPLE || state->count != 5 || state->items[0]->type != PICKLE_INT)
        return malformed(m, "the state of a NumPy array is no tuple of version, shape, dtype, order and bytes");
    PickleValue **s = state->items;
    bool fortran = (s[3]->type == PICKLE_BOOL && s[3]->boolean) || (s[3]->type == PICKLE_INT && s[3]->integer != 0);
    return fill(m, array, s[1], s[2], fortran, s[4]);
}

Status array_from_buffer(Machine *m, PickleValue *arguments, PickleValue **out) {
    PickleValue **a = arguments->items;
    if (arguments->count != 4 || a[3]->type != PICKLE_TEXT)
        return malformed(m, "a NumPy array is made from other values than bytes, dtype, shape and order");
    TRY(machine_value(m, PICKLE_ARRAY, out));
    return fill(m, *out, a[2], a[1], pickle_is_text(a[3], "F"), a[0]);
}

static Status scalar_text(Machine *m, const PickleView *view, const PickleValue *data, PickleValue **out) {
    void *block = NULL;
    TRY(machine_memory(m, (size_t)view->text_width * 4 + 1, 1, &block));
    TRY(machine_value(m, PICKLE_TEXT, out));
    (*out)->text = block;
    (*out)->length = view_text(view, (const unsigned char *)data->text, block);
    return (*out)->length == SIZE_MAX ? malformed(m, "a NumPy text holds a number that is no character") : STATUS_OK;
}

// scalar(dtype, bytes): becomes a plain number, bool or text.
Status array_scalar(Machine *m, PickleValue *arguments, PickleValue **out) {
    PickleValue **a = arguments->items;
    if (arguments->count != 2 || a[0]->type != PICKLE_DTYPE || !is_bytes(a[1]) ||
        a[1]->length != view_item_size(a[0]->view))
        return malformed(m, "a NumPy number is made from other values than its dtype and bytes");
    ElementType type = a[0]->view->type;
    int64_t bad = 0;
    if (a[0]->view->is_text) return scalar_text(m, a[0]->view, a[1], out);
    if (element_is_real(type)) {
        TRY(machine_value(m, PICKLE_REAL, out));
        element_convert(type, a[1]->text, ELEMENT_F64, &(*out)->real, 1, &bad);
        return STATUS_OK;
    }
    TRY(machine_value(m, PICKLE_INT, out));
    if (!element_convert(type, a[1]->text, ELEMENT_I64, &(*out)->integer, 1, &bad)) {
        **out = (PickleValue){.type = PICKLE_REAL}; // beyond 2^63: rounded
        element_convert(type, a[1]->text, ELEMENT_F64, &(*out)->real, 1, &bad);
    } else if (type == ELEMENT_BOOL) {
        **out = (PickleValue){.type = PICKLE_BOOL, .boolean = (*out)->integer != 0};
    }
    return STATUS_OK;
}

// ---- bytes as text -----------------------------------------------------------------------------------------------

// _codecs.encode(text, 'latin1'): how protocol 2 carries bytes. All texts of a pickle together become at most as many
// bytes as it has itself.
Status text_to_bytes(Machine *m, PickleValue *arguments, PickleValue **out) {
    PickleValue **a = arguments->items;
    if (arguments->count != 2 || a[0]->type != PICKLE_TEXT || a[1]->type != PICKLE_TEXT)
        return malformed(m, "text is turned into bytes with other values than the text and its encoding");
    if (!pickle_is_text(a[1], "latin1") && !pickle_is_text(a[1], "latin-1"))
        return machine_bad(m, STATUS_UNSUPPORTED, "text is turned into bytes by an encoding that is not latin1");
    const unsigned char *p = (const unsigned char *)a[0]->text, *end = p + a[0]->length;
    m->decoded += a[0]->length;
    if (m->decoded > m->size) return malformed(m, "the same text is turned into bytes again and again");
    unsigned char *to = arena_alloc(&m->pickle->arena, a[0]->length + 1, 1);
    if (!to) return arena_exhausted(a[0]->length, 1);
    size_t n = 0;
    for (; p < end; n++) {
        if (*p < 0x80) {
            to[n] = *p++;
        } else if ((*p == 0xC2 || *p == 0xC3) && end - p > 1 && (p[1] & 0xC0) == 0x80) {
            to[n] = (unsigned char)((*p & 3) << 6 | (p[1] & 63));
            p += 2;
        } else {
            return malformed(m, "text to be bytes holds a character beyond 255");
        }
    }
    TRY(machine_value(m, PICKLE_BYTES, out));
    (*out)->text = (const char *)to;
    (*out)->length = n;
    return STATUS_OK;
}
