// Scopes: names, blocks, what is known in them, and the texts of types, literals and extents. See expr.h.
#include "target/cuda/expr_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024, MOST_BLOCKS = 64 };

typedef struct Known {
    const Expr *expr; // or NULL
    const char *type, *text;
    uint64_t hash;
    CudaValue value;
    int next; // in the bucket; -1
} Known;

struct ScopeMemo {
    VEC(Known) known;
    int bucket[BUCKETS];
    int block[MOST_BLOCKS], blocks; // what was known when each was opened
};

// ---- text
const char *format_text(const CudaScope *s, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const char *text = arena_vformat(s->out->arena, format, arguments);
    va_end(arguments);
    return text;
}

bool text_is_atom(const char *text) {
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '.') return false;
    return true;
}

static void line(CudaScope *s, const char *format, va_list arguments) {
    for (int i = 0; i < s->indent; i++) text_add_bytes(s->out, "    ", 4);
    const char *text = arena_vformat(s->out->arena, format, arguments);
    text_add_bytes(s->out, text, strlen(text));
}

void scope_line(CudaScope *s, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    line(s, format, arguments);
    va_end(arguments);
    text_add_bytes(s->out, "\n", 1);
}

const char *scope_name(CudaScope *s, const char *prefix) {
    return format_text(s, "%s%d", prefix, (*s->temporaries)++);
}

// ---- scopes
void scope_init(CudaScope *s, const Nest *nest, Text *out) {
    Arena *arena = out->arena;
    const Kernel *k = nest->kernel;
    *s = (CudaScope){.nest = nest, .out = out, .outside = "outside", .vector = -1, .width = 1};
    s->var = NEW_ARRAY(arena, const char *, NEST_VARS);
    s->buffer = NEW_ARRAY(arena, const char *, k->buffer.count + 1);
    s->local = NEW_ARRAY(arena, const char *, k->local.count + 1);
    s->local_index = NEW_ARRAY(arena, const char *, k->local.count + 1);
    for (int i = 0; i < k->buffer.count; i++) s->buffer[i] = arena_format(arena, "b%d", i);
    for (int i = 0; i < k->local.count; i++) s->local[i] = arena_format(arena, "l%d", i);
    s->temporaries = NEW(arena, int);
    s->extent_used = NEW_ARRAY(arena, bool, nest->program->axis.count + CUDA_STEP_EXTENTS);
    s->outside_used = NEW(arena, bool);
    s->memo = NEW(arena, struct ScopeMemo);
    for (int i = 0; i < BUCKETS; i++) s->memo->bucket[i] = -1;
}

int scope_mark(const CudaScope *s) {
    return s->memo->known.count;
}

void scope_release(CudaScope *s, int mark) {
    struct ScopeMemo *m = s->memo;
    while (m->known.count > mark) {
        const Known *k = &vec_last(&m->known);
        m->bucket[k->hash % BUCKETS] = k->next;
        m->known.count--;
    }
    for (int i = 0; i < m->blocks; i++) // what is evaluated from now on belongs to the innermost block
        if (m->block[i] > mark) m->block[i] = mark;
}

void scope_forget(CudaScope *s) {
    scope_release(s, 0);
}

void scope_open(CudaScope *s, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    line(s, format, arguments);
    va_end(arguments);
    text_add(s->out, *format ? " {\n" : "{\n");
    s->indent++;
    EXPECT(s->memo->blocks < MOST_BLOCKS);
    s->memo->block[s->memo->blocks++] = scope_mark(s);
}

void scope_close(CudaScope *s) {
    EXPECT(s->memo->blocks > 0);
    scope_release(s, s->memo->block[--s->memo->blocks]);
    s->indent--;
    scope_line(s, "}");
}

// ---- what is known
static uint64_t hash_expr(const Expr *e) {
    return ((uint64_t)(uintptr_t)e >> 4) * 0x9E3779B97F4A7C15u >> 20;
}

static uint64_t hash_text(const char *text) {
    uint64_t h = 0xcbf29ce484222325u;
    for (const char *c = text; *c; c++) h = (h ^ (unsigned char)*c) * 0x100000001b3u;
    return h ^ h >> 29;
}

static void remember(CudaScope *s, Known k) {
    struct ScopeMemo *m = s->memo;
    k.next = m->bucket[k.hash % BUCKETS];
    m->bucket[k.hash % BUCKETS] = m->known.count;
    vec_push(s->out->arena, &m->known, k);
}

static const Known *known_expr(const CudaScope *s, const Expr *e) {
    const struct ScopeMemo *m = s->memo;
    for (int i = m->bucket[hash_expr(e) % BUCKETS]; i >= 0; i = m->known.at[i].next)
        if (m->known.at[i].expr == e) return &m->known.at[i];
    return NULL;
}

const char *scope_temporary(CudaScope *s, const char *type, const char *text) {
    if (text_is_atom(text)) return text;
    const struct ScopeMemo *m = s->memo;
    uint64_t hash = hash_text(text);
    for (int i = m->bucket[hash % BUCKETS]; i >= 0; i = m->known.at[i].next) {
        const Known *k = &m->known.at[i];
        if (!k->expr && k->hash == hash && !strcmp(k->type, type) && !strcmp(k->text, text)) return k->value.lane[0];
    }
    const char *name = scope_name(s, "t");
    scope_line(s, "%s %s = %s;", type, name, text);
    remember(s, (Known){.type = type, .text = text, .hash = hash, .value = {1, {name}}});
    return name;
}

CudaValue scope_temporaries(CudaScope *s, const char *type, int lanes, const char *const *text) {
    CudaValue v = {.lanes = lanes};
    Text declaration = {.arena = s->out->arena};
    const char *name = scope_name(s, "t");
    if (lanes == 1) {
        scope_line(s, "%s %s = %s;", type, name, text[0]);
        v.lane[0] = name;
        return v;
    }
    for (int i = 0; i < lanes; i++) {
        v.lane[i] = format_text(s, "%s_%d", name, i);
        text_add(&declaration, "%s%s = %s", i ? ", " : "", v.lane[i], text[i]);
    }
    scope_line(s, "%s %s;", type, declaration.at);
    return v;
}

const char *lane_of(const CudaValue *v, int lane) {
    return v->lane[v->lanes == 1 ? 0 : lane];
}

CudaValue scope_value(CudaScope *s, const Stage *stage, const Expr *e) {
    EXPECT(s->vector < 0 ? s->width == 1 : s->width > 1 && s->width <= CUDA_LANES);
    const Known *known = known_expr(s, e);
    if (known) return known->value;
    CudaValue v = scalar_value(s, stage, e);
    remember(s, (Known){.expr = e, .hash = hash_expr(e), .value = v});
    return v;
}

void scope_hoist(CudaScope *s, const Stage *stage, const Expr *e, uint64_t inner) {
    if (e->op == OP_CONST || e->op == OP_INDEX || e->op == OP_EXTENT || known_expr(s, e)) return;
    if (!(s->nest->expr[nest_expr(s->nest, e)].uses & inner)) {
        scope_value(s, stage, e);
        return;
    }
    for (int i = 0; i < e->arity; i++) scope_hoist(s, stage, e->arg[i], inner);
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather) scope_hoist(s, stage, e->position[i].gather, inner);
}

// ---- types
const char *cuda_type(const Program *p, ElementType type) {
    switch (type) {
    case T_REAL: return p->real64 ? "double" : "float";
    case T_I32: return "int";
    case T_I64: return "long long";
    case T_U8:
    case T_BOOL: return "unsigned char";
    case T_BF16: return "stm_bf16";
    case T_COUNT: break;
    }
    DIE("no element type %d", (int)type);
}

const char *cuda_value_type(const Program *p, ElementType type) {
    return type == T_U8 || type == T_BOOL ? "int" : cuda_type(p, type == T_BF16 ? T_REAL : type);
}

// ---- literals
const char *real_literal(const CudaScope *s, double number) {
    bool wide = s->nest->program->real64;
    if (!wide) number = (double)(float)number;
    if (isnan(number)) return wide ? "STM_NAN_F64" : "STM_NAN";
    if (isinf(number)) {
        if (number > 0) return wide ? "STM_INF_F64" : "STM_INF";
        return wide ? "(-STM_INF_F64)" : "(-STM_INF)";
    }
    char digits[64];
    for (int precision = 6; precision <= 17; precision++) { // the shortest that reads back equal
        snprintf(digits, sizeof digits, "%.*g", precision, number);
        if (wide ? strtod(digits, NULL) == number : strtof(digits, NULL) == (float)number) break;
    }
    if (!strpbrk(digits, ".e")) strcat(digits, ".0");
    return format_text(s, signbit(number) ? "(%s%s)" : "%s%s", digits, wide ? "" : "f");
}

const char *integer_literal(const CudaScope *s, int64_t number, ElementType type) {
    if (type == T_BOOL) return number ? "1" : "0";
    if (type == T_U8) return format_text(s, "%d", (int)(uint8_t)number);
    if (type == T_I64) {
        if (number == INT64_MIN) return "(-9223372036854775807LL - 1)";
        return format_text(s, number < 0 ? "(%lldLL)" : "%lldLL", (long long)number);
    }
    int32_t word = (int32_t)(uint32_t)(uint64_t)number;
    if (word == INT32_MIN) return "(-2147483647 - 1)";
    return format_text(s, word < 0 ? "(%d)" : "%d", word);
}

// ---- variables and extents
const char *variable_text(const CudaScope *s, int var, int lane) {
    if (s->nest->var[var].gone) return "0";
    const char *name = s->var[var];
    if (!name) DIE("kernel %s: variable %d has no value here", s->nest->name, var);
    if (lane && var == s->vector) return format_text(s, "(%s + %d)", name, lane);
    return text_is_atom(name) ? name : format_text(s, "(%s)", name);
}

const char *scope_mono(CudaScope *s, Mono m, bool wide) {
    const Program *p = s->nest->program;
    Text t = {.arena = s->out->arena};
    int64_t k = m.k;
    int factors = 0;
    text_add(&t, "(");
    for (int i = 0; i < m.axes; i++) {
        int axis = m.axis[i];
        if (axis < p->axis.count && !p->axis.at[axis].dynamic) {
            k *= p->axis.at[axis].count;
            continue;
        }
        EXPECT(axis < p->axis.count + CUDA_STEP_EXTENTS);
        s->extent_used[axis] = true;
        text_add(&t, "%s%se%d", factors ? " * " : "", wide && !factors ? "(long long)" : "", axis);
        factors++;
    }
    if (k == 0 || factors == 0) return integer_literal(s, k, wide ? T_I64 : T_I32);
    if (k != 1) text_add(&t, " * %s", integer_literal(s, k, wide ? T_I64 : T_I32));
    if (k == 1 && factors == 1 && !wide) return t.at + 1;
    text_add(&t, ")");
    return t.at;
}

const char *scope_extent(CudaScope *s, Extent e) {
    return scope_mono(s, mono_extent(e), false);
}
