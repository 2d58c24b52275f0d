// image_jpeg: JPEG through libjpeg-turbo, a row at a time.
//
// Every warning of libjpeg that means lost picture data is an error here (image_jpeg_trap.h).
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "image_backend.h"
#include "image_jpeg_trap.h"

enum { BEST_PACKING = 4096 };

typedef struct Jpeg {
    JpegTrap trap; // first, so that the library's pointer to its errors is a pointer to Jpeg
    struct jpeg_decompress_struct decoder;
    bool created, started;
    FILE *file;
    uint64_t file_bytes;
    size_t width, height;
    uint8_t *row;       // [width][3]
    int64_t row_number; // which row `row` holds; -1 none
} Jpeg;

static Status jpeg_failure(const Jpeg *jpeg) {
    return status_make(STATUS_MALFORMED,
                       "the JPEG data is damaged or ends early near row %u of %zu (%s); copy the file again",
                       jpeg->started ? jpeg->decoder.output_scanline : 0u, jpeg->height, jpeg->trap.message);
}

// Back to the first row: a new decoder on the rewound file.
static Status jpeg_begin(Jpeg *jpeg) {
    if (jpeg->created) jpeg_destroy_decompress(&jpeg->decoder);
    jpeg->created = jpeg->started = false;
    jpeg->row_number = -1;
    if (fseek(jpeg->file, 0, SEEK_SET) != 0) return status_errno(errno, "cannot rewind");
    jpeg->decoder.err = jpeg_trap_begin(&jpeg->trap);
    if (setjmp(jpeg->trap.escape)) return jpeg_failure(jpeg);
    jpeg_create_decompress(&jpeg->decoder);
    jpeg->created = true;
    jpeg_trap_limit(&jpeg->trap, &jpeg->decoder, jpeg->file_bytes);
    jpeg_stdio_src(&jpeg->decoder, jpeg->file);
    jpeg_read_header(&jpeg->decoder, TRUE);
    jpeg->width = jpeg->decoder.image_width;
    jpeg->height = jpeg->decoder.image_height;
    if (jpeg->trap.damaged) return jpeg_failure(jpeg);
    // Even a blank progressive picture takes 2 bits for 192 bytes of pixels.
    if ((uint64_t)jpeg->width * jpeg->height * 3 / BEST_PACKING > jpeg->file_bytes)
        return status_make(STATUS_MALFORMED, "%llu bytes are too few for the %zu x %zu pixels of the JPEG header",
                           (unsigned long long)jpeg->file_bytes, jpeg->width, jpeg->height);
    J_COLOR_SPACE space = jpeg->decoder.jpeg_color_space;
    if (space == JCS_CMYK || space == JCS_YCCK)
        return status_make(STATUS_UNSUPPORTED, "a CMYK JPEG (for printing); save it as RGB");
    jpeg->decoder.out_color_space = JCS_RGB;
    return STATUS_OK;
}

static void jpeg_end(void *state) {
    Jpeg *jpeg = state;
    if (!jpeg) return;
    if (jpeg->created) jpeg_destroy_decompress(&jpeg->decoder);
    if (jpeg->file) fclose(jpeg->file);
    free(jpeg->row);
    free(jpeg);
}

static Status jpeg_open(const char *path, void **out_state, size_t *out_width, size_t *out_height) {
    Jpeg *jpeg = calloc(1, sizeof *jpeg);
    if (!jpeg) return status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    *out_state = jpeg;
    TRY(file_size(path, &jpeg->file_bytes));
    jpeg->file = fopen(path, "rb");
    if (!jpeg->file) return status_errno(errno, "cannot open %s", path);
    TRY_IN(jpeg_begin(jpeg), "%s", path);
    *out_width = jpeg->width;
    *out_height = jpeg->height;
    return STATUS_OK;
}

// Decodes one more row into jpeg->row. After the last one the end marker is checked as well.
static Status jpeg_next_row(Jpeg *jpeg) {
    if (setjmp(jpeg->trap.escape)) return jpeg_failure(jpeg);
    if (!jpeg->started) {
        jpeg_start_decompress(&jpeg->decoder);
        jpeg->started = true;
    }
    JSAMPROW rows[1] = {jpeg->row};
    jpeg->row_number = (int64_t)jpeg->decoder.output_scanline;
    if (jpeg_read_scanlines(&jpeg->decoder, rows, 1) != 1) return jpeg_failure(jpeg);
    if (jpeg->decoder.output_scanline == jpeg->decoder.output_height) jpeg_finish_decompress(&jpeg->decoder);
    if (jpeg->trap.damaged) return jpeg_failure(jpeg);
    return STATUS_OK;
}

static Status jpeg_read(void *state, size_t x, size_t y, size_t w, size_t h, uint8_t *rgb) {
    Jpeg *jpeg = state;
    if (!jpeg->row) {
        jpeg->row = malloc(jpeg->width * 3);
        if (!jpeg->row) return status_make(STATUS_NO_MEMORY, "no memory for a row of %zu pixels", jpeg->width);
    }
    if ((int64_t)y < jpeg->row_number || jpeg->trap.damaged) TRY(jpeg_begin(jpeg));
    for (size_t r = 0; r < h; r++) {
        while (jpeg->row_number < (int64_t)(y + r)) {
            Status status = jpeg_next_row(jpeg);
            if (status != STATUS_OK) {
                jpeg->trap.damaged = true; // a later read starts over
                return status;
            }
        }
        memcpy(rgb + r * w * 3, jpeg->row + x * 3, w * 3);
    }
    return STATUS_OK;
}

const ImageBackend image_jpeg_backend = {IMAGE_JPEG, jpeg_open, jpeg_read, jpeg_end};
