// check: counting checks for test programs. Include once per program.
//
//     int main(void) { CHECK(1 + 1 == 2); CHECK_OK(store_open(…)); CHECK_FAILS(…, STATUS_MALFORMED, "line
//     3"); return check_report("x"); }
//
// A failed check prints file, line and what was seen; the program goes on, and check_report returns 1.
#pragma once

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int checks_passed, checks_failed, checks_skipped;

static inline int check_that(int ok, const char *file, int line, const char *text) {
    if (ok) checks_passed++;
    else checks_failed++;
    if (!ok) printf("%s:%d: FAILED: %s\n", file, line, text);
    return ok;
}

#define CHECK(condition) check_that(!!(condition), __FILE__, __LINE__, #condition)

static inline int check_text(const char *seen, const char *expected, const char *file, int line) {
    int ok = seen && strcmp(seen, expected) == 0;
    check_that(ok, file, line, "texts are equal");
    if (!ok) printf("    seen:     %s\n    expected: %s\n", seen ? seen : "(null)", expected);
    return ok;
}

#define CHECK_TEXT(seen, expected) check_text((seen), (expected), __FILE__, __LINE__)

static inline int check_near(double seen, double expected, double tolerance, const char *file, int line) {
    int ok = fabs(seen - expected) <= tolerance;
    check_that(ok, file, line, "numbers agree");
    if (!ok) printf("    seen: %.17g expected: %.17g (tolerance %g)\n", seen, expected, tolerance);
    return ok;
}

#define CHECK_NEAR(seen, expected, tolerance) check_near((seen), (expected), (tolerance), __FILE__, __LINE__)

// Says loudly that something was not tested.
#define CHECK_SKIP(...) (checks_skipped++, printf("SKIPPED: " __VA_ARGS__), printf("\n"))

static inline int check_report(const char *name) {
    printf("%s: %d passed, %d failed", name, checks_passed, checks_failed);
    if (checks_skipped) printf(", %d skipped", checks_skipped);
    printf("\n");
    fflush(stdout); // a sanitizer that ends the program at exit must not swallow the summary
    return checks_failed > 0 || checks_passed == 0; // a program that checked nothing has not passed
}
