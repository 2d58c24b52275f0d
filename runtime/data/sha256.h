// sha256: the content hash that stores record for their inputs; the same number that `sha256sum` prints.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct Sha256 {
    uint32_t state[8];
    uint64_t length; // bytes so far
    unsigned char block[64];
} Sha256;

void sha256_start(Sha256 *hash);
void sha256_add(Sha256 *hash, const void *data, size_t size);
void sha256_finish(Sha256 *hash, char out_hex[65]); // 64 lower-case digits and '\0'

// Hash and size of a file, read in pieces.
MUST_USE Status sha256_file(const char *path, char out_hex[65], uint64_t *out_size);
