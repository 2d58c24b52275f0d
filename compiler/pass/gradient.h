// Inside of differentiation: what differentiate.c (derivatives of values, accumulation) and invert.c (adjoints of reads
// as equations over the tensor that was read) share. Nothing else includes this.
#ifndef STMC_GRADIENT_H
#define STMC_GRADIENT_H

#include "pass/rewrite.h"

// One summand of a tensor's adjoint: a value over its dimensions (variable i is dimension i), or an equation that
// stands in `made` already and whose tensor is chosen when all summands are known.
typedef struct Contribution {
    Expr *value;
    Equation *equation;
} Contribution;
typedef struct Contributions {
    Contribution *at;
    int count, room;
} Contributions;

typedef struct Gradient {
    Program *p;
    Job *job;
    Arena *arena;
    ExprMap vars;         // memo of expr_vars
    VEC(Equation *) made; // the new equations, in order
    int tensors;          // there were before this pass
    Contributions *of;    // by tensor
} Gradient;

// A new temporary named BASE.SUFFIX.
Tensor *gradient_temp(Gradient *g, const char *base, const char *suffix, ElementType type, int rank, const Extent *dim);

// `adjoint`, over the variables of `eq`, is the derivative of the loss by `read`, a read inside `eq`: adds what follows
// from it for the tensor that is read.
void gradient_contribute(Gradient *g, const Equation *eq, const Expr *read, Expr *adjoint);

// ---- derivatives.c: the derivative rules. Adds to out[i] the adjoint of argument i of `e` when that of `e` itself is
// g; y is an expression for the value of e. Only arguments with want[i] are needed. False: this primitive has no rule.
bool derivative(Job *job, const Expr *e, Expr *y, Expr *g, const bool want[3], Expr *out[3]);

#endif
