// Printer of the equation form; equations_read.c reads what this writes. spec/equations.md describes the text.
// It prints broken programs too, so that a verifier's message can be shown beside what it is about.
#include "forms/equations.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const kind_text[] = {"input", "scalar", "param", "state", "temp"};
static const char *const reduce_text[] = {"", "sum", "max", "min", "prod", "argmax", "argmin"};

// An expression of more nodes than this, counted as a tree, names its shared nodes ($1=...) instead of repeating them.
enum { SHARE_ABOVE = 200 };

typedef struct Node {
    const Expr *e;
    double tree; // nodes below, repeated ones counted again
    int uses, number;
} Node;

typedef struct Printer {
    const Program *p;
    Text *out;
    const Equation *eq;
    char var[MAX_VARS][40];
    Node *node; // open addressing by pointer, of the expression being printed
    uint32_t count, room;
    int numbered;
    bool share;
} Printer;

static bool is_word(const char *s) {
    if (s == NULL || !((*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z') || *s == '_')) return false;
    for (; *s != 0; s++)
        if (!((*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '_'))
            return false;
    return true;
}

static void put_quoted(Text *out, const char *s) {
    text_add(out, "\"");
    for (; s != NULL && *s != 0; s++) {
        if (*s == '"' || *s == '\\') text_add(out, "\\%c", *s);
        else if (*s == '\n') text_add(out, "\\n");
        else text_add_bytes(out, s, 1);
    }
    text_add(out, "\"");
}

static void put_name(Text *out, const char *s) {
    bool plain = s != NULL && ((*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z') || *s == '_');
    for (const char *c = s; plain && *c != 0; c++)
        plain = (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_' ||
                *c == '.' || *c == '/';
    if (plain) text_add(out, "%s", s);
    else put_quoted(out, s);
}

static void put_number(Text *out, double x) {
    if (isnan(x)) text_add(out, "nan");
    else if (isinf(x)) text_add(out, x < 0 ? "-inf" : "inf");
    else if (x == 0) text_add(out, signbit(x) ? "-0" : "0");
    else text_real(out, x);
}

static void put_extent(const Printer *pr, Extent e) {
    if (e.axis < 0) {
        text_add(pr->out, "%" PRId64, e.count);
        return;
    }
    if (e.count != 1) text_add(pr->out, "%" PRId64 "*", e.count);
    if (e.axis < pr->p->axis.count) put_name(pr->out, pr->p->axis.at[e.axis].name);
    else text_add(pr->out, "\"axis %d?\"", e.axis);
}

// A bare axis name says both the extent and the declared axis; `2*spot` and `768` only the extent; `name=2*spot` both.
static void put_dim(const Printer *pr, Extent e, int axis) {
    if (axis >= 0 && axis < pr->p->axis.count) {
        const Axis *a = &pr->p->axis.at[axis];
        put_name(pr->out, a->name);
        bool own = a->dynamic ? e.axis == axis && e.count == 1 : e.axis < 0 && e.count == a->count;
        if (own) return;
        text_add(pr->out, "=");
    }
    if (e.axis >= 0 && e.count == 1 && e.axis < pr->p->axis.count) text_add(pr->out, "1*");
    put_extent(pr, e);
}

static const char *type_text(const Program *p, ElementType t) {
    return t == T_REAL && p->real64 ? "f64" : (unsigned)t < T_COUNT ? element_type_name[t] : "?";
}

// ---- sharing
static Node *find_node(Printer *pr, const Expr *e, bool add) {
    if (add && 2 * (pr->count + 1) > pr->room) {
        Node *old = pr->node;
        uint32_t room = pr->room;
        pr->room = room == 0 ? 64 : 2 * room;
        pr->node = NEW_ARRAY(pr->out->arena, Node, pr->room);
        pr->count = 0;
        for (uint32_t i = 0; i < room; i++)
            if (old[i].e != NULL) *find_node(pr, old[i].e, true) = old[i];
    }
    if (pr->room == 0) return NULL;
    uint32_t at = (uint32_t)(((uint64_t)(uintptr_t)e * 0x9E3779B97F4A7C15u) >> 33) & (pr->room - 1);
    while (pr->node[at].e != NULL && pr->node[at].e != e) at = (at + 1) & (pr->room - 1);
    if (pr->node[at].e == NULL) {
        if (!add) return NULL;
        pr->node[at].e = e;
        pr->count++;
    }
    return &pr->node[at];
}

static double count_nodes(Printer *pr, const Expr *e) {
    Node *n = find_node(pr, e, true);
    if (n->uses++ > 0) return n->tree;
    double tree = 1;
    for (int i = 0; i < e->arity; i++) tree += count_nodes(pr, e->arg[i]);
    if (e->op == OP_READ)
        for (int i = 0; i < e->rank; i++)
            if (e->position[i].gather != NULL) tree += count_nodes(pr, e->position[i].gather);
    find_node(pr, e, false)->tree = tree;
    return tree;
}

// ---- expressions
static void put_expr(Printer *pr, const Expr *e);

static void put_var(Printer *pr, int var) {
    if (pr->eq != NULL && var >= 0 && var < pr->eq->vars && var < MAX_VARS) text_add(pr->out, "%s", pr->var[var]);
    else text_add(pr->out, "v%d?", var);
}

static void put_affine(Printer *pr, const Position *p, bool bare) {
    bool single = (p->terms == 0 && p->offset >= 0) || (p->terms == 1 && p->term[0].coef == 1 && p->offset == 0);
    if (!single && !bare) text_add(pr->out, "(");
    for (int i = 0; i < p->terms; i++) {
        int64_t c = p->term[i].coef;
        if (i > 0) text_add(pr->out, c < 0 ? " - " : " + ");
        else if (c < 0) text_add(pr->out, "-");
        uint64_t size = c < 0 ? 0 - (uint64_t)c : (uint64_t)c;
        if (size != 1) text_add(pr->out, "%" PRIu64 "*", size);
        put_var(pr, p->term[i].var);
    }
    if (p->terms == 0) text_add(pr->out, "%" PRId64, p->offset);
    else if (p->offset != 0)
        text_add(pr->out, p->offset < 0 ? " - %" PRIu64 : " + %" PRIu64,
                 p->offset < 0 ? 0 - (uint64_t)p->offset : (uint64_t)p->offset);
    if (!single && !bare) text_add(pr->out, ")");
}

static void put_position(Printer *pr, const Position *p) {
    if (p->gather != NULL) {
        text_add(pr->out, "@");
        put_expr(pr, p->gather);
        return;
    }
    if (p->divide <= 1) {
        put_affine(pr, p, false);
    } else {
        if (p->modulo > 0) text_add(pr->out, "(");
        put_affine(pr, p, false);
        text_add(pr->out, p->exact ? "/%" PRId64 "!" : "//%" PRId64, p->divide);
        if (p->modulo > 0) text_add(pr->out, ")");
    }
    if (p->modulo > 0) text_add(pr->out, "%%%" PRId64, p->modulo);
}

static void put_positions(Printer *pr, const Position *p, int rank) {
    text_add(pr->out, "[");
    for (int i = 0; i < rank; i++) {
        if (i > 0) text_add(pr->out, ", ");
        put_position(pr, &p[i]);
    }
    text_add(pr->out, "]");
}

static void put_expr(Printer *pr, const Expr *e) {
    Text *out = pr->out;
    if (pr->share && e->arity > 0) {
        Node *n = find_node(pr, e, false);
        if (n != NULL && n->number > 0) {
            text_add(out, "$%d", n->number);
            return;
        }
        if (n != NULL && n->uses > 1) {
            n->number = ++pr->numbered;
            text_add(out, "$%d=", n->number);
        }
    }
    switch (e->op) {
    case OP_CONST:
        put_number(out, e->number);
        if (e->type != T_REAL) text_add(out, "%s", type_text(pr->p, e->type));
        return;
    case OP_INDEX:
        text_add(out, "index(");
        put_var(pr, e->var);
        text_add(out, ")");
        return;
    case OP_EXTENT:
        text_add(out, "extent(");
        put_extent(pr, e->extent);
        text_add(out, ")");
        return;
    case OP_RANDOM: text_add(out, "random(%" PRIu32 ")", e->place); return;
    case OP_READ:
        text_add(out, "%%%d", e->tensor);
        put_positions(pr, e->position, e->rank);
        return;
    default: break;
    }
    text_add(out, "%s(", e->op == OP_CAST ? type_text(pr->p, e->type) : op_text[e->op]);
    for (int i = 0; i < e->arity; i++) {
        if (i > 0) text_add(out, ", ");
        put_expr(pr, e->arg[i]);
    }
    text_add(out, ")");
}

static void put_value(Printer *pr, const Equation *eq) {
    pr->node = NULL;
    pr->count = pr->room = 0;
    pr->numbered = 0;
    double tree = count_nodes(pr, eq->value);
    if (eq->kind == EQ_SCATTER)
        for (int i = 0; i < pr->p->tensor.at[eq->out]->rank; i++)
            if (eq->target[i].gather != NULL) tree += count_nodes(pr, eq->target[i].gather);
    pr->share = tree > SHARE_ABOVE;
    put_expr(pr, eq->value);
}

// ---- lines
// Variables print under their names, made different within the equation.
static void name_vars(Printer *pr, const Equation *eq) {
    pr->eq = eq;
    for (int i = 0; i < eq->vars && i < MAX_VARS; i++) {
        const char *name = eq->var[i].name;
        bool usable = is_word(name) && strlen(name) < 30;
        int tries = 0;
        if (usable) snprintf(pr->var[i], sizeof pr->var[i], "%s", name);
        else snprintf(pr->var[i], sizeof pr->var[i], "v%d", i);
        for (bool clash = true; clash;) {
            clash = false;
            for (int k = 0; k < eq->vars && k < MAX_VARS && !clash; k++) {
                if (k < i) clash = strcmp(pr->var[k], pr->var[i]) == 0;
                // A made-up name must not take one that a later variable brings.
                if (k > i && (!usable || tries > 0))
                    clash = eq->var[k].name != NULL && strcmp(eq->var[k].name, pr->var[i]) == 0;
            }
            if (clash) snprintf(pr->var[i], sizeof pr->var[i], "%s_%d", usable ? name : "v", i + MAX_VARS * tries++);
        }
    }
}

static void put_vars(Printer *pr, int from, int to) {
    text_add(pr->out, "[");
    for (int i = from; i < to && i < MAX_VARS; i++) {
        text_add(pr->out, i > from ? ", %s:" : "%s:", pr->var[i]);
        put_extent(pr, pr->eq->var[i].extent);
    }
    text_add(pr->out, "]");
}

static void put_equation(Printer *pr, const Equation *eq) {
    Text *out = pr->out;
    text_add(out, "  ");
    name_vars(pr, eq);
    switch (eq->kind) {
    case EQ_COMPUTE:
        text_add(out, "%%%d", eq->out);
        put_vars(pr, 0, eq->free);
        text_add(out, " = ");
        if (eq->reduce != REDUCE_NONE) {
            text_add(out, "%s", reduce_text[eq->reduce]);
            put_vars(pr, eq->free, eq->vars);
            text_add(out, " ");
        }
        put_value(pr, eq);
        break;
    case EQ_VIEW: text_add(out, "%%%d = view %%%d", eq->out, eq->value->tensor); break;
    case EQ_SCATTER:
        text_add(out, "scatter %%%d", eq->out);
        pr->share = false;
        put_positions(pr, eq->target, pr->p->tensor.at[eq->out]->rank);
        text_add(out, " += ");
        put_value(pr, eq);
        text_add(out, " over ");
        put_vars(pr, 0, eq->vars);
        break;
    }
    if (eq->precision != PRECISION_MODEL) text_add(out, " at %s", precision_name[eq->precision]);
    if (eq->where != NULL && *eq->where != 0) {
        text_add(out, "  # ");
        for (const char *s = eq->where; *s != 0; s++) text_add_bytes(out, *s == '\n' ? " " : s, 1);
    }
    text_add(out, "\n");
    pr->eq = NULL;
}

static void put_doc(Text *out, const char *doc) {
    if (doc == NULL || *doc == 0) return;
    text_add(out, " doc ");
    put_quoted(out, doc);
}

static void put_tensor(const Printer *pr, const Tensor *t) {
    Text *out = pr->out;
    text_add(out, "tensor %d %s %s ", t->id, kind_text[t->kind], type_text(pr->p, t->type));
    put_name(out, t->name);
    text_add(out, " [");
    for (int i = 0; i < t->rank; i++) {
        if (i > 0) text_add(out, " ");
        put_dim(pr, t->dim[i], t->axis[i]);
    }
    text_add(out, "]");
    if (t->dataset != NULL) {
        text_add(out, " dataset ");
        put_quoted(out, t->dataset);
    }
    if (t->weight) text_add(out, " weight");
    if (t->init >= 0) text_add(out, " init %d", t->init);
    bool ordered = true;
    for (int i = 0; i < t->rank; i++) ordered = ordered && t->order[i] == i;
    if (!ordered) {
        text_add(out, " order");
        for (int i = 0; i < t->rank; i++) text_add(out, " %d", t->order[i]);
    }
    text_add(out, "\n");
}

static void put_setting(Text *out, const Setting *s) {
    text_add(out, "setting ");
    put_name(out, s->name);
    if (s->is_text) {
        text_add(out, " text ");
        put_quoted(out, s->text);
    } else {
        text_add(out, s->is_integer ? " integer " : " real ");
        put_number(out, s->value);
        text_add(out, " in ");
        put_number(out, s->low);
        text_add(out, " ");
        put_number(out, s->high);
    }
    if (s->scalar >= 0) text_add(out, " scalar %d", s->scalar);
    put_doc(out, s->doc);
    text_add(out, "\n");
}

static void put_train(Text *out, const TrainPlan *t) {
    text_add(out, "train epochs %" PRId64 " batch %" PRId64 " patience %" PRId64, t->epochs, t->batch, t->patience);
    if (t->shuffle) text_add(out, " shuffle");
    if (t->keep_last) text_add(out, " keep_last");
    if (t->maximise) text_add(out, " maximise");
    const char *word[] = {"monitor", "split", "compare", "with"};
    const char *value[] = {t->monitor, t->split, t->compare, t->with};
    for (int i = 0; i < 4; i++) {
        if (value[i] == NULL) continue;
        text_add(out, " %s ", word[i]);
        put_name(out, value[i]);
    }
    text_add(out, "\n");
}

static void put_job(Printer *pr, const Job *job) {
    Text *out = pr->out;
    text_add(out, "job ");
    put_name(out, job->name);
    text_add(out, "\n");
    for (int i = 0; i < job->equation.count; i++) put_equation(pr, job->equation.at[i]);
    for (int i = 0; i < job->update.count; i++)
        text_add(out, "  update %%%d <- %%%d\n", job->update.at[i].target, job->update.at[i].source);
    for (int i = 0; i < job->gradient.count; i++)
        text_add(out, "  gradient %%%d of %%%d\n", job->gradient.at[i].source, job->gradient.at[i].target);
    if (job->loss >= 0) text_add(out, "  loss %%%d\n", job->loss);
    for (int i = 0; i < job->output.count; i++) {
        text_add(out, "  output ");
        put_name(out, job->output.at[i].name);
        text_add(out, " %%%d\n", job->output.at[i].tensor);
    }
    text_add(out, "end\n");
}

void program_print(const Program *p, Text *out) {
    Printer pr = {.p = p, .out = out};
    text_add(out, "program ");
    put_name(out, p->name);
    text_add(out, p->real64 ? " f64" : " f32");
    put_doc(out, p->doc);
    text_add(out, "\n");
    for (int i = 0; i < p->axis.count; i++) {
        const Axis *a = &p->axis.at[i];
        text_add(out, "axis %d ", i);
        put_name(out, a->name);
        text_add(out, a->dynamic ? " dynamic %" PRId64 : " %" PRId64, a->count);
        if (a->from_data) text_add(out, " from_data");
        put_doc(out, a->doc);
        text_add(out, "\n");
    }
    for (int i = 0; i < p->tensor.count; i++) put_tensor(&pr, p->tensor.at[i]);
    if (p->scalar_seed >= 0 || p->scalar_step >= 0)
        text_add(out, "random seed %d step %d\n", p->scalar_seed, p->scalar_step);
    for (int i = 0; i < p->setting.count; i++) put_setting(out, &p->setting.at[i]);
    for (int i = 0; i < p->option.count; i++) {
        text_add(out, "option ");
        put_name(out, p->option.at[i].name);
        text_add(out, " ");
        put_quoted(out, p->option.at[i].value);
        put_doc(out, p->option.at[i].doc);
        text_add(out, "\n");
    }
    for (int i = 0; i < p->prepare.count; i++) {
        text_add(out, "prepare ");
        put_name(out, p->prepare.at[i].name);
        text_add(out, " ");
        put_quoted(out, p->prepare.at[i].value);
        text_add(out, "\n");
    }
    const TrainPlan *t = &p->train;
    if (t->epochs != 0 || t->batch != 0 || t->patience != 0 || t->shuffle || t->keep_last || t->maximise ||
        t->monitor != NULL || t->split != NULL || t->compare != NULL || t->with != NULL)
        put_train(out, t);
    for (int i = 0; i < p->job.count; i++) put_job(&pr, p->job.at[i]);
}
