// canvas: drawing into an RGB picture: rectangles, lines, discs, pictures and text, all with smooth edges.
//
// Coordinates are pixels, doubles, x right, y down; pixel (i, j) covers the square from (i, j) to (i + 1, j +
// 1). Whatever lies outside is cut off. Opacity runs from 0 (nothing) to 1.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct Color {
    uint8_t r, g, b;
} Color;

typedef struct Canvas {
    size_t width, height;
    uint8_t *rgb; // [height][width][3], from malloc
} Canvas;

// At most 16384 x 16384.
MUST_USE Status canvas_create(size_t width, size_t height, Color background, Canvas *out_canvas);
void canvas_free(Canvas *canvas);

void canvas_rectangle(Canvas *canvas, double x, double y, double width, double height, Color color, double opacity);
void canvas_frame(Canvas *canvas, double x, double y, double width, double height, double line, Color color);
void canvas_line(Canvas *canvas, double x0, double y0, double x1, double y1, double line, Color color, double opacity);
// One stroke through xy[count][2]; joints are not drawn twice.
void canvas_polyline(Canvas *canvas, const double *xy, size_t count, double line, Color color, double opacity);
void canvas_disc(Canvas *canvas, double x, double y, double radius, Color color, double opacity);
void canvas_ring(Canvas *canvas, double x, double y, double radius, double line, Color color, double opacity);

// The part (sx, sy, sw, sh) of rgb[height][width][3] into the rectangle (x, y, w, h); every pixel is mixed
// with white by `fade` (0: as it is, 1: white).
void canvas_picture(Canvas *canvas, double x, double y, double w, double h, const uint8_t *rgb, size_t width,
                    size_t height, double sx, double sy, double sw, double sh, double fade);

typedef enum TextAlign { TEXT_LEFT, TEXT_CENTER, TEXT_RIGHT } TextAlign;

// `size` is the height of a line in pixels; capitals are 0.7 of it. (x, y) is on the baseline. UTF-8; unknown
// characters become boxes. weight 1 is regular, 1.5 bold.
void canvas_text(Canvas *canvas, double x, double y, double size, double weight, TextAlign align, Color color,
                 const char *text);
// Reading upwards; (x, y) is on the baseline, which is vertical.
void canvas_text_up(Canvas *canvas, double x, double y, double size, double weight, TextAlign align, Color color,
                    const char *text);
double canvas_text_width(double size, const char *text);

// A step of 1, 2 or 5 times a power of ten that puts about `count` marks on a span. Returns the step.
double nice_step(double span, int count);
