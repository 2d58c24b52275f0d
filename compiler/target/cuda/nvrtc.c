// Finds, opens and calls NVRTC. See nvrtc.h.
#include "target/cuda/nvrtc.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef STMC_NVRTC_DIRECTORY
#define STMC_NVRTC_DIRECTORY "" // CMake names the folder where it saw libnvrtc
#endif

static const char *const library[] = {"libnvrtc.so.13", "libnvrtc.so.12"};
enum { LIBRARIES = sizeof library / sizeof *library };

// No -use_fast_math: results must not depend on a flag. Products and sums may be fused, as on the host.
const char *const nvrtc_options[NVRTC_OPTIONS] = {"-std=c++17", "--fmad=true", "--ptxas-options=-v"};

// ---- finding
typedef struct Search {
    Arena *arena;
    void *handle;
    const char *path;
    const char *broken; // what the loader says about a file that is there
    Text looked;
} Search;

static bool try_file(Search *s, const char *path) {
    s->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (s->handle) s->path = arena_format(s->arena, "%s", path);
    else if (strchr(path, '/') && access(path, F_OK) == 0 && !s->broken)
        s->broken = arena_format(s->arena, "%s is there, but cannot be loaded: %s", path, dlerror());
    return s->handle != NULL;
}

// Adds to the list of places, once.
static void looked_in(Search *s, const char *place) {
    const char *item = arena_format(s->arena, "%s, ", place);
    if (!s->looked.at || !strstr(s->looked.at, item)) text_add(&s->looked, "%s", item);
}

// `pattern` is a folder, possibly with * in it.
static bool try_folder(Search *s, const char *pattern) {
    glob_t found = {0};
    bool ok = false;
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && !ok; i++)
            for (int k = 0; k < LIBRARIES && !ok; k++)
                ok = try_file(s, arena_format(s->arena, "%s/%s", found.gl_pathv[i], library[k]));
    globfree(&found);
    return ok;
}

// A CUDA installation, or an environment of conda, has its libraries in one of these.
static bool try_root(Search *s, const char *root) {
    static const char *const below[] = {"lib64", "lib", "targets/x86_64-linux/lib"};
    if (!root || !*root) return false;
    looked_in(s, root);
    for (size_t i = 0; i < sizeof below / sizeof *below; i++)
        if (try_folder(s, arena_format(s->arena, "%s/%s", root, below[i]))) return true;
    return false;
}

// PREFIX/lib/python3.11/site-packages/nvidia/{cu13,cuda_nvrtc}/lib: what pip installs.
static bool try_python(Search *s, const char *prefix) {
    static const char *const below[] = {"site-packages/nvidia/*/lib", "dist-packages/nvidia/*/lib"};
    if (!prefix || !*prefix) return false;
    looked_in(s, arena_format(s->arena, "%s/lib/python3*", prefix));
    for (size_t i = 0; i < sizeof below / sizeof *below; i++)
        if (try_folder(s, arena_format(s->arena, "%s/lib/python3*/%s", prefix, below[i]))) return true;
    return false;
}

// The environments of the python3 that PATH leads to: PREFIX of PREFIX/bin/python3, as written and with links followed.
static bool try_python_on_path(Search *s) {
    const char *at = getenv("PATH");
    while (at && *at) {
        size_t n = strcspn(at, ":");
        char *python = arena_format(s->arena, "%.*s/python3", (int)n, at);
        at += n + (at[n] == ':');
        if (access(python, X_OK)) continue;
        char *real = realpath(python, NULL), *way[2] = {python, real};
        bool ok = false;
        for (int i = 0; i < 2 && !ok; i++) {
            for (int up = 0; way[i] && up < 2; up++) {
                char *slash = strrchr(way[i], '/');
                if (slash) *slash = 0;
            }
            ok = way[i] && try_python(s, way[i]);
        }
        free(real);
        return ok;
    }
    return false;
}

static bool find(Search *s) {
    if (try_root(s, getenv("CUDA_PATH")) || try_root(s, getenv("CUDA_HOME"))) return true;
    for (int k = 0; k < LIBRARIES; k++)
        if (try_file(s, library[k])) return true;
    if (*STMC_NVRTC_DIRECTORY) looked_in(s, STMC_NVRTC_DIRECTORY);
    if (*STMC_NVRTC_DIRECTORY && try_folder(s, STMC_NVRTC_DIRECTORY)) return true;
    if (try_root(s, getenv("CONDA_PREFIX")) || try_python(s, getenv("VIRTUAL_ENV")) || try_python_on_path(s))
        return true;
    if (try_root(s, "/usr/local/cuda") || try_root(s, "/opt/cuda")) return true;
    const char *home = getenv("HOME");
    if (home && *home && try_python(s, arena_format(s->arena, "%s/.local", home))) return true;
    return try_python(s, "/usr/local") || try_python(s, "/usr");
}

static const char *symbol(Arena *arena, const Search *s, const char *name, void *to) {
    void *address = dlsym(s->handle, name);
    if (!address) return arena_format(arena, "%s has no %s: it is not an NVRTC of CUDA 12 or 13", s->path, name);
    memcpy(to, &address, sizeof address); // a pointer to a function is not assignable from void * in C
    return NULL;
}

// NVRTC opens a second library by its bare name, which fails when its own folder is not on the loader's path. Loaded
// beforehand from there, it is found by that name. Without it NVRTC says itself what it misses.
static void load_builtins(Arena *arena, const Nvrtc *nvrtc, const void *version) {
    Dl_info at;
    void *address;
    memcpy(&address, version, sizeof address);
    if (!dladdr(address, &at) || !at.dli_fname || !strrchr(at.dli_fname, '/')) return;
    int folder = (int)(strrchr(at.dli_fname, '/') - at.dli_fname);
    dlopen(arena_format(arena, "%.*s/libnvrtc-builtins.so.%d.%d", folder, at.dli_fname, nvrtc->major, nvrtc->minor),
           RTLD_NOW | RTLD_LOCAL);
}

const char *nvrtc_open(Arena *arena, Nvrtc *out) {
    Search s = {.arena = arena, .looked = {.arena = arena}};
    const char *given = getenv("STMC_NVRTC");
    *out = (Nvrtc){0};
    if (given && *given) {
        if (!try_file(&s, given))
            return arena_format(arena, "STMC_NVRTC is %s, which cannot be loaded: %s", given,
                                access(given, F_OK) ? strerror(errno)
                                : s.broken          ? s.broken
                                                    : "not a library");
    } else if (!find(&s)) {
        if (s.broken)
            return arena_format(arena, "the CUDA target needs NVRTC, NVIDIA's run-time compiler: %s", s.broken);
        return arena_format(
            arena,
            "the CUDA target needs NVRTC, NVIDIA's run-time compiler, and neither %s nor %s was found; "
            "install the CUDA toolkit 12 or 13, or run `pip install nvidia-cuda-nvrtc`, or set CUDA_PATH "
            "to the folder that holds lib64/%s (looked in %sand where LD_LIBRARY_PATH leads)",
            library[0], library[1], library[0], s.looked.at);
    }
    out->path = s.path;
    int (*version)(int *, int *) = NULL;
    const struct {
        const char *name;
        void *to;
    } wanted[] = {{"nvrtcVersion", &version},
                  {"nvrtcCreateProgram", &out->create},
                  {"nvrtcCompileProgram", &out->compile},
                  {"nvrtcDestroyProgram", &out->destroy},
                  {"nvrtcGetCUBINSize", &out->cubin_size},
                  {"nvrtcGetCUBIN", &out->cubin},
                  {"nvrtcGetPTXSize", &out->ptx_size},
                  {"nvrtcGetPTX", &out->ptx},
                  {"nvrtcGetProgramLogSize", &out->log_size},
                  {"nvrtcGetProgramLog", &out->log},
                  {"nvrtcGetNumSupportedArchs", &out->arch_count},
                  {"nvrtcGetSupportedArchs", &out->archs},
                  {"nvrtcGetErrorString", &out->message}};
    const char *error = NULL;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && !error; i++)
        error = symbol(arena, &s, wanted[i].name, wanted[i].to);
    if (error) return error;
    if (version(&out->major, &out->minor) != 0) return arena_format(arena, "%s does not tell its version", s.path);
    load_builtins(arena, out, &version);
    return NULL; // the library stays loaded: its threads and tables may outlive any one use
}

const char *nvrtc_supports(const Nvrtc *nvrtc, Arena *arena, int arch) {
    int count = 0;
    if (nvrtc->arch_count(&count) != 0 || count <= 0) return NULL; // the compilation will tell
    int *list = NEW_ARRAY(arena, int, count);
    if (nvrtc->archs(list) != 0) return NULL;
    Text have = {.arena = arena};
    for (int i = 0; i < count; i++) {
        if (list[i] == arch) return NULL;
        text_add(&have, "%ssm_%d", i ? " " : "", list[i]);
    }
    return arena_format(arena, "NVRTC %d.%d (%s) makes no code for sm_%d; it knows %s", nvrtc->major, nvrtc->minor,
                        nvrtc->path, arch, have.at);
}

// ---- headers
static const char *read_text(Arena *arena, const char *path, const char **text) {
    FILE *f = fopen(path, "rb");
    if (!f) return arena_format(arena, "cannot read %s: %s", path, strerror(errno));
    Text all = {.arena = arena};
    char part[8192];
    size_t n;
    while ((n = fread(part, 1, sizeof part, f)) > 0) text_add_bytes(&all, part, n);
    bool failed = ferror(f) != 0;
    fclose(f);
    if (failed) return arena_format(arena, "cannot read %s: %s", path, strerror(errno));
    *text = all.length ? all.at : "";
    return NULL;
}

static int is_header(const struct dirent *entry) {
    const char *dot = strrchr(entry->d_name, '.');
    return dot && dot > entry->d_name && (!strcmp(dot, ".cuh") || !strcmp(dot, ".h"));
}

const char *nvrtc_headers(Arena *arena, const char *directory, NvrtcHeaders *out) {
    struct dirent **entry = NULL;
    const char *error = NULL;
    *out = (NvrtcHeaders){0};
    int count = scandir(directory, &entry, is_header, alphasort);
    if (count <= 0) {
        free(entry);
        return arena_format(arena, "the CUDA target's headers are not at %s: %s", directory,
                            count < 0 ? strerror(errno) : "none is there");
    }
    out->name = NEW_ARRAY(arena, const char *, count);
    out->text = NEW_ARRAY(arena, const char *, count);
    for (int i = 0; i < count; i++) {
        out->name[i] = arena_format(arena, "%s", entry[i]->d_name);
        if (!error) error = read_text(arena, arena_format(arena, "%s/%s", directory, out->name[i]), &out->text[i]);
        free(entry[i]);
    }
    free(entry);
    out->count = count;
    return error;
}

// ---- compiling
typedef int (*SizeOf)(NvrtcProgram *, size_t *);
typedef int (*BytesOf)(NvrtcProgram *, char *);

static int get(Arena *arena, NvrtcProgram *program, SizeOf size_of, BytesOf bytes_of, const char **bytes,
               size_t *size) {
    int status = size_of(program, size);
    if (status != 0 || *size == 0) return status;
    char *to = arena_alloc(arena, *size + 1);
    status = bytes_of(program, to);
    *bytes = to;
    return status;
}

const char *nvrtc_compile(const Nvrtc *nvrtc, Arena *arena, const char *name, const char *text,
                          const NvrtcHeaders *headers, int arch, NvrtcResult *out) {
    enum { COMPILATION = 6 }; // NVRTC_ERROR_COMPILATION
    NvrtcProgram *program = NULL;
    const char *option[NVRTC_OPTIONS + 1];
    size_t log_size = 0;
    *out = (NvrtcResult){.log = ""};
    memcpy(option, nvrtc_options, sizeof nvrtc_options);
    option[NVRTC_OPTIONS] = arena_format(arena, "-arch=sm_%d", arch);
    int status = nvrtc->create(&program, text, name, headers->count, headers->text, headers->name);
    if (status != 0)
        return arena_format(arena, "NVRTC cannot begin with %s for sm_%d: %s", name, arch, nvrtc->message(status));
    status = nvrtc->compile(program, NVRTC_OPTIONS + 1, option);
    get(arena, program, nvrtc->log_size, nvrtc->log, &out->log, &log_size);
    const char *error = NULL;
    if (status == COMPILATION) {
        out->refused = true;
        error = arena_format(arena, "NVRTC refuses %s for sm_%d", name, arch);
    } else if (status != 0) {
        error = arena_format(arena, "NVRTC %d.%d (%s) fails on %s for sm_%d: %s%s%.600s", nvrtc->major, nvrtc->minor,
                             nvrtc->path, name, arch, nvrtc->message(status), *out->log ? ": " : "", out->log);
    } else {
        status = get(arena, program, nvrtc->cubin_size, nvrtc->cubin, &out->cubin, &out->cubin_size);
        if (status == 0) status = get(arena, program, nvrtc->ptx_size, nvrtc->ptx, &out->ptx, &out->ptx_size);
        if (status != 0 || out->cubin_size == 0 || out->ptx_size == 0)
            error = arena_format(arena, "NVRTC gives no code of %s for sm_%d: %s", name, arch,
                                 status ? nvrtc->message(status) : "it is empty");
    }
    nvrtc->destroy(&program);
    return error;
}
