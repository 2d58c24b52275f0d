// npy_write: NPY and NPZ files; see npy.h. An NPZ is a zip whose entries are stored; sizes stand in zip64 fields only
// where they need them, and all times are 1980-01-01, so that the same arrays give the same file.
#include "npy_write.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"

enum { ALIGNMENT = 64, LOCAL_SIZE = 30 };

static const char *const dtype_names[] = {
    // in the order of ElementType; NumPy has no BF16
    "|b1", "|u1", "|i1", "<i2", "<u2", "<f2", NULL, "<i4", "<u4", "<f4", "<f8", "<i8", "<u8",
};
_Static_assert(sizeof dtype_names / sizeof *dtype_names == ELEMENT_TYPES, "one name a type");

// The next character of UTF-8 text; -1: no UTF-8.
static int64_t next_code(const unsigned char **p) {
    const unsigned char *s = *p;
    int more = *s < 0x80 ? 0 : (*s & 0xE0) == 0xC0 ? 1 : (*s & 0xF0) == 0xE0 ? 2 : (*s & 0xF8) == 0xF0 ? 3 : -1;
    if (more < 0) return -1;
    int64_t code = more == 0 ? *s : *s & (0x3F >> more);
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xC0) != 0x80) return -1;
        code = code << 6 | (s[i] & 0x3F);
    }
    *p = s + more + 1;
    return code;
}

// Texts as UTF-32 of equal width; *out_width: characters.
static Status encode_texts(const char *path, const NpyArray *array, size_t count, NpyBytes *bytes, size_t *out_width) {
    size_t width = 1; // NumPy has no texts of width 0
    for (size_t i = 0; i < count; i++) {
        size_t n = 0;
        if (!valid_utf8(array->text[i], strlen(array->text[i])))
            return status_make(STATUS_INVALID, "cannot write %s: text %zu is not UTF-8", path, i);
        for (const unsigned char *p = (const unsigned char *)array->text[i]; *p; n++)
            if (next_code(&p) < 0)
                return status_make(STATUS_INVALID, "cannot write %s: text %zu is not UTF-8", path, i);
        if (n > width) width = n;
    }
    if (__builtin_mul_overflow(count, width * 4, &bytes->size) || !(bytes->texts = calloc(1, bytes->size + 1)))
        return status_make(STATUS_NO_MEMORY, "no memory for %zu texts of %zu characters to write %s", count, width,
                           path);
    for (size_t i = 0; i < count; i++) {
        unsigned char *to = (unsigned char *)bytes->texts + i * width * 4;
        for (const unsigned char *p = (const unsigned char *)array->text[i]; *p; to += 4) {
            uint32_t code = (uint32_t)next_code(&p);
            memcpy(to, &code, 4);
        }
    }
    bytes->data = bytes->texts;
    *out_width = width;
    return STATUS_OK;
}

static Status write_header(const NpyArray *array, size_t width, Text *header) {
    Text dict = {0};
    if (array->text) text_printf(&dict, "{'descr': '<U%zu', 'fortran_order': False, 'shape': (", width);
    else text_printf(&dict, "{'descr': '%s', 'fortran_order': False, 'shape': (", dtype_names[array->type]);
    for (int d = 0; d < array->rank; d++)
        text_printf(&dict, d ? " %lld%s" : "%lld%s", (long long)array->shape[d],
                    d + 1 < array->rank || d == 0 ? "," : "");
    text_add(&dict, "), }");
    size_t length = (10 + dict.length + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - 10;
    char start[10] = {(char)0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (char)(length & 255), (char)(length >> 8)};
    text_append(header, start, sizeof start);
    text_append(header, text_string(&dict), dict.length);
    while (header->length < 10 + length - 1 && !header->failed) text_add(header, " ");
    text_add(header, "\n");
    Status status = dict.failed ? text_status(&dict) : text_status(header);
    text_free(&dict);
    return status;
}

Status npy_bytes(const char *path, const NpyArray *array, NpyBytes *out_bytes) {
    *out_bytes = (NpyBytes){.data = array->data};
    if (array->rank < 0 || array->rank > ELEMENT_MAX_RANK)
        return status_make(STATUS_INVALID, "cannot write %s: an array has %d dimensions; at most 16 are written", path,
                           array->rank);
    if (!array->text && !dtype_names[array->type])
        return status_make(STATUS_UNSUPPORTED, "cannot write %s: NumPy has no %s; write F32", path,
                           element_name(array->type));
    size_t count = 1, width = 0;
    for (int d = 0; d < array->rank; d++)
        if (array->shape[d] < 0 || __builtin_mul_overflow(count, (size_t)array->shape[d], &count))
            return status_make(STATUS_INVALID, "cannot write %s: the shape of an array is negative or too large", path);
    if (array->text) TRY(encode_texts(path, array, count, out_bytes, &width));
    else if (__builtin_mul_overflow(count, element_size(array->type), &out_bytes->size))
        return status_make(STATUS_INVALID, "cannot write %s: the shape of an array is too large", path);
    return write_header(array, width, &out_bytes->header);
}

void npy_bytes_free(NpyBytes *bytes) {
    text_free(&bytes->header);
    free(bytes->texts);
    *bytes = (NpyBytes){0};
}

Status npy_write(const char *path, const NpyArray *array) {
    NpyBytes bytes;
    AtomicFile file;
    Status status = npy_bytes(path, array, &bytes);
    if (status == STATUS_OK) status = atomic_open(&file, path);
    if (status != STATUS_OK) {
        npy_bytes_free(&bytes);
        return status;
    }
    status = atomic_write(&file, bytes.header.data, bytes.header.length);
    if (status == STATUS_OK && bytes.size) status = atomic_write(&file, bytes.data, bytes.size);
    npy_bytes_free(&bytes);
    if (status == STATUS_OK) return atomic_commit(&file);
    atomic_abort(&file);
    return status;
}

// ---- NPZ
// ---------------------------------------------------------------------------------------------------------------

typedef struct ZipWriter {
    AtomicFile file;
    uint64_t at;
    Text directory;
    size_t entries;
} ZipWriter;

static void put(Text *text, uint64_t number, int bytes) {
    char little[8];
    for (int i = 0; i < bytes; i++) little[i] = (char)(number >> 8 * i);
    text_append(text, little, (size_t)bytes);
}

static uint64_t capped(uint64_t number) {
    return number < 0xFFFFFFFFu ? number : 0xFFFFFFFFu;
}

static Status emit(ZipWriter *zip, const void *data, size_t size) {
    zip->at += size;
    return size ? atomic_write(&zip->file, data, size) : STATUS_OK;
}

// What local header and directory share: from "version needed" to the sizes.
static void put_common(Text *text, uint32_t crc, uint64_t size, bool wide) {
    put(text, wide ? 45 : 20, 2);
    put(text, 0x800, 2); // the name is UTF-8
    put(text, 0, 2);     // stored
    put(text, 0, 2);
    put(text, 0x21, 2); // 1980-01-01
    put(text, crc, 4);
    put(text, capped(size), 4);
    put(text, capped(size), 4);
}

static Status add_entry(ZipWriter *zip, const char *name, const NpyBytes *bytes) {
    uint64_t size = bytes->header.length + bytes->size, local = zip->at;
    uint32_t crc = libdeflate_crc32(0, bytes->header.data, bytes->header.length);
    if (bytes->size) crc = libdeflate_crc32(crc, bytes->data, bytes->size);
    bool wide = size >= 0xFFFFFFFFu, far = local >= 0xFFFFFFFFu;
    size_t name_length = strlen(name) + 4;
    Text header = {0}, *directory = &zip->directory;
    put(&header, 0x04034b50u, 4);
    put_common(&header, crc, size, wide);
    put(&header, name_length, 2);
    put(&header, wide ? 20 : 0, 2);
    text_printf(&header, "%s.npy", name);
    if (wide) put(&header, 1, 2), put(&header, 16, 2), put(&header, size, 8), put(&header, size, 8);

    size_t extra = (wide ? 16u : 0u) + (far ? 8u : 0u);
    put(directory, 0x02014b50u, 4);
    put(directory, 45, 2);
    put_common(directory, crc, size, wide || far);
    put(directory, name_length, 2);
    put(directory, extra ? extra + 4 : 0, 2);
    put(directory, 0, 2); // comment
    put(directory, 0, 2); // disk
    put(directory, 0, 2); // attributes
    put(directory, 0, 4);
    put(directory, capped(local), 4);
    text_printf(directory, "%s.npy", name);
    if (extra) put(directory, 1, 2), put(directory, extra, 2);
    if (wide) put(directory, size, 8), put(directory, size, 8);
    if (far) put(directory, local, 8);
    zip->entries++;
    Status status = text_status(&header);
    if (status == STATUS_OK) status = emit(zip, header.data, header.length);
    text_free(&header);
    TRY(status);
    TRY(emit(zip, bytes->header.data, bytes->header.length));
    return emit(zip, bytes->data, bytes->size);
}

static Status end_archive(ZipWriter *zip) {
    uint64_t start = zip->at, size = zip->directory.length, count = zip->entries;
    Text *text = &zip->directory;
    bool wide = start >= 0xFFFFFFFFu || size >= 0xFFFFFFFFu || count >= 0xFFFF;
    if (wide) {
        put(text, 0x06064b50u, 4), put(text, 44, 8), put(text, 45, 2), put(text, 45, 2);
        put(text, 0, 4), put(text, 0, 4), put(text, count, 8), put(text, count, 8);
        put(text, size, 8), put(text, start, 8);
        put(text, 0x07064b50u, 4), put(text, 0, 4), put(text, start + size, 8), put(text, 1, 4);
    }
    uint64_t shown = wide ? 0xFFFF : count;
    put(text, 0x06054b50u, 4), put(text, 0, 2), put(text, 0, 2), put(text, shown, 2), put(text, shown, 2);
    put(text, wide ? 0xFFFFFFFFu : size, 4), put(text, wide ? 0xFFFFFFFFu : start, 4), put(text, 0, 2);
    TRY(text_status(text));
    return emit(zip, text->data, text->length);
}

static Status check_names(const char *path, const NpyArray *arrays, size_t count) {
    Arena arena;
    NameIndex index;
    arena_init(&arena);
    Status status = name_index_init(&index, &arena, count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        size_t length = strlen(arrays[i].name);
        if (!length || length > 60000 || !valid_utf8(arrays[i].name, length))
            status = status_make(STATUS_INVALID,
                                 "cannot write %s: the name of array %zu is empty, too long or not UTF-8", path, i);
        else if (name_index_add(&index, arrays[i].name, 0) >= 0)
            status = status_make(STATUS_INVALID, "cannot write %s: two arrays are named %s", path, arrays[i].name);
    }
    arena_free(&arena);
    return status;
}

Status npz_write(const char *path, const NpyArray *arrays, size_t count) {
    ZipWriter zip = {0};
    TRY(check_names(path, arrays, count));
    TRY(atomic_open(&zip.file, path));
    Status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        NpyBytes bytes;
        status = npy_bytes(path, &arrays[i], &bytes);
        if (status == STATUS_OK) status = add_entry(&zip, arrays[i].name, &bytes);
        npy_bytes_free(&bytes);
    }
    if (status == STATUS_OK) status = end_archive(&zip);
    text_free(&zip.directory);
    if (status == STATUS_OK) return atomic_commit(&zip.file);
    atomic_abort(&zip.file);
    return status;
}
