// jpeg_write: see jpeg_write.h.
#include "jpeg_write.h"

#include <stdlib.h>

#include "../core/files.h"
#include "image_jpeg_trap.h"

#include <jerror.h>

struct JpegWriter {
    JpegTrap trap; // first
    struct jpeg_compress_struct encoder;
    struct jpeg_destination_mgr sink;
    bool created;
    int quality;
    JpegSampling sampling;
    uint8_t *data;
    size_t size, capacity;
};

static JpegWriter *writer_of(j_compress_ptr encoder) {
    return (JpegWriter *)(void *)encoder->err;
}

static void sink_begin(j_compress_ptr encoder) {
    JpegWriter *writer = writer_of(encoder);
    encoder->dest->next_output_byte = writer->data;
    encoder->dest->free_in_buffer = writer->capacity;
}

// The whole buffer is full: twice as much.
static boolean sink_more(j_compress_ptr encoder) {
    JpegWriter *writer = writer_of(encoder);
    uint8_t *larger = writer->capacity > SIZE_MAX / 2 ? NULL : realloc(writer->data, writer->capacity * 2);
    if (!larger) ERREXIT1(encoder, JERR_OUT_OF_MEMORY, 0);
    writer->data = larger;
    encoder->dest->next_output_byte = larger + writer->capacity;
    encoder->dest->free_in_buffer = writer->capacity;
    writer->capacity *= 2;
    return TRUE;
}

static void sink_end(j_compress_ptr encoder) {
    JpegWriter *writer = writer_of(encoder);
    writer->size = writer->capacity - encoder->dest->free_in_buffer;
}

static Status failed(const JpegWriter *writer) {
    return status_make(STATUS_INTERNAL, "the JPEG encoder failed: %s", writer->trap.message);
}

static Status create(JpegWriter *writer) {
    writer->encoder.err = jpeg_trap_begin(&writer->trap);
    if (setjmp(writer->trap.escape)) return failed(writer);
    jpeg_create_compress(&writer->encoder);
    writer->created = true;
    writer->sink = (struct jpeg_destination_mgr){
        .init_destination = sink_begin, .empty_output_buffer = sink_more, .term_destination = sink_end};
    writer->encoder.dest = &writer->sink;
    return STATUS_OK;
}

Status jpeg_writer_create(int quality, JpegSampling sampling, JpegWriter **out_writer) {
    *out_writer = NULL;
    if (quality < 1 || quality > 100)
        return status_make(STATUS_INVALID, "JPEG quality %d; it goes from 1 to 100", quality);
    if (sampling != JPEG_420 && sampling != JPEG_422 && sampling != JPEG_444)
        return status_make(STATUS_INVALID, "JPEG subsampling %d; 4:2:0, 4:2:2 and 4:4:4 are written", (int)sampling);
    JpegWriter *writer = calloc(1, sizeof *writer);
    if (!writer) return status_make(STATUS_NO_MEMORY, "no memory for a JPEG encoder");
    writer->quality = quality;
    writer->sampling = sampling;
    writer->capacity = 1 << 16;
    writer->data = malloc(writer->capacity);
    Status status = writer->data ? create(writer) : status_make(STATUS_NO_MEMORY, "no memory for a JPEG encoder");
    if (status != STATUS_OK) jpeg_writer_free(writer);
    else *out_writer = writer;
    return status;
}

void jpeg_writer_free(JpegWriter *writer) {
    if (!writer) return;
    if (writer->created) jpeg_destroy_compress(&writer->encoder);
    free(writer->data);
    free(writer);
}

static Status encode(JpegWriter *writer, const uint8_t *rgb, size_t width, size_t height, size_t stride) {
    struct jpeg_compress_struct *encoder = &writer->encoder;
    jpeg_trap_begin(&writer->trap);
    if (setjmp(writer->trap.escape)) return failed(writer);
    encoder->image_width = (JDIMENSION)width;
    encoder->image_height = (JDIMENSION)height;
    encoder->input_components = 3;
    encoder->in_color_space = JCS_RGB;
    jpeg_set_defaults(encoder);
    jpeg_set_quality(encoder, writer->quality, TRUE);
    encoder->comp_info[0].h_samp_factor = writer->sampling == JPEG_444 ? 1 : 2;
    encoder->comp_info[0].v_samp_factor = writer->sampling == JPEG_420 ? 2 : 1;
    jpeg_start_compress(encoder, TRUE);
    while (encoder->next_scanline < encoder->image_height) {
        enum { ROWS_AT_ONCE = 16 };
        JSAMPROW rows[ROWS_AT_ONCE];
        size_t y = encoder->next_scanline, n = height - y < ROWS_AT_ONCE ? height - y : ROWS_AT_ONCE;
        for (size_t i = 0; i < n; i++) rows[i] = (JSAMPROW)(rgb + (y + i) * stride); // libjpeg does not write there
        jpeg_write_scanlines(encoder, rows, (JDIMENSION)n);
    }
    jpeg_finish_compress(encoder);
    return STATUS_OK;
}

Status jpeg_writer_encode(JpegWriter *writer, const uint8_t *rgb, size_t width, size_t height, size_t stride,
                          const uint8_t **out_data, size_t *out_size) {
    *out_data = NULL;
    *out_size = 0;
    if (width == 0 || height == 0 || width > JPEG_LONGEST_SIDE || height > JPEG_LONGEST_SIDE)
        return status_make(STATUS_INVALID, "a picture of %zu x %zu pixels cannot be a JPEG; its sides go from 1 to %d",
                           width, height, JPEG_LONGEST_SIDE);
    Status status = encode(writer, rgb, width, height, stride);
    if (status != STATUS_OK) {
        jpeg_abort_compress(&writer->encoder);
        return status;
    }
    *out_data = writer->data;
    *out_size = writer->size;
    return STATUS_OK;
}

Status jpeg_write_rgb(const char *path, size_t width, size_t height, const uint8_t *rgb, int quality,
                      JpegSampling sampling) {
    JpegWriter *writer = NULL;
    const uint8_t *data = NULL;
    size_t size = 0;
    TRY_IN(jpeg_writer_create(quality, sampling, &writer), "%s", path);
    Status status = status_context(jpeg_writer_encode(writer, rgb, width, height, width * 3, &data, &size), "%s", path);
    if (status == STATUS_OK) status = file_write_atomic(path, data, size);
    jpeg_writer_free(writer);
    return status;
}
