// Counts of every other format against the recorded references: 10x HDF5 and matrix directories, legacy ST, Space
// Ranger directories, Elucidata tables, HEST-1k trees; a large file within its memory; messages.
#include <sys/resource.h>

#include "../../runtime/data/compound.h"
#include "../../runtime/data/h5.h"
#include "../../runtime/data/hest.h"
#include "counts_reference.h"
#include "sanitized.h"

static void test_recorded(const char *data, const JsonValue *group) {
    for (size_t i = 0; i < group->length; i++) {
        const char *name = group->keys[i];
        char path[2048];
        Annotated a;
        CountsOptions options = {.genome = strstr(name, "two_genomes") ? "hg19_chr21" : NULL};
        if (strstr(name, ".h5ad")) continue;
        snprintf(path, sizeof path, "%s/%s", data, name);
        char *colon = strchr(path + strlen(data), ':');
        if (colon) {
            *colon = '\0';
            options.section = colon + 1;
        }
        if (!CHECK_OK(counts_read(path, &options, &a))) continue;
        reference_annotated(name, &a, &group->items[i]);
        annotated_free(&a);
    }
}

// The numbers of the samples' README.
static void test_outs(const char *data) {
    static const struct {
        const char *name;
        size_t spots, genes, duplicates, without_counts;
        double sum;
    } sets[] = {{"crc16", 3106, 36601, 10, 0, 4671205},
                {"brain_sr2", 624, 634, 0, 2078, 738015},
                {"colon_hd_16um", 675, 18085, 3, 0, 274112},
                {"heart_100x100", 100, 100, 0, 4135, 932},
                {"prostate_tiny", 12, 5, 0, 0, 2951}};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        Annotated a;
        char path[2048], note[80];
        CountsOptions options = {.pictures = true};
        snprintf(path, sizeof path, "%s/visium/%s", data, sets[i].name);
        if (!CHECK_OK(counts_read(path, &options, &a))) continue;
        double sum = 0;
        for (int64_t e = 0; e < matrix_nnz(&a.x); e++) sum += (double)a.x.value[e];
        CHECK(a.x.rows == sets[i].spots && a.x.columns == sets[i].genes && sum == sets[i].sum);
        CHECK(a.duplicate_names == sets[i].duplicates && a.joined == sets[i].spots && a.not_joined == 0);
        snprintf(note, sizeof note, "%zu of ", sets[i].without_counts);
        if (sets[i].without_counts) CHECK(a.n_notes == 1 && strncmp(a.note[0], note, strlen(note)) == 0);
        else CHECK(a.n_notes == 0);
        CHECK(annotated_embedding(&a, "spatial") && frame_column(&a.obs, "array_row") && a.n_libraries == 1);
        CHECK(a.library[0].has_scale && a.library[0].spot_diameter_fullres > 10 && a.library[0].lowres.rgb);
        annotated_free(&a);
    }
}

static void test_probes(const char *data) {
    Annotated a;
    char path[2048];
    char *ids[] = {"ENSG00000251562", "MT-CO1", "ENSG00000243485"};
    CountsOptions by_id = {.genes = ids, .n_genes = 3}, all = {.feature_type = "*"},
                  other = {.feature_type = "Antibody Capture"}, genome = {.genome = "nowhere"};
    snprintf(path, sizeof path, "%s/visium/crc16/filtered_feature_bc_matrix.h5", data);
    if (CHECK_OK(counts_read(path, &by_id, &a))) {
        CHECK(a.x.columns == 3 && a.genes_missing == 0);
        CHECK_TEXT(a.x.column_name[0], "MALAT1");
        CHECK_TEXT(a.x.column_name[2], "MIR1302-2HG");
        CHECK_TEXT(frame_column(&a.var, "gene_ids")->text[0], "ENSG00000251562");
        annotated_free(&a);
    }
    CHECK_FAILS(counts_read(path, &other, &a), STATUS_MALFORMED, "no feature of type 'Antibody Capture'");
    if (CHECK_OK(counts_read(path, &all, &a))) {
        CHECK(a.x.columns == 36601);
        annotated_free(&a);
    }
    snprintf(path, sizeof path, "%s/visium/h5_variants/cellranger_1.2_two_genomes.h5", data);
    CHECK_FAILS(counts_read(path, NULL, &a), STATUS_INVALID, "another_genome, hg19_chr21; name the one");
    CHECK_FAILS(counts_read(path, &genome, &a), STATUS_NOT_FOUND, "there is no genome nowhere");
}

static void test_elucidata(const JsonValue *group) {
    const char *path = made_below(REFERENCE, "counts_made/elucidata.h5");
    CompoundSlide *slides = NULL;
    size_t count = 0;
    Annotated a;
    static const char *const order[] = {"S_1", "S_2", "S_10", "S_7"};
    if (CHECK_OK(compound_slides(path, (GuardLimits){0}, &slides, &count))) {
        CHECK(count == 4);
        for (size_t i = 0; i < count && i < 4; i++) CHECK_TEXT(slides[i].name, order[i]);
        CHECK(slides[0].values == 35 && slides[0].width == 8 && slides[0].height == 9);
        free(slides);
    }
    CHECK_FAILS(counts_read(path, NULL, &a), STATUS_INVALID, "name the one to read");
    for (size_t i = 0; i < group->length; i++) {
        const JsonValue *r = &group->items[i], *x = json_get(r, "x"), *picture = json_get(r, "image");
        CountsOptions options = {.section = group->keys[i]};
        CompoundImage image;
        if (!CHECK_OK(counts_read(path, &options, &a))) continue;
        const Embedding *spatial = annotated_embedding(&a, "spatial");
        const Column *set = frame_column(&a.obs, "Test_Set");
        double xy = 0, sets = 0, sum = 0;
        for (size_t s = 0; s < a.x.rows; s++) xy += spatial->value[2 * s] + 3 * spatial->value[2 * s + 1];
        for (size_t s = 0; set && s < a.x.rows; s++) sets += (double)set->integer[s];
        CHECK((double)a.x.rows == reference_number(r, "spots") && xy == reference_number(r, "xy") &&
              sets == reference_number(r, "set"));
        if (x->type == JSON_OBJECT) reference_matrix(group->keys[i], "X", &a.x, x);
        else CHECK(!a.has_x && a.x.columns == 0);
        annotated_free(&a);
        if (!CHECK_OK(compound_image_read(path, group->keys[i], (GuardLimits){0}, &image))) continue;
        for (size_t p = 0; p < image.width * image.height * 3; p++) sum += (double)image.rgb[p];
        CHECK((double)image.width == picture->items[0].number && (double)image.height == picture->items[1].number);
        reference_near("elucidata", "image", sum, picture->items[2].number, 1e3);
        compound_image_free(&image);
    }
}

static void test_hest(void) {
    HestTree tree;
    const char *path = made_below(REFERENCE, "counts_made/hest");
    if (!CHECK_OK(hest_open(path, &tree))) return;
    CHECK(tree.count == 3 && tree.without_row == 0);
    CHECK_TEXT(tree.sample[0].id, "SPA1");
    CHECK_TEXT(tree.sample[0].dataset_title, "Breast, \"HER2+\" tumours"); // byte order mark and quotes undone
    CHECK_TEXT(tree.sample[1].patient, "");
    CHECK_NEAR(tree.sample[0].pixel_size_um, 0.7257, 0);
    CHECK(isnan(tree.sample[1].pixel_size_um) && tree.sample[1].spots == 12);
    CHECK(tree.sample[0].has_counts && tree.sample[0].has_patches && !tree.sample[2].has_counts);
    Annotated a;
    CHECK_FAILS(counts_read(path, NULL, &a), STATUS_INVALID, "name the sample to read: SPA1, NCBI2");
    for (int i = 0; i < 2; i++) {
        char file[512];
        HestPatches patches;
        CountsOptions options = {.section = tree.sample[i].id};
        if (!CHECK_OK(counts_read(path, &options, &a))) continue;
        snprintf(file, sizeof file, "%s/patches/%s.h5", path, tree.sample[i].id);
        if (CHECK_OK(hest_patches_read(file, &a, (GuardLimits){0}, &patches))) {
            const Embedding *spatial = annotated_embedding(&a, "spatial");
            CHECK(patches.places == (i == 0 ? HEST_CORNER_X_Y : HEST_CENTRE_ROW_COLUMN));
            CHECK(patches.count == a.x.rows - 1 && patches.joined == patches.count && patches.residual < 1.5);
            if (i == 0) CHECK_NEAR(patches.corner_to_centre, 154, 1);
            size_t last = a.x.rows - 1; // patches are in reverse order
            CHECK_TEXT(patches.barcode[0], a.x.row_name[last]);
            CHECK_NEAR(patches.centre[0], spatial->value[2 * last], 1.5);
            CHECK_NEAR(patches.centre[1], spatial->value[2 * last + 1], 1.5);
            uint8_t pixels[2 * 6 * 6 * 3];
            CHECK_OK(hest_patches_pixels(file, &patches, 3, 2, (GuardLimits){0}, pixels));
            CHECK_FAILS(hest_patches_pixels(file, &patches, 3, patches.count, (GuardLimits){0}, pixels), STATUS_INVALID,
                        "patches 3 to");
            hest_patches_free(&patches);
        }
        snprintf(file, sizeof file, "%s/patches/%s.h5", path, tree.sample[1 - i].id);
        for (size_t s = 0; s < a.x.rows; s++) a.embedding[0].value[2 * s] += 40 * (double)s;
        CHECK_FAILS(hest_patches_read(file, &a, (GuardLimits){0}, &patches), STATUS_MISMATCH,
                    "its coordinates are neither");
        annotated_free(&a);
    }
    hest_free(&tree);
}

// ---- Text ---------------------------------------------------------------------------------------

static void test_text(void) {
    Annotated a;
    const char *directory = made_path("mex");
    mkdir(directory, 0777);
    made_text(made_below(directory, "barcodes.tsv"), "AAA-1\nCCC-1\n");
    made_text(made_below(directory, "genes.tsv"), "E1\tG\nE2\tG\nE3\tH\n");
    const char *matrix = made_below(directory, "matrix.mtx");
    made_text(matrix, "%%MatrixMarket matrix coordinate real general\n%x\n3 2 3\n3 2 1.5\n1 1 2\n1 2 4e0\n");
    if (CHECK_OK(counts_read(directory, NULL, &a))) {
        CHECK(a.x.rows == 2 && a.x.columns == 3 && a.duplicate_names == 1 && matrix_nnz(&a.x) == 3);
        CHECK(a.x.value[1] == 4 && a.x.value[2] == 1.5f);
        CHECK_TEXT(a.x.column_name[1], "G-1");
        CHECK_TEXT(a.x.column_id[2], "E3");
        Matrix x;
        CHECK_OK(annotated_take_x(&a, &x));
        annotated_free(&a);
        CHECK(matrix_nnz(&x) == 3);
        CHECK_TEXT(x.column_name[2], "H");
        matrix_free(&x);
    }
    static const struct {
        const char *text, *message;
    } broken[] = {
        {"%%MatrixMarket matrix coordinate real general\n3 2 3\n3 2 1\n", "1 entries where the header promises 3"},
        {"%%MatrixMarket matrix coordinate real general\n3 2 1\n4 2 1\n", ":3: entry 4, 2 of a matrix of 3 x 2"},
        {"%%MatrixMarket matrix coordinate real general\n3 2 1\n1 2 x\n", ":3: '1 2 x' where row"},
        {"%%MatrixMarket matrix coordinate real general\n99999999999 2 1\n", "do not belong together"},
        {"%%MatrixMarket matrix coordinate real symmetric\n3 2 1\n", "only 'general'"},
        {"%%MatrixMarket matrix coordinate real general\n", "rows, columns and entries are expected"},
        {"3 2 1\n", "not a Matrix Market file"}};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        made_text(matrix, broken[i].text);
        Status status = counts_read(directory, NULL, &a);
        if (!CHECK(status && strstr(status_message(status), broken[i].message)))
            printf("    %s\n", status_message(status));
        status_drop(status);
    }
    unlink(made_below(directory, "genes.tsv"));
    CHECK_FAILS(counts_read(directory, NULL, &a), STATUS_NOT_FOUND, "features.tsv is missing");
    const char *table = made_path("section.tsv");
    made_text(table, "\tA\tB\tA\n1x1\t0\t2\t3\n1x2\t0.5\t0\t0\n");
    if (CHECK_OK(counts_read(table, NULL, &a))) {
        CHECK(a.x.rows == 2 && matrix_nnz(&a.x) == 3 && a.duplicate_names == 1);
        annotated_free(&a);
    }
    made_text(table, "\tA\tB\n1x1\t0\ttwo\n");
    CHECK_FAILS(counts_read(table, NULL, &a), STATUS_MALFORMED, ":2: column 'B': 'two' is not a number");
    made_text(table, "no table at all\n");
    CHECK_FAILS(counts_read(table, NULL, &a), STATUS_UNSUPPORTED, "neither HDF5 nor a table");
    CHECK_FAILS(counts_read(made_path("nothing.h5ad"), NULL, &a), STATUS_NOT_FOUND, "nothing.h5ad");
    const char *empty = made_path("empty directory");
    mkdir(empty, 0777);
    CHECK_FAILS(counts_read(empty, NULL, &a), STATUS_UNSUPPORTED, "no counts were recognised");
    const char *fifo = made_path("fifo.h5ad");
    CHECK(mkfifo(fifo, 0666) == 0);
    Status status = counts_read(fifo, NULL, &a);
    CHECK(status != STATUS_OK);
    status_drop(status);
}

// ---- A large file within 1 GB -------------------------------------------------------------------

// 20,000 x 36,000 with 2,000 entries a row (fewer rows under sanitizers), compressed rows as anndata writes them.
static void make_large(const char *path, size_t rows, size_t columns, size_t each) {
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t x = H5Gcreate2(file, "X", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hsize_t nnz[1] = {rows * each}, chunk[1] = {1 << 17}, starts[1] = {rows + 1};
    int64_t shape[2] = {(int64_t)rows, (int64_t)columns};
    hid_t data = -1, indices = -1;
    CHECK_OK(h5_put_text(path, x, "encoding-type", "csr_matrix"));
    CHECK_OK(h5_put_array_i64(path, x, "shape", shape, 2));
    H5Layout layout = {chunk, 0, false};
    CHECK_OK(h5_dataset_create(path, x, "data", H5T_IEEE_F32LE, 1, nnz, layout, &data));
    CHECK_OK(h5_dataset_create(path, x, "indices", H5T_STD_I32LE, 1, nnz, layout, &indices));
    float *value = malloc(each * 100 * sizeof *value);
    int32_t *column = malloc(each * 100 * sizeof *column);
    for (size_t r = 0; r < rows; r += 100) {
        for (size_t e = 0; e < each * 100; e++) {
            value[e] = (float)((r + e) % 7 + 1);
            column[e] = (int32_t)((e % each) * (columns / each) + (r + e / each) % (columns / each));
        }
        CHECK_OK(h5_write_rows(path, "data", data, H5T_NATIVE_FLOAT, r * each, 100 * each, value));
        CHECK_OK(h5_write_rows(path, "indices", indices, H5T_NATIVE_INT32, r * each, 100 * each, column));
    }
    int64_t *start = malloc((rows + 1) * sizeof *start);
    for (size_t r = 0; r <= rows; r++) start[r] = (int64_t)(r * each);
    CHECK_OK(h5_write(path, x, "indptr", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, starts, start, (H5Layout){0}));
    for (int i = 0; i < 2; i++) {
        size_t count = i ? columns : rows;
        char **names = malloc(count * sizeof *names), *text = malloc(count * 24);
        hid_t group = -1;
        for (size_t k = 0; k < count; k++) snprintf(names[k] = text + 24 * k, 24, "%c%zu", i ? 'g' : 's', k);
        CHECK_OK(h5_group_create(path, file, i ? "var" : "obs", &group));
        CHECK_OK(h5_put_text(path, group, "_index", "_index"));
        CHECK_OK(h5_write_fixed_texts(path, group, "_index", names, count));
        h5_close(group);
        free(names);
        free(text);
    }
    free(start);
    free(value);
    free(column);
    h5_close(data);
    h5_close(indices);
    h5_close(x);
    H5Fclose(file);
}

static void test_large(void) {
    size_t rows = SANITIZED ? 1000 : 20000, columns = 36000, each = 2000;
    const char *path = made_path("large.h5ad");
    Annotated a;
    make_large(path, rows, columns, each);
    char *genes[1000], names[1000][8];
    for (int i = 0; i < 1000; i++) snprintf(genes[i] = names[i], 8, "g%d", i * 36 + 5);
    CountsOptions few = {.genes = genes, .n_genes = 1000};
    struct rusage child;
    if (CHECK_OK(counts_read(path, &few, &a))) {
        // Row r has the columns 18 k + r % 18; those asked for are 36 i + 5.
        int64_t expected = 0;
        for (size_t r = 5; r < rows; r += 18) expected += (int64_t)each / 2;
        CHECK(a.x.rows == rows && a.x.columns == 1000 && a.genes_missing == 0);
        if (!CHECK(matrix_nnz(&a.x) == expected))
            printf("    %lld, %lld\n", (long long)matrix_nnz(&a.x), (long long)expected);
        annotated_free(&a);
    }
    getrusage(RUSAGE_CHILDREN, &child);
    if (!SANITIZED) CHECK(child.ru_maxrss < 200 << 10);
    if (CHECK_OK(counts_read(path, NULL, &a))) {
        CHECK(a.x.rows == rows && a.x.columns == columns && matrix_nnz(&a.x) == (int64_t)(rows * each));
        size_t r = rows - 77;
        int64_t at = a.x.start[r] + 1234;
        size_t e = (r % 100) * each + 1234, first = r - r % 100;
        CHECK(a.x.value[at] == (float)((first + e) % 7 + 1));
        CHECK(a.x.column[at] == (int32_t)(1234 * (columns / each) + (first + e / each) % (columns / each)));
        annotated_free(&a);
    }
    getrusage(RUSAGE_CHILDREN, &child);
    printf("large: the child's peak was %ld MB\n", child.ru_maxrss >> 10);
    if (!SANITIZED) CHECK(child.ru_maxrss < 1000 << 10);
}

int main(int count, char **arguments) {
    const char *data = count > 1 ? arguments[1] : "../shared/data";
    made_begin();
    arena_init(&reference_arena);
    const JsonValue *recorded = reference_load("counts.json");
    if (is_directory(data)) {
        test_recorded(data, json_get(recorded, "samples"));
        test_outs(data);
        test_probes(data);
    } else CHECK_SKIP("%s is not there: only made files were read", data);
    test_elucidata(json_get(recorded, "elucidata"));
    test_hest();
    test_text();
    test_large();
    arena_free(&reference_arena);
    made_end();
    return check_report("counts");
}
