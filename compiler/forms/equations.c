// Builders of the equation form: tensors, jobs, hash-consed expressions, positions, equations.
// They fold nothing and check little: program_verify says what is wrong with a program, pass/simplify.c folds.
#include "forms/equations.h"

#include <string.h>

const char *const element_type_name[T_COUNT] = {"f32", "i32", "i64", "u8", "bool", "bf16"};
const char *const precision_name[PRECISIONS] = {"", "f32", "tf32", "bf16"};

Precision precision_of_word(const char *word) {
    for (int i = PRECISION_F32; word != NULL && i < PRECISIONS; i++)
        if (strcmp(word, precision_name[i]) == 0) return (Precision)i;
    return PRECISION_MODEL;
}

// Open addressing; room is a power of two and at most half of it is used.
typedef struct ExprTable {
    Expr **slot;
    uint32_t count, room;
} ExprTable;

const char *const op_text[OP_COUNT] = {
#define X(name, text, arity, result, differentiable) text,
    SCALAR_OPS(X)
#undef X
};

static const char result_rule[OP_COUNT] = {
#define X(name, text, arity, result, differentiable) #result[0],
    SCALAR_OPS(X)
#undef X
};

static const int8_t op_arity[OP_COUNT] = {
#define X(name, text, arity, result, differentiable) arity,
    SCALAR_OPS(X)
#undef X
};

Tensor *program_tensor(Program *p, TensorKind kind, const char *name, ElementType type, int rank, const Extent *dim) {
    EXPECT(rank >= 0 && rank <= MAX_RANK);
    Tensor *t = NEW(p->arena, Tensor);
    t->id = p->tensor.count;
    t->name = name;
    t->kind = kind;
    t->type = type;
    t->rank = rank;
    for (int i = 0; i < MAX_RANK; i++) {
        t->dim[i] = i < rank ? dim[i] : extent_of(1);
        t->axis[i] = -1;
        t->order[i] = i;
    }
    t->init = -1;
    t->span = NO_SPAN;
    vec_push(p->arena, &p->tensor, t);
    return t;
}

Job *program_job(Program *p, const char *name) {
    Job *job = NEW(p->arena, Job);
    job->name = name;
    job->loss = -1;
    job->arena = p->arena;
    job->table = NEW(p->arena, ExprTable);
    vec_push(p->arena, &p->job, job);
    return job;
}

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ (h >> 29);
}

static uint64_t hash_position(uint64_t h, const Position *p) {
    if (p->gather != NULL) return mix(h, (uint64_t)(uintptr_t)p->gather);
    h = mix(h, (uint64_t)p->terms);
    for (int i = 0; i < p->terms; i++) h = mix(mix(h, (uint64_t)p->term[i].var), (uint64_t)p->term[i].coef);
    return mix(mix(mix(mix(h, (uint64_t)p->offset), (uint64_t)p->divide), (uint64_t)p->modulo), p->exact);
}

// `guarded` is a conclusion, not structure: it does not count.
static bool same_position(const Position *a, const Position *b) {
    if (a->gather != b->gather) return false;
    if (a->gather != NULL) return true;
    if (a->terms != b->terms || a->offset != b->offset || a->divide != b->divide || a->modulo != b->modulo ||
        a->exact != b->exact)
        return false;
    for (int i = 0; i < a->terms; i++)
        if (a->term[i].var != b->term[i].var || a->term[i].coef != b->term[i].coef) return false;
    return true;
}

static uint64_t bits_of(double x) {
    uint64_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static uint64_t hash_expr(const Expr *e) {
    uint64_t h = mix(mix(17, (uint64_t)e->op), (uint64_t)e->type);
    for (int i = 0; i < e->arity; i++) h = mix(h, (uint64_t)(uintptr_t)e->arg[i]);
    switch (e->op) {
    case OP_CONST: return mix(h, bits_of(e->number));
    case OP_INDEX: return mix(h, (uint64_t)e->var);
    case OP_EXTENT: return mix(mix(h, (uint64_t)e->extent.count), (uint64_t)e->extent.axis);
    case OP_RANDOM: return mix(h, e->place);
    case OP_READ:
        h = mix(mix(h, (uint64_t)e->tensor), (uint64_t)e->rank);
        for (int i = 0; i < e->rank; i++) h = hash_position(h, &e->position[i]);
        return h;
    default: return h;
    }
}

static bool same_expr(const Expr *a, const Expr *b) {
    if (a->op != b->op || a->type != b->type) return false;
    for (int i = 0; i < a->arity; i++)
        if (a->arg[i] != b->arg[i]) return false;
    switch (a->op) {
    case OP_CONST: return bits_of(a->number) == bits_of(b->number);
    case OP_INDEX: return a->var == b->var;
    case OP_EXTENT: return extent_same(a->extent, b->extent);
    case OP_RANDOM: return a->place == b->place;
    case OP_READ:
        if (a->tensor != b->tensor || a->rank != b->rank) return false;
        for (int i = 0; i < a->rank; i++)
            if (!same_position(&a->position[i], &b->position[i])) return false;
        return true;
    default: return true;
    }
}

static void table_insert(ExprTable *t, Expr *e) {
    uint32_t at = (uint32_t)hash_expr(e) & (t->room - 1);
    while (t->slot[at] != NULL) at = (at + 1) & (t->room - 1);
    t->slot[at] = e;
}

// The one node equal to `e`; `e` itself lives on the caller's stack and is copied when new.
static Expr *intern_expr(Job *job, const Expr *e) {
    if (job->table == NULL) job->table = NEW(job->arena, ExprTable);
    ExprTable *t = job->table;
    if (2 * (t->count + 1) > t->room) {
        ExprTable grown = {.room = t->room == 0 ? 256 : 2 * t->room, .count = t->count};
        grown.slot = NEW_ARRAY(job->arena, Expr *, grown.room);
        for (uint32_t i = 0; i < t->room; i++)
            if (t->slot[i] != NULL) table_insert(&grown, t->slot[i]);
        *t = grown;
    }
    uint32_t at = (uint32_t)hash_expr(e) & (t->room - 1);
    for (; t->slot[at] != NULL; at = (at + 1) & (t->room - 1))
        if (same_expr(t->slot[at], e)) return t->slot[at];
    Expr *copy = arena_copy(job->arena, e, sizeof *e);
    if (e->op == OP_READ)
        copy->position = arena_copy(job->arena, e->position, sizeof(Position) * (size_t)(e->rank > 0 ? e->rank : 1));
    t->slot[at] = copy;
    t->count++;
    return copy;
}

Expr *expr_const(Job *job, double number, ElementType type) {
    return intern_expr(job, &(Expr){.op = OP_CONST, .type = type, .number = number, .span = NO_SPAN});
}

Expr *expr_index(Job *job, int var) {
    EXPECT(var >= 0 && var < MAX_VARS);
    return intern_expr(job, &(Expr){.op = OP_INDEX, .type = T_I32, .var = var, .span = NO_SPAN});
}

Expr *expr_extent(Job *job, Extent extent) {
    return intern_expr(job, &(Expr){.op = OP_EXTENT, .type = T_I32, .extent = extent, .span = NO_SPAN});
}

Expr *expr_random(Job *job, uint32_t place) {
    return intern_expr(job, &(Expr){.op = OP_RANDOM, .type = T_REAL, .place = place, .span = NO_SPAN});
}

// Terms sorted by variable, merged, without zeros; a gather's other fields cleared.
static Position canonical_position(const Position *from) {
    if (from->gather != NULL) return (Position){.divide = 1, .gather = from->gather, .guarded = true};
    Position p = {.offset = from->offset,
                  .divide = from->divide < 1 ? 1 : from->divide,
                  .modulo = from->modulo < 0 ? 0 : from->modulo,
                  .guarded = true};
    p.exact = from->exact && p.divide > 1;
    EXPECT(from->terms >= 0 && from->terms <= 4);
    for (int i = 0; i < from->terms; i++) {
        Term t = from->term[i];
        int at = 0;
        while (at < p.terms && p.term[at].var < t.var) at++;
        if (at < p.terms && p.term[at].var == t.var) {
            p.term[at].coef += t.coef;
            continue;
        }
        for (int k = p.terms; k > at; k--) p.term[k] = p.term[k - 1];
        p.term[at] = t;
        p.terms++;
    }
    int kept = 0;
    for (int i = 0; i < p.terms; i++)
        if (p.term[i].coef != 0) p.term[kept++] = p.term[i];
    for (int i = kept; i < p.terms; i++) p.term[i] = (Term){0, 0};
    p.terms = kept;
    return p;
}

Expr *expr_read(Job *job, const Tensor *tensor, const Position *position, Span span) {
    Position canonical[MAX_RANK];
    EXPECT(tensor->rank <= MAX_RANK);
    memset(canonical, 0, sizeof canonical);
    for (int i = 0; i < tensor->rank; i++) canonical[i] = canonical_position(&position[i]);
    return intern_expr(job, &(Expr){.op = OP_READ,
                                    .type = tensor->type,
                                    .tensor = tensor->id,
                                    .rank = tensor->rank,
                                    .position = canonical,
                                    .span = span});
}

Expr *expr_op(Job *job, ScalarOp op, Expr *a, Expr *b, Expr *c) {
    Expr e = {.op = op, .arity = op_arity[op], .arg = {a, b, c}, .span = NO_SPAN};
    for (int i = 0; i < 3; i++) EXPECT((e.arg[i] != NULL) == (i < e.arity));
    switch (result_rule[op]) {
    case 'R': e.type = T_REAL; break;
    case 'B':
    case 'L': e.type = T_BOOL; break;
    case 'I': e.type = a->type; break;
    case 'S': e.type = b->type; break;
    default: DIE("expr_op builds no %s; use its own builder", op == OP_CAST ? "cast" : "leaf");
    }
    for (int i = 0; i < e.arity && e.span.file < 0; i++) e.span = e.arg[i]->span;
    return intern_expr(job, &e);
}

Expr *expr_cast(Job *job, ElementType type, Expr *a) {
    return intern_expr(job, &(Expr){.op = OP_CAST, .type = type, .arity = 1, .arg = {a}, .span = a->span});
}

Position position_var(int var) {
    return (Position){.terms = 1, .term = {{var, 1}}, .divide = 1, .guarded = true};
}

Position position_const(int64_t offset) {
    return (Position){.offset = offset, .divide = 1, .guarded = true};
}

bool position_is_var(const Position *p, int *var) {
    if (p->gather != NULL || p->terms != 1 || p->term[0].coef != 1 || p->offset != 0 || p->divide != 1 ||
        p->modulo != 0)
        return false;
    if (var != NULL) *var = p->term[0].var;
    return true;
}

Equation *job_equation(Job *job, EquationKind kind, const Tensor *out, Span span) {
    Equation *e = NEW(job->arena, Equation);
    e->kind = kind;
    e->out = out->id;
    e->span = span;
    if (kind == EQ_COMPUTE) {
        e->free = e->vars = out->rank;
        for (int i = 0; i < out->rank; i++) e->var[i] = (Variable){NULL, out->dim[i]};
    }
    if (kind == EQ_SCATTER) e->target = NEW_ARRAY(job->arena, Position, out->rank > 0 ? out->rank : 1);
    vec_push(job->arena, &job->equation, e);
    return e;
}

// ---- copies under another numbering; a pointer map keeps shared nodes shared.
typedef struct Renaming {
    Job *job;
    const int *map;
    const Expr **from;
    Expr **to;
    uint32_t count, room;
} Renaming;

static uint32_t renaming_slot(const Renaming *r, const Expr *e) {
    uint32_t at = (uint32_t)mix(3, (uint64_t)(uintptr_t)e) & (r->room - 1);
    while (r->from[at] != NULL && r->from[at] != e) at = (at + 1) & (r->room - 1);
    return at;
}

static void renaming_put(Renaming *r, const Expr *e, Expr *copy) {
    if (2 * (r->count + 1) > r->room) {
        Renaming grown = {r->job, r->map, NULL, NULL, r->count, r->room == 0 ? 32 : 2 * r->room};
        grown.from = NEW_ARRAY(r->job->arena, const Expr *, grown.room);
        grown.to = NEW_ARRAY(r->job->arena, Expr *, grown.room);
        for (uint32_t i = 0; i < r->room; i++) {
            if (r->from[i] == NULL) continue;
            uint32_t at = renaming_slot(&grown, r->from[i]);
            grown.from[at] = r->from[i];
            grown.to[at] = r->to[i];
        }
        *r = grown;
    }
    uint32_t at = renaming_slot(r, e);
    r->from[at] = e;
    r->to[at] = copy;
    r->count++;
}

static Expr *rename_expr(Renaming *r, const Expr *e) {
    if (e->op == OP_CONST || e->op == OP_EXTENT || e->op == OP_RANDOM) return intern_expr(r->job, e);
    if (e->op == OP_INDEX) {
        EXPECT(r->map[e->var] >= 0);
        return expr_index(r->job, r->map[e->var]);
    }
    if (r->room > 0) {
        uint32_t at = renaming_slot(r, e);
        if (r->from[at] == e) return r->to[at];
    }
    Expr copy = *e;
    Position position[MAX_RANK];
    memset(position, 0, sizeof position);
    for (int i = 0; i < e->arity; i++) copy.arg[i] = rename_expr(r, e->arg[i]);
    if (e->op == OP_READ) {
        for (int i = 0; i < e->rank; i++) {
            Position p = e->position[i];
            if (p.gather != NULL) p.gather = rename_expr(r, p.gather);
            for (int k = 0; k < p.terms; k++) {
                EXPECT(r->map[p.term[k].var] >= 0);
                p.term[k].var = r->map[p.term[k].var];
            }
            position[i] = canonical_position(&p);
        }
        copy.position = position;
    }
    Expr *made = intern_expr(r->job, &copy);
    renaming_put(r, e, made);
    return made;
}

Expr *expr_rename(Job *job, const Expr *e, const int *map) {
    Renaming r = {.job = job, .map = map};
    return rename_expr(&r, e);
}
