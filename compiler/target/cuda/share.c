// See share.h. Works on the text of functions: numbers are found by a scan, those that must be constants for C
// (template arguments, sizes of arrays, unrolled loops) count as text.
#include "target/cuda/share.h"
#include "target/cuda/hash.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORDS = 48 };

typedef struct Number {
    int begin, end; // of the pattern
} Number;

typedef struct Sharing {
    const char *pattern; // text with @ for the name
    const char *key;     // pattern without its numbers
    uint64_t hash;
    VEC(Number) number;
    bool fixed;       // stays as it is
    int group;        // first function with this key
    const char *name; // of the new function
    int words;        // of a launch
    int64_t *word;
} Sharing;

static bool word_char(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

static const char *with_mark(Arena *arena, const char *text, const char *name) {
    size_t length = strlen(name);
    char *out = arena_alloc(arena, strlen(text) + 1), *to = out;
    for (const char *c = text; *c;)
        if (!strncmp(c, name, length)) *to++ = '@', c += length;
        else *to++ = *c++;
    return out;
}

// Where the part that must stay text ends, when it begins at `at`; else NULL.
static const char *constant_part(const char *text, const char *at) {
    if (!strncmp(at, "#pragma unroll", 14)) { // and the loop
        const char *end = strchr(at, '\n');
        return end ? strchr(end + 1, '\n') : NULL;
    }
    if (*at == '#') return strchr(at, '\n');
    if (!strncmp(at, "STM_SHARED(", 11) || !strncmp(at, "__launch_bounds__(", 18)) return strchr(at, ')');
    if (*at == '<' && at > text && word_char(at[-1])) { // a template's arguments
        int depth = 0;
        for (const char *c = at; *c && *c != '\n'; c++) {
            depth += *c == '<' ? 1 : *c == '>' ? -1 : 0;
            if (depth == 0) return c;
        }
    }
    if (*at == '[' && isdigit((unsigned char)at[1])) {
        const char *c = at + 1;
        while (isdigit((unsigned char)*c)) c++;
        if (*c == ']') return c;
    }
    return NULL;
}

static const char *number_end(const char *c) {
    if (c[0] == '0' && (c[1] == 'x' || c[1] == 'X')) return NULL;
    const char *begin = c;
    while (isdigit((unsigned char)*c) || *c == '.') c++;
    if (*c == 'e' && (isdigit((unsigned char)c[1]) || ((c[1] == '-' || c[1] == '+') && isdigit((unsigned char)c[2])))) {
        c += 2;
        while (isdigit((unsigned char)*c)) c++;
    }
    bool real = memchr(begin, '.', (size_t)(c - begin)) || memchr(begin, 'e', (size_t)(c - begin));
    while (*c == 'f' || *c == 'u' || *c == 'L') c++;
    if (word_char(*c)) return NULL;
    if (!real && c[-1] != 'u' && c[-1] != 'L' && strtoll(begin, NULL, 10) > INT32_MAX) return NULL;
    return c;
}

// The kind of a number: i int, u unsigned, L long long, f float, d double.
static char kind_of_text(const char *begin, const char *end) {
    char last = end[-1];
    if (last == 'f' || last == 'u' || last == 'L') return last;
    for (const char *c = begin; c < end; c++)
        if (*c == '.' || *c == 'e') return 'd';
    return 'i';
}

static void scan(Arena *arena, Sharing *s) {
    Text key = {.arena = arena};
    const char *text = s->pattern;
    for (const char *c = text; *c;) {
        const char *end = constant_part(text, c);
        if (end) {
            text_add_bytes(&key, c, (size_t)(end - c));
            c = end;
            if (*c) text_add_bytes(&key, c++, 1);
            continue;
        }
        if (isdigit((unsigned char)*c) && (c == text || !word_char(c[-1])) && (end = number_end(c))) {
            Number n = {(int)(c - text), (int)(end - text)};
            vec_push(arena, &s->number, n);
            text_add(&key, "#%c", kind_of_text(c, end));
            c = end;
            continue;
        }
        text_add_bytes(&key, c++, 1);
    }
    s->key = key.at ? key.at : "";
    s->hash = hash_text(s->key);
}

static bool same_number(const Sharing *a, const Sharing *b, int n) {
    const Number *x = &a->number.at[n], *y = &b->number.at[n];
    return x->end - x->begin == y->end - y->begin &&
           !memcmp(a->pattern + x->begin, b->pattern + y->begin, (size_t)(x->end - x->begin));
}

static char kind_of(const Sharing *s, int n) {
    return kind_of_text(s->pattern + s->number.at[n].begin, s->pattern + s->number.at[n].end);
}

static int64_t value_of(const Sharing *s, int n) {
    const char *text = s->pattern + s->number.at[n].begin;
    int64_t word = 0;
    if (kind_of(s, n) == 'f') {
        float x = strtof(text, NULL);
        int32_t bits;
        memcpy(&bits, &x, sizeof bits);
        return bits;
    }
    if (kind_of(s, n) == 'd') {
        double x = strtod(text, NULL);
        memcpy(&word, &x, sizeof word);
        return word;
    }
    return (int64_t)strtoull(text, NULL, 10);
}

static const char *declaration(Arena *arena, char kind, int word) {
    switch (kind) {
    case 'f': return arena_format(arena, "    const float k%d = __int_as_float((int)words.w[%d]);\n", word, word);
    case 'd': return arena_format(arena, "    const double k%d = __longlong_as_double(words.w[%d]);\n", word, word);
    case 'u': return arena_format(arena, "    const unsigned k%d = (unsigned)words.w[%d];\n", word, word);
    case 'L': return arena_format(arena, "    const long long k%d = words.w[%d];\n", word, word);
    default: return arena_format(arena, "    const int k%d = (int)words.w[%d];\n", word, word);
    }
}

// Where the statements begin, of a function or of a batch's body; NULL: no text that loops.c writes.
static const char *statements(const char *text) {
    static const char single[] = "    const int block = (int)blockIdx.x;\n",
                      batch[] = "int block, unsigned *outside) {\n";
    const char *at = strstr(text, single);
    if (at) return at + sizeof single - 1;
    at = strstr(text, batch);
    return at ? at + sizeof batch - 1 : NULL;
}

static bool is_batch(const char *text) {
    return strstr(text, "(const unsigned long long *table") != NULL;
}

// Copies [from, to) with `what` in front of the place `at`; returns `to`.
static const char *copy_with(Text *out, const char *from, const char *at, const char *to, const char *what) {
    text_add_bytes(out, from, (size_t)(at - from));
    text_add(out, "%s", what);
    text_add_bytes(out, at, (size_t)(to - at));
    return to;
}

// What stands before the statements, with the words as a parameter in front of the extents (in a batch's body: last).
static const char *shared_head(Text *out, const char *text, int words) {
    const char *begin = statements(text);
    const char *function = strstr(text, is_batch(text) ? "STM_DEVICE void @_body" : "extern \"C\"");
    text_add_bytes(out, text, (size_t)(function - text));
    text_add(out, "struct @_words {\n    long long w[%d];\n};\n", words);
    if (is_batch(text))
        return copy_with(out, function, strstr(function, "int block, "), begin, "const @_words &words, ");
    const char *name = strstr(function, "@("), *extents = strstr(name, ", int e"),
               *last = strstr(name, "unsigned *outside"), *first = strstr(name, "(int e");
    const char *insert = first && first < last ? first + 1 : extents && extents < last ? extents + 2 : last;
    return copy_with(out, function, insert, begin, "@_words words, ");
}

// What follows the statements: of a batch the function that finds its call and hands the words on.
static void shared_tail(Text *out, const char *c) {
    const char *function = strstr(c, "extern \"C\"");
    if (function && is_batch(function)) {
        const char *outside = strstr(function, "unsigned *outside"), *block = strstr(function, "(int)(blockIdx.x");
        c = copy_with(out, c, outside, block, "const __grid_constant__ @_words words, ");
        text_add(out, "words, ");
    }
    text_add_bytes(out, c, strlen(c));
}

// The text with a word in place of each number that has one.
static const char *shared_text(Arena *arena, const Sharing *s, const int *word_of, int words) {
    Text out = {.arena = arena};
    const char *text = s->pattern, *c = shared_head(&out, text, words);
    for (int w = 0; w < words; w++)
        for (int n = 0; n < s->number.count; n++)
            if (word_of[n] == w) {
                const char *line = declaration(arena, kind_of(s, n), w);
                text_add_bytes(&out, line, strlen(line));
                break;
            }
    for (int n = 0; n < s->number.count; n++) {
        const char *begin = text + s->number.at[n].begin;
        if (word_of[n] < 0 || begin < c) continue;
        text_add_bytes(&out, c, (size_t)(begin - c));
        text_add(&out, "k%d", word_of[n]);
        c = text + s->number.at[n].end;
    }
    shared_tail(&out, c);
    return out.at;
}

// Numbers of the group's functions that differ get words; numbers that are equal in each function share one.
static void share_group(CudaUnit *unit, Sharing *sharing, const int *member, int members, bool all) {
    Arena *arena = unit->arena;
    Sharing *first = &sharing[member[0]];
    int numbers = first->number.count, words = 0, *word_of = NEW_ARRAY(arena, int, numbers + 1);
    int *from = NEW_ARRAY(arena, int, numbers + 1); // number that a word is taken from
    const char *body = statements(first->pattern);
    for (int n = 0; n < numbers; n++) {
        bool differs = all && first->pattern + first->number.at[n].begin > body - 1;
        word_of[n] = -1;
        for (int m = 1; m < members && !differs; m++) differs = !same_number(first, &sharing[member[m]], n);
        if (!differs) continue;
        for (int w = 0; w < words && word_of[n] < 0; w++) {
            bool equal = kind_of(first, from[w]) == kind_of(first, n);
            for (int m = 0; m < members && equal; m++)
                equal = value_of(&sharing[member[m]], from[w]) == value_of(&sharing[member[m]], n);
            if (equal) word_of[n] = w;
        }
        if (word_of[n] >= 0) continue;
        if (words == MOST_WORDS) return;
        from[words] = n;
        word_of[n] = words++;
    }
    if (words == 0) return;
    const char *text = shared_text(arena, first, word_of, words);
    for (int m = 0; m < members; m++) {
        Sharing *s = &sharing[member[m]];
        s->words = words;
        s->word = NEW_ARRAY(arena, int64_t, words);
        for (int w = 0; w < words; w++) s->word[w] = value_of(s, from[w]);
    }
    for (int m = 0; m < members; m++) sharing[member[m]].pattern = text;
}

static int function_number(const CudaUnit *unit, const char *name) {
    for (int i = 0; i < unit->function.count; i++)
        if (!strcmp(unit->function.at[i].name, name)) return i;
    DIE("a launch of %s, which the unit does not hold", name);
}

static void fix_functions(const CudaUnit *unit, const KernelCode *code, int count, Sharing *sharing) {
    for (int i = 0; i < unit->function.count; i++) sharing[i].fixed = !statements(unit->function.at[i].text);
    for (int i = 0; i < count; i++)
        for (int f = 0; f < code[i].phases; f++) {
            const StmLaunch *launch = code[i].phase[f].launch;
            if (launch && launch->words) sharing[function_number(unit, launch->function)].fixed = true;
        }
}

void cuda_share(CudaUnit *unit, KernelCode *code, int count, bool all) {
    Arena *arena = unit->arena;
    int functions = unit->function.count;
    Sharing *sharing = NEW_ARRAY(arena, Sharing, functions + 1);
    int *member = NEW_ARRAY(arena, int, functions + 1), **number = NEW_ARRAY(arena, int *, count + 1);
    fix_functions(unit, code, count, sharing);
    for (int i = 0; i < functions; i++) {
        Sharing *s = &sharing[i];
        s->pattern = with_mark(arena, unit->function.at[i].text, unit->function.at[i].name);
        s->group = i;
        if (s->fixed) continue;
        scan(arena, s);
        for (int j = 0; j < i && s->group == i; j++)
            if (!sharing[j].fixed && sharing[j].group == j && sharing[j].hash == s->hash &&
                !strcmp(sharing[j].key, s->key))
                s->group = j;
    }
    for (int i = 0; i < functions; i++) {
        int members = 0;
        if (sharing[i].fixed || sharing[i].group != i) continue;
        for (int j = i; j < functions; j++)
            if (!sharing[j].fixed && sharing[j].group == i) member[members++] = j;
        if (members > 1 || all) share_group(unit, sharing, member, members, all);
    }
    for (int i = 0; i < count; i++) {
        number[i] = NEW_ARRAY(arena, int, CODE_MAX_PHASES);
        for (int f = 0; f < code[i].phases; f++)
            if (code[i].phase[f].launch) number[i][f] = function_number(unit, code[i].phase[f].launch->function);
    }
    CudaUnit *fresh = cuda_unit(arena, unit->program, unit->compute);
    for (int i = 0; i < functions; i++)
        sharing[i].name = cuda_function(fresh, unit->function.at[i].what, sharing[i].pattern)->name;
    for (int i = 0; i < count; i++)
        for (int f = 0; f < code[i].phases; f++) {
            if (!code[i].phase[f].launch) continue;
            const Sharing *s = &sharing[number[i][f]];
            StmLaunch *launch = NEW(arena, StmLaunch);
            *launch = *code[i].phase[f].launch;
            launch->function = s->name;
            if (s->words) launch->words = s->words, launch->word = s->word;
            code[i].phase[f].launch = launch;
        }
    *unit = *fresh;
}
