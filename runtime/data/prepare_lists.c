// prepare_lists: what a section brings besides tiles, counts and tables: neighbour lists, features from files of
// weights, and its spots' parts in splits.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "prepare_inside.h"
#include "splits.h"
#include "weights.h"

// ---- Neighbours ---------------------------------------------------------------------------------

static bool plain(const GraphOptions *o) {
    return o->weight == EDGE_ONE && !o->self_loops && !o->symmetric && !o->unit_total && !o->unit_rows;
}

// Lattice neighbours as lists with their distances in pixels, so that they are weighted like any others.
static Status lattice_lists(const Section *section, Lattice lattice, NeighbourLists *out) {
    size_t n = section->n_spots;
    Graph graph = {0};
    if (section->no_array)
        return status_make(
            STATUS_NOT_FOUND,
            "lattice neighbours need places on an array, which the source does not give; use k, radius or "
            "pitches");
    int64_t *row = malloc((2 * n + 1) * sizeof *row), *column = row + n;
    if (!row) return arena_exhausted(2 * n, sizeof *row);
    for (size_t i = 0; i < n; i++) {
        column[i] = section->array[2 * i];
        row[i] = section->array[2 * i + 1];
    }
    Status status = graph_from_lattice(row, column, n, lattice, false, &graph);
    free(row);
    TRY(status);
    size_t edges = (size_t)graph_edges(&graph);
    double *distance = malloc((edges + 1) * sizeof *distance);
    if (!distance) {
        graph_free(&graph);
        return arena_exhausted(edges, sizeof *distance);
    }
    for (size_t i = 0; i < n; i++)
        for (int64_t e = graph.start[i]; e < graph.start[i + 1]; e++) {
            const double *a = section->pixel + 2 * i, *b = section->pixel + 2 * (size_t)graph.index[e];
            distance[e] = hypot(a[0] - b[0], a[1] - b[1]);
        }
    *out = (NeighbourLists){n, graph.start, graph.index, distance};
    graph.start = NULL; // handed over
    graph.index = NULL;
    graph_free(&graph);
    return STATUS_OK;
}

static Status find_lists(const PrepareGraph *want, const Section *section, NeighbourLists *out) {
    NeighbourOptions near = want->near;
    if (want->by_lattice) return lattice_lists(section, want->lattice, out);
    if (want->radius_pitch > 0) {
        double pitch = NAN;
        TRY(neighbour_pitch(section->pixel, section->n_spots, 2, &pitch));
        if (!(pitch > 0) && section->n_spots > 1)
            return status_make(STATUS_MALFORMED, "all spots lie at one place, so their pitch is unknown");
        near.radius = pitch > 0 ? want->radius_pitch * pitch : 1; // a spot alone has no neighbours at any radius
    }
    return neighbours_find(section->pixel, section->n_spots, 2, &near, out);
}

static Status copy_list(Arena *arena, size_t n, const int64_t *start, const int32_t *index, StoreGraph *out) {
    int64_t *starts = NULL;
    int32_t *to = NULL;
    TRY(ARENA_NEW(arena, starts, n + 1));
    TRY(ARENA_NEW(arena, to, (size_t)start[n]));
    memcpy(starts, start, (n + 1) * sizeof *starts);
    if (start[n]) memcpy(to, index, (size_t)start[n] * sizeof *to);
    out->start = starts;
    out->neighbour = to;
    return STATUS_OK;
}

// Without weights in the order they were found (nearest first), with weights ascending.
static Status make_graph(const PrepareGraph *want, const Section *section, Arena *arena, StoreGraph *out) {
    NeighbourLists lists = {0};
    Graph graph = {0};
    *out = (StoreGraph){.name = want->name};
    Status status = find_lists(want, section, &lists);
    if (status == STATUS_OK && plain(&want->weights)) {
        status = copy_list(arena, section->n_spots, lists.start, lists.index, out);
    } else if (status == STATUS_OK) {
        status = graph_from_neighbours(&lists, &want->weights, &graph);
        if (status == STATUS_OK) status = copy_list(arena, section->n_spots, graph.start, graph.index, out);
        float *weight = NULL;
        if (status == STATUS_OK) status = ARENA_NEW(arena, weight, (size_t)graph_edges(&graph));
        for (int64_t e = 0; status == STATUS_OK && e < graph_edges(&graph); e++) weight[e] = (float)graph.weight[e];
        out->weight = weight;
        graph_free(&graph);
    }
    neighbours_free(&lists);
    return status_context(status, "neighbours '%s'", want->name);
}

// ---- Features -----------------------------------------------------------------------------------

// The pattern with the section's name in it, below the source's directory.
static Status features_path(const Preparation *work, const char *pattern, const char *section, Arena *arena,
                            char **out) {
    static const char mark[] = "{section}";
    const char *source = work->source->path;
    Text text = {0};
    if (*pattern != '/') {
        size_t length = is_directory(source) ? strlen(source) : (size_t)(path_base(source) - source);
        text_append(&text, source, length);
        if (length && source[length - 1] != '/') text_add(&text, "/");
    }
    for (const char *at = pattern; *at;) {
        bool name = strncmp(at, mark, sizeof mark - 1) == 0;
        if (name) text_add(&text, section);
        else text_append(&text, at, 1);
        at += name ? sizeof mark - 1 : 1;
    }
    Status status = text_status(&text);
    if (status == STATUS_OK) status = ARENA_COPY(arena, *out, text_string(&text), text.length);
    text_free(&text);
    return status;
}

static Status find_tensor(Weights *weights, const char *key, const WeightsTensor **out) {
    Text names = {0};
    size_t tables = 0;
    const WeightsTensor *found = weights_find(weights, key ? key : "features"), *only = NULL;
    for (size_t t = 0; t < weights->count; t++) {
        const WeightsTensor *tensor = &weights->tensor[t];
        if (t < 20) text_printf(&names, "%s%s", t ? ", " : "", tensor->name);
        if (tensor->rank != 2 || tensor->is_text) continue;
        only = tensor;
        tables++;
    }
    if (!found && !key && tables == 1) found = only;
    Status status = STATUS_OK;
    if (!found && key)
        status = status_make(STATUS_NOT_FOUND, "%s has no tensor '%s'; it has %s", weights->path, key,
                             weights->count ? text_string(&names) : "none");
    else if (!found)
        status = status_make(STATUS_NOT_FOUND,
                             "%s has no tensor 'features', and %zu of two dimensions; say which by its key (%s)",
                             weights->path, tables, weights->count ? text_string(&names) : "there is none");
    else if (found->rank != 2 || found->is_text || !element_convertible(found->type, ELEMENT_F32))
        status = status_make(STATUS_MISMATCH, "%s: '%s' is no table of numbers (a row per spot, a column per feature)",
                             weights->path, found->name);
    else if (found->shape[1] == 0)
        status = status_make(STATUS_MISMATCH, "%s: '%s' has no columns", weights->path, found->name);
    text_free(&names);
    *out = found;
    return status;
}

// The row of the file for every spot: by barcodes, or the spots in the order in which the source has them.
static Status match_rows(Weights *weights, const WeightsTensor *tensor, const Section *section, const size_t *row,
                         size_t n_before, Arena *arena, size_t **out) {
    char **barcodes = NULL;
    size_t count = 0;
    NameIndex index;
    TRY(ARENA_NEW(arena, *out, section->n_spots));
    Status status = weights_texts(weights, "barcodes", arena, &barcodes, &count);
    if (status_code(status) == STATUS_NOT_FOUND) {
        status_drop(status);
        if ((size_t)tensor->shape[0] != n_before)
            return status_make(
                STATUS_MISMATCH,
                "%s: '%s' has %lld rows, the section has %zu spots, and there are no 'barcodes' that say "
                "which is which",
                weights->path, tensor->name, (long long)tensor->shape[0], n_before);
        memcpy(*out, row, section->n_spots * sizeof **out);
        return STATUS_OK;
    }
    TRY(status);
    if ((size_t)tensor->shape[0] != count)
        return status_make(STATUS_MISMATCH, "%s: '%s' has %lld rows for %zu barcodes", weights->path, tensor->name,
                           (long long)tensor->shape[0], count);
    TRY(name_index_init(&index, arena, count + 1));
    for (size_t i = 0; i < count; i++)
        if (name_index_add(&index, barcodes[i], (int64_t)i) >= 0)
            return status_make(STATUS_MALFORMED, "%s: the barcode '%s' occurs twice", weights->path, barcodes[i]);
    size_t missing = 0, first = 0;
    for (size_t i = section->n_spots; i-- > 0;) {
        int64_t at = name_index_find(&index, section->ids[i]);
        (*out)[i] = at < 0 ? 0 : (size_t)at;
        if (at >= 0) continue;
        missing++;
        first = i;
    }
    if (missing)
        return status_make(STATUS_MISMATCH, "%s has no features of %zu of the %zu spots, the first of them %s",
                           weights->path, missing, section->n_spots, section->ids[first]);
    return STATUS_OK;
}

static Status take_features(Weights *weights, const PrepareFeatures *want, const Section *section, const size_t *row,
                            size_t n_before, Arena *arena, StoreFeatures *out) {
    const WeightsTensor *tensor = NULL;
    size_t *from = NULL;
    float *values = NULL;
    TRY(find_tensor(weights, want->key, &tensor));
    TRY(match_rows(weights, tensor, section, row, n_before, arena, &from));
    size_t width = (size_t)tensor->shape[1];
    if (section->n_spots > SIZE_MAX / sizeof(float) / width) return arena_exhausted(section->n_spots, width);
    TRY(ARENA_NEW(arena, values, section->n_spots * width));
    float *all = malloc(((size_t)tensor->elements + 1) * sizeof *all);
    if (!all) return arena_exhausted((size_t)tensor->elements, sizeof *all);
    Status status = weights_read(weights, tensor, ELEMENT_F32, all);
    for (size_t i = 0; i < section->n_spots && status == STATUS_OK; i++) {
        const float *of = all + from[i] * width;
        for (size_t c = 0; c < width && status == STATUS_OK; c++)
            if (!isfinite(of[c]))
                status = status_make(STATUS_MALFORMED, "%s: '%s': row %zu (spot %s), column %zu is not a finite number",
                                     weights->path, tensor->name, from[i], section->ids[i], c);
        memcpy(values + i * width, of, width * sizeof *values);
    }
    free(all);
    *out = (StoreFeatures){want->name, width, values};
    return status;
}

static Status read_features(const Preparation *work, const PrepareFeatures *want, Section *section, const size_t *row,
                            size_t n_before, Arena *arena, StoreFeatures *out) {
    char *path = NULL;
    Weights weights = {0};
    TRY(features_path(work, want->pattern, section->name, arena, &path));
    TRY_IN(weights_open(path, &weights), "features '%s'", want->name);
    Status status = take_features(&weights, want, section, row, n_before, arena, out);
    weights_close(&weights);
    if (status == STATUS_OK) status = section_input(section, path);
    return status_context(status, "features '%s'", want->name);
}

// ---- Splits -------------------------------------------------------------------------------------

static const char *const part_names[] = {"train", "validation", "test"};

static bool has_lists(const PrepareSplit *s) {
    return s->list_train || s->list_validation || s->list_test;
}

Status splits_check(const PrepareOptions *options) {
    for (size_t i = 0; i < options->n_splits; i++) {
        const PrepareSplit *s = &options->splits[i];
        if (has_lists(s) && s->by != BY_SECTION)
            return status_make(STATUS_INVALID, "split '%s': lists name sections; use them with a split by section",
                               s->name);
        if (has_lists(s) && (s->validation > 0 || s->test > 0))
            return status_make(STATUS_INVALID, "split '%s': give lists or shares, not both", s->name);
        if (!has_lists(s) && (!(s->validation >= 0) || !(s->test >= 0) || !(s->validation + s->test < 1)))
            return status_make(STATUS_INVALID,
                               "split '%s': shares of %g for validation and %g for test; each is at least 0 and both "
                               "together are below 1",
                               s->name, s->validation, s->test);
        if (options->append && !has_lists(s) && s->by != BY_SPOT)
            return status_make(
                STATUS_INVALID,
                "split '%s': a split by %s needs all sections at once; prepare them together, or split by "
                "lists of names",
                s->name, s->by == BY_SECTION ? "section" : "patient");
    }
    return STATUS_OK;
}

bool splits_need_groups(const PrepareOptions *options) {
    for (size_t i = 0; i < options->n_splits; i++)
        if (options->splits[i].by == BY_GROUP) return true;
    return false;
}

static Status read_list(const char *path, Vocabulary *out) {
    return path ? vocabulary_read(path, 0, out) : STATUS_OK;
}

static Status split_by_lists(Preparation *work, const PrepareSplit *s, const char *const *names, uint8_t *side) {
    Vocabulary list[3] = {0};
    size_t unused = 0;
    Status status = read_list(s->list_train, &list[0]);
    if (status == STATUS_OK) status = read_list(s->list_validation, &list[1]);
    if (status == STATUS_OK) status = read_list(s->list_test, &list[2]);
    if (status == STATUS_OK)
        status = split_by_names(names, work->n_sections, (const char *const *)list[0].gene, list[0].count,
                                (const char *const *)list[1].gene, list[1].count, (const char *const *)list[2].gene,
                                list[2].count, side, &unused);
    for (int l = 0; l < 3; l++) vocabulary_free(&list[l]);
    if (status == STATUS_OK && unused)
        text_printf(&work->report->notes, "split %s: %zu names of its lists are no sections here\n", s->name, unused);
    return status;
}

static Status split_by_shares(Preparation *work, const PrepareSplit *s, const char *const *names, char *const *group,
                              uint8_t *side) {
    int32_t *number = NULL;
    size_t groups = 0, held = 0;
    TRY(ARENA_NEW(&work->arena, number, work->n_sections));
    TRY(groups_number(s->by == BY_GROUP ? (const char *const *)group : names, names, work->n_sections, &work->arena,
                      number, &groups, NULL));
    SplitOptions options = {s->validation, s->test, s->seed};
    return split_by_group(number, work->n_sections, groups, &options, side, &held);
}

Status splits_plan(Preparation *work, char *const *group) {
    const PrepareOptions *o = work->options;
    const char **names = NULL;
    size_t count[3];
    TRY(ARENA_NEW(&work->arena, work->split, o->n_splits));
    TRY(ARENA_NEW(&work->arena, names, work->n_sections));
    for (size_t s = 0; s < work->n_sections; s++) names[s] = section_name(work, s);
    for (size_t i = 0; i < o->n_splits; i++) {
        const PrepareSplit *s = &o->splits[i];
        work->split[i].split = s;
        if (s->by == BY_SPOT) continue;
        uint8_t *side = NULL;
        TRY(ARENA_NEW(&work->arena, side, work->n_sections));
        TRY_IN(has_lists(s) ? split_by_lists(work, s, names, side) : split_by_shares(work, s, names, group, side),
               "split '%s'", s->name);
        split_count(side, work->n_sections, count);
        text_printf(&work->report->notes, "split %s: of %zu sections %zu train, %zu validate, %zu test\n", s->name,
                    work->n_sections, count[0], count[1], count[2]);
        work->split[i].side = side;
    }
    return STATUS_OK;
}

static Status make_split(const PlannedSplit *plan, const Section *section, size_t number, Arena *arena,
                         StoreSplit *out) {
    const PrepareSplit *s = plan->split;
    uint8_t *side = NULL;
    int32_t *part = NULL;
    TRY(ARENA_NEW(arena, side, section->n_spots));
    TRY(ARENA_NEW(arena, part, section->n_spots));
    if (plan->side) memset(side, plan->side[number], section->n_spots);
    else
        TRY_IN(split_random(section->n_spots, &(SplitOptions){s->validation, s->test, s->seed}, side), "split '%s'",
               s->name);
    for (size_t i = 0; i < section->n_spots; i++) part[i] = side[i];
    *out = (StoreSplit){s->name, 3, (char *const *)part_names, part};
    return STATUS_OK;
}

// ---- All of them --------------------------------------------------------------------------------

Status lists_fill(Preparation *work, Section *section, size_t number, const size_t *row, size_t n_before, Arena *arena,
                  StoreSectionExtra *extra) {
    const PrepareOptions *o = work->options;
    StoreGraph *graphs = NULL;
    StoreFeatures *features = NULL;
    StoreSplit *splits = NULL;
    TRY(ARENA_NEW(arena, graphs, o->n_graphs));
    TRY(ARENA_NEW(arena, features, o->n_features));
    TRY(ARENA_NEW(arena, splits, o->n_splits));
    for (size_t i = 0; i < o->n_graphs; i++) TRY(make_graph(&o->graphs[i], section, arena, &graphs[i]));
    for (size_t i = 0; i < o->n_features; i++)
        TRY(read_features(work, &o->features[i], section, row, n_before, arena, &features[i]));
    for (size_t i = 0; i < o->n_splits; i++) TRY(make_split(&work->split[i], section, number, arena, &splits[i]));
    extra->graphs = graphs;
    extra->n_graphs = o->n_graphs;
    extra->features = features;
    extra->n_features = o->n_features;
    extra->splits = splits;
    extra->n_splits = o->n_splits;
    return STATUS_OK;
}
