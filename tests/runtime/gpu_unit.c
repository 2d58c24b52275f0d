// gpu_unit: a plan on a device, piece by piece, against the same plan on the CPU: images, opening, graphs and their
// eviction, staged inputs, tails, reports, limits. The device is the host shim (STM_CUDA_DRIVER, STM_CUBLASLT), which
// does work as late as the driver's rules allow, so a missing wait shows. Prints "N passed, N failed"; exits 1 if
// anything failed.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // setenv
#endif

#include <stdio.h>
#include <stdlib.h>

#include "../../runtime/core/random.h"
#include "../../runtime/device/layout.h"
#include "../../runtime/program/profile.h"
#include "linear_cuda.c" // plans, kernels and an image to work on

static int passed, failed;

static void expect(bool good, const char *what) {
    if (good) passed++;
    else printf("FAILED %s\n", what), failed++;
}

// Takes the Status and says whether it is an error with `part` in its message.
static bool refuses(Status status, const char *part) {
    bool good = status != STATUS_OK && strstr(status_message(status), part);
    if (!good) printf("  got: %s\n", status ? status_message(status) : "success");
    status_drop(status);
    return good;
}

static bool works(Status status) {
    if (status != STATUS_OK) printf("  %s\n", status_message(status));
    bool good = status == STATUS_OK;
    status_drop(status);
    return good;
}

// ---- Both machines ---------------------------------------------------------------------------------------------

enum { ROWS = 400 };
typedef struct Pair {
    Arena arena;
    StmPlan *plan, *cuda;
    Pool *pool;
    Gpu *gpu;
    Machine *cpu, *dev;
} Pair;

static const GpuCode code = {stm_cuda_image, sizeof stm_cuda_image};
static _Alignas(64) float xs[4][ROWS * IN], ys[4][ROWS * OUT]; // the loader has two buffers, tests use four

static bool open_pair(Pair *p) {
    Isa isa;
    *p = (Pair){0};
    arena_init(&p->arena);
    bool ready = works(plan_read(stm_plan_text, (size_t)stm_plan_size, &p->arena, &p->plan)) &&
                 works(plan_read(stm_cuda_plan_text, (size_t)stm_cuda_plan_size, &p->arena, &p->cuda)) &&
                 works(pool_new(1, &p->pool)) && works(choose_isa(&isa)) &&
                 works(machine_new(p->plan, stm_kernels, isa, p->pool, &p->arena, &p->cpu)) &&
                 works(gpu_open(p->cuda, &code, -1, &p->arena, &p->gpu)) &&
                 works(machine_new_on(p->gpu, &p->arena, &p->dev));
    RandomStream random = random_stream(3, 4);
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < ROWS * IN; i++) xs[k][i] = random_unit(&random) - 0.5f;
        for (int i = 0; i < ROWS * OUT; i++) ys[k][i] = random_unit(&random);
    }
    return ready;
}

static void close_pair(Pair *p) {
    machine_free(p->cpu);
    machine_free(p->dev);
    gpu_close(p->gpu);
    pool_free(p->pool);
    arena_free(&p->arena);
}

static void set(Pair *p, const char *name, double value) {
    machine_set_scalar(p->cpu, plan_tensor(p->plan, STM_SCALAR, name), value);
    machine_set_scalar(p->dev, plan_tensor(p->cuda, STM_SCALAR, name), value);
}

static Status start(Machine *m, const char *job, int64_t rows, int data) {
    int64_t extent[5] = {rows, IN, OUT};
    machine_bind(m, 0, xs[data]);
    machine_bind(m, 1, ys[data]);
    TRY(machine_prepare(m, plan_job(m->plan, job), extent));
    return machine_run(m);
}

static Status stage(Machine *m, const char *job, int64_t rows, int data) {
    int64_t extent[5] = {rows, IN, OUT};
    machine_stage_input(m, 0, xs[data]);
    machine_stage_input(m, 1, ys[data]);
    return machine_stage(m, plan_job(m->plan, job), extent);
}

static bool near(double a, double b) {
    return fabs(a - b) <= 2e-5 * (1 + fabs(b));
}

static bool same_values(const float *a, const float *b, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (!near((double)a[i], (double)b[i])) return false;
    return true;
}

static bool same_outputs(Pair *p, const char *name) {
    const StmJob *job = plan_job(p->plan, name);
    if (!works(machine_wait(p->dev))) return false;
    for (int o = 0; o < job->outputs; o++)
        if (!same_values(machine_output(p->dev, o), machine_output(p->cpu, o),
                         tensor_elements(machine_output_tensor(p->cpu, job, o), p->cpu->extent)))
            return false;
    return true;
}

static bool same_parameters(Pair *p) {
    if (!works(machine_pull(p->dev))) return false;
    for (int t = 6; t <= 9; t++)
        if (!same_values(p->dev->block[t], p->cpu->block[t], tensor_elements(&p->plan->tensor[t], p->cpu->bound)))
            return false;
    return *(int64_t *)p->dev->block[10] == *(int64_t *)p->cpu->block[10];
}

static bool initialise(Pair *p) {
    set(p, "seed", 7);
    set(p, "lr", 0.05);
    set(p, "decay", 0.9);
    for (int k = 0; k < 2; k++) {
        Machine *m = k ? p->dev : p->cpu;
        if (!works(machine_prepare(m, plan_job(m->plan, "init"), m->bound)) || !works(machine_run(m)) ||
            !works(machine_wait(m)))
            return false;
    }
    return same_parameters(p);
}

static int graphs(const Pair *p, int *out_layouts) {
    int made = 0;
    *out_layouts = 0;
    for (const Layout *l = p->dev->runner->layouts; l; l = l->next) {
        if (strcmp(l->job->name, "train") != 0) continue;
        made += l->graph != NULL;
        ++*out_layouts;
    }
    return made;
}

// ---- Tests -----------------------------------------------------------------------------------------------------

static void test_image(void) {
    CudaImage image;
    CudaImageChoice choice;
    unsigned char *bytes = NULL;
    expect(works(cuda_image_open(stm_cuda_image, sizeof stm_cuda_image, &image)), "image: opens");
    expect(cuda_image_choose(&image, 90, &choice) && !choice.ptx && choice.arch == 90, "image: its own architecture");
    expect(cuda_image_choose(&image, 95, &choice) && !choice.ptx && choice.arch == 90, "image: a higher minor number");
    expect(cuda_image_choose(&image, 100, &choice) && choice.ptx && choice.arch == 80, "image: PTX for later ones");
    expect(cuda_image_choose(&image, 80, &choice) && choice.ptx && choice.arch == 80, "image: PTX for its own");
    expect(!cuda_image_choose(&image, 75, &choice), "image: nothing for earlier ones");
    Text text = {0};
    cuda_image_archs(&image, &text);
    expect(strcmp(text_string(&text), "sm_90, PTX of 8.0") == 0, "image: what it holds");
    text_free(&text);
    expect(cuda_image_shard(&image, "f_init") == 1 && cuda_image_shard(&image, "f_loss") == 0 &&
               cuda_image_shard(&image, "f_ini") == -1 && cuda_image_shard(&image, "zz") == -1,
           "image: functions");
    choice = (CudaImageChoice){.ptx = false, .arch = 90};
    expect(works(cuda_image_module(&image, choice, 1, &bytes)) && strcmp((char *)bytes, "cubin 90 1") == 0,
           "image: a module");
    free(bytes);
    choice.arch = 91;
    expect(refuses(cuda_image_module(&image, choice, 1, &bytes), "missing"), "image: a module that is not there");
    // Cut off anywhere and with any byte changed it is refused or gives what it gave before, never worse.
    unsigned char *copy = malloc(sizeof stm_cuda_image);
    int refused = 0, wrong = 0;
    for (size_t i = 0; i < 2 * sizeof stm_cuda_image; i++) {
        size_t size = i < sizeof stm_cuda_image ? i : sizeof stm_cuda_image;
        memcpy(copy, stm_cuda_image, sizeof stm_cuda_image);
        if (i >= sizeof stm_cuda_image) copy[i - sizeof stm_cuda_image] ^= 0x41;
        Status status = cuda_image_open(copy, size, &image);
        for (int k = 0; k < 4 && status == STATUS_OK; k++) {
            choice = (CudaImageChoice){.ptx = k & 1, .arch = k & 1 ? 80 : 90};
            bytes = NULL;
            status = cuda_image_module(&image, choice, k / 2, &bytes);
            if (status == STATUS_OK && strncmp((char *)bytes, k & 1 ? "ptx 80 " : "cubin 90 ", 7) != 0) wrong++;
            free(bytes);
        }
        refused += status != STATUS_OK;
        status_drop(status);
    }
    free(copy);
    expect(wrong == 0 && refused > (int)sizeof stm_cuda_image, "image: damage is refused");
}

static void test_opening(void) {
    Arena arena;
    StmPlan *plan = NULL;
    Gpu *gpu = NULL;
    GpuList list;
    arena_init(&arena);
    if (!works(plan_read(stm_cuda_plan_text, (size_t)stm_cuda_plan_size, &arena, &plan))) return;
    expect(works(gpu_list(plan, &code, &arena, &list)) && list.count == 1 && !*list.gpu[0].why &&
               list.gpu[0].capability == 90,
           "list: one usable device");
    expect(refuses(gpu_open(plan, &code, 3, &arena, &gpu), "no cuda:3; this machine has 1 GPU"),
           "open: no such number");
    unsigned char *bad = malloc(sizeof stm_cuda_image);
    memcpy(bad, stm_cuda_image, sizeof stm_cuda_image);
    bad[70] ^= 1;
    GpuCode damaged = {bad, sizeof stm_cuda_image};
    expect(refuses(gpu_open(plan, &damaged, 0, &arena, &gpu), "checksum of its tables"), "open: a damaged image");
    expect(works(gpu_list(plan, &damaged, &arena, &list)) && strstr(list.gpu[0].why, "checksum"),
           "list: a damaged image");
    free(bad);
    const char *driver = getenv("STM_CUDA_DRIVER"), *lt = getenv("STM_CUBLASLT");
    char *driver_copy = strdup(driver), *lt_copy = strdup(lt);
    setenv("STM_CUBLASLT", "/nonexistent/lt.so", 1);
    expect(refuses(gpu_open(plan, &code, 0, &arena, &gpu), "/nonexistent/lt.so"), "open: no cuBLASLt");
    expect(works(gpu_list(plan, &code, &arena, &list)) && strstr(list.gpu[0].why, "lt.so"), "list: no cuBLASLt");
    expect(works(gpu_list(NULL, NULL, &arena, &list)) && list.count == 1 && !*list.gpu[0].why,
           "list: devices without a plan");
    setenv("STM_CUBLASLT", lt_copy, 1);
    setenv("STM_CUDA_DRIVER", "/nonexistent/cuda.so", 1);
    expect(refuses(gpu_open(plan, &code, 0, &arena, &gpu), "/nonexistent/cuda.so"), "open: no driver");
    expect(works(gpu_list(plan, &code, &arena, &list)) && list.count == 0 && strstr(list.why, "cuda.so"),
           "list: no driver");
    setenv("STM_CUDA_DRIVER", "libm.so.6", 1);
    expect(refuses(gpu_open(plan, &code, 0, &arena, &gpu), "too old: libm.so.6 has no cuInit"),
           "open: a library that lacks functions");
    setenv("STM_CUDA_DRIVER", driver_copy, 1);
    setenv("STM_SHIM_CAPABILITY", "75", 1);
    expect(refuses(gpu_open(plan, &code, -1, &arena, &gpu),
                   "compute capability 7.5 and this executable holds code for sm_90, PTX of 8.0"),
           "open: no code for the device");
    unsetenv("STM_SHIM_CAPABILITY");
    StmLaunch *launch = (StmLaunch *)(uintptr_t)plan->kernel[2].launch;
    launch->shared = 300 << 10;
    expect(refuses(gpu_open(plan, &code, 0, &arena, &gpu), "kernel c_loss needs 307200"),
           "open: more shared memory than there is");
    launch->shared = 512;
    launch->function = "f_nowhere";
    bool opened = works(gpu_open(plan, &code, 0, &arena, &gpu));
    CuFunction function = NULL;
    expect(opened && refuses(gpu_function(gpu, 2, &function), "no function f_nowhere"), "a function that is not there");
    gpu_close(gpu);
    free(driver_copy);
    free(lt_copy);
    arena_free(&arena);
}

// A training of several sizes: first runs, captured and replayed ones, two slots, a tail, eviction.
static void test_training(void) {
    Pair p;
    int layouts = 0;
    bool right = open_pair(&p) && initialise(&p);
    expect(right, "init is the same");
    for (int i = 0; i < 9 && right; i++) {
        set(&p, "step", i + 1);
        set(&p, "lr", 0.05 / (1 + i)); // scalars change between replays of one graph
        int64_t rows = i == 4 || i == 8 ? 7 : 32;
        right = works(start(p.cpu, "train", rows, i % 2)) && works(start(p.dev, "train", rows, i % 2)) &&
                same_outputs(&p, "train");
    }
    expect(right && same_parameters(&p), "training: direct, captured and replayed");
    expect(graphs(&p, &layouts) >= 2 && layouts <= GRAPHS_OF_A_JOB, "training: graphs were made");
    for (int i = 0; i < 24 && right; i++) {
        int64_t rows = 5 + i % 6;
        right = works(start(p.cpu, "train", rows, i % 4)) && works(start(p.dev, "train", rows, i % 4)) &&
                same_outputs(&p, "train");
    }
    graphs(&p, &layouts);
    expect(right && same_parameters(&p) && layouts <= GRAPHS_OF_A_JOB, "training: many sizes, few graphs kept");
    right = right && works(start(p.cpu, "train", ROWS, 1)) && works(start(p.dev, "train", ROWS, 1)) &&
            same_outputs(&p, "train");
    expect(right && same_parameters(&p), "training: a larger batch than before");
    // Nobody waits: runs follow one another, two at most are in flight.
    for (int i = 0; i < 10 && right; i++) {
        set(&p, "lr", 0.01 * (1 + i % 3));
        right = works(start(p.cpu, "train", 32, i % 4)) && works(start(p.dev, "train", 32, i % 4));
    }
    expect(right && same_outputs(&p, "train") && same_parameters(&p), "training: runs in flight");
    *(float *)p.cpu->block[7] = *(float *)p.dev->block[7] = 3; // as a checkpoint does
    right = right && works(machine_push(p.dev)) && works(start(p.cpu, "train", 32, 0)) &&
            works(start(p.dev, "train", 32, 0)) && same_outputs(&p, "train");
    expect(right && same_parameters(&p), "training: parameters from the host");
    close_pair(&p);
}

static void test_staging(void) {
    Pair p;
    bool right = open_pair(&p) && initialise(&p);
    static _Alignas(64) float x[2][32 * IN], y[2][32 * OUT]; // as a loader: contents change behind an address
    for (int i = 0; i < 12 && right; i++) {
        int64_t extent[5] = {32, IN, OUT}, rows = 32;
        int k = i % 2;
        memcpy(x[k], xs[i % 4] + i * IN, sizeof x[k]);
        memcpy(y[k], ys[i % 4] + i * OUT, sizeof y[k]);
        for (int d = 0; d < 2 && right; d++) {
            Machine *m = d ? p.dev : p.cpu;
            if (d && i > 0) { // while the run before is in flight
                machine_stage_input(m, 0, x[k]);
                machine_stage_input(m, 1, y[k]);
                right = works(machine_stage(m, plan_job(m->plan, "train"), extent));
                memset(x[1 - k], 0xee, sizeof x[0]); // the loader may fill it from here on
                right = right && works(machine_wait(m));
            }
            int64_t uploads = d ? p.dev->runner->current : 0;
            machine_bind(m, 0, x[k]);
            machine_bind(m, 1, y[k]);
            if (right) right = works(machine_prepare(m, plan_job(m->plan, "train"), extent)) && works(machine_run(m));
            if (d && i > 0 && p.dev->runner->current == uploads) right = false; // the staged slot was taken
        }
        (void)rows;
    }
    expect(right && same_parameters(&p), "staging: the next batch while the present one goes on");
    // What was staged is not taken for another job, other extents, other data, or after unstaging.
    memcpy(x[0], xs[2], sizeof x[0]), memcpy(y[0], ys[2], sizeof y[0]);
    machine_stage_input(p.dev, 0, x[0]);
    machine_stage_input(p.dev, 1, y[0]);
    int64_t extent[5] = {32, IN, OUT};
    right = right && works(machine_stage(p.dev, plan_job(p.cuda, "train"), extent));
    machine_unstage(p.dev);
    memcpy(x[0], xs[3], sizeof x[0]), memcpy(y[0], ys[3], sizeof y[0]);
    for (int d = 0; d < 2 && right; d++) {
        Machine *m = d ? p.dev : p.cpu;
        machine_bind(m, 0, x[0]);
        machine_bind(m, 1, y[0]);
        right = works(machine_prepare(m, plan_job(m->plan, "train"), extent)) && works(machine_run(m));
    }
    expect(right && same_outputs(&p, "train") && same_parameters(&p), "staging: unstaged inputs are sent again");
    right = right && works(stage(p.dev, "train", 32, 1)) && works(start(p.cpu, "evaluate", 9, 2)) &&
            works(start(p.dev, "evaluate", 9, 2));
    expect(right && same_outputs(&p, "evaluate"), "staging: another job, an output that is an input");
    right = right && works(stage(p.dev, "evaluate", 11, 3)) && works(machine_wait(p.dev)) &&
            same_outputs(&p, "evaluate") && works(start(p.cpu, "evaluate", 11, 3)) &&
            works(start(p.dev, "evaluate", 11, 3));
    expect(right && same_outputs(&p, "evaluate"), "staging: outputs stay until the next run");
    close_pair(&p);
}

static void test_reports(void) {
    Pair p;
    bool right = open_pair(&p) && initialise(&p);
    float before = ys[0][5];
    for (int i = 0; i < 4 && right; i++) right = works(start(p.dev, "evaluate", 32, 0)) && works(machine_wait(p.dev));
    ys[0][5] = 1e30f;
    right = right && works(start(p.dev, "evaluate", 32, 0));
    expect(right && refuses(machine_wait(p.dev), "job evaluate, loss: a position taken from the data is outside"),
           "a position outside its tensor");
    ys[0][5] = before;
    right = right && works(start(p.dev, "evaluate", 32, 0)) && works(machine_wait(p.dev));
    expect(right, "a run after the report");
    int64_t extent[5] = {(int64_t)1 << 29, IN, OUT};
    expect(right && refuses(machine_prepare(p.dev, plan_job(p.cuda, "evaluate"), extent),
                            "evaluate at 536870912 spots: x has 3221225472 elements"),
           "more elements than 32 bits count");
    expect(refuses(stage(p.dev, "evaluate", (int64_t)1 << 29, 0), "x has 3221225472 elements"),
           "staging more elements than 32 bits count");
    extent[0] = (int64_t)1 << 28;
    expect(refuses(machine_prepare(p.dev, plan_job(p.cuda, "evaluate"), extent),
                   "no room for the temporaries of evaluate at 268435456 spots: 17.18 GB are needed"),
           "more memory than the device has");
    right = right && works(start(p.cpu, "evaluate", 32, 0)) && works(start(p.dev, "evaluate", 32, 0));
    expect(right && same_outputs(&p, "evaluate"), "a run after the refusal");
    Machine *bare = NULL;
    expect(works(machine_new_on(p.gpu, &p.arena, &bare)), "a second machine");
    extent[0] = 8;
    expect(works(machine_prepare(bare, plan_job(p.cuda, "predict"), extent)) &&
               refuses(machine_run(bare), "reads the input x, which is not bound"),
           "an input that is not bound");
    machine_free(bare);
    close_pair(&p);
}

static void test_profile(void) {
    Pair p;
    ProfileRow *row = NULL;
    size_t rows = 0;
    bool right = open_pair(&p) && initialise(&p) && works(machine_profile_start(p.dev, &p.arena));
    for (int i = 0; i < 3 && right; i++) {
        right = works(start(p.cpu, "train", 32, 0)) && works(start(p.dev, "train", 32, 0)) && same_outputs(&p, "train");
    }
    right = right && works(profile_rows(p.dev, &row, &rows));
    expect(right && rows == 7, "profile: five kernels, zeroing, copying");
    bool forward = false, update = false, sorted = true;
    for (size_t i = 0; i < rows; i++) {
        sorted = sorted && (i == 0 || row[i].ns <= row[i - 1].ns);
        if (strcmp(row[i].name, "c_forward") == 0)
            forward = row[i].calls == 3 && fabs(row[i].flops - 3 * 2.0 * 32 * IN * OUT) < 1 &&
                      fabs(row[i].bytes - 3 * 4.0 * (32 * IN + 18 + 3 + 32 * OUT)) < 1;
        if (strcmp(row[i].name, "c_update") == 0) update = fabs(row[i].flops - 3 * 4.0 * 21) < 1;
    }
    expect(forward, "profile: operations and bytes of a product");
    expect(update, "profile: operations of a batch of calls");
    expect(sorted, "profile: largest first");
    free(row);
    Text text = {0};
    expect(works(profile_table(p.dev, &text)) && strstr(text_string(&text), "GB/s"), "profile: the table");
    text_free(&text);
    int64_t bytes = 0, extent[5] = {32, IN, OUT};
    expect(works(stage(p.dev, "train", 32, 1)) && works(start(p.dev, "train", 32, 1)), "profile: a staged run");
    expect(works(gpu_plan_bytes(p.cuda, plan_job(p.cuda, "train"), extent, &p.arena, &bytes)) &&
               bytes > CUBLASLT_WORKSPACE && p.gpu->most_used >= bytes && p.gpu->most_used < bytes + 4096,
           "the plan's bytes are the device's");
    close_pair(&p);
}

int main(void) {
    if (!getenv("STM_CUDA_DRIVER") || !getenv("STM_CUBLASLT")) {
        printf("skipped: STM_CUDA_DRIVER and STM_CUBLASLT do not name the host shim\n");
        return 77;
    }
    test_image();
    test_opening();
    test_training();
    test_staging();
    test_reports();
    test_profile();
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
