// A contraction as an instance of kernels/contract.cuh: the tile, how many slices of k, operands packed or read as they
// lie, the function's text and its words. requires an analysed contraction.
//
// The tile is the one with the least time by a small model of a GPU with 132 multiprocessors; only ratios matter, and
// only extents at their bounds go in, so that the choice does not depend on a machine.
#include "target/cuda/contraction.h"

#include <string.h>

enum {
    PROCESSORS = 132,
    MOST_SLICES = 64,
    SLICE_STEPS = 8, // least k steps of a slice
    MOST_BLOCKS = 1 << 20,
    WIDE_INDICES = 3,
    WIDE_GUARDS = 2,
    COMBINE_THREADS = 256,
    COMBINE_PER_THREAD = 2,
};

// A new function is worth this much of a kernel's time; a window's checks cost about so much where there is none.
static const double NEW_SECONDS = 3e-6, NEW_SHARE = 0.25, WIDE_COST = 1.05;

typedef struct Tile {
    int math; // of StmCompute
    int tm, tn, tk, warps_m, warps_n, stages;
    int blocks;  // that a multiprocessor shall hold: how many registers a thread may have
    double rate; // share of the math's rate that it reaches
} Tile;

static const Tile tile_table[] = {
    {STM_COMPUTE_TF32, 128, 128, 16, 2, 2, 4, 2, 1.0}, {STM_COMPUTE_TF32, 128, 64, 16, 2, 2, 4, 3, 0.9},
    {STM_COMPUTE_TF32, 64, 64, 32, 2, 2, 3, 3, 0.7},   {STM_COMPUTE_TF32, 128, 32, 32, 4, 1, 3, 2, 0.6},
    {STM_COMPUTE_TF32, 64, 32, 32, 2, 1, 3, 5, 0.5},   {STM_COMPUTE_BF16, 128, 128, 32, 2, 2, 4, 2, 1.0},
    {STM_COMPUTE_BF16, 128, 64, 32, 2, 2, 4, 3, 0.85}, {STM_COMPUTE_BF16, 64, 64, 32, 2, 2, 4, 4, 0.62},
    {STM_COMPUTE_BF16, 128, 32, 32, 4, 1, 4, 3, 0.5},  {STM_COMPUTE_BF16, 64, 32, 32, 2, 1, 4, 5, 0.42},
    {STM_COMPUTE_F32, 128, 64, 16, 2, 2, 3, 2, 1.0},   {STM_COMPUTE_F32, 64, 64, 16, 2, 2, 3, 3, 0.88},
    {STM_COMPUTE_F32, 128, 32, 16, 4, 1, 3, 3, 0.8},   {STM_COMPUTE_F32, 64, 32, 16, 2, 1, 3, 6, 0.65},
    {STM_COMPUTE_F64, 64, 32, 16, 2, 1, 2, 1, 1.0},
};

static const double math_rate[] = { // products and sums per second, whole device
    [STM_COMPUTE_F32] = 4.5e13,
    [STM_COMPUTE_TF32] = 2.6e14,
    [STM_COMPUTE_BF16] = 4.8e14,
    [STM_COMPUTE_F64] = 3e13};
static const char *const math_name[] = {[STM_COMPUTE_F32] = "CONTRACT_F32",
                                        [STM_COMPUTE_TF32] = "CONTRACT_TF32",
                                        [STM_COMPUTE_BF16] = "CONTRACT_BF16",
                                        [STM_COMPUTE_F64] = "CONTRACT_F64"};

typedef struct Instance {
    Contraction *c;
    StmCompute math;
    Tile tile;
    int slices;
    bool wide; // reads both operands like a window of two guards: shares the function of convolutions
    OperandForm form[2];
    Epilogue epilogue;
    ContractWords words;
    Extents extents;
    const char *value; // C type of sums
    int partial;       // workspace of slices
    const char *why;
} Instance;

static bool refuse(Instance *x, const char *why) {
    if (!x->why) x->why = why;
    return why == NULL;
}

// ---- tile and slices
static int64_t up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int64_t tiles_of(const Contraction *c, const Tile *t) {
    return up(c->bound[GROUP_M], t->tm) * up(c->bound[GROUP_N], t->tn) * c->bound[GROUP_B];
}

static double seconds(const Contraction *c, const Tile *t, int64_t slices) {
    double k = (double)(up(c->bound[GROUP_K], t->tk * slices) * t->tk + 2 * t->tk); // the pipeline fills and drains
    double block = 2.0 * t->tm * t->tn * k / (math_rate[t->math] / PROCESSORS * t->rate);
    int64_t per = up(tiles_of(c, t) * slices, PROCESSORS);     // blocks of the busiest processor
    int together = per < t->blocks ? (int)per : t->blocks;     // at a time
    double warps = (double)together * t->warps_m * t->warps_n; // few of them do not hide their latencies
    double share = warps >= 8 ? 1.0 : warps >= 4 ? 0.65 : 0.4;
    double time = (double)per * block / share + 2e-6;
    double sums = (double)c->bound[GROUP_B] * (double)c->bound[GROUP_M] * (double)c->bound[GROUP_N];
    if (slices > 1) time += 2.5e-6 + 8.0 * (double)slices * sums / 2.5e12; // written and read again
    return time;
}

static StmCompute math_of(const Contraction *c) {
    bool narrow = c->operand[0].type == T_BF16 || c->operand[1].type == T_BF16;
    bool both = c->operand[0].type == T_BF16 && c->operand[1].type == T_BF16;
    if (c->compute == STM_COMPUTE_TF32 && narrow) return both ? STM_COMPUTE_BF16 : STM_COMPUTE_F32;
    return c->compute;
}

// ---- packing
static void pack_operands(Instance *x, KernelCode *out) {
    Contraction *c = x->c;
    bool narrow = x->math == STM_COMPUTE_BF16;
    if (contraction_flops(c) < c->policy->pack_flops) return;
    for (int i = 0; i < 2; i++) {
        const Operand *o = &c->operand[i];
        Group own = i ? GROUP_N : GROUP_M;
        if (!operand_packable(c, i) || out->phases + 1 >= CODE_MAX_PHASES) continue;
        int bytes = o->type == T_BF16 ? 2 : c->unit->program->real64 ? 8 : 4;
        int have = operand_vector(c, i, true), along = operand_vector(c, i, false);
        if ((have > along ? have : along) * bytes >= 16) continue;
        int after = narrow ? 8 : 16 / bytes;
        Mono k = c->vars[GROUP_K] ? c->nest.var[c->var[GROUP_K][c->vars[GROUP_K] - 1]].extent : mono_of(1);
        Mono n = c->vars[own] ? c->nest.var[c->var[own][c->vars[own] - 1]].extent : mono_of(1);
        if (k.k % after && n.k % after && n.k % (after / 2)) continue; // no better than before
        refuse(x, operand_pack(c, i, k.k % after == 0, narrow ? T_BF16 : o->type, out));
    }
}

// ---- text
static const char *extent_names(Arena *arena, const Extents *e, int count) {
    Text t = {.arena = arena};
    text_add(&t, "%s", "");
    for (int i = 0; i < e->count && i < count; i++) text_add(&t, ", e%d", e->axis[i]);
    return t.at;
}

static bool take_extents(Instance *x, const int *axis, int count) {
    for (int i = 0; i < count; i++)
        if (extents_add(&x->extents, axis[i]) < 0) return refuse(x, "the function depends on too many dynamic extents");
    return true;
}

static void copy_text(Text *t, const Instance *x, int which) {
    const OperandForm *f = &x->form[which];
    const char *major = f->k_major ? "CONTRACT_K_MAJOR" : "CONTRACT_MN_MAJOR";
    int indices = x->c->vars[GROUP_K] ? x->c->vars[GROUP_K] : 1, guards = f->guards;
    if (x->wide && indices < WIDE_INDICES) indices = WIDE_INDICES;
    if (x->wide && which == 0 && guards < WIDE_GUARDS) guards = WIDE_GUARDS;
    if (f->copy) {
        text_add(t, "ContractCopy<%s, %s, %d, %d, %d, %s>{%c}", f->type, major, f->vector, guards, indices,
                 f->exact ? "true" : "false", which ? 'b' : 'a');
        return;
    }
    text_add(t, "ContractElement<%s, %s, @_%c>{@_%c{w", f->type, major, which ? 'b' : 'a', which ? 'b' : 'a');
    for (int i = 0; i < f->buffers; i++) text_add(t, ", %s", f->buffer[i].name);
    for (int i = 0; i < f->extents; i++) text_add(t, ", e%d", f->extent[i]);
    text_add(t, ", outside}}");
}

static void epilogue_text(Text *t, const Epilogue *e) {
    text_add(t, "@_epilogue{w");
    for (int i = 0; i < e->buffers; i++) text_add(t, ", %s", e->buffer[i].name);
    for (int i = 0; i < e->extents; i++) text_add(t, ", e%d", e->extent[i]);
    text_add(t, ", outside}");
}

typedef struct Function {
    Text parameters;
    int args, arg[4 * MAX_VARS];
} Function;

static void parameter(Function *f, const char *type, const char *name, int arg) {
    text_add(&f->parameters, "%s%s, ", type, name);
    f->arg[f->args++] = arg;
}

static void words_struct(Text *t, int patterns) {
    text_add(t, "#include \"contract.cuh\"\nstruct @_words {\n    ContractWords c;\n");
    if (patterns) text_add(t, "    ContractResult p[%d];\n", patterns);
    text_add(t, "};\n");
}

static void head(Text *t, const Instance *x, const Function *f, const char *bounds) {
    text_add(t, "extern \"C\" __global__ void __launch_bounds__(%s)\n@(%sconst __grid_constant__ @_words w", bounds,
             f->parameters.at);
    for (int i = 0; i < x->extents.count; i++) text_add(t, ", int e%d", x->extents.axis[i]);
    text_add(t, ", unsigned *outside) {\n    (void)outside;\n");
}

static StmLaunch *launch(const Instance *x, const char *text, int threads, int64_t shared, bool patterns) {
    struct {
        ContractWords c;
        ContractResult p[EPILOGUE_PATTERNS];
    } words;
    memset(&words, 0, sizeof words);
    words.c = x->words;
    size_t bytes = sizeof words.c;
    if (patterns) {
        memcpy(words.p, x->epilogue.pattern, sizeof words.p[0] * (size_t)x->epilogue.patterns);
        bytes += sizeof words.p[0] * (size_t)x->epilogue.patterns;
    }
    return new_launch(x->c->unit, x->c->nest.name, text, threads, shared, &words, bytes, &x->extents);
}

static bool add_phase(Instance *x, KernelCode *out, const char *suffix, const Function *f, StmLaunch *l) {
    if (out->phases == CODE_MAX_PHASES) return refuse(x, "there are too many phases");
    int at = out->phases++;
    out->phase[at].name = arena_format(x->c->unit->arena, "%s%s", x->c->nest.name, suffix);
    out->phase[at].launch = l;
    out->phase[at].args = f->args;
    if (f->args > 4 * MAX_VARS) return refuse(x, "there are too many arguments");
    memcpy(out->phase[at].arg, f->arg, sizeof(int) * (size_t)f->args);
    return true;
}

// Blocks: the group with a dynamic axis is `parts`, everything else `times`, at the bounds.
static void set_grid(const Contraction *c, KernelCode *out, const int64_t *divide, int64_t times) {
    int at = out->phases - 1, parts = GROUP_M;
    for (int i = GROUP_K - 1; i >= 0; i--)
        if (c->extent[i].axes == 1) parts = i;
    if (c->extent[GROUP_M].axes == 1) parts = GROUP_M;
    Mono m = c->extent[parts];
    if (m.axes > 1) m = mono_of(c->bound[parts]);
    for (int i = 0; i < GROUP_K; i++)
        if (i != parts) times *= up(c->bound[i], divide[i]);
    if (times > MOST_BLOCKS) times = MOST_BLOCKS;
    out->phase[at].parts = (Extent){m.k, m.axes ? m.axis[0] : -1};
    out->phase[at].divide = divide[parts];
    out->phase[at].times = times > 0 ? times : 1;
}

// The product's function; its parameters go to *f.
static const char *product_text(const Instance *x, Function *f) {
    const Contraction *c = x->c;
    const Tile *t = &x->tile;
    Arena *arena = c->unit->arena;
    bool split = x->slices > 1;
    *f = (Function){.parameters = {.arena = arena}};
    Text text = {.arena = arena};
    words_struct(&text, split ? 0 : x->epilogue.patterns);
    for (int i = 0; i < 2; i++) {
        const OperandForm *form = &x->form[i];
        if (form->copy)
            parameter(f, arena_format(arena, "const %s *__restrict__ ", form->type), i ? "b" : "a", c->operand[i].arg);
        for (int j = 0; j < form->buffers; j++)
            parameter(f, form->buffer[j].type, form->buffer[j].name, form->buffer[j].arg);
        if (form->functor) text_add_bytes(&text, form->functor, strlen(form->functor));
    }
    if (split) {
        parameter(f, arena_format(arena, "%s *", x->value), "partial", x->partial);
    } else {
        for (int i = 0; i < x->epilogue.buffers; i++)
            parameter(f, x->epilogue.buffer[i].type, x->epilogue.buffer[i].name, x->epilogue.buffer[i].arg);
        text_add_bytes(&text, x->epilogue.text, strlen(x->epilogue.text));
    }
    // Four blocks leave 128 registers, which an epilogue that reads or writes several tensors exceeds by a few.
    int blocks = t->blocks > 3 && !split && x->epilogue.buffers > 3 ? 3 : t->blocks;
    head(&text, x, f, arena_format(arena, "%d, %d", 32 * t->warps_m * t->warps_n, blocks));
    text_add(&text, "    const ContractSizes sizes = contract_sizes(w.c%s);\n",
             extent_names(arena, &x->extents, CONTRACT_EXTENTS));
    text_add(&text, "    contract<ContractTile<%s, %d, %d, %d, %d, %d, %d>>(\n        w.c, sizes, ", math_name[t->math],
             t->tm, t->tn, t->tk, t->warps_m, t->warps_n, t->stages);
    copy_text(&text, x, 0);
    text_add(&text, ",\n        ");
    copy_text(&text, x, 1);
    text_add(&text, ",\n        ");
    if (split) text_add(&text, "ContractPartial<%s, %d>{sizes, partial}", x->value, c->extent[GROUP_N].k % 4 ? 1 : 4);
    else epilogue_text(&text, &x->epilogue);
    text_add(&text, ");\n}\n");
    return text.at;
}

static bool add_product(Instance *x, KernelCode *out) {
    const Tile *t = &x->tile;
    Function f;
    const char *text = product_text(x, &f);
    int shared = contract_shared_bytes(t->tm, t->tn, t->tk, t->stages, x->form[0].bytes, x->form[1].bytes,
                                       t->math == STM_COMPUTE_F64 ? 8 : 4);
    StmLaunch *l = launch(x, text, 32 * t->warps_m * t->warps_n, shared, x->slices == 1);
    if (!add_phase(x, out, "", &f, l)) return false;
    out->phase[out->phases - 1].flops = contraction_flops(x->c);
    set_grid(x->c, out, (const int64_t[]){1, t->tm, t->tn}, x->slices);
    return true;
}

static const char combine_text[] =
    "    const ContractSizes sizes = contract_sizes(w.c%s);\n"
    "    const int columns = sizes.n / %d, all = sizes.batch * sizes.m * columns;\n"
    "    const long long slice = (long long)sizes.batch * sizes.m * sizes.n;\n"
    "    for (int i = (int)(blockIdx.x * %d + threadIdx.x); i < all; i += (int)gridDim.x * %d) {\n"
    "        const int row = i / columns, n = (i - row * columns) * %d, b = row / sizes.m, m = row - b * sizes.m;\n"
    "        const %s *from = partial + (long long)row * sizes.n + n;\n";

// Adds the slices in order and does the epilogue.
static const char *combination_text(const Instance *x, Function *f) {
    const Contraction *c = x->c;
    Arena *arena = c->unit->arena;
    const Epilogue *e = &x->epilogue;
    *f = (Function){.parameters = {.arena = arena}};
    Text text = {.arena = arena};
    words_struct(&text, e->patterns);
    parameter(f, arena_format(arena, "const %s *__restrict__ ", x->value), "partial", x->partial);
    for (int i = 0; i < e->buffers; i++) parameter(f, e->buffer[i].type, e->buffer[i].name, e->buffer[i].arg);
    text_add_bytes(&text, e->text, strlen(e->text));
    head(&text, x, f, arena_format(arena, "%d, 1", COMBINE_THREADS));
    text_add(&text, combine_text, extent_names(arena, &x->extents, CONTRACT_EXTENTS), e->width, COMBINE_THREADS,
             COMBINE_THREADS, e->width, x->value);
    if (e->width == 4)
        text_add(&text,
                 "        %s v[4] = {0, 0, 0, 0};\n"
                 "#pragma unroll 4\n"
                 "        for (int s = 0; s < w.c.slices; s++, from += slice) {\n"
                 "            %s one[4];\n"
                 "            stm_load4(one, from);\n"
                 "            v[0] += one[0], v[1] += one[1], v[2] += one[2], v[3] += one[3];\n"
                 "        }\n",
                 x->value, x->value);
    else
        text_add(&text,
                 "        %s v = 0;\n"
                 "#pragma unroll 4\n"
                 "        for (int s = 0; s < w.c.slices; s++, from += slice) v += *from;\n",
                 x->value);
    text_add(&text, "        ");
    epilogue_text(&text, e);
    text_add(&text, ".store%s(b, m, n, v);\n    }\n}\n", e->width == 4 ? "4" : "");
    return text.at;
}

static bool add_combination(Instance *x, KernelCode *out) {
    const Contraction *c = x->c;
    Function f;
    const char *text = combination_text(x, &f);
    if (!add_phase(x, out, ".sum", &f, launch(x, text, COMBINE_THREADS, 0, true))) return false;
    int64_t each = (int64_t)COMBINE_THREADS * COMBINE_PER_THREAD * x->epilogue.width;
    int at = out->phases - 1;
    Mono all = mono_of(1);
    for (int i = 0; i < GROUP_K; i++)
        if (!mono_multiply(all, c->extent[i], &all)) return refuse(x, "the result has too many dynamic axes");
    if (all.axes > 1) all = mono_of(mono_bound(c->nest.program, all));
    out->phase[at].parts = (Extent){all.k, all.axes ? all.axis[0] : -1};
    out->phase[at].divide = each;
    out->phase[at].times = 1;
    return true;
}

static bool add_partial(Instance *x, KernelCode *out) {
    const Contraction *c = x->c;
    KernelBuffer b = {.type = T_REAL, .rank = 1, .dim = {extent_of(x->slices)}};
    for (int i = 0; i < GROUP_K; i++) {
        b.dim[0].count *= c->extent[i].k;
        for (int a = 0; a < c->extent[i].axes; a++) {
            if (b.rank == MAX_RANK) return refuse(x, "the partial sums have too many dynamic axes");
            b.order[b.rank] = b.rank;
            b.dim[b.rank++] = (Extent){1, c->extent[i].axis[a]};
        }
    }
    return refuse(x, cuda_workspace(c->unit, out, &b, &x->partial));
}

// ---- the choice. Another function costs time of the compiler: among choices of about the same speed one that needs no
// new function is taken.
static double penalty(const Instance *x, double best) {
    Function f;
    double new_functions = cuda_has_function(x->c->unit, product_text(x, &f)) ? 0 : 1;
    if (x->slices > 1 && !cuda_has_function(x->c->unit, combination_text(x, &f))) new_functions += 0.2;
    return new_functions * (NEW_SECONDS + NEW_SHARE * best);
}

static void choose(Instance *x) {
    const Contraction *c = x->c;
    const ContractionPolicy *policy = c->policy;
    double least = 0, best = 0;
    Tile tile = {0};
    int slices = 1, number = -1;
    bool wide = false;
    for (int pass = 0; pass < 2; pass++, number = -1) // the least time, then the best choice near it
        for (size_t i = 0; i < sizeof tile_table / sizeof *tile_table; i++) {
            const Tile *t = &tile_table[i];
            if (t->math != (int)x->math) continue;
            number++;
            if (policy->tile >= 0 && policy->tile != number) continue;
            int64_t most = c->bound[GROUP_K] / (SLICE_STEPS * t->tk), wanted = up(2 * PROCESSORS, tiles_of(c, t));
            most = most > wanted ? wanted : most;
            most = most > MOST_SLICES ? MOST_SLICES : most < 1 ? 1 : most;
            int64_t from = policy->slices ? policy->slices : 1, to = policy->slices ? policy->slices : most;
            for (int64_t s = from; s <= to; s++) {
                double time = seconds(c, t, s);
                if (pass == 0 && (least == 0 || time < least)) least = time;
                if (pass == 0 || time > least * (1 + NEW_SHARE) + NEW_SECONDS) continue;
                x->tile = *t;
                x->slices = (int)s;
                bool may_widen = x->form[0].copy && x->form[1].copy && !x->form[0].exact && !x->form[1].exact;
                for (int w = 0; w <= may_widen; w++) {
                    x->wide = w;
                    double score = time * (w ? WIDE_COST : 1) + penalty(x, least);
                    if (best > 0 && score >= best) continue;
                    best = score;
                    tile = x->tile;
                    slices = x->slices;
                    wide = w;
                }
            }
        }
    x->tile = tile;
    x->slices = slices;
    x->wide = wide;
    EXPECT(tile.tm > 0);
}

bool contraction_instance(Contraction *c, KernelCode *out, const char **why) {
    Instance instance = {.c = c}, *x = &instance;
    memset(out, 0, sizeof *out);
    x->math = math_of(c);
    x->value = x->math == STM_COMPUTE_F64 ? "double" : "float";
    refuse(x, words_group(c, GROUP_B, &x->extents, &x->words.batch));
    refuse(x, words_group(c, GROUP_M, &x->extents, &x->words.m));
    refuse(x, words_group(c, GROUP_N, &x->extents, &x->words.n));
    refuse(x, words_group(c, GROUP_K, &x->extents, &x->words.k));
    if (x->why == NULL) pack_operands(x, out);
    for (int i = 0; i < 2 && x->why == NULL; i++) {
        refuse(x, operand_form(c, i, &x->form[i]));
        if (x->form[i].copy) refuse(x, words_operand(c, i, i ? &x->words.b : &x->words.a));
    }
    if (x->why == NULL) refuse(x, contraction_epilogue(c, x->value, &x->epilogue));
    for (int i = 0; i < 2; i++) take_extents(x, x->form[i].extent, x->form[i].extents);
    take_extents(x, x->epilogue.extent, x->epilogue.extents);
    if (x->why == NULL) {
        choose(x);
        x->words.slices = x->slices;
        if ((x->slices == 1 || add_partial(x, out)) && add_product(x, out) && x->slices > 1) add_combination(x, out);
    }
    *why = x->why;
    return x->why == NULL;
}
