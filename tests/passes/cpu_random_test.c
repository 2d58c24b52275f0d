// Random kernels (kernel_random.h) as generated code against the reference runner. Usage: cpu_random_test [kernels
// [seed]]
#include "kernel_random.h"

int main(int argc, char **argv) {
    static const int64_t axes[][4] = {{7, 13}, {1, 18}, {0, 5}, {33, 2}};
    int count = argc > 1 ? atoi(argv[1]) : 60;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    Checks c = {0, 0};
    for (int way = 0; way < 3; way++) {
        Arena *a = arena_new();
        Program *p = NEW(a, Program);
        p->arena = a;
        p->names = names_new(a);
        p->name = "random";
        p->real64 = way > 0;
        p->scalar_seed = p->scalar_step = -1;
        vec_push(a, &p->axis, ((Axis){.name = "spot", .dynamic = true, .count = 32}));
        vec_push(a, &p->axis, ((Axis){.name = "gene", .dynamic = true, .count = 100}));
        Kernel **k = NEW_ARRAY(a, Kernel *, count);
        for (int i = 0, number = 0; i < count; number++) {
            k[i] = random_kernel(a, p, way == 0, seed + (uint64_t)way, number);
            i += iterations(k[i]) < 2e5;
        }
        if (argc > 3) { // one kernel
            int i = atoi(argv[3]);
            Text t = {.arena = a};
            kernel_print(k[i], p, &t);
            printf("%.*s", (int)t.length, t.at);
            k[0] = k[i];
        }
        CpuOptions options = {.verify = true, .grain = way == 2 ? 0 : 200};
        check_kernels(&c, a, p, k, argc > 3 ? 1 : count, axes, 4, &options, way ? 1e-9 : 3e-5);
        arena_free(a);
    }
    return checks_end(&c);
}
