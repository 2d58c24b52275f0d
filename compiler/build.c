// The passes in their order. build_spec() is the whole pipeline, host_code() and cuda_code() its two targets; nothing
// else knows the order.
#include "build.h"

#include "pack/pack.h"
#include "pass/pass.h"
#include "syntax/syntax.h"
#include "target/cpu/cpu.h"
#include "target/cuda/share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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

int build_print(const Text *text) {
    bool ok = !text->length || fwrite(text->at, 1, text->length, stdout) == text->length;
    if (fflush(stdout) || !ok) {
        fprintf(stderr, "stmc: cannot write to standard output: %s\n", strerror(errno));
        return BUILD_ENVIRONMENT;
    }
    return BUILD_OK;
}

int build_error(const char *what) {
    fprintf(stderr, "stmc: error: %s\n", what);
    return BUILD_ENVIRONMENT;
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

// What the pipeline makes on its way.
typedef struct Build {
    Arena *arena;
    Diagnostics *d;
    const BuildOptions *o;
    Clock *clock;
    PackHome home;
    Program *program;
    KernelProgram *kernels;
    CudaOptions cuda_options;
    // ---- host_plan, host_code
    CpuOptions cpu_options;
    const CpuLowering **lowering;
    StmPlan *plan;
    Text plan_text;
    CpuObjects objects;
    // ---- cuda_code
    StmPlan *cuda_plan;
    Text cuda_plan_text;
    CudaUnit *unit;
    CudaImage image;
} Build;

static bool emits(const Build *b, const char *stage) {
    return b->o->emit && !strcmp(b->o->emit, stage);
}

static void verify_kernels(const Build *b, const KernelProgram *k, const char *pass) {
    for (int i = 0; i < k->kernel.count; i++) {
        const char *broken = kernel_verify(k->kernel.at[i], k->program);
        if (!broken) continue;
        Text t = {.arena = b->arena};
        kernel_print(k->kernel.at[i], k->program, &t);
        DIE("after pass `%s` kernel %s is broken: %s\n%s", pass, k->kernel.at[i]->name, broken, t.at);
    }
}

static int plan(Build *b, const KernelProgram *k, const KernelCode *code, StmPlan **out, Text *text) {
    const char *error = plan_program(k, code, STMC_VERSION, out);
    if (error) {
        report_error(b->d, NO_SPAN, "plan", "%s", error);
        return BUILD_WRONG_SPEC;
    }
    plan_print(*out, text);
    return BUILD_OK;
}

// The host's plan, which every executable carries: what kernels run as, nothing compiled yet.
static int host_plan(Build *b) {
    Arena *arena = b->arena;
    int count = b->kernels->kernel.count;
    CpuLowering *lowering = NEW_ARRAY(arena, CpuLowering, count + 1);
    KernelCode *code = NEW_ARRAY(arena, KernelCode, count + 1);
    b->lowering = NEW_ARRAY(arena, const CpuLowering *, count + 1);
    b->cpu_options.emit_ir = emits(b, "llvm") ? b->o->emit_dir : NULL;
    b->cpu_options.threads = (int)sysconf(_SC_NPROCESSORS_ONLN); // objects do not depend on it
    for (int level = 0; level < CPU_LEVELS; level++) b->cpu_options.skip[level] = !b->o->cpu;
    for (int i = 0; i < count; i++) {
        const Kernel *k = b->kernels->kernel.at[i];
        const char *error = cpu_lower(arena, b->program, k, &b->cpu_options, &lowering[i]);
        if (error) return build_error(arena_format(arena, "kernel %s: %s", k->name, error));
        b->lowering[i] = &lowering[i];
        to_plan_code(&lowering[i], &code[i]);
    }
    passed(b->clock, "lower");
    int status = plan(b, b->kernels, code, &b->plan, &b->plan_text);
    if (status != BUILD_OK) return status;
    passed(b->clock, "plan");
    return check_structure(b->program, b->kernels, b->plan, b->d) ? BUILD_OK : BUILD_WRONG_SPEC;
}

static const char *write_text(Arena *arena, const char *dir, const char *name, const char *text) {
    const char *path = arena_format(arena, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    bool ok = f && fputs(text, f) != EOF;
    if (f && fclose(f)) ok = false;
    return ok ? NULL : arena_format(arena, "cannot write %s: %s", path, strerror(errno));
}

// Texts of modules go into files of --emit-dir, or one after the other to standard output.
static int emit_modules(const Build *b, const CudaSources *sources, bool ptx) {
    Text all = {.arena = b->arena};
    const char *error = NULL;
    for (int i = 0; i < sources->source.count && !error; i++) {
        const char *name = ptx ? arena_format(b->arena, "module%d.ptx", i) : sources->source.at[i].name;
        const char *text = ptx ? b->image.ptx[i] : sources->source.at[i].text;
        if (b->o->emit_dir) error = write_text(b->arena, b->o->emit_dir, name, text);
        else text_add(&all, "// ==== %s\n", name), text_add_bytes(&all, text, strlen(text));
    }
    return error ? build_error(error) : build_print(&all);
}

// The same kernels as functions of CUDA C, compiled, with a plan of their own.
static int cuda_code(Build *b) {
    const BuildOptions *o = b->o;
    const KernelProgram *k = b->kernels;
    if (o->compute == STM_COMPUTE_BF16) {
        k = narrow_program(k);
        verify_kernels(b, k, "narrow");
    }
    k = bias_gradients(k, cuda_takes_bias_gradient, cuda_unit(b->arena, k->program, o->compute));
    verify_kernels(b, k, "bias_gradient");
    bool *table = NEW_ARRAY(b->arena, bool, k->kernel.count + 1);
    k = batch_calls(k, table);
    passed(b->clock, "cuda kernels");
    int count = k->kernel.count;
    KernelCode *code = NEW_ARRAY(b->arena, KernelCode, count + 1);
    CudaUnit *unit = b->unit = cuda_unit(b->arena, k->program, o->compute);
    for (int i = 0; i < count; i++) {
        const char *error = cuda_lower(unit, k->kernel.at[i], table[i], &code[i]);
        if (error) return build_error(arena_format(b->arena, "kernel %s for CUDA: %s", k->kernel.at[i]->name, error));
    }
    cuda_share(unit, code, count, false);
    CudaSources sources;
    cuda_sources(unit, &sources);
    passed(b->clock, "cuda lower");
    if (emits(b, "cuda")) return emit_modules(b, &sources, false);

    const char *error = cuda_compile(unit, &b->cuda_options, &b->image);
    if (error && b->image.refused) DIE("%s", error);
    if (error) return build_error(error);
    passed(b->clock, "nvrtc");
    if (b->clock->print && b->image.no_ptxas)
        fprintf(stderr, "  NVRTC compiled for each architecture: %s\n", b->image.no_ptxas);
    if (emits(b, "ptx")) return emit_modules(b, &sources, true);
    cuda_fill_launches(unit, code, count);
    int status = plan(b, k, code, &b->cuda_plan, &b->cuda_plan_text);
    passed(b->clock, "cuda plan");
    return status;
}

// Objects of the host's code and of the data that go with it.
static int host_code(Build *b) {
    Arena *arena = b->arena;
    const char **name = NEW_ARRAY(arena, const char *, b->plan->kernels + 1);
    for (int i = 0; i < b->plan->kernels; i++) name[i] = b->plan->kernel[i].name;
    CpuData data = {.kernel = name,
                    .kernels = b->plan->kernels,
                    .plan = b->plan_text.at,
                    .plan_size = b->plan_text.length,
                    .cuda_plan = b->cuda_plan_text.at,
                    .cuda_plan_size = b->cuda_plan_text.length,
                    .cuda_image = b->image.bytes,
                    .cuda_image_size = b->image.size};
    const char *error =
        cpu_compile(arena, b->program, b->lowering, b->kernels->kernel.count, &b->cpu_options, &b->objects);
    if (!error) error = cpu_data_module(arena, &data, &b->cpu_options, &b->objects);
    if (error) return build_error(error);
    passed(b->clock, "cpu code");
    return BUILD_OK;
}

static int link_objects(Build *b) {
    int count = b->objects.object.count;
    PackObject *pack = NEW_ARRAY(b->arena, PackObject, count + 1);
    for (int i = 0; i < count; i++) {
        const CpuObject *object = &b->objects.object.at[i];
        pack[i] = (PackObject){object->name, object->bytes, object->size};
    }
    const char *error = emits(b, "objects") ? pack_objects(b->arena, pack, count, b->o->emit_dir)
                                            : pack_executable(b->arena, &b->home, pack, count, b->o->output);
    if (error) return build_error(error);
    passed(b->clock, "link");
    return BUILD_OK;
}

static double planned_peak(const StmPlan *plan, const char **job) {
    int64_t peak = 0;
    *job = "";
    for (int j = 0; j < plan->jobs; j++) {
        int64_t bytes = plan_arena_bytes(plan, j, NULL);
        if (bytes >= peak) peak = bytes, *job = plan->job[j].name;
    }
    return (double)peak / 1e6;
}

static void print_summary(const Build *b, double seconds) {
    const Program *p = b->program;
    const char *output = b->o->output, *job;
    int64_t parameters = 0;
    for (int i = 0; i < p->tensor.count; i++)
        if (p->tensor.at[i]->kind == TENSOR_PARAM) parameters += tensor_elements(p, p->tensor.at[i]);
    struct stat st;
    double size = stat(output, &st) == 0 ? (double)st.st_size / 1e6 : 0, peak = planned_peak(b->plan, &job);
    fprintf(
        stderr,
        "%s: %s parameters %lld, kernels %d, planned peak %.2f MB (%s) + %.2f MB persistent, %.1f MB on disk, %.1f s\n",
        output, p->name, (long long)parameters, b->plan->kernels, peak, job,
        (double)plan_persistent_bytes(b->plan, NULL) / 1e6, size, seconds);
    if (!b->cuda_plan) return;
    peak = planned_peak(b->cuda_plan, &job);
    fprintf(stderr, "%s: CUDA for", output);
    for (int a = 0; a < b->o->archs; a++) fprintf(stderr, " sm_%d", b->o->arch[a]);
    fprintf(stderr, ": kernels %d, functions %d, planned peak %.2f MB (%s), image %.1f MB, NVRTC %.1f s",
            b->cuda_plan->kernels, b->unit->function.count, peak, job, (double)b->image.size / 1e6,
            b->image.nvrtc_ms / 1e3);
    if (b->image.cached > 0)
        fprintf(stderr, ", %d of %d modules from the cache", b->image.cached, b->image.cached + b->image.compiled);
    fprintf(stderr, "\n");
}

// From equations to an executable, or to the stage asked for.
static int targets(Build *b) {
    const BuildOptions *o = b->o;
    if (o->cuda && !emits(b, "cuda")) {
        b->cuda_options = (CudaOptions){.kernels = b->home.kernels,
                                        .cache = o->no_cache ? NULL : cuda_cache_directory(b->arena),
                                        .archs = emits(b, "ptx") ? 1 : o->archs};
        memcpy(b->cuda_options.arch, o->arch, sizeof o->arch);
        const char *missing = cuda_available(b->arena, &b->cuda_options);
        if (missing) return build_error(missing);
        passed(b->clock, "nvrtc open");
    }
    bool modules = emits(b, "cuda") || emits(b, "ptx");
    int status = modules ? BUILD_OK : host_plan(b);
    if (status != BUILD_OK) return status;
    if (emits(b, "plan") && !o->cuda) return build_print(&b->plan_text);
    if (o->cuda) status = cuda_code(b);
    if (status != BUILD_OK || modules) return status;
    if (emits(b, "plan")) return build_print(&b->cuda_plan_text);
    status = host_code(b);
    if (status != BUILD_OK || emits(b, "llvm")) return status; // cpu_compile wrote the modules into o->emit_dir
    return link_objects(b);
}

int build_spec(Arena *arena, Sources *sources, Diagnostics *d, const BuildOptions *o) {
    double begin = now();
    Names *names = names_new(arena);
    Text text = {.arena = arena};
    Clock clock = {o->time_passes, begin, arena};
    Build b = {.arena = arena, .d = d, .o = o, .clock = &clock};
    b.plan_text.arena = b.cuda_plan_text.arena = arena;
    const char *error = pack_home(arena, &b.home);
    if (error) return build_error(error);

    int file = sources_read(sources, o->file);
    if (file < 0) return build_error(arena_format(arena, "cannot read %s: %s", o->file, strerror(errno)));
    Node *tree = parse_file(arena, names, sources, d, file);
    if (!tree || diagnostics_count(d)) return BUILD_WRONG_SPEC;
    passed(&clock, "parse");
    if (emits(&b, "tree")) return tree_print(tree, &text), build_print(&text);

    Define *define = NEW_ARRAY(arena, Define, o->defines + 1);
    memcpy(define, o->define, sizeof(Define) * (size_t)o->defines);
    ElaborateOptions options = {.stdlib = b.home.stdlib,
                                .real64 = o->real64,
                                .tests = o->tests,
                                .define = define,
                                .defines = o->defines,
                                .parse = parse_file};
    Program *p = b.program = elaborate(arena, names, sources, d, tree, &options);
    if (!p || diagnostics_count(d)) return BUILD_WRONG_SPEC;
    verify(arena, p, "elaborate");
    passed(&clock, "elaborate");
    for (int i = 0; i < p->job.count; i++)
        if (!differentiate(p, p->job.at[i], d)) return BUILD_WRONG_SPEC;
    verify(arena, p, "differentiate");
    passed(&clock, "differentiate");
    for (int i = 0; i < p->job.count; i++) simplify(p, p->job.at[i]);
    verify(arena, p, "simplify");
    passed(&clock, "simplify");
    if (emits(&b, "equations")) return program_print(p, &text), build_print(&text);
    if (o->check) return BUILD_OK;
    if (p->job.count <= 1) { // "init" alone
        report_error(d, NO_SPAN, "nothing-to-run", "%s has no job: an executable of it could do nothing", o->file);
        report_help(d, o->tests ? "write a test block: test \"title\" { … }"
                                : "say what it does: train { … }, evaluate { … }, predict { … } or embed { … }");
        return BUILD_WRONG_SPEC;
    }

    for (int i = 0; i < p->job.count; i++) layout_job(p, p->job.at[i]);
    verify(arena, p, "layout");
    passed(&clock, "layout");
    FusePolicy policy = fuse_default;
    policy.one_to_one = o->one_to_one;
    b.kernels = fuse_program(p, &policy);
    passed(&clock, "fuse");
    schedule_kernels(b.kernels);
    verify_kernels(&b, b.kernels, "schedule");
    passed(&clock, "schedule");
    if (emits(&b, "kernels")) {
        for (int i = 0; i < b.kernels->kernel.count; i++) kernel_print(b.kernels->kernel.at[i], p, &text);
        return build_print(&text);
    }
    int status = targets(&b);
    if (status == BUILD_OK && !o->emit && !o->tests) print_summary(&b, now() - begin);
    return status;
}
