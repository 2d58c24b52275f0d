// runlog: see runlog.h.
#include "runlog.h"

#include <math.h>
#include <string.h>

#include "../core/clock.h"
#include "../core/files.h"
#include "../core/json.h"
#include "../report/events.h"

Status runlog_open(RunLog *log, const char *directory, uint64_t metrics_bytes, uint64_t events_bytes, FILE *out) {
    Arena arena;
    arena_init(&arena);
    *log = (RunLog){.metrics = {.descriptor = -1}, .events = {.descriptor = -1}, .out = out};
    const char *metrics = path_join(&arena, directory, "metrics.jsonl");
    const char *events = path_join(&arena, directory, "events.out.tfevents.run");
    Status status =
        metrics && events ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for paths in %s", directory);
    if (status == STATUS_OK) status = journal_open(&log->metrics, metrics, metrics_bytes);
    if (status == STATUS_OK) status = journal_open(&log->events, events, events_bytes);
    if (status == STATUS_OK && events_bytes == 0) status = events_header(&log->events, wall_seconds());
    arena_free(&arena);
    if (status != STATUS_OK) runlog_close(log);
    return status;
}

void runlog_close(RunLog *log) {
    journal_close(&log->metrics);
    journal_close(&log->events);
}

double metric_mean(const Metric *metric) {
    double sum = 0;
    int64_t finite = 0;
    for (int64_t k = 0; k < metric->count; k++) {
        if (!isfinite(metric->value[k])) continue;
        sum += metric->value[k];
        finite++;
    }
    return finite ? sum / (double)finite : NAN;
}

static Status add_event(RunLog *log, double now, int64_t step, const char *split, const char *name, double value) {
    char tag[200];
    if (!isfinite(value)) return STATUS_OK;          // TensorBoard draws nothing for it
    snprintf(tag, sizeof tag, "%s/%s", name, split); // one chart per metric, one line per split
    return events_scalar(&log->events, now, step, tag, (float)value);
}

Status runlog_record(RunLog *log, int64_t step, int64_t epoch, const char *split, double loss, const NamedValue *values,
                     int count, const Evaluator *evaluator) {
    double now = wall_seconds();
    Status status = STATUS_OK;
    JsonWriter w = json_writer(0);
    json_begin_object(&w);
    json_key(&w, "step");
    json_integer(&w, step);
    json_key(&w, "epoch");
    json_integer(&w, epoch);
    json_key(&w, "split");
    json_string(&w, split);
    if (!isnan(loss)) {
        json_key(&w, "loss");
        json_number(&w, loss);
        status = add_event(log, now, step, split, "loss", loss);
    }
    for (int i = 0; i < count && status == STATUS_OK; i++) {
        json_key(&w, values[i].name);
        json_number(&w, values[i].value);
        status = add_event(log, now, step, split, values[i].name, values[i].value);
    }
    for (int i = 0; evaluator && i < evaluator->count && status == STATUS_OK; i++) {
        const Metric *metric = &evaluator->metric[i];
        json_key(&w, metric->name);
        if (metric->column) json_begin_array(&w);
        for (int64_t k = 0; k < metric->count; k++) json_number(&w, metric->value[k]);
        if (metric->column) json_end_array(&w);
        status = add_event(log, now, step, split, metric->name, metric_mean(metric));
    }
    json_end_object(&w);
    text_add(&w.text, "\n");
    if (status == STATUS_OK) status = text_status(&w.text);
    if (status == STATUS_OK) status = journal_append(&log->metrics, text_string(&w.text), w.text.length);
    json_writer_free(&w);
    return status;
}

const char *value_text(double value, char text[VALUE_TEXT]) {
    if (isnan(value)) return "-";
    double size = fabs(value);
    if (size != 0 && (size < 1e-3 || size >= 1e6)) snprintf(text, VALUE_TEXT, "%.3e", value);
    else snprintf(text, VALUE_TEXT, "%.*f", size < 10 ? 4 : size < 1000 ? 2 : 0, value);
    return text;
}

void metrics_text(const Evaluator *e, Text *text) {
    char value[VALUE_TEXT];
    const char *gap = "";
    int single = 0;
    for (int i = 0; i < e->count; i++) single += !e->metric[i].column;
    if (!isnan(e->loss)) {
        text_printf(text, "loss %s", value_text(e->loss, value));
        gap = "  ";
    }
    for (int i = 0; i < e->count; i++) {
        if (e->metric[i].column && single) continue;
        text_printf(text, "%s%s%s %s", gap, e->metric[i].column ? "mean of " : "", e->metric[i].name,
                    value_text(metric_mean(&e->metric[i]), value));
        gap = "  ";
    }
}
