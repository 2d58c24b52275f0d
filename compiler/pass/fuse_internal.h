// What the files of the fusion pass share: the graph of equations under fusion and rewriting of expressions.
#ifndef STMC_FUSE_INTERNAL_H
#define STMC_FUSE_INTERNAL_H

#include "pass/pass.h"

// ---- fuse_expr.c: expressions

typedef struct ExprMap { // pointer to pointer
    Arena *arena;
    const void **key;
    void **value;
    int count, room;
} ExprMap;
void *fuse_map_get(const ExprMap *m, const void *key);
void fuse_map_put(ExprMap *m, const void *key, void *value);

typedef VEC(const Expr *) ExprList;
// The distinct READ nodes of `e`, those inside gathered positions too, in the order of a left-to-right walk.
void expr_reads(Arena *arena, const Expr *e, ExprList *out);
bool fuse_contains(Arena *arena, const Expr *e, ScalarOp op);
// Scalar operations of one evaluation; shared nodes count once. Transcendentals count by their polynomials.
int expr_cost(Arena *arena, const Expr *e);
// The set of variables (bits) on which `e` depends.
uint32_t expr_variables(const Expr *e);
uint32_t position_variables(const Position *p);

// `e` with reads of tensor t replaced by body[t] (over the dimensions of t as variables 0..rank) wherever body[t] !=
// NULL. `var` are the variables of `e`. NULL when a position cannot be composed.
typedef struct Inline {
    const Program *program;
    Job *job;
    Expr *const *body;
} Inline;
Expr *expr_inline(const Inline *in, const Variable *var, Expr *e);

// May the position leave [0, dim)? Conservative. `axis_bound` arithmetic holds for every run-time extent >= 1.
bool position_may_leave(const Variable *var, const Position *p, Extent dim);

// ---- the graph

typedef enum NodeKind { NODE_MAP, NODE_REDUCE, NODE_CONTRACT, NODE_SCATTER, NODE_VIEW } NodeKind;

typedef struct Node { // one equation
    const Equation *eq;
    Expr *value;    // after inlining
    ExprList reads; // of the value (node_reads), current while reads_of == value
    const Expr *reads_of;
    NodeKind kind;
    int out;      // tensor
    bool inlined; // substituted in every reader, not computed
    bool random;
    bool kept;                    // read by an output, an update or a view: must be stored
    int group;                    // -1 while alone
    int outer_of[MAX_VARS];       // outer variable of the group for each free variable (SCATTER: any variable), or -1
    int64_t elements, iterations; // at the bounds
    // ---- contractions (recognise.c)
    Role role[MAX_VARS];
    Expr *product[2];  // the operands
    double scale;      // constant factor pulled out of the sum
    const char *label; // "conv" "gemm" ...
    bool any_operand;  // recognise contractions whose operands cannot be packed, too
} Node;

typedef VEC(int) Numbers;

typedef struct Group { // equations that become one kernel
    Numbers member;    // nodes in order of execution
    bool contraction;
    int outer;
    Extent extent[MAX_VARS]; // of the outer variables
    bool dead;               // merged away
} Group;

typedef struct Graph {
    Program *program;
    Job *job;
    const FusePolicy *policy;
    Arena *arena;
    int nodes;
    Node *node;
    int *producer; // tensor -> node, or -1
    Expr **body;   // tensor -> value of its inlined map
    VEC(Group) group;
    Numbers *reader;  // tensor -> nodes whose value reads it (rebuilt by graph_readers)
    Numbers *output;  // node -> nodes that depend on it directly, views looked through (graph_edges)
    bool alias;       // maps between equal storages are views
    int *mark, stamp; // scratch for sets of tensors or groups: in the set when mark[i] == stamp
    int marks;
    int *in_place, *local_of, *buffer_of; // fuse_build.c, by tensor
} Graph;
int graph_new_set(Graph *g, int size); // the stamp of an empty set
const ExprList *node_reads(const Graph *g, const Node *n);

void graph_readers(Graph *g);
void graph_edges(Graph *g);
// Is there a path from group `from` to group `to` through at least one other group?  Edges follow values.
bool graph_path_outside(Graph *g, int from, int to);
// The nodes on whose results node n depends directly (computed ones: inlined maps are looked through).
void node_inputs(const Graph *g, int n, Numbers *out);

// ---- recognise.c: kinds, contractions with roles and operands, labels.
void recognise_node(Graph *g, Node *n);
bool operand_is_packable(Arena *arena, const Expr *e);

// ---- fuse_group.c: which nodes share a kernel.
void fuse_choose(Graph *g);

// ---- fuse_inline.c: which maps are substituted in their readers. Keeps g->reader current.
void fuse_inline(Graph *g);

// ---- fuse_order.c: the order of the groups, updates in place, lifetimes.
void fuse_order(Graph *g, JobCalls *calls, Numbers *order);

// ---- fuse_build.c: a group becomes a kernel and a call.
KernelCall fuse_build(Graph *g, int group, const JobCalls *calls);
bool fuse_stored(const Graph *g, int node);              // is its tensor needed outside of its group?
bool fuse_group_is_pointwise(const Graph *g, int group); // all free variables of all members are outer

#endif
