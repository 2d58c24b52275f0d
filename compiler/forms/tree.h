// The tree: what the parser builds, one fat node for everything. Form 1 of 4 (tree, equations, kernels, plan).
// The parser checks the grammar and nothing else; meaning is given by elaborate/.
#ifndef STMC_TREE_H
#define STMC_TREE_H

#include "base/base.h"

// X(kind, printed name).  Children (`kid`) and fields per kind are listed beside each line.
#define TREE_KINDS(X)                                                                                                  \
    /* ---- a file and its declarations. `doc` is the documentation string or NULL everywhere. */                      \
    X(FILE, "file")             /* kids: declarations in order */                                                      \
    X(MODEL, "model")           /* name */                                                                             \
    X(USE, "use")               /* kids: NAME (stdlib) or STRING (path) */                                             \
    X(OPTION, "option")         /* name; kid0 value; kid1 RANGE or LIST or absent(NULL) */                             \
    X(SETTING, "setting")       /* as OPTION */                                                                        \
    X(AXIS, "axis")             /* name; kid0: expression, DYNAMIC or FROM_DATA */                                     \
    X(DYNAMIC, "dynamic")       /* leaf */                                                                             \
    X(FROM_DATA, "from data")   /* leaf */                                                                             \
    X(INPUT, "input")           /* name; text = element type; kid0 DIMS; kid1 NAME of the dataset or NULL */           \
    X(FUNCTION, "function")     /* name; kid0 PARAMS, kid1 PATTERNS in, kid2 PATTERNS out, kid3 BLOCK; */              \
                                /*   scalar form `f(x) = e`: kid1 and kid2 NULL, kid3 the expression */                \
    X(MODULE, "module")         /* as FUNCTION; PARAMS are the options, kid1 what it is applied to */                  \
    X(NET, "net")               /* as FUNCTION; kid0 NULL; kid1 PATTERNS without dims */                               \
    X(OPTIMIZER, "optimizer")   /* as MODULE; kid1 the two patterns p, g; kid2 NULL */                                 \
    X(SCHEDULE, "schedule")     /* name; kid0 PARAMS; kid3 expression or BLOCK; kid1, kid2 NULL */                     \
    X(PARAMS, "params")         /* kids: NAMED(name, kid0 default or NULL) */                                          \
    X(PATTERNS, "patterns")     /* kids: PATTERN */                                                                    \
    X(PATTERN, "pattern")       /* name; kid0 DIMS or NULL */                                                          \
    X(DIMS, "dims")             /* kids: expressions, ELLIPSIS, GROUP, BOUND */                                        \
    X(JOB, "job")               /* name: train evaluate predict embed prepare ...; kid0 BLOCK */                       \
    X(TEST, "test")             /* text: title; name: NULL or "error"; kid0 BLOCK; kid1 STRING expected or NULL */     \
    /* ---- statements */                                                                                              \
    X(BLOCK, "block")           /* kids: statements */                                                                 \
    X(PARAM, "param")           /* name; text element type or NULL; kid0 DIMS or NULL (scalar); kid1 initialiser; */   \
                                /*   kid2 `when` condition or NULL */                                                  \
    X(STATE, "state")           /* as PARAM */                                                                         \
    X(ASSIGN, "=")              /* kids[0..n-2]: PATTERN targets; last kid: value; text precision or NULL */           \
    X(UPDATE, "<-")             /* kid0 PATTERN, kid1 value; text precision or NULL */                                 \
    X(FOR, "for")               /* name; kid0 RANGE or list expression; kid1 BLOCK */                                  \
    X(IF, "if")                 /* kid0 condition; kid1 BLOCK; kid2 BLOCK or IF or NULL */                             \
    X(MATCH, "match")           /* kid0 subject; then ARM kids */                                                      \
    X(ARM, "arm")               /* kid0 value or NULL for else; kid1 BLOCK */                                          \
    X(EVALUATE_EXPR, "expression") /* kid0: an expression standing as a statement (applied for its updates) */         \
    X(GROUP_OPTIMIZER, "optimizer group") /* optimizer "glob" = e : text glob (NULL for all); kid0 expression */       \
    X(FREEZE, "freeze")         /* text glob */                                                                        \
    X(MONITOR, "monitor")       /* name metric; text split; kid0 NAME max|min; kid1 patience or NULL */                \
    X(METRIC, "metric")         /* name; kid0 expression; text precision or NULL */                                    \
    X(OUTPUT, "output")         /* name; kid0 expression; text precision or NULL */                                    \
    X(COMPARE, "compare")       /* kid0 NAME, kid1 NAME */                                                             \
    X(CHECK_CLOSE, "check close") /* kid0 left, kid1 right, kid2 tolerance */                                          \
    X(CHECK_TRUE, "check")      /* kid0 expression */                                                                  \
    X(CHECK_GRADIENTS, "check gradients") /* kid0 NAME; kid1 tolerance or NULL */                                      \
    X(CHECK_STRUCTURE, "check structure") /* text: e.g. "kernels"; kid0 comparison operator as NAME; kid1 number */    \
    /* ---- expressions */                                                                                             \
    X(NUMBER, "number")         /* number; integer is true when written without . or e */                              \
    X(STRING, "string")         /* text */                                                                             \
    X(BOOL, "bool")             /* number 0 or 1 */                                                                    \
    X(NAME, "name")             /* name */                                                                             \
    X(LIST, "list")             /* kids */                                                                             \
    X(TUPLE, "tuple")           /* kids, two or more */                                                                \
    X(RANGE, "range")           /* kid0 .. kid1 */                                                                     \
    X(INDEXED, "indexed")       /* name; kid0 DIMS: a tensor read at positions */                                      \
    X(CALL, "call")             /* kid0 callee (NAME or CALL or LABELLED); kid1 BINDERS or NULL; then arguments, */    \
                                /*   each an expression or NAMED */                                                    \
    X(NAMED, "named")           /* name; kid0 value */                                                                 \
    X(LABELLED, "labelled")     /* kid0 PATH; kid1 CALL or NAME */                                                     \
    X(PATH, "path")             /* kids: a word (NAME whose text is the word), NUMBER, or from `{e}` any */            \
                                /*   expression; a NAME without text is such an expression */                          \
    X(PIPE, "|>")               /* kid0 left, kid1 right */                                                            \
    X(UNARY, "unary")           /* name: "-" "not"; kid0 */                                                            \
    X(BINARY, "binary")         /* name: + - * / // % ^ < <= > >= == != and or; kid0, kid1 */                          \
    X(REDUCE, "reduce")         /* name: sum mean ...; kid0 BINDERS; kid1 body */                                      \
    X(BINDERS, "binders")       /* kids: BOUND; `guard` = last kid when guarded is true */                             \
    X(BOUND, "bound")           /* name; kid0 limit (`i < n`) or NULL */                                               \
    X(WHERE, "where")           /* kid0 value, kid1 condition, kid2 otherwise */                                       \
    X(IF_EXPR, "if expression") /* kid0 condition, kid1, kid2: chosen at compile time */                               \
    X(ELLIPSIS, "..")           /* leaf */                                                                             \
    X(GROUP, "group")           /* kids: NAME or BOUND: (h c) in brackets */

typedef enum NodeKind {
#define X(kind, text) N_##kind,
    TREE_KINDS(X)
#undef X
        N_KINDS
} NodeKind;

typedef struct Node Node;
struct Node {
    NodeKind kind;
    Span span;
    Span name_span;    // of `name`, where it is narrower than span
    const char *name;  // interned
    const char *text;  // decoded string, element type, glob (interned)
    const char *doc;   // interned
    double number;     // NUMBER, BOOL
    bool integer;      // NUMBER written as an integer
    bool guarded;      // BINDERS whose last kid is the `where` condition
    int depth;         // of the tree below, set by the parser: at most MAX_NESTING, so that passes may recurse
    Node **kid;
    int kids;
};

extern const char *const node_kind_name[N_KINDS];
// tree.c: an indented text of the tree, one node a line; read back by tree_read (round trip is tested).
void tree_print(const Node *root, Text *out);
Node *tree_read(Arena *arena, Names *names, Diagnostics *d, int file);

#endif
