// See kernel_make.h. Buffers end (or, second run, begin) at a page that cannot be touched, so an access outside is a
// crash that names the kernel.
#include "kernel_make.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

Make make_open(Arena *arena, Program *p, const char *name) {
    Make m = {arena, p, program_job(p, name), NEW(arena, Kernel)};
    m.k->name = name;
    m.k->scalar_seed = m.k->scalar_step = m.k->lane = m.k->split = -1;
    return m;
}

int make_var(Make *m, int64_t count, int axis) {
    m->k->var[m->k->vars] = (Variable){arena_format(m->arena, "v%d", m->k->vars), {count, axis}};
    return m->k->vars++;
}

void make_outer(Make *m) {
    m->k->outer = m->k->vars;
}

int make_buffer(Make *m, ElementType type, bool write, int rank, const Extent *dim, const int *order) {
    KernelBuffer b = {.type = type, .rank = rank, .is_read = !write, .is_written = write};
    for (int i = 0; i < rank; i++) {
        b.dim[i] = dim[i];
        b.order[i] = order ? order[i] : i;
    }
    vec_push(m->arena, &m->k->buffer, b);
    return m->k->buffer.count - 1;
}

int make_local(Make *m, ElementType type, int rank, const Extent *dim) {
    KernelLocal l = {.type = type, .rank = rank};
    for (int i = 0; i < rank; i++) l.dim[i] = dim[i];
    vec_push(m->arena, &m->k->local, l);
    return ~(m->k->local.count - 1);
}

Expr *make_read(Make *m, int tensor, int rank, const Position *position) {
    Tensor t = {
        .id = tensor, .rank = rank, .type = tensor >= 0 ? m->k->buffer.at[tensor].type : m->k->local.at[~tensor].type};
    return expr_read(m->job, &t, position, NO_SPAN);
}

Expr *make_at(Make *m, int tensor, int rank, const int *var) {
    Position p[MAX_RANK];
    for (int i = 0; i < rank; i++) p[i] = position_var(var[i]);
    return make_read(m, tensor, rank, p);
}

Stage *make_stage(Make *m, int free, int vars, const int *var, Reduce reduce, Expr *value, int dest, int rank,
                  const Position *target) {
    Stage s = {.free = free, .vars = vars, .reduce = reduce, .value = value, .dest = dest, .rank = rank};
    for (int i = 0; i < vars; i++) s.var[i] = var[i];
    s.target = NEW_ARRAY(m->arena, Position, rank + 1);
    for (int i = 0; i < rank; i++) s.target[i] = target[i];
    vec_push(m->arena, &m->k->stage, s);
    return &vec_last(&m->k->stage);
}

Stage *make_store(Make *m, int free, int vars, const int *var, Reduce reduce, Expr *value, int dest, int rank,
                  const int *target) {
    Position p[MAX_RANK];
    for (int i = 0; i < rank; i++) p[i] = position_var(target[i]);
    return make_stage(m, free, vars, var, reduce, value, dest, rank, p);
}

Position make_affine2(int var, int64_t coef, int var2, int64_t coef2, int64_t offset, bool guarded) {
    Position p = position_const(offset);
    p.guarded = guarded;
    if (var2 >= 0 && var2 < var) {
        int v = var;
        int64_t c = coef;
        var = var2, coef = coef2, var2 = v, coef2 = c;
    }
    p.term[p.terms++] = (Term){var, coef};
    if (var2 >= 0) p.term[p.terms++] = (Term){var2, coef2};
    return p;
}

Position make_affine(int var, int64_t coef, int64_t offset, bool guarded) {
    return make_affine2(var, coef, -1, 0, offset, guarded);
}

// ---- running
typedef struct Guarded {
    char *map, *at;
    size_t mapped, bytes;
} Guarded;

static Guarded guarded_alloc(size_t bytes, bool at_end) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + page - 1) / page * page;
    Guarded g = {.mapped = body + 2 * page, .bytes = bytes};
    g.map = mmap(NULL, g.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED) abort();
    if (body && mprotect(g.map + page, body, PROT_READ | PROT_WRITE)) abort();
    g.at = g.map + page + (at_end ? body - bytes : 0);
    return g;
}

static void guarded_free(Guarded *g) {
    munmap(g->map, g->mapped);
}

static sigjmp_buf fault;
static void on_fault(int signal_number) {
    siglongjmp(fault, signal_number);
}

int64_t make_value(Extent e, const int64_t *axes) {
    return e.axis < 0 ? e.count : e.count * axes[e.axis];
}

size_t make_elements(const KernelBuffer *b, const int64_t *axes) {
    size_t n = 1;
    for (int i = 0; i < b->rank; i++) n *= (size_t)make_value(b->dim[i], axes);
    return n;
}

size_t make_bytes(bool real64, ElementType t) {
    return t == T_REAL ? (real64 ? 8 : 4) : t == T_I64 ? 8 : t == T_I32 ? 4 : 1;
}

double make_get(bool real64, ElementType t, const char *at, size_t i) {
    switch (t) {
    case T_REAL:
        if (real64) {
            double d;
            memcpy(&d, at + 8 * i, 8);
            return d;
        } else {
            float f;
            memcpy(&f, at + 4 * i, 4);
            return f;
        }
    case T_I32: {
        int32_t v;
        memcpy(&v, at + 4 * i, 4);
        return v;
    }
    case T_I64: {
        int64_t v;
        memcpy(&v, at + 8 * i, 8);
        return (double)v;
    }
    default: return (unsigned char)at[i];
    }
}

void make_put(bool real64, ElementType t, char *at, size_t i, double d) {
    float f = (float)d;
    int32_t w = (int32_t)d;
    int64_t l = (int64_t)d;
    if (t == T_REAL && real64) memcpy(at + 8 * i, &d, 8);
    else if (t == T_REAL) memcpy(at + 4 * i, &f, 4);
    else if (t == T_I32) memcpy(at + 4 * i, &w, 4);
    else if (t == T_I64) memcpy(at + 8 * i, &l, 8);
    else at[i] = (char)(unsigned char)d;
}

static bool accumulates(const Kernel *k, int buffer) {
    for (int s = 0; s < k->stage.count; s++)
        if (k->stage.at[s].dest == buffer && k->stage.at[s].accumulate) return true;
    return false;
}

double make_initial(Dice *d, const Kernel *k, int buffer) {
    const KernelBuffer *b = &k->buffer.at[buffer];
    if (accumulates(k, buffer)) return 0;
    switch (b->type) {
    case T_REAL: return (dice_below(d, 257) - 128) / 64.0;
    case T_I32:
    case T_I64: return dice_below(d, 9) - 1; // positions of gathers: mostly inside
    case T_U8: return dice_below(d, 256);
    default: return dice_below(d, 2);
    }
}

typedef struct Case {
    Checks *c;
    Arena *arena;
    Program *p;
    const Kernel *k;
    const CpuLowering *lowering;
    const int64_t *axes;
    Jit *jit;
    double tolerance;
} Case;

static const char *run_phase(const Case *t, CpuLevel level, const CpuPhase *phase, Guarded *buffer, Guarded *workspace,
                             char *scratch, int way) {
    JitKernel f = jit_kernel(t->jit, phase->name, level);
    void *arg[64];
    if (!f) return "no such function";
    for (int a = 0; a < phase->args; a++)
        arg[a] = phase->arg[a] >= 0 ? buffer[phase->arg[a]].at : workspace[~phase->arg[a]].at;
    int64_t parts = (make_value(phase->parts, t->axes) + phase->divide - 1) / phase->divide;
    int number = sigsetjmp(fault, 1);
    if (number) return arena_format(t->arena, "signal %d in %s", number, phase->name);
    if (way == 0) f(arg, t->axes, scratch, 0, parts);
    else if (way == 1)
        for (int64_t j = parts - 1; j >= 0; j--) f(arg, t->axes, scratch, j, j + 1);
    else
        for (int64_t j = 0; j < parts; j += 3) f(arg, t->axes, scratch, j, j + 3 < parts ? j + 3 : parts);
    if (way == 2) f(arg, t->axes, scratch, parts, parts);
    return NULL;
}

static const char *run_phases(const Case *t, CpuLevel level, Guarded *buffer, Guarded *workspace, char *scratch,
                              int way) {
    const char *error = NULL;
    for (int i = 0; i < t->lowering->phases && !error; i++)
        error = run_phase(t, level, &t->lowering->phase[i], buffer, workspace, scratch, way);
    return error;
}

bool make_near(double a, double b, double tolerance) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return fabs(a - b) <= tolerance * (1 + fabs(b));
}

static void check_level(const Case *t, CpuLevel level) {
    const Kernel *k = t->k;
    enum { WAYS = 3 };
    int n = k->buffer.count;
    Guarded buffer[WAYS][64], workspace[CPU_MAX_WORKSPACES];
    void *reference[64];
    bool real64 = t->p->real64;
    int64_t scratch_bytes = 64;
    for (int i = 0; i < t->lowering->phases; i++)
        if (t->lowering->phase[i].scratch > scratch_bytes) scratch_bytes = t->lowering->phase[i].scratch;
    Guarded scratch = guarded_alloc((size_t)(scratch_bytes + 63) / 64 * 64, true);
    for (int w = 0; w < t->lowering->workspaces; w++) {
        size_t bytes = (size_t)t->lowering->workspace[w].bytes;
        for (int i = 0; i < 2; i++)
            if (t->lowering->workspace[w].axis[i] >= 0) bytes *= (size_t)t->axes[t->lowering->workspace[w].axis[i]];
        workspace[w] = guarded_alloc(bytes, true);
        if (bytes) memset(workspace[w].at, 0xff, bytes);
    }
    for (int i = 0; i < n; i++) {
        const KernelBuffer *b = &k->buffer.at[i];
        size_t count = make_elements(b, t->axes);
        reference[i] = arena_alloc(t->arena, count * 8 + 8);
        for (int w = 0; w < WAYS; w++) {
            Dice d = {(uint64_t)i * 77 + 5};
            buffer[w][i] = guarded_alloc(count * make_bytes(real64, b->type), w != 1);
            for (size_t e = 0; e < count; e++) make_put(real64, b->type, buffer[w][i].at, e, make_initial(&d, k, i));
        }
        Dice d = {(uint64_t)i * 77 + 5};
        for (size_t e = 0; e < count; e++) make_put(true, b->type, reference[i], e, make_initial(&d, k, i));
    }
    const char *error = NULL;
    for (int w = 0; w < WAYS && !error; w++) error = run_phases(t, level, buffer[w], workspace, scratch.at, w);
    if (!check(t->c, error == NULL, "%s %s: %s", k->name, cpu_level_suffix[level], error)) goto done;
    bool was = t->p->real64;
    t->p->real64 = true;
    error = kernel_run(t->arena, t->p, k, reference, t->axes, false);
    t->p->real64 = was;
    // Positions outside are errors of the reference; the kernels under test that gather have it all the same.
    if (!check(t->c, error == NULL, "%s: reference: %s", k->name, error)) goto done;
    for (int i = 0; i < n; i++) {
        const KernelBuffer *b = &k->buffer.at[i];
        size_t count = make_elements(b, t->axes), bytes = buffer[0][i].bytes, bad = count;
        for (size_t e = 0; e < count && bad == count; e++)
            if (!make_near(make_get(real64, b->type, buffer[0][i].at, e), make_get(true, b->type, reference[i], e),
                           t->tolerance))
                bad = e;
        check(t->c, bad == count, "%s %s [%d %d]: buffer %d element %zu of %zu: %.9g, expected %.9g", k->name,
              cpu_level_suffix[level], (int)t->axes[0], (int)t->axes[1], i, bad, count,
              bad < count ? make_get(real64, b->type, buffer[0][i].at, bad) : 0,
              bad < count ? make_get(true, b->type, reference[i], bad) : 0);
        for (int w = 1; w < WAYS; w++)
            check(t->c, !bytes || memcmp(buffer[0][i].at, buffer[w][i].at, bytes) == 0,
                  "%s %s: buffer %d depends on how parts are run", k->name, cpu_level_suffix[level], i);
    }
done:
    for (int w = 0; w < WAYS; w++)
        for (int i = 0; i < n; i++) guarded_free(&buffer[w][i]);
    for (int w = 0; w < t->lowering->workspaces; w++) guarded_free(&workspace[w]);
    guarded_free(&scratch);
}

void check_kernels(Checks *c, Arena *arena, Program *p, Kernel *const *kernel, int count, const int64_t (*axes)[4],
                   int rows, const CpuOptions *options, double tolerance) {
    CpuLowering *lowering = NEW_ARRAY(arena, CpuLowering, count);
    const CpuLowering **all = NEW_ARRAY(arena, const CpuLowering *, count);
    const Kernel **kept = NEW_ARRAY(arena, const Kernel *, count);
    CpuObjects objects = {0};
    int n = 0;
    for (int i = 0; i < count; i++) {
        const char *wrong = kernel_verify(kernel[i], p);
        if (!check(c, wrong == NULL, "%s: verifier: %s", kernel[i]->name, wrong)) continue;
        const char *error = cpu_lower(arena, p, kernel[i], options, &lowering[n]);
        if (!check(c, error == NULL, "%s: %s", kernel[i]->name, error)) continue;
        if (lowering[n].note) printf("%s: %s\n", kernel[i]->name, lowering[n].note);
        all[n] = &lowering[n];
        kept[n++] = kernel[i];
    }
    const char *error = cpu_compile(arena, p, all, n, options, &objects);
    if (!check(c, error == NULL, "compile: %s", error)) return;
    size_t bytes = 0;
    for (int i = 0; i < objects.object.count; i++) bytes += objects.object.at[i].size;
    printf("%d kernels: emit %.0f ms, optimise %.0f ms, generate %.0f ms, %zu KiB (%.2f ms per kernel and level)\n", n,
           objects.emit_ms, objects.optimise_ms, objects.generate_ms, bytes / 1024,
           (objects.emit_ms + objects.optimise_ms + objects.generate_ms) / (n > 0 ? 3.0 * n : 1));
    char *message = NULL;
    Jit *jit = jit_open(&objects, &message);
    if (!check(c, jit != NULL, "load: %s", message)) return;
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    signal(SIGFPE, on_fault);
    signal(SIGILL, on_fault);
    for (int i = 0; i < n; i++)
        for (int r = 0; r < rows; r++)
            for (int level = 0; level < CPU_LEVELS; level++) {
                if (!jit_level_runs((CpuLevel)level) || (options && options->skip[level])) continue;
                Case t = {c, arena_new(), p, kept[i], all[i], axes[r], jit, tolerance};
                check_level(&t, (CpuLevel)level);
                arena_free(t.arena);
            }
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGFPE, SIG_DFL);
    signal(SIGILL, SIG_DFL);
    jit_close(jit);
}
