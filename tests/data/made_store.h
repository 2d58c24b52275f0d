// made_store: stores with known content, written through store.h, and what the training side needs to read one.
#pragma once

#include "../../runtime/data/store.h"
#include "../../runtime/train/rows.h"
#include "made.h"

// Tissue-like texture that any spot's number gives again: stains in blobs with noise on top.
static inline void made_tile(uint32_t section, uint32_t row, size_t side, uint8_t *rgb) {
    uint32_t noise = (section * 7919u + row) * 2654435761u + 12345u;
    float cx = (float)(noise >> 24), cy = (float)(noise >> 16 & 255), wide = 6 + (float)(row % 11);
    for (size_t y = 0; y < side; y++) {
        for (size_t x = 0; x < side; x++) {
            float dx = ((float)x + cx) / wide, dy = ((float)y + cy) / wide;
            dx -= (float)(int)dx + 0.5f;
            dy -= (float)(int)dy + 0.5f;
            int stain = (int)(160 * (dx * dx + dy * dy));
            noise = noise * 1664525u + 1013904223u;
            int grain = (int)(noise >> 27) - 16;
            uint8_t *to = rgb + (y * side + x) * 3;
            to[0] = (uint8_t)(150 + stain + grain);
            to[1] = (uint8_t)(90 + stain + grain);
            to[2] = (uint8_t)(160 + stain / 2 + grain);
        }
    }
}

typedef struct MadeStore {
    StoreParameters parameters; // tile_size decides the rest
    uint32_t first, sections;   // sections first .. first + sections - 1, called S0, S1, ...
    size_t spots;               // of each
    // Instead of made_tile; count tiles of `section` from spot `first` on.
    void (*cut)(void *context, uint32_t section, size_t first, size_t count, uint8_t *tiles);
    void *context;
    bool append; // to the store that is there
    uint32_t at; // the section being written
} MadeStore;

static inline Status made_store_tiles(void *context, size_t first, size_t count, uint8_t *tiles) {
    MadeStore *made = context;
    size_t side = made->parameters.tile_size;
    if (made->cut) made->cut(made->context, made->at, first, count, tiles);
    for (size_t i = 0; i < count && !made->cut; i++)
        made_tile(made->at, (uint32_t)(first + i), side, tiles + i * side * side * 3);
    return STATUS_OK;
}

static inline StoreParameters made_parameters(size_t side) {
    return (StoreParameters){.program = "test",
                             .tile_size = side,
                             .tile_pitch = (double)side / 3,
                             .filter = side ? "bilinear" : "none",
                             .edge = side ? "replicate" : "none"};
}

// One gene and one table of one column: the spot's number.
static inline Status made_store_section(MadeStore *made, StoreWriter *writer) {
    char name[16], *genes[1] = {(char *)"G"}, *columns[1] = {(char *)"number"};
    uint8_t grey[27] = {0};
    Picture thumbnail = {3, 3, grey};
    size_t n = made->spots;
    Section s = {.name = name, .n_spots = n, .n_genes = 1, .genes = genes, .n_tables = 1};
    arena_init(&s.arena);
    Arena *arena = &s.arena;
    SpotTable table = {.name = "numbers", .n_columns = 1, .columns = columns};
    s.tables = &table;
    snprintf(name, sizeof name, "S%u", made->at);
    Status status = STATUS_OK;
    TRY_OR(status, done, ARENA_NEW(arena, s.ids, n));
    TRY_OR(status, done, ARENA_NEW(arena, s.array, 2 * n));
    TRY_OR(status, done, ARENA_NEW(arena, s.array_exact, 2 * n));
    TRY_OR(status, done, ARENA_NEW(arena, s.pixel, 2 * n));
    TRY_OR(status, done, ARENA_NEW(arena, s.indptr, n + 1));
    TRY_OR(status, done, ARENA_NEW(arena, s.indices, n));
    TRY_OR(status, done, ARENA_NEW(arena, s.counts, n));
    TRY_OR(status, done, ARENA_NEW(arena, table.values, n));
    for (size_t i = 0; i < n; i++) {
        s.ids[i] = arena_printf(arena, "%zux1", i + 1);
        s.array[2 * i] = (int32_t)i + 1;
        s.array_exact[2 * i] = (double)i + 1;
        s.pixel[2 * i] = 10 * (double)i;
        s.indptr[i + 1] = (int64_t)i + 1;
        s.counts[i] = (uint32_t)i + 1;
        table.values[i] = (float)(made->at * 100000 + i);
    }
    bool tiles = made->parameters.tile_size > 0;
    StoreSectionExtra extra = {.image_width = tiles ? 300 : 0,
                               .image_height = tiles ? 300 : 0,
                               .scale_x = tiles,
                               .scale_y = tiles,
                               .pitch_x = tiles ? 10 : 0,
                               .pitch_y = tiles ? 10 : 0,
                               .thumbnail = tiles ? &thumbnail : NULL,
                               .inputs = "[]",
                               .left_out = "{}",
                               .tiles = tiles ? made_store_tiles : NULL,
                               .context = made};
    status = store_add_section(writer, &s, &extra);
done:
    arena_free(arena);
    return status;
}

static inline Status made_store(const char *path, MadeStore made) {
    StoreWriter *writer = NULL;
    TRY(made.append ? store_append(path, -1, &writer) : store_create(path, &made.parameters, &writer));
    Status status = STATUS_OK;
    for (uint32_t s = 0; s < made.sections && status == STATUS_OK; s++) {
        made.at = made.first + s;
        status = made_store_section(&made, writer);
    }
    if (status == STATUS_OK) return store_finish(writer);
    store_abandon(writer);
    return status;
}

// A program of two inputs, the tiles and the table "numbers", as far as rows.h looks at it.
typedef struct MadeProgram {
    StmAxis axis;
    StmTensor tensor[2];
    StmPlan plan;
    Session session;
} MadeProgram;

static inline void made_program(MadeProgram *p, size_t side) {
    memset(p, 0, sizeof *p);
    StmExtent row = {1, 0}, s = {(int64_t)side, -1}, rgb = {3, -1}, one = {1, -1};
    p->axis = (StmAxis){.name = "spot", .dynamic = true};
    p->tensor[0] = (StmTensor){.name = "x",
                               .kind = STM_INPUT,
                               .type = STM_U8,
                               .rank = 4,
                               .dim = {row, s, s, rgb},
                               .axis = {0, -1, -1, -1},
                               .dataset = "tiles"};
    p->tensor[1] = (StmTensor){.name = "y",
                               .kind = STM_INPUT,
                               .type = STM_F32,
                               .rank = 2,
                               .dim = {row, one},
                               .axis = {0, -1},
                               .dataset = "numbers"};
    p->plan = (StmPlan){.name = "test", .axes = 1, .tensors = 2, .axis = &p->axis, .tensor = p->tensor};
    p->session.plan = &p->plan;
}

// Feeds of the first `count` of the program's inputs.
static inline Status made_feeds(MadeProgram *p, Rows *rows, int count, RowFeed *feeds) {
    int64_t extent[1] = {1};
    for (int i = 0; i < count; i++) TRY(rows_bind(rows, &p->session, i, extent, &feeds[i]));
    return STATUS_OK;
}
