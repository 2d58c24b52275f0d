// linear: a program written by hand in the form that stmc writes: a plan text and kernels. Linear regression
// y = x W' + b with momentum SGD; it lets every part of the runtime be tested without the compiler.
#include <math.h>
#include <string.h>

#include "../../runtime/program/program.h"

// What the plans of all targets have in common.
#define LINEAR_HEAD                                                                                                    \
    "stmplan 1\n"                                                                                                      \
    "program linear f32 0.0-test \"linear regression, a hand-written program for tests\"\n"                            \
    "axis 0 spot dynamic 32 \"rows of a batch\"\n"                                                                     \
    "axis 1 feature constant 6 \"features\"\n"                                                                         \
    "axis 2 gene constant 3 \"what is predicted\"\n"                                                                   \
    "option hidden \"none\"\n"                                                                                         \
    "setting lr real 0.05 1e-6 1e30 4 \"learning rate\"\n"                                                             \
    "setting decay real 0.9 0 0.999 5 \"momentum\"\n"                                                                  \
    "setting depth text \"minor\" - - - \"which proportions to read\"\n"                                               \
    "prepare layout \"legacy_st\"\n"                                                                                   \
    "prepare tiles \"tile\"\n"                                                                                         \
    "prepare tiles.size \"16\"\n"                                                                                      \
    "train 12 32 1 1 mse validation 0 6 expression y\n"                                                                \
    "tensor 0 input f32 \"x\" \"x\" 0 [spot 6] [spot feature]\n"                                                       \
    "tensor 1 input f32 \"y\" \"y\" 0 [spot 3] [spot gene]\n"                                                          \
    "tensor 2 scalar i32 \"seed\" - 0 [] []\n"                                                                         \
    "tensor 3 scalar i32 \"step\" - 0 [] []\n"                                                                         \
    "tensor 4 scalar f32 \"lr\" - 0 [] []\n"                                                                           \
    "tensor 5 scalar f32 \"decay\" - 0 [] []\n"                                                                        \
    "tensor 6 param f32 \"fc.weight\" - 0 [3 6] [gene feature]\n"                                                      \
    "tensor 7 param f32 \"fc.bias\" - 0 [3] [gene]\n"                                                                  \
    "tensor 8 state f32 \"sgd.fc.weight.v\" - 0 [3 6] [gene feature]\n"                                                \
    "tensor 9 state f32 \"sgd.fc.bias.v\" - 0 [3] [gene]\n"                                                            \
    "tensor 10 state i64 \"batches\" - 1 [] []\n"                                                                      \
    "tensor 11 temp f32 \"expression\" - 0 [spot 3] [spot gene]\n"                                                     \
    "tensor 12 temp f32 \"loss\" - 0 [] []\n"                                                                          \
    "tensor 13 temp f32 \"grad weight\" - 0 [3 6] [- -]\n"                                                             \
    "tensor 14 temp f32 \"grad bias\" - 0 [3] [-]\n"                                                                   \
    "tensor 15 input f32 \"collected.expression\" - 0 [spot 3] [spot gene]\n"                                          \
    "tensor 16 input f32 \"collected.y\" - 0 [spot 3] [spot gene]\n"                                                   \
    "tensor 17 temp f32 \"mse\" - 0 [] []\n"                                                                           \
    "tensor 18 temp f32 \"mse_columns\" - 0 [3] [gene]\n"                                                              \
    "tensor 19 temp f32 \"one\" - 0 [] []\n"                                                                           \
    "tensor 20 temp f32 \"rate\" - 0 [] []\n"

const char stm_plan_text[] = LINEAR_HEAD
    "kernel 0 k_init 0 0\n"
    "kernel 1 k_forward 128 1152\n"
    "kernel 2 k_loss 0 288\n"
    "kernel 3 k_gradient 0 1152\n"
    "kernel 4 k_update 0 4\n"
    "kernel 5 k_mse_columns 0 288\n"
    "kernel 6 k_mean3 0 3\n"
    "kernel 7 k_count 0 1\n"
    "kernel 8 k_one 0 0\n"
    "job init\n"
    "  buffer 0 2 - 0 4 0 0\n  buffer 1 6 - 0 72 0 0\n  buffer 2 7 - 0 12 0 0\n  buffer 3 8 - 0 72 1 1\n"
    "  buffer 4 9 - 0 12 2 2\n  buffer 5 10 - 0 8 3 3\n"
    "  run 0 1/1 [0 1 2] \"init\"\n  zero 3\n  zero 4\n  zero 5\n"
    "end\n"
    "job train\n"
    "  group 0 spot 64\n  group 1 1 320\n"
    "  buffer 0 0 - 0 24 0 3\n  buffer 1 1 - 0 12 1 3\n  buffer 2 6 - 0 72 0 4\n  buffer 3 7 - 0 12 0 5\n"
    "  buffer 4 11 0 0 64 0 3\n  buffer 5 12 1 0 64 1 7\n  buffer 6 13 1 64 128 2 4\n  buffer 7 14 1 192 64 2 5\n"
    "  buffer 8 8 - 0 72 4 4\n  buffer 9 9 - 0 12 5 5\n  buffer 10 4 - 0 4 4 5\n  buffer 11 5 - 0 4 4 5\n"
    "  buffer 12 10 - 0 8 6 6\n  buffer 13 20 1 256 64 7 7\n"
    "  run 1 spot/4 [0 2 3 4] \"fc\"\n"
    "  run k_loss 1/1 [4 1 5] \"loss\"\n"
    "  zero 6\n"
    "  run 3 3/1 [0 1 4 6 7] \"grad fc\"\n"
    "  run 4 $0/4 [2 6 8 10 11] \"sgd\" 18\n"
    "  run 4 $0/4 [3 7 9 10 11] \"sgd\" 3\n"
    "  run 7 1/1 [12] \"count\"\n"
    "  copy 13 10\n"
    "  output \"loss\" 5\n  output \"lr\" 13\n"
    "end\n"
    "job evaluate\n"
    "  group 0 spot 64\n  group 1 1 64\n"
    "  buffer 0 0 - 0 24 0 0\n  buffer 1 1 - 0 12 1 1\n  buffer 2 6 - 0 72 0 0\n  buffer 3 7 - 0 12 0 0\n"
    "  buffer 4 11 0 0 64 0 2\n  buffer 5 12 1 0 64 1 2\n"
    "  run 1 spot/4 [0 2 3 4] \"fc\"\n  run 2 1/1 [4 1 5] \"loss\"\n"
    "  output \"loss\" 5\n  output \"expression\" 4\n  output \"y\" 1\n"
    "end\n"
    "job metrics\n"
    "  group 0 1 128\n"
    "  buffer 0 15 - 0 12 0 0\n  buffer 1 16 - 0 12 0 0\n  buffer 2 18 0 0 64 0 1\n  buffer 3 17 0 64 64 1 1\n"
    "  run 5 3/1 [0 1 2] \"mse\"\n  run 6 1/1 [2 3] \"mse\"\n"
    "  output \"mse\" 3\n  output \"mse_columns\" 2\n"
    "end\n"
    "job predict\n"
    "  group 0 spot 64\n"
    "  buffer 0 0 - 0 24 0 0\n  buffer 1 6 - 0 72 0 0\n  buffer 2 7 - 0 12 0 0\n  buffer 3 11 0 0 64 0 1\n"
    "  run 1 spot/4 [0 1 2 3] \"fc\"\n"
    "  output \"expression\" 3 11\n"
    "end\n"
    "job \"test:one is one\"\n"
    "  group 0 1 64\n  buffer 0 19 0 0 64 0 1\n"
    "  run 8 1/1 [0] \"test\"\n"
    "  output \"check.0.left\" 0\n  output \"check.0.right\" 0\n  output \"check.0.tolerance\" 0\n"
    "end\n";
const uint64_t stm_plan_size = sizeof stm_plan_text - 1;

enum { IN = 6, OUT = 3 };

static void k_init(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last) {
    (void)extent, (void)scratch, (void)first, (void)last;
    uint32_t seed = (uint32_t) * (const int32_t *)buffer[0];
    float *weight = buffer[1], *bias = buffer[2];
    for (uint32_t i = 0; i < IN * OUT; i++)
        weight[i] = (float)((seed * 2654435761u + i * 40503u) >> 8 & 0xFFFF) / 65536.0f - 0.5f;
    for (int i = 0; i < OUT; i++) bias[i] = 0;
}

static void k_forward(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last) {
    const float *x = buffer[0], *weight = buffer[1], *bias = buffer[2];
    float *y = buffer[3], *row = (float *)scratch + 16; // behind the header
    for (int64_t r = first * 4; r < last * 4 && r < extent[0]; r++) {
        for (int o = 0; o < OUT; o++) {
            row[o] = bias[o];
            for (int i = 0; i < IN; i++) row[o] += x[r * IN + i] * weight[o * IN + i];
        }
        memcpy(y + r * OUT, row, OUT * sizeof *row);
    }
}

static void k_loss(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last) {
    (void)scratch, (void)first, (void)last;
    const float *a = buffer[0], *b = buffer[1];
    double sum = 0;
    for (int64_t i = 0; i < extent[0] * OUT; i++) sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    *(float *)buffer[2] = (float)(sum / (double)(extent[0] * OUT));
}

static void k_gradient(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last) {
    (void)scratch;
    const float *x = buffer[0], *y = buffer[1], *p = buffer[2];
    float *weight = buffer[3], *bias = buffer[4];
    for (int64_t o = first; o < last; o++) {
        bias[o] = 0;
        for (int64_t r = 0; r < extent[0]; r++) {
            float d = 2 * (p[r * OUT + o] - y[r * OUT + o]) / (float)(extent[0] * OUT);
            bias[o] += d;
            for (int i = 0; i < IN; i++) weight[o * IN + i] += d * x[r * IN + i];
        }
    }
}

static void k_update(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last) {
    (void)scratch;
    float *p = buffer[0], *v = buffer[2], lr = *(const float *)buffer[3], decay = *(const float *)buffer[4];
    const float *g = buffer[1];
    for (int64_t i = first * 4; i < last * 4 && i < extent[3]; i++) { // extent[3]: the step's own
        v[i] = decay * v[i] + g[i];
        p[i] -= lr * v[i];
    }
}

static void k_mse_columns(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last) {
    (void)scratch;
    const float *a = buffer[0], *b = buffer[1];
    for (int64_t o = first; o < last; o++) {
        double sum = 0;
        for (int64_t r = 0; r < extent[0]; r++) sum += pow((double)(a[r * OUT + o] - b[r * OUT + o]), 2);
        ((float *)buffer[2])[o] = (float)(sum / (double)extent[0]);
    }
}

static void k_mean3(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last) {
    (void)extent, (void)scratch, (void)first, (void)last;
    const float *a = buffer[0];
    *(float *)buffer[1] = (a[0] + a[1] + a[2]) / 3;
}

static void k_count(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last) {
    (void)extent, (void)scratch, (void)first, (void)last;
    ++*(int64_t *)buffer[0];
}

static void k_one(void *const *buffer, const int64_t *extent, void *scratch, int64_t first, int64_t last) {
    (void)extent, (void)scratch, (void)first, (void)last;
    *(float *)buffer[0] = 1;
}

#ifdef CUDA_ALONE // as an executable that was compiled for CUDA alone: names without code
#define CODE(name) (0 ? name : NULL)
#else
#define CODE(name) name
#endif
#define KERNEL(name)                                                                                                   \
    { #name, CODE(name), CODE(name), CODE(name) }
const StmKernelEntry stm_kernels[] = {
    KERNEL(k_init),        KERNEL(k_forward), KERNEL(k_loss),  KERNEL(k_gradient), KERNEL(k_update),
    KERNEL(k_mse_columns), KERNEL(k_mean3),   KERNEL(k_count), KERNEL(k_one),
};
