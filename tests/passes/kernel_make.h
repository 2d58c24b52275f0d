// Kernels by hand and by chance, and running them: as generated code on guarded memory and by the reference runner. For
// tests of the CPU target.
#ifndef STMC_TESTS_KERNEL_MAKE_H
#define STMC_TESTS_KERNEL_MAKE_H

#include "jit.h"
#include "kernel_run.h"
#include "pass_harness.h"

typedef struct Make {
    Arena *arena;
    Program *p;
    Job *job;
    Kernel *k;
} Make;

Make make_open(Arena *arena, Program *p, const char *name);
int make_var(Make *m, int64_t count, int axis); // outer ones first, then make_outer
void make_outer(Make *m);                       // all variables so far are outer
int make_buffer(Make *m, ElementType type, bool write, int rank, const Extent *dim,
                const int *order);                                      // order NULL: identity
int make_local(Make *m, ElementType type, int rank, const Extent *dim); // ~number
Expr *make_read(Make *m, int tensor, int rank, const Position *position);
Expr *make_at(Make *m, int tensor, int rank, const int *var); // plain variables
Stage *make_stage(Make *m, int free, int vars, const int *var, Reduce reduce, Expr *value, int dest, int rank,
                  const Position *target);
Stage *make_store(Make *m, int free, int vars, const int *var, Reduce reduce, Expr *value, int dest, int rank,
                  const int *target); // plain variables
Position make_affine(int var, int64_t coef, int64_t offset, bool guarded);
Position make_affine2(int var, int64_t coef, int var2, int64_t coef2, int64_t offset, bool guarded);

// Memory of kernels: elements and bytes of a buffer, a value in it, what the tests put there, and when two are equal.
int64_t make_value(Extent e, const int64_t *axes);
size_t make_elements(const KernelBuffer *b, const int64_t *axes);
size_t make_bytes(bool real64, ElementType t);
double make_get(bool real64, ElementType t, const char *at, size_t i);
void make_put(bool real64, ElementType t, char *at, size_t i, double d);
double make_initial(Dice *d, const Kernel *k, int buffer);
bool make_near(double a, double b, double tolerance);

// Compiles all kernels once for all levels and compares every one with the reference, for every row of axis values.
void check_kernels(Checks *c, Arena *arena, Program *p, Kernel *const *kernel, int count, const int64_t (*axes)[4],
                   int rows, const CpuOptions *options, double tolerance);

#endif
