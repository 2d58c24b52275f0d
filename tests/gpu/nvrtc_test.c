// From texts of functions to the image, with the real NVRTC and without a GPU: sharing, files, resources, cache,
// errors, and the bytes of the image, which are read here from the description in image.h alone. Skipped without NVRTC.
#include "check.h"
#include "target/cuda/cache.h"
#include "target/cuda/cubin.h"
#include "target/cuda/cuda.h"

#include <dirent.h>
#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static char folder[] = "/tmp/stmc-nvrtc-XXXXXX";

static const char prelude[] = "#pragma once\n#define STM_WARP 32\n";
static const char twice[] = "#pragma once\n#include \"prelude.cuh\"\n"
                            "static __device__ inline float twice(float a) { return 2 * a; }\n";

static const char shared_text[] =
    "extern \"C\" __global__ void __launch_bounds__(256) @(const float *__restrict__ b0, float *b1, int e0) {\n"
    "    __shared__ float s[512];\n    s[threadIdx.x] = b0[threadIdx.x];\n    __syncthreads();\n"
    "    b1[threadIdx.x] = s[(threadIdx.x + e0) & 255];\n}\n";
static const char twice_text[] = "#include \"twice.cuh\"\nstruct @_words { long long w[1]; };\n"
                                 "extern \"C\" __global__ void __launch_bounds__(128) @(float *b0, @_words w) {\n"
                                 "    b0[threadIdx.x] = twice(b0[threadIdx.x + w.w[0]]);\n}\n";

static void write_text(const char *name, const char *text, size_t length) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!CHECK(f != NULL)) return;
    CHECK(fwrite(text, 1, length, f) == length);
    fclose(f);
}

// More values alive at once than 32 registers hold.
static const char *spilling_text(Arena *arena) {
    Text t = {.arena = arena};
    text_add(&t, "extern \"C\" __global__ void __launch_bounds__(1024, 2) @(const float *b0, float *b1) {\n"
                 "    float x[64];\n    int t = threadIdx.x;\n#pragma unroll\n"
                 "    for (int i = 0; i < 64; i++) x[i] = b0[t + 1024 * i];\n    __syncthreads();\n#pragma unroll\n"
                 "    for (int i = 0; i < 64; i++)\n#pragma unroll\n        for (int k = 0; k < 8; k++) x[i] = "
                 "x[i] * x[(i * 7 + k * 13) & 63] + x[(i + 5 * k) & 63];\n#pragma unroll\n"
                 "    for (int i = 0; i < 64; i++) b1[t + 1024 * i] = x[i];\n}\n");
    return t.at;
}

static const char *filler_text(Arena *arena, int i) {
    return arena_format(arena, "extern \"C\" __global__ void @(float *b0) { b0[threadIdx.x] += %d.0f; }\n", i);
}

static uint64_t number(const unsigned char *at, int bytes) {
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--) v = v << 8 | at[i];
    return v;
}

// ---- functions and files
static void test_unit(Arena *arena) {
    CudaUnit *unit = cuda_unit(arena, NULL, STM_COMPUTE_F32);
    const char *a = cuda_function(unit, "first", shared_text)->name;
    const char *b = cuda_function(unit, "second", twice_text)->name;
    CHECK(unit->function.count == 2 && strcmp(a, b) != 0);
    CHECK_TEXT(cuda_function(unit, "third", shared_text)->name, a);
    CHECK(unit->function.count == 2);
    CHECK_TEXT(unit->function.at[0].what, "first");
    CHECK(!strncmp(a, "stm_", 4) && strstr(unit->function.at[0].text, a) && !strchr(unit->function.at[0].text, '@'));
    CHECK(strstr(unit->function.at[1].text, arena_format(arena, "struct %s_words {", b)) != NULL);
    for (int i = 0; i < 200; i++) cuda_function(unit, "filler", filler_text(arena, i));
    for (int i = 0; i < 200; i++) cuda_function(unit, "filler", filler_text(arena, i));
    CHECK(unit->function.count == 202);
    CHECK(cuda_find(unit, b) == &unit->function.at[1] && cuda_find(unit, "stm_") == NULL);

    CudaSources s, again;
    cuda_sources(unit, &s);
    cuda_sources(unit, &again);
    int next = 0, largest = 0;
    for (int i = 0; i < s.source.count; i++) {
        const CudaSource *x = &s.source.at[i];
        CHECK(x->first == next && x->count > 0 && x->cost >= x->count);
        CHECK(!strncmp(x->text, "#include \"prelude.cuh\"\n", 23));
        CHECK_TEXT(again.source.at[i].text, x->text);
        next = x->first + x->count;
        if (x->count > largest) largest = x->count;
    }
    CHECK(next == 202 && s.source.count >= 202 / 32 && largest <= 32);
    const char *include = strstr(s.source.at[0].text, "#include \"twice.cuh\"");
    CHECK(include && !strstr(include + 1, "#include") && include < strstr(s.source.at[0].text, "// ---- "));
    CHECK_TEXT(s.source.at[0].name, "module0.cu");

    // A function more changes the files around it and no others.
    CudaUnit *other = cuda_unit(arena, NULL, STM_COMPUTE_F32);
    for (int i = 0; i < 300; i++) cuda_function(other, "filler", filler_text(arena, i));
    CudaUnit *more = cuda_unit(arena, NULL, STM_COMPUTE_F32);
    cuda_function(more, "new", shared_text);
    for (int i = 0; i < 300; i++) cuda_function(more, "filler", filler_text(arena, i));
    cuda_sources(other, &s);
    cuda_sources(more, &again);
    int same = 0;
    for (int i = 0; i < s.source.count; i++)
        for (int k = 0; k < again.source.count; k++)
            if (!strcmp(s.source.at[i].text, again.source.at[k].text)) same++;
    CHECK(same >= s.source.count / 2);
}

// ---- the image, read as image.h describes it
static const unsigned char *module_bytes(Arena *arena, const CudaImage *image, uint32_t kind, uint32_t arch,
                                         uint32_t shard, size_t *size) {
    const unsigned char *at = image->bytes, *row = at + number(at + 24, 8);
    for (uint64_t i = 0; i < number(at + 16, 4); i++, row += 48) {
        if (number(row, 4) != kind || number(row + 4, 4) != arch || number(row + 8, 4) != shard) continue;
        uLongf unpacked = number(row + 32, 8);
        unsigned char *to = arena_alloc(arena, unpacked);
        if (!CHECK(number(row + 16, 8) + number(row + 24, 8) <= image->size)) return NULL;
        if (!CHECK(uncompress(to, &unpacked, at + number(row + 16, 8), number(row + 24, 8)) == Z_OK)) return NULL;
        CHECK(unpacked == number(row + 32, 8) && crc32(0, to, (uInt)unpacked) == number(row + 12, 4));
        *size = unpacked;
        return to;
    }
    return NULL;
}

static void test_image(Arena *arena, const CudaUnit *unit, const CudaImage *image) {
    const unsigned char *at = image->bytes;
    CHECK(image->size > 64 && !memcmp(at, "STMCUDA1", 8) && number(at + 8, 8) == image->size);
    uint64_t modules = number(at + 16, 4), functions = number(at + 20, 4), shards = number(at + 60, 4);
    uint64_t module_at = number(at + 24, 8), function_at = number(at + 32, 8), names_at = number(at + 40, 8);
    uint64_t names_size = number(at + 48, 8);
    CHECK(functions == (uint64_t)unit->function.count && shards == (uint64_t)image->modules && modules == 3 * shards);
    CHECK(module_at == 64 && function_at % 16 == 0 && names_at % 16 == 0);
    CHECK(crc32(0, at + module_at, (uInt)(names_at + names_size - module_at)) == number(at + 56, 4));
    const char *before = "";
    for (uint64_t i = 0; i < functions; i++) {
        const unsigned char *row = at + function_at + 8 * i;
        const char *name = (const char *)at + names_at + number(row, 4);
        CHECK(number(row, 4) < names_size && strcmp(before, name) < 0);
        before = name;
        const CudaFunction *f = cuda_find(unit, name);
        if (!CHECK(f != NULL)) continue;
        size_t size;
        const unsigned char *ptx = module_bytes(arena, image, 2, 80, (uint32_t)number(row + 4, 4), &size);
        CHECK(ptx && ptx[size - 1] == 0 && strlen((const char *)ptx) == size - 1);
        CHECK(ptx && strstr((const char *)ptx, ".target sm_80") && strstr((const char *)ptx, name));
        for (uint32_t arch = 80; arch <= 90; arch += 10) {
            CubinResources r;
            const unsigned char *cubin = module_bytes(arena, image, 1, arch, (uint32_t)number(row + 4, 4), &size);
            if (!CHECK(cubin && !memcmp(cubin, ELFMAG, SELFMAG))) continue;
            CHECK(cubin_from_elf(cubin, size, name, &r));
            CHECK(r.registers > 0 && r.registers <= f->registers);
            // From sm_90 on a block has 1024 bytes of the system beside its own.
            CHECK(r.static_shared == f->static_shared || r.static_shared == f->static_shared + 1024);
            for (size_t cut = 0; cut < size; cut += size / 40 + 1) cubin_from_elf(cubin, cut, name, &r);
        }
    }
}

// ---- the cache
static int entries(const char *directory, char *last, size_t room) {
    DIR *dir = opendir(directory);
    int count = 0;
    if (!dir) return -1;
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        if (d->d_name[0] == '.') {
            CHECK(!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..")); // nothing half-written
            continue;
        }
        snprintf(last, room, "%s/%s", directory, d->d_name);
        count++;
    }
    closedir(dir);
    return count;
}

static bool same_image(const CudaImage *a, const CudaImage *b) {
    return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

static void test_compile(Arena *arena, CudaOptions o) {
    CudaUnit *unit = cuda_unit(arena, NULL, STM_COMPUTE_F32);
    CudaImage image, again;
    const char *shared = cuda_function(unit, "shared", shared_text)->name;
    const char *spilling = cuda_function(unit, "spilling", spilling_text(arena))->name;
    for (int i = 0; i < 30; i++) cuda_function(unit, "filler", filler_text(arena, i));
    cuda_function(unit, "twice", twice_text);
    const char *error = cuda_compile(unit, &o, &image);
    if (error) printf("    %s\n", error);
    if (!CHECK(error == NULL)) return;
    CHECK(image.modules >= 2 && image.compiled == 2 * image.modules && image.cached == 0);
    CHECK((image.ptxas == NULL) == (image.no_ptxas != NULL));
    test_image(arena, unit, &image);
    CHECK(strstr(image.ptx[0], shared) != NULL);
    CHECK(cuda_find(unit, shared)->static_shared == 2048 && cuda_find(unit, shared)->spills == 0);
    CHECK(cuda_find(unit, shared)->registers > 0);
    CHECK(cuda_find(unit, spilling)->spills > 0 && cuda_find(unit, spilling)->registers == 32);

    StmLaunch launch = {.function = spilling, .threads = 1024};
    KernelCode code = {.phases = 1};
    code.phase[0].launch = &launch;
    cuda_fill_launches(unit, &code, 1);
    CHECK(code.phase[0].launch->registers == 32 && code.phase[0].launch->threads == 1024 && launch.registers == 0);

    char last[512] = "";
    int jobs = image.compiled;
    CHECK(entries(o.cache, last, sizeof last) == jobs);
    o.threads = 1;
    CHECK(!cuda_compile(unit, &o, &again));
    CHECK(again.compiled == 0 && again.cached == jobs && same_image(&image, &again));
    CHECK(cuda_find(unit, spilling)->spills > 0);

    // A header that changes makes the modules anew that include it, also through another header, and no others.
    static const char changed[] = "#pragma once\n#define STM_WARP 16\n";
    write_text("unused.cuh", changed, sizeof changed - 1);
    CHECK(!cuda_compile(unit, &o, &again) && again.compiled == 0 && same_image(&image, &again));
    const char *commented = arena_format(arena, "%s// changed\n", twice);
    write_text("twice.cuh", commented, strlen(commented));
    CHECK(!cuda_compile(unit, &o, &again) && again.compiled == 2 && again.cached == jobs - 2);
    write_text("prelude.cuh", changed, sizeof changed - 1);
    CHECK(!cuda_compile(unit, &o, &again) && again.compiled == jobs);
    write_text("prelude.cuh", prelude, sizeof prelude - 1);
    write_text("twice.cuh", twice, sizeof twice - 1);
    cache_prune(arena, o.cache, 0);
    CHECK(!cuda_compile(unit, &o, &again) && again.compiled == jobs && same_image(&image, &again));

    // Damage of every kind is found, and mended.
    for (int kind = 0; kind < 3; kind++) {
        struct stat st;
        entries(o.cache, last, sizeof last);
        CHECK(stat(last, &st) == 0);
        FILE *f = fopen(last, "r+b");
        if (!CHECK(f != NULL)) return;
        if (kind == 0) {
            fseek(f, st.st_size / 2, SEEK_SET);
            int byte = fgetc(f);
            fseek(f, st.st_size / 2, SEEK_SET);
            fputc(byte ^ 4, f);
        }
        if (kind > 0) CHECK(ftruncate(fileno(f), kind == 1 ? st.st_size - 1 : 7) == 0);
        fclose(f);
        CHECK(!cuda_compile(unit, &o, &again));
        CHECK(again.compiled == 1 && again.cached == jobs - 1 && same_image(&image, &again));
        CHECK(!cuda_compile(unit, &o, &again) && again.compiled == 0);
    }
    const char *cache = o.cache;
    o.cache = NULL;
    CHECK(!cuda_compile(unit, &o, &again) && again.cached == 0 && same_image(&image, &again));
    o.cache = "/dev/null/cache"; // cannot be written: slower, otherwise the same
    CHECK(!cuda_compile(unit, &o, &again) && again.cached == 0 && same_image(&image, &again));
    cache_prune(arena, cache, INT64_MAX);
    CHECK(entries(cache, last, sizeof last) == jobs);
    cache_prune(arena, cache, 0);
    CHECK(entries(cache, last, sizeof last) == 0);
}

// ---- with ptxas for further architectures, and with NVRTC for all: the same functions in the same registers
static void write_program(Arena *arena, const char *name, const char *text) {
    write_text(name, text, strlen(text));
    CHECK(chmod(arena_format(arena, "%s/%s", folder, name), 0700) == 0);
}

static bool mentions(const char *error, const char *text) {
    bool ok = error && strstr(error, text);
    if (!ok) printf("    `%s` is not in: %s\n", text, error ? error : "(no error)");
    return ok;
}

static void test_ptxas(Arena *arena, CudaOptions o) {
    CudaUnit *unit = cuda_unit(arena, NULL, STM_COMPUTE_F32);
    CudaImage image, plain, alone;
    for (int i = 0; i < 60; i++) cuda_function(unit, "filler", filler_text(arena, i));
    const char *names[] = {cuda_function(unit, "shared", shared_text)->name,
                           cuda_function(unit, "spilling", spilling_text(arena))->name,
                           cuda_function(unit, "twice", twice_text)->name};
    o.cache = NULL;
    if (!CHECK(!cuda_compile(unit, &o, &image))) return;
    setenv("STMC_PTXAS", "none", 1);
    CHECK(!cuda_compile(unit, &o, &plain));
    CHECK(plain.ptxas == NULL && mentions(plain.no_ptxas, "STMC_PTXAS is none"));
    test_image(arena, unit, &plain);
    CudaOptions one = o;
    one.archs = 1;
    setenv("STMC_PTXAS", "/nowhere/ptxas", 1); // nobody asks for it
    CHECK(!cuda_compile(unit, &one, &alone) && alone.no_ptxas == NULL && alone.compiled == alone.modules);
    unsetenv("STMC_PTXAS");
    if (!image.ptxas) {
        printf("nvrtc_test: not compared: %s\n", image.no_ptxas);
        return;
    }
    const unsigned char *at = image.bytes, *row = at + number(at + 32, 8);
    for (uint64_t i = 0; i < number(at + 20, 4); i++, row += 8) {
        const char *name = (const char *)at + number(at + 40, 8) + number(row, 4);
        bool wanted = false;
        for (int k = 0; k < 3; k++) wanted = wanted || !strcmp(name, names[k]);
        for (uint32_t arch = 80; arch <= 90 && wanted; arch += 10) {
            size_t size[2];
            CubinResources r[2];
            const unsigned char *cubin[] = {
                module_bytes(arena, &image, 1, arch, (uint32_t)number(row + 4, 4), &size[0]),
                module_bytes(arena, &plain, 1, arch, (uint32_t)number(row + 4, 4), &size[1])};
            for (int k = 0; k < 2; k++) CHECK(cubin[k] && cubin_from_elf(cubin[k], size[k], name, &r[k]));
            CHECK(r[0].registers == r[1].registers && r[0].static_shared == r[1].static_shared);
            CHECK(r[0].spills == r[1].spills);
        }
    }

    // Entries of the cache are of one way only, and the PTX may come from there.
    o.cache = arena_format(arena, "%s/ways", folder);
    setenv("STMC_PTXAS", "none", 1);
    CHECK(!cuda_compile(unit, &o, &alone) && alone.compiled == 2 * alone.modules && same_image(&alone, &plain));
    unsetenv("STMC_PTXAS");
    CHECK(!cuda_compile(unit, &o, &alone) && alone.compiled == alone.modules && alone.cached == alone.modules);
    CHECK(same_image(&alone, &image));
    CHECK(!cuda_compile(unit, &o, &alone) && alone.compiled == 0 && same_image(&alone, &image));
    cache_prune(arena, o.cache, 0);
    CHECK(rmdir(o.cache) == 0);

    // What is said of one that cannot be used. Its files are gone in any case.
    o.cache = NULL;
    const char *program = arena_format(arena, "%s/ptxas", folder);
    setenv("TMPDIR", arena_format(arena, "%s/temporary", folder), 1);
    CHECK(mkdir(getenv("TMPDIR"), 0700) == 0);
    setenv("STMC_PTXAS", program, 1);
    CHECK(mentions(cuda_compile(unit, &o, &alone), "STMC_PTXAS is "));
    CHECK(mentions(cuda_compile(unit, &o, &alone), "No such file or directory; name another or `none`"));
    write_program(arena, "ptxas", "#!/bin/sh\necho ptxas: release 3.1,\n");
    CHECK(mentions(cuda_compile(unit, &o, &alone), "is not of NVRTC's release, "));
    write_program(arena, "ptxas", "#!/bin/sh\necho hello\n");
    CHECK(mentions(cuda_compile(unit, &o, &alone), "--version does not say that it is ptxas"));
    const char *fake = arena_format(arena, "#!/bin/sh\n[ \"$1\" = --version ] && exec %s --version\n", image.ptxas);
    write_program(arena, "ptxas", arena_format(arena, "%secho no strength left >&2\nexit 9\n", fake));
    CHECK(mentions(cuda_compile(unit, &o, &alone), "for sm_90 (status 9)") && !alone.refused);
    CHECK(mentions(cuda_compile(unit, &o, &alone), "no strength left"));
    write_program(arena, "ptxas", arena_format(arena, "%skill -9 $$\n", fake));
    CHECK(mentions(cuda_compile(unit, &o, &alone), "for sm_90 (status -1); STMC_PTXAS=none lets NVRTC compile"));
    write_program(arena, "ptxas", arena_format(arena, "%sexit 0\n", fake)); // writes nothing
    CHECK(mentions(cuda_compile(unit, &o, &alone), "gives no code of module"));
    CHECK(rmdir(getenv("TMPDIR")) == 0);
    CHECK(mentions(cuda_compile(unit, &o, &alone), "cannot write "));
    unsetenv("STMC_PTXAS");
    unsetenv("TMPDIR");
}

// ---- what is said when something is wrong
static void test_errors(Arena *arena, CudaOptions o) {
    CudaUnit *unit = cuda_unit(arena, NULL, STM_COMPUTE_F32);
    CudaImage image;
    cuda_function(unit, "good", shared_text);
    const char *wrong = cuda_function(unit, "wrong_kernel",
                                      "extern \"C\" __global__ void @(float *b0) {\n"
                                      "    b0[0] = undeclared;\n}\n")
                            ->name;
    cuda_function(unit, "after", twice_text);
    const char *error = cuda_compile(unit, &o, &image);
    CHECK(image.refused && mentions(error, wrong) && mentions(error, "wrong_kernel") && mentions(error, "undeclared"));
    const char *path = error ? strstr(error, "stmc-bug-") : NULL;
    CHECK(path != NULL);
    while (path && path > error && path[-1] != ' ') path--;
    if (path) {
        const char *kept = arena_format(arena, "%.*s", (int)strcspn(path, ")"), path);
        CHECK(access(kept, R_OK) == 0 && unlink(kept) == 0);
    }
    o.arch[0] = 20;
    CHECK(mentions(cuda_available(arena, &o), "makes no code for sm_20; it knows "));
    o.arch[0] = 80;
    CHECK(cuda_available(arena, &o) == NULL);
    o.kernels = "/nowhere";
    CHECK(mentions(cuda_available(arena, &o), "are not at /nowhere: No such file or directory"));
    o.kernels = o.cache;
    mkdir(o.cache, 0700);
    CHECK(mentions(cuda_available(arena, &o), "none is there"));
    setenv("STMC_NVRTC", "/nowhere/libnvrtc.so", 1);
    CHECK(mentions(cuda_available(arena, &o), "STMC_NVRTC is /nowhere/libnvrtc.so, which cannot be loaded: No such"));
    write_text("none.so", "text", 4);
    setenv("STMC_NVRTC", arena_format(arena, "%s/none.so", folder), 1);
    CHECK(mentions(cuda_available(arena, &o), "is there, but cannot be loaded: "));
    unsetenv("STMC_NVRTC");
}

static void test_log(void) {
    static const char log[] =
        "ptxas info    : 0 bytes gmem\nptxas info    : Compiling entry function 'stm_ab' for 'sm_80'\n"
        "ptxas info    : Function properties for stm_ab\n"
        "    24 bytes stack frame, 20 bytes spill stores, 24 bytes spill loads\n"
        "ptxas info    : Used 40 registers, used 1 barriers, 1024 bytes smem, 364 bytes cmem[0]\n"
        "ptxas info    : Compiling entry function 'stm_a' for 'sm_80'\n"
        "ptxas info    : Used 7 registers\n"
        "ptxas info    : Compiling entry function 'cut' for 'sm_80'\n";
    CubinResources r;
    CHECK(cubin_from_log(log, "stm_ab", &r) && r.registers == 40 && r.static_shared == 1024 && r.spills == 44);
    CHECK(cubin_from_log(log, "stm_a", &r) && r.registers == 7 && r.static_shared == 0 && r.spills == 0);
    CHECK(!cubin_from_log(log, "cut", &r) && !cubin_from_log(log, "stm_", &r) && !cubin_from_log("", "cut", &r));
}

int main(void) {
    Arena *arena = arena_new();
    if (!mkdtemp(folder)) {
        printf("cannot make %s\n", folder);
        return 3;
    }
    write_text("prelude.cuh", prelude, sizeof prelude - 1);
    write_text("twice.cuh", twice, sizeof twice - 1);
    CudaOptions o = {.kernels = folder,
                     .cache = arena_format(arena, "%s/a/cache", folder),
                     .threads = 3,
                     .arch = {80, 90},
                     .archs = 2};
    test_unit(arena);
    test_log();
    const char *missing = cuda_available(arena, &o);
    int status = 77;
    if (missing) printf("nvrtc_test: skipped: %s\n", missing);
    else test_compile(arena, o), test_ptxas(arena, o), test_errors(arena, o), status = check_report("nvrtc_test");
    if (missing && checks_failed) status = 1;
    for (const char *name = "prelude.cuh\0twice.cuh\0unused.cuh\0none.so\0ptxas\0a/cache\0a\0"; *name;
         name += strlen(name) + 1)
        remove(arena_format(arena, "%s/%s", folder, name));
    CHECK(rmdir(folder) == 0 || missing);
    arena_free(arena);
    return status;
}
