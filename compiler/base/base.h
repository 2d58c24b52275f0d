// What every room of the compiler stands on: arenas, growable vectors, interned names, source text,
// diagnostics. Nothing here knows the language.
//
// Ownership: everything is allocated on an Arena and dropped with it; passes never free.
// Errors: user mistakes go to Diagnostics (with a span) and the pass goes on or returns NULL/false;
// a broken invariant of stmc itself is die(), which names the place and ends with exit status 70.
#ifndef STMC_BASE_H
#define STMC_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// ---- arena.c: bump allocation. Memory is zeroed.
typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *arena);
void *arena_alloc(Arena *arena, size_t bytes);
void *arena_copy(Arena *arena, const void *from, size_t bytes);
char *arena_format(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vformat(Arena *arena, const char *format, va_list arguments);
size_t arena_used(const Arena *arena);
#define NEW(arena, T) ((T *)arena_alloc((arena), sizeof(T)))
#define NEW_ARRAY(arena, T, n) ((T *)arena_alloc((arena), sizeof(T) * (size_t)(n)))

// ---- vectors: VEC(T) v = {0}; vec_push(arena, &v, x); v.at[i]; v.count
#define VEC(T)                                                                                                         \
    struct {                                                                                                           \
        T *at;                                                                                                         \
        int count, room;                                                                                               \
    }
void *vec_grow(Arena *arena, void *at, int count, int *room, size_t element);
#define vec_push(arena, v, x)                                                                                          \
    ((v)->count == (v)->room                                                                                           \
         ? (void)((v)->at = vec_grow((arena), (v)->at, (v)->count, &(v)->room, sizeof *(v)->at))                       \
         : (void)0,                                                                                                    \
     (v)->at[(v)->count++] = (x))
#define vec_last(v) ((v)->at[(v)->count - 1])

// ---- intern.c: equal names are equal pointers.
typedef struct Names Names;
Names *names_new(Arena *arena);
const char *intern(Names *names, const char *text, size_t length);
const char *intern_z(Names *names, const char *text);

// ---- text.c: growable text for printers.
typedef struct Text {
    char *at;
    size_t length, room;
    Arena *arena;
} Text;
void text_add(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_add_bytes(Text *text, const char *bytes, size_t length);
void text_real(Text *text, double value); // shortest decimal that reads back equal
void text_quoted(Text *text, const char *bytes); // "…" with \" \\ \n as in a .stm file
// Bytes as a terminal may see them: control characters, invalid UTF-8 and direction marks are escaped (\x00).
void text_shown(Text *text, const char *bytes, size_t length);
// One character of that; returns how many bytes it took (at least 1). `room` must not be 0.
int text_add_shown(Text *text, const char *at, size_t room);
// Length of the well-formed UTF-8 sequence at `at` (1 to 4), or 0.
int utf8_decode(const char *at, size_t room, uint32_t *code_point);

// ---- source.c: files read by the compiler; a Span is a byte range of one of them.
typedef struct Span {
    int32_t file, begin, end;
} Span;
typedef struct Source {
    const char *path;
    const char *text; // NUL after size bytes; the bytes may hold NULs themselves
    int32_t size;
    int32_t *line_begin; // byte offset of each line
    int32_t lines;
} Source;
typedef struct Sources {
    Arena *arena;
    VEC(Source) file;
} Sources;
// Index of the file, or -1 when it cannot be read (errno says why).
int sources_read(Sources *sources, const char *path);
int sources_add(Sources *sources, const char *path, const char *text, size_t size);
void sources_place(const Sources *sources, Span at, int *line, int *column); // both from 1; column in code points

// ---- diagnostics.c: messages in the user's words.
typedef struct Diagnostics Diagnostics;
Diagnostics *diagnostics_new(Arena *arena, const Sources *sources);
// `code` names the entry of spec/errors.md, e.g. "axis-mismatch".
void report_error(Diagnostics *d, Span at, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
// A second place, or (span.file < 0) a line without a place, attached to the last error.
void report_note(Diagnostics *d, Span at, const char *format, ...) __attribute__((format(printf, 3, 4)));
// What to do about the last error.
void report_help(Diagnostics *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
int diagnostics_count(const Diagnostics *d);
const Sources *diagnostics_sources(const Diagnostics *d);
void diagnostics_print(const Diagnostics *d, FILE *to, bool json);
extern const Span NO_SPAN;

// ---- die.c
_Noreturn void die(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define DIE(...) die(__FILE__, __LINE__, __VA_ARGS__)
#define EXPECT(condition) ((condition) ? (void)0 : die(__FILE__, __LINE__, "broken invariant: %s", #condition))

#endif
