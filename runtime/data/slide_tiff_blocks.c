// slide_tiff_blocks: one tile or strip of a TIFF page to RGB. JPEG streams are read straight from the file and decoded
// by libjpeg-turbo; all other compressions, predictors and byte orders are libtiff's work, what the samples mean is
// ours.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "slide_tiff_inside.h"

// No codec here packs better than this: LZW reaches 2,700, deflate 1,030, a blank progressive JPEG 1,536.
enum { BEST_PACKING = 4096, PACKING_SLACK = 65536 };

static Status room(TiffFile *file, size_t bytes) {
    if (file->raw_bytes >= bytes) return STATUS_OK;
    free(file->raw);
    file->raw_bytes = 0;
    file->raw = malloc(bytes);
    if (!file->raw) return status_make(STATUS_NO_MEMORY, "no memory for %zu bytes of a tile or strip", bytes);
    file->raw_bytes = bytes;
    return STATUS_OK;
}

// Where strile (tile or strip, counting planes) lies, checked against the file.
static Status place(TiffFile *file, size_t number, size_t strile, uint64_t *out_offset, uint64_t *out_size) {
    TIFF *tiff = file->readers[number].tiff;
    int bad = 0, bad_size = 0;
    file->error->message[0] = '\0';
    *out_offset = TIFFGetStrileOffsetWithErr(tiff, (uint32_t)strile, &bad);
    *out_size = TIFFGetStrileByteCountWithErr(tiff, (uint32_t)strile, &bad_size);
    if (bad || bad_size)
        return status_make(STATUS_MALFORMED, "has no place in the page's table (%s); copy the file again",
                           file->error->message[0] ? file->error->message : "the table is missing or cut");
    if (*out_size == 0 && (*out_offset == 0 || file->aperio)) return STATUS_OK; // left out
    if (*out_offset > file->bytes || *out_size > file->bytes - *out_offset || *out_size == 0)
        return status_make(STATUS_MALFORMED,
                           "has %llu bytes at offset %llu by the page's table, the file has %llu in all; copy the file "
                           "again",
                           (unsigned long long)*out_size, (unsigned long long)*out_offset,
                           (unsigned long long)file->bytes);
    return STATUS_OK;
}

Status tiff_block_absent(TiffFile *file, size_t number, size_t index, bool *out_absent) {
    const TiffPage *page = &file->pages[number];
    size_t planes = page->planar == PLANARCONFIG_SEPARATE ? page->samples : 1, blocks = page->across * page->down;
    uint64_t offset = 0, size = 0, packed = 0;
    size_t gone = 0;
    for (size_t p = 0; p < planes; p++) {
        TRY(place(file, number, index + p * blocks, &offset, &size));
        gone += size == 0;
        packed += size;
    }
    *out_absent = gone == planes;
    if (gone && !*out_absent)
        return status_make(STATUS_MALFORMED, "lacks %zu of its %zu planes; copy the file again", gone, planes);
    uint64_t decoded = (uint64_t)page->block_width * page->block_height * page->samples * page->bits / 8;
    if (decoded > TIFF_LARGEST_BLOCK)
        return status_make(STATUS_UNSUPPORTED, "has %llu bytes decoded; more than %d are refused, save the file tiled",
                           (unsigned long long)decoded, TIFF_LARGEST_BLOCK);
    if (!*out_absent && packed < decoded / BEST_PACKING && decoded > PACKING_SLACK)
        return status_make(STATUS_MALFORMED, "has %llu bytes at offset %llu, too few for its %zu x %zu pixels",
                           (unsigned long long)packed, (unsigned long long)offset, page->block_width,
                           page->block_height);
    return STATUS_OK;
}

// ---- JPEG -----------------------------------------------------------------------------------------------------

static Status read_bytes(TiffFile *file, uint64_t offset, size_t size) {
    TRY(room(file, size));
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(file->descriptor, file->raw + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return status_errno(errno, "cannot be read at offset %llu", (unsigned long long)(offset + done));
        if (got == 0)
            return status_make(STATUS_MALFORMED, "is cut off at offset %llu, where the file ends",
                               (unsigned long long)(offset + done));
        done += (size_t)got;
    }
    return STATUS_OK;
}

// `part` NULL: the whole into out[rows][block_width][channels].
static Status jpeg_plane(TiffFile *file, size_t number, size_t index, size_t plane, size_t rows, JpegTileColor color,
                         const JpegPart *part, uint8_t *out, size_t stride) {
    const TiffPage *page = &file->pages[number];
    const TiffReader *reader = &file->readers[number];
    size_t top = index / page->across * page->block_height, left = index % page->across * page->block_width;
    uint64_t offset = 0, size = 0;
    TRY(place(file, number, index + plane * page->across * page->down, &offset, &size));
    if (size > TIFF_LARGEST_BLOCK)
        return status_make(STATUS_UNSUPPORTED, "has %llu compressed bytes; more than %d are refused",
                           (unsigned long long)size, TIFF_LARGEST_BLOCK);
    TRY(read_bytes(file, offset, (size_t)size));
    if (!file->jpeg) TRY(jpeg_tiles_create(&file->jpeg));
    JpegTile tile = {
        .tables = reader->tables,
        .tables_size = reader->tables_size,
        .data = file->raw,
        .size = (size_t)size,
        .color = color,
        .width = page->block_width,
        .height = rows,
        .visible_width = page->width - left < page->block_width ? page->width - left : page->block_width,
        .visible_height = page->height - top < rows ? page->height - top : rows,
        .channels = page->planar == PLANARCONFIG_SEPARATE && page->samples == 3 ? 1 : 3,
    };
    Status status = part ? jpeg_tiles_decode_part(file->jpeg, &tile, *part, out, stride)
                         : jpeg_tiles_decode(file->jpeg, &tile, out);
    return status_context(status, "offset %llu, %llu bytes", (unsigned long long)offset, (unsigned long long)size);
}

static JpegTileColor jpeg_color(const TiffPage *page) {
    return page->samples == 1 ? JPEG_TILE_GRAY : page->photometric == PHOTOMETRIC_RGB ? JPEG_TILE_RGB : JPEG_TILE_YCBCR;
}

bool tiff_block_splits(const TiffPage *page) {
    bool known = page->photometric == PHOTOMETRIC_YCBCR || page->photometric == PHOTOMETRIC_RGB;
    return page->tiled && page->compression == COMPRESSION_JPEG &&
           (page->samples == 1 || (known && page->planar != PLANARCONFIG_SEPARATE));
}

Status tiff_block_read_part(TiffFile *file, size_t number, size_t index, JpegPart part, uint8_t *out, size_t stride) {
    const TiffPage *page = &file->pages[number];
    return jpeg_plane(file, number, index, 0, page->block_height, jpeg_color(page), &part, out, stride);
}

static Status read_jpeg(TiffFile *file, size_t number, size_t index, size_t rows, uint8_t *out) {
    const TiffPage *page = &file->pages[number];
    if (page->samples == 1) return jpeg_plane(file, number, index, 0, rows, JPEG_TILE_GRAY, NULL, out, 0);
    if (page->photometric != PHOTOMETRIC_YCBCR && page->photometric != PHOTOMETRIC_RGB)
        return status_make(STATUS_UNSUPPORTED,
                           "is JPEG of 3 components with photometric interpretation %u; RGB (2) and YCbCr (6) are read",
                           page->photometric);
    if (page->planar != PLANARCONFIG_SEPARATE)
        return jpeg_plane(file, number, index, 0, rows, jpeg_color(page), NULL, out, 0);
    if (page->photometric != PHOTOMETRIC_RGB)
        return status_make(STATUS_UNSUPPORTED, "is JPEG in separate YCbCr planes; RGB planes are read");
    size_t pixels = page->block_width * rows;
    uint8_t *plane = malloc(pixels);
    if (!plane) return status_make(STATUS_NO_MEMORY, "no memory for a plane of %zu pixels", pixels);
    Status status = STATUS_OK;
    for (size_t p = 0; p < 3 && status == STATUS_OK; p++) {
        status = jpeg_plane(file, number, index, p, rows, JPEG_TILE_GRAY, NULL, plane, 0);
        for (size_t i = 0; i < pixels && status == STATUS_OK; i++) out[3 * i + p] = plane[i];
    }
    free(plane);
    return status;
}

// ---- Everything else ------------------------------------------------------------------------------------------

static Status decode_failed(TiffFile *file, size_t number, size_t strile) {
    uint64_t offset = 0, size = 0;
    char message[sizeof file->error->message];
    snprintf(message, sizeof message, "%s", file->error->message[0] ? file->error->message : "no reason given");
    TRY(place(file, number, strile, &offset, &size));
    return status_make(STATUS_MALFORMED, "(offset %llu, %llu bytes) is damaged (%s); copy the file again",
                       (unsigned long long)offset, (unsigned long long)size, message);
}

// The samples of one strile, as libtiff decodes them, into `samples`.
static Status read_samples(TiffFile *file, size_t number, size_t strile, uint8_t *samples, size_t bytes) {
    const TiffPage *page = &file->pages[number];
    TIFF *tiff = file->readers[number].tiff;
    file->error->message[0] = '\0';
    tmsize_t got = page->tiled ? TIFFReadEncodedTile(tiff, (uint32_t)strile, samples, (tmsize_t)bytes)
                               : TIFFReadEncodedStrip(tiff, (uint32_t)strile, samples, (tmsize_t)bytes);
    if (got != (tmsize_t)bytes || file->error->message[0]) return decode_failed(file, number, strile);
    return STATUS_OK;
}

static uint8_t from_16(const uint8_t *samples, size_t i) {
    uint16_t value;
    memcpy(&value, samples + 2 * i, sizeof value);
    return (uint8_t)((value + 128u) / 257u);
}

// `n` pixels of `step` samples each: their sample 0 (and 1, 2 for three channels) to 8 bits.
static void to_rgb(const uint8_t *samples, size_t n, size_t step, unsigned bits, bool three, bool inverted,
                   uint8_t *out) {
    for (size_t i = 0; i < n; i++, out += 3) {
        size_t at = i * step;
        for (size_t c = 0; c < 3; c++) {
            size_t from = at + (three ? c : 0);
            uint8_t value = bits == 16 ? from_16(samples, from) : samples[from];
            out[c] = inverted ? (uint8_t)(255 - value) : value;
        }
    }
}

static Status read_plain(TiffFile *file, size_t number, size_t index, size_t rows, bool three, uint8_t *out) {
    const TiffPage *page = &file->pages[number];
    size_t pixels = page->block_width * rows, width = page->bits / 8, blocks = page->across * page->down;
    bool inverted = page->photometric == PHOTOMETRIC_MINISWHITE;
    if (page->planar != PLANARCONFIG_SEPARATE || page->samples == 1) {
        size_t bytes = pixels * page->samples * width;
        if (three && page->samples == 3 && page->bits == 8 && !inverted)
            return read_samples(file, number, index, out, bytes); // already what is wanted
        TRY(room(file, bytes));
        TRY(read_samples(file, number, index, file->raw, bytes));
        to_rgb(file->raw, pixels, page->samples, page->bits, three, inverted, out);
        return STATUS_OK;
    }
    TRY(room(file, pixels * width));
    for (size_t p = 0; p < 3; p++) {
        if (three || p == 0) TRY(read_samples(file, number, index + p * blocks, file->raw, pixels * width));
        for (size_t i = 0; i < pixels; i++) {
            uint8_t value = page->bits == 16 ? from_16(file->raw, i) : file->raw[i];
            out[3 * i + p] = inverted ? (uint8_t)(255 - value) : value;
        }
    }
    return STATUS_OK;
}

// libtiff's own conversion, bottom row first.
static Status read_through_rgba(TiffFile *file, size_t number, size_t index, size_t rows, uint8_t *out) {
    const TiffPage *page = &file->pages[number];
    TIFF *tiff = file->readers[number].tiff;
    char message[1024] = "";
    if (!TIFFRGBAImageOK(tiff, message)) return status_make(STATUS_UNSUPPORTED, "cannot be shown as RGB: %s", message);
    uint32_t x = (uint32_t)(index % page->across * page->block_width);
    uint32_t y = (uint32_t)(index / page->across * page->block_height);
    size_t bw = page->block_width;
    TRY(room(file, bw * page->block_height * sizeof(uint32_t)));
    uint32_t *pixels = (uint32_t *)(void *)file->raw;
    file->error->message[0] = '\0';
    int ok = page->tiled ? TIFFReadRGBATileExt(tiff, x, y, pixels, 1) : TIFFReadRGBAStripExt(tiff, y, pixels, 1);
    if (!ok || file->error->message[0]) return decode_failed(file, number, index);
    for (size_t r = 0; r < rows; r++) {
        const uint32_t *from = pixels + (rows - 1 - r) * bw;
        for (size_t i = 0; i < bw; i++, out += 3) {
            out[0] = (uint8_t)TIFFGetR(from[i]);
            out[1] = (uint8_t)TIFFGetG(from[i]);
            out[2] = (uint8_t)TIFFGetB(from[i]);
        }
    }
    return STATUS_OK;
}

Status tiff_block_read(TiffFile *file, size_t number, size_t index, size_t rows, uint8_t *out) {
    const TiffPage *page = &file->pages[number];
    if (page->compression == COMPRESSION_JPEG) return read_jpeg(file, number, index, rows, out);
    bool whole = page->bits == 8 || page->bits == 16;
    bool gray = page->photometric == PHOTOMETRIC_MINISBLACK || page->photometric == PHOTOMETRIC_MINISWHITE;
    if (whole && page->photometric == PHOTOMETRIC_RGB && page->samples >= 3)
        return read_plain(file, number, index, rows, true, out);
    if (whole && gray) return read_plain(file, number, index, rows, page->samples == 3 || page->samples == 4, out);
    return read_through_rgba(file, number, index, rows, out);
}
