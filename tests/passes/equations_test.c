// The equation form: text, verifier and reference evaluator.
#include "pass_random.h"

static const char linear[] = "program mlp f32 doc \"two \\\"words\\\"\"\n"
                             "axis 0 spot dynamic 32 doc \"rows\"\n"
                             "axis 1 gene 3 from_data\n"
                             "tensor 0 input f32 features [spot 2] dataset \"features\"\n"
                             "tensor 1 input f32 counts [spot gene] dataset \"counts\"\n"
                             "tensor 2 param f32 fc.weight [gene=3 2] init 6\n"
                             "tensor 3 temp f32 y [spot gene]\n"
                             "tensor 4 temp f32 loss []\n"
                             "tensor 5 temp f32 \"the grad\" [gene 2]\n"
                             "tensor 6 temp f32 w0 [gene 2]\n"
                             "tensor 7 temp f32 flat [3*spot]\n"
                             "tensor 8 scalar i32 seed []\n"
                             "tensor 9 scalar i32 step []\n"
                             "random seed 8 step 9\n"
                             "setting lr real 0.001 in 1e-06 1 scalar 8 doc \"rate\"\n"
                             "setting name text \"a b\"\n"
                             "option hidden \"256\" doc \"width\"\n"
                             "prepare layout \"legacy\"\n"
                             "train epochs 10 batch 4 patience 2 shuffle monitor loss split validation\n"
                             "job init\n"
                             "  %6[o:3, i:2] = sub(mul(2, random(7)), 1)\n"
                             "end\n"
                             "job train\n"
                             "  %3[s:spot, o:3] = sum[i:2] mul(%0[s, i], %2[o, i]) at tf32  # nn.stm:12 fc\n"
                             "  %4[] = sum[s:spot, o:3] mul(sub(%3[s, o], %1[s, o]), sub(%3[s, o], %1[s, o]))\n"
                             "  %7 = view %3\n"
                             "  update %2 <- %5\n"
                             "  gradient %5 of %2\n"
                             "  loss %4\n"
                             "  output loss %4\n"
                             "end\n";

static void test_text(Checks *c, Arena *arena) {
    Names *names = names_new(arena);
    Program *p = program_from(c, arena, names, "linear", linear);
    if (p == NULL) return;
    const char *printed = print_program(arena, p);
    // `gene=3` prints as the plain axis: it says the same.
    check(c, strstr(printed, "fc.weight [gene 2] init 6") != NULL, "declared axes: %s", printed);
    check(c, strstr(printed, ") at tf32  # nn.stm:12 fc") != NULL, "precisions and places: %s", printed);
    check(c, p->job.at[1]->equation.at[0]->precision == PRECISION_TF32, "the precision is read");
    check(c, p->job.at[1]->equation.at[1]->precision == PRECISION_MODEL, "no precision");
    int64_t axis[] = {2, 0};
    Values *v = values_new(arena, p, axis);
    double x[] = {1, 2, 3, 4}, w[] = {1, 0, 0, 1, 1, 1};
    memcpy(values_of(v, 0, NULL), x, sizeof x);
    memcpy(values_of(v, 2, NULL), w, sizeof w);
    p->job.at[1]->update.count = 0;
    const char *error = job_evaluate(p, p->job.at[1], v);
    check(c, error == NULL, "evaluate: %s", error);
    check(c, values_of(v, 4, NULL)[0] == 1 + 4 + 9 + 9 + 16 + 49, "loss %g", values_of(v, 4, NULL)[0]);
    check(c, values_of(v, 7, NULL)[5] == 7, "view %g", values_of(v, 7, NULL)[5]);
}

// ---- what the verifier must refuse. `body` goes into a job over the tensors below.
typedef struct Refusal {
    const char *body, *message; // part of it
} Refusal;

#define TENSORS                                                                                                        \
    "program p f64\naxis 0 b dynamic 4\naxis 1 c 4\ntensor 0 input f64 x [b 4]\ntensor 1 input i32 k [b]\n"            \
    "tensor 2 param f64 w [4]\ntensor 3 state f64 m [4]\ntensor 4 temp f64 y [b]\ntensor 5 temp f64 z [4]\n"           \
    "tensor 6 temp i32 a [b]\ntensor 7 temp f64 l []\ntensor 8 temp f64 v [4*b]\ntensor 9 temp bool t [b]\n"

static const Refusal refusals[] = {
    {"%4[i:4] = %0[i, 0]", "is not as long as its dimension"},
    {"%4[i:b, j:4] = %0[i, j]", "2 free variables for rank 1"},
    {"%4[i:b] = index(i)", "the value is i32, the tensor f32"},
    {"%4[i:b] = add(%0[i, 0], %1[i])", "argument 2 of add is i32"},
    {"%4[i:b] = iadd(%0[i, 0], %0[i, 1])", "argument 1 of iadd is f32"},
    {"%4[i:b] = select(%0[i, 0], 1, 2)", "argument 1 of select is f32"},
    {"%4[i:b] = select(lt(1, 2), 1, 2i32)", "argument 3 of select is i32"},
    {"%9[i:b] = lt(%0[i, 0], %1[i])", "argument 2 of lt is i32"},
    {"%9[i:b] = and(%1[i], 1bool)", "argument 1 of and is i32"},
    {"%9[i:b] = sum[j:2] lt(index(j), 1i32)", "sum or product of bool"},
    {"%4[i:b] = %5[0]", "is read before an equation"},
    {"%4[i:b] = 1\n%4[i:b] = 2", "is defined already"},
    {"%2[i:4] = 1", "only temporary tensors"},
    {"%6[i:b] = argmax[j:4] lt(%0[i, j], 1)", "argmax of bool"},
    {"%4[i:b] = argmax[j:4] %0[i, j]", "the value is i32"},
    {"%4[i:b] = %0[i, @%0[i, 0]]", "is not an integer"},
    {"%5 = view %0", "another number of elements"},
    {"%9 = view %1", "changes the element type"},
    {"%8 = view %4", "before its definition"},
    {"scatter %4[j] += %1[j] over [j:b]", "a scatter of i32"},
    {"update %0 <- %2", "neither parameter nor state"},
    {"update %2 <- %5", "which nothing defines"},
    {"update %2 <- %3\nupdate %2 <- %3", "updated twice"},
    {"update %2 <- %0", "another type or rank"},
    {"output y %5", "which nothing defines"},
    {"loss %7", "no equation defines the loss"},
    {"loss %0", "not one real number"},
    {"gradient %5 of %2", "without a loss"},
    {"%7[] = %2[0]\nloss %7\ngradient %4 of %2", "another shape"},
    {"%7[] = %2[0]\nloss %7\ngradient %6 of %1", "cannot receive the gradient"},
    {"%7[] = %2[0]\nloss %7\n%5[i:4] = 1\ngradient %5 of %2", "is defined already"},
    {"%4[i:b] = %5[0]\n%7[] = %2[0]\nloss %7\ngradient %5 of %2", "is read before"},
};

static void test_refusals(Checks *c, Arena *arena) {
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        char *text = arena_format(arena, "%sjob t\n%s\nend\n", TENSORS, refusals[i].body), *error = NULL;
        Program *p = program_read(arena, names_new(arena), text, strlen(text), &error);
        if (!check(c, p != NULL, "%s: %s", refusals[i].body, error != NULL ? error : "")) continue;
        const char *wrong = program_verify(p);
        check(c, wrong != NULL && strstr(wrong, refusals[i].message) != NULL, "%s: `%s` instead of `%s`",
              refusals[i].body, wrong != NULL ? wrong : "nothing", refusals[i].message);
    }
}

// ---- what the reader must refuse, with the line
static const Refusal misspelt[] = {
    {"%4[i:b] = frob(1)", "line 15: found `frob(1)`; expected the name of a primitive"},
    {"%4[i:b] = add(1)", "expected `,`"},
    {"%4[i:q] = 1", "expected a declared axis"},
    {"%4[i:b] = %0[i]", "expected `,`"},
    {"%4[i:b] = %2[i, 0]", "after the 1 positions of tensor 2"},
    {"%4[i:b] = %2[j]", "a variable of this equation"},
    {"%99[i:b] = 1", "the number of a tensor of the table"},
    {"%4[i:b, i:b] = 1", "the variable is there already"},
    {"%4[i:b] = %2[i/2]", "expected `!`"},
    {"%4[i:b] = %2[i//0]", "a divisor of at least 1"},
    {"%4[i:b] = $1", "a shared expression defined before"},
    {"%4[i:b] = 1 2", "the end of the line"},
    {"%4[i:b] = 1 at f64", "line 15: found `f64`; expected f32, tf32 or bf16"},
    {"%4[i:b] = bf16(1)", "the name of a primitive"},
    {"%4[i:b] = 1bf16", "an element type (f32, f64, i32, i64, u8, bool)"},
    {"%4[i:b] = ", "the line ends"},
    {"scatter %4[j] += 1", "`over [variables]`"},
    {"frobnicate", "an equation, scatter, update"},
};

static void test_misspelt(Checks *c, Arena *arena) {
    for (size_t i = 0; i < sizeof misspelt / sizeof *misspelt; i++) {
        char *text = arena_format(arena, "%sjob t\n  %s\nend\n", TENSORS, misspelt[i].body), *error = NULL;
        Program *p = program_read(arena, names_new(arena), text, strlen(text), &error);
        check(c, p == NULL && error != NULL && strstr(error, misspelt[i].message) != NULL, "%s: `%s` instead of `%s`",
              misspelt[i].body, p != NULL ? "accepted" : error, misspelt[i].message);
    }
}

// Damaged text is refused or read, and what is read prints, verifies or not, and never crashes.
static void test_damage(Checks *c) {
    Dice dice = {.state = 5};
    Arena *all = arena_new();
    const char *sound[10] = {linear};
    for (int i = 1; i < 10; i++) sound[i] = print_program(all, random_program(all, (uint64_t)i, 6, true));
    int read = 0;
    for (int round = 0; round < 4000; round++) {
        Arena *arena = arena_new();
        const char *from = sound[round % 10];
        size_t length = strlen(from);
        char *text = arena_copy(arena, from, length + 1), *error = NULL;
        size_t n = dice_below(&dice, 8) == 0 ? (size_t)dice_below(&dice, (int)length) : length;
        for (int k = dice_below(&dice, 3); k >= 0; k--) {
            static const char marks[] = "0123456789[](),:%@$+-*/!#\"\n abcijuv_.=<";
            text[dice_below(&dice, (int)length)] = marks[dice_below(&dice, (int)sizeof marks - 1)];
        }
        Program *p = program_read(arena, names_new(arena), text, n, &error);
        if (p != NULL) {
            read++;
            program_verify(p);
            print_program(arena, p);
        } else if (error == NULL || strncmp(error, "line ", 5) != 0) {
            check(c, false, "a refusal without its line: %s", error != NULL ? error : "");
        }
        arena_free(arena);
    }
    arena_free(all);
    check(c, read > 100 && read < 3900, "%d of 4000 damaged texts were read", read);
}

// ---- guards
static void test_guards(Checks *c, Arena *arena) {
    static const struct {
        const char *dims, *vars, *position;
        bool guarded;
    } cases[] = {
        {"[4]", "i:4", "i", false},
        {"[4]", "i:5", "i", true},
        {"[4]", "i:4", "(-i + 3)", false},
        {"[4]", "i:4", "(i + 1)", true},
        {"[8]", "i:3, u:2", "(3*i + u)", false},
        {"[7]", "i:3, u:2", "(3*i + u)", true},
        {"[4]", "i:8", "i//2", false},
        {"[4]", "i:9", "i//2", true},
        {"[4]", "i:99", "i%4", false},
        {"[3]", "i:99", "i%4", true},
        {"[4]", "i:4", "i/2!", true},
        {"[4]", "i:4", "3", false},
        {"[4]", "i:4", "4", true},
        {"[b]", "i:b", "i", false},
        {"[b]", "i:2*b", "i", true},
        {"[b]", "i:2*b", "i//2", false},
        {"[3*b]", "i:b, u:3", "(3*i + u)", false},
        {"[3*b]", "i:b, u:4", "(3*i + u)", true},
        {"[b]", "i:c", "i", true},
        {"[b]", "i:3", "0", false},
        {"[b]", "i:3", "1", true},
        {"[4*b]", "i:3", "i", false},
        {"[b]", "i:b", "(i - 1)", true},
        {"[b]", "i:b", "(-i)", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *error = NULL, *text = arena_format(arena,
                                                 "program p f64\naxis 0 b dynamic 4\naxis 1 c dynamic 4\ntensor 0 "
                                                 "input f64 x %s\ntensor 1 temp f64 l []\njob t\n"
                                                 "  %%1[] = sum[%s] %%0[%s]\nend\n",
                                                 cases[i].dims, cases[i].vars, cases[i].position);
        Program *p = program_read(arena, names_new(arena), text, strlen(text), &error);
        if (!check(c, p != NULL, "%s", error != NULL ? error : "")) continue;
        const char *wrong = program_verify(p);
        check(c, wrong == NULL, "%s", wrong != NULL ? wrong : "");
        check(c, p->job.at[0]->equation.at[0]->value->position[0].guarded == cases[i].guarded,
              "%s of %s over %s is%s guarded", cases[i].position, cases[i].dims, cases[i].vars,
              cases[i].guarded ? " not" : "");
    }
}

// ---- values of primitives and equations
static void test_values(Checks *c, Arena *arena) {
    static const struct {
        const char *value;
        double want;
    } cases[] = {
        {"neg(2)", -2},
        {"sub(2, 3)", -1},
        {"div(1, 4)", 0.25},
        {"min(2, 3)", 2},
        {"max(2, nan)", NAN},
        {"min(nan, 2)", NAN},
        {"pow(2, 10)", 1024},
        {"abs(-3)", 3},
        {"sign(-3)", -1},
        {"sign(0)", 0},
        {"floor(-1.5)", -2},
        {"round(2.5)", 2},
        {"round(3.5)", 4},
        {"sqrt(9)", 3},
        {"rsqrt(4)", 0.5},
        {"exp(0)", 1},
        {"expm1(0)", 0},
        {"log(1)", 0},
        {"log1p(0)", 0},
        {"sin(0)", 0},
        {"cos(0)", 1},
        {"tanh(0)", 0},
        {"sigmoid(0)", 0.5},
        {"sigmoid(-1000)", 0},
        {"erf(0)", 0},
        {"lgamma(4)", 1.791759469228055},
        {"digamma(0)", -INFINITY},
        {"digamma(1)", -0.5772156649015329},
        {"digamma(-0.5)", 0.03648997397857652},
        {"atan2(1, 1)", 0.7853981633974483},
        {"stop_gradient(3)", 3},
        {"f64(iadd(2i32, 3i32))", 5},
        {"f64(iadd(2147483647i32, 1i32))", -2147483648.0},
        {"f64(imul(100000i32, 100000i32))", 1410065408},
        {"f64(imul(2147483647i32, 2147483647i32))", 1},
        {"f64(idiv(-7i32, 2i32))", -4},
        {"f64(imod(-7i32, 2i32))", 1},
        {"f64(imod(7i32, -2i32))", -1},
        {"f64(idiv(7i32, 0i32))", 0},
        {"f64(i32(-1.7))", -1},
        {"f64(i32(1e+30))", 2147483647},
        {"f64(i32(nan))", 0},
        {"f64(u8(300))", 255},
        {"f64(u8(300i32))", 44},
        {"f64(bool(0.5))", 1},
        {"select(lt(1, 2), 5, nan)", 5},
        {"select(le(2, 1), nan, 6)", 6},
        {"select(and(eq(1, 1), not(ne(1, 1))), 1, 0)", 1},
        {"select(or(eq(1, 2), 0bool), 1, 0)", 0},
        {"f64(extent(3*b))", 6},
        {"%0[2, 0]", 0},
        {"%0[1, 2]", 0},
        {"%0[1, 1]", 4},
        {"%0[0, @%1[0]]", 2},
        {"select(0bool, %0[0, @9i32], 8)", 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = arena_format(arena,
                                  "program p f64\naxis 0 b dynamic 4\ntensor 0 input f64 x [b 2]\n"
                                  "tensor 1 input i32 k [1]\ntensor 2 temp f64 y []\njob t\n  %%2[] = %s\nend\n",
                                  cases[i].value);
        Program *p = program_from(c, arena, names_new(arena), cases[i].value, text);
        if (p == NULL) continue;
        const int64_t axis[] = {2};
        Values *v = values_new(arena, p, axis);
        const double x[] = {1, 2, 3, 4};
        memcpy(values_of(v, 0, NULL), x, sizeof x);
        values_of(v, 1, NULL)[0] = 1;
        const char *error = job_evaluate(p, p->job.at[0], v);
        check(c, error == NULL, "%s: %s", cases[i].value, error != NULL ? error : "");
        double got = values_of(v, 2, NULL)[0], want = cases[i].want;
        check(c, isnan(want) ? isnan(got) : got == want || fabs(got - want) <= 1e-14 * (1 + fabs(want)), "%s is %.17g, not %.17g",
              cases[i].value, got, want);
    }
    static const struct {
        const char *equation;
        double want[4];
    } reductions[] = {
        {"%3[i:4] = sum[j:0] %0[i, j]", {0, 0, 0, 0}},
        {"%3[i:4] = prod[j:0] %0[i, j]", {1, 1, 1, 1}},
        {"%3[i:4] = max[j:0] %0[i, j]", {-INFINITY, -INFINITY, -INFINITY, -INFINITY}},
        {"%3[i:4] = max[j:3] %0[i, j]", {3, 4, 9, 2}},
        {"%3[i:4] = min[j:3] %0[i, j]", {1, 4, -1, 0}},
        {"%3[i:4] = prod[j:3] %0[i, j]", {6, 64, -81, 0}},
        {"%4[i:4] = argmax[j:3] %0[i, j]", {2, 0, 0, 1}},
        {"%4[i:4] = argmin[j:3] %0[i, j]", {0, 0, 2, 0}},
        {"%4[i:4] = argmax[u:2, v:2] %0[i, (u + v)]", {3, 0, 0, 1}},
        {"scatter %3[@%1[i]] += %0[i, 0] over [i:4]", {5, 0, 9, 0}},
        {"scatter %3[(2*i - 1)] += %0[i, 1] over [i:4]", {0, 4, 0, 9}},
        {"scatter %3[i/2!] += %0[i, 0] over [i:4]", {1, 9, 0, 0}},
    };
    for (size_t i = 0; i < sizeof reductions / sizeof *reductions; i++) {
        char *text = arena_format(
            arena,
            "program p f64\ntensor 0 input f64 x [4 3]\ntensor 1 input i32 k [4]\n"
            "tensor 2 input f64 s []\ntensor 3 temp f64 y [4]\ntensor 4 temp i32 n [4]\njob t\n  %s\nend\n",
            reductions[i].equation);
        Program *p = program_from(c, arena, names_new(arena), reductions[i].equation, text);
        if (p == NULL) continue;
        Values *v = values_new(arena, p, NULL);
        const double x[] = {1, 2, 3, 4, 4, 4, 9, 9, -1, 0, 2, 2}, k[] = {0, 0, 2, 3};
        memcpy(values_of(v, 0, NULL), x, sizeof x);
        memcpy(values_of(v, 1, NULL), k, sizeof k);
        const char *error = job_evaluate(p, p->job.at[0], v);
        check(c, error == NULL, "%s: %s", reductions[i].equation, error != NULL ? error : "");
        const double *y = values_of(v, p->job.at[0]->equation.at[0]->out, NULL);
        for (int e = 0; e < 4; e++)
            check(c, y[e] == reductions[i].want[e], "%s: element %d is %g", reductions[i].equation, e, y[e]);
    }
}

static void test_gather_outside(Checks *c, Arena *arena) {
    const char *text =
        "program p f64\ntensor 0 input f64 table [3]\ntensor 1 input i32 k [2]\ntensor 2 temp f64 y [2]\njob t\n"
        "  %2[i:2] = %0[@%1[i]]\nend\n";
    Program *p = program_from(c, arena, names_new(arena), "gather", text);
    if (p == NULL) return;
    Values *v = values_new(arena, p, NULL);
    values_of(v, 1, NULL)[1] = 3;
    const char *error = job_evaluate(p, p->job.at[0], v);
    check(c, error != NULL && strstr(error, "table") != NULL && strstr(error, "at 3 of dimension 0") != NULL,
          "a gather outside: %s", error != NULL ? error : "no error");
}

static void test_updates(Checks *c, Arena *arena) {
    const char *text =
        "program p f64\ntensor 0 state f64 a []\ntensor 1 state f64 b []\ntensor 2 temp f64 t []\njob t\n"
        "  %2[] = add(%0[], %1[])\n  update %0 <- %1\n  update %1 <- %2\nend\n";
    Program *p = program_from(c, arena, names_new(arena), "updates", text);
    if (p == NULL) return;
    Values *v = values_new(arena, p, NULL);
    values_of(v, 0, NULL)[0] = 1;
    values_of(v, 1, NULL)[0] = 2;
    job_evaluate(p, p->job.at[0], v);
    check(c, values_of(v, 0, NULL)[0] == 2 && values_of(v, 1, NULL)[0] == 3, "updates see old values");
}

// ---- random numbers: Philox4x32-10 after its paper, with the known answer for counter and key zero
static void philox(uint32_t x[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        uint64_t p = (uint64_t)x[0] * 0xD2511F53u, q = (uint64_t)x[2] * 0xCD9E8D57u;
        uint32_t next[4] = {(uint32_t)(q >> 32) ^ x[1] ^ k0, (uint32_t)q, (uint32_t)(p >> 32) ^ x[3] ^ k1, (uint32_t)p};
        memcpy(x, next, sizeof next);
    }
}

static void test_random(Checks *c, Arena *arena) {
    uint32_t zero[4] = {0, 0, 0, 0};
    philox(zero, 0, 0);
    check(c, zero[0] == 0x6627e8d5u && zero[3] == 0x9b00dbd8u, "Philox of zeros is %08x .. %08x", zero[0], zero[3]);
    const char *text =
        "program p f64\ntensor 0 scalar i32 seed []\ntensor 1 scalar i32 step []\ntensor 2 temp f64 y [3 5]\n"
        "tensor 3 temp f64 z [3]\nrandom seed 0 step 1\njob t\n  %2[i:3, j:5] = random(77)\n"
        "  %3[i:3] = sum[j:5] random(77)\nend\n";
    Program *p = program_from(c, arena, names_new(arena), "random", text);
    if (p == NULL) return;
    Values *v = values_new(arena, p, NULL);
    values_of(v, 0, NULL)[0] = -5; // seeds are 32 bits in an i32
    values_of(v, 1, NULL)[0] = 1234;
    job_evaluate(p, p->job.at[0], v);
    for (uint32_t e = 0; e < 15; e++) {
        uint32_t x[4] = {e, 0, 77, 1234};
        philox(x, (uint32_t)-5, 0x53544D43u);
        double want = (double)(x[0] >> 8) / 16777216.0;
        check(c, values_of(v, 2, NULL)[e] == want, "random element %u is %.17g, not %.17g", e, values_of(v, 2, NULL)[e],
              want);
        if (e < 3) check(c, fabs(values_of(v, 3, NULL)[e] - 5 * want) < 1e-12, "reduced variables do not count");
    }
}

// ---- builders
static void test_builders(Checks *c, Arena *arena) {
    Program *p = NEW(arena, Program);
    p->arena = arena;
    Job *job = program_job(p, "t");
    const Tensor *t = program_tensor(p, TENSOR_INPUT, "x", T_REAL, 1, (Extent[]){{8, -1}});
    Position a = {.terms = 2, .term = {{3, 2}, {1, 1}}, .divide = 1}, b = {.terms = 2, .term = {{1, 1}, {3, 2}}};
    Expr *read = expr_read(job, t, &a, NO_SPAN);
    check(c, read == expr_read(job, t, &b, NO_SPAN), "terms are brought in order");
    Position sum = {.terms = 3, .term = {{1, 1}, {1, -1}, {2, 1}}, .divide = 1}, plain = position_var(2);
    check(c, expr_read(job, t, &sum, NO_SPAN) == expr_read(job, t, &plain, NO_SPAN), "terms are merged");
    int var = -1;
    check(c, position_is_var(&plain, &var) && var == 2 && !position_is_var(&a, &var), "plain variables");
    Expr *x = read;
    for (int i = 0; i < 1000; i++) x = expr_op(job, OP_ADD, x, x, NULL); // 2^1000 nodes as a tree
    Expr *y = read;
    for (int i = 0; i < 1000; i++) y = expr_op(job, OP_ADD, y, y, NULL);
    check(c, x == y, "equal expressions are one");
    check(c, expr_const(job, 0.0, T_REAL) != expr_const(job, -0.0, T_REAL), "zeros differ by their sign");
    const int map[] = {0, 5, 2, 7};
    const Expr *renamed = expr_rename(job, x, map);
    while (renamed->op == OP_ADD) renamed = renamed->arg[0];
    check(c, renamed->position[0].term[0].var == 5 && renamed->position[0].term[1].var == 7, "renamed variables");
    const Tensor *out = program_tensor(p, TENSOR_TEMP, "y", T_REAL, 0, NULL);
    Equation *eq = job_equation(job, EQ_COMPUTE, out, NO_SPAN);
    eq->reduce = REDUCE_SUM;
    eq->vars = 4;
    for (int i = 0; i < 4; i++) eq->var[i].extent = extent_of(1);
    eq->var[0].name = eq->var[1].name = "i"; // printed under different names
    eq->value = x;
    p->name = "p";
    p->scalar_seed = p->scalar_step = -1;
    const char *text = print_program(arena, p);
    program_from(c, arena, names_new(arena), "shared nodes", text);
    check(c, strlen(text) < 40000, "a shared expression prints %zu characters", strlen(text));
}

int main(void) {
    Checks c = {0};
    Arena *arena = arena_new();
    test_text(&c, arena);
    test_refusals(&c, arena);
    test_misspelt(&c, arena);
    test_guards(&c, arena);
    test_values(&c, arena);
    test_gather_outside(&c, arena);
    test_updates(&c, arena);
    test_random(&c, arena);
    test_builders(&c, arena);
    test_damage(&c);
    arena_free(arena);
    return checks_end(&c);
}
