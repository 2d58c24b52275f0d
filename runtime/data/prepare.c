// prepare: see prepare.h. One section at a time: read the tables, scale the picture once, cut the tiles from
// it.
#include "prepare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/json.h"
#include "legacy_st.h"
#include "sha256.h"
#include "store.h"

PrepareOptions prepare_defaults(void) {
    return (PrepareOptions){
        .program = "stmc",
        .tile_size = 78,
        .pitch = 26.0,
        .filter = RESAMPLE_BILINEAR,
        .ranks = true,
        .thumbnail_side = 1500,
    };
}

void prepare_report_free(PrepareReport *report) {
    text_free(&report->notes);
    *report = (PrepareReport){0};
}

void ordinal_ranks(const float *values, size_t n_rows, size_t n_columns, float *ranks) {
    for (size_t i = 0; i < n_rows; i++) {
        const float *v = values + i * n_columns;
        for (size_t a = 0; a < n_columns; a++) {
            size_t below = 0;
            for (size_t b = 0; b < n_columns; b++) below += v[b] < v[a] || (v[b] == v[a] && b < a);
            ranks[i * n_columns + a] = (float)(below + 1);
        }
    }
}

static size_t clamp(long long value, size_t size) {
    return value < 0 ? 0 : value >= (long long)size ? size - 1 : (size_t)value;
}

bool cut_tile(const Picture *picture, long long cx, long long cy, size_t side, uint8_t *tile) {
    long long left = cx - (long long)(side / 2), top = cy - (long long)(side / 2);
    bool inside = left >= 0 && top >= 0 && left + (long long)side <= (long long)picture->width &&
                  top + (long long)side <= (long long)picture->height;
    for (size_t r = 0; r < side; r++, tile += side * 3) {
        const uint8_t *row = picture->rgb + clamp(top + (long long)r, picture->height) * picture->width * 3;
        if (inside) {
            memcpy(tile, row + left * 3, side * 3);
            continue;
        }
        for (size_t c = 0; c < side; c++) memcpy(tile + 3 * c, row + 3 * clamp(left + (long long)c, picture->width), 3);
    }
    return !inside;
}

// ---- Geometry -----------------------------------------------------------------------------------

typedef struct Line {
    bool known;      // the spots span at least one array step
    double slope;    // pixels per array step
    double residual; // root mean square, pixels
} Line;

// Least squares of pixel coordinate `axis` (0 x, 1 y) on the array coordinate.
static Line fit_axis(const Section *section, int axis) {
    double n = (double)section->n_spots, mean_a = 0, mean_p = 0, aa = 0, ap = 0, residual = 0;
    for (size_t i = 0; i < section->n_spots; i++) {
        mean_a += section->array_exact[2 * i + (size_t)axis] / n;
        mean_p += section->pixel[2 * i + (size_t)axis] / n;
    }
    for (size_t i = 0; i < section->n_spots; i++) {
        double a = section->array_exact[2 * i + (size_t)axis] - mean_a,
               p = section->pixel[2 * i + (size_t)axis] - mean_p;
        aa += a * a;
        ap += a * p;
    }
    Line line = {.known = aa > 0.25};
    if (!line.known) return line;
    line.slope = ap / aa;
    for (size_t i = 0; i < section->n_spots; i++) {
        double a = section->array_exact[2 * i + (size_t)axis] - mean_a,
               p = section->pixel[2 * i + (size_t)axis] - mean_p;
        residual += (p - line.slope * a) * (p - line.slope * a) / n;
    }
    line.residual = sqrt(residual);
    return line;
}

// For sections whose spots span no array step: a picture that was cropped to the whole array of 33 x 35 positions has
// pixel = (array - 1) * side / steps. Known only when every spot lies where that says.
static Line cropped_axis(const Section *section, int axis, double side) {
    double slope = side / (axis ? 34 : 32);
    Line line = {.known = section->n_spots > 0, .slope = slope};
    for (size_t i = 0; i < section->n_spots; i++) {
        double expected = (section->array_exact[2 * i + (size_t)axis] - 1) * slope;
        if (fabs(section->pixel[2 * i + (size_t)axis] - expected) > 0.1 * slope) line.known = false;
    }
    return line;
}

typedef struct Geometry {
    double pitch_x, pitch_y; // original pixels per array step
    size_t width, height;    // of the scaled picture
    double scale_x, scale_y;
} Geometry;

static Status find_geometry(const Section *section, ImageInfo image, const PrepareOptions *options, Geometry *out,
                            Text *notes) {
    Line lines[2] = {fit_axis(section, 0), fit_axis(section, 1)};
    for (int axis = 0; axis < 2; axis++) {
        char name = axis ? 'y' : 'x';
        if (!lines[axis].known) continue;
        if (!(lines[axis].slope > 0) || lines[axis].residual > 0.3 * lines[axis].slope)
            return status_make(STATUS_MALFORMED,
                               "pixel_%c does not grow evenly with array %c (%.4g pixels per step, %.4g pixels off "
                               "on average); are x and y exchanged, or do the positions belong to another picture?",
                               name, name, lines[axis].slope, lines[axis].residual);
    }
    if (!lines[0].known && !lines[1].known) {
        lines[0] = cropped_axis(section, 0, (double)image.width);
        lines[1] = cropped_axis(section, 1, (double)image.height);
        if (!lines[0].known || !lines[1].known)
            return status_make(STATUS_MALFORMED,
                               "all spots share one array position, so the size of an array step in pixels is unknown; "
                               "give spots at two or more positions, or a picture cropped to the 33 x 35 array");
        text_printf(notes,
                    "section %s: all spots share one array position; the picture is taken as cropped to the 33 x 35 "
                    "array, with which they agree\n",
                    section->name);
    }
    out->pitch_x = lines[0].known ? lines[0].slope : lines[1].slope;
    out->pitch_y = lines[1].known ? lines[1].slope : lines[0].slope;
    double pitch = 0.5 * (out->pitch_x + out->pitch_y), factor = options->pitch / pitch;
    if (fabs(out->pitch_x - out->pitch_y) > 0.05 * pitch)
        text_printf(notes, "section %s: an array step is %.4g pixels in x but %.4g in y; their mean sets the scale\n",
                    section->name, out->pitch_x, out->pitch_y);
    if (factor > 1)
        text_printf(notes,
                    "section %s: an array step of %.4g pixels is enlarged to %g; the picture has little "
                    "detail for tiles of "
                    "this pitch\n",
                    section->name, pitch, options->pitch);
    double width = floor((double)image.width * factor + 0.5), height = floor((double)image.height * factor + 0.5);
    if (width < 1 || height < 1 || width > IMAGE_LONGEST_SIDE || height > IMAGE_LONGEST_SIDE)
        return status_make(STATUS_INVALID,
                           "scaling the picture of %zu x %zu pixels by %.3g to reach a pitch of %g is not possible",
                           image.width, image.height, factor, options->pitch);
    out->width = (size_t)width;
    out->height = (size_t)height;
    out->scale_x = width / (double)image.width;
    out->scale_y = height / (double)image.height;
    for (size_t i = 0; i < section->n_spots; i++) {
        double x = section->pixel[2 * i], y = section->pixel[2 * i + 1];
        if (x < 0 || y < 0 || x > (double)image.width || y > (double)image.height)
            return status_make(STATUS_MALFORMED,
                               "spot %s at pixel %.1f, %.1f lies outside the picture of %zu x %zu; do the positions "
                               "belong to another picture?",
                               section->ids[i], x, y, image.width, image.height);
    }
    return STATUS_OK;
}

// ---- Tables and provenance ----------------------------------------------------------------------

static Status add_ranks(Section *section) {
    Arena *arena = &section->arena;
    size_t n = section->n_tables;
    SpotTable *tables = NULL;
    TRY(ARENA_NEW(arena, tables, 2 * n));
    for (size_t t = 0; t < n; t++) {
        const SpotTable *from = &section->tables[t];
        SpotTable *ranks = &tables[2 * t + 1];
        tables[2 * t] = *from;
        *ranks = *from;
        ranks->name = arena_printf(arena, "%s_rank", from->name);
        if (!ranks->name) return arena_exhausted(1, 1);
        TRY(ARENA_NEW(arena, ranks->values, section->n_spots * from->n_columns));
        ordinal_ranks(from->values, section->n_spots, from->n_columns, ranks->values);
    }
    section->tables = tables;
    section->n_tables = 2 * n;
    return STATUS_OK;
}

static Status describe_inputs(const char *directory, const Section *section, JsonWriter *json) {
    size_t prefix = strlen(directory);
    json_begin_array(json);
    for (size_t i = 0; i < section->n_inputs; i++) {
        char hash[65];
        uint64_t size = 0;
        const char *relative = section->inputs[i] + prefix;
        while (*relative == '/') relative++;
        TRY(sha256_file(section->inputs[i], hash, &size));
        json_begin_object(json);
        json_key(json, "path");
        json_string(json, relative);
        json_key(json, "size");
        json_integer(json, (int64_t)size);
        json_key(json, "sha256");
        json_string(json, hash);
        json_end_object(json);
    }
    json_end_array(json);
    return text_status(&json->text);
}

static Status describe_left_out(const Section *section, JsonWriter *json) {
    json_begin_object(json);
    json_key(json, "without_counts");
    json_begin_array(json);
    for (size_t i = 0; i < section->n_without_counts; i++) json_string(json, section->without_counts[i]);
    json_end_array(json);
    json_key(json, "not_selected");
    json_integer(json, (int64_t)section->n_not_selected);
    json_key(json, "extra_rows");
    json_integer(json, (int64_t)section->n_extra_rows);
    json_end_object(json);
    return text_status(&json->text);
}

static void note_left_out(const Section *section, Text *notes) {
    if (section->n_without_counts) {
        text_printf(notes, "section %s: %zu selected spot%s without counts left out:", section->name,
                    section->n_without_counts, section->n_without_counts == 1 ? "" : "s");
        for (size_t i = 0; i < section->n_without_counts && i < 10; i++)
            text_printf(notes, " %s", section->without_counts[i]);
        text_add(notes, section->n_without_counts > 10 ? " ...\n" : "\n");
    }
    if (section->n_not_selected)
        text_printf(notes, "section %s: %zu positions not under tissue left out\n", section->name,
                    section->n_not_selected);
    if (section->n_extra_rows)
        text_printf(notes, "section %s: %zu rows of proportions for spots without counts left out\n", section->name,
                    section->n_extra_rows);
}

// ---- One section --------------------------------------------------------------------------------

typedef struct Work {
    const char *directory;
    const PrepareOptions *options;
    PrepareReport *report;
    StoreWriter *writer;
    size_t section_number, n_sections;
    const Section *section;
    const Picture *picture;
    const Geometry *geometry;
} Work;

// `fraction` within the current section.
static bool report_progress(const Work *work, const char *stage, double fraction) {
    if (!work->options->progress) return true;
    char what[96];
    Text text = {0};
    text_printf(&text, "%s: %s", work->section ? work->section->name : "", stage);
    size_t n = text.length < sizeof what - 1 ? text.length : sizeof what - 1;
    memcpy(what, text_string(&text), n);
    what[n] = '\0';
    text_free(&text);
    return work->options->progress(work->options->context, what,
                                   ((double)work->section_number + fraction) / (double)work->n_sections);
}

static bool picture_progress(void *context, double fraction) {
    return report_progress(context, "picture", 0.2 + 0.6 * fraction);
}

static Status cut_tiles(void *context, size_t first, size_t count, uint8_t *tiles) {
    Work *work = context;
    size_t side = work->options->tile_size;
    for (size_t i = first; i < first + count; i++, tiles += side * side * 3) {
        long long cx = (long long)floor(work->section->pixel[2 * i] * work->geometry->scale_x + 0.5);
        long long cy = (long long)floor(work->section->pixel[2 * i + 1] * work->geometry->scale_y + 0.5);
        work->report->n_edge_tiles += cut_tile(work->picture, cx, cy, side, tiles);
    }
    double fraction = 0.8 + 0.2 * (double)(first + count) / (double)work->section->n_spots;
    if (report_progress(work, "tiles", fraction)) return STATUS_OK;
    return status_make(STATUS_CANCELLED, "stopped while cutting tiles");
}

// A copy, or a smaller version, of the scaled picture.
static Status make_thumbnail(const Picture *picture, size_t longest, ResampleFilter filter, Picture *out) {
    size_t side = picture->width > picture->height ? picture->width : picture->height;
    double factor = side > longest ? (double)longest / (double)side : 1.0;
    size_t width = (size_t)floor((double)picture->width * factor + 0.5),
           height = (size_t)floor((double)picture->height * factor + 0.5);
    return resample_picture(picture, width ? width : 1, height ? height : 1, filter, out);
}

static Status store_section(Work *work, Section *section, ImageFile *image, JsonWriter *inputs, JsonWriter *left_out) {
    const PrepareOptions *options = work->options;
    ImageInfo info = image_info(image);
    Geometry geometry = {0};
    Picture picture = {0}, thumbnail = {0};
    if (options->ranks) TRY(add_ranks(section));
    TRY(find_geometry(section, info, options, &geometry, &work->report->notes));
    TRY(describe_inputs(work->directory, section, inputs));
    TRY(describe_left_out(section, left_out));
    note_left_out(section, &work->report->notes);
    TRY(resample_image(image, geometry.width, geometry.height, options->filter, picture_progress, work, &picture));
    Status status = make_thumbnail(&picture, options->thumbnail_side, options->filter, &thumbnail);
    if (status == STATUS_OK) {
        work->picture = &picture;
        work->geometry = &geometry;
        StoreSectionExtra extra = {
            .image_width = info.width,
            .image_height = info.height,
            .scale_x = geometry.scale_x,
            .scale_y = geometry.scale_y,
            .pitch_x = geometry.pitch_x,
            .pitch_y = geometry.pitch_y,
            .thumbnail = &thumbnail,
            .inputs = text_string(&inputs->text),
            .left_out = text_string(&left_out->text),
            .tiles = cut_tiles,
            .context = work,
        };
        status = store_add_section(work->writer, section, &extra);
    }
    picture_free(&picture);
    picture_free(&thumbnail);
    return status;
}

static Status prepare_section(Work *work, const char *name, char *const *depths, size_t n_depths) {
    Section section = {0};
    ImageFile *image = NULL;
    TRY(legacy_st_read(work->directory, name, depths, n_depths, &section));
    work->section = &section;
    Status status =
        report_progress(work, "tables", 0.2) ? STATUS_OK : status_make(STATUS_CANCELLED, "stopped on request");
    if (status == STATUS_OK) status = image_open(section.image_path, &image);
    if (status == STATUS_OK) {
        JsonWriter inputs = json_writer(0), left_out = json_writer(0);
        status = store_section(work, &section, image, &inputs, &left_out);
        json_writer_free(&inputs);
        json_writer_free(&left_out);
    }
    work->report->n_spots += section.n_spots;
    work->report->n_left_out += section.n_without_counts;
    image_close(image);
    work->section = NULL;
    section_free(&section);
    return status_context(status, "section %s", name);
}

// ---- All of them --------------------------------------------------------------------------------

// The asked-for section names, checked against those there are, in the order of the directory.
static Status choose_sections(const PrepareOptions *options, char **all, size_t n_all, const char *directory,
                              Arena *arena, char ***out_names, size_t *out_count) {
    char **names = NULL;
    size_t count = 0;
    TRY(ARENA_NEW(arena, names, n_all));
    for (size_t k = 0; k < options->n_sections && options->sections; k++) {
        bool there = false;
        for (size_t i = 0; i < n_all; i++) there = there || strcmp(all[i], options->sections[k]) == 0;
        if (there) continue;
        const char *close = closest_name(options->sections[k], (const char *const *)all, n_all);
        return status_make(STATUS_NOT_FOUND, "%s has no section '%s'%s%s%s", directory, options->sections[k],
                           close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "");
    }
    for (size_t i = 0; i < n_all; i++) {
        bool wanted = options->sections == NULL;
        for (size_t k = 0; k < options->n_sections && options->sections; k++)
            wanted = wanted || strcmp(all[i], options->sections[k]) == 0;
        if (wanted) names[count++] = all[i];
    }
    *out_names = names;
    *out_count = count;
    return STATUS_OK;
}

// Every parameter that decides what the store holds; inputs stand with their sections.
static void describe_parameters(const PrepareOptions *o, char *const *names, size_t n_names, char *const *depths,
                                size_t n_depths, JsonWriter *w) {
    json_begin_object(w);
    json_key(w, "program"), json_string(w, o->program);
    json_key(w, "layout"), json_string(w, "legacy ST");
    json_key(w, "tile_size"), json_integer(w, (int64_t)o->tile_size);
    json_key(w, "tile_pitch"), json_number(w, o->pitch);
    json_key(w, "tile_filter"), json_string(w, o->filter == RESAMPLE_BOX ? "box" : "bilinear");
    json_key(w, "tile_deflate"), json_integer(w, o->deflate);
    json_key(w, "ranks"), json_bool(w, o->ranks);
    json_key(w, "thumbnail_side"), json_integer(w, (int64_t)o->thumbnail_side);
    json_key(w, "sections"), json_begin_array(w);
    for (size_t i = 0; i < n_names; i++) json_string(w, names[i]);
    json_end_array(w);
    json_key(w, "depths"), json_begin_array(w);
    for (size_t i = 0; i < n_depths; i++) json_string(w, depths[i]);
    json_end_array(w);
    json_end_object(w);
}

static Status prepare_all(const char *directory, const char *path, const PrepareOptions *options, Arena *arena,
                          PrepareReport *report) {
    char **all = NULL, **names = NULL, **depths = NULL;
    size_t n_all = 0, n_names = 0, n_depths = 0;
    TRY(legacy_st_sections(directory, arena, &all, &n_all));
    TRY(choose_sections(options, all, n_all, directory, arena, &names, &n_names));
    if (n_names == 0) return status_make(STATUS_INVALID, "no sections were chosen");
    if (options->depths) {
        n_depths = options->n_depths;
        TRY(ARENA_NEW(arena, depths, n_depths));
        for (size_t d = 0; d < n_depths; d++)
            TRY(ARENA_COPY(arena, depths[d], options->depths[d], strlen(options->depths[d])));
    } else {
        TRY(legacy_st_depths(directory, names, n_names, arena, &depths, &n_depths));
    }
    StoreParameters parameters = {
        .program = options->program,
        .tile_size = options->tile_size,
        .tile_pitch = options->pitch,
        .filter = options->filter == RESAMPLE_BOX ? "box" : "bilinear",
        .edge = "replicate",
        .deflate = options->deflate,
    };
    Work work = {.directory = directory, .options = options, .report = report, .n_sections = n_names};
    JsonWriter provenance = json_writer(0);
    describe_parameters(options, names, n_names, depths, n_depths, &provenance);
    parameters.provenance = text_string(&provenance.text);
    Status status = text_status(&provenance.text);
    if (status == STATUS_OK) status = store_create(path, &parameters, &work.writer);
    json_writer_free(&provenance);
    TRY(status);
    for (size_t i = 0; i < n_names && status == STATUS_OK; i++) {
        work.section_number = i;
        status = prepare_section(&work, names[i], depths, n_depths);
        report->n_sections++;
    }
    if (status == STATUS_OK) return store_finish(work.writer);
    store_abandon(work.writer);
    return status;
}

Status prepare_legacy_st(const char *directory, const char *path, const PrepareOptions *options,
                         PrepareReport *out_report) {
    *out_report = (PrepareReport){0};
    if (!(options->pitch > 0) || !isfinite(options->pitch))
        return status_make(STATUS_INVALID, "a pitch of %g pixels; a positive number is needed", options->pitch);
    if (options->thumbnail_side == 0) return status_make(STATUS_INVALID, "a thumbnail side of 0 pixels");
    Arena arena;
    arena_init(&arena);
    Status status = prepare_all(directory, path, options, &arena, out_report);
    arena_free(&arena);
    if (status == STATUS_OK) status = text_status(&out_report->notes);
    if (status != STATUS_OK) prepare_report_free(out_report);
    return status_context(status, "prepare");
}
