// Hand-built kernels of every kind that the fuser makes, at odd sizes, size 1 and size 0, static and dynamic, in
// permuted storage orders: for the tests of all targets. Axis 0 is "spot", axis 1 "gene", both dynamic.
#ifndef STMC_TESTS_KERNEL_CATALOGUE_H
#define STMC_TESTS_KERNEL_CATALOGUE_H

#include "kernel_make.h"

enum { SPOT, GENE };

typedef VEC(Kernel *) Kernels;

static Extent fixed(int64_t n) {
    return extent_of(n);
}
static Extent dynamic(int axis) {
    return (Extent){1, axis};
}

static Expr *real(Make *m, double x) {
    return expr_const(m->job, x, T_REAL);
}
static Expr *op2(Make *m, ScalarOp op, Expr *a, Expr *b) {
    return expr_op(m->job, op, a, b, NULL);
}
static Expr *op1(Make *m, ScalarOp op, Expr *a) {
    return expr_op(m->job, op, a, NULL, NULL);
}

static const char *named(Arena *a, const char *base, int i) {
    return arena_format(a, "%s_%d", base, i);
}

// y[a, b, c] = x[a, b, c] * s[] + z[b] over three extents and a storage order each
static void add_map(Arena *a, Program *p, Kernels *out, const Extent *e, const int *order_x, const int *order_y,
                    bool bias, int i) {
    Make m = make_open(a, p, named(a, "map", i));
    int v[3];
    for (int d = 0; d < 3; d++) v[d] = make_var(&m, e[d].count, e[d].axis);
    make_outer(&m);
    int x = make_buffer(&m, T_REAL, false, 3, e, order_x), s = make_buffer(&m, T_REAL, false, 0, NULL, NULL);
    int z = make_buffer(&m, T_REAL, false, 1, &e[1], NULL), y = make_buffer(&m, T_REAL, true, 3, e, order_y);
    Expr *value = op2(&m, OP_MUL, make_at(&m, x, 3, v), make_at(&m, s, 0, NULL));
    if (bias) value = op2(&m, OP_ADD, value, make_at(&m, z, 1, &v[1]));
    make_store(&m, 0, 0, NULL, REDUCE_NONE, value, y, 3, v);
    vec_push(a, out, m.k);
}

// softmax-like rows: max, sum of exp, normalise; `inner` free variable is another one than the reduced one
static void add_rows(Arena *a, Program *p, Kernels *out, Extent rows, Extent columns, bool column_major, int i) {
    Make m = make_open(a, p, named(a, "rows", i));
    static const int swapped[2] = {1, 0};
    Extent dim[2] = {rows, columns};
    int r = make_var(&m, rows.count, rows.axis);
    make_outer(&m);
    int d = make_var(&m, columns.count, columns.axis), rd[2] = {r, d};
    int x = make_buffer(&m, T_REAL, false, 2, dim, column_major ? swapped : NULL);
    int y = make_buffer(&m, T_REAL, true, 2, dim, column_major ? swapped : NULL);
    int top = make_local(&m, T_REAL, 0, NULL), sum = make_local(&m, T_REAL, 0, NULL);
    Expr *in = make_at(&m, x, 2, rd);
    make_store(&m, 0, 1, &d, REDUCE_MAX, in, top, 0, NULL);
    Expr *e = op1(&m, OP_EXP, op2(&m, OP_SUB, in, make_at(&m, top, 0, NULL)));
    make_store(&m, 0, 1, &d, REDUCE_SUM, e, sum, 0, NULL);
    make_store(&m, 1, 1, &d, REDUCE_NONE, op2(&m, OP_DIV, e, make_at(&m, sum, 0, NULL)), y, 2, rd);
    vec_push(a, out, m.k);
}

// statistics per channel of x[b, c, i, j] under a storage order: mean and mean square, then both stored
static void add_channels(Arena *a, Program *p, Kernels *out, Extent batch, int channels, int side, const int *order,
                         int i) {
    Make m = make_open(a, p, named(a, "channels", i));
    Extent dim[4] = {batch, fixed(channels), fixed(side), fixed(side)};
    int c = make_var(&m, channels, -1);
    make_outer(&m);
    int b = make_var(&m, batch.count, batch.axis), u = make_var(&m, side, -1), w = make_var(&m, side, -1);
    int at[4] = {b, c, u, w}, reduced[3] = {b, u, w};
    int x = make_buffer(&m, T_REAL, false, 4, dim, order);
    int mean = make_buffer(&m, T_REAL, true, 1, &dim[1], NULL),
        square = make_buffer(&m, T_REAL, true, 1, &dim[1], NULL);
    int s = make_local(&m, T_REAL, 0, NULL), q = make_local(&m, T_REAL, 0, NULL);
    Expr *in = make_at(&m, x, 4, at);
    make_store(&m, 0, 3, reduced, REDUCE_SUM, in, s, 0, NULL);
    make_store(&m, 0, 3, reduced, REDUCE_SUM, op2(&m, OP_MUL, in, in), q, 0, NULL);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, op2(&m, OP_MUL, make_at(&m, s, 0, NULL), real(&m, 0.125)), mean, 1, &c);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, op2(&m, OP_ADD, make_at(&m, q, 0, NULL), make_at(&m, s, 0, NULL)), square,
               1, &c);
    vec_push(a, out, m.k);
}

// total[] = sum (x - y)^2 over everything
static void add_total(Arena *a, Program *p, Kernels *out, Extent e0, Extent e1, Reduce r, int i) {
    Make m = make_open(a, p, named(a, "total", i));
    Extent dim[2] = {e0, e1};
    make_outer(&m);
    int v[2] = {make_var(&m, e0.count, e0.axis), make_var(&m, e1.count, e1.axis)};
    int x = make_buffer(&m, T_REAL, false, 2, dim, NULL), y = make_buffer(&m, T_REAL, false, 2, dim, NULL);
    bool arg = r == REDUCE_ARGMAX || r == REDUCE_ARGMIN;
    int t = make_buffer(&m, arg ? T_I32 : T_REAL, true, 0, NULL, NULL);
    Expr *d = op2(&m, OP_SUB, make_at(&m, x, 2, v), make_at(&m, y, 2, v));
    make_store(&m, 0, 2, v, r, op2(&m, OP_MUL, d, d), t, 0, NULL);
    vec_push(a, out, m.k);
}

// pooling windows of x[b, c, i, j], stride 2, one row and column of padding, and the number of the largest
static void add_pool(Arena *a, Program *p, Kernels *out, Extent batch, int side, int window, Reduce r, bool last,
                     int i) {
    static const int nhwc[4] = {0, 2, 3, 1};
    Make m = make_open(a, p, named(a, "pool", i));
    int half = (side + 1) / 2;
    Extent in[4] = {batch, fixed(5), fixed(side), fixed(side)}, to[4] = {batch, fixed(5), fixed(half), fixed(half)};
    int b = make_var(&m, batch.count, batch.axis), c = make_var(&m, 5, -1), y = make_var(&m, half, -1),
        z = make_var(&m, half, -1);
    make_outer(&m);
    int u = make_var(&m, window, -1), w = make_var(&m, window, -1), uw[2] = {u, w}, at[4] = {b, c, y, z};
    int x = make_buffer(&m, T_REAL, false, 4, in, last ? nhwc : NULL);
    int o = make_buffer(&m, r == REDUCE_ARGMAX ? T_I32 : T_REAL, true, 4, to, last ? nhwc : NULL);
    Position q[4] = {position_var(b), position_var(c), make_affine2(y, 2, u, 1, -1, true),
                     make_affine2(z, 2, w, 1, -1, true)};
    make_store(&m, 0, 2, uw, r, make_read(&m, x, 4, q), o, 4, at);
    vec_push(a, out, m.k);
}

// the gradient of a strided window: x[(j + 1 - u) / 2 exactly] summed over u
static void add_mirror(Arena *a, Program *p, Kernels *out, int side, int i) {
    Make m = make_open(a, p, named(a, "mirror", i));
    int half = (side + 1) / 2;
    Extent in[2] = {fixed(7), fixed(half)}, to[2] = {fixed(7), fixed(side)};
    int c = make_var(&m, 7, -1), j = make_var(&m, side, -1), at[2] = {c, j};
    make_outer(&m);
    int u = make_var(&m, 3, -1);
    int x = make_buffer(&m, T_REAL, false, 2, in, NULL), o = make_buffer(&m, T_REAL, true, 2, to, NULL);
    Position q[2] = {position_var(c), make_affine2(j, 1, u, -1, 1, true)};
    q[1].divide = 2;
    q[1].exact = true;
    make_store(&m, 0, 1, &u, REDUCE_SUM, make_read(&m, x, 2, q), o, 2, at);
    vec_push(a, out, m.k);
}

// y[n] = x[n // 5 % 3, n % 5]
static void add_divided(Arena *a, Program *p, Kernels *out, int count, int i) {
    Make m = make_open(a, p, named(a, "divided", i));
    Extent in[2] = {fixed(3), fixed(5)}, to = fixed(count);
    int n = make_var(&m, count, -1);
    make_outer(&m);
    int x = make_buffer(&m, T_REAL, false, 2, in, NULL), o = make_buffer(&m, T_REAL, true, 1, &to, NULL);
    Position q[2] = {position_var(n), position_var(n)};
    q[0].divide = 5;
    q[0].modulo = 3;
    q[1].modulo = 5;
    make_store(&m, 0, 0, NULL, REDUCE_NONE, make_read(&m, x, 2, q), o, 1, &n);
    vec_push(a, out, m.k);
}

// y[e, d] = x[index[e], d] (rows), y[e] = x[e, index[e]] (columns); positions may be outside
static void add_gather(Arena *a, Program *p, Kernels *out, Extent edges, int width, bool rows, int i) {
    Make m = make_open(a, p, named(a, "gather", i));
    int e = make_var(&m, edges.count, edges.axis), d = make_var(&m, width, -1), ed[2] = {e, d};
    make_outer(&m);
    Extent table[2] = {fixed(6), fixed(width)}, to[2] = {edges, fixed(width)}, wide[2] = {edges, fixed(7)};
    int index = make_buffer(&m, T_I32, false, 1, &edges, NULL);
    int x = make_buffer(&m, T_REAL, false, 2, rows ? table : wide, NULL),
        o = make_buffer(&m, T_REAL, true, 2, to, NULL);
    Position q[2] = {position_var(e), position_var(d)}, *g = &q[rows ? 0 : 1];
    *g = position_const(0);
    g->gather = make_at(&m, index, 1, &e);
    g->guarded = true;
    Expr *value = op2(&m, OP_ADD, make_read(&m, x, 2, q), expr_cast(m.job, T_REAL, expr_index(m.job, d)));
    make_store(&m, 0, 0, NULL, REDUCE_NONE, value, o, 2, ed);
    vec_push(a, out, m.k);
}

// o[index[e], d] += x[e, d], variables outer or inner
static void add_scatter(Arena *a, Program *p, Kernels *out, Extent edges, int width, bool outer, int i) {
    Make m = make_open(a, p, named(a, "scatter", i));
    int e = make_var(&m, edges.count, edges.axis), d = make_var(&m, width, -1), ed[2] = {e, d};
    if (outer) make_outer(&m);
    Extent table[2] = {fixed(6), fixed(width)}, from[2] = {edges, fixed(width)};
    int index = make_buffer(&m, T_I32, false, 1, &edges, NULL);
    int x = make_buffer(&m, T_REAL, false, 2, from, NULL), o = make_buffer(&m, T_REAL, true, 2, table, NULL);
    Position q[2] = {position_const(0), position_var(d)};
    q[0].gather = make_at(&m, index, 1, &e);
    q[0].guarded = true;
    int n = outer ? 0 : 2;
    make_stage(&m, n, n, ed, REDUCE_NONE, make_at(&m, x, 2, ed), o, 2, q)->accumulate = true;
    vec_push(a, out, m.k);
}

// a contraction with an epilogue, as the fuser makes it: o[i, j] = max(sum[k] x[i, k] * w[j, k] + bias[j], 0)
static void add_matmul(Arena *a, Program *p, Kernels *out, Extent rows, int columns, int depth, int i) {
    Make m = make_open(a, p, named(a, "matmul", i));
    int r = make_var(&m, rows.count, rows.axis), c = make_var(&m, columns, -1), k = make_var(&m, depth, -1);
    int v[3] = {r, c, k}, ck[2] = {c, k}, rk[2] = {r, k};
    Extent dx[2] = {rows, fixed(depth)}, dw[2] = {fixed(columns), fixed(depth)}, to[2] = {rows, fixed(columns)};
    int x = make_buffer(&m, T_REAL, false, 2, dx, NULL), w = make_buffer(&m, T_REAL, false, 2, dw, NULL);
    int bias = make_buffer(&m, T_REAL, false, 1, to + 1, NULL), o = make_buffer(&m, T_REAL, true, 2, to, NULL);
    int l = make_local(&m, T_REAL, 2, to);
    make_store(&m, 2, 3, v, REDUCE_SUM, op2(&m, OP_MUL, make_at(&m, x, 2, rk), make_at(&m, w, 2, ck)), l, 2, v);
    Expr *y = op2(&m, OP_ADD, make_at(&m, l, 2, v), make_at(&m, bias, 1, &c));
    make_store(&m, 2, 2, v, REDUCE_NONE, op2(&m, OP_MAX, y, real(&m, 0)), o, 2, v);
    m.k->kind = KERNEL_CONTRACTION;
    m.k->role[r] = ROLE_M;
    m.k->role[c] = ROLE_N;
    m.k->role[k] = ROLE_K;
    vec_push(a, out, m.k);
}

// the three convolutions: 0 forward, 1 gradient of x, 2 gradient of the weights, as contractions with results as outer
// variables
static void add_convolution(Arena *a, Program *p, Kernels *out, Extent batch, int in, int o, int side, int window,
                            int stride, int kind, bool last, int i) {
    static const int nhwc[4] = {0, 2, 3, 1};
    Make m = make_open(a, p, named(a, "convolution", i));
    int pad = window / 2, half = (side + 2 * pad - window) / stride + 1;
    Extent dx[4] = {batch, fixed(in), fixed(side), fixed(side)}, dy[4] = {batch, fixed(o), fixed(half), fixed(half)};
    Extent dw[4] = {fixed(o), fixed(in), fixed(window), fixed(window)};
    const Extent *first = kind == 0 ? dy : kind == 1 ? dx : dw, *free = first;
    int v[4], r[3], n = 0;
    for (int d = 0; d < 4; d++) v[d] = make_var(&m, free[d].count, free[d].axis);
    make_outer(&m);
    int role[3][4] = {
        {ROLE_M, ROLE_N, ROLE_M, ROLE_M}, {ROLE_M, ROLE_N, ROLE_M, ROLE_M}, {ROLE_M, ROLE_N, ROLE_N, ROLE_N}};
    for (int d = 0; d < 4; d++) m.k->role[v[d]] = (Role)role[kind][d];
    const Extent dr[3][3] = {{dx[1], dw[2], dw[3]}, {dy[1], dw[2], dw[3]}, {batch, dy[2], dy[3]}};
    for (n = 0; n < 3; n++) r[n] = make_var(&m, dr[kind][n].count, dr[kind][n].axis), m.k->role[r[n]] = ROLE_K;
    int A = make_buffer(&m, T_REAL, false, 4, kind == 1 ? dy : dx, last ? nhwc : NULL);
    int B = make_buffer(&m, T_REAL, false, 4, kind == 2 ? dy : dw, last && kind == 2 ? nhwc : NULL);
    int C = make_buffer(&m, T_REAL, true, 4, first, last && kind < 2 ? nhwc : NULL);
    Expr *x, *y;
    if (kind == 0) {
        Position q[4] = {position_var(v[0]), position_var(r[0]), make_affine2(v[2], stride, r[1], 1, -pad, true),
                         make_affine2(v[3], stride, r[2], 1, -pad, true)};
        int w[4] = {v[1], r[0], r[1], r[2]};
        x = make_read(&m, A, 4, q);
        y = make_at(&m, B, 4, w);
    } else if (kind == 1) {
        Position q[4] = {position_var(v[0]), position_var(r[0]), make_affine2(v[2], 1, r[1], -1, pad, true),
                         make_affine2(v[3], 1, r[2], -1, pad, true)};
        for (int d = 2; d < 4; d++) q[d].divide = stride, q[d].exact = stride > 1;
        int w[4] = {r[0], v[1], r[1], r[2]};
        x = make_read(&m, A, 4, q);
        y = make_at(&m, B, 4, w);
    } else {
        Position q[4] = {position_var(r[0]), position_var(v[1]), make_affine2(r[1], stride, v[2], 1, -pad, true),
                         make_affine2(r[2], stride, v[3], 1, -pad, true)};
        int w[4] = {r[0], v[0], r[1], r[2]};
        x = make_at(&m, B, 4, w);
        y = make_read(&m, A, 4, q);
    }
    int l = make_local(&m, T_REAL, 0, NULL);
    Expr *product = op2(&m, OP_MUL, x, y);
    if (i % 2) product = op2(&m, OP_MUL, product, real(&m, -0.5));
    make_store(&m, 0, 3, r, REDUCE_SUM, product, l, 0, NULL);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, op2(&m, OP_MAX, make_at(&m, l, 0, NULL), real(&m, -1)), C, 4, v);
    m.k->kind = KERNEL_CONTRACTION;
    vec_push(a, out, m.k);
}

// batched products with an operand computed while it is packed, a gathered one, and dynamic axes in every role:
// o[h, i, j] = sum[c] f(q[i, h, c]) * k[j, h, c] * s[h, c]
static void add_batched(Arena *a, Program *p, Kernels *out, Extent heads, Extent rows, Extent columns, Extent depth,
                        int way, int i) {
    Make m = make_open(a, p, named(a, "batched", i));
    int h = make_var(&m, heads.count, heads.axis), r = make_var(&m, rows.count, rows.axis);
    int c = make_var(&m, columns.count, columns.axis);
    make_outer(&m);
    int k = make_var(&m, depth.count, depth.axis), rhk[3] = {r, h, k}, chk[3] = {c, h, k}, hk[2] = {h, k},
        to[3] = {h, r, c};
    Extent dq[3] = {rows, heads, depth}, dk[3] = {columns, heads, depth}, ds[2] = {heads, depth},
           dim[3] = {heads, rows, columns};
    Extent table[3] = {fixed(9), heads, depth};
    int bq = make_buffer(&m, T_REAL, false, 3, way == 2 ? table : dq, NULL),
        bk = make_buffer(&m, way == 3 ? T_U8 : T_REAL, false, 3, dk, NULL);
    int bs = make_buffer(&m, T_REAL, false, 2, ds, NULL), bi = make_buffer(&m, T_I32, false, 1, &rows, NULL);
    int o = make_buffer(&m, T_REAL, true, 3, dim, NULL), l = make_local(&m, T_REAL, 0, NULL);
    Expr *q = make_at(&m, bq, 3, rhk), *x = make_at(&m, bk, 3, chk);
    if (way == 2) {
        Position g[3] = {position_const(0), position_var(h), position_var(k)};
        g[0].gather = make_at(&m, bi, 1, &r);
        g[0].guarded = true;
        q = make_read(&m, bq, 3, g);
    }
    if (way == 1) q = op2(&m, OP_MAX, q, real(&m, 0));
    if (way == 3) x = expr_cast(m.job, T_REAL, x);
    Expr *product = op2(&m, OP_MUL, op2(&m, OP_MUL, q, make_at(&m, bs, 2, hk)), x);
    make_store(&m, 0, 1, &k, REDUCE_SUM, way == 4 ? op2(&m, OP_MUL, q, x) : product, l, 0, NULL);
    Expr *y = op2(&m, OP_ADD, make_at(&m, l, 0, NULL), expr_cast(m.job, T_REAL, expr_index(m.job, c)));
    make_store(&m, 0, 0, NULL, REDUCE_NONE, y, o, 3, to);
    m.k->kind = KERNEL_CONTRACTION;
    m.k->role[h] = ROLE_BATCH;
    m.k->role[r] = ROLE_M;
    m.k->role[c] = ROLE_N;
    m.k->role[k] = ROLE_K;
    vec_push(a, out, m.k);
}

// locals with dimensions: row scores s[j], their sum, weighted sum of v[j, d]
static void add_attention(Arena *a, Program *p, Kernels *out, Extent queries, Extent keys, int width, int i) {
    Make m = make_open(a, p, named(a, "attention", i));
    int q = make_var(&m, queries.count, queries.axis);
    make_outer(&m);
    int j = make_var(&m, keys.count, keys.axis), c = make_var(&m, width, -1), d = make_var(&m, width, -1);
    Extent dq[2] = {queries, fixed(width)}, dk[2] = {keys, fixed(width)};
    int bq = make_buffer(&m, T_REAL, false, 2, dq, NULL), bk = make_buffer(&m, T_REAL, false, 2, dk, NULL);
    int bv = make_buffer(&m, T_REAL, false, 2, dk, NULL), o = make_buffer(&m, T_REAL, true, 2, dq, NULL);
    int s = make_local(&m, T_REAL, 1, &keys), t = make_local(&m, T_REAL, 0, NULL);
    int qc[2] = {q, c}, jc[2] = {j, c}, jd[2] = {j, d}, qd[2] = {q, d}, dj[2] = {d, j};
    make_store(&m, 1, 2, jc, REDUCE_SUM, op2(&m, OP_MUL, make_at(&m, bq, 2, qc), make_at(&m, bk, 2, jc)), s, 1, &j);
    Expr *w = op1(&m, OP_SIGMOID, make_at(&m, s, 1, &j));
    make_store(&m, 0, 1, &j, REDUCE_SUM, w, t, 0, NULL);
    Expr *n = op2(&m, OP_DIV, w, make_at(&m, t, 0, NULL));
    make_store(&m, 1, 2, dj, REDUCE_SUM, op2(&m, OP_MUL, n, make_at(&m, bv, 2, jd)), o, 2, qd);
    vec_push(a, out, m.k);
}

// dropout with u8 images: o[a, b] = random < 0.5 ? x / 255 : 0, and integer work on the side
static void add_random(Arena *a, Program *p, Kernels *out, Extent e0, Extent e1, const int *order, int i) {
    Make m = make_open(a, p, named(a, "random", i));
    int v[2] = {make_var(&m, e0.count, e0.axis), make_var(&m, e1.count, e1.axis)};
    make_outer(&m);
    Extent dim[2] = {e0, e1};
    int seed = make_buffer(&m, T_I32, false, 0, NULL, NULL), step = make_buffer(&m, T_I32, false, 0, NULL, NULL);
    int x = make_buffer(&m, T_U8, false, 2, dim, order), o = make_buffer(&m, T_REAL, true, 2, dim, order);
    int mask = make_buffer(&m, T_BOOL, true, 2, dim, order), sum = make_buffer(&m, T_I64, true, 2, dim, NULL);
    m.k->scalar_seed = seed;
    m.k->scalar_step = step;
    Expr *keep = op2(&m, OP_LT, expr_random(m.job, 3), real(&m, 0.5));
    Expr *pixel = op2(&m, OP_MUL, expr_cast(m.job, T_REAL, make_at(&m, x, 2, v)), real(&m, 1 / 256.0));
    make_store(&m, 0, 0, NULL, REDUCE_NONE, expr_op(m.job, OP_SELECT, keep, pixel, real(&m, 0)), o, 2, v);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, keep, mask, 2, v);
    Expr *n = expr_cast(m.job, T_I64, make_at(&m, x, 2, v)), *k = expr_cast(m.job, T_I64, expr_index(m.job, v[1]));
    Expr *shift = op2(&m, OP_ISUB, k, expr_const(m.job, 3, T_I64));
    n = op2(&m, OP_IADD, op2(&m, OP_IDIV, n, shift), op2(&m, OP_IMOD, n, shift));
    make_store(&m, 0, 0, NULL, REDUCE_NONE, n, sum, 2, v);
    vec_push(a, out, m.k);
}

// column sums x[r, c] over rows, with the rows dynamic
static void add_columns(Arena *a, Program *p, Kernels *out, Extent rows, Extent columns, Reduce r, int i) {
    Make m = make_open(a, p, named(a, "columns", i));
    int c = make_var(&m, columns.count, columns.axis);
    make_outer(&m);
    int row = make_var(&m, rows.count, rows.axis), rc[2] = {row, c};
    Extent dim[2] = {rows, columns};
    int x = make_buffer(&m, T_REAL, false, 2, dim, NULL), o = make_buffer(&m, T_REAL, true, 1, &columns, NULL);
    make_store(&m, 0, 1, &row, r, make_at(&m, x, 2, rc), o, 1, &c);
    vec_push(a, out, m.k);
}

static void catalogue_kernels(Arena *a, Program *p, Kernels *k) {
    static const int orders[4][3] = {{0, 1, 2}, {2, 1, 0}, {0, 2, 1}, {1, 2, 0}};
    static const int sizes[8][3] = {{3, 5, 7},   {1, 1, 1},  {2, 0, 3},  {1, 33, 1},
                                    {4, 16, 32}, {5, 1, 67}, {64, 3, 3}, {2, 2, 130}};
    for (int i = 0; i < 32; i++) {
        Extent e[3];
        for (int d = 0; d < 3; d++) e[d] = fixed(sizes[i % 8][d]);
        if (i % 3 == 1) e[0] = dynamic(SPOT);
        if (i % 5 == 2) e[2] = (Extent){2, GENE};
        add_map(a, p, k, e, orders[i / 8], orders[i / 8 * 3 % 4 + (i & 1) * (i / 8 == 0)], i % 2, i);
    }
    for (int i = 0; i < 8; i++)
        add_rows(a, p, k, i & 1 ? dynamic(SPOT) : fixed(5), i & 2 ? dynamic(GENE) : fixed(37), i & 4, i);
    static const int nchw[4] = {0, 1, 2, 3}, nhwc[4] = {0, 2, 3, 1};
    for (int i = 0; i < 4; i++)
        add_channels(a, p, k, i & 1 ? dynamic(SPOT) : fixed(9), i & 2 ? 19 : 32, 6, i & 1 ? nhwc : nchw, i);
    add_channels(a, p, k, fixed(16), 3, 31, nchw, 4);
    add_channels(a, p, k, fixed(16), 3, 31, nhwc, 5);
    static const Reduce reduces[] = {REDUCE_SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_ARGMAX, REDUCE_ARGMIN};
    for (int i = 0; i < 5; i++) {
        add_total(a, p, k, fixed(3), fixed(11), reduces[i], i);
        add_total(a, p, k, dynamic(SPOT), dynamic(GENE), reduces[i], 5 + i);
        add_total(a, p, k, fixed(64), fixed(100), reduces[i], 10 + i);
        add_total(a, p, k, fixed(1), fixed(9001), reduces[i], 15 + i);
    }
    static const Reduce pools[] = {REDUCE_MAX, REDUCE_SUM, REDUCE_ARGMAX};
    for (int i = 0; i < 12; i++)
        add_pool(a, p, k, i & 1 ? dynamic(SPOT) : fixed(2), i & 1 ? 9 : 34, i < 6 ? 2 : 3, pools[i % 3], i & 2, i);
    for (int i = 0; i < 3; i++) add_mirror(a, p, k, 1 + 20 * i, i);
    for (int i = 0; i < 3; i++) add_divided(a, p, k, 1 + 22 * i, i);
    for (int i = 0; i < 6; i++) add_gather(a, p, k, i & 1 ? dynamic(SPOT) : fixed(21), i < 2 ? 5 : 32, i & 2, i);
    for (int i = 0; i < 4; i++) add_scatter(a, p, k, i & 1 ? dynamic(SPOT) : fixed(21), 35, i & 2, i);
    for (int i = 0; i < 4; i++) add_matmul(a, p, k, i & 1 ? dynamic(SPOT) : fixed(6), i & 2 ? 33 : 4, 7 + 16 * i, i);
    for (int i = 0; i < 12; i++)
        add_convolution(a, p, k, i & 1 ? dynamic(SPOT) : fixed(2), 5, i % 5 + 3, 11, i % 4 == 3 ? 1 : 3,
                        1 + (i & 2) / 2, i % 3, i >= 6, i);
    for (int i = 0; i < 10; i++) {
        Extent e[4] = {fixed(3), fixed(7), fixed(19), fixed(24)};
        if (i >= 5) e[i % 4] = dynamic(SPOT);
        if (i >= 7) e[(i + 1) % 4] = dynamic(GENE);
        add_batched(a, p, k, e[0], e[1], e[2], e[3], i % 5, i);
    }
    add_attention(a, p, k, fixed(5), fixed(19), 8, 0);
    add_attention(a, p, k, dynamic(SPOT), dynamic(SPOT), 24, 1);
    static const int swapped[2] = {1, 0};
    for (int i = 0; i < 4; i++)
        add_random(a, p, k, i & 1 ? dynamic(SPOT) : fixed(9), fixed(21), i & 2 ? swapped : NULL, i);
    for (int i = 0; i < 6; i++)
        add_columns(a, p, k, i & 1 ? dynamic(SPOT) : fixed(50), i & 2 ? dynamic(GENE) : fixed(70),
                    i < 4 ? REDUCE_SUM : REDUCE_PROD, i);
    add_columns(a, p, k, fixed(700), fixed(3), REDUCE_SUM, 6);
}

static Program *catalogue_program(Arena *a, bool real64) {
    Program *p = NEW(a, Program);
    p->arena = a;
    p->names = names_new(a);
    p->name = "kernels";
    p->real64 = real64;
    p->scalar_seed = p->scalar_step = -1;
    vec_push(a, &p->axis, ((Axis){.name = "spot", .dynamic = true, .count = 32}));
    vec_push(a, &p->axis, ((Axis){.name = "gene", .dynamic = true, .count = 100}));
    return p;
}

#endif
