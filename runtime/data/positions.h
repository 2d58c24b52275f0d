// positions: where the spots are: tissue_positions.csv (with a header) and tissue_positions_list.csv (without) of Space
// Ranger, the selection file of legacy ST, scale factors, and whether all this fits the picture.
//
// Pixels are those of the full-resolution picture, x to the right, y down, origin in the top left corner; files that
// give the row before the column are turned. Fractions are kept.
#pragma once

#include "annotated.h"

typedef struct SpotPositions {
    Arena arena;
    size_t count;
    char **id; // [count] barcode, or "XxY" in legacy ST
    uint8_t *in_tissue;
    int32_t *array; // [count][2] row, column on the array
    double *pixel;  // [count][2] x, y
    size_t n_in_tissue;
    char *source; // which of the layouts, in words
} SpotPositions;

// The layout is told by content. Refused, with file and line: wrong numbers of fields, values that are not numbers,
// in_tissue other than 0 and 1, repeated ids. A Parquet file is refused with the line of Python that converts it.
MUST_USE Status positions_read(const char *path, SpotPositions *out_positions);
void positions_free(SpotPositions *positions); // a zeroed one is fine

// The positions file of a Space Ranger directory: spatial/ (or the directory itself) with tissue_positions.csv, then
// tissue_positions_list.csv; NULL in *out_path if there is none (only Parquet: an error that says how to convert it).
MUST_USE Status positions_find(const char *directory, Arena *arena, char **out_path);

typedef struct ScaleFactors { // NaN: not in the file
    double spot_diameter_fullres, fiducial_diameter_fullres, tissue_hires_scalef, tissue_lowres_scalef;
    double regist_target_img_scalef, microns_per_pixel, bin_size_um; // Visium HD
} ScaleFactors;
// scalefactors_json.json. Numbers that are not positive are refused.
MUST_USE Status scale_factors_read(const char *path, ScaleFactors *out_factors);

// Joins by id: obsm "spatial" (x, y) and obs in_tissue, array_row, array_col are added for the rows of the table, in
// its order. joined counts rows with a position, not_joined those without, which are removed from the table with a note
// (a spot without a place cannot be used); positions without counts are noted.
MUST_USE Status positions_join(const SpotPositions *positions, const char *path, Annotated *annotated);

// How positions and picture fit. `scale` turns full-resolution pixels into those of a picture of width x height (1 for
// the picture itself); width 0: there is no picture to compare with.
typedef struct PositionsCheck {
    size_t spots;   // in tissue
    size_t outside; // of them: centre outside the picture
    double min_x, min_y, max_x, max_y;
    double spacing;                          // median distance to the nearest other spot, pixels; NaN below two spots
    double expected_spacing;                 // from the spot diameter or bin size; NaN: unknown
    double array_spacing_x, array_spacing_y; // pixels per array step along x and y (least squares); NaN: unknown
    double worst_residual; // largest distance of a spot from the fitted lattice, in spacings; NaN: unknown
    size_t n_warnings;
    char **warning; // sentences; memory from `arena`
} PositionsCheck;
MUST_USE Status positions_check(const SpotPositions *positions, const ScaleFactors *factors, size_t width,
                                size_t height, double scale, Arena *arena, PositionsCheck *out_check);
