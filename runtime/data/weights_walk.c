// weights_walk: see weights_walk.h. A tree of a few bytes can have endless ways through it (lists of the same list
// twice, again and again; cycles), so depth, steps and names are limited, and a value is not entered from within
// itself.
#include "weights_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 100, MOST_STEPS = 1 << 24, MOST_TENSORS = 1 << 18, MOST_MEMORY = 256 << 20, LONGEST_NAME = 2000 };

void walk_begin(WeightsWalk *walk, const char *path) {
    *walk = (WeightsWalk){0};
    arena_init(&walk->arena);
    walk->path = arena_copy(&walk->arena, path, strlen(path));
}

void walk_end(WeightsWalk *walk) {
    free(walk->tensor);
    free(walk->view);
    free(walk->fact);
    text_free(&walk->name);
    arena_free(&walk->arena);
    *walk = (WeightsWalk){0};
}

static Status no_memory(const WeightsWalk *walk) {
    return status_make(STATUS_NO_MEMORY, "no memory to list what %s holds", walk->path);
}

static Status too_many(const WeightsWalk *walk, const char *what, int limit) {
    return status_make(STATUS_UNSUPPORTED, "%s: it holds more than %d %s, the limit", walk->path, limit, what);
}

Status walk_tensor(WeightsWalk *walk, const char *name, const PickleView *shape, const PickleView *view) {
    if (walk->count == MOST_TENSORS || walk->arena.used > MOST_MEMORY) return too_many(walk, "tensors", MOST_TENSORS);
    if (walk->count == walk->room) {
        size_t room = walk->room ? walk->room * 2 : 64;
        WeightsTensor *tensor = realloc(walk->tensor, room * sizeof *tensor);
        if (!tensor) return no_memory(walk);
        walk->tensor = tensor;
        const PickleView **views = realloc(walk->view, room * sizeof *views);
        if (!views) return no_memory(walk);
        walk->view = views;
        walk->room = room;
    }
    WeightsTensor *t = &walk->tensor[walk->count];
    *t = (WeightsTensor){.type = shape->type,
                         .is_text = shape->is_text,
                         .rank = shape->rank,
                         .elements = shape->elements,
                         .number = walk->count};
    memcpy(t->shape, shape->shape, sizeof t->shape);
    walk->view[walk->count] = view;
    char *copy = NULL;
    TRY(ARENA_COPY(&walk->arena, copy, name, strlen(name)));
    t->name = copy;
    walk->count++;
    return STATUS_OK;
}

static Status add_fact(WeightsWalk *walk, const char *name, const char *value, size_t length, bool is_text) {
    if (walk->facts == MOST_TENSORS || walk->arena.used > MOST_MEMORY)
        return too_many(walk, "numbers and texts by name", MOST_TENSORS);
    if (walk->facts == walk->fact_room) {
        size_t room = walk->fact_room ? walk->fact_room * 2 : 64;
        WeightsFact *fact = realloc(walk->fact, room * sizeof *fact);
        if (!fact) return no_memory(walk);
        walk->fact = fact;
        walk->fact_room = room;
    }
    char *name_copy = NULL, *value_copy = NULL;
    TRY(ARENA_COPY(&walk->arena, name_copy, name, strlen(name)));
    TRY(ARENA_COPY(&walk->arena, value_copy, value, length));
    walk->fact[walk->facts++] = (WeightsFact){name_copy, value_copy, is_text};
    return STATUS_OK;
}

Status walk_fact(WeightsWalk *walk, const char *name, const char *value, bool is_text) {
    return add_fact(walk, name, value, strlen(value), is_text);
}

// ---- pickles
// ---------------------------------------------------------------------------------------------------------

static Status walk_value(WeightsWalk *walk, PickleValue *value, int depth);

static Status scalar(WeightsWalk *walk, const PickleValue *value) {
    char number[NUMBER_TEXT];
    const char *name = text_string(&walk->name);
    switch (value->type) {
    case PICKLE_BOOL: return walk_fact(walk, name, value->boolean ? "true" : "false", false);
    case PICKLE_INT: snprintf(number, sizeof number, "%lld", (long long)value->integer); break;
    case PICKLE_REAL: number_f64(value->real, number); break;
    case PICKLE_TEXT:
        if (value->length > 1 << 16 || memchr(value->text, 0, value->length) || !valid_utf8(value->text, value->length))
            return STATUS_OK; // bytes in disguise
        return add_fact(walk, name, value->text, value->length, true);
    default: return STATUS_OK; // None, bytes, names of types, bare storages
    }
    return walk_fact(walk, name, number, false);
}

// Enters `value` by a key: adds it to the name, and takes it away again.
static Status enter(WeightsWalk *walk, const char *key, size_t length, PickleValue *value, int depth) {
    size_t before = walk->name.length;
    walk->steps += length / 64; // long keys take their time
    if (before) text_add(&walk->name, ".");
    text_append(&walk->name, key, length);
    TRY(text_status(&walk->name));
    if (walk->name.length > LONGEST_NAME)
        return status_make(STATUS_UNSUPPORTED, "%s: a name is longer than %d bytes: %.60s...", walk->path, LONGEST_NAME,
                           walk->name.data);
    TRY(walk_value(walk, value, depth));
    walk->name.length = before;
    walk->name.data[before] = '\0';
    return STATUS_OK;
}

static Status members(WeightsWalk *walk, const PickleValue *object, const PickleValue *dict, int depth) {
    for (size_t i = 0; i < dict->count; i++) {
        const PickleValue *key = dict->items[2 * i];
        PickleValue *value = dict->items[2 * i + 1];
        char number[32];
        if (pickle_is_wrapper(object, key)) {
            TRY(walk_value(walk, value, depth));
        } else if (key->type == PICKLE_TEXT) {
            char shown[QUOTED_TEXT];
            if (memchr(key->text, 0, key->length) || !valid_utf8(key->text, key->length))
                return status_make(STATUS_UNSUPPORTED, "%s: below %s, key %s is no UTF-8 text without zero bytes",
                                   walk->path, walk->name.length ? walk->name.data : "the top",
                                   quoted(key->text, key->length, shown));
            TRY(enter(walk, key->text, key->length, value, depth));
        } else { // other keys by their place
            int n = key->type == PICKLE_INT ? snprintf(number, sizeof number, "%lld", (long long)key->integer)
                                            : snprintf(number, sizeof number, "[%zu]", i);
            TRY(enter(walk, number, (size_t)n, value, depth));
        }
    }
    return STATUS_OK;
}

// Numbers and texts of lists are no facts.
static Status items(WeightsWalk *walk, const PickleValue *list, int depth) {
    for (size_t i = 0; i < list->count; i++) {
        char number[32];
        PickleType type = list->items[i]->type;
        bool plain = type != PICKLE_LIST && type != PICKLE_TUPLE && type != PICKLE_DICT && type != PICKLE_OBJECT &&
                     type != PICKLE_TENSOR && type != PICKLE_ARRAY;
        if (plain) {
            if (++walk->steps > MOST_STEPS) return too_many(walk, "values on all ways through it", MOST_STEPS);
            continue;
        }
        int n = snprintf(number, sizeof number, "%zu", i);
        TRY(enter(walk, number, (size_t)n, list->items[i], depth));
    }
    return STATUS_OK;
}

static Status walk_value(WeightsWalk *walk, PickleValue *value, int depth) {
    if (++walk->steps > MOST_STEPS) return too_many(walk, "values on all ways through it", MOST_STEPS);
    if (value->type == PICKLE_TENSOR || value->type == PICKLE_ARRAY) {
        if (!value->view)
            return status_make(STATUS_MALFORMED, "%s: array %s was never given its data; the file is damaged",
                               walk->path, text_string(&walk->name));
        return walk_tensor(walk, walk->name.length ? walk->name.data : "tensor", value->view, value->view);
    }
    bool list = value->type == PICKLE_LIST || value->type == PICKLE_TUPLE;
    const PickleValue *dict = value->type == PICKLE_DICT ? value : value->type == PICKLE_OBJECT ? value->state : NULL;
    if (!list && !dict) return walk->name.length ? scalar(walk, value) : STATUS_OK;
    if (value->visited) return STATUS_OK; // on the way already
    if (depth == DEEPEST)
        return status_make(STATUS_UNSUPPORTED, "%s: its values are nested deeper than %d levels", walk->path, DEEPEST);
    value->visited = true;
    Status status = list ? items(walk, value, depth + 1) : members(walk, value, dict, depth + 1);
    value->visited = false;
    return status;
}

Status walk_pickle(WeightsWalk *walk, PickleValue *root) {
    return walk_value(walk, root, 0);
}
