// stmc: the command line. build.c is the pipeline.
#include "build.h"
#include "syntax/syntax.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// ---- commands

static void usage(FILE *to) {
    fprintf(
        to,
        "stmc %s: one page of model spec in, one executable out\n\n"
        "  stmc FILE.stm -o EXE        compile\n"
        "  stmc FILE.stm --check       only check shapes, names and types\n"
        "  stmc fmt FILE...            lay the files out in the one way (in place; - is standard input)\n"
        "  stmc test FILE.stm          run the file's test blocks (in f64)\n"
        "  stmc --version\n\n"
        "  -D NAME=VALUE               set an option or the extent of an axis\n"
        "  --target TARGETS            cpu (default), cuda or cpu,cuda: what the executable has code for\n"
        "  --arch ARCHS                CUDA: GPUs to compile for, default sm_80,sm_90; later ones are served as well\n"
        "  --precision P               f32 (default), f64 (default for tests), or tf32, bf16: how the products in\n"
        "                              contractions are formed on the GPU\n"
        "  --no-cache                  CUDA: compile everything anew (otherwise modules are kept in $STMC_CACHE or\n"
        "                              ~/.cache/stmc)\n"
        "  --emit STAGE                print tree, equations, kernels, plan, cuda or ptx; llvm and objects write "
        "files\n"
        "  --emit-dir DIR              where --emit llvm, objects, cuda and ptx write\n"
        "  --diagnostics text|json     form of messages on standard error\n"
        "  --time-passes               time and memory of each pass\n"
        "  --no-fusion                 one kernel per equation (to find faults)\n\n"
        "The CUDA target needs NVRTC of CUDA 12 or 13, no GPU: from the CUDA toolkit or `pip install "
        "nvidia-cuda-nvrtc`.\nSTMC_NVRTC names its file, CUDA_PATH the toolkit's folder, STMC_PTXAS ptxas or none.\n\n"
        "Exit status: 0 success, 1 the spec is wrong, 2 the command line is wrong, 3 the environment failed, 70 a "
        "bug in stmc.\n",
        STMC_VERSION);
}

static int command_error(const char *format, const char *word) {
    fprintf(stderr, "stmc: ");
    fprintf(stderr, format, word);
    fprintf(stderr, "\nTry `stmc --help`.\n");
    return BUILD_WRONG_COMMAND;
}

static int format_files(int argc, char **argv) {
    if (argc == 0) return command_error("`fmt` needs a file%s", "");
    int status = BUILD_OK;
    for (int i = 0; i < argc; i++) {
        Arena *arena = arena_new();
        Sources sources = {.arena = arena};
        Diagnostics *d = diagnostics_new(arena, &sources);
        bool stdin_given = !strcmp(argv[i], "-");
        int file = sources_read(&sources, stdin_given ? "/dev/stdin" : argv[i]);
        Text out = {.arena = arena};
        if (file < 0) {
            status = build_error(arena_format(arena, "cannot read %s: %s", argv[i], strerror(errno)));
        } else if (!format_source(&sources.file.at[file], &out)) {
            parse_file(arena, names_new(arena), &sources, d, file);
            diagnostics_print(d, stderr, false);
            status = BUILD_WRONG_SPEC;
        } else if (stdin_given) {
            status = build_print(&out);
        } else if (out.length != (size_t)sources.file.at[file].size ||
                   memcmp(out.at, sources.file.at[file].text, out.length) != 0) {
            const char *made = arena_format(arena, "%s.tmp%ld", argv[i], (long)getpid());
            FILE *f = fopen(made, "wb");
            bool ok = f && fwrite(out.at, 1, out.length, f) == out.length;
            struct stat old; // the new file gets the permissions of the old one
            if (ok && stat(argv[i], &old) == 0 && fchmod(fileno(f), old.st_mode & 07777)) ok = false;
            if (f && fclose(f)) ok = false;
            if (!ok || rename(made, argv[i])) {
                status = build_error(arena_format(arena, "cannot write %s: %s", argv[i], strerror(errno)));
                unlink(made);
            }
        }
        arena_free(arena);
    }
    return status;
}

static int run_tests(const char *exe) {
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) return build_error("cannot start the tests");
    if (child == 0) {
        execl(exe, exe, "test", (char *)NULL);
        _exit(127);
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return build_error("cannot wait for the tests");
    return WIFEXITED(status) ? WEXITSTATUS(status) : BUILD_WRONG_SPEC;
}

typedef struct Command {
    BuildOptions build;
    bool json;
    bool target_given, arch_given;
} Command;

static const char *const stages[] = {"tree", "equations", "kernels", "plan", "llvm", "cuda", "ptx", "objects", NULL};

static bool one_of(const char *const *list, const char *word) {
    for (; *list; list++)
        if (!strcmp(*list, word)) return true;
    return false;
}

static int parse_target(BuildOptions *o, const char *value) {
    o->cpu = o->cuda = false;
    for (const char *at = value;; at += strcspn(at, ",") + 1) {
        size_t n = strcspn(at, ",");
        if (n == 3 && !strncmp(at, "cpu", 3)) o->cpu = true;
        else if (n == 4 && !strncmp(at, "cuda", 4)) o->cuda = true;
        else return command_error("--target takes cpu, cuda or cpu,cuda, not `%s`", value);
        if (!at[n]) return BUILD_OK;
    }
}

// "sm_90,sm_80" in any order; each once, ascending.
static int parse_arch(BuildOptions *o, const char *value) {
    o->archs = 0;
    for (const char *at = value;; at += strcspn(at, ",") + 1) {
        char *end = NULL;
        long number = !strncmp(at, "sm_", 3) ? strtol(at + 3, &end, 10) : 0;
        const int *known = cuda_archs;
        while (*known && *known != number) known++;
        if (!*known || (*end && *end != ',')) {
            fprintf(stderr, "stmc: --arch takes GPU architectures joined by commas, each one of");
            for (known = cuda_archs; *known; known++) fprintf(stderr, " sm_%d", *known);
            return command_error(", not `%s`", value);
        }
        int place = 0;
        while (place < o->archs && o->arch[place] < number) place++;
        if (place == o->archs || o->arch[place] != number) {
            if (o->archs == CUDA_MAX_ARCHS)
                return command_error("--arch takes at most 8 architectures, not `%s`", value);
            memmove(&o->arch[place + 1], &o->arch[place], sizeof *o->arch * (size_t)(o->archs - place));
            o->arch[place] = (int)number;
            o->archs++;
        }
        if (!*end) return BUILD_OK;
    }
}

static int parse_precision(BuildOptions *o, const char *value) {
    static const char *const name[] = {"f32", "tf32", "bf16", "f64"}; // in the order of StmCompute
    for (int i = 0; i < 4; i++) {
        if (strcmp(value, name[i]) != 0) continue;
        o->compute = (StmCompute)i;
        o->real64 = o->compute == STM_COMPUTE_F64;
        return BUILD_OK;
    }
    return command_error("--precision is f32, tf32, bf16 or f64, not `%s`", value);
}

static int parse_flag(Command *c, const char *flag, char *value) {
    BuildOptions *o = &c->build;
    if (!strcmp(flag, "-o")) {
        o->output = value;
    } else if (flag[1] == 'D') {
        char *equal = strchr(value, '=');
        if (!equal || equal == value) return command_error("-D takes NAME=VALUE, not `%s`", value);
        if (o->defines == 256) return command_error("too many -D%s", "");
        *equal = 0;
        o->define[o->defines++] = (Define){value, equal + 1, false};
    } else if (!strcmp(flag, "--emit")) {
        if (!one_of(stages, value))
            return command_error("--emit takes tree, equations, kernels, plan, llvm, cuda, ptx or objects, not `%s`",
                                 value);
        o->emit = value;
    } else if (!strcmp(flag, "--emit-dir")) {
        o->emit_dir = value;
    } else if (!strcmp(flag, "--precision")) {
        return parse_precision(o, value);
    } else if (!strcmp(flag, "--target")) {
        c->target_given = true;
        return parse_target(o, value);
    } else if (!strcmp(flag, "--arch")) {
        c->arch_given = true;
        return parse_arch(o, value);
    } else if (!strcmp(flag, "--diagnostics")) {
        if (strcmp(value, "text") && strcmp(value, "json"))
            return command_error("--diagnostics is text or json, not `%s`", value);
        c->json = !strcmp(value, "json");
    } else {
        return command_error("unknown option `%s`", flag);
    }
    return BUILD_OK;
}

// What the flags say together.
static int check_command(Command *c) {
    static const char *const host[] = {"llvm", NULL}, *const gpu[] = {"cuda", "ptx", NULL};
    static const char *const files[] = {"llvm", "objects", NULL};
    BuildOptions *o = &c->build;
    if (!o->file) return command_error("no file given%s", "");
    if (o->emit && one_of(files, o->emit) && !o->emit_dir)
        return command_error("--emit %s needs --emit-dir DIR", o->emit);
    if (o->emit && one_of(gpu, o->emit) && !c->target_given) o->cuda = true, o->cpu = false;
    if (o->emit && one_of(gpu, o->emit) && !o->cuda) return command_error("--emit %s needs --target cuda", o->emit);
    if (o->emit && one_of(host, o->emit) && !o->cpu) return command_error("--emit %s needs --target cpu", o->emit);
    if (o->emit && !strcmp(o->emit, "plan") && o->cpu && o->cuda)
        return command_error("--emit plan prints one plan, that of --target cpu or that of --target cuda%s", "");
    if (c->arch_given && !o->cuda)
        return command_error("--arch chooses GPU architectures: add --target cuda or --target cpu,cuda%s", "");
    if (!o->output && !o->check && !o->emit && !o->tests)
        return command_error("where to? give -o EXE (or --check)%s", "");
    if (o->tests && !o->output && !o->emit && !o->check && !o->cpu)
        return command_error("`test` runs what it compiles on this machine: it needs --target cpu, or -o EXE%s", "");
    return BUILD_OK;
}

static int parse_arguments(int argc, char **argv, Command *c) {
    BuildOptions *o = &c->build;
    const struct {
        const char *name;
        bool *set;
    } alone[] = {{"--check", &o->check},
                 {"--time-passes", &o->time_passes},
                 {"--no-fusion", &o->one_to_one},
                 {"--no-cache", &o->no_cache}};
    for (int i = 0; i < argc; i++) {
        char *a = argv[i], *value;
        bool known = false;
        if (a[0] != '-') {
            if (o->file) return command_error("one file at a time: `%s` is the second", a);
            o->file = a;
            continue;
        }
        for (size_t k = 0; k < sizeof alone / sizeof *alone; k++)
            if (!strcmp(a, alone[k].name)) known = *alone[k].set = true;
        if (known) continue;
        if (a[1] == 'D' && a[2]) value = a + 2;
        else if (i + 1 < argc) value = argv[++i];
        else return command_error("`%s` is unknown or lacks its value", a);
        int status = parse_flag(c, a, value);
        if (status != BUILD_OK) return status;
    }
    return check_command(c);
}

int main(int argc, char **argv) {
    if (argc == 1) {
        usage(stderr);
        return BUILD_WRONG_COMMAND;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        usage(stdout);
        return BUILD_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("stmc %s (LLVM 19, targets: cpu, cuda)\n", STMC_VERSION);
        return BUILD_OK;
    }
    if (!strcmp(argv[1], "fmt")) return format_files(argc - 2, argv + 2);
    Command command = {.build = {.cpu = true, .arch = {80, 90}, .archs = 2}};
    BuildOptions *o = &command.build;
    bool tests = !strcmp(argv[1], "test");
    o->tests = o->real64 = tests;
    if (tests) o->compute = STM_COMPUTE_F64;
    int status = parse_arguments(argc - (tests ? 2 : 1), argv + (tests ? 2 : 1), &command);
    if (status != BUILD_OK) return status;
    Arena *arena = arena_new();
    Sources sources = {.arena = arena};
    Diagnostics *d = diagnostics_new(arena, &sources);
    bool temporary = tests && !o->output && !o->emit && !o->check;
    char path[] = "/tmp/stmc-test-XXXXXX";
    if (temporary) {
        int fd = mkstemp(path);
        if (fd < 0) return build_error("cannot make a temporary file in /tmp");
        close(fd);
        o->output = path;
    }
    status = build_spec(arena, &sources, d, o);
    diagnostics_print(d, stderr, command.json);
    if (temporary) {
        if (status == BUILD_OK) status = run_tests(path);
        unlink(path);
    }
    arena_free(arena);
    return status;
}
