// Gradients against central differences in f64 through the reference evaluator: one case for every primitive of the
// table that is marked differentiable, a catalogue of models, and random programs (as many as the argument says).
#include "pass/pass.h"
#include "pass_random.h"

typedef struct Case {
    const char *title, *text;
    const char *has, *lacks; // in the printed program after differentiation; NULL: not asked
} Case;

// Fills inputs and parameters: reals in [low, high), integers below 3.
static void fill(const Program *p, Values *v, Dice *dice, double low, double high) {
    for (int i = 0; i < p->tensor.count; i++) {
        const Tensor *t = p->tensor.at[i];
        if (t->kind == TENSOR_TEMP) continue;
        size_t n;
        double *x = values_of(v, i, &n);
        for (size_t k = 0; k < n; k++)
            x[k] = t->type == T_REAL   ? low + (high - low) * dice_real(dice)
                   : t->type == T_BOOL ? dice_below(dice, 2)
                                       : dice_below(dice, 3);
    }
}

static double loss_of(const Program *p, const Job *job, Values *v) {
    const char *error = job_evaluate(p, job, v);
    return error != NULL ? NAN : values_of(v, job->loss, NULL)[0];
}

// Compares every element of every requested gradient; the job was differentiated, `requests` are its requests before.
static void compare(Checks *c, const char *title, const Program *p, const Job *job, const Update *request, int requests,
                    const int64_t *axis, double low, double high, bool zeros) {
    Arena *arena = arena_new();
    Dice dice = {.state = 99};
    Values *v = values_new(arena, p, axis), *w = values_new(arena, p, axis);
    fill(p, v, &dice, low, high);
    if (zeros)
        for (int i = 0; i < requests; i++) values_of(v, request[i].target, NULL)[0] = 0;
    for (int i = 0; i < p->tensor.count; i++) {
        size_t n;
        double *x = values_of(v, i, &n);
        memcpy(values_of(w, i, NULL), x, n * sizeof *x);
    }
    const char *error = job_evaluate(p, job, v);
    if (!check(c, error == NULL, "%s: %s", title, error != NULL ? error : "")) {
        arena_free(arena);
        return;
    }
    for (int i = 0; i < requests; i++) {
        size_t n;
        double *x = values_of(w, request[i].target, &n), *g = values_of(v, request[i].source, NULL), worst = 0;
        size_t at = 0;
        for (size_t k = 0; k < n; k++) {
            const double h = 1e-5;
            double keep = x[k];
            x[k] = keep + h;
            double up = loss_of(p, job, w);
            x[k] = keep - h;
            double down = loss_of(p, job, w);
            x[k] = keep;
            double difference = (up - down) / (2 * h), off = fabs(difference - g[k]) / (1 + fabs(difference));
            if (!isnan(worst) && !(off <= worst)) { // a NaN stays the worst
                worst = off;
                at = k;
            }
        }
        check(c, worst < 1e-6, "%s: gradient of tensor %d is off by %g at element %zu (%g)\n%s", title,
              request[i].target, worst, at, g[at], worst < 1e-6 ? "" : print_program(arena, p));
    }
    arena_free(arena);
}

static void gradient_check(Checks *c, Arena *arena, Program *p, const Case *k, double low, double high, bool zeros) {
    Sources sources = {.arena = arena};
    Diagnostics *d = diagnostics_new(arena, &sources);
    {
        Job *job = p->job.at[0];
        Update request[8];
        int requests = job->gradient.count;
        check(c, requests > 0 && requests <= 8, "%s asks for %d gradients", k->title, requests);
        for (int i = 0; i < requests; i++) request[i] = job->gradient.at[i];
        check(c, differentiate(p, job, d), "%s: differentiation failed", k->title);
        const char *wrong = program_verify(p), *printed = print_program(arena, p);
        if (check(c, wrong == NULL, "%s after differentiation: %s\n%s", k->title, wrong != NULL ? wrong : "",
                  printed)) {
            check(c, job->gradient.count == 0, "%s: requests remain", k->title);
            if (k->has != NULL)
                check(c, strstr(printed, k->has) != NULL, "%s lacks `%s`:\n%s", k->title, k->has, printed);
            if (k->lacks != NULL)
                check(c, strstr(printed, k->lacks) == NULL, "%s has `%s`:\n%s", k->title, k->lacks, printed);
            const int64_t axis[] = {3, 4, 2};
            compare(c, k->title, p, job, request, requests, axis, low, high, zeros);
            for (int i = 0; i < requests; i++) { // what nothing asks for would go
                JobOutput o = {"gradient", request[i].source};
                vec_push(arena, &job->output, o);
            }
            simplify(p, job);
            wrong = program_verify(p);
            printed = print_program(arena, p);
            if (check(c, wrong == NULL, "%s after simplification: %s\n%s", k->title, wrong != NULL ? wrong : "",
                      printed))
                compare(c, k->title, p, job, request, requests, axis, low, high, zeros);
            if (getenv("SHOW") != NULL && strcmp(getenv("SHOW"), k->title) == 0) printf("%s", printed);
        }
    }
}

static void gradient_case(Checks *c, const Case *k, double low, double high, bool zeros) {
    Arena *arena = arena_new();
    Program *p = program_from(c, arena, names_new(arena), k->title, k->text);
    if (p != NULL) gradient_check(c, arena, p, k, low, high, zeros);
    arena_free(arena);
}

static void random_case(Checks *c, uint64_t seed) {
    Arena *arena = arena_new();
    Program *p = random_program(arena, seed, 2 + (int)(seed % 5), seed % 3 == 0);
    char title[40];
    snprintf(title, sizeof title, "random program %d", (int)seed);
    Case k = {title, "", NULL, NULL};
    const char *wrong = program_verify(p);
    if (check(c, wrong == NULL, "%s: %s\n%s", title, wrong != NULL ? wrong : "", print_program(arena, p)))
        gradient_check(c, arena, p, &k, -1, 1, false);
    arena_free(arena);
}

// ---- every primitive of the table
static void test_primitives(Checks *c) {
    struct {
        const char *text;
        int arity;
        char result;
        bool differentiable;
    } table[] = {
#define X(name, text, arity, result, differentiable) {text, arity, #result[0], differentiable},
        SCALAR_OPS(X)
#undef X
    };
    for (int op = 0; op < OP_COUNT; op++) {
        if (table[op].result == 'N') continue;
        char value[200];
        switch (table[op].result) {
        case 'R':
            snprintf(value, sizeof value, table[op].arity == 1 ? "%s(%%0[i])" : "%s(%%0[i], %%1[i])", table[op].text);
            break;
        case 'S': snprintf(value, sizeof value, "select(lt(%%0[i], 0.9), %%0[i], %%1[i])"); break;
        case 'C': snprintf(value, sizeof value, "f32(mul(%%0[i], %%1[i]))"); break;
        default: continue; // integers and conditions carry no gradient
        }
        char text[1000], title[100];
        snprintf(title, sizeof title, "primitive %s", table[op].text);
        snprintf(text, sizeof text,
                 "program p f64\ntensor 0 param f64 x [5]\ntensor 1 param f64 z [5]\ntensor 2 temp f64 y [5]\n"
                 "tensor 3 temp f64 loss []\ntensor 4 temp f64 gx [5]\ntensor 5 temp f64 gz [5]\njob train\n"
                 "  %%2[i:5] = %s\n"
                 "  %%3[] = sum[i:5] mul(%%2[i], add(%%2[i], %%1[i]))\n"
                 "  gradient %%4 of %%0\n  gradient %%5 of %%1\n  loss %%3\nend\n",
                 value);
        Case k = {title, text, NULL, NULL};
        // A primitive without derivative has slope zero away from its jumps, except the barrier, which hides one.
        if (strcmp(table[op].text, "stop_gradient") == 0 ||
            (!table[op].differentiable && strcmp(table[op].text, "digamma") == 0)) {
            check(c, !table[op].differentiable, "%s is marked differentiable", table[op].text);
            continue;
        }
        gradient_case(c, &k, 0.4, 1.6, false);
    }
}

// Values that central differences cannot tell: ties, barriers, what is refused.
static void test_particular(Checks *c) {
    static const struct {
        const char *value;
        double x, slope; // of value by %0[] at x
    } cases[] = {
        {"max(%0[], 0)", 0, 0},
        {"max(0, %0[])", 0, 0},
        {"max(%0[], 0)", 2, 1},
        {"min(%0[], 1)", 1, 0},
        {"max(%0[], %0[])", 3, 1},
        {"abs(%0[])", 0, 0},
        {"stop_gradient(%0[])", 2, 0},
        {"floor(%0[])", 1.5, 0},
        {"round(%0[])", 1.2, 0},
        {"sign(%0[])", 1.2, 0},
        {"pow(%0[], 2)", 0, 0},
        {"pow(%0[], 0)", 0, 0},
        {"pow(%0[], 1)", 0, 1},
        {"mul(%0[], stop_gradient(%0[]))", 5, 5},
        {"select(lt(0, %0[]), sqrt(%0[]), 0)", 0, 0},
        {"select(lt(0, %0[]), div(1, %0[]), %0[])", 0, 1},
        {"select(lt(%0[], 100), %0[], exp(%0[]))", 5, 1},
        {"select(lt(%0[], 100), %0[], exp(mul(%0[], 1000)))", 50, 1},
        {"pow(%0[], add(1, %0[]))", 0, 1},
        {"mul(%0[], f64(i32(%0[])))", 2.5, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Arena *arena = arena_new();
        Sources sources = {.arena = arena};
        char *text =
            arena_format(arena,
                         "program p f64\ntensor 0 param f64 x []\ntensor 1 temp f64 l []\ntensor 2 temp f64 g []\n"
                         "job t\n  %%1[] = %s\n  gradient %%2 of %%0\n  loss %%1\nend\n",
                         cases[i].value);
        Program *p = program_from(c, arena, names_new(arena), cases[i].value, text);
        if (p != NULL &&
            check(c, differentiate(p, p->job.at[0], diagnostics_new(arena, &sources)), "%s", cases[i].value)) {
            Values *v = values_new(arena, p, NULL);
            values_of(v, 0, NULL)[0] = cases[i].x;
            job_evaluate(p, p->job.at[0], v);
            double slope = values_of(v, 2, NULL)[0];
            check(c, fabs(slope - cases[i].slope) < 1e-12, "%s at %g has slope %g, not %g", cases[i].value, cases[i].x,
                  slope, cases[i].slope);
        }
        arena_free(arena);
    }
    Arena *arena = arena_new();
    Program *p = random_program(arena, 1, 3, false);
    Sources sources = {.arena = arena};
    Diagnostics *d = diagnostics_new(arena, &sources);
    p->job.at[0]->loss = -1;
    check(c, !differentiate(p, p->job.at[0], d) && diagnostics_count(d) == 1, "a gradient without a loss is refused");
    arena_free(arena);
}

// A thousand layers: every pass stays far from quadratic time that anyone would notice.
static void test_depth(Checks *c) {
    Arena *arena = arena_new();
    Text text = {.arena = arena};
    enum { LAYERS = 1000 };
    text_add(&text, "program deep f64\naxis 0 b dynamic 4\ntensor 0 input f64 x [b 3]\n");
    for (int i = 0; i < LAYERS; i++)
        text_add(&text,
                 "tensor %d param f64 w [3 3]\ntensor %d temp f64 z [b 3]\ntensor %d temp f64 y [b 3]\ntensor %d temp "
                 "f64 g [3 3]\n",
                 4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * i + 4);
    text_add(&text, "tensor %d temp f64 loss []\njob t\n", 4 * LAYERS + 1);
    for (int i = 0; i < LAYERS; i++) {
        int before = i == 0 ? 0 : 4 * i - 1;
        text_add(&text, "%%%d[s:b, o:3] = sum[i:3] mul(%%%d[s, i], %%%d[o, i])\n", 4 * i + 2, before, 4 * i + 1);
        text_add(&text, "%%%d[s:b, o:3] = add(%%%d[s, o], tanh(%%%d[s, o]))\n", 4 * i + 3, before, 4 * i + 2);
        text_add(&text, "gradient %%%d of %%%d\noutput g %%%d\n", 4 * i + 4, 4 * i + 1, 4 * i + 4);
    }
    text_add(&text, "%%%d[] = sum[s:b, o:3] %%%d[s, o]\nloss %%%d\nend\n", 4 * LAYERS + 1, 4 * LAYERS - 1,
             4 * LAYERS + 1);
    text_add_bytes(&text, "", 1);
    Program *p = program_from(c, arena, names_new(arena), "deep", text.at);
    Sources sources = {.arena = arena};
    if (p != NULL) {
        Job *job = p->job.at[0];
        check(c, differentiate(p, job, diagnostics_new(arena, &sources)), "a deep program cannot be differentiated");
        simplify(p, job);
        check(c, program_verify(p) == NULL, "deep: %s", program_verify(p));
        check(c, job->equation.count < 6 * LAYERS, "%d equations for %d layers", job->equation.count, LAYERS);
    }
    arena_free(arena);
}

#define HEAD "program p f64\naxis 0 b dynamic 4\naxis 1 n dynamic 4\n"
#include "differentiate_catalogue.h"

int main(int argc, char **argv) {
    Checks c = {0};
    test_primitives(&c);
    test_particular(&c);
    test_depth(&c);
    for (size_t i = 0; i < sizeof catalogue / sizeof *catalogue; i++) gradient_case(&c, &catalogue[i], -1, 1, false);
    for (size_t i = 0; i < sizeof zero_catalogue / sizeof *zero_catalogue; i++)
        gradient_case(&c, &zero_catalogue[i], 0.5, 1.5, true);
    int programs = argc > 1 ? atoi(argv[1]) : 400;
    for (int i = 0; i < programs; i++) random_case(&c, (uint64_t)i);
    return checks_end(&c);
}
