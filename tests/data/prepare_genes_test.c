// Expression tables and ranks of prepare: genes and values by hand on the made sections (made.h), against scanpy's
// recorded choices on real samples, and over several sections against the same pieces put together here.
#include <math.h>

#include "../../runtime/core/json.h"
#include "../../runtime/data/hvg.h"
#include "../../runtime/data/vocabulary.h"
#include "made_prepare.h"

// Six spots each: B1 has ACTB 15, ERBB2 13, CD3D 70004; B2 has CD3D 9, MS4A1 11, ACTB 12, in another order of spots.
// Spots with the gene: ACTB 4 + 4, ERBB2 3, CD3D 4 + 3, MS4A1 3.

// ---- Expression, by hand ------------------------------------------------------------------------------------------

static void check_genes(const char *directory, PrepareExpression e, const char *names, const char *note) {
    PrepareTable table;
    PrepareOptions options = made_expression(&e, &table);
    if (!CHECK_OK(made_prepare(directory, made_path("genes.h5"), &options))) return;
    Store *store = made_open(made_path("genes.h5"));
    size_t t = 0;
    CHECK_OK(store_find_table(store, "genes", &t));
    const StoreTable *made = &store_info(store)->tables[t];
    Text text = {0};
    for (size_t c = 0; c < made->n_columns; c++) text_printf(&text, "%s%s", c ? " " : "", made->columns[c]);
    CHECK_TEXT(text_string(&text), names);
    if (note && !CHECK(strstr(made_notes, note) != NULL)) printf("    notes: %s", made_notes);
    text_free(&text);
    store_close(store);
}

static void test_choices(const char *directory) {
    const char *list = made_path("list.txt");
    made_text(list, "CD3D\nNONE\nERBB2\nACTB\n");
    check_genes(directory, (PrepareExpression){.genes = GENES_ALL}, "ACTB CD3D", NULL);
    check_genes(directory, (PrepareExpression){.genes = GENES_TOP_MEAN, .count = 5}, "CD3D ACTB",
                "2 genes were chosen where 5 are asked for");
    check_genes(directory, (PrepareExpression){.genes = GENES_TOP_MEAN, .count = 1}, "CD3D", NULL);
    check_genes(directory, (PrepareExpression){.genes = GENES_TOP_TOTAL, .count = 3}, "CD3D ACTB ERBB2",
                "section B2: table genes: 1 of 3 genes are not there");
    check_genes(directory, (PrepareExpression){.genes = GENES_TOP_TOTAL, .count = 9, .min_spots = 4}, "CD3D ACTB",
                NULL);
    check_genes(directory, (PrepareExpression){.genes = GENES_LIST, .list = list}, "CD3D NONE ERBB2 ACTB",
                "section B1: table genes: 1 of 4 genes");
    check_genes(directory, (PrepareExpression){.genes = GENES_LIST, .list = list, .count = 1}, "CD3D", NULL);
}

static void check_values(const char *directory, PrepareExpression e, const float *want, float tolerance) {
    PrepareTable table;
    PrepareOptions options = made_expression(&e, &table);
    if (!CHECK_OK(made_prepare(directory, made_path("values.h5"), &options))) return;
    Store *store = made_open(made_path("values.h5"));
    size_t k = 0;
    float *values = made_table(store, 1, "genes", &k);
    if (CHECK(k == 2))
        for (size_t i = 0; i < 6 * k; i++) CHECK_NEAR(values[i], want[i], tolerance * fmaxf(1, fabsf(want[i])));
    free(values);
    store_close(store);
}

static void test_values(const char *directory) {
    const char *list = made_path("list.txt");
    made_text(list, "ACTB\nMS4A1\n");
    PrepareExpression e = {.genes = GENES_LIST, .list = list};
    check_values(directory, e, (float[12]){1, 4, 2, 2, 3, 0, 0, 0, 6, 0, 0, 5}, 0);
    e.log = LOG_TWO;
    check_values(directory, e, (float[12]){1, log2f(5), log2f(3), log2f(3), 2, 0, 0, 0, log2f(7), 0, 0, log2f(6)},
                 1e-6f);
    // Scaled to 10 over all genes of the section: totals 5, 6, 3, 1, 12, 5.
    e.log = LOG_NONE;
    e.total = 10;
    check_values(directory, e, (float[12]){2, 8, 10 / 3.f, 10 / 3.f, 10, 0, 0, 0, 5, 0, 0, 10}, 1e-6f);
    // MS4A1 stands in 3 spots: left out of the totals (1, 4, 3, 1, 12, 0) and 0.
    e.min_spots = 4;
    check_values(directory, e, (float[12]){10, 0, 5, 0, 10, 0, 0, 0, 5, 0, 0, 0}, 1e-6f);
    // The median of the twelve totals 6 2 10 3 9 70002 | 5 6 3 1 12 5 is 5.5.
    e.min_spots = 0;
    e.total = -1;
    check_values(directory, e, (float[12]){1.1f, 4.4f, 11 / 6.f, 11 / 6.f, 5.5f, 0, 0, 0, 2.75f, 0, 0, 5.5f}, 1e-6f);
    // STF's rule divides by the total plus epsilon.
    e.total = 10;
    e.epsilon = 1;
    e.log = LOG_NATURAL;
    check_values(directory, e,
                 (float[12]){logf(1 + 10 / 6.f), logf(1 + 40 / 6.f), logf(1 + 20 / 7.f), logf(1 + 20 / 7.f),
                             logf(1 + 30 / 4.f), 0, 0, 0, logf(1 + 60 / 13.f), 0, 0, logf(1 + 50 / 6.f)},
                 1e-6f);
}

static void test_expression_refusals(const char *directory) {
#define REFUSED(expression_, code, part)                                                                               \
    do {                                                                                                               \
        PrepareExpression e = expression_;                                                                             \
        PrepareTable table;                                                                                            \
        PrepareOptions options = made_expression(&e, &table);                                                          \
        CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), code, part);                                \
        CHECK(!file_exists(made_path("no.h5")));                                                                       \
    } while (0)
#define E(...) ((PrepareExpression){__VA_ARGS__})
    REFUSED(E(.genes = GENES_LIST), STATUS_INVALID, "a list of genes needs its file");
    REFUSED(E(.genes = GENES_LIST, .list = "nowhere.txt"), STATUS_NOT_FOUND, "nowhere.txt");
    REFUSED(E(.genes = GENES_ALL, .list = "x"), STATUS_INVALID, "is not used");
    REFUSED(E(.genes = GENES_ALL, .count = 3), STATUS_INVALID, "say how they are chosen");
    REFUSED(E(.genes = GENES_TOP_MEAN), STATUS_INVALID, "how many genes");
    REFUSED(E(.genes = GENES_TOP_MEAN, .count = 2, .min_spots = 100), STATUS_INVALID, "no gene is left");
    REFUSED(E(.genes = GENES_ALL, .total = NAN), STATUS_INVALID, "total nan");
    REFUSED(E(.genes = GENES_HVG_SEURAT_V3, .count = 2), STATUS_INVALID, "");
    PrepareOptions options = made_bare();
    PrepareTable tables[2] = {{.name = "major", .source = "major"},
                              {.name = "major", .source = "major", .ranks = true}};
    options.tables = tables;
    options.n_tables = 2;
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_INVALID, "two different tables");
    tables[1].ranks = false; // the same thing twice is one
    CHECK_OK(made_prepare(directory, made_path("genes.h5"), &options));
    tables[0].name = "a/b";
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_INVALID, "'a/b' cannot be the name");
    tables[0] = (PrepareTable){.name = "nothing"};
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_INVALID, "'nothing' is to come from");
    tables[0] = (PrepareTable){.name = "minor", .source = "minor"};
    CHECK_FAILS(made_prepare(directory, made_path("no.h5"), &options), STATUS_NOT_FOUND, "no table 'minor'");
}

// ---- Expression, against scanpy -----------------------------------------------------------------------------------

// The counts of a section as a Matrix that borrows its names, without MT- and genes of fewer than `least` spots.
static void section_matrix(const Section *s, int64_t least, Matrix *out) {
    Matrix all = {0};
    size_t *pick = malloc((s->n_genes + 1) * sizeof *pick), n = 0;
    int64_t nnz = s->indptr[s->n_spots], *spots = calloc(s->n_genes + 1, sizeof *spots);
    CHECK_OK(matrix_create(s->n_spots, s->n_genes, nnz, &all));
    memcpy(all.start, s->indptr, (s->n_spots + 1) * sizeof *all.start);
    memcpy(all.column, s->indices, (size_t)nnz * sizeof *all.column);
    for (int64_t e = 0; e < nnz; e++) {
        all.value[e] = (float)s->counts[e];
        spots[s->indices[e]]++;
    }
    all.column_name = s->genes;
    for (size_t g = 0; g < s->n_genes; g++)
        if (least == 0 || (spots[g] >= least && !gene_is_mitochondrial(s->genes[g], MITO_PREFIX))) pick[n++] = g;
    CHECK_OK(matrix_select(&all, NULL, 0, pick, n, out));
    matrix_free(&all);
    free(pick);
    free(spots);
}

// How many columns of a table are not the genes `want` (positions in `names`), in order.
static size_t other_genes(Store *store, const char *table, char *const *names, const size_t *want, size_t count) {
    size_t t = 0, wrong = 0;
    if (!CHECK_OK(store_find_table(store, table, &t))) return count;
    const StoreTable *made = &store_info(store)->tables[t];
    if (!CHECK(made->n_columns == count)) return count;
    for (size_t c = 0; c < count; c++) wrong += strcmp(made->columns[c], names[want[c]]) != 0;
    return wrong;
}

// How many values of a table differ from ln(1 + x) of the matrix, columns joined by name.
static size_t other_values(Store *store, const char *table, const Matrix *scaled) {
    size_t columns = 0, wrong = 0, missing = 0;
    float *values = made_table(store, 0, table, &columns), *row = malloc(scaled->columns * sizeof *row);
    int64_t *column = malloc(columns * sizeof *column);
    Vocabulary names = {0};
    CHECK_OK(vocabulary_from((const char *const *)made_columns(store, table), columns, &names));
    CHECK_OK(vocabulary_columns(&names, scaled, column, &missing));
    CHECK(missing == 0);
    for (size_t r = 0; r < scaled->rows && !missing; r++) {
        matrix_row(scaled, r, row);
        for (size_t c = 0; c < columns; c++) wrong += fabsf(log1pf(row[column[c]]) - values[r * columns + c]) > 2e-6f;
    }
    vocabulary_free(&names);
    free(values);
    free(row);
    free(column);
    return wrong;
}

static int ascending(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

// One section as scanpy took it: without MT- genes and those of too few spots; chosen on 10,000 a spot (seurat) and on
// counts (seurat_v3); and scaled to the median.
static void check_reference(const JsonValue *sample, const char *source_path, size_t section) {
    size_t wanted = (size_t)json_get(sample, "wanted")->integer;
    int64_t least = json_get(sample, "min_spots")->integer;
    const JsonValue *seurat = json_get(sample, "seurat"), *v3 = json_get(sample, "v3");
    PrepareExpression by[3] = {{GENES_HVG_SEURAT, NULL, wanted, least, MITO_PREFIX, 10000, 0, LOG_NATURAL},
                               {GENES_HVG_SEURAT_V3, NULL, wanted, least, MITO_PREFIX, 0, 0, LOG_NONE},
                               {GENES_TOP_MEAN, NULL, 50, least, MITO_PREFIX, -1, 0, LOG_NATURAL}};
    PrepareTable tables[3] = {{.name = "seurat", .expression = &by[0]},
                              {.name = "v3", .expression = &by[1]},
                              {.name = "median", .expression = &by[2]}};
    PrepareOptions options = made_bare();
    options.tables = tables;
    options.n_tables = 3;
    Source source;
    Section s;
    PrepareReport report;
    Matrix counts = {0};
    if (!CHECK_OK(source_open(source_path, SOURCE_AUTO, &(SourceOptions){0}, &source))) return;
    const char *name = source.section[section];
    options.sections = &name;
    options.n_sections = 1;
    bool ok = CHECK_OK(prepare_store(&source, made_path("reference.h5"), &options, &report));
    prepare_report_free(&report);
    ok = ok && CHECK_OK(source_read(&source, section, NULL, 0, &s));
    source_close(&source);
    if (!ok) return;
    section_matrix(&s, least, &counts);
    CHECK(counts.columns == (size_t)json_get(sample, "genes")->integer);
    Store *store = made_open(made_path("reference.h5"));
    size_t *want = malloc((counts.columns + 1) * sizeof *want), wrong = 0;
    for (size_t g = 0; g < seurat->length; g++) want[g] = (size_t)seurat->items[g].integer;
    CHECK(other_genes(store, "seurat", counts.column_name, want, seurat->length) == 0);
    // Where scores are equal to rounding at the last place, which gene is taken is the sort's accident.
    HvgResult found = {0};
    CHECK_OK(hvg_select(&counts, &(HvgOptions){.flavour = HVG_SEURAT_V3, .genes = wanted}, &found));
    double last = found.count ? found.score[found.gene[found.count - 1]] : 0;
    for (size_t g = 0; g < v3->length; g++) {
        size_t gene = (size_t)v3->items[g].integer;
        wrong += !found.chosen[gene] && fabs(found.score[gene] - last) > 1e-12 * last;
    }
    CHECK(found.count == v3->length && wrong == 0);
    memcpy(want, found.gene, found.count * sizeof *want);
    qsort(want, found.count, sizeof *want, ascending);
    CHECK(other_genes(store, "v3", counts.column_name, want, found.count) == 0);
    hvg_free(&found);
    free(want);
    double median = 0;
    CHECK_OK(normalise_total(&counts, &(NormaliseOptions){0}, &median));
    CHECK_NEAR(median, json_get(sample, "median")->number, 1e-9 * median);
    CHECK(other_values(store, "median", &counts) == 0);
    CHECK_OK(normalise_total(&counts, &(NormaliseOptions){.target_sum = 10000}, NULL));
    CHECK(other_values(store, "seurat", &counts) == 0);
    matrix_free(&counts);
    section_free(&s);
    store_close(store);
}

static void test_references(const char *data, const char *references) {
    if (!is_directory(made_below(data, "visium")) || !file_exists(made_below(references, "expression.json"))) {
        CHECK_SKIP("genes chosen by scanpy: give the data directory and tests/data/reference as arguments");
        return;
    }
    Arena arena;
    JsonValue *root = NULL;
    char *text = NULL;
    size_t size = 0;
    arena_init(&arena);
    CHECK_OK(file_read(made_below(references, "expression.json"), (size_t)1 << 28, &text, &size));
    if (CHECK_OK(json_parse("expression.json", text, size, &arena, &root))) {
        const JsonValue *samples = json_get(root, "samples");
        for (size_t i = 0; i < samples->length; i++) {
            const char *path = json_get(&samples->items[i], "path")->string;
            if (strcmp(path, "visium/crc16/filtered_feature_bc_matrix.h5") == 0)
                check_reference(&samples->items[i], made_below(data, "visium/crc16"), 0);
            if (strcmp(path, "her2st/counts/C3.tsv.gz") == 0)
                check_reference(&samples->items[i], made_below(data, "her2st"), 1);
        }
    }
    free(text);
    arena_free(&arena);
}

// Choices over the four sections of her2st, against the same pieces put together by hand.
static void test_together(const char *data) {
    const char *directory = made_below(data, "her2st"), *path = made_path("together.h5");
    if (!is_directory(directory)) return;
    Source source;
    Section s[4];
    Matrix m[4] = {0}, joined[4] = {0}, all = {0};
    const Matrix *slides[4];
    if (!CHECK_OK(source_open(directory, SOURCE_AUTO, &(SourceOptions){0}, &source))) return;
    for (size_t i = 0; i < 4; i++) {
        CHECK_OK(source_read(&source, i, NULL, 0, &s[i]));
        section_matrix(&s[i], 0, &m[i]);
        slides[i] = &m[i];
    }
    PrepareExpression e[2] = {
        {.genes = GENES_HVG_SEURAT_V3, .count = 400},
        {.genes = GENES_HIGH_MEAN_VARIANCE, .count = 300, .drop = MITO_RIBO_COMPAT, .log = LOG_TWO}};
    PrepareTable tables[2] = {{.name = "v3", .expression = &e[0]}, {.name = "stem", .expression = &e[1]}};
    PrepareOptions options = made_bare();
    options.tables = tables;
    options.n_tables = 2;
    if (CHECK_OK(made_prepare(directory, path, &options))) {
        Store *store = made_open(path);
        // seurat_v3 over the inner join.
        CHECK_OK(matrix_append(&m[0], &m[1], false, &joined[0]));
        CHECK_OK(matrix_append(&joined[0], &m[2], false, &joined[1]));
        CHECK_OK(matrix_append(&joined[1], &m[3], false, &all));
        HvgResult found = {0};
        CHECK_OK(hvg_select(&all, &(HvgOptions){.flavour = HVG_SEURAT_V3, .genes = 400}, &found));
        char *const *v3 = made_columns(store, "v3");
        size_t at = 0, wrong = 0, columns = 0;
        for (size_t c = 0; c < found.columns; c++)
            if (found.chosen[c]) wrong += strcmp(all.column_name[c], v3[at++]) != 0;
        CHECK(at == 400 && wrong == 0);
        hvg_free(&found);
        Vocabulary list = {0};
        CHECK_OK(vocabulary_high_mean_variance(slides, 4, 300, 0, MITO_RIBO_COMPAT, &list));
        char *const *stem = made_columns(store, "stem");
        float *values = made_table(store, 2, "stem", &columns);
        CHECK(columns == list.count && list.count > 50);
        for (size_t c = 0; c < columns && c < list.count; c++) wrong += strcmp(stem[c], list.gene[c]) != 0;
        int64_t *column = malloc((list.count + 1) * sizeof *column);
        float *row = malloc(m[2].columns * sizeof *row);
        size_t missing = 0;
        CHECK_OK(vocabulary_columns(&list, &m[2], column, &missing));
        CHECK(missing == 0);
        for (size_t r = 0; r < m[2].rows; r++) {
            matrix_row(&m[2], r, row);
            for (size_t c = 0; c < columns; c++)
                wrong += fabsf(values[r * columns + c] - log2f(row[column[c]] + 1)) > 1e-5f;
        }
        CHECK(wrong == 0);
        free(row);
        free(column);
        free(values);
        vocabulary_free(&list);
        store_close(store);
    }
    for (size_t i = 0; i < 4; i++) {
        matrix_free(&m[i]);
        matrix_free(&joined[i]);
        section_free(&s[i]);
    }
    matrix_free(&all);
    source_close(&source);
}

// ---- Ranks ---------------------------------------------------------------------------------------------------------

static void test_ranks(const char *directory) {
    enum { N = 300 };
    float values[2 * N], ranks[2 * N];
    for (int i = 0; i < 2 * N; i++) values[i] = (float)(i * 7919 % 83); // many ties, more columns than are counted
    ordinal_ranks(values, 2, N, ranks);
    size_t wrong = 0;
    for (int r = 0; r < 2; r++)
        for (int a = 0; a < N; a++) {
            int below = 0;
            for (int b = 0; b < N; b++)
                below += values[r * N + b] < values[r * N + a] || (values[r * N + b] == values[r * N + a] && b < a);
            wrong += ranks[r * N + a] != (float)(below + 1);
        }
    CHECK(wrong == 0);
    PrepareExpression e = {.genes = GENES_TOP_TOTAL, .count = 3};
    PrepareTable tables[3] = {{.name = "r", .expression = &e, .ranks = true},
                              {.name = "m", .source = "major"},
                              {.name = "mr", .source = "major", .ranks = true}};
    PrepareOptions options = made_bare();
    options.tables = tables;
    options.n_tables = 3;
    CHECK_OK(made_prepare(directory, made_path("ranks.h5"), &options));
    Store *store = made_open(made_path("ranks.h5"));
    CHECK(store_info(store)->n_tables == 3);
    size_t k = 0;
    float *r = made_table(store, 1, "r", &k); // B2: CD3D ACTB ERBB2 = 0 1 -, 2 2 -, 0 3 -, 1 0 -, 6 6 -, 0 0 -
    static const float want[18] = {1, 3, 2, 2, 3, 1, 1, 3, 2, 3, 1, 2, 2, 3, 1, 1, 2, 3};
    CHECK(k == 3 && memcmp(r, want, sizeof want) == 0);
    free(r);
    float *m = made_table(store, 0, "mr", &k);
    static const float major[6] = {3, 2, 1, 1, 2, 3};
    CHECK(k == 3 && memcmp(m, major, sizeof major) == 0);
    free(m);
    store_close(store);
}

int main(int argc, char **argv) {
    const char *data = argc > 1 ? argv[1] : "", *references = argc > 2 ? argv[2] : "";
    made_begin();
    char directory[600];
    snprintf(directory, sizeof directory, "%s", made_legacy("legacy"));
    test_choices(directory);
    test_values(directory);
    test_expression_refusals(directory);
    test_ranks(directory);
    test_references(data, references);
    test_together(data);
    made_end();
    return check_report("prepare_genes");
}
