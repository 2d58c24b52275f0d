// h5_sparse: see h5_sparse.h. The unit of work is a stretch of entries that begins and ends with chunks of the file,
// wherever rows (columns, if stored so) begin and end. A thread takes the next unit, has HDF5 say where its bytes are,
// decodes them, checks and sifts them, and learns where its entries go when the units before it know how many they
// keep: so the result is the same for any number of threads, and what is passed over never leaves the cache.
#include "h5_sparse.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/clock.h"
#include "../core/files.h"
#include "h5.h"
#include "h5_numbers.h"
#include "spread.h"

enum { UNIT = 1 << 16 };

typedef struct Lane { // what one thread has of its own
    NumberLane index, value;
    int32_t *column;      // [unit]
    float *number;        // [unit]
    uint64_t first, last; // entries of the unit
    size_t major, end;    // majors that end in it
    int64_t kept;
    bool unsorted, goes_on;  // the first major began in the unit before
    int32_t lowest, highest; // first and last index
    size_t bad;              // major with an index out of range, or SIZE_MAX
} Lane;

typedef struct Sieve {
    const char *path;
    GuardBlock *block; // that the result stands in; NULL: it has memory of its own
    Pool *pool;        // or NULL
    int64_t deadline;  // clock_ns() when it takes too long; 0: somebody else watches
    double seconds;    // that it may take, for the message
    H5Numbers index, value;
    int64_t *start; // [majors + 1]
    size_t majors, minors;
    const int32_t *choice;       // of minors, or NULL
    uint8_t *wanted;             // [minors] whether it is chosen; NULL: most are
    const int32_t *major_choice; // of majors, or NULL: those below 0 are passed over
    uint8_t *needed;             // [units] whether a major of it is chosen; NULL: all
    Matrix *out;                 // a row for every major
    size_t room;                 // entries that fit there
    uint64_t unit, units, entries;
    Lane *lane;                  // [lanes]
    int lanes;                   // a thread of the pool each
    pthread_mutex_t door, queue; // of HDF5 and the next unit; of what follows
    pthread_cond_t turn;
    uint64_t next, placed;
    _Atomic bool stop;
    Status status; // the first failure in the order of the units
    int64_t at;    // entries of the units placed
    int32_t last;  // index at the end of the unit placed last
    bool unsorted;
} Sieve;

// Whether all indices of a run lie in 0 .. minors - 1; *unsorted when they do not ascend. Signs are gathered instead of
// compared, in blocks of a fixed length, so that compilers use vector instructions.
static bool check_run(const int32_t *index, size_t count, size_t minors, bool *unsorted) {
    enum { BLOCK = 64 };
    const uint32_t top = (uint32_t)minors - 1;
    uint32_t outside = 0, falls = 0;
    size_t i = 0;
    for (; i + BLOCK < count; i += BLOCK)
        for (size_t j = 0; j < BLOCK; j++) {
            uint32_t c = (uint32_t)index[i + j];
            outside |= c | (top - c);
            falls |= (uint32_t)index[i + j + 1] - c - 1;
        }
    for (; i < count; i++) {
        uint32_t c = (uint32_t)index[i];
        outside |= c | (top - c);
        if (i + 1 < count) falls |= (uint32_t)index[i + 1] - c - 1;
    }
    *unsorted |= falls >> 31;
    return outside >> 31 == 0;
}

// Whether any number of a run is 0, again by signs.
static bool has_zero(const float *number, size_t count) {
    enum { BLOCK = 64 };
    uint32_t zero = 0, bits[BLOCK];
    size_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK) {
        memcpy(bits, number + i, sizeof bits);
        for (size_t j = 0; j < BLOCK; j++) {
            uint32_t magnitude = bits[j] << 1;
            zero |= (magnitude - 1) & ~magnitude;
        }
    }
    for (; i < count; i++) zero |= number[i] == 0 ? 0x80000000u : 0;
    return zero >> 31;
}

// Moves what is kept of `count` entries from `from` on to the place `at`, which is not behind it; returns the end.
static int64_t sift_run(const Sieve *s, Lane *l, int64_t from, size_t count, int64_t at) {
    enum { BLOCK = 1024 };
    const int32_t *choice = s->choice, *column = l->column + from;
    const float *number = l->number + from;
    if (s->wanted) { // most are passed over: their values are not even looked at
        uint16_t chosen[BLOCK];
        for (size_t first = 0; first < count; first += BLOCK) {
            size_t n = 0, end = count - first < BLOCK ? count - first : BLOCK;
            for (size_t i = 0; i < end; i++) {
                chosen[n] = (uint16_t)i;
                n += s->wanted[column[first + i]];
            }
            for (size_t k = 0; k < n; k++) {
                size_t i = first + chosen[k];
                int32_t place = choice[column[i]];
                float value = number[i];
                l->column[at] = place;
                l->number[at] = value;
                at += value != 0;
            }
        }
        return at;
    }
    if (!choice && !has_zero(number, count)) {
        if (at != from) {
            memmove(l->column + at, column, count * sizeof *column);
            memmove(l->number + at, number, count * sizeof *number);
        }
        return at + (int64_t)count;
    }
    for (size_t i = 0; i < count; i++) {
        int32_t place = choice ? choice[column[i]] : column[i];
        float value = number[i];
        l->column[at] = place;
        l->number[at] = value;
        at += (value != 0) & (place >= 0);
    }
    return at;
}

// Checks the unit's entries and moves those that are kept to the front. Majors that end in it get their ends, counted
// from the front of the unit.
static void sift_unit(const Sieve *s, Lane *l) {
    int64_t at = 0;
    uint64_t from = l->first;
    size_t low = 0, high = s->majors; // the first major that ends behind the unit's beginning
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uint64_t)s->start[middle + 1] <= l->first) low = middle + 1;
        else high = middle;
    }
    l->major = low;
    l->goes_on = false;
    l->bad = SIZE_MAX;
    l->unsorted = false;
    bool skipped = s->needed && !s->needed[l->first / s->unit];
    for (; low < s->majors; low++) {
        uint64_t stop = (uint64_t)s->start[low + 1] < l->last ? (uint64_t)s->start[low + 1] : l->last;
        if (from < stop && !skipped && !(s->major_choice && s->major_choice[low] < 0)) {
            int64_t run = (int64_t)(from - l->first);
            size_t count = (size_t)(stop - from);
            if (!check_run(l->column + run, count, s->minors, &l->unsorted)) {
                l->bad = low;
                break;
            }
            if (run == 0) {
                l->goes_on = (uint64_t)s->start[low] < l->first;
                l->lowest = l->column[0];
            }
            l->highest = l->column[run + (int64_t)count - 1];
            at = sift_run(s, l, run, count, at);
        }
        from = stop;
        if ((uint64_t)s->start[low + 1] > l->last) break;
        s->out->start[low + 1] = at;
    }
    l->end = low;
    l->kept = at;
}

static Status load_unit(const Sieve *s, Lane *l) {
    TRY(numbers_give_index(&s->index, &l->index, l->column));
    return numbers_give_f32(&s->value, &l->value, l->number);
}

// In the order of the units: where this one's entries go, or that all is over. *status is taken.
static bool take_place(Sieve *s, Lane *l, uint64_t unit, Status status, int64_t *out_at) {
    pthread_mutex_lock(&s->queue);
    while (s->placed != unit) pthread_cond_wait(&s->turn, &s->queue);
    if (status == STATUS_OK && !s->stop) {
        if (l->bad != SIZE_MAX)
            status = status_make(STATUS_MALFORMED, "%s: '%s': run %zu holds an index outside 0 .. %zu", s->path,
                                 s->index.name, l->bad, s->minors - 1);
        else if ((uint64_t)(s->at + l->kept) > s->room)
            status = s->block ? guard_exhausted(s->block, s->path, (size_t)s->entries, 8)
                              : status_make(STATUS_NO_MEMORY,
                                            "%s: %.1f MB are needed for %llu elements and %.1f MB are left; choose "
                                            "fewer genes, or raise the memory limit",
                                            s->path, (double)s->entries * 8e-6, (unsigned long long)s->entries,
                                            (double)s->room * 8e-6);
        else if (s->deadline && clock_ns() > s->deadline)
            status = status_make(STATUS_MALFORMED,
                                 "%s: reading it was stopped after %.0f s; the file is damaged, or made to do this; "
                                 "copy or download it again",
                                 s->path, s->seconds);
    }
    if (s->stop) status_drop(status);
    else if (status != STATUS_OK) {
        s->status = status;
        s->stop = true;
    } else {
        s->unsorted = s->unsorted || l->unsorted || (l->goes_on && l->lowest <= s->last);
        s->last = l->highest;
        *out_at = s->at;
        s->at += l->kept;
    }
    bool go = !s->stop;
    s->placed++;
    pthread_cond_broadcast(&s->turn);
    pthread_mutex_unlock(&s->queue);
    return go;
}

static void sift_units(void *context, int thread, int64_t first, int64_t last) {
    Sieve *s = context;
    Lane *l = &s->lane[thread];
    (void)first, (void)last; // whoever comes takes units until there are none
    for (;;) {
        int64_t at = 0;
        pthread_mutex_lock(&s->door);
        uint64_t unit = s->next;
        bool more = unit < s->units && !s->stop;
        Status status = STATUS_OK;
        if (more) {
            s->next++;
            l->first = unit * s->unit;
            l->last = l->first + s->unit < s->entries ? l->first + s->unit : s->entries;
            if (!s->needed || s->needed[unit]) {
                status = numbers_take(&s->index, &l->index, l->first, l->last - l->first);
                if (status == STATUS_OK) status = numbers_take(&s->value, &l->value, l->first, l->last - l->first);
            }
        }
        pthread_mutex_unlock(&s->door);
        if (!more) return;
        if (status == STATUS_OK && (!s->needed || s->needed[unit])) status = load_unit(s, l);
        if (status == STATUS_OK) sift_unit(s, l);
        if (!take_place(s, l, unit, status, &at)) return;
        for (size_t m = l->major; m < l->end; m++) s->out->start[m + 1] += at;
        memcpy(s->out->column + at, l->column, (size_t)l->kept * sizeof *l->column);
        memcpy(s->out->value + at, l->number, (size_t)l->kept * sizeof *l->number);
    }
}

static void run(Pool *pool, PoolTask task, void *context, int64_t parts) {
    if (pool) pool_run(pool, task, context, parts);
    else task(context, 0, 0, parts);
}

// A whole number of chunks, of about UNIT entries.
static uint64_t unit_of(const Sieve *s) {
    uint64_t a = s->index.raw.chunk, b = s->value.raw.chunk, chunk = a > b ? a : b;
    if (chunk == 0) return UNIT;
    return chunk >= UNIT ? chunk : UNIT / chunk * chunk;
}

// The matrix into s->out, a row for every major, `room` entries at most.
static Status sift(Sieve *s, size_t room) {
    int threads = s->pool ? pool_threads(s->pool) : 1;
    Status status = STATUS_OK;
    s->room = room;
    s->entries = (uint64_t)s->start[s->majors];
    s->unit = unit_of(s);
    s->units = s->entries / s->unit + (s->entries % s->unit != 0);
    if (s->units == 0) return STATUS_OK;
    s->lane = calloc((size_t)threads, sizeof *s->lane);
    s->lanes = s->lane ? threads : 0;
    if (s->major_choice) {
        s->needed = calloc((size_t)s->units, 1);
        for (size_t m = 0; s->needed && m < s->majors; m++)
            if (s->major_choice[m] >= 0 && s->start[m + 1] > s->start[m])
                for (uint64_t u = (uint64_t)s->start[m] / s->unit; u <= ((uint64_t)s->start[m + 1] - 1) / s->unit; u++)
                    s->needed[u] = 1;
    }
    if (!s->lane || (s->major_choice && !s->needed)) return arena_exhausted((size_t)s->units, 1);
    size_t longest = (size_t)(s->unit < s->entries ? s->unit : s->entries);
    for (int i = 0; i < s->lanes && status == STATUS_OK; i++) {
        s->lane[i].column = malloc((longest + 1) * sizeof *s->lane[i].column);
        s->lane[i].number = malloc((longest + 1) * sizeof *s->lane[i].number);
        if (!s->lane[i].column || !s->lane[i].number) status = arena_exhausted(longest, 8);
    }
    TRY(status);
    pthread_mutex_init(&s->door, NULL);
    pthread_mutex_init(&s->queue, NULL);
    pthread_cond_init(&s->turn, NULL);
    if (s->units > 1) run(s->pool, sift_units, s, (uint64_t)threads < s->units ? threads : (int64_t)s->units);
    else sift_units(s, 0, 0, 1);
    pthread_cond_destroy(&s->turn);
    pthread_mutex_destroy(&s->queue);
    pthread_mutex_destroy(&s->door);
    return s->status;
}

static void sieve_free(Sieve *s) {
    for (int i = 0; i < s->lanes; i++) {
        free(s->lane[i].column);
        free(s->lane[i].number);
        number_lane_free(&s->lane[i].index);
        number_lane_free(&s->lane[i].value);
    }
    free(s->start);
    free(s->wanted);
    free(s->needed);
    free(s->lane);
    numbers_close(&s->index);
    numbers_close(&s->value);
}

// ---- The parts of the group ---------------------------------------------------------------------

static Status open_parts(const MatrixReader *r, hid_t group, const char *name, Sieve *s) {
    const ForeignFile *f = r->f;
    size_t starts = 0;
    TRY(numbers_load_i64(f, group, "indptr", &s->start, &starts));
    if (starts != s->majors + 1)
        return foreign_error(f, group, "indptr has %zu entries; %zu rows or columns need %zu", starts, s->majors,
                             s->majors + 1);
    if (s->start[0] != 0) return foreign_error(f, group, "indptr begins with %lld, not 0", (long long)s->start[0]);
    for (size_t m = 0; m < s->majors; m++)
        if (s->start[m + 1] < s->start[m] || s->start[m + 1] - s->start[m] > (int64_t)s->minors)
            return foreign_error(f, group,
                                 "indptr goes from %lld to %lld at entry %zu, where a run has at most %zu "
                                 "entries",
                                 (long long)s->start[m], (long long)s->start[m + 1], m + 1, s->minors);
    TRY(numbers_open(f, group, "indices", &s->index));
    TRY(numbers_open(f, group, "data", &s->value));
    uint64_t nnz = (uint64_t)s->start[s->majors];
    if (s->index.count != nnz || s->value.count != nnz)
        return foreign_error(f, group, "indptr of %s ends at %llu, but there are %llu indices and %llu values", name,
                             (unsigned long long)nnz, (unsigned long long)s->index.count,
                             (unsigned long long)s->value.count);
    if (numbers_are_real(s->index.type)) return foreign_error(f, group, "indices are not whole numbers");
    return STATUS_OK;
}

// ---- Compressed rows and columns ----------------------------------------------------------------

static Status choose_columns(Sieve *s, const int32_t *number, size_t columns) {
    s->choice = number;
    if (!number || columns >= s->minors / 4) return STATUS_OK;
    s->wanted = malloc(s->minors + 1);
    if (!s->wanted) return arena_exhausted(s->minors, 1);
    for (size_t c = 0; c < s->minors; c++) s->wanted[c] = number[c] >= 0;
    return STATUS_OK;
}

static Status read_rows(const MatrixReader *r, Sieve *s, const ColumnChoice *choice, size_t columns, Matrix *out) {
    size_t room = 0;
    TRY(matrix_reserve(r, s->majors, columns, (uint64_t)s->start[s->majors], out, &room));
    s->out = out;
    TRY(choose_columns(s, choice ? choice->number : NULL, columns));
    return sift(s, room);
}

// Entries of the columns wanted, by column in `turned` (malloc), then turned into rows in the block.
static Status read_columns(const MatrixReader *r, Sieve *s, const ColumnChoice *choice, size_t columns, Matrix *out) {
    Matrix turned = {0};
    int64_t most = 0;
    for (size_t c = 0; c < s->majors; c++)
        if (!choice || choice->number[c] >= 0) most += s->start[c + 1] - s->start[c];
    if ((uint64_t)most > guard_left(r->block) / 8) return guard_exhausted(r->block, r->f->path, (size_t)most, 8);
    TRY(matrix_create(s->majors, s->minors, most, &turned));
    Status status = STATUS_OK;
    s->out = &turned;
    s->major_choice = choice ? choice->number : NULL;
    TRY_OR(status, done, sift(s, (size_t)most));
    size_t room = 0;
    TRY_OR(status, done, matrix_reserve(r, s->minors, columns, (uint64_t)matrix_nnz(&turned), out, &room));
    int64_t nnz = matrix_nnz(&turned);
    for (int64_t e = 0; e < nnz; e++) out->start[turned.column[e] + 1]++;
    for (size_t i = 0; i < out->rows; i++) out->start[i + 1] += out->start[i];
    for (size_t c = 0; c < s->majors; c++)
        for (int64_t e = turned.start[c]; e < turned.start[c + 1]; e++) {
            int64_t at = out->start[turned.column[e]]++;
            out->column[at] = choice ? choice->number[c] : (int32_t)c;
            out->value[at] = turned.value[e];
        }
    memmove(out->start + 1, out->start, out->rows * sizeof *out->start);
    out->start[0] = 0;
done:
    matrix_free(&turned);
    return status;
}

// ---- Decoding left to the caller's process ------------------------------------------------------

typedef struct NumbersPlan {
    NumberType type;
    uint64_t count;
    H5Raw raw; // without its pointers and ids
    H5Place *place;
    size_t places;
} NumbersPlan;

struct MatrixPlan {
    size_t rows, columns, kept; // columns of the file and of the result
    int64_t *start;             // [rows + 1]
    int32_t *choice;            // [columns], or NULL
    bool ascending;
    uint64_t room; // entries that the limit allows
    NumbersPlan index, value;
};

// *out_done false: a chunk is not in the file, or HDF5 must read.
static Status plan_numbers(const MatrixReader *r, const H5Numbers *n, NumbersPlan *out, bool *out_done) {
    *out = (NumbersPlan){.type = n->type, .count = n->count, .raw = n->raw};
    out->raw.f = NULL;
    out->raw.dataset = -1;
    *out_done = raw_possible(&n->raw);
    if (!n->raw.chunked || n->count == 0) return STATUS_OK;
    RawLane lane = {0};
    Status status = raw_locate(&n->raw, &lane, 0, n->count, out_done);
    if (status == STATUS_OK && *out_done) {
        out->places = lane.places;
        out->place = guard_take(r->block, lane.places, sizeof *lane.place);
        if (out->place) memcpy(out->place, lane.place, lane.places * sizeof *lane.place);
        else status = guard_exhausted(r->block, r->f->path, lane.places, sizeof *lane.place);
    }
    raw_lane_free(&lane);
    return status;
}

static Status plan_rows(const MatrixReader *r, const Sieve *s, const ColumnChoice *choice, size_t columns, Matrix *out,
                        bool *out_done) {
    MatrixPlan *plan = GUARD_NEW(r->block, MatrixPlan, 1);
    if (!plan) return guard_exhausted(r->block, r->f->path, 1, sizeof *plan);
    *out = (Matrix){.rows = s->majors, .columns = columns};
    *plan = (MatrixPlan){.rows = s->majors, .columns = s->minors, .kept = columns};
    plan->ascending = !choice || choice->ascending;
    TRY(plan_numbers(r, &s->index, &plan->index, out_done));
    if (*out_done) TRY(plan_numbers(r, &s->value, &plan->value, out_done));
    if (!*out_done) return STATUS_OK;
    plan->start = guard_take(r->block, s->majors + 1, sizeof *plan->start);
    if (!plan->start) return guard_exhausted(r->block, r->f->path, s->majors, sizeof *plan->start);
    memcpy(plan->start, s->start, (s->majors + 1) * sizeof *plan->start);
    if (choice) {
        plan->choice = guard_take(r->block, s->minors + 1, sizeof *plan->choice);
        if (!plan->choice) return guard_exhausted(r->block, r->f->path, s->minors, sizeof *plan->choice);
        memcpy(plan->choice, choice->number, s->minors * sizeof *plan->choice);
    }
    plan->room = guard_left(r->block) / 8; // of a choice it is not known yet what is kept
    uint64_t entries = (uint64_t)s->start[s->majors];
    if (!choice && entries > plan->room) return guard_exhausted(r->block, r->f->path, (size_t)entries, 8);
    if (!choice) guard_count(r->block, (size_t)entries * 8);
    out->pending = plan;
    return STATUS_OK;
}

// A child that went astray may have left anything in its plan.
static bool sound_numbers(const GuardBlock *b, const NumbersPlan *p, uint64_t count, uint64_t bytes) {
    const H5Raw *r = &p->raw;
    if ((unsigned)p->type > NUMBER_F64 || p->count != count || r->count != count || r->contiguous == r->chunked)
        return false;
    if (r->size != number_size(p->type) || !memchr(r->name, 0, sizeof r->name)) return false;
    if (r->contiguous) return r->offset <= bytes && count <= (bytes - r->offset) / r->size;
    if (r->chunk == 0 || r->chunk > LARGEST_CHUNK / r->size || r->filters < 0 || r->filters > 4) return false;
    if (p->places != count / r->chunk + (count % r->chunk != 0)) return false;
    if (p->places && !guard_holds(b, p->place, p->places, sizeof *p->place)) return false;
    for (size_t i = 0; i < p->places; i++)
        if (p->place[i].bytes > bytes || p->place[i].offset > bytes - p->place[i].bytes) return false;
    return true;
}

static bool sound_plan(const GuardBlock *b, const MatrixPlan *p, const Matrix *m, uint64_t bytes) {
    if (!guard_holds(b, p, 1, sizeof *p) || p->rows != m->rows || p->kept != m->columns) return false;
    if (p->rows > INT32_MAX || p->columns > INT32_MAX || p->kept > INT32_MAX) return false;
    if (!p->choice && p->kept != p->columns) return false;
    if (!guard_holds(b, p->start, p->rows + 1, sizeof *p->start) || p->start[0] != 0) return false;
    if (p->choice && !guard_holds(b, p->choice, p->columns, sizeof *p->choice)) return false;
    for (size_t i = 0; i < p->rows; i++)
        if (p->start[i + 1] < p->start[i] || p->start[i + 1] - p->start[i] > (int64_t)p->columns) return false;
    for (size_t c = 0; p->choice && c < p->columns; c++)
        if (p->choice[c] < -1 || p->choice[c] >= (int64_t)p->kept) return false;
    uint64_t count = (uint64_t)p->start[p->rows];
    return !numbers_are_real(p->index.type) && sound_numbers(b, &p->index, count, bytes) &&
           sound_numbers(b, &p->value, count, bytes);
}

static H5Numbers numbers_of(const NumbersPlan *p, const ForeignFile *f) {
    H5Numbers n = {.f = f, .dataset = -1, .memory_type = -1, .count = p->count, .type = p->type, .raw = p->raw};
    n.size = p->raw.size;
    n.raw.f = f;
    n.raw.known = p->place;
    memcpy(n.name, p->raw.name, sizeof n.name);
    return n;
}

// As many as are kept; the limit's part of address space is given back.
static void trim(Matrix *m) {
    size_t kept = (size_t)matrix_nnz(m) + 1;
    int32_t *column = realloc(m->column, kept * sizeof *column);
    if (column) m->column = column;
    float *value = realloc(m->value, kept * sizeof *value);
    if (value) m->value = value;
}

Status matrix_finish(const char *path, const GuardBlock *block, double seconds, int threads, Matrix *m,
                     size_t *out_repeats) {
    const MatrixPlan *plan = m->pending;
    ForeignFile f = {.path = path, .file = -1, .driver = {-1, NULL}};
    *out_repeats = 0;
    if (!plan) return STATUS_OK;
    m->pending = NULL;
    TRY(file_size(path, &f.bytes));
    if (!sound_plan(block, plan, m, f.bytes))
        return status_make(STATUS_MALFORMED, "%s: reading it went astray; copy or download it again", path);
    f.descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (f.descriptor < 0) return status_errno(errno, "cannot open %s", path);
    uint64_t entries = (uint64_t)plan->start[plan->rows], room = entries < plan->room ? entries : plan->room;
    Sieve s = {.path = path,
               .seconds = seconds,
               .deadline = clock_ns() + (int64_t)(seconds * 1e9),
               .majors = plan->rows,
               .minors = plan->columns,
               .index = numbers_of(&plan->index, &f),
               .value = numbers_of(&plan->value, &f),
               .out = m};
    Status status = STATUS_OK;
    s.start = plan->start;
    m->start = calloc(plan->rows + 1, sizeof *m->start);
    m->column = spread_scratch((size_t)(room + 1) * sizeof *m->column);
    m->value = spread_scratch((size_t)(room + 1) * sizeof *m->value);
    if (!m->start || !m->column || !m->value) status = arena_exhausted((size_t)room, 8);
    if (status == STATUS_OK && threads > 1 && entries > UNIT) status = pool_new(threads, &s.pool);
    if (status == STATUS_OK) status = choose_columns(&s, plan->choice, plan->kept);
    if (status == STATUS_OK) status = sift(&s, (size_t)room);
    if (status == STATUS_OK && (s.unsorted || !plan->ascending)) status = matrix_sort_rows(m, out_repeats);
    if (status == STATUS_OK) trim(m);
    pool_free(s.pool);
    s.start = NULL; // the block's
    sieve_free(&s);
    close(f.descriptor);
    return status;
}

Status sparse_read(const MatrixReader *r, hid_t parent, const char *name, MatrixForm *form, const ColumnChoice *choice,
                   Matrix *out) {
    Sieve s = {.path = r->f->path,
               .block = r->block,
               .pool = r->pool,
               .majors = form->by_columns ? form->columns : form->rows,
               .minors = form->by_columns ? form->rows : form->columns};
    hid_t group = -1;
    *out = (Matrix){0};
    TRY(foreign_group(r->f, parent, name, &group));
    if (group < 0) return foreign_error(r->f, parent, "the group '%s' is missing", name);
    if (choice && !choice->number) choice = NULL;
    size_t columns = choice ? choice->columns : form->columns;
    Status status = open_parts(r, group, name, &s);
    bool planned = false;
    if (status == STATUS_OK && r->later && !form->by_columns) status = plan_rows(r, &s, choice, columns, out, &planned);
    if (status == STATUS_OK && !planned)
        status = form->by_columns ? read_columns(r, &s, choice, columns, out) : read_rows(r, &s, choice, columns, out);
    // Repeats show as disorder when stored by rows; stored by columns, as disorder within a column.
    if (status == STATUS_OK && !planned && (s.unsorted || (choice && !choice->ascending)))
        status = matrix_sort_rows(out, &form->repeats);
    if (status == STATUS_OK && !planned) matrix_settle(r, out);
    sieve_free(&s);
    h5_close(group);
    return status;
}
