// What the files of elaborate/ share: values, scopes, index tables. Not included from outside.
//
//   elaborate.c  a file's declarations, imports, the entry
//   scope.c      values, scopes, look-up, compile-time arithmetic
//   shape.c      extents: agreement, patterns, printing
//   infer.c      ranges of indices
//   suggest.c    help for unknown names
//   limits.c     sizes, depths and counts that a spec may reach
//   position.c   what stands between brackets -> positions of a read
//   equation.c   index expressions -> Expr, reductions, draws, statements with indices
//   param.c      parameters and state
//   tensor.c     expressions on whole tensors
//   apply.c      functions, modules, nets
//   builtin.c    functions that the language itself knows
//   body.c       statements
//   train.c      train
//   prepare.c    prepare
//   jobs.c       evaluate, predict, embed
//   tests.c      test blocks
#ifndef STMC_ELABORATE_INTERNAL_H
#define STMC_ELABORATE_INTERNAL_H

#include "elaborate/elaborate.h"

typedef struct Value Value;
typedef struct Scope Scope;
typedef struct File File;
typedef struct Callable Callable;

typedef enum ValueKind {
    V_NONE,
    V_NUMBER, // compile-time number or boolean
    V_TEXT,
    V_LIST,
    V_TUPLE,
    V_EXTENT, // an axis, an index of a pattern: a size
    V_PACK,   // the axes behind `..`
    V_TENSOR,
    V_EXPR,     // a scalar of the equation being built (argument of a scalar function)
    V_CALLABLE, // a function, module, net, optimizer or schedule, perhaps with its options bound
} ValueKind;

struct Value {
    ValueKind kind;
    Span span; // where it was written
    double number;
    bool integer, boolean;
    bool absent; // a parameter declared `when false`: reads as 0 at any position
    const char *text;
    const char *origin; // "option", "setting", "axis" or "language": a name that statements cannot assign
    Value *item;        // LIST, TUPLE
    int items;
    Extent extent; // EXTENT
    int axis;      // EXTENT: declared axis or -1
    int rank;      // PACK: its extents and their declared axes
    Extent *dim;
    int *dim_axis;
    Tensor *tensor;
    Expr *expr;
    Callable *callable;
};

struct Callable {
    const Node *def; // FUNCTION MODULE NET OPTIMIZER SCHEDULE, or NULL for a builtin
    const char *builtin;
    File *file;          // where def stands
    bool bound;          // its options are given; applying is next
    bool applied;        // NET: some job uses it
    Value *option;       // one per PARAMS kid of a module
    const char *path;    // of its parameters
    Precision precision; // that its options were given at, or PRECISION_MODEL
    uint64_t instance;   // equal for two applications that share weights
};

struct File {         // a source file and what its names mean
    const char *path; // as the system knows it
    int source;
    Node *tree;
    Scope *scope;
    VEC(File *) used;
    bool is_library;
};

typedef struct Binding {
    const char *name;
    Value value;
} Binding;

typedef struct Label {
    const char *name;
    Span span;
} Label;

struct Scope {
    Scope *parent;
    VEC(Binding) binding;
    File *file;
    const char *path; // "" at the root
    uint64_t instance;
    const Node *outputs; // PATTERNS whose declared shapes an equation's left side may use, or NULL
    const Node *callee;  // for messages
    Span applied;        // where the callee was applied
    VEC(Label) label;
    uint64_t place; // of the calls that led here: two uses of one function draw different numbers
    int calls;      // applications made from this scope so far
    int random;     // draws made directly in this body, for their places
    Value *updates; // OPTIMIZER: the parameter that `<-` may target
};

typedef struct IndexEntry {
    const char *name;
    Extent extent;
    int axis;
    bool known, fixed; // fixed: by `i < n`; other uses do not have to agree
    bool active;
    const Node *binder; // REDUCE or CALL that introduces it; NULL: free
    Span from;          // what made it known
} IndexEntry;

enum { MAX_ENTRIES = 48 };

typedef struct Indices { // of one statement
    IndexEntry at[MAX_ENTRIES];
    int count;
    int pack[MAX_RANK];    // entries of `..`
    int pack_count;        // -1: not known yet
    int left[MAX_ENTRIES]; // entries of the left side, in order
    int lefts;
    bool changed;
} Indices;

typedef struct ExprFacts { // of an expression, as a tree
    const Expr *expr;
    uint64_t used;       // entries of Indices that it depends on
    int32_t depth, size; // size stops counting at 2^30
} ExprFacts;

typedef struct ParamRecord {
    Tensor *tensor;
    uint64_t instance;
    int generation;
    const Job *used_in; // the last job that mentions it
    Span applied;       // where the module was applied then
} ParamRecord;

typedef struct El El;
struct El { // the elaborator
    Arena *arena;
    Names *names;
    Sources *sources;
    Diagnostics *d;
    const ElaborateOptions *options;
    Program *program;
    Job *job, *init;
    Scope *root; // names of the main file
    bool training;
    int generation;    // one per application of a net: labels must be unique within it
    int depth;         // nesting of applications, against endless recursion
    int64_t steps;     // statements and calls elaborated so far, against endless unrolling
    const char *stack; // a frame near the bottom of the stack, against its overflow
    ptrdiff_t stack_room;
    bool too_large;     // a limit was reported; it is reported once
    int traced, traces; // the error that applications were last noted for, and how many
    Span trace;         // the last of them
    ExprFacts *fact;    // table of expr_facts
    uint32_t facts, fact_room;
    Precision precision; // of the statement being elaborated: `at bf16`
    uint64_t iteration;  // hash of the compile-time loop counters around
    VEC(ParamRecord) param;
    VEC(File *) file;
    Indices *indices;  // of the equation being built, or NULL
    const char *where; // path of the module whose body is being elaborated, for profiles and messages
    bool hide_indices; // inside a scalar function: the caller's index names are not visible
    int temps;
    // What a job's block adds to the statements of bodies, also inside its `if`, `for` and `match`; sets *handled when
    // the statement was its own. NULL outside of jobs.
    bool (*job_statement)(El *el, Scope *s, const Node *n, void *state, bool *handled);
    void *job_state;
};

// Limits that keep bad specs from eating the machine; far above what models need.
enum {
    MAX_STEPS = 1000000, // statements and calls
    MAX_TENSORS = 200000,
    MAX_EXPR_SIZE = 100000, // operations of one equation
    MAX_EXPR_DEPTH = 2000,
    MAX_STACK = 5 << 20, // bytes
};
static const int64_t MAX_ELEMENTS = 1000000000000000; // of a tensor, and of the points of an equation

#define KID(node, i) ((i) < (node)->kids ? (node)->kid[i] : NULL)

// ---- scope.c
Scope *scope_new(El *el, Scope *parent);
void scope_bind(El *el, Scope *s, const char *name, Value v);
Value *scope_find(Scope *s, const char *name);
Value *scope_find_kind(Scope *s, const char *name, bool prefer_constant);
Value value_number(double x, bool integer);
Value value_bool(bool b);
Value value_tensor(Tensor *t, Span span);
Value value_extent(Extent e, int axis);
const char *value_kind_name(const Value *v);
bool value_is_constant(const Value *v);
const char *node_words(const Node *n); // "a list": for messages
bool constant_binary(El *el, Scope *s, const Node *n, const Value *a, const Value *b, Value *out);
bool evaluate_integer(El *el, Scope *s, const Node *n, const char *what, int64_t *out);
bool evaluate_condition(El *el, Scope *s, const Node *n, bool *out);
uint64_t mix(uint64_t a, uint64_t b);
uint64_t mix_text(uint64_t a, const char *text);

// ---- suggest.c
void suggest_name(El *el, Scope *s, const char *name); // adds a help line to the last error, when it knows one
void suggest_option(El *el, const char *name);         // the same among what -D can set
const char *suggest_word(El *el, const char *name, const char *words); // the nearest of words between blanks, or NULL

// ---- limits.c: each returns false after reporting
bool within_steps(El *el, Span at); // counts one statement or call
bool within_stack(El *el, Span at);
ptrdiff_t stack_room(void);
bool within_expression(El *el, Expr *e, Span at);
bool within_elements(El *el, int rank, const Extent *dim, Span at);
bool within_dynamic(El *el, int rank, const Extent *dim, Span at); // dimensions of a tensor
bool extent_times(El *el, Extent a, Extent b, Span at, Extent *out);
const ExprFacts *expr_facts(El *el, const Expr *e);

// ---- shape.c
bool extents_agree(const El *el, Extent a, int axis_a, Extent b, int axis_b);
const char *extent_text(El *el, Extent e, int axis);
const char *shape_text(El *el, const Tensor *t);
bool match_pattern(El *el, Scope *s, const Node *pattern, const Tensor *t, Span from);
// Extents of a DIMS node of a declaration or an output pattern.
bool resolve_dims(El *el, Scope *s, const Node *dims, int *rank, Extent *dim, int *axis);
bool resolve_extent(El *el, Scope *s, const Node *n, Extent *extent, int *axis);

// ---- infer.c
int index_find(const Indices *ix, const char *name);
int index_add(El *el, Indices *ix, const char *name, const Node *binder, Span at);
bool index_know(El *el, Indices *ix, int entry, Extent e, int axis, Span from);
bool infer(El *el, Scope *s, Indices *ix, const Node *n);
bool infer_dims(El *el, Scope *s, Indices *ix, const Node *dims, int rank, const Extent *dim, const int *axis,
                const char *what, Span declared);
bool infer_complete(El *el, Scope *s, Indices *ix, const Node *statement);
bool open_binders(El *el, Scope *s, Indices *ix, const Node *owner, const Node *binders);
void close_binders(Indices *ix, const Node *owner);

// ---- position.c
bool build_read(El *el, Scope *s, const Node *n, Value *out);

// ---- equation.c
Equation *new_equation(El *el, EquationKind kind, const Tensor *out, Span at); // of the current job and module
bool build(El *el, Scope *s, const Node *n, Value *out);                       // in index context: V_NUMBER or V_EXPR
Expr *to_expr(El *el, const Value *v);
Expr *to_real(El *el, Expr *e);
bool combine(El *el, Scope *s, const Node *n, const char *op, const Value *a, const Value *b, Value *out);
bool unary(El *el, const char *op, const Value *a, Value *out);
bool select_values(El *el, const Node *n, const Value *c, const Value *a, const Value *b, Value *out);
Tensor *new_temp(El *el, const char *name, ElementType type, int rank, const Extent *dim, const int *axis, Span at);
// out[free...] = reduce[reduced...] value, where entries number Indices.at
Tensor *emit(El *el, const char *name, const int *free, int frees, const int *reduced, int reduceds, Reduce op,
             Expr *value, Span at);
// The entries of a set: those of the left side in its order, then the others.
int entries_in_order(const Indices *ix, uint64_t set, int *list);
Expr *read_at(El *el, Tensor *t, const int *entry, Span at);
Expr *read_all(El *el, Tensor *t, Span at); // at variables 0..rank-1
Tensor *emit_map(El *el, const char *name, const Tensor *shape, Expr *value, Span at);
bool build_random(El *el, Scope *s, const Node *call, Value *out);
// `target`: the state or parameter that is updated, whose shape tells the ranges of the left side; NULL: a new tensor.
bool assign_indexed(El *el, Scope *s, const Node *pattern, const Node *value, const Value *target, Tensor **out);
bool is_scalar(El *el, const Node *n, const Value *v);
Expr *as_int(El *el, const Value *v);
Tensor *emit_view(El *el, const char *name, Tensor *from, int rank, const Extent *dim, const int *axis, Span at);

// ---- tensor.c
bool evaluate(El *el, Scope *s, const Node *n, Value *out);
Tensor *to_tensor(El *el, const Value *v, Span at); // a number becomes a rank-0 tensor

// ---- apply.c
bool call(El *el, Scope *s, const Node *n, const Value *piped, int pipeds, Value *out);
bool apply(El *el, Scope *s, Callable *c, const Value *input, int inputs, Span at, Value *out);
bool bind_options(El *el, Scope *s, const Node *def, const Node *call, int first, Scope *into, Value *list,
                  const Value *lead, int leads);
void note_application(El *el, const Callable *c, Span at);
void trace_from(El *el, Span at); // the error just reported stands at `at` already: no note for that application
bool inside_scalar_function(El *el, Span at); // reports; false
bool call_along(El *el, Scope *s, const Node *n, Value *out);
bool apply_scalar(El *el, Callable *c, Scope *s, const Node *call, const Value *arg, int args, Value *out);

// ---- builtin.c
bool is_builtin(const char *name);
const char *const *builtin_names(void); // ends with NULL
bool builtin_scalar_op(const char *name, ScalarOp *op);
bool call_builtin(El *el, Scope *s, const char *name, const Node *call, const Value *arg, int args, Value *out);

// ---- body.c
Precision enter_precision(El *el, const Node *statement); // sets el->precision; returns the one to restore
bool computes_nothing(El *el, const Node *statement);     // reports that its `at bf16` has no equation; false
bool run_block(El *el, Scope *s, const Node *block);
bool run_statement(El *el, Scope *s, const Node *n);
bool bind_results(El *el, Scope *s, const Node *statement, const Value *v);

// ---- param.c
bool add_param(El *el, Scope *s, const Node *n);
Tensor *scalar_input(El *el, const char *name, ElementType type);

// ---- jobs.c
bool elaborate_jobs(El *el, const Node *file);
bool value_output(El *el, const char *name, const Value *v, Span at);

// ---- prepare.c
bool prepare_job(El *el, const Node *job);

// ---- train.c
bool train_job(El *el, const Node *job, const Node *evaluate_job);
bool train_loss(El *el, const Node *job, Value *loss);
bool request_gradients(El *el, Tensor *loss, const Node *const *freeze, int freezes);

// ---- elaborate.c
typedef struct Mark {
    int tensors, jobs, init_equations, init_updates, params, structures;
} Mark;
Mark mark(const El *el);
void return_to(El *el, Mark m); // drops what was elaborated since, also after an error
void set_training(El *el, bool training);

// ---- tests.c
bool elaborate_tests(El *el, const Node *file);

#endif
