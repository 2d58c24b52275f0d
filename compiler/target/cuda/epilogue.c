// The later stages of a contraction as a functor that kernels/contract.cuh calls with finished sums.
//
// Layers of different sizes share one text: an access whose element number is a sum of strides goes through a pattern,
// a base and strides in the words of the launch. For the emitter of expressions such an access is one of a buffer with
// a single dimension at `q + s * n`, q an extra variable that the functor computes from the words and n the innermost
// index of N, along which four neighbours are done at once. Arguments of sums and products are put into an order that
// does not depend on the numbers of buffers, and buffers are named by first use. Everything else (divided or gathered
// positions, random numbers) is written with the numbers of the layer.
#include "target/cuda/contraction.h"

#include "target/cuda/expr.h"
#include "target/cuda/hash.h"

#include <stdlib.h>
#include <string.h>

enum {
    ALIAS_ELEMENTS = 1 << 30,
    PATTERN_VALUES = 1 << 27,
    MOST_ALONG =
        16, // longer steps between neighbours are a layer's own (its pixels): such an epilogue does one at a time
};

typedef struct Pattern {
    ContractResult strides; // without the innermost index of N
    int64_t along;          // stride of that index
    bool four;              // all else is a multiple of 4
    bool flat[GROUP_K]; // B, M, N: the indices of the group walk it like one flat number (N: none but the innermost)
    bool used[GROUP_K];
} Pattern;

typedef struct Making {
    const Contraction *c;
    Arena *arena;
    Kernel *kernel; // what the emitter sees
    Nest nest;
    int alias[MAX_VARS * 4]; // of buffers, or -1
    bool literal;            // no patterns: random numbers are keyed by where a stage stores
    bool indices;            // the values of indices are needed themselves
    int inner;               // innermost variable of N, or -1
    Pattern pattern[EPILOGUE_PATTERNS];
    int pattern_var[EPILOGUE_PATTERNS];
    const Expr **copy; // by id in the contraction's nest
    uint64_t *hash;
    Epilogue *out;
} Making;

// ---- patterns
static bool multiple_of_4(const Pattern *p) {
    bool all = p->strides.base % 4 == 0;
    for (int i = 0; i < CONTRACT_INDICES; i++)
        all = all && p->strides.batch[i] % 4 == 0 && p->strides.m[i] % 4 == 0 && p->strides.n[i] % 4 == 0;
    return all;
}

// Do the strides of a group's indices make its flat number times the last one?
static bool is_flat(const Contraction *c, Group group, const int *stride) {
    int n = c->vars[group];
    for (int i = 0; i + 1 < n; i++) {
        int at = CONTRACT_INDICES - n + i;
        if (stride[at] != stride[at + 1] * c->nest.var[c->var[group][i + 1]].extent.k) return false;
    }
    return true;
}

// The pattern of an access, or -1: it is written out.
static int pattern_of(Making *g, int tensor, int rank, const Position *position) {
    Access at;
    Pattern p = {0};
    if (g->literal || contraction_access(g->c, tensor, rank, position, &at) || words_strides(g->c, &at, &p.strides))
        return -1;
    if (g->inner >= 0) {
        p.along = p.strides.n[CONTRACT_INDICES - 1];
        p.strides.n[CONTRACT_INDICES - 1] = 0;
    }
    p.four = multiple_of_4(&p);
    const int *stride[] = {p.strides.batch, p.strides.m, p.strides.n};
    for (int i = 0; i < GROUP_K; i++) {
        p.flat[i] = (i != GROUP_N || g->inner < 0) && is_flat(g->c, (Group)i, stride[i]);
        for (int j = 0; j < CONTRACT_INDICES; j++) p.used[i] = p.used[i] || stride[i][j];
    }
    for (int i = 0; i < g->out->patterns; i++)
        if (!memcmp(&g->pattern[i], &p, sizeof p)) return i;
    if (g->out->patterns == EPILOGUE_PATTERNS || g->kernel->vars == 2 * MAX_VARS) return -1;
    int n = g->out->patterns++, v = g->kernel->vars++;
    g->pattern[n] = p;
    g->pattern_var[n] = v;
    g->kernel->var[v] = (Variable){"at", extent_of(p.four ? PATTERN_VALUES : ALIAS_ELEMENTS / 2)};
    return n;
}

static int alias_of(Making *g, int buffer) {
    if (g->alias[buffer] >= 0) return g->alias[buffer];
    KernelBuffer b = g->kernel->buffer.at[buffer];
    b.rank = 1;
    b.dim[0] = extent_of(ALIAS_ELEMENTS);
    b.order[0] = 0;
    g->alias[buffer] = g->kernel->buffer.count;
    vec_push(g->arena, &g->kernel->buffer, b);
    return g->alias[buffer];
}

static Position *pattern_position(Making *g, int pattern) {
    Position *x = NEW(g->arena, Position);
    const Pattern *p = &g->pattern[pattern];
    *x = (Position){.divide = 1, .terms = 1};
    x->term[0] = (Term){g->pattern_var[pattern], p->four ? 4 : 1};
    if (!p->along) return x;
    x->term[1] = x->term[0]; // sorted: the pattern's variable is the newer one
    x->term[0] = (Term){g->inner, p->along};
    x->terms = 2;
    return x;
}

// ---- expressions
// What a node looks like, whatever its buffers are called and however large the layer is: for the order of arguments.
static uint64_t node_hash(Making *g, const Expr *e) {
    const Nest *nest = &g->c->nest;
    uint64_t arg[3] = {0};
    for (int i = 0; i < e->arity; i++) arg[i] = g->hash[nest_expr(nest, e->arg[i])];
    if ((e->op == OP_ADD || e->op == OP_MUL) && arg[0] > arg[1]) {
        uint64_t swap = arg[0];
        arg[0] = arg[1];
        arg[1] = swap;
    }
    int64_t own[] = {e->op,
                     e->type,
                     e->op == OP_INDEX ? e->var : 0,
                     e->op == OP_EXTENT || e->op == OP_RANDOM ? e->extent.count + 7919 * e->extent.axis : 0,
                     e->op == OP_RANDOM ? (int64_t)e->place : 0,
                     e->op == OP_READ && e->tensor < 0 ? e->tensor : 0};
    uint64_t h = hash_bytes(hash_bytes(0, own, sizeof own), arg, sizeof arg);
    if (e->op == OP_CONST) h = hash_bytes(h, &e->number, sizeof e->number);
    if (e->op != OP_READ || e->tensor < 0) return h;
    Access at;
    ContractResult strides;
    bool sum = !g->literal && !contraction_access(g->c, e->tensor, e->rank, e->position, &at) &&
               !words_strides(g->c, &at, &strides);
    int64_t shape[3 + 3] = {g->kernel->buffer.at[e->tensor].type, sum};
    for (int v = 0; sum && v < g->c->kernel->outer; v++)
        if (at.stride[v].k) shape[2 + g->c->group[v]]++;
    if (!sum) shape[5] = e->rank;
    return hash_bytes(h, shape, sizeof shape);
}

static const Expr *copied(Making *g, const Expr *e);

static Position *copied_positions(Making *g, int rank, const Position *from) {
    Position *to = arena_copy(g->arena, from, sizeof *from * (size_t)(rank ? rank : 1));
    for (int d = 0; d < rank; d++) {
        if (to[d].gather) to[d].gather = (Expr *)copied(g, to[d].gather);
        for (int t = 0; !to[d].gather && t < to[d].terms; t++) g->indices = true;
    }
    return to;
}

static const Expr *copied(Making *g, const Expr *e) {
    const Nest *nest = &g->c->nest;
    int id = nest_expr(nest, e);
    if (g->copy[id]) return g->copy[id];
    Expr *copy = NEW(g->arena, Expr);
    *copy = *e;
    int first = 0;
    if ((e->op == OP_ADD || e->op == OP_MUL) &&
        g->hash[nest_expr(nest, e->arg[0])] > g->hash[nest_expr(nest, e->arg[1])])
        first = 1;
    for (int i = 0; i < e->arity; i++) copy->arg[i] = (Expr *)copied(g, e->arg[i ^ first]);
    if (e->op == OP_INDEX || e->op == OP_RANDOM) g->indices = true;
    if (e->op == OP_READ && e->tensor >= 0) {
        int pattern = pattern_of(g, e->tensor, e->rank, e->position);
        if (pattern >= 0) {
            copy->tensor = alias_of(g, e->tensor);
            copy->rank = 1;
            copy->position = pattern_position(g, pattern);
        } else {
            copy->position = copied_positions(g, e->rank, e->position);
        }
    }
    g->copy[id] = copy;
    return copy;
}

static void copy_stages(Making *g) {
    const Contraction *c = g->c;
    const Kernel *from = c->kernel;
    for (int i = 0; i < c->nest.exprs; i++) {
        g->literal = g->literal || c->nest.expr[i].expr->op == OP_RANDOM;
    }
    for (int i = 0; i < c->nest.exprs; i++) g->hash[i] = node_hash(g, c->nest.expr[i].expr);
    for (int s = 1; s < from->stage.count; s++) {
        Stage stage = from->stage.at[s];
        stage.value = (Expr *)copied(g, stage.value);
        if (stage.dest >= 0) {
            int pattern = pattern_of(g, stage.dest, stage.rank, stage.target);
            if (pattern >= 0) {
                stage.dest = alias_of(g, stage.dest);
                stage.rank = 1;
                stage.target = pattern_position(g, pattern);
            } else {
                stage.target = copied_positions(g, stage.rank, stage.target);
            }
        }
        vec_push(g->arena, &g->kernel->stage, stage);
    }
}

// ---- text
static void dot(Text *t, const Contraction *c, const Pattern *p, int number, Group group) {
    static const char *const member[] = {"batch", "m", "n"}, *const flat[] = {"b", "m", "n"},
                             *const index[] = {"ib", "im", "in"};
    if (!p->used[group]) return;
    if (p->flat[group]) text_add(t, " + w.p[%d].%s[3] * %s", number, member[group], flat[group]);
    else text_add(t, " + contract_dot<%d>(w.p[%d].%s, %s)", c->vars[group], number, member[group], index[group]);
}

static void write_indices(const Making *g, CudaScope *s) {
    static const char *const member[] = {"batch", "m", "n"}, *const index[] = {"ib", "im", "in"};
    const Contraction *c = g->c;
    for (int i = 0; i < GROUP_K; i++) {
        bool needed = g->indices || (i == GROUP_N && g->inner >= 0 && c->vars[i] > 1);
        for (int p = 0; p < g->out->patterns; p++) needed = needed || (g->pattern[p].used[i] && !g->pattern[p].flat[i]);
        if (!needed || c->vars[i] == 0) continue;
        scope_line(s, "int %s[4];", index[i]);
        scope_line(s, "contract_indices<%d>(w.c.%s, %.1s, %s);", c->vars[i], member[i], member[i], index[i]);
        for (int j = 0; j < c->vars[i]; j++)
            s->var[c->var[i][j]] = arena_format(g->arena, "%s[%d]", index[i], CONTRACT_INDICES - c->vars[i] + j);
    }
    if (g->inner >= 0 && c->vars[GROUP_N] == 1) s->var[g->inner] = "n";
    for (int p = 0; p < g->out->patterns; p++) {
        Text t = {.arena = g->arena};
        text_add(&t, "const int at%d = (int)w.p[%d].base", p, p);
        for (int i = 0; i < GROUP_K; i++) dot(&t, c, &g->pattern[p], p, (Group)i);
        scope_line(s, "%s;", t.at);
        s->var[g->pattern_var[p]] = arena_format(g->arena, g->pattern[p].four ? "(at%d >> 2)" : "at%d", p);
    }
}

static bool four_at_once(const Making *g) {
    const Contraction *c = g->c;
    if (g->inner < 0) return false;
    Mono m = c->nest.var[g->inner].extent; // every four neighbours are four values of the innermost index
    return m.k % 4 == 0;
}

static void add_buffer(Making *g, int buffer) {
    const Kernel *k = g->kernel;
    Epilogue *out = g->out;
    for (int i = 0; i < out->buffers; i++)
        if (out->buffer[i].arg == buffer) return;
    if (out->buffers == EPILOGUE_BUFFERS) DIE("an epilogue of more than %d buffers", EPILOGUE_BUFFERS);
    const KernelBuffer *b = &k->buffer.at[buffer];
    out->buffer[out->buffers] = (Parameter){arena_format(g->arena, b->is_written ? "%s *" : "const %s *__restrict__ ",
                                                         cuda_type(g->c->unit->program, b->type)),
                                            arena_format(g->arena, "x%d", out->buffers), buffer};
    out->buffers++;
}

// Buffers in the order of first use: what is named x0, x1, ... in the text.
static void name_buffers(Making *g, const Expr *e, bool *seen) {
    if (e->op == OP_READ && e->tensor < 0) return;
    for (int i = 0; i < g->c->nest.exprs; i++)
        if (g->copy[i] == e) {
            if (seen[i]) return;
            seen[i] = true;
            break;
        }
    for (int i = 0; i < e->arity; i++) name_buffers(g, e->arg[i], seen);
    for (int d = 0; e->op == OP_READ && d < e->rank; d++)
        if (e->position[d].gather) name_buffers(g, e->position[d].gather, seen);
    if (e->op != OP_READ) return;
    int buffer = e->tensor;
    for (int b = 0; b < g->c->kernel->buffer.count; b++)
        if (g->alias[b] == e->tensor) buffer = b;
    add_buffer(g, buffer);
}

static int original_of(const Making *g, int buffer) {
    for (int b = 0; b < g->c->kernel->buffer.count; b++)
        if (g->alias[b] == buffer) return b;
    return buffer;
}

static const char *make_epilogue(const Contraction *c, const char *value, bool single, Epilogue *out, bool *far) {
    Arena *arena = c->unit->arena;
    const Kernel *from = c->kernel;
    Making making = {.c = c, .arena = arena, .out = out}, *g = &making;
    if (from->buffer.count > EPILOGUE_BUFFERS) return "the epilogue has too many buffers";
    *out = (Epilogue){.width = 1};
    g->inner = c->vars[GROUP_N] && !single ? c->var[GROUP_N][c->vars[GROUP_N] - 1] : -1;
    g->copy = NEW_ARRAY(arena, const Expr *, c->nest.exprs + 1);
    g->hash = NEW_ARRAY(arena, uint64_t, c->nest.exprs + 1);
    for (int i = 0; i < MAX_VARS * 4; i++) g->alias[i] = -1;
    g->kernel = arena_copy(arena, from, sizeof *from);
    g->kernel->buffer.at = NULL;
    g->kernel->buffer.count = g->kernel->buffer.room = 0;
    g->kernel->stage.at = NULL;
    g->kernel->stage.count = g->kernel->stage.room = 0;
    for (int i = 0; i < from->buffer.count; i++) vec_push(arena, &g->kernel->buffer, from->buffer.at[i]);
    copy_stages(g);
    for (int i = 0; i < out->patterns; i++) *far = *far || llabs(g->pattern[i].along) > MOST_ALONG;
    g->nest.unmerged = true;
    g->nest.chunked = g->nest.chunk = -1;
    const char *error = nest_init(arena, c->nest.program, g->kernel, c->nest.name, &g->nest);
    if (error) return error;
    for (int v = 0; v < from->vars; v++) g->nest.var[v] = c->nest.var[v];
    out->width = four_at_once(g) ? 4 : 1;
    for (int i = 0; i < out->patterns; i++) out->pattern[i] = g->pattern[i].strides;

    bool *seen = NEW_ARRAY(arena, bool, c->nest.exprs + 1);
    for (int s = 0; s < g->kernel->stage.count; s++) {
        const Stage *stage = &g->kernel->stage.at[s];
        name_buffers(g, stage->value, seen);
        if (stage->dest >= 0) add_buffer(g, original_of(g, stage->dest));
    }
    if (g->literal)
        for (int i = 0; i < 2; i++) {
            int scalar = i ? from->scalar_step : from->scalar_seed;
            if (scalar >= 0) add_buffer(g, scalar);
        }
    Text body = {.arena = arena};
    CudaScope scope;
    scope_init(&scope, &g->nest, &body);
    scope.indent = 2;
    for (int v = 0; v < g->kernel->vars; v++) scope.var[v] = NULL;
    for (int i = 0; i < g->kernel->buffer.count; i++)
        for (int b = 0; b < out->buffers; b++)
            if (out->buffer[b].arg == original_of(g, i)) scope.buffer[i] = out->buffer[b].name;
    if (out->width == 4) {
        scope.vector = g->inner;
        scope.width = 4;
    }
    write_indices(g, &scope);
    for (int l = 0; l < g->kernel->local.count; l++) {
        Text t = {.arena = arena};
        bool sums = ~l == from->stage.at[0].dest;
        scope.local_vector[l] = out->width == 4;
        text_add(&t, "%s", cuda_value_type(c->unit->program, g->kernel->local.at[l].type));
        for (int i = 0; i < out->width; i++) {
            text_add(&t, "%s %s", i ? "," : "", scope.local[l]);
            if (out->width == 4) text_add(&t, "_%d", i);
            if (!sums) continue;
            if (out->width == 4) text_add(&t, " = v[%d]", i);
            else text_add(&t, " = v");
            if (c->scale == 1) continue;
            text_add(&t, " * (%s)", value);
            text_real(&t, c->scale);
        }
        scope_line(&scope, "%s;", t.at);
    }
    for (int s = 0; s < g->kernel->stage.count; s++) {
        const Stage *stage = &g->kernel->stage.at[s];
        scope_store(&scope, stage, scope_value(&scope, stage, stage->value));
    }
    Text t = {.arena = arena};
    text_add(&t, "struct @_epilogue {\n    static constexpr int width = %d;\n    const @_words &w;\n", out->width);
    for (int i = 0; i < out->buffers; i++) text_add(&t, "    %s%s;\n", out->buffer[i].type, out->buffer[i].name);
    for (int a = 0; a < c->unit->program->axis.count + CUDA_STEP_EXTENTS; a++) {
        if (!scope.extent_used[a]) continue;
        if (out->extents == 8) return "the epilogue depends on too many dynamic extents";
        out->extent[out->extents++] = a;
        text_add(&t, "    int e%d;\n", a);
    }
    text_add(&t, "    unsigned *outside;\n");
    text_add(&t, "    __device__ __forceinline__ void store%s(int b, int m, int n, %s v%s) const {\n",
             out->width == 4 ? "4" : "", out->width == 4 ? arena_format(arena, "const %s", value) : value,
             out->width == 4 ? "[4]" : "");
    text_add(&t, "        (void)b, (void)m, (void)n;\n");
    text_add_bytes(&t, body.at ? body.at : "", body.length);
    text_add(&t, "    }\n};\n");
    out->text = t.at;
    return NULL;
}

const char *contraction_epilogue(const Contraction *c, const char *value, Epilogue *out) {
    bool far = false;
    const char *error = make_epilogue(c, value, false, out, &far);
    return error || !far ? error : make_epilogue(c, value, true, out, &far);
}
