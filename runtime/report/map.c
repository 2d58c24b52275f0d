// map: see map.h. The view is cut to the spots plus a margin, so that small pieces of tissue fill the panel.
#include "map.h"

#include <math.h>
#include <stdio.h>

#include "../core/strings.h"
#include "canvas.h"
#include "png.h"

static const Color ink = {38, 38, 42}, grey = {128, 128, 134}, paper = {255, 255, 255}, frame = {205, 205, 210};

enum { MARGIN = 28, BAR_GAP = 18, BAR_WIDTH = 18, BAR_ROOM = 92, PANEL_GAP = 26, MOST_PANELS = 8 };

typedef struct View {
    double x0, y0, x1, y1; // in units of xy
    double scale;          // canvas pixels per unit
    double width, height;  // canvas pixels
} View;

typedef struct Range {
    double low, high;
    size_t finite;
} Range;

static View find_view(const SpatialMap *map) {
    View view = {INFINITY, INFINITY, -INFINITY, -INFINITY, 1, 0, 0};
    for (size_t i = 0; i < map->n_spots; i++) {
        view.x0 = fmin(view.x0, map->xy[2 * i]), view.x1 = fmax(view.x1, map->xy[2 * i]);
        view.y0 = fmin(view.y0, map->xy[2 * i + 1]), view.y1 = fmax(view.y1, map->xy[2 * i + 1]);
    }
    double margin = 2.0 * map->spot_diameter + 0.03 * fmax(view.x1 - view.x0, view.y1 - view.y0);
    view.x0 -= margin, view.x1 += margin, view.y0 -= margin, view.y1 += margin;
    if (map->image) { // no further than the picture, unless spots lie outside it
        view.x0 = fmax(view.x0, fmin(0, view.x0 + margin - map->spot_diameter));
        view.y0 = fmax(view.y0, fmin(0, view.y0 + margin - map->spot_diameter));
        view.x1 =
            fmin(view.x1, fmax((double)map->image_width / map->image_scale_x, view.x1 - margin + map->spot_diameter));
        view.y1 =
            fmin(view.y1, fmax((double)map->image_height / map->image_scale_y, view.y1 - margin + map->spot_diameter));
    }
    double w = view.x1 - view.x0, h = view.y1 - view.y0, side = map->panel_side ? (double)map->panel_side : 640;
    view.scale = side / fmax(w, h);
    view.width = ceil(w * view.scale);
    view.height = ceil(h * view.scale);
    return view;
}

static void widen(Range *range, const float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) continue;
        range->low = fmin(range->low, values[i]);
        range->high = fmax(range->high, values[i]);
        range->finite++;
    }
}

static Range find_range(const SpatialMap *map, size_t first, size_t count) {
    if (map->low < map->high) return (Range){map->low, map->high, 1};
    Range range = {INFINITY, -INFINITY, 0};
    for (size_t p = first; p < first + count; p++) widen(&range, map->panels[p].values, map->n_spots);
    if (range.finite == 0) return (Range){0, 1, 0};
    if (range.low == range.high) { // a constant still deserves a colour from the middle
        double pad = range.low == 0 ? 1 : fabs(range.low) * 0.1;
        range.low -= pad, range.high += pad;
    }
    return range;
}

static void draw_scale_bar(Canvas *canvas, const SpatialMap *map, const View *view, double x, double y) {
    if (!(map->unit_in_microns > 0)) return;
    double microns_per_pixel = map->unit_in_microns / view->scale;
    double length = nice_step(0.22 * view->width * microns_per_pixel, 1), pixels = length / microns_per_pixel;
    char label[48];
    if (length >= 1000) snprintf(label, sizeof label, "%g mm", length / 1000);
    else snprintf(label, sizeof label, "%g \xC2\xB5m", length);
    double bx = x + 14, by = y + view->height - 16, room = fmax(pixels, canvas_text_width(14, label));
    canvas_rectangle(canvas, bx - 7, by - 22, room + 14, 32, paper, 0.78);
    canvas_rectangle(canvas, bx, by, pixels, 4, ink, 1);
    canvas_text(canvas, bx + 0.5 * room, by - 7, 14, 1, TEXT_CENTER, ink, label);
}

static void draw_panel(Canvas *canvas, const SpatialMap *map, const View *view, size_t number, Range range, double x,
                       double y) {
    const MapPanel *panel = &map->panels[number];
    if (panel->title) canvas_text(canvas, x + 0.5 * view->width, y - 12, 18, 1, TEXT_CENTER, ink, panel->title);
    if (map->image)
        canvas_picture(canvas, x, y, view->width, view->height, map->image, map->image_width, map->image_height,
                       view->x0 * map->image_scale_x, view->y0 * map->image_scale_y,
                       view->width / view->scale * map->image_scale_x, view->height / view->scale * map->image_scale_y,
                       0.45);
    double radius = fmax(1.5, 0.5 * map->spot_diameter * view->scale);
    for (size_t i = 0; i < map->n_spots; i++) {
        double cx = x + (map->xy[2 * i] - view->x0) * view->scale,
               cy = y + (map->xy[2 * i + 1] - view->y0) * view->scale;
        float value = panel->values[i];
        if (!isfinite(value)) {
            canvas_ring(canvas, cx, cy, radius - 0.5, 1.2, grey, 1);
            continue;
        }
        canvas_disc(canvas, cx, cy, radius + 0.8, paper, 0.85); // a thin light rim parts spot from tissue
        canvas_disc(canvas, cx, cy, radius, palette_viridis((value - range.low) / (range.high - range.low)), 1);
    }
    canvas_frame(canvas, x, y, view->width, view->height, 1, frame);
    if (number == 0) draw_scale_bar(canvas, map, view, x, y);
}

static void draw_color_bar(Canvas *canvas, const SpatialMap *map, Range range, double x, double y, double height) {
    for (double j = 0; j < height; j++)
        canvas_rectangle(canvas, x, y + j, BAR_WIDTH, fmin(1, height - j), palette_viridis(1 - (j + 0.5) / height), 1);
    canvas_frame(canvas, x, y, BAR_WIDTH, height, 1, frame);
    double step = nice_step(range.high - range.low, 5);
    int digits = (int)fmax(0, ceil(-log10(step) - 1e-9));
    bool scientific = digits > 4 || fabs(range.high) >= 1e6 || fabs(range.low) >= 1e6;
    for (long k = (long)ceil(range.low / step - 1e-6); (double)k * step <= range.high + 1e-6 * step; k++) {
        double value = (double)k * step, at = y + height * (1 - (value - range.low) / (range.high - range.low));
        char label[32];
        if (scientific) snprintf(label, sizeof label, "%.3g", value);
        else snprintf(label, sizeof label, "%.*f", digits, value == 0 ? 0.0 : value);
        canvas_line(canvas, x + BAR_WIDTH, at, x + BAR_WIDTH + 5, at, 1.2, grey, 1);
        canvas_text(canvas, x + BAR_WIDTH + 9, at + 5, 14, 1, TEXT_LEFT, ink, label);
    }
    if (map->value_name)
        canvas_text_up(canvas, x + BAR_ROOM - BAR_GAP - 4, y + 0.5 * height, 14, 1, TEXT_CENTER, ink, map->value_name);
}

static Status check_map(const SpatialMap *map) {
    if (map->n_spots == 0 || map->n_panels == 0 || map->n_panels > MOST_PANELS)
        return status_make(STATUS_INVALID, "a map needs spots and 1 to %d panels, not %zu spots and %zu panels",
                           MOST_PANELS, map->n_spots, map->n_panels);
    if (map->panel_side > 4000)
        return status_make(STATUS_INVALID, "a panel side of %zu pixels; 4000 is the most", map->panel_side);
    if (!(map->spot_diameter > 0) || (map->image && (!(map->image_scale_x > 0) || !(map->image_scale_y > 0))))
        return status_make(STATUS_INVALID, "a map needs a positive spot diameter and picture scale");
    for (size_t i = 0; i < 2 * map->n_spots; i++)
        if (!isfinite(map->xy[i])) return status_make(STATUS_INVALID, "the position of spot %zu is not finite", i / 2);
    return STATUS_OK;
}

Status map_write_png(const char *path, const SpatialMap *map) {
    TRY_IN(check_map(map), "%s", path);
    View view = find_view(map);
    size_t n = map->n_panels, n_bars = map->shared_scale ? 1 : n;
    double top = MARGIN + (map->title ? 26 : 0) + (map->subtitle ? 22 : 0);
    for (size_t p = 0; p < n; p++) {
        if (!map->panels[p].title) continue;
        top += 32;
        break;
    }
    double width = 2.0 * MARGIN + (double)n * view.width + (double)(n - 1) * PANEL_GAP + (double)n_bars * BAR_ROOM;
    // Titles may be wider than narrow panels.
    if (map->title) width = fmax(width, 2.0 * MARGIN + canvas_text_width(24, map->title));
    if (map->subtitle) width = fmax(width, 2.0 * MARGIN + canvas_text_width(15, map->subtitle));
    Canvas canvas = {0};
    TRY_IN(canvas_create((size_t)ceil(width), (size_t)ceil(top + view.height + MARGIN), paper, &canvas), "%s", path);
    if (map->title) canvas_text(&canvas, MARGIN, MARGIN + 18, 24, 1.3, TEXT_LEFT, ink, map->title);
    if (map->subtitle)
        canvas_text(&canvas, MARGIN, MARGIN + (map->title ? 44 : 16), 15, 1, TEXT_LEFT, grey, map->subtitle);
    double x = MARGIN;
    for (size_t p = 0; p < n; p++) {
        Range range = map->shared_scale ? find_range(map, 0, n) : find_range(map, p, 1);
        draw_panel(&canvas, map, &view, p, range, x, top);
        x += view.width;
        if (!map->shared_scale || p + 1 == n) {
            double bar_height = fmin(view.height, 420); // whole pixels: half-covered rows would let the paper through
            draw_color_bar(&canvas, map, range, x + BAR_GAP, top + floor(0.5 * (view.height - bar_height)), bar_height);
            x += BAR_ROOM;
        }
        x += PANEL_GAP;
    }
    Status status = png_write_rgb(path, canvas.width, canvas.height, canvas.rgb);
    canvas_free(&canvas);
    return status;
}
