/* Contractions against a naive double loop: random small odd shapes with windows, strides, dilation, divisors, dynamic
   extents in every role, fused loads and stores, for code of all x86-64 levels that this machine can run.
   Buffers end (or begin) at an unmapped page, so that a read or write outside them is a crash, not luck.
   Usage: contract_test [cases [first seed]] */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../../compiler/target/cpu/contract.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/ExecutionEngine.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef void (*Phase)(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last);

/* ---- random numbers and guarded memory --------------------------------------------------------------------- */

static uint64_t state;
static uint32_t next_random(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = state;
    return (uint32_t)(((x >> 18) ^ x) >> 27);
}
static int pick(int low, int high) {
    return low + (int)(next_random() % (uint32_t)(high - low + 1));
}
static bool chance(int percent) {
    return pick(1, 100) <= percent;
}

typedef struct {
    char *map;
    size_t mapped, bytes;
    void *data;
} Guarded;

/* at_end: the byte after the data is unmapped; otherwise the byte before it. */
static Guarded guarded(size_t bytes, bool at_end, size_t align) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + page - 1) / page * page;
    Guarded g = {.mapped = body + 2 * page, .bytes = bytes};
    g.map = mmap(NULL, g.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED) abort();
    if (body) mprotect(g.map + page, body, PROT_READ | PROT_WRITE);
    g.data = g.map + page + (at_end ? (body - bytes) / align * align : 0);
    return g;
}
static void release(Guarded *g) {
    munmap(g->map, g->mapped);
}

/* ---- the reference ----------------------------------------------------------------------------------------- */

static int64_t extent_of(const ContractSpec *s, int i, const int64_t *extent) {
    const ContractIndex *x = &s->index[i];
    return x->extent >= 0 ? x->extent : extent[x->slot] * (x->factor ? x->factor : 1);
}
static int64_t size_of(ContractSize z, const int64_t *extent) {
    int64_t v = z.constant;
    for (int i = 0; i < z.factors; i++) v *= extent[z.slot[i]];
    return v;
}
static double element(const void *data, ContractType type, int64_t at) {
    return type == CONTRACT_F32 ? (double)((const float *)data)[at] : ((const double *)data)[at];
}

static double operand_value(const ContractSpec *s, const ContractOperand *x, const int64_t *value,
                            const int64_t *extent, void *const *buffer) {
    int64_t at = size_of(x->base, extent), first = 0;
    for (int d = 0; d < x->dims; d++) {
        int64_t v = x->dim[d].offset;
        for (int t = 0; t < x->dim[d].terms; t++) v += x->dim[d].term[t].coefficient * value[x->dim[d].term[t].index];
        int64_t divisor = x->dim[d].divisor > 1 ? x->dim[d].divisor : 1;
        if (x->dim[d].guarded && (v < 0 || v % divisor || v / divisor >= size_of(x->dim[d].size, extent))) return 0;
        v /= divisor;
        if (d == 0) first = v;
        at += v * size_of(x->dim[d].stride, extent);
    }
    double y = element(buffer[x->buffer], s->type, at);
    return x->load ? 2 * y + 0.25 * (double)first : y;
}

static void reference(const ContractSpec *s, const int64_t *extent, void *const *buffer, double *out) {
    int64_t value[CONTRACT_MAX_INDICES] = {0}, n[CONTRACT_MAX_INDICES], total = 1;
    for (int i = 0; i < s->indices; i++) total *= n[i] = extent_of(s, i, extent);
    for (int64_t c = 0; c < total; c++) {
        int64_t rest = c, at = size_of(s->out_base, extent);
        for (int i = s->indices - 1; i >= 0; i--) value[i] = rest % n[i], rest /= n[i];
        for (int i = 0; i < s->indices; i++)
            if (s->index[i].role != CONTRACT_K) at += value[i] * size_of(s->out_stride[i], extent);
        out[at] += operand_value(s, &s->p, value, extent, buffer) * operand_value(s, &s->q, value, extent, buffer);
    }
}

/* ---- fused callbacks: operand becomes 2 x + 0.25 * first coordinate; result becomes 3 s + 0.5 --------------- */

typedef struct {
    const ContractSpec *spec;
    const ContractOperand *operand;
} LoadUser;

static LLVMValueRef size_value(EmitPoint *at, ContractSize z) {
    LLVMTypeRef i64 = LLVMInt64TypeInContext(at->context);
    LLVMValueRef v = LLVMConstInt(i64, (unsigned long long)z.constant, true);
    for (int i = 0; i < z.factors; i++) {
        LLVMValueRef slot = LLVMConstInt(i64, (unsigned)z.slot[i], false);
        LLVMValueRef place = LLVMBuildGEP2(at->builder, i64, at->extents, &slot, 1, "");
        v = LLVMBuildMul(at->builder, v, LLVMBuildLoad2(at->builder, i64, place, ""), "");
    }
    return v;
}
static LLVMValueRef buffer_value(EmitPoint *at, int buffer) {
    LLVMTypeRef ptr = LLVMPointerTypeInContext(at->context, 0), i64 = LLVMInt64TypeInContext(at->context);
    LLVMValueRef slot = LLVMConstInt(i64, (unsigned)buffer, false);
    return LLVMBuildLoad2(at->builder, ptr, LLVMBuildGEP2(at->builder, ptr, at->buffers, &slot, 1, ""), "");
}

static LLVMValueRef fused_load(void *user, EmitPoint *at, const LLVMValueRef coordinate[], int lane_dim, int lanes) {
    const LoadUser *u = user;
    LLVMBuilderRef b = at->builder;
    LLVMTypeRef i64 = LLVMInt64TypeInContext(at->context), i32 = LLVMInt32TypeInContext(at->context);
    LLVMValueRef result = lanes == 1 ? NULL : LLVMGetUndef(LLVMVectorType(at->element, (unsigned)lanes));
    for (int l = 0; l < lanes; l++) {
        LLVMValueRef offset = size_value(at, u->operand->base), first = LLVMConstInt(i64, 0, false);
        for (int d = 0; d < u->operand->dims; d++) {
            LLVMValueRef c = coordinate[d];
            if (lanes > 1 && d == lane_dim) c = LLVMBuildAdd(b, c, LLVMConstInt(i64, (unsigned)l, false), "");
            if (d == 0) first = c;
            offset = LLVMBuildAdd(b, offset, LLVMBuildMul(b, c, size_value(at, u->operand->dim[d].stride), ""), "");
        }
        LLVMValueRef place = LLVMBuildGEP2(b, at->element, buffer_value(at, u->operand->buffer), &offset, 1, "");
        LLVMValueRef x = LLVMBuildLoad2(b, at->element, place, "");
        x = LLVMBuildFMul(b, x, LLVMConstReal(at->element, 2), "");
        LLVMValueRef bump = LLVMBuildSIToFP(b, first, at->element, "");
        x = LLVMBuildFAdd(b, x, LLVMBuildFMul(b, bump, LLVMConstReal(at->element, 0.25), ""), "");
        if (lanes == 1) return x;
        result = LLVMBuildInsertElement(b, result, x, LLVMConstInt(i32, (unsigned)l, false), "");
    }
    return result;
}

static void fused_store(void *user, EmitPoint *at, LLVMValueRef sums, const LLVMValueRef index[], int lane_index,
                        int lanes, LLVMValueRef mask) {
    const ContractSpec *s = user;
    LLVMBuilderRef b = at->builder;
    LLVMTypeRef i64 = LLVMInt64TypeInContext(at->context), i32 = LLVMInt32TypeInContext(at->context);
    for (int l = 0; l < lanes; l++) {
        if (lane_index < 0 && l) break;
        LLVMBasicBlockRef done = NULL;
        LLVMValueRef lane = LLVMConstInt(i32, (unsigned)l, false);
        if (mask) {
            LLVMBasicBlockRef then = LLVMAppendBasicBlockInContext(at->context, at->function, "");
            done = LLVMAppendBasicBlockInContext(at->context, at->function, "");
            LLVMBuildCondBr(b, LLVMBuildExtractElement(b, mask, lane, ""), then, done);
            LLVMPositionBuilderAtEnd(b, then);
        }
        LLVMValueRef offset = size_value(at, s->out_base);
        for (int i = 0; i < s->indices; i++) {
            if (s->index[i].role == CONTRACT_K) continue;
            LLVMValueRef v = index[i];
            if (i == lane_index) v = LLVMBuildAdd(b, v, LLVMConstInt(i64, (unsigned)l, false), "");
            offset = LLVMBuildAdd(b, offset, LLVMBuildMul(b, v, size_value(at, s->out_stride[i]), ""), "");
        }
        LLVMValueRef x = LLVMBuildExtractElement(b, sums, lane, "");
        x = LLVMBuildFAdd(b, LLVMBuildFMul(b, x, LLVMConstReal(at->element, 3), ""), LLVMConstReal(at->element, 0.5),
                          "");
        LLVMBuildStore(b, x, LLVMBuildGEP2(b, at->element, buffer_value(at, s->out_buffer), &offset, 1, ""));
        if (mask) {
            LLVMBuildBr(b, done);
            LLVMPositionBuilderAtEnd(b, done);
        }
    }
}

/* ---- random specs ------------------------------------------------------------------------------------------ */

typedef struct {
    ContractSpec spec;
    int64_t extent[8]; /* run-time values */
    int64_t elements[3];
    int slots;
    int64_t cache; /* small caches make small shapes go the ways of large ones: blocks of K, groups, many parts */
    char what[64];
} Case;

static int add_index(Case *c, const char *name, ContractRole role, int64_t extent, int dynamic_percent) {
    ContractIndex *x = &c->spec.index[c->spec.indices];
    *x = (ContractIndex){.name = name, .role = role, .extent = extent, .typical = chance(50) ? pick(1, 40) : 0};
    if (c->slots < 8 && chance(dynamic_percent)) {
        x->factor = extent % 3 == 0 && chance(50) ? 3 : extent % 2 == 0 && chance(50) ? 2 : chance(50);
        c->extent[c->slots] = x->factor ? extent / x->factor : extent;
        x->slot = c->slots++;
        x->extent = -1;
    }
    return c->spec.indices++;
}

static int64_t known(const Case *c, int index) {
    return extent_of(&c->spec, index, c->extent);
}

static void add_dim(ContractOperand *x, int64_t offset, int64_t divisor, bool guarded, int64_t size, int terms, int i0,
                    int64_t c0, int i1, int64_t c1) {
    ContractDim *d = &x->dim[x->dims++];
    *d = (ContractDim){.terms = terms, .offset = offset, .divisor = divisor, .guarded = guarded};
    d->size = contract_constant(size);
    d->term[0] = (ContractTerm){i0, c0};
    d->term[1] = (ContractTerm){i1, c1};
}

/* Gives the stored dimensions strides in a random order (often the listed one), maybe with holes. */
static int64_t stride_operand(ContractOperand *x, const int64_t *size) {
    int order[CONTRACT_MAX_DIMS];
    for (int d = 0; d < x->dims; d++) order[d] = d;
    if (chance(40))
        for (int d = x->dims - 1; d > 0; d--) {
            int e = pick(0, d), swap = order[d];
            order[d] = order[e];
            order[e] = swap;
        }
    int64_t stride = chance(10) ? 2 : 1;
    for (int o = x->dims - 1; o >= 0; o--) {
        x->dim[order[o]].stride = contract_constant(stride);
        stride *= size[order[o]] + (chance(10) ? 1 : 0);
    }
    x->base = contract_constant(pick(0, 3));
    return stride + x->base.constant;
}

static void stride_out(Case *c) {
    int order[CONTRACT_MAX_INDICES], n = 0;
    for (int i = 0; i < c->spec.indices; i++)
        if (c->spec.index[i].role != CONTRACT_K) order[n++] = i;
    if (chance(40))
        for (int d = n - 1; d > 0; d--) {
            int e = pick(0, d), swap = order[d];
            order[d] = order[e];
            order[e] = swap;
        }
    int64_t stride = 1;
    for (int o = n - 1; o >= 0; o--) {
        c->spec.out_stride[order[o]] = contract_constant(stride);
        stride *= known(c, order[o]);
    }
    c->spec.out_base = contract_constant(pick(0, 2));
    c->elements[2] = stride + c->spec.out_base.constant;
}

/* Small, often odd, sometimes 1 or 0, sometimes whole vectors. */
static int odd_size(int most) {
    return most > 30 && chance(25) ? 16 * pick(1, 3) : chance(15) ? 1 : chance(4) ? 0 : pick(1, most);
}

static void gemm_case(Case *c) {
    int dynamic = chance(50) ? 0 : 40;
    int64_t sizes[2][CONTRACT_MAX_DIMS];
    ContractSpec *s = &c->spec;
    int batches = pick(0, 2), ms = pick(0, 2), ns = pick(0, 2), ks = pick(1, 2);
    static const char *const names[] = {"b0", "b1", "m0", "m1", "n0", "n1", "k0", "k1"};
    int first[4], count[4] = {batches, ms, ns, ks};
    for (int r = 0; r < 4; r++) {
        first[r] = s->indices;
        for (int i = 0; i < count[r]; i++)
            add_index(c, names[2 * r + i], (ContractRole)r,
                      odd_size(r == 0         ? 4
                               : r == 3       ? 20
                               : count[r] > 1 ? 9
                                              : 45),
                      dynamic);
    }
    for (int o = 0; o < 2; o++) {
        ContractOperand *x = o ? &s->q : &s->p;
        for (int r = 0; r < 4; r++) {
            if (r == (o ? CONTRACT_M : CONTRACT_N)) continue;
            for (int i = 0; i < count[r]; i++) {
                sizes[o][x->dims] = known(c, first[r] + i);
                add_dim(x, 0, 1, false, 0, 1, first[r] + i, 1, 0, 0);
            }
        }
        c->elements[o] = stride_operand(x, sizes[o]);
    }
    snprintf(c->what, sizeof c->what, "gemm b%d m%d n%d k%d", batches, ms, ns, ks);
}

/* kind 0 forward, 1 input gradient, 2 weight gradient */
static void conv_case(Case *c, int kind) {
    ContractSpec *s = &c->spec;
    int n = odd_size(5), ci = odd_size(20), co = odd_size(37), h = pick(1, 9), w = pick(1, 11), kh = pick(1, 3),
        kw = pick(1, 3);
    int sh = pick(1, 2), sw = chance(70) ? sh : pick(1, 3), dh = chance(70) ? 1 : 2, dw = dh, ph = pick(0, 2),
        pw = pick(0, 2);
    if (chance(50)) kh = kw = 3, ph = pw = 1, sh = sw = dh = dw = 1;
    int oh = (h + 2 * ph - dh * (kh - 1) - 1), ow = (w + 2 * pw - dw * (kw - 1) - 1);
    if (oh < 0 || ow < 0) {
        kh = kw = 1, ph = pw = 0;
        oh = h - 1, ow = w - 1;
    }
    oh = oh / sh + 1;
    ow = ow / sw + 1;
    int dyn = chance(50) ? 0 : 30;
    int64_t xs[4] = {n, h, w, ci}, ys[4] = {n, oh, ow, co}, ws[4] = {co, ci, kh, kw};
    ContractOperand *x, *y, *k;
    if (kind == 0) {
        int in = add_index(c, "n", CONTRACT_M, n, 50), iy = add_index(c, "y", CONTRACT_M, oh, dyn);
        int ix = add_index(c, "x", CONTRACT_M, ow, dyn), io = add_index(c, "o", CONTRACT_N, co, 10);
        int ic = add_index(c, "c", CONTRACT_K, ci, 10), iu = add_index(c, "u", CONTRACT_K, kh, 5),
            iv = add_index(c, "v", CONTRACT_K, kw, 5);
        x = &s->p, k = &s->q;
        add_dim(x, 0, 1, false, 0, 1, in, 1, 0, 0);
        add_dim(x, -ph, 1, true, h, 2, iy, sh, iu, dh);
        add_dim(x, -pw, 1, true, w, 2, ix, sw, iv, dw);
        add_dim(x, 0, 1, false, 0, 1, ic, 1, 0, 0);
        add_dim(k, 0, 1, false, 0, 1, io, 1, 0, 0);
        add_dim(k, 0, 1, false, 0, 1, ic, 1, 0, 0);
        add_dim(k, 0, 1, false, 0, 1, iu, 1, 0, 0);
        add_dim(k, 0, 1, false, 0, 1, iv, 1, 0, 0);
        c->elements[0] = stride_operand(x, xs), c->elements[1] = stride_operand(k, ws);
    } else if (kind == 1) {
        int in = add_index(c, "n", CONTRACT_M, n, 50), iy = add_index(c, "y", CONTRACT_M, h, dyn);
        int ix = add_index(c, "x", CONTRACT_M, w, dyn), ic = add_index(c, "c", CONTRACT_N, ci, 10);
        int io = add_index(c, "o", CONTRACT_K, co, 10), iu = add_index(c, "u", CONTRACT_K, kh, 0),
            iv = add_index(c, "v", CONTRACT_K, kw, 0);
        y = &s->p, k = &s->q;
        add_dim(y, 0, 1, false, 0, 1, in, 1, 0, 0);
        add_dim(y, ph, sh, true, oh, 2, iy, 1, iu, -dh);
        add_dim(y, pw, sw, true, ow, 2, ix, 1, iv, -dw);
        add_dim(y, 0, 1, false, 0, 1, io, 1, 0, 0);
        add_dim(k, 0, 1, false, 0, 1, io, 1, 0, 0);
        add_dim(k, 0, 1, false, 0, 1, ic, 1, 0, 0);
        add_dim(k, 0, 1, false, 0, 1, iu, 1, 0, 0);
        add_dim(k, 0, 1, false, 0, 1, iv, 1, 0, 0);
        c->elements[0] = stride_operand(y, ys), c->elements[1] = stride_operand(k, ws);
    } else {
        int io = add_index(c, "o", CONTRACT_N, co, 10), ic = add_index(c, "c", CONTRACT_M, ci, 10);
        int iu = add_index(c, "u", CONTRACT_M, kh, 5), iv = add_index(c, "v", CONTRACT_M, kw, 5);
        int in = add_index(c, "n", CONTRACT_K, n, 50), iy = add_index(c, "y", CONTRACT_K, oh, dyn),
            ix = add_index(c, "x", CONTRACT_K, ow, dyn);
        x = &s->p, y = &s->q;
        add_dim(x, 0, 1, false, 0, 1, in, 1, 0, 0);
        add_dim(x, -ph, 1, true, h, 2, iy, sh, iu, dh);
        add_dim(x, -pw, 1, true, w, 2, ix, sw, iv, dw);
        add_dim(x, 0, 1, false, 0, 1, ic, 1, 0, 0);
        add_dim(y, 0, 1, false, 0, 1, in, 1, 0, 0);
        add_dim(y, 0, 1, false, 0, 1, iy, 1, 0, 0);
        add_dim(y, 0, 1, false, 0, 1, ix, 1, 0, 0);
        add_dim(y, 0, 1, false, 0, 1, io, 1, 0, 0);
        c->elements[0] = stride_operand(x, xs), c->elements[1] = stride_operand(y, ys);
    }
    static const char *const kinds[] = {"forward", "input gradient", "weight gradient"};
    snprintf(c->what, sizeof c->what, "conv %s", kinds[kind]);
    if (chance(20)) { /* the emitter may get the operands either way round */
        ContractOperand swap = s->p;
        s->p = s->q;
        s->q = swap;
        int64_t e = c->elements[0];
        c->elements[0] = c->elements[1];
        c->elements[1] = e;
        for (int i = 0; i < s->indices; i++)
            if (s->index[i].role == CONTRACT_M) s->index[i].role = CONTRACT_N;
            else if (s->index[i].role == CONTRACT_N) s->index[i].role = CONTRACT_M;
    }
}

/* ---- running one case -------------------------------------------------------------------------------------- */

static bool level_runs(int level) {
    __builtin_cpu_init();
    if (level == 4) return __builtin_cpu_supports("x86-64-v4");
    if (level == 3) return __builtin_cpu_supports("x86-64-v3");
    return __builtin_cpu_supports("x86-64-v2");
}

static void run_phases(const ContractPlan *plan, const Phase *phase, void *const *buffer, const int64_t *extent,
                       void *scratch, int cut) {
    for (int i = 0; i < plan->phases; i++) {
        int64_t parts = contract_parts(plan->phase[i].parts, extent);
        if (cut == 0) phase[i](buffer, extent, scratch, 0, parts);
        for (int64_t at = parts; cut && at > 0;) { /* ragged ranges, backwards */
            int64_t n = at < cut ? at : cut;
            phase[i](buffer, extent, scratch, at - n, at);
            at -= n;
        }
    }
}

/* What the cases exercised; a long run that misses one of these is a failure of the test. */
typedef struct {
    int groups, blocked, chunks, split_lane, pack_phase, pack_part, direct_p, direct_q, swapped, tail;
} Coverage;

static void cover(Coverage *v, const ContractPlan *plan) {
    bool blocked = false;
    for (int i = 0; i < plan->spec.indices; i++) blocked |= plan->cut[i].blocked;
    v->groups += plan->groups > 1;
    v->blocked += blocked;
    v->chunks += plan->pack_chunks > 1;
    v->split_lane += plan->cut[plan->lane].split;
    v->pack_phase += plan->q_access == CONTRACT_PACK_PHASE;
    v->pack_part += plan->q_access == CONTRACT_PACK_PART;
    v->direct_p += plan->p_access == CONTRACT_DIRECT;
    v->direct_q += plan->q_access == CONTRACT_DIRECT;
    v->swapped += plan->swapped;
    v->tail += plan->nv_tail > 0;
}

static int run_case(Case *c, int level, uint64_t seed, bool print, Coverage *coverage) {
    ContractSpec *s = &c->spec;
    char error[CONTRACT_ERROR_LENGTH] = "", text[4096];
    CpuFeatures cpu[3];
    for (int l = 0; l < 3; l++) {
        cpu[l] = contract_cpu_level(l + 2);
        if (c->cache) cpu[l].cache_bytes = c->cache;
    }
    ContractPlan plans[3];
    if (!contract_plan(s, cpu, 3, plans, error)) {
        printf("seed %llu: %s\n", (unsigned long long)seed, error);
        return 1;
    }
    ContractPlan plan = plans[level - 2];
    cover(coverage, &plan);
    contract_plan_print(&plan, text, sizeof text);
    if (print) printf("%s", text);
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("t", context);
    LLVMValueRef function[CONTRACT_MAX_PHASES];
    char names[CONTRACT_MAX_PHASES][64], *message = NULL;
    if (!contract_emit(&plan, module, function, error)) {
        printf("seed %llu: %s\n%s", (unsigned long long)seed, error, text);
        return 1;
    }
    for (int i = 0; i < plan.phases; i++) snprintf(names[i], sizeof names[i], "%s", LLVMGetValueName(function[i]));
    if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message)) {
        printf("seed %llu: %s\n%s", (unsigned long long)seed, message, text);
        return 1;
    }
    LLVMDisposeMessage(message);
    struct LLVMMCJITCompilerOptions options;
    LLVMInitializeMCJITCompilerOptions(&options, sizeof options);
    options.OptLevel = 2;
    LLVMExecutionEngineRef engine;
    if (LLVMCreateMCJITCompilerForModule(&engine, module, &options, sizeof options, &message)) {
        printf("JIT: %s\n", message);
        return 1;
    }
    if (!contract_optimise(module, LLVMGetExecutionEngineTargetMachine(engine), error)) {
        printf("%s\n", error);
        return 1;
    }
    Phase phase[CONTRACT_MAX_PHASES];
    for (int i = 0; i < plan.phases; i++) phase[i] = (Phase)(uintptr_t)LLVMGetFunctionAddress(engine, names[i]);

    size_t size = s->type == CONTRACT_F32 ? 4 : 8;
    int64_t workspace[2] = {contract_workspace_bytes(plan.workspace[0], c->extent),
                            contract_workspace_bytes(plan.workspace[1], c->extent)};
    bool at_end = chance(50);
    Guarded g[5] = {guarded((size_t)c->elements[0] * size, at_end, size),
                    guarded((size_t)c->elements[1] * size, at_end, size),
                    guarded((size_t)c->elements[2] * size, at_end, size), guarded((size_t)workspace[0], true, 64),
                    guarded((size_t)workspace[1], true, 64)};
    Guarded scratch = guarded((size_t)plan.scratch_bytes, true, 64);
    void *buffer[5];
    for (int i = 0; i < 5; i++) {
        buffer[i] = g[i].data;
        if (i >= 3) memset(g[i].data, 0xFF, g[i].bytes); /* NaN where nothing was written */
        else
            for (int64_t e = 0; e < c->elements[i]; e++) {
                double v = (double)pick(-8, 8) / 8;
                if (size == 4) ((float *)g[i].data)[e] = (float)v;
                else ((double *)g[i].data)[e] = v;
            }
    }
    memset(scratch.data, 0xFF, scratch.bytes);
    double *expect = calloc((size_t)c->elements[2] + 1, sizeof *expect);
    void *before = malloc(g[2].bytes + 1), *once = malloc(g[2].bytes + 1);
    memcpy(before, g[2].data, g[2].bytes);
    reference(s, c->extent, buffer, expect);
    int failures = 0;
    for (int cut = 0; cut < 3; cut++) {
        memcpy(g[2].data, before, g[2].bytes);
        run_phases(&plan, phase, buffer, c->extent, scratch.data, cut);
        if (cut == 0) memcpy(once, g[2].data, g[2].bytes);
        else if (memcmp(once, g[2].data, g[2].bytes)) {
            printf("seed %llu level %d %s: result depends on the cutting of parts\n%s", (unsigned long long)seed, level,
                   c->what, text);
            failures++;
            break;
        }
    }
    bool empty = false;
    for (int i = 0; i < s->indices; i++) empty |= s->index[i].role != CONTRACT_K && known(c, i) == 0;
    for (int64_t e = 0; e < c->elements[2] && !failures; e++) {
        double old = element(before, s->type, e), want = expect[e], got = element(g[2].data, s->type, e);
        if (e < s->out_base.constant || empty) want = old; /* never written */
        else if (s->store) want = 3 * want + 0.5;
        else if (s->out_accumulate) want += old;
        double limit = size == 4 ? 2e-4 : 1e-10;
        if (!(fabs(got - want) <= limit * (1 + fabs(want)))) {
            printf("seed %llu level %d %s: element %lld is %g, expected %g\n%s", (unsigned long long)seed, level,
                   c->what, (long long)e, got, want, text);
            failures++;
        }
    }
    free(expect), free(before), free(once);
    for (int i = 0; i < 5; i++) release(&g[i]);
    release(&scratch);
    LLVMDisposeExecutionEngine(engine);
    LLVMContextDispose(context);
    return failures;
}

static int refusals(void) {
    struct {
        const char *what;
        ContractSpec spec;
    } bad[] = {
        {"no name", {.name = ""}},
        {"term out of range",
         {.name = "t",
          .indices = 1,
          .index = {{.name = "m", .role = CONTRACT_M, .extent = 3}},
          .p = {.dims = 1, .dim = {{.terms = 1, .term = {{5, 1}}}}}}},
        {"index of the other operand",
         {.name = "t",
          .indices = 1,
          .index = {{.name = "m", .role = CONTRACT_M, .extent = 3}},
          .q = {.dims = 1, .dim = {{.terms = 1, .term = {{0, 1}}}}}}},
        {"divisor without guard",
         {.name = "t",
          .indices = 1,
          .index = {{.name = "m", .role = CONTRACT_M, .extent = 3}},
          .p = {.dims = 1, .dim = {{.terms = 1, .term = {{0, 1}}, .divisor = 2}}}}},
    };
    int failures = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ContractPlan plan;
        char error[CONTRACT_ERROR_LENGTH] = "";
        CpuFeatures cpu = contract_cpu_level(3);
        if (contract_plan(&bad[i].spec, &cpu, 1, &plan, error) || !strstr(error, "contraction ")) {
            printf("bad spec was not refused: %s\n", bad[i].what);
            failures++;
        }
    }
    return failures;
}

int main(int argc, char **argv) {
    int cases = argc > 1 ? atoi(argv[1]) : 200;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
    LLVMLinkInMCJIT();
    int failures = refusals(), ran = 0;
    Coverage v = {0};
    for (int n = 0; n < cases && failures < 5; n++, seed++) {
        state = seed * 0x9E3779B97F4A7C15u;
        for (int i = 0; i < 8; i++) next_random();
        Case c;
        memset(&c, 0, sizeof c);
        c.spec.name = "kernel";
        c.cache = chance(50) ? 0 : chance(50) ? pick(64, 4096) : pick(4096, 131072);
        c.spec.type = chance(70) ? CONTRACT_F32 : CONTRACT_F64;
        int kind = pick(0, 4);
        if (kind < 2) gemm_case(&c);
        else conv_case(&c, kind - 2);
        stride_out(&c);
        c.spec.p.buffer = 0, c.spec.q.buffer = 1, c.spec.out_buffer = 2, c.spec.workspace_buffer[0] = 3,
        c.spec.workspace_buffer[1] = 4;
        c.spec.out_accumulate = chance(20);
        ContractOperand p = c.spec.p, q = c.spec.q;
        ContractSpec out = c.spec;
        LoadUser pu = {&c.spec, &p}, qu = {&c.spec, &q};
        if (chance(25)) c.spec.p.load = fused_load, c.spec.p.user = &pu;
        if (chance(25)) c.spec.q.load = fused_load, c.spec.q.user = &qu;
        if (chance(25)) c.spec.store = fused_store, c.spec.store_user = &out;
        for (int level = 2; level <= 4; level++) {
            if (!level_runs(level)) continue;
            failures += run_case(&c, level, seed, argc > 3, &v);
            ran++;
        }
    }
    printf("covered: groups %d, K blocks %d, pack chunks %d, split lanes %d, pack phase %d, packed in part %d, direct "
           "p %d, "
           "direct q %d, swapped %d, tail panels %d\n",
           v.groups, v.blocked, v.chunks, v.split_lane, v.pack_phase, v.pack_part, v.direct_p, v.direct_q, v.swapped,
           v.tail);
    bool missed = !v.groups || !v.blocked || !v.chunks || !v.split_lane || !v.pack_phase || !v.pack_part ||
                  !v.direct_p || !v.direct_q || !v.swapped || !v.tail;
    if (cases >= 200 && missed) {
        printf("some ways of planning were never taken\n");
        failures++;
    }
    printf("contract_test: %d runs, %d failures\n", ran, failures);
    return failures != 0;
}
