// image: see image.h. Chooses the backend by magic number and checks bounds for all of them.
#include "image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "image_backend.h"

struct ImageFile {
    const ImageBackend *backend;
    void *state;
    ImageInfo info;
    char *path;
};

const char *image_format_name(ImageFormat format) {
    switch (format) {
    case IMAGE_JPEG: return "JPEG";
    case IMAGE_PNG: return "PNG";
    case IMAGE_TIFF: return "TIFF";
    }
    return "unknown";
}

static Status choose_backend(const char *path, const ImageBackend **out_backend) {
    unsigned char magic[8] = {0};
    uint64_t size = 0;
    size_t got = 0;
    TRY(file_head(path, magic, sizeof magic, &got, &size));
    if (got >= 3 && memcmp(magic, "\xFF\xD8\xFF", 3) == 0) *out_backend = &image_jpeg_backend;
    else if (got == 8 && memcmp(magic, "\x89PNG\r\n\x1a\n", 8) == 0) *out_backend = &image_png_backend;
    else if (got >= 4 && (memcmp(magic, "II*\0", 4) == 0 || memcmp(magic, "MM\0*", 4) == 0 ||
                          memcmp(magic, "II+\0", 4) == 0 || memcmp(magic, "MM\0+", 4) == 0))
        *out_backend = &image_tiff_backend;
    else
        return status_make(STATUS_UNSUPPORTED, "%s: not a JPEG, PNG or TIFF file (it starts with %02x %02x %02x %02x)",
                           path, magic[0], magic[1], magic[2], magic[3]);
    return STATUS_OK;
}

Status image_format_of(const char *path, ImageFormat *out_format) {
    const ImageBackend *backend = NULL;
    TRY(choose_backend(path, &backend));
    *out_format = backend->format;
    return STATUS_OK;
}

Status image_open(const char *path, ImageFile **out_image) {
    *out_image = NULL;
    const ImageBackend *backend = NULL;
    TRY(choose_backend(path, &backend));
    ImageFile *image = calloc(1, sizeof *image);
    char *copy = malloc(strlen(path) + 1);
    if (!image || !copy) {
        free(image);
        free(copy);
        return status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    }
    image->backend = backend;
    image->path = strcpy(copy, path);
    image->info.format = backend->format;
    Status status = backend->open(path, &image->state, &image->info.width, &image->info.height);
    if (status == STATUS_OK && (image->info.width == 0 || image->info.height == 0))
        status = status_make(STATUS_MALFORMED, "%s: the picture has no pixels", path);
    if (status == STATUS_OK && (image->info.width > IMAGE_LONGEST_SIDE || image->info.height > IMAGE_LONGEST_SIDE))
        status = status_make(STATUS_UNSUPPORTED, "%s: the header says %zu x %zu pixels; sides above %d are refused",
                             path, image->info.width, image->info.height, IMAGE_LONGEST_SIDE);
    if (status != STATUS_OK) {
        image_close(image);
        return status;
    }
    *out_image = image;
    return STATUS_OK;
}

ImageInfo image_info(const ImageFile *image) {
    return image->info;
}

const char *image_path(const ImageFile *image) {
    return image->path;
}

Status image_read_region(ImageFile *image, size_t x, size_t y, size_t w, size_t h, uint8_t *rgb) {
    if (w > image->info.width || x > image->info.width - w || h > image->info.height || y > image->info.height - h)
        return status_make(STATUS_INVALID, "%s: the region x %zu, y %zu, %zu x %zu leaves the picture of %zu x %zu",
                           image->path, x, y, w, h, image->info.width, image->info.height);
    if (w == 0 || h == 0) return STATUS_OK;
    TRY_IN(image->backend->read(image->state, x, y, w, h, rgb), "%s", image->path);
    return STATUS_OK;
}

void image_close(ImageFile *image) {
    if (!image) return;
    image->backend->close(image->state);
    free(image->path);
    free(image);
}

Status picture_create(size_t width, size_t height, size_t limit, Picture *out_picture) {
    *out_picture = (Picture){0};
    if (width == 0 || height == 0)
        return status_make(STATUS_INVALID, "a picture of %zu x %zu pixels is empty", width, height);
    if (width > SIZE_MAX / 3 / height || width * height * 3 > limit)
        return status_make(STATUS_NO_MEMORY, "a picture of %zu x %zu pixels needs more than the %zu bytes allowed here",
                           width, height, limit);
    uint8_t *rgb = malloc(width * height * 3);
    if (!rgb) return status_make(STATUS_NO_MEMORY, "no memory for a picture of %zu x %zu pixels", width, height);
    *out_picture = (Picture){width, height, rgb};
    return STATUS_OK;
}

void picture_free(Picture *picture) {
    free(picture->rgb);
    *picture = (Picture){0};
}

Status image_load(const char *path, size_t limit, Picture *out_picture) {
    ImageFile *image = NULL;
    *out_picture = (Picture){0};
    TRY(image_open(path, &image));
    Status status = picture_create(image->info.width, image->info.height, limit, out_picture);
    if (status != STATUS_OK) status = status_context(status, "%s", path);
    else status = image_read_region(image, 0, 0, out_picture->width, out_picture->height, out_picture->rgb);
    image_close(image);
    if (status != STATUS_OK) picture_free(out_picture);
    return status;
}
