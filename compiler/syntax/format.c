// The one layout of a .stm file.
//
// Requires a text that parses; leaves the same tokens and comments with other white space. The author chooses
// where lines break; this file chooses indentation (4 columns for each open brace, 4 more for a continued
// line), spaces and columns. Columns: where neighbouring lines have the same kind of cell (`=`, `:`, `in`, a
// documentation string, …) and the author put more than one space before one of them, all of them are
// aligned. Every decision depends on tokens, line breaks and on whether a gap is wider than one space, all of
// which survive; so formatting twice changes nothing.
#include "syntax/build.h"
#include "syntax/parser.h"

#include <string.h>

// In the order in which they stand on a line.
typedef enum Cell {
    CELL_NONE,
    CELL_COLON,   // of a type: input x : f32[…]
    CELL_VALUE,   // = ~ <-
    CELL_IN,      // option x = 1 in 0 .. 2
    CELL_FROM,    // input x : f32[…] from tiles
    CELL_WHEN,    // param … when bias
    CELL_BRACE,   // predict { … }
    CELL_DOC,     // "documentation"
    CELL_COMMENT, // at the end of a line
    CELLS
} Cell;

typedef struct Piece {
    int32_t begin, end; // bytes of the source
    int space;          // columns before it
    bool wide;          // the author left more than one column
    Cell cell;
} Piece;

typedef struct Line {
    int indent;
    bool blank_before;
    bool continued; // takes no part in columns
    int sort;       // lines of one sort share columns: declarations, parameters, rules for one group, the rest
    VEC(Piece) piece;
} Line;

typedef struct Format {
    Arena *arena;
    const Source *source;
    const Token *token;
    int tokens;
    int *opener; // of a closing bracket: the token that opened it, else -1
    VEC(Line) line;
} Format;

enum { INDENT = 4, LONGEST = 120, STATEMENT_GAP = 3 };
enum { REST, DECLARATION, PARAMETER, GROUP_RULE }; // sorts of lines

// ---- what tokens are

static int kind_at(const Format *f, int i) {
    return i >= 0 && i < f->tokens ? f->token[i].kind : 0;
}

static void match_brackets(Format *f) {
    f->opener = NEW_ARRAY(f->arena, int, f->tokens);
    VEC(int) open = {0};
    for (int i = 0; i < f->tokens; i++) {
        int kind = f->token[i].kind;
        f->opener[i] = -1;
        if (kind == '(' || kind == '[' || kind == '{') vec_push(f->arena, &open, i);
        if ((kind == ')' || kind == ']' || kind == '}') && open.count) f->opener[i] = open.at[--open.count];
    }
}

static bool closes_binders(const Format *f, int i) {
    return kind_at(f, i) == ']' && f->opener[i] > 0 && kind_at(f, f->opener[i] - 1) == T_REDUCE;
}

static bool path_brace(const Format *f, int i) {
    if (kind_at(f, i) == '}') i = f->opener[i];
    return kind_at(f, i) == '{' && kind_at(f, i - 1) == '.';
}

static bool is_operand(const Format *f, int i) {
    return i >= 0 && ends_operand(kind_at(f, i)) && !closes_binders(f, i) && kind_at(f, i) != '}';
}

static bool unary_minus(const Format *f, int i) {
    return kind_at(f, i) == '-' && !is_operand(f, i - 1);
}

static bool in_brackets(const Format *f, int i) {
    int around = f->token[i].inside;
    return around >= 0 && (kind_at(f, around) != '{' || path_brace(f, around));
}

// input x : …   state x : …   module m(…) : …
static bool type_colon(const Format *f, int i) {
    if (kind_at(f, i) != ':') return false;
    int before = kind_at(f, i - 1), keyword = kind_at(f, i - 2);
    return before == ')' || keyword == T_INPUT || keyword == T_PARAM || keyword == T_STATE || keyword == T_MODULE ||
           keyword == T_OPTIMIZER;
}

static bool touches(const Format *f, int i) {
    return f->token[i].begin == f->token[i - 1].end;
}

// Products may be written tightly (2*i), sums only in brackets; the author chooses.
static bool tight(const Format *f, int i) {
    switch (kind_at(f, i)) {
    case '*':
    case '/':
    case '%':
    case '^':
    case T_INTDIV: break;
    case '+':
    case '-':
        if (unary_minus(f, i) || !in_brackets(f, i)) return false;
        break;
    default: return false;
    }
    return touches(f, i) && touches(f, i + 1);
}

static bool begins_statement(const Format *f, int i) {
    switch (kind_at(f, i)) {
    case T_NAME:
    case T_PARAM:
    case T_STATE:
    case T_FOR:
    case T_IF:
    case T_MATCH:
    case T_REDUCE:
    case T_OPTIMIZER:
    case T_FREEZE:
    case T_MONITOR:
    case T_METRIC:
    case T_OUTPUT:
    case T_COMPARE:
    case T_CHECK: return true;
    default: return f->token[i].declares;
    }
}

// ---- spaces

static bool author_left_gap(const Format *f, int32_t from, int32_t to) {
    return to - from > 1 || (to - from == 1 && f->source->text[from] == '\t');
}

// Columns between token i - 1 and token i of one line.
static int space_before(const Format *f, int i) {
    int before = kind_at(f, i - 1), kind = kind_at(f, i);
    if (before == '(' || before == '[' || kind == ')' || kind == ']' || kind == ',') return 0;
    if (before == '.' || kind == '.') return 0;
    if ((kind == '}' && path_brace(f, i)) || (before == '{' && path_brace(f, i - 1))) return 0;
    if (kind == ':' && !type_colon(f, i)) return 0;
    if (unary_minus(f, i - 1) || tight(f, i) || tight(f, i - 1)) return 0;
    if (kind == '[') return before == T_NAME || before == T_REDUCE ? 0 : 1;
    if (kind == '(') return before == T_NAME || before == ')' || (before == ']' && !closes_binders(f, i - 1)) ? 0 : 1;
    if (is_operand(f, i - 1) && begins_statement(f, i) && !in_brackets(f, i) &&
        author_left_gap(f, f->token[i - 1].end, f->token[i].begin))
        return STATEMENT_GAP; // two statements of one line, kept apart
    return 1;
}

// ---- lines

static bool breaks_between(const Format *f, int32_t from, int32_t to, bool *blank) {
    int breaks = 0;
    for (int32_t i = from; i < to; i++) breaks += f->source->text[i] == '\n';
    *blank = breaks > 1;
    return breaks > 0;
}

static Line *new_line(Format *f, int indent, bool blank_before) {
    Line line = {.indent = indent, .blank_before = blank_before && f->line.count > 0};
    vec_push(f->arena, &f->line, line);
    return &vec_last(&f->line);
}

// Does a line that begins with token i go on with the statement of the line before?
static bool continues(const Format *f, int i) {
    int kind = kind_at(f, i), before = kind_at(f, i - 1);
    if (i == 0 || kind == 0 || kind == '{' || kind == '}') return false;
    if (kind == T_ELSE && before == '}') return false;
    if (kind == T_ELSE && before == '{') return false;
    if (before == '{' || before == '}') return false;
    if (before == ',' && !in_brackets(f, i)) return true;
    return !ends_operand(before) || closes_binders(f, i - 1) || !begins_statement(f, i);
}

static Cell cell_of(const Format *f, int i, int line_braces, int braces) {
    if (in_brackets(f, i) || braces != line_braces) return CELL_NONE;
    switch (kind_at(f, i)) {
    case ':': return type_colon(f, i) ? CELL_COLON : CELL_NONE;
    case '=':
    case '~':
    case T_UPDATE: return CELL_VALUE;
    case T_IN: return kind_at(f, i - 2) == T_FOR ? CELL_NONE : CELL_IN;
    case T_FROM: return kind_at(f, i - 1) == '=' ? CELL_NONE : CELL_FROM;
    case T_WHEN: return CELL_WHEN;
    case '{': return path_brace(f, i) ? CELL_NONE : CELL_BRACE;
    case T_STRING:
        if (kind_at(f, i - 2) == T_MODEL || kind_at(f, i + 1) == '{') return CELL_NONE;
        return is_operand(f, i - 1) ? CELL_DOC : CELL_NONE;
    default: return CELL_NONE;
    }
}

static int sort_of(const Format *f, int i) {
    int kind = kind_at(f, i);
    if (kind == T_PARAM || kind == T_STATE) return PARAMETER;
    if (kind == T_OPTIMIZER && kind_at(f, i + 1) == T_STRING) return GROUP_RULE;
    return f->token[i].declares ? DECLARATION : REST;
}

// Columns before a cell at least.
static int gap_before(Cell cell) {
    return cell == CELL_COMMENT ? 2 : 1;
}

static bool has_cell(const Line *line, Cell cell) {
    for (int k = 0; k < line->piece.count; k++)
        if (line->piece.at[k].cell == cell) return true;
    return false;
}

static void add_comment(Format *f, const Comment *comment, int32_t end_before, int braces, int brackets) {
    bool blank, own_line = breaks_between(f, end_before, comment->begin, &blank) || f->line.count == 0;
    Piece piece = {comment->begin, comment->end, 0, false, CELL_NONE};
    if (own_line) {
        Line *line = new_line(f, INDENT * braces + (brackets ? INDENT : 0), blank);
        line->continued = true;
        vec_push(f->arena, &line->piece, piece);
    } else {
        piece.space = gap_before(CELL_COMMENT);
        piece.cell = CELL_COMMENT;
        vec_push(f->arena, &vec_last(&f->line).piece, piece);
    }
}

static void build_lines(Format *f, const Tokens *tokens) {
    int braces = 0, brackets = 0, line_braces = 0, comment = 0;
    int32_t end_before = 0;
    bool after_comment = false;
    for (int i = 0; i < f->tokens; i++) {
        const Token *token = &f->token[i];
        for (; comment < tokens->comment.count && tokens->comment.at[comment].after == i; comment++) {
            const Comment *c = &tokens->comment.at[comment];
            add_comment(f, c, end_before, braces, brackets);
            end_before = c->end;
            after_comment = true;
        }
        int kind = token->kind;
        if (kind == 0) break;
        bool blank = false, starts = breaks_between(f, end_before, token->begin, &blank) || i == 0 || after_comment;
        bool block_brace = (kind == '{' || kind == '}') && !path_brace(f, i);
        if (kind == '}' && block_brace && braces) braces--;
        if ((kind == ')' || kind == ']' || (kind == '}' && !block_brace)) && brackets) brackets--;
        if (starts) {
            bool more = brackets > 0 || (kind != ')' && kind != ']' && continues(f, i));
            Line *line = new_line(f, INDENT * braces + (more ? INDENT : 0),
                                  blank && kind != '}' && !(kind_at(f, i - 1) == '{' && !after_comment));
            line->continued = more;
            line->sort = sort_of(f, i);
            line_braces = braces;
        }
        Line *line = &vec_last(&f->line);
        Piece piece = {.begin = token->begin, .end = token->end};
        if (!starts) {
            piece.space = space_before(f, i);
            Cell cell = cell_of(f, i, line_braces, braces);
            if (cell != CELL_NONE && !has_cell(line, cell)) {
                bool ordered = true; // a later kind already stands on the line: a second statement
                for (int k = cell + 1; k < CELLS; k++) ordered = ordered && !has_cell(line, (Cell)k);
                if (ordered) {
                    piece.cell = cell;
                    piece.space = gap_before(cell);
                    piece.wide = token->begin - end_before > piece.space;
                }
            }
        }
        vec_push(f->arena, &line->piece, piece);
        if (kind == '{' && block_brace) braces++;
        if (kind == '(' || kind == '[' || (kind == '{' && !block_brace)) brackets++;
        end_before = token->end;
        after_comment = false;
    }
}

// ---- columns

static int width_of(const Format *f, const Piece *piece) {
    int columns = 0;
    for (int32_t i = piece->begin; i < piece->end; i++) columns += (f->source->text[i] & 0xC0) != 0x80;
    return columns;
}

static Piece *find_cell(const Line *line, Cell cell) {
    for (int k = 0; k < line->piece.count; k++)
        if (line->piece.at[k].cell == cell) return &line->piece.at[k];
    return NULL;
}

// Columns of the line before `until`, or of all of it for NULL.
static int width_until(const Format *f, const Line *line, const Piece *until) {
    int width = line->indent;
    for (int k = 0; k < line->piece.count; k++) {
        const Piece *piece = &line->piece.at[k];
        if (piece == until) break;
        width += piece->space + width_of(f, piece);
    }
    return width;
}

static bool joins(const Line *line, const Line *first, Cell cell) {
    if (line != first && line->blank_before) return false;
    if (cell == CELL_COMMENT) return find_cell(line, cell) != NULL;
    return !line->continued && line->indent == first->indent && line->sort == first->sort &&
           find_cell(line, cell) != NULL;
}

static void align(Format *f, Cell cell) {
    int gap = gap_before(cell);
    for (int from = 0; from < f->line.count;) {
        const Line *first = &f->line.at[from];
        int to = from;
        while (to < f->line.count && joins(&f->line.at[to], first, cell)) to++;
        if (to == from) {
            from++;
            continue;
        }
        bool wide = cell == CELL_COMMENT;
        int column = 0, longest = 0;
        for (int i = from; i < to; i++) {
            const Piece *piece = find_cell(&f->line.at[i], cell);
            int width = width_until(f, &f->line.at[i], piece);
            wide = wide || piece->wide;
            if (width > column) column = width;
            if (width_of(f, piece) > longest) longest = width_of(f, piece);
        }
        if (cell == CELL_COMMENT && column + gap + longest > LONGEST) wide = false;
        for (int i = from; wide && i < to; i++) {
            Piece *piece = find_cell(&f->line.at[i], cell);
            piece->space = column + gap - width_until(f, &f->line.at[i], piece);
        }
        from = to;
    }
}

// ---- the door

static void print_lines(const Format *f, Text *out) {
    for (int i = 0; i < f->line.count; i++) {
        const Line *line = &f->line.at[i];
        if (line->blank_before) text_add(out, "\n");
        text_add(out, "%*s", line->indent, "");
        for (int k = 0; k < line->piece.count; k++) {
            const Piece *piece = &line->piece.at[k];
            text_add(out, "%*s", piece->space, "");
            text_add_bytes(out, f->source->text + piece->begin, (size_t)(piece->end - piece->begin));
        }
        text_add(out, "\n");
    }
}

bool format_source(const Source *source, Text *out) {
    Arena *arena = arena_new();
    Sources sources = {.arena = arena};
    int file = sources_add(&sources, source->path, source->text, (size_t)source->size);
    Diagnostics *d = diagnostics_new(arena, &sources);
    bool parses = file >= 0 && parse_file(arena, names_new(arena), &sources, d, file) != NULL;
    if (parses) {
        Tokens tokens = {0};
        scan_source(arena, source, 0, NULL, &tokens);
        Format format = {.arena = arena, .source = source, .token = tokens.token.at, .tokens = tokens.token.count};
        match_brackets(&format);
        build_lines(&format, &tokens);
        for (int cell = CELL_COLON; cell < CELLS; cell++) align(&format, (Cell)cell);
        print_lines(&format, out);
    }
    arena_free(arena);
    return parses;
}
