// slide_tiff: see slide_tiff.h. Here: opening, the list of pages, regions over the cache of blocks.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/files.h"
#include "image.h"
#include "slide_tiff_inside.h"

static int on_error(TIFF *tiff, void *state, const char *module, const char *format, va_list arguments) {
    (void)tiff, (void)module;
    TiffError *error = state;
    if (error->message[0] == '\0') vsnprintf(error->message, sizeof error->message, format, arguments);
    return 1;
}

static int on_warning(TIFF *tiff, void *state, const char *module, const char *format, va_list arguments) {
    (void)tiff, (void)state, (void)module, (void)format, (void)arguments; // unknown private tags and the like
    return 1;
}

TIFF *tiff_handle(const char *path, TiffError *error) {
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return NULL;
    // Handlers of this handle only: libtiff's global ones stay alone.
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, error);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, error);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)TIFF_LARGEST_BLOCK + (1 << 20));
    // m: no memory mapping, so a file cut short cannot raise SIGBUS. D: tile tables are read when first needed.
    TIFF *tiff = TIFFOpenExt(path, "rmD", options);
    TIFFOpenOptionsFree(options);
    return tiff;
}

static const char *why(const TiffFile *file) {
    return file->error->message[0] ? file->error->message : "no reason given";
}

static Status bad_page(const TiffFile *file, const TiffPage *page) {
    return status_make(STATUS_MALFORMED, "%s (offset %llu) is damaged (%s); copy the file again", page->name,
                       (unsigned long long)page->offset, why(file));
}

// ---- Directories ----------------------------------------------------------------------------------------------

static Status check_sizes(const TiffFile *file, TiffPage *page, uint32_t block_width, uint32_t block_height) {
    const char *kind = page->tiled ? "tiles" : "strips";
    if (page->width == 0 || page->height == 0)
        return status_make(STATUS_MALFORMED, "%s: %s has no pixels (%zu x %zu)", file->path, page->name, page->width,
                           page->height);
    if (page->width > IMAGE_LONGEST_SIDE || page->height > IMAGE_LONGEST_SIDE)
        return status_make(STATUS_UNSUPPORTED, "%s: the header of %s says %zu x %zu pixels; sides above %d are refused",
                           file->path, page->name, page->width, page->height, IMAGE_LONGEST_SIDE);
    if (block_width == 0 || block_height == 0)
        return status_make(STATUS_MALFORMED, "%s: %s has %s of size 0", file->path, page->name, kind);
    if (!page->tiled && block_height > page->height) block_height = (uint32_t)page->height; // "one strip": 2^32 - 1
    if ((uint64_t)block_width * block_height > TIFF_LARGEST_BLOCK / 3)
        return status_make(STATUS_UNSUPPORTED,
                           "%s: %s has %s of %u x %u pixels; more than %d bytes decoded are refused, save the file "
                           "tiled",
                           file->path, page->name, kind, block_width, block_height, TIFF_LARGEST_BLOCK);
    page->block_width = block_width;
    page->block_height = block_height;
    page->across = (page->width + block_width - 1) / block_width;
    page->down = (page->height + block_height - 1) / block_height;
    return STATUS_OK;
}

// The current directory of `tiff` as one more page.
static Status add_page(TiffFile *file, TIFF *tiff, size_t number, int sub) {
    if (file->count == TIFF_MOST_PAGES)
        return status_make(STATUS_UNSUPPORTED, "%s: more than %d pages; split the file", file->path, TIFF_MOST_PAGES);
    if ((file->count & (file->count - 1)) == 0) {
        size_t room = file->count ? file->count * 2 : 1;
        TiffPage *pages = realloc(file->pages, room * sizeof *pages);
        if (!pages) return status_make(STATUS_NO_MEMORY, "%s: no memory for %zu pages", file->path, room);
        file->pages = pages;
    }
    TiffPage *page = &file->pages[file->count];
    *page = (TiffPage){.offset = TIFFCurrentDirOffset(tiff), .number = number, .sub = sub};
    if (sub < 0) snprintf(page->name, sizeof page->name, "page %zu", number);
    else snprintf(page->name, sizeof page->name, "page %zu, sub-image %d", number, sub);
    uint32_t width = 0, height = 0, block_width = 0, block_height = 0;
    uint16_t compression = COMPRESSION_NONE, photometric = PHOTOMETRIC_MINISBLACK, planar = PLANARCONFIG_CONTIG;
    uint16_t samples = 1, bits = 1, format = SAMPLEFORMAT_UINT, unit = RESUNIT_INCH;
    float x_resolution = 0, y_resolution = 0;
    char *description = NULL;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric))
        photometric = samples >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SUBFILETYPE, &page->subfile);
    TIFFGetField(tiff, TIFFTAG_XRESOLUTION, &x_resolution);
    TIFFGetField(tiff, TIFFTAG_YRESOLUTION, &y_resolution);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
    page->width = width;
    page->height = height;
    page->compression = compression;
    page->photometric = photometric;
    page->planar = planar;
    page->samples = samples;
    page->bits = bits;
    page->sample_format = format;
    page->x_resolution = x_resolution;
    page->y_resolution = y_resolution;
    page->resolution_unit = unit;
    page->tiled = TIFFIsTiled(tiff) != 0;
    if (page->tiled) {
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &block_width);
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &block_height);
    } else {
        block_width = width;
        TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &block_height);
    }
    TRY(check_sizes(file, page, block_width, block_height));
    if (TIFFGetField(tiff, TIFFTAG_IMAGEDESCRIPTION, &description) && description) {
        page->description = strdup(description);
        if (!page->description) return status_make(STATUS_NO_MEMORY, "%s: no memory for its text", file->path);
    }
    file->count++;
    return STATUS_OK;
}

// The SubIFDs of the first page. libtiff follows their own chain; it is not asked to.
static Status add_subs(TiffFile *file, TIFF *tiff, const uint64_t *offsets, size_t n) {
    for (size_t i = 0; i < n; i++) {
        file->error->message[0] = '\0';
        if (!TIFFSetSubDirectory(tiff, offsets[i]))
            return status_make(STATUS_MALFORMED,
                               "%s: page 0, sub-image %zu (offset %llu) is damaged (%s); copy the file again",
                               file->path, i, (unsigned long long)offsets[i], why(file));
        TRY(add_page(file, tiff, 0, (int)i));
    }
    return STATUS_OK;
}

static Status add_pages(TiffFile *file, TIFF *tiff, bool first_only) {
    TRY(add_page(file, tiff, 0, -1));
    if (first_only) return STATUS_OK;
    uint16_t n = 0;
    uint64_t *inside = NULL, *offsets = NULL;
    if (TIFFGetField(tiff, TIFFTAG_SUBIFD, &n, &inside) && n) {
        if (n > TIFF_MOST_PAGES)
            return status_make(STATUS_UNSUPPORTED, "%s: page 0 has %u sub-images; at most %d are read", file->path, n,
                               TIFF_MOST_PAGES);
        offsets = malloc(n * sizeof *offsets); // libtiff's own copy ends with the next directory
        if (!offsets) return status_make(STATUS_NO_MEMORY, "%s: no memory for %u sub-images", file->path, n);
        memcpy(offsets, inside, n * sizeof *offsets);
    }
    Status status = STATUS_OK;
    for (size_t number = 1; status == STATUS_OK && !TIFFLastDirectory(tiff); number++) {
        file->error->message[0] = '\0';
        if (TIFFReadDirectory(tiff)) status = add_page(file, tiff, number, -1);
        else
            status = status_make(STATUS_MALFORMED,
                                 "%s: page %zu, whose place page %zu (offset %llu) gives, is damaged "
                                 "or missing (%s); copy the file again",
                                 file->path, number, number - 1,
                                 (unsigned long long)file->pages[file->count - 1].offset, why(file));
    }
    if (status == STATUS_OK && n) status = add_subs(file, tiff, offsets, n);
    free(offsets);
    return status;
}

Status tiff_file_open(const char *path, bool first_only, size_t cache_bytes, TiffFile **out_file) {
    *out_file = NULL;
    uint64_t bytes = 0;
    TRY(file_size(path, &bytes));
    TiffFile *file = calloc(1, sizeof *file);
    if (!file) return status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    file->descriptor = -1;
    file->bytes = bytes;
    file->path = strdup(path);
    file->error = calloc(1, sizeof *file->error);
    file->ghosts = calloc(GHOSTS, sizeof *file->ghosts);
    file->reuse = 1;
    block_cache_init(&file->cache, cache_bytes);
    Status status = STATUS_OK;
    TIFF *tiff = NULL;
    if (!file->path || !file->error || !file->ghosts)
        status = status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    if (status == STATUS_OK) {
        file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (file->descriptor < 0) status = status_errno(errno, "cannot open %s", path);
    }
    if (status == STATUS_OK) {
        tiff = tiff_handle(path, file->error);
        if (!tiff)
            status = status_make(STATUS_MALFORMED, "%s: not a readable TIFF file (%s); copy the file again", path,
                                 why(file));
    }
    if (status == STATUS_OK) status = add_pages(file, tiff, first_only);
    if (status == STATUS_OK) {
        file->readers = calloc(file->count, sizeof *file->readers);
        if (!file->readers) status = status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    }
    if (tiff) TIFFClose(tiff);
    if (status != STATUS_OK) {
        tiff_file_close(file);
        return status;
    }
    const char *text = file->pages[0].description;
    file->aperio = text && strncmp(text, "Aperio", 6) == 0;
    *out_file = file;
    return STATUS_OK;
}

void tiff_file_close(TiffFile *file) {
    if (!file) return;
    for (size_t i = 0; i < file->count; i++) {
        if (file->readers && file->readers[i].tiff) TIFFClose(file->readers[i].tiff);
        free(file->pages[i].description);
    }
    if (file->descriptor >= 0) close(file->descriptor);
    block_cache_free(&file->cache);
    jpeg_tiles_free(file->jpeg);
    free(file->raw);
    free(file->readers);
    free(file->pages);
    free(file->error);
    free(file->ghosts);
    free(file->path);
    free(file);
}

size_t tiff_file_count(const TiffFile *file) {
    return file->count;
}

const TiffPage *tiff_file_page(const TiffFile *file, size_t page) {
    return &file->pages[page];
}

// ---- What can be read -----------------------------------------------------------------------------------------

static const char *left_out_codec(unsigned compression) {
    switch (compression) {
    case COMPRESSION_JBIG: return "JBIG";
    case COMPRESSION_LERC: return "LERC";
    case COMPRESSION_OJPEG: return "old-style JPEG (6)";
    case JPEG_2000_APERIO_YCBCR:
    case JPEG_2000_APERIO_RGB:
    case COMPRESSION_JP2000: return "JPEG 2000";
    default: return NULL;
    }
}

Status tiff_file_can_read(const TiffFile *file, size_t number) {
    const TiffPage *page = &file->pages[number];
    const char *codec = left_out_codec(page->compression);
    if (codec || (page->compression != COMPRESSION_JPEG && !TIFFIsCODECConfigured((uint16_t)page->compression))) {
        char unknown[32];
        snprintf(unknown, sizeof unknown, "number %u", page->compression);
        return status_make(STATUS_UNSUPPORTED,
                           "%s: %s compression is not built into this program; convert the file to JPEG or "
                           "deflate compression",
                           page->name, codec ? codec : unknown);
    }
    if (page->samples == 0 || page->bits == 0)
        return status_make(STATUS_MALFORMED, "%s has %u samples of %u bits", page->name, page->samples, page->bits);
    bool integers = page->sample_format == SAMPLEFORMAT_UINT || page->sample_format == SAMPLEFORMAT_VOID;
    if (page->bits > 16 || !integers)
        return status_make(STATUS_UNSUPPORTED, "%s has %u-bit %s samples; pictures of 8 or 16 bits are read",
                           page->name, page->bits, integers ? "integer" : "signed or floating-point");
    if (page->compression == COMPRESSION_JPEG) {
        if (page->bits != 8)
            return status_make(STATUS_UNSUPPORTED, "%s holds %u-bit JPEG; 8-bit JPEG is read", page->name, page->bits);
        if (page->samples != 1 && page->samples != 3)
            return status_make(STATUS_UNSUPPORTED, "%s holds JPEG of %u components; 1 and 3 are read", page->name,
                               page->samples);
    }
    return STATUS_OK;
}

// ---- Regions --------------------------------------------------------------------------------------------------

// The libtiff handle of a page, its directory read again and compared with what was seen at opening.
static Status open_reader(TiffFile *file, size_t number) {
    TiffReader *reader = &file->readers[number];
    const TiffPage *page = &file->pages[number];
    if (reader->tiff) return STATUS_OK;
    TRY(tiff_file_can_read(file, number));
    file->error->message[0] = '\0';
    TIFF *tiff = tiff_handle(file->path, file->error);
    if (!tiff) return status_make(STATUS_IO, "cannot be opened again (%s)", why(file));
    uint32_t width = 0, height = 0, tables_size = 0;
    bool ok = number == 0 || TIFFSetSubDirectory(tiff, page->offset);
    if (ok) {
        TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
        TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
        ok = width == page->width && height == page->height && (TIFFIsTiled(tiff) != 0) == page->tiled;
    }
    uint64_t planes = page->planar == PLANARCONFIG_SEPARATE ? page->samples : 1;
    uint64_t blocks = (uint64_t)page->across * page->down * planes;
    if (ok) ok = blocks == (page->tiled ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff));
    if (!ok) {
        TIFFClose(tiff);
        return bad_page(file, page);
    }
    void *tables = NULL;
    if (page->compression == COMPRESSION_JPEG && TIFFGetField(tiff, TIFFTAG_JPEGTABLES, &tables_size, &tables)) {
        reader->tables = tables;
        reader->tables_size = tables_size;
    }
    reader->tiff = tiff;
    return STATUS_OK;
}

static Status get_block(TiffFile *file, size_t number, size_t index, const Block **out_block) {
    *out_block = block_cache_find(&file->cache, number, index);
    if (*out_block) return STATUS_OK;
    const TiffPage *page = &file->pages[number];
    size_t top = index / page->across * page->block_height, left = index % page->across * page->block_width;
    // A tile has all its rows; the last strip has only those inside the picture.
    size_t rows = page->tiled || page->height - top > page->block_height ? page->block_height : page->height - top;
    bool absent = false;
    Block *block = NULL;
    Status status = tiff_block_absent(file, number, index, &absent);
    if (status == STATUS_OK)
        status = block_cache_add(&file->cache, number, index, absent ? 0 : rows * page->block_width * 3, &block);
    if (status == STATUS_OK && !absent) {
        status = tiff_block_read(file, number, index, rows, block->rgb);
        if (status != STATUS_OK) block_cache_drop(&file->cache, block);
    }
    *out_block = block;
    return status_context(status, "%s: the %s at x %zu, y %zu", page->name, page->tiled ? "tile" : "strip", left, top);
}

// Random access to a slide much larger than the cache finds hardly any tile again: decoding the wanted part of each is
// then the better deal. Every wanted tile counts, whether found or not; a tile last decoded in part counts as found if
// it would still be in a cache.
static bool scattered(TiffFile *file, size_t number, size_t index, bool found) {
    const double memory = 1.0 / 64, little = 0.25;
    uint64_t key = ((uint64_t)number << 40 | (uint64_t)index) + 1;
    if (!found) {
        const TiffPage *page = &file->pages[number];
        size_t held = file->cache.budget / (page->block_width * page->block_height * 3);
        TiffGhost *ghost = &file->ghosts[(key * 0x9E3779B97F4A7C15u) >> 54]; // 10 bits: GHOSTS
        found = ghost->key == key && file->clock - ghost->time < held;
        *ghost = (TiffGhost){key, file->clock++};
    }
    file->reuse += ((found ? 1.0 : 0.0) - file->reuse) * memory;
    return file->reuse < little;
}

// The part straight into the region, if that is the better way; *out_done tells.
static Status part_only(TiffFile *file, size_t number, size_t index, JpegPart part, uint8_t *to, size_t stride,
                        bool *out_done) {
    const TiffPage *page = &file->pages[number];
    bool found = block_cache_find(&file->cache, number, index) != NULL, absent = false;
    bool loose = scattered(file, number, index, found);
    *out_done = false;
    if (found || !loose || !tiff_block_splits(page) ||
        part.width * part.height > page->block_width * page->block_height * 3 / 4)
        return STATUS_OK;
    TRY(tiff_block_absent(file, number, index, &absent));
    if (absent) return STATUS_OK;
    *out_done = true;
    return tiff_block_read_part(file, number, index, part, to, stride);
}

static void copy_part(const TiffPage *page, const Block *block, size_t top, size_t left, size_t x0, size_t x1,
                      size_t y0, size_t y1, const uint8_t absent[3], uint8_t *to, size_t stride) {
    for (size_t y = y0; y < y1; y++, to += stride) {
        if (block->rgb) {
            memcpy(to, block->rgb + ((y - top) * page->block_width + (x0 - left)) * 3, (x1 - x0) * 3);
            continue;
        }
        for (size_t i = 0; i < x1 - x0; i++) memcpy(to + 3 * i, absent, 3);
    }
}

Status tiff_file_region(TiffFile *file, size_t number, size_t x, size_t y, size_t w, size_t h, const uint8_t absent[3],
                        uint8_t *rgb, size_t stride) {
    TRY(open_reader(file, number));
    const TiffPage *page = &file->pages[number];
    size_t bw = page->block_width, bh = page->block_height;
    for (size_t row = y / bh; row * bh < y + h; row++) {
        for (size_t column = x / bw; column * bw < x + w; column++) {
            const Block *block = NULL;
            size_t top = row * bh, left = column * bw, index = row * page->across + column;
            size_t y0 = top > y ? top : y, y1 = top + bh < y + h ? top + bh : y + h;
            size_t x0 = left > x ? left : x, x1 = left + bw < x + w ? left + bw : x + w;
            uint8_t *to = rgb + (y0 - y) * stride + (x0 - x) * 3;
            bool done = false;
            JpegPart part = {x0 - left, y0 - top, x1 - x0, y1 - y0};
            TRY_IN(part_only(file, number, index, part, to, stride, &done), "%s: the tile at x %zu, y %zu", page->name,
                   left, top);
            if (done) continue;
            TRY(get_block(file, number, index, &block));
            copy_part(page, block, top, left, x0, x1, y0, y1, absent, to, stride);
        }
    }
    return STATUS_OK;
}
