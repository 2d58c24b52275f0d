// section: one tissue section in memory: spots, counts, per-spot tables, and where its picture is.
//
// Filled by a reader (source.h), turned into a store by prepare.h. Everything lives in the section's arena, except
// the pixels of `picture`, which section_free frees.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/status.h"
#include "image.h"

// A named table with one row per spot, e.g. cell-type proportions.
typedef struct SpotTable {
    const char *name;
    size_t n_columns;
    char **columns; // [n_columns]
    float *values;  // [n_spots][n_columns]
} SpotTable;

typedef struct Section {
    Arena arena;
    char *name;

    size_t n_spots;
    char **ids;     // [n_spots]
    bool no_array;  // the source gives no places on an array: `array` and `array_exact` are -1 throughout, a lattice
                    // and a pitch in array steps mean nothing and are refused by whoever is asked for one
    int32_t *array; // [n_spots][2] column, row on the array
    double *array_exact; // [n_spots][2] the same where the spot was really printed; equal to `array` if unknown
    double *pixel;       // [n_spots][2] centre x (right), y (down) in full-resolution pixels; origin: top left corner

    size_t n_genes;
    char **genes;     // [n_genes] in the order of the file; other sections may have others
    int64_t *indptr;  // [n_spots + 1] compressed rows: entries of spot i are indptr[i] .. indptr[i+1]
    int32_t *indices; // [nnz] gene, ascending within a spot
    uint32_t *counts; // [nnz] unique molecules, never 0

    size_t n_tables;
    SpotTable *tables; // [n_tables]

    // The picture: a file, or pixels where the source holds them itself (AnnData's uns, Elucidata's images).
    // picture_scale: pixels of that picture per unit of `pixel`; 1 at full resolution, less for Space Ranger's hires
    // and lowres copies; 0 stands for 1. Unknown lengths are 0.
    char *image_path;
    Picture picture;  // rgb NULL: image_path
    char *no_picture; // both are missing: a sentence with what was looked for, the error where tiles are needed
    double picture_scale;
    double spot_diameter;      // units of `pixel`
    double microns_per_pixel;  // microns per unit of `pixel`
    char *group;               // patient or donor; NULL: unknown
    const double *spot_values; // [n_spots][n_spot_values] numbers of obs that filters and splits may ask for by name
    char **spot_value_names;
    size_t n_spot_values;
    size_t n_notes;
    char **note; // [n_notes] sentences on what was left out, mended or looks odd

    size_t n_inputs;
    char **inputs; // [n_inputs] all files read, the picture included; some may lie outside of the source

    // What was left out, for the report.
    size_t n_without_counts; // positions under tissue that the counts file lacks
    char **without_counts;   // their ids
    size_t n_not_selected;   // positions marked as not under tissue
    size_t n_not_joined;     // spots with counts but no position
    size_t n_extra_rows;     // rows of per-spot tables for spots that were left out
} Section;

void section_free(Section *section); // a zeroed Section is fine
MUST_USE Status section_note(Section *section, const char *format, ...) PRINTF_LIKE(2, 3);
MUST_USE Status section_input(Section *section, const char *path); // adds a copy; what is there stays once
