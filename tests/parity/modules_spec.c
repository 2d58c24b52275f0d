// Writes the spec of a family of modules.safetensors to standard output: every case of the family as one line
// of a net, with the shapes of the recording, a training step whose loss is sum(output * cotangent), an
// optimizer that keeps the gradient and leaves the parameter, and a predict job that gives the outputs. See
// modules_cases.h.
//
// usage: modules_spec DIRECTORY FAMILY      the spec
//        modules_spec DIRECTORY families    the families, after checking that the recipes are the recorded
//        cases, no more and no less
#include "modules_cases.h"
#include "reference.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const Reference *reference;

// Scalars are recorded with shape [1].
static bool is_scalar(const ReferenceTensor *t) {
    return t->rank == 1 && t->shape[0] == 1;
}

// "[2, 3]", or nothing for a scalar when `scalars`.
static void print_shape(const ReferenceTensor *t, bool scalars) {
    if (scalars && is_scalar(t)) return;
    for (int d = 0; d < t->rank; d++) printf("%s%lld", d ? ", " : "[", (long long)t->shape[d]);
    printf("]");
}

// WHAT of a tensor "CASE/GROUP/WHAT", or NULL for other cases and groups.
static const char *part(const ReferenceTensor *t, const char *name, const char *group) {
    size_t n = strlen(name), g = strlen(group);
    if (strncmp(t->name, name, n) || t->name[n] != '/' || strncmp(t->name + n + 1, group, g) ||
        t->name[n + 1 + g] != '/')
        return NULL;
    return t->name + n + 2 + g;
}

static const ReferenceTensor *find(const char *name, const char *group, const char *what) {
    char key[256];
    snprintf(key, sizeof key, "%s/%s/%s", name, group, what);
    return reference_find(reference, key);
}

static void print_text(const char *text, const char *id) {
    for (; *text; text++) {
        if (*text != '$') putchar(*text);
        else printf("%s%s", id, text[1] == ':' ? "" : "_");
    }
}

typedef void (*Visit)(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what, int count);

// Calls `visit` for every recorded tensor of a group of the family's cases; returns how many there were.
static int each(const char *family, const char *group, Visit visit) {
    int count = 0;
    for (int r = 0; r < RECIPES; r++) {
        char id[RECIPE_ID];
        if (strcmp(recipes[r].family, family)) continue;
        recipe_id(recipes[r].name, id);
        for (size_t i = 0; i < reference_count(reference); i++) {
            const ReferenceTensor *t = reference_at(reference, i);
            const char *what = part(t, recipes[r].name, group);
            if (what) visit(&recipes[r], id, t, what, count++);
        }
    }
    return count;
}

static bool is_input(const Recipe *recipe, const char *what) {
    return !find(recipe->name, "grad", what);
}

static void declare_input(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what, int count) {
    (void)count;
    if (!is_input(recipe, what)) return;
    printf("input %s_%s : %s", id, what, t->dtype[0] == 'I' ? "i32" : "f32");
    print_shape(t, false);
    printf("\n");
}

static void declare_cotangent(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what,
                              int count) {
    (void)recipe, (void)count;
    if (is_scalar(t)) return; // 1 by definition
    printf("input %s_%s_cotangent : f32", id, what);
    print_shape(t, false);
    printf("\n");
}

static int listed; // input names printed so far in one pair of parentheses

static void name_input(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what, int count) {
    (void)t, (void)count;
    if (is_input(recipe, what)) printf("%s%s_%s", listed++ ? ", " : "", id, what);
}

static void name_output(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what, int count) {
    (void)recipe, (void)t;
    printf("%s%s_%s", count ? ", " : "", id, what);
}

static void declare_output(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what,
                           int count) {
    name_output(recipe, id, t, what, count);
    print_shape(t, true);
}

static void declare_param(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what, int count) {
    (void)count;
    if (is_input(recipe, what)) return;
    printf("    param %s_%s", id, what);
    print_shape(t, false);
    printf(" ~ 0\n");
}

static void keep_output(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what, int count) {
    (void)recipe, (void)count;
    printf("        state %s_%s_kept", id, what);
    print_shape(t, true);
    printf(" = 0\n        %s_%s_kept <- %s_%s\n", id, what, id, what);
}

static void add_term(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what, int count) {
    (void)recipe;
    printf(count ? "\n        + " : "");
    if (is_scalar(t)) printf("%s_%s", id, what);
    else printf("sum(%s_%s * %s_%s_cotangent)", id, what, id, what);
}

static void give_output(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what, int count) {
    (void)recipe, (void)t, (void)count;
    printf("    output %s_%s = %s_%s\n", id, what, id, what);
}

static void call_net(const char *family) {
    printf("    ");
    each(family, "output", name_output);
    listed = 0;
    printf(" = cases(");
    each(family, "input", name_input);
    printf(")\n");
}

static void write_modules(const char *family) {
    each(family, "input", declare_input);
    each(family, "cotangent", declare_cotangent);
    printf("\nnet cases(");
    listed = 0;
    each(family, "input", name_input);
    printf(") -> (");
    each(family, "output", declare_output);
    printf(") {\n");
    each(family, "input", declare_param);
    for (int r = 0; r < RECIPES; r++) {
        char id[RECIPE_ID];
        if (strcmp(recipes[r].family, family)) continue;
        recipe_id(recipes[r].name, id);
        printf("    ");
        print_text(recipes[r].text, id);
        printf("\n");
    }
    bool gradients = strcmp(family, "metrics") != 0;
    if (gradients) {
        printf("    if training {\n");
        each(family, "output", keep_output);
        printf("    }\n");
    }
    printf("}\n\n");
    if (gradients) {
        printf("optimizer keep() : p[..], g[..] {\n    state gradient[..] = 0\n    gradient <- g\n    p <- "
               "p\n}\n\ntrain {\n");
        call_net(family);
        printf("    loss = ");
        each(family, "cotangent", add_term);
        printf("\n    optimizer = keep()\n    epochs = 1   batch = 1\n}\n\n");
    }
    printf("predict {\n");
    call_net(family);
    each(family, "output", give_output);
    printf("}\n");
}

// Every optimizer on a parameter of its own, all minimising f(w) = 1/2 sum a (w - c)^2 + 1/2 (sum w)^2.
static void write_optimizers(void) {
    printf("input a : f32[7]\ninput c : f32[7]\n\n"
           "function objective(w[i], a[i], c[i]) -> f { f = 0.5 * sum(a * (w - c) ^ 2) + 0.5 * sum(w) ^ 2 }\n\n"
           "net cases(a, c) -> total {\n    total = 0\n");
    char id[RECIPE_ID];
    for (int r = 0; r < RECIPES; r++) {
        if (strcmp(recipes[r].family, "optimizers")) continue;
        recipe_id(recipes[r].name, id);
        printf("    param %s_w[7] ~ 0\n    %s_f = objective(%s_w, a, c)\n    total = total + %s_f\n", id, id, id, id);
        printf("    if training {\n        state %s_loss = 0\n        %s_loss <- %s_f\n    }\n", id, id, id);
    }
    printf("}\n\ntrain {\n    loss = cases(a, c)\n");
    for (int r = 0; r < RECIPES; r++) {
        if (strcmp(recipes[r].family, "optimizers")) continue;
        recipe_id(recipes[r].name, id);
        printf("    optimizer \"%s_w\" = %s\n", id, recipes[r].text);
    }
    printf("    epochs = 1   batch = 1\n}\n\npredict { output total = cases(a, c) }\n");
}

static void keep_rate(const Recipe *recipe, const char *id, const ReferenceTensor *t, const char *what, int count) {
    (void)recipe, (void)t, (void)count;
    printf("    if training {\n        state %s_%s_kept = 0\n        %s_%s_kept <- %s_%s\n    }\n", id, what, id, what,
           id, what);
}

static void write_schedules(void) {
    printf("net cases() -> total {\n    param w[1] ~ 0\n");
    for (int r = 0; r < RECIPES; r++) {
        char id[RECIPE_ID];
        if (strcmp(recipes[r].family, "schedules")) continue;
        recipe_id(recipes[r].name, id);
        printf("    ");
        print_text(recipes[r].text, id);
        printf("\n");
    }
    each("schedules", "output", keep_rate);
    printf("    total = sum(w)\n}\n\noptimizer keep() : p[..], g[..] { p <- p }\n\ntrain {\n    loss = cases()\n"
           "    optimizer = keep()\n    epochs = 1   batch = 1\n}\n\npredict { output total = cases() }\n");
}

// The recipes and the recorded cases are the same.
static int list_families(void) {
    int missing = 0;
    for (size_t i = 0; i < reference_count(reference); i++) {
        const char *name = reference_at(reference, i)->name;
        size_t length = strcspn(name, "/");
        int found = 0;
        for (int r = 0; r < RECIPES; r++)
            found += strlen(recipes[r].name) == length && !strncmp(recipes[r].name, name, length);
        if (found != 1)
            fprintf(stderr, "modules_cases.h has %d recipes for %.*s\n", found, (int)length, name), missing = 1;
    }
    for (int r = 0; r < RECIPES; r++) {
        bool found = false;
        size_t length = strlen(recipes[r].name);
        for (size_t i = 0; i < reference_count(reference); i++) {
            const char *name = reference_at(reference, i)->name;
            found = found || (!strncmp(name, recipes[r].name, length) && name[length] == '/');
        }
        if (!found) fprintf(stderr, "modules.safetensors has no case %s\n", recipes[r].name), missing = 1;
    }
    for (int f = 0; f < PREAMBLES; f++) printf("%s\n", preambles[f].family);
    return missing;
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: modules_spec DIRECTORY FAMILY|families\n"), 2;
    char path[4096], why[512];
    snprintf(path, sizeof path, "%s/modules.safetensors", argv[1]);
    Reference *opened = reference_open(path, why, sizeof why);
    if (!opened) return fprintf(stderr, "%s\n", why), 1;
    reference = opened;
    int result = 0;
    const char *family = argv[2];
    if (!strcmp(family, "families")) {
        result = list_families();
    } else {
        const Preamble *preamble = NULL;
        for (int f = 0; f < PREAMBLES; f++)
            if (!strcmp(preambles[f].family, family)) preamble = &preambles[f];
        if (!preamble) return fprintf(stderr, "no family %s\n", family), 2;
        printf("model %s \"cases of the parity reference\"\n%s\n", family, preamble->text);
        if (!strcmp(family, "optimizers")) write_optimizers();
        else if (!strcmp(family, "schedules")) write_schedules();
        else write_modules(family);
    }
    reference_close(opened);
    return result;
}
