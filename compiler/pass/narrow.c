// Narrowing: large temporaries are stored as bf16, for the GPU's --precision bf16 (spec/cuda.md, docs/numerics.md).
//
// Requires scheduled kernels in which no call is a batch. Leaves a copy of the kernel program: tensors chosen here have
// type T_BF16 in its table, kernels are cloned for each pattern of narrowed arguments, equal ones shared. Values inside
// kernels stay f32; a store rounds. What stays f32 is told by the functions `keep_...`, one reason each.
#include "pass/pass.h"
#include "pass/rewrite.h"

#include <string.h>

enum {
    LARGE = 4096,  // elements of a tensor worth narrowing
    STATISTIC = 8, // a sum over at least so many elements is a statistic, not an activation
};

typedef struct Narrow {
    const KernelProgram *from;
    const Program *p;
    Arena *arena;
    bool *keep;   // tensor -> stays f32
    bool *wide;   // tensor -> it, or another shape of it, has several dimensions
    bool *stored; // tensor -> some kernel reads or writes its memory
} Narrow;

typedef struct Reads {
    Arena *arena;
    VEC(const Expr *) at;
} Reads;

static void add_read(void *context, Expr *e) {
    Reads *r = context;
    if (e->op == OP_READ) vec_push(r->arena, &r->at, e);
}

static Reads reads_of(const Narrow *n, const Equation *eq) {
    Reads r = {.arena = n->arena};
    if (eq->kind == EQ_VIEW) vec_push(n->arena, &r.at, eq->value);
    else expr_walk(n->arena, eq->value, add_read, &r);
    return r;
}

static int64_t elements(const Narrow *n, int tensor) {
    return tensor_elements(n->p, n->p->tensor.at[tensor]);
}

// What is not a real temporary, and what is too small to matter.
static void keep_small(Narrow *n) {
    for (int t = 0; t < n->p->tensor.count; t++) {
        const Tensor *x = n->p->tensor.at[t];
        n->keep[t] = x->kind != TENSOR_TEMP || x->type != T_REAL || elements(n, t) < LARGE;
    }
}

// What others than kernels of the job see, sums that are built up in memory, and jobs whose numbers are reported or
// saved.
static void keep_visible(Narrow *n, const JobCalls *calls) {
    const Job *job = calls->job;
    for (int i = 0; i < job->output.count; i++) n->keep[job->output.at[i].tensor] = true;
    for (int i = 0; i < job->update.count; i++) n->keep[job->update.at[i].source] = true;
    for (int i = 0; i < calls->zero.count; i++) n->keep[calls->zero.at[i]] = true;
    bool exact = strcmp(job->name, "init") == 0 || strcmp(job->name, "metrics") == 0;
    for (int i = 0; exact && i < job->equation.count; i++) n->keep[job->equation.at[i]->out] = true;
}

// Gradients of parameters and whatever else an update is computed from, element by element.
static void keep_updates(Narrow *n, const Job *job) {
    bool *update = NEW_ARRAY(n->arena, bool, n->p->tensor.count);
    for (int i = 0; i < job->update.count; i++) update[job->update.at[i].source] = true;
    for (int i = job->equation.count - 1; i >= 0; i--) {
        const Equation *eq = job->equation.at[i];
        if (!update[eq->out]) continue;
        n->keep[eq->out] = true;
        if (eq->reduce != REDUCE_NONE || eq->kind == EQ_SCATTER) continue;
        Reads r = reads_of(n, eq);
        for (int k = 0; k < r.at.count; k++) update[r.at.at[k]->tensor] = true;
    }
}

// What an equation that asks for more than bf16 reads and writes. What it reads may be computed inside its kernel, or
// be a copy: then the tensors behind it count.
static void keep_precise(Narrow *n, const Job *job) {
    bool *full = NEW_ARRAY(n->arena, bool, n->p->tensor.count);
    for (int i = job->equation.count - 1; i >= 0; i--) {
        const Equation *eq = job->equation.at[i];
        bool asks = eq->precision == PRECISION_F32 || eq->precision == PRECISION_TF32;
        bool copies =
            eq->kind == EQ_VIEW || (eq->kind == EQ_COMPUTE && eq->reduce == REDUCE_NONE && eq->value->op == OP_READ);
        if (asks) full[eq->out] = true;
        if (!full[eq->out]) continue;
        n->keep[eq->out] = true;
        if (!asks && !copies && n->stored[eq->out]) continue;
        Reads r = reads_of(n, eq);
        for (int k = 0; k < r.at.count; k++) n->keep[r.at.at[k]->tensor] = full[r.at.at[k]->tensor] = true;
    }
}

// Random numbers, and statistics: sums, means, extremes over many elements, and what is computed from them alone. A
// contraction is none: no read of it runs over all its free variables.
static void keep_statistics(Narrow *n, const Job *job) {
    bool *statistic = NEW_ARRAY(n->arena, bool, n->p->tensor.count);
    for (int i = 0; i < job->equation.count; i++) {
        const Equation *eq = job->equation.at[i];
        if (eq->kind != EQ_VIEW && expr_contains(n->arena, eq->value, OP_RANDOM)) n->keep[eq->out] = true;
        Reads r = reads_of(n, eq);
        ExprMap memo = {.arena = n->arena};
        uint32_t free = 0;
        for (int v = 0; v < eq->free; v++)
            if (!extent_is_one(eq->var[v].extent)) free |= 1u << v;
        int64_t size = elements(n, eq->out);
        bool any = false, only = true;
        for (int k = 0; k < r.at.count; k++) {
            int t = r.at.at[k]->tensor;
            bool whole = eq->kind == EQ_COMPUTE && (free & ~expr_vars(&memo, r.at.at[k])) == 0;
            if (eq->reduce != REDUCE_NONE) {
                statistic[eq->out] |= whole && size * STATISTIC <= elements(n, t);
            } else if (statistic[t]) {
                any |= elements(n, t) >= size;
            } else {
                only &= elements(n, t) < size;
            }
        }
        if (eq->reduce == REDUCE_NONE && eq->kind != EQ_SCATTER) statistic[eq->out] = any && only;
        if (statistic[eq->out]) n->keep[eq->out] = true;
    }
}

static void mark_reads(const Narrow *n, const Kernel *k, const Stage *s, bool *needed) {
    Reads r = {.arena = n->arena};
    expr_walk(n->arena, s->value, add_read, &r);
    for (int i = 0; i < r.at.count; i++) {
        int t = r.at.at[i]->tensor;
        needed[t >= 0 ? t : k->buffer.count + ~t] = true;
    }
}

// A kernel that stores a tensor and reduces it sees the values before they are rounded: its statistics would describe
// another tensor than the one that later kernels read.
static void keep_reduced(Narrow *n, const KernelCall *call) {
    const Kernel *k = call->kernel;
    if (k->kind == KERNEL_CONTRACTION) return;
    bool *needed = NEW_ARRAY(n->arena, bool, k->buffer.count + k->local.count + 1); // by a reduction: buffers, locals
    for (int s = k->stage.count - 1; s >= 0; s--) {
        const Stage *stage = &k->stage.at[s];
        int dest = stage->dest >= 0 ? stage->dest : k->buffer.count + ~stage->dest;
        if (stage->reduce != REDUCE_NONE || needed[dest]) mark_reads(n, k, stage, needed);
    }
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        const Expr *e = stage->value;
        if (stage->dest < 0) continue;
        bool copies = stage->reduce == REDUCE_NONE && e->op == OP_READ && e->tensor < 0;
        if (needed[stage->dest] || (copies && needed[k->buffer.count + ~e->tensor]))
            n->keep[call->tensor[stage->dest]] = true;
    }
}

// A contraction of higher precision, with all that its epilogue reads and writes.
static void keep_contraction(Narrow *n, const KernelCall *call) {
    if (call->kernel->precision != PRECISION_F32 && call->kernel->precision != PRECISION_TF32) return;
    for (int b = 0; b < call->kernel->buffer.count; b++) n->keep[call->tensor[b]] = true;
}

// Tensors that share storage have one type: what one of them keeps, all keep. Vectors are no activations, unless they
// are another shape of one.
static void agree(Narrow *n, const JobCalls *calls) {
    const int *root = storage_roots(n->arena, n->p, calls);
    bool *wide = NEW_ARRAY(n->arena, bool, n->p->tensor.count + 1);
    for (int t = 0; t < n->p->tensor.count; t++) {
        wide[root[t]] |= n->p->tensor.at[t]->rank >= 2;
        n->keep[root[t]] |= n->keep[t];
    }
    for (int t = 0; t < n->p->tensor.count; t++) {
        n->keep[t] = n->keep[root[t]];
        n->wide[t] |= wide[root[t]];
    }
}

static bool *choose(const KernelProgram *from) {
    const Program *p = from->program;
    int tensors = p->tensor.count;
    Narrow n = {.from = from, .p = p, .arena = p->arena};
    n.keep = NEW_ARRAY(p->arena, bool, tensors + 1);
    n.wide = NEW_ARRAY(p->arena, bool, tensors + 1);
    n.stored = NEW_ARRAY(p->arena, bool, tensors + 1);
    keep_small(&n);
    for (int j = 0; j < from->job.count; j++) {
        const JobCalls *calls = &from->job.at[j];
        for (int c = 0; c < calls->call.count; c++) {
            const KernelCall *call = &calls->call.at[c];
            EXPECT(call->batch == 0);
            for (int b = 0; b < call->kernel->buffer.count; b++) n.stored[call->tensor[b]] = true;
        }
    }
    for (int j = 0; j < from->job.count; j++) {
        const JobCalls *calls = &from->job.at[j];
        keep_visible(&n, calls);
        keep_updates(&n, calls->job);
        keep_precise(&n, calls->job);
        keep_statistics(&n, calls->job);
        for (int c = 0; c < calls->call.count; c++) {
            keep_reduced(&n, &calls->call.at[c]);
            keep_contraction(&n, &calls->call.at[c]);
        }
        agree(&n, calls);
    }
    for (int t = 0; t < tensors; t++) n.keep[t] |= !n.wide[t];
    return n.keep;
}

// ---- the copy

// The kernel of the copy for a call: with the types that its tensors have now.
static Kernel *kernel_for(KernelProgram *to, const KernelCall *call) {
    Arena *arena = to->program->arena;
    const Kernel *old = call->kernel;
    Kernel *k = kernel_copy(arena, old);
    bool changed = false;
    for (int b = 0; b < k->buffer.count; b++) {
        if (to->program->tensor.at[call->tensor[b]]->type != T_BF16) continue;
        k->buffer.at[b].type = T_BF16;
        changed = true;
    }
    return program_kernel(to, k, changed ? kernel_kind(arena, old) : NULL);
}

KernelProgram *narrow_program(const KernelProgram *from) {
    const Program *p = from->program;
    Arena *arena = p->arena;
    KernelProgram *to = NEW(arena, KernelProgram);
    const bool *keep = choose(from);
    Program *program = arena_copy(arena, p, sizeof *p);
    program->tensor.at =
        arena_copy(arena, p->tensor.at, sizeof *p->tensor.at * (size_t)(p->tensor.count + !p->tensor.count));
    program->tensor.room = program->tensor.count;
    for (int t = 0; !p->real64 && t < p->tensor.count; t++) {
        if (keep[t]) continue;
        program->tensor.at[t] = arena_copy(arena, p->tensor.at[t], sizeof *p->tensor.at[t]);
        program->tensor.at[t]->type = T_BF16;
    }
    to->program = program;
    for (int j = 0; j < from->job.count; j++) {
        JobCalls calls = from->job.at[j];
        calls.call.at = NULL;
        calls.call.count = calls.call.room = 0;
        for (int i = 0; i < from->job.at[j].call.count; i++) {
            KernelCall call = from->job.at[j].call.at[i];
            call.kernel = kernel_for(to, &call);
            vec_push(arena, &calls.call, call);
        }
        vec_push(arena, &to->job, calls);
    }
    return to;
}
