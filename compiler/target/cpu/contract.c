/* The public face of the contraction emitter: CPU levels, counts, checking of specs, choice of the cheapest plan,
   dumps. Requires a ContractSpec as contract.h describes it; leaves a ContractPlan (made by contract_plan.c) or an
   error. */
#include "contract_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

CpuFeatures contract_cpu_level(int level) {
    switch (level) {
    case 4: return (CpuFeatures){"x86-64-v4", "-prefer-256-bit", 64, 32, true, 1 << 20};
    case 3: return (CpuFeatures){"x86-64-v3", "", 32, 16, true, 1 << 20};
    default: return (CpuFeatures){"x86-64-v2", "", 16, 16, false, 1 << 20};
    }
}

int64_t contract_parts(ContractParts parts, const int64_t *extent) {
    int64_t n = parts.slot < 0 ? parts.count : parts.count * extent[parts.slot];
    return n <= 0 ? 0 : (n + parts.divide - 1) / parts.divide;
}

int64_t contract_workspace_bytes(ContractWorkspace workspace, const int64_t *extent) {
    int64_t bytes = workspace.bytes;
    for (int i = 0; i < 2; i++)
        if (workspace.slot[i] >= 0) bytes *= extent[workspace.slot[i]];
    return bytes;
}

static bool refuse(char error[CONTRACT_ERROR_LENGTH], const ContractSpec *spec, const char *format, ...) {
    int n = snprintf(error, CONTRACT_ERROR_LENGTH, "contraction %s: ", spec->name ? spec->name : "(unnamed)");
    if (n < 0 || n >= CONTRACT_ERROR_LENGTH) return false;
    va_list list;
    va_start(list, format);
    vsnprintf(error + n, CONTRACT_ERROR_LENGTH - (size_t)n, format, list);
    va_end(list);
    return false;
}

static const char *index_name(const ContractSpec *spec, int i) {
    return spec->index[i].name ? spec->index[i].name : "?";
}

/* ---- validation ------------------------------------------------------------------------------------------- */

static bool check_operand(const ContractSpec *spec, const ContractOperand *x, const char *which, ContractRole own,
                          char *error) {
    if (x->dims < 0 || x->dims > CONTRACT_MAX_DIMS)
        return refuse(error, spec, "operand %s has %d dimensions, at most %d are possible", which, x->dims,
                      CONTRACT_MAX_DIMS);
    for (int d = 0; d < x->dims; d++) {
        const ContractDim *dim = &x->dim[d];
        if (dim->terms < 0 || dim->terms > CONTRACT_MAX_TERMS)
            return refuse(error, spec, "operand %s dimension %d has %d index terms, at most %d are possible", which, d,
                          dim->terms, CONTRACT_MAX_TERMS);
        if (dim->divisor > 1 && !dim->guarded)
            return refuse(error, spec, "operand %s dimension %d has divisor %lld but no guard", which, d,
                          (long long)dim->divisor);
        if (dim->divisor < 0) return refuse(error, spec, "operand %s dimension %d has a negative divisor", which, d);
        for (int t = 0; t < dim->terms; t++) {
            int i = dim->term[t].index;
            if (i < 0 || i >= spec->indices)
                return refuse(error, spec, "operand %s dimension %d uses index number %d of %d", which, d, i,
                              spec->indices);
            ContractRole role = spec->index[i].role;
            if (role != own && role != CONTRACT_BATCH && role != CONTRACT_K)
                return refuse(error, spec, "operand %s uses index %s, which belongs to the other operand", which,
                              index_name(spec, i));
            if (dim->term[t].coefficient == 0)
                return refuse(error, spec, "operand %s dimension %d has coefficient 0", which, d);
            for (int s = 0; s < t; s++)
                if (dim->term[s].index == i)
                    return refuse(error, spec, "operand %s dimension %d names index %s twice", which, d,
                                  index_name(spec, i));
            if (dim->term[t].coefficient < 0 && spec->index[i].extent < 0)
                return refuse(error, spec, "operand %s runs backwards along the dynamic index %s", which,
                              index_name(spec, i));
        }
    }
    for (int i = 0; i < spec->indices; i++) {
        ContractRole role = spec->index[i].role;
        if (role < CONTRACT_BATCH || role > CONTRACT_K)
            return refuse(error, spec, "index %s has role %d", index_name(spec, i), (int)role);
    }
    return true;
}

static bool check_spec(const ContractSpec *spec, char *error) {
    if (!spec->name || !spec->name[0]) return refuse(error, spec, "a contraction needs a name");
    if (spec->indices < 0 || spec->indices >= CONTRACT_MAX_INDICES)
        return refuse(error, spec, "%d indices, at most %d are possible", spec->indices, CONTRACT_MAX_INDICES - 1);
    for (int i = 0; i < spec->indices; i++)
        if (spec->index[i].extent < -1)
            return refuse(error, spec, "index %s has extent %lld", index_name(spec, i),
                          (long long)spec->index[i].extent);
    for (int i = 0; i < spec->indices; i++)
        if (spec->index[i].extent < 0 && (spec->index[i].slot < 0 || spec->index[i].factor < 0))
            return refuse(error, spec, "dynamic index %s has slot %d and factor %lld, none may be negative",
                          index_name(spec, i), spec->index[i].slot, (long long)spec->index[i].factor);
    return check_operand(spec, &spec->p, "p", CONTRACT_M, error) &&
           check_operand(spec, &spec->q, "q", CONTRACT_N, error);
}

/* ---- planning --------------------------------------------------------------------------------------------- */

/* The cheapest plan for one level; `scaling` allows a workspace that grows with dynamic extents. */
static void plan_level(const ContractSpec *spec, const CpuFeatures *cpu, bool scaling, ContractPlan *plan) {
    ContractSpec work = *spec;
    bool lanes = false, virtual_lane = false;
    for (int i = 0; i < work.indices; i++) {
        if (work.index[i].extent < 0 && work.index[i].factor == 0) work.index[i].factor = 1;
        lanes |= work.index[i].role == CONTRACT_M || work.index[i].role == CONTRACT_N;
        /* a batch index that only one operand uses is an ordinary row or lane index */
        if (work.index[i].role != CONTRACT_BATCH) continue;
        bool in_p = contract_uses(&work.p, i), in_q = contract_uses(&work.q, i);
        if (in_p != in_q) work.index[i].role = in_p ? CONTRACT_M : CONTRACT_N, lanes = true;
    }
    if (!lanes) {
        work.index[work.indices] = (ContractIndex){.name = "one", .role = CONTRACT_N, .extent = 1};
        work.out_stride[work.indices] = contract_constant(1);
        work.indices++;
        virtual_lane = true;
    }
    contract_drop_guards(&work, &work.p);
    contract_drop_guards(&work, &work.q);
    bool have = false;
    ContractPlan candidate;
    for (int i = 0; i < work.indices; i++) {
        if (work.index[i].role != CONTRACT_M && work.index[i].role != CONTRACT_N) continue;
        contract_plan_lane(&work, cpu, i, scaling, &candidate);
        candidate.virtual_lane = virtual_lane;
        if (!have || candidate.cycles < plan->cycles) *plan = candidate;
        have = true;
    }
}

/* Parts that the caller counts: as many as the level has, in a form with at most one extent. */
static ContractParts outward(const ContractCount *own) {
    ContractParts parts = {own->factor, -1, 1};
    int main = 0;
    for (int t = 1; t < own->terms; t++)
        if (own->typical[t] / own->divisor[t] > own->typical[main] / own->divisor[main]) main = t;
    for (int t = 0; t < own->terms; t++) {
        if (t == main) {
            parts.count *= own->scale[t];
            parts.slot = own->slot[t];
            parts.divide = own->divisor[t];
        } else {
            parts.count *= (own->typical[t] + own->divisor[t] - 1) / own->divisor[t];
        }
    }
    return parts;
}

static double typical_parts(const ContractCount *own) {
    double n = (double)own->factor;
    for (int t = 0; t < own->terms; t++) n *= (double)((own->typical[t] + own->divisor[t] - 1) / own->divisor[t]);
    return n;
}

bool contract_plan(const ContractSpec *spec, const CpuFeatures cpu[], int levels, ContractPlan plan[],
                   char error[CONTRACT_ERROR_LENGTH]) {
    if (!check_spec(spec, error)) return false;
    int phases = 0;
    ContractPhase phase[CONTRACT_MAX_PHASES];
    ContractWorkspace workspace[CONTRACT_WORKSPACES] = {{0, {-1, -1}}, {0, {-1, -1}}};
    int64_t scratch = 0;
    for (int l = 0; l < levels; l++) {
        plan_level(spec, &cpu[l], true, &plan[l]);
        const ContractWorkspace *own = &plan[l].workspace[1], *all = &workspace[1];
        /* levels whose panels grow with different extents cannot share a workspace: the later one does without */
        if (own->bytes && all->bytes && (own->slot[0] != all->slot[0] || own->slot[1] != all->slot[1]))
            plan_level(spec, &cpu[l], false, &plan[l]);
        if (plan[l].scratch_bytes > scratch) scratch = plan[l].scratch_bytes;
        for (int w = 0; w < CONTRACT_WORKSPACES; w++)
            if (plan[l].workspace[w].bytes > workspace[w].bytes) workspace[w] = plan[l].workspace[w];
    }
    for (int kind = 0; kind < CONTRACT_MAX_PHASES; kind++) {
        int most = -1;
        for (int l = 0; l < levels; l++)
            if (plan[l].has[kind] &&
                (most < 0 || typical_parts(&plan[l].own_parts[kind]) > typical_parts(&plan[most].own_parts[kind])))
                most = l;
        if (most < 0) continue;
        phase[phases++] = (ContractPhase){(ContractPhaseKind)kind, outward(&plan[most].own_parts[kind])};
    }
    for (int l = 0; l < levels; l++) {
        plan[l].phases = phases;
        memcpy(plan[l].phase, phase, sizeof phase[0] * (size_t)phases);
        memcpy(plan[l].workspace, workspace, sizeof workspace);
        plan[l].scratch_bytes = scratch;
    }
    return true;
}

/* ---- dump ------------------------------------------------------------------------------------------------- */

typedef struct {
    char *text;
    size_t size;
    int length;
} Out;

static void put(Out *out, const char *format, ...) {
    va_list list;
    va_start(list, format);
    size_t used = (size_t)out->length < out->size ? (size_t)out->length : out->size;
    int n = vsnprintf(used < out->size ? out->text + used : NULL, out->size - used, format, list);
    va_end(list);
    if (n > 0) out->length += n;
}

static void put_count(Out *out, const ContractCount *count) {
    put(out, "%lld", (long long)count->factor);
    for (int i = 0; i < count->terms; i++)
        put(out, " * ceil(%lld e%d / %lld)", (long long)count->scale[i], count->slot[i], (long long)count->divisor[i]);
}

int contract_plan_print(const ContractPlan *plan, char *text, size_t size) {
    static const char *const access[] = {"direct", "packed in the part", "packed in a phase"};
    static const char *const phase[] = {"pack", "main", "combine"};
    static const char role[] = "BMNK";
    Out out = {text, size, 0};
    int64_t rows = 1;
    for (int r = 0; r < 2; r++)
        if (plan->row_index[r] >= 0) rows *= plan->cut[plan->row_index[r]].tile;
    put(&out, "contraction %s: lanes along %s (%d), tile %lld x %d%s", plan->spec.name,
        index_name(&plan->spec, plan->lane), plan->vl, (long long)rows, plan->nv,
        plan->swapped ? ", operands swapped" : "");
    for (int r = 0; r < 2; r++)
        if (plan->row_index[r] >= 0)
            put(&out, ", %lld of %s", (long long)plan->cut[plan->row_index[r]].tile,
                index_name(&plan->spec, plan->row_index[r]));
    put(&out, "\n  p %s, q %s, %d group%s\n  cuts:", access[plan->p_access], access[plan->q_access], plan->groups,
        plan->groups == 1 ? "" : "s");
    for (int i = 0; i < plan->spec.indices; i++) {
        put(&out, " %c.%s=", role[plan->spec.index[i].role], index_name(&plan->spec, i));
        if (plan->spec.index[i].extent >= 0) put(&out, "%lld", (long long)plan->spec.index[i].extent);
        else put(&out, "e%d", plan->spec.index[i].slot);
        if (plan->cut[i].split || plan->cut[i].blocked)
            put(&out, "%s%lld", plan->cut[i].split ? "/" : "|", (long long)plan->cut[i].local);
    }
    put(&out, "\n  k order:");
    for (int k = 0; k < plan->k_count; k++) put(&out, " %s", index_name(&plan->spec, plan->k_order[k]));
    put(&out, "\n");
    for (int i = 0; i < plan->phases; i++) {
        ContractParts parts = plan->phase[i].parts;
        put(&out, "  phase %s: parts = ceil(%lld", phase[plan->phase[i].kind], (long long)parts.count);
        if (parts.slot >= 0) put(&out, " e%d", parts.slot);
        put(&out, " / %lld), own = ", (long long)parts.divide);
        if (plan->has[plan->phase[i].kind]) put_count(&out, &plan->own_parts[plan->phase[i].kind]);
        else put(&out, "none");
        put(&out, "\n");
    }
    put(&out, "  scratch %lld bytes", (long long)plan->scratch_bytes);
    for (int w = 0; w < CONTRACT_WORKSPACES; w++) {
        if (!plan->workspace[w].bytes) continue;
        put(&out, ", workspace %d: %lld bytes", w, (long long)plan->workspace[w].bytes);
        for (int i = 0; i < 2; i++)
            if (plan->workspace[w].slot[i] >= 0) put(&out, " * e%d", plan->workspace[w].slot[i]);
    }
    put(&out, "\n");
    return out.length;
}
