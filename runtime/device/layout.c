// layout: see layout.h.
#include "layout.h"

#include <stdlib.h>
#include <string.h>

bool buffer_is_input(const Runner *r, const StmBuffer *buffer) {
    return buffer->group < 0 && r->plan->tensor[buffer->tensor].kind == STM_INPUT;
}

int job_inputs(const Runner *r, const StmJob *job, const int **out_tensors) {
    *out_tensors = r->input[job - r->plan->job];
    return r->inputs[job - r->plan->job];
}

// The slot that addresses of the job prepared last depend on.
static int slot_of(const Runner *r) {
    const int *tensors;
    return job_inputs(r, r->job, &tensors) ? r->current : -1;
}

int64_t job_output_bytes(const StmPlan *plan, const StmJob *job, int index, const int64_t *extent) {
    const StmTensor *tensor = &plan->tensor[job->output[index].tensor];
    return tensor_elements(tensor, extent) * (int64_t)type_size(tensor->type);
}

static CuAddress buffer_address(const Runner *r, const StmBuffer *buffer) {
    const Slot *slot = &r->slot[r->current];
    if (buffer_is_input(r, buffer)) return slot->device + (CuAddress)slot->at[buffer->tensor];
    if (buffer->group < 0) return r->persistent + (CuAddress)r->place[buffer->tensor];
    return r->arena + (CuAddress)buffer_offset(r->job, buffer, r->extent, r->base);
}

// Addresses of the arguments of one call of a step into r->address; returns their number.
static int call_addresses(Runner *r, const StmStep *step, int call) {
    int args = step->args / step_calls(step);
    for (int a = 0; a < args; a++) r->address[a] = buffer_address(r, &r->job->buffer[step->arg[call * args + a]]);
    return args;
}

static const StmMatmul *step_product(const Runner *r, const StmStep *step) {
    return step->kind == STM_RUN ? r->plan->kernel[step->kernel].matmul : NULL;
}

static const StmLaunch *step_launch(const Runner *r, const StmStep *step) {
    return step->kind == STM_RUN ? r->plan->kernel[step->kernel].launch : NULL;
}

static Status too_many_blocks(const Runner *r, const StmStep *step, int64_t blocks) {
    return status_make(STATUS_UNSUPPORTED,
                       "%s, kernel %s: %lld blocks are more than a GPU starts at once (%d); use a smaller --batch",
                       r->job->name, r->plan->kernel[step->kernel].name, (long long)blocks, INT32_MAX);
}

// ---- Tables and products ---------------------------------------------------------------------------------------

static int64_t table_row(const StmStep *step, const StmLaunch *launch) {
    return 1 + step->args / step_calls(step) + launch->extents;
}

// A row: number of the first block, pointers, extents. Calls without blocks are left out.
static Status fill_table(Runner *r, Layout *l, int s, uint64_t *row) {
    const StmStep *step = &r->job->step[s];
    const StmLaunch *launch = step_launch(r, step);
    int64_t blocks = 0;
    for (int c = 0; c < step_calls(step); c++) {
        int64_t own = step_parts(r->plan, step, c, r->extent);
        if (own == 0) continue;
        int args = call_addresses(r, step, c);
        *row++ = (uint64_t)blocks;
        for (int a = 0; a < args; a++) *row++ = r->address[a];
        for (int i = 0; i < launch->extents; i++) *row++ = (uint64_t)r->extent[launch->extent[i]];
        blocks += own;
        l->table_calls[s]++;
    }
    l->table_blocks[s] = blocks;
    return blocks > INT32_MAX ? too_many_blocks(r, step, blocks) : STATUS_OK;
}

static Status make_tables(Runner *r, Layout *l) {
    const StmJob *job = l->job;
    l->table_at = calloc((size_t)job->steps + 1, sizeof *l->table_at);
    l->table_calls = calloc((size_t)job->steps + 1, sizeof *l->table_calls);
    l->table_blocks = calloc((size_t)job->steps + 1, sizeof *l->table_blocks);
    if (!l->table_at || !l->table_calls || !l->table_blocks)
        return status_make(STATUS_NO_MEMORY, "no memory for the steps of %s", job->name);
    for (int s = 0; s < job->steps; s++) {
        const StmLaunch *launch = step_launch(r, &job->step[s]);
        l->table_at[s] = l->table_words;
        if (launch && launch->table) l->table_words += table_row(&job->step[s], launch) * step_calls(&job->step[s]);
    }
    if (l->table_words == 0) return STATUS_OK;
    size_t bytes = (size_t)l->table_words * sizeof *l->table;
    l->table = calloc(1, bytes);
    if (!l->table) return status_make(STATUS_NO_MEMORY, "no memory for the steps of %s", job->name);
    for (int s = 0; s < job->steps; s++) {
        const StmLaunch *launch = step_launch(r, &job->step[s]);
        if (launch && launch->table) TRY(fill_table(r, l, s, l->table + l->table_at[s]));
    }
    TRY(gpu_memory(r->gpu, (int64_t)bytes, "tables of calls", &l->table_device));
    TRY_CUDA(r->driver, copy_in, l->table_device, l->table, bytes, r->gpu->compute);
    return STATUS_OK;
}

static Status make_products(Runner *r, Layout *l) {
    const StmJob *job = l->job;
    int count = 0;
    for (int s = 0; s < job->steps; s++)
        if (step_product(r, &job->step[s])) count += step_calls(&job->step[s]);
    if (count == 0) return STATUS_OK;
    l->product = calloc((size_t)count, sizeof *l->product);
    if (!l->product) return status_make(STATUS_NO_MEMORY, "no memory for the steps of %s", job->name);
    for (int s = 0; s < job->steps; s++) {
        const StmStep *step = &job->step[s];
        const StmMatmul *product = step_product(r, step);
        for (int c = 0; product && c < step_calls(step); c++) {
            call_addresses(r, step, c);
            step_parts(r->plan, step, c, r->extent); // sets the extents of the call
            TRY_IN(cublaslt_prepare(&r->gpu->lt, product, r->plan->real, r->address, r->extent,
                                    &l->product[l->products++]),
                   "%s, %s", job->name, step->origin ? step->origin : r->plan->kernel[step->kernel].name);
        }
    }
    return STATUS_OK;
}

// ---- Enqueueing ------------------------------------------------------------------------------------------------

static Status start(Runner *r, const StmStep *step, int64_t blocks) {
    const StmLaunch *launch = step_launch(r, step);
    CuFunction function = NULL;
    if (blocks > INT32_MAX) return too_many_blocks(r, step, blocks);
    TRY(gpu_function(r->gpu, step->kernel, &function));
    TRY_IN(CUDA(r->driver, launch, function, (unsigned)blocks, 1, 1, (unsigned)launch->threads, 1, 1,
                (unsigned)launch->shared, r->gpu->compute, r->parameter, NULL),
           "kernel %s (%s), %lld blocks of %d threads", r->plan->kernel[step->kernel].name, launch->function,
           (long long)blocks, launch->threads);
    return STATUS_OK;
}

static Status launch_table(Runner *r, const Layout *l, int s) {
    const StmStep *step = &l->job->step[s];
    CuAddress table = l->table_device + (CuAddress)l->table_at[s] * sizeof *l->table;
    CuAddress outside = r->outside + (CuAddress)s * sizeof(unsigned);
    int calls = l->table_calls[s];
    if (calls == 0) return STATUS_OK;
    const StmLaunch *launch = step_launch(r, step);
    int n = 0;
    r->parameter[n++] = &table;
    r->parameter[n++] = &calls;
    if (launch->words) r->parameter[n++] = (void *)(uintptr_t)launch->word; // CUDA reads it, no more
    r->parameter[n] = &outside;
    return start(r, step, l->table_blocks[s]);
}

static Status launch_single(Runner *r, const Layout *l, int s, int call) {
    const StmStep *step = &l->job->step[s];
    const StmLaunch *launch = step_launch(r, step);
    CuAddress outside = r->outside + (CuAddress)s * sizeof(unsigned);
    int64_t blocks = step_parts(r->plan, step, call, r->extent);
    if (blocks == 0) return STATUS_OK;
    int args = call_addresses(r, step, call), n = 0;
    for (int a = 0; a < args; a++) r->parameter[n++] = &r->address[a];
    if (launch->words) r->parameter[n++] = (void *)(uintptr_t)launch->word; // CUDA reads it, no more
    for (int i = 0; i < launch->extents; i++) {
        r->number[i] = (int)r->extent[launch->extent[i]];
        r->parameter[n++] = &r->number[i];
    }
    r->parameter[n] = &outside;
    return start(r, step, blocks);
}

static Status enqueue_step(Runner *r, const Layout *l, int s, int *product) {
    const StmStep *step = &l->job->step[s];
    CuStream stream = r->gpu->compute;
    const StmLaunch *launch = step_launch(r, step);
    if (step->kind != STM_RUN) {
        const StmBuffer *to = &l->job->buffer[step->arg[0]];
        size_t bytes = (size_t)buffer_bytes(r->plan, l->job, to, r->extent);
        if (bytes == 0) return STATUS_OK;
        if (step->kind == STM_ZERO) return CUDA(r->driver, fill, buffer_address(r, to), 0, bytes, stream);
        CuAddress from = buffer_address(r, &l->job->buffer[step->arg[1]]);
        return CUDA(r->driver, copy, buffer_address(r, to), from, bytes, stream);
    }
    if (launch && launch->table) return launch_table(r, l, s);
    for (int c = 0; c < step_calls(step); c++) {
        if (launch) TRY(launch_single(r, l, s, c));
        else TRY(cublaslt_enqueue(&r->gpu->lt, &l->product[(*product)++], r->gpu->workspace, stream));
    }
    return STATUS_OK;
}

// Everything of one run after scalars and inputs are there.
static Status enqueue(Runner *r, const Layout *l, bool timed) {
    const StmJob *job = l->job;
    CuStream stream = r->gpu->compute;
    int product = 0;
    if (timed) TRY_CUDA(r->driver, event_record, r->step_event[0], stream);
    for (int s = 0; s < job->steps; s++) {
        const char *origin = job->step[s].origin;
        TRY_IN(enqueue_step(r, l, s, &product), "step %d, %s", s, origin && *origin ? origin : "-");
        if (timed) TRY_CUDA(r->driver, event_record, r->step_event[s + 1], stream);
    }
    for (int o = 0; o < job->outputs; o++) {
        const StmBuffer *buffer = &job->buffer[job->output[o].buffer];
        size_t bytes = (size_t)job_output_bytes(r->plan, job, o, r->extent);
        if (bytes && !buffer_is_input(r, buffer)) // inputs are on the host already
            TRY_CUDA(r->driver, copy_out, r->output + r->output_at[o], buffer_address(r, buffer), bytes, stream);
    }
    if (job->steps)
        TRY_CUDA(r->driver, copy_out, r->outside_host, r->outside, (size_t)job->steps * sizeof(unsigned), stream);
    return STATUS_OK;
}

static Status capture(Runner *r, Layout *l) {
    CuGraph graph = NULL;
    TRY_CUDA(r->driver, capture_begin, r->gpu->compute, CU_CAPTURE_RELAXED);
    Status status = enqueue(r, l, false);
    Status ended = CUDA(r->driver, capture_end, r->gpu->compute, &graph);
    if (status != STATUS_OK) status_drop(ended); // a consequence
    else status = ended;
    if (status == STATUS_OK) status = CUDA(r->driver, graph_make, &l->graph, graph, 0);
    if (graph) r->driver->graph_free(graph);
    return status;
}

// A job that runs once (init, metrics, tests) is not worth a graph; the first run also loads what loads lazily.
Status layout_run(Runner *r, Layout *l) {
    l->used = r->runs;
    if (r->step_event) return enqueue(r, l, true);
    if (l->runs++ == 0) return enqueue(r, l, false);
    if (!l->graph) TRY(capture(r, l));
    return CUDA(r->driver, graph_launch, l->graph, r->gpu->compute);
}

// ---- Finding ---------------------------------------------------------------------------------------------------

static void layout_free(Runner *r, Layout *l) {
    if (l->graph) r->driver->graph_exec_free(l->graph);
    for (int i = 0; i < l->products; i++) cublaslt_product_free(&r->gpu->lt, &l->product[i]);
    gpu_memory_free(r->gpu, &l->table_device, l->table_words * (int64_t)sizeof *l->table);
    free(l->product);
    free(l->table);
    free(l->table_at);
    free(l->table_calls);
    free(l->table_blocks);
    free(l->extent);
    free(l);
}

void layouts_drop(Runner *r, int slot) {
    Layout **at = &r->layouts;
    while (*at) {
        Layout *l = *at;
        if (slot >= 0 && l->slot != slot) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        layout_free(r, l);
    }
}

// Ends the life of the job's least recently used layout when it has too many.
static Status make_room(Runner *r) {
    Layout **oldest = NULL;
    int count = 0;
    for (Layout **at = &r->layouts; *at; at = &(*at)->next) {
        if ((*at)->job != r->job) continue;
        count++;
        if (!oldest || (*at)->used < (*oldest)->used) oldest = at;
    }
    if (count < GRAPHS_OF_A_JOB) return STATUS_OK;
    TRY_CUDA(r->driver, stream_wait, r->gpu->compute); // it may be running
    Layout *l = *oldest;
    *oldest = l->next;
    layout_free(r, l);
    return STATUS_OK;
}

static Status layout_new(Runner *r, Layout **out) {
    size_t bytes = (size_t)(r->plan->axes + 2) * sizeof *r->extent;
    Layout *l = calloc(1, sizeof *l);
    int64_t *extent = malloc(bytes);
    *out = l;
    if (!l || !extent) {
        free(extent);
        return status_make(STATUS_NO_MEMORY, "no memory for the steps of %s", r->job->name);
    }
    memcpy(extent, r->extent, bytes);
    *l = (Layout){.job = r->job, .extent = extent, .slot = slot_of(r)};
    TRY(make_tables(r, l));
    return make_products(r, l);
}

Status layout_find(Runner *r, Layout **out) {
    int slot = slot_of(r);
    for (Layout *l = r->layouts; l; l = l->next)
        if (l->job == r->job && l->slot == slot &&
            memcmp(l->extent, r->extent, (size_t)r->plan->axes * sizeof *r->extent) == 0) {
            *out = l;
            return STATUS_OK;
        }
    TRY(make_room(r));
    Layout *l = NULL;
    Status status = layout_new(r, &l);
    if (status != STATUS_OK) {
        if (l) layout_free(r, l);
        return status;
    }
    l->next = r->layouts;
    r->layouts = l;
    *out = l;
    return STATUS_OK;
}
