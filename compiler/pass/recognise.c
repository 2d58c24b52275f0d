// Recognition: which equations are maps, reductions, scatters, views and contractions (a large sum over a product of
// two operands that each vary with result indices of their own), and what a kernel made of them is called.
//
// A map that finds its elements in place already counts as a view.
// Requires Node.eq and Node.value; leaves Node.kind, role, product, scale and label. A contraction keeps its constant
// factors out of the sum: they are applied once per result.
#include "pass/fuse_internal.h"

#include <string.h>

typedef struct Product {
    VEC(Expr *) factor;
    double scale;
    bool usable;
} Product;

static void flatten(Arena *arena, Product *p, Expr *e) {
    if (e->type != T_REAL) {
        p->usable = false;
        return;
    }
    switch (e->op) {
    case OP_CONST: p->scale *= e->number; return;
    case OP_NEG:
        p->scale = -p->scale;
        flatten(arena, p, e->arg[0]);
        return;
    case OP_MUL:
        flatten(arena, p, e->arg[0]);
        flatten(arena, p, e->arg[1]);
        return;
    case OP_DIV:
        if (e->arg[1]->op == OP_CONST && e->arg[1]->number != 0) {
            p->scale /= e->arg[1]->number;
            flatten(arena, p, e->arg[0]);
            return;
        }
        break;
    default: break;
    }
    vec_push(arena, &p->factor, e);
}

static int bits(uint32_t set) {
    return __builtin_popcount(set);
}

static Expr *times(Job *job, Expr *a, Expr *b) {
    return a == NULL ? b : expr_op(job, OP_MUL, a, b, NULL);
}

// Packing reads operands at affine positions (an exact division is a stretched one); anything else is no operand.
bool operand_is_packable(Arena *arena, const Expr *e) {
    ExprList reads = {0};
    expr_reads(arena, e, &reads);
    for (int i = 0; i < reads.count; i++)
        for (int d = 0; d < reads.at[i]->rank; d++) {
            const Position *p = &reads.at[i]->position[d];
            if (p->gather != NULL || p->modulo > 0 || (p->divide > 1 && !p->exact)) return false;
        }
    return true;
}

static bool find_contraction(Graph *g, Node *n) {
    const Equation *eq = n->eq;
    if (eq->reduce != REDUCE_SUM || eq->vars == eq->free || n->random) return false;
    if (2 * n->iterations < g->policy->contraction_flops) return false;
    Product p = {.scale = 1, .usable = true};
    flatten(g->arena, &p, n->value);
    if (!p.usable || p.factor.count < 2) return false;
    // The factor with the most variables is the seed of one operand; the other seed is the factor that adds the most.
    int first = 0, second = -1;
    uint32_t set[2], of;
    for (int i = 1; i < p.factor.count; i++)
        if (bits(expr_variables(p.factor.at[i])) > bits(expr_variables(p.factor.at[first]))) first = i;
    set[0] = expr_variables(p.factor.at[first]);
    for (int i = 0, best = 0; i < p.factor.count; i++) {
        of = expr_variables(p.factor.at[i]);
        if (i == first || bits(of & ~set[0]) <= best) continue;
        second = i;
        best = bits(of & ~set[0]);
    }
    if (second < 0) return false;
    set[1] = expr_variables(p.factor.at[second]);
    Expr *operand[2] = {NULL, NULL};
    for (int i = 0; i < p.factor.count; i++) {
        of = expr_variables(p.factor.at[i]);
        int side = i == first ? 0 : i == second ? 1 : (of & ~set[1]) == 0 ? 1 : (of & ~set[0]) == 0 ? 0 : -1;
        if (side < 0) return false;
        operand[side] = times(g->job, operand[side], p.factor.at[i]);
    }
    bool m = false, n_role = false, shared_k = false;
    Role role[MAX_VARS];
    for (int v = 0; v < eq->vars; v++) {
        bool a = set[0] >> v & 1, b = set[1] >> v & 1;
        if (!a && !b && !extent_is_one(eq->var[v].extent)) return false;
        if (v >= eq->free) {
            role[v] = ROLE_K;
            shared_k |= a && b;
            continue;
        }
        role[v] = a && b ? ROLE_BATCH : b ? ROLE_N : ROLE_M;
        m |= a && !b;
        n_role |= b && !a;
    }
    if (!m || !n_role || !shared_k) return false;
    if (!n->any_operand && (!operand_is_packable(g->arena, operand[0]) || !operand_is_packable(g->arena, operand[1])))
        return false;
    memcpy(n->role, role, sizeof role);
    n->product[0] = operand[0];
    n->product[1] = operand[1];
    n->scale = p.scale;
    return true;
}

// A map that only permutes dimensions, into storage that holds the elements in the same places already: another name.
static bool is_same_storage(const Graph *g, const Equation *eq) {
    const Expr *e = eq->value;
    if (eq->kind != EQ_COMPUTE || eq->reduce != REDUCE_NONE || e->op != OP_READ || e->rank != eq->free) return false;
    const Tensor *from = g->program->tensor.at[e->tensor], *to = g->program->tensor.at[eq->out];
    if (from->kind != TENSOR_TEMP || from->type != to->type) return false;
    for (int i = 0; i < e->rank; i++) {
        int var, d = from->order[i];
        if (!position_is_var(&e->position[d], &var) || var != to->order[i]) return false;
        if (!extent_same(from->dim[d], to->dim[var])) return false;
    }
    return true;
}

static bool has_window(Graph *g, const Expr *e) {
    ExprList reads = {0};
    expr_reads(g->arena, e, &reads);
    for (int i = 0; i < reads.count; i++)
        for (int d = 0; d < reads.at[i]->rank; d++)
            if (reads.at[i]->position[d].gather == NULL && reads.at[i]->position[d].terms > 1) return true;
    return false;
}

void recognise_node(Graph *g, Node *n) {
    const Equation *eq = n->eq;
    n->label = "map";
    if (eq->kind == EQ_VIEW || (g->alias && is_same_storage(g, eq))) {
        n->kind = NODE_VIEW;
        return;
    }
    if (eq->kind == EQ_SCATTER) {
        n->kind = NODE_SCATTER;
        n->label = "scatter";
    } else if (eq->reduce == REDUCE_NONE) {
        n->kind = NODE_MAP;
    } else if (find_contraction(g, n)) {
        n->kind = NODE_CONTRACT;
        n->label = has_window(g, n->value) ? "conv" : "gemm";
    } else {
        n->kind = NODE_REDUCE;
        n->label = has_window(g, n->value) ? "pool" : "reduce";
    }
}
