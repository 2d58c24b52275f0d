// Tokens. The whole file is scanned before it is parsed: words that are keywords only in their place
// (words.c) are told from names by looking at their neighbours, which leaves the grammar without conflicts.
#ifndef STMC_LEXER_H
#define STMC_LEXER_H

#include "base/base.h"

typedef struct Token {
    int kind;           // T_… or the character itself (parser.h); 0 ends the list
    int32_t begin, end; // bytes of the source
    int32_t inside;     // the innermost open bracket around the token: an index of `token`, or -1
    bool first;         // the first token of its line
    bool column_one;    // begins in the first column
    bool declares;      // opens a declaration of the file
} Token;

typedef struct Comment {
    int32_t begin, end; // without the line's end
    int after;          // tokens before it
} Comment;

typedef struct Tokens {
    VEC(Token) token;
    VEC(Comment) comment;
    bool lexical_error; // some token is T_INVALID, or the text is not UTF-8
    bool too_deep;      // brackets nest deeper than MAX_NESTING
} Tokens;

// Scans all of `source`. `d` may be NULL: then mistakes only show in the result.
void scan_source(Arena *arena, const Source *source, int file, Diagnostics *d, Tokens *out);

// words.c: turns NAME into a keyword where it is one, and links brackets.
void classify_words(Arena *arena, const Source *source, int file, Diagnostics *d, Tokens *tokens);

// A token after which an operand is complete.
bool ends_operand(int kind);

#endif
