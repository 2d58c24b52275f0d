// The plan's text (spec/program.md) and its sizes.
#include "forms/plan.h"

#include <ctype.h>
#include <string.h>

Kernel *program_kernel(KernelProgram *k, Kernel *made, const char *kind) {
    Arena *arena = k->program->arena;
    made->hash = kernel_hash(made);
    for (int i = 0; i < k->kernel.count; i++)
        if (k->kernel.at[i]->hash == made->hash) return k->kernel.at[i];
    made->id = k->kernel.count;
    if (kind) made->name = arena_format(arena, "%s_%06x", kind, (unsigned)(made->hash >> 8 & 0xffffff));
    for (int i = 0; i < k->kernel.count; i++)
        if (strcmp(k->kernel.at[i]->name, made->name) == 0) {
            made->name = arena_format(arena, "%s_%d", made->name, made->id);
            break;
        }
    vec_push(arena, &k->kernel, made);
    return made;
}

const char *kernel_kind(Arena *arena, const Kernel *k) {
    return arena_format(arena, "%.*s", (int)strcspn(k->name, "_"), k->name);
}

int64_t extent_bound(const Program *p, Extent e) {
    if (e.axis < 0 || e.axis >= p->axis.count) return e.count;
    int64_t n = p->axis.at[e.axis].count;
    return e.count * (n < 1 ? 1 : n);
}

int64_t element_size(const Program *p, ElementType type) {
    switch (type) {
    case T_REAL: return p->real64 ? 8 : 4;
    case T_I32: return 4;
    case T_I64: return 8;
    case T_BF16: return 2;
    default: return 1;
    }
}

const char *element_type_text(const Program *p, ElementType type) {
    return type == T_REAL && p->real64 ? "f64" : element_type_name[type];
}

int64_t tensor_elements(const Program *p, const Tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= extent_bound(p, t->dim[i]);
    return n;
}

int *storage_roots(Arena *arena, const Program *p, const JobCalls *calls) {
    int *root = NEW_ARRAY(arena, int, p->tensor.count + 1);
    for (int i = 0; i < p->tensor.count; i++) root[i] = i;
    for (int i = 0; i < calls->in_place.count; i++) root[calls->in_place.at[i].source] = calls->in_place.at[i].target;
    for (int i = 0; i < calls->alias.count; i++) root[calls->alias.at[i].target] = root[calls->alias.at[i].source];
    return root;
}

// ---- text

static void quoted(Text *out, const char *text) {
    if (text == NULL) {
        text_add(out, "-");
        return;
    }
    text_add(out, "\"");
    for (const char *c = text; *c != 0; c++) {
        unsigned char u = (unsigned char)*c;
        if (u == '"' || u == '\\') text_add(out, "\\%c", u);
        else if (u == '\n') text_add(out, "\\n");
        else if (u < 32 || u == 127) text_add(out, "\\x%02X", u);
        else text_add(out, "%c", u);
    }
    text_add(out, "\"");
}

static void word(Text *out, const char *text) {
    text_add(out, "%s", text == NULL || *text == 0 ? "-" : text);
}

static void axis_text(Text *out, const StmPlan *plan, int axis) {
    if (axis < plan->axes) text_add(out, "%s", plan->axis[axis].name);
    else text_add(out, "$%d", axis - plan->axes);
}

static void extent_text(Text *out, const StmPlan *plan, StmExtent e) {
    if (e.axis < 0) {
        text_add(out, "%lld", (long long)e.count);
        return;
    }
    if (e.count != 1) text_add(out, "%lld*", (long long)e.count);
    axis_text(out, plan, e.axis);
}

static void print_setting(const StmSetting *s, Text *out) {
    text_add(out, "setting %s %s ", s->name, s->is_text ? "text" : s->is_integer ? "integer" : "real");
    if (s->is_text) quoted(out, s->text);
    else text_real(out, s->value);
    if (s->ranged) {
        text_add(out, " ");
        text_real(out, s->low);
        text_add(out, " ");
        text_real(out, s->high);
    } else {
        text_add(out, " - -");
    }
    if (s->scalar >= 0) text_add(out, " %d ", s->scalar);
    else text_add(out, " - ");
    quoted(out, s->doc);
    text_add(out, "\n");
}

static const char *const kind_text[] = {"input", "scalar", "param", "state", "temp"};
static const char *const type_text[] = {"f32", "f64", "i32", "i64", "u8", "bool", "bf16"};

static void print_tensor(const StmPlan *plan, int number, Text *out) {
    const StmTensor *t = &plan->tensor[number];
    text_add(out, "tensor %d %s %s ", number, kind_text[t->kind], type_text[t->type]);
    quoted(out, t->name);
    text_add(out, " ");
    quoted(out, t->dataset);
    text_add(out, " %d [", t->weight);
    for (int i = 0; i < t->rank; i++) {
        if (i > 0) text_add(out, " ");
        extent_text(out, plan, t->dim[i]);
    }
    text_add(out, "] [");
    for (int i = 0; i < t->rank; i++) {
        if (i > 0) text_add(out, " ");
        if (t->axis[i] < 0) text_add(out, "-");
        else axis_text(out, plan, t->axis[i]);
    }
    text_add(out, "]\n");
}

static void print_step(const StmPlan *plan, const StmStep *s, Text *out) {
    if (s->kind == STM_ZERO) {
        text_add(out, "  zero %d\n", s->arg[0]);
        return;
    }
    if (s->kind == STM_COPY) {
        text_add(out, "  copy %d %d\n", s->arg[0], s->arg[1]);
        return;
    }
    text_add(out, "  run %d ", s->kernel);
    extent_text(out, plan, s->parts);
    text_add(out, "/%lld", (long long)s->divide);
    if (s->times != 1) text_add(out, "*%lld", (long long)s->times);
    if (s->calls != 1) text_add(out, " x%d", s->calls);
    text_add(out, " [");
    for (int i = 0; i < s->args; i++) text_add(out, i > 0 ? " %d" : "%d", s->arg[i]);
    text_add(out, "] ");
    quoted(out, s->origin);
    for (int i = 0; i < s->extents * s->calls; i++) {
        text_add(out, " ");
        extent_text(out, plan, s->extent[i]);
    }
    text_add(out, "\n");
}

static void print_launch(const StmPlan *plan, int number, Text *out) {
    const StmLaunch *l = plan->kernel[number].launch;
    text_add(out, "launch %d %s %d %lld [", number, l->function, l->threads, (long long)l->shared);
    for (int i = 0; i < l->words; i++) text_add(out, i > 0 ? " %lld" : "%lld", (long long)l->word[i]);
    text_add(out, "] [");
    for (int i = 0; i < l->extents; i++) {
        if (i > 0) text_add(out, " ");
        axis_text(out, plan, l->extent[i]);
    }
    text_add(out, "] %s %d %lld %lld\n", l->table ? "table" : "single", l->registers, (long long)l->static_shared,
             (long long)l->spills);
}

static const char *const compute_text[] = {"f32", "tf32", "bf16", "f64"};
static const char *const epilogue_text[] = {"none",      "bias",     "relu",          "relu_bias", "gelu",
                                            "gelu_bias", "gelu_aux", "gelu_aux_bias", "bgrad_a",   "bgrad_b"};

static void argument(Text *out, int number) {
    if (number < 0) text_add(out, " -");
    else text_add(out, " %d", number);
}

static void print_matmul(const StmPlan *plan, int number, Text *out) {
    const StmMatmul *m = plan->kernel[number].matmul;
    text_add(out, "matmul %d %s %s %s %d %d %d", number, compute_text[m->compute], type_text[m->in], type_text[m->out],
             m->a, m->b, m->d);
    argument(out, m->bias);
    argument(out, m->aux);
    text_add(out, " %s %s%s", epilogue_text[m->epilogue], m->transpose_a ? "t" : "n", m->transpose_b ? "t" : "n");
    const StmExtent e[] = {m->m, m->n, m->k, m->batch, m->lda, m->ldb, m->ldd, m->stride_a, m->stride_b, m->stride_d};
    for (size_t i = 0; i < sizeof e / sizeof *e; i++) {
        text_add(out, " ");
        extent_text(out, plan, e[i]);
    }
    text_add(out, " %lld %lld %lld\n", (long long)m->offset_a, (long long)m->offset_b, (long long)m->offset_d);
}

static void group_axes(const StmPlan *plan, const StmGroup *g, Text *out) {
    if (g->axis[0] < 0) text_add(out, "1");
    else axis_text(out, plan, g->axis[0]);
    if (g->axis[1] >= 0) {
        text_add(out, "*");
        axis_text(out, plan, g->axis[1]);
    }
}

static void print_job(const StmPlan *plan, const StmJob *job, Text *out) {
    text_add(out, "job ");
    if (strpbrk(job->name, " \t\"\\") != NULL) quoted(out, job->name);
    else text_add(out, "%s", job->name);
    text_add(out, "\n");
    for (int i = 0; i < job->groups; i++) {
        text_add(out, "  group %d ", i);
        group_axes(plan, &job->group[i], out);
        text_add(out, " %lld\n", (long long)job->group[i].bytes);
    }
    for (int i = 0; i < job->buffers; i++) {
        const StmBuffer *b = &job->buffer[i];
        text_add(out, "  buffer %d ", i);
        if (b->tensor < 0) text_add(out, "- ");
        else text_add(out, "%d ", b->tensor);
        if (b->group < 0) text_add(out, "- ");
        else text_add(out, "%d ", b->group);
        text_add(out, "%lld %lld %d %d\n", (long long)b->offset, (long long)b->bytes, b->first, b->last);
    }
    for (int i = 0; i < job->steps; i++) print_step(plan, &job->step[i], out);
    for (int i = 0; i < job->outputs; i++) {
        text_add(out, "  output ");
        quoted(out, job->output[i].name);
        text_add(out, " %d", job->output[i].buffer);
        if (job->output[i].tensor != job->buffer[job->output[i].buffer].tensor)
            text_add(out, " %d", job->output[i].tensor);
        text_add(out, "\n");
    }
    text_add(out, "end\n");
}

void plan_print(const StmPlan *plan, Text *out) {
    text_add(out, "stmplan 1\nprogram %s %s ", plan->name, type_text[plan->real]);
    word(out, plan->version);
    text_add(out, " ");
    quoted(out, plan->doc);
    text_add(out, "\n");
    for (int i = 0; i < plan->axes; i++) {
        const StmAxis *a = &plan->axis[i];
        text_add(out, "axis %d %s %s %lld ", i, a->name,
                 a->dynamic     ? "dynamic"
                 : a->from_data ? "data"
                                : "constant",
                 (long long)a->count);
        quoted(out, a->doc);
        text_add(out, "\n");
    }
    for (int i = 0; i < plan->options; i++) {
        text_add(out, "option %s ", plan->option[i].name);
        quoted(out, plan->option[i].value);
        text_add(out, "\n");
    }
    for (int i = 0; i < plan->settings; i++) print_setting(&plan->setting[i], out);
    for (int i = 0; i < plan->prepares; i++) {
        text_add(out, "prepare %s ", plan->prepare[i].name);
        quoted(out, plan->prepare[i].value);
        text_add(out, "\n");
    }
    const StmTrain *t = &plan->train;
    text_add(out, "train %lld %lld %d %d ", (long long)t->epochs, (long long)t->batch, t->shuffle, t->keep_last);
    word(out, t->monitor);
    text_add(out, " ");
    word(out, t->split);
    text_add(out, " %d %lld ", t->maximise, (long long)t->patience);
    word(out, t->compare);
    text_add(out, " ");
    word(out, t->with);
    text_add(out, "\n");
    for (int i = 0; i < plan->tensors; i++) print_tensor(plan, i, out);
    for (int i = 0; i < plan->kernels; i++) {
        text_add(out, "kernel %d %s %lld %lld\n", i, plan->kernel[i].name, (long long)plan->kernel[i].scratch,
                 (long long)plan->kernel[i].flops);
        if (plan->kernel[i].launch) print_launch(plan, i, out);
        if (plan->kernel[i].matmul) print_matmul(plan, i, out);
    }
    for (int i = 0; i < plan->jobs; i++) print_job(plan, &plan->job[i], out);
}

void plan_print_slices(const StmPlan *plan, int number, Text *out) {
    const StmJob *job = &plan->job[number];
    for (int g = 0; g < job->groups; g++) {
        text_add(out, "group ");
        group_axes(plan, &job->group[g], out);
        text_add(out, " = %lld\n", (long long)job->group[g].bytes);
        for (int i = 0; i < job->buffers; i++) {
            const StmBuffer *b = &job->buffer[i];
            if (b->group != g) continue;
            text_add(out, "  [%d,%d] = %lld @ %lld  # %s\n", b->first, b->last, (long long)b->bytes,
                     (long long)b->offset, b->tensor < 0 ? "workspace" : plan->tensor[b->tensor].name);
        }
    }
}

int64_t plan_arena_bytes(const StmPlan *plan, int number, const int64_t *extent) {
    int64_t total = 0;
    const StmJob *job = &plan->job[number];
    for (int g = 0; g < job->groups; g++) {
        int64_t value[2] = {1, 1};
        for (int i = 0; i < 2; i++) {
            int axis = job->group[g].axis[i];
            if (axis >= 0) value[i] = extent != NULL ? extent[axis] : plan->axis[axis].count;
        }
        total += job->group[g].bytes * stm_group_units(&job->group[g], value[0], value[1]);
    }
    return total;
}

int64_t plan_persistent_bytes(const StmPlan *plan, const int64_t *extent) {
    static const int bytes_of[] = {4, 8, 4, 8, 1, 1, 2};
    int64_t total = 0;
    for (int i = 0; i < plan->tensors; i++) {
        const StmTensor *t = &plan->tensor[i];
        if (t->kind == STM_TEMP) continue;
        int64_t bytes = bytes_of[t->type];
        for (int d = 0; d < t->rank; d++) {
            bytes *= t->dim[d].count;
            int axis = t->dim[d].axis;
            if (axis >= 0) bytes *= extent != NULL ? extent[axis] : plan->axis[axis].count;
        }
        total += (bytes + 63) / 64 * 64;
    }
    return total;
}
