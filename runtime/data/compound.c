// compound: see compound.h.
#include "compound.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/strings.h"
#include "counts_inside.h"
#include "h5.h"

static const char *const groups[] = {"Train", "Test"};
enum { MOST_SLIDES = 1000 };

// ---- What is there ------------------------------------------------------------------------------

// Numbers within names compare as numbers.
static int natural(const char *a, const char *b) {
    while (*a && *b) {
        if (*a >= '0' && *a <= '9' && *b >= '0' && *b <= '9') {
            char *end_a = NULL, *end_b = NULL;
            unsigned long x = strtoul(a, &end_a, 10), y = strtoul(b, &end_b, 10);
            if (x != y) return x < y ? -1 : 1;
            a = end_a;
            b = end_b;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return (*a != 0) - (*b != 0);
}

static int by_name(const void *a, const void *b) {
    const CompoundSlide *x = a, *y = b;
    if (strcmp(x->group, y->group) != 0) return strcmp(x->group, "Train") == 0 ? -1 : 1;
    return natural(x->name, y->name);
}

typedef struct Listing {
    const char *path;
    CompoundSlide *slides; // in the block
    size_t count;
} Listing;

static Status add_slides(const ForeignFile *f, const char *kind, const char *group_name, Arena *arena, Listing *l) {
    char **names = NULL, path[64];
    size_t count = 0;
    hid_t group = -1;
    snprintf(path, sizeof path, "%s/%s", kind, group_name);
    TRY(foreign_group(f, f->file, path, &group));
    if (group < 0) return STATUS_OK;
    Status status = foreign_names(f, group, path, arena, &names, &count);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        hid_t dataset = -1;
        int rank = 0;
        hsize_t dims[4];
        size_t s = 0;
        if (strlen(names[i]) >= sizeof l->slides->name) continue;
        while (s < l->count &&
               (strcmp(l->slides[s].name, names[i]) != 0 || strcmp(l->slides[s].group, group_name) != 0))
            s++;
        if (s == MOST_SLIDES) {
            status = status_make(STATUS_UNSUPPORTED, "%s: more than %d slides", f->path, MOST_SLIDES);
            break;
        }
        CompoundSlide *slide = &l->slides[s];
        if (s == l->count) {
            snprintf(slide->name, sizeof slide->name, "%s", names[i]);
            snprintf(slide->group, sizeof slide->group, "%s", group_name);
            l->count++;
        }
        TRY_OR(status, done, foreign_dataset(f, group, names[i], &dataset, &rank, dims));
        hid_t type = H5Dget_type(dataset);
        if (strcmp(kind, "spots") == 0 && rank == 1 && H5Tget_class(type) == H5T_COMPOUND) {
            int fields = H5Tget_nmembers(type);
            slide->spots = dims[0];
            slide->values = fields > 2 ? (uint64_t)fields - 2 : 0;
        } else if (strcmp(kind, "images") == 0 && rank == 3) {
            slide->height = dims[0];
            slide->width = dims[1];
        }
        h5_close(type);
        h5_close(dataset);
    }
done:
    h5_close(group);
    return status;
}

static Status list_slides(const ForeignFile *f, Arena *arena, Listing *l) {
    for (int g = 0; g < 2; g++) {
        TRY(add_slides(f, "spots", groups[g], arena, l));
        TRY(add_slides(f, "images", groups[g], arena, l));
    }
    qsort(l->slides, l->count, sizeof *l->slides, by_name);
    if (l->count == 0)
        return status_make(STATUS_MALFORMED, "%s: no slides: expected spots/Train/SLIDE or images/Train/SLIDE",
                           f->path);
    return STATUS_OK;
}

typedef struct ListResult {
    size_t count;
    CompoundSlide slides[];
} ListResult;

static Status list_work(void *context, GuardBlock *block) {
    Listing *l = context;
    ForeignFile f;
    Arena arena;
    TRY(foreign_open(l->path, &f));
    arena_init(&arena);
    ListResult *result = guard_take(block, 1, sizeof *result + MOST_SLIDES * sizeof *result->slides);
    Status status = result ? STATUS_OK : guard_exhausted(block, l->path, MOST_SLIDES, sizeof *l->slides);
    if (status == STATUS_OK) {
        l->slides = result->slides;
        status = list_slides(&f, &arena, l);
        result->count = l->count;
    }
    arena_free(&arena);
    foreign_close(&f);
    block->result = result;
    return status;
}

Status compound_slides(const char *path, GuardLimits limits, CompoundSlide **out, size_t *out_count) {
    Listing listing = {.path = path};
    GuardBlock block;
    *out = NULL;
    *out_count = 0;
    TRY(guard_run(path, limits, list_work, &listing, &block));
    const ListResult *result = block.result;
    size_t count = result && result->count <= MOST_SLIDES ? result->count : 0;
    CompoundSlide *slides = malloc((count + 1) * sizeof *slides);
    Status status = slides ? STATUS_OK : arena_exhausted(count, sizeof *slides);
    for (size_t i = 0; slides && i < count; i++) {
        slides[i] = result->slides[i];
        slides[i].name[sizeof slides[i].name - 1] = slides[i].group[sizeof slides[i].group - 1] = '\0';
    }
    guard_block_free(&block);
    *out = slides;
    *out_count = slides ? count : 0;
    return status;
}

// ---- Images -------------------------------------------------------------------------------------

typedef struct ImageWork {
    const char *path, *slide;
} ImageWork;

typedef struct ImageResult {
    size_t width, height;
    float *rgb;
} ImageResult;

// PREFIX/Train/SLIDE or PREFIX/Test/SLIDE, whichever is there.
static Status find_slide(const ForeignFile *f, const char *prefix, const char *slide, char path[96]) {
    for (int g = 0; g < 2; g++) {
        ForeignKind kind;
        if (snprintf(path, 96, "%s/%s/%s", prefix, groups[g], slide) >= 96) break;
        TRY(foreign_kind(f, f->file, path, &kind));
        if (kind == FOREIGN_DATASET) return STATUS_OK;
    }
    return status_make(STATUS_NOT_FOUND, "%s: there is no slide '%s' in %s/Train or %s/Test", f->path, slide, prefix,
                       prefix);
}

static Status image_work(void *context, GuardBlock *block) {
    ImageWork *w = context;
    ForeignFile f;
    char name[96];
    hid_t dataset = -1;
    int rank = 0;
    hsize_t dims[4];
    TRY(foreign_open(w->path, &f));
    Status status = find_slide(&f, "images", w->slide, name);
    if (status == STATUS_OK) status = foreign_dataset(&f, f.file, name, &dataset, &rank, dims);
    if (status == STATUS_OK &&
        (rank != 3 || dims[2] != 3 || dims[0] > IMAGE_LONGEST_SIDE || dims[1] > IMAGE_LONGEST_SIDE))
        status = foreign_error(&f, dataset, "an image of height x width x 3 is expected");
    ImageResult *result = status == STATUS_OK ? GUARD_NEW(block, ImageResult, 1) : NULL;
    if (result) {
        *result = (ImageResult){(size_t)dims[1], (size_t)dims[0],
                                guard_take(block, (size_t)(dims[0] * dims[1]), 3 * sizeof *result->rgb)};
        if (!result->rgb) status = guard_exhausted(block, w->path, (size_t)(dims[0] * dims[1]), 12);
        else if (dims[0] * dims[1] > 0 &&
                 H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, result->rgb) < 0)
            status = h5_error(w->path, "reading", name);
    }
    block->result = result;
    h5_close(dataset);
    foreign_close(&f);
    return status;
}

Status compound_image_read(const char *path, const char *slide, GuardLimits limits, CompoundImage *out) {
    ImageWork work = {path, slide};
    *out = (CompoundImage){0};
    TRY(guard_run(path, limits, image_work, &work, &out->block));
    const ImageResult *result = out->block.result;
    if (!result || !guard_holds(&out->block, result, 1, sizeof *result) || result->width > IMAGE_LONGEST_SIDE ||
        result->height > IMAGE_LONGEST_SIDE ||
        !guard_holds(&out->block, result->rgb, result->width * result->height, 3 * sizeof *result->rgb)) {
        compound_image_free(out);
        return status_make(STATUS_MALFORMED, "%s: reading it went astray; copy or download it again", path);
    }
    out->width = result->width;
    out->height = result->height;
    out->rgb = result->rgb;
    return STATUS_OK;
}

void compound_image_free(CompoundImage *image) {
    guard_block_free(&image->block);
    *image = (CompoundImage){0};
}

// ---- Spots --------------------------------------------------------------------------------------

typedef struct Field {
    char *name;
    double *values; // NULL: not of the matrix
} Field;

static Status read_number_field(const ForeignFile *f, hid_t table, const char *name, double *values) {
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof *values);
    bool ok = type >= 0 && H5Tinsert(type, name, 0, H5T_NATIVE_DOUBLE) >= 0 &&
              H5Dread(table, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    h5_close(type);
    return ok ? STATUS_OK : h5_error(f->path, "reading field", name);
}

static Status read_fields(const MatrixReader *r, hid_t table, size_t rows, Annotated *a, double *spatial, char **names,
                          double **columns, size_t *out_columns) {
    hid_t type = H5Dget_type(table);
    int fields = H5Tget_nmembers(type);
    Status status = STATUS_OK;
    bool have_x = false, have_y = false;
    double *values = NULL;
    for (int i = 0; i < fields && status == STATUS_OK; i++) {
        char *name = H5Tget_member_name(type, (unsigned)i);
        H5T_class_t found = H5Tget_member_class(type, (unsigned)i);
        if (!name || !valid_utf8(name, strlen(name)) || (found != H5T_INTEGER && found != H5T_FLOAT)) {
            status = foreign_error(r->f, table, "field %d is not a number", i + 1);
            H5free_memory(name);
            break;
        }
        status = ARENA_NEW(&a->arena, values, rows + 1);
        if (status == STATUS_OK && rows) status = read_number_field(r->f, table, name, values);
        bool x = strcmp(name, "x") == 0, y = strcmp(name, "y") == 0;
        have_x = have_x || x;
        have_y = have_y || y;
        for (size_t row = 0; status == STATUS_OK && (x || y) && row < rows; row++) spatial[2 * row + y] = values[row];
        if (status == STATUS_OK && strcmp(name, "Test_Set") == 0) {
            Column set = {.name = "Test_Set", .kind = COLUMN_INTEGER};
            status = ARENA_NEW(&a->arena, set.integer, rows + 1);
            for (size_t row = 0; status == STATUS_OK && row < rows; row++)
                set.integer[row] = values[row] > -1e15 && values[row] < 1e15 ? (int64_t)values[row] : 0;
            if (status == STATUS_OK) status = frame_add(&a->obs, &a->arena, &set);
        } else if (status == STATUS_OK && !x && !y) {
            columns[*out_columns] = values;
            status = ARENA_COPY(&a->arena, names[*out_columns], name, strlen(name));
            ++*out_columns;
        }
        H5free_memory(name);
    }
    h5_close(type);
    if (status == STATUS_OK && !(have_x && have_y))
        status = foreign_error(r->f, table, "fields 'x' and 'y' are missing");
    return status;
}

static Status fill_matrix(const MatrixReader *r, const Picked *picked, double *const *columns, size_t rows,
                          Annotated *a) {
    Matrix *m = &a->x;
    size_t nnz = 0;
    m->rows = rows;
    m->columns = picked->count;
    m->start = GUARD_NEW(r->block, int64_t, rows + 1);
    m->column = GUARD_NEW(r->block, int32_t, rows * picked->count + 1);
    m->value = GUARD_NEW(r->block, float, rows * picked->count + 1);
    if (!m->start || !m->column || !m->value) return guard_exhausted(r->block, r->f->path, rows * picked->count, 8);
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < picked->count; c++) {
            float value = (float)columns[picked->file_column[c]][row];
            if (value == 0) continue;
            m->column[nnz] = (int32_t)c;
            m->value[nnz++] = value;
        }
        m->start[row + 1] = (int64_t)nnz;
    }
    return STATUS_OK;
}

static Status read_spots(const MatrixReader *r, const CountsOptions *o, const char *slide, hid_t table, size_t rows,
                         Annotated *a) {
    hid_t type = H5Dget_type(table);
    int fields = H5Tget_class(type) == H5T_COMPOUND ? H5Tget_nmembers(type) : -1;
    h5_close(type);
    if (fields < 2) return foreign_error(r->f, table, "a table with fields x, y and values is expected");
    char **names = NULL, **row_names = NULL;
    double **columns = NULL, *spatial = NULL;
    size_t count = 0;
    Frame var = {0};
    Picked picked;
    TRY(ARENA_NEW(&a->arena, names, (size_t)fields + 1));
    TRY(ARENA_NEW(&a->arena, columns, (size_t)fields + 1));
    TRY(ARENA_NEW(&a->arena, spatial, 2 * rows + 1));
    TRY(ARENA_NEW(&a->arena, row_names, rows + 1));
    TRY(ARENA_NEW(&a->arena, a->embedding, 1));
    a->obs.rows = rows;
    TRY(read_fields(r, table, rows, a, spatial, names, columns, &count));
    for (size_t i = 0; i < rows; i++)
        if (!(row_names[i] = arena_printf(&a->arena, "%s:%zu", slide, i))) return arena_exhausted(rows, 16);
    TRY(pick_columns(r->f->path, o, names, NULL, NULL, count, a, &picked));
    TRY(fill_matrix(r, &picked, columns, rows, a));
    var.rows = count;
    TRY(place_columns(&picked, names, NULL, &var, a));
    a->has_x = count > 0;
    a->x_was_dense = true;
    a->x.row_name = row_names;
    a->embedding[a->n_embeddings++] = (Embedding){.name = "spatial", .width = 2, .value = spatial};
    a->source = arena_printf(&a->arena, "Elucidata tables, slide %s", slide);
    return a->source ? STATUS_OK : arena_exhausted(1, 64);
}

Status compound_read(const MatrixReader *r, const CountsOptions *o, Annotated *a) {
    char path[96];
    const char *slide = o->section;
    Listing listing = {.path = r->f->path};
    if (!slide) {
        TRY(ARENA_NEW(&a->arena, listing.slides, MOST_SLIDES));
        TRY(list_slides(r->f, &a->arena, &listing));
        Text list = {0};
        for (size_t i = 0; i < listing.count && i < 20; i++)
            text_printf(&list, "%s%s (%llu spots)", i ? ", " : "", listing.slides[i].name,
                        (unsigned long long)listing.slides[i].spots);
        Status status = STATUS_OK;
        if (listing.count > 1)
            status = status_make(STATUS_INVALID, "%s: it holds %zu slides: %s; name the one to read", r->f->path,
                                 listing.count, text_string(&list));
        text_free(&list);
        TRY(status);
        slide = listing.slides[0].name;
    }
    hid_t table = -1;
    int rank = 0;
    hsize_t dims[4];
    TRY(find_slide(r->f, "spots", slide, path));
    TRY(foreign_dataset(r->f, r->f->file, path, &table, &rank, dims));
    Status status = rank == 1 ? read_spots(r, o, slide, table, (size_t)dims[0], a)
                              : foreign_error(r->f, table, "a table is expected");
    h5_close(table);
    return status;
}
