// Fusion, choice: which equations share a kernel and which maps are computed inside their readers. Four sweeps, each in
// program order, so that the result depends on nothing but the program and the policy:
//   1. epilogues   maps over the result of a contraction, element by element, join the contraction;
//   2. rows        reductions along contiguous rows take in what comes before and after them in the same rows
//                  (softmax, normalisation, a loss per row);
//   3. inlining    maps are substituted in their readers where computing again costs less than memory (fuse_inline.c);
//   4. neighbours  what is left and runs over the same outer space joins when it reads the same large tensors or one
//   reads the
//                  other at its own element (an optimiser's moments, two statistics of one tensor, max and argmax).
// Two groups merge only if no path leads from one to the other through a third.
#include "pass/fuse_internal.h"

#include <string.h>

// ---- groups

static int new_group(Graph *g, int node) {
    Node *n = &g->node[node];
    Group group = {.contraction = n->kind == NODE_CONTRACT};
    if (n->kind == NODE_SCATTER) {
        // A variable that alone makes one target dimension and no other one is independent: outer.
        const Tensor *t = g->program->tensor.at[n->out];
        uint32_t used = 0, plain = 0;
        for (int d = 0; d < t->rank; d++) {
            int var;
            uint32_t here = position_variables(&n->eq->target[d]);
            if (position_is_var(&n->eq->target[d], &var) && !(used & here)) plain |= here;
            else plain &= ~here;
            used |= here;
        }
        for (int v = 0; v < n->eq->vars; v++) {
            if (!(plain >> v & 1)) continue;
            n->outer_of[v] = group.outer;
            group.extent[group.outer++] = n->eq->var[v].extent;
        }
    } else if (n->kind != NODE_CONTRACT) {
        for (int v = 0; v < n->eq->free; v++) {
            n->outer_of[v] = v;
            group.extent[group.outer++] = n->eq->var[v].extent;
        }
    }
    vec_push(g->arena, &group.member, node);
    vec_push(g->arena, &g->group, group);
    return n->group = g->group.count - 1;
}

typedef struct Search {
    const Graph *g;
    int from, to, set; // groups seen
} Search;

static bool search(Search *s, int group) {
    const Group *gr = &s->g->group.at[group];
    for (int m = 0; m < gr->member.count; m++) {
        const Numbers *next = &s->g->output[gr->member.at[m]];
        for (int i = 0; i < next->count; i++) {
            int at = s->g->node[next->at[i]].group;
            if (at == group || at < 0 || s->g->mark[at] == s->set) continue;
            if (at == s->to) {
                if (group != s->from) return true;
                continue;
            }
            s->g->mark[at] = s->set;
            if (search(s, at)) return true;
        }
    }
    return false;
}

bool graph_path_outside(Graph *g, int from, int to) {
    Search s = {g, from, to, graph_new_set(g, g->group.count)};
    g->mark[from] = s.set;
    return search(&s, from);
}

static bool may_merge(Graph *g, int a, int b) {
    return a != b && !graph_path_outside(g, a, b) && !graph_path_outside(g, b, a);
}

// Moves the members of b to a; their outer_of must be set already.
static void merge(Graph *g, int a, int b) {
    Group *to = &g->group.at[a], *from = &g->group.at[b];
    for (int m = 0; m < from->member.count; m++) {
        int n = from->member.at[m];
        g->node[n].group = a;
        vec_push(g->arena, &to->member, n);
        for (int i = to->member.count - 1; i > 0 && to->member.at[i - 1] > n; i--) {
            to->member.at[i] = to->member.at[i - 1];
            to->member.at[i - 1] = n;
        }
    }
    from->member.count = 0;
    from->dead = true;
}

static void merge_node(Graph *g, int a, int node, const int *outer_of) {
    memcpy(g->node[node].outer_of, outer_of, sizeof g->node[node].outer_of);
    merge(g, a, g->node[node].group);
}

static int count_buffers(Graph *g, int a, int b) {
    int set = graph_new_set(g, g->program->tensor.count), count = 0, groups[2] = {a, b};
    for (int k = 0; k < 2; k++) {
        const Group *gr = &g->group.at[groups[k]];
        for (int m = 0; m < gr->member.count; m++) {
            const Node *n = &g->node[gr->member.at[m]];
            const ExprList *reads = node_reads(g, n);
            count += g->mark[n->out] != set;
            g->mark[n->out] = set;
            for (int r = 0; r < reads->count; r++) {
                count += g->mark[reads->at[r]->tensor] != set;
                g->mark[reads->at[r]->tensor] = set;
            }
        }
    }
    return count;
}

// Random numbers of small tensors are a kernel of their own: one kernel then serves all of them, and its code is long.
// Large ones are better made where they are used.
static bool stays_alone(const Graph *g, const Node *n) {
    return n->random && (n->elements < g->policy->random_elements || strcmp(g->job->name, "init") == 0);
}

static bool singleton(const Graph *g, int node) {
    int group = g->node[node].group;
    return group >= 0 && g->group.at[group].member.count == 1;
}

static const Node *member_writing(const Graph *g, int group, int tensor) {
    int n = g->producer[tensor];
    return n >= 0 && g->node[n].group == group ? &g->node[n] : NULL;
}

// A view of something that the group computes cannot be read inside the group.
static bool reads_view_of(const Graph *g, const Node *n, int group) {
    const ExprList reads = *node_reads(g, n);
    for (int r = 0; r < reads.count; r++) {
        int p = g->producer[reads.at[r]->tensor];
        bool view = false;
        while (p >= 0 && g->node[p].kind == NODE_VIEW) {
            p = g->producer[g->node[p].value->tensor];
            view = true;
        }
        if (view && p >= 0 && g->node[p].group == group) return true;
    }
    return false;
}

static bool is_large(const Graph *g, int tensor, int64_t beside) {
    int64_t n = tensor_elements(g->program, g->program->tensor.at[tensor]);
    return n > g->policy->small_elements && n >= beside / 8;
}

static bool has_gather(const ExprList *reads) {
    for (int r = 0; r < reads->count; r++)
        for (int d = 0; d < reads->at[r]->rank; d++)
            if (reads->at[r]->position[d].gather != NULL) return true;
    return false;
}

// ---- 1. epilogues

static bool is_update_source(const Graph *g, int tensor) {
    for (int i = 0; i < g->job->update.count; i++)
        if (g->job->update.at[i].source == tensor) return true;
    return false;
}

static bool identity_read(const Expr *e, int vars) {
    if (e->rank != vars) return false;
    for (int d = 0; d < e->rank; d++) {
        int var;
        if (!position_is_var(&e->position[d], &var) || var != d) return false;
    }
    return true;
}

static bool same_free(const Node *a, const Node *b) {
    if (a->eq->free != b->eq->free) return false;
    for (int v = 0; v < a->eq->free; v++)
        if (!extent_same(a->eq->var[v].extent, b->eq->var[v].extent)) return false;
    return true;
}

static bool try_epilogue(Graph *g, int group, int node) {
    const Node *n = &g->node[node], *root = &g->node[g->group.at[group].member.at[0]];
    if (n->kind != NODE_MAP || n->random || !singleton(g, node) || !same_free(n, root) || is_update_source(g, n->out))
        return false;
    if (g->program->tensor.at[n->out]->type != T_REAL) return false;
    const ExprList reads = *node_reads(g, n);
    if (has_gather(&reads) || reads_view_of(g, n, group)) return false;
    bool last_reader = false, needed = n->kept;
    for (int r = 0; r < reads.count; r++) {
        const Expr *e = reads.at[r];
        const Node *member = member_writing(g, group, e->tensor);
        const Tensor *t = g->program->tensor.at[e->tensor];
        if (member != NULL) {
            if (!identity_read(e, n->eq->free)) return false;
            last_reader |= !member->kept && g->reader[e->tensor].count == 1;
            continue;
        }
        bool large = is_large(g, e->tensor, n->elements);
        if (large && (t->kind == TENSOR_PARAM || t->kind == TENSOR_STATE)) return false; // an optimiser's business
        needed |= large;
    }
    for (int i = 0; i < g->reader[n->out].count; i++) needed |= g->node[g->reader[n->out].at[i]].kind == NODE_CONTRACT;
    if (!last_reader && !needed) return false; // better computed again by its readers
    if (count_buffers(g, group, n->group) > g->policy->most_buffers || !may_merge(g, group, n->group)) return false;
    int outer_of[MAX_VARS];
    for (int v = 0; v < MAX_VARS; v++) outer_of[v] = -1;
    merge_node(g, group, node, outer_of);
    return true;
}

static void sweep_epilogues(Graph *g) {
    for (int c = 0; c < g->nodes; c++) {
        if (g->node[c].kind != NODE_CONTRACT) continue;
        int group = g->node[c].group;
        bool again = true;
        while (again) {
            again = false;
            for (int m = 0; m < g->group.at[group].member.count && !again; m++) {
                const Numbers *readers = &g->reader[g->node[g->group.at[group].member.at[m]].out];
                for (int i = 0; i < readers->count && !again; i++)
                    if (g->node[readers->at[i]].group != group) again = try_epilogue(g, group, readers->at[i]);
            }
        }
    }
}

// ---- 2. rows

// The elements that a node handles per outer iteration, or -1 when they are not constant.
static int64_t row_size(const Node *n, const int *outer_of) {
    int64_t size = 1;
    for (int v = 0; v < n->eq->vars; v++) {
        if (v < n->eq->free && outer_of[v] >= 0) continue;
        if (n->eq->var[v].extent.axis >= 0) return -1;
        size *= n->eq->var[v].extent.count;
    }
    return size;
}

// Do the largest reads of a reduction walk along its reduced variables?
static bool is_row_reduction(const Graph *g, const Node *n) {
    if (n->kind != NODE_REDUCE) return false;
    int64_t row = row_size(n, n->outer_of), best = 0;
    if (row < 2 || row > g->policy->row_elements) return false;
    bool along = false;
    const ExprList reads = *node_reads(g, n);
    for (int r = 0; r < reads.count; r++) {
        const Expr *e = reads.at[r];
        const Tensor *t = g->program->tensor.at[e->tensor];
        int64_t size = tensor_elements(g->program, t);
        if (e->rank == 0 || size <= best) continue;
        const Position *p = &e->position[t->order[e->rank - 1]];
        int var;
        best = size;
        along = position_is_var(p, &var) && var >= n->eq->free;
        for (int d = 0; d < e->rank; d++)
            along &= e->position[d].gather == NULL && e->position[d].terms <= 1; // no windows
    }
    return along;
}

static bool bind(int *outer_of, int var, int outer) {
    if (outer_of[var] >= 0 && outer_of[var] != outer) return false;
    for (int v = 0; v < MAX_VARS; v++)
        if (v != var && outer_of[v] == outer) return false;
    outer_of[var] = outer;
    return true;
}

// Which of the node's variables are the group's outer ones, when it reads results of the group, or (`before`) when
// members read its result. False when it does not stay within one outer iteration.
static bool map_outer(const Graph *g, int group, const Node *n, bool before, int *outer_of) {
    const Group *gr = &g->group.at[group];
    for (int v = 0; v < MAX_VARS; v++) outer_of[v] = -1;
    ExprList reads = {0};
    if (!before) {
        reads = *node_reads(g, n);
        for (int r = 0; r < reads.count; r++) {
            const Node *w = member_writing(g, group, reads.at[r]->tensor);
            for (int d = 0; w != NULL && d < reads.at[r]->rank; d++) {
                int var;
                if (w->outer_of[d] < 0) continue;
                if (!position_is_var(&reads.at[r]->position[d], &var) || var >= n->eq->free) return false;
                if (!bind(outer_of, var, w->outer_of[d])) return false;
            }
        }
    } else {
        for (int m = 0; m < gr->member.count; m++) {
            const Node *w = &g->node[gr->member.at[m]];
            reads = *node_reads(g, w);
            for (int r = 0; r < reads.count; r++)
                for (int d = 0; reads.at[r]->tensor == n->out && d < reads.at[r]->rank; d++) {
                    int var;
                    bool plain = position_is_var(&reads.at[r]->position[d], &var);
                    if (plain && var < w->eq->free && w->outer_of[var] >= 0) {
                        if (!bind(outer_of, d, w->outer_of[var])) return false;
                    } else if (outer_of[d] >= 0) {
                        return false;
                    }
                }
        }
    }
    int bound = 0;
    for (int v = 0; v < n->eq->free; v++) {
        if (outer_of[v] < 0) continue;
        if (!extent_same(n->eq->var[v].extent, gr->extent[outer_of[v]])) return false;
        bound++;
    }
    if (bound != gr->outer) return false;
    if (before) // every read must agree on what is outer
        for (int m = 0; m < gr->member.count; m++) {
            const Node *w = &g->node[gr->member.at[m]];
            reads = *node_reads(g, w);
            for (int r = 0; r < reads.count; r++)
                for (int d = 0; reads.at[r]->tensor == n->out && d < reads.at[r]->rank; d++) {
                    int var;
                    bool plain = position_is_var(&reads.at[r]->position[d], &var);
                    int outer = plain && var < w->eq->free ? w->outer_of[var] : -1;
                    if (outer != outer_of[d]) return false;
                }
        }
    // The numbers of random elements follow the order of the variables: outer ones first, in order.
    for (int v = 0; n->random && v < n->eq->free; v++)
        if (outer_of[v] != (v < gr->outer ? v : -1)) return false;
    return true;
}

static bool try_row(Graph *g, int group, int node, bool before) {
    const Node *n = &g->node[node];
    if ((n->kind != NODE_MAP && n->kind != NODE_REDUCE) || !singleton(g, node) || reads_view_of(g, n, group))
        return false;
    if (stays_alone(g, n)) return false;
    int outer_of[MAX_VARS];
    if (!map_outer(g, group, n, before, outer_of)) return false;
    int64_t row = row_size(n, outer_of);
    if (row < 0 || row > g->policy->row_elements) return false;
    if (n->kind == NODE_REDUCE && row > 1 && !is_row_reduction(g, n)) return false;
    const ExprList reads = *node_reads(g, n);
    if (has_gather(&reads)) return false;
    if (count_buffers(g, group, n->group) > g->policy->most_buffers || !may_merge(g, group, n->group)) return false;
    merge_node(g, group, node, outer_of);
    return true;
}

static bool all_readers_in(const Graph *g, int tensor, int group) {
    for (int i = 0; i < g->reader[tensor].count; i++)
        if (g->node[g->reader[tensor].at[i]].group != group) return false;
    return true;
}

static bool grow_rows(Graph *g, int group) {
    const Group *gr = &g->group.at[group];
    for (int m = 0; m < gr->member.count; m++) {
        const Node *n = &g->node[gr->member.at[m]];
        for (int i = 0; i < g->reader[n->out].count; i++) {
            int reader = g->reader[n->out].at[i];
            if (g->node[reader].group != group && try_row(g, group, reader, false)) return true;
        }
        const ExprList reads = *node_reads(g, n);
        for (int r = 0; r < reads.count; r++) {
            int p = g->producer[reads.at[r]->tensor];
            if (p < 0 || g->node[p].group == group) continue;
            const Node *before = &g->node[p];
            bool row = before->kind == NODE_REDUCE && is_row_reduction(g, before); // another sum over the same rows
            bool shared = before->kind == NODE_MAP && !before->kept && g->reader[before->out].count >= 2 &&
                          all_readers_in(g, before->out, group); // a map that several members and nobody else read
            if (!row && !shared) continue;
            if (try_row(g, group, p, true)) return true;
        }
    }
    return false;
}

static void sweep_rows(Graph *g) {
    for (int i = 0; i < g->nodes; i++) {
        if (g->node[i].kind != NODE_REDUCE || !singleton(g, i) || !is_row_reduction(g, &g->node[i])) continue;
        while (grow_rows(g, g->node[i].group)) {}
    }
}

// ---- 4. neighbours

static bool same_outer(const Group *a, const Group *b) {
    if (a->outer != b->outer) return false;
    for (int i = 0; i < a->outer; i++)
        if (!extent_same(a->extent[i], b->extent[i])) return false;
    return true;
}

// Members of `b` read results of `a` at their own outer element only.
static bool reads_own_elements(const Graph *g, int a, int b, bool *any) {
    const Group *gb = &g->group.at[b];
    for (int m = 0; m < gb->member.count; m++) {
        const Node *n = &g->node[gb->member.at[m]];
        if (reads_view_of(g, n, a)) return false;
        const ExprList reads = *node_reads(g, n);
        for (int r = 0; r < reads.count; r++) {
            const Node *w = member_writing(g, a, reads.at[r]->tensor);
            if (w == NULL) continue;
            *any = true;
            for (int d = 0; d < reads.at[r]->rank; d++) {
                int var;
                if (!position_is_var(&reads.at[r]->position[d], &var)) return false;
                if (var >= n->eq->free || n->outer_of[var] < 0 || n->outer_of[var] != w->outer_of[d]) return false;
            }
        }
    }
    return true;
}

typedef struct Space {                  // what a group without inner variables iterates over
    bool simple, maps, reduces, random; // random: numbers that stay alone
    const Node *reduction;
} Space;

static Space space_of(const Graph *g, int group) {
    Space s = {.simple = !g->group.at[group].contraction, .maps = false};
    for (int m = 0; m < g->group.at[group].member.count; m++) {
        const Node *n = &g->node[g->group.at[group].member.at[m]];
        if (n->kind != NODE_MAP && n->kind != NODE_REDUCE) s.simple = false;
        for (int v = 0; v < n->eq->free; v++) s.simple &= n->outer_of[v] == v;
        s.random |= stays_alone(g, n);
        if (n->kind == NODE_MAP) s.maps = true;
        if (n->kind != NODE_REDUCE) continue;
        s.reduces = true;
        if (s.reduction == NULL) s.reduction = n;
    }
    return s;
}

static bool same_reduced(const Node *a, const Node *b) {
    if (a->eq->vars - a->eq->free != b->eq->vars - b->eq->free) return false;
    for (int v = 0; v < a->eq->vars - a->eq->free; v++)
        if (!extent_same(a->eq->var[a->eq->free + v].extent, b->eq->var[b->eq->free + v].extent)) return false;
    return true;
}

// Does a member of each group read the same tensor, one that matters beside the work?
static bool share_reads(Graph *g, int a, int b) {
    int set = graph_new_set(g, g->program->tensor.count), groups[2] = {a, b};
    for (int k = 0; k < 2; k++) {
        const Group *gr = &g->group.at[groups[k]];
        for (int m = 0; m < gr->member.count; m++) {
            const Node *n = &g->node[gr->member.at[m]];
            const ExprList *reads = node_reads(g, n);
            for (int r = 0; r < reads->count; r++) {
                int tensor = reads->at[r]->tensor;
                if (tensor_elements(g->program, g->program->tensor.at[tensor]) * 8 < n->iterations) continue;
                if (k == 1 && g->mark[tensor] == set) return true;
                if (k == 0) g->mark[tensor] = set;
            }
        }
    }
    return false;
}

static bool try_neighbours(Graph *g, int a, int b, bool reductions) {
    const Group *ga = &g->group.at[a], *gb = &g->group.at[b];
    if (ga->dead || gb->dead || a == b || !same_outer(ga, gb)) return false;
    Space x = space_of(g, a), y = space_of(g, b);
    if (x.random || y.random) return false;
    if (!x.simple || !y.simple || (reductions && (!x.reduces || !y.reduces))) return false;
    bool a_reads_b = false, b_reads_a = false;
    if (!reads_own_elements(g, a, b, &b_reads_a) || !reads_own_elements(g, b, a, &a_reads_b)) return false;
    if (x.reduces && y.reduces) {
        if (!same_reduced(x.reduction, y.reduction) || a_reads_b || b_reads_a || !share_reads(g, a, b)) return false;
    } else if (x.reduces || y.reduces) {
        // Only what follows a reduction element by element; a map in front of it would be computed in a second loop.
        if (x.reduces ? !b_reads_a || a_reads_b : !a_reads_b || b_reads_a) return false;
    } else if (!a_reads_b && !b_reads_a && !share_reads(g, a, b)) {
        return false;
    }
    if (count_buffers(g, a, b) > g->policy->most_buffers || !may_merge(g, a, b)) return false;
    merge(g, a, b);
    return true;
}

static void sweep_neighbours(Graph *g, bool reductions) {
    for (int i = 0; i < g->nodes; i++) {
        int group = g->node[i].group;
        if (group < 0 || g->group.at[group].member.at[0] != i) continue;
        bool again = true;
        while (again) {
            again = false;
            for (int m = 0; m < g->group.at[group].member.count && !again; m++) {
                const Node *n = &g->node[g->group.at[group].member.at[m]];
                for (int k = 0; k < g->reader[n->out].count && !again; k++) {
                    int other = g->node[g->reader[n->out].at[k]].group;
                    if (other >= 0 && other != group) again = try_neighbours(g, group, other, reductions);
                }
                const ExprList reads = *node_reads(g, n);
                for (int r = 0; r < reads.count && !again; r++) {
                    const Tensor *t = g->program->tensor.at[reads.at[r]->tensor];
                    if (tensor_elements(g->program, t) * 8 < n->iterations) continue; // nothing to share
                    for (int k = 0; k < g->reader[t->id].count && !again; k++) {
                        int other = g->node[g->reader[t->id].at[k]].group;
                        if (other >= 0 && other != group) again = try_neighbours(g, group, other, reductions);
                    }
                }
            }
        }
    }
}

void fuse_choose(Graph *g) {
    for (int i = 0; i < g->nodes; i++)
        if (g->node[i].kind != NODE_VIEW) new_group(g, i);
    if (g->policy->one_to_one) return;
    graph_edges(g);
    sweep_epilogues(g);
    sweep_rows(g);
    fuse_inline(g);
    graph_readers(g);
    graph_edges(g);
    sweep_neighbours(g, true); // reductions of one tensor first: what follows one of them would come between
    sweep_neighbours(g, false);
}
