// The real her2st sections: everything that can be checked against the numbers in the data set's own
// description. Needs the data directory as first argument or in STMC_DATA; says so and passes nothing
// otherwise.
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include "../../runtime/data/legacy_st.h"
#include "../../runtime/data/predictions.h"
#include "../../runtime/data/prepare.h"
#include "../../runtime/data/store.h"
#include "../../runtime/report/map.h"
#include "made.h"

static const struct {
    const char *name;
    size_t spots, genes, without_counts, width, height;
    double median_counts, pitch_x, pitch_y;
    const char *missing;
} sections[4] = {
    {"C2", 187, 15706, 0, 9274, 9911, 8508, 289.81, 291.50, NULL},
    {"C3", 180, 15821, 2, 9270, 9936, 9549, 289.69, 292.24, "13x9"},
    {"C4", 184, 15842, 3, 9278, 9916, 10190, 289.94, 291.65, "11x17"},
    {"C5", 181, 15721, 2, 9272, 9901, 10015, 289.75, 291.21, "18x20"},
};

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void check_section(const char *directory, size_t number) {
    char *depths[] = {"major", "minor", "subset"};
    static const size_t columns[3] = {8, 22, 41};
    Section s;
    if (!CHECK_OK(legacy_st_read(directory, sections[number].name, depths, 3, &s))) return;
    CHECK(s.n_spots == sections[number].spots && s.n_genes == sections[number].genes);
    CHECK(s.n_without_counts == sections[number].without_counts && s.n_not_selected == 0 && s.n_extra_rows == 0);
    bool found = !sections[number].missing;
    for (size_t i = 0; i < s.n_without_counts; i++)
        found = found || strcmp(s.without_counts[i], sections[number].missing) == 0;
    CHECK(found);
    double *sums = calloc(s.n_spots, sizeof *sums);
    for (size_t i = 0; i < s.n_spots; i++)
        for (int64_t k = s.indptr[i]; k < s.indptr[i + 1]; k++) sums[i] += s.counts[k];
    qsort(sums, s.n_spots, sizeof *sums, by_value);
    double median = 0.5 * (sums[(s.n_spots - 1) / 2] + sums[s.n_spots / 2]);
    CHECK(sums[0] > 0);
    CHECK_NEAR(median, sections[number].median_counts, 0.5); // the description rounds
    free(sums);
    for (int t = 0; t < 3; t++) {
        double worst = 0;
        CHECK(s.tables[t].n_columns == columns[t]);
        for (size_t i = 0; i < s.n_spots; i++) {
            double sum = 0;
            for (size_t c = 0; c < columns[t]; c++) sum += s.tables[t].values[i * columns[t] + c];
            worst = fmax(worst, fabs(sum - 1));
        }
        CHECK(worst < 1e-4);
    }
    section_free(&s);
}

static void check_store(const char *path) {
    Store *store = NULL;
    if (!CHECK_OK(store_open(path, &store))) return;
    CHECK_OK(store_check(store));
    const StoreInfo *info = store_info(store);
    CHECK(info->n_sections == 4 && info->n_spots == 732 && info->n_genes == 17208 && info->tile_size == 78 &&
          info->n_tables == 6);
    uint8_t *measured = malloc(info->n_genes);
    size_t *everywhere = calloc(info->n_genes, sizeof *everywhere), common = 0;
    for (size_t s = 0; s < 4; s++) {
        const StoreSection *section = &info->sections[s];
        CHECK_TEXT(section->name, sections[s].name);
        CHECK(section->image_width == sections[s].width && section->image_height == sections[s].height);
        CHECK_NEAR(section->pitch_x, sections[s].pitch_x, 0.006);
        CHECK_NEAR(section->pitch_y, sections[s].pitch_y, 0.006);
        CHECK_NEAR(0.5 * (section->pitch_x * section->scale_x + section->pitch_y * section->scale_y), 26, 0.02);
        CHECK_OK(store_read_measured(store, s, measured));
        for (size_t g = 0; g < info->n_genes; g++) everywhere[g] += measured[g];
    }
    for (size_t g = 0; g < info->n_genes; g++) common += everywhere[g] == 4;
    CHECK(common == 14506);
    free(measured);
    free(everywhere);
    // Recorded from an independent reading of the same files (Pillow 13.0 resize of C5 to 830 x 886, cut at
    // the rounded centre of spot 10x11; pandas for the rest).
    size_t c5 = 0, minor = 0, rank = 0;
    CHECK_OK(store_find_section(store, "C5", &c5));
    CHECK_OK(store_find_table(store, "minor", &minor));
    CHECK_OK(store_find_table(store, "minor_rank", &rank));
    SpotRef spot = {(uint32_t)c5, 0};
    uint8_t *tile = malloc(78 * 78 * 3);
    CHECK_TEXT(info->sections[c5].ids[0], "10x11");
    if (CHECK_OK(store_read_tiles(store, &spot, 1, tile))) {
        uint64_t hash = 0xcbf29ce484222325u;
        for (size_t i = 0; i < 78 * 78 * 3; i++) hash = (hash ^ tile[i]) * 0x100000001b3u;
        CHECK(hash == 0xe063e251c771a713u);
    }
    free(tile);
    float ranks[22], values[22];
    CHECK_OK(store_read_table(store, rank, &spot, 1, ranks));
    CHECK_OK(store_read_table(store, minor, &spot, 1, values));
    bool seen[23] = {false}, ordered = true;
    for (int c = 0; c < 22; c++) {
        CHECK(ranks[c] >= 1 && ranks[c] <= 22 && !seen[(int)ranks[c]]);
        seen[(int)ranks[c]] = true;
        for (int d = 0; d < 22; d++) ordered = ordered && (values[c] < values[d]) <= (ranks[c] < ranks[d]);
    }
    CHECK(ordered);
    // Outputs of a whole section.
    const StoreSection *section = &info->sections[c5];
    size_t n = section->n_spots, k = info->tables[minor].n_columns;
    SpotRef *spots = malloc(n * sizeof *spots);
    float *all = malloc(n * k * sizeof *all), *first = malloc(n * sizeof *first);
    for (uint32_t i = 0; i < n; i++) spots[i] = (SpotRef){(uint32_t)c5, i};
    CHECK_OK(store_read_table(store, minor, spots, n, all));
    for (size_t i = 0; i < n; i++) first[i] = all[i * k];
    Predictions p = {.store = store,
                     .spots = spots,
                     .n_rows = n,
                     .n_columns = k,
                     .values = all,
                     .columns = (const char *const *)info->tables[minor].columns};
    CHECK_OK(predictions_write(made_path("c5.h5ad"), &p));
    CHECK_OK(predictions_write(made_path("c5.csv"), &p));
    Picture thumbnail;
    if (CHECK_OK(store_read_thumbnail(store, c5, &thumbnail))) {
        MapPanel panel = {"measured", first};
        SpatialMap map = {.title = p.columns[0],
                          .image = thumbnail.rgb,
                          .image_width = thumbnail.width,
                          .image_height = thumbnail.height,
                          .image_scale_x = section->thumbnail_scale_x,
                          .image_scale_y = section->thumbnail_scale_y,
                          .n_spots = n,
                          .xy = section->pixel,
                          .spot_diameter = 0.5 * section->pitch_x,
                          .unit_in_microns = 200 / section->pitch_x,
                          .n_panels = 1,
                          .panels = &panel};
        CHECK_OK(map_write_png(made_path("c5.png"), &map));
        picture_free(&thumbnail);
    }
    free(spots);
    free(all);
    free(first);
    store_close(store);
}

int main(int argc, char **argv) {
    const char *data = argc > 1 ? argv[1] : getenv("STMC_DATA");
    char directory[1024];
    snprintf(directory, sizeof directory, "%s/her2st", data ? data : "");
    if (!data || !is_directory(directory)) {
        printf("SKIPPED: the real her2st sections: give the data directory as argument or in STMC_DATA\n");
        printf("her2st: 0 passed, 0 failed, 1 skipped\n");
        return 0;
    }
    made_begin();
    for (size_t i = 0; i < 4; i++) check_section(directory, i);
    PrepareOptions options = prepare_defaults();
    PrepareReport report;
    Source source;
    CHECK_OK(source_open(directory, SOURCE_LEGACY_ST, &(SourceOptions){0}, &source));
    if (CHECK_OK(prepare_store(&source, made_path("her2.h5"), &options, &report))) {
        CHECK(report.n_sections == 4 && report.n_spots == 732 && report.n_left_out == 7 && report.n_edge_tiles == 0);
        prepare_report_free(&report);
        check_store(made_path("her2.h5"));
    }
    source_close(&source);
    made_end();
    return check_report("her2st");
}
