// Reads and writes of tensor elements: addresses from positions, guards, contiguous vectors, gathers, masks.
// No address outside a buffer is ever touched: a read whose guard fails looks at a block of zeros instead.
#include "target/cpu/loops.h"

typedef struct Address {
    ElementType type;
    LLVMValueRef base, offset;                                           // offset: i64 elements, of lane 0
    enum { ADDRESS_SAME, ADDRESS_NEXT, ADDRESS_STEP, ADDRESS_ANY } kind; // across lanes
    LLVMValueRef stride;                                                 // STEP: i64 elements
    LLVMValueRef offsets;                                                // ANY: <lanes x i64>
    LLVMValueRef inside;                                                 // i1 or NULL
    LLVMValueRef inside_lanes;                                           // <lanes x i1> or NULL
    bool small;                                                          // offsets fit 31 bits
} Address;

static LLVMBasicBlockRef to_entry(Emit *e) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->m->builder);
    if (e->entry) LLVMPositionBuilderAtEnd(e->m->builder, e->entry);
    return here;
}

static LLVMValueRef axis_value(Emit *e, int axis) {
    if (!e->axis[axis]) {
        LLVMValueRef at = const_i64(e->m, axis);
        LLVMValueRef p = LLVMBuildGEP2(e->m->builder, e->m->i64, e->extents, &at, 1, "");
        e->axis[axis] = LLVMBuildLoad2(e->m->builder, e->m->i64, p, "");
    }
    return e->axis[axis];
}

LLVMValueRef emit_mono(Emit *e, Mono x) {
    if (x.axes == 0) return const_i64(e->m, x.k);
    LLVMBasicBlockRef here = to_entry(e);
    LLVMValueRef v = NULL;
    for (int i = 0; i < x.axes; i++) {
        LLVMValueRef a = axis_value(e, x.axis[i]);
        v = v ? LLVMBuildNSWMul(e->m->builder, v, a, "") : a;
    }
    if (x.k != 1) v = LLVMBuildNSWMul(e->m->builder, v, const_i64(e->m, x.k), "");
    LLVMPositionBuilderAtEnd(e->m->builder, here);
    return v;
}

LLVMValueRef emit_base(Emit *e, int buffer) {
    if (e->base[buffer]) return e->base[buffer];
    LLVMBasicBlockRef here = to_entry(e);
    EXPECT(e->plan->nest.arg_of[buffer] >= 0);
    LLVMValueRef at = const_i64(e->m, e->plan->nest.arg_of[buffer]);
    LLVMValueRef p = LLVMBuildGEP2(e->m->builder, e->m->ptr, e->buffers, &at, 1, "");
    e->base[buffer] = LLVMBuildLoad2(e->m->builder, e->m->ptr, p, "");
    LLVMPositionBuilderAtEnd(e->m->builder, here);
    return e->base[buffer];
}

static LLVMValueRef both(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    if (!a || !b) return a ? a : b;
    emit_match(e, &a, &b);
    return LLVMBuildAnd(e->m->builder, a, b, "");
}

// floor(x / d) or x mod d (sign of d) for a constant d >= 1, x of any integer type.
static LLVMValueRef floor_div(Emit *e, LLVMValueRef x, int64_t d, bool negative, bool modulo) {
    LLVMBuilderRef b = e->m->builder;
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMValueRef by = const_int(type, d);
    if (!negative) return modulo ? LLVMBuildURem(b, x, by, "") : LLVMBuildUDiv(b, x, by, "");
    LLVMValueRef rest = LLVMBuildSRem(b, x, by, ""), zero = LLVMConstNull(type);
    LLVMValueRef below = LLVMBuildICmp(b, LLVMIntSLT, rest, zero, "");
    if (modulo) return LLVMBuildSelect(b, below, LLVMBuildAdd(b, rest, by, ""), rest, "");
    LLVMValueRef q = LLVMBuildSDiv(b, x, by, "");
    return LLVMBuildSub(b, q, LLVMBuildZExt(b, below, type, ""), "");
}

// The sum of a position in lane 0, then its division and modulo. `lanes`: as an i32 vector over the lane variable.
// A failed exact division goes to *exact.
static LLVMValueRef position_value(Emit *e, const Position *x, bool lanes, LLVMValueRef *exact) {
    LLVMBuilderRef b = e->m->builder;
    LLVMValueRef sum = const_i64(e->m, x->offset);
    int64_t along = 0, low, high;
    for (int t = 0; t < x->terms; t++) {
        LLVMValueRef v = e->var[x->term[t].var];
        if (x->term[t].coef != 1) v = LLVMBuildNSWMul(b, v, const_i64(e->m, x->term[t].coef), "");
        sum = LLVMBuildNSWAdd(b, sum, v, "");
        if (x->term[t].var == e->lane) along = x->term[t].coef;
    }
    if (lanes) {
        sum = splat(e->m, LLVMBuildTrunc(b, sum, e->m->i32, ""), e->lanes);
        sum = LLVMBuildAdd(b, sum, iota(e->m, e->m->i32, e->lanes, along), "");
    }
    Position plain = *x;
    plain.divide = 1;
    plain.modulo = 0;
    bool negative = !(position_range(&e->plan->nest, &plain, &low, &high) && low >= 0);
    if (negative && !x->guarded) { // unguarded positions are inside their dimension; the sum can still be negative only
        negative = x->offset < 0;  // through an offset or a coefficient below zero
        for (int t = 0; t < x->terms; t++) negative = negative || x->term[t].coef < 0;
    }
    if (x->divide > 1) {
        if (x->exact) {
            LLVMValueRef rest = floor_div(e, sum, x->divide, negative, true);
            LLVMValueRef whole = LLVMBuildICmp(b, LLVMIntEQ, rest, LLVMConstNull(LLVMTypeOf(rest)), "");
            *exact = *exact ? LLVMBuildAnd(b, *exact, whole, "") : whole;
        }
        sum = floor_div(e, sum, x->divide, negative, false);
    }
    if (x->modulo > 0) sum = floor_div(e, sum, x->modulo, negative, true);
    return sum;
}

static LLVMValueRef below(Emit *e, LLVMValueRef position, Extent dim) { // 0 <= position < dim, unsigned compare
    LLVMValueRef n = emit_mono(e, mono_extent(dim));
    LLVMTypeRef type = LLVMTypeOf(position);
    if (element_of(type) != e->m->i64) n = LLVMBuildTrunc(e->m->builder, n, element_of(type), "");
    return LLVMBuildICmp(e->m->builder, LLVMIntULT, position, splat(e->m, n, lanes_of(type)), "");
}

static void note_outside(Emit *e, LLVMValueRef inside) {
    LLVMBuilderRef b = e->m->builder;
    if (!e->scratch) return;
    LLVMValueRef bad = LLVMBuildNot(b, inside, "");
    if (e->mask) bad = both(e, bad, e->mask);
    if (lanes_of(LLVMTypeOf(bad)) > 1) bad = intrinsic1(e->m, "llvm.vector.reduce.or", bad);
    LLVMValueRef old = LLVMBuildLoad2(b, e->m->i64, e->scratch, "");
    LLVMBuildStore(b, LLVMBuildOr(b, old, LLVMBuildZExt(b, bad, e->m->i64, ""), ""), e->scratch);
}

// Adds `position * stride` to the address; both may be vectors.
static void add_any(Emit *e, Address *a, LLVMValueRef position, LLVMValueRef stride) {
    LLVMBuilderRef b = e->m->builder;
    LLVMTypeRef wide = vector_of(e->m->i64, e->lanes);
    LLVMValueRef p = LLVMBuildSExt(b, position, wide, "");
    p = LLVMBuildMul(b, p, splat(e->m, stride, e->lanes), "");
    a->offsets = a->offsets ? LLVMBuildAdd(b, a->offsets, p, "") : p;
}

static Address address_of(Emit *e, int tensor, int rank, const Position *position) {
    LLVMBuilderRef b = e->m->builder;
    const LoopPlan *plan = e->plan;
    Address a = {.kind = ADDRESS_SAME};
    const Extent *dim;
    const Mono *stride;
    int64_t pitch = 1; // locals of an outer lane: lanes are the innermost dimension
    if (tensor >= 0) {
        const KernelBuffer *buffer = &plan->nest.kernel->buffer.at[tensor];
        a.type = buffer->type;
        a.base = emit_base(e, tensor);
        dim = buffer->dim;
        stride = plan->nest.stride[tensor];
    } else {
        const KernelLocal *local = &plan->nest.kernel->local.at[~tensor];
        a.type = local->type;
        LLVMValueRef at = const_i64(e->m, plan->local_offset[~tensor]);
        a.base = LLVMBuildGEP2(b, e->m->i8, e->scratch, &at, 1, "");
        dim = local->dim;
        stride = plan->nest.local_stride[~tensor];
        if (plan->lane >= 0) pitch = WIDEST;
    }
    int64_t elements = pitch;
    for (int d = 0; d < rank && elements >= 0; d++)
        if (dim[d].axis >= 0 || __builtin_mul_overflow(elements, dim[d].count, &elements)) elements = -1;
    a.small = elements >= 0 && elements < INT32_MAX;
    LLVMValueRef offset = const_i64(e->m, 0), step = NULL;
    int64_t step_const = 0;
    for (int d = 0; d < rank; d++) {
        const Position *x = &position[d];
        Mono s = stride[d];
        s.k *= pitch;
        bool checked = position_checked(&plan->nest, x, dim[d]);
        if (x->gather) {
            LLVMValueRef p = emit_value(e, x->gather);
            LLVMTypeRef wide = shape_like(e->m->i64, LLVMTypeOf(p));
            p = x->gather->type == T_U8 || x->gather->type == T_BOOL ? LLVMBuildZExt(b, p, wide, "")
                : x->gather->type == T_I32                           ? LLVMBuildSExt(b, p, wide, "")
                                                                     : p;
            LLVMValueRef inside = below(e, p, dim[d]);
            note_outside(e, inside);
            if (lanes_of(wide) > 1) {
                p = LLVMBuildSelect(b, inside, p, LLVMConstNull(wide), "");
                a.inside_lanes = both(e, a.inside_lanes, inside);
                LLVMValueRef by = splat(e->m, emit_mono(e, s), e->lanes);
                p = LLVMBuildMul(b, p, by, "");
                a.offsets = a.offsets ? LLVMBuildAdd(b, a.offsets, p, "") : p;
                a.kind = ADDRESS_ANY;
            } else {
                p = LLVMBuildSelect(b, inside, p, LLVMConstNull(wide), "");
                a.inside = both(e, a.inside, inside);
                offset = LLVMBuildNSWAdd(b, offset, LLVMBuildNSWMul(b, p, emit_mono(e, s), ""), "");
            }
            continue;
        }
        bool across = e->lane >= 0 && e->lanes > 1 && position_uses(&plan->nest, x, e->lane);
        if (across && (x->divide > 1 || x->modulo > 0)) {
            LLVMValueRef exact = NULL, p = position_value(e, x, true, &exact);
            LLVMValueRef inside = exact;
            if (checked) inside = both(e, inside, below(e, p, dim[d]));
            if (inside) {
                p = LLVMBuildSelect(b, inside, p, LLVMConstNull(LLVMTypeOf(p)), "");
                a.inside_lanes = both(e, a.inside_lanes, inside);
            }
            add_any(e, &a, p, emit_mono(e, s));
            a.kind = ADDRESS_ANY;
            continue;
        }
        LLVMValueRef exact = NULL, p = position_value(e, x, false, &exact);
        a.inside = both(e, a.inside, exact);
        int64_t coef = 0;
        for (int t = 0; across && t < x->terms; t++)
            if (x->term[t].var == e->lane) coef = x->term[t].coef;
        if (checked && across) {
            LLVMValueRef v = splat(e->m, LLVMBuildTrunc(b, p, e->m->i32, ""), e->lanes);
            v = LLVMBuildAdd(b, v, iota(e->m, e->m->i32, e->lanes, coef), "");
            a.inside_lanes = both(e, a.inside_lanes, below(e, v, dim[d]));
        } else if (checked) {
            a.inside = both(e, a.inside, below(e, p, dim[d]));
        }
        offset = LLVMBuildNSWAdd(b, offset, LLVMBuildNSWMul(b, p, emit_mono(e, s), ""), "");
        if (coef == 0) continue;
        if (s.axes == 0) {
            step_const += coef * s.k;
        } else {
            LLVMValueRef more = LLVMBuildNSWMul(b, emit_mono(e, s), const_i64(e->m, coef), "");
            step = step ? LLVMBuildNSWAdd(b, step, more, "") : more;
        }
    }
    if (pitch > 1 && e->lanes > 1) step_const += 1;
    if (step && step_const) step = LLVMBuildNSWAdd(b, step, const_i64(e->m, step_const), "");
    a.offset = offset;
    if (a.kind == ADDRESS_SAME && (step || step_const || a.inside_lanes)) {
        a.kind = !step && step_const == 1 ? ADDRESS_NEXT : ADDRESS_STEP;
        a.stride = step ? step : const_i64(e->m, step_const);
    } else if (a.kind == ADDRESS_ANY) {
        a.offsets = LLVMBuildAdd(b, a.offsets, splat(e->m, offset, e->lanes), "");
        if (step || step_const) {
            LLVMValueRef by = splat(e->m, step ? step : const_i64(e->m, step_const), e->lanes);
            by = LLVMBuildMul(b, by, iota(e->m, e->m->i64, e->lanes, 1), "");
            a.offsets = LLVMBuildAdd(b, a.offsets, by, "");
        }
    }
    return a;
}

static LLVMValueRef element_at(Emit *e, LLVMTypeRef memory, LLVMValueRef base, LLVMValueRef offset) {
    return LLVMBuildGEP2(e->m->builder, memory, base, &offset, 1, "");
}

// <lanes x ptr>. Offsets of 32 bits where they are enough: gathers then need half the index registers.
static LLVMValueRef vector_pointers(Emit *e, const Address *a, LLVMTypeRef memory) {
    CpuModule *m = e->m;
    LLVMBuilderRef b = m->builder;
    LLVMValueRef base = a->base, offsets = a->offsets;
    if (a->kind == ADDRESS_ANY) {
        if (a->small) offsets = LLVMBuildTrunc(b, offsets, vector_of(m->i32, e->lanes), "");
    } else {
        int64_t step = LLVMIsAConstantInt(a->stride) ? LLVMConstIntGetSExtValue(a->stride) : INT64_MAX;
        base = element_at(e, memory, base, a->offset);
        if (step > -(1 << 24) && step < 1 << 24) offsets = iota(m, m->i32, e->lanes, step);
        else offsets = LLVMBuildMul(b, splat(m, a->stride, e->lanes), iota(m, m->i64, e->lanes, 1), "");
    }
    return LLVMBuildGEP2(b, memory, base, &offsets, 1, "");
}

static LLVMValueRef access_mask(Emit *e, const Address *a, bool with_inside) {
    LLVMValueRef mask = both(e, e->mask, a->inside_lanes);
    if (with_inside && a->inside) mask = both(e, mask ? mask : NULL, splat(e->m, a->inside, e->lanes));
    return mask;
}

static unsigned alignment(Emit *e, ElementType type) {
    return (unsigned)element_bytes(e->m->real64, type);
}

static LLVMValueRef load_lanes(Emit *e, const Address *a, LLVMTypeRef memory) { // one scalar load per lane
    LLVMBuilderRef b = e->m->builder;
    LLVMValueRef mask = access_mask(e, a, true), v = LLVMGetPoison(vector_of(memory, e->lanes));
    LLVMValueRef offsets = a->kind == ADDRESS_ANY ? a->offsets : NULL;
    for (int i = 0; i < e->lanes; i++) {
        LLVMValueRef at = a->offset;
        if (offsets) at = extract(e->m, offsets, i);
        else if (a->kind == ADDRESS_NEXT) at = LLVMBuildNSWAdd(b, at, const_i64(e->m, i), "");
        else if (i) at = LLVMBuildNSWAdd(b, at, LLVMBuildNSWMul(b, a->stride, const_i64(e->m, i), ""), "");
        LLVMValueRef p = element_at(e, memory, a->base, at);
        if (mask) p = LLVMBuildSelect(b, extract(e->m, mask, i), p, e->m->zeros, "");
        LLVMValueRef x = LLVMBuildLoad2(b, memory, p, "");
        v = LLVMBuildInsertElement(b, v, x, const_i32(e->m, i), "");
    }
    return v;
}

static bool native_masks(Emit *e, ElementType type) {
    return e->m->level == CPU_V4 || (e->m->level == CPU_V3 && element_bytes(e->m->real64, type) >= 4);
}

// Every second element: two vectors that touch no element beyond the last lane's, and a shuffle.
static LLVMValueRef load_every_second(Emit *e, const Address *a, LLVMTypeRef memory) {
    CpuModule *m = e->m;
    LLVMBuilderRef b = m->builder;
    int lanes = e->lanes;
    unsigned align = alignment(e, a->type);
    LLVMTypeRef vector = vector_of(memory, lanes);
    LLVMValueRef mask = access_mask(e, a, true), v[2], pick[64];
    for (int i = 0; i < 2; i++) { // elements 0 .. lanes-1 and lanes-1 .. 2*lanes-2
        LLVMValueRef at = i ? LLVMBuildNSWAdd(b, a->offset, const_i64(m, lanes - 1), "") : a->offset;
        LLVMValueRef p = element_at(e, memory, a->base, at);
        if (!mask) {
            v[i] = LLVMBuildLoad2(b, vector, p, "");
            LLVMSetAlignment(v[i], align);
            continue;
        }
        for (int j = 0; j < lanes; j++) { // which lane wants element j of this vector; `lanes` names a false one
            int element = i ? j + lanes - 1 : j;
            bool wanted = element % 2 == 0 && (i == 0) == (element < lanes);
            pick[j] = const_i32(m, wanted ? element / 2 : lanes);
        }
        LLVMValueRef half = LLVMBuildShuffleVector(b, mask, LLVMConstNull(LLVMTypeOf(mask)),
                                                   LLVMConstVector(pick, (unsigned)lanes), "");
        v[i] = intrinsic(m, "llvm.masked.load", (LLVMTypeRef[]){vector, m->ptr}, 2,
                         (LLVMValueRef[]){p, const_i32(m, (int)align), half, LLVMConstNull(vector)}, 4);
    }
    for (int j = 0; j < lanes; j++) pick[j] = const_i32(m, 2 * j < lanes ? 2 * j : 2 * j + 1);
    return LLVMBuildShuffleVector(b, v[0], v[1], LLVMConstVector(pick, (unsigned)lanes), "");
}

static LLVMValueRef load(Emit *e, const Address *a) {
    CpuModule *m = e->m;
    LLVMBuilderRef b = m->builder;
    LLVMTypeRef memory = module_memory_type(m, a->type);
    unsigned align = alignment(e, a->type);
    if (a->kind == ADDRESS_SAME) {
        LLVMValueRef p = element_at(e, memory, a->base, a->offset);
        if (a->inside) p = LLVMBuildSelect(b, a->inside, p, m->zeros, "");
        LLVMValueRef v = LLVMBuildLoad2(b, memory, p, "");
        return v;
    }
    LLVMTypeRef vector = vector_of(memory, e->lanes);
    if (a->kind == ADDRESS_NEXT) {
        LLVMValueRef mask = access_mask(e, a, false);
        if (mask && !native_masks(e, a->type)) return load_lanes(e, a, memory);
        LLVMValueRef p = element_at(e, memory, a->base, a->offset);
        if (a->inside) p = LLVMBuildSelect(b, a->inside, p, m->zeros, "");
        if (!mask) {
            LLVMValueRef v = LLVMBuildLoad2(b, vector, p, "");
            LLVMSetAlignment(v, align);
            return v;
        }
        return intrinsic(m, "llvm.masked.load", (LLVMTypeRef[]){vector, m->ptr}, 2,
                         (LLVMValueRef[]){p, const_i32(m, (int)align), mask, LLVMConstNull(vector)}, 4);
    }
    if (a->kind == ADDRESS_STEP && LLVMIsAConstantInt(a->stride) && LLVMConstIntGetSExtValue(a->stride) == 2 &&
        (native_masks(e, a->type) || !access_mask(e, a, true)))
        return load_every_second(e, a, memory);
    if (m->level == CPU_V2 || element_bytes(m->real64, a->type) < 4) return load_lanes(e, a, memory);
    LLVMValueRef mask = access_mask(e, a, true);
    if (!mask) mask = const_int(vector_of(m->i1, e->lanes), 1);
    LLVMValueRef p = vector_pointers(e, a, memory);
    return intrinsic(m, "llvm.masked.gather", (LLVMTypeRef[]){vector, vector_of(m->ptr, e->lanes)}, 2,
                     (LLVMValueRef[]){p, const_i32(m, (int)align), mask, LLVMConstNull(vector)}, 4);
}

LLVMValueRef emit_read(Emit *e, const Expr *read) {
    if (read->tensor < 0 && read->rank == 0) {
        EXPECT(e->local[~read->tensor] != NULL);
        return e->local[~read->tensor];
    }
    Address a = address_of(e, read->tensor, read->rank, read->position);
    LLVMValueRef v = load(e, &a);
    if (a.type != T_BOOL) return v;
    return LLVMBuildICmp(e->m->builder, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "");
}

static void store(Emit *e, const Address *a, LLVMValueRef v, LLVMTypeRef memory) {
    CpuModule *m = e->m;
    LLVMBuilderRef b = m->builder;
    unsigned align = alignment(e, a->type);
    if (e->lanes == 1) {
        LLVMBuildStore(b, v, element_at(e, memory, a->base, a->offset));
        return;
    }
    v = splat(m, v, e->lanes);
    LLVMValueRef mask = access_mask(e, a, true);
    if (a->kind == ADDRESS_SAME) { // strides are 0 in a tensor with an extent of 0; the code never runs
        LLVMBuildStore(b, extract(m, v, 0), element_at(e, memory, a->base, a->offset));
        return;
    }
    if (a->kind == ADDRESS_NEXT) {
        LLVMValueRef p = element_at(e, memory, a->base, a->offset);
        if (!mask) {
            LLVMSetAlignment(LLVMBuildStore(b, v, p), align);
            return;
        }
        intrinsic(m, "llvm.masked.store", (LLVMTypeRef[]){LLVMTypeOf(v), m->ptr}, 2,
                  (LLVMValueRef[]){v, p, const_i32(m, (int)align), mask}, 4);
        return;
    }
    if (!mask && a->kind == ADDRESS_STEP) {
        for (int i = 0; i < e->lanes; i++) {
            LLVMValueRef at = LLVMBuildNSWMul(b, a->stride, const_i64(m, i), "");
            at = LLVMBuildNSWAdd(b, a->offset, at, "");
            LLVMBuildStore(b, extract(m, v, i), element_at(e, memory, a->base, at));
        }
        return;
    }
    LLVMValueRef p = vector_pointers(e, a, memory);
    if (!mask) mask = const_int(vector_of(m->i1, e->lanes), 1);
    intrinsic(m, "llvm.masked.scatter", (LLVMTypeRef[]){LLVMTypeOf(v), LLVMTypeOf(p)}, 2,
              (LLVMValueRef[]){v, p, const_i32(m, (int)align), mask}, 4);
}

void emit_write(Emit *e, const Stage *stage, LLVMValueRef value) {
    CpuModule *m = e->m;
    LLVMBuilderRef b = m->builder;
    const Kernel *k = e->plan->nest.kernel;
    bool number = stage->reduce == REDUCE_ARGMAX || stage->reduce == REDUCE_ARGMIN;
    value = emit_cast(e, value, number ? T_I32 : stage->value->type,
                      stage->dest >= 0 ? k->buffer.at[stage->dest].type : k->local.at[~stage->dest].type);
    if (stage->dest < 0 && stage->rank == 0) {
        e->local[~stage->dest] = value;
        return;
    }
    Address a = address_of(e, stage->dest, stage->rank, stage->target);
    LLVMTypeRef memory = module_memory_type(m, a.type);
    LLVMBasicBlockRef after = NULL;
    if (e->lanes == 1 && a.inside) {
        LLVMBasicBlockRef then = module_block(m, "inside");
        after = module_block(m, "after");
        LLVMBuildCondBr(b, a.inside, then, after);
        LLVMPositionBuilderAtEnd(b, then);
        a.inside = NULL;
    }
    if (stage->accumulate) {
        LLVMValueRef old = load(e, &a);
        emit_match(e, &old, &value);
        value = a.type == T_REAL ? LLVMBuildFAdd(b, old, value, "") : LLVMBuildAdd(b, old, value, "");
    }
    if (a.type == T_BOOL) value = LLVMBuildZExt(b, value, shape_like(m->i8, LLVMTypeOf(value)), "");
    store(e, &a, value, memory);
    if (after) {
        LLVMBuildBr(b, after);
        LLVMPositionBuilderAtEnd(b, after);
    }
}

LLVMValueRef emit_random_index(Emit *e) {
    LLVMBuilderRef b = e->m->builder;
    LLVMValueRef index = const_i64(e->m, 0), along = NULL;
    for (int v = 0; v < e->plan->nest.vars; v++) {
        Mono s;
        if (e->plan->nest.var[v].gone || !random_stride(&e->plan->nest, e->stage, v, &s)) continue;
        LLVMValueRef by = emit_mono(e, s);
        index = LLVMBuildAdd(b, index, LLVMBuildMul(b, e->var[v], by, ""), "");
        if (v == e->lane) along = by;
    }
    if (!along || e->lanes == 1) return index;
    LLVMValueRef lanes = LLVMBuildMul(b, splat(e->m, along, e->lanes), iota(e->m, e->m->i64, e->lanes, 1), "");
    return LLVMBuildAdd(b, splat(e->m, index, e->lanes), lanes, "");
}
