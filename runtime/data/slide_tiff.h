// slide_tiff: the pages of a TIFF or BigTIFF file and any region of any of them as 8-bit RGB, decoding only the tiles
// or strips touched. Internal to runtime/data: slide.h and image.h stand on it.
//
// libtiff reads the directories and decodes all compressions but JPEG; JPEG streams go from the file to libjpeg-turbo
// directly (slide_jpeg.h). Samples: 8 bits as they are, 16 bits scaled to 8 (v / 257, rounded; the picture's own range
// is not stretched), 1 to 4 bits, palettes and CMYK through libtiff's RGBA form. Grey becomes R = G = B, alpha and
// further samples are dropped; a picture of 3 or 4 samples marked as grey is taken as RGB. Refused by name: old-style
// JPEG, JPEG 2000, JBIG, LERC, 12-bit JPEG, float and 32-bit samples.
//
// Every count from the file is checked before use: sides at most IMAGE_LONGEST_SIDE, a tile or strip at most
// TIFF_LARGEST_BLOCK bytes decoded and at most 4,096 times its bytes in the file (no codec here packs better).
// One TiffFile is for one thread at a time.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"
#include "slide_blocks.h"

enum { TIFF_MOST_PAGES = 4096, TIFF_LARGEST_BLOCK = 1 << 30 };

typedef struct TiffPage {
    char name[40];   // "page 2", "page 0, sub-image 1": for messages
    uint64_t offset; // of its directory in the file
    size_t number;   // of the page in the chain
    int sub;         // which SubIFD of that page; -1: the page itself
    size_t width, height;
    size_t block_width, block_height; // of a tile; of a strip (width x rows)
    size_t across, down;              // blocks
    bool tiled;
    uint32_t subfile; // NewSubfileType: 1 reduced, 4 mask, 8 (with 1) Aperio's macro
    unsigned compression, photometric, planar, samples, bits, sample_format;
    double x_resolution, y_resolution; // 0: not said
    unsigned resolution_unit;          // 2 inch, 3 centimetre
    char *description;                 // NULL: none
} TiffPage;

typedef struct TiffFile TiffFile;

// Reads all directories of the chain, and the SubIFDs of the first page, but no tile table and no pixel.
// `first_only`: only the first page.
MUST_USE Status tiff_file_open(const char *path, bool first_only, size_t cache_bytes, TiffFile **out_file);
void tiff_file_close(TiffFile *file); // NULL is fine
size_t tiff_file_count(const TiffFile *file);
const TiffPage *tiff_file_page(const TiffFile *file, size_t page);

// Whether this program can decode the page; the message names the page and says why not, without the path.
MUST_USE Status tiff_file_can_read(const TiffFile *file, size_t page);

// The region, which must lie inside the page, into rows of `stride` bytes. Tiles that the file leaves out (offset and
// size 0; in Aperio files size 0) get the colour `absent`. The messages name page, tile and offset, not the path.
MUST_USE Status tiff_file_region(TiffFile *file, size_t page, size_t x, size_t y, size_t w, size_t h,
                                 const uint8_t absent[3], uint8_t *rgb, size_t stride);
