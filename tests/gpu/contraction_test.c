// Contractions of real models on the host: every contraction that the models' jobs need -> contraction_lower -> CUDA C
// -> g++ with every access instrumented -> the shim, on buffers of exact size -> compared with the reference runner.
// Models are shrunk first: extents of more than a few are replaced by small ones, odd ones among them, everywhere
// alike. Operands are small multiples of 1/8, which tf32 and bf16 hold exactly, so that all precisions must agree.
//
// Usage: contraction_test BUILD_SHIM KERNELS_DIR SHIM.so STDLIB EVERY FILE.stm...
// EVERY n: of the kernels of each round only every n-th. Environment: STM_KEEP keeps the sources.
#include <sys/wait.h>
#include <unistd.h>

#include "elaborate/elaborate.h"
#include "kernel_run.h"
#include "pass/pass.h"
#include "pass_harness.h"
#include "shim/shim.h"
#include "syntax/syntax.h"
#include "target/cuda/contraction.h"

enum { MOST_AXES = 32, MOST_WORK = 600000, MOST_ELEMENTS = 200000 };

typedef struct Setup {
    Checks checks;
    const char *build, *kernels, *shim, *stdlib;
    int matmuls, instances, loops, functions;
} Setup;

typedef struct Round { // one way to lower and run
    const char *name;
    StmCompute compute;
    bool real64;
    bool random; // results are multiplied by random numbers
    bool narrow; // reads and results of contractions are stored as bf16
    ContractionPolicy policy;
    int64_t dynamic; // value of dynamic axes
} Round;

// ---- memory of one element
static size_t bytes_of(bool real64, ElementType t) {
    return t == T_REAL ? (real64 ? 8 : 4) : t == T_BF16 ? 2 : t == T_I64 ? 8 : t == T_I32 ? 4 : 1;
}

static double get(bool real64, ElementType t, const char *at, size_t i) {
    at += bytes_of(real64, t) * i;
    float f;
    double d;
    int32_t w;
    int64_t l;
    uint32_t bits;
    uint16_t half;
    switch (t) {
    case T_REAL:
        if (real64) return memcpy(&d, at, 8), d;
        return memcpy(&f, at, 4), f;
    case T_BF16:
        memcpy(&half, at, 2);
        bits = (uint32_t)half << 16;
        return memcpy(&f, &bits, 4), f;
    case T_I32: return memcpy(&w, at, 4), w;
    case T_I64: return memcpy(&l, at, 8), (double)l;
    default: return *(const unsigned char *)at;
    }
}

static void put(bool real64, ElementType t, char *at, size_t i, double x) {
    at += bytes_of(real64, t) * i;
    float f = (float)x;
    int32_t w = (int32_t)x;
    int64_t l = (int64_t)x;
    uint32_t bits;
    switch (t) {
    case T_REAL:
        if (real64) memcpy(at, &x, 8);
        else memcpy(at, &f, 4);
        return;
    case T_BF16:
        memcpy(&bits, &f, 4);
        bits += 0x7fff + (bits >> 16 & 1);
        memcpy(at, (char *)&bits + 2, 2);
        return;
    case T_I32: memcpy(at, &w, 4); return;
    case T_I64: memcpy(at, &l, 8); return;
    default: *at = (char)(unsigned char)x;
    }
}

// ---- one kernel
typedef struct Case {
    Setup *setup;
    Arena *arena;
    const Program *p;
    const Kernel *k;
    KernelCode code;
    const Round *round;
    ShimModule *module;
    int64_t axes[MOST_AXES];
} Case;

typedef struct Memory {
    char *buffer[64], *workspace[CODE_MAX_WORKSPACES];
} Memory;

static int64_t value(const Case *t, Extent e) {
    return e.axis < 0 ? e.count : e.count * t->axes[e.axis];
}

static int64_t plan_value(const Case *t, StmExtent e) {
    return e.axis < 0 ? e.count : e.count * t->axes[e.axis];
}

static size_t elements(const Case *t, int buffer) {
    const KernelBuffer *b = &t->k->buffer.at[buffer];
    size_t n = 1;
    for (int i = 0; i < b->rank; i++) n *= (size_t)value(t, b->dim[i]);
    return n;
}

static double initial(const Case *t, Dice *d, int buffer) {
    switch (t->k->buffer.at[buffer].type) {
    case T_REAL:
    case T_BF16: return (dice_below(d, 33) - 16) / 8.0;
    case T_I32:
    case T_I64: return dice_below(d, 3);
    case T_U8: return dice_below(d, 256);
    default: return dice_below(d, 2);
    }
}

static void *argument(const Case *t, int phase, int i, const Memory *m) {
    int arg = t->code.phase[phase].arg[i];
    return arg >= 0 ? m->buffer[arg] : m->workspace[~arg];
}

static const char *launch(const Case *t, int phase, const Memory *m, unsigned *outside, const ShimOptions *o) {
    const StmLaunch *l = t->code.phase[phase].launch;
    void *pointer[128], *parameter[256];
    int extent[64], n = 0;
    int64_t parts = value(t, t->code.phase[phase].parts), divide = t->code.phase[phase].divide;
    int64_t grid = t->code.phase[phase].times * ((parts + divide - 1) / divide);
    for (int i = 0; i < t->code.phase[phase].args; i++) {
        pointer[i] = argument(t, phase, i, m);
        parameter[n++] = &pointer[i];
    }
    if (l->words) parameter[n++] = (void *)(uintptr_t)l->word;
    for (int i = 0; i < l->extents; i++) {
        extent[i] = (int)t->axes[l->extent[i]];
        parameter[n++] = &extent[i];
    }
    parameter[n++] = &outside;
    const ShimKernel *k = shim_find(t->module, l->function);
    if (!k) return arena_format(t->arena, "%s is not in the library", l->function);
    if (shim_parameters(k) != n)
        return arena_format(t->arena, "%s has %d parameters, its launch %d", l->function, shim_parameters(k), n);
    if (l->words && shim_parameter_size(k, t->code.phase[phase].args) != 8 * l->words)
        return arena_format(t->arena, "%s: words of %d bytes, the launch has %d", l->function,
                            shim_parameter_size(k, t->code.phase[phase].args), 8 * l->words);
    if (grid > 6) grid = 6; // blocks take tiles in turn
    return grid ? shim_launch(k, (unsigned)grid, (unsigned)l->threads, (size_t)l->shared, parameter, o) : NULL;
}

// What cuBLASLt would do, by program.h.
static ElementType type_of(StmType t) {
    return t == STM_BF16 ? T_BF16 : T_REAL;
}

static double gelu(double x) {
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

static const char *matmul(const Case *t, int phase, const Memory *m) {
    const StmMatmul *x = t->code.phase[phase].matmul;
    int64_t rows = plan_value(t, x->m), columns = plan_value(t, x->n), depth = plan_value(t, x->k);
    int64_t lda = plan_value(t, x->lda), ldb = plan_value(t, x->ldb), ldd = plan_value(t, x->ldd);
    const char *a = argument(t, phase, x->a, m), *b = argument(t, phase, x->b, m);
    char *d = argument(t, phase, x->d, m), *bias = x->bias >= 0 ? argument(t, phase, x->bias, m) : NULL;
    char *aux = x->aux >= 0 ? argument(t, phase, x->aux, m) : NULL;
    bool f64 = t->p->real64;
    ElementType in = type_of(x->in), out = type_of(x->out);
    if ((x->in == STM_F64) != f64 || (x->out == STM_F64) != f64) return "a product of the wrong type";
    if (lda < (x->transpose_a ? rows : depth) || ldb < (x->transpose_b ? depth : columns) || ldd < columns)
        return "a leading dimension is too small";
    for (int64_t z = 0; z < plan_value(t, x->batch); z++)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++) {
                double sum = 0;
                for (int64_t k = 0; k < depth; k++) {
                    int64_t at =
                        x->offset_a + z * plan_value(t, x->stride_a) + (x->transpose_a ? k * lda + i : i * lda + k);
                    int64_t bt =
                        x->offset_b + z * plan_value(t, x->stride_b) + (x->transpose_b ? j * ldb + k : k * ldb + j);
                    size_t size = bytes_of(f64, in);
                    if (shim_inside(a + (size_t)at * size, size) || shim_inside(b + (size_t)bt * size, size))
                        return "an operand of the product is outside its buffer";
                    sum += get(f64, in, a, (size_t)at) * get(f64, in, b, (size_t)bt);
                }
                if (bias) sum += get(f64, T_REAL, bias, (size_t)j);
                int64_t at = x->offset_d + z * plan_value(t, x->stride_d) + i * ldd + j;
                size_t size = bytes_of(f64, out);
                if (shim_inside(d + (size_t)at * size, size)) return "the result of the product is outside its buffer";
                if (aux) put(f64, out, aux, (size_t)at, sum), shim_wrote(aux + (size_t)at * size, size);
                if (x->epilogue == STM_EPILOGUE_RELU || x->epilogue == STM_EPILOGUE_RELU_BIAS) sum = sum > 0 ? sum : 0;
                if (x->epilogue >= STM_EPILOGUE_GELU && x->epilogue <= STM_EPILOGUE_GELU_AUX_BIAS) sum = gelu(sum);
                put(f64, out, d, (size_t)at, sum);
                shim_wrote(d + (size_t)at * size, size);
            }
    return NULL;
}

static const char *run_phases(const Case *t, const Memory *m, unsigned *outside, const ShimOptions *o) {
    const char *error = NULL;
    for (int i = 0; i < t->code.phases && !error; i++)
        error = t->code.phase[i].matmul ? matmul(t, i, m) : launch(t, i, m, outside, o);
    return error ? arena_format(t->arena, "%s", error) : NULL;
}

static void memory_open(const Case *t, Memory *m) {
    for (int i = 0; i < t->k->buffer.count; i++) {
        const KernelBuffer *b = &t->k->buffer.at[i];
        size_t count = elements(t, i), bytes = count * bytes_of(t->p->real64, b->type);
        m->buffer[i] = shim_alloc(bytes, arena_format(t->arena, "b%d", i));
        Dice d = {(uint64_t)i * 77 + 5};
        if (!b->is_read) continue;
        for (size_t e = 0; e < count; e++) put(t->p->real64, b->type, m->buffer[i], e, initial(t, &d, i));
        shim_wrote(m->buffer[i], bytes);
    }
    for (int w = 0; w < t->code.workspaces; w++) {
        int64_t bytes = t->code.workspace[w].bytes;
        for (int i = 0; i < 2; i++)
            if (t->code.workspace[w].axis[i] >= 0) bytes *= t->axes[t->code.workspace[w].axis[i]];
        m->workspace[w] = shim_alloc((size_t)bytes, arena_format(t->arena, "workspace %d", w));
    }
}

static void memory_close(const Case *t, Memory *m) {
    for (int i = 0; i < t->k->buffer.count; i++) shim_free(m->buffer[i]);
    for (int w = 0; w < t->code.workspaces; w++) shim_free(m->workspace[w]);
}

static void compare(const Case *t, const Memory *m) {
    Checks *c = &t->setup->checks;
    void *reference[64];
    Program wide = *t->p; // the reference runner computes in f64
    wide.real64 = true;
    Kernel k = *t->k;
    k.buffer.at = arena_copy(t->arena, k.buffer.at, sizeof *k.buffer.at * (size_t)k.buffer.count);
    for (int i = 0; i < k.buffer.count; i++) {
        KernelBuffer *b = &k.buffer.at[i];
        size_t count = elements(t, i);
        Dice d = {(uint64_t)i * 77 + 5};
        if (b->type == T_BF16) b->type = T_REAL;
        reference[i] = arena_alloc(t->arena, count * 8 + 8);
        for (size_t e = 0; e < count; e++) put(true, b->type, reference[i], e, initial(t, &d, i));
    }
    const char *error = kernel_run(t->arena, &wide, &k, reference, t->axes, false);
    if (!check(c, error == NULL, "%s: reference: %s", k.name, error)) return;
    for (int i = 0; i < k.buffer.count; i++) {
        ElementType type = t->k->buffer.at[i].type;
        if (!k.buffer.at[i].is_written) continue;
        size_t count = elements(t, i), bad = count;
        double tolerance = type == T_BF16 ? 1.0 / 128 : t->p->real64 ? 1e-12 : 1e-5, got = 0, wanted = 0, scale = 1;
        for (size_t e = 0; e < count; e++) scale = fmax(scale, fabs(get(true, k.buffer.at[i].type, reference[i], e)));
        for (size_t e = 0; e < count && bad == count; e++) {
            got = get(t->p->real64, type, m->buffer[i], e);
            wanted = get(true, k.buffer.at[i].type, reference[i], e);
            bool near = isnan(wanted)   ? isnan(got)
                        : isinf(wanted) ? got == wanted
                                        : fabs(got - wanted) <= tolerance * (scale + fabs(wanted));
            if (!near) bad = e;
        }
        check(c, bad == count, "%s %s: buffer %d element %zu of %zu: %.9g, expected %.9g", k.name, t->round->name, i,
              bad, count, got, wanted);
    }
}

static void check_case(const Case *t) {
    static const ShimOptions orders[] = {{.order = SHIM_ASCENDING}, {.order = SHIM_SHUFFLED, .seed = 7}};
    Checks *c = &t->setup->checks;
    Memory m[2];
    unsigned *outside = shim_alloc(4, "outside");
    *outside = 0;
    shim_wrote(outside, 4);
    const char *error = NULL;
    for (int way = 0; way < 2; way++) {
        memory_open(t, &m[way]);
        if (!error) error = run_phases(t, &m[way], outside, &orders[way]);
    }
    if (check(c, error == NULL, "%s %s: %s", t->k->name, t->round->name, error)) {
        compare(t, &m[0]);
        for (int i = 0; i < t->k->buffer.count; i++) {
            size_t bytes = elements(t, i) * bytes_of(t->p->real64, t->k->buffer.at[i].type);
            check(c, !bytes || !memcmp(m[0].buffer[i], m[1].buffer[i], bytes),
                  "%s %s: buffer %d depends on the order of threads", t->k->name, t->round->name, i);
        }
    }
    for (int way = 0; way < 2; way++) memory_close(t, &m[way]);
    shim_free(outside);
}

// ---- models
static KernelProgram *model(Setup *s, Arena *arena, const char *path, bool real64) {
    Sources *sources = NEW(arena, Sources);
    Names *names = names_new(arena);
    sources->arena = arena;
    Diagnostics *d = diagnostics_new(arena, sources);
    int file = sources_read(sources, path);
    if (!check(&s->checks, file >= 0, "%s cannot be read", path)) return NULL;
    Node *tree = parse_file(arena, names, sources, d, file);
    ElaborateOptions options = {.stdlib = s->stdlib, .real64 = real64, .parse = parse_file};
    Program *p = tree ? elaborate(arena, names, sources, d, tree, &options) : NULL;
    options.tests = true;
    if (p && p->job.count <= 1) p = elaborate(arena, names, sources, d, tree, &options); // tests alone
    bool fine = p && !diagnostics_count(d) && !program_verify(p);
    for (int i = 0; fine && i < p->job.count; i++) fine = differentiate(p, p->job.at[i], d);
    if (!fine) diagnostics_print(d, stdout, false);
    if (!check(&s->checks, fine, "%s does not compile", path)) return NULL;
    program_verify(p);
    for (int i = 0; i < p->job.count; i++) simplify(p, p->job.at[i]);
    program_verify(p);
    for (int i = 0; i < p->job.count; i++) layout_job(p, p->job.at[i]);
    program_verify(p);
    FusePolicy policy = fuse_default;
    policy.contraction_flops = 64; // tests of the library are small
    policy.random_elements = 16;   // so are their random numbers
    KernelProgram *k = fuse_program(p, &policy);
    schedule_kernels(k);
    return k;
}

static int64_t shrunk_count(int64_t n) {
    if (n <= 8) return n;
    if (n % 64 == 0) return 4 + 4 * (n / 64 % 4);
    if (n % 4 == 0) return 8;
    return n % 2 ? 5 : 6;
}

static Extent shrunk(Extent e) {
    return (Extent){shrunk_count(e.count), e.axis};
}

typedef struct Shrink {
    Arena *arena;
    struct {
        const Expr *from;
        Expr *to;
    } at[4096];
    int count;
} Shrink;

static Expr *shrink_expr(Shrink *s, const Expr *e);

static Position *shrink_positions(Shrink *s, int rank, const Position *from) {
    Position *to = arena_copy(s->arena, from, sizeof *from * (size_t)(rank ? rank : 1));
    for (int d = 0; d < rank; d++) {
        int var;
        if (to[d].gather) to[d].gather = shrink_expr(s, to[d].gather);
        if (!position_is_var(&to[d], &var)) to[d].guarded = true; // dimensions no longer fit together
    }
    return to;
}

static Expr *shrink_expr(Shrink *s, const Expr *e) {
    for (int i = 0; i < s->count; i++)
        if (s->at[i].from == e) return s->at[i].to;
    Expr *to = arena_copy(s->arena, e, sizeof *e);
    for (int i = 0; i < e->arity; i++) to->arg[i] = shrink_expr(s, e->arg[i]);
    if (e->op == OP_READ) to->position = shrink_positions(s, e->rank, e->position);
    if (e->op == OP_EXTENT) to->extent = shrunk(e->extent);
    EXPECT(s->count < 4096);
    s->at[s->count].from = e;
    s->at[s->count++].to = to;
    return to;
}

static Kernel *shrink(Arena *arena, const Kernel *from) {
    Kernel *k = arena_copy(arena, from, sizeof *from);
    Shrink *s = NEW(arena, Shrink);
    s->arena = arena;
    k->buffer.at = arena_copy(arena, from->buffer.at, sizeof *from->buffer.at * (size_t)from->buffer.count);
    k->local.at = arena_copy(arena, from->local.at, sizeof *from->local.at * (size_t)from->local.count);
    k->stage.at = arena_copy(arena, from->stage.at, sizeof *from->stage.at * (size_t)from->stage.count);
    for (int v = 0; v < k->vars; v++) k->var[v].extent = shrunk(k->var[v].extent);
    for (int i = 0; i < k->buffer.count; i++)
        for (int d = 0; d < k->buffer.at[i].rank; d++) k->buffer.at[i].dim[d] = shrunk(k->buffer.at[i].dim[d]);
    for (int i = 0; i < k->local.count; i++)
        for (int d = 0; d < k->local.at[i].rank; d++) k->local.at[i].dim[d] = shrunk(k->local.at[i].dim[d]);
    for (int i = 0; i < k->stage.count; i++) {
        Stage *stage = &k->stage.at[i];
        stage->value = shrink_expr(s, stage->value);
        stage->target = shrink_positions(s, stage->rank, stage->target);
    }
    return k;
}

static void store_as_bf16(Kernel *k) { // large reals; vectors stay
    for (int i = 0; i < k->buffer.count; i++)
        if (k->buffer.at[i].type == T_REAL && k->buffer.at[i].rank > 1) k->buffer.at[i].type = T_BF16;
}

// Multiplies what the last stage stores by random numbers.
static void add_random(Arena *arena, Kernel *k) {
    Stage *last = &k->stage.at[k->stage.count - 1];
    Expr *random = NEW(arena, Expr), *product = NEW(arena, Expr);
    if (last->dest < 0 || last->value->type != T_REAL || k->scalar_seed >= 0) return;
    *random = (Expr){.op = OP_RANDOM, .type = T_REAL, .place = 3, .extent = extent_of(0)};
    random->extent.axis = -1;
    *product = (Expr){.op = OP_MUL, .type = T_REAL, .arity = 2, .arg = {last->value, random}};
    last->value = product;
    KernelBuffer scalar = {.type = T_I32, .is_read = true};
    k->scalar_seed = k->buffer.count;
    k->scalar_step = k->buffer.count + 1;
    k->buffer.room = k->buffer.count; // a copy of its own
    vec_push(arena, &k->buffer, scalar);
    vec_push(arena, &k->buffer, scalar);
}

static bool small_enough(const Case *t) {
    double work = 1;
    for (int i = 0; i < t->k->stage.at[0].vars; i++)
        work *= (double)value(t, t->k->var[t->k->stage.at[0].var[i]].extent);
    for (int i = 0; i < t->k->buffer.count; i++)
        if (elements(t, i) > MOST_ELEMENTS) return false;
    return work <= MOST_WORK;
}

// ---- many kernels: one library
static ShimModule *build_library(Setup *s, Arena *a, CudaUnit *unit) {
    char folder[] = "/tmp/stm_contractions_XXXXXX";
    ShimModule *module = NULL;
    Text command = {.arena = a};
    CudaSources sources;
    const char *error = NULL;
    if (!check(&s->checks, mkdtemp(folder) != NULL, "no temporary directory")) return NULL;
    cuda_sources(unit, &sources);
    text_add(&command, "%s kernels %s/kernels.so %s %s checked", s->build, folder, s->kernels, s->shim);
    for (int i = 0; i < sources.source.count; i++) {
        const char *path = arena_format(a, "%s/%s", folder, sources.source.at[i].name);
        FILE *f = fopen(path, "w");
        if (f) fputs(sources.source.at[i].text, f);
        if (!f || fclose(f)) error = arena_format(a, "%s cannot be written", path);
        text_add(&command, " %s", path);
    }
    text_add(&command, " > %s/log 2>&1", folder);
    int status = error ? 0 : system(arena_format(a, "%.*s", (int)command.length, command.at));
    if (status != 0 && WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("no g++: skipped\n");
        exit(77);
    }
    if (status != 0) error = arena_format(a, "the functions do not compile; see %s/log", folder);
    if (!error) error = shim_open(arena_format(a, "%s/kernels.so", folder), &module);
    check(&s->checks, error == NULL, "%s", error);
    const char *keep = getenv("STM_KEEP");
    if (keep && *keep) printf("sources: %s\n", folder);
    else if (!error && system(arena_format(a, "rm -rf %s", folder)) != 0) printf("%s stays behind\n", folder);
    return module;
}

typedef struct Cases {
    VEC(Case *) list;
} Cases;

static bool has_name(const Cases *c, const char *name) {
    for (int i = 0; i < c->list.count; i++)
        if (!strcmp(c->list.at[i]->k->name, name)) return true;
    return false;
}

static void check_model(Setup *s, const char *path, const Round *round, int every) {
    Arena *a = arena_new();
    KernelProgram *k = model(s, a, path, round->real64);
    if (!k) return arena_free(a);
    Program *p = k->program;
    CudaUnit *unit = cuda_unit(a, p, round->compute);
    Cases cases = {0};
    EXPECT(p->axis.count <= MOST_AXES);
    for (int i = 0, n = 0; i < k->kernel.count; i++) {
        const Kernel *from = k->kernel.at[i];
        if (from->kind != KERNEL_CONTRACTION || has_name(&cases, from->name)) continue;
        if (n++ % every) continue;
        Case *t = NEW(a, Case);
        *t = (Case){.setup = s, .arena = a, .p = p, .round = round};
        Kernel *small = shrink(a, from);
        if (round->narrow) store_as_bf16(small);
        if (round->random) add_random(a, small);
        t->k = small;
        for (int x = 0; x < p->axis.count; x++)
            t->axes[x] = p->axis.at[x].dynamic ? round->dynamic : p->axis.at[x].count;
        if (!small_enough(t)) continue;
        const char *why = NULL, *error = contraction_lower(unit, small, &round->policy, &t->code, &why);
        if (!check(&s->checks, error == NULL, "%s: %s", small->name, error)) continue;
        if (why) {
            printf("%s %s: loops, for %s\n", path, small->name, why);
            s->loops++;
            continue;
        }
        if (t->code.phase[t->code.phases - 1].matmul) s->matmuls++;
        else s->instances++;
        vec_push(a, &cases.list, t);
    }
    ShimModule *module = cases.list.count ? build_library(s, a, unit) : NULL;
    s->functions += unit->function.count;
    for (int i = 0; module && i < cases.list.count; i++) {
        cases.list.at[i]->module = module;
        cases.list.at[i]->arena = arena_new();
        check_case(cases.list.at[i]);
        arena_free(cases.list.at[i]->arena);
    }
    printf("%s, %s: %d contractions, %d functions\n", path, round->name, cases.list.count, unit->function.count);
    fflush(stdout);
    if (module) shim_close(module);
    arena_free(a);
}

int main(int argc, char **argv) {
    // .tile counts the tiles of the round's precision.
    static const Round rounds[] = {
        {.name = "tf32", .compute = STM_COMPUTE_TF32, .policy = {.pack_flops = 1, .tile = 2}, .dynamic = 3},
        {.name = "f32 in slices",
         .random = true,
         .policy = {.pack_flops = 1 << 20, .tile = 3, .slices = 3},
         .dynamic = 2},
        {.name = "bf16",
         .compute = STM_COMPUTE_BF16,
         .narrow = true,
         .policy = {.pack_flops = 1, .tile = 4, .slices = 2},
         .dynamic = 3},
        {.name = "f64",
         .compute = STM_COMPUTE_F64,
         .real64 = true,
         .random = true,
         .policy = {.pack_flops = 1 << 20, .tile = -1},
         .dynamic = 1},
        {.name = "nothing", .policy = {.pack_flops = 1 << 20, .tile = 3}, .dynamic = 0},
        {.name = "matmul",
         .compute = STM_COMPUTE_TF32,
         .policy = {.matmul = true, .any_matmul = true, .pack_flops = 1 << 20, .tile = 4},
         .dynamic = 5},
        {.name = "bf16 matmul",
         .compute = STM_COMPUTE_BF16,
         .narrow = true,
         .policy = {.matmul = true, .any_matmul = true, .pack_flops = 1, .tile = 1},
         .dynamic = 2},
    };
    if (argc < 7) {
        printf("usage: contraction_test BUILD_SHIM KERNELS_DIR SHIM.so STDLIB EVERY FILE.stm...\n");
        return 2;
    }
    Setup s = {.build = argv[1], .kernels = argv[2], .shim = argv[3], .stdlib = argv[4]};
    const char *only = getenv("STM_ROUND");
    int every = atoi(argv[5]) > 0 ? atoi(argv[5]) : 1;
    for (size_t r = 0; r < sizeof rounds / sizeof *rounds; r++)
        for (int i = 6; i < argc; i++)
            if (!only || !strcmp(only, rounds[r].name)) check_model(&s, argv[i], &rounds[r], every);
    printf("%d matmuls, %d instances, %d loops, %d functions\n", s.matmuls, s.instances, s.loops, s.functions);
    check(&s.checks, only || (s.matmuls > 0 && s.instances > 0), "the models have matmuls and instances");
    return checks_end(&s.checks);
}
