// Broken specifications against the front end: fuzz_syntax MUTANTS FILE.stm …   (build it with the
// sanitizers)
//
// Whatever the bytes, the parser ends; it reports an error or gives a tree, never both or neither. A tree
// survives printing and reading, and formatting neither changes it nor, done twice, the text.
#include "mutate_spec.h"

#include "syntax/syntax.h"

#include <stdlib.h>
#include <string.h>

typedef struct Run {
    const char *file;
    int passed, failed, parsed;
    FILE *nowhere;
    const char *meaning; // the tree that the text must have, or NULL
} Run;

static void fail(Run *run, const char *name, const char *what, const char *text, size_t size) {
    run->failed++;
    printf("FAILED: %s: %s: %s\n", run->file, name, what);
    if (size < 4000) printf("%.*s\n", (int)size, text);
}

static const char *printed(Arena *arena, const Node *tree) {
    Text out = {.arena = arena};
    tree_print(tree, &out);
    return out.at;
}

static const char *wrong(Run *run, Arena *arena, const char *text, size_t size) {
    Names *names = names_new(arena);
    Sources sources = {.arena = arena};
    Diagnostics *d = diagnostics_new(arena, &sources);
    int file = sources_add(&sources, "mutant.stm", text, size);
    Node *tree = parse_file(arena, names, &sources, d, file);
    Text once = {.arena = arena}, twice = {.arena = arena};
    if (!tree && run->meaning) return "the layout made it wrong";
    if (!tree) {
        if (diagnostics_count(d) == 0) return "no tree and no error";
        diagnostics_print(d, run->nowhere, false);
        diagnostics_print(d, run->nowhere, true);
        return format_source(&sources.file.at[file], &once) ? "formatted although it does not parse" : NULL;
    }
    run->parsed++;
    if (diagnostics_count(d)) return "a tree and an error";
    const char *first = printed(arena, tree);
    if (run->meaning && strcmp(first, run->meaning) != 0) return "the layout changed the tree";

    int printed_file = sources_add(&sources, "tree", first, strlen(first));
    Node *again = tree_read(arena, names, d, printed_file);
    if (!again || strcmp(printed(arena, again), first) != 0) return "print, read, print gives another tree";

    if (!format_source(&sources.file.at[file], &once)) return "parses and is not formatted";
    int formatted = sources_add(&sources, "formatted.stm", once.at ? once.at : "", once.length);
    Node *same = parse_file(arena, names, &sources, d, formatted);
    if (!same || strcmp(printed(arena, same), first) != 0) return "formatting changed the tree";
    if (!format_source(&sources.file.at[formatted], &twice)) return "formatted text is not formatted";
    if (twice.length != once.length || (once.length && memcmp(once.at, twice.at, once.length) != 0))
        return "formatting twice is not formatting once";
    return NULL;
}

static void check(void *context, const char *name, const char *text, size_t size) {
    Run *run = context;
    Arena *arena = arena_new();
    const char *what = wrong(run, arena, text, size);
    arena_free(arena);
    if (what) {
        fail(run, name, what, text, size);
    } else {
        run->passed++;
    }
}

int main(int count, char **argument) {
    if (count < 3) {
        fprintf(stderr, "usage: fuzz_syntax MUTANTS FILE.stm ...\n");
        return 2;
    }
    Run run = {.nowhere = fopen("/dev/null", "w")};
    if (!run.nowhere) {
        perror("/dev/null");
        return 2;
    }
    run.file = "extremes";
    extreme_specs(10000, check, &run);
    extreme_specs(900, check, &run); // deep, and allowed
    for (int i = 2; i < count; i++) {
        Arena *arena = arena_new();
        Sources sources = {.arena = arena};
        int file = sources_read(&sources, argument[i]);
        if (file < 0) {
            perror(argument[i]);
            return 2;
        }
        run.file = argument[i];
        mutate_spec(sources.file.at[file].text, (size_t)sources.file.at[file].size, (uint64_t)i, atoi(argument[1]),
                    check, &run);
        Diagnostics *d = diagnostics_new(arena, &sources);
        Node *tree = parse_file(arena, names_new(arena), &sources, d, file);
        if (!tree) {
            diagnostics_print(d, stderr, false);
            return 2;
        }
        run.meaning = printed(arena, tree);
        relayout_spec(sources.file.at[file].text, (size_t)sources.file.at[file].size, (uint64_t)i,
                      atoi(argument[1]) / 4, check, &run);
        run.meaning = NULL;
        arena_free(arena);
    }
    fclose(run.nowhere);
    printf("%d of the texts parse\n", run.parsed);
    printf("%d passed, %d failed\n", run.passed, run.failed);
    return run.failed != 0;
}
