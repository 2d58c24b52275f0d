// Bias gradients: random training steps of linear layers, whose sums over rows join the contractions of the weights,
// must give what the reference evaluator gives; and what joins and what must not, on small programs.
//   bias_gradient_test [SEED [COUNT]]
#include "kernel_run.h"
#include "pass_harness.h"

typedef struct Asked { // what a target answers
    bool none;
    int asked;
} Asked;

static bool fits(void *context, const Kernel *k) {
    Asked *a = context;
    a->asked++;
    return !a->none && kernel_bias_gradient(k) >= 0;
}

typedef struct Step {
    Text tensors, equations, tail;
    int next;
} Step;

static int declare(Step *s, const char *kind, const char *name, const char *dims) {
    text_add(&s->tensors, "tensor %d %s f32 %s%d [%s]%s\n", s->next, kind, name, s->next, dims,
             strcmp(kind, "input") == 0 ? " dataset \"d\"" : "");
    return s->next++;
}

// A step of a few linear layers over rows of one or two dimensions. Gradients of weights and biases are sums over rows,
// in either order; a bias's is stored, used for an update in place, or read by another sum.
static const char *random_step(Arena *arena, uint64_t seed) {
    Dice d = {seed};
    Step s = {.tensors = {.arena = arena}, .equations = {.arena = arena}, .tail = {.arena = arena}};
    int layers = 1 + dice_below(&d, 3), width = 2 + dice_below(&d, 6);
    bool two = dice_below(&d, 2);
    const char *rows = two ? "n 3" : "n", *range = two ? "a:n, b:3" : "a:n", *at = two ? "a, b" : "a";
    int x = declare(&s, "input", "x", arena_format(arena, "%s %d", rows, width));
    for (int l = 0; l < layers; l++) {
        int out = 2 + dice_below(&d, 6), use = dice_below(&d, 4);
        const char *shape = arena_format(arena, "%s %d", rows, out), *matrix = arena_format(arena, "%d %d", out, width);
        const char *vector = arena_format(arena, "%d", out);
        int w = declare(&s, "param", "w", matrix), b = declare(&s, "param", "b", vector);
        int y = declare(&s, "temp", "y", shape), dy = declare(&s, "temp", "dy", shape);
        int dw = declare(&s, "temp", "dw", matrix), db = declare(&s, "temp", "db", vector);
        text_add(&s.equations, "  %%%d[%s, o:%d] = sum[i:%d] mul(%%%d[%s, i], %%%d[o, i])\n", y, range, out, width, x,
                 at, w);
        text_add(&s.equations, "  %%%d[%s, o:%d] = tanh(add(%%%d[%s, o], %%%d[o]))\n", dy, range, out, y, at, b);
        bool first = dice_below(&d, 2);
        for (int i = 0; i < 2; i++) {
            if ((i == 0) == first)
                text_add(&s.equations, "  %%%d[o:%d] = sum[%s] %%%d[%s, o]\n", db, out, range, dy, at);
            else
                text_add(&s.equations, "  %%%d[o:%d, i:%d] = sum[%s] mul(%%%d[%s, o], %%%d[%s, i])\n", dw, out, width,
                         range, dy, at, x, at);
        }
        text_add(&s.tail, "  output dw%d %%%d\n", l, dw);
        if (use == 0) text_add(&s.tail, "  output db%d %%%d\n", l, db);
        if (use == 1 || use == 2) {
            int nb = declare(&s, "temp", "nb", vector);
            text_add(&s.equations, "  %%%d[o:%d] = sub(%%%d[o], mul(0.1, add(%%%d[o], mul(0.01, %%%d[o]))))\n", nb, out,
                     b, db, b);
            text_add(&s.tail, "  update %%%d <- %%%d\n", b, nb);
            if (use == 2) text_add(&s.tail, "  output db%d %%%d\n", l, db);
        }
        if (use == 3) {
            int norm = declare(&s, "temp", "norm", "");
            text_add(&s.equations, "  %%%d[] = sum[o:%d] mul(%%%d[o], %%%d[o])\n", norm, out, db, db);
            text_add(&s.tail, "  output norm%d %%%d\n", l, norm);
        }
        x = dy;
        width = out;
    }
    text_add_bytes(&s.tensors, "", 1);
    text_add_bytes(&s.equations, "", 1);
    text_add_bytes(&s.tail, "", 1);
    return arena_format(arena, "program r f64\naxis 0 n dynamic 4\n%sjob train\n%s%send\n", s.tensors.at,
                        s.equations.at, s.tail.at);
}

static const char *show(Arena *arena, const KernelProgram *k) {
    Text text = {.arena = arena};
    for (int i = 0; i < k->kernel.count; i++) kernel_print(k->kernel.at[i], k->program, &text);
    text_add_bytes(&text, "", 1);
    return text.at;
}

static KernelProgram *fused(Program *p) {
    for (int i = 0; i < p->job.count; i++) layout_job(p, p->job.at[i]);
    FusePolicy policy = fuse_default;
    policy.contraction_flops = 1;
    policy.small_elements = policy.recompute_cost = policy.pack_cost = 0;
    KernelProgram *k = fuse_program(p, &policy);
    schedule_kernels(k);
    return k;
}

static int joined(const KernelProgram *k) {
    int n = 0;
    for (int c = 0; c < k->job.at[0].call.count; c++) n += kernel_bias_gradient(k->job.at[0].call.at[c].kernel) >= 0;
    return n;
}

static void fill(const Program *p, Values *v) {
    for (int i = 0; i < p->tensor.count; i++) {
        size_t count;
        double *x = values_of(v, i, &count);
        Dice dice = {(uint64_t)i + 77};
        for (size_t e = 0; p->tensor.at[i]->kind != TENSOR_TEMP && e < count; e++) x[e] = 2 * dice_real(&dice) - 1;
    }
}

// Joins what can be joined and compares the values of parameters and outputs with the evaluator's.
static KernelProgram *check_step(Checks *c, Arena *arena, const char *title, const char *text) {
    Program *plain = program_from(c, arena, names_new(arena), title, text);
    Program *p = program_from(c, arena, names_new(arena), title, text);
    if (plain == NULL || p == NULL) return NULL;
    KernelProgram *from = fused(p);
    const char *before = show(arena, from);
    int tensors = p->tensor.count;
    Asked no = {.none = true}, yes = {0};
    KernelProgram *same = bias_gradients(from, fits, &no), *k = bias_gradients(from, fits, &yes);
    check(c, joined(same) == 0 && same->job.at[0].call.count == from->job.at[0].call.count, "%s: joined unasked",
          title);
    check(c, p->tensor.count == tensors && strcmp(before, show(arena, from)) == 0, "%s: the original changed", title);
    for (int i = 0; i < k->kernel.count; i++) {
        const char *wrong = kernel_verify(k->kernel.at[i], k->program);
        check(c, wrong == NULL && k->kernel.at[i]->id == i, "%s: %s\n%s", title, wrong, show(arena, k));
    }
    StmPlan *plan = NULL;
    const char *wrong = plan_program(k, plain_code(arena, k), "test", &plan);
    if (!check(c, wrong == NULL, "%s: %s", title, wrong)) return NULL;
    for (int64_t n = 1; n <= 5; n += 2) {
        Values *expected = values_new(arena, plain, &n), *found = values_new(arena, k->program, &n);
        fill(plain, expected);
        fill(p, found);
        wrong = job_evaluate(plain, plain->job.at[0], expected);
        if (wrong == NULL) wrong = plan_run(arena, k, plan, 0, found, &n, n == 3);
        if (!check(c, wrong == NULL, "%s: %s\n%s\n%s", title, wrong, text, show(arena, k))) return NULL;
        for (int t = 0; t < plain->tensor.count; t++) {
            bool looked = plain->tensor.at[t]->kind != TENSOR_TEMP;
            for (int o = 0; o < plain->job.at[0]->output.count; o++)
                looked |= plain->job.at[0]->output.at[o].tensor == t;
            size_t count;
            double *a = values_of(expected, t, &count), *b = values_of(found, t, NULL);
            for (size_t i = 0; looked && i < count; i++)
                if (!check(c, fabs(a[i] - b[i]) <= 1e-9 * (1 + fabs(a[i])),
                           "%s: tensor %d[%zu] is %.17g, not %.17g\n%s\n%s", title, t, i, b[i], a[i], text,
                           show(arena, k)))
                    return NULL;
        }
    }
    return k;
}

static const char head[] = "program p f64\naxis 0 n dynamic 4\n"
                           "tensor 0 input f32 x [n 6] dataset \"x\"\ntensor 1 input f32 dy [n 5] dataset \"d\"\n"
                           "tensor 2 param f32 b [5]\ntensor 3 temp f32 dw [5 6]\ntensor 4 temp f32 db [5]\n"
                           "tensor 5 temp f32 nb [5]\njob train\n"
                           "  %3[o:5, i:6] = sum[r:n] mul(%1[r, o], %0[r, i])\n";
static const struct {
    const char *title, *rest;
    int joined, calls;
} cases[] = {
    {"stored", "  %4[o:5] = sum[r:n] %1[r, o]\n  output w %3\n  output b %4\nend\n", 1, 1},
    {"updated",
     "  %4[o:5] = sum[r:n] %1[r, o]\n  %5[o:5] = sub(%2[o], mul(0.1, %4[o]))\n  update %2 <- %5\n  output w %3\nend\n",
     1, 2},
    {"of squares", "  %4[o:5] = sum[r:n] mul(%1[r, o], %1[r, o])\n  output w %3\n  output b %4\nend\n", 0, 2},
    {"a maximum", "  %4[o:5] = max[r:n] %1[r, o]\n  output w %3\n  output b %4\nend\n", 0, 2},
    {"shifted", "  %4[o:5] = sum[r:n] %1[r, (o - 1)]\n  output w %3\n  output b %4\nend\n", 0, 2},
};

// What the verifier refuses.
static void test_verifier(Checks *c, Arena *arena, const KernelProgram *k) {
    for (int i = 0; i < k->kernel.count; i++) {
        Kernel *x = k->kernel.at[i];
        int at = kernel_bias_gradient(x);
        if (at < 0) continue;
        Stage *s = &x->stage.at[at], good = *s;
        Text text = {.arena = arena};
        kernel_print(x, k->program, &text);
        check(c, strstr(text.at, "= sum[r:n] b") != NULL, "the sum is printed:\n%s", text.at);
        check(c, kernel_verify(x, k->program) == NULL, "a bias gradient");
        s->reduce = REDUCE_MAX;
        check(c, kernel_verify(x, k->program) != NULL, "a maximum of an operand");
        *s = good;
        s->value = x->stage.at[0].value;
        check(c, kernel_verify(x, k->program) != NULL, "a sum of no operand");
        *s = good;
        vec_push(arena, &x->stage, good);
        check(c, kernel_verify(x, k->program) != NULL, "two sums");
        x->stage.count--;
    }
}

int main(int argc, char **argv) {
    Checks c = {0};
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int count = argc > 2 ? atoi(argv[2]) : 60, all = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Arena *arena = arena_new();
        KernelProgram *k = check_step(&c, arena, cases[i].title, arena_format(arena, "%s%s", head, cases[i].rest));
        if (k != NULL) {
            check(&c, joined(k) == cases[i].joined, "%s: %d joined\n%s", cases[i].title, joined(k), show(arena, k));
            check(&c, k->job.at[0].call.count == cases[i].calls, "%s: %d calls\n%s", cases[i].title,
                  k->job.at[0].call.count, show(arena, k));
            if (i == 0) test_verifier(&c, arena, k);
        }
        arena_free(arena);
    }
    for (int i = 0; i < count && c.failed == 0; i++) {
        Arena *arena = arena_new();
        uint64_t seed = first + (uint64_t)i;
        const char *title = arena_format(arena, "seed %llu", (unsigned long long)seed);
        KernelProgram *k = check_step(&c, arena, title, random_step(arena, seed));
        if (k != NULL) all += joined(k);
        arena_free(arena);
    }
    printf("%d random steps: %d sums joined\n", count, all);
    check(&c, all >= count, "hardly any sum joined: %d in %d steps", all, count);
    return checks_end(&c);
}
