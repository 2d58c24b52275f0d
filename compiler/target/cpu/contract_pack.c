/* Packing: copies the operand values of one block into scratch, with zeros outside the guards.
   p keeps its stored dimensions (a window of the tensor), so that windowed reads become constant offsets;
   q becomes panels of lane rows, [other N][K in loop order][lanes].  Operands with a load callback are evaluated
   here once per packed element.  Requires lay-outs in the plan; leaves private functions. */
#include "contract_internal.h"

LLVMValueRef contract_load(Frame *f, const ContractOperand *x, LLVMValueRef coordinate[], int lane_dim, int lanes) {
    if (x->load) return x->load(x->user, &f->at, coordinate, lane_dim, lanes);
    LLVMValueRef offset = frame_size(f, x->base);
    for (int d = 0; d < x->dims; d++)
        offset = frame_add(f, offset, frame_mul(f, coordinate[d], frame_size(f, x->dim[d].stride)));
    return frame_load(f, frame_vector(f, lanes), frame_element(f, frame_buffer(f, x->buffer), offset));
}

static void zero_run(Frame *f, LLVMValueRef destination, LLVMValueRef low, LLVMValueRef high) {
    unsigned size = f->plan->spec.type == CONTRACT_F32 ? 4 : 8;
    LLVMValueRef n = frame_max(f, frame_sub(f, high, low), frame_int(f, 0));
    LLVMBuildMemSet(f->at.builder, frame_element(f, destination, low),
                    LLVMConstInt(LLVMInt8TypeInContext(f->at.context), 0, false), frame_scale(f, n, size), size);
}

/* ---- p ---------------------------------------------------------------------------------------------------- */

typedef struct {
    Frame *f;
    const ContractOperand *x;
    LLVMValueRef origin[CONTRACT_MAX_DIMS], low[CONTRACT_MAX_DIMS], high[CONTRACT_MAX_DIMS];
    LLVMValueRef coordinate[CONTRACT_MAX_DIMS];
    int64_t extent[CONTRACT_MAX_DIMS]; /* packed extents */
    bool full[CONTRACT_MAX_DIMS];      /* low, high is the whole packed extent */
} PackP;

/* From position o on, the packed order is the memory order without holes, so a run along it is one copy. */
static bool dense_from(const PackP *k, int o) {
    const ContractPlan *plan = k->f->plan;
    if (k->x->load) return false;
    for (int i = o; i < k->x->dims; i++) {
        int d = plan->p_order[i];
        const ContractDim *dim = &k->x->dim[d];
        if (dim->stride.factors || dim->stride.constant != plan->p_pitch[d] || dim->divisor > 1) return false;
        if (i > o && (dim->guarded || !k->full[d])) return false;
    }
    return true;
}

/* Copies or evaluates positions [low, high) along dimension d; `run` elements per position are contiguous. */
static void copy_run(PackP *k, int d, LLVMValueRef destination, LLVMValueRef low, LLVMValueRef high, int64_t run) {
    Frame *f = k->f;
    int vl = f->plan->vl, first = 0;
    while (f->plan->p_order[first] != d) first++;
    for (int o = first + 1; o < k->x->dims; o++) {
        int inner = f->plan->p_order[o];
        k->coordinate[inner] = frame_add(f, k->origin[inner], k->low[inner]);
    }
    if (k->x->load || run == 1) {
        bool unit = k->x->load || (!k->x->dim[d].stride.factors && k->x->dim[d].stride.constant == 1);
        LLVMValueRef middle = low;
        if (unit && vl > 1) {
            LLVMValueRef span = frame_max(f, frame_sub(f, high, low), frame_int(f, 0));
            middle = frame_add(f, low, frame_scale(f, frame_div(f, span, vl), vl));
            Loop loop = frame_loop(f, low, middle, vl);
            k->coordinate[d] = frame_add(f, k->origin[d], loop.index);
            frame_store(f, contract_load(f, k->x, k->coordinate, d, vl), frame_element(f, destination, loop.index));
            frame_end(f, &loop);
        }
        Loop loop = frame_loop(f, middle, high, 1);
        k->coordinate[d] = frame_add(f, k->origin[d], loop.index);
        frame_store(f, contract_load(f, k->x, k->coordinate, d, 1), frame_element(f, destination, loop.index));
        frame_end(f, &loop);
        return;
    }
    /* a dense run of a plain tensor over several dimensions */
    k->coordinate[d] = frame_add(f, k->origin[d], low);
    LLVMValueRef offset = frame_size(f, k->x->base);
    for (int e = 0; e < k->x->dims; e++)
        offset = frame_add(f, offset, frame_mul(f, k->coordinate[e], frame_size(f, k->x->dim[e].stride)));
    LLVMValueRef source = frame_element(f, frame_buffer(f, k->x->buffer), offset);
    LLVMValueRef target = frame_element(f, destination, frame_scale(f, low, run));
    LLVMValueRef n = frame_scale(f, frame_max(f, frame_sub(f, high, low), frame_int(f, 0)), run);
    LLVMValueRef middle = frame_scale(f, frame_div(f, n, vl), vl);
    Loop loop = frame_loop(f, frame_int(f, 0), middle, vl);
    frame_store(f, frame_load(f, frame_vector(f, vl), frame_element(f, source, loop.index)),
                frame_element(f, target, loop.index));
    frame_end(f, &loop);
    Loop tail = frame_loop(f, middle, n, 1);
    frame_store(f, frame_load(f, f->at.element, frame_element(f, source, tail.index)),
                frame_element(f, target, tail.index));
    frame_end(f, &tail);
}

static void pack_dim(PackP *k, int o, LLVMValueRef destination) {
    Frame *f = k->f;
    const ContractPlan *plan = f->plan;
    if (o == k->x->dims) { /* an operand without dimensions: one element */
        frame_store(f, contract_load(f, k->x, k->coordinate, -1, 1), destination);
        return;
    }
    int d = plan->p_order[o];
    const ContractDim *dim = &k->x->dim[d];
    int64_t pitch = plan->p_pitch[d];
    bool innermost = o + 1 == k->x->dims;
    if (dim->divisor <= 1 && (innermost || dense_from(k, o))) {
        LLVMValueRef low = k->low[d], high = k->high[d];
        if (dim->guarded) {
            LLVMValueRef zero = frame_int(f, 0);
            low = frame_max(f, low, frame_sub(f, zero, k->origin[d]));
            low = frame_min(f, low, high);
            high = frame_min(f, high, frame_sub(f, frame_size(f, dim->size), k->origin[d]));
            high = frame_max(f, high, low);
            zero_run(f, destination, frame_scale(f, k->low[d], pitch), frame_scale(f, low, pitch));
        }
        copy_run(k, d, destination, low, high, pitch);
        if (dim->guarded) zero_run(f, destination, frame_scale(f, high, pitch), frame_scale(f, k->high[d], pitch));
        return;
    }
    Loop loop = frame_loop(f, k->low[d], k->high[d], 1);
    LLVMValueRef value = frame_add(f, k->origin[d], loop.index);
    LLVMValueRef target = frame_element(f, destination, frame_scale(f, loop.index, pitch));
    if (!dim->guarded) {
        k->coordinate[d] = value;
        pack_dim(k, o + 1, target);
    } else {
        LLVMBuilderRef b = f->at.builder;
        LLVMValueRef quotient = frame_div(f, value, dim->divisor);
        LLVMValueRef inside = LLVMBuildAnd(b, LLVMBuildICmp(b, LLVMIntSGE, value, frame_int(f, 0), ""),
                                           LLVMBuildICmp(b, LLVMIntSLT, quotient, frame_size(f, dim->size), ""), "");
        if (dim->divisor > 1) {
            LLVMValueRef rest = frame_sub(f, value, frame_scale(f, quotient, dim->divisor));
            inside = LLVMBuildAnd(b, inside, LLVMBuildICmp(b, LLVMIntEQ, rest, frame_int(f, 0), ""), "");
        }
        Branch branch = frame_if(f, inside);
        k->coordinate[d] = quotient;
        pack_dim(k, o + 1, target);
        frame_else(f, &branch);
        zero_run(f, target, frame_int(f, 0), frame_int(f, pitch));
        frame_endif(f, &branch);
    }
    frame_end(f, &loop);
}

LLVMValueRef contract_emit_pack_p(const Frame *from) {
    Frame frame, *f = &frame;
    LLVMTypeRef arguments[4] = {from->ptr, from->ptr, from->ptr, from->ptr};
    LLVMValueRef function = frame_function(f, from, ".p", arguments, 4, true);
    f->at.buffers = LLVMGetParam(function, 0);
    f->at.extents = LLVMGetParam(function, 1);
    frame_box_load(f, LLVMGetParam(function, 3));
    PackP k = {.f = f, .x = &f->plan->spec.p};
    for (int d = 0; d < k.x->dims; d++) {
        const ContractDim *dim = &k.x->dim[d];
        LLVMValueRef origin = frame_int(f, dim->offset), low = frame_int(f, 0), high = frame_int(f, 1);
        k.full[d] = true;
        for (int t = 0; t < dim->terms; t++) {
            int i = dim->term[t].index;
            int64_t c = dim->term[t].coefficient, local = f->plan->cut[i].local < 1 ? 1 : f->plan->cut[i].local;
            origin = frame_add(f, origin, frame_scale(f, f->start[i], c));
            LLVMValueRef reach = frame_sub(f, f->count[i], frame_int(f, 1));
            k.full[d] &= contract_constant_count(f->plan, i);
            if (c > 0) {
                high = frame_add(f, high, frame_scale(f, reach, c));
            } else {
                origin = frame_add(f, origin, frame_int(f, c * (local - 1)));
                high = frame_add(f, high, frame_int(f, -c * (local - 1)));
                low = frame_add(f, low, frame_scale(f, frame_sub(f, frame_int(f, local), f->count[i]), -c));
            }
        }
        k.origin[d] = origin;
        k.low[d] = low;
        k.high[d] = high;
    }
    pack_dim(&k, 0, LLVMGetParam(function, 2));
    LLVMBuildRetVoid(f->at.builder);
    return function;
}

/* ---- q ---------------------------------------------------------------------------------------------------- */

typedef struct {
    Frame *f;
    const ContractOperand *x;
    int nv;
    LLVMValueRef destination;
    LLVMValueRef index[CONTRACT_MAX_INDICES];
    bool transposing;    /* lanes are not contiguous in memory: loops run in memory order, lanes among them */
    LLVMValueRef lanes;  /* transposing: lanes of this panel that exist */
    int along;           /* transposing: the K index that is contiguous in memory, -1: none */
    int along_dim;       /* and its stored dimension */
    LLVMValueRef square; /* room for vl x vl elements */
    int lane_dim;        /* stored dimension along lanes, -1: none or several */
    int order[CONTRACT_MAX_INDICES], loops;
} PackQ;

/* Coordinates at k->index; *inside is NULL when no guard applies. */
static void coordinates(PackQ *k, LLVMValueRef coordinate[], LLVMValueRef *inside) {
    Frame *f = k->f;
    LLVMBuilderRef b = f->at.builder;
    *inside = NULL;
    for (int d = 0; d < k->x->dims; d++) {
        const ContractDim *dim = &k->x->dim[d];
        LLVMValueRef v = frame_int(f, dim->offset);
        for (int t = 0; t < dim->terms; t++)
            v = frame_add(f, v, frame_scale(f, k->index[dim->term[t].index], dim->term[t].coefficient));
        coordinate[d] = frame_div(f, v, dim->divisor);
        if (!dim->guarded) continue;
        LLVMValueRef in = LLVMBuildAnd(b, LLVMBuildICmp(b, LLVMIntSGE, v, frame_int(f, 0), ""),
                                       LLVMBuildICmp(b, LLVMIntSLT, coordinate[d], frame_size(f, dim->size), ""), "");
        if (dim->divisor > 1)
            in = LLVMBuildAnd(b, in, LLVMBuildICmp(b, LLVMIntEQ, frame_scale(f, coordinate[d], dim->divisor), v, ""),
                              "");
        *inside = *inside ? LLVMBuildAnd(b, *inside, in, "") : in;
    }
}

static void pack_value(PackQ *k, LLVMValueRef target, int lanes) {
    Frame *f = k->f;
    LLVMValueRef coordinate[CONTRACT_MAX_DIMS], inside;
    coordinates(k, coordinate, &inside);
    if (!inside) {
        frame_store(f, contract_load(f, k->x, coordinate, k->lane_dim, lanes), target);
        return;
    }
    Branch branch = frame_if(f, inside);
    frame_store(f, contract_load(f, k->x, coordinate, k->lane_dim, lanes), target);
    frame_else(f, &branch);
    frame_store(f, LLVMConstNull(frame_vector(f, lanes)), target);
    frame_endif(f, &branch);
}

/* One lane of one row; lanes at or beyond the count are zero. */
static void pack_lane(PackQ *k, LLVMValueRef row, LLVMValueRef lane) {
    Frame *f = k->f;
    LLVMValueRef target = frame_element(f, row, lane);
    k->index[f->plan->lane] = frame_add(f, f->start[f->plan->lane], lane);
    pack_value(k, target, 1);
}

static void pack_row(PackQ *k, LLVMValueRef row) {
    Frame *f = k->f;
    int lane = f->plan->lane, vl = f->plan->vl;
    for (int v = 0; v < k->nv; v++) {
        LLVMValueRef first = frame_int(f, (int64_t)v * vl);
        LLVMValueRef fits =
            LLVMBuildICmp(f->at.builder, LLVMIntSGE, f->count[lane], frame_int(f, (int64_t)(v + 1) * vl), "");
        Branch branch = frame_if(f, fits);
        k->index[lane] = frame_add(f, f->start[lane], first);
        pack_value(k, frame_element(f, row, first), vl);
        frame_else(f, &branch);
        LLVMValueRef end = frame_max(f, first, frame_min(f, f->count[lane], frame_int(f, (int64_t)(v + 1) * vl)));
        Loop loop = frame_loop(f, first, end, 1);
        pack_lane(k, row, loop.index);
        frame_end(f, &loop);
        zero_run(f, row, end, frame_int(f, (int64_t)(v + 1) * vl));
        frame_endif(f, &branch);
    }
}

/* Exchanges rows and columns of a vl x vl block held in vl vectors. */
static void transpose(Frame *f, LLVMValueRef v[]) {
    int n = f->plan->vl;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(f->at.context);
    for (int half = 1; half < n; half *= 2) { /* swap the off-diagonal halves of every 2 half x 2 half block */
        LLVMValueRef low[64], high[64];
        for (int i = 0; i < n; i++) {
            bool upper = i & half;
            low[i] = LLVMConstInt(i32, (unsigned)(upper ? n + i - half : i), false);
            high[i] = LLVMConstInt(i32, (unsigned)(upper ? n + i : i + half), false);
        }
        LLVMValueRef low_mask = LLVMConstVector(low, (unsigned)n), high_mask = LLVMConstVector(high, (unsigned)n);
        for (int i = 0; i < n; i++) {
            if (i & half) continue;
            LLVMValueRef a = v[i], b = v[i + half];
            v[i] = LLVMBuildShuffleVector(f->at.builder, a, b, low_mask, "");
            v[i + half] = LLVMBuildShuffleVector(f->at.builder, a, b, high_mask, "");
        }
    }
}

/* vl lanes from `lane` on, all present: blocks of vl x vl are read along K and written along lanes. */
static void pack_square(PackQ *k, LLVMValueRef row, LLVMValueRef lane) {
    Frame *f = k->f;
    int vl = f->plan->vl, i = k->along, saved = k->lane_dim;
    int64_t pitch = f->plan->q_rows[i] * k->nv * vl;
    LLVMValueRef whole = frame_scale(f, frame_div(f, f->count[i], vl), vl);
    k->lane_dim = k->along_dim;
    Loop loop = frame_loop(f, frame_int(f, 0), whole, vl);
    k->index[i] = frame_add(f, f->start[i], loop.index);
    LLVMValueRef v[64], coordinate[CONTRACT_MAX_DIMS], inside;
    LLVMValueRef target = frame_element(f, frame_element(f, row, lane), frame_scale(f, loop.index, pitch));
    if (k->x->load) { /* evaluated once per lane in a loop, to keep the code small */
        Loop lanes = frame_loop(f, frame_int(f, 0), frame_int(f, vl), 1);
        k->index[f->plan->lane] = frame_add(f, f->start[f->plan->lane], frame_add(f, lane, lanes.index));
        coordinates(k, coordinate, &inside);
        frame_store(f, contract_load(f, k->x, coordinate, k->along_dim, vl),
                    frame_element(f, k->square, frame_scale(f, lanes.index, vl)));
        frame_end(f, &lanes);
    }
    for (int l = 0; l < vl; l++) {
        if (k->x->load) {
            v[l] = frame_load(f, f->vector, frame_element(f, k->square, frame_int(f, (int64_t)l * vl)));
            continue;
        }
        k->index[f->plan->lane] = frame_add(f, f->start[f->plan->lane], frame_add(f, lane, frame_int(f, l)));
        coordinates(k, coordinate, &inside);
        v[l] = contract_load(f, k->x, coordinate, k->along_dim, vl);
    }
    transpose(f, v);
    for (int r = 0; r < vl; r++) frame_store(f, v[r], frame_element(f, target, frame_int(f, r * pitch)));
    frame_end(f, &loop);
    k->lane_dim = saved;
    Loop rest = frame_loop(f, whole, f->count[i], 1);
    k->index[i] = frame_add(f, f->start[i], rest.index);
    Loop lanes = frame_loop(f, frame_int(f, 0), frame_int(f, vl), 1);
    pack_lane(k, frame_element(f, row, frame_scale(f, rest.index, pitch)), frame_add(f, lane, lanes.index));
    frame_end(f, &lanes);
    frame_end(f, &rest);
}

/* All lanes of the panel and the whole contiguous K index, in squares as far as possible. */
static void pack_squares(PackQ *k, LLVMValueRef row) {
    Frame *f = k->f;
    int vl = f->plan->vl, i = k->along;
    LLVMValueRef whole = frame_scale(f, frame_div(f, k->lanes, vl), vl);
    Loop blocks = frame_loop(f, frame_int(f, 0), whole, vl);
    pack_square(k, row, blocks.index);
    frame_end(f, &blocks);
    Loop rest = frame_loop(f, whole, k->lanes, 1);
    Loop along = frame_loop(f, frame_int(f, 0), f->count[i], 1);
    k->index[i] = frame_add(f, f->start[i], along.index);
    pack_lane(k, frame_element(f, row, frame_scale(f, along.index, f->plan->q_rows[i] * k->nv * vl)), rest.index);
    frame_end(f, &along);
    frame_end(f, &rest);
}

static void pack_loops(PackQ *k, int level, LLVMValueRef row, LLVMValueRef lane) {
    Frame *f = k->f;
    if (level == k->loops) {
        if (k->along >= 0) pack_squares(k, row);
        else if (lane) pack_lane(k, row, lane);
        else pack_row(k, row);
        return;
    }
    int i = k->order[level];
    if (i == f->plan->lane) {
        Loop loop = frame_loop(f, frame_int(f, 0), k->lanes, 1);
        pack_loops(k, level + 1, row, loop.index);
        frame_end(f, &loop);
        return;
    }
    Loop loop = frame_loop(f, frame_int(f, 0), f->count[i], 1);
    k->index[i] = frame_add(f, f->start[i], loop.index);
    int64_t width = (int64_t)k->nv * f->plan->vl;
    pack_loops(k, level + 1, frame_element(f, row, frame_scale(f, loop.index, f->plan->q_rows[i] * width)), lane);
    frame_end(f, &loop);
}

/* A K index that is contiguous in memory, long enough to be read in vectors, and free of guards like everything else.
 */
static int contiguous_k(PackQ *k) {
    const ContractPlan *plan = k->f->plan;
    for (int d = 0; d < k->x->dims; d++)
        if (k->x->dim[d].guarded || k->x->dim[d].divisor > 1) return -1;
    for (int d = 0; d < k->x->dims; d++) {
        const ContractDim *dim = &k->x->dim[d];
        if (dim->terms != 1 || dim->term[0].coefficient != 1 || dim->stride.factors || dim->stride.constant != 1)
            continue;
        int i = dim->term[0].index, uses = 0;
        for (int e = 0; e < k->x->dims; e++) uses += contract_coefficient(&k->x->dim[e], i) != 0;
        if (uses != 1 || plan->spec.index[i].role != CONTRACT_K || plan->cut[i].local < plan->vl) continue;
        k->along_dim = d;
        return i;
    }
    return -1;
}

/* Elements between neighbours along an index, for ordering loops; dynamic strides count as far apart. */
static int64_t distance(const ContractOperand *x, int index) {
    int64_t sum = 0;
    for (int d = 0; d < x->dims; d++) {
        int64_t c = contract_coefficient(&x->dim[d], index), stride = x->dim[d].stride.constant;
        if (c && x->dim[d].stride.factors) return INT64_MAX;
        sum += (c < 0 ? -c : c) * (stride < 0 ? -stride : stride);
    }
    return sum;
}

static void zero_lanes(PackQ *k, int level, LLVMValueRef row, LLVMValueRef end) {
    Frame *f = k->f;
    if (level == k->loops) {
        zero_run(f, row, end, frame_int(f, (int64_t)k->nv * f->plan->vl));
        return;
    }
    int i = k->order[level];
    if (i == f->plan->lane) {
        zero_lanes(k, level + 1, row, end);
        return;
    }
    Loop loop = frame_loop(f, frame_int(f, 0), f->count[i], 1);
    int64_t width = (int64_t)k->nv * f->plan->vl;
    zero_lanes(k, level + 1, frame_element(f, row, frame_scale(f, loop.index, f->plan->q_rows[i] * width)), end);
    frame_end(f, &loop);
}

LLVMValueRef contract_emit_pack_q(const Frame *from, int nv) {
    Frame frame, *f = &frame;
    LLVMTypeRef arguments[4] = {from->ptr, from->ptr, from->ptr, from->ptr};
    LLVMValueRef function = frame_function(f, from, ".q", arguments, 4, true);
    f->at.buffers = LLVMGetParam(function, 0);
    f->at.extents = LLVMGetParam(function, 1);
    LLVMValueRef box = LLVMGetParam(function, 3);
    frame_box_load(f, box);
    const ContractPlan *plan = f->plan;
    /* the lane entry of the box describes this panel: its first lane and how many lanes are left from there */
    f->count[plan->lane] =
        frame_load(f, f->i64, frame_element_at(f, f->i64, box, frame_int(f, plan->spec.indices + plan->lane)));
    PackQ k = {
        .f = f, .x = &plan->spec.q, .nv = nv, .destination = LLVMGetParam(function, 2), .lane_dim = -1, .along = -1};
    bool several = false, guarded = false, unit = true;
    for (int d = 0; d < k.x->dims; d++) {
        int64_t c = contract_coefficient(&k.x->dim[d], plan->lane);
        if (!c) continue;
        several |= k.lane_dim >= 0;
        k.lane_dim = d;
        guarded |= k.x->dim[d].guarded;
        unit &= c == 1 && (k.x->load || (!k.x->dim[d].stride.factors && k.x->dim[d].stride.constant == 1));
    }
    k.transposing = several || guarded || !unit || k.lane_dim < 0;
    if (k.transposing) k.lane_dim = -1;
    for (int i = 0; i < plan->spec.indices; i++) k.index[i] = f->start[i];
    for (int i = 0; i < plan->spec.indices; i++)
        if (i != plan->lane && plan->spec.index[i].role == CONTRACT_N) k.order[k.loops++] = i;
    for (int i = 0; i < plan->k_count; i++) k.order[k.loops++] = plan->k_order[i];
    if (!k.transposing) {
        pack_loops(&k, 0, k.destination, NULL);
    } else {
        k.along = contiguous_k(&k);
        if (k.along >= 0) {
            int kept = 0;
            for (int i = 0; i < k.loops; i++)
                if (k.order[i] != k.along) k.order[kept++] = k.order[i];
            k.loops = kept;
            if (k.x->load)
                k.square =
                    LLVMBuildArrayAlloca(f->at.builder, f->at.element, frame_int(f, (int64_t)plan->vl * plan->vl), "");
        } else {
            k.order[k.loops++] = plan->lane;
        }
        for (int a = 1; a < k.loops; a++)
            for (int c = a; c > 0 && distance(k.x, k.order[c]) > distance(k.x, k.order[c - 1]); c--) {
                int swap = k.order[c];
                k.order[c] = k.order[c - 1];
                k.order[c - 1] = swap;
            }
        LLVMValueRef width = frame_int(f, (int64_t)nv * plan->vl);
        LLVMValueRef end = frame_max(f, frame_min(f, f->count[plan->lane], width), frame_int(f, 0));
        k.lanes = end;
        pack_loops(&k, 0, k.destination, NULL);
        Branch branch = frame_if(f, LLVMBuildICmp(f->at.builder, LLVMIntSLT, end, width, ""));
        if (k.along >= 0) k.order[k.loops++] = k.along;
        zero_lanes(&k, 0, k.destination, end);
        frame_else(f, &branch);
        frame_endif(f, &branch);
    }
    LLVMBuildRetVoid(f->at.builder);
    return function;
}
