// The functions of a unit as CUDA C files. A file is small enough that the threads that compile the files are done at
// about the same time, and its borders follow from the functions near them: a change in one kernel leaves the other
// files, and so their entries in the cache, as they are.
#include "target/cuda/cuda.h"
#include "target/cuda/hash.h"

#include <string.h>

// In small functions' compile time. Templates of kernels/*.cuh that are instantiated are worth many.
enum { LEAST = 16, MOST = 32, TEMPLATE = 5 };

static const char include_word[] = "#include \"";

// Does a function's text begin with one more #include? *name is between the quotes; *text moves behind the line.
static bool leading_include(Arena *arena, const char **text, const char **name) {
    const char *at = *text;
    while (*at == '\n') at++;
    if (strncmp(at, include_word, sizeof include_word - 1) != 0) return false;
    at += sizeof include_word - 1;
    const char *end = strpbrk(at, "\"\n");
    if (!end || *end != '"') DIE("a CUDA function begins with a broken #include:\n%s", *text);
    *name = arena_format(arena, "%.*s", (int)(end - at), at);
    const char *next = strchr(end, '\n');
    *text = next ? next + 1 : end + strlen(end);
    return true;
}

// A function that brings a template of its own beside the prelude is expensive.
static int cost_of(Arena *arena, const CudaFunction *f) {
    const char *text = f->text, *name;
    int cost = 1;
    while (leading_include(arena, &text, &name))
        if (!strcmp(name, "contract.cuh")) cost = TEMPLATE;
    return cost;
}

static bool include_once(Arena *arena, const char *name, const char ***list, int *count, int *room) {
    for (int i = 0; i < *count; i++)
        if (!strcmp((*list)[i], name)) return false;
    if (*count == *room) *list = vec_grow(arena, *list, *count, room, sizeof **list);
    (*list)[(*count)++] = name;
    return true;
}

static const char *source_text(CudaUnit *unit, int first, int count) {
    Text includes = {.arena = unit->arena}, body = {.arena = unit->arena};
    const char **list = NULL;
    int listed = 0, room = 0;
    include_once(unit->arena, "prelude.cuh", &list, &listed, &room);
    text_add(&includes, "#include \"prelude.cuh\"\n");
    for (int i = first; i < first + count; i++) {
        const CudaFunction *f = &unit->function.at[i];
        const char *text = f->text, *name;
        while (leading_include(unit->arena, &text, &name))
            if (include_once(unit->arena, name, &list, &listed, &room)) text_add(&includes, "#include \"%s\"\n", name);
        text_add(&body, "\n// ---- %s: %s\n", f->name, f->what);
        text_add_bytes(&body, text, strlen(text));
        if (body.at[body.length - 1] != '\n') text_add(&body, "\n");
    }
    text_add_bytes(&includes, body.at, body.length);
    return includes.at;
}

void cuda_sources(CudaUnit *unit, CudaSources *out) {
    int first = 0, cost = 0;
    *out = (CudaSources){0};
    for (int i = 0; i < unit->function.count; i++) {
        const CudaFunction *f = &unit->function.at[i];
        cost += cost_of(unit->arena, f);
        bool border = hash_text(f->name) % 8 == 0;
        bool last = i + 1 == unit->function.count;
        if (!last && cost < MOST && !(border && cost >= LEAST)) continue;
        CudaSource source = {.name = arena_format(unit->arena, "module%d.cu", out->source.count),
                             .text = source_text(unit, first, i + 1 - first),
                             .first = first,
                             .count = i + 1 - first,
                             .cost = cost};
        vec_push(unit->arena, &out->source, source);
        first = i + 1;
        cost = 0;
    }
}
