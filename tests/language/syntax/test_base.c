// The base room: arenas, names, text, places in sources, the two forms of messages.
#include "base/base.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Run {
    int passed, failed;
} Run;

static void expect(Run *run, bool good, const char *what) {
    if (good) {
        run->passed++;
    } else {
        run->failed++;
        printf("FAILED: %s\n", what);
    }
}

static void test_arena(Run *run) {
    Arena *arena = arena_new();
    bool zero = true, aligned = true;
    size_t asked = 0;
    for (size_t i = 0; i < 3000; i++) {
        size_t bytes = i * 37 % 5000 + (i % 500 == 0 ? 700000 : 0);
        unsigned char *at = arena_alloc(arena, bytes);
        aligned = aligned && (uintptr_t)at % _Alignof(max_align_t) == 0;
        for (size_t k = 0; k < bytes; k++) zero = zero && at[k] == 0;
        memset(at, 0xA5, bytes);
        asked += bytes;
    }
    expect(run, zero, "arena memory is zero and not shared");
    expect(run, aligned, "arena memory is aligned");
    expect(run, arena_used(arena) >= asked && arena_used(arena) < asked + 3000 * 2 * sizeof(max_align_t),
           "arena_used counts");
    char *text = arena_format(arena, "%s %d", "layer", 12);
    expect(run, strcmp(text, "layer 12") == 0, "arena_format");
    VEC(int) v = {0};
    for (int i = 0; i < 10000; i++) vec_push(arena, &v, i * 3);
    bool kept = v.count == 10000 && vec_last(&v) == 29997;
    for (int i = 0; i < v.count; i++) kept = kept && v.at[i] == i * 3;
    expect(run, kept, "a vector keeps what was pushed");
    arena_free(arena);
}

static void test_names(Run *run) {
    Arena *arena = arena_new();
    Names *names = names_new(arena);
    enum { MANY = 20000 };
    const char **first = NEW_ARRAY(arena, const char *, MANY);
    char word[32];
    for (int i = 0; i < MANY; i++) {
        snprintf(word, sizeof word, "name_%d", i);
        first[i] = intern_z(names, word);
    }
    bool same = true, text = true;
    for (int i = 0; i < MANY; i++) {
        snprintf(word, sizeof word, "name_%d", i);
        same = same && intern(names, word, strlen(word)) == first[i];
        text = text && strcmp(first[i], word) == 0;
    }
    expect(run, same, "equal names are equal pointers");
    expect(run, text, "a name keeps its text");
    expect(run, intern(names, "name_1x", 6) == first[1], "a name is as long as its length says");
    expect(run, intern_z(names, "") == intern(names, "x", 0), "the empty name");
    arena_free(arena);
}

static void test_text(Run *run) {
    Arena *arena = arena_new();
    static const struct {
        double value;
        const char *text;
    } reals[] = {{0, "0"},
                 {1, "1"},
                 {0.1, "0.1"},
                 {-2.5, "-2.5"},
                 {1e-3, "0.001"},
                 {1e300, "1e+300"},
                 {0.30000000000000004, "0.30000000000000004"},
                 {1.0 / 3, "0.3333333333333333"},
                 {5e-324, "5e-324"}};
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        Text text = {.arena = arena};
        text_real(&text, reals[i].value);
        expect(run, strcmp(text.at, reals[i].text) == 0, reals[i].text);
    }
    bool exact = true;
    uint64_t bits = 1;
    for (int i = 0; i < 20000; i++) {
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        double value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        char room[64];
        Text text = {.arena = arena};
        text_real(&text, value);
        snprintf(room, sizeof room, "%s", text.at);
        exact = exact && strtod(room, NULL) == value;
    }
    expect(run, exact, "text_real reads back equal");
    Text text = {.arena = arena};
    text_quoted(&text, "a \"b\" \\ \n");
    expect(run, strcmp(text.at, "\"a \\\"b\\\" \\\\ \\n\"") == 0, "text_quoted");
    text.length = 0;
    text_shown(&text, "a\0\x1B\xFF\xE2\x88\x9E\x7F\xE2\x80\xAE", 11);
    expect(run, strcmp(text.at, "a\\x00\\x1B\\xFF\xE2\x88\x9E\\x7F\\u{202E}") == 0, "text_shown");
    uint32_t c;
    expect(run, utf8_decode("\xC0\x80", 2, &c) == 0, "overlong UTF-8");
    expect(run, utf8_decode("\xED\xA0\x80", 3, &c) == 0, "a surrogate");
    expect(run, utf8_decode("\xF4\x90\x80\x80", 4, &c) == 0, "beyond Unicode");
    expect(run, utf8_decode("\xE2\x88", 2, &c) == 0, "a truncated sequence");
    expect(run, utf8_decode("\xF0\x9F\x98\x80", 4, &c) == 4 && c == 0x1F600, "four bytes");
    arena_free(arena);
}

static void test_sources(Run *run) {
    Arena *arena = arena_new();
    Sources sources = {.arena = arena};
    int file = sources_add(&sources, "a.stm", "ab\n\xE6\x97\xA5x\n", 8);
    int line, column;
    static const struct {
        int32_t byte;
        int line, column;
    } places[] = {{0, 1, 1}, {2, 1, 3}, {3, 2, 1}, {6, 2, 2}, {7, 2, 3}, {8, 3, 1}, {99, 3, 1}, {-5, 1, 1}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        sources_place(&sources, (Span){file, places[i].byte, places[i].byte}, &line, &column);
        expect(run, line == places[i].line && column == places[i].column, "sources_place");
    }
    errno = 0;
    expect(run, sources_read(&sources, "/nonexistent/a.stm") == -1 && errno == ENOENT, "a missing file");
    errno = 0;
    expect(run, sources_read(&sources, "/") == -1 && errno == EISDIR, "a folder is no source");
    expect(run, sources_read(&sources, "/dev/null") == 1 && sources.file.at[1].size == 0, "an empty file");
    arena_free(arena);
}

static char *printed(const Diagnostics *d, bool json) {
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (!to) return NULL;
    diagnostics_print(d, to, json);
    fclose(to);
    return text;
}

static void expect_text(Run *run, const Diagnostics *d, bool json, const char *wanted, const char *what) {
    char *text = printed(d, json);
    bool same = text && strcmp(text, wanted) == 0;
    if (!same) printf("expected:\n%s\nfound:\n%s\n", wanted, text);
    expect(run, same, what);
    free(text);
}

static void test_messages(Run *run) {
    Arena *arena = arena_new();
    Sources sources = {.arena = arena};
    int file = sources_add(&sources, "m.stm", "axis gene = 3\n\ty = \xE6\x97\xA5\xFF  + gene\r\n", 33);
    Diagnostics *d = diagnostics_new(arena, &sources);
    expect_text(run, d, false, "", "no messages");
    expect_text(run, d, true, "{\"errors\":0,\"messages\":[]}\n", "no messages in JSON");
    report_error(d, (Span){file, 27, 31}, "axis-mismatch", "axis %s does not agree with \"%s\"", "gene", "spot");
    report_note(d, (Span){file, 5, 9}, "declared here");
    report_note(d, NO_SPAN, "it has %d rows", 3);
    report_help(d, "give both one name");
    expect_text(run, d, false,
                "m.stm:2:12: error: axis gene does not agree with \"spot\" [axis-mismatch]\n"
                "     2 |     y = \xE6\x97\xA5\\xFF  + gene\n"
                "       |                   ^~~~\n"
                "m.stm:1:6: note: declared here\n"
                "     1 | axis gene = 3\n"
                "       |      ^~~~\n"
                "note: it has 3 rows\n"
                "help: give both one name\n",
                "a message with notes and help");
    expect_text(run, d, true,
                "{\"errors\":1,\"messages\":[\n"
                "{\"severity\":\"error\",\"file\":\"m.stm\",\"line\":2,\"column\":12,\"end_line\":2,\"end_column\":"
                "16,"
                "\"code\":\"axis-mismatch\",\"message\":\"axis gene does not agree with \\\"spot\\\"\",\"notes\":["
                "{\"file\":\"m.stm\",\"line\":1,\"column\":6,\"end_line\":1,\"end_column\":10,\"message\":\"declared "
                "here\"},"
                "{\"file\":null,\"message\":\"it has 3 rows\"}],\"help\":\"give both one name\"}]}\n",
                "the same in JSON");

    Diagnostics *places = diagnostics_new(arena, &sources);
    report_error(places, NO_SPAN, "no-file", "cannot read x.stm");
    report_error(places, (Span){file, 0, 20}, "long", "over two lines");
    report_error(places, (Span){file, 1000, 2000}, "beyond", "behind the end");
    expect_text(run, places, false,
                "stmc: error: cannot read x.stm [no-file]\n"
                "m.stm:1:1: error: over two lines [long]\n"
                "     1 | axis gene = 3\n"
                "       | ^~~~~~~~~~~~~\n"
                "m.stm:3:1: error: behind the end [beyond]\n"
                "     3 | \n"
                "       | ^\n",
                "messages at odd places");

    Diagnostics *many = diagnostics_new(arena, &sources);
    for (int i = 0; i < 25; i++) {
        report_error(many, NO_SPAN, "n", "error %d", i);
        if (i >= 20) report_help(many, "lost with its error");
    }
    char *text = printed(many, false);
    expect(run, diagnostics_count(many) == 25, "all errors are counted");
    expect(run, text && strstr(text, "error 19 [n]\n25 errors; the first 20 are shown\n") && !strstr(text, "lost"),
           "the cap");
    free(text);
    arena_free(arena);
}

int main(void) {
    Run run = {0};
    test_arena(&run);
    test_names(&run);
    test_text(&run);
    test_sources(&run);
    test_messages(&run);
    printf("%d passed, %d failed\n", run.passed, run.failed);
    return run.failed != 0;
}
