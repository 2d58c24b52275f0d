// clock: monotonic time for measuring, wall time for labels.
#pragma once

#include <stdint.h>

int64_t clock_ns(void);     // monotonic, nanoseconds since some fixed moment
double clock_seconds(void); // the same in seconds
double wall_seconds(void);  // since 1970-01-01 UTC
