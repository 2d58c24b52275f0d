// The wording of syntax errors: what was found, what was expected there, and what to do when the mistake is a
// common one.
#include "syntax/build.h"
#include "syntax/parser.h"

#include <string.h>

// How a message calls a token; names, numbers and strings are shown as written.
static const char *spelling(int kind) {
    switch (kind) {
    case T_NAME: return "a name";
    case T_NUMBER: return "a number";
    case T_STRING: return "a string";
    case T_FOR: return "`for`";
    case T_IF: return "`if`";
    case T_ELSE: return "`else`";
    case T_MATCH: return "`match`";
    case T_WHERE: return "`where`";
    case T_WHEN: return "`when`";
    case T_IN: return "`in`";
    case T_FROM: return "`from`";
    case T_DATA: return "`data`";
    case T_THEN: return "`then`";
    case T_CLOSE: return "`close`";
    case T_WITHIN: return "`within`";
    case T_OF: return "`of`";
    case T_WITH: return "`with`";
    case T_ON: return "`on`";
    case T_KEEP: return "`keep`";
    case T_STOP: return "`stop after`";
    case T_AFTER: return "`after`";
    case T_ERROR: return "`error`";
    case T_AT: return "`at`";
    case T_PIPE: return "`|>`";
    case T_DOTDOT: return "`..`";
    case T_ARROW: return "`->`";
    case T_UPDATE: return "`<-`";
    case '(': return "`(`";
    case ')': return "`)`";
    case '[': return "`[`";
    case ']': return "`]`";
    case '{': return "`{`";
    case '}': return "`}`";
    case ',': return "`,`";
    case ':': return "`:`";
    case '.': return "`.`";
    case '=': return "`=`";
    case '~': return "`~`";
    default: return NULL;
    }
}

static void add_written(const Parse *p, const Token *token, Text *out) {
    enum { LONGEST = 40 };
    int32_t length = token->end - token->begin;
    text_add(out, "`");
    int32_t shown = length > LONGEST ? LONGEST : length;
    while (shown < length && shown > 0 && ((unsigned char)p->source->text[token->begin + shown] & 0xC0) == 0x80)
        shown--;
    text_shown(out, p->source->text + token->begin, (size_t)shown);
    text_add(out, shown < length ? "…`" : "`");
}

static bool is_keyword(const Token *token) {
    return token->kind > 255 && token->kind != T_NAME && token->kind != T_NUMBER && token->kind != T_STRING &&
           token->kind != T_INVALID && token->kind < T_PIPE;
}

static void add_found(const Parse *p, const Token *token, Text *out) {
    if (token->kind == 0) {
        text_add(out, "the end of the file");
        return;
    }
    if (token->kind == T_STRING) text_add(out, "the string ");
    if (is_keyword(token) && token->kind != T_REDUCE) text_add(out, "the keyword ");
    add_written(p, token, out);
}

// The parts of a message `a, b or c`.
typedef struct Choices {
    const char *at[16];
    int count;
} Choices;

static void choose(Choices *choices, const char *text) {
    if (choices->count < 16) choices->at[choices->count++] = text;
}

static void add_choices(const Choices *choices, Text *out) {
    for (int i = 0; i < choices->count; i++)
        text_add(out, "%s%s", i == 0 ? "" : i == choices->count - 1 ? " or " : ", ", choices->at[i]);
}

// What could stand here, in the reader's terms: an expression rather than the twelve tokens that begin one.
static Choices choices_of(const bool *expected) {
    Choices choices = {0};
    bool declaration = expected[T_MODULE], statement = expected[T_PARAM], expression = expected[T_NUMBER];
    bool operators = expected['+'] && expected['*'];
    if (declaration) choose(&choices, "a declaration");
    // After an operand nearly everything may follow; what completes the construct is worth telling.
    if (statement && !operators) choose(&choices, "a statement");
    if (expression && !statement) choose(&choices, "an expression");
    bool named = expected[T_NAME] && !declaration && !statement && !expression;
    if (named) choose(&choices, "a name");
    static const int closers[] = {T_DATA, '=',      '~',     T_UPDATE, ':',  T_IN,   T_FROM,
                                  T_THEN, T_ELSE,   T_ARROW, T_OF,     T_ON, T_KEEP, T_AFTER,
                                  T_WITH, T_WITHIN, '{',     ',',      ')',  ']',    '}'};
    for (size_t i = 0; i < sizeof closers / sizeof *closers; i++) {
        int kind = closers[i];
        if (!expected[kind]) continue;
        if ((kind == ':' || kind == '=') && operators) continue; // a label, a named argument: always possible
        if (kind == '{' && expression) continue;
        if ((kind == ')' || kind == ']') && expression && !operators) continue; // an empty list is rarely meant
        if (kind == T_ELSE && operators && statement) continue;
        choose(&choices, spelling(kind));
    }
    if (expected[T_DOTDOT] && operators) choose(&choices, "`..`");
    if (expected['('] && !operators && !expression) choose(&choices, "`(`");
    if (expected['['] && !operators && !expression && !expected['=']) choose(&choices, "`[`");
    if (expected[T_STRING] && !expression && !statement && !declaration) choose(&choices, "a string");
    if (operators && (statement || declaration || choices.count == 0)) choose(&choices, "an operator");
    return choices;
}

static bool written_is(const Parse *p, const Token *token, const char *text) {
    size_t length = strlen(text);
    return (size_t)(token->end - token->begin) == length && memcmp(p->source->text + token->begin, text, length) == 0;
}

// A word of another language for one of ours.
static bool add_declaration_help(Parse *p, const Token *word) {
    if (written_is(p, word, "def") || written_is(p, word, "fn") || written_is(p, word, "func")) {
        report_help(p->d, "functions are declared with `function`, modules with `module`");
    } else if (written_is(p, word, "class") || written_is(p, word, "layer")) {
        report_help(p->d, "modules are declared with `module name(options) : x[..] -> y[..] { … }`");
    } else if (written_is(p, word, "import") || written_is(p, word, "include")) {
        report_help(p->d, "other files are read with `use name` or `use \"file.stm\"`");
    } else {
        return false;
    }
    return true;
}

// Advice for mistakes that people coming from other languages make.
static void add_help(Parse *p, const bool *expected, const Token *found, const Token *before) {
    bool statement_place = expected[T_PARAM] && !expected['+'];
    if (found->kind == '=' && (expected[']'] || expected[')'])) {
        return; // a bracket is not closed, and the note says which
    } else if (found->kind == '=' && expected['{'] && before && before > p->tokens->token.at &&
               before[-1].kind == ':') {
        report_help(p->d, "a block stands between `{` and `}`; `a: b` labels `b`");
    } else if (found->kind == '}' && expected[T_MODULE] && found->inside < 0) {
        report_help(p->d, "nothing is open that this could close");
    } else if (found->kind == '=' && (expected[T_EQ] || expected['+'])) {
        report_help(p->d, "`=` defines; to compare, write `==`");
    } else if (found->kind == T_UPDATE && expected['<']) {
        report_help(p->d, "`<-` updates a state; to compare with a negative value, write `a < -b`");
    } else if (found->kind == '[' && before && (before->kind == ')' || before->kind == ']')) {
        report_help(p->d, "only a named tensor is indexed: give this value a name on a line of its own first");
    } else if (found->kind == '(' && before &&
               (before->kind == ')' || before->kind == ']' || before->kind == T_NUMBER)) {
        report_help(p->d, "a product needs its `*`; no statement begins with `(`, so pass values on with a name");
    } else if (found->kind == T_REDUCE && (expected[T_NAME] || expected['='])) {
        report_help(p->d, "`%.*s[…]` is a reduction, so it cannot name a tensor; choose another name",
                    (int)(found->end - found->begin), p->source->text + found->begin);
    } else if (found->kind == '=' && before && before->kind == ']') {
        report_help(p->d, "`sum mean max min prod argmax argmin any all` followed by `[` are reductions and cannot "
                          "be assigned; choose another name");
    } else if ((found->kind == '<' || found->kind == '>' || found->kind == T_LE || found->kind == T_GE ||
                found->kind == T_EQ || found->kind == T_NE) &&
               expected['+'] && !expected[found->kind]) {
        report_help(p->d, "comparisons do not chain: write `a < b and b < c`");
    } else if (found->kind == T_DOTDOT && expected['+']) {
        report_help(p->d, "`..` alone between commas stands for leading axes; a range of an index is written `i < n`");
    } else if ((found->kind == '(' || found->kind == '[' || found->kind == '-') && statement_place) {
        report_help(p->d, "a statement begins with a name, a label or a keyword");
    } else if (found->kind == '.' && expected[T_NUMBER]) {
        report_help(p->d, "numbers below one begin with a zero: 0.5");
    }
}

void report_unexpected(Parse *p, const bool *expected) {
    int index = p->next - 1;
    const Token *found = &p->tokens->token.at[index];
    const Token *before = index > 0 ? found - 1 : NULL;
    if (found->kind == T_INVALID || p->too_deep || index == p->told) return; // already told
    p->told = index;
    Span at = {p->file, found->begin, found->end};
    if (found->kind == 0 && before) at.begin = at.end = before->end; // not the empty line at the end
    Text text = {.arena = p->arena};

    const Token *opener = found->inside >= 0 ? &p->tokens->token.at[found->inside] : NULL;
    bool unclosed = expected['}'] && opener && (found->kind == 0 || found->declares);
    bool unknown_declaration = before && before->kind == T_NAME && found->inside < 0 && expected['{'] &&
                               expected[T_STRING] && (index < 2 || ends_operand(found[-2].kind)) && found->kind != '{';
    bool bare_name = before && before->kind == T_NAME && expected[T_UPDATE] && expected['='] && !expected['+'];
    if (bare_name) {
        add_written(p, before, &text);
        text_add(&text, " alone is not a statement: expected `=` and a value, found ");
        at.begin = before->begin;
        at.end = before->end;
    } else if (unclosed) {
        text_add(&text, "this block is not closed: expected `}`, found ");
        Span brace = {p->file, opener->begin, opener->end};
        add_found(p, found, &text);
        report_error(p->d, brace, "syntax", "%s", text.at);
        if (found->kind) report_note(p->d, at, "the next declaration begins here");
        return;
    } else if (unknown_declaration) {
        add_written(p, before, &text);
        text_add(&text, " begins no declaration");
        report_error(p->d, (Span){p->file, before->begin, before->end}, "syntax", "%s", text.at);
        if (!add_declaration_help(p, before))
            report_help(p->d, "a file consists of model, use, option, setting, axis, input, function, module, "
                              "optimizer, schedule, net, test and jobs such as `train { … }`");
        return;
    } else {
        Choices choices = choices_of(expected);
        if (choices.count) {
            text_add(&text, "expected ");
            add_choices(&choices, &text);
            if (before && before->kind != T_INVALID) {
                text_add(&text, " after ");
                add_written(p, before, &text);
            }
            text_add(&text, ", found ");
        } else {
            text_add(&text, "unexpected ");
        }
    }
    add_found(p, found, &text);
    report_error(p->d, at, "syntax", "%s", text.at);
    bool closes = found->kind == ')' || found->kind == ']' || found->kind == '}';
    bool leaves = closes || found->kind == 0 || found->first || found->kind == '=' || found->kind == '{' ||
                  found->kind == T_ELSE || found->declares; // it looks as if a closing bracket was forgotten
    if (opener && opener != before && leaves && (expected[')'] || expected[']'] || expected['}']))
        report_note(p->d, (Span){p->file, opener->begin, opener->end}, "%s opens here", spelling(opener->kind));
    add_help(p, expected, found, before);
}
