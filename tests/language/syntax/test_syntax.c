// The front end against its goldens, run as: test_syntax REPOSITORY [--update]
//
//   good/X.stm     parses to good/X.tree, formats to good/X.fmt
//   errors.txt     ==== title / source / ---- / the exact messages
//   every .stm     of the repository that parses: the tree survives print and read, formatting keeps the tree
//   and is
//                  idempotent; those of stdlib/, examples/ and good/ must parse
//
// --update writes the goldens anew, to be read in the diff.
#include "syntax/syntax.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Run {
    const char *root;
    bool update;
    int passed, failed;
} Run;

static void expect(Run *run, bool good, const char *what, const char *where) {
    if (good) {
        run->passed++;
    } else {
        run->failed++;
        printf("FAILED: %s: %s\n", where, what);
    }
}

typedef struct Compiled {
    Arena *arena;
    Names *names;
    Sources sources;
    Diagnostics *d;
    Node *tree;
} Compiled;

static void compiled_start(Compiled *c) {
    *c = (Compiled){.arena = arena_new()};
    c->names = names_new(c->arena);
    c->sources.arena = c->arena;
    c->d = diagnostics_new(c->arena, &c->sources);
}

static void compile_text(Compiled *c, const char *path, const char *text, size_t size) {
    compiled_start(c);
    int file = sources_add(&c->sources, path, text, size);
    c->tree = parse_file(c->arena, c->names, &c->sources, c->d, file);
}

static const char *tree_text(Compiled *c, const Node *tree) {
    Text out = {.arena = c->arena};
    tree_print(tree, &out);
    return out.at;
}

static char *messages_of(Compiled *c, bool json) {
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (!to) return NULL;
    diagnostics_print(c->d, to, json);
    fclose(to);
    return text;
}

// ---- files

static char *read_whole(const char *path, size_t *size) {
    FILE *from = fopen(path, "rb");
    if (!from) return NULL;
    size_t room = 1 << 16, used = 0;
    char *text = malloc(room + 1);
    while (text) {
        used += fread(text + used, 1, room - used, from);
        if (used < room) break;
        room *= 2;
        char *more = realloc(text, room + 1);
        if (!more) free(text);
        text = more;
    }
    fclose(from);
    if (!text) return NULL;
    text[used] = 0;
    *size = used;
    return text;
}

static void compare_golden(Run *run, const char *path, const char *text) {
    size_t size = 0;
    if (run->update) {
        FILE *to = fopen(path, "wb");
        if (to) {
            fputs(text, to);
            fclose(to);
        }
    }
    char *golden = read_whole(path, &size);
    if (!golden) {
        expect(run, false, "the golden file is missing", path);
        return;
    }
    bool same = strcmp(golden, text) == 0;
    if (!same) {
        size_t at = 0, line = 1;
        for (; golden[at] && golden[at] == text[at]; at++) line += golden[at] == '\n';
        printf("%s:%zu: differs from what was made:\n%.200s\n", path, line, text + at);
    }
    expect(run, same, "differs from the golden file", path);
    free(golden);
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

// ---- one file

static void check_round_trips(Run *run, const char *path, Compiled *c, const char *text, size_t size) {
    const char *printed = tree_text(c, c->tree);

    int file = sources_add(&c->sources, "tree", printed, strlen(printed));
    Node *again = tree_read(c->arena, c->names, c->d, file);
    expect(run, again && strcmp(tree_text(c, again), printed) == 0, "print, read, print gives another tree", path);

    int source = sources_add(&c->sources, path, text, size);
    Text once = {.arena = c->arena}, twice = {.arena = c->arena};
    bool formatted = format_source(&c->sources.file.at[source], &once);
    expect(run, formatted, "a text that parses is not formatted", path);
    if (!formatted) return;
    file = sources_add(&c->sources, path, once.at ? once.at : "", once.length);
    Node *tree = parse_file(c->arena, c->names, &c->sources, c->d, file);
    expect(run, tree && strcmp(tree_text(c, tree), printed) == 0, "formatting changed the tree", path);
    formatted = format_source(&c->sources.file.at[file], &twice);
    expect(run, formatted && twice.length == once.length && (!once.at || memcmp(once.at, twice.at, once.length) == 0),
           "formatting twice is not formatting once", path);
    expect(run, !strstr(once.at ? once.at : "", " \n"), "a formatted line ends in a space", path);
}

static void check_file(Run *run, const char *path) {
    size_t size;
    char *text = read_whole(path, &size);
    if (!text) {
        expect(run, false, strerror(errno), path);
        return;
    }
    Compiled c;
    compile_text(&c, path, text, size);
    bool must_parse = strstr(path, "/stdlib/") || strstr(path, "/examples/") || strstr(path, "/syntax/good/");
    if (!c.tree && must_parse) {
        diagnostics_print(c.d, stdout, false);
        expect(run, false, "does not parse", path);
    }
    if (c.tree) check_round_trips(run, path, &c, text, size);
    if (c.tree && strstr(path, "/syntax/good/")) {
        char golden[4096];
        int stem = (int)(strlen(path) - strlen(".stm"));
        snprintf(golden, sizeof golden, "%.*s.tree", stem, path);
        compare_golden(run, golden, tree_text(&c, c.tree));
        Text out = {.arena = c.arena};
        format_source(&c.sources.file.at[0], &out);
        snprintf(golden, sizeof golden, "%.*s.fmt", stem, path);
        compare_golden(run, golden, out.at);
    }
    arena_free(c.arena);
    free(text);
}

static int visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int walk(Run *run, const char *folder) {
    struct dirent **entry;
    int count = scandir(folder, &entry, visible, alphasort), files = 0;
    for (int i = 0; i < count; i++) {
        char path[4096];
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
        if (stat(path, &about) == 0 && S_ISDIR(about.st_mode)) {
            files += walk(run, path);
        } else if (ends_with(path, ".stm")) {
            check_file(run, path);
            files++;
        }
        free(entry[i]);
    }
    if (count >= 0) free(entry);
    return files;
}

// ---- messages

static void check_errors(Run *run, const char *path) {
    size_t size;
    char *text = read_whole(path, &size);
    if (!text) {
        expect(run, false, strerror(errno), path);
        return;
    }
    Arena *arena = arena_new();
    Text anew = {.arena = arena};
    int cases = 0;
    const char *at = strstr(text, "==== ");
    if (at) text_add_bytes(&anew, text, (size_t)(at - text));
    while (at) {
        const char *title_end = strchr(at, '\n');
        const char *divider = title_end ? strstr(title_end, "\n----\n") : NULL;
        if (!divider) {
            expect(run, false, "a case without ----", path);
            break;
        }
        const char *source = title_end + 1, *expected = divider + 6;
        const char *next = strstr(expected - 1, "\n==== ");
        size_t source_size = divider + 1 > source ? (size_t)(divider + 1 - source) : 0;
        size_t expected_size = next ? (size_t)(next + 1 - expected) : strlen(expected);
        char *title = arena_format(arena, "errors.txt: %.*s", (int)(title_end - at - 5), at + 5);
        Compiled c;
        compile_text(&c, "x.stm", source, source_size);
        char *messages = messages_of(&c, false);
        bool same = messages && strlen(messages) == expected_size && memcmp(messages, expected, expected_size) == 0;
        if (!same && !run->update) printf("expected:\n%.*sfound:\n%s", (int)expected_size, expected, messages);
        expect(run, same || run->update, "other messages", title);
        expect(run, c.tree == NULL, "a wrong file was accepted", title);
        text_add_bytes(&anew, at, (size_t)(expected - at));
        text_add(&anew, "%s", messages ? messages : "");
        free(messages);
        arena_free(c.arena);
        cases++;
        at = next ? next + 1 : NULL;
    }
    expect(run, cases > 0, "no cases", path);
    if (run->update && anew.at) {
        FILE *to = fopen(path, "wb");
        if (to) {
            fputs(anew.at, to);
            fclose(to);
        }
    }
    arena_free(arena);
    free(text);
}

// Texts that do not fit into errors.txt, with a part of the message.
static void check_special(Run *run) {
    static const struct {
        const char *text;
        size_t size;
        const char *message;
    } cases[] = {
#define BYTES(text) text, sizeof text - 1
        {BYTES("axis a = 3\0\n"), "x.stm:1:11: error: a NUL byte in the text"},
        {BYTES("\0"), "x.stm:1:1: error: a NUL byte in the text"},
        {BYTES("# \xC3\x28\n"), "x.stm:1:3: error: the byte 0xC3 is not part of UTF-8 text"},
        {BYTES("model m \"\xED\xA0\x80\"\n"), "x.stm:1:10: error: the byte 0xED is not part of UTF-8 text"},
        {BYTES("axis \xCE\xBB = 3\n"), "x.stm:1:6: error: unexpected character `\xCE\xBB`"},
        {BYTES("axis a = 3 \"open"), "x.stm:1:12: error: the string is not closed on its line"},
        {BYTES("axis a = 3 \"open\\"), "x.stm:1:12: error: the string is not closed on its line"},
        {BYTES("axis a = \x1B[31m\n"), "unexpected character `\\x1B`"},
        {BYTES("axis a = 3 \xE2\x80\xAE\n"), "unexpected character `\\u{202E}`"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Compiled c;
        compile_text(&c, "x.stm", cases[i].text, cases[i].size);
        char *messages = messages_of(&c, false);
        bool good = messages && strstr(messages, cases[i].message) && !c.tree;
        if (!good) printf("%s", messages);
        expect(run, good, cases[i].message, "special");
        free(messages);
        arena_free(c.arena);
    }
    static const struct {
        const char *text;
        size_t size;
    } fine[] = {
        {BYTES("")},
        {BYTES("\n\n")},
        {BYTES("# only a comment")},
        {BYTES("\xEF\xBB\xBF"
               "axis a = 3")},
        {BYTES("axis a = 3\r\naxis b = 4\r\n")},
        {BYTES("axis a = 3 \"\xE2\x88\x9E\"")},
        {BYTES("axis a=3")},
    };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        Compiled c;
        compile_text(&c, "x.stm", fine[i].text, fine[i].size);
        expect(run, c.tree != NULL, "a good text was refused", fine[i].text);
        if (c.tree) check_round_trips(run, "fine", &c, fine[i].text, fine[i].size);
        arena_free(c.arena);
    }
#undef BYTES
}

// Trees that are no trees are refused with a message.
static void check_tree_reader(Run *run) {
    static const char *const bad[] = {"",
                                      "-\n",
                                      "file\nfile\n",
                                      "file\n    name name=a\n",
                                      "file\n name name=a\n",
                                      "file\n  nothing\n",
                                      "file\n  string text=\"a\n",
                                      "file\n  number number=x\n",
                                      "file\n  name colour=3\n",
                                      "file\n  -\n    name name=a\n",
                                      "file\n  - -\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Compiled c;
        compiled_start(&c);
        int file = sources_add(&c.sources, "x.tree", bad[i], strlen(bad[i]));
        Node *tree = tree_read(c.arena, c.names, c.d, file);
        expect(run, !tree && diagnostics_count(c.d) == 1, "a wrong tree was read", bad[i]);
        arena_free(c.arena);
    }
}

int main(int count, char **argument) {
    if (count < 2) {
        fprintf(stderr, "usage: test_syntax REPOSITORY [--update]\n");
        return 2;
    }
    Run run = {.root = argument[1], .update = count > 2 && strcmp(argument[2], "--update") == 0};
    char path[4096];
    int files = 0;
    static const char *const folders[] = {"stdlib", "examples", "tests"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s/%s", run.root, folders[i]);
        files += walk(&run, path);
    }
    expect(&run, files > 0, "no .stm files were found", run.root);
    snprintf(path, sizeof path, "%s/tests/language/syntax/errors.txt", run.root);
    check_errors(&run, path);
    check_special(&run);
    check_tree_reader(&run);
    printf("%d passed, %d failed\n", run.passed, run.failed);
    return run.failed != 0;
}
