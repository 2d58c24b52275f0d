// What the grammar's actions call: building nodes, and the parser's state. Private to compiler/syntax.
#ifndef STMC_BUILD_H
#define STMC_BUILD_H

#include "forms/tree.h"
#include "syntax/lexer.h"
#include "syntax/syntax.h"

typedef struct Nodes {
    Node **at;
    int count, room;
} Nodes;

typedef struct Parse {
    Arena *arena;
    Names *names;
    Diagnostics *d;
    const Source *source;
    int file;
    const Tokens *tokens;
    int next;      // the token that yylex gives next
    int resumed;   // the token that the parser last went on from after an error; never the same twice
    int told;      // the token that the last syntax error was about; it is told once
    bool too_deep; // reported once
    Nodes groups;  // every (h c), to find those outside brackets
    Node *root;
} Parse;

#define LEAF(kind, span) build_node(p, N_##kind, (span), NULL, 0)
#define MAKE(kind, span, ...)                                                                                          \
    build_node(p, N_##kind, (span), (Node *[]){__VA_ARGS__}, sizeof((Node *[]){__VA_ARGS__}) / sizeof(Node *))
#define MAKE_LIST(kind, span, nodes) build_node(p, N_##kind, (span), (nodes)->at, (nodes)->count)

Node *build_node(Parse *p, NodeKind kind, Span span, Node *const *kid, int kids);
Node *with_name(Node *node, const char *name, Span at);
Node *with_text(Node *node, const char *text);
Node *with_doc(Node *node, const char *doc);
Node *build_name(Parse *p, const char *name, Span at);
Nodes *nodes_of(Parse *p, Node *first); // a list of one, or of none for NULL
Nodes *nodes_add(Parse *p, Nodes *nodes, Node *node);

// Positions in brackets: `i < n` becomes BOUND, `(h < 4, c)` becomes GROUP.
Node *build_dims(Parse *p, Span span, Nodes *positions);
// softmax[j]: the indices that a function is applied along.
Node *binders_of_dims(Parse *p, const Node *dims);
Node *build_call(Parse *p, Span span, Node *callee, Node *binders, const Nodes *arguments);
Node *build_binary(Parse *p, const char *operator, Span span, Node *left, Node *right);
Node *build_unary(Parse *p, const char *operator, Span span, Node *operand);
// function NAME(parameters) with a scalar value (`out` NULL) or a block. Sorts the parameters into PARAMS,
// PATTERNS.
Node *build_function(Parse *p, Span span, Nodes *parameters, Node *out, Node *body);
Node *build_domain(Parse *p, Node *domain);
Node *build_check(Parse *p, Span span, Node *condition);
// The word behind `at`, with a message when it names no precision.
const char *build_precision(Parse *p, const char *word, Span at);

// The value of a token, with a message when it has none.
Node *build_number(Parse *p, const Token *token);
const char *string_value(Parse *p, const Token *token);

// Where to go on after a syntax error at token `next - 1`. False: give up.
bool recover_in_block(Parse *p);
bool recover_in_file(Parse *p);

// messages.c: the message for a token that does not fit. expected[k] tells whether token kind k would.
void report_unexpected(Parse *p, const bool *expected);
void report_nesting(Parse *p, Span at);
void check_groups(Parse *p);

#endif
