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
            x[k] = t->type == T_REAL ? low + (high - low) * dice_real(dice)
                   : t->type == T_BOOL ? dice_below(dice, 2) : dice_below(dice, 3);
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
            if (!(off <= worst)) {
                worst = off;
                at = k;
            }
        }
        check(c, worst < 1e-6, "%s: gradient of tensor %d is off by %g at element %zu (%g)\n%s", title, request[i].target,
              worst, at, g[at], worst < 1e-6 ? "" : print_program(arena, p));
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
        if (check(c, wrong == NULL, "%s after differentiation: %s\n%s", k->title, wrong != NULL ? wrong : "", printed)) {
            check(c, job->gradient.count == 0, "%s: requests remain", k->title);
            if (k->has != NULL) check(c, strstr(printed, k->has) != NULL, "%s lacks `%s`:\n%s", k->title, k->has, printed);
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
            if (check(c, wrong == NULL, "%s after simplification: %s\n%s", k->title, wrong != NULL ? wrong : "", printed))
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
        if (strcmp(table[op].text, "stop_gradient") == 0 || (!table[op].differentiable && strcmp(table[op].text, "digamma") == 0)) {
            check(c, !table[op].differentiable, "%s is marked differentiable", table[op].text);
            continue;
        }
        gradient_case(c, &k, 0.4, 1.6, false);
    }
}

#define HEAD "program p f64\naxis 0 b dynamic 4\naxis 1 n dynamic 4\n"
#include "differentiate_catalogue.h"

int main(int argc, char **argv) {
    Checks c = {0};
    test_primitives(&c);
    for (size_t i = 0; i < sizeof catalogue / sizeof *catalogue; i++) gradient_case(&c, &catalogue[i], -1, 1, false);
    for (size_t i = 0; i < sizeof zero_catalogue / sizeof *zero_catalogue; i++)
        gradient_case(&c, &zero_catalogue[i], 0.5, 1.5, true);
    int programs = argc > 1 ? atoi(argv[1]) : 400;
    for (int i = 0; i < programs; i++) random_case(&c, (uint64_t)i);
    return checks_end(&c);
}
