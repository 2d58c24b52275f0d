// See expr_plain.h.
#include "expr_plain.h"

#include <string.h>

enum { LOCAL_AT = 5 }; // arrays of locals begin here

typedef struct Plain {
    CudaScope s;
    const Nest *nest;
    const Kernel *k;
    int vector, width;
} Plain;

static int64_t step_of(const Plain *f, int var) {
    return var == f->vector ? f->width : 1;
}

static void open_loop(Plain *f, int var) {
    CudaScope *s = &f->s;
    const char *name = arena_format(s->out->arena, "v%d", var), *n = scope_mono(s, f->nest->var[var].extent, false);
    s->var[var] = name;
    scope_open(s, "for (int %s = 0; %s < %s; %s += %d)", name, name, n, name, (int)step_of(f, var));
    if (var == f->vector) s->vector = var, s->width = f->width;
}

static void close_loop(Plain *f, int var) {
    scope_close(&f->s);
    f->s.var[var] = NULL;
    if (var == f->vector) f->s.vector = -1, f->s.width = 1;
}

static uint64_t bits_of(const int *var, int count) {
    uint64_t bits = 0;
    for (int i = 0; i < count; i++) bits |= (uint64_t)1 << var[i];
    return bits;
}

static bool is_arg(const Stage *stage) {
    return stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN;
}

// Row-major number of the reduced variables.
static const char *reduced_number(Plain *f, const Stage *stage) {
    CudaScope *s = &f->s;
    Text t = {.arena = s->out->arena};
    Mono m = mono_of(1);
    text_add(&t, "0");
    for (int i = stage->vars - 1; i >= stage->free; i--) {
        if (!f->nest->var[stage->var[i]].gone)
            text_add(&t, " + %s * %s", s->var[stage->var[i]], scope_mono(s, m, false));
        mono_multiply(m, mono_extent(f->k->var[stage->var[i]].extent), &m);
    }
    return t.at;
}

static void reduce_stage(Plain *f, const Stage *stage) {
    CudaScope *s = &f->s;
    const Program *p = f->nest->program;
    ElementType type = stage->value->type;
    const char *t = cuda_value_type(p, type), *identity = cuda_reduce_identity(p, stage->reduce, type);
    const char *sum = scope_name(s, "a"), *number = scope_name(s, "n");
    bool reduced_lanes = f->vector >= 0 && nest_group(f->k, stage, f->vector) == 3;
    int lanes = reduced_lanes ? f->width : s->width;
    CudaValue result = {.lanes = lanes};
    for (int i = 0; i < lanes; i++) {
        result.lane[i] = arena_format(s->out->arena, "%s_%d", is_arg(stage) ? number : sum, i);
        scope_line(s, "%s %s_%d = %s;", t, sum, i, identity);
        if (is_arg(stage)) scope_line(s, "int %s_%d = 0;", number, i);
    }
    int opened[MAX_VARS], n = 0;
    scope_hoist(s, stage, stage->value, bits_of(stage->var + stage->free, stage->vars - stage->free));
    for (int i = stage->free; i < stage->vars; i++)
        if (!f->nest->var[stage->var[i]].gone) open_loop(f, opened[n++] = stage->var[i]);
    CudaValue v = scope_value(s, stage, stage->value);
    for (int i = 0; i < lanes; i++) {
        const char *x = v.lane[v.lanes == 1 ? 0 : i], *a = arena_format(s->out->arena, "%s_%d", sum, i);
        if (is_arg(stage)) {
            const char *here = arena_format(s->out->arena, "(%s)", reduced_number(f, stage));
            const char *best = arena_format(s->out->arena, "%s_%d", number, i);
            scope_line(s, "if (%s) %s = %s, %s = %s;",
                       cuda_reduce_beats(s, stage->reduce, type, x, i % 2 ? here : NULL, a, best), best, here, a, x);
        } else {
            scope_line(s, "%s = %s;", a, cuda_reduce_combine(s, stage->reduce, type, a, x));
        }
    }
    while (n > 0) close_loop(f, opened[--n]);
    if (reduced_lanes) { // one result
        for (int i = 1; i < lanes; i++)
            scope_line(s, "%s_0 = %s;", sum,
                       cuda_reduce_combine(s, stage->reduce, type, result.lane[0], result.lane[i]));
        result.lanes = 1;
    }
    scope_store(s, stage, result);
}

static void run_stage(Plain *f, const Stage *stage) {
    CudaScope *s = &f->s;
    int opened[MAX_VARS], n = 0;
    uint64_t all = bits_of(stage->var, stage->vars);
    if (stage->free) scope_hoist(s, stage, stage->value, all);
    for (int i = 0; i < stage->free; i++)
        if (!f->nest->var[stage->var[i]].gone) open_loop(f, opened[n++] = stage->var[i]);
    if (stage->reduce == REDUCE_NONE) scope_store(s, stage, scope_value(s, stage, stage->value));
    else reduce_stage(f, stage);
    while (n > 0) close_loop(f, opened[--n]);
}

static void declare_locals(Plain *f) {
    CudaScope *s = &f->s;
    for (int i = 0; i < f->k->local.count; i++) {
        const KernelLocal *l = &f->k->local.at[i];
        const char *type = cuda_value_type(f->nest->program, l->type);
        if (l->rank > 0) {
            Mono size = mono_of(1);
            for (int d = 0; d < l->rank; d++) mono_multiply(size, mono_extent(l->dim[d]), &size);
            scope_line(s, "%s %s[%lld];", type, s->local[i], (long long)(size.k * (size.axes ? 4096 : 1) + LOCAL_AT));
            s->local_index[i] = "5";
        } else if (s->vector >= 0) {
            s->local_vector[i] = true;
            for (int lane = 0; lane < s->width; lane++) scope_line(s, "%s %s_%d;", type, s->local[i], lane);
        } else {
            scope_line(s, "%s %s;", type, s->local[i]);
        }
    }
}

static void signature(Text *out, const Program *p, const Kernel *k, const char *name) {
    text_add(out, "extern \"C\" __global__ void %s(", name);
    for (int i = 0; i < k->buffer.count; i++) {
        const KernelBuffer *b = &k->buffer.at[i];
        bool input = b->is_read && !b->is_written;
        text_add(out, "%s%s %sb%d, ", input ? "const " : "", cuda_type(p, b->type), input ? "*__restrict__ " : "*", i);
    }
    for (int i = 0; i < PLAIN_EXTENTS; i++) text_add(out, "int e%d, ", i);
    text_add(out, "unsigned *outside) {\n");
}

static void host_call(Text *out, const Program *p, const Kernel *k, const char *name) {
    text_add(out, "#ifdef STM_HOST\nextern \"C\" void call_%s(void **b, const int *e, unsigned *outside) {\n    %s(",
             name, name);
    for (int i = 0; i < k->buffer.count; i++) text_add(out, "(%s *)b[%d], ", cuda_type(p, k->buffer.at[i].type), i);
    for (int i = 0; i < PLAIN_EXTENTS; i++) text_add(out, "e[%d], ", i);
    text_add(out, "outside);\n}\n#endif\n\n");
}

const char *plain_function(Text *out, const Program *p, const Kernel *k, const char *name, int vector, int width) {
    Nest nest = {.chunked = -1, .chunk = -1};
    const char *error = nest_init(out->arena, p, k, name, &nest);
    if (error) return error;
    Plain f = {.nest = &nest, .k = k, .vector = vector, .width = vector < 0 ? 1 : width};
    Text body = {.arena = out->arena};
    scope_init(&f.s, &nest, &body);
    f.s.indent = 1;
    int opened[2 * MAX_VARS], n = 0;
    for (int v = 0; v < k->outer; v++)
        if (!nest.var[v].gone && v != vector) open_loop(&f, opened[n++] = v);
    if (vector >= 0 && vector < k->outer) open_loop(&f, opened[n++] = vector);
    declare_locals(&f);
    for (int i = 0; i < k->stage.count; i++) run_stage(&f, &k->stage.at[i]);
    while (n > 0) close_loop(&f, opened[--n]);
    signature(out, p, k, name);
    text_add_bytes(out, body.at, body.length);
    text_add(out, "}\n");
    host_call(out, p, k, name);
    return NULL;
}

bool plain_vectors(Arena *arena, const Program *p, const Kernel *k, int var, int width) {
    Nest nest = {.chunked = -1, .chunk = -1};
    if (nest_init(arena, p, k, k->name, &nest) || nest.var[var].gone) return false;
    Mono extent = nest.var[var].extent;
    if (extent.k % width != 0) return false;
    for (int i = 0; i < k->local.count; i++)
        if (k->local.at[i].rank > 0 && var < k->outer) return false;
    for (int i = 0; i < k->stage.count; i++) // a reduction's lanes are combined pairwise; numbers are not
        if (nest_group(k, &k->stage.at[i], var) == 3 && is_arg(&k->stage.at[i])) return false;
    return true;
}
