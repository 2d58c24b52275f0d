// export_discotme: see export_discotme.h. Files of the hidden directory are written straight: what makes the export
// whole is the rename at the end.
#include "export_discotme.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/files.h"
#include "crop.h"
#include "npy_write.h"

typedef struct Export {
    const DiscotmeExport *job;
    const char *target;
    char *directory; // the hidden one
    size_t n;
    size_t *row;           // [n] of X
    char **image, **genes; // [n] paths
    CropSpot *corner;      // [n]
    Arena arena;
} Export;

static Status no_memory(void) {
    return arena_exhausted(1, 1);
}

static Status check_spots(Export *e) {
    const Annotated *a = e->job->spots;
    const Embedding *space = annotated_embedding(a, "spatial");
    NameIndex index = {0};
    if (e->job->radius < 1 || e->job->radius > 8192)
        return status_make(STATUS_INVALID, "a radius of %zu pixels is outside 1 .. 8192", e->job->radius);
    if (!a->has_x || !a->x.row_name || !space || space->width < 2)
        return status_make(STATUS_MISMATCH, "DiSCoTME's layout needs counts, names of spots and their positions "
                                            "(obsm 'spatial')");
    e->n = e->job->order ? e->job->count : a->x.rows;
    if (e->n == 0) return status_make(STATUS_INVALID, "there are no spots to export");
    TRY(name_index_init(&index, &e->arena, e->n));
    TRY(ARENA_NEW(&e->arena, e->image, e->n));
    TRY(ARENA_NEW(&e->arena, e->genes, e->n));
    TRY(ARENA_NEW(&e->arena, e->corner, e->n));
    TRY(ARENA_NEW(&e->arena, e->row, e->n));
    for (size_t i = 0; i < e->n; i++) {
        size_t row = e->row[i] = e->job->order ? e->job->order[i] : i;
        if (row >= a->x.rows) return status_make(STATUS_INVALID, "row %zu of %zu cannot be exported", row, a->x.rows);
        const char *name = a->x.row_name[row];
        double x = space->value[row * space->width], y = space->value[row * space->width + 1];
        if (!name || !*name || strchr(name, '/') || name[0] == '.')
            return status_make(STATUS_INVALID, "spot %zu: '%s' cannot be the name of a file", i, name ? name : "");
        if (name_index_add(&index, name, (int64_t)i) >= 0)
            return status_make(STATUS_INVALID, "two spots are called %s", name);
        if (!(fabs(x) < 1e9 && fabs(y) < 1e9)) return status_make(STATUS_INVALID, "spot %s has no position", name);
        e->corner[i] = (CropSpot){(int64_t)floor(x + 0.5) - (int64_t)e->job->radius,
                                  (int64_t)floor(y + 0.5) - (int64_t)e->job->radius};
        e->image[i] = arena_printf(&e->arena, "%s/image/%s.jpg", e->directory, name);
        e->genes[i] = arena_printf(&e->arena, "%s/genes/%s.npy", e->directory, name);
        if (!e->image[i] || !e->genes[i]) return no_memory();
    }
    return STATUS_OK;
}

static Status make_directory(const char *path, const char *name, Arena *arena) {
    char *full = *name ? path_join(arena, path, name) : (char *)path;
    if (!full) return no_memory();
    return mkdir(full, 0777) == 0 ? STATUS_OK : status_errno(errno, "cannot make the directory %s", full);
}

static Status write_plain(const char *path, const void *head, size_t head_size, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file) return status_errno(errno, "cannot write %s", path);
    errno = 0;
    bool ok = fwrite(head, 1, head_size, file) == head_size && (size == 0 || fwrite(data, 1, size, file) == size);
    int error = errno;
    if (fclose(file) != 0) ok = false, error = errno;
    return ok ? STATUS_OK : status_errno(error ? error : EIO, "cannot write %s", path);
}

static Status write_genes(const Export *e) {
    const Matrix *m = &e->job->spots->x;
    float *row = malloc((m->columns + 1) * sizeof *row);
    if (!row) return arena_exhausted(m->columns, sizeof *row);
    Status status = STATUS_OK;
    for (size_t i = 0; i < e->n && status == STATUS_OK; i++) {
        NpyArray array = {.type = ELEMENT_F32, .rank = 1, .shape = {(int64_t)m->columns}, .data = row};
        NpyBytes bytes = {0};
        matrix_row(m, e->row[i], row);
        status = npy_bytes(e->genes[i], &array, &bytes);
        if (status == STATUS_OK)
            status = write_plain(e->genes[i], text_string(&bytes.header), bytes.header.length, bytes.data, bytes.size);
        npy_bytes_free(&bytes);
    }
    free(row);
    return status;
}

static void add_field(Text *text, const char *prefix, const char *name, const char *ending) {
    bool quote = strpbrk(name, ",\"\r\n") != NULL;
    if (quote) text_add(text, "\"");
    text_add(text, prefix);
    for (const char *p = name; *p; p++) text_append(text, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
    text_add(text, ending);
    if (quote) text_add(text, "\"");
}

static Status write_table(const Export *e, Arena *arena) {
    Text text = {0};
    char *path = path_join(arena, e->directory, "metadata.csv");
    if (!path) return no_memory();
    text_add(&text, "spot_id,image_path,gene_vector_path\n");
    for (size_t i = 0; i < e->n; i++) {
        const char *name = e->job->spots->x.row_name[e->row[i]];
        add_field(&text, "", name, "");
        text_add(&text, ",");
        add_field(&text, "image/", name, ".jpg");
        text_add(&text, ",");
        add_field(&text, "genes/", name, ".npy");
        text_add(&text, "\n");
    }
    Status status = text_status(&text);
    if (status == STATUS_OK) status = file_write_atomic(path, text_string(&text), text.length);
    text_free(&text);
    return status;
}

static Status count_cut(const Export *e, DiscotmeReport *report) {
    Slide *slide = NULL;
    int64_t side = 2 * (int64_t)e->job->radius;
    TRY(slide_open(e->job->picture, NULL, &slide));
    SlideInfo info = slide_info(slide);
    slide_close(slide);
    for (size_t i = 0; i < e->n; i++) {
        CropSpot c = e->corner[i];
        int64_t right = c.x + side, below = c.y + side;
        if (right <= 0 || below <= 0 || c.x >= (int64_t)info.width || c.y >= (int64_t)info.height)
            return status_make(STATUS_MISMATCH,
                               "%s: spot %s lies outside of the picture of %zu x %zu pixels (its patch "
                               "begins at %lld, %lld); do positions and picture belong together?",
                               e->job->picture, e->job->spots->x.row_name[e->row[i]], info.width, info.height,
                               (long long)c.x, (long long)c.y);
        report->cut += c.x < 0 || c.y < 0 || right > (int64_t)info.width || below > (int64_t)info.height;
    }
    return STATUS_OK;
}

static Status write_all(Export *e, Pool *pool) {
    size_t side = 2 * e->job->radius;
    TRY(make_directory(e->directory, "", &e->arena));
    TRY(make_directory(e->directory, "image", &e->arena));
    TRY(make_directory(e->directory, "genes", &e->arena));
    CropRequest request = {.path = e->job->picture,
                           .width = side,
                           .height = side,
                           .border = SLIDE_STRICT,
                           .clip = true,
                           .quality = 75,
                           .sampling = JPEG_420,
                           .paths = (const char *const *)e->image};
    TRY(crop_spots(&request, e->corner, e->n, pool));
    TRY(write_genes(e));
    TRY(write_table(e, &e->arena));
    sync(); // once, in place of a sync for each of thousands of files
    if (rename(e->directory, e->target) != 0)
        return status_errno(errno, "cannot give the finished export the name %s", e->target);
    return STATUS_OK;
}

static void remove_all(Export *e) {
    static const char *const below[] = {"image", "genes", ""};
    for (size_t i = 0; i < e->n && e->image && e->genes; i++) {
        if (e->image[i]) unlink(e->image[i]);
        if (e->genes[i]) unlink(e->genes[i]);
    }
    char *table = path_join(&e->arena, e->directory, "metadata.csv");
    if (table) unlink(table);
    for (int i = 0; i < 3; i++) {
        char *path = *below[i] ? path_join(&e->arena, e->directory, below[i]) : e->directory;
        if (path) rmdir(path);
    }
}

Status export_discotme(const char *directory, const DiscotmeExport *job, Pool *pool, DiscotmeReport *out) {
    Export e = {.job = job};
    *out = (DiscotmeReport){0};
    if (is_directory(directory) || file_exists(directory))
        return status_make(STATUS_IO, "%s is there already; give the export another name or remove it", directory);
    arena_init(&e.arena);
    size_t length = strlen(directory);
    while (length > 1 && directory[length - 1] == '/') length--;
    directory = e.target = arena_copy(&e.arena, directory, length);
    if (!directory) return no_memory();
    const char *base = path_base(directory);
    e.directory = arena_printf(&e.arena, "%.*s.%s.tmp-%ld", (int)(base - directory), directory, base, (long)getpid());
    Status status = e.directory ? check_spots(&e) : no_memory();
    if (status == STATUS_OK) status = count_cut(&e, out);
    if (status == STATUS_OK) {
        status = write_all(&e, pool);
        if (status != STATUS_OK) remove_all(&e);
    }
    out->spots = e.n;
    out->genes = job->spots->x.columns;
    arena_free(&e.arena);
    return status;
}
