// expression_test: filters, transforms, gene sets, vocabularies, Stem's gene list and cell-type tables, on made
// matrices with results worked out by hand and on the gene sets and proportions of the samples. (What scanpy computes
// is in hvg_test.)
//     data_expression SHARED_DATA
#include "made.h"

#include "../../runtime/data/genesets.h"
#include "../../runtime/data/normalise.h"
#include "../../runtime/data/vocabulary.h"

static char *gene_names[] = {"MT-CO1", "mt-Nd1", "ACTB", "RPS3", "MTOR", "hs_MT_x"};

// 4 spots: counts 10 (4 genes), 3 (2), 0, 7 (1)
static void made_matrix(Matrix *m) {
    int32_t row[] = {0, 0, 0, 0, 1, 1, 3}, column[] = {0, 2, 3, 4, 2, 5, 1};
    float value[] = {4, 3, 2, 1, 1, 2, 7};
    CHECK_OK(matrix_from_entries(4, 6, row, column, value, 7, m));
    if (!CHECK_OK(ARENA_NEW(&m->arena, m->column_name, 7))) exit(3);
    for (int i = 0; i < 6; i++) m->column_name[i] = gene_names[i];
}

static void check_rules(void) {
    struct {
        MitoRule rule;
        const char *expected; // one letter a gene
    } rules[] = {{MITO_NONE, "......"},
                 {MITO_PREFIX, "xx...."},
                 {MITO_CONTAINS, "xx...x"},
                 {MITO_RIBO_PREFIX, "xx.x.."},
                 {MITO_RIBO_COMPAT, "xx.xx."}};
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
        for (int g = 0; g < 6; g++)
            CHECK(gene_is_mitochondrial(gene_names[g], rules[r].rule) == (rules[r].expected[g] == 'x'));
    CHECK(gene_is_mitochondrial("MT", MITO_PREFIX) == false && gene_is_mitochondrial("", MITO_CONTAINS) == false);
    CHECK(gene_is_mitochondrial(NULL, MITO_PREFIX) == false);
}

static bool picked(Status status, size_t *pick, size_t count, const char *expected) {
    if (!CHECK_OK(status)) return false;
    bool same = count == strlen(expected);
    for (size_t i = 0; i < count && same; i++) same = pick[i] == (size_t)(expected[i] - '0');
    free(pick);
    return same;
}

static void check_filters(void) {
    Matrix m;
    size_t *pick, n;
    made_matrix(&m);
    Status s = filter_spots(&m, &(SpotFilter){0}, &pick, &n);
    CHECK(picked(s, pick, n, "0123"));
    s = filter_spots(&m, &(SpotFilter){.min_counts = 3}, &pick, &n);
    CHECK(picked(s, pick, n, "013"));
    s = filter_spots(&m, &(SpotFilter){.min_counts = 3, .max_counts = 7}, &pick, &n);
    CHECK(picked(s, pick, n, "13"));
    s = filter_spots(&m, &(SpotFilter){.min_genes = 1, .max_genes = 2}, &pick, &n);
    CHECK(picked(s, pick, n, "13"));
    s = filter_spots(&m, &(SpotFilter){.mitochondrial = MITO_PREFIX, .max_mitochondrial = 0.4}, &pick, &n);
    CHECK(picked(s, pick, n, "012")); // 4 of 10; none of 3; an empty spot passes; 7 of 7
    s = filter_genes(&m, &(GeneFilter){.min_spots = 2}, &pick, &n);
    CHECK(picked(s, pick, n, "2"));
    s = filter_genes(&m, &(GeneFilter){.min_counts = 2, .max_counts = 4, .drop = MITO_PREFIX}, &pick, &n);
    CHECK(picked(s, pick, n, "235"));
    s = filter_genes(&m, &(GeneFilter){.min_counts = 100}, &pick, &n);
    CHECK(picked(s, pick, n, ""));
    m.value[2] = NAN;
    CHECK_FAILS(filter_spots(&m, &(SpotFilter){0}, &pick, &n), STATUS_INVALID, "row 0, column 3 (RPS3) holds nan");
    CHECK_FAILS(filter_genes(&m, &(GeneFilter){0}, &pick, &n), STATUS_INVALID, "RPS3");
    m.column_name = NULL;
    CHECK_FAILS(filter_spots(&m, &(SpotFilter){.mitochondrial = MITO_PREFIX}, &pick, &n), STATUS_INVALID, "gene names");
    matrix_free(&m);
    CHECK_OK(matrix_create(0, 0, 0, &m));
    s = filter_spots(&m, &(SpotFilter){.min_counts = 1, .mitochondrial = MITO_PREFIX}, &pick, &n);
    CHECK(picked(s, pick, n, ""));
    double target;
    CHECK_OK(normalise_total(&m, &(NormaliseOptions){0}, &target));
    CHECK(isnan(target));
    CHECK_OK(matrix_log1p(&m));
    matrix_free(&m);
}

static void check_transforms(void) {
    Matrix m;
    double target, mean[6], variance[6];
    made_matrix(&m);
    CHECK_OK(normalise_total(&m, &(NormaliseOptions){.target_sum = 20}, NULL));
    CHECK(m.value[0] == 8 && m.value[6] == 20);
    matrix_free(&m);
    made_matrix(&m);
    CHECK_OK(normalise_total(&m, &(NormaliseOptions){0}, &target)); // median of 10, 3, 7: the empty spot is left out
    CHECK(target == 7 && m.value[6] == 7 && fabs((double)m.value[0] - 2.8) < 1e-6);
    matrix_free(&m);
    made_matrix(&m);
    CHECK_OK(normalise_total(&m, &(NormaliseOptions){.target_sum = 1e4, .epsilon = 1e-9}, NULL));
    CHECK_NEAR((double)m.value[0], 4000, 1e-3);
    m.value[1] = -1;
    float before = m.value[0];
    CHECK_FAILS(normalise_total(&m, &(NormaliseOptions){0}, NULL), STATUS_INVALID, "(ACTB) holds -1");
    CHECK_FAILS(matrix_log1p(&m), STATUS_INVALID, "log1p needs numbers >= 0");
    CHECK_FAILS(matrix_log2p1(&m), STATUS_INVALID, "log2");
    CHECK(m.value[0] == before);
    CHECK_FAILS(normalise_total(&m, &(NormaliseOptions){.target_sum = -1}, NULL), STATUS_INVALID, "target_sum -1");
    matrix_free(&m);
    made_matrix(&m);
    CHECK_OK(matrix_log2p1(&m));
    CHECK(m.value[1] == 2 && m.value[3] == 1 && m.value[6] == 3);
    matrix_free(&m);
    made_matrix(&m);
    CHECK_OK(column_moments(&m, 1, mean, variance));
    CHECK_NEAR(mean[2], 1, 0);
    CHECK_NEAR(variance[2], 2, 1e-15); // 3 1 0 0
    CHECK_NEAR(variance[1], 12.25, 1e-14);
    float z[24];
    CHECK_OK(matrix_zscore(&m, &(ScaleOptions){.centre = true, .ddof = 1}, z, NULL, NULL));
    CHECK_NEAR((double)z[2], sqrt(2), 1e-6);
    CHECK_NEAR((double)z[14], -1 / sqrt(2), 1e-6);
    CHECK_OK(matrix_zscore(&m, &(ScaleOptions){.centre = true, .max_value = 0.5, .ddof = 1}, z, NULL, NULL));
    CHECK(z[2] == 0.5f && z[14] == -0.5f);
    CHECK_OK(matrix_zscore(&m, &(ScaleOptions){.ddof = 1}, z, mean, variance));
    CHECK_NEAR((double)z[2], 3 / sqrt(2), 1e-6);
    CHECK(z[14] == 0 && mean[2] == 1 && fabs(variance[2] - sqrt(2)) < 1e-15);
    matrix_free(&m);
    double block[] = {1, 5, 3, 5};
    CHECK_OK(dense_zscore(block, 2, 2, &(ScaleOptions){.centre = true}));
    CHECK(block[0] == -1 && block[2] == 1 && block[1] == 0); // a constant column: 0
    CHECK_FAILS(dense_zscore(block, 1, 2, &(ScaleOptions){.centre = true, .ddof = 1}), STATUS_INVALID,
                "more than 1 rows");
    block[1] = INFINITY;
    CHECK_FAILS(dense_zscore(block, 2, 2, &(ScaleOptions){0}), STATUS_INVALID, "row 0, column 1");
    CHECK_OK(matrix_create(2, 3, 0, &m)); // nothing but zeros
    CHECK_OK(normalise_total(&m, &(NormaliseOptions){0}, &target));
    CHECK(isnan(target));
    CHECK_OK(matrix_zscore(&m, &(ScaleOptions){.centre = true, .ddof = 1}, z, NULL, NULL));
    CHECK(z[0] == 0 && z[5] == 0);
    matrix_free(&m);
}

static void check_genesets(const char *data) {
    GeneSets sets = {0};
    const char *path = made_path("a.gmt");
    made_text(path, "ONE\tfirst\tACTB\tRPS3\tACTB\t\t\nshort\tline\n\nTWO\t\tGAPDH\r\nONE\tagain\tMTOR\n");
    CHECK_OK(genesets_read(&sets, path));
    CHECK(sets.count == 2 && sets.short_lines == 1 && sets.repeated_names == 1);
    CHECK(sets.set[0].genes == 2 && sets.set[1].genes == 1);
    CHECK_TEXT(sets.set[1].gene[0], "GAPDH");
    const char *words[] = {"MTOR", "RPS3", "ACTB", "ACTB"};
    uint8_t member[8];
    size_t matched[2];
    CHECK_OK(genesets_membership(&sets, words, 4, member, matched));
    CHECK(member[0] == 0 && member[1] == 1 && member[2] == 1 && member[3] == 1 && matched[0] == 3 && matched[1] == 0);
    double values[] = {9, 1, 2, 6}, scores[2];
    genesets_scores(member, 2, values, 1, 4, scores);
    CHECK(scores[0] == 3 && scores[1] == 0);
    made_text(path, "no tabs here\n");
    CHECK_FAILS(genesets_read(&sets, path), STATUS_MALFORMED, "no gene set");
    CHECK(sets.count == 2);
    const char *wanted[] = {"TWO", "THREE"}, *unknown[] = {"ONR"};
    size_t missing;
    CHECK_FAILS(genesets_choose(&sets, unknown, 1, NULL), STATUS_NOT_FOUND, "ONE");
    CHECK_OK(genesets_choose(&sets, wanted, 2, &missing));
    CHECK(sets.count == 1 && missing == 1);
    made_text(path, "A\tx\tG1\nB\tx\tG2\nC\tx\tG3\nD\tx\tG4\nE\tx\tG5\n");
    CHECK_OK(genesets_read(&sets, path)); // grows after choosing
    CHECK(sets.count == 6 && geneset_find(&sets, "E") && !geneset_find(&sets, "ONE"));
    genesets_free(&sets);
    CHECK_FAILS(genesets_read(&sets, made_path("none.gmt")), STATUS_NOT_FOUND, "none.gmt");
    genesets_free(&sets);

    char hallmarks[4096];
    snprintf(hallmarks, sizeof hallmarks, "%s/msigdb/h.all.v7.0.symbols.gmt", data);
    if (!file_exists(hallmarks)) {
        CHECK_SKIP("%s is not there", hallmarks);
        return;
    }
    CHECK_OK(genesets_read(&sets, hallmarks));
    size_t named = 0, genes = 0;
    for (size_t i = 0; i < sets.count; i++) {
        named += strncmp(sets.set[i].name, "HALLMARK_", 9) == 0;
        genes += sets.set[i].genes;
    }
    CHECK(sets.count == 50 && named == 50 && sets.short_lines == 0);
    CHECK(genes == 7322); // awk -F'\t' '{n += NF - 2} END {print n}'
    const GeneSet *hypoxia = geneset_find(&sets, "HALLMARK_HYPOXIA");
    CHECK(hypoxia && hypoxia->genes == 200);
    genesets_free(&sets);
}

static void check_vocabulary(void) {
    Vocabulary v = {0};
    const char *path = made_path("genes.json");
    made_text(path, "[\"ACTB\", \"XIST\", \"ACTB\", \"MT-CO1\"]");
    CHECK_OK(vocabulary_read(path, 0, &v));
    CHECK(v.count == 3 && v.repeated == 1);
    Matrix m, aligned;
    made_matrix(&m);
    int64_t column[3];
    size_t missing;
    CHECK_OK(vocabulary_columns(&v, &m, column, &missing));
    CHECK(column[0] == 2 && column[1] == -1 && column[2] == 0 && missing == 1);
    CHECK_OK(vocabulary_align(&v, &m, &aligned, &missing));
    float row[3];
    matrix_row(&aligned, 0, row);
    CHECK(aligned.columns == 3 && row[0] == 3 && row[1] == 0 && row[2] == 4);
    CHECK_TEXT(aligned.column_name[1], "XIST");
    matrix_free(&aligned);
    const char *out = made_path("out.txt");
    CHECK_OK(vocabulary_write(&v, out));
    vocabulary_free(&v);
    CHECK_OK(vocabulary_read(out, 2, &v));
    CHECK(v.count == 2);
    CHECK_TEXT(v.gene[1], "XIST");
    out = made_path("out.json");
    CHECK_OK(vocabulary_write(&v, out));
    vocabulary_free(&v);
    CHECK_OK(vocabulary_read(out, 0, &v));
    CHECK(v.count == 2);
    vocabulary_free(&v);
    made_text(path, "[\"ACTB\", 3]");
    CHECK_FAILS(vocabulary_read(path, 0, &v), STATUS_MALFORMED, "element 1");
    made_text(path, "{\"a\": 1}");
    CHECK_FAILS(vocabulary_read(path, 0, &v), STATUS_MALFORMED, "JSON array");
    made_text(path, "[]");
    CHECK_FAILS(vocabulary_read(path, 0, &v), STATUS_MALFORMED, "empty");
    made_text(path, "A\tB\n");
    CHECK_FAILS(vocabulary_read(path, 0, &v), STATUS_MALFORMED, "tabs");

    size_t order[6], n;
    CHECK_OK(top_columns(&m, TOP_TOTAL, 3, order, &n)); // 4 7 4 2 1 2
    CHECK(n == 3 && order[0] == 1 && order[1] == 0 && order[2] == 2);
    CHECK_OK(top_columns(&m, TOP_SPOTS, 10, order, &n));
    CHECK(n == 6 && order[0] == 2 && order[1] == 0);
    CHECK_OK(top_columns(&m, TOP_DEVIATION, 2, order, &n));
    CHECK(order[0] == 1 && order[1] == 0);

    VocabularyBuilder builder = {0};
    double moran[] = {0.9, 0, 0.1, NAN, 0.5, 0.2};
    const char *first[] = {"RPS3", "NOT_THERE"};
    CHECK_FAILS(builder_choose(&builder, 3, 0, NULL, 0, &v), STATUS_INVALID, "at least one sample");
    CHECK_OK(builder_add(&builder, &m, moran));
    CHECK_OK(builder_add(&builder, &m, NULL));
    CHECK(builder.genes == 6 && builder.samples == 2 && builder.total[1] == 14 && builder.in_samples[0] == 2);
    CHECK_OK(builder_choose(&builder, 3, 0, first, 2, &v));
    CHECK(v.count == 3);
    CHECK_TEXT(v.gene[0], "RPS3");
    CHECK_TEXT(v.gene[1], "mt-Nd1");
    CHECK_TEXT(v.gene[2], "MT-CO1");
    vocabulary_free(&v);
    CHECK_OK(builder_choose(&builder, 6, 1, NULL, 0, &v)); // by Moran's I alone: 0.9 0.5 0.2 0.1 0 0
    CHECK_TEXT(v.gene[0], "MT-CO1");
    CHECK_TEXT(v.gene[1], "MTOR");
    CHECK_TEXT(v.gene[5], "RPS3");
    vocabulary_free(&v);
    CHECK_FAILS(builder_choose(&builder, 6, 2, NULL, 0, &v), STATUS_INVALID, "weight");
    builder_free(&builder);
    matrix_free(&m);
}

// Two slides of 40 spots; gene g of the first is gene (G - 1 - g) of the second, and each has one of its own.
static void check_high_mean_variance(void) {
    enum { SPOTS = 40, GENES = 30 };
    Matrix slide[2];
    char name[64][16];
    for (int s = 0; s < 2; s++) {
        int32_t row[SPOTS * GENES], column[SPOTS * GENES];
        float value[SPOTS * GENES];
        int64_t n = 0;
        for (int r = 0; r < SPOTS; r++)
            for (int g = 0; g < GENES; g++) {
                int gene = s ? GENES - 1 - g : g, count = (r * (gene + 3) + gene * gene) % (2 + gene);
                if (count == 0) continue;
                row[n] = r;
                column[n] = g;
                value[n++] = (float)count;
            }
        CHECK_OK(matrix_from_entries(SPOTS, GENES, row, column, value, n, &slide[s]));
        CHECK_OK(ARENA_NEW(&slide[s].arena, slide[s].column_name, GENES));
        for (int g = 0; g < GENES; g++) {
            int gene = s ? GENES - 1 - g : g;
            snprintf(name[s * GENES + g], 16, gene == 29 ? "MT%d" : gene == 28 ? "OWN%d_%d" : "G%02d", gene, s);
            slide[s].column_name[g] = name[s * GENES + g];
        }
    }
    const Matrix *slides[] = {&slide[0], &slide[1]};
    Vocabulary v = {0}, all = {0};
    CHECK_OK(vocabulary_high_mean_variance(slides, 2, 5, 2000, MITO_RIBO_COMPAT, &v));
    CHECK(v.count >= 1 && v.count <= 5);
    for (size_t i = 0; i < v.count; i++) {
        CHECK(v.gene[i][0] == 'G'); // neither MT29 nor what one slide alone has
        if (i > 0) CHECK(strcmp(v.gene[i - 1], v.gene[i]) < 0);
    }
    CHECK_OK(vocabulary_high_mean_variance(slides, 2, 1000, 2000, MITO_NONE, &all));
    CHECK(all.count > v.count);
    bool mt = false;
    for (size_t i = 0; i < all.count; i++) mt = mt || strcmp(all.gene[i], "MT29") == 0;
    CHECK(mt);
    vocabulary_free(&v);
    vocabulary_free(&all);
    CHECK_FAILS(vocabulary_high_mean_variance(slides, 0, 5, 0, MITO_NONE, &v), STATUS_INVALID, "0 slides");
    matrix_free(&slide[0]);
    matrix_free(&slide[1]);
}

static void check_celltypes(const char *data) {
    CellTypes table = {0};
    const char *path = made_path("types.csv");
    made_text(path, "spot,Tumour,\"NK cells \"\na,1,3\nb,0,0\n");
    CHECK_OK(celltypes_read(path, &table));
    CHECK(table.spots == 2 && table.types == 2);
    CHECK_TEXT(table.type[1], "NK cells ");
    const char *spots[] = {"b", "z", "a"}, *types[] = {"NK cells "}, *wrong[] = {"Tumor"};
    double values[6];
    size_t missing;
    CHECK_OK(celltypes_align(&table, spots, 3, NULL, 0, values, &missing));
    CHECK(missing == 1 && values[4] == 1 && values[5] == 3 && isnan(values[2]));
    CHECK(celltypes_to_proportions(values, 3, 2) == 2 && values[4] == 0.25 && values[0] == 0);
    CHECK_OK(celltypes_align(&table, spots, 3, types, 1, values, &missing));
    CHECK(values[2] == 3);
    CHECK_FAILS(celltypes_align(&table, spots, 3, wrong, 1, values, &missing), STATUS_NOT_FOUND, "did you mean Tumour");
    celltypes_free(&table);
    made_text(path, "spot,A\nx,1\nx,2\n");
    CHECK_FAILS(celltypes_read(path, &table), STATUS_MALFORMED, "\"x\" occurs twice");
    made_text(path, "spot,A,A\nx,1,1\n");
    CHECK_FAILS(celltypes_read(path, &table), STATUS_MALFORMED, "\"A\" occurs twice");
    made_text(path, "spot,A\nx,many\n");
    CHECK_FAILS(celltypes_read(path, &table), STATUS_MALFORMED, "many");
    made_text(path, "spot\nx\n");
    CHECK_FAILS(celltypes_read(path, &table), STATUS_MALFORMED, "one per type");

    char major[4096];
    snprintf(major, sizeof major, "%s/her2st/proportions/C2_major.tsv", data);
    if (!file_exists(major)) {
        CHECK_SKIP("%s is not there", major);
        return;
    }
    CHECK_OK(celltypes_read(major, &table));
    CHECK(table.types > 3 && table.spots > 100);
    double worst = 0;
    for (size_t i = 0; i < table.spots; i++) {
        double sum = 0;
        for (size_t t = 0; t < table.types; t++) sum += table.value[i * table.types + t];
        worst = fmax(worst, fabs(sum - 1));
    }
    CHECK_NEAR(worst, 0, 1e-6);
    celltypes_free(&table);
}

int main(int argc, char **argv) {
    if (argc < 2) return printf("usage: %s SHARED_DATA\n", argv[0]), 2;
    made_begin();
    check_rules();
    check_filters();
    check_transforms();
    check_genesets(argv[1]);
    check_vocabulary();
    check_high_mean_variance();
    check_celltypes(argv[1]);
    made_end();
    return check_report("expression_test");
}
