// Contractions that the template is tested with: products in every storage order, convolutions and their gradients.
#ifndef CONTRACT_CASES_H
#define CONTRACT_CASES_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../../../kernels/contract.h"

typedef struct CaseOperand {
    char contiguous;   // 'K', 'M' (its own group) or 0: nothing is contiguous
    int vector;        // elements that copies along it may move at most
    int guards, exact; // in use
    int k_indices;     // indices of k that it needs; 0: all that k has
    int64_t elements;
} CaseOperand;
typedef struct Case {
    char name[80];
    ContractWords words;
    int batch, m, n, k, e0; // run-time sizes
    int k_indices;
    CaseOperand a, b;
    int64_t d_elements;
    int d_vector;
} Case;
enum { CASES = 64 };

static inline int case_vector(int n) {
    return n % 8 == 0 ? 8 : n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1;
}
static inline ContractOperand case_operand(void) {
    ContractOperand o;
    memset(&o, 0, sizeof o);
    for (int g = 0; g < 3; g++) o.guard[g] = contract_no_guard(), o.step[g] = contract_divide(1);
    return o;
}
static inline ContractGroup case_group(int count, int e0, int e1, int e2, int e3, int dynamic) {
    int extent[4] = {e0, e1, e2, e3};
    return contract_group(count, extent, dynamic);
}

// batch x m x n x k; a: 'K' [b,m,k] or 'M' [b,k,m]; b likewise. `dynamic`: the number of rows is 3 * e0.
static inline Case case_product(int batch, int m, int n, int k, char a, char b, int dynamic) {
    Case c;
    memset(&c, 0, sizeof c);
    snprintf(c.name, sizeof c.name, "product %dx%dx%dx%d %c%c%s", batch, m, n, k, a, b, dynamic ? " dynamic" : "");
    ContractWords *w = &c.words;
    w->batch = case_group(batch == 1 ? 0 : 1, batch, 0, 0, 0, -1);
    w->m = case_group(1, dynamic ? 3 : m, 0, 0, 0, dynamic ? 0 : -1);
    w->n = case_group(1, n, 0, 0, 0, -1);
    w->k = case_group(1, k, 0, 0, 0, -1);
    c.k_indices = 1;
    c.batch = batch, c.m = m, c.n = n, c.k = k, c.e0 = dynamic ? m / 3 : 1;
    w->a = w->b = case_operand();
    w->a.batch[3] = m * k, w->a.own[3] = a == 'K' ? k : 1, w->a.k[3] = a == 'K' ? 1 : m;
    w->b.batch[3] = n * k, w->b.own[3] = b == 'K' ? k : 1, w->b.k[3] = b == 'K' ? 1 : n;
    w->d.batch[3] = m * n, w->d.m[3] = n, w->d.n[3] = 1;
    c.a = (CaseOperand){a, case_vector(a == 'K' ? k : m), 0, 0, 0, (int64_t)batch * m * k};
    c.b = (CaseOperand){b, case_vector(b == 'K' ? k : n), 0, 0, 0, (int64_t)batch * n * k};
    c.d_elements = (int64_t)batch * m * n;
    c.d_vector = case_vector(n);
    return c;
}

typedef struct Convolution {
    int batch, height, width, in, out, window, stride, pad;
} Convolution;
static inline int case_out(int size, const Convolution *v) {
    return (size + 2 * v->pad - v->window) / v->stride + 1;
}

// y[b,i,j,o] = sum[u,v,c] x[b, i*s + u - p, j*s + v - p, c] * weight; weights: 'M' [u,v,c,o], 'K' [o,u,v,c], 'O'
// [o,c,u,v]
static inline Case case_forward(Convolution v, char weights) {
    Case c;
    memset(&c, 0, sizeof c);
    int oh = case_out(v.height, &v), ow = case_out(v.width, &v), r = v.window;
    snprintf(c.name, sizeof c.name, "forward %dx%dx%dx%d %d*%dx%d/%d+%d %c", v.batch, v.height, v.width, v.in, v.out, r,
             r, v.stride, v.pad, weights);
    ContractWords *w = &c.words;
    w->batch = case_group(0, 0, 0, 0, 0, -1);
    w->m = case_group(3, 1, oh, ow, 0, 0); // images are counted at run time
    w->n = case_group(1, v.out, 0, 0, 0, -1);
    w->k = case_group(3, r, r, v.in, 0, -1);
    c.k_indices = 3;
    c.batch = 1, c.m = v.batch * oh * ow, c.n = v.out, c.k = r * r * v.in, c.e0 = v.batch;
    w->a = w->b = case_operand();
    int row = v.width * v.in;
    w->a.base = -v.pad * row - v.pad * v.in;
    w->a.own[1] = v.height * row, w->a.own[2] = v.stride * row, w->a.own[3] = v.stride * v.in;
    w->a.k[1] = row, w->a.k[2] = v.in, w->a.k[3] = 1;
    for (int g = 0; g < 2; g++) {
        ContractGuard *guard = &w->a.guard[g];
        guard->size = g ? v.width : v.height;
        guard->offset = -v.pad, guard->own[2 + g] = v.stride, guard->k[1 + g] = 1;
    }
    if (weights == 'M') w->b.own[3] = 1, w->b.k[1] = r * v.in * v.out, w->b.k[2] = v.in * v.out, w->b.k[3] = v.out;
    else if (weights == 'K') w->b.own[3] = r * r * v.in, w->b.k[1] = r * v.in, w->b.k[2] = v.in, w->b.k[3] = 1;
    else w->b.own[3] = r * r * v.in, w->b.k[1] = r, w->b.k[2] = 1, w->b.k[3] = r * r;
    w->d.m[1] = oh * ow * v.out, w->d.m[2] = ow * v.out, w->d.m[3] = v.out, w->d.n[3] = 1;
    c.a = (CaseOperand){'K', case_vector(v.in), 2, 0, 0, (int64_t)v.batch * v.height * row};
    c.b = (CaseOperand){weights == 'O' ? 0 : weights, case_vector(weights == 'K' ? v.in : v.out), 0, 0, 0,
                        (int64_t)r * r * v.in * v.out};
    if (weights == 'M') { // one row of [k][n]
        c.b.k_indices = 1;
        w->b.k[3] = v.out, w->b.k[2] = v.in * v.out, w->b.k[1] = r * v.in * v.out;
    }
    c.d_elements = (int64_t)c.m * v.out;
    c.d_vector = case_vector(v.out);
    return c;
}

// dx[b,p,q,c] = sum[u,v,o] dy[b, (p + pad - u) / s, (q + pad - v) / s, o] * weight[u,v,o,c]; exact when s > 1
static inline Case case_input(Convolution v) {
    Case c;
    memset(&c, 0, sizeof c);
    int oh = case_out(v.height, &v), ow = case_out(v.width, &v), r = v.window;
    snprintf(c.name, sizeof c.name, "input %dx%dx%dx%d %d*%dx%d/%d+%d", v.batch, v.height, v.width, v.in, v.out, r, r,
             v.stride, v.pad);
    ContractWords *w = &c.words;
    w->batch = case_group(0, 0, 0, 0, 0, -1);
    w->m = case_group(3, 1, v.height, v.width, 0, 0);
    w->n = case_group(1, v.in, 0, 0, 0, -1);
    w->k = case_group(3, r, r, v.out, 0, -1);
    c.k_indices = 3;
    c.batch = 1, c.m = v.batch * v.height * v.width, c.n = v.in, c.k = r * r * v.out, c.e0 = v.batch;
    w->a = w->b = case_operand();
    int row = ow * v.out, exact = v.stride > 1;
    w->a.own[1] = oh * row, w->a.k[3] = 1;
    for (int g = 0; g < 2; g++) {
        ContractGuard *guard = &w->a.guard[g];
        int stride = g ? v.out : row;
        guard->size = g ? ow : oh;
        guard->offset = v.pad, guard->own[2 + g] = 1, guard->k[1 + g] = -1;
        if (exact) guard->step = v.stride, guard->stride = stride, w->a.step[g] = contract_divide(v.stride);
        else w->a.base += v.pad * stride, w->a.own[2 + g] = stride, w->a.k[1 + g] = -stride;
    }
    w->b.own[3] = 1, w->b.k[1] = r * v.out * v.in, w->b.k[2] = v.out * v.in, w->b.k[3] = v.in;
    w->d.m[1] = v.height * v.width * v.in, w->d.m[2] = v.width * v.in, w->d.m[3] = v.in, w->d.n[3] = 1;
    c.a = (CaseOperand){'K', case_vector(v.out), 2, exact, 0, (int64_t)v.batch * oh * row};
    c.b = (CaseOperand){'M', case_vector(v.in), 0, 0, 1, (int64_t)r * r * v.in * v.out};
    c.d_elements = (int64_t)c.m * v.in;
    c.d_vector = case_vector(v.in);
    return c;
}

// dw[u,v,c,o] = sum[b,i,j] x[b, i*s + u - p, j*s + v - p, c] * dy[b,i,j,o]
static inline Case case_weight(Convolution v) {
    Case c;
    memset(&c, 0, sizeof c);
    int oh = case_out(v.height, &v), ow = case_out(v.width, &v), r = v.window;
    snprintf(c.name, sizeof c.name, "weight %dx%dx%dx%d %d*%dx%d/%d+%d", v.batch, v.height, v.width, v.in, v.out, r, r,
             v.stride, v.pad);
    ContractWords *w = &c.words;
    w->batch = case_group(0, 0, 0, 0, 0, -1);
    w->m = case_group(3, r, r, v.in, 0, -1);
    w->n = case_group(1, v.out, 0, 0, 0, -1);
    w->k = case_group(3, 1, oh, ow, 0, 0);
    c.k_indices = 3;
    c.batch = 1, c.m = r * r * v.in, c.n = v.out, c.k = v.batch * oh * ow, c.e0 = v.batch;
    w->a = w->b = case_operand();
    int row = v.width * v.in;
    w->a.base = -v.pad * row - v.pad * v.in;
    w->a.k[1] = v.height * row, w->a.k[2] = v.stride * row, w->a.k[3] = v.stride * v.in;
    w->a.own[1] = row, w->a.own[2] = v.in, w->a.own[3] = 1;
    for (int g = 0; g < 2; g++) {
        ContractGuard *guard = &w->a.guard[g];
        guard->size = g ? v.width : v.height;
        guard->offset = -v.pad, guard->k[2 + g] = v.stride, guard->own[1 + g] = 1;
    }
    w->b.own[3] = 1, w->b.k[1] = oh * ow * v.out, w->b.k[2] = ow * v.out, w->b.k[3] = v.out;
    w->d.m[1] = r * v.in * v.out, w->d.m[2] = v.in * v.out, w->d.m[3] = v.out, w->d.n[3] = 1;
    c.a = (CaseOperand){'M', case_vector(v.in), 2, 0, 0, (int64_t)v.batch * v.height * row};
    c.b = (CaseOperand){'M', case_vector(v.out), 0, 0, 1, (int64_t)c.k * v.out};
    c.d_elements = (int64_t)c.m * v.out;
    c.d_vector = case_vector(v.out);
    return c;
}

// Every group of several indices, guards that mix all of them (two or three of A, one of B), bases, strides without
// order.
static inline Case case_mixed(int dynamic) {
    Case c;
    memset(&c, 0, sizeof c);
    snprintf(c.name, sizeof c.name, "mixed%s", dynamic ? " dynamic" : "");
    ContractWords *w = &c.words;
    w->batch = case_group(2, 2, 3, 0, 0, -1);
    w->m = case_group(4, dynamic ? 1 : 3, 3, 2, 5, dynamic ? 0 : -1);
    w->n = case_group(2, 7, 3, 0, 0, -1);
    w->k = case_group(4, 3, 2, 3, 5, -1);
    c.k_indices = 4;
    c.batch = 6, c.m = 90, c.n = 21, c.k = 90, c.e0 = 3;
    w->a = w->b = case_operand();
    const int strides[2][3][4] = {{{0, 0, 31, 7}, {90, 11, 200, 3}, {5, 77, 1, 23}},
                                  {{0, 0, 3, 400}, {0, 0, 13, 100}, {61, 2, 9, 7}}};
    const int size[2][3][4] = {{{1, 1, 2, 3}, {3, 3, 2, 5}, {3, 2, 3, 5}}, {{1, 1, 2, 3}, {1, 1, 7, 3}, {3, 2, 3, 5}}};
    for (int i = 0; i < 2; i++) {
        ContractOperand *o = i ? &w->b : &w->a;
        int64_t last = 0;
        for (int g = 0; g < 4; g++) {
            o->batch[g] = strides[i][0][g], o->own[g] = strides[i][1][g], o->k[g] = strides[i][2][g];
            for (int part = 0; part < 3; part++) last += (int64_t)strides[i][part][g] * (size[i][part][g] - 1);
        }
        o->base = i ? 17 : 4;
        *(i ? &c.b : &c.a) = (CaseOperand){0, 1, i ? 1 : 2, 0, 0, o->base + last + 1};
    }
    w->a.guard[0] = (ContractGuard){9, 1, -2, 0, {0, 0, 1, 0}, {2, 0, 1, 1}, {1, 0, -1, 1}};
    w->a.guard[1] = (ContractGuard){5, 1, 3, 0, {0, 0, 0, -1}, {0, 2, 0, -1}, {0, 1, 1, 0}};
    w->b.guard[0] = (ContractGuard){6, 1, 1, 0, {0, 0, 2, -1}, {0, 0, 1, 0}, {-1, 1, 0, 1}};
    if (dynamic) {
        w->a.guard[2] = (ContractGuard){7, 1, -1, 0, {0, 0, 1, 1}, {1, -1, 1, 1}, {1, 1, 0, 1}};
        c.a.guards = 3;
    }
    w->d.base = 3;
    w->d.batch[2] = 1, w->d.batch[3] = 2 * 90 * 21;
    w->d.m[0] = 30 * 42, w->d.m[1] = 10 * 42, w->d.m[2] = 42, w->d.m[3] = 84;
    w->d.n[2] = 2, w->d.n[3] = 14;
    c.d_elements = 3 + 3 * 2 * 90 * 21;
    c.d_vector = 1;
    return c;
}

static inline int make_cases(Case *c) {
    int n = 0;
    const char *orders[] = {"KK", "KM", "MK", "MM"};
    for (int i = 0; i < 4; i++) {
        const char *o = orders[i];
        c[n++] = case_product(1, 144, 72, 48, o[0], o[1], 1);
        c[n++] = case_product(1, 37, 29, 45, o[0], o[1], 0);
        c[n++] = case_product(5, 24, 16, 40, o[0], o[1], 0);
        c[n++] = case_product(3, 7, 5, 3, o[0], o[1], 0);
    }
    c[n++] = case_product(1, 1, 8, 130, 'K', 'K', 0);
    c[n++] = case_product(1, 0, 8, 16, 'K', 'K', 1);   // no rows at all
    c[n++] = case_product(2, 8, 8, 0, 'K', 'M', 0);    // empty sums
    c[n++] = case_product(1, 300, 8, 16, 'K', 'M', 0); // more than a group of tiles down m
    c[n++] = case_mixed(0);
    c[n++] = case_mixed(1);
    const Convolution same = {2, 7, 9, 16, 24, 3, 1, 1}, one = {2, 5, 7, 16, 8, 1, 1, 0},
                      two = {2, 9, 8, 8, 16, 3, 2, 1}, odd = {1, 6, 5, 3, 5, 3, 1, 1}, even = {1, 8, 7, 8, 8, 2, 2, 0};
    c[n++] = case_forward(same, 'M');
    c[n++] = case_forward(same, 'K');
    c[n++] = case_forward(same, 'O');
    c[n++] = case_forward(one, 'M');
    c[n++] = case_forward(two, 'M');
    c[n++] = case_forward(two, 'K');
    c[n++] = case_forward(odd, 'M');
    c[n++] = case_forward(odd, 'O');
    const Convolution all[] = {same, one, two, odd, even};
    for (int i = 0; i < 5; i++) {
        c[n++] = case_input(all[i]);
        c[n++] = case_weight(all[i]);
    }
    return n;
}

#endif
