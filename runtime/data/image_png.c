// image_png: PNG through libpng, a row at a time; interlaced files are decoded whole at the first read.
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "image_backend.h"

typedef struct Png {
    png_structp reader;
    png_infop info;
    FILE *file;
    uint64_t file_bytes;
    size_t width, height;
    bool interlaced;
    bool broken;
    uint8_t *rows;      // interlaced: [height][width][3]; otherwise one row
    int64_t row_number; // rows decoded so far, minus 1
    char message[128];
} Png;

static const size_t interlaced_limit = (size_t)1 << 30;

static void on_error(png_structp reader, png_const_charp message) {
    Png *png = png_get_error_ptr(reader);
    size_t n = strlen(message) < sizeof png->message ? strlen(message) : sizeof png->message - 1;
    memcpy(png->message, message, n);
    png->message[n] = '\0';
    png_longjmp(reader, 1);
}

static void on_warning(png_structp reader, png_const_charp message) {
    (void)reader, (void)message; // libpng warns about colour profiles and the like; lost pixels are errors
}

static Status png_failure(const Png *png) {
    return status_make(STATUS_MALFORMED,
                       "the PNG data is damaged or ends early near row %lld of %zu (%s); copy the file again",
                       (long long)(png->row_number + 1), png->height, png->message);
}

static Status png_begin(Png *png) {
    if (png->reader) png_destroy_read_struct(&png->reader, &png->info, NULL);
    png->row_number = -1;
    png->broken = false;
    if (fseek(png->file, 0, SEEK_SET) != 0) return status_errno(errno, "cannot rewind");
    png->reader = png_create_read_struct(PNG_LIBPNG_VER_STRING, png, on_error, on_warning);
    if (png->reader) png->info = png_create_info_struct(png->reader);
    if (!png->reader || !png->info) return status_make(STATUS_NO_MEMORY, "no memory for a PNG decoder");
    if (setjmp(png_jmpbuf(png->reader))) return png_failure(png);
    png_set_user_limits(png->reader, IMAGE_LONGEST_SIDE, IMAGE_LONGEST_SIDE);
    png_init_io(png->reader, png->file);
    png_read_info(png->reader, png->info);
    png->width = png_get_image_width(png->reader, png->info);
    png->height = png_get_image_height(png->reader, png->info);
    // Deflate packs 1,032 bytes into one.
    if ((uint64_t)png_get_rowbytes(png->reader, png->info) * png->height / 1100 > png->file_bytes)
        return status_make(STATUS_MALFORMED, "%llu bytes are too few for the %zu x %zu pixels of the PNG header",
                           (unsigned long long)png->file_bytes, png->width, png->height);
    png->interlaced = png_get_interlace_type(png->reader, png->info) != PNG_INTERLACE_NONE;
    png_set_expand(png->reader); // palette and small bit depths to 8 bits
    png_set_scale_16(png->reader);
    png_set_strip_alpha(png->reader);
    png_set_gray_to_rgb(png->reader);
    png_set_interlace_handling(png->reader);
    png_read_update_info(png->reader, png->info);
    if (png_get_rowbytes(png->reader, png->info) != png->width * 3)
        return status_make(STATUS_UNSUPPORTED, "a PNG whose pixels cannot be turned into 8-bit RGB");
    return STATUS_OK;
}

static void png_end(void *state) {
    Png *png = state;
    if (!png) return;
    if (png->reader) png_destroy_read_struct(&png->reader, &png->info, NULL);
    if (png->file) fclose(png->file);
    free(png->rows);
    free(png);
}

static Status png_open(const char *path, void **out_state, size_t *out_width, size_t *out_height) {
    Png *png = calloc(1, sizeof *png);
    if (!png) return status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    *out_state = png;
    TRY(file_size(path, &png->file_bytes));
    png->file = fopen(path, "rb");
    if (!png->file) return status_errno(errno, "cannot open %s", path);
    TRY_IN(png_begin(png), "%s", path);
    *out_width = png->width;
    *out_height = png->height;
    return STATUS_OK;
}

static Status png_next_row(Png *png) {
    if (setjmp(png_jmpbuf(png->reader))) return png_failure(png);
    png_read_row(png->reader, png->rows, NULL);
    png->row_number++;
    if ((size_t)png->row_number + 1 == png->height) png_read_end(png->reader, NULL);
    return STATUS_OK;
}

static Status png_read_interlaced(Png *png) {
    if (png->height > interlaced_limit / 3 / png->width)
        return status_make(STATUS_UNSUPPORTED,
                           "an interlaced PNG of %zu x %zu pixels is too large to decode at once; save it "
                           "without interlacing",
                           png->width, png->height);
    uint8_t **pointers = malloc(png->height * sizeof *pointers);
    png->rows = malloc(png->width * png->height * 3);
    if (!pointers || !png->rows) {
        free(pointers);
        return status_make(STATUS_NO_MEMORY, "no memory for %zu x %zu pixels", png->width, png->height);
    }
    for (size_t r = 0; r < png->height; r++) pointers[r] = png->rows + r * png->width * 3;
    if (setjmp(png_jmpbuf(png->reader))) {
        free(pointers);
        free(png->rows);
        png->rows = NULL;
        return png_failure(png);
    }
    png_read_image(png->reader, pointers);
    png_read_end(png->reader, NULL);
    free(pointers);
    png->row_number = (int64_t)png->height - 1;
    return STATUS_OK;
}

static Status png_read(void *state, size_t x, size_t y, size_t w, size_t h, uint8_t *rgb) {
    Png *png = state;
    Status status = STATUS_OK;
    bool back = !png->interlaced && (int64_t)y < png->row_number;
    if (png->broken || back) TRY(png_begin(png));
    if (!png->rows && png->interlaced) status = png_read_interlaced(png);
    if (!png->rows && !png->interlaced) {
        png->rows = malloc(png->width * 3);
        if (!png->rows) return status_make(STATUS_NO_MEMORY, "no memory for a row of %zu pixels", png->width);
    }
    for (size_t r = 0; r < h && status == STATUS_OK; r++) {
        const uint8_t *row = png->rows;
        if (png->interlaced) row += (y + r) * png->width * 3;
        while (!png->interlaced && png->row_number < (int64_t)(y + r) && status == STATUS_OK)
            status = png_next_row(png);
        if (status == STATUS_OK) memcpy(rgb + r * w * 3, row + x * 3, w * 3);
    }
    if (status != STATUS_OK) png->broken = true;
    return status;
}

const ImageBackend image_png_backend = {IMAGE_PNG, png_open, png_read, png_end};
