// Random kernels: any mixture of outer, free and reduced variables, windows, exact divisions, remainders, gathers,
// storage orders, locals and reductions, for the tests of all targets. Axes as in kernel_catalogue.h.
#ifndef STMC_TESTS_KERNEL_RANDOM_H
#define STMC_TESTS_KERNEL_RANDOM_H

#include "kernel_make.h"

typedef struct Chance {
    Dice dice;
    Make m;
    bool exact;                      // only operations without rounding
    int scope[2 * MAX_VARS], scopes; // variables that a value may use
    struct {
        int local, vars, var[MAX_VARS];
    } known[8]; // locals with the variables that address them
    int knowns;
} Chance;

static int roll(Chance *c, int n) {
    return dice_below(&c->dice, n);
}

static int random_var(Chance *c) {
    static const int sizes[] = {1, 2, 3, 5, 8, 16, 17, 33, 4, 7};
    int kind = roll(c, 24);
    if (kind < 3) return make_var(&c->m, 1, 0);
    if (kind < 5) return make_var(&c->m, 1, 1);
    if (kind == 5) return make_var(&c->m, 2, 0);
    if (kind == 6 && roll(c, 4) == 0) return make_var(&c->m, 0, -1);
    return make_var(&c->m, sizes[roll(c, 10)], -1);
}

static Position random_position(Chance *c, Extent *dim) {
    int v = c->scopes ? c->scope[roll(c, c->scopes)] : -1;
    int kind = roll(c, 14);
    if (v < 0 || kind == 0) {
        *dim = extent_of(1 + roll(c, 3));
        return position_const(roll(c, (int)dim->count));
    }
    Extent e = c->m.k->var[v].extent;
    if (kind < 9) {
        *dim = e;
        Position p = position_var(v);
        p.guarded = false;
        return p;
    }
    *dim = extent_of(3 + roll(c, 20));
    if (kind == 9) { // gather
        int index = make_buffer(&c->m, T_I32, false, 1, &e, NULL);
        Position p = position_const(0);
        p.gather = make_at(&c->m, index, 1, &v);
        p.guarded = true;
        return p;
    }
    int w = c->scope[roll(c, c->scopes)];
    Position p = w != v ? make_affine2(v, 1 + roll(c, 3), w, roll(c, 2) ? 1 : -1, roll(c, 5) - 2, true)
                        : make_affine(v, roll(c, 2) ? -1 : 2, roll(c, 9) - 2, true);
    if (kind == 11) p.divide = 1 + roll(c, 4);
    if (kind == 12) p.divide = 2, p.exact = true;
    if (kind == 13) {
        p.divide = 1 + roll(c, 3);
        p.modulo = 2 + roll(c, 5);
    }
    return p;
}

static void shuffle(Chance *c, int *order, int n) {
    for (int i = 0; i < n; i++) order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = roll(c, i + 1), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

static Expr *random_read(Chance *c) {
    if (c->knowns && roll(c, 3) == 0) {
        int i = roll(c, c->knowns);
        bool usable = true;
        for (int v = 0; v < c->known[i].vars; v++) {
            bool found = false;
            for (int s = 0; s < c->scopes; s++) found = found || c->scope[s] == c->known[i].var[v];
            usable = usable && found;
        }
        if (usable) return make_at(&c->m, c->known[i].local, c->known[i].vars, c->known[i].var);
    }
    Extent dim[4];
    Position p[4];
    int rank = roll(c, 4) + (roll(c, 3) == 0), order[4];
    if (rank > 4) rank = 4;
    for (int d = 0; d < rank; d++) p[d] = random_position(c, &dim[d]);
    shuffle(c, order, rank);
    ElementType type = roll(c, 6) ? T_REAL : roll(c, 2) ? T_U8 : T_BOOL;
    int b = make_buffer(&c->m, type, false, rank, dim, roll(c, 2) ? order : NULL);
    Expr *e = make_read(&c->m, b, rank, p);
    return type == T_REAL ? e : expr_cast(c->m.job, T_REAL, e);
}

static Expr *random_expr(Chance *c, int depth) {
    Job *j = c->m.job;
    if (depth == 0 || roll(c, 4) == 0) {
        int kind = roll(c, 8);
        if (kind == 0) return expr_const(j, (roll(c, 9) - 4) / 4.0, T_REAL);
        if (kind == 1 && c->scopes) return expr_cast(j, T_REAL, expr_index(j, c->scope[roll(c, c->scopes)]));
        return random_read(c);
    }
    static const ScalarOp unary[] = {OP_NEG, OP_ABS, OP_SIGN, OP_TANH, OP_SIGMOID, OP_EXP, OP_SIN, OP_ERF};
    static const ScalarOp binary[] = {OP_ADD, OP_SUB, OP_MUL, OP_MAX, OP_MIN, OP_ADD};
    if (roll(c, 4) == 0) {
        ScalarOp op = unary[roll(c, c->exact ? 3 : 8)];
        Expr *a = op == OP_SIGN ? random_read(c) : random_expr(c, depth - 1);
        if (op == OP_EXP) a = expr_op(j, OP_MIN, a, expr_const(j, 2, T_REAL), NULL);
        return expr_op(j, op, a, NULL, NULL);
    }
    if (roll(c, 6) == 0) {
        Expr *test = expr_op(j, OP_LT, random_read(c), expr_const(j, 0.25, T_REAL), NULL);
        Expr *a = random_expr(c, depth - 1);
        return expr_op(j, OP_SELECT, test, a, random_expr(c, depth - 1));
    }
    ScalarOp op = binary[roll(c, 6)];
    Expr *a = random_expr(c, depth - 1);
    return expr_op(j, op, a, random_expr(c, op == OP_MUL ? 0 : depth - 1), NULL);
}

// Iterations at the largest extents that the tests use; the reference runner is slow.
static double iterations(const Kernel *k) {
    double outer = 1, all = 0;
    for (int v = 0; v < k->outer; v++) outer *= k->var[v].extent.axis >= 0 ? 66 : (double)k->var[v].extent.count;
    for (int s = 0; s < k->stage.count; s++) {
        double n = outer;
        for (int i = 0; i < k->stage.at[s].vars; i++) {
            Extent e = k->var[k->stage.at[s].var[i]].extent;
            n *= e.axis >= 0 ? 66 : (double)e.count;
        }
        all += n;
    }
    return all;
}

static Kernel *random_kernel(Arena *a, Program *p, bool exact, uint64_t seed, int number) {
    Chance c = {.dice = {seed * 1000003u + (uint64_t)number}, .exact = exact};
    c.m = make_open(a, p, arena_format(a, "random_%d", number));
    Kernel *k = c.m.k;
    int outer = roll(&c, 4), stages = 1 + roll(&c, 3), inner[4], inners;
    for (int i = 0; i < outer; i++) random_var(&c);
    make_outer(&c.m);
    inners = roll(&c, 4);
    for (int i = 0; i < inners; i++) inner[i] = random_var(&c);
    bool stored = false;
    for (int s = 0; s < stages || !stored; s++) {
        int var[MAX_VARS], free = 0, vars = 0, at[MAX_VARS], n = 0, order[MAX_RANK];
        bool taken[4] = {false};
        for (int i = 0; i < inners; i++)
            if (roll(&c, 3) == 0) var[free++] = inner[i], taken[i] = true;
        vars = free;
        for (int i = 0; i < inners; i++)
            if (!taken[i] && roll(&c, 2)) var[vars++] = inner[i];
        Reduce reduce = vars > free ? (Reduce)(REDUCE_SUM + roll(&c, 6)) : REDUCE_NONE;
        if (reduce == REDUCE_PROD) reduce = REDUCE_SUM;
        c.scopes = 0;
        for (int i = 0; i < outer; i++) c.scope[c.scopes++] = i;
        for (int i = 0; i < vars; i++) c.scope[c.scopes++] = var[i];
        Expr *value = random_expr(&c, 1 + roll(&c, 3));
        bool number_result = reduce == REDUCE_ARGMAX || reduce == REDUCE_ARGMIN;
        int dynamic = 0, dynamic_local = 0;
        Extent dim[MAX_RANK];
        for (int i = 0; i < free; i++) dynamic_local += k->var[var[i]].extent.axis >= 0;
        for (int i = 0; i < outer; i++) dynamic += k->var[i].extent.axis >= 0;
        bool fits = dynamic_local == 0 || dynamic + dynamic_local <= 2; // else its workspace cannot be planned
        if (s + 1 < stages && !number_result && c.knowns < 8 && fits && roll(&c, 3)) {
            for (int i = 0; i < free; i++) dim[i] = k->var[var[i]].extent, at[i] = var[i];
            int l = make_local(&c.m, T_REAL, free, dim);
            make_store(&c.m, free, vars, var, reduce, value, l, free, at);
            c.known[c.knowns].local = l;
            c.known[c.knowns].vars = free;
            memcpy(c.known[c.knowns].var, at, sizeof at);
            c.knowns++;
            continue;
        }
        for (int i = 0; i < outer; i++) at[n++] = i;
        for (int i = 0; i < free; i++) at[n++] = var[i];
        int mixed[MAX_VARS];
        shuffle(&c, order, n);
        for (int i = 0; i < n; i++) mixed[i] = at[order[i]], dim[i] = k->var[mixed[i]].extent;
        shuffle(&c, order, n);
        int b = make_buffer(&c.m, number_result ? T_I32 : T_REAL, true, n, dim, roll(&c, 2) ? order : NULL);
        make_store(&c.m, free, vars, var, reduce, value, b, n, mixed);
        stored = true;
    }
    return k;
}

#endif
