// Every access of a kernel, seen through the calls that g++ -fsanitize=thread and -fsanitize=alignment,bounds,... leave
// in its code; the sanitizers' own libraries are not linked. Checked are bounds, use of freed memory and of bytes that
// nobody wrote, alignment, and conflicts: two accesses of one byte by different threads, one of them a write, with
// nothing between them that orders them.
//
// What orders accesses: __syncthreads within a block (epochs), warp operations among their lanes (a clock per lane).
// Nothing orders the blocks of a launch.
//
// Each granule of memory (4 bytes at first, split as soon as something narrower comes) keeps its last write and up to
// three reads that matter.
#include "machine.h"

#include <cstdarg>

// epoch:32 thread:10 clock:20 atomic:1 valid:1
typedef uint64_t Cell;
static Cell cell_of(bool atomic) {
    Fiber *f = &machine.fiber[(size_t)machine.now];
    uint32_t clock = f->clock_epoch == machine.epoch ? f->clock[machine.now & 31] & 0xfffff : 0;
    return (uint64_t)machine.epoch << 32 | (uint64_t)machine.now << 22 | (uint64_t)clock << 2 | (atomic ? 2u : 0u) | 1;
}
static uint32_t cell_epoch(Cell c) {
    return (uint32_t)(c >> 32);
}
static int cell_thread(Cell c) {
    return (int)(c >> 22 & 1023);
}
static uint32_t cell_clock(Cell c) {
    return (uint32_t)(c >> 2 & 0xfffff);
}
static bool cell_atomic(Cell c) {
    return c & 2;
}

// Did all that `c` stands for come before what the running thread does now? `since`: what is older is of an earlier
// launch, or in shared memory of an earlier block.
static bool ordered(Cell c, uint32_t since) {
    uint32_t epoch = cell_epoch(c);
    if (epoch < since) return true;
    if (epoch < machine.block_epoch) return false; // another block
    if (epoch < machine.epoch) return true;        // a barrier lies between
    int thread = cell_thread(c);
    if (thread == machine.now) return true;
    if (thread / 32 != machine.now / 32) return false;
    const Fiber *f = &machine.fiber[(size_t)machine.now];
    return f->clock_epoch == machine.epoch && f->clock[thread & 31] > cell_clock(c);
}

void access_block_start(void) {
    Region *r = &machine.array.back();
    static uint64_t *cells; // of all shared arrays; stale ones are told by their epoch
    static unsigned char *flags;
    if (!cells) {
        Region all = Region();
        all.size = SHARED_BYTES;
        region_map(&all);
        cells = all.cell;
        flags = all.flag;
    }
    size_t offset = r->base - (uintptr_t)machine.shared;
    r->cell = cells + offset * CELL_SLOTS;
    r->flag = flags + offset;
    r->in_use = true;
    if (machine.kernel->checked) memset(r->flag, 0, r->size);
}

// ---- reports
// The buffer in words: the parameter that points into the region, or its own name.
std::string access_name(const Region *r, uintptr_t at) {
    char text[400];
    uintptr_t origin = r->base;
    int parameter = -1;
    if (!r->shared)
        for (int i = 0; i < machine.kernel->parameters; i++) {
            if (!machine.kernel->parameter[i].pointer) continue;
            uintptr_t p;
            memcpy(&p, machine.parameter[i], sizeof p);
            if (p >= r->base && p - r->base <= r->size && (p <= at || parameter < 0) && (parameter < 0 || p >= origin))
                origin = p, parameter = i;
        }
    std::string what;
    if (r->shared) what = "shared array '" + r->name + "'";
    else if (!r->name.empty()) what = "buffer '" + r->name + "'";
    else what = "allocation " + std::to_string(r->number);
    if (parameter >= 0) what += " (parameter " + std::to_string(parameter) + ")";
    snprintf(text, sizeof text, "byte %lld of %s, which has %zu bytes", (long long)(at - origin), what.c_str(),
             r->size - (size_t)(origin - r->base));
    std::string full = text;
    if (!r->live) full += " and was freed";
    return full;
}

static void complain(bool write, bool atomic, size_t bytes, const Region *r, uintptr_t at, const void *code,
                     const char *format, ...) __attribute__((format(printf, 7, 8)));
static void complain(bool write, bool atomic, size_t bytes, const Region *r, uintptr_t at, const void *code,
                     const char *format, ...) {
    char text[500];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    machine.running = false; // the look-up below is no kernel's
    std::string place = source_place(code), name = r ? access_name(r, at) : "";
    machine.running = true;
    const char *verb = atomic ? "atomic operation on" : write ? "write of" : "read of";
    char element[60] = "";
    if (r && bytes && (at - r->base) % bytes == 0)
        snprintf(element, sizeof element, " (element %lld of that size)", (long long)(at - r->base) / (long long)bytes);
    if (r)
        shim_fail("%s %zu bytes at %s%s: %s%s%s", verb, bytes, name.c_str(), element, text, place.empty() ? "" : "; ",
                  place.c_str());
    shim_fail("%s %zu bytes at address %p: %s%s%s", verb, bytes, (void *)at, text, place.empty() ? "" : "; ",
              place.c_str());
}

static void conflict(Cell other, bool other_write, bool write, bool atomic, const Region *r, uintptr_t at, size_t bytes,
                     const void *code) {
    const char *verb = cell_atomic(other) ? "changed atomically" : other_write ? "wrote" : "read";
    uint32_t epoch = cell_epoch(other);
    if (epoch >= machine.block_epoch) {
        complain(write, atomic, bytes, r, at, code, "thread %d %s it, and no barrier orders the two",
                 cell_thread(other), verb);
        return;
    }
    size_t i = machine.block_start.size() - 1;
    while (i > 0 && machine.block_start[i] > epoch) i--;
    complain(write, atomic, bytes, r, at, code,
             "block %u, thread %d %s it in the same launch, and blocks are not ordered", machine.block_number[i],
             cell_thread(other), verb);
}

// ---- one granule
static uint32_t since(const Region *r) {
    return r->shared ? machine.block_epoch : machine.launch_epoch;
}

static inline void granule_write(Cell *cell, Cell me, const Region *r, uintptr_t at, size_t bytes, const void *code) {
    bool atomic = cell_atomic(me);
    for (int i = 0; i < CELL_SLOTS; i++) {
        if (!cell[i] || (cell[i] ^ me) >> 2 == 0 || ordered(cell[i], since(r))) continue;
        if (atomic && cell_atomic(cell[i])) continue;
        conflict(cell[i], i == 0, true, atomic, r, at, bytes, code);
    }
    cell[0] = me;
}

static inline void granule_read(Cell *cell, Cell me, const Region *r, uintptr_t at, size_t bytes, const void *code) {
    if (cell[1] == me) return;
    if (cell[0] && !ordered(cell[0], since(r))) conflict(cell[0], true, false, false, r, at, bytes, code);
    for (int i = 1; i < CELL_SLOTS; i++)
        if (!cell[i] || ordered(cell[i], since(r))) {
            cell[i] = me;
            return;
        }
    // All slots hold reads that are not ordered with this one: keep those that differ most.
    uint32_t block = machine.block_epoch;
    bool foreign1 = cell_epoch(cell[1]) < block, foreign2 = cell_epoch(cell[2]) < block;
    if (foreign1 && foreign2) cell[2] = me;
    else if (!foreign1 && !foreign2 && cell_thread(cell[1]) / 32 == cell_thread(cell[2]) / 32) cell[2] = me;
    else cell[3] = me;
}

static void split(Region *r, int granule) { // cells move to where their bytes are
    size_t old = (size_t)1 << r->granule, now = (size_t)1 << granule;
    size_t count = (r->size + old - 1) / old;
    for (size_t i = count; i-- > 0;) {
        Cell keep[CELL_SLOTS];
        memcpy(keep, r->cell + i * CELL_SLOTS, sizeof keep);
        for (size_t b = i * old; b < (i + 1) * old && b < r->size; b += now)
            memcpy(r->cell + b / now * CELL_SLOTS, keep, sizeof keep);
    }
    r->granule = granule;
}

static void region_access(Region *r, uintptr_t at, size_t bytes, bool write, bool atomic, const void *code) {
    size_t offset = at - r->base;
    if (!r->live || at < r->base || offset > r->size || bytes > r->size - offset) {
        complain(write, atomic, bytes, r, at, code, r->live ? "outside" : "after free");
        return;
    }
    if (!r->in_use) region_map(r);
    unsigned char *flag = r->flag + offset;
    for (size_t i = 0; i < bytes; i++) {
        if (flag[i] == FLAG_WRITTEN) continue;
        if (flag[i] & FLAG_PENDING)
            complain(write, atomic, bytes, r, at, code, "a cp.async to these bytes has not been waited for");
        if (!write || atomic) {
            if (!machine.options.allow_uninitialised && !(flag[i] & FLAG_WRITTEN))
                complain(write, atomic, bytes, r, at, code, "nobody wrote byte %zu of it before", i);
        }
        if (write) flag[i] |= FLAG_WRITTEN;
    }
    if (r->relaxed) return;
    size_t both = offset | bytes;
    int fits = both & 1 ? 0 : both & 2 ? 1 : 2;
    if (fits < r->granule) split(r, fits);
    Cell me = cell_of(atomic);
    size_t first = offset >> r->granule, last = (offset + bytes - 1) >> r->granule;
    for (size_t g = first; g <= last; g++) {
        if (write) granule_write(r->cell + g * CELL_SLOTS, me, r, at, bytes, code);
        else granule_read(r->cell + g * CELL_SLOTS, me, r, at, bytes, code);
    }
}

static Region *shared_region(uintptr_t at) {
    for (Region &r : machine.array)
        if (at >= r.base - 64 && at < r.base + r.size + 64) {
            if (at >= r.base && at < r.base + r.size) return &r;
            for (Region &other : machine.array)
                if (at >= other.base && at < other.base + other.size) return &other;
            return &r;
        }
    return nullptr;
}

static bool is_report(uintptr_t at) { // the word for gathers outside
    const ShimKernel *k = machine.kernel;
    for (int i = k->parameters - 1; i >= 0; i--)
        if (k->parameter[i].report) {
            uintptr_t p;
            memcpy(&p, machine.parameter[i], sizeof p);
            if (p == at) return true;
        }
    return false;
}

void access_check(const void *pointer, size_t bytes, bool write, bool atomic, const void *code) {
    uintptr_t at = (uintptr_t)pointer;
    if (at - (uintptr_t)machine.stacks < machine.stacks_size) return;
    if (!machine.running || bytes == 0) return;
    if (at - (uintptr_t)device_memory < device_size) {
        Region *r = device_region(at);
        if (!r) {
            complain(write, atomic, bytes, nullptr, at, code, "nothing is allocated there");
            return;
        }
        if (bytes == 4 && !r->relaxed && is_report(at)) {
            r->relaxed = true;
            region_access(r, at, bytes, write, atomic, code);
            r->relaxed = false;
            return;
        }
        region_access(r, at, bytes, write, atomic, code);
    } else if (at - (uintptr_t)machine.shared < SHARED_BYTES) {
        Region *r = shared_region(at);
        if (r) region_access(r, at, bytes, write, atomic, code);
        else complain(write, atomic, bytes, nullptr, at, code, "outside of the block's shared arrays");
    } else if (!module_memory(at)) {
        complain(write, atomic, bytes, nullptr, at, code, "neither device memory nor shared memory is there");
    } else if (write) {
        complain(write, atomic, bytes, nullptr, at, code, "a kernel must not write static memory");
    }
}

void access_async(const void *pointer, size_t bytes, bool pending) {
    Region *r = shared_region((uintptr_t)pointer);
    if (!r) return;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char *flag = r->flag + ((uintptr_t)pointer - r->base) + i;
        *flag = (unsigned char)(pending ? *flag | FLAG_PENDING : *flag & ~FLAG_PENDING);
    }
}

void shim_atomic(const void *at, int bytes) {
    if (!machine.kernel->checked) return;
    if ((uintptr_t)at % (unsigned)bytes)
        complain(true, true, (size_t)bytes, nullptr, (uintptr_t)at, __builtin_return_address(0), "misaligned");
    access_check(at, (size_t)bytes, true, true, __builtin_return_address(0));
}

// ---- what -fsanitize=thread calls
#define HERE __builtin_return_address(0)
#define ACCESS(n)                                                                                                      \
    void __tsan_read##n(void *at) {                                                                                    \
        access_check(at, n, false, false, HERE);                                                                       \
    }                                                                                                                  \
    void __tsan_write##n(void *at) {                                                                                   \
        access_check(at, n, true, false, HERE);                                                                        \
    }
#define UNALIGNED(n)                                                                                                   \
    void __tsan_unaligned_read##n(void *at) {                                                                          \
        access_check(at, n, false, false, HERE);                                                                       \
    }                                                                                                                  \
    void __tsan_unaligned_write##n(void *at) {                                                                         \
        access_check(at, n, true, false, HERE);                                                                        \
    }
#define VOLATILE(n)                                                                                                    \
    void __tsan_volatile_read##n(void *at) {                                                                           \
        access_check(at, n, false, false, HERE);                                                                       \
    }                                                                                                                  \
    void __tsan_volatile_write##n(void *at) {                                                                          \
        access_check(at, n, true, false, HERE);                                                                        \
    }
#define ATOMIC(bits, T)                                                                                                \
    T __tsan_atomic##bits##_load(const T *at, int) {                                                                   \
        access_check(at, bits / 8, false, true, HERE);                                                                 \
        return *at;                                                                                                    \
    }                                                                                                                  \
    void __tsan_atomic##bits##_store(T *at, T value, int) {                                                            \
        access_check(at, bits / 8, true, true, HERE);                                                                  \
        *at = value;                                                                                                   \
    }
extern "C" {
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
UNALIGNED(2)
UNALIGNED(4)
UNALIGNED(8)
UNALIGNED(16)
VOLATILE(1)
VOLATILE(2)
VOLATILE(4)
VOLATILE(8)
VOLATILE(16)
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
void __tsan_read_range(void *at, size_t bytes) {
    access_check(at, bytes, false, false, HERE);
}
void __tsan_write_range(void *at, size_t bytes) {
    access_check(at, bytes, true, false, HERE);
}
void __tsan_vptr_update(void **at, void *) {
    access_check(at, 8, true, false, HERE);
}
void __tsan_vptr_read(void **at) {
    access_check(at, 8, false, false, HERE);
}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void) {}
void __tsan_init(void) {}

// Calls that the compiler leaves for copies of structures (linked with --wrap).
void *__wrap_memcpy(void *to, const void *from, size_t bytes) {
    access_check(from, bytes, false, false, HERE);
    access_check(to, bytes, true, false, HERE);
    return memcpy(to, from, bytes);
}
void *__wrap_memmove(void *to, const void *from, size_t bytes) {
    access_check(from, bytes, false, false, HERE);
    access_check(to, bytes, true, false, HERE);
    return memmove(to, from, bytes);
}
void *__wrap_memset(void *to, int value, size_t bytes) {
    access_check(to, bytes, true, false, HERE);
    return memset(to, value, bytes);
}

// ---- what -fsanitize=alignment,bounds,... calls
struct SourcePlace {
    const char *file;
    uint32_t line, column;
};
struct TypeName {
    uint16_t kind, info;
    char name[1];
};
struct TypeMismatch {
    SourcePlace place;
    const TypeName *type;
    unsigned char log_align, check;
};
struct OutOfBounds {
    SourcePlace place;
    const TypeName *array, *index;
};
struct Overflow {
    SourcePlace place;
    const TypeName *type;
};

static const char *base_name(const char *file) {
    const char *slash = strrchr(file, '/');
    return slash ? slash + 1 : file;
}

void __ubsan_handle_type_mismatch_v1(TypeMismatch *m, void *at) {
    if (!machine.running) return;
    uintptr_t align = (uintptr_t)1 << m->log_align;
    const char *file = base_name(m->place.file);
    if (!at) {
        shim_fail("null pointer to %s; %s:%u", m->type->name, file, m->place.line);
        return;
    }
    Region *r = (uintptr_t)at - (uintptr_t)machine.shared < SHARED_BYTES ? shared_region((uintptr_t)at)
                                                                         : device_region((uintptr_t)at);
    std::string name = r ? access_name(r, (uintptr_t)at) : "an address on the stack";
    shim_fail("misaligned access: %s needs an address that %llu divides, at %s; %s:%u", m->type->name,
              (unsigned long long)align, name.c_str(), file, m->place.line);
}
void __ubsan_handle_out_of_bounds(OutOfBounds *o, uintptr_t index) {
    if (!machine.running) return;
    shim_fail("index %lld is outside of %s; %s:%u", (long long)(int64_t)index, o->array->name, base_name(o->place.file),
              o->place.line);
}
static void overflow(const Overflow *o, const char *what) {
    if (!machine.running) return;
    shim_fail("%s of %s overflows; %s:%u", what, o->type->name, base_name(o->place.file), o->place.line);
}
void __ubsan_handle_add_overflow(Overflow *o, uintptr_t, uintptr_t) {
    overflow(o, "sum");
}
void __ubsan_handle_sub_overflow(Overflow *o, uintptr_t, uintptr_t) {
    overflow(o, "difference");
}
void __ubsan_handle_mul_overflow(Overflow *o, uintptr_t, uintptr_t) {
    overflow(o, "product");
}
void __ubsan_handle_negate_overflow(Overflow *o, uintptr_t) {
    overflow(o, "negation");
}
void __ubsan_handle_divrem_overflow(Overflow *o, uintptr_t, uintptr_t) {
    overflow(o, "quotient");
}
void __ubsan_handle_shift_out_of_bounds(Overflow *o, uintptr_t, uintptr_t) {
    overflow(o, "shift");
}
}
