// predictions: see predictions.h. CSV is written here; for h5ad an Annotated is built, which h5ad_write.h writes.
#include "predictions.h"

#include <math.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "h5ad_write.h"

static Status check_predictions(const Predictions *p) {
    const StoreInfo *info = store_info(p->store);
    if (p->n_rows == 0 || p->n_columns == 0) return status_make(STATUS_INVALID, "no predictions to write");
    for (size_t i = 0; i < p->n_rows; i++)
        if (p->spots[i].section >= info->n_sections || p->spots[i].row >= info->sections[p->spots[i].section].n_spots)
            return status_make(STATUS_INVALID, "prediction %zu is for a spot that the store does not have", i);
    return STATUS_OK;
}

Status predictions_write(const char *path, const Predictions *predictions) {
    if (string_ends_with(path, ".csv")) return predictions_write_csv(path, predictions);
    if (string_ends_with(path, ".h5ad")) return predictions_write_h5ad(path, predictions);
    return status_make(STATUS_INVALID, "%s: predictions are written as .csv or .h5ad; choose one of these endings",
                       path);
}

// ---- CSV ----------------------------------------------------------------------------------------

static void add_csv_field(Text *line, const char *field) {
    if (!strpbrk(field, ",\"\r\n")) {
        text_add(line, field);
        return;
    }
    text_add(line, "\"");
    for (const char *p = field; *p; p++) {
        if (*p == '"') text_add(line, "\"");
        text_append(line, p, 1);
    }
    text_add(line, "\"");
}

static Status write_csv_lines(AtomicFile *file, const Predictions *p, Text *line) {
    const StoreInfo *info = store_info(p->store);
    text_add(line, "spot,section");
    for (size_t c = 0; c < p->n_columns; c++) {
        text_add(line, ",");
        add_csv_field(line, p->columns[c]);
    }
    for (size_t i = 0; i <= p->n_rows; i++) {
        text_add(line, "\n");
        TRY(text_status(line));
        TRY(atomic_write(file, text_string(line), line->length));
        if (i == p->n_rows) break;
        const StoreSection *section = &info->sections[p->spots[i].section];
        text_clear(line);
        add_csv_field(line, section->ids[p->spots[i].row]);
        text_add(line, ",");
        add_csv_field(line, section->name);
        for (size_t c = 0; c < p->n_columns; c++) {
            char number[NUMBER_TEXT];
            text_add(line, ",");
            text_append(line, number, number_f32(p->values[i * p->n_columns + c], number));
        }
    }
    return STATUS_OK;
}

Status predictions_write_csv(const char *path, const Predictions *predictions) {
    AtomicFile file;
    Text line = {0};
    TRY(check_predictions(predictions));
    TRY(atomic_open(&file, path));
    Status status = write_csv_lines(&file, predictions, &line);
    text_free(&line);
    if (status == STATUS_OK) return atomic_commit(&file);
    atomic_abort(&file);
    return status;
}

// ---- h5ad ---------------------------------------------------------------------------------------

// The sections that occur, and per section its category number (-1: absent).
static Status find_categories(const Predictions *p, Arena *arena, int32_t **out_category, Column *column) {
    const StoreInfo *info = store_info(p->store);
    int32_t *category = NULL;
    *column = (Column){.name = "section", .kind = COLUMN_CATEGORY};
    TRY(ARENA_NEW(arena, category, info->n_sections));
    TRY(ARENA_NEW(arena, column->category, info->n_sections));
    TRY(ARENA_NEW(arena, column->code, p->n_rows));
    for (size_t s = 0; s < info->n_sections; s++) category[s] = -1;
    for (size_t i = 0; i < p->n_rows; i++) category[p->spots[i].section] = 0;
    for (size_t s = 0; s < info->n_sections; s++) {
        if (category[s] < 0) continue;
        category[s] = (int32_t)column->categories;
        column->category[column->categories++] = (char *)info->sections[s].name;
    }
    for (size_t i = 0; i < p->n_rows; i++) column->code[i] = category[p->spots[i].section];
    *out_category = category;
    return STATUS_OK;
}

static Status add_rows(const Predictions *p, const Column *sections, Annotated *a) {
    const StoreInfo *info = store_info(p->store);
    Arena *arena = &a->arena;
    size_t n = p->n_rows;
    Column spot = {.name = "spot", .kind = COLUMN_TEXT};
    Column array[2] = {{.name = "array_col", .kind = COLUMN_INTEGER}, {.name = "array_row", .kind = COLUMN_INTEGER}};
    Column pixel[2] = {{.name = "pixel_x", .kind = COLUMN_REAL}, {.name = "pixel_y", .kind = COLUMN_REAL}};
    Embedding *spatial = NULL;
    TRY(ARENA_NEW(arena, a->x.row_name, n));
    TRY(ARENA_NEW(arena, spot.text, n));
    TRY(ARENA_NEW(arena, spatial, 1));
    *spatial = (Embedding){.name = "spatial", .width = 2};
    TRY(ARENA_NEW(arena, spatial->value, 2 * n));
    for (int axis = 0; axis < 2; axis++) {
        TRY(ARENA_NEW(arena, array[axis].integer, n));
        TRY(ARENA_NEW(arena, pixel[axis].real, n));
    }
    for (size_t i = 0; i < n; i++) {
        size_t row = p->spots[i].row;
        const StoreSection *section = &info->sections[p->spots[i].section];
        spot.text[i] = section->ids[row];
        a->x.row_name[i] =
            sections->categories == 1 ? spot.text[i] : arena_printf(arena, "%s_%s", section->name, spot.text[i]);
        if (!a->x.row_name[i]) return arena_exhausted(n, sizeof *a->x.row_name);
        for (size_t axis = 0; axis < 2; axis++) {
            array[axis].integer[i] = section->array[2 * row + axis];
            pixel[axis].real[i] = spatial->value[2 * i + axis] = section->pixel[2 * row + axis];
        }
    }
    a->obs.rows = n;
    a->embedding = spatial;
    a->n_embeddings = 1;
    TRY(frame_add(&a->obs, arena, &spot));
    TRY(frame_add(&a->obs, arena, sections));
    for (int axis = 0; axis < 2; axis++) TRY(frame_add(&a->obs, arena, &array[axis]));
    for (int axis = 0; axis < 2; axis++) TRY(frame_add(&a->obs, arena, &pixel[axis]));
    return STATUS_OK;
}

// Every section that occurs, with its thumbnail as the high-resolution picture.
static Status add_libraries(const Predictions *p, const int32_t *category, size_t count, Annotated *a) {
    const StoreInfo *info = store_info(p->store);
    TRY(ARENA_NEW(&a->arena, a->library, count));
    for (size_t s = 0; s < info->n_sections; s++) {
        if (category[s] < 0) continue;
        const StoreSection *section = &info->sections[s];
        SpatialLibrary *library = &a->library[a->n_libraries++];
        bool picture = section->thumbnail_scale_x > 0;
        double step = 0.5 * (section->pitch_x + section->pitch_y);
        *library = (SpatialLibrary){
            .name = (char *)section->name,
            .has_scale = true,
            // Where nobody says, a spot is taken to be half as wide as the array step (100 µm of 200 µm).
            .spot_diameter_fullres = section->spot_diameter > 0 ? section->spot_diameter
                                     : step > 0                 ? 0.5 * step
                                                                : NAN,
            .tissue_hires_scalef = picture ? section->thumbnail_scale_x : NAN,
            .tissue_lowres_scalef = NAN,
            .fiducial_diameter_fullres = NAN,
        };
        if (picture) TRY(store_read_thumbnail(p->store, s, &library->hires));
    }
    return STATUS_OK;
}

static Status describe(const Predictions *p, Annotated *a) {
    int32_t *category = NULL;
    Column sections;
    TRY(find_categories(p, &a->arena, &category, &sections));
    a->x.rows = p->n_rows;
    a->x.columns = p->n_columns;
    a->x.column_name = (char **)p->columns;
    TRY(add_rows(p, &sections, a));
    return add_libraries(p, category, sections.categories, a);
}

Status predictions_write_h5ad(const char *path, const Predictions *predictions) {
    Annotated annotated = {0};
    const H5adDense dense[2] = {{NULL, predictions->values}, {"truth", predictions->truth}};
    H5adOptions options = {.dense = dense, .n_dense = predictions->truth ? 2 : 1, .program = predictions->program};
    TRY(check_predictions(predictions));
    arena_init(&annotated.arena);
    Status status = describe(predictions, &annotated);
    if (status == STATUS_OK) status = h5ad_write(path, &annotated, &options);
    annotated_free(&annotated);
    return status;
}
