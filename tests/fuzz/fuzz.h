// fuzz: what the fuzzers of the data room share: bytes as a file that can be opened, the judgement of a Status, and,
// unless libFuzzer brings its own, a main program that changes every file of a corpus at random:
//
//     fuzz_NAME MUTANTS FILE|DIRECTORY ...      (build it with the sanitizers)
//
// With -DSTMC_LIBFUZZER and clang's -fsanitize=fuzzer the same function is driven by coverage (tests/fuzz/fuzz.sh).
// Each driver defines LLVMFuzzerTestOneInput and FUZZ_NAME before it includes this file.
#pragma once
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE // memfd_create
#endif
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../runtime/core/files.h"
#include "../../runtime/core/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_broken(const char *what) {
    fprintf(stderr, FUZZ_NAME ": %s\n", what);
    abort();
}

// The bytes as a file; `path` names it until it is closed with close(result).
enum { FUZZ_PATH = 64 };
static inline int fuzz_file(const void *data, size_t size, char path[FUZZ_PATH]) {
    int descriptor = memfd_create("fuzz", MFD_CLOEXEC);
    if (descriptor < 0 || write(descriptor, data, size) != (ssize_t)size) fuzz_broken("no memory file");
    snprintf(path, FUZZ_PATH, "/proc/self/fd/%d", descriptor);
    return descriptor;
}

// An error must name the file (any part of `path`) and must not be a bug's. Consumes it; true if there was none.
static inline bool fuzz_judge(Status status, const char *path) {
    bool fine = status == STATUS_OK;
    if (!fine && !strstr(status_message(status), path)) fuzz_broken(status_message(status));
    if (!fine && status_code(status) == STATUS_INTERNAL) fuzz_broken(status_message(status));
    status_drop(status);
    return fine;
}

// Every byte must have been written: the sum makes a memory sanitizer look, and reading shows who freed it.
static volatile unsigned fuzz_sink;

static inline void fuzz_touch(const void *data, size_t bytes) {
    unsigned sum = 0;
    for (size_t i = 0; i < bytes; i++) sum += ((const uint8_t *)data)[i];
    fuzz_sink += sum;
}

static inline void fuzz_touch_texts(char *const *texts, size_t count) {
    for (size_t i = 0; texts && i < count; i++)
        if (texts[i]) fuzz_touch(texts[i], strlen(texts[i]));
}

// A scratch directory of this process in memory, removed at the end.
static char fuzz_root[256];

static inline void fuzz_root_remove(void) {
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", fuzz_root);
    if (fuzz_root[0] && system(command) != 0) fprintf(stderr, "%s stays behind\n", fuzz_root);
}

static inline const char *fuzz_directory(void) {
    if (fuzz_root[0]) return fuzz_root;
    const char *base = getenv("TMPDIR");
    if (!base || !*base) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(fuzz_root, sizeof fuzz_root, "%s/stmc-fuzz-XXXXXX", base);
    if (!mkdtemp(fuzz_root)) fuzz_broken("no scratch directory");
    atexit(fuzz_root_remove);
    return fuzz_root;
}

#ifndef STMC_LIBFUZZER
static uint64_t fuzz_state = 88172645463325252u;

static inline size_t fuzz_below(size_t bound) {
    fuzz_state ^= fuzz_state << 13;
    fuzz_state ^= fuzz_state >> 7;
    fuzz_state ^= fuzz_state << 17;
    return bound ? (size_t)(fuzz_state % bound) : 0;
}

// Changes bytes and numbers, cuts, repeats and moves pieces: a handful at a time.
static inline size_t fuzz_mutate(unsigned char *data, size_t size, size_t room) {
    static const uint32_t numbers[] = {0, 1, 255, 256, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    static const char *const words[] = {"-1", "4294967296", "9223372036854775808", "1e400", "nan", "\t", "\n",
                                        ",",  "\""};
    for (size_t k = 1 + fuzz_below(4); k > 0 && size > 4; k--) {
        size_t at = fuzz_below(size), length = 1 + fuzz_below(size - at < 32 ? size - at : 32), to = fuzz_below(size);
        uint32_t number = numbers[fuzz_below(sizeof numbers / sizeof *numbers)];
        const char *word = words[fuzz_below(sizeof words / sizeof *words)];
        switch (fuzz_below(8)) {
        case 0: data[at] = (unsigned char)fuzz_below(256); break;
        case 1: data[at] ^= (unsigned char)(1u << fuzz_below(8)); break;
        case 2: memcpy(data + at, &number, size - at < 4 ? size - at : 4); break;
        case 3: memmove(data + at, data + at + length, size - at - length), size -= length; break;
        case 4:
            if (size + length > room) break;
            memmove(data + at + length, data + at, size - at);
            size += length;
            break;
        case 5: memmove(data + (to + length > size ? size - length : to), data + at, length); break;
        case 6: memcpy(data + at, word, size - at < strlen(word) ? size - at : strlen(word)); break;
        default:
            if (fuzz_below(4) == 0) size = at ? at : 1;
        }
    }
    return size;
}

static inline long fuzz_one_file(const char *path, long mutants) {
    char *data = NULL;
    size_t size = 0;
    Status status = file_read(path, (size_t)1 << 24, &data, &size);
    if (status != STATUS_OK) fuzz_broken(status_message(status));
    size_t room = 2 * size + 4096;
    unsigned char *copy = malloc(room);
    if (!copy) fuzz_broken("no memory");
    for (long i = 0; i <= mutants; i++) {
        memcpy(copy, data, size);
        alarm(30); // a hang ends the program
        LLVMFuzzerTestOneInput(copy, i ? fuzz_mutate(copy, size, room) : size);
    }
    alarm(0);
    free(copy);
    free(data);
    return mutants + 1;
}

int main(int count, char **arguments) {
    long mutants = count > 1 ? atol(arguments[1]) : 0, runs = 0;
    for (int a = 2; a < count; a++) {
        Arena arena;
        char **names = NULL;
        size_t n = 0;
        arena_init(&arena);
        if (!is_directory(arguments[a])) runs += fuzz_one_file(arguments[a], mutants);
        else if (directory_list(arguments[a], &arena, &names, &n) != STATUS_OK) fuzz_broken(arguments[a]);
        for (size_t i = 0; i < n; i++) runs += fuzz_one_file(path_join(&arena, arguments[a], names[i]), mutants);
        arena_free(&arena);
    }
    printf(FUZZ_NAME ": %ld passed, %d failed\n", runs, runs == 0);
    return runs == 0;
}
#endif
