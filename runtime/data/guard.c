// guard: see guard.h. The block is one anonymous shared mapping made before the fork; pages are taken only when they
// are touched, so it can be reserved generously. Its first page holds the report of the child.
#include "guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REPORT_BYTES = 16384, MESSAGE_BYTES = 8000, PAGE = 4096, ALIGNMENT = 64, REPORT_DONE = 0x600DF00D };

typedef struct Report {
    size_t used, end;
    void *result;
    int code;
    _Atomic int state; // REPORT_DONE when the work has come to its end
    char message[MESSAGE_BYTES];
} Report;

_Static_assert(sizeof(Report) <= REPORT_BYTES, "the report fits before the results");

// ---- The block ----------------------------------------------------------------------------------

void *guard_reserve(GuardBlock *block, size_t count, size_t size) {
    if (size && count > (SIZE_MAX / 4) / size) return NULL;
    size_t bytes = count * size, align = bytes >= ((size_t)1 << 20) ? PAGE : ALIGNMENT;
    size_t at = (*block->end + align - 1) / align * align;
    // The last byte stays free: guard_run ends the block with a '\0' there.
    if (at >= block->mapped - 1 || bytes > block->mapped - 1 - at) return NULL;
    *block->end = at + (bytes ? bytes : 1);
    return block->base + at;
}

void *guard_take(GuardBlock *block, size_t count, size_t size) {
    if (size && count > guard_left(block) / size) return NULL;
    void *piece = guard_reserve(block, count, size);
    if (piece) guard_count(block, count * size);
    return piece;
}

size_t guard_left(const GuardBlock *block) {
    return *block->used < block->limit ? block->limit - *block->used : 0;
}

void guard_count(GuardBlock *block, size_t bytes) {
    *block->used += bytes;
}

char *guard_text(GuardBlock *block, const char *text, size_t length) {
    char *copy = length < SIZE_MAX ? guard_take(block, length + 1, 1) : NULL;
    if (copy && length) memcpy(copy, text, length);
    return copy;
}

Status guard_exhausted(const GuardBlock *block, const char *path, size_t count, size_t size) {
    return status_make(STATUS_NO_MEMORY,
                       "%s: %.1f MB are needed for %zu elements and %.1f of %.1f MB are left; choose fewer genes, or "
                       "raise the memory limit",
                       path, (double)count * (double)size / 1e6, count, (double)guard_left(block) / 1e6,
                       (double)block->limit / 1e6);
}

void guard_range(const GuardBlock *block, uintptr_t *out_low, uintptr_t *out_high) {
    *out_low = (uintptr_t)block->base + REPORT_BYTES;
    *out_high = (uintptr_t)block->base + *block->end;
}

bool guard_holds(const GuardBlock *block, const void *pointer, size_t count, size_t size) {
    uintptr_t from, end, at = (uintptr_t)pointer;
    guard_range(block, &from, &end);
    if (at < from || at > end) return false;
    return size == 0 || count <= (end - at) / size;
}

bool guard_holds_text(const GuardBlock *block, const char *text) {
    return guard_holds(block, text, 1, 1); // guard_run sees to it that the block ends with a '\0'
}

void guard_block_free(GuardBlock *block) {
    if (block->base) munmap(block->base, block->mapped);
    *block = (GuardBlock){0};
}

// Of the machine, or of the container that it looks like.
static size_t physical_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    size_t bytes = pages > 0 && size > 0 ? (size_t)pages * (size_t)size : (size_t)4 << 30;
    static const char *const limits[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    for (int i = 0; i < 2; i++) {
        unsigned long long allowed = 0;
        FILE *file = fopen(limits[i], "r");
        if (!file) continue;
        if (fscanf(file, "%llu", &allowed) == 1 && allowed > ((size_t)1 << 28) && allowed < bytes)
            bytes = (size_t)allowed;
        fclose(file);
    }
    return bytes;
}

// Limits that were left 0.
static GuardLimits complete(const char *path, GuardLimits l) {
    struct stat info;
    double megabytes = stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (double)info.st_size / 1e6 : 0;
    if (l.cpu_seconds <= 0) l.cpu_seconds = 20 + megabytes / 4;
    if (l.wall_seconds <= 0) l.wall_seconds = 30 + 4 * l.cpu_seconds;
    if (l.memory_bytes == 0) l.memory_bytes = physical_memory() / 2;
    if (l.results_bytes == 0) l.results_bytes = physical_memory() / 2;
    return l;
}

double guard_seconds(const char *path, GuardLimits limits) {
    return complete(path, limits).cpu_seconds;
}

static Status map_block(const char *path, const GuardLimits *l, GuardBlock *block) {
    // Reservations may be larger than what is used in the end: up to four times the limit in address space.
    size_t wanted = l->results_bytes < ((size_t)1 << 44) ? l->results_bytes * 4 : l->results_bytes;
    wanted = (wanted + REPORT_BYTES + ((size_t)1 << 20)) / PAGE * PAGE;
    void *base = MAP_FAILED;
    for (; base == MAP_FAILED && wanted >= ((size_t)1 << 20); wanted /= 2, wanted = wanted / PAGE * PAGE) {
        base = mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base != MAP_FAILED) break;
    }
    if (base == MAP_FAILED)
        return status_errno(errno, "%s: no address space of %.0f MB for what is read", path,
                            (double)l->results_bytes / 1e6);
    Report *report = base;
    report->end = REPORT_BYTES;
    *block = (GuardBlock){base,          wanted,       l->results_bytes < wanted ? l->results_bytes : wanted,
                          &report->used, &report->end, NULL};
    return STATUS_OK;
}

// ---- The child ----------------------------------------------------------------------------------

static size_t address_space(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%lu", &pages) != 1) pages = 0;
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void limit(int what, rlim_t soft, rlim_t hard) {
    struct rlimit now;
    if (getrlimit(what, &now) != 0) return;
    if (now.rlim_max != RLIM_INFINITY && hard > now.rlim_max) hard = now.rlim_max;
    if (soft > hard) soft = hard;
    struct rlimit wanted = {soft, hard};
    setrlimit(what, &wanted); // a refused limit leaves the others and the parent's clock
}

static void confine(const GuardLimits *l, size_t space) {
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGPROF, SIGXCPU, SIGINT, SIGTERM, SIGPIPE};
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    limit(RLIMIT_CORE, 0, 0);
    if (space) limit(RLIMIT_AS, (rlim_t)space + l->memory_bytes, (rlim_t)space + l->memory_bytes);
    rlim_t seconds = (rlim_t)l->cpu_seconds + 2;
    limit(RLIMIT_CPU, seconds, seconds + 1);
    struct itimerval timer = {{0, 0}, {(time_t)l->cpu_seconds, 0}};
    timer.it_value.tv_usec = (suseconds_t)((l->cpu_seconds - (double)timer.it_value.tv_sec) * 1e6);
    setitimer(ITIMER_PROF, &timer, NULL); // finer than RLIMIT_CPU, which counts whole seconds
}

static void do_work(GuardWork work, void *context, GuardBlock *block) {
    Report *report = (Report *)(void *)block->base;
    Status status = work(context, block);
    report->code = (int)status_code(status);
    snprintf(report->message, MESSAGE_BYTES, "%s", status_message(status));
    report->result = block->result;
    status_drop(status);
    atomic_store(&report->state, REPORT_DONE);
}

// ---- The parent ---------------------------------------------------------------------------------

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// The child's wait status; false if it had to be killed because its time was up. *out_known is false when somebody
// else has taken the wait status (a SIGCHLD handler of the program).
static bool wait_for(pid_t child, double seconds, int *out_wait, bool *out_known) {
    double end = seconds_now() + seconds;
    int descriptor = (int)syscall(SYS_pidfd_open, child, 0);
    bool in_time = true;
    *out_wait = 0;
    for (long pause = 200000;;) {
        pid_t got = waitpid(child, out_wait, WNOHANG);
        *out_known = got == child;
        if (got == child || (got < 0 && errno != EINTR)) break;
        double left = end - seconds_now();
        if (left <= 0) {
            in_time = false;
            kill(child, SIGKILL);
            while (waitpid(child, out_wait, 0) < 0 && errno == EINTR) continue;
            break;
        }
        if (descriptor >= 0) {
            struct pollfd ready = {descriptor, POLLIN, 0};
            poll(&ready, 1, left > 1000 ? 1000000 : (int)(left * 1000) + 1);
        } else {
            struct timespec nap = {0, pause};
            nanosleep(&nap, NULL);
            if (pause < 5000000) pause *= 2;
        }
    }
    if (descriptor >= 0) close(descriptor);
    return in_time;
}

static Status judge(const char *path, const GuardLimits *l, const Report *report, int wait, bool known, bool in_time) {
    static const char *const again = "the file is damaged, or made to do this; copy or download it again";
    bool done = atomic_load((_Atomic int *)&report->state) == REPORT_DONE;
    if (!in_time)
        return status_make(STATUS_MALFORMED, "%s: reading it was stopped after %.0f s; %s", path, l->wall_seconds,
                           again);
    if (known && WIFSIGNALED(wait)) {
        int number = WTERMSIG(wait);
        if (number == SIGPROF || number == SIGXCPU)
            return status_make(STATUS_MALFORMED, "%s: reading it was stopped after %.1f s of computing; %s", path,
                               l->cpu_seconds, again);
        if (number == SIGINT || number == SIGTERM)
            return status_make(STATUS_CANCELLED, "%s: reading it was interrupted", path);
        if (number == SIGKILL)
            return status_make(STATUS_NO_MEMORY,
                               "%s: the process that read it was killed, most likely because the "
                               "machine ran out of memory",
                               path);
        return status_make(STATUS_MALFORMED, "%s: the library that reads it crashed (signal %d); %s", path, number,
                           again);
    }
    if (!done || (known && WEXITSTATUS(wait) != 0))
        return status_make(STATUS_MALFORMED, "%s: the process that reads it ended early (exit status %d); %s", path,
                           known ? WEXITSTATUS(wait) : -1, again);
    if (report->code == STATUS_CODE_OK) return STATUS_OK;
    if (report->code < 0 || report->code > STATUS_INTERNAL || !memchr(report->message, 0, MESSAGE_BYTES))
        return status_make(STATUS_MALFORMED, "%s: reading it went astray; %s", path, again);
    return status_make((StatusCode)report->code, "%s", report->message);
}

Status guard_run(const char *path, GuardLimits limits, GuardWork work, void *context, GuardBlock *out_block) {
    *out_block = (GuardBlock){0};
    limits = complete(path, limits);
    GuardBlock block;
    TRY(map_block(path, &limits, &block));
    Report *report = (Report *)(void *)block.base;
    int wait = 0;
    bool in_time = true, known = true;
    if (limits.in_process) {
        do_work(work, context, &block);
    } else {

        size_t space = address_space();
        pid_t child = fork();
        if (child < 0) {
            Status status = status_errno(errno, "%s: no process could be started to read it", path);
            guard_block_free(&block);
            return status;
        }
        if (child == 0) {
            confine(&limits, space);
            do_work(work, context, &block);
            _exit(0); // nothing of the parent's is flushed or closed twice
        }
        in_time = wait_for(child, limits.wall_seconds, &wait, &known);
    }
    Status status = judge(path, &limits, report, wait, known, in_time);
    if (status == STATUS_OK && report->result) {
        block.result = report->result;
        if (report->end >= block.mapped || !guard_holds(&block, block.result, 1, 1))
            status = status_make(STATUS_MALFORMED, "%s: reading it went astray; copy or download it again", path);
    }
    if (status != STATUS_OK) {
        guard_block_free(&block);
        return status;
    }
    size_t keep = (report->end / PAGE + 1) * PAGE; // one byte more at least: whatever text begins in it ends in it
    if (keep < block.mapped && munmap(block.base + keep, block.mapped - keep) == 0) block.mapped = keep;
    block.base[block.mapped - 1] = '\0';
    *out_block = block;
    return STATUS_OK;
}
