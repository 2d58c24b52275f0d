// Simplification: each rule on its own, whole programs, and random programs, where values must stay the same, the
// result must verify, and a second run must change nothing.
#include "pass/pass.h"
#include "pass_random.h"

// ---- rules: value in, value out, over x [4] (%0), z [4] (%1), integers k [4] (%2), condition m [4] (%3)
typedef struct Rule {
    const char *from, *to;
} Rule;

static const Rule rules[] = {
    {"add(%0[i], 0)", "%0[i]"},
    {"add(0, %0[i])", "%0[i]"},
    {"sub(%0[i], 0)", "%0[i]"},
    {"sub(0, %0[i])", "neg(%0[i])"},
    {"mul(%0[i], 1)", "%0[i]"},
    {"mul(-1, %0[i])", "neg(%0[i])"},
    {"div(%0[i], 1)", "%0[i]"},
    {"div(%0[i], 4)", "mul(%0[i], 0.25)"},
    {"div(%0[i], 3)", "div(%0[i], 3)"},
    {"mul(%0[i], 0)", "mul(%0[i], 0)"}, // infinity times zero is not zero
    {"mul(f64(%2[i]), 0)", "0"},
    {"neg(neg(%0[i]))", "%0[i]"},
    {"neg(sub(%0[i], %1[i]))", "sub(%1[i], %0[i])"},
    {"add(%0[i], %0[i])", "mul(%0[i], 2)"},
    {"sub(%0[i], %0[i])", "sub(%0[i], %0[i])"}, // infinity minus itself is not zero
    {"sub(%0[i], neg(%1[i]))", "add(%0[i], %1[i])"},
    {"add(%1[i], %0[i])", "add(%0[i], %1[i])"},
    {"mul(neg(%0[i]), neg(%1[i]))", "mul(%0[i], %1[i])"},
    {"add(add(%0[i], 1), 2)", "add(add(%0[i], 1), 2)"}, // no reassociation
    {"pow(%0[i], 0)", "1"},
    {"pow(%0[i], 1)", "%0[i]"},
    {"pow(%0[i], 2)", "mul(%0[i], %0[i])"},
    {"pow(%0[i], -1)", "div(1, %0[i])"},
    {"pow(%0[i], 2.5)", "pow(%0[i], 2.5)"},
    {"max(%0[i], %0[i])", "%0[i]"},
    {"max(max(%0[i], 1), 2)", "max(%0[i], 2)"},
    {"min(min(1, %0[i]), 2)", "min(%0[i], 1)"},
    {"select(1bool, %0[i], %1[i])", "%0[i]"},
    {"select(lt(2, 1), %0[i], %1[i])", "%1[i]"},
    {"select(%3[i], %0[i], %0[i])", "%0[i]"},
    {"select(not(%3[i]), %0[i], %1[i])", "select(%3[i], %1[i], %0[i])"},
    {"select(%3[i], select(%3[i], %0[i], 7), %1[i])", "select(%3[i], %0[i], %1[i])"},
    {"add(select(%3[i], %0[i], 0), mul(select(%3[i], 0, %1[i]), 0.5))", "select(%3[i], %0[i], mul(%1[i], 0.5))"},
    {"neg(select(%3[i], %0[i], 0))", "select(%3[i], neg(%0[i]), 0)"},
    {"mul(select(%3[i], %0[i], 1), 2)", "mul(select(%3[i], %0[i], 1), 2)"},
    {"select(and(%3[i], 1bool), %0[i], 0)", "select(%3[i], %0[i], 0)"},
    {"select(or(%3[i], lt(index(i), 4i32)), %0[i], 0)", "%0[i]"},
    {"select(not(not(%3[i])), %0[i], 0)", "select(%3[i], %0[i], 0)"},
    {"select(not(lt(%0[i], %1[i])), 1, 0)", "select(lt(%0[i], %1[i]), 0, 1)"},
    {"select(le(iadd(index(i), 2i32), 5i32), %0[i], 0)", "%0[i]"},
    {"select(lt(index(i), 3i32), %0[i], 0)", "select(lt(index(i), 3i32), %0[i], 0)"},
    {"select(eq(imod(index(i), 8i32), index(i)), %0[i], 0)", "%0[i]"},
    {"f64(idiv(index(i), 4i32))", "0"},
    {"f64(iadd(iadd(%2[i], 2i32), 3i32))", "f64(iadd(%2[i], 5i32))"},
    {"f64(isub(%2[i], %2[i]))", "0"},
    {"f64(imul(%2[i], 1i32))", "f64(%2[i])"},
    {"f64(%0[i])", "%0[i]"},
    {"f64(extent(12))", "12"},
    {"stop_gradient(%0[i])", "%0[i]"},
    {"exp(mul(2, 0.5))", "2.718281828459045"},
    {"sqrt(sub(4, 0))", "2"},
    {"add(%0[(i + 1)], mul(%1[i], add(0, 0)))", "add(%0[(i + 1)], mul(%1[i], 0))"},
};

static void test_rule(Checks *c, const Rule *r) {
    Arena *arena = arena_new();
    char text[600];
    snprintf(text, sizeof text,
             "program p f64\ntensor 0 input f64 x [4]\ntensor 1 input f64 z [4]\ntensor 2 input i32 k [4]\n"
             "tensor 3 input bool m [4]\ntensor 4 temp f64 y [4]\njob t\n  %%4[i:4] = %s\n  output y %%4\nend\n",
             r->from);
    Program *p = program_from(c, arena, names_new(arena), r->from, text);
    if (p != NULL) {
        simplify(p, p->job.at[0]);
        char want[300];
        snprintf(want, sizeof want, "  %%4[i:4] = %s\n", r->to);
        const char *printed = print_program(arena, p);
        check(c, strstr(printed, want) != NULL, "%s is not %s:\n%s", r->from, r->to, printed);
        check(c, program_verify(p) == NULL, "%s does not verify", r->from);
    }
    arena_free(arena);
}

// ---- programs: text in, equations out
typedef struct Whole {
    const char *title, *text, *equations;
} Whole;

#define TENSORS                                                                                                        \
    "program p f64\naxis 0 b dynamic 4\ntensor 0 input f64 x [b 4]\ntensor 1 param f64 w [4]\ntensor 2 scalar f64 s "  \
    "[]\n"
static const Whole wholes[] = {
    {"copies are forwarded and unused equations go",
     TENSORS "tensor 3 temp f64 a [b 4]\ntensor 4 temp f64 c [b 4]\ntensor 5 temp f64 d [b 4]\njob t\n"
             "  %3[i:b, j:4] = %0[i, j]\n  %4[i:b, j:4] = exp(%3[i, j])\n  %5[i:b, j:4] = add(%3[i, j], 1)\n  output y "
             "%5\nend\n",
     "  %5[i:b, j:4] = add(%0[i, j], 1)\n  output y %5\n"},
    {"equal equations are one",
     TENSORS "tensor 3 temp f64 a [b]\ntensor 4 temp f64 c [b]\ntensor 5 temp f64 d [b]\njob t\n"
             "  %3[i:b] = sum[j:4] mul(%0[i, j], %1[j])\n  %4[r:b] = sum[k:4] mul(%1[k], %0[r, k])\n"
             "  %5[i:b] = mul(%3[i], %4[i])\n  output y %5\n  output z %4\nend\n",
     "  %3[i:b] = sum[j:4] mul(%0[i, j], %1[j])\n  %4[r:b] = %3[r]\n  %5[i:b] = mul(%3[i], %3[i])\n"},
    {"constants and numbers are written where they are read",
     TENSORS
     "tensor 3 temp f64 a [b 4]\ntensor 4 temp f64 c []\ntensor 5 temp f64 d [4]\njob t\n"
     "  %3[i:b, j:4] = 1\n  %4[] = mul(%2[], 0.5)\n  %5[j:4] = mul(mul(%1[j], %4[]), %3[0, j])\n  output y %5\nend\n",
     "  %3[i:b, j:4] = 1\n  %5[j:4] = mul(%3[0, j], mul(%1[j], mul(%2[], 0.5)))\n"},
    {"a constant read outside is not written",
     TENSORS "tensor 3 temp f64 a [4]\ntensor 4 temp f64 c [4]\njob t\n"
             "  %3[j:4] = 1\n  %4[j:4] = add(%3[(j + 1)], %3[j])\n  output y %4\nend\n",
     "  %3[j:4] = 1\n  %4[j:4] = add(%3[(j + 1)], 1)\n"},
    {"a zero may be read anywhere",
     TENSORS "tensor 3 temp f64 a [4]\ntensor 4 temp f64 c [4]\njob t\n"
             "  %3[j:4] = 0\n  %4[j:4] = add(%1[j], %3[(j + 1)])\n  output y %4\nend\n",
     "  %4[j:4] = %1[j]\n"},
    {"views of views",
     TENSORS
     "tensor 3 temp f64 a [4*b]\ntensor 4 temp f64 c [2 2*b]\ntensor 5 temp f64 d [b 4]\ntensor 6 temp f64 e [2 "
     "2*b]\njob t\n"
     "  %3 = view %0\n  %4 = view %3\n  %5 = view %4\n  %6[i:2, j:2*b] = mul(%4[i, j], %5[0, i])\n  output y %6\nend\n",
     "  %4 = view %0\n  %6[i:2, j:2*b] = mul(%0[0, i], %4[i, j])\n"},
    {"windows of one element",
     TENSORS "tensor 3 temp f64 a [b 4]\ntensor 4 temp f64 c [b]\njob t\n"
             "  %3[i:b, j:4] = sum[u:1, k:4] mul(%0[i, (k + u)], %1[k])\n  %4[i:b] = max[u:1] %3[i, u]\n  output y "
             "%4\n  output z %3\nend\n",
     "  %3[i:b, j:4] = sum[k:4] mul(%0[i, k], %1[k])\n  %4[i:b] = %3[i, 0]\n"},
    {"random numbers stay where they are",
     "program p f64\ntensor 0 temp f64 a []\ntensor 1 temp f64 c [4]\njob t\n  %0[] = random(1)\n"
     "  %1[i:4] = mul(%0[], random(1))\n  output y %1\nend\n",
     "  %0[] = random(1)\n  %1[i:4] = mul(%0[], random(1))\n"},
};

static void test_whole(Checks *c, const Whole *w) {
    Arena *arena = arena_new();
    Program *p = program_from(c, arena, names_new(arena), w->title, w->text);
    if (p != NULL) {
        simplify(p, p->job.at[0]);
        const char *printed = print_program(arena, p), *wrong = program_verify(p);
        check(c, wrong == NULL, "%s: %s\n%s", w->title, wrong != NULL ? wrong : "", printed);
        const char *job = strstr(printed, "job t\n");
        check(c, job != NULL && strncmp(job + 6, w->equations, strlen(w->equations)) == 0, "%s:\n%s", w->title,
              printed);
    }
    arena_free(arena);
}

// ---- values of random programs
static bool same_value(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

static void test_random(Checks *c, uint64_t seed) {
    Arena *arena = arena_new();
    Program *p = random_program(arena, seed, 3 + (int)(seed % 6), seed % 3 == 0);
    Job *job = p->job.at[0];
    Sources sources = {.arena = arena};
    Diagnostics *d = diagnostics_new(arena, &sources);
    if (seed % 2) { // with and without the equations of a gradient
        for (int i = 0; i < job->gradient.count; i++) {
            JobOutput o = {"gradient", job->gradient.at[i].source};
            vec_push(arena, &job->output, o);
        }
        check(c, differentiate(p, job, d), "random program %d cannot be differentiated", (int)seed);
    } else {
        job->gradient.count = 0;
    }
    check(c, program_verify(p) == NULL, "random program %d: %s", (int)seed, program_verify(p));
    const int64_t axis[] = {3};
    Values *before = values_new(arena, p, axis), *after = values_new(arena, p, axis);
    Dice dice = {.state = seed};
    for (int i = 0; i < p->tensor.count; i++) {
        const Tensor *t = p->tensor.at[i];
        size_t n;
        double *x = values_of(before, i, &n), *y = values_of(after, i, NULL);
        for (size_t k = 0; t->kind != TENSOR_TEMP && k < n; k++)
            x[k] = y[k] = t->type == T_REAL ? 2 * dice_real(&dice) - 1 : dice_below(&dice, 3);
    }
    const char *error = job_evaluate(p, job, before);
    const char *text = print_program(arena, p);
    int equations = job->equation.count;
    simplify(p, job);
    const char *once = print_program(arena, p), *wrong = program_verify(p);
    check(c, wrong == NULL, "random program %d: %s\n%s", (int)seed, wrong != NULL ? wrong : "", once);
    check(c, job->equation.count <= equations, "random program %d grew", (int)seed);
    const char *error_after = job_evaluate(p, job, after);
    check(c, (error == NULL) == (error_after == NULL), "random program %d: one run fails", (int)seed);
    for (int i = 0; i <= job->output.count; i++) {
        int id = i < job->output.count ? job->output.at[i].tensor : job->loss;
        size_t n, wrong_at = 0, differ = 0;
        double *x = values_of(before, id, &n), *y = values_of(after, id, NULL);
        for (size_t k = 0; k < n; k++)
            if (!same_value(x[k], y[k])) differ++, wrong_at = k;
        check(c, differ == 0, "random program %d: tensor %d differs at %zu: %.17g, %.17g\n%s\n%s", (int)seed, id,
              wrong_at, x[wrong_at], y[wrong_at], text, once);
    }
    simplify(p, job);
    const char *twice = print_program(arena, p);
    check(c, strcmp(once, twice) == 0, "random program %d: a second run changes it:\n%s\n%s", (int)seed, once, twice);
    arena_free(arena);
}

static void test_single_precision(Checks *c) {
    Arena *arena = arena_new();
    const char *text = "program p f32\ntensor 0 temp f32 y []\njob t\n  %0[] = mul(0.1, 3)\n  output y %0\nend\n";
    Program *p = program_from(c, arena, names_new(arena), "folding in f32", text);
    if (p != NULL) {
        simplify(p, p->job.at[0]);
        check(c, p->job.at[0]->equation.at[0]->value->number == (double)(0.1f * 3.0f), "0.1 * 3 in f32 is %.17g",
              p->job.at[0]->equation.at[0]->value->number);
    }
    arena_free(arena);
}

int main(int argc, char **argv) {
    Checks c = {0};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) test_rule(&c, &rules[i]);
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++) test_whole(&c, &wholes[i]);
    test_single_precision(&c);
    int programs = argc > 1 ? atoi(argv[1]) : 1000;
    for (int i = 0; i < programs; i++) test_random(&c, (uint64_t)i);
    return checks_end(&c);
}
