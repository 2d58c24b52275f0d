// Fusion, order: in which order the groups run and which updates write their target directly.
//
// An update may be made in place when every other reader of the old value can run before the kernel that computes the
// new one, and that kernel itself reads the old value, if at all, only at the element that it is about to write. Order:
// program order, except that a group that frees more memory than it takes, or takes hardly any, goes first (an
// optimiser's update runs as soon as its gradient is there, a sum over a tensor right after the tensor was made).
#include "pass/fuse_internal.h"

enum { SMALL_BYTES = 16384 }; // a group that stores no more than this runs as soon as it can: its inputs are still warm

typedef struct Order {
    Graph *g;
    int groups;
    Numbers *before; // group -> groups that must run before it
    Numbers *after;
} Order;

static void edge(Order *o, int from, int to) {
    if (from == to) return;
    for (int i = 0; i < o->before[to].count; i++)
        if (o->before[to].at[i] == from) return;
    vec_push(o->g->arena, &o->before[to], from);
    vec_push(o->g->arena, &o->after[from], to);
}

static bool reaches(const Order *o, int from, int to, int set) {
    if (from == to) return true;
    if (o->g->mark[from] == set) return false;
    o->g->mark[from] = set;
    for (int i = 0; i < o->after[from].count; i++)
        if (reaches(o, o->after[from].at[i], to, set)) return true;
    return false;
}

static bool path(const Order *o, int from, int to) {
    return reaches(o, from, to, graph_new_set(o->g, o->groups));
}

static int alias_root(const Graph *g, int tensor) {
    int n = g->producer[tensor];
    while (n >= 0 && g->node[n].kind == NODE_VIEW) {
        tensor = g->node[n].value->tensor;
        n = g->producer[tensor];
    }
    return tensor;
}

// Does every read of `tensor` in the group stand at the element that member `writer` writes?
static bool reads_own_element(const Graph *g, int group, int tensor, const Node *writer) {
    const Group *gr = &g->group.at[group];
    bool reads_any = false;
    for (int m = 0; m < gr->member.count; m++) {
        const Node *n = &g->node[gr->member.at[m]];
        const ExprList reads = *node_reads(g, n);
        for (int r = 0; r < reads.count; r++) {
            const Expr *e = reads.at[r];
            if (alias_root(g, e->tensor) != tensor) continue;
            if (e->tensor != tensor) return false; // under another shape
            reads_any = true;
            for (int d = 0; d < e->rank; d++) {
                int var;
                if (!position_is_var(&e->position[d], &var) || var >= n->eq->free) return false;
                if (n->outer_of[var] < 0 || n->outer_of[var] != writer->outer_of[d]) return false;
            }
        }
    }
    return !reads_any || fuse_group_is_pointwise(g, group);
}

static bool same_storage(const Program *p, int a, int b) {
    const Tensor *x = p->tensor.at[a], *y = p->tensor.at[b];
    if (x->type != y->type || x->rank != y->rank) return false;
    for (int i = 0; i < x->rank; i++)
        if (!extent_same(x->dim[i], y->dim[i]) || x->order[i] != y->order[i]) return false;
    return true;
}

static bool is_output(const Job *job, int tensor) {
    for (int i = 0; i < job->output.count; i++)
        if (job->output.at[i].tensor == tensor) return true;
    return false;
}

static bool update_in_place(Order *o, Update u) {
    Graph *g = o->g;
    const Node *writer = &g->node[g->producer[u.source]];
    if (writer->kind == NODE_VIEW || writer->kind == NODE_SCATTER || writer->group < 0) return false;
    if (!same_storage(g->program, u.target, u.source) || is_output(g->job, u.target)) return false;
    int group = writer->group;
    if (!reads_own_element(g, group, u.target, writer)) return false;
    Numbers readers = {0};
    for (int t = 0; t < g->program->tensor.count; t++)
        if (g->reader[t].count > 0 && alias_root(g, t) == u.target)
            for (int i = 0; i < g->reader[t].count; i++) {
                const Node *r = &g->node[g->reader[t].at[i]];
                if (r->kind == NODE_VIEW) {
                    if (is_output(g->job, r->out)) return false;
                    continue;
                }
                if (r->group != group) vec_push(g->arena, &readers, r->group);
            }
    for (int i = 0; i < readers.count; i++)
        if (path(o, group, readers.at[i])) return false;
    for (int i = 0; i < readers.count; i++) edge(o, readers.at[i], group);
    return true;
}

static int64_t tensor_bytes(const Graph *g, int tensor) {
    const Tensor *t = g->program->tensor.at[tensor];
    return tensor_elements(g->program, t) * element_size(g->program, t->type);
}

void fuse_order(Graph *g, JobCalls *calls, Numbers *order) {
    Order o = {.g = g, .groups = g->group.count};
    o.before = NEW_ARRAY(g->arena, Numbers, o.groups);
    o.after = NEW_ARRAY(g->arena, Numbers, o.groups);
    for (int i = 0; i < g->nodes; i++) {
        if (g->node[i].group < 0) continue;
        Numbers inputs = {0};
        node_inputs(g, i, &inputs);
        for (int k = 0; k < inputs.count; k++) edge(&o, g->node[inputs.at[k]].group, g->node[i].group);
    }
    graph_readers(g);
    bool *direct = NEW_ARRAY(g->arena, bool, g->program->tensor.count);
    for (int i = 0; i < g->job->update.count; i++) {
        Update u = g->job->update.at[i];
        if (update_in_place(&o, u)) {
            vec_push(g->arena, &calls->in_place, u);
            direct[u.source] = true;
        } else {
            vec_push(g->arena, &calls->copy, u);
        }
    }

    // Memory effect of each group: what it stores, and what dies when its last reader has run.
    int tensors = g->program->tensor.count;
    int *readers_left = NEW_ARRAY(g->arena, int, tensors);   // groups that still read a storage root
    Numbers *roots = NEW_ARRAY(g->arena, Numbers, o.groups); // roots read by a group
    int64_t *takes = NEW_ARRAY(g->arena, int64_t, o.groups);
    bool *pinned = NEW_ARRAY(g->arena, bool, tensors);
    int *first = NEW_ARRAY(g->arena, int, o.groups);
    for (int i = 0; i < g->job->output.count; i++) pinned[alias_root(g, g->job->output.at[i].tensor)] = true;
    for (int i = 0; i < calls->copy.count; i++) pinned[alias_root(g, calls->copy.at[i].source)] = true;
    for (int i = 0; i < o.groups; i++) {
        const Group *gr = &g->group.at[i];
        first[i] = -1;
        for (int m = 0; m < gr->member.count; m++) {
            int n = gr->member.at[m];
            if (m == 0) first[i] = n;
            if (!direct[g->node[n].out] && fuse_stored(g, n)) takes[i] += tensor_bytes(g, g->node[n].out);
            const ExprList reads = *node_reads(g, &g->node[n]);
            for (int r = 0; r < reads.count; r++) {
                int root = alias_root(g, reads.at[r]->tensor);
                bool listed = g->producer[root] < 0 || g->node[g->producer[root]].group == i || direct[root];
                for (int k = 0; k < roots[i].count; k++) listed |= roots[i].at[k] == root;
                if (listed) continue;
                vec_push(g->arena, &roots[i], root);
                readers_left[root]++;
            }
        }
    }
    int *waiting = NEW_ARRAY(g->arena, int, o.groups);
    bool *done = NEW_ARRAY(g->arena, bool, o.groups);
    int live = 0;
    for (int i = 0; i < o.groups; i++) {
        waiting[i] = o.before[i].count;
        live += !g->group.at[i].dead;
    }
    while (order->count < live) {
        int best = -1;
        bool best_frees = false;
        for (int i = 0; i < o.groups; i++) {
            if (done[i] || waiting[i] > 0 || g->group.at[i].dead) continue;
            int64_t frees = 0;
            for (int k = 0; k < roots[i].count; k++)
                if (readers_left[roots[i].at[k]] == 1 && !pinned[roots[i].at[k]])
                    frees += tensor_bytes(g, roots[i].at[k]);
            bool good = frees > takes[i] || takes[i] <= SMALL_BYTES;
            if (best < 0 || (good && !best_frees) || (good == best_frees && first[i] < first[best])) {
                best = i;
                best_frees = good;
            }
        }
        EXPECT(best >= 0);
        done[best] = true;
        for (int k = 0; k < roots[best].count; k++) readers_left[roots[best].at[k]]--;
        for (int k = 0; k < o.after[best].count; k++) waiting[o.after[best].at[k]]--;
        vec_push(g->arena, order, best);
    }
}
