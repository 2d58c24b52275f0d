// Batch: calls of one kernel that do not depend on each other become one call with several runs, for targets where
// starting a kernel costs as much as a small kernel's work: an optimiser's update of sixty parameters is one launch.
//
// Requires scheduled kernels; leaves a copy of the program in which such calls are batches (KernelCall.batch); the
// kernels are shared with the original, which is unchanged. The calls of a kernel that is batched anywhere are all
// batches, of one run if need be: its function has one form. Only small calls are moved, so that what they read and
// write may live longer without a larger peak.
//
// One walk over the calls in order. A call joins an earlier batch of its kernel when nothing placed behind that batch
// conflicts with it (it moves up), or when the whole batch conflicts with nothing placed behind it (it moves down to
// the call). Places only grow, so a tensor's last reader and last writer say all that must be known.
#include "pass/pass.h"

#include <string.h>

enum { MOST_RUNS = 1024, OPEN_BATCHES = 4, SMALL_BYTES = 32 << 20 };

typedef struct Batch { // calls in one place of the new order
    VEC(int) call;     // numbers of the original calls
    int place;         // batches run in the order of their places
} Batch;

typedef struct Order {
    const Program *program;
    const JobCalls *calls;
    const int *root;               // tensor -> the tensor whose storage it is
    int *last_read, *last_written; // by root: the place of the last call that does, -1 none
    VEC(Batch) batch;
    int (*open)[OPEN_BATCHES]; // by kernel: its latest batches, -1 none
    int places;
} Order;

static bool is_small(const Program *p, const KernelCall *call) {
    int64_t bytes = 0;
    for (int b = 0; b < call->kernel->buffer.count; b++) {
        const Tensor *t = p->tensor.at[call->tensor[b]];
        bytes += tensor_elements(p, t) * element_size(p, t->type);
    }
    return bytes <= SMALL_BYTES;
}

// May the call run in a batch at `place`, before everything placed behind it?
static bool may_move_up(const Order *o, const KernelCall *call, int place) {
    for (int b = 0; b < call->kernel->buffer.count; b++) {
        int root = o->root[call->tensor[b]];
        const KernelBuffer *buffer = &call->kernel->buffer.at[b];
        if (o->last_written[root] >= place) return false; // also by the batch itself
        if (buffer->is_written && o->last_read[root] >= place) return false;
    }
    return true;
}

// May all calls of the batch run after everything placed behind it, together with `call`?
static bool may_move_down(const Order *o, const Batch *batch, const KernelCall *call) {
    for (int i = 0; i < batch->call.count; i++) {
        const KernelCall *member = &o->calls->call.at[batch->call.at[i]];
        for (int b = 0; b < member->kernel->buffer.count; b++) {
            int root = o->root[member->tensor[b]];
            bool written = member->kernel->buffer.at[b].is_written;
            if (o->last_written[root] > batch->place || (written && o->last_read[root] > batch->place)) return false;
            for (int c = 0; c < call->kernel->buffer.count; c++)
                if (o->root[call->tensor[c]] == root && (written || call->kernel->buffer.at[c].is_written))
                    return false;
        }
    }
    return true;
}

static void mark(Order *o, const KernelCall *call, int place) {
    for (int b = 0; b < call->kernel->buffer.count; b++) {
        int root = o->root[call->tensor[b]];
        if (call->kernel->buffer.at[b].is_written && o->last_written[root] < place) o->last_written[root] = place;
        if (call->kernel->buffer.at[b].is_read && o->last_read[root] < place) o->last_read[root] = place;
    }
}

static void remember(int open[OPEN_BATCHES], int batch) { // the latest first
    int at = 0;
    while (at < OPEN_BATCHES - 1 && open[at] != batch) at++;
    memmove(open + 1, open, sizeof *open * (size_t)at);
    open[0] = batch;
}

static void put(Order *o, int number) {
    const KernelCall *call = &o->calls->call.at[number];
    int *open = o->open[call->kernel->id];
    bool movable = call->kernel->kind == KERNEL_LOOPS && is_small(o->program, call);
    for (int i = 0; movable && i < OPEN_BATCHES && open[i] >= 0; i++) {
        Batch *batch = &o->batch.at[open[i]];
        if (batch->call.count == MOST_RUNS) continue;
        if (may_move_up(o, call, batch->place)) {
            // stays where it is
        } else if (may_move_down(o, batch, call)) {
            batch->place = o->places++;
            for (int c = 0; c < batch->call.count; c++) mark(o, &o->calls->call.at[batch->call.at[c]], batch->place);
        } else {
            continue;
        }
        vec_push(o->program->arena, &batch->call, number);
        mark(o, call, batch->place);
        remember(open, open[i]);
        return;
    }
    Batch single = {.place = o->places++};
    vec_push(o->program->arena, &single.call, number);
    vec_push(o->program->arena, &o->batch, single);
    mark(o, call, single.place);
    if (movable) remember(open, o->batch.count - 1);
}

static KernelCall merged(const Order *o, const Batch *batch, bool table) {
    Arena *arena = o->program->arena;
    KernelCall out = o->calls->call.at[batch->call.at[0]];
    if (!table) return out;
    int buffers = out.kernel->buffer.count;
    out.batch = batch->call.count;
    out.tensor = NEW_ARRAY(arena, int, out.batch *buffers + 1);
    out.more = NEW_ARRAY(arena, Extent, out.batch * out.extents + 1);
    out.flops = 0;
    for (int r = 0; r < out.batch; r++) {
        const KernelCall *call = &o->calls->call.at[batch->call.at[r]];
        memcpy(out.tensor + r * buffers, call->tensor, sizeof(int) * (size_t)buffers);
        memcpy(out.more + r * out.extents, call->extent, sizeof(Extent) * (size_t)out.extents);
        out.flops += call->flops;
    }
    return out;
}

static void order_job(const KernelProgram *kp, const JobCalls *calls, Order *o) {
    Arena *arena = kp->program->arena;
    int tensors = kp->program->tensor.count;
    *o = (Order){.program = kp->program, .calls = calls, .root = storage_roots(arena, kp->program, calls)};
    o->last_read = NEW_ARRAY(arena, int, tensors + 1);
    o->last_written = NEW_ARRAY(arena, int, tensors + 1);
    o->open = arena_alloc(arena, sizeof *o->open * (size_t)(kp->kernel.count + 1));
    memset(o->last_read, 0xFF, sizeof(int) * (size_t)tensors); // -1
    memset(o->last_written, 0xFF, sizeof(int) * (size_t)tensors);
    memset(o->open, 0xFF, sizeof *o->open * (size_t)kp->kernel.count);
    for (int c = 0; c < calls->call.count; c++) put(o, c);
}

KernelProgram *batch_calls(const KernelProgram *kp, bool *table) {
    Arena *arena = kp->program->arena;
    KernelProgram *out = NEW(arena, KernelProgram);
    *out = (KernelProgram){.program = kp->program, .kernel = kp->kernel};
    Order *order = NEW_ARRAY(arena, Order, kp->job.count + 1);
    memset(table, 0, sizeof *table * (size_t)kp->kernel.count);
    for (int j = 0; j < kp->job.count; j++) {
        order_job(kp, &kp->job.at[j], &order[j]);
        for (int b = 0; b < order[j].batch.count; b++) {
            const Batch *batch = &order[j].batch.at[b];
            if (batch->call.count > 1) table[kp->job.at[j].call.at[batch->call.at[0]].kernel->id] = true;
        }
    }
    for (int j = 0; j < kp->job.count; j++) {
        const Order *o = &order[j];
        JobCalls calls = kp->job.at[j];
        const Batch **at = NEW_ARRAY(arena, const Batch *, o->places + 1);
        memset(&calls.call, 0, sizeof calls.call);
        for (int b = 0; b < o->batch.count; b++) at[o->batch.at[b].place] = &o->batch.at[b];
        for (int place = 0; place < o->places; place++) {
            if (!at[place]) continue; // left when its batch moved down
            const Kernel *k = kp->job.at[j].call.at[at[place]->call.at[0]].kernel;
            vec_push(arena, &calls.call, merged(o, at[place], table[k->id]));
        }
        vec_push(arena, &out->job, calls);
    }
    return out;
}
