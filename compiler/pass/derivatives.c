// The derivative of every scalar primitive that forms/ops.h marks differentiable, in one switch.
// tests/passes/differentiate_test.c walks the table and compares each with central differences.
#include "pass/gradient.h"

static Expr *op1(Job *job, ScalarOp op, Expr *a) {
    return expr_op(job, op, a, NULL, NULL);
}
static Expr *op2(Job *job, ScalarOp op, Expr *a, Expr *b) {
    return expr_op(job, op, a, b, NULL);
}

static Expr *quotient(Job *job, Expr *a, Expr *b) {
    return a == NULL ? NULL : op2(job, OP_DIV, a, b);
}

// d a^b / da = b * a^(b-1): plain products for small constant powers; at b = 0 exactly zero, whatever a is.
static Expr *power_by_base(Job *job, Expr *a, Expr *b) {
    if (b->op == OP_CONST) {
        if (b->number == 0) return NULL;
        if (b->number == 1) return real(job, 1);
        if (b->number == 2) return mul(job, real(job, 2), a);
        if (b->number == 3) return mul(job, real(job, 3), mul(job, a, a));
        if (b->number == 0.5) return quotient(job, real(job, 0.5), op1(job, OP_SQRT, a));
        return mul(job, b, op2(job, OP_POW, a, real(job, b->number - 1)));
    }
    Expr *slope = mul(job, b, op2(job, OP_POW, a, op2(job, OP_SUB, b, real(job, 1))));
    return where(job, op2(job, OP_NE, b, real(job, 0)), slope);
}

// Which argument of max or min passes its adjoint on: the extreme one; of two equal ones the one that varies, and the
// slope of max(x, 0) at 0 is 0: a constant argument takes the tie, otherwise the first does.
static void route_extreme(Job *job, const Expr *e, Expr *g, Expr *out[3]) {
    Expr *a = e->arg[0], *b = e->arg[1];
    bool max = e->op == OP_MAX, second_ties = b->op == OP_CONST;
    Expr *first = second_ties ? (max ? op2(job, OP_LT, b, a) : op2(job, OP_LT, a, b))
                              : (max ? op2(job, OP_LE, b, a) : op2(job, OP_LE, a, b));
    out[0] = where(job, first, g);
    out[1] = where(job, op1(job, OP_NOT, first), g);
}

bool derivative(Job *job, const Expr *e, Expr *y, Expr *g, const bool want[3], Expr *out[3]) {
    Expr *a = e->arg[0], *b = e->arg[1];
    switch (e->op) {
    case OP_NEG: out[0] = neg(job, g); return true;
    case OP_ADD: out[0] = out[1] = g; return true;
    case OP_SUB:
        out[0] = g;
        if (want[1]) out[1] = neg(job, g);
        return true;
    case OP_MUL:
        if (want[0]) out[0] = mul(job, g, b);
        if (want[1]) out[1] = mul(job, g, a);
        return true;
    case OP_DIV:
        if (want[0]) out[0] = quotient(job, g, b);
        if (want[1]) out[1] = neg(job, mul(job, quotient(job, g, b), y));
        return true;
    case OP_MIN:
    case OP_MAX: route_extreme(job, e, g, out); return true;
    case OP_POW:
        if (want[0]) out[0] = mul(job, g, power_by_base(job, a, b));
        if (want[1])
            out[1] = where(job, op2(job, OP_LT, real(job, 0), a), mul(job, g, mul(job, y, op1(job, OP_LOG, a))));
        return true;
    case OP_ABS: out[0] = mul(job, g, op1(job, OP_SIGN, a)); return true;
    case OP_SQRT: out[0] = quotient(job, mul(job, g, real(job, 0.5)), y); return true;
    case OP_RSQRT: out[0] = mul(job, g, mul(job, real(job, -0.5), mul(job, y, mul(job, y, y)))); return true;
    case OP_EXP: out[0] = mul(job, g, y); return true;
    case OP_EXPM1: out[0] = mul(job, g, add(job, y, real(job, 1))); return true;
    case OP_LOG: out[0] = quotient(job, g, a); return true;
    case OP_LOG1P: out[0] = quotient(job, g, add(job, a, real(job, 1))); return true;
    case OP_SIN: out[0] = mul(job, g, op1(job, OP_COS, a)); return true;
    case OP_COS: out[0] = mul(job, g, neg(job, op1(job, OP_SIN, a))); return true;
    case OP_TANH: out[0] = mul(job, g, op2(job, OP_SUB, real(job, 1), mul(job, y, y))); return true;
    case OP_SIGMOID: out[0] = mul(job, g, mul(job, y, op2(job, OP_SUB, real(job, 1), y))); return true;
    case OP_ERF: // 2/sqrt(pi) exp(-a^2)
        out[0] = mul(job, g, mul(job, real(job, 1.1283791670955126), op1(job, OP_EXP, neg(job, mul(job, a, a)))));
        return true;
    case OP_LGAMMA: out[0] = mul(job, g, op1(job, OP_DIGAMMA, a)); return true;
    case OP_ATAN2: {
        Expr *scaled = quotient(job, g, add(job, mul(job, a, a), mul(job, b, b)));
        if (want[0]) out[0] = mul(job, scaled, b);
        if (want[1]) out[1] = neg(job, mul(job, scaled, a));
        return true;
    }
    case OP_SELECT:
        out[1] = where(job, a, g);
        if (want[2]) out[2] = where(job, op1(job, OP_NOT, a), g);
        return true;
    case OP_CAST: out[0] = g; return true;
    default: return false;
    }
}
