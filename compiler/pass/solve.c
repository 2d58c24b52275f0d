// Solving p(v) = J, where x[p(v)] is a read and J an element of x, for the variables v of an equation: see invert.c.
// A window i + u gives i = J - u with u left to be summed, a tiling s*i + u gives both, digits are put together.
#include "pass/invert.h"

#include <string.h>

int64_t floor_quotient(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

Form form_of(int id) {
    Form f = {.divide = 1};
    f.sum.coef[id] = 1;
    return f;
}

bool form_is_affine(const Form *f) {
    return f->divide == 1 && f->modulo == 0;
}

void affine_add(Affine *into, const Affine *a, int64_t times) {
    for (int i = 0; i < IDS; i++) into->coef[i] += times * a->coef[i];
    into->offset += times * a->offset;
}

static bool affine_is_zero(const Affine *a) {
    for (int i = 0; i < IDS; i++)
        if (a->coef[i] != 0) return false;
    return a->offset == 0;
}

bool affine_range(const Inversion *s, const Affine *a, int64_t *low, int64_t *high) {
    *low = *high = a->offset;
    for (int i = 0; i < IDS; i++) {
        if (a->coef[i] == 0) continue;
        if (s->extent[i].axis >= 0) return false;
        int64_t reach = a->coef[i] * (s->extent[i].count - 1);
        if (reach < 0) *low += reach;
        else *high += reach;
    }
    return true;
}

static int new_extra(Inversion *s, Extent extent) {
    if (s->extras == IDS - EXTRA) return -1;
    int id = EXTRA + s->extras++;
    s->extent[id] = extent;
    return id;
}

static void add_condition(Inversion *s, int kind, const Affine *sum, int64_t limit) {
    Condition c = {.kind = kind, .sum = *sum, .limit = limit};
    vec_push(s->g->arena, &s->condition, c);
}

// The dimension may be longer than the values that its position takes.
static void condition_below(Inversion *s, int id, int64_t limit) {
    if (s->extent[id].axis < 0 && s->extent[id].count <= limit) return;
    Form f = form_of(id);
    add_condition(s, IS_BELOW, &f.sum, limit);
}

static void solved(Inversion *s, int var, const Form *f) {
    s->form[var] = *f;
    s->unknown &= ~(1u << var);
}

static void keep(Inversion *s, int var) {
    s->form[var] = form_of(var);
    s->unknown &= ~(1u << var);
    s->summed |= 1u << var;
}

// ---- digits: i // 9, (i // 3) % 3, i % 3 are the digits of one variable; put them together again.
static bool is_digit(const Position *p) {
    return p->gather == NULL && p->terms == 1 && p->term[0].coef == 1 && p->offset == 0 && !p->exact &&
           (p->divide > 1 || p->modulo > 0);
}

static bool only_in_digits(const Inversion *s, int var) {
    bool any = false;
    for (int d = 0; d < s->x->rank; d++) {
        const Position *p = &s->read->position[d];
        for (int k = 0; k < p->terms; k++) {
            if (p->term[k].var != var) continue;
            if (!is_digit(p)) return false;
            any = true;
        }
    }
    return any;
}

static bool solve_digits(Inversion *s, int var) {
    int dims[MAX_RANK], n = 0;
    for (int d = 0; d < s->x->rank; d++) {
        const Position *p = &s->read->position[d];
        if (p->gather != NULL || p->terms != 1 || p->term[0].var != var) continue;
        int at = n++;
        for (; at > 0 && s->read->position[dims[at - 1]].divide > p->divide; at--) dims[at] = dims[at - 1];
        dims[at] = d;
    }
    Form f = {.divide = 1};
    int64_t unit = 1; // everything below is covered
    bool top = false;
    for (int k = 0; k < n; k++) {
        const Position *p = &s->read->position[dims[k]];
        if (top || p->divide < unit || p->divide % unit != 0) return false;
        if (p->divide > unit) {
            int r = new_extra(s, extent_of(p->divide / unit));
            if (r < 0) return false;
            f.sum.coef[r] = unit;
        }
        f.sum.coef[DIM + dims[k]] = p->divide;
        top = p->modulo == 0;
        if (!top) condition_below(s, DIM + dims[k], p->modulo);
        unit = top ? unit : p->divide * p->modulo;
        s->done[dims[k]] = true;
    }
    if (!top) {
        Extent e = s->extent[var];
        if (e.axis >= 0 && e.count % unit != 0) return false;
        e.count = (e.count + unit - 1) / unit;
        if (!extent_is_one(e)) {
            int q = new_extra(s, e);
            if (q < 0) return false;
            f.sum.coef[q] = unit;
        }
    }
    solved(s, var, &f);
    return true;
}

// ---- affine positions
static uint32_t unknown_in(const Inversion *s, const Position *p) {
    uint32_t vars = 0;
    for (int k = 0; k < p->terms; k++) vars |= 1u << p->term[k].var;
    return vars & s->unknown;
}

// What the sum inside the position of dimension d must be, as an affine form of J and perhaps new variables.
static bool right_side(Inversion *s, int d, Affine *t) {
    const Position *p = &s->read->position[d];
    memset(t, 0, sizeof *t);
    t->coef[DIM + d] = p->divide;
    if (p->divide > 1 && !p->exact) {
        int r = new_extra(s, extent_of(p->divide));
        if (r < 0) return false;
        t->coef[r] = 1;
    }
    if (p->modulo > 0) {
        Affine a = {.offset = p->offset};
        for (int k = 0; k < p->terms; k++) a.coef[p->term[k].var] = p->term[k].coef;
        int64_t low, high, period = p->divide * p->modulo;
        if (!affine_range(s, &a, &low, &high)) return false;
        low = floor_quotient(low, period);
        high = floor_quotient(high, period);
        t->offset += low * period;
        if (high > low) {
            int q = new_extra(s, extent_of(high - low + 1));
            if (q < 0) return false;
            t->coef[q] = period;
        }
        condition_below(s, DIM + d, p->modulo);
    }
    return true;
}

static bool larger_extent(Extent a, Extent b) {
    if ((a.axis >= 0) != (b.axis >= 0)) return a.axis >= 0;
    return a.count > b.count;
}

// sum of coef*var = t, every coef positive and each variable's digits below the next one's unit: divisions solve all.
static bool solve_tiling(Inversion *s, const Term *term, int n, const Affine *t) {
    Term sorted[4];
    for (int i = 0; i < n; i++) {
        if (term[i].coef <= 0) return false;
        int at = i;
        for (; at > 0 && sorted[at - 1].coef < term[i].coef; at--) sorted[at] = sorted[at - 1];
        sorted[at] = term[i];
    }
    for (int i = 1; i < n; i++) {
        Extent e = s->extent[sorted[i].var];
        if (e.axis >= 0 || sorted[i - 1].coef % sorted[i].coef != 0) return false;
        if (e.count > sorted[i - 1].coef / sorted[i].coef) return false;
    }
    for (int i = 0; i < n; i++) {
        Form f = {.sum = *t, .divide = sorted[i].coef};
        f.exact = i == n - 1 && f.divide > 1;
        f.modulo = i > 0 ? sorted[i - 1].coef / sorted[i].coef : 0;
        solved(s, sorted[i].var, &f);
    }
    return true;
}

static bool solve_dimension(Inversion *s, int d) {
    const Position *p = &s->read->position[d];
    Affine t;
    if (!right_side(s, d, &t)) return false;
    t.offset -= p->offset;
    Term open[4];
    int n = 0;
    for (int k = 0; k < p->terms; k++) {
        int v = p->term[k].var;
        if (s->unknown & 1u << v) open[n++] = p->term[k];
        else if (form_is_affine(&s->form[v])) affine_add(&t, &s->form[v].sum, -p->term[k].coef);
        else return false;
    }
    s->done[d] = true;
    for (int k = n - 1; k >= 0 && n > 1; k--) { // a variable of one value is 0
        if (!extent_is_one(s->extent[open[k].var])) continue;
        Form nothing = {.divide = 1};
        solved(s, open[k].var, &nothing);
        open[k] = open[--n];
    }
    if (n == 0) {
        if (!affine_is_zero(&t)) add_condition(s, IS_ZERO, &t, 0);
        return true;
    }
    if (n > 1 && solve_tiling(s, open, n, &t)) return true;
    // Solve for the longest, sum over the others: a window stays a window.
    int best = 0;
    for (int k = 1; k < n; k++)
        if (larger_extent(s->extent[open[k].var], s->extent[open[best].var])) best = k;
    for (int k = 0; k < n; k++) {
        if (k == best) continue;
        keep(s, open[k].var);
        t.coef[open[k].var] -= open[k].coef;
    }
    int64_t a = open[best].coef;
    Form f = {.divide = a < 0 ? -a : a};
    affine_add(&f.sum, &t, a < 0 ? -1 : 1);
    f.exact = f.divide > 1;
    solved(s, open[best].var, &f);
    return true;
}

bool invert_solve(Inversion *s, uint32_t used) {
    for (int d = 0; d < s->x->rank; d++)
        if (s->read->position[d].gather != NULL) return false;
    s->unknown = used;
    for (int v = 0; v < s->eq->vars; v++)
        if ((used & 1u << v) && only_in_digits(s, v) && !solve_digits(s, v)) return false;
    for (int left = s->x->rank; left > 0; left--) {
        int next = -1, fewest = 99;
        for (int d = 0; d < s->x->rank; d++) {
            int n = __builtin_popcount(unknown_in(s, &s->read->position[d]));
            if (!s->done[d] && n < fewest) {
                next = d;
                fewest = n;
            }
        }
        if (next >= 0 && !solve_dimension(s, next)) return false;
    }
    for (int v = 0; v < s->eq->vars; v++)
        if (s->unknown & 1u << v) keep(s, v);
    for (int i = 0; i < IDS; i++) s->number[i] = -1;
    for (int d = 0; d < s->x->rank; d++) s->number[DIM + d] = d;
    s->vars = s->x->rank;
    for (int i = 0; i < IDS; i++)
        if ((i < MAX_VARS && (s->summed & 1u << i)) || (i >= EXTRA && i < EXTRA + s->extras)) s->number[i] = s->vars++;
    return s->vars <= MAX_VARS;
}
