// Error of the generated elementary functions in units in the last place, over a sweep of all bit patterns and the
// values that are special, against libm in double or long double. The bounds here are those that docs/numerics.md
// states.
#include "kernel_make.h"

#include <float.h>

typedef struct Function {
    ScalarOp op;
    const char *name;
    int arity;
    double bound;     // ulp
    double absolute;  // errors below this are good too (where the result crosses zero)
    double low, high; // dense sweep of this interval, beside the one over all bit patterns
} Function;

static const Function functions[] = {
    {OP_EXP, "exp", 1, 1.5, 0, -104, 89},
    {OP_EXPM1, "expm1", 1, 2, 0, -20, 89},
    {OP_LOG, "log", 1, 1.5, 0, 0, 4},
    {OP_LOG1P, "log1p", 1, 2, 0, -1, 3},
    {OP_SIN, "sin", 1, 1.6, 0, -100, 100},
    {OP_COS, "cos", 1, 1.6, 0, -100, 100},
    {OP_TANH, "tanh", 1, 2, 0, -10, 10},
    {OP_SIGMOID, "sigmoid", 1, 2.5, 0, -104, 30},
    {OP_ERF, "erf", 1, 1.5, 0, -5, 5},
    {OP_RSQRT, "rsqrt", 1, 1.5, 0, 0, 4},
    {OP_LGAMMA, "lgamma", 1, 1.5, 1e-14, -30, 30},
    {OP_DIGAMMA, "digamma", 1, 1.5, 1e-10, -30, 30},
    {OP_POW, "pow", 2, 1, 0, 0, 8},
    {OP_ATAN2, "atan2", 2, 1, 0, -3, 3},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions, SWEEP = 1 << 20 };

static long double digamma_reference(long double x) {
    long double shift = 0;
    if (x == 0) return signbit(x) ? INFINITY : -INFINITY;
    if (x < 0) {
        if (x == floorl(x)) return NAN;
        long double r = x - roundl(x);
        return digamma_reference(1 - x) - M_PIl / tanl(M_PIl * r);
    }
    while (x < 20) shift -= 1 / x, x += 1;
    long double w = 1 / (x * x);
    return shift + logl(x) - 0.5L / x -
           w * (1.0L / 12 -
                w * (1.0L / 120 - w * (1.0L / 252 - w * (1.0L / 240 - w * (1.0L / 132 - w * 691.0L / 32760)))));
}

static long double reference(ScalarOp op, double x, double y) {
    int sign;
    switch (op) {
    case OP_EXP: return exp(x);
    case OP_EXPM1: return expm1(x);
    case OP_LOG: return log(x);
    case OP_LOG1P: return log1p(x);
    case OP_SIN: return sin(x);
    case OP_COS: return cos(x);
    case OP_TANH: return tanh(x);
    case OP_SIGMOID: return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
    case OP_ERF: return erf(x);
    case OP_RSQRT: return 1 / sqrtl(x);
    case OP_LGAMMA: return lgammal_r(x, &sign);
    case OP_DIGAMMA: return digamma_reference(x);
    case OP_POW: return pow(x, y);
    default: return atan2(x, y);
    }
}

static double ulps(float got, long double want) {
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got) ? 0 : INFINITY;
    float rounded = (float)want;
    if (isinf(rounded) || isinf(got))
        return rounded == got ? 0 : fabsl(want) > FLT_MAX && fabsf(got) == FLT_MAX ? 1 : INFINITY;
    int exponent;
    frexpf(rounded == 0 ? FLT_MIN : rounded, &exponent);
    double ulp = ldexp(1, exponent - 24);
    if (ulp < 0x1p-149) ulp = 0x1p-149;
    return (double)(fabsl((long double)got - want) / ulp);
}

static float from_bits(uint32_t b) {
    float f;
    memcpy(&f, &b, 4);
    return f;
}

static const float special[] = {0.0f,     -0.0f,    1.0f,           -1.0f,         0.5f,       -0.5f,       2.0f,
                                -2.0f,    3.0f,     -3.0f,          1e-45f,        -1e-45f,    1e-40f,      -1e-40f,
                                FLT_MIN,  -FLT_MIN, FLT_MAX,        -FLT_MAX,      INFINITY,   -INFINITY,   NAN,
                                88.7228f, 88.73f,   -87.3365f,      -103.9f,       -104.5f,    1e10f,       -1e10f,
                                1e20f,    1e38f,    16777216.0f,    16777217.0f,   8388608.5f, -8388607.5f, -2.5f,
                                -1e-20f,  1e-20f,   0x1.fffffep-1f, 0x1.000002p0f, 524287.5f,  524288.5f,   1048577.0f};
enum { SPECIAL = sizeof special / sizeof *special };

static size_t fill(const Function *f, float *x, float *y) {
    size_t n = 0;
    Dice d = {99};
    if (f->arity == 2)
        for (int i = 0; i < SPECIAL; i++)
            for (int j = 0; j < SPECIAL; j++) x[n] = special[i], y[n++] = special[j];
    else
        for (int i = 0; i < SPECIAL; i++) x[n] = special[i], y[n++] = 0;
    for (int i = 0; i < SWEEP; i++) {
        x[n] = from_bits((uint32_t)i * 4099u);
        y[n++] = f->arity == 2 ? from_bits(dice_next(&d)) : 0;
    }
    for (int i = 0; i < SWEEP; i++) {
        x[n] = (float)(f->low + (f->high - f->low) * i / SWEEP);
        y[n++] = f->arity == 2 ? (float)(dice_real(&d) * 40 - 20) : 0;
    }
    return n;
}

static Kernel *kernel_for(Arena *a, Program *p, const Function *f) {
    Make m = make_open(a, p, f->name);
    Extent e = {1, 0};
    int v = make_var(&m, 1, 0);
    make_outer(&m);
    int x = make_buffer(&m, T_REAL, false, 1, &e, NULL), y = make_buffer(&m, T_REAL, false, 1, &e, NULL);
    int o = make_buffer(&m, T_REAL, true, 1, &e, NULL);
    Expr *ex = make_at(&m, x, 1, &v), *ey = f->arity == 2 ? make_at(&m, y, 1, &v) : NULL;
    make_store(&m, 0, 0, NULL, REDUCE_NONE, expr_op(m.job, f->op, ex, ey, NULL), o, 1, &v);
    return m.k;
}

int main(int argc, char **argv) {
    Checks c = {0, 0};
    Arena *a = arena_new();
    Program *p = NEW(a, Program);
    p->arena = a;
    p->names = names_new(a);
    p->name = "math";
    p->scalar_seed = p->scalar_step = -1;
    vec_push(a, &p->axis, ((Axis){.name = "n", .dynamic = true, .count = 1000}));
    CpuLowering lowering[FUNCTIONS];
    const CpuLowering *all[FUNCTIONS];
    for (int i = 0; i < FUNCTIONS; i++) {
        const char *error = cpu_lower(a, p, kernel_for(a, p, &functions[i]), NULL, &lowering[i]);
        all[i] = &lowering[i];
        if (!check(&c, error == NULL, "%s: %s", functions[i].name, error)) return checks_end(&c);
    }
    CpuObjects objects = {0};
    CpuOptions options = {.verify = true};
    const char *error = cpu_compile(a, p, all, FUNCTIONS, &options, &objects);
    if (!check(&c, error == NULL, "%s", error)) return checks_end(&c);
    char *message = NULL;
    Jit *jit = jit_open(&objects, &message);
    if (!check(&c, jit != NULL, "%s", message)) return checks_end(&c);
    size_t room = (size_t)2 * SWEEP + SPECIAL * SPECIAL + 8;
    float *x = malloc(4 * room), *y = malloc(4 * room), *o = malloc(4 * room);
    printf("%-8s", "ulp");
    for (int level = 0; level < CPU_LEVELS; level++) printf(" %20s", cpu_level_suffix[level]);
    printf("\n");
    for (int i = 0; i < FUNCTIONS; i++) {
        const Function *f = &functions[i];
        if (argc > 1 && strcmp(argv[1], f->name) != 0) continue;
        size_t n = fill(f, x, y);
        printf("%-8s", f->name);
        for (int level = 0; level < CPU_LEVELS; level++) {
            if (!jit_level_runs((CpuLevel)level)) continue;
            JitKernel k = jit_kernel(jit, f->name, (CpuLevel)level);
            const CpuPhase *phase = &lowering[i].phase[0];
            float *buffer[3] = {x, y, o};
            void *arg[3];
            for (int j = 0; j < phase->args; j++) arg[j] = buffer[phase->arg[j]];
            int64_t extent[1] = {(int64_t)n};
            k(arg, extent, NULL, 0, ((int64_t)n + phase->divide - 1) / phase->divide);
            double worst = 0;
            size_t at = 0;
            for (size_t e = 0; e < n; e++) {
                long double want = reference(f->op, x[e], y[e]);
                double u = ulps(o[e], want);
                if (fabsl((long double)o[e] - want) <= f->absolute) u = 0;
                if (want == 0 && o[e] == 0 && !signbit(want) != !signbit(o[e]) && f->op != OP_LGAMMA &&
                    f->op != OP_DIGAMMA)
                    u = 3;
                if (u > worst) worst = u, at = e;
            }
            printf(" %5.2f %-14.8g", worst, x[at]);
            check(&c, worst <= f->bound, "%s %s: %g ulp (bound %g) at %a, %a: %a, expected %La", f->name,
                  cpu_level_suffix[level], worst, f->bound, x[at], y[at], o[at], reference(f->op, x[at], y[at]));
        }
        printf("\n");
        fflush(stdout);
    }
    free(x);
    free(y);
    free(o);
    jit_close(jit);
    arena_free(a);
    return checks_end(&c);
}
