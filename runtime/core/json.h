// json: a writer that cannot produce ill-formed text when used in order, and a strict reader (RFC 8259) into
// a tree.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "strings.h"

// ---- Writing ------------------------------------------------------------------------------------
// Commas, colons and (if `indent` > 0) line breaks are put in by the writer. Text memory errors surface in
// text_status(&writer.text). Example:
//     JsonWriter w = json_writer(2);
//     json_begin_object(&w);
//     json_key(&w, "epoch"); json_integer(&w, 3);
//     json_end_object(&w);
//     … use text_string(&w.text) …
//     json_writer_free(&w);
enum { JSON_DEPTH = 64 };

typedef struct JsonWriter {
    Text text;
    int indent; // blanks per level; 0 writes one line
    int depth;  // open objects and arrays
    bool empty; // nothing yet in the innermost open one
    bool after_key;
} JsonWriter;

JsonWriter json_writer(int indent);
void json_writer_free(JsonWriter *writer);
void json_begin_object(JsonWriter *writer);
void json_end_object(JsonWriter *writer);
void json_begin_array(JsonWriter *writer);
void json_end_array(JsonWriter *writer);
void json_key(JsonWriter *writer, const char *key);
void json_string(JsonWriter *writer, const char *value); // bytes that are not UTF-8 become U+FFFD
void json_integer(JsonWriter *writer, int64_t value);
void json_number(JsonWriter *writer,
                 double value);                   // shortest round trip; nan and inf become null: JSON has neither
void json_float(JsonWriter *writer, float value); // the same for binary32
void json_bool(JsonWriter *writer, bool value);
void json_null(JsonWriter *writer);

// ---- Reading ------------------------------------------------------------------------------------
typedef enum JsonType { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } JsonType;

typedef struct JsonValue JsonValue;
struct JsonValue {
    JsonType type;
    bool boolean;
    bool is_integer; // the number was written without fraction and exponent and fits `integer`
    int64_t integer;
    double number;
    const char *string; // UTF-8, ends in '\0'; U+0000 is refused while reading
    size_t length;      // bytes of string, elements of array, members of object
    JsonValue *items;   // [length] array elements or member values
    const char **keys;  // [length] member names, in file order; duplicates are refused while reading
};

// Parses text[0 .. size). `name` is used in messages ("NAME:LINE:COLUMN: …"). All memory comes from `arena`;
// the tree does not refer to `text`. Depth beyond JSON_DEPTH is refused.
MUST_USE Status json_parse(const char *name, const char *text, size_t size, Arena *arena, JsonValue **out_value);

const JsonValue *json_get(const JsonValue *object, const char *key); // NULL: no object or no such member
const char *json_type_name(JsonType type);
