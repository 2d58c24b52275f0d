// Generated loop code against the reference runner: hand-built kernels of every kind that the fuser makes, at odd
// sizes, size 1 and size 0, static and dynamic, permuted storage orders, all instruction sets, any cut of the parts.
#include "kernel_catalogue.h"

int main(int argc, char **argv) {
    static const int64_t axes[][4] = {{7, 13}, {1, 1}, {0, 5}, {33, 129}};
    Checks c = {0, 0};
    for (int real64 = 0; real64 < 2; real64++)
        for (int grain = 0; grain < 2; grain++) {
            Arena *a = arena_new();
            Program *p = catalogue_program(a, real64);
            Kernels kernels = {0};
            catalogue_kernels(a, p, &kernels);
            if (argc > 1) { // one kernel by name, its text first
                int n = 0;
                for (int i = 0; i < kernels.count; i++)
                    if (strncmp(kernels.at[i]->name, argv[1], strlen(argv[1])) == 0) kernels.at[n++] = kernels.at[i];
                kernels.count = n;
                for (int i = 0; i < n && !grain && !real64; i++) {
                    Text t = {.arena = a};
                    kernel_print(kernels.at[i], p, &t);
                    printf("%.*s", (int)t.length, t.at);
                }
            }
            CpuOptions options = {.verify = true, .grain = grain ? 100 : 0, .emit_ir = argc > 2 ? argv[2] : NULL};
            printf("%s, %s grain: ", real64 ? "f64" : "f32", grain ? "small" : "default");
            check_kernels(&c, a, p, kernels.at, kernels.count, axes, 4, &options, 3e-5);
            arena_free(a);
        }
    return checks_end(&c);
}
