// The reference runner of kernels and plans. See kernel_run.h.
#include "kernel_run.h"

#include <math.h>
#include <string.h>

typedef struct Point {
    const Expr *e;
    int arg[3], gather[MAX_RANK];
    uint64_t stamp;
    double value;
} Point;

typedef struct Run {
    Arena *arena;
    const Program *p;
    const Kernel *k;
    void *const *buffer;
    const int64_t *extent;
    int64_t size[2 * MAX_VARS], at[2 * MAX_VARS];
    double **local;
    bool **written; // of locals
    VEC(Point) point;
    const Stage *stage;
    uint64_t stamp, element;
    const char *error;
} Run;

static int64_t size_of(const Run *r, Extent e) {
    return e.axis < 0 ? e.count : e.count * r->extent[e.axis];
}

static int point_of(Run *r, const Expr *e) {
    for (int i = 0; i < r->point.count; i++)
        if (r->point.at[i].e == e) return i;
    Point p = {.e = e};
    for (int i = 0; i < e->arity; i++) p.arg[i] = point_of(r, e->arg[i]);
    for (int i = 0; i < (e->op == OP_READ ? e->rank : 0); i++)
        p.gather[i] = e->position[i].gather == NULL ? -1 : point_of(r, e->position[i].gather);
    vec_push(r->arena, &r->point, p);
    return r->point.count - 1;
}

static double eval(Run *r, int number);

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

// Value of an affine position; *divides is false when an exact division leaves a rest.
static int64_t affine(const Run *r, const Position *p, bool *divides) {
    int64_t x = p->offset;
    for (int i = 0; i < p->terms; i++) x += p->term[i].coef * r->at[p->term[i].var];
    *divides = !p->exact || floor_div(x, p->divide) * p->divide == x;
    if (p->divide > 1) x = floor_div(x, p->divide);
    if (p->modulo > 0) x -= floor_div(x, p->modulo) * p->modulo;
    return x;
}

// Storage offset, or -1 outside.
static int64_t offset_of(Run *r, const Extent *dim, const int *order, int rank, const Position *at, const int *gather) {
    int64_t where[MAX_RANK];
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < rank; i++) {
            int64_t size = size_of(r, dim[i]);
            if ((at[i].gather != NULL) != (pass == 1)) continue;
            bool divides = true;
            int64_t x = at[i].gather != NULL ? (int64_t)eval(r, gather[i]) : affine(r, &at[i], &divides);
            if (x < 0 || x >= size || !divides) {
                if (!at[i].guarded)
                    r->error = arena_format(r->arena, "kernel %s: an unguarded position is %lld of %lld", r->k->name,
                                            (long long)x, (long long)size);
                return -1;
            }
            where[i] = x;
        }
    int64_t offset = 0;
    for (int i = 0; i < rank; i++) {
        int d = order == NULL ? i : order[i];
        offset = offset * size_of(r, dim[d]) + where[d];
    }
    return offset;
}

static double load(const Run *r, const void *at, ElementType type, int64_t i) {
    (void)r;
    switch (type) {
    case T_REAL: return ((const double *)at)[i];
    case T_I32: return ((const int32_t *)at)[i];
    case T_I64: return (double)((const int64_t *)at)[i];
    default: return ((const uint8_t *)at)[i];
    }
}

static void save(void *at, ElementType type, int64_t i, double x) {
    switch (type) {
    case T_REAL: ((double *)at)[i] = x; return;
    case T_I32: ((int32_t *)at)[i] = (int32_t)x; return;
    case T_I64: ((int64_t *)at)[i] = (int64_t)x; return;
    default: ((uint8_t *)at)[i] = (uint8_t)x; return;
    }
}

static uint32_t philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c0;
}

static double extreme(double a, double b, bool larger) {
    if (isnan(a) || isnan(b)) return NAN;
    return larger ? (a > b ? a : b) : (a < b ? a : b);
}

static double cast(ElementType to, ElementType from, double x) {
    if (to == T_REAL) return x;
    if (to == T_BOOL) return x != 0;
    if (from != T_REAL) return to == T_U8 ? (double)(uint8_t)(int64_t)x : x;
    double low = to == T_U8 ? 0 : -2147483648.0, high = to == T_U8 ? 255 : 2147483647.0;
    if (isnan(x)) return 0;
    x = trunc(x);
    return x < low ? low : x > high ? high : x;
}

static double scalar(const Expr *e, double a, double b) {
    switch (e->op) {
    case OP_NEG: return -a;
    case OP_ADD:
    case OP_IADD: return a + b;
    case OP_SUB:
    case OP_ISUB: return a - b;
    case OP_MUL:
    case OP_IMUL: return a * b;
    case OP_DIV: return a / b;
    case OP_MIN: return extreme(a, b, false);
    case OP_MAX: return extreme(a, b, true);
    case OP_POW: return pow(a, b);
    case OP_ABS: return fabs(a);
    case OP_SIGN: return isnan(a) ? a : (a > 0) - (a < 0);
    case OP_FLOOR: return floor(a);
    case OP_ROUND: return nearbyint(a);
    case OP_SQRT: return sqrt(a);
    case OP_RSQRT: return 1 / sqrt(a);
    case OP_EXP: return exp(a);
    case OP_EXPM1: return expm1(a);
    case OP_LOG: return log(a);
    case OP_LOG1P: return log1p(a);
    case OP_SIN: return sin(a);
    case OP_COS: return cos(a);
    case OP_TANH: return tanh(a);
    case OP_SIGMOID: return a >= 0 ? 1 / (1 + exp(-a)) : exp(a) / (1 + exp(a));
    case OP_ERF: return erf(a);
    case OP_ATAN2: return atan2(a, b);
    case OP_STOP: return a;
    case OP_IDIV: return b == 0 ? 0 : (double)floor_div((int64_t)a, (int64_t)b);
    case OP_IMOD: return b == 0 ? 0 : a - b * (double)floor_div((int64_t)a, (int64_t)b);
    case OP_LT: return a < b;
    case OP_LE: return a <= b;
    case OP_EQ: return a == b;
    case OP_NE: return a != b;
    case OP_AND: return a != 0 && b != 0;
    case OP_OR: return a != 0 || b != 0;
    case OP_NOT: return a == 0;
    case OP_CAST: return cast(e->type, e->arg[0]->type, a);
    default: DIE("the kernel runner has no primitive %d", (int)e->op);
    }
}

static double fresh(Run *r, int number) {
    const Expr *e = r->point.at[number].e;
    const Kernel *k = r->k;
    switch (e->op) {
    case OP_CONST: return e->number;
    case OP_INDEX: return (double)r->at[e->var];
    case OP_EXTENT: return (double)size_of(r, e->extent);
    case OP_RANDOM: {
        uint32_t seed = k->scalar_seed < 0 ? 0 : (uint32_t)load(r, r->buffer[k->scalar_seed], T_I32, 0);
        uint32_t step = k->scalar_step < 0 ? 0 : (uint32_t)load(r, r->buffer[k->scalar_step], T_I32, 0);
        uint32_t place = e->extent.count > 0 ? (uint32_t)size_of(r, e->extent) : e->place;
        uint32_t w = philox((uint32_t)r->element, (uint32_t)(r->element >> 32), place, step, seed, 0x53544D43u);
        return (double)(w >> 8) * 0x1p-24;
    }
    case OP_READ: {
        if (e->tensor < 0) {
            const KernelLocal *l = &k->local.at[~e->tensor];
            int64_t at = offset_of(r, l->dim, NULL, e->rank, e->position, r->point.at[number].gather);
            if (at >= 0 && !r->written[~e->tensor][at])
                r->error =
                    arena_format(r->arena, "kernel %s: local %d is read before it is written", k->name, ~e->tensor);
            return at < 0 ? 0 : r->local[~e->tensor][at];
        }
        const KernelBuffer *b = &k->buffer.at[e->tensor];
        if (!b->is_read && !b->is_written)
            r->error = arena_format(r->arena, "kernel %s: buffer %d is not marked", k->name, e->tensor);
        int64_t at = offset_of(r, b->dim, b->order, e->rank, e->position, r->point.at[number].gather);
        return at < 0 ? 0 : load(r, r->buffer[e->tensor], b->type, at);
    }
    case OP_SELECT: {
        bool chosen = eval(r, r->point.at[number].arg[0]) != 0;
        return eval(r, r->point.at[number].arg[chosen ? 1 : 2]);
    }
    default: break;
    }
    double a = eval(r, r->point.at[number].arg[0]);
    double b = e->arity > 1 ? eval(r, r->point.at[number].arg[1]) : 0;
    return scalar(e, a, b);
}

static double eval(Run *r, int number) {
    if (r->point.at[number].stamp == r->stamp) return r->point.at[number].value;
    double x = fresh(r, number);
    r->point.at[number].stamp = r->stamp;
    return r->point.at[number].value = x;
}

static bool advance(Run *r, const int *var, int from, int to) {
    for (int i = to - 1; i >= from; i--) {
        if (++r->at[var[i]] < r->size[var[i]]) return true;
        r->at[var[i]] = 0;
    }
    return false;
}

static bool empty(const Run *r, const int *var, int from, int to) {
    for (int i = from; i < to; i++)
        if (r->size[var[i]] <= 0) return true;
    return false;
}

static double reduce(Run *r, int root) {
    const Stage *s = r->stage;
    bool max = s->reduce == REDUCE_MAX || s->reduce == REDUCE_ARGMAX, number = s->reduce >= REDUCE_ARGMAX;
    bool real = s->value->type == T_REAL;
    double low = real ? -INFINITY : s->value->type == T_U8 ? 0 : -2147483648.0;
    double high = real ? INFINITY : s->value->type == T_U8 ? 255 : 2147483647.0;
    double all = s->reduce == REDUCE_PROD ? 1 : s->reduce == REDUCE_SUM || number ? 0 : max ? low : high;
    double best = max ? -INFINITY : INFINITY;
    if (empty(r, s->var, s->free, s->vars)) return all;
    int64_t n = 0;
    do {
        r->stamp++;
        double x = eval(r, root);
        if (s->reduce == REDUCE_SUM) all += x;
        else if (s->reduce == REDUCE_PROD) all *= x;
        else if (!number) all = extreme(all, x, max);
        else if (max ? x > best : x < best) {
            best = x;
            all = (double)n;
        }
        n++;
    } while (advance(r, s->var, s->free, s->vars));
    return all;
}

// Row-major number of the element that RANDOM belongs to.
static uint64_t element_number(const Run *r) {
    const Stage *s = r->stage;
    uint64_t n = 0;
    if (s->dest >= 0) {
        bool plain = true;
        for (int d = 0; d < s->rank; d++) plain &= position_is_var(&s->target[d], NULL);
        if (plain) {
            for (int d = 0; d < s->rank; d++)
                n = n * (uint64_t)size_of(r, r->k->buffer.at[s->dest].dim[d]) +
                    (uint64_t)r->at[s->target[d].term[0].var];
            return n;
        }
    }
    for (int v = 0; v < r->k->outer; v++) n = n * (uint64_t)r->size[v] + (uint64_t)r->at[v];
    for (int i = 0; i < s->free; i++) n = n * (uint64_t)r->size[s->var[i]] + (uint64_t)r->at[s->var[i]];
    return n;
}

static void run_stage(Run *r, const Stage *s) {
    r->stage = s;
    for (int i = 0; i < s->vars; i++) r->at[s->var[i]] = 0;
    if (empty(r, s->var, 0, s->free)) return;
    int root = point_of(r, s->value), gather[MAX_RANK];
    for (int d = 0; d < s->rank; d++) gather[d] = s->target[d].gather == NULL ? -1 : point_of(r, s->target[d].gather);
    do {
        r->stamp++;
        r->element = element_number(r);
        double x = s->reduce == REDUCE_NONE ? eval(r, root) : reduce(r, root);
        if (s->dest < 0) {
            const KernelLocal *l = &r->k->local.at[~s->dest];
            int64_t at = offset_of(r, l->dim, NULL, s->rank, s->target, gather);
            if (at < 0) continue;
            r->local[~s->dest][at] = x;
            r->written[~s->dest][at] = true;
            continue;
        }
        const KernelBuffer *b = &r->k->buffer.at[s->dest];
        if (!b->is_written)
            r->error = arena_format(r->arena, "kernel %s: buffer %d is not marked", r->k->name, s->dest);
        int64_t at = offset_of(r, b->dim, b->order, s->rank, s->target, gather);
        if (at < 0) continue;
        void *to = r->buffer[s->dest];
        save(to, b->type, at, s->accumulate ? load(r, to, b->type, at) + x : x);
    } while (advance(r, s->var, 0, s->free) && r->error == NULL);
}

const char *kernel_run(Arena *arena, const Program *p, const Kernel *k, void *const *buffer, const int64_t *extent,
                       bool backwards) {
    Run r = {.arena = arena, .p = p, .k = k, .buffer = buffer, .extent = extent};
    r.local = NEW_ARRAY(arena, double *, k->local.count + 1);
    r.written = NEW_ARRAY(arena, bool *, k->local.count + 1);
    int64_t *size = NEW_ARRAY(arena, int64_t, k->local.count + 1), total = 1;
    for (int i = 0; i < k->local.count; i++) {
        size[i] = 1;
        for (int d = 0; d < k->local.at[i].rank; d++) size[i] *= size_of(&r, k->local.at[i].dim[d]);
        r.local[i] = NEW_ARRAY(arena, double, size[i] + 1);
        r.written[i] = NEW_ARRAY(arena, bool, size[i] + 1);
    }
    for (int v = 0; v < k->vars; v++) r.size[v] = size_of(&r, k->var[v].extent);
    for (int v = 0; v < k->outer; v++) total *= r.size[v];
    for (int64_t n = 0; n < total && r.error == NULL; n++) {
        int64_t rest = backwards ? total - 1 - n : n;
        for (int v = k->outer - 1; v >= 0; v--) {
            r.at[v] = rest % r.size[v];
            rest /= r.size[v];
        }
        for (int i = 0; i < k->local.count; i++) memset(r.written[i], 0, (size_t)size[i]);
        for (int s = 0; s < k->stage.count && r.error == NULL; s++) run_stage(&r, &k->stage.at[s]);
    }
    return r.error;
}

KernelCode *plain_code(Arena *arena, const KernelProgram *k) {
    KernelCode *code = NEW_ARRAY(arena, KernelCode, k->kernel.count + 1);
    for (int i = 0; i < k->kernel.count; i++) {
        const Kernel *kernel = k->kernel.at[i];
        code[i].phases = 2;
        code[i].workspaces = 1;
        code[i].workspace[0].axis[0] = code[i].workspace[0].axis[1] = -1;
        code[i].workspace[0].bytes = 192;
        for (int f = 0; f < 2; f++) {
            code[i].phase[f].name = arena_format(arena, "%s_p%d", kernel->name, f);
            code[i].phase[f].args = f == 0 ? 1 : kernel->buffer.count + 1;
            for (int b = 0; b < kernel->buffer.count; b++) code[i].phase[f].arg[b] = b;
            code[i].phase[f].arg[f == 0 ? 0 : kernel->buffer.count] = ~0;
            code[i].phase[f].parts = extent_of(1);
            code[i].phase[f].divide = 1;
            code[i].phase[f].flops = f == 0 ? 0 : kernel->flops;
        }
    }
    return code;
}

static int64_t bytes_of(ElementType t) {
    return t == T_REAL || t == T_I64 ? 8 : t == T_I32 ? 4 : 1;
}

static int64_t elements(const Tensor *t, const int64_t *extent) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i].count * (t->dim[i].axis < 0 ? 1 : extent[t->dim[i].axis]);
    return n;
}

const char *plan_run(Arena *arena, const KernelProgram *k, const StmPlan *plan, int number, Values *values,
                     const int64_t *axis_value, bool backwards) {
    const Program *p = k->program;
    const StmJob *job = &plan->job[number];
    int64_t extent[64];
    for (int i = 0; i < p->axis.count; i++) extent[i] = p->axis.at[i].dynamic ? axis_value[i] : p->axis.at[i].count;
    // The plan's tensors under the program's numbers: persistent ones come first and in order, temporaries follow in
    // order.
    int *program_tensor_of = NEW_ARRAY(arena, int, plan->tensors + 1);
    void **block = NEW_ARRAY(arena, void *, plan->tensors + 1);
    int next = 0;
    for (int i = 0; i < p->tensor.count; i++) {
        const Tensor *t = p->tensor.at[i];
        if (t->kind == TENSOR_TEMP) continue;
        int64_t n = elements(t, extent);
        block[next] = arena_alloc(arena, (size_t)(n * bytes_of(t->type) + 64));
        for (int64_t e = 0; e < n; e++) save(block[next], t->type, e, values_of(values, i, NULL)[e]);
        program_tensor_of[next++] = i;
    }
    char **group = NEW_ARRAY(arena, char *, job->groups + 1);
    for (int g = 0; g < job->groups; g++) {
        int64_t bytes = job->group[g].bytes;
        int64_t unit = 1;
        for (int a = 0; a < 2; a++) unit *= job->group[g].axis[a] < 0 ? 1 : extent[job->group[g].axis[a]];
        if (job->group[g].axis[1] >= 0) unit = (unit + 63) / 64 * 64;
        bytes *= unit;
        group[g] = arena_alloc(arena, (size_t)bytes + 64);
        memset(group[g], 0xA7, (size_t)bytes);
    }
    void **address = NEW_ARRAY(arena, void *, job->buffers + 1);
    int64_t *bytes = NEW_ARRAY(arena, int64_t, job->buffers + 1);
    for (int b = 0; b < job->buffers; b++) {
        const StmBuffer *buffer = &job->buffer[b];
        if (buffer->group < 0) {
            address[b] = block[buffer->tensor];
            const Tensor *t = p->tensor.at[program_tensor_of[buffer->tensor]];
            bytes[b] = elements(t, extent) * bytes_of(t->type);
            continue;
        }
        const StmGroup *g = &job->group[buffer->group];
        int64_t unit = 1;
        for (int a = 0; a < 2; a++) unit *= g->axis[a] < 0 ? 1 : extent[g->axis[a]];
        if (g->axis[1] >= 0) unit = (unit + 63) / 64 * 64;
        if (buffer->offset * unit % 64 != 0 || buffer->bytes * unit % 64 != 0 ||
            buffer->offset + buffer->bytes > g->bytes)
            return arena_format(arena, "buffer %d lies badly", b);
        address[b] = group[buffer->group] + buffer->offset * unit;
        bytes[b] = buffer->bytes * unit;
    }
    for (int s = 0; s < job->steps; s++) {
        const StmStep *step = &job->step[s];
        int args = step->args / step->calls;
        for (int i = 0; i < step->args; i++) {
            const StmBuffer *b = &job->buffer[step->arg[i]];
            if (s < b->first || s > b->last)
                return arena_format(arena, "step %d uses buffer %d outside of its life", s, step->arg[i]);
        }
        if (step->kind == STM_ZERO) memset(address[step->arg[0]], 0, (size_t)bytes[step->arg[0]]);
        if (step->kind == STM_COPY)
            memcpy(address[step->arg[0]], address[step->arg[1]], (size_t)bytes[step->arg[0]]);
        for (int c = 0; step->kind == STM_RUN && c < step->calls; c++) {
            int call = backwards ? step->calls - 1 - c : c; // the calls of a batch do not depend on each other
            const int *number = step->arg + call * args;
            void *arg[64];
            for (int i = 0; i < args; i++) arg[i] = address[number[i]];
            if (step->kernel % 2 == 0) {
                memset(arg[0], 0x5B, (size_t)bytes[number[0]]);
                continue;
            }
            for (int e = 0; e < step->extents; e++) {
                StmExtent x = step->extent[call * step->extents + e];
                extent[p->axis.count + e] = x.count * (x.axis < 0 ? 1 : extent[x.axis]);
            }
            const char *error = kernel_run(arena, p, k->kernel.at[step->kernel / 2], arg, extent, backwards);
            if (error != NULL) return arena_format(arena, "step %d: %s", s, error);
            for (int64_t i = 0; i < bytes[number[args - 1]]; i++)
                if (((unsigned char *)arg[args - 1])[i] != 0x5B)
                    return arena_format(arena, "step %d: the workspace was overwritten", s);
        }
    }
    for (int i = 0; i < next; i++) {
        const Tensor *t = p->tensor.at[program_tensor_of[i]];
        for (int64_t e = 0, n = elements(t, extent); e < n; e++)
            values_of(values, t->id, NULL)[e] = load(NULL, block[i], t->type, e);
    }
    for (int o = 0; o < job->outputs; o++) {
        const Tensor *t = p->tensor.at[k->job.at[number].job->output.at[o].tensor];
        Run r = {.extent = extent};
        int64_t n = elements(t, extent), index[MAX_RANK] = {0};
        for (int64_t e = 0; e < n; e++) {
            int64_t offset = 0;
            for (int i = 0; i < t->rank; i++) offset = offset * size_of(&r, t->dim[t->order[i]]) + index[t->order[i]];
            values_of(values, t->id, NULL)[e] = load(&r, address[job->output[o].buffer], t->type, offset);
            for (int i = t->rank - 1; i >= 0 && ++index[i] == size_of(&r, t->dim[i]); i--) index[i] = 0;
        }
    }
    return NULL;
}
