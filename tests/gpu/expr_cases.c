// The kernels of expr_test. See expr_cases.h.
#include "expr_cases.h"

const int64_t axes[PLAIN_EXTENTS] = {24, 8, 1000, 77}; // two axes and two step extents

Program *suite_program(Arena *a, bool real64) {
    Program *p = NEW(a, Program);
    p->arena = a;
    p->names = names_new(a);
    p->name = "expr";
    p->real64 = real64;
    p->scalar_seed = p->scalar_step = -1;
    vec_push(a, &p->axis, ((Axis){.name = "spot", .dynamic = true, .count = 32}));
    vec_push(a, &p->axis, ((Axis){.name = "gene", .dynamic = true, .count = 100}));
    return p;
}

// One function per width that the kernel allows; primitives alone and by fours.
static void add_case(Suite *t, Case c, int vector) {
    static const int widths[] = {1, 4, 2, 8};
    for (int i = 0; i < (c.op ? 2 : 4); i++) {
        int w = widths[i];
        if (w > 1 && (vector < 0 || !plain_vectors(t->arena, c.p, c.k, vector, w))) continue;
        Case one = c;
        one.name = arena_format(t->arena, "x%d_%s_w%d", t->cases, c.name, w);
        const char *error = plain_function(&t->text, c.p, c.k, one.name, w > 1 ? vector : -1, w);
        if (!check(&t->c, error == NULL, "%s: %s", one.name, error)) continue;
        if (t->cases == MOST) {
            check(&t->c, false, "more than %d cases", MOST);
            return;
        }
        t->at[t->cases++] = one;
    }
}

// ---- primitives
static const double special[] = {0.0,   -0.0,         1.0,           -1.0,         0.5,       -0.5,   2.0,   -2.0,
                                 3.0,   2.5,          -2.5,          3.5,          1e-30,     -1e-30, 1e-42, 1e30,
                                 -1e30, 100,          -100,          INFINITY,     -INFINITY, NAN,    0.25,  254.625,
                                 255.5, 2147483520.0, -2147483648.0, 4294967296.0, 1e19,      -1e19,  7,     41};
static const int64_t whole[] = {0,
                                1,
                                -1,
                                2,
                                -2,
                                3,
                                -3,
                                7,
                                -7,
                                10,
                                63,
                                64,
                                100,
                                127,
                                128,
                                200,
                                255,
                                256,
                                -256,
                                INT32_MAX,
                                INT32_MIN,
                                INT32_MAX - 1,
                                INT32_MIN + 1,
                                46341,
                                -46341,
                                65536};
enum { SPECIALS = sizeof special / sizeof *special, WHOLES = sizeof whole / sizeof *whole, OP_ELEMENTS = 2048 };

double op_input(ElementType type, ScalarOp op, int argument, size_t i) {
    static const double span[3] = {6, 30, 1000};
    Dice d = {i * 7919 + (uint64_t)argument * 104729 + 13};
    dice_next(&d);
    if (type == T_BOOL) return (double)(argument == 1 ? i / 2 % 2 : argument == 2 ? i / 4 % 2 : i % 2);
    if (type == T_REAL) {
        size_t n = argument ? i / SPECIALS % SPECIALS : i % SPECIALS;
        if (i < SPECIALS * SPECIALS) return (float)special[n];
        double x = (dice_real(&d) * 2 - 1) * span[i % 3];
        if (op == OP_POW && argument == 0) x = fabs(x);
        return (float)x;
    }
    size_t n = argument ? i / WHOLES % WHOLES : i % WHOLES;
    double x = i < WHOLES * WHOLES ? (double)whole[n] : (double)(int32_t)dice_next(&d);
    if (type == T_U8) return (double)(uint8_t)(int64_t)x;
    return type == T_I64 && i % 3 == 0 && fabs(x) < 1e5 ? x * 16777216.0
                                                        : x; // f64 holds every value and every sum exactly
}

// Bounds on the host, where the elementary functions are the C library's.
static double op_ulp(ScalarOp op) {
    switch (op) {
    case OP_EXP:
    case OP_EXPM1:
    case OP_LOG:
    case OP_LOG1P:
    case OP_SIN:
    case OP_COS:
    case OP_ERF:
    case OP_POW:
    case OP_ATAN2: return 1.5;
    case OP_TANH:
    case OP_RSQRT: return 2;
    case OP_SIGMOID: return 3;
    case OP_LGAMMA:
    case OP_DIGAMMA: return 1.5;
    default: return 0; // correctly rounded; the reference is rounded to f32
    }
}

static void op_case(Suite *t, ScalarOp op, const char *name, int arity, const ElementType *types, ElementType result,
                    int real64, bool exponent, double number) {
    Make m = make_open(t->arena, t->real[real64], name);
    Extent e = extent_of(OP_ELEMENTS);
    int v = make_var(&m, OP_ELEMENTS, -1);
    make_outer(&m);
    Expr *arg[3] = {NULL, NULL, NULL};
    for (int i = 0; i < arity; i++) {
        if (i == 1 && exponent) {
            arg[i] = expr_const(m.job, number, types[i]);
            continue;
        }
        arg[i] = make_at(&m, make_buffer(&m, types[i], false, 1, &e, NULL), 1, &v);
    }
    Expr *value = op == OP_CAST ? expr_cast(m.job, result, arg[0]) : expr_op(m.job, op, arg[0], arg[1], arg[2]);
    if (op == OP_STOP) value = expr_op(m.job, OP_NEG, value, NULL, NULL);
    // In memory a u8 has wrapped whatever the register holds; so it is looked at as an i32.
    if (op != OP_CAST && value->type == T_U8) value = expr_cast(m.job, T_I32, value);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, value, make_buffer(&m, value->type, true, 1, &e, NULL), 1, &v);
    const char *wrong = kernel_verify(m.k, m.p);
    if (!check(&t->c, wrong == NULL, "%s: %s", name, wrong)) return;
    double ulp = op_ulp(op);
    if (real64) ulp = op == OP_DIGAMMA ? 1e6 : ulp > 0 ? 4 : 0;
    add_case(t,
             (Case){.name = name,
                    .p = m.p,
                    .k = m.k,
                    .op = value,
                    .primitive = op,
                    .ulp = ulp,
                    .absolute = op == OP_DIGAMMA  ? 1e-9
                                : op == OP_LGAMMA ? 1e-13
                                                  : 0},
             0);
    t->tested[op] = true;
}

static void primitive(Suite *t, ScalarOp op, const char *name, int arity, char result) {
    static const ElementType ints[] = {T_I32, T_I64, T_U8};
    static const ElementType all[] = {T_REAL, T_I32, T_I64, T_U8, T_BOOL};
    for (int real64 = 0; real64 < 2; real64++) {
        if (result == 'R') {
            op_case(t, op, name, arity, (ElementType[]){T_REAL, T_REAL}, T_REAL, real64, false, 0);
            static const double exponents[] = {2, 1, -1, 0.5, -3};
            for (int i = 0; op == OP_POW && i < 5; i++)
                op_case(t, op, name, 2, (ElementType[]){T_REAL, T_REAL}, T_REAL, real64, true, exponents[i]);
        } else if (result == 'L') {
            op_case(t, op, name, arity, (ElementType[]){T_BOOL, T_BOOL}, T_BOOL, real64, false, 0);
        } else if (result == 'S') {
            for (int i = 0; i < 5; i++)
                op_case(t, op, name, 3, (ElementType[]){T_BOOL, all[i], all[i]}, all[i], real64, false, 0);
        } else if (result == 'B' || result == 'I') {
            static const double divisors[] = {1, 3, 8, 255};
            if (result == 'B') op_case(t, op, name, 2, (ElementType[]){T_REAL, T_REAL}, T_BOOL, real64, false, 0);
            for (int i = 0; i < 3; i++) {
                ElementType both[2] = {ints[i], ints[i]};
                op_case(t, op, name, 2, both, T_BOOL, real64, false, 0);
                for (int d = 0; result == 'I' && d < 4; d++)
                    op_case(t, op, name, 2, both, T_BOOL, real64, true, divisors[d]);
            }
        } else if (result == 'C') {
            for (int i = 0; i < 5; i++)
                for (int j = 0; j < 5; j++) op_case(t, op, name, 1, (ElementType[]){all[i]}, all[j], real64, false, 0);
        }
    }
}

// ---- leaves
static void add_leaf(Suite *t, Make *m, const char *name, Expr *value, int var) {
    Extent e = m->k->var[var].extent;
    int out = make_buffer(m, value->type, true, 1, &e, NULL);
    make_store(m, 0, 0, NULL, REDUCE_NONE, value, out, 1, &var);
    const char *wrong = kernel_verify(m->k, m->p);
    if (!check(&t->c, wrong == NULL, "%s: %s", name, wrong)) return;
    add_case(t, (Case){.name = name, .p = m->p, .k = m->k}, var);
    t->tested[value->op] = true;
}

static void leaves(Suite *t) {
    static const double numbers[] = {0.1, -0.1, 1.0 / 3, 1e-45, 3.4028235e38, 1e-310, 1e300, 123456789, -7, 255, 0.0};
    static const ElementType types[] = {T_REAL, T_I32, T_I64, T_U8, T_BOOL};
    for (int real64 = 0; real64 < 2; real64++) {
        for (int i = 0; i < SPECIALS + 11; i++) {
            Make m = make_open(t->arena, t->real[real64], "const");
            int v = make_var(&m, 8, -1);
            make_outer(&m);
            add_leaf(t, &m, "const", expr_const(m.job, i < 11 ? numbers[i] : special[i - 11], T_REAL), v);
        }
        for (int i = 0; i < WHOLES; i++)
            for (int k = 1; k < 4; k++) {
                if (types[k] == T_U8 && (whole[i] < 0 || whole[i] > 255)) continue;
                Make m = make_open(t->arena, t->real[real64], "const_int");
                int v = make_var(&m, 8, -1);
                make_outer(&m);
                add_leaf(t, &m, "const_int", expr_const(m.job, (double)whole[i], types[k]), v);
            }
        for (int k = 0; k < 4; k++) {
            Make m = make_open(t->arena, t->real[real64], "index");
            int v = make_var(&m, 1, 0);
            make_outer(&m);
            Expr *index = expr_index(m.job, v);
            add_leaf(t, &m, "index", types[k] == T_I32 ? index : expr_cast(m.job, types[k], index), v);
            t->tested[OP_INDEX] = true;
            for (int x = 0; x < 3; x++) {
                Make n = make_open(t->arena, t->real[real64], "extent");
                int w = make_var(&n, 8, -1);
                make_outer(&n);
                Extent extent = x == 0 ? (Extent){3, 0} : x == 1 ? (Extent){12, -1} : (Extent){1, 1};
                Expr *value = expr_extent(n.job, extent);
                add_leaf(t, &n, "extent", types[k] == T_I32 ? value : expr_cast(n.job, types[k], value), w);
                t->tested[OP_EXTENT] = true;
            }
        }
        for (int k = 0; k < 5; k++) { // reads; bf16 beside f32
            Make m = make_open(t->arena, t->real[real64], "read");
            int v = make_var(&m, 2, 0);
            make_outer(&m);
            Extent e = {2, 0};
            add_leaf(t, &m, "read", make_at(&m, make_buffer(&m, types[k], false, 1, &e, NULL), 1, &v), v);
        }
    }
}

// bf16 in, f32 arithmetic, bf16 out.
static void bf16_cases(Suite *t) {
    Make m = make_open(t->arena, t->real[0], "bf16");
    int r = make_var(&m, 6, -1), c = make_var(&m, 40, -1);
    make_outer(&m);
    Extent dim[2] = {extent_of(6), extent_of(40)};
    int x = make_buffer(&m, T_BF16, false, 2, dim, NULL), y = make_buffer(&m, T_REAL, false, 1, dim + 1, NULL);
    Position at[2] = {position_var(r), position_var(c)};
    Tensor tensor = {.id = x, .rank = 2, .type = T_REAL};
    Expr *value = expr_op(m.job, OP_MUL, expr_read(m.job, &tensor, at, NO_SPAN), make_at(&m, y, 1, &c), NULL);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, value, make_buffer(&m, T_BF16, true, 2, dim, NULL), 2, (int[]){r, c});
    const char *wrong = kernel_verify(m.k, m.p);
    if (!check(&t->c, wrong == NULL, "bf16: %s", wrong)) return;
    add_case(t, (Case){.name = "bf16", .p = m.p, .k = m.k}, c);
}

// ---- random numbers
static void random_cases(Suite *t) {
    for (int way = 0; way < 10; way++) {
        Make m = make_open(t->arena, t->real[way % 2], "random");
        Extent dim[3] = {{1, 0}, {5, -1}, {16, -1}};
        int a = make_var(&m, 1, 0), b = make_var(&m, 5, -1), c = make_var(&m, 16, -1), at[3] = {a, b, c};
        int kind = way / 2;
        if (kind < 3) make_outer(&m);
        else m.k->outer = 2;
        m.k->scalar_seed = make_buffer(&m, T_I32, false, 0, NULL, NULL);
        m.k->scalar_step = make_buffer(&m, T_I32, false, 0, NULL, NULL);
        Expr *value = expr_random(m.job, 3000000000u);
        if (kind == 2) { // the place is a step extent
            Expr *copy = arena_copy(t->arena, value, sizeof *value);
            copy->extent = (Extent){1, 2};
            value = copy;
        }
        int order[3] = {2, 0, 1};
        int out = make_buffer(&m, T_REAL, true, 3, dim, kind == 1 ? order : NULL);
        if (kind == 4) { // kept in a local, whose elements are keyed by the outer and the free variables
            int l = make_local(&m, T_REAL, 1, dim + 2);
            make_store(&m, 1, 1, &c, REDUCE_NONE, value, l, 1, &c);
            value = make_at(&m, l, 1, &c);
        }
        make_store(&m, kind < 3 ? 0 : 1, kind < 3 ? 0 : 1, &c, REDUCE_NONE, value, out, 3, at);
        const char *wrong = kernel_verify(m.k, m.p);
        if (!check(&t->c, wrong == NULL, "random %d: %s", way, wrong)) continue;
        add_case(t, (Case){.name = "random", .p = m.p, .k = m.k}, c);
        t->tested[OP_RANDOM] = true;
    }
}

// ---- accesses
typedef struct Chance {
    Dice dice;
    Make m;
    int scope[2 * MAX_VARS], scopes;
} Chance;

static int roll(Chance *c, int n) {
    return dice_below(&c->dice, n);
}

static int chance_var(Chance *c) {
    static const int sizes[] = {1, 2, 3, 5, 8, 16, 8, 33, 4, 24};
    int kind = roll(c, 12);
    if (kind < 2) return make_var(&c->m, 1, kind);
    if (kind == 2) return make_var(&c->m, 2, 0);
    return make_var(&c->m, sizes[roll(c, 10)], -1);
}

static Position chance_position(Chance *c, Extent *dim) {
    int v = c->scopes ? c->scope[roll(c, c->scopes)] : -1, kind = roll(c, 15);
    if (v < 0 || kind == 0) {
        *dim = extent_of(1 + roll(c, 3));
        return position_const(roll(c, (int)dim->count));
    }
    Extent e = c->m.k->var[v].extent;
    if (kind < 8) {
        *dim = e;
        Position p = position_var(v);
        p.guarded = false;
        return p;
    }
    *dim = kind == 14 ? (Extent){1, 0} : extent_of(3 + roll(c, 20));
    if (kind == 9) {
        static const ElementType types[] = {T_I32, T_I64, T_U8};
        int index = make_buffer(&c->m, types[roll(c, 3)], false, 1, &e, NULL);
        Position p = position_const(0);
        p.gather = make_at(&c->m, index, 1, &v);
        p.guarded = true;
        return p;
    }
    int w = c->scope[roll(c, c->scopes)];
    Position p = w != v ? make_affine2(v, 1 + roll(c, 3), w, roll(c, 2) ? 1 : -1, roll(c, 5) - 2, true)
                        : make_affine(v, roll(c, 2) ? -1 : 2, roll(c, 9) - 2, true);
    if (kind == 8) p = make_affine(v, 1, roll(c, 3) * 4 - 4, true);
    if (kind == 11) p.divide = 1 + roll(c, 4);
    if (kind == 12) p.divide = 2, p.exact = true;
    if (kind == 13) {
        p.divide = 1 + roll(c, 3);
        p.modulo = 2 + roll(c, 5);
    }
    if (kind == 10 && roll(c, 4) == 0) p.offset -= (int64_t)1 << 40; // far outside
    return p;
}

static void shuffle(Chance *c, int *order, int n) {
    for (int i = 0; i < n; i++) order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = roll(c, i + 1), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
}

static Expr *chance_read(Chance *c) {
    Extent dim[4];
    Position p[4];
    int rank = 1 + roll(c, 3), order[4];
    for (int d = 0; d < rank; d++) p[d] = chance_position(c, &dim[d]);
    shuffle(c, order, rank);
    static const ElementType types[] = {T_REAL, T_REAL, T_REAL, T_U8, T_BOOL, T_I32};
    ElementType type = types[roll(c, 6)];
    int b = make_buffer(&c->m, type, false, rank, dim, roll(c, 2) ? order : NULL);
    Expr *e = make_read(&c->m, b, rank, p);
    return type == T_REAL ? e : expr_cast(c->m.job, T_REAL, e);
}

static Expr *chance_value(Chance *c) {
    Expr *e = chance_read(c);
    for (int i = roll(c, 3); i > 0; i--) {
        static const ScalarOp ops[] = {OP_ADD, OP_SUB, OP_MAX, OP_MIN};
        e = expr_op(c->m.job, ops[roll(c, 4)], e, chance_read(c), NULL);
    }
    return e;
}

static Position target_of(Chance *c, int var, Extent *dim) { // of an accumulating store
    Position p = position_var(var);
    *dim = c->m.k->var[var].extent;
    int kind = roll(c, 4);
    if (kind == 0) {
        p = make_affine(var, 1, roll(c, 5) - 2, true);
    } else if (kind == 1) {
        p = position_const(0);
        p.gather = make_at(&c->m, make_buffer(&c->m, T_I32, false, 1, dim, NULL), 1, &var);
        p.guarded = true;
    } else if (kind == 2) {
        *dim = extent_of(3);
        p.divide = 3;
        p.guarded = true;
    }
    return p;
}

static Kernel *chance_kernel(Suite *t, int real64, uint64_t seed, int *vector) {
    Chance c = {.dice = {seed}};
    for (int i = 0; i < 4; i++) dice_next(&c.dice);
    c.m = make_open(t->arena, t->real[real64], "access");
    Kernel *k = c.m.k;
    int outer = 1 + roll(&c, 3), inner[3], inners = roll(&c, 3), kind = roll(&c, 4);
    for (int i = 0; i < outer; i++) chance_var(&c);
    make_outer(&c.m);
    for (int i = 0; i < inners; i++) inner[i] = chance_var(&c);
    for (int i = 0; i < outer; i++) c.scope[c.scopes++] = i;
    for (int i = 0; i < inners; i++) c.scope[c.scopes++] = inner[i];
    Extent dim[MAX_RANK];
    int at[MAX_RANK], order[MAX_RANK], mixed[MAX_RANK], n = 0;
    *vector = roll(&c, k->vars);
    if (kind == 0 && inners) { // a reduction to a local of rank 0, then its use
        Reduce reduce = (Reduce)(REDUCE_SUM + roll(&c, 6));
        if (reduce == REDUCE_PROD) reduce = REDUCE_SUM;
        bool number = reduce >= REDUCE_ARGMAX;
        int l = make_local(&c.m, number ? T_I32 : T_REAL, 0, NULL);
        make_store(&c.m, 0, inners, inner, reduce, chance_value(&c), l, 0, NULL);
        c.scopes = outer;
        Expr *value = make_read(&c.m, l, 0, NULL);
        if (number) value = expr_cast(c.m.job, T_REAL, value);
        value = expr_op(c.m.job, OP_ADD, value, chance_value(&c), NULL);
        for (int i = 0; i < outer; i++) at[n++] = i;
        shuffle(&c, order, n);
        for (int i = 0; i < n; i++) mixed[i] = at[order[i]], dim[i] = k->var[mixed[i]].extent;
        make_store(&c.m, 0, 0, NULL, REDUCE_NONE, value, make_buffer(&c.m, T_REAL, true, n, dim, NULL), n, mixed);
        return k;
    }
    Expr *value = chance_value(&c);
    if (kind == 1) { // scatter
        Position target[MAX_RANK];
        for (int i = 0; i < c.scopes && n < 3; i++) {
            target[n] = target_of(&c, c.scope[i], &dim[n]);
            n++;
        }
        int out = make_buffer(&c.m, T_REAL, true, n, dim, NULL);
        make_stage(&c.m, inners, inners, inner, REDUCE_NONE, value, out, n, target)->accumulate = true;
        return k;
    }
    for (int i = 0; i < c.scopes; i++) at[n++] = c.scope[i];
    shuffle(&c, order, n);
    for (int i = 0; i < n; i++) mixed[i] = at[order[i]], dim[i] = k->var[mixed[i]].extent;
    shuffle(&c, order, n);
    int out = make_buffer(&c.m, T_REAL, true, n, dim, roll(&c, 2) ? order : NULL);
    make_store(&c.m, inners, inners, inner, REDUCE_NONE, value, out, n, mixed);
    return k;
}

int64_t extent_value(Extent e) {
    return e.axis < 0 ? e.count : e.count * axes[e.axis];
}

static double iterations(const Kernel *k) {
    double n = 1;
    for (int v = 0; v < k->vars; v++) n *= (double)extent_value(k->var[v].extent);
    return n;
}

static void access_cases(Suite *t, int count, uint64_t seed) {
    int made = 0;
    for (int i = 0; made < count && i < 20 * count; i++) {
        int vector, real64 = i % 2;
        Kernel *k = chance_kernel(t, real64, seed * 1000003 + (uint64_t)i * 7919, &vector);
        if (iterations(k) > 2e4 || k->buffer.count >= ROOM) continue;
        const char *wrong = kernel_verify(k, t->real[real64]);
        if (!check(&t->c, wrong == NULL, "access %d: %s", i, wrong)) continue;
        const char *name = arena_format(t->arena, "access%d", i);
        add_case(t, (Case){.name = name, .p = t->real[real64], .k = k, .ulp = 4096}, vector);
        made++;
    }
}

// ---- which accesses are wide, and which gathers are reported
typedef struct Wide {
    const char *name;
    int64_t rows, columns; // of the input
    int axis;              // of its columns, or -1
    int order[2];
    int64_t row, column; // offsets
    int gather;          // 0 none, 1 the row by i32 (some outside), 2 the row by u8 (all inside), 3 the column
    bool other;          // the vector goes along the rows
    int loads, width;    // wide loads of which width
    bool guard;          // stm_load_if
} Wide;

static void wide_case(Suite *t, const Wide *w) {
    Make m = make_open(t->arena, t->real[0], w->name);
    Extent columns = w->axis >= 0 ? (Extent){w->columns, w->axis} : extent_of(40), size = {w->columns, w->axis};
    int r = make_var(&m, 8, -1), c = make_var(&m, columns.count, columns.axis), gather = -1;
    make_outer(&m);
    Extent dim[2] = {extent_of(w->rows), size}, target[2] = {extent_of(8), columns};
    int x = make_buffer(&m, T_REAL, false, 2, dim, w->order);
    Position at[2] = {make_affine(r, 1, w->row, true), make_affine(c, 1, w->column, true)};
    if (w->gather == 3) gather = make_buffer(&m, T_I32, false, 1, &columns, NULL);
    else if (w->gather) gather = make_buffer(&m, w->gather == 1 ? T_I32 : T_U8, false, 1, target, NULL);
    if (w->gather) {
        int which = w->gather == 3;
        at[which] = position_const(0);
        at[which].guarded = true;
        at[which].gather = make_at(&m, gather, 1, which ? &c : &r);
    }
    Expr *value = make_read(&m, x, 2, at);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, value, make_buffer(&m, T_REAL, true, 2, target, NULL), 2, (int[]){r, c});
    const char *wrong = kernel_verify(m.k, m.p);
    if (!check(&t->c, wrong == NULL, "%s: %s", w->name, wrong)) return;
    int vector = w->other ? r : c, found = 0;
    Text text = {.arena = t->arena};
    if (!check(&t->c, plain_vectors(t->arena, m.p, m.k, vector, w->width), "%s has no vector", w->name)) return;
    plain_function(&text, m.p, m.k, w->name, vector, w->width);
    const char *word = arena_format(t->arena, "stm_load%s<%d>(", w->guard ? "_if" : "", w->width);
    for (const char *f = strstr(text.at, word); f; f = strstr(f + 1, word)) found++;
    check(&t->c, found == w->loads, "%s: %d of %s, expected %d:\n%s", w->name, found, word, w->loads, text.at);
    add_case(
        t,
        (Case){.name = w->name, .p = m.p, .k = m.k, .outside = w->gather == 1 || w->gather == 3 ? REPORT : NO_REPORT},
        vector);
}

static void wide_cases(Suite *t) {
    static const Wide cases[] = {
        {"wide_plain", 8, 40, -1, {0, 1}, 0, 0, 0, false, 1, 4, false},
        {"wide_odd_rows", 8, 41, -1, {0, 1}, 0, 0, 0, false, 0, 4, false},
        {"wide_two", 8, 42, -1, {0, 1}, 0, 0, 0, false, 1, 2, false},
        {"wide_not_four", 8, 42, -1, {0, 1}, 0, 0, 0, false, 0, 4, false},
        {"wide_offset", 8, 48, -1, {0, 1}, 0, 4, 0, false, 1, 4, false},
        {"wide_off_by_two", 8, 48, -1, {0, 1}, 0, 2, 0, false, 0, 4, false},
        {"wide_eight", 8, 40, -1, {0, 1}, 0, 0, 0, false, 1, 8, false},
        {"wide_guarded_row", 8, 40, -1, {0, 1}, -1, 0, 0, false, 1, 4, true},
        {"wide_guarded_column", 8, 40, -1, {0, 1}, 0, -4, 0, false, 0, 4, true},
        {"wide_transposed", 8, 40, -1, {1, 0}, 0, 0, 0, false, 0, 4, false},
        {"wide_transposed_rows", 8, 40, -1, {1, 0}, 0, 0, 0, true, 1, 4, false},
        {"wide_dynamic", 9, 1, 0, {0, 1}, 1, 0, 0, false, 0, 4, false},
        {"wide_dynamic_even", 9, 4, 0, {0, 1}, 1, 0, 0, false, 1, 4, false},
        {"wide_gathered_row", 7, 40, -1, {0, 1}, 0, 0, 1, false, 1, 4, true},
        {"wide_gathered_inside", 256, 40, -1, {0, 1}, 0, 0, 2, false, 1, 4, true},
        {"wide_gathered_odd", 7, 42, -1, {0, 1}, 0, 0, 1, false, 0, 4, true},
        {"wide_gathered_column", 8, 7, -1, {0, 1}, 0, 0, 3, false, 0, 4, true},
    };
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        Wide w = cases[i];
        wide_case(t, &w);
    }
}

// A read that an affine position puts outside gathers nothing.
static void silent_case(Suite *t) {
    Make m = make_open(t->arena, t->real[0], "silent");
    int v = make_var(&m, 16, -1);
    make_outer(&m);
    Extent n = extent_of(16), dim[2] = {extent_of(3), extent_of(2)};
    int index = make_buffer(&m, T_I32, false, 1, &n, NULL), x = make_buffer(&m, T_REAL, false, 2, dim, NULL);
    Position at[2] = {make_affine(v, 1, 3, true), position_const(0)};
    at[1].gather = make_at(&m, index, 1, &v);
    at[1].guarded = true;
    Expr *value = make_read(&m, x, 2, at);
    make_store(&m, 0, 0, NULL, REDUCE_NONE, value, make_buffer(&m, T_REAL, true, 1, &n, NULL), 1, &v);
    add_case(t, (Case){.name = "silent", .p = m.p, .k = m.k, .outside = NO_REPORT}, v);
}

// ---- all
void suite_cases(Suite *t, int count, uint64_t seed) {
#define X(name, text, arity, result, differentiable) primitive(t, OP_##name, text, arity, #result[0]);
    SCALAR_OPS(X)
#undef X
    leaves(t);
    bf16_cases(t);
    random_cases(t);
    wide_cases(t);
    silent_case(t);
    access_cases(t, count, seed);
#define X(name, text, arity, result, differentiable)                                                                   \
    check(&t->c, t->tested[OP_##name], "the primitive " text " has no test");
    SCALAR_OPS(X)
#undef X
}
