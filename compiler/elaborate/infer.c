// Ranges of indices: every index of a statement gets its extent from the tensor dimensions in which it stands alone,
// from `i < n`, or from the declared shape of an output.
// requires tensors in scope; leaves Indices complete, or an error that shows both places that disagree.
#include "elaborate/internal.h"

#include <string.h>

int index_find(const Indices *ix, const char *name) {
    for (int i = ix->count - 1; i >= 0; i--)
        if (ix->at[i].active && ix->at[i].name == name) return i;
    return -1;
}

int index_add(El *el, Indices *ix, const char *name, const Node *binder, Span at) {
    if (ix->count == MAX_ENTRIES) {
        report_error(el->d, at, "index-limit", "more than %d indices in one statement", MAX_ENTRIES);
        report_help(el->d, "name an intermediate tensor");
        return -1;
    }
    ix->at[ix->count] = (IndexEntry){.name = name, .axis = -1, .active = true, .binder = binder, .from = at};
    ix->changed = true;
    return ix->count++;
}

bool index_know(El *el, Indices *ix, int entry, Extent e, int axis, Span from) {
    IndexEntry *x = &ix->at[entry];
    if (x->fixed) return true;
    if (!x->known) {
        x->extent = e;
        x->axis = axis;
        x->known = true;
        x->from = from;
        ix->changed = true;
        return true;
    }
    if (extents_agree(el, x->extent, x->axis, e, axis)) {
        if (x->axis < 0 && axis >= 0) x->axis = axis;
        return true;
    }
    report_error(el->d, from, "axis-mismatch", "index `%s` ranges over %s here and over %s elsewhere", x->name,
                 extent_text(el, e, axis), extent_text(el, x->extent, x->axis));
    report_note(el->d, x->from, "here `%s` ranges over %s", x->name, extent_text(el, x->extent, x->axis));
    report_help(el->d, "use two different index names, or give a range with `%s < n`", x->name);
    return false;
}

static bool set_pack(El *el, Indices *ix, int count, const Extent *dim, const int *axis, Span at) {
    if (ix->pack_count < 0) {
        ix->pack_count = count;
        for (int i = 0; i < count; i++) {
            int e = index_add(el, ix, intern_z(el->names, arena_format(el->arena, "..%d", i)), NULL, at);
            if (e < 0) return false;
            ix->pack[i] = e;
        }
    }
    if (ix->pack_count != count) {
        report_error(el->d, at, "pack-mismatch", "`..` stands for %d ax%s here and for %d elsewhere in this statement",
                     count, count == 1 ? "is" : "es", ix->pack_count);
        if (ix->pack_count > 0) report_note(el->d, ix->at[ix->pack[0]].from, "the other place is here");
        report_help(el->d, "give the axes that only one side has a name: y[.., j] = a[.., j] + b[j]");
        return false;
    }
    for (int i = 0; i < count; i++)
        if (!index_know(el, ix, ix->pack[i], dim[i], axis[i], at)) return false;
    return true;
}

// The extents of the members of a group `(h c)` from the extent of the whole, when all but one are known.
static bool infer_group(El *el, Scope *s, Indices *ix, const Node *g, Extent whole, Span declared) {
    int unknown = -1;
    Extent product = extent_of(1);
    for (int i = 0; i < g->kids; i++) {
        const Node *m = g->kid[i];
        int e = index_find(ix, m->name);
        if (e < 0) {
            report_error(el->d, m->span, "unbound-index", "index `%s` has no binder", m->name);
            report_help(el->d, "an index stands on the left side or under a reduction: sum[%s] …", m->name);
            return false;
        }
        if (m->kind == N_BOUND && KID(m, 0) && !ix->at[e].known) {
            Extent x;
            int axis;
            if (!resolve_extent(el, s, KID(m, 0), &x, &axis)) return false;
            if (!index_know(el, ix, e, x, axis, m->span)) return false;
        }
        if (!ix->at[e].known) {
            if (unknown >= 0) return true; // perhaps later
            unknown = e;
        } else {
            Extent x = ix->at[e].extent;
            if (!extent_times(el, product, x, g->span, &product)) return false;
        }
    }
    if (unknown < 0) {
        if (extent_same(product, whole)) return true;
        goto bad;
    }
    if (product.count == 0 || whole.count % product.count || (product.axis >= 0 && product.axis != whole.axis))
        goto bad;
    Extent rest = {whole.count / product.count, product.axis >= 0 ? -1 : whole.axis};
    return index_know(el, ix, unknown, rest, rest.count == 1 ? rest.axis : -1,
                      g->span); // 3*spot rows by 3 are spots again
bad:
    report_error(el->d, g->span, "group-mismatch", "the sizes in this group do not multiply to %s",
                 extent_text(el, whole, -1));
    report_note(el->d, declared, "the dimension is of this tensor");
    return false;
}

bool infer_dims(El *el, Scope *s, Indices *ix, const Node *dims, int rank, const Extent *dim, const int *axis,
                const char *what, Span declared) {
    int explicit = 0, pack = 0;
    for (int i = 0; i < dims->kids; i++)
        if (dims->kid[i]->kind == N_ELLIPSIS) pack++;
        else explicit ++;
    if (pack > 1) {
        report_error(el->d, dims->span, "two-packs", "`..` can stand only once between brackets");
        return false;
    }
    if (pack ? rank < explicit : rank != explicit) {
        Tensor shape = {.rank = rank};
        memcpy(shape.dim, dim, sizeof(Extent) * (size_t)rank);
        memcpy(shape.axis, axis, sizeof(int) * (size_t)rank);
        report_error(el->d, dims->span, "rank-mismatch", "`%s` has %d ax%s, %s; %d position%s given", what, rank,
                     rank == 1 ? "is" : "es", shape_text(el, &shape), explicit, explicit == 1 ? " is" : "s are");
        if (declared.begin != declared.end) report_note(el->d, declared, "`%s` is defined here", what);
        return false;
    }
    int at = 0;
    for (int i = 0; i < dims->kids; i++) {
        const Node *d = dims->kid[i];
        if (d->kind == N_ELLIPSIS) {
            if (!set_pack(el, ix, rank - explicit, dim + at, axis + at, d->span)) return false;
            at += rank - explicit;
            continue;
        }
        if (d->kind == N_NAME || d->kind == N_BOUND) {
            int e = index_find(ix, d->name);
            if (e >= 0 && !index_know(el, ix, e, dim[at], axis[at], d->span)) return false;
            if (e < 0 && !scope_find(s, d->name)) {
                report_error(el->d, d->span, "unbound-index", "index `%s` has no binder", d->name);
                report_help(el->d, "an index stands on the left side or under a reduction: sum[%s] …", d->name);
                return false;
            }
        } else if (d->kind == N_GROUP) {
            if (!infer_group(el, s, ix, d, dim[at], declared)) return false;
        } else if (!infer(el, s, ix, d)) {
            return false;
        }
        at++;
    }
    return true;
}

// Adds the indices that a reduction (or `f[j](…)`) introduces, or makes them active again.
bool open_binders(El *el, Scope *s, Indices *ix, const Node *owner, const Node *binders) {
    bool seen = false;
    for (int i = 0; i < ix->count; i++)
        if (ix->at[i].binder == owner) ix->at[i].active = true, seen = true;
    if (seen) return true;
    int count = binders->kids - (binders->guarded ? 1 : 0);
    for (int i = 0; i < count; i++) {
        const Node *b = binders->kid[i];
        for (int k = 0; b->kind == N_ELLIPSIS && k < i; k++)
            if (binders->kid[k]->kind == N_ELLIPSIS) {
                report_error(el->d, b->span, "two-packs", "`..` can stand only once between brackets");
                return false;
            }
        if (b->kind == N_ELLIPSIS) continue;
        for (int k = 0; k < i; k++)
            if (binders->kid[k]->kind == N_BOUND && binders->kid[k]->name == b->name) {
                report_error(el->d, b->span, "index-twice", "index `%s` stands twice in this binder", b->name);
                return false;
            }
        if (owner->kind == N_CALL && index_find(ix, b->name) >= 0) continue;
        int e = index_add(el, ix, b->name, owner, b->span);
        if (e < 0) return false;
        if (KID(b, 0)) {
            Extent x;
            int axis;
            if (!resolve_extent(el, s, KID(b, 0), &x, &axis)) return false;
            ix->at[e].extent = x;
            ix->at[e].axis = axis;
            ix->at[e].known = ix->at[e].fixed = true;
        }
    }
    return true;
}

void close_binders(Indices *ix, const Node *owner) {
    for (int i = 0; i < ix->count; i++)
        if (ix->at[i].binder == owner) ix->at[i].active = false;
}

bool infer(El *el, Scope *s, Indices *ix, const Node *n) {
    if (!n) return true;
    switch (n->kind) {
    case N_INDEXED: {
        Value *v = scope_find(s, n->name);
        if (!v) {
            report_error(el->d, n->span, "unknown-name", "`%s` is not defined", n->name);
            suggest_name(el, s, n->name);
            return false;
        }
        if (v->kind != V_TENSOR) return true; // numbers and absent parameters fit any position
        Tensor *t = v->tensor;
        return infer_dims(el, s, ix, KID(n, 0), t->rank, t->dim, t->axis, n->name, v->span);
    }
    case N_REDUCE: {
        if (!open_binders(el, s, ix, n, KID(n, 0))) return false;
        const Node *binders = KID(n, 0);
        bool ok = !binders->guarded || infer(el, s, ix, binders->kid[binders->kids - 1]);
        ok = ok && infer(el, s, ix, KID(n, 1));
        close_binders(ix, n);
        return ok;
    }
    case N_CALL: {
        const Node *binders = KID(n, 1);
        if (binders && !open_binders(el, s, ix, n, binders)) return false;
        bool ok = true;
        for (int i = 2; ok && i < n->kids; i++)
            ok = infer(el, s, ix, n->kid[i]->kind == N_NAMED ? KID(n->kid[i], 0) : n->kid[i]);
        if (binders) close_binders(ix, n);
        return ok;
    }
    case N_IF_EXPR: {
        bool yes; // the other arm is not looked at
        return evaluate_condition(el, s, n->kid[0], &yes) && infer(el, s, ix, n->kid[yes ? 1 : 2]);
    }
    case N_NAME:
    case N_NUMBER:
    case N_STRING:
    case N_BOOL:
    case N_ELLIPSIS: return true;
    default:
        for (int i = 0; i < n->kids; i++)
            if (!infer(el, s, ix, n->kid[i])) return false;
        return true;
    }
}

// What no tensor and no `i < n` tells, a pattern may: in `keep[b] = bernoulli(0.5)`, b is the b of the input x[b, ..].
bool infer_complete(El *el, Scope *s, Indices *ix, const Node *statement) {
    for (int i = 0; i < ix->count; i++) {
        IndexEntry *x = &ix->at[i];
        if (x->known) continue;
        const Value *size = scope_find_kind(s, x->name, true);
        if (size && size->kind == V_EXTENT) {
            x->extent = size->extent, x->axis = size->axis, x->known = true;
            continue;
        }
        report_error(el->d, x->from, "unknown-range", "the range of index `%s` is not known", x->name);
        const IndexEntry *other = NULL;
        for (int k = 0; k < ix->count; k++)
            if (k != i && ix->at[k].name == x->name && ix->at[k].known) other = &ix->at[k];
        if (other) report_note(el->d, other->from, "here `%s` is another index, bound by a reduction", x->name);
        report_help(el->d, "give it with `%s < n`, or use `%s` alone in a dimension of some tensor", x->name, x->name);
        (void)statement;
        return false;
    }
    return true;
}
