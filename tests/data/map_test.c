// map_test: maps of sections: that their colours can be told apart by readers of any colour vision, that what they draw
// is what was asked for, and that no label is cut. Colour differences are CIEDE2000, colour vision is simulated as by
// Machado, Oliveira and Fernandes (2009).
#include <stdint.h>

#include "../../runtime/data/image.h"
#include "../../runtime/report/map.h"
#include "../../runtime/report/map_legend.h"
#include "made.h"

static const size_t LIMIT = (size_t)1 << 28;

// ---- Colour -------------------------------------------------------------------------------------

typedef struct Lab {
    double l, a, b;
} Lab;

enum { VISIONS = 4 };
static const char *const vision_name[VISIONS] = {"normal", "protanopia", "deuteranopia", "tritanopia"};
static const double vision[VISIONS][3][3] = {
    {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
    {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
    {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
    {{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}},
};

static double linear(double c) {
    return c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
}

static double lab_part(double t) {
    return t > 216.0 / 24389 ? cbrt(t) : (24389.0 / 27 * t + 16) / 116;
}

// What an eye of that vision sees, in CIE L*a*b* under D65.
static Lab seen(Color color, int who) {
    double in[3] = {linear(color.r / 255.0), linear(color.g / 255.0), linear(color.b / 255.0)}, rgb[3];
    for (int i = 0; i < 3; i++) {
        double sum = 0;
        for (int k = 0; k < 3; k++) sum += vision[who][i][k] * in[k];
        rgb[i] = fmin(1, fmax(0, sum));
    }
    double x = (0.4124564 * rgb[0] + 0.3575761 * rgb[1] + 0.1804375 * rgb[2]) / 0.95047,
           y = 0.2126729 * rgb[0] + 0.7151522 * rgb[1] + 0.0721750 * rgb[2],
           z = (0.0193339 * rgb[0] + 0.1191920 * rgb[1] + 0.9503041 * rgb[2]) / 1.08883;
    double fx = lab_part(x), fy = lab_part(y), fz = lab_part(z);
    return (Lab){116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)};
}

static double degrees(double y, double x) {
    double angle = x == 0 && y == 0 ? 0 : atan2(y, x) * 180 / M_PI;
    return angle < 0 ? angle + 360 : angle;
}

static double cosine(double angle) {
    return cos(angle * M_PI / 180);
}

// CIEDE2000 as Sharma, Wu and Dalal (2005) write it down.
static double difference(Lab p, Lab q) {
    double mean = pow(0.5 * (hypot(p.a, p.b) + hypot(q.a, q.b)), 7), g = 0.5 * (1 - sqrt(mean / (mean + 6103515625.0)));
    double a1 = (1 + g) * p.a, a2 = (1 + g) * q.a, c1 = hypot(a1, p.b), c2 = hypot(a2, q.b);
    double h1 = degrees(p.b, a1), h2 = degrees(q.b, a2), dh = h2 - h1, h = h1 + h2;
    if (c1 * c2 == 0) dh = 0;
    else if (dh > 180) dh -= 360;
    else if (dh < -180) dh += 360;
    if (c1 * c2 != 0) h = fabs(h1 - h2) <= 180 ? 0.5 * h : h < 360 ? 0.5 * (h + 360) : 0.5 * (h - 360);
    double dl = q.l - p.l, dc = c2 - c1, big = 2 * sqrt(c1 * c2) * sin(0.5 * dh * M_PI / 180);
    double l = 0.5 * (p.l + q.l) - 50, c = 0.5 * (c1 + c2), c7 = pow(c, 7);
    double t = 1 - 0.17 * cosine(h - 30) + 0.24 * cosine(2 * h) + 0.32 * cosine(3 * h + 6) - 0.20 * cosine(4 * h - 63);
    double turn = 60 * exp(-pow((h - 275) / 25, 2)), rc = 2 * sqrt(c7 / (c7 + 6103515625.0));
    double sl = 1 + 0.015 * l * l / sqrt(20 + l * l), sc = 1 + 0.045 * c, sh = 1 + 0.015 * c * t;
    double x = dl / sl, y = dc / sc, z = big / sh;
    return sqrt(x * x + y * y + z * z - sin(turn * M_PI / 180) * rc * y * z);
}

static void test_difference(void) { // pairs 1, 17, 19 and 34 of Sharma's table
    static const struct {
        Lab p, q;
        double value;
    } pair[] = {{{50, 2.6772, -79.7751}, {50, 0, -82.7485}, 2.0425},
                {{50, 2.5, 0}, {73, 25, -18}, 27.1492},
                {{50, 2.5, 0}, {58, 24, 15}, 19.4535},
                {{2.0776, 0.0795, -1.1350}, {0.9033, -0.0636, -0.5514}, 0.9082}};
    for (int i = 0; i < 4; i++) CHECK_NEAR(difference(pair[i].p, pair[i].q), pair[i].value, 1e-4);
}

static void test_palettes(void) {
    static const Color wanted[PALETTES][3] = {{{68, 1, 84}, {33, 145, 140}, {253, 231, 37}},
                                              {{0, 34, 78}, {125, 124, 120}, {254, 232, 56}},
                                              {{0, 0, 4}, {183, 55, 121}, {252, 253, 191}}};
    Palette found;
    for (int p = 0; p < PALETTES; p++) {
        Palette palette = (Palette)p;
        CHECK(palette_find(palette_name(palette), &found) == STATUS_OK && found == palette);
        double at[3] = {-1, 128.0 / 255, 2};
        for (int i = 0; i < 3; i++) {
            Color c = palette_color(palette, at[i]);
            CHECK(c.r == wanted[p][i].r && c.g == wanted[p][i].g && c.b == wanted[p][i].b);
        }
        CHECK(palette_color(palette, NAN).r == wanted[p][0].r);
        for (int who = 0; who < VISIONS; who++) {
            double least = INFINITY, rise = INFINITY;
            for (int i = 0; i < 32; i++)
                rise = fmin(rise, seen(palette_color(palette, (i + 1) / 32.0), who).l -
                                      seen(palette_color(palette, i / 32.0), who).l);
            for (int i = 0; i <= 8; i++)
                for (int k = 0; k < i; k++)
                    least = fmin(least, difference(seen(palette_color(palette, i / 8.0), who),
                                                   seen(palette_color(palette, k / 8.0), who)));
            printf("%s, %s: lightness rises by %.2f or more, eighths differ by %.2f or more\n", palette_name(palette),
                   vision_name[who], rise, least);
            CHECK(rise > 0.3 && least > 4);
        }
    }
    CHECK_FAILS(palette_find("jet", &found), STATUS_INVALID, "the palettes are viridis, cividis and magma");
}

static void test_categories(void) {
    for (int who = 0; who < VISIONS; who++) {
        double least = INFINITY, paper = INFINITY;
        for (size_t i = 0; i < CATEGORY_COLORS; i++) {
            paper = fmin(paper, difference(seen(category_color(i), who), seen(MAP_PAPER, who)));
            for (size_t k = 0; k < i; k++)
                least = fmin(least, difference(seen(category_color(i), who), seen(category_color(k), who)));
        }
        printf("categories, %s: any two differ by %.2f or more, from paper by %.2f\n", vision_name[who], least, paper);
        CHECK(least >= 10 && paper >= 10);
    }
    CHECK(!category_dotted(15) && category_dotted(16) && category_dotted(31) && !category_dotted(32));
    CHECK(category_color(16).r == category_color(0).r && category_color(32).g == category_color(0).g);
}

// ---- Pictures -----------------------------------------------------------------------------------

enum { SIDE = 6, SPOTS = SIDE * SIDE };

// A hexagonal piece of an array: 100 pixels between spots.
static void hexagon(double *xy) {
    for (int r = 0; r < SIDE; r++)
        for (int c = 0; c < SIDE; c++) {
            xy[2 * (r * SIDE + c)] = 100 * c + (r % 2 ? 50 : 0);
            xy[2 * (r * SIDE + c) + 1] = 86.6 * r;
        }
}

static size_t count_color(const Picture *p, Color c) {
    size_t count = 0;
    for (size_t i = 0; i < p->width * p->height; i++) {
        const uint8_t *rgb = p->rgb + 3 * i;
        count += rgb[0] == c.r && rgb[1] == c.g && rgb[2] == c.b;
    }
    return count;
}

// Are the outermost pixels of the picture paper? A label that is cut reaches them.
static bool clear_margin(const Picture *p) {
    enum { MARGIN = 6 };
    for (size_t y = 0; y < p->height; y++)
        for (size_t x = 0; x < p->width; x++) {
            const uint8_t *rgb = p->rgb + 3 * (y * p->width + x);
            bool margin = x < MARGIN || y < MARGIN || x + MARGIN >= p->width || y + MARGIN >= p->height;
            if (margin && (rgb[0] != 255 || rgb[1] != 255 || rgb[2] != 255)) return false;
        }
    return true;
}

static bool drawn(const SpatialMap *map, Picture *out) {
    const char *path = made_path("map.png");
    *out = (Picture){0};
    return CHECK_OK(map_write_png(path, map)) && CHECK_OK(image_load(path, LIMIT, out));
}

static void test_category_map(void) {
    double xy[2 * SPOTS];
    int32_t category[SPOTS];
    const char *names[300];
    static char texts[300][64];
    MapPanel panel = {0};
    Picture picture;
    hexagon(xy);
    for (int i = 0; i < 300; i++) {
        snprintf(texts[i], sizeof texts[i], i % 4 ? "type %d" : "a type with a name that no list can show whole %d", i);
        names[i] = texts[i];
    }
    SpatialMap map = {.title = "cells",
                      .n_spots = SPOTS,
                      .xy = xy,
                      .spot_diameter = 55,
                      .unit_in_microns = 1,
                      .n_panels = 1,
                      .panels = &panel,
                      .category = category,
                      .category_names = names,
                      .panel_side = 600};
    static const size_t numbers[] = {1, 3, 8, 16, 32, 40, 300};
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        map.n_categories = numbers[k];
        for (int i = 0; i < SPOTS; i++) category[i] = (int32_t)((size_t)i * numbers[k] / SPOTS);
        if (drawn(&map, &picture)) CHECK(clear_margin(&picture) && picture.width < 1800 && picture.height < 1000);
        picture_free(&picture);
    }
    // as many pixels of a colour as spots of it: one, two and no third
    map.n_categories = 3;
    for (int i = 0; i < SPOTS; i++) category[i] = i < 12 ? 0 : i < 36 ? 1 : 2;
    category[0] = -1; // a ring
    if (drawn(&map, &picture)) {
        size_t first = count_color(&picture, category_color(0)), second = count_color(&picture, category_color(1)),
               third = count_color(&picture, category_color(2)), ring = count_color(&picture, MAP_GREY);
        CHECK(second > 5000 && fabs((double)first / (double)second - 11.0 / 24) < 0.02);
        CHECK(third < 160 && third > 100 && ring > 20); // its mark in the list alone
        picture_free(&picture);
    }
    category[5] = 3;
    CHECK_FAILS(map_write_png(made_path("x.png"), &map), STATUS_INVALID, "spot 5 is of category 3; there are 3");
    category[5] = 0;
    map.n_panels = 2;
    CHECK_FAILS(map_write_png(made_path("x.png"), &map), STATUS_INVALID, "one panel");
    CHECK(!file_exists(made_path("x.png")));
}

static void test_value_map(void) {
    double xy[2 * SPOTS];
    float values[SPOTS], other[SPOTS];
    MapPanel panels[2] = {{"left", values}, {"right", other}};
    Picture picture;
    static const double factor[][2] = {{1, 0}, {1e-9, 0}, {1e6, 0}, {1e12, 0},   {123456, 0}, {1, 1e6},
                                       {0, 5}, {0, 0},    {-3, 1},  {1e-3, 100}, {1e30, 0},   {1e-30, 0}};
    hexagon(xy);
    SpatialMap map = {.title = "EPCAM",
                      .subtitle = "a section",
                      .note = "a note",
                      .n_spots = SPOTS,
                      .xy = xy,
                      .spot_diameter = 55,
                      .n_panels = 2,
                      .panels = panels,
                      .value_name = "ln(1 + counts)",
                      .panel_side = 400};
    for (size_t k = 0; k < sizeof factor / sizeof *factor; k++) {
        for (int i = 0; i < SPOTS; i++) {
            values[i] = (float)(factor[k][0] * i + factor[k][1]);
            other[i] = i % 5 ? values[i] : NAN;
        }
        map.shared_scale = k % 2;
        map.square = k % 3 == 0;
        if (drawn(&map, &picture)) CHECK(clear_margin(&picture));
        picture_free(&picture);
    }
    for (int i = 0; i < SPOTS; i++) values[i] = i < 18 ? 0.0f : 1.0f;
    map.n_panels = 1;
    map.square = false;
    map.palette = PALETTE_CIVIDIS;
    if (drawn(&map, &picture)) { // half the spots at either end of the palette
        double low = (double)count_color(&picture, palette_color(PALETTE_CIVIDIS, 0)),
               high = (double)count_color(&picture, palette_color(PALETTE_CIVIDIS, 1));
        CHECK(low > 4000 && fabs(high / low - 1) < 0.05);
        picture_free(&picture);
    }
    for (int i = 0; i < SPOTS; i++) values[i] = NAN; // nothing but rings
    if (drawn(&map, &picture)) CHECK(clear_margin(&picture) && count_color(&picture, MAP_GREY) > 200);
    picture_free(&picture);
}

// The picture lies where its scale puts it, and a scale bar is as long as it says.
static void test_ground(void) {
    uint8_t rgb[3 * 60 * 40];
    double xy[4] = {100, 100, 500, 300}; // of a picture of 600 x 400
    float values[2] = {NAN, NAN};
    MapPanel panel = {NULL, values};
    Picture picture;
    for (size_t i = 0; i < 60 * 40; i++) memcpy(rgb + 3 * i, i % 60 < 30 ? "\xC8\x00\x00" : "\x00\x00\xC8", 3);
    SpatialMap map = {.image = rgb,
                      .image_width = 60,
                      .image_height = 40,
                      .image_scale_x = 0.1,
                      .image_scale_y = 0.1,
                      .n_spots = 2,
                      .xy = xy,
                      .spot_diameter = 20,
                      .unit_in_microns = 2,
                      .n_panels = 1,
                      .panels = &panel,
                      .panel_side = 500};
    if (!drawn(&map, &picture)) return;
    size_t red = 0, blue = 0, bar = 0, longest = 0;
    for (size_t y = 0; y < picture.height; y++) {
        size_t run = 0;
        for (size_t x = 0; x < picture.width; x++) {
            const uint8_t *p = picture.rgb + 3 * (y * picture.width + x);
            red += p[0] > 200 && p[2] < 150;
            blue += p[2] > 200 && p[0] < 150;
            run = p[0] == MAP_INK.r && p[1] == MAP_INK.g && p[2] == MAP_INK.b ? run + 1 : 0;
            if (run > longest) longest = run, bar = y;
        }
    }
    // the view is 504 wide (spots, two diameters and 3 % of the longer side around), 500 pixels: 1 mm / 2 / 504 * 500
    CHECK(red > 50000 && fabs((double)red / (double)blue - 1) < 0.1);
    CHECK(bar > picture.height / 2);
    CHECK(longest > 0 && longest < 300);
    double microns = 2.0 * (400 + 2 * (2 * 20 + 0.03 * 400)) / 500 * (double)longest;
    bool round_number = false;
    for (double n = 10; n <= 1000; n *= 10)
        for (int k = 0; k < 3; k++)
            round_number = round_number || fabs(microns / (n * (k == 0 ? 1 : k == 1 ? 2 : 5)) - 1) < 0.02;
    CHECK(round_number);
    picture_free(&picture);
}

static void test_fitted(void) {
    char buffer[FITTED_TEXT], longer[600];
    CHECK_TEXT(text_fitted("short", 14, 300, buffer), "short");
    CHECK_TEXT(text_fitted("anything", 14, 1, buffer), "\xE2\x80\xA6");
    const char *cut = text_fitted("\xC2\xB5\xC2\xB5\xC2\xB5\xC2\xB5\xC2\xB5\xC2\xB5", 14, 40, buffer);
    CHECK(strlen(cut) % 2 == 1 && canvas_text_width(14, cut) <= 40); // whole characters, then the ellipsis
    memset(longer, 'i', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    CHECK(strlen(text_fitted(longer, 14, 1e9, buffer)) < FITTED_TEXT);
}

int main(void) {
    made_begin();
    test_difference();
    test_palettes();
    test_categories();
    test_fitted();
    test_category_map();
    test_value_map();
    test_ground();
    made_end();
    return check_report("map");
}
