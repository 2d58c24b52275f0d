// The kernels of expr_test: what each is compared with, and their text.
#ifndef STMC_TESTS_EXPR_CASES_H
#define STMC_TESTS_EXPR_CASES_H

#include "../passes/kernel_make.h"
#include "expr_plain.h"

enum { MOST = 4096, ROOM = 32 };

typedef struct Case {
    const char *name;
    const Program *p;
    const Kernel *k;
    const Expr *op; // compare with evaluate_op of it; NULL: with the reference runner
    ScalarOp primitive;
    double ulp, absolute;
    enum { ANY_REPORT, NO_REPORT, REPORT } outside; // what *outside must hold afterwards
} Case;

typedef struct Suite {
    Checks c;
    Arena *arena;
    Text text;
    Program *real[2]; // f32, f64
    int cases;
    Case at[MOST];
    void *library;
    bool tested[OP_COUNT];
} Suite;

extern const int64_t axes[PLAIN_EXTENTS]; // values of two axes and two step extents

Program *suite_program(Arena *a, bool real64); // without tensors
// Adds the functions of all kernels to t->text and t->at; `count` random accesses.
void suite_cases(Suite *t, int count, uint64_t seed);

double op_input(ElementType type, ScalarOp op, int argument, size_t i); // element i of an argument of a primitive
int64_t extent_value(Extent e);

#endif
