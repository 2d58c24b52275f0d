// curves: see curves.h. Every number of metrics.jsonl except step and epoch gets a panel; x is the epoch.
// Baselines are level lines.
#include "curves.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/json.h"
#include "canvas.h"
#include "png.h"

enum { MAX_PANELS = 16, MAX_LINES = 6, PANEL_WIDTH = 620, PANEL_HEIGHT = 360, LARGEST_LOG = 1 << 30 };

typedef struct Line {
    const char *split;
    double *xy; // [count][2] epoch, value
    size_t count, room;
} Line;

typedef struct Panel {
    const char *name;
    Line line[MAX_LINES];
    int lines;
} Panel;

typedef struct Curves {
    Arena arena;
    Panel panel[MAX_PANELS];
    int panels;
} Curves;

static Line *find_line(Curves *c, const char *name, const char *split) {
    int p = 0, k = 0;
    while (p < c->panels && strcmp(c->panel[p].name, name) != 0) p++;
    if (p == MAX_PANELS) return NULL;
    Panel *panel = &c->panel[p];
    if (p == c->panels) *panel = (Panel){.name = name}, c->panels++;
    while (k < panel->lines && strcmp(panel->line[k].split, split) != 0) k++;
    if (k == MAX_LINES) return NULL;
    if (k == panel->lines) panel->line[panel->lines++] = (Line){.split = split};
    return &panel->line[k];
}

static Status add_point(Curves *c, const char *name, const char *split, double epoch, double value) {
    Line *line = find_line(c, name, split);
    if (!line || !isfinite(value)) return STATUS_OK;
    if (line->count == line->room) {
        size_t room = line->room ? line->room * 2 : 64;
        double *larger = NULL;
        TRY(ARENA_NEW(&c->arena, larger, room * 2));
        if (line->count) memcpy(larger, line->xy, line->count * 2 * sizeof *larger);
        line->xy = larger;
        line->room = room;
    }
    line->xy[2 * line->count] = epoch;
    line->xy[2 * line->count + 1] = value;
    line->count++;
    return STATUS_OK;
}

// The value to draw: a number, or the mean of a list's numbers.
static double drawn_value(const JsonValue *value) {
    if (value->type == JSON_NUMBER) return value->number;
    double sum = 0;
    size_t finite = 0;
    for (size_t i = 0; value->type == JSON_ARRAY && i < value->length; i++) {
        if (value->items[i].type != JSON_NUMBER) continue;
        sum += value->items[i].number;
        finite++;
    }
    return finite ? sum / (double)finite : NAN;
}

static Status read_line(Curves *c, const char *path, const char *text, size_t size) {
    JsonValue *record = NULL;
    TRY(json_parse(path, text, size, &c->arena, &record));
    const JsonValue *epoch = json_get(record, "epoch"), *split = json_get(record, "split");
    if (!epoch || epoch->type != JSON_NUMBER || !split || split->type != JSON_STRING)
        return status_make(STATUS_MALFORMED, "%s: a line has no epoch or no split", path);
    for (size_t i = 0; i < record->length; i++) {
        const char *key = record->keys[i];
        if (strcmp(key, "epoch") == 0 || strcmp(key, "step") == 0 || strcmp(key, "split") == 0) continue;
        TRY(add_point(c, key, split->string, epoch->number, drawn_value(&record->items[i])));
    }
    return STATUS_OK;
}

static Status read_log(Curves *c, const char *path) {
    char *text = NULL;
    size_t size = 0;
    TRY(file_read(path, LARGEST_LOG, &text, &size));
    Status status = STATUS_OK;
    for (char *line = text; line < text + size && status == STATUS_OK;) {
        char *end = memchr(line, '\n', size - (size_t)(line - text));
        size_t n = end ? (size_t)(end - line) : size - (size_t)(line - text);
        if (n) status = read_line(c, path, line, n);
        line += n + 1;
    }
    free(text);
    return status;
}

static const Color ink = {40, 40, 40}, faint = {225, 225, 225}, grey = {130, 130, 130};

// A colour per split, the same in every panel.
static Color line_color(const char *split) {
    if (strcmp(split, "train") == 0) return (Color){120, 120, 130};
    if (strcmp(split, "baseline-constant") == 0) return (Color){230, 159, 0};
    if (strcmp(split, "baseline-mean") == 0) return (Color){204, 121, 167};
    return (Color){0, 114, 178};
}

static void number_label(double value, double step, char text[32]) {
    double size = fabs(value);
    int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    if (size < step / 1000) snprintf(text, 32, "0");
    else if (size >= 1e6 || decimals > 5) snprintf(text, 32, "%.1e", value);
    else snprintf(text, 32, "%.*f", decimals, value);
}

typedef struct Frame { // a panel's plotting area and its scales
    double x, y, w, h, x0, x1, y0, y1;
} Frame;

static double to_x(const Frame *f, double value) {
    return f->x + (value - f->x0) / (f->x1 - f->x0) * f->w;
}

static double to_y(const Frame *f, double value) {
    return f->y + f->h - (value - f->y0) / (f->y1 - f->y0) * f->h;
}

static Frame scale_frame(const Panel *panel, double left, double top, double last_epoch) {
    Frame f = {.x = left + 66, .y = top + 44, .w = PANEL_WIDTH - 90, .h = PANEL_HEIGHT - 96, .x0 = 0, .x1 = last_epoch};
    double low = INFINITY, high = -INFINITY;
    for (int k = 0; k < panel->lines; k++) {
        for (size_t i = 0; i < panel->line[k].count; i++) {
            low = fmin(low, panel->line[k].xy[2 * i + 1]);
            high = fmax(high, panel->line[k].xy[2 * i + 1]);
        }
    }
    double margin = high > low ? (high - low) * 0.06 : fmax(fabs(high) * 0.1, 1e-3);
    f.y0 = low - margin;
    f.y1 = high + margin;
    return f;
}

static void draw_axes(Canvas *canvas, const Frame *f, const char *title) {
    char label[32];
    double step = nice_step(f->y1 - f->y0, 5);
    for (double v = ceil(f->y0 / step) * step; v <= f->y1; v += step) {
        canvas_line(canvas, f->x, to_y(f, v), f->x + f->w, to_y(f, v), 1, faint, 1);
        number_label(v, step, label);
        canvas_text(canvas, f->x - 8, to_y(f, v) + 5, 15, 1, TEXT_RIGHT, ink, label);
    }
    step = fmax(1, nice_step(f->x1 - f->x0, 6));
    for (double v = 0; v <= f->x1 + 1e-9; v += step) {
        canvas_line(canvas, to_x(f, v), f->y + f->h, to_x(f, v), f->y + f->h + 5, 1, grey, 1);
        number_label(v, step, label);
        canvas_text(canvas, to_x(f, v), f->y + f->h + 21, 15, 1, TEXT_CENTER, ink, label);
    }
    canvas_frame(canvas, f->x, f->y, f->w, f->h, 1, grey);
    canvas_text(canvas, f->x, f->y - 14, 19, 1.3, TEXT_LEFT, ink, title);
    canvas_text(canvas, f->x + f->w / 2, f->y + f->h + 42, 15, 1, TEXT_CENTER, ink, "epoch");
}

static Status draw_line(Curves *c, Canvas *canvas, const Frame *f, const Line *line) {
    Color color = line_color(line->split);
    if (strncmp(line->split, "baseline", 8) == 0) {
        double y = to_y(f, line->xy[1]);
        for (double x = f->x; x < f->x + f->w; x += 14)
            canvas_line(canvas, x, y, fmin(x + 8, f->x + f->w), y, 2, color, 1);
        return STATUS_OK;
    }
    double *xy = NULL;
    TRY(ARENA_NEW(&c->arena, xy, line->count * 2));
    for (size_t i = 0; i < line->count; i++) {
        xy[2 * i] = to_x(f, line->xy[2 * i]);
        xy[2 * i + 1] = to_y(f, line->xy[2 * i + 1]);
    }
    canvas_polyline(canvas, xy, line->count, 2, color, 1);
    if (line->count <= 40)
        for (size_t i = 0; i < line->count; i++) canvas_disc(canvas, xy[2 * i], xy[2 * i + 1], 3, color, 1);
    return STATUS_OK;
}

static Status draw_panel(Curves *c, Canvas *canvas, const Panel *panel, double left, double top, double last_epoch) {
    Frame f = scale_frame(panel, left, top, last_epoch);
    draw_axes(canvas, &f, panel->name);
    double right = f.x + f.w;
    for (int k = panel->lines - 1; k >= 0; k--) {
        const Line *line = &panel->line[k];
        if (line->count == 0) continue;
        TRY(draw_line(c, canvas, &f, line));
        canvas_text(canvas, right, f.y - 14, 15, 1.2, TEXT_RIGHT, line_color(line->split), line->split);
        right -= canvas_text_width(15, line->split) + 16;
    }
    return STATUS_OK;
}

static Status draw_all(Curves *c, const char *png_path) {
    double last_epoch = 1;
    const Panel *shown[MAX_PANELS];
    int count = 0;
    for (int p = 1; p < c->panels; p++) { // the loss comes first, though baselines have none
        if (strcmp(c->panel[p].name, "loss") != 0) continue;
        Panel loss = c->panel[p];
        memmove(&c->panel[1], &c->panel[0], (size_t)p * sizeof loss);
        c->panel[0] = loss;
    }
    for (int p = 0; p < c->panels; p++) {
        size_t points = 0;
        for (int k = 0; k < c->panel[p].lines; k++) {
            const Line *line = &c->panel[p].line[k];
            points += line->count;
            for (size_t i = 0; i < line->count; i++) last_epoch = fmax(last_epoch, line->xy[2 * i]);
        }
        if (points) shown[count++] = &c->panel[p];
    }
    if (count == 0) return STATUS_OK;
    int columns = count == 1 ? 1 : 2, rows = (count + columns - 1) / columns;
    Canvas canvas;
    TRY(canvas_create((size_t)(columns * PANEL_WIDTH), (size_t)(rows * PANEL_HEIGHT), (Color){255, 255, 255}, &canvas));
    Status status = STATUS_OK;
    for (int i = 0; i < count && status == STATUS_OK; i++)
        status = draw_panel(c, &canvas, shown[i], i % columns * PANEL_WIDTH, (double)(i / columns) * PANEL_HEIGHT,
                            last_epoch);
    if (status == STATUS_OK) status = png_write_rgb(png_path, canvas.width, canvas.height, canvas.rgb);
    canvas_free(&canvas);
    return status;
}

Status curves_draw(const char *metrics_path, const char *png_path) {
    Curves *curves = calloc(1, sizeof *curves);
    if (!curves) return status_make(STATUS_NO_MEMORY, "no memory to draw %s", png_path);
    arena_init(&curves->arena);
    Status status = read_log(curves, metrics_path);
    if (status == STATUS_OK) status = draw_all(curves, png_path);
    arena_free(&curves->arena);
    free(curves);
    return status;
}
