// Any bytes as a file of weights: fuzz_pickle MUTANTS FILE|DIRECTORY ...   (build it with the sanitizers)
//
// Safetensors, torch archives and streams, pickles, NPY, NPZ: whatever the bytes, opening ends, with a message that
// names the file or with tensors that can be read; nothing is run. With clang the same function is driven by coverage;
// the kept corpus lies in tests/fuzz/corpus/weights:
//
//     clang -std=c17 -D_GNU_SOURCE= -g -O1 -fsanitize=fuzzer,address,undefined -DSTMC_LIBFUZZER
//         tests/fuzz/fuzz_pickle.c runtime/core/{arena,status,strings,files,json}.c
//         runtime/data/{element,mapped,zip_read,pickle*,view,torch_file,npy*,safetensors,weights*}.c -ldeflate -lm
//     ./a.out tests/fuzz/corpus/weights tests/data/reference/weights
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE // memfd_create
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../runtime/core/files.h"
#include "../../runtime/data/weights.h"

enum { MOST = 1 << 20 }; // elements of tensors that are read

static void broken(const char *what) {
    printf("FAILED: %s\n", what);
    abort();
}

static void read_tensor(Weights *w, const WeightsTensor *t) {
    if (t->elements > MOST) return;
    double *to = malloc(((size_t)t->elements + 1) * sizeof *to);
    int64_t *whole = malloc(((size_t)t->elements + 1) * sizeof *whole);
    const void *data = NULL;
    if (!to || !whole) abort();
    status_drop(weights_read(w, t, ELEMENT_F64, to));
    status_drop(weights_read(w, t, ELEMENT_I64, whole));
    status_drop(weights_data(w, t, &data));
    // every byte must be there
    volatile unsigned char sum = 0;
    for (size_t i = 0; data && i < (size_t)t->elements * element_size(t->type); i++)
        sum = (unsigned char)(sum + ((const unsigned char *)data)[i]);
    free(whole);
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int descriptor = memfd_create("weights", MFD_CLOEXEC);
    if (descriptor < 0 || write(descriptor, data, size) != (ssize_t)size) abort();
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    Weights w;
    Status status = weights_open(path, &w);
    if (status != STATUS_OK) {
        if (!strstr(status_message(status), path)) broken(status_message(status));
        if (status_code(status) == STATUS_INTERNAL) broken(status_message(status));
        status_drop(status);
    } else {
        Arena arena;
        char **texts = NULL;
        size_t count = 0;
        for (size_t i = 0; i < w.count; i++) {
            if (weights_find(&w, w.tensor[i].name) != &w.tensor[i]) broken("a tensor is not found by its name");
            read_tensor(&w, &w.tensor[i]);
        }
        arena_init(&arena);
        status_drop(weights_texts(&w, "names", &arena, &texts, &count));
        status_drop(weights_texts(&w, "barcodes", &arena, &texts, &count));
        arena_free(&arena);
        weights_close(&w);
    }
    close(descriptor);
    return 0;
}

#ifndef STMC_LIBFUZZER
static uint64_t state = 88172645463325252u;

static size_t below(size_t bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return bound ? (size_t)(state % bound) : 0;
}

// Changes bytes, cuts, repeats and moves pieces: a handful at a time.
static size_t mutate(unsigned char *data, size_t size, size_t room) {
    for (size_t k = 1 + below(4); k > 0 && size > 4; k--) {
        size_t at = below(size), length = 1 + below(size - at < 32 ? size - at : 32), to = below(size);
        switch (below(6)) {
        case 0: data[at] = (unsigned char)below(256); break;
        case 1: data[at] ^= (unsigned char)(1u << below(8)); break;
        case 2: memset(data + at, below(2) ? 0xFF : 0, length); break;
        case 3: memmove(data + at, data + at + length, size - at - length), size -= length; break;
        case 4:
            if (size + length > room) break;
            memmove(data + at + length, data + at, size - at);
            size += length;
            break;
        default: memmove(data + (to + length > size ? size - length : to), data + at, length); break;
        }
    }
    return size;
}

static long mutants, runs;

static void fuzz_file(const char *path) {
    static unsigned char whole[1 << 20], data[2 << 20];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(3);
    }
    size_t size = fread(whole, 1, sizeof whole, file);
    fclose(file);
    for (long i = 0; i <= mutants; i++, runs++) {
        memcpy(data, whole, size);
        alarm(20); // a hang ends the program
        LLVMFuzzerTestOneInput(data, i ? mutate(data, size, sizeof data) : size);
    }
}

int main(int count, char **arguments) {
    mutants = count > 1 ? atol(arguments[1]) : 0;
    for (int a = 2; a < count; a++) {
        Arena arena;
        char **names = NULL;
        size_t n = 0;
        arena_init(&arena);
        if (!is_directory(arguments[a])) fuzz_file(arguments[a]);
        else if (directory_list(arguments[a], &arena, &names, &n) != STATUS_OK) broken(arguments[a]);
        for (size_t i = 0; i < n; i++) fuzz_file(path_join(&arena, arguments[a], names[i]));
        arena_free(&arena);
    }
    printf("fuzz_pickle: %ld passed, 0 failed\n", runs);
    return runs == 0;
}
#endif
