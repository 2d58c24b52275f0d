// image_jpeg: JPEG through libjpeg-turbo, a row at a time.
//
// libjpeg treats damage as a warning and goes on with grey blocks. Here every warning that means lost picture
// data is an error; only three harmless ones pass. Errors leave libjpeg by longjmp, so no function below
// keeps anything in need of freeing across a libjpeg call except through its state.
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "image_backend.h"

#include <jpeglib.h>

#include <jerror.h>

typedef struct Jpeg {
    struct jpeg_error_mgr errors; // first, so that the library's pointer to it is a pointer to Jpeg
    jmp_buf escape;
    char message[JMSG_LENGTH_MAX];
    bool damaged; // a warning about lost data came
    struct jpeg_decompress_struct decoder;
    bool created, started;
    FILE *file;
    size_t width, height;
    uint8_t *row;       // [width][3]
    int64_t row_number; // which row `row` holds; -1 none
} Jpeg;

static void on_error(j_common_ptr common) {
    Jpeg *jpeg = (Jpeg *)(void *)common->err;
    common->err->format_message(common, jpeg->message);
    longjmp(jpeg->escape, 1);
}

static void on_message(j_common_ptr common, int level) {
    if (level >= 0) return; // trace output
    Jpeg *jpeg = (Jpeg *)(void *)common->err;
    int code = common->err->msg_code;
    if (code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM) return;
    if (!jpeg->damaged) common->err->format_message(common, jpeg->message);
    jpeg->damaged = true;
}

static void on_output(j_common_ptr common) {
    (void)common;
}

static Status jpeg_failure(const Jpeg *jpeg) {
    return status_make(STATUS_MALFORMED,
                       "the JPEG data is damaged or ends early near row %u of %zu (%s); copy the file again",
                       jpeg->started ? jpeg->decoder.output_scanline : 0u, jpeg->height, jpeg->message);
}

// Back to the first row: a new decoder on the rewound file.
static Status jpeg_begin(Jpeg *jpeg) {
    if (jpeg->created) jpeg_destroy_decompress(&jpeg->decoder);
    jpeg->created = jpeg->started = jpeg->damaged = false;
    jpeg->row_number = -1;
    if (fseek(jpeg->file, 0, SEEK_SET) != 0) return status_errno(errno, "cannot rewind");
    jpeg->decoder.err = jpeg_std_error(&jpeg->errors);
    jpeg->errors.error_exit = on_error;
    jpeg->errors.emit_message = on_message;
    jpeg->errors.output_message = on_output;
    if (setjmp(jpeg->escape)) return jpeg_failure(jpeg);
    jpeg_create_decompress(&jpeg->decoder);
    jpeg->created = true;
    jpeg_stdio_src(&jpeg->decoder, jpeg->file);
    jpeg_read_header(&jpeg->decoder, TRUE);
    jpeg->width = jpeg->decoder.image_width;
    jpeg->height = jpeg->decoder.image_height;
    if (jpeg->damaged) return jpeg_failure(jpeg);
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
    jpeg->file = fopen(path, "rb");
    if (!jpeg->file) return status_errno(errno, "cannot open %s", path);
    TRY_IN(jpeg_begin(jpeg), "%s", path);
    *out_width = jpeg->width;
    *out_height = jpeg->height;
    return STATUS_OK;
}

// Decodes one more row into jpeg->row. After the last one the end marker is checked as well.
static Status jpeg_next_row(Jpeg *jpeg) {
    if (setjmp(jpeg->escape)) return jpeg_failure(jpeg);
    if (!jpeg->started) {
        jpeg_start_decompress(&jpeg->decoder);
        jpeg->started = true;
    }
    JSAMPROW rows[1] = {jpeg->row};
    jpeg->row_number = (int64_t)jpeg->decoder.output_scanline;
    if (jpeg_read_scanlines(&jpeg->decoder, rows, 1) != 1) return jpeg_failure(jpeg);
    if (jpeg->decoder.output_scanline == jpeg->decoder.output_height) jpeg_finish_decompress(&jpeg->decoder);
    if (jpeg->damaged) return jpeg_failure(jpeg);
    return STATUS_OK;
}

static Status jpeg_read(void *state, size_t x, size_t y, size_t w, size_t h, uint8_t *rgb) {
    Jpeg *jpeg = state;
    if (!jpeg->row) {
        jpeg->row = malloc(jpeg->width * 3);
        if (!jpeg->row) return status_make(STATUS_NO_MEMORY, "no memory for a row of %zu pixels", jpeg->width);
    }
    if ((int64_t)y < jpeg->row_number || jpeg->damaged) TRY(jpeg_begin(jpeg));
    for (size_t r = 0; r < h; r++) {
        while (jpeg->row_number < (int64_t)(y + r)) {
            Status status = jpeg_next_row(jpeg);
            if (status != STATUS_OK) {
                jpeg->damaged = true; // a later read starts over
                return status;
            }
        }
        memcpy(rgb + r * w * 3, jpeg->row + x * 3, w * 3);
    }
    return STATUS_OK;
}

const ImageBackend image_jpeg_backend = {IMAGE_JPEG, jpeg_open, jpeg_read, jpeg_end};
