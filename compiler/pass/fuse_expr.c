// Fusion, expressions: walks, cost, and the substitution of a map's value for reads of its result.
// Substitution composes positions. A read outside of the replaced tensor was 0, which is not what the composed
// expression gives there, so such reads are wrapped in a select on their range unless the value is zero there anyway.
#include "pass/fuse_internal.h"

#include <math.h>

static uint32_t slot_of(const ExprMap *m, const void *key) {
    uint64_t h = (uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15u;
    uint32_t at = (uint32_t)(h >> 33) & (uint32_t)(m->room - 1);
    while (m->key[at] != NULL && m->key[at] != key) at = (at + 1) & (uint32_t)(m->room - 1);
    return at;
}

void *fuse_map_get(const ExprMap *m, const void *key) {
    return m->room == 0 ? NULL : m->value[slot_of(m, key)];
}

void fuse_map_put(ExprMap *m, const void *key, void *value) {
    if (2 * (m->count + 1) > m->room) {
        ExprMap grown = {.arena = m->arena, .room = m->room == 0 ? 64 : 2 * m->room};
        grown.key = NEW_ARRAY(m->arena, const void *, grown.room);
        grown.value = NEW_ARRAY(m->arena, void *, grown.room);
        for (int i = 0; i < m->room; i++) {
            if (m->key[i] == NULL) continue;
            uint32_t at = slot_of(&grown, m->key[i]);
            grown.key[at] = m->key[i];
            grown.value[at] = m->value[i];
        }
        grown.count = m->count;
        *m = grown;
    }
    uint32_t at = slot_of(m, key);
    if (m->key[at] == NULL) m->count++;
    m->key[at] = key;
    m->value[at] = value;
}

static void collect_reads(ExprMap *seen, const Expr *e, ExprList *out) {
    if (fuse_map_get(seen, e) != NULL) return;
    fuse_map_put(seen, e, seen);
    for (int i = 0; i < e->arity; i++) collect_reads(seen, e->arg[i], out);
    if (e->op != OP_READ) return;
    for (int i = 0; i < e->rank; i++)
        if (e->position[i].gather != NULL) collect_reads(seen, e->position[i].gather, out);
    vec_push(seen->arena, out, e);
}

void expr_reads(Arena *arena, const Expr *e, ExprList *out) {
    ExprMap seen = {.arena = arena};
    collect_reads(&seen, e, out);
}

static bool find_op(ExprMap *seen, const Expr *e, ScalarOp op) {
    if (e->op == op) return true;
    if (fuse_map_get(seen, e) != NULL) return false;
    fuse_map_put(seen, e, seen);
    for (int i = 0; i < e->arity; i++)
        if (find_op(seen, e->arg[i], op)) return true;
    for (int i = 0; i < (e->op == OP_READ ? e->rank : 0); i++)
        if (e->position[i].gather != NULL && find_op(seen, e->position[i].gather, op)) return true;
    return false;
}

bool fuse_contains(Arena *arena, const Expr *e, ScalarOp op) {
    ExprMap seen = {.arena = arena};
    return find_op(&seen, e, op);
}

static int op_cost(ScalarOp op) {
    switch (op) {
    case OP_CONST:
    case OP_INDEX:
    case OP_EXTENT:
    case OP_READ:
    case OP_STOP: return 0;
    case OP_DIV:
    case OP_SQRT:
    case OP_RSQRT: return 4;
    case OP_EXP:
    case OP_SIGMOID:
    case OP_TANH:
    case OP_LOG: return 10;
    case OP_EXPM1:
    case OP_LOG1P:
    case OP_SIN:
    case OP_COS: return 14;
    case OP_RANDOM:
    case OP_ERF:
    case OP_POW:
    case OP_ATAN2: return 20;
    case OP_LGAMMA:
    case OP_DIGAMMA: return 40;
    case OP_IDIV:
    case OP_IMOD: return 4;
    default: return 1;
    }
}

static int cost_of(ExprMap *seen, const Expr *e) {
    if (fuse_map_get(seen, e) != NULL) return 0;
    fuse_map_put(seen, e, seen);
    int cost = op_cost(e->op);
    for (int i = 0; i < e->arity; i++) cost += cost_of(seen, e->arg[i]);
    for (int i = 0; i < (e->op == OP_READ ? e->rank : 0); i++) {
        const Position *p = &e->position[i];
        if (p->gather != NULL) cost += 2 + cost_of(seen, p->gather);
        else if (p->divide > 1 || p->modulo > 0) cost += 3;
    }
    return cost;
}

int expr_cost(Arena *arena, const Expr *e) {
    ExprMap seen = {.arena = arena};
    return cost_of(&seen, e);
}

uint32_t position_variables(const Position *p) {
    if (p->gather != NULL) return expr_variables(p->gather);
    uint32_t set = 0;
    for (int i = 0; i < p->terms; i++) set |= 1u << p->term[i].var;
    return set;
}

uint32_t expr_variables(const Expr *e) {
    uint32_t set = e->op == OP_INDEX ? 1u << e->var : 0;
    for (int i = 0; i < e->arity; i++) set |= expr_variables(e->arg[i]);
    for (int i = 0; i < (e->op == OP_READ ? e->rank : 0); i++) set |= position_variables(&e->position[i]);
    return set;
}

// ---- ranges

bool position_may_leave(const Variable *var, const Position *p, Extent dim) {
    if (p->gather != NULL || p->exact) return true;
    // Value before the division lies in [low, slope * axis + high]; every extent of a dynamic axis is at least 1.
    int64_t low = p->offset, high = p->offset, slope = 0;
    int axis = -1;
    for (int i = 0; i < p->terms; i++) {
        int64_t coef = p->term[i].coef;
        Extent e = var[p->term[i].var].extent;
        if (e.axis < 0) {
            if (coef > 0) high += coef * (e.count - 1);
            else low += coef * (e.count - 1);
            continue;
        }
        if (coef < 0 || (axis >= 0 && axis != e.axis)) return true;
        axis = e.axis;
        slope += coef * e.count;
        high -= coef;
    }
    if (p->modulo > 0) return dim.axis >= 0 ? p->modulo > dim.count : p->modulo > dim.count;
    if (low < 0) return true;
    int64_t limit = dim.count * p->divide; // the value must stay below limit (* axis)
    if (axis < 0) return high >= limit;    // a dynamic dimension is at least its count
    if (dim.axis != axis) return true;
    return slope > limit || slope + high >= limit;
}

// ---- substitution

typedef struct Composer {
    Job *job;
    const Program *program;
    const Variable *var; // variables of the reading expression
    const Position *at;  // what replaces variable d
    int rank;
    ExprMap done;
} Composer;

static Expr *integer(Job *job, int64_t value) {
    return expr_const(job, (double)value, T_I32);
}

// The sum of a position as an integer expression, before division.
static Expr *position_sum(Job *job, const Position *p) {
    Expr *sum = NULL;
    for (int i = 0; i < p->terms; i++) {
        Expr *term = expr_index(job, p->term[i].var);
        if (p->term[i].coef != 1) term = expr_op(job, OP_IMUL, integer(job, p->term[i].coef), term, NULL);
        sum = sum == NULL ? term : expr_op(job, OP_IADD, sum, term, NULL);
    }
    if (sum == NULL) return integer(job, p->offset);
    return p->offset == 0 ? sum : expr_op(job, OP_IADD, sum, integer(job, p->offset), NULL);
}

static Expr *position_value(Job *job, const Position *p) {
    if (p->gather != NULL) return p->gather->type == T_I32 ? p->gather : expr_cast(job, T_I32, p->gather);
    Expr *v = position_sum(job, p);
    if (p->divide > 1) v = expr_op(job, OP_IDIV, v, integer(job, p->divide), NULL);
    if (p->modulo > 0) v = expr_op(job, OP_IMOD, v, integer(job, p->modulo), NULL);
    return v;
}

static bool add_term(Position *p, int var, int64_t coef) {
    int at = 0;
    while (at < p->terms && p->term[at].var < var) at++;
    if (at < p->terms && p->term[at].var == var) {
        p->term[at].coef += coef;
        if (p->term[at].coef == 0) {
            for (int i = at; i + 1 < p->terms; i++) p->term[i] = p->term[i + 1];
            p->terms--;
        }
        return true;
    }
    if (p->terms == 4) return false;
    for (int i = p->terms; i > at; i--) p->term[i] = p->term[i - 1];
    p->term[at] = (Term){var, coef};
    p->terms++;
    return true;
}

static Expr *compose(Composer *c, Expr *e);

// Position q of the replaced map's value, with the reader's positions put in for its variables.
static bool compose_position(Composer *c, const Position *q, Position *out) {
    if (q->gather != NULL) {
        *out = *q;
        out->gather = compose(c, q->gather);
        return out->gather != NULL;
    }
    int var;
    if (position_is_var(q, &var)) {
        *out = c->at[var];
        return true;
    }
    *out =
        (Position){.offset = q->offset, .divide = q->divide, .modulo = q->modulo, .exact = q->exact, .guarded = true};
    if (q->terms == 1 && q->term[0].coef == 1 && !q->exact) {
        const Position *inner = &c->at[q->term[0].var]; // floor(floor(a / m) + o) / n) = floor((a + o m) / (m n))
        if (inner->gather == NULL && inner->modulo == 0 && !inner->exact && inner->divide > 1) {
            *out = *inner;
            out->offset += q->offset * inner->divide;
            out->divide = inner->divide * q->divide;
            out->modulo = q->modulo;
            return true;
        }
    }
    for (int i = 0; i < q->terms; i++) {
        const Position *inner = &c->at[q->term[i].var];
        if (inner->gather != NULL || inner->divide > 1 || inner->modulo > 0) return false;
        for (int j = 0; j < inner->terms; j++)
            if (!add_term(out, inner->term[j].var, q->term[i].coef * inner->term[j].coef)) return false;
        out->offset += q->term[i].coef * inner->offset;
    }
    return true;
}

static Expr *compose(Composer *c, Expr *e) {
    if (e->op == OP_CONST || e->op == OP_EXTENT) return e;
    if (e->op == OP_RANDOM) return NULL;
    if (e->op == OP_INDEX) return position_value(c->job, &c->at[e->var]);
    Expr *known = fuse_map_get(&c->done, e);
    if (known != NULL) return known;
    Expr *made;
    if (e->op == OP_READ) {
        Position position[MAX_RANK];
        for (int i = 0; i < e->rank; i++)
            if (!compose_position(c, &e->position[i], &position[i])) return NULL;
        made = expr_read(c->job, c->program->tensor.at[e->tensor], position, e->span);
    } else {
        Expr *arg[3] = {NULL, NULL, NULL};
        for (int i = 0; i < e->arity; i++)
            if ((arg[i] = compose(c, e->arg[i])) == NULL) return NULL;
        made = e->op == OP_CAST ? expr_cast(c->job, e->type, arg[0]) : expr_op(c->job, e->op, arg[0], arg[1], arg[2]);
    }
    fuse_map_put(&c->done, e, made);
    return made;
}

// Is the value of `body` (over dimensions 0..rank of `t`) zero whenever its reads at dimension d give zero, for all d
// in `outside`, and does a read leave its tensor exactly when dimension d is left?
static bool zero_outside(const Program *p, const Expr *body, const Tensor *t, uint32_t outside) {
    switch (body->op) {
    case OP_READ: {
        uint32_t covered = 0;
        const Tensor *from = p->tensor.at[body->tensor];
        for (int i = 0; i < body->rank; i++) {
            int var;
            if (position_is_var(&body->position[i], &var) && extent_same(from->dim[i], t->dim[var]))
                covered |= 1u << var;
        }
        return (outside & ~covered) == 0;
    }
    case OP_CAST:
    case OP_NEG:
    case OP_STOP: return zero_outside(p, body->arg[0], t, outside);
    case OP_MUL:
        for (int i = 0; i < 2; i++)
            if (body->arg[i]->op == OP_CONST && isfinite(body->arg[i]->number))
                return zero_outside(p, body->arg[1 - i], t, outside);
        return false;
    case OP_DIV:
        return body->arg[1]->op == OP_CONST && body->arg[1]->number != 0 && zero_outside(p, body->arg[0], t, outside);
    default: return false;
    }
}

static Expr *both(Job *job, Expr *a, Expr *b) {
    return a == NULL ? b : expr_op(job, OP_AND, a, b, NULL);
}

static Expr *substitute_read(const Inline *in, const Variable *var, const Expr *read) {
    const Tensor *t = in->program->tensor.at[read->tensor];
    Expr *body = in->body[read->tensor];
    for (int d = 0; d < read->rank; d++)
        if (read->position[d].gather != NULL && read->position[d].gather->type != T_I32) return NULL;
    Composer c = {.job = in->job,
                  .program = in->program,
                  .var = var,
                  .at = read->position,
                  .rank = read->rank,
                  .done = {.arena = in->job->arena}};
    Expr *value = compose(&c, body);
    if (value == NULL) return NULL;
    uint32_t outside = 0;
    for (int d = 0; d < read->rank; d++)
        if (position_may_leave(var, &read->position[d], t->dim[d])) outside |= 1u << d;
    if (outside == 0 || zero_outside(in->program, body, t, outside)) return value;
    Expr *inside = NULL;
    for (int d = 0; d < read->rank; d++) {
        if (!(outside >> d & 1)) continue;
        const Position *p = &read->position[d];
        if (p->gather == NULL && p->exact) {
            Expr *rest = expr_op(in->job, OP_IMOD, position_sum(in->job, p), integer(in->job, p->divide), NULL);
            inside = both(in->job, inside, expr_op(in->job, OP_EQ, rest, integer(in->job, 0), NULL));
            Position plain = *p;
            plain.exact = false;
            if (!position_may_leave(var, &plain, t->dim[d])) continue;
        }
        Expr *at = position_value(in->job, p);
        Expr *size = t->dim[d].axis < 0 ? integer(in->job, t->dim[d].count) : expr_extent(in->job, t->dim[d]);
        inside = both(in->job, inside, expr_op(in->job, OP_LE, integer(in->job, 0), at, NULL));
        inside = both(in->job, inside, expr_op(in->job, OP_LT, at, size, NULL));
    }
    return expr_op(in->job, OP_SELECT, inside, value, expr_const(in->job, 0, value->type));
}

static Expr *inline_in(const Inline *in, const Variable *var, ExprMap *done, Expr *e) {
    if (e->op == OP_CONST || e->op == OP_EXTENT || e->op == OP_RANDOM || e->op == OP_INDEX) return e;
    Expr *known = fuse_map_get(done, e);
    if (known != NULL) return known;
    Expr *made = e;
    if (e->op == OP_READ) {
        Position position[MAX_RANK];
        bool changed = false;
        for (int i = 0; i < e->rank; i++) {
            position[i] = e->position[i];
            if (position[i].gather == NULL) continue;
            position[i].gather = inline_in(in, var, done, position[i].gather);
            if (position[i].gather == NULL) return NULL;
            changed |= position[i].gather != e->position[i].gather;
        }
        if (changed) made = expr_read(in->job, in->program->tensor.at[e->tensor], position, e->span);
        if (in->body[e->tensor] != NULL && (made = substitute_read(in, var, made)) == NULL) return NULL;
    } else {
        Expr *arg[3] = {NULL, NULL, NULL};
        bool changed = false;
        for (int i = 0; i < e->arity; i++) {
            if ((arg[i] = inline_in(in, var, done, e->arg[i])) == NULL) return NULL;
            changed |= arg[i] != e->arg[i];
        }
        if (changed)
            made = e->op == OP_CAST ? expr_cast(in->job, e->type, arg[0])
                                    : expr_op(in->job, e->op, arg[0], arg[1], arg[2]);
    }
    fuse_map_put(done, e, made);
    return made;
}

Expr *expr_inline(const Inline *in, const Variable *var, Expr *e) {
    ExprMap done = {.arena = in->job->arena};
    return inline_in(in, var, &done, e);
}
