// The entry of elaboration: imports, the declarations of a file, and what is elaborated on trial.
// requires a tree without syntax errors; leaves a Program, or errors in the diagnostics.
#include "elaborate/internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void set_training(El *el, bool training) {
    el->training = training;
    Value v = value_bool(training);
    v.origin = "language";
    const char *name = intern_z(el->names, "training");
    for (int i = 0; i < el->file.count; i++) scope_bind(el, el->file.at[i]->scope, name, v);
}

// Scalars of a step that schedules and optimizers may mention, and constants.
static void bind_known(El *el, Scope *s, const char *name, Value v) {
    v.origin = "language";
    scope_bind(el, s, intern_z(el->names, name), v);
}

static void bind_step_scalars(El *el, Scope *s) {
    static const char *const name[] = {"epoch", "epochs", "steps", "monitor_value"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        bind_known(el, s, name[i], value_tensor(scalar_input(el, name[i], T_REAL), NO_SPAN));
    bind_known(el, s, "step", value_tensor(scalar_input(el, "step", T_I32), NO_SPAN));
    bind_known(el, s, "training", value_bool(el->training));
    bind_known(el, s, "pi", value_number(3.141592653589793, false));
    bind_known(el, s, "infinity", value_number(INFINITY, false));
}

static Define *find_define(El *el, const char *name) {
    for (int i = 0; i < el->options->defines; i++)
        if (!strcmp(el->options->define[i].name, name)) {
            el->options->define[i].used = true;
            return &el->options->define[i];
        }
    return NULL;
}

static Value parse_define(El *el, const Define *d) {
    char *end;
    errno = 0;
    double x = strtod(d->value, &end);
    if (*d->value && !*end && !errno) return value_number(x, x == floor(x) && !strpbrk(d->value, ".eE"));
    if (!strcmp(d->value, "true")) return value_bool(true);
    if (!strcmp(d->value, "false")) return value_bool(false);
    return (Value){.kind = V_TEXT, .text = intern_z(el->names, d->value), .axis = -1};
}

static const char *value_text(El *el, const Value *v) {
    if (v->kind == V_TEXT) return v->text;
    if (v->kind == V_NUMBER && v->boolean) return v->number != 0 ? "true" : "false";
    if (v->kind == V_NUMBER) return arena_format(el->arena, "%.12g", v->number);
    if (v->kind == V_LIST) {
        Text t = {.arena = el->arena};
        text_add(&t, "[");
        for (int i = 0; i < v->items; i++) text_add(&t, "%s%s", i ? ", " : "", value_text(el, &v->item[i]));
        text_add(&t, "]");
        return t.at;
    }
    return value_kind_name(v);
}

// `in low .. high` or `in [a, b]`.
static bool check_domain(El *el, Scope *s, const Node *n, Span at, const Value *v, double *low, double *high) {
    const Node *domain = KID(n, 1);
    *low = 1, *high = 0;
    if (!domain) return true;
    if (domain->kind == N_RANGE) {
        Value a, b;
        if (!evaluate(el, s, domain->kid[0], &a) || !evaluate(el, s, domain->kid[1], &b)) return false;
        if (a.kind != V_NUMBER || b.kind != V_NUMBER) {
            report_error(el->d, domain->span, "bad-range", "the ends of a range must be numbers");
            return false;
        }
        *low = a.number, *high = b.number;
        if (v->kind == V_NUMBER && v->number >= a.number && v->number <= b.number) return true;
        report_error(el->d, at, "out-of-range", "`%s` is %s, outside %g .. %g", n->name, value_text(el, v), a.number,
                     b.number);
        return false;
    }
    Value list;
    if (!evaluate(el, s, domain, &list)) return false;
    for (int i = 0; list.kind == V_LIST && i < list.items; i++) {
        Value *x = &list.item[i];
        if (x->kind == V_TEXT && v->kind == V_TEXT && !strcmp(x->text, v->text)) return true;
        if (x->kind == V_NUMBER && v->kind == V_NUMBER && x->number == v->number) return true;
    }
    report_error(el->d, at, "out-of-range", "`%s` is %s, not one of %s", n->name, value_text(el, v),
                 value_text(el, &list));
    return false;
}

static bool declare_option(El *el, File *f, const Node *n) {
    Value v;
    double low, high;
    Define *d = f->is_library ? NULL : find_define(el, n->name);
    if (d) v = parse_define(el, d);
    else if (!evaluate(el, f->scope, n->kid[0], &v)) return false;
    if (v.kind != V_NUMBER && v.kind != V_TEXT && v.kind != V_LIST) {
        report_error(el->d, n->kid[0]->span, "not-constant", "option `%s` must be a number, a string or a list",
                     n->name);
        return false;
    }
    if (!check_domain(el, f->scope, n, d ? n->name_span : n->kid[0]->span, &v, &low, &high)) {
        if (d) report_help(el->d, "the value comes from -D %s=%s", d->name, d->value);
        return false;
    }
    v.span = n->name_span;
    v.origin = "option";
    scope_bind(el, f->scope, n->name, v);
    if (!f->is_library) vec_push(el->arena, &el->program->option, ((Option){n->name, n->doc, value_text(el, &v)}));
    return true;
}

static bool declare_setting(El *el, File *f, const Node *n) {
    Value v;
    Setting set = {.name = n->name, .doc = n->doc, .scalar = -1};
    if (!evaluate(el, f->scope, n->kid[0], &v)) return false;
    if (v.kind != V_NUMBER && v.kind != V_TEXT) {
        report_error(el->d, n->kid[0]->span, "not-constant", "the default of setting `%s` must be a number or a string",
                     n->name);
        return false;
    }
    if (!check_domain(el, f->scope, n, n->kid[0]->span, &v, &set.low, &set.high)) return false;
    if (v.kind == V_TEXT) {
        set.is_text = true;
        set.text = v.text;
    } else {
        set.value = v.number;
        set.is_integer = v.integer;
        Tensor *t = scalar_input(el, n->name, T_REAL);
        set.scalar = t->id;
        v = value_tensor(t, n->name_span);
    }
    v.span = n->name_span;
    v.origin = "setting";
    scope_bind(el, f->scope, n->name, v);
    vec_push(el->arena, &el->program->setting, set);
    return true;
}

static bool declare_axis(El *el, File *f, const Node *n) {
    Axis a = {.name = n->name, .doc = n->doc, .span = n->name_span};
    const Node *value = n->kid[0];
    Define *d = find_define(el, n->name);
    int number = el->program->axis.count;
    if (d) {
        Value v = parse_define(el, d);
        if (v.kind != V_NUMBER || !v.integer || v.number < 1 || v.number > 1e9) {
            report_error(el->d, n->span, "bad-extent", "-D %s=%s: the extent of an axis is an integer from 1 to 1e9",
                         d->name, d->value);
            return false;
        }
        a.count = (int64_t)v.number;
        a.from_data = value->kind == N_FROM_DATA;
    } else if (value->kind == N_DYNAMIC) {
        a.dynamic = true;
        a.count = 1;
    } else if (value->kind == N_FROM_DATA) {
        report_error(el->d, n->name_span, "axis-from-data",
                     "the extent of axis `%s` comes from the data and must be given when "
                     "compiling",
                     n->name);
        report_help(el->d, "stmc -D %s=1000 …", n->name);
        return false;
    } else {
        if (!evaluate_integer(el, f->scope, value, "the extent of an axis", &a.count)) return false;
        if (a.count < 1) {
            report_error(el->d, value->span, "bad-extent", "the extent of an axis must be at least 1, found %lld",
                         (long long)a.count);
            return false;
        }
    }
    vec_push(el->arena, &el->program->axis, a);
    Value v = value_extent(a.dynamic ? (Extent){1, number} : extent_of(a.count), number);
    v.span = n->name_span;
    v.origin = "axis";
    scope_bind(el, f->scope, n->name, v);
    return true;
}

static bool declare_input(El *el, File *f, const Node *n) {
    static const struct {
        const char *name;
        ElementType type;
    } table[] = {{"f32", T_REAL}, {"i32", T_I32}, {"u8", T_U8}, {"bool", T_BOOL}};
    int type = -1, rank, axis[MAX_RANK];
    Extent dim[MAX_RANK];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, n->text)) type = (int)table[i].type;
    if (type < 0) {
        report_error(el->d, n->span, "unknown-type", "there is no element type `%s`", n->text);
        report_help(el->d, "the element types of inputs are f32, i32, u8 and bool");
        return false;
    }
    if (!resolve_dims(el, f->scope, n->kid[0], &rank, dim, axis)) return false;
    Tensor *t = program_tensor(el->program, TENSOR_INPUT, n->name, (ElementType)type, rank, dim);
    memcpy(t->axis, axis, sizeof axis);
    t->dataset = KID(n, 1) ? n->kid[1]->name : n->name;
    t->span = n->name_span;
    scope_bind(el, f->scope, n->name, value_tensor(t, n->name_span));
    return true;
}

static void declare_callable(El *el, File *f, const Node *n) {
    Callable *c = NEW(el->arena, Callable);
    c->def = n;
    c->file = f;
    Value v = {.kind = V_CALLABLE, .callable = c, .span = n->name_span, .axis = -1};
    scope_bind(el, f->scope, n->name, v);
}

static File *load(El *el, const Node *use, File *from);

static bool declares_name(const Node *n) {
    return n->kind == N_OPTION || n->kind == N_SETTING || n->kind == N_AXIS || n->kind == N_INPUT ||
           n->kind == N_FUNCTION || n->kind == N_MODULE || n->kind == N_NET || n->kind == N_OPTIMIZER ||
           n->kind == N_SCHEDULE;
}

// Every name once, and none that the language itself uses.
static bool check_names(El *el, const Node *tree) {
    static const char *const scalar[] = {"step",     "epoch", "epochs",   "steps",
                                         "training", "pi",    "infinity", "monitor_value"};
    const Node *model = NULL;
    for (int i = 0; i < tree->kids; i++) {
        const Node *n = tree->kid[i];
        if (n->kind == N_MODEL) {
            if (model) {
                report_error(el->d, n->span, "duplicate-name", "a file has one `model` line");
                report_note(el->d, model->span, "the first is here");
                return false;
            }
            model = n;
        }
        if (!declares_name(n)) continue;
        // A setting is a flag of the executable, beside those that every executable has (runtime/cli/options.c).
        static const char *const flag[] = {
            "from", "out",  "weights", "section", "seed",  "batch",   "resume",      "overwrite", "map",    "json",
            "plan", "help", "image",   "append",  "split", "profile", "interactive", "threads",   "device", "version"};
        for (size_t k = 0; n->kind == N_SETTING && k < sizeof flag / sizeof *flag; k++)
            if (!strcmp(n->name, flag[k])) {
                report_error(el->d, n->name_span, "reserved-name",
                             "every executable has a flag --%s, so no setting can have this name", n->name);
                report_help(el->d, "choose another name");
                return false;
            }
        bool reserved = is_builtin(n->name);
        for (size_t k = 0; k < sizeof scalar / sizeof *scalar; k++) reserved |= !strcmp(n->name, scalar[k]);
        if (reserved) {
            report_error(el->d, n->name_span, "reserved-name",
                         "`%s` has a meaning in the language and cannot name %s %s", n->name,
                         strchr("aeiou", node_kind_name[n->kind][0]) ? "an" : "a", node_kind_name[n->kind]);
            report_help(el->d, "choose another name");
            return false;
        }
        for (int k = 0; k < i; k++) {
            const Node *old = tree->kid[k];
            if (!declares_name(old) || old->name != n->name) continue;
            report_error(el->d, n->name_span, "duplicate-name", "`%s` is declared twice", n->name);
            report_note(el->d, old->name_span, "the first is here");
            return false;
        }
    }
    return true;
}

static bool declare_file(El *el, File *f) {
    Node *tree = f->tree;
    if (!check_names(el, tree)) return false;
    for (int i = 0; i < tree->kids; i++)
        if (tree->kid[i]->kind == N_USE)
            for (int k = 0; k < tree->kid[i]->kids; k++) {
                File *u = load(el, tree->kid[i]->kid[k], f);
                if (!u) return false;
                vec_push(el->arena, &f->used, u);
            }
    for (int i = 0; i < tree->kids; i++) { // functions may be used before they are written
        const Node *n = tree->kid[i];
        if (n->kind != N_FUNCTION && n->kind != N_MODULE && n->kind != N_NET && n->kind != N_OPTIMIZER &&
            n->kind != N_SCHEDULE)
            continue;
        declare_callable(el, f, n);
    }
    for (int i = 0; i < tree->kids; i++) {
        const Node *n = tree->kid[i];
        bool ok = true;
        switch (n->kind) {
        case N_MODEL: el->program->name = n->name, el->program->doc = n->doc; break;
        case N_OPTION: ok = declare_option(el, f, n); break;
        case N_SETTING: ok = declare_setting(el, f, n); break;
        case N_AXIS: ok = declare_axis(el, f, n); break;
        case N_INPUT: ok = declare_input(el, f, n); break;
        default: break;
        }
        if (!ok) return false;
    }
    return true;
}

// One name for a file however it is written, so that files that use each other end; `path` itself when there is no
// file.
static const char *real_path(El *el, const char *path) {
    char *real = realpath(path, NULL);
    const char *copy = arena_format(el->arena, "%s", real ? real : path);
    free(real);
    return copy;
}

static File *new_file(El *el, int source, Node *tree, bool is_library) {
    File *f = NEW(el->arena, File);
    f->source = source;
    f->path = real_path(el, el->sources->file.at[source].path);
    f->tree = tree;
    f->is_library = is_library;
    f->scope = scope_new(el, NULL);
    f->scope->file = f;
    vec_push(el->arena, &el->file, f);
    bind_step_scalars(el, f->scope);
    return f;
}

static File *load(El *el, const Node *use, File *from) {
    const char *path;
    if (use->kind == N_STRING) {
        const char *base = el->sources->file.at[from->source].path, *slash = strrchr(base, '/');
        path = use->text[0] == '/' || !slash ? use->text
                                             : arena_format(el->arena, "%.*s/%s", (int)(slash - base), base, use->text);
    } else {
        path = arena_format(el->arena, "%s/%s.stm", el->options->stdlib, use->name);
    }
    const char *real = real_path(el, path);
    for (int i = 0; i < el->file.count; i++)
        if (!strcmp(el->file.at[i]->path, real)) return el->file.at[i];
    int source = sources_read(el->sources, path);
    if (source < 0) {
        int why = errno;
        if (use->kind == N_NAME && why == ENOENT)
            report_error(el->d, use->span, "no-such-file", "the standard library has no file `%s`", use->name);
        else report_error(el->d, use->span, "no-such-file", "cannot read %s: %s", path, strerror(why));
        if (use->kind == N_NAME)
            report_help(el->d, "`use %s` means the standard library; a file of your own is use \"%s.stm\"", use->name,
                        use->name);
        return NULL;
    }
    Node *tree = el->options->parse(el->arena, el->names, el->sources, el->d, source);
    if (!tree || diagnostics_count(el->d)) return NULL;
    File *f = new_file(el, source, tree, use->kind == N_NAME);
    return declare_file(el, f) ? f : NULL;
}

// ---- elaboration on trial: for tests of errors and for nets that no job applies

Mark mark(const El *el) {
    const Program *p = el->program;
    return (Mark){p->tensor.count,        p->job.count,    el->init->equation.count,
                  el->init->update.count, el->param.count, p->structure.count};
}

void return_to(El *el, Mark m) {
    Program *p = el->program;
    if (p->scalar_seed >= m.tensors || p->scalar_step >= m.tensors) p->scalar_seed = p->scalar_step = -1;
    p->tensor.count = m.tensors;
    p->job.count = m.jobs;
    el->init->equation.count = m.init_equations;
    el->init->update.count = m.init_updates;
    el->param.count = m.params;
    p->structure.count = m.structures;
    el->indices = NULL;
    el->hide_indices = false;
    el->depth = 0;
    el->iteration = 0;
    el->too_large = false;
}

// A net that no job applies is checked all the same: what it computes is dropped.
static bool check_unused_nets(El *el, const Node *file) {
    for (int i = 0; i < file->kids; i++) {
        const Node *n = file->kid[i];
        if (n->kind != N_NET) continue;
        Callable *c = scope_find(el->root, n->name)->callable;
        if (c->applied) continue;
        Mark before = mark(el);
        el->job = program_job(el->program, "check");
        el->job->loss = -1;
        const Node *inputs = KID(n, 1);
        int count = inputs ? inputs->kids : 0;
        Value *input = NEW_ARRAY(el->arena, Value, count + 1), out;
        for (int k = 0; k < count; k++) {
            const Node *name = inputs->kid[k];
            const Value *v = scope_find(el->root, name->name);
            input[k] = v ? *v : value_number(0, false); // apply() says what is missing
            input[k].span = name->span;
        }
        el->generation++;
        c->path = "";
        c->instance = mix_text(1, n->name);
        if (!apply(el, el->root, c, input, count, n->name_span, &out)) return false;
        return_to(el, before);
    }
    return true;
}

Program *elaborate(Arena *arena, Names *names, Sources *sources, Diagnostics *d, Node *file,
                   const ElaborateOptions *options) {
    Program *p = NEW(arena, Program);
    p->arena = arena;
    p->names = names;
    p->name = "model";
    p->real64 = options->real64;
    p->scalar_seed = p->scalar_step = -1;
    El el = {.stack = __builtin_frame_address(0),
             .stack_room = stack_room(),
             .arena = arena,
             .names = names,
             .sources = sources,
             .d = d,
             .options = options,
             .program = p};
    el.init = el.job = program_job(p, "init");
    el.init->loss = -1;
    File *main_file = new_file(&el, file->span.file, file, false);
    el.root = main_file->scope;
    if (!declare_file(&el, main_file)) return NULL;
    for (int i = 0; i < options->defines; i++)
        if (!options->define[i].used) {
            report_error(d, NO_SPAN, "unknown-option", "-D %s=%s: the spec has no option or axis `%s`",
                         options->define[i].name, options->define[i].value, options->define[i].name);
            const Value *v = scope_find(el.root, intern_z(names, options->define[i].name));
            if (v && v->origin && !strcmp(v->origin, "setting"))
                report_help(d, "it is a setting, given when running: EXE train --%s %s", options->define[i].name,
                            options->define[i].value);
            else suggest_option(&el, options->define[i].name);
            return NULL;
        }
    bool ok = options->tests ? elaborate_tests(&el, file) : elaborate_jobs(&el, file) && check_unused_nets(&el, file);
    if (!ok || diagnostics_count(d)) return NULL;
    for (int i = 0; i < p->axis.count; i++)
        if (p->axis.at[i].dynamic) p->axis.at[i].count = p->train.batch ? p->train.batch : 1;
    return p;
}
