// json: see json.h. The reader is recursive descent over a byte cursor; positions are counted only when an
// error is reported.
#include "json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- Writing ------------------------------------------------------------------------------------

JsonWriter json_writer(int indent) {
    return (JsonWriter){.indent = indent, .empty = true};
}

void json_writer_free(JsonWriter *writer) {
    text_free(&writer->text);
}

static void new_line(JsonWriter *writer) {
    if (writer->indent <= 0) return;
    text_add(&writer->text, "\n");
    for (int i = 0; i < writer->indent * writer->depth; i++) text_add(&writer->text, " ");
}

// What must stand before the next value or key.
static void before_item(JsonWriter *writer) {
    if (writer->after_key) {
        writer->after_key = false;
        return;
    }
    if (!writer->empty) text_add(&writer->text, writer->indent > 0 ? "," : ", ");
    if (writer->depth > 0) new_line(writer);
    writer->empty = false;
}

static void begin(JsonWriter *writer, const char *opener) {
    before_item(writer);
    text_add(&writer->text, opener);
    writer->depth++;
    writer->empty = true;
}

static void end(JsonWriter *writer, const char *closer) {
    writer->depth--;
    if (!writer->empty) new_line(writer);
    text_add(&writer->text, closer);
    writer->empty = false;
}

void json_begin_object(JsonWriter *writer) {
    begin(writer, "{");
}
void json_end_object(JsonWriter *writer) {
    end(writer, "}");
}
void json_begin_array(JsonWriter *writer) {
    begin(writer, "[");
}
void json_end_array(JsonWriter *writer) {
    end(writer, "]");
}

static void write_string(Text *text, const char *value) {
    text_add(text, "\"");
    bool utf8 = valid_utf8(value, strlen(value));
    for (const char *p = value; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"') text_add(text, "\\\"");
        else if (c == '\\') text_add(text, "\\\\");
        else if (c == '\n') text_add(text, "\\n");
        else if (c == '\t') text_add(text, "\\t");
        else if (c == '\r') text_add(text, "\\r");
        else if (c < 32) text_printf(text, "\\u%04x", c);
        else if (c >= 128 && !utf8) text_add(text, "\\ufffd");
        else text_append(text, p, 1);
    }
    text_add(text, "\"");
}

void json_key(JsonWriter *writer, const char *key) {
    before_item(writer);
    write_string(&writer->text, key);
    text_add(&writer->text, ": ");
    writer->after_key = true;
}

void json_string(JsonWriter *writer, const char *value) {
    before_item(writer);
    write_string(&writer->text, value);
}

void json_integer(JsonWriter *writer, int64_t value) {
    before_item(writer);
    text_printf(&writer->text, "%lld", (long long)value);
}

void json_number(JsonWriter *writer, double value) {
    if (!isfinite(value)) {
        json_null(writer);
        return;
    }
    char buffer[NUMBER_TEXT];
    before_item(writer);
    text_append(&writer->text, buffer, number_f64(value, buffer));
}

void json_float(JsonWriter *writer, float value) {
    if (!isfinite(value)) {
        json_null(writer);
        return;
    }
    char buffer[NUMBER_TEXT];
    before_item(writer);
    text_append(&writer->text, buffer, number_f32(value, buffer));
}

void json_bool(JsonWriter *writer, bool value) {
    before_item(writer);
    text_add(&writer->text, value ? "true" : "false");
}

void json_null(JsonWriter *writer) {
    before_item(writer);
    text_add(&writer->text, "null");
}

// ---- Reading ------------------------------------------------------------------------------------

typedef struct Parser {
    const char *name;
    const char *start, *at, *end;
    Arena *arena;
    int depth;
} Parser;

static Status error_at(const Parser *parser, const char *where, const char *message) {
    size_t line = 1, column = 1;
    for (const char *p = parser->start; p < where; p++) {
        column++;
        if (*p == '\n') line++, column = 1;
    }
    return status_make(STATUS_MALFORMED, "%s:%zu:%zu: %s", parser->name, line, column, message);
}

static void skip_blanks(Parser *parser) {
    while (parser->at < parser->end && strchr(" \t\r\n", *parser->at) && *parser->at) parser->at++;
}

static bool hex4(const char *p, const char *end, unsigned *out_value) {
    if (end - p < 4) return false;
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        unsigned digit = 0;
        if (c >= '0' && c <= '9') digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f') digit = (unsigned)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F') digit = (unsigned)(c - 'A') + 10;
        else return false;
        value = value * 16 + digit;
    }
    *out_value = value;
    return true;
}

static char *put_utf8(char *to, unsigned c) {
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xC0 | c >> 6);
        *to++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *to++ = (char)(0xE0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    } else {
        *to++ = (char)(0xF0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 63));
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    }
    return to;
}

// The cursor stands on the opening quote.
static Status parse_string(Parser *parser, const char **out_string, size_t *out_length) {
    const char *open = parser->at++, *close = parser->at;
    while (close < parser->end && *close != '"') close += *close == '\\' && close + 1 < parser->end ? 2 : 1;
    if (close >= parser->end) return error_at(parser, open, "this string has no closing quote");
    char *copy = NULL;
    TRY(ARENA_NEW(parser->arena, copy, (size_t)(close - open) + 1)); // escapes only ever shrink
    char *to = copy;
    for (const char *p = parser->at; p < close;) {
        unsigned char c = (unsigned char)*p;
        if (c < 32) return error_at(parser, p, "a control character inside a string; write it as \\uXXXX");
        if (c != '\\') {
            *to++ = *p++;
            continue;
        }
        const char *escape = p;
        char kind = p[1];
        const char *known = "\"\"\\\\//b\bf\fn\nr\rt\t", *pair = kind ? strchr(known, kind) : NULL;
        while (pair && (pair - known) % 2 != 0) pair = strchr(pair + 1, kind);
        p += 2;
        if (pair) {
            *to++ = pair[1];
            continue;
        }
        unsigned code = 0, low = 0;
        if (kind != 'u' || !hex4(p, close, &code)) return error_at(parser, escape, "unknown escape in a string");
        p += 4;
        if (code >= 0xD800 && code < 0xDC00) {
            bool paired = close - p >= 6 && p[0] == '\\' && p[1] == 'u' && hex4(p + 2, close, &low) && low >= 0xDC00 &&
                          low < 0xE000;
            if (!paired) return error_at(parser, escape, "half of a surrogate pair");
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            p += 6;
        } else if (code >= 0xDC00 && code < 0xE000) {
            return error_at(parser, escape, "half of a surrogate pair");
        }
        if (code == 0) return error_at(parser, escape, "\\u0000 is not accepted");
        to = put_utf8(to, code);
    }
    *to = '\0';
    if (!valid_utf8(copy, (size_t)(to - copy))) return error_at(parser, open, "this string is not UTF-8");
    parser->at = close + 1;
    *out_string = copy;
    *out_length = (size_t)(to - copy);
    return STATUS_OK;
}

static bool is_digit(const Parser *parser, const char *p) {
    return p < parser->end && *p >= '0' && *p <= '9';
}

static Status parse_number(Parser *parser, JsonValue *value) {
    const char *start = parser->at, *p = start;
    bool integer = true;
    if (*p == '-') p++;
    if (!is_digit(parser, p)) return error_at(parser, start, "a value is expected here");
    if (*p == '0' && is_digit(parser, p + 1)) return error_at(parser, start, "a number must not start with 0");
    while (is_digit(parser, p)) p++;
    if (p < parser->end && *p == '.') {
        integer = false;
        p++;
        if (!is_digit(parser, p)) return error_at(parser, p, "digits must follow the decimal point");
        while (is_digit(parser, p)) p++;
    }
    if (p < parser->end && (*p == 'e' || *p == 'E')) {
        integer = false;
        p++;
        if (p < parser->end && (*p == '+' || *p == '-')) p++;
        if (!is_digit(parser, p)) return error_at(parser, p, "digits must follow the exponent sign");
        while (is_digit(parser, p)) p++;
    }
    value->type = JSON_NUMBER;
    if (!parse_f64(start, (size_t)(p - start), &value->number))
        return error_at(parser, start, "this number is too large");
    value->is_integer = integer && parse_i64(start, (size_t)(p - start), &value->integer);
    parser->at = p;
    return STATUS_OK;
}

static Status parse_value(Parser *parser, JsonValue *value);

// Arrays and objects: the cursor stands behind the opener.
static Status parse_members(Parser *parser, JsonValue *value, char closer) {
    const char *open = parser->at - 1;
    bool object = closer == '}';
    value->type = object ? JSON_OBJECT : JSON_ARRAY;
    if (++parser->depth > JSON_DEPTH) return error_at(parser, open, "nested deeper than 64 levels");
    size_t capacity = 0;
    skip_blanks(parser);
    if (parser->at < parser->end && *parser->at == closer) {
        parser->at++;
        parser->depth--;
        return STATUS_OK;
    }
    for (;;) {
        if (value->length == capacity) {
            size_t larger = capacity ? capacity * 2 : 8;
            JsonValue *items = NULL;
            const char **keys = NULL;
            TRY(ARENA_NEW(parser->arena, items, larger));
            TRY(ARENA_NEW(parser->arena, keys, object ? larger : 0));
            if (capacity) memcpy(items, value->items, capacity * sizeof *items);
            if (capacity && object) memcpy(keys, value->keys, capacity * sizeof *keys);
            value->items = items;
            value->keys = keys;
            capacity = larger;
        }
        skip_blanks(parser);
        if (object) {
            const char *where = parser->at, *key = NULL;
            size_t length = 0;
            if (where >= parser->end || *where != '"')
                return error_at(parser, where, "a member name in quotes is expected");
            TRY(parse_string(parser, &key, &length));
            for (size_t i = 0; i < value->length; i++)
                if (strcmp(value->keys[i], key) == 0) return error_at(parser, where, "this member name occurs twice");
            value->keys[value->length] = key;
            skip_blanks(parser);
            if (parser->at >= parser->end || *parser->at != ':') return error_at(parser, parser->at, "':' is expected");
            parser->at++;
        }
        TRY(parse_value(parser, &value->items[value->length]));
        value->length++;
        skip_blanks(parser);
        if (parser->at >= parser->end)
            return error_at(parser, open, object ? "this '{' is never closed" : "this '[' is never closed");
        char c = *parser->at;
        if (c != ',' && c != closer)
            return error_at(parser, parser->at, object ? "',' or '}' is expected" : "',' or ']' is expected");
        parser->at++;
        if (c == closer) break;
    }
    parser->depth--;
    return STATUS_OK;
}

static bool take_word(Parser *parser, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(parser->end - parser->at) < n || memcmp(parser->at, word, n) != 0) return false;
    parser->at += n;
    return true;
}

static Status parse_value(Parser *parser, JsonValue *value) {
    *value = (JsonValue){0};
    skip_blanks(parser);
    if (parser->at >= parser->end) return error_at(parser, parser->at, "the text ends where a value is expected");
    switch (*parser->at) {
    case '{': parser->at++; return parse_members(parser, value, '}');
    case '[': parser->at++; return parse_members(parser, value, ']');
    case '"': value->type = JSON_STRING; return parse_string(parser, &value->string, &value->length);
    default: break;
    }
    if (take_word(parser, "null")) return STATUS_OK;
    if (take_word(parser, "true")) {
        value->type = JSON_BOOL;
        value->boolean = true;
        return STATUS_OK;
    }
    if (take_word(parser, "false")) {
        value->type = JSON_BOOL;
        return STATUS_OK;
    }
    return parse_number(parser, value);
}

Status json_parse(const char *name, const char *text, size_t size, Arena *arena, JsonValue **out_value) {
    Parser parser = {.name = name, .start = text, .at = text, .end = text + size, .arena = arena};
    JsonValue *value = NULL;
    *out_value = NULL;
    TRY(ARENA_NEW(arena, value, 1));
    TRY(parse_value(&parser, value));
    skip_blanks(&parser);
    if (parser.at < parser.end) return error_at(&parser, parser.at, "more text after the end of the JSON value");
    *out_value = value;
    return STATUS_OK;
}

const JsonValue *json_get(const JsonValue *object, const char *key) {
    if (!object || object->type != JSON_OBJECT) return NULL;
    for (size_t i = 0; i < object->length; i++)
        if (strcmp(object->keys[i], key) == 0) return &object->items[i];
    return NULL;
}

const char *json_type_name(JsonType type) {
    static const char *const names[] = {"null", "true or false", "a number", "a string", "an array", "an object"};
    return (unsigned)type < sizeof names / sizeof *names ? names[type] : "an unknown value";
}
