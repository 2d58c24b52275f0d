// map_legend: what stands beside the panels of a map: a colour bar with ticks, or the list of categories; and the marks
// of spots, which both use.
#pragma once

#include "canvas.h"
#include "map.h"

typedef struct MapRange {
    double low, high;
    size_t finite, missing; // values
} MapRange;

static const Color MAP_INK = {38, 38, 42}, MAP_GREY = {128, 128, 134}, MAP_PAPER = {255, 255, 255},
                   MAP_FRAME = {205, 205, 210};

// A spot of `map` at (x, y), `radius` its half diameter in pixels, with a thin light rim that parts it from tissue.
void mark_value(Canvas *canvas, const SpatialMap *map, double x, double y, double radius, Color color);
void mark_category(Canvas *canvas, const SpatialMap *map, double x, double y, double radius, int32_t category);
void mark_missing(Canvas *canvas, const SpatialMap *map, double x, double y, double radius);

// The room that a colour bar, or the list of categories, needs at the right of a panel of `height` pixels.
double bar_room(const SpatialMap *map, MapRange range);
void bar_draw(Canvas *canvas, const SpatialMap *map, MapRange range, double x, double y, double height);

typedef struct CategoryList {
    size_t *count;                                        // [n_categories] spots
    size_t missing;                                       // spots without a category
    size_t listed;                                        // categories that find room, the first ones
    size_t rows;                                          // of a column of the list
    size_t columns;                                       // of the list
    double name_width, number_width, column_width, width; // pixels
} CategoryList;
MUST_USE Status list_plan(const SpatialMap *map, double height, CategoryList *out_list); // list_free frees
void list_draw(Canvas *canvas, const SpatialMap *map, const CategoryList *list, double x, double y);
void list_free(CategoryList *list);

// `text` cut to `width` pixels, with an ellipsis where something went; returns `buffer`.
enum { FITTED_TEXT = 256 };
const char *text_fitted(const char *text, double size, double width, char buffer[FITTED_TEXT]);
