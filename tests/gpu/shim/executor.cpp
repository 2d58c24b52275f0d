// Runs a launch: blocks one after another, each thread of a block as a fiber until it waits at a barrier or a warp
// operation. The order of threads is fixed by the options, so a run can be repeated. Threads that wait for each other
// in vain end the launch with a message.
#include "machine.h"

#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <sys/mman.h>

Machine machine;
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// Saves the registers that a call preserves on this stack and continues on the other one.
extern "C" void shim_switch(void **save, void *to);
asm(".text\n.globl shim_switch\n.hidden shim_switch\n.type shim_switch,@function\nshim_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n  ret\n"
    ".size shim_switch,.-shim_switch\n");

static void to_scheduler(void) {
    machine.running = false;
    shim_switch(&machine.fiber[(size_t)machine.now].sp, machine.scheduler);
}

void shim_fail(const char *format, ...) {
    char text[1200], place[160];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(place, sizeof place, ", block %u, thread %d: ", blockIdx.x, machine.now);
    if (!machine.failed) machine.report = std::string("kernel ") + machine.kernel->name + place + text;
    machine.failed = true;
    if (machine.running) to_scheduler();
}

void shim_stop(const char *message) {
    shim_fail("%s", message);
}

// ---- fibers
static void fiber_main(void);

static void fiber_start(Fiber *f) {
    if (machine.free_stack.empty()) {
        shim_fail("more threads than stacks");
        return;
    }
    f->stack = machine.free_stack.back();
    machine.free_stack.pop_back();
    char *top = machine.stacks + (size_t)(f->stack + 1) * STACK_BYTES;
    void **sp = (void **)top;
    *--sp = nullptr;
    *--sp = (void *)fiber_main; // returned to with rsp = 16 n + 8, as after a call
    for (int i = 0; i < 6; i++) *--sp = nullptr;
    f->sp = sp;
}

static void warp_progress(int thread);

static void fiber_main(void) {
    machine.kernel->start(machine.parameter);
    Fiber *f = &machine.fiber[(size_t)machine.now];
    f->state = FIBER_DONE;
    machine.alive--;
    machine.free_stack.push_back(f->stack);
    int first = machine.now & ~31, last = std::min(first + 32, (int)machine.block_threads);
    for (int t = first; t < last; t++)
        if (machine.fiber[(size_t)t].state == FIBER_WARP) warp_progress(t);
    to_scheduler();
    abort();
}

static void block_here(Fiber *f, FiberState state, const char *file, int line) {
    f->state = state;
    f->file = file;
    f->line = line;
}

static Fiber *self(void) {
    return &machine.fiber[(size_t)machine.now];
}

// ---- barriers of the block
int shim_barrier_count(int predicate, const char *file, int line) {
    Fiber *f = self();
    f->predicate = predicate;
    block_here(f, FIBER_BARRIER, file, line);
    to_scheduler();
    return f->count;
}

void shim_barrier(const char *file, int line) {
    shim_barrier_count(0, file, line);
}

// ---- operations of a warp
static const char *op_name(const Fiber *f) {
    static const char *const names[] = {"__syncwarp", "shuffle", "vote", "warp exchange"};
    return names[f->op];
}

static void clock_reset(Fiber *f) {
    if (f->clock_epoch == machine.epoch) return;
    f->clock_epoch = machine.epoch;
    memset(f->clock, 0, sizeof f->clock);
}

// The lanes of `member` meet: each knows from now on what any of them has done.
static void clock_join(int first, unsigned member) {
    uint32_t top[32] = {0};
    for (int l = 0; l < 32; l++) {
        if (!(member >> l & 1)) continue;
        Fiber *f = &machine.fiber[(size_t)(first + l)];
        clock_reset(f);
        f->clock[l]++;
        for (int i = 0; i < 32; i++) top[i] = std::max(top[i], f->clock[i]);
    }
    for (int l = 0; l < 32; l++)
        if (member >> l & 1) memcpy(machine.fiber[(size_t)(first + l)].clock, top, sizeof top);
}

static int shuffle_source(const Fiber *f, int lane) {
    int low = lane & ~(f->width - 1), high = low | (f->width - 1), from = lane;
    switch (f->kind) {
    case SHIM_SHUFFLE: return low | (f->lane & (f->width - 1));
    case SHIM_SHUFFLE_XOR: from = lane ^ f->lane; break;
    case SHIM_SHUFFLE_DOWN: from = lane + f->lane; break;
    default: from = lane - f->lane; return from < low ? lane : from;
    }
    return from > high ? lane : from;
}

// What lanes that take no part would have given is NaN.
static void exchange(int first, unsigned member, int bytes) {
    char all[32 * 256];
    memset(all, 0xff, (size_t)(32 * bytes));
    for (int l = 0; l < 32; l++)
        if (member >> l & 1) memcpy(all + l * bytes, machine.fiber[(size_t)(first + l)].mine, (size_t)bytes);
    for (int l = 0; l < 32; l++)
        if (member >> l & 1) memcpy(machine.fiber[(size_t)(first + l)].all, all, (size_t)(32 * bytes));
}

// Completes the operation that `thread` waits at when all lanes of its mask have arrived.
static void warp_progress(int thread) {
    Fiber *f = &machine.fiber[(size_t)thread];
    int first = thread & ~31;
    unsigned member = 0;
    for (int l = 0; l < 32; l++) {
        if (!(f->mask >> l & 1) || first + l >= (int)machine.block_threads) continue;
        Fiber *g = &machine.fiber[(size_t)(first + l)];
        if (g->state == FIBER_DONE) continue;
        if (g->state != FIBER_WARP || g->op != f->op || g->mask != f->mask || g->line != f->line) return;
        if (g->file != f->file && strcmp(g->file, f->file)) return;
        member |= 1u << l;
    }
    uint64_t result[32];
    unsigned votes = 0;
    for (int l = 0; l < 32; l++) {
        if (!(member >> l & 1)) continue;
        Fiber *g = &machine.fiber[(size_t)(first + l)];
        if (g->op == WARP_BALLOT && g->predicate) votes |= 1u << l;
        if (g->op == WARP_SHUFFLE) {
            int from = shuffle_source(g, l);
            if (!(member >> from & 1)) {
                machine.now = first + l;
                shim_fail("shuffle at %s:%d reads lane %d, which does not take part (mask 0x%08x)", g->file, g->line,
                          from, g->mask);
                return;
            }
            result[l] = machine.fiber[(size_t)(first + from)].value;
        }
    }
    if (f->op == WARP_EXCHANGE) exchange(first, member, f->bytes);
    for (int l = 0; l < 32; l++) {
        if (!(member >> l & 1)) continue;
        Fiber *g = &machine.fiber[(size_t)(first + l)];
        if (g->op == WARP_SHUFFLE) g->value = result[l];
        if (g->op == WARP_BALLOT) g->value = votes;
        g->state = FIBER_READY;
        machine.next.push_back(first + l);
    }
    if (machine.kernel->checked) clock_join(first, member);
}

static Fiber *warp_wait(WarpOp op, unsigned mask, const char *file, int line) {
    Fiber *f = self();
    f->op = op;
    f->mask = mask;
    block_here(f, FIBER_WARP, file, line);
    if (!(mask >> (machine.now & 31) & 1))
        shim_fail("%s at %s:%d with mask 0x%08x, which does not name the calling lane %d", op_name(f), file, line, mask,
                  machine.now & 31);
    warp_progress(machine.now);
    to_scheduler();
    return f;
}

void shim_warp_sync(unsigned mask, const char *file, int line) {
    warp_wait(WARP_SYNC, mask, file, line);
}

uint64_t shim_shuffle(int kind, unsigned mask, uint64_t value, int lane, int width, const char *file, int line) {
    Fiber *f = self();
    if (width < 1 || width > 32 || (width & (width - 1)))
        shim_fail("shuffle at %s:%d of width %d; a power of two up to 32 is expected", file, line, width);
    f->kind = kind;
    f->value = value;
    f->lane = lane;
    f->width = width;
    return warp_wait(WARP_SHUFFLE, mask, file, line)->value;
}

unsigned shim_ballot(unsigned mask, int predicate, const char *file, int line) {
    self()->predicate = predicate;
    return (unsigned)warp_wait(WARP_BALLOT, mask, file, line)->value;
}

unsigned shim_active(void) {
    unsigned mask = 0;
    int first = machine.now & ~31;
    for (int l = 0; l < 32 && first + l < (int)machine.block_threads; l++)
        if (machine.fiber[(size_t)(first + l)].state != FIBER_DONE) mask |= 1u << l;
    return mask;
}

void shim_warp_exchange(unsigned mask, const void *mine, int bytes, void *all, const char *file, int line) {
    Fiber *f = self();
    if (bytes < 1 || bytes > 256)
        shim_fail("warp exchange of %d bytes at %s:%d; 1 to 256 are possible", bytes, file, line);
    f->mine = mine;
    f->bytes = bytes;
    f->all = all;
    warp_wait(WARP_EXCHANGE, mask, file, line);
}

// ---- shared memory
static void *shared_take(const char *name, size_t bytes, size_t align) {
    size_t at = (machine.shared_used + 64 + align - 1) / align * align; // 64 bytes that nobody may touch
    if (at / align % 2 == 0) at += align;                               // and no better alignment than asked for
    if (at + bytes + 64 > SHARED_BYTES)
        shim_fail("shared array %s does not fit the shim's %d bytes", name, SHARED_BYTES);
    memset(machine.shared + at, 0xff, bytes);
    Region r = Region();
    r.base = (uintptr_t)machine.shared + at;
    r.size = bytes;
    r.name = name;
    r.shared = r.live = true;
    r.granule = 2;
    machine.array.push_back(r);
    access_block_start();
    machine.shared_used = at + bytes;
    return machine.shared + at;
}

void *shim_shared(ShimShared *site, int64_t element, int64_t count, int64_t align) {
    if (site->block == machine.block_serial) return site->at;
    machine.static_shared += (size_t)(element * count);
    if (machine.static_shared > STATIC_LIMIT)
        shim_fail("static shared arrays take %zu bytes with %s; %d is the limit", machine.static_shared, site->name,
                  STATIC_LIMIT);
    site->at = shared_take(site->name, (size_t)(element * count), (size_t)std::max(element, align));
    site->block = machine.block_serial;
    return site->at;
}

unsigned char *shim_dynamic_shared(void) {
    if (!machine.dynamic_at)
        machine.dynamic_at = (unsigned char *)shared_take("dynamic shared memory", machine.dynamic_shared, 16);
    return machine.dynamic_at;
}

// ---- cp.async
void shim_async_copy(void *to, const void *from, int bytes, int source, const char *file, int line) {
    if (bytes != 4 && bytes != 8 && bytes != 16)
        shim_fail("cp.async of %d bytes at %s:%d; 4, 8 or 16 are expected", bytes, file, line);
    if (source < 0 || source > bytes)
        shim_fail("cp.async at %s:%d takes %d of %d bytes from its source", file, line, source, bytes);
    if ((uintptr_t)to % (unsigned)bytes)
        shim_fail("cp.async at %s:%d writes %d bytes at a misaligned shared address (%s)", file, line, bytes,
                  "a multiple of the size is expected");
    if (source > 0 && (uintptr_t)from % (unsigned)bytes)
        shim_fail("cp.async at %s:%d reads %d bytes at a misaligned global address", file, line, bytes);
    if ((char *)to < machine.shared || (char *)to >= machine.shared + SHARED_BYTES)
        shim_fail("cp.async at %s:%d writes to memory that is not shared", file, line);
    Fiber *f = self();
    if (machine.kernel->checked) {
        const void *code = __builtin_return_address(0);
        if (source > 0) access_check(from, (size_t)source, false, false, code);
        access_check(to, (size_t)bytes, true, false, code);
        access_async(to, (size_t)bytes, true);
    }
    f->copies.push_back(AsyncCopy{(char *)to, (const char *)from, bytes, source, f->group});
}

void shim_async_commit(void) {
    self()->group++;
}

void shim_async_wait(int pending) {
    Fiber *f = self();
    size_t kept = 0;
    for (size_t i = 0; i < f->copies.size(); i++) {
        AsyncCopy c = f->copies[i];
        if (c.group >= f->group - pending) { // of a later group, or not committed
            f->copies[kept++] = c;
            continue;
        }
        if (machine.kernel->checked) {
            access_async(c.to, (size_t)c.bytes, false);
            access_check(c.to, (size_t)c.bytes, true, false, __builtin_return_address(0));
        }
        memcpy(c.to, c.from, (size_t)c.source);
        memset(c.to + c.source, 0, (size_t)(c.bytes - c.source));
    }
    f->copies.resize(kept);
}

// ---- blocks
static uint32_t dice(uint32_t n) {
    machine.dice = machine.dice * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((machine.dice >> 33) % n);
}

template <class T> static void arrange(std::vector<T> *list) {
    if (machine.options.order == SHIM_SHUFFLED) {
        for (size_t i = list->size(); i > 1; i--) std::swap((*list)[i - 1], (*list)[dice((uint32_t)i)]);
        return;
    }
    if (!std::is_sorted(list->begin(), list->end())) std::sort(list->begin(), list->end());
    if (machine.options.order == SHIM_DESCENDING) std::reverse(list->begin(), list->end());
}

static std::string waits(int thread) {
    const Fiber *f = &machine.fiber[(size_t)thread];
    char text[400];
    if (f->state == FIBER_DONE) snprintf(text, sizeof text, "thread %d has returned", thread);
    else if (f->state == FIBER_BARRIER)
        snprintf(text, sizeof text, "thread %d waits at __syncthreads of %s:%d", thread, f->file, f->line);
    else
        snprintf(text, sizeof text, "thread %d waits at %s of %s:%d with mask 0x%08x", thread, op_name(f), f->file,
                 f->line, f->mask);
    return text;
}

// Nobody can run: the block stands at one barrier, or it is stuck.
static void barrier_release(void) {
    int some = 0, count = 0;
    while (machine.fiber[(size_t)some].state == FIBER_DONE) some++;
    for (int t = 0; t < (int)machine.block_threads; t++)
        if (machine.fiber[(size_t)t].state == FIBER_WARP) { // the more telling one
            some = t;
            break;
        }
    const Fiber *f = &machine.fiber[(size_t)some];
    for (int t = 0; t < (int)machine.block_threads; t++) {
        const Fiber *g = &machine.fiber[(size_t)t];
        count += g->predicate;
        bool same = f->state == FIBER_BARRIER && g->state == f->state && g->line == f->line;
        if (same && (g->file == f->file || !strcmp(g->file, f->file))) continue;
        if (f->state == FIBER_WARP && (t / 32 != some / 32 || t == some || !(f->mask >> (t & 31) & 1))) continue;
        if (f->state == FIBER_WARP && g->state == FIBER_WARP && g->line == f->line && g->mask == f->mask) continue;
        machine.now = some;
        shim_fail("deadlock: divergent %s: %s, %s", f->state == FIBER_WARP ? "warp operation" : "barrier",
                  waits(some).c_str(), waits(t).c_str());
        return;
    }
    machine.epoch++;
    for (int t = 0; t < (int)machine.block_threads; t++) {
        Fiber *g = &machine.fiber[(size_t)t];
        g->state = FIBER_READY;
        g->count = count;
        machine.ready.push_back(t);
    }
    arrange(&machine.ready);
}

static void run_block(unsigned block) {
    blockIdx = uint3{block, 0, 0};
    machine.block_serial++;
    machine.block_epoch = ++machine.epoch;
    machine.block_start.push_back(machine.epoch);
    machine.block_number.push_back(block);
    machine.array.clear();
    machine.shared_used = machine.static_shared = 0;
    machine.dynamic_at = nullptr;
    machine.alive = (int)machine.block_threads;
    machine.ready.clear();
    machine.next.clear();
    machine.free_stack.clear();
    for (int t = 0; t < (int)machine.block_threads; t++) {
        Fiber *f = &machine.fiber[(size_t)t];
        f->stack = -1;
        f->state = FIBER_READY;
        f->group = 0;
        f->copies.clear();
        f->clock_epoch = 0;
        machine.ready.push_back(t);
        machine.free_stack.push_back((int)machine.block_threads - 1 - t);
    }
    arrange(&machine.ready);
    while (machine.alive && !machine.failed) {
        if (machine.ready.empty()) {
            barrier_release();
            if (machine.failed) return;
        }
        for (size_t i = 0; i < machine.ready.size() && !machine.failed; i++) {
            machine.now = machine.ready[i];
            Fiber *f = self();
            if (f->stack < 0) fiber_start(f);
            threadIdx.x = (unsigned)machine.now;
            machine.running = true;
            shim_switch(&machine.scheduler, f->sp);
        }
        machine.ready.clear();
        machine.ready.swap(machine.next);
        arrange(&machine.ready);
    }
}

// ---- faults of code that is not instrumented
static void on_fault(int signal, siginfo_t *info, void *) {
    if (!machine.running) {
        std::signal(signal, SIG_DFL);
        return;
    }
    char *at = (char *)info->si_addr;
    if (signal == SIGFPE) shim_fail("an integer is divided by zero");
    if (at >= machine.stacks && at < machine.stacks + machine.stacks_size)
        shim_fail("its stack of %d bytes overflows", STACK_BYTES);
    Region *r = device_region((uintptr_t)at);
    shim_fail("access to address %p: %s", (void *)at,
              r ? access_name(r, (uintptr_t)at).c_str() : "no device memory is there");
}

const char *shim_launch(const ShimKernel *kernel, unsigned grid, unsigned block, size_t shared, void *const *parameter,
                        const ShimOptions *options) {
    Machine *m = &machine;
    m->report.clear();
    m->failed = false;
    m->kernel = kernel;
    m->now = 0;
    blockIdx = uint3{0, 0, 0};
    if (block < 1 || block > MAX_THREADS) shim_fail("%u threads in a block; 1 to %d are possible", block, MAX_THREADS);
    if (grid < 1 || grid > 0x7fffffffu) shim_fail("%u blocks; 1 to 2^31 - 1 are possible", grid);
    if (shared > SHARED_LIMIT) shim_fail("%zu bytes of dynamic shared memory; %d is the limit", shared, SHARED_LIMIT);
    for (int i = 0; i < kernel->parameters; i++) {
        if (!kernel->parameter[i].pointer) continue;
        void *at;
        memcpy(&at, parameter[i], sizeof at);
        const char *said = at ? shim_inside(at, 0) : nullptr;
        if (said) shim_fail("parameter %d: %s", i, said);
    }
    if (m->failed) return m->report.c_str();
    if (!m->stacks) {
        m->stacks_size = (size_t)STACK_BYTES * MAX_THREADS;
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        m->stacks = (char *)mmap(nullptr, m->stacks_size, PROT_READ | PROT_WRITE, flags, -1, 0);
        m->shared = (char *)mmap(nullptr, SHARED_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (m->stacks == MAP_FAILED || m->shared == MAP_FAILED) {
            m->stacks = nullptr;
            return "the shim has no memory for stacks";
        }
        for (int i = 0; i < MAX_THREADS; i++) mprotect(m->stacks + (size_t)i * STACK_BYTES, 4096, PROT_NONE);
    }
    m->options = options ? *options : ShimOptions();
    m->dice = m->options.seed * 2654435761u + 88172645463325252u;
    m->parameter = parameter;
    m->grid = grid;
    m->block_threads = block;
    m->dynamic_shared = shared;
    m->fiber.resize(block);
    m->block_start.clear();
    m->block_number.clear();
    gridDim.x = grid;
    blockDim.x = block;
    threadIdx = uint3{0, 0, 0};
    if (m->epoch > 0xf0000000u) return "the shim has run out of epochs; start a new process";
    m->launch_epoch = m->epoch + 1;

    static char fault_stack[64 * 1024];
    stack_t alternative = stack_t(), old_stack;
    alternative.ss_sp = fault_stack;
    alternative.ss_size = sizeof fault_stack;
    sigaltstack(&alternative, &old_stack);
    struct sigaction action, old[3];
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    static const int faults[3] = {SIGSEGV, SIGBUS, SIGFPE};
    for (int i = 0; i < 3; i++) sigaction(faults[i], &action, &old[i]);

    if (m->options.order == SHIM_SHUFFLED && grid <= 1u << 20) {
        std::vector<unsigned> blocks(grid);
        for (unsigned b = 0; b < grid; b++) blocks[b] = b;
        arrange(&blocks);
        for (size_t b = 0; b < grid && !m->failed; b++) run_block(blocks[b]);
    } else {
        for (unsigned b = 0; b < grid && !m->failed; b++)
            run_block(m->options.order == SHIM_DESCENDING ? grid - 1 - b : b);
    }

    for (int i = 0; i < 3; i++) sigaction(faults[i], &old[i], nullptr);
    sigaltstack(&old_stack, nullptr);
    return m->failed ? m->report.c_str() : nullptr;
}

bool shim_checks(const ShimKernel *kernel) {
    return kernel->checked;
}
int shim_parameters(const ShimKernel *kernel) {
    return kernel->parameters;
}
int shim_parameter_size(const ShimKernel *kernel, int parameter) {
    return parameter >= 0 && parameter < kernel->parameters ? kernel->parameter[parameter].size : 0;
}
const char *shim_launch_name(ShimModule *module, const char *name, unsigned grid, unsigned block, size_t shared,
                             void *const *parameter, const ShimOptions *options) {
    const ShimKernel *k = shim_find(module, name);
    if (!k) return "no such kernel in the module";
    return shim_launch(k, grid, block, shared, parameter, options);
}
