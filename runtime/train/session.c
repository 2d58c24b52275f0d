// session: see session.h.
#include "session.h"

#include <stdio.h>
#include <string.h>

// The dynamic axis in front of the inputs that come from the store. Several different ones cannot be fed row
// by row.
static Status find_batch_axis(Session *s) {
    const StmPlan *plan = s->plan;
    s->batch_axis = -1;
    for (int t = 0; t < plan->tensors; t++) {
        const StmTensor *tensor = &plan->tensor[t];
        if (tensor->kind != STM_INPUT || !tensor->dataset) continue;
        if (tensor->rank == 0 || tensor->dim[0].axis < 0 || tensor->dim[0].count != 1 ||
            !plan->axis[tensor->dim[0].axis].dynamic)
            return status_make(STATUS_UNSUPPORTED,
                               "input %s does not have a dynamic axis in front; this runtime feeds inputs row by "
                               "row along one dynamic axis",
                               tensor->name);
        int axis = tensor->dim[0].axis;
        if (s->batch_axis >= 0 && s->batch_axis != axis)
            return status_make(STATUS_UNSUPPORTED,
                               "inputs have different axes in front (%s and %s); this runtime feeds inputs row "
                               "by row along one dynamic axis",
                               plan->axis[s->batch_axis].name, plan->axis[axis].name);
        s->batch_axis = axis;
    }
    return STATUS_OK;
}

Status session_open(Session *session, const char *plan_text, size_t plan_size) {
    *session = (Session){.batch_axis = -1};
    arena_init(&session->arena);
    TRY(plan_read(plan_text, plan_size, &session->arena, &session->plan));
    const StmPlan *plan = session->plan;
    TRY(ARENA_NEW(&session->arena, session->setting, (size_t)plan->settings + 1));
    TRY(ARENA_NEW(&session->arena, session->setting_text, (size_t)plan->settings + 1));
    TRY(ARENA_NEW(&session->arena, session->setting_given, (size_t)plan->settings + 1));
    for (int i = 0; i < plan->settings; i++) {
        session->setting[i] = plan->setting[i].value;
        session->setting_text[i] = plan->setting[i].text;
    }
    return find_batch_axis(session);
}

Status session_start(Session *session, const StmKernelEntry *kernels, int threads) {
    Isa isa = ISA_V2;
    TRY(choose_isa(&isa));
    TRY(pool_new(threads > 0 ? threads : usable_threads(), &session->pool));
    TRY(machine_new(session->plan, kernels, isa, session->pool, &session->arena, &session->machine));
    session_settings(session);
    return STATUS_OK;
}

// ---- Devices ---------------------------------------------------------------------------------------------------

static int next_kept(const StmPlan *plan, int tensor) { // after `tensor`, not a temporary
    do tensor++;
    while (tensor < plan->tensors && plan->tensor[tensor].kind == STM_TEMP);
    return tensor;
}

// Both plans are of one program: what outlives a job is the same. An executable in which it is not is broken.
static Status check_same(const StmPlan *host, const StmPlan *cuda) {
    bool same = host->axes == cuda->axes && host->settings == cuda->settings && host->jobs == cuda->jobs;
    int h = next_kept(host, -1), c = next_kept(cuda, -1);
    for (; same && h < host->tensors && c < cuda->tensors; h = next_kept(host, h), c = next_kept(cuda, c)) {
        const StmTensor *a = &host->tensor[h], *b = &cuda->tensor[c];
        same = strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->type == b->type && a->rank == b->rank;
    }
    same = same && h == host->tensors && c == cuda->tensors;
    for (int j = 0; same && j < host->jobs; j++) same = strcmp(host->job[j].name, cuda->job[j].name) == 0;
    if (same) return STATUS_OK;
    return status_make(STATUS_INTERNAL, "the plans for CPU and CUDA are of different programs (this is a bug in stmc)");
}

static Status start_cuda(Session *s, const ProgramCode *code, int number) {
    StmPlan *plan = NULL;
    if (code->cuda_plan_size == 0)
        return status_make(STATUS_UNSUPPORTED, "%s was compiled for the CPU only; compile it with --target cpu,cuda",
                           s->plan->name);
    TRY(plan_read(code->cuda_plan, code->cuda_plan_size, &s->arena, &plan));
    TRY(check_same(s->plan, plan));
    TRY(gpu_open(plan, &code->cuda, number, &s->arena, &s->gpu));
    Status status = machine_new_on(s->gpu, &s->arena, &s->machine);
    if (status != STATUS_OK) {
        gpu_close(s->gpu);
        s->gpu = NULL;
        return status;
    }
    s->plan = plan;
    return STATUS_OK;
}

Status session_start_on(Session *session, const ProgramCode *code, const char *device, int threads, Text *note) {
    bool host = kernels_have_code(session->plan, code->kernels), automatic = !device || strcmp(device, "auto") == 0;
    int64_t number = -1;
    if (automatic && code->cuda_plan_size == 0) device = "cpu";
    if (device && strcmp(device, "cpu") == 0) {
        if (host) return session_start(session, code->kernels, threads);
        return status_make(STATUS_UNSUPPORTED,
                           "%s was compiled for CUDA alone; use --device cuda on a machine with a GPU, or compile it "
                           "with --target cpu,cuda",
                           session->plan->name);
    }
    if (!automatic && device[4] == ':' &&
        (!parse_i64(device + 5, strlen(device + 5), &number) || number < 0 || number > 1023))
        return status_make(STATUS_INVALID, "--device %s: a GPU's number follows cuda:, such as cuda:0", device);
    TRY(pool_new(threads > 0 ? threads : usable_threads(), &session->pool));
    Status status = start_cuda(session, code, (int)number);
    if (status == STATUS_OK) {
        session_settings(session);
        return STATUS_OK;
    }
    if (!automatic) return status_context(status, "--device %s", device);
    // What is wrong with the executable itself is told; a machine without a usable GPU is what auto is for.
    bool broken = status_code(status) == STATUS_INTERNAL || status_code(status) == STATUS_MALFORMED;
    if (!host || broken)
        return host ? status
                    : status_context(status, "%s was compiled for CUDA alone and no GPU can be used",
                                     session->plan->name);
    text_printf(note, "%s", status_message(status));
    status_drop(status);
    pool_free(session->pool);
    session->pool = NULL;
    return session_start(session, code->kernels, threads);
}

const char *session_device(const Session *session, char text[DEVICE_TEXT]) {
    if (session->gpu) snprintf(text, DEVICE_TEXT, "cuda:%d", session->gpu->info.number);
    else snprintf(text, DEVICE_TEXT, "cpu");
    return text;
}

const char *session_device_name(const Session *session) {
    return session->gpu ? session->gpu->info.name : isa_name(session->machine->isa);
}

void session_close(Session *session) {
    machine_free(session->machine);
    gpu_close(session->gpu);
    pool_free(session->pool);
    arena_free(&session->arena);
    *session = (Session){.batch_axis = -1};
}

void session_scalar(Session *session, const char *name, double value) {
    machine_set_scalar(session->machine, plan_tensor(session->plan, STM_SCALAR, name), value);
}

void session_settings(Session *session) {
    for (int i = 0; i < session->plan->settings; i++)
        if (!session->plan->setting[i].is_text)
            machine_set_scalar(session->machine, session->plan->setting[i].scalar, session->setting[i]);
}

Status session_init(Session *session, uint32_t seed) {
    const StmJob *job = plan_job(session->plan, "init");
    session_scalar(session, "seed", (double)seed);
    if (!job) return STATUS_OK; // a program without parameters
    TRY(machine_prepare(session->machine, job, session->machine->bound));
    TRY(machine_run(session->machine));
    return machine_wait(session->machine);
}

void session_extents(const Session *session, int64_t rows, int64_t *extent) {
    axis_counts(session->plan, extent);
    if (session->batch_axis >= 0) extent[session->batch_axis] = rows;
}

const char *session_row_name(const Session *session) {
    return session->batch_axis < 0 ? "row" : session->plan->axis[session->batch_axis].name;
}

int64_t session_parameters(const Session *session) {
    int64_t sum = 0;
    for (int t = 0; t < session->plan->tensors; t++)
        if (session->plan->tensor[t].kind == STM_PARAM)
            sum += tensor_elements(&session->plan->tensor[t], session->machine->bound);
    return sum;
}

bool is_weight(const StmTensor *tensor) {
    return tensor->kind == STM_PARAM || (tensor->kind == STM_STATE && tensor->weight);
}

ElementType element_of(StmType type) {
    switch (type) {
    case STM_F32: return ELEMENT_F32;
    case STM_F64: return ELEMENT_F64;
    case STM_I32: return ELEMENT_I32;
    case STM_I64: return ELEMENT_I64;
    case STM_BOOL: return ELEMENT_BOOL;
    case STM_BF16: return ELEMENT_BF16;
    default: return ELEMENT_U8;
    }
}
