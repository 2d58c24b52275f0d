// Equations: the model after elaboration. Form 2 of 4. spec/equations.md describes the text; equations.c prints,
// reads and verifies it.
//
// A Program is a table of tensors and a list of jobs; a job is a list of equations in an order in which each reads only
// what inputs, parameters, state or earlier equations define. Every tensor is defined by at most one equation.
//
//   out[v0, v1, ...] = value                          over the free variables (one per dimension of out, in order)
//   out[v0, v1, ...] = reduce[r0, r1, ...] value      at most one reduction, at the root
//   out = view source                                 the same elements in row-major order under another shape
//   out[p0, p1, ...] += value                         scatter: over all variables, starting from zero
#ifndef STMC_EQUATIONS_H
#define STMC_EQUATIONS_H

#include "base/base.h"
#include "forms/ops.h"

// REAL is f32, or f64 by Program. BF16 is a type of memory alone: of kernel buffers, and of the temporaries that
// pass/narrow.c stores so in its copy of the tensor table. What is read from it is REAL; equations never have it.
typedef enum ElementType { T_REAL, T_I32, T_I64, T_U8, T_BOOL, T_BF16, T_COUNT } ElementType;
extern const char *const element_type_name[T_COUNT];

// A size: count, times the run-time value of a dynamic axis when axis >= 0.
typedef struct Extent {
    int64_t count;
    int axis;
} Extent;
static inline Extent extent_of(int64_t count) {
    return (Extent){count, -1};
}
static inline bool extent_same(Extent a, Extent b) {
    return a.count == b.count && a.axis == b.axis;
}
static inline bool extent_is_one(Extent a) {
    return a.axis < 0 && a.count == 1;
}

typedef struct Axis {
    const char *name;
    bool dynamic;
    bool from_data;
    int64_t count; // of a constant axis; the plan's bound (e.g. the batch) of a dynamic one
    const char *doc;
    Span span;
} Axis;

enum { MAX_RANK = 8, MAX_VARS = 16 };

typedef enum TensorKind {
    TENSOR_INPUT,  // fed per step: a dataset of the store
    TENSOR_SCALAR, // fed per step, rank 0, by the runtime: settings, step, epoch, epochs, steps, seed, monitor
    TENSOR_PARAM,  // persistent, differentiated, saved in checkpoints
    TENSOR_STATE,  // persistent, saved: running statistics, optimiser moments, EMA
    TENSOR_TEMP,   // defined by an equation of one job
} TensorKind;

typedef struct Tensor {
    int id;
    const char *name; // path for params and state ("encoder_tile.layer0.0.weight"), source name otherwise
    TensorKind kind;
    ElementType type;
    int rank;
    Extent dim[MAX_RANK];
    int axis[MAX_RANK];  // declared axis of each dimension, or -1
    int order[MAX_RANK]; // storage: order[0] is the outermost dimension; identity unless pass/layout.c changed it
    const char *dataset; // INPUT: dataset of the store
    bool weight;         // STATE that belongs to the model's state dict (running statistics), not to the optimiser
    int init;            // PARAM, STATE: the tensor of job "init" that computes its first value
    Span span;
} Tensor;

typedef struct Variable {
    const char *name;
    Extent extent;
} Variable;

typedef struct Expr Expr;

// Where a read looks along one dimension: ((sum coef*var + offset) // divide) % modulo, or a gathered position.
// A read is 0 when any of its positions is outside the dimension or, with `exact`, not divisible.
typedef struct Term {
    int var;
    int64_t coef;
} Term;
typedef struct Position {
    int terms;
    Term term[4]; // sorted by var, coef != 0
    int64_t offset;
    int64_t divide; // >= 1
    int64_t modulo; // 0: none
    bool exact;     // the sum must be divisible by `divide`, else the read is 0
    bool guarded;   // may be outside the dimension (set by the verifier's range analysis, conservative)
    Expr *gather;   // not NULL: an integer expression; the fields above are unused
} Position;

struct Expr {
    ScalarOp op;
    ElementType type;
    int arity;
    Expr *arg[3];
    double number;      // CONST
    int var;            // INDEX
    Extent extent;      // EXTENT
    int tensor;         // READ: tensor id (in kernels: see kernels.h)
    int rank;           // READ
    Position *position; // READ: rank of them
    uint32_t place;     // RANDOM: number of the place in the spec (in kernels it may be a step extent: `extent`)
    Span span;
};
// Expressions are immutable once built, hash-consed per job by expr_* builders, so pointer equality is structural
// equality of nodes over the same variables.

typedef enum Reduce {
    REDUCE_NONE,
    REDUCE_SUM,
    REDUCE_MAX,
    REDUCE_MIN,
    REDUCE_PROD,
    REDUCE_ARGMAX,
    REDUCE_ARGMIN
} Reduce;
// argmax yields the row-major number (i32) of the first extreme over the reduced variables, in their order.

// How the products of a contraction are formed on the GPU (spec/cuda.md): as the program says, or as the equation says.
typedef enum Precision { PRECISION_MODEL, PRECISION_F32, PRECISION_TF32, PRECISION_BF16, PRECISIONS } Precision;
extern const char *const precision_name[PRECISIONS]; // "" for the program's
Precision precision_of_word(const char *word);       // PRECISION_MODEL for NULL and unknown words

typedef enum EquationKind { EQ_COMPUTE, EQ_VIEW, EQ_SCATTER } EquationKind;

typedef struct Equation {
    EquationKind kind;
    int out;                // tensor id
    int free, vars;         // var[0..free) are the dimensions of out; var[free..vars) are reduced (or, SCATTER: all
    Variable var[MAX_VARS]; //   vars are iterated and free is 0)
    Reduce reduce;
    Expr *value;      // EQ_VIEW: a READ with rank 0 positions naming the source tensor
    Position *target; // EQ_SCATTER: rank(out) positions
    Precision precision;
    Span span;
    const char *where; // module path, for messages and profiles
} Equation;

typedef struct Update {
    int target, source;
} Update; // at the end of the step: target (PARAM, STATE) takes source's value
typedef struct JobOutput {
    const char *name;
    int tensor;
} JobOutput;

typedef struct Job {
    const char *name; // "init" "train" "evaluate" "metrics" "predict" "embed" or "test:TITLE"
    VEC(Equation *) equation;
    VEC(Update) update;
    VEC(JobOutput) output;
    int loss;             // tensor to differentiate, or -1
    VEC(Update) gradient; // request: source receives d loss / d target (a declared TEMP without equation yet)
    Arena *arena;
    struct ExprTable *table; // hash-consing
} Job;

typedef struct Setting {
    const char *name, *doc;
    bool is_text, is_integer;
    double value, low, high; // low > high: no range
    const char *text;
    int scalar; // its TENSOR_SCALAR, or -1
} Setting;

typedef struct Option {
    const char *name, *doc, *value;
} Option; // as resolved, for `info` and provenance

typedef struct TrainPlan {
    int64_t epochs, batch;
    bool shuffle, keep_last;     // keep a partial last batch
    const char *monitor, *split; // metric name or "loss"; "validation" or "train"
    bool maximise;
    int64_t patience;           // 0: no early stopping
    const char *compare, *with; // collected output and input for the baselines, or NULL
} TrainPlan;

// `check kernels <= 2` of a test, decided after fusion.
typedef struct StructureCheck {
    const Job *job;
    const char *what, *comparison; // "kernels" "steps" "workspace"
    int64_t number;
    Span span;
} StructureCheck;

typedef struct Prepare {
    const char *name, *value;
} Prepare; // key/value pairs of the prepare block

typedef struct Program {
    Arena *arena;
    Names *names;
    const char *name, *doc;
    bool real64; // --precision f64
    VEC(Axis) axis;
    VEC(Tensor *) tensor; // tensor.at[i]->id == i
    VEC(Job *) job;
    VEC(Setting) setting;
    VEC(Option) option;
    VEC(Prepare) prepare;
    VEC(StructureCheck) structure;
    TrainPlan train;
    int scalar_seed, scalar_step; // TENSOR_SCALARs that RANDOM is keyed by (-1: none); seed and step are 32-bit values
                                  //   held in i32 tensors
} Program;

// ---- equations.c: builders. They fold nothing; simplification is a pass.
Tensor *program_tensor(Program *p, TensorKind kind, const char *name, ElementType type, int rank, const Extent *dim);
Job *program_job(Program *p, const char *name);
Expr *expr_const(Job *job, double number, ElementType type);
Expr *expr_index(Job *job, int var);
Expr *expr_extent(Job *job, Extent extent);
Expr *expr_read(Job *job, const Tensor *tensor, const Position *position, Span span);
Expr *expr_random(Job *job, uint32_t place);
Expr *expr_op(Job *job, ScalarOp op, Expr *a, Expr *b, Expr *c); // type by the table's rule
Expr *expr_cast(Job *job, ElementType type, Expr *a);
Position position_var(int var); // the variable alone
Position position_const(int64_t offset);
bool position_is_var(const Position *p, int *var); // a plain variable
Equation *job_equation(Job *job, EquationKind kind, const Tensor *out, Span span);
// Copy of `e` with variables renumbered (map[old] = new; -1 must not occur) and, when tensor_map is given, reads
// renamed.
Expr *expr_rename(Job *job, const Expr *e, const int *map);

// ---- equations.c: text
void program_print(const Program *p, Text *out);
Program *program_read(Arena *arena, Names *names, const char *text, size_t length, char **error);
// Checks ranks, ranges, types, single definition, order, and sets Position.guarded. Returns NULL or what is broken.
const char *program_verify(Program *p);

// ---- evaluate.c: the reference evaluator, slow and plain, in f64; for tests of passes and constant folding.
typedef struct Values Values; // values of all tensors of a program, as doubles
Values *values_new(Arena *arena, const Program *p, const int64_t *axis_value);
double *values_of(Values *v, int tensor, size_t *count);
const char *job_evaluate(const Program *p, const Job *job, Values *v); // NULL or an error (gather outside)
// The value of a primitive with arguments, in f64 (integers wrapped to the type of `e`): for constant folding.
double evaluate_op(const Expr *e, const double arg[3]);

#endif
