// tests: the spec's test blocks, compiled into jobs "test:TITLE" whose outputs come in threes: check.N.left,
// check.N.right and check.N.tolerance. A check holds when |left - right| <= tolerance * (1 + |right|) for
// every element; two nan are equal. `check gradients` becomes a job "gradient:TITLE" with the outputs
// fd.loss, fd.tolerance and one fd.grad.PARAMETER for everything that may be varied: each is compared with
// the central difference of the loss.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"

typedef struct Check {
    int left, right, tolerance; // outputs
} Check;

static Status find_check(const StmJob *job, int number, Check *out) {
    char name[64];
    static const char *const parts[3] = {"left", "right", "tolerance"};
    int found[3];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "check.%d.%s", number, parts[i]);
        found[i] = job_output(job, name);
    }
    *out = (Check){found[0], found[1], found[2]};
    if ((found[0] < 0) != (found[1] < 0) || (found[0] < 0) != (found[2] < 0))
        return status_make(STATUS_INTERNAL, "%s: check %d is incomplete (this is a bug in stmc)", job->name, number);
    return STATUS_OK;
}

// Prints the worst element of a check that fails; true when it holds.
static bool holds(const Machine *m, const StmJob *job, const Check *check, int number) {
    const StmTensor *left = machine_output_tensor(m, job, check->left),
                    *right = machine_output_tensor(m, job, check->right);
    const StmTensor *tolerance = machine_output_tensor(m, job, check->tolerance);
    const void *l = machine_output(m, check->left), *r = machine_output(m, check->right);
    double allowed = element_value(tolerance->type, machine_output(m, check->tolerance), 0);
    int64_t count = tensor_elements(left, m->extent), others = tensor_elements(right, m->extent), bad = 0, worst = 0;
    double most = -1;
    if (count != others && others != 1) {
        printf("  check %d: %lld values against %lld\n", number, (long long)count, (long long)others);
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        double a = element_value(left->type, l, i), b = element_value(right->type, r, others == 1 ? 0 : i);
        if (a == b || (isnan(a) && isnan(b))) continue; // a == b: equal infinities
        double difference = fabs(a - b);
        if (difference <= allowed * (1 + fabs(b))) continue;
        bad++;
        if (isnan(difference) ? !isnan(most) : difference > most) {
            most = difference;
            worst = i;
        }
    }
    if (!bad) return true;
    printf("  check %d: %lld of %lld elements differ; the worst is element %lld: %.9g against %.9g, difference %.3g, "
           "allowed %.3g\n",
           number, (long long)bad, (long long)count, (long long)worst, element_value(left->type, l, worst),
           element_value(right->type, r, others == 1 ? 0 : worst), most,
           allowed * (1 + fabs(element_value(right->type, r, others == 1 ? 0 : worst))));
    return false;
}

static int count_checks(const StmJob *job) {
    int most = -1, number = 0;
    for (int o = 0; o < job->outputs; o++)
        if (sscanf(job->output[o].name, "check.%d.", &number) == 1 && number > most) most = number;
    return most + 1;
}

// First values from seed 0, and the scalars of the first step of a training of 100 epochs.
static Status start(Session *s, const StmJob *job) {
    TRY(session_init(s, 0));
    session_settings(s);
    session_scalar(s, "step", 1);
    session_scalar(s, "epoch", 0);
    session_scalar(s, "epochs", 100);
    session_scalar(s, "steps", 1);
    TRY(machine_prepare(s->machine, job, s->machine->bound));
    TRY_IN(machine_run(s->machine), "%s", job->name);
    return machine_wait(s->machine);
}

static Status run_test(const CommandInput *input, const StmJob *job, bool *out_passed) {
    Session *s = input->session;
    TRY(start(s, job));
    int checks = count_checks(job), seen = 0;
    bool passed = true;
    for (int n = 0; n < checks; n++) {
        Check check;
        TRY(find_check(job, n, &check));
        if (check.left < 0) continue;
        seen++;
        passed = holds(s->machine, job, &check, n) && passed;
    }
    if (!seen) printf("  it checks nothing\n");
    *out_passed = passed && seen > 0;
    return STATUS_OK;
}

// ---- gradients

enum { MOST_VARIED = 24, MOST_SHOWN = 3 }; // elements of a parameter that are varied; mistakes that are printed

typedef struct Varied {
    const char *name;
    double *value, *gradient; // the parameter itself; a copy of what the job computed
    int64_t count;
} Varied;

static Status run_loss(const CommandInput *input, int loss, double *out) {
    TRY(machine_run(input->session->machine));
    TRY(machine_wait(input->session->machine));
    *out = *(const double *)machine_output(input->session->machine, loss);
    return STATUS_OK;
}

static Status vary(const CommandInput *input, int loss, double tolerance, const Varied *v, int64_t *mistakes) {
    int64_t stride = v->count > MOST_VARIED ? v->count / MOST_VARIED : 1;
    for (int64_t i = 0; i < v->count; i += stride) {
        double x = v->value[i], h = 1e-5 * fmax(1, fabs(x)), above, below;
        v->value[i] = x + h;
        TRY(machine_push(input->session->machine));
        TRY(run_loss(input, loss, &above));
        v->value[i] = x - h;
        TRY(machine_push(input->session->machine));
        TRY(run_loss(input, loss, &below));
        v->value[i] = x;
        TRY(machine_push(input->session->machine));
        double difference = (above - below) / (2 * h), gradient = v->gradient[i];
        if (fabs(difference - gradient) <= tolerance * fmax(1, fabs(gradient))) continue;
        if (++*mistakes <= MOST_SHOWN)
            printf("  %s, element %lld: gradient %.9g, central difference %.9g\n", v->name, (long long)i, gradient,
                   difference);
    }
    return STATUS_OK;
}

static Status run_gradient(const CommandInput *input, const StmJob *job, bool *out_passed) {
    Session *s = input->session;
    Machine *m = s->machine;
    const StmPlan *plan = s->plan;
    static const char prefix[] = "fd.grad.";
    int loss = job_output(job, "fd.loss"), tolerance = job_output(job, "fd.tolerance"), varied = 0;
    if (plan->real != STM_F64) return status_make(STATUS_UNSUPPORTED, "gradients are checked in f64: --precision f64");
    if (loss < 0 || tolerance < 0)
        return status_make(STATUS_INTERNAL, "%s is incomplete (this is a bug in stmc)", job->name);
    TRY(start(s, job));
    Varied *list;
    TRY(ARENA_NEW(&s->arena, list, (size_t)job->outputs + 1));
    for (int o = 0; o < job->outputs; o++) {
        if (strncmp(job->output[o].name, prefix, sizeof prefix - 1) != 0) continue;
        Varied *v = &list[varied++];
        v->name = job->output[o].name + sizeof prefix - 1;
        int tensor = plan_tensor(plan, STM_PARAM, v->name);
        if (tensor < 0)
            return status_make(STATUS_INTERNAL, "%s: no parameter %s (this is a bug in stmc)", job->name, v->name);
        v->value = m->block[tensor];
        v->count = tensor_elements(&plan->tensor[tensor], m->extent);
        TRY(ARENA_NEW(&s->arena, v->gradient, (size_t)v->count + 1));
        memcpy(v->gradient, machine_output(m, o), (size_t)v->count * sizeof(double));
    }
    double allowed = *(const double *)machine_output(m, tolerance);
    TRY(machine_pull(m));
    int64_t mistakes = 0;
    for (int i = 0; i < varied; i++) TRY_IN(vary(input, loss, allowed, &list[i], &mistakes), "%s", job->name);
    if (mistakes > MOST_SHOWN) printf("  … and %lld more\n", (long long)(mistakes - MOST_SHOWN));
    if (!varied) printf("  it varies nothing\n");
    *out_passed = varied > 0 && mistakes == 0;
    return STATUS_OK;
}

Status command_test(const CommandInput *input, int *out_failed) {
    int passed = 0, failed = 0;
    TRY(command_start(input));
    for (int j = 0; j < input->session->plan->jobs; j++) {
        const StmJob *job = &input->session->plan->job[j];
        bool values = strncmp(job->name, "test:", 5) == 0, gradients = strncmp(job->name, "gradient:", 9) == 0;
        if (!values && !gradients) continue;
        bool good = false;
        Status status = values ? run_test(input, job, &good) : run_gradient(input, job, &good);
        if (status != STATUS_OK) {
            printf("  %s\n", status_message(status));
            status_drop(status);
        }
        printf("%s %s%s\n", good ? "passed" : "FAILED", job->name + (values ? 5 : 9), values ? "" : " (gradients)");
        if (good) passed++;
        else failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    *out_failed = failed;
    return STATUS_OK;
}
