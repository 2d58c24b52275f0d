// slide_describe: scale and magnification from the texts that scanners put into a TIFF. Internal to runtime/data.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct SlideScale {
    double mpp_x, mpp_y, magnification; // NaN: not said
} SlideScale;

bool describes_aperio(const char *text); // NULL is fine
bool describes_ome(const char *text);

// "…|AppMag = 20|…|MPP = 0.4990|…"
SlideScale aperio_scale(const char *text);

// The words that tell Aperio's pictures apart stand at the beginning of the second line: "label 387x463".
bool aperio_says(const char *text, const char *word);

// The first <Pixels PhysicalSizeX="0.5" PhysicalSizeXUnit="µm" …> and <Objective NominalMagnification="20">.
SlideScale ome_scale(const char *text);

// The resolution tags: pixels per inch (unit 2) or centimetre (3).
SlideScale tag_scale(double x_resolution, double y_resolution, unsigned unit);
