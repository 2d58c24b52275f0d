/* Workbench for the CPU contraction emitter: GFLOP/s and share of the measured multiply-add peak, per shape and
   direction (forward, input gradient dX, weight gradient dW), on one and two threads, with a check against plain
   double sums at sampled outputs.  Shapes are those of the tile and subtile encoders of examples/hevisum at batch 32.
   One thread is timed in CPU time, two in wall time (so only the latter suffers from other work on the machine).
   Usage: contract_bench [-l level] [-p] [-t] [-O effort] [-s seconds per measurement] [-c] [filter ...]
     -p prints the plans, -O is the effort of LLVM's code generator (0 .. 3, 2 if not given), -t the time of each phase
   on one thread, -c only compiles (all shapes, all levels) and prints compile times. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../../../compiler/target/cpu/contract.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/ExecutionEngine.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef void (*Phase)(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last);

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double now(void) {
    return seconds_of(CLOCK_MONOTONIC);
}

/* ---- two threads ------------------------------------------------------------------------------------------- */

typedef struct {
    Phase phase;
    void *const *buffer;
    const int64_t *extent;
    int64_t parts;
    void *scratch[2];
    atomic_llong next;
    atomic_int generation, running;
    bool stop;
    double peak_seconds;
} Team;

static void work(Team *t, int who) {
    for (;;) {
        long long part = atomic_fetch_add(&t->next, 1);
        if (part >= t->parts) return;
        t->phase(t->buffer, t->extent, t->scratch[who], part, part + 1);
    }
}

static void *helper(void *argument) {
    Team *t = argument;
    for (int seen = 0;;) {
        while (atomic_load(&t->generation) == seen) __builtin_ia32_pause();
        seen++;
        if (t->stop) return NULL;
        work(t, 1);
        atomic_store(&t->running, 0);
    }
}

static void run(Team *t, const ContractPlan *plan, const Phase *phase, int threads, void *const *buffer,
                const int64_t *extent) {
    for (int i = 0; i < plan->phases; i++) {
        t->phase = phase[i];
        t->buffer = buffer;
        t->extent = extent;
        t->parts = contract_parts(plan->phase[i].parts, extent);
        atomic_store(&t->next, 0);
        if (threads == 2) {
            atomic_store(&t->running, 1);
            atomic_fetch_add(&t->generation, 1);
        }
        work(t, 0);
        if (threads == 2)
            while (atomic_load(&t->running)) __builtin_ia32_pause();
    }
}

/* ---- peak -------------------------------------------------------------------------------------------------- */

typedef float V16 __attribute__((vector_size(64)));
typedef float V8 __attribute__((vector_size(32)));
typedef float V4 __attribute__((vector_size(16)));

/* Twelve independent chains, named so that they stay in registers. */
#define PEAK(NAME, VECTOR, TARGET)                                                                                     \
    __attribute__((target(TARGET), optimize("fp-contract=fast"))) static double NAME(int64_t n) {                      \
        VECTOR x = {1.0f}, y = {0.5f}, a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x,    \
               l = x;                                                                                                  \
        __asm__ volatile("" : "+x"(x), "+x"(y));                                                                       \
        for (int64_t m = 0; m < n; m++) {                                                                              \
            a = a * x + y, b = b * x + y, c = c * x + y, d = d * x + y, e = e * x + y, f = f * x + y;                  \
            g = g * x + y, h = h * x + y, i = i * x + y, j = j * x + y, k = k * x + y, l = l * x + y;                  \
            __asm__ volatile("" : "+x"(a), "+x"(b), "+x"(c), "+x"(d), "+x"(e), "+x"(f));                               \
            __asm__ volatile("" : "+x"(g), "+x"(h), "+x"(i), "+x"(j), "+x"(k), "+x"(l));                               \
        }                                                                                                              \
        a = a + b + c + d + e + f + g + h + i + j + k + l;                                                             \
        return (double)a[0];                                                                                           \
    }
PEAK(peak4, V16, "avx512f,fma,prefer-vector-width=512")
PEAK(peak3, V8, "avx2,fma")
PEAK(peak2, V4, "sse4.2")

static int peak_level;
static volatile double peak_sink;
static void peak_phase(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last) {
    (void)buffer, (void)extent, (void)scratch;
    for (int64_t i = first; i < last; i++)
        peak_sink = peak_level == 4 ? peak4(100000) : peak_level == 3 ? peak3(100000) : peak2(100000);
}

static double measure_peak(Team *t, int level, int threads) {
    ContractPlan plan = {.phases = 1, .phase = {{CONTRACT_PHASE_MAIN, {20, -1, 1}}}};
    Phase phase[1] = {peak_phase};
    double best = 1e30;
    peak_level = level;
    for (int i = 0; i < 30; i++) {
        clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
        double start = seconds_of(clock);
        run(t, &plan, phase, threads, NULL, NULL);
        double took = seconds_of(clock) - start;
        if (took < best) best = took;
    }
    return 20 * 100000.0 * 12 * 2 * (level == 4 ? 16 : level == 3 ? 8 : 4) / best;
}

/* ---- shapes ------------------------------------------------------------------------------------------------ */

typedef struct {
    const char *kind; /* conv, linear */
    int images, in, out, size, taps;
    int uses; /* of this layer in one training step */
} Shape;

static const Shape shapes[] = {
    {"conv", 32, 3, 32, 78, 3, 1},
    {"conv", 32, 32, 64, 39, 3, 1},
    {"conv", 32, 64, 64, 39, 3, 3},
    {"conv", 32, 64, 128, 19, 3, 1},
    {"conv", 32, 128, 128, 19, 3, 3},
    {"conv", 32, 128, 256, 9, 3, 1},
    {"conv", 32, 256, 256, 9, 3, 3},
    {"conv", 288, 3, 32, 26, 3, 1},
    {"conv", 288, 32, 64, 13, 3, 1},
    {"conv", 288, 64, 64, 13, 3, 3},
    {"conv", 288, 64, 128, 6, 3, 1},
    {"conv", 288, 128, 128, 6, 3, 3},
    {"conv", 32, 3, 32, 26, 3, 1},
    {"conv", 32, 32, 64, 13, 3, 1},
    {"conv", 32, 64, 64, 13, 3, 3},
    {"conv", 32, 64, 128, 6, 3, 1},
    {"conv", 32, 128, 128, 6, 3, 3},
    {"conv", 32, 32, 64, 39, 1, 1},
    {"conv", 32, 64, 128, 19, 1, 1},
    {"conv", 32, 128, 256, 9, 1, 1},
    {"conv", 288, 32, 64, 13, 1, 1},
    {"conv", 288, 64, 128, 6, 1, 1},
    {"conv", 32, 32, 64, 13, 1, 1},
    {"conv", 32, 64, 128, 6, 1, 1},
    {"linear", 32, 2560, 512, 1, 1, 1},
    {"linear", 32, 512, 256, 1, 1, 1},
    {"linear", 32, 1792, 256, 1, 1, 2},
    {"linear", 32, 384, 256, 1, 1, 1},
    {"linear", 32, 256, 128, 1, 1, 4},
    {"linear", 32, 64, 35, 1, 1, 1},
    /* not of that model: a transformer's layers, and images stored plane by plane */
    {"linear", 2048, 768, 3072, 1, 1, 0},
    {"planar", 32, 3, 32, 78, 3, 0},
    {"attend", 96, 64, 197, 197, 1, 0},
};

static void dim(ContractOperand *x, int64_t stride, int i0, int i1, int64_t c1, int64_t offset, int64_t size) {
    ContractDim *d = &x->dim[x->dims++];
    *d = (ContractDim){.terms = i1 < 0 ? 1 : 2, .offset = offset, .guarded = size > 0};
    d->term[0] = (ContractTerm){i0, 1};
    d->term[1] = (ContractTerm){i1, c1};
    d->size = contract_constant(size);
    d->stride = contract_constant(stride);
}

static int index_of(ContractSpec *s, const char *name, ContractRole role, int64_t extent, int64_t out_stride) {
    s->index[s->indices] = (ContractIndex){.name = name, .role = role, .extent = extent};
    s->out_stride[s->indices] = contract_constant(out_stride);
    return s->indices++;
}

/* direction 0 forward, 1 dX, 2 dW; sizes of buffers p, q, out in elements */
static void build(const Shape *h, int direction, ContractSpec *s, int64_t elements[3], char *name, size_t room) {
    static const char *const directions[] = {"fwd", "dX", "dW"};
    memset(s, 0, sizeof *s);
    snprintf(name, room, "%s%d_%dx%d_%dto%d_%s", h->kind, h->taps, h->images, h->size, h->in, h->out,
             directions[direction]);
    s->name = name;
    s->type = CONTRACT_F32;
    s->p.buffer = 0, s->q.buffer = 1, s->out_buffer = 2, s->workspace_buffer[0] = 3, s->workspace_buffer[1] = 4;
    int64_t ci = h->in, co = h->out, w = h->size, t = h->taps, pad = t / 2, n = h->images;
    int64_t x_elements = n * w * w * ci, y_elements = n * w * w * co, k_elements = co * ci * t * t;
    if (h->kind[0] ==
        'a') { /* scores s[b,i,j] = sum c: q k, values o[b,i,c] = sum j: s v, and a gradient with i summed */
        int64_t heads = h->images, rows = h->size, channels = h->in;
        int b = index_of(s, "b", CONTRACT_BATCH, -1, 0), i, j, c;
        if (direction == 0) {
            i = index_of(s, "i", CONTRACT_M, rows, rows), j = index_of(s, "j", CONTRACT_N, rows, 1),
            c = index_of(s, "c", CONTRACT_K, channels, 0);
            dim(&s->p, rows * channels, b, -1, 0, 0, 0), dim(&s->p, channels, i, -1, 0, 0, 0),
                dim(&s->p, 1, c, -1, 0, 0, 0);
            dim(&s->q, rows * channels, b, -1, 0, 0, 0), dim(&s->q, channels, j, -1, 0, 0, 0),
                dim(&s->q, 1, c, -1, 0, 0, 0);
            s->out_stride[b] = contract_constant(rows * rows);
            elements[0] = elements[1] = heads * rows * channels, elements[2] = heads * rows * rows;
        } else {
            ContractRole mi = direction == 1 ? CONTRACT_M : CONTRACT_K, mj = direction == 1 ? CONTRACT_K : CONTRACT_M;
            i = index_of(s, "i", mi, rows, channels), j = index_of(s, "j", mj, rows, channels),
            c = index_of(s, "c", CONTRACT_N, channels, 1);
            dim(&s->p, rows * rows, b, -1, 0, 0, 0), dim(&s->p, rows, i, -1, 0, 0, 0), dim(&s->p, 1, j, -1, 0, 0, 0);
            dim(&s->q, rows * channels, b, -1, 0, 0, 0), dim(&s->q, channels, direction == 1 ? j : i, -1, 0, 0, 0),
                dim(&s->q, 1, c, -1, 0, 0, 0);
            s->out_stride[b] = contract_constant(rows * channels);
            elements[0] = heads * rows * rows, elements[1] = elements[2] = heads * rows * channels;
        }
        s->index[b].slot = 0, s->index[b].typical = heads;
        return;
    }
    if (h->kind[0] == 'l') {
        int b, i, o;
        if (direction == 0) {
            b = index_of(s, "b", CONTRACT_M, -1, co), o = index_of(s, "o", CONTRACT_N, co, 1),
            i = index_of(s, "i", CONTRACT_K, ci, 0);
            dim(&s->p, ci, b, -1, 0, 0, 0), dim(&s->p, 1, i, -1, 0, 0, 0);
            dim(&s->q, ci, o, -1, 0, 0, 0), dim(&s->q, 1, i, -1, 0, 0, 0);
            elements[0] = x_elements, elements[1] = k_elements, elements[2] = y_elements;
        } else if (direction == 1) {
            b = index_of(s, "b", CONTRACT_M, -1, ci), i = index_of(s, "i", CONTRACT_N, ci, 1),
            o = index_of(s, "o", CONTRACT_K, co, 0);
            dim(&s->p, co, b, -1, 0, 0, 0), dim(&s->p, 1, o, -1, 0, 0, 0);
            dim(&s->q, ci, o, -1, 0, 0, 0), dim(&s->q, 1, i, -1, 0, 0, 0);
            elements[0] = y_elements, elements[1] = k_elements, elements[2] = x_elements;
        } else {
            o = index_of(s, "o", CONTRACT_M, co, ci), i = index_of(s, "i", CONTRACT_N, ci, 1),
            b = index_of(s, "b", CONTRACT_K, -1, 0);
            dim(&s->p, co, b, -1, 0, 0, 0), dim(&s->p, 1, o, -1, 0, 0, 0);
            dim(&s->q, ci, b, -1, 0, 0, 0), dim(&s->q, 1, i, -1, 0, 0, 0);
            elements[0] = y_elements, elements[1] = x_elements, elements[2] = k_elements;
        }
        s->index[b].slot = 0, s->index[b].typical = n;
        return;
    }
    int in, iy, ix, io, ic, iu, iv;
    int64_t guard = t > 1 ? w : 0;
    if (direction == 0) {
        in = index_of(s, "n", CONTRACT_M, -1, w * w * co), iy = index_of(s, "y", CONTRACT_M, w, w * co);
        ix = index_of(s, "x", CONTRACT_M, w, co), io = index_of(s, "o", CONTRACT_N, co, 1);
        ic = index_of(s, "c", CONTRACT_K, ci, 0), iu = index_of(s, "u", CONTRACT_K, t, 0),
        iv = index_of(s, "v", CONTRACT_K, t, 0);
        dim(&s->p, w * w * ci, in, -1, 0, 0, 0), dim(&s->p, w * ci, iy, iu, 1, -pad, guard);
        dim(&s->p, ci, ix, iv, 1, -pad, guard), dim(&s->p, 1, ic, -1, 0, 0, 0);
        dim(&s->q, ci * t * t, io, -1, 0, 0, 0), dim(&s->q, t * t, ic, -1, 0, 0, 0);
        dim(&s->q, t, iu, -1, 0, 0, 0), dim(&s->q, 1, iv, -1, 0, 0, 0);
        elements[0] = x_elements, elements[1] = k_elements, elements[2] = y_elements;
    } else if (direction == 1) {
        in = index_of(s, "n", CONTRACT_M, -1, w * w * ci), iy = index_of(s, "y", CONTRACT_M, w, w * ci);
        ix = index_of(s, "x", CONTRACT_M, w, ci), ic = index_of(s, "c", CONTRACT_N, ci, 1);
        io = index_of(s, "o", CONTRACT_K, co, 0), iu = index_of(s, "u", CONTRACT_K, t, 0),
        iv = index_of(s, "v", CONTRACT_K, t, 0);
        dim(&s->p, w * w * co, in, -1, 0, 0, 0), dim(&s->p, w * co, iy, iu, -1, pad, guard);
        dim(&s->p, co, ix, iv, -1, pad, guard), dim(&s->p, 1, io, -1, 0, 0, 0);
        dim(&s->q, ci * t * t, io, -1, 0, 0, 0), dim(&s->q, t * t, ic, -1, 0, 0, 0);
        dim(&s->q, t, iu, -1, 0, 0, 0), dim(&s->q, 1, iv, -1, 0, 0, 0);
        elements[0] = y_elements, elements[1] = k_elements, elements[2] = x_elements;
    } else {
        io = index_of(s, "o", CONTRACT_N, co, ci * t * t), ic = index_of(s, "c", CONTRACT_M, ci, t * t);
        iu = index_of(s, "u", CONTRACT_M, t, t), iv = index_of(s, "v", CONTRACT_M, t, 1);
        in = index_of(s, "n", CONTRACT_K, -1, 0), iy = index_of(s, "y", CONTRACT_K, w, 0),
        ix = index_of(s, "x", CONTRACT_K, w, 0);
        dim(&s->p, w * w * ci, in, -1, 0, 0, 0), dim(&s->p, w * ci, iy, iu, 1, -pad, guard);
        dim(&s->p, ci, ix, iv, 1, -pad, guard), dim(&s->p, 1, ic, -1, 0, 0, 0);
        dim(&s->q, w * w * co, in, -1, 0, 0, 0), dim(&s->q, w * co, iy, -1, 0, 0, 0);
        dim(&s->q, co, ix, -1, 0, 0, 0), dim(&s->q, 1, io, -1, 0, 0, 0);
        elements[0] = x_elements, elements[1] = y_elements, elements[2] = k_elements;
    }
    s->index[in].slot = 0, s->index[in].typical = n;
    if (h->kind[0] == 'p' && direction != 1) { /* x[n,c,y,x] */
        s->p.dim[1].stride = contract_constant(w);
        s->p.dim[2].stride = contract_constant(1);
        s->p.dim[3].stride = contract_constant(w * w);
    }
}

/* ---- check ------------------------------------------------------------------------------------------------- */

static double value_at(const ContractOperand *x, const int64_t *value, const float *data) {
    int64_t at = 0;
    for (int d = 0; d < x->dims; d++) {
        int64_t v = x->dim[d].offset;
        for (int t = 0; t < x->dim[d].terms; t++) v += x->dim[d].term[t].coefficient * value[x->dim[d].term[t].index];
        if (x->dim[d].guarded && (v < 0 || v >= x->dim[d].size.constant)) return 0;
        at += v * x->dim[d].stride.constant;
    }
    return data[at];
}

/* Largest error at sampled outputs, relative to the root mean square of the sums' terms. */
static double check(const ContractSpec *s, const int64_t *extent, void *const *buffer) {
    double worst = 0;
    int64_t n[CONTRACT_MAX_INDICES], value[CONTRACT_MAX_INDICES], k_total = 1;
    for (int i = 0; i < s->indices; i++) {
        n[i] = s->index[i].extent >= 0 ? s->index[i].extent : extent[s->index[i].slot];
        if (s->index[i].role == CONTRACT_K) k_total *= n[i];
    }
    int samples = (int)(4000000 / k_total);
    samples = samples < 40 ? 40 : samples > 3000 ? 3000 : samples;
    uint64_t random = 12345;
    for (int c = 0; c < samples; c++) {
        int64_t at = 0;
        for (int i = 0; i < s->indices; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            if (s->index[i].role == CONTRACT_K) continue;
            value[i] = (int64_t)((random >> 33) % (uint64_t)n[i]);
            if (c % 4 == 1) value[i] = n[i] - 1 - value[i] % (n[i] < 4 ? n[i] : 4); /* edges */
            at += value[i] * s->out_stride[i].constant;
        }
        double sum = 0, square = 0;
        for (int64_t k = 0; k < k_total; k++) {
            int64_t rest = k;
            for (int i = s->indices - 1; i >= 0; i--)
                if (s->index[i].role == CONTRACT_K) value[i] = rest % n[i], rest /= n[i];
            double x = value_at(&s->p, value, buffer[0]) * value_at(&s->q, value, buffer[1]);
            sum += x;
            square += x * x;
        }
        double error = fabs(sum - (double)((float *)buffer[2])[at]) / (sqrt(square) + 1e-6);
        if (!(error <= worst)) worst = error;
    }
    return worst;
}

/* ---- compile ----------------------------------------------------------------------------------------------- */

typedef struct {
    ContractPlan plan;
    Phase phase[CONTRACT_MAX_PHASES];
    LLVMExecutionEngineRef engine;
    LLVMContextRef context;
    double emit_seconds, pass_seconds, code_seconds;
    size_t code_bytes;
} Kernel;

static bool compile(const ContractSpec *s, int level, unsigned effort, bool object_only, Kernel *k) {
    char error[CONTRACT_ERROR_LENGTH] = "", *message = NULL;
    CpuFeatures cpu[3] = {contract_cpu_level(2), contract_cpu_level(3), contract_cpu_level(4)};
    ContractPlan plan[3];
    memset(k, 0, sizeof *k);
    double t0 = now();
    if (!contract_plan(s, cpu, 3, plan, error)) {
        printf("%s\n", error);
        return false;
    }
    k->plan = plan[level - 2];
    k->context = LLVMContextCreate();
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("bench", k->context);
    LLVMValueRef function[CONTRACT_MAX_PHASES];
    char names[CONTRACT_MAX_PHASES][128];
    if (!contract_emit(&k->plan, module, function, error)) {
        printf("%s\n", error);
        return false;
    }
    for (int i = 0; i < k->plan.phases; i++) snprintf(names[i], sizeof names[i], "%s", LLVMGetValueName(function[i]));
    double t1 = now();
    struct LLVMMCJITCompilerOptions options;
    LLVMInitializeMCJITCompilerOptions(&options, sizeof options);
    options.OptLevel = effort;
    if (LLVMCreateMCJITCompilerForModule(&k->engine, module, &options, sizeof options, &message)) {
        printf("%s\n", message);
        return false;
    }
    LLVMTargetMachineRef machine = LLVMGetExecutionEngineTargetMachine(k->engine);
    double t2 = now();
    if (!contract_optimise(module, machine, error)) {
        printf("%s\n", error);
        return false;
    }
    double t3 = now();
    const char *dump = getenv("CONTRACT_DUMP");
    if (dump) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s.ll", dump, s->name);
        LLVMPrintModuleToFile(module, path, &message);
    }
    if (object_only) {
        LLVMMemoryBufferRef object;
        if (LLVMTargetMachineEmitToMemoryBuffer(machine, module, LLVMObjectFile, &message, &object)) {
            printf("%s\n", message);
            return false;
        }
        k->code_bytes = LLVMGetBufferSize(object);
        LLVMDisposeMemoryBuffer(object);
    } else {
        for (int i = 0; i < k->plan.phases; i++)
            k->phase[i] = (Phase)(uintptr_t)LLVMGetFunctionAddress(k->engine, names[i]);
    }
    double t4 = now();
    k->emit_seconds = t1 - t0;
    k->pass_seconds = t3 - t2;
    k->code_seconds = t4 - t3;
    return true;
}

static void dispose(Kernel *k) {
    LLVMDisposeExecutionEngine(k->engine);
    LLVMContextDispose(k->context);
}

static void *aligned(int64_t bytes) {
    void *p = aligned_alloc(4096, ((size_t)bytes + 4096 + 4095) / 4096 * 4096);
    if (!p) abort();
    memset(p, 0, (size_t)bytes);
    return p;
}

static int compile_all(unsigned effort) {
    double total = 0;
    for (int level = 2; level <= 4; level++) {
        double emit = 0, pass = 0, code = 0, most = 0;
        size_t bytes = 0;
        int n = 0;
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int d = 0; d < 3; d++) {
                ContractSpec s;
                int64_t elements[3];
                char name[96];
                Kernel k;
                build(&shapes[i], d, &s, elements, name, sizeof name);
                if (!compile(&s, level, effort, true, &k)) return 1;
                emit += k.emit_seconds, pass += k.pass_seconds, code += k.code_seconds;
                double all = k.emit_seconds + k.pass_seconds + k.code_seconds;
                if (all > most) most = all;
                bytes += k.code_bytes;
                n++;
                dispose(&k);
            }
        printf("x86-64-v%d: %d kernels, emit %.0f ms, passes %.0f ms, code %.0f ms, %.1f ms each (most %.1f), %zu "
               "bytes each\n",
               level, n, emit * 1e3, pass * 1e3, code * 1e3, (emit + pass + code) * 1e3 / n, most * 1e3,
               bytes / (size_t)n);
        total += emit + pass + code;
    }
    printf("all: %.2f s of one core\n", total);
    return 0;
}

int main(int argc, char **argv) {
    int level = 4, filters = 0, failures = 0;
    bool print = false, phases = false, only_compile = false;
    double seconds = 0.15;
    unsigned effort = 2;
    char **filter = calloc((size_t)argc, sizeof *filter);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-l") && i + 1 < argc) level = atoi(argv[++i]);
        else if (!strcmp(argv[i], "-s") && i + 1 < argc) seconds = atof(argv[++i]);
        else if (!strcmp(argv[i], "-p")) print = true;
        else if (!strcmp(argv[i], "-O") && i + 1 < argc) effort = (unsigned)atoi(argv[++i]);
        else if (!strcmp(argv[i], "-t")) phases = true;
        else if (!strcmp(argv[i], "-c")) only_compile = true;
        else filter[filters++] = argv[i];
    }
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
    LLVMLinkInMCJIT();
    if (only_compile) return compile_all(effort);
    static Team team;
    pthread_t thread;
    double peak1 = measure_peak(&team, level, 1);
    pthread_create(&thread, NULL, helper, &team);
    double peak2_ = measure_peak(&team, level, 2);
    printf("x86-64-v%d peak: %.0f GFLOP/s on one thread, %.0f on two\n", level, peak1 * 1e-9, peak2_ * 1e-9);
    printf("%-28s %9s %9s %6s %9s %9s %6s %8s %9s\n", "shape", "ms x1", "GF/s x1", "%peak", "ms x2", "GF/s x2", "%peak",
           "compile", "error");
    double sum_flops = 0, sum_seconds = 0, by[3][2] = {{0}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int d = 0; d < 3; d++) {
            const Shape *h = &shapes[i];
            ContractSpec s;
            int64_t elements[3];
            char name[96];
            build(h, d, &s, elements, name, sizeof name);
            bool wanted = filters == 0;
            for (int f = 0; f < filters; f++) wanted |= strstr(name, filter[f]) != NULL;
            if (!wanted || (h->in == 3 && d == 1)) continue; /* the image needs no gradient */
            Kernel k;
            if (!compile(&s, level, effort, false, &k)) return 1;
            if (print) {
                char text[4096];
                contract_plan_print(&k.plan, text, sizeof text);
                printf("%s", text);
            }
            int64_t extent[1] = {h->images};
            int64_t workspace[2] = {contract_workspace_bytes(k.plan.workspace[0], extent),
                                    contract_workspace_bytes(k.plan.workspace[1], extent)};
            void *buffer[5] = {aligned(elements[0] * 4), aligned(elements[1] * 4), aligned(elements[2] * 4),
                               aligned(workspace[0]), aligned(workspace[1])};
            uint64_t random = 99;
            for (int b = 0; b < 2; b++)
                for (int64_t e = 0; e < elements[b]; e++) {
                    random = random * 6364136223846793005u + 1442695040888963407u;
                    ((float *)buffer[b])[e] = (float)((double)(random >> 40) / (1 << 23) - 1.0);
                }
            team.scratch[0] = aligned(k.plan.scratch_bytes);
            team.scratch[1] = aligned(k.plan.scratch_bytes);
            double best[2] = {1e30, 1e30};
            for (int threads = 1; threads <= 2; threads++) {
                double begin = now();
                for (int r = 0; r < 3 || now() - begin < seconds; r++) {
                    clockid_t clock = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
                    double start = seconds_of(clock);
                    run(&team, &k.plan, k.phase, threads, buffer, extent);
                    double took = seconds_of(clock) - start;
                    if (took < best[threads - 1]) best[threads - 1] = took;
                }
            }
            for (int p = 0; phases && p < k.plan.phases; p++) {
                int64_t parts = contract_parts(k.plan.phase[p].parts, extent);
                double least = 1e30;
                for (int r = 0; r < 10; r++) {
                    double start = seconds_of(CLOCK_THREAD_CPUTIME_ID);
                    k.phase[p](buffer, extent, team.scratch[0], 0, parts);
                    double took = seconds_of(CLOCK_THREAD_CPUTIME_ID) - start;
                    if (took < least) least = took;
                }
                printf("  phase %d: %lld parts, %.3f ms\n", p, (long long)parts, least * 1e3);
            }
            double error = check(&s, extent, buffer);
            double flops =
                2.0 * h->images * (h->kind[0] == 'a' ? 1 : h->size) * h->size * h->taps * h->taps * h->in * h->out;
            printf("%-28s %9.3f %9.1f %5.0f%% %9.3f %9.1f %5.0f%% %6.1fms %9.1e%s\n", name, best[0] * 1e3,
                   flops / best[0] * 1e-9, flops / best[0] / peak1 * 100, best[1] * 1e3, flops / best[1] * 1e-9,
                   flops / best[1] / peak2_ * 100, (k.emit_seconds + k.pass_seconds + k.code_seconds) * 1e3, error,
                   error < 1e-4 ? "" : "  WRONG");
            fflush(stdout);
            failures += !(error < 1e-4);
            sum_flops += flops * h->uses;
            sum_seconds += best[1] * h->uses;
            by[d][0] += flops * h->uses;
            by[d][1] += best[1] * h->uses;
            for (int b = 0; b < 5; b++) free(buffer[b]);
            free(team.scratch[0]), free(team.scratch[1]);
            dispose(&k);
        }
    if (sum_seconds > 0)
        printf("one training step's contractions: %.1f ms on two threads, %.1f GFLOP/s (%.0f%%); forward %.1f ms, dX "
               "%.1f ms, dW %.1f ms\n",
               sum_seconds * 1e3, sum_flops / sum_seconds * 1e-9, sum_flops / sum_seconds / peak2_ * 100,
               by[0][1] * 1e3, by[1][1] * 1e3, by[2][1] * 1e3);
    team.stop = true;
    atomic_fetch_add(&team.generation, 1);
    pthread_join(thread, NULL);
    free(filter);
    return failures != 0;
}
