/* Emits the phases of a planned contraction: packing q once, the main loop over parts, and the combination of partial
   sums.  Requires a ContractPlan; leaves functions of the kernel signature in the module.  The walk over tiles is
   written once (struct Walk) and used for summing, finishing and combining. */
#include "contract_internal.h"

#include <llvm-c/Error.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TILES = 24 };

typedef struct {
    int64_t rows0, rows1;
    int nv;
    LLVMValueRef function;
} TileFunction;

/* Helper functions of one contraction, made when first needed. */
typedef struct {
    TileFunction tile[MAX_TILES];
    int tiles;
    LLVMValueRef finish, finish_tail, pack_p, pack_q, pack_q_tail;
} Helpers;

typedef enum { WALK_SUM, WALK_SUM_FINISH, WALK_FINISH, WALK_COMBINE } WalkKind;

typedef struct {
    Frame *f;
    Helpers *helpers;
    WalkKind kind;
    LLVMValueRef p, q, sums; /* base addresses of the block */
    LLVMValueRef box;        /* i64 per index for finish */
    LLVMValueRef local[CONTRACT_MAX_INDICES];
    LLVMValueRef panel;  /* number of the panel in the block */
    int nv;              /* vectors of this panel */
    LLVMValueRef vector; /* finishing one vector of lanes at a time: which; NULL: all of the panel */
    int64_t rows[2];
    LLVMValueRef counter, run, turn; /* WALK_COMBINE: run number `turn` of `run` consecutive tiles */
    bool failed;
} Walk;

static LLVMValueRef tile_function(Walk *w) {
    Helpers *h = w->helpers;
    for (int i = 0; i < h->tiles; i++)
        if (h->tile[i].rows0 == w->rows[0] && h->tile[i].rows1 == w->rows[1] && h->tile[i].nv == w->nv)
            return h->tile[i].function;
    if (h->tiles == MAX_TILES) {
        w->failed = true;
        return h->tile[0].function;
    }
    LLVMBasicBlockRef here = LLVMGetInsertBlock(w->f->at.builder);
    TileFunction *t = &h->tile[h->tiles++];
    *t = (TileFunction){w->rows[0], w->rows[1], w->nv, NULL};
    t->function = contract_emit_tile(w->f, w->rows[0], w->rows[1], w->nv);
    LLVMPositionBuilderAtEnd(w->f->at.builder, here);
    return t->function;
}

static LLVMValueRef finish_function(Walk *w) {
    bool tail = w->nv != w->f->plan->nv;
    LLVMValueRef *slot = tail ? &w->helpers->finish_tail : &w->helpers->finish;
    if (*slot) return *slot;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(w->f->at.builder);
    *slot = contract_emit_finish(w->f, w->nv);
    LLVMPositionBuilderAtEnd(w->f->at.builder, here);
    return *slot;
}

static LLVMValueRef phase_panel(Frame *f, LLVMValueRef place, LLVMValueRef number);

static int64_t panel_width(const ContractPlan *plan) {
    return (int64_t)plan->nv * plan->vl;
}

static void leaf(Walk *w) {
    Frame *f = w->f;
    const ContractPlan *plan = f->plan;
    LLVMBuilderRef b = f->at.builder;
    Branch mine;
    if (w->kind == WALK_COMBINE) {
        LLVMValueRef n = frame_load(f, f->i64, w->counter);
        frame_store(f, frame_add(f, n, frame_int(f, 1)), w->counter);
        LLVMValueRef turn = LLVMBuildUDiv(b, n, w->run, "");
        mine = frame_if(f, LLVMBuildICmp(b, LLVMIntEQ, turn, w->turn, ""));
    }
    int64_t width = (int64_t)w->nv * plan->vl;
    LLVMValueRef first_lane = frame_scale(f, w->panel, panel_width(plan));
    LLVMValueRef sums = w->sums;
    if (plan->sums_in_memory) {
        LLVMValueRef row = frame_int(f, 0);
        for (int i = 0; i < plan->spec.indices; i++)
            if (w->local[i] && i != plan->lane) row = frame_add(f, row, frame_scale(f, w->local[i], plan->sum_step[i]));
        LLVMValueRef offset = frame_scale(f, w->panel, plan->sum_rows * panel_width(plan));
        sums = frame_element(f, sums, frame_add(f, offset, frame_scale(f, row, width)));
    }
    if (w->kind == WALK_SUM || w->kind == WALK_SUM_FINISH) {
        LLVMValueRef p = frame_int(f, plan->p_access == CONTRACT_DIRECT ? 0 : plan->p_origin), q = frame_int(f, 0);
        for (int i = 0; i < plan->spec.indices; i++) {
            if (!w->local[i] || i == plan->lane) continue;
            if (plan->spec.index[i].role == CONTRACT_M)
                p = frame_add(f, p, frame_scale(f, w->local[i], plan->p_step[i]));
            else if (plan->q_access == CONTRACT_DIRECT)
                q = frame_add(f, q, frame_scale(f, w->local[i], plan->q_step[i]));
            else q = frame_add(f, q, frame_scale(f, w->local[i], plan->q_rows[i] * width));
        }
        if (plan->q_access == CONTRACT_PACK_PHASE)
            for (int k = 0; k < plan->k_count; k++) {
                int i = plan->k_order[k];
                if (plan->cut[i].blocked) q = frame_add(f, q, frame_scale(f, f->start[i], plan->q_rows[i] * width));
            }
        LLVMValueRef panel = w->q;
        if (plan->q_access == CONTRACT_PACK_PHASE) panel = phase_panel(f, panel, w->panel);
        else if (plan->q_access == CONTRACT_DIRECT) q = frame_add(f, q, frame_scale(f, w->panel, panel_width(plan)));
        else q = frame_add(f, q, frame_scale(f, w->panel, plan->q_panel_rows * panel_width(plan)));
        LLVMValueRef arguments[3 + CONTRACT_MAX_INDICES] = {frame_element(f, w->p, p), frame_element(f, panel, q),
                                                            sums};
        unsigned n = 3;
        KLoop loops[CONTRACT_MAX_INDICES];
        int count = contract_k_loops(plan, w->nv, loops);
        for (int l = 0; l < count; l++)
            if (loops[l].count < 0) arguments[n++] = f->count[loops[l].index];
        frame_call(f, tile_function(w), arguments, n);
    }
    if (w->kind != WALK_SUM) {
        for (int i = 0; i < plan->spec.indices; i++) {
            if (plan->spec.index[i].role == CONTRACT_K) continue;
            LLVMValueRef value = i == plan->lane ? frame_add(f, f->start[i], first_lane)
                                 : w->local[i]   ? frame_add(f, f->start[i], w->local[i])
                                                 : f->start[i];
            frame_store(f, value, frame_element_at(f, f->i64, w->box, frame_int(f, i)));
        }
        LLVMValueRef low = w->vector ? frame_scale(f, w->vector, plan->vl) : frame_int(f, 0);
        LLVMValueRef high = frame_add(f, low, frame_int(f, w->vector ? plan->vl : width));
        LLVMValueRef arguments[9] = {f->at.buffers,
                                     f->at.extents,
                                     sums,
                                     w->box,
                                     frame_int(f, w->rows[0]),
                                     frame_int(f, w->rows[1]),
                                     frame_sub(f, f->count[plan->lane], first_lane),
                                     low,
                                     high};
        frame_call(f, finish_function(w), arguments, 9);
    }
    if (w->kind == WALK_COMBINE) {
        frame_else(f, &mine);
        frame_endif(f, &mine);
    }
}

static void walk_index(Walk *w, int index);

static void walk_rows(Walk *w, int index, LLVMValueRef low, LLVMValueRef high, int64_t rows) {
    Frame *f = w->f;
    Loop loop = frame_loop(f, low, high, rows);
    w->local[index] = loop.index;
    for (int r = 0; r < 2; r++)
        if (f->plan->row_index[r] == index) w->rows[r] = rows;
    walk_index(w, index + 1);
    frame_end(f, &loop);
    w->local[index] = NULL;
}

/* Loops over M and N indices from `index` on, the lane index excepted. */
static void walk_index(Walk *w, int index) {
    Frame *f = w->f;
    const ContractPlan *plan = f->plan;
    while (index < plan->spec.indices) {
        ContractRole role = plan->spec.index[index].role;
        if (index != plan->lane && (role == CONTRACT_M || role == CONTRACT_N)) break;
        index++;
    }
    if (index == plan->spec.indices) {
        leaf(w);
        return;
    }
    const ContractIndex *x = &plan->spec.index[index];
    const ContractCut *cut = &plan->cut[index];
    LLVMValueRef count = f->count[index], zero = frame_int(f, 0);
    if (cut->local == 1 && cut->split) {
        w->local[index] = NULL;
        for (int r = 0; r < 2; r++)
            if (plan->row_index[r] == index) w->rows[r] = 1;
        walk_index(w, index + 1);
        return;
    }
    if (cut->tile == 1) {
        walk_rows(w, index, zero, count, 1);
        return;
    }
    LLVMValueRef whole = frame_scale(f, frame_div(f, count, cut->tile), cut->tile);
    if (cut->local >= cut->tile) walk_rows(w, index, zero, whole, cut->tile);
    if (x->extent >= 0) {
        /* the only possible rests: of a full block, and of the last block */
        int64_t rest[2] = {cut->local % cut->tile, cut->local > 0 ? (x->extent % cut->local) % cut->tile : 0};
        if (rest[0]) walk_rows(w, index, whole, count, rest[0]);
        else if (rest[1]) walk_rows(w, index, whole, count, rest[1]);
        return;
    }
    int64_t step = contract_dynamic_tail(cut->tile);
    if (step > 1) {
        LLVMValueRef left = frame_sub(f, count, whole);
        LLVMValueRef next = frame_add(f, whole, frame_scale(f, frame_div(f, left, step), step));
        walk_rows(w, index, whole, next, step);
        whole = next;
    }
    walk_rows(w, index, whole, count, 1);
}

/* Sums that are finished apart go out vector by vector where lanes are far apart in memory: then the cache lines of
   vl lanes are filled before the next ones are touched. */
static void walk_panel(Walk *w) {
    Frame *f = w->f;
    w->rows[0] = w->rows[1] = 1;
    if (!contract_vectors_apart(f->plan) || (w->kind != WALK_FINISH && w->kind != WALK_COMBINE)) {
        walk_index(w, 0);
        return;
    }
    Loop loop = frame_loop(f, frame_int(f, 0), frame_int(f, w->nv), 1);
    w->vector = loop.index;
    walk_index(w, 0);
    frame_end(f, &loop);
    w->vector = NULL;
}

static void walk(Walk *w) {
    Frame *f = w->f;
    const ContractPlan *plan = f->plan;
    const ContractCut *cut = &plan->cut[plan->lane];
    LLVMValueRef panels =
        cut->split ? frame_ceil_div(f, f->count[plan->lane], panel_width(plan)) : frame_int(f, plan->panels);
    w->nv = plan->nv;
    Loop loop = frame_loop(f, frame_int(f, 0), panels, 1);
    w->panel = loop.index;
    walk_panel(w);
    frame_end(f, &loop);
    if (plan->nv_tail) {
        w->nv = plan->nv_tail;
        w->panel = frame_int(f, plan->panels);
        walk_panel(w);
    }
}

/* ---- blocks and addresses --------------------------------------------------------------------------------- */

static LLVMValueRef direct_address(Frame *f, const ContractOperand *x) {
    LLVMValueRef offset = frame_size(f, x->base);
    for (int d = 0; d < x->dims; d++) {
        LLVMValueRef at = frame_int(f, x->dim[d].offset);
        for (int t = 0; t < x->dim[d].terms; t++)
            at = frame_add(f, at, frame_scale(f, f->start[x->dim[d].term[t].index], x->dim[d].term[t].coefficient));
        offset = frame_add(f, offset, frame_mul(f, at, frame_size(f, x->dim[d].stride)));
    }
    return frame_element(f, frame_buffer(f, x->buffer), offset);
}

static LLVMValueRef bytes_from(Frame *f, LLVMValueRef base, LLVMValueRef bytes) {
    return frame_element_at(f, LLVMInt8TypeInContext(f->at.context), base, bytes);
}

/* starts and counts of everything that the part level does not cut */
static void whole_blocks(Frame *f) {
    for (int i = 0; i < f->plan->spec.indices; i++) {
        f->start[i] = frame_int(f, 0);
        f->count[i] = frame_index_extent(f, i);
    }
}

/* Splits a part number into blocks of the split indices; returns what is left of it (the group). */
static LLVMValueRef decode_part(Frame *f, LLVMValueRef part) {
    const ContractPlan *plan = f->plan;
    for (int i = plan->spec.indices - 1; i >= 0; i--) {
        const ContractCut *cut = &plan->cut[i];
        if (!cut->split) continue;
        LLVMValueRef extent = frame_index_extent(f, i);
        LLVMValueRef blocks = frame_ceil_div(f, extent, cut->local > 0 ? cut->local : 1);
        LLVMValueRef rest = LLVMBuildSDiv(f->at.builder, part, blocks, "");
        LLVMValueRef block = frame_sub(f, part, frame_mul(f, rest, blocks));
        f->start[i] = frame_scale(f, block, cut->local);
        f->count[i] = contract_constant_count(plan, i)
                          ? frame_int(f, cut->local)
                          : frame_min(f, frame_int(f, cut->local), frame_sub(f, extent, f->start[i]));
        part = rest;
    }
    return part;
}

/* Where the packed panels of the current block of q begin (CONTRACT_PACK_PHASE). */
static LLVMValueRef phase_panels(Frame *f) {
    const ContractPlan *plan = f->plan;
    int64_t panel = plan->q_panel_rows * panel_width(plan);
    LLVMValueRef batch = frame_int(f, 0), lanes = frame_index_extent(f, plan->lane);
    for (int i = 0; i < plan->spec.indices; i++)
        if (plan->spec.index[i].role == CONTRACT_BATCH)
            batch = frame_add(f, frame_mul(f, batch, frame_index_extent(f, i)), f->start[i]);
    bool dynamic = plan->spec.index[plan->lane].extent < 0;
    LLVMValueRef panels =
        dynamic ? frame_div(f, lanes, panel_width(plan)) : frame_ceil_div(f, lanes, panel_width(plan));
    LLVMValueRef number = frame_div(f, f->start[plan->lane], panel_width(plan));
    bool scaled = dynamic;
    for (int i = 0; i < plan->spec.indices; i++)
        scaled |= plan->spec.index[i].role == CONTRACT_BATCH && plan->spec.index[i].extent < 0;
    LLVMValueRef base = frame_buffer(f, plan->spec.workspace_buffer[scaled]);
    if (!scaled) base = bytes_from(f, base, frame_int(f, plan->partial_bytes));
    LLVMValueRef place =
        frame_element(f, base, frame_scale(f, frame_add(f, frame_mul(f, batch, panels), number), panel));
    return place;
}

/* The address of panel `number` of the block that begins at `place`: the last short panel of a dynamic lane index lies
   in the other workspace. */
static LLVMValueRef phase_panel(Frame *f, LLVMValueRef place, LLVMValueRef number) {
    const ContractPlan *plan = f->plan;
    int64_t panel = plan->q_panel_rows * panel_width(plan), size = plan->spec.type == CONTRACT_F32 ? 4 : 8;
    LLVMValueRef usual = frame_element(f, place, frame_scale(f, number, panel));
    if (plan->spec.index[plan->lane].extent >= 0) return usual;
    LLVMValueRef batch = frame_int(f, 0);
    for (int i = 0; i < plan->spec.indices; i++)
        if (plan->spec.index[i].role == CONTRACT_BATCH)
            batch = frame_add(f, frame_mul(f, batch, frame_index_extent(f, i)), f->start[i]);
    LLVMValueRef whole = frame_div(f, frame_index_extent(f, plan->lane), panel_width(plan));
    LLVMValueRef at = frame_add(f, frame_div(f, f->start[plan->lane], panel_width(plan)), number);
    LLVMValueRef offset =
        frame_add(f, frame_int(f, plan->partial_bytes), frame_scale(f, batch, (panel * size + 63) / 64 * 64));
    LLVMValueRef last = bytes_from(f, frame_buffer(f, plan->spec.workspace_buffer[0]), offset);
    LLVMValueRef fits = LLVMBuildICmp(f->at.builder, LLVMIntSLT, at, whole, "");
    return LLVMBuildSelect(f->at.builder, fits, usual, last, "");
}

static LLVMValueRef pack_q_function(Frame *f, Helpers *h, bool tail) {
    LLVMValueRef *slot = tail ? &h->pack_q_tail : &h->pack_q;
    if (*slot) return *slot;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(f->at.builder);
    *slot = contract_emit_pack_q(f, tail ? f->plan->nv_tail : f->plan->nv);
    LLVMPositionBuilderAtEnd(f->at.builder, here);
    return *slot;
}

/* Packs one panel; the box carries its first lane and the lanes left from there. */
static void pack_panel(Frame *f, Helpers *h, LLVMValueRef box, LLVMValueRef first, LLVMValueRef left,
                       LLVMValueRef place, bool tail) {
    const ContractPlan *plan = f->plan;
    int n = plan->spec.indices;
    frame_store(f, first, frame_element_at(f, f->i64, box, frame_int(f, plan->lane)));
    frame_store(f, left, frame_element_at(f, f->i64, box, frame_int(f, n + plan->lane)));
    LLVMValueRef arguments[4] = {f->at.buffers, f->at.extents, place, box};
    frame_call(f, pack_q_function(f, h, tail), arguments, 4);
}

/* Packs what the plan packs per part, for the block described by f->start and f->count. */
static void pack_block(Frame *f, Helpers *h, LLVMValueRef box, LLVMValueRef p, LLVMValueRef q) {
    const ContractPlan *plan = f->plan;
    if (plan->p_access == CONTRACT_PACK_PART) {
        frame_box_store(f, box);
        if (!h->pack_p) {
            LLVMBasicBlockRef here = LLVMGetInsertBlock(f->at.builder);
            h->pack_p = contract_emit_pack_p(f);
            LLVMPositionBuilderAtEnd(f->at.builder, here);
        }
        LLVMValueRef arguments[4] = {f->at.buffers, f->at.extents, p, box};
        frame_call(f, h->pack_p, arguments, 4);
    }
    if (plan->q_access != CONTRACT_PACK_PART) return;
    frame_box_store(f, box);
    LLVMValueRef start = f->start[plan->lane], count = f->count[plan->lane];
    LLVMValueRef panels =
        plan->cut[plan->lane].split ? frame_ceil_div(f, count, panel_width(plan)) : frame_int(f, plan->panels);
    Loop loop = frame_loop(f, frame_int(f, 0), panels, 1);
    LLVMValueRef lane = frame_scale(f, loop.index, panel_width(plan));
    pack_panel(f, h, box, frame_add(f, start, lane), frame_sub(f, count, lane),
               frame_element(f, q, frame_scale(f, loop.index, plan->q_panel_rows * panel_width(plan))), false);
    frame_end(f, &loop);
    if (plan->nv_tail) {
        LLVMValueRef last = frame_int(f, plan->panels * panel_width(plan));
        pack_panel(f, h, box, frame_add(f, start, last), frame_sub(f, count, last),
                   frame_element(f, q, frame_int(f, plan->panels * plan->q_panel_rows * panel_width(plan))), true);
    }
}

static void sum_block(Frame *f, Helpers *h, LLVMValueRef box, LLVMValueRef p, LLVMValueRef q, LLVMValueRef sums,
                      WalkKind kind, bool *failed) {
    const ContractPlan *plan = f->plan;
    pack_block(f, h, box, p, q);
    if (plan->p_access == CONTRACT_DIRECT) p = direct_address(f, &plan->spec.p);
    if (plan->q_access == CONTRACT_DIRECT) q = direct_address(f, &plan->spec.q);
    else if (plan->q_access == CONTRACT_PACK_PHASE) q = phase_panels(f);
    Walk w = {.f = f, .helpers = h, .kind = kind, .p = p, .q = q, .sums = sums, .box = box};
    walk(&w);
    *failed |= w.failed;
}

/* Loops over the K blocks of a part; `group` is NULL when there is one group. */
static void k_blocks(Frame *f, Helpers *h, int index, LLVMValueRef group, LLVMValueRef box, LLVMValueRef p,
                     LLVMValueRef q, LLVMValueRef sums, bool *failed) {
    const ContractPlan *plan = f->plan;
    while (index < plan->spec.indices && !plan->cut[index].blocked) index++;
    if (index == plan->spec.indices) {
        sum_block(f, h, box, p, q, sums, WALK_SUM, failed);
        return;
    }
    LLVMValueRef extent = frame_index_extent(f, index), low = frame_int(f, 0), high = extent;
    if (group && index == plan->group_index) {
        low = frame_div(f, frame_mul(f, extent, group), plan->groups);
        high = frame_div(f, frame_mul(f, extent, frame_add(f, group, frame_int(f, 1))), plan->groups);
    }
    int64_t local = plan->cut[index].local;
    Loop loop = frame_loop(f, low, high, local);
    f->start[index] = loop.index;
    f->count[index] = contract_constant_count(plan, index)
                          ? frame_int(f, local)
                          : frame_min(f, frame_int(f, local), frame_sub(f, high, loop.index));
    k_blocks(f, h, index + 1, group, box, p, q, sums, failed);
    frame_end(f, &loop);
}

/* ---- phases ----------------------------------------------------------------------------------------------- */

/* Begins a phase.  The caller counts parts in the common form of all levels; its range [first, last) stands for the own
   parts [first * own / common, last * own / common), so that every own part belongs to exactly one common part. */
static LLVMValueRef kernel_function(Frame *f, const Frame *from, const char *suffix, ContractPhaseKind kind,
                                    LLVMValueRef *first, LLVMValueRef *last) {
    LLVMTypeRef arguments[5] = {from->ptr, from->ptr, from->ptr, from->i64, from->i64};
    LLVMValueRef function = frame_function(f, from, suffix, arguments, 5, false);
    f->at.buffers = LLVMGetParam(function, 0);
    f->at.extents = LLVMGetParam(function, 1);
    *first = LLVMGetParam(function, 3);
    *last = LLVMGetParam(function, 4);
    const ContractPlan *plan = f->plan;
    if (!plan->has[kind]) return function;
    const ContractCount *count = &plan->own_parts[kind];
    ContractParts common = {1, -1, 1};
    for (int i = 0; i < plan->phases; i++)
        if (plan->phase[i].kind == kind) common = plan->phase[i].parts;
    if (count->terms == 0 && common.slot < 0 && common.count == count->factor && common.divide == 1) return function;
    LLVMValueRef zero = frame_int(f, 0), own = frame_int(f, count->factor), all = frame_int(f, common.count);
    for (int t = 0; t < count->terms; t++) {
        LLVMValueRef extent = frame_max(f, frame_extent(f, count->slot[t]), zero);
        own = frame_mul(f, own, frame_ceil_div(f, frame_scale(f, extent, count->scale[t]), count->divisor[t]));
    }
    if (common.slot >= 0) all = frame_mul(f, all, frame_max(f, frame_extent(f, common.slot), zero));
    all = frame_max(f, frame_ceil_div(f, all, common.divide), frame_int(f, 1));
    *first = LLVMBuildSDiv(f->at.builder, frame_mul(f, *first, own), all, "");
    *last = LLVMBuildSDiv(f->at.builder, frame_mul(f, *last, own), all, "");
    return function;
}

static LLVMValueRef emit_nothing(const Frame *from, const char *suffix, ContractPhaseKind kind) {
    Frame frame;
    LLVMValueRef first, last, function = kernel_function(&frame, from, suffix, kind, &first, &last);
    LLVMBuildRetVoid(frame.at.builder);
    return function;
}

static LLVMValueRef local_array(Frame *f, int64_t n) {
    return LLVMBuildArrayAlloca(f->at.builder, f->i64, frame_int(f, n), "");
}

static LLVMValueRef emit_main(const Frame *from, Helpers *h, bool *failed) {
    Frame frame, *f = &frame;
    LLVMValueRef first_part, last_part;
    LLVMValueRef function = kernel_function(f, from, "", CONTRACT_PHASE_MAIN, &first_part, &last_part);
    const ContractPlan *plan = f->plan;
    LLVMValueRef box = local_array(f, 2 * plan->spec.indices);
    LLVMValueRef scratch = LLVMGetParam(function, 2);
    LLVMValueRef p = bytes_from(f, scratch, frame_int(f, plan->scratch_p));
    LLVMValueRef q = bytes_from(f, scratch, frame_int(f, plan->scratch_q));
    LLVMValueRef sums = bytes_from(f, scratch, frame_int(f, plan->scratch_sums));
    whole_blocks(f);
    Loop parts = frame_loop(f, first_part, last_part, 1);
    LLVMValueRef group = decode_part(f, parts.index);
    if (!plan->sums_in_memory) {
        sum_block(f, h, box, p, q, sums, WALK_SUM_FINISH, failed);
    } else {
        int64_t size = plan->spec.type == CONTRACT_F32 ? 4 : 8;
        int64_t bytes = (plan->sum_elements * size + 63) / 64 * 64;
        if (plan->groups > 1)
            sums = bytes_from(f, frame_buffer(f, plan->spec.workspace_buffer[0]), frame_scale(f, parts.index, bytes));
        LLVMBuildMemSet(f->at.builder, sums, LLVMConstInt(LLVMInt8TypeInContext(f->at.context), 0, false),
                        frame_int(f, bytes), 64);
        k_blocks(f, h, 0, plan->groups > 1 ? group : NULL, box, p, q, sums, failed);
        if (plan->groups == 1) {
            Walk w = {.f = f, .helpers = h, .kind = WALK_FINISH, .sums = sums, .box = box};
            walk(&w);
        }
    }
    frame_end(f, &parts);
    LLVMBuildRetVoid(f->at.builder);
    return function;
}

static LLVMValueRef emit_combine(const Frame *from, Helpers *h) {
    Frame frame, *f = &frame;
    LLVMValueRef first_part, last_part;
    LLVMValueRef function = kernel_function(f, from, "_combine", CONTRACT_PHASE_COMBINE, &first_part, &last_part);
    const ContractPlan *plan = f->plan;
    int64_t size = plan->spec.type == CONTRACT_F32 ? 4 : 8;
    int64_t bytes = (plan->sum_elements * size + 63) / 64 * 64;
    LLVMValueRef box = local_array(f, plan->spec.indices), counter = local_array(f, 1);
    whole_blocks(f);
    Loop parts = frame_loop(f, first_part, last_part, 1);
    LLVMValueRef part = frame_div(f, parts.index, plan->combine_ways);
    LLVMValueRef turn = frame_sub(f, parts.index, frame_scale(f, part, plan->combine_ways));
    LLVMValueRef sums = bytes_from(f, frame_buffer(f, plan->spec.workspace_buffer[0]), frame_scale(f, part, bytes));
    decode_part(f, part);
    frame_store(f, frame_int(f, 0), counter);
    Walk w = {.f = f,
              .helpers = h,
              .kind = WALK_COMBINE,
              .sums = sums,
              .box = box,
              .counter = counter,
              .run = frame_int(f, plan->combine_run),
              .turn = turn};
    walk(&w);
    frame_end(f, &parts);
    LLVMBuildRetVoid(f->at.builder);
    return function;
}

/* Part numbers of the pack phase: [batch indices][panel][chunk of the outermost K index]. */
static LLVMValueRef emit_pack(const Frame *from, Helpers *h) {
    Frame frame, *f = &frame;
    LLVMValueRef first_part, last_part;
    LLVMValueRef function = kernel_function(f, from, "_pack", CONTRACT_PHASE_PACK, &first_part, &last_part);
    const ContractPlan *plan = f->plan;
    LLVMBuilderRef b = f->at.builder;
    int n = plan->spec.indices;
    LLVMValueRef box = local_array(f, 2 * n);
    whole_blocks(f);
    LLVMValueRef lanes = frame_index_extent(f, plan->lane);
    LLVMValueRef panels = frame_ceil_div(f, lanes, panel_width(plan));
    Loop parts = frame_loop(f, first_part, last_part, 1);
    LLVMValueRef number = parts.index, row = frame_int(f, 0);
    if (plan->pack_chunks > 1) {
        int k = plan->k_order[0];
        number = frame_div(f, parts.index, plan->pack_chunks);
        LLVMValueRef chunk = frame_sub(f, parts.index, frame_scale(f, number, plan->pack_chunks));
        f->start[k] = frame_scale(f, chunk, plan->cut[k].local);
        f->count[k] = frame_min(f, frame_int(f, plan->cut[k].local),
                                frame_sub(f, frame_int(f, plan->spec.index[k].extent), f->start[k]));
        row = frame_scale(f, f->start[k], plan->q_rows[k]);
    }
    LLVMValueRef rest = LLVMBuildSDiv(b, number, panels, "");
    LLVMValueRef panel = frame_sub(f, number, frame_mul(f, rest, panels));
    for (int i = n - 1; i >= 0; i--) {
        if (plan->spec.index[i].role != CONTRACT_BATCH) continue;
        LLVMValueRef next = LLVMBuildSDiv(b, rest, frame_index_extent(f, i), "");
        f->start[i] = frame_sub(f, rest, frame_mul(f, next, frame_index_extent(f, i)));
        rest = next;
    }
    for (int i = 0; i < n; i++) {
        /* the whole extents of K and N travel as counts; frame_box_load reads them where they are not constant */
        frame_store(f, f->start[i], frame_element_at(f, f->i64, box, frame_int(f, i)));
        frame_store(f, f->count[i], frame_element_at(f, f->i64, box, frame_int(f, n + i)));
    }
    LLVMValueRef first = frame_scale(f, panel, panel_width(plan));
    f->start[plan->lane] = first;
    LLVMValueRef place = phase_panel(f, phase_panels(f), frame_int(f, 0)), left = frame_sub(f, lanes, first);
    LLVMValueRef usual = frame_element(f, place, frame_scale(f, row, panel_width(plan)));
    if (!plan->nv_tail) {
        pack_panel(f, h, box, first, left, usual, false);
    } else {
        Branch tail = frame_if(f, LLVMBuildICmp(b, LLVMIntSGE, panel, frame_int(f, plan->panels), ""));
        pack_panel(f, h, box, first, left,
                   frame_element(f, place, frame_scale(f, row, (int64_t)plan->nv_tail * plan->vl)), true);
        frame_else(f, &tail);
        pack_panel(f, h, box, first, left, usual, false);
        frame_endif(f, &tail);
    }
    frame_end(f, &parts);
    LLVMBuildRetVoid(b);
    return function;
}

bool contract_emit(const ContractPlan *plan, LLVMModuleRef module, LLVMValueRef out_function[CONTRACT_MAX_PHASES],
                   char error[CONTRACT_ERROR_LENGTH]) {
    Frame frame = {.plan = plan};
    LLVMContextRef context = LLVMGetModuleContext(module);
    frame.at.context = context;
    frame.at.module = module;
    frame.at.builder = LLVMCreateBuilderInContext(context);
    frame.at.element =
        plan->spec.type == CONTRACT_F32 ? LLVMFloatTypeInContext(context) : LLVMDoubleTypeInContext(context);
    frame.at.cpu = &plan->cpu;
    frame.i64 = LLVMInt64TypeInContext(context);
    frame.ptr = LLVMPointerTypeInContext(context, 0);
    frame.vector = LLVMVectorType(frame.at.element, (unsigned)plan->vl);
    Helpers helpers = {0};
    bool failed = false;
    for (int i = 0; i < plan->phases; i++) {
        static const char *const suffix[] = {"_pack", "", "_combine"};
        ContractPhaseKind kind = plan->phase[i].kind;
        if (!plan->has[kind]) {
            out_function[i] = emit_nothing(&frame, suffix[kind], kind);
        } else if (kind == CONTRACT_PHASE_PACK) {
            /* packs whole extents: blocks of K do not apply, chunks of the outermost one do */
            ContractPlan whole = *plan;
            for (int x = 0; x < whole.spec.indices; x++)
                if (whole.spec.index[x].role == CONTRACT_K ||
                    (whole.spec.index[x].role == CONTRACT_N && x != whole.lane)) {
                    whole.cut[x].local = whole.spec.index[x].extent;
                    whole.cut[x].blocked = whole.cut[x].split = false;
                }
            if (whole.pack_chunks > 1) {
                ContractCut *cut = &whole.cut[whole.k_order[0]];
                cut->blocked = true;
                cut->local = whole.pack_chunk;
            }
            Frame inner = frame;
            inner.plan = &whole;
            Helpers own = {0};
            out_function[i] = emit_pack(&inner, &own);
        } else if (kind == CONTRACT_PHASE_MAIN) {
            out_function[i] = emit_main(&frame, &helpers, &failed);
        } else {
            out_function[i] = emit_combine(&frame, &helpers);
        }
    }
    LLVMDisposeBuilder(frame.at.builder);
    if (failed) {
        snprintf(error, CONTRACT_ERROR_LENGTH, "contraction %s needs more than %d register tiles", plan->spec.name,
                 MAX_TILES);
        return false;
    }
    return true;
}

bool contract_optimise(LLVMModuleRef module, void *target_machine, char error[CONTRACT_ERROR_LENGTH]) {
    static const char passes[] = "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,"
                                 "loop-mssa(licm),gvn<no-pre;no-load-pre>,instcombine<no-verify-fixpoint>,simplifycfg)";
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef problem = LLVMRunPasses(module, passes, target_machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (!problem) return true;
    char *message = LLVMGetErrorMessage(problem);
    snprintf(error, CONTRACT_ERROR_LENGTH, "LLVM passes failed: %s", message);
    LLVMDisposeErrorMessage(message);
    return false;
}
