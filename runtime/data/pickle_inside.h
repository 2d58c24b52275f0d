// pickle_inside: what the opcode machine (pickle.c) and the list of what a pickle may name (pickle_rules.c) share.
#pragma once

#include "pickle.h"

typedef struct Machine {
    Pickle *pickle;
    const unsigned char *data;
    size_t size, at;     // `at`: next byte
    size_t opcode_at;    // first byte of the current opcode
    PickleValue **stack; // NULL entries are marks
    size_t depth, room;
    PickleValue **memo;
    size_t memo_room, memo_count; // count: distinct numbers set
    size_t decoded;               // bytes that _codecs.encode produced so far
    PickleValue *none, *yes, *no;
} Machine;

// An error at the current opcode: "NAME, byte 12 (REDUCE): ..."
MUST_USE Status machine_bad(const Machine *m, StatusCode code, const char *format, ...) PRINTF_LIKE(3, 4);
// count * size bytes from the arena within the limit.
MUST_USE Status machine_memory(Machine *m, size_t count, size_t size, void **out);
MUST_USE Status machine_value(Machine *m, PickleType type, PickleValue **out);
MUST_USE Status machine_append(Machine *m, PickleValue *list, PickleValue *item);
MUST_USE Status machine_put(Machine *m, PickleValue *dict, PickleValue *key, PickleValue *value);

// pickle_rules.c: `module` and `name` need not end in '\0'.
MUST_USE Status rules_global(Machine *m, const char *module, size_t module_length, const char *name, size_t name_length,
                             PickleValue **out);
MUST_USE Status rules_call(Machine *m, PickleValue *callable, PickleValue *arguments, PickleValue **out);
// An object without calling: cls.__new__(cls, *arguments)
MUST_USE Status rules_new(Machine *m, PickleValue *type, PickleValue *arguments, PickleValue **out);
MUST_USE Status rules_build(Machine *m, PickleValue *object, PickleValue *state);
MUST_USE Status rules_storage(Machine *m, PickleValue *id, PickleValue **out); // a persistent id

// pickle_tensors.c
MUST_USE Status tensor_of(Machine *m, PickleValue *arguments, int version, PickleValue **out);
MUST_USE Status array_dtype(Machine *m, PickleValue *arguments, PickleValue **out);
MUST_USE Status array_set_order(Machine *m, PickleValue *dtype, PickleValue *state);
MUST_USE Status array_fill(Machine *m, PickleValue *array, PickleValue *state);
MUST_USE Status array_from_buffer(Machine *m, PickleValue *arguments, PickleValue **out);
MUST_USE Status array_scalar(Machine *m, PickleValue *arguments, PickleValue **out);
MUST_USE Status text_to_bytes(Machine *m, PickleValue *arguments, PickleValue **out); // _codecs.encode(text, 'latin1')
MUST_USE Status storage_add(Machine *m, const char *key, ElementType type, uint64_t count, PickleStorage **out);
// Names of rules that carry a type.
bool rules_element(const PickleValue *named, ElementType *out_type, bool *out_bytes); // torch dtype or storage class
