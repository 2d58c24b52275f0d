// make_store: writes a small store for the tests: make_store FILE SECTIONS SPOTS [FEATURES [TILE]]. Tables x
// (features) and y (3 columns, linear in x plus a little noise), tiles of TILE (16) pixels.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/core/random.h"
#include "../../runtime/data/store.h"

static Status make_tiles(void *context, size_t first, size_t count, uint8_t *tiles) {
    size_t side = *(const size_t *)context;
    for (size_t i = 0; i < count * side * side * 3; i++) tiles[i] = (uint8_t)((first + i) * 31);
    return STATUS_OK;
}

static Status fill_section(Section *section, int number, size_t spots, size_t features) {
    RandomStream random = random_stream(7, (uint32_t)number);
    Arena *arena = &section->arena;
    section->name = arena_printf(arena, "S%d", number + 1);
    section->n_spots = spots;
    TRY(ARENA_NEW(arena, section->ids, spots + 1));
    TRY(ARENA_NEW(arena, section->array, 2 * spots + 1));
    TRY(ARENA_NEW(arena, section->array_exact, 2 * spots + 1));
    TRY(ARENA_NEW(arena, section->pixel, 2 * spots + 1));
    TRY(ARENA_NEW(arena, section->indptr, spots + 1));
    TRY(ARENA_NEW(arena, section->indices, spots + 1));
    TRY(ARENA_NEW(arena, section->counts, spots + 1));
    TRY(ARENA_NEW(arena, section->genes, 1));
    TRY(ARENA_NEW(arena, section->tables, 2));
    section->n_genes = 1;
    section->genes[0] = arena_printf(arena, "GENE1");
    section->n_tables = 2;
    for (int t = 0; t < 2; t++) {
        SpotTable *table = &section->tables[t];
        table->name = t ? "y" : "x";
        table->n_columns = t ? 3 : features;
        TRY(ARENA_NEW(arena, table->columns, table->n_columns));
        TRY(ARENA_NEW(arena, table->values, spots * table->n_columns + 1));
        for (size_t k = 0; k < table->n_columns; k++)
            table->columns[k] = arena_printf(arena, "%s%zu", t ? "cell " : "f", k + 1);
    }
    for (size_t i = 0; i < spots; i++) {
        size_t column = i % 20, row = i / 20;
        section->ids[i] = arena_printf(arena, "%zux%zu", column, row);
        section->array[2 * i] = (int32_t)column;
        section->array[2 * i + 1] = (int32_t)row;
        section->array_exact[2 * i] = (double)column;
        section->array_exact[2 * i + 1] = (double)row;
        section->pixel[2 * i] = 20 + 20 * (double)column;
        section->pixel[2 * i + 1] = 20 + 20 * (double)row;
        section->indptr[i + 1] = (int64_t)i + 1;
        section->counts[i] = 1 + (uint32_t)i % 7;
        float *x = section->tables[0].values + i * features, *y = section->tables[1].values + i * 3;
        for (size_t k = 0; k < features; k++) x[k] = random_unit(&random) * 2 - 1;
        for (size_t o = 0; o < 3; o++) {
            y[o] = 3 + (float)o;
            for (size_t k = 0; k < features; k++) y[o] += x[k] * (float)((k * 3 + o) % 5);
            y[o] += 0.05f * random_unit(&random);
        }
    }
    return STATUS_OK;
}

static Status write_store(const char *path, int sections, size_t spots, size_t features, size_t tile) {
    StoreParameters parameters = {.program = "make_store",
                                  .tile_size = tile,
                                  .tile_pitch = (double)tile / 3,
                                  .filter = "bilinear",
                                  .edge = "replicate"};
    StoreWriter *writer = NULL;
    uint8_t *rgb = malloc(60 * 60 * 3);
    if (!rgb) return status_make(STATUS_NO_MEMORY, "no memory");
    memset(rgb, 220, 60 * 60 * 3);
    Picture thumbnail = {60, 60, rgb};
    Status status = store_create(path, &parameters, &writer);
    for (int s = 0; s < sections && status == STATUS_OK; s++) {
        Section section = {0};
        status = fill_section(&section, s, spots, features);
        StoreSectionExtra extra = {.image_width = 600,
                                   .image_height = 600,
                                   .scale_x = 1,
                                   .scale_y = 1,
                                   .pitch_x = 20,
                                   .pitch_y = 20,
                                   .thumbnail = &thumbnail,
                                   .inputs = "[]",
                                   .left_out = "{}",
                                   .tiles = make_tiles,
                                   .context = &tile};
        if (status == STATUS_OK) status = store_add_section(writer, &section, &extra);
        arena_free(&section.arena);
    }
    free(rgb);
    if (status == STATUS_OK) return store_finish(writer);
    store_abandon(writer);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: make_store FILE SECTIONS SPOTS [FEATURES [TILE]]\n"), 2;
    Status status = write_store(argv[1], atoi(argv[2]), (size_t)atoi(argv[3]), argc > 4 ? (size_t)atoi(argv[4]) : 6,
                                argc > 5 ? (size_t)atoi(argv[5]) : 16);
    if (status == STATUS_OK) return 0;
    fprintf(stderr, "make_store: %s\n", status_message(status));
    status_drop(status);
    return 1;
}
