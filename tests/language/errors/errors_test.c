// spec/errors.md against the compiler: errors_test STMC ERRORS.md COMPILER_DIRECTORY
//
// Every entry's wrong program gives exit status 1, one error, and exactly the first line that the entry shows, so its
// place as well; its right program gives 0. Every code in the compiler's sources has an entry, and every entry's code
// is in the sources.
#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_CODES = 500, MOST_WORDS = 16 };

static int passed, failed;

static bool check(bool ok, const char *code, const char *what) {
    if (ok) passed++;
    else failed++;
    if (!ok) printf("FAILED: %s: %s\n", code, what);
    return ok;
}

static char *read_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(2);
    }
    size_t size = 0, room = 1 << 16;
    char *text = malloc(room);
    for (size_t n; text && (n = fread(text + size, 1, room - size - 1, f)) > 0;) {
        size += n;
        if (size + 1 == room) text = realloc(text, room *= 2);
    }
    if (!text) abort();
    text[size] = 0;
    fclose(f);
    return text;
}

// ---- codes in the sources: the first string behind `report_error(`

typedef struct Codes {
    char at[MOST_CODES][40];
    int count;
} Codes;

static bool has(const Codes *codes, const char *code) {
    for (int i = 0; i < codes->count; i++)
        if (!strcmp(codes->at[i], code)) return true;
    return false;
}

static void add(Codes *codes, const char *code) {
    if (has(codes, code)) return;
    if (codes->count == MOST_CODES || strlen(code) >= sizeof codes->at[0]) abort();
    strcpy(codes->at[codes->count++], code);
}

static void scan_source(Codes *codes, const char *text) {
    static const char call[] = "report_error(";
    for (const char *at = text; (at = strstr(at, call)); at++) {
        const char *begin = at + strlen(call);
        while (*begin && *begin != '"' && *begin != ';') begin++;
        if (*begin != '"') continue; // the declaration
        char code[40];
        size_t n = strcspn(begin + 1, "\"");
        if (n >= sizeof code) continue;
        memcpy(code, begin + 1, n);
        code[n] = 0;
        add(codes, code);
    }
}

static void scan_directory(Codes *codes, const char *path) {
    DIR *directory = opendir(path);
    if (!directory) {
        perror(path);
        exit(2);
    }
    for (struct dirent *entry; (entry = readdir(directory));) {
        char inner[4096];
        struct stat st;
        if (entry->d_name[0] == '.') continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (stat(inner, &st)) continue;
        const char *dot = strrchr(entry->d_name, '.');
        if (S_ISDIR(st.st_mode)) {
            scan_directory(codes, inner);
        } else if (dot && (!strcmp(dot, ".c") || !strcmp(dot, ".y") || !strcmp(dot, ".re"))) {
            char *text = read_file(inner);
            scan_source(codes, text);
            free(text);
        }
    }
    closedir(directory);
}

// ---- entries

typedef struct Fence {
    char *text;      // between the marks, or NULL
    char words[200]; // what stands behind `wrong` or `right`
} Fence;

// The first fence of `entry` that opens with ```MARK.
static Fence find_fence(const char *entry, const char *mark) {
    Fence fence = {0};
    char open[64];
    snprintf(open, sizeof open, "\n```%s", mark);
    const char *at = strstr(entry, open);
    if (!at) return fence;
    at += strlen(open);
    size_t n = strcspn(at, "\n");
    if (n >= sizeof fence.words) abort();
    memcpy(fence.words, at, n);
    const char *begin = at + n + 1, *end = strstr(begin, "\n```");
    if (!end) return fence;
    fence.text = strndup(begin, (size_t)(end - begin) + 1);
    return fence;
}

// Runs `stmc [test] NAME words…` in the current directory; its messages go to the file `messages`.
static int compile(const char *stmc, const char *name, const Fence *fence, bool json) {
    FILE *f = fopen(name, "wb");
    if (!f || fputs(fence->text, f) < 0 || fclose(f)) {
        perror(name);
        exit(2);
    }
    char words[sizeof fence->words], *word[MOST_WORDS];
    int n = 0;
    strcpy(words, fence->words);
    word[n++] = (char *)stmc;
    char *next = strtok(words, " ");
    if (next && !strcmp(next, "test")) {
        word[n++] = next;
        next = strtok(NULL, " ");
    }
    word[n++] = (char *)name;
    bool emits = false;
    for (; next && n < MOST_WORDS - 5; next = strtok(NULL, " ")) {
        emits |= !strcmp(next, "--emit");
        word[n++] = next;
    }
    if (!emits) word[n++] = "--check";
    if (json) word[n++] = "--diagnostics", word[n++] = "json";
    word[n] = NULL;
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        exit(2);
    }
    if (child == 0) {
        if (!freopen("messages", "wb", stderr) || !freopen("/dev/null", "wb", stdout)) _exit(126);
        alarm(30);
        execv(stmc, word);
        _exit(127);
    }
    int status;
    while (waitpid(child, &status, 0) < 0) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void check_entry(const char *stmc, const char *code, const char *entry) {
    Fence wrong = find_fence(entry, "stm wrong"), line = find_fence(entry, "text"),
          right = find_fence(entry, "stm right");
    if (strstr(entry, "No spec leads to it")) {
        check(!wrong.text && !right.text, code, "has programs although no spec leads to it");
        return;
    }
    if (!check(wrong.text && line.text && right.text, code, "the entry lacks a program or the message")) return;
    char bracketed[80];
    snprintf(bracketed, sizeof bracketed, " [%s]\n", code);
    check(strstr(line.text, bracketed) != NULL, code, "the message of the entry has another code");

    check(compile(stmc, "wrong.stm", &wrong, false) == 1, code, "the wrong program does not end with status 1");
    char *messages = read_file("messages");
    size_t n = strlen(line.text);
    if (!check(strncmp(messages, line.text, n) == 0, code, "the first line differs"))
        printf("    seen:     %.*s\n    expected: %s", (int)strcspn(messages, "\n"), messages, line.text);
    free(messages);
    compile(stmc, "wrong.stm", &wrong, true);
    messages = read_file("messages");
    check(strncmp(messages, "{\"errors\":1,", 12) == 0, code, "there is not exactly one error");
    free(messages);

    bool ok = compile(stmc, "right.stm", &right, false) == 0;
    messages = read_file("messages");
    if (!check(ok, code, "the right program is refused")) printf("%s", messages);
    free(messages);
    free(wrong.text), free(line.text), free(right.text);
}

int main(int count, char **argument) {
    if (count != 4) {
        fprintf(stderr, "usage: errors_test STMC ERRORS.md COMPILER_DIRECTORY\n");
        return 2;
    }
    char *stmc = realpath(argument[1], NULL), *page = read_file(argument[2]);
    if (!stmc) {
        perror(argument[1]);
        return 2;
    }
    static Codes sources, entries;
    scan_directory(&sources, argument[3]);
    char directory[] = "/tmp/stmc-errors-XXXXXX";
    if (!mkdtemp(directory) || chdir(directory)) {
        perror(directory);
        return 2;
    }
    for (char *at = strstr(page, "\n### "), *next; at; at = next) {
        next = strstr(at + 1, "\n### ");
        char *begin = at + 5, code[64] = "";
        size_t n = strcspn(begin, "\n");
        if (n < sizeof code) memcpy(code, begin, n);
        char *entry = strndup(begin, next ? (size_t)(next - begin) : strlen(begin));
        check(!has(&entries, code), code, "has two entries");
        add(&entries, code);
        check(has(&sources, code), code, "is in no source of the compiler");
        check_entry(stmc, code, entry);
        free(entry);
    }
    for (int i = 0; i < sources.count; i++) check(has(&entries, sources.at[i]), sources.at[i], "has no entry");
    check(sources.count > 50, "sources", "fewer codes than there must be: the scan is broken");
    unlink("wrong.stm"), unlink("right.stm"), unlink("messages");
    if (chdir("/") || rmdir(directory)) perror(directory);
    free(page), free(stmc);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
