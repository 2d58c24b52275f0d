// predictions: writing per-spot results as CSV or as an AnnData file (.h5ad) that scanpy opens.
//
// CSV: header `spot,section,<columns>`, one row per spot, shortest decimals that read back as the same f32;
// names with commas or quotes are quoted. h5ad (encoding 0.1.0): X = values (f32, dense); obs: index = spot
// id, or SECTION_id when several sections are present, columns spot, section (categorical), array_col,
// array_row, pixel_x, pixel_y; var: column names; obsm/spatial = pixel x, y; layers/truth if given;
// uns/spatial/SECTION with thumbnail and scale factors, as scanpy's spatial plots want them. Both are written
// atomically.
#pragma once

#include <stddef.h>

#include "../core/status.h"
#include "store.h"

typedef struct Predictions {
    Store *store;         // where the spots come from; read for ids, positions and thumbnails
    const SpotRef *spots; // [n_rows]
    size_t n_rows, n_columns;
    const char *const *columns; // [n_columns] unique names
    const float *values;        // [n_rows][n_columns]
    const float *truth;         // the same shape, or NULL
    const char *program;        // recorded in the h5ad (uns/program)
} Predictions;

// Chooses by the ending of `path`: .csv or .h5ad.
MUST_USE Status predictions_write(const char *path, const Predictions *predictions);
MUST_USE Status predictions_write_csv(const char *path, const Predictions *predictions);
MUST_USE Status predictions_write_h5ad(const char *path, const Predictions *predictions);
