// stmdata_export: DiSCoTME's training directory from a Space Ranger directory and its picture, with the preparation of
// counts that goes with it (discotme.md §3.1): mitochondrial and rare genes out, 10,000 counts per spot, ln(1 + x), the
// most variable genes in file order.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../data/counts.h"
#include "../data/export_discotme.h"
#include "../data/hvg.h"
#include "../data/normalise.h"
#include "../data/positions.h"
#include "stmdata.h"

enum { MOST_THREADS = 16, MIN_SPOTS = 10 };

Status check_export(const Arguments *a) {
    int64_t radius = 0;
    if (a->radius) TRY(whole_number("--radius", a->radius, 1, 8192, &radius));
    if (!a->flavor && !a->n) return STATUS_OK;
    if (!a->flavor || !a->n)
        return status_make(STATUS_INVALID, "--flavor and --n belong together; without both, X is written as it is");
    HvgOptions options;
    return hvg_options(a, &options);
}

static int ascending(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

// X becomes the logarithms of the chosen genes.
static Status choose_genes(const HvgOptions *options, Annotated *a) {
    GeneFilter filter = {.min_spots = MIN_SPOTS, .drop = MITO_PREFIX};
    NormaliseOptions normal = {.target_sum = 1e4};
    HvgResult genes = {0};
    Matrix kept = {0}, chosen = {0};
    size_t *pick = NULL, count = 0;
    TRY(filter_genes(&a->x, &filter, &pick, &count));
    Status status = matrix_select(&a->x, NULL, 0, pick, count, &kept);
    free(pick);
    TRY(status);
    if (options->flavour == HVG_SEURAT_V3) status = hvg_select(&kept, options, &genes); // on counts
    if (status == STATUS_OK) status = normalise_total(&kept, &normal, NULL);
    if (status == STATUS_OK) status = matrix_log1p(&kept);
    if (status == STATUS_OK && options->flavour == HVG_SEURAT) status = hvg_select(&kept, options, &genes);
    if (status == STATUS_OK && genes.count) qsort(genes.gene, genes.count, sizeof *genes.gene, ascending);
    if (status == STATUS_OK) status = matrix_select(&kept, NULL, 0, genes.gene, genes.count, &chosen);
    hvg_free(&genes);
    matrix_free(&kept);
    TRY(status);
    Matrix old = {0};
    status = annotated_take_x(a, &old);
    matrix_free(&old);
    a->x = chosen;
    return status;
}

// Spots in the order of the positions file, as the original writes them.
static Status order_of(const char *path, const Matrix *m, Arena *arena, size_t **out_order, size_t *out_count) {
    SpotPositions positions = {0};
    NameIndex index = {0};
    char *file = NULL;
    *out_order = NULL;
    TRY(positions_find(path, arena, &file));
    if (!file) return STATUS_OK;
    TRY(positions_read(file, &positions));
    size_t *order = NULL, count = 0;
    Status status = ARENA_NEW(arena, order, m->rows);
    if (status == STATUS_OK) status = name_index_init(&index, arena, m->rows);
    for (size_t i = 0; status == STATUS_OK && i < m->rows; i++) name_index_add(&index, m->row_name[i], (int64_t)i);
    for (size_t i = 0; status == STATUS_OK && i < positions.count; i++) {
        int64_t row = name_index_find(&index, positions.id[i]);
        if (row >= 0 && count < m->rows) order[count++] = (size_t)row;
    }
    positions_free(&positions);
    *out_order = order;
    *out_count = count;
    return status;
}

static Status radius_of(const Arguments *a, const Annotated *counts, size_t *out) {
    int64_t radius = 0;
    if (a->radius) {
        TRY(whole_number("--radius", a->radius, 1, 8192, &radius));
        *out = (size_t)radius;
        return STATUS_OK;
    }
    double diameter = counts->n_libraries ? counts->library[0].spot_diameter_fullres : NAN;
    if (!(diameter > 0))
        return status_make(STATUS_MISMATCH, "%s: the scale factors give no spot diameter; give --radius", a->words[0]);
    *out = diameter < 4 ? 1 : (size_t)floor(diameter / 2);
    return STATUS_OK;
}

Status command_export(const Arguments *a) {
    Annotated counts;
    HvgOptions options;
    Arena arena;
    Pool *pool = NULL;
    DiscotmeReport report;
    CountsOptions reading = {.genome = a->genome, .section = a->section, .layer = a->layer};
    TRY(counts_read(a->words[0], &reading, &counts));
    arena_init(&arena);
    DiscotmeExport job = {.picture = a->words[1], .spots = &counts};
    size_t *order = NULL;
    Status status = radius_of(a, &counts, &job.radius);
    if (status == STATUS_OK && a->n) status = hvg_options(a, &options);
    if (status == STATUS_OK && a->n) status = choose_genes(&options, &counts);
    if (status == STATUS_OK && is_directory(a->words[0]))
        status = order_of(a->words[0], &counts.x, &arena, &order, &job.count);
    job.order = order;
    int threads = usable_threads();
    if (status == STATUS_OK) status = pool_new(threads < MOST_THREADS ? threads : MOST_THREADS, &pool);
    if (status == STATUS_OK) status = export_discotme(a->out, &job, pool, &report);
    if (status == STATUS_OK)
        printf("%s: %zu spots, %zu genes, patches of %zu x %zu pixels, %zu of them cut at an edge\n", a->out,
               report.spots, report.genes, 2 * job.radius, 2 * job.radius, report.cut);
    pool_free(pool);
    arena_free(&arena);
    annotated_free(&counts);
    return status;
}
