// Copies a constant-sized operand of a contraction into a workspace in the order in which the product reads it: the
// weights of a convolution, whose rows of K lie scattered. One generated function does it for all shapes.
#include "target/cuda/contraction.h"

#include <string.h>

enum { PACK_THREADS = 256, PACK_PER_THREAD = 4, PACK_ALIGN = 8, PACK_MOST_BYTES = 16 << 20 };

typedef struct PackWords { // as in the function's text
    long long base;
    ContractGroup row, column;
    int row_stride[4], column_stride[4];
    int pitch, elements;
} PackWords;

static const char pack_text[] =
    "#include \"contract.cuh\"\n"
    "// A constant operand in rows of `pitch` elements: to[row * pitch + column].\n"
    "struct @_words {\n"
    "    long long base;\n"
    "    ContractGroup row, column;\n"
    "    int row_stride[4], column_stride[4];\n"
    "    int pitch, elements;\n"
    "};\n"
    "extern \"C\" __global__ void __launch_bounds__(%d, 1)\n"
    "@(const %s *__restrict__ from, %s *to, @_words w, unsigned *outside) {\n"
    "    (void)outside;\n"
    "    const int columns = w.column.extent;\n"
    "    for (int i = (int)(blockIdx.x * %d + threadIdx.x); i < w.elements; i += (int)gridDim.x * %d) {\n"
    "        const int row = i / columns, column = i - row * columns;\n"
    "        int ir[4], ic[4];\n"
    "        contract_indices(w.row, row, ir);\n"
    "        contract_indices(w.column, column, ic);\n"
    "        const long long at = w.base + contract_dot(w.row_stride, ir) + contract_dot(w.column_stride, ic);\n"
    "        to[(long long)row * w.pitch + column] = %s;\n"
    "    }\n"
    "}\n";

static int row_variables(const Contraction *c, int which, Group rows, int *var) {
    int n = 0;
    for (int i = 0; i < c->vars[GROUP_B]; i++)
        if (c->operand[which].uses >> c->var[GROUP_B][i] & 1) var[n++] = c->var[GROUP_B][i];
    for (int i = 0; i < c->vars[rows]; i++) var[n++] = c->var[rows][i];
    return n;
}

bool operand_packable(const Contraction *c, int which) {
    const Operand *o = &c->operand[which];
    Group own = which ? GROUP_N : GROUP_M;
    int64_t elements = 1;
    if (o->why || o->at.guards) return false;
    for (int v = 0; v < c->kernel->vars; v++) {
        if (c->nest.var[v].gone || (c->group[v] != own && c->group[v] != GROUP_K && !(o->uses >> v & 1))) continue;
        if (c->nest.var[v].extent.axes || o->at.stride[v].axes) return false;
        elements *= c->nest.var[v].extent.k;
        if (elements > PACK_MOST_BYTES / 4) return false;
    }
    for (int i = 0; i < o->at.bases; i++)
        if (o->at.base[i].axes) return false;
    int var[NEST_VARS];
    return row_variables(c, which, GROUP_K, var) <= CONTRACT_INDICES && c->vars[own] <= CONTRACT_INDICES &&
           row_variables(c, which, own, var) <= CONTRACT_INDICES && c->vars[GROUP_K] <= CONTRACT_INDICES;
}

// Fills a group and its strides; the operand's own become those of the copy, `unit` elements per value.
static ContractGroup pack_group(Contraction *c, Operand *o, const int *var, int n, int *stride, int64_t unit) {
    int extent[CONTRACT_INDICES];
    for (int i = n - 1; i >= 0; i--) {
        extent[i] = (int)c->nest.var[var[i]].extent.k;
        stride[CONTRACT_INDICES - n + i] = (int)o->at.stride[var[i]].k;
        o->at.stride[var[i]] = mono_of(unit);
        unit *= extent[i];
    }
    return contract_group(n, extent, -1);
}

const char *operand_pack(Contraction *c, int which, bool own_rows, ElementType type, KernelCode *out) {
    Operand *o = &c->operand[which];
    Group own = which ? GROUP_N : GROUP_M, rows = own_rows ? own : GROUP_K, columns = own_rows ? GROUP_K : own;
    const Program *p = c->unit->program;
    PackWords w = {0};
    int var[NEST_VARS], n = row_variables(c, which, rows, var);
    for (int i = 0; i < o->at.bases; i++) w.base += o->at.base[i].k;
    int64_t pitch = (c->extent[columns].k + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
    w.pitch = (int)pitch;
    w.column = pack_group(c, o, c->var[columns], c->vars[columns], w.column_stride, 1);
    w.row = pack_group(c, o, var, n, w.row_stride, pitch);
    w.elements = w.row.extent * w.column.extent;
    KernelBuffer b = {.type = type, .rank = 2, .dim = {extent_of(w.row.extent), extent_of(pitch)}, .order = {0, 1}};
    int from = o->arg, to;
    const char *error = cuda_workspace(c->unit, out, &b, &to);
    if (error) return error;
    const char *in_type = o->type == T_BF16 ? "stm_bf16" : p->real64 ? "double" : "float";
    const char *out_type = type == T_BF16 ? "stm_bf16" : p->real64 ? "double" : "float";
    const char *value = o->type == type ? "from[at]" : type == T_BF16 ? "stm_to_bf16(from[at])" : "stm_float(from[at])";
    char *text =
        arena_format(c->unit->arena, pack_text, PACK_THREADS, in_type, out_type, PACK_THREADS, PACK_THREADS, value);
    int at = out->phases++;
    out->phase[at].name = arena_format(c->unit->arena, "%s.pack", c->nest.name);
    out->phase[at].launch = new_launch(c->unit, "pack", text, PACK_THREADS, 0, &w, sizeof w, NULL);
    out->phase[at].args = 2;
    out->phase[at].arg[0] = from;
    out->phase[at].arg[1] = to;
    out->phase[at].parts = extent_of(w.elements);
    out->phase[at].divide = PACK_THREADS * PACK_PER_THREAD;
    out->phase[at].times = 1;
    o->arg = to;
    o->type = type;
    o->at.bases = 0;
    o->at.unit = c->vars[columns] ? c->var[columns][c->vars[columns] - 1] : -1;
    return NULL;
}
