// Helpers that the passes over equations share. Nothing here is a pass.
#ifndef STMC_REWRITE_H
#define STMC_REWRITE_H

#include "forms/equations.h"

// ---- a map from expressions (by pointer, so by structure within a job) to anything.
typedef struct ExprMap {
    Arena *arena;
    const Expr **from;
    void **to;
    uint32_t count, room;
} ExprMap;
void *expr_map_get(const ExprMap *map, const Expr *e); // NULL when absent
void expr_map_put(ExprMap *map, const Expr *e, void *to);

// Bit i: variable i occurs in `e`, in gathered positions too. `memo` may be shared by the expressions of a job.
uint32_t expr_vars(ExprMap *memo, const Expr *e);
uint32_t position_vars(ExprMap *memo, const Position *p);

// Calls `visit` once for every distinct node, arguments and gathers before the node.
typedef void ExprVisit(void *context, Expr *e);
void expr_walk(Arena *arena, Expr *e, ExprVisit *visit, void *context);
bool expr_contains(Arena *arena, Expr *e, ScalarOp op);

// ---- builders that fold zeros, ones and constants, for derivatives: NULL stands for zero.
Expr *real(Job *job, double x);
Expr *int_const(Job *job, int64_t x);
Expr *bool_const(Job *job, bool x);
Expr *mul(Job *job, Expr *a, Expr *b);
Expr *add(Job *job, Expr *a, Expr *b);
Expr *neg(Job *job, Expr *a);
Expr *all_of(Job *job, Expr *a, Expr *b);            // and; NULL stands for true
Expr *where(Job *job, Expr *condition, Expr *value); // select(condition, value, 0); condition NULL: value
bool is_const(const Expr *e, double x);

// The extent as an i32 expression.
Expr *int_extent(Job *job, Extent e);
// READ of `t` at the variables 0 .. rank-1.
Expr *read_whole(Job *job, const Tensor *t);
bool positions_whole(const Position *p, int rank); // are they the variables 0 .. rank-1?

// An equation that is not yet part of any job, with the place and the precision of `like`; COMPUTE ones have their free
// variables set from `out`.
Equation *equation_alone(Job *job, EquationKind kind, const Tensor *out, const Equation *like);

#endif
