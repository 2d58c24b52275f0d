// Narrowing: what is stored as bf16 and what stays, on small programs; and on whole specs what must always hold.
//   narrow_test STDLIB FILE.stm …
//
// Every file is lowered twice, at its own batch and at a large one. The copy must have the same calls of kernels that
// differ in the types of buffers alone, one type for everything that shares storage, f32 for whatever others see, and a
// smaller arena; the program that it was made from must print as before.
#include "elaborate/elaborate.h"
#include "pass/pass.h"
#include "pass_harness.h"
#include "syntax/syntax.h"

static KernelProgram *fused(Program *p) {
    for (int i = 0; i < p->job.count; i++) layout_job(p, p->job.at[i]);
    KernelProgram *k = fuse_program(p, &fuse_default);
    schedule_kernels(k);
    return k;
}

static const char *show(Arena *arena, const KernelProgram *k) {
    Text text = {.arena = arena};
    for (int t = 0; t < k->program->tensor.count; t++)
        text_add(&text, "%s", element_type_name[k->program->tensor.at[t]->type]);
    text_add(&text, "\n");
    for (int i = 0; i < k->kernel.count; i++) kernel_print(k->kernel.at[i], k->program, &text);
    for (int j = 0; j < k->job.count; j++)
        for (int c = 0; c < k->job.at[j].call.count; c++) {
            const KernelCall *call = &k->job.at[j].call.at[c];
            text_add(&text, "%d %s", call->kernel->id, call->kernel->name);
            for (int b = 0; b < call->kernel->buffer.count; b++) text_add(&text, " %d", call->tensor[b]);
            text_add(&text, "\n");
        }
    return text.at;
}

static ElementType type_of(const KernelProgram *k, int tensor) {
    return k->program->tensor.at[tensor]->type;
}

// The kernel with f32 where it has bf16.
static uint64_t hash_as_f32(Arena *arena, const Kernel *k) {
    Kernel *wide = kernel_copy(arena, k);
    for (int b = 0; b < wide->buffer.count; b++)
        if (wide->buffer.at[b].type == T_BF16) wide->buffer.at[b].type = T_REAL;
    return kernel_hash(wide);
}

static void check_kernels(Checks *c, Arena *arena, const char *title, const KernelProgram *k) {
    for (int i = 0; i < k->kernel.count; i++) {
        const Kernel *kernel = k->kernel.at[i];
        const char *wrong = kernel_verify(kernel, k->program);
        check(c, wrong == NULL, "%s: %s", title, wrong);
        check(c, kernel->id == i, "%s: kernel %d has number %d", title, i, kernel->id);
        Text text = {.arena = arena};
        kernel_print(kernel, k->program, &text);
        bool bf16 = false;
        for (int b = 0; b < kernel->buffer.count; b++) bf16 |= kernel->buffer.at[b].type == T_BF16;
        check(c, (strstr(text.at, " bf16 [") != NULL) == bf16, "%s: the text shows the types:\n%s", title, text.at);
        for (int m = 0; m < i; m++) {
            check(c, strcmp(k->kernel.at[m]->name, kernel->name) != 0, "%s: two kernels %s", title, kernel->name);
            check(c, kernel_hash(k->kernel.at[m]) != kernel_hash(kernel), "%s: %s is there twice", title, kernel->name);
        }
    }
}

static void check_job(Checks *c, Arena *arena, const char *title, const KernelProgram *from, const KernelProgram *to,
                      int number) {
    const JobCalls *before = &from->job.at[number], *calls = &to->job.at[number];
    if (!check(c, before->call.count == calls->call.count, "%s: other calls", title)) return;
    for (int i = 0; i < calls->call.count; i++) {
        const KernelCall *a = &before->call.at[i], *b = &calls->call.at[i];
        check(c, to->kernel.at[b->kernel->id] == b->kernel, "%s: %s is not of the copy", title, b->kernel->name);
        check(c, a->kernel->buffer.count == b->kernel->buffer.count && a->tensor == b->tensor, "%s: arguments", title);
        check(c, hash_as_f32(arena, b->kernel) == kernel_hash(a->kernel), "%s: %s is no %s", title, b->kernel->name,
              a->kernel->name);
        bool precise = b->kernel->precision == PRECISION_F32 || b->kernel->precision == PRECISION_TF32;
        for (int k = 0; k < b->kernel->buffer.count; k++) {
            int t = b->tensor[k];
            check(c, b->kernel->buffer.at[k].type == type_of(to, t), "%s: %s takes tensor %d (%s) as %s", title,
                  b->kernel->name, t, element_type_name[type_of(to, t)],
                  element_type_name[b->kernel->buffer.at[k].type]);
            check(c, !precise || type_of(to, t) != T_BF16, "%s: %s asks for more", title, b->kernel->name);
        }
    }
    const int *root = storage_roots(arena, to->program, calls);
    for (int t = 0; t < to->program->tensor.count; t++)
        check(c, (type_of(to, t) == T_BF16) == (type_of(to, root[t]) == T_BF16) || type_of(from, t) != T_REAL,
              "%s: tensors %d and %d share storage", title, t, root[t]);
    const Job *job = calls->job;
    for (int i = 0; i < job->output.count; i++)
        check(c, type_of(to, job->output.at[i].tensor) != T_BF16, "%s: output %s", title, job->output.at[i].name);
    for (int i = 0; i < job->update.count; i++)
        check(c, type_of(to, job->update.at[i].source) != T_BF16, "%s: update", title);
    for (int i = 0; i < calls->zero.count; i++)
        check(c, type_of(to, calls->zero.at[i]) != T_BF16, "%s: scatter", title);
}

static int64_t arena_bytes(Checks *c, Arena *arena, const char *title, const KernelProgram *k, int job) {
    KernelCode *code = NEW_ARRAY(arena, KernelCode, k->kernel.count + 1); // one phase each
    for (int i = 0; i < k->kernel.count; i++) {
        code[i].phases = 1;
        code[i].phase[0].name = k->kernel.at[i]->name;
        code[i].phase[0].args = k->kernel.at[i]->buffer.count;
        for (int b = 0; b < code[i].phase[0].args; b++) code[i].phase[0].arg[b] = b;
        code[i].phase[0].parts = extent_of(1);
        code[i].phase[0].divide = code[i].phase[0].times = 1;
    }
    StmPlan *plan;
    const char *wrong = plan_program(k, code, "test", &plan);
    if (!check(c, wrong == NULL, "%s: %s", title, wrong)) return 0;
    for (int t = 0; t < plan->tensors; t++)
        check(c, plan->tensor[t].type != STM_BF16 || plan->tensor[t].kind == (StmTensorKind)TENSOR_TEMP,
              "%s: tensor %s of the runtime is bf16", title, plan->tensor[t].name);
    return plan_arena_bytes(plan, job, NULL);
}

static KernelProgram *check_narrow(Checks *c, Arena *arena, const char *title, const KernelProgram *from) {
    const char *before = show(arena, from);
    KernelProgram *to = narrow_program(from);
    check(c, strcmp(before, show(arena, from)) == 0, "%s: the program that is narrowed has changed", title);
    check_kernels(c, arena, title, to);
    if (!check(c, from->job.count == to->job.count, "%s: other jobs", title)) return to;
    for (int j = 0; j < from->job.count; j++) check_job(c, arena, title, from, to, j);
    int narrow = 0;
    for (int t = 0; t < to->program->tensor.count; t++) {
        const Tensor *x = to->program->tensor.at[t];
        if (x->type != T_BF16) {
            check(c, x == from->program->tensor.at[t], "%s: tensor %d is copied for nothing", title, t);
            continue;
        }
        narrow++;
        check(c, x->kind == TENSOR_TEMP && type_of(from, t) == T_REAL, "%s: tensor %d is narrowed", title, t);
        check(c, tensor_elements(to->program, x) >= 4096, "%s: tensor %d is small", title, t);
    }
    KernelProgram *again = narrow_program(to);
    check(c, strcmp(show(arena, to), show(arena, again)) == 0, "%s: narrowing twice changes something", title);
    if (narrow == 0) check(c, strcmp(before, show(arena, to)) == 0, "%s: nothing is narrowed but changed", title);
    return to;
}

// ---- small programs: the tensors that are stored as bf16, by name in order

typedef struct Case {
    const char *title, *text, *narrow;
} Case;

static const Case cases[] = {
    {"a chain of layers: what lies between kernels",
     "tensor 0 input f32 x [n 256] dataset \"x\"\ntensor 1 param f32 w [256 256]\ntensor 2 temp f32 a [n 256]\n"
     "tensor 3 temp f32 b [n 256]\ntensor 4 temp f32 y [n 256]\n"
     "job predict\n"
     "  %2[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[o, i])\n"
     "  %3[s:n, o:256] = sum[i:256] mul(%2[s, i], %1[o, i])\n"
     "  %4[s:n, o:256] = sum[i:256] mul(%3[s, i], %1[o, i])\n"
     "  output y %4\nend\n",
     "a b"},
    {"a layer that asks for f32 keeps what it reads and writes",
     "tensor 0 input f32 x [n 256] dataset \"x\"\ntensor 1 param f32 w [256 256]\ntensor 2 temp f32 a [n 256]\n"
     "tensor 3 temp f32 b [n 256]\ntensor 4 temp f32 c [n 256]\ntensor 5 temp f32 d [n 256]\ntensor 6 temp f32 y [n "
     "256]\n"
     "job predict\n"
     "  %2[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[o, i])\n"
     "  %3[s:n, o:256] = sum[i:256] mul(%2[s, i], %1[o, i])\n"
     "  %4[s:n, o:256] = sum[i:256] mul(%3[s, i], %1[o, i]) at tf32\n"
     "  %5[s:n, o:256] = sum[i:256] mul(%4[s, i], %1[o, i]) at bf16\n"
     "  %6[s:n, o:256] = sum[i:256] mul(%5[s, i], %1[o, i])\n"
     "  output y %6\nend\n",
     "a d"},
    {"through maps that are computed inside, and views",
     "tensor 0 input f32 x [n 256] dataset \"x\"\ntensor 1 param f32 w [256 256]\ntensor 2 temp f32 a [n 256]\n"
     "tensor 3 temp f32 m [n 256]\ntensor 4 temp f32 v [n 16 16]\ntensor 5 temp f32 c [n 256]\ntensor 6 temp f32 y [n "
     "256]\n"
     "job predict\n"
     "  %2[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[o, i])\n"
     "  %3[s:n, o:256] = %2[s, (255 - o)]\n"
     "  %4 = view %2\n"
     "  %5[s:n, o:256] = sum[i:16, j:16] mul(%4[s, i, j], %1[o, (16*i + j)]) at f32\n"
     "  %6[s:n, o:256] = sum[i:256] mul(%5[s, i], %1[o, i])\n"
     "  output y %6\nend\n",
     ""},
    {"what the epilogue of a precise contraction reads and writes",
     "tensor 0 input f32 x [n 256] dataset \"x\"\ntensor 1 param f32 w [256 256]\ntensor 2 temp f32 a [n 256]\n"
     "tensor 3 temp f32 b [n 256]\ntensor 4 temp f32 c [n 256]\ntensor 5 temp f32 d [n 256]\ntensor 6 temp f32 y [n "
     "256]\n"
     "job predict\n"
     "  %2[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[o, i]) at f32\n"
     "  %3[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[i, o])\n"
     "  %4[s:n, o:256] = add(%3[s, o], %2[s, o])\n"
     "  %5[s:n, o:256] = sum[i:256] mul(%4[s, i], %1[o, i])\n"
     "  %6[s:n, o:256] = sum[i:256] mul(%5[s, i], %1[o, i])\n"
     "  output y %6\nend\n",
     "d"},
    {"a precise softmax, and a precise sum of a map that is computed inside it",
     "tensor 0 input f32 x [n 256] dataset \"x\"\ntensor 1 param f32 w [256 256]\ntensor 2 temp f32 scores [n 256]\n"
     "tensor 3 temp f32 top [n]\ntensor 4 temp f32 e [n 256]\ntensor 5 temp f32 z [n]\ntensor 6 temp f32 shares [n "
     "256]\ntensor 7 temp f32 y [n 256]\ntensor 8 temp f32 d [n 256]\ntensor 9 temp f32 t [n 256]\ntensor 10 temp f32 "
     "q "
     "[n]\n"
     "job predict\n"
     "  %2[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[o, i])\n"
     "  %3[s:n] = max[k:256] %2[s, k] at f32\n"
     "  %4[s:n, k:256] = exp(sub(%2[s, k], %3[s])) at f32\n"
     "  %5[s:n] = sum[k:256] %4[s, k] at f32\n"
     "  %6[s:n, k:256] = div(%4[s, k], %5[s]) at f32\n"
     "  %7[s:n, o:256] = sum[i:256] mul(%6[s, i], %1[o, i])\n"
     "  %8[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[i, o])\n"
     "  %9[s:n, o:256] = tanh(%8[s, (255 - o)])\n"
     "  %10[s:n] = sum[o:256] mul(%9[s, o], %1[o, 0]) at f32\n"
     "  output y %7\n  output q %10\nend\n",
     ""},
    {"views of one storage agree: an output keeps the others",
     "tensor 0 input f32 x [n 256] dataset \"x\"\ntensor 1 param f32 w [256 256]\ntensor 2 temp f32 a [n 256]\n"
     "tensor 3 temp f32 v [n 16 16]\ntensor 4 temp f32 b [n 256]\ntensor 5 temp f32 u [256*n]\ntensor 6 temp f32 z []\n"
     "job predict\n"
     "  %2[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[o, i])\n"
     "  %3 = view %2\n"
     "  %4[s:n, o:256] = sum[i:256] mul(%2[s, i], %1[o, i])\n"
     "  %5 = view %4\n"
     "  %6[] = sum[k:256*n] %5[k]\n"
     "  output v %3\n  output z %6\nend\n",
     "b u"}, // the vector is another shape of a matrix
    {"softmax: the largest and the sum stay, the scores and their shares do not",
     "tensor 0 input f32 x [n 256] dataset \"x\"\ntensor 1 param f32 w [256 256]\ntensor 2 temp f32 scores [n 256]\n"
     "tensor 3 temp f32 top [n]\ntensor 4 temp f32 e [n 256]\ntensor 5 temp f32 z [n]\ntensor 6 temp f32 shares [n "
     "256]\ntensor 7 temp f32 y [n 256]\n"
     "job predict\n"
     "  %2[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[o, i])\n"
     "  %3[s:n] = max[k:256] %2[s, k]\n"
     "  %4[s:n, k:256] = exp(sub(%2[s, k], %3[s]))\n"
     "  %5[s:n] = sum[k:256] %4[s, k]\n"
     "  %6[s:n, k:256] = div(%4[s, k], %5[s])\n"
     "  %7[s:n, o:256] = sum[i:256] mul(%6[s, i], %1[o, i])\n"
     "  output y %7\nend\n",
     "scores shares"},
    {"a row that one kernel stores and reduces stays, and statistics of any rank",
     "tensor 0 input f32 x [n 64 64] dataset \"x\"\ntensor 1 param f32 w [64 64]\ntensor 2 temp f32 r [n 64 64]\n"
     "tensor 3 temp f32 m [n 64]\ntensor 4 temp f32 y [n 64 64]\ntensor 5 temp f32 q [n 64]\ntensor 6 temp f32 i [n "
     "64]\ntensor 7 temp f32 z [n 64 64]\ntensor 8 temp f32 a [n 64 64]\ntensor 9 temp f32 p [n 64 64]\n"
     "tensor 10 temp f32 u [n 64 64]\n"
     "job predict\n"
     "  %2[s:n, t:64, o:64] = sum[i:64] mul(%0[s, t, i], %1[o, i])\n"
     "  %3[s:n, t:64] = sum[o:64] %2[s, t, o]\n"
     "  %4[s:n, t:64, o:64] = sub(%2[s, t, o], %3[s, t])\n" // stored for the last sum
     "  %5[s:n, t:64] = sum[o:64] mul(%4[s, t, o], %4[s, t, o])\n"
     "  %6[s:n, t:64] = rsqrt(add(%5[s, t], 1e-05))\n"
     "  %7[s:n, t:64, o:64] = mul(%4[s, t, o], %6[s, t])\n"
     "  %8[s:n, t:64, o:64] = sum[i:64] mul(%7[s, t, i], %1[o, i])\n"
     "  %9[s:n, t:64, o:64] = sum[i:64] mul(%4[s, t, i], %1[o, i])\n"
     "  %10[s:n, t:64, o:64] = add(%8[s, t, o], mul(%9[s, t, o], %6[s, t]))\n"
     "  output u %10\nend\n",
     "r z p"},
    {"pooling makes activations",
     "tensor 0 input f32 x [n 32 32 8] dataset \"x\"\ntensor 1 temp f32 a [n 32 32 8]\ntensor 2 temp f32 p [n 16 16 "
     "8]\n"
     "tensor 3 temp f32 m [n 8]\ntensor 4 param f32 w [8 8 3 3]\ntensor 5 temp f32 c [n 16 16 8]\n"
     "job predict\n"
     "  %1[s:n, i:32, j:32, o:8] = sum[c:8, u:3, v:3] mul(%0[s, (i + u - 1), (j + v - 1), c], %4[o, c, u, v])\n"
     "  %2[s:n, i:16, j:16, o:8] = max[u:2, v:2] %1[s, (2*i + u), (2*j + v), o]\n"
     "  %5[s:n, i:16, j:16, o:8] = sum[c:8, u:3, v:3] mul(%2[s, (i + u - 1), (j + v - 1), c], %4[o, c, u, v])\n"
     "  %3[s:n, c:8] = sum[i:16, j:16] %5[s, i, j, c]\n"
     "  output m %3\nend\n",
     "a p c"},
    {"gradients of parameters stay, those of activations do not; scatters and draws stay",
     "tensor 0 input f32 x [n 256] dataset \"x\"\ntensor 1 param f32 w [256 256]\ntensor 2 temp f32 a [n 256]\n"
     "tensor 3 temp f32 drawn [n 256]\ntensor 4 temp f32 b [n 256]\ntensor 5 temp f32 c [n 256]\n"
     "tensor 6 temp f32 loss []\ntensor 7 temp f32 grad [256 256]\ntensor 8 temp f32 new [256 256]\n"
     "tensor 9 scalar i32 seed []\ntensor 10 scalar i32 step []\ntensor 11 input i32 to [n] dataset \"to\"\n"
     "tensor 12 param f32 table [64 256]\ntensor 13 temp f32 grows [64 256]\ntensor 14 temp f32 rows [64 256]\n"
     "tensor 15 temp f32 norm []\n"
     "random seed 9 step 10\n"
     "job train\n"
     "  %2[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[o, i])\n"
     "  %3[s:n, o:256] = random(9)\n"
     "  %4[s:n, o:256] = select(lt(%3[s, o], 0.5), mul(2, add(%2[s, o], %12[@%11[s], o])), 0)\n"
     "  %5[s:n, o:256] = sum[i:256] mul(%4[s, i], %1[o, i])\n"
     "  %6[] = sum[s:n, o:256] mul(%5[s, o], %5[s, o])\n"
     "  gradient %7 of %1\n  gradient %13 of %12\n"
     "  %15[] = sum[a:256, b:256] mul(%7[a, b], %7[a, b])\n"
     "  %8[a:256, b:256] = sub(%1[a, b], mul(rsqrt(%15[]), %7[a, b]))\n"
     "  %14[a:64, b:256] = sub(%12[a, b], mul(rsqrt(%15[]), %13[a, b]))\n"
     "  update %1 <- %8\n  update %12 <- %14\n  loss %6\n  output loss %6\nend\n",
     "a b c c.grad b.grad a.grad"},
    {"numbers of reports and first values stay",
     "tensor 0 input f32 x [n 256] dataset \"x\"\ntensor 1 param f32 w [256 256]\ntensor 2 temp f32 a [n 256]\n"
     "tensor 3 temp f32 y [n 256]\n"
     "job metrics\n"
     "  %2[s:n, o:256] = sum[i:256] mul(%0[s, i], %1[o, i])\n"
     "  %3[s:n, o:256] = sum[i:256] mul(%2[s, i], %1[o, i])\n"
     "  output y %3\nend\n",
     ""},
};

static void test_case(Checks *c, const Case *k) {
    Arena *arena = arena_new();
    const char *text = arena_format(arena, "program p f32\naxis 0 n dynamic 512\n%s", k->text);
    Sources sources = {.arena = arena};
    Program *p = program_from(c, arena, names_new(arena), k->title, text);
    if (p != NULL) {
        check(c, differentiate(p, p->job.at[0], diagnostics_new(arena, &sources)), "%s: gradients", k->title);
        simplify(p, p->job.at[0]);
        KernelProgram *from = fused(p), *to = check_narrow(c, arena, k->title, from);
        bool *stored = NEW_ARRAY(arena, bool, p->tensor.count + 1);
        for (int i = 0; i < to->job.at[0].call.count; i++) {
            const KernelCall *call = &to->job.at[0].call.at[i];
            for (int b = 0; b < call->kernel->buffer.count; b++) stored[call->tensor[b]] = true;
        }
        Text seen = {.arena = arena};
        text_add(&seen, "%s", "");
        for (int t = 0; t < p->tensor.count; t++)
            if (stored[t] && type_of(to, t) == T_BF16)
                text_add(&seen, "%s%s", seen.length ? " " : "", to->program->tensor.at[t]->name);
        check(c, strcmp(seen.at, k->narrow) == 0, "%s: bf16 are `%s`, not `%s`\n%s", k->title, seen.at, k->narrow,
              show(arena, to));
    }
    arena_free(arena);
}

// f64 has no bf16 beside it.
static void test_f64(Checks *c) {
    Arena *arena = arena_new();
    const char *text = arena_format(arena, "program p f64\naxis 0 n dynamic 512\n%s", cases[0].text);
    Program *p = program_from(c, arena, names_new(arena), "f64", text);
    if (p != NULL) {
        KernelProgram *from = fused(p), *to = check_narrow(c, arena, "f64", from);
        for (int t = 0; t < p->tensor.count; t++) check(c, type_of(to, t) != T_BF16, "f64: tensor %d", t);
    }
    arena_free(arena);
}

// What the verifier refuses about bf16 and precisions.
static void test_verifier(Checks *c) {
    Arena *arena = arena_new();
    const char *text = arena_format(arena, "program p f32\naxis 0 n dynamic 512\n%s", cases[0].text);
    Program *p = program_from(c, arena, names_new(arena), "verifier", text);
    KernelProgram *k = p != NULL ? fused(p) : NULL;
    if (k != NULL && check(c, k->kernel.count == 1, "one kernel")) {
        Kernel *gemm = k->kernel.at[0];
        uint64_t hash = kernel_hash(gemm);
        gemm->precision = PRECISION_F32;
        check(c, kernel_hash(gemm) != hash, "a precision counts in the hash");
        check(c, kernel_verify(gemm, p) == NULL, "a contraction has a precision");
        Text printed = {.arena = arena};
        kernel_print(gemm, p, &printed);
        check(c, strstr(printed.at, " contraction at f32\n") != NULL, "the precision is printed: %s", printed.at);
        gemm->kind = KERNEL_LOOPS;
        check(c, kernel_verify(gemm, p) != NULL, "loops have no precision");
        gemm->precision = PRECISION_MODEL;
        check(c, kernel_verify(gemm, p) == NULL, "loops");
        gemm->kind = KERNEL_CONTRACTION;
        gemm->local.at[0].type = T_BF16;
        check(c, kernel_verify(gemm, p) != NULL, "a bf16 local");
        gemm->local.at[0].type = T_REAL;
        gemm->buffer.at[0].type = T_BF16;
        check(c, kernel_verify(gemm, p) == NULL, "a bf16 buffer");
        p->real64 = true;
        check(c, kernel_verify(gemm, p) != NULL, "a bf16 buffer beside f64");
        p->real64 = false;
        gemm->buffer.at[0].type = T_I32;
        check(c, kernel_verify(gemm, p) != NULL, "an integer buffer read as real");
        gemm->buffer.at[0].type = T_REAL;
        p->tensor.at[2]->type = T_BF16;
        check(c, program_verify(p) != NULL, "a bf16 tensor in equations");
    }
    arena_free(arena);
}

// ---- whole specs

static void test_file(Checks *c, const char *stdlib, const char *path, int64_t batch) {
    Arena *arena = arena_new();
    Names *names = names_new(arena);
    Sources sources = {.arena = arena};
    Diagnostics *d = diagnostics_new(arena, &sources);
    int file = sources_read(&sources, path);
    ElaborateOptions options = {.stdlib = stdlib, .parse = parse_file};
    Node *tree = file < 0 ? NULL : parse_file(arena, names, &sources, d, file);
    Program *p = tree == NULL ? NULL : elaborate(arena, names, &sources, d, tree, &options);
    if (check(c, p != NULL, "%s is refused", path)) {
        for (int i = 0; batch > 0 && i < p->axis.count; i++)
            if (p->axis.at[i].dynamic) p->axis.at[i].count = batch;
        for (int i = 0; i < p->job.count; i++) {
            check(c, differentiate(p, p->job.at[i], d), "%s: gradients", path);
            simplify(p, p->job.at[i]);
        }
        KernelProgram *from = fused(p), *to = check_narrow(c, arena, path, from);
        for (int j = 0; j < p->job.count; j++) {
            const char *job = p->job.at[j]->name;
            int64_t before = arena_bytes(c, arena, path, from, j), after = arena_bytes(c, arena, path, to, j);
            bool exact = strcmp(job, "init") == 0 || strcmp(job, "metrics") == 0;
            check(c, exact ? after == before : after <= before, "%s: the arena of %s grows", path, job);
            if (strcmp(job, "train") != 0) continue;
            check(c, batch == 0 || after < before, "%s: the arena of train keeps its size", path);
            printf("%s, batch %lld: kernels %d -> %d, arena of train %.2f -> %.2f MB\n", path,
                   (long long)p->axis.at[0].count, from->kernel.count, to->kernel.count, (double)before / 1e6,
                   (double)after / 1e6);
        }
    }
    arena_free(arena);
}

int main(int argc, char **argv) {
    Checks c = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: narrow_test STDLIB FILE.stm ...\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) test_case(&c, &cases[i]);
    test_f64(&c);
    test_verifier(&c);
    for (int i = 2; i < argc; i++) {
        test_file(&c, argv[1], argv[i], 0);
        test_file(&c, argv[1], argv[i], 2048);
    }
    return checks_end(&c);
}
