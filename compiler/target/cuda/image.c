// Writes stm_cuda_image: header, tables, names, packed modules, as image.h says.
#include "target/cuda/image.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { HEADER = 64, MODULE_ROW = 48, FUNCTION_ROW = 8, ALIGN = 16 };

const char *image_pack(Arena *arena, const void *bytes, size_t size, ImageModule *out) {
    uLongf packed = compressBound(size);
    unsigned char *room = malloc(packed);
    if (!room) return "no memory to pack a module of the CUDA image";
    int status = compress2(room, &packed, bytes, size, 6);
    if (status == Z_OK) {
        out->bytes = arena_copy(arena, room, packed);
        out->packed = packed;
        out->unpacked = size;
        out->crc = (uint32_t)crc32_z(0, bytes, size);
    }
    free(room);
    return status == Z_OK ? NULL
                          : arena_format(arena, "zlib cannot pack a module of %zu bytes (status %d)", size, status);
}

static void put32(unsigned char *to, uint32_t v) {
    for (int i = 0; i < 4; i++) to[i] = (unsigned char)(v >> 8 * i);
}

static void put64(unsigned char *to, uint64_t v) {
    for (int i = 0; i < 8; i++) to[i] = (unsigned char)(v >> 8 * i);
}

static size_t aligned(size_t n) {
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static int by_module(const void *a, const void *b) {
    const ImageModule *x = a, *y = b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->arch != y->arch) return x->arch < y->arch ? -1 : 1;
    return x->shard < y->shard ? -1 : x->shard > y->shard;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const ImageFunction *)a)->name, ((const ImageFunction *)b)->name);
}

const unsigned char *image_build(Arena *arena, ImageModule *module, int modules, ImageFunction *function, int functions,
                                 int shards, size_t *size) {
    if (modules > 0) qsort(module, (size_t)modules, sizeof *module, by_module);
    if (functions > 0) qsort(function, (size_t)functions, sizeof *function, by_name);
    size_t names_size = 0;
    for (int i = 0; i < functions; i++) names_size += strlen(function[i].name) + 1;
    size_t module_at = HEADER;
    size_t function_at = aligned(module_at + (size_t)modules * MODULE_ROW);
    size_t names_at = aligned(function_at + (size_t)functions * FUNCTION_ROW);
    size_t at = aligned(names_at + names_size);
    size_t total = at;
    for (int i = 0; i < modules; i++) total = aligned(total + module[i].packed);
    unsigned char *image = arena_alloc(arena, total);

    memcpy(image, "STMCUDA1", 8);
    put64(image + 8, total);
    put32(image + 16, (uint32_t)modules);
    put32(image + 20, (uint32_t)functions);
    put64(image + 24, module_at);
    put64(image + 32, function_at);
    put64(image + 40, names_at);
    put64(image + 48, names_size);
    put32(image + 60, (uint32_t)shards);
    for (int i = 0; i < modules; i++) {
        const ImageModule *m = &module[i];
        unsigned char *row = image + module_at + (size_t)i * MODULE_ROW;
        put32(row, (uint32_t)m->kind);
        put32(row + 4, (uint32_t)m->arch);
        put32(row + 8, (uint32_t)m->shard);
        put32(row + 12, m->crc);
        put64(row + 16, at);
        put64(row + 24, m->packed);
        put64(row + 32, m->unpacked);
        memcpy(image + at, m->bytes, m->packed);
        at = aligned(at + m->packed);
    }
    size_t name = 0;
    for (int i = 0; i < functions; i++) {
        unsigned char *row = image + function_at + (size_t)i * FUNCTION_ROW;
        size_t length = strlen(function[i].name) + 1;
        put32(row, (uint32_t)name);
        put32(row + 4, (uint32_t)function[i].shard);
        memcpy(image + names_at + name, function[i].name, length);
        name += length;
    }
    put32(image + 56, (uint32_t)crc32_z(0, image + module_at, names_at + names_size - module_at));
    *size = total;
    return image;
}
