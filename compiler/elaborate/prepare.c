// The prepare block: which datasets `EXE prepare` makes and from what. Every call, argument and word is checked here,
// so that a mistake costs a message of the compiler and not one of a program that ran for an hour.
// requires the file's declarations in scope; leaves program->prepare, a flat list of names and values:
// `tiles = tile(size = 78)` gives tiles "tile" and tiles.size "78". Arguments given by position get their names; a
// table given by call is an entry within (`ranks.table`), one given by its line is @line; a setting is $name, so that
// its run-time value is meant.
#include "elaborate/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum Takes {
    A_INTEGER,
    A_NUMBER,
    A_BOOLEAN,
    A_TEXT,
    A_WORD,           // one of `words`
    A_WORD_OR_FILE,   // one of them, or a path: it has a '.' or a '/'
    A_WORD_OR_NUMBER, // one of them, or a number
    A_TABLE,          // a call of expression or proportions, or the name of such a line
} Takes;

typedef enum Need {
    OPTIONAL,
    REQUIRED,
    ONE_OF,  // exactly one of the call's arguments with this mark
    SOME_OF, // at least one of them
} Need;

// What a call takes; arguments by position are in this order. What they mean: spec/language.md §6.
typedef struct Argument {
    const char *call, *name;
    Takes takes;
    Need need;
    double low, high;
    const char *words; // separated by blanks
} Argument;

static const char mito_words[] = "mt mt_contains mt_ribo mt_ribo_compat";

static const Argument arguments[] = {
    {"tile", "size", A_INTEGER, REQUIRED, 1, 4096, NULL},
    {"tile", "pitch", A_NUMBER, ONE_OF, 1e-3, 4096, NULL},
    {"tile", "radius", A_NUMBER, ONE_OF, 0.5, 32768, NULL},
    {"tile", "spots", A_NUMBER, ONE_OF, 1e-3, 1000, NULL},
    {"tile", "microns", A_NUMBER, ONE_OF, 1e-3, 1e6, NULL},
    {"tile", "least", A_NUMBER, OPTIONAL, 0, 32768, NULL},
    {"tile", "round", A_WORD, OPTIONAL, 0, 0, "nearest down"},
    {"tile", "filter", A_WORD, OPTIONAL, 0, 0, "box bilinear bicubic lanczos"},
    {"tile", "edge", A_WORD, OPTIONAL, 0, 0, "replicate black white"},
    {"tile", "jpeg", A_INTEGER, OPTIONAL, 1, 100, NULL},
    {"tile", "deflate", A_INTEGER, OPTIONAL, 0, 9, NULL},
    {"counts", "layer", A_TEXT, OPTIONAL, 0, 0, NULL},
    {"expression", "genes", A_WORD_OR_FILE, OPTIONAL, 0, 0,
     "all top_mean top_total hvg_seurat hvg_seurat_v3 high_mean_variance"},
    {"expression", "n", A_INTEGER, OPTIONAL, 1, 1e6, NULL},
    {"expression", "min_spots", A_INTEGER, OPTIONAL, 0, 1e9, NULL},
    {"expression", "drop", A_WORD, OPTIONAL, 0, 0, mito_words},
    {"expression", "total", A_WORD_OR_NUMBER, OPTIONAL, 1e-9, 1e12, "median"},
    {"expression", "log", A_WORD, OPTIONAL, 0, 0, "natural two none"},
    {"expression", "epsilon", A_NUMBER, OPTIONAL, 0, 1, NULL},
    {"proportions", "name", A_TEXT, REQUIRED, 0, 0, NULL},
    {"rank", "table", A_TABLE, REQUIRED, 0, 0, NULL},
    {"neighbours", "k", A_INTEGER, SOME_OF, 1, 1e6, NULL},
    {"neighbours", "radius", A_NUMBER, SOME_OF, 1e-9, 1e9, NULL},
    {"neighbours", "pitches", A_NUMBER, SOME_OF, 1e-3, 1e6, NULL},
    {"neighbours", "lattice", A_WORD, SOME_OF, 0, 0, "hex square_4 square_8"},
    {"neighbours", "weight", A_WORD, OPTIONAL, 0, 0, "one mean inverse"},
    {"neighbours", "self", A_BOOLEAN, OPTIONAL, 0, 0, NULL},
    {"features", "pattern", A_TEXT, REQUIRED, 0, 0, NULL},
    {"features", "key", A_TEXT, OPTIONAL, 0, 0, NULL},
    {"split", "by", A_WORD, REQUIRED, 0, 0, "spot section patient"},
    {"split", "validation", A_NUMBER, SOME_OF, 0, 1, NULL},
    {"split", "test", A_NUMBER, SOME_OF, 0, 1, NULL},
    {"split", "seed", A_INTEGER, OPTIONAL, 0, 4294967295, NULL},
    {"split", "train_list", A_TEXT, SOME_OF, 0, 0, NULL},
    {"split", "validation_list", A_TEXT, SOME_OF, 0, 0, NULL},
    {"split", "test_list", A_TEXT, SOME_OF, 0, 0, NULL},
    {"spots", "min_counts", A_NUMBER, SOME_OF, 0, 1e15, NULL},
    {"spots", "max_counts", A_NUMBER, SOME_OF, 0, 1e15, NULL},
    {"spots", "min_genes", A_INTEGER, SOME_OF, 0, 1e9, NULL},
    {"spots", "max_genes", A_INTEGER, SOME_OF, 0, 1e9, NULL},
    {"spots", "drop", A_WORD, OPTIONAL, 0, 0, mito_words},
    {"spots", "max_mito", A_NUMBER, SOME_OF, 0, 1, NULL},
};
enum { ARGUMENTS = sizeof arguments / sizeof *arguments, MAX_GIVEN = 16 };

static const Argument layout_argument = {
    NULL, "layout", A_WORD, OPTIONAL, 0, 0, "auto legacy_st visium hest h5ad elucidata"};

typedef struct Given { // an argument with its value
    const Argument *argument;
    const Node *node;
    bool known; // the value below is the value: not one of a setting
    double number;
    const char *text;
} Given;

typedef struct Call { // what was given to one call
    const char *name;
    Span span;
    Given given[MAX_GIVEN];
    int count;
} Call;

typedef struct Line {
    const Node *node; // the statement
    Call call;        // name NULL: layout
} Line;

typedef struct Block {
    const Node *node;
    Line *line;
    int lines;
} Block;

static const Given *given(const Call *call, const char *name) {
    for (int i = 0; i < call->count; i++)
        if (!strcmp(call->given[i].argument->name, name)) return &call->given[i];
    return NULL;
}

// ---- what there is, in words

static const char *word_list(El *el, const char *words, const char *last) {
    Text t = {.arena = el->arena};
    while (*words) {
        size_t n = strcspn(words, " "), rest = n + (words[n] == ' ');
        text_add(&t, "%s%.*s", !t.at ? "" : words[rest] ? ", " : last, (int)n, words);
        words += rest;
    }
    return t.at;
}

static const char *call_names(El *el) {
    Text t = {.arena = el->arena};
    for (int i = 0; i < ARGUMENTS; i++)
        if (!i || strcmp(arguments[i].call, arguments[i - 1].call) != 0)
            text_add(&t, "%s%s", i ? " " : "", arguments[i].call);
    return t.at;
}

static const char *argument_names(El *el, const char *call, Need need, bool any) {
    Text t = {.arena = el->arena};
    for (int i = 0; i < ARGUMENTS; i++)
        if (!strcmp(arguments[i].call, call) && (any || arguments[i].need == need))
            text_add(&t, "%s%s", t.at ? " " : "", arguments[i].name);
    return t.at;
}

// The help of an unknown name: the nearest known one, and all of them.
static void help_among(El *el, const char *name, const char *words, const char *front) {
    const char *nearest = suggest_word(el, name, words);
    report_help(el->d, "%s%s%s%s%s", nearest ? "did you mean `" : "", nearest ? nearest : "", nearest ? "`? " : "",
                front, word_list(el, words, " and "));
}

static const char *what_is(El *el, const Argument *a) {
    return a->call ? arena_format(el->arena, "`%s` of `%s`", a->name, a->call)
                   : arena_format(el->arena, "`%s`", a->name);
}

static const char *takes_words(El *el, const Argument *a) {
    const char *words = a->words ? word_list(el, a->words, " or ") : "";
    switch (a->takes) {
    case A_INTEGER: return "a whole number";
    case A_NUMBER: return "a number";
    case A_BOOLEAN: return "true or false";
    case A_TEXT: return "a string";
    case A_WORD: return arena_format(el->arena, "one of the strings %s", words);
    case A_WORD_OR_FILE: return "a string";
    case A_WORD_OR_NUMBER: return arena_format(el->arena, "a number or \"%s\"", words);
    case A_TABLE: return "a table: expression(…), proportions(…), or the name of such a line";
    }
    return "?";
}

// ---- values

static bool has_word(const char *words, const char *word) {
    size_t n = strlen(word);
    for (const char *at = words; n && (at = strstr(at, word)); at += n)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || !at[n])) return true;
    return false;
}

static bool check_text(El *el, const Argument *a, const char *text, Span at) {
    bool path = a->takes == A_WORD_OR_FILE && strpbrk(text, "./");
    if (!*text) {
        report_error(el->d, at, "prepare-value", "%s is empty", what_is(el, a));
        return false;
    }
    if (!a->words || path || has_word(a->words, text)) return true;
    report_error(el->d, at, "unknown-word", "%s cannot be \"%s\"", what_is(el, a), text);
    help_among(el, text, a->words,
               a->takes == A_WORD_OR_FILE     ? "the path of a list of genes has a `.` or a `/`; the words are "
               : a->takes == A_WORD_OR_NUMBER ? "give a number, or "
                                              : "the words are ");
    return false;
}

static bool check_number(El *el, const Argument *a, double x, Span at) {
    if (a->takes == A_BOOLEAN) return true;
    if (a->takes == A_INTEGER && x != floor(x)) {
        report_error(el->d, at, "not-integer", "%s must be an integer, found %g", what_is(el, a), x);
        return false;
    }
    if (x >= a->low && x <= a->high) return true;
    report_error(el->d, at, "out-of-range", "%s must be from %.10g to %.10g, found %.10g", what_is(el, a), a->low,
                 a->high, x);
    return false;
}

// The kinds of values that an argument takes.
static bool takes_text(const Argument *a) {
    return a->takes == A_TEXT || a->takes == A_WORD || a->takes == A_WORD_OR_FILE || a->takes == A_WORD_OR_NUMBER;
}

static bool takes_number(const Argument *a) {
    return a->takes == A_INTEGER || a->takes == A_NUMBER || a->takes == A_WORD_OR_NUMBER;
}

static bool wrong_value(El *el, const Argument *a, Span at, const char *found) {
    report_error(el->d, at, "prepare-value", "%s must be %s, found %s", what_is(el, a), takes_words(el, a), found);
    return false;
}

// The shortest text that reads back as the same number.
static const char *number_text(El *el, double x) {
    const char *text = "";
    for (int digits = 15; digits <= 17; digits++)
        if (strtod(text = arena_format(el->arena, "%.*g", digits, x), NULL) == x) break;
    return text;
}

static void push(El *el, const char *name, const char *value) {
    vec_push(el->arena, &el->program->prepare, ((Prepare){intern_z(el->names, name), value}));
}

static bool setting_value(El *el, const Argument *a, const char *name, const Setting *set, const Node *n) {
    bool fits = set->is_text ? takes_text(a) : takes_number(a);
    if (!fits)
        return wrong_value(
            el, a, n->span,
            arena_format(el->arena, "setting `%s`, which is a %s", set->name, set->is_text ? "string" : "number"));
    // The default must do; other values are checked when they are given.
    if (set->is_text ? !check_text(el, a, set->text, n->span) : !check_number(el, a, set->value, n->span)) return false;
    push(el, name, arena_format(el->arena, "$%s", set->name));
    return true;
}

static bool literal_value(El *el, Scope *s, const Argument *a, const char *name, const Node *n, Given *into) {
    Value v;
    bool unknown = n->kind == N_NAME && !scope_find(s, n->name) && takes_text(a);
    if (!evaluate(el, s, n, &v)) {
        if (unknown) report_help(el->d, "words stand in quotes: \"%s\"", n->name);
        return false;
    }
    into->known = true;
    if (v.kind == V_EXTENT && v.extent.axis < 0) v = value_number((double)v.extent.count, true);
    if (v.kind == V_TEXT && takes_text(a)) {
        into->text = v.text;
        push(el, name, v.text);
        return check_text(el, a, v.text, n->span);
    }
    if (v.kind == V_NUMBER && (v.boolean ? a->takes == A_BOOLEAN : takes_number(a))) {
        into->number = v.number;
        push(el, name, v.boolean ? (v.number != 0 ? "true" : "false") : number_text(el, v.number));
        return check_number(el, a, v.number, n->span);
    }
    bool rank0 = v.kind == V_TENSOR && v.tensor->rank == 0;
    wrong_value(el, a, n->span, rank0 ? "a run-time value" : value_kind_name(&v));
    if (rank0) report_help(el->d, "of what is known when running, a setting by itself can stand here");
    return false;
}

static bool is_call(const Node *n) {
    return n->kind == N_CALL && n->kid[0]->kind == N_NAME && !KID(n, 1);
}

static bool is_table_call(const char *name) {
    return !strcmp(name, "expression") || !strcmp(name, "proportions");
}

static bool read_call(El *el, Scope *s, Block *block, const char *name, const Node *n, Call *call);

static bool table_value(El *el, Scope *s, Block *block, const Argument *a, const char *name, const Node *n) {
    if (is_call(n)) {
        if (!is_table_call(n->kid[0]->name))
            return wrong_value(el, a, n->span, arena_format(el->arena, "`%s`", n->kid[0]->name));
        Call inner = {0};
        return read_call(el, s, block, name, n, &inner);
    }
    if (n->kind != N_NAME) return wrong_value(el, a, n->span, node_words(n));
    Text tables = {.arena = el->arena};
    for (int i = 0; i < block->node->kids; i++) {
        const Node *line = block->node->kid[i], *value = KID(line, 1);
        if (line->kind != N_ASSIGN || !value || !is_call(value)) continue;
        bool table = is_table_call(value->kid[0]->name);
        if (table) text_add(&tables, "%s%s", tables.at ? " " : "", line->kid[0]->name);
        if (line->kid[0]->name != n->name) continue;
        if (!table) {
            wrong_value(el, a, n->span, arena_format(el->arena, "`%s`", n->name));
            report_note(el->d, value->span, "which is made here");
            return false;
        }
        push(el, name, arena_format(el->arena, "@%s", n->name));
        return true;
    }
    report_error(el->d, n->span, "unknown-name", "no line of this prepare block makes `%s`", n->name);
    if (tables.at) help_among(el, n->name, tables.at, "its tables are ");
    else report_help(el->d, "give the table as a call: rank(proportions(\"%s\"))", n->name);
    return false;
}

static const Argument *find_argument(const char *call, const char *name) {
    for (int i = 0; i < ARGUMENTS; i++)
        if (!strcmp(arguments[i].call, call) && !strcmp(arguments[i].name, name)) return &arguments[i];
    return NULL;
}

// The argument at a position of the call; NULL behind the last.
static const Argument *argument_at(const char *call, int position) {
    for (int i = 0; i < ARGUMENTS; i++)
        if (!strcmp(arguments[i].call, call) && position-- == 0) return &arguments[i];
    return NULL;
}

static bool read_argument(El *el, Scope *s, Block *block, const char *name, const Node *node, const Argument *a,
                          Call *call) {
    const Node *n = node->kind == N_NAMED ? node->kid[0] : node;
    if (given(call, a->name)) {
        report_error(el->d, node->span, "option-twice", "`%s` is given twice", a->name);
        return false;
    }
    Given *into = &call->given[call->count++];
    *into = (Given){.argument = a, .node = n};
    const char *entry = arena_format(el->arena, "%s.%s", name, a->name);
    if (a->takes == A_TABLE) return table_value(el, s, block, a, entry, n);
    for (int i = 0; n->kind == N_NAME && i < el->program->setting.count; i++)
        if (el->program->setting.at[i].name == n->name)
            return setting_value(el, a, entry, &el->program->setting.at[i], n);
    return literal_value(el, s, a, entry, n, into);
}

// ---- which arguments go together

static bool missing(El *el, const Call *call, const char *what) {
    report_error(el->d, call->span, "missing-option", "`%s` needs %s", call->name, what);
    return false;
}

static bool exclude(El *el, const Call *call, const Given *a, const Given *b) {
    report_error(el->d, b->node->span, "prepare-exclusive", "`%s` and `%s` of `%s` exclude each other",
                 a->argument->name, b->argument->name, call->name);
    report_note(el->d, a->node->span, "`%s` is given here", a->argument->name);
    return false;
}

static bool check_needs(El *el, const Call *call) {
    const Given *one = NULL;
    bool some = false, wants_one = false, wants_some = false;
    for (int i = 0; i < ARGUMENTS; i++) {
        const Argument *a = &arguments[i];
        if (strcmp(a->call, call->name) != 0) continue;
        const Given *g = given(call, a->name);
        if (a->need == REQUIRED && !g) return missing(el, call, arena_format(el->arena, "`%s`", a->name));
        wants_one |= a->need == ONE_OF, wants_some |= a->need == SOME_OF;
        if (a->need == SOME_OF && g) some = true;
        if (a->need != ONE_OF || !g) continue;
        if (one) return exclude(el, call, one, g);
        one = g;
    }
    if (wants_one && !one)
        return missing(el, call,
                       arena_format(el->arena, "one of %s",
                                    word_list(el, argument_names(el, call->name, ONE_OF, false), " and ")));
    if (wants_some && !some)
        return missing(
            el, call,
            arena_format(el->arena, "%s", word_list(el, argument_names(el, call->name, SOME_OF, false), " or ")));
    return true;
}

// `name` without `other` is an error.
static bool goes_with(El *el, const Call *call, const char *name, const char *other, const char *why) {
    const Given *g = given(call, name);
    if (!g || given(call, other)) return true;
    report_error(el->d, g->node->span, "missing-option", "`%s` of `%s` needs `%s`%s", name, call->name, other, why);
    return false;
}

static bool exclusive(El *el, const Call *call, const char *first, const char *second) {
    const Given *a = given(call, first), *b = given(call, second);
    return !a || !b || exclude(el, call, a, b);
}

static bool check_expression(El *el, const Call *call) {
    const Given *genes = given(call, "genes"), *n = given(call, "n");
    if (genes && !genes->known) return true; // a setting: the program checks
    const char *word = genes ? genes->text : "all";
    if (!strcmp(word, "all") && n) {
        report_error(el->d, n->node->span, "prepare-exclusive",
                     "`n` of `expression` says how many genes are chosen, but "
                     "all are taken");
        report_help(el->d, "say how they are chosen, such as genes = \"hvg_seurat_v3\"");
        return false;
    }
    return !strcmp(word, "all") || strpbrk(word, "./") || n ||
           missing(el, call, arena_format(el->arena, "`n`, the number of genes, for genes = \"%s\"", word));
}

static bool check_split(El *el, const Call *call) {
    static const char *const list[] = {"train_list", "validation_list", "test_list"};
    static const char *const share[] = {"validation", "test", "seed"};
    const Given *by = given(call, "by"), *first = NULL;
    for (int i = 0; i < 3; i++) {
        const Given *l = given(call, list[i]);
        for (int k = 0; l && k < 3; k++)
            if (!exclusive(el, call, share[k], list[i])) return false;
        if (l && !first) first = l;
    }
    if (first && by->known && strcmp(by->text, "section") != 0) {
        report_error(el->d, by->node->span, "prepare-exclusive",
                     "lists name sections, so `by` of `split` must be "
                     "\"section\", found \"%s\"",
                     by->text);
        return false;
    }
    if (first) return true;
    const Given *validation = given(call, "validation"), *test = given(call, "test");
    if ((validation && !validation->known) || (test && !test->known)) return true;
    double held = (validation ? validation->number : 0) + (test ? test->number : 0);
    if (held > 0 && held < 1) return true;
    report_error(el->d, call->span, "out-of-range",
                 "`validation` and `test` of `split` add up to %g; they must leave something to train and something to "
                 "hold out",
                 held);
    return false;
}

static bool check_together(El *el, const Call *call) {
    const char *name = call->name;
    if (!check_needs(el, call)) return false;
    if (!strcmp(name, "tile"))
        return exclusive(el, call, "pitch", "least") && exclusive(el, call, "pitch", "round") &&
               exclusive(el, call, "jpeg", "deflate");
    if (!strcmp(name, "expression"))
        return goes_with(el, call, "epsilon", "total", ": it is added to the sums that spots are scaled by") &&
               check_expression(el, call);
    if (!strcmp(name, "neighbours"))
        return exclusive(el, call, "lattice", "k") && exclusive(el, call, "lattice", "radius") &&
               exclusive(el, call, "lattice", "pitches") && exclusive(el, call, "lattice", "weight") &&
               exclusive(el, call, "radius", "pitches");
    if (!strcmp(name, "split")) return check_split(el, call);
    if (!strcmp(name, "spots")) return goes_with(el, call, "drop", "max_mito", ", the largest share of such genes");
    return true;
}

static bool read_call(El *el, Scope *s, Block *block, const char *name, const Node *n, Call *call) {
    const char *callee = n->kid[0]->name;
    *call = (Call){.name = callee, .span = n->span};
    if (!argument_at(callee, 0)) {
        report_error(el->d, n->kid[0]->span, "unknown-call", "a prepare block knows no `%s`", callee);
        help_among(el, callee, call_names(el), "the calls are ");
        return false;
    }
    push(el, name, callee);
    int position = 0;
    for (int i = 2; i < n->kids; i++) {
        const Node *node = n->kid[i];
        bool named = node->kind == N_NAMED;
        const Argument *a = named ? find_argument(callee, node->name) : argument_at(callee, position++);
        if (!a && named) {
            report_error(el->d, node->span, "unknown-option", "`%s` has no option `%s`", callee, node->name);
            help_among(el, node->name, argument_names(el, callee, OPTIONAL, true), "its options are ");
            return false;
        }
        if (!a) {
            report_error(el->d, node->span, "too-many-arguments", "`%s` takes %d argument%s", callee, position - 1,
                         position == 2 ? "" : "s");
            return false;
        }
        if (!read_argument(el, s, block, name, node, a, call)) return false;
    }
    return check_together(el, call);
}

// ---- the block

static bool read_line(El *el, Scope *s, Block *block, const Node *n) {
    const char *name = n->kid[0]->name;
    const Node *value = n->kid[1];
    Line *line = &block->line[block->lines];
    *line = (Line){.node = n};
    for (int i = 0; i < block->lines; i++)
        if (block->line[i].node->kid[0]->name == name) {
            report_error(el->d, n->kid[0]->span, "given-twice", "`%s` is given twice", name);
            report_note(el->d, block->line[i].node->kid[0]->span, "the first is here");
            return false;
        }
    block->lines++;
    if (!strcmp(name, "layout")) {
        Given layout;
        for (int i = 0; value->kind == N_NAME && i < el->program->setting.count; i++)
            if (el->program->setting.at[i].name == value->name)
                return setting_value(el, &layout_argument, name, &el->program->setting.at[i], value);
        return literal_value(el, s, &layout_argument, name, value, &layout);
    }
    if (!is_call(value)) {
        report_error(el->d, value->span, "prepare-value", "a line of a prepare block is NAME = call, found %s",
                     value->kind == N_NAME ? arena_format(el->arena, "`%s`", value->name) : node_words(value));
        report_help(el->d, "the calls are %s; layout alone takes a string", word_list(el, call_names(el), " and "));
        return false;
    }
    if (!read_call(el, s, block, name, value, &line->call)) return false;
    static const char *const once[][2] = {
        {"tile", "one set of tiles"}, {"counts", "one set of counts"}, {"spots", "spots that one filter kept"}};
    for (int i = 0; i < block->lines - 1; i++)
        for (int k = 0; k < 3; k++)
            if (!strcmp(line->call.name, once[k][0]) && block->line[i].call.name &&
                !strcmp(block->line[i].call.name, once[k][0])) {
                report_error(el->d, value->span, "given-twice", "`%s` is called twice; a store holds %s", once[k][0],
                             once[k][1]);
                report_note(el->d, block->line[i].call.span, "the first is here");
                return false;
            }
    return true;
}

// ---- inputs against the lines that make them

static bool wrong_input(El *el, const Tensor *input, const Line *line, const char *made) {
    static const char *const type[] = {[T_REAL] = "f32", [T_I32] = "i32", [T_U8] = "u8", [T_BOOL] = "bool"};
    report_error(el->d, input->span, "input-dataset", "input `%s` is %s%s, but `%s` is %s", input->name,
                 type[input->type], shape_text(el, input), input->dataset, made);
    report_note(el->d, line->call.span, "`%s` is made here", input->dataset);
    return false;
}

static bool fixed_to(const Tensor *t, int dim, int64_t count) {
    return t->dim[dim].axis < 0 && t->dim[dim].count == count;
}

static bool check_input(El *el, const Tensor *input, const Line *line) {
    const Call *call = &line->call;
    if (!strcmp(call->name, "tile")) {
        const Given *size = given(call, "size");
        int64_t side = size->known ? (int64_t)size->number : input->rank == 4 ? input->dim[1].count : 0;
        if (input->type == T_U8 && input->rank == 4 && fixed_to(input, 1, side) && fixed_to(input, 2, side) &&
            fixed_to(input, 3, 3))
            return true;
        return wrong_input(el, input, line,
                           size->known ? arena_format(el->arena, "u8[.., %lld, %lld, 3], one tile a row",
                                                      (long long)side, (long long)side)
                                       : "u8[.., size, size, 3], one tile a row");
    }
    if (!strcmp(call->name, "neighbours") || !strcmp(call->name, "split") || !strcmp(call->name, "spots")) {
        const char *what = !strcmp(call->name, "neighbours") ? "a graph over the spots of each section"
                           : !strcmp(call->name, "split")    ? "a split of the spots"
                                                             : "a filter of spots";
        wrong_input(el, input, line, what);
        report_help(el->d, "an executable is fed rows of one dynamic axis: tiles, counts, tables and features%s",
                    !strcmp(call->name, "split") ? "; a split is named when running: train --split" : "");
        return false;
    }
    if (input->type != T_REAL || input->rank != 2)
        return wrong_input(el, input, line,
                           !strcmp(call->name, "features") ? "f32[.., width], one row of features a spot"
                                                           : "f32[.., columns], one row a spot");
    // As many genes as were asked for, where that is sure: flavour seurat keeps ties, the others may find fewer.
    const Given *genes = given(call, "genes"), *n = given(call, "n");
    bool exact = !strcmp(call->name, "expression") && genes && genes->known && n && n->known &&
                 (!strncmp(genes->text, "top_", 4) || !strcmp(genes->text, "hvg_seurat_v3"));
    if (!exact || fixed_to(input, 1, (int64_t)n->number)) return true;
    return wrong_input(el, input, line,
                       arena_format(el->arena, "f32[.., %lld], a column a gene", (long long)n->number));
}

bool prepare_job(El *el, const Node *job) {
    Block block = {.node = job->kid[0]};
    block.line = NEW_ARRAY(el->arena, Line, block.node->kids + 1);
    for (int i = 0; i < block.node->kids; i++) {
        const Node *n = block.node->kid[i];
        if (n->kind != N_ASSIGN || n->kids != 2 || KID(n->kid[0], 0)) {
            report_error(el->d, n->span, "bad-statement", "a prepare block takes lines `name = value`");
            return false;
        }
        if (n->text) return computes_nothing(el, n);
    }
    for (int i = 0; i < block.node->kids; i++)
        if (!read_line(el, el->root, &block, block.node->kid[i])) return false;
    for (int t = 0; t < el->program->tensor.count; t++) {
        const Tensor *input = el->program->tensor.at[t];
        if (input->kind != TENSOR_INPUT || !input->dataset) continue;
        for (int i = 0; i < block.lines; i++)
            if (block.line[i].call.name && block.line[i].node->kid[0]->name == input->dataset &&
                !check_input(el, input, &block.line[i]))
                return false;
    }
    return true;
}
