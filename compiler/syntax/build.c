// Building nodes for the grammar's actions, the values of tokens, and where to go on after a syntax error.
#include "syntax/build.h"

#include "syntax/parser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// ---- nodes

Node *build_node(Parse *p, NodeKind kind, Span span, Node *const *kid, int kids) {
    Node *node = NEW(p->arena, Node);
    node->kind = kind;
    node->span = node->name_span = span;
    node->kids = kids;
    if (kids) node->kid = arena_copy(p->arena, kid, sizeof *kid * (size_t)kids);
    for (int i = 0; i < kids; i++)
        if (kid[i] && kid[i]->depth >= node->depth) node->depth = kid[i]->depth + 1;
    if (node->depth > MAX_NESTING) report_nesting(p, span);
    return node;
}

Node *with_name(Node *node, const char *name, Span at) {
    node->name = name;
    node->name_span = at;
    return node;
}

Node *with_text(Node *node, const char *text) {
    node->text = text;
    return node;
}

Node *with_doc(Node *node, const char *doc) {
    node->doc = doc;
    return node;
}

Node *build_name(Parse *p, const char *name, Span at) {
    return with_name(LEAF(NAME, at), name, at);
}

Nodes *nodes_of(Parse *p, Node *first) {
    Nodes *nodes = NEW(p->arena, Nodes);
    return first ? nodes_add(p, nodes, first) : nodes;
}

Nodes *nodes_add(Parse *p, Nodes *nodes, Node *node) {
    vec_push(p->arena, nodes, node);
    return nodes;
}

static bool is_binary(const Node *node, const char *operator) {
    return node->kind == N_BINARY && strcmp(node->name, operator) == 0;
}

// `i < n` read as an expression is a bound where positions are listed.
static Node *bound_of(Parse *p, Node *node) {
    if (!is_binary(node, "<") || node->kid[0]->kind != N_NAME) return node;
    return with_name(MAKE(BOUND, node->span, node->kid[1]), node->kid[0]->name, node->kid[0]->span);
}

Node *build_dims(Parse *p, Span span, Nodes *positions) {
    for (int i = 0; i < positions->count; i++) {
        Node *at = bound_of(p, positions->at[i]);
        if (at->kind == N_TUPLE) {
            Nodes *members = nodes_of(p, NULL);
            for (int k = 0; k < at->kids; k++) {
                Node *member = bound_of(p, at->kid[k]);
                if (member->kind != N_NAME && member->kind != N_BOUND) {
                    report_error(p->d, member->span, "bad-group", "a group of indices holds indices only");
                    report_help(p->d, "write `(h c)`, or `(h < 4, c)` to give a range");
                }
                nodes_add(p, members, member);
            }
            at = MAKE_LIST(GROUP, at->span, members);
        }
        if (at->kind == N_GROUP) at->integer = true; // seen in brackets; check_groups takes the mark away
        positions->at[i] = at;
    }
    return MAKE_LIST(DIMS, span, positions);
}

void check_groups(Parse *p) {
    for (int i = 0; i < p->groups.count; i++) {
        Node *group = p->groups.at[i];
        bool in_brackets = group->integer;
        group->integer = false;
        if (!in_brackets) {
            report_error(p->d, group->span, "bad-group", "names side by side in parentheses have no meaning here");
            bool at = false;
            for (int k = 0; k < group->kids; k++) at |= strcmp(group->kid[k]->name, "at") == 0;
            if (at) report_help(p->d, "a precision such as `at f32` ends a statement and stands in no parentheses");
            else
                report_help(p->d,
                            "a group of indices such as `(h c)` stands alone between the commas of `x[b, (h c)]`; "
                            "values are separated by commas or operators");
        }
    }
}

Node *binders_of_dims(Parse *p, const Node *dims) {
    Nodes *bounds = nodes_of(p, NULL);
    for (int i = 0; i < dims->kids; i++) {
        Node *at = dims->kid[i];
        if (at->kind == N_NAME) {
            at = with_name(MAKE(BOUND, at->span, NULL), at->name, at->span);
        } else if (at->kind != N_BOUND) {
            report_error(p->d, at->span, "bad-binder", "a function is applied along indices, and this is not one");
            report_help(p->d, "write `softmax[j](s[b, i, j])`; a product needs its `*`: `x[i] * (a + b)`");
        }
        nodes_add(p, bounds, at);
    }
    return MAKE_LIST(BINDERS, dims->span, bounds);
}

Node *build_call(Parse *p, Span span, Node *callee, Node *binders, const Nodes *arguments) {
    Nodes *kids = nodes_of(p, callee);
    nodes_add(p, kids, binders);
    for (int i = 0; i < arguments->count; i++) nodes_add(p, kids, arguments->at[i]);
    return MAKE_LIST(CALL, span, kids);
}

Node *build_binary(Parse *p, const char *operator, Span span, Node *left, Node *right) {
    Node *node = MAKE(BINARY, span, left, right);
    node->name = intern_z(p->names, operator);
    return node;
}

Node *build_unary(Parse *p, const char *operator, Span span, Node *operand) {
    Node *node = MAKE(UNARY, span, operand);
    node->name = intern_z(p->names, operator);
    return node;
}

Node *build_function(Parse *p, Span span, Nodes *parameters, Node *out, Node *body) {
    Nodes *plain = nodes_of(p, NULL), *tensors = nodes_of(p, NULL);
    Span plain_span = {p->file, span.begin, span.begin}, tensor_span = plain_span;
    for (int i = 0; i < parameters->count; i++) {
        Node *at = parameters->at[i];
        bool tensor = at->kind == N_PATTERN;
        Nodes *to = tensor ? tensors : plain;
        Span *covers = tensor ? &tensor_span : &plain_span;
        if (tensor && !out) {
            report_error(p->d, at->span, "bad-parameter", "`%s` has brackets, which are not allowed here", at->name);
            report_help(p->d, "tensors come in as `function f(x[.., k]) -> y[.., k] { … }` or "
                              "`module m(options) : x[.., k] -> y[.., k] { … }`");
        } else if (tensor && plain->count) {
            report_error(p->d, at->span, "bad-parameter", "the tensor `%s` stands after the option `%s`", at->name,
                         plain->at[0]->name);
            report_help(p->d, "list the tensors first, so that `x |> f(a)` means f(x, a)");
        }
        *covers = to->count ? (Span){p->file, covers->begin, at->span.end} : at->span;
        nodes_add(p, to, at);
    }
    Node *in = out ? MAKE_LIST(PATTERNS, tensor_span, tensors) : NULL;
    return MAKE(FUNCTION, span, MAKE_LIST(PARAMS, plain_span, plain), in, out, body);
}

Node *build_domain(Parse *p, Node *domain) {
    if (domain->kind != N_RANGE && domain->kind != N_LIST) {
        report_error(p->d, domain->span, "bad-domain", "expected the allowed values after `in`");
        report_help(p->d, "write a range `in 1 .. 64` or a list `in [\"a\", \"b\"]`");
    }
    return domain;
}

// What `check NAME < NUMBER` counts about the compiled program instead of comparing values.
static const char *const structure_words[] = {"kernels", "workspace", "parameters", "equations"};

Node *build_check(Parse *p, Span span, Node *condition) {
    static const char *const comparisons[] = {"<", "<=", ">", ">=", "==", "!="};
    bool compares = false;
    for (size_t i = 0; i < sizeof comparisons / sizeof *comparisons; i++)
        compares = compares || is_binary(condition, comparisons[i]);
    if (compares && condition->kid[0]->kind == N_NAME && condition->kid[1]->kind == N_NUMBER)
        for (size_t i = 0; i < sizeof structure_words / sizeof *structure_words; i++)
            if (strcmp(condition->kid[0]->name, structure_words[i]) == 0)
                return with_text(
                    MAKE(CHECK_STRUCTURE, span, build_name(p, condition->name, condition->span), condition->kid[1]),
                    condition->kid[0]->name);
    return MAKE(CHECK_TRUE, span, condition);
}

// How the same is called elsewhere.
static const struct {
    const char *word, *ours;
} precision_words[] = {
    {"float", "f32"},   {"float32", "f32"}, {"fp32", "f32"},      {"single", "f32"},         {"full", "f32"},
    {"f16", "bf16"},    {"fp16", "bf16"},   {"float16", "bf16"},  {"half", "bf16"},          {"bfloat16", "bf16"},
    {"bfloat", "bf16"}, {"bfp16", "bf16"},  {"tfloat32", "tf32"}, {"tensorfloat32", "tf32"},
};

const char *build_precision(Parse *p, const char *word, Span at) {
    static const char *const known[] = {"f32", "tf32", "bf16"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(word, known[i]) == 0) return word;
    report_error(p->d, at, "unknown-precision",
                 "there is no precision `%s`: an equation is computed at f32, tf32 or bf16", word);
    for (size_t i = 0; i < sizeof precision_words / sizeof *precision_words; i++)
        if (strcasecmp(word, precision_words[i].word) == 0)
            report_help(p->d, "did you mean `at %s`?", precision_words[i].ours);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasecmp(word, known[i]) == 0) report_help(p->d, "did you mean `at %s`?", known[i]);
    if (strcmp(word, "f64") == 0 || strcmp(word, "double") == 0)
        report_help(p->d, "f64 is chosen for the whole program: stmc --precision f64");
    return word;
}

void report_nesting(Parse *p, Span at) {
    if (p->too_deep) return;
    p->too_deep = true;
    report_error(p->d, at, "too-deep", "this is nested more than %d deep", MAX_NESTING);
    report_help(p->d, "give parts of it names of their own; long chains of operators count as nesting too");
}

// ---- values of tokens

Node *build_number(Parse *p, const Token *token) {
    Span at = {p->file, token->begin, token->end};
    Node *node = LEAF(NUMBER, at);
    const char *text = intern(p->names, p->source->text + token->begin, (size_t)(token->end - token->begin));
    node->number = strtod(text, NULL);
    node->integer = strpbrk(text, ".eE") == NULL;
    if (isinf(node->number)) {
        report_error(p->d, at, "bad-number", "this number is too large; the largest is about 1.8e308");
    } else if (node->integer && node->number > 9007199254740992.0) {
        report_error(p->d, at, "bad-number", "this integer is too large; the largest is 9007199254740992");
    }
    return node;
}

const char *string_value(Parse *p, const Token *token) {
    const char *from = p->source->text + token->begin + 1, *to = p->source->text + token->end - 1;
    Text text = {.arena = p->arena};
    for (; from < to; from++) {
        char c = *from;
        if (c == '\\') {
            from++;
            c = *from == 'n' ? '\n' : *from;
        }
        text_add_bytes(&text, &c, 1);
    }
    return intern(p->names, text.length ? text.at : "", text.length);
}

// ---- going on after an error

// A word that can only begin a statement, at the beginning of its line.
static bool begins_statement(const Token *token) {
    if (!token->first) return false;
    switch (token->kind) {
    case T_NAME:
    case T_PARAM:
    case T_STATE:
    case T_FOR:
    case T_IF:
    case T_MATCH:
    case T_OPTIMIZER:
    case T_FREEZE:
    case T_MONITOR:
    case T_METRIC:
    case T_OUTPUT:
    case T_COMPARE:
    case T_CHECK:
    case T_STRING: return true; // an arm of a match
    default: return false;
    }
}

enum { ERRORS_ENOUGH = 100 };

// Skips to a statement of the same block, to its `}`, or to a declaration. A block that opens on the way
// belongs to the broken statement and is skipped whole.
static bool recover(Parse *p, bool in_file) {
    const Token *token = p->tokens->token.at;
    int from = p->next - 1, depth = 0, at = from;
    if (diagnostics_count(p->d) > ERRORS_ENOUGH) return false;
    for (; token[at].kind != 0; at++) {
        int kind = token[at].kind;
        if (token[at].declares && at > p->resumed) {
            if (in_file) break;
            // In a block, the missing `}` is told once (when the error is this very token), and that is the
            // last.
            if (at == from) return false;
            break;
        }
        if (kind == '}') {
            if (depth == 0 && !in_file) break;
            if (depth > 0) depth--;
        } else if (kind == '{') {
            depth++;
        } else if (depth == 0 && at > p->resumed && !in_file && begins_statement(&token[at])) {
            break;
        } else if (in_file && depth == 0 && at > p->resumed && token[at].column_one && kind == T_NAME) {
            break;
        }
    }
    if (token[at].kind == 0 && !in_file) return false;
    p->resumed = at;
    p->next = at;
    return true;
}

bool recover_in_block(Parse *p) {
    return recover(p, false);
}
bool recover_in_file(Parse *p) {
    return recover(p, true);
}
