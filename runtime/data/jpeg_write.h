// jpeg_write: RGB pixels to baseline JPEG, byte for byte what Pillow's Image.save(quality=, subsampling=) writes: JFIF
// header without a density, libjpeg's standard quantiser and Huffman tables, accurate integer DCT, no Exif.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef enum JpegSampling {
    JPEG_420, // colour at half resolution both ways: Pillow's default ("4:2:0")
    JPEG_422, // colour at half resolution across
    JPEG_444, // colour at full resolution
} JpegSampling;

enum { JPEG_QUALITY_DEFAULT = 75, JPEG_LONGEST_SIDE = 65500 };

// An encoder with its buffer, kept from picture to picture; one is for one thread.
typedef struct JpegWriter JpegWriter;

// quality 1 .. 100
MUST_USE Status jpeg_writer_create(int quality, JpegSampling sampling, JpegWriter **out_writer);
void jpeg_writer_free(JpegWriter *writer); // NULL is fine

// rgb: `height` rows of `stride` bytes, the first width * 3 of each used. *out_data belongs to the writer and lives
// until its next call.
MUST_USE Status jpeg_writer_encode(JpegWriter *writer, const uint8_t *rgb, size_t width, size_t height, size_t stride,
                                   const uint8_t **out_data, size_t *out_size);

// One picture to a file, under a temporary name first.
MUST_USE Status jpeg_write_rgb(const char *path, size_t width, size_t height, const uint8_t *rgb, int quality,
                               JpegSampling sampling);
