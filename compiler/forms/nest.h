// The loop nest of a kernel as every target sees it: strides of accesses, ranges of positions, variables that can be
// walked as one, what each expression depends on and costs. An analysis of form 3; it decides nothing about schedules.
//
// Merging: variables that every access walks through together (the strides say so) become one; the others are marked
// `gone` and have the value 0. Ownership: everything lives on the arena given.
#ifndef STMC_NEST_H
#define STMC_NEST_H

#include "forms/kernels.h"

enum { NEST_VARS = 2 * MAX_VARS + 2, MONO_AXES = 6 };

typedef struct Mono { // k * product of run-time axes, sorted
    int64_t k;
    int axes;
    int axis[MONO_AXES];
} Mono;
Mono mono_of(int64_t k);
Mono mono_extent(Extent e);
bool mono_multiply(Mono a, Mono b, Mono *product); // false: too many axes
bool mono_same(Mono a, Mono b);
int64_t mono_bound(const Program *p, Mono m); // at the bounds of the axes

// Bit of ExprInfo.uses: depends on what an earlier stage of the same outer iteration wrote.
#define USES_LATE ((uint64_t)1 << 63)

typedef struct ExprInfo {
    const Expr *expr;
    uint64_t uses; // variables that its value depends on (merged and single-valued ones left out)
    int cost;      // scalar operations of the node alone
    bool gathers;
} ExprInfo;

typedef struct NestVar {
    Mono extent; // after merging
    int64_t bound;
    bool gone; // merged into another, or of extent 1: its value is 0
} NestVar;

typedef struct Nest {
    const Program *program;
    const Kernel *kernel; // workspaces of a phase are appended buffers
    const char *name;
    int vars;
    NestVar var[NEST_VARS];
    Mono (*stride)[MAX_RANK];       // of buffers, per dimension, in elements
    Mono (*local_stride)[MAX_RANK]; // of locals
    bool unmerged;                  // input: keep all variables apart
    int chunked, chunk;             // input: variable cut into pieces that variable `chunk` numbers; or -1
    int *arg_of;                    // number among the buffers that are used, -1: not used
    int args;
    bool gathers, scatters;
    ExprInfo *expr; // by id; children before parents
    int exprs;
    struct {
        const Expr *key;
        int id;
    } * table;
    int table_size;
} Nest;

// `unmerged`, `chunked` and `chunk` of *nest are inputs; the rest is filled. NULL, or why the kernel cannot be
// analysed.
const char *nest_init(Arena *arena, const Program *p, const Kernel *k, const char *name, Nest *nest);

int nest_expr(const Nest *nest, const Expr *e); // id
// What a position can be, from static extents; false when it depends on a dynamic one.
bool position_range(const Nest *nest, const Position *x, int64_t *low, int64_t *high);
bool position_checked(const Nest *nest, const Position *x, Extent dim); // must be compared with its dimension
bool position_uses(const Nest *nest, const Position *x, int var);       // not through a gather

// Element stride of `var` in an access: 0 it does not occur, 1 *stride, 2 no constant stride.
int access_stride(const Nest *nest, int tensor, int rank, const Position *position, int var, Mono *stride);
// Row-major number that RANDOM is keyed by, as strides over variables: false when the stage has none.
bool random_stride(const Nest *nest, const Stage *stage, int var, Mono *stride);
// The factors of a product, with its constants and signs multiplied into *scale; false: one is not real.
typedef VEC(Expr *) Factors;
bool product_factors(Arena *arena, Expr *e, double *scale, Factors *out);
int nest_group(const Kernel *k, const Stage *stage, int var); // 0 absent, 1 outer, 2 free, 3 reduced
// The variables of from[0..count) that are walked (not gone, not `skip`), outermost first in storage: by their stride
// in the stage's destination, else in the largest read. `keep`: in the order given. Returns how many.
int nest_sort(const Nest *nest, const Stage *stage, const int *from, int count, int skip, bool keep, int *to);
// Two iterations that differ in `var` never write the same element of an accumulated tensor.
bool nest_collision_free(const Kernel *k, int var);

#endif
