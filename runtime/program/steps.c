// steps: see steps.h.
#include "steps.h"

// Bytes of a group are per unit of this.
static bool group_unit(const StmGroup *group, const int64_t *extent, int64_t *unit) {
    int64_t at[2], product;
    for (int k = 0; k < 2; k++) at[k] = group->axis[k] >= 0 ? extent[group->axis[k]] : 1;
    if (__builtin_mul_overflow(at[0], at[1], &product) || product > INT64_MAX - 63) return false;
    *unit = stm_group_units(group, at[0], at[1]);
    return true;
}

Status job_layout(const StmJob *job, const int64_t *extent, int64_t *base, int64_t *out_bytes) {
    int64_t need = 0;
    for (int g = 0; g < job->groups; g++) {
        int64_t unit, bytes;
        base[g] = need;
        if (!group_unit(&job->group[g], extent, &unit) || __builtin_mul_overflow(unit, job->group[g].bytes, &bytes))
            bytes = INT64_MAX / 2;
        if (bytes > ((int64_t)1 << 46) || need > ((int64_t)1 << 46))
            return status_make(STATUS_NO_MEMORY, "%s needs more than 64 TB at this size; use a smaller batch",
                               job->name);
        need += bytes;
    }
    *out_bytes = need;
    return STATUS_OK;
}

int64_t buffer_offset(const StmJob *job, const StmBuffer *buffer, const int64_t *extent, const int64_t *base) {
    int64_t unit = 1;
    group_unit(&job->group[buffer->group], extent, &unit); // job_layout has checked it
    return base[buffer->group] + buffer->offset * unit;
}

int64_t buffer_bytes(const StmPlan *plan, const StmJob *job, const StmBuffer *buffer, const int64_t *extent) {
    if (buffer->tensor >= 0) {
        const StmTensor *tensor = &plan->tensor[buffer->tensor];
        return tensor_elements(tensor, extent) * (int64_t)type_size(tensor->type);
    }
    int64_t unit = 1;
    group_unit(&job->group[buffer->group], extent, &unit);
    return buffer->bytes * unit;
}

int step_calls(const StmStep *step) {
    return step->calls > 1 ? step->calls : 1;
}

int64_t step_parts(const StmPlan *plan, const StmStep *step, int call, int64_t *extent) {
    for (int i = 0; i < step->extents; i++)
        extent[plan->axes + i] = extent_of(step->extent[call * step->extents + i], extent);
    int64_t parts = (extent_of(step->parts, extent) + step->divide - 1) / step->divide;
    return step->times > 1 ? parts * step->times : parts;
}

// By how much the work at these extents differs from that at the bounds: as the largest of the buffers does that grow
// with the extents.
static double growth(const StmPlan *plan, const StmJob *job, const StmStep *step, const int64_t *extent,
                     const int64_t *bound) {
    int64_t now = 1, most = 0;
    for (int a = 0; a < step->args; a++) {
        const StmBuffer *buffer = &job->buffer[step->arg[a]];
        bool grows = false;
        const StmTensor *tensor = buffer->tensor >= 0 ? &plan->tensor[buffer->tensor] : NULL;
        for (int d = 0; tensor && d < tensor->rank; d++) grows = grows || tensor->dim[d].axis >= 0;
        int64_t bytes = grows ? buffer_bytes(plan, job, buffer, bound) : 0;
        if (bytes > most) most = bytes, now = buffer_bytes(plan, job, buffer, extent);
    }
    return most > 0 ? (double)now / (double)most : 1;
}

// The plan counts operations at the bounds, with step extents of 1; those of a product are known.
double step_flops(const StmPlan *plan, const StmJob *job, const StmStep *step, int64_t *extent, int64_t *bound) {
    double flops = (double)plan->kernel[step->kernel].flops, sum = 0;
    const StmMatmul *product = plan->kernel[step->kernel].matmul;
    for (int c = 0; c < step_calls(step); c++) {
        if (product) {
            step_parts(plan, step, c, extent); // sets the extents of the call
            sum += 2.0 * (double)extent_of(product->m, extent) * (double)extent_of(product->n, extent) *
                   (double)extent_of(product->k, extent) * (double)extent_of(product->batch, extent);
        } else if (step->extents) {
            double own = flops;
            for (int i = 0; i < step->extents; i++)
                own *= (double)extent_of(step->extent[c * step->extents + i], extent);
            sum += own;
        } else {
            sum += flops;
        }
    }
    return product || step->extents ? sum : sum * growth(plan, job, step, extent, bound);
}

int64_t step_bytes(const StmPlan *plan, const StmJob *job, const StmStep *step, const int64_t *extent) {
    int64_t bytes = 0;
    for (int a = 0; a < step->args; a++) bytes += buffer_bytes(plan, job, &job->buffer[step->arg[a]], extent);
    return bytes;
}

Status step_outside(const StmPlan *plan, const StmJob *job, const StmStep *step) {
    return status_make(
        STATUS_MISMATCH,
        "job %s, %s: a position taken from the data is outside its tensor; check the index inputs of the "
        "store against the axes of the spec (EXE info)",
        job->name, step->origin && *step->origin ? step->origin : plan->kernel[step->kernel].name);
}
