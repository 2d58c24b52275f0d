// image_backend: what a file format gives to image.c. Internal to runtime/data.
#pragma once

#include <stdio.h>

#include "image.h"

typedef struct ImageBackend {
    ImageFormat format;
    // Reads the header of `path`; *out_state is the backend's own.
    Status (*open)(const char *path, void **out_state, size_t *out_width, size_t *out_height);
    // As image_read_region; bounds have been checked, w and h are not 0.
    Status (*read)(void *state, size_t x, size_t y, size_t w, size_t h, uint8_t *rgb);
    void (*close)(void *state); // NULL is fine
} ImageBackend;

extern const ImageBackend image_jpeg_backend;
extern const ImageBackend image_png_backend;
extern const ImageBackend image_tiff_backend;
