// statistics_test: correlations, errors, information, PCA, k-means and agreement against scipy and scikit-learn
// (reference/statistics.json), and their behaviour on constant, empty and NaN input.
//     data_statistics REFERENCE_DIRECTORY
#include "reference.h"

#include "../../runtime/core/random.h"
#include "../../runtime/data/agreement.h"
#include "../../runtime/data/kmeans.h"
#include "../../runtime/data/pca.h"
#include "../../runtime/data/statistics.h"

static void check_case(Reference *reference, const JsonValue *one) {
    size_t n;
    double *x = reference_numbers(reference, one, "x", &n), *y = reference_numbers(reference, one, "y", NULL), p, value;
    double *expected = reference_numbers(reference, one, "pearson", NULL);
    CHECK_NEAR(pearson(x, y, n, &p), expected[0], 1e-13);
    CHECK_NEAR(p, expected[1], 1e-12 + 1e-10 * expected[1]);
    expected = reference_numbers(reference, one, "spearman", NULL);
    CHECK_OK(spearman(x, y, n, &value, &p));
    CHECK_NEAR(value, expected[0], 1e-13);
    CHECK_NEAR(p, expected[1], 1e-12 + 1e-10 * expected[1]);
    CHECK_OK(kendall(x, y, n, &value));
    CHECK_NEAR(value, reference_number(one, "kendall"), 1e-13);
    double *ranks = calloc(n, sizeof *ranks);
    CHECK_OK(rank_average(x, n, ranks));
    CHECK_NEAR(largest_error(ranks, reference_numbers(reference, one, "rank", NULL), n, 1), 0, 0);
    CHECK_NEAR(mean_absolute_error(x, y, n), reference_number(one, "mae"), 1e-13);
    CHECK_NEAR(mean_squared_error(x, y, n), reference_number(one, "mse"), 1e-13);
    CHECK_NEAR(r_squared(x, y, n), reference_number(one, "r2"), 1e-12);
    double *a = calloc(n, sizeof *a), *b = calloc(n, sizeof *b);
    int64_t *la = calloc(n, sizeof *la), *lb = calloc(n, sizeof *lb);
    for (size_t i = 0; i < n; i++) {
        a[i] = fabs(x[i]);
        b[i] = fabs(y[i]);
        la[i] = (int64_t)x[i];
        lb[i] = (int64_t)y[i];
    }
    CHECK_NEAR(jensen_shannon(a, b, n, 1e-8), reference_number(one, "jensen_shannon"), 1e-12);
    Agreement agreement;
    CHECK_OK(agreement_of(la, lb, n, &agreement));
    CHECK_NEAR(agreement.adjusted_rand, reference_number(one, "ari"), 1e-12);
    CHECK_NEAR(agreement.normalised_mutual_information, reference_number(one, "nmi"), 1e-12);
    CHECK_NEAR(agreement.mutual_information, reference_number(one, "labels_mi"), 1e-12);
    if (json_get(one, "knn_mi")) {
        CHECK_OK(mutual_information(x, y, n, 3, 7, &value));
        CHECK_NEAR(value, reference_number(one, "knn_mi"), 1e-12);
    }
    free(ranks);
    free(a);
    free(b);
    free(la);
    free(lb);
}

static void check_edges(void) {
    double flat[] = {2, 2, 2, 2}, up[] = {1, 2, 3, 4}, holed[] = {1, NAN, 3, 4}, value, p;
    CHECK(isnan(pearson(flat, up, 4, NULL)) && isnan(pearson(holed, up, 4, NULL)) && isnan(pearson(up, up, 1, NULL)));
    CHECK(isnan(pearson(up, up, 0, &p)) && isnan(p));
    CHECK_NEAR(pearson(up, up, 4, &p), 1, 0);
    CHECK_NEAR(p, 0, 0);
    pearson(up, up, 2, &p);
    CHECK(isnan(p));
    double tenth[] = {0.1, 0.1, 0.1}, three[] = {1, 2, 4}; // 0.1 + 0.1 + 0.1 is not 0.3
    CHECK(isnan(pearson(tenth, three, 3, NULL)));
    CHECK_OK(spearman(holed, up, 4, &value, NULL));
    CHECK(isnan(value));
    CHECK_OK(spearman(up, flat, 4, &value, NULL));
    CHECK(isnan(value));
    CHECK_OK(kendall(flat, up, 4, &value));
    CHECK(isnan(value));
    CHECK_OK(kendall(holed, up, 4, &value));
    CHECK(isnan(value));
    CHECK_OK(kendall(up, up, 0, &value));
    CHECK(isnan(value));
    CHECK(isnan(mean_absolute_error(up, up, 0)) && isnan(mean_squared_error(up, holed, 4)));
    CHECK_NEAR(r_squared(flat, flat, 4), 1, 0);
    CHECK_NEAR(r_squared(flat, up, 4), 0, 0);
    CHECK(isnan(relative_variance_distance(flat, up, 4)));
    double doubled[] = {2, 4, 6, 8};
    CHECK_NEAR(relative_variance_distance(up, doubled, 4), 9, 1e-12);
    CHECK_NEAR(jensen_shannon(up, up, 4, 0), 0, 1e-9);
    double left[] = {1, 0}, right[] = {0, 1}, below[] = {-1, 2};
    CHECK_NEAR(jensen_shannon(left, right, 2, 0), sqrt(log(2)), 1e-15);
    CHECK(isnan(jensen_shannon(below, right, 2, 0)) && isnan(jensen_shannon(up, up, 0, 0)));
    CHECK_OK(mutual_information(up, up, 3, 3, 0, &value));
    CHECK(isnan(value));
    CHECK_OK(mutual_information(flat, flat, 4, 3, 0, &value));
    CHECK(value >= 0);
    CHECK_FAILS(mutual_information(up, up, 4, 0, 0, &value), STATUS_INVALID, "neighbours");
    int32_t ordinal[4];
    double tied[] = {3, 1, 3, 2};
    CHECK_OK(rank_rows(tied, 1, 4, ordinal));
    CHECK(ordinal[0] == 3 && ordinal[1] == 1 && ordinal[2] == 4 && ordinal[3] == 2);
    double some[] = {0.5, NAN, 0.9, 0.1};
    size_t used;
    CHECK_NEAR(mean_of_valid(some, 4, &used), 0.5, 1e-15);
    CHECK(used == 3 && isnan(mean_of_valid(some + 1, 1, NULL)));
    CHECK_OK(mean_of_largest(some, 4, 2, &value));
    CHECK_NEAR(value, 0.7, 1e-15);
    CHECK_NEAR(digamma(1), -0.57721566490153286, 1e-15);
    CHECK_NEAR(digamma(0.1), -10.423754940411076, 1e-13);
    CHECK_NEAR(normal_upper_tail(1.6448536269514722), 0.05, 1e-15);
    CHECK_NEAR(incomplete_beta(2, 3, 0.4), 0.5248, 1e-14);
    double columns[2] = {0, 0}, block[] = {1, 5, 2, 5, 3, 5, 4, 5};
    CHECK_OK(pearson_columns(block, block, 4, 2, columns));
    CHECK(columns[0] == 1 && isnan(columns[1]));
    CHECK_OK(spearman_columns(block, block, 4, 2, columns));
    CHECK(columns[0] == 1 && isnan(columns[1]));
    Agreement agreement;
    int64_t same[] = {7, 7, -2, -2}, renamed[] = {1, 1, 0, 0}, one[] = {0, 0, 0, 0};
    CHECK_OK(agreement_of(same, renamed, 4, &agreement));
    CHECK_NEAR(agreement.adjusted_rand, 1, 0);
    CHECK_NEAR(agreement.normalised_mutual_information, 1, 1e-15);
    CHECK_OK(agreement_of(same, one, 4, &agreement));
    CHECK(agreement.adjusted_rand == 0 && agreement.normalised_mutual_information == 0);
    CHECK_OK(agreement_of(one, one, 4, &agreement));
    CHECK(agreement.adjusted_rand == 1 && agreement.mutual_information == 0);
    CHECK_OK(agreement_of(one, one, 0, &agreement));
    CHECK(agreement.adjusted_rand == 1);
}

static void check_pca(Reference *reference, const JsonValue *one) {
    size_t rows = (size_t)reference_number(one, "rows"), width = (size_t)reference_number(one, "width");
    size_t components = (size_t)reference_number(one, "components");
    double *values = reference_numbers(reference, one, "values", NULL),
           *scores = calloc(5 * components, sizeof *scores);
    for (int method = PCA_EXACT; method <= PCA_RANDOMISED; method++) {
        Pca pca = {0};
        if (!CHECK_OK(pca_fit(values, rows, width, components, (PcaMethod)method, 1, &pca))) continue;
        double *axes = reference_numbers(reference, one, "axes", NULL);
        CHECK(largest_error(pca.variance, reference_numbers(reference, one, "variance", NULL), components, 0) < 1e-11);
        CHECK(largest_error(pca.share, reference_numbers(reference, one, "ratio", NULL), components, 0) < 1e-11);
        CHECK(largest_error(pca.axis, axes, components * width, 1) < (method == PCA_EXACT ? 1e-10 : 1e-6));
        pca_transform(&pca, values, 5, scores);
        double *expected = reference_numbers(reference, one, "scores", NULL);
        CHECK(largest_error(scores, expected, 5 * components, 1) < (method == PCA_EXACT ? 1e-9 : 1e-5));
        pca_free(&pca);
    }
    free(scores);
}

static void check_pca_edges(void) {
    Pca pca = {0};
    double flat[] = {1, 2, 1, 2, 1, 2}, holed[] = {1, NAN, 2, 3};
    CHECK_FAILS(pca_fit(flat, 3, 2, 3, PCA_AUTO, 0, &pca), STATUS_INVALID, "components");
    CHECK_FAILS(pca_fit(flat, 1, 2, 1, PCA_AUTO, 0, &pca), STATUS_INVALID, "2 rows");
    CHECK_FAILS(pca_fit(holed, 2, 2, 1, PCA_AUTO, 0, &pca), STATUS_INVALID, "finite");
    for (int method = PCA_EXACT; method <= PCA_RANDOMISED; method++) {
        CHECK_OK(pca_fit(flat, 3, 2, 2, (PcaMethod)method, 0, &pca));
        CHECK(pca.variance[0] == 0 && isnan(pca.share[0]));
        pca_free(&pca);
    }
    double narrow[] = {0, 0, 0, 1, 2, 3}; // more columns than rows, rank 1 of 2
    CHECK_OK(pca_fit(narrow, 2, 3, 2, PCA_EXACT, 0, &pca));
    CHECK_NEAR(pca.variance[0], 7, 1e-12);
    double dot = 0;
    for (int j = 0; j < 3; j++) dot += pca.axis[j] * pca.axis[3 + j];
    CHECK_NEAR(dot, 0, 1e-12);
    pca_free(&pca);
}

static void check_eigen(size_t n) {
    double *a = calloc(n * n, sizeof *a), *copy = calloc(n * n, sizeof *copy), *vector = calloc(n * n, sizeof *vector);
    double *value = calloc(n, sizeof *value), worst = 0, trace = 0;
    RandomStream stream = random_stream(3, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            a[i * n + j] = a[j * n + i] = copy[i * n + j] = copy[j * n + i] =
                i % 5 == 4 && i != j ? 0 : (double)random_unit(&stream) - 0.5;
    for (size_t i = 0; i < n; i++) trace += a[i * n + i];
    CHECK_OK(symmetric_eigen(a, n, value, vector));
    for (size_t k = 0; k < n; k++) {
        trace -= value[k];
        if (k > 0) CHECK(value[k] <= value[k - 1]);
        for (size_t i = 0; i < n; i++) {
            double sum = 0;
            for (size_t j = 0; j < n; j++) sum += copy[i * n + j] * vector[k * n + j];
            worst = fmax(worst, fabs(sum - value[k] * vector[k * n + i]));
        }
    }
    CHECK_NEAR(worst, 0, 1e-13 * (double)n);
    CHECK_NEAR(trace, 0, 1e-12 * (double)n);
    free(a);
    free(copy);
    free(vector);
    free(value);
}

static double label_agreement(const int32_t *seen, const double *expected, size_t n) {
    int64_t *a = calloc(n, sizeof *a), *b = calloc(n, sizeof *b);
    Agreement agreement = {0};
    for (size_t i = 0; i < n; i++) {
        a[i] = seen[i];
        b[i] = (int64_t)expected[i];
    }
    CHECK_OK(agreement_of(a, b, n, &agreement));
    free(a);
    free(b);
    return agreement.adjusted_rand;
}

static void check_kmeans(Reference *reference, const JsonValue *one) {
    size_t count, k = (size_t)reference_number(one, "k"), width = (size_t)reference_number(one, "width");
    double *points = reference_numbers(reference, one, "points", &count);
    size_t rows = count / width;
    double *labels = reference_numbers(reference, one, "given_labels", NULL);
    Kmeans given = {0}, best = {0};
    CHECK_OK(kmeans_fit(points, rows, width, &(KmeansOptions){.clusters = k, .start = points}, &given));
    CHECK_NEAR(given.inertia, reference_number(one, "given_inertia"), 1e-9);
    CHECK(largest_error(given.centre, reference_numbers(reference, one, "given_centres", NULL), k * width, 1) < 1e-12);
    size_t different = 0;
    for (size_t i = 0; i < rows; i++) different += given.label[i] != (int32_t)labels[i];
    CHECK(different == 0);
    int32_t *again = calloc(rows, sizeof *again);
    kmeans_assign(&given, points, rows, again);
    CHECK(memcmp(again, given.label, rows * sizeof *again) == 0);
    free(again);
    CHECK_OK(kmeans_fit(points, rows, width, &(KmeansOptions){.clusters = k, .restarts = 20, .seed = 42}, &best));
    CHECK(best.inertia <= reference_number(one, "best_inertia") * (1 + 1e-3));
    CHECK(label_agreement(best.label, reference_numbers(reference, one, "best_labels", NULL), rows) >
          (k == 4 ? 0.999 : 0.8));
    kmeans_free(&given);
    kmeans_free(&best);
}

static void check_kmeans_threads(void) {
    enum { ROWS = 3000, WIDTH = 5 };
    double *x = calloc(ROWS * WIDTH, sizeof *x);
    RandomStream stream = random_stream(9, 0);
    for (size_t i = 0; i < ROWS * WIDTH; i++) x[i] = (double)random_unit(&stream) + (double)(i / WIDTH % 3);
    Kmeans alone = {0}, many = {0};
    KmeansOptions options = {.clusters = 7, .restarts = 3, .seed = 5};
    CHECK_OK(kmeans_fit(x, ROWS, WIDTH, &options, &alone));
    for (int threads = 2; threads <= 5; threads++) {
        CHECK_OK(pool_new(threads, &options.pool));
        CHECK_OK(kmeans_fit(x, ROWS, WIDTH, &options, &many));
        CHECK(memcmp(alone.label, many.label, ROWS * sizeof *alone.label) == 0 && alone.inertia == many.inertia);
        CHECK(memcmp(alone.centre, many.centre, 7 * WIDTH * sizeof *alone.centre) == 0);
        kmeans_free(&many);
        pool_free(options.pool);
    }
    kmeans_free(&alone);
    options.pool = NULL;
    CHECK_FAILS(kmeans_fit(x, 3, WIDTH, &options, &many), STATUS_INVALID, "use 1 to 3");
    x[4] = NAN;
    CHECK_FAILS(kmeans_fit(x, ROWS, WIDTH, &options, &many), STATUS_INVALID, "row 0, column 4");
    double equal[] = {1, 1, 1, 1, 1, 1}; // three times the same point: clusters may stay empty, nothing fails
    options.clusters = 3;
    CHECK_OK(kmeans_fit(equal, 3, 2, &options, &many));
    CHECK_NEAR(many.inertia, 0, 0);
    kmeans_free(&many);
    double start[] = {0, 0, 100, 100, 200, 200}, line[] = {0, 0, 1, 0, 2, 0, 9, 0}; // two centres attract nothing
    options.start = start;
    CHECK_OK(kmeans_fit(line, 4, 2, &options, &many));
    CHECK(many.inertia <= 0.5 + 1e-12);
    kmeans_free(&many);
    free(x);
}

int main(int argc, char **argv) {
    if (argc < 2) return printf("usage: %s REFERENCE_DIRECTORY\n", argv[0]), 2;
    Reference reference = reference_open(argv[1], "statistics");
    const JsonValue *part = json_get(reference.root, "cases");
    for (size_t i = 0; i < part->length; i++) check_case(&reference, &part->items[i]);
    check_edges();
    part = json_get(reference.root, "pca");
    for (size_t i = 0; i < part->length; i++) check_pca(&reference, &part->items[i]);
    check_pca_edges();
    check_eigen(1);
    check_eigen(2);
    check_eigen(7);
    check_eigen(60);
    part = json_get(reference.root, "kmeans");
    for (size_t i = 0; i < part->length; i++) check_kmeans(&reference, &part->items[i]);
    check_kmeans_threads();
    reference_close(&reference);
    return check_report("statistics_test");
}
