// Reads and writes of elements as CUDA C: element numbers from positions, guards, gathers, wide access, random numbers.
// No address outside a buffer is ever touched: a guard stands before the access.
#include "target/cuda/expr_internal.h"

#include <string.h>

// ---- sums of products: coefficient * extents * variable
enum { MOST_TERMS = 48, SMALL = 1 << 30 };

typedef struct Sum {
    int count;
    struct {
        int var; // -1: none
        Mono by;
    } term[MOST_TERMS];
} Sum;

static void sum_add(const CudaScope *s, Sum *sum, int var, Mono by) {
    const Program *p = s->nest->program;
    Mono m = {.k = by.k};
    for (int i = 0; i < by.axes; i++) { // constant axes are numbers
        if (by.axis[i] < p->axis.count && !p->axis.at[by.axis[i]].dynamic) m.k *= p->axis.at[by.axis[i]].count;
        else m.axis[m.axes++] = by.axis[i];
    }
    if (m.k == 0 || (var >= 0 && s->nest->var[var].gone)) return;
    for (int i = 0; i < sum->count; i++) {
        Mono other = sum->term[i].by;
        other.k = m.k;
        if (sum->term[i].var != var || !mono_same(other, m)) continue;
        sum->term[i].by.k += m.k;
        return;
    }
    EXPECT(sum->count < MOST_TERMS);
    sum->term[sum->count].var = var;
    sum->term[sum->count++].by = m;
}

static Mono scaled(Mono m, int64_t by) {
    m.k *= by;
    return m;
}

// The sum at the vector's neighbour `lane`; wide: of type long long.
static const char *sum_text(CudaScope *s, const Sum *sum, int lane, bool wide) {
    Sum moved = *sum;
    Text t = {.arena = s->out->arena};
    for (int i = 0; lane && i < sum->count; i++)
        if (sum->term[i].var >= 0 && sum->term[i].var == s->vector)
            sum_add(s, &moved, -1, scaled(sum->term[i].by, lane));
    bool empty = true;
    for (int i = 0; i < moved.count; i++) {
        Mono m = moved.term[i].by;
        if (m.k == 0) continue;
        bool negative = m.k < 0, bare = m.axes == 0 && moved.term[i].var < 0;
        uint64_t k = negative ? 0 - (uint64_t)m.k : (uint64_t)m.k;
        text_add(&t, "%s", empty ? negative ? "-" : "" : negative ? " - " : " + ");
        if (bare || wide || k != 1)
            text_add(&t, "%llu%s%s", (unsigned long long)k, wide ? "LL" : "", bare ? "" : " * ");
        for (int a = 0; a < m.axes; a++)
            text_add(&t, "%s%s", scope_extent(s, (Extent){1, m.axis[a]}),
                     a + 1 < m.axes || moved.term[i].var >= 0 ? " * " : "");
        if (moved.term[i].var >= 0) text_add(&t, "%s", variable_text(s, moved.term[i].var, 0));
        empty = false;
    }
    return empty ? "0" : t.at;
}

// ---- positions
typedef struct Place { // of one dimension
    const char *text;  // its value in one lane
    const char *exact; // condition, or NULL
    bool wide;         // long long
    bool low, high;    // certainly >= 0, certainly below the dimension
} Place;

static bool needs_wide(const CudaScope *s, const Position *x) {
    Position plain = *x;
    int64_t low, high;
    plain.divide = 1;
    plain.modulo = 0;
    bool known = position_range(s->nest, &plain, &low, &high);
    bool large = x->offset >= SMALL || x->offset <= -SMALL;
    for (int t = 0; t < x->terms; t++) large = large || x->term[t].coef > 1 << 16 || x->term[t].coef < -(1 << 16);
    return known ? low <= INT32_MIN || high >= INT32_MAX || x->offset >= SMALL || x->offset <= -SMALL : large;
}

static bool never_negative(const CudaScope *s, const Position *x) { // of the sum, before its division
    Position plain = *x;
    int64_t low, high;
    plain.divide = 1;
    plain.modulo = 0;
    if (position_range(s->nest, &plain, &low, &high)) return low >= 0;
    bool negative = x->offset < 0;
    for (int t = 0; t < x->terms; t++) negative = negative || x->term[t].coef < 0;
    return !negative;
}

static const char *floor_by(const CudaScope *s, const char *x, int64_t by, bool modulo, bool plain, bool wide) {
    bool power = by > 0 && (by & (by - 1)) == 0;
    const char *type = wide ? "long long" : "int", *suffix = wide ? "LL" : "";
    if (!wide && by > INT32_MAX) return modulo ? x : "0"; // only where the sum is not negative and below
    if (plain)
        return format_text(s, "(%s)((unsigned%s)%s %c %lldu%s)", type, wide ? " long long" : "", x, modulo ? '%' : '/',
                           (long long)by, suffix);
    if (power && modulo) return format_text(s, "%s & %lld%s", x, (long long)by - 1, suffix);
    if (power) return format_text(s, "%s >> %d", x, __builtin_ctzll((unsigned long long)by)); // keeps the sign
    return format_text(s, "stm_floor_%s<%s>(%s, %lld%s)", modulo ? "mod" : "div", type, x, (long long)by, suffix);
}

static Place place_of(CudaScope *s, const Position *x, Extent dim, int lane) {
    Sum sum = {0};
    int64_t low, high;
    Place out = {.wide = needs_wide(s, x) || x->divide > INT32_MAX || x->modulo > INT32_MAX};
    const char *type = out.wide ? "long long" : "int";
    for (int t = 0; t < x->terms; t++) sum_add(s, &sum, x->term[t].var, mono_of(x->term[t].coef));
    sum_add(s, &sum, -1, mono_of(x->offset));
    bool plain = never_negative(s, x);
    out.text = scope_temporary(s, type, sum_text(s, &sum, lane, out.wide));
    if (x->divide > 1 && x->exact)
        out.exact = scope_temporary(
            s, "bool", format_text(s, "(%s) == 0", floor_by(s, out.text, x->divide, true, plain, out.wide)));
    if (x->divide > 1) out.text = scope_temporary(s, type, floor_by(s, out.text, x->divide, false, plain, out.wide));
    if (x->modulo > 0) out.text = scope_temporary(s, type, floor_by(s, out.text, x->modulo, true, plain, out.wide));
    out.low = plain || x->modulo > 0;
    if (position_range(s->nest, x, &low, &high)) {
        out.low = out.low || low >= 0;
        out.high = dim.axis < 0 && high < dim.count;
    }
    return out;
}

static const char *inside_text(CudaScope *s, const Place *x, Extent dim) {
    const char *word = x->wide ? "unsigned long long" : "unsigned";
    const char *size = scope_mono(s, mono_extent(dim), x->wide);
    if (x->low) return scope_temporary(s, "bool", format_text(s, "%s < %s", x->text, size));
    if (x->high) return scope_temporary(s, "bool", format_text(s, "%s >= 0", x->text));
    return scope_temporary(s, "bool", format_text(s, "(%s)%s < (%s)%s", word, x->text, word, size));
}

static const char *both(CudaScope *s, const char *a, const char *b) {
    if (!a || !b) return a ? a : b;
    if (a == b || !strcmp(a, b)) return a;
    return scope_temporary(s, "bool", format_text(s, "%s && %s", a, b));
}

// ---- accesses
typedef struct Access {
    ElementType type;
    const char *base;               // pointer or array
    int lanes;                      // 1: the same element for the whole vector
    const char *number[CUDA_LANES]; // int
    const char *guard[CUDA_LANES];  // NULL: inside
    bool wide;
} Access;

static bool lane_dependent(const CudaScope *s, const Position *x) {
    return s->vector >= 0 && !s->nest->var[s->vector].gone && position_uses(s->nest, x, s->vector);
}

// Positions that no stride describes: `value` times the dimension's stride, per lane or once.
static const char *product(CudaScope *s, const char *value, Mono stride) {
    const char *by = scope_mono(s, stride, false);
    return !strcmp(by, "1") ? value : format_text(s, "%s * %s", value, by);
}

static void report_outside(CudaScope *s, const char *affine, const char *inside) {
    *s->outside_used = true;
    if (affine) scope_line(s, "if (%s && !%s) *%s = 1u;", affine, inside, s->outside);
    else scope_line(s, "if (!%s) *%s = 1u;", inside, s->outside);
}

// Affine dimensions: their share goes to *sum or, where no stride describes it, to extra[lane] (all lanes alike in
// *once). Guards go to guard[lane].
static void affine_dimension(CudaScope *s, const Position *x, Extent dim, Mono stride, Sum *sum, Text *once,
                             Text extra[CUDA_LANES], const char **guard) {
    bool checked = position_checked(s->nest, x, dim), across = lane_dependent(s, x);
    bool linear = x->divide <= 1 && x->modulo == 0 && !needs_wide(s, x);
    if (linear) {
        for (int t = 0; t < x->terms; t++) sum_add(s, sum, x->term[t].var, scaled(stride, x->term[t].coef));
        sum_add(s, sum, -1, scaled(stride, x->offset));
        if (!checked) return;
    }
    for (int lane = 0; lane < (across ? s->width : 1); lane++) {
        Place p = place_of(s, x, dim, lane);
        const char *inside = both(s, p.exact, checked ? inside_text(s, &p, dim) : NULL);
        for (int i = across ? lane : 0; inside && i < (across ? lane + 1 : s->width); i++)
            guard[i] = both(s, guard[i], inside);
        if (linear) continue;
        const char *value = p.wide ? format_text(s, "(int)%s", p.text) : p.text;
        text_add(across ? &extra[lane] : once, " + %s", product(s, value, stride));
    }
}

static void gathered_dimension(CudaScope *s, const Stage *stage, const Position *x, Extent dim, Mono stride, Text *once,
                               Text extra[CUDA_LANES], const char *const *affine, const char **guard) {
    CudaValue v = scope_value(s, stage, x->gather);
    bool wide = x->gather->type == T_I64;
    bool whole = x->gather->type == T_U8 || x->gather->type == T_BOOL;
    bool same = v.lanes == 1;
    for (int lane = 1; lane < s->width; lane++) same = same && affine[lane] == affine[0];
    for (int lane = 0; lane < (same ? 1 : s->width); lane++) {
        Place p = {
            .text = scope_temporary(s, wide ? "long long" : "int", lane_of(&v, lane)), .wide = wide, .low = whole};
        const char *inside = inside_text(s, &p, dim);
        report_outside(s, affine[lane], inside);
        for (int i = same ? 0 : lane; i < (same ? s->width : lane + 1); i++) guard[i] = both(s, guard[i], inside);
        if (v.lanes == 1 && lane) continue;
        const char *value = wide ? format_text(s, "(int)%s", p.text) : p.text;
        text_add(v.lanes == 1 ? once : &extra[lane], " + %s", product(s, value, stride));
    }
}

static const char *joined(const CudaScope *s, const char *a, const Text *b) { // b begins with " + " or is empty
    if (!b->length) return a;
    return !strcmp(a, "0") ? b->at + 3 : format_text(s, "%s%s", a, b->at);
}

static Access access_of(CudaScope *s, const Stage *stage, int tensor, int rank, const Position *position) {
    const Kernel *k = s->nest->kernel;
    bool buffer = tensor >= 0;
    const Extent *dim = buffer ? k->buffer.at[tensor].dim : k->local.at[~tensor].dim;
    const Mono *stride = buffer ? s->nest->stride[tensor] : s->nest->local_stride[~tensor];
    Access a = {.type = buffer ? k->buffer.at[tensor].type : k->local.at[~tensor].type,
                .base = buffer ? s->buffer[tensor] : s->local[~tensor],
                .lanes = 1};
    Sum sum = {0};
    Text once = {.arena = s->out->arena}, extra[CUDA_LANES];
    for (int i = 0; i < CUDA_LANES; i++) extra[i] = (Text){.arena = s->out->arena};
    for (int d = 0; d < rank; d++)
        if (!position[d].gather) affine_dimension(s, &position[d], dim[d], stride[d], &sum, &once, extra, a.guard);
    const char *affine[CUDA_LANES];
    memcpy(affine, a.guard, sizeof affine);
    for (int d = 0; d < rank; d++) // a read that affine positions put outside gathers nothing
        if (position[d].gather)
            gathered_dimension(s, stage, &position[d], dim[d], stride[d], &once, extra, affine, a.guard);
    if (!buffer && s->local_index[~tensor]) text_add(&once, " + (%s)", s->local_index[~tensor]);
    bool different = false, follows = false;
    for (int i = 0; i < s->width; i++) {
        different = different || extra[i].length;
        a.lanes = different || a.guard[i] != a.guard[0] ? s->width : a.lanes;
    }
    for (int i = 0; i < sum.count; i++)
        follows = follows || (s->vector >= 0 && sum.term[i].var == s->vector && sum.term[i].by.k != 0);
    if (follows) a.lanes = s->width;
    const char *first = joined(s, sum_text(s, &sum, 0, false), &once);
    if (a.lanes > 1) first = scope_temporary(s, "int", first);
    for (int i = 0; i < a.lanes; i++) {
        Sum step = {0};
        for (int t = 0; i && t < sum.count; t++)
            if (sum.term[t].var == s->vector) sum_add(s, &step, -1, scaled(sum.term[t].by, i));
        const char *more = sum_text(s, &step, 0, false), *number = first;
        if (strcmp(more, "0") != 0) number = format_text(s, "%s + %s", first, more);
        a.number[i] = joined(s, number, &extra[i]);
    }
    a.wide = follows && !different && buffer && scope_wide_access(s, tensor, rank, position);
    for (int i = 0; i < s->width; i++) a.wide = a.wide && a.guard[i] == a.guard[0];
    return a;
}

bool access_wide(const Nest *nest, int tensor, int rank, const Position *position, int var, int width) {
    Mono stride;
    if (tensor < 0 || width < 2 || nest->var[var].gone) return false;
    if (access_stride(nest, tensor, rank, position, var, &stride) != 1) return false;
    if (stride.k != 1 || stride.axes != 0) return false;
    const KernelBuffer *b = &nest->kernel->buffer.at[tensor];
    for (int d = 0; d < rank; d++) {
        const Position *x = &position[d];
        int64_t by = nest->stride[tensor][d].k;
        if (position_uses(nest, x, var)) {
            if (position_checked(nest, x, b->dim[d])) return false;
        } else if (x->gather || x->divide > 1 || x->modulo > 0) {
            if (by % width != 0) return false;
            continue;
        }
        if (x->offset * by % width != 0) return false;
        for (int t = 0; t < x->terms; t++)
            if (x->term[t].var != var && !nest->var[x->term[t].var].gone && x->term[t].coef * by % width != 0)
                return false;
    }
    return true;
}

bool scope_wide_access(const CudaScope *s, int tensor, int rank, const Position *position) {
    return s->vector >= 0 && access_wide(s->nest, tensor, rank, position, s->vector, s->width);
}

const char *scope_element(CudaScope *s, int tensor, int rank, const Position *position, int lane, const char **guard) {
    EXPECT(lane < s->width);
    Access a = access_of(s, NULL, tensor, rank, position);
    if (a.lanes == 1) lane = 0;
    *guard = a.guard[lane];
    return a.number[lane];
}

// ---- reads
// From memory to a value in a register.
static const char *loaded(const CudaScope *s, ElementType type, const char *memory) {
    if (type == T_BF16) return format_text(s, "stm_float(%s)", memory);
    return type == T_BOOL ? format_text(s, "(%s != 0)", memory) : memory;
}

static const char *zero_of(const CudaScope *s, ElementType type) {
    return type == T_REAL || type == T_BF16 ? real_literal(s, 0) : "0";
}

static CudaValue read_local(CudaScope *s, int local) {
    bool across = s->vector >= 0 && local < 64 && s->local_vector[local];
    CudaValue v = {.lanes = across ? s->width : 1};
    for (int i = 0; i < v.lanes; i++)
        v.lane[i] = across ? format_text(s, "%s_%d", s->local[local], i) : s->local[local];
    return v;
}

static const char *wide_load(CudaScope *s, const Access *a) { // name of the stm_vec
    const char *name = scope_name(s, "w"), *type = cuda_type(s->nest->program, a->type);
    const char *guard = a->guard[0];
    if (guard)
        scope_line(s, "stm_vec<%s, %d> %s = stm_load_if<%d>(%s, %s + (%s));", type, s->width, name, s->width, guard,
                   a->base, a->number[0]);
    else
        scope_line(s, "stm_vec<%s, %d> %s = stm_load<%d>(%s + (%s));", type, s->width, name, s->width, a->base,
                   a->number[0]);
    return name;
}

CudaValue access_read(CudaScope *s, const Stage *stage, const Expr *read) {
    if (read->tensor < 0 && read->rank == 0) return read_local(s, ~read->tensor);
    const char *text[CUDA_LANES], *type = cuda_value_type(s->nest->program, read->type);
    Access a = access_of(s, stage, read->tensor, read->rank, read->position);
    const char *vector = a.wide ? wide_load(s, &a) : NULL;
    for (int i = 0; i < a.lanes; i++) {
        if (vector) {
            text[i] = loaded(s, a.type, format_text(s, "%s.v[%d]", vector, i));
            continue;
        }
        const char *memory = loaded(s, a.type, format_text(s, "%s[%s]", a.base, a.number[i]));
        text[i] = a.guard[i] ? format_text(s, "%s ? %s : %s", a.guard[i], memory, zero_of(s, a.type)) : memory;
    }
    return scope_temporaries(s, type, a.lanes, text);
}

// ---- writes
static const char *to_memory(const CudaScope *s, ElementType type, const char *value) {
    if (type == T_BF16) return format_text(s, "stm_to_bf16(%s)", value);
    return type == T_U8 || type == T_BOOL ? format_text(s, "(unsigned char)%s", value) : value;
}

static void store_wide(CudaScope *s, const Access *a, const char *const *value, bool accumulate) {
    Text list = {.arena = s->out->arena};
    if (a->guard[0]) scope_open(s, "if (%s)", a->guard[0]);
    const char *type = cuda_value_type(s->nest->program, a->type), *old = NULL;
    Access inside = *a;
    inside.guard[0] = NULL;
    if (accumulate) old = wide_load(s, &inside);
    for (int i = 0; i < s->width; i++) {
        const char *v = value[i];
        if (old)
            v = cuda_reduce_combine(s, REDUCE_SUM, a->type == T_BF16 ? T_REAL : a->type,
                                    loaded(s, a->type, format_text(s, "%s.v[%d]", old, i)), v);
        text_add(&list, ", (%s)%s", type, v);
    }
    scope_line(s, "stm_store(%s + (%s)%s);", a->base, a->number[0], list.at);
    if (a->guard[0]) scope_close(s);
}

void scope_store(CudaScope *s, const Stage *stage, CudaValue value) {
    const Kernel *k = s->nest->kernel;
    bool number = stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN;
    ElementType to = stage->dest >= 0 ? k->buffer.at[stage->dest].type : k->local.at[~stage->dest].type;
    for (int i = 0; i < value.lanes; i++)
        value.lane[i] = cuda_cast(s, number ? T_I32 : stage->value->type, to, value.lane[i]);
    if (stage->dest < 0 && stage->rank == 0) {
        CudaValue local = read_local(s, ~stage->dest);
        EXPECT(local.lanes == s->width || value.lanes == 1);
        for (int i = 0; i < local.lanes; i++) scope_line(s, "%s = %s;", local.lane[i], lane_of(&value, i));
        return;
    }
    Access a = access_of(s, stage, stage->dest, stage->rank, stage->target);
    if (a.wide) {
        const char *lane[CUDA_LANES];
        for (int i = 0; i < s->width; i++) lane[i] = lane_of(&value, i);
        store_wide(s, &a, lane, stage->accumulate);
        return;
    }
    ElementType held = to == T_BF16 ? T_REAL : to;
    // Every neighbour adds, also to one and the same element; of plain stores to one element one is enough.
    int lanes = stage->accumulate ? s->width : a.lanes;
    for (int i = 0; i < lanes; i++) {
        int at = a.lanes == 1 ? 0 : i;
        const char *memory = format_text(s, "%s[%s]", a.base, a.number[at]), *v = lane_of(&value, i);
        if (stage->accumulate) v = cuda_reduce_combine(s, REDUCE_SUM, held, loaded(s, to, memory), v);
        v = to_memory(s, to, v);
        if (a.guard[at]) scope_line(s, "if (%s) %s = %s;", a.guard[at], memory, v);
        else scope_line(s, "%s = %s;", memory, v);
    }
}

// ---- random numbers
static const char *scalar_i32(const CudaScope *s, int buffer) {
    if (buffer < 0 || s->nest->arg_of[buffer] < 0) return "0u";
    return format_text(s, "(unsigned)%s[0]", s->buffer[buffer]);
}

CudaValue access_random(CudaScope *s, const Stage *stage, const Expr *e) {
    const Nest *nest = s->nest;
    const char *real = cuda_value_type(nest->program, T_REAL), *text[CUDA_LANES];
    const char *place = format_text(s, "%uu", e->place);
    Text index = {.arena = s->out->arena};
    Mono by, along = {0};
    if (!stage) DIE("kernel %s: a random number decides where an element is", nest->name);
    if (e->extent.count > 0) place = format_text(s, "(unsigned)%s", scope_mono(s, mono_extent(e->extent), true));
    for (int v = 0; v < nest->vars; v++) {
        if (nest->var[v].gone || !random_stride(nest, stage, v, &by)) continue;
        const char *step = scope_mono(s, by, true);
        if (v == s->vector) along = by;
        text_add(&index, "%s(long long)%s", index.length ? " + " : "", variable_text(s, v, 0));
        if (strcmp(step, "1LL") != 0) text_add(&index, " * %s", step);
    }
    const char *first = scope_temporary(s, "long long", index.length ? index.at : "0LL");
    const char *seed = scope_temporary(s, "unsigned", scalar_i32(s, nest->kernel->scalar_seed));
    const char *step = scope_temporary(s, "unsigned", scalar_i32(s, nest->kernel->scalar_step));
    int lanes = along.k ? s->width : 1;
    for (int i = 0; i < lanes; i++) {
        const char *at = i ? format_text(s, "%s + %s", first, scope_mono(s, scaled(along, i), true)) : first;
        text[i] = format_text(s, "stm_random<%s>(%s, %s, %s, %s)", real, at, place, seed, step);
    }
    return scope_temporaries(s, real, lanes, text);
}
