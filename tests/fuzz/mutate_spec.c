// Mutants of specifications; see mutate_spec.h. Knows of the language only how characters clot into tokens.
#include "mutate_spec.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Bytes {
    char *at;
    size_t size, room;
} Bytes;

static void add(Bytes *bytes, const char *from, size_t size) {
    if (bytes->size + size + 1 > bytes->room) {
        bytes->room = (bytes->size + size + 1) * 2;
        bytes->at = realloc(bytes->at, bytes->room);
        if (!bytes->at) abort();
    }
    if (size) memcpy(bytes->at + bytes->size, from, size);
    bytes->size += size;
    bytes->at[bytes->size] = 0;
}

static void add_text(Bytes *bytes, const char *text) {
    add(bytes, text, strlen(text));
}

// ---- random numbers: splitmix64

static uint64_t draw(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static size_t below(uint64_t *state, size_t n) {
    return n ? (size_t)(draw(state) % n) : 0;
}

// ---- tokens: [begin[i], begin[i + 1]) with the white space that follows

static size_t cut(const char *text, size_t size, size_t *begin) {
    size_t count = 0;
    for (size_t i = 0; i < size;) {
        begin[count++] = i;
        unsigned char c = (unsigned char)text[i++];
        if (isalnum(c) || c == '_') {
            while (i < size && (isalnum((unsigned char)text[i]) || text[i] == '_')) i++;
        } else if (c == '"') {
            while (i < size && text[i] != '"' && text[i] != '\n') i++;
            if (i < size) i++;
        } else if (c == '#') {
            while (i < size && text[i] != '\n') i++;
        }
        while (i < size && isspace((unsigned char)text[i])) i++;
    }
    begin[count] = size;
    return count;
}

// One mutation of `text` into `out`.
static void mutate(const char *text, size_t size, uint64_t *state, Bytes *out) {
    size_t *begin = malloc((size + 2) * sizeof *begin);
    if (!begin) abort();
    size_t count = cut(text, size, begin);
    size_t one = below(state, count), two = below(state, count), byte = below(state, size);
    size_t one_end = count ? begin[one + 1] : 0, one_begin = count ? begin[one] : 0;
    size_t two_end = count ? begin[two + 1] : 0, two_begin = count ? begin[two] : 0;
    out->size = 0;
    add(out, "", 0);
    switch (below(state, 9)) {
    case 0: // flip a bit
        add(out, text, size);
        if (size) out->at[byte] = (char)(out->at[byte] ^ (1 << below(state, 8)));
        break;
    case 1: { // a foreign byte
        char foreign = (char)below(state, 256);
        add(out, text, byte);
        add(out, &foreign, 1);
        add(out, text + byte, size - byte);
        break;
    }
    case 2: { // a range is lost
        size_t lost = below(state, 40);
        if (lost > size - byte) lost = size - byte;
        add(out, text, byte);
        add(out, text + byte + lost, size - byte - lost);
        break;
    }
    case 3: // a token is lost
        add(out, text, one_begin);
        add(out, text + one_end, size - one_end);
        break;
    case 4: // a token is doubled
        add(out, text, one_end);
        add(out, " ", 1);
        add(out, text + one_begin, size - one_begin);
        break;
    case 5: // a token is replaced by another
        add(out, text, one_begin);
        add(out, text + two_begin, two_end - two_begin);
        add(out, text + one_end, size - one_end);
        break;
    case 6: // two tokens change places
        if (two < one) {
            size_t swap = one_begin;
            one_begin = two_begin;
            two_begin = swap;
            swap = one_end;
            one_end = two_end;
            two_end = swap;
        }
        if (one == two) {
            add(out, text, size);
            break;
        }
        add(out, text, one_begin);
        add(out, text + two_begin, two_end - two_begin);
        add(out, text + one_end, two_begin - one_end);
        add(out, text + one_begin, one_end - one_begin);
        add(out, text + two_end, size - two_end);
        break;
    case 7: // the end is cut off
        add(out, text, byte);
        break;
    default: { // a piece of the text once more, elsewhere
        size_t length = below(state, 200);
        size_t from = below(state, size);
        if (length > size - from) length = size - from;
        add(out, text, byte);
        add(out, text + from, length);
        add(out, text + byte, size - byte);
        break;
    }
    }
    free(begin);
}

void mutate_spec(const char *text, size_t size, uint64_t seed, int count, MutantCheck *check, void *context) {
    Bytes mutant = {0}, source = {0};
    for (int i = 0; i < count; i++) {
        uint64_t state = seed * 1000003u + (uint64_t)i;
        source.size = 0;
        add(&source, text, size);
        for (size_t times = 1 + below(&state, 3); times > 0; times--) {
            mutate(source.at, source.size, &state, &mutant);
            Bytes swap = source;
            source = mutant;
            mutant = swap;
        }
        char name[64];
        snprintf(name, sizeof name, "seed %llu, mutant %d", (unsigned long long)seed, i);
        check(context, name, source.at, source.size);
    }
    free(mutant.at);
    free(source.at);
}

void relayout_spec(const char *text, size_t size, uint64_t seed, int count, MutantCheck *check, void *context) {
    static const char *const gaps[] = {
        " ",  " ",      " ",     "  ",       "     ",         "\n",        "\n    ",
        "\t", "\n\n\n", "\r\n ", "  \n  \n", " # a remark\n", "\n\n  #\n", "\n# \xCE\xBB \n\n"};
    size_t *begin = malloc((size + 2) * sizeof *begin);
    if (!begin) abort();
    size_t tokens = cut(text, size, begin);
    Bytes mutant = {0};
    for (int i = 0; i < count; i++) {
        uint64_t state = seed * 7919u + (uint64_t)i;
        size_t calm = 1 + below(&state, 30); // one gap in so many is changed
        mutant.size = 0;
        add(&mutant, "", 0);
        for (size_t k = 0; k < tokens; k++) {
            size_t end = begin[k + 1];
            while (end > begin[k] && isspace((unsigned char)text[end - 1])) end--;
            bool comment = text[begin[k]] == '#';
            if (end < begin[k + 1] && below(&state, calm) == 0) {
                add(&mutant, text + begin[k], end - begin[k]);
                if (comment) add(&mutant, "\n", 1);
                add_text(&mutant, gaps[below(&state, sizeof gaps / sizeof *gaps)]);
            } else {
                add(&mutant, text + begin[k], begin[k + 1] - begin[k]);
            }
        }
        char name[64];
        snprintf(name, sizeof name, "seed %llu, layout %d", (unsigned long long)seed, i);
        check(context, name, mutant.at, mutant.size);
    }
    free(mutant.at);
    free(begin);
}

// ---- extremes

static void repeat(MutantCheck *check, void *context, const char *name, const char *before, const char *open,
                   const char *middle, const char *close, const char *after, int times) {
    Bytes text = {0};
    add_text(&text, before);
    for (int i = 0; i < times; i++) add_text(&text, open);
    add_text(&text, middle);
    for (int i = 0; i < times; i++) add_text(&text, close);
    add_text(&text, after);
    check(context, name, text.at, text.size);
    free(text.at);
}

void extreme_specs(int depth, MutantCheck *check, void *context) {
    static const struct {
        const char *name, *open, *middle, *close;
    } in_expression[] = {
        {"parentheses", "(", "1", ")"},
        {"unclosed parentheses", "(", "1", ""},
        {"closing parentheses", "", "1", ")"},
        {"lists", "[", "1", "]"},
        {"unclosed lists", "[", "1", ""},
        {"positions", "x[", "1", "]"},
        {"groups", "x[(a b), ", "1", "]"},
        {"tuples", "(1, ", "2", ")"},
        {"calls", "f(", "1", ")"},
        {"named arguments", "f(a = ", "1", ")"},
        {"calls of calls", "", "f", "()"},
        {"labels", "f(a.b: g(", "1", "))"},
        {"computed labels", "a.{", "1", "}: f"},
        {"a long path", "a.", "b: f", ""},
        {"binders", "f[j](", "1", ")"},
        {"negations", "- ", "1", ""},
        {"nots", "not ", "a", ""},
        {"reductions", "sum[i] ", "x[i]", ""},
        {"guarded reductions", "sum[i < n where a] (", "x[i]", ")"},
        {"guards in guards", "sum[i where ", "a", "] x"},
        {"powers", "2 ^ ", "2", ""},
        {"sums", "1 + ", "2", ""},
        {"products", "", "2", " * 3"},
        {"comparisons", "1 < ", "2", ""},
        {"pipes", "x |> ", "f", ""},
        {"conjunctions", "a and ", "b", ""},
        {"wheres", "a where b else ", "c", ""},
        {"conditions of wheres", "a where ", "c", " else b"},
        {"ifs", "if a then b else ", "c", ""},
        {"conditions of ifs", "if ", "c", " then a else b"},
        {"names in a group", "(a ", "b", ")"},
        {"a long list", "", "[1", ", 2"},
        {"digits", "9", "9", "9"},
        {"digits behind the point", "", "0.1", "9"},
        {"strings", "\"a\" ", "", ""},
        {"dots", ".", "1", "."},
        {"operators", "", "1", "+*"},
        {"bytes that are no text", "\xFF", "1", "\x80"},
        {"backslashes in a string", "", "\"", "\\"},
    };
    static const struct {
        const char *name, *open, *middle, *close;
    } in_block[] = {
        {"for", "for i in 0 .. 2 { ", "x = 1", " }"},
        {"unclosed for", "for i in 0 .. 2 { ", "x = 1", ""},
        {"if", "if a { ", "x = 1", " }"},
        {"else if", "if a { } else ", "{ x = 1 }", ""},
        {"match", "match a { 1 { ", "x = 1", " } }"},
        {"else of match", "match a { else { ", "x = 1", " } }"},
        {"statements", "", "x = 1", " x = 2"},
        {"wrong statements", "", "x = 1", " x = = 2"},
        {"targets", "a, ", "b = f(x)", ""},
        {"updates", "a <- ", "b", ""},
        {"braces", "{", "", "}"},
        {"unclosed braces", "{", "", ""},
        {"closing braces", "", "", "}"},
        {"checks", "check ", "a", " close"},
        {"keywords", "for if ", "match", " else where"},
    };
    for (size_t i = 0; i < sizeof in_expression / sizeof *in_expression; i++)
        repeat(check, context, in_expression[i].name, "train {\n    y = ", in_expression[i].open,
               in_expression[i].middle, in_expression[i].close, "\n    z = 2\n}\n", depth);
    for (size_t i = 0; i < sizeof in_block / sizeof *in_block; i++)
        repeat(check, context, in_block[i].name, "train {\n", in_block[i].open, in_block[i].middle, in_block[i].close,
               "\n}\naxis a = 2\n", depth);
    repeat(check, context, "declarations", "", "axis a = 1 ", "", "", "", depth);
    repeat(check, context, "wrong declarations", "", "axis 1 ", "", "", "", depth);
    repeat(check, context, "declarations in blocks", "", "train {\nmodule ", "", "", "", depth);
    repeat(check, context, "comments", "", "#\n", "", "", "", depth);
    repeat(check, context, "empty lines", "axis a = 1", "\n", "", "", "axis b = 1", depth);
    repeat(check, context, "a long name", "axis ", "abcdefghij", "", "", " = 1", depth);
    repeat(check, context, "a long string", "model m \"", "abcdefghi\xC3\xA9", "", "", "\"", depth);
    repeat(check, context, "a long comment", "#", "abcdefghi\t", "", "", "", depth);
    repeat(check, context, "one long line", "train { ", "x = 1 ", "y = = 2 ", "z = 3 ", "}", depth);

    static const struct {
        const char *text;
        size_t size;
    } odd[] = {
#define ODD(text) {text, sizeof text - 1}
        ODD(""),
        ODD("\n"),
        ODD("axis a = 3"),
        ODD("#"),
        ODD("\0"),
        ODD("\0\0\0axis"),
        ODD("\xFF\xFE"),
        ODD("\xEF\xBB\xBF"),
        ODD("\xEF\xBB"),
        ODD("\""),
        ODD("\"\\"),
        ODD("\r\r\n"),
        ODD("a\0b"),
        ODD("\xF4\x90\x80\x80"),
        ODD("\xC0\x80"),
        ODD("model"),
        ODD("use"),
        ODD("{"),
        ODD("}"),
        ODD("train {"),
        ODD("train { check"),
        ODD("x[.."),
        ODD("1.."),
        ODD("1e"),
        ODD("1e999999999999999999999"),
        ODD("0.0e-99999999"),
        ODD("axis a = 1e400"),
        ODD("# \xF0\x9F"),
        ODD("\t\t\taxis a 3"),
        ODD("monitor a on b keep"),
        ODD("train { monitor a on b keep max stop after"),
        ODD("test \"a\" error"),
        ODD("option a = 1 in"),
        ODD("axis a = from"),
        ODD("train { check gradients of"),
#undef ODD
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char name[64];
        snprintf(name, sizeof name, "odd text %d", (int)i);
        check(context, name, odd[i].text, odd[i].size);
    }
}
