// AnnData files: every sample and every made encoding against what anndata says; choosing genes and layers while
// reading; messages for what is not there or leads elsewhere.
#include "../../runtime/data/h5.h"
#include "counts_reference.h"

static void test_recorded(const char *data, const JsonValue *group, bool samples) {
    for (size_t i = 0; i < group->length; i++) {
        const char *name = group->keys[i];
        if (!strstr(name, ".h5ad")) continue;
        Annotated a;
        if (!CHECK_OK(counts_read(made_below(samples ? data : REFERENCE, name), NULL, &a))) continue;
        reference_annotated(name, &a, &group->items[i]);
        CHECK(strncmp(a.source, "h5ad", 4) == 0);
        annotated_free(&a);
    }
}

// The columns `genes` of a file read whole, against the same read alone.
static void compare_selection(const char *path, char *const *genes, size_t n, const char *layer) {
    Annotated all, some;
    Matrix chosen = {0};
    CountsOptions whole = {.layer = layer, .only_x = true},
                  part = {.genes = genes, .n_genes = n, .layer = layer, .only_x = true, .threads = 3};
    if (!CHECK_OK(counts_read(path, &whole, &all))) return;
    size_t columns[16], count = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < all.x.columns; c++)
            if (strcmp(all.x.column_name[c], genes[i]) == 0) columns[count++] = c;
    CHECK_OK(matrix_select(&all.x, NULL, 0, columns, count, &chosen));
    if (CHECK_OK(counts_read(path, &part, &some))) {
        CHECK(some.x.rows == chosen.rows && some.x.columns == chosen.columns && some.genes_missing == n - count);
        bool same = matrix_nnz(&some.x) == matrix_nnz(&chosen);
        for (size_t r = 0; same && r <= chosen.rows; r++) same = some.x.start[r] == chosen.start[r];
        for (int64_t e = 0; same && e < matrix_nnz(&chosen); e++)
            same = some.x.column[e] == chosen.column[e] && some.x.value[e] == chosen.value[e];
        CHECK(same);
        for (size_t c = 0; c < count; c++) CHECK_TEXT(some.x.column_name[c], chosen.column_name[c]);
        annotated_free(&some);
    }
    matrix_free(&chosen);
    annotated_free(&all);
}

static void test_selection(const char *data) {
    char *made[] = {"gene7", "gene2", "no such gene", "gene29", "gene0"}, *ascending[] = {"gene1", "gene3", "gene28"};
    static const char *const files[] = {"counts_made/columns.h5ad", "counts_made/csc.h5ad",
                                        "counts_made/several_chunks.h5ad"};
    for (int i = 0; i < 3; i++) {
        compare_selection(made_below(REFERENCE, files[i]), made, 5, NULL);
        compare_selection(made_below(REFERENCE, files[i]), ascending, 3, NULL);
    }
    compare_selection(made_below(REFERENCE, files[0]), made, 5, "csc");
    compare_selection(made_below(REFERENCE, files[0]), made, 5, "dense");
    compare_selection(made_below(REFERENCE, files[0]), ascending, 2, "raw");
    char *blood[] = {"TNFRSF4", "HES4", "PTPRCAP", "nothing"};
    if (file_exists(made_below(data, "h5ad/pbmc68k_anndata05.h5ad"))) {
        compare_selection(made_below(data, "h5ad/pbmc68k_anndata05.h5ad"), blood, 4, NULL);
        compare_selection(made_below(data, "h5ad/pbmc68k_anndata05.h5ad"), blood, 4, "raw");
    }
}

static void test_names_and_refusals(void) {
    Annotated a;
    CountsOptions options = {.repeated_names = true};
    const char *unsorted = made_below(REFERENCE, "counts_made/unsorted.h5ad");
    static const char *const unique[] = {"G", "G-2", "G-1", "H", "G-3"};
    if (CHECK_OK(counts_read(unsorted, NULL, &a))) {
        for (int i = 0; i < 5; i++) CHECK_TEXT(a.x.column_name[i], unique[i]);
        CHECK(a.n_notes == 1 && strstr(a.note[0], "2 entries shared their place"));
        annotated_free(&a);
    }
    if (CHECK_OK(counts_read(unsorted, &options, &a))) {
        CHECK_TEXT(a.x.column_name[1], "G");
        CHECK(a.duplicate_names == 2);
        Matrix x;
        CHECK_OK(annotated_take_x(&a, &x)); // stands on its own
        annotated_free(&a);
        CHECK(x.rows == 3 && matrix_nnz(&x) == 4 && x.value[0] == 1);
        CHECK_TEXT(x.row_name[2], "c");
        matrix_free(&x);
    }
    char *nothing[] = {"none", "of", "these"}, *twice[] = {"H", "H"};
    CountsOptions missing = {.genes = nothing, .n_genes = 3}, repeated = {.genes = twice, .n_genes = 2},
                  layer = {.layer = "counts"};
    CHECK_FAILS(counts_read(unsorted, &missing, &a), STATUS_MISMATCH, "none of the 3 genes asked for");
    CHECK_FAILS(counts_read(unsorted, &repeated, &a), STATUS_INVALID, "H is asked for twice");
    CHECK_FAILS(counts_read(unsorted, &layer, &a), STATUS_NOT_FOUND, "there is no layer 'counts'");
    CHECK_FAILS(counts_read(made_below(REFERENCE, "counts_made/external.h5ad"), NULL, &a), STATUS_UNSUPPORTED,
                "is a link into another file");
    CHECK_FAILS(counts_read(made_below(REFERENCE, "counts_made/absurd.h5ad"), NULL, &a), STATUS_MALFORMED,
                "indptr goes");
    CHECK_FAILS(counts_read(made_below(REFERENCE, "counts_made/cycle.h5ad"), NULL, &a), STATUS_MALFORMED,
                "is a link that leads to more than 16 others");
    CountsOptions tight = {.limits = {.results_bytes = 3000}};
    CHECK_FAILS(counts_read(made_below(REFERENCE, "counts_made/several_chunks.h5ad"), &tight, &a), STATUS_NO_MEMORY,
                "are left");
}

// ---- Wrong kinds of objects ---------------------------------------------------------------------

typedef enum Wrong {
    TEXT_DATA,
    REAL_INDICES,
    COORDINATES,
    SHORT_INDPTR,
    OTHER_SHAPE,
    NO_INDEX,
    HUGE_INDEX,
    NO_DATA,
    WRONGS
} Wrong;

// One row of two genes, wrong in one way.
static void make_wrong(const char *path, Wrong wrong) {
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), x = -1, obs = -1, var = -1, data = -1;
    hsize_t two[1] = {2}, huge[1] = {(hsize_t)1 << 60}, chunk[1] = {1024};
    char *names[] = {"a", "b"};
    float values[] = {1, 2};
    int32_t indices[] = {0, 1}, indptr[] = {0, 2};
    int64_t shape[] = {1, wrong == OTHER_SHAPE ? 3 : 2};
    CHECK_OK(h5_group_create(path, file, "X", &x));
    CHECK_OK(h5_group_create(path, file, "obs", &obs));
    CHECK_OK(h5_group_create(path, file, "var", &var));
    CHECK_OK(h5_put_text(path, x, "encoding-type", wrong == COORDINATES ? "coo_matrix" : "csr_matrix"));
    CHECK_OK(h5_put_array_i64(path, x, "shape", shape, 2));
    if (wrong == TEXT_DATA) CHECK_OK(h5_write_texts(path, x, "data", names, 2));
    else if (wrong != NO_DATA)
        CHECK_OK(h5_write(path, x, "data", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 1, two, values, (H5Layout){0}));
    CHECK_OK(h5_write(path, x, "indices", wrong == REAL_INDICES ? H5T_IEEE_F32LE : H5T_STD_I32LE, H5T_NATIVE_INT32, 1,
                      two, indices, (H5Layout){0}));
    hsize_t starts[1] = {wrong == SHORT_INDPTR ? 1 : 2};
    CHECK_OK(h5_write(path, x, "indptr", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, starts, indptr, (H5Layout){0}));
    if (wrong == HUGE_INDEX) {
        CHECK_OK(h5_dataset_create(path, obs, "_index", H5T_STD_I64LE, 1, huge, (H5Layout){chunk, 0, false}, &data));
        h5_close(data);
    } else if (wrong != NO_INDEX) {
        CHECK_OK(h5_write_fixed_texts(path, obs, "_index", names, 1));
    }
    CHECK_OK(h5_write_texts(path, var, "_index", names, 2));
    h5_close(x);
    h5_close(obs);
    h5_close(var);
    H5Fclose(file);
}

static void test_wrong_kinds(void) {
    static const struct {
        StatusCode code;
        const char *message;
    } expected[WRONGS] = {{STATUS_MALFORMED, "'/X/data': numbers are expected here"},
                          {STATUS_MALFORMED, "'/X': indices are not whole numbers"},
                          {STATUS_UNSUPPORTED, "its encoding is 'coo_matrix'"},
                          {STATUS_MALFORMED, "'/X': indptr has 1 entries; 1 rows or columns need 2"},
                          {STATUS_MALFORMED, "'X' is 1 x 3 where obs has 1 rows and var 2"},
                          {STATUS_MALFORMED, "'obs' has no index 'index'"},
                          {STATUS_MALFORMED, "'/obs/_index': it claims 9223372036854775808 bytes"},
                          {STATUS_MALFORMED, "'/X': the dataset 'data' is missing"}};
    for (int wrong = 0; wrong < WRONGS; wrong++) {
        Annotated a;
        const char *path = made_path("wrong.h5ad");
        make_wrong(path, (Wrong)wrong);
        CHECK_FAILS(counts_read(path, NULL, &a), expected[wrong].code, expected[wrong].message);
    }
}

int main(int count, char **arguments) {
    const char *data = count > 1 ? arguments[1] : "../shared/data";
    made_begin();
    arena_init(&reference_arena);
    const JsonValue *recorded = reference_load("counts.json");
    test_recorded(data, json_get(recorded, "made"), false);
    if (is_directory(data)) test_recorded(data, json_get(recorded, "samples"), true);
    else CHECK_SKIP("%s is not there: only made files were read", data);
    test_selection(data);
    test_names_and_refusals();
    test_wrong_kinds();
    arena_free(&reference_arena);
    made_end();
    return check_report("h5ad");
}
