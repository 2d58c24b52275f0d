// pickle_rules: everything that a pickle may name, and what calling it, making it or giving it a state means here.
// Nothing is looked up in a language: a name that is not in this list ends the reading.
#include "pickle_inside.h"

#include <string.h>

#include "../core/strings.h"

typedef enum RuleKind {
    AS_CLASS,   // only ever mentioned
    AS_DICT,    // OrderedDict() or OrderedDict(pairs)
    AS_DEFAULT, // defaultdict(factory)
    AS_LIST,
    AS_TUPLE,
    AS_SET,
    AS_BYTES,
    AS_SIZE, // torch.Size(tuple)
    AS_DEVICE,
    AS_OBJECT,  // a class whose objects only hold attributes
    AS_WRAPPER, // the same, whose members named `_store` and `_mapping` add nothing to a path
    AS_TENSOR1, // _rebuild_tensor(storage, offset, size, stride)
    AS_TENSOR2,
    AS_TENSOR3,   // .. with its dtype apart
    AS_PARAMETER, // (tensor, ..)
    AS_SUBCLASS,  // _rebuild_from_type_v2(function, class, arguments, state)
    AS_STORAGE,
    AS_TORCH_TYPE,
    AS_ARRAY, // _reconstruct(ndarray, ..)
    AS_ARRAY_CLASS,
    AS_DTYPE,
    AS_SCALAR,
    AS_BUFFER, // _frombuffer(bytes, dtype, shape, order)
    AS_ENCODE,
    AS_NEW,    // copyreg.__newobj__(class, ..)
    AS_REMAKE, // copyreg._reconstructor(class, object, None)
} RuleKind;

enum { UNTYPED = ELEMENT_TYPES }; // a storage of bytes

static const struct Rule {
    const char *name;
    RuleKind kind;
    int type; // ElementType
} rules[] = {
    {"collections.OrderedDict", AS_DICT, 0},
    {"collections.defaultdict", AS_DEFAULT, 0},
    {"builtins.dict", AS_DICT, 0},
    {"builtins.list", AS_LIST, 0},
    {"builtins.tuple", AS_TUPLE, 0},
    {"builtins.set", AS_SET, 0},
    {"builtins.frozenset", AS_SET, 0},
    {"builtins.bytes", AS_BYTES, 0},
    {"builtins.bytearray", AS_BYTES, 0},
    {"builtins.int", AS_CLASS, 0},
    {"builtins.long", AS_CLASS, 0},
    {"builtins.float", AS_CLASS, 0},
    {"builtins.bool", AS_CLASS, 0},
    {"builtins.str", AS_CLASS, 0},
    {"builtins.object", AS_CLASS, 0},
    {"_codecs.encode", AS_ENCODE, 0},
    {"copyreg.__newobj__", AS_NEW, 0},
    {"copyreg._reconstructor", AS_REMAKE, 0},
    {"copy_reg._reconstructor", AS_REMAKE, 0},
    {"argparse.Namespace", AS_OBJECT, 0},
    {"types.SimpleNamespace", AS_OBJECT, 0},
    {"torch_geometric.data.data.Data", AS_WRAPPER, 0},
    {"torch_geometric.data.storage.GlobalStorage", AS_WRAPPER, 0},
    {"torch_geometric.data.storage.BaseStorage", AS_WRAPPER, 0},
    {"torch_geometric.data.storage.NodeStorage", AS_WRAPPER, 0},
    {"torch_geometric.data.storage.EdgeStorage", AS_WRAPPER, 0},
    {"torch_geometric.data.data.DataTensorAttr", AS_CLASS, 0},
    {"torch_geometric.data.data.DataEdgeAttr", AS_CLASS, 0},
    {"torch.Size", AS_SIZE, 0},
    {"torch.device", AS_DEVICE, 0},
    {"torch.Tensor", AS_CLASS, 0},
    {"torch.nn.parameter.Parameter", AS_CLASS, 0},
    {"torch.nn.parameter.Buffer", AS_CLASS, 0},
    {"torch._utils._rebuild_tensor", AS_TENSOR1, 0},
    {"torch._utils._rebuild_tensor_v2", AS_TENSOR2, 0},
    {"torch._utils._rebuild_tensor_v3", AS_TENSOR3, 0},
    {"torch._utils._rebuild_parameter", AS_PARAMETER, 0},
    {"torch._utils._rebuild_parameter_with_state", AS_PARAMETER, 0},
    {"torch._tensor._rebuild_from_type_v2", AS_SUBCLASS, 0},
    {"torch.FloatStorage", AS_STORAGE, ELEMENT_F32},
    {"torch.DoubleStorage", AS_STORAGE, ELEMENT_F64},
    {"torch.HalfStorage", AS_STORAGE, ELEMENT_F16},
    {"torch.BFloat16Storage", AS_STORAGE, ELEMENT_BF16},
    {"torch.LongStorage", AS_STORAGE, ELEMENT_I64},
    {"torch.IntStorage", AS_STORAGE, ELEMENT_I32},
    {"torch.ShortStorage", AS_STORAGE, ELEMENT_I16},
    {"torch.CharStorage", AS_STORAGE, ELEMENT_I8},
    {"torch.ByteStorage", AS_STORAGE, ELEMENT_U8},
    {"torch.BoolStorage", AS_STORAGE, ELEMENT_BOOL},
    {"torch.cuda.FloatStorage", AS_STORAGE, ELEMENT_F32},
    {"torch.cuda.DoubleStorage", AS_STORAGE, ELEMENT_F64},
    {"torch.cuda.HalfStorage", AS_STORAGE, ELEMENT_F16},
    {"torch.cuda.BFloat16Storage", AS_STORAGE, ELEMENT_BF16},
    {"torch.cuda.LongStorage", AS_STORAGE, ELEMENT_I64},
    {"torch.cuda.IntStorage", AS_STORAGE, ELEMENT_I32},
    {"torch.cuda.ShortStorage", AS_STORAGE, ELEMENT_I16},
    {"torch.cuda.CharStorage", AS_STORAGE, ELEMENT_I8},
    {"torch.cuda.ByteStorage", AS_STORAGE, ELEMENT_U8},
    {"torch.cuda.BoolStorage", AS_STORAGE, ELEMENT_BOOL},
    {"torch.storage.UntypedStorage", AS_STORAGE, UNTYPED},
    {"torch.storage._UntypedStorage", AS_STORAGE, UNTYPED},
    {"torch.float32", AS_TORCH_TYPE, ELEMENT_F32},
    {"torch.float64", AS_TORCH_TYPE, ELEMENT_F64},
    {"torch.float16", AS_TORCH_TYPE, ELEMENT_F16},
    {"torch.bfloat16", AS_TORCH_TYPE, ELEMENT_BF16},
    {"torch.int64", AS_TORCH_TYPE, ELEMENT_I64},
    {"torch.int32", AS_TORCH_TYPE, ELEMENT_I32},
    {"torch.int16", AS_TORCH_TYPE, ELEMENT_I16},
    {"torch.int8", AS_TORCH_TYPE, ELEMENT_I8},
    {"torch.uint8", AS_TORCH_TYPE, ELEMENT_U8},
    {"torch.uint16", AS_TORCH_TYPE, ELEMENT_U16},
    {"torch.uint32", AS_TORCH_TYPE, ELEMENT_U32},
    {"torch.uint64", AS_TORCH_TYPE, ELEMENT_U64},
    {"torch.bool", AS_TORCH_TYPE, ELEMENT_BOOL},
    {"numpy.ndarray", AS_ARRAY_CLASS, 0},
    {"numpy.dtype", AS_DTYPE, 0},
    {"numpy.core.multiarray._reconstruct", AS_ARRAY, 0},
    {"numpy._core.multiarray._reconstruct", AS_ARRAY, 0},
    {"numpy.core.multiarray.scalar", AS_SCALAR, 0},
    {"numpy._core.multiarray.scalar", AS_SCALAR, 0},
    {"numpy.core.numeric._frombuffer", AS_BUFFER, 0},
    {"numpy._core.numeric._frombuffer", AS_BUFFER, 0},
};
enum { RULES = sizeof rules / sizeof *rules };

static RuleKind kind_of(const PickleValue *named) {
    return rules[named->rule].kind;
}

bool rules_element(const PickleValue *named, ElementType *out_type, bool *out_bytes) {
    if (named->type != PICKLE_NAMED || (kind_of(named) != AS_TORCH_TYPE && kind_of(named) != AS_STORAGE)) return false;
    *out_bytes = rules[named->rule].type == UNTYPED;
    *out_type = *out_bytes ? ELEMENT_U8 : (ElementType)rules[named->rule].type;
    return true;
}

// Does `rule` say module.name? Python 2's __builtin__ counts as builtins.
static bool is_name(const char *rule, const char *module, size_t module_length, const char *name, size_t name_length) {
    if (module_length == 11 && memcmp(module, "__builtin__", 11) == 0) module = "builtins", module_length = 8;
    return strlen(rule) == module_length + 1 + name_length && memcmp(rule, module, module_length) == 0 &&
           rule[module_length] == '.' && memcmp(rule + module_length + 1, name, name_length) == 0;
}

Status rules_global(Machine *m, const char *module, size_t module_length, const char *name, size_t name_length,
                    PickleValue **out) {
    for (int i = 0; i < RULES; i++) {
        if (!is_name(rules[i].name, module, module_length, name, name_length)) continue;
        TRY(machine_value(m, PICKLE_NAMED, out));
        (*out)->rule = i;
        (*out)->text = rules[i].name;
        (*out)->length = strlen(rules[i].name);
        return STATUS_OK;
    }
    char first[QUOTED_TEXT], second[QUOTED_TEXT];
    return machine_bad(m, STATUS_UNSUPPORTED,
                       "it names %s of module %s, which is not on the list of what files of weights may hold; nothing "
                       "was run. Save tensors, numbers, text, lists and dicts only, e.g. a model's state_dict()",
                       quoted(name, name_length, second), quoted(module, module_length, first));
}

static Status refuse(const Machine *m, const char *what, const PickleValue *value) {
    bool named = value->type == PICKLE_NAMED || value->type == PICKLE_OBJECT;
    return machine_bad(m, STATUS_UNSUPPORTED, "it %s %s, which is refused; nothing was run", what,
                       named ? value->text : pickle_type_name(value));
}

static Status wrong_arguments(const Machine *m, const PickleValue *callable) {
    return machine_bad(m, STATUS_MALFORMED, "%s is called with arguments that it does not have; the file is damaged",
                       callable->text);
}

static bool is_sequence(const PickleValue *value) {
    return value->type == PICKLE_LIST || value->type == PICKLE_TUPLE || value->type == PICKLE_SET;
}

// list(x), tuple(x), set(x): the items are shared, adding to the new value copies them.
static Status make_sequence(Machine *m, PickleType type, PickleValue *callable, PickleValue *arguments,
                            PickleValue **out) {
    if (arguments->count > 1 || (arguments->count && !is_sequence(arguments->items[0])))
        return wrong_arguments(m, callable);
    TRY(machine_value(m, type, out));
    if (!arguments->count) return STATUS_OK;
    (*out)->items = arguments->items[0]->items;
    (*out)->count = (*out)->room = arguments->items[0]->count;
    return STATUS_OK;
}

static Status make_dict(Machine *m, PickleValue *callable, PickleValue *arguments, PickleValue **out) {
    TRY(machine_value(m, PICKLE_DICT, out));
    if (!arguments->count) return STATUS_OK;
    PickleValue *from = arguments->items[0];
    if (arguments->count > 1) return wrong_arguments(m, callable);
    if (from->type == PICKLE_DICT) {
        (*out)->items = from->items;
        (*out)->count = from->count;
        (*out)->room = 2 * from->count;
        return STATUS_OK;
    }
    if (!is_sequence(from)) return wrong_arguments(m, callable);
    for (size_t i = 0; i < from->count; i++) {
        PickleValue *pair = from->items[i];
        if ((pair->type != PICKLE_LIST && pair->type != PICKLE_TUPLE) || pair->count != 2)
            return wrong_arguments(m, callable);
        TRY(machine_put(m, *out, pair->items[0], pair->items[1]));
    }
    return STATUS_OK;
}

static Status make_bytes(Machine *m, PickleValue *callable, PickleValue *arguments, PickleValue **out) {
    if (arguments->count == 2) return text_to_bytes(m, arguments, out); // bytearray('..', 'latin-1')
    TRY(machine_value(m, PICKLE_BYTES, out));
    if (!arguments->count) return STATUS_OK;
    PickleValue *from = arguments->items[0];
    if (arguments->count > 1 || (from->type != PICKLE_BYTES && !(from->type == PICKLE_TEXT && from->python2)))
        return wrong_arguments(m, callable);
    (*out)->text = from->text;
    (*out)->length = from->length;
    return STATUS_OK;
}

static Status make_object(Machine *m, PickleValue *class, PickleValue **out) {
    TRY(machine_value(m, PICKLE_OBJECT, out));
    (*out)->rule = class->rule;
    (*out)->text = class->text;
    (*out)->length = class->length;
    return STATUS_OK;
}

Status rules_new(Machine *m, PickleValue *type, PickleValue *arguments, PickleValue **out) {
    if (type->type != PICKLE_NAMED) return refuse(m, "makes an object of", type);
    if (arguments->count == 0) {
        if (kind_of(type) == AS_OBJECT || kind_of(type) == AS_WRAPPER) return make_object(m, type, out);
        if (kind_of(type) == AS_DICT) return make_dict(m, type, arguments, out);
    }
    if (kind_of(type) == AS_SIZE && arguments->count == 1 && is_sequence(arguments->items[0]))
        return make_sequence(m, PICKLE_TUPLE, type, arguments, out);
    return refuse(m, "makes an object of", type);
}

// The rest of a call's arguments, as a tuple that shares them.
static Status rest_of(Machine *m, PickleValue *arguments, size_t from, PickleValue **out) {
    TRY(machine_value(m, PICKLE_TUPLE, out));
    (*out)->items = arguments->items + from;
    (*out)->count = (*out)->room = arguments->count - from;
    return STATUS_OK;
}

static Status make_parameter(Machine *m, PickleValue *callable, PickleValue *arguments, PickleValue **out) {
    if (!arguments->count || arguments->items[0]->type != PICKLE_TENSOR) return wrong_arguments(m, callable);
    *out = arguments->items[0];
    return STATUS_OK;
}

// A tensor of a named class that has attributes of its own: the tensor is kept.
static Status make_subclass(Machine *m, PickleValue *callable, PickleValue *arguments, PickleValue **out) {
    if (arguments->count != 4 || arguments->items[0]->type != PICKLE_NAMED || arguments->items[2]->type != PICKLE_TUPLE)
        return wrong_arguments(m, callable);
    PickleValue *function = arguments->items[0], *inner = arguments->items[2];
    switch (kind_of(function)) {
    case AS_TENSOR2: return tensor_of(m, inner, 2, out);
    case AS_TENSOR3: return tensor_of(m, inner, 3, out);
    case AS_PARAMETER: return make_parameter(m, function, inner, out);
    default: return refuse(m, "calls", function);
    }
}

static Status make_device(Machine *m, PickleValue *callable, PickleValue *arguments, PickleValue **out) {
    if (!arguments->count || arguments->count > 2 || arguments->items[0]->type != PICKLE_TEXT)
        return wrong_arguments(m, callable);
    *out = arguments->items[0];
    return STATUS_OK;
}

static Status make_array(Machine *m, PickleValue *callable, PickleValue *arguments, PickleValue **out) {
    if (arguments->count != 3 || arguments->items[0]->type != PICKLE_NAMED ||
        kind_of(arguments->items[0]) != AS_ARRAY_CLASS)
        return wrong_arguments(m, callable);
    return machine_value(m, PICKLE_ARRAY, out);
}

Status rules_call(Machine *m, PickleValue *callable, PickleValue *arguments, PickleValue **out) {
    if (callable->type != PICKLE_NAMED) return refuse(m, "calls", callable);
    PickleValue *rest = NULL;
    switch (kind_of(callable)) {
    case AS_DICT: return make_dict(m, callable, arguments, out);
    case AS_DEFAULT: return machine_value(m, PICKLE_DICT, out); // the factory has no meaning for reading
    case AS_LIST: return make_sequence(m, PICKLE_LIST, callable, arguments, out);
    case AS_SIZE:
    case AS_TUPLE: return make_sequence(m, PICKLE_TUPLE, callable, arguments, out);
    case AS_SET: return make_sequence(m, PICKLE_SET, callable, arguments, out);
    case AS_BYTES: return make_bytes(m, callable, arguments, out);
    case AS_DEVICE: return make_device(m, callable, arguments, out);
    case AS_OBJECT:
    case AS_WRAPPER: return rules_new(m, callable, arguments, out);
    case AS_TENSOR1: return tensor_of(m, arguments, 1, out);
    case AS_TENSOR2: return tensor_of(m, arguments, 2, out);
    case AS_TENSOR3: return tensor_of(m, arguments, 3, out);
    case AS_PARAMETER: return make_parameter(m, callable, arguments, out);
    case AS_SUBCLASS: return make_subclass(m, callable, arguments, out);
    case AS_ARRAY: return make_array(m, callable, arguments, out);
    case AS_DTYPE: return array_dtype(m, arguments, out);
    case AS_SCALAR: return array_scalar(m, arguments, out);
    case AS_BUFFER: return array_from_buffer(m, arguments, out);
    case AS_ENCODE: return text_to_bytes(m, arguments, out);
    case AS_NEW:
        if (!arguments->count) return wrong_arguments(m, callable);
        TRY(rest_of(m, arguments, 1, &rest));
        return rules_new(m, arguments->items[0], rest, out);
    case AS_REMAKE:
        if (arguments->count != 3 || arguments->items[2]->type != PICKLE_NONE) return wrong_arguments(m, callable);
        TRY(rest_of(m, arguments, 3, &rest));
        return rules_new(m, arguments->items[0], rest, out);
    default: return refuse(m, "calls", callable);
    }
}

Status rules_build(Machine *m, PickleValue *object, PickleValue *state) {
    if (object->type == PICKLE_ARRAY) return array_fill(m, object, state);
    if (object->type == PICKLE_DTYPE) return array_set_order(m, object, state);
    if (object->type != PICKLE_OBJECT && object->type != PICKLE_DICT) return refuse(m, "sets the state of", object);
    PickleValue *attributes = state;
    if (state->type == PICKLE_TUPLE && state->count == 2) { // attributes and slots
        attributes = state->items[0];
        if (attributes->type == PICKLE_NONE) attributes = state->items[1];
        else if (state->items[1]->type != PICKLE_NONE) return refuse(m, "sets slots beside attributes of", object);
    }
    if (attributes->type != PICKLE_DICT)
        return machine_bad(m, STATUS_UNSUPPORTED,
                           "it sets the state of %s to %s; only a dict of attributes is meant here",
                           object->type == PICKLE_OBJECT ? object->text : "a dict", pickle_type_name(attributes));
    object->state = attributes; // of a dict: the version notes of a state_dict, which nothing reads
    return STATUS_OK;
}

bool pickle_is_wrapper(const PickleValue *object, const PickleValue *key) {
    return object->type == PICKLE_OBJECT && rules[object->rule].kind == AS_WRAPPER &&
           (pickle_is_text(key, "_store") || pickle_is_text(key, "_mapping"));
}

// ---- storages --------------------------------------------------------------------------------------------------

// ('storage', class, key, location, count) and, in older files, a view that is None.
Status rules_storage(Machine *m, PickleValue *id, PickleValue **out) {
    if (!m->pickle->torch_states)
        return machine_bad(m, STATUS_UNSUPPORTED, "it names data outside the pickle, which only torch archives have");
    if (id->type != PICKLE_TUPLE || (id->count != 5 && id->count != 6) || !pickle_is_text(id->items[0], "storage"))
        return machine_bad(m, STATUS_MALFORMED,
                           "it names outside data by %s that is no torch storage; the file is damaged",
                           pickle_type_name(id));
    PickleValue *class = id->items[1], *key = id->items[2], *count = id->items[4];
    ElementType type = ELEMENT_U8;
    bool bytes = false;
    if (!rules_element(class, &type, &bytes)) return refuse(m, "makes a storage of", class);
    if (key->type != PICKLE_TEXT || !key->length || key->length > 200 || memchr(key->text, 0, key->length) ||
        count->type != PICKLE_INT || count->integer < 0 || count->integer > (int64_t)1 << 48)
        return machine_bad(m, STATUS_MALFORMED, "its storage has no name or an impossible size; the file is damaged");
    if (id->count == 6 && id->items[5]->type != PICKLE_NONE)
        return machine_bad(m, STATUS_UNSUPPORTED,
                           "its storage is a view of another, as PyTorch before 0.4 wrote them; load "
                           "the file in PyTorch and save it again");
    void *name = NULL;
    TRY(machine_memory(m, key->length + 1, 1, &name));
    memcpy(name, key->text, key->length);
    PickleStorage *storage = NULL;
    TRY(storage_add(m, name, type, (uint64_t)count->integer, &storage));
    TRY(machine_value(m, PICKLE_STORAGE, out));
    (*out)->storage = storage;
    (*out)->boolean = bytes;
    return STATUS_OK;
}
