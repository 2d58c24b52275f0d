// The end of stmc when an invariant of its own is broken. This is the only exit below main.
#include "base/base.h"

#include <stdlib.h>

void die(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "stmc: internal error at %s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nstmc: this is a bug in stmc, not in the specification; please report it with the .stm file\n");
    va_end(arguments);
    fflush(NULL);
    exit(70);
}
