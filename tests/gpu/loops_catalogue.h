// Kernels large enough that the CUDA target cuts their reductions into pieces, spreads rows over several warps, walks
// columns with vectors and moves large locals to memory. For kernels_test.c.
#ifndef STMC_TESTS_LOOPS_CATALOGUE_H
#define STMC_TESTS_LOOPS_CATALOGUE_H

#include "kernel_catalogue.h"

// Statistics of the columns of x[n, c] as a batchnorm has them: two sums that do not follow each other in the list of
// stages, numbers of each column computed from them, one buffer updated in place.
static void add_statistics(Arena *a, Program *p, Kernels *out, Extent rows, int64_t columns, bool column_major, int i) {
    static const int swapped[2] = {1, 0};
    Make m = make_open(a, p, named(a, "statistics", i));
    Extent dim[2] = {rows, fixed(columns)};
    int c = make_var(&m, columns, -1);
    make_outer(&m);
    int n = make_var(&m, rows.count, rows.axis), n2 = make_var(&m, rows.count, rows.axis);
    int x = make_buffer(&m, T_REAL, false, 2, dim, column_major ? swapped : NULL);
    int center = make_buffer(&m, T_REAL, false, 1, &dim[1], NULL);
    int running = make_buffer(&m, T_REAL, true, 1, &dim[1], NULL),
        sum = make_buffer(&m, T_REAL, true, 1, &dim[1], NULL);
    int top = make_buffer(&m, T_REAL, true, 1, &dim[1], NULL);
    int l0 = make_local(&m, T_REAL, 0, NULL), l1 = make_local(&m, T_REAL, 0, NULL);
    int at[2] = {n, c}, at2[2] = {n2, c};
    m.k->buffer.at[running].is_read = true;
    Expr *d = op2(&m, OP_SUB, make_at(&m, x, 2, at), make_at(&m, center, 1, &c));
    Expr *d2 = op2(&m, OP_SUB, make_at(&m, x, 2, at2), make_at(&m, center, 1, &c));
    make_store(&m, 0, 1, &n, REDUCE_SUM, op2(&m, OP_MUL, d, d), l0, 0, NULL);
    Expr *old = make_at(&m, running, 1, &c);
    Expr *next = op2(&m, OP_ADD, op2(&m, OP_MUL, real(&m, 0.75), old), make_at(&m, l0, 0, NULL));
    make_store(&m, 0, 0, NULL, REDUCE_NONE, next, l1, 0, NULL);
    make_store(&m, 0, 1, &n2, REDUCE_SUM, d2, sum, 1, &c);
    make_store(&m, 0, 1, &n, REDUCE_MAX, make_at(&m, x, 2, at), top, 1, &c);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, make_at(&m, l1, 0, NULL), running, 1, &c);
    vec_push(a, out, m.k);
}

// All of x[n, c]: sum, product of signs, largest, smallest, first largest.
static void add_extremes(Arena *a, Program *p, Kernels *out, Extent rows, Extent columns, Reduce reduce, int i) {
    Make m = make_open(a, p, named(a, "extreme", i));
    Extent dim[2] = {rows, columns};
    make_outer(&m);
    int v[2] = {make_var(&m, rows.count, rows.axis), make_var(&m, columns.count, columns.axis)};
    int x = make_buffer(&m, T_REAL, false, 2, dim, NULL);
    bool arg = reduce == REDUCE_ARGMAX || reduce == REDUCE_ARGMIN;
    int y = make_buffer(&m, arg ? T_I32 : T_REAL, true, 0, NULL, NULL);
    Expr *in = make_at(&m, x, 2, v);
    if (reduce == REDUCE_PROD) // exact
        in = expr_op(m.job, OP_SELECT, op2(&m, OP_LT, in, real(&m, 0.3)), real(&m, -1), real(&m, 1));
    make_store(&m, 0, 2, v, reduce, in, y, 0, NULL);
    vec_push(a, out, m.k);
}

// Sums of columns into an array, their squares added up, the array divided by that: free variables in all stages but
// one.
static void add_projection(Arena *a, Program *p, Kernels *out, Extent rows, int64_t columns, int i) {
    Make m = make_open(a, p, named(a, "projection", i));
    Extent dim[2] = {rows, fixed(columns)};
    make_outer(&m);
    int n = make_var(&m, rows.count, rows.axis), c = make_var(&m, columns, -1), c2 = make_var(&m, columns, -1);
    int c3 = make_var(&m, columns, -1), at[2] = {n, c}, first[2] = {c, n};
    int x = make_buffer(&m, T_REAL, false, 2, dim, NULL), y = make_buffer(&m, T_REAL, true, 1, &dim[1], NULL);
    int l0 = make_local(&m, T_REAL, 1, &dim[1]), l1 = make_local(&m, T_REAL, 0, NULL);
    make_store(&m, 1, 2, first, REDUCE_SUM, make_at(&m, x, 2, at), l0, 1, &c);
    Expr *e = make_at(&m, l0, 1, &c2);
    make_store(&m, 0, 1, &c2, REDUCE_SUM, op2(&m, OP_MUL, e, e), l1, 0, NULL);
    Expr *scale = op2(&m, OP_ADD, real(&m, 1), make_at(&m, l1, 0, NULL));
    make_store(&m, 1, 1, &c3, REDUCE_NONE, op2(&m, OP_DIV, make_at(&m, l0, 1, &c3), scale), y, 1, &c3);
    vec_push(a, out, m.k);
}

// Rows kept in a local, their mean and the first largest taken, written in reverse order: elements pass from thread to
// thread.
static void add_mirrored_rows(Arena *a, Program *p, Kernels *out, Extent rows, int64_t columns, bool column_major,
                              int i) {
    static const int swapped[2] = {1, 0};
    Make m = make_open(a, p, named(a, "mirrored", i));
    Extent dim[2] = {rows, fixed(columns)};
    int r = make_var(&m, rows.count, rows.axis);
    make_outer(&m);
    int d = make_var(&m, columns, -1), rd[2] = {r, d};
    int x = make_buffer(&m, T_REAL, false, 2, dim, column_major ? swapped : NULL);
    int y = make_buffer(&m, T_REAL, true, 2, dim, column_major ? swapped : NULL);
    int first = make_buffer(&m, T_I32, true, 1, dim, NULL);
    int l0 = make_local(&m, T_REAL, 1, &dim[1]), l1 = make_local(&m, T_REAL, 0, NULL);
    Expr *in = make_at(&m, x, 2, rd);
    make_store(&m, 1, 1, &d, REDUCE_NONE, op2(&m, OP_MUL, in, in), l0, 1, &d);
    make_store(&m, 0, 1, &d, REDUCE_SUM, make_at(&m, l0, 1, &d), l1, 0, NULL);
    make_store(&m, 0, 1, &d, REDUCE_ARGMAX, in, first, 1, &r);
    Position back = make_affine(d, -1, columns - 1, false);
    Expr *value =
        op2(&m, OP_SUB, make_read(&m, l0, 1, &back), op2(&m, OP_MUL, real(&m, 1.0 / 64), make_at(&m, l1, 0, NULL)));
    make_store(&m, 1, 1, &d, REDUCE_NONE, value, y, 2, rd);
    vec_push(a, out, m.k);
}

// Rows turned round in a local, with nothing between the stages that makes threads wait.
static void add_turned(Arena *a, Program *p, Kernels *out, Extent rows, int64_t columns, int i) {
    Make m = make_open(a, p, named(a, "turned", i));
    Extent dim[2] = {rows, fixed(columns)};
    int r = make_var(&m, rows.count, rows.axis);
    make_outer(&m);
    int d = make_var(&m, columns, -1), rd[2] = {r, d};
    int x = make_buffer(&m, T_REAL, false, 2, dim, NULL), y = make_buffer(&m, T_REAL, true, 2, dim, NULL);
    int l = make_local(&m, T_REAL, 1, &dim[1]);
    Expr *in = make_at(&m, x, 2, rd);
    make_store(&m, 1, 1, &d, REDUCE_NONE, op2(&m, OP_MUL, in, in), l, 1, &d);
    Position back = make_affine(d, -1, columns - 1, false);
    make_store(&m, 1, 1, &d, REDUCE_NONE, op2(&m, OP_SUB, make_read(&m, l, 1, &back), in), y, 2, rd);
    vec_push(a, out, m.k);
}

// Largest and first largest of windows of 2 x 2 in [b, i, j, c] order, c a multiple of the vector.
static void add_wide_pool(Arena *a, Program *p, Kernels *out, Extent batch, int64_t size, int64_t channels, int i) {
    static const int order[4] = {0, 2, 3, 1};
    Make m = make_open(a, p, named(a, "wide_pool", i));
    Extent in[4] = {batch, fixed(channels), fixed(2 * size + 1), fixed(2 * size + 1)};
    Extent to[4] = {batch, fixed(channels), fixed(size), fixed(size)};
    int b = make_var(&m, batch.count, batch.axis), vi = make_var(&m, size, -1), vj = make_var(&m, size, -1);
    int c = make_var(&m, channels, -1);
    make_outer(&m);
    int u[2] = {make_var(&m, 2, -1), make_var(&m, 2, -1)}, at[4] = {b, c, vi, vj};
    int x = make_buffer(&m, T_REAL, false, 4, in, order), number = make_buffer(&m, T_I32, true, 4, to, order);
    int y = make_buffer(&m, T_REAL, true, 4, to, order), l = make_local(&m, T_REAL, 0, NULL);
    Position from[4] = {make_affine(b, 1, 0, false), make_affine(c, 1, 0, false),
                        make_affine2(vi, 2, u[0], 1, 0, false), make_affine2(vj, 2, u[1], 1, 0, false)};
    Expr *e = make_read(&m, x, 4, from);
    make_store(&m, 0, 2, u, REDUCE_MAX, e, l, 0, NULL);
    make_store(&m, 0, 2, u, REDUCE_ARGMAX, e, number, 4, at);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, make_at(&m, l, 0, NULL), y, 4, at);
    vec_push(a, out, m.k);
}

// Columns of x[n, c] minus their mean, times a number of the column, to two results: few outer iterations and maps over
// many elements behind their reductions.
static void add_centred(Arena *a, Program *p, Kernels *out, Extent rows, int64_t columns, bool column_major, int i) {
    static const int swapped[2] = {1, 0};
    Make m = make_open(a, p, named(a, "centred", i));
    Extent dim[2] = {rows, fixed(columns)};
    int c = make_var(&m, columns, -1);
    make_outer(&m);
    int n = make_var(&m, rows.count, rows.axis), at[2] = {n, c};
    int x = make_buffer(&m, T_REAL, false, 2, dim, column_major ? swapped : NULL);
    int mean = make_buffer(&m, T_REAL, true, 1, &dim[1], NULL);
    int y = make_buffer(&m, T_REAL, true, 2, dim, column_major ? swapped : NULL);
    int z = make_buffer(&m, T_REAL, true, 2, dim, NULL);
    int l0 = make_local(&m, T_REAL, 0, NULL), l1 = make_local(&m, T_REAL, 0, NULL),
        l2 = make_local(&m, T_REAL, 0, NULL);
    Expr *in = make_at(&m, x, 2, at);
    make_store(&m, 0, 1, &n, REDUCE_SUM, in, l0, 0, NULL);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, op2(&m, OP_MUL, real(&m, 1.0 / 1024), make_at(&m, l0, 0, NULL)), l1, 0,
               NULL);
    Expr *d = op2(&m, OP_SUB, in, make_at(&m, l1, 0, NULL));
    make_store(&m, 0, 1, &n, REDUCE_MAX, d, l2, 0, NULL);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, make_at(&m, l1, 0, NULL), mean, 1, &c);
    make_store(&m, 1, 1, &n, REDUCE_NONE, op2(&m, OP_MUL, d, make_at(&m, l2, 0, NULL)), y, 2, at);
    make_store(&m, 1, 1, &n, REDUCE_NONE, op2(&m, OP_ADD, d, make_at(&m, mean, 1, &c)), z, 2, at);
    vec_push(a, out, m.k);
}

// Rows over two dynamic axes, stored the other way round: a fixed grid walks them. Each row is turned round in a local.
static void add_walked(Arena *a, Program *p, Kernels *out, int64_t columns, int i) {
    Make m = make_open(a, p, named(a, "walked", i));
    Extent in[3] = {dynamic(SPOT), dynamic(GENE), fixed(columns)},
           to[3] = {dynamic(GENE), dynamic(SPOT), fixed(columns)};
    int s = make_var(&m, 1, SPOT), g = make_var(&m, 1, GENE);
    make_outer(&m);
    int d = make_var(&m, columns, -1), at[3] = {s, g, d};
    int x = make_buffer(&m, T_REAL, false, 3, in, NULL), y = make_buffer(&m, T_REAL, true, 3, to, NULL);
    int l0 = make_local(&m, T_REAL, 1, &in[2]), l1 = make_local(&m, T_REAL, 0, NULL);
    Expr *e = make_at(&m, x, 3, at);
    make_store(&m, 1, 1, &d, REDUCE_NONE, op2(&m, OP_MUL, e, e), l0, 1, &d);
    make_store(&m, 0, 1, &d, REDUCE_MAX, make_at(&m, l0, 1, &d), l1, 0, NULL);
    Position back = make_affine(d, -1, columns - 1, false);
    Expr *value = op2(&m, OP_SUB, make_read(&m, l0, 1, &back), make_at(&m, l1, 0, NULL));
    int swapped[3] = {g, s, d};
    make_store(&m, 1, 1, &d, REDUCE_NONE, value, y, 3, swapped);
    vec_push(a, out, m.k);
}

static void loops_kernels(Arena *a, Program *p, Kernels *out) {
    Extent large = {70, SPOT};
    add_statistics(a, p, out, fixed(3000), 32, false, 0);
    add_statistics(a, p, out, large, 12, false, 1);
    add_statistics(a, p, out, fixed(9000), 5, true, 2);
    add_statistics(a, p, out, fixed(300), 40, false, 3);
    static const Reduce reduce[] = {REDUCE_SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_ARGMAX, REDUCE_ARGMIN};
    for (int i = 0; i < 6; i++)
        add_extremes(a, p, out, i % 2 ? large : fixed(130), fixed(i < 3 ? 97 : 64), reduce[i], i);
    add_extremes(a, p, out, large, dynamic(GENE), REDUCE_SUM, 6);
    add_projection(a, p, out, fixed(3001), 24, 0);
    add_projection(a, p, out, large, 6, 1);
    add_projection(a, p, out, dynamic(GENE), 100, 2);
    static const int64_t columns[] = {7, 64, 300, 1000, 2051};
    for (int i = 0; i < 5; i++) {
        add_mirrored_rows(a, p, out, dynamic(SPOT), columns[i], false, 2 * i);
        add_mirrored_rows(a, p, out, dynamic(GENE), columns[i], true, 2 * i + 1);
    }
    add_mirrored_rows(a, p, out, fixed(2), 9000, false, 10); // larger than shared memory
    add_rows(a, p, out, fixed(6), fixed(768), false, 100);
    add_rows(a, p, out, fixed(40), fixed(260), true, 101);
    for (int i = 0; i < 5; i++) add_turned(a, p, out, dynamic(SPOT), columns[i], i);
    add_walked(a, p, out, 100, 0);
    add_walked(a, p, out, 6, 1);
    add_centred(a, p, out, fixed(4001), 20, false, 0);
    add_centred(a, p, out, (Extent){600, SPOT}, 9, true, 1);
    add_centred(a, p, out, fixed(300), 8, false, 2);
    add_wide_pool(a, p, out, dynamic(SPOT), 5, 64, 0);
    add_wide_pool(a, p, out, fixed(2), 17, 32, 1);
}

#endif
