// Reader of the equation form, the inverse of equations_text.c: print, read, print is identical.
// It checks what it needs to build (numbers of tensors, variables, arguments); program_verify checks the rest.
#include "forms/equations.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

static const int8_t op_arity[OP_COUNT] = {
#define X(name, text, arity, result, differentiable) arity,
    SCALAR_OPS(X)
#undef X
};
static const char *const kind_text[] = {"input", "scalar", "param", "state", "temp"};
static const char *const reduce_text[] = {"", "sum", "max", "min", "prod", "argmax", "argmin"};

enum { MAX_DEPTH = 4000 };

// `stop` is where a message leaves to: reading has no other failure.
typedef struct Reader {
    Arena *arena;
    Names *names;
    const char *at;
    int line, depth;
    jmp_buf stop;
    char *error;
    Program *p;
    Job *job;
    Equation *eq;
    VEC(Expr *) shared; // $1 is shared.at[0]
} Reader;

_Noreturn static void fail(Reader *r, const char *expected) {
    int n = 0;
    while (r->at[n] != 0 && r->at[n] != '\n' && n < 24) n++;
    r->error = n == 0 ? arena_format(r->arena, "line %d: the line ends; expected %s", r->line, expected)
                      : arena_format(r->arena, "line %d: found `%.*s`; expected %s", r->line, n, r->at, expected);
    longjmp(r->stop, 1);
}

static void blanks(Reader *r) {
    while (*r->at == ' ' || *r->at == '\t' || *r->at == '\r') r->at++;
}

static bool accept(Reader *r, const char *mark) {
    blanks(r);
    size_t n = strlen(mark);
    if (strncmp(r->at, mark, n) != 0) return false;
    r->at += n;
    return true;
}

static void need(Reader *r, const char *mark) {
    if (!accept(r, mark)) fail(r, arena_format(r->arena, "`%s`", mark));
}

static bool is_letter(char c) {
    return isalpha((unsigned char)c) || c == '_';
}
static bool is_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

static bool accept_word(Reader *r, const char *word) {
    blanks(r);
    size_t n = strlen(word);
    if (strncmp(r->at, word, n) != 0 || is_word(r->at[n])) return false;
    r->at += n;
    return true;
}

static void need_word(Reader *r, const char *word) {
    if (!accept_word(r, word)) fail(r, arena_format(r->arena, "`%s`", word));
}

static const char *word(Reader *r, const char *what) {
    blanks(r);
    if (!is_letter(*r->at)) fail(r, what);
    const char *begin = r->at;
    while (is_word(*r->at)) r->at++;
    return intern(r->names, begin, (size_t)(r->at - begin));
}

static const char *quoted(Reader *r) {
    blanks(r);
    if (*r->at != '"') fail(r, "text in double quotes");
    Text text = {.arena = r->arena};
    for (r->at++; *r->at != '"'; r->at++) {
        if (*r->at == 0 || *r->at == '\n') fail(r, "the closing double quote");
        char c = *r->at;
        if (c == '\\') {
            c = *++r->at;
            if (c == 'n') c = '\n';
            else if (c != '"' && c != '\\') fail(r, "\\\" \\\\ or \\n");
        }
        text_add_bytes(&text, &c, 1);
    }
    r->at++;
    return intern(r->names, text.length > 0 ? text.at : "", text.length);
}

static const char *name(Reader *r) {
    blanks(r);
    if (*r->at == '"') return quoted(r);
    if (!is_letter(*r->at)) fail(r, "a name");
    const char *begin = r->at;
    while (is_word(*r->at) || *r->at == '.' || *r->at == '/') r->at++;
    return intern(r->names, begin, (size_t)(r->at - begin));
}

static int64_t integer(Reader *r) {
    blanks(r);
    char *end;
    errno = 0;
    long long x = strtoll(r->at, &end, 10);
    if (end == r->at || errno != 0 || x > (1LL << 50) || x < -(1LL << 50)) fail(r, "an integer");
    r->at = end;
    return x;
}

static double real(Reader *r) {
    blanks(r);
    char *end;
    double x = strtod(r->at, &end);
    if (end == r->at) fail(r, "a number");
    r->at = end;
    return x;
}

static int small(Reader *r, int low, int high, const char *what) {
    const char *begin = r->at;
    int64_t x = integer(r);
    if (x < low || x > high) {
        r->at = begin;
        fail(r, what);
    }
    return (int)x;
}

static int tensor_number(Reader *r) {
    need(r, "%");
    return small(r, 0, r->p->tensor.count - 1, "the number of a tensor of the table");
}

static int find_axis(Reader *r, const char *axis) {
    for (int i = 0; i < r->p->axis.count; i++)
        if (r->p->axis.at[i].name == axis) return i;
    fail(r, arena_format(r->arena, "a declared axis before this, not %s", axis));
}

// 768, spot, 2*spot
static Extent extent(Reader *r) {
    blanks(r);
    Extent e = {1, -1};
    if (isdigit((unsigned char)*r->at)) {
        e.count = integer(r);
        if (!accept(r, "*")) return e;
    }
    e.axis = find_axis(r, name(r));
    return e;
}

static ElementType type_of_word(const char *s) {
    if (strcmp(s, "f64") == 0) return T_REAL;
    for (int t = 0; t < T_BF16; t++) // bf16 is no type of the equation form
        if (strcmp(s, element_type_name[t]) == 0) return (ElementType)t;
    return T_COUNT;
}

static ElementType type(Reader *r) {
    ElementType t = type_of_word(word(r, "an element type"));
    if (t == T_COUNT) fail(r, "an element type (f32, f64, i32, i64, u8, bool) before this");
    return t;
}

// ---- expressions
static int variable(Reader *r) {
    const char *n = word(r, "an index variable");
    for (int i = 0; i < r->eq->vars; i++)
        if (r->eq->var[i].name == n) return i;
    fail(r, arena_format(r->arena, "a variable of this equation before this, not %s", n));
}

static Expr *expression(Reader *r);

static void term(Reader *r, Position *p, int sign) {
    blanks(r);
    int64_t c = sign;
    if (isdigit((unsigned char)*r->at)) {
        c = sign * integer(r);
        if (!accept(r, "*")) {
            p->offset += c;
            return;
        }
    }
    if (p->terms == 4) fail(r, "at most four variables in one position");
    p->term[p->terms++] = (Term){variable(r), c};
}

static void affine(Reader *r, Position *p) {
    term(r, p, accept(r, "-") ? -1 : 1);
    for (;;) {
        if (accept(r, "+")) term(r, p, 1);
        else if (accept(r, "-")) term(r, p, -1);
        else return;
    }
}

static void divide(Reader *r, Position *p) {
    if (accept(r, "//")) {
        p->divide = integer(r);
    } else if (accept(r, "/")) {
        p->divide = integer(r);
        need(r, "!");
        p->exact = true;
    } else {
        return;
    }
    if (p->divide < 1) fail(r, "a divisor of at least 1 before this");
}

static Position position(Reader *r) {
    Position p = {.divide = 1, .guarded = true};
    if (accept(r, "@")) {
        p.gather = expression(r);
        return p;
    }
    if (accept(r, "(")) {
        if (accept(r, "(")) {
            affine(r, &p);
            need(r, ")");
        } else {
            affine(r, &p);
        }
        divide(r, &p);
        need(r, ")");
        if (p.divide == 1) divide(r, &p);
    } else {
        term(r, &p, accept(r, "-") ? -1 : 1);
        divide(r, &p);
    }
    if (accept(r, "%")) {
        p.modulo = integer(r);
        if (p.modulo < 1) fail(r, "a modulus of at least 1 before this");
    }
    return p;
}

static void positions(Reader *r, const Tensor *t, Position *into) {
    need(r, "[");
    for (int i = 0; i < t->rank; i++) {
        if (i > 0) need(r, ",");
        into[i] = position(r);
    }
    if (!accept(r, "]")) fail(r, arena_format(r->arena, "`]` after the %d positions of tensor %d", t->rank, t->id));
}

static Expr *number(Reader *r) {
    double x = real(r);
    ElementType t = T_REAL;
    if (is_letter(*r->at)) t = type(r);
    return expr_const(r->job, x, t);
}

static Expr *call(Reader *r) {
    const char *begin = r->at, *f = word(r, "an expression");
    need(r, "(");
    Expr *made = NULL;
    if (strcmp(f, "index") == 0) {
        made = expr_index(r->job, variable(r));
    } else if (strcmp(f, "extent") == 0) {
        made = expr_extent(r->job, extent(r));
    } else if (strcmp(f, "random") == 0) {
        int64_t place = integer(r);
        made = expr_random(r->job, (uint32_t)place);
    } else if (type_of_word(f) != T_COUNT) {
        made = expr_cast(r->job, type_of_word(f), expression(r));
    } else {
        int op = 0;
        while (op < OP_COUNT && (op_arity[op] == 0 || op == OP_CAST || strcmp(op_text[op], f) != 0)) op++;
        if (op == OP_COUNT) {
            r->at = begin;
            fail(r, "the name of a primitive");
        }
        Expr *arg[3] = {NULL, NULL, NULL};
        for (int i = 0; i < op_arity[op]; i++) {
            if (i > 0) need(r, ",");
            arg[i] = expression(r);
        }
        made = expr_op(r->job, (ScalarOp)op, arg[0], arg[1], arg[2]);
    }
    need(r, ")");
    return made;
}

static Expr *expression(Reader *r) {
    if (++r->depth > MAX_DEPTH) fail(r, "an expression nested less deeply");
    blanks(r);
    Expr *e;
    if (accept(r, "%")) {
        r->at--;
        const Tensor *t = r->p->tensor.at[tensor_number(r)];
        Position at[MAX_RANK];
        memset(at, 0, sizeof at);
        positions(r, t, at);
        e = expr_read(r->job, t, at, NO_SPAN);
    } else if (accept(r, "$")) {
        int n = small(r, 1, r->shared.count + 1, "the number of a shared expression");
        if (accept(r, "=")) {
            // Inner shared nodes take their numbers first in the text but after this one: keep the slot.
            if (n != r->shared.count + 1) fail(r, "the next number for a shared expression before this");
            vec_push(r->arena, &r->shared, NULL);
            e = expression(r);
            r->shared.at[n - 1] = e;
        } else {
            if (n > r->shared.count || r->shared.at[n - 1] == NULL) fail(r, "a shared expression defined before");
            e = r->shared.at[n - 1];
        }
    } else if (is_letter(*r->at) && strncmp(r->at, "inf", 3) != 0 && strncmp(r->at, "nan", 3) != 0) {
        e = call(r);
    } else {
        e = number(r);
    }
    r->depth--;
    return e;
}

// ---- lines
static int variables(Reader *r, Variable *into, int have) {
    need(r, "[");
    if (accept(r, "]")) return have;
    do {
        if (have == MAX_VARS) fail(r, "at most 16 variables in one equation");
        const char *n = word(r, "an index variable");
        for (int i = 0; i < have; i++)
            if (into[i].name == n) fail(r, "another name before this: the variable is there already");
        need(r, ":");
        into[have++] = (Variable){n, extent(r)};
    } while (accept(r, ","));
    need(r, "]");
    return have;
}

static void value(Reader *r) {
    r->shared.count = 0;
    r->depth = 0;
    r->eq->value = expression(r);
}

static void line_end(Reader *r) {
    blanks(r);
    if (*r->at != '\n' && *r->at != 0) fail(r, "the end of the line");
}

static void precision(Reader *r) {
    if (!accept_word(r, "at")) return;
    blanks(r);
    const char *begin = r->at;
    r->eq->precision = precision_of_word(word(r, "a precision"));
    if (r->eq->precision != PRECISION_MODEL) return;
    r->at = begin;
    fail(r, "f32, tf32 or bf16");
}

static void where(Reader *r) {
    precision(r);
    if (!accept(r, "#")) return;
    blanks(r);
    const char *begin = r->at;
    while (*r->at != 0 && *r->at != '\n') r->at++;
    if (r->at > begin) r->eq->where = intern(r->names, begin, (size_t)(r->at - begin));
}

static void compute_or_view(Reader *r) {
    const Tensor *out = r->p->tensor.at[tensor_number(r)];
    if (accept(r, "=")) {
        r->eq = job_equation(r->job, EQ_VIEW, out, NO_SPAN);
        need_word(r, "view");
        const Tensor *from = r->p->tensor.at[tensor_number(r)];
        Position zero[MAX_RANK];
        memset(zero, 0, sizeof zero);
        for (int i = 0; i < MAX_RANK; i++) zero[i] = position_const(0);
        r->eq->value = expr_read(r->job, from, zero, NO_SPAN);
        return;
    }
    r->eq = job_equation(r->job, EQ_COMPUTE, out, NO_SPAN);
    r->eq->free = r->eq->vars = variables(r, r->eq->var, 0);
    need(r, "=");
    blanks(r);
    for (int k = REDUCE_SUM; k <= REDUCE_ARGMIN; k++) {
        size_t n = strlen(reduce_text[k]);
        if (strncmp(r->at, reduce_text[k], n) != 0 || r->at[n] != '[') continue;
        r->at += n;
        r->eq->reduce = (Reduce)k;
        r->eq->vars = variables(r, r->eq->var, r->eq->free);
        break;
    }
    value(r);
}

// The variables stand at the end of the line and are needed first.
static void scatter(Reader *r) {
    const Tensor *out = r->p->tensor.at[tensor_number(r)];
    r->eq = job_equation(r->job, EQ_SCATTER, out, NO_SPAN);
    const char *begin = r->at, *over = NULL;
    for (const char *s = begin; *s != 0 && *s != '\n' && *s != '#'; s++)
        if (strncmp(s, " over [", 7) == 0) over = s;
    if (over == NULL) fail(r, "`over [variables]` in this line");
    r->at = over + 6;
    r->eq->vars = variables(r, r->eq->var, 0);
    const char *end = r->at;
    r->at = begin;
    r->shared.count = 0;
    positions(r, out, r->eq->target);
    need(r, "+=");
    value(r);
    if (r->at != over) fail(r, "`over`");
    r->at = end;
}

static void job(Reader *r) {
    r->job = program_job(r->p, name(r));
    line_end(r);
    for (;;) {
        blanks(r);
        if (*r->at == 0) fail(r, "`end` of the job");
        if (*r->at == '\n') {
            r->at++;
            r->line++;
            continue;
        }
        if (accept_word(r, "end")) return;
        if (*r->at == '%') {
            compute_or_view(r);
            where(r);
        } else if (accept_word(r, "scatter")) {
            scatter(r);
            where(r);
        } else if (accept_word(r, "update")) {
            Update u = {.target = tensor_number(r)};
            need(r, "<-");
            u.source = tensor_number(r);
            vec_push(r->arena, &r->job->update, u);
        } else if (accept_word(r, "gradient")) {
            Update u = {.source = tensor_number(r)};
            need_word(r, "of");
            u.target = tensor_number(r);
            vec_push(r->arena, &r->job->gradient, u);
        } else if (accept_word(r, "loss")) {
            r->job->loss = tensor_number(r);
        } else if (accept_word(r, "output")) {
            JobOutput o = {.name = name(r)};
            o.tensor = tensor_number(r);
            vec_push(r->arena, &r->job->output, o);
        } else {
            fail(r, "an equation, scatter, update, gradient, loss, output or end");
        }
        line_end(r);
    }
}

static void axis(Reader *r) {
    small(r, r->p->axis.count, r->p->axis.count, "the next number for an axis");
    Axis a = {.name = name(r), .span = NO_SPAN};
    a.dynamic = accept_word(r, "dynamic");
    a.count = integer(r);
    a.from_data = accept_word(r, "from_data");
    if (accept_word(r, "doc")) a.doc = quoted(r);
    vec_push(r->arena, &r->p->axis, a);
}

static void tensor(Reader *r) {
    small(r, r->p->tensor.count, r->p->tensor.count, "the next number for a tensor");
    const char *k = word(r, "a kind of tensor");
    int kind = 0;
    while (kind <= TENSOR_TEMP && strcmp(kind_text[kind], k) != 0) kind++;
    if (kind > TENSOR_TEMP) fail(r, "input, scalar, param, state or temp before this");
    ElementType t = type(r);
    const char *n = name(r);
    Extent dim[MAX_RANK];
    int axis_of[MAX_RANK], rank = 0;
    need(r, "[");
    while (!accept(r, "]")) {
        if (rank == MAX_RANK) fail(r, "at most 8 dimensions");
        blanks(r);
        axis_of[rank] = -1;
        if (isdigit((unsigned char)*r->at)) {
            dim[rank] = extent(r);
        } else {
            int a = axis_of[rank] = find_axis(r, name(r));
            const Axis *declared = &r->p->axis.at[a];
            if (accept(r, "=")) dim[rank] = extent(r);
            else dim[rank] = declared->dynamic ? (Extent){1, a} : extent_of(declared->count);
        }
        rank++;
    }
    Tensor *made = program_tensor(r->p, (TensorKind)kind, n, t, rank, dim);
    for (int i = 0; i < rank; i++) made->axis[i] = axis_of[i];
    if (accept_word(r, "dataset")) made->dataset = quoted(r);
    made->weight = accept_word(r, "weight");
    if (accept_word(r, "init")) made->init = small(r, 0, INT32_MAX, "the number of a tensor");
    if (accept_word(r, "order"))
        for (int i = 0; i < rank; i++) made->order[i] = small(r, 0, rank - 1, "the number of a dimension");
}

static void setting(Reader *r) {
    Setting s = {.name = name(r), .scalar = -1};
    if (accept_word(r, "text")) {
        s.is_text = true;
        s.text = quoted(r);
    } else {
        s.is_integer = accept_word(r, "integer");
        if (!s.is_integer) need_word(r, "real");
        s.value = real(r);
        need_word(r, "in");
        s.low = real(r);
        s.high = real(r);
    }
    if (accept_word(r, "scalar")) s.scalar = small(r, 0, r->p->tensor.count - 1, "the number of a tensor");
    if (accept_word(r, "doc")) s.doc = quoted(r);
    vec_push(r->arena, &r->p->setting, s);
}

static void train(Reader *r) {
    TrainPlan *t = &r->p->train;
    need_word(r, "epochs");
    t->epochs = integer(r);
    need_word(r, "batch");
    t->batch = integer(r);
    need_word(r, "patience");
    t->patience = integer(r);
    t->shuffle = accept_word(r, "shuffle");
    t->keep_last = accept_word(r, "keep_last");
    t->maximise = accept_word(r, "maximise");
    if (accept_word(r, "monitor")) t->monitor = name(r);
    if (accept_word(r, "split")) t->split = name(r);
    if (accept_word(r, "compare")) t->compare = name(r);
    if (accept_word(r, "with")) t->with = name(r);
}

static void line(Reader *r) {
    if (accept_word(r, "axis")) axis(r);
    else if (accept_word(r, "tensor")) tensor(r);
    else if (accept_word(r, "setting")) setting(r);
    else if (accept_word(r, "train")) train(r);
    else if (accept_word(r, "job")) job(r);
    else if (accept_word(r, "random")) {
        need_word(r, "seed");
        r->p->scalar_seed = small(r, -1, r->p->tensor.count - 1, "the number of a tensor");
        need_word(r, "step");
        r->p->scalar_step = small(r, -1, r->p->tensor.count - 1, "the number of a tensor");
    } else if (accept_word(r, "option")) {
        Option o = {.name = name(r)};
        o.value = quoted(r);
        if (accept_word(r, "doc")) o.doc = quoted(r);
        vec_push(r->arena, &r->p->option, o);
    } else if (accept_word(r, "prepare")) {
        Prepare p = {.name = name(r)};
        p.value = quoted(r);
        vec_push(r->arena, &r->p->prepare, p);
    } else {
        fail(r, "axis, tensor, random, setting, option, prepare, train or job");
    }
}

static void whole(Reader *r) {
    need_word(r, "program");
    r->p->name = name(r);
    r->p->real64 = accept_word(r, "f64");
    if (!r->p->real64) need_word(r, "f32");
    if (accept_word(r, "doc")) r->p->doc = quoted(r);
    for (;;) {
        line_end(r);
        if (*r->at == 0) return;
        r->at++;
        r->line++;
        blanks(r);
        if (*r->at != '\n' && *r->at != 0) line(r);
    }
}

Program *program_read(Arena *arena, Names *names, const char *text, size_t length, char **error) {
    Reader *r = NEW(arena, Reader); // on the arena: nothing of it is lost by longjmp
    char *copy = arena_alloc(arena, length + 1);
    if (length > 0) memcpy(copy, text, length);
    *r = (Reader){.arena = arena, .names = names, .at = copy, .line = 1};
    r->p = NEW(arena, Program);
    r->p->arena = arena;
    r->p->names = names;
    r->p->scalar_seed = r->p->scalar_step = -1;
    if (setjmp(r->stop) != 0) {
        *error = r->error;
        return NULL;
    }
    whole(r);
    *error = NULL;
    return r->p;
}
