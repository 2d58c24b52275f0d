// info: what this executable holds: axes, inputs, settings, parameters, memory, kernels, targets. Text,
// --json, or the plan itself.
#include <stdio.h>
#include <string.h>

#include "../core/json.h"
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

static void print_text(const Session *s) {
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
    print_tensors(s);
    print_memory(s);
    printf("\nkernels      %d%s", plan->kernels, count_tests(plan) ? "" : "\n");
    if (count_tests(plan)) printf(", tests %d\n", count_tests(plan));
    printf("targets      cpu: x86-64-v2 (SSE4.2), x86-64-v3 (AVX2), x86-64-v4 (AVX-512)\n");
    printf("this machine %s, %d thread%s\n", isa_name(s->machine->isa), pool_threads(s->pool),
           pool_threads(s->pool) == 1 ? "" : "s");
}

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

static Status print_json(const Session *s) {
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
    json_string(w, "x86-64-v2");
    json_string(w, "x86-64-v3");
    json_string(w, "x86-64-v4");
    json_end_array(w);
    json_key(w, "instruction_set"), json_string(w, isa_name(s->machine->isa));
    json_key(w, "threads"), json_integer(w, pool_threads(s->pool));
    json_end_object(w);
    Status status = text_status(&w->text);
    if (status == STATUS_OK) puts(text_string(&w->text));
    json_writer_free(w);
    return status;
}

Status command_info(const CommandInput *input) {
    if (input->options->plan && input->options->json)
        return status_make(STATUS_INVALID, "info: --json and --plan are two forms of output; give one of them");
    if (input->options->plan) {
        fwrite(input->plan_text, 1, input->plan_size, stdout);
        return STATUS_OK;
    }
    TRY(session_start(input->session, input->kernels, 0));
    if (input->options->json) return print_json(input->session);
    print_text(input->session);
    return STATUS_OK;
}
