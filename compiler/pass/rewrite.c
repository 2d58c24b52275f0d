// Helpers that the passes over equations share: maps over expressions, walks, folding builders.
#include "pass/rewrite.h"

static uint32_t map_slot(const ExprMap *map, const Expr *e) {
    uint32_t at = (uint32_t)(((uint64_t)(uintptr_t)e * 0x9E3779B97F4A7C15u) >> 33) & (map->room - 1);
    while (map->from[at] != NULL && map->from[at] != e) at = (at + 1) & (map->room - 1);
    return at;
}

void *expr_map_get(const ExprMap *map, const Expr *e) {
    return map->room == 0 ? NULL : map->to[map_slot(map, e)];
}

void expr_map_put(ExprMap *map, const Expr *e, void *to) {
    if (2 * (map->count + 1) > map->room) {
        ExprMap grown = {.arena = map->arena, .room = map->room == 0 ? 64 : 2 * map->room};
        grown.from = NEW_ARRAY(map->arena, const Expr *, grown.room);
        grown.to = NEW_ARRAY(map->arena, void *, grown.room);
        grown.count = map->count;
        for (uint32_t i = 0; i < map->room; i++) {
            if (map->from[i] == NULL) continue;
            uint32_t at = map_slot(&grown, map->from[i]);
            grown.from[at] = map->from[i];
            grown.to[at] = map->to[i];
        }
        *map = grown;
    }
    uint32_t at = map_slot(map, e);
    if (map->from[at] == NULL) map->count++;
    map->from[at] = e;
    map->to[at] = to;
}

uint32_t position_vars(ExprMap *memo, const Position *p) {
    if (p->gather != NULL) return expr_vars(memo, p->gather);
    uint32_t vars = 0;
    for (int i = 0; i < p->terms; i++) vars |= 1u << p->term[i].var;
    return vars;
}

uint32_t expr_vars(ExprMap *memo, const Expr *e) {
    enum { KNOWN = 1u << 31 };
    if (e->op == OP_INDEX) return 1u << e->var;
    if (e->arity == 0 && e->op != OP_READ) return 0;
    uintptr_t known = (uintptr_t)expr_map_get(memo, e);
    if (known != 0) return (uint32_t)(known & ~(uintptr_t)KNOWN);
    uint32_t vars = 0;
    for (int i = 0; i < e->arity; i++) vars |= expr_vars(memo, e->arg[i]);
    for (int i = 0; e->op == OP_READ && i < e->rank; i++) vars |= position_vars(memo, &e->position[i]);
    expr_map_put(memo, e, (void *)((uintptr_t)vars | KNOWN));
    return vars;
}

static void walk(ExprMap *seen, Expr *e, ExprVisit *visit, void *context) {
    if (expr_map_get(seen, e) != NULL) return;
    expr_map_put(seen, e, e);
    for (int i = 0; i < e->arity; i++) walk(seen, e->arg[i], visit, context);
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather != NULL) walk(seen, e->position[i].gather, visit, context);
    visit(context, e);
}

void expr_walk(Arena *arena, Expr *e, ExprVisit *visit, void *context) {
    ExprMap seen = {.arena = arena};
    walk(&seen, e, visit, context);
}

typedef struct Search {
    ScalarOp op;
    bool found;
} Search;

static void search(void *context, Expr *e) {
    Search *s = context;
    if (e->op == s->op) s->found = true;
}

bool expr_contains(Arena *arena, Expr *e, ScalarOp op) {
    Search s = {op, false};
    expr_walk(arena, e, search, &s);
    return s.found;
}

bool is_const(const Expr *e, double x) {
    return e->op == OP_CONST && e->number == x;
}

Expr *real(Job *job, double x) {
    return expr_const(job, x, T_REAL);
}
Expr *int_const(Job *job, int64_t x) {
    EXPECT(x >= INT32_MIN && x <= INT32_MAX);
    return expr_const(job, (double)x, T_I32);
}
Expr *bool_const(Job *job, bool x) {
    return expr_const(job, x, T_BOOL);
}

Expr *mul(Job *job, Expr *a, Expr *b) {
    if (a == NULL || b == NULL || is_const(a, 0) || is_const(b, 0)) return NULL;
    if (a->op == OP_CONST && b->op == OP_CONST) return real(job, a->number * b->number);
    if (is_const(a, 1)) return b;
    if (is_const(b, 1)) return a;
    if (is_const(a, -1)) return neg(job, b);
    if (is_const(b, -1)) return neg(job, a);
    return expr_op(job, OP_MUL, a, b, NULL);
}

Expr *add(Job *job, Expr *a, Expr *b) {
    if (a == NULL) return b;
    if (b == NULL) return a;
    if (a->op == OP_CONST && b->op == OP_CONST) return real(job, a->number + b->number);
    if (a == b) return mul(job, real(job, 2), a);
    if (b->op == OP_NEG) return expr_op(job, OP_SUB, a, b->arg[0], NULL);
    return expr_op(job, OP_ADD, a, b, NULL);
}

Expr *neg(Job *job, Expr *a) {
    if (a == NULL) return NULL;
    if (a->op == OP_CONST) return real(job, -a->number);
    if (a->op == OP_NEG) return a->arg[0];
    return expr_op(job, OP_NEG, a, NULL, NULL);
}

Expr *all_of(Job *job, Expr *a, Expr *b) {
    if (a == NULL || a == b) return b;
    if (b == NULL) return a;
    return expr_op(job, OP_AND, a, b, NULL);
}

Expr *where(Job *job, Expr *condition, Expr *value) {
    if (value == NULL || condition == NULL) return value;
    return expr_op(job, OP_SELECT, condition, value, real(job, 0));
}

Expr *int_extent(Job *job, Extent e) {
    return e.axis < 0 ? int_const(job, e.count) : expr_extent(job, e);
}

Expr *read_whole(Job *job, const Tensor *t) {
    Position at[MAX_RANK];
    for (int i = 0; i < t->rank; i++) at[i] = position_var(i);
    return expr_read(job, t, at, NO_SPAN);
}

bool positions_whole(const Position *p, int rank) {
    for (int i = 0; i < rank; i++) {
        int var;
        if (!position_is_var(&p[i], &var) || var != i) return false;
    }
    return true;
}

Equation *equation_alone(Job *job, EquationKind kind, const Tensor *out, const Equation *like) {
    Equation *e = NEW(job->arena, Equation);
    e->kind = kind;
    e->out = out->id;
    e->span = like->span;
    e->where = like->where;
    if (kind != EQ_VIEW) e->precision = like->precision;
    if (kind == EQ_COMPUTE) {
        e->free = e->vars = out->rank;
        for (int i = 0; i < out->rank; i++) e->var[i].extent = out->dim[i];
    }
    if (kind == EQ_SCATTER) e->target = NEW_ARRAY(job->arena, Position, out->rank > 0 ? out->rank : 1);
    return e;
}
