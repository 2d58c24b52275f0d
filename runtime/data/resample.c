// resample: see resample.h. The vertical pass runs over a ring of horizontally scaled rows, just long enough for one
// window; the windows and the inner loops are resample_axis.h.
#include "resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "resample_axis.h"

enum { STRIP = 16 };

struct Resampler {
    Axis across, down;
    size_t ring_rows, row_bytes;
    uint8_t *wide;          // [(in + widest + 8) * 4]
    uint8_t *ring;          // [ring_rows][row_bytes]
    const uint8_t **window; // [ring_rows]
};

static bool usable_box(size_t width, size_t height, ResampleBox box) {
    return box.x0 >= 0 && box.y0 >= 0 && box.x1 <= (float)width && box.y1 <= (float)height && box.x0 < box.x1 &&
           box.y0 < box.y1;
}

Status resampler_create(size_t width, size_t height, const ResampleBox *box, size_t out_width, size_t out_height,
                        ResampleFilter filter, Resampler **out_resampler) {
    *out_resampler = NULL;
    ResampleBox all = {0, 0, (float)width, (float)height};
    if (!box) box = &all;
    if (width == 0 || height == 0 || out_width == 0 || out_height == 0 || width > IMAGE_LONGEST_SIDE ||
        height > IMAGE_LONGEST_SIDE || out_width > IMAGE_LONGEST_SIDE || out_height > IMAGE_LONGEST_SIDE)
        return status_make(STATUS_INVALID, "cannot scale %zu x %zu pixels to %zu x %zu (sides from 1 to %d)", width,
                           height, out_width, out_height, IMAGE_LONGEST_SIDE);
    if (!usable_box(width, height, *box))
        return status_make(STATUS_INVALID, "the box from (%g, %g) to (%g, %g) does not lie in %zu x %zu pixels",
                           (double)box->x0, (double)box->y0, (double)box->x1, (double)box->y1, width, height);
    Resampler *resampler = calloc(1, sizeof *resampler);
    if (!resampler) return status_make(STATUS_NO_MEMORY, "no memory to scale %zu x %zu pixels", width, height);
    Status status = axis_create(width, box->x0, box->x1, out_width, filter, &resampler->across);
    if (status == STATUS_OK) status = axis_create(height, box->y0, box->y1, out_height, filter, &resampler->down);
    if (status == STATUS_OK) {
        resampler->ring_rows = resampler->down.widest;
        resampler->row_bytes = out_width * 3;
        resampler->wide = calloc(width + resampler->across.widest + 8, 4);
        resampler->ring = calloc(resampler->ring_rows, resampler->row_bytes);
        resampler->window = calloc(resampler->ring_rows, sizeof *resampler->window);
        if (!resampler->wide || !resampler->ring || !resampler->window)
            status =
                status_make(STATUS_NO_MEMORY, "no memory for %zu rows of %zu pixels", resampler->ring_rows, out_width);
    }
    if (status != STATUS_OK) resampler_free(resampler);
    else *out_resampler = resampler;
    return status;
}

void resampler_free(Resampler *resampler) {
    if (!resampler) return;
    axis_free(&resampler->across);
    axis_free(&resampler->down);
    free(resampler->wide);
    free(resampler->ring);
    free(resampler->window);
    free(resampler);
}

// One row into its place in the ring.
static void put_row(Resampler *resampler, size_t y, const uint8_t *row) {
    axis_scale_row(&resampler->across, row, resampler->wide,
                   resampler->ring + y % resampler->ring_rows * resampler->row_bytes);
}

static void get_row(Resampler *resampler, size_t i, uint8_t *out) {
    const Axis *down = &resampler->down;
    for (size_t k = 0; k < down->taps[i]; k++)
        resampler->window[k] = resampler->ring + (down->first[i] + k) % resampler->ring_rows * resampler->row_bytes;
    axis_blend_rows(down, i, resampler->window, resampler->row_bytes, out);
}

void resampler_run(Resampler *resampler, const uint8_t *rgb, size_t stride, uint8_t *out) {
    const Axis *down = &resampler->down;
    size_t next = down->from;
    for (size_t i = 0; i < down->out; i++) {
        for (; next < down->first[i] + down->taps[i]; next++) put_row(resampler, next, rgb + next * stride);
        get_row(resampler, i, out + i * resampler->row_bytes);
    }
}

// Where the rows come from: somebody who is asked for strips, or memory.
typedef struct RowSource {
    ResampleRows *rows;
    void *context;
    const Picture *picture;
    uint8_t *strip; // [STRIP][width][3], for `rows`
    size_t width, height, next;
} RowSource;

static Status next_row(RowSource *source, const uint8_t **out_row) {
    size_t y = source->next++;
    if (source->picture) {
        *out_row = source->picture->rgb + y * source->width * 3;
        return STATUS_OK;
    }
    if (y % STRIP == 0) {
        size_t rows = source->height - y < STRIP ? source->height - y : STRIP;
        TRY(source->rows(source->context, y, rows, source->strip));
    }
    *out_row = source->strip + y % STRIP * source->width * 3;
    return STATUS_OK;
}

static Status resample(RowSource *source, size_t out_width, size_t out_height, ResampleFilter filter,
                       ResampleProgress *progress, void *context, Picture *out_picture) {
    Resampler *resampler = NULL;
    *out_picture = (Picture){0};
    Status status = picture_create(out_width, out_height, (size_t)8 << 30, out_picture);
    if (status == STATUS_OK)
        status = resampler_create(source->width, source->height, NULL, out_width, out_height, filter, &resampler);
    if (status != STATUS_OK) goto done;
    for (size_t i = 0; i < out_height; i++) {
        while (source->next < resampler->down.first[i] + resampler->down.taps[i]) {
            const uint8_t *row = NULL;
            size_t y = source->next;
            TRY_OR(status, done, next_row(source, &row));
            put_row(resampler, y, row);
        }
        get_row(resampler, i, out_picture->rgb + i * resampler->row_bytes);
        if (progress && i % 16 == 15 && !progress(context, (double)(i + 1) / (double)out_height)) {
            status = status_make(STATUS_CANCELLED, "stopped while scaling the picture");
            goto done;
        }
    }
    // Rows below the last window matter to nobody, but damage there must still be found.
    while (source->next < source->height) {
        const uint8_t *row = NULL;
        TRY_OR(status, done, next_row(source, &row));
    }
done:
    resampler_free(resampler);
    if (status != STATUS_OK) picture_free(out_picture);
    return status;
}

Status resample_rows(ResampleRows *rows, void *rows_context, size_t width, size_t height, size_t out_width,
                     size_t out_height, ResampleFilter filter, ResampleProgress *progress, void *context,
                     Picture *out_picture) {
    *out_picture = (Picture){0};
    uint8_t *strip = malloc(STRIP * width * 3);
    if (!strip) return status_make(STATUS_NO_MEMORY, "no memory for rows of %zu pixels", width);
    RowSource source = {.rows = rows, .context = rows_context, .strip = strip, .width = width, .height = height};
    Status status = resample(&source, out_width, out_height, filter, progress, context, out_picture);
    free(strip);
    return status;
}

static Status rows_of_image(void *image, size_t first, size_t count, uint8_t *rgb) {
    return image_read_region(image, 0, first, image_info(image).width, count, rgb);
}

Status resample_image(ImageFile *image, size_t out_width, size_t out_height, ResampleFilter filter,
                      ResampleProgress *progress, void *context, Picture *out_picture) {
    ImageInfo info = image_info(image);
    *out_picture = (Picture){0};
    if (out_width == 0 || out_height == 0)
        return status_make(STATUS_INVALID, "%s: cannot scale to %zu x %zu pixels", image_path(image), out_width,
                           out_height);
    return resample_rows(rows_of_image, image, info.width, info.height, out_width, out_height, filter, progress,
                         context, out_picture);
}

Status resample_picture(const Picture *picture, size_t out_width, size_t out_height, ResampleFilter filter,
                        Picture *out_picture) {
    *out_picture = (Picture){0};
    if (out_width == 0 || out_height == 0)
        return status_make(STATUS_INVALID, "cannot scale a picture to %zu x %zu pixels", out_width, out_height);
    RowSource source = {.picture = picture, .width = picture->width, .height = picture->height};
    return resample(&source, out_width, out_height, filter, NULL, NULL, out_picture);
}
