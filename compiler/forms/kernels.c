// Printer, verifier and structural hash of the kernel form. spec/kernels.md describes the text.
// The printer prints broken kernels too, so that a verifier's message can be shown beside what it is about.
#include "forms/kernels.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const int op_arity[OP_COUNT] = {
#define X(name, text, arity, result, differentiable) arity,
    SCALAR_OPS(X)
#undef X
};
static const char op_rule[] = // one letter per primitive
#define X(name, text, arity, result, differentiable) #result
    SCALAR_OPS(X)
#undef X
    ;
static const char *const reduce_text[] = {"", "sum", "max", "min", "prod", "argmax", "argmin"};
static const char *const role_text[] = {"", "batch", "m", "n", "k"};

// Expressions of more nodes than this name what they use twice ($1=...) instead of repeating it.
enum { SHARE_ABOVE = 60, MOST_NODES = 1 << 20, TEXT_LENGTH = 400 };

// ---- a walk over an expression as a graph: every node once, children first
typedef struct Node {
    const Expr *e;
    int uses, number;
    uint64_t hash;
} Node;

typedef struct Graph {
    Arena *arena;
    VEC(Node) node;
    int *slot; // open addressing: 1 + index into node
    int room;
} Graph;

static int graph_slot(const Graph *g, const Expr *e) {
    int i = (int)((((uint64_t)(uintptr_t)e >> 4) * 0x9E3779B97F4A7C15u) >> 40) & (g->room - 1);
    while (g->slot[i] && g->node.at[g->slot[i] - 1].e != e) i = (i + 1) & (g->room - 1);
    return i;
}

static Node *graph_find(const Graph *g, const Expr *e) {
    int i = g->room ? g->slot[graph_slot(g, e)] : 0;
    return i ? &g->node.at[i - 1] : NULL;
}

static void graph_grow(Graph *g) {
    if (g->room > 2 * g->node.count) return;
    g->room = g->room ? 4 * g->room : 64;
    g->slot = NEW_ARRAY(g->arena, int, g->room);
    for (int i = 0; i < g->node.count; i++) g->slot[graph_slot(g, g->node.at[i].e)] = i + 1;
}

static void graph_add(Graph *g, const Expr *e) {
    Node *known = graph_find(g, e);
    if (known) {
        known->uses++;
        return;
    }
    for (int i = 0; i < e->arity && i < 3; i++)
        if (e->arg[i]) graph_add(g, e->arg[i]);
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather) graph_add(g, e->position[i].gather);
    Node n = {.e = e, .uses = 1};
    vec_push(g->arena, &g->node, n);
    graph_grow(g);
    g->slot[graph_slot(g, e)] = g->node.count;
}

// ---- printer
typedef struct Printer {
    const Kernel *k;
    const Program *p;
    Text *out;
    Graph *graph;
    int numbered;
} Printer;

static const char *type_text(const Program *p, ElementType t) {
    return t == T_REAL && p->real64 ? "f64" : t >= 0 && t < T_COUNT ? element_type_name[t] : "type?";
}

static void put_extent(const Printer *pr, Extent e) {
    if (e.axis < 0) {
        text_add(pr->out, "%" PRId64, e.count);
        return;
    }
    if (e.count != 1) text_add(pr->out, "%" PRId64 "*", e.count);
    if (e.axis < pr->p->axis.count) text_add(pr->out, "%s", pr->p->axis.at[e.axis].name);
    else text_add(pr->out, "step%d", e.axis - pr->p->axis.count);
}

// Variables of different equations may share a name; the number makes it unique.
static void put_var(const Printer *pr, int var) {
    if (var < 0 || var >= pr->k->vars) {
        text_add(pr->out, "var%d?", var);
        return;
    }
    const char *name = pr->k->var[var].name;
    bool twice = name == NULL;
    for (int i = 0; i < pr->k->vars && !twice; i++)
        twice = i != var && pr->k->var[i].name && strcmp(name, pr->k->var[i].name) == 0;
    if (twice) text_add(pr->out, "%s.%d", name ? name : "v", var);
    else text_add(pr->out, "%s", name);
}

static void put_range(const Printer *pr, int var) {
    put_var(pr, var);
    text_add(pr->out, ":");
    if (var >= 0 && var < pr->k->vars) put_extent(pr, pr->k->var[var].extent);
}

static void put_expr(Printer *pr, const Expr *e);

static void put_affine(const Printer *pr, const Position *x) {
    bool first = true;
    for (int t = 0; t < x->terms; t++) {
        int64_t c = x->term[t].coef;
        text_add(pr->out, "%s", c < 0 ? (first ? "-" : " - ") : first ? "" : " + ");
        if (c != 1 && c != -1) text_add(pr->out, "%" PRIu64 "*", c < 0 ? -(uint64_t)c : (uint64_t)c);
        put_var(pr, x->term[t].var);
        first = false;
    }
    if (first) text_add(pr->out, "%" PRId64, x->offset);
    else if (x->offset)
        text_add(pr->out, " %c %" PRIu64, x->offset < 0 ? '-' : '+',
                 x->offset < 0 ? -(uint64_t)x->offset : (uint64_t)x->offset);
}

static void put_position(Printer *pr, const Position *x) {
    if (x->gather) {
        text_add(pr->out, "@");
        put_expr(pr, x->gather);
    } else {
        bool divided = x->divide > 1 || x->modulo > 0, alone = x->terms + (x->offset != 0) <= 1;
        if (!alone && (divided || x->terms > 0)) text_add(pr->out, "(");
        put_affine(pr, x);
        if (!alone && (divided || x->terms > 0)) text_add(pr->out, ")");
        if (x->divide > 1) text_add(pr->out, x->exact ? "/%" PRId64 "!" : "//%" PRId64, x->divide);
        if (x->modulo > 0) text_add(pr->out, "%%%" PRId64, x->modulo);
    }
    if (x->guarded) text_add(pr->out, "?");
}

static void put_place(Printer *pr, int tensor, int rank, const Position *position) {
    if (tensor < 0) text_add(pr->out, "~%d", ~tensor);
    else text_add(pr->out, "b%d", tensor);
    if (tensor < 0 && rank == 0) return;
    text_add(pr->out, "[");
    for (int d = 0; d < rank; d++) {
        if (d) text_add(pr->out, ", ");
        put_position(pr, &position[d]);
    }
    text_add(pr->out, "]");
}

static void put_expr(Printer *pr, const Expr *e) {
    Text *out = pr->out;
    Node *n = pr->graph ? graph_find(pr->graph, e) : NULL;
    if (n && n->uses > 1 && e->arity > 0) {
        if (n->number) {
            text_add(out, "$%d", n->number);
            return;
        }
        n->number = ++pr->numbered;
        text_add(out, "$%d=", n->number);
    }
    switch (e->op) {
    case OP_CONST:
        if (isnan(e->number)) text_add(out, "nan");
        else if (isinf(e->number)) text_add(out, e->number < 0 ? "-inf" : "inf");
        else text_real(out, e->number);
        if (e->type != T_REAL) text_add(out, "%s", type_text(pr->p, e->type));
        return;
    case OP_INDEX:
        text_add(out, "index(");
        put_var(pr, e->var);
        text_add(out, ")");
        return;
    case OP_EXTENT:
        text_add(out, "extent(");
        put_extent(pr, e->extent);
        text_add(out, ")");
        return;
    case OP_RANDOM:
        if (e->extent.count > 0) text_add(out, "random(step%d)", e->extent.axis - pr->p->axis.count);
        else text_add(out, "random(%" PRIu32 ")", e->place);
        return;
    case OP_READ: put_place(pr, e->tensor, e->rank, e->position); return;
    default: break;
    }
    if (e->op == OP_CAST) text_add(out, "%s(", type_text(pr->p, e->type));
    else text_add(out, "%s(", e->op >= 0 && e->op < OP_COUNT ? op_text[e->op] : "op?");
    for (int i = 0; i < e->arity; i++) {
        if (i) text_add(out, ", ");
        put_expr(pr, e->arg[i]);
    }
    text_add(out, ")");
}

static void put_stage(Printer *pr, const Stage *s) {
    Text *out = pr->out;
    Graph graph = {.arena = out->arena};
    graph_add(&graph, s->value);
    pr->graph = graph.node.count > SHARE_ABOVE ? &graph : NULL;
    pr->numbered = 0;
    text_add(out, "  %s ", s->accumulate ? "scatter" : "stage");
    put_place(pr, s->dest, s->rank, s->target);
    text_add(out, s->accumulate ? " += " : " = ");
    if (s->reduce != REDUCE_NONE) {
        text_add(out, "%s[", reduce_text[s->reduce]);
        for (int i = s->free; i < s->vars; i++) {
            if (i > s->free) text_add(out, ", ");
            put_range(pr, s->var[i]);
        }
        text_add(out, "] ");
    }
    put_expr(pr, s->value);
    for (int i = 0; i < s->free; i++) {
        text_add(out, i ? ", " : " over ");
        put_range(pr, s->var[i]);
    }
    text_add(out, "\n");
    pr->graph = NULL;
}

void kernel_print(const Kernel *k, const Program *p, Text *out) {
    Printer pr = {.k = k, .p = p, .out = out};
    text_add(out, "kernel %s %s", k->name ? k->name : "?", k->kind == KERNEL_CONTRACTION ? "contraction" : "loops");
    if (k->precision != PRECISION_MODEL)
        text_add(out, " at %s", (unsigned)k->precision < PRECISIONS ? precision_name[k->precision] : "precision?");
    if (k->origin) text_add(out, " \"%s\"", k->origin);
    text_add(out, "\n");
    for (int i = 0; i < k->buffer.count; i++) {
        const KernelBuffer *b = &k->buffer.at[i];
        bool plain = true;
        text_add(out, "  buffer %d %s [", i, type_text(p, b->type));
        for (int d = 0; d < b->rank; d++) {
            if (d) text_add(out, " ");
            put_extent(&pr, b->dim[d]);
            plain = plain && b->order[d] == d;
        }
        text_add(out, "]%s%s", b->is_read ? " read" : "", b->is_written ? " write" : "");
        if (!plain) {
            text_add(out, " order");
            for (int d = 0; d < b->rank; d++) text_add(out, " %d", b->order[d]);
        }
        if (i == k->scalar_seed) text_add(out, " seed");
        if (i == k->scalar_step) text_add(out, " step");
        text_add(out, "\n");
    }
    for (int i = 0; i < k->local.count; i++) {
        text_add(out, "  local %d %s [", i, type_text(p, k->local.at[i].type));
        for (int d = 0; d < k->local.at[i].rank; d++) {
            if (d) text_add(out, " ");
            put_extent(&pr, k->local.at[i].dim[d]);
        }
        text_add(out, "]\n");
    }
    for (int v = 0; v < k->outer; v++) {
        text_add(out, v ? ", " : "  outer ");
        put_range(&pr, v);
    }
    if (k->outer) text_add(out, "\n");
    for (int s = 0; s < k->stage.count; s++) put_stage(&pr, &k->stage.at[s]);
    bool roles = false;
    for (int v = 0; v < k->vars; v++) roles = roles || k->role[v] != ROLE_NONE;
    if (k->lane < 0 && k->split < 0 && !roles) return;
    text_add(out, "  schedule");
    if (k->lane >= 0) {
        text_add(out, " lane ");
        put_var(&pr, k->lane);
    }
    if (k->split >= 0) {
        text_add(out, " split ");
        put_var(&pr, k->split);
        text_add(out, " chunks %d", k->chunks);
    }
    for (int v = 0; v < k->vars; v++) {
        if (k->role[v] == ROLE_NONE) continue;
        text_add(out, " %s ", role_text[k->role[v]]);
        put_var(&pr, v);
    }
    text_add(out, "\n");
}

// ---- verifier
typedef struct Verifier {
    const Kernel *k;
    const Program *p;
    int stage;
    bool usable[2 * MAX_VARS]; // variables that the stage's value may use
    bool *written;             // locals written by earlier stages
    Graph graph;
} Verifier;

__attribute__((format(printf, 2, 3))) static const char *broken(const Verifier *v, const char *format, ...) {
    char text[TEXT_LENGTH];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (v->stage < 0) return arena_format(v->p->arena, "kernel %s: %s", v->k->name, text);
    return arena_format(v->p->arena, "kernel %s, stage %d: %s", v->k->name, v->stage, text);
}

static bool valid_extent(const Program *p, Extent e) {
    return e.count >= 0 && e.axis >= -1 && e.axis < p->axis.count + 2; // two step extents follow the axes
}

static bool is_int(ElementType t) {
    return t == T_I32 || t == T_I64 || t == T_U8;
}

static const char *check_position(const Verifier *v, const Position *x, int tensor, int dimension, Extent dim) {
    if (x->gather) {
        if (!is_int(x->gather->type))
            return broken(v, "dimension %d of %d is gathered by no integer", dimension, tensor);
        return NULL;
    }
    if (x->terms < 0 || x->terms > 4) return broken(v, "dimension %d of %d has %d terms", dimension, tensor, x->terms);
    if (x->divide < 1 || x->modulo < 0)
        return broken(v, "dimension %d of %d is divided by %lld modulo %lld", dimension, tensor, (long long)x->divide,
                      (long long)x->modulo);
    int64_t low = x->offset, high = x->offset;
    bool known = dim.axis < 0;
    for (int t = 0; t < x->terms; t++) {
        int var = x->term[t].var;
        if (var < 0 || var >= v->k->vars || !v->usable[var])
            return broken(v, "dimension %d of %d uses variable %d, which is not in scope", dimension, tensor, var);
        Extent e = v->k->var[var].extent;
        int64_t span;
        if (e.axis >= 0) {
            known = false;
            continue;
        }
        if (e.count == 0) return NULL; // never evaluated
        if (__builtin_mul_overflow(x->term[t].coef, e.count - 1, &span) ||
            __builtin_add_overflow(span < 0 ? low : high, span, span < 0 ? &low : &high))
            return broken(v, "dimension %d of %d overflows", dimension, tensor);
    }
    if (!known || x->guarded || x->exact) return NULL;
    if (x->divide > 1) {
        low = low < 0 ? -((-low + x->divide - 1) / x->divide) : low / x->divide;
        high = high < 0 ? -((-high + x->divide - 1) / x->divide) : high / x->divide;
    }
    if (x->modulo > 0 && (low < 0 || high >= x->modulo)) low = 0, high = x->modulo - 1;
    if (low < 0 || high >= dim.count)
        return broken(v, "dimension %d of %d reaches %lld..%lld of %lld without a guard", dimension, tensor,
                      (long long)low, (long long)high, (long long)dim.count);
    return NULL;
}

static const char *check_place(const Verifier *v, int tensor, int rank, const Position *position) {
    const Kernel *k = v->k;
    if (tensor >= k->buffer.count || ~tensor >= k->local.count) return broken(v, "there is no tensor %d", tensor);
    int real_rank = tensor >= 0 ? k->buffer.at[tensor].rank : k->local.at[~tensor].rank;
    const Extent *dim = tensor >= 0 ? k->buffer.at[tensor].dim : k->local.at[~tensor].dim;
    if (rank != real_rank) return broken(v, "tensor %d of rank %d is addressed with rank %d", tensor, real_rank, rank);
    for (int d = 0; d < rank; d++) {
        const char *wrong = check_position(v, &position[d], tensor, d, dim[d]);
        if (wrong) return wrong;
    }
    return NULL;
}

static const char *check_types(const Verifier *v, const Expr *e) {
    const Expr *const *a = (const Expr *const *)e->arg;
    bool fits = true;
    if (e->arity != op_arity[e->op]) return broken(v, "%s has %d arguments", op_text[e->op], e->arity);
    for (int i = 0; i < e->arity; i++)
        if (!a[i]) return broken(v, "%s lacks argument %d", op_text[e->op], i);
    switch (op_rule[e->op]) {
    case 'R':
        fits = e->type == T_REAL;
        for (int i = 0; i < e->arity; i++) fits = fits && a[i]->type == T_REAL;
        break;
    case 'B': fits = e->type == T_BOOL && a[0]->type == a[1]->type; break;
    case 'L':
        fits = e->type == T_BOOL;
        for (int i = 0; i < e->arity; i++) fits = fits && a[i]->type == T_BOOL;
        break;
    case 'I': fits = is_int(e->type) && a[0]->type == e->type && a[1]->type == e->type; break;
    case 'S': fits = a[0]->type == T_BOOL && a[1]->type == e->type && a[2]->type == e->type; break;
    default: break;
    }
    return fits ? NULL : broken(v, "the types of %s do not fit", op_text[e->op]);
}

// The type of a value that comes from or goes to a buffer.
static ElementType value_type(const KernelBuffer *b) {
    return b->type == T_BF16 ? T_REAL : b->type;
}

static const char *check_expr(Verifier *v, const Expr *e) {
    const Kernel *k = v->k;
    const char *wrong = NULL;
    if (!e) return broken(v, "an expression is missing");
    if (e->op < 0 || e->op >= OP_COUNT) return broken(v, "there is no primitive %d", (int)e->op);
    if (e->type < 0 || e->type >= T_BF16) return broken(v, "a value of type %s", type_text(v->p, e->type));
    if (graph_find(&v->graph, e)) return NULL;
    wrong = check_types(v, e);
    for (int i = 0; i < e->arity && !wrong; i++) wrong = check_expr(v, e->arg[i]);
    if (wrong) return wrong;
    if (e->op == OP_INDEX && (e->var < 0 || e->var >= k->vars || !v->usable[e->var]))
        return broken(v, "index of variable %d, which is not in scope", e->var);
    if (e->op == OP_EXTENT && !valid_extent(v->p, e->extent)) return broken(v, "an extent of axis %d", e->extent.axis);
    if (e->op == OP_READ) {
        wrong = check_place(v, e->tensor, e->rank, e->position);
        for (int d = 0; d < e->rank && !wrong; d++)
            if (e->position[d].gather) wrong = check_expr(v, e->position[d].gather);
        if (wrong) return wrong;
        ElementType type = e->tensor >= 0 ? value_type(&k->buffer.at[e->tensor]) : k->local.at[~e->tensor].type;
        if (type != e->type) return broken(v, "a read of %d has another type than the tensor", e->tensor);
        if (e->tensor < 0 && !v->written[~e->tensor])
            return broken(v, "local %d is read before it is written", ~e->tensor);
        if (e->tensor >= 0 && !k->buffer.at[e->tensor].is_read && !k->buffer.at[e->tensor].is_written)
            return broken(v, "buffer %d is read but not marked", e->tensor);
    }
    graph_add(&v->graph, e);
    if (v->graph.node.count > MOST_NODES) return broken(v, "more than %d nodes", MOST_NODES);
    return NULL;
}

static const char *check_stage(Verifier *v, const Stage *s) {
    const Kernel *k = v->k;
    bool arg = s->reduce == REDUCE_ARGMAX || s->reduce == REDUCE_ARGMIN;
    if (s->free < 0 || s->free > s->vars || s->vars > MAX_VARS)
        return broken(v, "%d free of %d variables", s->free, s->vars);
    for (int i = 0; i < k->vars; i++) v->usable[i] = i < k->outer;
    for (int i = 0; i < s->free; i++) {
        if (s->var[i] < k->outer || s->var[i] >= k->vars) return broken(v, "free variable %d", s->var[i]);
        if (v->usable[s->var[i]]) return broken(v, "variable %d twice", s->var[i]);
        v->usable[s->var[i]] = true;
    }
    const char *wrong = check_place(v, s->dest, s->rank, s->target);
    if (wrong) return arena_format(v->p->arena, "%s (in the target)", wrong);
    for (int i = s->free; i < s->vars; i++) {
        if (s->var[i] < k->outer || s->var[i] >= k->vars) return broken(v, "reduced variable %d", s->var[i]);
        if (v->usable[s->var[i]]) return broken(v, "variable %d twice", s->var[i]);
        v->usable[s->var[i]] = true;
    }
    v->graph = (Graph){.arena = v->graph.arena};
    wrong = check_expr(v, s->value);
    for (int d = 0; d < s->rank && !wrong; d++)
        if (s->target[d].gather) wrong = check_expr(v, s->target[d].gather);
    if (wrong) return wrong;
    if (s->reduce < REDUCE_NONE || s->reduce > REDUCE_ARGMIN) return broken(v, "reduction %d", (int)s->reduce);
    if (s->reduce == REDUCE_NONE && s->vars != s->free) return broken(v, "reduced variables without a reduction");
    if (s->accumulate && s->dest < 0) return broken(v, "accumulates into a local");
    if (s->accumulate && k->buffer.at[s->dest].type == T_BF16)
        return broken(v, "accumulates into buffer %d, which is bf16", s->dest);
    ElementType type = s->dest >= 0 ? value_type(&k->buffer.at[s->dest]) : k->local.at[~s->dest].type;
    if (arg ? !is_int(type) : type != s->value->type)
        return broken(v, "the value is %s, the destination %s", type_text(v->p, s->value->type), type_text(v->p, type));
    if (s->dest >= 0 && !k->buffer.at[s->dest].is_written)
        return broken(v, "buffer %d is written but not marked", s->dest);
    if (s->dest < 0) v->written[~s->dest] = true;
    return NULL;
}

int kernel_bias_gradient(const Kernel *k) {
    for (int s = 1; k->kind == KERNEL_CONTRACTION && s < k->stage.count; s++)
        if (k->stage.at[s].reduce != REDUCE_NONE) return s;
    return -1;
}

// A later stage of a contraction that reduces: the sum of one operand, in full, over all variables that stage 0
// reduces, for each value of one M or N variable.
static const char *check_bias_gradient(const Verifier *v, const Stage *s) {
    const Kernel *k = v->k;
    const Stage *first = &k->stage.at[0];
    const Expr *product = first->value, *e = s->value;
    int var;
    if (s->reduce != REDUCE_SUM || s->free != 1 || s->accumulate || v->stage != kernel_bias_gradient(k))
        return broken(v, "a contraction reduces again");
    if (s->dest < 0 || s->rank != 1 || !position_is_var(&s->target[0], &var) || var != s->var[0] ||
        k->buffer.at[s->dest].type != T_REAL)
        return broken(v, "a sum of an operand is not stored as a vector");
    if (k->role[var] != ROLE_M && k->role[var] != ROLE_N) return broken(v, "a sum of an operand has another role");
    if (product->op != OP_MUL || (e != product->arg[0] && e != product->arg[1]) || e->op != OP_READ || e->tensor < 0)
        return broken(v, "what is summed again is no operand");
    bool same = s->vars - s->free == first->vars - first->free && e->rank == s->vars;
    for (int i = s->free; i < s->vars && same; i++) {
        same = false;
        for (int j = first->free; j < first->vars; j++) same = same || s->var[i] == first->var[j];
    }
    for (int d = 0; d < e->rank && same; d++) same = position_is_var(&e->position[d], &var);
    return same ? NULL : broken(v, "an operand is not summed over what the contraction sums");
}

const char *kernel_verify(const Kernel *k, const Program *p) {
    Arena *scratch = arena_new(); // the walk's tables; messages live on the program's arena
    Verifier v = {.k = k, .p = p, .stage = -1, .graph = {.arena = scratch}};
    const char *wrong = NULL;
    v.written = NEW_ARRAY(scratch, bool, k->local.count + 1);
    if (k->vars < 0 || k->vars > 2 * MAX_VARS || k->outer < 0 || k->outer > k->vars)
        wrong = broken(&v, "%d outer of %d variables", k->outer, k->vars);
    else if (k->stage.count == 0) wrong = broken(&v, "no stages");
    else if ((unsigned)k->precision >= PRECISIONS) wrong = broken(&v, "there is no precision %d", (int)k->precision);
    else if (k->kind != KERNEL_CONTRACTION && k->precision != PRECISION_MODEL)
        wrong = broken(&v, "only contractions have a precision");
    for (int i = 0; i < k->vars && !wrong; i++)
        if (!valid_extent(p, k->var[i].extent)) wrong = broken(&v, "variable %d has no valid extent", i);
    for (int i = 0; i < k->buffer.count && !wrong; i++) {
        const KernelBuffer *b = &k->buffer.at[i];
        unsigned seen = 0;
        if (b->rank < 0 || b->rank > MAX_RANK) {
            wrong = broken(&v, "buffer %d has rank %d", i, b->rank);
            continue;
        }
        for (int d = 0; d < b->rank && !wrong; d++) {
            if (!valid_extent(p, b->dim[d])) wrong = broken(&v, "buffer %d, dimension %d has no valid extent", i, d);
            else if (b->order[d] < 0 || b->order[d] >= b->rank) wrong = broken(&v, "buffer %d has no valid order", i);
            else seen |= 1u << b->order[d];
        }
        if (!wrong && seen != (1u << b->rank) - 1) wrong = broken(&v, "the order of buffer %d is no permutation", i);
        if (!wrong && (b->type < 0 || b->type >= T_COUNT)) wrong = broken(&v, "buffer %d has type %d", i, (int)b->type);
        if (!wrong && b->type == T_BF16 && p->real64) wrong = broken(&v, "buffer %d is bf16 beside f64", i);
    }
    for (int i = 0; i < k->local.count && !wrong; i++) {
        if (k->local.at[i].rank < 0 || k->local.at[i].rank > MAX_RANK)
            wrong = broken(&v, "local %d has no valid rank", i);
        else if (k->local.at[i].type < 0 || k->local.at[i].type >= T_BF16)
            wrong = broken(&v, "local %d is %s", i, type_text(p, k->local.at[i].type));
    }
    int scalars[2] = {k->scalar_seed, k->scalar_step};
    for (int i = 0; i < 2 && !wrong; i++)
        if (scalars[i] >= k->buffer.count ||
            (scalars[i] >= 0 && (k->buffer.at[scalars[i]].type != T_I32 || k->buffer.at[scalars[i]].rank != 0)))
            wrong = broken(&v, "buffer %d is no i32 scalar, but keys random numbers", scalars[i]);
    for (int s = 0; s < k->stage.count && !wrong; s++) {
        v.stage = s;
        wrong = check_stage(&v, &k->stage.at[s]);
        if (!wrong && s > 0 && k->kind == KERNEL_CONTRACTION && k->stage.at[s].reduce != REDUCE_NONE)
            wrong = check_bias_gradient(&v, &k->stage.at[s]);
    }
    v.stage = -1;
    if (!wrong && (k->lane >= k->vars || k->split >= k->vars)) wrong = broken(&v, "the schedule names no variable");
    arena_free(scratch);
    return wrong;
}

// ---- hash
static uint64_t mix(uint64_t h, uint64_t x) {
    h ^= x + 0x9E3779B97F4A7C15u + (h << 6) + (h >> 2);
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    return h ^ h >> 29;
}

static uint64_t mix_extent(uint64_t h, Extent e) {
    return mix(mix(h, (uint64_t)e.count), (uint64_t)e.axis);
}

static uint64_t hash_place(const Graph *g, uint64_t h, int tensor, int rank, const Position *position) {
    h = mix(mix(h, (uint64_t)tensor), (uint64_t)rank);
    for (int d = 0; d < rank; d++) {
        const Position *x = &position[d];
        h = mix(h, (uint64_t)x->guarded);
        if (x->gather) {
            h = mix(h, graph_find(g, x->gather)->hash);
            continue;
        }
        h = mix(mix(mix(mix(h, (uint64_t)x->offset), (uint64_t)x->divide), (uint64_t)x->modulo), (uint64_t)x->exact);
        for (int t = 0; t < x->terms; t++) h = mix(mix(h, (uint64_t)x->term[t].var), (uint64_t)x->term[t].coef);
        h = mix(h, (uint64_t)x->terms);
    }
    return h;
}

static uint64_t hash_node(const Graph *g, const Expr *e) {
    uint64_t number;
    memcpy(&number, &e->number, sizeof number);
    uint64_t h = mix(mix(mix(1, (uint64_t)e->op), (uint64_t)e->type), (uint64_t)e->arity);
    for (int i = 0; i < e->arity; i++) h = mix(h, graph_find(g, e->arg[i])->hash);
    if (e->op == OP_CONST) h = mix(h, number);
    if (e->op == OP_INDEX) h = mix(h, (uint64_t)e->var);
    if (e->op == OP_EXTENT) h = mix_extent(h, e->extent);
    if (e->op == OP_RANDOM) h = mix_extent(mix(h, e->place), e->extent);
    if (e->op == OP_READ) h = hash_place(g, h, e->tensor, e->rank, e->position);
    return h;
}

Kernel *kernel_copy(Arena *arena, const Kernel *k) {
    Kernel *copy = NEW(arena, Kernel);
    *copy = *k;
    memset(&copy->buffer, 0, sizeof copy->buffer);
    memset(&copy->local, 0, sizeof copy->local);
    memset(&copy->stage, 0, sizeof copy->stage);
    for (int i = 0; i < k->buffer.count; i++) vec_push(arena, &copy->buffer, k->buffer.at[i]);
    for (int i = 0; i < k->local.count; i++) vec_push(arena, &copy->local, k->local.at[i]);
    for (int i = 0; i < k->stage.count; i++) vec_push(arena, &copy->stage, k->stage.at[i]);
    return copy;
}

uint64_t kernel_hash(const Kernel *k) {
    Arena *scratch = arena_new();
    uint64_t h = mix(mix(mix(7, (uint64_t)k->kind), (uint64_t)k->vars), (uint64_t)k->outer);
    if (k->precision != PRECISION_MODEL)
        h = mix(h, 0x50 + (uint64_t)k->precision); // names without one stay what they are
    for (int v = 0; v < k->vars; v++) h = mix(mix_extent(h, k->var[v].extent), (uint64_t)k->role[v]);
    for (int i = 0; i < k->buffer.count; i++) {
        const KernelBuffer *b = &k->buffer.at[i];
        h = mix(mix(h, (uint64_t)b->type), (uint64_t)(b->rank * 4 + b->is_read * 2 + b->is_written));
        for (int d = 0; d < b->rank; d++) h = mix(mix_extent(h, b->dim[d]), (uint64_t)b->order[d]);
    }
    for (int i = 0; i < k->local.count; i++) {
        h = mix(mix(h, (uint64_t)k->local.at[i].type), (uint64_t)k->local.at[i].rank);
        for (int d = 0; d < k->local.at[i].rank; d++) h = mix_extent(h, k->local.at[i].dim[d]);
    }
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        Graph g = {.arena = scratch};
        graph_add(&g, stage->value);
        for (int d = 0; d < stage->rank; d++)
            if (stage->target[d].gather) graph_add(&g, stage->target[d].gather);
        for (int i = 0; i < g.node.count; i++) g.node.at[i].hash = hash_node(&g, g.node.at[i].e);
        h = mix(mix(mix(h, (uint64_t)stage->free), (uint64_t)stage->vars), (uint64_t)stage->reduce);
        for (int i = 0; i < stage->vars; i++) h = mix(h, (uint64_t)stage->var[i]);
        h = mix(mix(h, graph_find(&g, stage->value)->hash), (uint64_t)stage->accumulate);
        h = hash_place(&g, h, stage->dest, stage->rank, stage->target);
    }
    h = mix(mix(h, (uint64_t)k->scalar_seed), (uint64_t)k->scalar_step);
    h = mix(mix(mix(h, (uint64_t)k->lane), (uint64_t)k->split), (uint64_t)k->chunks);
    arena_free(scratch);
    return h;
}
