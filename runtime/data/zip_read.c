// zip_read: see zip_read.h. The directory at the end of the file is what counts; local headers only tell where the
// bytes begin.
#include "zip_read.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOCAL_SIZE = 30,
    CENTRAL_SIZE = 46,
    END_SIZE = 22,
    LOCATOR_SIZE = 20,
    END64_SIZE = 56,
    DEFLATE_MOST = 1032,   // bytes that one byte of deflate can become, at most
    BOMB_SIZE = 256 << 20, // contents above this size are unpacked only
    BOMB_RATIO = 100,      // up to this ratio
};

static uint32_t u16(const unsigned char *p) {
    return (uint32_t)(p[0] | p[1] << 8);
}

static uint32_t u32(const unsigned char *p) {
    return u16(p) | u16(p + 2) << 16;
}

static uint64_t u64(const unsigned char *p) {
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

static Status bad_zip(const ZipFile *zip, uint64_t at, const char *what) {
    return status_make(STATUS_MALFORMED, "%s, byte %llu: %s; the archive is damaged: copy the file again", zip->path,
                       (unsigned long long)at, what);
}

static Status bad_entry(const ZipFile *zip, const ZipEntry *entry, const char *what) {
    char shown[QUOTED_TEXT];
    return status_make(STATUS_MALFORMED, "%s: entry %s: %s; the archive is damaged: copy the file again", zip->path,
                       quoted(entry->name, strlen(entry->name), shown), what);
}

static Status unsupported(const ZipFile *zip, const ZipEntry *entry, const char *what) {
    char shown[QUOTED_TEXT];
    return status_make(STATUS_UNSUPPORTED, "%s: entry %s is %s; read are stored and deflated entries", zip->path,
                       quoted(entry->name, strlen(entry->name), shown), what);
}

bool zip_recognised(const unsigned char *data, size_t size) {
    return size >= 4 && data[0] == 'P' && data[1] == 'K' &&
           ((data[2] == 3 && data[3] == 4) || (data[2] == 5 && data[3] == 6));
}

typedef struct Directory {
    uint64_t at, size, entries;
} Directory;

static Status find_directory(const ZipFile *zip, Directory *out) {
    if (zip->size < END_SIZE) return bad_zip(zip, 0, "it is too short for a zip archive");
    size_t furthest = zip->size > END_SIZE + 65535 ? zip->size - END_SIZE - 65535 : 0;
    size_t end = zip->size - END_SIZE;
    while (u32(zip->data + end) != 0x06054b50u || end + END_SIZE + u16(zip->data + end + 20) != zip->size) {
        if (end == furthest)
            return bad_zip(zip, zip->size, "the archive's directory, which ends a zip file, is not there");
        end--;
    }
    const unsigned char *p = zip->data + end;
    *out = (Directory){.entries = u16(p + 10), .size = u32(p + 12), .at = u32(p + 16)};
    uint64_t disk = u16(p + 4), disk_of_directory = u16(p + 6), on_disk = u16(p + 8), limit = end;
    bool wide = out->entries == 0xFFFF || out->size == 0xFFFFFFFFu || out->at == 0xFFFFFFFFu;
    if (wide && end >= LOCATOR_SIZE && u32(p - LOCATOR_SIZE) == 0x07064b50u) {
        uint64_t at = u64(p - LOCATOR_SIZE + 8);
        if (end < LOCATOR_SIZE + END64_SIZE || at > end - LOCATOR_SIZE - END64_SIZE ||
            u32(zip->data + at) != 0x06064b50u)
            return bad_zip(zip, end - LOCATOR_SIZE, "the zip64 directory is not where it should be");
        const unsigned char *q = zip->data + at;
        disk = u32(q + 16), disk_of_directory = u32(q + 20), on_disk = u64(q + 24);
        *out = (Directory){.entries = u64(q + 32), .size = u64(q + 40), .at = u64(q + 48)};
        limit = at;
    }
    if (disk != 0 || disk_of_directory != 0 || on_disk != out->entries)
        return bad_zip(zip, end, "it says that it is one of several parts");
    if (out->at > limit || out->size > limit - out->at) return bad_zip(zip, end, "its directory lies outside the file");
    if (out->entries > out->size / CENTRAL_SIZE)
        return bad_zip(zip, end, "its directory is said to have more entries than its bytes can hold");
    return STATUS_OK;
}

// Sizes and place above 4 GiB stand in an extra field, in this order, each only where the short one is all ones.
static bool read_wide(const unsigned char *extra, size_t length, ZipEntry *entry, uint64_t *local) {
    bool wide_size = entry->size == 0xFFFFFFFFu, wide_packed = entry->packed == 0xFFFFFFFFu;
    bool wide_local = *local == 0xFFFFFFFFu;
    if (!wide_size && !wide_packed && !wide_local) return true;
    while (length >= 4) {
        size_t part = u16(extra + 2);
        if (part > length - 4) return false;
        if (u16(extra) == 1) {
            const unsigned char *p = extra + 4, *end = p + part;
            uint64_t *fields[] = {wide_size ? &entry->size : NULL, wide_packed ? &entry->packed : NULL,
                                  wide_local ? local : NULL};
            for (int i = 0; i < 3; i++) {
                if (!fields[i]) continue;
                if (end - p < 8) return false;
                *fields[i] = u64(p);
                p += 8;
            }
            return true;
        }
        extra += 4 + part;
        length -= 4 + part;
    }
    return true; // exactly 4 GiB - 1: then the ranges below tell
}

static Status check_entry(const ZipFile *zip, const Directory *directory, ZipEntry *entry, uint64_t local,
                          uint32_t flags, uint32_t method, size_t name_length) {
    if (flags & 0x2041) return unsupported(zip, entry, "encrypted");
    if (method == 93 || method == 14 || method == 12)
        return unsupported(zip, entry,
                           method == 93   ? "packed with zstd"
                           : method == 14 ? "packed with LZMA"
                                          : "packed with bzip2");
    if (method != 0 && method != 8) return unsupported(zip, entry, "packed with a method that is neither of these");
    entry->deflated = method == 8;
    if (local > directory->at || directory->at - local < LOCAL_SIZE || u32(zip->data + local) != 0x04034b50u)
        return bad_entry(zip, entry, "there is no header where the directory says it is");
    const unsigned char *header = zip->data + local;
    uint64_t skip = LOCAL_SIZE + (uint64_t)u16(header + 26) + u16(header + 28);
    if (u16(header + 26) != name_length || skip > directory->at - local ||
        memcmp(header + LOCAL_SIZE, entry->name, name_length) != 0)
        return bad_entry(zip, entry, "its header has another name than the directory");
    entry->at = local + skip;
    if (entry->packed > directory->at - entry->at) return bad_entry(zip, entry, "its bytes lie outside the file");
    if (!entry->deflated && entry->packed != entry->size)
        return bad_entry(zip, entry, "it is stored and has two different sizes");
    if (entry->deflated && entry->size / DEFLATE_MOST > entry->packed)
        return bad_entry(zip, entry,
                         "it is said to become more than 1,032 times its packed size, which deflate cannot do");
    return STATUS_OK;
}

typedef struct Range {
    uint64_t begin, end;
    size_t entry;
} Range;

static int by_begin(const void *a, const void *b) {
    const Range *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static Status check_overlap(ZipFile *zip, Range *range) {
    if (zip->count) qsort(range, zip->count, sizeof *range, by_begin);
    for (size_t i = 1; i < zip->count; i++)
        if (range[i].begin < range[i - 1].end)
            return bad_entry(zip, &zip->entry[range[i].entry], "its bytes overlap another entry's");
    return STATUS_OK;
}

static Status read_directory(ZipFile *zip) {
    Directory directory = {0};
    TRY(find_directory(zip, &directory));
    Range *range = NULL;
    TRY(ARENA_NEW(&zip->arena, zip->entry, (size_t)directory.entries + 1));
    TRY(ARENA_NEW(&zip->arena, range, (size_t)directory.entries + 1));
    TRY(name_index_init(&zip->index, &zip->arena, (size_t)directory.entries));
    uint64_t at = directory.at, end = directory.at + directory.size;
    for (uint64_t i = 0; i < directory.entries; i++) {
        const unsigned char *p = zip->data + at;
        if (end - at < CENTRAL_SIZE || u32(p) != 0x02014b50u)
            return bad_zip(zip, at, "an entry of the directory is missing");
        size_t name_length = u16(p + 28), extra = u16(p + 30), comment = u16(p + 32);
        if (end - at - CENTRAL_SIZE < name_length + extra + comment)
            return bad_zip(zip, at, "an entry of the directory is cut off");
        if (memchr(p + CENTRAL_SIZE, 0, name_length)) return bad_zip(zip, at, "the name of an entry holds a zero byte");
        char *name = NULL;
        TRY(ARENA_COPY(&zip->arena, name, (const char *)p + CENTRAL_SIZE, name_length));
        ZipEntry *entry = &zip->entry[zip->count];
        *entry = (ZipEntry){.name = name, .crc = u32(p + 16), .packed = u32(p + 20), .size = u32(p + 24)};
        uint64_t local = u32(p + 42);
        if (!read_wide(p + CENTRAL_SIZE + name_length, extra, entry, &local))
            return bad_entry(zip, entry, "its zip64 field is too short");
        TRY(check_entry(zip, &directory, entry, local, u16(p + 8), u16(p + 10), name_length));
        range[zip->count] = (Range){local, entry->at + entry->packed, zip->count};
        if (name_index_add(&zip->index, name, (int64_t)zip->count) >= 0)
            return bad_entry(zip, entry, "it occurs twice");
        zip->count++;
        at += CENTRAL_SIZE + name_length + extra + comment;
    }
    return check_overlap(zip, range);
}

Status zip_open(const char *path, const unsigned char *data, size_t size, ZipFile *out_zip) {
    *out_zip = (ZipFile){.path = path, .data = data, .size = size};
    arena_init(&out_zip->arena);
    Status status = read_directory(out_zip);
    if (status != STATUS_OK) zip_close(out_zip);
    return status;
}

void zip_close(ZipFile *zip) {
    arena_free(&zip->arena);
    *zip = (ZipFile){0};
}

const ZipEntry *zip_find(const ZipFile *zip, const char *name) {
    if (!zip->count) return NULL;
    int64_t at = name_index_find(&zip->index, name);
    return at < 0 ? NULL : &zip->entry[at];
}

static Status inflate_entry(const ZipFile *zip, const ZipEntry *entry, void **out_owned) {
    void *block = malloc((size_t)entry->size + 1);
    struct libdeflate_decompressor *decoder = libdeflate_alloc_decompressor();
    Status status = STATUS_OK;
    if (!block || !decoder) {
        status = status_make(STATUS_NO_MEMORY, "no memory for the %llu bytes of entry %s of %s",
                             (unsigned long long)entry->size, entry->name, zip->path);
    } else if (libdeflate_deflate_decompress(decoder, zip->data + entry->at, (size_t)entry->packed, block,
                                             (size_t)entry->size, NULL) != LIBDEFLATE_SUCCESS) {
        status = bad_entry(zip, entry, "its packed bytes do not unpack to the size given");
    }
    if (decoder) libdeflate_free_decompressor(decoder);
    if (status == STATUS_OK) *out_owned = block;
    else free(block);
    return status;
}

Status zip_content(const ZipFile *zip, const ZipEntry *entry, uint64_t limit, const unsigned char **out_data,
                   void **out_owned) {
    *out_data = NULL, *out_owned = NULL;
    if (entry->size > limit)
        return status_make(STATUS_NO_MEMORY, "%s: entry %s has %llu bytes; at most %llu are read here", zip->path,
                           entry->name, (unsigned long long)entry->size, (unsigned long long)limit);
    if (entry->deflated && entry->size > BOMB_SIZE && entry->size / BOMB_RATIO > entry->packed)
        return status_make(
            STATUS_NO_MEMORY,
            "%s: entry %s would unpack from %llu to %llu bytes, more than %d times; if this is meant, store "
            "the entry without compression",
            zip->path, entry->name, (unsigned long long)entry->packed, (unsigned long long)entry->size, BOMB_RATIO);
    if (entry->deflated) TRY(inflate_entry(zip, entry, out_owned));
    *out_data = *out_owned ? *out_owned : zip->data + entry->at;
    if (entry->crc == 0 || libdeflate_crc32(0, *out_data, (size_t)entry->size) == entry->crc) return STATUS_OK;
    free(*out_owned);
    *out_data = NULL, *out_owned = NULL;
    return bad_entry(zip, entry, "its bytes do not match their checksum");
}
