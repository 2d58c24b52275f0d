// Names: each distinct text is kept once, so that equal names are equal pointers. Open addressing over a
// power of two, FNV-1a, at most half full.
#include "base/base.h"

#include <string.h>

typedef struct Entry {
    const char *text;
    size_t length;
    uint64_t hash;
} Entry;

struct Names {
    Arena *arena;
    Entry *entry;
    size_t room, count;
};

enum { FIRST_ROOM = 256 };

Names *names_new(Arena *arena) {
    Names *names = NEW(arena, Names);
    names->arena = arena;
    names->room = FIRST_ROOM;
    names->entry = NEW_ARRAY(arena, Entry, names->room);
    return names;
}

static uint64_t hash_of(const char *text, size_t length) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return hash;
}

static Entry *find(Entry *entry, size_t room, const char *text, size_t length, uint64_t hash) {
    for (size_t at = hash & (room - 1);; at = (at + 1) & (room - 1)) {
        Entry *e = &entry[at];
        if (!e->text) return e;
        if (e->hash == hash && e->length == length && memcmp(e->text, text, length) == 0) return e;
    }
}

const char *intern(Names *names, const char *text, size_t length) {
    uint64_t hash = hash_of(text, length);
    Entry *e = find(names->entry, names->room, text, length, hash);
    if (e->text) return e->text;
    if (names->count * 2 >= names->room) {
        size_t room = names->room * 2;
        Entry *entry = NEW_ARRAY(names->arena, Entry, room);
        for (size_t i = 0; i < names->room; i++) {
            const Entry *old = &names->entry[i];
            if (old->text) *find(entry, room, old->text, old->length, old->hash) = *old;
        }
        names->entry = entry;
        names->room = room;
        e = find(entry, room, text, length, hash);
    }
    char *copy = arena_alloc(names->arena, length + 1);
    if (length) memcpy(copy, text, length);
    *e = (Entry){copy, length, hash};
    names->count++;
    return copy;
}

const char *intern_z(Names *names, const char *text) {
    return intern(names, text, strlen(text));
}
