// slide_describe: see slide_describe.h. Numbers that are not positive and finite count as not said.
#include "slide_describe.h"

#include <math.h>
#include <string.h>

#include "../core/strings.h"

static const SlideScale unknown = {NAN, NAN, NAN};

bool describes_aperio(const char *text) {
    return text && strncmp(text, "Aperio", 6) == 0;
}

bool describes_ome(const char *text) {
    return text && (strstr(text, "<OME ") || strstr(text, "<OME>") || strstr(text, ":OME "));
}

static double number_in(const char *text, size_t length) {
    double value;
    while (length && (*text == ' ' || *text == '\t')) text++, length--;
    while (length && strchr(" \t\r\n", text[length - 1])) length--;
    return parse_f64(text, length, &value) && isfinite(value) && value > 0 ? value : NAN;
}

// The value of "key = value" between bars; NaN if it is not there.
static double aperio_number(const char *text, const char *key) {
    size_t n = strlen(key);
    for (const char *at = strchr(text, '|'); at; at = strchr(at, '|')) {
        at++;
        while (*at == ' ') at++;
        if (strncmp(at, key, n) != 0) continue;
        const char *value = at + n;
        while (*value == ' ') value++;
        if (*value != '=') continue;
        return number_in(value + 1, strcspn(value + 1, "|"));
    }
    return NAN;
}

SlideScale aperio_scale(const char *text) {
    double mpp = aperio_number(text, "MPP");
    return (SlideScale){mpp, mpp, aperio_number(text, "AppMag")};
}

bool aperio_says(const char *text, const char *word) {
    if (!text) return false;
    const char *line = strchr(text, '\n');
    return line && strncmp(line + 1, word, strlen(word)) == 0;
}

// The attribute's value inside the element that begins at `element`; NULL if it is not there.
static const char *attribute(const char *element, const char *name, size_t *out_length) {
    size_t n = strlen(name), end = strcspn(element, ">");
    for (const char *at = strstr(element, name); at && at + n < element + end; at = strstr(at + 1, name)) {
        if (!strchr(" \t\r\n", at[-1]) || at[n] != '=' || (at[n + 1] != '"' && at[n + 1] != '\'')) continue;
        const char *value = at + n + 2, *stop = strchr(value, at[n + 1]);
        if (!stop) return NULL;
        *out_length = (size_t)(stop - value);
        return value;
    }
    return NULL;
}

static bool is_text(const char *text, size_t length, const char *wanted) {
    return length == strlen(wanted) && memcmp(text, wanted, length) == 0;
}

// A length in microns; the standard's unit when none is given is the micron.
static double ome_length(const char *element, const char *name, const char *unit_name) {
    size_t length = 0, unit_length = 0;
    const char *text = attribute(element, name, &length), *unit = attribute(element, unit_name, &unit_length);
    if (!text) return NAN;
    double value = number_in(text, length);
    if (!unit || is_text(unit, unit_length, "\xC2\xB5m") || is_text(unit, unit_length, "\xCE\xBCm") ||
        is_text(unit, unit_length, "&#181;m") || is_text(unit, unit_length, "um"))
        return value;
    if (is_text(unit, unit_length, "nm")) return value / 1e3;
    if (is_text(unit, unit_length, "mm")) return value * 1e3;
    if (is_text(unit, unit_length, "cm")) return value * 1e4;
    if (is_text(unit, unit_length, "m")) return value * 1e6;
    return NAN; // "pixel" and "reference frame" are no lengths
}

SlideScale ome_scale(const char *text) {
    SlideScale scale = unknown;
    const char *pixels = strstr(text, "<Pixels"), *objective = strstr(text, "<Objective ");
    if (pixels) {
        scale.mpp_x = ome_length(pixels, "PhysicalSizeX", "PhysicalSizeXUnit");
        scale.mpp_y = ome_length(pixels, "PhysicalSizeY", "PhysicalSizeYUnit");
    }
    size_t length = 0;
    const char *value = objective ? attribute(objective, "NominalMagnification", &length) : NULL;
    if (value) scale.magnification = number_in(value, length);
    return scale;
}

SlideScale tag_scale(double x_resolution, double y_resolution, unsigned unit) {
    const double coarsest = 20; // microns: 1,270 dots per inch; coarser ones speak of paper
    double microns = unit == 3 ? 1e4 : unit == 2 ? 25400 : NAN;
    SlideScale scale = {microns / x_resolution, microns / y_resolution, NAN};
    if (!(x_resolution > 0) || !(scale.mpp_x < coarsest) || !(scale.mpp_x > 0)) scale.mpp_x = NAN;
    if (!(y_resolution > 0) || !(scale.mpp_y < coarsest) || !(scale.mpp_y > 0)) scale.mpp_y = NAN;
    return scale;
}
