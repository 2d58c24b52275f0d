// Entry of the CUDA target: who lowers a kernel; workspaces.
#include "target/cuda/cuda.h"

#include "target/cuda/expr.h"
#include "target/cuda/internal.h"

const char *cuda_lower(CudaUnit *unit, const Kernel *k, bool table, KernelCode *out) {
    const char *why = NULL;
    *out = (KernelCode){0};
    if (k->kind == KERNEL_CONTRACTION && !table) {
        const char *error = cuda_lower_contraction(unit, k, out, &why);
        if (error || !why) return error;
        *out = (KernelCode){0};
    }
    return cuda_lower_loops(unit, k, table, out);
}

const char *cuda_workspace(CudaUnit *unit, KernelCode *code, const KernelBuffer *b, int *arg) {
    Mono m = mono_of(element_size(unit->program, b->type));
    bool fits = true;
    for (int d = 0; d < b->rank; d++) fits = fits && mono_multiply(m, mono_extent(b->dim[d]), &m);
    if (!fits || m.axes > 2)
        return arena_format(unit->arena, "a workspace grows with more than two dynamic axes, which the plan of a job "
                                         "cannot hold; give one of them a constant extent");
    if (code->workspaces == CODE_MAX_WORKSPACES)
        return arena_format(unit->arena, "a kernel needs more than %d workspaces", CODE_MAX_WORKSPACES);
    int at = code->workspaces++;
    code->workspace[at].axis[0] = m.axes > 0 ? m.axis[0] : -1;
    code->workspace[at].axis[1] = m.axes > 1 ? m.axis[1] : -1;
    code->workspace[at].bytes = (m.k + 63) / 64 * 64;
    *arg = ~at;
    return NULL;
}
