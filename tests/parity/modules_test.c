// One family of modules.safetensors, compiled by stmc (the spec is modules_spec.c's), against the recording:
// outputs in prediction and training, every gradient, running statistics, optimiser trajectories, rates of
// schedules.
//
// usage: modules_test DIRECTORY FAMILY [-v]
//
// Compared relative to the largest recorded element: 1e-12 in f64, 1e-5 in f32. Not-a-number must meet
// not-a-number.
#include "harness.h"
#include "modules_cases.h"
#include "reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Test {
    Harness program;
    Tally tally;
    const Reference *reference;
    const char *family;
    double limit;
} Test;

static void stop(const char *what, const char *name) {
    printf("FAILED %s %s\n", what, name);
    exit(1);
}

static double *doubles(const ReferenceTensor *t) {
    double *values = malloc((size_t)t->count * sizeof *values);
    if (!values) stop("out of", "memory");
    bool integer = t->dtype[0] == 'I';
    for (int64_t i = 0; i < t->count; i++)
        values[i] = integer ? (double)((const int64_t *)t->data)[i] : ((const double *)t->data)[i];
    return values;
}

static double relative_difference(const double *found, const double *expected, int64_t n) {
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(expected[i]) && isnan(found[i])) continue;
        double d = fabs(found[i] - expected[i]);
        if (!(d <= worst)) worst = d;
        if (isnan(worst)) return worst;
        if (fabs(expected[i]) > largest) largest = fabs(expected[i]);
    }
    return worst > 0 ? worst / largest : 0;
}

static void compare(Test *t, const char *key, const char *from, const double *found, int64_t count,
                    const double *expected, int64_t expected_count) {
    char what[320];
    snprintf(what, sizeof what, "%s%s%s", key, *from ? ", " : "", from);
    tally_check(&t->tally, what, count == expected_count ? relative_difference(found, expected, count) : NAN, t->limit);
}

// "CASE/GROUP/WHAT" of a tensor of this case: its group (copied) and WHAT; false for other cases.
static bool split(const ReferenceTensor *tensor, const char *name, char group[32], const char **what) {
    size_t n = strlen(name);
    const char *rest = tensor->name + n + 1, *slash;
    if (strncmp(tensor->name, name, n) || tensor->name[n] != '/' || !(slash = strchr(rest, '/')) || slash - rest > 31)
        return false;
    memcpy(group, rest, (size_t)(slash - rest));
    group[slash - rest] = 0;
    *what = slash + 1;
    return true;
}

static int find_any(const Test *t, const char *name) {
    static const StmTensorKind kinds[] = {STM_PARAM, STM_STATE, STM_INPUT};
    for (int k = 0; k < 3; k++) {
        int tensor = harness_find(&t->program, kinds[k], name);
        if (tensor >= 0) return tensor;
    }
    return -1;
}

// Calls `visit` for each tensor of each case of the family.
typedef void (*Visit)(Test *t, const Recipe *recipe, const char *id, const ReferenceTensor *tensor, const char *group,
                      const char *what);

static void each(Test *t, Visit visit) {
    for (int r = 0; r < RECIPES; r++) {
        char id[RECIPE_ID], group[32];
        const char *what;
        if (strcmp(recipes[r].family, t->family)) continue;
        recipe_id(recipes[r].name, id);
        for (size_t i = 0; i < reference_count(t->reference); i++) {
            const ReferenceTensor *tensor = reference_at(t->reference, i);
            if (split(tensor, recipes[r].name, group, &what)) visit(t, &recipes[r], id, tensor, group, what);
        }
    }
}

static void write_tensor(Test *t, const char *name, const ReferenceTensor *from) {
    int tensor = find_any(t, name);
    if (tensor < 0) stop("the program has no tensor", name);
    if (harness_elements(&t->program, tensor) != from->count) stop("another size than recorded:", name);
    double *values = doubles(from);
    harness_write(&t->program, tensor, values);
    free(values);
}

static void give(Test *t, const Recipe *recipe, const char *id, const ReferenceTensor *tensor, const char *group,
                 const char *what) {
    (void)recipe;
    char name[256];
    if (!strcmp(group, "input")) snprintf(name, sizeof name, "%s_%s", id, what);
    else if (!strcmp(group, "param") || !strcmp(group, "before")) snprintf(name, sizeof name, "%s.%s", id, what);
    else if (!strcmp(group, "cotangent") && (tensor->rank > 1 || tensor->count > 1))
        snprintf(name, sizeof name, "%s_%s_cotangent", id, what);
    else return;
    write_tensor(t, name, tensor);
}

static void compare_state(Test *t, const ReferenceTensor *tensor, const char *name, const char *from) {
    int state = find_any(t, name);
    if (state < 0) stop("the program has no tensor", name);
    double *expected = doubles(tensor), *found = harness_read(&t->program, state);
    compare(t, tensor->name, from, found, harness_elements(&t->program, state), expected, tensor->count);
    free(expected);
    free(found);
}

// A batch norm that is recorded in training mode gives something else in prediction.
static bool training_only(const char *name) {
    return !strncmp(name, "batchnorm", 9) && !strstr(name, ".eval");
}

static void after_predict(Test *t, const Recipe *recipe, const char *id, const ReferenceTensor *tensor,
                          const char *group, const char *what) {
    char name[256];
    int64_t count;
    if (strcmp(group, "output") || training_only(recipe->name)) return;
    snprintf(name, sizeof name, "%s_%s", id, what);
    double *expected = doubles(tensor), *found = harness_output(&t->program, name, &count);
    compare(t, tensor->name, "predict", found, count, expected, tensor->count);
    free(expected);
    free(found);
}

static void after_train(Test *t, const Recipe *recipe, const char *id, const ReferenceTensor *tensor, const char *group,
                        const char *what) {
    (void)recipe;
    char name[256];
    if (!strcmp(group, "output")) {
        snprintf(name, sizeof name, "%s_%s_kept", id, what);
        compare_state(t, tensor, name, "train");
    } else if (!strcmp(group, "grad")) {
        snprintf(name, sizeof name, "optimizer.%s_%s.gradient", id,
                 what); // of an input that is a parameter here
        if (find_any(t, name) < 0) snprintf(name, sizeof name, "optimizer.%s.%s.gradient", id, what);
        compare_state(t, tensor, name, "");
    } else if (!strcmp(group, "after")) {
        snprintf(name, sizeof name, "%s.%s", id, what);
        compare_state(t, tensor, name, "");
    }
}

static void test_modules(Test *t) {
    each(t, give);
    harness_run(&t->program, "predict");
    each(t, after_predict);
    if (!plan_job(t->program.plan, "train")) return;
    harness_scalar(&t->program, "step", 1);
    harness_run(&t->program, "train");
    each(t, after_train);
}

// ---- optimisers
// ------------------------------------------------------------------------------------------------

static const ReferenceTensor *need(const Test *t, const Recipe *recipe, const char *what) {
    char key[256];
    snprintf(key, sizeof key, "%s/%s", recipe->name, what);
    const ReferenceTensor *tensor = reference_find(t->reference, key);
    if (!tensor) stop("modules.safetensors lacks", key);
    return tensor;
}

static void optimizer_start(Test *t, const Recipe *recipe, const char *id, const ReferenceTensor *tensor,
                            const char *group, const char *what) {
    char name[256];
    if (!strcmp(group, "output") && !strcmp(what, "w")) { // row 0
        snprintf(name, sizeof name, "%s_w", id);
        harness_write(&t->program, harness_need(&t->program, STM_PARAM, name), tensor->data);
    } else if (!strcmp(group, "attr") && !strcmp(what, "initial_accumulator_value")) {
        double *start = doubles(tensor), values[7];
        for (int i = 0; i < 7; i++) values[i] = *start;
        snprintf(name, sizeof name, "optimizer.%s_w.sum_of_squares", id);
        harness_write(&t->program, harness_need(&t->program, STM_STATE, name), values);
        free(start);
    }
    (void)recipe;
}

static void optimizer_state(Test *t, const Recipe *recipe, const char *id, const ReferenceTensor *tensor,
                            const char *group, const char *what) {
    (void)recipe;
    char name[256];
    if (strcmp(group, "after") || !strcmp(what, "step")) return; // the program has one step count for all
    snprintf(name, sizeof name, "optimizer.%s_w.%s", id, strcmp(what, "sum") ? what : "sum_of_squares");
    compare_state(t, tensor, name, "");
}

static void test_optimizers(Test *t) {
    Harness *p = &t->program;
    enum { STEPS = 10, N = 7 };
    static double path[RECIPES][(STEPS + 1) * N], loss[RECIPES][STEPS];
    each(t, optimizer_start);
    for (int step = 0; step <= STEPS; step++) {
        for (int r = 0; r < RECIPES; r++) {
            char id[RECIPE_ID], name[128];
            if (strcmp(recipes[r].family, t->family)) continue;
            recipe_id(recipes[r].name, id);
            if (step == 0) {
                harness_write(p, harness_need(p, STM_INPUT, "a"), need(t, &recipes[r], "attr/a")->data);
                harness_write(p, harness_need(p, STM_INPUT, "c"), need(t, &recipes[r], "attr/c")->data);
            }
            snprintf(name, sizeof name, "%s_w", id);
            double *w = harness_read(p, harness_need(p, STM_PARAM, name));
            memcpy(path[r] + step * N, w, N * sizeof *w);
            free(w);
            snprintf(name, sizeof name, "%s_loss", id);
            double *f = harness_read(p, harness_need(p, STM_STATE, name));
            if (step) loss[r][step - 1] = *f;
            free(f);
        }
        if (step == STEPS) break;
        harness_scalar(p, "step", step + 1);
        harness_run(p, "train");
    }
    for (int r = 0; r < RECIPES; r++) {
        if (strcmp(recipes[r].family, t->family)) continue;
        const ReferenceTensor *w = need(t, &recipes[r], "output/w"), *f = need(t, &recipes[r], "output/loss");
        compare(t, w->name, "", path[r], (STEPS + 1) * N, w->data, w->count);
        compare(t, f->name, "", loss[r], STEPS, f->data,
                f->count - 1); // the last is of weights after the last step
    }
    each(t, optimizer_state);
}

// ---- schedules: two steps an epoch, which must see the same rate
// ----------------------------------------------------

static void schedule_rates(Test *t, const Recipe *recipe, const char *id, const ReferenceTensor *tensor,
                           const char *group, const char *what) {
    Harness *p = &t->program;
    char name[256], key[256];
    if (strcmp(group, "output")) return;
    snprintf(key, sizeof key, "%s/input/metric", recipe->name);
    const double *metric = reference_f64(t->reference, key, -1);
    double rates[2][128];
    if (tensor->count > 128) stop("more epochs than the test has room for:", tensor->name);
    harness_run(p, "init"); // states as at the start
    snprintf(name, sizeof name, "%s_%s_kept", id, what);
    int state = harness_need(p, STM_STATE, name);
    harness_scalar(p, "epochs", (double)tensor->count);
    harness_scalar(p, "steps", 2);
    for (int64_t epoch = 0; epoch < tensor->count; epoch++) {
        harness_scalar(p, "epoch", (double)epoch);
        harness_scalar(p, "monitor_value", metric && epoch ? metric[epoch - 1] : 0);
        for (int step = 0; step < 2; step++) {
            harness_scalar(p, "step", (double)(2 * epoch + step + 1));
            harness_run(p, "train");
            double *rate = harness_read(p, state);
            rates[step][epoch] = *rate;
            free(rate);
        }
    }
    compare(t, tensor->name, "first step of each epoch", rates[0], tensor->count, tensor->data, tensor->count);
    compare(t, tensor->name, "second step of each epoch", rates[1], tensor->count, tensor->data, tensor->count);
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: modules_test DIRECTORY FAMILY [-v]\n"), 2;
    static Test test;
    char path[4096], why[512], prefix[64];
    snprintf(path, sizeof path, "%s/modules.safetensors", argv[1]);
    Reference *reference = reference_open(path, why, sizeof why);
    if (!reference) stop("cannot read the reference:", why);
    test.reference = reference;
    test.family = argv[2];
    harness_start(&test.program, 2);
    bool f64 = test.program.plan->real == STM_F64;
    test.limit = f64 ? 1e-12 : 1e-5;
    snprintf(prefix, sizeof prefix, "%s %s: ", type_name(test.program.plan->real), isa_name(test.program.machine->isa));
    test.tally.prefix = prefix;
    test.tally.verbose = argc > 3 && !strcmp(argv[3], "-v");
    harness_scalar(&test.program, "seed", 1);
    if (!strcmp(test.family, "optimizers")) test_optimizers(&test);
    else if (!strcmp(test.family, "schedules")) each(&test, schedule_rates);
    else test_modules(&test);
    harness_stop(&test.program);
    reference_close(reference);
    printf("%d passed, %d failed\n", test.tally.passed, test.tally.failed);
    return test.tally.passed == 0 || test.tally.failed != 0;
}
