// slide_jpeg: one JPEG stream in memory to RGB, with the tables that a TIFF file keeps apart from its tiles. Internal
// to runtime/data. The decoder is kept from tile to tile; one is for one thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct JpegTiles JpegTiles;

// What the components of the stream are, as the container says; markers inside the stream are not asked.
typedef enum JpegTileColor { JPEG_TILE_GRAY, JPEG_TILE_RGB, JPEG_TILE_YCBCR } JpegTileColor;

MUST_USE Status jpeg_tiles_create(JpegTiles **out_tiles);
void jpeg_tiles_free(JpegTiles *tiles); // NULL is fine

typedef struct JpegTile {
    const uint8_t *tables; // an abbreviated stream of tables, NULL if there is none
    size_t tables_size;
    const uint8_t *data;
    size_t size;
    JpegTileColor color;
    size_t width, height;                 // of the tile, pixels; a stream may be larger by less than 64
    size_t visible_width, visible_height; // what the stream must cover at least
    int channels;                         // of the output: 3, or 1 for gray
} JpegTile;

// A part of a tile, inside its visible part.
typedef struct JpegPart {
    size_t x, y, width, height;
} JpegPart;

// Only the part, into rows of `stride` bytes with 3 channels: the same pixels as of the whole tile for about half of
// the work (colours are interpolated from neighbours, so one more block is decoded on each side). Damage behind the
// part goes unseen.
MUST_USE Status jpeg_tiles_decode_part(JpegTiles *tiles, const JpegTile *tile, JpegPart part, uint8_t *out,
                                       size_t stride);

// Decodes into out[height][width][channels]. What the stream does not cover is 0.
MUST_USE Status jpeg_tiles_decode(JpegTiles *tiles, const JpegTile *tile, uint8_t *out);
