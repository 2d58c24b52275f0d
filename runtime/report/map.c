// map: see map.h. The view is cut to the spots plus a margin, so that small pieces of tissue fill the panel.
#include "map.h"

#include <math.h>
#include <stdio.h>

#include "../core/strings.h"
#include "canvas.h"
#include "map_legend.h"
#include "png.h"

enum { MARGIN = 28, PANEL_GAP = 26, MOST_PANELS = 8, NOTE_ROOM = 24 };

typedef struct View {
    double x0, y0, x1, y1; // in units of xy
    double scale;          // canvas pixels per unit
    double width, height;  // canvas pixels
} View;

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

static MapRange find_range(const SpatialMap *map, size_t first, size_t count) {
    MapRange range = {INFINITY, -INFINITY, 0, 0};
    for (size_t p = first; p < first + count; p++) {
        for (size_t i = 0; i < map->n_spots; i++) {
            float value = map->panels[p].values[i];
            if (!isfinite(value)) {
                range.missing++;
                continue;
            }
            range.low = fmin(range.low, value);
            range.high = fmax(range.high, value);
            range.finite++;
        }
    }
    if (map->low < map->high) range.low = map->low, range.high = map->high;
    else if (range.finite == 0) range.low = 0, range.high = 1;
    else if (range.low == range.high) { // a constant still deserves a colour from the middle
        double pad = range.low == 0 ? 1 : fabs(range.low) * 0.1;
        range.low -= pad, range.high += pad;
    }
    return range;
}

// How many spots a box of the panel (pixels from its corner) would hide.
static size_t spots_in(const SpatialMap *map, const View *view, double x, double y, double width, double height) {
    double reach = 0.5 * map->spot_diameter * view->scale;
    size_t count = 0;
    for (size_t i = 0; i < map->n_spots; i++) {
        double cx = (map->xy[2 * i] - view->x0) * view->scale, cy = (map->xy[2 * i + 1] - view->y0) * view->scale;
        count += cx > x - reach && cx < x + width + reach && cy > y - reach && cy < y + height + reach;
    }
    return count;
}

typedef struct ScaleBar {
    char label[48];       // "" if lengths are unknown: no bar
    double x, y;          // of its box, from the panel's corner
    double pixels, width; // of the bar, of its box
    bool below;           // it stands below the panel
} ScaleBar;
enum { BAR_HEIGHT = 32, BAR_INSET = 7 };

// In the first corner that hides no spot, the lower left one before the others; if all do, below the panel.
static ScaleBar plan_scale_bar(const SpatialMap *map, const View *view) {
    ScaleBar bar = {.label = ""};
    if (!(map->unit_in_microns > 0)) return bar;
    double microns_per_pixel = map->unit_in_microns / view->scale;
    double length = nice_step(0.22 * view->width * microns_per_pixel, 1);
    bar.pixels = length / microns_per_pixel;
    if (length >= 1000) snprintf(bar.label, sizeof bar.label, "%g mm", length / 1000);
    else snprintf(bar.label, sizeof bar.label, "%g \xC2\xB5m", length);
    bar.width = fmax(bar.pixels, canvas_text_width(14, bar.label)) + 2 * BAR_INSET;
    for (int k = 0; k < 4; k++) {
        bar.x = k % 2 == 0 ? BAR_INSET : view->width - bar.width - BAR_INSET;
        bar.y = k < 2 ? view->height - BAR_HEIGHT - BAR_INSET : BAR_INSET;
        if (spots_in(map, view, bar.x, bar.y, bar.width, BAR_HEIGHT) == 0) return bar;
    }
    bar.below = true;
    bar.x = -BAR_INSET;
    bar.y = view->height + 3;
    return bar;
}

static void draw_scale_bar(Canvas *canvas, const ScaleBar *bar, double x, double y) {
    if (!*bar->label) return;
    double left = x + bar->x, top = y + bar->y;
    canvas_rectangle(canvas, left, top, bar->width, BAR_HEIGHT, MAP_PAPER, 0.78);
    canvas_rectangle(canvas, left + BAR_INSET, top + 23, bar->pixels, 4, MAP_INK, 1);
    canvas_text(canvas, left + 0.5 * bar->width, top + 16, 14, 1, TEXT_CENTER, MAP_INK, bar->label);
}

static void draw_spot(Canvas *canvas, const SpatialMap *map, const MapPanel *panel, MapRange range, size_t spot,
                      double x, double y, double radius) {
    if (map->category && map->category[spot] < 0) mark_missing(canvas, map, x, y, radius);
    else if (map->category) mark_category(canvas, map, x, y, radius, map->category[spot]);
    else if (!isfinite(panel->values[spot])) mark_missing(canvas, map, x, y, radius);
    else {
        double share = (panel->values[spot] - range.low) / (range.high - range.low);
        mark_value(canvas, map, x, y, radius, palette_color(map->palette, share));
    }
}

static void draw_panel(Canvas *canvas, const SpatialMap *map, const View *view, size_t number, MapRange range, double x,
                       double y) {
    const MapPanel *panel = &map->panels[number];
    char title[FITTED_TEXT];
    if (panel->title)
        canvas_text(canvas, x + 0.5 * view->width, y - 12, 18, 1, TEXT_CENTER, MAP_INK,
                    text_fitted(panel->title, 18, view->width, title));
    if (map->image)
        canvas_picture(canvas, x, y, view->width, view->height, map->image, map->image_width, map->image_height,
                       view->x0 * map->image_scale_x, view->y0 * map->image_scale_y,
                       view->width / view->scale * map->image_scale_x, view->height / view->scale * map->image_scale_y,
                       0.45);
    double radius = fmax(1.5, 0.5 * map->spot_diameter * view->scale);
    for (size_t i = 0; i < map->n_spots; i++)
        draw_spot(canvas, map, panel, range, i, x + (map->xy[2 * i] - view->x0) * view->scale,
                  y + (map->xy[2 * i + 1] - view->y0) * view->scale, radius);
    canvas_frame(canvas, x, y, view->width, view->height, 1, MAP_FRAME);
}

static Status check_categories(const SpatialMap *map) {
    if (map->n_panels != 1)
        return status_make(STATUS_INVALID, "a map of categories has one panel, not %zu", map->n_panels);
    for (size_t i = 0; i < map->n_spots; i++)
        if (map->category[i] >= 0 && (size_t)map->category[i] >= map->n_categories)
            return status_make(STATUS_INVALID, "spot %zu is of category %d; there are %zu", i, map->category[i],
                               map->n_categories);
    return STATUS_OK;
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
    return map->category ? check_categories(map) : STATUS_OK;
}

// Everything measured, before there is a canvas.
typedef struct Layout {
    View view;
    MapRange range[MOST_PANELS]; // of the bar behind the panel
    double room[MOST_PANELS];    // at the right of each panel
    CategoryList list;
    ScaleBar bar;
    char note[FITTED_TEXT];           // what stands below the panels, "" if nothing
    double top, under, width, height; // under: where the panels and what belongs to them end
} Layout;

static Status plan_layout(const SpatialMap *map, Layout *l) {
    size_t n = map->n_panels;
    l->view = find_view(map);
    l->bar = plan_scale_bar(map, &l->view);
    l->top = MARGIN + (map->title ? 28 : 0) + (map->subtitle ? 30 : 0);
    for (size_t p = 0; p < n; p++) {
        if (!map->panels[p].title) continue;
        l->top += 32;
        break;
    }
    l->width = 2.0 * MARGIN + (double)n * l->view.width + (double)(n - 1) * PANEL_GAP;
    if (map->category) {
        TRY(list_plan(map, l->view.height, &l->list));
        l->room[0] = l->list.width;
    }
    for (size_t p = 0; p < n && !map->category; p++) {
        l->range[p] = map->shared_scale ? find_range(map, 0, n) : find_range(map, p, 1);
        if (!map->shared_scale || p + 1 == n) l->room[p] = bar_room(map, l->range[p]);
    }
    for (size_t p = 0; p < n; p++) l->width += l->room[p];
    // Titles may be wider than narrow panels.
    if (map->title) l->width = fmax(l->width, 2.0 * MARGIN + canvas_text_width(24, map->title));
    if (map->subtitle) l->width = fmax(l->width, 2.0 * MARGIN + canvas_text_width(15, map->subtitle));
    if (map->category && map->n_categories > CATEGORY_MARKS)
        snprintf(l->note, sizeof l->note, "%zu categories share %d marks: each stands for several. %.150s",
                 map->n_categories, CATEGORY_MARKS, map->note ? map->note : "");
    else if (map->note) snprintf(l->note, sizeof l->note, "%.250s", map->note);
    l->under = l->top + l->view.height + (l->bar.below ? BAR_HEIGHT : 0);
    l->height = l->under + MARGIN + (*l->note ? NOTE_ROOM : 0);
    l->width = ceil(l->width);
    return STATUS_OK;
}

static Status draw_all(const char *path, const SpatialMap *map, const Layout *l) {
    Canvas canvas = {0};
    char text[FITTED_TEXT];
    TRY_IN(canvas_create((size_t)l->width, (size_t)ceil(l->height), MAP_PAPER, &canvas), "%s", path);
    if (map->title) canvas_text(&canvas, MARGIN, MARGIN + 18, 24, 1.3, TEXT_LEFT, MAP_INK, map->title);
    if (map->subtitle)
        canvas_text(&canvas, MARGIN, MARGIN + (map->title ? 44 : 16), 15, 1, TEXT_LEFT, MAP_GREY, map->subtitle);
    double x = MARGIN;
    for (size_t p = 0; p < map->n_panels; p++) {
        draw_panel(&canvas, map, &l->view, p, l->range[p], x, l->top);
        if (p == 0) draw_scale_bar(&canvas, &l->bar, x, l->top);
        x += l->view.width;
        if (map->category) list_draw(&canvas, map, &l->list, x, l->top);
        else if (l->room[p] > 0) bar_draw(&canvas, map, l->range[p], x, l->top, l->view.height);
        x += l->room[p] + PANEL_GAP;
    }
    if (*l->note)
        canvas_text(&canvas, MARGIN, l->under + NOTE_ROOM, 13, 1, TEXT_LEFT, MAP_GREY,
                    text_fitted(l->note, 13, l->width - 2 * MARGIN, text));
    Status status = png_write_rgb(path, canvas.width, canvas.height, canvas.rgb);
    canvas_free(&canvas);
    return status;
}

Status map_write_png(const char *path, const SpatialMap *map) {
    Layout layout = {0};
    TRY_IN(check_map(map), "%s", path);
    Status status = plan_layout(map, &layout);
    if (status == STATUS_OK) status = draw_all(path, map, &layout);
    list_free(&layout.list);
    return status;
}
