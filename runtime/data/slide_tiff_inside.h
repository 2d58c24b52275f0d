// slide_tiff_inside: what slide_tiff.c (directories) and slide_tiff_blocks.c (pixels) share.
#pragma once

#include <tiffio.h>

#include "slide_jpeg.h"
#include "slide_tiff.h"

enum { JPEG_2000_APERIO_YCBCR = 33003, JPEG_2000_APERIO_RGB = 33005 };

typedef struct TiffError {
    char message[256]; // the first complaint since it was cleared
} TiffError;

// A page that has been read from: its own libtiff handle, so that going from level to level costs nothing.
typedef struct TiffReader {
    TIFF *tiff;
    const uint8_t *tables; // owned by libtiff
    uint32_t tables_size;
} TiffReader;

// A tile decoded in part, and when: it counts as found while a cache would still have it.
typedef struct TiffGhost {
    uint64_t key; // 0: none
    size_t time;
} TiffGhost;

enum { GHOSTS = 1024 };

struct TiffFile {
    char *path;
    uint64_t bytes;
    int descriptor;
    TiffPage *pages;     // [count]
    TiffReader *readers; // [count], opened when first needed
    size_t count;
    bool aperio;
    TiffError *error; // the handlers' state; stays at its address
    BlockCache cache;
    double reuse;      // how often of late a tile was wanted again while it was, or would have been, in the cache
    TiffGhost *ghosts; // [GHOSTS] tiles last decoded in part, by hash
    size_t clock;      // tiles wanted and not found
    JpegTiles *jpeg;
    uint8_t *raw; // the compressed bytes of a JPEG tile, or the decoded samples of another
    size_t raw_bytes;
};

// A libtiff handle with silent handlers that note into `error`; NULL with the reason there.
TIFF *tiff_handle(const char *path, TiffError *error);

// Decodes block `index` = row * across + column of the page into out[rows][block_width][3]. *out_absent: left out.
MUST_USE Status tiff_block_read(TiffFile *file, size_t page, size_t index, size_t rows, uint8_t *out);
// Only a part of a block, without the cache, into rows of `stride` bytes. For pages that tiff_block_splits.
MUST_USE Status tiff_block_read_part(TiffFile *file, size_t page, size_t index, JpegPart part, uint8_t *out,
                                     size_t stride);
bool tiff_block_splits(const TiffPage *page);
// Whether the file leaves the block out.
MUST_USE Status tiff_block_absent(TiffFile *file, size_t page, size_t index, bool *out_absent);
