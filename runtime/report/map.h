// map: the picture of a tissue section with its spots coloured by a value (one or more panels side by side, typically
// truth | prediction) or by a category (one panel). The tissue picture lies below, faded; a spot without a value is a
// hollow grey ring; a colour bar or a list of the categories with their counts stands at the right, and where lengths
// are known a scale bar in a corner of the first panel without spots, else below it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"
#include "palette.h"

typedef struct MapPanel {
    const char *title;   // above the panel; NULL: none
    const float *values; // [n_spots]; not finite: no value. Not used where spots have categories
} MapPanel;

typedef struct SpatialMap {
    const char *title;    // NULL: none
    const char *subtitle; // NULL: none
    const char *note;     // a line below everything; NULL: none
    // Tissue picture: rgb[image_height][image_width][3], or NULL for a white ground.
    const uint8_t *image;
    size_t image_width, image_height;
    double image_scale_x, image_scale_y; // picture pixels per unit of xy
    // Spots.
    size_t n_spots;
    const double *xy;       // [n_spots][2] x right, y down
    double spot_diameter;   // in units of xy; the side of square ones
    bool square;            // bins instead of spots
    double unit_in_microns; // of xy, for the scale bar; 0: unknown, no bar
    size_t n_panels;
    const MapPanel *panels;
    // Values.
    const char *value_name; // beside the colour bar, above the list of categories; NULL: none
    Palette palette;        // viridis if left zero
    bool shared_scale;      // one colour scale for all panels
    double low, high;       // colour scale; low >= high: taken from the values
    // Categories, instead of values. Beyond CATEGORY_MARKS (palette.h) marks repeat, which a note in the picture says.
    const int32_t *category;           // [n_spots] number of the category, -1: none; NULL: values
    const char *const *category_names; // [n_categories]
    size_t n_categories;
    size_t panel_side; // pixels of the longer side of a panel; 0: 640
} SpatialMap;

// Draws and writes a PNG, atomically.
MUST_USE Status map_write_png(const char *path, const SpatialMap *map);
