// Shapes: agreement of extents, matching of a tensor against a pattern, resolving declared dimensions.
// requires values in scope; leaves extents, and errors that show both places of a disagreement.
#include "elaborate/internal.h"

#include <math.h>
#include <string.h>

bool extents_agree(const El *el, Extent a, int axis_a, Extent b, int axis_b) {
    (void)el;
    if (!extent_same(a, b)) return false;
    return axis_a < 0 || axis_b < 0 || axis_a == axis_b;
}

const char *extent_text(El *el, Extent e, int axis) {
    if (axis >= 0) {
        Axis *a = &el->program->axis.at[axis];
        return a->dynamic ? arena_format(el->arena, "axis %s (dynamic)", a->name)
                          : arena_format(el->arena, "axis %s (%lld)", a->name, (long long)a->count);
    }
    if (e.axis < 0) return arena_format(el->arena, "%lld", (long long)e.count);
    const char *name = el->program->axis.at[e.axis].name;
    return e.count == 1 ? arena_format(el->arena, "axis %s (dynamic)", name)
                        : arena_format(el->arena, "%lld x %s", (long long)e.count, name);
}

const char *shape_text(El *el, const Tensor *t) {
    Text text = {.arena = el->arena};
    text_add(&text, "[");
    for (int i = 0; i < t->rank; i++) {
        if (i) text_add(&text, ", ");
        Extent e = t->dim[i];
        if (t->axis[i] >= 0) text_add(&text, "%s", el->program->axis.at[t->axis[i]].name);
        else if (e.axis < 0) text_add(&text, "%lld", (long long)e.count);
        else if (e.count == 1) text_add(&text, "%s", el->program->axis.at[e.axis].name);
        else text_add(&text, "%lld*%s", (long long)e.count, el->program->axis.at[e.axis].name);
    }
    text_add(&text, "]");
    return text.at;
}

// An expression that stands for a size: a number, an axis, an index of a pattern, or arithmetic on them.
bool resolve_extent(El *el, Scope *s, const Node *n, Extent *extent, int *axis) {
    Value v;
    if (n->kind == N_NAME) {
        Value *p = scope_find_kind(s, n->name, true);
        if (!p) {
            if (el->indices && index_find(el->indices, n->name) >= 0) {
                report_error(el->d, n->span, "bad-extent", "the range of an index cannot depend on the index `%s`",
                             n->name);
                report_help(el->d, "skip elements with a condition: sum[j where j < %s] …", n->name);
                return false;
            }
            report_error(el->d, n->span, "unknown-name", "`%s` is not an axis, an option or an index known here",
                         n->name);
            suggest_name(el, s, n->name);
            return false;
        }
        v = *p;
    } else if (n->kind == N_BINARY && (!strcmp(n->name, "*") || !strcmp(n->name, "//"))) {
        // multiples of a dynamic axis: 9 * spot, n // 9
        Extent a, b;
        int ax, bx;
        if (!resolve_extent(el, s, KID(n, 0), &a, &ax) || !resolve_extent(el, s, KID(n, 1), &b, &bx)) return false;
        bool times = n->name[0] == '*';
        if (times) {
            if (!extent_times(el, a, b, n->span, extent)) return false;
        } else if (b.axis < 0 && b.count > 0 && (a.axis < 0 || a.count % b.count == 0)) {
            int64_t q = a.count / b.count;
            if (a.axis < 0 && a.count < 0 && a.count % b.count) q--;
            *extent = (Extent){q, a.axis};
        } else {
            report_error(el->d, n->span, "bad-extent",
                         b.axis < 0 && b.count > 0 ? "%s is not a multiple of %s" : "%s cannot be divided by %s",
                         extent_text(el, a, ax), extent_text(el, b, bx));
            return false;
        }
        *axis = -1;
        return true;
    } else if (!evaluate(el, s, n, &v)) {
        return false;
    }
    if (v.kind == V_EXTENT) {
        *extent = v.extent;
        *axis = v.axis;
        return true;
    }
    if (v.kind == V_NUMBER && !v.boolean) {
        if (!v.integer || v.number < 0 || v.number > 1e12) {
            report_error(el->d, n->span, "bad-extent", "a size must be an integer from 0 to 1e12, found %g",
                         isnan(v.number) ? fabs(v.number) : v.number);
            return false;
        }
        *extent = extent_of((int64_t)v.number);
        *axis = -1;
        return true;
    }
    report_error(el->d, n->span, "bad-extent", "a size must be a number or an axis, found %s", value_kind_name(&v));
    return false;
}

bool resolve_dims(El *el, Scope *s, const Node *dims, int *rank, Extent *dim, int *axis) {
    *rank = 0;
    if (!dims) return true;
    for (int i = 0; i < dims->kids; i++) {
        const Node *d = dims->kid[i];
        if (d->kind == N_ELLIPSIS) {
            Value *pack = scope_find(s, intern_z(el->names, ".."));
            if (!pack) {
                report_error(el->d, d->span, "no-pack", "`..` has no meaning here: no input pattern has `..`");
                return false;
            }
            for (int k = 0; k < pack->rank; k++) {
                if (*rank == MAX_RANK) goto too_many;
                dim[*rank] = pack->dim[k];
                axis[(*rank)++] = pack->dim_axis[k];
            }
            continue;
        }
        if (*rank == MAX_RANK) goto too_many;
        if (d->kind == N_BOUND) d = KID(d, 0) ? KID(d, 0) : d;
        if (!resolve_extent(el, s, d, &dim[*rank], &axis[*rank])) return false;
        (*rank)++;
    }
    return within_elements(el, *rank, dim, dims->span) && within_dynamic(el, *rank, dim, dims->span);
too_many:
    report_error(el->d, dims->span, "rank-limit", "a tensor can have at most %d dimensions", MAX_RANK);
    return false;
}

static bool bind_pack(El *el, Scope *s, const Node *at, const Tensor *t, int first, int count, Span from) {
    const char *name = intern_z(el->names, "..");
    Value *old = NULL;
    for (int i = 0; i < s->binding.count; i++)
        if (s->binding.at[i].name == name) old = &s->binding.at[i].value;
    if (!old) {
        Value pack = {.kind = V_PACK, .rank = count, .span = from, .axis = -1};
        pack.dim = NEW_ARRAY(el->arena, Extent, MAX_RANK);
        pack.dim_axis = NEW_ARRAY(el->arena, int, MAX_RANK);
        for (int i = 0; i < count; i++) pack.dim[i] = t->dim[first + i], pack.dim_axis[i] = t->axis[first + i];
        scope_bind(el, s, name, pack);
        return true;
    }
    bool same = old->rank == count;
    for (int i = 0; same && i < count; i++)
        same = extents_agree(el, old->dim[i], old->dim_axis[i], t->dim[first + i], t->axis[first + i]);
    if (same) return true;
    Tensor this = {.rank = count}, other = {.rank = old->rank};
    memcpy(this.dim, t->dim + first, sizeof(Extent) * (size_t)count);
    memcpy(this.axis, t->axis + first, sizeof(int) * (size_t)count);
    memcpy(other.dim, old->dim, sizeof(Extent) * (size_t)old->rank);
    memcpy(other.axis, old->dim_axis, sizeof(int) * (size_t)old->rank);
    report_error(el->d, from, "pack-mismatch",
                 "the axes %s of this input do not agree with %s of an earlier input of `%s`", shape_text(el, &this),
                 shape_text(el, &other), s->callee && s->callee->name ? s->callee->name : "this");
    report_note(el->d, old->span, "the earlier input is here");
    report_note(el->d, at->span, "both are `..` here");
    return false;
}

// Binds the index names of a pattern to the extents of the tensor that is given for it.
bool match_pattern(El *el, Scope *s, const Node *pattern, const Tensor *t, Span from) {
    const Node *dims = KID(pattern, 0);
    if (!dims) return true;
    int named = 0;
    bool pack = false;
    for (int i = 0; i < dims->kids; i++)
        if (dims->kid[i]->kind == N_ELLIPSIS) pack = true;
        else named++;
    if (pack ? t->rank < named : t->rank != named) {
        report_error(el->d, from, "rank-mismatch", "`%s` takes a tensor with %s%d axes, this one has %d: %s",
                     s->callee && s->callee->name ? s->callee->name : "this", pack ? "at least " : "", named, t->rank,
                     shape_text(el, t));
        report_note(el->d, pattern->span, "the input is declared here");
        return false;
    }
    int at = 0;
    for (int i = 0; i < dims->kids; i++) {
        const Node *d = dims->kid[i];
        if (d->kind == N_ELLIPSIS) {
            int count = t->rank - named;
            if (!bind_pack(el, s, d, t, at, count, from)) return false;
            at += count;
            continue;
        }
        Extent have = t->dim[at];
        int have_axis = t->axis[at];
        at++;
        Value *old = NULL;
        if (d->kind == N_NAME || (d->kind == N_BOUND && !KID(d, 0))) {
            for (int k = 0; k < s->binding.count && !old; k++)
                if (s->binding.at[k].name == d->name && s->binding.at[k].value.kind != V_TENSOR)
                    old = &s->binding.at[k].value;
            if (!old) { // an axis of the file that the function stands in keeps its meaning
                Value *outer = scope_find(s, d->name);
                if (outer && outer->kind == V_EXTENT && outer->axis >= 0) old = outer;
            }
            if (!old) {
                Value v = value_extent(have, have_axis);
                v.span = from;
                scope_bind(el, s, d->name, v);
                continue;
            }
        }
        Extent want;
        int want_axis;
        if (old && old->kind == V_EXTENT) want = old->extent, want_axis = old->axis;
        else if (!resolve_extent(el, s, d->kind == N_BOUND ? KID(d, 0) : d, &want, &want_axis)) return false;
        if (extents_agree(el, have, have_axis, want, want_axis)) continue;
        const char *seen = extent_text(el, have, have_axis), *wanted = extent_text(el, want, want_axis);
        bool by_input = old && old->kind == V_EXTENT && !old->origin;
        report_error(el->d, from, "axis-mismatch", "%s does not agree with %s%s in dimension %d of %s", seen, wanted,
                     by_input ? arena_format(el->arena, ", which `%s` stands for,", d->name) : "", at,
                     shape_text(el, t));
        if (by_input && old->span.begin != old->span.end)
            report_note(el->d, old->span, "`%s` stands for %s because of this", d->name, wanted);
        report_note(el->d, d->span, "`%s` is declared with this dimension here",
                    s->callee && s->callee->name ? s->callee->name : "the input");
        return false;
    }
    return true;
}
