// stmdata_ground: see stmdata_ground.h. A picture that does not lie below the spots, or that has one colour only, is
// left out with a note; one that the user gave is an error then.
#include "stmdata_ground.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "../data/compound.h"
#include "../data/counts.h"
#include "../data/hest.h"
#include "../data/positions.h"
#include "../data/resample.h"
#include "../data/slide.h"

enum { PICTURE_SIDE = 2000 }; // pixels of the longer side that a map can show
static const size_t PICTURE_BYTES = (size_t)1 << 30;

static Status note(Ground *g, char *text) {
    if (!text) return arena_exhausted(1, 100);
    if (g->n_notes < sizeof g->note / sizeof *g->note) g->note[g->n_notes++] = text;
    return STATUS_OK;
}

// ---- Positions ----------------------------------------------------------------------------------

static Status take_positions(const char *path, const Annotated *a, const size_t *rows, size_t n_rows, Ground *g) {
    const Embedding *e = annotated_embedding(a, "spatial");
    if (!e) e = annotated_embedding(a, "X_spatial");
    if (!e || e->width < 2)
        return status_make(
            STATUS_MISMATCH,
            "%s: there are no positions of spots in it (a Space Ranger directory has them in spatial/, an "
            "AnnData file in obsm \"spatial\", legacy ST in spots/)",
            path);
    g->n_spots = rows ? n_rows : a->x.rows;
    if (g->n_spots == 0) return status_make(STATUS_MISMATCH, "%s: there are no spots in it", path);
    TRY(ARENA_NEW(&g->arena, g->xy, 2 * g->n_spots));
    for (size_t i = 0; i < g->n_spots; i++) {
        size_t row = rows ? rows[i] : i;
        for (int k = 0; k < 2; k++) g->xy[2 * i + (size_t)k] = e->value[row * e->width + (size_t)k];
        if (!isfinite(g->xy[2 * i]) || !isfinite(g->xy[2 * i + 1]))
            return status_make(STATUS_MALFORMED, "%s: the position of spot %zu is not finite", path, row + 1);
    }
    return STATUS_OK;
}

// The spots as positions_check takes them; without columns array_row and array_col the array is unknown (all 0).
static Status check_positions(const Annotated *a, const size_t *rows, Ground *g, PositionsCheck *check,
                              bool *out_array) {
    SpotPositions p = {.count = g->n_spots, .pixel = g->xy};
    const Column *row = frame_column(&a->obs, "array_row"), *column = frame_column(&a->obs, "array_col");
    TRY(ARENA_NEW(&g->arena, p.in_tissue, g->n_spots));
    TRY(ARENA_NEW(&g->arena, p.array, 2 * g->n_spots));
    *out_array = row && column && row->kind == COLUMN_INTEGER && column->kind == COLUMN_INTEGER;
    for (size_t i = 0; i < g->n_spots; i++) {
        size_t at = rows ? rows[i] : i;
        p.in_tissue[i] = 1;
        if (!*out_array) continue;
        if (llabs(row->integer[at]) > INT32_MAX || llabs(column->integer[at]) > INT32_MAX) *out_array = false;
        else p.array[2 * i] = (int32_t)row->integer[at], p.array[2 * i + 1] = (int32_t)column->integer[at];
    }
    return positions_check(&p, NULL, 0, 0, 1, &g->arena, check);
}

static bool near(double value, double wanted, double share) {
    return fabs(value / wanted - 1) <= share;
}

// Visium HD says how long a pixel is. Other arrays are known by their geometry: Visium's rows stand 86.6 um apart and
// its columns, counted in half steps, 50 um, its spots are 55 um wide; spots of the first arrays stand 200 um apart and
// are 100 um wide. Where the array is not told, Visium's diameter of 65 um and its 100 um between spots are enough.
static Status find_lengths(const char *path, bool legacy, const Annotated *a, size_t library, const size_t *rows,
                           Ground *g) {
    PositionsCheck c;
    bool array = false;
    TRY(check_positions(a, rows, g, &c, &array));
    double diameter = library < a->n_libraries ? a->library[library].spot_diameter_fullres : NAN;
    double x = array ? c.array_spacing_x : NAN, y = array ? c.array_spacing_y : NAN; // pixels per array step
    char *scales = path_join(&g->arena, path, "spatial/scalefactors_json.json");
    ScaleFactors f = {.bin_size_um = NAN, .microns_per_pixel = NAN};
    if (!scales) return arena_exhausted(1, 1);
    if (is_directory(path) && file_exists(scales)) TRY(scale_factors_read(scales, &f));
    if (isfinite(f.microns_per_pixel)) g->unit_in_microns = f.microns_per_pixel;
    if (isfinite(f.bin_size_um) && isfinite(f.microns_per_pixel)) {
        g->square = true;
        g->spot_diameter = f.bin_size_um / f.microns_per_pixel;
    } else if (isfinite(x) && isfinite(y) && !legacy && near(y / x, sqrt(3), 0.04)) {
        if (!(g->unit_in_microns > 0)) g->unit_in_microns = 50 / x;
        g->spot_diameter = 55 / g->unit_in_microns;
    } else if (isfinite(x) && isfinite(y) && legacy && near(y / x, 1, 0.1)) {
        g->unit_in_microns = 200 / (0.5 * (x + y));
        g->spot_diameter = 100 / g->unit_in_microns;
    } else if (diameter > 0 && near(c.spacing, diameter * 100 / 65, 0.03)) {
        if (!(g->unit_in_microns > 0)) g->unit_in_microns = 100 / c.spacing;
        g->spot_diameter = 55 / g->unit_in_microns;
    } else if (diameter > 0) {
        g->spot_diameter = diameter;
    } else {
        g->spot_diameter = c.spacing > 0 ? 0.6 * c.spacing : 1;
    }
    return STATUS_OK;
}

// ---- Pictures -----------------------------------------------------------------------------------

static size_t inside(const Ground *g, double width, double height, double sx, double sy) {
    size_t count = 0;
    for (size_t i = 0; i < g->n_spots; i++) {
        double x = g->xy[2 * i] * sx, y = g->xy[2 * i + 1] * sy;
        count += x >= 0 && y >= 0 && x < width && y < height;
    }
    return count;
}

static bool one_colour(const Picture *p) {
    for (size_t i = 3; i < 3 * p->width * p->height; i++)
        if (p->rgb[i] != p->rgb[i % 3]) return false;
    return true;
}

static Status copy_picture(const Picture *from, Picture *out) {
    TRY(picture_create(from->width, from->height, PICTURE_BYTES, out));
    memcpy(out->rgb, from->rgb, from->width * from->height * 3);
    return STATUS_OK;
}

// One of the pictures that Space Ranger and AnnData keep small; nothing happens where it is of no use.
static Status use_small(const char *name, const Picture *picture, double scale, Ground *g) {
    if (g->picture.rgb || !picture->rgb || picture->width == 0 || picture->height == 0) return STATUS_OK;
    if (!(scale > 0))
        return note(g, arena_printf(&g->arena, "the %s picture is left out: its scale factor is missing", name));
    size_t covered = inside(g, (double)picture->width, (double)picture->height, scale, scale);
    if (2 * covered < g->n_spots)
        return note(g, arena_printf(&g->arena, "the %s picture is left out: %zu of %zu spots lie upon it", name,
                                    covered, g->n_spots));
    if (one_colour(picture))
        return note(g, arena_printf(&g->arena, "the %s picture is left out: it has one colour only", name));
    TRY(copy_picture(picture, &g->picture));
    g->scale_x = g->scale_y = scale;
    g->source = arena_printf(&g->arena, "%s picture of %zu x %zu", name, picture->width, picture->height);
    if (!g->source) return arena_exhausted(1, 64);
    if (covered < g->n_spots)
        return note(g, arena_printf(&g->arena, "%zu of %zu spots lie outside of the picture", g->n_spots - covered,
                                    g->n_spots));
    return STATUS_OK;
}

// A whole picture at a size that a map can show; *out_width, *out_height: of the file.
static Status load_small(const char *path, Picture *out, double *out_width, double *out_height) {
    Slide *slide = NULL;
    Picture level = {0};
    TRY(slide_open(path, NULL, &slide));
    SlideInfo info = slide_info(slide);
    double side = (double)(info.width > info.height ? info.width : info.height), shrink = fmax(1, side / PICTURE_SIDE);
    size_t width = (size_t)fmax(1, round((double)info.width / shrink)),
           height = (size_t)fmax(1, round((double)info.height / shrink));
    *out_width = (double)info.width;
    *out_height = (double)info.height;
    Status status = STATUS_OK;
    if (info.format == SLIDE_JPEG || info.format == SLIDE_PNG) { // scaled row by row
        ImageFile *file = NULL;
        slide_close(slide);
        TRY(image_open(path, &file));
        status = resample_image(file, width, height, RESAMPLE_BOX, NULL, NULL, out);
        image_close(file);
        return status;
    }
    size_t best = slide_best_level(slide, shrink);
    SlideLevel from = slide_level(slide, best);
    status = picture_create(from.width, from.height, PICTURE_BYTES, &level);
    if (status == STATUS_OK) status = slide_read(slide, best, 0, 0, from.width, from.height, SLIDE_WHITE, level.rgb);
    if (status == STATUS_OK) status = resample_picture(&level, width, height, RESAMPLE_BOX, out);
    picture_free(&level);
    slide_close(slide);
    return status;
}

// A picture in a file: at full resolution, or at one of the scales of Space Ranger, whichever puts all spots upon it.
static Status use_file(const char *path, const Annotated *a, size_t library, Ground *g) {
    double width = 0, height = 0, scale[3] = {1, NAN, NAN};
    if (library < a->n_libraries) {
        scale[1] = a->library[library].tissue_hires_scalef;
        scale[2] = a->library[library].tissue_lowres_scalef;
    }
    TRY(load_small(path, &g->picture, &width, &height));
    double x = 0, y = 0;
    for (size_t i = 0; i < g->n_spots; i++) x = fmax(x, g->xy[2 * i]), y = fmax(y, g->xy[2 * i + 1]);
    for (int k = 0; k < 3; k++) {
        if (!(scale[k] > 0) || inside(g, width, height, scale[k], scale[k]) < g->n_spots) continue;
        g->scale_x = scale[k] * (double)g->picture.width / width;
        g->scale_y = scale[k] * (double)g->picture.height / height;
        g->source = arena_printf(&g->arena, "%s%s", path_base(path), k ? ", not at full resolution" : "");
        return g->source ? STATUS_OK : arena_exhausted(1, 64);
    }
    picture_free(&g->picture);
    return status_make(STATUS_MISMATCH,
                       "%s: not the picture of these spots: they reach to (%.0f, %.0f) and it has %.0f x %.0f pixels",
                       path, x, y, width, height);
}

// DIRECTORY/NAME with one of the endings of pictures, in byte order of the names; *out NULL: none.
static Status find_picture(Ground *g, const char *directory, const char *name, char **out) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".svs"};
    char **names = NULL;
    size_t count = 0, length = strlen(name);
    *out = NULL;
    if (!is_directory(directory)) return STATUS_OK;
    TRY(directory_list(directory, &g->arena, &names, &count));
    for (size_t i = 0; i < count && !*out; i++) {
        if (strncmp(names[i], name, length) != 0) continue;
        for (size_t e = 0; e < sizeof endings / sizeof *endings && !*out; e++)
            if (strlen(names[i] + length) == strlen(endings[e]) && string_ends_with(names[i], endings[e]) &&
                !(*out = path_join(&g->arena, directory, names[i])))
                return arena_exhausted(1, 1);
    }
    return STATUS_OK;
}

static Status use_compound(const char *path, const char *slide, Ground *g) {
    CompoundImage image;
    Picture picture = {0};
    TRY(compound_image_read(path, slide, (GuardLimits){0}, &image));
    Status status = picture_create(image.width, image.height, PICTURE_BYTES, &picture);
    for (size_t i = 0; status == STATUS_OK && i < 3 * image.width * image.height; i++)
        picture.rgb[i] = (uint8_t)(fmin(1, fmax(0, isnan(image.rgb[i]) ? 1 : (double)image.rgb[i])) * 255 + 0.5);
    compound_image_free(&image);
    if (status == STATUS_OK) status = use_small("stored", &picture, 1, g);
    picture_free(&picture);
    return status;
}

// A picture beside the counts, which may be absent or not fit.
static Status use_beside(const char *directory, const char *name, const Annotated *a, Ground *g) {
    char *file = NULL;
    TRY(find_picture(g, directory, name, &file));
    if (!file) return STATUS_OK;
    Status status = use_file(file, a, SIZE_MAX, g);
    if (status == STATUS_OK || status_code(status) == STATUS_NO_MEMORY) return status;
    Status noted = note(g, arena_printf(&g->arena, "picture left out: %s", status_message(status)));
    status_drop(status);
    return noted;
}

static Status find_picture_of(const char *path, CountsFormat format, const char *section, const Annotated *a,
                              size_t library, Ground *g) {
    char *directory = NULL;
    if (library < a->n_libraries) {
        const SpatialLibrary *l = &a->library[library];
        TRY(use_small("hires", &l->hires, l->tissue_hires_scalef, g));
        TRY(use_small("lowres", &l->lowres, l->tissue_lowres_scalef, g));
    }
    if (g->picture.rgb) return STATUS_OK;
    if (format == COUNTS_ELUCIDATA) return section ? use_compound(path, section, g) : STATUS_OK;
    if (format != COUNTS_LEGACY_ST && format != COUNTS_HEST) return STATUS_OK;
    directory = path_join(&g->arena, path, format == COUNTS_HEST ? "wsis" : "images");
    if (!directory) return arena_exhausted(1, 1);
    // the only section of a directory needs no name: its source ends in it ("legacy ST, section C2")
    const char *named = a->source ? strstr(a->source, "section ") : NULL;
    const char *name = section ? section : named ? named + 8 : NULL;
    return name ? use_beside(directory, name, a, g) : STATUS_OK;
}

// HEST-1k's table gives the size of a pixel.
static Status hest_lengths(const char *path, const char *section, Ground *g) {
    HestTree tree;
    TRY(hest_open(path, &tree));
    for (size_t i = 0; i < tree.count; i++) {
        const HestSample *s = &tree.sample[i];
        if (s->pixel_size_um > 0 && (section ? strcmp(s->id, section) == 0 : tree.count == 1))
            g->unit_in_microns = s->pixel_size_um;
    }
    hest_free(&tree);
    return STATUS_OK;
}

void ground_free(Ground *g) {
    picture_free(&g->picture);
    arena_free(&g->arena);
    *g = (Ground){0};
}

Status ground_find(const char *path, const char *section, const Annotated *counts, size_t library, const size_t *rows,
                   size_t n_rows, const char *image, Ground *g) {
    CountsFormat format = COUNTS_UNKNOWN;
    *g = (Ground){0};
    arena_init(&g->arena);
    Status status = counts_detect(path, &format);
    if (status == STATUS_OK) status = take_positions(path, counts, rows, n_rows, g);
    if (status == STATUS_OK) status = find_lengths(path, format == COUNTS_LEGACY_ST, counts, library, rows, g);
    if (status == STATUS_OK && format == COUNTS_HEST) status = hest_lengths(path, section, g);
    if (status == STATUS_OK)
        status =
            image ? use_file(image, counts, library, g) : find_picture_of(path, format, section, counts, library, g);
    if (status == STATUS_OK && !g->source && !(g->source = arena_printf(&g->arena, "no picture")))
        status = arena_exhausted(1, 16);
    if (status != STATUS_OK) ground_free(g);
    return status;
}
