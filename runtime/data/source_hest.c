// source_hest: trees of HEST-1k as a source (hest.h): counts and positions from st/ID.h5ad, the slide from wsis/, the
// patient and the size of a pixel from the metadata table.
#include <math.h>
#include <string.h>

#include "../core/files.h"
#include "hest.h"
#include "source_inside.h"

static Status copy(Arena *arena, const char *text, char **out) {
    return text ? ARENA_COPY(arena, *out, text, strlen(text)) : STATUS_OK;
}

static Status add_sample(Source *source, const HestSample *sample, size_t number) {
    static const char *const slides[] = {".tif", ".svs"};
    Arena *arena = &source->arena;
    SourceItem *item = &source->inside->item[number];
    TRY(copy(arena, sample->id, &source->section[number]));
    if (*sample->patient) TRY(copy(arena, sample->patient, &item->group));
    item->microns = sample->pixel_size_um > 0 ? sample->pixel_size_um : 0;
    if (!(item->path = arena_printf(arena, "%s/st/%s.h5ad", source->path, sample->id))) return arena_exhausted(1, 64);
    for (int i = 0; i < 2; i++) {
        char *path = arena_printf(arena, "%s/wsis/%s%s", source->path, sample->id, slides[i]);
        if (!path) return arena_exhausted(1, 64);
        if (!file_exists(path)) continue;
        item->picture = path;
        return STATUS_OK;
    }
    item->no_picture = arena_printf(arena, "there is neither %s/wsis/%s.tif nor .svs%s", source->path, sample->id,
                                    sample->has_patches ? " (the patches in patches/ are not used in its place)" : "");
    return item->no_picture ? STATUS_OK : arena_exhausted(1, 64);
}

static Status open_tree(Source *source, const HestTree *tree) {
    size_t count = 0, n = 0;
    for (size_t i = 0; i < tree->count; i++) count += tree->sample[i].has_counts;
    if (count == 0)
        return status_make(STATUS_NOT_FOUND,
                           "%s: none of the %zu samples of this HEST-1k tree has its counts, st/ID.h5ad", source->path,
                           tree->count);
    TRY(source_items(source, count));
    for (size_t i = 0; i < tree->count; i++)
        if (tree->sample[i].has_counts) TRY(add_sample(source, &tree->sample[i], n++));
    return copy(&source->arena, tree->table, &source->inside->extra_input);
}

static Status open_hest(Source *source) {
    HestTree tree;
    if (!is_directory(source->path))
        return status_make(STATUS_INVALID, "%s: a HEST-1k tree is a directory with st/ and wsis/", source->path);
    TRY(hest_open(source->path, &tree));
    Status status = open_tree(source, &tree);
    hest_free(&tree);
    return status;
}

const SourceMethods source_hest = {open_hest, source_read_h5ad, source_h5ad_tables};
