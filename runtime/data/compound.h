// compound: the HDF5 file of the Elucidata challenge (HEVisum's data): images/{Train,Test}/SLIDE of f32 [height][width]
// [3] in 0 .. 1, and spots/{Train,Test}/SLIDE compound tables with fields x, y and C1 .. C35 (or Test_Set). The same
// layout holds for the derived files (shifted positions, ranks, masked or gzipped images).
//
// counts_read reads the spots of one slide (options.section): the numeric fields other than x and y become the columns
// of X, positions the embedding "spatial" (x, y in pixels of the stored image), Test_Set a column of obs, and rows are
// named SLIDE:ROW.
#pragma once

#include "annotated.h"
#include "guard.h"

typedef struct CompoundSlide {
    char name[32];
    char group[16];         // "Train" or "Test"
    uint64_t spots;         // 0: no table
    uint64_t values;        // fields besides x and y
    uint64_t height, width; // of the image, 0: none
} CompoundSlide;

// Slides in natural order (S_2 before S_10), Train first. free() them.
MUST_USE Status compound_slides(const char *path, GuardLimits limits, CompoundSlide **out_slides, size_t *out_count);
// The image of a slide as f32 [height][width][3] in new memory (munmap by compound_image_free).
typedef struct CompoundImage {
    size_t width, height;
    float *rgb;
    GuardBlock block;
} CompoundImage;
MUST_USE Status compound_image_read(const char *path, const char *slide, GuardLimits limits, CompoundImage *out_image);
void compound_image_free(CompoundImage *image);
