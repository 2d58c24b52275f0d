// Groups, operands and results in the terms of kernels/contract.h, and launches. requires an analysed contraction.
#include "target/cuda/contraction.h"

#include <string.h>

int extents_add(Extents *e, int axis) {
    for (int i = 0; i < e->count; i++)
        if (e->axis[i] == axis) return i;
    if (e->count == EXTENTS) return -1;
    e->axis[e->count] = axis;
    return e->count++;
}

int contraction_place(const Contraction *c, int var) {
    Group group = c->group[var];
    for (int i = 0; i < c->vars[group]; i++)
        if (c->var[group][i] == var) return CONTRACT_INDICES - c->vars[group] + i;
    DIE("variable %d is in no group", var);
}

static bool fits(int64_t x) {
    return x > -CONTRACT_NO_LIMIT && x < CONTRACT_NO_LIMIT;
}

const char *words_group(const Contraction *c, Group group, Extents *e, ContractGroup *out) {
    int n = c->vars[group], extent[CONTRACT_INDICES], dynamic = -1;
    int64_t product = 1;
    if (n > CONTRACT_INDICES) return "a group has more than four indices of different strides";
    for (int i = 0; i < n; i++) {
        Mono m = c->nest.var[c->var[group][i]].extent;
        if (m.axes > 1 || (m.axes && i > 0)) return "an inner index has an extent known at run time";
        if (m.axes) dynamic = extents_add(e, m.axis[0]);
        if (m.axes && (dynamic < 0 || dynamic >= CONTRACT_EXTENTS)) return "there are too many dynamic extents";
        product *= m.k;
        if (!fits(product)) return "a group has too many values";
        extent[i] = (int)m.k;
    }
    *out = contract_group(n, extent, dynamic);
    return NULL;
}

static const char *base_of(const Mono *base, int bases, long long *out) {
    *out = 0;
    for (int i = 0; i < bases; i++) {
        if (base[i].axes) return "a first element depends on a dynamic axis";
        *out += base[i].k;
    }
    return NULL;
}

static const char *place_stride(const Contraction *c, int var, Mono m, int *batch, int *m_or_own, int *n_or_k,
                                Group second, Group third) {
    if (m.k == 0) return NULL;
    if (m.axes) return "a stride depends on a dynamic axis";
    if (!fits(m.k)) return "a stride is too large";
    int place = contraction_place(c, var);
    Group group = c->group[var];
    int *to = group == GROUP_B ? batch : group == second ? m_or_own : group == third ? n_or_k : NULL;
    if (!to) return "an access walks an index of another group";
    to[place] = (int)m.k;
    return NULL;
}

const char *words_strides(const Contraction *c, const Access *at, ContractResult *out) {
    memset(out, 0, sizeof *out);
    if (at->guards) return "a position may be outside";
    const char *why = base_of(at->base, at->bases, &out->base);
    for (int v = 0; v < c->kernel->outer && !why; v++)
        if (!c->nest.var[v].gone) why = place_stride(c, v, at->stride[v], out->batch, out->m, out->n, GROUP_M, GROUP_N);
    return why;
}

const char *words_operand(const Contraction *c, int which, ContractOperand *out) {
    const Operand *o = &c->operand[which];
    Group own = which ? GROUP_N : GROUP_M;
    memset(out, 0, sizeof *out);
    const char *why = base_of(o->at.base, o->at.bases, &out->base);
    for (int v = 0; v < c->kernel->vars && !why; v++)
        if (!c->nest.var[v].gone) why = place_stride(c, v, o->at.stride[v], out->batch, out->own, out->k, own, GROUP_K);
    for (int i = 0; i < CONTRACT_GUARDS; i++) {
        out->guard[i] = contract_no_guard();
        out->step[i] = contract_divide(1);
    }
    for (int i = 0; i < o->at.guards && !why; i++) {
        const AccessGuard *w = &o->at.guard[i];
        ContractGuard *g = &out->guard[i];
        if (w->size.axis >= 0) return "a window has an extent known at run time";
        if (w->size.count >= 1 << 29 || w->offset <= -(1 << 29) || w->offset >= 1 << 29) return "a window is too large";
        g->size = (int)w->size.count;
        g->step = (int)w->step;
        if (w->step > 1 && (w->stride.axes || !fits(w->stride.k) || w->step * w->size.count >= 1 << 29))
            return "a stretched window depends on a dynamic axis or is too large";
        g->stride = w->step > 1 ? (int)w->stride.k : 0;
        out->step[i] = contract_divide(g->step);
        g->offset = (int)w->offset;
        for (int t = 0; t < w->terms && !why; t++)
            why = place_stride(c, w->term[t].var, mono_of(w->term[t].coef), g->batch, g->own, g->k, own, GROUP_K);
    }
    return why;
}

const int64_t *words_copy(Arena *arena, const void *from, size_t bytes) {
    return arena_copy(arena, from, bytes);
}

StmLaunch *new_launch(CudaUnit *unit, const char *what, const char *text, int threads, int64_t shared,
                      const void *words, size_t bytes, const Extents *e) {
    StmLaunch *launch = NEW(unit->arena, StmLaunch);
    launch->function = cuda_function(unit, what, text)->name;
    launch->threads = threads;
    launch->shared = shared;
    launch->words = (int)(bytes / 8);
    launch->word = words_copy(unit->arena, words, bytes);
    if (e && e->count) {
        launch->extents = e->count;
        launch->extent = arena_copy(unit->arena, e->axis, sizeof(int) * (size_t)e->count);
    }
    return launch;
}
