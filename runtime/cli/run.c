// run: train and evaluate; and what all commands share.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/json.h"
#include "../program/profile.h"
#include "../report/progress.h"
#include "../train/checkpoint.h"
#include "../train/evaluate.h"
#include "../train/runlog.h"
#include "../train/trainer.h"
#include "../train/weights_load.h"
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

Status command_weights(const CommandInput *input) {
    Text notes = {0};
    Status status = weights_load(input->session, input->options->weights, &notes);
    if (status == STATUS_OK) status = text_status(&notes);
    if (status == STATUS_OK) fputs(text_string(&notes), stderr); // stdout may be JSON
    text_free(&notes);
    return status;
}

int64_t command_batch(const CommandInput *input) {
    const Session *s = input->session;
    if (input->options->batch > 0) return input->options->batch;
    int64_t bound = s->batch_axis >= 0 ? s->plan->axis[s->batch_axis].count : 1;
    return bound > 0 ? bound : 1;
}

Status command_rows(const CommandInput *input, Rows *rows, int64_t **out_numbers, int64_t *out_count) {
    const Options *o = input->options;
    Arena *arena = &input->session->arena;
    bool *use = NULL;
    char *split = NULL;
    TRY(ARENA_NEW(arena, use, (size_t)rows_sections(rows) + 1));
    for (int i = 0; i < o->section_n; i++) {
        int section = 0;
        TRY_IN(rows_find_section(rows, o->section[i], &section), "--section");
        use[section] = true;
    }
    if (!o->section_n) use = NULL;
    if (!o->split) return rows_select(rows, use, out_numbers, out_count);
    TRY(ARENA_COPY(arena, split, o->split, strlen(o->split)));
    char *colon = strchr(split, ':'); // options.c has checked that there is one
    *colon = '\0';
    TRY_IN(rows_select_part(rows, use, split, colon + 1, out_numbers, out_count), "--split");
    if (*out_count > 0) return STATUS_OK;
    free(*out_numbers);
    *out_numbers = NULL;
    return status_make(STATUS_INVALID, "--split %s: no %s of %s is in this part", o->split,
                       session_row_name(input->session), o->section_n ? "the sections of --section" : "the store");
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
        .split = o->split,
        .weights = o->weights,
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
    json_key(&w, "split");
    if (o->split) json_string(&w, o->split);
    else json_null(&w);
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
    TRY(command_weights(input));
    Status status = command_rows(input, rows, &numbers, &count);
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
