// slide_jpeg: see slide_jpeg.h. One libjpeg-turbo decoder serves tile after tile; a tile that does not bring its own
// tables is begun again by a fresh one, which has none from before.
#include "slide_jpeg.h"

#include <stdlib.h>
#include <string.h>

#include "image_jpeg_trap.h"

enum { MOST_EXTRA = 64, ROWS_AT_ONCE = 16 };

struct JpegTiles {
    JpegTrap trap; // first
    struct jpeg_decompress_struct decoder;
    bool created;
    uint8_t *row; // for streams wider than the tile
    size_t row_size;
};

static Status renew(JpegTiles *tiles) {
    tiles->decoder.err = jpeg_trap_begin(&tiles->trap);
    if (tiles->created) jpeg_destroy_decompress(&tiles->decoder);
    tiles->created = false;
    if (setjmp(tiles->trap.escape)) return status_make(STATUS_NO_MEMORY, "no JPEG decoder (%s)", tiles->trap.message);
    jpeg_create_decompress(&tiles->decoder);
    tiles->created = true;
    return STATUS_OK;
}

Status jpeg_tiles_create(JpegTiles **out_tiles) {
    JpegTiles *tiles = calloc(1, sizeof *tiles);
    *out_tiles = NULL;
    if (!tiles) return status_make(STATUS_NO_MEMORY, "no memory for a JPEG decoder");
    Status status = renew(tiles);
    if (status != STATUS_OK) free(tiles);
    else *out_tiles = tiles;
    return status;
}

void jpeg_tiles_free(JpegTiles *tiles) {
    if (!tiles) return;
    if (tiles->created) jpeg_destroy_decompress(&tiles->decoder);
    free(tiles->row);
    free(tiles);
}

static Status damaged(const JpegTiles *tiles) {
    return status_make(STATUS_MALFORMED, "its JPEG stream is damaged or ends early (%s)", tiles->trap.message);
}

static Status check_header(const JpegTiles *tiles, const JpegTile *tile) {
    const struct jpeg_decompress_struct *decoder = &tiles->decoder;
    int components = tile->color == JPEG_TILE_GRAY ? 1 : 3;
    size_t width = decoder->image_width, height = decoder->image_height;
    if (decoder->num_components != components)
        return status_make(STATUS_MALFORMED, "its JPEG stream has %d components, the page says %d",
                           decoder->num_components, components);
    if (width > tile->width + MOST_EXTRA || height > tile->height + MOST_EXTRA || width < tile->visible_width ||
        height < tile->visible_height)
        return status_make(STATUS_MALFORMED, "its JPEG stream has %zu x %zu pixels, the page says %zu x %zu", width,
                           height, tile->width, tile->height);
    return STATUS_OK;
}

static Status row_room(JpegTiles *tiles, size_t bytes) {
    if (tiles->row_size >= bytes) return STATUS_OK;
    free(tiles->row);
    tiles->row_size = 0;
    tiles->row = malloc(bytes);
    if (!tiles->row) return status_make(STATUS_NO_MEMORY, "no memory for a row of %zu bytes", bytes);
    tiles->row_size = bytes;
    return STATUS_OK;
}

// The stream's rows straight into the tile when the widths agree, through one row otherwise.
static Status read_rows(JpegTiles *tiles, const JpegTile *tile, uint8_t *out) {
    struct jpeg_decompress_struct *decoder = &tiles->decoder;
    size_t channels = (size_t)tile->channels, stride = tile->width * channels;
    const size_t width = decoder->output_width;
    const size_t rows = decoder->output_height < tile->height ? decoder->output_height : tile->height;
    if (width != tile->width) TRY(row_room(tiles, width * channels));
    if (width < tile->width || rows < tile->height) memset(out, 0, stride * tile->height);
    if (setjmp(tiles->trap.escape)) return damaged(tiles);
    while (decoder->output_scanline < rows) {
        size_t y = decoder->output_scanline;
        JSAMPROW pointers[ROWS_AT_ONCE];
        size_t n = width != tile->width ? 1 : rows - y < ROWS_AT_ONCE ? rows - y : ROWS_AT_ONCE;
        for (size_t i = 0; i < n; i++) pointers[i] = width != tile->width ? tiles->row : out + (y + i) * stride;
        if (jpeg_read_scanlines(decoder, pointers, (JDIMENSION)n) == 0) return damaged(tiles);
        if (width != tile->width)
            memcpy(out + y * stride, tiles->row, (width < tile->width ? width : tile->width) * channels);
    }
    return tiles->trap.damaged ? damaged(tiles) : STATUS_OK;
}

// ---- Begin ----------------------------------------------------------------------------------------------------

// libjpeg keeps tables from stream to stream, but a tile whose own are lost must not be decoded with those of the tile
// before: all are marked, and reading a table takes its mark away. No stream has steps of 0 or codes of 0 bits.
static void mark_tables(struct jpeg_decompress_struct *decoder) {
    for (int i = 0; i < NUM_QUANT_TBLS; i++)
        if (decoder->quant_tbl_ptrs[i]) decoder->quant_tbl_ptrs[i]->quantval[0] = 0;
    for (int i = 0; i < NUM_HUFF_TBLS; i++) {
        if (decoder->dc_huff_tbl_ptrs[i]) decoder->dc_huff_tbl_ptrs[i]->bits[0] = 1;
        if (decoder->ac_huff_tbl_ptrs[i]) decoder->ac_huff_tbl_ptrs[i]->bits[0] = 1;
    }
}

static bool brought(JHUFF_TBL *const *tables, int number) {
    return number >= 0 && number < NUM_HUFF_TBLS && tables[number] && tables[number]->bits[0] == 0;
}

static bool tables_brought(const struct jpeg_decompress_struct *decoder) {
    for (int c = 0; c < decoder->num_components; c++) {
        const jpeg_component_info *component = &decoder->comp_info[c];
        int q = component->quant_tbl_no;
        if (q < 0 || q >= NUM_QUANT_TBLS || !decoder->quant_tbl_ptrs[q] || decoder->quant_tbl_ptrs[q]->quantval[0] == 0)
            return false;
        if (!brought(decoder->dc_huff_tbl_ptrs, component->dc_tbl_no) ||
            !brought(decoder->ac_huff_tbl_ptrs, component->ac_tbl_no))
            return false;
    }
    return true;
}

// `fresh`: with a new decoder. *out_lacking: the stream does not bring all tables, or may bring some later, and the
// decoder is not a new one; nothing is begun then.
static Status start(JpegTiles *tiles, const JpegTile *tile, bool fresh, bool *out_lacking) {
    struct jpeg_decompress_struct *decoder = &tiles->decoder;
    jpeg_trap_begin(&tiles->trap);
    if (fresh) TRY(renew(tiles));
    if (setjmp(tiles->trap.escape)) return damaged(tiles);
    jpeg_trap_limit(&tiles->trap, decoder, tile->size);
    mark_tables(decoder);
    if (tile->tables) {
        jpeg_mem_src(decoder, tile->tables, tile->tables_size);
        if (jpeg_read_header(decoder, FALSE) != JPEG_HEADER_TABLES_ONLY)
            return status_make(STATUS_MALFORMED, "the page's JPEG tables (tag 347) hold a picture");
    }
    jpeg_mem_src(decoder, tile->data, tile->size);
    if (jpeg_read_header(decoder, TRUE) != JPEG_HEADER_OK) return damaged(tiles);
    TRY(check_header(tiles, tile));
    decoder->jpeg_color_space = tile->color == JPEG_TILE_GRAY  ? JCS_GRAYSCALE
                                : tile->color == JPEG_TILE_RGB ? JCS_RGB
                                                               : JCS_YCbCr;
    decoder->out_color_space = tile->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    // Further scans may still bring tables, and libjpeg has standard ones for streams without.
    *out_lacking = !fresh && (jpeg_has_multiple_scans(decoder) || !tables_brought(decoder));
    if (!*out_lacking) jpeg_start_decompress(decoder);
    return STATUS_OK;
}

// Context that the interpolation of colours looks at beyond the part: its outermost pixels see the next block's if they
// are the first or last of theirs.
static JDIMENSION crop(struct jpeg_decompress_struct *decoder, JpegPart part) {
    size_t step = (size_t)decoder->max_h_samp_factor * DCTSIZE, width = decoder->output_width;
    size_t from = part.x ? (part.x - 1) / step * step : 0, to = ((part.x + part.width) / step + 1) * step;
    if (to > width) to = width;
    JDIMENSION left = (JDIMENSION)from, count = (JDIMENSION)(to - from);
    if (count < width) jpeg_crop_scanline(decoder, &left, &count); // rounds both outwards
    return left;
}

// Rows above are skipped without transforming them, rows below are not looked at. Progressive streams are decoded in
// full by libjpeg's nature; nothing is skipped there.
static Status read_part(JpegTiles *tiles, JpegPart part, uint8_t *out, size_t stride) {
    struct jpeg_decompress_struct *decoder = &tiles->decoder;
    TRY(row_room(tiles, (size_t)decoder->output_width * 3));
    if (setjmp(tiles->trap.escape)) return damaged(tiles);
    JDIMENSION left = 0;
    if (!decoder->progressive_mode) {
        left = crop(decoder, part);
        if (part.y) jpeg_skip_scanlines(decoder, (JDIMENSION)part.y);
    }
    while (decoder->output_scanline < part.y + part.height) {
        size_t y = decoder->output_scanline;
        JSAMPROW row = tiles->row;
        if (jpeg_read_scanlines(decoder, &row, 1) == 0) return damaged(tiles);
        if (y >= part.y) memcpy(out + (y - part.y) * stride, row + (part.x - left) * 3, part.width * 3);
    }
    return tiles->trap.damaged ? damaged(tiles) : STATUS_OK;
}

static Status decode(JpegTiles *tiles, const JpegTile *tile, const JpegPart *part, uint8_t *out, size_t stride) {
    if (tile->size < 4 || tile->data[0] != 0xFF || tile->data[1] != 0xD8)
        return status_make(STATUS_MALFORMED, "its %zu bytes are not a JPEG stream", tile->size);
    bool lacking = false;
    Status status = start(tiles, tile, !tiles->created, &lacking);
    if (status == STATUS_OK && lacking) status = start(tiles, tile, true, &lacking);
    if (status == STATUS_OK) status = part ? read_part(tiles, *part, out, stride) : read_rows(tiles, tile, out);
    if (tiles->created) jpeg_abort_decompress(&tiles->decoder); // keeps the decoder, drops this picture
    return status;
}

Status jpeg_tiles_decode(JpegTiles *tiles, const JpegTile *tile, uint8_t *out) {
    return decode(tiles, tile, NULL, out, 0);
}

Status jpeg_tiles_decode_part(JpegTiles *tiles, const JpegTile *tile, JpegPart part, uint8_t *out, size_t stride) {
    return decode(tiles, tile, &part, out, stride);
}
