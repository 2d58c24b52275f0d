// predict: predict and embed: a job over the spots of a store, its outputs as CSV or .h5ad, and a map beside
// them.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/json.h"
#include "../data/neighbours.h"
#include "../data/predictions.h"
#include "../report/map.h"
#include "../report/progress.h"
#include "../train/collect.h"
#include "../train/weights_load.h"
#include "commands.h"

typedef struct Prediction {
    const CommandInput *input;
    Session *session;
    Rows *rows;
    Collect *collect;
    int64_t *number; // rows predicted
    int64_t count;
    SpotRef *spots; // [count]
    Store *store;
} Prediction;

// One output as f32[count][columns].
typedef struct Matrix {
    const char *name;
    const Gathered *source;
    int64_t columns;
    const char *const *labels; // [columns]
    const float *values;
    float *converted; // owned, when the output is not f32
} Matrix;

// ---- Names of columns ------------------------------------------------------------------------------------------

// The names that the weights file recorded for an axis; NULL if it has none that fit.
static Status recorded_labels(Prediction *p, int axis, int64_t columns, const char *const **out_labels) {
    Arena *arena = &p->session->arena;
    JsonValue *list = NULL;
    const char **labels = NULL, *text = NULL;
    char *key = arena_printf(arena, "axis.%s", p->session->plan->axis[axis].name);
    if (!key) return arena_exhausted(64, 1);
    TRY(weights_recorded(p->session, p->input->options->weights, key, &text));
    Status status = text ? json_parse(p->input->options->weights, text, strlen(text), arena, &list) : STATUS_OK;
    bool good = list && list->type == JSON_ARRAY && (int64_t)list->length == columns;
    if (status == STATUS_OK && good) status = ARENA_NEW(arena, labels, (size_t)columns + 1);
    for (int64_t i = 0; labels && i < columns; i++)
        labels[i] = list->items[i].type == JSON_STRING ? list->items[i].string : "";
    *out_labels = labels;
    return status;
}

// From the weights (what the model was trained on), else the store, else NAME_0, NAME_1, …
static Status find_labels(Prediction *p, Matrix *m) {
    Session *s = p->session;
    const StmTensor *tensor = m->source->tensor;
    int axis = tensor->rank == 2 ? tensor->axis[1] : -1;
    if (axis >= 0) {
        const char *const *store_labels = NULL;
        int64_t count = 0;
        TRY(recorded_labels(p, axis, m->columns, &m->labels));
        TRY(rows_axis_labels(p->rows, s, axis, &store_labels, &count));
        if (store_labels && count != m->columns) store_labels = NULL;
        for (int64_t i = 0; m->labels && store_labels && i < count; i++)
            if (strcmp(m->labels[i], store_labels[i]) != 0)
                return status_make(
                    STATUS_MISMATCH,
                    "axis %s: %s was trained with %s at place %lld, %s has %s there; use the data that the weights "
                    "belong to",
                    s->plan->axis[axis].name, p->input->options->weights, m->labels[i], (long long)i + 1,
                    p->input->options->files[0], store_labels[i]);
        if (!m->labels) m->labels = store_labels;
    }
    if (m->labels) return STATUS_OK;
    const char **labels = NULL;
    TRY(ARENA_NEW(&s->arena, labels, (size_t)m->columns + 1));
    for (int64_t i = 0; i < m->columns; i++) {
        labels[i] = m->columns == 1 ? m->name : arena_printf(&s->arena, "%s_%lld", m->name, (long long)i);
        if (!labels[i]) return arena_exhausted(32, 1);
    }
    m->labels = labels;
    return STATUS_OK;
}

static Status make_matrix(Prediction *p, const Gathered *source, Matrix *m) {
    *m = (Matrix){.name = source->name, .source = source, .columns = source->row_elements};
    if (source->tensor->type == STM_F32) {
        m->values = (const float *)(const void *)source->data;
    } else {
        int64_t elements = p->count * m->columns;
        m->converted = malloc((size_t)(elements + 1) * sizeof *m->converted);
        if (!m->converted) return status_make(STATUS_NO_MEMORY, "no memory for output %s", m->name);
        for (int64_t i = 0; i < elements; i++)
            m->converted[i] = (float)element_value(source->tensor->type, source->data, i);
        m->values = m->converted;
    }
    return find_labels(p, m);
}

// ---- Writing ---------------------------------------------------------------------------------------------------

// "dir/name.ext" with `.part` before the ending.
static const char *named_path(Arena *arena, const char *path, const char *part, const char *ending) {
    const char *base = path_base(path), *dot = strrchr(base, '.');
    size_t stem = dot ? (size_t)(dot - path) : strlen(path);
    return arena_printf(arena, "%.*s%s%s%s", (int)stem, path, part ? "." : "", part ? part : "",
                        ending ? ending
                        : dot  ? dot
                               : "");
}

// The dataset that the output is compared with in training, when the store has it; else NULL.
static Status read_truth(Prediction *p, const Matrix *m, float **out_truth) {
    const StmPlan *plan = p->session->plan;
    *out_truth = NULL;
    if (!plan->train.compare || !plan->train.with || strcmp(plan->train.compare, m->name) != 0) return STATUS_OK;
    int tensor = plan_tensor(plan, STM_INPUT, plan->train.with);
    if (tensor < 0 || !plan->tensor[tensor].dataset || plan->tensor[tensor].type != STM_F32) return STATUS_OK;
    RowFeed feed;
    Status status = rows_bind(p->rows, p->session, tensor, p->session->machine->bound, &feed);
    if (status != STATUS_OK) { // a store without the truth is what prediction is for
        status_drop(status);
        return STATUS_OK;
    }
    if (feed.row_bytes != m->columns * (int64_t)sizeof(float)) return STATUS_OK;
    *out_truth = malloc((size_t)(feed.row_bytes * p->count));
    if (!*out_truth) return status_make(STATUS_NO_MEMORY, "no memory for the truth");
    return rows_read(p->rows, &feed, p->number, p->count, *out_truth);
}

static Status write_matrix(Prediction *p, const Matrix *m, const float *truth, const char *path) {
    char *program = arena_printf(&p->session->arena, "%s, stmc %s", p->session->plan->name, p->session->plan->version);
    if (!program) return arena_exhausted(64, 1);
    Predictions predictions = {
        .store = p->store,
        .spots = p->spots,
        .n_rows = (size_t)p->count,
        .n_columns = (size_t)m->columns,
        .columns = m->labels,
        .values = m->values,
        .truth = truth,
        .program = program,
    };
    TRY(predictions_write(path, &predictions));
    printf("%s: %lld %ss, %lld column%s\n", path, (long long)p->count, session_row_name(p->session),
           (long long)m->columns, m->columns == 1 ? "" : "s");
    return STATUS_OK;
}

// The column that varies most over the section: the one worth looking at.
static int64_t liveliest(const Matrix *m, int64_t first, int64_t count) {
    int64_t best = 0;
    double most = -1;
    for (int64_t k = 0; k < m->columns; k++) {
        double sum = 0, squares = 0;
        for (int64_t r = first; r < first + count; r++) {
            double v = (double)m->values[r * m->columns + k];
            sum += v;
            squares += v * v;
        }
        double variance = squares / (double)count - sum / (double)count * sum / (double)count;
        if (variance > most) {
            most = variance;
            best = k;
        }
    }
    return best;
}

static Status draw_section(Prediction *p, const Matrix *m, const float *truth, int64_t first, int64_t count,
                           const char *path) {
    SpotRef spot = p->spots[first];
    const StoreSection *section = &store_info(p->store)->sections[spot.section];
    int64_t column = liveliest(m, first, count);
    float *values = malloc((size_t)count * 2 * sizeof *values);
    double *xy = malloc((size_t)count * 2 * sizeof *xy);
    Picture thumbnail = {0};
    double diameter = section->spot_diameter > 0 ? section->spot_diameter : 0.3 * (section->pitch_x + section->pitch_y);
    Status status = values && xy ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for the map");
    if (status == STATUS_OK && section->thumbnail_scale_x > 0) // a section may lack a picture
        status = store_read_thumbnail(p->store, spot.section, &thumbnail);
    if (status == STATUS_OK) {
        for (int64_t i = 0; i < count; i++) {
            uint32_t row = p->spots[first + i].row;
            values[i] = m->values[(first + i) * m->columns + column];
            if (truth) values[count + i] = truth[(first + i) * m->columns + column];
            xy[2 * i] = section->pixel[2 * row];
            xy[2 * i + 1] = section->pixel[2 * row + 1];
        }
        double pitch = NAN; // of neither spot nor array anything may be known
        if (!(diameter > 0)) status = neighbour_pitch(xy, (size_t)count, 2, &pitch);
        if (!(diameter > 0)) diameter = pitch > 0 ? 0.6 * pitch : 1;
        MapPanel panels[2] = {{"prediction", values}, {"truth", values + count}};
        char title[200];
        snprintf(title, sizeof title, "%.80s, section %.80s", p->session->plan->name, section->name);
        SpatialMap map = {
            .title = title,
            .subtitle = m->labels[column],
            .image = thumbnail.rgb,
            .image_width = thumbnail.width,
            .image_height = thumbnail.height,
            .image_scale_x = section->thumbnail_scale_x,
            .image_scale_y = section->thumbnail_scale_y,
            .n_spots = (size_t)count,
            .xy = xy,
            .spot_diameter = diameter,
            .unit_in_microns = section->microns_per_pixel,
            .n_panels = truth ? 2 : 1,
            .panels = panels,
            .value_name = m->labels[column],
            .shared_scale = false,
        };
        if (status == STATUS_OK) status = map_write_png(path, &map);
    }
    if (status == STATUS_OK) printf("%s: map of %s\n", path, m->labels[column]);
    picture_free(&thumbnail);
    free(values);
    free(xy);
    return status;
}

// One map per section; with several sections each gets its name before the ending.
static Status draw_maps(Prediction *p, const Matrix *m, const float *truth) {
    const Options *o = p->input->options;
    Arena *arena = &p->session->arena;
    if (o->map && strcmp(o->map, "none") == 0) return STATUS_OK;
    const char *path = o->map ? o->map : named_path(arena, o->out, NULL, ".png");
    bool several = p->count && p->spots[0].section != p->spots[p->count - 1].section;
    for (int64_t first = 0; first < p->count;) {
        int64_t count = 1;
        while (first + count < p->count && p->spots[first + count].section == p->spots[first].section) count++;
        const char *name = store_info(p->store)->sections[p->spots[first].section].name;
        const char *own = several && path ? named_path(arena, path, name, NULL) : path;
        if (!own) return arena_exhausted(64, 1);
        TRY_IN(draw_section(p, m, truth, first, count, own), "map of section %s", name);
        first += count;
    }
    return STATUS_OK;
}

static Status write_outputs(Prediction *p) {
    const Options *o = p->input->options;
    for (int i = 0; i < p->collect->gathereds; i++) {
        Matrix matrix;
        float *truth = NULL;
        // The first output has the name that was asked for, others add their own to it.
        const char *path = i ? named_path(&p->session->arena, o->out, p->collect->gathered[i].name, NULL) : o->out;
        Status status = path ? make_matrix(p, &p->collect->gathered[i], &matrix) : arena_exhausted(64, 1);
        if (!path) return status;
        if (status == STATUS_OK) status = read_truth(p, &matrix, &truth);
        if (status == STATUS_OK) status = write_matrix(p, &matrix, truth, path);
        if (status == STATUS_OK && i == 0 && o->command == COMMAND_PREDICT) status = draw_maps(p, &matrix, truth);
        free(matrix.converted);
        free(truth);
        TRY(status);
    }
    return STATUS_OK;
}

// ---- The commands ----------------------------------------------------------------------------------------------

static void run_progress(void *context, int64_t done, int64_t all) {
    (void)all;
    progress_update(context, done, "");
}

static Status select_rows(Prediction *p) {
    const Options *o = p->input->options;
    size_t number = 0;
    TRY(command_rows(p->input, p->rows, &p->number, &p->count));
    if (p->count == 0)
        return status_make(STATUS_INVALID, "%s has no %ss to predict", o->files[0], session_row_name(p->session));
    TRY(ARENA_NEW(&p->session->arena, p->spots, (size_t)p->count));
    for (int64_t i = 0; i < p->count; i++) {
        int section = rows_place(p->rows, p->number[i]).section;
        rows_store(p->rows, section, &p->store, &number);
        p->spots[i] = (SpotRef){(uint32_t)number, (uint32_t)(p->number[i] - rows_section(p->rows, section)->first)};
    }
    return STATUS_OK;
}

static Status run(Prediction *p) {
    const Options *o = p->input->options;
    const StmJob *job = plan_job(p->session->plan, command_name(o->command));
    TRY(select_rows(p));
    TRY(command_weights(p->input));
    TRY(collect_new(p->session, p->rows, job, command_batch(p->input), p->count, &p->collect));
    Progress progress = progress_new(stderr, session_row_name(p->session));
    RunHooks hooks = {run_progress, &progress, p->input->stop};
    progress_begin(&progress, command_name(o->command), 0, p->count);
    Status status = collect_run(p->collect, p->number, p->count, &hooks);
    progress_end(&progress);
    return status == STATUS_OK ? write_outputs(p) : status;
}

Status command_predict(const CommandInput *input) {
    Prediction p = {.input = input, .session = input->session};
    TRY(rows_open(input->options->files, input->options->files_n, &p.rows));
    Status status = command_start(input);
    if (status == STATUS_OK) status = run(&p);
    collect_free(p.collect);
    free(p.number);
    rows_close(p.rows);
    return status;
}
