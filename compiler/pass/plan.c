// Plan: steps, buffers and arena offsets of every job.
//
// Requires scheduled kernels with their code; leaves a StmPlan. A temporary lives from the first step that writes it
// (its zeroing, for a scatter) to the last that reads it, an output to the end of the job, a workspace while its
// kernel's phases run. Slices whose lives overlap never overlap in memory. Groups are extent monomials: offsets are
// bytes per unit of the monomial, so one plan serves every extent. Views share the storage of their source, updates in
// place that of their target; the other updates are copied when all kernels have run.
#include "pass/pass.h"

#include <stdlib.h>
#include <string.h>

typedef struct JobPlan {
    const KernelProgram *kp;
    const JobCalls *calls;
    const KernelCode *code;
    const int *first_phase; // kernel -> number of its first phase among all
    const int *plan_tensor; // program tensor -> plan tensor, or -1
    Arena *arena;
    const int *root; // tensor -> tensor whose storage it is
    int *buffer_of;  // root tensor -> buffer, or -1
    VEC(StmGroup) group;
    VEC(StmBuffer) buffer;
    VEC(StmStep) step;
    const char *error;
} JobPlan;

static StmExtent stm_extent(Extent e) {
    return (StmExtent){e.count, e.axis};
}

static int group_number(JobPlan *j, int axis0, int axis1) {
    if (axis0 < 0 || (axis1 >= 0 && axis1 < axis0)) { // sorted, the empty place last
        int t = axis0;
        axis0 = axis1;
        axis1 = t;
    }
    for (int i = 0; i < j->group.count; i++)
        if (j->group.at[i].axis[0] == axis0 && j->group.at[i].axis[1] == axis1) return i;
    vec_push(j->arena, &j->group, ((StmGroup){{axis0, axis1}, 0}));
    return j->group.count - 1;
}

static int64_t round64(int64_t n) {
    return (n + 63) / 64 * 64;
}

static int add_buffer(JobPlan *j, StmBuffer b) {
    b.first = INT32_MAX;
    b.last = -1;
    vec_push(j->arena, &j->buffer, b);
    return j->buffer.count - 1;
}

static int tensor_buffer(JobPlan *j, int tensor) {
    const Program *p = j->kp->program;
    tensor = j->root[tensor];
    if (j->buffer_of[tensor] >= 0) return j->buffer_of[tensor];
    const Tensor *t = p->tensor.at[tensor];
    StmBuffer b = {.tensor = j->plan_tensor[tensor], .group = -1};
    int64_t bytes = element_size(p, t->type);
    int axis[2] = {-1, -1}, axes = 0;
    for (int d = 0; d < t->rank; d++) {
        bytes *= t->dim[d].count;
        if (t->dim[d].axis < 0) continue;
        if (axes == 2 && t->kind == TENSOR_TEMP)
            j->error =
                arena_format(p->arena, "tensor %s has more than two dynamic dimensions; at most two can be planned",
                             t->name == NULL ? "(unnamed)" : t->name);
        else if (axes < 2) axis[axes++] = t->dim[d].axis;
    }
    b.bytes = bytes;
    if (t->kind == TENSOR_TEMP) {
        b.group = group_number(j, axis[0], axis[1]);
        b.bytes = axes < 2 ? round64(bytes) : bytes;
    }
    return j->buffer_of[tensor] = add_buffer(j, b);
}

static void touch(JobPlan *j, int buffer, int step) {
    StmBuffer *b = &j->buffer.at[buffer];
    if (step < b->first) b->first = step;
    if (step > b->last) b->last = step;
}

static void add_step(JobPlan *j, StmStep s, const int *arg) {
    s.arg = arena_copy(j->arena, arg, sizeof(int) * (size_t)(s.args > 0 ? s.args : 1));
    for (int i = 0; i < s.args; i++) touch(j, arg[i], j->step.count);
    vec_push(j->arena, &j->step, s);
}

static int add_workspace(JobPlan *j, const KernelCode *code, int w, const Extent *step_extent) {
    int axis[2], axes = j->kp->program->axis.count;
    int64_t bytes = code->workspace[w].bytes;
    for (int a = 0; a < 2; a++) {
        axis[a] = code->workspace[w].axis[a];
        if (axis[a] < axes) continue; // a step extent: what it stands for in this run
        Extent e = step_extent[axis[a] - axes];
        bytes *= e.count;
        axis[a] = e.axis;
    }
    bool two = axis[0] >= 0 && axis[1] >= 0;
    StmBuffer b = {.tensor = -1, .group = group_number(j, axis[0], axis[1]), .bytes = two ? bytes : round64(bytes)};
    return add_buffer(j, b);
}

static void add_call(JobPlan *j, const KernelCall *call) {
    const Kernel *k = call->kernel;
    const KernelCode *code = &j->code[k->id];
    int runs = call_runs(call);
    int *workspace = NEW_ARRAY(j->arena, int, runs *CODE_MAX_WORKSPACES);
    StmExtent *extent = NEW_ARRAY(j->arena, StmExtent, runs * call->extents + 1);
    for (int r = 0; r < runs; r++) {
        const Extent *own = call_extents(call, r);
        for (int i = 0; i < k->buffer.count; i++) tensor_buffer(j, call->tensor[r * k->buffer.count + i]);
        for (int w = 0; w < code->workspaces; w++)
            workspace[r * CODE_MAX_WORKSPACES + w] = add_workspace(j, code, w, own);
        for (int i = 0; i < call->extents; i++) extent[r * call->extents + i] = stm_extent(own[i]);
    }
    for (int f = 0; f < code->phases; f++) {
        int args = code->phase[f].args;
        int *arg = NEW_ARRAY(j->arena, int, runs *args + 1);
        for (int r = 0; r < runs; r++)
            for (int i = 0; i < args; i++) {
                int a = code->phase[f].arg[i];
                arg[r * args + i] = a < 0 ? workspace[r * CODE_MAX_WORKSPACES + ~a]
                                          : tensor_buffer(j, call->tensor[r * k->buffer.count + a]);
            }
        StmStep s = {.kind = STM_RUN,
                     .kernel = j->first_phase[k->id] + f,
                     .args = runs * args,
                     .parts = stm_extent(code->phase[f].parts),
                     .divide = code->phase[f].divide,
                     .times = code->phase[f].times > 0 ? code->phase[f].times : 1,
                     .origin = call->origin,
                     .extents = call->extents,
                     .extent = extent,
                     .calls = runs};
        add_step(j, s, arg);
    }
}

// ---- offsets

typedef struct Slice {
    int buffer, first, last;
    int64_t bytes, offset;
} Slice;

static int by_size(const void *a, const void *b) {
    const Slice *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    if (x->first != y->first) return x->first - y->first;
    return x->buffer - y->buffer;
}

static int by_area(const void *a, const void *b) {
    const Slice *x = a, *y = b;
    double p = (double)x->bytes * (x->last - x->first + 1), q = (double)y->bytes * (y->last - y->first + 1);
    if (p != q) return p > q ? -1 : 1;
    return x->buffer - y->buffer;
}

static int by_start(const void *a, const void *b) {
    const Slice *x = a, *y = b;
    if (x->first != y->first) return x->first - y->first;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x->buffer - y->buffer;
}

static int by_offset(const void *a, const void *b) {
    const Slice *x = *(const Slice *const *)a, *y = *(const Slice *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->buffer - y->buffer;
}

// Places the slices in their order, each in the smallest gap that fits among those alive at the same time. Returns the
// size.
static int64_t place(Slice *slice, int count, const Slice **busy) {
    int64_t size = 0;
    for (int i = 0; i < count; i++) {
        int n = 0;
        for (int k = 0; k < i; k++)
            if (slice[k].first <= slice[i].last && slice[i].first <= slice[k].last) busy[n++] = &slice[k];
        qsort(busy, (size_t)n, sizeof *busy, by_offset);
        int64_t end = 0, best = -1, best_gap = INT64_MAX;
        for (int k = 0; k < n; k++) {
            int64_t gap = busy[k]->offset - end;
            if (gap >= slice[i].bytes && gap < best_gap) {
                best = end;
                best_gap = gap;
            }
            if (busy[k]->offset + busy[k]->bytes > end) end = busy[k]->offset + busy[k]->bytes;
        }
        slice[i].offset = best >= 0 ? best : end;
        if (slice[i].offset + slice[i].bytes > size) size = slice[i].offset + slice[i].bytes;
    }
    return size;
}

static void assign_offsets(JobPlan *j, int group) {
    static int (*const orders[])(const void *, const void *) = {by_size, by_area, by_start};
    Slice *slice = NEW_ARRAY(j->arena, Slice, j->buffer.count + 1);
    const Slice **busy = NEW_ARRAY(j->arena, const Slice *, j->buffer.count + 1);
    int count = 0;
    for (int i = 0; i < j->buffer.count; i++) {
        const StmBuffer *b = &j->buffer.at[i];
        if (b->group == group) slice[count++] = (Slice){i, b->first, b->last, b->bytes, 0};
    }
    int64_t best = INT64_MAX;
    for (size_t o = 0; o < sizeof orders / sizeof orders[0]; o++) {
        qsort(slice, (size_t)count, sizeof *slice, orders[o]);
        int64_t size = place(slice, count, busy);
        if (size >= best) continue;
        best = size;
        for (int i = 0; i < count; i++) j->buffer.at[slice[i].buffer].offset = slice[i].offset;
    }
    j->group.at[group].bytes = count == 0 ? 0 : best;
}

static void plan_job(JobPlan *j, StmJob *out) {
    const Program *p = j->kp->program;
    const JobCalls *calls = j->calls;
    int tensors = p->tensor.count;
    j->root = storage_roots(j->arena, p, calls);
    j->buffer_of = NEW_ARRAY(j->arena, int, tensors);
    bool *zeroed = NEW_ARRAY(j->arena, bool, tensors);
    for (int i = 0; i < tensors; i++) j->buffer_of[i] = -1;
    for (int c = 0; c < calls->call.count; c++) {
        const KernelCall *call = &calls->call.at[c];
        int buffers = call->kernel->buffer.count;
        for (int b = 0; b < call_runs(call) * buffers; b++) {
            int t = call->tensor[b];
            bool zero = false;
            for (int z = 0; z < calls->zero.count; z++) zero |= calls->zero.at[z] == t;
            if (!zero || zeroed[t] || !call->kernel->buffer.at[b % buffers].is_written) continue;
            zeroed[t] = true;
            int arg = tensor_buffer(j, t);
            add_step(j, (StmStep){.kind = STM_ZERO, .args = 1}, &arg);
        }
        add_call(j, call);
    }
    for (int i = 0; i < calls->copy.count; i++) {
        int arg[2] = {tensor_buffer(j, calls->copy.at[i].target), tensor_buffer(j, calls->copy.at[i].source)};
        add_step(j, (StmStep){.kind = STM_COPY, .args = 2}, arg);
    }
    out->name = calls->job->name;
    out->outputs = calls->job->output.count;
    out->output = NEW_ARRAY(j->arena, StmJobOutput, out->outputs + 1);
    for (int i = 0; i < out->outputs; i++) {
        const JobOutput *o = &calls->job->output.at[i];
        int b = tensor_buffer(j, o->tensor);
        if (j->buffer.at[b].first > j->step.count) j->buffer.at[b].first = 0;
        j->buffer.at[b].last = j->step.count; // one past the last step: it outlives the job
        out->output[i] = (StmJobOutput){o->name, b, j->plan_tensor[o->tensor]};
    }
    for (int g = 0; g < j->group.count; g++) assign_offsets(j, g);
    out->groups = j->group.count;
    out->group = j->group.at;
    out->buffers = j->buffer.count;
    out->buffer = j->buffer.at;
    out->steps = j->step.count;
    out->step = j->step.at;
}

static StmType stm_type(const Program *p, ElementType t) {
    switch (t) {
    case T_REAL: return p->real64 ? STM_F64 : STM_F32;
    case T_I32: return STM_I32;
    case T_I64: return STM_I64;
    case T_U8: return STM_U8;
    case T_BF16: return STM_BF16;
    default: return STM_BOOL;
    }
}

static void copy_tables(const Program *p, const int *plan_tensor, StmPlan *plan) {
    Arena *arena = p->arena;
    plan->axes = p->axis.count;
    plan->axis = NEW_ARRAY(arena, StmAxis, plan->axes + 1);
    for (int i = 0; i < plan->axes; i++) {
        const Axis *a = &p->axis.at[i];
        plan->axis[i] = (StmAxis){a->name, a->doc, a->dynamic, a->from_data, a->count};
    }
    plan->tensor = NEW_ARRAY(arena, StmTensor, plan->tensors + 1);
    for (int i = 0; i < p->tensor.count; i++) {
        if (plan_tensor[i] < 0) continue;
        const Tensor *t = p->tensor.at[i];
        StmTensor *s = &plan->tensor[plan_tensor[i]];
        *s = (StmTensor){.name = t->name == NULL ? arena_format(arena, "t%d", i) : t->name,
                         .kind = (StmTensorKind)t->kind,
                         .type = stm_type(p, t->type),
                         .rank = t->rank,
                         .dataset = t->dataset,
                         .weight = t->weight};
        for (int d = 0; d < t->rank; d++) {
            s->dim[d] = stm_extent(t->dim[d]);
            s->axis[d] = t->axis[d];
        }
    }
    plan->settings = p->setting.count;
    plan->setting = NEW_ARRAY(arena, StmSetting, plan->settings + 1);
    for (int i = 0; i < plan->settings; i++) {
        const Setting *s = &p->setting.at[i];
        plan->setting[i] = (StmSetting){.name = s->name,
                                        .doc = s->doc,
                                        .is_text = s->is_text,
                                        .is_integer = s->is_integer,
                                        .ranged = s->low <= s->high,
                                        .value = s->value,
                                        .low = s->low,
                                        .high = s->high,
                                        .text = s->text,
                                        .scalar = s->scalar < 0 ? -1 : plan_tensor[s->scalar]};
    }
    plan->options = p->option.count;
    plan->option = NEW_ARRAY(arena, StmPair, plan->options + 1);
    for (int i = 0; i < plan->options; i++) plan->option[i] = (StmPair){p->option.at[i].name, p->option.at[i].value};
    plan->prepares = p->prepare.count;
    plan->prepare = NEW_ARRAY(arena, StmPair, plan->prepares + 1);
    for (int i = 0; i < plan->prepares; i++)
        plan->prepare[i] = (StmPair){p->prepare.at[i].name, p->prepare.at[i].value};
    const TrainPlan *t = &p->train;
    plan->train = (StmTrain){t->epochs,  t->batch, t->shuffle,  t->keep_last, t->maximise,
                             t->monitor, t->split, t->patience, t->compare,   t->with};
}

const char *plan_program(const KernelProgram *kp, const KernelCode *code, const char *version, StmPlan **result) {
    const Program *p = kp->program;
    Arena *arena = p->arena;
    StmPlan *plan = NEW(arena, StmPlan);
    plan->name = p->name;
    plan->doc = p->doc;
    plan->version = version;
    plan->real = p->real64 ? STM_F64 : STM_F32;

    int *first_phase = NEW_ARRAY(arena, int, kp->kernel.count + 1);
    for (int i = 0; i < kp->kernel.count; i++) {
        first_phase[i] = plan->kernels;
        plan->kernels += code[i].phases;
    }
    plan->kernel = NEW_ARRAY(arena, StmKernelInfo, plan->kernels + 1);
    for (int i = 0; i < kp->kernel.count; i++)
        for (int f = 0; f < code[i].phases; f++)
            plan->kernel[first_phase[i] + f] =
                (StmKernelInfo){code[i].phase[f].name, code[i].phase[f].scratch, code[i].phase[f].flops,
                                code[i].phase[f].launch, code[i].phase[f].matmul};

    // Tensors of the plan: the runtime's own, then the temporaries that calls or outputs name.
    int *plan_tensor = NEW_ARRAY(arena, int, p->tensor.count + 1);
    for (int i = 0; i < p->tensor.count; i++)
        plan_tensor[i] = p->tensor.at[i]->kind == TENSOR_TEMP ? -1 : plan->tensors++;
    bool *used = NEW_ARRAY(arena, bool, p->tensor.count + 1);
    for (int j = 0; j < kp->job.count; j++) {
        const JobCalls *calls = &kp->job.at[j];
        for (int c = 0; c < calls->call.count; c++)
            for (int b = 0; b < call_runs(&calls->call.at[c]) * calls->call.at[c].kernel->buffer.count; b++)
                used[calls->call.at[c].tensor[b]] = true;
        for (int i = 0; i < calls->job->output.count; i++) used[calls->job->output.at[i].tensor] = true;
    }
    for (int i = 0; i < p->tensor.count; i++)
        if (used[i] && plan_tensor[i] < 0) plan_tensor[i] = plan->tensors++;
    copy_tables(p, plan_tensor, plan);

    plan->jobs = kp->job.count;
    plan->job = NEW_ARRAY(arena, StmJob, plan->jobs + 1);
    for (int i = 0; i < plan->jobs; i++) {
        JobPlan j = {.kp = kp,
                     .calls = &kp->job.at[i],
                     .code = code,
                     .first_phase = first_phase,
                     .plan_tensor = plan_tensor,
                     .arena = arena};
        plan_job(&j, &plan->job[i]);
        if (j.error != NULL) return j.error;
    }
    *result = plan;
    return NULL;
}
