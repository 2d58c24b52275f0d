// Golden texts: NAME.in.txt is read, differentiated and simplified, and must print NAME.out.txt, letter for letter.
//   equations_golden_test [DIRECTORY] [--write]      --write replaces the .out.txt by what is printed now
#include "pass/pass.h"
#include "pass_harness.h"

static const char *const names[] = {"attention", "resnet", "precision"};

static void test_golden(Checks *c, const char *directory, const char *name, bool write) {
    Arena *arena = arena_new();
    const char *in = arena_format(arena, "%s/%s.in.txt", directory, name);
    const char *out = arena_format(arena, "%s/%s.out.txt", directory, name);
    char *text = file_text(arena, in);
    if (check(c, text != NULL, "%s cannot be read", in)) {
        Sources sources = {.arena = arena};
        Program *p = program_from(c, arena, names_new(arena), name, text);
        if (p != NULL) {
            Job *job = p->job.at[0];
            check(c, differentiate(p, job, diagnostics_new(arena, &sources)), "%s cannot be differentiated", name);
            const char *wrong = program_verify(p);
            check(c, wrong == NULL, "%s: %s", name, wrong != NULL ? wrong : "");
            simplify(p, job);
            wrong = program_verify(p);
            check(c, wrong == NULL, "%s: %s", name, wrong != NULL ? wrong : "");
            const char *printed = print_program(arena, p), *want = file_text(arena, out);
            if (write) {
                FILE *f = fopen(out, "wb");
                check(c, f != NULL && fputs(printed, f) >= 0 && fclose(f) == 0, "%s cannot be written", out);
            } else {
                check(c, want != NULL && strcmp(want, printed) == 0, "%s differs from what is printed now:\n%s", out,
                      printed);
            }
        }
    }
    arena_free(arena);
}

int main(int argc, char **argv) {
    Checks c = {0};
    const char *directory = "tests/passes/golden";
    bool write = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--write") == 0) write = true;
        else directory = argv[i];
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) test_golden(&c, directory, names[i], write);
    return checks_end(&c);
}
