// neighbours: see neighbours.h. The tree is a permutation of the points: the middle of every range splits it along the
// widest axis; small ranges are searched directly.
#include "neighbours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../core/random.h"

enum { LEAF = 12, DIMENSIONS = 8 };

typedef struct Tree {
    const double *points;
    size_t count, dimensions;
    int32_t *order; // [count] the permutation
    uint8_t *axis;  // [count] of the split whose middle stands here
} Tree;

typedef struct Found {
    double square;
    int32_t index;
} Found;

typedef struct Search {
    const Tree *tree;
    const double *at;
    int32_t self;  // left out; -1: nobody
    double limit;  // squared radius, or infinity
    size_t wanted; // 0: all
    Found *found;  // heap, the farthest first, when `wanted`; a list otherwise
    size_t held, room;
    bool failed;
} Search;

void neighbours_free(NeighbourLists *lists) {
    free(lists->start);
    free(lists->index);
    free(lists->distance);
    *lists = (NeighbourLists){0};
}

static bool before(Found a, Found b) {
    return a.square < b.square || (a.square == b.square && a.index < b.index);
}

static int by_distance(const void *a, const void *b) {
    const Found *x = a, *y = b;
    return before(*x, *y) ? -1 : before(*y, *x);
}

// ---- The tree -----------------------------------------------------------------------------------

static double coordinate(const Tree *tree, size_t place, size_t axis) {
    return tree->points[(size_t)tree->order[place] * tree->dimensions + axis];
}

static bool place_before(const Tree *tree, size_t axis, int32_t a, int32_t b) {
    double x = tree->points[(size_t)a * tree->dimensions + axis], y = tree->points[(size_t)b * tree->dimensions + axis];
    return x < y || (x == y && a < b);
}

// Puts the element that belongs at `middle` of [first, last) there, smaller ones before it (quickselect with the median
// of three; equal coordinates are told apart by position, so equal points cost nothing special).
static void select_middle(Tree *tree, size_t first, size_t last, size_t middle, size_t axis) {
    int32_t *o = tree->order;
    while (last - first > 2) {
        size_t centre = first + (last - first) / 2;
        int32_t a = o[first], b = o[centre], c = o[last - 1], pivot;
        if (place_before(tree, axis, a, b))
            pivot = place_before(tree, axis, b, c) ? b : place_before(tree, axis, a, c) ? c : a;
        else pivot = place_before(tree, axis, a, c) ? a : place_before(tree, axis, b, c) ? c : b;
        size_t i = first, j = last - 1;
        for (;;) {
            while (place_before(tree, axis, o[i], pivot)) i++;
            while (place_before(tree, axis, pivot, o[j])) j--;
            if (i >= j) break;
            int32_t swap = o[i];
            o[i++] = o[j];
            o[j--] = swap;
        }
        // [first, i) <= pivot <= [i, last)
        if (middle < i) last = i;
        else first = i;
        if (first + 1 >= last) return;
    }
    if (last - first == 2 && place_before(tree, axis, o[first + 1], o[first])) {
        int32_t swap = o[first];
        o[first] = o[first + 1];
        o[first + 1] = swap;
    }
}

static void build(Tree *tree, size_t first, size_t last) {
    while (last - first > LEAF) {
        size_t widest = 0;
        double width = -1;
        for (size_t d = 0; d < tree->dimensions; d++) {
            double low = INFINITY, high = -INFINITY;
            for (size_t i = first; i < last; i++) {
                low = fmin(low, coordinate(tree, i, d));
                high = fmax(high, coordinate(tree, i, d));
            }
            if (high - low > width) {
                width = high - low;
                widest = d;
            }
        }
        size_t middle = first + (last - first) / 2;
        select_middle(tree, first, last, middle, widest);
        tree->axis[middle] = (uint8_t)widest;
        build(tree, first, middle);
        first = middle + 1;
    }
}

static Status tree_create(const double *points, size_t count, size_t dimensions, Tree *tree) {
    *tree = (Tree){.points = points, .count = count, .dimensions = dimensions};
    if (dimensions < 1 || dimensions > DIMENSIONS || count > INT32_MAX)
        return status_make(STATUS_UNSUPPORTED,
                           "neighbours of %zu points in %zu dimensions; up to 2^31 points in 1 to 8", count,
                           dimensions);
    for (size_t i = 0; i < count * dimensions; i++)
        if (!isfinite(points[i]))
            return status_make(STATUS_INVALID, "point %zu has coordinate %g; neighbours need finite positions",
                               i / dimensions, points[i]);
    tree->order = malloc((count + 1) * sizeof *tree->order);
    tree->axis = calloc(count + 1, 1);
    if (!tree->order || !tree->axis) {
        free(tree->order);
        free(tree->axis);
        return status_make(STATUS_NO_MEMORY, "no memory for a tree of %zu points", count);
    }
    for (size_t i = 0; i < count; i++) tree->order[i] = (int32_t)i;
    build(tree, 0, count);
    return STATUS_OK;
}

static void tree_free(Tree *tree) {
    free(tree->order);
    free(tree->axis);
}

// ---- The search ---------------------------------------------------------------------------------

static void sift_down(Found *heap, size_t held, size_t at) {
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= held) return;
        if (child + 1 < held && before(heap[child], heap[child + 1])) child++;
        if (!before(heap[at], heap[child])) return;
        Found swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
        at = child;
    }
}

static void offer(Search *s, int32_t index) {
    if (index == s->self) return;
    const double *p = s->tree->points + (size_t)index * s->tree->dimensions;
    Found found = {0, index};
    for (size_t d = 0; d < s->tree->dimensions; d++) found.square += (p[d] - s->at[d]) * (p[d] - s->at[d]);
    if (found.square > s->limit) return;
    if (s->wanted && s->held == s->wanted) {
        if (!before(found, s->found[0])) return;
        s->found[0] = found;
        sift_down(s->found, s->held, 0);
        return;
    }
    if (s->held == s->room) {
        size_t room = s->room ? 2 * s->room : 64;
        Found *grown = realloc(s->found, room * sizeof *grown);
        if (!grown) {
            s->failed = true;
            return;
        }
        s->found = grown;
        s->room = room;
    }
    size_t at = s->held++;
    s->found[at] = found;
    while (s->wanted && at > 0 && before(s->found[(at - 1) / 2], s->found[at])) {
        Found swap = s->found[at];
        s->found[at] = s->found[(at - 1) / 2];
        s->found[at = (at - 1) / 2] = swap;
    }
}

// A plane farther than every point still wanted hides nothing; one at equal distance may hide a tie.
static bool worth_crossing(const Search *s, double gap) {
    double square = gap * gap;
    if (square > s->limit) return false;
    return !(s->wanted && s->held == s->wanted && square > s->found[0].square);
}

static void search(Search *s, size_t first, size_t last) {
    while (last - first > LEAF) {
        size_t middle = first + (last - first) / 2, axis = s->tree->axis[middle];
        double gap = s->at[axis] - coordinate(s->tree, middle, axis);
        if (gap <= 0) search(s, first, middle);
        else search(s, middle + 1, last);
        if (!worth_crossing(s, gap)) return;
        offer(s, s->tree->order[middle]);
        if (gap <= 0) first = middle + 1;
        else last = middle;
    }
    for (size_t i = first; i < last; i++) offer(s, s->tree->order[i]);
}

static Status find_all(const Tree *tree, const NeighbourOptions *options, NeighbourLists *out) {
    Search s = {.tree = tree, .wanted = options->nearest};
    s.limit = options->radius > 0 ? options->radius * options->radius : INFINITY;
    size_t room = 0;
    Status status = STATUS_OK;
    out->points = tree->count;
    out->start = calloc(tree->count + 1, sizeof *out->start);
    out->index = malloc(sizeof *out->index);
    out->distance = malloc(sizeof *out->distance);
    if (!out->start || !out->index || !out->distance) s.failed = true;
    for (size_t i = 0; i < tree->count && !s.failed; i++) {
        s.at = tree->points + i * tree->dimensions;
        s.self = options->include_self ? -1 : (int32_t)i;
        s.held = 0;
        search(&s, 0, tree->count);
        if (s.failed) break;
        if (s.held) qsort(s.found, s.held, sizeof *s.found, by_distance);
        size_t at = (size_t)out->start[i];
        if (at + s.held > INT32_MAX) {
            status = status_make(STATUS_UNSUPPORTED,
                                 "more than 2^31 pairs of neighbours among %zu points; use a smaller radius or count",
                                 tree->count);
            break;
        }
        if (at + s.held > room) {
            room = 2 * (at + s.held);
            int32_t *index = realloc(out->index, room * sizeof *index);
            if (index) out->index = index;
            double *distance = realloc(out->distance, room * sizeof *distance);
            if (distance) out->distance = distance;
            s.failed = !index || !distance;
        }
        for (size_t k = 0; k < s.held && !s.failed; k++) {
            out->index[at + k] = s.found[k].index;
            out->distance[at + k] = sqrt(s.found[k].square);
        }
        out->start[i + 1] = (int64_t)(at + s.held);
    }
    if (s.failed) status = status_make(STATUS_NO_MEMORY, "no memory for the neighbours of %zu points", tree->count);
    free(s.found);
    return status;
}

Status neighbours_find(const double *points, size_t count, size_t dimensions, const NeighbourOptions *options,
                       NeighbourLists *out) {
    *out = (NeighbourLists){0};
    if (!(options->radius >= 0) || (options->nearest == 0 && !(options->radius > 0)))
        return status_make(STATUS_INVALID, "neighbours: nearest %zu and radius %g; one of them must be > 0",
                           options->nearest, options->radius);
    Tree tree;
    TRY(tree_create(points, count, dimensions, &tree));
    Status status = find_all(&tree, options, out);
    tree_free(&tree);
    if (status != STATUS_OK) neighbours_free(out);
    return status;
}

Status neighbour_pitch(const double *points, size_t count, size_t dimensions, double *out_pitch) {
    NeighbourLists lists;
    *out_pitch = NAN;
    TRY(neighbours_find(points, count, dimensions, &(NeighbourOptions){.nearest = 1}, &lists));
    double sum = 0;
    for (int64_t e = 0; e < lists.start[count]; e++) sum += lists.distance[e];
    if (count > 1) *out_pitch = sum / (double)count;
    neighbours_free(&lists);
    return STATUS_OK;
}

// ---- Contexts -----------------------------------------------------------------------------------

// `wanted` distinct members of pool[0 .. size) into out, a partial shuffle of the pool.
static void draw_distinct(int32_t *pool, size_t size, size_t wanted, RandomStream *stream, int32_t *out) {
    for (size_t i = 0; i < wanted; i++) {
        size_t j = i + (size_t)random_below(stream, size - i);
        int32_t swap = pool[i];
        pool[i] = pool[j];
        pool[j] = swap;
        out[i] = pool[i];
    }
}

// All spots but `target` and those marked.
static size_t others(size_t count, size_t target, const uint8_t *marked, int32_t *pool) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        if (i != target && !(marked && marked[i])) pool[size++] = (int32_t)i;
    return size;
}

static size_t local_list(const NeighbourLists *near, size_t count, size_t i, size_t wanted, int32_t *pool,
                         RandomStream *stream, int32_t *out) {
    const int32_t *ball = near->index + near->start[i];
    size_t inside = (size_t)(near->start[i + 1] - near->start[i]);
    if (wanted == 0) return 0;
    if (inside > 0) {
        for (size_t k = 0; k < wanted; k++) out[k] = ball[k < inside ? k : (size_t)random_below(stream, inside)];
        return wanted;
    }
    size_t size = others(count, i, NULL, pool);
    if (wanted > size) wanted = size;
    draw_distinct(pool, size, wanted, stream, out);
    return wanted;
}

static size_t global_list(size_t count, size_t i, size_t wanted, const int32_t *local, size_t local_length,
                          uint8_t *marked, int32_t *pool, RandomStream *stream, int32_t *out) {
    if (wanted == 0) return 0;
    for (size_t k = 0; k < local_length; k++) marked[local[k]] = 1;
    size_t size = others(count, i, marked, pool);
    for (size_t k = 0; k < local_length; k++) marked[local[k]] = 0;
    if (size > wanted) {
        draw_distinct(pool, size, wanted, stream, out);
        return wanted;
    }
    if (size > 0) {
        for (size_t k = 0; k < wanted; k++) out[k] = pool[k < size ? k : (size_t)random_below(stream, size)];
        return wanted;
    }
    size = others(count, i, NULL, pool);
    if (wanted > size) wanted = size;
    draw_distinct(pool, size, wanted, stream, out);
    return wanted;
}

Status contexts_build(const double *points, size_t count, size_t dimensions, const ContextOptions *options,
                      int32_t *context, int32_t *local_length, int32_t *global_length) {
    size_t width = options->local + options->global;
    NeighbourLists near = {0};
    NeighbourOptions ball = {.nearest = options->local ? options->local : 1, .radius = options->radius};
    if (!(options->radius > 0))
        return status_make(STATUS_INVALID, "contexts: the radius is %g and must be > 0", options->radius);
    TRY(neighbours_find(points, count, dimensions, &ball, &near));
    int32_t *pool = malloc((count + 1) * sizeof *pool);
    uint8_t *marked = calloc(count + 1, 1);
    Status status = pool && marked ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory for %zu contexts", count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        RandomStream stream = random_stream(options->seed, (uint32_t)i);
        int32_t *row = context + i * width;
        memset(row, 0xFF, width * sizeof *row);
        size_t local = local_list(&near, count, i, options->local, pool, &stream, row);
        size_t global = global_list(count, i, options->global, row, local, marked, pool, &stream, row + local);
        local_length[i] = (int32_t)local;
        global_length[i] = (int32_t)global;
    }
    free(pool);
    free(marked);
    neighbours_free(&near);
    return status;
}
