// Expressions of the kernel form as CUDA C. A scope is a place in a function where statements are being written: it
// knows what variables, buffers and locals are called there, writes temporaries for what it evaluates and evaluates an
// expression once per C block.
//
// Blocks: scope_open and scope_close write `{` and `}`; what was evaluated between them is forgotten at the close, what
// was evaluated before the open stays known inside. So a value that no inner loop changes is evaluated before the loop
// by calling scope_value (or scope_hoist) there. Open a block for everything that runs under a condition or more than
// once. Whoever gives a variable another name inside one block (unrolling by hand) puts scope_mark and scope_release
// around each copy.
//
// Vectors: with `vector` set, values are computed for `width` (2, 4 or 8) neighbours along that variable, var + 0 ..
// width-1, as separate scalars (x_0 .. x_3): loads and stores that walk the variable with stride 1 become one wide
// access where alignment is known, others become `width` accesses. What does not depend on the variable is computed
// once. The caller guarantees that the variable starts at a multiple of the width and that all of its `width` values
// are inside the variable's extent.
//
// The text uses what kernels/prelude.cuh declares, the names of the scope, names of its own (t<i> and w<i>), and
// `e<number>` for the run-time value of an axis (or, from the number of axes on, of a step extent); `extent_used` tells
// which. Everything lives on the arena of the text.
#ifndef STMC_TARGET_CUDA_EXPR_H
#define STMC_TARGET_CUDA_EXPR_H

#include "forms/nest.h"
#include "target/cuda/cuda.h"

enum { CUDA_LANES = 8, CUDA_STEP_EXTENTS = 16 };

typedef struct CudaValue {
    int lanes;                    // 1: the same for the whole vector; otherwise the scope's width
    const char *lane[CUDA_LANES]; // C expressions without side effects (names of temporaries, literals)
} CudaValue;

typedef struct CudaScope {
    const Nest *nest; // of the kernel (its program, strides, ranges)
    Text *out;
    int indent;          // levels of four blanks
    const char **var;    // [vars] C expression of type int of each variable; NULL: not in scope. Variables that are
                         //   `gone` are 0 and need none
    const char **buffer; // [buffers] name of the typed pointer; at first b<i>, i the buffer's number in the kernel
    const char **local;  // [locals] rank 0: name of a variable per lane ("l0", lane i of a vector "l0_i")
                         //   otherwise name of an array; at first l<i>
    const char **local_index; // [locals] NULL, or what is added to the element number of the array
    const char *outside;      // name of the pointer that reports gathers outside; at first "outside"
    int vector, width;        // variable and width, or -1 and 1
    bool local_vector[64];    // local of rank 0 that holds one value per lane of the vector
    int *temporaries;         // numbers names; scopes of one function share one counter
    bool *extent_used;        // [axes + CUDA_STEP_EXTENTS] e<i> occurs in the text; scopes of one function share it
    bool *outside_used;       // the text writes *outside; shared like that
    struct ScopeMemo *memo;   // of expressions
} CudaScope;

// Fills everything: names as above, nothing in scope, no vector, counters of its own.
void scope_init(CudaScope *s, const Nest *nest, Text *out);
void scope_line(CudaScope *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Writes "format {" and indents; the close writes "}".
void scope_open(CudaScope *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void scope_close(CudaScope *s);
int scope_mark(const CudaScope *s);
void scope_release(CudaScope *s, int mark);               // forgets what was evaluated since the mark
void scope_forget(CudaScope *s);                          // forgets everything: values so far are out of reach or stale
const char *scope_name(CudaScope *s, const char *prefix); // a new name: prefix and number

CudaValue scope_value(CudaScope *s, const Stage *stage, const Expr *e); // `stage` decides what RANDOM is keyed by
// Evaluates the parts of e that do not depend on the variables `inner` (bits, and USES_LATE), so that they are known in
// blocks opened later. e belongs to the nest. Constants and positions are left where they are used.
void scope_hoist(CudaScope *s, const Stage *stage, const Expr *e, uint64_t inner);
// dest[target] = value; for accumulating stages dest[target] += value (the caller has seen to it that no other thread
// writes the element). A position outside drops the write. Converts from the stage's value type (i32 for argmax) to
// that of the destination; reals are rounded when the buffer is bf16. Locals of rank 0 are assigned, not declared.
void scope_store(CudaScope *s, const Stage *stage, CudaValue value);
// C expression of type int: the element number of an access, in storage order; *guard is a condition or NULL (always
// inside). For `lane` > 0 of a vector, of that neighbour.
const char *scope_element(CudaScope *s, int tensor, int rank, const Position *position, int lane, const char **guard);
const char *scope_extent(CudaScope *s, Extent e);        // C expression of type int
const char *scope_mono(CudaScope *s, Mono m, bool wide); // the same of a product; wide: long long
// Can the access be one wide load or store at this width along the vector variable?
bool scope_wide_access(const CudaScope *s, int tensor, int rank, const Position *position);
// Can it be at `width` along `var`, whatever the scope's vector is? For choosing a vector.
bool access_wide(const Nest *nest, int tensor, int rank, const Position *position, int var, int width);

const char *cuda_type(const Program *p, ElementType type); // "float": in memory
const char *cuda_value_type(const Program *p,
                            ElementType type);          // "float": in registers (bf16 is float, u8 and bool int)
// Of values in registers. Conversions wrap between integers, cut and clamp from reals.
const char *cuda_cast(const CudaScope *s, ElementType from, ElementType to, const char *a);
const char *cuda_reduce_identity(const Program *p, Reduce reduce, ElementType type); // "0.0f" "STM_INF"
// Sum, product, max, min: the combination of two values.
const char *cuda_reduce_combine(const CudaScope *s, Reduce reduce, ElementType type, const char *a, const char *b);
// Argmax and argmin: condition that x (number nx) beats best (number nbest): NaN beats every number, equal values fall
// to the smaller number. nx NULL: x comes later in row-major order, equal values do not win. Start with the identity
// and number 0.
const char *cuda_reduce_beats(const CudaScope *s, Reduce reduce, ElementType type, const char *x, const char *nx,
                              const char *best, const char *nbest);

#endif
