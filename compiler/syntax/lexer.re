// The scanner: bytes to tokens, comments aside. Every byte sequence gives a list of tokens; what is no token
// becomes T_INVALID with a message, and the parser is silent about it. The text ends with a NUL that is not
// part of it.
#include "syntax/lexer.h"

#include "syntax/parser.h"

#include <stdlib.h>
#include <string.h>

typedef struct Scan {
    const Source *source;
    int file;
    Diagnostics *d;
    Tokens *out;
    Arena *arena;
} Scan;

static Span span_of(const Scan *s, const char *from, const char *to) {
    return (Span){s->file, (int32_t)(from - s->source->text), (int32_t)(to - s->source->text)};
}

__attribute__((format(printf, 5, 6))) static void mistake(Scan *s, const char *from, const char *to,
                                                          const char *help, const char *format, ...) {
    s->out->lexical_error = true;
    if (!s->d) return;
    va_list arguments;
    va_start(arguments, format);
    const char *message = arena_vformat(s->arena, format, arguments);
    va_end(arguments);
    report_error(s->d, span_of(s, from, to), "bad-token", "%s", message);
    if (help) report_help(s->d, "%s", help);
}

// Every run of bytes that is not UTF-8 is reported once, wherever it stands (comments and strings included).
static void check_utf8(Scan *s) {
    const Source *source = s->source;
    for (int32_t i = 0; i < source->size;) {
        uint32_t c;
        int length = utf8_decode(source->text + i, (size_t)(source->size - i), &c);
        if (length) {
            i += length;
            continue;
        }
        int32_t from = i;
        while (i < source->size && utf8_decode(source->text + i, (size_t)(source->size - i), &c) == 0) i++;
        mistake(s, source->text + from, source->text + i, "save the file as UTF-8",
                "the byte 0x%02X is not part of UTF-8 text", (unsigned char)source->text[from]);
    }
}

static void check_escapes(Scan *s, const char *from, const char *to) {
    for (const char *at = from + 1; at < to - 1; at++) {
        if (*at != '\\') continue;
        at++;
        if (*at == '"' || *at == '\\' || *at == 'n') continue;
        Text shown = {.arena = s->arena};
        text_add_shown(&shown, at, (size_t)(to - at));
        mistake(s, at - 1, at + 1, "strings know \\\", \\\\ and \\n", "unknown escape `\\%s` in a string",
                shown.at);
    }
}

// A character that begins no token.
static const char *invalid_character(Scan *s, const char *from) {
    const char *end = s->source->text + s->source->size;
    uint32_t c;
    int length = utf8_decode(from, (size_t)(end - from), &c);
    if (length == 0) return from + 1; // reported by check_utf8
    const char *to = from + length, *help = NULL;
    if (c == 0) {
        mistake(s, from, to, "a .stm file is plain text", "a NUL byte in the text");
        return to;
    }
    switch (c) {
    case ';': help = "a statement ends where the next one begins; leave it out"; break;
    case '\'': help = "strings stand between double quotes"; break;
    case '&': help = "write `and`"; break;
    case '|': help = "write `or`, or `|>` to pass a value on"; break;
    case '!': help = "write `not`"; break;
    case '@': help = "write the product as an equation: sum[k] a[i, k] * b[k, j]"; break;
    case '?': help = "write `value where condition else other`"; break;
    default: break;
    }
    Text shown = {.arena = s->arena};
    text_add_shown(&shown, from, (size_t)(end - from));
    mistake(s, from, to, help, "unexpected character `%s`", shown.at);
    return to;
}

static bool after_dot(const Tokens *out) { return out->token.count > 0 && vec_last(&out->token).kind == '.'; }

void scan_source(Arena *arena, const Source *source, int file, Diagnostics *d, Tokens *out) {
    Scan scan = {source, file, d, out, arena}, *s = &scan;
    const char *YYCURSOR = source->text, *YYMARKER = NULL;
    const char *end = source->text + source->size;
    bool first = true;
    check_utf8(s);
    if (source->size >= 3 && memcmp(YYCURSOR, "\xEF\xBB\xBF", 3) == 0) YYCURSOR += 3; // a byte order mark
    for (;;) {
        const char *from = YYCURSOR;
        int kind;
        /*!re2c
        re2c:define:YYCTYPE = "unsigned char";
        re2c:yyfill:enable = 0;
        re2c:flags:input = default;

        letter  = [A-Za-z_];
        digit   = [0-9];
        word    = letter (letter | digit)*;
        number  = digit+ ("." digit+)? ([eE] [+-]? digit+)?;
        string  = ["] ([^"\\\n\r\x00] | "\\" [^\n\r\x00])* ["];
        opened  = ["] ([^"\\\n\r\x00] | "\\" [^\n\r\x00])* "\\"?;

        [ \t\r]+        { continue; }
        "\n"            { first = true; continue; }
        "#" [^\n\x00]*  {
            const char *to = YYCURSOR;
            while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r')) to--;
            int32_t begin = (int32_t)(from - source->text);
            Comment comment = {begin, (int32_t)(to - source->text), out->token.count};
            vec_push(arena, &out->comment, comment);
            continue;
        }
        "\x00"          {
            if (from < end) {
                YYCURSOR = invalid_character(s, from);
                kind = T_INVALID;
                goto token;
            }
            YYCURSOR = end;
            kind = 0;
            goto token;
        }

        "for"     { kind = T_FOR; goto reserved; }
        "if"      { kind = T_IF; goto reserved; }
        "else"    { kind = T_ELSE; goto reserved; }
        "match"   { kind = T_MATCH; goto reserved; }
        "where"   { kind = T_WHERE; goto reserved; }
        "when"    { kind = T_WHEN; goto reserved; }
        "true"    { kind = T_TRUE; goto reserved; }
        "false"   { kind = T_FALSE; goto reserved; }
        "and"     { kind = T_AND; goto reserved; }
        "or"      { kind = T_OR; goto reserved; }
        "not"     { kind = T_NOT; goto reserved; }
        word      { kind = T_NAME; goto token; }

        number    {
            kind = T_NUMBER;
            if (after_dot(out)) { // layer1.0.1: is a path of integers
                YYCURSOR = from;
                while (*YYCURSOR >= '0' && *YYCURSOR <= '9') YYCURSOR++;
            }
            goto token;
        }
        number word {
            mistake(s, from, YYCURSOR, NULL,
                    "`%.*s` is neither a number nor a name; names begin with a letter",
                    (int)(YYCURSOR - from < 60 ? YYCURSOR - from : 60), from);
            kind = T_INVALID;
            goto token;
        }
        string    { check_escapes(s, from, YYCURSOR); kind = T_STRING; goto token; }
        opened    {
            mistake(s, from, YYCURSOR, "close it with `\"`; a line break inside is written \\n",
                    "the string is not closed on its line");
            kind = T_INVALID;
            goto token;
        }

        "|>" { kind = T_PIPE; goto token; }
        ".." { kind = T_DOTDOT; goto token; }
        "->" { kind = T_ARROW; goto token; }
        "<-" { kind = T_UPDATE; goto token; }
        "//" { kind = T_INTDIV; goto token; }
        "<=" { kind = T_LE; goto token; }
        ">=" { kind = T_GE; goto token; }
        "==" { kind = T_EQ; goto token; }
        "!=" { kind = T_NE; goto token; }
        "&&" {
            mistake(s, from, YYCURSOR, "write `and`", "unexpected `&&`");
            kind = T_INVALID;
            goto token;
        }
        "||" {
            mistake(s, from, YYCURSOR, "write `or`", "unexpected `||`");
            kind = T_INVALID;
            goto token;
        }
        "**" {
            mistake(s, from, YYCURSOR, "powers are written `x ^ 2`", "unexpected `**`");
            kind = T_INVALID;
            goto token;
        }
        [()[\]{},:.=~<>+*/%^-] { kind = (unsigned char)*from; goto token; }
        *    { YYCURSOR = invalid_character(s, from); kind = T_INVALID; goto token; }
        */
    reserved:
        if (after_dot(out)) kind = T_NAME; // a path may hold any word
    token:;
        int32_t begin = (int32_t)(from - source->text);
        Token token = {
            .kind = kind,
            .begin = begin,
            .end = (int32_t)(YYCURSOR - source->text),
            .inside = -1,
            .first = first,
            .column_one = begin == 0 || source->text[begin - 1] == '\n',
        };
        first = false;
        vec_push(arena, &out->token, token);
        if (kind == 0) break;
    }
    classify_words(arena, source, file, d, out);
}
