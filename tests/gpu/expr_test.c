// Kernel expressions as CUDA C (compiler/target/cuda/expr.h): every primitive of ops.h, constants, positions, guards,
// gathers, reductions, vectors of 1, 2, 4 and 8, f32, f64 and bf16. The text is compiled for the host by g++ and
// compared with the reference evaluator and the reference runner; random numbers also with the CPU target's kernels,
// bit by bit. The same text is compiled for sm_80 by NVRTC where there is one. Usage: expr_test [kernels [seed]]
#include "expr_cases.h"
#include "target/cuda/nvrtc.h"

#include <dlfcn.h>
#include <float.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

// ---- memory: each buffer between pages that cannot be touched; its slack, for bases are multiples of 64, holds NaN
typedef struct Memory {
    char *map, *at;
    size_t mapped, bytes;
} Memory;

static Memory memory_new(size_t bytes, bool at_end) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + page) / page * page;
    Memory m = {.mapped = body + 2 * page, .bytes = bytes};
    m.map = mmap(NULL, m.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m.map == MAP_FAILED || mprotect(m.map + page, body, PROT_READ | PROT_WRITE)) abort();
    memset(m.map + page, 0xff, body);
    m.at = m.map + page + (at_end ? (body - bytes) / 64 * 64 : 0);
    return m;
}

static bool slack_untouched(const Memory *m) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (char *c = m->map + page; c < m->map + m->mapped - page; c++)
        if ((c < m->at || c >= m->at + m->bytes) && *c != (char)0xff) return false;
    return true;
}

static sigjmp_buf fault;
static void on_fault(int number) {
    siglongjmp(fault, number);
}

static uint16_t bf16_of(double x) {
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double get(const Program *p, ElementType type, const char *at, size_t i) {
    float f;
    double d;
    int32_t w;
    int64_t l;
    uint16_t h;
    switch (type) {
    case T_REAL:
        if (p->real64) return memcpy(&d, at + 8 * i, 8), d;
        return memcpy(&f, at + 4 * i, 4), (double)f;
    case T_I32: return memcpy(&w, at + 4 * i, 4), (double)w;
    case T_I64: return memcpy(&l, at + 8 * i, 8), (double)l;
    case T_BF16: {
        memcpy(&h, at + 2 * i, 2);
        uint32_t bits = (uint32_t)h << 16;
        return memcpy(&f, &bits, 4), (double)f;
    }
    default: return (unsigned char)at[i];
    }
}

static void put(const Program *p, ElementType type, char *at, size_t i, double d) {
    float f = (float)d;
    int32_t w = (int32_t)d;
    int64_t l = (int64_t)d;
    uint16_t h = bf16_of(d);
    if (type == T_REAL && p->real64) memcpy(at + 8 * i, &d, 8);
    else if (type == T_REAL) memcpy(at + 4 * i, &f, 4);
    else if (type == T_I32) memcpy(at + 4 * i, &w, 4);
    else if (type == T_I64) memcpy(at + 8 * i, &l, 8);
    else if (type == T_BF16) memcpy(at + 2 * i, &h, 2);
    else at[i] = (char)(unsigned char)d;
}

static double initial(const Case *t, int buffer, size_t i) {
    const KernelBuffer *b = &t->k->buffer.at[buffer];
    if (t->op) return op_input(b->type, t->primitive, buffer, i);
    Dice d = {i * 31 + (uint64_t)buffer * 977 + 5};
    dice_next(&d);
    if (b->is_written) return 0;
    switch (b->type) {
    case T_REAL:
    case T_BF16: return (dice_below(&d, 257) - 128) / 64.0;
    case T_I32:
        if (buffer == t->k->scalar_seed) return -12345678;
        if (buffer == t->k->scalar_step) return 41;
        return dice_below(&d, 9) - 1;
    case T_I64: return dice_below(&d, 9) - 1 + (i % 17 == 3 ? 4294967296.0 : 0); // far outside: 32 bits do not show it
    case T_U8: return dice_below(&d, i % 5 ? 5 : 256);
    default: return dice_below(&d, 2);
    }
}

static size_t elements_of(const KernelBuffer *b) {
    size_t n = 1;
    for (int i = 0; i < b->rank; i++) n *= (size_t)extent_value(b->dim[i]);
    return n;
}

// ---- comparing
static double ulps(const Program *p, double got, double want) {
    if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0 : INFINITY;
    double rounded = p->real64 ? want : (float)want;
    if (got == rounded) return 0;
    if (isinf(got) || isinf(rounded)) return INFINITY;
    int exponent;
    frexp(rounded == 0 ? DBL_MIN : rounded, &exponent);
    double ulp = ldexp(1, exponent - (p->real64 ? 53 : 24)), least = p->real64 ? 0x1p-1074 : 0x1p-149;
    return fabs(got - want) / (ulp > least ? ulp : least);
}

static double expected(const Case *t, const Expr *e, size_t i) {
    double arg[3] = {0, 0, 0};
    if (e->op == OP_READ) return op_input(e->type, t->primitive, e->tensor, i);
    if (e->op == OP_CONST) return e->type == T_REAL && !t->p->real64 ? (float)e->number : e->number;
    for (int a = 0; a < e->arity; a++) arg[a] = expected(t, e->arg[a], i);
    if (e->op == OP_DIGAMMA && arg[0] == 0) return signbit(arg[0]) ? INFINITY : -INFINITY; // as the CPU target
    // The evaluator's product is a double; the bits that wrap are lost beyond 2^53.
    if (e->op == OP_IMUL && e->type == T_I32) return (int32_t)((uint32_t)(int32_t)arg[0] * (uint32_t)(int32_t)arg[1]);
    return evaluate_op(e, arg);
}

static void compare(Suite *s, const Case *t, Memory *memory, void *const *reference) {
    for (int b = 0; b < t->k->buffer.count; b++) {
        const KernelBuffer *k = &t->k->buffer.at[b];
        size_t n = elements_of(k), bad = n;
        double got = 0, want = 0, worst = 0;
        bool real = k->type == T_REAL || k->type == T_BF16;
        check(&s->c, slack_untouched(&memory[b]), "%s: a write outside of buffer %d", t->name, b);
        if (!k->is_written) continue;
        for (size_t i = 0; i < n && bad == n; i++) {
            double g = get(t->p, k->type, memory[b].at, i);
            double w = t->op ? expected(t, t->op, i) : ((const double *)reference[b])[i];
            if (!real && !t->op && k->type != T_U8 && k->type != T_BOOL)
                w = k->type == T_I32 ? ((const int32_t *)reference[b])[i] : (double)((const int64_t *)reference[b])[i];
            if (!real && !t->op && (k->type == T_U8 || k->type == T_BOOL)) w = ((const uint8_t *)reference[b])[i];
            if (k->type == T_BF16) {
                uint16_t h = bf16_of(w);
                uint32_t bits = (uint32_t)h << 16;
                float f;
                memcpy(&f, &bits, 4);
                w = f;
            }
            double error = real ? ulps(t->p, g, w) : g == w ? 0 : INFINITY;
            // Beyond 2^53 the reference in f64 is not exact.
            if (k->type == T_I64 && fabs(w) >= 0x1p53 && fabs(g - w) <= fabs(w) * 0x1p-50) error = 0;
            if (error > worst && !(fabs(g - w) <= t->absolute)) worst = error;
            if (error > t->ulp && !(fabs(g - w) <= t->absolute)) bad = i, got = g, want = w;
        }
        check(&s->c, bad == n, "%s: buffer %d, element %zu of %zu is %.17g, expected %.17g (%.3g ulp; %g %g)", t->name,
              b, bad, n, got, want, worst, t->op ? initial(t, 0, bad) : 0, t->op ? initial(t, 1, bad) : 0);
    }
}

static void run_case(Suite *s, const Case *t) {
    Memory memory[ROOM];
    void *reference[ROOM], *at[ROOM];
    Arena *scratch = arena_new();
    union {
        void *found;
        void (*call)(void **, const int *, unsigned *);
    } f = {dlsym(s->library, arena_format(scratch, "call_%s", t->name))};
    if (!check(&s->c, f.found != NULL, "%s: no such function", t->name)) return;
    int e[PLAIN_EXTENTS], n = t->k->buffer.count;
    for (int i = 0; i < PLAIN_EXTENTS; i++) e[i] = (int)axes[i];
    for (int b = 0; b < n; b++) {
        const KernelBuffer *k = &t->k->buffer.at[b];
        size_t count = elements_of(k);
        Program wide = *t->p;
        wide.real64 = true;
        memory[b] = memory_new(count * (size_t)element_size(t->p, k->type), b % 2 == 0);
        at[b] = memory[b].at;
        reference[b] = arena_alloc(scratch, count * 8 + 8);
        for (size_t i = 0; i < count; i++) {
            put(t->p, k->type, memory[b].at, i, initial(t, b, i));
            put(&wide, k->type == T_BF16 ? T_REAL : k->type, reference[b], i,
                k->type == T_BF16 ? get(t->p, T_BF16, memory[b].at, i) : initial(t, b, i));
        }
    }
    unsigned outside = 0;
    int signal_number = sigsetjmp(fault, 1);
    if (!signal_number) f.call(at, e, &outside);
    check(&s->c, t->outside == ANY_REPORT || (outside != 0) == (t->outside == REPORT),
          "%s: a gather outside is %sreported", t->name, outside ? "" : "not ");
    if (check(&s->c, signal_number == 0, "%s: signal %d", t->name, signal_number)) {
        const char *error = NULL;
        if (!t->op) {
            Kernel plain = *t->k; // the runner knows f64 alone
            KernelBuffer *buffers = arena_copy(scratch, plain.buffer.at, sizeof *buffers * (size_t)n);
            for (int b = 0; b < n; b++)
                if (buffers[b].type == T_BF16) buffers[b].type = T_REAL;
            plain.buffer.at = buffers;
            Program wide = *t->p;
            wide.real64 = true;
            error = kernel_run(scratch, &wide, &plain, reference, axes, false);
        }
        if (check(&s->c, error == NULL, "%s: reference: %s", t->name, error)) compare(s, t, memory, reference);
    }
    for (int b = 0; b < n; b++) munmap(memory[b].map, memory[b].mapped);
    arena_free(scratch);
}

// ---- the CPU target's numbers
static const Case *case_of(const Suite *s, const Kernel *k) {
    for (int i = 0; i < s->cases; i++)
        if (s->at[i].k == k) return &s->at[i];
    return NULL;
}

// Runs what g++ and what the CPU target made of a kernel and compares the bytes of its results.
static void compare_with_cpu(Suite *s, const Kernel *k, const CpuLowering *lowering, Jit *jit, CpuLevel level) {
    const Case *t = case_of(s, k);
    void *buffer[2][ROOM], *arg[ROOM];
    Arena *scratch = arena_new();
    int e[PLAIN_EXTENTS];
    unsigned outside = 0;
    for (int i = 0; i < PLAIN_EXTENTS; i++) e[i] = (int)axes[i];
    for (int b = 0; b < k->buffer.count; b++)
        for (int side = 0; side < 2; side++) {
            size_t n = elements_of(&k->buffer.at[b]);
            buffer[side][b] = arena_alloc(scratch, n * 8 + 64);
            for (size_t i = 0; i < n; i++) put(t->p, k->buffer.at[b].type, buffer[side][b], i, initial(t, b, i));
        }
    union {
        void *found;
        void (*call)(void **, const int *, unsigned *);
    } f = {dlsym(s->library, arena_format(scratch, "call_%s", t->name))};
    if (!check(&s->c, f.found != NULL, "%s: no such function", t->name)) return;
    f.call(buffer[0], e, &outside);
    for (int i = 0; i < lowering->phases; i++) {
        const CpuPhase *phase = &lowering->phase[i];
        JitKernel run = jit_kernel(jit, phase->name, level);
        if (!check(&s->c, run != NULL, "no CPU function %s", phase->name)) return;
        for (int a = 0; a < phase->args; a++) arg[a] = buffer[1][phase->arg[a]];
        int64_t parts = (extent_value(phase->parts) + phase->divide - 1) / phase->divide;
        run(arg, axes, arena_alloc(scratch, (size_t)phase->scratch + 64), 0, parts);
    }
    for (int b = 0; b < k->buffer.count; b++)
        check(&s->c,
              memcmp(buffer[0][b], buffer[1][b],
                     elements_of(&k->buffer.at[b]) * (size_t)element_size(t->p, k->buffer.at[b].type)) == 0,
              "%s: other bits than the CPU target's", t->name);
    arena_free(scratch);
}

static void random_as_cpu(Suite *s) {
    for (int real64 = 0; real64 < 2; real64++) {
        CpuLowering lowering[ROOM];
        const CpuLowering *all[ROOM];
        Kernel *kernel[ROOM];
        int n = 0, compared = 0;
        for (int i = 0; i < s->cases; i++) {
            const Case *t = &s->at[i];
            bool known = strstr(t->name, "_random_") == NULL || t->p != s->real[real64];
            for (int j = 0; j < n; j++) known = known || kernel[j] == t->k;
            if (known) continue;
            kernel[n] = (Kernel *)t->k;
            kernel[n]->name = arena_format(s->arena, "random_%d", n);
            const char *error = cpu_lower(s->arena, t->p, kernel[n], NULL, &lowering[n]);
            if (!check(&s->c, error == NULL, "%s on the CPU: %s", t->name, error)) return;
            all[n] = &lowering[n];
            n++;
        }
        CpuObjects objects = {0};
        CpuOptions options = {.verify = true};
        const char *error = cpu_compile(s->arena, s->real[real64], all, n, &options, &objects);
        char *message = NULL;
        Jit *jit = error ? NULL : jit_open(&objects, &message);
        if (!check(&s->c, jit != NULL, "random numbers on the CPU: %s", error ? error : message)) return;
        for (int i = 0; i < n; i++)
            for (int level = 0; level < CPU_LEVELS; level++)
                if (jit_level_runs((CpuLevel)level)) {
                    compare_with_cpu(s, kernel[i], &lowering[i], jit, (CpuLevel)level);
                    compared++;
                }
        check(&s->c, compared > 0, "no random numbers were compared with the CPU target's");
        jit_close(jit);
    }
}

// ---- compiling
static bool compile_host(Suite *t, const char *folder) {
    char path[512], command[2048];
    snprintf(path, sizeof path, "%s/expr.cpp", folder);
    FILE *file = fopen(path, "w");
    if (!check(&t->c, file != NULL, "%s cannot be written", path)) return false;
    fwrite(t->text.at, 1, t->text.length, file);
    fclose(file);
    snprintf(command, sizeof command,
             "g++ -std=c++17 -O1 -DSTM_HOST -Wall -Wextra -Werror -Wno-unused-parameter -Wno-unused-variable "
             "-Wno-unused-function -Wno-unknown-pragmas -fsanitize=undefined -fsanitize-undefined-trap-on-error "
             "-Ikernels -Itests/gpu/shim -shared -fPIC -o %s/expr.so %s",
             folder, path);
    if (!check(&t->c, system(command) == 0, "g++ refuses the text: %s", path)) return false;
    snprintf(path, sizeof path, "%s/expr.so", folder);
    t->library = dlopen(path, RTLD_LAZY);
    return check(&t->c, t->library != NULL, "%s", t->library ? "" : dlerror());
}

static void compile_device(Suite *t) {
    Nvrtc nvrtc;
    NvrtcHeaders headers = {0};
    NvrtcResult result = {0};
    const char *error = nvrtc_open(t->arena, &nvrtc);
    if (error) {
        printf("SKIPPED: the text is not compiled for sm_80: %s\n", error);
        return;
    }
    error = nvrtc_headers(t->arena, "kernels", &headers);
    if (!error) error = nvrtc_compile(&nvrtc, t->arena, "expr.cu", t->text.at, &headers, 80, &result);
    check(&t->c, error == NULL, "sm_80: %s\n%s", error, result.log ? result.log : "");
    if (!error) printf("sm_80: %zu KiB of code for %d functions\n", result.cubin_size / 1024, t->cases);
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 100;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    if (system("g++ --version > /dev/null 2>&1") != 0) {
        printf("skipped: there is no g++\n");
        return 77;
    }
    static Suite suite;
    Suite *t = &suite;
    t->arena = arena_new();
    t->text.arena = t->arena;
    t->real[0] = suite_program(t->arena, false);
    t->real[1] = suite_program(t->arena, true);
    text_add(&t->text, "#include \"prelude.cuh\"\n\n");
    suite_cases(t, count, seed);
    char folder[] = "/tmp/stm-expr-XXXXXX";
    if (!check(&t->c, mkdtemp(folder) != NULL, "no temporary folder")) return checks_end(&t->c);
    if (compile_host(t, folder)) {
        signal(SIGSEGV, on_fault);
        signal(SIGBUS, on_fault);
        signal(SIGFPE, on_fault);
        signal(SIGILL, on_fault); // what the undefined-behaviour sanitizer does here
        for (int i = 0; i < t->cases; i++) run_case(t, &t->at[i]);
        random_as_cpu(t);
        printf("%d functions on the host\n", t->cases);
    }
    compile_device(t);
    if (t->c.failed == 0 && !getenv("STM_KEEP")) {
        char command[600];
        snprintf(command, sizeof command, "rm -r %s", folder);
        if (system(command) != 0) printf("%s stays\n", folder);
    } else {
        printf("the text is in %s\n", folder);
    }
    arena_free(t->arena);
    return checks_end(&t->c);
}
