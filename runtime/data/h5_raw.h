// h5_raw: the bytes of one-dimensional datasets without H5Dread, for several threads: a stretch of elements is located
// first (HDF5 is asked, so by one thread at a time), then read and decoded by any thread with pread and libdeflate.
// What this does not know (other filters, other layouts, chunks that are not there) is left to the caller and
// H5Dread. Internal to runtime/data.
#pragma once

#include "h5_foreign.h"

enum { LARGEST_CHUNK = 64 << 20 }; // bytes

typedef struct H5Raw {
    const ForeignFile *f;
    char name[FOREIGN_NAME]; // for messages
    hid_t dataset;           // not owned
    uint64_t count;
    size_t size;     // bytes of an element as stored
    bool contiguous; // one of these two, or neither: not for this way
    bool chunked;
    uint64_t offset; // contiguous: of the values in the file
    uint64_t chunk;  // chunked: elements in a chunk
    int filters;
    int filter[4];
    bool shuffled;        // the first filter: planes of first bytes, second bytes, ...
    const H5Place *known; // chunked: where each chunk stands; NULL: HDF5 says
} H5Raw;

// What one thread works with. A zeroed one is ready.
typedef struct RawLane {
    H5Place *place; // of the chunks located
    size_t places, capacity;
    uint64_t first, count; // the stretch
    unsigned char *bytes, *scratch[2];
    size_t room, scratch_room;
    struct libdeflate_decompressor *inflate;
} RawLane;

// `dataset`: one-dimensional, `count` elements of `size` bytes. Sees whether the fast way applies.
void raw_describe(const ForeignFile *f, hid_t dataset, uint64_t count, size_t size, H5Raw *out);
static inline bool raw_possible(const H5Raw *r) {
    return r->contiguous || r->chunked;
}

// Only one thread at a time. *out_there false: a chunk is not in the file (its elements have the fill value).
MUST_USE Status raw_locate(const H5Raw *r, RawLane *lane, uint64_t first, uint64_t count, bool *out_there);

// Takes pieces of the stretch: elements first .. first + count - 1 stand at `bytes` + `skip` elements; `planes` 0, or
// the number of elements whose planes follow one another there.
typedef struct RawPiece {
    uint64_t first;
    size_t count, skip, planes;
    const unsigned char *bytes;
} RawPiece;
typedef void (*RawTake)(void *context, const RawPiece *piece);

// Reads and decodes what was located. `straight`: where elements may be put as they are stored (then `take` sees them
// there, in order), or NULL.
MUST_USE Status raw_read(const H5Raw *r, RawLane *lane, unsigned char *straight, RawTake take, void *context);
void raw_lane_free(RawLane *lane);

// planes -> elements
void raw_unshuffle(const unsigned char *in, size_t elements, size_t size, size_t first, size_t count,
                   unsigned char *out);
