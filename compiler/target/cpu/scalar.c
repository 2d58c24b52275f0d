// Expressions as IR: one value per expression and scope, scalar where it does not vary across lanes.
#include "target/cpu/loops.h"
#include "target/cpu/math.h"
#include "target/cpu/random.h"

int emit_mark(Emit *e) {
    return e->undos;
}

void emit_release(Emit *e, int mark) {
    while (e->undos > mark) e->value[e->undo[--e->undos]] = NULL;
}

void emit_match(Emit *e, LLVMValueRef *a, LLVMValueRef *b) {
    int lanes = lanes_of(LLVMTypeOf(*a)), other = lanes_of(LLVMTypeOf(*b));
    if (lanes < other) *a = splat(e->m, *a, other);
    if (other < lanes) *b = splat(e->m, *b, lanes);
}

static bool never_nan(LLVMValueRef v) {
    if (LLVMIsAConstantFP(v)) {
        LLVMBool lost;
        double x = LLVMConstRealGetDouble(v, &lost);
        return x == x;
    }
    return false;
}

// a > b ? a : b is one instruction and yields b when either is NaN; so the operand that may be NaN goes second, and
// when both may be, a NaN in a is put back.
static LLVMValueRef pick(Emit *e, LLVMValueRef a, LLVMValueRef b, bool minimum) {
    LLVMValueRef c = LLVMBuildFCmp(e->m->builder, minimum ? LLVMRealOLT : LLVMRealOGT, a, b, "");
    return LLVMBuildSelect(e->m->builder, c, a, b, "");
}

LLVMValueRef emit_max(Emit *e, LLVMValueRef a, LLVMValueRef b, bool minimum) {
    bool a_safe = never_nan(a), b_safe = never_nan(b);
    emit_match(e, &a, &b);
    if (a_safe) return pick(e, a, b, minimum);
    if (b_safe) return pick(e, b, a, minimum);
    LLVMValueRef nan = LLVMBuildFCmp(e->m->builder, LLVMRealUNO, a, a, "");
    return LLVMBuildSelect(e->m->builder, nan, a, pick(e, a, b, minimum), "");
}

static LLVMValueRef unsigned_divide(Emit *e, LLVMValueRef x, LLVMValueRef d, bool modulo) { // x / 0 and x mod 0 are 0
    LLVMBuilderRef b = e->m->builder;
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x)), by_zero = LLVMBuildICmp(b, LLVMIntEQ, d, zero, "");
    LLVMValueRef safe = LLVMBuildSelect(b, by_zero, const_int(LLVMTypeOf(x), 1), d, "");
    LLVMValueRef v = modulo ? LLVMBuildURem(b, x, safe, "") : LLVMBuildUDiv(b, x, safe, "");
    return LLVMBuildSelect(b, by_zero, zero, v, "");
}

static LLVMValueRef int_divide(Emit *e, LLVMValueRef x, LLVMValueRef d, bool modulo) {
    LLVMBuilderRef b = e->m->builder;
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMValueRef zero = LLVMConstNull(type), one = const_int(type, 1), minus = const_int(type, -1);
    // The machine traps on a zero divisor and on the most negative number by -1; x / 0 and x mod 0 are 0 here.
    LLVMValueRef by_zero = LLVMBuildICmp(b, LLVMIntEQ, d, zero, "");
    LLVMValueRef by_minus = LLVMBuildICmp(b, LLVMIntEQ, d, minus, "");
    LLVMValueRef safe = LLVMBuildSelect(b, LLVMBuildOr(b, by_zero, by_minus, ""), one, d, "");
    LLVMValueRef rest = LLVMBuildSRem(b, x, safe, "");
    LLVMValueRef other = LLVMBuildICmp(b, LLVMIntSLT, LLVMBuildXor(b, rest, safe, ""), zero, "");
    LLVMValueRef some = LLVMBuildICmp(b, LLVMIntNE, rest, zero, "");
    LLVMValueRef adjust = LLVMBuildAnd(b, other, some, "");
    if (modulo) {
        LLVMValueRef r = LLVMBuildSelect(b, adjust, LLVMBuildAdd(b, rest, safe, ""), rest, "");
        return LLVMBuildSelect(b, by_zero, zero, r, "");
    }
    LLVMValueRef q = LLVMBuildSub(b, LLVMBuildSDiv(b, x, safe, ""), LLVMBuildZExt(b, adjust, type, ""), "");
    q = LLVMBuildSelect(b, by_minus, LLVMBuildNeg(b, x, ""), q, "");
    return LLVMBuildSelect(b, by_zero, zero, q, "");
}

LLVMValueRef emit_cast(Emit *e, LLVMValueRef v, ElementType from, ElementType to) {
    LLVMBuilderRef b = e->m->builder;
    LLVMTypeRef have = LLVMTypeOf(v), want = shape_like(module_type(e->m, to), have);
    bool is_unsigned = from == T_U8 || from == T_BOOL;
    if (from == to) return v;
    if (to == T_BOOL)
        return from == T_REAL ? LLVMBuildFCmp(b, LLVMRealUNE, v, LLVMConstNull(have), "")
                              : LLVMBuildICmp(b, LLVMIntNE, v, LLVMConstNull(have), "");
    if (to == T_REAL) {
        if (from == T_U8) v = LLVMBuildZExt(b, v, shape_like(e->m->i32, have), ""); // a signed conversion is cheaper
        if (from == T_BOOL) return LLVMBuildSelect(b, v, const_real(want, 1), const_real(want, 0), "");
        return LLVMBuildSIToFP(b, v, want, "");
    }
    if (from == T_REAL) { // towards zero, clamped to the range, NaN is 0
        LLVMTypeRef types[2] = {want, have};
        return intrinsic(e->m, to == T_U8 ? "llvm.fptoui.sat" : "llvm.fptosi.sat", types, 2, &v, 1);
    }
    if (element_bytes(false, to) < element_bytes(false, from)) return LLVMBuildTrunc(b, v, want, "");
    return is_unsigned ? LLVMBuildZExt(b, v, want, "") : LLVMBuildSExt(b, v, want, "");
}

static LLVMValueRef compare(Emit *e, ScalarOp op, ElementType type, LLVMValueRef a, LLVMValueRef b) {
    LLVMBuilderRef builder = e->m->builder;
    if (type == T_REAL) {
        LLVMRealPredicate p = op == OP_LT   ? LLVMRealOLT
                              : op == OP_LE ? LLVMRealOLE
                              : op == OP_EQ ? LLVMRealOEQ
                                            : LLVMRealUNE;
        return LLVMBuildFCmp(builder, p, a, b, "");
    }
    bool is_unsigned = type == T_U8 || type == T_BOOL;
    LLVMIntPredicate p = op == OP_LT   ? (is_unsigned ? LLVMIntULT : LLVMIntSLT)
                         : op == OP_LE ? (is_unsigned ? LLVMIntULE : LLVMIntSLE)
                         : op == OP_EQ ? LLVMIntEQ
                                       : LLVMIntNE;
    return LLVMBuildICmp(builder, p, a, b, "");
}

static LLVMValueRef index_value(Emit *e, int var, ElementType type) {
    LLVMBuilderRef b = e->m->builder;
    LLVMTypeRef element = type == T_REAL ? e->m->i64 : module_type(e->m, type);
    LLVMValueRef v = e->var[var];
    if (element != e->m->i64) v = LLVMBuildTrunc(b, v, element, "");
    if (var == e->lane && e->lanes > 1)
        v = LLVMBuildAdd(b, splat(e->m, v, e->lanes), iota(e->m, element, e->lanes, 1), "");
    return type == T_REAL ? LLVMBuildSIToFP(b, v, shape_like(e->m->real, LLVMTypeOf(v)), "") : v;
}

static LLVMValueRef leaf(Emit *e, const Expr *x) {
    switch (x->op) {
    case OP_CONST:
        return x->type == T_REAL ? LLVMConstReal(e->m->real, x->number)
                                 : LLVMConstInt(module_type(e->m, x->type), (unsigned long long)(int64_t)x->number, 1);
    case OP_INDEX: return index_value(e, x->var, x->type);
    case OP_EXTENT: {
        LLVMValueRef n = emit_mono(e, mono_extent(x->extent));
        if (x->type == T_REAL) return LLVMBuildSIToFP(e->m->builder, n, e->m->real, "");
        LLVMTypeRef type = module_type(e->m, x->type);
        return type == e->m->i64 ? n : LLVMBuildTrunc(e->m->builder, n, type, "");
    }
    case OP_RANDOM: {
        LLVMValueRef place = const_i32(e->m, (int32_t)x->place);
        if (x->extent.count > 0)
            place = LLVMBuildTrunc(e->m->builder, emit_mono(e, mono_extent(x->extent)), e->m->i32, "");
        return random_emit(e->m, emit_random_index(e), place, e->seed, e->step);
    }
    default: return emit_read(e, x);
    }
}

static LLVMValueRef real_op(Emit *e, ScalarOp op, LLVMValueRef a, LLVMValueRef b) {
    CpuModule *m = e->m;
    LLVMTypeRef type = LLVMTypeOf(a);
    switch (op) {
    case OP_NEG: return LLVMBuildFNeg(m->builder, a, "");
    case OP_ADD: return contractible(LLVMBuildFAdd(m->builder, a, b, ""));
    case OP_SUB: return contractible(LLVMBuildFSub(m->builder, a, b, ""));
    case OP_MUL: return contractible(LLVMBuildFMul(m->builder, a, b, ""));
    case OP_DIV: return LLVMBuildFDiv(m->builder, a, b, "");
    case OP_ABS: return intrinsic1(m, "llvm.fabs", a);
    case OP_FLOOR: return intrinsic1(m, "llvm.floor", a);
    case OP_ROUND: return intrinsic1(m, "llvm.rint", a); // the rounding mode is always to nearest, ties to even
    case OP_SQRT: return intrinsic1(m, "llvm.sqrt", a);
    case OP_SIGN: {
        LLVMValueRef zero = LLVMConstNull(type);
        LLVMValueRef up = LLVMBuildFCmp(m->builder, LLVMRealOGT, a, zero, "");
        LLVMValueRef down = LLVMBuildFCmp(m->builder, LLVMRealOLT, a, zero, "");
        LLVMValueRef low = LLVMBuildSelect(m->builder, down, const_real(type, -1), a, ""); // zero and NaN stay
        return LLVMBuildSelect(m->builder, up, const_real(type, 1), low, "");
    }
    default: return math_emit(m, op, a, b);
    }
}

static LLVMValueRef compute(Emit *e, const Expr *x) {
    LLVMBuilderRef b = e->m->builder;
    LLVMValueRef a[3] = {NULL, NULL, NULL};
    if (x->arity == 0) return leaf(e, x);
    for (int i = 0; i < x->arity; i++) a[i] = emit_value(e, x->arg[i]);
    if (x->op == OP_MAX || x->op == OP_MIN) return emit_max(e, a[0], a[1], x->op == OP_MIN);
    if (x->op == OP_STOP) return a[0];
    if (x->op == OP_CAST) return emit_cast(e, a[0], x->arg[0]->type, x->type);
    if (x->op == OP_SELECT) {
        emit_match(e, &a[1], &a[2]);
        if (lanes_of(LLVMTypeOf(a[0])) > 1) emit_match(e, &a[0], &a[1]), emit_match(e, &a[0], &a[2]);
        return LLVMBuildSelect(b, a[0], a[1], a[2], "");
    }
    if (x->arity == 2) emit_match(e, &a[0], &a[1]);
    switch (x->op) {
    case OP_IADD: return LLVMBuildAdd(b, a[0], a[1], "");
    case OP_ISUB: return LLVMBuildSub(b, a[0], a[1], "");
    case OP_IMUL: return LLVMBuildMul(b, a[0], a[1], "");
    case OP_IDIV:
    case OP_IMOD:
        return x->type == T_U8 ? unsigned_divide(e, a[0], a[1], x->op == OP_IMOD)
                               : int_divide(e, a[0], a[1], x->op == OP_IMOD);
    case OP_LT:
    case OP_LE:
    case OP_EQ:
    case OP_NE: return compare(e, x->op, x->arg[0]->type, a[0], a[1]);
    case OP_AND: return LLVMBuildAnd(b, a[0], a[1], "");
    case OP_OR: return LLVMBuildOr(b, a[0], a[1], "");
    case OP_NOT: return LLVMBuildNot(b, a[0], "");
    default: return real_op(e, x->op, a[0], a[1]);
    }
}

LLVMValueRef emit_value(Emit *e, const Expr *x) {
    int id = nest_expr(&e->plan->nest, x);
    if (e->value[id]) return e->value[id];
    LLVMValueRef v = compute(e, x);
    // A child may have opened no scope of its own, so everything remembered here dominates what follows in this scope.
    e->value[id] = v;
    e->undo[e->undos++] = id;
    return v;
}

void emit_hoist(Emit *e, const Expr *x, uint64_t inner) {
    int id = nest_expr(&e->plan->nest, x);
    if (e->value[id] || x->op == OP_CONST) return;
    if (!(e->plan->nest.expr[id].uses & inner)) {
        emit_value(e, x);
        return;
    }
    for (int i = 0; i < x->arity; i++) emit_hoist(e, x->arg[i], inner);
    for (int i = 0; x->op == OP_READ && i < x->rank; i++)
        if (x->position[i].gather) emit_hoist(e, x->position[i].gather, inner);
}
