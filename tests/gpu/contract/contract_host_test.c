// contract_host_test LIBSTMSHIM.so CONTRACT.so [WORD]: every instance of instances.h against every case it can do, on
// the host shim, compared with sums in double over naively addressed operands, rounded as the instance rounds them.
// WORD: only instances and cases whose name contains it.
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "../shim/shim.h"
#include "cases.h"
#include "instances.h"

static struct {
    void *(*alloc)(size_t, const char *);
    const char *(*free)(void *);
    void (*wrote)(const void *, size_t);
    const char *(*open)(const char *, ShimModule **);
    const ShimKernel *(*find)(ShimModule *, const char *);
    const char *(*launch)(const ShimKernel *, unsigned, unsigned, size_t, void *const *, const ShimOptions *);
} shim;

static float as_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static uint32_t as_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}
static uint16_t to_bf16(float x) {
    return (uint16_t)((as_bits(x) + 0x7fff + ((as_bits(x) >> 16) & 1)) >> 16);
}
static float of_bf16(uint16_t x) {
    return as_float((uint32_t)x << 16);
}

typedef struct Array {
    const char *type;
    void *at;
    int64_t count;
} Array;

static uint64_t state = 12345;
static double random_value(bool integers) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    uint32_t x = (uint32_t)(state >> 33);
    return integers ? (double)(x % 9) - 4 : (double)x / 0x40000000 - 1;
}
static Array make_array(const char *type, int64_t count, bool integers, bool fill, const char *name) {
    Array a = {type, shim.alloc((size_t)(count ? count : 1) * (size_t)test_type_bytes(type), name), count};
    for (int64_t i = 0; fill && i < count; i++) {
        double x = random_value(integers);
        if (!strcmp(type, "double")) ((double *)a.at)[i] = x;
        else if (!strcmp(type, "float")) ((float *)a.at)[i] = (float)x;
        else ((uint16_t *)a.at)[i] = to_bf16((float)x);
    }
    if (fill) shim.wrote(a.at, (size_t)count * (size_t)test_type_bytes(type));
    return a;
}
static double array_value(const Array *a, int64_t i) {
    if (!strcmp(a->type, "double")) return ((double *)a->at)[i];
    if (!strcmp(a->type, "float")) return ((float *)a->at)[i];
    return of_bf16(((uint16_t *)a->at)[i]);
}
// As the products see it.
static double rounded(const TestInstance *t, double x) {
    if (!strcmp(t->math, "TF32")) return as_float((as_bits((float)x) + 0x1000) & ~0x1fffu);
    if (!strcmp(t->math, "BF16")) return of_bf16(to_bf16((float)x));
    return x;
}

// Indices of a flat number by plain division.
static void split(const ContractGroup *g, int flat, int index[4]) {
    for (int i = 3; i > 0; i--) {
        index[i] = flat % g->inner[i - 1].divisor;
        flat /= g->inner[i - 1].divisor;
    }
    index[0] = flat;
}
static int64_t dot(const int *stride, const int *index) {
    int64_t sum = 0;
    for (int i = 0; i < 4; i++) sum += (int64_t)stride[i] * index[i];
    return sum;
}
// The element, or -1 for 0.
static int64_t element(const ContractOperand *o, int guards, const int *b, const int *own, const int *k) {
    int64_t at = o->base + dot(o->batch, b) + dot(o->own, own) + dot(o->k, k);
    for (int g = 0; g < guards; g++) {
        const ContractGuard *w = &o->guard[g];
        int64_t c = w->offset + dot(w->batch, b) + dot(w->own, own) + dot(w->k, k);
        if (c < 0 || c % w->step || c / w->step >= w->size) return -1;
        at += c / w->step * w->stride;
    }
    return at;
}

static bool operand_fits(const TestOperand *t, const CaseOperand *c, int k_indices) {
    if (t->exact != c->exact || t->guards < c->guards || t->indices < (c->k_indices ? c->k_indices : k_indices))
        return false;
    if (t->vector <= 1) return true;
    return c->contiguous == t->major[0] && c->vector % t->vector == 0;
}

static const char *run(ShimModule *module, const TestInstance *t, const Case *c, bool integers, unsigned grid,
                       int slices, ShimOrder order, double *worst) {
    static char message[600];
    const ShimKernel *kernel = shim.find(module, t->name);
    if (!kernel) return "no such function";
    ContractWords w = c->words;
    w.slices = slices;
    bool partial = !strcmp(t->epilogue, "Partial"), bias = !strcmp(t->epilogue, "Bias");
    Array a = make_array(t->a.type, c->a.elements, integers, true, "a"),
          b = make_array(t->b.type, c->b.elements, integers, true, "b");
    Array add = make_array(!strcmp(t->math, "F64") ? "double" : "float", c->n, integers, true, "bias");
    int64_t results = (int64_t)slices * c->batch * c->m * c->n;
    Array d = make_array(t->d, partial ? results : c->d_elements, integers, false, "d");
    unsigned *report = shim.alloc(sizeof *report, "report");
    *report = 0;
    shim.wrote(report, sizeof *report);
    int e0 = c->e0, e1 = 1;
    void *parameter[] = {&a.at, &b.at, &d.at, &add.at, &w, &e0, &e1, &report};
    ShimOptions options = {order, 7, false};
    const char *error = shim.launch(kernel, grid, (unsigned)(32 * t->warps_m * t->warps_n), (size_t)test_shared(t),
                                    parameter, &options);
    const char *answer = NULL;
    if (error) snprintf(message, sizeof message, "%s", error), answer = message;
    double unit = !strcmp(t->math, "F64") ? 1e-15 : 1.5e-7;
    for (int ib = 0; ib < c->batch && !answer; ib++)
        for (int m = 0; m < c->m && !answer; m++)
            for (int n = 0; n < c->n && !answer; n++) {
                int b4[4], m4[4], n4[4], k4[4];
                split(&w.batch, ib, b4), split(&w.m, m, m4), split(&w.n, n, n4);
                double sum = 0, size = 0, got = 0;
                for (int k = 0; k < c->k; k++) {
                    split(&w.k, k, k4);
                    int64_t x = element(&w.a, c->a.guards, b4, m4, k4), y = element(&w.b, c->b.guards, b4, n4, k4);
                    if (x < 0 || y < 0) continue;
                    double product = rounded(t, array_value(&a, x)) * rounded(t, array_value(&b, y));
                    sum += product;
                    size += fabs(product);
                }
                if (bias) sum += array_value(&add, n), size += fabs(array_value(&add, n));
                if (partial)
                    for (int s = 0; s < slices; s++)
                        got += array_value(&d, (((int64_t)s * c->batch + ib) * c->m + m) * c->n + n);
                else got = array_value(&d, w.d.base + dot(w.d.batch, b4) + dot(w.d.m, m4) + dot(w.d.n, n4));
                double bound = integers ? 0 : unit * (4 + sqrt((double)c->k)) * size;
                if (!strcmp(t->d, "stm_bf16")) bound += fabs(sum) / 256;
                double wrong = fabs(got - sum);
                if (size > 0 && wrong / size > *worst && strcmp(t->d, "stm_bf16")) *worst = wrong / size;
                if (!(wrong <= bound)) {
                    snprintf(message, sizeof message, "element (%d, %d, %d) is %.9g, expected %.9g within %.3g", ib, m,
                             n, got, sum, bound);
                    answer = message;
                }
            }
    shim.free(a.at), shim.free(b.at), shim.free(d.at), shim.free(add.at), shim.free(report);
    return answer;
}

// contract_divide against plain division: small and random divisors, multiples and their neighbours, the largest
// number.
static int wrong_quotients(void) {
    int wrong = 0;
    uint64_t x = 1;
    for (int i = 0; i < 400000; i++) {
        x = x * 6364136223846793005u + 1;
        int divisor = i < 4000 ? i + 1 : (int)((x >> 33) >> (i % 31));
        if (divisor < 1) divisor = 1;
        ContractDivide d = contract_divide(divisor);
        for (int j = 0; j < 4; j++) {
            x = x * 6364136223846793005u + 1;
            uint32_t n = (uint32_t)(x >> 33), multiple = n / (uint32_t)divisor * (uint32_t)divisor;
            if (j == 1) n = multiple;
            if (j == 2 && multiple) n = multiple - 1;
            if (j == 3) n = 0x7fffffff;
            wrong += (uint32_t)(((uint64_t)(2 * n) * d.multiply) >> 32) >> d.shift != n / (uint32_t)divisor;
        }
    }
    return wrong;
}

int main(int count, char **argument) {
    if (count < 3) return fprintf(stderr, "usage: contract_host_test LIBSTMSHIM.so CONTRACT.so [WORD]\n"), 2;
    void *library = dlopen(argument[1], RTLD_NOW | RTLD_GLOBAL);
    if (!library) return fprintf(stderr, "%s\n", dlerror()), 3;
    *(void **)&shim.alloc = dlsym(library, "shim_alloc");
    *(void **)&shim.free = dlsym(library, "shim_free");
    *(void **)&shim.wrote = dlsym(library, "shim_wrote");
    *(void **)&shim.open = dlsym(library, "shim_open");
    *(void **)&shim.find = dlsym(library, "shim_find");
    *(void **)&shim.launch = dlsym(library, "shim_launch");
    ShimModule *module = NULL;
    const char *error = shim.open(argument[2], &module);
    if (error) return fprintf(stderr, "%s\n", error), 3;
    const char *word = count > 3 ? argument[3] : "";

    static Case cases[CASES];
    int made = make_cases(cases), passed = 0, failed = 0, quotients = wrong_quotients();
    if (quotients) failed++, printf("FAILED contract_divide: %d quotients are wrong\n", quotients);
    else passed++;
    for (int i = 0; i < TEST_INSTANCES; i++) {
        const TestInstance *t = &test_instance[i];
        int done = 0;
        double worst = 0;
        for (int j = 0; j < made; j++) {
            const Case *c = &cases[j];
            char name[200];
            snprintf(name, sizeof name, "%.79s of %.79s", c->name, t->name);
            if (!strstr(name, word) || !operand_fits(&t->a, &c->a, c->k_indices) ||
                !operand_fits(&t->b, &c->b, c->k_indices))
                continue;
            bool partial = !strcmp(t->epilogue, "Partial");
            if (t->width == 4 && (c->n % 4 || (!partial && c->d_vector % 4))) continue;
            // one grid of a block for each tile, one larger, one of a single block; slices where they go to a workspace
            for (int variant = 0; variant < 2; variant++) {
                bool integers = variant == 1;
                int slices = partial ? (variant ? 3 : 2) : 1;
                error = run(module, t, c, integers, variant ? 1 : 7, slices, variant ? SHIM_SHUFFLED : SHIM_ASCENDING,
                            &worst);
                done++;
                if (error) failed++, printf("FAILED %s, %s: %s\n", name, integers ? "integers" : "reals", error);
                else passed++;
            }
        }
        if (!done && !*word) failed++, printf("FAILED %s: no case fits it\n", t->name);
        if (done)
            printf("%-24s %3d runs, largest error %.2g of the sum of magnitudes\n", t->name, done, worst),
                fflush(stdout);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
