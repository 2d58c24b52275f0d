// The bytes of stm_cuda_image: cubins of each architecture and PTX of the lowest one, packed. image.c writes them,
// runtime/device/image.c reads them. Numbers are little-endian; every table starts at a multiple of 16 from the start
// of the image.
//
//   header, 64 bytes
//      0  char magic[8]      "STMCUDA1"
//      8  u64  size          of the whole image, header included
//     16  u32  modules       rows of the module table
//     20  u32  functions     rows of the function table
//     24  u64  module_at     offset of the module table (64)
//     32  u64  function_at   offset of the function table
//     40  u64  names_at      offset of the names
//     48  u64  names_size    bytes of the names
//     56  u32  tables_crc    crc32 of the bytes from module_at up to names_at + names_size (gaps are zero and count)
//     60  u32  shards        numbers of `shard` below are 0 .. shards-1
//   module table, a row of 48 bytes each, by kind, then architecture, then shard
//      0  u32  kind          1 cubin, 2 PTX
//      4  u32  arch          80, 90, ...: compute capability * 10. A cubin runs on the same major number and an equal
//                            or higher minor one; PTX is compiled by the driver for any equal or higher capability
//      8  u32  shard         modules of one kind and architecture hold the shards' functions, each function once
//     12  u32  crc           crc32 of the unpacked bytes
//     16  u64  at            offset of the packed bytes
//     24  u64  packed        their number: a zlib stream (RFC 1950), inflate with uncompress()
//     32  u64  unpacked      bytes after inflation; PTX counts its closing NUL
//     40  u64  0
//   function table, a row of 8 bytes each, sorted by name (strcmp)
//      0  u32  name          offset within the names, of text that ends with NUL
//      4  u32  shard         the module that holds it
//   names, then the packed modules
//
// An image without functions has the header alone and size 64. crc32 is zlib's, starting from 0.
#ifndef STMC_TARGET_CUDA_IMAGE_H
#define STMC_TARGET_CUDA_IMAGE_H

#include "base/base.h"

typedef enum ImageKind { IMAGE_CUBIN = 1, IMAGE_PTX = 2 } ImageKind;

// A module that is packed already (image_pack).
typedef struct ImageModule {
    ImageKind kind;
    int arch, shard;
    uint32_t crc;
    uint64_t unpacked;
    const unsigned char *bytes;
    uint64_t packed;
} ImageModule;

typedef struct ImageFunction {
    const char *name;
    int shard;
} ImageFunction;

// Deflates `size` bytes into *out, on the arena; sets crc, unpacked, bytes and packed. NULL or an error.
const char *image_pack(Arena *arena, const void *bytes, size_t size, ImageModule *out);

// Builds the image on the arena. Sorts both lists in place.
const unsigned char *image_build(Arena *arena, ImageModule *module, int modules, ImageFunction *function, int functions,
                                 int shards, size_t *size);

#endif
