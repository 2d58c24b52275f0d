// What an unknown name was meant to be: a visible name that is spelled nearly so, or one of a library that is not
// used.
// requires an error that was just reported; leaves its help line.
#include "elaborate/internal.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int edit_distance(const char *a, const char *b) {
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > 60 || m > 60) return 99;
    int row[64];
    for (int j = 0; j <= m; j++) row[j] = j;
    for (int i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int keep = row[j], cost = a[i - 1] == b[j - 1] ? 0 : 1;
            int best = diagonal + cost;
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = keep;
        }
    }
    return row[m];
}

typedef struct Best {
    const char *name;
    int distance; // at most this
} Best;

static void consider(Best *best, const char *wanted, const char *name) {
    int d = strcasecmp(wanted, name) == 0 ? 0 : edit_distance(wanted, name);
    if (name != wanted && (best->name ? d < best->distance : d <= best->distance))
        best->name = name, best->distance = d;
}

static void consider_scope(Best *best, const char *wanted, const Scope *s) {
    for (int i = 0; i < s->binding.count; i++)
        if (strcmp(s->binding.at[i].name, "..") != 0) consider(best, wanted, s->binding.at[i].name);
}

// Whether the text declares a function, module, optimizer or schedule of this name at the beginning of a line.
static bool declares(const char *text, const char *name) {
    static const char *const keyword[] = {"function ", "module ", "optimizer ", "schedule "};
    size_t length = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        for (size_t i = 0; i < sizeof keyword / sizeof *keyword; i++) {
            size_t skip = strlen(keyword[i]);
            if (strncmp(line, keyword[i], skip) || strncmp(line + skip, name, length)) continue;
            char next = line[skip + length];
            if (next == '(' || next == ' ' || next == '\n') return true;
        }
    }
    return false;
}

// The standard library's file that declares `name`, without its ending; NULL when there is none.
static const char *library_of(El *el, const char *name) {
    DIR *directory = opendir(el->options->stdlib);
    const char *found = NULL;
    for (struct dirent *entry; directory && !found && (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".stm") != 0) continue;
        FILE *f = fopen(arena_format(el->arena, "%s/%s", el->options->stdlib, entry->d_name), "r");
        if (!f) continue;
        enum { LONGEST = 1 << 20 };
        char *text = arena_alloc(el->arena, LONGEST);
        text[fread(text, 1, LONGEST - 1, f)] = 0;
        fclose(f);
        if (declares(text, name)) found = arena_format(el->arena, "%.*s", (int)(dot - entry->d_name), entry->d_name);
    }
    if (directory) closedir(directory);
    return found;
}

void suggest_name(El *el, Scope *s, const char *name) {
    const char *library = library_of(el, name);
    if (library) {
        report_help(el->d, "it is in the standard library: use %s", library);
        return;
    }
    Best best = {.distance = (int)strlen(name) / 3};
    for (const char *const *b = builtin_names(); *b; b++) consider(&best, name, *b);
    for (; s; s = s->parent) {
        consider_scope(&best, name, s);
        for (int f = 0; !s->parent && s->file && f < s->file->used.count; f++)
            consider_scope(&best, name, s->file->used.at[f]->scope);
    }
    if (best.name) report_help(el->d, "did you mean `%s`?", best.name);
}

void suggest_option(El *el, const char *name) {
    Best best = {.distance = (int)strlen(name) / 3};
    for (int i = 0; i < el->root->binding.count; i++) {
        const Binding *b = &el->root->binding.at[i];
        if (b->value.origin && (!strcmp(b->value.origin, "option") || !strcmp(b->value.origin, "axis")))
            consider(&best, name, b->name);
    }
    if (best.name) report_help(el->d, "did you mean `%s`?", best.name);
}

const char *suggest_word(El *el, const char *name, const char *words) {
    Best best = {.distance = (int)strlen(name) / 3};
    while (*words) {
        size_t n = strcspn(words, " ");
        consider(&best, name, arena_format(el->arena, "%.*s", (int)n, words));
        words += n + (words[n] == ' ');
    }
    return best.name;
}
