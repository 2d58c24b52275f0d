// damage_read: see damage_read.h.
#include "damage_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../runtime/core/files.h"
#include "../../runtime/core/strings.h"
#include "../../runtime/data/compound.h"
#include "../../runtime/data/counts.h"
#include "../../runtime/data/genesets.h"
#include "../../runtime/data/hest.h"
#include "../../runtime/data/positions.h"
#include "../../runtime/data/slide.h"
#include "../../runtime/data/store.h"
#include "../../runtime/data/table.h"
#include "../../runtime/data/vocabulary.h"
#include "../../runtime/data/weights.h"

enum { BAND = 256, SPOTS = 64 };

static const GuardLimits limits = {
    .cpu_seconds = 20, .wall_seconds = 60, .memory_bytes = (size_t)2 << 30, .results_bytes = (size_t)1 << 30};

static void add(uint64_t *digest, const void *data, size_t bytes) {
    uint64_t d = *digest;
    const unsigned char *at = data;
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        d = (d ^ word) * 0x9E3779B97F4A7C15u;
        d ^= d >> 29;
    }
    for (size_t i = 0; i < bytes; i++) d = (d ^ at[i]) * 0x100000001B3u;
    *digest = d;
}

static void add_texts(uint64_t *digest, char *const *texts, size_t count) {
    for (size_t i = 0; texts && i < count; i++)
        if (texts[i]) add(digest, texts[i], strlen(texts[i]) + 1);
}

static void unsound(const char *what, const char *path) {
    printf("FAILED: %s: what was read is not sound: %s\n", path, what);
    fflush(stdout);
    abort();
}

static void add_matrix(uint64_t *digest, const Matrix *m, const char *path) {
    add(digest, m->start, (m->rows + 1) * sizeof *m->start);
    for (size_t r = 0; r < m->rows; r++)
        for (int64_t e = m->start[r]; e < m->start[r + 1]; e++)
            if (m->column[e] < 0 || (size_t)m->column[e] >= m->columns || m->value[e] == 0) unsound("an entry", path);
    add(digest, m->column, (size_t)matrix_nnz(m) * sizeof *m->column);
    add(digest, m->value, (size_t)matrix_nnz(m) * sizeof *m->value);
}

static void add_frame(uint64_t *digest, const Frame *f) {
    for (size_t c = 0; c < f->columns; c++) {
        const Column *column = &f->column[c];
        add_texts(digest, &column->name, 1);
        if (column->real) add(digest, column->real, f->rows * sizeof *column->real);
        if (column->integer) add(digest, column->integer, f->rows * sizeof *column->integer);
        if (column->flag) add(digest, column->flag, f->rows);
        if (column->code) add(digest, column->code, f->rows * sizeof *column->code);
        add_texts(digest, column->text, f->rows);
        add_texts(digest, column->category, column->categories);
    }
}

static void add_picture(uint64_t *digest, const Picture *p) {
    if (p->rgb) add(digest, p->rgb, p->width * p->height * 3);
}

static Status read_counts(const char *path, uint64_t *digest) {
    const char *name = path_base(path);
    CountsOptions o = {.limits = limits, .threads = 1, .pictures = true};
    if (strstr(name, "two_genomes")) o.genome = "hg19_chr21";
    if (strstr(name, "elucidata")) o.section = "S_10";
    Annotated a;
    TRY(counts_read(path, &o, &a));
    if (a.obs.rows != a.x.rows || a.var.rows != a.x.columns) unsound("its frames", path);
    add_matrix(digest, &a.x, path);
    add_texts(digest, a.x.row_name, a.x.rows);
    add_texts(digest, a.x.column_name, a.x.columns);
    add_texts(digest, a.x.column_id, a.x.columns);
    add_frame(digest, &a.obs);
    add_frame(digest, &a.var);
    for (size_t i = 0; i < a.n_layers; i++) add_matrix(digest, &a.layer[i].matrix, path);
    for (size_t i = 0; i < a.n_embeddings; i++)
        add(digest, a.embedding[i].value, a.obs.rows * a.embedding[i].width * sizeof(double));
    for (size_t i = 0; i < a.n_libraries; i++) {
        add(digest, &a.library[i].spot_diameter_fullres, 4 * sizeof(double));
        add_picture(digest, &a.library[i].lowres);
        add_picture(digest, &a.library[i].hires);
    }
    annotated_free(&a);
    if (!strstr(name, "elucidata")) return STATUS_OK;
    CompoundSlide *slides = NULL;
    size_t count = 0;
    TRY(compound_slides(path, limits, &slides, &count));
    Status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        CompoundImage image;
        if (slides[i].height == 0) continue;
        status = compound_image_read(path, slides[i].name, limits, &image);
        if (status != STATUS_OK) break;
        add(digest, image.rgb, image.width * image.height * 3 * sizeof *image.rgb);
        compound_image_free(&image);
    }
    free(slides);
    return status;
}

static Status read_positions(const char *path, uint64_t *digest) {
    SpotPositions p;
    PositionsCheck check;
    Arena arena;
    TRY(positions_read(path, &p));
    add_texts(digest, p.id, p.count);
    add(digest, p.in_tissue, p.count);
    add(digest, p.array, p.count * 2 * sizeof *p.array);
    add(digest, p.pixel, p.count * 2 * sizeof *p.pixel);
    arena_init(&arena);
    Status status = positions_check(&p, NULL, 100, 100, 1, &arena, &check);
    arena_free(&arena);
    positions_free(&p);
    return status;
}

static Status read_hest(const char *path, uint64_t *digest) {
    HestTree tree;
    TRY(hest_table_read(path, &tree));
    for (size_t i = 0; i < tree.count; i++) {
        add_texts(digest, &tree.sample[i].id, 8); // eight texts stand in a row
        add(digest, &tree.sample[i].pixel_size_um, sizeof(double));
        add(digest, &tree.sample[i].spots, sizeof(int64_t));
    }
    hest_free(&tree);
    return STATUS_OK;
}

static Status read_patches(const char *path, uint64_t *digest) {
    HestPatches p;
    TRY(hest_patches_read(path, NULL, limits, &p));
    add_texts(digest, p.barcode, p.count);
    add(digest, p.coordinate, p.count * 2 * sizeof *p.coordinate);
    size_t bytes = p.height * p.width * 3;
    uint8_t *pixels = bytes < 1 << 20 && p.count < 1 << 10 ? malloc(bytes * p.count + 1) : NULL;
    Status status = pixels ? hest_patches_pixels(path, &p, 0, p.count, limits, pixels) : STATUS_OK;
    if (pixels && status == STATUS_OK) add(digest, pixels, bytes * p.count);
    free(pixels);
    hest_patches_free(&p);
    return status;
}

static Status read_celltypes(const char *path, uint64_t *digest) {
    CellTypes table;
    TRY(celltypes_read(path, &table));
    add_texts(digest, table.spot, table.spots);
    add_texts(digest, table.type, table.types);
    add(digest, table.value, table.spots * table.types * sizeof *table.value);
    celltypes_free(&table);
    return STATUS_OK;
}

static Status read_table(const char *path, uint64_t *digest) {
    TableReader table;
    bool row = true;
    TRY(table_open(&table, path, ','));
    add_texts(digest, table.columns, table.n_columns);
    Status status = STATUS_OK;
    while (row && (status = table_next(&table, &row)) == STATUS_OK)
        for (size_t i = 0; row && i < table.n_columns; i++)
            add(digest, table.fields[i].text, table.fields[i].length + 1);
    table_close(&table);
    return status;
}

static Status read_genesets(const char *path, uint64_t *digest) {
    GeneSets sets = {0};
    Status status = genesets_read(&sets, path);
    for (size_t i = 0; status == STATUS_OK && i < sets.count; i++) {
        add_texts(digest, &sets.set[i].name, 2);
        add_texts(digest, sets.set[i].gene, sets.set[i].genes);
    }
    genesets_free(&sets);
    return status;
}

static Status read_level(Slide *slide, size_t level, uint64_t *digest) {
    SlideLevel l = slide_level(slide, level);
    uint8_t *rgb = malloc(l.width * BAND * 3);
    if (!rgb) return status_make(STATUS_NO_MEMORY, "no memory for %zu pixels in a row", l.width);
    Status status = STATUS_OK;
    for (size_t y = 0; y < l.height && status == STATUS_OK; y += BAND) {
        size_t rows = l.height - y < BAND ? l.height - y : BAND;
        status = slide_read(slide, level, 0, (int64_t)y, l.width, rows, SLIDE_STRICT, rgb);
        if (status == STATUS_OK) add(digest, rgb, l.width * rows * 3);
    }
    free(rgb);
    return status;
}

static Status read_picture(const char *path, uint64_t *digest) {
    Slide *slide = NULL;
    SlideOptions options = {.cache_bytes = (size_t)32 << 20, .whole_bytes = (size_t)1 << 30};
    TRY(slide_open(path, &options, &slide));
    SlideInfo info = slide_info(slide);
    Status status = STATUS_OK;
    for (size_t i = 0; i < info.n_levels && status == STATUS_OK; i++) status = read_level(slide, i, digest);
    for (size_t i = 0; i < info.n_extras && status == STATUS_OK; i++) {
        Picture picture = {0};
        status = slide_read_extra(slide, i, (size_t)1 << 30, &picture);
        if (status == STATUS_OK) add_picture(digest, &picture);
        picture_free(&picture);
    }
    slide_close(slide);
    return status;
}

static Status read_weights(const char *path, uint64_t *digest) {
    Weights w;
    TRY(weights_open(path, &w));
    Status status = STATUS_OK;
    for (size_t i = 0; i < w.facts; i++) add(digest, w.fact[i].value, strlen(w.fact[i].value));
    for (size_t i = 0; i < w.count && status == STATUS_OK; i++) {
        const WeightsTensor *t = &w.tensor[i];
        Arena arena;
        char **texts = NULL;
        size_t count = 0;
        add(digest, t->name, strlen(t->name));
        arena_init(&arena);
        if (t->is_text) {
            status = weights_texts(&w, t->name, &arena, &texts, &count);
            if (status == STATUS_OK) add_texts(digest, texts, count);
        } else if (t->elements < 1 << 26) { // a broadcast view can be larger than its file
            size_t bytes = (size_t)t->elements * element_size(t->type);
            void *values = malloc(bytes + 1);
            status = values ? weights_read(&w, t, t->type, values) : STATUS_OK;
            if (values && status == STATUS_OK) add(digest, values, bytes);
            free(values);
        }
        arena_free(&arena);
    }
    weights_close(&w);
    return status;
}

static Status read_store_rows(Store *store, const SpotRef *spots, size_t count, uint64_t *digest) {
    const StoreInfo *info = store_info(store);
    size_t tile = info->tile_size * info->tile_size * 3, widest = info->n_genes;
    for (size_t t = 0; t < info->n_tables; t++)
        if (info->tables[t].n_columns > widest) widest = info->tables[t].n_columns;
    uint8_t *tiles = malloc(count * tile + 1);
    float *values = malloc((count * widest + 1) * sizeof *values);
    Status status = tiles && values ? STATUS_OK : status_make(STATUS_NO_MEMORY, "no memory");
    if (status == STATUS_OK && tile) status = store_read_tiles(store, spots, count, tiles);
    if (status == STATUS_OK) add(digest, tiles, count * tile);
    if (status == STATUS_OK) status = store_read_counts(store, spots, count, NULL, info->n_genes, values);
    if (status == STATUS_OK) add(digest, values, count * info->n_genes * sizeof *values);
    for (size_t t = 0; t < info->n_tables && status == STATUS_OK; t++) {
        status = store_read_table(store, t, spots, count, values);
        if (status == STATUS_OK) add(digest, values, count * info->tables[t].n_columns * sizeof *values);
    }
    free(values);
    free(tiles);
    return status;
}

static Status read_store(const char *path, uint64_t *digest) {
    Store *store = NULL;
    TRY(store_open(path, &store));
    const StoreInfo *info = store_info(store);
    Status status = store_check(store);
    for (size_t s = 0; s < info->n_sections && status == STATUS_OK; s++) {
        const StoreSection *section = &info->sections[s];
        add_texts(digest, section->ids, section->n_spots);
        add(digest, section->pixel, section->n_spots * 2 * sizeof *section->pixel);
        SpotRef spots[SPOTS];
        size_t count = section->n_spots < SPOTS ? section->n_spots : SPOTS;
        for (size_t i = 0; i < count; i++) spots[i] = (SpotRef){(uint32_t)s, (uint32_t)i};
        status = read_store_rows(store, spots, count, digest);
    }
    store_close(store);
    return status;
}

Status damage_read(DamageReader reader, const char *path, const char *directory, uint64_t *digest) {
    ScaleFactors f;
    Status status = STATUS_OK;
    *digest = 0x5EED;
    switch (reader) {
    case DAMAGE_COUNTS: return read_counts(path, digest);
    case DAMAGE_MEX: return read_counts(directory, digest);
    case DAMAGE_POSITIONS: return read_positions(path, digest);
    case DAMAGE_SCALES:
        status = scale_factors_read(path, &f);
        if (status == STATUS_OK) add(digest, &f, sizeof f);
        return status;
    case DAMAGE_HEST: return read_hest(path, digest);
    case DAMAGE_PATCHES: return read_patches(path, digest);
    case DAMAGE_CELLTYPES: return read_celltypes(path, digest);
    case DAMAGE_TABLE: return read_table(path, digest);
    case DAMAGE_GENESETS: return read_genesets(path, digest);
    case DAMAGE_PICTURE: return read_picture(path, digest);
    case DAMAGE_WEIGHTS: return read_weights(path, digest);
    case DAMAGE_STORE: return read_store(path, digest);
    case DAMAGE_NOTHING:
    case DAMAGE_READERS: break;
    }
    return status_make(STATUS_INTERNAL, "%s: no reader was named", path);
}

const char *damage_reader_name(DamageReader reader) {
    static const char *const names[] = {"nothing", "counts",  "10x directory", "positions", "scale factors",
                                        "samples", "patches", "cell types",    "table",     "gene sets",
                                        "picture", "weights", "store"};
    return reader < DAMAGE_READERS ? names[reader] : "?";
}

static bool ends(const char *path, const char *ending) {
    return string_ends_with(path, ending);
}

DamageReader damage_reader_of(const char *path) {
    const char *name = path_base(path);
    if (ends(name, ".md")) return DAMAGE_NOTHING;
    if (strstr(path, "/patches/")) return DAMAGE_PATCHES;
    if (strncmp(name, "store_", 6) == 0) return DAMAGE_STORE;
    if (ends(name, ".h5") || ends(name, ".h5ad") || strstr(path, "/counts/")) return DAMAGE_COUNTS;
    if (strstr(path, "feature_bc_matrix/")) return DAMAGE_MEX;
    if (strncmp(name, "tissue_positions", 16) == 0 || ends(name, "_selection.tsv")) return DAMAGE_POSITIONS;
    if (strcmp(name, "scalefactors_json.json") == 0) return DAMAGE_SCALES;
    if (strncmp(name, "HEST_v", 6) == 0) return DAMAGE_HEST;
    if (strstr(path, "/proportions/")) return DAMAGE_CELLTYPES;
    if (ends(name, ".gmt")) return DAMAGE_GENESETS;
    if (strstr(path, "/weights/") && !ends(name, ".json")) return DAMAGE_WEIGHTS;
    if (ends(name, ".png") || ends(name, ".jpg") || ends(name, ".tif") || ends(name, ".svs")) return DAMAGE_PICTURE;
    return ends(name, ".csv") ? DAMAGE_TABLE : DAMAGE_NOTHING;
}

bool damage_is_plain_text(DamageReader reader, const char *path) {
    if (ends(path, ".gz") || ends(path, ".parquet")) return false;
    return reader == DAMAGE_MEX || reader == DAMAGE_POSITIONS || reader == DAMAGE_SCALES || reader == DAMAGE_HEST ||
           reader == DAMAGE_CELLTYPES || reader == DAMAGE_TABLE || reader == DAMAGE_GENESETS;
}
