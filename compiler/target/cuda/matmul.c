// Contractions that cuBLASLt does: both operands and the result are matrices that lie in memory with one stride per
// group, and what happens to the sums is an epilogue of the library. requires an analysed contraction.
#include "target/cuda/contraction.h"

#include <math.h>
#include <string.h>

enum {
    MATMUL_NARROW = 8, // fewer columns or products than this: our template wastes less
    MATMUL_SMALL = 64, // many matrices of at most this size go to our template as well
    MATMUL_BATCH = 16,
    AUX_ALIGN = 8,         // elements
    MATMUL_WORK = 1 << 18, // m * n * k below which starting the library costs more than the product
};

typedef struct Making {
    Contraction *c;
    StmMatmul *m;
    const char *why;
} Making;

static bool refuse(Making *g, const char *why) {
    if (!g->why) g->why = why;
    return false;
}

static StmExtent plan_extent(Mono m) {
    return (StmExtent){m.k, m.axes ? m.axis[0] : -1};
}

static StmType storage_type(const Contraction *c, ElementType type) {
    return type == T_BF16 ? STM_BF16 : c->unit->program->real64 ? STM_F64 : STM_F32;
}

static bool mono_is_one(Mono m) {
    return m.axes == 0 && m.k == 1;
}

// Is a row of `length` elements known to fit between rows `stride` apart?
static bool holds(Mono stride, Mono length) {
    if (stride.k < length.k) return false;
    for (int i = 0, j = 0; i < length.axes; i++) { // every axis of the length occurs in the stride
        while (j < stride.axes && stride.axis[j] != length.axis[i]) j++;
        if (j++ == stride.axes) return false;
    }
    return true;
}

// ---- matrices
typedef struct Matrix {
    bool transposed;
    StmExtent ld, batch;
} Matrix;

static Mono stride_of(const Contraction *c, const Mono *stride, Group group) {
    return c->vars[group] ? stride[c->var[group][0]] : mono_of(0);
}

// A matrix of rows x columns with these strides per group.
static bool matrix_of(Making *g, const Mono *stride, Group rows, Group columns, Matrix *x) {
    const Contraction *c = g->c;
    Mono row = stride_of(c, stride, rows), column = stride_of(c, stride, columns);
    Mono batch = stride_of(c, stride, GROUP_B);
    if (!c->vars[columns]) column = mono_of(1); // a single column: any leading dimension is as good
    if (!c->vars[rows]) row = mono_is_one(column) ? c->extent[columns] : mono_of(1);
    if (row.k == 0 || column.k == 0) return refuse(g, "a matrix is the same along one of its dimensions");
    x->transposed = !mono_is_one(column);
    Mono ld = x->transposed ? column : row;
    if (!mono_is_one(x->transposed ? row : column)) return refuse(g, "a matrix has no contiguous dimension");
    if (x->transposed && !c->vars[columns]) ld = c->extent[rows];
    if (!holds(ld, x->transposed ? c->extent[rows] : c->extent[columns]))
        return refuse(g, "rows of a matrix overlap or are not known to fit");
    if (ld.axes > 1 || batch.axes > 1) return refuse(g, "a stride of a matrix has more than one dynamic axis");
    if (batch.k < 0) return refuse(g, "a matrix is walked backwards");
    x->ld = plan_extent(ld);
    x->batch = plan_extent(batch);
    return true;
}

static bool constant_base(Making *g, const Access *at, int64_t *offset) {
    *offset = 0;
    for (int i = 0; i < at->bases; i++) {
        if (at->base[i].axes) return refuse(g, "the first element of a matrix depends on a dynamic axis");
        *offset += at->base[i].k;
    }
    return *offset >= 0 ? true : refuse(g, "a matrix starts before its buffer");
}

// ---- epilogues, by structure; locals stand for what was stored to them
static const Expr *resolved(const Contraction *c, const Expr *e) {
    while (true) {
        if (e->op == OP_STOP) {
            e = e->arg[0];
            continue;
        }
        if (e->op != OP_READ || e->tensor >= 0) return e;
        const Stage *writer = NULL;
        for (int s = 1; s < c->kernel->stage.count; s++)
            if (c->kernel->stage.at[s].dest == e->tensor) writer = &c->kernel->stage.at[s];
        if (!writer) return e; // the sums
        e = writer->value;
    }
}

static bool is_sums(const Contraction *c, const Expr *e) {
    e = resolved(c, e);
    return e->op == OP_READ && e->tensor == c->kernel->stage.at[0].dest;
}

static bool same(const Contraction *c, const Expr *a, const Expr *b, int depth) {
    a = resolved(c, a);
    b = resolved(c, b);
    if (a == b) return true;
    if (depth > 24 || a->op != b->op || a->type != b->type || a->arity != b->arity) return false;
    if (a->op == OP_CONST) return a->number == b->number;
    if (a->op == OP_READ) {
        if (a->tensor != b->tensor || a->rank != b->rank) return false;
        for (int d = 0; d < a->rank; d++) {
            int x, y;
            if (!position_is_var(&a->position[d], &x) || !position_is_var(&b->position[d], &y) || x != y) return false;
        }
        return true;
    }
    if (a->arity == 0) return false;
    for (int i = 0; i < a->arity; i++)
        if (!same(c, a->arg[i], b->arg[i], depth + 1)) return false;
    return true;
}

static bool is_number(const Contraction *c, const Expr *e, double number) {
    e = resolved(c, e);
    return e->op == OP_CONST && fabs(e->number - number) <= 1e-7 * fabs(number);
}

// A vector over N that starts its buffer.
static int bias_buffer(const Contraction *c, const Expr *e) {
    e = resolved(c, e);
    if (e->op != OP_READ || e->tensor < 0 || !c->vars[GROUP_N]) return -1;
    const KernelBuffer *b = &c->kernel->buffer.at[e->tensor];
    if (b->type != T_REAL || b->is_written) return -1;
    for (int d = 0; d < e->rank; d++) {
        const Position *x = &e->position[d];
        if (x->gather || x->offset || x->divide > 1 || x->modulo || position_checked(&c->nest, x, b->dim[d])) return -1;
    }
    for (int v = 0; v < c->kernel->vars; v++) {
        Mono m;
        int kind = c->nest.var[v].gone ? 0 : access_stride(&c->nest, e->tensor, e->rank, e->position, v, &m);
        bool right = v == c->var[GROUP_N][0] ? kind == 1 && mono_is_one(m) : kind == 0;
        if (!right) return -1;
    }
    return e->tensor;
}

// sums, or sums + bias: true.
static bool linear(const Contraction *c, const Expr *e, int *bias) {
    *bias = -1;
    if (is_sums(c, e)) return true;
    e = resolved(c, e);
    if (e->op != OP_ADD) return false;
    for (int i = 0; i < 2; i++)
        if (is_sums(c, e->arg[i])) *bias = bias_buffer(c, e->arg[1 - i]);
    return *bias >= 0;
}

// relu(x): x, or NULL.
static const Expr *relu_of(const Contraction *c, const Expr *e) {
    if (e->op == OP_MAX)
        for (int i = 0; i < 2; i++)
            if (is_number(c, e->arg[i], 0)) return e->arg[1 - i];
    if (e->op == OP_SELECT && is_number(c, e->arg[2], 0)) {
        const Expr *test = resolved(c, e->arg[0]);
        if ((test->op == OP_LT || test->op == OP_LE) && is_number(c, test->arg[0], 0) &&
            same(c, test->arg[1], e->arg[1], 0))
            return e->arg[1];
    }
    return NULL;
}

enum { FACTORS = 12 };

static int factors_of(const Contraction *c, const Expr *e, const Expr *stop, const Expr **factor, int n,
                      double *scale) {
    e = resolved(c, e);
    if (stop && same(c, e, stop, 0)) {
        if (n < FACTORS) factor[n] = e;
        return n + 1;
    }
    if (e->op == OP_MUL) {
        n = factors_of(c, e->arg[0], stop, factor, n, scale);
        return factors_of(c, e->arg[1], stop, factor, n, scale);
    }
    if (e->op == OP_CONST) {
        *scale *= e->number;
        return n;
    }
    if (n < FACTORS) factor[n] = e;
    return n + 1;
}

static bool scale_is(double scale, double wanted) {
    return fabs(scale - wanted) <= 1e-6 * fabs(wanted);
}

// x + 0.044715 x^3, in any order of its products: x, or NULL.
static const Expr *gelu_inner(const Contraction *c, const Expr *e) {
    e = resolved(c, e);
    if (e->op != OP_ADD) return NULL;
    for (int i = 0; i < 2; i++) {
        const Expr *x = resolved(c, e->arg[i]), *factor[FACTORS];
        double scale = 1;
        int n = factors_of(c, e->arg[1 - i], x, factor, 0, &scale);
        bool all = n == 3 && scale_is(scale, 0.044715);
        for (int f = 0; f < n && all; f++) all = same(c, factor[f], x, 0);
        if (all) return x;
    }
    return NULL;
}

// 0.5 x (1 + tanh(0.79788456 (x + 0.044715 x^3))): x, or NULL.
static const Expr *gelu_of(const Contraction *c, const Expr *e) {
    const Expr *factor[FACTORS];
    double scale = 1;
    int n = factors_of(c, e, NULL, factor, 0, &scale);
    if (n < 2 || n > FACTORS || !scale_is(scale, 0.5)) return NULL;
    for (int i = 0; i < n; i++) {
        const Expr *sum = resolved(c, factor[i]);
        if (sum->op != OP_ADD) continue;
        for (int j = 0; j < 2; j++) {
            const Expr *t = resolved(c, sum->arg[j]), *inner[FACTORS], *x = NULL;
            double by = 1;
            if (t->op != OP_TANH || !is_number(c, sum->arg[1 - j], 1)) continue;
            if (factors_of(c, t->arg[0], NULL, inner, 0, &by) != 1 || !scale_is(by, 0.7978845608028654)) continue;
            x = gelu_inner(c, inner[0]);
            if (x && n == 2 && same(c, factor[1 - i], x, 0)) return x;
        }
    }
    return NULL;
}

// Is what another stage stores laid out like the result?
static bool same_place(const Contraction *c, const Stage *other) {
    Access at;
    const Access *d = &c->out_at;
    if (contraction_access(c, other->dest, other->rank, other->target, &at) || at.guards || at.bases || d->bases)
        return false;
    for (int v = 0; v < c->kernel->outer; v++)
        if (!mono_same(at.stride[v], d->stride[v])) return false;
    return c->kernel->buffer.at[other->dest].type == c->kernel->buffer.at[c->kernel->stage.at[c->out].dest].type;
}

// The library sums an operand beside a plain product, in f32.
static bool gradient_fits(Making *g) {
    const Contraction *c = g->c;
    bool f32 = c->compute == STM_COMPUTE_F32 || c->compute == STM_COMPUTE_TF32;
    for (int i = 0; i < 2; i++) f32 = f32 && c->operand[i].type == T_REAL;
    f32 = f32 && c->kernel->buffer.at[c->kernel->stage.at[c->out].dest].type == T_REAL;
    if (!f32) return refuse(g, "a sum of an operand is formed in f32 only");
    if (g->m->epilogue != STM_EPILOGUE_NONE) return refuse(g, "there is another epilogue beside the sum of an operand");
    if (c->vars[GROUP_B]) return refuse(g, "an operand of a batch of matrices is summed");
    if (c->vars[c->gradient_of ? GROUP_N : GROUP_M] != 1) return refuse(g, "the sum of an operand is one number");
    g->m->epilogue = c->gradient_of ? STM_EPILOGUE_BGRAD_B : STM_EPILOGUE_BGRAD_A;
    g->m->bias = c->gradient;
    return true;
}

static bool epilogue_of(Making *g) {
    const Contraction *c = g->c;
    const Kernel *k = c->kernel;
    const Stage *out = NULL, *aux = NULL;
    StmMatmul *m = g->m;
    if (c->scale != 1) return refuse(g, "the sums have a constant factor");
    for (int s = 1; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        if (stage->dest < 0) continue;
        if (out && aux) return refuse(g, "the epilogue stores more than two results");
        if (out) aux = stage;
        else out = stage;
    }
    const Expr *e = resolved(c, out->value), *x = NULL;
    m->aux = -1;
    if (!aux && linear(c, e, &m->bias)) {
        m->epilogue = m->bias >= 0 ? STM_EPILOGUE_BIAS : STM_EPILOGUE_NONE;
        return true;
    }
    if (!aux && (x = relu_of(c, e)) != NULL && linear(c, x, &m->bias)) {
        m->epilogue = m->bias >= 0 ? STM_EPILOGUE_RELU_BIAS : STM_EPILOGUE_RELU;
        return true;
    }
    for (int i = 0; i < 1 + (aux != NULL); i++) {
        const Stage *d = i ? aux : out, *before = i ? out : aux;
        if ((x = gelu_of(c, resolved(c, d->value))) == NULL || !linear(c, x, &m->bias)) continue;
        m->epilogue = m->bias >= 0 ? STM_EPILOGUE_GELU_BIAS : STM_EPILOGUE_GELU;
        if (!before) return true;
        if (!same(c, before->value, x, 0) || !same_place(c, i ? aux : out) || !same_place(c, before)) continue;
        m->epilogue = m->bias >= 0 ? STM_EPILOGUE_GELU_AUX_BIAS : STM_EPILOGUE_GELU_AUX;
        m->aux = before->dest;
        m->d = d->dest;
        return true;
    }
    return refuse(g, "the epilogue is none of cuBLASLt's");
}

// ---- the whole
static bool worth_it(Making *g) {
    const int64_t *n = g->c->bound;
    double work = (double)n[GROUP_M] * (double)n[GROUP_N] * (double)n[GROUP_K];
    if (g->c->policy->any_matmul) return true;
    if (n[GROUP_N] < MATMUL_NARROW || n[GROUP_K] < MATMUL_NARROW || n[GROUP_M] < 2)
        return refuse(g, "the product is narrow");
    if (n[GROUP_B] >= MATMUL_BATCH && n[GROUP_M] <= MATMUL_SMALL && n[GROUP_N] <= MATMUL_SMALL)
        return refuse(g, "these are many small products");
    if (work * (double)n[GROUP_B] < MATMUL_WORK) return refuse(g, "the product is small");
    return true;
}

static bool single_strides(Making *g) {
    const Contraction *c = g->c;
    for (int i = 0; i < 2; i++) {
        if (c->operand[i].why) return refuse(g, c->operand[i].why);
        if (c->operand[i].at.guards) return refuse(g, "an operand is a window with an edge");
    }
    if (c->out_why || c->out_at.guards) return refuse(g, "the result is stored at positions that are no strides");
    for (int i = 0; i < GROUPS; i++)
        if (c->vars[i] > 1) return refuse(g, "the variables of a group have no common stride");
    for (int i = 0; i < GROUPS; i++)
        if (c->extent[i].axes > 1) return refuse(g, "an extent has two dynamic axes");
    return true;
}

// The library wants both operands of one type: what is constant-sized is copied as bf16 where the other one is bf16.
static bool same_types(Making *g, KernelCode *out) {
    Operand *o = g->c->operand;
    if (o[0].type == o[1].type) return true;
    int f32 = o[0].type == T_BF16;
    if (g->c->compute != STM_COMPUTE_BF16 || !operand_packable(g->c, f32))
        return refuse(g, "the operands are stored in different types");
    const char *error =
        operand_pack(g->c, f32, f32 ? o[1].at.unit >= 0 && g->c->group[o[1].at.unit] == GROUP_K : false, T_BF16, out);
    return error ? refuse(g, error) : true;
}

static int argument(KernelCode *out, int arg) {
    int at = out->phases, n = out->phase[at].args;
    for (int i = 0; i < n; i++)
        if (out->phase[at].arg[i] == arg) return i;
    out->phase[at].arg[n] = arg;
    out->phase[at].args = n + 1;
    return n;
}

bool contraction_matmul(Contraction *c, KernelCode *out, const char **why) {
    StmMatmul *m = NEW(c->unit->arena, StmMatmul);
    Making g = {.c = c, .m = m};
    Matrix a, b, d;
    const Stage *store = &c->kernel->stage.at[c->out];
    const Operand before[2] = {c->operand[0], c->operand[1]};
    memset(out, 0, sizeof *out);
    *m = (StmMatmul){.compute = c->compute, .bias = -1, .aux = -1, .d = store->dest};
    bool fits = worth_it(&g) && single_strides(&g) && epilogue_of(&g) && (c->gradient < 0 || gradient_fits(&g)) &&
                same_types(&g, out) && constant_base(&g, &c->operand[0].at, &m->offset_a) &&
                constant_base(&g, &c->operand[1].at, &m->offset_b) && constant_base(&g, &c->out_at, &m->offset_d) &&
                matrix_of(&g, c->operand[0].at.stride, GROUP_M, GROUP_K, &a) &&
                matrix_of(&g, c->operand[1].at.stride, GROUP_K, GROUP_N, &b) &&
                matrix_of(&g, c->out_at.stride, GROUP_M, GROUP_N, &d);
    if (fits && d.transposed) fits = refuse(&g, "the result is stored by columns");
    if (fits && m->bias >= 0 && c->kernel->buffer.at[m->d].type == T_BF16)
        fits = refuse(&g, "a bias is added to a result that is stored as bf16");
    if (fits && m->aux >= 0 && (d.ld.count % AUX_ALIGN || d.batch.count % AUX_ALIGN))
        fits = refuse(&g, "what the activation is given is stored in rows that the library cannot write");
    if (fits && m->epilogue != STM_EPILOGUE_NONE && c->compute == STM_COMPUTE_F64)
        fits = refuse(&g, "the library has no epilogues in f64");
    *why = g.why;
    if (!fits) {
        memcpy(c->operand, before, sizeof before);
        return false;
    }
    m->in = storage_type(c, c->operand[0].type);
    if (m->in == STM_BF16) m->compute = STM_COMPUTE_BF16;
    m->out = storage_type(c, c->kernel->buffer.at[m->d].type);
    m->transpose_a = a.transposed;
    m->transpose_b = b.transposed;
    m->lda = a.ld;
    m->ldb = b.ld;
    m->ldd = d.ld;
    m->stride_a = a.batch;
    m->stride_b = b.batch;
    m->stride_d = d.batch;
    m->m = plan_extent(c->extent[GROUP_M]);
    m->n = plan_extent(c->extent[GROUP_N]);
    m->k = plan_extent(c->extent[GROUP_K]);
    m->batch = plan_extent(c->extent[GROUP_B]);
    m->a = argument(out, c->operand[0].arg);
    m->b = argument(out, c->operand[1].arg);
    if (m->bias >= 0) m->bias = argument(out, m->bias);
    m->d = argument(out, m->d);
    if (m->aux >= 0) m->aux = argument(out, m->aux);
    int at = out->phases++;
    out->phase[at].name = c->nest.name;
    out->phase[at].parts = extent_of(1);
    out->phase[at].divide = out->phase[at].times = 1;
    out->phase[at].flops = contraction_flops(c);
    out->phase[at].matmul = m;
    return true;
}
