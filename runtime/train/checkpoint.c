// checkpoint: see checkpoint.h. Counters travel as text in the file's metadata, reals as hexadecimal, so that
// they come back exactly.
#include "checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../data/safetensors.h"

static const char form[] = RUN_STATE_FORMAT;

void plan_fingerprint(const char *text, size_t size, char out[17]) {
    uint64_t hash = 1469598103934665603u; // FNV-1a
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    snprintf(out, 17, "%016" PRIx64, hash);
}

static size_t offset_of(const Session *s, int tensor) {
    return (size_t)((const char *)s->machine->block[tensor] - s->machine->persistent);
}

Status weights_copy(Session *s, char *copy) {
    TRY(machine_pull(s->machine));
    for (int t = 0; t < s->plan->tensors; t++) {
        const StmTensor *tensor = &s->plan->tensor[t];
        size_t bytes = (size_t)tensor_elements(tensor, s->machine->bound) * type_size(tensor->type);
        if (is_weight(tensor)) memcpy(copy + offset_of(s, t), s->machine->block[t], bytes);
    }
    return STATUS_OK;
}

// `base`: the block that holds the tensors, laid out as the machine's own.
static Status list_tensors(Session *s, bool all, const char *base, SafeEntry **out_entries, size_t *out_count) {
    const StmPlan *plan = s->plan;
    SafeEntry *entries = calloc((size_t)plan->tensors + 1, sizeof *entries);
    size_t count = 0;
    if (!entries) return status_make(STATUS_NO_MEMORY, "no memory for a checkpoint");
    for (int t = 0; t < plan->tensors; t++) {
        const StmTensor *tensor = &plan->tensor[t];
        if (!is_weight(tensor) && !(all && tensor->kind == STM_STATE)) continue;
        SafeEntry *entry = &entries[count++];
        *entry = (SafeEntry){.name = tensor->name,
                             .type = element_of(tensor->type),
                             .rank = tensor->rank,
                             .data = base + offset_of(s, t)};
        for (int d = 0; d < tensor->rank; d++) entry->shape[d] = extent_of(tensor->dim[d], s->machine->bound);
    }
    *out_entries = entries;
    *out_count = count;
    return STATUS_OK;
}

Status checkpoint_weights(Session *s, const char *path, const RunState *state, const StmPair *labels, size_t labels_n,
                          const char *copy) {
    SafeEntry *entries = NULL;
    size_t count = 0;
    char epoch[24], step[24];
    if (!copy) TRY(machine_pull(s->machine));
    snprintf(epoch, sizeof epoch, "%lld", (long long)state->epoch);
    snprintf(step, sizeof step, "%lld", (long long)state->step);
    enum { OWN = 4 };
    SafePair *metadata = calloc(OWN + labels_n, sizeof *metadata);
    if (!metadata) return status_make(STATUS_NO_MEMORY, "no memory for a checkpoint");
    metadata[0] = (SafePair){"program", s->plan->name};
    metadata[1] = (SafePair){"stmc", s->plan->version};
    metadata[2] = (SafePair){"epoch", epoch};
    metadata[3] = (SafePair){"step", step};
    for (size_t i = 0; i < labels_n; i++) metadata[OWN + i] = (SafePair){labels[i].name, labels[i].value};
    Status status = list_tensors(s, false, copy ? copy : s->machine->persistent, &entries, &count);
    if (status == STATUS_OK) status = safetensors_write(path, entries, count, metadata, OWN + labels_n);
    free(entries);
    free(metadata);
    return status;
}

// The counters by name; `real` members travel as hexadecimal.
typedef struct Counter {
    const char *name;
    enum { COUNT_I64, COUNT_U64, COUNT_F64, COUNT_U32, COUNT_BOOL } kind;
    size_t at;
} Counter;

static const Counter counters[] = {
    {"epoch", COUNT_I64, offsetof(RunState, epoch)},
    {"position", COUNT_I64, offsetof(RunState, position)},
    {"step", COUNT_I64, offsetof(RunState, step)},
    {"seed", COUNT_U32, offsetof(RunState, seed)},
    {"loss_sum", COUNT_F64, offsetof(RunState, loss_sum)},
    {"loss_rows", COUNT_I64, offsetof(RunState, loss_rows)},
    {"value0", COUNT_F64, offsetof(RunState, value[0])},
    {"value1", COUNT_F64, offsetof(RunState, value[1])},
    {"value2", COUNT_F64, offsetof(RunState, value[2])},
    {"value3", COUNT_F64, offsetof(RunState, value[3])},
    {"monitor", COUNT_F64, offsetof(RunState, monitor)},
    {"best", COUNT_F64, offsetof(RunState, best)},
    {"best_epoch", COUNT_I64, offsetof(RunState, best_epoch)},
    {"stale", COUNT_I64, offsetof(RunState, stale)},
    {"finished", COUNT_BOOL, offsetof(RunState, finished)},
    {"stopped_early", COUNT_BOOL, offsetof(RunState, stopped_early)},
    {"metrics_bytes", COUNT_U64, offsetof(RunState, metrics_bytes)},
    {"events_bytes", COUNT_U64, offsetof(RunState, events_bytes)},
};
enum { COUNTERS = sizeof counters / sizeof *counters, COUNTER_TEXT = 40 };

static void counter_write(const Counter *counter, const RunState *state, char text[COUNTER_TEXT]) {
    const char *at = (const char *)state + counter->at;
    switch (counter->kind) {
    case COUNT_I64: snprintf(text, COUNTER_TEXT, "%" PRId64, *(const int64_t *)(const void *)at); break;
    case COUNT_U64: snprintf(text, COUNTER_TEXT, "%" PRIu64, *(const uint64_t *)(const void *)at); break;
    case COUNT_F64: snprintf(text, COUNTER_TEXT, "%a", *(const double *)(const void *)at); break;
    case COUNT_U32: snprintf(text, COUNTER_TEXT, "%" PRIu32, *(const uint32_t *)(const void *)at); break;
    case COUNT_BOOL: snprintf(text, COUNTER_TEXT, "%d", *(const bool *)(const void *)at); break;
    }
}

static bool counter_read(const Counter *counter, RunState *state, const char *text) {
    char *at = (char *)state + counter->at, *end = NULL;
    int64_t number = 0;
    if (counter->kind == COUNT_F64) {
        *(double *)(void *)at = strtod(text, &end); // also nan and hexadecimal
        return *text && end && *end == '\0';
    }
    if (!parse_i64(text, strlen(text), &number) || number < 0) return false;
    switch (counter->kind) {
    case COUNT_I64: *(int64_t *)(void *)at = number; break;
    case COUNT_U64: *(uint64_t *)(void *)at = (uint64_t)number; break;
    case COUNT_U32: *(uint32_t *)(void *)at = (uint32_t)number; return number <= UINT32_MAX;
    case COUNT_BOOL: *(bool *)(void *)at = number != 0; return number <= 1;
    case COUNT_F64: break;
    }
    return true;
}

Status checkpoint_state(Session *s, const char *path, const RunState *state, const RunIdentity *identity) {
    SafeEntry *entries = NULL;
    size_t count = 0, pairs = 0;
    char text[COUNTERS][COUNTER_TEXT];
    TRY(machine_pull(s->machine));
    SafePair *metadata = calloc(COUNTERS + 2 + identity->count, sizeof *metadata);
    if (!metadata) return status_make(STATUS_NO_MEMORY, "no memory for a checkpoint");
    metadata[pairs++] = (SafePair){"format", form};
    for (size_t i = 0; i < COUNTERS; i++) {
        counter_write(&counters[i], state, text[i]);
        metadata[pairs++] = (SafePair){counters[i].name, text[i]};
    }
    for (size_t i = 0; i < identity->count; i++)
        metadata[pairs++] = (SafePair){identity->pair[i].name, identity->pair[i].value};
    Status status = list_tensors(s, true, s->machine->persistent, &entries, &count);
    if (status == STATUS_OK) status = safetensors_write(path, entries, count, metadata, pairs);
    free(entries);
    free(metadata);
    return status;
}

static Status check_identity(const SafeFile *file, const RunIdentity *identity) {
    const char *format = safetensors_metadata(file, "format");
    if (!format || strcmp(format, form) != 0)
        return status_make(STATUS_MISMATCH, "%s is not the state of a run (format %s, needed %s)", file->path,
                           format ? format : "missing", form);
    Text wrong = {0};
    for (size_t i = 0; i < identity->count; i++) {
        const char *name = identity->pair[i].name, *now = identity->pair[i].value;
        const char *then = safetensors_metadata(file, name);
        if (then ? strcmp(then, now) == 0 : strcmp(now, "nothing") == 0) continue; // older runs name fewer things
        text_printf(&wrong, "\n  %s: the run has %s, this command says %s", name, then ? then : "nothing", now);
    }
    Status status = text_status(&wrong);
    if (status == STATUS_OK && wrong.length)
        status =
            status_make(STATUS_MISMATCH,
                        "%s belongs to a run that was started differently:%s\nrepeat the command that started it with "
                        "--resume, or give another --out",
                        file->path, text_string(&wrong));
    text_free(&wrong);
    return status;
}

static Status restore(Session *s, const SafeFile *file, const RunIdentity *identity, RunState *state) {
    TRY(check_identity(file, identity));
    for (size_t i = 0; i < COUNTERS; i++) {
        const char *text = safetensors_metadata(file, counters[i].name);
        if (!text || !counter_read(&counters[i], state, text))
            return status_make(STATUS_MALFORMED, "%s: counter %s is %s; the file is damaged", file->path,
                               counters[i].name, text ? text : "missing");
    }
    for (int pass = 0; pass < 2; pass++) { // check all, then read all
        for (int t = 0; t < s->plan->tensors; t++) {
            const StmTensor *tensor = &s->plan->tensor[t];
            if (tensor->kind != STM_PARAM && tensor->kind != STM_STATE) continue;
            const SafeTensor *found = safetensors_find(file, tensor->name);
            if (pass) {
                TRY(safetensors_read(file, found, element_of(tensor->type), s->machine->block[t]));
                continue;
            }
            bool same = found && found->rank == tensor->rank && element_size(found->type) == type_size(tensor->type) &&
                        safetensors_convertible(found->type, element_of(tensor->type));
            for (int d = 0; same && d < tensor->rank; d++)
                same = found->shape[d] == extent_of(tensor->dim[d], s->machine->bound);
            if (!same)
                return status_make(STATUS_MISMATCH,
                                   "%s: tensor %s is missing or has another shape; the file belongs to another program",
                                   file->path, tensor->name);
        }
    }
    return machine_push(s->machine);
}

Status checkpoint_resume(Session *s, const char *path, const RunIdentity *identity, RunState *out_state) {
    SafeFile file;
    *out_state = (RunState){0};
    TRY_IN(safetensors_open(path, &file), "cannot resume");
    Status status = restore(s, &file, identity, out_state);
    safetensors_close(&file);
    return status;
}
