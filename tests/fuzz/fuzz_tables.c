// Any bytes as a text file: positions, scale factors, metadata of HEST-1k, cell types, gene sets, vocabularies, JSON,
// tables of counts. The first byte says which reader gets the rest (see `readers`); whatever follows, reading ends with
// what it reads or with an error that names the file. The kept corpus lies in tests/fuzz/corpus/tables.
#define FUZZ_NAME "fuzz_tables"
#include "fuzz.h"

#include "../../runtime/core/json.h"
#include "../../runtime/data/counts.h"
#include "../../runtime/data/genesets.h"
#include "../../runtime/data/hest.h"
#include "../../runtime/data/positions.h"
#include "../../runtime/data/table.h"
#include "../../runtime/data/vocabulary.h"

static void read_positions(const char *path) {
    SpotPositions p;
    if (!fuzz_judge(positions_read(path, &p), path)) return;
    ScaleFactors f = {.spot_diameter_fullres = 89, .bin_size_um = 16, .microns_per_pixel = 0.5};
    PositionsCheck check;
    Arena arena;
    arena_init(&arena);
    fuzz_touch_texts(p.id, p.count);
    fuzz_touch(p.in_tissue, p.count);
    fuzz_touch(p.array, p.count * 2 * sizeof *p.array);
    fuzz_touch(p.pixel, p.count * 2 * sizeof *p.pixel);
    status_drop(positions_check(&p, &f, 1000, 800, 0.5, &arena, &check));
    arena_free(&arena);
    positions_free(&p);
}

static void read_scales(const char *path) {
    ScaleFactors f;
    if (fuzz_judge(scale_factors_read(path, &f), path)) fuzz_touch(&f, sizeof f);
}

static void read_hest(const char *path) {
    HestTree tree;
    if (!fuzz_judge(hest_table_read(path, &tree), path)) return;
    for (size_t i = 0; i < tree.count; i++) {
        const HestSample *s = &tree.sample[i];
        char *texts[] = {s->id,
                         s->organ,
                         s->species,
                         s->disease_state,
                         s->st_technology,
                         s->patient,
                         s->dataset_title,
                         s->preservation_method};
        fuzz_touch_texts(texts, 8);
    }
    hest_free(&tree);
}

static void read_celltypes(const char *path) {
    CellTypes table;
    if (!fuzz_judge(celltypes_read(path, &table), path)) return;
    fuzz_touch_texts(table.spot, table.spots);
    fuzz_touch_texts(table.type, table.types);
    fuzz_touch(table.value, table.spots * table.types * sizeof *table.value);
    size_t count = table.spots < 5 ? table.spots : 5, missing = 0;
    double *values = malloc((count * table.types + 1) * sizeof *values);
    if (!values) abort();
    status_drop(celltypes_align(&table, (const char *const *)table.spot, count, NULL, 0, values, &missing));
    celltypes_to_proportions(table.value, table.spots, table.types);
    free(values);
    celltypes_free(&table);
}

static void read_genesets(const char *path) {
    GeneSets sets = {0};
    bool once = fuzz_judge(genesets_read(&sets, path), path);
    if (once && !fuzz_judge(genesets_read(&sets, path), path)) fuzz_broken("gene sets are read once only");
    for (size_t i = 0; i < sets.count; i++) {
        fuzz_touch_texts(&sets.set[i].name, 1);
        fuzz_touch_texts(sets.set[i].gene, sets.set[i].genes);
    }
    static const char *const genes[] = {"A", "B", "ABCA1"};
    uint8_t *matched = malloc(sets.count * 3 + 1);
    if (!matched) abort();
    if (once) status_drop(genesets_membership(&sets, genes, 3, matched, NULL));
    free(matched);
    genesets_free(&sets);
}

static void read_vocabulary(const char *path) {
    Vocabulary v;
    if (!fuzz_judge(vocabulary_read(path, 0, &v), path)) return;
    fuzz_touch_texts(v.gene, v.count);
    vocabulary_free(&v);
}

static void read_json(const char *path) {
    Arena arena;
    JsonValue *value = NULL;
    char *text = NULL;
    size_t size = 0;
    arena_init(&arena);
    if (fuzz_judge(file_read(path, (size_t)1 << 24, &text, &size), path) &&
        fuzz_judge(json_parse(path, text, size, &arena, &value), path) && value->type == JSON_OBJECT)
        for (size_t i = 0; i < value->length; i++) // a later one of the same name would have been refused
            if (json_get(value, value->keys[i]) != &value->items[i]) fuzz_broken("a member is not found by its name");
    free(text);
    arena_free(&arena);
}

static void read_table(const char *path) {
    TableReader table;
    bool row = true;
    if (!fuzz_judge(table_open(&table, path, ','), path)) return;
    while (row && fuzz_judge(table_next(&table, &row), path))
        for (size_t i = 0; row && i < table.n_columns; i++) {
            double real = 0;
            fuzz_touch(table.fields[i].text, table.fields[i].length + 1);
            status_drop(table_f64(&table, i, &real));
        }
    table_close(&table);
}

static void read_counts(const char *path) {
    CountsOptions options = {.threads = 1, .limits.in_process = true};
    Annotated a;
    if (!fuzz_judge(counts_read(path, &options, &a), path)) return;
    fuzz_touch(a.x.value, (size_t)matrix_nnz(&a.x) * sizeof *a.x.value);
    fuzz_touch_texts(a.x.row_name, a.x.rows);
    fuzz_touch_texts(a.x.column_name, a.x.columns);
    annotated_free(&a);
}

static const struct {
    char letter;
    const char *ending; // of the file's name, where it matters
    void (*read)(const char *path);
} readers[] = {
    {'p', NULL, read_positions},   {'s', NULL, read_scales},    {'h', NULL, read_hest},
    {'c', ".csv", read_celltypes}, {'t', NULL, read_celltypes}, {'g', NULL, read_genesets},
    {'v', NULL, read_vocabulary},  {'j', NULL, read_json},      {'r', NULL, read_table},
    {'n', NULL, read_counts},
};
enum { READERS = sizeof readers / sizeof *readers };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char hdf5[] = {'\x89', 'H', 'D', 'F'};
    if (size < 1) return 0;
    size_t which = 0;
    while (which < READERS && readers[which].letter != (char)data[0]) which++;
    if (which == READERS) which = data[0] % READERS;
    if (readers[which].letter == 'n' && size > 4 && memcmp(data + 1, hdf5, 4) == 0) return 0; // fuzz_counts does these
    char path[FUZZ_PATH], named[300];
    int descriptor = fuzz_file(data + 1, size - 1, path);
    if (readers[which].ending) { // a link of the name that the reader wants to see
        snprintf(named, sizeof named, "%s/file%s", fuzz_directory(), readers[which].ending);
        unlink(named);
        if (symlink(path, named) != 0) fuzz_broken("no link");
        readers[which].read(named);
    } else {
        readers[which].read(path);
    }
    close(descriptor);
    return 0;
}
