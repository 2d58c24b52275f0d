// Between expr.c (scopes, text), scalar.c (operators) and access.c (positions, loads, stores).
#ifndef STMC_TARGET_CUDA_EXPR_INTERNAL_H
#define STMC_TARGET_CUDA_EXPR_INTERNAL_H

#include "target/cuda/expr.h"

// ---- expr.c
const char *format_text(const CudaScope *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool text_is_atom(const char *text); // a name or a number: needs no parentheses and no temporary
// A name for a value of this C type. Equal texts get one name while the block is open; atoms are returned as they are.
const char *scope_temporary(CudaScope *s, const char *type, const char *text);
// One declaration of all lanes.
CudaValue scope_temporaries(CudaScope *s, const char *type, int lanes, const char *const *text);
const char *lane_of(const CudaValue *v, int lane);
const char *real_literal(const CudaScope *s, double number);
const char *integer_literal(const CudaScope *s, int64_t number, ElementType type);
const char *variable_text(const CudaScope *s, int var, int lane); // int; of that neighbour

// ---- scalar.c
CudaValue scalar_value(CudaScope *s, const Stage *stage, const Expr *e); // without the memo

// ---- access.c
CudaValue access_read(CudaScope *s, const Stage *stage, const Expr *read);
CudaValue access_random(CudaScope *s, const Stage *stage, const Expr *e);

#endif
