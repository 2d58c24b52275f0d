// check_status: checks on Status values of the runtime. CHECK_OK and CHECK_FAILS consume the Status.
#pragma once

#include "../runtime/core/status.h"
#include "check.h"

static inline int check_ok(Status status, const char *file, int line, const char *text) {
    int ok = check_that(status == STATUS_OK, file, line, text);
    if (!ok) printf("    error: %s\n", status_message(status));
    status_drop(status);
    return ok;
}

#define CHECK_OK(expression) check_ok((expression), __FILE__, __LINE__, #expression)

static inline int check_fails(Status status, StatusCode code, const char *part, const char *file, int line,
                              const char *text) {
    int ok = status_code(status) == code && strstr(status_message(status), part) != NULL;
    check_that(ok, file, line, text);
    if (!ok)
        printf("    seen: [%s] %s\n    expected: [%s] ... %s ...\n", status_code_name(status_code(status)),
               status_message(status), status_code_name(code), part);
    else if (getenv("CHECK_VERBOSE")) printf("    %s\n", status_message(status));
    status_drop(status);
    return ok;
}

// The expression must fail with this code, and the message must contain `part`.
#define CHECK_FAILS(expression, code, part) check_fails((expression), (code), (part), __FILE__, __LINE__, #expression)
