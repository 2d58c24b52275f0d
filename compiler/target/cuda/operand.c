// How an instance of kernels/contract.cuh reads an operand: by asynchronous copies along one of its directions where it
// lies in memory as strides, by a generated functor where it is gathered, converted, divided or a product.
#include "target/cuda/contraction.h"

#include "target/cuda/expr.h"

#include <string.h>

static bool divides(int64_t by, Mono m) {
    return m.k % by == 0;
}

int operand_vector(const Contraction *c, int which, bool along_k) {
    const Operand *o = &c->operand[which];
    Group group = along_k ? GROUP_K : which ? GROUP_N : GROUP_M;
    int64_t bytes = element_size(c->unit->program, o->type);
    if (o->why || c->vars[group] == 0) return 1;
    int inner = c->var[group][c->vars[group] - 1];
    if (o->at.stride[inner].axes || o->at.stride[inner].k != 1) return 1;
    for (int i = 0; i < o->at.guards; i++)
        for (int t = 0; t < o->at.guard[i].terms; t++)
            if (o->at.guard[i].term[t].var == inner) return 1;
    int vector = (int)(16 / bytes);
    for (; vector > 1; vector /= 2) {
        bool fits = divides(vector, c->nest.var[inner].extent);
        for (int v = 0; v < c->kernel->vars; v++)
            if (v != inner && !c->nest.var[v].gone) fits = fits && divides(vector, o->at.stride[v]);
        for (int i = 0; i < o->at.bases; i++) fits = fits && divides(vector, o->at.base[i]);
        for (int i = 0; i < o->at.guards; i++) fits = fits && divides(vector, o->at.guard[i].stride);
        if (fits) break;
    }
    return vector * bytes >= 4 ? vector : 1;
}

// Without vectors: threads walk along the direction in which neighbours are closest in memory.
static bool closer_along_k(const Contraction *c, int which) {
    const Operand *o = &c->operand[which];
    Group own = which ? GROUP_N : GROUP_M;
    if (c->vars[GROUP_K] == 0 || c->vars[own] == 0) return c->vars[GROUP_K] != 0;
    int64_t along[2];
    for (int i = 0; i < 2; i++) {
        Group group = i ? GROUP_K : own;
        Mono m = o->at.stride[c->var[group][c->vars[group] - 1]];
        along[i] = m.k == 0 ? INT64_MAX : mono_bound(c->nest.program, m);
        if (along[i] < 0) along[i] = -along[i];
    }
    return along[1] <= along[0];
}

static void add_buffers(const Contraction *c, const Expr *e, OperandForm *form) {
    for (int i = 0; i < e->arity; i++) add_buffers(c, e->arg[i], form);
    for (int d = 0; e->op == OP_READ && d < e->rank; d++)
        if (e->position[d].gather) add_buffers(c, e->position[d].gather, form);
    if (e->op != OP_READ) return;
    for (int i = 0; i < form->buffers; i++)
        if (form->buffer[i].arg == e->tensor) return;
    if (form->buffers == EPILOGUE_BUFFERS) DIE("an operand of more than %d buffers", EPILOGUE_BUFFERS);
    const char *type = cuda_type(c->unit->program, c->kernel->buffer.at[e->tensor].type);
    form->buffer[form->buffers] = (Parameter){arena_format(c->unit->arena, "const %s *__restrict__ ", type),
                                              arena_format(c->unit->arena, "y%d", form->buffers), e->tensor};
    form->buffers++;
}

static const char *functor(const Contraction *c, int which, OperandForm *form) {
    static const char *const member[] = {"batch", "m", "n", "k"}, *const index[] = {"ib", "im", "in", "ik"},
                             *const flat[] = {"b", "own", "own", "k"};
    Arena *arena = c->unit->arena;
    const Operand *o = &c->operand[which];
    const Stage *sum = &c->kernel->stage.at[0];
    char letter = which ? 'b' : 'a';
    for (int i = 0; i < o->factors; i++) add_buffers(c, o->factor[i], form);
    Text body = {.arena = arena};
    CudaScope scope;
    scope_init(&scope, &c->nest, &body);
    scope.indent = 2;
    for (int i = 0; i < form->buffers; i++) {
        form->buffer[i].name = arena_format(arena, "%c%d", which ? 'v' : 'u', i);
        scope.buffer[form->buffer[i].arg] = form->buffer[i].name;
    }
    for (int i = 0; i < GROUPS; i++) {
        bool used = false;
        for (int j = 0; j < c->vars[i]; j++) used = used || (o->uses >> c->var[i][j] & 1);
        if (!used) continue;
        scope_line(&scope, "int %s[4];", index[i]);
        scope_line(&scope, "contract_indices<%d>(w.c.%s, %s, %s);", c->vars[i], member[i], flat[i], index[i]);
        for (int j = 0; j < c->vars[i]; j++)
            scope.var[c->var[i][j]] = arena_format(arena, "%s[%d]", index[i], CONTRACT_INDICES - c->vars[i] + j);
    }
    const char *product = NULL;
    for (int i = 0; i < o->factors; i++) {
        CudaValue v = scope_value(&scope, sum, o->factor[i]);
        product = product ? arena_format(arena, "%s * %s", product, v.lane[0]) : v.lane[0];
    }
    scope_line(&scope, "return %s;", product);
    Text t = {.arena = arena};
    text_add(&t, "struct @_%c {\n    const @_words &w;\n", letter);
    for (int i = 0; i < form->buffers; i++) text_add(&t, "    %s%s;\n", form->buffer[i].type, form->buffer[i].name);
    for (int a = 0; a < c->unit->program->axis.count + CUDA_STEP_EXTENTS; a++) {
        if (!scope.extent_used[a]) continue;
        if (form->extents == 8) return "an operand depends on too many dynamic extents";
        form->extent[form->extents++] = a;
        text_add(&t, "    int e%d;\n", a);
    }
    text_add(&t, "    unsigned *outside;\n");
    text_add(&t, "    __device__ __forceinline__ %s operator()(int b, int own, int k) const {\n", form->type);
    text_add(&t, "        (void)b, (void)own, (void)k;\n");
    text_add_bytes(&t, body.at, body.length);
    text_add(&t, "    }\n};\n");
    form->functor = t.at;
    return NULL;
}

const char *operand_form(const Contraction *c, int which, OperandForm *form) {
    const Operand *o = &c->operand[which];
    const Program *p = c->unit->program;
    ContractOperand words;
    *form = (OperandForm){0};
    if (!o->why && !words_operand(c, which, &words)) {
        int k = operand_vector(c, which, true), own = operand_vector(c, which, false);
        form->copy = true;
        form->k_major = k != own ? k > own : closer_along_k(c, which);
        form->vector = k > own ? k : own;
        form->guards = o->at.guards;
        form->exact = o->at.exact;
        form->type = cuda_type(p, o->type);
        form->bytes = (int)element_size(p, o->type);
        return NULL;
    }
    form->k_major = closer_along_k(c, which);
    form->type = p->real64 ? "double" : "float";
    form->bytes = p->real64 ? 8 : 4;
    return functor(c, which, form);
}
