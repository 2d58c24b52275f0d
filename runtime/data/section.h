// section: one tissue section in memory: spots, counts, per-spot tables, and where its picture is.
//
// Filled by a reader (legacy_st.h), turned into a store by prepare.h. Everything lives in the section's
// arena.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/arena.h"
#include "../core/status.h"

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
    char **ids;          // [n_spots]
    int32_t *array;      // [n_spots][2] column, row on the array
    double *array_exact; // [n_spots][2] the same where the spot was really printed; equal to `array` if unknown
    double *pixel;       // [n_spots][2] centre x (right), y (down) in pixels of the picture; origin: top left corner

    size_t n_genes;
    char **genes;     // [n_genes] in the order of the file; other sections may have others
    int64_t *indptr;  // [n_spots + 1] compressed rows: entries of spot i are indptr[i] .. indptr[i+1]
    int32_t *indices; // [nnz] gene, ascending within a spot
    uint32_t *counts; // [nnz] unique molecules, never 0

    size_t n_tables;
    SpotTable *tables; // [n_tables]

    char *image_path;
    size_t n_inputs;
    char **inputs; // [n_inputs] all files read, the picture included

    // What was left out, for the report.
    size_t n_without_counts; // positions under tissue that the counts file lacks
    char **without_counts;   // their ids
    size_t n_not_selected;   // positions marked as not under tissue
    size_t n_extra_rows;     // rows of per-spot tables for spots that were left out
} Section;

void section_free(Section *section); // a zeroed Section is fine
