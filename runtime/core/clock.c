// clock: see clock.h.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // clock_gettime under -std=c17
#endif

#include "clock.h"

#include <time.h>

int64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

double clock_seconds(void) {
    return (double)clock_ns() * 1e-9;
}

double wall_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
