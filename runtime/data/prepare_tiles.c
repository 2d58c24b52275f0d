// prepare_tiles: both ways to cut tiles. By pitch the whole picture is scaled once and tiles are copied out of it; by
// radius every tile is a square of the original, cut and scaled by crop.h. See prepare.h.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crop.h"
#include "prepare_inside.h"

static const size_t WINDOW_BYTES = (size_t)64 << 20; // tiles cut at once, in an order that suits the slide
static const size_t SCALED_BYTES = (size_t)2 << 30;  // largest scaled picture
static const size_t WHOLE_BYTES = (size_t)512 << 20; // largest JPEG or PNG that is decoded whole
static const double SLOW_PIXELS = 1 << 30;           // larger slides are scaled from a smaller level
static const size_t CACHE_BYTES = (size_t)512 << 20; // of decoded tiles of the slide, all threads together
static const size_t SMALLEST_CACHE = (size_t)8 << 20, LARGEST_CACHE = (size_t)48 << 20; // of one thread
enum { LARGEST_SQUARE = 16384 };

struct TileJob {
    Preparation *work;
    const Section *section;
    const PrepareTiles *tiles;
    const Picture *picture; // the picture in memory; NULL: `slide`
    Picture whole;          // a file's, decoded
    Slide *slide;
    size_t level;            // that is being streamed
    size_t width, height;    // of the picture
    double scale;            // its pixels per unit of the section's `pixel`
    double pitch_x, pitch_y; // units of `pixel` per array step; 0: unknown
    Picture scaled;          // by pitch
    double scale_x, scale_y; // tile pixels per pixel of the picture
    CropSpot *corner;        // by radius: [n_spots]
    size_t side;             // of the squares
    uint8_t *window;         // tiles of spots first .. first + count - 1
    size_t first, count, room;
    Picture thumbnail;
};

const char *tiles_filter_name(ResampleFilter filter) {
    static const char *const names[] = {"box", "bilinear", "bicubic", "lanczos"};
    return names[filter];
}

const char *tiles_edge_name(const PrepareTiles *tiles, char buffer[32]) {
    if (tiles->edge == SLIDE_EDGE_REPLICATE) return "replicate";
    snprintf(buffer, 32, "fill %d %d %d", tiles->fill[0], tiles->fill[1], tiles->fill[2]);
    return buffer;
}

static bool positive(double value) {
    return value > 0 && isfinite(value);
}

Status tiles_check(const PrepareOptions *options) {
    const PrepareTiles *t = &options->tiles;
    if (options->no_tiles) return STATUS_OK;
    int ways = (t->pitch != 0) + (t->radius != 0) + (t->spots != 0) + (t->microns != 0);
    if (t->size == 0 || t->size > 4096)
        return status_make(STATUS_INVALID, "a tile size of %zu pixels is outside 1 .. 4096", t->size);
    if (ways == 0)
        return status_make(STATUS_INVALID,
                           "tiles with a pitch of 0 pixels and no radius, spots or microns; give one of the four");
    if (ways > 1)
        return status_make(STATUS_INVALID, "tiles by more than one of pitch %g, radius %g, spots %g and microns %g",
                           t->pitch, t->radius, t->spots, t->microns);
    double value = t->pitch + t->radius + t->spots + t->microns;
    const char *name = t->pitch != 0 ? "pitch" : t->radius != 0 ? "radius" : t->spots != 0 ? "spots" : "microns";
    if (!positive(value))
        return status_make(STATUS_INVALID, "tiles by a %s of %g; a positive number is needed", name, value);
    if (!(t->least >= 0) || !isfinite(t->least))
        return status_make(STATUS_INVALID, "a least radius of %g pixels; use a number from 0", t->least);
    if (t->edge != SLIDE_EDGE_REPLICATE && t->edge != SLIDE_EDGE_FILL)
        return status_make(STATUS_INVALID, "tiles may leave the picture; their edge is to be replicated or filled");
    if (t->pitch != 0 && t->edge != SLIDE_EDGE_REPLICATE)
        return status_make(STATUS_UNSUPPORTED,
                           "tiles by pitch repeat the picture's edge; filled edges go with radius, spots or microns");
    if (t->pitch != 0 && (t->least > 0 || t->truncate))
        return status_make(
            STATUS_INVALID,
            "a least radius and rounding down belong to tiles by radius, spots or microns, not by pitch");
    if (t->jpeg < 0 || t->jpeg > 100 || t->deflate < 0 || t->deflate > 9)
        return status_make(STATUS_INVALID, "tiles of JPEG quality %d and deflate level %d; use 1 .. 100 or 0 .. 9",
                           t->jpeg, t->deflate);
    if (t->jpeg && t->deflate)
        return status_make(STATUS_INVALID, "tiles are stored as JPEG or deflated, not both (quality %d, level %d)",
                           t->jpeg, t->deflate);
    return STATUS_OK;
}

// ---- Tiles by pitch -----------------------------------------------------------------------------

static size_t clamp(long long value, size_t size) {
    return value < 0 ? 0 : value >= (long long)size ? size - 1 : (size_t)value;
}

bool cut_tile(const Picture *picture, long long cx, long long cy, size_t side, uint8_t *tile) {
    long long left = cx - (long long)(side / 2), top = cy - (long long)(side / 2);
    bool inside = left >= 0 && top >= 0 && left + (long long)side <= (long long)picture->width &&
                  top + (long long)side <= (long long)picture->height;
    for (size_t r = 0; r < side; r++, tile += side * 3) {
        const uint8_t *row = picture->rgb + clamp(top + (long long)r, picture->height) * picture->width * 3;
        if (inside) {
            memcpy(tile, row + left * 3, side * 3);
            continue;
        }
        for (size_t c = 0; c < side; c++) memcpy(tile + 3 * c, row + 3 * clamp(left + (long long)c, picture->width), 3);
    }
    return !inside;
}

static Status tiles_by_pitch(void *context, size_t first, size_t count, uint8_t *tiles) {
    TileJob *job = context;
    size_t side = job->tiles->size;
    for (size_t i = first; i < first + count; i++, tiles += side * side * 3) {
        double x = job->section->pixel[2 * i] * job->scale, y = job->section->pixel[2 * i + 1] * job->scale;
        long long cx = (long long)floor(x * job->scale_x + 0.5), cy = (long long)floor(y * job->scale_y + 0.5);
        job->work->report->n_edge_tiles += cut_tile(&job->scaled, cx, cy, side, tiles);
    }
    return prepare_going(job->work, "tiles", 0.8 + 0.2 * (double)(first + count) / (double)job->section->n_spots);
}

typedef struct Line {
    bool known;      // the spots span at least one array step
    double slope;    // pixels per array step
    double residual; // root mean square, pixels
} Line;

// Least squares of pixel coordinate `axis` (0 x, 1 y) on the array coordinate.
static Line fit_axis(const Section *section, int axis) {
    double n = (double)section->n_spots, mean_a = 0, mean_p = 0, aa = 0, ap = 0, residual = 0;
    for (size_t i = 0; i < section->n_spots; i++) {
        mean_a += section->array_exact[2 * i + (size_t)axis] / n;
        mean_p += section->pixel[2 * i + (size_t)axis] / n;
    }
    for (size_t i = 0; i < section->n_spots; i++) {
        double a = section->array_exact[2 * i + (size_t)axis] - mean_a,
               p = section->pixel[2 * i + (size_t)axis] - mean_p;
        aa += a * a;
        ap += a * p;
    }
    Line line = {.known = aa > 0.25};
    if (!line.known) return line;
    line.slope = ap / aa;
    for (size_t i = 0; i < section->n_spots; i++) {
        double a = section->array_exact[2 * i + (size_t)axis] - mean_a,
               p = section->pixel[2 * i + (size_t)axis] - mean_p;
        residual += (p - line.slope * a) * (p - line.slope * a) / n;
    }
    line.residual = sqrt(residual);
    return line;
}

// For sections whose spots span no array step: a picture that was cropped to the whole array of 33 x 35 positions has
// pixel = (array - 1) * side / steps. Known only when every spot lies where that says.
static Line cropped_axis(const Section *section, int axis, double side) {
    double slope = side / (axis ? 34 : 32);
    Line line = {.known = section->n_spots > 0, .slope = slope};
    for (size_t i = 0; i < section->n_spots; i++) {
        double expected = (section->array_exact[2 * i + (size_t)axis] - 1) * slope;
        if (fabs(section->pixel[2 * i + (size_t)axis] - expected) > 0.1 * slope) line.known = false;
    }
    return line;
}

// An array step in pixels where the array stands square to the picture (legacy ST).
static Status fit_square(TileJob *job) {
    const Section *section = job->section;
    Line lines[2] = {fit_axis(section, 0), fit_axis(section, 1)};
    for (int axis = 0; axis < 2; axis++) {
        char name = axis ? 'y' : 'x';
        if (!lines[axis].known) continue;
        if (!(lines[axis].slope > 0) || lines[axis].residual > 0.3 * lines[axis].slope)
            return status_make(STATUS_MALFORMED,
                               "pixel_%c does not grow evenly with array %c (%.4g pixels per step, %.4g pixels off "
                               "on average); are x and y exchanged, or do the positions belong to another picture?",
                               name, name, lines[axis].slope, lines[axis].residual);
    }
    if (!lines[0].known && !lines[1].known && job->width) {
        lines[0] = cropped_axis(section, 0, (double)job->width / job->scale);
        lines[1] = cropped_axis(section, 1, (double)job->height / job->scale);
        if (!lines[0].known || !lines[1].known) return STATUS_OK;
        text_printf(&job->work->report->notes,
                    "section %s: all spots share one array position; the picture is taken as cropped to the 33 x 35 "
                    "array, with which they agree\n",
                    section->name);
    }
    job->pitch_x = lines[0].known ? lines[0].slope : lines[1].slope;
    job->pitch_y = lines[1].known ? lines[1].slope : lines[0].slope;
    return STATUS_OK;
}

// The distance of neighbouring positions. On other arrays than legacy ST's, which may be hexagonal or turned, that is
// the distance to the nearest spot.
static Status find_pitch(TileJob *job) {
    const Section *section = job->section;
    if (job->work->source->layout == SOURCE_LEGACY_ST && !section->no_array) return fit_square(job);
    double pitch = NAN;
    TRY(neighbour_pitch(section->pixel, section->n_spots, 2, &pitch));
    if (positive(pitch)) job->pitch_x = job->pitch_y = pitch;
    return STATUS_OK;
}

static bool picture_progress(void *context, double fraction) {
    const TileJob *job = context;
    double until = job->work->options->no_tiles ? 1.0 : job->tiles->pitch > 0 ? 0.8 : 0.4;
    return prepare_progress(job->work, "picture", 0.2 + (until - 0.2) * fraction);
}

// The picture, or a level of it, scaled.
static Status scale_picture(TileJob *job, size_t level, size_t width, size_t height, Picture *out) {
    ResampleFilter filter = job->work->options->tiles.filter;
    if (job->picture) return resample_picture(job->picture, width, height, filter, out);
    SlideLevel from = slide_level(job->slide, level);
    RowReader *reader = NULL;
    Status status = row_reader_open(job->slide, level, job->work->options->pool, &reader);
    if (status == STATUS_OK)
        status = resample_rows(row_reader_rows, reader, from.width, from.height, width, height, filter,
                               picture_progress, job, out);
    row_reader_close(reader);
    return status;
}

// A copy of the picture with sides of at most `longest`, never larger than the picture.
static void fit_sides(size_t width, size_t height, size_t longest, size_t out[2]) {
    size_t side = width > height ? width : height;
    double factor = side > longest ? (double)longest / (double)side : 1.0;
    out[0] = (size_t)floor((double)width * factor + 0.5);
    out[1] = (size_t)floor((double)height * factor + 0.5);
    for (int a = 0; a < 2; a++)
        if (out[a] == 0) out[a] = 1;
}

static Status begin_by_pitch(TileJob *job) {
    const PrepareTiles *t = job->tiles;
    Text *notes = &job->work->report->notes;
    const char *name = job->section->name;
    if (!(job->pitch_x > 0) || !(job->pitch_y > 0))
        return status_make(STATUS_MALFORMED,
                           "all spots share one array position, so the size of an array step in pixels is unknown; "
                           "give spots at two or more positions, a picture cropped to the 33 x 35 array, or tiles by "
                           "radius, spots or microns");
    double pitch = 0.5 * (job->pitch_x + job->pitch_y) * job->scale, factor = t->pitch / pitch;
    if (fabs(job->pitch_x - job->pitch_y) * job->scale > 0.05 * pitch)
        text_printf(notes, "section %s: an array step is %.4g pixels in x but %.4g in y; their mean sets the scale\n",
                    name, job->pitch_x, job->pitch_y);
    if (factor > 1)
        text_printf(notes,
                    "section %s: an array step of %.4g pixels is enlarged to %g; the picture has little detail for "
                    "tiles of this pitch\n",
                    name, pitch, t->pitch);
    double width = floor((double)job->width * factor + 0.5), height = floor((double)job->height * factor + 0.5);
    if (width < 1 || height < 1 || width > IMAGE_LONGEST_SIDE || height > IMAGE_LONGEST_SIDE)
        return status_make(STATUS_INVALID,
                           "scaling the picture of %zu x %zu pixels by %.3g to reach a pitch of %g is not possible",
                           job->width, job->height, factor, t->pitch);
    if (width * height * 3 > (double)SCALED_BYTES)
        return status_make(
            STATUS_INVALID,
            "a pitch of %g makes a picture of %.0f x %.0f pixels, too large to be held at once; cut tiles "
            "by radius, spots or microns instead of by pitch",
            t->pitch, width, height);
    job->scale_x = width / (double)job->width;
    job->scale_y = height / (double)job->height;
    size_t level = 0;
    if (job->slide && (double)job->width * (double)job->height > SLOW_PIXELS)
        level = slide_best_level(job->slide, 0.5 / factor); // twice the detail that is left after scaling
    if (level)
        text_printf(notes,
                    "section %s: the slide of %zu x %zu pixels was scaled from its copy that is %.4g times smaller\n",
                    name, job->width, job->height, slide_level(job->slide, level).downsample);
    TRY(scale_picture(job, level, (size_t)width, (size_t)height, &job->scaled));
    size_t sides[2];
    fit_sides(job->scaled.width, job->scaled.height, job->work->options->thumbnail_side, sides);
    return resample_picture(&job->scaled, sides[0], sides[1], t->filter, &job->thumbnail);
}

// ---- Tiles by radius ----------------------------------------------------------------------------

// r in pixels of the picture.
static Status find_radius(TileJob *job, double *out_radius) {
    const PrepareTiles *t = job->tiles;
    const Section *section = job->section;
    double microns = section->microns_per_pixel, radius = rint(t->radius);
    if (t->spots > 0) {
        if (!positive(section->spot_diameter))
            return status_make(STATUS_NOT_FOUND,
                               "tiles of %g spot diameters need a spot diameter, which the source does not give; use "
                               "radius or microns",
                               t->spots);
        radius = floor(t->spots * section->spot_diameter / 2);
    }
    if (t->microns > 0) {
        if (!positive(microns) && job->slide) microns = slide_info(job->slide).mpp_x * job->scale;
        if (!positive(microns))
            return status_make(STATUS_NOT_FOUND,
                               "tiles of %g micrometres need the size of a pixel, which neither the source nor the "
                               "picture gives; use radius or spots",
                               t->microns);
        radius = rint(t->microns / microns / 2);
    }
    if (radius < ceil(t->least)) radius = ceil(t->least);
    radius = job->scale == 1 ? radius : rint(radius * job->scale);
    if (radius < 1) radius = 1;
    if (2 * radius > LARGEST_SQUARE)
        return status_make(STATUS_INVALID, "tiles cover %.0f x %.0f pixels of the picture; at most %d x %d are cut",
                           2 * radius, 2 * radius, LARGEST_SQUARE, LARGEST_SQUARE);
    *out_radius = radius;
    return STATUS_OK;
}

static bool crop_progress(void *context, double fraction) {
    TileJob *job = context;
    double done = ((double)job->first + fraction * (double)job->count) / (double)job->section->n_spots;
    return prepare_progress(job->work, "tiles", 0.4 + 0.6 * done);
}

static bool from_the_top(const Slide *slide) {
    return slide && (slide_info(slide).format == SLIDE_JPEG || slide_info(slide).format == SLIDE_PNG);
}

// What every thread may keep of the slide: less, where there are many.
static size_t cache_of_thread(const Pool *pool) {
    size_t share = CACHE_BYTES / (size_t)(pool ? pool_threads(pool) : 1);
    return share < SMALLEST_CACHE ? SMALLEST_CACHE : share > LARGEST_CACHE ? LARGEST_CACHE : share;
}

// The next tiles of the section into the window.
static Status fill_window(TileJob *job, size_t first) {
    size_t left = job->section->n_spots - first;
    job->first = first;
    job->count = left < job->room ? left : job->room;
    CropRequest request = {
        .path = job->slide                 ? slide_path(job->slide)
                : job->section->image_path ? job->section->image_path
                                           : "picture",
        .picture = job->picture,
        .options = {.cache_bytes = cache_of_thread(job->work->options->pool)},
        .width = job->side,
        .height = job->side,
        .border = {job->tiles->edge, {job->tiles->fill[0], job->tiles->fill[1], job->tiles->fill[2]}},
        .out_width = job->tiles->size,
        .out_height = job->tiles->size,
        .filter = job->tiles->filter,
        .pixels = job->window,
        .progress = crop_progress,
        .context = job,
        .names = job->section->ids + first,
    };
    return crop_spots(&request, job->corner + first, job->count, job->work->options->pool);
}

static Status tiles_by_radius(void *context, size_t first, size_t count, uint8_t *tiles) {
    TileJob *job = context;
    size_t bytes = job->tiles->size * job->tiles->size * 3;
    for (size_t done = 0; done < count;) {
        size_t at = first + done;
        if (at < job->first || at >= job->first + job->count) TRY(fill_window(job, at));
        size_t there = job->first + job->count - at, take = count - done < there ? count - done : there;
        memcpy(tiles + done * bytes, job->window + (at - job->first) * bytes, take * bytes);
        done += take;
    }
    return prepare_going(job->work, "tiles", 0.4 + 0.6 * (double)(first + count) / (double)job->section->n_spots);
}

static Status begin_by_radius(TileJob *job) {
    const PrepareTiles *t = job->tiles;
    const Section *section = job->section;
    double radius = 0;
    TRY(find_radius(job, &radius));
    job->side = (size_t)(2 * radius);
    job->scale_x = job->scale_y = (double)t->size / (2 * radius);
    if (t->size > job->side)
        text_printf(
            &job->work->report->notes,
            "section %s: squares of %zu x %zu pixels are enlarged to tiles of %zu x %zu; the picture has little "
            "detail for tiles of this size\n",
            section->name, job->side, job->side, t->size, t->size);
    job->corner = malloc(section->n_spots * sizeof *job->corner);
    if (!job->corner) return arena_exhausted(section->n_spots, sizeof *job->corner);
    for (size_t i = 0; i < section->n_spots; i++) {
        double x = section->pixel[2 * i] * job->scale, y = section->pixel[2 * i + 1] * job->scale;
        double left = t->truncate ? floor(x) - radius : rint(x - radius);
        double top = t->truncate ? floor(y) - radius : rint(y - radius);
        job->corner[i] = (CropSpot){(int64_t)left, (int64_t)top};
        job->work->report->n_edge_tiles +=
            left < 0 || top < 0 || left + 2 * radius > (double)job->width || top + 2 * radius > (double)job->height;
    }
    // A picture that is decoded from the top for every window had better be decoded for few of them.
    size_t bytes = t->size * t->size * 3,
           window = from_the_top(job->slide) && !job->picture ? WHOLE_BYTES : WINDOW_BYTES;
    job->room = window / bytes + 1;
    if (job->room > section->n_spots) job->room = section->n_spots;
    job->window = malloc(job->room * bytes);
    return job->window ? STATUS_OK : arena_exhausted(job->room, bytes);
}

// Of tiles by radius, and where there are no tiles.
static Status thumbnail_of_picture(TileJob *job) {
    size_t sides[2], level = 0, longest = job->width > job->height ? job->width : job->height;
    fit_sides(job->width, job->height, job->work->options->thumbnail_side, sides);
    if (job->slide && longest > job->work->options->thumbnail_side)
        level = slide_best_level(job->slide, (double)longest / (double)job->work->options->thumbnail_side);
    return scale_picture(job, level, sides[0], sides[1], &job->thumbnail);
}

// ---- Both ---------------------------------------------------------------------------------------

static Status open_picture(TileJob *job) {
    const Section *section = job->section;
    const PrepareOptions *options = job->work->options;
    job->scale = section->picture_scale > 0 ? section->picture_scale : 1;
    if (section->picture.rgb) {
        job->picture = &section->picture;
        job->width = section->picture.width;
        job->height = section->picture.height;
        return STATUS_OK;
    }
    if (!section->image_path) return STATUS_OK;
    TRY(slide_open(section->image_path, &(SlideOptions){.whole_bytes = 1}, &job->slide));
    SlideInfo info = slide_info(job->slide);
    job->width = info.width;
    job->height = info.height;
    bool squares = !options->no_tiles && !(options->tiles.pitch > 0);
    if (!from_the_top(job->slide) || !squares || info.height > WHOLE_BYTES / 3 / info.width) return STATUS_OK;
    TRY(image_load(section->image_path, WHOLE_BYTES, &job->whole));
    job->picture = &job->whole;
    return STATUS_OK;
}

static Status check_positions(const TileJob *job) {
    const Section *section = job->section;
    size_t outside = 0, first = 0;
    for (size_t i = section->n_spots; i-- > 0;) {
        double x = section->pixel[2 * i] * job->scale, y = section->pixel[2 * i + 1] * job->scale;
        if (x >= 0 && y >= 0 && x <= (double)job->width && y <= (double)job->height) continue;
        outside++;
        first = i;
    }
    if (!outside) return STATUS_OK;
    char of[80] = "";
    if (job->scale != 1) snprintf(of, sizeof of, ", %.4g of full resolution", job->scale);
    if (!job->work->options->no_tiles)
        return status_make(STATUS_MALFORMED,
                           "spot %s at pixel %.1f, %.1f lies outside the picture of %zu x %zu%s (%zu of %zu spots do); "
                           "do the positions belong to another picture?",
                           section->ids[first], section->pixel[2 * first], section->pixel[2 * first + 1], job->width,
                           job->height, of, outside, section->n_spots);
    text_printf(&job->work->report->notes, "section %s: %zu of %zu spots lie outside the picture of %zu x %zu%s\n",
                section->name, outside, section->n_spots, job->width, job->height, of);
    return STATUS_OK;
}

static Status begin(TileJob *job) {
    const PrepareOptions *options = job->work->options;
    const Section *section = job->section;
    TRY(open_picture(job));
    if (job->width == 0 && !options->no_tiles)
        return status_make(STATUS_NOT_FOUND, "%s",
                           section->no_picture ? section->no_picture : "there is no picture to cut tiles from");
    TRY(find_pitch(job));
    if (job->width == 0) return STATUS_OK;
    TRY(check_positions(job));
    if (job->scale != 1 && !options->no_tiles)
        text_printf(&job->work->report->notes,
                    "section %s: tiles are cut from a picture of %zu x %zu pixels, %.4g of full resolution\n",
                    section->name, job->width, job->height, job->scale);
    if (!options->no_tiles && options->tiles.pitch > 0) return begin_by_pitch(job);
    if (!options->no_tiles) TRY(begin_by_radius(job));
    return thumbnail_of_picture(job);
}

Status tiles_begin(Preparation *work, const Section *section, TileJob **out_job, StoreSectionExtra *extra) {
    TileJob *job = calloc(1, sizeof *job);
    if (!job) return arena_exhausted(1, sizeof *job);
    *job = (TileJob){.work = work, .section = section, .tiles = &work->options->tiles};
    Status status = begin(job);
    if (status != STATUS_OK) {
        tiles_end(job);
        return status;
    }
    extra->image_width = (size_t)floor((double)job->width / job->scale + 0.5);
    extra->image_height = (size_t)floor((double)job->height / job->scale + 0.5);
    extra->scale_x = job->scale_x * job->scale;
    extra->scale_y = job->scale_y * job->scale;
    extra->pitch_x = job->pitch_x;
    extra->pitch_y = job->pitch_y;
    extra->thumbnail = job->thumbnail.rgb ? &job->thumbnail : NULL;
    if (!work->options->no_tiles) extra->tiles = job->tiles->pitch > 0 ? tiles_by_pitch : tiles_by_radius;
    extra->context = job;
    *out_job = job;
    return STATUS_OK;
}

void tiles_end(TileJob *job) {
    if (!job) return;
    slide_close(job->slide);
    picture_free(&job->whole);
    picture_free(&job->scaled);
    picture_free(&job->thumbnail);
    free(job->corner);
    free(job->window);
    free(job);
}
