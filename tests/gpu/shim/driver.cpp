// The CUDA driver API as far as the runtime calls it (runtime/device/cuda_driver.h), on the host. Work on a stream is
// done as late as the API allows: when the stream or an event behind it is waited for. So a missing wait, an event that
// is not waited for, or a pinned buffer that is changed too early shows in the results.
//
// Environment:
//   STM_SHIM_KERNELS     libraries made by build_shim.sh, separated by `:`; functions are found there by name
//   STM_SHIM_DEVICES     number of devices (1)
//   STM_SHIM_MEMORY      bytes of a device; more is CUDA_ERROR_OUT_OF_MEMORY
//   STM_SHIM_CAPABILITY  90: compute capability 9.0
//   STM_SHIM_ORDER       ascending, descending or shuffled[:SEED]: threads between barriers, blocks
//   STM_SHIM_UNINITIALISED=allow  reads of bytes that nobody wrote are no error
//   STM_SHIM_REPORT      a file to which a report is appended
//
// A report of the shim (a race, an access outside) is CUDA_ERROR_LAUNCH_FAILED; cuGetErrorString gives its text. It
// stays: all later calls fail too.
#include "driver.h"
#include "shim.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_UNJOINED = 904,
};

struct CUctx_st {
    int device;
};
struct CUgraph_st {
    std::vector<StreamWork> work;
};
struct CUgraphExec_st {
    std::shared_ptr<std::vector<StreamWork>> work;
};
struct CUstream_st {
    std::deque<StreamWork> queue;
    CUgraph_st *capture = nullptr;
    bool origin = false;   // the capture began here
    bool unjoined = false; // captured work that the origin does not wait for yet
};
struct CUevent_st {
    bool timed = false;
    CUstream_st *stream = nullptr;
    long long recorded = 0, done = 0; // serial numbers of records
    CUgraph_st *capture = nullptr;    // its last record is part of this capture
    std::chrono::steady_clock::time_point at;
};
struct CUmod_st {
    int number;
};
struct CUfunc_st {
    const ShimKernel *kernel;
    int dynamic_shared;
};

struct Driver {
    std::recursive_mutex lock;
    bool ready = false;
    std::string report;
    std::vector<CUctx_st *> context;
    std::vector<int> retained;
    CUctx_st *current = nullptr;
    std::vector<ShimModule *> library;
    std::map<std::string, CUfunc_st *> function;
    std::set<CUmod_st *> module;
    std::set<CUstream_st *> stream;
    std::set<CUevent_st *> event;
    std::map<char *, size_t> pinned;
    CUstream_st null_stream;
};
static Driver &driver() {
    static Driver *d = new Driver; // never destroyed: the program may call at its very end
    return *d;
}
#define LOCK std::lock_guard<std::recursive_mutex> guard(driver().lock)

static int fail(const std::string &text) {
    Driver &d = driver();
    if (d.report.empty()) {
        d.report = text;
        const char *file = getenv("STM_SHIM_REPORT");
        FILE *f = file && *file ? fopen(file, "a") : nullptr;
        if (f) {
            fprintf(f, "%s\n", text.c_str());
            fclose(f);
        }
    }
    return LAUNCH_FAILED;
}

static int usable(void) { // of a call that needs a context
    Driver &d = driver();
    if (!d.ready) return NOT_INITIALIZED;
    if (!d.report.empty()) return LAUNCH_FAILED;
    return d.current ? SUCCESS : INVALID_CONTEXT;
}
#define USABLE                                                                                                         \
    LOCK;                                                                                                              \
    if (int unusable = usable()) return unusable

static long long number(const char *name, long long otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoll(text, nullptr, 10) : otherwise;
}

// ---- streams
static CUstream_st *find(CUstream_st *stream) {
    if (!stream) return &driver().null_stream;
    return driver().stream.count(stream) ? stream : nullptr;
}

static int step(CUstream_st *s) { // does the first piece of work
    StreamWork work = std::move(s->queue.front());
    s->queue.pop_front();
    std::string said = work();
    if (!driver().report.empty()) return LAUNCH_FAILED;
    return said.empty() ? SUCCESS : fail(said);
}

static int drain(CUstream_st *s) {
    while (!s->queue.empty())
        if (int error = step(s)) return error;
    return SUCCESS;
}

static int drain_all(void) {
    Driver &d = driver();
    if (int error = drain(&d.null_stream)) return error;
    for (CUstream_st *s : d.stream)
        if (int error = drain(s)) return error;
    return SUCCESS;
}

int stream_enqueue(CUstream_st *stream, StreamWork work) {
    USABLE;
    CUstream_st *s = find(stream);
    if (!s) return INVALID_HANDLE;
    if (s->capture) {
        s->capture->work.push_back(std::move(work));
        s->unjoined = !s->origin;
        return SUCCESS;
    }
    s->queue.push_back(std::move(work));
    return s->queue.size() > 20000 ? drain(s) : SUCCESS;
}

// ---- memory of the host
static bool is_pinned(const void *at, size_t bytes) {
    Driver &d = driver();
    auto i = d.pinned.upper_bound((char *)at);
    if (i == d.pinned.begin()) return false;
    --i;
    return (char *)at + bytes <= i->first + i->second;
}

// Must a copy with this host memory be done at once? Memory that is not pinned is read before the call returns.
static int pageable(CUstream_st *s, const void *host, size_t bytes, bool *out) {
    *out = !is_pinned(host, bytes);
    if (*out && s->capture) {
        fprintf(stderr, "shim: a captured copy must use pinned host memory\n");
        return CAPTURE_UNSUPPORTED;
    }
    return SUCCESS;
}

static std::string outside(const char *what, const void *at, size_t bytes) {
    const char *said = bytes ? shim_inside(at, bytes) : nullptr;
    return said ? std::string(what) + ": " + said : "";
}

extern "C" {
typedef int CUresult;
typedef unsigned long long CUdeviceptr;

CUresult cuInit(unsigned) {
    LOCK;
    Driver &d = driver();
    if (d.ready) return SUCCESS;
    long long devices = number("STM_SHIM_DEVICES", 1);
    if (devices < 1) return NO_DEVICE;
    std::string list = getenv("STM_SHIM_KERNELS") ? getenv("STM_SHIM_KERNELS") : "";
    for (size_t at = 0; at < list.size();) {
        size_t end = list.find(':', at);
        if (end == std::string::npos) end = list.size();
        ShimModule *m;
        const char *said = end > at ? shim_open(list.substr(at, end - at).c_str(), &m) : nullptr;
        if (said) {
            fprintf(stderr, "shim: STM_SHIM_KERNELS: %s\n", said);
            return NO_DEVICE;
        }
        if (end > at) d.library.push_back(m);
        at = end + 1;
    }
    for (int i = 0; i < devices; i++) d.context.push_back(new CUctx_st{i});
    d.retained.resize((size_t)devices);
    d.ready = true;
    return SUCCESS;
}
CUresult cuDriverGetVersion(int *version) {
    *version = 13000;
    return SUCCESS;
}
CUresult cuGetErrorName(CUresult result, const char **text) {
    static const struct {
        int code;
        const char *name;
    } names[] = {{SUCCESS, "CUDA_SUCCESS"},
                 {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
                 {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
                 {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
                 {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
                 {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
                 {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
                 {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
                 {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
                 {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
                 {NOT_READY, "CUDA_ERROR_NOT_READY"},
                 {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
                 {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
                 {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
                 {CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"}};
    *text = nullptr;
    for (auto &n : names)
        if (n.code == result) *text = n.name;
    return *text ? SUCCESS : INVALID_VALUE;
}
CUresult cuGetErrorString(CUresult result, const char **text) {
    LOCK;
    if (result == LAUNCH_FAILED) *text = driver().report.c_str();
    else if (result == OUT_OF_MEMORY) *text = "out of memory";
    else *text = "see the name";
    return SUCCESS;
}

// ---- devices
CUresult cuDeviceGetCount(int *count) {
    LOCK;
    *count = (int)driver().context.size();
    return driver().ready ? SUCCESS : NOT_INITIALIZED;
}
CUresult cuDeviceGet(int *device, int i) {
    LOCK;
    if (i < 0 || i >= (int)driver().context.size()) return INVALID_DEVICE;
    *device = i;
    return SUCCESS;
}
CUresult cuDeviceGetName(char *name, int size, int) {
    snprintf(name, (size_t)size, "stmc host shim");
    return SUCCESS;
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = (size_t)number("STM_SHIM_MEMORY", 80ll << 30);
    return SUCCESS;
}
CUresult cuDeviceGetAttribute(int *value, int attribute, int) {
    long long capability = number("STM_SHIM_CAPABILITY", 90);
    switch (attribute) {
    case 16: *value = 4; break; // multiprocessors
    case 20: *value = 0; break; // compute mode
    case 75: *value = (int)capability / 10; break;
    case 76: *value = (int)capability % 10; break;
    case 97: *value = 227 * 1024; break; // shared memory of a block, opt-in
    case 8: *value = 48 * 1024; break;   // without
    case 10: *value = 32; break;         // warp
    case 1: *value = 1024; break;        // threads of a block
    default: fprintf(stderr, "shim: device attribute %d is not known\n", attribute); return INVALID_VALUE;
    }
    return SUCCESS;
}
CUresult cuDevicePrimaryCtxRetain(CUctx_st **context, int device) {
    LOCK;
    Driver &d = driver();
    if (device < 0 || device >= (int)d.context.size()) return INVALID_DEVICE;
    d.retained[(size_t)device]++;
    *context = d.context[(size_t)device];
    return SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease_v2(int device) {
    LOCK;
    Driver &d = driver();
    if (device < 0 || device >= (int)d.context.size() || d.retained[(size_t)device] == 0) return INVALID_CONTEXT;
    if (--d.retained[(size_t)device] == 0 && d.current == d.context[(size_t)device]) d.current = nullptr;
    return SUCCESS;
}
CUresult cuCtxSetCurrent(CUctx_st *context) {
    LOCK;
    driver().current = context;
    return SUCCESS;
}

// ---- modules
CUresult cuModuleLoadData(CUmod_st **module, const void *image) {
    USABLE;
    if (!image) return INVALID_IMAGE;
    *module = new CUmod_st{0};
    driver().module.insert(*module);
    return SUCCESS;
}
CUresult cuModuleUnload(CUmod_st *module) {
    LOCK;
    if (!driver().module.erase(module)) return INVALID_HANDLE;
    delete module;
    return SUCCESS;
}
CUresult cuModuleGetFunction(CUfunc_st **function, CUmod_st *module, const char *name) {
    USABLE;
    Driver &d = driver();
    if (!d.module.count(module)) return INVALID_HANDLE;
    CUfunc_st *&known = d.function[name];
    for (size_t i = 0; i < d.library.size() && !known; i++) {
        const ShimKernel *k = shim_find(d.library[i], name);
        if (k) known = new CUfunc_st{k, 48 * 1024};
    }
    *function = known;
    return known ? SUCCESS : NOT_FOUND;
}
CUresult cuFuncSetAttribute(CUfunc_st *function, int attribute, int value) {
    LOCK;
    if (attribute != 8 || value < 0 || value > 227 * 1024) return INVALID_VALUE;
    function->dynamic_shared = value;
    return SUCCESS;
}

// ---- memory
CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *all_bytes) {
    USABLE;
    size_t all = (size_t)number("STM_SHIM_MEMORY", 80ll << 30), used = shim_allocated();
    *all_bytes = all;
    *free_bytes = used < all ? all - used : 0;
    return SUCCESS;
}
CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
    USABLE;
    if (bytes == 0) return INVALID_VALUE;
    void *at = shim_alloc(bytes, nullptr);
    *address = (CUdeviceptr)(uintptr_t)at;
    return at ? SUCCESS : OUT_OF_MEMORY;
}
CUresult cuMemFree_v2(CUdeviceptr address) {
    LOCK;
    if (!driver().ready) return NOT_INITIALIZED;
    int error = driver().report.empty() ? drain_all() : (int)SUCCESS;
    const char *said = shim_free((void *)(uintptr_t)address);
    if (said) return fail(std::string("cuMemFree: ") + said);
    return error;
}
CUresult cuMemHostAlloc(void **block, size_t bytes, unsigned) {
    USABLE;
    if (bytes == 0) return INVALID_VALUE;
    *block = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!*block) return OUT_OF_MEMORY;
    memset(*block, 0xff, bytes);
    driver().pinned[(char *)*block] = bytes;
    return SUCCESS;
}
CUresult cuMemFreeHost(void *block) {
    LOCK;
    int error = driver().report.empty() ? drain_all() : (int)SUCCESS;
    if (!driver().pinned.erase((char *)block)) return fail("cuMemFreeHost of memory that is not pinned");
    free(block);
    return error;
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream_st *stream) {
    USABLE;
    CUstream_st *s = find(stream);
    if (!s) return INVALID_HANDLE;
    bool now;
    if (int error = pageable(s, from, bytes, &now)) return error;
    void *at = (void *)(uintptr_t)to;
    std::string said = outside("copy to the device", at, bytes);
    if (!said.empty()) return fail(said);
    if (!now && bytes)
        return stream_enqueue(stream, [=] {
            std::string late = outside("copy to the device", at, bytes);
            if (late.empty() && !is_pinned(from, bytes)) late = "copy from pinned memory that was freed";
            if (!late.empty()) return late;
            memcpy(at, from, bytes);
            shim_wrote(at, bytes);
            return late;
        });
    std::vector<char> staged((const char *)from, (const char *)from + bytes);
    return stream_enqueue(stream, [=] {
        std::string late = outside("copy to the device", at, bytes);
        if (!late.empty()) return late;
        memcpy(at, staged.data(), bytes);
        shim_wrote(at, bytes);
        return late;
    });
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream_st *stream) {
    USABLE;
    CUstream_st *s = find(stream);
    if (!s) return INVALID_HANDLE;
    bool now;
    if (int error = pageable(s, to, bytes, &now)) return error;
    const void *at = (const void *)(uintptr_t)from;
    std::string said = outside("copy from the device", at, bytes);
    if (!said.empty()) return fail(said);
    int error = stream_enqueue(stream, [=] {
        std::string late = outside("copy from the device", at, bytes);
        if (late.empty() && !now && !is_pinned(to, bytes)) late = "copy to pinned memory that was freed";
        if (late.empty()) memcpy(to, at, bytes);
        return late;
    });
    return error || !now ? error : drain(s);
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream_st *stream) {
    void *a = (void *)(uintptr_t)to;
    const void *b = (const void *)(uintptr_t)from;
    return stream_enqueue(stream, [=] {
        std::string said = outside("copy on the device, target", a, bytes);
        if (said.empty()) said = outside("copy on the device, source", b, bytes);
        if (!said.empty()) return said;
        if ((const char *)a < (const char *)b + bytes && (const char *)b < (const char *)a + bytes && a != b)
            return std::string("copy on the device between overlapping ranges");
        memmove(a, b, bytes);
        shim_wrote(a, bytes);
        return said;
    });
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream_st *stream) {
    void *at = (void *)(uintptr_t)to;
    return stream_enqueue(stream, [=] {
        std::string said = outside("fill", at, bytes);
        if (!said.empty()) return said;
        memset(at, value, bytes);
        shim_wrote(at, bytes);
        return said;
    });
}

// ---- streams and events
CUresult cuStreamCreate(CUstream_st **stream, unsigned) {
    USABLE;
    *stream = new CUstream_st;
    driver().stream.insert(*stream);
    return SUCCESS;
}
CUresult cuStreamDestroy_v2(CUstream_st *stream) {
    LOCK;
    Driver &d = driver();
    if (!d.stream.count(stream)) return INVALID_HANDLE;
    int error = d.report.empty() ? drain(stream) : (int)SUCCESS;
    d.stream.erase(stream);
    for (CUevent_st *e : d.event)
        if (e->stream == stream) e->stream = nullptr;
    delete stream;
    return error;
}
CUresult cuStreamSynchronize(CUstream_st *stream) {
    USABLE;
    CUstream_st *s = find(stream);
    if (!s) return INVALID_HANDLE;
    return s->capture ? (int)CAPTURE_UNSUPPORTED : drain(s);
}
CUresult cuEventCreate(CUevent_st **event, unsigned flags) {
    USABLE;
    *event = new CUevent_st;
    (*event)->timed = !(flags & 2);
    driver().event.insert(*event);
    return SUCCESS;
}
static int event_reach(CUevent_st *e, long long serial) {
    while (e->done < serial) {
        if (!e->stream || e->stream->queue.empty()) return fail("an event that cannot be reached");
        if (int error = step(e->stream)) return error;
    }
    return SUCCESS;
}
CUresult cuEventDestroy_v2(CUevent_st *event) {
    LOCK;
    Driver &d = driver();
    if (!d.event.count(event)) return INVALID_HANDLE;
    int error = d.report.empty() ? event_reach(event, event->recorded) : (int)SUCCESS;
    if (d.report.empty() && !error) error = drain_all(); // nobody refers to it any more
    d.event.erase(event);
    delete event;
    return error;
}
CUresult cuEventRecord(CUevent_st *event, CUstream_st *stream) {
    USABLE;
    CUstream_st *s = find(stream);
    if (!s || !driver().event.count(event)) return INVALID_HANDLE;
    if (s->capture) {
        event->capture = s->capture;
        event->stream = s;
        return SUCCESS;
    }
    event->capture = nullptr;
    event->stream = s;
    long long serial = ++event->recorded;
    return stream_enqueue(stream, [=] {
        event->done = serial;
        event->at = std::chrono::steady_clock::now();
        return std::string();
    });
}
CUresult cuStreamWaitEvent(CUstream_st *stream, CUevent_st *event, unsigned) {
    USABLE;
    CUstream_st *s = find(stream);
    if (!s || !driver().event.count(event)) return INVALID_HANDLE;
    if (event->capture) { // fork or join
        if (!s->capture) s->capture = event->capture, s->origin = false;
        if (s->capture != event->capture) return CAPTURE_INVALIDATED;
        if (event->stream) event->stream->unjoined = false;
        return SUCCESS;
    }
    long long serial = event->recorded;
    if (s->capture) return CAPTURE_UNSUPPORTED;
    return stream_enqueue(stream, [=] {
        event_reach(event, serial);
        return std::string();
    });
}
CUresult cuEventSynchronize(CUevent_st *event) {
    USABLE;
    if (!driver().event.count(event)) return INVALID_HANDLE;
    return event_reach(event, event->recorded);
}
CUresult cuEventElapsedTime(float *ms, CUevent_st *start, CUevent_st *end) {
    USABLE;
    if (!driver().event.count(start) || !driver().event.count(end)) return INVALID_HANDLE;
    if (!start->timed || !end->timed || !start->recorded || !end->recorded) return INVALID_HANDLE;
    if (start->done < start->recorded || end->done < end->recorded) return NOT_READY;
    *ms = std::chrono::duration<float, std::milli>(end->at - start->at).count();
    return SUCCESS;
}

// ---- launches
static ShimOptions options(void) {
    ShimOptions o = ShimOptions();
    const char *order = getenv("STM_SHIM_ORDER"), *allow = getenv("STM_SHIM_UNINITIALISED");
    if (order && !strcmp(order, "descending")) o.order = SHIM_DESCENDING;
    if (order && !strncmp(order, "shuffled", 8)) {
        o.order = SHIM_SHUFFLED;
        o.seed = order[8] == ':' ? strtoull(order + 9, nullptr, 10) : 0;
    }
    o.allow_uninitialised = allow && !strcmp(allow, "allow");
    return o;
}
CUresult cuLaunchKernel(CUfunc_st *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream_st *stream,
                        void **parameters, void **extra) {
    USABLE;
    if (!function || extra || grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1) return INVALID_VALUE;
    if (grid_x < 1 || block_x < 1 || block_x > 1024) return INVALID_VALUE;
    if (shared_bytes > (unsigned)function->dynamic_shared) return INVALID_VALUE;
    int count = shim_parameters(function->kernel);
    if (count && !parameters) return INVALID_VALUE;
    std::vector<std::vector<char>> value((size_t)count);
    for (int i = 0; i < count; i++) {
        const char *from = (const char *)parameters[i];
        if (!from) return INVALID_VALUE;
        value[(size_t)i].assign(from, from + shim_parameter_size(function->kernel, i));
    }
    return stream_enqueue(stream, [=] {
        std::vector<void *> at((size_t)count);
        for (int i = 0; i < count; i++) at[(size_t)i] = (void *)value[(size_t)i].data();
        ShimOptions o = options();
        const char *said = shim_launch(function->kernel, grid_x, block_x, shared_bytes, at.data(), &o);
        return std::string(said ? said : "");
    });
}

// ---- graphs
CUresult cuStreamBeginCapture_v2(CUstream_st *stream, int) {
    USABLE;
    CUstream_st *s = find(stream);
    if (!s || !stream) return INVALID_HANDLE;
    if (s->capture) return INVALID_VALUE;
    s->capture = new CUgraph_st;
    s->origin = true;
    return SUCCESS;
}
CUresult cuStreamEndCapture(CUstream_st *stream, CUgraph_st **graph) {
    LOCK;
    Driver &d = driver();
    CUstream_st *s = find(stream);
    *graph = nullptr;
    if (!s || !s->capture || !s->origin) return INVALID_HANDLE;
    CUgraph_st *g = s->capture;
    bool unjoined = false;
    for (CUstream_st *other : d.stream)
        if (other->capture == g) {
            unjoined = unjoined || other->unjoined;
            other->capture = nullptr;
            other->origin = other->unjoined = false;
        }
    for (CUevent_st *e : d.event)
        if (e->capture == g) e->capture = nullptr;
    if (!d.report.empty() || unjoined) {
        delete g;
        return unjoined ? CAPTURE_UNJOINED : LAUNCH_FAILED;
    }
    *graph = g;
    return SUCCESS;
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec_st **exec, CUgraph_st *graph, unsigned long long) {
    USABLE;
    if (!graph) return INVALID_HANDLE;
    *exec = new CUgraphExec_st{std::make_shared<std::vector<StreamWork>>(graph->work)};
    return SUCCESS;
}
CUresult cuGraphLaunch(CUgraphExec_st *exec, CUstream_st *stream) {
    USABLE;
    if (!exec) return INVALID_HANDLE;
    std::shared_ptr<std::vector<StreamWork>> list = exec->work;
    return stream_enqueue(stream, [=] {
        for (const StreamWork &work : *list) {
            std::string said = work();
            if (!said.empty()) return said;
        }
        return std::string();
    });
}
CUresult cuGraphExecDestroy(CUgraphExec_st *exec) {
    LOCK;
    delete exec;
    return SUCCESS;
}
CUresult cuGraphDestroy(CUgraph_st *graph) {
    LOCK;
    delete graph;
    return SUCCESS;
}
}
