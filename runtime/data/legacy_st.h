// legacy_st: reader for the text layout of first-generation Spatial Transcriptomics data sets:
//
//     DIR/counts/SECTION.tsv[.gz]               spots x genes; first column spot id "XxY"
//     DIR/spots/SECTION_selection.tsv           x y new_x new_y pixel_x pixel_y selected
//     DIR/images/SECTION.(jpg|jpeg|png|tif|tiff)
//     DIR/proportions/SECTION_DEPTH.(tsv|csv)   optional (spot_tables.h)
//
// The section's spots are those with counts, a position and selected = 1, in the order of the counts file.
// Refused, with file and line: duplicate ids, counts without a position, counts that are negative, fractional
// or not numbers, rows of the wrong width, missing columns, duplicated genes, positions that are not finite,
// proportions that are negative or missing for a spot. Left out and counted in the Section: positions without
// counts, unselected ones.
#pragma once

#include "section.h"

// The section names of a directory: every counts file has one. Byte order.
MUST_USE Status legacy_st_sections(const char *directory, Arena *arena, char ***out_names, size_t *out_count);

// The depths for which every given section has a proportions file, byte order.
MUST_USE Status legacy_st_depths(const char *directory, char *const *sections, size_t n_sections, Arena *arena,
                                 char ***out_depths, size_t *out_count);

// Reads one section with one table per depth (named as the depth). The picture is located, not opened.
MUST_USE Status legacy_st_read(const char *directory, const char *name, char *const *depths, size_t n_depths,
                               Section *out_section);
// The same into a zeroed or named Section that the caller frees, also after errors. A picture that is missing is no
// error here (section->no_picture).
MUST_USE Status legacy_st_fill(const char *directory, const char *name, char *const *depths, size_t n_depths,
                               Section *section);
