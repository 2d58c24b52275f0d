// slide: whole-slide images, any rectangle at any level without loading the slide.
//
// Read: TIFF and BigTIFF (strips, tiles, separate planes; pyramids as pages or as SubIFDs; JPEG, LZW, deflate,
// PackBits, Zstandard, none; predictors; both byte orders), Aperio SVS, OME-TIFF, and JPEG and PNG as slides of one
// level. Pixels come as 8-bit [row][column][R, G, B]; what happens to other samples stands in slide_tiff.h and image.h.
// Colour profiles are not applied. Pixels equal what libtiff, tifffile and OpenSlide give.
//
// Levels: level 0 is the first page. Further levels are pages or SubIFDs marked as reduced, and unmarked tiled pages,
// that show the same picture smaller (sides in proportion to 2 % and 2 pixels); they are sorted by size. In Aperio
// files the tiled pages are the levels. All other pages are extras: Aperio's thumbnail, label and macro are told apart,
// in other files extras are SLIDE_OTHER. Of an OME-TIFF the first plane is shown, further planes are extras.
//
// Cost: opening reads the directories, no pixels; decoded tiles are kept, the least recently used going first, within
// SlideOptions.cache_bytes. Where regions are so scattered that tiles are hardly ever wanted again, only the wanted
// part of a JPEG tile is decoded and not kept; the pixels are the same. JPEG and PNG files can only be decoded from the
// top: up to SlideOptions.whole_bytes of pixels the first read decodes and keeps the whole picture; larger ones are
// read row by row, where regions in increasing y are one pass and every step back starts again.
//
// Threads: one Slide is for one thread at a time; open one per thread. Damaged files: an error that names the file, the
// page, the tile and the offset; never a grey area. A tile that a sparse TIFF leaves out is no damage: it is filled.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"
#include "image.h"

typedef struct Slide Slide;

typedef enum SlideFormat { SLIDE_TIFF, SLIDE_APERIO, SLIDE_OME, SLIDE_JPEG, SLIDE_PNG } SlideFormat;

typedef enum SlideExtraKind { SLIDE_THUMBNAIL, SLIDE_LABEL, SLIDE_MACRO, SLIDE_OTHER } SlideExtraKind;

typedef struct SlideOptions {
    size_t cache_bytes; // of decoded tiles; 0: 128 MiB
    size_t whole_bytes; // the largest JPEG or PNG kept decoded; 0: 512 MiB; 1: none
} SlideOptions;

typedef struct SlideInfo {
    SlideFormat format;
    size_t width, height; // of level 0
    size_t n_levels;      // at least 1
    size_t n_extras;
    double mpp_x, mpp_y;  // microns per pixel of level 0; NaN: not said. From Aperio's MPP, OME's PhysicalSize or the
                          // resolution tags, the last only if below 20 (more is a print resolution)
    double magnification; // of the objective (AppMag, NominalMagnification); NaN: not said
    const char *description; // the file's own text, "" if none; lives as long as the Slide
} SlideInfo;

typedef struct SlideLevel {
    size_t width, height;
    double downsample;              // mean of the ratios of level 0's sides to this one's
    size_t tile_width, tile_height; // of the file's tiles or strips; the whole picture for JPEG and PNG
    bool tiled;
    char place[40]; // "page 2": where it stands in the file
} SlideLevel;

typedef struct SlideExtra {
    SlideExtraKind kind;
    size_t width, height;
    char place[40];
} SlideExtra;

// `options` may be NULL.
MUST_USE Status slide_open(const char *path, const SlideOptions *options, Slide **out_slide);
void slide_close(Slide *slide); // NULL is fine
const char *slide_path(const Slide *slide);
SlideInfo slide_info(const Slide *slide);
SlideLevel slide_level(const Slide *slide, size_t level); // level < n_levels
SlideExtra slide_extra(const Slide *slide, size_t extra); // extra < n_extras
const char *slide_format_name(SlideFormat format);        // "Aperio SVS"
const char *slide_extra_name(SlideExtraKind kind);        // "label"

// The level to read for pictures `downsample` times smaller than level 0: the smallest one that still has every detail
// (its downsample is at most the one wanted); 0 if there is none.
size_t slide_best_level(const Slide *slide, double downsample);

// What stands outside the slide.
typedef enum SlideEdge {
    SLIDE_EDGE_REFUSE,    // a region that leaves the slide is STATUS_INVALID
    SLIDE_EDGE_FILL,      // the colour `fill`
    SLIDE_EDGE_REPLICATE, // the nearest pixel of the slide
} SlideEdge;

typedef struct SlideBorder {
    SlideEdge edge;
    uint8_t fill[3]; // for the outside, and in every mode for tiles that a sparse file leaves out
} SlideBorder;

static const SlideBorder SLIDE_WHITE = {SLIDE_EDGE_FILL, {255, 255, 255}};
static const SlideBorder SLIDE_BLACK = {SLIDE_EDGE_FILL, {0, 0, 0}};
static const SlideBorder SLIDE_STRICT = {SLIDE_EDGE_REFUSE, {255, 255, 255}};

// The region with top left corner (x, y) in pixels of that level, into rgb[h][w][3]. w and h are at most
// IMAGE_LONGEST_SIDE; either may be 0.
MUST_USE Status slide_read(Slide *slide, size_t level, int64_t x, int64_t y, size_t w, size_t h, SlideBorder border,
                           uint8_t *rgb);

// A thumbnail, label, macro or other page as a whole; refused above `limit` bytes.
MUST_USE Status slide_read_extra(Slide *slide, size_t extra, size_t limit, Picture *out_picture);

// The same border rule for a picture in memory.
MUST_USE Status picture_region(const Picture *picture, int64_t x, int64_t y, size_t w, size_t h, SlideBorder border,
                               uint8_t *rgb);
