// From functions to the image: every module for every architecture is a job; threads take jobs, look into the cache or
// compile, and pack what comes back. NVRTC compiles for the lowest architecture and ptxas its PTX for the others;
// without ptxas NVRTC does all. The image does not depend on the number of threads.
#include "target/cuda/cache.h"
#include "target/cuda/cubin.h"
#include "target/cuda/cuda.h"
#include "target/cuda/image.h"
#include "target/cuda/ptxas.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { MOST_THREADS = 32 };
static const int64_t cache_bytes = 512 << 20;

// From sm_80 on: kernels/ uses bf16 conversions, cp.async and the tensor cores of Ampere.
const int cuda_archs[] = {80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121, 0};

const char *cuda_available(Arena *arena, const CudaOptions *o) {
    Nvrtc nvrtc;
    NvrtcHeaders headers;
    const char *error = nvrtc_open(arena, &nvrtc);
    for (int a = 0; a < o->archs && !error; a++) error = nvrtc_supports(&nvrtc, arena, o->arch[a]);
    return error ? error : nvrtc_headers(arena, o->kernels, &headers);
}

typedef struct CompileJob CompileJob;
struct CompileJob {
    const CudaSource *source;
    CompileJob *base; // whose PTX this one is made from, for another architecture; NULL: NVRTC makes it
    int shard, arch;
    Arena *arena;
    const char *error;
    ImageModule cubin, ptx;
    const char *log;
    const CubinResources *resources; // [functions of the source]
    bool refused, cached, done;
    double ms;
};

typedef struct Compile {
    const Nvrtc *nvrtc;
    const Ptxas *ptxas;
    const char *folder; // for ptxas' files; NULL: it is not used
    const NvrtcHeaders *headers;
    const CudaUnit *unit;
    const CudaOptions *options;
    Hash128 common; // of NVRTC and its options
    CompileJob *job;
    int jobs;
    int *order;           // in which they are taken
    pthread_mutex_t lock; // of `next` and of what is done
    pthread_cond_t more;  // a job is done
    int next;
} Compile;

static double thread_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static Hash128 common_key(const Nvrtc *nvrtc) {
    int version[3] = {1, nvrtc->major, nvrtc->minor}; // 1: of the entries' form
    Hash128 h = hash128_bytes(HASH128_START, version, sizeof version);
    for (int i = 0; i < NVRTC_OPTIONS; i++) h = hash128_text(h, nvrtc_options[i]);
    return h;
}

// Marks the headers that a text includes, and those that they include.
static void mark_headers(const NvrtcHeaders *headers, const char *text, bool *marked) {
    static const char word[] = "#include \"";
    for (const char *at = text; (at = strstr(at, word)) != NULL;) {
        at += sizeof word - 1;
        size_t length = strcspn(at, "\"\n");
        for (int i = 0; i < headers->count; i++) {
            if (marked[i] || strncmp(headers->name[i], at, length) || headers->name[i][length]) continue;
            marked[i] = true;
            mark_headers(headers, headers->text[i], marked);
        }
    }
}

// Of everything that decides what NVRTC makes of a job.
static Hash128 job_key(const Compile *c, const CompileJob *job) {
    bool *marked = NEW_ARRAY(job->arena, bool, c->headers->count + 1);
    Hash128 h = hash128_bytes(c->common, &job->arch, sizeof job->arch);
    if (job->base) {
        h = hash128_bytes(h, &job->base->arch, sizeof job->base->arch);
        h = hash128_text(h, c->ptxas->version);
    }
    h = hash128_text(h, job->source->text);
    mark_headers(c->headers, job->source->text, marked);
    for (int i = 0; i < c->headers->count; i++)
        if (marked[i]) h = hash128_text(hash128_text(h, c->headers->name[i]), c->headers->text[i]);
    return h;
}

// ---- what the cache keeps of a job: the packed cubin, the packed PTX and the log
static ImageModule module_of(const CompileJob *job, ImageKind kind, const CachePart *part) {
    return (ImageModule){.kind = kind,
                         .arch = job->arch,
                         .shard = job->shard,
                         .crc = (uint32_t)(part->number >> 32),
                         .unpacked = part->number & 0xffffffffu,
                         .bytes = part->bytes,
                         .packed = part->size};
}

static CachePart part_of(const ImageModule *m) {
    return (CachePart){m->bytes, m->packed, (uint64_t)m->crc << 32 | (uint32_t)m->unpacked};
}

static bool from_cache(const Compile *c, CompileJob *job, Hash128 key) {
    CachePart part[CACHE_PARTS];
    if (!c->options->cache || !cache_get(job->arena, c->options->cache, key, part)) return false;
    if (part[2].size == 0 || ((const char *)part[2].bytes)[part[2].size - 1] != 0) return false;
    job->cubin = module_of(job, IMAGE_CUBIN, &part[0]);
    job->ptx = module_of(job, IMAGE_PTX, &part[1]);
    job->log = part[2].bytes;
    return job->cached = true;
}

// A packed module again as it was; NULL when it is damaged.
static const char *unpack(Arena *arena, const ImageModule *m) {
    char *bytes = arena_alloc(arena, m->unpacked + 1);
    uLongf size = m->unpacked;
    if (uncompress((unsigned char *)bytes, &size, m->bytes, m->packed) != Z_OK || size != m->unpacked) return NULL;
    return crc32_z(0, (unsigned char *)bytes, size) == m->crc ? bytes : NULL;
}

// ---- refused text: which function, in whose words, and where the whole text is
static const char *describe_refusal(Arena *arena, const Compile *c, const CompileJob *job) {
    const CudaFunction *function = NULL;
    const char *at = strstr(job->log, job->source->name);
    int line = at && at[strlen(job->source->name)] == '(' ? atoi(at + strlen(job->source->name) + 1) : 0;
    const char *text = job->source->text;
    for (int number = 1; line > 0 && number <= line && text; number++) {
        for (int i = 0; i < job->source->count && !strncmp(text, "// ---- ", 8); i++) {
            const CudaFunction *f = &c->unit->function.at[job->source->first + i];
            if (!strncmp(text + 8, f->name, strlen(f->name))) function = f;
        }
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    const char *base = getenv("TMPDIR") && *getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char *path = arena_format(arena, "%s/stmc-bug-XXXXXX.cu", base);
    int fd = mkstemps(path, 3);
    size_t length = strlen(job->source->text);
    bool kept = fd >= 0 && write(fd, job->source->text, length) == (ssize_t)length;
    if (fd >= 0) close(fd);
    return arena_format(arena, "%s%s%s%s (the whole text is in %s)\n%.1500s", job->error, function ? ", function " : "",
                        function ? function->name : "",
                        function ? arena_format(arena, " of kernel %s", function->what) : "", kept ? path : "no file",
                        job->log);
}

static const char *read_resources(const Compile *c, CompileJob *job, const void *cubin) {
    CubinResources *r = NEW_ARRAY(job->arena, CubinResources, job->source->count);
    job->resources = r;
    for (int i = 0; i < job->source->count; i++) {
        const char *name = c->unit->function.at[job->source->first + i].name;
        if (cubin_from_log(job->log, name, &r[i])) continue;
        if (!cubin) cubin = unpack(job->arena, &job->cubin);
        if (!cubin || !cubin_from_elf(cubin, job->cubin.unpacked, name, &r[i]))
            return arena_format(job->arena, "the cubin of NVRTC %d.%d (%s) for sm_%d cannot be read: nothing about %s",
                                c->nvrtc->major, c->nvrtc->minor, job->base ? c->ptxas->path : c->nvrtc->path,
                                job->arch, name);
    }
    return NULL;
}

static const char *run_nvrtc(const Compile *c, CompileJob *job) {
    NvrtcResult r;
    double start = thread_ms();
    const char *error =
        nvrtc_compile(c->nvrtc, job->arena, job->source->name, job->source->text, c->headers, job->arch, &r);
    job->ms = thread_ms() - start;
    job->refused = r.refused;
    job->log = r.log;
    if (error) return error;
    error = image_pack(job->arena, r.cubin, r.cubin_size, &job->cubin);
    if (!error) error = image_pack(job->arena, r.ptx, r.ptx_size, &job->ptx);
    return error ? error : read_resources(c, job, r.cubin);
}

// The PTX of a further architecture is nobody's; the part of the cache's entry is empty.
static const char *run_ptxas(const Compile *c, CompileJob *job) {
    PtxasResult r;
    const char *ptx = unpack(job->arena, &job->base->ptx);
    if (!ptx) return "the PTX of a module does not unpack to what was packed";
    const char *error = ptxas_compile(c->ptxas, job->arena, c->folder, job->source->name, ptx, job->arch, &r);
    job->ms = r.ms;
    job->log = r.log;
    if (!error) error = image_pack(job->arena, r.cubin, r.size, &job->cubin);
    return error ? error : read_resources(c, job, r.cubin);
}

static const char *run_job(const Compile *c, CompileJob *job) {
    Hash128 key = job_key(c, job);
    if (from_cache(c, job, key)) return read_resources(c, job, NULL);
    job->cubin = (ImageModule){.kind = IMAGE_CUBIN, .arch = job->arch, .shard = job->shard};
    job->ptx = (ImageModule){.kind = IMAGE_PTX, .arch = job->arch, .shard = job->shard};
    const char *error = job->base ? run_ptxas(c, job) : run_nvrtc(c, job);
    if (error || !c->options->cache) return error;
    CachePart part[CACHE_PARTS] = {part_of(&job->cubin), part_of(&job->ptx), {job->log, strlen(job->log) + 1, 0}};
    cache_put(job->arena, c->options->cache, key, part);
    return NULL;
}

// Jobs come after those that they are made from, so whoever waits here waits for a thread that works.
static void *compile_thread(void *user) {
    Compile *c = user;
    pthread_mutex_lock(&c->lock);
    while (c->next < c->jobs) {
        CompileJob *job = &c->job[c->order[c->next++]], *base = job->base;
        while (base && !base->done) pthread_cond_wait(&c->more, &c->lock);
        pthread_mutex_unlock(&c->lock);
        if (!base || !base->error) job->error = run_job(c, job); // else the base's error is the one that counts
        pthread_mutex_lock(&c->lock);
        job->done = true;
        pthread_cond_broadcast(&c->more);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

// Architecture by architecture, expensive modules first: the threads are done at about the same time.
static void order_jobs(Compile *c) {
    c->order = NEW_ARRAY(c->unit->arena, int, c->jobs + 1);
    for (int i = 0; i < c->jobs; i++) {
        int at = i;
        for (; at > 0; at--) {
            const CompileJob *before = &c->job[c->order[at - 1]];
            if (before->arch != c->job[i].arch || before->source->cost >= c->job[i].source->cost) break;
            c->order[at] = c->order[at - 1];
        }
        c->order[at] = i;
    }
}

static void run_jobs(Compile *c) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int threads = c->options->threads > 0 ? c->options->threads : cores > 0 ? (int)cores : 1;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    pthread_t thread[MOST_THREADS];
    int started = 0;
    order_jobs(c);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->more, NULL);
    while (started < threads - 1 && started < c->jobs - 1)
        if (pthread_create(&thread[started], NULL, compile_thread, c)) break; // this thread does the rest
        else started++;
    compile_thread(c);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
    pthread_cond_destroy(&c->more);
    pthread_mutex_destroy(&c->lock);
}

// Of several architectures the largest number counts.
static void take_resources(CudaUnit *unit, const CompileJob *job) {
    for (int i = 0; i < job->source->count; i++) {
        CudaFunction *f = &unit->function.at[job->source->first + i];
        const CubinResources *r = &job->resources[i];
        if (r->registers > f->registers) f->registers = r->registers;
        if (r->static_shared > f->static_shared) f->static_shared = r->static_shared;
        if (r->spills > f->spills) f->spills = r->spills;
    }
}

static const char *take_jobs(CudaUnit *unit, const Compile *c, int shards, CudaImage *out) {
    Arena *arena = unit->arena;
    ImageModule *module = NEW_ARRAY(arena, ImageModule, c->jobs + shards + 1);
    ImageFunction *function = NEW_ARRAY(arena, ImageFunction, unit->function.count + 1);
    int modules = 0;
    for (int i = 0; i < c->jobs; i++) {
        CompileJob *job = &c->job[i];
        out->nvrtc_ms += job->ms;
        if (job->cached) out->cached++;
        else out->compiled++;
        if (job->error) {
            out->refused = job->refused;
            return job->refused ? describe_refusal(arena, c, job) : arena_format(arena, "%s", job->error);
        }
        take_resources(unit, job);
        module[modules++] = job->cubin;
        if (job->arch != c->options->arch[0]) continue;
        module[modules++] = job->ptx;
        out->ptx[job->shard] = unpack(arena, &job->ptx);
        if (!out->ptx[job->shard]) return "the PTX of a module does not unpack to what was packed";
        for (int f = 0; f < job->source->count; f++) {
            int number = job->source->first + f;
            function[number] = (ImageFunction){unit->function.at[number].name, job->shard};
        }
    }
    out->bytes = image_build(arena, module, modules, function, unit->function.count, shards, &out->size);
    return NULL;
}

// The folder for ptxas' files, when ptxas has something to do. Without a folder nothing can be said about the code.
static const char *use_ptxas(Arena *arena, Compile *c) {
    if (c->options->archs < 2 || !c->ptxas->path) return NULL;
    const char *base = getenv("TMPDIR") && *getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char *folder = arena_format(arena, "%s/stmc-ptxas-XXXXXX", base);
    if (!mkdtemp(folder)) return arena_format(arena, "cannot make %s: %s", folder, strerror(errno));
    c->folder = folder;
    return NULL;
}

static void make_jobs(Compile *c, const CudaSources *sources) {
    int shards = sources->source.count, archs = c->options->archs;
    c->job = NEW_ARRAY(c->unit->arena, CompileJob, shards * archs + 1);
    for (int a = 0; a < archs; a++)
        for (int s = 0; s < shards; s++)
            c->job[c->jobs++] = (CompileJob){.source = &sources->source.at[s],
                                             .base = a > 0 && c->folder ? &c->job[s] : NULL,
                                             .shard = s,
                                             .arch = c->options->arch[a],
                                             .arena = arena_new()};
}

const char *cuda_compile(CudaUnit *unit, const CudaOptions *o, CudaImage *out) {
    Nvrtc nvrtc;
    Ptxas ptxas = {0};
    NvrtcHeaders headers;
    CudaSources sources;
    *out = (CudaImage){0};
    EXPECT(o->archs >= 1 && o->archs <= CUDA_MAX_ARCHS);
    const char *error = nvrtc_open(unit->arena, &nvrtc);
    for (int a = 0; a < o->archs && !error; a++) error = nvrtc_supports(&nvrtc, unit->arena, o->arch[a]);
    if (!error) error = nvrtc_headers(unit->arena, o->kernels, &headers);
    if (!error && o->archs > 1) error = ptxas_find(unit->arena, &nvrtc, &ptxas);
    Compile c = {.nvrtc = &nvrtc, .ptxas = &ptxas, .headers = &headers, .unit = unit, .options = o};
    if (!error) error = use_ptxas(unit->arena, &c);
    if (error) return error;
    out->ptxas = ptxas.path;
    out->no_ptxas = ptxas.missing;
    cuda_sources(unit, &sources);
    for (int i = 0; i < unit->function.count; i++) {
        CudaFunction *f = &unit->function.at[i];
        f->registers = 0;
        f->static_shared = f->spills = 0;
    }

    int shards = sources.source.count;
    c.common = common_key(&nvrtc);
    make_jobs(&c, &sources);
    run_jobs(&c);
    if (c.folder) rmdir(c.folder);
    out->ptx = NEW_ARRAY(unit->arena, const char *, shards + 1);
    out->modules = shards;
    error = take_jobs(unit, &c, shards, out);
    for (int i = 0; i < c.jobs; i++) arena_free(c.job[i].arena);
    if (!error && o->cache && out->compiled > 0) cache_prune(unit->arena, o->cache, cache_bytes);
    return error;
}
