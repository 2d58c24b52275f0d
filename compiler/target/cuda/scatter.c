// Scatters along one gathered dimension (dest[index[e], d] += value), in the order of their sources and without
// atomics: a warp owns a row of the destination, reads all of the index 32 numbers at a time, and adds those sources
// that are its row's one after another, over the other variables across its lanes.
//
// Cost: rows * sources / 32 loads of the index, which the caches serve, and each value once. That beats sorting up to
// some ten thousand rows by some hundred thousand sources; a row with very many sources is added up serially.
#include "target/cuda/loops.h"

// Variables whose different values never meet in one element.
static uint64_t free_of_collisions(const Nest *nest) {
    uint64_t set = 0;
    for (int v = 0; v < nest->vars; v++)
        if (!nest->var[v].gone && nest_group(nest->kernel, &nest->kernel->stage.at[0], v) &&
            nest_collision_free(nest->kernel, v))
            set |= (uint64_t)1 << v;
    return set;
}

static int source_vars(const Nest *nest, uint64_t set, int *source, int *other, int *others) {
    int n = 0;
    *others = 0;
    for (int v = 0; v < nest->vars; v++) {
        if (nest->var[v].gone || !nest_group(nest->kernel, &nest->kernel->stage.at[0], v)) continue;
        if (set >> v & 1) other[(*others)++] = v;
        else source[n++] = v;
    }
    return n;
}

bool scatter_by_rows(const Nest *nest, int *dimension) {
    const Kernel *k = nest->kernel;
    const Stage *stage = &k->stage.at[0];
    if (k->stage.count != 1 || !stage->accumulate || stage->reduce != REDUCE_NONE || stage->dest < 0) return false;
    *dimension = -1;
    for (int d = 0; d < stage->rank; d++)
        if (stage->target[d].gather) {
            if (*dimension >= 0) return false;
            *dimension = d;
        }
    if (*dimension < 0) return false;
    uint64_t set = free_of_collisions(nest);
    const ExprInfo *index = &nest->expr[nest_expr(nest, stage->target[*dimension].gather)];
    if (index->uses & (set | USES_LATE)) return false;
    int source[NEST_VARS], other[NEST_VARS], others, n = source_vars(nest, set, source, other, &others);
    Mono product = mono_of(1);
    for (int i = 0; i < n; i++) {
        if (!mono_multiply(product, nest->var[source[i]].extent, &product)) return false;
        for (int d = 0; d < stage->rank; d++)
            if (d != *dimension && position_uses(nest, &stage->target[d], source[i])) return false;
    }
    product = mono_of(1);
    for (int i = 0; i < others; i++)
        if (!mono_multiply(product, nest->var[other[i]].extent, &product)) return false;
    return n > 0 && product.axes <= 1;
}

static void decode(Emit *e, const int *var, int count, const char *q) {
    const char *left = q;
    for (int i = count - 1; i >= 0; i--) {
        const char *name = scope_name(&e->s, "i"), *n = scope_mono(&e->s, e->plan->nest.var[var[i]].extent, false);
        if (i == 0) {
            scope_line(&e->s, "const int %s = (int)%s;", name, left);
        } else {
            const char *next = scope_name(&e->s, "q");
            scope_line(&e->s, "const long long %s = %s / %s;", next, left, n);
            scope_line(&e->s, "const int %s = (int)(%s - %s * %s);", name, left, next, n);
            left = next;
        }
        e->s.var[var[i]] = name;
    }
}

static Mono product_of(const Nest *nest, const int *var, int count) {
    Mono product = mono_of(1);
    for (int i = 0; i < count; i++) EXPECT(mono_multiply(product, nest->var[var[i]].extent, &product));
    return product;
}

void emit_scatter(Emit *e, int dimension) {
    const Nest *nest = &e->plan->nest;
    const Stage *stage = &nest->kernel->stage.at[0];
    CudaScope *s = &e->s;
    int source[NEST_VARS], other[NEST_VARS], others, n;
    n = source_vars(nest, free_of_collisions(nest), source, other, &others);
    e->scatters = true;
    const char *rows = scope_extent(s, nest->kernel->buffer.at[stage->dest].dim[dimension]);
    scope_line(s, "const int row = block * %d + (int)threadIdx.x / 32, lane = (int)threadIdx.x %% 32;",
               LOOPS_THREADS / 32);
    scope_line(s, "if (row >= %s) return;", rows);
    scope_line(s, "const long long sources = %s;", scope_mono(s, product_of(nest, source, n), true));
    scope_open(s, "for (long long base = 0; base < sources; base += 32)");
    scope_line(s, "bool mine = false;");
    scope_open(s, "if (base + lane < sources)");
    scope_line(s, "const long long q = base + lane;");
    decode(e, source, n, "q");
    CudaValue at = scope_value(s, stage, stage->target[dimension].gather);
    scope_line(s, "mine = %s == row;", at.lane[0]);
    scope_line(s, "if (row == 0 && (%s < 0 || %s >= %s)) *%s = 1;", at.lane[0], at.lane[0], rows, s->outside);
    *s->outside_used = true;
    scope_close(s);
    scope_open(s, "for (unsigned hits = __ballot_sync(0xffffffffu, mine); hits; hits &= hits - 1)");
    scope_line(s, "const long long source = base + stm_lowest(hits);");
    decode(e, source, n, "source");
    scope_hoist(s, stage, stage->value, free_of_collisions(nest));
    scope_open(s, "for (int q = lane; q < %s; q += 32)", scope_mono(s, product_of(nest, other, others), false));
    decode(e, other, others, "q");
    scope_store(s, stage, scope_value(s, stage, stage->value));
    scope_close(s);
    scope_close(s);
    scope_close(s);
}
