// Fusion and planning against the reference evaluator: random programs, each fused and planned under several policies
// and run by the kernel runner, must give what job_evaluate gives. fuse_test [SEED [COUNT]] repeats a range of seeds.
#include "kernel_run.h"
#include "pass_harness.h"

typedef struct Shape {
    int tensor, rank;
    const char *dim[MAX_RANK]; // "n" or digits
    bool integer;
} Shape;

typedef struct Maker {
    Arena *arena;
    Dice dice;
    Text tensors, equations, tail;
    VEC(Shape) known;
    int next, param, state;
} Maker;

static const char *const variable[] = {"a", "b", "c", "d", "e", "f", "g", "h"};

static Shape declare(Maker *m, const char *kind, const char *type, const char *name, Shape s) {
    s.tensor = m->next++;
    s.integer = strcmp(type, "i32") == 0;
    text_add(&m->tensors, "tensor %d %s %s %s%d [", s.tensor, kind, type, name, s.tensor);
    for (int i = 0; i < s.rank; i++) text_add(&m->tensors, "%s%s", i ? " " : "", s.dim[i]);
    text_add(&m->tensors, "]%s\n", strcmp(kind, "input") == 0 ? " dataset \"d\"" : "");
    vec_push(m->arena, &m->known, s);
    return s;
}

static Shape some(Maker *m, bool integer) {
    for (;;) {
        int n = m->known.count, near = dice_below(&m->dice, 2) && n > 6 ? n - 6 : 0; // recent ones make chains
        Shape s = m->known.at[near + dice_below(&m->dice, n - near)];
        if (s.integer == integer) return s;
    }
}

static void bracket(Maker *m, const Shape *s) { // [a:n, b:4]
    text_add(&m->equations, "[");
    for (int i = 0; i < s->rank; i++) text_add(&m->equations, "%s%s:%s", i ? ", " : "", variable[i], s->dim[i]);
    text_add(&m->equations, "]");
}

// A read of some tensor whose dimensions can be found among those of `s` (in order), or a constant.
static const char *operand(Maker *m, const Shape *s) {
    for (int attempt = 0; attempt < 12; attempt++) {
        Shape t = some(m, dice_below(&m->dice, 8) == 0);
        Text text = {.arena = m->arena};
        text_add(&text, t.integer ? "f32(%%%d[" : "%%%d[", t.tensor);
        int at = 0, d = 0;
        for (; d < t.rank; d++) {
            while (at < s->rank && strcmp(s->dim[at], t.dim[d]) != 0) at++;
            if (at == s->rank) break;
            bool shifted = s->dim[at][0] != 'n' && dice_below(&m->dice, 10) == 0;
            text_add(&text, shifted ? "%s(%s - 1)" : "%s%s", d ? ", " : "", variable[at]);
            at++;
        }
        if (d < t.rank) continue;
        text_add(&text, t.integer ? "])" : "]");
        text_add_bytes(&text, "", 1);
        return text.at;
    }
    if (s->rank > 0 && dice_below(&m->dice, 2))
        return arena_format(m->arena, "mul(0.1, f32(index(%s)))", variable[dice_below(&m->dice, s->rank)]);
    return arena_format(m->arena, "%g", 0.25 * (dice_below(&m->dice, 9) - 4));
}

static const char *expression(Maker *m, const Shape *s, int depth) {
    if (depth == 0) return operand(m, s);
    const char *a = expression(m, s, depth - 1);
    switch (dice_below(&m->dice, 9)) {
    case 0: return arena_format(m->arena, "tanh(%s)", a);
    case 1: return arena_format(m->arena, "mul(%s, sigmoid(%s))", a, a);
    case 2: return arena_format(m->arena, "select(lt(%s, %s), 0.5, %s)", a, operand(m, s), a);
    case 3: return arena_format(m->arena, "exp(mul(-0.5, abs(%s)))", a);
    case 4: return arena_format(m->arena, "mul(%s, %s)", a, operand(m, s));
    case 5: return arena_format(m->arena, "add(%s, %s)", a, operand(m, s));
    case 6: return arena_format(m->arena, "sub(%s, %s)", a, expression(m, s, depth - 1));
    case 7: return arena_format(m->arena, "mul(0.5, %s)", a);
    default: return arena_format(m->arena, "add(%s, 1)", a);
    }
}

static void where(Maker *m) {
    text_add(&m->equations, "  # step%d\n", m->next);
}

static void make_map(Maker *m) {
    Shape s = some(m, false);
    const char *value = expression(m, &s, 1 + dice_below(&m->dice, 3));
    const char *self = operand(m, &s);
    s = declare(m, "temp", "f32", "map", s);
    text_add(&m->equations, "  %%%d", s.tensor);
    bracket(m, &s);
    text_add(&m->equations, " = tanh(add(%s, %s))", value, self);
    where(m);
}

static void make_reduce(Maker *m) {
    Shape s = some(m, false), out = {0}, order = {0};
    bool reduced[MAX_RANK];
    const char *name[MAX_RANK];
    for (int i = 0; i < s.rank; i++) reduced[i] = dice_below(&m->dice, 2);
    for (int i = 0; i < s.rank; i++)
        if (!reduced[i]) {
            name[i] = variable[out.rank];
            order.dim[order.rank++] = out.dim[out.rank++] = s.dim[i];
        }
    int n = out.rank;
    for (int i = 0; i < s.rank; i++)
        if (reduced[i]) {
            order.dim[order.rank++] = s.dim[i];
            name[i] = variable[n++];
        }
    if (out.rank == s.rank) return;
    const char *extra = expression(m, &order, dice_below(&m->dice, 2));
    static const char *const kinds[] = {"sum", "max", "min", "sum", "argmax"};
    const char *kind = kinds[dice_below(&m->dice, 5)];
    Shape t = declare(m, "temp", strcmp(kind, "argmax") == 0 ? "i32" : "f32", "red", out);
    text_add(&m->equations, "  %%%d", t.tensor);
    bracket(m, &out);
    text_add(&m->equations, " = %s[", kind);
    for (int i = out.rank; i < order.rank; i++)
        text_add(&m->equations, "%s%s:%s", i > out.rank ? ", " : "", variable[i], order.dim[i]);
    text_add(&m->equations, "] mul(0.25, mul(%%%d[", s.tensor);
    for (int i = 0; i < s.rank; i++) text_add(&m->equations, "%s%s", i ? ", " : "", name[i]);
    text_add(&m->equations, "], %s))", extra);
    where(m);
}

static void make_softmax(Maker *m) {
    Shape s = some(m, false);
    if (s.rank == 0) return;
    Shape rows = s;
    rows.rank--;
    Shape top = declare(m, "temp", "f32", "top", rows), e = declare(m, "temp", "f32", "exp", s);
    Shape total = declare(m, "temp", "f32", "total", rows), p = declare(m, "temp", "f32", "soft", s);
    const char *last = variable[rows.rank];
    Text all = {.arena = m->arena}, row = {.arena = m->arena};
    for (int i = 0; i < s.rank; i++) text_add(&all, "%s%s", i ? ", " : "", variable[i]);
    for (int i = 0; i < rows.rank; i++) text_add(&row, "%s%s", i ? ", " : "", variable[i]);
    const char *full = all.length ? all.at : "", *r = row.length ? row.at : "";
    text_add(&m->equations, "  %%%d", top.tensor);
    bracket(m, &rows);
    text_add(&m->equations, " = max[%s:%s] %%%d[%s]\n  %%%d", last, s.dim[rows.rank], s.tensor, full, e.tensor);
    bracket(m, &s);
    text_add(&m->equations, " = exp(sub(%%%d[%s], %%%d[%s]))\n  %%%d", s.tensor, full, top.tensor, r, total.tensor);
    bracket(m, &rows);
    text_add(&m->equations, " = sum[%s:%s] %%%d[%s]\n  %%%d", last, s.dim[rows.rank], e.tensor, full, p.tensor);
    bracket(m, &s);
    text_add(&m->equations, " = div(%%%d[%s], %%%d[%s])", e.tensor, full, total.tensor, r);
    where(m);
}

// Pooling and convolution windows over [n c h w] tensors.
static void make_window(Maker *m) {
    Shape s = some(m, false);
    for (int i = 0; i < 20 && s.rank != 4; i++) s = some(m, false);
    if (s.rank != 4 || s.dim[2][0] == 'n' || s.dim[3][0] == 'n' || s.dim[0][0] != 'n') return;
    int h = atoi(s.dim[2]), w = atoi(s.dim[3]);
    Shape out = s;
    int kind = dice_below(&m->dice, 4);
    if (kind == 0 && h >= 2 && w >= 2) {
        out.dim[2] = arena_format(m->arena, "%d", h / 2);
        out.dim[3] = arena_format(m->arena, "%d", w / 2);
        const char *const kinds[] = {"max", "sum", "argmax"};
        for (int i = 0; i < 3; i++) {
            if (i == 1 && dice_below(&m->dice, 2)) continue;
            Shape t = declare(m, "temp", i == 2 ? "i32" : "f32", "pool", out);
            text_add(&m->equations, "  %%%d", t.tensor);
            bracket(m, &out);
            text_add(&m->equations, " = %s[u:2, v:2] %%%d[a, b, (2*c + u), (2*d + v)]", kinds[i], s.tensor);
            where(m);
        }
        return;
    }
    // A convolution with weights made of a parameter of the right shape, or a stretched one (its input gradient).
    Shape weight = {.rank = 4, .dim = {"3", s.dim[1], "3", "3"}};
    weight = declare(m, "param", "f32", "w", weight);
    out.dim[1] = "3";
    bool stretched = kind == 1;
    if (stretched) {
        out.dim[2] = arena_format(m->arena, "%d", 2 * h);
        out.dim[3] = arena_format(m->arena, "%d", 2 * w);
    }
    Shape t = declare(m, "temp", "f32", "conv", out);
    text_add(&m->equations, "  %%%d", t.tensor);
    bracket(m, &out);
    text_add(&m->equations,
             stretched ? " = sum[k:%s, u:3, v:3] mul(%%%d[a, k, (c + u - 1)/2!, (d + v - 1)/2!], %%%d[b, k, u, v])"
                       : " = sum[k:%s, u:3, v:3] mul(mul(0.5, %%%d[a, k, (c + u - 1), (d + v - 1)]), %%%d[b, k, u, v])",
             s.dim[1], s.tensor, weight.tensor);
    where(m);
    if (dice_below(&m->dice, 2)) {
        Shape bias = {.rank = 1, .dim = {"3"}};
        bias = declare(m, "param", "f32", "bias", bias);
        Shape b = declare(m, "temp", "f32", "biased", out);
        text_add(&m->equations, "  %%%d", b.tensor);
        bracket(m, &out);
        text_add(&m->equations, " = tanh(add(%%%d[a, b, c, d], %%%d[b]))", t.tensor, bias.tensor);
        where(m);
    }
    if (dice_below(&m->dice, 2) && !stretched) { // weight gradient
        Shape g = declare(m, "temp", "f32", "dw", weight);
        text_add(&m->equations, "  %%%d", g.tensor);
        bracket(m, &weight);
        text_add(&m->equations, " = sum[n:n, i:%s, j:%s] mul(%%%d[n, a, i, j], %%%d[n, b, (i + c - 1), (j + d - 1)])",
                 s.dim[2], s.dim[3], t.tensor, s.tensor);
        where(m);
    }
}

static void make_linear(Maker *m) {
    Shape s = some(m, false);
    if (s.rank == 0 || s.dim[s.rank - 1][0] == 'n') return;
    Shape weight = {.rank = 2, .dim = {"7", s.dim[s.rank - 1]}}, out = s;
    weight = declare(m, "param", "f32", "w", weight);
    out.dim[s.rank - 1] = "7";
    Shape t = declare(m, "temp", "f32", "lin", out);
    text_add(&m->equations, "  %%%d", t.tensor);
    bracket(m, &out);
    text_add(&m->equations, " = sum[k:%s] div(mul(%%%d[", s.dim[s.rank - 1], s.tensor);
    for (int i = 0; i + 1 < s.rank; i++) text_add(&m->equations, "%s, ", variable[i]);
    text_add(&m->equations, "k], %%%d[%s, k]), 4)", weight.tensor, variable[s.rank - 1]);
    where(m);
}

static void make_view(Maker *m) {
    Shape s = some(m, false), out = {0};
    if (s.rank < 2) return;
    int64_t tail = 1;
    int at = 1 + dice_below(&m->dice, s.rank - 1);
    for (int i = 0; i < at; i++) out.dim[out.rank++] = s.dim[i];
    for (int i = at; i < s.rank; i++) {
        if (s.dim[i][0] == 'n') return;
        tail *= atoi(s.dim[i]);
    }
    out.dim[out.rank++] = arena_format(m->arena, "%d", (int)tail);
    Shape v = declare(m, "temp", "f32", "view", out);
    text_add(&m->equations, "  %%%d = view %%%d\n", v.tensor, s.tensor);
}

static void make_transposed(Maker *m) {
    Shape s = some(m, false), out = s;
    if (s.rank < 2) return;
    for (int i = 0; i < s.rank; i++) out.dim[i] = s.dim[s.rank - 1 - i];
    Shape t = declare(m, "temp", "f32", "turned", out);
    text_add(&m->equations, "  %%%d", t.tensor);
    bracket(m, &out);
    text_add(&m->equations, " = mul(0.5, %%%d[", s.tensor);
    for (int i = 0; i < s.rank; i++) text_add(&m->equations, "%s%s", i ? ", " : "", variable[s.rank - 1 - i]);
    text_add(&m->equations, "])");
    where(m);
}

// Rows taken by an index tensor, and rows added to them.
static void make_gather(Maker *m) {
    Shape s = some(m, false);
    if (s.rank == 0 || s.dim[0][0] != 'n') return;
    bool scatter = dice_below(&m->dice, 2);
    Shape t = declare(m, "temp", "f32", scatter ? "scattered" : "taken", s);
    text_add(&m->equations, scatter ? "  scatter %%%d[@%%1[a]" : "  %%%d", t.tensor);
    if (!scatter) bracket(m, &s);
    else
        for (int i = 1; i < s.rank; i++) text_add(&m->equations, ", %s", variable[i]);
    text_add(&m->equations, scatter ? "] += mul(0.5, %%%d[a" : " = mul(2, %%%d[@%%1[a]", s.tensor);
    for (int i = 1; i < s.rank; i++) text_add(&m->equations, ", %s", variable[i]);
    text_add(&m->equations, "])");
    if (scatter) {
        text_add(&m->equations, " over ");
        bracket(m, &s);
    }
    where(m);
}

static void make_random(Maker *m) {
    Shape s = some(m, false);
    const char *value = operand(m, &s);
    Shape t = declare(m, "temp", "f32", "drop", s);
    text_add(&m->equations, "  %%%d", t.tensor);
    bracket(m, &s);
    text_add(&m->equations, " = mul(%s, f32(lt(random(%d), 0.7)))", value, t.tensor);
    where(m);
}

static void make_update(Maker *m) {
    Shape s = some(m, false);
    for (int i = 0; i < s.rank; i++)
        if (s.dim[i][0] == 'n') return;
    Shape p = declare(m, "param", "f32", "p", s), v = declare(m, "state", "f32", "v", s);
    Shape nv = declare(m, "temp", "f32", "nv", s), np = declare(m, "temp", "f32", "np", s);
    Text all = {.arena = m->arena};
    for (int i = 0; i < s.rank; i++) text_add(&all, "%s%s", i ? ", " : "", variable[i]);
    const char *at = all.length ? all.at : "";
    text_add(&m->equations, "  %%%d", nv.tensor);
    bracket(m, &s);
    text_add(&m->equations, " = add(mul(0.9, %%%d[%s]), %%%d[%s])\n  %%%d", v.tensor, at, s.tensor, at, np.tensor);
    bracket(m, &s);
    text_add(&m->equations, " = sub(%%%d[%s], mul(0.1, %%%d[%s]))", p.tensor, at, nv.tensor, at);
    where(m);
    text_add(&m->tail, "  update %%%d <- %%%d\n  update %%%d <- %%%d\n", p.tensor, np.tensor, v.tensor, nv.tensor);
    if (dice_below(&m->dice, 3) == 0) {
        Shape swap = declare(m, "state", "f32", "ema", s);
        text_add(&m->tail, "  update %%%d <- %%%d\n", swap.tensor, p.tensor);
    }
}

static const char *random_program(Arena *arena, uint64_t seed) {
    Maker m = {.arena = arena,
               .dice = {seed},
               .tensors = {.arena = arena},
               .equations = {.arena = arena},
               .tail = {.arena = arena}};
    declare(&m, "input", "f32", "x", (Shape){.rank = 4, .dim = {"n", "4", "6", "4"}});
    declare(&m, "input", "i32", "index", (Shape){.rank = 1, .dim = {"n"}});
    declare(&m, "input", "f32", "t", (Shape){.rank = 2, .dim = {"n", "5"}});
    declare(&m, "param", "f32", "q", (Shape){.rank = 2, .dim = {"4", "5"}});
    declare(&m, "scalar", "i32", "seed", (Shape){0});
    declare(&m, "scalar", "i32", "step", (Shape){0});
    static void (*const makers[])(Maker *) = {make_map,        make_map,    make_map,    make_reduce, make_reduce,
                                              make_window,     make_window, make_linear, make_view,   make_softmax,
                                              make_transposed, make_gather, make_random, make_update};
    int count = 4 + dice_below(&m.dice, 16);
    for (int i = 0; i < count; i++) makers[dice_below(&m.dice, (int)(sizeof makers / sizeof makers[0]))](&m);
    for (int i = 0; i < m.known.count; i++) {
        const Shape *s = &m.known.at[i];
        if (i > 5 && dice_below(&m.dice, 4) == 0) text_add(&m.tail, "  output o%d %%%d\n", i, s->tensor);
    }
    Shape last = vec_last(&m.known);
    text_add(&m.tail, "  output last %%%d\n", last.tensor);
    text_add_bytes(&m.tensors, "", 1);
    text_add_bytes(&m.equations, "", 1);
    text_add_bytes(&m.tail, "", 1);
    return arena_format(arena, "program r f64\naxis 0 n dynamic 4\n%srandom seed 4 step 5\njob train\n%s%send\n",
                        m.tensors.at, m.equations.at, m.tail.at);
}

static void fill(const Program *p, Values *v, const int64_t *axis) {
    for (int i = 0; i < p->tensor.count; i++) {
        const Tensor *t = p->tensor.at[i];
        size_t count;
        double *x = values_of(v, i, &count);
        Dice dice = {(uint64_t)i + 77};
        for (size_t e = 0; t->kind != TENSOR_TEMP && e < count; e++)
            x[e] = t->type == T_REAL ? 2 * dice_real(&dice) - 1
                   : t->rank == 0    ? 5 + i
                                     : dice_below(&dice, (int)axis[0]);
    }
}

static Program *parse(Checks *c, Arena *arena, const char *text, uint64_t seed) {
    char *error = NULL;
    Program *p = program_read(arena, names_new(arena), text, strlen(text), &error);
    if (!check(c, p != NULL, "seed %llu: %s\n%s", (unsigned long long)seed, error, text)) return NULL;
    const char *wrong = program_verify(p);
    return check(c, wrong == NULL, "seed %llu: %s\n%s", (unsigned long long)seed, wrong, text) ? p : NULL;
}

static bool close_enough(double a, double b) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    return a == b || fabs(a - b) <= 1e-9 * (1 + fabs(a) + fabs(b));
}

static const char *show(Arena *arena, const KernelProgram *k) {
    Text text = {.arena = arena};
    for (int i = 0; i < k->kernel.count; i++) kernel_print(k->kernel.at[i], k->program, &text);
    text_add_bytes(&text, "", 1);
    return text.at;
}

typedef struct Tally {
    long equations, kernels[6], calls[6], arena[6], batched;
} Tally;

static bool try_policy(Checks *c, Arena *arena, const char *text, uint64_t seed, const FusePolicy *policy, int which,
                       Tally *tally) {
    Program *plain = parse(c, arena, text, seed), *p = parse(c, arena, text, seed);
    if (plain == NULL || p == NULL) return false;
    for (int i = 0; i < p->job.count; i++) layout_job(p, p->job.at[i]);
    const char *wrong = program_verify(p);
    if (!check(c, wrong == NULL, "seed %llu: after layout: %s\n%s", (unsigned long long)seed, wrong, text))
        return false;
    KernelProgram *k = fuse_program(p, policy);
    schedule_kernels(k);
    for (int i = 0; i < k->kernel.count; i++) {
        wrong = kernel_verify(k->kernel.at[i], p);
        if (!check(c, wrong == NULL, "seed %llu policy %d: %s\n%s\n%s", (unsigned long long)seed, which, wrong, text,
                   show(arena, k)))
            return false;
    }
    if (which >= 4) { // the same kernels with their calls in batches
        bool *table = NEW_ARRAY(arena, bool, k->kernel.count + 1);
        int before = k->job.at[0].call.count;
        k = batch_calls(k, table);
        tally->batched += before - k->job.at[0].call.count;
    }
    StmPlan *plan = NULL;
    wrong = plan_program(k, plain_code(arena, k), "test", &plan);
    if (!check(c, wrong == NULL, "seed %llu: %s", (unsigned long long)seed, wrong)) return false;
    tally->equations += which == 0 ? p->job.at[0]->equation.count : 0;
    tally->kernels[which] += k->kernel.count;
    tally->calls[which] += k->job.at[0].call.count;
    tally->arena[which] += plan_arena_bytes(plan, 0, NULL);
    static const int64_t extents[] = {3, 1, 5};
    for (int e = 0; e < 3; e++) {
        int64_t axis[1] = {extents[e]};
        Values *expected = values_new(arena, plain, axis), *found = values_new(arena, p, axis);
        fill(plain, expected, axis);
        fill(p, found, axis);
        wrong = job_evaluate(plain, plain->job.at[0], expected);
        if (!check(c, wrong == NULL, "seed %llu: %s\n%s", (unsigned long long)seed, wrong, text)) return false;
        wrong = plan_run(arena, k, plan, 0, found, axis, e == 1 || which == 1);
        if (!check(c, wrong == NULL, "seed %llu policy %d: %s\n%s\n%s", (unsigned long long)seed, which, wrong, text,
                   show(arena, k)))
            return false;
        for (int t = 0; t < plain->tensor.count; t++) {
            bool looked = plain->tensor.at[t]->kind != TENSOR_TEMP;
            for (int o = 0; o < plain->job.at[0]->output.count; o++)
                looked |= plain->job.at[0]->output.at[o].tensor == t;
            if (!looked) continue;
            size_t count;
            double *a = values_of(expected, t, &count), *b = values_of(found, t, NULL);
            for (size_t i = 0; i < count; i++)
                if (!check(c, close_enough(a[i], b[i]),
                           "seed %llu policy %d n %d: tensor %d[%zu] is %.17g, expected %.17g\n%s\n%s",
                           (unsigned long long)seed, which, (int)axis[0], t, i, b[i], a[i], text, show(arena, k)))
                    return false;
        }
    }
    return true;
}

// Shapes that the small random programs do not reach: operands that become tensors, hoisted parts, layers in
// channels-last storage, an attention with its dropout.
static const char *const fixed[] = {
    "program gathered f64\naxis 0 n dynamic 8\n"
    "tensor 0 input f32 x [n 64] dataset \"x\"\ntensor 1 input i32 to [n] dataset \"to\"\ntensor 2 param f32 w [65 "
    "64]\n"
    "tensor 3 temp f32 y [n 65]\ntensor 4 temp f32 z [n 65]\ntensor 5 temp f32 a [n 65]\n"
    "job train\n"
    "  %3[k:n, o:65] = sum[i:64] mul(%0[@%1[k], i], %2[o, i])\n"
    "  %4[s:n, o:65] = sum[i:64] mul(0.5, mul(%2[o, i], mul(%0[s, i], sigmoid(%0[s, i]))))\n"
    "  %5[s:n, o:65] = sum[i:64] mul(%2[o, i//2], %0[s, (i//4)%3])\n"
    "  output y %3\n  output z %4\n  output a %5\nend\n",
    "program block f64\naxis 0 n dynamic 4\n"
    "tensor 0 input u8 tile [n 9 9 3] dataset \"t\"\ntensor 1 param f32 w [16 3 3 3]\ntensor 2 param f32 bias "
    "[16]\ntensor 3 param f32 gain [16]\n"
    "tensor 4 param f32 shift [16]\ntensor 5 state f32 mean [16]\ntensor 6 temp f32 x [n 3 9 9]\ntensor 7 temp f32 c "
    "[n 16 9 9]\n"
    "tensor 8 temp f32 y [n 16 9 9]\ntensor 9 temp f32 m [16]\ntensor 10 temp f32 v [16]\ntensor 11 temp f32 z [n 16 9 "
    "9]\n"
    "tensor 12 temp f32 a [n 16 9 9]\ntensor 13 temp f32 p [n 16 4 4]\ntensor 14 temp i32 q [n 16 4 4]\ntensor 15 temp "
    "f32 f [n 256]\n"
    "tensor 16 param f32 head [5 256]\ntensor 17 temp f32 o [n 5]\ntensor 18 temp f32 nm [16]\ntensor 19 temp f32 loss "
    "[]\n"
    "tensor 20 temp f32 da [n 16 9 9]\ntensor 21 temp f32 dw [16 3 3 3]\ntensor 22 temp f32 nw [16 3 3 3]\ntensor 23 "
    "temp f32 dg [16]\n"
    "tensor 24 temp f32 ds [16]\ntensor 25 temp f32 back [n 3 9 9]\n"
    "job train\n"
    "  %6[b:n, c:3, i:9, j:9] = mul(f32(%0[b, i, j, c]), 0.25)\n"
    "  %7[b:n, o:16, i:9, j:9] = sum[c:3, u:3, v:3] mul(%6[b, c, (i + u - 1), (j + v - 1)], %1[o, c, u, v])\n"
    "  %8[b:n, o:16, i:9, j:9] = add(%7[b, o, i, j], %2[o])\n"
    "  %9[o:16] = sum[b:n, i:9, j:9] div(%8[b, o, i, j], mul(81, f32(extent(n))))\n"
    "  %10[o:16] = sum[b:n, i:9, j:9] div(mul(sub(%8[b, o, i, j], %9[o]), sub(%8[b, o, i, j], %9[o])), 81)\n"
    "  %11[b:n, o:16, i:9, j:9] = add(mul(mul(sub(%8[b, o, i, j], %9[o]), rsqrt(add(%10[o], 0.001))), %3[o]), %4[o])\n"
    "  %12[b:n, o:16, i:9, j:9] = mul(%11[b, o, i, j], sigmoid(%11[b, o, i, j]))\n"
    "  %13[b:n, o:16, i:4, j:4] = max[u:2, v:2] %12[b, o, (2*i + u), (2*j + v)]\n"
    "  %14[b:n, o:16, i:4, j:4] = argmax[u:2, v:2] %12[b, o, (2*i + u), (2*j + v)]\n"
    "  %15 = view %13\n"
    "  %17[b:n, k:5] = sum[d:256] mul(%15[b, d], %16[k, d])\n"
    "  %18[o:16] = add(mul(0.9, %5[o]), mul(0.1, %9[o]))\n"
    "  %19[] = sum[b:n, k:5] mul(%17[b, k], %17[b, k])\n"
    "  %20[b:n, o:16, i:9, j:9] = mul(select(eq(%14[b, o, i//2, j//2], iadd(imul(2i32, imod(index(i), 2i32)), "
    "imod(index(j), 2i32))), "
    "%13[b, o, i//2, j//2], 0), rsqrt(add(%10[o], 0.001)))\n"
    "  %23[o:16] = sum[b:n, i:9, j:9] mul(%20[b, o, i, j], %8[b, o, i, j])\n"
    "  %24[o:16] = sum[b:n, i:9, j:9] %20[b, o, i, j]\n"
    "  %21[o:16, c:3, u:3, v:3] = sum[b:n, i:9, j:9] mul(%20[b, o, i, j], %6[b, c, (i + u - 1), (j + v - 1)])\n"
    "  %25[b:n, c:3, i:9, j:9] = sum[o:16, u:3, v:3] mul(%20[b, o, (i - u + 1), (j - v + 1)], %1[o, c, u, v])\n"
    "  %22[o:16, c:3, u:3, v:3] = sub(%1[o, c, u, v], mul(0.01, %21[o, c, u, v]))\n"
    "  update %1 <- %22\n  update %5 <- %18\n"
    "  output o %17\n  output loss %19\n  output dg %23\n  output ds %24\n  output back %25\nend\n",
    "program attention f64\naxis 0 n dynamic 4\n"
    "tensor 0 input f32 x [n 7 24] dataset \"x\"\ntensor 1 param f32 wq [24 24]\ntensor 2 param f32 wk [24 24]\ntensor "
    "3 scalar i32 seed []\n"
    "tensor 4 scalar i32 step []\ntensor 5 temp f32 q [n 7 24]\ntensor 6 temp f32 k [n 7 24]\ntensor 7 temp f32 s [n 3 "
    "7 7]\n"
    "tensor 8 temp f32 m [n 3 7]\ntensor 9 temp f32 e [n 3 7 7]\ntensor 10 temp f32 z [n 3 7]\ntensor 11 temp f32 p [n "
    "3 7 7]\n"
    "tensor 12 temp f32 d [n 3 7 7]\ntensor 13 temp f32 o [n 3 7 8]\ntensor 14 temp f32 r [n 7 24]\ntensor 15 temp f32 "
    "mean [n 7]\n"
    "tensor 16 temp f32 var [n 7]\ntensor 17 temp f32 y [n 7 24]\nrandom seed 3 step 4\n"
    "job train\n"
    "  %5[b:n, i:7, c:24] = sum[d:24] mul(%0[b, i, d], %1[c, d])\n"
    "  %6[b:n, i:7, c:24] = sum[d:24] mul(%0[b, i, d], %2[c, d])\n"
    "  %7[b:n, h:3, i:7, j:7] = sum[c:8] div(mul(%5[b, i, (8*h + c)], %6[b, j, (8*h + c)]), 2.5)\n"
    "  %8[b:n, h:3, i:7] = max[j:7] %7[b, h, i, j]\n"
    "  %9[b:n, h:3, i:7, j:7] = exp(sub(%7[b, h, i, j], %8[b, h, i]))\n"
    "  %10[b:n, h:3, i:7] = sum[j:7] %9[b, h, i, j]\n"
    "  %11[b:n, h:3, i:7, j:7] = div(%9[b, h, i, j], %10[b, h, i])\n"
    "  %12[b:n, h:3, i:7, j:7] = mul(%11[b, h, i, j], f32(lt(random(9), 0.8)))\n"
    "  %13[b:n, h:3, i:7, c:8] = sum[j:7] mul(%12[b, h, i, j], %0[b, j, (8*h + c)])\n"
    "  %14[b:n, i:7, c:24] = add(%0[b, i, c], %13[b, c//8, i, c%8])\n"
    "  %15[b:n, i:7] = sum[c:24] div(%14[b, i, c], 24)\n"
    "  %16[b:n, i:7] = sum[c:24] div(mul(sub(%14[b, i, c], %15[b, i]), sub(%14[b, i, c], %15[b, i])), 24)\n"
    "  %17[b:n, i:7, c:24] = mul(sub(%14[b, i, c], %15[b, i]), rsqrt(add(%16[b, i], 0.00001)))\n"
    "  output y %17\n  output p %11\nend\n",
};

int main(int argc, char **argv) {
    Checks c = {0};
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int count = argc > 2 ? atoi(argv[2]) : 40;
    FusePolicy policy[6] = {fuse_default, fuse_default, fuse_default, fuse_default}; // 4 and 5: with batches of calls
    policy[0].one_to_one = true;
    policy[2].contraction_flops = 64; // even small sums of products
    policy[2].pack_cost = 20;
    policy[2].recompute_cost = 1000;
    policy[2].small_elements = 16;
    policy[2].random_elements = 0;
    policy[3].contraction_flops = 64;
    policy[3].recompute_cost = 0;
    policy[3].small_elements = 0;
    policy[3].most_buffers = 4;
    policy[1].small_elements = 64;
    policy[4] = policy[0];
    policy[5] = policy[3];
    Tally tally = {0};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        Arena *arena = arena_new();
        for (int which = 0; which < 6; which++)
            if (!try_policy(&c, arena, fixed[i], i, &policy[which], which, &tally)) break;
        arena_free(arena);
    }
    for (int i = 0; i < count && c.failed == 0; i++) {
        Arena *arena = arena_new();
        const char *text = random_program(arena, first + (uint64_t)i);
        for (int which = 0; which < 6; which++)
            if (!try_policy(&c, arena, text, first + (uint64_t)i, &policy[which], which, &tally)) break;
        arena_free(arena);
    }
    for (int i = 0; i < 6; i++)
        printf("policy %d: %ld equations, %ld calls, %ld kernels, arena %ld\n", i, tally.equations, tally.calls[i],
               tally.kernels[i], tally.arena[i]);
    check(&c, tally.batched > 0, "no call was ever batched");
    return checks_end(&c);
}
