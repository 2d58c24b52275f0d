// safetensors: see safetensors.h.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // pread, O_CLOEXEC
#endif

#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/files.h"
#include "../core/strings.h"

enum { LARGEST_HEADER = 100 << 20, ALIGNMENT = 64, CONVERT_BYTES = 64 << 10 };

// Fills `to` from the file, wherever the system stops in between.
static Status read_at(const SafeFile *file, void *to, size_t size, uint64_t offset) {
    char *p = to;
    while (size) {
        ssize_t got = pread(file->descriptor, p, size, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return status_errno(errno, "cannot read %s", file->path);
        if (got == 0)
            return status_make(STATUS_MALFORMED, "%s ends at byte %llu, inside its data; copy the file again",
                               file->path, (unsigned long long)offset);
        p += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return STATUS_OK;
}

static Status bad_entry(const SafeFile *file, const char *name, const char *what) {
    char shown[QUOTED_TEXT];
    return status_make(STATUS_MALFORMED, "%s: tensor %s: %s; the file is damaged or not safetensors", file->path,
                       quoted(name, strlen(name), shown), what);
}

static Status parse_entry(SafeFile *file, const char *name, const JsonValue *value, SafeTensor *tensor) {
    if (value->type != JSON_OBJECT) return bad_entry(file, name, "its description is not an object");
    for (size_t i = 0; i < value->length; i++) {
        const char *key = value->keys[i];
        if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 && strcmp(key, "data_offsets") != 0)
            return bad_entry(file, name, "its description has an unknown member");
    }
    const JsonValue *type = json_get(value, "dtype"), *shape = json_get(value, "shape");
    const JsonValue *offsets = json_get(value, "data_offsets");
    if (!type || type->type != JSON_STRING) return bad_entry(file, name, "it has no dtype");
    ElementType number = ELEMENT_U8;
    if (!element_named(type->string, &number))
        return bad_entry(file, name, "its dtype is not one of BOOL U8 I8 I16 U16 F16 BF16 I32 U32 F32 F64 I64 U64");
    if (!shape || shape->type != JSON_ARRAY) return bad_entry(file, name, "it has no shape");
    if (shape->length > ELEMENT_MAX_RANK) return bad_entry(file, name, "it has more than 16 dimensions");
    *tensor = (SafeTensor){.name = name, .type = number, .rank = (int)shape->length, .elements = 1};
    for (int d = 0; d < tensor->rank; d++) {
        const JsonValue *extent = &shape->items[d];
        if (extent->type != JSON_NUMBER || !extent->is_integer || extent->integer < 0)
            return bad_entry(file, name, "an extent of its shape is not a whole number from 0 up");
        tensor->shape[d] = extent->integer;
        if (__builtin_mul_overflow(tensor->elements, extent->integer, &tensor->elements) ||
            tensor->elements > ((int64_t)1 << 50))
            return bad_entry(file, name, "its shape is too large");
    }
    if (!offsets || offsets->type != JSON_ARRAY || offsets->length != 2 || !offsets->items[0].is_integer ||
        !offsets->items[1].is_integer || offsets->items[0].integer < 0 ||
        offsets->items[1].integer < offsets->items[0].integer)
        return bad_entry(file, name, "its data_offsets are not two rising positions");
    tensor->begin = (uint64_t)offsets->items[0].integer;
    tensor->end = (uint64_t)offsets->items[1].integer;
    if (tensor->end - tensor->begin != (uint64_t)tensor->elements * element_size(number))
        return bad_entry(file, name, "its data_offsets do not span what dtype and shape need");
    return STATUS_OK;
}

static int by_begin(const void *a, const void *b) {
    const SafeTensor *x = *(const SafeTensor *const *)a, *y = *(const SafeTensor *const *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end; // empty tensors first
}

// The ranges must tile the data exactly.
static Status check_ranges(SafeFile *file, uint64_t data_size) {
    const SafeTensor **order = NULL;
    TRY(ARENA_NEW(&file->arena, order, file->count + 1));
    for (size_t i = 0; i < file->count; i++) order[i] = &file->tensor[i];
    if (file->count) qsort(order, file->count, sizeof *order, by_begin);
    uint64_t at = 0;
    for (size_t i = 0; i < file->count; i++) {
        if (order[i]->begin < at) return bad_entry(file, order[i]->name, "its data overlaps another tensor's");
        if (order[i]->begin > at) return bad_entry(file, order[i]->name, "there is a hole before its data");
        at = order[i]->end;
    }
    if (at == data_size) return STATUS_OK;
    return status_make(STATUS_MALFORMED,
                       "%s: its header describes %llu bytes of data, the file holds %llu; copy the file again",
                       file->path, (unsigned long long)at, (unsigned long long)data_size);
}

static Status parse_header(SafeFile *file, const char *text, size_t size) {
    JsonValue *header = NULL;
    TRY(json_parse(file->path, text, size, &file->arena, &header));
    if (header->type != JSON_OBJECT)
        return status_make(STATUS_MALFORMED, "%s: the safetensors header is not an object", file->path);
    TRY(ARENA_NEW(&file->arena, file->tensor, header->length + 1));
    TRY(name_index_init(&file->index, &file->arena, header->length));
    for (size_t i = 0; i < header->length; i++) {
        const JsonValue *value = &header->items[i];
        if (strcmp(header->keys[i], "__metadata__") == 0) {
            if (value->type != JSON_OBJECT) return bad_entry(file, header->keys[i], "it is not an object");
            for (size_t k = 0; k < value->length; k++)
                if (value->items[k].type != JSON_STRING)
                    return bad_entry(file, header->keys[i], "its values must be strings");
            file->metadata = value;
            continue;
        }
        TRY(parse_entry(file, header->keys[i], value, &file->tensor[file->count]));
        name_index_add(&file->index, header->keys[i], (int64_t)file->count);
        file->count++;
    }
    return STATUS_OK;
}

static Status open_and_parse(SafeFile *file) {
    // O_NONBLOCK: a FIFO must not make us wait
    file->descriptor = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->descriptor < 0) return status_errno(errno, "cannot open %s", file->path);
    struct stat info;
    if (fstat(file->descriptor, &info) != 0) return status_errno(errno, "cannot inspect %s", file->path);
    if (!S_ISREG(info.st_mode)) return status_make(STATUS_INVALID, "%s is not a regular file", file->path);
    uint64_t size = (uint64_t)info.st_size;
    unsigned char length[8];
    if (size < 8 + 2)
        return status_make(STATUS_MALFORMED, "%s has only %llu bytes; it is no safetensors file", file->path,
                           (unsigned long long)size);
    TRY(read_at(file, length, 8, 0));
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--) header = header << 8 | length[i];
    if (header > LARGEST_HEADER || header > size - 8)
        return status_make(STATUS_MALFORMED,
                           "%s: the header is said to have %llu bytes in a file of %llu; it is damaged or not "
                           "safetensors",
                           file->path, (unsigned long long)header, (unsigned long long)size);
    char *text = NULL;
    TRY(ARENA_NEW(&file->arena, text, (size_t)header + 1));
    TRY(read_at(file, text, (size_t)header, 8));
    if (text[0] != '{')
        return status_make(STATUS_MALFORMED, "%s: the header does not start with '{'; it is damaged or not safetensors",
                           file->path);
    TRY(parse_header(file, text, (size_t)header));
    file->data_start = 8 + header;
    return check_ranges(file, size - 8 - header);
}

Status safetensors_open(const char *path, SafeFile *out_file) {
    *out_file = (SafeFile){.descriptor = -1};
    SafeFile *file = out_file;
    arena_init(&file->arena);
    char *copy = NULL;
    Status status = ARENA_COPY(&file->arena, copy, path, strlen(path));
    file->path = copy;
    if (status == STATUS_OK) status = open_and_parse(file);
    if (status != STATUS_OK) safetensors_close(file);
    return status;
}

void safetensors_close(SafeFile *file) {
    if (file->path && file->descriptor >= 0) close(file->descriptor);
    arena_free(&file->arena);
    *file = (SafeFile){.descriptor = -1};
}

const SafeTensor *safetensors_find(const SafeFile *file, const char *name) {
    if (!file->count) return NULL;
    int64_t at = name_index_find(&file->index, name);
    return at < 0 ? NULL : &file->tensor[at];
}

const char *safetensors_metadata(const SafeFile *file, const char *key) {
    const JsonValue *value = file->metadata ? json_get(file->metadata, key) : NULL;
    return value ? value->string : NULL;
}

bool safetensors_convertible(ElementType from, ElementType to) {
    return from == to || (element_is_real(from) && (to == ELEMENT_F32 || to == ELEMENT_F64));
}

Status safetensors_read(const SafeFile *file, const SafeTensor *tensor, ElementType type, void *to) {
    if (tensor->type == type)
        return read_at(file, to, (size_t)(tensor->end - tensor->begin), file->data_start + tensor->begin);
    if (!element_convertible(tensor->type, type))
        return status_make(STATUS_MISMATCH, "%s: tensor %s is %s and cannot be read as %s", file->path, tensor->name,
                           element_name(tensor->type), element_name(type));
    unsigned char *chunk = malloc(CONVERT_BYTES);
    if (!chunk) return status_make(STATUS_NO_MEMORY, "no memory to convert tensor %s of %s", tensor->name, file->path);
    size_t size = element_size(tensor->type), to_size = element_size(type);
    int64_t per_chunk = (int64_t)(CONVERT_BYTES / size), bad = 0;
    Status status = STATUS_OK;
    for (int64_t i = 0; i < tensor->elements && status == STATUS_OK; i += per_chunk) {
        int64_t n = tensor->elements - i < per_chunk ? tensor->elements - i : per_chunk;
        status = read_at(file, chunk, (size_t)n * size, file->data_start + tensor->begin + (uint64_t)i * size);
        if (status == STATUS_OK &&
            !element_convert(tensor->type, chunk, type, (char *)to + (size_t)i * to_size, n, &bad))
            status = status_make(STATUS_MISMATCH, "%s: element %lld of tensor %s does not fit %s", file->path,
                                 (long long)(i + bad), tensor->name, element_name(type));
    }
    free(chunk);
    return status;
}

static uint64_t entry_bytes(const SafeEntry *entry) {
    uint64_t bytes = element_size(entry->type);
    for (int d = 0; d < entry->rank; d++) bytes *= (uint64_t)entry->shape[d];
    return bytes;
}

// The header's text, padded with blanks so that the data starts at a multiple of 64.
static void write_header(JsonWriter *w, const SafeEntry *const *order, size_t count, const SafePair *metadata,
                         size_t pairs) {
    json_begin_object(w);
    if (pairs) {
        json_key(w, "__metadata__");
        json_begin_object(w);
        for (size_t i = 0; i < pairs; i++) {
            json_key(w, metadata[i].name);
            json_string(w, metadata[i].value);
        }
        json_end_object(w);
    }
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const SafeEntry *entry = order[i];
        json_key(w, entry->name);
        json_begin_object(w);
        json_key(w, "dtype");
        json_string(w, element_name(entry->type));
        json_key(w, "shape");
        json_begin_array(w);
        for (int d = 0; d < entry->rank; d++) json_integer(w, entry->shape[d]);
        json_end_array(w);
        json_key(w, "data_offsets");
        json_begin_array(w);
        json_integer(w, (int64_t)at);
        at += entry_bytes(entry);
        json_integer(w, (int64_t)at);
        json_end_array(w);
        json_end_object(w);
    }
    json_end_object(w);
    while ((w->text.length + 8) % ALIGNMENT && !w->text.failed) text_add(&w->text, " ");
}

static Status write_file(const char *path, const SafeEntry *const *order, size_t count, const Text *header) {
    AtomicFile file;
    TRY(atomic_open(&file, path));
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)header->length >> 8 * i);
    Status status = atomic_write(&file, length, 8);
    if (status == STATUS_OK) status = atomic_write(&file, header->data, header->length);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = atomic_write(&file, order[i]->data, (size_t)entry_bytes(order[i]));
    if (status == STATUS_OK) return atomic_commit(&file);
    atomic_abort(&file);
    return status;
}

Status safetensors_write(const char *path, const SafeEntry *entries, size_t count, const SafePair *metadata,
                         size_t pairs) {
    const SafeEntry **order = calloc(count + 1, sizeof *order);
    if (!order) return status_make(STATUS_NO_MEMORY, "no memory to write %s", path);
    size_t n = 0;
    for (size_t size = 8; size; size /= 2)
        for (size_t i = 0; i < count; i++)
            if (element_size(entries[i].type) == size) order[n++] = &entries[i];
    JsonWriter writer = json_writer(0);
    write_header(&writer, order, count, metadata, pairs);
    Status status = text_status(&writer.text);
    if (status == STATUS_OK) status = write_file(path, order, count, &writer.text);
    json_writer_free(&writer);
    free(order);
    return status;
}
