// contract_nvrtc_test KERNELS_DIR TEST_DIR: every instance compiles by NVRTC for sm_80 and sm_90 without spills, and
// fits an SM. Prints registers, shared memory and milliseconds of each. Exit 77: no NVRTC here.
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

#include "instances.h"

typedef struct Program *Handle;
static struct {
    int (*create)(Handle *, const char *, const char *, int, const char *const *, const char *const *);
    int (*compile)(Handle, int, const char *const *);
    int (*log_size)(Handle, size_t *);
    int (*log)(Handle, char *);
    int (*destroy)(Handle *);
} nvrtc;

static int load(void) {
    const char *names[] = {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "/usr/local/cuda/lib64/libnvrtc.so"};
    void *library = NULL;
    for (int i = 0; i < 4 && !library; i++) library = dlopen(names[i], RTLD_NOW);
    if (!library) return 0;
    *(void **)&nvrtc.create = dlsym(library, "nvrtcCreateProgram");
    *(void **)&nvrtc.compile = dlsym(library, "nvrtcCompileProgram");
    *(void **)&nvrtc.log_size = dlsym(library, "nvrtcGetProgramLogSize");
    *(void **)&nvrtc.log = dlsym(library, "nvrtcGetProgramLog");
    *(void **)&nvrtc.destroy = dlsym(library, "nvrtcDestroyProgram");
    return nvrtc.create && nvrtc.compile && nvrtc.log_size && nvrtc.log && nvrtc.destroy;
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

// The number in front of or behind `what` in the log, or -1.
static int number_before(const char *log, const char *what) {
    const char *at = strstr(log, what);
    if (!at) return -1;
    while (at > log && at[-1] == ' ') at--;
    while (at > log && at[-1] >= '0' && at[-1] <= '9') at--;
    return atoi(at);
}

int main(int count, char **argument) {
    if (count < 3) return fprintf(stderr, "usage: contract_nvrtc_test KERNELS_DIR TEST_DIR\n"), 2;
    if (!load()) return printf("skipped: no libnvrtc here\n"), 77;
    char include[2][4096];
    snprintf(include[0], sizeof include[0], "-I%s", argument[1]);
    snprintf(include[1], sizeof include[1], "-I%s", argument[2]);
    int passed = 0, failed = 0;
    double total = 0;
    for (int i = 0; i < TEST_INSTANCES; i++) {
        const TestInstance *t = &test_instance[i];
        for (int arch = 80; arch <= 90; arch += 10) {
            char text[4200] = "#include \"gather.cuh\"\n", option[32], *log;
            test_instance_text(text + strlen(text), sizeof text - 64, t);
            snprintf(option, sizeof option, "-arch=sm_%d", arch);
            const char *options[] = {option,     "--std=c++17", "--ptxas-options=-v", "-default-device",
                                     include[0], include[1]};
            Handle program = NULL;
            size_t size = 0;
            double start = now_ms();
            int error = nvrtc.create(&program, text, t->name, 0, NULL, NULL);
            if (!error) error = nvrtc.compile(program, 6, options);
            double ms = now_ms() - start;
            total += ms;
            nvrtc.log_size(program, &size);
            log = calloc(1, size + 1);
            nvrtc.log(program, log);
            int threads = 32 * t->warps_m * t->warps_n, registers = number_before(log, " registers"),
                stack = number_before(log, " bytes stack"), spills = number_before(log, " bytes spill stores"),
                shared = test_shared(t), limit = arch == 80 ? 163 : 227;
            int fits = registers > 0 && registers * threads <= 65536 && shared <= limit * 1024;
            if (error || spills != 0 || stack != 0 || !fits) {
                failed++;
                printf("FAILED %s sm_%d: %s\n%s\n", t->name, arch,
                       error  ? "does not compile"
                       : fits ? "spills or a stack"
                              : "does not fit an SM",
                       log);
            } else {
                passed++;
                int by_registers = 65536 / ((registers + 7) / 8 * 8 * threads),
                    by_shared = (limit + 1) * 1024 / (shared + 1024);
                printf("%-24s sm_%d  %3d threads  %3d registers  %6d shared  %d blocks an SM  %4.0f ms\n", t->name,
                       arch, threads, registers, shared, by_registers < by_shared ? by_registers : by_shared, ms);
            }
            free(log);
            nvrtc.destroy(&program);
        }
    }
    printf("%.0f ms in all\n%d passed, %d failed\n", total, passed, failed);
    return failed != 0;
}
