// Between the files of the shim: the state of the launch that runs (executor.cpp) and the memory it may touch
// (access.cpp, memory.cpp).
#ifndef STM_SHIM_MACHINE_H
#define STM_SHIM_MACHINE_H

#include "cuda_host.h"
#include "shim.h"

#include <string>
#include <vector>

enum FiberState { FIBER_READY, FIBER_BARRIER, FIBER_WARP, FIBER_DONE };
enum WarpOp { WARP_SYNC, WARP_SHUFFLE, WARP_BALLOT, WARP_EXCHANGE };

struct AsyncCopy {
    char *to;
    const char *from;
    int bytes, source, group;
};

struct Fiber {
    void *sp;
    int stack; // number, -1: not started
    FiberState state;
    const char *file; // where it waits
    int line;
    int predicate, count; // of a counting barrier
    WarpOp op;            // of a warp operation
    int kind, lane, width, bytes;
    unsigned mask;
    uint64_t value;
    const void *mine;
    void *all;
    int group; // cp.async groups committed so far
    std::vector<AsyncCopy> copies;
    uint32_t clock_epoch; // epoch for which `clock` holds
    uint32_t clock[32];   // what is known of the lanes of its warp
};

struct Region { // an allocation, or an array in shared memory
    uintptr_t base;
    size_t size;
    std::string name;
    int number;
    bool live, relaxed, shared, in_use; // in_use: its flags are mapped
    int granule;                        // log2 of the bytes that share one cell
    uint64_t *cell;                     // CELL_SLOTS per granule
    unsigned char *flag;                // per byte
    size_t mapped;
};
enum { CELL_SLOTS = 4, FLAG_WRITTEN = 1, FLAG_PENDING = 2 };

struct Machine {
    const ShimKernel *kernel;
    ShimOptions options;
    void *const *parameter;
    unsigned grid, block_threads;
    size_t dynamic_shared;
    bool running; // a fiber runs
    int now;      // thread that runs
    std::vector<Fiber> fiber;
    std::vector<int> ready, next, free_stack;
    int alive;
    char *stacks;
    size_t stacks_size;
    void *scheduler;
    unsigned block_serial; // of all blocks ever run
    uint32_t epoch, block_epoch, launch_epoch;
    std::vector<uint32_t> block_start; // epoch of each block of this launch, in the order in which they ran
    std::vector<unsigned> block_number;
    char *shared; // memory of the block's shared arrays
    size_t shared_used, static_shared;
    std::vector<Region> array;
    unsigned char *dynamic_at;
    uint64_t dice;
    bool failed;
    std::string report;
};
extern Machine machine;
enum {
    MAX_THREADS = 1024,
    STACK_BYTES = 256 * 1024,
    SHARED_BYTES = 1 << 20,
    STATIC_LIMIT = 48 * 1024,
    SHARED_LIMIT = 227 * 1024
};

// Ends the launch with a message that starts with kernel, block and thread. Does not return inside of a fiber.
__attribute__((format(printf, 1, 2))) void shim_fail(const char *format, ...);
std::string source_place(const void *code); // "file.cu:12" or ""

// memory.cpp
extern char *device_memory;
extern size_t device_size;
Region *device_region(uintptr_t at); // of the page; NULL
void region_map(Region *r);
void region_unmap(Region *r);
bool module_memory(uintptr_t at); // constants of a loaded module, or of the shim itself

// access.cpp
void access_check(const void *at, size_t bytes, bool write, bool atomic, const void *code);
void access_async(const void *at, size_t bytes, bool pending);
void access_block_start(void);
std::string access_name(const Region *r, uintptr_t at);

#endif
