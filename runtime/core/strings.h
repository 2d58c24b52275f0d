// strings: growing text, numbers to and from text, and names to positions. Locale-independent as long as the
// program leaves the C locale alone (this runtime never calls setlocale).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "status.h"

// Growing text. Start with `(Text){0}`, end with text_free. After memory runs out, `failed` stays set and
// appends do nothing; check once at the end with text_status. `data` always ends in '\0' once something was
// appended; use text_string to read it safely.
typedef struct Text {
    char *data;
    size_t length;
    size_t capacity;
    bool failed;
} Text;

void text_free(Text *text);
void text_clear(Text *text); // keeps the memory and clears `failed`
void text_append(Text *text, const char *bytes, size_t length);
void text_add(Text *text, const char *string);
void text_printf(Text *text, const char *format, ...) PRINTF_LIKE(2, 3);
const char *text_string(const Text *text); // "" when empty
MUST_USE Status text_status(const Text *text);

// Shortest decimal text that reads back as the same number; "nan", "inf", "-inf" for the others. `buffer`
// holds at least NUMBER_TEXT bytes; returns the length.
enum { NUMBER_TEXT = 40 };
size_t number_f32(float value, char buffer[NUMBER_TEXT]);
size_t number_f64(double value, char buffer[NUMBER_TEXT]);

// Strict parsing of the whole of text[0 .. length): decimal only, no blanks, no trailing characters. False if
// it is not a number or does not fit. parse_f64 accepts nan and inf in any case.
bool parse_f64(const char *text, size_t length, double *out_value);
bool parse_i64(const char *text, size_t length, int64_t *out_value);

// For use in messages: text[0 .. length) cut to 40 bytes, control bytes as '?', in quotes. Returns `buffer`.
enum { QUOTED_TEXT = 64 };
const char *quoted(const char *text, size_t length, char buffer[QUOTED_TEXT]);

bool string_ends_with(const char *string, const char *ending); // ASCII letters compare without case
bool valid_utf8(const char *text, size_t length);

// Names to positions: an open-addressing table. Keys are not copied; they must outlive the index.
typedef struct NameIndex {
    const char **names; // [capacity]
    int64_t *positions; // [capacity]
    size_t count;
    size_t capacity; // power of two
} NameIndex;

// Room for `expected` names; memory from `arena`. More than `expected` insertions are an internal error.
MUST_USE Status name_index_init(NameIndex *index, Arena *arena, size_t expected);
// Adds name → position. When the name is there already nothing changes and the old position is returned;
// otherwise -1.
int64_t name_index_add(NameIndex *index, const char *name, int64_t position);
int64_t name_index_find(const NameIndex *index, const char *name); // -1: not there

// The candidate closest to `name` (edit distance at most a third of its length), or NULL: for "did you mean".
const char *closest_name(const char *name, const char *const *candidates, size_t count);
