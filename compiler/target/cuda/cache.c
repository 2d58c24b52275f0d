// Files KEY.stmcuda: "STMCACHE", the key, size and number of each part, the parts, a checksum of all that. See cache.h.
#include "target/cuda/cache.h"

#include "target/cuda/cuda.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 8 + 16 + CACHE_PARTS * 16, CHECKSUM = 8 };
static const char suffix[] = ".stmcuda";

const char *cuda_cache_directory(Arena *arena) {
    const char *set = getenv("STMC_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (set && *set) return arena_format(arena, "%s", set);
    if (xdg && *xdg) return arena_format(arena, "%s/stmc", xdg);
    if (home && *home) return arena_format(arena, "%s/.cache/stmc", home);
    return NULL;
}

static const char *path_of(Arena *arena, const char *directory, Hash128 key) {
    return arena_format(arena, "%s/%016llx%016llx%s", directory, (unsigned long long)key.high,
                        (unsigned long long)key.low, suffix);
}

static uint64_t read64(const unsigned char *b) {
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | b[i];
    return v;
}

static void write64(unsigned char *b, uint64_t v) {
    for (int i = 0; i < 8; i++) b[i] = (unsigned char)(v >> 8 * i);
}

static unsigned char *read_file(Arena *arena, const char *path, size_t *size) {
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    unsigned char *bytes = NULL;
    if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= HEADER + CHECKSUM && st.st_size < 1 << 30) {
        *size = (size_t)st.st_size;
        bytes = arena_alloc(arena, *size);
        if (fread(bytes, 1, *size, f) != *size) bytes = NULL;
        futimens(fileno(f), NULL); // it was used now: cache_prune removes the oldest
    }
    fclose(f);
    return bytes;
}

bool cache_get(Arena *arena, const char *directory, Hash128 key, CachePart part[CACHE_PARTS]) {
    const char *path = path_of(arena, directory, key);
    size_t size = 0;
    const unsigned char *bytes = read_file(arena, path, &size);
    if (!bytes) return false;
    bool ok = !memcmp(bytes, "STMCACHE", 8) && read64(bytes + 8) == key.high && read64(bytes + 16) == key.low &&
              read64(bytes + size - CHECKSUM) == hash_bytes(HASH_START, bytes, size - CHECKSUM);
    size_t at = HEADER;
    for (int i = 0; i < CACHE_PARTS && ok; i++) {
        uint64_t length = read64(bytes + 24 + 16 * i);
        ok = length <= size - CHECKSUM - at;
        part[i] = (CachePart){bytes + at, length, read64(bytes + 32 + 16 * i)};
        at += ok ? length : 0;
    }
    if (!ok) unlink(path);
    return ok;
}

static bool make_directory(Arena *arena, const char *directory) {
    char *path = arena_format(arena, "%s", directory);
    for (char *slash = path + 1; *slash; slash++) {
        if (*slash != '/') continue;
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
    return mkdir(path, 0777) == 0 || errno == EEXIST;
}

bool cache_put(Arena *arena, const char *directory, Hash128 key, const CachePart part[CACHE_PARTS]) {
    size_t size = HEADER + CHECKSUM, at = HEADER;
    for (int i = 0; i < CACHE_PARTS; i++) size += part[i].size;
    unsigned char *bytes = malloc(size);
    if (!bytes) return false;
    memcpy(bytes, "STMCACHE", 8);
    write64(bytes + 8, key.high);
    write64(bytes + 16, key.low);
    for (int i = 0; i < CACHE_PARTS; i++) {
        write64(bytes + 24 + 16 * i, part[i].size);
        write64(bytes + 32 + 16 * i, part[i].number);
        if (part[i].size) memcpy(bytes + at, part[i].bytes, part[i].size);
        at += part[i].size;
    }
    write64(bytes + at, hash_bytes(HASH_START, bytes, at));
    char *made = arena_format(arena, "%s/.new-XXXXXX", directory);
    int fd = mkstemp(made);
    if (fd < 0 && make_directory(arena, directory)) {
        made = arena_format(arena, "%s/.new-XXXXXX", directory);
        fd = mkstemp(made);
    }
    bool ok = fd >= 0;
    for (size_t done = 0; ok && done < size;) {
        ssize_t n = write(fd, bytes + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        ok = n > 0;
        done += ok ? (size_t)n : 0;
    }
    if (fd >= 0 && close(fd)) ok = false;
    if (ok) ok = rename(made, path_of(arena, directory, key)) == 0;
    if (!ok && fd >= 0) unlink(made);
    free(bytes);
    return ok;
}

typedef struct Entry {
    const char *path;
    int64_t size;
    struct timespec used;
} Entry;

static int oldest_first(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec) return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    if (x->used.tv_nsec != y->used.tv_nsec) return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
    return strcmp(x->path, y->path);
}

void cache_prune(Arena *arena, const char *directory, int64_t bytes) {
    VEC(Entry) entry = {0};
    int64_t total = 0;
    DIR *dir = opendir(directory);
    if (!dir) return;
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        size_t length = strlen(d->d_name);
        struct stat st;
        bool ours = length > sizeof suffix - 1 && !strcmp(d->d_name + length - (sizeof suffix - 1), suffix);
        bool left = !strncmp(d->d_name, ".new-", 5); // of a stmc that was killed; or of one that writes just now
        const char *path = arena_format(arena, "%s/%s", directory, d->d_name);
        if ((!ours && !left) || lstat(path, &st) || !S_ISREG(st.st_mode)) continue;
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        if (left && now.tv_sec - st.st_mtim.tv_sec < 3600) continue;
        if (left) {
            unlink(path);
            continue;
        }
        Entry e = {path, st.st_size, st.st_mtim};
        vec_push(arena, &entry, e);
        total += e.size;
    }
    closedir(dir);
    if (total <= bytes) return;
    qsort(entry.at, (size_t)entry.count, sizeof *entry.at, oldest_first);
    for (int i = 0; i < entry.count && total > bytes; i++)
        if (unlink(entry.at[i].path) == 0) total -= entry.at[i].size;
}
