// library_faults: for tests that give damaged files to HDF5 under a sanitizer.
#pragma once

#include <string.h>
#include <unistd.h>

#include "sanitized.h"

enum { LIBRARY_FAULT = 77 }; // how such a child ends

#if SANITIZED
void __asan_set_error_report_callback(void (*callback)(const char *));

// A sanitizer also sees HDF5's calls of memcpy and malloc. Its report is HDF5's fault, which the guard is there for, if
// the first frame that is not the sanitizer's own belongs to HDF5; otherwise the child ends as the sanitizer wants.
// A report stands behind those before it.
static void library_faults_on_report(const char *report) {
    for (const char *error = report; (error = strstr(error, "ERROR: AddressSanitizer")) != NULL; error++)
        report = error;
    for (const char *frame = strstr(report, "    #"); frame; frame = strstr(frame + 1, "    #")) {
        const char *name = strstr(frame, " in "), *end = strchr(frame, '\n');
        if (!name || !end || name > end) break;
        if (strncmp(name, " in __interceptor", 17) == 0 || strncmp(name, " in __asan", 10) == 0) continue;
        if (strncmp(name, " in H5", 6) == 0) _exit(LIBRARY_FAULT);
        break;
    }
}
#endif

// From now on what HDF5 does in a guarded child ends that child quietly.
static inline void library_faults_excused(void) {
#if SANITIZED
    __asan_set_error_report_callback(library_faults_on_report);
#endif
}
