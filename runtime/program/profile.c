// profile: see profile.h.
#include "profile.h"

#include <stdio.h>
#include <stdlib.h>

static int by_time(const void *a, const void *b) {
    const ProfileRow *x = a, *y = b;
    return x->ns != y->ns ? (x->ns < y->ns ? 1 : -1) : 0;
}

Status profile_rows(const Machine *m, ProfileRow **out_rows, size_t *out_count) {
    const StmPlan *plan = m->plan;
    size_t rows = (size_t)plan->kernels + 2, count = 0;
    ProfileRow *row = calloc(rows, sizeof *row);
    *out_rows = row;
    *out_count = 0;
    if (!row) return status_make(STATUS_NO_MEMORY, "no memory for the profile");
    for (int j = 0; j < plan->jobs && m->profile; j++) {
        const StmJob *job = &plan->job[j];
        for (int s = 0; s < job->steps; s++) {
            const StmStep *step = &job->step[s];
            const StepTime *time = &m->state[j].time[s];
            if (!time->calls) continue;
            ProfileRow *r = &row[step->kind == STM_RUN ? step->kernel : plan->kernels + (step->kind == STM_COPY)];
            r->name = step->kind == STM_RUN    ? plan->kernel[step->kernel].name
                      : step->kind == STM_ZERO ? "(zero)"
                                               : "(copy)";
            if (!r->origin && step->origin) r->origin = step->origin;
            r->steps++;
            r->calls += time->calls;
            r->ns += time->ns;
            r->flops += time->flops;
            r->bytes += time->bytes;
        }
    }
    for (size_t i = 0; i < rows; i++)
        if (row[i].name) row[count++] = row[i];
    qsort(row, count, sizeof *row, by_time);
    *out_count = count;
    return STATUS_OK;
}

static void print_row(const ProfileRow *r, int64_t all, bool gpu, Text *text) {
    char origin[64];
    const char *place = r->origin ? r->origin : "-";
    if (r->steps > 1) snprintf(origin, sizeof origin, "%.22s (+%lld)", place, (long long)r->steps - 1);
    else snprintf(origin, sizeof origin, "%.30s", place);
    text_printf(text, "%-34.34s %-30s %9lld %10.2f %5.1f%% ", r->name, origin, (long long)r->calls, (double)r->ns / 1e6,
                all ? 100.0 * (double)r->ns / (double)all : 0.0);
    if (r->flops > 0 && r->ns > 0) text_printf(text, "%9.2f", r->flops / (double)r->ns);
    else text_printf(text, "%9s", "-");
    if (gpu)
        text_printf(text, " %9.1f %10.3f", r->ns > 0 ? r->bytes / (double)r->ns : 0.0,
                    r->bytes / (double)r->calls / 1e6);
    text_add(text, "\n");
}

Status profile_table(const Machine *m, Text *text) {
    ProfileRow *row = NULL;
    size_t rows = 0;
    TRY(profile_rows(m, &row, &rows));
    bool gpu = m->gpu != NULL;
    int64_t all = 0;
    for (size_t i = 0; i < rows; i++) all += row[i].ns;
    text_printf(text, "%-34s %-30s %9s %10s %6s %9s", "kernel", "origin", "calls", "ms", "share", "GFLOP/s");
    if (gpu) text_printf(text, " %9s %10s", "GB/s", "MB a call");
    text_add(text, "\n");
    for (size_t i = 0; i < rows; i++) print_row(&row[i], all, gpu, text);
    text_printf(text, "%-34s %-30s %9s %10.2f\n", "all", "", "", (double)all / 1e6);
    free(row);
    return text_status(text);
}
