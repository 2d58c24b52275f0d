// trainer: see trainer.h. `Run` is all that a run knows; run_epoch and finish_epoch are the loop, the rest is
// setting up.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // flock
#endif

#include "trainer.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "../core/clock.h"
#include "../core/files.h"
#include "../core/json.h"
#include "../core/random.h"
#include "../report/curves.h"
#include "../report/progress.h"
#include "checkpoint.h"
#include "runlog.h"
#include "setup.h"
#include "weights_load.h"

enum { SAVE_SHARE = 10 }; // saving takes at most one part in so many of the time

static const char *run_path(Run *run, const char *name) {
    return path_join(&run->session->arena, run->options->out, name);
}

// ---- Saving ----------------------------------------------------------------------------------------------------

static Status save_weights(Run *run, const char *path) {
    return checkpoint_weights(run->session, path, &run->state, run->labels, run->labels_n, NULL);
}

// best.safetensors and last.safetensors, then the state of the same moment. The journals are on disk before
// their lengths are.
static Status save_state(Run *run) {
    double start = clock_seconds();
    TRY(journal_sync(&run->log.metrics));
    TRY(journal_sync(&run->log.events));
    run->state.metrics_bytes = run->log.metrics.length;
    run->state.events_bytes = run->log.events.length;
    if (run->best_waits)
        TRY(checkpoint_weights(run->session, run->best_path, &run->best_state, run->labels, run->labels_n,
                               run->best_copy));
    run->best_waits = false;
    TRY(save_weights(run, run->last_path));
    TRY(checkpoint_state(run->session, run->state_path, &run->state, &run->identity));
    run->saved_at = clock_seconds();
    run->save_cost = run->saved_at - start;
    run->saved_epoch = run->state.epoch;
    run->saved_step = run->state.step;
    return STATUS_OK;
}

static bool worth_saving(const Run *run) {
    return clock_seconds() - run->saved_at >= SAVE_SHARE * run->save_cost;
}

// ---- One epoch -------------------------------------------------------------------------------------------------

static Status not_finite(const Run *run, double loss) {
    char saved[300];
    if (run->saved_step > 0)
        snprintf(saved, sizeof saved, "the last good checkpoint is %.200s (step %lld)", run->last_path,
                 (long long)run->saved_step);
    else snprintf(saved, sizeof saved, "no checkpoint had been written");
    const StmPlan *plan = run->session->plan;
    const char *rate = "";
    for (int i = 0; i < plan->settings; i++)
        if (strcmp(plan->setting[i].name, "lr") == 0) rate = "; a smaller --lr often helps";
    return status_make(STATUS_INVALID, "the loss became %s at step %lld (epoch %lld), so training stopped; %s%s",
                       isnan(loss) ? "nan" : "infinite", (long long)run->state.step, (long long)run->state.epoch + 1,
                       saved, rate);
}

static double scalar_output(const Run *run, int output) {
    StmType type = machine_output_tensor(run->session->machine, run->job, output)->type;
    return element_value(type, machine_output(run->session->machine, output), 0);
}

static Status start_step(Run *run, const Batch *batch) {
    Machine *m = run->session->machine;
    for (int f = 0; f < run->feeds; f++) machine_bind(m, run->feed[f].tensor, batch->data[f]);
    session_extents(run->session, batch->rows, run->extent);
    TRY(machine_prepare(m, run->job, run->extent));
    machine_set_scalar(m, run->step_scalar, (double)(run->state.step + 1));
    machine_set_scalar(m, run->epoch_scalar, (double)run->state.epoch);
    machine_set_scalar(m, run->monitor_scalar, run->state.monitor);
    return machine_run(m);
}

static Status finish_step(Run *run, const Batch *batch) {
    TRY(machine_wait(run->session->machine));
    run->state.step++;
    run->state.position++;
    double loss = scalar_output(run, run->loss_output);
    if (!isfinite(loss)) return not_finite(run, loss);
    run->state.loss_sum += loss * (double)batch->rows;
    run->state.loss_rows += batch->rows;
    for (int i = 0; i < run->values_n; i++) run->state.value[i] = scalar_output(run, run->value_output[i]);
    return STATUS_OK;
}

static Status stage_batch(Run *run, const Batch *batch) {
    Machine *m = run->session->machine;
    for (int f = 0; f < run->feeds; f++) machine_stage_input(m, run->feed[f].tensor, batch->data[f]);
    session_extents(run->session, batch->rows, run->extent);
    return machine_stage(m, run->job, run->extent);
}

// On a GPU the next batch is read and sent while the step is computed; otherwise *next stays empty. A next batch that
// cannot be read (*next_status) is an error of the next step, after this one has been counted and perhaps saved.
static Status run_step(Run *run, const Batch *batch, Batch *next, Status *next_status) {
    TRY(start_step(run, batch));
    if (run->session->gpu) {
        *next_status = loader_next(run->loader, next);
        if (*next_status == STATUS_OK && next->rows) *next_status = stage_batch(run, next);
    }
    return finish_step(run, batch);
}

static bool stop_requested(const Run *run) {
    return run->options->stop && *run->options->stop;
}

static void epoch_label(const Run *run, const char *what, char label[48]) {
    snprintf(label, 48, "epoch %lld/%lld%s", (long long)run->state.epoch + 1, (long long)run->epochs, what);
}

// The steps that the epoch in progress still lacks. *out_stopped: a signal came; the state is as after the
// last step.
static Status run_steps(Run *run, bool *out_stopped) {
    char label[48], note[64], value[VALUE_TEXT];
    *out_stopped = false;
    memcpy(run->order, run->train_rows, (size_t)run->train_n * sizeof *run->order);
    if (run->session->plan->train.shuffle)
        random_shuffle(run->order, (size_t)run->train_n, run->options->seed, (uint32_t)run->state.epoch);
    int64_t used = run->steps * run->batch < run->train_n ? run->steps * run->batch : run->train_n;
    epoch_label(run, "", label);
    progress_begin(&run->progress, label, run->state.position * run->batch, used);
    machine_unstage(run->session->machine);
    Batch next = {0};
    Status status = loader_start(run->loader, run->order, used, run->state.position), next_status = STATUS_OK;
    while (status == STATUS_OK && run->state.position < run->steps) {
        status = next_status;
        next_status = STATUS_OK;
        if (status == STATUS_OK && next.rows == 0) status = loader_next(run->loader, &next);
        Batch batch = next;
        next = (Batch){0};
        if (status == STATUS_OK) status = run_step(run, &batch, &next, &next_status);
        if (status != STATUS_OK) break;
        run->rows_done += batch.rows;
        snprintf(note, sizeof note, "loss %s", value_text(run->state.loss_sum / (double)run->state.loss_rows, value));
        progress_update(&run->progress, batch.index * run->batch + batch.rows, note);
        if (stop_requested(run)) {
            *out_stopped = true;
            break;
        }
        if (clock_seconds() - run->saved_at >= run->options->checkpoint_seconds) status = save_state(run);
    }
    progress_end(&run->progress);
    loader_stop(run->loader);
    status_drop(next_status); // the run stopped before the step that it belongs to
    return status;
}

static void evaluate_progress(void *context, int64_t done, int64_t all) {
    (void)all;
    progress_update(context, done, "");
}

static Status validate(Run *run, const char *what) {
    char label[48];
    RunHooks hooks = {evaluate_progress, &run->progress, run->options->stop};
    epoch_label(run, what, label);
    progress_begin(&run->progress, label, 0, run->valid_n);
    Status status = evaluate_rows(run->evaluator, run->valid_rows, run->valid_n, &hooks);
    progress_end(&run->progress);
    return status;
}

// Updates best and patience; true when this epoch is the best so far. A monitor of nan never is.
static bool note_monitor(Run *run, double value) {
    RunState *state = &run->state;
    state->monitor = value;
    bool better = !isnan(value) && (isnan(state->best) || (run->maximise ? value > state->best : value < state->best));
    if (better) {
        state->best = value;
        state->best_epoch = state->epoch;
        state->stale = 0;
    } else {
        state->stale++;
    }
    return better;
}

static void print_epoch(Run *run, double loss, bool better, double seconds) {
    Text line = {0};
    char value[VALUE_TEXT], time[DURATION_TEXT];
    text_printf(&line, "epoch %lld/%lld  loss %s", (long long)run->state.epoch, (long long)run->epochs,
                value_text(loss, value));
    if (run->evaluator) {
        text_printf(&line, "  %s: ", run->split);
        metrics_text(run->evaluator, &line);
    }
    text_printf(&line, "  %s  %s, %.0f %ss/s\n", better ? "best" : "    ", duration_text(seconds, time),
                seconds > 0 ? (double)run->rows_done / seconds : 0.0, session_row_name(run->session));
    fputs(text_string(&line), run->log.out);
    fflush(run->log.out);
    text_free(&line);
}

// Validation, logs and checkpoints after the last step of an epoch.
static Status finish_epoch(Run *run, double started) {
    RunState *state = &run->state;
    double loss = state->loss_sum / (double)state->loss_rows, seconds = clock_seconds() - started, monitored = loss;
    if (run->evaluator) {
        TRY(validate(run, " validation"));
        if (run->monitor_validation && !evaluator_value(run->evaluator, run->monitor, &monitored))
            return status_make(STATUS_INTERNAL, "monitor %s vanished", run->monitor);
    }
    state->epoch++;
    NamedValue values[RUN_VALUES];
    for (int i = 0; i < run->values_n; i++) values[i] = (NamedValue){run->value_name[i], state->value[i]};
    TRY(runlog_record(&run->log, state->step, state->epoch, "train", loss, values, run->values_n, NULL));
    if (run->evaluator)
        TRY(runlog_record(&run->log, state->step, state->epoch, run->split, run->evaluator->loss, NULL, 0,
                          run->evaluator));
    bool better = note_monitor(run, monitored);
    state->position = 0;
    state->loss_sum = 0;
    state->loss_rows = 0;
    int64_t patience = run->session->plan->train.patience;
    state->stopped_early = run->monitor_validation && patience > 0 && state->stale >= patience;
    state->finished = state->epoch >= run->epochs || state->stopped_early;
    print_epoch(run, loss, better, seconds);
    run->rows_done = 0;
    if (better) {
        TRY(weights_copy(run->session, run->best_copy));
        run->best_state = *state;
        run->best_waits = true;
    }
    int64_t every = run->options->checkpoint_epochs;
    if (every > 0 && state->epoch % every == 0) {
        char name[40];
        snprintf(name, sizeof name, "epoch-%04lld.safetensors", (long long)state->epoch);
        TRY(save_weights(run, run_path(run, name)));
    }
    if (state->finished || worth_saving(run)) TRY(save_state(run));
    if (state->finished || clock_seconds() - run->drawn_at >= SAVE_SHARE * run->draw_cost) {
        double start = clock_seconds();
        TRY(curves_draw(run->log.metrics.path, run->curves_path));
        run->drawn_at = clock_seconds();
        run->draw_cost = run->drawn_at - start;
    }
    return STATUS_OK;
}

// ---- The run ---------------------------------------------------------------------------------------------------

static Status baseline_lines(Run *run) {
    const StmTrain *train = &run->session->plan->train;
    if (!run->evaluator || !train->compare || !train->with || !run->evaluator->metrics) return STATUS_OK;
    Baseline baseline;
    TRY(baseline_measure(run->evaluator, run->train_rows, run->train_n, &baseline));
    // One pass over the split gathers the truth that both baselines are compared with.
    TRY(validate(run, " baselines"));
    for (int kind = 0; kind < 2; kind++) {
        Text line = {0};
        TRY(baseline_evaluate(run->evaluator, &baseline, kind == 1));
        TRY(runlog_record(&run->log, 0, 0, kind ? "baseline-mean" : "baseline-constant", NAN, NULL, 0, run->evaluator));
        metrics_text(run->evaluator, &line);
        fprintf(run->log.out, "baseline, %s: %s\n",
                kind ? "training mean of every column" : "one constant for everything", text_string(&line));
        text_free(&line);
    }
    fflush(run->log.out);
    return STATUS_OK;
}

static Status loop(Run *run, TrainResult *result) {
    RunState *state = &run->state;
    if (state->step == 0 && state->epoch == 0) TRY(baseline_lines(run));
    run->saved_at = run->drawn_at = clock_seconds();
    while (!state->finished) {
        bool stopped = false;
        double started = clock_seconds();
        TRY(run_steps(run, &stopped));
        if (!stopped) {
            Status status = finish_epoch(run, started);
            if (status_code(status) == STATUS_CANCELLED &&
                stop_requested(run)) { // during validation: repeat it when resumed
                status_drop(status);
                stopped = true;
            } else {
                TRY(status);
            }
        }
        if (stopped || (stop_requested(run) && !state->finished)) {
            TRY(save_state(run));
            result->interrupted = true;
            return STATUS_OK;
        }
    }
    return STATUS_OK;
}

static void print_end(const Run *run, const TrainResult *result) {
    const RunState *state = &run->state;
    char value[VALUE_TEXT];
    FILE *out = run->log.out;
    if (result->interrupted) {
        fprintf(out, "stopped by a signal after step %lld (epoch %lld); everything is saved, continue with --resume\n",
                (long long)state->step, (long long)state->epoch + 1);
        return;
    }
    if (result->was_complete) fprintf(out, "the run is complete already\n");
    if (state->stopped_early)
        fprintf(out, "stopped early: %s did not improve for %lld epochs\n", run->monitor, (long long)state->stale);
    if (state->best_epoch)
        fprintf(out, "best: %s%s %s at epoch %lld, weights in %s\n", run->monitor_validation ? "" : "training ",
                run->monitor, value_text(state->best, value), (long long)state->best_epoch, run->best_path);
}

static Status lock_directory(Run *run) {
    run->lock = open(run->options->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->lock < 0) return status_errno(errno, "cannot open the directory %s", run->options->out);
    // Some network file systems have no locks; then nothing is locked, as without this function.
    if (flock(run->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return status_make(STATUS_INVALID, "another process is training in %s; wait for it, or give another --out",
                           run->options->out);
    return STATUS_OK;
}

// Removes what a killed process left half written. The directory is locked, so no living process owns these
// files.
static Status remove_leftovers(Run *run) {
    char **names = NULL;
    size_t count = 0;
    Arena arena;
    arena_init(&arena);
    Status status = directory_list(run->options->out, &arena, &names, &count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        if (names[i][0] != '.' || !strstr(names[i], ".tmp-")) continue;
        const char *path = path_join(&arena, run->options->out, names[i]);
        if (path) unlink(path); // a file that stays is untidy, nothing more
    }
    arena_free(&arena);
    return status;
}

// The weights of --weights in place of the first ones; all other state is as the spec starts it.
static Status start_from_weights(Run *run) {
    Text notes = {0};
    const char *path = run->options->weights;
    Status status = weights_start(run->session, path, run->labels, run->labels_n, &notes);
    if (status == STATUS_OK) status = text_status(&notes);
    if (status == STATUS_OK) {
        run->weights_notes = arena_printf(&run->session->arena, "starting from %s\n%s", path, text_string(&notes));
        if (!run->weights_notes) status = arena_exhausted(notes.length, 1);
    }
    text_free(&notes);
    return status;
}

// Weights that the run itself replaces could not be told from the first ones when it is resumed.
static Status check_weights_place(const Run *run) {
    char *weights = realpath(run->options->weights, NULL), *out = realpath(run->options->out, NULL);
    char *slash = weights ? strrchr(weights, '/') : NULL;
    if (slash) *slash = '\0';
    bool inside = weights && out && strcmp(weights, out) == 0;
    free(weights);
    free(out);
    if (!inside) return STATUS_OK;
    return status_make(STATUS_INVALID, "--weights %s is in --out, whose files the run replaces; give another --out",
                       run->options->weights);
}

static Status begin_fresh(Run *run) {
    const TrainOptions *options = run->options;
    bool full = file_exists(run->state_path);
    if (full && !options->overwrite)
        return status_make(STATUS_INVALID,
                           "%s already holds a run; continue it with --resume, start over with --overwrite, or give "
                           "another --out",
                           options->out);
    TRY(session_init(run->session, options->seed));
    if (options->weights) TRY(start_from_weights(run)); // before anything is removed
    if (full) {
        // The state goes first: a run killed right here must not be resumed from it.
        const char *old[] = {run->state_path, run->best_path, run->last_path, run->curves_path};
        for (int i = 0; i < 4; i++)
            if (unlink(old[i]) != 0 && errno != ENOENT) return status_errno(errno, "cannot remove %s", old[i]);
    }
    run->state = (RunState){.seed = options->seed, .best = NAN, .monitor = run->maximise ? -INFINITY : INFINITY};
    run->state.finished = run->epochs == 0;
    return STATUS_OK;
}

static Status begin(Run *run) {
    TRY(make_directories(run->options->out));
    TRY(lock_directory(run));
    TRY(remove_leftovers(run));
    bool resume = run->options->resume && file_exists(run->state_path);
    if (run->options->weights) TRY(check_weights_place(run));
    if (resume) {
        TRY(checkpoint_resume(run->session, run->state_path, &run->identity, &run->state));
        run->saved_epoch = run->state.epoch;
        run->saved_step = run->state.step;
        run->state.finished = run->state.epoch >= run->epochs || run->state.stopped_early;
    } else {
        TRY(begin_fresh(run));
    }
    TRY(runlog_open(&run->log, run->options->out, run->state.metrics_bytes, run->state.events_bytes,
                    run->options->log));
    TRY(setup_describe(run));
    if (resume)
        fprintf(run->log.out, "resuming at epoch %lld, step %lld\n", (long long)run->state.epoch + 1,
                (long long)run->state.step);
    else if (run->options->resume)
        fprintf(run->log.out, "nothing to resume in %s: starting from the beginning\n", run->options->out);
    if (run->weights_notes) fputs(run->weights_notes, run->log.out);
    fflush(run->log.out);
    session_scalar(run->session, "seed", (double)run->options->seed);
    session_scalar(run->session, "epochs", (double)run->epochs);
    session_scalar(run->session, "steps", (double)run->steps);
    return STATUS_OK;
}

Status train_run(Session *session, const TrainOptions *options, TrainResult *out_result) {
    *out_result = (TrainResult){0};
    Run run = {.session = session, .options = options, .lock = -1};
    run.log = (RunLog){.metrics = {.descriptor = -1}, .events = {.descriptor = -1}, .out = options->log};
    Status status = setup_run(&run);
    if (status == STATUS_OK) {
        run.state_path = run_path(&run, "state.safetensors");
        run.last_path = run_path(&run, "last.safetensors");
        run.best_path = run_path(&run, "best.safetensors");
        run.curves_path = run_path(&run, "curves.png");
        run.progress = progress_new(options->screen, session_row_name(session));
        if (!run.state_path || !run.last_path || !run.best_path || !run.curves_path)
            status = status_make(STATUS_NO_MEMORY, "no memory for paths in %s", options->out);
    }
    if (status == STATUS_OK) status = begin(&run);
    if (status == STATUS_OK) {
        out_result->was_complete = run.state.finished && run.state.step > 0;
        status = loop(&run, out_result);
    }
    if (status == STATUS_OK) print_end(&run, out_result);
    runlog_close(&run.log);
    setup_free(&run);
    if (run.lock >= 0) close(run.lock);
    return status;
}
