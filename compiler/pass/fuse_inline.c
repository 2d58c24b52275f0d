// Fusion, inlining: a map whose readers can compute it where they need it is not computed on its own.
//
// One reader that looks at each element about once always takes the map. Several readers, or a reader that looks
// several times, take it when it reads at most one large tensor (so memory traffic does not grow) and is cheap enough.
// A contraction packs its operands many times, so it takes only what the policy calls free. Random maps stay: their
// numbers belong to their own element.
#include "pass/fuse_internal.h"

#include <string.h>

enum {
    MANY_ITERATIONS = 16, // a small map of some cost is not repeated this many times per element
    FREE_COST = 3,        // operations that are cheaper than reading memory
    MOST_COST = 300,      // of an expression after inlining
    MOST_REPEATS = 9,     // times that a cheap map may be computed
};

static Expr *inlined(Graph *g, const Node *reader, int tensor, Expr *body, Expr *value) {
    Expr **one = g->body; // all NULL but for this entry
    one[tensor] = body;
    Inline in = {g->program, g->job, one};
    Expr *made = expr_inline(&in, reader->eq->var, value);
    one[tensor] = NULL;
    return made;
}

static bool target_reads(const Graph *g, const Node *n, int tensor) {
    if (n->kind != NODE_SCATTER) return false;
    for (int d = 0; d < g->program->tensor.at[n->out]->rank; d++) {
        ExprList reads = {0};
        if (n->eq->target[d].gather != NULL) expr_reads(g->arena, n->eq->target[d].gather, &reads);
        for (int r = 0; r < reads.count; r++)
            if (reads.at[r]->tensor == tensor) return true;
    }
    return false;
}

static int large_inputs(const Graph *g, const Node *n) {
    const ExprList reads = *node_reads(g, n);
    int count = 0;
    for (int r = 0; r < reads.count; r++) {
        bool again = false;
        for (int k = 0; k < r; k++) again |= reads.at[k]->tensor == reads.at[r]->tensor;
        int64_t size = tensor_elements(g->program, g->program->tensor.at[reads.at[r]->tensor]);
        count += !again && size > g->policy->small_elements && size * 8 >= n->elements;
    }
    return count;
}

static bool gathers(const Graph *g, const Expr *e) {
    ExprList reads = {0};
    expr_reads(g->arena, e, &reads);
    for (int r = 0; r < reads.count; r++)
        for (int d = 0; d < reads.at[r]->rank; d++)
            if (reads.at[r]->position[d].gather != NULL) return true;
    return false;
}

static bool worth_inlining(const Graph *g, const Node *n, int cost) {
    const Numbers *readers = &g->reader[n->out];
    double looks = 0;
    for (int i = 0; i < readers->count; i++) {
        const Node *r = &g->node[readers->at[i]];
        const ExprList reads = *node_reads(g, r);
        int places = 0;
        for (int k = 0; k < reads.count; k++) places += reads.at[k]->tensor == n->out;
        looks +=
            (double)places * (double)(r->kind == NODE_CONTRACT ? n->elements : r->iterations); // packed, then reused
    }
    double repeats = looks / (double)(n->elements > 0 ? n->elements : 1);
    int large = large_inputs(g, n);
    if (cost > FREE_COST && repeats >= MANY_ITERATIONS) return false;
    if (large == 0 && cost <= FREE_COST) return true;
    if (readers->count == 1 && repeats <= 1.01) return true;
    if (large > 1) return false;
    if (cost <= FREE_COST) return repeats <= MOST_REPEATS;
    return cost <= g->policy->recompute_cost && repeats <= 3;
}

static bool try_inline(Graph *g, int number) {
    Node *n = &g->node[number];
    const Numbers *readers = &g->reader[n->out];
    if (n->kind != NODE_MAP || n->kept || n->random || readers->count == 0 || n->group < 0) return false;
    const Group *own = &g->group.at[n->group];
    int cost = expr_cost(g->arena, n->value);
    if (own->contraction) return false;
    if (own->member.count > 1) { // a member of a row group: only what is cheaper than keeping the row
        if (cost > FREE_COST || own->member.at[0] == number) return false;
        for (int i = 0; i < readers->count; i++)
            if (g->node[readers->at[i]].group != n->group) return false;
    }
    bool gather = gathers(g, n->value);
    for (int i = 0; i < readers->count; i++) {
        const Node *r = &g->node[readers->at[i]];
        if (r->kind == NODE_VIEW || target_reads(g, r, n->out)) return false;
        if (r->kind == NODE_CONTRACT && (cost > g->policy->pack_cost || gather)) return false;
        if (r->group >= 0 && g->group.at[r->group].contraction && gather) return false;
    }
    if (!worth_inlining(g, n, cost)) return false;
    Expr **value = NEW_ARRAY(g->arena, Expr *, readers->count);
    for (int i = 0; i < readers->count; i++) {
        const Node *r = &g->node[readers->at[i]];
        value[i] = inlined(g, r, n->out, n->value, r->value);
        if (value[i] == NULL || expr_cost(g->arena, value[i]) > MOST_COST) return false;
        if (r->kind == NODE_CONTRACT) { // it must stay one, with the same operands' roles
            Node trial = *r;
            trial.value = value[i];
            recognise_node(g, &trial);
            if (trial.kind != NODE_CONTRACT) return false;
        }
        ExprList reads = {0};
        expr_reads(g->arena, value[i], &reads);
        if (reads.count > g->policy->most_buffers) return false;
    }
    for (int i = 0; i < readers->count; i++) {
        Node *r = &g->node[readers->at[i]];
        r->value = value[i];
        if (r->kind == NODE_CONTRACT) recognise_node(g, r);
    }
    n->inlined = true;
    Group *group = &g->group.at[n->group];
    int kept = 0;
    for (int m = 0; m < group->member.count; m++)
        if (group->member.at[m] != number) group->member.at[kept++] = group->member.at[m];
    group->member.count = kept;
    group->dead = kept == 0;
    n->group = -1;
    Numbers list = *readers;
    const ExprList reads = *node_reads(g, n);
    for (int k = 0; k < reads.count; k++) { // the readers now read what the map read
        Numbers *now = &g->reader[reads.at[k]->tensor], merged = {0};
        int a = 0, b = 0;
        while (a < now->count || b < list.count) {
            int x = a < now->count ? now->at[a] : INT32_MAX, y = b < list.count ? list.at[b] : INT32_MAX;
            int least = x < y ? x : y;
            if (least != number) vec_push(g->arena, &merged, least);
            a += x == least;
            b += y == least;
        }
        *now = merged;
    }
    g->reader[n->out].count = 0;
    return true;
}

void fuse_inline(Graph *g) {
    for (int i = 0; i < g->nodes; i++) try_inline(g, i);
}
