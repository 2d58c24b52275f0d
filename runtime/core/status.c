// status: see status.h. The body is one heap block; context is put in front by building a new block, which is
// slow and does not matter, because errors are rare and end the work.
#if !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L // strerror_r
#endif

#include "status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct StatusBody {
    StatusCode code;
    bool constant; // never freed, never changed: stands in when memory for a message is gone
    const char *message;
    char text[];
};

static const struct StatusBody out_of_memory = {
    .code = STATUS_NO_MEMORY,
    .constant = true,
    .message = "memory ran out (and no memory was left to describe where)",
};

static Status constant_out_of_memory(void) {
    // The cast drops const; `constant` keeps every function here from writing to or freeing it.
    return (Status)(size_t)&out_of_memory;
}

static Status body_new(StatusCode code, size_t length) {
    struct StatusBody *body = malloc(sizeof *body + length + 1);
    if (!body) return constant_out_of_memory();
    body->code = code;
    body->constant = false;
    body->message = body->text;
    body->text[0] = '\0';
    return body;
}

Status status_makev(StatusCode code, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) length = 0;
    Status status = body_new(code, (size_t)length);
    if (!status->constant) vsnprintf(status->text, (size_t)length + 1, format, again);
    va_end(again);
    return status;
}

Status status_make(StatusCode code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    Status status = status_makev(code, format, arguments);
    va_end(arguments);
    return status;
}

// A new body "<a><separator><b>".
static Status concatenate(StatusCode code, const char *a, const char *separator, const char *b) {
    size_t na = strlen(a), ns = strlen(separator), nb = strlen(b);
    Status status = body_new(code, na + ns + nb);
    if (status->constant) return status;
    memcpy(status->text, a, na);
    memcpy(status->text + na, separator, ns);
    memcpy(status->text + na + ns, b, nb + 1);
    return status;
}

Status status_errno(int error_number, const char *format, ...) {
    StatusCode code = STATUS_IO;
    if (error_number == ENOENT || error_number == ENOTDIR) code = STATUS_NOT_FOUND;
    if (error_number == ENOMEM) code = STATUS_NO_MEMORY;
    va_list arguments;
    va_start(arguments, format);
    Status what = status_makev(code, format, arguments);
    va_end(arguments);
    if (what->constant) return what;
    char buffer[128];
    // strerror_r has two incompatible forms; which one this is depends on the C library, so both are served.
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    const char *why = strerror_r(error_number, buffer, sizeof buffer);
#else
    const char *why = strerror_r(error_number, buffer, sizeof buffer) == 0 ? buffer : "unknown system error";
#endif
    Status status = concatenate(code, what->message, ": ", why);
    status_drop(what);
    return status;
}

Status status_context(Status status, const char *format, ...) {
    if (status == STATUS_OK) return STATUS_OK;
    va_list arguments;
    va_start(arguments, format);
    Status context = status_makev(status->code, format, arguments);
    va_end(arguments);
    if (context->constant) return status;
    Status joined = concatenate(status->code, context->message, ": ", status->message);
    status_drop(context);
    if (joined->constant) return status;
    status_drop(status);
    return joined;
}

Status status_join(Status first, Status second) {
    if (first == STATUS_OK) return second;
    if (second == STATUS_OK) return first;
    Status joined = concatenate(first->code, first->message, "; also: ", second->message);
    status_drop(second);
    if (joined->constant) return first;
    status_drop(first);
    return joined;
}

StatusCode status_code(Status status) {
    return status ? status->code : STATUS_CODE_OK;
}

int status_exit_code(Status status) {
    switch (status_code(status)) {
    case STATUS_CODE_OK: return 0;
    case STATUS_IO:
    case STATUS_NO_MEMORY: return 3;
    case STATUS_INTERNAL: return 70;
    default: return 1;
    }
}

const char *status_code_name(StatusCode code) {
    switch (code) {
    case STATUS_CODE_OK: return "ok";
    case STATUS_INVALID: return "invalid";
    case STATUS_NOT_FOUND: return "not found";
    case STATUS_MALFORMED: return "malformed";
    case STATUS_MISMATCH: return "mismatch";
    case STATUS_UNSUPPORTED: return "unsupported";
    case STATUS_IO: return "io";
    case STATUS_NO_MEMORY: return "no memory";
    case STATUS_CANCELLED: return "cancelled";
    case STATUS_INTERNAL: return "internal";
    }
    return "unknown";
}

const char *status_message(Status status) {
    return status ? status->message : "";
}

void status_drop(Status status) {
    if (status && !status->constant) free(status);
}
