// image: JPEG, PNG and TIFF pictures as 8-bit RGB, read by region.
//
// The format is told by the first bytes of the file. Pixels come as [row][column][R, G, B]. Alpha is dropped,
// 16-bit samples are cut to 8, grey becomes R = G = B; Exif
// orientation is not applied. Not read: CMYK JPEG, 12-bit JPEG, JBIG and LERC TIFF
// (the message says so). A file that ends early or is damaged is an error, never a grey area.
//
// Cost: JPEG and PNG decode from the top, so reading regions in increasing y is one pass over the file and
// going back starts again; an interlaced PNG is decoded whole at the first read. TIFF decodes only the tiles
// or strips touched. One ImageFile is for one thread at a time.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct ImageFile ImageFile;

typedef enum ImageFormat { IMAGE_JPEG, IMAGE_PNG, IMAGE_TIFF } ImageFormat;

typedef struct ImageInfo {
    ImageFormat format;
    size_t width, height; // pixels
} ImageInfo;

// Longest side accepted. Larger headers are damage or attack: 2^20 pixels are 0.25 m of tissue at 0.25 µm.
enum { IMAGE_LONGEST_SIDE = 1 << 20 };

// What the first bytes say; no more is read.
MUST_USE Status image_format_of(const char *path, ImageFormat *out_format);

// Reads the header only. Directories, pipes and devices are refused.
MUST_USE Status image_open(const char *path, ImageFile **out_image);
ImageInfo image_info(const ImageFile *image);
const char *image_path(const ImageFile *image);
const char *image_format_name(ImageFormat format);

// The region with top left corner (x, y), width w and height h, into rgb[h][w][3]. It must lie inside the
// image.
MUST_USE Status image_read_region(ImageFile *image, size_t x, size_t y, size_t w, size_t h, uint8_t *rgb);
void image_close(ImageFile *image); // NULL is fine

// A picture in memory; `rgb` is [height][width][3], from malloc.
typedef struct Picture {
    size_t width, height;
    uint8_t *rgb;
} Picture;

// Room for a picture; refused above `limit` bytes. Contents undefined.
MUST_USE Status picture_create(size_t width, size_t height, size_t limit, Picture *out_picture);
void picture_free(Picture *picture);

// The whole file at once; refused if it needs more than `limit` bytes.
MUST_USE Status image_load(const char *path, size_t limit, Picture *out_picture);
