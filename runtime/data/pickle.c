// pickle: the opcode machine; see pickle.h. One loop over the opcodes with a stack, marks and a memo, as Python's
// own; every opcode of protocols 0 to 5 has its case below, and what it may create is decided in pickle_rules.c.
#include "pickle_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"
#include "pickle_opcodes.h"
#include "view.h"

enum Opcode {
#define VALUE(name, byte) name = byte,
    PICKLE_OPCODES(VALUE)
#undef VALUE
};

// For messages.
static const char *const opcode_name[256] = {
#define NAME(name, byte) [byte] = #name,
    PICKLE_OPCODES(NAME)
#undef NAME
};

Status machine_bad(const Machine *m, StatusCode code, const char *format, ...) {
    char text[700];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *name = m->opcode_at < m->size ? opcode_name[m->data[m->opcode_at]] : NULL;
    return status_make(code, "%s, byte %zu (%s): %s", m->pickle->name, m->opcode_at, name ? name : "no opcode", text);
}

static Status damaged(const Machine *m, const char *what) {
    return machine_bad(m, STATUS_MALFORMED, "%s; the file is damaged or no pickle", what);
}

Status machine_memory(Machine *m, size_t count, size_t size, void **out) {
    Pickle *p = m->pickle;
    size_t bytes, limit = p->limit ? p->limit : PICKLE_MEMORY;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > limit || p->values > limit - bytes)
        return machine_bad(m, STATUS_NO_MEMORY, "its values take more than %zu MiB of memory, the limit", limit >> 20);
    p->values += bytes < 16 ? 16 : bytes;
    *out = arena_alloc(&p->arena, count, size);
    return *out ? STATUS_OK : arena_exhausted(count, size);
}

Status machine_value(Machine *m, PickleType type, PickleValue **out) {
    void *block = NULL;
    TRY(machine_memory(m, 1, sizeof **out, &block));
    *out = block;
    (*out)->type = type;
    return STATUS_OK;
}

// Room for `more` items behind the `used` ones.
static Status make_room(Machine *m, PickleValue *list, size_t used, size_t more) {
    if (list->room >= used + more) return STATUS_OK;
    size_t room = list->room * 2 > used + more ? list->room * 2 : used + more;
    if (room < 4) room = 4;
    void *block = NULL;
    TRY(machine_memory(m, room, sizeof *list->items, &block));
    if (used) memcpy(block, list->items, used * sizeof *list->items);
    list->items = block;
    list->room = room;
    return STATUS_OK;
}

Status machine_append(Machine *m, PickleValue *list, PickleValue *item) {
    TRY(make_room(m, list, list->count, 1));
    list->items[list->count++] = item;
    return STATUS_OK;
}

Status machine_put(Machine *m, PickleValue *dict, PickleValue *key, PickleValue *value) {
    TRY(make_room(m, dict, 2 * dict->count, 2));
    dict->items[2 * dict->count] = key;
    dict->items[2 * dict->count + 1] = value;
    dict->count++;
    return STATUS_OK;
}

// ---- the stack -------------------------------------------------------------------------------------------------

static Status grow(Machine *m, PickleValue ***array, size_t *room, size_t wanted) {
    if (wanted <= *room) return STATUS_OK;
    size_t larger = *room * 2 > wanted ? *room * 2 : wanted,
           limit = m->pickle->limit ? m->pickle->limit : PICKLE_MEMORY;
    if (larger < 256) larger = 256;
    if (larger > limit / sizeof **array)
        return machine_bad(m, STATUS_NO_MEMORY, "it needs a stack or memo of %zu values, more than the limit", wanted);
    PickleValue **block = realloc(*array, larger * sizeof **array);
    if (!block) return machine_bad(m, STATUS_NO_MEMORY, "no memory for a stack or memo of %zu values", larger);
    memset(block + *room, 0, (larger - *room) * sizeof *block);
    *array = block;
    *room = larger;
    return STATUS_OK;
}

static Status push(Machine *m, PickleValue *value) { // NULL: a mark
    TRY(grow(m, &m->stack, &m->room, m->depth + 1));
    m->stack[m->depth++] = value;
    return STATUS_OK;
}

static Status pop(Machine *m, PickleValue **out) {
    if (!m->depth) return damaged(m, "it takes a value from an empty stack");
    *out = m->stack[--m->depth];
    return *out ? STATUS_OK : damaged(m, "it takes a value where a mark stands");
}

static Status top(Machine *m, PickleValue **out) {
    TRY(pop(m, out));
    m->depth++;
    return STATUS_OK;
}

// The values above the topmost mark, which goes away with them; they stay readable until the next push.
static Status pop_mark(Machine *m, PickleValue ***out_items, size_t *out_count) {
    size_t at = m->depth;
    while (at && m->stack[at - 1]) at--;
    if (!at) return damaged(m, "it takes values up to a mark that was never set");
    *out_items = m->stack + at;
    *out_count = m->depth - at;
    m->depth = at - 1;
    return STATUS_OK;
}

// ---- arguments of opcodes ----------------------------------------------------------------------------------------

static Status take(Machine *m, uint64_t n, const unsigned char **out) {
    if (n > m->size - m->at)
        return machine_bad(m, STATUS_MALFORMED,
                           "%llu more bytes belong to it and %zu are left; the file is cut off or damaged",
                           (unsigned long long)n, m->size - m->at);
    *out = m->data + m->at;
    m->at += (size_t)n;
    return STATUS_OK;
}

static Status take_number(Machine *m, int bytes, uint64_t *out) {
    const unsigned char *p = NULL;
    TRY(take(m, (uint64_t)bytes, &p));
    *out = 0;
    for (int i = bytes - 1; i >= 0; i--) *out = *out << 8 | p[i];
    return STATUS_OK;
}

// A line of a protocol 0 opcode, without its end.
static Status take_line(Machine *m, const char **out, size_t *out_length) {
    const unsigned char *start = m->data + m->at;
    const unsigned char *end = m->at < m->size ? memchr(start, '\n', m->size - m->at) : NULL;
    if (!end) return damaged(m, "its line does not end");
    *out = (const char *)start;
    *out_length = (size_t)(end - start);
    m->at += *out_length + 1;
    if (*out_length && (*out)[*out_length - 1] == '\r') --*out_length;
    return STATUS_OK;
}

// ---- numbers and text ----------------------------------------------------------------------------------------------

static Status push_integer(Machine *m, int64_t number) {
    PickleValue *value = NULL;
    TRY(machine_value(m, PICKLE_INT, &value));
    value->integer = number;
    return push(m, value);
}

static Status push_real(Machine *m, double number) {
    PickleValue *value = NULL;
    TRY(machine_value(m, PICKLE_REAL, &value));
    value->real = number;
    return push(m, value);
}

static Status push_text(Machine *m, PickleType type, const char *text, size_t length, bool python2) {
    PickleValue *value = NULL;
    TRY(machine_value(m, type, &value));
    value->text = text;
    value->length = length;
    value->python2 = python2;
    return push(m, value);
}

// Bytes of the file, counted by a number of `width` bytes.
static Status push_counted(Machine *m, PickleType type, int width, bool python2) {
    uint64_t length = 0;
    const unsigned char *text = NULL;
    TRY(take_number(m, width, &length));
    TRY(take(m, length, &text));
    return push_text(m, type, (const char *)text, (size_t)length, python2);
}

// Two's complement, little-endian.
static Status push_long(Machine *m, int width) {
    uint64_t length = 0;
    const unsigned char *p = NULL;
    TRY(take_number(m, width, &length));
    TRY(take(m, length, &p));
    if (length > 8) return push_text(m, PICKLE_LARGE, (const char *)p, (size_t)length, false);
    uint64_t bits = length && p[length - 1] & 0x80 ? UINT64_MAX : 0;
    for (int i = (int)length - 1; i >= 0; i--) bits = bits << 8 | p[i];
    return push_integer(m, (int64_t)bits);
}

static Status push_decimal(Machine *m, bool is_long) {
    const char *text = NULL;
    size_t length = 0;
    int64_t number = 0;
    TRY(take_line(m, &text, &length));
    if (!is_long && length == 2 && text[0] == '0' && (text[1] == '0' || text[1] == '1'))
        return push(m, text[1] == '1' ? m->yes : m->no);
    if (length && text[length - 1] == 'L') length--;
    if (parse_i64(text, length, &number)) return push_integer(m, number);
    size_t digits = length && text[0] == '-' ? 1 : 0, start = digits;
    while (digits < length && text[digits] >= '0' && text[digits] <= '9') digits++;
    if (digits > start && digits == length) return push_text(m, PICKLE_LARGE, text, length, false);
    return damaged(m, "its line is no whole number");
}

static Status push_float_line(Machine *m) {
    const char *text = NULL;
    size_t length = 0;
    double number = 0;
    TRY(take_line(m, &text, &length));
    if (!parse_f64(text, length, &number)) return damaged(m, "its line is no number");
    return push_real(m, number);
}

static Status push_binary_float(Machine *m) {
    const unsigned char *p = NULL;
    TRY(take(m, 8, &p));
    uint64_t bits = 0; // big-endian, alone among the opcodes
    for (int i = 0; i < 8; i++) bits = bits << 8 | p[i];
    double number;
    memcpy(&number, &bits, 8);
    return push_real(m, number);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// `digits` hex digits; -1: they are not there.
static int64_t hex_number(const char *text, size_t left, int digits) {
    if (left < (size_t)digits) return -1;
    int64_t number = 0;
    for (int i = 0; i < digits; i++) {
        int digit = hex_digit(text[i]);
        if (digit < 0) return -1;
        number = number << 4 | digit;
    }
    return number;
}

// Raw unicode escapes: \uXXXX, \UXXXXXXXX; any other byte is a Latin-1 character.
static Status push_unicode_line(Machine *m) {
    const char *text = NULL;
    size_t length = 0, n = 0;
    void *block = NULL;
    TRY(take_line(m, &text, &length));
    TRY(machine_memory(m, 2 * length + 4, 1, &block));
    char *to = block;
    for (size_t i = 0; i < length;) {
        bool escape = text[i] == '\\' && i + 1 < length && (text[i + 1] == 'u' || text[i + 1] == 'U');
        if (!escape) {
            n += utf8_put((unsigned char)text[i++], to + n);
            continue;
        }
        int digits = text[i + 1] == 'u' ? 4 : 8;
        int64_t code = hex_number(text + i + 2, length - i - 2, digits);
        if (code < 0 || code > 0x10FFFF) return damaged(m, "its line holds a broken \\u escape");
        n += utf8_put((uint32_t)code, to + n);
        i += 2 + (size_t)digits;
    }
    return push_text(m, PICKLE_TEXT, to, n, false);
}

// A Python literal in quotes.
static Status push_string_line(Machine *m) {
    const char *text = NULL;
    size_t length = 0, n = 0;
    void *block = NULL;
    TRY(take_line(m, &text, &length));
    if (length < 2 || (text[0] != '\'' && text[0] != '"') || text[length - 1] != text[0])
        return damaged(m, "its line is no text in quotes");
    TRY(machine_memory(m, length, 1, &block));
    char *to = block;
    for (size_t i = 1; i < length - 1;) {
        char c = text[i++];
        if (c != '\\') {
            to[n++] = c;
            continue;
        }
        if (i == length - 1) return damaged(m, "its text ends in the middle of an escape");
        static const char letters[] = "\\'\"abfnrtv", values[] = "\\'\"\a\b\f\n\r\t\v";
        char e = text[i++];
        const char *at = memchr(letters, e, sizeof letters - 1);
        if (at) {
            to[n++] = values[at - letters];
        } else if (e == 'x') {
            int64_t code = hex_number(text + i, length - 1 - i, 2);
            if (code < 0) return damaged(m, "its text holds a broken \\x escape");
            to[n++] = (char)code;
            i += 2;
        } else if (e >= '0' && e <= '7') {
            int code = e - '0';
            for (int k = 0; k < 2 && text[i] >= '0' && text[i] <= '7'; k++) code = code * 8 + (text[i++] - '0');
            to[n++] = (char)code;
        } else {
            to[n++] = '\\', to[n++] = e;
        }
    }
    return push_text(m, PICKLE_TEXT, to, n, true);
}

// ---- containers ------------------------------------------------------------------------------------------------

static Status push_items(Machine *m, PickleType type, PickleValue *const *items, size_t count) {
    PickleValue *value = NULL;
    TRY(machine_value(m, type, &value));
    TRY(make_room(m, value, 0, count));
    if (count) memcpy(value->items, items, count * sizeof *items);
    value->count = count;
    return push(m, value);
}

// `n` values from the top of the stack.
static Status push_tuple(Machine *m, size_t n) {
    if (m->depth < n) return damaged(m, "it takes values from an empty stack");
    for (size_t i = m->depth - n; i < m->depth; i++)
        if (!m->stack[i]) return damaged(m, "it takes a value where a mark stands");
    m->depth -= n;
    return push_items(m, PICKLE_TUPLE, m->stack + m->depth, n);
}

static Status push_marked(Machine *m, PickleType type) {
    PickleValue **items = NULL;
    size_t count = 0;
    TRY(pop_mark(m, &items, &count));
    if (type != PICKLE_DICT) return push_items(m, type, items, count);
    PickleValue *value = NULL;
    if (count % 2) return damaged(m, "a key has no value");
    TRY(machine_value(m, PICKLE_DICT, &value));
    for (size_t i = 0; i < count; i += 2) TRY(machine_put(m, value, items[i], items[i + 1]));
    return push(m, value);
}

static Status wrong_target(const Machine *m, const PickleValue *target, const char *wanted) {
    return machine_bad(m, STATUS_UNSUPPORTED, "it adds to %s; only %s can be added to", pickle_type_name(target),
                       wanted);
}

static Status add_items(Machine *m, PickleType type, PickleValue *const *items, size_t count) {
    PickleValue *target = NULL;
    TRY(top(m, &target));
    if (target->type != type) return wrong_target(m, target, type == PICKLE_SET ? "sets" : "lists");
    TRY(make_room(m, target, target->count, count));
    for (size_t i = 0; i < count; i++) TRY(machine_append(m, target, items[i]));
    return STATUS_OK;
}

static Status add_pairs(Machine *m, PickleValue *const *items, size_t count) {
    PickleValue *target = NULL;
    if (count % 2) return damaged(m, "a key has no value");
    TRY(top(m, &target));
    if (target->type != PICKLE_DICT) return wrong_target(m, target, "dicts");
    for (size_t i = 0; i < count; i += 2) TRY(machine_put(m, target, items[i], items[i + 1]));
    return STATUS_OK;
}

static Status add_marked(Machine *m, PickleType type) {
    PickleValue **items = NULL;
    size_t count = 0;
    TRY(pop_mark(m, &items, &count));
    return type == PICKLE_DICT ? add_pairs(m, items, count) : add_items(m, type, items, count);
}

// ---- memo ----------------------------------------------------------------------------------------------------------

static Status memo_put(Machine *m, uint64_t index) {
    PickleValue *value = NULL;
    TRY(top(m, &value));
    if (index > m->size) return damaged(m, "its memo number is larger than the pickle has bytes");
    TRY(grow(m, &m->memo, &m->memo_room, (size_t)index + 1));
    if (!m->memo[index]) m->memo_count++;
    m->memo[index] = value;
    return STATUS_OK;
}

static Status memo_get(Machine *m, uint64_t index) {
    if (index >= m->memo_room || !m->memo[index])
        return machine_bad(m, STATUS_MALFORMED, "memo number %llu was never set; the file is damaged or no pickle",
                           (unsigned long long)index);
    return push(m, m->memo[index]);
}

static Status memo_line(Machine *m, uint64_t *out) {
    const char *text = NULL;
    size_t length = 0;
    int64_t number = 0;
    TRY(take_line(m, &text, &length));
    if (!parse_i64(text, length, &number) || number < 0) return damaged(m, "its line is no memo number");
    *out = (uint64_t)number;
    return STATUS_OK;
}

// ---- what may be named
// -----------------------------------------------------------------------------------------------

static Status push_global_lines(Machine *m) {
    const char *module = NULL, *name = NULL;
    size_t module_length = 0, name_length = 0;
    PickleValue *value = NULL;
    TRY(take_line(m, &module, &module_length));
    TRY(take_line(m, &name, &name_length));
    TRY(rules_global(m, module, module_length, name, name_length, &value));
    return push(m, value);
}

static Status push_global_stacked(Machine *m) {
    PickleValue *name = NULL, *module = NULL, *value = NULL;
    TRY(pop(m, &name));
    TRY(pop(m, &module));
    if (name->type != PICKLE_TEXT || module->type != PICKLE_TEXT) return damaged(m, "its name is not text");
    TRY(rules_global(m, module->text, module->length, name->text, name->length, &value));
    return push(m, value);
}

static Status call(Machine *m) {
    PickleValue *arguments = NULL, *callable = NULL, *value = NULL;
    TRY(pop(m, &arguments));
    TRY(pop(m, &callable));
    if (arguments->type != PICKLE_TUPLE) return damaged(m, "its arguments are no tuple");
    TRY(rules_call(m, callable, arguments, &value));
    return push(m, value);
}

static Status new_object(Machine *m, bool keywords) {
    PickleValue *named = NULL, *arguments = NULL, *type = NULL, *value = NULL;
    if (keywords) TRY(pop(m, &named));
    TRY(pop(m, &arguments));
    TRY(pop(m, &type));
    if (arguments->type != PICKLE_TUPLE) return damaged(m, "its arguments are no tuple");
    if (named && (named->type != PICKLE_DICT || named->count))
        return machine_bad(m, STATUS_UNSUPPORTED,
                           "it makes an object with named arguments, which no class on the list has");
    TRY(rules_new(m, type, arguments, &value));
    return push(m, value);
}

// INST and OBJ: arguments above a mark; the class in two lines or as the first of them.
static Status old_instance(Machine *m, bool lines) {
    PickleValue **items = NULL, *type = NULL, *arguments = NULL, *value = NULL;
    size_t count = 0;
    if (lines) {
        TRY(push_global_lines(m));
        TRY(pop(m, &type));
    }
    TRY(pop_mark(m, &items, &count));
    if (!lines) {
        if (!count) return damaged(m, "no class stands above the mark");
        type = *items++, count--;
    }
    TRY(push_items(m, PICKLE_TUPLE, items, count));
    TRY(pop(m, &arguments));
    TRY(rules_new(m, type, arguments, &value));
    return push(m, value);
}

static Status build(Machine *m) {
    PickleValue *state = NULL, *object = NULL;
    TRY(pop(m, &state));
    TRY(top(m, &object));
    return rules_build(m, object, state);
}

static Status persistent(Machine *m) {
    PickleValue *id = NULL, *value = NULL;
    TRY(pop(m, &id));
    TRY(rules_storage(m, id, &value));
    return push(m, value);
}

static Status protocol(Machine *m) {
    uint64_t version = 0;
    TRY(take_number(m, 1, &version));
    if (version <= 5) return STATUS_OK;
    return machine_bad(m, STATUS_UNSUPPORTED, "it is of protocol %d; read are 0 to 5", (int)version);
}

static Status frame(Machine *m) {
    uint64_t length = 0;
    TRY(take_number(m, 8, &length));
    if (length <= m->size - m->at) return STATUS_OK;
    return machine_bad(m, STATUS_MALFORMED,
                       "a frame of %llu bytes begins and %zu are left; the file is cut off or damaged",
                       (unsigned long long)length, m->size - m->at);
}

// ---- the loop
// --------------------------------------------------------------------------------------------------------

static Status push_new(Machine *m, PickleType type) {
    PickleValue *value = NULL;
    TRY(machine_value(m, type, &value));
    return push(m, value);
}

static Status step_signed(Machine *m, int bytes, bool is_signed) {
    uint64_t n = 0;
    TRY(take_number(m, bytes, &n));
    return push_integer(m, is_signed ? (int32_t)(uint32_t)n : (int64_t)n);
}

static Status step_memo(Machine *m, int opcode) {
    uint64_t index = m->memo_count;
    switch (opcode) {
    case GET: TRY(memo_line(m, &index)); return memo_get(m, index);
    case BINGET: TRY(take_number(m, 1, &index)); return memo_get(m, index);
    case LONG_BINGET: TRY(take_number(m, 4, &index)); return memo_get(m, index);
    case PUT: TRY(memo_line(m, &index)); break;
    case BINPUT: TRY(take_number(m, 1, &index)); break;
    case LONG_BINPUT: TRY(take_number(m, 4, &index)); break;
    default: break; // MEMOIZE: the next number
    }
    return memo_put(m, index);
}

static Status step_drop(Machine *m, int opcode) {
    PickleValue **items = NULL, *value = NULL;
    size_t count = 0;
    if (opcode == POP_MARK) return pop_mark(m, &items, &count);
    if (opcode == DUP) {
        TRY(top(m, &value));
        return push(m, value);
    }
    if (!m->depth) return damaged(m, "it drops a value of an empty stack");
    m->depth--; // a mark may be dropped as well
    return STATUS_OK;
}

static Status step_one(Machine *m, int opcode) { // APPEND, SETITEM
    PickleValue *value[2] = {0};
    TRY(pop(m, &value[1]));
    if (opcode == APPEND) return add_items(m, PICKLE_LIST, &value[1], 1);
    TRY(pop(m, &value[0]));
    return add_pairs(m, value, 2);
}

static Status step(Machine *m, int opcode) {
    switch (opcode) {
    case PROTO: return protocol(m);
    case FRAME: return frame(m);
    case MARK: return push(m, NULL);
    case POP:
    case POP_MARK:
    case DUP: return step_drop(m, opcode);
    case NONE: return push(m, m->none);
    case NEWTRUE: return push(m, m->yes);
    case NEWFALSE: return push(m, m->no);
    case INT: return push_decimal(m, false);
    case LONG: return push_decimal(m, true);
    case BININT: return step_signed(m, 4, true);
    case BININT1: return step_signed(m, 1, false);
    case BININT2: return step_signed(m, 2, false);
    case LONG1: return push_long(m, 1);
    case LONG4: return push_long(m, 4);
    case FLOAT: return push_float_line(m);
    case BINFLOAT: return push_binary_float(m);
    case STRING: return push_string_line(m);
    case BINSTRING: return push_counted(m, PICKLE_TEXT, 4, true);
    case SHORT_BINSTRING: return push_counted(m, PICKLE_TEXT, 1, true);
    case UNICODE: return push_unicode_line(m);
    case BINUNICODE: return push_counted(m, PICKLE_TEXT, 4, false);
    case SHORT_BINUNICODE: return push_counted(m, PICKLE_TEXT, 1, false);
    case BINUNICODE8: return push_counted(m, PICKLE_TEXT, 8, false);
    case BINBYTES: return push_counted(m, PICKLE_BYTES, 4, false);
    case SHORT_BINBYTES: return push_counted(m, PICKLE_BYTES, 1, false);
    case BINBYTES8:
    case BYTEARRAY8: return push_counted(m, PICKLE_BYTES, 8, false);
    case EMPTY_LIST: return push_new(m, PICKLE_LIST);
    case EMPTY_TUPLE: return push_new(m, PICKLE_TUPLE);
    case EMPTY_DICT: return push_new(m, PICKLE_DICT);
    case EMPTY_SET: return push_new(m, PICKLE_SET);
    case TUPLE1: return push_tuple(m, 1);
    case TUPLE2: return push_tuple(m, 2);
    case TUPLE3: return push_tuple(m, 3);
    case TUPLE: return push_marked(m, PICKLE_TUPLE);
    case LIST: return push_marked(m, PICKLE_LIST);
    case FROZENSET: return push_marked(m, PICKLE_SET);
    case DICT: return push_marked(m, PICKLE_DICT);
    case APPEND:
    case SETITEM: return step_one(m, opcode);
    case APPENDS: return add_marked(m, PICKLE_LIST);
    case ADDITEMS: return add_marked(m, PICKLE_SET);
    case SETITEMS: return add_marked(m, PICKLE_DICT);
    case GET:
    case BINGET:
    case LONG_BINGET:
    case PUT:
    case BINPUT:
    case LONG_BINPUT:
    case MEMOIZE: return step_memo(m, opcode);
    case GLOBAL: return push_global_lines(m);
    case STACK_GLOBAL: return push_global_stacked(m);
    case REDUCE: return call(m);
    case NEWOBJ: return new_object(m, false);
    case NEWOBJ_EX: return new_object(m, true);
    case INST: return old_instance(m, true);
    case OBJ: return old_instance(m, false);
    case BUILD: return build(m);
    case BINPERSID: return persistent(m);
    case PERSID:
        return machine_bad(m, STATUS_UNSUPPORTED, "it names outside data by a line of text, which torch does not do");
    case EXT1:
    case EXT2:
    case EXT4:
        return machine_bad(m, STATUS_UNSUPPORTED,
                           "it names a class by a number of Python's extension registry, which is refused");
    case NEXT_BUFFER:
    case READONLY_BUFFER:
        return machine_bad(m, STATUS_UNSUPPORTED, "its data stands in buffers outside the file, which are not there");
    default: return damaged(m, "there is no such opcode");
    }
}

static Status run(Machine *m, size_t *out_used) {
    TRY(machine_value(m, PICKLE_NONE, &m->none));
    TRY(machine_value(m, PICKLE_BOOL, &m->yes));
    TRY(machine_value(m, PICKLE_BOOL, &m->no));
    m->yes->boolean = true;
    for (;;) {
        m->opcode_at = m->at;
        if (m->at == m->size)
            return status_make(STATUS_MALFORMED,
                               "%s, byte %zu: the pickle ends without STOP; the file is cut off or no pickle",
                               m->pickle->name, m->at);
        int opcode = m->data[m->at++];
        if (opcode == STOP) break;
        TRY(step(m, opcode));
    }
    *out_used = m->at;
    return pop(m, &m->pickle->root);
}

Status pickle_read(Pickle *pickle, const unsigned char *data, size_t size, size_t *out_used) {
    Machine m = {.pickle = pickle, .data = data, .size = size};
    *out_used = 0;
    Status status = run(&m, out_used);
    free(m.stack);
    free(m.memo);
    return status;
}

void pickle_free(Pickle *pickle) {
    free(pickle->storage);
    free(pickle->storage_slot);
    arena_free(&pickle->arena);
    *pickle = (Pickle){0};
}

// ---- looking at values ---------------------------------------------------------------------------------------------

bool pickle_is_text(const PickleValue *value, const char *text) {
    return value->type == PICKLE_TEXT && value->length == strlen(text) && memcmp(value->text, text, value->length) == 0;
}

const PickleValue *pickle_get(const PickleValue *value, const char *key) {
    if (value && value->type == PICKLE_OBJECT) value = value->state;
    if (!value) return NULL;
    int64_t number = 0;
    bool is_number = parse_i64(key, strlen(key), &number);
    if (value->type == PICKLE_LIST || value->type == PICKLE_TUPLE)
        return is_number && number >= 0 && (uint64_t)number < value->count ? value->items[number] : NULL;
    if (value->type != PICKLE_DICT) return NULL;
    for (size_t i = value->count; i-- > 0;) { // the last of equal keys counts
        const PickleValue *k = value->items[2 * i];
        if (pickle_is_text(k, key) || (k->type == PICKLE_INT && is_number && k->integer == number))
            return value->items[2 * i + 1];
    }
    return NULL;
}

const char *pickle_type_name(const PickleValue *value) {
    static const char *const names[] = {
        "None",          "a bool",        "a whole number", "a large whole number",
        "a number",      "a text",        "bytes",          "a list",
        "a tuple",       "a set",         "a dict",         "an object",
        "a tensor",      "a NumPy array", "a storage",      "the name of a class or function",
        "a NumPy dtype",
    };
    return names[value->type];
}
