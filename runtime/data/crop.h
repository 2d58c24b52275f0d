// crop: many equal rectangles of one slide, each scaled and encoded, on all threads of a pool.
//
//     CropRequest request = {.path = "tissue.svs", .width = 256, .height = 256, .out_width = 224, .out_height = 224,
//                            .filter = RESAMPLE_BILINEAR, .border = SLIDE_WHITE, .quality = 75, .paths = paths};
//     TRY(crop_spots(&request, spots, n, pool));
//
// Pixels, scaling and JPEG bytes are those of slide.h, resample.h and jpeg_write.h, whatever the number of threads.
// Every thread opens the slide for itself and works through neighbouring rectangles, so that a tile is decoded about
// once. JPEG and PNG files that fit (SlideOptions.whole_bytes) are decoded once for all threads; larger ones are read
// from the top by every thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/pool.h"
#include "../core/status.h"
#include "resample.h"
#include "jpeg_write.h"
#include "slide.h"

typedef struct CropSpot {
    int64_t x, y; // top left corner, pixels of the level
} CropSpot;

typedef struct CropBytes {
    uint8_t *data; // from malloc
    size_t size;
} CropBytes;

typedef struct CropRequest {
    const char *path;
    const Picture *picture; // NULL, or the picture itself, already decoded: `path` is then only named in messages
    SlideOptions options;   // cache_bytes is for each thread; 0: 48 MiB, a band of tiles of a slide 60,000 pixels wide
    size_t level;
    size_t width, height;         // of each rectangle, at most 16384 x 16384
    SlideBorder border;           // what is outside
    bool clip;                    // instead: cut rectangles to the slide; one with nothing left is STATUS_INVALID
    size_t out_width, out_height; // scaled to this; 0 x 0: not scaled (then `pixels` cannot go with `clip`)
    ResampleFilter filter;
    int quality; // of the JPEGs; 0: 75
    JpegSampling sampling;
    // Where the results go; what is NULL is not made.
    uint8_t *pixels;          // [count][out_height][out_width][3]
    CropBytes *jpegs;         // [count], to be freed one by one; all free on failure
    const char *const *paths; // [count] JPEG files, written straight: make a directory under a temporary name, rename
                              // it when all are there
    // Called now and then, by the thread that called crop_spots, with the fraction done; returning false stops the work
    // with STATUS_CANCELLED. May be NULL.
    bool (*progress)(void *context, double fraction);
    void *context;
    char *const *names; // [count] what messages call the spots; NULL: their numbers
} CropRequest;

// `pool` may be NULL: the caller alone. The error names the spot; if several fail, the lowest one that
// was tried. Files written before a failure stay.
MUST_USE Status crop_spots(const CropRequest *request, const CropSpot *spots, size_t count, Pool *pool);
