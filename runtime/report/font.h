// font: a stroke font of our own, drawn for this project and free of other rights. Letters are lines and
// arcs, so one table serves every size and weight.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Units: baseline y = 0, up is positive, capitals are 10 high, small letters 7, descenders reach -3.
typedef struct Glyph {
    double width;     // of the ink; advance is width + GLYPH_GAP
    const char *path; // "M x y": move, "L x y": line, "Q cx cy x y": quadratic curve,
                      // "E cx cy rx ry a b": new arc, angles in degrees; "e …": the same, joined by a line
} Glyph;

#define GLYPH_GAP 2.3

// The glyph of a code point; characters without one give an empty box. Never NULL.
const Glyph *font_glyph(uint32_t code_point);

// Takes one character off *text (UTF-8); bad bytes give U+FFFD. 0 at the end.
uint32_t font_next_character(const char **text);

// Calls `segment` for every straight piece of the glyph, in font units.
void font_trace(const Glyph *glyph, void (*segment)(void *context, double x0, double y0, double x1, double y1),
                void *context);
