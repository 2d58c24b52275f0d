// png: see png.h. libpng hands its bytes to an AtomicFile; a write error is kept aside and leaves libpng by
// longjmp.
#include "png.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "../core/files.h"

typedef struct PngWriter {
    AtomicFile file;
    Status status;
    char message[128];
} PngWriter;

static void on_write(png_structp png, png_bytep data, size_t size) {
    PngWriter *writer = png_get_io_ptr(png);
    writer->status = atomic_write(&writer->file, data, size);
    if (writer->status != STATUS_OK) png_longjmp(png, 1);
}

static void on_flush(png_structp png) {
    (void)png;
}

static void on_error(png_structp png, png_const_charp message) {
    PngWriter *writer = png_get_error_ptr(png);
    size_t n = strlen(message) < sizeof writer->message ? strlen(message) : sizeof writer->message - 1;
    memcpy(writer->message, message, n);
    writer->message[n] = '\0';
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png, (void)message;
}

static Status encode(PngWriter *writer, png_structp png, png_infop info, const char *path, size_t width, size_t height,
                     const uint8_t *rgb) {
    if (setjmp(png_jmpbuf(png))) {
        if (writer->status != STATUS_OK) return writer->status;
        return status_make(STATUS_INTERNAL, "cannot write %s: libpng: %s", path, writer->message);
    }
    png_set_write_fn(png, writer, on_write, on_flush);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 6);
    png_write_info(png, info);
    for (size_t y = 0; y < height; y++) png_write_row(png, rgb + y * width * 3);
    png_write_end(png, info);
    return STATUS_OK;
}

Status png_write_rgb(const char *path, size_t width, size_t height, const uint8_t *rgb) {
    if (width == 0 || height == 0 || width > 65535 || height > 65535)
        return status_make(STATUS_INVALID, "cannot write %s: %zu x %zu pixels is not a picture", path, width, height);
    PngWriter writer = {0};
    TRY(atomic_open(&writer.file, path));
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    Status status = info ? encode(&writer, png, info, path, width, height, rgb)
                         : status_make(STATUS_NO_MEMORY, "no memory to write %s", path);
    if (png) png_destroy_write_struct(&png, &info);
    if (status == STATUS_OK) return atomic_commit(&writer.file);
    atomic_abort(&writer.file);
    return status;
}
