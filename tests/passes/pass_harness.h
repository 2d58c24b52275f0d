// What the tests of passes share: counting checks, programs from text, and a small deterministic random stream.
#ifndef STMC_PASS_HARNESS_H
#define STMC_PASS_HARNESS_H

#include "base/base.h"
#include "forms/equations.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Checks {
    int passed, failed;
} Checks;

__attribute__((format(printf, 3, 4), unused)) static bool check(Checks *c, bool holds, const char *format, ...) {
    if (holds) {
        c->passed++;
        return true;
    }
    c->failed++;
    va_list list;
    va_start(list, format);
    printf("FAILED: ");
    vprintf(format, list);
    printf("\n");
    va_end(list);
    return false;
}

__attribute__((unused)) static int checks_end(const Checks *c) {
    printf("%d passed, %d failed\n", c->passed, c->failed);
    return c->failed > 0;
}

__attribute__((unused)) static const char *print_program(Arena *arena, const Program *p) {
    Text text = {.arena = arena};
    program_print(p, &text);
    text_add_bytes(&text, "", 1);
    return text.at;
}

// Reads, verifies and demands that printing and reading again changes nothing; NULL after a failed check.
__attribute__((unused)) static Program *program_from(Checks *c, Arena *arena, Names *names, const char *title,
                                                     const char *text) {
    char *error = NULL;
    Program *p = program_read(arena, names, text, strlen(text), &error);
    if (!check(c, p != NULL, "%s: %s\n%s", title, error != NULL ? error : "", text)) return NULL;
    const char *wrong = program_verify(p);
    if (!check(c, wrong == NULL, "%s: %s\n%s", title, wrong != NULL ? wrong : "", text)) return NULL;
    const char *once = print_program(arena, p);
    Program *again = program_read(arena, names, once, strlen(once), &error);
    if (!check(c, again != NULL, "%s: what was printed cannot be read: %s\n%s", title, error, once)) return NULL;
    const char *twice = print_program(arena, again);
    check(c, strcmp(once, twice) == 0, "%s: printing again differs:\n%s\n%s", title, once, twice);
    return p;
}

typedef struct Dice {
    uint64_t state;
} Dice;

__attribute__((unused)) static uint32_t dice_next(Dice *d) {
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = d->state ^ (d->state >> 33);
    return (uint32_t)((x * 0xFF51AFD7ED558CCDu) >> 32);
}
__attribute__((unused)) static int dice_below(Dice *d, int n) {
    return (int)(dice_next(d) % (uint32_t)n);
}
__attribute__((unused)) static double dice_real(Dice *d) {
    return dice_next(d) * 0x1p-32;
}

__attribute__((unused)) static char *file_text(Arena *arena, const char *path) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) return NULL;
    Text text = {.arena = arena};
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;) text_add_bytes(&text, block, n);
    fclose(f);
    text_add_bytes(&text, "", 1);
    return text.at;
}

#endif
