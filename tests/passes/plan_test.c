// Golden tests of layout, fusion and planning: small programs with the structure that must come out, and slices of the
// arena with their offsets. A slice is written `[first step, last step] = bytes @ offset`; the comment beside it says
// why it lies where it lies.
#include "kernel_run.h"
#include "pass_harness.h"

typedef struct Case {
    const char *title, *text;
    const char *steps;  // kinds of the kernels of job 0 in order, and copy/zero, separated by blanks
    const char *slices; // of job 0, without comments
} Case;

static KernelProgram *lower(Checks *c, Arena *arena, const char *title, const char *text, StmPlan **plan) {
    Program *p = program_from(c, arena, names_new(arena), title, text);
    if (p == NULL) return NULL;
    for (int i = 0; i < p->job.count; i++) layout_job(p, p->job.at[i]);
    const char *wrong = program_verify(p);
    check(c, wrong == NULL, "%s: after layout: %s", title, wrong);
    KernelProgram *k = fuse_program(p, &fuse_default);
    schedule_kernels(k);
    for (int i = 0; i < k->kernel.count; i++) {
        wrong = kernel_verify(k->kernel.at[i], p);
        check(c, wrong == NULL, "%s: %s", title, wrong);
    }
    KernelCode *code = NEW_ARRAY(arena, KernelCode, k->kernel.count + 1); // one phase each
    for (int i = 0; i < k->kernel.count; i++) {
        code[i].phases = 1;
        code[i].phase[0].name = k->kernel.at[i]->name;
        code[i].phase[0].args = k->kernel.at[i]->buffer.count;
        for (int b = 0; b < code[i].phase[0].args; b++) code[i].phase[0].arg[b] = b;
        code[i].phase[0].parts = extent_of(1);
        code[i].phase[0].divide = 1;
        code[i].phase[0].flops = k->kernel.at[i]->flops;
    }
    wrong = plan_program(k, code, "test", plan);
    return check(c, wrong == NULL, "%s: %s", title, wrong) ? k : NULL;
}

static const char *steps_of(Arena *arena, const KernelProgram *k, const StmPlan *plan) {
    Text text = {.arena = arena};
    for (int s = 0; s < plan->job[0].steps; s++) {
        const StmStep *step = &plan->job[0].step[s];
        const char *name = step->kind == STM_ZERO   ? "zero"
                           : step->kind == STM_COPY ? "copy"
                                                    : k->kernel.at[step->kernel]->name;
        const char *end = step->kind == STM_RUN ? strrchr(name, '_') : NULL;
        text_add(&text, "%s%.*s", s ? " " : "", end != NULL ? (int)(end - name) : (int)strlen(name), name);
    }
    text_add_bytes(&text, "", 1);
    return text.at;
}

// The printed slices with blanks and comments normalised away.
static const char *slices_of(Arena *arena, const StmPlan *plan) {
    Text text = {.arena = arena}, out = {.arena = arena};
    plan_print_slices(plan, 0, &text);
    text_add_bytes(&text, "", 1);
    for (const char *line = text.at; *line != 0;) {
        size_t n = strcspn(line, "\n"), kept = strcspn(line, "#\n");
        while (kept > 0 && line[kept - 1] == ' ') kept--;
        text_add(&out, "%.*s\n", (int)kept, line);
        line += n + (line[n] == '\n');
    }
    text_add_bytes(&out, "", 1);
    return out.at;
}

static const Case cases[] = {
    {"chain",
     "program chain f32\naxis 0 n dynamic 8\n"
     "tensor 0 input f32 x [n 64] dataset \"x\"\ntensor 1 param f32 w [64 64]\ntensor 2 param f32 v [64 64]\ntensor 3 "
     "param f32 u [64 64]\n"
     "tensor 4 temp f32 a [n 64]\ntensor 5 temp f32 b [n 64]\ntensor 6 temp f32 c [n 64]\ntensor 7 temp f32 d [n 64]\n"
     "job predict\n"
     "  %4[s:n, o:64] = sum[i:64] mul(%0[s, i], %1[o, i])\n"
     "  %5[s:n, o:64] = sum[i:64] mul(%4[s, i], %2[o, i])\n"
     "  %6[s:n, o:64] = sum[i:64] mul(%5[s, i], %3[o, i])\n"
     "  %7[s:n, o:64] = sum[i:64] mul(%6[s, i], %1[o, i])\n"
     "  output d %7\nend\n",
     "gemm gemm gemm gemm",
     "group n = 512\n"
     "  [0,1] = 256 @ 0\n"     // a: the first of equal size
     "  [1,2] = 256 @ 256\n"   // b: a is still read when b is written
     "  [2,3] = 256 @ 0\n"     // c: takes a's place, whose last reader was step 1
     "  [3,4] = 256 @ 256\n"}, // d: takes b's place; an output, alive after the last step
    {"bias and activation join the contraction",
     "program mlp f32\naxis 0 n dynamic 8\n"
     "tensor 0 input f32 x [n 64] dataset \"x\"\ntensor 1 param f32 w [64 64]\ntensor 2 param f32 b [64]\n"
     "tensor 3 temp f32 t [n 64]\ntensor 4 temp f32 y [n 64]\ntensor 5 temp f32 h [n 64]\n"
     "job predict\n"
     "  %3[s:n, o:64] = sum[i:64] mul(%0[s, i], %1[o, i])\n"
     "  %4[s:n, o:64] = add(%3[s, o], %2[o])\n"
     "  %5[s:n, o:64] = mul(%4[s, o], sigmoid(%4[s, o]))\n"
     "  output h %5\nend\n",
     "gemm", "group n = 256\n  [0,1] = 256 @ 0\n"},
    {"softmax is one kernel",
     "program soft f32\naxis 0 n dynamic 8\n"
     "tensor 0 input f32 x [n 100] dataset \"x\"\ntensor 1 temp f32 m [n]\ntensor 2 temp f32 e [n 100]\ntensor 3 temp "
     "f32 z [n]\n"
     "tensor 4 temp f32 p [n 100]\n"
     "job predict\n"
     "  %1[s:n] = max[k:100] %0[s, k]\n"
     "  %2[s:n, k:100] = exp(sub(%0[s, k], %1[s]))\n"
     "  %3[s:n] = sum[k:100] %2[s, k]\n"
     "  %4[s:n, k:100] = div(%2[s, k], %3[s])\n"
     "  output p %4\nend\n",
     "softmax", "group n = 448\n  [0,1] = 448 @ 0\n"}, // only the result is stored: 400 bytes, rounded up to 64
    {"an optimiser's update writes its parameters",
     "program adam f32\n"
     "tensor 0 param f32 w [40 30]\ntensor 1 state f32 m [40 30]\ntensor 2 state f32 v [40 30]\ntensor 3 input f32 g "
     "[40 30] dataset \"g\"\n"
     "tensor 4 temp f32 nm [40 30]\ntensor 5 temp f32 nv [40 30]\ntensor 6 temp f32 nw [40 30]\n"
     "job train\n"
     "  %4[a:40, b:30] = add(mul(0.9, %1[a, b]), mul(0.1, %3[a, b]))\n"
     "  %5[a:40, b:30] = add(mul(0.99, %2[a, b]), mul(0.01, mul(%3[a, b], %3[a, b])))\n"
     "  %6[a:40, b:30] = sub(%0[a, b], mul(0.001, div(%4[a, b], add(1e-8, sqrt(%5[a, b])))))\n"
     "  update %1 <- %4\n  update %2 <- %5\n  update %0 <- %6\nend\n",
     "map", ""}, // nothing is stored besides the parameters and moments themselves
    {"an update that readers at other elements hold up is copied at the end",
     "program shift f32\n"
     "tensor 0 state f32 s [8]\ntensor 1 temp f32 n [8]\n"
     "job train\n"
     "  %1[a:8] = add(%0[(a - 1)], 1)\n"
     "  update %0 <- %1\nend\n",
     "map copy", "group 1 = 64\n  [0,1] = 64 @ 0\n"},
    {"statistics of one tensor are one kernel, and what follows them",
     "program stats f32\naxis 0 n dynamic 32\n"
     "tensor 0 input f32 x [n 16] dataset \"x\"\ntensor 1 input f32 y [n 16] dataset \"y\"\ntensor 2 temp f32 a "
     "[16]\ntensor 3 temp f32 b [16]\n"
     "tensor 4 temp f32 c [16]\n"
     "job evaluate\n"
     "  %2[c:16] = sum[s:n] %0[s, c]\n"
     "  %3[c:16] = sum[s:n] mul(%0[s, c], %1[s, c])\n"
     "  %4[c:16] = div(%3[c], add(%2[c], 1))\n"
     "  output c %4\nend\n",
     "reduce", "group 1 = 64\n  [0,1] = 64 @ 0\n"},
    {"a scatter starts from zero",
     "program scatter f32\naxis 0 n dynamic 8\naxis 1 e dynamic 20\n"
     "tensor 0 input f32 x [e 16] dataset \"x\"\ntensor 1 input i32 to [e] dataset \"to\"\ntensor 2 temp f32 s [n 16]\n"
     "job predict\n"
     "  scatter %2[@%1[k], d] += %0[k, d] over [k:e, d:16]\n"
     "  output s %2\nend\n",
     "zero scatter", "group n = 64\n  [0,2] = 64 @ 0\n"},
    {"a view of channels-last storage reads a copy",
     "program flat f32\naxis 0 n dynamic 8\n"
     "tensor 0 input f32 x [n 3 8 8] dataset \"x\"\ntensor 1 param f32 k [16 3 3 3]\ntensor 2 temp f32 y [n 16 8 "
     "8]\ntensor 3 temp f32 f [n 1024]\n"
     "tensor 4 param f32 w [64 1024]\ntensor 5 temp f32 z [n 64]\n"
     "job predict\n"
     "  %2[s:n, o:16, i:8, j:8] = sum[c:3, u:3, v:3] mul(%0[s, c, (i + u - 1), (j + v - 1)], %1[o, c, u, v])\n"
     "  %3 = view %2\n"
     "  %5[s:n, h:64] = sum[k:1024] mul(%3[s, k], %4[h, k])\n"
     "  output z %5\nend\n",
     "conv gemm",
     "group n = 4352\n"
     "  [0,1] = 4096 @ 0\n" // the row-major copy is what the convolution's epilogue stores
     "  [1,2] = 256 @ 4096\n"},
    {"heads are merged by storing them where they belong",
     "program heads f32\naxis 0 n dynamic 8\n"
     "tensor 0 input f32 p [n 4 32 32] dataset \"p\"\ntensor 1 input f32 v [n 4 32 16] dataset \"v\"\n"
     "tensor 2 param f32 w [64 64]\ntensor 3 temp f32 o [n 4 32 16]\ntensor 4 temp f32 r [n 32 4 16]\n"
     "tensor 5 temp f32 f [n 32 64]\ntensor 6 temp f32 y [n 32 64]\n"
     "job predict\n"
     "  %3[b:n, h:4, i:32, c:16] = sum[j:32] mul(%0[b, h, i, j], %1[b, h, j, c])\n"
     "  %4[b:n, i:32, h:4, c:16] = %3[b, h, i, c]\n"
     "  %5 = view %4\n"
     "  %6[b:n, i:32, d:64] = sum[k:64] mul(%5[b, i, k], %2[d, k])\n"
     "  output y %6\nend\n",
     "gemm gemm",
     "group n = 16384\n"
     "  [0,1] = 8192 @ 0\n" // o, r and f are one tensor
     "  [1,2] = 8192 @ 8192\n"},
};

static const char mixed[] = "program mixed f32\naxis 0 n dynamic 8\n"
                            "tensor 0 input f32 x [n 4] dataset \"x\"\ntensor 1 temp f32 a [n 4]\ntensor 2 temp f32 b "
                            "[n n]\ntensor 3 temp f32 c [n n n]\n"
                            "job predict\n"
                            "  %1[s:n, c:4] = mul(%0[s, c], 2)\n"
                            "  %2[s:n, t:n] = sum[c:4] mul(%1[s, c], %1[t, c])\n"
                            "  %3[s:n, t:n, u:n] = mul(%2[s, t], %2[t, u])\n"
                            "  output c %3\nend\n";

// Equal layers share their kernels; tensors of other sizes share the flat ones.
static void test_sharing(Checks *c, Arena *arena) {
    Text text = {.arena = arena};
    text_add(&text, "program deep f32\naxis 0 n dynamic 8\ntensor 0 input f32 x [n 32] dataset \"x\"\n");
    for (int i = 0; i < 6; i++)
        text_add(&text,
                 "tensor %d param f32 w%d [32 32]\ntensor %d temp f32 h%d [n 32]\ntensor %d temp f32 r%d [n "
                 "32]\ntensor %d temp f32 n%d [32 32]\n",
                 1 + 4 * i, i, 2 + 4 * i, i, 3 + 4 * i, i, 4 + 4 * i, i);
    text_add(&text, "tensor 25 param f32 odd [7 3 5]\ntensor 26 temp f32 oddn [7 3 5]\njob train\n");
    for (int i = 0; i < 6; i++)
        text_add(&text,
                 "  %%%d[s:n, o:32] = sum[i:32] mul(%%%d[s, i], %%%d[o, i])\n  %%%d[s:n, o:32] = %s\n"
                 "  %%%d[a:32, b:32] = mul(%%%d[a, b], 0.99)\n",
                 2 + 4 * i, i == 0 ? 0 : 3 + 4 * (i - 1), 1 + 4 * i, 3 + 4 * i,
                 i % 2 ? arena_format(arena, "add(%%%d[s, o], 1)", 2 + 4 * i)
                       : arena_format(arena, "add(1, %%%d[s, o])", 2 + 4 * i),
                 4 + 4 * i, 1 + 4 * i);
    text_add(&text, "  %%26[a:7, b:3, c:5] = mul(%%25[a, b, c], 0.99)\n  update %%25 <- %%26\n");
    for (int i = 0; i < 6; i++) text_add(&text, "  update %%%d <- %%%d\n", 1 + 4 * i, 4 + 4 * i);
    text_add(&text, "  output y %%23\nend\n");
    text_add_bytes(&text, "", 1);
    StmPlan *plan = NULL;
    KernelProgram *k = lower(c, arena, "equal layers", text.at, &plan);
    if (k == NULL) return;
    check(c, k->kernel.count == 2, "equal layers: %d kernels, expected one contraction and one update",
          k->kernel.count);
    check(c, k->job.at[0].call.count == 13, "equal layers: %d calls", k->job.at[0].call.count);
    check(c, k->job.at[0].in_place.count == 7, "equal layers: %d updates in place", k->job.at[0].in_place.count);
}

// Long reductions with few results are cut into chunks; the number of an extreme cannot be combined from chunks.
static void test_split(Checks *c, Arena *arena) {
    static const char *const kinds[] = {"sum", "max", "argmax"};
    for (int i = 0; i < 3; i++) {
        const char *text = arena_format(arena,
                                        "program split f32\ntensor 0 input f32 x [1000 1000] dataset \"x\"\n"
                                        "tensor 1 temp %s y []\njob predict\n  %%1[] = %s[a:1000, b:1000] %%0[a, b]\n"
                                        "  output y %%1\nend\n",
                                        i == 2 ? "i32" : "f32", kinds[i]);
        StmPlan *plan = NULL;
        KernelProgram *k = lower(c, arena, kinds[i], text, &plan);
        if (k == NULL) return;
        const Kernel *kernel = k->kernel.at[0];
        check(c, (kernel->split >= 0) == (i < 2) && (kernel->chunks > 1) == (i < 2), "%s: split %d, %d chunks",
              kinds[i], kernel->split, kernel->chunks);
    }
}

static void test_text(Checks *c, Arena *arena) {
    StmPlan *plan = NULL;
    KernelProgram *k = lower(c, arena, "adam", cases[3].text, &plan);
    if (k == NULL) return;
    Text text = {.arena = arena};
    plan_print(plan, &text);
    text_add_bytes(&text, "", 1);
    const char *expected =
        "stmplan 1\nprogram adam f32 test -\ntrain 0 0 0 0 - - 0 0 - -\n"
        "tensor 0 param f32 \"w\" - 0 [40 30] [- -]\ntensor 1 state f32 \"m\" - 0 [40 30] [- -]\n"
        "tensor 2 state f32 \"v\" - 0 [40 30] [- -]\ntensor 3 input f32 \"g\" \"g\" 0 [40 30] [- -]\n";
    check(c, strncmp(text.at, expected, strlen(expected)) == 0, "the plan's text begins with\n%s", text.at);
    const char *job = strstr(text.at, "job train\n");
    check(c, job != NULL && strstr(job, "\"\" 1200\n") == NULL && strstr(job, "- 1200\n") != NULL,
          "the step's extent:\n%s", text.at);
}

int main(void) {
    Checks c = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Arena *arena = arena_new();
        StmPlan *plan = NULL;
        KernelProgram *k = lower(&c, arena, cases[i].title, cases[i].text, &plan);
        if (k != NULL) {
            const char *steps = steps_of(arena, k, plan), *slices = slices_of(arena, plan);
            check(&c, strcmp(steps, cases[i].steps) == 0, "%s: steps are `%s`, expected `%s`", cases[i].title, steps,
                  cases[i].steps);
            check(&c, strcmp(slices, cases[i].slices) == 0, "%s: slices are\n%sexpected\n%s", cases[i].title, slices,
                  cases[i].slices);
        }
        arena_free(arena);
    }
    Arena *arena = arena_new();
    test_sharing(&c, arena);
    test_split(&c, arena);
    test_text(&c, arena);
    Program *p = program_from(&c, arena, names_new(arena), "three dynamic dimensions", mixed);
    for (int i = 0; i < p->job.count; i++) layout_job(p, p->job.at[i]);
    KernelProgram *k = fuse_program(p, &fuse_default);
    StmPlan *plan = NULL;
    const char *wrong = plan_program(k, plain_code(arena, k), "test", &plan);
    check(&c, wrong != NULL && strstr(wrong, "more than two dynamic dimensions") != NULL,
          "three dynamic dimensions: %s", wrong);
    arena_free(arena);
    return checks_end(&c);
}
