// hest: see hest.h.
#include "hest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "h5.h"
#include "h5_foreign.h"
#include "h5_numbers.h"
#include "table.h"

void hest_free(HestTree *t) {
    arena_free(&t->arena);
    *t = (HestTree){0};
}

// ---- The table ----------------------------------------------------------------------------------

static int find_column(const TableReader *table, const char *name) {
    for (size_t i = 0; i < table->n_columns; i++)
        if (strcmp(table->columns[i], name) == 0) return (int)i;
    return -1;
}

static Status grow_samples(HestTree *t, size_t *capacity) {
    HestSample *more = NULL;
    if (t->count < *capacity) return STATUS_OK;
    *capacity = *capacity ? *capacity * 2 : 256;
    TRY(ARENA_NEW(&t->arena, more, *capacity));
    if (t->count) memcpy(more, t->sample, t->count * sizeof *more);
    t->sample = more;
    return STATUS_OK;
}

static Status read_table(TableReader *table, HestTree *t, size_t *capacity) {
    static const char *const names[] = {
        "id", "organ", "species", "disease_state", "st_technology", "patient", "dataset_title", "preservation_method"};
    int column[8], pixel_size = find_column(table, "pixel_size_um_estimated"),
                   spots = find_column(table, "spots_under_tissue");
    size_t id = 0;
    TRY(table_column(table, "id", &id));
    for (int i = 0; i < 8; i++) column[i] = find_column(table, names[i]);
    for (;;) {
        bool row = false;
        TRY(table_next(table, &row));
        if (!row) return STATUS_OK;
        TRY(grow_samples(t, capacity));
        HestSample *s = &t->sample[t->count];
        *s = (HestSample){.pixel_size_um = NAN, .spots = -1};
        char **text[] = {&s->id,
                         &s->organ,
                         &s->species,
                         &s->disease_state,
                         &s->st_technology,
                         &s->patient,
                         &s->dataset_title,
                         &s->preservation_method};
        for (int i = 0; i < 8; i++) {
            Field field = column[i] >= 0 ? table->fields[column[i]] : (Field){"", 0};
            if (!valid_utf8(field.text, field.length))
                return table_error(table, "column '%s' is not UTF-8 text", names[i]);
            TRY(ARENA_COPY(&t->arena, *text[i], field.text, field.length));
        }
        if (!*s->id) return table_error(table, "the sample has no id");
        if (pixel_size >= 0 && table->fields[pixel_size].length)
            TRY(table_f64(table, (size_t)pixel_size, &s->pixel_size_um));
        double count = 0;
        if (spots >= 0 && table->fields[spots].length) {
            TRY(table_f64(table, (size_t)spots, &count));
            if (count >= 0 && count < 1e12) s->spots = (int64_t)count;
        }
        t->count++;
    }
}

static Status read_csv(const char *path, HestTree *t, size_t *capacity) {
    TableReader table;
    uint64_t bytes = 0;
    TRY(file_size(path, &bytes));
    TRY(table_open(&table, path, ','));
    Status status = read_table(&table, t, capacity);
    table_close(&table);
    return status;
}

Status hest_table_read(const char *path, HestTree *t) {
    size_t capacity = 0;
    *t = (HestTree){0};
    Status status = read_csv(path, t, &capacity);
    if (status != STATUS_OK) hest_free(t);
    return status;
}

static bool is_table(const char *name) {
    return strncmp(name, "HEST_v", 6) == 0 && string_ends_with(name, ".csv");
}

// Samples known by their files. `which` is the place of the flag in a HestSample.
static Status add_files(HestTree *t, const char *folder, const char *ending, size_t which, size_t *capacity) {
    char **names = NULL, *path = path_join(&t->arena, t->directory, folder);
    size_t count = 0;
    if (!path) return arena_exhausted(1, 1);
    if (!is_directory(path)) return STATUS_OK;
    TRY(directory_list(path, &t->arena, &names, &count));
    NameIndex index;
    TRY(name_index_init(&index, &t->arena, t->count + 1));
    for (size_t i = 0; i < t->count; i++) name_index_add(&index, t->sample[i].id, (int64_t)i);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]), end = strlen(ending);
        char *id = NULL;
        if (names[i][0] == '.' || length <= end || !string_ends_with(names[i], ending)) continue;
        TRY(ARENA_COPY(&t->arena, id, names[i], length - end));
        int64_t at = name_index_find(&index, id);
        if (at < 0) {
            TRY(grow_samples(t, capacity));
            at = (int64_t)t->count++;
            t->without_row += t->table != NULL;
            t->sample[at] = (HestSample){id, "", "", "", "", "", "", "", NAN, -1, false, false, false};
        }
        *((bool *)(void *)((char *)&t->sample[at] + which)) = true;
    }
    return STATUS_OK;
}

static Status open_tree(const char *directory, HestTree *t) {
    char **names = NULL;
    size_t count = 0, capacity = 0;
    TRY(ARENA_COPY(&t->arena, t->directory, directory, strlen(directory)));
    TRY(directory_list(directory, &t->arena, &names, &count));
    for (size_t i = 0; i < count; i++) // the latest by name
        if (is_table(names[i]) && !(t->table = path_join(&t->arena, directory, names[i]))) return arena_exhausted(1, 1);
    if (t->table) TRY(read_csv(t->table, t, &capacity));
    TRY(add_files(t, "st", ".h5ad", offsetof(HestSample, has_counts), &capacity));
    TRY(add_files(t, "patches", ".h5", offsetof(HestSample, has_patches), &capacity));
    TRY(add_files(t, "wsis", ".tif", offsetof(HestSample, has_slide), &capacity));
    if (t->count == 0)
        return status_make(STATUS_NOT_FOUND,
                           "%s: not a HEST-1k tree: it has neither HEST_v*.csv nor st/ID.h5ad nor "
                           "patches/ID.h5",
                           directory);
    return STATUS_OK;
}

Status hest_open(const char *directory, HestTree *t) {
    *t = (HestTree){0};
    Status status = open_tree(directory, t);
    if (status != STATUS_OK) hest_free(t);
    return status;
}

// ---- Patches ------------------------------------------------------------------------------------

typedef struct PatchWork {
    const char *path;
    size_t first, count; // of pixels
    const HestPatches *of;
} PatchWork;

static Status read_barcodes(const ForeignFile *f, Arena *arena, GuardBlock *block, HestPatches *p) {
    char **texts = NULL;
    size_t count = 0;
    ForeignKind kind;
    const char *name = "barcode";
    TRY(foreign_kind(f, f->file, name, &kind));
    if (kind != FOREIGN_DATASET) name = "barcodes";
    TRY(foreign_texts(f, f->file, name, arena, &texts, &count));
    if (count != p->count) return foreign_error(f, f->file, "there are %zu barcodes for %zu patches", count, p->count);
    p->barcode = GUARD_NEW(block, char *, count + 1);
    if (!p->barcode) return guard_exhausted(block, f->path, count, sizeof(char *));
    for (size_t i = 0; i < count; i++)
        if (!(p->barcode[i] = guard_text(block, texts[i], strlen(texts[i]))))
            return guard_exhausted(block, f->path, count, 32);
    return STATUS_OK;
}

static Status read_coordinates(const ForeignFile *f, GuardBlock *block, HestPatches *p) {
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4];
    TRY(foreign_dataset(f, f->file, "coords", &dataset, &rank, dims));
    hid_t type = H5Dget_type(dataset);
    H5T_class_t found = H5Tget_class(type);
    Status status = STATUS_OK;
    if (rank != 2 || dims[0] != p->count || dims[1] != 2 || (found != H5T_INTEGER && found != H5T_FLOAT))
        status = foreign_error(f, dataset, "%zu pairs of numbers are expected", p->count);
    if (status == STATUS_OK && !(p->coordinate = GUARD_NEW(block, int64_t, 2 * p->count + 1)))
        status = guard_exhausted(block, f->path, p->count, 16);
    if (status == STATUS_OK && p->count > 0 &&
        H5Dread(dataset, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, p->coordinate) < 0)
        status = h5_error(f->path, "reading", "coords");
    h5_close(type);
    h5_close(dataset);
    return status;
}

static Status open_pixels(const ForeignFile *f, hid_t *out_dataset, hsize_t dims[4]) {
    int rank = 0;
    TRY(foreign_dataset(f, f->file, "img", out_dataset, &rank, dims));
    hid_t type = H5Dget_type(*out_dataset);
    bool bytes = H5Tget_class(type) == H5T_INTEGER && H5Tget_size(type) == 1;
    h5_close(type);
    if (rank == 4 && dims[3] == 3 && bytes && dims[1] <= 1 << 16 && dims[2] <= 1 << 16) return STATUS_OK;
    Status status = foreign_error(f, *out_dataset, "patches of height x width x 3 bytes are expected");
    h5_close(*out_dataset);
    return status;
}

static Status read_index(void *context, GuardBlock *block) {
    PatchWork *w = context;
    ForeignFile f;
    Arena arena;
    hsize_t dims[4];
    hid_t dataset = -1;
    TRY(foreign_open(w->path, &f));
    arena_init(&arena);
    HestPatches *p = GUARD_NEW(block, HestPatches, 1);
    Status status = p ? open_pixels(&f, &dataset, dims) : guard_exhausted(block, w->path, 1, sizeof *p);
    h5_close(dataset);
    if (status == STATUS_OK) {
        *p = (HestPatches){.count = (size_t)dims[0], .height = (size_t)dims[1], .width = (size_t)dims[2]};
        status = read_coordinates(&f, block, p);
    }
    if (status == STATUS_OK) status = read_barcodes(&f, &arena, block, p);
    if (status == STATUS_OK && !(p->centre = GUARD_NEW(block, double, 2 * p->count + 1)))
        status = guard_exhausted(block, w->path, p->count, 16);
    block->result = p;
    arena_free(&arena);
    foreign_close(&f);
    return status;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Tells the two conventions apart by which of them puts the patches on their spots.
static Status compare(const char *path, const Annotated *spots, HestPatches *p) {
    const Embedding *spatial = annotated_embedding(spots, "spatial");
    if (!spatial || spatial->width < 2 || !spots->x.row_name)
        return status_make(STATUS_INVALID, "%s: the counts have no positions (obsm 'spatial') to compare with", path);
    Arena arena;
    NameIndex index;
    int64_t *at = NULL;
    double *halves = NULL, worst_centre = 0, worst_corner = 0, half = 0;
    arena_init(&arena);
    Status status = name_index_init(&index, &arena, spots->x.rows + 1);
    for (size_t i = 0; status == STATUS_OK && i < spots->x.rows; i++)
        name_index_add(&index, spots->x.row_name[i], (int64_t)i);
    if (status == STATUS_OK) status = ARENA_NEW(&arena, at, p->count + 1);
    if (status == STATUS_OK) status = ARENA_NEW(&arena, halves, 2 * p->count + 1);
    if (status != STATUS_OK) goto done;
    for (size_t i = 0; i < p->count; i++) {
        at[i] = name_index_find(&index, p->barcode[i]);
        p->not_joined += at[i] < 0;
        if (at[i] < 0) continue;
        const double *spot = spatial->value + (size_t)at[i] * spatial->width;
        halves[2 * p->joined] = spot[0] - (double)p->coordinate[2 * i];
        halves[2 * p->joined + 1] = spot[1] - (double)p->coordinate[2 * i + 1];
        p->joined++;
    }
    if (p->joined == 0) {
        status = status_make(STATUS_MISMATCH,
                             "%s: none of its %zu barcodes is among the %zu spots; these files do not "
                             "belong together",
                             path, p->count, spots->x.rows);
        goto done;
    }
    qsort(halves, 2 * p->joined, sizeof *halves, ascending);
    half = halves[p->joined];
    for (size_t i = 0; i < p->count; i++) {
        if (at[i] < 0) continue;
        const double *spot = spatial->value + (size_t)at[i] * spatial->width;
        double a = (double)p->coordinate[2 * i], b = (double)p->coordinate[2 * i + 1];
        worst_centre = fmax(worst_centre, hypot(b - spot[0], a - spot[1]));
        worst_corner = fmax(worst_corner, hypot(a + half - spot[0], b + half - spot[1]));
    }
    // Rounding moves a place by a pixel or two; a patch is at least tens of pixels wide.
    if (worst_centre <= 3 && !(worst_corner < worst_centre)) p->places = HEST_CENTRE_ROW_COLUMN;
    else if (worst_corner <= 3 && half > 0) p->places = HEST_CORNER_X_Y;
    else {
        status = status_make(STATUS_MISMATCH,
                             "%s: its coordinates are neither centres (row, column) of the spots (%.1f px "
                             "off) nor corners (x, y) of patches around them (%.1f px off)",
                             path, worst_centre, worst_corner);
        goto done;
    }
    bool corner = p->places == HEST_CORNER_X_Y;
    p->corner_to_centre = corner ? half : 0;
    p->residual = corner ? worst_corner : worst_centre;
    for (size_t i = 0; i < p->count; i++) {
        double a = (double)p->coordinate[2 * i], b = (double)p->coordinate[2 * i + 1];
        p->centre[2 * i] = corner ? a + half : b;
        p->centre[2 * i + 1] = corner ? b + half : a;
    }
done:
    arena_free(&arena);
    return status;
}

Status hest_patches_read(const char *path, const Annotated *spots, GuardLimits limits, HestPatches *out) {
    PatchWork work = {.path = path};
    GuardBlock block;
    *out = (HestPatches){0};
    TRY(guard_run(path, limits, read_index, &work, &block));
    HestPatches *p = block.result;
    bool sound = p && guard_holds(&block, p, 1, sizeof *p) && guard_holds(&block, p->coordinate, p->count, 16) &&
                 guard_holds(&block, p->centre, p->count, 16) &&
                 guard_holds(&block, p->barcode, p->count, sizeof(char *));
    for (size_t i = 0; sound && i < p->count; i++) sound = guard_holds_text(&block, p->barcode[i]);
    if (!sound) {
        guard_block_free(&block);
        return status_make(STATUS_MALFORMED, "%s: reading it went astray; copy or download it again", path);
    }
    *out = *p;
    out->block = block;
    Status status = spots ? compare(path, spots, out) : STATUS_OK;
    if (status != STATUS_OK) hest_patches_free(out);
    else if (!spots) out->centre = NULL;
    return status;
}

void hest_patches_free(HestPatches *p) {
    guard_block_free(&p->block);
    *p = (HestPatches){0};
}

static Status read_pixels(void *context, GuardBlock *block) {
    PatchWork *w = context;
    ForeignFile f;
    hsize_t dims[4];
    hid_t dataset = -1;
    TRY(foreign_open(w->path, &f));
    Status status = open_pixels(&f, &dataset, dims);
    if (status == STATUS_OK && (dims[0] != w->of->count || dims[1] != w->of->height || dims[2] != w->of->width))
        status = status_make(STATUS_MISMATCH, "%s: it has changed since its index was read", w->path);
    size_t each = w->of->height * w->of->width * 3;
    uint8_t *pixels = status == STATUS_OK ? guard_take(block, w->count, each) : NULL;
    if (status == STATUS_OK && !pixels) status = guard_exhausted(block, w->path, w->count, each);
    if (status == STATUS_OK)
        status = h5_read_rows(w->path, "img", dataset, H5T_NATIVE_UINT8, w->first, w->count, pixels);
    block->result = pixels;
    h5_close(dataset);
    foreign_close(&f);
    return status;
}

Status hest_patches_pixels(const char *path, const HestPatches *patches, size_t first, size_t count, GuardLimits limits,
                           uint8_t *pixels) {
    PatchWork work = {path, first, count, patches};
    GuardBlock block;
    if (first > patches->count || count > patches->count - first)
        return status_make(STATUS_INVALID, "%s: patches %zu to %zu of %zu", path, first, first + count, patches->count);
    if (count == 0) return STATUS_OK;
    TRY(guard_run(path, limits, read_pixels, &work, &block));
    size_t each = patches->height * patches->width * 3;
    Status status = STATUS_OK;
    if (guard_holds(&block, block.result, count, each)) memcpy(pixels, block.result, count * each);
    else status = status_make(STATUS_MALFORMED, "%s: reading it went astray; copy or download it again", path);
    guard_block_free(&block);
    return status;
}
