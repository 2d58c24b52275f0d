// map: the picture of a tissue section with its spots coloured by a value, in one or more panels side by side
// (typically truth | prediction).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct MapPanel {
    const char *title;   // above the panel; NULL: none
    const float *values; // [n_spots]; spots that are not finite become hollow grey rings
} MapPanel;

typedef struct SpatialMap {
    const char *title;    // NULL: none
    const char *subtitle; // NULL: none
    // Tissue picture: rgb[image_height][image_width][3], or NULL for a white ground.
    const uint8_t *image;
    size_t image_width, image_height;
    double image_scale_x, image_scale_y; // picture pixels per unit of xy
    // Spots.
    size_t n_spots;
    const double *xy;       // [n_spots][2] x right, y down
    double spot_diameter;   // in units of xy
    double unit_in_microns; // of xy, for the scale bar; 0: unknown, no bar
    size_t n_panels;
    const MapPanel *panels;
    const char *value_name; // beside the colour bar; NULL: none
    bool shared_scale;      // one colour scale for all panels
    double low, high;       // colour scale; low >= high: taken from the values
    size_t panel_side;      // pixels of the longer side of a panel; 0: 640
} SpatialMap;

// Draws and writes a PNG, atomically.
MUST_USE Status map_write_png(const char *path, const SpatialMap *map);
