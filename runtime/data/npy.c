// npy: reading and writing one array; see npy.h. The header is a Python dict of three members, read by a parser of its
// own that knows text, True, False and tuples of whole numbers.
#include "npy.h"

#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "npy_write.h"

enum { LONGEST_HEADER = 1 << 20, MAGIC = 6, ALIGNMENT = 64 };

static const unsigned char magic[MAGIC] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

bool npy_recognised(const unsigned char *data, size_t size) {
    return size >= MAGIC && memcmp(data, magic, MAGIC) == 0;
}

// ---- the header --------------------------------------------------------------------------------------------------

typedef struct Header {
    const char *name; // of the file
    const char *text;
    size_t size, at;
    bool has_descr, has_order, has_shape, fortran;
    PickleView *view;
} Header;

static Status bad_header(const Header *h, const char *what) {
    return status_make(STATUS_MALFORMED, "%s: its NPY header, character %zu: %s; the file is damaged", h->name, h->at,
                       what);
}

static bool skip(Header *h, char c) {
    while (h->at < h->size && (h->text[h->at] == ' ' || h->text[h->at] == '\n')) h->at++;
    if (h->at == h->size || h->text[h->at] != c) return false;
    h->at++;
    return true;
}

static bool word(Header *h, const char *text) {
    skip(h, '\0'); // blanks
    size_t length = strlen(text);
    if (h->size - h->at < length || memcmp(h->text + h->at, text, length) != 0) return false;
    h->at += length;
    return true;
}

static bool string(Header *h, const char **out, size_t *out_length) {
    char quote = '\'';
    if (!skip(h, quote)) {
        quote = '"';
        if (!skip(h, quote)) return false;
    }
    const char *start = h->text + h->at, *end = memchr(start, quote, h->size - h->at);
    if (!end) return false;
    *out = start;
    *out_length = (size_t)(end - start);
    h->at += *out_length + 1;
    return true;
}

static Status read_descr(Header *h) {
    const char *text = NULL;
    size_t length = 0;
    char shown[QUOTED_TEXT];
    if (skip(h, '['))
        return status_make(STATUS_UNSUPPORTED, "%s: its dtype is a record; records are not read: save each field apart",
                           h->name);
    if (!string(h, &text, &length) || length < 2) return bad_header(h, "no dtype stands behind 'descr'");
    if (!strchr("<>|=", text[0])) return bad_header(h, "its dtype has no byte order");
    const char *wrong = view_dtype(text + 1, length - 1, h->view);
    if (wrong) return status_make(STATUS_UNSUPPORTED, "%s: dtype %s: %s", h->name, quoted(text, length, shown), wrong);
    if (text[0] == '>' && (h->view->is_text ? !h->view->text_bytes : element_size(h->view->type) > 1))
        return status_make(STATUS_UNSUPPORTED, "%s is big-endian (dtype %s); save it with dtype '<%.*s'", h->name,
                           quoted(text, length, shown), (int)length - 1, text + 1);
    h->has_descr = true;
    return STATUS_OK;
}

static Status read_shape(Header *h) {
    if (!skip(h, '(')) return bad_header(h, "no tuple stands behind 'shape'");
    while (!skip(h, ')')) {
        size_t start = h->at;
        while (h->at < h->size && h->text[h->at] >= '0' && h->text[h->at] <= '9') h->at++;
        int64_t extent = 0;
        if (h->at == start || !parse_i64(h->text + start, h->at - start, &extent))
            return bad_header(h, "an extent of its shape is no whole number");
        if (h->view->rank == ELEMENT_MAX_RANK) return bad_header(h, "it has more than 16 dimensions");
        h->view->shape[h->view->rank++] = extent;
        if (h->at < h->size && h->text[h->at] == 'L') h->at++; // as Python 2 wrote
        if (!skip(h, ',') && (h->at == h->size || h->text[h->at] != ')'))
            return bad_header(h, "its shape does not end");
    }
    h->has_shape = true;
    return STATUS_OK;
}

static Status read_header(Header *h) {
    if (!skip(h, '{')) return bad_header(h, "it is no dict");
    while (!skip(h, '}')) {
        const char *key = NULL;
        size_t length = 0;
        if (!string(h, &key, &length) || !skip(h, ':')) return bad_header(h, "a key in quotes and ':' are missing");
        if (length == 5 && memcmp(key, "descr", 5) == 0 && !h->has_descr) {
            TRY(read_descr(h));
        } else if (length == 5 && memcmp(key, "shape", 5) == 0 && !h->has_shape) {
            TRY(read_shape(h));
        } else if (length == 13 && memcmp(key, "fortran_order", 13) == 0 && !h->has_order) {
            h->fortran = word(h, "True");
            if (!h->fortran && !word(h, "False")) return bad_header(h, "its order is neither True nor False");
            h->has_order = true;
        } else {
            return bad_header(h, "a key is none of descr, fortran_order, shape, or stands twice");
        }
        skip(h, ',');
    }
    if (h->has_descr && h->has_order && h->has_shape) return STATUS_OK;
    return bad_header(h, "one of descr, fortran_order, shape is missing");
}

Status npy_parse(const char *name, const unsigned char *data, size_t size, PickleView *out_view,
                 PickleStorage *out_storage) {
    *out_view = (PickleView){.storage = out_storage};
    *out_storage = (PickleStorage){.key = ""};
    if (!npy_recognised(data, size) || size < 10)
        return status_make(STATUS_MALFORMED, "%s does not begin as an NPY file", name);
    int version = data[6];
    if (version < 1 || version > 3)
        return status_make(STATUS_UNSUPPORTED, "%s is NPY of version %d.%d; read are 1, 2 and 3", name, version,
                           data[7]);
    size_t start = version == 1 ? 10 : 12;
    uint64_t length = (uint64_t)(data[8] | data[9] << 8);
    if (version > 1 && size >= start) length |= (uint64_t)data[10] << 16 | (uint64_t)data[11] << 24;
    if (size < start || length > size - start || length > LONGEST_HEADER)
        return status_make(STATUS_MALFORMED,
                           "%s: its header is said to have %llu bytes in a file of %zu; it is cut off or "
                           "damaged",
                           name, (unsigned long long)length, size);
    Header header = {.name = name, .text = (const char *)data + start, .size = (size_t)length, .view = out_view};
    TRY(read_header(&header));
    size_t item = view_item_size(out_view), left = size - start - (size_t)length;
    out_storage->type = out_view->type;
    out_storage->count = item ? left / item : 0;
    out_storage->data = data + start + length;
    view_strides(out_view, header.fortran);
    const char *wrong = view_check(out_view);
    if (wrong || (uint64_t)out_view->elements * item != left)
        return status_make(STATUS_MALFORMED,
                           "%s: dtype and shape need another size than the %zu bytes behind its header; it "
                           "is cut off or damaged",
                           name, left);
    return STATUS_OK;
}

// ---- files ---------------------------------------------------------------------------------------------------------

Status npy_open(const char *path, NpyFile *out_file) {
    *out_file = (NpyFile){0};
    arena_init(&out_file->arena);
    char *copy = NULL;
    Status status = ARENA_COPY(&out_file->arena, copy, path, strlen(path));
    out_file->path = copy;
    if (status == STATUS_OK) status = mapped_open(path, &out_file->map);
    if (status == STATUS_OK)
        status = npy_parse(out_file->path, out_file->map.data, out_file->map.size, &out_file->view, &out_file->storage);
    if (status != STATUS_OK) npy_close(out_file);
    return status;
}

void npy_close(NpyFile *file) {
    mapped_close(&file->map);
    arena_free(&file->arena);
    *file = (NpyFile){0};
}

Status npy_read(const NpyFile *file, ElementType type, void *to) {
    return view_read(&file->view, file->path, type, to);
}

Status npy_texts(const NpyFile *file, Arena *arena, char ***out_texts) {
    return view_texts(&file->view, file->path, arena, out_texts);
}
