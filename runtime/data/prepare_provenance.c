// prepare_provenance: where a store came from: every parameter, and every file that was read with its size and hash.
#include <math.h>
#include <string.h>

#include "../core/files.h"
#include "prepare_inside.h"
#include "sha256.h"

// ---- Writing ------------------------------------------------------------------------------------

static void put_text(JsonWriter *w, const char *key, const char *value) {
    json_key(w, key);
    if (value) json_string(w, value);
    else json_null(w);
}

static void put_integer(JsonWriter *w, const char *key, int64_t value) {
    json_key(w, key);
    json_integer(w, value);
}

static void put_number(JsonWriter *w, const char *key, double value) {
    json_key(w, key);
    json_number(w, value);
}

static void put_bool(JsonWriter *w, const char *key, bool value) {
    json_key(w, key);
    json_bool(w, value);
}

static Status put_file(JsonWriter *w, const char *path, const char *shown) {
    char hash[65];
    uint64_t size = 0;
    TRY(sha256_file(path, hash, &size));
    json_begin_object(w);
    put_text(w, "path", shown);
    put_integer(w, "size", (int64_t)size);
    put_text(w, "sha256", hash);
    json_end_object(w);
    return STATUS_OK;
}

static Status put_list(JsonWriter *w, const char *key, const char *path) {
    json_key(w, key);
    if (path) return put_file(w, path, path);
    json_null(w);
    return STATUS_OK;
}

static void put_tiles(const PrepareOptions *o, JsonWriter *w) {
    const PrepareTiles *t = &o->tiles;
    char edge[32];
    json_key(w, "tiles");
    if (o->no_tiles) {
        json_null(w);
        return;
    }
    json_begin_object(w);
    put_integer(w, "size", (int64_t)t->size);
    if (t->pitch > 0) put_number(w, "pitch", t->pitch);
    if (t->radius > 0) put_number(w, "radius", t->radius);
    if (t->spots > 0) put_number(w, "spots", t->spots);
    if (t->microns > 0) put_number(w, "microns", t->microns);
    if (t->least > 0) put_number(w, "least", t->least);
    put_text(w, "round", t->truncate ? "down" : "nearest");
    put_text(w, "filter", tiles_filter_name(t->filter));
    put_text(w, "edge", tiles_edge_name(t, edge));
    put_integer(w, "jpeg", t->jpeg);
    put_integer(w, "deflate", t->deflate);
    json_end_object(w);
}

static const char *mito_name(MitoRule rule) {
    static const char *const names[] = {NULL, "mt", "mt_contains", "mt_ribo", "mt_ribo_compat"};
    return names[rule];
}

static Status put_expression(const Choice *choice, JsonWriter *w) {
    static const char *const genes[] = {"all",        "list",          "top_mean",          "top_total",
                                        "hvg_seurat", "hvg_seurat_v3", "high_mean_variance"};
    static const char *const logs[] = {"none", "natural", "two"};
    const PrepareExpression *e = choice->expression;
    json_key(w, "expression");
    json_begin_object(w);
    put_text(w, "genes", genes[e->genes]);
    TRY(put_list(w, "list", e->list));
    put_integer(w, "n", (int64_t)e->count);
    put_integer(w, "min_spots", e->min_spots);
    put_text(w, "drop", mito_name(e->drop));
    json_key(w, "total");
    if (e->total < 0) json_string(w, "median");
    else json_number(w, e->total);
    put_number(w, "target", choice->target);
    put_number(w, "epsilon", e->epsilon);
    put_text(w, "log", logs[e->log]);
    json_end_object(w);
    return STATUS_OK;
}

static Status put_tables(const Preparation *work, JsonWriter *w) {
    json_key(w, "tables");
    json_begin_array(w);
    for (size_t t = 0; t < work->n_tables; t++) {
        const PlannedTable *table = &work->table[t];
        json_begin_object(w);
        put_text(w, "name", table->name);
        if (table->choice) TRY(put_expression(table->choice, w));
        else put_text(w, "source", work->read[table->read]);
        put_bool(w, "ranks", table->ranks);
        json_end_object(w);
    }
    json_end_array(w);
    return STATUS_OK;
}

static void put_graphs(const PrepareOptions *o, JsonWriter *w) {
    static const char *const lattices[] = {"hex", "square_4", "square_8"};
    static const char *const weights[] = {"one", "mean", "gaussian", "inverse"};
    json_key(w, "neighbours");
    json_begin_array(w);
    for (size_t i = 0; i < o->n_graphs; i++) {
        const PrepareGraph *g = &o->graphs[i];
        json_begin_object(w);
        put_text(w, "name", g->name);
        if (g->by_lattice) {
            put_text(w, "lattice", lattices[g->lattice]);
        } else {
            put_integer(w, "k", (int64_t)g->near.nearest);
            put_number(w, "radius", g->radius_pitch > 0 ? 0 : g->near.radius);
            put_number(w, "pitches", g->radius_pitch);
            put_bool(w, "self", g->near.include_self);
        }
        put_text(w, "weight", weights[g->weights.weight]);
        put_number(w, "length", g->weights.length);
        put_number(w, "cutoff", g->weights.cutoff);
        put_bool(w, "self_loops", g->weights.self_loops);
        put_bool(w, "symmetric", g->weights.symmetric);
        put_bool(w, "unit_total", g->weights.unit_total);
        put_bool(w, "unit_rows", g->weights.unit_rows);
        json_end_object(w);
    }
    json_end_array(w);
}

static Status put_splits(const PrepareOptions *o, JsonWriter *w) {
    static const char *const by[] = {"spot", "section", "patient"};
    json_key(w, "splits");
    json_begin_array(w);
    for (size_t i = 0; i < o->n_splits; i++) {
        const PrepareSplit *s = &o->splits[i];
        json_begin_object(w);
        put_text(w, "name", s->name);
        put_text(w, "by", by[s->by]);
        put_number(w, "validation", s->validation);
        put_number(w, "test", s->test);
        put_integer(w, "seed", s->seed);
        TRY(put_list(w, "train_list", s->list_train));
        TRY(put_list(w, "validation_list", s->list_validation));
        TRY(put_list(w, "test_list", s->list_test));
        json_end_object(w);
    }
    json_end_array(w);
    return STATUS_OK;
}

static void put_keep(const PrepareOptions *o, JsonWriter *w) {
    const SpotFilter *f = &o->keep;
    json_key(w, "spots");
    json_begin_object(w);
    put_number(w, "min_counts", f->min_counts);
    put_number(w, "max_counts", f->max_counts);
    put_integer(w, "min_genes", f->min_genes);
    put_integer(w, "max_genes", f->max_genes);
    put_text(w, "mito", mito_name(f->mitochondrial));
    put_number(w, "max_mito", f->max_mitochondrial);
    json_end_object(w);
}

Status describe_parameters(const Preparation *work, JsonWriter *w) {
    const PrepareOptions *o = work->options;
    json_begin_object(w);
    put_text(w, "program", o->program);
    put_text(w, "layout", source_layout_name(work->source->layout));
    put_text(w, "layer", work->source->options.layer);
    json_key(w, "sections");
    json_begin_array(w);
    for (size_t s = 0; s < work->n_sections; s++) json_string(w, section_name(work, s));
    json_end_array(w);
    put_tiles(o, w);
    TRY(put_tables(work, w));
    put_graphs(o, w);
    json_key(w, "features");
    json_begin_array(w);
    for (size_t i = 0; i < o->n_features; i++) {
        json_begin_object(w);
        put_text(w, "name", o->features[i].name);
        put_text(w, "pattern", o->features[i].pattern);
        put_text(w, "key", o->features[i].key);
        json_end_object(w);
    }
    json_end_array(w);
    TRY(put_splits(o, w));
    put_keep(o, w);
    put_integer(w, "thumbnail_side", (int64_t)o->thumbnail_side);
    json_end_object(w);
    return text_status(&w->text);
}

// Paths below the source are given relative to it, others as they are.
static const char *relative(const char *source, const char *path) {
    size_t prefix = is_directory(source) ? strlen(source) : (size_t)(path_base(source) - source);
    if (strncmp(path, source, prefix) != 0) return path;
    if (prefix && source[prefix - 1] != '/' && path[prefix] != '/') return path;
    while (path[prefix] == '/') prefix++;
    return path + prefix;
}

Status describe_inputs(const Preparation *work, const Section *section, JsonWriter *w) {
    json_begin_array(w);
    for (size_t i = 0; i < section->n_inputs; i++)
        TRY(put_file(w, section->inputs[i], relative(work->source->path, section->inputs[i])));
    json_end_array(w);
    return text_status(&w->text);
}

Status describe_left_out(const Section *section, size_t n_filtered, JsonWriter *w) {
    json_begin_object(w);
    json_key(w, "without_counts");
    json_begin_array(w);
    for (size_t i = 0; i < section->n_without_counts; i++) json_string(w, section->without_counts[i]);
    json_end_array(w);
    put_integer(w, "not_selected", (int64_t)section->n_not_selected);
    put_integer(w, "not_joined", (int64_t)section->n_not_joined);
    put_integer(w, "extra_rows", (int64_t)section->n_extra_rows);
    put_integer(w, "filtered", (int64_t)n_filtered);
    json_end_object(w);
    return text_status(&w->text);
}

void note_section(const Section *section, size_t n_filtered, Text *notes) {
    const char *name = section->name;
    if (section->n_without_counts) {
        text_printf(notes, "section %s: %zu selected spot%s without counts left out:", name, section->n_without_counts,
                    section->n_without_counts == 1 ? "" : "s");
        for (size_t i = 0; i < section->n_without_counts && i < 10; i++)
            text_printf(notes, " %s", section->without_counts[i]);
        text_add(notes, section->n_without_counts > 10 ? " ...\n" : "\n");
    }
    if (section->n_not_selected)
        text_printf(notes, "section %s: %zu positions not under tissue left out\n", name, section->n_not_selected);
    if (section->n_not_joined)
        text_printf(notes, "section %s: %zu spots with counts but no position left out\n", name, section->n_not_joined);
    if (section->n_extra_rows)
        text_printf(notes, "section %s: %zu rows of proportions for spots without counts left out\n", name,
                    section->n_extra_rows);
    if (n_filtered)
        text_printf(notes, "section %s: %zu of %zu spots left out by the filter\n", name, n_filtered,
                    section->n_spots + n_filtered);
    for (size_t i = 0; i < section->n_notes; i++) text_printf(notes, "section %s: %s\n", name, section->note[i]);
}

// ---- Adding to a store --------------------------------------------------------------------------

static bool same_value(const JsonValue *a, const JsonValue *b) {
    if (!a || !b || a->type != b->type || a->length != b->length) return false;
    switch (a->type) {
    case JSON_NULL: return true;
    case JSON_BOOL: return a->boolean == b->boolean;
    case JSON_NUMBER: return a->number == b->number;
    case JSON_STRING: return strcmp(a->string, b->string) == 0;
    case JSON_ARRAY:
        for (size_t i = 0; i < a->length; i++)
            if (!same_value(&a->items[i], &b->items[i])) return false;
        return true;
    case JSON_OBJECT:
        for (size_t i = 0; i < a->length; i++)
            if (strcmp(a->keys[i], "path") != 0 && !same_value(&a->items[i], json_get(b, a->keys[i]))) return false;
        return true; // a file is the same if its content is
    }
    return false;
}

// What differs, as words: "pitch: 26, here 20".
static void say_difference(const JsonValue *old, const JsonValue *new, const char *what, Text *out) {
    if (old && new && old->type == JSON_OBJECT &&new->type == JSON_OBJECT) {
        for (size_t i = 0; i < new->length; i++) {
            const JsonValue *before = json_get(old, new->keys[i]);
            if (strcmp(new->keys[i], "path") == 0 || same_value(before, &new->items[i])) continue;
            say_difference(before, &new->items[i], new->keys[i], out);
            return;
        }
    }
    if (old && new && old->type == JSON_ARRAY &&new->type == JSON_ARRAY && old->length == new->length) {
        for (size_t i = 0; i < new->length; i++) {
            if (same_value(&old->items[i], &new->items[i])) continue;
            say_difference(&old->items[i], &new->items[i], what, out);
            return;
        }
    }
    if (*what) text_printf(out, "%s: ", what);
    const JsonValue *sides[2] = {old, new};
    for (int s = 0; s < 2; s++) {
        const JsonValue *v = sides[s];
        text_add(out, s ? ", here " : "");
        if (!v) text_add(out, "not given");
        else if (v->type == JSON_NUMBER) text_printf(out, "%.9g", v->number);
        else if (v->type == JSON_STRING) text_printf(out, "\"%.60s\"", v->string);
        else if (v->type == JSON_BOOL) text_add(out, v->boolean ? "yes" : "no");
        else if (v->type == JSON_NULL) text_add(out, "none");
        else text_printf(out, "%zu %s", v->length, v->type == JSON_ARRAY ? "of them" : "entries");
    }
}

Status compare_parameters(const Preparation *work) {
    static const char *const keys[] = {"tiles", "tables", "neighbours", "features", "splits", "spots"};
    const char *text = store_info(work->old)->provenance;
    JsonValue *old = NULL, *new = NULL;
    JsonWriter w = json_writer(0);
    Arena arena;
    Text difference = {0};
    arena_init(&arena);
    Status status = describe_parameters(work, &w);
    if (status == STATUS_OK) status = json_parse(work->path, text, strlen(text), &arena, &old);
    if (status == STATUS_OK) status = json_parse("parameters", text_string(&w.text), w.text.length, &arena, &new);
    json_writer_free(&w);
    if (status == STATUS_OK && !json_get(old, "tiles"))
        status = status_make(STATUS_MISMATCH,
                             "%s does not say by which parameters it was made; prepare all sections anew", work->path);
    for (size_t k = 0; k < sizeof keys / sizeof *keys && status == STATUS_OK; k++) {
        const JsonValue *before = json_get(old, keys[k]), *now = json_get(new, keys[k]);
        if (same_value(before, now)) continue;
        say_difference(before, now, "", &difference);
        status = status_make(STATUS_MISMATCH,
                             "%s was prepared with other parameters: %s: %s; add sections with those of the store, or "
                             "prepare all of them anew",
                             work->path, keys[k], text_string(&difference));
    }
    text_free(&difference);
    arena_free(&arena);
    return status;
}

double old_target(const Preparation *work, const char *name) {
    const char *text = store_info(work->old)->provenance;
    JsonValue *old = NULL;
    Arena arena;
    double target = 0;
    arena_init(&arena);
    Status status = json_parse(work->path, text, strlen(text), &arena, &old);
    const JsonValue *tables = status == STATUS_OK ? json_get(old, "tables") : NULL;
    for (size_t t = 0; tables && tables->type == JSON_ARRAY && t < tables->length; t++) {
        const JsonValue *of = json_get(&tables->items[t], "name");
        const JsonValue *value = json_get(json_get(&tables->items[t], "expression"), "target");
        if (of && of->type == JSON_STRING && strcmp(of->string, name) == 0 && value && value->type == JSON_NUMBER)
            target = value->number;
    }
    status_drop(status);
    arena_free(&arena);
    return target;
}
