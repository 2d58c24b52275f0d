// slide: see slide.h. Sorts pages into levels and extras, applies the border rule; pixels come from slide_tiff.h or
// image.h.
#include "slide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "slide_describe.h"
#include "slide_tiff.h"

struct Slide {
    char *path;
    SlideInfo info;
    TiffFile *tiff;   // or
    ImageFile *image; // one level, with its size in `info`
    Picture whole;    // of `image`, once decoded
    size_t whole_bytes;
    size_t *levels;              // [n_levels] page numbers
    size_t *extras;              // [n_extras]
    SlideExtraKind *extra_kinds; // [n_extras]
};

const char *slide_format_name(SlideFormat format) {
    switch (format) {
    case SLIDE_TIFF: return "TIFF";
    case SLIDE_APERIO: return "Aperio SVS";
    case SLIDE_OME: return "OME-TIFF";
    case SLIDE_JPEG: return "JPEG";
    case SLIDE_PNG: return "PNG";
    }
    return "unknown";
}

const char *slide_extra_name(SlideExtraKind kind) {
    switch (kind) {
    case SLIDE_THUMBNAIL: return "thumbnail";
    case SLIDE_LABEL: return "label";
    case SLIDE_MACRO: return "macro";
    case SLIDE_OTHER: return "other";
    }
    return "unknown";
}

// ---- Levels and extras ----------------------------------------------------------------------------------------

static bool is_level(const Slide *slide, const TiffPage *first, const TiffPage *page) {
    if (slide->info.format == SLIDE_APERIO && !page->tiled) return false;
    bool marked = page->sub >= 0 || (page->subfile & 1) || slide->info.format == SLIDE_APERIO;
    if ((page->subfile & 4) || !(marked || (page->tiled && first->tiled))) return false;
    if (page->width >= first->width || page->height >= first->height) return false;
    double ratio = (double)first->width / (double)page->width;
    double expected = (double)first->height / ratio, off = fabs(expected - (double)page->height);
    // A side of w pixels may stand for w - 1 to w + 1 of them, which moves the other side in proportion.
    double slack = 2 + 2 * (double)first->height / (double)first->width;
    return off <= slack || off <= 0.02 * expected;
}

static SlideExtraKind kind_of(const Slide *slide, const TiffPage *page) {
    if (slide->info.format != SLIDE_APERIO) return SLIDE_OTHER;
    if (aperio_says(page->description, "label")) return SLIDE_LABEL;
    if (aperio_says(page->description, "macro")) return SLIDE_MACRO;
    if (page->number == 1 && !page->tiled) return SLIDE_THUMBNAIL;
    if (page->subfile == 9) return SLIDE_MACRO;
    if (page->subfile == 1) return SLIDE_LABEL;
    return SLIDE_OTHER;
}

static Status sort_pages(Slide *slide) {
    size_t count = tiff_file_count(slide->tiff);
    const TiffPage *first = tiff_file_page(slide->tiff, 0);
    slide->levels = calloc(count, sizeof *slide->levels);
    slide->extras = calloc(count, sizeof *slide->extras);
    slide->extra_kinds = calloc(count, sizeof *slide->extra_kinds);
    if (!slide->levels || !slide->extras || !slide->extra_kinds)
        return status_make(STATUS_NO_MEMORY, "%s: no memory for %zu pages", slide->path, count);
    size_t levels = 1, extras = 0; // page 0 is level 0
    for (size_t p = 1; p < count; p++) {
        const TiffPage *page = tiff_file_page(slide->tiff, p);
        if (is_level(slide, first, page)) {
            size_t at = levels++;
            for (; at > 1 && tiff_file_page(slide->tiff, slide->levels[at - 1])->width < page->width; at--)
                slide->levels[at] = slide->levels[at - 1];
            slide->levels[at] = p;
        } else {
            slide->extra_kinds[extras] = kind_of(slide, page);
            slide->extras[extras++] = p;
        }
    }
    slide->info.n_levels = levels;
    slide->info.n_extras = extras;
    return STATUS_OK;
}

static Status open_tiff(Slide *slide, size_t cache_bytes) {
    TRY(tiff_file_open(slide->path, false, cache_bytes, &slide->tiff));
    const TiffPage *first = tiff_file_page(slide->tiff, 0);
    const char *text = first->description;
    SlideScale scale = tag_scale(first->x_resolution, first->y_resolution, first->resolution_unit), own = scale;
    slide->info.format = SLIDE_TIFF;
    if (describes_aperio(text)) {
        slide->info.format = SLIDE_APERIO;
        own = aperio_scale(text);
    } else if (describes_ome(text)) {
        slide->info.format = SLIDE_OME;
        own = ome_scale(text);
    }
    slide->info.mpp_x = isnan(own.mpp_x) ? scale.mpp_x : own.mpp_x;
    slide->info.mpp_y = isnan(own.mpp_y) ? scale.mpp_y : own.mpp_y;
    slide->info.magnification = own.magnification;
    slide->info.width = first->width;
    slide->info.height = first->height;
    if (text) slide->info.description = text;
    TRY_IN(tiff_file_can_read(slide->tiff, 0), "%s", slide->path);
    return sort_pages(slide);
}

static Status open_picture(Slide *slide, const ImageInfo *info) {
    slide->info.format = info->format == IMAGE_JPEG ? SLIDE_JPEG : SLIDE_PNG;
    slide->info.width = info->width;
    slide->info.height = info->height;
    slide->info.n_levels = 1;
    return STATUS_OK;
}

// Opens without knowing the format: image_open tells, and a TIFF is then opened with all its pages.
static Status open_any(Slide *slide, size_t cache_bytes) {
    ImageFormat format;
    TRY(image_format_of(slide->path, &format));
    if (format == IMAGE_TIFF) return open_tiff(slide, cache_bytes);
    TRY(image_open(slide->path, &slide->image));
    ImageInfo info = image_info(slide->image);
    return open_picture(slide, &info);
}

Status slide_open(const char *path, const SlideOptions *options, Slide **out_slide) {
    size_t cache_bytes = options && options->cache_bytes ? options->cache_bytes : (size_t)128 << 20;
    *out_slide = NULL;
    Slide *slide = calloc(1, sizeof *slide);
    if (!slide) return status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    slide->info = (SlideInfo){.mpp_x = NAN, .mpp_y = NAN, .magnification = NAN, .description = ""};
    slide->whole_bytes = options && options->whole_bytes ? options->whole_bytes : (size_t)512 << 20;
    slide->path = strdup(path);
    Status status =
        slide->path ? open_any(slide, cache_bytes) : status_make(STATUS_NO_MEMORY, "no memory to open %s", path);
    if (status != STATUS_OK) slide_close(slide);
    else *out_slide = slide;
    return status;
}

void slide_close(Slide *slide) {
    if (!slide) return;
    tiff_file_close(slide->tiff);
    image_close(slide->image);
    picture_free(&slide->whole);
    free(slide->levels);
    free(slide->extras);
    free(slide->extra_kinds);
    free(slide->path);
    free(slide);
}

const char *slide_path(const Slide *slide) {
    return slide->path;
}

SlideInfo slide_info(const Slide *slide) {
    return slide->info;
}

SlideLevel slide_level(const Slide *slide, size_t level) {
    size_t width = slide->info.width, height = slide->info.height;
    if (!slide->tiff)
        return (SlideLevel){.width = width,
                            .height = height,
                            .downsample = 1,
                            .tile_width = width,
                            .tile_height = height,
                            .place = "the picture"};
    const TiffPage *page = tiff_file_page(slide->tiff, slide->levels[level]);
    SlideLevel result = {
        .width = page->width,
        .height = page->height,
        .downsample = ((double)width / (double)page->width + (double)height / (double)page->height) / 2,
        .tile_width = page->block_width,
        .tile_height = page->block_height,
        .tiled = page->tiled,
    };
    memcpy(result.place, page->name, sizeof result.place);
    return result;
}

SlideExtra slide_extra(const Slide *slide, size_t extra) {
    const TiffPage *page = tiff_file_page(slide->tiff, slide->extras[extra]);
    SlideExtra result = {.kind = slide->extra_kinds[extra], .width = page->width, .height = page->height};
    memcpy(result.place, page->name, sizeof result.place);
    return result;
}

size_t slide_best_level(const Slide *slide, double downsample) {
    size_t best = 0;
    for (size_t i = 1; i < slide->info.n_levels; i++)
        if (slide_level(slide, i).downsample <= downsample * (1 + 1e-3)) best = i; // sides are rounded
    return best;
}

// ---- Regions and borders --------------------------------------------------------------------------------------

// Where pixels come from: a page of a TIFF, a file read by rows, or memory.
typedef struct Source {
    Slide *slide;
    size_t page;
    const Picture *picture;
    size_t width, height;
    const uint8_t *absent;
} Source;

static Status read_inside(const Source *source, size_t x, size_t y, size_t w, size_t h, uint8_t *rgb, size_t stride) {
    if (source->picture) {
        const uint8_t *from = source->picture->rgb + (y * source->width + x) * 3;
        for (size_t r = 0; r < h; r++) memcpy(rgb + r * stride, from + r * source->width * 3, w * 3);
        return STATUS_OK;
    }
    Slide *slide = source->slide;
    if (slide->tiff) {
        TRY_IN(tiff_file_region(slide->tiff, source->page, x, y, w, h, source->absent, rgb, stride), "%s", slide->path);
        return STATUS_OK;
    }
    for (size_t r = 0; r < h; r++) TRY(image_read_region(slide->image, x, y + r, w, 1, rgb + r * stride));
    return STATUS_OK;
}

static void fill_row(uint8_t *rgb, size_t pixels, const uint8_t color[3]) {
    for (size_t i = 0; i < pixels; i++) memcpy(rgb + 3 * i, color, 3);
}

// One axis of a region: which part of it lies on the slide, and where in the region that part begins. For a region that
// misses the slide the part is the nearest pixel (replicate) or empty.
typedef struct Span {
    size_t from, count, at;
} Span;

static Span span_of(int64_t start, size_t length, size_t size) {
    int64_t end = start + (int64_t)length, low = start < 0 ? 0 : start,
            high = end > (int64_t)size ? (int64_t)size : end;
    if (low >= high) return (Span){start < 0 ? 0 : size - 1, 0, 0};
    return (Span){(size_t)low, (size_t)(high - low), (size_t)(low - start)};
}

static void replicate(uint8_t *rgb, size_t w, size_t h, Span across, Span down) {
    size_t stride = w * 3;
    for (size_t r = down.at; r < down.at + down.count; r++) {
        uint8_t *row = rgb + r * stride;
        fill_row(row, across.at, row + across.at * 3);
        size_t end = across.at + across.count;
        fill_row(row + end * 3, w - end, row + (end - 1) * 3);
    }
    for (size_t r = 0; r < down.at; r++) memcpy(rgb + r * stride, rgb + down.at * stride, stride);
    for (size_t r = down.at + down.count; r < h; r++)
        memcpy(rgb + r * stride, rgb + (down.at + down.count - 1) * stride, stride);
}

static Status read_bordered(const Source *source, int64_t x, int64_t y, size_t w, size_t h, SlideBorder border,
                            uint8_t *rgb) {
    const int64_t farthest = (int64_t)1 << 40;
    if (w > IMAGE_LONGEST_SIDE || h > IMAGE_LONGEST_SIDE || x < -farthest || x > farthest || y < -farthest ||
        y > farthest)
        return status_make(STATUS_INVALID,
                           "the region x %lld, y %lld, %zu x %zu is no part of a picture (sides up to "
                           "%d are read)",
                           (long long)x, (long long)y, w, h, IMAGE_LONGEST_SIDE);
    if (w == 0 || h == 0) return STATUS_OK;
    Span across = span_of(x, w, source->width), down = span_of(y, h, source->height);
    bool inside = across.count == w && down.count == h;
    if (!inside && border.edge == SLIDE_EDGE_REFUSE)
        return status_make(STATUS_INVALID, "the region x %lld, y %lld, %zu x %zu leaves the picture of %zu x %zu",
                           (long long)x, (long long)y, w, h, source->width, source->height);
    if (border.edge == SLIDE_EDGE_REPLICATE) {
        if (across.count == 0) across.count = 1; // the region's first column takes the nearest one of the slide
        if (down.count == 0) down.count = 1;
    } else if (across.count == 0 || down.count == 0) {
        fill_row(rgb, w * h, border.fill);
        return STATUS_OK;
    }
    if (!inside && border.edge == SLIDE_EDGE_FILL) fill_row(rgb, w * h, border.fill);
    TRY(read_inside(source, across.from, down.from, across.count, down.count, rgb + (down.at * w + across.at) * 3,
                    w * 3));
    if (!inside && border.edge == SLIDE_EDGE_REPLICATE) replicate(rgb, w, h, across, down);
    return STATUS_OK;
}

// JPEG and PNG: the whole picture once, if it fits.
static Status keep_whole(Slide *slide) {
    size_t width = slide->info.width, height = slide->info.height;
    if (slide->tiff || slide->whole.rgb || height > slide->whole_bytes / 3 / width) return STATUS_OK;
    TRY_IN(picture_create(width, height, slide->whole_bytes, &slide->whole), "%s", slide->path);
    Status status = image_read_region(slide->image, 0, 0, width, height, slide->whole.rgb);
    if (status != STATUS_OK) picture_free(&slide->whole);
    return status;
}

Status slide_read(Slide *slide, size_t level, int64_t x, int64_t y, size_t w, size_t h, SlideBorder border,
                  uint8_t *rgb) {
    if (level >= slide->info.n_levels)
        return status_make(STATUS_INVALID, "%s: there is no level %zu; the slide has %zu", slide->path, level,
                           slide->info.n_levels);
    TRY(keep_whole(slide));
    SlideLevel what = slide_level(slide, level);
    Source source = {.slide = slide,
                     .page = slide->tiff ? slide->levels[level] : 0,
                     .picture = slide->whole.rgb ? &slide->whole : NULL,
                     .width = what.width,
                     .height = what.height,
                     .absent = border.fill};
    Status status = read_bordered(&source, x, y, w, h, border, rgb);
    if (status_code(status) == STATUS_INVALID) return status_context(status, "%s: level %zu", slide->path, level);
    return status;
}

Status slide_read_extra(Slide *slide, size_t extra, size_t limit, Picture *out_picture) {
    static const uint8_t white[3] = {255, 255, 255};
    *out_picture = (Picture){0};
    if (extra >= slide->info.n_extras)
        return status_make(STATUS_INVALID, "%s: there is no further picture %zu; the slide has %zu", slide->path, extra,
                           slide->info.n_extras);
    const TiffPage *page = tiff_file_page(slide->tiff, slide->extras[extra]);
    TRY_IN(picture_create(page->width, page->height, limit, out_picture), "%s: %s", slide->path, page->name);
    Status status = tiff_file_region(slide->tiff, slide->extras[extra], 0, 0, page->width, page->height, white,
                                     out_picture->rgb, page->width * 3);
    if (status != STATUS_OK) picture_free(out_picture);
    return status_context(status, "%s", slide->path);
}

Status picture_region(const Picture *picture, int64_t x, int64_t y, size_t w, size_t h, SlideBorder border,
                      uint8_t *rgb) {
    Source source = {.picture = picture, .width = picture->width, .height = picture->height, .absent = border.fill};
    return read_bordered(&source, x, y, w, h, border, rgb);
}
