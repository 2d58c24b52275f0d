// h5_foreign: see h5_foreign.h.
#include "h5_foreign.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/files.h"
#include "../core/strings.h"
#include "h5.h"
#include "h5_raw.h"
#include "lzf.h"

enum { MOST_NAMES = 1 << 20, MOST_LINKS = 16 };

Status foreign_open(const char *path, ForeignFile *out) {
    *out = (ForeignFile){.path = path, .file = -1, .driver = {-1, NULL}};
    TRY(file_size(path, &out->bytes));
    TRY(lzf_register());
    TRY(h5_driver_open(path, &out->driver, &out->file));
    out->descriptor = h5_driver_descriptor(&out->driver);
    return STATUS_OK;
}

void foreign_close(ForeignFile *f) {
    h5_close(f->file);
    h5_driver_close(&f->driver);
    f->file = -1;
}

Status foreign_error(const ForeignFile *f, hid_t object, const char *format, ...) {
    char name[FOREIGN_NAME] = "";
    if (object > 0 && H5Iget_name(object, name, sizeof name) < 0) name[0] = '\0';
    va_list arguments;
    va_start(arguments, format);
    Status status = status_makev(STATUS_MALFORMED, format, arguments);
    va_end(arguments);
    if (*name && strcmp(name, "/") != 0) status = status_context(status, "'%s'", name);
    return status_context(status, "%s", f->path);
}

static Status check_way(const ForeignFile *f, hid_t parent, const char *name, int links, bool *out_there);

// A soft link leads to a path from the root, or from the group that it is in; there may be more links on that way.
static Status check_soft_link(const ForeignFile *f, hid_t parent, const char *name, size_t length, int links,
                              bool *out_there) {
    char target[FOREIGN_NAME], way[2 * FOREIGN_NAME];
    const char *slash = strrchr(name, '/');
    if (links == MOST_LINKS)
        return status_make(STATUS_MALFORMED, "%s: '%s' is a link that leads to more than %d others", f->path, name,
                           MOST_LINKS);
    if (length > sizeof target || (slash && (size_t)(slash - name) >= FOREIGN_NAME) ||
        H5Lget_val(parent, name, target, sizeof target, H5P_DEFAULT) < 0 || !memchr(target, 0, length))
        return status_make(STATUS_MALFORMED, "%s: '%s' is a link that cannot be followed", f->path, name);
    if (target[0] == '/') return check_way(f, f->file, target, links + 1, out_there);
    snprintf(way, sizeof way, "%.*s%s", slash ? (int)(slash - name + 1) : 0, name, target);
    return check_way(f, parent, way, links + 1, out_there);
}

// One link of a path: refuses what leads to another file.
static Status check_link(const ForeignFile *f, hid_t parent, const char *name, int links, bool *out_there) {
    h5_quiet();
    *out_there = false;
    htri_t there = H5Lexists(parent, name, H5P_DEFAULT);
    if (there < 0) return h5_error(f->path, "finding", name);
    if (there == 0) return STATUS_OK;
    H5L_info_t info;
    if (H5Lget_info(parent, name, &info, H5P_DEFAULT) < 0) return h5_error(f->path, "finding", name);
    if (info.type == H5L_TYPE_EXTERNAL || info.type >= H5L_TYPE_UD_MIN)
        return status_make(STATUS_UNSUPPORTED,
                           "%s: '%s' is a link into another file; such links are not followed: copy the data into "
                           "this file (h5copy)",
                           f->path, name);
    if (info.type == H5L_TYPE_SOFT) TRY(check_soft_link(f, parent, name, info.u.val_size, links, out_there));
    there = H5Oexists_by_name(parent, name, H5P_DEFAULT); // a soft link may lead nowhere
    H5Eclear2(H5E_DEFAULT);
    *out_there = there > 0;
    return STATUS_OK;
}

// Every link on the way to `name`, and that one.
static Status check_way(const ForeignFile *f, hid_t parent, const char *name, int links, bool *out_there) {
    char part[2 * FOREIGN_NAME];
    *out_there = true;
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        if (slash == name || (size_t)(slash - name) >= sizeof part) continue;
        memcpy(part, name, (size_t)(slash - name));
        part[slash - name] = '\0';
        TRY(check_link(f, parent, part, links, out_there));
        if (!*out_there) return STATUS_OK;
    }
    if (name[strspn(name, "/")] == '\0') return STATUS_OK; // the root itself
    return check_link(f, parent, name, links, out_there);
}

Status foreign_kind(const ForeignFile *f, hid_t parent, const char *name, ForeignKind *out) {
    bool there = false;
    *out = FOREIGN_NOTHING;
    TRY(check_way(f, parent, name, 0, &there));
    if (!there) return STATUS_OK;
    H5O_info_t info;
    if (H5Oget_info_by_name(parent, name, &info, H5P_DEFAULT) < 0) return h5_error(f->path, "opening", name);
    *out = info.type == H5O_TYPE_GROUP     ? FOREIGN_GROUP
           : info.type == H5O_TYPE_DATASET ? FOREIGN_DATASET
                                           : FOREIGN_OTHER;
    return STATUS_OK;
}

Status foreign_group(const ForeignFile *f, hid_t parent, const char *name, hid_t *out_group) {
    ForeignKind kind;
    *out_group = -1;
    TRY(foreign_kind(f, parent, name, &kind));
    if (kind != FOREIGN_GROUP) return STATUS_OK;
    *out_group = H5Gopen2(parent, name, H5P_DEFAULT);
    return *out_group < 0 ? h5_error(f->path, "opening group", name) : STATUS_OK;
}

typedef struct Names {
    Arena *arena;
    char **names;
    size_t count, capacity;
} Names;

static herr_t add_name(hid_t group, const char *name, const H5L_info_t *info, void *context) {
    (void)group, (void)info;
    Names *n = context;
    if (n->count == n->capacity) return -1;
    n->names[n->count] = arena_copy(n->arena, name, strlen(name));
    return n->names[n->count] && valid_utf8(name, strlen(name)) ? (n->count++, 0) : -1;
}

Status foreign_names(const ForeignFile *f, hid_t group, const char *what, Arena *arena, char ***out_names,
                     size_t *out_count) {
    H5G_info_t info;
    Names names = {.arena = arena};
    if (H5Gget_info(group, &info) < 0) return h5_error(f->path, "listing", what);
    if (info.nlinks > MOST_NAMES || info.nlinks > f->bytes)
        return status_make(STATUS_MALFORMED, "%s: '%s' claims to hold %llu objects", f->path, what,
                           (unsigned long long)info.nlinks);
    names.capacity = (size_t)info.nlinks;
    TRY(ARENA_NEW(arena, names.names, names.capacity + 1));
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, add_name, &names) < 0)
        return h5_error(f->path, "listing", what);
    *out_names = names.names;
    *out_count = names.count;
    return STATUS_OK;
}

Status foreign_groups_with(const ForeignFile *f, const char *name, Arena *arena, char ***out_names, size_t *out_count) {
    size_t count = 0;
    *out_count = 0;
    TRY(foreign_names(f, f->file, "/", arena, out_names, &count));
    for (size_t i = 0; i < count; i++) {
        hid_t group = -1;
        ForeignKind kind = FOREIGN_NOTHING;
        TRY(foreign_group(f, f->file, (*out_names)[i], &group));
        if (group < 0) continue;
        Status status = foreign_kind(f, group, name, &kind);
        h5_close(group);
        TRY(status);
        if (kind == FOREIGN_DATASET) (*out_names)[(*out_count)++] = (*out_names)[i];
    }
    return STATUS_OK;
}

static Status check_dataset(const ForeignFile *f, hid_t dataset, const char *name, int *rank, hsize_t dims[4]) {
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset), create = H5Dget_create_plist(dataset);
    Status status = STATUS_OK;
    H5S_class_t space_class = space < 0 ? H5S_NO_CLASS : H5Sget_simple_extent_type(space);
    *rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    size_t each = type < 0 ? 0 : H5Tget_size(type);
    if (space < 0 || type < 0 || create < 0 || space_class == H5S_NO_CLASS || *rank < 0 || each == 0)
        status = h5_error(f->path, "opening", name);
    else if (*rank > 4) status = foreign_error(f, dataset, "it has %d dimensions; at most 4 are read", *rank);
    else if (H5Pget_layout(create) == H5D_VIRTUAL || H5Pget_external_count(create) > 0)
        status = status_context(status_make(STATUS_UNSUPPORTED,
                                            "'%s' keeps its values in another file; copy them "
                                            "into this one (h5repack)",
                                            name),
                                "%s", f->path);
    else if (H5Sget_simple_extent_dims(space, dims, NULL) < 0) status = h5_error(f->path, "opening", name);
    double total = (double)each;
    for (int i = 0; status == STATUS_OK && i < *rank; i++) total *= (double)dims[i];
    if (space_class == H5S_NULL) total = 0, *rank = 1, dims[0] = 0;
    bool chunked = status == STATUS_OK && H5Pget_layout(create) == H5D_CHUNKED;
    double most = (double)f->bytes * (chunked ? FOREIGN_RATIO : 1) + (chunked ? 1 << 20 : 0);
    if (status == STATUS_OK && total > most)
        status = foreign_error(f, dataset,
                               "it claims %.0f bytes, more than a file of %llu bytes can hold; the file is "
                               "damaged or cut off",
                               total, (unsigned long long)f->bytes);
    h5_close(create);
    h5_close(type);
    h5_close(space);
    return status;
}

Status foreign_dataset(const ForeignFile *f, hid_t parent, const char *name, hid_t *out_dataset, int *out_rank,
                       hsize_t dims[4]) {
    ForeignKind kind;
    *out_dataset = -1;
    memset(dims, 0, 4 * sizeof *dims);
    TRY(foreign_kind(f, parent, name, &kind));
    if (kind != FOREIGN_DATASET)
        return foreign_error(f, parent,
                             kind == FOREIGN_NOTHING ? "the dataset '%s' is missing" : "'%s' is not a dataset", name);
    hid_t dataset = H5Dopen2(parent, name, H5P_DEFAULT);
    if (dataset < 0) return h5_error(f->path, "opening", name);
    Status status = check_dataset(f, dataset, name, out_rank, dims);
    if (status != STATUS_OK) h5_close(dataset);
    else *out_dataset = dataset;
    return status;
}

bool foreign_has_attribute(hid_t object, const char *name) {
    h5_quiet();
    return H5Aexists(object, name) > 0;
}

Status foreign_text_attribute(const ForeignFile *f, hid_t object, const char *name, Arena *arena, char **out) {
    *out = NULL;
    if (!foreign_has_attribute(object, name)) return STATUS_OK;
    Status status = h5_get_text(f->path, object, name, arena, out);
    if (status_code(status) == STATUS_MALFORMED) { // another type: as if it were not there
        status_drop(status);
        *out = NULL;
        return STATUS_OK;
    }
    return status;
}

Status foreign_integer_attribute(const ForeignFile *f, hid_t object, const char *name, int64_t *values, size_t count,
                                 bool *out_found) {
    *out_found = false;
    if (!foreign_has_attribute(object, name)) return STATUS_OK;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    hid_t space = attribute < 0 ? -1 : H5Aget_space(attribute), type = attribute < 0 ? -1 : H5Aget_type(attribute);
    Status status = STATUS_OK;
    if (space < 0 || type < 0) status = h5_error(f->path, "opening attribute", name);
    else if (H5Sget_simple_extent_npoints(space) == (hssize_t)count && H5Tget_class(type) == H5T_INTEGER) {
        if (H5Aread(attribute, H5T_NATIVE_INT64, values) < 0) status = h5_error(f->path, "reading attribute", name);
        else *out_found = true;
    }
    h5_close(type);
    h5_close(space);
    h5_close(attribute);
    return status;
}

// ---- Texts --------------------------------------------------------------------------------------

// Room for results: in the block if there is one, so that they need not be copied there.
static void *text_room(const ForeignFile *f, Arena *arena, size_t count, size_t size) {
    return f->block ? guard_take(f->block, count, size) : arena_alloc(arena, count, size);
}

static Status no_text_room(const ForeignFile *f, size_t count, size_t size) {
    return f->block ? guard_exhausted(f->block, f->path, count, size) : arena_exhausted(count, size);
}

static bool only_ascii(const char *text, size_t length) {
    uint64_t high = 0, word;
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        memcpy(&word, text + i, 8);
        high |= word;
    }
    for (; i < length; i++) high |= (uint64_t)(unsigned char)text[i];
    return (high & 0x8080808080808080u) == 0;
}

static Status not_utf8(const ForeignFile *f, const char *name, size_t i) {
    return status_make(STATUS_MALFORMED, "%s: '%s': text %zu is not UTF-8", f->path, name, i + 1);
}

// Of variable length, or where HDF5 had to read them.
static Status copy_texts(const ForeignFile *f, const char *name, hid_t type, size_t width, const char *buffer,
                         size_t count, Arena *arena, char **texts) {
    bool variable = H5Tis_variable_str(type) > 0, blanks = !variable && H5Tget_strpad(type) == H5T_STR_SPACEPAD;
    uint64_t all = 0;
    for (int pass = 0; pass < 2; pass++) {
        char *to = pass ? text_room(f, arena, (size_t)all + 1, 1) : NULL;
        if (pass && !to) return no_text_room(f, (size_t)all, 1);
        for (size_t i = 0; i < count; i++) {
            const char *text = buffer + i * width;
            if (variable) memcpy(&text, buffer + i * width, sizeof text);
            if (!text) text = "";
            size_t length = variable ? strlen(text) : strnlen(text, width);
            while (blanks && length > 0 && text[length - 1] == ' ') length--;
            all += length + 1;
            if (!pass) continue;
            if (!only_ascii(text, length) && !valid_utf8(text, length)) return not_utf8(f, name, i);
            texts[i] = memcpy(to, text, length); // the room is zeroed
            to += length + 1;
        }
    }
    return STATUS_OK;
}

// Of fixed length, in chunks that several threads decode: every text has a slot of its own.
typedef struct TextSlots {
    const ForeignFile *f;
    H5Raw raw;
    RawLane *lane; // a thread of the pool each
    pthread_mutex_t door;
    uint64_t parts, next;
    uint64_t part; // texts in one
    char **texts, *slots;
    bool blanks;
    bool missing; // a chunk is not in the file
    bool exhausted;
    Status status; // of the first that failed; under `door`
    size_t odd;    // the first text that is not UTF-8, or SIZE_MAX
} TextSlots;

static void take_texts(void *context, const RawPiece *p) {
    TextSlots *t = context;
    size_t width = t->raw.size, odd = SIZE_MAX, last_length = 0;
    const char *last = NULL, *in = (const char *)p->bytes + p->skip * width;
    unsigned char *whole = p->planes ? malloc(p->count * width + 1) : NULL;
    if (p->planes && !whole) {
        pthread_mutex_lock(&t->door);
        t->exhausted = true;
        pthread_mutex_unlock(&t->door);
        return;
    }
    if (p->planes) {
        raw_unshuffle(p->bytes, p->planes, width, p->skip, p->count, whole);
        in = (const char *)whole;
    }
    bool ascii = only_ascii(in, p->count * width);
    for (size_t i = 0; i < p->count; i++, in += width) {
        size_t length = strnlen(in, width);
        while (t->blanks && length > 0 && in[length - 1] == ' ') length--;
        if (!ascii && odd == SIZE_MAX && !valid_utf8(in, length)) odd = (size_t)p->first + i;
        char *slot = t->slots + (p->first + i) * (width + 1);
        // What repeats the text before it, as types and genomes do, stands once.
        if (last && length > 0 && length == last_length && last[length - 1] == in[length - 1] &&
            memcmp(last, in, length) == 0)
            slot = (char *)last;
        else last = memcpy(slot, in, length), last_length = length;
        t->texts[p->first + i] = slot;
    }
    free(whole);
    if (odd == SIZE_MAX) return;
    pthread_mutex_lock(&t->door);
    if (odd < t->odd) t->odd = odd;
    pthread_mutex_unlock(&t->door);
}

static void decode_texts(void *context, int thread, int64_t first, int64_t last) {
    TextSlots *t = context;
    (void)first, (void)last; // whoever comes takes parts until there are none
    for (;;) {
        bool there = false;
        pthread_mutex_lock(&t->door);
        uint64_t from = t->next * t->part, left = from < t->raw.count ? t->raw.count - from : 0;
        bool more = left > 0 && !t->missing && t->status == STATUS_OK;
        if (more) {
            t->next++;
            t->status = raw_locate(&t->raw, &t->lane[thread], from, left < t->part ? left : t->part, &there);
            more = t->status == STATUS_OK && there;
            t->missing = t->missing || !there;
        }
        pthread_mutex_unlock(&t->door);
        if (!more) return;
        Status status = raw_read(&t->raw, &t->lane[thread], NULL, take_texts, t);
        if (status == STATUS_OK) continue;
        pthread_mutex_lock(&t->door);
        if (t->status == STATUS_OK) t->status = status;
        else status_drop(status);
        pthread_mutex_unlock(&t->door);
        return;
    }
}

// *out_done false: not for this way.
static Status slot_texts(const ForeignFile *f, const char *name, hid_t dataset, hid_t type, size_t count, size_t width,
                         Arena *arena, char **texts, bool *out_done) {
    enum { MOST_BYTES = 64 << 20, PART = 2048 };
    TextSlots t = {.f = f, .texts = texts, .odd = SIZE_MAX};
    int threads = f->pool ? pool_threads(f->pool) : 1;
    *out_done = false;
    raw_describe(f, dataset, count, width, &t.raw);
    if (!raw_possible(&t.raw) || count > MOST_BYTES / (width + 1) || H5Tget_strpad(type) > H5T_STR_SPACEPAD)
        return STATUS_OK;
    if (f->block && guard_left(f->block) < count * (width + 1)) return STATUS_OK;
    uint64_t chunk = t.raw.chunked ? t.raw.chunk : 1;
    t.part = chunk >= PART ? chunk : PART / chunk * chunk;
    t.parts = (count + t.part - 1) / t.part;
    t.blanks = H5Tget_strpad(type) == H5T_STR_SPACEPAD;
    t.slots = text_room(f, arena, count, width + 1);
    t.lane = calloc((size_t)threads, sizeof *t.lane);
    if (!t.slots || !t.lane) {
        free(t.lane);
        return no_text_room(f, count, width + 1);
    }
    pthread_mutex_init(&t.door, NULL);
    if (f->pool && t.parts > 1) pool_run(f->pool, decode_texts, &t, threads);
    else decode_texts(&t, 0, 0, 1);
    pthread_mutex_destroy(&t.door);
    for (int i = 0; i < threads; i++) raw_lane_free(&t.lane[i]);
    free(t.lane);
    if (t.status == STATUS_OK && t.exhausted) t.status = arena_exhausted((size_t)t.part, width);
    if (t.status == STATUS_OK && t.odd != SIZE_MAX && !t.missing) t.status = not_utf8(f, name, t.odd);
    *out_done = !t.missing;
    return t.status;
}

Status foreign_texts(const ForeignFile *f, hid_t parent, const char *name, Arena *arena, char ***out_texts,
                     size_t *out_count) {
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4];
    *out_texts = NULL;
    *out_count = 0;
    TRY(foreign_dataset(f, parent, name, &dataset, &rank, dims));
    hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
    Status status = STATUS_OK;
    bool text = H5Tget_class(type) == H5T_STRING, variable = text && H5Tis_variable_str(type) > 0, done = false;
    size_t count = rank == 0 ? 1 : (size_t)dims[0], width = variable ? sizeof(char *) : H5Tget_size(type);
    char **texts = NULL, *buffer = NULL;
    if (!text) status = foreign_error(f, dataset, "text is expected here");
    else if (rank > 2 || (rank == 2 && dims[1] != 1)) status = foreign_error(f, dataset, "one column is expected");
    else if (width == 0 || count > ((size_t)1 << 32) / width) // beyond the check against the file's length
        status = foreign_error(f, dataset, "it claims %zu texts", count);
    if (status == STATUS_OK && !(texts = text_room(f, arena, count + 1, sizeof *texts)))
        status = no_text_room(f, count, sizeof *texts);
    if (status == STATUS_OK && !variable && rank == 1 && count > 0)
        status = slot_texts(f, name, dataset, type, count, width, arena, texts, &done);
    if (status == STATUS_OK && !done && !(buffer = calloc(count + 1, width))) status = arena_exhausted(count, width);
    if (status == STATUS_OK && count && !done) {
        // A read that fails half way may have filled some pointers, so the strings are returned in either case.
        if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer) < 0)
            status = h5_error(f->path, "reading", name);
        else status = copy_texts(f, name, type, width, buffer, count, arena, texts);
        if (variable) H5Dvlen_reclaim(type, space, H5P_DEFAULT, buffer);
    }
    free(buffer);
    h5_close(space);
    h5_close(type);
    h5_close(dataset);
    if (status != STATUS_OK) return status;
    *out_texts = texts;
    *out_count = count;
    return STATUS_OK;
}

Status foreign_number(const ForeignFile *f, hid_t parent, const char *name, double *out_value, bool *out_found) {
    ForeignKind kind;
    *out_found = false;
    TRY(foreign_kind(f, parent, name, &kind));
    if (kind != FOREIGN_DATASET) return STATUS_OK;
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4];
    TRY(foreign_dataset(f, parent, name, &dataset, &rank, dims));
    hid_t type = H5Dget_type(dataset);
    H5T_class_t type_class = H5Tget_class(type);
    Status status = STATUS_OK;
    if ((rank == 0 || (rank == 1 && dims[0] == 1)) && (type_class == H5T_FLOAT || type_class == H5T_INTEGER)) {
        if (H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, out_value) < 0)
            status = h5_error(f->path, "reading", name);
        else *out_found = true;
    }
    h5_close(type);
    h5_close(dataset);
    return status;
}
