/* Planning of contractions: which index runs along lanes, how tiles, parts and K blocks are cut, what is packed.
   Requires a checked ContractSpec and a choice of the lane index; leaves a complete ContractPlan with an estimate of
   its cost.  Every choice depends on the spec and the CpuFeatures alone, never on the number of threads. */
#include "contract_internal.h"

#include <string.h>

/* Limits for a second-level cache of 1 MiB; limit() scales them to the cache of the CpuFeatures. */
enum {
    WANTED_PARTS = 16,               /* enough for 8 threads to stay balanced */
    MOST_PARTS = 128,                /* more are not made for their own sake */
    PART_FLOPS = 12 * 1000 * 1000,   /* and only if each has this much work */
    PACK_ELEMENTS = 12 * 1024,       /* a part of the pack phase */
    PART_BYTES = 640 * 1024,         /* packed p of a part */
    PANEL_BYTES = 640 * 1024,        /* lanes of q that the tiles of a part read again and again */
    K_BLOCK_BYTES = 512 * 1024,      /* both operands of one K block */
    PARTIAL_BYTES = 6 * 1024 * 1024, /* all partial sums together */
    LONG_K = 4096,                   /* terms of a sum worth cutting, */
    LONG_K_PACKED = 512,             /* the same when an operand is packed, */
    SHORT_K = 128,                   /* and the least that a block keeps */
    FAR_BYTES = 1024,                /* strides that waste cache sets and TLB entries */
    FAR_K = 256,                     /* packing such an operand pays from this many terms on, */
    FAR_LANES = 128,                 /* when p is read for this many lanes, */
    FAR_ROWS = 64,                   /* or q for this many rows; */
    WINDOW_ROWS = 256                /* and q beside a windowed p from this many rows on */
};

static int64_t limit(const CpuFeatures *cpu, int64_t usual) {
    double scaled = (double)usual * (double)cpu->cache_bytes / (1 << 20);
    return scaled < 1 ? 1 : (int64_t)scaled;
}

/* ---- helpers ---------------------------------------------------------------------------------------------- */

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t typical_extent(const ContractSpec *spec, int i) {
    const ContractIndex *x = &spec->index[i];
    if (x->extent >= 0) return x->extent;
    return x->typical > 0 ? x->typical : 32;
}

int64_t contract_coefficient(const ContractDim *dim, int index) {
    for (int t = 0; t < dim->terms; t++)
        if (dim->term[t].index == index) return dim->term[t].coefficient;
    return 0;
}

bool contract_uses(const ContractOperand *x, int index) {
    for (int d = 0; d < x->dims; d++)
        if (contract_coefficient(&x->dim[d], index)) return true;
    return false;
}

bool contract_vectors_apart(const ContractPlan *plan) {
    ContractSize step = plan->spec.out_stride[plan->lane];
    return step.factors || step.constant != 1;
}

/* Removes guards that constant extents prove unnecessary. */
void contract_drop_guards(ContractSpec *spec, ContractOperand *x) {
    for (int d = 0; d < x->dims; d++) {
        ContractDim *dim = &x->dim[d];
        if (dim->divisor <= 1) dim->divisor = 1;
        if (!dim->guarded || dim->divisor > 1 || dim->size.factors) continue;
        int64_t low = dim->offset, high = dim->offset;
        bool known = true;
        for (int t = 0; t < dim->terms; t++) {
            int64_t extent = spec->index[dim->term[t].index].extent, c = dim->term[t].coefficient;
            if (extent < 0) known = false;
            if (c > 0) high += c * (extent - 1);
            else low += c * (extent - 1);
        }
        if (known && low >= 0 && high < dim->size.constant) dim->guarded = false;
    }
    for (int d = 0; d < x->dims; d++) {
        /* a dynamic axis that is stored as it is: coordinate = index, size = the same extent */
        ContractDim *dim = &x->dim[d];
        if (!dim->guarded || dim->divisor > 1 || dim->terms != 1 || dim->offset || dim->term[0].coefficient != 1)
            continue;
        const ContractIndex *i = &spec->index[dim->term[0].index];
        if (i->extent < 0 && dim->size.factors == 1 && dim->size.constant == i->factor && dim->size.slot[0] == i->slot)
            dim->guarded = false;
    }
}

/* K indices along which p runs backwards are turned round, so that packed p is walked upwards and loops merge. */
static void turn_k(ContractSpec *spec) {
    for (int i = 0; i < spec->indices; i++) {
        if (spec->index[i].role != CONTRACT_K || spec->index[i].extent < 0) continue;
        bool negative = false, positive = false;
        for (int d = 0; d < spec->p.dims; d++) {
            int64_t c = contract_coefficient(&spec->p.dim[d], i);
            negative |= c < 0;
            positive |= c > 0;
        }
        if (!negative || positive) continue;
        ContractOperand *both[2] = {&spec->p, &spec->q};
        for (int o = 0; o < 2; o++)
            for (int d = 0; d < both[o]->dims; d++) {
                ContractDim *dim = &both[o]->dim[d];
                for (int t = 0; t < dim->terms; t++)
                    if (dim->term[t].index == i) {
                        dim->offset += dim->term[t].coefficient * (spec->index[i].extent - 1);
                        dim->term[t].coefficient = -dim->term[t].coefficient;
                    }
            }
    }
}

/* Elements per step of an index in the plain tensor; false when a dynamic stride is involved. */
static bool constant_step(const ContractOperand *x, int index, int64_t *step) {
    *step = 0;
    for (int d = 0; d < x->dims; d++) {
        int64_t c = contract_coefficient(&x->dim[d], index);
        if (!c) continue;
        if (x->dim[d].stride.factors) return false;
        *step += c * x->dim[d].stride.constant;
    }
    return true;
}

static bool plain(const ContractOperand *x) {
    if (x->load) return false;
    for (int d = 0; d < x->dims; d++)
        if (x->dim[d].guarded) return false;
    return true;
}

/* ---- register tiles --------------------------------------------------------------------------------------- */

/* Cycles of one K step of a tile of `rows` x `nv` vectors.  Arithmetic bounds it; loads and the loop disturb it a
   little (fitted to measurements: larger tiles win although small ones look bound by arithmetic too); chains of
   dependent sums bound it from below. */
static double tile_cycles(const CpuFeatures *cpu, int64_t rows, int nv) {
    double work = (double)(rows * nv) * (cpu->fma ? 0.5 : 1.0);
    double loads = (double)(rows + nv);
    double most = work > loads * 0.5 ? work : loads * 0.5;
    if (most < 4.0) most = 4.0;
    return most + 0.06 * loads + 0.4;
}

/* Sum over the tiles that cover `extent` (dynamic: its typical value) with tiles of t, for t2 rows each. */
static double cover_cycles(const CpuFeatures *cpu, int64_t extent, bool dynamic, int64_t t, int64_t t2, int nv) {
    double sum = (double)(extent / t) * tile_cycles(cpu, t * t2, nv);
    int64_t rest = extent % t;
    if (!rest) return sum;
    if (!dynamic) return sum + tile_cycles(cpu, rest * t2, nv);
    int64_t step = contract_dynamic_tail(t);
    sum += (double)(rest / step) * tile_cycles(cpu, step * t2, nv);
    return sum + (double)(rest % step) * tile_cycles(cpu, t2, nv);
}

static bool windowed(const ContractOperand *x) {
    for (int d = 0; d < x->dims; d++)
        if (x->dim[d].terms > 1) return true;
    return false;
}

typedef struct {
    int nv, nv_tail, row_index[2];
    int64_t tile[2];
    double cycles; /* per K step, all M and N */
} TileChoice;

/* Registers beside the sums: nv lanes, and spare ones for broadcasts in flight (with fewer, LLVM spills sums). */
static int64_t most_rows(const CpuFeatures *cpu, int nv) {
    int spare = cpu->registers > 16 ? 3 : cpu->fma ? 2 : 3;
    int64_t rows = (cpu->registers - nv - spare) / nv;
    return rows < 1 ? 1 : rows;
}

static TileChoice choose_tile(const ContractSpec *spec, const CpuFeatures *cpu, int lane, int vl) {
    TileChoice best = {.cycles = -1};
    int64_t lane_extent = typical_extent(spec, lane);
    int64_t vectors = max64(1, ceil_div(lane_extent, vl));
    bool lane_dynamic = spec->index[lane].extent < 0;
    int rows[CONTRACT_MAX_INDICES], n = 0;
    double other = 1;
    for (int i = 0; i < spec->indices; i++) {
        if (spec->index[i].role == CONTRACT_M) rows[n++] = i;
        else if (i != lane && spec->index[i].role != CONTRACT_K) other *= (double)max64(1, typical_extent(spec, i));
    }
    for (int nv = 1; nv <= 4; nv++) {
        if (nv > vectors) break;
        int64_t most = most_rows(cpu, nv);
        int64_t full = vectors / nv;
        int tail = (int)(vectors % nv);
        if (lane_dynamic && tail) full++, tail = 0;
        for (int a = -1; a < n; a++) {
            for (int b = -1; b < a || (b == -1 && a == -1); b++) {
                /* b is the outer, a the inner row index; -1: not used */
                int64_t ea = a < 0 ? 1 : max64(1, typical_extent(spec, rows[a]));
                int64_t eb = b < 0 ? 1 : max64(1, typical_extent(spec, rows[b]));
                double rest = other;
                for (int r = 0; r < n; r++)
                    if (r != a && r != b) rest *= (double)max64(1, typical_extent(spec, rows[r]));
                for (int64_t ta = a < 0 ? 1 : (b >= 0 ? ea : 1); ta <= min64(ea, most); ta++)
                    for (int64_t tb = 1; tb * ta <= most && tb <= eb; tb++) {
                        if (b >= 0 && tb == 1) continue; /* the same as not using b */
                        double sum = 0;
                        bool da = a >= 0 && spec->index[rows[a]].extent < 0;
                        bool db = b >= 0 && spec->index[rows[b]].extent < 0;
                        if (db || (da && b >= 0)) continue;
                        int variants = 1 + (ea % ta != 0) + (eb % tb != 0);
                        for (int part = 0; part < 2; part++) {
                            int v = part ? tail : nv;
                            if (!v) continue;
                            double one = (double)(eb / tb) * cover_cycles(cpu, ea, da, ta, tb, v);
                            if (eb % tb) one += cover_cycles(cpu, ea, da, ta, eb % tb, v);
                            sum += one * (part ? 1.0 : (double)full);
                        }
                        sum *= rest;
                        /* a dynamic extent leaves short tiles; beside windows it would also pack several images at once
                         */
                        if (da) sum *= windowed(&spec->p) ? 1.06 : 1.01;
                        sum *= 1.0 + 0.002 * (variants - 1) + (tail ? 0.002 : 0.0);
                        if (b >= 0) sum *= 1.001;
                        if (best.cycles < 0 || sum <= best.cycles) { /* equal: the inner index */
                            best.cycles = sum;
                            best.nv = nv;
                            best.nv_tail = tail;
                            best.row_index[0] = b < 0 ? -1 : rows[b];
                            best.row_index[1] = a < 0 ? -1 : rows[a];
                            best.tile[0] = tb;
                            best.tile[1] = ta;
                        }
                    }
            }
        }
    }
    return best;
}

/* ---- footprints and layouts ------------------------------------------------------------------------------- */

static int64_t packed_extent(const ContractPlan *plan, const ContractDim *dim) {
    int64_t extent = 1;
    for (int t = 0; t < dim->terms; t++) {
        int64_t c = dim->term[t].coefficient, local = plan->cut[dim->term[t].index].local;
        extent += (c < 0 ? -c : c) * max64(0, local - 1);
    }
    return extent;
}

static int64_t p_footprint(const ContractPlan *plan) {
    int64_t elements = 1;
    for (int d = 0; d < plan->spec.p.dims; d++) elements *= packed_extent(plan, &plan->spec.p.dim[d]);
    return elements;
}

static int64_t lane_block(const ContractPlan *plan) {
    return max64(1, ceil_div(plan->cut[plan->lane].local, plan->vl)) * plan->vl;
}

static int64_t q_footprint(const ContractPlan *plan) {
    int64_t elements = lane_block(plan);
    for (int i = 0; i < plan->spec.indices; i++) {
        ContractRole role = plan->spec.index[i].role;
        if (i != plan->lane && (role == CONTRACT_N || role == CONTRACT_K)) elements *= max64(1, plan->cut[i].local);
    }
    return elements;
}

static void lay_out_p(ContractPlan *plan) {
    ContractOperand *p = &plan->spec.p;
    for (int d = 0; d < p->dims; d++) plan->p_order[d] = d;
    /* decreasing memory stride; a dynamic stride counts as larger than a constant one; stable */
    for (int a = 1; a < p->dims; a++)
        for (int b = a; b > 0; b--) {
            ContractSize x = p->dim[plan->p_order[b - 1]].stride, y = p->dim[plan->p_order[b]].stride;
            bool later = x.factors != y.factors ? y.factors > x.factors : y.constant > x.constant;
            if (!later) break;
            int swap = plan->p_order[b];
            plan->p_order[b] = plan->p_order[b - 1];
            plan->p_order[b - 1] = swap;
        }
    int64_t pitch = 1;
    for (int o = p->dims - 1; o >= 0; o--) {
        int d = plan->p_order[o];
        plan->p_pitch[d] = pitch;
        pitch *= packed_extent(plan, &p->dim[d]);
    }
    plan->p_elements = pitch;
    plan->p_origin = 0;
    for (int i = 0; i < plan->spec.indices; i++) plan->p_step[i] = 0;
    for (int d = 0; d < p->dims; d++)
        for (int t = 0; t < p->dim[d].terms; t++) {
            int i = p->dim[d].term[t].index;
            int64_t c = p->dim[d].term[t].coefficient;
            plan->p_step[i] += c * plan->p_pitch[d];
            if (c < 0) plan->p_origin += -c * (max64(1, plan->cut[i].local) - 1) * plan->p_pitch[d];
        }
}

static void order_k(ContractPlan *plan) {
    plan->k_count = 0;
    for (int i = 0; i < plan->spec.indices; i++)
        if (plan->spec.index[i].role == CONTRACT_K) plan->k_order[plan->k_count++] = i;
    for (int a = 1; a < plan->k_count; a++)
        for (int b = a; b > 0; b--) {
            int x = plan->k_order[b - 1], y = plan->k_order[b];
            bool x_first = plan->cut[x].blocked && !plan->cut[y].blocked;
            bool y_first = plan->cut[y].blocked && !plan->cut[x].blocked;
            if (x_first || (!y_first && plan->p_step[y] <= plan->p_step[x])) break;
            plan->k_order[b] = x;
            plan->k_order[b - 1] = y;
        }
}

static void lay_out_q(ContractPlan *plan) {
    int64_t rows = 1;
    bool whole = plan->q_access == CONTRACT_PACK_PHASE;
    for (int k = plan->k_count - 1; k >= 0; k--) {
        int i = plan->k_order[k];
        plan->q_rows[i] = rows;
        rows *= max64(1, whole ? plan->spec.index[i].extent : plan->cut[i].local);
    }
    for (int i = plan->spec.indices - 1; i >= 0; i--) {
        if (i == plan->lane || plan->spec.index[i].role != CONTRACT_N) continue;
        plan->q_rows[i] = rows;
        rows *= max64(1, whole ? plan->spec.index[i].extent : plan->cut[i].local);
    }
    plan->q_panel_rows = rows;
}

static void lay_out_sums(ContractPlan *plan) {
    int64_t rows = 1;
    for (int i = plan->spec.indices - 1; i >= 0; i--) {
        ContractRole role = plan->spec.index[i].role;
        if (i == plan->lane || (role != CONTRACT_N && role != CONTRACT_M)) continue;
        plan->sum_step[i] = rows;
        rows *= max64(1, plan->cut[i].local);
    }
    plan->sum_rows = rows;
    plan->sum_elements = rows * lane_block(plan);
}

/* ---- cutting ---------------------------------------------------------------------------------------------- */

static double part_estimate(const ContractPlan *plan) {
    double parts = plan->groups;
    for (int i = 0; i < plan->spec.indices; i++)
        if (plan->cut[i].split)
            parts *= (double)ceil_div(max64(1, typical_extent(&plan->spec, i)), max64(1, plan->cut[i].local));
    return parts;
}

static int64_t round_up(int64_t a, int64_t b) {
    return ceil_div(a, b) * b;
}

static int64_t smallest_cut(const ContractPlan *plan, int i) {
    if (i == plan->lane) return (int64_t)plan->nv * plan->vl;
    return plan->cut[i].tile;
}

/* Halves the block of index i; false when it is as small as its tile. */
static bool halve(ContractPlan *plan, int i) {
    int64_t least = smallest_cut(plan, i), now = plan->cut[i].local;
    /* unpacked lanes are read in whole panels, so blocks must not leave part of one */
    if (i == plan->lane && plan->q_access == CONTRACT_DIRECT && plan->spec.index[i].extent % least) return false;
    int64_t next = round_up(ceil_div(now, 2), least);
    if (next >= now) return false;
    plan->cut[i].local = next;
    if (plan->spec.index[i].role == CONTRACT_K) plan->cut[i].blocked = true;
    else plan->cut[i].split = true;
    if (i == plan->lane) {
        plan->panels = next / least;
        plan->nv_tail = 0;
    }
    return true;
}

static int outermost(const ContractPlan *plan, ContractRole role, int64_t above) {
    /* the first index of that role in spec order whose block can shrink */
    for (int i = 0; i < plan->spec.indices; i++)
        if (plan->spec.index[i].role == role && i != plan->lane && plan->cut[i].local > plan->cut[i].tile &&
            plan->cut[i].local > above)
            return i;
    return -1;
}

static int largest(const ContractPlan *plan, ContractRole role) {
    int best = -1;
    for (int i = 0; i < plan->spec.indices; i++)
        if (plan->spec.index[i].role == role && i != plan->lane && plan->cut[i].local > plan->cut[i].tile &&
            (best < 0 || plan->cut[i].local > plan->cut[best].local))
            best = i;
    return best;
}

static void cut_parts(ContractPlan *plan) {
    ContractSpec *spec = &plan->spec;
    int64_t size = spec->type == CONTRACT_F32 ? 4 : 8;
    bool p_packed = plan->p_access != CONTRACT_DIRECT, q_in_part = plan->q_access == CONTRACT_PACK_PART;
    bool constant_out = true, empty_k = false;
    double k_total = 1;
    int64_t out_elements = 1;
    plan->groups = 1;
    plan->group_index = -1;
    for (int i = 0; i < spec->indices; i++) {
        ContractIndex *x = &spec->index[i];
        ContractCut *cut = &plan->cut[i];
        int64_t usual = max64(1, typical_extent(spec, i));
        cut->local = x->extent >= 0 ? x->extent : usual;
        if (x->role == CONTRACT_BATCH) {
            cut->local = 1;
            cut->split = true;
        } else if (x->role == CONTRACT_K) {
            k_total *= (double)usual;
            if (x->extent == 0) empty_k = true;
            bool packed = (p_packed && contract_uses(&spec->p, i)) || (q_in_part && contract_uses(&spec->q, i));
            if (x->extent < 0 && packed) {
                cut->local = min64(usual, 256);
                cut->blocked = true;
            }
        } else if (x->extent < 0) {
            constant_out = false;
            cut->split = true;
            if (i == plan->lane) {
                int64_t step = (int64_t)plan->nv * plan->vl;
                plan->panels = min64(4, ceil_div(usual, step));
                plan->nv_tail = 0;
                cut->local = plan->panels * step;
            } else if (cut->tile > 1) {
                cut->local = round_up(min64(usual, min64(max64(usual / 16, 64), 256)), cut->tile);
            } else {
                cut->local = 1;
            }
        }
        if (x->role == CONTRACT_M || x->role == CONTRACT_N) out_elements *= max64(1, x->extent);
        if (x->role == CONTRACT_BATCH && x->extent < 0) constant_out = false;
        if (x->role == CONTRACT_BATCH) out_elements *= max64(1, x->extent);
    }
    if (empty_k)
        for (int i = 0; i < spec->indices; i++)
            if (spec->index[i].role == CONTRACT_K) {
                plan->cut[i].blocked = true;
                plan->cut[i].local = max64(1, plan->cut[i].local);
            }

    /* A long K with a small result (weight gradients): sum it block by block, the blocks in fixed groups. */
    const CpuFeatures *cpu = &plan->cpu;
    bool long_k = k_total >= (double)limit(cpu, LONG_K) ||
                  (k_total > (double)limit(cpu, LONG_K_PACKED) && (p_packed || q_in_part));
    bool any_blocked = false;
    for (int i = 0; i < spec->indices; i++) any_blocked |= plan->cut[i].blocked;
    int64_t m_rows = 1;
    for (int i = 0; i < spec->indices; i++)
        if (spec->index[i].role == CONTRACT_M) m_rows *= max64(1, plan->cut[i].local);
    bool reuse = m_rows >= 8;
    if ((long_k && constant_out && k_total > 4.0 * (double)m_rows && reuse) || any_blocked) {
        for (;;) {
            int64_t bytes = (p_footprint(plan) + q_footprint(plan)) * size;
            int i = outermost(plan, CONTRACT_K, 1);
            if (bytes <= limit(cpu, K_BLOCK_BYTES) || i < 0) break;
            int64_t kept = 1;
            for (int k = 0; k < spec->indices; k++)
                if (spec->index[k].role == CONTRACT_K) kept *= max64(1, plan->cut[k].local);
            if (kept <= limit(cpu, SHORT_K)) break;
            if (!halve(plan, i)) break;
        }
        int group = -1;
        for (int i = 0; i < spec->indices && group < 0; i++)
            if (plan->cut[i].blocked) group = i;
        int64_t out_bytes = round_up(out_elements * size, 64);
        if (group >= 0 && constant_out && !empty_k) {
            int64_t blocks = ceil_div(typical_extent(spec, group), max64(1, plan->cut[group].local));
            int groups = 8;
            while (groups > 1 && (groups * out_bytes > limit(cpu, PARTIAL_BYTES) || groups > blocks)) groups /= 2;
            if (groups > 1) {
                plan->groups = groups;
                plan->group_index = group;
            }
        }
    }
    /* a panel of q that outgrows the L2 is cut along K when several tiles read it */
    for (;;) {
        int64_t rows = 1, tile = 1, best = -1, depth = 1;
        for (int i = 0; i < spec->indices; i++) {
            ContractRole role = spec->index[i].role;
            if (role == CONTRACT_M) rows *= max64(1, plan->cut[i].local), tile *= plan->cut[i].tile;
            if (role != CONTRACT_K) continue;
            depth *= max64(1, plan->cut[i].local);
            if (best < 0 || plan->cut[i].local > plan->cut[best].local) best = i;
        }
        if (plan->groups > 1 || best < 0 || rows < 4 * tile || plan->cut[best].local < limit(cpu, FAR_ROWS)) break;
        if (depth * plan->nv * plan->vl * size <= limit(cpu, PANEL_BYTES) || !halve(plan, (int)best)) break;
    }
    /* packed p must fit the L2 beside the lanes that stream past it */
    while (p_packed && p_footprint(plan) * size > limit(cpu, PART_BYTES)) {
        int i = outermost(plan, CONTRACT_M, 0);
        if (i < 0 || !halve(plan, i)) break;
    }
    while (q_in_part && q_footprint(plan) * size > 2 * limit(cpu, PART_BYTES) && halve(plan, plan->lane)) {}
    double wanted = plan->groups > 1 || (p_packed && q_in_part) ? WANTED_PARTS / 2 : WANTED_PARTS;
    while (part_estimate(plan) < wanted) {
        /* cutting M reads q once more, cutting N reads p once more */
        bool lanes_first = plan->groups == 1 && !p_packed && q_footprint(plan) > 2 * p_footprint(plan);
        if (lanes_first && plan->q_access != CONTRACT_PACK_PART && halve(plan, plan->lane)) continue;
        int i = plan->groups > 1 ? largest(plan, CONTRACT_M) : outermost(plan, CONTRACT_M, 0);
        if (i >= 0 && halve(plan, i)) continue;
        if (!halve(plan, plan->lane)) break;
    }
    /* many cores and small batches want more parts, as long as each is worth streaming q once more */
    double flops = 2.0;
    for (int i = 0; i < spec->indices; i++) flops *= (double)max64(1, typical_extent(spec, i));
    while (plan->groups == 1 && !q_in_part && part_estimate(plan) < MOST_PARTS) {
        double half = flops / part_estimate(plan) / 2;
        int i = outermost(plan, CONTRACT_M, 0);
        if (i < 0 || half < (double)limit(cpu, PART_FLOPS) || half < 16.0 * (double)(q_footprint(plan) * size) ||
            !halve(plan, i))
            break;
    }
    plan->sums_in_memory = false;
    for (int i = 0; i < spec->indices; i++) plan->sums_in_memory |= plan->cut[i].blocked;
}

static void count_term(ContractCount *count, const ContractSpec *spec, int i, int64_t block) {
    const ContractIndex *x = &spec->index[i];
    block = max64(1, block);
    if (x->extent >= 0) {
        count->factor *= ceil_div(x->extent, block);
        return;
    }
    count->slot[count->terms] = x->slot;
    count->scale[count->terms] = x->factor;
    count->typical[count->terms] = typical_extent(spec, i);
    count->divisor[count->terms++] = block;
}

/* The pack phase: its parts, and the room for panels.  Constant numbers of panels lie in workspace 0 after the partial
   sums, dynamic ones in workspace 1; the last short panel of a dynamic lane index (per constant batch) lies in
   workspace 0, so that workspace 1 stays proportional to the extents. */
static void finish_pack(ContractPlan *plan, int64_t size) {
    ContractSpec *spec = &plan->spec;
    ContractCount pack = {.factor = 1};
    int64_t width = (int64_t)plan->nv * plan->vl, panel = plan->q_panel_rows * width * size;
    ContractWorkspace *room = &plan->workspace[1];
    int64_t batches = 1;
    int slots = 0;
    for (int i = 0; i < spec->indices; i++) {
        if (spec->index[i].role != CONTRACT_BATCH) continue;
        count_term(&pack, spec, i, 1);
        batches *= spec->index[i].extent >= 0 ? spec->index[i].extent : spec->index[i].factor;
        if (spec->index[i].extent < 0) room->slot[slots++] = spec->index[i].slot;
    }
    count_term(&pack, spec, plan->lane, width);
    const ContractIndex *lane = &spec->index[plan->lane];
    if (lane->extent >= 0) {
        if (!slots) room = &plan->workspace[0];
        room->bytes += round_up(batches * ceil_div(lane->extent, width) * panel, 64);
    } else {
        room->slot[slots] = lane->slot;
        room->bytes = round_up(batches * lane->factor * (panel / width), 64);
        plan->workspace[0].bytes += batches * round_up(panel, 64);
    }
    plan->pack_chunks = 1;
    if (plan->k_count) { /* pieces of at least PACK_ELEMENTS, so that a few large panels use all threads */
        int64_t extent = spec->index[plan->k_order[0]].extent, elements = plan->q_panel_rows * width;
        int64_t pieces = min64(max64(1, elements / limit(&plan->cpu, PACK_ELEMENTS)), extent);
        plan->pack_chunk = ceil_div(extent, pieces);
        plan->pack_chunks = ceil_div(extent, plan->pack_chunk);
        pack.factor *= plan->pack_chunks;
    }
    plan->has[CONTRACT_PHASE_PACK] = true;
    plan->own_parts[CONTRACT_PHASE_PACK] = pack;
}

static void finish(ContractPlan *plan) {
    ContractSpec *spec = &plan->spec;
    int64_t size = spec->type == CONTRACT_F32 ? 4 : 8;
    lay_out_p(plan);
    if (plan->p_access == CONTRACT_DIRECT)
        for (int i = 0; i < spec->indices; i++) constant_step(&spec->p, i, &plan->p_step[i]);
    for (int i = 0; i < spec->indices; i++)
        if (plan->q_access == CONTRACT_DIRECT) constant_step(&spec->q, i, &plan->q_step[i]);
    order_k(plan);
    lay_out_q(plan);
    lay_out_sums(plan);

    int64_t at = 0;
    plan->scratch_p = at;
    if (plan->p_access == CONTRACT_PACK_PART) at += round_up(plan->p_elements * size, 64);
    plan->scratch_q = at;
    if (plan->q_access == CONTRACT_PACK_PART) at += round_up(q_footprint(plan) * size, 64);
    plan->scratch_sums = at;
    if (plan->sums_in_memory && plan->groups == 1) at += round_up(plan->sum_elements * size, 64);
    else at += 64 * 64; /* one register tile: at most 32 vectors */
    plan->scratch_bytes = at;

    ContractCount parts = {.factor = plan->groups};
    ContractCount mn = {.factor = 1};
    for (int i = 0; i < spec->indices; i++)
        if (plan->cut[i].split) {
            count_term(&parts, spec, i, plan->cut[i].local);
            count_term(&mn, spec, i, plan->cut[i].local);
        }
    plan->mn_parts = mn.factor;
    plan->partial_bytes = 0;
    if (plan->groups > 1) plan->partial_bytes = plan->groups * plan->mn_parts * round_up(plan->sum_elements * size, 64);
    /* an empty output needs no parts even when the empty index is not split */
    for (int i = 0; i < spec->indices; i++)
        if (spec->index[i].role != CONTRACT_K && spec->index[i].extent == 0) parts.factor = 0, mn.factor = 0;
    plan->has[CONTRACT_PHASE_MAIN] = true;
    plan->own_parts[CONTRACT_PHASE_MAIN] = parts;
    plan->workspace[0] = (ContractWorkspace){plan->partial_bytes, {-1, -1}};
    plan->workspace[1] = (ContractWorkspace){0, {-1, -1}};
    if (plan->q_access == CONTRACT_PACK_PHASE) finish_pack(plan, size);
    if (plan->groups > 1) {
        int64_t tiles = plan->panels + (plan->nv_tail > 0);
        if (contract_vectors_apart(plan)) tiles = plan->panels * plan->nv + plan->nv_tail;
        for (int i = 0; i < spec->indices; i++)
            if (i != plan->lane && (spec->index[i].role == CONTRACT_M || spec->index[i].role == CONTRACT_N))
                tiles *= max64(1, ceil_div(plan->cut[i].local, plan->cut[i].tile));
        plan->combine_run = ceil_div(tiles, 8);
        plan->combine_ways = ceil_div(tiles, plan->combine_run);
        mn.factor *= plan->combine_ways;
        plan->has[CONTRACT_PHASE_COMBINE] = true;
        plan->own_parts[CONTRACT_PHASE_COMBINE] = mn;
    }
}

/* ---- one candidate ---------------------------------------------------------------------------------------- */

static void swap_operands(ContractSpec *spec) {
    ContractOperand p = spec->p;
    spec->p = spec->q;
    spec->q = p;
    for (int i = 0; i < spec->indices; i++) {
        ContractRole *role = &spec->index[i].role;
        if (*role == CONTRACT_M) *role = CONTRACT_N;
        else if (*role == CONTRACT_N) *role = CONTRACT_M;
    }
}

static bool direct_p(const ContractSpec *spec) {
    if (!plain(&spec->p)) return false;
    for (int i = 0; i < spec->indices; i++) {
        int64_t step;
        if (spec->index[i].role != CONTRACT_BATCH && !constant_step(&spec->p, i, &step)) return false;
    }
    return true;
}

static bool direct_q(const ContractSpec *spec, int lane, int vl) {
    if (!plain(&spec->q)) return false;
    int64_t step;
    if (!constant_step(&spec->q, lane, &step) || step != 1) return false;
    if (spec->index[lane].extent < 0 || spec->index[lane].extent % vl) return false;
    for (int i = 0; i < spec->indices; i++)
        if (spec->index[i].role != CONTRACT_BATCH && !constant_step(&spec->q, i, &step)) return false;
    return true;
}

void contract_plan_lane(const ContractSpec *spec, const CpuFeatures *cpu, int lane, bool scaling, ContractPlan *plan) {
    memset(plan, 0, sizeof *plan);
    plan->spec = *spec;
    plan->cpu = *cpu;
    plan->lane = lane;
    if (spec->index[lane].role == CONTRACT_M) {
        plan->swapped = true;
        swap_operands(&plan->spec);
    }
    spec = &plan->spec;
    turn_k(&plan->spec);
    int64_t size = spec->type == CONTRACT_F32 ? 4 : 8;
    plan->vl = (int)(cpu->vector_bytes / size);
    TileChoice tile = choose_tile(spec, cpu, lane, plan->vl);
    plan->nv = tile.nv;
    plan->nv_tail = tile.nv_tail;
    plan->panels = max64(1, ceil_div(typical_extent(spec, lane), plan->vl)) / plan->nv;
    for (int i = 0; i < spec->indices; i++) plan->cut[i].tile = 1;
    for (int r = 0; r < 2; r++) {
        plan->row_index[r] = tile.row_index[r];
        if (tile.row_index[r] >= 0) plan->cut[tile.row_index[r]].tile = tile.tile[r];
    }

    plan->p_access = direct_p(spec) ? CONTRACT_DIRECT : CONTRACT_PACK_PART;
    plan->q_access = CONTRACT_PACK_PART;
    bool whole = true, batched = false;
    int dynamic_batches = 0;
    double m_total = 1, n_total = 1, k_total = 1, b_total = 1;
    for (int i = 0; i < spec->indices; i++) {
        ContractRole role = spec->index[i].role;
        double n = (double)max64(1, typical_extent(spec, i));
        if (role == CONTRACT_K && spec->index[i].extent <= 0) whole = false;
        if (role == CONTRACT_N && i != lane && spec->index[i].extent <= 0) whole = false;
        if (role == CONTRACT_BATCH && contract_uses(&spec->q, i)) batched = true;
        if (role == CONTRACT_BATCH && spec->index[i].extent < 0) dynamic_batches++;
        if (role == CONTRACT_M) m_total *= n;
        if (role == CONTRACT_N) n_total *= n;
        if (role == CONTRACT_K) k_total *= n;
        if (role == CONTRACT_BATCH) b_total *= n;
    }
    /* packed panels must fit a workspace that scales with at most two extents */
    bool dynamic_lane = spec->index[lane].extent < 0;
    if (dynamic_batches > 2 || (dynamic_batches > 0 && dynamic_lane)) whole = false;
    if (!scaling && (dynamic_batches > 0 || dynamic_lane)) whole = false;
    /* Far strides along K waste cache sets and TLB entries; where the operand is read often, packing it pays. */
    int64_t p_far = INT64_MAX, q_far = INT64_MAX;
    for (int i = 0; i < spec->indices; i++) {
        int64_t p_k, q_k;
        if (spec->index[i].role != CONTRACT_K || spec->index[i].extent == 1) continue;
        if (constant_step(&spec->p, i, &p_k)) p_far = min64(p_far, p_k < 0 ? -p_k : p_k);
        if (constant_step(&spec->q, i, &q_k)) q_far = min64(q_far, q_k < 0 ? -q_k : q_k);
    }
    bool long_k = k_total >= (double)limit(cpu, FAR_K);
    if (long_k && n_total >= (double)limit(cpu, FAR_LANES) && p_far < INT64_MAX &&
        p_far * size >= limit(cpu, FAR_BYTES))
        plan->p_access = CONTRACT_PACK_PART;
    bool pack_q = whole && !batched && long_k && m_total >= (double)limit(cpu, FAR_ROWS) && q_far < INT64_MAX &&
                  q_far * size >= limit(cpu, FAR_BYTES);
    /* Weight gradients of windows read every pixel's lanes for hundreds of rows.  Narrow reads in short runs are missed
       by the prefetchers (measured: 42 % of peak against 93 % packed); longer runs and wider reads do well unpacked. */
    int64_t near_step = INT64_MAX, run = 0;
    for (int i = 0; i < spec->indices; i++) {
        int64_t step;
        if (spec->index[i].role != CONTRACT_K || spec->index[i].extent == 1) continue;
        if (!constant_step(&spec->q, i, &step) || !step || step >= near_step) continue;
        near_step = step;
        run = typical_extent(spec, i);
    }
    bool gather_q = !whole && !direct_p(spec) && m_total >= (double)limit(cpu, WINDOW_ROWS) &&
                    plan->nv * plan->vl * size <= 128 && run <= 8;
    if (direct_q(spec, lane, plan->vl) && !pack_q && !gather_q) plan->q_access = CONTRACT_DIRECT;
    else if (whole && !(batched && b_total >= 8 && n_total * k_total <= 64 * 1024))
        plan->q_access = CONTRACT_PACK_PHASE;
    cut_parts(plan);
    finish(plan);

    /* the estimate that candidates are compared by */
    int64_t step = 0;
    double q_elements = n_total * k_total * b_total, p_elements = 1, repeats = 1;
    for (int d = 0; d < spec->p.dims; d++) {
        double n = 1;
        for (int t = 0; t < spec->p.dim[d].terms; t++) {
            int64_t c = spec->p.dim[d].term[t].coefficient;
            n += (double)(c < 0 ? -c : c) * (double)(typical_extent(spec, spec->p.dim[d].term[t].index) - 1);
        }
        p_elements *= n < 1 ? 1 : n;
    }
    bool q_lanes = constant_step(&spec->q, lane, &step) && step == 1;
    for (int i = 0; i < spec->indices; i++)
        if (plan->cut[i].split && spec->index[i].role == CONTRACT_M)
            repeats *= (double)ceil_div(max64(1, typical_extent(spec, i)), max64(1, plan->cut[i].local));
    double vl = plan->vl;
    double cycles = tile.cycles * k_total;
    if (plan->q_access == CONTRACT_PACK_PHASE) cycles += q_elements * (q_lanes ? 4.0 / vl : 2.0);
    if (plan->q_access == CONTRACT_PACK_PART) cycles += repeats * q_elements * (q_lanes ? 4.0 / vl : 2.5);
    if (plan->p_access == CONTRACT_PACK_PART) cycles += p_elements * 4.0 / vl;
    const ContractSize *out = &spec->out_stride[lane];
    bool out_lanes = !out->factors && out->constant == 1;
    /* scattered stores cost little while the output stays in the cache, a line each when it does not */
    double out_elements = m_total * n_total * b_total;
    double scatter = out_elements * (double)size < (double)cpu->cache_bytes / 2 ? 1.5 : 12.0;
    cycles += out_elements * (out_lanes ? 2.0 / vl : scatter);
    if (plan->groups > 1) cycles += m_total * n_total * 2.0 * plan->groups / vl;
    plan->cycles = cycles;
    plan->flops = 2.0 * m_total * n_total * k_total * b_total;
}
