// Fusion: equations -> kernels and calls. This file holds the graph and the order of the steps; what is fused is
// decided in fuse_group.c, the order of the kernels in fuse_order.c, and kernels are built in fuse_build.c.
//
// Requires jobs prepared by layout_job. Leaves a KernelProgram in which kernels of equal structure are one kernel.
#include "pass/fuse_internal.h"

#include <string.h>

const FusePolicy fuse_default = {
    .recompute_cost = 40,
    .pack_cost = 0,
    .row_elements = 8192,
    .small_elements = 4096,
    .most_buffers = 24,
    .contraction_flops = 1 << 15,
    .random_elements = 1 << 18,
};

int graph_new_set(Graph *g, int size) {
    if (size > g->marks) {
        g->marks = 2 * size;
        g->mark = NEW_ARRAY(g->arena, int, g->marks);
        g->stamp = 0;
    }
    return ++g->stamp;
}

const ExprList *node_reads(const Graph *g, const Node *n) {
    Node *node = (Node *)n; // a cache
    if (n->reads_of != n->value) {
        node->reads = (ExprList){0};
        expr_reads(g->arena, n->value, &node->reads);
        node->reads_of = n->value;
    }
    return &n->reads;
}

void graph_readers(Graph *g) {
    int tensors = g->program->tensor.count;
    memset(g->reader, 0, sizeof *g->reader * (size_t)tensors);
    for (int i = 0; i < g->nodes; i++) {
        const Node *n = &g->node[i];
        if (n->inlined) continue;
        ExprList reads = {0}; // a copy: targets add to it
        const ExprList *value = node_reads(g, n);
        for (int r = 0; r < value->count; r++) vec_push(g->arena, &reads, value->at[r]);
        for (int d = 0; n->eq->kind == EQ_SCATTER && d < g->program->tensor.at[n->out]->rank; d++)
            if (n->eq->target[d].gather != NULL) expr_reads(g->arena, n->eq->target[d].gather, &reads);
        for (int r = 0; r < reads.count; r++) {
            Numbers *list = &g->reader[reads.at[r]->tensor];
            if (list->count == 0 || vec_last(list) != i) vec_push(g->arena, list, i);
        }
    }
}

static void add_input(const Graph *g, int tensor, Numbers *out) {
    int n = g->producer[tensor];
    while (n >= 0 && g->node[n].kind == NODE_VIEW) n = g->producer[g->node[n].value->tensor];
    if (n < 0) return;
    for (int i = 0; i < out->count; i++)
        if (out->at[i] == n) return;
    vec_push(g->arena, out, n);
}

void node_inputs(const Graph *g, int n, Numbers *out) {
    const Node *node = &g->node[n];
    ExprList reads = {0};
    const ExprList *value = node_reads(g, node);
    for (int r = 0; r < value->count; r++) vec_push(g->arena, &reads, value->at[r]);
    if (node->eq->kind == EQ_SCATTER)
        for (int d = 0; d < g->program->tensor.at[node->out]->rank; d++)
            if (node->eq->target[d].gather != NULL) expr_reads(g->arena, node->eq->target[d].gather, &reads);
    for (int i = 0; i < reads.count; i++) add_input(g, reads.at[i]->tensor, out);
}

void graph_edges(Graph *g) {
    g->output = NEW_ARRAY(g->arena, Numbers, g->nodes + 1);
    for (int i = 0; i < g->nodes; i++) {
        if (g->node[i].inlined || g->node[i].kind == NODE_VIEW) continue;
        Numbers inputs = {0};
        node_inputs(g, i, &inputs);
        for (int k = 0; k < inputs.count; k++) vec_push(g->arena, &g->output[inputs.at[k]], i);
    }
}

static Graph *graph_new(Program *p, Job *job, const FusePolicy *policy) {
    Graph *g = NEW(p->arena, Graph);
    *g = (Graph){.program = p,
                 .job = job,
                 .policy = policy,
                 .arena = p->arena,
                 .nodes = job->equation.count,
                 .alias = !policy->one_to_one};
    int tensors = p->tensor.count;
    g->node = NEW_ARRAY(p->arena, Node, g->nodes);
    g->producer = NEW_ARRAY(p->arena, int, tensors);
    g->body = NEW_ARRAY(p->arena, Expr *, tensors);
    g->reader = NEW_ARRAY(p->arena, Numbers, tensors);
    for (int i = 0; i < tensors; i++) g->producer[i] = -1;
    for (int i = 0; i < g->nodes; i++) {
        Node *n = &g->node[i];
        const Equation *eq = job->equation.at[i];
        *n = (Node){.eq = eq, .value = eq->value, .out = eq->out, .group = -1, .scale = 1};
        n->elements = tensor_elements(p, p->tensor.at[eq->out]);
        n->iterations = 1;
        for (int v = 0; v < eq->vars; v++) n->iterations *= extent_bound(p, eq->var[v].extent);
        n->random = fuse_contains(p->arena, eq->value, OP_RANDOM);
        for (int v = 0; v < MAX_VARS; v++) n->outer_of[v] = -1;
        g->producer[eq->out] = i;
        recognise_node(g, n);
    }
    // What others than kernels look at must be stored under its own name.
    for (int i = 0; i < g->nodes; i++) {
        if (g->node[i].kind != NODE_VIEW) continue;
        int source = g->producer[g->node[i].value->tensor];
        if (source >= 0) g->node[source].kept = true;
    }
    for (int i = 0; i < job->output.count; i++) {
        int n = g->producer[job->output.at[i].tensor];
        if (n >= 0) g->node[n].kept = true;
    }
    for (int i = 0; i < job->update.count; i++) g->node[g->producer[job->update.at[i].source]].kept = true;
    graph_readers(g);
    return g;
}

KernelProgram *fuse_program(Program *p, const FusePolicy *policy) {
    KernelProgram *k = NEW(p->arena, KernelProgram);
    k->program = p;
    for (int j = 0; j < p->job.count; j++) {
        Job *job = p->job.at[j];
        JobCalls calls = {.job = job};
        Graph *g = graph_new(p, job, policy);
        fuse_choose(g);
        for (int i = 0; i < g->nodes; i++) {
            const Node *n = &g->node[i];
            if (n->kind == NODE_VIEW) vec_push(p->arena, &calls.alias, ((Update){n->out, n->value->tensor}));
            if (n->kind == NODE_SCATTER) vec_push(p->arena, &calls.zero, n->out);
        }
        Numbers order = {0};
        fuse_order(g, &calls, &order);
        for (int i = 0; i < order.count; i++) {
            KernelCall call = fuse_build(g, order.at[i], &calls);
            call.kernel = program_kernel(k, call.kernel, call.kernel->name);
            vec_push(p->arena, &calls.call, call);
        }
        vec_push(p->arena, &k->job, calls);
    }
    return k;
}
