// What a spec may cost: unrolling, nesting, sizes of expressions and of tensors. Every limit is reported as one, with
// the place where it was met, so that a slip (a loop too many) is an error and not an endless compilation.
// requires nothing; leaves nothing.
#include "elaborate/internal.h"

#include <sys/resource.h>

static bool limit(El *el, Span at, const char *what, const char *help) {
    if (!el->too_large) {
        report_error(el->d, at, "too-large", "%s", what);
        report_help(el->d, "%s", help);
    }
    el->too_large = true;
    return false;
}

bool within_steps(El *el, Span at) {
    if (el->steps++ > MAX_STEPS)
        return limit(el, at, arena_format(el->arena, "unrolling this spec takes more than %d statements", MAX_STEPS),
                     "loops and calls multiply: a loop over an axis is written with an index, y[i] = …");
    if (el->program->tensor.count > MAX_TENSORS)
        return limit(el, at, arena_format(el->arena, "this spec has more than %d equations", MAX_TENSORS),
                     "loops and calls multiply: a loop over an axis is written with an index, y[i] = …");
    return true;
}

// Most of what the system gives, less what the passes behind need, which recurse over expressions.
ptrdiff_t stack_room(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur / 8 * 5 > MAX_STACK)
        return MAX_STACK;
    return (ptrdiff_t)(limit.rlim_cur / 8 * 5);
}

bool within_stack(El *el, Span at) {
    const char *here = __builtin_frame_address(0);
    if (el->stack - here < el->stack_room) return true;
    report_error(el->d, at, "too-deep", "expressions, functions and modules are nested too deep here");
    report_help(el->d, "name intermediate results; a function or module cannot contain itself");
    return false;
}

// ---- expressions: they share parts, so their size as a tree may be exponential in the spec

static uint32_t slot_of(const ExprFacts *table, uint32_t room, const Expr *e) {
    uint32_t at = (uint32_t)mix(5, (uint64_t)(uintptr_t)e) & (room - 1);
    while (table[at].expr && table[at].expr != e) at = (at + 1) & (room - 1);
    return at;
}

static void grow(El *el) {
    uint32_t room = el->fact_room ? 2 * el->fact_room : 1024;
    ExprFacts *table = NEW_ARRAY(el->arena, ExprFacts, room);
    for (uint32_t i = 0; i < el->fact_room; i++)
        if (el->fact[i].expr) table[slot_of(table, room, el->fact[i].expr)] = el->fact[i];
    el->fact = table;
    el->fact_room = room;
}

static void include(ExprFacts *whole, const ExprFacts *part) {
    enum { MOST = 1 << 30 };
    whole->used |= part->used;
    if (part->depth >= whole->depth) whole->depth = part->depth + 1;
    whole->size = whole->size > MOST - part->size ? MOST : whole->size + part->size;
}

// Valid until the next call. Expressions are immutable and live as long as the program, so the table only grows.
const ExprFacts *expr_facts(El *el, const Expr *e) {
    if (el->fact_room) {
        uint32_t at = slot_of(el->fact, el->fact_room, e);
        if (el->fact[at].expr) return &el->fact[at];
    }
    ExprFacts f = {.expr = e, .used = e->op == OP_INDEX ? 1ull << e->var : 0, .depth = 1, .size = 1};
    for (int i = 0; i < e->arity; i++) include(&f, expr_facts(el, e->arg[i]));
    for (int i = 0; e->op == OP_READ && i < e->rank; i++) {
        const Position *p = &e->position[i];
        if (p->gather) include(&f, expr_facts(el, p->gather));
        else
            for (int k = 0; k < p->terms; k++) f.used |= 1ull << p->term[k].var;
    }
    if (2 * (el->facts + 1) > el->fact_room) grow(el);
    el->facts++;
    ExprFacts *room = &el->fact[slot_of(el->fact, el->fact_room, e)];
    *room = f;
    return room;
}

bool within_expression(El *el, Expr *e, Span at) {
    const ExprFacts *f = expr_facts(el, e);
    if (f->size <= MAX_EXPR_SIZE && f->depth <= MAX_EXPR_DEPTH) return true;
    const char *what =
        f->size > MAX_EXPR_SIZE
            ? arena_format(el->arena, "this equation has more than %d operations", MAX_EXPR_SIZE)
            : arena_format(el->arena, "this equation is nested more than %d operations deep", MAX_EXPR_DEPTH);
    return limit(el, at, what, "name intermediate results: t[i] = …, then y[i] = … t[i] …");
}

// ---- sizes

bool within_elements(El *el, int rank, const Extent *dim, Span at) {
    double elements = 1;
    for (int i = 0; i < rank; i++) elements *= (double)dim[i].count;
    if (elements <= (double)MAX_ELEMENTS) return true;
    return limit(el, at, arena_format(el->arena, "this has %.3g elements; at most 1e15 can be counted", elements),
                 "check the sizes of its axes");
}

bool within_dynamic(El *el, int rank, const Extent *dim, Span at) {
    enum { MOST = 2 }; // what the plan's offsets can express
    int count = 0;
    for (int i = 0; i < rank; i++) count += dim[i].axis >= 0;
    if (count <= MOST) return true;
    report_error(el->d, at, "dynamic-limit", "this tensor has %d dynamic dimensions; at most %d can be planned", count,
                 MOST);
    report_help(el->d, "give one of the axes a number, or compute with fewer of them at a time");
    return false;
}

bool extent_times(El *el, Extent a, Extent b, Span at, Extent *out) {
    if (a.axis >= 0 && b.axis >= 0) {
        report_error(el->d, at, "bad-extent", "a size cannot be the product of the dynamic axes %s and %s",
                     el->program->axis.at[a.axis].name, el->program->axis.at[b.axis].name);
        report_help(el->d, "keep them as two dimensions");
        return false;
    }
    out->axis = a.axis >= 0 ? a.axis : b.axis;
    if (!__builtin_mul_overflow(a.count, b.count, &out->count) && out->count <= MAX_ELEMENTS) return true;
    return limit(
        el, at,
        arena_format(el->arena, "a size of %.3g; at most 1e15 can be counted", (double)a.count * (double)b.count),
        "check the sizes of its axes");
}
