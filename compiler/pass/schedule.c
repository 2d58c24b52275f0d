// Schedule: for each kernel the variable that goes across vector lanes, the reduced variable that is cut into a fixed
// number of chunks when there are few results, and the work.
//
// Requires kernels of fuse_program; leaves lane, split, chunks and flops.
#include "pass/fuse_internal.h"

#include <string.h>

enum {
    SPLIT_PARALLEL = 512, // a reduction with at least this many results needs no chunks
    SPLIT_WORK = 32768,   // a reduction with less work is not worth chunks
    SPLIT_CHUNKS = 32,    // most chunks
};

// Votes of one access for the variable that walks its innermost stored dimension step by step.
static void vote(const Kernel *k, int tensor, int rank, const Position *position, int64_t weight, int64_t *votes) {
    if (tensor < 0 || rank == 0) return;
    const KernelBuffer *b = &k->buffer.at[tensor];
    const Position *p = &position[b->order[rank - 1]];
    if (p->gather != NULL) return;
    for (int i = 0; i < p->terms; i++)
        if ((p->term[i].coef == 1 || p->term[i].coef == -1) && p->divide == 1 && p->modulo == 0)
            votes[p->term[i].var] += weight;
}

static int choose_lane(const Kernel *k, const Program *p, Arena *arena) {
    int64_t votes[2 * MAX_VARS] = {0};
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        int64_t weight = 1;
        for (int v = 0; v < stage->vars; v++) weight *= extent_bound(p, k->var[stage->var[v]].extent);
        ExprList reads = {0};
        expr_reads(arena, stage->value, &reads);
        for (int r = 0; r < reads.count; r++)
            vote(k, reads.at[r]->tensor, reads.at[r]->rank, reads.at[r]->position, weight, votes);
        vote(k, stage->dest, stage->rank, stage->target, weight, votes);
    }
    int best = -1;
    for (int v = 0; v < k->vars; v++) {
        if (extent_bound(p, k->var[v].extent) == 1 && k->var[v].extent.axis < 0) continue;
        if (votes[v] > 0 && (best < 0 || votes[v] > votes[best])) best = v;
    }
    if (best >= 0) return best;
    for (int v = k->vars - 1; v >= 0; v--)
        if (!extent_is_one(k->var[v].extent)) return v;
    return -1;
}

// Reductions with few results are cut along their longest reduced variable, the outermost among equals.
static void choose_split(Kernel *k, const Program *p) {
    int64_t results = 1;
    for (int v = 0; v < k->outer; v++) results *= extent_bound(p, k->var[v].extent);
    const Stage *first = NULL;
    bool finished = false;
    for (int s = 0; s < k->stage.count; s++) {
        const Stage *stage = &k->stage.at[s];
        if (stage->accumulate || stage->reduce >= REDUCE_ARGMAX) return; // numbers of extremes do not combine
        if (stage->reduce == REDUCE_NONE) {
            if (stage->vars > 0) return;
            finished = true;
            continue;
        }
        if (stage->free > 0 || finished) return; // reductions come first, what follows runs once they are combined
        if (first == NULL) first = stage;
        if (stage->vars != first->vars || memcmp(stage->var, first->var, sizeof(int) * (size_t)stage->vars) != 0)
            return;
        if (stage != first && fuse_contains(p->arena, stage->value, OP_READ)) {
            ExprList reads = {0}; // a reduction of an earlier reduction's result cannot be cut together with it
            expr_reads(p->arena, stage->value, &reads);
            for (int r = 0; r < reads.count; r++)
                if (reads.at[r]->tensor < 0) return;
        }
    }
    if (first == NULL || results >= SPLIT_PARALLEL) return;
    int64_t work = results, best = 0;
    for (int v = 0; v < first->vars; v++) {
        int64_t e = extent_bound(p, k->var[first->var[v]].extent);
        work *= e;
        if (e > best) {
            best = e;
            k->split = first->var[v];
        }
    }
    int64_t chunks = work / (SPLIT_WORK / 4);
    if (work < SPLIT_WORK || best < 2) chunks = 1;
    if (chunks > SPLIT_CHUNKS) chunks = SPLIT_CHUNKS;
    if (chunks > best) chunks = best;
    if (chunks > 1)
        chunks = (best + (best + chunks - 1) / chunks - 1) / ((best + chunks - 1) / chunks); // none is empty
    k->chunks = chunks < 2 ? 1 : (int)chunks;
    if (k->chunks == 1) k->split = -1;
}

void schedule_kernels(KernelProgram *kp) {
    const Program *p = kp->program;
    for (int j = 0; j < kp->job.count; j++)
        for (int c = 0; c < kp->job.at[j].call.count; c++) {
            const KernelCall *call = &kp->job.at[j].call.at[c];
            int64_t flops = call->flops; // a kernel with step extents counts per unit of them
            for (int e = 0; e < call->extents; e++)
                flops /= extent_bound(p, call->extent[e]) > 0 ? extent_bound(p, call->extent[e]) : 1;
            if (flops > call->kernel->flops) call->kernel->flops = flops;
        }
    for (int i = 0; i < kp->kernel.count; i++) {
        Kernel *k = kp->kernel.at[i];
        if (k->kind == KERNEL_CONTRACTION) continue;
        k->lane = choose_lane(k, p, p->arena);
        choose_split(k, p);
    }
}
