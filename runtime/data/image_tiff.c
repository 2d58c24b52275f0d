// image_tiff: TIFF and BigTIFF as one picture: the first page (level 0 of a pyramid), read by region through
// slide_tiff.h with a small cache of decoded tiles. Tiles that a sparse file leaves out are white.
#include "image_backend.h"
#include "slide_tiff.h"

enum { CACHE_BYTES = 16 << 20 };

static Status tiff_open(const char *path, void **out_state, size_t *out_width, size_t *out_height) {
    TiffFile *file = NULL;
    *out_state = NULL;
    TRY(tiff_file_open(path, true, CACHE_BYTES, &file));
    Status status = tiff_file_can_read(file, 0);
    if (status != STATUS_OK) {
        tiff_file_close(file);
        return status_context(status, "%s", path);
    }
    *out_state = file;
    *out_width = tiff_file_page(file, 0)->width;
    *out_height = tiff_file_page(file, 0)->height;
    return STATUS_OK;
}

static Status tiff_read(void *state, size_t x, size_t y, size_t w, size_t h, uint8_t *rgb) {
    static const uint8_t white[3] = {255, 255, 255};
    return tiff_file_region(state, 0, x, y, w, h, white, rgb, w * 3);
}

static void tiff_end(void *state) {
    tiff_file_close(state);
}

const ImageBackend image_tiff_backend = {IMAGE_TIFF, tiff_open, tiff_read, tiff_end};
