// Words that are keywords only in their place, and the matching of brackets.
//
// Requires the tokens of scan_source; leaves T_NAME changed into the keyword that it is where it stands. Only
// a dozen words are reserved (lexer.re); `data`, `in`, `model`, `keep`, `close` … stay good names for
// tensors, axes and options. A word can open a statement only outside ( ) and [ ], after a token that
// completes an operand or after `{`, because inside an expression such a token is followed by an operator and
// never by a word.
#include "syntax/lexer.h"
#include "syntax/parser.h"
#include "syntax/syntax.h"

#include <string.h>

typedef struct Word {
    const char *text;
    int kind;
} Word;

static const Word declaration_words[] = {
    {"model", T_MODEL},         {"use", T_USE},           {"option", T_OPTION},     {"setting", T_SETTING},
    {"axis", T_AXIS},           {"input", T_INPUT},       {"function", T_FUNCTION}, {"module", T_MODULE},
    {"optimizer", T_OPTIMIZER}, {"schedule", T_SCHEDULE}, {"net", T_NET},           {"test", T_TEST},
};

static const char *const reductions[] = {"sum", "mean", "max", "min", "prod", "argmax", "argmin", "any", "all"};

bool ends_operand(int kind) {
    switch (kind) {
    case T_NAME:
    case T_NUMBER:
    case T_STRING:
    case T_TRUE:
    case T_FALSE:
    case T_DYNAMIC:
    case T_DATA:
    case T_INVALID:
    case ')':
    case ']':
    case '}': return true;
    default: return false;
    }
}

// Where the pass is: the tokens and what the words behind it announced.
typedef struct Place {
    const Source *source;
    Token *token;
    int count;
    int declaration; // keyword of the declaration being read
    bool wants_in;   // option and setting: `in` opens the allowed range
    int wants;       // T_CLOSE or T_WITHIN after `check`
    int braces;      // open `{`
    int brackets;    // open `(` and `[` since the last `{`
} Place;

static bool is_word(const Place *p, int i, const char *text) {
    if (i >= p->count || p->token[i].kind != T_NAME) return false;
    size_t length = strlen(text);
    const Token *t = &p->token[i];
    return (size_t)(t->end - t->begin) == length && memcmp(p->source->text + t->begin, text, length) == 0;
}

static int kind_at(const Place *p, int i) {
    return i >= 0 && i < p->count ? p->token[i].kind : 0;
}

// A token after a word that shows the word to be a name: it is assigned, updated, indexed, called, labelled
// or piped.
static bool used_as_name(int next) {
    return next == '=' || next == T_UPDATE || next == ',' || next == ':' || next == '.' || next == T_PIPE;
}

static bool begins_operand(int kind) {
    return kind == T_NAME || kind == T_NUMBER || kind == T_STRING || kind == T_TRUE || kind == T_FALSE ||
           kind == T_NOT || kind == T_IF || kind == T_REDUCE || kind == '(' || kind == '[' || kind == '-';
}

static int declaration_word(const Place *p, int i) {
    for (size_t k = 0; k < sizeof declaration_words / sizeof *declaration_words; k++)
        if (is_word(p, i, declaration_words[k].text)) return declaration_words[k].kind;
    return 0;
}

static int reduction_word(const Place *p, int i) {
    if (kind_at(p, i + 1) != '[') return 0;
    for (size_t k = 0; k < sizeof reductions / sizeof *reductions; k++)
        if (is_word(p, i, reductions[k])) return T_REDUCE;
    return 0;
}

// A word that opens a statement of a block, or 0. Marks the fixed words that follow it.
static int statement_word(Place *p, int i) {
    int next = kind_at(p, i + 1);
    if (is_word(p, i, "param") && next == T_NAME) return T_PARAM;
    if (is_word(p, i, "state") && next == T_NAME) return T_STATE;
    if (is_word(p, i, "metric") && next == T_NAME) return T_METRIC;
    if (is_word(p, i, "output") && next == T_NAME) return T_OUTPUT;
    if (is_word(p, i, "freeze") && (next == T_STRING || next == T_NAME)) return T_FREEZE;
    if (is_word(p, i, "optimizer") && (next == T_STRING || next == '=')) return T_OPTIMIZER;
    if (is_word(p, i, "compare") && next == T_NAME) {
        if (is_word(p, i + 2, "with")) p->token[i + 2].kind = T_WITH;
        return T_COMPARE;
    }
    if (is_word(p, i, "monitor") && next == T_NAME) {
        if (is_word(p, i + 2, "on")) p->token[i + 2].kind = T_ON;
        if (is_word(p, i + 4, "keep")) p->token[i + 4].kind = T_KEEP;
        if (is_word(p, i + 6, "stop") && is_word(p, i + 7, "after")) {
            p->token[i + 6].kind = T_STOP;
            p->token[i + 7].kind = T_AFTER;
        }
        return T_MONITOR;
    }
    if (is_word(p, i, "check") && !used_as_name(next) && next != '[' && next != '}' && next != 0) {
        p->wants = T_CLOSE;
        if (is_word(p, i + 1, "gradients") && is_word(p, i + 2, "of") && kind_at(p, i + 3) == T_NAME) {
            p->token[i + 1].kind = T_GRADIENTS;
            p->token[i + 2].kind = T_OF;
            p->wants = T_WITHIN;
        }
        return T_CHECK;
    }
    return 0;
}

// A declaration in an open block or bracket: nothing that is right has two words side by side there, but for
// groups of indices, `(h model c)`.
static bool cuts_off(const Place *p, int i) {
    int before = kind_at(p, i - 1), next = kind_at(p, i + 1), behind = kind_at(p, i + 2);
    if (before != '{' && !ends_operand(before)) return false;
    if (next != T_NAME && (next != T_STRING || is_word(p, i, "optimizer"))) return false; // optimizer "enc.*" = …
    return p->brackets == 0 || behind == '=' || behind == '(' || behind == ':' || behind == '{' || behind == T_STRING;
}

// What the NAME at `i` is.
static int classify(Place *p, int i) {
    const Token *token = &p->token[i];
    int before = kind_at(p, i - 1), next = kind_at(p, i + 1);
    if (before == '.') return T_NAME;

    // A declaration, or one that shows that something above is not closed.
    int declaration = declaration_word(p, i);
    bool may_open = p->brackets == 0 && (i == 0 || before == '{' || ends_operand(before));
    bool opens = p->braces == 0 ? may_open : false;
    bool cuts = token->column_one && p->braces + p->brackets > 0 && cuts_off(p, i);
    if (declaration && (opens || cuts)) {
        p->braces = p->brackets = p->wants = 0;
        p->declaration = declaration;
        p->wants_in = declaration == T_OPTION || declaration == T_SETTING;
        p->token[i].declares = true;
        return declaration;
    }

    if (is_word(p, i, "in")) {
        if (kind_at(p, i - 2) == T_FOR && before == T_NAME) return T_IN;
        if (p->wants_in && p->brackets == 0 && p->braces == 0 && ends_operand(before)) {
            p->wants_in = false;
            return T_IN;
        }
        return T_NAME;
    }
    if (p->braces == 0 && p->brackets == 0) {
        bool axis = p->declaration == T_AXIS, input = p->declaration == T_INPUT;
        if (is_word(p, i, "dynamic") && axis && before == '=') return T_DYNAMIC;
        if (is_word(p, i, "from") && ((axis && before == '=') || (input && before == ']'))) return T_FROM;
        if (is_word(p, i, "data") && before == T_FROM && axis) return T_DATA;
        if (is_word(p, i, "error") && p->declaration == T_TEST && before == T_STRING) return T_ERROR;
    }
    if (is_word(p, i, "then") && ends_operand(before) && begins_operand(next)) return T_THEN;

    if (p->braces > 0 && p->brackets == 0) {
        if (ends_operand(before) && !used_as_name(next)) {
            if (p->wants == T_CLOSE && is_word(p, i, "close")) {
                p->wants = T_WITHIN;
                return T_CLOSE;
            }
            if (p->wants == T_WITHIN && is_word(p, i, "within")) {
                p->wants = 0;
                return T_WITHIN;
            }
        }
        // The precision of an equation: no statement begins with `at` and another word.
        if (is_word(p, i, "at") && ends_operand(before) && before != '}' &&
            (next == T_NAME || next == T_NUMBER || next == T_STRING))
            return T_AT;
        if (may_open) {
            int kind = statement_word(p, i);
            if (kind) return kind;
        }
    }
    if (before == T_KEEP) return T_NAME;
    int reduction = reduction_word(p, i);
    return reduction ? reduction : T_NAME;
}

static int opener_of(int kind) {
    return kind == ')' ? '(' : kind == ']' ? '[' : '{';
}

void classify_words(Arena *arena, const Source *source, int file, Diagnostics *d, Tokens *tokens) {
    Place place = {.source = source, .token = tokens->token.at, .count = tokens->token.count}, *p = &place;
    VEC(int) open = {0};
    for (int i = 0; i < p->count; i++) {
        Token *token = &p->token[i];
        token->inside = open.count ? vec_last(&open) : -1;
        if (token->kind == T_NAME) {
            token->kind = classify(p, i);
            // `inside` of a declaration in an open block is that block, for the message; what follows is
            // outside.
            if (token->declares) open.count = 0;
        }
        switch (token->kind) {
        case '(':
        case '[':
        case '{':
            vec_push(arena, &open, i);
            if (open.count > MAX_NESTING && !tokens->too_deep) {
                tokens->too_deep = true;
                if (d) {
                    report_error(d, (Span){file, token->begin, token->end}, "too-deep",
                                 "brackets are nested more than %d deep", MAX_NESTING);
                    report_note(d, (Span){file, p->token[open.at[0]].begin, p->token[open.at[0]].end},
                                "the outermost one opens here");
                }
            }
            break;
        case ')':
        case ']':
        case '}': {
            // The nearest opener of that form closes; one that nothing opened changes nothing.
            int at = open.count - 1, wanted = opener_of(token->kind);
            for (int looked = 0; at >= 0 && p->token[open.at[at]].kind != wanted; at--)
                if (++looked > 16 || p->token[open.at[at]].kind == '{') {
                    at = -1;
                    break;
                }
            if (at >= 0) open.count = at;
            break;
        }
        default: break;
        }
        if (token->kind == '(' || token->kind == '[' || token->kind == ')' || token->kind == ']' ||
            token->kind == '{' || token->kind == '}') {
            p->braces = p->brackets = 0;
            for (int k = open.count - 1; k >= 0 && p->token[open.at[k]].kind != '{'; k--) p->brackets++;
            p->braces = open.count - p->brackets;
            if (token->kind == '{' || token->kind == '}') p->wants = 0;
        }
    }
}
