// Linking: writes the objects to a temporary directory, calls the system's C compiler driver as linker, renames the
// result. requires complete objects; leaves an executable or nothing.
#include "pack/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static bool readable(const char *path) {
    return access(path, R_OK) == 0;
}

static bool home_at(Arena *arena, const char *root, PackHome *out) {
    out->stdlib = arena_format(arena, "%s/share/stmc/stdlib", root);
    out->kernels = arena_format(arena, "%s/share/stmc/kernels", root);
    out->archives = arena_format(arena, "%s/share/stmc/link.txt", root);
    out->runtime = arena_format(arena, "%s/lib/libstmrt.a", root);
    return readable(out->stdlib);
}

const char *pack_home(Arena *arena, PackHome *out) {
    const char *set = getenv("STMC_HOME");
    if (set && *set)
        return home_at(arena, set, out) ? NULL
                                        : arena_format(arena, "STMC_HOME is %s, but %s is not there", set, out->stdlib);
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return arena_format(arena, "cannot find this program's own path: %s", strerror(errno));
    path[n] = 0;
    for (int up = 0; up < 2; up++) { // …/bin/stmc
        char *slash = strrchr(path, '/');
        if (slash) *slash = 0;
    }
    return home_at(arena, path, out)
               ? NULL
               : arena_format(arena,
                              "the standard library is not at %s; set STMC_HOME to the folder that "
                              "holds share/stmc and lib",
                              out->stdlib);
}

static const char *write_file(Arena *arena, const char *path, const char *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f) return arena_format(arena, "cannot write %s: %s", path, strerror(errno));
    bool ok = fwrite(bytes, 1, size, f) == size;
    int error = errno;
    if (fclose(f) && ok) ok = false, error = errno;
    return ok ? NULL : arena_format(arena, "cannot write %s: %s", path, strerror(error));
}

static char *object_path(Arena *arena, const PackObject *object, const char *dir) {
    return arena_format(arena, "%s/%s.o", dir, object->name);
}

const char *pack_objects(Arena *arena, const PackObject *object, int objects, const char *dir) {
    const char *error = NULL;
    for (int i = 0; i < objects && !error; i++)
        error = write_file(arena, object_path(arena, &object[i], dir), object[i].bytes, object[i].size);
    return error;
}

// Runs the linker with its messages caught in a file.
static const char *run(Arena *arena, char **argv, const char *log) {
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 2, 1);
    int error = posix_spawnp(&child, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error)
        return arena_format(arena, "cannot run the linker `%s`: %s; install gcc or clang, or name one in CC", argv[0],
                            strerror(error));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return arena_format(arena, "waiting for the linker: %s", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return NULL;
    char text[4096] = "";
    FILE *f = fopen(log, "rb");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    if (f) fclose(f);
    return arena_format(arena, "the linker `%s` failed:\n%s", argv[0], text);
}

const char *pack_executable(Arena *arena, const PackHome *home, const PackObject *object, int objects,
                            const char *output) {
    if (!readable(home->runtime))
        return arena_format(arena, "the runtime library %s is missing; build it", home->runtime);
    VEC(char *) argv = {0};
    const char *error = NULL;
    const char *base = getenv("TMPDIR") && *getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char *dir = arena_format(arena, "%s/stmc-XXXXXX", base);
    if (!mkdtemp(dir)) return arena_format(arena, "cannot make a temporary directory in %s: %s", base, strerror(errno));
    char *log = arena_format(arena, "%s/link.log", dir),
         *made = arena_format(arena, "%s.tmp%ld", output, (long)getpid());
    const char *cc = getenv("CC") && *getenv("CC") ? getenv("CC") : "cc";
    vec_push(arena, &argv, arena_format(arena, "%s", cc));
    vec_push(arena, &argv, "-o");
    vec_push(arena, &argv, made);
    error = pack_objects(arena, object, objects, dir);
    for (int i = 0; i < objects; i++) vec_push(arena, &argv, object_path(arena, &object[i], dir));
    vec_push(arena, &argv, "-Wl,--gc-sections");
    vec_push(arena, &argv, "-Wl,--as-needed");
    vec_push(arena, &argv, "-Wl,-s");
    vec_push(arena, &argv, "-Wl,--start-group");
    vec_push(arena, &argv, arena_format(arena, "%s", home->runtime));
    FILE *f = fopen(home->archives, "r");
    if (!f && !error) error = arena_format(arena, "cannot read %s: %s", home->archives, strerror(errno));
    char line[PATH_MAX];
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (*line) vec_push(arena, &argv, arena_format(arena, "%s", line));
    }
    if (f) fclose(f);
    vec_push(arena, &argv, "-Wl,--end-group");
    vec_push(arena, &argv, "-lm");
    vec_push(arena, &argv, "-ldl");
    vec_push(arena, &argv, "-lpthread");
    vec_push(arena, &argv, NULL);
    if (!error) error = run(arena, argv.at, log);
    if (!error && rename(made, output)) error = arena_format(arena, "cannot write %s: %s", output, strerror(errno));
    if (error) unlink(made);
    for (int i = 0; i < objects; i++) unlink(object_path(arena, &object[i], dir));
    unlink(log);
    rmdir(dir);
    return error;
}
