// Reader for the recorded references: a whole-file load, a scanner for the safetensors header (a JSON object
// of flat objects), and the summary arithmetic described in hevisum_reference.py.
#include "reference.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Reference {
    uint64_t *bytes; // the whole file; u64 so that the data is aligned
    char *names;     // all names, each ended by 0
    ReferenceTensor *tensors;
    size_t count;
};

typedef struct {
    const char *at, *end;
} Scanner;

static void skip_space(Scanner *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) s->at++;
}

static int take(Scanner *s, char c) {
    skip_space(s);
    if (s->at == s->end || *s->at != c) return 0;
    s->at++;
    return 1;
}

// A string without escapes; the reference files have none.
static int take_string(Scanner *s, const char **text, size_t *length) {
    if (!take(s, '"')) return 0;
    *text = s->at;
    while (s->at < s->end && *s->at != '"') {
        if (*s->at == '\\') return 0;
        s->at++;
    }
    if (s->at == s->end) return 0;
    *length = (size_t)(s->at - *text);
    s->at++;
    return 1;
}

// [a, b, ...] of non-negative integers; the number of them, or -1.
static int take_integers(Scanner *s, int64_t *values, int limit) {
    int n = 0;
    if (!take(s, '[')) return -1;
    if (take(s, ']')) return 0;
    do {
        skip_space(s);
        int64_t value = 0;
        const char *first = s->at;
        while (s->at < s->end && *s->at >= '0' && *s->at <= '9' && s->at - first < 18)
            value = value * 10 + (*s->at++ - '0');
        if (s->at == first || n == limit) return -1;
        values[n++] = value;
    } while (take(s, ','));
    return take(s, ']') ? n : -1;
}

static int64_t element_size(const char *dtype) {
    static const struct {
        const char *name;
        int64_t size;
    } known[] = {{"F64", 8}, {"I64", 8}, {"F32", 4}, {"I32", 4}, {"U8", 1}, {"I8", 1}, {"BOOL", 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, dtype)) return known[i].size;
    return 0;
}

static int is_text(const char *text, size_t length, const char *expected) {
    return length == strlen(expected) && !memcmp(text, expected, length);
}

// {"dtype": ..., "shape": ..., "data_offsets": ...} in any order.
static int take_tensor(Scanner *s, ReferenceTensor *tensor, const char *data, int64_t data_size) {
    int64_t offsets[2] = {-1, -1};
    tensor->rank = -1;
    if (!take(s, '{')) return 0;
    do {
        const char *key, *text;
        size_t length, text_length;
        if (!take_string(s, &key, &length) || !take(s, ':')) return 0;
        if (is_text(key, length, "dtype")) {
            if (!take_string(s, &text, &text_length) || text_length >= sizeof tensor->dtype) return 0;
            memcpy(tensor->dtype, text, text_length);
            tensor->dtype[text_length] = 0;
        } else if (is_text(key, length, "shape")) {
            tensor->rank = take_integers(s, tensor->shape, REFERENCE_RANK_MAX);
        } else if (!is_text(key, length, "data_offsets") || take_integers(s, offsets, 2) != 2) {
            return 0;
        }
    } while (take(s, ','));
    int64_t size = element_size(tensor->dtype);
    if (!take(s, '}') || tensor->rank < 0 || !size || offsets[0] < 0 || offsets[1] > data_size) return 0;
    tensor->count = 1;
    for (int d = 0; d < tensor->rank; d++) {
        if (tensor->shape[d] > data_size) return 0;
        tensor->count *= tensor->shape[d];
        if (tensor->count > data_size) return 0;
    }
    tensor->data = data + offsets[0];
    return offsets[1] - offsets[0] == tensor->count * size && (uintptr_t)tensor->data % (uintptr_t)size == 0;
}

static int skip_metadata(Scanner *s) {
    const char *text;
    size_t length;
    if (!take(s, '{')) return 0;
    if (take(s, '}')) return 1;
    do {
        if (!take_string(s, &text, &length) || !take(s, ':') || !take_string(s, &text, &length)) return 0;
    } while (take(s, ','));
    return take(s, '}');
}

static Reference *fail(Reference *reference, char *why, size_t why_size, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(why, why_size, format, list);
    va_end(list);
    reference_close(reference);
    return NULL;
}

static int load(Reference *reference, const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    long length = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
    int good = length >= 8 && !fseek(file, 0, SEEK_SET);
    if (good) {
        *size = (size_t)length;
        reference->bytes = malloc(*size + 8);
        good = reference->bytes && fread(reference->bytes, 1, *size, file) == *size;
    }
    fclose(file);
    return good;
}

Reference *reference_open(const char *path, char *why, size_t why_size) {
    Reference *reference = calloc(1, sizeof *reference);
    size_t size = 0;
    if (!reference) return fail(reference, why, why_size, "%s: out of memory", path);
    if (!load(reference, path, &size))
        return fail(reference, why, why_size, "%s: cannot be read, or is shorter than 8 bytes", path);
    uint64_t header = reference->bytes[0];
    if (header > size - 8)
        return fail(reference, why, why_size, "%s: header of %llu bytes in a file of %zu; not a safetensors file", path,
                    (unsigned long long)header, size);

    const char *text = (const char *)(reference->bytes + 1), *data = text + header;
    int64_t data_size = (int64_t)(size - 8 - header);
    // An entry takes more than 16 bytes of header, and a name is shorter than its entry.
    size_t limit = (size_t)header / 16 + 1, used = 0;
    reference->tensors = calloc(limit, sizeof *reference->tensors);
    reference->names = malloc((size_t)header + 1);
    if (!reference->tensors || !reference->names) return fail(reference, why, why_size, "%s: out of memory", path);

    Scanner s = {text, data};
    if (!take(&s, '{')) return fail(reference, why, why_size, "%s: the header does not begin with {", path);
    do {
        const char *name;
        size_t length;
        if (!take_string(&s, &name, &length) || !take(&s, ':'))
            return fail(reference, why, why_size, "%s: header byte %td: expected a name", path, s.at - text);
        if (is_text(name, length, "__metadata__")) {
            if (!skip_metadata(&s))
                return fail(reference, why, why_size, "%s: header byte %td: bad metadata", path, s.at - text);
            continue;
        }
        if (reference->count == limit)
            return fail(reference, why, why_size, "%s: more tensors than its header can hold", path);
        ReferenceTensor *tensor = &reference->tensors[reference->count];
        tensor->name = memcpy(reference->names + used, name, length);
        reference->names[used + length] = 0;
        used += length + 1;
        if (!take_tensor(&s, tensor, data, data_size))
            return fail(reference, why, why_size,
                        "%s: header byte %td: tensor '%s' is malformed, outside the file, "
                        "misaligned, or of an unknown type",
                        path, s.at - text, tensor->name);
        reference->count++;
    } while (take(&s, ','));
    if (!take(&s, '}'))
        return fail(reference, why, why_size, "%s: header byte %td: expected , or }", path, s.at - text);
    return reference;
}

void reference_close(Reference *reference) {
    if (!reference) return;
    free(reference->bytes);
    free(reference->names);
    free(reference->tensors);
    free(reference);
}

size_t reference_count(const Reference *reference) {
    return reference->count;
}

const ReferenceTensor *reference_at(const Reference *reference, size_t position) {
    return position < reference->count ? &reference->tensors[position] : NULL;
}

const ReferenceTensor *reference_find(const Reference *reference, const char *name) {
    for (size_t i = 0; i < reference->count; i++)
        if (!strcmp(reference->tensors[i].name, name)) return &reference->tensors[i];
    return NULL;
}

static const void *typed(const Reference *reference, const char *name, const char *dtype, int64_t count) {
    const ReferenceTensor *tensor = reference_find(reference, name);
    if (!tensor || strcmp(tensor->dtype, dtype) || (count >= 0 && tensor->count != count)) return NULL;
    return tensor->data;
}

const double *reference_f64(const Reference *reference, const char *name, int64_t count) {
    return typed(reference, name, "F64", count);
}

const int64_t *reference_i64(const Reference *reference, const char *name, int64_t count) {
    return typed(reference, name, "I64", count);
}

// One body for both element types.
#define SUMMARY(values, n, row)                                                                                        \
    do {                                                                                                               \
        double sum = 0, squares = 0, largest = 0;                                                                      \
        for (int64_t i = 0; i < (n); i++) {                                                                            \
            double value = (double)(values)[i];                                                                        \
            sum += value;                                                                                              \
            squares += value * value;                                                                                  \
            if (!(fabs(value) <= largest)) largest = fabs(value);                                                      \
        }                                                                                                              \
        (row)[0] = (double)(n), (row)[1] = sum, (row)[2] = sqrt(squares), (row)[3] = largest;                          \
        for (int k = 0; k < 8; k++) (row)[4 + k] = k < (n) ? (double)(values)[k] : 0.0;                                \
        for (int k = 0; k < 12; k++) (row)[12 + k] = (double)(values)[k * ((n)-1) / 11];                               \
    } while (0)

void reference_summary_f32(const float *values, int64_t n, double row[REFERENCE_SUMMARY]) {
    SUMMARY(values, n, row);
}

void reference_summary_f64(const double *values, int64_t n, double row[REFERENCE_SUMMARY]) {
    SUMMARY(values, n, row);
}

void reference_distance(const double expected[REFERENCE_SUMMARY], const double found[REFERENCE_SUMMARY], double *norm,
                        double *element) {
    *norm = *element = INFINITY;
    if (expected[0] != found[0]) return;
    for (int k = 1; k < REFERENCE_SUMMARY; k++)
        if (!isfinite(found[k])) return;
    const double tiny = 1e-300; // keeps 0/0 away when a tensor is expected to be all zero
    double scale = fmax(expected[2] / sqrt(fmax(expected[0], 1)), tiny), worst = 0;
    for (int k = 4; k < REFERENCE_SUMMARY; k++) worst = fmax(worst, fabs(found[k] - expected[k]));
    *norm = fabs(found[2] - expected[2]) / fmax(expected[2], tiny);
    *element = worst / scale;
}
