// setup: see setup.h.
#include "setup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/json.h"
#include "../core/strings.h"
#include "../data/sha256.h"
#include "../device/runner.h"

// Whole sections: those of --hold-out validate, the others train.
static Status split_sections(Run *run) {
    const TrainOptions *options = run->options;
    const Rows *rows = run->rows;
    int sections = rows_sections(rows);
    for (int i = 0; i < options->hold_out_n; i++) {
        int section = 0;
        TRY_IN(rows_find_section(rows, options->hold_out[i], &section), "--hold-out");
        run->held_out[section] = true;
    }
    if (options->hold_out_n) TRY(rows_select(rows, run->held_out, &run->valid_rows, &run->valid_n));
    bool *trained = calloc((size_t)sections + 1, sizeof *trained);
    if (!trained) return status_make(STATUS_NO_MEMORY, "no memory for %d sections", sections);
    for (int i = 0; i < sections; i++) trained[i] = !run->held_out[i];
    Status status = rows_select(rows, trained, &run->train_rows, &run->train_n);
    free(trained);
    TRY(status);
    if (run->train_n == 0)
        return status_make(STATUS_INVALID, "nothing is left to train on: %s",
                           options->hold_out_n ? "--hold-out names every section" : "the store has no rows");
    if (options->hold_out_n && run->valid_n == 0)
        return status_make(STATUS_INVALID, "--hold-out: the sections have no rows");
    return STATUS_OK;
}

// The parts of a split that the store brings; what is in neither of them is left alone.
static Status split_parts(Run *run) {
    const char *split = run->options->split;
    TRY_IN(rows_select_part(run->rows, NULL, split, "train", &run->train_rows, &run->train_n), "--split");
    TRY_IN(rows_select_part(run->rows, NULL, split, "validation", &run->valid_rows, &run->valid_n), "--split");
    run->split_validates = run->valid_n;
    if (run->train_n == 0)
        return status_make(STATUS_INVALID, "--split %s: no row is in its part train, so there is nothing to train on",
                           split);
    return STATUS_OK;
}

// Adds the rows of a list to the sections that they are of.
static void count_rows(const Run *run, const int64_t *numbers, int64_t count, int64_t *of_section) {
    for (int64_t i = 0; i < count; i++) of_section[rows_place(run->rows, numbers[i]).section]++;
}

static Status split_rows(Run *run) {
    Arena *arena = &run->session->arena;
    size_t sections = (size_t)rows_sections(run->rows);
    TRY(ARENA_NEW(arena, run->held_out, sections + 1));
    TRY(ARENA_NEW(arena, run->trained, sections + 1));
    TRY(ARENA_NEW(arena, run->validated, sections + 1));
    TRY(run->options->split ? split_parts(run) : split_sections(run));
    count_rows(run, run->train_rows, run->train_n, run->trained);
    count_rows(run, run->valid_rows, run->valid_n, run->validated);
    run->order = malloc((size_t)run->train_n * sizeof *run->order);
    return run->order ? STATUS_OK
                      : status_make(STATUS_NO_MEMORY, "no memory for %lld row numbers", (long long)run->train_n);
}

static Status decide_sizes(Run *run) {
    const StmTrain *train = &run->session->plan->train;
    run->batch = run->options->batch > 0 ? run->options->batch : train->batch;
    if (run->batch < 1) return status_make(STATUS_INVALID, "the spec names no batch size; give --batch");
    run->epochs = run->options->epochs >= 0 ? run->options->epochs : train->epochs;
    run->steps = train->keep_last ? (run->train_n + run->batch - 1) / run->batch : run->train_n / run->batch;
    if (run->steps == 0)
        return status_make(
            STATUS_INVALID,
            "%lld rows are fewer than a batch of %lld and the spec drops partial batches; use --batch %lld",
            (long long)run->train_n, (long long)run->batch, (long long)run->train_n);
    return STATUS_OK;
}

static Status find_outputs(Run *run) {
    Session *s = run->session;
    run->loss_output = job_output(run->job, "loss");
    if (run->loss_output < 0 || machine_output_tensor(s->machine, run->job, run->loss_output)->rank != 0)
        return status_make(STATUS_INTERNAL, "the training step has no loss (this is a bug in stmc)");
    for (int o = 0; o < run->job->outputs && run->values_n < RUN_VALUES; o++) {
        if (o == run->loss_output || machine_output_tensor(s->machine, run->job, o)->rank != 0) continue;
        run->value_name[run->values_n] = run->job->output[o].name;
        run->value_output[run->values_n++] = o;
    }
    run->step_scalar = plan_tensor(s->plan, STM_SCALAR, "step");
    run->epoch_scalar = plan_tensor(s->plan, STM_SCALAR, "epoch");
    run->monitor_scalar = plan_tensor(s->plan, STM_SCALAR, "monitor_value");
    return STATUS_OK;
}

// What is validated and which number decides what is best.
static Status decide_monitor(Run *run) {
    Session *s = run->session;
    const StmTrain *train = &s->plan->train;
    bool on_training = train->split && strcmp(train->split, "train") == 0;
    run->monitor = "loss";
    if (!plan_job(s->plan, "evaluate")) {
        if (run->valid_n)
            return status_make(STATUS_UNSUPPORTED, "%s: %s has no evaluate block, so it cannot validate",
                               run->options->split ? "--split" : "--hold-out", s->plan->name);
        return STATUS_OK;
    }
    if (run->valid_n == 0 && on_training) { // the evaluated split is the training data itself
        free(run->valid_rows);
        run->valid_rows = malloc((size_t)run->train_n * sizeof *run->valid_rows);
        if (!run->valid_rows) return status_make(STATUS_NO_MEMORY, "no memory for row numbers");
        memcpy(run->valid_rows, run->train_rows, (size_t)run->train_n * sizeof *run->valid_rows);
        run->valid_n = run->train_n;
        run->split = "train-evaluated";
    } else {
        run->split = "validation";
    }
    if (run->valid_n == 0) return STATUS_OK;
    int64_t bound = s->batch_axis >= 0 ? s->machine->bound[s->batch_axis] : run->batch;
    TRY(evaluator_new(s, run->rows, run->batch > bound ? run->batch : bound, run->valid_n, &run->evaluator));
    run->monitor_validation = true;
    run->maximise = train->maximise;
    if (train->monitor) run->monitor = train->monitor;
    double value;
    if (!evaluator_value(run->evaluator, run->monitor, &value))
        return status_make(STATUS_INVALID, "the spec monitors %s, which is not a metric with one value", run->monitor);
    return STATUS_OK;
}

// What the weights files say about themselves: settings and the names along labelled axes.
static Status weight_labels(Run *run) {
    Session *s = run->session;
    TRY(ARENA_NEW(&s->arena, run->labels, (size_t)s->plan->axes + (size_t)s->plan->settings + 1));
    for (int i = 0; i < s->plan->settings; i++) {
        char number[NUMBER_TEXT];
        if (s->plan->setting[i].is_text) continue;
        number_f64(s->setting[i], number);
        char *value = arena_printf(&s->arena, "%s", number),
             *name = arena_printf(&s->arena, "setting.%s", s->plan->setting[i].name);
        if (!value || !name) return arena_exhausted(64, 1);
        run->labels[run->labels_n++] = (StmPair){name, value};
    }
    for (int a = 0; a < s->plan->axes; a++) {
        const char *const *names = NULL;
        int64_t count = 0;
        TRY(rows_axis_labels(run->rows, s, a, &names, &count));
        if (!names) continue;
        JsonWriter w = json_writer(0);
        json_begin_array(&w);
        for (int64_t i = 0; i < count; i++) json_string(&w, names[i]);
        json_end_array(&w);
        Status status = text_status(&w.text);
        char *value = NULL, *name = arena_printf(&s->arena, "axis.%s", s->plan->axis[a].name);
        if (status == STATUS_OK) status = ARENA_COPY(&s->arena, value, text_string(&w.text), w.text.length);
        json_writer_free(&w);
        TRY(status);
        if (!name) return arena_exhausted(64, 1);
        run->labels[run->labels_n++] = (StmPair){name, value};
    }
    return STATUS_OK;
}

// Adds a pair to the identity; `name` and `value` are copied.
static Status identify(Run *run, const char *name, const char *value) {
    Arena *arena = &run->session->arena;
    char *name_copy = NULL, *value_copy = NULL;
    TRY(ARENA_COPY(arena, name_copy, name, strlen(name)));
    TRY(ARENA_COPY(arena, value_copy, value, strlen(value)));
    run->identity.pair[run->identity.count++] = (StmPair){name_copy, value_copy};
    return STATUS_OK;
}

static uint64_t hash_rows(uint64_t hash, const int64_t *numbers, int64_t count) { // FNV-1a
    for (int64_t i = 0; i < count; i++) hash = (hash ^ (uint64_t)numbers[i]) * 0x100000001b3u;
    return (hash ^ (uint64_t)count) * 0x100000001b3u;
}

static Status build_identity(Run *run) {
    Session *s = run->session;
    const StmPlan *plan = s->plan;
    char number[64];
    TRY(ARENA_NEW(&s->arena, run->identity.pair, (size_t)plan->settings + 10));
    TRY(identify(run, "program", plan->name));
    TRY(identify(run, "plan", run->options->fingerprint));
    snprintf(number, sizeof number, "%u", run->options->seed);
    TRY(identify(run, "--seed", number));
    snprintf(number, sizeof number, "%lld", (long long)run->batch);
    TRY(identify(run, "--batch", number));
    if (run->options->weights) { // the content, wherever it lies when the run is resumed
        char hash[80];
        uint64_t size = 0;
        TRY_IN(sha256_file(run->options->weights, run->weights_hash, &size), "--weights");
        snprintf(hash, sizeof hash, "sha256 %s", run->weights_hash);
        TRY(identify(run, "--weights", hash));
    } else {
        TRY(identify(run, "--weights", "nothing"));
    }
    for (int i = 0; i < plan->settings; i++) {
        char flag[128];
        snprintf(flag, sizeof flag, "--%.120s", plan->setting[i].name);
        number_f64(s->setting[i], number);
        TRY(identify(run, flag, plan->setting[i].is_text ? (s->setting_text[i] ? s->setting_text[i] : "") : number));
    }
    Text sections = {0}, held = {0}, split = {0};
    for (int i = 0; i < rows_sections(run->rows); i++) {
        const RowSection *section = rows_section(run->rows, i);
        if (run->trained[i])
            text_printf(&sections, "%s%s (%lld)", sections.length ? ", " : "", section->name,
                        (long long)run->trained[i]);
        if (run->held_out[i])
            text_printf(&held, "%s%s (%lld)", held.length ? ", " : "", section->name, (long long)section->count);
    }
    // A split of the same name may be another one when the store was prepared anew: which rows are in it counts.
    if (run->options->split)
        text_printf(&split, "%s (train %lld, validation %lld; rows %016llx)", run->options->split,
                    (long long)run->train_n, (long long)run->split_validates,
                    (unsigned long long)hash_rows(hash_rows(0xcbf29ce484222325u, run->train_rows, run->train_n),
                                                  run->valid_rows, run->split_validates));
    Status status = status_join(text_status(&sections), status_join(text_status(&held), text_status(&split)));
    if (status == STATUS_OK) status = identify(run, "training sections", text_string(&sections));
    if (status == STATUS_OK) status = identify(run, "--hold-out", held.length ? text_string(&held) : "nothing");
    if (status == STATUS_OK) status = identify(run, "--split", split.length ? text_string(&split) : "nothing");
    text_free(&sections);
    text_free(&held);
    text_free(&split);
    return status;
}

Status setup_run(Run *run) {
    Session *s = run->session;
    run->job = plan_job(s->plan, "train");
    if (!run->job) return status_make(STATUS_UNSUPPORTED, "%s has no train block", s->plan->name);
    TRY(ARENA_NEW(&s->arena, run->extent, (size_t)s->plan->axes + 1));
    TRY(rows_open(run->options->files, run->options->files_n, &run->rows));
    TRY(split_rows(run));
    TRY(decide_sizes(run));
    TRY(find_outputs(run));
    TRY(job_feeds(s, run->rows, run->job, &run->feed, &run->feeds));
    TRY(loader_new(run->rows, run->feed, run->feeds, run->batch, &run->loader));
    TRY(decide_monitor(run));
    TRY_IN(big_block_new(s->machine->persistent_bytes, &run->best_copy), "best weights");
    TRY(weight_labels(run));
    return build_identity(run);
}

void setup_free(Run *run) {
    loader_free(run->loader);
    evaluator_free(run->evaluator);
    big_block_free(run->best_copy, run->session->machine->persistent_bytes);
    free(run->train_rows);
    free(run->valid_rows);
    free(run->order);
    rows_close(run->rows);
}

// Sections with their numbers of rows; those without rows are left out.
static void write_sections(JsonWriter *w, const Run *run, const int64_t *of_section) {
    json_begin_object(w);
    for (int i = 0; i < rows_sections(run->rows); i++) {
        if (of_section[i] == 0) continue;
        json_key(w, rows_section(run->rows, i)->name);
        json_integer(w, of_section[i]);
    }
    json_end_object(w);
}

static void write_split(JsonWriter *w, const Run *run) {
    if (!run->options->split) {
        json_null(w);
        return;
    }
    json_begin_object(w);
    json_key(w, "name"), json_string(w, run->options->split);
    json_key(w, "train"), json_integer(w, run->train_n);
    json_key(w, "validation"), json_integer(w, run->split_validates);
    json_key(w, "neither"), json_integer(w, rows_count(run->rows) - run->train_n - run->split_validates);
    json_end_object(w);
}

static Status write_config(Run *run) {
    Session *s = run->session;
    const StmPlan *plan = s->plan;
    JsonWriter w = json_writer(2);
    json_begin_object(&w);
    json_key(&w, "program"), json_string(&w, plan->name);
    json_key(&w, "stmc"), json_string(&w, plan->version);
    json_key(&w, "plan"), json_string(&w, run->options->fingerprint);
    json_key(&w, "seed"), json_integer(&w, run->options->seed);
    json_key(&w, "epochs"), json_integer(&w, run->epochs);
    json_key(&w, "batch"), json_integer(&w, run->batch);
    json_key(&w, "steps_per_epoch"), json_integer(&w, run->steps);
    json_key(&w, "monitor"), json_string(&w, run->monitor);
    json_key(&w, "maximise"), json_bool(&w, run->maximise);
    json_key(&w, "patience"), json_integer(&w, plan->train.patience);
    json_key(&w, "settings");
    json_begin_object(&w);
    for (int i = 0; i < plan->settings; i++) {
        json_key(&w, plan->setting[i].name);
        if (plan->setting[i].is_text) json_string(&w, s->setting_text[i] ? s->setting_text[i] : "");
        else if (plan->setting[i].is_integer) json_integer(&w, (int64_t)s->setting[i]);
        else json_number(&w, s->setting[i]);
    }
    json_end_object(&w);
    json_key(&w, "options");
    json_begin_object(&w);
    for (int i = 0; i < plan->options; i++) {
        json_key(&w, plan->option[i].name);
        json_string(&w, plan->option[i].value ? plan->option[i].value : "");
    }
    json_end_object(&w);
    json_key(&w, "files");
    json_begin_array(&w);
    for (int i = 0; i < run->options->files_n; i++) json_string(&w, run->options->files[i]);
    json_end_array(&w);
    json_key(&w, "split");
    write_split(&w, run);
    json_key(&w, "weights"); // started from these
    if (run->options->weights) {
        json_begin_object(&w);
        json_key(&w, "file"), json_string(&w, run->options->weights);
        json_key(&w, "sha256"), json_string(&w, run->weights_hash);
        json_end_object(&w);
    } else {
        json_null(&w);
    }
    json_key(&w, "training");
    write_sections(&w, run, run->trained);
    json_key(&w, "validation");
    write_sections(&w, run, run->validated);
    json_key(&w, "parameters"), json_integer(&w, session_parameters(s));
    json_key(&w, "threads"), json_integer(&w, pool_threads(s->pool));
    char device[DEVICE_TEXT];
    json_key(&w, "device"), json_string(&w, session_device(s, device));
    json_key(&w, s->gpu ? "device_name" : "instruction_set"), json_string(&w, session_device_name(s));
    json_end_object(&w);
    text_add(&w.text, "\n");
    const char *path = path_join(&s->arena, run->options->out, "config.json");
    Status status = path ? text_status(&w.text) : arena_exhausted(64, 1);
    if (status == STATUS_OK) status = file_write_atomic(path, text_string(&w.text), w.text.length);
    json_writer_free(&w);
    return status;
}

// "training on 96 spots of 3 sections, validating on 40 of A3; 12 epochs of 12 steps"
static void describe_rows(const Run *run, FILE *out, const char *row) {
    const char *split = run->options->split;
    int sections = rows_sections(run->rows), kept = 0;
    for (int i = 0; i < sections; i++) kept += run->trained[i] > 0;
    fprintf(out, "training on %lld %ss of %d section%s", (long long)run->train_n, row, kept, kept == 1 ? "" : "s");
    if (run->options->hold_out_n) fprintf(out, ", validating on %lld of", (long long)run->valid_n);
    for (int i = 0, listed = 0; i < sections; i++)
        if (run->held_out[i]) fprintf(out, "%s %s", listed++ ? "," : "", rows_section(run->rows, i)->name);
    if (split) {
        int64_t left = rows_count(run->rows) - run->train_n - run->split_validates;
        fprintf(out, ", validating on %lld, by the split %s", (long long)run->split_validates, split);
        if (left) fprintf(out, " (%lld are in neither part)", (long long)left);
    }
    fprintf(out, "; %lld epoch%s of %lld step%s\n", (long long)run->epochs, run->epochs == 1 ? "" : "s",
            (long long)run->steps, run->steps == 1 ? "" : "s");
}

Status setup_describe(Run *run) {
    Session *s = run->session;
    FILE *out = run->log.out;
    const char *row = session_row_name(s);
    session_extents(s, run->batch, run->extent);
    char own[BYTES_TEXT], arena[BYTES_TEXT], device[DEVICE_TEXT];
    bytes_text((double)s->machine->persistent_bytes, own);
    bytes_text((double)job_arena_bytes(run->job, run->extent), arena);
    fprintf(out, "%s: %lld parameters; ", s->plan->name, (long long)session_parameters(s));
    if (s->gpu) fprintf(out, "%s, %s\n", session_device(s, device), session_device_name(s));
    else
        fprintf(out, "%s, %d thread%s\n", session_device_name(s), pool_threads(s->pool),
                pool_threads(s->pool) == 1 ? "" : "s");
    fprintf(out, "memory: %s parameters and state, %s for a step of %lld %ss", own, arena, (long long)run->batch, row);
    if (s->gpu) {
        int64_t bytes = 0;
        TRY(gpu_plan_bytes(s->plan, run->job, run->extent, &s->arena, &bytes));
        fprintf(out, ", %s of the GPU in all", bytes_text((double)bytes, own));
    }
    fprintf(out, "\n");
    describe_rows(run, out, row);
    if (!run->evaluator)
        fprintf(out, "no validation%s: best.safetensors follows the training loss\n",
                run->options->split        ? " (no row is in the split's part validation)"
                : run->options->hold_out_n ? ""
                                           : " (no --hold-out, no --split)");
    else fprintf(out, "best: the %s %s on %s\n", run->maximise ? "highest" : "lowest", run->monitor, run->split);
    if (!run->options->split && !run->options->hold_out_n) {
        Text splits = {0};
        Status status = rows_splits(run->rows, &splits);
        if (splits.length) fprintf(out, "the store has splits that --split could use: %s\n", text_string(&splits));
        text_free(&splits);
        TRY(status);
    }
    fflush(out);
    return write_config(run);
}
