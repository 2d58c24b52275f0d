// Verifier of the equation form: run after every pass. It also does the range analysis that sets Position.guarded:
// false only where the position is inside its dimension for every value of the variables, whatever the run-time size.
#include "forms/equations.h"

#include <string.h>

static const int8_t op_arity[OP_COUNT] = {
#define X(name, text, arity, result, differentiable) arity,
    SCALAR_OPS(X)
#undef X
};
static const char result_rule[OP_COUNT] = {
#define X(name, text, arity, result, differentiable) #result[0],
    SCALAR_OPS(X)
#undef X
};

typedef struct Verifier {
    const Program *p;
    const Job *job;
    const Equation *eq;
    int number;        // of the equation in its job
    uint8_t *defined;  // by tensor: 1 may be read now
    int *definer;      // by tensor: job that defines it, or -1
    const Expr **seen; // open addressing: expressions of this equation checked already
    uint32_t count, room;
} Verifier;

#define BROKEN(v, ...) broken(v, arena_format((v)->p->arena, __VA_ARGS__))

static const char *broken(const Verifier *v, const char *what) {
    Arena *a = v->p->arena;
    if (v->eq != NULL) {
        const Tensor *out = v->p->tensor.at[v->eq->out];
        return arena_format(a, "job %s, equation %d, defining tensor %d (%s)%s%s: %s", v->job->name, v->number, out->id,
                            out->name != NULL ? out->name : "", v->eq->where != NULL ? ", " : "",
                            v->eq->where != NULL ? v->eq->where : "", what);
    }
    return v->job != NULL ? arena_format(a, "job %s: %s", v->job->name, what) : what;
}

static bool is_int(ElementType t) {
    return t == T_I32 || t == T_I64 || t == T_U8;
}

static bool valid_extent(const Program *p, Extent e) {
    return e.count >= 0 && e.count < (INT64_C(1) << 50) &&
           (e.axis < 0 || (e.axis < p->axis.count && p->axis.at[e.axis].dynamic));
}

static bool valid_tensor(const Program *p, int id) {
    return id >= 0 && id < p->tensor.count;
}

// ---- ranges
static bool add_to(int64_t *x, int64_t a, int64_t b) { // *x += a * b
    int64_t m;
    return !__builtin_mul_overflow(a, b, &m) && !__builtin_add_overflow(*x, m, x);
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

// True when the position is inside `dim` for all values of the variables of `eq` and every size >= 1 of the axes.
static bool always_inside(const Equation *eq, const Position *p, Extent dim) {
    if (p->gather != NULL || p->exact) return false;
    int64_t low = p->offset, high = p->offset; // of the sum over variables of constant extent
    const Term *moving = NULL;                 // the one variable of dynamic extent
    for (int i = 0; i < p->terms; i++) {
        Extent e = eq->var[p->term[i].var].extent;
        if (e.axis >= 0) {
            if (moving != NULL) return false;
            moving = &p->term[i];
        } else if (e.count > 0) {
            if (!add_to(p->term[i].coef < 0 ? &low : &high, p->term[i].coef, e.count - 1)) return false;
        }
    }
    if (moving == NULL) {
        int64_t first = floor_div(low, p->divide), last = floor_div(high, p->divide);
        if (p->modulo > 0 && (first < 0 || last >= p->modulo)) {
            first = 0;
            last = p->modulo - 1;
        }
        return first >= 0 && last < dim.count; // a dynamic dimension has at least count elements
    }
    if (p->modulo > 0) return p->modulo <= dim.count;
    // a*(m*B - 1) + high <= n*d*B - 1 for every B >= 1, where B is the size of the axis.
    Extent e = eq->var[moving->var].extent;
    if (moving->coef < 0 || low < 0 || dim.axis != e.axis) return false;
    int64_t room, slack = 0;
    if (__builtin_mul_overflow(dim.count, p->divide, &room) || !add_to(&slack, room, 1) ||
        !add_to(&slack, -moving->coef, e.count) || slack < 0)
        return false;
    int64_t left = slack;
    return add_to(&left, moving->coef, 1) && add_to(&left, -1, high) && left >= 1;
}

// ---- expressions
static bool first_time(Verifier *v, const Expr *e) {
    if (2 * (v->count + 1) > v->room) {
        const Expr **old = v->seen;
        uint32_t room = v->room;
        v->room = room == 0 ? 64 : 2 * room;
        v->seen = NEW_ARRAY(v->p->arena, const Expr *, v->room);
        v->count = 0;
        for (uint32_t i = 0; i < room; i++)
            if (old[i] != NULL) first_time(v, old[i]);
    }
    uint32_t at = (uint32_t)(((uint64_t)(uintptr_t)e * 0x9E3779B97F4A7C15u) >> 33) & (v->room - 1);
    for (; v->seen[at] != NULL; at = (at + 1) & (v->room - 1))
        if (v->seen[at] == e) return false;
    v->seen[at] = e;
    v->count++;
    return true;
}

static const char *check_expr(Verifier *v, const Expr *e);

static const char *check_positions(Verifier *v, Position *at, const Tensor *t) {
    for (int i = 0; i < t->rank; i++) {
        Position *p = &at[i];
        if (p->gather != NULL) {
            const char *wrong = check_expr(v, p->gather);
            if (wrong != NULL) return wrong;
            if (!is_int(p->gather->type)) return BROKEN(v, "a gathered position of tensor %d is not an integer", t->id);
        } else {
            if (p->terms < 0 || p->terms > 4) return BROKEN(v, "a position with %d terms", p->terms);
            if (p->divide < 1 || p->modulo < 0) return BROKEN(v, "a position with divisor or modulus below 1");
            for (int k = 0; k < p->terms; k++) {
                if (p->term[k].var < 0 || p->term[k].var >= v->eq->vars)
                    return BROKEN(v, "a position of tensor %d uses variable %d of %d", t->id, p->term[k].var,
                                  v->eq->vars);
                if (p->term[k].coef == 0 || (k > 0 && p->term[k].var <= p->term[k - 1].var))
                    return BROKEN(v, "a position of tensor %d is not in canonical order", t->id);
            }
        }
        if (!always_inside(v->eq, p, t->dim[i])) p->guarded = true;
    }
    return NULL;
}

static const char *check_types(const Verifier *v, const Expr *e) {
    const char *name = op_text[e->op];
    for (int i = 0; i < e->arity; i++) {
        ElementType t = e->arg[i]->type;
        bool right = true;
        switch (result_rule[e->op]) {
        case 'R': right = t == T_REAL; break;
        case 'L': right = t == T_BOOL; break;
        case 'I': right = is_int(t) && t == e->arg[0]->type; break;
        case 'B': right = t != T_BOOL && t == e->arg[0]->type; break;
        case 'S': right = i == 0 ? t == T_BOOL : t == e->arg[1]->type; break;
        default: break;
        }
        if (!right) return BROKEN(v, "argument %d of %s is %s", i + 1, name, element_type_name[t]);
    }
    bool right = true;
    switch (result_rule[e->op]) {
    case 'R': right = e->type == T_REAL; break;
    case 'B':
    case 'L': right = e->type == T_BOOL; break;
    case 'I': right = e->type == e->arg[0]->type; break;
    case 'S': right = e->type == e->arg[1]->type; break;
    default: break;
    }
    return right ? NULL : BROKEN(v, "the type of %s is %s", name, element_type_name[e->type]);
}

static const char *check_expr(Verifier *v, const Expr *e) {
    if (!first_time(v, e)) return NULL;
    if ((unsigned)e->op >= OP_COUNT || (unsigned)e->type >= T_BF16) return BROKEN(v, "an unknown primitive or type");
    if (e->arity != op_arity[e->op]) return BROKEN(v, "%s with %d arguments", op_text[e->op], e->arity);
    for (int i = 0; i < e->arity; i++) {
        const char *wrong = check_expr(v, e->arg[i]);
        if (wrong != NULL) return wrong;
    }
    switch (e->op) {
    case OP_INDEX:
        if (e->var < 0 || e->var >= v->eq->vars) return BROKEN(v, "index of variable %d of %d", e->var, v->eq->vars);
        break;
    case OP_EXTENT:
        if (!valid_extent(v->p, e->extent)) return BROKEN(v, "an extent of a broken size");
        break;
    case OP_READ: {
        if (!valid_tensor(v->p, e->tensor)) return BROKEN(v, "a read of tensor %d, which there is not", e->tensor);
        const Tensor *t = v->p->tensor.at[e->tensor];
        if (e->rank != t->rank) return BROKEN(v, "tensor %d has rank %d, read with %d", t->id, t->rank, e->rank);
        if (e->type != t->type)
            return BROKEN(v, "tensor %d is %s, read as %s", t->id, element_type_name[t->type],
                          element_type_name[e->type]);
        if (!v->defined[t->id])
            return BROKEN(v, "tensor %d (%s) is read before an equation of this job defines it", t->id,
                          t->name != NULL ? t->name : "");
        return check_positions(v, e->position, t);
    }
    default: break;
    }
    return check_types(v, e);
}

// ---- equations
static bool same_count(const Tensor *a, const Tensor *b) {
    const Tensor *t[2] = {a, b};
    int64_t count[2] = {1, 1};
    int axes[2][MAX_RANK], n[2] = {0, 0};
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < t[s]->rank; i++) {
            if (__builtin_mul_overflow(count[s], t[s]->dim[i].count, &count[s])) return false;
            if (t[s]->dim[i].axis < 0) continue;
            int at = n[s]++;
            for (; at > 0 && axes[s][at - 1] > t[s]->dim[i].axis; at--) axes[s][at] = axes[s][at - 1];
            axes[s][at] = t[s]->dim[i].axis;
        }
    return count[0] == count[1] && n[0] == n[1] && memcmp(axes[0], axes[1], sizeof(int) * (size_t)n[0]) == 0;
}

static const char *check_equation(Verifier *v, const Equation *eq) {
    const Tensor *out = v->p->tensor.at[eq->out];
    v->count = v->room = 0;
    if (out->kind != TENSOR_TEMP) return BROKEN(v, "only temporary tensors are defined by equations");
    if (v->definer[out->id] >= 0)
        return BROKEN(v, "the tensor is defined already, in job %s", v->p->job.at[v->definer[out->id]]->name);
    if (eq->value == NULL) return BROKEN(v, "there is no value");
    if ((unsigned)eq->precision >= PRECISIONS) return BROKEN(v, "there is no precision %d", (int)eq->precision);
    if (eq->vars < 0 || eq->vars > MAX_VARS || eq->free < 0 || eq->free > eq->vars)
        return BROKEN(v, "%d variables, %d of them free", eq->vars, eq->free);
    for (int i = 0; i < eq->vars; i++)
        if (!valid_extent(v->p, eq->var[i].extent)) return BROKEN(v, "variable %d has a broken extent", i);
    if (eq->kind == EQ_VIEW) {
        if (eq->value->op != OP_READ || !valid_tensor(v->p, eq->value->tensor))
            return BROKEN(v, "a view of something that is no tensor");
        const Tensor *from = v->p->tensor.at[eq->value->tensor];
        if (!v->defined[from->id]) return BROKEN(v, "a view of tensor %d before its definition", from->id);
        if (from->type != out->type) return BROKEN(v, "a view changes the element type");
        if (!same_count(from, out)) return BROKEN(v, "a view of tensor %d has another number of elements", from->id);
        return NULL;
    }
    const char *wrong = check_expr(v, eq->value);
    if (wrong != NULL) return wrong;
    ElementType t = eq->value->type;
    if (eq->kind == EQ_SCATTER) {
        if (eq->free != 0 || eq->reduce != REDUCE_NONE) return BROKEN(v, "a scatter has no free variables");
        if (eq->target == NULL) return BROKEN(v, "a scatter without positions");
        if (t != out->type || t == T_BOOL || t == T_U8) return BROKEN(v, "a scatter of %s", element_type_name[t]);
        return check_positions(v, eq->target, out);
    }
    if (eq->free != out->rank) return BROKEN(v, "%d free variables for rank %d", eq->free, out->rank);
    for (int i = 0; i < out->rank; i++)
        if (!extent_same(eq->var[i].extent, out->dim[i]))
            return BROKEN(v, "variable %d is not as long as its dimension", i);
    if (eq->reduce == REDUCE_NONE && eq->vars != eq->free) return BROKEN(v, "reduced variables without a reduction");
    bool arg = eq->reduce == REDUCE_ARGMAX || eq->reduce == REDUCE_ARGMIN;
    if (arg && t == T_BOOL) return BROKEN(v, "argmax of bool");
    if ((eq->reduce == REDUCE_SUM || eq->reduce == REDUCE_PROD) && t == T_BOOL)
        return BROKEN(v, "sum or product of bool");
    if (out->type != (arg ? T_I32 : t))
        return BROKEN(v, "the value is %s, the tensor %s", element_type_name[arg ? T_I32 : t],
                      element_type_name[out->type]);
    return NULL;
}

static void unguard_expr(Verifier *v, Expr *e);

static void unguard(Verifier *v, Position *p, int rank) {
    for (int i = 0; i < rank; i++) {
        p[i].guarded = false;
        if (p[i].gather != NULL) unguard_expr(v, p[i].gather);
    }
}

static void unguard_expr(Verifier *v, Expr *e) {
    if (e == NULL || !first_time(v, e)) return;
    for (int i = 0; i < e->arity && i < 3; i++) unguard_expr(v, e->arg[i]);
    if (e->op == OP_READ && e->position != NULL) unguard(v, e->position, e->rank);
}

static const char *check_job(Verifier *v, int number) {
    const Program *p = v->p;
    const Job *job = v->job;
    // Reads are shared between equations of the job: a position is guarded if one of them needs it.
    v->count = v->room = 0;
    for (int i = 0; i < job->equation.count; i++) {
        const Equation *eq = job->equation.at[i];
        if (eq->kind == EQ_VIEW) continue;
        if (eq->value != NULL) unguard_expr(v, eq->value);
        if (eq->kind == EQ_SCATTER && eq->target != NULL && valid_tensor(p, eq->out))
            unguard(v, eq->target, p->tensor.at[eq->out]->rank);
    }
    for (int i = 0; i < p->tensor.count; i++) v->defined[i] = p->tensor.at[i]->kind != TENSOR_TEMP;
    if (job->loss >= 0) {
        if (!valid_tensor(p, job->loss)) return BROKEN(v, "the loss is tensor %d, which there is not", job->loss);
        const Tensor *t = p->tensor.at[job->loss];
        if (t->rank != 0 || t->type != T_REAL) return BROKEN(v, "the loss is not one real number");
    }
    for (int i = 0; i < job->gradient.count; i++) {
        Update g = job->gradient.at[i];
        if (job->loss < 0) return BROKEN(v, "a gradient is requested without a loss");
        if (!valid_tensor(p, g.source) || !valid_tensor(p, g.target)) return BROKEN(v, "a gradient of no tensor");
        const Tensor *s = p->tensor.at[g.source], *t = p->tensor.at[g.target];
        if (s->kind != TENSOR_TEMP || s->type != T_REAL || t->type != T_REAL || s->rank != t->rank)
            return BROKEN(v, "tensor %d cannot receive the gradient of tensor %d", g.source, g.target);
        for (int k = 0; k < s->rank; k++)
            if (!extent_same(s->dim[k], t->dim[k])) return BROKEN(v, "gradient %d has another shape", g.source);
        if (v->definer[g.source] >= 0) return BROKEN(v, "gradient %d is requested twice", g.source);
        v->definer[g.source] = number;
    }
    for (int i = 0; i <= job->equation.count; i++) {
        // Requested gradients exist as soon as the loss does.
        if (job->gradient.count > 0 && v->defined[job->loss])
            for (int k = 0; k < job->gradient.count; k++) v->defined[job->gradient.at[k].source] = 1;
        if (i == job->equation.count) break;
        const Equation *eq = job->equation.at[i];
        if (!valid_tensor(p, eq->out))
            return BROKEN(v, "equation %d defines tensor %d, which there is not", i, eq->out);
        v->eq = eq;
        v->number = i;
        const char *wrong = check_equation(v, eq);
        if (wrong != NULL) return wrong;
        v->eq = NULL;
        v->definer[eq->out] = number;
        v->defined[eq->out] = 1;
    }
    if (job->loss >= 0 && !v->defined[job->loss]) return BROKEN(v, "no equation defines the loss");
    for (int i = 0; i < job->update.count; i++) {
        Update u = job->update.at[i];
        if (!valid_tensor(p, u.target) || !valid_tensor(p, u.source)) return BROKEN(v, "an update of no tensor");
        const Tensor *t = p->tensor.at[u.target], *s = p->tensor.at[u.source];
        if (t->kind != TENSOR_PARAM && t->kind != TENSOR_STATE)
            return BROKEN(v, "an update of tensor %d, which is neither parameter nor state", t->id);
        if (!v->defined[s->id])
            return BROKEN(v, "the update of tensor %d takes %d, which nothing defines", t->id, s->id);
        if (t->type != s->type || t->rank != s->rank)
            return BROKEN(v, "the update of tensor %d takes another type or rank", t->id);
        for (int k = 0; k < t->rank; k++)
            if (!extent_same(s->dim[k], t->dim[k]))
                return BROKEN(v, "the update of tensor %d has another shape", t->id);
        for (int k = 0; k < i; k++)
            if (job->update.at[k].target == u.target) return BROKEN(v, "tensor %d is updated twice", u.target);
    }
    for (int i = 0; i < job->output.count; i++) {
        int id = job->output.at[i].tensor;
        if (!valid_tensor(p, id) || !v->defined[id])
            return BROKEN(v, "output %s is tensor %d, which nothing defines", job->output.at[i].name, id);
    }
    return NULL;
}

const char *program_verify(Program *p) {
    Verifier v = {.p = p};
    for (int i = 0; i < p->tensor.count; i++) {
        const Tensor *t = p->tensor.at[i];
        if (t->id != i) return BROKEN(&v, "tensor %d stands at place %d", t->id, i);
        if (t->rank < 0 || t->rank > MAX_RANK) return BROKEN(&v, "tensor %d has rank %d", i, t->rank);
        if ((unsigned)t->type >= T_BF16) return BROKEN(&v, "tensor %d has no type of the equation form", i);
        unsigned used = 0;
        for (int k = 0; k < t->rank; k++) {
            if (!valid_extent(p, t->dim[k])) return BROKEN(&v, "dimension %d of tensor %d has a broken extent", k, i);
            if (t->axis[k] >= p->axis.count) return BROKEN(&v, "dimension %d of tensor %d has no such axis", k, i);
            if (t->order[k] >= 0 && t->order[k] < t->rank) used |= 1u << t->order[k];
        }
        if (used != (1u << t->rank) - 1) return BROKEN(&v, "the storage order of tensor %d is no permutation", i);
        if (t->kind == TENSOR_SCALAR && t->rank != 0) return BROKEN(&v, "scalar tensor %d has rank %d", i, t->rank);
    }
    const int key[] = {p->scalar_seed, p->scalar_step};
    for (int i = 0; i < 2; i++)
        if (key[i] >= 0 && (!valid_tensor(p, key[i]) || p->tensor.at[key[i]]->kind != TENSOR_SCALAR))
            return BROKEN(&v, "random numbers are keyed by tensor %d, which is no scalar", key[i]);
    v.defined = NEW_ARRAY(p->arena, uint8_t, p->tensor.count + 1);
    v.definer = NEW_ARRAY(p->arena, int, p->tensor.count + 1);
    for (int i = 0; i < p->tensor.count; i++) v.definer[i] = -1;
    for (int i = 0; i < p->job.count; i++) {
        v.job = p->job.at[i];
        const char *wrong = check_job(&v, i);
        if (wrong != NULL) return wrong;
    }
    v.job = NULL;
    for (int i = 0; i < p->tensor.count; i++) {
        const Tensor *t = p->tensor.at[i];
        if (t->init < 0) continue;
        if (!valid_tensor(p, t->init)) return BROKEN(&v, "the first value of tensor %d is tensor %d", i, t->init);
        const Tensor *s = p->tensor.at[t->init];
        bool same = s->rank == t->rank && s->type == t->type;
        for (int k = 0; same && k < t->rank; k++) same = extent_same(s->dim[k], t->dim[k]);
        if (!same || (s->kind == TENSOR_TEMP && v.definer[s->id] < 0))
            return BROKEN(&v, "tensor %d, the first value of tensor %d, has another shape or no definition", s->id, i);
    }
    return NULL;
}
