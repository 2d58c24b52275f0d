// image: see image.h.
#include "image.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { HEADER = 64, MODULE_ROW = 48, FUNCTION_ROW = 8, CUBIN = 1, PTX = 2 };
enum { MOST_UNPACKED = 1 << 30 }; // bytes; a larger module is damage

static uint32_t get32(const unsigned char *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get64(const unsigned char *at) {
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

typedef struct Row { // of the module table
    uint32_t kind, arch, shard, crc;
    uint64_t at, packed, unpacked;
} Row;

static Row module_row(const CudaImage *image, uint32_t index) {
    const unsigned char *at = image->bytes + image->module_at + (uint64_t)index * MODULE_ROW;
    return (Row){get32(at),      get32(at + 4),  get32(at + 8), get32(at + 12),
                 get64(at + 16), get64(at + 24), get64(at + 32)};
}

static Status damaged(const char *what) {
    return status_make(STATUS_MALFORMED, "the CUDA code in this executable is damaged: %s; compile it again", what);
}

static bool inside(const CudaImage *image, uint64_t at, uint64_t size) {
    return at <= image->size && size <= image->size - at;
}

static Status check_tables(const CudaImage *image) {
    for (uint32_t i = 0; i < image->modules; i++) {
        Row row = module_row(image, i);
        if (row.kind != CUBIN && row.kind != PTX) return damaged("a module is neither a cubin nor PTX");
        if (!inside(image, row.at, row.packed) || row.unpacked > MOST_UNPACKED || row.unpacked == 0)
            return damaged("a module is outside the image");
        if (row.shard >= image->shards) return damaged("a module's number is out of range");
    }
    const unsigned char *names = image->bytes + image->names_at;
    if (image->names_size && names[image->names_size - 1] != '\0') return damaged("the names do not end");
    for (uint32_t i = 0; i < image->functions; i++) {
        const unsigned char *at = image->bytes + image->function_at + (uint64_t)i * FUNCTION_ROW;
        if (get32(at) >= image->names_size || get32(at + 4) >= image->shards)
            return damaged("a function is outside the tables");
    }
    return STATUS_OK;
}

Status cuda_image_open(const unsigned char *bytes, size_t size, CudaImage *image) {
    *image = (CudaImage){.bytes = bytes, .size = size};
    if (size < HEADER || memcmp(bytes, "STMCUDA1", 8) != 0) return damaged("its first bytes are not STMCUDA1");
    if (get64(bytes + 8) != size) return damaged("its size is not the one that it states");
    image->modules = get32(bytes + 16);
    image->functions = get32(bytes + 20);
    image->module_at = get64(bytes + 24);
    image->function_at = get64(bytes + 32);
    image->names_at = get64(bytes + 40);
    image->names_size = get64(bytes + 48);
    image->shards = get32(bytes + 60);
    if (image->functions == 0) return STATUS_OK; // a header alone
    if (!inside(image, image->module_at, (uint64_t)image->modules * MODULE_ROW) ||
        !inside(image, image->function_at, (uint64_t)image->functions * FUNCTION_ROW) ||
        !inside(image, image->names_at, image->names_size) || image->names_at < image->module_at)
        return damaged("its tables are outside it");
    uint64_t end = image->names_at + image->names_size;
    if ((uint32_t)crc32_z(0, bytes + image->module_at, end - image->module_at) != get32(bytes + 56))
        return damaged("the checksum of its tables is wrong");
    return check_tables(image);
}

bool cuda_image_choose(const CudaImage *image, int capability, CudaImageChoice *choice) {
    int cubin = -1, ptx = -1;
    for (uint32_t i = 0; i < image->modules; i++) {
        Row row = module_row(image, i);
        int arch = (int)row.arch;
        if (arch > capability) continue;
        if (row.kind == CUBIN && arch / 10 == capability / 10 && arch > cubin) cubin = arch;
        if (row.kind == PTX && arch > ptx) ptx = arch;
    }
    *choice = (CudaImageChoice){.ptx = cubin < 0, .arch = cubin >= 0 ? cubin : ptx};
    return cubin >= 0 || ptx >= 0 || image->functions == 0;
}

void cuda_image_archs(const CudaImage *image, Text *text) {
    int64_t last = -1;
    for (uint32_t i = 0; i < image->modules; i++) { // by kind, then architecture
        Row row = module_row(image, i);
        int64_t key = (int64_t)row.kind * 1000000 + row.arch;
        if (key == last) continue;
        text_add(text, text->length ? ", " : "");
        if (row.kind == CUBIN) text_printf(text, "sm_%u", row.arch);
        else text_printf(text, "PTX of %u.%u", row.arch / 10, row.arch % 10);
        last = key;
    }
    if (last < 0) text_add(text, "nothing");
}

int cuda_image_shard(const CudaImage *image, const char *function) {
    uint32_t low = 0, high = image->functions;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const unsigned char *at = image->bytes + image->function_at + (uint64_t)middle * FUNCTION_ROW;
        int order = strcmp(function, (const char *)image->bytes + image->names_at + get32(at));
        if (order == 0) return (int)get32(at + 4);
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return -1;
}

Status cuda_image_module(const CudaImage *image, CudaImageChoice choice, int shard, unsigned char **out) {
    *out = NULL;
    for (uint32_t i = 0; i < image->modules; i++) {
        Row row = module_row(image, i);
        if ((row.kind == PTX) != choice.ptx || (int)row.arch != choice.arch || (int)row.shard != shard) continue;
        unsigned char *bytes = malloc(row.unpacked + 1);
        if (!bytes) return status_make(STATUS_NO_MEMORY, "no memory to unpack the CUDA code of this executable");
        bytes[row.unpacked] = '\0';
        uLongf size = (uLongf)row.unpacked;
        int result = uncompress(bytes, &size, image->bytes + row.at, (uLong)row.packed);
        if (result == Z_OK && size == row.unpacked && (uint32_t)crc32_z(0, bytes, size) == row.crc) {
            *out = bytes;
            return STATUS_OK;
        }
        free(bytes);
        return damaged(result == Z_OK ? "the checksum of a module is wrong" : "a module cannot be unpacked");
    }
    return damaged("a module is missing");
}
