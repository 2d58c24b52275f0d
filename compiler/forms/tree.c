// The tree as text: one node a line, indented by its depth, then read back. Spans are not printed, so the
// text of two trees is the same exactly when the trees mean the same; a tree that is read has the lines of
// the text as spans.
//
//     file
//       axis name=spot doc="rows of a batch"
//         dynamic
//       option name=rate
//         number number=0.5
//         -                      an absent kid
#include "forms/tree.h"

#include <stdlib.h>
#include <string.h>

const char *const node_kind_name[N_KINDS] = {
#define X(kind, text) text,
    TREE_KINDS(X)
#undef X
};

// ---- printing

static void print_node(const Node *node, int depth, Text *out) {
    text_add(out, "%*s", 2 * depth, "");
    if (!node) {
        text_add(out, "-\n");
        return;
    }
    text_add(out, "%s", node_kind_name[node->kind]);
    if (node->name) text_add(out, " name=%s", node->name);
    if (node->text) {
        text_add(out, " text=");
        text_quoted(out, node->text);
    }
    if (node->kind == N_NUMBER || node->kind == N_BOOL) {
        text_add(out, " number=");
        text_real(out, node->number);
    }
    if (node->integer) text_add(out, " integer");
    if (node->guarded) text_add(out, " guarded");
    if (node->doc) {
        text_add(out, " doc=");
        text_quoted(out, node->doc);
    }
    text_add(out, "\n");
    for (int i = 0; i < node->kids; i++) print_node(node->kid[i], depth + 1, out);
}

void tree_print(const Node *root, Text *out) {
    print_node(root, 0, out);
}

// ---- reading

enum { DEEPEST = 1100 }; // a little over what the parser builds

typedef struct Reader {
    Arena *arena;
    Names *names;
    Diagnostics *d;
    const char *text;
    int file;
    int32_t at, size;
} Reader;

typedef struct Line {
    int depth;
    Node *node; // NULL for an absent kid
} Line;

__attribute__((format(printf, 4, 5))) static bool wrong(Reader *r, int32_t from, int32_t to, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const char *message = arena_vformat(r->arena, format, arguments);
    va_end(arguments);
    report_error(r->d, (Span){r->file, from, to}, "bad-tree", "%s", message);
    return false;
}

static bool take(Reader *r, const char *word) {
    size_t length = strlen(word);
    if ((size_t)(r->size - r->at) < length || memcmp(r->text + r->at, word, length) != 0) return false;
    r->at += (int32_t)length;
    return true;
}

static bool at_end_of_word(const Reader *r, int32_t at) {
    return at == r->size || r->text[at] == ' ' || r->text[at] == '\n';
}

// The longest kind that stands here: "check close" before "check".
static int read_kind(Reader *r) {
    int best = -1;
    size_t best_length = 0;
    for (int kind = 0; kind < N_KINDS; kind++) {
        size_t length = strlen(node_kind_name[kind]);
        if (length > best_length && (size_t)(r->size - r->at) >= length &&
            memcmp(r->text + r->at, node_kind_name[kind], length) == 0 && at_end_of_word(r, r->at + (int32_t)length)) {
            best = kind;
            best_length = length;
        }
    }
    r->at += (int32_t)best_length;
    return best;
}

static const char *read_word(Reader *r) {
    int32_t from = r->at;
    while (!at_end_of_word(r, r->at)) r->at++;
    return intern(r->names, r->text + from, (size_t)(r->at - from));
}

// "…" ; NULL when it does not close on its line.
static const char *read_quoted(Reader *r) {
    if (!take(r, "\"")) return NULL;
    Text value = {.arena = r->arena};
    for (; r->at < r->size && r->text[r->at] != '\n'; r->at++) {
        char c = r->text[r->at];
        if (c == '"') {
            r->at++;
            return intern(r->names, value.length ? value.at : "", value.length);
        }
        if (c == '\\') {
            if (++r->at >= r->size) return NULL;
            c = r->text[r->at] == 'n' ? '\n' : r->text[r->at];
        }
        text_add_bytes(&value, &c, 1);
    }
    return NULL;
}

static bool read_attributes(Reader *r, Node *node, int32_t line) {
    while (r->at < r->size && r->text[r->at] != '\n') {
        int32_t from = r->at;
        if (take(r, " name=")) {
            node->name = read_word(r);
        } else if (take(r, " text=")) {
            if (!(node->text = read_quoted(r))) return wrong(r, from, r->at, "the string is not closed on its line");
        } else if (take(r, " doc=")) {
            if (!(node->doc = read_quoted(r))) return wrong(r, from, r->at, "the string is not closed on its line");
        } else if (take(r, " number=")) {
            const char *digits = read_word(r);
            char *end;
            node->number = strtod(digits, &end);
            if (end == digits || *end) return wrong(r, from, r->at, "expected a number");
        } else if (take(r, " integer")) {
            node->integer = true;
        } else if (take(r, " guarded")) {
            node->guarded = true;
        } else {
            return wrong(r, from, r->at + 1, "expected name=, text=, number=, integer, guarded or doc=");
        }
    }
    node->span = node->name_span = (Span){r->file, line, r->at};
    return true;
}

static bool read_line(Reader *r, Line *line) {
    int32_t begin = r->at;
    while (r->at < r->size && r->text[r->at] == ' ') r->at++;
    int32_t spaces = r->at - begin;
    if (spaces % 2 || spaces / 2 > DEEPEST)
        return wrong(r, begin, r->at, "a line is indented by two spaces for each level, at most %d levels", DEEPEST);
    line->depth = spaces / 2;
    int32_t from = r->at;
    if (take(r, "-") && at_end_of_word(r, r->at)) {
        line->node = NULL;
        if (r->at < r->size && r->text[r->at] != '\n') return wrong(r, from, r->at + 1, "`-` stands alone");
    } else {
        r->at = from;
        int kind = read_kind(r);
        if (kind < 0) return wrong(r, from, r->at + 1, "this is no kind of node");
        line->node = NEW(r->arena, Node);
        line->node->kind = (NodeKind)kind;
        if (!read_attributes(r, line->node, from)) return false;
    }
    if (r->at < r->size) r->at++;
    return true;
}

static void add_kid(Arena *arena, Node *node, int *room, Node *kid) {
    if (node->kids == *room) node->kid = vec_grow(arena, node->kid, node->kids, room, sizeof *node->kid);
    node->kid[node->kids++] = kid;
}

Node *tree_read(Arena *arena, Names *names, Diagnostics *d, int file) {
    const Source *source = &diagnostics_sources(d)->file.at[file];
    Reader reader = {arena, names, d, source->text, file, 0, source->size}, *r = &reader;
    // The open node of each depth, and how many kids it has room for.
    Node **open = NEW_ARRAY(arena, Node *, DEEPEST + 1);
    int *room = NEW_ARRAY(arena, int, DEEPEST + 1);
    Node *root = NULL;
    int deepest = -1; // depth of the line before
    while (r->at < r->size) {
        int32_t from = r->at;
        Line line = {0};
        if (!read_line(r, &line)) return NULL;
        if (line.depth == 0) {
            if (root || !line.node) {
                wrong(r, from, r->at, root ? "a tree has one root" : "the root is absent");
                return NULL;
            }
            root = line.node;
        } else {
            if (line.depth > deepest + 1 || !open[line.depth - 1]) {
                wrong(r, from, r->at, "this line has no parent: the line before is %d levels deep", deepest);
                return NULL;
            }
            add_kid(arena, open[line.depth - 1], &room[line.depth - 1], line.node);
        }
        open[line.depth] = line.node;
        room[line.depth] = 0;
        deepest = line.depth;
    }
    if (!root) wrong(r, 0, 0, "the text holds no tree");
    return root;
}
