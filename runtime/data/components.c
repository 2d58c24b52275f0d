// components: see components.h. Runs of neighbouring rows that touch are joined in a forest whose root is always the
// earliest run, so components come out in raster order without a renumbering pass.
#include "components.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct Run {
    uint32_t begin, end; // columns, end exclusive
    uint32_t row;
    uint32_t parent; // while joining: an earlier run of the component; afterwards: its number
} Run;

typedef struct Runs {
    Run *of;
    size_t count, capacity;
    size_t components;
} Runs;

static uint32_t root_of(Run *runs, uint32_t i) {
    while (runs[i].parent != i) {
        runs[i].parent = runs[runs[i].parent].parent; // halves the path
        i = runs[i].parent;
    }
    return i;
}

static void join(Run *runs, uint32_t a, uint32_t b) {
    a = root_of(runs, a);
    b = root_of(runs, b);
    if (a < b) runs[b].parent = a;
    else runs[a].parent = b;
}

static Status add_run(Runs *runs, size_t row, size_t begin, size_t end) {
    if (runs->count == runs->capacity) {
        size_t capacity = runs->capacity ? runs->capacity * 2 : 1024;
        Run *grown = realloc(runs->of, capacity * sizeof *grown);
        if (!grown) return status_make(STATUS_NO_MEMORY, "no memory for %zu runs of a mask", capacity);
        runs->of = grown;
        runs->capacity = capacity;
    }
    runs->of[runs->count] =
        (Run){.begin = (uint32_t)begin, .end = (uint32_t)end, .row = (uint32_t)row, .parent = (uint32_t)runs->count};
    runs->count++;
    return STATUS_OK;
}

// Appends the runs of one row of pixels that are set (or not, if `background`).
static Status add_row(Runs *runs, const uint8_t *pixels, size_t row, size_t width, bool background) {
    size_t x = 0;
    while (x < width) {
        while (x < width && (pixels[x] != 0) == background) x++;
        size_t begin = x;
        while (x < width && (pixels[x] != 0) != background) x++;
        if (x > begin) TRY(add_run(runs, row, begin, x));
    }
    return STATUS_OK;
}

// Joins runs [middle, end) of a row with the touching ones of the row above, [begin, middle).
static void join_rows(Run *runs, size_t begin, size_t middle, size_t end, Connectivity connectivity) {
    uint32_t reach = connectivity == CONNECT_8 ? 1 : 0;
    size_t above = begin;
    for (size_t i = middle; i < end; i++) {
        while (above < middle && runs[above].end + reach <= runs[i].begin) above++;
        for (size_t k = above; k < middle && runs[k].begin < runs[i].end + reach; k++)
            join(runs, (uint32_t)i, (uint32_t)k);
    }
}

// All runs with their component's number in `parent`; the caller frees runs->of, also after an error.
static Status find_runs(const uint8_t *mask, size_t width, size_t height, bool background, Connectivity connectivity,
                        Runs *runs) {
    *runs = (Runs){0};
    if (connectivity != CONNECT_4 && connectivity != CONNECT_8)
        return status_make(STATUS_INVALID, "connectivity %d; a pixel has 4 or 8 neighbours", (int)connectivity);
    if (width && height > (size_t)INT32_MAX / width)
        return status_make(STATUS_UNSUPPORTED,
                           "a mask of %zu x %zu pixels is too large for components (fewer than 2^31 pixels); use a "
                           "coarser level of the picture",
                           width, height);
    size_t above = 0;
    for (size_t y = 0; y < height && width; y++) {
        size_t first = runs->count;
        TRY(add_row(runs, mask + y * width, y, width, background));
        join_rows(runs->of, above, first, runs->count, connectivity);
        above = first;
    }
    for (size_t i = 0; i < runs->count; i++) { // roots come before their members
        Run *run = &runs->of[i];
        run->parent = run->parent == i ? (uint32_t)runs->components++ : runs->of[run->parent].parent;
    }
    return STATUS_OK;
}

Status components_find(const uint8_t *mask, size_t width, size_t height, Connectivity connectivity, int32_t *labels,
                       Components *out_components) {
    Runs runs;
    *out_components = (Components){0};
    Status status = find_runs(mask, width, height, false, connectivity, &runs);
    Component *of = status == STATUS_OK ? calloc(runs.components + 1, sizeof *of) : NULL;
    if (status == STATUS_OK && !of)
        status = status_make(STATUS_NO_MEMORY, "no memory for %zu components", runs.components);
    if (status != STATUS_OK) {
        free(runs.of);
        return status;
    }
    if (labels && width && height) memset(labels, 0, width * height * sizeof *labels);
    for (size_t i = 0; i < runs.count; i++) {
        const Run *run = &runs.of[i];
        Component *component = &of[run->parent];
        uint32_t length = run->end - run->begin;
        if (!component->area) *component = (Component){.x0 = run->begin, .y0 = run->row};
        component->area += length;
        if (run->begin < component->x0) component->x0 = run->begin;
        if (run->end > component->x1) component->x1 = run->end;
        component->y1 = run->row + 1;
        component->centre_x += ((double)run->begin + (double)(run->end - 1)) * 0.5 * length;
        component->centre_y += (double)run->row * length;
        for (uint32_t x = run->begin; labels && x < run->end; x++)
            labels[(size_t)run->row * width + x] = (int32_t)run->parent + 1;
    }
    for (size_t k = 0; k < runs.components; k++) {
        of[k].centre_x /= (double)of[k].area;
        of[k].centre_y /= (double)of[k].area;
    }
    *out_components = (Components){runs.components, of};
    free(runs.of);
    return STATUS_OK;
}

void components_free(Components *components) {
    free(components->of);
    *components = (Components){0};
}

// What to change: which components of the (background's) runs turn over.
typedef enum Change { CHANGE_SMALL, CHANGE_INNER, CHANGE_ALL_BUT_LARGEST } Change;

static Status change_components(uint8_t *mask, size_t width, size_t height, bool background, Connectivity connectivity,
                                Change change, uint64_t least) {
    Runs runs;
    Status status = find_runs(mask, width, height, background, connectivity, &runs);
    uint64_t *area = NULL;
    bool *turn = NULL;
    if (status == STATUS_OK) {
        area = calloc(runs.components + 1, sizeof *area);
        turn = calloc(runs.components + 1, sizeof *turn);
        if (!area || !turn) status = status_make(STATUS_NO_MEMORY, "no memory for %zu components", runs.components);
    }
    if (status == STATUS_OK) {
        for (size_t i = 0; i < runs.count; i++) area[runs.of[i].parent] += runs.of[i].end - runs.of[i].begin;
        size_t largest = 0;
        for (size_t k = 1; k < runs.components; k++)
            if (area[k] > area[largest]) largest = k;
        for (size_t k = 0; k < runs.components; k++)
            turn[k] = change == CHANGE_SMALL ? area[k] < least : change == CHANGE_INNER || k != largest;
        for (size_t i = 0; i < runs.count && change == CHANGE_INNER; i++) {
            const Run *run = &runs.of[i];
            if (!run->begin || run->end == width || !run->row || run->row + 1 == height) turn[run->parent] = false;
        }
        for (size_t i = 0; i < width * height; i++) mask[i] = mask[i] != 0;
        for (size_t i = 0; i < runs.count; i++) {
            const Run *run = &runs.of[i];
            if (turn[run->parent])
                memset(mask + (size_t)run->row * width + run->begin, background, run->end - run->begin);
        }
    }
    free(area);
    free(turn);
    free(runs.of);
    return status;
}

Status mask_remove_small(uint8_t *mask, size_t width, size_t height, uint64_t least, Connectivity connectivity) {
    return change_components(mask, width, height, false, connectivity, CHANGE_SMALL, least);
}

Status mask_fill_small(uint8_t *mask, size_t width, size_t height, uint64_t least, Connectivity connectivity) {
    return change_components(mask, width, height, true, connectivity, CHANGE_SMALL, least);
}

Status mask_fill_holes(uint8_t *mask, size_t width, size_t height, Connectivity connectivity) {
    return change_components(mask, width, height, true, connectivity, CHANGE_INNER, 0);
}

Status mask_keep_largest(uint8_t *mask, size_t width, size_t height, Connectivity connectivity) {
    return change_components(mask, width, height, false, connectivity, CHANGE_ALL_BUT_LARGEST, 0);
}
