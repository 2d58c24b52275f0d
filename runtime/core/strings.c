// strings: see strings.h.
#include "strings.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_free(Text *text) {
    free(text->data);
    *text = (Text){0};
}

void text_clear(Text *text) {
    text->length = 0;
    text->failed = false;
    if (text->data) text->data[0] = '\0';
}

// Makes room for `more` bytes and the final '\0'.
static bool text_reserve(Text *text, size_t more) {
    if (text->failed) return false;
    if (more >= SIZE_MAX / 4 || text->length >= SIZE_MAX / 4) {
        text->failed = true;
        return false;
    }
    size_t needed = text->length + more + 1;
    if (needed <= text->capacity) return true;
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity < needed) capacity *= 2;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void text_append(Text *text, const char *bytes, size_t length) {
    if (!text_reserve(text, length)) return;
    if (length) memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_add(Text *text, const char *string) {
    text_append(text, string, strlen(string));
}

void text_printf(Text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        text->failed = true;
    } else if (text_reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

const char *text_string(const Text *text) {
    return text->data ? text->data : "";
}

Status text_status(const Text *text) {
    if (!text->failed) return STATUS_OK;
    return status_make(STATUS_NO_MEMORY, "no memory for a text of more than %zu bytes", text->length);
}

size_t number_f32(float value, char buffer[NUMBER_TEXT]) {
    if (isnan(value)) return strcpy(buffer, "nan"), 3;
    if (isinf(value)) return strcpy(buffer, value > 0 ? "inf" : "-inf"), strlen(buffer);
    int length = 0;
    for (int digits = 6; digits <= 9; digits++) { // 9 digits always suffice for binary32
        length = snprintf(buffer, NUMBER_TEXT, "%.*g", digits, (double)value);
        if (strtof(buffer, NULL) == value) break;
    }
    return (size_t)length;
}

size_t number_f64(double value, char buffer[NUMBER_TEXT]) {
    if (isnan(value)) return strcpy(buffer, "nan"), 3;
    if (isinf(value)) return strcpy(buffer, value > 0 ? "inf" : "-inf"), strlen(buffer);
    int length = 0;
    for (int digits = 15; digits <= 17; digits++) { // 17 digits always suffice for binary64
        length = snprintf(buffer, NUMBER_TEXT, "%.*g", digits, value);
        if (strtod(buffer, NULL) == value) break;
    }
    return (size_t)length;
}

// Case-blind comparison of text[0 .. length) with a lower-case word.
static bool is_word(const char *text, size_t length, const char *word) {
    if (length != strlen(word)) return false;
    for (size_t i = 0; i < length; i++)
        if (tolower((unsigned char)text[i]) != word[i]) return false;
    return true;
}

bool parse_f64(const char *text, size_t length, double *out_value) {
    if (length == 0 || length > 300) return false;
    size_t sign = text[0] == '-' || text[0] == '+';
    if (is_word(text + sign, length - sign, "nan")) {
        *out_value = NAN;
        return true;
    }
    if (is_word(text + sign, length - sign, "inf") || is_word(text + sign, length - sign, "infinity")) {
        *out_value = text[0] == '-' ? -INFINITY : INFINITY;
        return true;
    }
    char copy[304];
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        // strtod alone would also take blanks and hexadecimal numbers.
        if (!(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E') return false;
        copy[i] = c;
    }
    copy[length] = '\0';
    char *end = copy;
    double value = strtod(copy, &end);
    if (end != copy + length || isinf(value)) return false;
    *out_value = value;
    return true;
}

bool parse_i64(const char *text, size_t length, int64_t *out_value) {
    if (length == 0 || length > 30) return false;
    bool negative = text[0] == '-';
    size_t i = text[0] == '-' || text[0] == '+';
    if (i == length) return false;
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0), value = 0;
    for (; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (limit - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out_value = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

const char *quoted(const char *text, size_t length, char buffer[QUOTED_TEXT]) {
    enum { SHOWN = 40 };
    size_t n = length < SHOWN ? length : SHOWN, at = 0;
    while (n > 0 && n < length && ((unsigned char)text[n] & 0xC0) == 0x80) n--; // never cut a UTF-8 character
    buffer[at++] = '\'';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        buffer[at++] = c < 32 || c == 127 ? '?' : (char)c;
    }
    if (n < length) at += (size_t)snprintf(buffer + at, 4, "...");
    buffer[at++] = '\'';
    buffer[at] = '\0';
    return buffer;
}

bool string_ends_with(const char *string, const char *ending) {
    size_t n = strlen(string), m = strlen(ending);
    if (m > n) return false;
    for (size_t i = 0; i < m; i++)
        if (tolower((unsigned char)string[n - m + i]) != tolower((unsigned char)ending[i])) return false;
    return true;
}

bool valid_utf8(const char *text, size_t length) {
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < length;) {
        unsigned char c = s[i];
        size_t more = 9; // how many bytes follow; 9: `c` starts no character
        if (c < 0x80) more = 0;
        else if (c >= 0xC2 && c < 0xE0) more = 1;
        else if (c >= 0xE0 && c < 0xF0) more = 2;
        else if (c >= 0xF0 && c < 0xF5) more = 3;
        if (more == 9 || i + more >= length) return false;
        for (size_t k = 1; k <= more; k++)
            if ((s[i + k] & 0xC0) != 0x80) return false;
        if (c == 0xE0 && s[i + 1] < 0xA0) return false; // overlong
        if (c == 0xED && s[i + 1] > 0x9F) return false; // surrogate
        if (c == 0xF0 && s[i + 1] < 0x90) return false; // overlong
        if (c == 0xF4 && s[i + 1] > 0x8F) return false; // beyond U+10FFFF
        i += more + 1;
    }
    return true;
}

static uint64_t hash_name(const char *name) {
    uint64_t hash = 1469598103934665603u; // FNV-1a
    for (const char *p = name; *p; p++) hash = (hash ^ (unsigned char)*p) * 1099511628211u;
    return hash ^ (hash >> 29);
}

Status name_index_init(NameIndex *index, Arena *arena, size_t expected) {
    size_t capacity = 8;
    while (capacity < SIZE_MAX / 4 && capacity < expected * 2) capacity *= 2;
    *index = (NameIndex){.capacity = capacity};
    TRY(ARENA_NEW(arena, index->names, capacity));
    return ARENA_NEW(arena, index->positions, capacity);
}

// The slot that holds `name`, or the free one where it belongs.
static size_t name_slot(const NameIndex *index, const char *name) {
    size_t slot = (size_t)hash_name(name) & (index->capacity - 1);
    while (index->names[slot] && strcmp(index->names[slot], name) != 0) slot = (slot + 1) & (index->capacity - 1);
    return slot;
}

int64_t name_index_add(NameIndex *index, const char *name, int64_t position) {
    size_t slot = name_slot(index, name);
    if (index->names[slot]) return index->positions[slot];
    index->names[slot] = name;
    index->positions[slot] = position;
    index->count++;
    return -1;
}

int64_t name_index_find(const NameIndex *index, const char *name) {
    if (index->capacity == 0) return -1;
    size_t slot = name_slot(index, name);
    return index->names[slot] ? index->positions[slot] : -1;
}

// Edit distance in which swapping two neighbours is one edit, as it is for fingers. Cut off at names of 63
// bytes: longer ones are nobody's typing mistake.
static size_t edit_distance(const char *a, const char *b) {
    size_t na = strlen(a), nb = strlen(b);
    if (na > 63 || nb > 63) return SIZE_MAX;
    size_t rows[3][64]; // of a's prefixes i - 2, i - 1, i
    for (size_t j = 0; j <= nb; j++) rows[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            size_t best = above[j - 1] + (x != y);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]) &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[na % 3][nb];
}

const char *closest_name(const char *name, const char *const *candidates, size_t count) {
    size_t best = strlen(name) / 3 + 1; // at most a third of the letters may differ; case never counts
    const char *found = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(name, candidates[i]);
        if (distance < best) {
            best = distance;
            found = candidates[i];
        }
    }
    return found;
}
