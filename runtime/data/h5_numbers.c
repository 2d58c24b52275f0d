// h5_numbers: see h5_numbers.h. A stretch is read in batches of chunks: the calling thread fetches their raw bytes
// (HDF5 is for one thread), then the pool decodes them straight into the caller's array where a chunk lies wholly in
// the stretch.
#include "h5_numbers.h"

#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "h5.h"
#include "lzf.h"

enum { BATCH_CHUNKS = 64, BATCH_BYTES = 8 << 20, PIECE_BYTES = 2 << 20, LZF = 32000 };

typedef struct RawChunk {
    unsigned char *bytes;
    size_t capacity, size;
    uint32_t mask;  // filters that were left out for this chunk
    uint64_t first; // number at its beginning
    unsigned char *scratch[2];
    bool failed;
} RawChunk;

typedef struct NumberWork {
    int descriptor;
    // The chunk in which the last stretch ended, decoded: the next stretch begins in it.
    unsigned char *kept;
    uint64_t kept_first;
    bool has_kept;
    RawChunk raw[BATCH_CHUNKS];
    struct libdeflate_decompressor *inflate[BATCH_CHUNKS];
} NumberWork;

static const size_t size_of[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};

bool numbers_are_real(NumberType type) {
    return type == NUMBER_F32 || type == NUMBER_F64;
}

// The type in memory; *out_plain if the file holds just that.
static Status classify(H5Numbers *n, hid_t type, bool *out_plain) {
    hid_t base = H5Tget_class(type) == H5T_ENUM ? H5Tget_super(type) : H5Tcopy(type);
    H5T_class_t type_class = H5Tget_class(base);
    size_t size = H5Tget_size(base);
    Status status = STATUS_OK;
    *out_plain = false;
    if (type_class == H5T_INTEGER || (type_class == H5T_BITFIELD && size == 1)) {
        bool is_signed = type_class == H5T_INTEGER && H5Tget_sign(base) == H5T_SGN_2;
        NumberType kind = size == 1 ? NUMBER_I8 : size == 2 ? NUMBER_I16 : size == 4 ? NUMBER_I32 : NUMBER_I64;
        n->type = is_signed ? kind : kind + 1;
        *out_plain = (size == 1 || size == 2 || size == 4 || size == 8) && H5Tget_precision(base) == size * 8 &&
                     (size == 1 || H5Tget_order(base) == H5T_ORDER_LE);
        n->memory_type = *out_plain ? H5Tcopy(type) : H5Tcopy(is_signed ? H5T_NATIVE_INT64 : H5T_NATIVE_UINT64);
        if (!*out_plain) n->type = is_signed ? NUMBER_I64 : NUMBER_U64;
    } else if (type_class == H5T_FLOAT) {
        bool f32 = H5Tequal(base, H5T_IEEE_F32LE) > 0, f64 = H5Tequal(base, H5T_IEEE_F64LE) > 0;
        n->type = f32 ? NUMBER_F32 : NUMBER_F64;
        *out_plain = f32 || f64;
        n->memory_type = H5Tcopy(f32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE);
    } else {
        status = foreign_error(n->f, n->dataset, "numbers are expected here");
    }
    n->size = size_of[n->type];
    h5_close(base);
    return status;
}

static void find_fast_way(H5Numbers *n, bool plain) {
    hid_t create = H5Dget_create_plist(n->dataset), of_file = H5Fget_create_plist(n->f->file);
    H5D_layout_t layout = create < 0 ? H5D_LAYOUT_ERROR : H5Pget_layout(create);
    hsize_t chunk = 0, userblock = 1;
    if (of_file < 0 || H5Pget_userblock(of_file, &userblock) < 0) userblock = 1;
    if (plain && layout == H5D_CONTIGUOUS && userblock == 0) {
        haddr_t at = H5Dget_offset(n->dataset);
        n->contiguous = at != HADDR_UNDEF && at < n->f->bytes && n->count * n->size <= n->f->bytes - at;
        n->offset = at;
    } else if (plain && layout == H5D_CHUNKED && H5Pget_chunk(create, 1, &chunk) == 1 && chunk > 0 &&
               chunk * n->size <= (size_t)64 << 20) {
        int filters = H5Pget_nfilters(create);
        n->chunked = filters >= 0 && filters <= 4;
        n->chunk = chunk;
        n->filters = filters;
        for (int i = 0; n->chunked && i < filters; i++) {
            unsigned flags = 0, config = 0;
            size_t values = 0;
            n->filter[i] = H5Pget_filter2(create, (unsigned)i, &flags, &values, NULL, 0, NULL, &config);
            n->chunked =
                n->filter[i] == H5Z_FILTER_DEFLATE || n->filter[i] == H5Z_FILTER_SHUFFLE || n->filter[i] == LZF;
        }
    }
    H5Eclear2(H5E_DEFAULT);
    h5_close(of_file);
    h5_close(create);
}

Status numbers_open(const ForeignFile *f, hid_t parent, const char *name, H5Numbers *out) {
    int rank = 0;
    hsize_t dims[4];
    bool plain = false;
    *out = (H5Numbers){.f = f, .dataset = -1, .memory_type = -1};
    TRY(foreign_dataset(f, parent, name, &out->dataset, &rank, dims));
    if (H5Iget_name(out->dataset, out->name, sizeof out->name) < 0) strncpy(out->name, name, sizeof out->name - 1);
    hid_t type = H5Dget_type(out->dataset);
    Status status = STATUS_OK;
    out->count = rank == 0 ? 1 : dims[0];
    if (rank > 2 || (rank == 2 && dims[1] != 1))
        status = foreign_error(f, out->dataset, "it has %d dimensions; one is expected", rank);
    if (status == STATUS_OK) status = classify(out, type, &plain);
    if (status == STATUS_OK && rank == 1) find_fast_way(out, plain);
    h5_close(type);
    if (status == STATUS_OK && !(out->work = calloc(1, sizeof *out->work)))
        status = arena_exhausted(1, sizeof *out->work);
    if (status == STATUS_OK) out->work->descriptor = -1;
    else numbers_close(out);
    return status;
}

void numbers_close(H5Numbers *n) {
    for (int i = 0; n->work && i < BATCH_CHUNKS; i++) {
        free(n->work->raw[i].bytes);
        free(n->work->raw[i].scratch[0]);
        free(n->work->raw[i].scratch[1]);
        if (n->work->inflate[i]) libdeflate_free_decompressor(n->work->inflate[i]);
    }
    if (n->work) free(n->work->kept);
    if (n->work && n->work->descriptor >= 0) close(n->work->descriptor);
    free(n->work);
    h5_close(n->memory_type);
    h5_close(n->dataset);
    *n = (H5Numbers){0};
}

// ---- Contiguous ---------------------------------------------------------------------------------

typedef struct PlainRead {
    int descriptor;
    uint64_t offset, bytes;
    unsigned char *out;
    _Atomic int error;
} PlainRead;

static void read_pieces(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    PlainRead *r = context;
    for (uint64_t at = (uint64_t)first * PIECE_BYTES; at < (uint64_t)last * PIECE_BYTES && at < r->bytes;) {
        size_t want = r->bytes - at < PIECE_BYTES ? (size_t)(r->bytes - at) : PIECE_BYTES;
        ssize_t got = pread(r->descriptor, r->out + at, want, (off_t)(r->offset + at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            r->error = got < 0 ? errno : ENODATA;
            return;
        }
        at += (uint64_t)got;
    }
}

static void run(Pool *pool, PoolTask task, void *context, int64_t parts) {
    if (pool) pool_run(pool, task, context, parts);
    else task(context, 0, 0, parts);
}

static Status read_contiguous(H5Numbers *n, Pool *pool, uint64_t first, uint64_t count, void *out) {
    if (n->work->descriptor < 0) n->work->descriptor = open(n->f->path, O_RDONLY | O_CLOEXEC);
    if (n->work->descriptor < 0) return status_errno(errno, "cannot open %s", n->f->path);
    PlainRead r = {n->work->descriptor, n->offset + first * n->size, count * n->size, out, 0};
    run(pool, read_pieces, &r, (int64_t)((r.bytes + PIECE_BYTES - 1) / PIECE_BYTES));
    if (r.error == 0) return STATUS_OK;
    if (r.error == ENODATA) return status_make(STATUS_MALFORMED, "%s: the file ends within '%s'", n->f->path, n->name);
    return status_errno(r.error, "cannot read '%s' of %s", n->name, n->f->path);
}

// ---- Chunks -------------------------------------------------------------------------------------

static void unshuffle(const unsigned char *in, size_t bytes, size_t size, unsigned char *out) {
    size_t n = bytes / size;
    if (size == 4) {
        const unsigned char *a = in, *b = in + n, *c = in + 2 * n, *d = in + 3 * n;
        for (size_t i = 0; i < n; i++) {
            uint32_t v = (uint32_t)a[i] | (uint32_t)b[i] << 8 | (uint32_t)c[i] << 16 | (uint32_t)d[i] << 24;
            memcpy(out + 4 * i, &v, 4);
        }
    } else {
        enum { BLOCK = 1024 }; // the part written stays in the first cache
        for (size_t from = 0; from < n; from += BLOCK) {
            size_t to = from + BLOCK < n ? from + BLOCK : n;
            for (size_t b = 0; b < size; b++)
                for (size_t i = from; i < to; i++) out[i * size + b] = in[b * n + i];
        }
    }
    memcpy(out + n * size, in + n * size, bytes - n * size);
}

typedef struct Decode {
    H5Numbers *n;
    uint64_t first, count;
    unsigned char *out;
    int chunks;
} Decode;

// Undoes the filters; the last step writes to `target` if given, else the result is where *out_result says.
static bool decode(H5Numbers *n, RawChunk *raw, struct libdeflate_decompressor **inflate, unsigned char *target,
                   const unsigned char **out_result) {
    size_t bytes = (size_t)n->chunk * n->size, size = raw->size;
    const unsigned char *now = raw->bytes;
    int steps = 0, step = 0;
    for (int i = 0; i < n->filters; i++) steps += !(raw->mask >> i & 1);
    for (int i = n->filters - 1; i >= 0; i--) {
        if (raw->mask >> i & 1) continue;
        unsigned char *to = ++step == steps && target ? target : raw->scratch[step & 1];
        if (!to) to = raw->scratch[step & 1] = malloc(bytes);
        if (!to) return false;
        if (n->filter[i] == H5Z_FILTER_DEFLATE) {
            if (!*inflate) *inflate = libdeflate_alloc_decompressor();
            size_t got = 0;
            if (!*inflate || libdeflate_zlib_decompress(*inflate, now, size, to, bytes, &got) != LIBDEFLATE_SUCCESS)
                return false;
            size = got;
        } else if (n->filter[i] == LZF) {
            size_t got = 0;
            if (!lzf_expand(now, size, to, bytes, &got)) return false;
            size = got;
        } else {
            if (size != bytes) return false;
            unshuffle(now, size, n->size, to);
        }
        now = to;
    }
    *out_result = now;
    return size == bytes;
}

static void decode_chunks(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Decode *d = context;
    H5Numbers *n = d->n;
    for (int64_t i = first; i < last; i++) {
        RawChunk *raw = &n->work->raw[i];
        if (raw->failed) continue;
        uint64_t end = raw->first + n->chunk, from = raw->first > d->first ? raw->first : d->first;
        uint64_t to = end < d->first + d->count ? end : d->first + d->count;
        bool whole = from == raw->first && to == end;
        unsigned char *out = d->out + (from - d->first) * n->size;
        const unsigned char *result = NULL;
        // The last chunk of the stretch, if it goes on, is decoded to where the next stretch finds it.
        unsigned char *target = whole ? out : to < end && n->work->kept ? n->work->kept : NULL;
        if (!decode(n, raw, &n->work->inflate[i], target, &result)) raw->failed = true;
        else if (result != out) memcpy(out, result + (from - raw->first) * n->size, (to - from) * n->size);
        if (!raw->failed && target && target == n->work->kept && result == target) {
            n->work->kept_first = raw->first;
            n->work->has_kept = true;
        }
    }
}

// The raw bytes of one chunk; *out_there false if the file does not hold it (its numbers are the fill value). HDF5
// 1.10 finds one chunk in logarithmic time only in these two calls; those that tell the address walk over all chunks.
// `straight`: an unfiltered chunk goes there, and raw->bytes stays as it is.
static Status fetch(H5Numbers *n, uint64_t number, RawChunk *raw, unsigned char *straight, bool *out_there) {
    hsize_t offset[1] = {number * n->chunk}, stored = 0;
    raw->first = offset[0];
    raw->failed = false;
    *out_there = false;
    if (H5Dget_chunk_storage_size(n->dataset, offset, &stored) < 0) { // also how it says that there is no such chunk
        H5Eclear2(H5E_DEFAULT);
        return STATUS_OK;
    }
    if (stored == 0) return STATUS_OK;
    if (stored > n->f->bytes)
        return status_make(STATUS_MALFORMED,
                           "%s: the chunk of '%s' at number %llu claims %llu bytes, more than the file "
                           "has",
                           n->f->path, n->name, (unsigned long long)offset[0], (unsigned long long)stored);
    if (straight && stored == n->chunk * n->size) {
        if (H5Dread_chunk(n->dataset, H5P_DEFAULT, offset, &raw->mask, straight) < 0)
            return h5_error(n->f->path, "reading a chunk of", n->name);
        *out_there = true;
        return STATUS_OK;
    }
    if (stored > raw->capacity) {
        free(raw->bytes);
        raw->bytes = malloc((size_t)stored);
        raw->capacity = raw->bytes ? (size_t)stored : 0;
        if (!raw->bytes) return arena_exhausted((size_t)stored, 1);
    }
    raw->size = (size_t)stored;
    if (H5Dread_chunk(n->dataset, H5P_DEFAULT, offset, &raw->mask, raw->bytes) < 0)
        return h5_error(n->f->path, "reading a chunk of", n->name);
    *out_there = true;
    return STATUS_OK;
}

static Status read_slowly(H5Numbers *n, uint64_t first, uint64_t count, void *out);

static Status read_chunks(H5Numbers *n, Pool *pool, uint64_t first, uint64_t count, void *out) {
    NumberWork *w = n->work;
    if (!w->kept && !(w->kept = malloc((size_t)n->chunk * n->size))) return arena_exhausted((size_t)n->chunk, n->size);
    if (w->has_kept && first >= w->kept_first && first - w->kept_first < n->chunk) {
        uint64_t have = w->kept_first + n->chunk - first;
        if (have > count) have = count;
        memcpy(out, w->kept + (first - w->kept_first) * n->size, (size_t)have * n->size);
        first += have;
        count -= have;
        out = (unsigned char *)out + have * n->size;
        if (count == 0) return STATUS_OK;
    }
    w->has_kept = false;
    uint64_t chunk = first / n->chunk, end = (first + count + n->chunk - 1) / n->chunk;
    while (chunk < end) {
        Decode d = {n, first, count, out, 0};
        size_t bytes = 0;
        while (chunk < end && d.chunks < BATCH_CHUNKS && bytes < BATCH_BYTES) {
            bool there = false;
            uint64_t begin = chunk * n->chunk;
            bool straight = n->filters == 0 && begin >= first && begin + n->chunk <= first + count;
            unsigned char *to = straight ? (unsigned char *)out + (begin - first) * n->size : NULL;
            TRY(fetch(n, chunk++, &n->work->raw[d.chunks], to, &there));
            if (!there) return read_slowly(n, first, count, out);
            if (straight) continue;
            bytes += n->work->raw[d.chunks++].size + n->chunk * n->size / 4;
        }
        run(pool, decode_chunks, &d, d.chunks);
        for (int i = 0; i < d.chunks; i++)
            if (n->work->raw[i].failed)
                return status_make(STATUS_MALFORMED,
                                   "%s: the chunk of '%s' at number %llu is damaged: its compressed "
                                   "bytes do not expand to %llu numbers; copy the file again",
                                   n->f->path, n->name, (unsigned long long)n->work->raw[i].first,
                                   (unsigned long long)n->chunk);
    }
    return STATUS_OK;
}

static Status read_slowly(H5Numbers *n, uint64_t first, uint64_t count, void *out) {
    hsize_t start[2] = {first, 0}, size[2] = {count, 1};
    hid_t space = H5Dget_space(n->dataset), memory = -1;
    int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    bool ok = rank >= 0;
    if (ok && rank > 0) ok = H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL) >= 0;
    if (ok) memory = H5Screate_simple(1, size, NULL);
    ok = ok && memory >= 0 && H5Dread(n->dataset, n->memory_type, memory, space, H5P_DEFAULT, out) >= 0;
    Status status = ok ? STATUS_OK : h5_error(n->f->path, "reading", n->name);
    h5_close(memory);
    h5_close(space);
    return status;
}

Status numbers_read(H5Numbers *n, Pool *pool, uint64_t first, uint64_t count, void *out) {
    if (first > n->count || count > n->count - first)
        return status_make(STATUS_MALFORMED, "%s: '%s' has %llu numbers; %llu from %llu on are needed", n->f->path,
                           n->name, (unsigned long long)n->count, (unsigned long long)count, (unsigned long long)first);
    if (count == 0) return STATUS_OK;
    if (n->contiguous) return read_contiguous(n, pool, first, count, out);
    if (n->chunked) return read_chunks(n, pool, first, count, out);
    return read_slowly(n, first, count, out);
}

// ---- Conversion ---------------------------------------------------------------------------------

#define EACH(c_type, expression)                                                                                       \
    do {                                                                                                               \
        const c_type *x = in;                                                                                          \
        for (size_t i = 0; i < count; i++) out[i] = (expression);                                                      \
    } while (0)

#define EVERY_TYPE(expression, real_expression)                                                                        \
    switch (type) {                                                                                                    \
    case NUMBER_I8: EACH(int8_t, expression); break;                                                                   \
    case NUMBER_U8: EACH(uint8_t, expression); break;                                                                  \
    case NUMBER_I16: EACH(int16_t, expression); break;                                                                 \
    case NUMBER_U16: EACH(uint16_t, expression); break;                                                                \
    case NUMBER_I32: EACH(int32_t, expression); break;                                                                 \
    case NUMBER_U32: EACH(uint32_t, expression); break;                                                                \
    case NUMBER_I64: EACH(int64_t, expression); break;                                                                 \
    case NUMBER_U64: EACH(uint64_t, expression); break;                                                                \
    case NUMBER_F32: EACH(float, real_expression); break;                                                              \
    case NUMBER_F64: EACH(double, real_expression); break;                                                             \
    }

static float narrow(double value) { // beyond f32 becomes infinite, without undefined behaviour
    if (value > 3.4028235677973366e38) return INFINITY;
    if (value < -3.4028235677973366e38) return -INFINITY;
    return (float)value;
}

static int64_t whole(double value) {
    return value >= -9.2e18 && value <= 9.2e18 ? (int64_t)value : INT64_MIN;
}

void numbers_to_f32(NumberType type, const void *in, size_t count, float *out) {
    EVERY_TYPE((float)x[i], narrow((double)x[i]))
}

void numbers_to_f64(NumberType type, const void *in, size_t count, double *out) {
    EVERY_TYPE((double)x[i], (double)x[i])
}

void numbers_to_i64(NumberType type, const void *in, size_t count, int64_t *out) {
    if (type == NUMBER_U64) {
        const uint64_t *x = in;
        for (size_t i = 0; i < count; i++) out[i] = x[i] <= INT64_MAX ? (int64_t)x[i] : INT64_MIN;
        return;
    }
    EVERY_TYPE((int64_t)x[i], whole((double)x[i]))
}

static Status load(const ForeignFile *f, hid_t parent, const char *name, bool real, void **out, size_t *out_count) {
    H5Numbers n;
    *out = NULL;
    *out_count = 0;
    TRY(numbers_open(f, parent, name, &n));
    Status status = STATUS_OK;
    void *raw = malloc((size_t)n.count * n.size + 1), *values = calloc((size_t)n.count + 1, 8);
    if (!raw || !values) status = arena_exhausted((size_t)n.count, 8 + n.size);
    if (status == STATUS_OK) status = numbers_read(&n, NULL, 0, n.count, raw);
    if (status == STATUS_OK && real) numbers_to_f64(n.type, raw, (size_t)n.count, values);
    if (status == STATUS_OK && !real) numbers_to_i64(n.type, raw, (size_t)n.count, values);
    if (status == STATUS_OK) *out_count = (size_t)n.count;
    free(raw);
    numbers_close(&n);
    if (status != STATUS_OK) free(values);
    else *out = values;
    return status;
}

Status numbers_load_f64(const ForeignFile *f, hid_t parent, const char *name, double **out, size_t *out_count) {
    void *values = NULL;
    Status status = load(f, parent, name, true, &values, out_count);
    *out = values;
    return status;
}

Status numbers_load_i64(const ForeignFile *f, hid_t parent, const char *name, int64_t **out, size_t *out_count) {
    void *values = NULL;
    Status status = load(f, parent, name, false, &values, out_count);
    *out = values;
    return status;
}
