// weights_load: see weights_load.h.
#include "weights_load.h"

#include <stdio.h>
#include <string.h>

#include "../core/files.h"
#include "../core/json.h"
#include "../data/weights.h"
#include "checkpoint.h"

enum { LISTED = 12, MOST_PREFIXES = 64, PROBES = 8 }; // names shown per kind of complaint; ways to find prefixes

typedef struct Loading {
    Session *session;
    Weights file;
    const char *prefix;          // taken off the file's names; "" if none
    const WeightsTensor **found; // [tensors] for each weight of the plan; NULL: missing
    int64_t wanted, missing;
    int64_t counters, outside; // left out: batch counters, what stands outside of the prefix
} Loading;

// ---- Names -------------------------------------------------------------------------------------

static const WeightsTensor *look_up(const Weights *file, const char *prefix, const char *name, Text *path) {
    text_clear(path);
    text_printf(path, "%s%s", prefix, name);
    return weights_find(file, text_string(path));
}

static int64_t count_found(const Loading *l, const char *prefix) {
    const StmPlan *plan = l->session->plan;
    int64_t count = 0;
    Text path = {0};
    for (int t = 0; t < plan->tensors; t++)
        count += is_weight(&plan->tensor[t]) && look_up(&l->file, prefix, plan->tensor[t].name, &path);
    text_free(&path);
    return count;
}

// Whatever stands before the wanted name at the end of a tensor's name, for some of the wanted names.
static Status find_prefixes(const Loading *l, char **prefixes, size_t *out_count) {
    const StmPlan *plan = l->session->plan;
    int64_t every = l->wanted > PROBES ? l->wanted / PROBES : 1, number = 0;
    *out_count = 0;
    for (int t = 0; t < plan->tensors; t++) {
        const StmTensor *tensor = &plan->tensor[t];
        if (!is_weight(tensor) || number++ % every) continue;
        size_t length = strlen(tensor->name);
        for (size_t i = 0; i < l->file.count && *out_count < MOST_PREFIXES; i++) {
            const char *name = l->file.tensor[i].name;
            size_t all = strlen(name), known = 0;
            if (all <= length + 1 || name[all - length - 1] != '.' || strcmp(name + all - length, tensor->name) != 0)
                continue;
            while (known < *out_count &&
                   (strlen(prefixes[known]) != all - length || strncmp(prefixes[known], name, all - length) != 0))
                known++;
            if (known < *out_count) continue;
            TRY(ARENA_COPY(&l->session->arena, prefixes[*out_count], name, all - length));
            ++*out_count;
        }
    }
    return STATUS_OK;
}

// The prefix below which all wanted names are; failing that, the one with the most of them, for the complaint.
static Status choose_prefix(Loading *l) {
    char *prefixes[MOST_PREFIXES];
    size_t count = 0, complete = 0;
    int64_t best = count_found(l, "");
    Text list = {0};
    l->prefix = "";
    if (best == l->wanted) return STATUS_OK;
    TRY(find_prefixes(l, prefixes, &count));
    for (size_t i = 0; i < count; i++) {
        int64_t found = count_found(l, prefixes[i]);
        if (found == l->wanted) text_printf(&list, "%s'%s'", complete++ ? ", " : "", prefixes[i]);
        if (found > best) l->prefix = prefixes[i], best = found;
    }
    Status status = STATUS_OK;
    if (complete > 1)
        status = status_make(STATUS_MISMATCH,
                             "%s holds the weights of %s more than once, below %s; give a file that holds one of them",
                             l->file.path, l->session->plan->name, text_string(&list));
    text_free(&list);
    return status;
}

static Status find_tensors(Loading *l) {
    const StmPlan *plan = l->session->plan;
    Text path = {0};
    TRY(ARENA_NEW(&l->session->arena, l->found, (size_t)plan->tensors + 1));
    for (int t = 0; t < plan->tensors; t++) {
        l->found[t] = NULL;
        if (!is_weight(&plan->tensor[t])) continue;
        l->found[t] = look_up(&l->file, l->prefix, plan->tensor[t].name, &path);
        l->missing += !l->found[t];
    }
    text_free(&path);
    return STATUS_OK;
}

// ---- Checks ------------------------------------------------------------------------------------

// "[64, 3, 3, 3]"
static void shape_list(Text *text, int rank, const int64_t *shape) {
    text_add(text, "[");
    for (int d = 0; d < rank; d++) text_printf(text, "%s%lld", d ? ", " : "", (long long)shape[d]);
    text_add(text, "]");
}

// Adds one complaint, or counts it when enough are listed.
static bool room_for(Text *text, int64_t *count, const char *head) {
    if ((*count)++ == 0) text_printf(text, "\n  %s:", head);
    return *count <= LISTED;
}

static void close_list(Text *text, int64_t count) {
    if (count > LISTED) text_printf(text, "\n    and %lld more", (long long)(count - LISTED));
}

static void check_missing(const Loading *l, Text *text) {
    int64_t missing = 0;
    for (int t = 0; t < l->session->plan->tensors; t++) {
        const StmTensor *tensor = &l->session->plan->tensor[t];
        if (is_weight(tensor) && !l->found[t] && room_for(text, &missing, "missing"))
            text_printf(text, "\n    %s%s", l->prefix, tensor->name);
    }
    close_list(text, missing);
}

static void check_shapes(const Loading *l, Text *text) {
    int64_t misshapen = 0;
    for (int t = 0; t < l->session->plan->tensors; t++) {
        const StmTensor *tensor = &l->session->plan->tensor[t];
        const WeightsTensor *found = l->found[t];
        int64_t shape[STM_MAX_RANK];
        if (!found) continue;
        bool same = found->rank == tensor->rank;
        for (int d = 0; d < tensor->rank; d++) {
            shape[d] = extent_of(tensor->dim[d], l->session->machine->bound);
            same = same && shape[d] == found->shape[d];
        }
        bool fits = !found->is_text && safetensors_convertible(found->type, element_of(tensor->type));
        if ((same && fits) || !room_for(text, &misshapen, "of another shape or type")) continue;
        text_printf(text, "\n    %s: file %s ", found->name, found->is_text ? "text" : element_name(found->type));
        shape_list(text, found->rank, found->shape);
        text_printf(text, ", program %s ", type_name(tensor->type));
        shape_list(text, tensor->rank, shape);
    }
    close_list(text, misshapen);
}

static bool is_counter(const WeightsTensor *tensor) {
    const char *dot = strrchr(tensor->name, '.');
    return strcmp(dot ? dot + 1 : tensor->name, "num_batches_tracked") == 0 && tensor->rank == 0 && !tensor->is_text &&
           (tensor->type == ELEMENT_I64 || tensor->type == ELEMENT_I32);
}

static Status check_surplus(Loading *l, Text *text) {
    const StmPlan *plan = l->session->plan;
    Arena arena;
    NameIndex index;
    int64_t surplus = 0;
    size_t length = strlen(l->prefix);
    arena_init(&arena);
    Status status = name_index_init(&index, &arena, (size_t)plan->tensors + 1);
    for (int t = 0; t < plan->tensors && status == STATUS_OK; t++)
        if (is_weight(&plan->tensor[t])) name_index_add(&index, plan->tensor[t].name, t);
    for (size_t i = 0; i < l->file.count && status == STATUS_OK; i++) {
        const WeightsTensor *tensor = &l->file.tensor[i];
        if (strncmp(tensor->name, l->prefix, length) != 0) l->outside++;
        else if (name_index_find(&index, tensor->name + length) >= 0) continue;
        else if (is_counter(tensor)) l->counters++;
        else if (room_for(text, &surplus, "unknown to the program")) text_printf(text, "\n    %s", tensor->name);
    }
    close_list(text, surplus);
    arena_free(&arena);
    return status;
}

// What the file records; only safetensors have such pairs, in a pickle the same names may mean anything.
static const char *recorded(const Weights *file, const char *key) {
    return strcmp(file->kind, "safetensors") == 0 ? weights_fact(file, key) : NULL;
}

static Status check_fit(Loading *l) {
    const char *path = l->file.path, *name = l->session->plan->name, *format = recorded(&l->file, "format");
    Text wrong = {0};
    check_missing(l, &wrong);
    check_shapes(l, &wrong);
    Status status = check_surplus(l, &wrong);
    if (status == STATUS_OK) status = text_status(&wrong);
    if (status == STATUS_OK && wrong.length && format && strcmp(format, RUN_STATE_FORMAT) == 0) {
        status = status_make(STATUS_MISMATCH,
                             "%s is the state of a run, not weights; give best.safetensors or last.safetensors", path);
    } else if (status == STATUS_OK && wrong.length) {
        const char *program = recorded(&l->file, "program");
        status = status_make(STATUS_MISMATCH, "%s (%s) does not fit %s%s%s%s:%s", path, l->file.kind, name,
                             program ? "; it was written by " : "", program ? program : "",
                             program && strcmp(program, name) == 0 ? " compiled with other options" : "",
                             text_string(&wrong));
    }
    text_free(&wrong);
    return status;
}

// ---- Names along axes, settings ----------------------------------------------------------------

static Status parse_names(const Loading *l, const char *text, const JsonValue **out) {
    JsonValue *value = NULL;
    TRY(json_parse(l->file.path, text, strlen(text), &l->session->arena, &value));
    bool good = value->type == JSON_ARRAY;
    for (size_t i = 0; good && i < value->length; i++) good = value->items[i].type == JSON_STRING;
    *out = good ? value : NULL;
    return STATUS_OK;
}

static Status check_labels(const Loading *l, const StmPair *label) {
    const char *text = recorded(&l->file, label->name), *axis = label->name + strlen("axis.");
    const JsonValue *then = NULL, *now = NULL;
    if (!text || strcmp(text, label->value) == 0) return STATUS_OK;
    TRY(parse_names(l, text, &then));
    TRY(parse_names(l, label->value, &now));
    if (!then || !now || then->length != now->length)
        return status_make(STATUS_MISMATCH, "axis %s: %s was trained with other names than these data have", axis,
                           l->file.path);
    for (size_t i = 0; i < now->length; i++)
        if (strcmp(then->items[i].string, now->items[i].string) != 0)
            return status_make(STATUS_MISMATCH,
                               "axis %s: %s was trained with %s at place %zu, these data have %s there; prepare the "
                               "data in the order of the weights",
                               axis, l->file.path, then->items[i].string, i + 1, now->items[i].string);
    return STATUS_OK;
}

// Settings as the weights record them ("setting.NAME").
static Status adopt_settings(const Loading *l) {
    Session *s = l->session;
    for (int i = 0; i < s->plan->settings; i++) {
        const StmSetting *setting = &s->plan->setting[i];
        char key[160];
        snprintf(key, sizeof key, "setting.%.140s", setting->name);
        const char *value = s->setting_given[i] || setting->is_text ? NULL : recorded(&l->file, key);
        if (value && !parse_f64(value, strlen(value), &s->setting[i]))
            return status_make(STATUS_MALFORMED, "%s: %s = %s is not a number", l->file.path, key, value);
    }
    session_settings(s);
    return STATUS_OK;
}

// ---- Loading -----------------------------------------------------------------------------------

static Status read_tensors(const Loading *l) {
    Session *s = l->session;
    TRY(machine_pull(s->machine)); // state that is no weight keeps its value
    for (int t = 0; t < s->plan->tensors; t++) {
        if (!is_weight(&s->plan->tensor[t])) continue;
        TRY(weights_read((Weights *)&l->file, l->found[t], element_of(s->plan->tensor[t].type), s->machine->block[t]));
    }
    return machine_push(s->machine);
}

static void describe(const Loading *l, Text *notes) {
    const StmPlan *plan = l->session->plan;
    int64_t converted[ELEMENT_TYPES] = {0};
    const char *base = path_base(l->file.path);
    if (*l->prefix)
        text_printf(notes, "%s: a %s; all %lld tensors of %s are below the name '%s'\n", base, l->file.kind,
                    (long long)l->wanted, plan->name, l->prefix);
    if (l->outside)
        text_printf(notes, "%s: not read: %lld tensor%s outside of '%s'\n", base, (long long)l->outside,
                    l->outside == 1 ? "" : "s", l->prefix);
    if (l->counters)
        text_printf(notes, "%s: not read: num_batches_tracked of %lld batch norm%s, which nothing computes with\n",
                    base, (long long)l->counters, l->counters == 1 ? "" : "s");
    for (int t = 0; t < plan->tensors; t++)
        if (l->found[t] && l->found[t]->type != element_of(plan->tensor[t].type)) converted[l->found[t]->type]++;
    for (int k = 0; k < ELEMENT_TYPES; k++)
        if (converted[k])
            text_printf(notes, "%s: %lld tensor%s of %s converted\n", base, (long long)converted[k],
                        converted[k] == 1 ? "" : "s", element_name((ElementType)k));
}

static Status load(Loading *l, const StmPair *labels, size_t labels_n, bool settings, Text *notes) {
    for (int t = 0; t < l->session->plan->tensors; t++) l->wanted += is_weight(&l->session->plan->tensor[t]);
    TRY(choose_prefix(l));
    TRY(find_tensors(l));
    TRY(check_fit(l));
    for (size_t i = 0; i < labels_n; i++)
        if (strncmp(labels[i].name, "axis.", 5) == 0) TRY(check_labels(l, &labels[i]));
    TRY(read_tensors(l));
    if (settings) TRY(adopt_settings(l));
    describe(l, notes);
    return STATUS_OK;
}

Status weights_load(Session *session, const char *path, Text *notes) {
    Loading l = {.session = session};
    TRY_IN(weights_open(path, &l.file), "weights");
    Status status = load(&l, NULL, 0, true, notes);
    weights_close(&l.file);
    return status;
}

Status weights_start(Session *session, const char *path, const StmPair *labels, size_t labels_n, Text *notes) {
    Loading l = {.session = session};
    TRY_IN(weights_open(path, &l.file), "--weights");
    Status status = load(&l, labels, labels_n, false, notes);
    weights_close(&l.file);
    return status;
}

Status weights_recorded(Session *session, const char *path, const char *key, const char **out_text) {
    Weights file;
    char *copy = NULL;
    TRY_IN(weights_open(path, &file), "weights");
    const char *text = recorded(&file, key);
    Status status = text ? ARENA_COPY(&session->arena, copy, text, strlen(text)) : STATUS_OK;
    weights_close(&file);
    *out_text = copy;
    return status;
}
