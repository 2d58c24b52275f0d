// space_test: neighbours, graphs, Moran's I, coordinates and splits: against scipy (reference/space.json), against a
// search of all pairs on lattices full of ties, and on degenerate input.
//     data_space REFERENCE_DIRECTORY
#include "reference.h"

#include "../../runtime/core/random.h"
#include "../../runtime/data/graph.h"
#include "../../runtime/data/moran.h"
#include "../../runtime/data/splits.h"

static void check_scipy(Reference *reference) {
    size_t count, k = (size_t)reference_number(reference->root, "k"), wrong = 0, at = 0;
    double *points = reference_numbers(reference, reference->root, "points", &count);
    double *nearest = reference_numbers(reference, reference->root, "nearest", NULL);
    double *last = reference_numbers(reference, reference->root, "distance_last", NULL);
    count /= 2;
    NeighbourLists lists = {0};
    CHECK_OK(neighbours_find(points, count, 2, &(NeighbourOptions){.nearest = k, .include_self = true}, &lists));
    for (size_t i = 0; i < count * k; i++) wrong += lists.index[i] != (int32_t)nearest[i];
    CHECK(wrong == 0 && lists.start[count] == (int64_t)(count * k));
    for (size_t i = 0; i < count; i++) wrong += fabs(lists.distance[i * k + k - 1] - last[i]) > 1e-12;
    CHECK(wrong == 0);
    neighbours_free(&lists);
    double radius = reference_number(reference->root, "radius");
    const JsonValue *within = json_get(reference->root, "within");
    CHECK_OK(neighbours_find(points, count, 2, &(NeighbourOptions){.radius = radius, .include_self = true}, &lists));
    for (size_t i = 0; i < count; i++) {
        const JsonValue *row = &within->items[i];
        wrong += row->length != (size_t)(lists.start[i + 1] - lists.start[i]);
        for (size_t e = 0; e < row->length; e++) {
            bool met = false;
            for (int64_t f = lists.start[i]; f < lists.start[i + 1]; f++)
                met = met || lists.index[f] == row->items[e].integer;
            wrong += !met;
            at++;
        }
    }
    CHECK(wrong == 0 && at > count);
    neighbours_free(&lists);
}

static void check_moran(Reference *reference) {
    size_t count;
    double *points = reference_numbers(reference, reference->root, "points", &count);
    double *values = reference_numbers(reference, reference->root, "values", NULL);
    double *moran = reference_numbers(reference, reference->root, "moran", NULL);
    count /= 2;
    NeighbourLists lists = {0};
    Graph graph = {0};
    CHECK_OK(neighbours_find(points, count, 2, &(NeighbourOptions){.nearest = 6}, &lists));
    CHECK_OK(graph_from_neighbours(&lists, &(GraphOptions){.weight = EDGE_MEAN}, &graph));
    double *column = calloc(count, sizeof *column), seen[3];
    int32_t *row_of = calloc(count * 3, sizeof *row_of), *column_of = calloc(count * 3, sizeof *column_of);
    float *value = calloc(count * 3, sizeof *value);
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < count; i++) {
            column[i] = values[i * 3 + c];
            row_of[i * 3 + c] = (int32_t)i;
            column_of[i * 3 + c] = (int32_t)c;
            value[i * 3 + c] = (float)column[i];
        }
        CHECK_NEAR(moran_i(&graph, column), moran[c], 1e-12);
    }
    Matrix matrix;
    CHECK_OK(matrix_from_entries(count, 3, row_of, column_of, value, (int64_t)count * 3, &matrix));
    CHECK_OK(moran_columns(&graph, &matrix, seen));
    for (size_t c = 0; c < 3; c++) CHECK_NEAR(seen[c], moran[c], 1e-6);
    matrix.rows--;
    CHECK_FAILS(moran_columns(&graph, &matrix, seen), STATUS_MISMATCH, "299 rows");
    matrix.rows++;
    matrix_free(&matrix);
    for (size_t i = 0; i < count; i++) column[i] = 3;
    CHECK_NEAR(moran_i(&graph, column), 0, 0);
    column[5] = NAN;
    CHECK(isnan(moran_i(&graph, column)));
    graph_free(&graph);
    neighbours_free(&lists);

    double length = reference_number(reference->root, "length");
    CHECK_OK(neighbours_find(points, count, 2, &(NeighbourOptions){.nearest = 160, .include_self = true}, &lists));
    GraphOptions gaussian = {
        .weight = EDGE_GAUSSIAN, .length = length, .cutoff = 0.2, .self_loops = true, .unit_total = true};
    CHECK_OK(graph_from_neighbours(&lists, &gaussian, &graph));
    MoranPair pairs[3];
    CHECK_OK(moran_pairs(&graph, values, 3, pairs));
    const JsonValue *expected = json_get(reference->root, "pairs");
    for (size_t p = 0; p < 3; p++) {
        CHECK_NEAR(pairs[p].r, expected->items[p].items[0].number, 1e-12);
        CHECK_NEAR(pairs[p].z, expected->items[p].items[1].number, 1e-9);
        CHECK_NEAR(pairs[p].p, expected->items[p].items[2].number, 1e-12);
    }
    gaussian.length = 0;
    Graph none;
    CHECK_FAILS(graph_from_neighbours(&lists, &gaussian, &none), STATUS_INVALID, "length");
    graph_free(&graph);
    neighbours_free(&lists);
    free(column);
    free(row_of);
    free(column_of);
    free(value);
}

// The k nearest by looking at all pairs, ties by position.
static size_t slow(const double *points, size_t count, size_t dimensions, size_t i, const NeighbourOptions *options,
                   int32_t *out) {
    size_t held = 0;
    double *square = malloc(count * sizeof *square);
    for (size_t j = 0; j < count; j++) {
        double d = 0;
        for (size_t a = 0; a < dimensions; a++) {
            double step = points[j * dimensions + a] - points[i * dimensions + a];
            d += step * step;
        }
        if ((j == i && !options->include_self) || (options->radius > 0 && d > options->radius * options->radius))
            continue;
        size_t at = held++;
        for (; at > 0 && square[at - 1] > d; at--) {
            square[at] = square[at - 1];
            out[at] = out[at - 1];
        }
        square[at] = d;
        out[at] = (int32_t)j;
    }
    free(square);
    return options->nearest && held > options->nearest ? options->nearest : held;
}

static void check_against_slow(const double *points, size_t count, size_t dimensions, NeighbourOptions options) {
    NeighbourLists lists = {0};
    int32_t *expected = malloc((count + 1) * sizeof *expected);
    size_t wrong = 0;
    if (CHECK_OK(neighbours_find(points, count, dimensions, &options, &lists)))
        for (size_t i = 0; i < count; i++) {
            size_t n = slow(points, count, dimensions, i, &options, expected);
            wrong += n != (size_t)(lists.start[i + 1] - lists.start[i]) ||
                     memcmp(expected, lists.index + lists.start[i], n * sizeof *expected) != 0;
        }
    CHECK(wrong == 0);
    free(expected);
    neighbours_free(&lists);
}

enum { HEX_ROWS = 21, HEX_COLUMNS = 21 };

static void check_lattices(void) {
    double hex[HEX_ROWS * HEX_COLUMNS * 2], square[200 * 2], random[500 * 3];
    for (int r = 0; r < HEX_ROWS; r++)
        for (int c = 0; c < HEX_COLUMNS; c++) {
            hex[(r * HEX_COLUMNS + c) * 2] = 138.0 * c + (r % 2) * 69.0;
            hex[(r * HEX_COLUMNS + c) * 2 + 1] = 138.0 * sqrt(0.75) * r;
        }
    for (int i = 0; i < 200; i++) { // every place taken twice
        square[i * 2] = i % 10;
        square[i * 2 + 1] = (double)(i / 10 % 10);
    }
    RandomStream stream = random_stream(1, 2);
    for (int i = 0; i < 1500; i++) random[i] = (double)random_unit(&stream);
    size_t k[] = {1, 5, 15, 300};
    for (int i = 0; i < 4; i++) {
        check_against_slow(hex, HEX_ROWS * HEX_COLUMNS, 2, (NeighbourOptions){.nearest = k[i]});
        check_against_slow(square, 200, 2, (NeighbourOptions){.nearest = k[i], .include_self = true});
        check_against_slow(square, 200, 2, (NeighbourOptions){.nearest = k[i], .radius = 2});
        check_against_slow(random, 500, 3, (NeighbourOptions){.nearest = k[i]});
        check_against_slow(random, 187, 8, (NeighbourOptions){.nearest = k[i], .radius = 0.7});
    }
    check_against_slow(square, 200, 2, (NeighbourOptions){.radius = 1}); // closed
    check_against_slow(random, 1500, 1, (NeighbourOptions){.nearest = 3});
    // discotme.md §12: 138 px and radius 400 give 30 candidates, radius 512 gives 54
    NeighbourLists lists = {0};
    size_t middle = HEX_ROWS / 2 * HEX_COLUMNS + HEX_COLUMNS / 2;
    for (int i = 0; i < 2; i++) {
        CHECK_OK(neighbours_find(hex, HEX_ROWS * HEX_COLUMNS, 2, &(NeighbourOptions){.radius = i ? 512 : 400}, &lists));
        CHECK(lists.start[middle + 1] - lists.start[middle] == (i ? 54 : 30));
        neighbours_free(&lists);
    }
    double pitch;
    CHECK_OK(neighbour_pitch(hex, HEX_ROWS * HEX_COLUMNS, 2, &pitch));
    CHECK_NEAR(pitch, 138, 1e-9);
    CHECK_OK(neighbour_pitch(hex, 1, 2, &pitch));
    CHECK(isnan(pitch));
    hex[7] = NAN;
    CHECK_FAILS(neighbours_find(hex, 10, 2, &(NeighbourOptions){.nearest = 1}, &lists), STATUS_INVALID, "point 3");
    CHECK_FAILS(neighbours_find(square, 10, 2, &(NeighbourOptions){0}, &lists), STATUS_INVALID, "must be > 0");
    CHECK_FAILS(neighbours_find(square, 10, 9, &(NeighbourOptions){.nearest = 1}, &lists), STATUS_UNSUPPORTED,
                "1 to 8");
    CHECK_OK(neighbours_find(square, 0, 2, &(NeighbourOptions){.nearest = 1}, &lists));
    CHECK(lists.points == 0 && lists.start[0] == 0);
    neighbours_free(&lists);
}

static bool distinct(const int32_t *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            if (list[i] == list[j]) return false;
    return true;
}

static void check_contexts(void) {
    enum { N = 30, LOCAL = 4, GLOBAL = 6, WIDTH = LOCAL + GLOBAL };
    double points[N * 2];
    for (int i = 0; i < N; i++) {
        points[i * 2] = i * 10.0;
        points[i * 2 + 1] = 0;
    }
    points[29 * 2] = 5000; // alone
    int32_t context[N * WIDTH], again[N * WIDTH], local[N], global[N];
    ContextOptions options = {LOCAL, GLOBAL, 25, 3};
    CHECK_OK(contexts_build(points, N, 2, &options, context, local, global));
    CHECK_OK(contexts_build(points, N, 2, &options, again, local, global));
    CHECK(memcmp(context, again, sizeof context) == 0);
    int32_t *five = context + 5 * WIDTH; // ties: 4 before 6, 3 before 7
    CHECK(five[0] == 4 && five[1] == 6 && five[2] == 3 && five[3] == 7);
    int32_t *zero = context; // only 1 and 2 lie within: the rest is drawn from them
    CHECK(zero[0] == 1 && zero[1] == 2 && (zero[2] == 1 || zero[2] == 2) && (zero[3] == 1 || zero[3] == 2));
    CHECK(distinct(context + 29 * WIDTH, LOCAL) && local[29] == LOCAL);
    for (int i = 0; i < N; i++) {
        int32_t *row = context + i * WIDTH;
        CHECK(local[i] == LOCAL && global[i] == GLOBAL && distinct(row + LOCAL, GLOBAL));
        for (int k = 0; k < WIDTH; k++) CHECK(row[k] != i && row[k] >= 0 && row[k] < N);
        for (int k = LOCAL; k < WIDTH; k++)
            for (int j = 0; j < LOCAL; j++) CHECK(row[k] != row[j]);
    }
    CHECK_OK(contexts_build(points, 3, 2, &options, context, local, global)); // 0 1 2: nobody is left for global
    CHECK(local[0] == LOCAL && global[0] == 2 && context[LOCAL + 2] == -1);
    CHECK_OK(contexts_build(points, 1, 2, &options, context, local, global));
    CHECK(local[0] == 0 && global[0] == 0 && context[0] == -1);
    options.radius = 0;
    CHECK_FAILS(contexts_build(points, 3, 2, &options, context, local, global), STATUS_INVALID, "radius");
}

static void check_graphs(void) {
    int64_t row[] = {0, 0, 1, 1, 2, 0}, column[] = {0, 2, 1, 3, 2, 4};
    Graph graph = {0};
    CHECK_OK(graph_from_lattice(row, column, 6, LATTICE_HEX, true, &graph));
    CHECK(graph_edges(&graph) == 6 + 2 * 9); // 0-1 0-2 1-2 1-3 1-5 2-3 3-5 2-4 3-4
    graph_free(&graph);
    int64_t grid_row[9], grid_column[9];
    for (int i = 0; i < 9; i++) {
        grid_row[i] = i / 3;
        grid_column[i] = i % 3;
    }
    CHECK_OK(graph_from_lattice(grid_row, grid_column, 9, LATTICE_SQUARE_4, false, &graph));
    CHECK(graph_edges(&graph) == 24 && graph.start[5] - graph.start[4] == 4);
    double ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, lag[9];
    graph_lag(&graph, ones, lag);
    CHECK(lag[0] == 2 && lag[1] == 3 && lag[4] == 4);
    graph_free(&graph);
    CHECK_OK(graph_from_lattice(grid_row, grid_column, 9, LATTICE_SQUARE_8, false, &graph));
    CHECK(graph_edges(&graph) == 40);
    graph_free(&graph);
    grid_row[1] = grid_column[1] = 0;
    CHECK_FAILS(graph_from_lattice(grid_row, grid_column, 9, LATTICE_HEX, false, &graph), STATUS_INVALID,
                "spots 0 and 1");
    CHECK_OK(graph_from_lattice(row, column, 0, LATTICE_HEX, true, &graph));
    CHECK(graph_edges(&graph) == 0);
    graph_free(&graph);

    double line[] = {0, 1, 3, 3}; // in one dimension, the last two at one place
    NeighbourLists lists = {0};
    CHECK_OK(neighbours_find(line, 4, 1, &(NeighbourOptions){.nearest = 1}, &lists));
    CHECK_OK(graph_from_neighbours(&lists, &(GraphOptions){.weight = EDGE_ONE, .symmetric = true}, &graph));
    CHECK(graph_edges(&graph) == 4);
    graph_free(&graph);
    CHECK_OK(graph_from_neighbours(&lists, &(GraphOptions){.weight = EDGE_INVERSE}, &graph));
    CHECK(graph_edges(&graph) == 2); // coinciding points have none
    graph_free(&graph);
    neighbours_free(&lists);
    CHECK_OK(neighbours_find(line, 4, 1, &(NeighbourOptions){.nearest = 3}, &lists));
    CHECK_OK(graph_from_neighbours(&lists, &(GraphOptions){.weight = EDGE_INVERSE, .unit_rows = true}, &graph));
    for (size_t i = 0; i < 4; i++) {
        double sum = 0;
        for (int64_t e = graph.start[i]; e < graph.start[i + 1]; e++) sum += graph.weight[e];
        CHECK_NEAR(sum, 1, 1e-15);
    }
    graph_free(&graph);
    neighbours_free(&lists);
}

static void check_coordinates(void) {
    double points[] = {10, 7, 20, 7, 15, 7}, grid[] = {100, 50.4, 155, 50, 210, 105, 100.2, 160}, fine[] = {0, 0, 1, 1};
    double step, holed[] = {0, NAN};
    CHECK_OK(coordinates_scale(points, 3, 2, 0, 10, 0));
    CHECK(points[0] == 0 && points[2] == 10 && points[4] == 5 && points[1] == 0 && points[5] == 0);
    CHECK_OK(coordinates_scale(points, 3, 2, -1, 1, 0));
    CHECK(points[0] == -1 && points[2] == 1 && points[4] == 0);
    CHECK_OK(coordinates_scale(points, 0, 2, 0, 1, 0));
    CHECK_FAILS(coordinates_scale(holed, 1, 2, 0, 1, 0), STATUS_INVALID, "point 0");
    CHECK_OK(coordinates_to_grid(grid, 4, 2, &step));
    CHECK_NEAR(step, 54.6, 1e-9); // 105 - 50.4
    CHECK(grid[0] == 2 && grid[2] == 3 && grid[4] == 4 && grid[1] == 1 && grid[7] == 3);
    CHECK_OK(coordinates_to_grid(fine, 2, 2, &step));
    CHECK(step == 1 && fine[2] == 1);
    double halves[] = {5, 15, 25, 35}; // step 10: 0.5 1.5 2.5 3.5, half to even
    CHECK_OK(coordinates_to_grid(halves, 4, 1, &step));
    CHECK(halves[0] == 0 && halves[1] == 2 && halves[2] == 2 && halves[3] == 4);
}

static void check_splits(void) {
    enum { N = 1000, GROUPS = 23 };
    uint8_t side[N], again[N];
    size_t n[3], held, groups;
    SplitOptions options = {.validation = 0.1, .test = 0.2, .seed = 42};
    CHECK_OK(split_random(N, &options, side));
    CHECK_OK(split_random(N, &options, again));
    CHECK(memcmp(side, again, N) == 0);
    split_count(side, N, n);
    CHECK(n[SIDE_TEST] == 200 && n[SIDE_VALIDATION] == 100 && n[SIDE_TRAIN] == 700);
    options.seed = 43;
    CHECK_OK(split_random(N, &options, again));
    CHECK(memcmp(side, again, N) != 0);
    CHECK_OK(split_random(1, &options, side));
    CHECK(side[0] == SIDE_TRAIN);
    CHECK_OK(split_random(0, &options, side));

    int32_t group[N], fold[N];
    for (int i = 0; i < N; i++) group[i] = i * 7 % GROUPS;
    CHECK_OK(split_by_group(group, N, GROUPS, &options, side, &held));
    CHECK(held == 7); // ceil(23 * 0.3); of them ceil(7 * 2 / 3) = 5 test
    int side_of[GROUPS], per_side[3] = {0}, torn = 0;
    memset(side_of, -1, sizeof side_of);
    for (int i = 0; i < N; i++) {
        if (side_of[group[i]] < 0) per_side[side[i]]++;
        torn += side_of[group[i]] >= 0 && side_of[group[i]] != side[i];
        side_of[group[i]] = side[i];
    }
    CHECK(torn == 0 && per_side[SIDE_TEST] == 5 && per_side[SIDE_VALIDATION] == 2 && per_side[SIDE_TRAIN] == 16);
    memset(group, 0, sizeof group);
    CHECK_OK(split_by_group(group, N, 1, &options, side, &held));
    split_count(side, N, n);
    CHECK(held == 0 && n[SIDE_TRAIN] == N);
    for (int i = 0; i < N; i++) group[i] = i % 2;
    CHECK_OK(split_by_group(group, N, 2, &options, side, &held));
    CHECK(held == 1);
    options.test = 0.95;
    CHECK_FAILS(split_by_group(group, N, 2, &options, side, &held), STATUS_INVALID, "leave something");
    options.test = NAN;
    CHECK_FAILS(split_random(N, &options, side), STATUS_INVALID, "must be >= 0");
    group[9] = 2;
    CHECK_FAILS(split_leave_out(group, N, 2, 0, side), STATUS_INVALID, "item 9 is of group 2");
    group[9] = 1;
    CHECK_OK(split_leave_out(group, N, 2, 1, side));
    split_count(side, N, n);
    CHECK(n[SIDE_VALIDATION] == 500 && side[1] == SIDE_VALIDATION);
    CHECK_FAILS(split_leave_out(group, N, 2, 2, side), STATUS_INVALID, "left out");
    CHECK_OK(split_folds(NULL, N, 0, 3, 1, fold));
    int per_fold[3] = {0};
    for (int i = 0; i < N; i++) per_fold[fold[i]]++;
    CHECK(per_fold[0] == 334 && per_fold[1] == 333 && per_fold[2] == 333);
    CHECK_FAILS(split_folds(group, N, 2, 3, 1, fold), STATUS_INVALID, "3 folds of 2 groups");

    const char *section[] = {"A1", "A2", "B1", "A1"}, *patient[] = {"A", "", NULL, "A"}, **names = NULL;
    Arena arena;
    arena_init(&arena);
    CHECK_OK(groups_number(patient, section, 4, &arena, group, &groups, &names));
    CHECK(groups == 3 && group[0] == 0 && group[1] == 1 && group[2] == 2 && group[3] == 0);
    CHECK_TEXT(names[1], "A2");
    CHECK_FAILS(groups_number(patient, NULL, 4, &arena, group, &groups, NULL), STATUS_INVALID, "item 1 has no group");
    arena_free(&arena);
    const char *train[] = {"A1", "A2", "C9"}, *test[] = {"B1"}, *both[] = {"A1"};
    size_t unused;
    CHECK_OK(split_by_names(section, 4, train, 3, NULL, 0, test, 1, side, &unused));
    CHECK(side[0] == SIDE_TRAIN && side[2] == SIDE_TEST && side[3] == SIDE_TRAIN && unused == 1);
    CHECK_FAILS(split_by_names(section, 4, train, 3, both, 1, test, 1, side, &unused), STATUS_INVALID, "\"A1\"");
    CHECK_FAILS(split_by_names(section, 4, train, 3, NULL, 0, NULL, 0, side, &unused), STATUS_NOT_FOUND, "\"B1\"");
}

int main(int argc, char **argv) {
    if (argc < 2) return printf("usage: %s REFERENCE_DIRECTORY\n", argv[0]), 2;
    Reference reference = reference_open(argv[1], "space");
    check_scipy(&reference);
    check_moran(&reference);
    reference_close(&reference);
    check_lattices();
    check_contexts();
    check_graphs();
    check_coordinates();
    check_splits();
    return check_report("space_test");
}
