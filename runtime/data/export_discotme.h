// export_discotme: the directory that DiSCoTME's training reads (discotme.md §3.4):
//
//     DIR/metadata.csv        header spot_id,image_path,gene_vector_path; one row per spot, in the order given
//     DIR/image/SPOT.jpg      the patch of 2r x 2r pixels around the spot, RGB, JPEG quality 75, 4:2:0
//     DIR/genes/SPOT.npy      the spot's row of X: f32, one dimension
//
// A patch that reaches over the edge of the picture is cut there, as the original cuts at the right and at the bottom
// (where it would stop at the left and at the top, it is cut too). Everything is written into a directory of another
// name beside DIR, which is renamed when all is there: a stopped export leaves nothing called DIR.
#pragma once

#include "../core/pool.h"
#include "annotated.h"

typedef struct DiscotmeExport {
    const char *picture;    // full-resolution picture: TIFF, SVS, JPEG or PNG
    const Annotated *spots; // rows with names, embedding "spatial" (x, y), X as it is to be written
    size_t radius;          // r, pixels, at least 1
    const size_t *order;    // [count] rows to write, in this order; NULL: all as they stand
    size_t count;
} DiscotmeExport;

typedef struct DiscotmeReport {
    size_t spots, genes;
    size_t cut; // patches that reach over an edge
} DiscotmeReport;

// `directory` must not exist. Refused by name: spots without a name or with '/' in it, repeated names, spots whose
// patch lies outside of the picture altogether. `pool` may be NULL.
MUST_USE Status export_discotme(const char *directory, const DiscotmeExport *job, Pool *pool,
                                DiscotmeReport *out_report);
