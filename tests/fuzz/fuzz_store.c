// Stores with everything wrong that HDF5 itself allows: those that the writer makes at the start (two sections, a
// table, neighbours, features, a split; the first byte says how tiles are kept) are edited as the bytes say
// (h5_edit.h); opening, every read and the check must end with data or with an error that names the file. What the
// check lets pass can be read whole. Damage below HDF5's own checksums is tests/data/damage_test.c's. The kept corpus
// lies in tests/fuzz/corpus/store.
#define FUZZ_NAME "fuzz_store"
#include "fuzz.h"

#include "../../runtime/data/store.h"
#include "h5_edit.h"

enum { SPOTS = 3, GENES = 4, TILE = 8 };

static Status fill_tiles(void *context, size_t first, size_t count, uint8_t *tiles) {
    (void)context;
    for (size_t i = 0; i < count * TILE * TILE * 3; i++) tiles[i] = (uint8_t)(first * 50 + i);
    return STATUS_OK;
}

static void must(Status status) {
    if (status != STATUS_OK) fuzz_broken(status_message(status));
}

// Tiles as pixels, deflated, and as JPEG.
static EditTemplate make_template(int kept) {
    static char *ids[] = {"2x3", "4x5", "6x7"}, *genes[] = {"A", "B", "C", "D"}, *columns[] = {"T", "S"};
    static char *parts[] = {"train", "test"};
    static int32_t array[] = {2, 3, 4, 5, 6, 7}, indices[] = {1, 2, 0, 3};
    static double exact[] = {2, 3, 4, 5, 6, 7}, pixel[] = {10, 20, 30, 40, 50, 60};
    static int64_t indptr[] = {0, 2, 4, 4}, start[] = {0, 2, 3, 4};
    static uint32_t counts[] = {5, 1, 2, 3};
    static float values[] = {0.5f, 0.5f, 1, 0, 0.25f, 0.75f}, weight[] = {1, 0.5f, 0.5f, 2};
    static int32_t neighbour[] = {1, 2, 0, 0}, part[] = {0, 1, -1};
    static uint8_t rgb[4 * 5 * 3];
    SpotTable table = {.name = "major", .n_columns = 2, .columns = columns, .values = values};
    StoreGraph graph = {.name = "knn", .start = start, .neighbour = neighbour, .weight = weight};
    StoreFeatures features = {.name = "encoder", .width = 2, .values = values};
    StoreSplit split = {.name = "fold", .n_parts = 2, .parts = parts, .part = part};
    Picture thumbnail = {.width = 5, .height = 4, .rgb = rgb};
    StoreSectionExtra extra = {.image_width = 100,
                               .image_height = 80,
                               .scale_x = 0.5,
                               .scale_y = 0.5,
                               .pitch_x = 10,
                               .pitch_y = 10,
                               .thumbnail = &thumbnail,
                               .inputs = "[]",
                               .left_out = "{}",
                               .graphs = &graph,
                               .n_graphs = 1,
                               .features = &features,
                               .n_features = 1,
                               .splits = &split,
                               .n_splits = 1,
                               .tiles = fill_tiles};
    StoreParameters parameters = {.program = "fuzz",
                                  .tile_size = TILE,
                                  .tile_pitch = 5,
                                  .filter = "bilinear",
                                  .edge = "replicate",
                                  .deflate = kept == 1,
                                  .jpeg = kept == 2 ? 80 : 0};
    StoreWriter *writer = NULL;
    char path[300];
    snprintf(path, sizeof path, "%s/store.h5", fuzz_directory());
    must(store_create(path, &parameters, &writer));
    for (int i = 0; i < 2; i++) {
        Section section = {.name = i ? "B" : "A",
                           .n_spots = SPOTS,
                           .ids = ids,
                           .array = array,
                           .array_exact = exact,
                           .pixel = pixel,
                           .n_genes = GENES,
                           .genes = genes,
                           .indptr = indptr,
                           .indices = indices,
                           .counts = counts,
                           .n_tables = 1,
                           .tables = &table};
        must(store_add_section(writer, &section, &extra));
    }
    must(store_finish(writer));
    return edit_template_file(path);
}

// Reads all of section `s` that a training loop reads; false if something was refused.
static bool read_section(Store *store, size_t s, const char *path) {
    const StoreInfo *info = store_info(store);
    const StoreSection *section = &info->sections[s];
    bool fine = true;
    fuzz_touch_texts(section->ids, section->n_spots);
    fuzz_touch(section->array, section->n_spots * 2 * sizeof *section->array);
    fuzz_touch(section->pixel, section->n_spots * 2 * sizeof *section->pixel);
    size_t tile = info->tile_size * info->tile_size * 3, genes = info->n_genes;
    size_t spots = section->n_spots < 20 ? section->n_spots : 20;
    if (tile > 1 << 20 || genes > 1 << 16) return true;
    SpotRef refs[20];
    for (size_t i = 0; i < spots; i++) refs[i] = (SpotRef){(uint32_t)s, (uint32_t)(section->n_spots - 1 - i)};
    uint8_t *tiles = malloc(spots * tile + 1), *measured = malloc(genes + 1);
    float *values = malloc((spots * genes + 1) * sizeof *values);
    int32_t *part = malloc((section->n_spots + 1) * sizeof *part);
    if (!tiles || !values || !part || !measured) abort();
    bool decoded = info->tile_size > 0 && fuzz_judge(store_read_tiles(store, refs, spots, tiles), path);
    if (decoded) fuzz_touch(tiles, spots * tile);
    fine &= decoded || info->tile_size == 0;
    fine &= fuzz_judge(store_read_counts(store, refs, spots, NULL, genes, values), path);
    fine &= fuzz_judge(store_read_measured(store, s, measured), path);
    for (size_t t = 0; t < info->n_tables; t++) {
        if (info->tables[t].n_columns > 1 << 16) continue;
        float *table = malloc((spots * info->tables[t].n_columns + 1) * sizeof *table);
        if (!table) abort();
        fine &= fuzz_judge(store_read_table(store, t, refs, spots, table), path);
        free(table);
    }
    Arena arena;
    arena_init(&arena);
    for (size_t g = 0; g < info->n_graphs; g++) {
        StoreGraph graph;
        bool there = fuzz_judge(store_read_graph(store, s, info->graphs[g], &arena, &graph), path);
        for (size_t i = 0; there && i < section->n_spots; i++)
            for (int64_t e = graph.start[i]; e < graph.start[i + 1]; e++)
                if (graph.neighbour[e] < 0 || (size_t)graph.neighbour[e] >= section->n_spots)
                    fuzz_broken("a neighbour nowhere");
        fine &= there;
    }
    arena_free(&arena);
    for (size_t f = 0; f < info->n_features; f++) {
        if (info->features[f].width > 1 << 16) continue;
        float *row = malloc((spots * info->features[f].width + 1) * sizeof *row);
        if (!row) abort();
        fine &= fuzz_judge(store_read_features(store, f, refs, spots, row), path);
        free(row);
    }
    for (size_t i = 0; i < info->n_splits; i++) {
        bool there = fuzz_judge(store_read_split(store, s, i, part), path);
        for (size_t k = 0; there && k < section->n_spots; k++)
            if (part[k] < -1 || part[k] >= (int64_t)info->splits[i].n_parts) fuzz_broken("a part that is none");
        fine &= there;
    }
    Picture thumbnail = {0};
    Status status = store_read_thumbnail(store, s, &thumbnail);
    bool none = status_code(status) == STATUS_NOT_FOUND;
    fine &= fuzz_judge(status, path) || none;
    if (thumbnail.rgb) fuzz_touch(thumbnail.rgb, thumbnail.width * thumbnail.height * 3);
    picture_free(&thumbnail);
    free(part);
    free(values);
    free(measured);
    free(tiles);
    return fine;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static EditTemplate template[3];
    for (int kept = 0; kept < 3 && !template[kept].bytes; kept++) template[kept] = make_template(kept);
    if (size < 1) return 0;
    char path[300];
    snprintf(path, sizeof path, "%s/edited.h5", fuzz_directory());
    if (!edit_apply(&template[data[0] % 3], data + 1, size - 1, path)) return 0;
    Store *store = NULL;
    if (fuzz_judge(store_open(path, &store), path)) {
        bool checked = fuzz_judge(store_check(store), path);
        for (size_t s = 0; s < store_info(store)->n_sections; s++)
            if (!read_section(store, s, path) && checked) fuzz_broken("the check lets pass what cannot be read");
        store_close(store);
    }
    if (edit_open_objects() != 0) fuzz_broken("an HDF5 object stays open");
    unlink(path);
    return 0;
}
