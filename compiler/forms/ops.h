// The one table of scalar primitives. Enum, printer, reader, type rule, verifier, differentiation's coverage test,
// the reference evaluator and the CPU emitter's coverage test all come from it.
//
// X(NAME, "text", arity, result, differentiable)
//   result: R real (all arguments real), B bool from two reals or two ints (comparison), L bool from bools,
//           I int from ints, S select (bool, a, a) -> a, C conversion, N leaf
//   differentiable: 1 has a derivative rule in pass/differentiate.c; 0 its derivative is zero or it has none
#ifndef STMC_OPS_H
#define STMC_OPS_H

#define SCALAR_OPS(X)                                                                                                  \
    /* leaves */                                                                                                       \
    X(CONST, "const", 0, N, 0)   /* number */                                                                          \
    X(INDEX, "index", 0, N, 0)   /* position of an index variable, as int */                                           \
    X(EXTENT, "extent", 0, N, 0) /* run-time extent (count * axis), as int */                                          \
    X(READ, "read", 0, N, 1)     /* element of a tensor */                                                             \
    X(RANDOM, "random", 0, N, 0) /* uniform in [0,1), 24 bits: Philox keyed by seed, step, place, element */           \
    /* real arithmetic */                                                                                              \
    X(NEG, "neg", 1, R, 1)                                                                                             \
    X(ADD, "add", 2, R, 1)                                                                                             \
    X(SUB, "sub", 2, R, 1)                                                                                             \
    X(MUL, "mul", 2, R, 1)                                                                                             \
    X(DIV, "div", 2, R, 1)                                                                                             \
    X(MIN, "min", 2, R, 1)                                                                                             \
    X(MAX, "max", 2, R, 1)                                                                                             \
    X(POW, "pow", 2, R, 1)                                                                                             \
    X(ABS, "abs", 1, R, 1)                                                                                             \
    X(SIGN, "sign", 1, R, 0)                                                                                           \
    X(FLOOR, "floor", 1, R, 0)                                                                                         \
    X(ROUND, "round", 1, R, 0) /* half to even */                                                                      \
    X(SQRT, "sqrt", 1, R, 1)                                                                                           \
    X(RSQRT, "rsqrt", 1, R, 1)                                                                                         \
    X(EXP, "exp", 1, R, 1)                                                                                             \
    X(EXPM1, "expm1", 1, R, 1)                                                                                         \
    X(LOG, "log", 1, R, 1)                                                                                             \
    X(LOG1P, "log1p", 1, R, 1)                                                                                         \
    X(SIN, "sin", 1, R, 1)                                                                                             \
    X(COS, "cos", 1, R, 1)                                                                                             \
    X(TANH, "tanh", 1, R, 1)                                                                                           \
    X(SIGMOID, "sigmoid", 1, R, 1)                                                                                     \
    X(ERF, "erf", 1, R, 1)                                                                                             \
    X(LGAMMA, "lgamma", 1, R, 1)                                                                                       \
    X(DIGAMMA, "digamma", 1, R, 0)                                                                                     \
    X(ATAN2, "atan2", 2, R, 1)                                                                                         \
    /* a barrier for differentiation: value of its argument, derivative zero */                                        \
    X(STOP, "stop_gradient", 1, R, 0)                                                                                  \
    /* integers */                                                                                                     \
    X(IADD, "iadd", 2, I, 0)                                                                                           \
    X(ISUB, "isub", 2, I, 0)                                                                                           \
    X(IMUL, "imul", 2, I, 0)                                                                                           \
    X(IDIV, "idiv", 2, I, 0) /* floor */                                                                               \
    X(IMOD, "imod", 2, I, 0) /* sign of the divisor */                                                                 \
    /* comparisons and logic */                                                                                        \
    X(LT, "lt", 2, B, 0)                                                                                               \
    X(LE, "le", 2, B, 0)                                                                                               \
    X(EQ, "eq", 2, B, 0)                                                                                               \
    X(NE, "ne", 2, B, 0)                                                                                               \
    X(AND, "and", 2, L, 0)                                                                                             \
    X(OR, "or", 2, L, 0)                                                                                               \
    X(NOT, "not", 1, L, 0)                                                                                             \
    X(SELECT, "select", 3, S, 1) /* the arm not chosen is not evaluated in effect: its NaN never spreads */            \
    /* conversions: the type field of the node is the target */                                                        \
    X(CAST, "cast", 1, C, 1)

typedef enum ScalarOp {
#define X(name, text, arity, result, differentiable) OP_##name,
    SCALAR_OPS(X)
#undef X
        OP_COUNT
} ScalarOp;

extern const char *const op_text[OP_COUNT]; // "add"; equations.c

#endif
