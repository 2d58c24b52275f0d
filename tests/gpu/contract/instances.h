// The instances of kernels/contract.cuh that the tests compile by NVRTC and run on the host: one line each, and the
// text of its function. All take (a, b, d, bias, words, e0, e1, outside).
#ifndef CONTRACT_INSTANCES_H
#define CONTRACT_INSTANCES_H

#include <stdio.h>
#include <string.h>

#include "../../../kernels/contract.h"

// An operand: element type, major, vector (0: a functor), guards, k indices, exact.
// clang-format off
#define WINDOW_K (float, K, 4, 2, 3, 0)
#define WINDOW_MN (float, MN, 4, 2, 3, 0)
#define PLAIN_MN (float, MN, 4, 0, 1, 0)
#define PLAIN_K (float, K, 4, 0, 1, 0)
#define PARTS_K (float, K, 4, 0, 3, 0)
#define WINDOW_K16 (stm_bf16, K, 8, 2, 3, 0)
#define WINDOW_MN16 (stm_bf16, MN, 8, 2, 3, 0)
#define PLAIN_MN16 (stm_bf16, MN, 8, 0, 1, 0)
#define PLAIN_K16 (stm_bf16, K, 8, 0, 1, 0)
// name, MATH, TM, TN, TK, warps of m, of n, stages, blocks on an SM at least, A, B, type of D, epilogue, width
#define CONTRACT_INSTANCES(X) \
    X(tf32_forward_128x128, TF32, 128, 128, 16, 2, 2, 4, 2, WINDOW_K, PLAIN_MN, float, Bias, 4) \
    X(tf32_forward_128x64, TF32, 128, 64, 16, 2, 2, 4, 3, WINDOW_K, PLAIN_MN, float, Bias, 4) \
    X(tf32_forward_128x32, TF32, 128, 32, 32, 4, 1, 3, 2, WINDOW_K, PLAIN_MN, float, Store, 4) \
    X(tf32_forward_64x64, TF32, 64, 64, 32, 2, 2, 3, 3, WINDOW_K, PLAIN_MN, float, Bias, 4) \
    X(tf32_forward_kk_128x64, TF32, 128, 64, 16, 2, 2, 4, 3, WINDOW_K, PARTS_K, float, Store, 4) \
    X(tf32_forward_8_warps, TF32, 128, 128, 32, 2, 4, 3, 1, WINDOW_K, PLAIN_MN, float, Store, 4) \
    X(tf32_any_128x32, TF32, 128, 32, 32, 4, 1, 3, 2, (float, K, 1, 2, 4, 0), (float, MN, 1, 2, 4, 0), float, Store, 1) \
    X(tf32_any_64x64, TF32, 64, 64, 32, 2, 2, 3, 3, (float, MN, 1, 3, 4, 0), (float, K, 1, 1, 4, 0), float, Store, 1) \
    X(tf32_weight_128x128, TF32, 128, 128, 16, 2, 2, 4, 2, WINDOW_MN, PLAIN_MN, float, Partial, 4) \
    X(tf32_weight_128x64, TF32, 128, 64, 16, 2, 2, 4, 3, WINDOW_MN, PLAIN_MN, float, Partial, 4) \
    X(tf32_weight_128x32, TF32, 128, 32, 32, 4, 1, 3, 2, WINDOW_MN, PLAIN_MN, float, Partial, 4) \
    X(tf32_weight_64x64, TF32, 64, 64, 32, 2, 2, 3, 3, WINDOW_MN, PLAIN_MN, float, Partial, 1) \
    X(tf32_gemm_128x128, TF32, 128, 128, 16, 2, 2, 4, 2, PLAIN_K, PLAIN_K, float, Store, 4) \
    X(tf32_gemm_64x64, TF32, 64, 64, 32, 2, 2, 3, 3, PLAIN_K, PLAIN_MN, float, Store, 4) \
    X(tf32_gemm_64x32, TF32, 64, 32, 32, 2, 1, 3, 5, PLAIN_MN, PLAIN_K, float, Store, 4) \
    X(tf32_exact_64x64, TF32, 64, 64, 32, 2, 2, 3, 3, (float, K, 4, 2, 3, 1), (float, MN, 1, 0, 3, 0), float, Store, 4) \
    X(tf32_element_64x64, TF32, 64, 64, 32, 2, 2, 3, 3, (float, K, 0, 2, 3, 0), PLAIN_MN, float, Store, 4) \
    X(tf32_element_64x32, TF32, 64, 32, 16, 2, 1, 2, 1, PLAIN_MN, (float, MN, 0, 0, 1, 0), float, Store, 1) \
    X(bf16_forward_128x128, BF16, 128, 128, 32, 2, 2, 4, 2, WINDOW_K16, PLAIN_MN16, stm_bf16, Bias, 4) \
    X(bf16_forward_128x64, BF16, 128, 64, 32, 2, 2, 4, 3, WINDOW_K16, PLAIN_MN, stm_bf16, Store, 4) \
    X(bf16_forward_128x32, BF16, 128, 32, 32, 4, 1, 4, 3, WINDOW_K16, PARTS_K, stm_bf16, Store, 4) \
    X(bf16_weight_128x128, BF16, 128, 128, 32, 2, 2, 4, 2, WINDOW_MN16, PLAIN_MN16, float, Partial, 4) \
    X(bf16_weight_128x64, BF16, 128, 64, 32, 2, 2, 4, 3, WINDOW_MN16, PLAIN_MN16, float, Partial, 4) \
    X(bf16_gemm_128x128x64, BF16, 128, 128, 64, 2, 4, 3, 1, PLAIN_K16, PLAIN_K16, float, Store, 4) \
    X(bf16_gemm_64x64, BF16, 64, 64, 32, 2, 2, 4, 4, PLAIN_MN16, PLAIN_K16, stm_bf16, Store, 4) \
    X(bf16_round_64x64, BF16, 64, 64, 32, 2, 2, 3, 3, PLAIN_K, PLAIN_K, float, Store, 4) \
    X(bf16_round_64x32, BF16, 64, 32, 32, 2, 1, 3, 5, PLAIN_MN, (stm_bf16, MN, 4, 0, 1, 0), float, Store, 4) \
    X(bf16_any_64x32, BF16, 64, 32, 32, 2, 1, 4, 5, (stm_bf16, K, 1, 3, 4, 0), (stm_bf16, MN, 1, 1, 4, 0), stm_bf16, Store, 1) \
    X(f32_forward_128x64, F32, 128, 64, 16, 2, 2, 3, 2, WINDOW_K, PLAIN_MN, float, Bias, 4) \
    X(f32_forward_128x32, F32, 128, 32, 16, 4, 1, 3, 3, WINDOW_K, PARTS_K, float, Store, 4) \
    X(f32_weight_128x64, F32, 128, 64, 16, 2, 2, 3, 2, WINDOW_MN, PLAIN_MN, float, Partial, 4) \
    X(f32_weight_64x64, F32, 64, 64, 16, 2, 2, 3, 3, WINDOW_MN, PLAIN_MN, float, Partial, 4) \
    X(f32_any_64x64, F32, 64, 64, 16, 2, 2, 3, 3, (float, MN, 1, 3, 4, 0), (float, K, 1, 3, 4, 0), float, Store, 1) \
    X(f32_any_64x32, F32, 64, 32, 16, 2, 1, 3, 6, (float, K, 1, 3, 4, 0), (float, MN, 1, 3, 4, 0), float, Store, 1) \
    X(f32_exact_64x64, F32, 64, 64, 16, 2, 2, 3, 3, (float, K, 1, 2, 3, 1), (float, K, 1, 0, 3, 0), float, Store, 1) \
    X(f32_of_bf16_64x64, F32, 64, 64, 16, 2, 2, 3, 3, (stm_bf16, K, 4, 2, 3, 0), (stm_bf16, MN, 4, 0, 1, 0), float, Store, 4) \
    X(f64_any_64x32, F64, 64, 32, 16, 2, 1, 2, 1, (double, K, 1, 3, 4, 0), (double, MN, 1, 3, 4, 0), double, Store, 1) \
    X(f64_gemm_64x32, F64, 64, 32, 16, 2, 1, 2, 1, (double, MN, 2, 2, 3, 0), (double, K, 2, 0, 1, 0), double, Store, 4)
// clang-format on

typedef struct TestOperand {
    const char *type, *major; // "float" "double" "stm_bf16"; "K" "MN"
    int vector, guards, indices, exact;
} TestOperand;
typedef struct TestInstance {
    const char *name, *math;
    int tm, tn, tk, warps_m, warps_n, stages, blocks;
    TestOperand a, b;
    const char *d, *epilogue;
    int width;
} TestInstance;

#define CONTRACT_OPERAND(type, major, vector, guards, indices, exact)                                                  \
    { #type, #major, vector, guards, indices, exact }
#define CONTRACT_LINE(name, math, tm, tn, tk, wm, wn, stages, blocks, a, b, d, epilogue, width)                        \
    {#name, #math, tm, tn, tk, wm, wn, stages, blocks, CONTRACT_OPERAND a, CONTRACT_OPERAND b, #d, #epilogue, width},
static const TestInstance test_instance[] = {CONTRACT_INSTANCES(CONTRACT_LINE)};
enum { TEST_INSTANCES = sizeof test_instance / sizeof test_instance[0] };

static inline int test_type_bytes(const char *type) {
    return !strcmp(type, "double") ? 8 : !strcmp(type, "float") ? 4 : 2;
}
static inline int test_shared(const TestInstance *t) {
    return contract_shared_bytes(t->tm, t->tn, t->tk, t->stages, test_type_bytes(t->a.type), test_type_bytes(t->b.type),
                                 !strcmp(t->math, "F64") ? 8 : 4);
}
static inline void test_operand_text(char *out, size_t room, const TestOperand *o, const char *letter,
                                     const char *group) {
    char copy[160];
    snprintf(copy, sizeof copy, "ContractCopy<%s, CONTRACT_%s_MAJOR, %d, %d, %d, %s>", o->type, o->major,
             o->vector ? o->vector : 1, o->guards, o->indices, o->exact ? "true" : "false");
    if (o->vector) snprintf(out, room, "%s{%s}", copy, letter);
    else
        snprintf(out, room, "ContractElement<%s, CONTRACT_%s_MAJOR, TestGather<%s>>{{w, w.%s, w.%s, size, %s}}",
                 o->type, o->major, copy, letter, group, letter);
}
// The function's text, without includes.
static inline void test_instance_text(char *out, size_t room, const TestInstance *t) {
    char a[512], b[512], epilogue[160];
    test_operand_text(a, sizeof a, &t->a, "a", "m");
    test_operand_text(b, sizeof b, &t->b, "b", "n");
    if (!strcmp(t->epilogue, "Partial"))
        snprintf(epilogue, sizeof epilogue, "ContractPartial<%s, %d>{size, d}", t->d, t->width);
    else if (!strcmp(t->epilogue, "Bias"))
        snprintf(epilogue, sizeof epilogue, "ContractBias<%s, %d>{w, d, bias}", t->d, t->width);
    else snprintf(epilogue, sizeof epilogue, "ContractStore<%s, %d>{w, d}", t->d, t->width);
    snprintf(out, room,
             "extern \"C\" __global__ void __launch_bounds__(%d, %d) %s(\n"
             "    const %s *__restrict__ a, const %s *__restrict__ b, %s *d, const float *__restrict__ bias, "
             "ContractWords w,\n"
             "    int e0, int e1, unsigned *outside) {\n"
             "    const ContractSizes size = contract_sizes(w, e0, e1);\n"
             "    contract<ContractTile<CONTRACT_%s, %d, %d, %d, %d, %d, %d>>(\n        w, size, %s,\n        %s,\n    "
             "    %s);\n}\n",
             32 * t->warps_m * t->warps_n, t->blocks, t->name, t->a.type, t->b.type, t->d, t->math, t->tm, t->tn, t->tk,
             t->warps_m, t->warps_n, t->stages, a, b, epilogue);
}

#endif
