// Finds and runs ptxas. See ptxas.h.
#include "target/cuda/ptxas.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// ---- files
static const char *read_file(Arena *arena, const char *path, size_t *size) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    char *bytes = NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        size_t done = 0, whole = (size_t)st.st_size;
        bytes = arena_alloc(arena, whole + 1);
        for (ssize_t n; done < whole && (n = read(fd, bytes + done, whole - done)) > 0;) done += (size_t)n;
        bytes[ *size = done] = 0;
    }
    close(fd);
    return bytes;
}

static bool write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    size_t length = strlen(text), done = 0;
    for (ssize_t n; done < length && (n = write(fd, text + done, length - done)) > 0;) done += (size_t)n;
    return close(fd) == 0 && done == length;
}

// ---- running
// What it says goes to the file `said`. Its exit status is in *status; -1 when a signal ended it.
static const char *run(Arena *arena, const char *const *words, const char *said, int *status, double *ms) {
    posix_spawn_file_actions_t files;
    pid_t child;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    char *argument[16];
    int count = 0;
    for (; words[count]; count++) argument[count] = arena_format(arena, "%s", words[count]);
    argument[count] = NULL;
    int failed = posix_spawn(&child, words[0], &files, NULL, argument, environ);
    posix_spawn_file_actions_destroy(&files);
    if (failed) return arena_format(arena, "cannot run %s: %s", words[0], strerror(failed));
    struct rusage used;
    int ended;
    while (wait4(child, &ended, 0, &used) < 0)
        if (errno != EINTR) return arena_format(arena, "cannot wait for %s: %s", words[0], strerror(errno));
    *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
    if (ms)
        *ms = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
              (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-3;
    return NULL;
}

// ---- finding
// NULL: this is a ptxas of NVRTC's release. Otherwise why it is not.
static const char *try_program(Arena *arena, const Nvrtc *nvrtc, const char *path, Ptxas *out) {
    const char *base = getenv("TMPDIR") && *getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char *said = arena_format(arena, "%s/stmc-ptxas-XXXXXX", base);
    int fd = mkstemp(said), status = 0;
    if (fd < 0) return arena_format(arena, "cannot write %s: %s", said, strerror(errno));
    close(fd);
    const char *const words[] = {path, "--version", NULL};
    const char *error = run(arena, words, said, &status, NULL);
    size_t size = 0;
    const char *version = error ? NULL : read_file(arena, said, &size);
    unlink(said);
    if (error) return error;
    if (status != 0 || !version || !strstr(version, "ptxas"))
        return arena_format(arena, "%s --version does not say that it is ptxas", path);
    if (!strstr(version, arena_format(arena, "release %d.%d,", nvrtc->major, nvrtc->minor)))
        return arena_format(arena, "%s is not of NVRTC's release, %d.%d", path, nvrtc->major, nvrtc->minor);
    *out = (Ptxas){.path = path, .version = version};
    return NULL;
}

const char *ptxas_find(Arena *arena, const Nvrtc *nvrtc, Ptxas *out) {
    const char *given = getenv("STMC_PTXAS");
    *out = (Ptxas){0};
    if (given && !strcmp(given, "none")) {
        out->missing = "STMC_PTXAS is none";
        return NULL;
    }
    if (given && *given) {
        const char *error = try_program(arena, nvrtc, arena_format(arena, "%s", given), out);
        return error ? arena_format(arena, "STMC_PTXAS is %s: %s; name another or `none`", given, error) : NULL;
    }
    // From lib64, lib or targets/x86_64-linux/lib of one root; pip puts CUDA 12's NVRTC and ptxas into two folders.
    static const char *const beside[] = {"../bin", "../../../bin", "../../cuda_nvcc/bin"};
    const char *folder[8], *root[] = {getenv("CUDA_PATH"), getenv("CUDA_HOME")};
    int folders = 0;
    Dl_info at = {0};
    void *address; // NVRTC's path may be a name that the loader found
    memcpy(&address, &nvrtc->create, sizeof address);
    char *real = dladdr(address, &at) && at.dli_fname ? realpath(at.dli_fname, NULL) : NULL;
    char *slash = real ? strrchr(real, '/') : NULL;
    for (size_t i = 0; slash && i < sizeof beside / sizeof *beside; i++)
        folder[folders++] = arena_format(arena, "%.*s/%s", (int)(slash - real), real, beside[i]);
    free(real);
    for (size_t i = 0; i < sizeof root / sizeof *root; i++)
        if (root[i] && *root[i]) folder[folders++] = arena_format(arena, "%s/bin", root[i]);
    for (int i = 0; i < folders && !out->path; i++) {
        const char *path = arena_format(arena, "%s/ptxas", folder[i]);
        if (access(path, X_OK)) continue;
        char *short_path = realpath(path, NULL);
        const char *error = try_program(arena, nvrtc, short_path ? arena_format(arena, "%s", short_path) : path, out);
        free(short_path);
        if (error && !out->missing) out->missing = error;
    }
    if (out->path) out->missing = NULL;
    else if (!out->missing) out->missing = arena_format(arena, "no ptxas beside %s", nvrtc->path);
    return NULL;
}

// ---- compiling
const char *ptxas_compile(const Ptxas *ptxas, Arena *arena, const char *folder, const char *name, const char *ptx,
                          int arch, PtxasResult *out) {
    const char *base = arena_format(arena, "%s/%s.%d", folder, name, arch);
    const char *from = arena_format(arena, "%s.ptx", base), *to = arena_format(arena, "%s.cubin", base);
    const char *said = arena_format(arena, "%s.log", base), *error = NULL;
    int status = 0;
    size_t log_size = 0;
    *out = (PtxasResult){.log = ""};
    const char *const words[] = {ptxas->path, "-v", arena_format(arena, "-arch=sm_%d", arch), from, "-o", to, NULL};
    if (!write_file(from, ptx)) error = arena_format(arena, "cannot write %s: %s", from, strerror(errno));
    if (!error) error = run(arena, words, said, &status, &out->ms);
    if (!error) {
        const char *log = read_file(arena, said, &log_size);
        if (log) out->log = log;
        out->cubin = status == 0 ? read_file(arena, to, &out->size) : NULL;
        if (!out->cubin || out->size == 0)
            error = arena_format(
                arena, "%s gives no code of %s for sm_%d (status %d); STMC_PTXAS=none lets NVRTC compile%s%.600s",
                ptxas->path, name, arch, status, *out->log ? ": " : "", out->log);
    }
    unlink(from), unlink(to), unlink(said);
    return error;
}
