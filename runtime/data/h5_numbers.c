// h5_numbers: see h5_numbers.h. Chunks that are shuffled and deflated, as nearly all are, are put together and
// converted in one pass over their byte planes.
#include "h5_numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "h5.h"

static const size_t size_of[] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};

size_t number_size(NumberType type) {
    return size_of[type];
}

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
    if (status == STATUS_OK && rank == 1 && plain) raw_describe(f, out->dataset, out->count, out->size, &out->raw);
    h5_close(type);
    if (status != STATUS_OK) numbers_close(out);
    return status;
}

void numbers_close(H5Numbers *n) {
    h5_close(n->memory_type);
    h5_close(n->dataset);
    *n = (H5Numbers){0};
}

void number_lane_free(NumberLane *lane) {
    raw_lane_free(&lane->raw);
    free(lane->values);
    *lane = (NumberLane){0};
}

static Status read_slowly(const H5Numbers *n, uint64_t first, uint64_t count, void *out) {
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

Status numbers_take(const H5Numbers *n, NumberLane *lane, uint64_t first, uint64_t count) {
    if (first > n->count || count > n->count - first)
        return status_make(STATUS_MALFORMED, "%s: '%s' has %llu numbers; %llu from %llu on are needed", n->f->path,
                           n->name, (unsigned long long)n->count, (unsigned long long)count, (unsigned long long)first);
    bool there = false;
    lane->first = first;
    lane->count = count;
    lane->slow = false;
    if (count == 0) return STATUS_OK;
    if (raw_possible(&n->raw)) TRY(raw_locate(&n->raw, &lane->raw, first, count, &there));
    if (there) return STATUS_OK;
    lane->slow = true;
    if (count * n->size > lane->room) {
        free(lane->values);
        lane->values = malloc((size_t)count * n->size);
        lane->room = lane->values ? (size_t)count * n->size : 0;
        if (!lane->values) return arena_exhausted((size_t)count, n->size);
    }
    return read_slowly(n, first, count, lane->values);
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

// ---- Byte planes --------------------------------------------------------------------------------

enum { AT_ONCE = 16 };

// Little-endian numbers of four bytes whose bytes stand in four planes.
static void join_planes(const unsigned char *const plane[4], size_t count, void *numbers) {
    unsigned char *out = numbers;
    size_t i = 0;
#if defined(__SSE2__)
    for (; i + AT_ONCE <= count; i += AT_ONCE) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(plane[0] + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(plane[1] + i));
        __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(plane[2] + i));
        __m128i d = _mm_loadu_si128((const __m128i *)(const void *)(plane[3] + i));
        __m128i ab = _mm_unpacklo_epi8(a, b), cd = _mm_unpacklo_epi8(c, d);
        __m128i *to = (__m128i *)(void *)(out + 4 * i);
        _mm_storeu_si128(to, _mm_unpacklo_epi16(ab, cd));
        _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(ab, cd));
        ab = _mm_unpackhi_epi8(a, b), cd = _mm_unpackhi_epi8(c, d);
        _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(ab, cd));
        _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(ab, cd));
    }
#endif
    for (; i < count; i++)
        for (size_t b = 0; b < 4; b++) out[4 * i + b] = plane[b][i];
}

// Where any of the four upper planes is not 0, the number is beyond int32.
static void mark_upper(const unsigned char *const plane[4], size_t count, int32_t *out) {
    for (size_t i = 0; i < count;) {
        size_t end = i + AT_ONCE < count ? i + AT_ONCE : count;
        unsigned any = 0;
        for (size_t p = 0; p < 4; p++) {
            uint64_t word[2] = {0, 0};
            memcpy(word, plane[p] + i, end - i);
            any |= (word[0] | word[1]) != 0;
        }
        for (size_t k = i; any && k < end; k++)
            if (plane[0][k] | plane[1][k] | plane[2][k] | plane[3][k]) out[k] = -1;
        i = end;
    }
}

static void find_planes(const RawPiece *p, size_t first, const unsigned char *plane[4]) {
    for (size_t i = 0; i < 4; i++) plane[i] = p->bytes + (first + i) * p->planes + p->skip;
}

typedef struct Giving {
    const H5Numbers *n;
    uint64_t first;
    void *out;
} Giving;

// In pieces, put together where the bytes are planes.
static void each_block(const Giving *g, const RawPiece *p,
                       void (*convert)(const Giving *g, const void *in, size_t count, size_t at)) {
    enum { BLOCK = 512 };
    unsigned char block[BLOCK * 8];
    size_t at = (size_t)(p->first - g->first);
    for (size_t i = 0; i < p->count; i += BLOCK) {
        size_t count = p->count - i < BLOCK ? p->count - i : BLOCK;
        const unsigned char *in = p->bytes + (p->skip + i) * g->n->size;
        if (p->planes) {
            raw_unshuffle(p->bytes, p->planes, g->n->size, p->skip + i, count, block);
            in = block;
        }
        convert(g, in, count, at + i);
    }
}

static void block_to_index(const Giving *g, const void *in, size_t count, size_t at) {
    int64_t wide[512];
    int32_t *out = (int32_t *)g->out + at;
    numbers_to_i64(g->n->type, in, count, wide);
    for (size_t i = 0; i < count; i++) out[i] = wide[i] >= 0 && wide[i] <= INT32_MAX ? (int32_t)wide[i] : -1;
}

static void block_to_f32(const Giving *g, const void *in, size_t count, size_t at) {
    numbers_to_f32(g->n->type, in, count, (float *)g->out + at);
}

static void take_index(void *context, const RawPiece *p) {
    const Giving *g = context;
    int32_t *out = (int32_t *)g->out + (p->first - g->first);
    bool four = g->n->type == NUMBER_I32 || g->n->type == NUMBER_U32;
    bool eight = g->n->type == NUMBER_I64 || g->n->type == NUMBER_U64;
    if (p->planes && (four || eight)) {
        const unsigned char *plane[4];
        find_planes(p, 0, plane);
        join_planes(plane, p->count, out);
        if (!eight) return;
        find_planes(p, 4, plane);
        mark_upper(plane, p->count, out);
    } else if (!p->planes && four) {
        const unsigned char *in = p->bytes + p->skip * 4;
        if ((const void *)in != (const void *)out) memcpy(out, in, p->count * 4);
    } else {
        each_block(g, p, block_to_index);
    }
}

static void take_f32(void *context, const RawPiece *p) {
    const Giving *g = context;
    float *out = (float *)g->out + (p->first - g->first);
    if (p->planes && (g->n->type == NUMBER_F32 || g->n->type == NUMBER_I32)) {
        const unsigned char *plane[4];
        find_planes(p, 0, plane);
        if (g->n->type == NUMBER_F32) {
            join_planes(plane, p->count, out);
            return;
        }
        int32_t block[512];
        for (size_t i = 0; i < p->count; i += 512) {
            size_t count = p->count - i < 512 ? p->count - i : 512;
            join_planes(plane, count, block);
            numbers_to_f32(NUMBER_I32, block, count, out + i);
            for (size_t b = 0; b < 4; b++) plane[b] += count;
        }
    } else if (!p->planes && g->n->type == NUMBER_F32) {
        const unsigned char *in = p->bytes + p->skip * 4;
        if ((const void *)in != (const void *)out) memcpy(out, in, p->count * 4);
    } else {
        each_block(g, p, block_to_f32);
    }
}

static Status give(const H5Numbers *n, NumberLane *lane, bool same, RawTake take, void *out) {
    Giving g = {n, lane->first, out};
    if (lane->count == 0) return STATUS_OK;
    if (!lane->slow) return raw_read(&n->raw, &lane->raw, same ? out : NULL, take, &g);
    take(&g, &(RawPiece){lane->first, (size_t)lane->count, 0, 0, lane->values});
    return STATUS_OK;
}

Status numbers_give_index(const H5Numbers *n, NumberLane *lane, int32_t *out) {
    bool same = (n->type == NUMBER_I32 || n->type == NUMBER_U32) && !n->raw.shuffled;
    return give(n, lane, same, take_index, out);
}

Status numbers_give_f32(const H5Numbers *n, NumberLane *lane, float *out) {
    return give(n, lane, n->type == NUMBER_F32 && !n->raw.shuffled, take_f32, out);
}

Status numbers_give(const H5Numbers *n, NumberLane *lane, void *out) {
    if (lane->count == 0) return STATUS_OK;
    if (!lane->slow) return raw_read(&n->raw, &lane->raw, out, NULL, NULL);
    memcpy(out, lane->values, (size_t)lane->count * n->size);
    return STATUS_OK;
}

// ---- Whole datasets -----------------------------------------------------------------------------

static Status load(const ForeignFile *f, hid_t parent, const char *name, bool real, void **out, size_t *out_count) {
    H5Numbers n;
    NumberLane lane = {0};
    *out = NULL;
    *out_count = 0;
    TRY(numbers_open(f, parent, name, &n));
    Status status = STATUS_OK;
    void *raw = malloc((size_t)n.count * n.size + 1), *values = calloc((size_t)n.count + 1, 8);
    if (!raw || !values) status = arena_exhausted((size_t)n.count, 8 + n.size);
    if (status == STATUS_OK) status = numbers_take(&n, &lane, 0, n.count);
    if (status == STATUS_OK) status = numbers_give(&n, &lane, raw);
    if (status == STATUS_OK && real) numbers_to_f64(n.type, raw, (size_t)n.count, values);
    if (status == STATUS_OK && !real) numbers_to_i64(n.type, raw, (size_t)n.count, values);
    if (status == STATUS_OK) *out_count = (size_t)n.count;
    free(raw);
    number_lane_free(&lane);
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
