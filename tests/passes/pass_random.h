// Random programs for tests of passes: a few equations over small tensors with all kinds of positions, reductions,
// views and scatters, and a loss. Equal seeds give equal programs.
#ifndef STMC_PASS_RANDOM_H
#define STMC_PASS_RANDOM_H

#include "pass_harness.h"

typedef struct Maker {
    Dice dice;
    Program *p;
    Job *job;
    int vars;
    Variable var[MAX_VARS];
    int index_input; // i32 input [3], values below 3
} Maker;

static const Extent maker_extents[] = {{1, -1}, {2, -1}, {3, -1}, {4, -1}, {6, -1}, {1, 0}, {2, 0}};

static Extent maker_extent(Maker *m) {
    return maker_extents[dice_below(&m->dice, 7)];
}

static Position maker_position(Maker *m, Extent dim) {
    Dice *d = &m->dice;
    if (dice_below(d, 4) > 0) // mostly a plain variable of the right extent
        for (int tries = 0; tries < 6 && m->vars > 0; tries++) {
            int v = dice_below(d, m->vars);
            if (extent_same(m->var[v].extent, dim)) return position_var(v);
        }
    if (m->vars == 0 || dice_below(d, 12) == 0) return position_const(dice_below(d, 3));
    if (dim.axis < 0 && dim.count >= 3 && dice_below(d, 12) == 0) {
        Position zero = position_const(dice_below(d, 3));
        return (Position){.divide = 1, .gather = expr_read(m->job, m->p->tensor.at[m->index_input], &zero, NO_SPAN)};
    }
    Position p = {.divide = 1};
    int terms = 1 + dice_below(d, 3) / 2;
    for (int k = 0; k < terms; k++) {
        int v = dice_below(d, m->vars);
        bool there = false;
        for (int i = 0; i < p.terms; i++) there = there || p.term[i].var == v;
        if (!there) p.term[p.terms++] = (Term){v, dice_below(d, 5) == 0 ? -1 : 1 + dice_below(d, 5) / 3};
    }
    p.offset = dice_below(d, 5) - 2;
    switch (dice_below(d, 6)) {
    case 0: p.divide = 2; break;
    case 1: p.divide = 2, p.exact = true; break;
    case 2: p.modulo = 2 + dice_below(d, 2); break;
    case 3: p.divide = 2, p.modulo = 2; break;
    default: break;
    }
    return p;
}

static Expr *maker_read(Maker *m) {
    Dice *d = &m->dice;
    for (;;) {
        // Late tensors are read more often.
        int id = m->p->tensor.count - 1 - dice_below(d, dice_below(d, 2) ? 4 : m->p->tensor.count);
        if (id < 0) continue;
        const Tensor *t = m->p->tensor.at[id];
        if (t->type != T_REAL) continue;
        Position at[MAX_RANK];
        for (int i = 0; i < t->rank; i++) at[i] = maker_position(m, t->dim[i]);
        return expr_read(m->job, t, at, NO_SPAN);
    }
}

static Expr *maker_condition(Maker *m) {
    Expr *a = m->vars > 0 ? expr_index(m->job, dice_below(&m->dice, m->vars)) : expr_const(m->job, 1, T_I32);
    Expr *b = expr_const(m->job, dice_below(&m->dice, 4), T_I32);
    if (dice_below(&m->dice, 3) == 0) a = expr_op(m->job, OP_ISUB, a, b, NULL);
    Expr *c = expr_op(m->job, (ScalarOp)(OP_LT + dice_below(&m->dice, 4)), a, b, NULL);
    return dice_below(&m->dice, 4) == 0 ? expr_op(m->job, OP_NOT, c, NULL, NULL) : c;
}

static Expr *maker_value(Maker *m, int depth) {
    Dice *d = &m->dice;
    Job *job = m->job;
    if (depth == 0) {
        int kind = dice_below(d, 12);
        if (kind == 0) return expr_const(job, (dice_below(d, 9) - 4) * 0.5, T_REAL);
        if (kind == 1 && m->vars > 0) return expr_cast(job, T_REAL, expr_index(job, dice_below(d, m->vars)));
        if (kind == 2) return expr_random(job, (uint32_t)dice_below(d, 3));
        return maker_read(m);
    }
    Expr *a = maker_value(m, depth - 1);
    static const ScalarOp one[] = {OP_SIN, OP_TANH, OP_SIGMOID, OP_NEG, OP_COS, OP_ERF};
    switch (dice_below(d, 10)) {
    case 0:
    case 1: return expr_op(job, one[dice_below(d, 6)], a, NULL, NULL);
    case 2:
    case 3: return expr_op(job, OP_ADD, a, maker_value(m, depth - 1), NULL);
    case 4: return expr_op(job, OP_SUB, a, maker_value(m, depth - 1), NULL);
    case 5: return expr_op(job, OP_SELECT, maker_condition(m), a, maker_value(m, depth - 1));
    case 6:
        return expr_op(job, OP_DIV, a,
                       expr_op(job, OP_ADD, expr_const(job, 2, T_REAL),
                               expr_op(job, OP_SIN, maker_value(m, depth - 1), NULL, NULL), NULL),
                       NULL);
    case 7:
        return dice_below(d, 3) ? a
                                : expr_op(job, dice_below(d, 2) ? OP_MAX : OP_MIN, a, maker_value(m, depth - 1), NULL);
    default: return expr_op(job, OP_MUL, a, maker_value(m, depth - 1), NULL);
    }
}

static void maker_equation(Maker *m) {
    Dice *d = &m->dice;
    Program *p = m->p;
    Job *job = m->job;
    int kind = dice_below(d, 12);
    if (kind == 0) { // a view: merge two dimensions or put a 1 in front
        const Tensor *from = p->tensor.at[p->tensor.count - 1];
        Extent dim[MAX_RANK];
        int rank = from->rank;
        memcpy(dim, from->dim, sizeof dim);
        if (rank >= 2 && (dim[0].axis < 0 || dim[1].axis < 0) && from->type == T_REAL) {
            dim[0] = (Extent){dim[0].count * dim[1].count, dim[0].axis < 0 ? dim[1].axis : dim[0].axis};
            for (int i = 1; i + 1 < rank; i++) dim[i] = dim[i + 1];
            Position zero[MAX_RANK];
            for (int i = 0; i < MAX_RANK; i++) zero[i] = position_const(0);
            const Tensor *out = program_tensor(p, TENSOR_TEMP, "view", T_REAL, rank - 1, dim);
            job_equation(job, EQ_VIEW, out, NO_SPAN)->value = expr_read(job, from, zero, NO_SPAN);
            return;
        }
    }
    Extent dim[MAX_RANK];
    int rank = dice_below(d, 4);
    for (int i = 0; i < rank; i++) dim[i] = maker_extent(m);
    bool scatter = kind == 1 && rank > 0;
    m->vars = scatter ? 1 + dice_below(d, 3) : rank;
    for (int i = 0; i < m->vars; i++) m->var[i] = (Variable){NULL, scatter ? maker_extent(m) : dim[i]};
    Reduce reduce = REDUCE_NONE;
    int before = m->vars;
    if (!scatter && dice_below(d, 2)) {
        reduce = dice_below(d, 3) ? REDUCE_SUM : (Reduce)(REDUCE_MAX + dice_below(d, 3));
        int more = 1 + dice_below(d, 3);
        for (int i = 0; i < more; i++) m->var[m->vars++] = (Variable){NULL, maker_extent(m)};
    }
    Expr *value = maker_value(m, reduce == REDUCE_SUM && dice_below(d, 2) ? 1 : 1 + dice_below(d, 3));
    if (reduce == REDUCE_NONE || reduce == REDUCE_PROD) value = expr_op(job, OP_TANH, value, NULL, NULL);
    if (reduce == REDUCE_SUM) value = expr_op(job, OP_MUL, value, expr_const(job, 0.25, T_REAL), NULL);
    const Tensor *out = program_tensor(p, TENSOR_TEMP, "t", T_REAL, rank, dim);
    Equation *eq = job_equation(job, scatter ? EQ_SCATTER : EQ_COMPUTE, out, NO_SPAN);
    if (scatter) {
        m->vars = before;
        for (int i = 0; i < rank; i++) eq->target[i] = maker_position(m, dim[i]);
        // Canonical order comes from a read.
        Expr *canonical = expr_read(job, out, eq->target, NO_SPAN);
        for (int i = 0; i < rank; i++) eq->target[i] = canonical->position[i];
    }
    eq->free = scatter ? 0 : rank;
    eq->vars = m->vars;
    for (int i = 0; i < m->vars; i++) eq->var[i] = m->var[i];
    eq->reduce = reduce;
    eq->value = value;
}

// Axis 0 is dynamic. Two parameters with gradient requests, an index input, seed and step, `equations` equations, a
// loss.
__attribute__((unused)) static Program *random_program(Arena *arena, uint64_t seed, int equations, bool with_random) {
    Program *p = NEW(arena, Program);
    p->arena = arena;
    p->names = names_new(arena);
    p->name = "random";
    p->real64 = true;
    Axis axis = {.name = "b", .dynamic = true, .count = 4, .span = NO_SPAN};
    vec_push(arena, &p->axis, axis);
    Maker m = {.dice = {.state = seed * 7919 + 1}, .p = p};
    for (int i = 0; i < 5; i++) dice_next(&m.dice);
    m.index_input = program_tensor(p, TENSOR_INPUT, "which", T_I32, 1, (Extent[]){{3, -1}})->id;
    p->scalar_seed = p->scalar_step = -1;
    if (with_random) {
        p->scalar_seed = program_tensor(p, TENSOR_SCALAR, "seed", T_I32, 0, NULL)->id;
        p->scalar_step = program_tensor(p, TENSOR_SCALAR, "step", T_I32, 0, NULL)->id;
    }
    Extent shape[2][3];
    int rank[2], param[2];
    for (int k = 0; k < 2; k++) {
        rank[k] = 1 + dice_below(&m.dice, 3);
        for (int i = 0; i < rank[k]; i++) shape[k][i] = maker_extent(&m);
        param[k] = program_tensor(p, TENSOR_PARAM, k ? "w" : "x", T_REAL, rank[k], shape[k])->id;
    }
    m.job = program_job(p, "train");
    for (int i = 0; i < equations; i++) maker_equation(&m);
    // The loss: a sum over the last tensor, and a little of each parameter.
    const Tensor *last = p->tensor.at[p->tensor.count - 1];
    const Tensor *loss = program_tensor(p, TENSOR_TEMP, "loss", T_REAL, 0, NULL);
    Equation *eq = job_equation(m.job, EQ_COMPUTE, loss, NO_SPAN);
    Position at[MAX_RANK];
    for (int i = 0; i < last->rank; i++) {
        eq->var[eq->vars++].extent = last->dim[i];
        at[i] = position_var(i);
    }
    Expr *read = expr_read(m.job, last, at, NO_SPAN);
    eq->value = expr_op(m.job, OP_MUL, read, expr_op(m.job, OP_ADD, read, expr_const(m.job, 0.5, T_REAL), NULL), NULL);
    eq->reduce = REDUCE_SUM;
    m.job->loss = loss->id;
    for (int k = 0; k < 2; k++) {
        Update u = {param[k], program_tensor(p, TENSOR_TEMP, "gradient", T_REAL, rank[k], shape[k])->id};
        vec_push(arena, &m.job->gradient, u);
    }
    return p;
}

#endif
