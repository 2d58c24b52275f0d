// Inside of inversion: the solution of p(v) = J, found by solve.c and used by invert.c. Nothing else includes this.
#ifndef STMC_INVERT_H
#define STMC_INVERT_H

#include "pass/gradient.h"

// Numbers of the unknowns and knowns of p(v) = J: variables of the equation, dimensions J, and variables that inversion
// adds (remainders of floor divisions).
enum { DIM = MAX_VARS, EXTRA = DIM + MAX_RANK, IDS = EXTRA + 16 };

typedef struct Affine {
    int64_t coef[IDS], offset;
} Affine;

typedef struct Form { // (sum // divide) % modulo, like a Position
    Affine sum;
    int64_t divide, modulo;
    bool exact;
} Form;

typedef struct Condition {
    enum { IS_ZERO, IS_BELOW } kind;
    Affine sum;
    int64_t limit;
} Condition;

typedef struct Inversion {
    Gradient *g;
    Job *job;
    const Equation *eq;
    const Expr *read;
    const Tensor *x;
    Contributions *into;
    Extent extent[IDS];
    uint32_t unknown;    // variables of the equation without a form yet
    Form form[MAX_VARS]; // of the variables of the equation over DIM, EXTRA and summed variables
    uint32_t summed;     // variables of the equation that stay
    int extras;
    bool done[MAX_RANK]; // dimensions whose position is used up
    VEC(Condition) condition;
    int number[IDS], vars; // in the new equation; -1: not there
    ExprMap substituted;
} Inversion;

int64_t floor_quotient(int64_t a, int64_t b);
Form form_of(int id); // the unknown or known itself
bool form_is_affine(const Form *f);
void affine_add(Affine *into, const Affine *a, int64_t times);
// Bounds over all values; false when a variable of run-time extent occurs.
bool affine_range(const Inversion *s, const Affine *a, int64_t *low, int64_t *high);

// Gives every variable of `used` a form or leaves it to be summed, and numbers the variables of the new equation.
// Conditions under which the forms are the solution are noted. False: use a scatter.
bool invert_solve(Inversion *s, uint32_t used);

#endif
