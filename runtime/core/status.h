// status: the error value of the runtime. Every runtime function that can fail returns a Status; nobody below
// main() prints or exits. A Status is one pointer: NULL (STATUS_OK) is success, anything else owns a code and
// a message. Each level adds what it was doing, so the final message reads from the outside in:
//     "prepare: section C5: images/C5.jpg: the JPEG data ends early (row 812 of 9901); copy the file again"
//
// Ownership: whoever receives a non-OK Status must return it, join it or drop it. Threads: a Status value may
// be handed to another thread but is not shared. Making one never fails: if memory is gone, a constant Status
// that says so is returned instead.
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#if defined(__GNUC__) || defined(__clang__)
#define MUST_USE                                  __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))
#else
#define MUST_USE
#define PRINTF_LIKE(format_index, first_argument)
#endif

// The codes mean the same everywhere.
typedef enum StatusCode {
    STATUS_CODE_OK = 0,
    STATUS_INVALID,     // the caller or the user gave something that cannot be meant (flag, argument, value)
    STATUS_NOT_FOUND,   // a file, object, key or name that must exist does not
    STATUS_MALFORMED,   // the content of a file breaks its format or its promises; includes truncated files
    STATUS_MISMATCH,    // two well-formed things do not belong together (store of another spec, other shapes)
    STATUS_UNSUPPORTED, // well-formed, but this program does not do it; the message says what it does
    STATUS_IO,          // the operating system refused: permission, disk full, read error
    STATUS_NO_MEMORY,   // memory ran out, or a size was refused before allocating
    STATUS_CANCELLED,   // stopped on request (signal, callback)
    STATUS_INTERNAL,    // a broken invariant: a bug in the runtime
} StatusCode;

typedef struct StatusBody *Status;

#define STATUS_OK ((Status)0)

// A new error. `format` is a full sentence fragment without a final newline.
MUST_USE Status status_make(StatusCode code, const char *format, ...) PRINTF_LIKE(2, 3);
MUST_USE Status status_makev(StatusCode code, const char *format, va_list arguments);

// As status_make, with the text of an errno value appended ("…: No space left on device"). ENOENT gives
// STATUS_NOT_FOUND, ENOMEM gives STATUS_NO_MEMORY, everything else STATUS_IO.
MUST_USE Status status_errno(int error_number, const char *format, ...) PRINTF_LIKE(2, 3);

// Puts "<context>: " in front of the message of `status`, which it consumes. OK stays OK.
MUST_USE Status status_context(Status status, const char *format, ...) PRINTF_LIKE(2, 3);

// Keeps the first error and appends the message of a later one ("…; also: …"). Consumes both. Use it when
// clean-up fails as well.
MUST_USE Status status_join(Status first, Status second);

StatusCode status_code(Status status);
const char *status_code_name(StatusCode code); // "malformed", …; never NULL
int status_exit_code(Status status);           // of a program: 0 well, 1 the input, 3 the environment, 70 a bug here
const char *status_message(Status status);     // "" for OK; lives as long as `status`

// Ends the life of a Status whose error has been dealt with. OK may be dropped.
void status_drop(Status status);

// TRY(expr): returns from the caller if expr fails.
// TRY_IN(expr, "doing %s", x): the same, with context added.
// TRY_OR(status, label, expr): stores the Status in `status` and jumps to `label` if expr fails.
#define TRY(expression)                                                                                                \
    do {                                                                                                               \
        Status try_status_ = (expression);                                                                             \
        if (try_status_ != STATUS_OK) return try_status_;                                                              \
    } while (0)

#define TRY_IN(expression, ...)                                                                                        \
    do {                                                                                                               \
        Status try_status_ = (expression);                                                                             \
        if (try_status_ != STATUS_OK) return status_context(try_status_, __VA_ARGS__);                                 \
    } while (0)

#define TRY_OR(status, label, expression)                                                                              \
    do {                                                                                                               \
        (status) = (expression);                                                                                       \
        if ((status) != STATUS_OK) goto label;                                                                         \
    } while (0)
