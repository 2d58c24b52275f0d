// Functions of the CUDA target on the host: kernels by hand and by chance -> cuda_lower -> CUDA C -> g++ with every
// access instrumented -> the shim, on buffers of exact size -> compared with the reference runner. A race, an access
// outside, a read of something that nobody wrote or a stuck barrier is a failure, and so is a result that depends on
// the order of threads.
//
// Usage: kernels_test BUILD_SHIM KERNELS_DIR SHIM.so [catalogue|precision|large|random|table [kernels [seed [number or
// name]]]]
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel_catalogue.h"
#include "kernel_random.h"
#include "loops_catalogue.h"
#include "shim/shim.h"
#include "target/cuda/cuda.h"
#include "target/cuda/share.h"

enum { CALLS = 3, VALUES = 4 }; // calls of a batch; axes and step extents

typedef struct Setup {
    Checks checks;
    const char *build, *kernels, *shim;
    int builds;
    double seconds;
} Setup;

// ---- one kernel
typedef struct Case {
    Setup *setup;
    Arena *arena;
    const Program *p;
    const Kernel *k;
    const Kernel *wide; // the same with T_REAL where k has T_BF16, for the reference
    const KernelCode *code;
    ShimModule *module;
    bool table;
    int64_t axes[VALUES];
    double tolerance;
} Case;

typedef struct Memory { // of one call
    int64_t axes[VALUES];
    char *buffer[64], *workspace[CODE_MAX_WORKSPACES];
} Memory;

// As make_get and the others, with bf16.
static size_t size_of(const Case *t, int buffer) {
    ElementType type = t->k->buffer.at[buffer].type;
    return type == T_BF16 ? 2 : make_bytes(t->p->real64, type);
}

static double value_get(const Case *t, int buffer, const char *at, size_t i) {
    if (t->k->buffer.at[buffer].type != T_BF16) return make_get(t->p->real64, t->k->buffer.at[buffer].type, at, i);
    uint16_t half;
    memcpy(&half, at + 2 * i, 2);
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void value_put(const Case *t, int buffer, char *at, size_t i, double d) {
    if (t->k->buffer.at[buffer].type != T_BF16) {
        make_put(t->p->real64, t->k->buffer.at[buffer].type, at, i, d);
        return;
    }
    float value = (float)d; // of few bits: exact
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint16_t half = (uint16_t)(bits >> 16);
    memcpy(at + 2 * i, &half, 2);
}

static int64_t parts_of(const Case *t, int phase, const Memory *m) {
    int64_t parts = make_value(t->code->phase[phase].parts, m->axes), divide = t->code->phase[phase].divide;
    return t->code->phase[phase].times * ((parts + divide - 1) / divide);
}

static void *argument(const Case *t, int phase, int i, const Memory *m) {
    int arg = t->code->phase[phase].arg[i];
    return arg >= 0 ? m->buffer[arg] : m->workspace[~arg];
}

static const char *launch_single(const Case *t, int phase, const Memory *m, unsigned *outside, const ShimOptions *o) {
    const StmLaunch *l = t->code->phase[phase].launch;
    void *pointer[128], *parameter[256];
    int extent[64], n = 0;
    int64_t grid = parts_of(t, phase, m);
    for (int i = 0; i < t->code->phase[phase].args; i++) {
        pointer[i] = argument(t, phase, i, m);
        parameter[n++] = &pointer[i];
    }
    if (l->words) parameter[n++] = (void *)(uintptr_t)l->word;
    for (int i = 0; i < l->extents; i++) {
        extent[i] = (int)m->axes[l->extent[i]];
        parameter[n++] = &extent[i];
    }
    parameter[n++] = &outside;
    if (grid == 0) return NULL;
    const ShimKernel *k = shim_find(t->module, l->function);
    if (!k) return arena_format(t->arena, "%s is not in the library", l->function);
    if (shim_parameters(k) != n)
        return arena_format(t->arena, "%s has %d parameters, its launch %d", l->function, shim_parameters(k), n);
    if (l->words && shim_parameter_size(k, t->code->phase[phase].args) != 8 * l->words)
        return arena_format(t->arena, "%s: words of %d bytes, the launch has %d", l->function,
                            shim_parameter_size(k, t->code->phase[phase].args), 8 * l->words);
    return shim_launch(k, (unsigned)grid, (unsigned)l->threads, (size_t)l->shared, parameter, o);
}

static const char *launch_table(const Case *t, int phase, const Memory *m, unsigned *outside, const ShimOptions *o) {
    const StmLaunch *l = t->code->phase[phase].launch;
    int args = t->code->phase[phase].args, row = 1 + args + l->extents, calls = CALLS;
    size_t bytes = (size_t)(row * CALLS) * 8;
    uint64_t *table = shim_alloc(bytes, "table");
    int64_t grid = 0;
    for (int call = 0; call < CALLS; call++) {
        uint64_t *to = table + call * row;
        *to++ = (uint64_t)grid;
        for (int i = 0; i < args; i++) *to++ = (uint64_t)(uintptr_t)argument(t, phase, i, &m[call]);
        for (int i = 0; i < l->extents; i++) *to++ = (uint64_t)m[call].axes[l->extent[i]];
        grid += parts_of(t, phase, &m[call]);
    }
    shim_wrote(table, bytes);
    void *parameter[4] = {&table, &calls};
    int n = 2;
    if (l->words) parameter[n++] = (void *)(uintptr_t)l->word;
    parameter[n++] = &outside;
    const ShimKernel *k = shim_find(t->module, l->function);
    const char *error = NULL;
    if (!k) error = arena_format(t->arena, "%s is not in the library", l->function);
    else if (shim_parameters(k) != n || (l->words && shim_parameter_size(k, 2) != 8 * l->words))
        error = "a function with a table has a table, a number, its words and the word that reports";
    else if (grid > 0) error = shim_launch(k, (unsigned)grid, (unsigned)l->threads, (size_t)l->shared, parameter, o);
    if (error) error = arena_format(t->arena, "%s", error);
    shim_free(table);
    return error;
}

// ---- a product that cuBLASLt would do
static double gelu(double x) {
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

static const char *product(const Case *t, int phase, const Memory *m) {
    const StmMatmul *x = t->code->phase[phase].matmul;
    const int64_t *e = m->axes;
    bool f64 = t->p->real64;
    StmExtent all[] = {x->m, x->n, x->k, x->batch, x->lda, x->ldb, x->ldd, x->stride_a, x->stride_b, x->stride_d};
    int64_t v[10];
    for (int i = 0; i < 10; i++) v[i] = all[i].axis < 0 ? all[i].count : all[i].count * e[all[i].axis];
    int64_t rows = v[0], columns = v[1], depth = v[2];
    const char *a = argument(t, phase, x->a, m), *b = argument(t, phase, x->b, m);
    char *d = argument(t, phase, x->d, m), *bias = x->bias >= 0 ? argument(t, phase, x->bias, m) : NULL;
    char *aux = x->aux >= 0 ? argument(t, phase, x->aux, m) : NULL;
    if (x->in == STM_BF16 || x->out == STM_BF16) return "products of bf16 are tested elsewhere";
    if (x->epilogue == STM_EPILOGUE_BGRAD_A || x->epilogue == STM_EPILOGUE_BGRAD_B)
        return "products with a bias gradient are tested elsewhere";
    size_t size = f64 ? 8 : 4;
    for (int64_t z = 0; z < v[3]; z++)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++) {
                double sum = 0;
                for (int64_t k = 0; k < depth; k++) {
                    int64_t at_a = x->offset_a + z * v[7] + (x->transpose_a ? k * v[4] + i : i * v[4] + k);
                    int64_t at_b = x->offset_b + z * v[8] + (x->transpose_b ? j * v[5] + k : k * v[5] + j);
                    if (shim_inside(a + (size_t)at_a * size, size) || shim_inside(b + (size_t)at_b * size, size))
                        return "an operand of the product is outside its buffer";
                    sum += make_get(f64, T_REAL, a, (size_t)at_a) * make_get(f64, T_REAL, b, (size_t)at_b);
                }
                if (bias) sum += make_get(f64, T_REAL, bias, (size_t)j);
                int64_t at_d = x->offset_d + z * v[9] + i * v[6] + j;
                if (shim_inside(d + (size_t)at_d * size, size))
                    return "the result of the product is outside its buffer";
                if (aux) make_put(f64, T_REAL, aux, (size_t)at_d, sum);
                if (x->epilogue == STM_EPILOGUE_RELU || x->epilogue == STM_EPILOGUE_RELU_BIAS) sum = sum > 0 ? sum : 0;
                if (x->epilogue >= STM_EPILOGUE_GELU && x->epilogue <= STM_EPILOGUE_GELU_AUX_BIAS) sum = gelu(sum);
                make_put(f64, T_REAL, d, (size_t)at_d, sum);
                shim_wrote(d + (size_t)at_d * size, size);
                if (aux) shim_wrote(aux + (size_t)at_d * size, size);
            }
    return NULL;
}

static const char *run_phases(const Case *t, const Memory *m, unsigned *outside, const ShimOptions *o) {
    const char *error = NULL;
    for (int phase = 0; phase < t->code->phases && !error; phase++) {
        if (t->code->phase[phase].matmul)
            for (int call = 0; call < (t->table ? CALLS : 1) && !error; call++) error = product(t, phase, &m[call]);
        else if (t->table != t->code->phase[phase].launch->table) error = "a launch of the wrong kind (single, table)";
        else error = t->table ? launch_table(t, phase, m, outside, o) : launch_single(t, phase, m, outside, o);
    }
    return error ? arena_format(t->arena, "%s", error) : NULL;
}

// ---- memory of a call
static void memory_open(const Case *t, int call, Memory *m) {
    memcpy(m->axes, t->axes, sizeof m->axes);
    if (call) m->axes[2] += 37 * call - 3, m->axes[3] += call; // step extents differ from call to call
    for (int i = 0; i < t->k->buffer.count; i++) {
        const KernelBuffer *b = &t->k->buffer.at[i];
        size_t count = make_elements(b, m->axes), bytes = count * size_of(t, i);
        m->buffer[i] = shim_alloc(bytes, arena_format(t->arena, "b%d", i));
        Dice d = {(uint64_t)i * 77 + 5 + (uint64_t)call * 1009};
        bool zeroed = false;
        for (int s = 0; s < t->k->stage.count; s++)
            zeroed = zeroed || (t->k->stage.at[s].dest == i && t->k->stage.at[s].accumulate);
        if (!b->is_read && !zeroed) continue; // nobody may count on what it holds
        for (size_t e = 0; e < count; e++) value_put(t, i, m->buffer[i], e, make_initial(&d, t->wide, i));
        shim_wrote(m->buffer[i], bytes);
    }
    for (int w = 0; w < t->code->workspaces; w++) {
        int64_t bytes = t->code->workspace[w].bytes;
        for (int i = 0; i < 2; i++)
            if (t->code->workspace[w].axis[i] >= 0) bytes *= m->axes[t->code->workspace[w].axis[i]];
        m->workspace[w] = shim_alloc((size_t)bytes, arena_format(t->arena, "workspace %d", w));
    }
}

static void memory_close(const Case *t, Memory *m) {
    for (int i = 0; i < t->k->buffer.count; i++) shim_free(m->buffer[i]);
    for (int w = 0; w < t->code->workspaces; w++) shim_free(m->workspace[w]);
}

static void compare(const Case *t, int call, const Memory *m) {
    Checks *c = &t->setup->checks;
    void *reference[64];
    Program wide = *t->p; // the reference runner computes in f64
    wide.real64 = true;
    for (int i = 0; i < t->k->buffer.count; i++) {
        const KernelBuffer *b = &t->wide->buffer.at[i];
        size_t count = make_elements(b, m->axes);
        Dice d = {(uint64_t)i * 77 + 5 + (uint64_t)call * 1009};
        reference[i] = arena_alloc(t->arena, count * 8 + 8);
        for (size_t e = 0; e < count; e++) make_put(true, b->type, reference[i], e, make_initial(&d, t->wide, i));
    }
    const char *error = kernel_run(t->arena, &wide, t->wide, reference, m->axes, false);
    if (!check(c, error == NULL, "%s: reference: %s", t->k->name, error)) return;
    for (int i = 0; i < t->k->buffer.count; i++) {
        const KernelBuffer *b = &t->wide->buffer.at[i];
        if (!b->is_written) continue;
        size_t count = make_elements(b, m->axes), bad = count;
        for (size_t e = 0; e < count && bad == count; e++)
            if (!make_near(value_get(t, i, m->buffer[i], e), make_get(true, b->type, reference[i], e), t->tolerance))
                bad = e;
        check(c, bad == count, "%s %s%s [%d %d %d]: buffer %d element %zu of %zu: %.9g, expected %.9g", t->k->name,
              t->p->real64 ? "f64" : "f32", t->table ? " table" : "", (int)m->axes[0], (int)m->axes[1], (int)m->axes[2],
              i, bad, count, bad < count ? value_get(t, i, m->buffer[i], bad) : 0,
              bad < count ? make_get(true, b->type, reference[i], bad) : 0);
    }
}

static void check_case(const Case *t) {
    static const ShimOptions orders[] = {{.order = SHIM_ASCENDING}, {.order = SHIM_SHUFFLED, .seed = 7}};
    Checks *c = &t->setup->checks;
    Memory m[2][CALLS];
    int calls = t->table ? CALLS : 1;
    const char *error = NULL;
    unsigned *outside = shim_alloc(4, "outside");
    *outside = 0;
    shim_wrote(outside, 4);
    for (int way = 0; way < 2; way++) {
        for (int call = 0; call < calls; call++) memory_open(t, call, &m[way][call]);
        if (!error) error = run_phases(t, m[way], outside, &orders[way]);
    }
    if (check(c, error == NULL, "%s %s [%d %d]: %s", t->k->name, t->p->real64 ? "f64" : "f32", (int)t->axes[0],
              (int)t->axes[1], error))
        for (int call = 0; call < calls; call++) {
            compare(t, call, &m[0][call]);
            for (int i = 0; i < t->k->buffer.count; i++) {
                const KernelBuffer *b = &t->k->buffer.at[i];
                size_t bytes = make_elements(b, m[0][call].axes) * size_of(t, i);
                check(c, !bytes || !memcmp(m[0][call].buffer[i], m[1][call].buffer[i], bytes),
                      "%s: buffer %d depends on the order of threads", t->k->name, i);
            }
        }
    for (int way = 0; way < 2; way++)
        for (int call = 0; call < calls; call++) memory_close(t, &m[way][call]);
    shim_free(outside);
}

// ---- many kernels: one library
static const char *write_sources(Setup *s, Arena *a, CudaUnit *unit, const char *folder, Text *command) {
    CudaSources sources;
    cuda_sources(unit, &sources);
    text_add(command, "%s kernels %s/kernels.so %s %s checked", s->build, folder, s->kernels, s->shim);
    for (int i = 0; i < sources.source.count; i++) {
        const CudaSource *source = &sources.source.at[i];
        const char *path = arena_format(a, "%s/%s", folder, source->name);
        FILE *f = fopen(path, "w");
        if (!f) return arena_format(a, "%s cannot be written", path);
        fputs(source->text, f);
        if (fclose(f)) return arena_format(a, "%s cannot be written", path);
        text_add(command, " %s", path);
    }
    return NULL;
}

static ShimModule *build_library(Setup *s, Arena *a, CudaUnit *unit) {
    char folder[] = "/tmp/stm_kernels_XXXXXX";
    ShimModule *module = NULL;
    Text command = {.arena = a};
    if (!check(&s->checks, mkdtemp(folder) != NULL, "no temporary directory")) return NULL;
    const char *error = write_sources(s, a, unit, folder, &command);
    if (!error) {
        text_add(&command, " > %s/log 2>&1", folder);
        int status = system(arena_format(a, "%.*s", (int)command.length, command.at));
        if (status != 0 && WIFEXITED(status) && WEXITSTATUS(status) == 77) {
            printf("no g++: skipped\n");
            exit(77);
        }
        if (status != 0) error = arena_format(a, "the functions do not compile; see %s/log", folder);
    }
    if (!error) error = shim_open(arena_format(a, "%s/kernels.so", folder), &module);
    check(&s->checks, error == NULL, "%s", error);
    const char *keep = getenv("STM_KEEP");
    if (keep && *keep) printf("sources: %s\n", folder);
    else if (!error && system(arena_format(a, "rm -rf %s", folder)) != 0) printf("%s stays behind\n", folder);
    return module;
}

typedef struct Wish {   // how a list of kernels is tested
    bool table, narrow; // narrow: every other real buffer as bf16
    StmCompute compute;
    double tolerance;
    const int64_t (*axes)[VALUES];
    int rows;
    bool share, all; // functions that differ in numbers become one; every number becomes a word
} Wish;

// A copy in which every other real buffer is bf16.
static Kernel *narrowed(Arena *a, const Kernel *k) {
    Kernel *out = NEW(a, Kernel);
    *out = *k;
    memset(&out->buffer, 0, sizeof out->buffer);
    for (int i = 0, turn = 0; i < k->buffer.count; i++) {
        KernelBuffer b = k->buffer.at[i];
        bool sums = false;
        for (int st = 0; st < k->stage.count; st++)
            sums = sums || (k->stage.at[st].accumulate && k->stage.at[st].dest == i);
        if (b.type == T_REAL && !sums && turn++ % 2 == 0) b.type = T_BF16;
        vec_push(a, &out->buffer, b);
    }
    return out;
}

static void check_cuda(Setup *s, Arena *a, const Program *p, Kernel *const *kernel, int count, const Wish *wish) {
    CudaUnit *unit = cuda_unit(a, p, wish->compute);
    KernelCode *code = NEW_ARRAY(a, KernelCode, count);
    Kernel **used = NEW_ARRAY(a, Kernel *, count);
    bool *good = NEW_ARRAY(a, bool, count);
    int kept = 0;
    for (int i = 0; i < count; i++) {
        used[i] = wish->narrow ? narrowed(a, kernel[i]) : kernel[i];
        const char *error = kernel_verify(used[i], p);
        if (!error) error = cuda_lower(unit, used[i], wish->table, &code[i]);
        good[i] = check(&s->checks, error == NULL, "%s: %s", kernel[i]->name, error);
        kept += good[i];
    }
    if (kept == 0) return;
    if (wish->share) cuda_share(unit, code, count, wish->all);
    ShimModule *module = build_library(s, a, unit);
    if (!module) return;
    static const char *const computes[] = {"f32", "tf32", "bf16", "f64"};
    printf("%d kernels, %d functions, %s%s%s\n", kept, unit->function.count, computes[wish->compute],
           wish->table ? ", batches" : "", wish->narrow ? ", buffers of bf16" : "");
    fflush(stdout);
    for (int i = 0; i < count; i++)
        for (int row = 0; row < wish->rows && good[i]; row++) {
            Case t = {s, arena_new(), p, used[i], kernel[i], &code[i], module, wish->table, {0}, wish->tolerance};
            memcpy(t.axes, wish->axes[row], sizeof t.axes);
            check_case(&t);
            arena_free(t.arena);
        }
    shim_close(module);
}

// ---- what is tested
static int by_name(Kernel **kernel, int count, const char *name) {
    int n = 0;
    for (int i = 0; i < count; i++)
        if (strncmp(kernel[i]->name, name, strlen(name)) == 0) kernel[n++] = kernel[i];
    return n;
}

static void show(const Program *p, const Kernel *k) {
    Text t = {.arena = arena_new()};
    kernel_print(k, p, &t);
    printf("%.*s", (int)t.length, t.at);
    arena_free(t.arena);
}

// Every `every`-th kernel by hand.
static void test_catalogue(Setup *s, int every, const char *name) {
    static const int64_t axes[][VALUES] = {{7, 13}, {1, 1}, {0, 5}, {33, 129}};
    for (int real64 = 0; real64 < 2; real64++) {
        Arena *a = arena_new();
        Program *p = catalogue_program(a, real64);
        Kernels all = {0};
        catalogue_kernels(a, p, &all);
        int n = 0;
        for (int i = 0; i < all.count; i++)
            if (name || (i + real64) % every == 0) all.at[n++] = all.at[i];
        if (name) n = by_name(all.at, n, name);
        if (name && !real64)
            for (int i = 0; i < n; i++) show(p, all.at[i]);
        Wish wish = {false, false, real64 ? STM_COMPUTE_F64 : STM_COMPUTE_F32, real64 ? 1e-9 : 3e-5, axes, 4,
                     false, false};
        check_cuda(s, a, p, all.at, n, &wish);
        arena_free(a);
    }
}

// Kernels whose reductions are cut, whose rows several warps share, whose locals lie in memory; numbers as words of the
// launch: those that differ, and all of them.
static void test_large(Setup *s, int every, const char *name) {
    static const int64_t axes[][VALUES] = {{7, 13}, {1, 1}, {33, 129}};
    for (int real64 = 0; real64 < 2; real64++) {
        Arena *a = arena_new();
        Program *p = catalogue_program(a, real64);
        Kernels all = {0};
        loops_kernels(a, p, &all);
        int n = 0;
        for (int i = 0; i < all.count; i++)
            if (name || (i + real64) % every == 0) all.at[n++] = all.at[i];
        if (name) n = by_name(all.at, n, name);
        Wish wish = {false, false, real64 ? STM_COMPUTE_F64 : STM_COMPUTE_F32, real64 ? 1e-9 : 3e-5, axes, 3,
                     true,  real64};
        check_cuda(s, a, p, all.at, n, &wish);
        arena_free(a);
    }
}

// Products on tensor cores, and buffers of bf16. Inputs have few bits, so that products are exact in every precision
// unless an operand is computed first.
static void test_precision(Setup *s, int every, const char *name) {
    static const int64_t axes[][VALUES] = {{7, 13}, {33, 129}};
    static const StmCompute compute[] = {STM_COMPUTE_TF32, STM_COMPUTE_BF16, STM_COMPUTE_BF16, STM_COMPUTE_BF16};
    static const double tolerance[] = {3e-5, 3e-5, 8e-3, 0.1};
    for (int way = 0; way < 4; way++) {
        Arena *a = arena_new();
        Program *p = catalogue_program(a, false);
        Kernels all = {0};
        catalogue_kernels(a, p, &all);
        int n = 0;
        for (int i = 0; i < all.count; i++) {
            const Kernel *k = all.at[i];
            bool exact = strncmp(k->name, "batched", 7) != 0;
            bool pixels = !strcmp(k->name, "batched_3") || !strcmp(k->name, "batched_8"); // large sums that cancel
            if (pixels || exact != (way < 3) || (way < 2 && k->kind != KERNEL_CONTRACTION)) continue;
            if (name || (i + way) % every == 0) all.at[n++] = all.at[i];
        }
        if (name) n = by_name(all.at, n, name);
        Wish wish = {false, way >= 2, compute[way], tolerance[way], axes, 2, false, false};
        check_cuda(s, a, p, all.at, n, &wish);
        arena_free(a);
    }
}

static void test_random(Setup *s, int count, uint64_t seed, const char *name) {
    static const int64_t axes[][VALUES] = {{7, 13}, {1, 18}, {0, 5}, {33, 2}};
    for (int way = 0; way < 2; way++) { // exact operations in f32; all in f64
        Arena *a = arena_new();
        Program *p = catalogue_program(a, way > 0);
        Kernel **k = NEW_ARRAY(a, Kernel *, count);
        for (int i = 0, number = 0; i < count; number++) {
            k[i] = random_kernel(a, p, way == 0, seed + (uint64_t)way, number);
            i += iterations(k[i]) < 1e5;
        }
        int n = name ? by_name(k, count, name) : count;
        for (int i = 0; i < n && name; i++) show(p, k[i]);
        Wish wish = {false, false, way ? STM_COMPUTE_F64 : STM_COMPUTE_F32, way ? 1e-9 : 3e-5, axes, 4, false, false};
        check_cuda(s, a, p, k, n, &wish);
        arena_free(a);
    }
}

// An optimiser's update of step0 numbers in place, with a scalar that all calls share; and one with two step extents.
static void add_update(Arena *a, Program *p, Kernels *out, bool dropout) {
    Make m = make_open(a, p, dropout ? "update_random" : "update");
    int axes = p->axis.count;
    Extent step0 = {1, axes};
    int i = make_var(&m, 1, axes);
    make_outer(&m);
    int w = make_buffer(&m, T_REAL, false, 1, &step0, NULL), g = make_buffer(&m, T_REAL, false, 1, &step0, NULL);
    int v = make_buffer(&m, T_REAL, false, 1, &step0, NULL), rate = make_buffer(&m, T_REAL, false, 0, NULL, NULL);
    int to = make_buffer(&m, T_REAL, true, 1, &step0, NULL), moment = make_buffer(&m, T_REAL, true, 1, &step0, NULL);
    int l = make_local(&m, T_REAL, 0, NULL);
    Expr *grad = make_at(&m, g, 1, &i), *decay = expr_const(m.job, 0.875, T_REAL);
    Expr *next = expr_op(m.job, OP_ADD, expr_op(m.job, OP_MUL, decay, make_at(&m, v, 1, &i), NULL), grad, NULL);
    if (dropout) {
        int seed = make_buffer(&m, T_I32, false, 0, NULL, NULL), step = make_buffer(&m, T_I32, false, 0, NULL, NULL);
        m.k->scalar_seed = seed;
        m.k->scalar_step = step;
        Expr *keep = expr_op(m.job, OP_LT, expr_random(m.job, 3), expr_const(m.job, 0.5, T_REAL), NULL);
        next = expr_op(m.job, OP_SELECT, keep, next, expr_const(m.job, 0, T_REAL));
    }
    make_store(&m, 0, 0, NULL, REDUCE_NONE, next, l, 0, NULL);
    Expr *change = expr_op(m.job, OP_MUL, make_at(&m, rate, 0, NULL), make_at(&m, l, 0, NULL), NULL);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, expr_op(m.job, OP_SUB, make_at(&m, w, 1, &i), change, NULL), to, 1, &i);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, make_at(&m, l, 0, NULL), moment, 1, &i);
    vec_push(a, out, m.k);
}

// Row norms of a tensor of step0 x 9: a batch of reductions.
static void add_norms(Arena *a, Program *p, Kernels *out) {
    Make m = make_open(a, p, "norms");
    Extent dim[2] = {{1, p->axis.count}, extent_of(9)};
    int r = make_var(&m, 1, p->axis.count);
    make_outer(&m);
    int c = make_var(&m, 9, -1), rc[2] = {r, c};
    int x = make_buffer(&m, T_REAL, false, 2, dim, NULL), o = make_buffer(&m, T_REAL, true, 1, dim, NULL);
    Expr *in = make_at(&m, x, 2, rc);
    make_store(&m, 0, 1, &c, REDUCE_SUM, expr_op(m.job, OP_MUL, in, in, NULL), o, 1, &r);
    vec_push(a, out, m.k);
}

static void test_tables(Setup *s, const char *name) {
    static const int64_t axes[][VALUES] = {{7, 13, 1000, 2}, {1, 1, 4, 1}, {3, 5, 257, 3}};
    for (int real64 = 0; real64 < 2; real64++) {
        Arena *a = arena_new();
        Program *p = catalogue_program(a, real64);
        Kernels some = {0}, all = {0};
        for (int dropout = 0; dropout < 2; dropout++) add_update(a, p, &some, dropout);
        add_norms(a, p, &some);
        catalogue_kernels(a, p, &all);
        for (int i = 0; i < all.count; i += 11)
            if (all.at[i]->kind == KERNEL_LOOPS) vec_push(a, &some, all.at[i]);
        if (name) some.count = by_name(some.at, some.count, name);
        for (int i = 0; i < some.count && name && !real64; i++) show(p, some.at[i]);
        Wish wish = {true,  false, real64 ? STM_COMPUTE_F64 : STM_COMPUTE_F32, real64 ? 1e-9 : 3e-5, axes, 3,
                     false, false};
        check_cuda(s, a, p, some.at, some.count, &wish);
        wish.share = wish.all = true; // every number as a word
        check_cuda(s, a, p, some.at, some.count, &wish);
        wish.share = wish.all = wish.table = false;
        check_cuda(s, a, p, some.at, some.count < 3 ? some.count : 3, &wish); // step extents as parameters
        arena_free(a);
    }
}

int main(int argc, char **argv) {
    if (argc < 4) {
        printf(
            "usage: kernels_test BUILD_SHIM KERNELS_DIR SHIM.so [catalogue|precision|large|random|table [kernels [seed "
            "[name]]]]\n");
        return 2;
    }
    Setup s = {.build = argv[1], .kernels = argv[2], .shim = argv[3]};
    const char *what = argc > 4 ? argv[4] : "all", *name = argc > 7 ? argv[7] : NULL;
    int count = argc > 5 ? atoi(argv[5]) : 0;
    uint64_t seed = argc > 6 ? strtoull(argv[6], NULL, 10) : 1;
    bool all = !strcmp(what, "all");
    if (all || !strcmp(what, "catalogue")) test_catalogue(&s, count > 0 ? count : 3, name);
    if (all || !strcmp(what, "precision")) test_precision(&s, count > 0 ? count : 4, name);
    if (all || !strcmp(what, "large")) test_large(&s, count > 0 ? count : 3, name);
    if (all || !strcmp(what, "random")) test_random(&s, count > 0 ? count : 24, seed, name);
    if (all || !strcmp(what, "table")) test_tables(&s, name);
    check(&s.checks, shim_allocated() == 0, "memory of the shim is left over");
    return checks_end(&s.checks);
}
