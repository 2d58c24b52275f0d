// hest: trees of HEST-1k: HEST_v*.csv (metadata), st/ID.h5ad (counts; read by counts_read), patches/ID.h5 (tiles of
// 224 px, their places and barcodes), wsis/ID.tif.
//
// The places in patches files changed meaning over the releases: the patch's centre as (row, column) until mid 2024,
// its top left corner as (x, y) since. hest_patches_read tells which by comparing with the spots' positions, and gives
// centres as (x, y) either way.
#pragma once

#include "annotated.h"
#include "guard.h"

// ---- The metadata table: a CSV with byte order mark and quoted fields -----------------------------
typedef struct HestSample { // texts: "" where the table has nothing
    char *id, *organ, *species, *disease_state, *st_technology, *patient, *dataset_title, *preservation_method;
    double pixel_size_um;                    // pixel_size_um_estimated, NaN: unknown
    int64_t spots;                           // spots_under_tissue, -1: unknown
    bool has_counts, has_patches, has_slide; // files of this tree
} HestSample;

typedef struct HestTree {
    Arena arena;
    char *directory, *table; // table NULL: no CSV, samples are those with files in st/ or patches/
    size_t count;
    HestSample *sample; // [count] in the order of the table
    size_t without_row; // samples with files but no row in the table; they stand at the end
} HestTree;

MUST_USE Status hest_open(const char *directory, HestTree *out_tree);
void hest_free(HestTree *tree);
// A table alone (no tree around it).
MUST_USE Status hest_table_read(const char *path, HestTree *out_tree);

// ---- Patches -------------------------------------------------------------------------------------
typedef enum HestPlaces { HEST_UNKNOWN, HEST_CENTRE_ROW_COLUMN, HEST_CORNER_X_Y } HestPlaces;

typedef struct HestPatches {
    size_t count, height, width; // patches and their pixels
    char **barcode;              // [count]
    int64_t *coordinate;         // [count][2] as in the file
    HestPlaces places;           // what they mean; HEST_UNKNOWN without spots to compare with
    double *centre;              // [count][2] x, y in pixels of the slide; NULL if unknown
    double corner_to_centre;     // half the patch's side on the slide, for HEST_CORNER_X_Y
    size_t joined, not_joined;   // patches whose barcode is (is not) among the spots
    double residual;             // largest distance between a centre and its spot's position, pixels
    GuardBlock block;            // holds all of it
} HestPatches;

// `spots` (may be NULL): the sample's counts with an embedding "spatial".
MUST_USE Status hest_patches_read(const char *path, const Annotated *spots, GuardLimits limits,
                                  HestPatches *out_patches);
void hest_patches_free(HestPatches *patches);
// Patches first .. first + count - 1 into pixels[count][height][width][3] (which must have that size).
MUST_USE Status hest_patches_pixels(const char *path, const HestPatches *patches, size_t first, size_t count,
                                    GuardLimits limits, uint8_t *pixels);
