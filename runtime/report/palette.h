// palette: the colours of maps, chosen so that readers with any colour vision can tell them apart.
//
// Continuous palettes rise evenly in lightness, so they also survive grey printing: viridis and magma (Smith and van
// der Walt), cividis (Nuñez, Anderton and Renslow, PLoS ONE 2018), all published as public domain (CC0) with 256
// entries.
//
// Categories: the eight colours of Okabe and Ito (Color Universal Design, 2008), black last; then eight more, each the
// colour furthest from all before it. Distances are CIEDE2000, the least over normal vision and simulated protanopia,
// deuteranopia and tritanopia (Machado, Oliveira and Fernandes 2009): no two of the 16 come closer than 10. Categories
// 16 .. 31 have the same colours again with a white dot in the middle of the mark, and from 32 on all repeats.
#pragma once

#include "../core/status.h"
#include "canvas.h"

typedef enum Palette { PALETTE_VIRIDIS, PALETTE_CIVIDIS, PALETTE_MAGMA, PALETTES } Palette;

const char *palette_name(Palette palette);
MUST_USE Status palette_find(const char *name, Palette *out_palette); // the error lists the names

// value 0 .. 1, clamped; NaN gives the colour of 0. From dark to light.
Color palette_color(Palette palette, double value);

enum { CATEGORY_COLORS = 16, CATEGORY_MARKS = 32 };
Color category_color(size_t category);
bool category_dotted(size_t category); // the mark has a white dot
