// Growable text for printers, and the spelling of things that printers share: real numbers, quoted strings,
// bytes that a terminal must not see.
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void reserve(Text *text, size_t more) {
    if (text->length + more + 1 <= text->room) return;
    size_t room = text->room ? text->room * 2 : 256;
    while (room < text->length + more + 1) room *= 2;
    char *at = arena_alloc(text->arena, room);
    if (text->length) memcpy(at, text->at, text->length);
    text->at = at;
    text->room = room;
}

void text_add_bytes(Text *text, const char *bytes, size_t length) {
    reserve(text, length);
    if (length) memcpy(text->at + text->length, bytes, length);
    text->length += length;
    text->at[text->length] = 0;
}

void text_add(Text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) DIE("bad format: %s", format);
    reserve(text, (size_t)length);
    vsnprintf(text->at + text->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t)length;
}

void text_real(Text *text, double value) {
    if (isnan(value)) {
        text_add(text, "nan");
        return;
    }
    if (isinf(value)) {
        text_add(text, value < 0 ? "-inf" : "inf");
        return;
    }
    char digits[40];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value) break;
    }
    text_add(text, "%s", digits);
}

// The length of the UTF-8 sequence at `at` (1-4), or 0 when it is not well formed. Overlong forms, surrogates
// and values above U+10FFFF are not well formed.
int utf8_decode(const char *at, size_t room, uint32_t *code_point) {
    const unsigned char *s = (const unsigned char *)at;
    if (room == 0) return 0;
    if (s[0] < 0x80) {
        *code_point = s[0];
        return 1;
    }
    int length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4 || room < (size_t)length) return 0;
    uint32_t value = s[0] & (0x7Fu >> length);
    for (int i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
        value = value << 6 | (s[i] & 0x3Fu);
    }
    if ((length == 3 && value < 0x800) || (length == 4 && (value < 0x10000 || value > 0x10FFFF))) return 0;
    if (value >= 0xD800 && value <= 0xDFFF) return 0;
    *code_point = value;
    return length;
}

// U+0080-009F are control characters and the bidirectional overrides reorder what a terminal shows.
static bool must_be_escaped(uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) ||
           c == 0x2028 || c == 0x2029 || c == 0xFEFF;
}

int text_add_shown(Text *text, const char *at, size_t room) {
    uint32_t c;
    int length = utf8_decode(at, room, &c);
    if (length == 0) {
        text_add(text, "\\x%02X", (unsigned char)at[0]);
        return 1;
    }
    if (!must_be_escaped(c)) {
        text_add_bytes(text, at, (size_t)length);
    } else if (c < 0x80) {
        text_add(text, "\\x%02X", c);
    } else {
        text_add(text, "\\u{%X}", c);
    }
    return length;
}

void text_shown(Text *text, const char *bytes, size_t length) {
    for (size_t i = 0; i < length;) i += (size_t)text_add_shown(text, bytes + i, length - i);
}

void text_quoted(Text *text, const char *bytes) {
    text_add(text, "\"");
    for (size_t i = 0; bytes[i]; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\') {
            text_add(text, "\\%c", c);
        } else if (c == '\n') {
            text_add(text, "\\n");
        } else {
            text_add_bytes(text, bytes + i, 1);
        }
    }
    text_add(text, "\"");
}
