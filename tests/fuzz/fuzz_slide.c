// Any bytes as a slide: fuzz_slide MUTANTS FILE|DIRECTORY …   (build it with the sanitizers)
//
// Whatever the bytes, opening, every level and every extra end with pixels or with an error that names the file; no
// crash, no read of memory that was not written, no allocation out of proportion (the sanitizers see to that). With
// clang the same function is driven by coverage; the kept corpus lies in tests/fuzz/corpus/slide:
//
//     clang -g -O1 -fsanitize=fuzzer,address,undefined -DSTMC_LIBFUZZER tests/fuzz/fuzz_slide.c runtime/core/*.c
//         runtime/data/{image*,slide*,tiff_codecs}.c -ltiff -ljpeg -lpng -lz -lm -lpthread
//     ./a.out -rss_limit_mb=3000 tests/fuzz/corpus/slide tests/data/reference/images
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../runtime/core/files.h"
#include "../../runtime/data/slide.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LONGEST = 400 };

static void use(Status status, const char *path) {
    if (status != STATUS_OK && !strstr(status_message(status), path)) {
        fprintf(stderr, "fuzz_slide: the message does not name the file: %s\n", status_message(status));
        abort();
    }
    status_drop(status);
}

// Every byte must have been written: the sum makes a memory sanitizer look.
static unsigned touch(const uint8_t *rgb, size_t bytes) {
    unsigned sum = 0;
    for (size_t i = 0; i < bytes; i++) sum += rgb[i];
    return sum;
}

static volatile unsigned sink;

static void visit(Slide *slide, const char *path) {
    SlideInfo info = slide_info(slide);
    static uint8_t rgb[LONGEST * LONGEST * 3];
    for (size_t i = 0; i < info.n_levels && i < 6; i++) {
        SlideLevel level = slide_level(slide, i);
        size_t w = level.width < LONGEST ? level.width : LONGEST, h = level.height < LONGEST ? level.height : LONGEST;
        Status status = slide_read(slide, i, 0, 0, w, h, SLIDE_STRICT, rgb);
        if (status == STATUS_OK) sink += touch(rgb, w * h * 3);
        use(status, path);
        use(slide_read(slide, i, (int64_t)level.width - 7, (int64_t)level.height - 5, 20, 20, SLIDE_WHITE, rgb), path);
    }
    for (size_t i = 0; i < info.n_extras && i < 6; i++) {
        Picture picture;
        Status status = slide_read_extra(slide, i, 1 << 22, &picture);
        if (status == STATUS_OK) sink += touch(picture.rgb, picture.width * picture.height * 3);
        use(status, path);
        picture_free(&picture);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int descriptor = memfd_create("slide", 0);
    if (descriptor < 0) return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    if (size == 0 || write(descriptor, data, size) == (ssize_t)size) {
        Slide *slide = NULL;
        SlideOptions options = {.cache_bytes = 1 << 20, .whole_bytes = 1 << 22};
        Status status = slide_open(path, &options, &slide);
        if (status == STATUS_OK) visit(slide, path);
        use(status, path);
        slide_close(slide);
    }
    close(descriptor);
    return 0;
}

#if !defined(STMC_LIBFUZZER)

static uint64_t state = 88172645463325252u;

static uint64_t draw(uint64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

// One to four changes: bits, bytes, 32-bit numbers that matter, moved and removed stretches.
static size_t mutate(uint8_t *data, size_t size) {
    static const uint32_t numbers[] = {0, 1, 7, 8, 255, 256, 65535, 65536, 0x7fffffff, 0x80000000, 0xffffffff};
    for (uint64_t changes = 1 + draw(4); changes && size > 8; changes--) {
        size_t at = draw(3) ? draw(size) : draw(size < 400 ? size : 400), room = size - at;
        uint32_t number = numbers[draw(sizeof numbers / sizeof *numbers)];
        switch (draw(5)) {
        case 0: data[at] ^= (uint8_t)(1 << draw(8)); break;
        case 1: data[at] = (uint8_t)draw(256); break;
        case 2: memcpy(data + at, &number, room < 4 ? room : 4); break;
        case 3: memmove(data + at, data + draw(size - room + 1), room / 2); break;
        default:
            if (draw(4) == 0) size = at ? at : 1;
        }
    }
    return size;
}

static int fuzz_file(const char *path, int mutants) {
    char *data = NULL;
    size_t size = 0;
    Status status = file_read(path, 1 << 24, &data, &size);
    uint8_t *copy = status == STATUS_OK ? malloc(size + 1) : NULL;
    if (!copy) {
        fprintf(stderr, "fuzz_slide: %s\n", status == STATUS_OK ? "no memory" : status_message(status));
        status_drop(status);
        free(data);
        return -1;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)data, size);
    for (int i = 0; i < mutants; i++) {
        memcpy(copy, data, size);
        LLVMFuzzerTestOneInput(copy, mutate(copy, size));
    }
    free(copy);
    free(data);
    return mutants + 1;
}

int main(int argc, char **argv) {
    int passed = 0, failed = 0, mutants = argc > 1 ? atoi(argv[1]) : 0;
    if (argc < 3) {
        fprintf(stderr, "usage: fuzz_slide MUTANTS FILE|DIRECTORY ...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        Arena arena;
        char **names = NULL;
        size_t count = 0;
        arena_init(&arena);
        bool folder = is_directory(argv[i]);
        if (folder) status_drop(directory_list(argv[i], &arena, &names, &count)); // unreadable: no files
        for (size_t k = 0; k < (folder ? count : 1); k++) {
            const char *path = folder ? path_join(&arena, argv[i], names[k]) : argv[i];
            int done = fuzz_file(path, mutants);
            passed += done > 0 ? done : 0;
            failed += done < 0;
        }
        arena_free(&arena);
    }
    printf("fuzz_slide: %d passed, %d failed\n", passed, failed);
    return failed || passed == 0;
}

#endif
