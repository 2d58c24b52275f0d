// h5_sparse: see h5_sparse.h. The unit of work is a window: whole rows (columns, if stored so) of about a million
// entries. Its indices and values are decoded, brought to int32 and f32 and sifted in place by the pool's
// threads; where each row goes is known after that, so the result is the same for any number of threads.
#include "h5_sparse.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "h5.h"
#include "h5_numbers.h"

enum { WINDOW = 1 << 20, PARTS = 16, GAP = 1 << 15 };

typedef struct Window {
    H5Numbers index, value;
    int64_t *start; // [majors + 1]
    size_t majors, minors;
    size_t first, last; // majors of the window
    size_t room;        // entries in the buffers
    void *raw_index, *raw_value;
    int32_t *column; // as read or converted
    float *number;
    const int32_t *choice;       // of minors, or NULL
    bool few;                    // the choice keeps less than a quarter
    const int32_t *major_choice; // of majors, or NULL: those below 0 are passed over
    int64_t *kept;               // [majors of the window] entries kept of each
    Matrix *out;                 // a row for every major
    // What the tasks found, one slot a part.
    struct {
        int64_t at; // where its kept entries begin
        size_t bad;
        bool unsorted;
    } found[PARTS];
    bool unsorted;
} Window;

static void part_range(const Window *w, int64_t part, size_t *from, size_t *to) {
    int64_t begin = w->start[w->first], all = w->start[w->last] - begin; // parts of about as many entries
    int64_t low = begin + all * part / PARTS, high = begin + all * (part + 1) / PARTS;
    size_t a = w->first, b = w->last;
    for (size_t step = 0; step < 2; step++) { // first major whose start is >= low (high)
        size_t left = w->first, right = w->last;
        int64_t wanted = step ? high : low;
        while (left < right) {
            size_t middle = left + (right - left) / 2;
            if (w->start[middle] < wanted) left = middle + 1;
            else right = middle;
        }
        if (step) b = left;
        else a = left;
    }
    *from = part == 0 ? w->first : a;
    *to = part == PARTS - 1 ? w->last : b;
}

static void convert(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Window *w = context;
    size_t entries = (size_t)(w->start[w->last] - w->start[w->first]);
    size_t from = entries * (size_t)first / PARTS, to = entries * (size_t)last / PARTS;
    const char *index = w->raw_index, *value = w->raw_value;
    if (w->value.type != NUMBER_F32)
        numbers_to_f32(w->value.type, value + from * w->value.size, to - from, w->number + from);
    if (w->index.type == NUMBER_I32) return;
    int64_t piece[512];
    for (size_t at = from; at < to;) { // through i64, so that numbers beyond int32 are seen
        size_t n = to - at < 512 ? to - at : 512;
        numbers_to_i64(w->index.type, index + at * w->index.size, n, piece);
        for (size_t i = 0; i < n; i++)
            w->column[at + i] = piece[i] >= 0 && piece[i] <= INT32_MAX ? (int32_t)piece[i] : -1;
        at += n;
    }
}

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

// Moves what is kept of entries from .. to to the place `at` and on, which is not behind `from`; returns the end.
static int64_t sift_run(const Window *w, int64_t from, int64_t to, int64_t at) {
    const int32_t *choice = w->choice;
    int32_t *column = w->column;
    float *number = w->number;
    if (choice && w->few) { // most are passed over: their values are not even looked at
        for (int64_t e = from; e < to; e++) {
            int32_t place = choice[column[e]];
            if (place < 0 || number[e] == 0) continue;
            column[at] = place;
            number[at++] = number[e];
        }
        return at;
    }
    for (int64_t e = from; e < to; e++) {
        int32_t place = choice ? choice[column[e]] : column[e];
        float value = number[e];
        column[at] = place;
        number[at] = value;
        at += (value != 0) & (place >= 0);
    }
    return at;
}

// Checks the entries of whole majors and moves those that are kept to the front of the part, counting them by major.
static void sift_part(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Window *w = context;
    int64_t base = w->start[w->first];
    for (int64_t part = first; part < last; part++) {
        size_t from = 0, to = 0, bad = SIZE_MAX;
        bool unsorted = false;
        part_range(w, part, &from, &to);
        int64_t at = w->start[from] - base;
        w->found[part].at = at;
        for (size_t m = from; m < to && bad == SIZE_MAX; m++) {
            int64_t run = w->start[m] - base, end = w->start[m + 1] - base, begin = at;
            w->kept[m - w->first] = 0;
            if (run == end || (w->major_choice && w->major_choice[m] < 0)) continue;
            if (check_run(w->column + run, (size_t)(end - run), w->minors, &unsorted)) at = sift_run(w, run, end, at);
            else bad = m;
            w->kept[m - w->first] = at - begin;
        }
        w->found[part].bad = bad;
        w->found[part].unsorted = unsorted;
    }
}

// The kept entries of a part stand together; so do its rows in the result.
static void write_part(void *context, int thread, int64_t first, int64_t last) {
    (void)thread;
    Window *w = context;
    for (int64_t part = first; part < last; part++) {
        size_t from = 0, to = 0;
        part_range(w, part, &from, &to);
        if (from == to) continue;
        int64_t out = w->out->start[from], count = w->out->start[to] - out, at = w->found[part].at;
        memcpy(w->out->column + out, w->column + at, (size_t)count * sizeof *w->column);
        memcpy(w->out->value + out, w->number + at, (size_t)count * sizeof *w->number);
    }
}

static void run(Pool *pool, PoolTask task, Window *w) {
    if (pool) pool_run(pool, task, w, PARTS);
    else task(w, 0, 0, PARTS);
}

// ---- The parts of the group ---------------------------------------------------------------------

static Status open_parts(const MatrixReader *r, hid_t group, const char *name, Window *w) {
    const ForeignFile *f = r->f;
    size_t starts = 0;
    TRY(numbers_load_i64(f, group, "indptr", &w->start, &starts));
    if (starts != w->majors + 1)
        return foreign_error(f, group, "indptr has %zu entries; %zu rows or columns need %zu", starts, w->majors,
                             w->majors + 1);
    if (w->start[0] != 0) return foreign_error(f, group, "indptr begins with %lld, not 0", (long long)w->start[0]);
    for (size_t m = 0; m < w->majors; m++)
        if (w->start[m + 1] < w->start[m] || w->start[m + 1] - w->start[m] > (int64_t)w->minors)
            return foreign_error(f, group,
                                 "indptr goes from %lld to %lld at entry %zu, where a run has at most %zu "
                                 "entries",
                                 (long long)w->start[m], (long long)w->start[m + 1], m + 1, w->minors);
    TRY(numbers_open(f, group, "indices", &w->index));
    TRY(numbers_open(f, group, "data", &w->value));
    uint64_t nnz = (uint64_t)w->start[w->majors];
    if (w->index.count != nnz || w->value.count != nnz)
        return foreign_error(f, group, "indptr of %s ends at %llu, but there are %llu indices and %llu values", name,
                             (unsigned long long)nnz, (unsigned long long)w->index.count,
                             (unsigned long long)w->value.count);
    if (numbers_are_real(w->index.type)) return foreign_error(f, group, "indices are not whole numbers");
    return STATUS_OK;
}

static Status make_buffers(Window *w) {
    size_t longest = WINDOW;
    for (size_t m = 0; m < w->majors; m++)
        if ((size_t)(w->start[m + 1] - w->start[m]) > longest) longest = (size_t)(w->start[m + 1] - w->start[m]);
    if (longest > (size_t)w->start[w->majors]) longest = (size_t)w->start[w->majors];
    w->room = longest;
    w->raw_index = malloc((longest + 1) * w->index.size);
    w->raw_value = malloc((longest + 1) * w->value.size);
    w->column = w->index.type == NUMBER_I32 ? w->raw_index : malloc((longest + 1) * sizeof *w->column);
    w->number = w->value.type == NUMBER_F32 ? w->raw_value : malloc((longest + 1) * sizeof *w->number);
    w->kept = malloc((w->majors + 1) * sizeof *w->kept);
    if (w->raw_index && w->raw_value && w->column && w->number && w->kept) return STATUS_OK;
    return arena_exhausted(longest, 16);
}

static void free_buffers(Window *w) {
    if (w->column != w->raw_index) free(w->column);
    if (w->number != w->raw_value) free(w->number);
    free(w->raw_index);
    free(w->raw_value);
    free(w->kept);
}

static void free_window(Window *w) {
    free_buffers(w);
    free(w->start);
    numbers_close(&w->index);
    numbers_close(&w->value);
}

static Status load_window(const MatrixReader *r, Window *numbers, Window *w) {
    int64_t first = w->start[w->first], count = w->start[w->last] - first;
    TRY(numbers_read(&numbers->index, r->pool, (uint64_t)first, (uint64_t)count, w->raw_index));
    TRY(numbers_read(&numbers->value, r->pool, (uint64_t)first, (uint64_t)count, w->raw_value));
    if (w->index.type != NUMBER_I32 || w->value.type != NUMBER_F32) run(r->pool, convert, w);
    return STATUS_OK;
}

// The first major with an index out of range, or SIZE_MAX.
static size_t gather_found(Window *w) {
    size_t bad = SIZE_MAX;
    for (int p = 0; p < PARTS; p++) {
        if (w->found[p].bad < bad) bad = w->found[p].bad;
        w->unsorted = w->unsorted || w->found[p].unsorted;
    }
    return bad;
}

static Status bad_index(const MatrixReader *r, const Window *w, size_t major) {
    return status_make(STATUS_MALFORMED, "%s: '%s': run %zu holds an index outside 0 .. %zu", r->f->path, w->index.name,
                       major, w->minors - 1);
}

static Status fill_window(const MatrixReader *r, Window *w) {
    TRY(load_window(r, w, w));
    run(r->pool, sift_part, w);
    size_t bad = gather_found(w);
    return bad == SIZE_MAX ? STATUS_OK : bad_index(r, w, bad);
}

// ---- Sorting what was not sorted ----------------------------------------------------------------

typedef struct Entry {
    int32_t column;
    float value;
    size_t order; // equal columns are added in file order
} Entry;

static int by_column(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    if (x->column != y->column) return x->column < y->column ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

// Rows in ascending columns, entries of one place added; everything moves up where that made room.
static Status sort_rows(Matrix *m, size_t *out_repeats) {
    size_t longest = 0;
    *out_repeats = 0;
    for (size_t r = 0; r < m->rows; r++)
        if ((size_t)(m->start[r + 1] - m->start[r]) > longest) longest = (size_t)(m->start[r + 1] - m->start[r]);
    Entry *row = malloc((longest + 1) * sizeof *row);
    if (!row) return arena_exhausted(longest, sizeof *row);
    int64_t at = 0, from = 0;
    for (size_t r = 0; r < m->rows; r++) {
        size_t n = (size_t)(m->start[r + 1] - from);
        bool sorted = true;
        for (size_t i = 0; i < n; i++) {
            row[i] = (Entry){m->column[from + (int64_t)i], m->value[from + (int64_t)i], i};
            sorted = sorted && (i == 0 || row[i].column > row[i - 1].column);
        }
        if (!sorted) qsort(row, n, sizeof *row, by_column);
        from = m->start[r + 1];
        for (size_t i = 0; i < n;) {
            float sum = row[i].value;
            int32_t column = row[i].column;
            for (i++; i < n && row[i].column == column; i++, ++*out_repeats) sum += row[i].value;
            if (sum == 0) continue;
            m->column[at] = column;
            m->value[at++] = sum;
        }
        m->start[r + 1] = at;
    }
    free(row);
    return STATUS_OK;
}

// ---- Matrices in the block ----------------------------------------------------------------------

// Address space for up to `most` entries; the Matrix counts what it holds with settle().
static Status reserve(const MatrixReader *r, size_t rows, size_t columns, uint64_t most, Matrix *out,
                      size_t *out_room) {
    *out = (Matrix){.rows = rows, .columns = columns};
    if (columns > INT32_MAX || rows > INT32_MAX)
        return status_make(STATUS_UNSUPPORTED, "%s: a matrix of %zu x %zu is larger than any section", r->f->path, rows,
                           columns);
    uint64_t allowed = guard_left(r->block) / 8;
    size_t room = (size_t)(most < allowed ? most : allowed);
    out->start = GUARD_NEW(r->block, int64_t, rows + 1);
    out->column = guard_reserve(r->block, room + 1, sizeof *out->column);
    out->value = guard_reserve(r->block, room + 1, sizeof *out->value);
    if (!out->start || !out->column || !out->value) return guard_exhausted(r->block, r->f->path, room, 8);
    *out_room = room;
    return STATUS_OK;
}

static void settle(const MatrixReader *r, const Matrix *m) {
    guard_count(r->block, (size_t)matrix_nnz(m) * 8);
}

Status matrix_nothing(const MatrixReader *r, size_t rows, size_t columns, Matrix *out) {
    size_t room = 0;
    return reserve(r, rows, columns, 0, out, &room);
}

// ---- Compressed rows ----------------------------------------------------------------------------

// While one window is read and decoded, a thread sifts and places the one before. Windows are placed in order, so what
// comes out does not depend on who was faster.
typedef struct Placing {
    pthread_t thread;
    bool running; // `thread` is to be joined
    Window *w;
    size_t room;
    size_t bad; // a major with an index out of range, or SIZE_MAX
    bool full;
} Placing;

static void *place_window(void *context) {
    Placing *p = context;
    Window *w = p->w;
    sift_part(w, 0, 0, PARTS);
    p->bad = gather_found(w);
    if (p->bad != SIZE_MAX) return NULL;
    int64_t at = w->out->start[w->first];
    for (size_t m = w->first; m < w->last; m++) w->out->start[m + 1] = at += w->kept[m - w->first];
    p->full = (size_t)at > p->room;
    if (!p->full) write_part(w, 0, 0, PARTS);
    return NULL;
}

static Status finish_placing(const MatrixReader *r, Placing *p) {
    if (p->running) pthread_join(p->thread, NULL);
    size_t bad = p->bad;
    bool full = p->full;
    p->running = p->full = false; // said once
    p->bad = SIZE_MAX;
    if (bad != SIZE_MAX) return bad_index(r, p->w, bad);
    if (full) return guard_exhausted(r->block, r->f->path, (size_t)p->w->start[p->w->majors], 8);
    return STATUS_OK;
}

static Status read_rows(const MatrixReader *r, Window *w, const ColumnChoice *choice, size_t columns, Matrix *out) {
    Placing placing = {.bad = SIZE_MAX};
    TRY(reserve(r, w->majors, columns, (uint64_t)w->start[w->majors], out, &placing.room));
    w->out = out;
    w->choice = choice ? choice->number : NULL;
    w->few = choice && choice->columns < w->minors / 4;
    bool overlap = r->pool && pool_threads(r->pool) > 1;
    Window other = *w, *both[2] = {w, &other}; // the other has buffers of its own; starts and datasets are shared
    Status status = overlap ? make_buffers(&other) : STATUS_OK;
    size_t first = 0;
    for (int turn = 0; status == STATUS_OK && first < w->majors; turn++) {
        Window *now = both[overlap ? turn % 2 : 0];
        now->first = first;
        now->last = first + 1;
        while (now->last < w->majors && w->start[now->last + 1] - w->start[first] <= (int64_t)w->room) now->last++;
        first = now->last;
        status = load_window(r, w, now);
        Status placed = finish_placing(r, &placing);
        status = status_join(status, placed);
        if (status != STATUS_OK) break;
        placing.w = now;
        placing.running = overlap && pthread_create(&placing.thread, NULL, place_window, &placing) == 0;
        if (!placing.running) place_window(&placing);
    }
    status = status_join(status, finish_placing(r, &placing));
    w->unsorted = w->unsorted || other.unsorted;
    if (overlap) free_buffers(&other);
    return status;
}

// ---- Compressed columns -------------------------------------------------------------------------

// Entries of the columns wanted, by column in `turned` (malloc), then turned into rows in the block.
static Status read_columns(const MatrixReader *r, Window *w, const ColumnChoice *choice, size_t columns, Matrix *out) {
    Matrix turned = {0};
    int64_t most = 0;
    for (size_t c = 0; c < w->majors; c++)
        if (!choice || choice->number[c] >= 0) most += w->start[c + 1] - w->start[c];
    if ((uint64_t)most > guard_left(r->block) / 8) return guard_exhausted(r->block, r->f->path, (size_t)most, 8);
    TRY(matrix_create(w->majors, w->minors, most, &turned));
    Status status = STATUS_OK;
    w->out = &turned;
    w->major_choice = choice ? choice->number : NULL;
    for (w->first = 0; w->first < w->majors; w->first = w->last) {
        w->last = w->first + 1;
        turned.start[w->last] = turned.start[w->first];
        if (choice && choice->number[w->first] < 0) continue;
        size_t end = w->last; // grows over columns that are wanted, and over short stretches that are not
        while (end < w->majors && w->start[end + 1] - w->start[w->first] <= (int64_t)w->room &&
               w->start[end] - w->start[w->last] <= GAP) {
            end++;
            if (!choice || choice->number[end - 1] >= 0) w->last = end;
        }
        TRY_OR(status, done, fill_window(r, w));
        int64_t at = turned.start[w->first];
        for (size_t m = w->first; m < w->last; m++) turned.start[m + 1] = at += w->kept[m - w->first];
        run(r->pool, write_part, w);
    }
    size_t room = 0;
    TRY_OR(status, done, reserve(r, w->minors, columns, (uint64_t)matrix_nnz(&turned), out, &room));
    int64_t nnz = matrix_nnz(&turned);
    for (int64_t e = 0; e < nnz; e++) out->start[turned.column[e] + 1]++;
    for (size_t i = 0; i < out->rows; i++) out->start[i + 1] += out->start[i];
    for (size_t c = 0; c < w->majors; c++)
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

Status sparse_read(const MatrixReader *r, hid_t parent, const char *name, MatrixForm *form, const ColumnChoice *choice,
                   Matrix *out) {
    Window w = {.majors = form->by_columns ? form->columns : form->rows,
                .minors = form->by_columns ? form->rows : form->columns};
    hid_t group = -1;
    *out = (Matrix){0};
    TRY(foreign_group(r->f, parent, name, &group));
    if (group < 0) return foreign_error(r->f, parent, "the group '%s' is missing", name);
    if (choice && !choice->number) choice = NULL;
    size_t columns = choice ? choice->columns : form->columns;
    Status status = open_parts(r, group, name, &w);
    if (status == STATUS_OK) status = make_buffers(&w);
    if (status == STATUS_OK)
        status = form->by_columns ? read_columns(r, &w, choice, columns, out) : read_rows(r, &w, choice, columns, out);
    // Repeats show as disorder when stored by rows; stored by columns, as disorder within a column.
    if (status == STATUS_OK && (w.unsorted || (choice && !choice->ascending))) status = sort_rows(out, &form->repeats);
    if (status == STATUS_OK) settle(r, out);
    free_window(&w);
    h5_close(group);
    return status;
}

// ---- Dense --------------------------------------------------------------------------------------

static Status read_dense_rows(const MatrixReader *r, hid_t dataset, const char *name, const MatrixForm *form,
                              const ColumnChoice *choice, size_t step, float *values, size_t room, Matrix *out) {
    int64_t at = 0;
    for (size_t first = 0; first < form->rows; first += step) {
        size_t count = form->rows - first < step ? form->rows - first : step;
        TRY(h5_read_rows(r->f->path, name, dataset, H5T_NATIVE_FLOAT, first, count, values));
        for (size_t i = 0; i < count; i++) {
            const float *row = values + i * form->columns;
            if ((size_t)at + out->columns > room) { // near the limit: count before writing
                size_t kept = 0;
                for (size_t c = 0; c < form->columns; c++) kept += row[c] != 0 && (!choice || choice->number[c] >= 0);
                if ((size_t)at + kept > room) return guard_exhausted(r->block, r->f->path, (size_t)at + kept, 8);
            }
            for (size_t c = 0; c < form->columns; c++) {
                if (row[c] == 0 || (choice && choice->number[c] < 0)) continue;
                out->column[at] = choice ? choice->number[c] : (int32_t)c;
                out->value[at++] = row[c];
            }
            out->start[first + i + 1] = at;
        }
    }
    return STATUS_OK;
}

Status dense_read(const MatrixReader *r, hid_t parent, const char *name, MatrixForm *form, const ColumnChoice *choice,
                  Matrix *out) {
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4], chunk[4] = {1, 1};
    *out = (Matrix){0};
    TRY(foreign_dataset(r->f, parent, name, &dataset, &rank, dims));
    if (choice && !choice->number) choice = NULL;
    hid_t type = H5Dget_type(dataset), create = H5Dget_create_plist(dataset);
    H5T_class_t type_class = H5Tget_class(type);
    Status status = STATUS_OK;
    float *values = NULL;
    size_t room = 0, step = 1;
    if (rank != 2 || dims[0] != form->rows || dims[1] != form->columns) {
        status = foreign_error(r->f, dataset, "its shape is %llu x %llu where %zu x %zu is expected",
                               (unsigned long long)dims[0], (unsigned long long)(rank > 1 ? dims[1] : 1), form->rows,
                               form->columns);
        goto done;
    }
    if (type_class != H5T_FLOAT && type_class != H5T_INTEGER && type_class != H5T_ENUM) {
        status = foreign_error(r->f, dataset, "numbers are expected here");
        goto done;
    }
    // Rows of whole chunks, about 16 MB at a time.
    if (H5Pget_layout(create) == H5D_CHUNKED && H5Pget_chunk(create, 2, chunk) == 2 && chunk[0] <= dims[0] && chunk[0])
        step = (size_t)chunk[0];
    while (form->columns && step * 2 * form->columns * sizeof *values <= (size_t)16 << 20 && step < form->rows)
        step *= 2;
    if (form->columns > ((size_t)1 << 30) / step) step = 1;
    values = malloc((step * form->columns + 1) * sizeof *values);
    if (!values) {
        status = arena_exhausted(step * form->columns, sizeof *values);
        goto done;
    }
    size_t columns = choice ? choice->columns : form->columns;
    TRY_OR(status, done, reserve(r, form->rows, columns, (uint64_t)form->rows * columns, out, &room));
    if (form->rows > 0 && form->columns > 0)
        TRY_OR(status, done, read_dense_rows(r, dataset, name, form, choice, step, values, room, out));
    if (choice && !choice->ascending) status = sort_rows(out, &form->repeats);
    if (status == STATUS_OK) settle(r, out);
done:
    free(values);
    h5_close(create);
    h5_close(type);
    h5_close(dataset);
    return status;
}

Status dense_read_f64(const MatrixReader *r, hid_t parent, const char *name, size_t rows, double **out_values,
                      size_t *out_width) {
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4];
    *out_values = NULL;
    *out_width = 0;
    TRY(foreign_dataset(r->f, parent, name, &dataset, &rank, dims));
    hid_t type = H5Dget_type(dataset);
    H5T_class_t type_class = H5Tget_class(type);
    size_t width = rank == 2 ? (size_t)dims[1] : 1;
    Status status = STATUS_OK;
    if (rank < 1 || rank > 2 || dims[0] != rows)
        status = foreign_error(r->f, dataset, "%zu rows of numbers are expected, not %llu (%d dimensions)", rows,
                               (unsigned long long)dims[0], rank);
    else if (type_class != H5T_FLOAT && type_class != H5T_INTEGER && type_class != H5T_ENUM)
        status = foreign_error(r->f, dataset, "numbers are expected here");
    double *values = status == STATUS_OK ? guard_take(r->block, rows, width * sizeof *values) : NULL;
    if (status == STATUS_OK && !values) status = guard_exhausted(r->block, r->f->path, rows * width, sizeof *values);
    if (status == STATUS_OK && rows * width > 0 &&
        H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        status = h5_error(r->f->path, "reading", name);
    h5_close(type);
    h5_close(dataset);
    if (status != STATUS_OK) return status;
    *out_values = values;
    *out_width = width;
    return STATUS_OK;
}

// ---- Either -------------------------------------------------------------------------------------

static Status group_form(const MatrixReader *r, hid_t group, MatrixForm *form, char **out_words) {
    char *encoding = NULL, *old = NULL;
    int64_t shape[2] = {0, 0};
    bool found = false;
    TRY(foreign_text_attribute(r->f, group, "encoding-type", r->arena, &encoding));
    TRY(foreign_text_attribute(r->f, group, "h5sparse_format", r->arena, &old));
    if (!encoding && old) encoding = old;
    if (encoding && (strcmp(encoding, "csc_matrix") == 0 || strcmp(encoding, "csc") == 0)) form->by_columns = true;
    else if (encoding && strcmp(encoding, "csr_matrix") != 0 && strcmp(encoding, "csr") != 0)
        return status_context(status_make(STATUS_UNSUPPORTED,
                                          "its encoding is '%s'; dense, csr_matrix and csc_matrix "
                                          "are read",
                                          encoding),
                              "%s", r->f->path);
    TRY(foreign_integer_attribute(r->f, group, "shape", shape, 2, &found));
    if (!found) TRY(foreign_integer_attribute(r->f, group, "h5sparse_shape", shape, 2, &found));
    if (found && (shape[0] < 0 || shape[1] < 0 || shape[0] > INT32_MAX || shape[1] > INT32_MAX))
        return foreign_error(r->f, group, "its shape is %lld x %lld", (long long)shape[0], (long long)shape[1]);
    form->rows = (size_t)shape[0];
    form->columns = (size_t)shape[1];
    *out_words = arena_printf(r->arena, "%s%s", form->by_columns ? "CSC" : "CSR",
                              old && !foreign_has_attribute(group, "encoding-type") ? " (h5sparse)" : "");
    return *out_words ? STATUS_OK : arena_exhausted(1, 16);
}

Status matrix_form(const MatrixReader *r, hid_t parent, const char *name, MatrixForm *out, char **out_words) {
    ForeignKind kind;
    *out = (MatrixForm){0};
    *out_words = "";
    TRY(foreign_kind(r->f, parent, name, &kind));
    if (kind == FOREIGN_GROUP) {
        hid_t group = -1;
        TRY(foreign_group(r->f, parent, name, &group));
        Status status = group_form(r, group, out, out_words);
        h5_close(group);
        return status;
    }
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4];
    TRY(foreign_dataset(r->f, parent, name, &dataset, &rank, dims));
    Status status = STATUS_OK;
    if (rank != 2) status = foreign_error(r->f, dataset, "a matrix is expected, not %d dimensions", rank);
    else if (dims[0] > INT32_MAX || dims[1] > INT32_MAX)
        status = foreign_error(r->f, dataset, "its shape is %llu x %llu", (unsigned long long)dims[0],
                               (unsigned long long)dims[1]);
    h5_close(dataset);
    out->dense = true;
    out->rows = (size_t)dims[0];
    out->columns = (size_t)dims[1];
    *out_words = "dense";
    return status;
}

Status matrix_read(const MatrixReader *r, hid_t parent, const char *name, MatrixForm *form, const ColumnChoice *choice,
                   Matrix *out) {
    return form->dense ? dense_read(r, parent, name, form, choice, out)
                       : sparse_read(r, parent, name, form, choice, out);
}
