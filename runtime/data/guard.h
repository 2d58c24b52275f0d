// guard: work on a file that somebody else made, done in a child process, so that a library that crashes, loops or
// asks for endless memory on damaged content costs an error message and nothing else. HDF5 needs this: it follows
// damaged metadata out of bounds.
//
// The child is a fork: it sees everything of the caller, and what it changes is lost, except for its Status and for
// what it puts into the GuardBlock, a piece of shared memory that stands at the same address in both processes.
// Results may therefore hold pointers into the block; nothing is copied on the way back. After success the caller owns
// the block and ends it with guard_block_free.
//
//     static Status work(void *context, GuardBlock *block) { ... out = GUARD_NEW(block, double, n) ... }
//     GuardBlock block;
//     TRY(guard_run(path, (GuardLimits){0}, work, &context, &block));
//     const Result *result = block.result; // what work stored there
//     ... guard_block_free(&block);
//
// Because a crash that went unnoticed could have left anything in the block, results with pointers are checked with
// guard_holds and guard_holds_text before use (annotated_share.h does it for an Annotated).
//
// Threads: may be called from any thread as long as no other thread is inside HDF5 (fork copies its lock and state).
// The child may start threads of its own; the caller's thread pool does not exist in it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../core/status.h"

typedef struct GuardLimits {
    double cpu_seconds;   // of the child, all threads; 0: 20 s and 1 s for every 4 MB of the file
    double wall_seconds;  // 0: four times the CPU time and 30 s more
    size_t memory_bytes;  // of the child beyond what the caller has; 0: half of the machine's
    size_t results_bytes; // of the block; 0: half of the machine's
    bool in_process;      // no child: for fuzzers and debuggers only; damage may then end the program
} GuardLimits;

typedef struct GuardBlock {
    unsigned char *base; // NULL: none
    size_t mapped;       // bytes of address space
    size_t limit;        // bytes of results allowed
    size_t *used;        // [1] in the block: bytes given out
    size_t *end;         // [1] in the block: where free space begins
    void *result;        // set by the work: where the caller begins to read; NULL: the work returned no results
} GuardBlock;

typedef Status (*GuardWork)(void *context, GuardBlock *block);

// Runs the work. `path` is the file, for messages and for the default limits. The work's own errors come back as they
// are; a crash is STATUS_MALFORMED, running out of time or memory is STATUS_MALFORMED or STATUS_NO_MEMORY, a child
// ended by the user's interrupt is STATUS_CANCELLED. On failure there is no block.
MUST_USE Status guard_run(const char *path, GuardLimits limits, GuardWork work, void *context, GuardBlock *out_block);
double guard_seconds(const char *path, GuardLimits limits); // the processor time that the limits give
void guard_block_free(GuardBlock *block);                   // a zeroed one is fine

// Zeroed room in the block, aligned to 64 bytes; NULL when the limit is reached or the product overflows.
void *guard_take(GuardBlock *block, size_t count, size_t size);
#define GUARD_NEW(block, type, count) ((type *)guard_take((block), (count), sizeof(type)))
// Room of which only the first part will be used, once it is known how much: it costs address space only. Whoever
// fills it stays below guard_left and counts what was filled with guard_count.
void *guard_reserve(GuardBlock *block, size_t count, size_t size);
size_t guard_left(const GuardBlock *block); // bytes until the limit
void guard_count(GuardBlock *block, size_t bytes);
char *guard_text(GuardBlock *block, const char *text, size_t length);
// The Status for a failed request, naming the limit.
MUST_USE Status guard_exhausted(const GuardBlock *block, const char *path, size_t count, size_t size);

// Whether [pointer, pointer + bytes) lies in the block; whether `text` lies in it up to and with its '\0'.
bool guard_holds(const GuardBlock *block, const void *pointer, size_t count, size_t size);
// The addresses in which something that it holds may begin: low .. high - 1. For many pointers.
void guard_range(const GuardBlock *block, uintptr_t *out_low, uintptr_t *out_high);
bool guard_holds_text(const GuardBlock *block, const char *text);
