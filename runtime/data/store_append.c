// store_append: adding sections to a finished store. Gene numbers and tables only ever grow at their ends, so the
// sections that are there stay as they are: the file is copied, the copy is added to and put in the old one's place.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE // F_OFD_SETLK
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_inside.h"

// Holds others off who want to append; readers do not notice.
static Status take_lock(const char *path, int *out_lock) {
    struct stat held, there;
    // not flock: HDF5 takes that for every file it reads
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *out_lock = open(path, O_RDWR | O_CLOEXEC);
    if (*out_lock < 0) return status_errno(errno, "cannot open %s", path);
    if (fcntl(*out_lock, F_OFD_SETLK, &whole) != 0) {
        if (errno != EAGAIN && errno != EACCES) return status_errno(errno, "cannot lock %s", path);
        return status_make(STATUS_IO, "%s: another process is adding to this store; wait until it is done", path);
    }
    if (fstat(*out_lock, &held) != 0 || stat(path, &there) != 0) return status_errno(errno, "cannot look at %s", path);
    if (held.st_ino == there.st_ino && held.st_dev == there.st_dev) return STATUS_OK;
    return status_make(STATUS_IO, "%s was replaced by another process just now; try again", path);
}

static Status copy_file(int from, const char *path, const char *to) {
    enum { PIECE = 1 << 20 };
    char *buffer = malloc(PIECE);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    Status status = STATUS_OK;
    if (!buffer) status = arena_exhausted(PIECE, 1);
    else if (out < 0) status = status_errno(errno, "cannot write a copy of %s", path);
    for (off_t at = 0; status == STATUS_OK;) {
        ssize_t got = pread(from, buffer, PIECE, at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) status = status_errno(errno, "cannot read %s", path);
        if (got <= 0) break;
        at += got;
        for (ssize_t done = 0; done < got && status == STATUS_OK;) {
            ssize_t put = write(out, buffer + done, (size_t)(got - done));
            if (put < 0 && errno == EINTR) continue;
            if (put <= 0) status = status_errno(put < 0 ? errno : ENOSPC, "cannot write a copy of %s", path);
            else done += put;
        }
    }
    if (out >= 0 && close(out) != 0 && status == STATUS_OK) status = status_errno(errno, "cannot write %s", to);
    free(buffer);
    return status;
}

static Status copy_texts(Arena *arena, char *const *from, size_t count, char ***out) {
    TRY(ARENA_NEW(arena, *out, count));
    for (size_t i = 0; i < count; i++) TRY(ARENA_COPY(arena, (*out)[i], from[i], strlen(from[i])));
    return STATUS_OK;
}

static Status copy_name(Arena *arena, const char *from, const char **out) {
    char *copy = NULL;
    TRY(ARENA_COPY(arena, copy, from, strlen(from)));
    *out = copy;
    return STATUS_OK;
}

// What the writer of the old sections knew.
static Status recall(StoreWriter *w, const StoreInfo *info) {
    Arena *arena = &w->arena;
    int32_t number = 0;
    w->n_sections = w->section_capacity = info->n_sections;
    TRY(ARENA_NEW(arena, w->section_names, info->n_sections));
    for (size_t s = 0; s < info->n_sections; s++)
        TRY(ARENA_COPY(arena, w->section_names[s], info->sections[s].name, strlen(info->sections[s].name)));
    for (size_t g = 0; g < info->n_genes; g++) TRY(store_gene_number(w, info->genes[g], &number));
    w->n_tables = info->n_tables;
    w->n_graphs = info->n_graphs;
    w->n_features = info->n_features;
    w->n_splits = info->n_splits;
    TRY(ARENA_NEW(arena, w->tables, w->n_tables));
    TRY(ARENA_NEW(arena, w->features, w->n_features));
    TRY(ARENA_NEW(arena, w->splits, w->n_splits));
    TRY(copy_texts(arena, info->graphs, w->n_graphs, &w->graphs));
    for (size_t t = 0; t < w->n_tables; t++) {
        char **columns = NULL;
        TRY(copy_texts(arena, info->tables[t].columns, info->tables[t].n_columns, &columns));
        w->tables[t] = (StoreTable){NULL, info->tables[t].n_columns, columns};
        TRY(copy_name(arena, info->tables[t].name, &w->tables[t].name));
    }
    for (size_t i = 0; i < w->n_features; i++) {
        w->features[i].width = info->features[i].width;
        TRY(copy_name(arena, info->features[i].name, &w->features[i].name));
    }
    for (size_t i = 0; i < w->n_splits; i++) {
        char **parts = NULL;
        TRY(copy_texts(arena, info->splits[i].parts, info->splits[i].n_parts, &parts));
        w->splits[i] = (StoreParts){NULL, info->splits[i].n_parts, parts};
        TRY(copy_name(arena, info->splits[i].name, &w->splits[i].name));
    }
    return STATUS_OK;
}

// store_finish writes these again.
static Status remove_lists(StoreWriter *w) {
    static const char *const attributes[] = {"sections", "tables", "neighbours", "features", "splits"};
    static const char *const objects[] = {"genes", "parts"};
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if (H5Adelete(w->output.file, attributes[i]) < 0) return h5_error(w->name, "replacing", attributes[i]);
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        if (H5Ldelete(w->output.file, objects[i], H5P_DEFAULT) < 0) return h5_error(w->name, "replacing", objects[i]);
    TRY(h5_group_open(w->name, w->output.file, "columns", &w->columns));
    return h5_group_open(w->name, w->output.file, "sections", &w->sections);
}

static Status recall_parameters(StoreWriter *w, const StoreInfo *info, int deflate) {
    StoreParameters p = {.program = info->program,
                         .tile_size = info->tile_size,
                         .tile_pitch = info->tile_pitch,
                         .filter = info->filter,
                         .edge = info->edge,
                         .deflate = info->deflate,
                         .provenance = info->provenance,
                         .jpeg = info->jpeg,
                         .sampling = info->sampling};
    if (deflate >= 0 && (deflate > 0) != (p.deflate > 0))
        return status_make(
            STATUS_MISMATCH,
            "%s keeps its tiles as '%s', so tiles of a deflate level of %d cannot be added; give its own "
            "level or none",
            info->path, info->encoding, deflate);
    if (deflate > 0) p.deflate = deflate;
    return store_keep_parameters(w, &p);
}

static Status begin_append(StoreWriter *w, const char *path, int deflate) {
    Store *store = NULL;
    TRY(take_lock(path, &w->lock));
    TRY(store_open(path, &store));
    const StoreInfo *info = store_info(store);
    Status status = STATUS_OK;
    if (info->version != STORE_FORMAT_VERSION)
        status = status_make(STATUS_UNSUPPORTED,
                             "%s: sections are added to stores of version %d, this one has %d; run "
                             "'prepare' again",
                             path, STORE_FORMAT_VERSION, info->version);
    if (status == STATUS_OK) status = recall_parameters(w, info, deflate);
    if (status == STATUS_OK) status = recall(w, info);
    store_close(store);
    TRY(status);
    TRY(atomic_reserve(&w->file, path));
    w->name = w->file.path;
    TRY(copy_file(w->lock, path, w->file.temporary));
    TRY(h5_output_open(w->name, w->file.temporary, &w->output));
    return remove_lists(w);
}

Status store_append(const char *path, int deflate, StoreWriter **out_writer) {
    *out_writer = NULL;
    if (deflate < -1 || deflate > 9)
        return status_make(STATUS_INVALID, "a deflate level of %d is outside -1 .. 9", deflate);
    StoreWriter *writer = calloc(1, sizeof *writer);
    if (!writer) return arena_exhausted(1, sizeof *writer);
    writer->output.file = writer->sections = writer->columns = -1;
    writer->file.descriptor = writer->lock = -1;
    Status status = begin_append(writer, path, deflate);
    if (status != STATUS_OK) {
        store_abandon(writer);
        return status_context(status, "cannot add to the store %s", path);
    }
    *out_writer = writer;
    return STATUS_OK;
}
