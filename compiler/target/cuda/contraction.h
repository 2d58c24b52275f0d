// A KERNEL_CONTRACTION as the CUDA target sees it: which factors make operand A (rows of M) and operand B (columns of
// N), how every operand is addressed, and the variables of each group in the order in which they are walked. Made by
// analyse.c; matmul.c asks whether cuBLASLt does it, instance.c makes an instance of kernels/contract.cuh of it.
//
// Everything lives on the unit's arena. Errors and refusals are messages: `why` of contraction.c.
#ifndef STMC_TARGET_CUDA_CONTRACTION_H
#define STMC_TARGET_CUDA_CONTRACTION_H

#include "../../../kernels/contract.h"
#include "forms/nest.h"
#include "target/cuda/internal.h"

// What is decided by size; tests force what small kernels would not get.
typedef struct ContractionPolicy {
    bool matmul, any_matmul; // cuBLASLt where it fits; also where the product is small
    int64_t pack_flops;      // smaller products are not worth another launch
    int tile;                // of the math's tiles, or -1: by the model
    int slices;              // or 0: by the model
} ContractionPolicy;
extern const ContractionPolicy contraction_default;

typedef enum Group { GROUP_B, GROUP_M, GROUP_N, GROUP_K, GROUPS } Group;

enum { ACCESS_BASES = 4, OPERAND_FACTORS = 8 };

typedef struct AccessGuard { // 0 <= x / step < size and x % step == 0, x = offset + sum of coef * var
    int terms;
    Term term[4];
    int64_t offset, step;
    Extent size;
    Mono stride; // with step > 1: elements per unit of x / step; not in the access's strides then
} AccessGuard;

// An element number as a sum: base + stride * variable + ...; 0 is read where a guard fails.
typedef struct Access {
    Mono base[ACCESS_BASES];
    int bases;
    Mono stride[NEST_VARS]; // k == 0: the variable does not occur
    AccessGuard guard[CONTRACT_GUARDS];
    int guards;
    bool exact; // a guard has a step > 1
    int unit;   // variable of stride 1, or -1
} Access;

typedef struct Operand {
    const Expr *factor[OPERAND_FACTORS]; // its value is their product; over the kernel's variables
    int factors;
    uint64_t uses;    // bit per variable
    const char *why;  // what keeps it from being read as it lies; NULL: the rest is filled
    int arg;          // element of this argument (>= 0 buffer, < 0 workspace ~arg)
    ElementType type; //   of this type in memory: T_REAL or T_BF16
    Access at;
} Operand;

typedef struct Contraction {
    CudaUnit *unit;
    const ContractionPolicy *policy;
    const Kernel *kernel; // results are outer variables, locals are scalars
    Nest nest;            // merged; variables of extent 1 and those merged away are in no group
    int original;         // buffers of the kernel that was given
    StmCompute compute;
    Operand operand[2];                       // A: M and K, B: N and K
    double scale;                             // of the sums
    int vars[GROUPS], var[GROUPS][NEST_VARS]; // outermost first
    Group group[NEST_VARS];
    Mono extent[GROUPS];       // product; axes > 1 only in B and K
    int64_t bound[GROUPS];     // at the bounds
    int gradient, gradient_of; // buffer that takes the sum over K of operand 0 or 1 (kernel_bias_gradient), or -1
    int out;                   // the stage that stores the main result
    const char *out_why;       // what keeps its place from being a sum of strides, or NULL
    Access out_at;
} Contraction;

// NULL or why the element number is no such sum.
const char *contraction_access(const Contraction *c, int tensor, int rank, const Position *position, Access *out);

// NULL and *why when the kernel has another form than spec/kernels.md promises of a contraction, or too many extents.
Contraction *contraction_analyse(CudaUnit *unit, const Kernel *k, const char **why);

int64_t contraction_flops(const Contraction *c); // at the bounds

// As one matmul of cuBLASLt: fills *out and returns true, or says why not.
bool contraction_matmul(Contraction *c, KernelCode *out, const char **why);

// ---- words.c: groups and operands in the terms of kernels/contract.h
enum { EXTENTS = 16 };
typedef struct Extents { // that a function takes, in order; groups use the first CONTRACT_EXTENTS
    int count, axis[EXTENTS];
} Extents;
int extents_add(Extents *e, int axis);                // its number, or -1: no room
int contraction_place(const Contraction *c, int var); // 0..3: which of its group's indices
// NULL, or why the group cannot be a flat number.
const char *words_group(const Contraction *c, Group group, Extents *e, ContractGroup *out);
const char *words_operand(const Contraction *c, int which, ContractOperand *out);
// Strides of an access over batch, m and n, and its first element: constant ones that fit.
const char *words_strides(const Contraction *c, const Access *at, ContractResult *out);
const int64_t *words_copy(Arena *arena, const void *from, size_t bytes); // as StmLaunch.word
// cuda_lower_contraction under a policy.
const char *contraction_lower(CudaUnit *unit, const Kernel *k, const ContractionPolicy *policy, KernelCode *out,
                              const char **why);

StmLaunch *new_launch(CudaUnit *unit, const char *what, const char *text, int threads, int64_t shared,
                      const void *words, size_t bytes, const Extents *e);

// ---- epilogue.c: what happens to a sum, as a functor of kernels/contract.cuh
enum { EPILOGUE_PATTERNS = 12, EPILOGUE_BUFFERS = 48 };
typedef struct Parameter {   // of a generated function
    const char *type, *name; // "const float *__restrict__", "x0"
    int arg;
} Parameter;
typedef struct Epilogue {
    const char *text; // of the struct @_epilogue; its members, in order: w, the buffers, extents, outside
    int width;        // 4 or 1
    int buffers;
    Parameter buffer[EPILOGUE_BUFFERS];
    int extents, extent[8]; // axes: members e<axis>
    int patterns;
    ContractResult pattern[EPILOGUE_PATTERNS]; // words behind ContractWords: member p of @_words
} Epilogue;
// `value` is the C type of a sum. NULL or why it cannot be written.
const char *contraction_epilogue(const Contraction *c, const char *value, Epilogue *out);

// ---- operand.c
typedef struct OperandForm { // how an instance reads an operand
    bool copy, k_major, exact;
    int vector, guards;  // copy
    const char *type;    // C type in shared memory
    int bytes;           //   and its size
    const char *functor; // otherwise: text of the struct; members: w, the buffers, extents, outside
    int buffers;
    Parameter buffer[EPILOGUE_BUFFERS];
    int extents, extent[8];
} OperandForm;
// Elements of one aligned copy along K, or along the operand's own group: 1 when it has no such direction.
int operand_vector(const Contraction *c, int which, bool along_k);
// `why` says why the operand is a functor: NULL when *form is a copy. An error when it can be neither.
const char *operand_form(const Contraction *c, int which, OperandForm *form);

// ---- instance.c: fills *out, or says why it is no instance
bool contraction_instance(Contraction *c, KernelCode *out, const char **why);

// ---- pack.c
// Can operand `which` be copied to a workspace: all its extents constant, read as it lies?
bool operand_packable(const Contraction *c, int which);
// Appends a phase that copies it as rows of K (rows of its own group with `own_rows`), converted to `type`, every row
// padded to a multiple of 8 elements; the operand is then that workspace. NULL or an error.
const char *operand_pack(Contraction *c, int which, bool own_rows, ElementType type, KernelCode *out);

#endif
