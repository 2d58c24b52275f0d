// positions: see positions.h. Geometry of the arrays: Visium spots stand 100 um apart; they are 55 um wide, but the
// diameter that Space Ranger writes is that of a circle of 65 um, so the spacing is 100/65 of it. Bins of Visium HD
// touch.
#include "positions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/json.h"
#include "../core/strings.h"
#include "lines.h"

void positions_free(SpotPositions *p) {
    arena_free(&p->arena);
    *p = (SpotPositions){0};
}

// ---- Files --------------------------------------------------------------------------------------

static Status parquet(const char *path) {
    return status_make(STATUS_UNSUPPORTED,
                       "%s: Parquet is not read; convert it with: python3 -c \"import pandas; "
                       "pandas.read_parquet('%s').to_csv('%.*s.csv', index=False)\" (pandas and pyarrow are needed)",
                       path, path, (int)(strlen(path) - (string_ends_with(path, ".parquet") ? 8 : 0)), path);
}

Status positions_find(const char *directory, Arena *arena, char **out_path) {
    static const char *const folders[] = {"spatial/", ""};
    static const char *const names[] = {"tissue_positions.csv", "tissue_positions_list.csv"};
    *out_path = NULL;
    char *path = NULL;
    for (int f = 0; f < 2; f++)
        for (int n = 0; n < 2; n++) {
            if (!(path = arena_printf(arena, "%s/%s%s", directory, folders[f], names[n]))) return arena_exhausted(1, 1);
            if (!file_exists(path)) continue;
            *out_path = path;
            return STATUS_OK;
        }
    for (int f = 0; f < 2; f++) {
        if (!(path = arena_printf(arena, "%s/%stissue_positions.parquet", directory, folders[f])))
            return arena_exhausted(1, 1);
        if (file_exists(path)) return parquet(path);
    }
    return STATUS_OK;
}

typedef struct Reader {
    LineReader *lines;
    SpotPositions *p;
    size_t capacity;
    char *field[64];
    size_t fields;
    int selection[7]; // legacy ST: where x, y, new_x, new_y, pixel_x, pixel_y, selected stand; [0] < 0: not legacy
} Reader;

static Status line_error(const Reader *r, const char *format, ...) PRINTF_LIKE(2, 3);
static Status line_error(const Reader *r, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    Status status = status_makev(STATUS_MALFORMED, format, arguments);
    va_end(arguments);
    return status_context(status, "%s:%zu", lines_path(r->lines), lines_number(r->lines));
}

// Splits in place; quotes around a field are taken off.
static void split(Reader *r, char *line, char separator) {
    r->fields = 0;
    for (char *p = line; p && r->fields < 64;) {
        char *end = strchr(p, separator);
        if (end) *end = '\0';
        size_t length = strlen(p);
        if (length >= 2 && p[0] == '"' && p[length - 1] == '"') p[length - 1] = '\0', p++;
        r->field[r->fields++] = p;
        p = end ? end + 1 : NULL;
    }
}

static Status number(const Reader *r, size_t field, const char *name, double *out) {
    const char *text = r->field[field];
    char q[QUOTED_TEXT];
    if (parse_f64(text, strlen(text), out) && isfinite(*out)) return STATUS_OK;
    return line_error(r, "%s: %s is not a finite number", name, quoted(text, strlen(text), q));
}

static Status array_step(const Reader *r, size_t field, const char *name, int32_t *out) {
    double value = 0;
    TRY(number(r, field, name, &value));
    if (value != floor(value) || fabs(value) > 1e6)
        return line_error(r, "%s: %s is not a position on the array", name, r->field[field]);
    *out = (int32_t)value;
    return STATUS_OK;
}

static Status flag(const Reader *r, size_t field, const char *name, uint8_t *out) {
    double value = 0;
    TRY(number(r, field, name, &value));
    if (value != 0 && value != 1) return line_error(r, "%s: %s is neither 0 nor 1", name, r->field[field]);
    *out = value == 1;
    return STATUS_OK;
}

static Status grow(Reader *r) {
    SpotPositions *p = r->p, more = *p;
    size_t capacity = r->capacity ? r->capacity * 2 : 1024;
    TRY(ARENA_NEW(&p->arena, more.id, capacity));
    TRY(ARENA_NEW(&p->arena, more.in_tissue, capacity));
    TRY(ARENA_NEW(&p->arena, more.array, capacity * 2));
    TRY(ARENA_NEW(&p->arena, more.pixel, capacity * 2));
    if (p->count) {
        memcpy(more.id, p->id, p->count * sizeof *p->id);
        memcpy(more.in_tissue, p->in_tissue, p->count);
        memcpy(more.array, p->array, p->count * 2 * sizeof *p->array);
        memcpy(more.pixel, p->pixel, p->count * 2 * sizeof *p->pixel);
    }
    p->id = more.id;
    p->in_tissue = more.in_tissue;
    p->array = more.array;
    p->pixel = more.pixel;
    r->capacity = capacity;
    return STATUS_OK;
}

static Status take_visium(Reader *r) {
    SpotPositions *p = r->p;
    size_t i = p->count;
    if (r->fields != 6)
        return line_error(r,
                          "%zu fields where barcode, in_tissue, array_row, array_col, pxl_row_in_fullres and "
                          "pxl_col_in_fullres are expected",
                          r->fields);
    size_t length = strlen(r->field[0]);
    if (length == 0 || !valid_utf8(r->field[0], length)) return line_error(r, "the barcode is empty or not UTF-8 text");
    TRY(ARENA_COPY(&p->arena, p->id[i], r->field[0], length));
    TRY(flag(r, 1, "in_tissue", &p->in_tissue[i]));
    TRY(array_step(r, 2, "array_row", &p->array[2 * i]));
    TRY(array_step(r, 3, "array_col", &p->array[2 * i + 1]));
    TRY(number(r, 4, "pxl_row_in_fullres", &p->pixel[2 * i + 1])); // the row (y) comes first
    return number(r, 5, "pxl_col_in_fullres", &p->pixel[2 * i]);
}

static Status take_selection(Reader *r, size_t columns) {
    SpotPositions *p = r->p;
    size_t i = p->count;
    int32_t x = 0, y = 0;
    if (r->fields != columns) return line_error(r, "%zu fields where the header has %zu", r->fields, columns);
    TRY(array_step(r, (size_t)r->selection[0], "x", &x));
    TRY(array_step(r, (size_t)r->selection[1], "y", &y));
    TRY(number(r, (size_t)r->selection[4], "pixel_x", &p->pixel[2 * i]));
    TRY(number(r, (size_t)r->selection[5], "pixel_y", &p->pixel[2 * i + 1]));
    p->in_tissue[i] = 1;
    if (r->selection[6] >= 0) TRY(flag(r, (size_t)r->selection[6], "selected", &p->in_tissue[i]));
    p->array[2 * i] = y;
    p->array[2 * i + 1] = x;
    p->id[i] = arena_printf(&p->arena, "%dx%d", (int)x, (int)y);
    return p->id[i] ? STATUS_OK : arena_exhausted(1, 16);
}

// The header of a selection file: where its columns stand.
static Status read_selection_header(Reader *r, char *line) {
    static const char *const names[] = {"x", "y", "new_x", "new_y", "pixel_x", "pixel_y", "selected"};
    split(r, line, '\t');
    for (int n = 0; n < 7; n++) {
        r->selection[n] = -1;
        for (size_t f = 0; f < r->fields; f++)
            if (strcmp(r->field[f], names[n]) == 0) r->selection[n] = (int)f;
        bool needed = n != 2 && n != 3 && n != 6;
        if (needed && r->selection[n] < 0)
            return line_error(
                r, "no column '%s'; a selection file has x, y, new_x, new_y, pixel_x, pixel_y and selected", names[n]);
    }
    return STATUS_OK;
}

static Status read_all(Reader *r) {
    char *line = NULL;
    size_t length = 0, columns = 0, empty = 0;
    r->selection[0] = -1;
    for (bool first = true;; first = false) {
        TRY(lines_next(r->lines, &line, &length));
        if (!line) break;
        if (length == 0) { // harmless at the end
            empty = lines_number(r->lines);
            continue;
        }
        if (empty)
            return status_make(STATUS_MALFORMED, "%s:%zu: an empty line between spots", lines_path(r->lines), empty);
        if (first && memcmp(line, "PAR1", length < 4 ? length : 4) == 0) return parquet(lines_path(r->lines));
        if (first && strchr(line, '\t') && strstr(line, "pixel_x")) {
            TRY(read_selection_header(r, line));
            columns = r->fields;
            r->p->source = "legacy ST selection file";
            continue;
        }
        if (first && (strstr(line, "barcode") || strstr(line, "in_tissue"))) {
            split(r, line, ',');
            static const char *const names[] = {"barcode",   "in_tissue",          "array_row",
                                                "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres"};
            for (size_t i = 0; i < 6; i++)
                if (i >= r->fields || strcmp(r->field[i], names[i]) != 0)
                    return line_error(r, "column %zu of the header is '%s' where '%s' is expected", i + 1,
                                      i < r->fields ? r->field[i] : "missing", names[i]);
            r->p->source = "tissue_positions with a header";
            continue;
        }
        if (first) r->p->source = "tissue_positions_list without a header";
        if (r->p->count == r->capacity) TRY(grow(r));
        bool legacy = r->selection[0] >= 0;
        split(r, line, legacy ? '\t' : ',');
        TRY(legacy ? take_selection(r, columns) : take_visium(r));
        r->p->n_in_tissue += r->p->in_tissue[r->p->count];
        r->p->count++;
    }
    if (r->p->count == 0) return status_make(STATUS_MALFORMED, "%s: no spots in it", lines_path(r->lines));
    NameIndex seen;
    TRY(name_index_init(&seen, &r->p->arena, r->p->count + 1));
    for (size_t i = 0; i < r->p->count; i++) {
        int64_t before = name_index_add(&seen, r->p->id[i], (int64_t)i);
        if (before >= 0)
            return status_make(STATUS_MALFORMED, "%s: spot %s occurs twice (spots %lld and %zu of the file)",
                               lines_path(r->lines), r->p->id[i], (long long)before + 1, i + 1);
    }
    return STATUS_OK;
}

static bool is_parquet(const char *path) {
    char magic[4] = {0};
    FILE *file = fopen(path, "rb");
    bool found = file && fread(magic, 1, 4, file) == 4 && memcmp(magic, "PAR1", 4) == 0;
    if (file) fclose(file);
    return found;
}

Status positions_read(const char *path, SpotPositions *out) {
    Reader reader = {.p = out};
    uint64_t size = 0;
    *out = (SpotPositions){0};
    TRY(file_size(path, &size)); // a FIFO would wait for ever
    if (is_parquet(path)) return parquet(path);
    TRY(lines_open(path, &reader.lines));
    Status status = read_all(&reader);
    lines_close(reader.lines);
    if (status != STATUS_OK) positions_free(out);
    return status;
}

// ---- Scale factors ------------------------------------------------------------------------------

Status scale_factors_read(const char *path, ScaleFactors *out) {
    struct {
        const char *name;
        double *value;
    } wanted[] = {{"spot_diameter_fullres", &out->spot_diameter_fullres},
                  {"fiducial_diameter_fullres", &out->fiducial_diameter_fullres},
                  {"tissue_hires_scalef", &out->tissue_hires_scalef},
                  {"tissue_lowres_scalef", &out->tissue_lowres_scalef},
                  {"regist_target_img_scalef", &out->regist_target_img_scalef},
                  {"microns_per_pixel", &out->microns_per_pixel},
                  {"bin_size_um", &out->bin_size_um}};
    char *text = NULL;
    size_t size = 0, found = 0;
    uint64_t bytes = 0;
    JsonValue *root = NULL;
    Arena arena;
    TRY(file_size(path, &bytes));
    TRY(file_read(path, 1 << 20, &text, &size));
    arena_init(&arena);
    Status status = json_parse(path, text, size, &arena, &root);
    if (status == STATUS_OK && root->type != JSON_OBJECT)
        status = status_make(STATUS_MALFORMED, "%s: an object of scale factors is expected, not %s", path,
                             json_type_name(root->type));
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && status == STATUS_OK; i++) {
        const JsonValue *value = json_get(root, wanted[i].name);
        *wanted[i].value = NAN;
        if (!value || value->type == JSON_NULL) continue;
        if (value->type != JSON_NUMBER || !(value->number > 0))
            status = status_make(STATUS_MALFORMED, "%s: '%s' must be a positive number", path, wanted[i].name);
        else *wanted[i].value = value->number, found++;
    }
    if (status == STATUS_OK && found == 0)
        status = status_make(STATUS_MALFORMED,
                             "%s: none of the scale factors of Space Ranger "
                             "(spot_diameter_fullres, tissue_hires_scalef, ...) is in it",
                             path);
    free(text);
    arena_free(&arena);
    return status;
}

// ---- Joining ------------------------------------------------------------------------------------

// Takes the rows `pick` out of the table's X; layers and embeddings do not exist yet where this is used.
static Status keep_rows(Annotated *a, const size_t *pick, size_t count) {
    Matrix kept = {0};
    bool in_block = a->block != NULL;
    TRY(matrix_select(&a->x, pick, count, NULL, 0, &kept));
    if (!in_block) matrix_free(&a->x);
    a->x = kept;
    return frame_pick(&a->obs, &a->arena, pick, count);
}

Status positions_join(const SpotPositions *p, const char *path, Annotated *a) {
    NameIndex index;
    Arena scratch;
    size_t rows = a->x.rows, n = 0;
    size_t *place = NULL, *pick = NULL;
    Column tissue = {.name = "in_tissue", .kind = COLUMN_INTEGER}, row = {.name = "array_row", .kind = COLUMN_INTEGER},
           column = {.name = "array_col", .kind = COLUMN_INTEGER};
    if (!a->x.row_name) return status_make(STATUS_INVALID, "%s: counts without barcodes cannot be joined", path);
    if (a->n_layers || a->n_embeddings)
        return status_make(STATUS_INVALID, "%s: positions are joined before layers and embeddings are added", path);
    arena_init(&scratch);
    Status status = name_index_init(&index, &scratch, p->count + 1);
    for (size_t i = 0; status == STATUS_OK && i < p->count; i++) name_index_add(&index, p->id[i], (int64_t)i);
    TRY_OR(status, done, status);
    TRY_OR(status, done, ARENA_NEW(&scratch, place, rows + 1));
    TRY_OR(status, done, ARENA_NEW(&scratch, pick, rows + 1));
    for (size_t r = 0; r < rows; r++) {
        int64_t at = a->x.row_name[r] ? name_index_find(&index, a->x.row_name[r]) : -1;
        if (at < 0) continue;
        place[n] = (size_t)at;
        pick[n++] = r;
    }
    if (n == 0 && rows > 0) {
        status = status_make(STATUS_MISMATCH,
                             "%s: none of the %zu spots with counts has a position there (the first: %s; "
                             "the first position: %s); these files do not belong together",
                             path, rows, a->x.row_name[0], p->count ? p->id[0] : "none");
        goto done;
    }
    a->joined = n;
    a->not_joined = rows - n;
    if (n < rows) {
        TRY_OR(status, done, keep_rows(a, pick, n));
        TRY_OR(status, done,
               annotated_note(a, "%zu of %zu spots with counts have no position and were left out", rows - n, rows));
    }
    size_t tissue_joined = 0;
    Embedding *spatial = NULL;
    TRY_OR(status, done, ARENA_NEW(&a->arena, spatial, 1));
    *spatial = (Embedding){.name = "spatial", .width = 2};
    TRY_OR(status, done, ARENA_NEW(&a->arena, spatial->value, 2 * n + 1));
    TRY_OR(status, done, ARENA_NEW(&a->arena, tissue.integer, n + 1));
    TRY_OR(status, done, ARENA_NEW(&a->arena, row.integer, n + 1));
    TRY_OR(status, done, ARENA_NEW(&a->arena, column.integer, n + 1));
    for (size_t i = 0; i < n; i++) {
        size_t at = place[i];
        spatial->value[2 * i] = p->pixel[2 * at];
        spatial->value[2 * i + 1] = p->pixel[2 * at + 1];
        tissue.integer[i] = p->in_tissue[at];
        row.integer[i] = p->array[2 * at];
        column.integer[i] = p->array[2 * at + 1];
        tissue_joined += p->in_tissue[at];
    }
    a->embedding = spatial;
    a->n_embeddings = 1;
    TRY_OR(status, done, frame_add(&a->obs, &a->arena, &tissue));
    TRY_OR(status, done, frame_add(&a->obs, &a->arena, &row));
    TRY_OR(status, done, frame_add(&a->obs, &a->arena, &column));
    if (p->n_in_tissue > tissue_joined)
        status = annotated_note(a, "%zu of %zu positions in tissue have no counts", p->n_in_tissue - tissue_joined,
                                p->n_in_tissue);
    if (status == STATUS_OK && n > tissue_joined)
        status = annotated_note(a, "%zu of %zu spots with counts are not in tissue", n - tissue_joined, n);
done:
    arena_free(&scratch);
    return status;
}

// ---- Geometry -----------------------------------------------------------------------------------

typedef struct Point {
    double x, y;
} Point;

static int by_x(const void *a, const void *b) {
    const Point *p = a, *q = b;
    return (p->x > q->x) - (p->x < q->x);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Median distance to the nearest other point: points sorted by x, searched outwards until x alone is farther. Of very
// many points a sample is asked, and no search goes on for ever where all stand in one line.
static double median_nearest(Point *points, size_t n, double *distances) {
    enum { SAMPLE = 20000, FARTHEST = 20000 };
    size_t step = n / SAMPLE + 1, count = 0;
    qsort(points, n, sizeof *points, by_x);
    for (size_t i = 0; i < n; i += step) {
        double best = INFINITY;
        size_t last = i + FARTHEST < n ? i + FARTHEST : n, first = i > FARTHEST ? i - FARTHEST : 0;
        for (size_t j = i + 1; j < last && points[j].x - points[i].x < best; j++)
            best = fmin(best, hypot(points[j].x - points[i].x, points[j].y - points[i].y));
        for (size_t j = i; j-- > first && points[i].x - points[j].x < best;)
            best = fmin(best, hypot(points[j].x - points[i].x, points[j].y - points[i].y));
        distances[count++] = best;
    }
    qsort(distances, count, sizeof *distances, ascending);
    return distances[count / 2];
}

// Solves the 3 x 3 normal equations of value = a + b row + c column; false if the spots do not span the array.
static bool solve3(double m[3][4]) {
    for (int i = 0; i < 3; i++) {
        int best = i;
        for (int r = i + 1; r < 3; r++)
            if (fabs(m[r][i]) > fabs(m[best][i])) best = r;
        if (fabs(m[best][i]) < 1e-9) return false;
        for (int c = 0; c < 4; c++) {
            double swap = m[i][c];
            m[i][c] = m[best][c];
            m[best][c] = swap;
        }
        for (int r = 0; r < 3; r++) {
            double factor = r == i ? 0 : m[r][i] / m[i][i];
            for (int c = i; c < 4; c++) m[r][c] -= factor * m[i][c];
        }
    }
    for (int i = 0; i < 3; i++) m[i][3] /= m[i][i];
    return true;
}

// The array fitted to the pixels: pixel = origin + row * u + column * v, for x and y.
static bool fit_lattice(const SpotPositions *p, double fit[2][3]) {
    for (int axis = 0; axis < 2; axis++) {
        double m[3][4] = {{0}};
        for (size_t i = 0; i < p->count; i++) {
            if (!p->in_tissue[i]) continue;
            double t[3] = {1, p->array[2 * i], p->array[2 * i + 1]};
            for (int r = 0; r < 3; r++) {
                for (int c = 0; c < 3; c++) m[r][c] += t[r] * t[c];
                m[r][3] += t[r] * p->pixel[2 * i + (size_t)axis];
            }
        }
        if (!solve3(m)) return false;
        for (int i = 0; i < 3; i++) fit[axis][i] = m[i][3];
    }
    return true;
}

static Status warn(PositionsCheck *c, char *text) {
    if (!text) return arena_exhausted(1, 200);
    c->warning[c->n_warnings++] = text;
    return STATUS_OK;
}

Status positions_check(const SpotPositions *p, const ScaleFactors *f, size_t width, size_t height, double scale,
                       Arena *arena, PositionsCheck *c) {
    Point *points = NULL;
    double *distances = NULL, fit[2][3];
    *c = (PositionsCheck){.min_x = INFINITY,
                          .min_y = INFINITY,
                          .max_x = -INFINITY,
                          .max_y = -INFINITY,
                          .spacing = NAN,
                          .expected_spacing = NAN,
                          .array_spacing_x = NAN,
                          .array_spacing_y = NAN,
                          .worst_residual = NAN};
    TRY(ARENA_NEW(arena, points, p->count + 1));
    TRY(ARENA_NEW(arena, distances, p->count + 1));
    TRY(ARENA_NEW(arena, c->warning, 6));
    for (size_t i = 0; i < p->count; i++) {
        if (!p->in_tissue[i]) continue;
        Point at = {p->pixel[2 * i], p->pixel[2 * i + 1]};
        points[c->spots++] = at;
        c->min_x = fmin(c->min_x, at.x), c->max_x = fmax(c->max_x, at.x);
        c->min_y = fmin(c->min_y, at.y), c->max_y = fmax(c->max_y, at.y);
        bool inside =
            at.x * scale >= 0 && at.y * scale >= 0 && at.x * scale < (double)width && at.y * scale < (double)height;
        c->outside += width && !inside;
    }
    if (c->spots == 0) return warn(c, arena_printf(arena, "no spot is in tissue"));
    if (c->spots > 1) c->spacing = median_nearest(points, c->spots, distances);
    if (f && isfinite(f->bin_size_um) && isfinite(f->microns_per_pixel))
        c->expected_spacing = f->bin_size_um / f->microns_per_pixel;
    else if (f && isfinite(f->spot_diameter_fullres)) c->expected_spacing = f->spot_diameter_fullres * 100 / 65;
    if (c->spots > 1 && isfinite(c->expected_spacing) &&
        fabs(c->spacing / c->expected_spacing - 1) > 0.25) // 55 and 65 um are both in use: 100/55 is 18 % more
        TRY(warn(c, arena_printf(arena,
                                 "spots are %.2f px apart; the scale factors let expect %.2f px: positions "
                                 "and scale factors may belong to different pictures",
                                 c->spacing, c->expected_spacing)));
    if (c->spots > 3 && fit_lattice(p, fit)) {
        c->array_spacing_x = hypot(fit[0][2], fit[1][2]);
        c->array_spacing_y = hypot(fit[0][1], fit[1][1]);
        c->worst_residual = 0;
        for (size_t i = 0; i < p->count; i++) {
            if (!p->in_tissue[i]) continue;
            double row = p->array[2 * i], column = p->array[2 * i + 1];
            double dx = fit[0][0] + fit[0][1] * row + fit[0][2] * column - p->pixel[2 * i];
            double dy = fit[1][0] + fit[1][1] * row + fit[1][2] * column - p->pixel[2 * i + 1];
            c->worst_residual = fmax(c->worst_residual, hypot(dx, dy) / c->spacing);
        }
        if (c->worst_residual > 1)
            TRY(warn(c, arena_printf(arena,
                                     "a spot lies %.1f spacings from its place in the array: rows, columns "
                                     "or pixels are mixed up",
                                     c->worst_residual)));
    }
    if (c->outside)
        TRY(warn(c, arena_printf(arena,
                                 "%zu of %zu spots in tissue lie outside the picture of %zu x %zu px (spots "
                                 "span x %.0f to %.0f, y %.0f to %.0f there): it is cropped, or scale "
                                 "factors and picture do not belong together",
                                 c->outside, c->spots, width, height, c->min_x * scale, c->max_x * scale,
                                 c->min_y * scale, c->max_y * scale)));
    return STATUS_OK;
}
