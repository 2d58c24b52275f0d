// info: what this executable holds: axes, inputs, settings, parameters, memory, kernels, targets. Text,
// --json, or the plan itself.
#include <stdio.h>
#include <string.h>

#include "../core/json.h"
#include "../device/runner.h"
#include "../report/progress.h"
#include "commands.h"

static bool is_test(const StmJob *job) {
    return strncmp(job->name, "test:", 5) == 0 || strncmp(job->name, "gradient:", 9) == 0;
}

static int64_t tensor_bytes(const Session *s, const StmTensor *tensor) {
    return tensor_elements(tensor, s->machine->bound) * (int64_t)type_size(tensor->type);
}

static int64_t kind_bytes(const Session *s, StmTensorKind kind) {
    int64_t sum = 0;
    for (int t = 0; t < s->plan->tensors; t++)
        if (s->plan->tensor[t].kind == kind) sum += tensor_bytes(s, &s->plan->tensor[t]);
    return sum;
}

static void print_axes(const StmPlan *plan) {
    printf("\naxes\n");
    for (int a = 0; a < plan->axes; a++) {
        const StmAxis *axis = &plan->axis[a];
        char extent[64];
        snprintf(extent, sizeof extent, axis->dynamic ? "any (up to %lld)" : "%lld", (long long)axis->count);
        printf("  %-20s %-18s %s\n", axis->name, extent, axis->doc ? axis->doc : "");
    }
}

static void print_tensors(const Session *s) {
    const StmPlan *plan = s->plan;
    char shape[SHAPE_TEXT];
    printf("\ninputs\n");
    for (int t = 0; t < plan->tensors; t++) {
        const StmTensor *tensor = &plan->tensor[t];
        if (tensor->kind == STM_INPUT && tensor->dataset)
            printf("  %-20s %s[%s] from %s\n", tensor->name, type_name(tensor->type), shape_text(plan, tensor, shape),
                   tensor->dataset);
    }
    printf("\nparameters\n");
    for (int t = 0; t < plan->tensors; t++) {
        const StmTensor *tensor = &plan->tensor[t];
        if (tensor->kind == STM_PARAM)
            printf("  %-44s %-24s %12lld\n", tensor->name, shape_text(plan, tensor, shape),
                   (long long)tensor_elements(tensor, s->machine->bound));
    }
    printf("  %-44s %-24s %12lld\n", "all", "", (long long)session_parameters(s));
}

// A call of the prepare block as it was written: the arguments are the entries NAME.ARGUMENT, tables within have calls
// of their own.
static void print_call(const StmPlan *plan, const char *entry, const char *value) {
    size_t n = strlen(entry);
    bool first = true;
    printf("%s(", value);
    for (int p = 0; p < plan->prepares; p++) {
        const char *name = plan->prepare[p].name, *argument = plan->prepare[p].value;
        if (strncmp(name, entry, n) != 0 || name[n] != '.' || strchr(name + n + 1, '.')) continue;
        bool bare = *argument == '$' || *argument == '@'; // a setting, another line
        printf("%s%s = ", first ? "" : ", ", name + n + 1);
        first = false;
        if (strcmp(name + n + 1, "table") == 0 && !bare) print_call(plan, name, argument);
        else printf("%s", argument + bare);
    }
    printf(")");
}

static void print_prepare(const StmPlan *plan) {
    if (plan->prepares) printf("\nprepare\n");
    for (int p = 0; p < plan->prepares; p++) {
        const char *name = plan->prepare[p].name, *value = plan->prepare[p].value ? plan->prepare[p].value : "";
        if (strchr(name, '.')) continue;
        printf("  %-20s ", name ? name : ""); // as gcc cannot know that entries have names
        if (strcmp(name, "layout") == 0) printf("%s", value + (*value == '$'));
        else print_call(plan, name, value);
        printf("\n");
    }
}

static void print_memory(const Session *s) {
    const StmPlan *plan = s->plan;
    char bytes[BYTES_TEXT];
    printf("\nmemory");
    if (s->batch_axis >= 0)
        printf(" (for %lld %ss at a time)", (long long)plan->axis[s->batch_axis].count, plan->axis[s->batch_axis].name);
    printf("\n  %-44s %s\n", "parameters", bytes_text((double)kind_bytes(s, STM_PARAM), bytes));
    printf("  %-44s %s\n", "state (optimizer, running statistics)",
           bytes_text((double)kind_bytes(s, STM_STATE), bytes));
    for (int j = 0; j < plan->jobs; j++) {
        const StmJob *job = &plan->job[j];
        if (is_test(job)) continue;
        printf("  %-44s %-12s %d steps\n", job->name,
               bytes_text((double)job_arena_bytes(job, s->machine->bound), bytes), job->steps);
    }
}

static int count_tests(const StmPlan *plan) {
    int tests = 0;
    for (int j = 0; j < plan->jobs; j++) tests += is_test(&plan->job[j]);
    return tests;
}

// ---- CUDA ------------------------------------------------------------------------------------------------------

// What the executable holds for GPUs and what this machine has.
typedef struct Cuda {
    StmPlan *plan; // NULL: compiled without the CUDA target
    GpuList list;
    Text code; // "sm_80, sm_90, PTX of 8.0"
} Cuda;

static Status read_cuda(const CommandInput *input, Cuda *cuda) {
    Arena *arena = &input->session->arena;
    const ProgramCode *code = input->code;
    *cuda = (Cuda){0};
    if (code->cuda_plan_size == 0) return STATUS_OK;
    CudaImage image;
    TRY(plan_read(code->cuda_plan, code->cuda_plan_size, arena, &cuda->plan));
    TRY(cuda_image_open(code->cuda.image, code->cuda.image_size, &image));
    cuda_image_archs(&image, &cuda->code);
    TRY(text_status(&cuda->code));
    return gpu_list(cuda->plan, &code->cuda, arena, &cuda->list);
}

static Status print_cuda(const Session *s, const Cuda *cuda, Arena *arena) {
    char bytes[BYTES_TEXT];
    if (!cuda->plan) return STATUS_OK;
    printf("             cuda: %s; %d kernels\n", text_string(&cuda->code), cuda->plan->kernels);
    printf("GPU memory  ");
    for (int j = 0; j < cuda->plan->jobs; j++) {
        int64_t need = 0;
        if (is_test(&cuda->plan->job[j])) continue;
        TRY(gpu_plan_bytes(cuda->plan, &cuda->plan->job[j], s->machine->bound, arena, &need));
        printf(" %s %s", cuda->plan->job[j].name, bytes_text((double)need, bytes));
    }
    printf("\n");
    if (!cuda->list.count) printf("GPUs         none: %s\n", cuda->list.why);
    for (int i = 0; i < cuda->list.count; i++) {
        const GpuInfo *gpu = &cuda->list.gpu[i];
        printf("%-12s cuda:%d %s, capability %d.%d, %s: %s\n", i ? "" : "GPUs", gpu->number, gpu->name,
               gpu->capability / 10, gpu->capability % 10, bytes_text((double)gpu->memory, bytes),
               *gpu->why ? gpu->why : "usable");
    }
    return STATUS_OK;
}

// "cuda": null without the CUDA target.
static Status json_cuda(JsonWriter *w, const Session *s, const Cuda *cuda, Arena *arena) {
    json_key(w, "cuda");
    if (!cuda->plan) {
        json_null(w);
        return STATUS_OK;
    }
    json_begin_object(w);
    json_key(w, "code"), json_string(w, text_string(&cuda->code));
    json_key(w, "kernels"), json_integer(w, cuda->plan->kernels);
    json_key(w, "driver"), json_integer(w, cuda->list.driver);
    json_key(w, "no_device"), json_string(w, cuda->list.why);
    json_key(w, "memory");
    json_begin_object(w);
    for (int j = 0; j < cuda->plan->jobs; j++) {
        int64_t need = 0;
        if (is_test(&cuda->plan->job[j])) continue;
        TRY(gpu_plan_bytes(cuda->plan, &cuda->plan->job[j], s->machine->bound, arena, &need));
        json_key(w, cuda->plan->job[j].name), json_integer(w, need);
    }
    json_end_object(w);
    json_key(w, "devices");
    json_begin_array(w);
    for (int i = 0; i < cuda->list.count; i++) {
        const GpuInfo *gpu = &cuda->list.gpu[i];
        char capability[16], device[DEVICE_TEXT];
        snprintf(capability, sizeof capability, "%d.%d", gpu->capability / 10, gpu->capability % 10);
        snprintf(device, sizeof device, "cuda:%d", gpu->number);
        json_begin_object(w);
        json_key(w, "device"), json_string(w, device);
        json_key(w, "name"), json_string(w, gpu->name);
        json_key(w, "capability"), json_string(w, capability);
        json_key(w, "multiprocessors"), json_integer(w, gpu->multiprocessors);
        json_key(w, "memory"), json_integer(w, gpu->memory);
        json_key(w, "usable"), json_bool(w, !*gpu->why);
        json_key(w, "why"), json_string(w, gpu->why);
        json_end_object(w);
    }
    json_end_array(w);
    json_end_object(w);
    return STATUS_OK;
}

// ---- Text ------------------------------------------------------------------------------------------------------

static Status print_text(const Session *s, const CommandInput *input, const Cuda *cuda) {
    const StmPlan *plan = s->plan;
    printf("%s%s%s\ncompiled by stmc %s, %s\n", plan->name, plan->doc ? ": " : "", plan->doc ? plan->doc : "",
           plan->version, type_name(plan->real));
    print_axes(plan);
    if (plan->options) printf("\noptions, fixed when compiled\n");
    for (int i = 0; i < plan->options; i++)
        printf("  %-20s %s\n", plan->option[i].name, plan->option[i].value ? plan->option[i].value : "");
    if (plan->settings) printf("\nsettings, flags of the commands\n");
    for (int i = 0; i < plan->settings; i++) {
        char number[NUMBER_TEXT];
        number_f64(plan->setting[i].value, number);
        printf("  %-20s %-18s %s\n", plan->setting[i].name,
               plan->setting[i].is_text ? (plan->setting[i].text ? plan->setting[i].text : "") : number,
               plan->setting[i].doc ? plan->setting[i].doc : "");
    }
    print_prepare(plan);
    print_tensors(s);
    print_memory(s);
    printf("\nkernels      %d%s", plan->kernels, count_tests(plan) ? "" : "\n");
    if (count_tests(plan)) printf(", tests %d\n", count_tests(plan));
    bool host = kernels_have_code(plan, input->code->kernels);
    printf("targets      cpu: %s\n",
           host ? "x86-64-v2 (SSE4.2), x86-64-v3 (AVX2), x86-64-v4 (AVX-512)" : "none (compiled for CUDA alone)");
    TRY(print_cuda(s, cuda, &input->session->arena));
    printf("this machine %s, %d thread%s\n", isa_name(s->machine->isa), pool_threads(s->pool),
           pool_threads(s->pool) == 1 ? "" : "s");
    return STATUS_OK;
}

// ---- JSON ------------------------------------------------------------------------------------------------------

static void json_shape(JsonWriter *w, const Session *s, const StmTensor *tensor, bool names) {
    json_begin_array(w);
    for (int d = 0; d < tensor->rank; d++) {
        int axis = tensor->dim[d].axis;
        if (names && axis >= 0 && s->plan->axis[axis].dynamic) json_string(w, s->plan->axis[axis].name);
        else json_integer(w, extent_of(tensor->dim[d], s->machine->bound));
    }
    json_end_array(w);
}

static void json_tensors(JsonWriter *w, const Session *s, StmTensorKind kind) {
    json_begin_array(w);
    for (int t = 0; t < s->plan->tensors; t++) {
        const StmTensor *tensor = &s->plan->tensor[t];
        if (tensor->kind != kind || (kind == STM_INPUT && !tensor->dataset)) continue;
        json_begin_object(w);
        json_key(w, "name"), json_string(w, tensor->name);
        json_key(w, "type"), json_string(w, type_name(tensor->type));
        json_key(w, "shape"), json_shape(w, s, tensor, kind == STM_INPUT);
        if (kind == STM_INPUT) json_key(w, "dataset"), json_string(w, tensor->dataset);
        else json_key(w, "elements"), json_integer(w, tensor_elements(tensor, s->machine->bound));
        if (kind == STM_STATE) json_key(w, "weight"), json_bool(w, tensor->weight);
        json_end_object(w);
    }
    json_end_array(w);
}

static void json_settings(JsonWriter *w, const StmPlan *plan) {
    json_begin_object(w);
    for (int i = 0; i < plan->settings; i++) {
        const StmSetting *setting = &plan->setting[i];
        json_key(w, setting->name);
        json_begin_object(w);
        json_key(w, "default");
        if (setting->is_text) json_string(w, setting->text ? setting->text : "");
        else if (setting->is_integer) json_integer(w, (int64_t)setting->value);
        else json_number(w, setting->value);
        if (setting->ranged) {
            json_key(w, "low"), json_number(w, setting->low);
            json_key(w, "high"), json_number(w, setting->high);
        }
        json_key(w, "doc"), json_string(w, setting->doc ? setting->doc : "");
        json_end_object(w);
    }
    json_end_object(w);
}

static Status print_json(const Session *s, const CommandInput *input, const Cuda *cuda) {
    const StmPlan *plan = s->plan;
    JsonWriter writer = json_writer(2), *w = &writer;
    json_begin_object(w);
    json_key(w, "program"), json_string(w, plan->name);
    json_key(w, "doc"), json_string(w, plan->doc ? plan->doc : "");
    json_key(w, "stmc"), json_string(w, plan->version);
    json_key(w, "real"), json_string(w, type_name(plan->real));
    json_key(w, "axes");
    json_begin_array(w);
    for (int a = 0; a < plan->axes; a++) {
        json_begin_object(w);
        json_key(w, "name"), json_string(w, plan->axis[a].name);
        json_key(w, "dynamic"), json_bool(w, plan->axis[a].dynamic);
        json_key(w, plan->axis[a].dynamic ? "bound" : "extent"), json_integer(w, plan->axis[a].count);
        json_key(w, "doc"), json_string(w, plan->axis[a].doc ? plan->axis[a].doc : "");
        json_end_object(w);
    }
    json_end_array(w);
    json_key(w, "prepare"); // as the plan has it: {"tiles": "tile", "tiles.size": "78", ...}
    json_begin_object(w);
    for (int i = 0; i < plan->prepares; i++) {
        json_key(w, plan->prepare[i].name);
        json_string(w, plan->prepare[i].value ? plan->prepare[i].value : "");
    }
    json_end_object(w);
    json_key(w, "options");
    json_begin_object(w);
    for (int i = 0; i < plan->options; i++) {
        json_key(w, plan->option[i].name);
        json_string(w, plan->option[i].value ? plan->option[i].value : "");
    }
    json_end_object(w);
    json_key(w, "settings"), json_settings(w, plan);
    json_key(w, "inputs"), json_tensors(w, s, STM_INPUT);
    json_key(w, "parameters"), json_tensors(w, s, STM_PARAM);
    json_key(w, "state"), json_tensors(w, s, STM_STATE);
    json_key(w, "parameter_count"), json_integer(w, session_parameters(s));
    json_key(w, "memory");
    json_begin_object(w);
    json_key(w, "parameters"), json_integer(w, kind_bytes(s, STM_PARAM));
    json_key(w, "state"), json_integer(w, kind_bytes(s, STM_STATE));
    json_key(w, "jobs");
    json_begin_object(w);
    for (int j = 0; j < plan->jobs; j++)
        if (!is_test(&plan->job[j]))
            json_key(w, plan->job[j].name), json_integer(w, job_arena_bytes(&plan->job[j], s->machine->bound));
    json_end_object(w);
    json_end_object(w);
    json_key(w, "kernels"), json_integer(w, plan->kernels);
    json_key(w, "tests"), json_integer(w, count_tests(plan));
    json_key(w, "targets");
    json_begin_array(w);
    static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
    for (int i = 0; i < 3 && kernels_have_code(plan, input->code->kernels); i++) json_string(w, levels[i]);
    if (cuda->plan) json_string(w, "cuda");
    json_end_array(w);
    json_key(w, "instruction_set"), json_string(w, isa_name(s->machine->isa));
    json_key(w, "threads"), json_integer(w, pool_threads(s->pool));
    Status status = json_cuda(w, s, cuda, &input->session->arena);
    json_end_object(w);
    if (status == STATUS_OK) status = text_status(&w->text);
    if (status == STATUS_OK) puts(text_string(&w->text));
    json_writer_free(w);
    return status;
}

Status command_info(const CommandInput *input) {
    if (input->options->plan && input->options->json)
        return status_make(STATUS_INVALID, "info: --json and --plan are two forms of output; give one of them");
    if (input->options->plan) {
        const char *device = input->options->device;
        bool cuda = device && strncmp(device, "cuda", 4) == 0;
        fwrite(cuda ? input->code->cuda_plan : input->plan_text, 1,
               cuda ? input->code->cuda_plan_size : input->plan_size, stdout);
        return STATUS_OK;
    }
    Cuda cuda;
    TRY(session_start(input->session, input->code->kernels, 0));
    Status status = read_cuda(input, &cuda);
    if (status == STATUS_OK)
        status =
            input->options->json ? print_json(input->session, input, &cuda) : print_text(input->session, input, &cuda);
    text_free(&cuda.code);
    return status;
}
