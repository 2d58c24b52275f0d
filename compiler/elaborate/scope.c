// Scopes, values and compile-time arithmetic.
// requires nothing; leaves names bound to values. A scope is a body being executed: a file, a function, a module, a
// loop.
#include "elaborate/internal.h"

#include <math.h>
#include <string.h>

Scope *scope_new(El *el, Scope *parent) {
    Scope *s = NEW(el->arena, Scope);
    s->parent = parent;
    if (parent) {
        s->file = parent->file;
        s->path = parent->path;
        s->instance = parent->instance;
        s->place = parent->place;
        s->outputs = parent->outputs;
        s->callee = parent->callee;
        s->applied = parent->applied;
        s->updates = parent->updates;
    } else {
        s->path = "";
    }
    return s;
}

void scope_bind(El *el, Scope *s, const char *name, Value v) {
    if (s->parent) v.origin = NULL; // only a file declares; elsewhere it is a value like any other
    for (int i = s->binding.count - 1; i >= 0; i--)
        if (s->binding.at[i].name == name) {
            s->binding.at[i].value = v;
            return;
        }
    vec_push(el->arena, &s->binding, ((Binding){name, v}));
}

static Value *find_here(Scope *s, const char *name, int want) { // want: 0 any, 1 constant, 2 tensor
    for (int i = s->binding.count - 1; i >= 0; i--) {
        Binding *b = &s->binding.at[i];
        if (b->name != name) continue;
        if (want == 1 && b->value.kind == V_TENSOR) continue;
        return &b->value;
    }
    return NULL;
}

static Value *find(Scope *s, const char *name, int want) {
    for (; s; s = s->parent) {
        Value *v = find_here(s, name, want);
        if (v) return v;
        if (!s->parent && s->file)
            for (int i = s->file->used.count - 1; i >= 0; i--)
                if ((v = find_here(s->file->used.at[i]->scope, name, want))) return v;
    }
    return NULL;
}

Value *scope_find(Scope *s, const char *name) {
    return find(s, name, 0);
}

// With prefer_constant, an option is found behind a parameter of the same name (`param bias[o] … when bias`).
Value *scope_find_kind(Scope *s, const char *name, bool prefer_constant) {
    Value *v = prefer_constant ? find(s, name, 1) : NULL;
    return v ? v : find(s, name, 0);
}

Value value_number(double x, bool integer) {
    return (Value){.kind = V_NUMBER, .number = x, .integer = integer, .axis = -1};
}

Value value_bool(bool b) {
    return (Value){.kind = V_NUMBER, .number = b, .integer = true, .boolean = true, .axis = -1};
}

Value value_tensor(Tensor *t, Span span) {
    return (Value){.kind = V_TENSOR, .tensor = t, .span = span, .axis = -1};
}

Value value_extent(Extent e, int axis) {
    return (Value){.kind = V_EXTENT, .extent = e, .axis = axis};
}

const char *value_kind_name(const Value *v) {
    switch (v->kind) {
    case V_NONE: return "nothing";
    case V_NUMBER: return v->boolean ? "a boolean" : "a number";
    case V_TEXT: return "a string";
    case V_LIST: return "a list";
    case V_TUPLE: return "a tuple";
    case V_EXTENT: return "an axis";
    case V_PACK: return "the axes of `..`";
    case V_TENSOR: return "a tensor";
    case V_EXPR: return "a run-time value";
    case V_CALLABLE: return "a function or module";
    }
    return "?";
}

const char *node_words(const Node *n) {
    switch (n->kind) {
    case N_NUMBER: return "a number";
    case N_STRING: return "a string";
    case N_BOOL: return "a boolean";
    case N_LIST: return "a list";
    case N_TUPLE: return "a tuple";
    case N_RANGE: return "a range";
    case N_UNARY:
    case N_BINARY:
    case N_WHERE:
    case N_IF_EXPR: return "an operation";
    case N_INDEXED: return "an element of a tensor";
    case N_REDUCE: return "a reduction";
    case N_CALL: return "an application";
    case N_LABELLED: return "a label";
    case N_PIPE: return "a pipe";
    case N_GROUP: return "a group of indices";
    case N_ELLIPSIS: return "`..`";
    default: return node_kind_name[n->kind];
    }
}

bool value_is_constant(const Value *v) {
    return v->kind == V_NUMBER || v->kind == V_TEXT || (v->kind == V_EXTENT && v->extent.axis < 0);
}

static bool as_number(const Value *v, double *x, bool *integer) {
    if (v->kind == V_NUMBER) {
        *x = v->number;
        *integer = v->integer;
        return true;
    }
    if (v->kind == V_EXTENT && v->extent.axis < 0) {
        *x = (double)v->extent.count;
        *integer = true;
        return true;
    }
    return false;
}

// Arithmetic on two constants. Returns false without an error when either is not constant.
bool constant_binary(El *el, Scope *s, const Node *n, const Value *a, const Value *b, Value *out) {
    (void)s;
    const char *op = n->name;
    if (a->kind == V_TEXT && b->kind == V_TEXT) {
        if (!strcmp(op, "==")) *out = value_bool(!strcmp(a->text, b->text));
        else if (!strcmp(op, "!=")) *out = value_bool(strcmp(a->text, b->text) != 0);
        else return false;
        return true;
    }
    double x, y;
    bool ix, iy;
    if (!as_number(a, &x, &ix) || !as_number(b, &y, &iy)) return false;
    bool whole = ix && iy;
    double r;
    if (!strcmp(op, "+")) r = x + y;
    else if (!strcmp(op, "-")) r = x - y;
    else if (!strcmp(op, "*")) r = x * y;
    else if (!strcmp(op, "/")) r = x / y, whole = whole && y != 0 && fmod(x, y) == 0;
    else if (!strcmp(op, "//") || !strcmp(op, "%")) {
        if (y == 0) {
            report_error(el->d, n->span, "division-by-zero", "`%s` by zero", op);
            return false;
        }
        r = !strcmp(op, "//") ? floor(x / y) : x - floor(x / y) * y;
    } else if (!strcmp(op, "^")) r = pow(x, y), whole = whole && y >= 0;
    else {
        bool t;
        if (!strcmp(op, "<")) t = x < y;
        else if (!strcmp(op, "<=")) t = x <= y;
        else if (!strcmp(op, ">")) t = x > y;
        else if (!strcmp(op, ">=")) t = x >= y;
        else if (!strcmp(op, "==")) t = x == y;
        else if (!strcmp(op, "!=")) t = x != y;
        else if (!strcmp(op, "and")) t = x != 0 && y != 0;
        else if (!strcmp(op, "or")) t = x != 0 || y != 0;
        else return false;
        *out = value_bool(t);
        return true;
    }
    *out = value_number(r, whole && fabs(r) <= 9007199254740992.0);
    return true;
}

bool evaluate_integer(El *el, Scope *s, const Node *n, const char *what, int64_t *out) {
    Value v;
    if (!evaluate(el, s, n, &v)) return false;
    double x;
    bool integer;
    if (!as_number(&v, &x, &integer)) {
        report_error(el->d, n->span, "not-constant", "%s must be known when compiling, found %s", what,
                     value_kind_name(&v));
        return false;
    }
    if (x != floor(x) || fabs(x) > 9e15) {
        report_error(el->d, n->span, "not-integer", "%s must be an integer, found %g", what, x);
        return false;
    }
    *out = (int64_t)x;
    return true;
}

bool evaluate_condition(El *el, Scope *s, const Node *n, bool *out) {
    Value v;
    if (n->kind == N_NAME) { // `when bias`: the option, not the parameter
        Value *p = scope_find_kind(s, n->name, true);
        if (p && p->kind == V_NUMBER) {
            *out = p->number != 0;
            return true;
        }
    }
    if (!evaluate(el, s, n, &v)) return false;
    if (v.kind != V_NUMBER) {
        bool element = v.kind == V_TENSOR || v.kind == V_EXPR;
        report_error(el->d, n->span, "not-constant",
                     element ? "this condition must be known when compiling, found %s"
                             : "a condition must be true or false, found %s",
                     value_kind_name(&v));
        if (element) report_help(el->d, "choose per element with `value where condition else other`");
        return false;
    }
    *out = v.number != 0;
    return true;
}

uint64_t mix(uint64_t a, uint64_t b) {
    a ^= b + 0x9e3779b97f4a7c15ull + (a << 6) + (a >> 2);
    a *= 0xff51afd7ed558ccdull;
    return a ^ (a >> 33);
}

uint64_t mix_text(uint64_t a, const char *text) {
    for (; *text; text++) a = (a ^ (uint8_t)*text) * 0x100000001b3ull;
    return a;
}
