// stmc: the command line and the passes in their order. compile() is the whole pipeline; nothing else knows the order.
#include "base/base.h"
#include "elaborate/elaborate.h"
#include "forms/plan.h"
#include "pack/pack.h"
#include "pass/pass.h"
#include "syntax/syntax.h"
#include "target/cpu/cpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, WRONG_SPEC = 1, WRONG_COMMAND = 2, ENVIRONMENT = 3 }; // 70, a bug of stmc, is die()'s

typedef struct Options {
    const char *file, *output, *emit, *emit_dir;
    bool check, json, tests, real64, time_passes, one_to_one, real_given;
    Define define[256];
    int defines;
} Options;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct Clock {
    bool print;
    double last;
    const Arena *arena;
} Clock;

static void passed(Clock *c, const char *pass) {
    double t = now();
    if (c->print)
        fprintf(stderr, "%-14s %8.1f ms %10.1f MB\n", pass, 1e3 * (t - c->last), (double)arena_used(c->arena) / 1e6);
    c->last = now();
}

// A form that does not hold what its pass promised is a bug of stmc: the text is kept for the report.
static void verify(Arena *arena, Program *p, const char *pass) {
    const char *broken = program_verify(p);
    if (!broken) return;
    Text text = {.arena = arena};
    program_print(p, &text);
    char path[] = "/tmp/stmc-bug-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f) {
        fwrite(text.at, 1, text.length, f);
        fclose(f);
    }
    DIE("after pass `%s` the equations are broken: %s (the whole text is in %s)", pass, broken, f ? path : "no file");
}

static int print_text(const Text *text) {
    bool ok = !text->length || fwrite(text->at, 1, text->length, stdout) == text->length;
    if (fflush(stdout) || !ok) {
        fprintf(stderr, "stmc: cannot write to standard output: %s\n", strerror(errno));
        return ENVIRONMENT;
    }
    return OK;
}

static int environment_error(const char *what) {
    fprintf(stderr, "stmc: error: %s\n", what);
    return ENVIRONMENT;
}

static void to_plan_code(const CpuLowering *low, KernelCode *code) {
    _Static_assert((int)CODE_MAX_PHASES >= (int)CPU_MAX_PHASES && (int)CODE_MAX_WORKSPACES >= (int)CPU_MAX_WORKSPACES,
                   "");
    code->phases = low->phases;
    for (int f = 0; f < low->phases; f++) {
        const CpuPhase *x = &low->phase[f];
        code->phase[f].name = x->name;
        code->phase[f].args = x->args;
        memcpy(code->phase[f].arg, x->arg, sizeof(int) * (size_t)x->args);
        code->phase[f].parts = x->parts;
        code->phase[f].divide = x->divide;
        code->phase[f].scratch = x->scratch;
        code->phase[f].flops = x->flops;
    }
    code->workspaces = low->workspaces;
    for (int w = 0; w < low->workspaces; w++) {
        code->workspace[w].axis[0] = low->workspace[w].axis[0];
        code->workspace[w].axis[1] = low->workspace[w].axis[1];
        code->workspace[w].bytes = low->workspace[w].bytes;
    }
}

static bool check_structure(const Program *p, const KernelProgram *k, const StmPlan *plan, Diagnostics *d) {
    bool ok = true;
    for (int i = 0; i < p->structure.count; i++) {
        const StructureCheck *c = &p->structure.at[i];
        for (int j = 0; j < k->job.count; j++) {
            if (k->job.at[j].job != c->job) continue;
            int64_t have;
            if (!strcmp(c->what, "kernels")) have = k->job.at[j].call.count;
            else if (!strcmp(c->what, "equations")) have = c->job->equation.count;
            else if (!strcmp(c->what, "workspace")) have = plan_arena_bytes(plan, j, NULL);
            else have = plan->job[j].steps;
            const char *op = c->comparison;
            bool holds = !strcmp(op, "<")    ? have < c->number
                         : !strcmp(op, "<=") ? have <= c->number
                         : !strcmp(op, ">")  ? have > c->number
                         : !strcmp(op, ">=") ? have >= c->number
                         : !strcmp(op, "==") ? have == c->number
                                             : have != c->number;
            if (holds) continue;
            report_error(d, c->span, "structure", "%s is %lld, checked is %s %lld", c->what, (long long)have, op,
                         (long long)c->number);
            ok = false;
        }
    }
    return ok;
}

static void print_summary(const Program *p, const StmPlan *plan, const char *output, double seconds) {
    int64_t parameters = 0, peak = 0;
    const char *job = "";
    for (int i = 0; i < p->tensor.count; i++)
        if (p->tensor.at[i]->kind == TENSOR_PARAM) parameters += tensor_elements(p, p->tensor.at[i]);
    for (int j = 0; j < plan->jobs; j++) {
        int64_t bytes = plan_arena_bytes(plan, j, NULL);
        if (bytes >= peak) peak = bytes, job = plan->job[j].name;
    }
    struct stat st;
    double size = stat(output, &st) == 0 ? (double)st.st_size / 1e6 : 0;
    fprintf(
        stderr,
        "%s: %s parameters %lld, kernels %d, planned peak %.2f MB (%s) + %.2f MB persistent, %.1f MB on disk, %.1f s\n",
        output, p->name, (long long)parameters, plan->kernels, (double)peak / 1e6, job,
        (double)plan_persistent_bytes(plan, NULL) / 1e6, size, seconds);
}

static int compile(Arena *arena, Sources *sources, Diagnostics *d, const Options *o) {
    double begin = now();
    Names *names = names_new(arena);
    Text text = {.arena = arena};
    Clock clock = {o->time_passes, begin, arena};
    PackHome home;
    const char *error = pack_home(arena, &home);
    if (error) return environment_error(error);
    bool emit = o->emit != NULL;
#define EMIT(stage) (emit && !strcmp(o->emit, stage))

    int file = sources_read(sources, o->file);
    if (file < 0) return environment_error(arena_format(arena, "cannot read %s: %s", o->file, strerror(errno)));
    Node *tree = parse_file(arena, names, sources, d, file);
    if (!tree || diagnostics_count(d)) return WRONG_SPEC;
    passed(&clock, "parse");
    if (EMIT("tree")) return tree_print(tree, &text), print_text(&text);

    Define *define = NEW_ARRAY(arena, Define, o->defines + 1);
    memcpy(define, o->define, sizeof(Define) * (size_t)o->defines);
    ElaborateOptions options = {.stdlib = home.stdlib,
                                .real64 = o->real64,
                                .tests = o->tests,
                                .define = define,
                                .defines = o->defines,
                                .parse = parse_file};
    Program *p = elaborate(arena, names, sources, d, tree, &options);
    if (!p || diagnostics_count(d)) return WRONG_SPEC;
    verify(arena, p, "elaborate");
    passed(&clock, "elaborate");
    for (int i = 0; i < p->job.count; i++)
        if (!differentiate(p, p->job.at[i], d)) return WRONG_SPEC;
    verify(arena, p, "differentiate");
    passed(&clock, "differentiate");
    for (int i = 0; i < p->job.count; i++) simplify(p, p->job.at[i]);
    verify(arena, p, "simplify");
    passed(&clock, "simplify");
    if (EMIT("equations")) return program_print(p, &text), print_text(&text);
    if (o->check) return OK;
    if (p->job.count <= 1) { // "init" alone
        report_error(d, NO_SPAN, "nothing-to-run", "%s has no job: an executable of it could do nothing", o->file);
        report_help(d, o->tests ? "write a test block: test \"title\" { … }"
                                : "say what it does: train { … }, evaluate { … }, predict { … } or embed { … }");
        return WRONG_SPEC;
    }

    for (int i = 0; i < p->job.count; i++) layout_job(p, p->job.at[i]);
    verify(arena, p, "layout");
    passed(&clock, "layout");
    FusePolicy policy = fuse_default;
    policy.one_to_one = o->one_to_one;
    KernelProgram *kernels = fuse_program(p, &policy);
    passed(&clock, "fuse");
    schedule_kernels(kernels);
    for (int i = 0; i < kernels->kernel.count; i++) {
        const char *broken = kernel_verify(kernels->kernel.at[i], p);
        if (broken) {
            Text t = {.arena = arena};
            kernel_print(kernels->kernel.at[i], p, &t);
            DIE("kernel %s is broken: %s\n%s", kernels->kernel.at[i]->name, broken, t.at);
        }
    }
    passed(&clock, "schedule");
    if (EMIT("kernels")) {
        for (int i = 0; i < kernels->kernel.count; i++) kernel_print(kernels->kernel.at[i], p, &text);
        return print_text(&text);
    }

    CpuOptions cpu = {.emit_ir = EMIT("llvm") ? o->emit_dir : NULL};
    int count = kernels->kernel.count;
    CpuLowering *lowering = NEW_ARRAY(arena, CpuLowering, count + 1);
    const CpuLowering **list = NEW_ARRAY(arena, const CpuLowering *, count + 1);
    KernelCode *code = NEW_ARRAY(arena, KernelCode, count + 1);
    for (int i = 0; i < count; i++) {
        error = cpu_lower(arena, p, kernels->kernel.at[i], &cpu, &lowering[i]);
        if (error) return environment_error(arena_format(arena, "kernel %s: %s", kernels->kernel.at[i]->name, error));
        list[i] = &lowering[i];
        to_plan_code(&lowering[i], &code[i]);
    }
    passed(&clock, "lower");
    StmPlan *plan;
    error = plan_program(kernels, code, STMC_VERSION, &plan);
    if (error) {
        report_error(d, NO_SPAN, "plan", "%s", error);
        return WRONG_SPEC;
    }
    plan_print(plan, &text);
    passed(&clock, "plan");
    if (!check_structure(p, kernels, plan, d)) return WRONG_SPEC;
    if (EMIT("plan")) return print_text(&text);

    CpuObjects objects = {0};
    const char **phase = NEW_ARRAY(arena, const char *, plan->kernels + 1);
    for (int i = 0; i < plan->kernels; i++) phase[i] = plan->kernel[i].name;
    error = cpu_compile(arena, p, list, count, &cpu, &objects);
    if (!error) error = cpu_data_module(arena, phase, plan->kernels, text.at, text.length, &cpu, &objects);
    if (error) return environment_error(error);
    passed(&clock, "cpu code");
    if (EMIT("llvm")) return OK; // cpu_compile wrote the modules into o->emit_dir
    PackObject *pack = NEW_ARRAY(arena, PackObject, objects.object.count + 1);
    for (int i = 0; i < objects.object.count; i++)
        pack[i] = (PackObject){objects.object.at[i].name, objects.object.at[i].bytes, objects.object.at[i].size};
    if (EMIT("objects")) {
        error = pack_objects(arena, pack, objects.object.count, o->emit_dir);
        return error ? environment_error(error) : OK;
    }
    error = pack_executable(arena, &home, pack, objects.object.count, o->output);
    if (error) return environment_error(error);
    passed(&clock, "link");
    if (!o->tests) print_summary(p, plan, o->output, now() - begin);
    return OK;
}

// ---- commands

static void usage(FILE *to) {
    fprintf(to,
            "stmc %s: one page of model spec in, one executable out\n\n"
            "  stmc FILE.stm -o EXE        compile\n"
            "  stmc FILE.stm --check       only check shapes, names and types\n"
            "  stmc fmt FILE...            lay the files out in the one way (in place; - is standard input)\n"
            "  stmc test FILE.stm          run the file's test blocks (in f64)\n"
            "  stmc --version\n\n"
            "  -D NAME=VALUE               set an option or the extent of an axis\n"
            "  --emit STAGE                print tree, equations, kernels or plan; llvm and objects write files\n"
            "  --emit-dir DIR              where --emit llvm and --emit objects write\n"
            "  --precision f32|f64         type of real numbers (default f32; for tests f64)\n"
            "  --target cpu                what to compile for\n"
            "  --diagnostics text|json     form of messages on standard error\n"
            "  --time-passes               time and memory of each pass\n"
            "  --no-fusion                 one kernel per equation (to find faults)\n\n"
            "Exit status: 0 success, 1 the spec is wrong, 2 the command line is wrong, 3 the environment failed, 70 a "
            "bug in stmc.\n",
            STMC_VERSION);
}

static int command_error(const char *format, const char *word) {
    fprintf(stderr, "stmc: ");
    fprintf(stderr, format, word);
    fprintf(stderr, "\nTry `stmc --help`.\n");
    return WRONG_COMMAND;
}

static int format_files(int argc, char **argv) {
    if (argc == 0) return command_error("`fmt` needs a file%s", "");
    int status = OK;
    for (int i = 0; i < argc; i++) {
        Arena *arena = arena_new();
        Sources sources = {.arena = arena};
        Diagnostics *d = diagnostics_new(arena, &sources);
        bool stdin_given = !strcmp(argv[i], "-");
        int file = sources_read(&sources, stdin_given ? "/dev/stdin" : argv[i]);
        Text out = {.arena = arena};
        if (file < 0) {
            status = environment_error(arena_format(arena, "cannot read %s: %s", argv[i], strerror(errno)));
        } else if (!format_source(&sources.file.at[file], &out)) {
            parse_file(arena, names_new(arena), &sources, d, file);
            diagnostics_print(d, stderr, false);
            status = WRONG_SPEC;
        } else if (stdin_given) {
            status = print_text(&out);
        } else if (out.length != (size_t)sources.file.at[file].size ||
                   memcmp(out.at, sources.file.at[file].text, out.length) != 0) {
            const char *made = arena_format(arena, "%s.tmp%ld", argv[i], (long)getpid());
            FILE *f = fopen(made, "wb");
            bool ok = f && fwrite(out.at, 1, out.length, f) == out.length;
            struct stat old; // the new file gets the permissions of the old one
            if (ok && stat(argv[i], &old) == 0 && fchmod(fileno(f), old.st_mode & 07777)) ok = false;
            if (f && fclose(f)) ok = false;
            if (!ok || rename(made, argv[i])) {
                status = environment_error(arena_format(arena, "cannot write %s: %s", argv[i], strerror(errno)));
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
    if (child < 0) return environment_error("cannot start the tests");
    if (child == 0) {
        execl(exe, exe, "test", (char *)NULL);
        _exit(127);
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return environment_error("cannot wait for the tests");
    return WIFEXITED(status) ? WEXITSTATUS(status) : WRONG_SPEC;
}

static int parse_arguments(int argc, char **argv, Options *o) {
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        bool last = i + 1 == argc;
        if (a[0] != '-') {
            if (o->file) return command_error("one file at a time: `%s` is the second", a);
            o->file = a;
            continue;
        }
        if (!strcmp(a, "--check")) {
            o->check = true;
            continue;
        }
        if (!strcmp(a, "--time-passes")) {
            o->time_passes = true;
            continue;
        }
        if (!strcmp(a, "--no-fusion")) {
            o->one_to_one = true;
            continue;
        }
        const char *value = NULL;
        if (a[1] == 'D' && a[2]) value = a + 2;
        else if (!last) value = argv[++i];
        else return command_error("`%s` is unknown or lacks its value", a);
        if (!strcmp(a, "-o")) {
            o->output = value;
        } else if (a[1] == 'D') {
            char *equal = strchr(value, '=');
            if (!equal || equal == value) return command_error("-D takes NAME=VALUE, not `%s`", value);
            if (o->defines == 256) return command_error("too many -D%s", "");
            *equal = 0;
            o->define[o->defines++] = (Define){value, equal + 1, false};
        } else if (!strcmp(a, "--emit")) {
            static const char *const stage[] = {"tree", "equations", "kernels", "plan", "llvm", "objects"};
            for (size_t k = 0; k < sizeof stage / sizeof *stage; k++)
                if (!strcmp(stage[k], value)) o->emit = value;
            if (!o->emit)
                return command_error("--emit takes tree, equations, kernels, plan, llvm or objects, not `%s`", value);
        } else if (!strcmp(a, "--emit-dir")) {
            o->emit_dir = value;
        } else if (!strcmp(a, "--precision")) {
            if (strcmp(value, "f32") && strcmp(value, "f64"))
                return command_error("--precision is f32 or f64, not `%s`", value);
            o->real64 = !strcmp(value, "f64");
            o->real_given = true;
        } else if (!strcmp(a, "--target")) {
            if (strstr(value, "cuda"))
                return environment_error("this stmc is built without the CUDA target; use --target cpu");
            if (strcmp(value, "cpu")) return command_error("--target is cpu, not `%s`", value);
        } else if (!strcmp(a, "--arch")) {
            return environment_error("--arch chooses GPU architectures; this stmc is built without the CUDA target");
        } else if (!strcmp(a, "--diagnostics")) {
            if (strcmp(value, "text") && strcmp(value, "json"))
                return command_error("--diagnostics is text or json, not `%s`", value);
            o->json = !strcmp(value, "json");
        } else {
            return command_error("unknown option `%s`", a);
        }
    }
    if (!o->file) return command_error("no file given%s", "");
    if (o->emit && (!strcmp(o->emit, "llvm") || !strcmp(o->emit, "objects")) && !o->emit_dir)
        return command_error("--emit %s needs --emit-dir DIR", o->emit);
    if (!o->output && !o->check && !o->emit && !o->tests)
        return command_error("where to? give -o EXE (or --check)%s", "");
    return OK;
}

int main(int argc, char **argv) {
    if (argc == 1) {
        usage(stderr);
        return WRONG_COMMAND;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        usage(stdout);
        return OK;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("stmc %s (LLVM 19, targets: cpu)\n", STMC_VERSION);
        return OK;
    }
    if (!strcmp(argv[1], "fmt")) return format_files(argc - 2, argv + 2);
    Options o = {0};
    bool tests = !strcmp(argv[1], "test");
    o.tests = o.real64 = tests;
    int status = parse_arguments(argc - (tests ? 2 : 1), argv + (tests ? 2 : 1), &o);
    if (status != OK) return status;
    Arena *arena = arena_new();
    Sources sources = {.arena = arena};
    Diagnostics *d = diagnostics_new(arena, &sources);
    bool temporary = tests && !o.output && !o.emit && !o.check;
    char path[] = "/tmp/stmc-test-XXXXXX";
    if (temporary) {
        int fd = mkstemp(path);
        if (fd < 0) return environment_error("cannot make a temporary file in /tmp");
        close(fd);
        o.output = path;
    }
    status = compile(arena, &sources, d, &o);
    diagnostics_print(d, stderr, o.json);
    if (temporary) {
        if (status == OK) status = run_tests(path);
        unlink(path);
    }
    arena_free(arena);
    return status;
}
