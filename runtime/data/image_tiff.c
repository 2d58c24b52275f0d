// image_tiff: TIFF and BigTIFF through libtiff, decoding only the tiles or strips that a region touches.
// Reads the first picture of the file (level 0 of a pyramid). The last decoded band of tiles is kept, so that
// neighbouring regions do not decode it again.
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#include "image_backend.h"

typedef struct Tiff {
    TIFF *file;
    size_t width, height;
    bool tiled;
    size_t block_width, block_height; // of a tile, or of a strip
    uint32_t *block;                  // [block_height][block_width] ABGR, bottom row first (libtiff's RGBA form)
    int64_t block_column, block_row;  // which one `block` holds; -1 none
    char message[256];
} Tiff;

static int on_error(TIFF *file, void *state, const char *module, const char *format, va_list arguments) {
    (void)file, (void)module;
    Tiff *tiff = state;
    if (tiff->message[0] == '\0') vsnprintf(tiff->message, sizeof tiff->message, format, arguments);
    return 1;
}

static int on_warning(TIFF *file, void *state, const char *module, const char *format, va_list arguments) {
    (void)file, (void)state, (void)module, (void)format, (void)arguments; // unknown private tags and the like
    return 1;
}

static void tiff_end(void *state) {
    Tiff *tiff = state;
    if (!tiff) return;
    if (tiff->file) TIFFClose(tiff->file);
    free(tiff->block);
    free(tiff);
}

static const char *left_out_codec(unsigned compression) {
    switch (compression) {
    case COMPRESSION_JBIG: return "JBIG";
    case COMPRESSION_LERC: return "LERC";
    case 33003:
    case 33005:
    case COMPRESSION_JP2000: return "JPEG 2000";
    default: return NULL;
    }
}

static Status tiff_open(const char *path, void **out_state, size_t *out_width, size_t *out_height) {
    Tiff *tiff = calloc(1, sizeof *tiff);
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    *out_state = tiff;
    if (!tiff || !options) {
        if (options) TIFFOpenOptionsFree(options);
        return status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    }
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error,
                                       tiff); // per handle: libtiff's global handlers stay alone
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, tiff);
    tiff->file = TIFFOpenExt(path, "rm", options); // m: no memory mapping, so a file cut short cannot raise SIGBUS
    TIFFOpenOptionsFree(options);
    if (!tiff->file) return status_make(STATUS_MALFORMED, "%s: not a readable TIFF file (%s)", path, tiff->message);
    uint32_t width = 0, height = 0, block_width = 0, block_height = 0;
    uint16_t compression = COMPRESSION_NONE;
    TIFFGetField(tiff->file, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff->file, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetFieldDefaulted(tiff->file, TIFFTAG_COMPRESSION, &compression);
    const char *codec = left_out_codec(compression);
    if (codec)
        return status_make(STATUS_UNSUPPORTED,
                           "%s: %s compression is not built into this program; convert the file to JPEG or "
                           "deflate compression",
                           path, codec);
    char why[1024] = "";
    if (!TIFFRGBAImageOK(tiff->file, why)) return status_make(STATUS_UNSUPPORTED, "%s: %s", path, why);
    tiff->tiled = TIFFIsTiled(tiff->file) != 0;
    if (tiff->tiled) {
        TIFFGetField(tiff->file, TIFFTAG_TILEWIDTH, &block_width);
        TIFFGetField(tiff->file, TIFFTAG_TILELENGTH, &block_height);
    } else {
        block_width = width;
        TIFFGetFieldDefaulted(tiff->file, TIFFTAG_ROWSPERSTRIP, &block_height);
        if (block_height > height) block_height = height; // "one strip" is written as 2^32 - 1
    }
    if (width && height && (block_width == 0 || block_height == 0))
        return status_make(STATUS_MALFORMED, "%s: tiles or strips of size 0", path);
    tiff->width = *out_width = width;
    tiff->height = *out_height = height;
    tiff->block_width = block_width;
    tiff->block_height = block_height;
    tiff->block_column = tiff->block_row = -1;
    return STATUS_OK;
}

static Status load_block(Tiff *tiff, int64_t column, int64_t row) {
    enum { LARGEST_BLOCK = 1 << 29 }; // pixels: 2 GiB decoded
    if (tiff->block_column == column && tiff->block_row == row) return STATUS_OK;
    if (!tiff->block) {
        if (tiff->block_height > LARGEST_BLOCK / tiff->block_width)
            return status_make(STATUS_UNSUPPORTED,
                               "tiles or strips of %zu x %zu pixels are too large to decode; save the file tiled",
                               tiff->block_width, tiff->block_height);
        tiff->block = malloc(tiff->block_width * tiff->block_height * sizeof *tiff->block);
        if (!tiff->block)
            return status_make(STATUS_NO_MEMORY, "no memory for a tile or strip of %zu x %zu pixels", tiff->block_width,
                               tiff->block_height);
    }
    tiff->message[0] = '\0';
    tiff->block_column = tiff->block_row = -1;
    uint32_t x = (uint32_t)((size_t)column * tiff->block_width), y = (uint32_t)((size_t)row * tiff->block_height);
    int ok = tiff->tiled ? TIFFReadRGBATileExt(tiff->file, x, y, tiff->block, 1)
                         : TIFFReadRGBAStripExt(tiff->file, y, tiff->block, 1);
    if (!ok || tiff->message[0])
        return status_make(STATUS_MALFORMED, "the %s at x %u, y %u is damaged or missing (%s); copy the file again",
                           tiff->tiled ? "tile" : "strip", x, y, tiff->message[0] ? tiff->message : "no reason given");
    tiff->block_column = column;
    tiff->block_row = row;
    return STATUS_OK;
}

static Status tiff_read(void *state, size_t x, size_t y, size_t w, size_t h, uint8_t *rgb) {
    Tiff *tiff = state;
    size_t bw = tiff->block_width, bh = tiff->block_height;
    for (size_t row = y / bh; row * bh < y + h; row++) {
        for (size_t column = x / bw; column * bw < x + w; column++) {
            TRY(load_block(tiff, (int64_t)column, (int64_t)row));
            size_t top = row * bh, left = column * bw;
            // A tile holds all its rows; the last strip holds only those inside the picture.
            size_t rows = tiff->tiled || top + bh <= tiff->height ? bh : tiff->height - top;
            size_t y0 = top > y ? top : y, y1 = top + rows < y + h ? top + rows : y + h;
            size_t x0 = left > x ? left : x, x1 = left + bw < x + w ? left + bw : x + w;
            for (size_t yy = y0; yy < y1; yy++) {
                const uint32_t *from = tiff->block + (rows - 1 - (yy - top)) * bw + (x0 - left);
                uint8_t *to = rgb + ((yy - y) * w + (x0 - x)) * 3;
                for (size_t xx = x0; xx < x1; xx++, from++, to += 3) {
                    to[0] = (uint8_t)TIFFGetR(*from);
                    to[1] = (uint8_t)TIFFGetG(*from);
                    to[2] = (uint8_t)TIFFGetB(*from);
                }
            }
        }
    }
    return STATUS_OK;
}

const ImageBackend image_tiff_backend = {IMAGE_TIFF, tiff_open, tiff_read, tiff_end};
