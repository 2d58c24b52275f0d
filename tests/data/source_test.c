// Sources: every layout, read section by section: the samples against the numbers of their READMEs, made trees for what
// the samples lack, and the messages for pieces that are missing or do not fit.
#include "../../runtime/data/source.h"

#include "../../runtime/data/h5ad_write.h"
#include "counts_reference.h"
#include "library_faults.h"

// ---- Helpers --------------------------------------------------------------------------------------

static bool open_quietly(const char *path, SourceLayout layout, const SourceOptions *options, Source *out) {
    return CHECK_OK(source_open(path, layout, options, out));
}

static size_t section_number(const Source *source, const char *name) {
    for (size_t i = 0; i < source->count; i++)
        if (strcmp(source->section[i], name) == 0) return i;
    printf("no section %s in %s\n", name, source->path);
    CHECK(false);
    return 0;
}

static bool has_note(const Section *s, const char *part) {
    for (size_t i = 0; i < s->n_notes; i++)
        if (strstr(s->note[i], part)) return true;
    printf("    no note with '%s'; there are:\n", part);
    for (size_t i = 0; i < s->n_notes; i++) printf("      %s\n", s->note[i]);
    return false;
}

static bool has_input(const Section *s, const char *ending) {
    for (size_t i = 0; i < s->n_inputs; i++) {
        size_t length = strlen(s->inputs[i]), end = strlen(ending);
        if (length >= end && strcmp(s->inputs[i] + length - end, ending) == 0) return file_exists(s->inputs[i]);
    }
    return false;
}

static double total_of(const Section *s) {
    double total = 0;
    for (int64_t e = 0; e < s->indptr[s->n_spots]; e++) total += s->counts[e];
    return total;
}

// What holds for every section, whatever it was read from.
static void check_sound(const Section *s) {
    bool ascending = true, in_range = true, places = true;
    for (size_t i = 0; i < s->n_spots; i++) {
        ascending = ascending && s->indptr[i] <= s->indptr[i + 1] && s->ids[i] && *s->ids[i];
        for (int64_t e = s->indptr[i]; e < s->indptr[i + 1]; e++) {
            in_range = in_range && s->indices[e] >= 0 && (size_t)s->indices[e] < s->n_genes && s->counts[e] > 0;
            ascending = ascending && (e == s->indptr[i] || s->indices[e - 1] < s->indices[e]);
        }
        places = places && isfinite(s->pixel[2 * i]) && isfinite(s->pixel[2 * i + 1]);
        if (s->no_array) places = places && s->array[2 * i] == -1 && s->array_exact[2 * i + 1] == -1;
    }
    CHECK(s->indptr[0] == 0 && ascending && in_range && places);
    CHECK((s->image_path != NULL) + (s->picture.rgb != NULL) + (s->no_picture != NULL) == 1);
    CHECK(s->picture_scale > 0);
    for (size_t i = 0; i < s->n_inputs; i++) CHECK(file_exists(s->inputs[i]));
}

static bool read_named(const Source *source, const char *name, char *const *tables, size_t n, Section *out) {
    if (!CHECK_OK(source_read(source, section_number(source, name), tables, n, out))) return false;
    check_sound(out);
    CHECK_TEXT(out->name, name);
    return true;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_total(const Section *s) {
    double *totals = calloc(s->n_spots + 1, sizeof *totals);
    for (size_t i = 0; i < s->n_spots; i++)
        for (int64_t e = s->indptr[i]; e < s->indptr[i + 1]; e++) totals[i] += s->counts[e];
    qsort(totals, s->n_spots, sizeof *totals, by_value);
    size_t n = s->n_spots;
    double median = n % 2 ? totals[n / 2] : (totals[n / 2 - 1] + totals[n / 2]) / 2;
    free(totals);
    return median;
}

// ---- Names ----------------------------------------------------------------------------------------

static void test_names(void) {
    for (int i = 0; i < SOURCE_LAYOUTS; i++) {
        SourceLayout found = SOURCE_LAYOUTS;
        CHECK_OK(source_layout_find(source_layout_name((SourceLayout)i), &found));
        CHECK(found == (SourceLayout)i);
    }
    SourceLayout found;
    CHECK_FAILS(source_layout_find("visum", &found), STATUS_INVALID, "auto, legacy_st, visium, hest, h5ad, elucidata");
    Source source;
    CHECK_FAILS(source_open(made_path("nothing"), SOURCE_AUTO, NULL, &source), STATUS_NOT_FOUND, "does not exist");
    mkdir(made_path("empty"), 0777);
    CHECK_FAILS(source_open(made_path("empty"), SOURCE_AUTO, NULL, &source), STATUS_NOT_FOUND, "looked for counts/");
    CHECK_FAILS(source_open(made_path("empty"), SOURCE_LEGACY_ST, NULL, &source), STATUS_NOT_FOUND, "'counts'");
    CHECK_FAILS(source_open(made_path("empty"), SOURCE_VISIUM, NULL, &source), STATUS_NOT_FOUND, "_feature_bc_matrix");
    CHECK_FAILS(source_open(made_path("empty"), SOURCE_HEST, NULL, &source), STATUS_NOT_FOUND, "HEST");
    CHECK_FAILS(source_open(made_path("empty"), SOURCE_H5AD, NULL, &source), STATUS_NOT_FOUND, "*.h5ad");
    CHECK_FAILS(source_open(made_path("empty"), SOURCE_ELUCIDATA, NULL, &source), STATUS_INVALID, "one HDF5 file");
    mkfifo(made_path("pipe.h5ad"), 0666);
    CHECK_FAILS(source_open(made_path("pipe.h5ad"), SOURCE_AUTO, NULL, &source), STATUS_INVALID, "pipe.h5ad");
    made_text(made_path("text.h5ad"), "this is no HDF5 file");
    CHECK_FAILS(source_open(made_path("text.h5ad"), SOURCE_AUTO, NULL, &source), STATUS_MALFORMED, "text.h5ad");
    CHECK_FAILS(source_open(made_path("text.h5ad"), SOURCE_VISIUM, NULL, &source), STATUS_INVALID, "a directory of");
}

// ---- Legacy ST ------------------------------------------------------------------------------------

static void test_her2st(const char *data) {
    static const struct {
        const char *name;
        size_t spots, genes, without;
        double median, x, y;
    } expected[] = {{"C2", 187, 15706, 0, 8508, 289.81, 291.50},
                    {"C3", 180, 15821, 2, 9549, 289.69, 292.24},
                    {"C4", 184, 15842, 3, 10190, 289.94, 291.65},
                    {"C5", 181, 15721, 2, 10015, 289.75, 291.21}};
    Source source;
    Section s;
    if (!file_exists(made_below(data, "her2st/counts/C2.tsv.gz"))) {
        CHECK_SKIP("no her2st in %s", data);
        return;
    }
    if (!open_quietly(made_below(data, "her2st"), SOURCE_AUTO, NULL, &source)) return;
    CHECK(source.layout == SOURCE_LEGACY_ST && source.count == 4);
    Arena arena;
    char **tables = NULL;
    size_t n = 0, all[] = {0, 1, 2, 3};
    arena_init(&arena);
    CHECK_OK(source_tables(&source, all, 4, &arena, &tables, &n));
    CHECK(n == 3 && strcmp(tables[0], "major") == 0 && strcmp(tables[2], "subset") == 0);
    for (size_t i = 0; i < 4; i++) {
        CHECK_TEXT(source.section[i], expected[i].name);
        if (!read_named(&source, expected[i].name, tables, n, &s)) continue;
        CHECK(s.n_spots == expected[i].spots && s.n_genes == expected[i].genes);
        CHECK(s.n_without_counts == expected[i].without && s.n_not_selected == 0 && s.n_extra_rows == 0);
        CHECK_NEAR(median_total(&s), expected[i].median, 0.5);
        double pitch = (expected[i].x + expected[i].y) / 2;
        CHECK_NEAR(s.spot_diameter, pitch / 2, 0.01);
        CHECK_NEAR(s.microns_per_pixel, 200 / pitch, 1e-4);
        CHECK(s.n_tables == 3 && s.tables[0].n_columns == 8 && s.tables[1].n_columns == 22 &&
              s.tables[2].n_columns == 41);
        CHECK(!s.no_array && s.image_path && s.n_inputs == 6 && has_input(&s, ".jpg"));
        double sum = 0;
        for (size_t c = 0; c < 22; c++) sum += (double)s.tables[1].values[c];
        CHECK_NEAR(sum, 1, 1e-5);
        section_free(&s);
    }
    CHECK_FAILS(source_read(&source, 4, NULL, 0, &s), STATUS_INVALID, "no section 4");
    char *unknown[] = {"minro"};
    CHECK_FAILS(source_read(&source, 1, unknown, 1, &s), STATUS_NOT_FOUND, "major, minor, subset");
    arena_free(&arena);
    source_close(&source);
}

static void test_legacy(void) {
    const char *tree = made_legacy("legacy");
    Source source;
    Section s;
    char *major[] = {"major"};
    if (open_quietly(tree, SOURCE_AUTO, NULL, &source)) {
        CHECK(source.layout == SOURCE_LEGACY_ST && source.count == 2);
        if (read_named(&source, "B2", major, 1, &s)) {
            CHECK(s.n_spots == 6 && s.n_without_counts == 1 && s.n_not_selected == 1 && s.n_extra_rows == 1);
            CHECK_TEXT(s.without_counts[0], "6x3");
            CHECK_NEAR(s.microns_per_pixel, 4, 1e-9); // 50 pixels a step
            section_free(&s);
        }
        // a table of another format and depth, for one section only; one spot without a line
        made_text(made_below(tree, "proportions/B1_other.csv"),
                  "\"\",\"T, cells\",B\n2x2,1,0\n3x2,1,0\n4x2,0.5,0.25\n2x3,1,0\n3x3,1,0\n4x3,1,0\n");
        char **names = NULL, *other[] = {"other", "major"};
        size_t n = 0, both[] = {0, 1}, first = 0;
        Arena arena;
        arena_init(&arena);
        CHECK_OK(source_tables(&source, both, 2, &arena, &names, &n));
        CHECK(n == 1 && strcmp(names[0], "major") == 0);
        CHECK_OK(source_tables(&source, &first, 1, &arena, &names, &n));
        CHECK(n == 2 && strcmp(names[1], "other") == 0);
        arena_free(&arena);
        if (read_named(&source, "B1", other, 2, &s)) {
            CHECK_TEXT(s.tables[0].name, "other");
            CHECK_TEXT(s.tables[0].columns[0], "T, cells");
            CHECK(s.tables[0].values[4] == 0.5f && s.tables[0].values[5] == 0.25f);
            CHECK_TEXT(s.tables[1].name, "major");
            section_free(&s);
        }
        made_text(made_below(tree, "proportions/B1_other.csv"), "x,T\n2x2,1\n3x2,1\n2x3,1\n3x3,1\n");
        CHECK_FAILS(source_read(&source, 0, other, 1, &s), STATUS_MALFORMED, "2 of its 6 spots");
        unlink(made_below(tree, "images/B1.jpg"));
        if (read_named(&source, "B1", NULL, 0, &s)) {
            CHECK(s.no_picture && strstr(s.no_picture, "images/B1.jpg"));
            section_free(&s);
        }
        unlink(made_below(tree, "spots/B1_selection.tsv"));
        CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_NOT_FOUND, "section B1: no spot positions");
        source_close(&source);
    }
    SourceOptions options = {.image = tree};
    CHECK_FAILS(source_open(tree, SOURCE_AUTO, &options, &source), STATUS_INVALID, "one picture");
    options = (SourceOptions){.layer = "raw"};
    CHECK_FAILS(source_open(tree, SOURCE_AUTO, &options, &source), STATUS_INVALID, "no layers");
    options = (SourceOptions){.no_counts = true};
    if (open_quietly(tree, SOURCE_AUTO, &options, &source)) {
        if (read_named(&source, "B2", major, 1, &s)) {
            CHECK(s.n_spots == 6 && s.n_genes == 0 && total_of(&s) == 0 && s.n_tables == 1);
            section_free(&s);
        }
        source_close(&source);
    }
}

// ---- Visium: samples ------------------------------------------------------------------------------

static void test_visium_samples(const char *data) {
    static const struct {
        const char *name;
        size_t spots, genes, without, not_selected;
        double nnz, total, diameter, scale;
        const char *picture, *duplicates;
    } expected[] = {
        {"brain_sr2", 624, 634, 2078, 4992 - 2702, 170625, 738015, 89.43834961015428, 0.051033426,
         "tissue_lowres_image.png", NULL},
        {"colon_hd_16um", 675, 18085, 0, 0, 0, 0, 58.4312041790003, 0.007973422, "tissue_hires_image.png", "3 genes"},
        {"crc16", 3106, 36601, 0, 4992 - 3106, 2423896, 4671205, 50.209627824629216, 0.08580009,
         "tissue_lowres_image.png", "10 genes"},
        {"heart_100x100", 100, 100, 4135, 4992 - 4235, 0, 0, 89.42751063343188, 0.150015, "tissue_hires_image.png",
         NULL},
        {"prostate_tiny", 12, 5, 0, 0, 0, 0, 188.56909, 0.075120196, "tissue_hires_image.png", NULL}};
    Source source;
    Section s;
    if (!file_exists(made_below(data, "visium/crc16/filtered_feature_bc_matrix.h5"))) {
        CHECK_SKIP("no visium samples in %s", data);
        return;
    }
    if (!open_quietly(made_below(data, "visium"), SOURCE_AUTO, NULL, &source)) return;
    CHECK(source.layout == SOURCE_VISIUM && source.count == 5);
    for (size_t i = 0; i < 5; i++) {
        CHECK_TEXT(source.section[i], expected[i].name);
        if (!read_named(&source, expected[i].name, NULL, 0, &s)) continue;
        CHECK(s.n_spots == expected[i].spots && s.n_genes == expected[i].genes);
        CHECK(s.n_without_counts == expected[i].without && s.n_not_selected == expected[i].not_selected);
        CHECK(s.n_not_joined == 0 && !s.no_array);
        if (expected[i].nnz > 0) {
            CHECK_NEAR((double)s.indptr[s.n_spots], expected[i].nnz, 0);
            CHECK_NEAR(total_of(&s), expected[i].total, 0);
        }
        CHECK_NEAR(s.spot_diameter, expected[i].diameter, 1e-9);
        CHECK_NEAR(s.picture_scale, expected[i].scale, 1e-12);
        CHECK(s.image_path && strstr(s.image_path, expected[i].picture));
        CHECK(has_note(&s, "no full-resolution picture"));
        if (expected[i].duplicates) CHECK(has_note(&s, expected[i].duplicates));
        CHECK(has_input(&s, "scalefactors_json.json") && has_input(&s, expected[i].picture));
        section_free(&s);
    }
    if (read_named(&source, "brain_sr2", NULL, 0, &s)) {
        // AAACAAGTATCTCCCA-1 and the like: the line of the positions file of the first spot
        CHECK_TEXT(s.ids[0], "AAAGGGATGTAGCAAG-1");
        CHECK(s.array[0] == 62 && s.array[1] == 24); // column, row
        CHECK(s.pixel[0] == 5477 && s.pixel[1] == 4126);
        CHECK_NEAR(s.microns_per_pixel, 100 / 137.6, 0.003); // neighbours in a row: 137 to 138 pixels
        section_free(&s);
    }
    if (read_named(&source, "colon_hd_16um", NULL, 0, &s)) {
        CHECK_NEAR(s.microns_per_pixel, 0.2738262923862567, 1e-15); // from the file
        CHECK_NEAR(s.pixel[0], 45078.38725567388, 1e-9);
        section_free(&s);
    }
    source_close(&source);
    if (open_quietly(made_below(data, "visium/prostate_tiny/"), SOURCE_AUTO, NULL, &source)) {
        CHECK(source.count == 1 && source.layout == SOURCE_VISIUM);
        if (read_named(&source, "prostate_tiny", NULL, 0, &s)) {
            CHECK(has_input(&s, "matrix.mtx") && has_input(&s, "barcodes.tsv") && has_input(&s, "features.tsv"));
            CHECK(s.n_inputs == 6);
            section_free(&s);
        }
        source_close(&source);
    }
    CHECK_FAILS(source_open(made_below(data, "visium/crc16/filtered_feature_bc_matrix.h5"), SOURCE_AUTO, NULL, &source),
                STATUS_UNSUPPORTED, "give the directory around it");
}

// ---- Visium: made ---------------------------------------------------------------------------------

static const char *const made_scales = "{\"spot_diameter_fullres\": 65, \"tissue_hires_scalef\": 0.5, "
                                       "\"tissue_lowres_scalef\": 0.1}";

// Six spots on two rows, 100 pixels apart; S6 has no counts, S5 is not in tissue.
static const char *const made_positions =
    "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n"
    "S1,1,0,0,100,100\nS2,1,0,2,100,200\nS3,1,1,1,187,150\nS4,1,1,3,187,250\n"
    "S5,0,0,4,100,300\nS6,1,1,5,187,350\n";

// DIRECTORY with matrix and spatial/; counts of S4, S2, S1, S5, S3 and, in none of the files, S9. Gene A twice.
static void make_outs(const char *directory) {
    mkdir(directory, 0777);
    mkdir(made_below(directory, "spatial"), 0777);
    mkdir(made_below(directory, "filtered_feature_bc_matrix"), 0777);
    made_text(made_below(directory, "spatial/tissue_positions.csv"), made_positions);
    made_text(made_below(directory, "spatial/scalefactors_json.json"), made_scales);
    made_text(made_below(directory, "filtered_feature_bc_matrix/barcodes.tsv"), "S4\nS2\nS1\nS5\nS3\nS9\n");
    made_gzip(made_below(directory, "filtered_feature_bc_matrix/features.tsv.gz"),
              "E1\tA\tGene Expression\nE2\tB\tGene Expression\nE3\tA\tGene Expression\n");
    made_text(
        made_below(directory, "filtered_feature_bc_matrix/matrix.mtx"),
        "%%MatrixMarket matrix coordinate integer general\n3 6 7\n1 1 5\n3 1 2\n2 2 7\n1 3 1\n2 4 9\n3 5 4\n1 6 8\n");
}

static void test_visium_made(void) {
    mkdir(made_path("runs"), 0777);
    mkdir(made_path("runs/B"), 0777);
    mkdir(made_path("runs/notes"), 0777);
    make_outs(made_path("runs/B/outs"));
    make_outs(made_path("runs/A"));
    made_text(made_path("runs/A/A.tiff"), "located, not opened");
    made_text(made_path("runs/A/0.tif"), "located, not opened");
    made_text(made_path("runs/B/outs/spatial/tissue_lowres_image.png"), "located, not opened");
    mkdir(made_path("runs/proportions"), 0777);
    made_text(made_path("runs/proportions/A_major.tsv"),
              "\tT\tB\nS1\t1\t0\nS2\t0\t1\nS3\t1\t0\nS4\t0.25\t0.75\nS9\t1\t0\n");
    Source source;
    Section s;
    char *major[] = {"major"};
    if (!open_quietly(made_path("runs"), SOURCE_AUTO, NULL, &source)) return;
    CHECK(source.layout == SOURCE_VISIUM && source.count == 2);
    if (read_named(&source, "A", major, 1, &s)) {
        CHECK(s.n_spots == 4 && s.n_genes == 3 && s.n_without_counts == 1 && s.n_not_selected == 1);
        CHECK(s.n_not_joined == 1 && s.n_extra_rows == 1);
        CHECK_TEXT(s.ids[0], "S4"); // the order of the counts
        CHECK_TEXT(s.ids[3], "S3");
        CHECK_TEXT(s.without_counts[0], "S6");
        CHECK_TEXT(s.genes[2], "A-1");
        CHECK(s.counts[0] == 5 && s.counts[1] == 2 && s.indices[1] == 2 && total_of(&s) == 5 + 2 + 7 + 1 + 4);
        CHECK(s.array[0] == 3 && s.array[1] == 1 && s.pixel[0] == 250 && s.pixel[1] == 187);
        CHECK(s.tables[0].values[0] == 0.25f && s.tables[0].values[1] == 0.75f);
        CHECK(strstr(s.image_path, "A/A.tiff") != NULL); // the name of the directory goes before others
        CHECK(s.picture_scale == 1 && s.spot_diameter == 65);
        CHECK_NEAR(s.microns_per_pixel, 1, 1e-9);
        CHECK(has_note(&s, "1 of 6 spots with counts have no position"));
        CHECK(has_note(&s, "1 of 6 spots with counts are not in tissue") && has_note(&s, "1 genes"));
        CHECK(s.n_inputs == 7 && has_input(&s, "features.tsv.gz") && has_input(&s, "A_major.tsv"));
        section_free(&s);
    }
    if (read_named(&source, "B", NULL, 0, &s)) {
        CHECK(strstr(s.image_path, "tissue_lowres_image.png") && s.picture_scale == 0.1);
        CHECK(has_note(&s, "no full-resolution picture"));
        section_free(&s);
    }
    CHECK_FAILS(source_read(&source, 1, major, 1, &s), STATUS_NOT_FOUND, "runs/proportions/B_major.tsv");
    // pieces that are missing or wrong, one after the other
    const char *b = made_path("runs/B/outs");
    unlink(made_below(b, "spatial/tissue_lowres_image.png"));
    if (read_named(&source, "B", NULL, 0, &s)) {
        CHECK(s.no_picture && strstr(s.no_picture, "B.tif") && strstr(s.no_picture, "tissue_hires_image.png"));
        section_free(&s);
    }
    made_text(made_below(b, "spatial/scalefactors_json.json"), "{\"spot_diameter_fullres\": 10}");
    made_text(made_below(b, "spatial/tissue_hires_image.png"), "x");
    if (read_named(&source, "B", NULL, 0, &s)) {
        CHECK(s.no_picture && has_note(&s, "no tissue_hires_scalef"));
        CHECK(has_note(&s, "scale factors let expect")); // spots of 10 pixels are not 100 pixels apart
        section_free(&s);
    }
    unlink(made_below(b, "spatial/scalefactors_json.json"));
    if (read_named(&source, "B", NULL, 0, &s)) {
        CHECK(s.spot_diameter == 0 && has_note(&s, "no scalefactors_json.json"));
        section_free(&s);
    }
    made_text(made_below(b, "filtered_feature_bc_matrix/matrix.mtx"),
              "%%MatrixMarket matrix coordinate real general\n3 6 1\n1 1 2.5\n");
    CHECK_FAILS(source_read(&source, 1, NULL, 0, &s), STATUS_MISMATCH, "2.5 for gene A of spot S4");
    made_text(made_below(b, "filtered_feature_bc_matrix/barcodes.tsv"), "S1\nS2\nS1\nS3\nS4\nS5\n");
    CHECK_FAILS(source_read(&source, 1, NULL, 0, &s), STATUS_MALFORMED, "barcode S1 occurs twice");
    made_text(made_below(b, "filtered_feature_bc_matrix/barcodes.tsv"), "X1\nX2\nX3\nX4\nX5\nX6\n");
    CHECK_FAILS(source_read(&source, 1, NULL, 0, &s), STATUS_MISMATCH, "do not belong together");
    made_text(made_below(b, "filtered_feature_bc_matrix/barcodes.tsv"), "S5\nX2\nX3\nX4\nX5\nX6\n");
    CHECK_FAILS(source_read(&source, 1, NULL, 0, &s), STATUS_MISMATCH, "no spot that");
    unlink(made_below(b, "filtered_feature_bc_matrix/barcodes.tsv"));
    CHECK_FAILS(source_read(&source, 1, NULL, 0, &s), STATUS_NOT_FOUND, "barcodes.tsv");
    rename(made_below(b, "spatial/tissue_positions.csv"), made_below(b, "spatial/tissue_positions.parquet"));
    CHECK_FAILS(source_read(&source, 1, NULL, 0, &s), STATUS_UNSUPPORTED, "to_csv(");
    unlink(made_below(b, "spatial/tissue_positions.parquet"));
    CHECK_FAILS(source_read(&source, 1, NULL, 0, &s), STATUS_NOT_FOUND, "section B: ");
    CHECK_FAILS(source_read(&source, 1, NULL, 0, &s), STATUS_NOT_FOUND, "no positions");
    source_close(&source);
    // no counts at all: an error, unless the model reads none
    const char *a = made_path("runs/A");
    rename(made_below(a, "filtered_feature_bc_matrix"), made_path("aside"));
    if (open_quietly(a, SOURCE_VISIUM, NULL, &source)) {
        CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_NOT_FOUND, "neither filtered_feature_bc_matrix");
        source_close(&source);
    }
    SourceOptions options = {.no_counts = true, .image = made_below(a, "0.tif")};
    if (open_quietly(a, SOURCE_VISIUM, &options, &source)) {
        if (read_named(&source, "A", NULL, 0, &s)) {
            CHECK(s.n_spots == 5 && s.n_genes == 0 && s.n_not_selected == 1 && has_note(&s, "5 positions in tissue"));
            CHECK(strstr(s.image_path, "0.tif") != NULL);
            section_free(&s);
        }
        source_close(&source);
    }
    rename(made_path("aside"), made_below(a, "filtered_feature_bc_matrix"));
    if (open_quietly(a, SOURCE_VISIUM, &options, &source)) { // with counts the spots are the same as with genes
        if (read_named(&source, "A", NULL, 0, &s)) {
            CHECK(s.n_spots == 4 && s.n_genes == 0 && s.n_without_counts == 1);
            section_free(&s);
        }
        source_close(&source);
    }
    options.image = made_below(a, "gone.tif");
    CHECK_FAILS(source_open(a, SOURCE_VISIUM, &options, &source), STATUS_NOT_FOUND, "gone.tif");
}

// A pixel of one um: rows 86.6 um apart. A square array is not taken for Visium.
static void test_microns(void) {
    Source source;
    Section s;
    for (int square = 0; square < 2; square++) {
        const char *path = made_path(square ? "square" : "hexagonal");
        make_outs(path);
        if (square)
            made_text(made_below(path, "spatial/tissue_positions.csv"),
                      "S1,1,0,0,100,100\nS2,1,0,1,100,200\nS3,1,1,0,200,100\nS4,1,1,1,200,200\n");
        if (!open_quietly(path, SOURCE_AUTO, NULL, &source)) continue;
        if (CHECK_OK(source_read(&source, 0, NULL, 0, &s))) {
            CHECK_NEAR(s.microns_per_pixel, square ? 0 : 1, 1e-9);
            section_free(&s);
        }
        source_close(&source);
    }
}

// A damaged HDF5 file among sound sections: named, and the others can be read.
static void test_damaged(const char *data) {
    const char *good = made_below(data, "visium/heart_100x100/filtered_feature_bc_matrix.h5");
    if (!file_exists(good)) return;
    mkdir(made_path("some"), 0777);
    make_outs(made_path("some/bad"));
    make_outs(made_path("some/good"));
    made_damaged(good, made_path("some/bad/filtered_feature_bc_matrix.h5"), 6000, -1, 0);
    Source source;
    Section s;
    if (!open_quietly(made_path("some"), SOURCE_AUTO, NULL, &source)) return;
    CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_MALFORMED, "bad/filtered_feature_bc_matrix.h5");
    CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_MALFORMED, "section bad");
    if (read_named(&source, "good", NULL, 0, &s)) section_free(&s);
    source_close(&source);
}

// ---- AnnData --------------------------------------------------------------------------------------

static void test_h5ad_samples(const char *data) {
    Source source;
    Section s;
    const char *brain = made_below(data, "h5ad/visium_brain_csr.h5ad");
    if (!file_exists(brain)) {
        CHECK_SKIP("no h5ad samples in %s", data);
        return;
    }
    if (open_quietly(brain, SOURCE_AUTO, NULL, &source)) {
        CHECK(source.layout == SOURCE_H5AD && source.count == 1);
        CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_MISMATCH, "X holds 1.06409 for gene Cspp1 of spot");
        CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_MISMATCH, "raw counts are needed");
        source_close(&source);
    }
    SourceOptions options = {.no_counts = true};
    if (open_quietly(brain, SOURCE_AUTO, &options, &source)) {
        Arena arena;
        char **tables = NULL;
        size_t n = 0, first = 0;
        arena_init(&arena);
        CHECK_OK(source_tables(&source, &first, 1, &arena, &tables, &n));
        CHECK(n == 2 && strcmp(tables[0], "X_pca") == 0 && strcmp(tables[1], "X_umap") == 0);
        if (read_named(&source, "visium_brain_csr", tables, n, &s)) {
            CHECK(s.n_spots == 49 && s.n_genes == 0 && s.no_array);
            CHECK_TEXT(s.ids[0], "AAATTGCGGCGGTTCT-1");
            CHECK(s.pixel[0] == 337 && s.pixel[1] == 439);
            CHECK(s.picture.width == 100 && s.picture.height == 100);
            CHECK_NEAR(s.picture_scale, 0.17011142, 1e-12);
            CHECK_NEAR(s.spot_diameter, 89.44476048022638, 1e-12);
            CHECK(s.tables[0].n_columns == 50 && s.tables[1].n_columns == 2);
            CHECK_TEXT(s.tables[0].columns[49], "X_pca_50");
            CHECK_NEAR((double)s.tables[1].values[2], 13.511108, 1e-6);
            CHECK(s.n_spot_values == 1 && strcmp(s.spot_value_names[0], "in_tissue") == 0 && s.spot_values[0] == 1);
            section_free(&s);
        }
        arena_free(&arena);
        source_close(&source);
    }
    if (open_quietly(made_below(data, "h5ad/visium_breast_dense.h5ad"), SOURCE_AUTO, &options, &source)) {
        if (read_named(&source, "visium_breast_dense", NULL, 0, &s)) {
            CHECK(s.n_spots == 316 && !s.no_array && s.array[0] == 54 && s.array[1] == 62);
            CHECK(s.pixel[0] == 10869 && s.pixel[1] == 18775);
            CHECK(s.no_picture != NULL); // pictures of length 0
            CHECK_NEAR(s.microns_per_pixel, 65 / 177.4829519178534, 0.004);
            section_free(&s);
        }
        source_close(&source);
    }
    if (open_quietly(made_below(data, "h5ad"), SOURCE_AUTO, NULL, &source)) {
        CHECK(source.layout == SOURCE_H5AD && source.count == 8);
        size_t blood = section_number(&source, "pbmc68k_current");
        CHECK_FAILS(source_read(&source, blood, NULL, 0, &s), STATUS_NOT_FOUND, "it has: X_pca, X_umap");
        source_close(&source);
    }
}

static Picture made_colour(size_t width, size_t height, uint8_t value) {
    Picture picture = {width, height, malloc(width * height * 3)};
    memset(picture.rgb, value, width * height * 3);
    return picture;
}

enum { MADE_ROWS = 6, MADE_GENES = 3 };

typedef struct MadeAnn {
    bool libraries, column, fraction, counts_layer, no_spatial, repeat, array;
    const char *donor;
} MadeAnn;

// Spots c0 ... c5, the last not in tissue, on the libraries "left" and "right" in turn; X = row + column + 1.
static void make_h5ad(const char *path, MadeAnn how) {
    static char *ids[] = {"c0", "c1", "c2", "c3", "c4", "c5"}, *same[] = {"c0", "c0", "c2", "c3", "c4", "c5"},
                *genes[] = {"G1", "G2", "G1"}, *names[] = {"left", "right"}, *types[] = {"T cells", "B"};
    static double places[MADE_ROWS * 2] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120};
    static double kinds[MADE_ROWS * 2] = {0, 1, 0.25, 0.75, 0.5, 0.5, 0, 1, 1, 0, 0, 0};
    static int64_t tissue[MADE_ROWS] = {1, 1, 1, 1, 1, 0}, steps[MADE_ROWS] = {0, 1, 2, 3, 4, 5};
    static double quality[MADE_ROWS] = {0.5, 1.5, 2.5, 3.5, 4.5, 5.5};
    static int32_t codes[MADE_ROWS] = {0, 1, 0, 1, 0, 1}, zeros[MADE_ROWS];
    Annotated a = {.has_x = true};
    Layer layers[1] = {{.name = "counts"}};
    char *donors[1] = {(char *)how.donor};
    arena_init(&a.arena);
    CHECK_OK(matrix_create(MADE_ROWS, MADE_GENES, MADE_ROWS * MADE_GENES, &a.x));
    CHECK_OK(matrix_create(MADE_ROWS, MADE_GENES, MADE_ROWS * MADE_GENES, &layers[0].matrix));
    for (int64_t i = 0; i < MADE_ROWS * MADE_GENES; i++) {
        int64_t row = i / MADE_GENES, column = i % MADE_GENES;
        a.x.start[row + 1] = layers[0].matrix.start[row + 1] = i + 1;
        a.x.column[i] = layers[0].matrix.column[i] = (int32_t)column;
        layers[0].matrix.value[i] = (float)(row + column + 1);
        a.x.value[i] = layers[0].matrix.value[i] * (how.fraction ? 0.5f : 1.0f);
    }
    a.x.row_name = how.repeat ? same : ids;
    a.x.column_name = genes;
    a.obs.rows = MADE_ROWS;
    a.var.rows = MADE_GENES;
    Column columns[] = {
        {.name = "in_tissue", .kind = COLUMN_INTEGER, .integer = tissue},
        {.name = "quality", .kind = COLUMN_REAL, .real = quality},
        {.name = "slide", .kind = COLUMN_CATEGORY, .code = codes, .category = names, .categories = 2},
        {.name = "donor_id", .kind = COLUMN_CATEGORY, .code = zeros, .category = donors, .categories = 1},
        {.name = "array_row", .kind = COLUMN_INTEGER, .integer = steps},
        {.name = "array_col", .kind = COLUMN_REAL, .real = quality}};
    for (int c = 0; c < 6; c++) {
        if ((c == 2 && !how.column) || (c == 3 && !how.donor) || (c >= 4 && !how.array)) continue;
        CHECK_OK(frame_add(&a.obs, &a.arena, &columns[c]));
    }
    Embedding embeddings[] = {{"kinds", 2, kinds, types}, {"spatial", 2, places, NULL}};
    a.embedding = embeddings;
    a.n_embeddings = how.no_spatial ? 1 : 2;
    if (how.counts_layer) a.layer = layers, a.n_layers = 1;
    SpatialLibrary libraries[] = {{"left", {0}, made_colour(4, 3, 50), true, 20, 0.5, 0.1, NAN},
                                  {"right", made_colour(5, 2, 60), made_colour(6, 3, 70), true, 30, NAN, 0.2, NAN}};
    a.library = libraries;
    a.n_libraries = how.libraries ? 2 : 1;
    CHECK_OK(h5ad_write(path, &a, NULL));
    for (int l = 0; l < 2; l++) {
        picture_free(&libraries[l].hires);
        picture_free(&libraries[l].lowres);
    }
    matrix_free(&a.x);
    matrix_free(&layers[0].matrix);
    arena_free(&a.arena);
}

static void test_h5ad_libraries(void) {
    Source source;
    Section s;
    const char *path = made_path("two.h5ad");
    char *kinds[] = {"kinds"};
    make_h5ad(path, (MadeAnn){.libraries = true, .column = true, .donor = "D7"});
    if (open_quietly(path, SOURCE_AUTO, NULL, &source)) {
        CHECK(source.count == 2);
        if (read_named(&source, "left", kinds, 1, &s)) {
            CHECK(s.n_spots == 3 && s.n_genes == 3 && s.n_not_selected == 0 && s.spot_diameter == 20);
            CHECK_TEXT(s.ids[1], "c2");
            CHECK(s.pixel[2] == 50 && s.pixel[3] == 60 && s.counts[3] == 3 && s.counts[8] == 7);
            CHECK(s.picture.width == 4 && s.picture.height == 3 && s.picture_scale == 0.5);
            CHECK(s.picture.rgb && s.picture.rgb[0] == 50);
            CHECK_TEXT(s.genes[2], "G1-1");
            CHECK_TEXT(s.tables[0].columns[0], "T cells");
            CHECK(s.tables[0].values[2] == 0.5f);
            CHECK_TEXT(s.group, "D7");
            CHECK(s.n_spot_values == 2 && s.spot_values[2 * 2 + 1] == 4.5);
            CHECK(has_note(&s, "1 genes") && has_note(&s, "hires picture"));
            section_free(&s);
        }
        if (read_named(&source, "right", NULL, 0, &s)) {
            CHECK(s.n_spots == 2 && s.n_not_selected == 1 && s.picture.width == 5 && s.picture_scale == 0.2);
            CHECK(has_note(&s, "the hires picture of uns['spatial'] is not used"));
            section_free(&s);
        }
        source_close(&source);
    }
    mkdir(made_path("several"), 0777);
    make_h5ad(made_path("several/b.h5ad"), (MadeAnn){.libraries = true, .column = true});
    make_h5ad(made_path("several/a.h5ad"), (MadeAnn){.array = true});
    made_text(made_path("several/c.h5ad"), "not HDF5");
    mkdir(made_path("several/proportions"), 0777);
    made_text(made_path("several/proportions/a_major.csv"), ",T\nc0,1\nc1,2\nc2,3\nc3,4\nc4,5\n");
    char *both[] = {"kinds", "major"};
    if (open_quietly(made_path("several"), SOURCE_AUTO, NULL, &source)) {
        CHECK(source.count == 4);
        if (read_named(&source, "b_right", NULL, 0, &s)) section_free(&s);
        if (read_named(&source, "a", both, 2, &s)) {
            CHECK(s.n_tables == 2 && s.tables[0].n_columns == 2 && s.tables[1].values[4] == 5);
            CHECK(s.n_spots == 5 && s.n_not_selected == 1 && s.no_array); // array_col has fractions
            CHECK(has_note(&s, "not whole numbers") && has_input(&s, "a_major.csv"));
            section_free(&s);
        }
        CHECK_FAILS(source_read(&source, section_number(&source, "c"), NULL, 0, &s), STATUS_MALFORMED, "section c: ");
        source_close(&source);
    }
}

static void test_h5ad_refusals(void) {
    Source source;
    Section s;
    const char *path = made_path("one.h5ad");
    make_h5ad(path, (MadeAnn){.libraries = true});
    if (open_quietly(path, SOURCE_AUTO, NULL, &source)) {
        CHECK(source.count == 1);
        CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_MISMATCH, "2 libraries (left, right)");
        source_close(&source);
    }
    make_h5ad(path, (MadeAnn){.fraction = true, .counts_layer = true});
    if (open_quietly(path, SOURCE_AUTO, NULL, &source)) {
        CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_MISMATCH, "whole numbers stand in: counts");
        char *unknown[] = {"kind"};
        CHECK_FAILS(source_read(&source, 0, unknown, 1, &s), STATUS_MISMATCH, "G1 of spot c0");
        source_close(&source);
    }
    SourceOptions options = {.layer = "counts"};
    if (open_quietly(path, SOURCE_AUTO, &options, &source)) {
        if (read_named(&source, "one", NULL, 0, &s)) {
            CHECK(s.n_spots == 5 && total_of(&s) == 6 + 9 + 12 + 15 + 18);
            section_free(&s);
        }
        char *unknown[] = {"kind"};
        CHECK_FAILS(source_read(&source, 0, unknown, 1, &s), STATUS_NOT_FOUND, "the tables there are: kinds");
        source_close(&source);
    }
    options.layer = "counted";
    if (open_quietly(path, SOURCE_AUTO, &options, &source)) {
        CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_NOT_FOUND, "whole numbers stand in: counts");
        source_close(&source);
    }
    options.layer = "raw"; // has genes of its own
    if (open_quietly(REFERENCE "counts_made/columns.h5ad", SOURCE_AUTO, &options, &source)) {
        Annotated a;
        CountsOptions as_is = {.layer = "raw"};
        if (read_named(&source, "columns", NULL, 0, &s)) {
            if (CHECK_OK(counts_read(REFERENCE "counts_made/columns.h5ad", &as_is, &a))) {
                CHECK(s.n_genes == a.x.columns && s.indptr[s.n_spots] == matrix_nnz(&a.x));
                CHECK_TEXT(s.genes[0], a.x.column_name[0]);
                annotated_free(&a);
            }
            section_free(&s);
        }
        source_close(&source);
    }
    make_h5ad(path, (MadeAnn){.no_spatial = true});
    if (open_quietly(path, SOURCE_AUTO, NULL, &source)) {
        CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_NOT_FOUND, "it has: kinds");
        source_close(&source);
    }
    make_h5ad(path, (MadeAnn){.repeat = true});
    if (open_quietly(path, SOURCE_AUTO, NULL, &source)) {
        CHECK_FAILS(source_read(&source, 0, NULL, 0, &s), STATUS_MALFORMED, "spot c0 occurs twice");
        source_close(&source);
    }
}

// ---- HEST-1k --------------------------------------------------------------------------------------

static void copy_file(const char *from, const char *to) {
    made_damaged(from, to, (size_t)1 << 30, -1, 0);
}

static void test_hest(void) {
    Source source;
    Section s;
    if (open_quietly(REFERENCE "counts_made/hest", SOURCE_AUTO, NULL, &source)) {
        CHECK(source.layout == SOURCE_HEST && source.count == 2);
        if (read_named(&source, "SPA1", NULL, 0, &s)) {
            CHECK(s.n_spots == 30 && s.n_genes == 20 && s.no_array && total_of(&s) == 1077);
            CHECK_NEAR(s.microns_per_pixel, 0.7257, 1e-12);
            CHECK_TEXT(s.group, "A");
            CHECK(s.no_picture && strstr(s.no_picture, "wsis/SPA1.tif") && strstr(s.no_picture, "patches/"));
            CHECK(has_input(&s, "HEST_v1_3_0.csv") && has_input(&s, "st/SPA1.h5ad") && s.n_inputs == 2);
            section_free(&s);
        }
        if (read_named(&source, "NCBI2", NULL, 0, &s)) {
            CHECK(s.n_spots == 12 && s.microns_per_pixel == 0 && !s.group); // the table says neither
            section_free(&s);
        }
        source_close(&source);
    }
    // with slides; a sample without counts is none; one file damaged
    mkdir(made_path("hest"), 0777);
    mkdir(made_path("hest/st"), 0777);
    mkdir(made_path("hest/wsis"), 0777);
    copy_file(REFERENCE "counts_made/hest/HEST_v1_3_0.csv", made_path("hest/HEST_v1_3_0.csv"));
    copy_file(REFERENCE "counts_made/hest/st/SPA1.h5ad", made_path("hest/st/SPA1.h5ad"));
    made_damaged(REFERENCE "counts_made/hest/st/NCBI2.h5ad", made_path("hest/st/NCBI2.h5ad"), 3000, -1, 0);
    made_text(made_path("hest/wsis/SPA1.svs"), "located, not opened");
    made_text(made_path("hest/wsis/OTHER.tif"), "located, not opened");
    if (open_quietly(made_path("hest"), SOURCE_AUTO, NULL, &source)) {
        CHECK(source.layout == SOURCE_HEST && source.count == 2);
        if (read_named(&source, "SPA1", NULL, 0, &s)) {
            CHECK(s.image_path && strstr(s.image_path, "wsis/SPA1.svs") && s.picture_scale == 1 && s.n_inputs == 3);
            section_free(&s);
        }
        CHECK_FAILS(source_read(&source, section_number(&source, "NCBI2"), NULL, 0, &s), STATUS_MALFORMED,
                    "section NCBI2: ");
        CHECK_FAILS(source_read(&source, section_number(&source, "NCBI2"), NULL, 0, &s), STATUS_MALFORMED,
                    "st/NCBI2.h5ad");
        source_close(&source);
    }
    unlink(made_path("hest/st/SPA1.h5ad"));
    unlink(made_path("hest/st/NCBI2.h5ad"));
    CHECK_FAILS(source_open(made_path("hest"), SOURCE_AUTO, NULL, &source), STATUS_NOT_FOUND, "has its counts");
}

// ---- Elucidata ------------------------------------------------------------------------------------

static void test_elucidata(void) {
    const char *path = REFERENCE "counts_made/elucidata.h5";
    const JsonValue *recorded = json_get(reference_load("counts.json"), "elucidata");
    Source source;
    Section s;
    char *abundances[] = {"abundances"};
    if (!CHECK(recorded != NULL) || !open_quietly(path, SOURCE_AUTO, NULL, &source)) return;
    CHECK(source.layout == SOURCE_ELUCIDATA && source.count == 4);
    CHECK_TEXT(source.section[2], "S_10"); // natural order
    Arena arena;
    char **tables = NULL;
    size_t n = 0, train[] = {0, 1, 2}, all[] = {0, 1, 2, 3};
    arena_init(&arena);
    CHECK_OK(source_tables(&source, train, 3, &arena, &tables, &n));
    CHECK(n == 1 && strcmp(tables[0], "abundances") == 0);
    CHECK_OK(source_tables(&source, all, 4, &arena, &tables, &n));
    CHECK(n == 0); // the test slide has none
    arena_free(&arena);
    if (read_named(&source, "S_1", abundances, 1, &s)) {
        CHECK(s.n_genes == 0 && s.no_array && s.n_tables == 1 && s.tables[0].n_columns == 35);
        CHECK_TEXT(s.tables[0].columns[34], "C35");
        CHECK_TEXT(s.ids[0], "S_1:0");
        Annotated a;
        CountsOptions options = {.section = "S_1"};
        if (CHECK_OK(counts_read(path, &options, &a))) {
            bool equal = a.x.rows == s.n_spots;
            float row[35];
            for (size_t i = 0; equal && i < s.n_spots; i++) {
                matrix_row(&a.x, i, row);
                equal = memcmp(row, s.tables[0].values + 35 * i, sizeof row) == 0;
            }
            CHECK(equal);
            annotated_free(&a);
        }
        CHECK(s.picture.rgb && s.picture.width == 8 && s.picture.height == 9 && s.n_inputs == 1);
        section_free(&s);
    }
    if (read_named(&source, "S_7", NULL, 0, &s)) {
        CHECK(s.n_spot_values == 1 && strcmp(s.spot_value_names[0], "Test_Set") == 0);
        section_free(&s);
    }
    CHECK_FAILS(source_read(&source, 3, abundances, 1, &s), STATUS_NOT_FOUND, "no table 'abundances'");
    source_close(&source);
    made_damaged(path, made_path("cut.h5"), 2000, -1, 0);
    CHECK_FAILS(source_open(made_path("cut.h5"), SOURCE_ELUCIDATA, NULL, &source), STATUS_MALFORMED, "cut.h5");
    CHECK_FAILS(source_open(REFERENCE "counts_made/columns.h5ad", SOURCE_ELUCIDATA, NULL, &source), STATUS_MALFORMED,
                "no slides");
    CHECK_FAILS(source_open(path, SOURCE_H5AD, NULL, &source), STATUS_INVALID, "of another kind: Elucidata HDF5");
}

// ---- Damage ---------------------------------------------------------------------------------------

// Cut short at 12 places and with 30 bytes flipped, every layout that is one HDF5 file: an error or a section that is
// sound, never a crash of ours.
static void test_damage(void) {
    const char *whole = made_path("whole.h5ad");
    make_h5ad(whole, (MadeAnn){.libraries = true, .column = true, .counts_layer = true, .array = true});
    const char *files[] = {whole, REFERENCE "counts_made/elucidata.h5", REFERENCE "counts_made/hest/st/SPA1.h5ad"};
    uint32_t state = 12345;
    size_t refused = 0, read = 0;
    for (int f = 0; f < 3; f++) {
        uint64_t bytes = 0;
        CHECK_OK(file_size(files[f], &bytes));
        for (uint64_t n = 0; n < 42; n++) {
            state = state * 1664525u + 1013904223u;
            const char *path = made_path("damaged.h5ad");
            if (n < 12) made_damaged(files[f], path, (size_t)(bytes * n / 12), -1, 0);
            else made_damaged(files[f], path, (size_t)1 << 30, (long)((state >> 8) % bytes), 1u << (state >> 29));
            Source source;
            SourceOptions options = {.limits = {.cpu_seconds = 2, .wall_seconds = 20}}; // HDF5 can loop on damage
            Status status = source_open(path, SOURCE_AUTO, &options, &source);
            for (size_t i = 0; status == STATUS_OK && i < source.count; i++) {
                Section s;
                Status one = source_read(&source, i, NULL, 0, &s);
                if (one == STATUS_OK) {
                    check_sound(&s);
                    section_free(&s);
                    read++;
                } else if (!CHECK(strstr(status_message(one), "damaged.h5ad") != NULL)) {
                    printf("    %s\n", status_message(one));
                }
                refused += one != STATUS_OK;
                status_drop(one);
            }
            if (status == STATUS_OK) {
                source_close(&source);
                continue;
            }
            CHECK(strstr(status_message(status), "damaged.h5ad") != NULL);
            status_drop(status);
            refused++;
        }
    }
    CHECK(refused >= 36 && read > 30);
}

int main(int argc, char **argv) {
    const char *data = argc > 1 ? argv[1] : "../shared/data";
    arena_init(&reference_arena);
    made_begin();
    library_faults_excused();
    test_names();
    test_legacy();
    test_visium_made();
    test_microns();
    test_h5ad_libraries();
    test_h5ad_refusals();
    test_hest();
    test_elucidata();
    test_damage();
    test_her2st(data);
    test_visium_samples(data);
    test_h5ad_samples(data);
    test_damaged(data);
    made_end();
    arena_free(&reference_arena);
    return check_report("source");
}
