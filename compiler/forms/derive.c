// Rewrites kernels for the loop planners of the targets. Requires a verified kernel; leaves verified kernels of the
// same meaning.
#include "forms/derive.h"

#include "forms/nest.h"

#include <string.h>

typedef struct Rewrite {
    Arena *arena;
    const Kernel *from;
    int map[NEST_VARS]; // new number of each variable
    bool *scalar;       // locals that lose their dimensions
    int *buffer;        // locals that become this buffer, or -1
    struct {
        const Expr *key;
        Expr *value;
    } * memo;
    int memo_size, memo_used;
} Rewrite;

static void rewrite_init(Rewrite *r, Arena *arena, const Kernel *from) {
    memset(r, 0, sizeof *r);
    r->arena = arena;
    r->from = from;
    for (int i = 0; i < NEST_VARS; i++) r->map[i] = i;
    r->scalar = NEW_ARRAY(arena, bool, from->local.count + 1);
    r->buffer = NEW_ARRAY(arena, int, from->local.count + 1);
    for (int i = 0; i < from->local.count; i++) r->buffer[i] = -1;
}

static int memo_slot(const Rewrite *r, const Expr *e) {
    int mask = r->memo_size - 1, i = (int)(((uint64_t)(uintptr_t)e >> 4) * 0x9E3779B97F4A7C15u >> 40) & mask;
    while (r->memo[i].key && r->memo[i].key != e) i = (i + 1) & mask;
    return i;
}

static void memo_grow(Rewrite *r) {
    if (r->memo_size > 2 * r->memo_used) return;
    Rewrite old = *r;
    r->memo_size = old.memo_size ? 4 * old.memo_size : 64;
    r->memo = arena_alloc(r->arena, sizeof *r->memo * (size_t)r->memo_size);
    for (int i = 0; i < old.memo_size; i++)
        if (old.memo[i].key) r->memo[memo_slot(r, old.memo[i].key)] = old.memo[i];
}

static Expr *rewrite(Rewrite *r, const Expr *e);

static void rewrite_position(Rewrite *r, const Position *from, Position *to) {
    *to = *from;
    if (from->gather) to->gather = rewrite(r, from->gather);
    for (int t = 0; t < to->terms; t++) to->term[t].var = r->map[from->term[t].var];
    for (int i = 1; i < to->terms; i++) // sorted by variable
        for (int j = i; j > 0 && to->term[j].var < to->term[j - 1].var; j--) {
            Term swap = to->term[j];
            to->term[j] = to->term[j - 1];
            to->term[j - 1] = swap;
        }
}

static Position plain(int var) {
    Position p = {.terms = 1, .divide = 1};
    p.term[0] = (Term){var, 1};
    return p;
}

// An access of a local or a buffer: its new tensor, rank and positions.
static Position *rewrite_access(Rewrite *r, int *tensor, int *rank, const Position *position) {
    Position *p = NEW_ARRAY(r->arena, Position, MAX_RANK + MAX_VARS);
    int n = 0, local = *tensor < 0 ? ~*tensor : -1;
    if (local >= 0 && r->scalar[local]) {
        *rank = 0;
        return p;
    }
    if (local >= 0 && r->buffer[local] >= 0) {
        *tensor = r->buffer[local];
        for (int v = 0; v < r->from->outer; v++)
            if (!extent_is_one(r->from->var[v].extent)) p[n++] = plain(r->map[v]);
    }
    for (int d = 0; d < *rank; d++) rewrite_position(r, &position[d], &p[n++]);
    *rank = n;
    return p;
}

static Expr *rewrite(Rewrite *r, const Expr *e) {
    memo_grow(r);
    int slot = memo_slot(r, e);
    if (r->memo[slot].key) return r->memo[slot].value;
    Expr *copy = NEW(r->arena, Expr);
    *copy = *e;
    for (int i = 0; i < e->arity; i++) copy->arg[i] = rewrite(r, e->arg[i]);
    if (e->op == OP_INDEX) copy->var = r->map[e->var];
    if (e->op == OP_READ) copy->position = rewrite_access(r, &copy->tensor, &copy->rank, e->position);
    slot = memo_slot(r, e);
    r->memo[slot].key = e;
    r->memo[slot].value = copy;
    r->memo_used++;
    return copy;
}

static void rewrite_stage(Rewrite *r, Stage *stage) {
    for (int i = 0; i < stage->vars; i++) stage->var[i] = r->map[stage->var[i]];
    stage->value = rewrite(r, stage->value);
    stage->target = rewrite_access(r, &stage->dest, &stage->rank, stage->target);
}

// ---- free variables to outer ones
static bool same_position(const Position *a, const Position *b) {
    if (a->gather || b->gather) return a->gather == b->gather;
    if (a->terms != b->terms || a->offset != b->offset || a->divide != b->divide || a->modulo != b->modulo)
        return false;
    for (int t = 0; t < a->terms; t++)
        if (a->term[t].var != b->term[t].var || a->term[t].coef != b->term[t].coef) return false;
    return true;
}

static const Stage *writer_of(const Kernel *k, int tensor) {
    for (int s = 0; s < k->stage.count; s++)
        if (k->stage.at[s].dest == tensor) return &k->stage.at[s];
    return NULL;
}

static bool reads_own_element(const Kernel *k,
                              const Expr *e) { // every read of what is written here is of the same place
    for (int i = 0; i < e->arity; i++)
        if (!reads_own_element(k, e->arg[i])) return false;
    if (e->op != OP_READ) return true;
    const Stage *writer = writer_of(k, e->tensor);
    for (int d = 0; d < e->rank; d++) {
        if (e->position[d].gather && !reads_own_element(k, e->position[d].gather)) return false;
        if (writer && !same_position(&e->position[d], &writer->target[d])) return false;
    }
    return true;
}

static bool stage_has(const Stage *stage, int var) {
    for (int i = 0; i < stage->free; i++)
        if (stage->var[i] == var) return true;
    return false;
}

const Kernel *derive_outer(Arena *arena, const Kernel *k) {
    const Stage *first = &k->stage.at[0];
    bool is_free[NEST_VARS] = {false};
    if (first->free == 0) return k;
    for (int i = 0; i < first->free; i++) is_free[first->var[i]] = true;
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        int v;
        if (stage->accumulate || stage->free != first->free) return k;
        for (int i = 0; i < stage->free; i++)
            if (!is_free[stage->var[i]]) return k;
        for (int i = 0; i < k->stage.count; i++) // a variable free here and reduced there stays where it is
            for (int j = k->stage.at[i].free; j < k->stage.at[i].vars; j++)
                if (is_free[k->stage.at[i].var[j]]) return k;
        if (writer_of(k, stage->dest) != stage) return k; // written twice
        if (k->stage.count > 1) {
            bool found[NEST_VARS] = {false};
            int n = 0;
            for (int d = 0; d < stage->rank; d++)
                if (position_is_var(&stage->target[d], &v) && !found[v]) found[v] = true, n += stage_has(stage, v);
            if (n != stage->free || (stage->dest < 0 && stage->rank != stage->free)) return k;
            if (!reads_own_element(k, stage->value)) return k;
        }
    }
    Kernel *out = kernel_copy(arena, k);
    Rewrite r;
    rewrite_init(&r, arena, k);
    for (int i = 0; i < k->local.count; i++) r.scalar[i] = true;
    int n = 0;
    for (int v = 0; v < k->outer; v++) r.map[v] = n++;
    for (int i = 0; i < first->free; i++) r.map[first->var[i]] = n++;
    out->outer = n;
    for (int v = k->outer; v < k->vars; v++)
        if (!is_free[v]) r.map[v] = n++;
    for (int v = 0; v < k->vars; v++) out->var[r.map[v]] = k->var[v], out->role[r.map[v]] = k->role[v];
    for (int s = 0; s < out->stage.count; s++) {
        Stage *stage = &out->stage.at[s];
        rewrite_stage(&r, stage);
        memmove(stage->var, stage->var + stage->free, sizeof stage->var[0] * (size_t)(stage->vars - stage->free));
        stage->vars -= stage->free;
        stage->free = 0;
    }
    for (int i = 0; i < out->local.count; i++) out->local.at[i].rank = 0;
    if (out->lane >= 0) out->lane = r.map[out->lane];
    if (out->split >= 0) out->split = r.map[out->split];
    return out;
}

// ---- dynamic locals to buffers
static void add_dim(KernelBuffer *b, Extent e) {
    if (b->rank == MAX_RANK) DIE("a workspace has more than %d dimensions", MAX_RANK);
    b->order[b->rank] = b->rank;
    b->dim[b->rank++] = e;
}

static int64_t local_elements(const KernelLocal *l) { // -1: dynamic
    int64_t n = 1;
    for (int d = 0; d < l->rank; d++) {
        if (l->dim[d].axis >= 0) return -1;
        n *= l->dim[d].count;
    }
    return n;
}

static int local_rank_as_buffer(const Kernel *k, const KernelLocal *l) {
    int rank = l->rank;
    for (int v = 0; v < k->outer; v++) rank += !extent_is_one(k->var[v].extent);
    return rank;
}

static KernelBuffer local_as_buffer(const Kernel *k, const KernelLocal *l) {
    KernelBuffer b = {.type = l->type, .is_read = true, .is_written = true};
    for (int v = 0; v < k->outer; v++)
        if (!extent_is_one(k->var[v].extent)) add_dim(&b, k->var[v].extent);
    for (int d = 0; d < l->rank; d++) add_dim(&b, l->dim[d]);
    return b;
}

// The static locals that stay are at most `elements` elements together.
static void choose_large(const Kernel *k, int64_t elements, bool *large) {
    for (;;) {
        int64_t total = 0, most = 0;
        int which = -1;
        for (int i = 0; i < k->local.count; i++) {
            int64_t n = local_elements(&k->local.at[i]);
            if (n < 0 || large[i] || k->local.at[i].rank == 0) continue;
            total += n;
            if (n > most && local_rank_as_buffer(k, &k->local.at[i]) <= MAX_RANK) most = n, which = i;
        }
        if (total <= elements || which < 0) return;
        large[which] = true;
    }
}

const Kernel *derive_buffers(Arena *arena, const Kernel *k, int64_t elements) {
    Rewrite r;
    rewrite_init(&r, arena, k);
    Kernel *out = NULL;
    bool *large = NEW_ARRAY(arena, bool, k->local.count + 1);
    choose_large(k, elements, large);
    for (int i = 0; i < k->local.count; i++) {
        const KernelLocal *l = &k->local.at[i];
        if (local_elements(l) >= 0 && !large[i]) continue;
        if (local_rank_as_buffer(k, l) > MAX_RANK) continue;
        if (!out) out = kernel_copy(arena, k);
        KernelBuffer b = local_as_buffer(k, l);
        r.buffer[i] = out->buffer.count;
        vec_push(arena, &out->buffer, b);
    }
    if (!out) return k;
    for (int s = 0; s < out->stage.count; s++) rewrite_stage(&r, &out->stage.at[s]);
    for (int i = 0; i < out->local.count; i++)
        if (r.buffer[i] >= 0) out->local.at[i].rank = 0;
    return out;
}

// ---- long reductions in pieces
void derive_split(Arena *arena, const Kernel *k, uint64_t stages, int chunks, Kernel **partial, Kernel **rest) {
    Rewrite r;
    rewrite_init(&r, arena, k);
    for (int v = 0; v < k->vars; v++) r.map[v] = v + 1;
    Kernel *a = kernel_copy(arena, k), *b = kernel_copy(arena, k);
    a->vars = b->vars = k->vars + 1;
    EXPECT(a->vars <= 2 * MAX_VARS);
    a->outer = k->outer + 1;
    a->var[0] = (Variable){"chunk", extent_of(chunks)};
    for (int v = 0; v < k->vars; v++) a->var[v + 1] = k->var[v];
    b->var[k->vars] = a->var[0];
    a->lane = k->lane >= 0 ? k->lane + 1 : -1;
    a->split = a->chunks = b->split = -1;
    a->stage.count = 0;
    for (int s = 0; s < k->stage.count; s++) {
        if (!(stages >> s & 1)) continue;
        a->stage.at[a->stage.count] = k->stage.at[s];
        Stage *pa = &a->stage.at[a->stage.count++], *pb = &b->stage.at[s];
        KernelBuffer w = {.type = pb->value->type, .is_written = true};
        Position *ta = NEW_ARRAY(arena, Position, MAX_RANK), *tb = NEW_ARRAY(arena, Position, MAX_RANK);
        add_dim(&w, extent_of(chunks));
        ta[0] = plain(0);
        tb[0] = plain(k->vars);
        for (int v = 0; v < k->outer; v++) {
            if (extent_is_one(k->var[v].extent)) continue;
            ta[w.rank] = plain(v + 1);
            tb[w.rank] = plain(v);
            add_dim(&w, k->var[v].extent);
        }
        for (int i = 0; i < pb->free; i++) {
            ta[w.rank] = plain(pb->var[i] + 1);
            tb[w.rank] = plain(pb->var[i]);
            add_dim(&w, k->var[pb->var[i]].extent);
        }
        pa->value = rewrite(&r, pa->value);
        for (int i = 0; i < pa->vars; i++) pa->var[i]++;
        pa->dest = a->buffer.count;
        pa->rank = w.rank;
        pa->target = ta;
        Expr *read = NEW(arena, Expr);
        read->op = OP_READ;
        read->type = w.type;
        read->tensor = b->buffer.count;
        read->rank = w.rank;
        read->position = tb;
        pb->value = read;
        pb->var[pb->free] = k->vars;
        pb->vars = pb->free + 1;
        vec_push(arena, &a->buffer, w);
        w.is_written = false;
        w.is_read = true;
        vec_push(arena, &b->buffer, w);
    }
    *partial = a;
    *rest = b;
}

// ---- stages in two phases
static bool expr_reads(const Expr *e, int tensor) {
    if (e->op == OP_READ && e->tensor == tensor) return true;
    for (int i = 0; i < e->arity; i++)
        if (expr_reads(e->arg[i], tensor)) return true;
    for (int i = 0; e->op == OP_READ && i < e->rank; i++)
        if (e->position[i].gather && expr_reads(e->position[i].gather, tensor)) return true;
    return false;
}

static bool crosses(const Kernel *k, int local, int at) { // written before `at`, read from there on
    bool written = false, read = false;
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        if (s < at) written = written || stage->dest == ~local;
        else read = read || expr_reads(stage->value, ~local);
        for (int d = 0; d < stage->rank && s >= at; d++)
            read = read || (stage->target[d].gather && expr_reads(stage->target[d].gather, ~local));
    }
    return written && read;
}

static void mark_written(Kernel *k) {
    for (int i = 0; i < k->buffer.count; i++) {
        k->buffer.at[i].is_written = writer_of(k, i) != NULL;
        if (!k->buffer.at[i].is_written) k->buffer.at[i].is_read = true;
    }
}

bool derive_cut(Arena *arena, const Kernel *k, int at, Kernel **head, Kernel **rest) {
    Rewrite r;
    rewrite_init(&r, arena, k);
    Kernel *all = kernel_copy(arena, k);
    for (int i = 0; i < k->local.count; i++) {
        const KernelLocal *l = &k->local.at[i];
        if (!crosses(k, i, at)) continue;
        if (local_rank_as_buffer(k, l) > MAX_RANK) return false;
        KernelBuffer b = local_as_buffer(k, l);
        r.buffer[i] = all->buffer.count;
        vec_push(arena, &all->buffer, b);
    }
    for (int s = 0; s < all->stage.count; s++) rewrite_stage(&r, &all->stage.at[s]);
    for (int i = 0; i < all->local.count; i++)
        if (r.buffer[i] >= 0) all->local.at[i].rank = 0;
    *head = all;
    *rest = kernel_copy(arena, all);
    (*head)->stage.count = at;
    (*rest)->stage.at += at;
    (*rest)->stage.count -= at;
    (*rest)->stage.room = (*rest)->stage.count;
    mark_written(*head);
    mark_written(*rest);
    return true;
}
