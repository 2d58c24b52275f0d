// The functions of a program's CUDA code: equal texts are one function, named by the hash of its text.
#include "target/cuda/cuda.h"
#include "target/cuda/hash.h"

#include <string.h>

struct CudaTable { // open addressing; a slot holds the number of a function + 1, or 0
    int *slot;
    int slots, used;           // slots is a power of two
    VEC(uint64_t) hash;        // [functions] of the text as it was given
    VEC(const char *) pattern; // [functions] that text, with its @
};

CudaUnit *cuda_unit(Arena *arena, const Program *p, StmCompute compute) {
    CudaUnit *unit = NEW(arena, CudaUnit);
    unit->arena = arena;
    unit->program = p;
    unit->compute = compute;
    unit->table = NEW(arena, struct CudaTable);
    unit->table->slots = 64;
    unit->table->slot = NEW_ARRAY(arena, int, unit->table->slots);
    return unit;
}

static int *slot_of(struct CudaTable *t, uint64_t hash, const char *text) {
    for (uint64_t i = hash;; i++) {
        int *slot = &t->slot[i & (uint64_t)(t->slots - 1)];
        if (*slot == 0) return slot;
        if (t->hash.at[*slot - 1] == hash && !strcmp(t->pattern.at[*slot - 1], text)) return slot;
    }
}

static void grow(Arena *arena, struct CudaTable *t) {
    t->slots *= 2;
    t->slot = NEW_ARRAY(arena, int, t->slots);
    for (int i = 0; i < t->used; i++) *slot_of(t, t->hash.at[i], t->pattern.at[i]) = i + 1;
}

static bool name_taken(const CudaUnit *unit, const char *name) {
    for (int i = 0; i < unit->function.count; i++)
        if (!strcmp(unit->function.at[i].name, name)) return true;
    return false;
}

static const char *named(Arena *arena, const char *text, const char *name) {
    size_t marks = 0, length = strlen(name);
    for (const char *c = text; *c; c++) marks += *c == '@';
    if (marks == 0) DIE("a CUDA function without @ for its name:\n%s", text);
    char *out = arena_alloc(arena, strlen(text) + marks * length + 1), *to = out;
    for (const char *c = text; *c; c++) {
        if (*c != '@') {
            *to++ = *c;
            continue;
        }
        memcpy(to, name, length);
        to += length;
    }
    return out;
}

bool cuda_has_function(const CudaUnit *unit, const char *text) {
    return *slot_of(unit->table, hash_text(text), text) != 0;
}

const CudaFunction *cuda_function(CudaUnit *unit, const char *what, const char *text) {
    struct CudaTable *t = unit->table;
    uint64_t hash = hash_text(text);
    int *slot = slot_of(t, hash, text);
    if (*slot) return &unit->function.at[*slot - 1];
    // 48 bits name it; two texts that share them are told apart by hashing on.
    const char *name;
    for (uint64_t h = hash;; h = hash_bytes(h, &h, sizeof h)) {
        name = arena_format(unit->arena, "stm_%012llx", (unsigned long long)(h >> 16));
        if (!name_taken(unit, name)) break;
    }
    CudaFunction f = {
        .name = name, .text = named(unit->arena, text, name), .what = arena_format(unit->arena, "%s", what)};
    vec_push(unit->arena, &unit->function, f);
    vec_push(unit->arena, &t->hash, hash);
    vec_push(unit->arena, &t->pattern, arena_format(unit->arena, "%s", text));
    *slot = ++t->used;
    if (2 * t->used > t->slots) grow(unit->arena, t);
    return &vec_last(&unit->function);
}

const CudaFunction *cuda_find(const CudaUnit *unit, const char *name) {
    for (int i = 0; i < unit->function.count; i++)
        if (!strcmp(unit->function.at[i].name, name)) return &unit->function.at[i];
    return NULL;
}

void cuda_fill_launches(CudaUnit *unit, KernelCode *code, int count) {
    for (int i = 0; i < count; i++)
        for (int f = 0; f < code[i].phases; f++) {
            const StmLaunch *launch = code[i].phase[f].launch;
            if (!launch) continue;
            const CudaFunction *function = cuda_find(unit, launch->function);
            if (!function) DIE("a launch of %s, which the unit does not hold", launch->function);
            StmLaunch *filled = NEW(unit->arena, StmLaunch);
            *filled = *launch;
            filled->registers = function->registers;
            filled->static_shared = function->static_shared;
            filled->spills = function->spills;
            code[i].phase[f].launch = filled;
        }
}
