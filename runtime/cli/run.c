// run: prepare, train and evaluate; and what all commands share.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/json.h"
#include "../data/prepare.h"
#include "../program/profile.h"
#include "../report/progress.h"
#include "../train/checkpoint.h"
#include "../train/evaluate.h"
#include "../train/recipe.h"
#include "../train/runlog.h"
#include "../train/trainer.h"
#include "commands.h"

Status command_start(const CommandInput *input) {
    Text note = {0};
    Status status =
        session_start_on(input->session, input->code, input->options->device, (int)input->options->threads, &note);
    if (note.length) fprintf(stderr, "note: computing on the CPU: %s\n", text_string(&note));
    text_free(&note);
    TRY(status);
    return input->options->profile ? machine_profile_start(input->session->machine, &input->session->arena) : STATUS_OK;
}

Status command_profile(const CommandInput *input) {
    if (!input->options->profile || !input->session->machine) return STATUS_OK;
    Text table = {0};
    Status status = profile_table(input->session->machine, &table);
    if (status == STATUS_OK) fprintf(stderr, "\n%s", text_string(&table)); // stderr: stdout may be JSON
    text_free(&table);
    return status;
}

int64_t command_batch(const CommandInput *input) {
    const Session *s = input->session;
    if (input->options->batch > 0) return input->options->batch;
    int64_t bound = s->batch_axis >= 0 ? s->plan->axis[s->batch_axis].count : 1;
    return bound > 0 ? bound : 1;
}

// ---- prepare ---------------------------------------------------------------------------------------------------

typedef struct PrepareScreen {
    Progress progress;
    const volatile sig_atomic_t *stop;
    char what[48];
} PrepareScreen;

static bool prepare_progress(void *context, const char *what, double fraction) {
    PrepareScreen *screen = context;
    progress_update(&screen->progress, (int64_t)(fraction * 1000), what);
    return !*screen->stop;
}

// A number of the prepare block; `value` stays as it is when the block has none.
static Status recipe_number(const Session *session, const char *name, double low, double high, double *value) {
    char buffer[RECIPE_TEXT];
    const char *text = recipe_value(session, name, buffer);
    if (!text) return STATUS_OK;
    double number;
    if (!parse_f64(text, strlen(text), &number) || !(number >= low && number <= high))
        return status_make(STATUS_INVALID, "prepare block: %s = %s: a number from %g to %g is needed", name, text, low,
                           high);
    *value = number;
    return STATUS_OK;
}

// Collects what the spec wants prepared: tile size and pitch, and the tables of proportions.
static Status prepare_options(const CommandInput *input, PrepareOptions *out, const char **depths) {
    const Session *s = input->session;
    const StmPlan *plan = s->plan;
    char buffer[RECIPE_TEXT], name[RECIPE_TEXT];
    *out = prepare_defaults();
    const char *layout = recipe_value(s, "layout", buffer);
    if (layout && strcmp(layout, "legacy_st") != 0)
        return status_make(STATUS_UNSUPPORTED,
                           "prepare block: layout \"%s\" is not known; this program reads \"legacy_st\"", layout);
    for (int p = 0; p < plan->prepares; p++) {
        const char *entry = plan->prepare[p].name, *value = recipe_value(s, entry, buffer);
        if (strchr(entry, '.') || strcmp(entry, "layout") == 0) continue;
        if (strcmp(value, "tile") == 0) {
            double size = (double)out->tile_size, deflate = out->deflate;
            snprintf(name, sizeof name, "%.200s.size", entry);
            TRY(recipe_number(s, name, 1, 4096, &size));
            snprintf(name, sizeof name, "%.200s.pitch", entry);
            TRY(recipe_number(s, name, 1e-3, 4096, &out->pitch));
            snprintf(name, sizeof name, "%.200s.deflate", entry);
            TRY(recipe_number(s, name, 0, 9, &deflate));
            snprintf(name, sizeof name, "%.200s.filter", entry);
            const char *filter = recipe_value(s, name, buffer);
            if (filter && strcmp(filter, "box") != 0 && strcmp(filter, "bilinear") != 0)
                return status_make(STATUS_INVALID, "prepare block: %s = %s: the filters are box and bilinear", name,
                                   filter);
            if (filter) out->filter = strcmp(filter, "box") == 0 ? RESAMPLE_BOX : RESAMPLE_BILINEAR;
            out->tile_size = (size_t)size;
            out->deflate = (int)deflate;
            continue;
        }
        Recipe recipe;
        TRY(recipe_dataset(s, entry, &recipe));
        if (recipe.kind != RECIPE_TABLE) continue;
        out->ranks = out->ranks || recipe.rank;
        bool known = false;
        for (size_t i = 0; i < out->n_depths; i++) known = known || strcmp(depths[i], recipe.proportions) == 0;
        if (known || !*recipe.proportions) continue;
        char *copy = NULL;
        TRY(ARENA_COPY(&input->session->arena, copy, recipe.proportions, strlen(recipe.proportions)));
        depths[out->n_depths++] = copy;
    }
    out->depths = out->n_depths ? depths : NULL;
    return STATUS_OK;
}

Status command_prepare(const CommandInput *input) {
    const Options *o = input->options;
    const char **depths = NULL;
    PrepareOptions options;
    PrepareReport report = {0};
    TRY(ARENA_NEW(&input->session->arena, depths, (size_t)input->session->plan->prepares + 1));
    TRY(prepare_options(input, &options, depths));
    char *program =
        arena_printf(&input->session->arena, "%s, stmc %s", input->session->plan->name, input->session->plan->version);
    if (!program) return arena_exhausted(64, 1);
    PrepareScreen screen = {.progress = progress_new(stderr, "step"), .stop = input->stop};
    options.program = program;
    options.sections = o->section;
    options.n_sections = (size_t)o->section_n;
    if (o->depth_n) {
        options.depths = o->depth;
        options.n_depths = (size_t)o->depth_n;
    }
    options.progress = prepare_progress;
    options.context = &screen;
    progress_begin(&screen.progress, "prepare", 0, 1000);
    Status status = prepare_legacy_st(o->from, o->out, &options, &report);
    progress_end(&screen.progress);
    if (status == STATUS_OK) {
        printf("%s: %zu section%s, %zu spot%s, tiles of %zu x %zu pixels\n", o->out, report.n_sections,
               report.n_sections == 1 ? "" : "s", report.n_spots, report.n_spots == 1 ? "" : "s", options.tile_size,
               options.tile_size);
        if (report.n_edge_tiles) printf("%zu tiles reach over the edge of their picture\n", report.n_edge_tiles);
        fputs(text_string(&report.notes), stdout);
    }
    prepare_report_free(&report);
    return status;
}

// ---- train -----------------------------------------------------------------------------------------------------

Status command_train(const CommandInput *input) {
    const Options *o = input->options;
    char fingerprint[17];
    plan_fingerprint(input->plan_text, input->plan_size, fingerprint);
    TRY(command_start(input));
    TrainOptions options = {
        .files = o->files,
        .files_n = o->files_n,
        .out = o->out,
        .hold_out = o->hold_out,
        .hold_out_n = o->hold_out_n,
        .seed = (uint32_t)o->seed,
        .epochs = o->epochs,
        .batch = o->batch > 0 ? o->batch : 0,
        .checkpoint_epochs = o->checkpoint_epochs,
        .checkpoint_seconds = o->checkpoint_seconds,
        .resume = o->resume,
        .overwrite = o->overwrite,
        .fingerprint = fingerprint,
        .log = stdout,
        .screen = stderr,
        .stop = input->stop,
    };
    TrainResult result;
    return train_run(input->session, &options, &result);
}

// ---- evaluate --------------------------------------------------------------------------------------------------

static Status select_sections(const CommandInput *input, Rows *rows, int64_t **out_numbers, int64_t *out_count) {
    bool *use = NULL;
    TRY(ARENA_NEW(&input->session->arena, use, (size_t)rows_sections(rows) + 1));
    for (int i = 0; i < input->options->section_n; i++) {
        int section = 0;
        TRY_IN(rows_find_section(rows, input->options->section[i], &section), "--section");
        use[section] = true;
    }
    return rows_select(rows, input->options->section_n ? use : NULL, out_numbers, out_count);
}

// What a metric's columns are called: the store's names, or numbers.
static Status metric_label(Session *s, Rows *rows, const Metric *metric, int64_t k, char text[QUOTED_TEXT]) {
    const char *const *labels = NULL;
    int64_t count = 0;
    TRY(rows_axis_labels(rows, s, metric->axis, &labels, &count));
    if (labels && k < count) snprintf(text, QUOTED_TEXT, "%.60s", labels[k]);
    else snprintf(text, QUOTED_TEXT, "%lld", (long long)k);
    return STATUS_OK;
}

static Status evaluation_json(const CommandInput *input, Rows *rows, const Evaluator *e, int64_t count) {
    const Options *o = input->options;
    Session *s = input->session;
    JsonWriter w = json_writer(2);
    Status status = STATUS_OK;
    json_begin_object(&w);
    json_key(&w, "program"), json_string(&w, s->plan->name);
    json_key(&w, "weights"), json_string(&w, o->weights);
    json_key(&w, "files");
    json_begin_array(&w);
    for (int i = 0; i < o->files_n; i++) json_string(&w, o->files[i]);
    json_end_array(&w);
    json_key(&w, "sections");
    json_begin_array(&w);
    for (int i = 0; i < o->section_n; i++) json_string(&w, o->section[i]);
    for (int i = 0; i < rows_sections(rows) && !o->section_n; i++) json_string(&w, rows_section(rows, i)->name);
    json_end_array(&w);
    json_key(&w, "rows"), json_integer(&w, count);
    json_key(&w, "loss"), json_number(&w, e->loss);
    for (int i = 0; i < e->count && status == STATUS_OK; i++) {
        const Metric *metric = &e->metric[i];
        char label[QUOTED_TEXT];
        json_key(&w, metric->name);
        if (!metric->column) {
            json_number(&w, metric->value[0]);
            continue;
        }
        json_begin_object(&w);
        for (int64_t k = 0; k < metric->count && status == STATUS_OK; k++) {
            status = metric_label(s, rows, metric, k, label);
            json_key(&w, label);
            json_number(&w, metric->value[k]);
        }
        json_end_object(&w);
    }
    json_end_object(&w);
    if (status == STATUS_OK) status = text_status(&w.text);
    if (status == STATUS_OK) puts(text_string(&w.text));
    json_writer_free(&w);
    return status;
}

static Status evaluation_table(const CommandInput *input, Rows *rows, const Evaluator *e, int64_t count) {
    Session *s = input->session;
    char value[VALUE_TEXT], low[VALUE_TEXT], high[VALUE_TEXT], low_name[QUOTED_TEXT], high_name[QUOTED_TEXT];
    printf("%lld %ss\n\n%-24s %12s\n", (long long)count, session_row_name(s), "", "value");
    if (!isnan(e->loss)) printf("%-24s %12s\n", "loss", value_text(e->loss, value));
    for (int i = 0; i < e->count; i++) {
        const Metric *metric = &e->metric[i];
        if (!metric->column) {
            printf("%-24s %12s\n", metric->name, value_text(metric->value[0], value));
            continue;
        }
        int64_t least = -1, most = -1;
        for (int64_t k = 0; k < metric->count; k++) {
            if (isnan(metric->value[k])) continue;
            if (least < 0 || metric->value[k] < metric->value[least]) least = k;
            if (most < 0 || metric->value[k] > metric->value[most]) most = k;
        }
        printf("%-24s %12s", metric->name, value_text(metric_mean(metric), value));
        if (least >= 0) {
            TRY(metric_label(s, rows, metric, least, low_name));
            TRY(metric_label(s, rows, metric, most, high_name));
            printf("  mean of %lld; lowest %s (%s), highest %s (%s)", (long long)metric->count,
                   value_text(metric->value[least], low), low_name, value_text(metric->value[most], high), high_name);
        }
        printf("\n");
    }
    return STATUS_OK;
}

static void run_progress(void *context, int64_t done, int64_t all) {
    (void)all;
    progress_update(context, done, "");
}

static Status evaluate_with(const CommandInput *input, Rows *rows) {
    Session *s = input->session;
    Evaluator *evaluator = NULL;
    int64_t *numbers = NULL, count = 0;
    TRY(weights_load(s, input->options->weights));
    Status status = select_sections(input, rows, &numbers, &count);
    if (status == STATUS_OK) status = evaluator_new(s, rows, command_batch(input), count, &evaluator);
    if (status == STATUS_OK) {
        Progress progress = progress_new(stderr, session_row_name(s));
        RunHooks hooks = {run_progress, &progress, input->stop};
        progress_begin(&progress, "evaluate", 0, count);
        status = evaluate_rows(evaluator, numbers, count, &hooks);
        progress_end(&progress);
    }
    if (status == STATUS_OK)
        status = input->options->json ? evaluation_json(input, rows, evaluator, count)
                                      : evaluation_table(input, rows, evaluator, count);
    evaluator_free(evaluator);
    free(numbers);
    return status;
}

Status command_evaluate(const CommandInput *input) {
    Rows *rows = NULL;
    TRY(rows_open(input->options->files, input->options->files_n, &rows));
    Status status = command_start(input);
    if (status == STATUS_OK) status = evaluate_with(input, rows);
    rows_close(rows);
    return status;
}
