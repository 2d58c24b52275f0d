// zip_read: entries of a zip archive, with or without zip64, stored or deflated: what torch and NumPy write.
//
// The archive is mapped; stored entries are used in place. Before anything is read, every entry is checked: it lies
// inside the file, overlaps no other, its local header repeats its name, and no deflated entry claims to become more
// than deflate can produce from its bytes. Encrypted and multi-part archives and other methods are refused by name.
// Checksums are compared when an entry is read, unless the recorded one is 0 (torch can be told not to compute them).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/status.h"
#include "../core/strings.h"

typedef struct ZipEntry {
    const char *name; // ends in '\0'; has none inside
    bool deflated;
    uint32_t crc;
    uint64_t packed, size; // bytes in the file, bytes of content
    uint64_t at;           // of the packed bytes, from the start of the file
} ZipEntry;

typedef struct ZipFile {
    const char *path; // for messages
    const unsigned char *data;
    size_t size;
    ZipEntry *entry; // [count] in the order of the directory
    size_t count;
    NameIndex index;
    Arena arena;
} ZipFile;

bool zip_recognised(const unsigned char *data, size_t size); // begins like an archive

// data[0 .. size) and path must outlive the ZipFile.
MUST_USE Status zip_open(const char *path, const unsigned char *data, size_t size, ZipFile *out_zip);
void zip_close(ZipFile *zip); // harmless on a zeroed or closed one
const ZipEntry *zip_find(const ZipFile *zip, const char *name);

// The content: *out_data points into the file (stored; *out_owned NULL) or to a new block *out_owned, to be given to
// free(). Contents above `limit` bytes are refused before any memory is taken.
MUST_USE Status zip_content(const ZipFile *zip, const ZipEntry *entry, uint64_t limit, const unsigned char **out_data,
                            void **out_owned);
