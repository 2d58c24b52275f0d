// reference: recorded results of other programs, read from tests/data/reference/NAME.json as arrays of numbers.
#pragma once

#include "../../runtime/core/files.h"
#include "../../runtime/core/json.h"
#include "../check_status.h"

typedef struct Reference {
    Arena arena;
    const JsonValue *root;
} Reference;

// `directory` ends in no slash. Exits when the file is not there: it is committed.
static inline Reference reference_open(const char *directory, const char *name) {
    Reference reference = {0};
    char path[4096], *text = NULL;
    size_t size = 0;
    JsonValue *root = NULL;
    snprintf(path, sizeof path, "%s/%s.json", directory, name);
    if (!CHECK_OK(file_read(path, (size_t)1 << 28, &text, &size))) exit(3);
    if (!CHECK_OK(json_parse(path, text, size, &reference.arena, &root))) exit(3);
    free(text);
    reference.root = root;
    return reference;
}

static inline void reference_close(Reference *reference) {
    arena_free(&reference->arena);
}

// The member as doubles (null: NaN); *out_count may be NULL. Memory of the reference.
static inline double *reference_numbers(Reference *reference, const JsonValue *object, const char *key,
                                        size_t *out_count) {
    const JsonValue *value = json_get(object, key);
    if (!value || value->type != JSON_ARRAY) {
        printf("the reference has no array \"%s\"\n", key);
        exit(3);
    }
    double *numbers = arena_alloc(&reference->arena, value->length + 1, sizeof *numbers);
    for (size_t i = 0; i < value->length; i++)
        numbers[i] = value->items[i].type == JSON_NULL ? NAN : value->items[i].number;
    if (out_count) *out_count = value->length;
    return numbers;
}

static inline double reference_number(const JsonValue *object, const char *key) {
    const JsonValue *value = json_get(object, key);
    if (!value || value->type != JSON_NUMBER) {
        printf("the reference has no number \"%s\"\n", key);
        exit(3);
    }
    return value->number;
}

static inline const char *reference_text(const JsonValue *object, const char *key) {
    const JsonValue *value = json_get(object, key);
    return value && value->type == JSON_STRING ? value->string : "";
}

// Largest |seen - expected| / max(|expected|, floor); NaN must meet NaN (else infinity).
static inline double largest_error(const double *seen, const double *expected, size_t count, double floor) {
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        if (isnan(seen[i]) && isnan(expected[i])) continue;
        double error = fabs(seen[i] - expected[i]) / fmax(fabs(expected[i]), floor);
        if (!(error <= worst)) worst = isnan(error) ? INFINITY : error;
    }
    return worst;
}
