/* The register tile: rows0 x rows1 broadcast rows times nv vectors of lanes, summed over the K loops; and the finish
   function that hands finished tiles to the store.  Requires packed or direct operands with constant steps;
   leaves private functions.  Sums go through memory once per tile so that the store is emitted once per kernel. */
#include "contract_internal.h"

#include <stdio.h>

int contract_k_loops(const ContractPlan *plan, int nv, KLoop loops[CONTRACT_MAX_INDICES]) {
    int n = 0;
    int64_t width = (int64_t)nv * plan->vl;
    for (int k = 0; k < plan->k_count; k++) {
        int i = plan->k_order[k];
        KLoop loop = {-1, i, plan->p_step[i],
                      plan->q_access == CONTRACT_DIRECT ? plan->q_step[i] : plan->q_rows[i] * width};
        if (contract_constant_count(plan, i)) loop.count = plan->cut[i].local;
        if (loop.count == 1) continue;
        KLoop *outer = n ? &loops[n - 1] : NULL;
        if (outer && loop.count > 0 && outer->p_step == loop.count * loop.p_step &&
            outer->q_step == loop.count * loop.q_step && outer->count > 0) {
            outer->count *= loop.count;
            outer->p_step = loop.p_step;
            outer->q_step = loop.q_step;
            continue;
        }
        loops[n++] = loop;
    }
    return n;
}

/* Rows of sums between neighbours along row index r. */
static int64_t sum_pitch(const ContractPlan *plan, int r) {
    if (plan->row_index[r] < 0) return 0;
    if (plan->sums_in_memory) return plan->sum_step[plan->row_index[r]];
    if (r == 1) return 1;
    return plan->row_index[1] < 0 ? 1 : plan->cut[plan->row_index[1]].tile;
}

typedef struct {
    Frame *f;
    int nv, rows, loops;
    KLoop loop[CONTRACT_MAX_INDICES];
    LLVMValueRef count[CONTRACT_MAX_INDICES];
    int64_t p_offset[40];
    LLVMTypeRef fma_type;
    LLVMValueRef fma;
} Tile;

static LLVMValueRef splat(Frame *f, LLVMValueRef scalar) {
    LLVMBuilderRef b = f->at.builder;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(f->at.context);
    LLVMValueRef one = LLVMBuildInsertElement(b, LLVMGetUndef(f->vector), scalar, LLVMConstInt(i32, 0, false), "");
    LLVMValueRef mask = LLVMConstNull(LLVMVectorType(i32, (unsigned)f->plan->vl));
    return LLVMBuildShuffleVector(b, one, LLVMGetUndef(f->vector), mask, "");
}

static void step(Tile *t, LLVMValueRef p, LLVMValueRef q, LLVMValueRef sum[]) {
    Frame *f = t->f;
    LLVMBuilderRef b = f->at.builder;
    LLVMValueRef lanes[8];
    unsigned align = f->plan->q_access == CONTRACT_DIRECT ? (f->plan->spec.type == CONTRACT_F32 ? 4 : 8)
                                                          : (unsigned)f->plan->cpu.vector_bytes;
    for (int v = 0; v < t->nv; v++) {
        lanes[v] = frame_load(f, f->vector, frame_element(f, q, frame_int(f, (int64_t)v * f->plan->vl)));
        LLVMSetAlignment(lanes[v], align);
    }
    for (int r = 0; r < t->rows; r++) {
        LLVMValueRef x = frame_load(f, f->at.element, frame_element(f, p, frame_int(f, t->p_offset[r])));
        x = splat(f, x);
        for (int v = 0; v < t->nv; v++) {
            LLVMValueRef *s = &sum[r * t->nv + v];
            if (t->fma) {
                LLVMValueRef arguments[3] = {x, lanes[v], *s};
                *s = LLVMBuildCall2(b, t->fma_type, t->fma, arguments, 3, "");
            } else {
                *s = LLVMBuildFAdd(b, *s, LLVMBuildFMul(b, x, lanes[v], ""), "");
            }
        }
    }
}

static void k_loop(Tile *t, int level, LLVMValueRef p, LLVMValueRef q, LLVMValueRef sum[]) {
    Frame *f = t->f;
    LLVMBuilderRef b = f->at.builder;
    if (level == t->loops) {
        step(t, p, q, sum);
        return;
    }
    KLoop *loop = &t->loop[level];
    bool innermost = level + 1 == t->loops;
    int n = t->rows * t->nv;
    /* Unrolling lets LLVM share broadcasts between neighbouring steps of a window, which spills sums in large tiles. */
    bool small = n <= f->plan->cpu.registers / 4;
    if (innermost && small && loop->count > 0 && loop->count <= 4) {
        for (int64_t i = 0; i < loop->count; i++)
            step(t, frame_element(f, p, frame_int(f, i * loop->p_step)),
                 frame_element(f, q, frame_int(f, i * loop->q_step)), sum);
        return;
    }
    int unroll = innermost && small && loop->count > 0 ? (loop->count % 4 == 0 ? 4 : loop->count % 2 == 0 ? 2 : 1) : 1;
    /* constant counts are at least one here; a dynamic one may be zero */
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b);
    LLVMBasicBlockRef body = LLVMAppendBasicBlockInContext(f->at.context, f->at.function, "");
    LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(f->at.context, f->at.function, "");
    bool guard = loop->count < 0;
    LLVMValueRef entry[64];
    if (guard) {
        for (int s = 0; s < t->rows * t->nv; s++) entry[s] = sum[s];
        LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntSGT, t->count[level], frame_int(f, 0), ""), body, done);
    } else {
        LLVMBuildBr(b, body);
    }
    LLVMPositionBuilderAtEnd(b, body);
    LLVMValueRef phi[64];
    LLVMValueRef index = LLVMBuildPhi(b, f->i64, "");
    LLVMValueRef pp = LLVMBuildPhi(b, f->ptr, ""), qq = LLVMBuildPhi(b, f->ptr, "");
    LLVMValueRef count = loop->count > 0 ? frame_int(f, loop->count) : t->count[level];
    LLVMAddIncoming(index, &count, &before, 1);
    LLVMAddIncoming(pp, &p, &before, 1);
    LLVMAddIncoming(qq, &q, &before, 1);
    for (int s = 0; s < n; s++) {
        phi[s] = LLVMBuildPhi(b, f->vector, "");
        LLVMAddIncoming(phi[s], &sum[s], &before, 1);
        sum[s] = phi[s];
    }
    for (int u = 0; u < unroll; u++)
        k_loop(t, level + 1, frame_element(f, pp, frame_int(f, u * loop->p_step)),
               frame_element(f, qq, frame_int(f, u * loop->q_step)), sum);
    LLVMValueRef next = LLVMBuildSub(b, index, frame_int(f, unroll), "");
    LLVMValueRef next_p = frame_element(f, pp, frame_int(f, unroll * loop->p_step));
    LLVMValueRef next_q = frame_element(f, qq, frame_int(f, unroll * loop->q_step));
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(b);
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntNE, next, frame_int(f, 0), ""), body, done);
    LLVMAddIncoming(index, &next, &latch, 1);
    LLVMAddIncoming(pp, &next_p, &latch, 1);
    LLVMAddIncoming(qq, &next_q, &latch, 1);
    for (int s = 0; s < n; s++) LLVMAddIncoming(phi[s], &sum[s], &latch, 1);
    LLVMPositionBuilderAtEnd(b, done);
    for (int s = 0; guard && s < n; s++) {
        LLVMValueRef merged = LLVMBuildPhi(b, f->vector, "");
        LLVMAddIncoming(merged, &entry[s], &before, 1);
        LLVMAddIncoming(merged, &sum[s], &latch, 1);
        sum[s] = merged;
    }
}

LLVMValueRef contract_emit_tile(const Frame *from, int64_t rows0, int64_t rows1, int nv) {
    Frame frame, *f = &frame;
    const ContractPlan *plan = from->plan;
    Tile t = {.f = f, .nv = nv, .rows = (int)(rows0 * rows1)};
    t.loops = contract_k_loops(plan, nv, t.loop);
    LLVMTypeRef arguments[3 + CONTRACT_MAX_INDICES] = {from->ptr, from->ptr, from->ptr};
    unsigned n = 3;
    for (int l = 0; l < t.loops; l++)
        if (t.loop[l].count < 0) arguments[n++] = from->i64;
    char suffix[64];
    snprintf(suffix, sizeof suffix, ".tile_%lldx%lldx%d", (long long)rows0, (long long)rows1, nv);
    LLVMValueRef function = frame_function(f, from, suffix, arguments, n, true);
    n = 3;
    for (int l = 0; l < t.loops; l++)
        if (t.loop[l].count < 0) t.count[l] = LLVMGetParam(function, n++);
    if (plan->cpu.fma) {
        unsigned id = LLVMLookupIntrinsicID("llvm.fma", 8);
        t.fma = LLVMGetIntrinsicDeclaration(f->at.module, id, &f->vector, 1);
        t.fma_type = LLVMIntrinsicGetType(f->at.context, id, &f->vector, 1);
    }
    int64_t width = (int64_t)nv * plan->vl;
    LLVMValueRef place[64], sum[64];
    for (int64_t r0 = 0; r0 < rows0; r0++)
        for (int64_t r1 = 0; r1 < rows1; r1++) {
            int64_t r = r0 * rows1 + r1, p = 0, s = 0;
            if (plan->row_index[0] >= 0) p += r0 * plan->p_step[plan->row_index[0]], s += r0 * sum_pitch(plan, 0);
            if (plan->row_index[1] >= 0) p += r1 * plan->p_step[plan->row_index[1]], s += r1 * sum_pitch(plan, 1);
            t.p_offset[r] = p;
            for (int v = 0; v < nv; v++) {
                place[r * nv + v] =
                    frame_element(f, LLVMGetParam(function, 2), frame_int(f, s * width + (int64_t)v * plan->vl));
                sum[r * nv + v] = LLVMConstNull(f->vector);
            }
        }
    if (plan->sums_in_memory)
        for (int s = 0; s < t.rows * nv; s++) sum[s] = frame_load(f, f->vector, place[s]);
    k_loop(&t, 0, LLVMGetParam(function, 0), LLVMGetParam(function, 1), sum);
    for (int s = 0; s < t.rows * nv; s++) frame_store(f, sum[s], place[s]);
    LLVMBuildRetVoid(f->at.builder);
    return function;
}

/* ---- finishing -------------------------------------------------------------------------------------------- */

static LLVMValueRef iota(Frame *f) {
    LLVMValueRef value[64];
    for (int i = 0; i < f->plan->vl; i++) value[i] = frame_int(f, i);
    return LLVMConstVector(value, (unsigned)f->plan->vl);
}

static LLVMValueRef splat_int(Frame *f, LLVMValueRef value) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(f->at.context), type = LLVMVectorType(f->i64, (unsigned)f->plan->vl);
    LLVMValueRef one =
        LLVMBuildInsertElement(f->at.builder, LLVMGetUndef(type), value, LLVMConstInt(i32, 0, false), "");
    return LLVMBuildShuffleVector(f->at.builder, one, LLVMGetUndef(type),
                                  LLVMConstNull(LLVMVectorType(i32, (unsigned)f->plan->vl)), "");
}

static LLVMValueRef intrinsic(Frame *f, const char *name, LLVMTypeRef *types, size_t n, LLVMValueRef *arguments,
                              unsigned count) {
    size_t length = 0;
    while (name[length]) length++;
    unsigned id = LLVMLookupIntrinsicID(name, length);
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(f->at.module, id, types, n);
    return LLVMBuildCall2(f->at.builder, LLVMIntrinsicGetType(f->at.context, id, types, n), function, arguments, count,
                          "");
}

/* out = sums, or out += sums, for a plain tensor with any strides. */
static void plain_store(Frame *f, LLVMValueRef sums, const LLVMValueRef index[], LLVMValueRef mask) {
    const ContractSpec *spec = &f->plan->spec;
    LLVMValueRef offset = frame_size(f, spec->out_base);
    for (int i = 0; i < spec->indices; i++)
        if (spec->index[i].role != CONTRACT_K)
            offset = frame_add(f, offset, frame_mul(f, index[i], frame_size(f, spec->out_stride[i])));
    LLVMValueRef address = frame_element(f, frame_buffer(f, spec->out_buffer), offset);
    ContractSize lane = spec->out_stride[f->plan->lane];
    LLVMTypeRef i32 = LLVMInt32TypeInContext(f->at.context);
    LLVMValueRef align = LLVMConstInt(i32, spec->type == CONTRACT_F32 ? 4 : 8, false);
    if (!lane.factors && lane.constant == 1) {
        LLVMTypeRef types[2] = {f->vector, f->ptr};
        if (spec->out_accumulate) {
            LLVMValueRef old;
            if (mask) {
                LLVMValueRef arguments[4] = {address, align, mask, LLVMConstNull(f->vector)};
                old = intrinsic(f, "llvm.masked.load", types, 2, arguments, 4);
            } else {
                old = frame_load(f, f->vector, address);
            }
            sums = LLVMBuildFAdd(f->at.builder, old, sums, "");
        }
        if (!mask) {
            frame_store(f, sums, address);
            return;
        }
        LLVMValueRef arguments[4] = {sums, address, align, mask};
        intrinsic(f, "llvm.masked.store", types, 2, arguments, 4);
        return;
    }
    LLVMTypeRef pointers = LLVMVectorType(f->ptr, (unsigned)f->plan->vl);
    LLVMValueRef steps = LLVMBuildMul(f->at.builder, iota(f), splat_int(f, frame_size(f, lane)), "");
    LLVMValueRef places = LLVMBuildGEP2(f->at.builder, f->at.element, address, &steps, 1, "");
    if (!mask) mask = LLVMConstAllOnes(LLVMVectorType(LLVMInt1TypeInContext(f->at.context), (unsigned)f->plan->vl));
    LLVMTypeRef types[2] = {f->vector, pointers};
    if (spec->out_accumulate) {
        LLVMValueRef arguments[4] = {places, align, mask, LLVMConstNull(f->vector)};
        sums = LLVMBuildFAdd(f->at.builder, intrinsic(f, "llvm.masked.gather", types, 2, arguments, 4), sums, "");
    }
    LLVMValueRef arguments[4] = {sums, places, align, mask};
    intrinsic(f, "llvm.masked.scatter", types, 2, arguments, 4);
}

static void store(Frame *f, LLVMValueRef sums, const LLVMValueRef index[], LLVMValueRef mask) {
    const ContractPlan *plan = f->plan;
    if (plan->spec.store)
        plan->spec.store(plan->spec.store_user, &f->at, sums, index, plan->virtual_lane ? -1 : plan->lane, plan->vl,
                         mask);
    else plain_store(f, sums, index, mask);
}

/* The sums of one vector, over all groups in their fixed order. */
static LLVMValueRef finished(Frame *f, LLVMValueRef place) {
    const ContractPlan *plan = f->plan;
    LLVMValueRef sums = frame_load(f, f->vector, place);
    int64_t size = plan->spec.type == CONTRACT_F32 ? 4 : 8;
    for (int g = 1; g < plan->groups; g++) {
        int64_t offset = plan->partial_bytes / plan->groups / size * g;
        LLVMValueRef part = frame_load(f, f->vector, frame_element(f, place, frame_int(f, offset)));
        sums = LLVMBuildFAdd(f->at.builder, sums, part, "");
    }
    return sums;
}

/* void finish(buffers, extents, sums, index values of the tile's origin, rows0, rows1, valid lanes, low, high):
   lanes low .. high-1 of the tile, as far as they are valid */
LLVMValueRef contract_emit_finish(const Frame *from, int nv) {
    Frame frame, *f = &frame;
    const ContractPlan *plan = from->plan;
    LLVMTypeRef arguments[9] = {from->ptr, from->ptr, from->ptr, from->ptr, from->i64,
                                from->i64, from->i64, from->i64, from->i64};
    LLVMValueRef function = frame_function(f, from, ".finish", arguments, 9, true);
    LLVMBuilderRef b = f->at.builder;
    f->at.buffers = LLVMGetParam(function, 0);
    f->at.extents = LLVMGetParam(function, 1);
    int64_t width = (int64_t)nv * plan->vl;
    LLVMValueRef origin[CONTRACT_MAX_INDICES] = {0}, index[CONTRACT_MAX_INDICES] = {0};
    for (int i = 0; i < plan->spec.indices; i++)
        if (plan->spec.index[i].role != CONTRACT_K)
            index[i] = origin[i] =
                frame_load(f, f->i64, frame_element_at(f, f->i64, LLVMGetParam(function, 3), frame_int(f, i)));
    LLVMValueRef zero = frame_int(f, 0), valid = LLVMGetParam(function, 6);
    Loop r0 = frame_loop(f, zero, LLVMGetParam(function, 4), 1);
    Loop r1 = frame_loop(f, zero, LLVMGetParam(function, 5), 1);
    LLVMValueRef row = LLVMGetParam(function, 2);
    if (plan->row_index[0] >= 0) {
        row = frame_element(f, row, frame_scale(f, r0.index, sum_pitch(plan, 0) * width));
        index[plan->row_index[0]] = frame_add(f, origin[plan->row_index[0]], r0.index);
    }
    if (plan->row_index[1] >= 0) {
        row = frame_element(f, row, frame_scale(f, r1.index, sum_pitch(plan, 1) * width));
        index[plan->row_index[1]] = frame_add(f, origin[plan->row_index[1]], r1.index);
    }
    int64_t extent = plan->spec.index[plan->lane].extent;
    bool whole = extent >= 0 && extent % plan->vl == 0;
    if (whole && !plan->spec.store && !contract_vectors_apart(plan) && !plan->cut[plan->lane].split) {
        /* plain rows are short code: one copy per vector instead of a loop */
        for (int v = 0; v < nv; v++) {
            LLVMValueRef lane = frame_int(f, (int64_t)v * plan->vl);
            index[plan->lane] = frame_add(f, origin[plan->lane], lane);
            store(f, finished(f, frame_element(f, row, lane)), index, NULL);
        }
    } else {
        Loop lanes = frame_loop(f, LLVMGetParam(function, 7), frame_min(f, valid, LLVMGetParam(function, 8)), plan->vl);
        LLVMValueRef sums = finished(f, frame_element(f, row, lanes.index));
        index[plan->lane] = frame_add(f, origin[plan->lane], lanes.index);
        if (whole) {
            store(f, sums, index, NULL);
        } else {
            LLVMValueRef left = frame_sub(f, valid, lanes.index);
            Branch branch = frame_if(f, LLVMBuildICmp(b, LLVMIntSGE, left, frame_int(f, plan->vl), ""));
            store(f, sums, index, NULL);
            frame_else(f, &branch);
            store(f, sums, index, LLVMBuildICmp(b, LLVMIntSLT, iota(f), splat_int(f, left), ""));
            frame_endif(f, &branch);
        }
        frame_end(f, &lanes);
    }
    frame_end(f, &r1);
    frame_end(f, &r0);
    LLVMBuildRetVoid(b);
    return function;
}
