// source_visium: Space Ranger directories as a source: counts and positions are joined by barcode, spots in tissue are
// kept in the order of the counts. Where the model reads no counts and there are none, all positions in tissue are
// spots. Spots of Visium stand 100 um apart, which gives the size of a pixel where the scale factors do not.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "positions.h"
#include "source_inside.h"

// ---- Finding directories --------------------------------------------------------------------------

static Status looks_right(const char *directory, Arena *arena, bool *out) {
    char **names = NULL, *spatial = path_join(arena, directory, "spatial");
    size_t count = 0;
    *out = spatial && is_directory(spatial);
    if (*out) return STATUS_OK;
    TRY(directory_list(directory, arena, &names, &count));
    for (size_t i = 0; i < count && !*out; i++)
        *out = string_ends_with(names[i], "feature_bc_matrix.h5") || string_ends_with(names[i], "feature_bc_matrix");
    return STATUS_OK;
}

Status source_visium_home(const char *directory, Arena *arena, char **out_home) {
    bool right = false;
    char *outs = path_join(arena, directory, "outs");
    *out_home = NULL;
    if (!outs) return arena_exhausted(1, 1);
    TRY(looks_right(directory, arena, &right));
    if (!right && is_directory(outs)) {
        directory = outs;
        TRY(looks_right(directory, arena, &right));
    }
    if (right) TRY(ARENA_COPY(arena, *out_home, directory, strlen(directory)));
    return STATUS_OK;
}

// The name of a directory; of "outs" that of the one above; "." and the like are resolved.
static Status name_of(const char *directory, Arena *arena, char **out) {
    char *full = realpath(directory, NULL);
    char *text = full ? arena_copy(arena, full, strlen(full)) : NULL;
    free(full);
    if (!text) return arena_exhausted(1, 1);
    if (strcmp(path_base(text), "outs") == 0 && path_base(text) > text + 1) text[path_base(text) - text - 1] = '\0';
    const char *base = path_base(text);
    TRY(ARENA_COPY(arena, *out, *base ? base : "section", strlen(*base ? base : "section")));
    return STATUS_OK;
}

static Status open_visium(Source *source) {
    Arena *arena = &source->arena;
    char *home = NULL, **names = NULL;
    size_t count = 0, n = 0;
    if (!is_directory(source->path))
        return status_make(STATUS_INVALID, "%s: a directory of Space Ranger is expected, with a matrix and spatial/",
                           source->path);
    TRY(source_visium_home(source->path, arena, &home));
    if (home) {
        TRY(source_items(source, 1));
        source->inside->item[0].path = home;
        return name_of(home, arena, &source->section[0]);
    }
    TRY(directory_list(source->path, arena, &names, &count));
    TRY(source_items(source, count));
    for (size_t i = 0; i < count; i++) {
        char *below = path_join(arena, source->path, names[i]);
        if (!below) return arena_exhausted(1, 1);
        if (names[i][0] == '.' || !is_directory(below)) continue;
        TRY(source_visium_home(below, arena, &home));
        if (!home) continue;
        source->section[n] = names[i];
        source->inside->item[n++].path = home;
    }
    source->count = n;
    if (n == 0)
        return status_make(STATUS_NOT_FOUND,
                           "%s: neither this directory nor one below it is one of Space Ranger, with a matrix "
                           "*_feature_bc_matrix (.h5 or directory) and spatial/",
                           source->path);
    return STATUS_OK;
}

// ---- Pictures -------------------------------------------------------------------------------------

// DIR/NAME.tif, DIR/NAME.tiff, then the first by name of each kind.
static Status find_slide(const char *directory, const char *name, Arena *arena, char **out) {
    static const char *const endings[] = {".tif", ".tiff", ".svs"};
    char **files = NULL;
    size_t count = 0;
    *out = NULL;
    for (int e = 0; e < 2; e++) {
        char *path = arena_printf(arena, "%s/%s%s", directory, name, endings[e]);
        if (!path) return arena_exhausted(1, 1);
        if (!file_exists(path)) continue;
        *out = path;
        return STATUS_OK;
    }
    TRY(directory_list(directory, arena, &files, &count));
    for (int e = 0; e < 3; e++)
        for (size_t i = 0; i < count; i++)
            if (files[i][0] != '.' && string_ends_with(files[i], endings[e])) {
                *out = path_join(arena, directory, files[i]);
                return *out ? STATUS_OK : arena_exhausted(1, 1);
            }
    return STATUS_OK;
}

static Status find_picture(const Source *source, const char *home, const char *spatial, const ScaleFactors *f,
                           Section *s) {
    Arena *arena = &s->arena;
    s->picture_scale = 1;
    if (source->options.image) {
        TRY(ARENA_COPY(arena, s->image_path, source->options.image, strlen(source->options.image)));
        return section_input(s, s->image_path);
    }
    TRY(find_slide(home, s->name, arena, &s->image_path));
    if (s->image_path) return section_input(s, s->image_path);
    const struct {
        const char *file, *factor;
        double scale;
    } small[] = {{"tissue_hires_image.png", "tissue_hires_scalef", f->tissue_hires_scalef},
                 {"tissue_lowres_image.png", "tissue_lowres_scalef", f->tissue_lowres_scalef}};
    for (int i = 0; i < 2; i++) {
        char *path = path_join(arena, spatial, small[i].file);
        if (!path) return arena_exhausted(1, 1);
        if (!file_exists(path)) continue;
        if (!(small[i].scale > 0)) {
            TRY(section_note(s, "%s is not used: the scale factors have no %s", path, small[i].factor));
            continue;
        }
        s->image_path = path;
        s->picture_scale = small[i].scale;
        TRY(section_note(s,
                         "there is no full-resolution picture in %s (%s.tif, *.tif, *.tiff, *.svs); %s is used, %.4g "
                         "pixels for one of full resolution",
                         home, s->name, small[i].file, small[i].scale));
        return section_input(s, path);
    }
    s->no_picture = arena_printf(arena,
                                 "%s holds no picture: neither %s.tif, *.tif, *.tiff nor *.svs, nor "
                                 "tissue_hires_image.png or tissue_lowres_image.png with their scale factors in %s",
                                 home, s->name, spatial);
    return s->no_picture ? STATUS_OK : arena_exhausted(1, 200);
}

// ---- Joining --------------------------------------------------------------------------------------

typedef struct Join {
    const SpotPositions *positions;
    const char *positions_path, *counts_path;
    size_t *place; // [spots] position
    size_t *row;   // [spots] row of the counts
    size_t count;
} Join;

static Status join(const Matrix *m, Arena *scratch, Section *s, Join *j) {
    const SpotPositions *p = j->positions;
    NameIndex index, rows;
    uint8_t *used = NULL;
    size_t outside = 0;
    TRY(name_index_init(&index, scratch, p->count + 1));
    TRY(name_index_init(&rows, scratch, m->rows + 1));
    TRY(ARENA_NEW(scratch, used, p->count + 1));
    TRY(ARENA_NEW(scratch, j->place, m->rows + 1));
    TRY(ARENA_NEW(scratch, j->row, m->rows + 1));
    for (size_t i = 0; i < p->count; i++) name_index_add(&index, p->id[i], (int64_t)i);
    for (size_t r = 0; r < m->rows; r++) {
        if (!m->row_name[r]) {
            s->n_not_joined++;
            continue;
        }
        int64_t before = name_index_add(&rows, m->row_name[r], (int64_t)r);
        if (before >= 0)
            return status_make(STATUS_MALFORMED, "%s: barcode %s occurs twice (rows %lld and %zu)", j->counts_path,
                               m->row_name[r], (long long)before + 1, r + 1);
        int64_t at = name_index_find(&index, m->row_name[r]);
        if (at < 0) {
            s->n_not_joined++;
            continue;
        }
        used[at] = 1;
        if (!p->in_tissue[at]) {
            outside++;
            continue;
        }
        j->place[j->count] = (size_t)at;
        j->row[j->count++] = r;
    }
    if (j->count == 0 && s->n_not_joined == m->rows)
        return status_make(STATUS_MISMATCH,
                           "none of the %zu spots of %s has a position in %s (the first: %s; the first position: %s); "
                           "these files do not belong together",
                           m->rows, j->counts_path, j->positions_path,
                           m->rows && m->row_name[0] ? m->row_name[0] : "none", p->id[0]);
    if (j->count == 0)
        return status_make(STATUS_MISMATCH, "no spot that %s calls in tissue has counts in %s", j->positions_path,
                           j->counts_path);
    TRY(ARENA_NEW(&s->arena, s->without_counts, p->n_in_tissue + 1));
    for (size_t i = 0; i < p->count; i++) {
        s->n_not_selected += !p->in_tissue[i];
        if (!p->in_tissue[i] || used[i]) continue;
        char **id = &s->without_counts[s->n_without_counts++];
        TRY(ARENA_COPY(&s->arena, *id, p->id[i], strlen(p->id[i])));
    }
    if (s->n_not_joined)
        TRY(section_note(s, "%zu of %zu spots with counts have no position and were left out", s->n_not_joined,
                         m->rows));
    if (outside)
        TRY(section_note(s, "%zu of %zu spots with counts are not in tissue and were left out", outside, m->rows));
    return STATUS_OK;
}

// Without counts: every position in tissue is a spot.
static Status all_in_tissue(Arena *scratch, Section *s, Join *j) {
    const SpotPositions *p = j->positions;
    TRY(ARENA_NEW(scratch, j->place, p->count + 1));
    for (size_t i = 0; i < p->count; i++)
        if (p->in_tissue[i]) j->place[j->count++] = i;
    s->n_not_selected = p->count - j->count;
    if (j->count == 0) return status_make(STATUS_MISMATCH, "%s: no spot is in tissue", j->positions_path);
    return section_note(s, "there are no counts; the %zu positions in tissue are the spots", j->count);
}

static Status take_places(const Join *j, Section *s) {
    const SpotPositions *p = j->positions;
    TRY(source_spots(s, j->count));
    s->no_array = false;
    for (size_t i = 0; i < j->count; i++) {
        size_t at = j->place[i];
        TRY(ARENA_COPY(&s->arena, s->ids[i], p->id[at], strlen(p->id[at])));
        for (size_t axis = 0; axis < 2; axis++) {
            s->array[2 * i + axis] = p->array[2 * at + 1 - axis]; // positions give the row first
            s->array_exact[2 * i + axis] = s->array[2 * i + axis];
            s->pixel[2 * i + axis] = p->pixel[2 * at + axis];
        }
    }
    return STATUS_OK;
}

// ---- Lengths --------------------------------------------------------------------------------------

static Status find_lengths(const SpotPositions *p, const ScaleFactors *f, Section *s) {
    PositionsCheck check;
    TRY(positions_check(p, f, 0, 0, 1, &s->arena, &check)); // the picture is compared by who opens it
    for (size_t i = 0; i < check.n_warnings; i++) TRY(section_note(s, "%s", check.warning[i]));
    s->spot_diameter = isfinite(f->spot_diameter_fullres) ? f->spot_diameter_fullres : 0;
    if (!isfinite(f->microns_per_pixel)) return source_visium_microns(s);
    s->microns_per_pixel = f->microns_per_pixel;
    return STATUS_OK;
}

// ---- All ------------------------------------------------------------------------------------------

static Status add_matrix_inputs(const char *matrix, bool directory, Section *s) {
    static const char *const files[] = {"matrix.mtx", "barcodes.tsv", "features.tsv", "genes.tsv"};
    char path[4096];
    if (!directory) return section_input(s, matrix);
    for (int i = 0; i < 4; i++)
        for (int gz = 0; gz < 2; gz++)
            if (snprintf(path, sizeof path, "%s/%s%s", matrix, files[i], gz ? ".gz" : "") < (int)sizeof path &&
                file_exists(path)) {
                TRY(section_input(s, path));
                if (i == 2) i++; // genes.tsv is read only without features.tsv
                break;
            }
    return STATUS_OK;
}

static Status read_counts(const Source *source, const char *home, Arena *scratch, Section *s, Join *j) {
    static char *const none[1] = {NULL};
    CountsOptions options = {.limits = source->options.limits, .genes = source->options.no_counts ? none : NULL};
    char *matrix = NULL;
    bool directory = false;
    Annotated a = {0};
    Status found = counts_find_matrix(home, scratch, &matrix, &directory);
    if (found != STATUS_OK) {
        if (!source->options.no_counts || status_code(found) != STATUS_NOT_FOUND) return found;
        status_drop(found);
        TRY(all_in_tissue(scratch, s, j));
        return take_places(j, s);
    }
    j->counts_path = matrix;
    TRY(add_matrix_inputs(matrix, directory, s));
    TRY(counts_read(matrix, &options, &a));
    Status status = join(&a.x, scratch, s, j);
    if (status == STATUS_OK) status = take_places(j, s);
    if (status == STATUS_OK && !source->options.no_counts) status = source_counts(matrix, "it", &a.x, j->row, s);
    if (status == STATUS_OK) status = source_notes(&a, s);
    annotated_free(&a);
    return status;
}

static Status read_all(const Source *source, const SourceItem *item, Arena *scratch, SpotPositions *positions,
                       Section *s) {
    ScaleFactors f = {NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    char *path = NULL, *spatial = path_join(scratch, item->path, "spatial");
    if (!spatial) return arena_exhausted(1, 1);
    if (!is_directory(spatial)) spatial = item->path;
    TRY(positions_find(item->path, scratch, &path));
    if (!path)
        return status_make(
            STATUS_NOT_FOUND,
            "%s: there are no positions: neither tissue_positions.csv nor tissue_positions_list.csv is in "
            "it or in %s/spatial",
            item->path, item->path);
    TRY(section_input(s, path));
    TRY(positions_read(path, positions));
    char *scales = path_join(scratch, spatial, "scalefactors_json.json");
    if (!scales) return arena_exhausted(1, 1);
    if (!file_exists(scales) && spatial != item->path)
        scales = path_join(scratch, item->path, "scalefactors_json.json");
    if (scales && file_exists(scales)) {
        TRY(section_input(s, scales));
        TRY(scale_factors_read(scales, &f));
    } else {
        TRY(section_note(s, "there is no scalefactors_json.json; the diameter of the spots is unknown"));
    }
    Join join_of = {.positions = positions, .positions_path = path};
    TRY(read_counts(source, item->path, scratch, s, &join_of));
    TRY(find_lengths(positions, &f, s));
    return find_picture(source, item->path, spatial, &f, s);
}

static Status read_visium(const Source *source, const SourceItem *item, char *const *tables, size_t n_tables,
                          Section *s) {
    (void)tables, (void)n_tables; // all tables are files
    Arena scratch;
    SpotPositions positions = {0};
    arena_init(&scratch);
    Status status = read_all(source, item, &scratch, &positions, s);
    positions_free(&positions);
    arena_free(&scratch);
    return status;
}

const SourceMethods source_visium = {open_visium, read_visium, NULL};
