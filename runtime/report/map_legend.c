// map_legend: see map_legend.h. Everything is measured before it is drawn, so that no label is cut or runs into
// another.
#include "map_legend.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GAP = 18,       // between panel and legend
    BAR_WIDTH = 18, // of a colour bar
    TICK = 9,       // from the bar to its labels
    TEXT = 14,      // line height of labels
    ROW = 22,       // of the list of categories
    MARK = 7,       // radius of its marks
    NAME_MOST = 220,
    COLUMNS_MOST = 3,
};

// ---- Marks --------------------------------------------------------------------------------------

static void mark(Canvas *canvas, const SpatialMap *map, double x, double y, double radius, Color color,
                 double opacity) {
    if (map->square) { // whole pixels, and some to spare: seams would show between squares that touch
        double left = floor(x - radius + 0.25), top = floor(y - radius + 0.25);
        canvas_rectangle(canvas, left, top, floor(x + radius + 0.75) - left, floor(y + radius + 0.75) - top, color,
                         opacity);
    } else {
        canvas_disc(canvas, x, y, radius, color, opacity);
    }
}

void mark_value(Canvas *canvas, const SpatialMap *map, double x, double y, double radius, Color color) {
    if (!map->square) mark(canvas, map, x, y, radius + 0.8, MAP_PAPER, 0.85); // squares stand side by side
    mark(canvas, map, x, y, radius, color, 1);
}

void mark_category(Canvas *canvas, const SpatialMap *map, double x, double y, double radius, int32_t category) {
    mark_value(canvas, map, x, y, radius, category_color((size_t)category));
    if (category_dotted((size_t)category)) mark(canvas, map, x, y, fmax(0.8, 0.4 * radius), MAP_PAPER, 1);
}

void mark_missing(Canvas *canvas, const SpatialMap *map, double x, double y, double radius) {
    if (map->square) canvas_frame(canvas, x - radius, y - radius, 2 * radius, 2 * radius, 1, MAP_GREY);
    else {
        canvas_ring(canvas, x, y, fmax(1, radius - 0.5), 3.2, MAP_PAPER, 0.6);
        canvas_ring(canvas, x, y, fmax(1, radius - 0.5), 1.2, MAP_GREY, 1);
    }
}

// ---- Text ---------------------------------------------------------------------------------------

const char *text_fitted(const char *text, double size, double width, char buffer[FITTED_TEXT]) {
    size_t length = strlen(text);
    if (length < FITTED_TEXT && canvas_text_width(size, text) <= width) return strcpy(buffer, text);
    if (length > FITTED_TEXT - 4) length = FITTED_TEXT - 4;
    for (;; length--) {
        while (length && ((unsigned char)text[length] & 0xC0) == 0x80) length--; // whole characters of UTF-8
        memcpy(buffer, text, length);
        strcpy(buffer + length, "\xE2\x80\xA6");
        if (length == 0 || canvas_text_width(size, buffer) <= width) return buffer;
    }
}

static const char *grouped(size_t number, char buffer[32]) {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%zu", number), at = 0;
    for (int i = 0; i < n; i++) {
        buffer[at++] = digits[i];
        if (i + 1 < n && (n - 1 - i) % 3 == 0) buffer[at++] = ',';
    }
    buffer[at] = 0;
    return buffer;
}

static void missing_label(size_t missing, char label[64]) {
    char number[32];
    snprintf(label, 64, "no value: %s", grouped(missing, number));
}

// ---- Colour bar ---------------------------------------------------------------------------------

typedef struct Ticks {
    double step;
    long first, last; // multiples of step
    int digits;       // behind the point, or significant ones
    bool scientific;
} Ticks;

static Ticks find_ticks(MapRange range) {
    Ticks t = {.step = nice_step(range.high - range.low, 5)};
    double largest = fmax(fabs(range.low), fabs(range.high));
    t.first = (long)ceil(range.low / t.step - 1e-6);
    t.last = (long)floor(range.high / t.step + 1e-6);
    t.digits = (int)fmax(0, ceil(-log10(t.step) - 1e-9));
    t.scientific = t.digits > 4 || largest >= 1e7;
    // enough significant digits that neighbouring labels differ
    if (t.scientific) t.digits = (int)fmin(15, fmax(3, ceil(log10(largest / t.step) + 1)));
    return t;
}

static const char *tick_label(const Ticks *t, long k, char label[32]) {
    double value = (double)k * t->step;
    if (t->scientific) snprintf(label, 32, "%.*g", t->digits, value);
    else snprintf(label, 32, "%.*f", t->digits, value == 0 ? 0.0 : value); // no -0
    return label;
}

static double labels_width(MapRange range) {
    Ticks t = find_ticks(range);
    double width = 0;
    char label[32];
    for (long k = t.first; k <= t.last; k++) width = fmax(width, canvas_text_width(TEXT, tick_label(&t, k, label)));
    return width;
}

double bar_room(const SpatialMap *map, MapRange range) {
    double room = GAP + BAR_WIDTH + TICK + labels_width(range) + (map->value_name ? 10 + TEXT : 0);
    if (range.missing) {
        char label[64];
        missing_label(range.missing, label);
        room = fmax(room, GAP + BAR_WIDTH + TICK + canvas_text_width(TEXT, label));
    }
    return room;
}

void bar_draw(Canvas *canvas, const SpatialMap *map, MapRange range, double x, double y, double height) {
    // In the middle of the panel, in whole pixels: half-covered rows would let the paper through.
    double below = range.missing ? 34 : 0, bar = floor(fmin(height - below, 420));
    x += GAP;
    y += floor(0.5 * (height - bar - below));
    for (double j = 0; j < bar; j++)
        canvas_rectangle(canvas, x, y + j, BAR_WIDTH, 1, palette_color(map->palette, 1 - (j + 0.5) / bar), 1);
    canvas_frame(canvas, x, y, BAR_WIDTH, bar, 1, MAP_FRAME);
    Ticks t = find_ticks(range);
    for (long k = t.first; k <= t.last; k++) {
        double at = y + bar * (1 - ((double)k * t.step - range.low) / (range.high - range.low));
        char label[32];
        canvas_line(canvas, x + BAR_WIDTH, at, x + BAR_WIDTH + 5, at, 1.2, MAP_GREY, 1);
        canvas_text(canvas, x + BAR_WIDTH + TICK, at + 5, TEXT, 1, TEXT_LEFT, MAP_INK, tick_label(&t, k, label));
    }
    if (map->value_name) {
        char name[FITTED_TEXT];
        canvas_text_up(canvas, x + BAR_WIDTH + TICK + labels_width(range) + 6 + TEXT, y + 0.5 * bar, TEXT, 1,
                       TEXT_CENTER, MAP_INK, text_fitted(map->value_name, TEXT, fmax(bar, 80), name));
    }
    if (!range.missing) return;
    char label[64];
    missing_label(range.missing, label);
    mark_missing(canvas, map, x + 0.5 * BAR_WIDTH, y + bar + 24, MARK);
    canvas_text(canvas, x + BAR_WIDTH + TICK, y + bar + 29, TEXT, 1, TEXT_LEFT, MAP_INK, label);
}

// ---- List of categories -------------------------------------------------------------------------

static size_t lines_of(const CategoryList *list, const SpatialMap *map) {
    return list->listed + (list->listed < map->n_categories) + (list->missing > 0);
}

Status list_plan(const SpatialMap *map, double height, CategoryList *out) {
    *out = (CategoryList){.count = calloc(map->n_categories + 1, sizeof *out->count)};
    if (!out->count) return status_make(STATUS_NO_MEMORY, "no memory for %zu categories", map->n_categories);
    for (size_t i = 0; i < map->n_spots; i++) {
        if (map->category[i] < 0) out->missing++;
        else out->count[map->category[i]]++;
    }
    double room = height - (map->value_name ? 1.5 * ROW : 0);
    out->rows = room < ROW ? 1 : (size_t)(room / ROW);
    out->listed = map->n_categories;
    size_t most = out->rows * COLUMNS_MOST, kept = most > 2 ? most - 2 : 1; // two lines: the rest, and no value
    if (lines_of(out, map) > most && out->listed > kept) out->listed = kept;
    size_t lines = lines_of(out, map);
    out->columns = lines ? (lines + out->rows - 1) / out->rows : 1;
    if (out->columns > 1) out->rows = (lines + out->columns - 1) / out->columns; // of even length
    char name[FITTED_TEXT], number[32];
    for (size_t c = 0; c < out->listed; c++) {
        const char *shown = text_fitted(map->category_names[c], TEXT, NAME_MOST, name);
        out->name_width = fmax(out->name_width, canvas_text_width(TEXT, shown));
        out->number_width = fmax(out->number_width, canvas_text_width(TEXT, grouped(out->count[c], number)));
    }
    if (out->missing) {
        out->name_width = fmax(out->name_width, canvas_text_width(TEXT, "no value"));
        out->number_width = fmax(out->number_width, canvas_text_width(TEXT, grouped(out->missing, number)));
    }
    if (out->listed < map->n_categories)
        out->name_width = fmax(out->name_width, canvas_text_width(TEXT, "and 00,000 more"));
    out->column_width = 2 * MARK + 8 + out->name_width + 14 + out->number_width;
    out->width = GAP + (double)out->columns * (out->column_width + GAP) - GAP;
    if (map->value_name)
        out->width = fmax(out->width, GAP + canvas_text_width(TEXT, text_fitted(map->value_name, TEXT, 300, name)));
    return STATUS_OK;
}

void list_free(CategoryList *list) {
    free(list->count);
    *list = (CategoryList){0};
}

void list_draw(Canvas *canvas, const SpatialMap *map, const CategoryList *list, double x, double y) {
    char name[FITTED_TEXT], number[32];
    x += GAP;
    if (map->value_name) {
        text_fitted(map->value_name, TEXT, 300, name);
        canvas_text(canvas, x, y + 13, TEXT, 1.4, TEXT_LEFT, MAP_INK, name);
        y += 1.5 * ROW;
    }
    size_t lines = lines_of(list, map), rest = map->n_categories - list->listed;
    for (size_t k = 0; k < lines; k++) {
        double left = x + (double)(k / list->rows) * (list->column_width + GAP);
        double base = y + (double)(k % list->rows) * ROW + 13, text = left + 2 * MARK + 8;
        bool missing = list->missing && k + 1 == lines;
        if (missing) mark_missing(canvas, map, left + MARK, base - 5, MARK);
        else if (k < list->listed) mark_category(canvas, map, left + MARK, base - 5, MARK, (int32_t)k);
        if (!missing && k == list->listed) {
            snprintf(name, sizeof name, "and %s more", grouped(rest, number));
            canvas_text(canvas, text, base, TEXT, 1, TEXT_LEFT, MAP_GREY, name);
            continue;
        }
        text_fitted(missing ? "no value" : map->category_names[k], TEXT, NAME_MOST, name);
        grouped(missing ? list->missing : list->count[k], number);
        canvas_text(canvas, text, base, TEXT, 1, TEXT_LEFT, MAP_INK, name);
        canvas_text(canvas, left + list->column_width, base, TEXT, 1, TEXT_RIGHT, MAP_GREY, number);
    }
}
