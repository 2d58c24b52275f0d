// resample: see resample.h. One axis is a table of windows and fixed-point weights; the vertical pass runs
// over a ring of horizontally scaled rows, just long enough for one window.
#include "resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PRECISION = 32 - 8 - 2, STRIP = 16 };

// out[i] = sum of weights[i][k] * in[first[i] + k], k < taps[i]
typedef struct Axis {
    size_t in, out;
    size_t widest;    // entries reserved per window
    size_t *first;    // [out]
    size_t *taps;     // [out]
    int32_t *weights; // [out][widest]
} Axis;

static double filter_value(ResampleFilter filter, double x) {
    if (filter == RESAMPLE_BOX) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static void axis_free(Axis *axis) {
    free(axis->first);
    free(axis->taps);
    free(axis->weights);
    *axis = (Axis){0};
}

static Status axis_create(size_t in, size_t out, ResampleFilter filter, Axis *axis) {
    double scale = (double)in / (double)out, stretch = scale < 1.0 ? 1.0 : scale;
    double support = (filter == RESAMPLE_BOX ? 0.5 : 1.0) * stretch;
    size_t widest = (size_t)ceil(support) * 2 + 1;
    *axis = (Axis){.in = in, .out = out, .widest = widest};
    axis->first = calloc(out, sizeof *axis->first);
    axis->taps = calloc(out, sizeof *axis->taps);
    axis->weights = widest > SIZE_MAX / 8 / out ? NULL : calloc(out * widest, sizeof *axis->weights);
    double *exact = calloc(widest, sizeof *exact);
    if (!axis->first || !axis->taps || !axis->weights || !exact) {
        axis_free(axis);
        free(exact);
        return status_make(STATUS_NO_MEMORY, "no memory to scale %zu pixels to %zu", in, out);
    }
    for (size_t i = 0; i < out; i++) {
        double centre = ((double)i + 0.5) * scale, sum = 0.0;
        // Truncation towards zero and the clamps are part of the definition.
        long long low = (long long)(centre - support + 0.5), high = (long long)(centre + support + 0.5);
        if (low < 0) low = 0;
        if (high > (long long)in) high = (long long)in;
        size_t taps = (size_t)(high - low);
        for (size_t k = 0; k < taps; k++) {
            exact[k] = filter_value(filter, ((double)k + (double)low - centre + 0.5) * (1.0 / stretch));
            sum += exact[k];
        }
        axis->first[i] = (size_t)low;
        axis->taps[i] = taps;
        for (size_t k = 0; k < taps; k++) {
            double weight = sum != 0.0 ? exact[k] / sum : exact[k];
            axis->weights[i * widest + k] =
                (int32_t)(weight < 0 ? -0.5 + weight * (1 << PRECISION) : 0.5 + weight * (1 << PRECISION));
        }
    }
    free(exact);
    return STATUS_OK;
}

static uint8_t clip8(int32_t sum) {
    int32_t value = sum >> PRECISION;
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

static void scale_row(const Axis *axis, const uint8_t *in, uint8_t *out) {
    for (size_t i = 0; i < axis->out; i++) {
        const int32_t *weights = axis->weights + i * axis->widest;
        const uint8_t *from = in + axis->first[i] * 3;
        int32_t r = 1 << (PRECISION - 1), g = r, b = r;
        for (size_t k = 0; k < axis->taps[i]; k++, from += 3) {
            r += from[0] * weights[k];
            g += from[1] * weights[k];
            b += from[2] * weights[k];
        }
        out[3 * i] = clip8(r);
        out[3 * i + 1] = clip8(g);
        out[3 * i + 2] = clip8(b);
    }
}

// Where the rows come from: a file, read in strips, or memory.
typedef struct RowSource {
    ImageFile *image;
    const Picture *picture;
    uint8_t *strip; // [STRIP][width][3], for a file
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
        TRY(image_read_region(source->image, 0, y, source->width, rows, source->strip));
    }
    *out_row = source->strip + y % STRIP * source->width * 3;
    return STATUS_OK;
}

static Status resample(RowSource *source, size_t out_width, size_t out_height, ResampleFilter filter,
                       ResampleProgress *progress, void *context, Picture *out_picture) {
    Axis across = {0}, down = {0};
    uint8_t *ring = NULL;
    int32_t *sums = NULL;
    size_t row_bytes = out_width * 3;
    *out_picture = (Picture){0};
    Status status = picture_create(out_width, out_height, (size_t)8 << 30, out_picture);
    if (status == STATUS_OK) status = axis_create(source->width, out_width, filter, &across);
    if (status == STATUS_OK) status = axis_create(source->height, out_height, filter, &down);
    if (status != STATUS_OK) goto done;
    size_t ring_rows = down.widest;
    ring = row_bytes > SIZE_MAX / ring_rows ? NULL : malloc(ring_rows * row_bytes);
    sums = malloc(row_bytes * sizeof *sums);
    if (!ring || !sums) {
        status = status_make(STATUS_NO_MEMORY, "no memory for %zu rows of %zu pixels", ring_rows, out_width);
        goto done;
    }
    for (size_t i = 0; i < out_height; i++) {
        while (source->next < down.first[i] + down.taps[i]) {
            const uint8_t *row = NULL;
            size_t y = source->next;
            TRY_OR(status, done, next_row(source, &row));
            scale_row(&across, row, ring + y % ring_rows * row_bytes);
        }
        for (size_t c = 0; c < row_bytes; c++) sums[c] = 1 << (PRECISION - 1);
        for (size_t k = 0; k < down.taps[i]; k++) {
            const uint8_t *row = ring + (down.first[i] + k) % ring_rows * row_bytes;
            int32_t weight = down.weights[i * down.widest + k];
            for (size_t c = 0; c < row_bytes; c++) sums[c] += row[c] * weight;
        }
        uint8_t *out = out_picture->rgb + i * row_bytes;
        for (size_t c = 0; c < row_bytes; c++) out[c] = clip8(sums[c]);
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
    axis_free(&across);
    axis_free(&down);
    free(ring);
    free(sums);
    if (status != STATUS_OK) picture_free(out_picture);
    return status;
}

Status resample_image(ImageFile *image, size_t out_width, size_t out_height, ResampleFilter filter,
                      ResampleProgress *progress, void *context, Picture *out_picture) {
    ImageInfo info = image_info(image);
    *out_picture = (Picture){0};
    if (out_width == 0 || out_height == 0)
        return status_make(STATUS_INVALID, "%s: cannot scale to %zu x %zu pixels", image_path(image), out_width,
                           out_height);
    uint8_t *strip = malloc(STRIP * info.width * 3);
    if (!strip) return status_make(STATUS_NO_MEMORY, "no memory for rows of %zu pixels", info.width);
    RowSource source = {.image = image, .strip = strip, .width = info.width, .height = info.height};
    Status status = resample(&source, out_width, out_height, filter, progress, context, out_picture);
    free(strip);
    return status;
}

Status resample_picture(const Picture *picture, size_t out_width, size_t out_height, ResampleFilter filter,
                        Picture *out_picture) {
    *out_picture = (Picture){0};
    if (out_width == 0 || out_height == 0)
        return status_make(STATUS_INVALID, "cannot scale a picture to %zu x %zu pixels", out_width, out_height);
    RowSource source = {.picture = picture, .width = picture->width, .height = picture->height};
    return resample(&source, out_width, out_height, filter, NULL, NULL, out_picture);
}
