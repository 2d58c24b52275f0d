// Device memory: allocations of exact size in an address range of their own, never used twice, so that a stale pointer
// is found. And the modules that hold kernels.
#include "machine.h"

#include <dlfcn.h>
#include <link.h>
#include <mutex>
#include <sys/mman.h>

char *device_memory;
size_t device_size;

static const size_t page = 4096, space = (size_t)1 << 37;
static std::vector<Region *> regions; // by number
static uint32_t *page_region;         // number + 1 of the region of each page
static size_t pages_used, bytes_allocated;
static std::string message;

static size_t memory_limit(void) {
    const char *text = getenv("STM_SHIM_MEMORY");
    return text && *text ? (size_t)strtoull(text, nullptr, 10) : (size_t)-1;
}

static bool open_space(void) {
    if (device_memory) return true;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *at = mmap(nullptr, space, PROT_NONE, flags, -1, 0);
    void *table = mmap(nullptr, space / page * sizeof(uint32_t), PROT_READ | PROT_WRITE, flags, -1, 0);
    if (at == MAP_FAILED || table == MAP_FAILED) return false;
    page_region = (uint32_t *)table;
    device_memory = (char *)at;
    device_size = space;
    return true;
}

// The end lies as near to an unmapped page as an alignment of 256 bytes allows.
void *shim_alloc(size_t bytes, const char *name) {
    size_t padded = (bytes + 255) / 256 * 256, pages = (padded + page - 1) / page + 2;
    if (bytes_allocated + bytes > memory_limit()) return nullptr;
    if (!open_space() || pages_used + pages > space / page) return nullptr;
    char *first = device_memory + (pages_used + 1) * page;
    if (pages > 2 && mprotect(first, (pages - 2) * page, PROT_READ | PROT_WRITE)) return nullptr;
    Region *r = new Region();
    r->number = (int)regions.size();
    r->base = (uintptr_t)first + (pages - 2) * page - padded;
    r->size = bytes;
    r->name = name ? name : "";
    r->live = true;
    r->granule = 2;
    for (size_t i = 0; i < pages; i++) page_region[pages_used + i] = (uint32_t)r->number + 1;
    regions.push_back(r);
    pages_used += pages;
    bytes_allocated += bytes;
    memset((void *)r->base, 0xff, bytes);
    return (void *)r->base;
}

Region *device_region(uintptr_t at) {
    if (!device_memory || at - (uintptr_t)device_memory >= device_size) return nullptr;
    uint32_t number = page_region[(at - (uintptr_t)device_memory) / page];
    return number ? regions[number - 1] : nullptr;
}

const char *shim_free(void *at) {
    Region *r = device_region((uintptr_t)at);
    if (!at) return nullptr;
    if (!r || r->base != (uintptr_t)at) return "free of an address that was never allocated";
    if (!r->live) return "memory is freed twice";
    r->live = false;
    bytes_allocated -= r->size;
    region_unmap(r);
    uintptr_t first = r->base / page * page, last = (r->base + (r->size + 255) / 256 * 256 + page - 1) / page * page;
    if (last > first) {
        madvise((void *)first, last - first, MADV_DONTNEED);
        mprotect((void *)first, last - first, PROT_NONE);
    }
    return nullptr;
}

size_t shim_allocated(void) {
    return bytes_allocated;
}

// The flags and cells of a region, 33 to 129 bytes for each of its own, taken when it is first accessed. Untouched
// pages cost nothing.
void region_map(Region *r) {
    r->mapped = r->size * (1 + CELL_SLOTS * sizeof(uint64_t)) + 64;
    void *at = mmap(nullptr, r->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        fprintf(stderr, "shim: no address space for the checks of %zu bytes\n", r->size);
        abort();
    }
    r->cell = (uint64_t *)at;
    r->flag = (unsigned char *)at + r->size * CELL_SLOTS * sizeof(uint64_t);
    r->in_use = true;
}

void region_unmap(Region *r) {
    if (r->in_use) munmap(r->cell, r->mapped);
    r->in_use = false;
}

void shim_wrote(const void *at, size_t bytes) {
    Region *r = device_region((uintptr_t)at);
    if (!r || !r->live || bytes == 0) return;
    if (!r->in_use) region_map(r);
    size_t offset = (uintptr_t)at - r->base;
    if (offset < r->size) memset(r->flag + offset, FLAG_WRITTEN, bytes < r->size - offset ? bytes : r->size - offset);
}

void shim_relaxed(const void *at, bool relaxed) {
    Region *r = device_region((uintptr_t)at);
    if (r) r->relaxed = relaxed;
}

const char *shim_inside(const void *at, size_t bytes) {
    Region *r = device_region((uintptr_t)at);
    uintptr_t a = (uintptr_t)at;
    char text[300];
    if (!r) {
        snprintf(text, sizeof text, "address %p is not device memory", at);
    } else if (!r->live) {
        snprintf(text, sizeof text, "address %p is in allocation %d of %zu bytes, which was freed", at, r->number,
                 r->size);
    } else if (a < r->base || a - r->base > r->size || bytes > r->size - (a - r->base)) {
        snprintf(text, sizeof text, "bytes %lld to %lld of allocation %d, which has %zu", (long long)(a - r->base),
                 (long long)(a - r->base + bytes), r->number, r->size);
    } else {
        return nullptr;
    }
    message = text;
    return message.c_str();
}

// ---- modules
struct ShimModule {
    void *library;
};
struct Segment {
    uintptr_t low, high;
};
static std::vector<Segment> segments; // of modules that hold kernels, and of the shim

static int add_segments(struct dl_phdr_info *info, size_t, void *wish) {
    uintptr_t want = *(uintptr_t *)wish;
    bool found = false;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < info->dlpi_phnum; i++) {
            const ElfW(Phdr) *h = &info->dlpi_phdr[i];
            if (h->p_type != PT_LOAD) continue;
            Segment s = {info->dlpi_addr + h->p_vaddr, info->dlpi_addr + h->p_vaddr + h->p_memsz};
            if (pass == 0) found = found || (want >= s.low && want < s.high);
            else if (found) segments.push_back(s);
        }
    return found;
}

static void know_module_of(const void *symbol) {
    uintptr_t at = (uintptr_t)symbol;
    dl_iterate_phdr(add_segments, &at);
}

bool module_memory(uintptr_t at) {
    if (segments.empty()) know_module_of(&threadIdx);
    for (const Segment &s : segments)
        if (at >= s.low && at < s.high) return true;
    return false;
}

const char *shim_open(const char *path, ShimModule **out) {
    *out = nullptr;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        message = why ? why : path;
        return message.c_str();
    }
    segments.clear();
    *out = new ShimModule{library};
    return nullptr;
}

void shim_close(ShimModule *module) {
    if (!module) return;
    dlclose(module->library);
    segments.clear();
    delete module;
}

const ShimKernel *shim_find(ShimModule *module, const char *name) {
    std::string symbol = std::string("shim_kernel_") + name;
    const ShimKernel *k = (const ShimKernel *)dlsym(module->library, symbol.c_str());
    if (k) {
        module_memory(0);
        if (!module_memory((uintptr_t)k)) know_module_of(k);
    }
    return k;
}

// Where code comes from, by the debug information of its file; "" when that cannot be told.
std::string source_place(const void *code) {
    Dl_info info;
    if (!code || !dladdr(code, &info) || !info.dli_fname) return "";
    char command[1200], line[600] = "";
    snprintf(command, sizeof command, "addr2line -e '%s' 0x%llx 2>/dev/null", info.dli_fname,
             (unsigned long long)((uintptr_t)code - (uintptr_t)info.dli_fbase - 1));
    FILE *pipe = popen(command, "r");
    if (!pipe) return "";
    if (!fgets(line, sizeof line, pipe)) line[0] = 0;
    pclose(pipe);
    char *name = strrchr(line, '/');
    name = name ? name + 1 : line;
    name[strcspn(name, " \n")] = 0;
    return name[0] == '?' ? "" : name;
}
