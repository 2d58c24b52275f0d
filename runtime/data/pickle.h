// pickle: a closed interpreter of Python's pickles, protocols 0 to 5. It runs no code: what a pickle may name is a
// fixed list (pickle_rules.c), everything else is refused by name, with the byte where it stands.
//
// What it builds: None, bools, whole and real numbers, text, bytes, lists, tuples, sets, dicts (OrderedDict and
// defaultdict too), torch tensors, parameters, sizes, devices and dtypes, NumPy arrays and scalars, and a few
// classes that only hold attributes (argparse.Namespace, the graphs of torch_geometric). Values may be shared and
// may contain themselves. Objects of other classes, object arrays, complex numbers, sparse and quantised tensors
// and big-endian data are refused.
//
// Limits: the memory of the values (PICKLE_MEMORY), the bytes of the pickle itself, 64-bit whole numbers (larger ones
// are kept as text). The interpreter does not recurse. Text and bytes refer to the pickle, which must outlive them.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/status.h"
#include "element.h"

typedef enum PickleType {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_LARGE, // a whole number beyond 64 bits; text: as in the file, bytes (two's complement) or digits
    PICKLE_REAL,
    PICKLE_TEXT,  // str: UTF-8. A Python 2 str may be any bytes
    PICKLE_BYTES, // bytes, bytearray
    PICKLE_LIST,
    PICKLE_TUPLE,
    PICKLE_SET,
    PICKLE_DICT,
    PICKLE_OBJECT,  // of a class on the list; its attributes stand in `state`
    PICKLE_TENSOR,  // torch: `view`
    PICKLE_ARRAY,   // NumPy: `view`, or texts (view->is_text)
    PICKLE_STORAGE, // torch: what tensors are views of
    PICKLE_NAMED,   // a class, function or type by name: "torch.float32"
    PICKLE_DTYPE,   // a NumPy dtype
} PickleType;

typedef struct PickleStorage {
    const char *key;           // text of the file; names its bytes
    ElementType type;          // of the elements counted by `count`
    uint64_t count;            // elements
    const unsigned char *data; // NULL until whoever opened the file says where the bytes are
    uint64_t at;               // byte of the pickle that named it, for messages
    size_t number;             // its position in Pickle.storage
} PickleStorage;

// Element (i0, i1, ..) is element offset + sum i_d * stride[d] of the storage.
typedef struct PickleView {
    ElementType type;
    int rank;
    int64_t shape[ELEMENT_MAX_RANK], stride[ELEMENT_MAX_RANK]; // both >= 0
    int64_t elements;
    uint64_t offset;          // elements
    PickleStorage *storage;   // of another element type only if that is U8: bytes
    bool is_text, text_bytes; // NumPy: texts, of dtype S rather than U
    int text_width;           // characters (bytes if text_bytes) of each text
} PickleView;

typedef struct PickleValue PickleValue;
struct PickleValue {
    PickleType type;
    bool boolean, visited; // `visited`: for walks that must end
    bool python2;          // TEXT: from a Python 2 str
    int rule;              // NAMED, OBJECT: which line of the list; DTYPE: its ElementType
    union {
        int64_t integer;
        double real;
        struct {
            const char *text; // TEXT, BYTES, LARGE: [length], no '\0'; NAMED and OBJECT: name, ends in '\0'
            size_t length;
        };
        struct {
            PickleValue **items; // LIST, TUPLE, SET: [count]; DICT: key, value, key, value, .. [2 * count]
            size_t count, room;
        };
        PickleView *view;       // TENSOR, ARRAY (NULL: not filled yet)
        PickleStorage *storage; // STORAGE
    };
    PickleValue *state; // OBJECT: a dict, or NULL
};

enum { PICKLE_MEMORY = 1 << 30 }; // bytes that values may take, unless a caller sets another limit

typedef struct Pickle {
    const char *name; // for messages: "model.pt: entry model/data.pkl"
    Arena arena;
    size_t limit;      // bytes of values; 0: PICKLE_MEMORY
    size_t values;     // bytes of values so far
    bool torch_states; // persistent ids are torch storages; elsewhere they are refused
    PickleValue *root; // of the last pickle read
    PickleStorage **storage;
    size_t storages, storage_room;
    uint32_t *storage_slot; // hash table: position + 1; [storage_room * 2]
} Pickle;

// Reads one pickle from data[0 .. size), which must stay. *out_used: bytes up to and with its STOP. Several pickles
// may be read one after another into the same Pickle (torch's older files): storages of one key are the same.
// On failure the Pickle may only be freed.
MUST_USE Status pickle_read(Pickle *pickle, const unsigned char *data, size_t size, size_t *out_used);
PickleStorage *pickle_storage(const Pickle *pickle, const char *key, size_t length); // NULL: not named
void pickle_free(Pickle *pickle);                                                    // harmless on a zeroed one

// Member of a dict or attribute of an object by text or whole-number key; element of a list or tuple by number. NULL:
// not there.
const PickleValue *pickle_get(const PickleValue *value, const char *key);
bool pickle_is_text(const PickleValue *value, const char *text);
const char *pickle_type_name(const PickleValue *value); // "a list"; never NULL

// Objects that torch_geometric wraps around the attributes of a graph: members that walks pass through unnamed.
bool pickle_is_wrapper(const PickleValue *object, const PickleValue *key);
