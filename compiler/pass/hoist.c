// Hoisting: a costly part of an equation that depends on few of its variables becomes an equation of its own, and so
// does an operand of a contraction that cannot be packed as it is.
//
// rsqrt(variance[c] + eps) inside a map over [b, c, i, j] is computed once per channel instead of once per element; the
// little map then joins the kernel that computes the variance. Equal parts of different equations are computed once.
// Parts that depend on no variable stay: the targets compute them once per kernel. Positions lose what is always zero.
// Requires verified equations; leaves equations of the same values, new ones in front of their first reader.
#include "pass/fuse_internal.h"

#include <string.h>

enum {
    WORTH_COST = 4,         // operations of a part
    WORTH_REPEATS = 16,     // times that an element of the part would be computed
    OPERAND_COST = 2,       // operations that an operand may take while it is packed
    OPERAND_REUSE = 8,      // products that each element of an operand takes part in
    OPERAND_WORK = 1 << 15, // products; smaller contractions are not worth a tensor
};

typedef struct Part { // a hoisted expression over variables 0..rank
    const Expr *value;
    Extent dim[MAX_RANK];
    Precision precision;
    int tensor;
} Part;

typedef struct Hoist {
    Program *p;
    Job *job;
    const Equation *eq;
    int64_t iterations;
    int at; // number of the equation
    ExprMap done;
    VEC(Part) part;
    VEC(Equation *) made; // new equations in front of this one
} Hoist;

static int part_tensor(Hoist *h, const Expr *value, const Extent *dim, int rank) {
    for (int i = 0; i < h->part.count; i++) {
        const Part *q = &h->part.at[i];
        bool same = q->value == value && h->p->tensor.at[q->tensor]->rank == rank && q->precision == h->eq->precision;
        for (int d = 0; same && d < rank; d++) same = extent_same(q->dim[d], dim[d]);
        if (same) return q->tensor;
    }
    const char *name = h->p->tensor.at[h->eq->out]->name;
    Tensor *t = program_tensor(h->p, TENSOR_TEMP, arena_format(h->p->arena, "%s.part", name == NULL ? "t" : name),
                               value->type, rank, dim);
    t->span = value->span;
    Equation *eq = NEW(h->p->arena, Equation);
    eq->kind = EQ_COMPUTE;
    eq->out = t->id;
    eq->free = eq->vars = rank;
    eq->span = h->eq->span;
    eq->where = h->eq->where;
    eq->precision = h->eq->precision;
    eq->value = (Expr *)value;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (int d = 0; d < rank; d++) eq->var[d] = (Variable){names[d], dim[d]};
    vec_push(h->p->arena, &h->made, eq);
    Part part = {.value = value, .precision = eq->precision, .tensor = t->id};
    memcpy(part.dim, dim, sizeof(Extent) * (size_t)rank);
    vec_push(h->p->arena, &h->part, part);
    return t->id;
}

// The variables of an expression as the dimensions of a tensor of its own.
typedef struct Space {
    Extent dim[MAX_RANK];
    int rank, map[MAX_VARS], back[MAX_RANK]; // variable of the equation -> dimension, and back
    int64_t size;                            // elements at the bounds
} Space;

// False: more variables than a tensor has dimensions.
static bool space_of(const Hoist *h, Expr *e, Space *out) {
    uint32_t set = expr_variables(e);
    *out = (Space){.size = 1};
    for (int v = 0; v < MAX_VARS; v++) {
        if (!(set >> v & 1)) continue;
        if (out->rank == MAX_RANK) return false;
        out->map[v] = out->rank;
        out->back[out->rank] = v;
        out->dim[out->rank++] = h->eq->var[v].extent;
        out->size *= extent_bound(h->p, h->eq->var[v].extent);
    }
    return true;
}

// Makes the expression an equation of its own and reads it where it stood.
static Expr *part_read(Hoist *h, Expr *e, const Space *space) {
    int tensor = part_tensor(h, expr_rename(h->job, e, space->map), space->dim, space->rank);
    Position position[MAX_RANK];
    for (int d = 0; d < space->rank; d++) position[d] = position_var(space->back[d]);
    return expr_read(h->job, h->p->tensor.at[tensor], position, e->span);
}

static Expr *hoist_in(Hoist *h, Expr *e);

static Expr *hoisted(Hoist *h, Expr *e) {
    Space space;
    if (!space_of(h, e, &space)) return NULL;
    if (space.rank == 0 || space.size < 2 || space.size * WORTH_REPEATS > h->iterations) return NULL;
    if (expr_cost(h->p->arena, e) < WORTH_COST || fuse_contains(h->p->arena, e, OP_RANDOM)) return NULL;
    return part_read(h, e, &space);
}

// Variables of extent one and remainders modulo one are zero: positions without them are plain again.
static Expr *plainer_read(Hoist *h, Expr *e) {
    Position position[MAX_RANK];
    bool changed = false;
    for (int d = 0; d < e->rank; d++) {
        Position *p = &position[d];
        *p = e->position[d];
        if (p->gather != NULL) {
            p->gather = hoist_in(h, p->gather);
            changed |= p->gather != e->position[d].gather;
            continue;
        }
        if (position_is_var(p, NULL)) continue; // the element itself, whatever the extent
        int kept = 0;
        for (int i = 0; i < p->terms; i++)
            if (!extent_is_one(h->eq->var[p->term[i].var].extent)) p->term[kept++] = p->term[i];
        changed |= kept != p->terms || p->modulo == 1;
        p->terms = kept;
        if (p->modulo == 1 && !p->exact) *p = position_const(0);
    }
    return changed ? expr_read(h->job, h->p->tensor.at[e->tensor], position, e->span) : e;
}

static Expr *hoist_in(Hoist *h, Expr *e) {
    if (e->op == OP_READ) return plainer_read(h, e);
    if (e->arity == 0) return e;
    Expr *known = fuse_map_get(&h->done, e);
    if (known != NULL) return known;
    Expr *made = e->type == T_REAL ? hoisted(h, e) : NULL;
    if (made == NULL) {
        Expr *arg[3] = {NULL, NULL, NULL};
        bool changed = false;
        for (int i = 0; i < e->arity; i++) {
            arg[i] = hoist_in(h, e->arg[i]);
            changed |= arg[i] != e->arg[i];
        }
        made = !changed           ? e
               : e->op == OP_CAST ? expr_cast(h->job, e->type, arg[0])
                                  : expr_op(h->job, e->op, arg[0], arg[1], arg[2]);
    }
    fuse_map_put(&h->done, e, made);
    return made;
}

// ---- operands of contractions

static Expr *operand_tensor(Hoist *h, Expr *operand) {
    Space space;
    if (!space_of(h, operand, &space)) return operand;
    if (space.size * OPERAND_REUSE > h->iterations) return operand;
    return part_read(h, operand, &space);
}

// A contraction packs its operands several times and at affine positions only. An operand that costs more than reading,
// or that is read at other positions (gathered rows, divided indices), becomes a tensor of its own.
static void plain_operands(Hoist *h, Equation *eq) {
    if (eq->reduce != REDUCE_SUM || h->iterations < OPERAND_WORK || fuse_contains(h->p->arena, eq->value, OP_RANDOM))
        return;
    Graph g = {.program = h->p, .job = h->job, .policy = &fuse_default, .arena = h->p->arena};
    Node node = {
        .eq = eq, .value = eq->value, .out = eq->out, .iterations = h->iterations, .any_operand = true, .scale = 1};
    recognise_node(&g, &node);
    if (node.kind != NODE_CONTRACT) return;
    bool changed = false;
    for (int i = 0; i < 2; i++) {
        Expr *e = node.product[i];
        if (expr_cost(h->p->arena, e) <= OPERAND_COST && operand_is_packable(h->p->arena, e)) continue;
        node.product[i] = operand_tensor(h, e);
        changed |= node.product[i] != e;
    }
    if (!changed) return;
    eq->value = expr_op(h->job, OP_MUL, node.product[0], node.product[1], NULL);
    if (node.scale != 1) eq->value = expr_op(h->job, OP_MUL, eq->value, expr_const(h->job, node.scale, T_REAL), NULL);
}

void hoist_job(Program *p, Job *job) {
    Hoist h = {.p = p, .job = job};
    VEC(Equation *) all = {0};
    for (int i = 0; i < job->equation.count; i++) {
        Equation *eq = job->equation.at[i];
        h.made.count = 0;
        if (eq->kind == EQ_COMPUTE && eq->vars > 0) {
            h.eq = eq;
            h.done = (ExprMap){.arena = p->arena};
            h.iterations = 1;
            for (int v = 0; v < eq->vars; v++) h.iterations *= extent_bound(p, eq->var[v].extent);
            eq->value = hoist_in(&h, eq->value);
            plain_operands(&h, eq);
        }
        for (int k = 0; k < h.made.count; k++) vec_push(p->arena, &all, h.made.at[k]);
        vec_push(p->arena, &all, eq);
    }
    job->equation.at = (void *)all.at;
    job->equation.count = all.count;
    job->equation.room = all.room;
}
