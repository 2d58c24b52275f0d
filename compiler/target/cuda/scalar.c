// Operators as CUDA C: one temporary per node and lane. The meaning is that of forms/evaluate.c and the CPU target; the
// functions named stm_ are in kernels/scalar.cuh.
#include "target/cuda/expr_internal.h"

#include <math.h>

static bool is_whole(ElementType t) {
    return t == T_U8 || t == T_BOOL;
}

// ---- conversions between values in registers
const char *cuda_cast(const CudaScope *s, ElementType from, ElementType to, const char *a) {
    const Program *p = s->nest->program;
    if (from == T_BF16) from = T_REAL;
    if (to == T_BF16) to = T_REAL;
    if (from == to) return a;
    if (to == T_BOOL) return format_text(s, "(%s != 0)", a); // also of reals: NaN is true
    if (to == T_REAL) return format_text(s, "(%s)%s", cuda_value_type(p, T_REAL), a);
    if (from == T_REAL) return format_text(s, "stm_to_%s(%s)", to == T_I32 ? "i32" : to == T_I64 ? "i64" : "u8", a);
    if (to == T_U8) return from == T_BOOL ? a : format_text(s, "(int)(%s & 255)", a);
    if (to == T_I32) return from == T_I64 ? format_text(s, "(int)%s", a) : a;
    return format_text(s, "(long long)%s", a);
}

// ---- what an integer can be, for cheaper divisions. Wider than the truth where nothing is known.
typedef struct Range {
    int64_t low, high;
} Range;

static Range type_range(ElementType t) {
    return t == T_BOOL ? (Range){0, 1} : t == T_U8 ? (Range){0, 255} : (Range){INT32_MIN, INT32_MAX};
}

static Range int_range(const CudaScope *s, const Expr *e, int depth) {
    Range none = type_range(e->type), a = none, b = none, r = none;
    if (e->type == T_REAL || e->type == T_I64 || depth == 0) return none;
    if (e->arity > 0) a = int_range(s, e->arg[0], depth - 1);
    if (e->arity > 1) b = int_range(s, e->arg[1], depth - 1);
    Extent extent = e->extent;
    switch (e->op) {
    case OP_CONST: return fabs(e->number) < 0x1p31 ? (Range){(int64_t)e->number, (int64_t)e->number} : none;
    case OP_INDEX:
        extent = s->nest->kernel->var[e->var].extent;
        r = (Range){0, extent.axis < 0 ? extent.count - 1 : INT32_MAX};
        break;
    case OP_EXTENT: r = (Range){0, extent.axis < 0 ? extent.count : INT32_MAX}; break;
    case OP_IADD: r = (Range){a.low + b.low, a.high + b.high}; break;
    case OP_ISUB: r = (Range){a.low - b.high, a.high - b.low}; break;
    case OP_IMUL:
        if (a.low >= 0 && b.low >= 0) r = (Range){a.low * b.low, a.high * b.high};
        break;
    case OP_IDIV:
        if (a.low >= 0 && b.low >= 1) r = (Range){0, a.high / b.low};
        break;
    case OP_IMOD:
        if (b.low >= 1) r = (Range){0, b.high - 1};
        break;
    case OP_CAST:
        if (e->arg[0]->type != T_REAL && e->arg[0]->type != T_I64) r = a;
        break;
    default: break;
    }
    return r.low < none.low || r.high > none.high ? none : r; // it may have wrapped
}

static const char *divide(const CudaScope *s, const Expr *e, const char *a, const char *b) {
    bool modulo = e->op == OP_IMOD;
    if (e->type == T_I64) return format_text(s, "stm_%s<long long>(%s, %s)", modulo ? "imod" : "idiv", a, b);
    Range x = int_range(s, e->arg[0], 8), by = int_range(s, e->arg[1], 8);
    if (by.low >= 1 && x.low >= 0)
        return format_text(s, "(int)((unsigned)%s %c (unsigned)%s)", a, modulo ? '%' : '/', b);
    if (by.low >= 1) return format_text(s, "stm_floor_%s(%s, %s)", modulo ? "mod" : "div", a, b);
    return format_text(s, "stm_%s(%s, %s)", modulo ? "imod" : "idiv", a, b);
}

// Integer arithmetic wraps; C's is undefined where it would.
static const char *wrapping(const CudaScope *s, ElementType type, char op, const char *a, const char *b) {
    if (is_whole(type)) return format_text(s, "(%s %c %s) & 255", a, op, b);
    const char *word = type == T_I64 ? "unsigned long long" : "unsigned";
    return format_text(s, "(%s)((%s)%s %c (%s)%s)", type == T_I64 ? "long long" : "int", word, a, op, word, b);
}

static const char *power(const CudaScope *s, const Expr *e, const char *a, const char *b) {
    const Expr *exponent = e->arg[1];
    if (exponent->op == OP_CONST && exponent->number == 2) return format_text(s, "%s * %s", a, a);
    if (exponent->op == OP_CONST && exponent->number == 1) return a;
    if (exponent->op == OP_CONST && exponent->number == -1) return format_text(s, "%s / %s", real_literal(s, 1), a);
    return format_text(s, "stm_pow(%s, %s)", a, b);
}

static const char *operator_text(const CudaScope *s, const Expr *e, const char *a, const char *b, const char *c) {
    switch (e->op) {
    case OP_NEG: return format_text(s, "-%s", a);
    case OP_ADD: return format_text(s, "%s + %s", a, b);
    case OP_SUB: return format_text(s, "%s - %s", a, b);
    case OP_MUL: return format_text(s, "%s * %s", a, b);
    case OP_DIV: return format_text(s, "%s / %s", a, b);
    case OP_POW: return power(s, e, a, b);
    case OP_MIN:
    case OP_MAX:
    case OP_ATAN2: return format_text(s, "stm_%s(%s, %s)", op_text[e->op], a, b);
    case OP_ABS:
    case OP_SIGN:
    case OP_FLOOR:
    case OP_ROUND:
    case OP_SQRT:
    case OP_RSQRT:
    case OP_EXP:
    case OP_EXPM1:
    case OP_LOG:
    case OP_LOG1P:
    case OP_SIN:
    case OP_COS:
    case OP_TANH:
    case OP_SIGMOID:
    case OP_ERF:
    case OP_LGAMMA:
    case OP_DIGAMMA: return format_text(s, "stm_%s(%s)", op_text[e->op], a);
    case OP_IADD: return wrapping(s, e->type, '+', a, b);
    case OP_ISUB: return wrapping(s, e->type, '-', a, b);
    case OP_IMUL: return wrapping(s, e->type, '*', a, b);
    case OP_IDIV:
    case OP_IMOD: return divide(s, e, a, b);
    case OP_LT: return format_text(s, "%s < %s", a, b);
    case OP_LE: return format_text(s, "%s <= %s", a, b);
    case OP_EQ: return format_text(s, "%s == %s", a, b);
    case OP_NE: return format_text(s, "%s != %s", a, b);
    case OP_AND: return format_text(s, "%s & %s", a, b);
    case OP_OR: return format_text(s, "%s | %s", a, b);
    case OP_NOT: return format_text(s, "!%s", a);
    case OP_SELECT: return format_text(s, "%s ? %s : %s", a, b, c);
    case OP_CAST: return cuda_cast(s, e->arg[0]->type, e->type, a);
    case OP_CONST:
    case OP_INDEX:
    case OP_EXTENT:
    case OP_READ:
    case OP_RANDOM:
    case OP_STOP:
    case OP_COUNT: break;
    }
    DIE("no CUDA text for the primitive %d", (int)e->op);
}

// ---- leaves
static CudaValue single(const char *text) {
    return (CudaValue){.lanes = 1, .lane = {text}};
}

static CudaValue index_value(CudaScope *s, const Expr *e) {
    bool across = e->var == s->vector && !s->nest->var[e->var].gone;
    CudaValue v = {.lanes = across ? s->width : 1};
    for (int i = 0; i < v.lanes; i++) {
        const char *text = variable_text(s, e->var, i);
        if (e->type == T_REAL || e->type == T_I64)
            text = format_text(s, "(%s)%s", cuda_value_type(s->nest->program, e->type), text);
        else if (is_whole(e->type)) text = format_text(s, "(%s & 255)", text);
        v.lane[i] = e->type == T_I32 ? text : format_text(s, "(%s)", text);
    }
    return v;
}

static CudaValue extent_value(CudaScope *s, const Expr *e) {
    const Program *p = s->nest->program;
    bool wide = e->type == T_REAL || e->type == T_I64;
    const char *text = scope_mono(s, mono_extent(e->extent), wide);
    if (e->type == T_REAL) text = format_text(s, "((%s)%s)", cuda_value_type(p, T_REAL), text);
    if (is_whole(e->type)) text = format_text(s, "(%s & 255)", text);
    return single(text);
}

static CudaValue constant(CudaScope *s, const Expr *e) {
    if (e->type == T_REAL) return single(real_literal(s, e->number));
    EXPECT(e->number >= -0x1p63 && e->number < 0x1p63);
    return single(integer_literal(s, (int64_t)e->number, e->type));
}

CudaValue scalar_value(CudaScope *s, const Stage *stage, const Expr *e) {
    CudaValue arg[3];
    const char *text[CUDA_LANES];
    switch (e->op) {
    case OP_CONST: return constant(s, e);
    case OP_INDEX: return index_value(s, e);
    case OP_EXTENT: return extent_value(s, e);
    case OP_READ: return access_read(s, stage, e);
    case OP_RANDOM: return access_random(s, stage, e);
    default: break;
    }
    int lanes = 1;
    for (int i = 0; i < e->arity; i++) {
        arg[i] = scope_value(s, stage, e->arg[i]);
        if (arg[i].lanes > lanes) lanes = arg[i].lanes;
    }
    if (e->op == OP_STOP || (e->op == OP_CAST && e->arg[0]->type == e->type)) return arg[0];
    for (int i = 0; i < lanes; i++)
        text[i] = operator_text(s, e, lane_of(&arg[0], i), e->arity > 1 ? lane_of(&arg[1], i) : NULL,
                                e->arity > 2 ? lane_of(&arg[2], i) : NULL);
    return scope_temporaries(s, cuda_value_type(s->nest->program, e->type), lanes, text);
}

// ---- reductions
const char *cuda_reduce_identity(const Program *p, Reduce reduce, ElementType type) {
    bool largest = reduce == REDUCE_MIN || reduce == REDUCE_ARGMIN;
    if (type == T_BF16) type = T_REAL;
    if (reduce == REDUCE_SUM || reduce == REDUCE_PROD || reduce == REDUCE_NONE) {
        bool one = reduce == REDUCE_PROD;
        if (type != T_REAL) return one ? "1" : "0";
        return p->real64 ? one ? "1.0" : "0.0" : one ? "1.0f" : "0.0f";
    }
    switch (type) {
    case T_REAL: return p->real64 ? largest ? "STM_INF_F64" : "(-STM_INF_F64)" : largest ? "STM_INF" : "(-STM_INF)";
    case T_I32: return largest ? "2147483647" : "(-2147483647 - 1)";
    case T_I64: return largest ? "9223372036854775807LL" : "(-9223372036854775807LL - 1)";
    case T_U8: return largest ? "255" : "0";
    default: return largest ? "1" : "0";
    }
}

const char *cuda_reduce_combine(const CudaScope *s, Reduce reduce, ElementType type, const char *a, const char *b) {
    bool adds = reduce == REDUCE_SUM || reduce == REDUCE_PROD;
    if (adds && type == T_BOOL) return format_text(s, "(%s %c %s)", a, reduce == REDUCE_SUM ? '|' : '&', b);
    if (adds && type == T_REAL) return format_text(s, "(%s %c %s)", a, reduce == REDUCE_SUM ? '+' : '*', b);
    if (adds) return format_text(s, "(%s)", wrapping(s, type, reduce == REDUCE_SUM ? '+' : '*', a, b));
    return format_text(s, "stm_%s(%s, %s)", reduce == REDUCE_MAX ? "max" : "min", a, b);
}

const char *cuda_reduce_beats(const CudaScope *s, Reduce reduce, ElementType type, const char *x, const char *nx,
                              const char *best, const char *nbest) {
    const char *t = cuda_value_type(s->nest->program, type), *order = reduce == REDUCE_ARGMIN ? "less" : "more";
    const char *better = format_text(s, "stm_%s<%s>(%s, %s)", order, t, x, best);
    if (!nx) return better;
    return format_text(s, "(%s || (stm_ties<%s>(%s, %s) && %s < %s))", better, t, x, best, nx, nbest);
}
