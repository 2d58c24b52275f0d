// canvas: see canvas.h. Edges are smooth because coverage is computed from the distance to the shape: 0.5 +
// (radius - distance), clamped. A stroke of several segments takes the largest coverage of all before it is
// blended once.
#include "canvas.h"

#include <math.h>
#include <stdlib.h>

#include "font.h"

Status canvas_create(size_t width, size_t height, Color background, Canvas *out_canvas) {
    *out_canvas = (Canvas){0};
    if (width == 0 || height == 0 || width > 16384 || height > 16384)
        return status_make(STATUS_INVALID, "a picture of %zu x %zu pixels cannot be drawn (1 .. 16384 per side)", width,
                           height);
    uint8_t *rgb = malloc(width * height * 3);
    if (!rgb) return status_make(STATUS_NO_MEMORY, "no memory for a picture of %zu x %zu pixels", width, height);
    for (size_t i = 0; i < width * height; i++) {
        rgb[3 * i] = background.r;
        rgb[3 * i + 1] = background.g;
        rgb[3 * i + 2] = background.b;
    }
    *out_canvas = (Canvas){width, height, rgb};
    return STATUS_OK;
}

void canvas_free(Canvas *canvas) {
    free(canvas->rgb);
    *canvas = (Canvas){0};
}

static void blend(Canvas *canvas, long x, long y, Color color, double coverage) {
    uint8_t *p = canvas->rgb + ((size_t)y * canvas->width + (size_t)x) * 3;
    p[0] = (uint8_t)(p[0] + (color.r - p[0]) * coverage + 0.5);
    p[1] = (uint8_t)(p[1] + (color.g - p[1]) * coverage + 0.5);
    p[2] = (uint8_t)(p[2] + (color.b - p[2]) * coverage + 0.5);
}

// Pixels x0 .. x1 - 1, y0 .. y1 - 1 that a shape of these bounds can touch.
typedef struct Box {
    long x0, y0, x1, y1;
} Box;

static Box clip(const Canvas *canvas, double x0, double y0, double x1, double y1) {
    double w = (double)canvas->width, h = (double)canvas->height;
    Box empty = {0, 0, 0, 0};
    if (!(x0 < w) || !(y0 < h) || !(x1 > 0) || !(y1 > 0)) return empty; // also catches nan
    Box box = {(long)floor(x0 < 0 ? 0 : x0), (long)floor(y0 < 0 ? 0 : y0), (long)ceil(x1 > w ? w : x1),
               (long)ceil(y1 > h ? h : y1)};
    return box;
}

// How much of [i, i + 1] lies in [a, b].
static double overlap(double i, double a, double b) {
    double low = a > i ? a : i, high = b < i + 1 ? b : i + 1;
    return high > low ? high - low : 0;
}

void canvas_rectangle(Canvas *canvas, double x, double y, double width, double height, Color color, double opacity) {
    Box box = clip(canvas, x, y, x + width, y + height);
    for (long j = box.y0; j < box.y1; j++)
        for (long i = box.x0; i < box.x1; i++)
            blend(canvas, i, j, color, opacity * overlap((double)i, x, x + width) * overlap((double)j, y, y + height));
}

void canvas_frame(Canvas *canvas, double x, double y, double width, double height, double line, Color color) {
    canvas_rectangle(canvas, x, y, width, line, color, 1);
    canvas_rectangle(canvas, x, y + height - line, width, line, color, 1);
    canvas_rectangle(canvas, x, y + line, line, height - 2 * line, color, 1);
    canvas_rectangle(canvas, x + width - line, y + line, line, height - 2 * line, color, 1);
}

static double distance_to_segment(double px, double py, double x0, double y0, double x1, double y1) {
    double dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy;
    double t = length > 0 ? ((px - x0) * dx + (py - y0) * dy) / length : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return hypot(px - x0 - t * dx, py - y0 - t * dy);
}

static double coverage_of(double radius, double distance) {
    double c = 0.5 + radius - distance;
    if (radius < 0.5) c = c < 0 ? 0 : c * (2 * radius); // hairlines become pale instead of thin
    return c < 0 ? 0 : c > 1 ? 1 : c;
}

void canvas_polyline(Canvas *canvas, const double *xy, size_t count, double line, Color color, double opacity) {
    if (count == 0) return;
    double x0 = xy[0], x1 = xy[0], y0 = xy[1], y1 = xy[1], radius = 0.5 * line;
    for (size_t k = 1; k < count; k++) {
        x0 = fmin(x0, xy[2 * k]), x1 = fmax(x1, xy[2 * k]);
        y0 = fmin(y0, xy[2 * k + 1]), y1 = fmax(y1, xy[2 * k + 1]);
    }
    Box all = clip(canvas, x0 - radius - 1, y0 - radius - 1, x1 + radius + 1, y1 + radius + 1);
    size_t w = (size_t)(all.x1 - all.x0), h = (size_t)(all.y1 - all.y0);
    if (w == 0 || h == 0) return;
    float *mask = calloc(w * h, sizeof *mask);
    if (!mask) return; // a drawing lacks a line rather than a run its results
    for (size_t k = 0; k + 1 < count || k == 0; k++) {
        const double *a = xy + 2 * k, *b = k + 1 < count ? a + 2 : a;
        Box box = clip(canvas, fmin(a[0], b[0]) - radius - 1, fmin(a[1], b[1]) - radius - 1,
                       fmax(a[0], b[0]) + radius + 1, fmax(a[1], b[1]) + radius + 1);
        for (long j = box.y0; j < box.y1; j++) {
            for (long i = box.x0; i < box.x1; i++) {
                double d = distance_to_segment((double)i + 0.5, (double)j + 0.5, a[0], a[1], b[0], b[1]);
                float c = (float)coverage_of(radius, d), *m = &mask[(size_t)(j - all.y0) * w + (size_t)(i - all.x0)];
                if (c > *m) *m = c;
            }
        }
    }
    for (size_t j = 0; j < h; j++)
        for (size_t i = 0; i < w; i++)
            if (mask[j * w + i] > 0)
                blend(canvas, all.x0 + (long)i, all.y0 + (long)j, color, opacity * mask[j * w + i]);
    free(mask);
}

void canvas_line(Canvas *canvas, double x0, double y0, double x1, double y1, double line, Color color, double opacity) {
    double xy[4] = {x0, y0, x1, y1};
    canvas_polyline(canvas, xy, 2, line, color, opacity);
}

void canvas_disc(Canvas *canvas, double x, double y, double radius, Color color, double opacity) {
    Box box = clip(canvas, x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1);
    for (long j = box.y0; j < box.y1; j++)
        for (long i = box.x0; i < box.x1; i++)
            blend(canvas, i, j, color, opacity * coverage_of(radius, hypot((double)i + 0.5 - x, (double)j + 0.5 - y)));
}

void canvas_ring(Canvas *canvas, double x, double y, double radius, double line, Color color, double opacity) {
    double reach = radius + 0.5 * line + 1;
    Box box = clip(canvas, x - reach, y - reach, x + reach, y + reach);
    for (long j = box.y0; j < box.y1; j++) {
        for (long i = box.x0; i < box.x1; i++) {
            double d = fabs(hypot((double)i + 0.5 - x, (double)j + 0.5 - y) - radius);
            blend(canvas, i, j, color, opacity * coverage_of(0.5 * line, d));
        }
    }
}

// Mean colour of the part [x0, x1) x [y0, y1) of a picture, at least one pixel.
static void mean_color(const uint8_t *rgb, size_t width, size_t height, double x0, double y0, double x1, double y1,
                       double out[3]) {
    long a = (long)floor(x0), b = (long)ceil(x1), c = (long)floor(y0), d = (long)ceil(y1);
    a = a < 0 ? 0 : a >= (long)width ? (long)width - 1 : a;
    c = c < 0 ? 0 : c >= (long)height ? (long)height - 1 : c;
    b = b > (long)width ? (long)width : b <= a ? a + 1 : b;
    d = d > (long)height ? (long)height : d <= c ? c + 1 : d;
    double sum[3] = {0, 0, 0}, total = 0;
    for (long j = c; j < d; j++) {
        for (long i = a; i < b; i++) {
            double weight = overlap((double)i, x0, x1) * overlap((double)j, y0, y1);
            if (b - a == 1 && d - c == 1) weight = 1;
            const uint8_t *p = rgb + ((size_t)j * width + (size_t)i) * 3;
            for (int k = 0; k < 3; k++) sum[k] += weight * p[k];
            total += weight;
        }
    }
    for (int k = 0; k < 3; k++) out[k] = total > 0 ? sum[k] / total : 255;
}

void canvas_picture(Canvas *canvas, double x, double y, double w, double h, const uint8_t *rgb, size_t width,
                    size_t height, double sx, double sy, double sw, double sh, double fade) {
    if (width == 0 || height == 0 || !(w > 0) || !(h > 0)) return;
    Box box = clip(canvas, x, y, x + w, y + h);
    double fx = sw / w, fy = sh / h;
    for (long j = box.y0; j < box.y1; j++) {
        for (long i = box.x0; i < box.x1; i++) {
            double mean[3];
            double u = sx + ((double)i - x) * fx, v = sy + ((double)j - y) * fy;
            if (u + fx <= 0 || v + fy <= 0 || u >= (double)width || v >= (double)height) continue;
            mean_color(rgb, width, height, u, v, u + fx, v + fy, mean);
            for (int k = 0; k < 3; k++) mean[k] += (255 - mean[k]) * fade;
            Color color = {(uint8_t)(mean[0] + 0.5), (uint8_t)(mean[1] + 0.5), (uint8_t)(mean[2] + 0.5)};
            blend(canvas, i, j, color, overlap((double)i, x, x + w) * overlap((double)j, y, y + h));
        }
    }
}

// ---- Text ---------------------------------------------------------------------------------------

static const double unit_per_size = 0.07; // pixels per font unit for a line height of 1

double canvas_text_width(double size, const char *text) {
    double width = 0;
    uint32_t c;
    while ((c = font_next_character(&text)) != 0) width += font_glyph(c)->width + GLYPH_GAP;
    return width > 0 ? (width - GLYPH_GAP) * size * unit_per_size : 0;
}

// Where font units go: (ox, oy) plus x along (ax, ay), and up along (ux, uy).
typedef struct Pen {
    double ox, oy, ax, ay, ux, uy;
    double radius;
    Canvas *canvas;
    float *mask; // NULL: only bounds are measured
    Box box;
    double x0, y0, x1, y1;
} Pen;

static void pen_segment(void *context, double x0, double y0, double x1, double y1) {
    Pen *pen = context;
    double px = pen->ox + x0 * pen->ax + y0 * pen->ux, py = pen->oy + x0 * pen->ay + y0 * pen->uy;
    double qx = pen->ox + x1 * pen->ax + y1 * pen->ux, qy = pen->oy + x1 * pen->ay + y1 * pen->uy;
    double reach = pen->radius + 1;
    double left = fmin(px, qx) - reach, top = fmin(py, qy) - reach, right = fmax(px, qx) + reach,
           bottom = fmax(py, qy) + reach;
    if (!pen->mask) {
        pen->x0 = fmin(pen->x0, left), pen->y0 = fmin(pen->y0, top);
        pen->x1 = fmax(pen->x1, right), pen->y1 = fmax(pen->y1, bottom);
        return;
    }
    Box box = clip(pen->canvas, left, top, right, bottom);
    size_t stride = (size_t)(pen->box.x1 - pen->box.x0);
    for (long j = box.y0; j < box.y1; j++) {
        for (long i = box.x0; i < box.x1; i++) {
            float c =
                (float)coverage_of(pen->radius, distance_to_segment((double)i + 0.5, (double)j + 0.5, px, py, qx, qy));
            float *m = &pen->mask[(size_t)(j - pen->box.y0) * stride + (size_t)(i - pen->box.x0)];
            if (c > *m) *m = c;
        }
    }
}

static void draw_glyph(Pen *pen, const Glyph *glyph, Color color) {
    pen->mask = NULL;
    pen->x0 = pen->y0 = 1e9;
    pen->x1 = pen->y1 = -1e9;
    font_trace(glyph, pen_segment, pen);
    pen->box = clip(pen->canvas, pen->x0, pen->y0, pen->x1, pen->y1);
    size_t w = (size_t)(pen->box.x1 - pen->box.x0), h = (size_t)(pen->box.y1 - pen->box.y0);
    if (w == 0 || h == 0) return;
    pen->mask = calloc(w * h, sizeof *pen->mask);
    if (!pen->mask) return;
    font_trace(glyph, pen_segment, pen);
    for (size_t j = 0; j < h; j++)
        for (size_t i = 0; i < w; i++)
            if (pen->mask[j * w + i] > 0)
                blend(pen->canvas, pen->box.x0 + (long)i, pen->box.y0 + (long)j, color, pen->mask[j * w + i]);
    free(pen->mask);
    pen->mask = NULL;
}

// (dx, dy): the reading direction, a unit vector.
static void draw_text(Canvas *canvas, double x, double y, double dx, double dy, double size, double weight,
                      TextAlign align, Color color, const char *text) {
    double unit = size * unit_per_size, shift = 0;
    if (align == TEXT_CENTER) shift = 0.5 * canvas_text_width(size, text);
    if (align == TEXT_RIGHT) shift = canvas_text_width(size, text);
    Pen pen = {.ox = x - shift * dx,
               .oy = y - shift * dy,
               .ax = unit * dx,
               .ay = unit * dy,
               .ux = unit * dy,
               .uy = -unit * dx};
    pen.canvas = canvas;
    pen.radius = 0.5 * fmax(1.05, 0.085 * size * weight);
    uint32_t c;
    while ((c = font_next_character(&text)) != 0) {
        const Glyph *glyph = font_glyph(c);
        draw_glyph(&pen, glyph, color);
        pen.ox += (glyph->width + GLYPH_GAP) * pen.ax;
        pen.oy += (glyph->width + GLYPH_GAP) * pen.ay;
    }
}

void canvas_text(Canvas *canvas, double x, double y, double size, double weight, TextAlign align, Color color,
                 const char *text) {
    draw_text(canvas, x, y, 1, 0, size, weight, align, color, text);
}

void canvas_text_up(Canvas *canvas, double x, double y, double size, double weight, TextAlign align, Color color,
                    const char *text) {
    draw_text(canvas, x, y, 0, -1, size, weight, align, color, text);
}

// ---- Scales -------------------------------------------------------------------------------------

double nice_step(double span, int count) {
    if (!(span > 0) || !isfinite(span) || count < 1) return 1;
    double raw = span / count, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}
