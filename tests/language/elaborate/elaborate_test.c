// What elaboration makes of a spec, as text: elaborate_test STDLIB FILE.stm …
//
// Each FILE.stm is elaborated; its equations, before any other pass, must be those of FILE.equations and satisfy the
// verifier. UPDATE=1 in the environment writes the files anew; read the difference before keeping it. The first lines
// of FILE.stm may give options: `# -D name=value`.
#include "elaborate/elaborate.h"
#include "syntax/syntax.h"

#include <stdlib.h>
#include <string.h>

static int passed, failed;

static void fail(const char *path, const char *what) {
    failed++;
    printf("FAILED: %s: %s\n", path, what);
}

// Shows the first line in which two texts differ.
static void show_difference(const char *seen, const char *wanted) {
    int line = 1;
    while (*seen && *seen == *wanted) {
        if (*seen == '\n') line++;
        seen++, wanted++;
    }
    printf("    line %d, from where they differ\n    seen:     %.*s\n    expected: %.*s\n", line,
           (int)strcspn(seen, "\n"), seen, (int)strcspn(wanted, "\n"), wanted);
}

static int read_defines(Arena *arena, const char *text, Define *define, int most) {
    int n = 0;
    while (n < most && strncmp(text, "# -D ", 5) == 0) {
        size_t length = strcspn(text, "\n");
        char *copy = arena_format(arena, "%.*s", (int)length - 5, text + 5), *equal = strchr(copy, '=');
        if (!equal) break;
        *equal = 0;
        define[n++] = (Define){copy, equal + 1, false};
        text += length;
        if (*text) text++;
    }
    return n;
}

static void check_file(const char *stdlib, const char *path, bool update) {
    Arena *arena = arena_new();
    Names *names = names_new(arena);
    Sources sources = {.arena = arena};
    Diagnostics *d = diagnostics_new(arena, &sources);
    int file = sources_read(&sources, path);
    if (file < 0) {
        fail(path, "cannot be read");
        goto done;
    }
    Define define[8];
    ElaborateOptions options = {.stdlib = stdlib, .define = define, .parse = parse_file};
    options.defines = read_defines(arena, sources.file.at[file].text, define, 8);
    Node *tree = parse_file(arena, names, &sources, d, file);
    Program *p = tree ? elaborate(arena, names, &sources, d, tree, &options) : NULL;
    if (!p) {
        fail(path, "is refused");
        diagnostics_print(d, stdout, false);
        goto done;
    }
    const char *broken = program_verify(p);
    if (broken) {
        fail(path, broken);
        goto done;
    }
    Text text = {.arena = arena};
    program_print(p, &text);
    const char *golden = arena_format(arena, "%.*s.equations", (int)(strlen(path) - strlen(".stm")), path);
    if (update) {
        FILE *f = fopen(golden, "wb");
        if (!f || fwrite(text.at, 1, text.length, f) != text.length || fclose(f)) fail(golden, "cannot be written");
    }
    int wanted = sources_read(&sources, golden);
    if (wanted < 0) {
        fail(golden, "is missing; run with UPDATE=1 and read it");
    } else if (strcmp(sources.file.at[wanted].text, text.at) != 0) {
        fail(path, "the equations differ");
        show_difference(text.at, sources.file.at[wanted].text);
    } else {
        passed++;
    }
done:
    arena_free(arena);
}

int main(int count, char **argument) {
    if (count < 3) {
        fprintf(stderr, "usage: elaborate_test STDLIB FILE.stm ...\n");
        return 2;
    }
    for (int i = 2; i < count; i++) check_file(argument[1], argument[i], getenv("UPDATE") != NULL);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
