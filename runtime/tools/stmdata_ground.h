// stmdata_ground: where the spots of counts lie, how long a pixel is, and the tissue picture below them: what a map is
// drawn upon.
#pragma once

#include "../core/arena.h"
#include "../data/annotated.h"
#include "../data/image.h"

typedef struct Ground {
    size_t n_spots;
    double *xy;              // [n_spots][2] x right, y down, in pixels of the full-resolution picture
    double spot_diameter;    // pixels; the side of square bins
    bool square;             // bins of Visium HD
    double unit_in_microns;  // of a pixel; 0: unknown
    Picture picture;         // rgb NULL: none
    double scale_x, scale_y; // pixels of `picture` per pixel of xy
    char *source;            // what the picture is, "no picture" without one
    size_t n_notes;
    char *note[8]; // what was left out and why
    Arena arena;
} Ground;

// `path`: what `counts` was read from; `section` as it was asked for (NULL: none). `rows` picks spots (NULL: all of
// them). `image`: a picture given by the user, which must be that of the spots at full resolution or at one of the
// scales that the scale factors name; NULL: the one that comes with the counts, if any fits. `library`: number of the
// spatial library in use.
MUST_USE Status ground_find(const char *path, const char *section, const Annotated *counts, size_t library,
                            const size_t *rows, size_t n_rows, const char *image, Ground *out_ground);
void ground_free(Ground *ground); // a zeroed one is fine
